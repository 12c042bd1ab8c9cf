"""A contact sheet of runs: before, after and instruction of pairs, a row for each task.

Usage: `python benchmarks/contact_sheet.py RUN [RUN ...] --output docs/tasks.jpg`. Reads the PNGs and the JSON records that
Save Edit Pair leaves, wherever they lie below the folders given: a run's output, or ComfyUI's output folder.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

ORDER = ("add", "remove", "replace", "alter", "background", "motion", "style", "extract", "visual", "hybrid")
TILE = 250, 180
COLUMNS = 2
WORDS = 60
"""Pixels below each pair for the instruction."""


def records(folders: Iterable[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """Kept pairs below the folders, each record with the folder that its pictures lie in, in the files' order."""
    found = []
    for folder in folders:
        for path in sorted(folder.rglob("*.json")):
            record = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(record, dict) and record.get("verdict") == "keep":
                found.append((path.parent, record))
    return found


def fitted(path: Path) -> Image.Image:
    """The whole picture in a tile, on light grey."""
    tile = Image.new("RGB", TILE, (236, 236, 236))
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail(TILE, Image.Resampling.LANCZOS)
    tile.paste(picture, ((TILE[0] - picture.width) // 2, (TILE[1] - picture.height) // 2))
    return tile


def cell(folder: Path, record: dict[str, Any]) -> Image.Image:
    """One pair: the picture before with its reference in a corner, the one after, and what was asked for."""
    drawn = Image.new("RGB", (2 * TILE[0] + 4, TILE[1] + WORDS), "white")
    first, *references = record["input_images"]
    drawn.paste(fitted(folder / first["filename"]), (0, 0))
    for reference in references:
        small = fitted(folder / reference["filename"]).resize((TILE[0] // 3, TILE[1] // 3))
        drawn.paste(small, (4, TILE[1] - small.height - 4))
    drawn.paste(fitted(folder / record["output_images"][0]["filename"]), (TILE[0] + 4, 0))
    pen = ImageDraw.Draw(drawn)
    pen.text((4, TILE[1] + 2), record["task"], fill=(30, 90, 160), font=ImageFont.load_default(13))
    for number, line in enumerate(textwrap.wrap(record["prompt"], 56)[:3]):
        pen.text((92, TILE[1] + 2 + 17 * number), line, fill="black", font=ImageFont.load_default(13))
    return drawn


def sheet(cells: Sequence[Image.Image]) -> Image.Image:
    width, height = cells[0].width + 14, cells[0].height + 8
    rows = -(-len(cells) // COLUMNS)
    whole = Image.new("RGB", (COLUMNS * width - 14, rows * height), "white")
    for number, one in enumerate(cells):
        whole.paste(one, (number % COLUMNS * width, number // COLUMNS * height))
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="folder with pairs")
    parser.add_argument("--output", type=Path, required=True, help="the JPEG to write")
    parser.add_argument("--per-task", type=int, default=1, help="pairs of each task (default 1)")
    given = parser.parse_args()
    pairs = records(given.runs)
    cells = []
    for task in ORDER:
        of_task = [pair for pair in pairs if pair[1]["task"] == task]
        cells += [cell(*pair) for pair in of_task[: given.per_task]]
    if not cells:
        parser.error("no kept pairs in these folders")
    sheet(cells).save(given.output, quality=85, optimize=True)


if __name__ == "__main__":
    main()
