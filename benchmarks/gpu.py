"""What the routes of `cost.py` take in fact: `python benchmarks/gpu.py [--only WORKFLOW,...] [--photos N] [--json]`.

Needs a GPU and the weights (`python install.py --models open`). The real command edits the bundled photos on a ComfyUI that
this starts; a pack beside ours (`watch/`) tells how long the samplers denoised, which is the floor: the model's own steps,
without graph and driver. `COMFYUI_PATH` names the ComfyUI.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import cost
from benchmarks.driver_command import drive
from benchmarks.driver_servers import REPOSITORY, ServerProcess, free_port
from driver.comfyui.gpus import has_gpu
from driver.comfyui.own import find_comfyui
from driver.errors import RunError

SAMPLES = REPOSITORY / "samples"
LOOK_SECONDS = 0.1
"""Between two looks at the card's memory."""

WORDS = {
    "remove": "Remove the {name}.",
    "add": "Add a {name}.",
    "replace": "Replace the {name} with a red ball.",
    "alter": "Make the {name} bright red.",
    "background": "Change the background to a sandy beach at noon.",
    "visual": "Replace the {name} with the one in the second picture.",
    "style": "Turn the photo into a watercolour painting.",
    "instruct": "Make it look like a winter evening.",
    "hybrid": "Replace the {name} with a red ball.",
}
"""What edits are asked for. What comes of them is not looked at."""


@dataclass(frozen=True)
class Measured:
    """One route on one card."""

    workflow: str
    images: int
    images_per_s: float
    floor_images_per_s: float
    """The samplers' own steps, one after the other."""
    share_of_floor: float
    vram_gb: float
    """The most that was taken of the card's memory, by whomever."""
    reloaded: dict[str, int]
    """Files of weights that were read again once everything had been loaded."""
    computed_images_per_s: float | None
    """None where the card is none of `cost.CARDS`."""
    computed_gb: tuple[float, float]
    """With all models kept, and one at a time."""
    tflop_per_s: float
    """The computed operations over the measured time."""


class Peak(threading.Thread):
    """Looks at the server's free memory until it is told to stop."""

    def __init__(self, server: ServerProcess):
        super().__init__(daemon=True)
        self._server = server
        self._ended = threading.Event()
        self.bytes = 0

    def __enter__(self) -> Peak:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            device = self._server.get("/system_stats")["devices"][0]
            self.bytes = max(self.bytes, device["vram_total"] - device["vram_free"])


def watched(folder: Path, gpu: bool, base: Path | None = None) -> ServerProcess:
    """A ComfyUI with our pack and the one that watches.

    Args:
        folder: where its input and output and these packs lie.
        base: its base directory, where its models and its own packs lie elsewhere.
    """
    source = find_comfyui().resolve()
    packs = folder / "custom_nodes"
    packs.mkdir(parents=True)
    (packs / "editpairs-watch").symlink_to(REPOSITORY / "benchmarks" / "watch", target_is_directory=True)
    own = (base or source) / "custom_nodes"
    if REPOSITORY not in [entry.resolve() for entry in own.iterdir()]:
        (packs / "editpairs").symlink_to(REPOSITORY, target_is_directory=True)
    config = folder / "extra_model_paths.yaml"
    config.write_text(json.dumps({"editpairs": {"custom_nodes": str(packs)}}), encoding="utf-8")  # JSON is YAML
    port = free_port()
    command = [
        sys.executable, "main.py", "--listen", "127.0.0.1", "--port", str(port), "--database-url", "sqlite:///:memory:",
        "--disable-metadata", "--disable-auto-launch", "--preview-method", "none", "--cache-lru", "64",
        "--input-directory", str(folder / "input"), "--output-directory", str(folder / "output"),
        "--extra-model-paths-config", str(config), *([] if gpu else ["--cpu"]),
        *(["--base-directory", str(base)] if base else []),
    ]  # fmt: skip
    for name in ("input", "output"):
        (folder / name).mkdir()
    return ServerProcess(command, port, folder, source)


def written(task: str, file: Path, count: int) -> Path:
    """The bundled photos' regions with an instruction for a task, at most `count`, as `--input` takes them."""
    kind = "background" if task == "background" else "object"
    lines = []
    for text in (SAMPLES / "annotation.jsonl").read_text(encoding="utf-8").splitlines():
        photo = json.loads(text)
        for region in photo["segmentation"][kind]:
            alone = {"object": [], "background": [], kind: [region]}
            lines.append({**photo, "segmentation": alone, "writing": _writing(task, region["class_name"])})
    file.write_text("".join(json.dumps(line) + "\n" for line in lines[:count]), encoding="utf-8")
    return file


def _writing(task: str, name: str) -> dict[str, Any]:
    """What the write stage would have written about a region of that name."""
    words = WORDS[task].format(name=name)
    step = {"op": "replace", "object": name, "region": 0, "editor_prompt": words, "target": "a red ball"}
    told = {"instruction": words, "lang": "en", "target": "a red ball", "editor_prompt": words, "model": "user"}
    return {**told, "steps": [step, step] if task == "hybrid" else []}


