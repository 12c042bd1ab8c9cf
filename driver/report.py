"""What a finished run shows: `report.html` for people, `summary.json` for programs, the dataset card."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import jinja2
import numpy as np
from PIL import Image

from comfy_nodes.core import rle
from comfy_nodes.core.annotation import parse_annotation
from comfy_nodes.core.photos import open_photo
from comfy_nodes.core.region_drawing import DrawnRegion, draw

from .dataset import finished_facts
from .layouts import layout_named
from .spool import disk_error

MAX_PAIRS = {"data": 60, "rejected": 30}
"""Pairs shown of each config; spread evenly over more."""

MAX_PHOTOS = 60
"""Annotated photos shown."""

MAX_FAILURES = 100
"""Failures listed; `failed.parquet` has all."""

THUMBNAIL = 440
"""Longest side of a picture in the report, in pixels."""

CLOSE_UP_SHARE = 0.04
"""Regions under this share of the photo get a close-up."""

_TEMPLATES = Path(__file__).parent / "templates"
_COLUMNS = ["key", "task", "prompt", "class_name", "bbox", "reject_reason", "scores", "source_path", "width",
            "height"]  # fmt: skip


Gives = Literal["edit pairs", "annotated photos", "instructions"]


@dataclass(frozen=True)
class Summary:
    """A run in figures."""

    workflow: str
    profile: str
    task: str
    samples: int
    kept: int
    rejected: int
    unscored: int
    failed: int
    pending: int
    failures: dict[str, int]
    """Failed samples by error type."""
    reasons: dict[str, int]
    """Rejected rows by reason, without its figures."""
    seconds: float
    """Spent editing, over all runs of the folder."""
    samples_per_second: float
    gives: Gives = "edit pairs"
    """What is kept."""
    vlm_calls: int = 0
    """Calls to VLM services, by the ledger of this machine: those of servers elsewhere are not in it."""
    vlm_usd: float = 0.0

    def as_json(self) -> str:
        return json.dumps(vars(self), indent=2, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Gallery:
    """The pictures of a report."""

    pairs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Rows of each config with small pictures."""
    photos: list[dict[str, Any]] = field(default_factory=list)
    """Annotated photos with their regions drawn over them."""

    @classmethod
    def of_dataset(cls, output: Path) -> Gallery:
        return cls(pairs={folder: list(_pairs(output, folder, most)) for folder, most in MAX_PAIRS.items()})

    @classmethod
    def of_annotations(cls, items: Iterable[dict[str, Any]], count: int, photos: Path | None) -> Gallery:
        """
        Args:
            items: ImgEdit annotations, or lines of the write stage.
            count: how many there are.
            photos: folder that their paths are relative to; without one there is nothing to show.
        """
        if photos is None:
            return cls()
        chosen = _spread(count, MAX_PHOTOS)
        return cls(photos=[_annotated(item, photos) for number, item in enumerate(items) if number in chosen])


def write_report(
    output: Path, summary: Summary, failures: Iterable[dict[str, Any]], environment: dict[str, Any], gallery: Gallery
) -> None:
    """Writes `report.html` and `summary.json`."""
    page = _template("report.html").render(
        summary=summary,
        failures=list(islice(failures, MAX_FAILURES)),
        pairs=gallery.pairs,
        photos=gallery.photos,
        environment=environment,
    )
    _write(output / "report.html", page)
    _write(output / "summary.json", summary.as_json())


def write_card(output: Path, summary: Summary, environment: dict[str, Any]) -> None:
    """Writes the dataset card, `README.md`, of the dataset that lies there.

    Raises:
        RunError: no finished dataset lies there.
    """
    facts = finished_facts(output)
    layout = layout_named(facts.layout)
    configs = [
        ("default" if number == 0 and config == "data" else config + suffix, glob)
        for config, held in facts.configs.items()
        if held.rows or config == "data"
        for number, (suffix, glob) in enumerate(layout.card(config, held.streams()))
    ]
    card = _template("card.md").render(summary=summary, environment=environment, layout=layout.name, configs=configs)
    _write(output / "README.md", card)


