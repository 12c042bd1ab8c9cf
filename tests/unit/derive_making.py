"""A finished run of edits whose pictures are drawn here, and a reader of instructions that shares nothing with their makers."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from comfy_nodes.core.regions import rle
from tests.unit.conftest import Run

WIDTH, HEIGHT = 192, 144
RED, BLUE, GREEN, YELLOW, GREY = (200, 30, 30), (40, 80, 200), (50, 140, 60), (240, 220, 60), (128, 128, 128)
BOXES = {"cup": (12, 48, 48, 96), "ball": (140, 50, 176, 92), "book": (80, 100, 112, 130)}
"""x1, y1, x2, y2 of each thing: on the left, on the right, at the bottom."""
COLOURS = {"cup": RED, "ball": BLUE, "book": YELLOW}


def picture(**things: tuple[int, int, int] | None) -> np.ndarray:
    """The scene, uint8 [H, W, 3]: each thing in its colour, in another one, or not at all."""
    image = np.full((HEIGHT, WIDTH, 3), 205, np.uint8)
    image += np.arange(WIDTH, dtype=np.uint8)[None, :, None] // 8  # light comes from the right
    for name, (x1, y1, x2, y2) in BOXES.items():
        colour = things.get(name, COLOURS[name])
        if colour is not None:
            image[y1:y2, x1:x2] = colour
    return image


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def mask_of(*names: str) -> rle.Rle:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    for name in names:
        x1, y1, x2, y2 = BOXES[name]
        mask[y1:y2, x1:x2] = True
    return rle.encode(mask)


def region(op: str, name: str, called: str = "") -> dict[str, Any]:
    return {"op": op, "class_name": called or name, "bbox": BOXES[name], "mask": mask_of(name)}


def add_edit(
    run: Run,
    key: str,
    task: str,
    prompt: str,
    before: np.ndarray,
    after: np.ndarray,
    *things: str,
    whole: bool = False,
    **fields: Any,
) -> None:
    """Finishes a sample.

    Args:
        things: what it is about.
        whole: whether any pixel may differ.
    """
    run.journal.enrol([run.sample_of(key)], None)
    run.spool.put(key, "input", 0, png(before))
    run.spool.put(key, "output", 0, png(after))
    known: dict[str, Any] = {
        "width": WIDTH, "height": HEIGHT, "regions": [region(task, name) for name in things], "vouched_by": ["pixels"],
        "edit_mask": None if whole else mask_of(*things), "source_licence": "CC0", "source_url": "https://example.org/photo",
        "models": [{"role": "editor", "name": "classical"}],
    }  # fmt: skip
    run.journal.done(key, [run.filed(key, task=task, prompt=prompt, **{**known, **fields})], 0.1)


@dataclass(frozen=True)
class Read:
    """What a sentence asks for, as a person would write it down."""

    op: str
    thing: str
    place: str = ""
    new: str = ""


_PLACE = r"(?P<place>(?:in the|on the|at the) [a-z-]+(?: of the image)?)"
_SENTENCES = (
    ("remove", rf"(?:remove|get rid of) the (?:small |large )?(?P<thing>.+?) {_PLACE}"),
    ("add", rf"(?:add|put) (?:an? )?(?:small |large )?(?P<thing>.+?) {_PLACE}"),
    ("replace", rf"(?:replace|swap) the (?:small |large )?(?P<thing>.+?) {_PLACE} (?:with|for) (?:an? )?(?P<new>.+)"),
    ("alter", rf"change the colour of the (?:small |large )?(?P<thing>.+?) {_PLACE} to (?P<new>\w+)"),
    ("alter", rf"make the (?:small |large )?(?P<thing>.+?) {_PLACE} (?P<new>\w+)"),
    ("background", r"change the background from (?P<thing>.+) to (?P<new>.+)"),
    ("style", r"change this picture from (?P<thing>.+) to the style of (?P<new>.+)"),
)


def read(sentence: str) -> list[Read]:
    """What an English sentence of ours asks for, each operation once.

    Raises:
        AssertionError: it cannot be read.
    """
    words = re.sub(r"^(?:please|could you) ", "", sentence.strip().rstrip(".?").lower())
    words = re.sub(r",? please$|; leave everything else .*$", "", words)
    found = []
    for clause in re.split(r" and (?=(?:remove|add|replace|change|make|get|put|swap) )", words):
        fits = [(op, m.groupdict()) for op, form in _SENTENCES if (m := re.fullmatch(form, clause))]
        assert len(fits) == 1, f"{clause!r} is read as {[op for op, _ in fits]}"
        op, parts = fits[0]
        place = (parts.get("place") or "").replace(" of the image", "")
        found.append(Read(op, parts["thing"], place, parts.get("new") or ""))
    return found
