"""The ten tasks: what they leave outside their masks, and what crops and blends cost: `python benchmarks/tasks.py --json`.

Runs the real command over the bundled photos with every classical graph, and every full graph once on tiny random
checkpoints. `COMFYUI_PATH` names the ComfyUI. Shares the machine with nobody, or the ratios mean little.
"""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks.driver_servers import comfyui  # noqa: E402
from benchmarks.measures import command, seconds  # noqa: E402
from comfy_nodes.core.regions import rle  # noqa: E402
from driver.comfyui.own import find_comfyui  # noqa: E402
from driver.dataset.dataset import stored_rows  # noqa: E402

TASKS = ("add", "remove", "replace", "alter", "background", "motion", "style", "extract", "visual", "hybrid")
QUICK = ("--set", "EditPairsClassicalInpaint.method=telea")
"""Inpainting in milliseconds: what it paints is not what is measured here."""

WHOLE = "whole"
"""In a figure's place where `edit_mask` is null: any pixel may differ."""

WIDTH, HEIGHT = 1536, 1024
SIDE = 1024
"""Of the photo, and of the crop as the full graphs have it."""

Figure = float | str | None
"""None where a task left no row."""


def outside_max() -> dict[str, dict[str, Figure]]:
    """The largest difference, in 8-bit levels, of a pixel outside `edit_mask`, by profile and task: 0 is wanted."""
    return {"classical": _classical(), "full": _full()}


def crop_vs_plain(rounds: int = 15) -> dict[str, float]:
    """Time of a plain cut, resize, resize and paste over that of Crop Around Mask and Stitch Crop Back, by library.

    Plain calls get the crop's place and a finished mask; ours grow the mask, find the crop and make the soft edge.
    """
    import torch
    from torch.nn.functional import interpolate

    nodes = _nodes()
    photo, _edited, mask = _pictures()

    def cropped() -> Any:
        return nodes.CropAroundMask.execute(photo, mask, SIDE, nodes.CONTEXT, nodes.GROW, nodes.BLEND, "16").result

    crop, _, places, _ = cropped()
    frame = places[0].crop
    left, top, right, bottom = frame.inside((WIDTH, HEIGHT))
    opacity = torch.from_numpy(places[0].edit_mask).float()

    def ours() -> Any:
        cut, _, place, _ = cropped()
        return nodes.StitchCrop.execute(cut, place)

    def plain_torch() -> Any:
        part = photo[:, top:bottom, left:right].movedim(-1, 1)
        seen = interpolate(part, size=crop.shape[1:3], mode="bicubic", antialias=True).clamp(0, 1)
        back = interpolate(seen, size=part.shape[2:], mode="bicubic", antialias=True).clamp(0, 1).movedim(1, -1)
        result = photo.clone()
        weight = opacity[None, top:bottom, left:right, None]
        result[:, top:bottom, left:right] = torch.lerp(photo[:, top:bottom, left:right], back, weight)
        return result

    picture, shown = _pillow(photo), Image.fromarray(places[0].edit_mask)
    box, size = (left, top, right, bottom), (crop.shape[2], crop.shape[1])

    def plain_pillow() -> Any:
        seen = picture.crop(box).resize(size, Image.Resampling.BICUBIC)
        result = picture.copy()
        back = seen.resize((right - left, bottom - top), Image.Resampling.BICUBIC)
        result.paste(back, box, shown.crop(box))
        return result

    return _ratios(rounds, ours, {"torch": plain_torch, "pillow": plain_pillow})


def blend_vs_plain(rounds: int = 15) -> dict[str, float]:
    """Time of `torch.lerp` and of `Image.composite` over that of Blend Edit, which makes the soft edge that they get."""
    import torch

    nodes = _nodes()
    photo, edited, mask = _pictures()
    opacity = mask[..., None]
    before, after, shown = _pillow(photo), _pillow(edited), _pillow(mask)
    return _ratios(
        rounds,
        lambda: nodes.BlendEdit.execute(edited, photo, mask, 0.0, nodes.BLEND),
        {
            "torch": lambda: torch.lerp(photo, edited, opacity),
            "pillow": lambda: Image.composite(after, before, shown),
        },
    )


def _classical() -> dict[str, Figure]:
    """Over all rows that one run over the bundled photos leaves."""
    found: dict[str, Figure] = dict.fromkeys(TASKS)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "run"
        command = [sys.executable, "driver/batch.py", "--workflow", ",".join(TASKS), "--profile", "classical"]
        command += ["--output", str(output), "--max-failed", "100%", *QUICK]
        subprocess.run(command, cwd=REPOSITORY, check=True, stdout=sys.stderr)
        for config in ("data", "rejected"):
            for row in stored_rows(output, config):
                task = row.columns["task"]
                before, after = (_pixels(data) for data in (row.inputs[0], row.outputs[0]))
                found[task] = _worse(found[task], _outside(before, after, row.columns["edit_mask"]))
    return found


