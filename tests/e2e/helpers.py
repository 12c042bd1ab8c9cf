"""What the end-to-end tests share: the command as a user types it, small photos, and a reader of what a run leaves."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow.parquet as pq
from PIL import Image

from comfy_nodes.core.regions import rle

REPOSITORY = Path(__file__).resolve().parent.parent.parent

QUICK = ("--set", "EditPairsClassicalInpaint.method=telea")
"""An inpainting method that takes milliseconds on a small photo; shift-map takes ten times as long."""

SMALL = {"CheckpointLoaderSimple": "SmallSam3", "LoadBackgroundRemovalModel": "SmallBackgroundRemoval"}
"""Core's loaders of models whose sizes it fixes, and what `small_models` has in their places."""

LEFT = {
    "data/train-00000-of-00001.parquet",
    "rejected/train-00000-of-00001.parquet",
    "failed.parquet",
    "skipped.parquet",
    "telemetry.parquet",
    "workflow.json",
    "workflow_api.json",
    "environment.json",
    "report.html",
    "summary.json",
    "README.md",
    "run.sqlite",
    "run.log.jsonl",
    "shards.json",
}
"""What a finished run leaves."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    @property
    def line(self) -> str:
        """What it said last on stderr."""
        return (self.stderr.strip().splitlines() or [""])[-1]


class Driver:
    """Runs `python driver/batch.py` as a process of its own. Ends what it started."""

    def __init__(self, url: str, scratch: Path):
        self.url = url
        self._scratch = scratch
        self._started: list[subprocess.Popen[str]] = []

    def start(
        self,
        *options: object,
        workflow: object = "remove-classical",
        server: str | None = "",
        quick: bool = True,
        env: dict[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Starts the command.

        Args:
            workflow: None where a recipe is among the options.
            server: a URL, "" for the session's ComfyUI, None to let the driver start its own.
            quick: whether to edit by the method of `QUICK`.
        """
        what = () if workflow is None else ("--workflow", str(workflow))
        command = [sys.executable, "driver/batch.py", *what, *map(str, options)]
        if server is not None:
            command += ["--server", server or self.url]
        if quick:
            command += QUICK
        log = self._scratch / f"driver-{len(self._started)}"
        with log.with_suffix(".out").open("w") as out, log.with_suffix(".err").open("w") as err:
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **(env or {})},
                text=True,
            )
        process.log = log  # type: ignore[attr-defined]
        self._started.append(process)
        return process

    def end(self, process: subprocess.Popen[str], expect: int | None = 0, timeout: float = 240) -> Ended:
        """Waits for a started command; `expect` is its exit status, None for any."""
        status = process.wait(timeout)
        log: Path = process.log  # type: ignore[attr-defined]
        ended = Ended(
            status,
            log.with_suffix(".out").read_text(errors="replace"),
            log.with_suffix(".err").read_text(errors="replace"),
        )
        assert "Traceback" not in ended.stderr, ended.stderr
        if expect is not None:
            assert status == expect, f"status {status}, not {expect}:\n{ended.stdout}\n{ended.stderr}"
        return ended

    def run(self, *options: object, expect: int | None = 0, **how: Any) -> Ended:
        """Runs the command to its end; `how` is as for `start`."""
        return self.end(self.start(*options, **how), expect)

    def refused(self, *options: object, **how: Any) -> str:
        """Runs a command that must not start anything: status 2 and one line, which is returned."""
        ended = self.run(*options, expect=2, **how)
        assert ended.line.startswith("batch.py: "), ended.stderr
        assert ended.stdout == ""
        return ended.line

    def close(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
                process.wait()


def make_photos(folder: Path, count: int, size: tuple[int, int] = (96, 96), suffix: str = ".png") -> list[Path]:
    """Photos of a disc on a patterned ground, each with `<stem>.mask.png` beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    return [make_photo(folder / f"photo{number:03d}{suffix}", number, size) for number in range(count)]


def make_photo(path: Path, number: int = 0, size: tuple[int, int] = (96, 96), mask_name: str | None = None) -> Path:
    """One such photo, losslessly where the suffix allows it; `number` varies it. `<stem>.txt` says what is done, as no file
    can name a mask's object."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    ground = np.stack([np.sin(x / 7 + number), np.cos(y / 9), np.sin((x + y) / 11)], axis=-1) * 40 + 110
    pixels = ground + np.random.default_rng(number).normal(0, 6, (height, width, 3))
    disc = disc_of(number, size)
    pixels[disc] = (220, 40, 30 + number % 200)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    Image.fromarray(disc).save(path.with_name(mask_name or f"{path.stem}.mask.png"))
    path.with_suffix(".txt").write_text("Remove the disc.", encoding="utf-8")
    return path


def disc_of(number: int, size: tuple[int, int] = (96, 96)) -> np.ndarray:
    """Where the disc of `make_photo` lies, bool [H, W]."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    centre, radius = (width * (0.35 + 0.02 * (number % 10)), height * 0.45), min(size) * 0.13
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2


def rows(output: Path, config: str = "data") -> list[dict[str, Any]]:
    """All rows of a config, in order, of one shard or of many."""
    return [row for path in sorted((output / config).rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def table(output: Path, name: str) -> list[dict[str, Any]]:
    """Rows of `failed`, `skipped` or `telemetry`."""
    return pq.read_table(output / f"{name}.parquet").to_pylist()


def keys(output: Path) -> list[str]:
    return [row["key"] for config in ("data", "rejected") for row in rows(output, config)]


def pixels_of(image: dict[str, Any]) -> np.ndarray:
    """An image column's struct as uint8 [H, W, 3]."""
    with Image.open(io.BytesIO(image["bytes"])) as opened:
        assert opened.mode == "RGB"
        return np.asarray(opened)


def edit_mask(row: dict[str, Any]) -> np.ndarray:
    return rle.decode(rle.Rle.model_validate(row["edit_mask"]))


def assert_whole(row: dict[str, Any], photo: np.ndarray | None = None) -> None:
    """The row keeps its promise: equal outside the mask from file to file, another picture inside."""
    before, after, mask = pixels_of(row["input_images"][0]), pixels_of(row["output_images"][0]), edit_mask(row)
    assert before.shape == after.shape == (row["height"], row["width"], 3)
    if photo is not None:
        assert np.array_equal(before, photo), "the stored input is not the photo"
    assert 0 < mask.sum() < mask.size
    assert np.array_equal(before[~mask], after[~mask]), "pixels outside edit_mask differ"
    assert (before[mask] != after[mask]).any(), "nothing changed inside edit_mask"


def files_in(folder: Path) -> set[str]:
    """Every file below a folder, by relative name."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def comparable(output: Path, without: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """The kept rows, without the named columns and with pictures as pixels, to compare runs by."""
    compared = []
    for row in rows(output):
        for column in ("input_images", "output_images"):
            row[column] = [pixels_of(image).tobytes() for image in row[column]]
        compared.append({name: value for name, value in row.items() if name not in without})
    return compared


def post(url: str, path: str, body: Any) -> Any:
    request = urllib.request.Request(url + path, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def get(url: str, path: str) -> Any:
    with urllib.request.urlopen(url + path, timeout=30) as response:
        return json.load(response)


def post_other(url: str) -> dict[str, Any]:
    """Posts a prompt that has nothing to do with the driver; the server's answer."""
    graph = {
        "1": {"class_type": "PrimitiveString", "inputs": {"value": "somebody else's"}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }
    return dict(post(url, "/prompt", {"prompt": graph}))


ONE_EACH = ("--samples-per-prompt", 1)
"""For tests that count prompts as edits, or whose fault is one prompt's."""


def prompts_so_far(url: str) -> int:
    """How many prompts were posted to a server, by anybody: it numbers them. Asking posts one more, which counts."""
    return int(post_other(url)["number"])


def until(condition: Callable[[], Any], what: str, seconds: float = 120, every: float = 0.02) -> Any:
    """Waits until `condition` gives something true, and returns that."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(every)
    raise AssertionError(f"not within {seconds} s: {what}")


def done_so_far(output: Path) -> int:
    """Samples that a run's journals call finished; 0 while there is none."""
    return sum(map(_done_in, [output / "run.sqlite", *output.glob("shards/??????.sqlite")]))


def _done_in(path: Path) -> int:
    if not path.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as journal:
        try:
            return int(journal.execute("SELECT COUNT(*) FROM samples WHERE state != 'pending'").fetchone()[0])
        except sqlite3.OperationalError:  # it is just being made
            return 0


def processes_with(text: str) -> list[psutil.Process]:
    """Running processes with `text` in their command line, other than this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            running = process.status() != psutil.STATUS_ZOMBIE
            if running and process.pid != os.getpid() and any(text in word for word in process.cmdline()):
                found.append(process)
    return found


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
