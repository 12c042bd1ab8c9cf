"""A contact sheet of a run: for each task a row with a pair and its instruction, or with the states of a dialogue.

Usage: `python benchmarks/contact_sheet.py RUN --output docs/tasks.jpg`. Reads the kept rows of a finished run's dataset, in
any layout.
"""

from __future__ import annotations

import argparse
import io
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from comfy_nodes.core.tasks import TASKS
from driver.dataset.dataset import stored_rows
from driver.dataset.layouts.layout import StoredRow
from driver.errors import RunError

TILE = 330, 220
WORDS = 300
"""Width of the column with task and instruction, in pixels."""

GAP = 6
REFERENCE = 90
"""Side of a reference picture's corner, in pixels."""

TASK_COLOUR, PROMPT_COLOUR = (30, 90, 160), (20, 20, 20)


CAPTION = 48
"""Height of the words over and under a dialogue's states, in pixels."""


def chosen(rows: Sequence[StoredRow], keys: Sequence[str]) -> list[list[StoredRow]]:
    """One pair of each task, in the task table's order, or all turns of a dialogue: one of `keys`, else of the least shown
    photo the largest region."""
    shown: Counter[str] = Counter()
    found = []
    for task in TASKS:
        of_task = [row for row in rows if row.columns["task"] == task]
        if not of_task:
            continue
        named = [row for row in of_task if row.columns["key"] in keys]
        best = named[0] if named else min(of_task, key=lambda row: (shown[row.columns["source_id"]], -_area(row)))
        shown[best.columns["source_id"]] += 1
        found.append([row for row in of_task if row is best or _dialogue(row) == _dialogue(best) != ""])
    return found


def _dialogue(row: StoredRow) -> str:
    """The dialogue's key; empty of a pair that is none's."""
    turn = row.columns["turn"]
    return str(turn["dialogue"]) if turn else ""


def strip(row: StoredRow) -> Image.Image:
    """What was asked for, the picture before with its reference in a corner, and the one after."""
    drawn = Image.new("RGB", (WORDS + 2 * (TILE[0] + GAP), TILE[1]), "white")
    pen = ImageDraw.Draw(drawn)
    pen.text((4, 4), row.columns["task"], fill=TASK_COLOUR, font=ImageFont.load_default(20))
    text = "\n".join(textwrap.wrap(row.columns["prompt"], 33))
    pen.multiline_text((4, 36), text, fill=PROMPT_COLOUR, font=ImageFont.load_default(17), spacing=6)
    before, *references = row.inputs
    drawn.paste(_tile(before, TILE), (WORDS, 0))
    for reference in references:
        drawn.paste(_tile(reference, (REFERENCE, REFERENCE)), (WORDS, TILE[1] - REFERENCE))
    drawn.paste(_tile(row.outputs[0], TILE), (WORDS + TILE[0] + GAP, 0))
    return drawn


def dialogue(turns: Sequence[StoredRow]) -> Image.Image:
    """The dialogue's states from left to right, what was asked for under what came of it, and its premise over all."""
    across, down = TILE[0] + GAP, TILE[1] + CAPTION
    drawn = Image.new("RGB", ((len(turns) + 1) * across - GAP, CAPTION + down), "white")
    pen, first = ImageDraw.Draw(drawn), turns[0].columns
    pen.text((4, 4), first["task"], fill=TASK_COLOUR, font=ImageFont.load_default(20))
    pen.text((4 + across, 6), first["turn"]["premise"] or "", fill=PROMPT_COLOUR, font=ImageFont.load_default(17))
    for number, picture in enumerate((turns[0].inputs[0], *(one.outputs[0] for one in turns))):
        left = number * across
        drawn.paste(_tile(picture, TILE), (left, CAPTION))
        if number:
            turn = turns[number - 1].columns
            back = "" if turn["turn"]["base"] == number - 1 else f" (from {turn['turn']['base']})"
            text = "\n".join(textwrap.wrap(f"{number}{back}: {turn['prompt']}", 42)[:2])
            pen.multiline_text(
                (left, CAPTION + TILE[1] + 4), text, PROMPT_COLOUR, ImageFont.load_default(15), spacing=4
            )
        else:
            pen.text((left, CAPTION + TILE[1] + 4), "0", fill=PROMPT_COLOUR, font=ImageFont.load_default(15))
    return drawn


def sheet(strips: Sequence[Image.Image]) -> Image.Image:
    height = sum(one.height + GAP for one in strips) - GAP
    whole = Image.new("RGB", (max(one.width for one in strips), height), "white")
    top = 0
    for one in strips:
        whole.paste(one, (0, top))
        top += one.height + GAP
    return whole


def _tile(data: bytes, size: tuple[int, int]) -> Image.Image:
    """The whole picture on light grey."""
    with Image.open(io.BytesIO(data)) as opened:
        return ImageOps.pad(opened.convert("RGB"), size, Image.Resampling.LANCZOS, (236, 236, 236))


def _area(row: StoredRow) -> float:
    """Share of the photo that the region's box covers; 1 without one."""
    box: Iterable[float] | None = row.columns["bbox"]
    if box is None:
        return 1.0
    left, top, right, bottom = box
    return (right - left) * (bottom - top) / (row.columns["width"] * row.columns["height"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a finished run")
    parser.add_argument("--output", type=Path, required=True, help="the JPEG to write")
    parser.add_argument("--key", action="append", default=[], help="a row to show for its task; may be repeated")
    given = parser.parse_args()
    try:
        pairs = chosen(list(stored_rows(given.run, "data")), given.key)
    except RunError as error:
        parser.error(str(error))
    if not pairs:
        parser.error(f"{given.run}: no kept pairs")
    sheet([dialogue(one) if _dialogue(one[0]) else strip(one[0]) for one in pairs]).save(
        given.output, quality=85, optimize=True
    )


if __name__ == "__main__":
    main()