def _template(name: str) -> jinja2.Template:
    loader = jinja2.FileSystemLoader(_TEMPLATES)
    return jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True).get_template(name)


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.rename(path)
    except OSError as error:
        raise disk_error(error, path.parent) from None


def _pairs(output: Path, config: str, most: int) -> Iterator[dict[str, Any]]:
    """Up to `most` rows of a config, spread evenly over it, with small pictures. Reads the pictures of these alone."""
    facts = finished_facts(output)
    layout, held = layout_named(facts.layout), facts.configs[config]
    chosen = _spread(held.rows, most)
    position = 0
    for shard in held.shards:
        if chosen & set(range(position, position + shard.rows)):
            folder = output / config
            places = dict(layout.index(folder, shard))
            for number, row in enumerate(layout.rows(folder, shard, images=False), position):
                if number in chosen:
                    before, after = layout.images(folder, shard, places[row.columns["key"]])
                    yield _shown(row.columns, before[0], after[0])
        position += shard.rows


def _spread(total: int, most: int) -> set[int]:
    """Up to `most` places, spread evenly over `total`."""
    return {round(number * (total - 1) / max(1, min(most, total) - 1)) for number in range(min(most, total))}


def _annotated(item: dict[str, Any], photos: Path) -> dict[str, Any]:
    annotation = parse_annotation(item)
    photo = open_photo((photos / annotation.path).read_bytes(), annotation.path)
    regions = [
        DrawnRegion(one.bbox, one.class_name or one.kind, one.score, rle.decode(one.mask) if one.mask else None)
        for one in annotation.regions
    ]
    buffer = io.BytesIO()
    Image.fromarray(draw(np.asarray(photo), regions)).save(buffer, "PNG")
    return {
        "path": annotation.path,
        "instruction": item.get("instruction", ""),
        "picture": _thumbnail(buffer.getvalue()),
        "regions": [
            {
                "name": region.class_name or region.kind,
                "scores": {
                    name: getattr(region, name)
                    for name in ("score", "clip_score", "aes_score", "sam_iou")
                    if getattr(region, name) is not None
                },
                "tasks": [task for task, why in (region.eligibility or {}).items() if why is None],
                "why": next((why for why in (region.eligibility or {}).values() if why), ""),
            }
            for region in annotation.regions
        ],
    }


def _shown(row: dict[str, Any], before: bytes, after: bytes) -> dict[str, Any]:
    scale = 100 / row["width"], 100 / row["height"]
    box = row["bbox"]
    views = {"before": before, "after": after}
    close = box and (box[2] - box[0]) * (box[3] - box[1]) < CLOSE_UP_SHARE * row["width"] * row["height"]
    return {
        **{name: row[name] for name in _COLUMNS},
        **{name: _thumbnail(data) for name, data in views.items()},
        "close_ups": {name: _thumbnail(data, _around(box, row)) for name, data in views.items()} if close else None,
        "box": box and {
            "left": box[0] * scale[0], "top": box[1] * scale[1],
            "width": (box[2] - box[0]) * scale[0], "height": (box[3] - box[1]) * scale[1],
        },
    }  # fmt: skip


def _around(box: list[float], row: dict[str, Any]) -> tuple[int, int, int, int]:
    """A cut of the image's proportions around a small region, four times as wide or high as that."""
    share = min(1.0, 4 * max((box[2] - box[0]) / row["width"], (box[3] - box[1]) / row["height"]))
    width, height = max(1, round(row["width"] * share)), max(1, round(row["height"] * share))
    left = min(max(0, round((box[0] + box[2] - width) / 2)), row["width"] - width)
    top = min(max(0, round((box[1] + box[3] - height) / 2)), row["height"] - height)
    return left, top, left + width, top + height


def _thumbnail(data: bytes, cut: tuple[int, int, int, int] | None = None) -> str:
    image: Image.Image = Image.open(io.BytesIO(data))
    if cut:
        image = image.crop(cut)
        scale = max(1.0, THUMBNAIL / max(image.size))
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
