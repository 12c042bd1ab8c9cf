"""Photos and annotation files that the driver's benchmark runs on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image


def make_photos(folder: Path, count: int, side: int) -> None:
    """Square photos of a red disc on a patterned ground, `side` pixels each way, with mask and instruction beside each."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[:side, :side]
    for number in range(count):
        ground = np.stack([np.sin(x / 7 + number), np.cos(y / 9), np.sin((x + y) / 11)], axis=-1) * 40 + 110
        pixels = ground + np.random.default_rng(number).normal(0, 6, (side, side, 3))
        disc = (x - side * 0.4 - number % 20) ** 2 + (y - side * 0.5) ** 2 < (side * 0.14) ** 2
        pixels[disc] = (220, 40, 40)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"photo{number:05d}.png")
        Image.fromarray(disc).save(folder / f"photo{number:05d}.mask.png")
        (folder / f"photo{number:05d}.txt").write_text("Remove the disc.", encoding="utf-8")


def photos_in(folder: Path) -> list[Path]:
    """The photos without their masks, by name."""
    return sorted(path for path in folder.glob("*.png") if not path.name.endswith(".mask.png"))


PHOTOS = 8
PHOTO_SIDE = 512


def make_rows(folder: Path, count: int) -> Path:
    """An ImgEdit annotation with `count` lines over a few photos; each line has a region of its own.

    Returns:
        The JSONL file; the photos lie beside it.
    """
    folder.mkdir(parents=True)
    for number in range(PHOTOS):
        Image.linear_gradient("L").resize((PHOTO_SIDE, PHOTO_SIDE)).rotate(number).save(folder / f"photo{number}.png")
    path = folder / "rows.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(_row(number) + "\n")
    return path


def _row(number: int) -> str:
    photo, place = number % PHOTOS, number // PHOTOS
    left, place = place % 300, place // 300
    top, place = place % 300, place // 300
    size = 100 + place
    item = {
        "path": f"photo{photo}.png",
        "resolution": {"width": PHOTO_SIDE, "height": PHOTO_SIDE},
        "segmentation": {
            "object": [
                {
                    "class_name": "cup",
                    "bbox": [left, top, left + size, top + size],
                    "score": 0.9,
                    "clip_score": 0.9,
                    "aes_score": 5.0,
                }
            ],
            "background": [],
        },
    }
    return json.dumps(item, separators=(",", ":"))
