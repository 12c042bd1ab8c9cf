"""The report's small pictures: a pair with its box and close-up, a photo with its regions drawn over it.

Called by `page.py` for the few rows that it shows; knows nothing of files.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from comfy_nodes.core.embeddings import FIELD
from comfy_nodes.core.photos import open_photo
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import parse_annotation
from comfy_nodes.core.regions.drawing import DrawnRegion, draw

THUMBNAIL = 440
"""Longest side of a picture in the report, in pixels."""

CLOSE_UP = 4
"""How many times as wide or high as its region a close-up is. Ours."""

CLOSE_UP_SHARE = 0.04
"""Regions under this share of the photo get a close-up."""

_COLUMNS = ["key", "task", "prompt", "verdict", "reject_reason", "scores", "source_path", "width", "height"]


def annotated(item: dict[str, Any], photos: Path) -> dict[str, Any]:
    """A photo with its regions, as the page shows it.

    Args:
        item: an ImgEdit annotation, or a line of the write stage or of a made photo.
        photos: folder that its path is relative to.
    """
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
        "words": item.get("instruction") or item.get("synthetic", {}).get("prompt", ""),
        "embedded": FIELD in item,
        "picture": thumbnail(buffer.getvalue()),
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


def pair(row: dict[str, Any], before: Sequence[bytes], after: bytes) -> dict[str, Any]:
    """A row as the page shows it: its words, both pictures with the edited regions' boxes, and what they refer to.

    Args:
        before: the photo, and a reference where the edit had one.
    """
    return {
        **edit(row, before[0], after),
        "before": thumbnail(before[0]),
        "after": thumbnail(after),
        "references": [thumbnail(one) for one in before[1:]],
    }


def edit(row: dict[str, Any], before: bytes, after: bytes) -> dict[str, Any]:
    """The same without its pictures: its words, the edited regions' boxes, and close-ups where its region is small."""
    box = row["bbox"]
    width, height = row["width"], row["height"]
    close = box and (box[2] - box[0]) * (box[3] - box[1]) < CLOSE_UP_SHARE * width * height
    cut = around(box, width, height, CLOSE_UP) if close else None
    return {
        **{name: row[name] for name in _COLUMNS},
        "vouched_by": row.get("vouched_by") or (),
        "derived_kind": row.get("derived_kind"),
        "derived_from": row.get("derived_from") or (),
        "close_ups": {"before": thumbnail(before, cut), "after": thumbnail(after, cut)} if cut else None,
        "boxes": [_placed(box, row) for box in boxes(row)],
    }


def boxes(row: dict[str, Any]) -> list[list[float]]:
    """The edited regions' boxes as x0, y0, x1, y1 in pixels of a row's picture."""
    return [one["bbox"] for one in row["regions"] or ()]


def _placed(box: list[float], row: dict[str, Any]) -> dict[str, float]:
    """A box in per cent of the picture."""
    across, down = 100 / row["width"], 100 / row["height"]
    return {
        "left": box[0] * across,
        "top": box[1] * down,
        "width": (box[2] - box[0]) * across,
        "height": (box[3] - box[1]) * down,
    }


def around(box: list[float], width: int, height: int, times: float) -> tuple[int, int, int, int]:
    """A cut of a picture's proportions around a region: left, top, right, bottom in pixels.

    Args:
        width, height: the picture's.
        times: how many times as wide or high as the region it is; the whole picture where that has no room.
    """
    share = min(1.0, times * max((box[2] - box[0]) / width, (box[3] - box[1]) / height))
    wide, high = max(1, round(width * share)), max(1, round(height * share))
    left = min(max(0, round((box[0] + box[2] - wide) / 2)), width - wide)
    top = min(max(0, round((box[1] + box[3] - high) / 2)), height - high)
    return left, top, left + wide, top + high


def thumbnail(data: bytes, cut: tuple[int, int, int, int] | None = None) -> str:
    image: Image.Image = Image.open(io.BytesIO(data))
    if cut:
        image = image.crop(cut)
        scale = max(1.0, THUMBNAIL / max(image.size))
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
