"""What the driver costs beside the server: `python benchmarks/driver.py [--samples N] [--rounds R] [--json]`.

Starts one real ComfyUI, runs the real command against it, and compares with what that server needs alone for the
same graph on the same photos. One table; see README.md beside this file for what its rows mean.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import numpy as np  # noqa: E402
import psutil  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import urllib3  # noqa: E402
from PIL import Image  # noqa: E402

from comfy_nodes.core.annotation import Annotation, region_of_mask, to_json  # noqa: E402
from driver.server import OwnServer, find_comfyui  # noqa: E402

WORKFLOW = "remove-classical"
SIDE = 256
"""Pixels along a photo's side: at this size the graph's edit takes about 0.1 s on a CPU core."""

HTTP = urllib3.PoolManager()


@dataclass(frozen=True)
class Run:
    """One run of the command."""

    wall: float
    first_row: float
    """Seconds from the command's start until its first sample was done."""
    cpu: float
    """User and system seconds of the driver's process."""
    editing_cpu: float
    """Those per image, between the first finished sample and the last."""
    editing: float
    """Seconds from the first prompt to the last result."""
    execution: float
    """Seconds that the server says it executed prompts."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=60, metavar="N", help="photos in a run; default: 60")
    parser.add_argument("--rounds", type=int, default=3, metavar="R", help="runs of each kind; medians are shown")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    if options.samples < 8 or options.rounds < 1:
        parser.error("take at least 8 samples and one round")
    with tempfile.TemporaryDirectory(prefix="editpairs-benchmark-") as folder:
        figures = _measure(Path(folder), options.samples, options.rounds)
    print(json.dumps(figures, indent=1) if options.json else _table(figures, options))
    return 0


def _measure(folder: Path, samples: int, rounds: int) -> dict[str, float]:
    # As on a machine that ran it before: bytecode is kept, whatever this process was told to do with its own.
    os.environ.update(PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX=str(folder / "bytecode"))
    photos = folder / "photos"
    _make_photos(photos, samples)
    _drive(photos, folder / "first", None, seed=0, limit=1)
    begun = time.monotonic()
    _drive(photos, folder / "own", None, seed=1, limit=1)
    with_own_server = time.monotonic() - begun
    begun = time.monotonic()
    host = OwnServer(find_comfyui(), folder / "server", lambda _seconds: None)
    start = time.monotonic() - begun
    try:
        url = host.server.url
        _drive(photos, folder / "warm", url, seed=2, limit=4)
        graph = json.loads((folder / "warm" / "workflow_api.json").read_text())
        # Every run has a seed of its own, so that the server's cache never answers for it.
        long, bare, single = [], [], []
        for number in range(rounds):
            long.append(_drive(photos, folder / f"long{number}", url, seed=10 + number))
            bare.append(_post_all(photos, graph, url, seed=20 + number))
            single.append(_drive(photos, folder / f"single{number}", url, seed=40 + number, limit=1))
    finally:
        host.stop()
    median = statistics.median
    return {
        "first row, server up (s)": median(run.first_row for run in long),
        "one row as a finished dataset, server up (s)": median(run.wall for run in single),
        "one row as a finished dataset, with a server of its own (s)": with_own_server,
        "ComfyUI's start in it (s)": start,
        "server's execution per prompt (ms)": median(run.execution for run in long) / samples * 1000,
        "driver CPU per image, editing (ms)": median(run.editing_cpu for run in long) * 1000,
        "driver CPU per image, whole command (ms)": median(run.cpu for run in long) / samples * 1000,
        "driver, images/s": samples / median(run.editing for run in long),
        "driver, images/s, whole command": samples / median(run.wall for run in long),
        "floor 1: the server's own execution, images/s": samples / median(run.execution for run in long),
        "floor 2: all prompts posted up front, images/s": samples / median(bare),
        "ratio to floor 1": median(run.execution / run.editing for run in long),
        "ratio to floor 2": median(alone / run.editing for alone, run in zip(bare, long, strict=True)),
    }


def _drive(photos: Path, output: Path, url: str | None, seed: int, limit: int | None = None) -> Run:
    """Runs the command as a user does, and looks at its journal from outside."""
    command = [sys.executable, "driver/batch.py", "--workflow", WORKFLOW, "--input", str(photos)]
    command += ["--output", str(output), "--seed", str(seed)]
    command += (["--server", url] if url else []) + (["--limit", str(limit)] if limit else [])
    begun = time.monotonic()
    log = output.with_suffix(".log")
    with log.open("wb") as said:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=said, stderr=subprocess.STDOUT)
    driver = psutil.Process(process.pid)
    seen: list[tuple[int, float, float]] = []  # samples done, seconds, CPU seconds: whenever the first number changed
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        done = _done(output / "run.sqlite")
        if done > (seen[-1][0] if seen else 0):
            seen.append((done, time.monotonic() - begun, sum(driver.cpu_times()[:2])))
        time.sleep(0.03)
    wall = time.monotonic() - begun
    seen = seen or [(1, wall, 0.0)]
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the driver ended with {process.returncode}:\n{log.read_text(errors='replace')}")
    rows = pq.read_table(output / "telemetry.parquet").to_pylist()
    return Run(
        wall=wall,
        first_row=seen[0][1],
        cpu=usage.ru_utime + usage.ru_stime,
        editing_cpu=(seen[-1][2] - seen[0][2]) / max(1, seen[-1][0] - seen[0][0]),
        editing=max(row["finished_at"] for row in rows) - min(row["queued_at"] for row in rows),
        execution=sum(row["execution_s"] for row in rows),
    )


def _done(journal: Path) -> int:
    if not journal.exists():
        return 0
    with contextlib.closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as db:
        try:
            return int(db.execute("SELECT COUNT(*) FROM samples WHERE state = 'done'").fetchone()[0])
        except sqlite3.OperationalError:  # it is just being made
            return 0


def _post_all(photos: Path, graph: dict[str, Any], url: str, seed: int) -> float:
    """Posts the same prompts at once and waits until the server has done them; seconds from first post to last end."""
    prompts = [_prompt(photo, graph, url, seed + 1000 * number) for number, photo in enumerate(_photos(photos))]
    ids = [str(uuid.uuid4()) for _ in prompts]
    begun = time.monotonic()
    for prompt, prompt_id in zip(prompts, ids, strict=True):
        _ask(url, "/prompt", {"prompt": prompt, "prompt_id": prompt_id})
    while _ask(url, "/prompt")["exec_info"]["queue_remaining"]:
        time.sleep(0.02)
    seconds = time.monotonic() - begun
    states = {_ask(url, f"/api/jobs/{prompt_id}")["status"] for prompt_id in ids}
    if states != {"completed"}:
        raise SystemExit(f"the bare loop's prompts ended as {states}")
    return seconds


def _prompt(photo: Path, graph: dict[str, Any], url: str, seed: int) -> dict[str, Any]:
    mask = np.asarray(Image.open(photo.with_suffix(".mask.png")))
    annotation = Annotation(path=photo.name, size=(SIDE, SIDE), regions=(region_of_mask(mask),))
    fields = {"image": (photo.name, photo.read_bytes()), "type": "temp", "subfolder": f"bare/{seed}"}
    uploaded = json.loads(HTTP.request("POST", f"{url}/upload/image", fields=fields).data)
    prompt: dict[str, Any] = json.loads(json.dumps(graph))
    for node in prompt.values():
        if node["class_type"] == "EditPairsLoadSample":
            image = f"{uploaded['subfolder']}/{uploaded['name']} [temp]"
            node["inputs"].update(image=image, annotation=json.dumps(to_json(annotation)), seed=seed)
        if node["class_type"] == "EditPairsSavePair":
            node["inputs"]["folder"] = f"bare/{seed}"
    return prompt


def _ask(url: str, path: str, body: Any = None) -> Any:
    answer = HTTP.request("GET", url + path) if body is None else HTTP.request("POST", url + path, json=body)
    if answer.status != 200:
        raise SystemExit(f"{path}: {answer.status} {answer.data[:300]!r}")
    return answer.json()


def _photos(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.png") if not path.name.endswith(".mask.png"))


def _make_photos(folder: Path, count: int) -> None:
    folder.mkdir()
    y, x = np.mgrid[:SIDE, :SIDE]
    for number in range(count):
        ground = np.stack([np.sin(x / 7 + number), np.cos(y / 9), np.sin((x + y) / 11)], axis=-1) * 40 + 110
        pixels = ground + np.random.default_rng(number).normal(0, 6, (SIDE, SIDE, 3))
        disc = (x - SIDE * 0.4 - number % 20) ** 2 + (y - SIDE * 0.5) ** 2 < (SIDE * 0.07) ** 2
        pixels[disc] = (220, 40, 40)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"photo{number:04d}.png")
        Image.fromarray(disc).save(folder / f"photo{number:04d}.mask.png")


def _table(figures: dict[str, float], options: argparse.Namespace) -> str:
    heading = (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.machine()}, workflow {WORKFLOW}, "
        f"{options.samples} photos of {SIDE} x {SIDE}, median of {options.rounds}"
    )
    rows = [f"| {name} | {_shown(name, value)} |" for name, value in figures.items()]
    return "\n".join([heading, "", "| what | figure |", "| --- | ---: |", *rows])


def _shown(name: str, value: float) -> str:
    return f"{value:.2f}" if "ratio" in name or value < 100 else f"{value:.0f}"


if __name__ == "__main__":
    sys.exit(main())