def _full() -> dict[str, Figure]:
    """Of one pair for each task. Random weights paint noise all over the crop, so whatever leaks shows."""
    from tests.e2e import full_graphs

    found: dict[str, Figure] = {}
    with tempfile.TemporaryDirectory() as folder, comfyui(find_comfyui(), Path(folder)) as server:
        models, inputs = (Path(folder) / name for name in ("models", "input"))
        full_graphs.make_checkpoints(models)
        _local_model(models)
        photo, other = full_graphs.photo(inputs, "photo.png"), full_graphs.photo(inputs, "other.png", 1)
        info = server.get("/object_info")
        for task in TASKS:
            graph = full_graphs.bound(task, info)
            for node in graph.api.values():
                if node["class_type"] == "EditPairsLoadSecondImage":
                    node["inputs"]["image"] = other.name
                if node["class_type"] == "EditPairsLoadVlmEndpoint":
                    node.update(
                        class_type="EditPairsLoadVlmLocal",
                        inputs={"model": "tiny", "dtype": "auto", "batch_size": 1},
                    )
            pair = full_graphs.run(server.url, graph, image=photo.name, **_given(task, photo))
            found[task] = _outside(pair.before, pair.after, pair.record["edit_mask"])
    return found


def _given(task: str, photo: Any) -> dict[str, Any]:
    """What the sample of a full graph says: a disc with an instruction, a background around it, or two steps."""
    from tests.e2e.full_graphs import op, region

    disc, box = region(40, 30, 61, 55), region(10, 12, 24, 29, "box")
    if task == "hybrid":
        return {"annotation": photo.annotation(disc, box, steps=(op("replace", 0), op("add", 1)))}
    if task == "background":
        ground = region(0, 0, 97, 70, "ground", kind="background")
        return {"instruction": "Change it.", "annotation": photo.annotation(disc, ground), "region_index": 1}
    if task in ("add", "style", "extract"):
        return {"annotation": photo.annotation(disc)}
    return {"instruction": "Do something.", "annotation": photo.annotation(disc)}


def _local_model(models: Path) -> None:
    """A folder that Load VLM lists. Nobody is asked where the instruction is given, so it needs no weights."""
    folder = models / "LLM" / "tiny"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl"}', encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"")


def _outside(before: np.ndarray, after: np.ndarray, mask: dict[str, Any] | None) -> Figure:
    if mask is None:
        return WHOLE
    outside = ~rle.decode(rle.Rle.model_validate(mask))
    return float(np.abs(before[outside].astype(np.int16) - after[outside]).max(initial=0))


def _worse(one: Figure, other: Figure) -> Figure:
    return max(one, other) if isinstance(one, float) and isinstance(other, float) else other


def _pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as opened:
        return np.asarray(opened.convert("RGB"))


def _nodes() -> Any:
    """The compositing nodes, in this process."""
    comfyui = str(find_comfyui())
    if comfyui not in sys.path:
        sys.path.insert(0, comfyui)
    from comfy.cli_args import args

    args.cpu = True
    from comfy_nodes.nodes import compositing

    return compositing


def _pictures() -> tuple[Any, Any, Any]:
    """A photo, an edit of it and an ellipse of a tenth of it, as ComfyUI has them."""
    import torch

    rng = np.random.default_rng(3)
    photo, edited = (rng.random((HEIGHT // 8, WIDTH // 8, 3)).repeat(8, 0).repeat(8, 1) for _ in range(2))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    ellipse = ((rows - HEIGHT * 0.45) / (HEIGHT * 0.18)) ** 2 + ((columns - WIDTH * 0.4) / (WIDTH * 0.18)) ** 2 < 1
    return tuple(torch.from_numpy(one.astype(np.float32))[None] for one in (photo, edited, ellipse))


def _pillow(tensor: Any) -> Image.Image:
    return Image.fromarray((tensor[0].numpy() * 255).round().astype(np.uint8))


def _ratios(rounds: int, ours: Callable[[], Any], others: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """The median over rounds of the others' time over ours, all in turn, after a round that does not count."""
    found: dict[str, list[float]] = {name: [] for name in others}
    for number in range(rounds + 1):
        mine = seconds(ours)
        for name, run in others.items():
            if number:
                found[name].append(seconds(run) / mine)
            else:
                run()
    return {name: statistics.median(ratios) for name, ratios in found.items()}


if __name__ == "__main__":
    command(
        "Measure what tasks leave outside their masks, and what blending costs.",
        outside_max,
        crop_vs_plain,
        blend_vs_plain,
    )