def measure(workflow: str, server: ServerProcess, folder: Path, photos: int, settings: Sequence[str]) -> Measured:
    """
    Args:
        folder: where runs go.
        settings: what `--set` is told.

    Raises:
        RuntimeError: the command ended with an error, such as missing weights; with its words.
    """
    way = cost.way_of(workflow)
    assert way is not None
    file = written(workflow.partition("-")[0], folder / "in.jsonl", photos)
    path = REPOSITORY / "workflows" / f"{workflow}.json"
    command = ["--workflow", path, "--server", server.url, "--input", file, "--image-root", SAMPLES, *settings]
    drive(folder / "first", *command, "--limit", "1", "--seed", "1")  # reads the weights
    before = server.get("/editpairs-watch")
    with Peak(server) as peak:
        run = drive(folder / "all", *command, "--seed", "2")
    after = server.get("/editpairs-watch")
    denoised = sum(after["denoising"][len(before["denoising"]) :])
    reloaded = {name: times - before["read"].get(name, 0) for name, times in after["read"].items()}
    computed = cost.cost(way)
    card = _card(server.get("/system_stats")["devices"][0]["name"])
    return Measured(
        workflow=workflow,
        images=run.samples,
        images_per_s=1 / run.per_image,
        floor_images_per_s=run.samples / denoised,
        share_of_floor=denoised / run.editing,
        vram_gb=peak.bytes / 1e9,
        reloaded={name: times for name, times in reloaded.items() if times},
        computed_images_per_s=1 / computed.seconds(card) if card else None,
        computed_gb=(computed.kept / 1e9, computed.least / 1e9),
        tflop_per_s=computed.flops / 1e12 / run.per_image,
    )


def _card(name: str) -> cost.Card | None:
    """Which of the computed cards a server's device is."""
    return next((card for card in cost.CARDS if card.name.split(",")[0].removesuffix(" SXM") in name), None)


def shown(one: Measured) -> str:
    """A line of the table."""
    computed = f"{one.computed_images_per_s:.2f}" if one.computed_images_per_s else "-"
    kept, least = one.computed_gb
    cells = [
        f"{one.workflow:18} {one.images_per_s:8.3f} {computed:>8} {one.floor_images_per_s:8.3f} {one.share_of_floor:6.2f}",
        f"{one.vram_gb:6.1f} {kept:5.0f} / {least:<4.0f} {one.tflop_per_s:8.1f}",
        ", ".join(f"{name} {times}x" for name, times in one.reloaded.items()) or "none",
    ]
    return " ".join(cells)


TITLES = (
    f"{'workflow':18} {'images/s':>8} {'computed':>8} {'floor':>8} {'share':>6} {'GB':>6} {'computed GB':>12} {'TFLOP/s':>8} "
    "read again"
)


def chosen(words: str | None) -> list[str]:
    """Workflows to measure: those named, or one of each route that is here.

    Raises:
        RunError: one that `cost.py` has no figure for.
    """
    if words is None:
        named = dict.fromkeys(way.workflow for way in cost.WAYS if way.steps)
        return [name for name in named if (REPOSITORY / "workflows" / f"{name}.json").is_file()]
    names = [name.strip() for name in words.split(",")]
    for name in names:
        way = cost.way_of(name)
        if way is None or not way.steps:
            known = ", ".join(one for way in cost.WAYS if way.steps for one in cost.workflows_of(way))
            raise RunError(f"--only {name}: no route of benchmarks/cost.py that edits; there are {known}")
    return names


def main() -> int:
    """Measures; 0 where all routes could be."""
    parser = argparse.ArgumentParser(
        description="Measure what edits take on this machine's GPU, beside what was computed."
    )
    add = parser.add_argument
    add("--only", metavar="WORKFLOW,...", help="measure these; default: one workflow of each route")
    add(
        "--photos",
        type=int,
        default=8,
        metavar="N",
        help="edits that are timed of each, after one that is not; default: 8",
    )
    add("--device", choices=("gpu", "cpu"), default="gpu", help="cpu: to see that it runs; figures say nothing then")
    add("--base-directory", metavar="DIR", help="ComfyUI's, where its models lie elsewhere")
    add("--set", action="append", default=[], metavar="ADDRESS=VALUE", help="as of driver/batch.py, for all workflows")
    add("--json", action="store_true", help="print one JSON object instead of lines")
    options = parser.parse_args()
    try:
        names = chosen(options.only)
        if options.device == "gpu" and not has_gpu():
            raise RunError(
                "no GPU here: run this on a machine that has one, with the weights (install.py --models open)"
            )
        base = Path(options.base_directory).resolve() if options.base_directory else None
        with tempfile.TemporaryDirectory(prefix="editpairs-gpu-") as scratch:
            server = watched(Path(scratch) / "server", options.device == "gpu", base)
            settings = [word for one in options.set for word in ("--set", one)]
            return _all(names, server, Path(scratch), options.photos, settings, options.json)
    except RunError as error:
        print(f"gpu.py: {error}", file=sys.stderr)
        return 2


def _all(
    names: Sequence[str], server: ServerProcess, scratch: Path, photos: int, settings: Sequence[str], as_json: bool
) -> int:
    found: dict[str, Any] = {}
    missed = False
    if not as_json:
        print(TITLES, flush=True)
    with server:
        for name in names:
            folder = scratch / name
            folder.mkdir()
            try:
                one = measure(name, server, folder, photos, settings)
            except RuntimeError as error:
                missed = True
                found[name] = None
                print(f"{name}: {error}", file=sys.stderr, flush=True)
                continue
            found[name] = asdict(one)
            if not as_json:
                print(shown(one), flush=True)
    if as_json:
        print(json.dumps(found))
    return int(missed)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    sys.exit(main())
