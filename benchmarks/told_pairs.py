"""Edits of whole things whose words are right or wrong, and a service that looks at both pictures and says what it sees.

`verify.py` asks it over HTTP through the real verifier, so that what is measured is the way from two pictures to a verdict.

What the service can tell: which of four things (`donors`) came, went or gave way to another, by matching their
pictures wherever the two pictures differ, whatever a codec left. What it cannot tell: any other thing, a part, a colour, a
style, how well an edit was made, or where in the picture it was; a change in which it knows no thing is no edit to it. It
gets the pictures and the prompt's words and never a label. So the figures are those of the way and not of any model's eyes.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks import labelled_pairs
from comfy_nodes.classical import donors
from comfy_nodes.classical.paste import CutOut
from comfy_nodes.core.instructions.english import article
from comfy_nodes.core.verdicts import claims, pixel_limits, pixels, verdicts
from comfy_nodes.imaging import fill
from comfy_nodes.imaging.opencv import grow
from comfy_nodes.vlm.asking import Vlm
from comfy_nodes.vlm.endpoint import client
from comfy_nodes.vlm.questions import verifier
from comfy_nodes.vlm.questions.edited_pair import EditedPair
from tests.vlm.endpoint import Endpoint, Got, Say

KINDS = ("right edit", "wrong object", "nothing new", "hallucinated thing")

SIDE = 0.3
"""Side of the square that a thing stands in, as a share of the photo's shorter side. Ours."""

DIFFERS, KNOWN = 24, 40.0
"""Levels above which a blurred pixel differs, and root mean square levels up to which a thing is taken for a known one. Ours:
the four things differ from each other by 60 and more."""

LOOKED_AT = 72
"""Longest side, in pixels, at which a difference is looked at. Ours."""

SCALES = (1.0, 0.92, 0.84, 0.76, 0.68, 0.6)
"""Sizes at which a thing is looked for, as shares of the largest that fits a difference. Ours."""


@dataclass(frozen=True, eq=False)
class ToldPair:
    """An edit, the words it was asked for with, and those that are true of it."""

    kind: str
    source: np.ndarray
    """uint8 [H, W, 3]."""
    edited: np.ndarray
    region: np.ndarray
    """bool [H, W], where the edit was meant."""
    task: str
    instruction: str
    truth: str
    """Empty where no thing came, went or gave way to another."""


def pairs(each: int, seed: int) -> Iterator[ToldPair]:
    """`each` pairs of every kind in views of all bundled photos. The same arguments give the same pairs."""
    photos = (*labelled_pairs.HELD_OUT, *labelled_pairs.TUNED_ON)
    for number, kind in enumerate(KINDS):
        for index in range(each):
            rng = np.random.default_rng((seed, number, index))
            yield _pair(kind, labelled_pairs._view(photos[index % len(photos)], rng, small=False)[0], rng)


def command(old: str, new: str) -> str:
    """What leads from a thing to another one; either may be empty."""
    if old and new:
        return f"Replace the {old} with {article(new)} {new}."
    return f"Remove the {old}." if old else f"Add {article(new)} {new}."


def _pair(kind: str, photo: np.ndarray, rng: np.random.Generator) -> ToldPair:
    left, right = _place(photo, 0.25), _place(photo, 0.75)
    one, two, three = (str(name) for name in rng.permutation(donors.names())[:3])
    op = ("add", "remove", "replace")[rng.integers(3)]
    region = np.zeros(photo.shape[:2], dtype=bool)
    for name in (
        (one,) if kind in ("nothing new", "hallucinated thing") or op == "remove" else (one, two)[op == "add" :]
    ):
        region |= _silhouette(photo.shape[:2], left, name)[1]
    if kind == "nothing new":
        # The place is painted over, and what was asked for is not there.
        before, after = photo, fill.inpaint(photo, grow(region, 2), "telea")
        asked, truth = ("add", command("", one)), ""
        if np.abs(after.astype(int) - before)[region].mean() < 12:
            after = np.where(region[..., None], 255 - after, after)
    elif kind == "hallucinated thing":
        before, after = _with(photo, left, one), _with(photo, left, two)
        asked, truth = ("remove", command(one, "")), command(one, two)
    elif kind == "wrong object" and op == "remove":
        before, after = _with(_with(photo, left, one), right, two), _with(photo, left, one)
        asked, truth = (op, command(one, "")), command(two, "")
    else:
        done = three if kind == "wrong object" else two
        before = photo if op == "add" else _with(photo, left, one)
        after = photo if op == "remove" else _with(photo, left, done)
        old = "" if op == "add" else one
        asked, truth = (op, command(old, "" if op == "remove" else two)), command(old, "" if op == "remove" else done)
    return ToldPair(kind, before, labelled_pairs._carried(after, rng), region, *asked, truth)


def _place(photo: np.ndarray, across: float) -> tuple[int, int, int, int]:
    """A square (x1, y1, x2, y2) in the lower half, at this share of the width."""
    height, width = photo.shape[:2]
    side = round(SIDE * min(height, width))
    x, y = round(across * width - side / 2), round(0.55 * height - side / 2)
    return x, y, x + side, y + side


def _with(photo: np.ndarray, box: tuple[int, int, int, int], name: str) -> np.ndarray:
    """The photo with a thing standing in the box."""
    drawn, mask = _silhouette(photo.shape[:2], box, name)
    return np.where(mask[..., None], drawn, photo)


def _silhouette(size: tuple[int, ...], box: tuple[int, int, int, int], name: str) -> tuple[np.ndarray, np.ndarray]:
    """A thing standing in the box of a picture of this height and width, uint8 [H, W, 3], and where it is, bool [H, W]."""
    thing, mask = _sized(name, box[2] - box[0], box[3] - box[1])
    left, top = (box[0] + box[2] - mask.shape[1]) // 2, box[3] - mask.shape[0]
    part = slice(top, box[3]), slice(left, left + mask.shape[1])
    drawn, where = np.zeros((*size, 3), np.uint8), np.zeros(size, bool)
    drawn[part], where[part] = thing, mask
    return drawn, where


@cache
def _donor(name: str) -> CutOut:
    return donors.named(name).thing


def _sized(name: str, across: int, down: int) -> tuple[np.ndarray, np.ndarray]:
    """A thing, uint8 [h, w, 3], and its mask, as large as fits."""
    donor = _donor(name)
    scale = min(across / donor.mask.shape[1], down / donor.mask.shape[0])
    size = max(1, round(donor.mask.shape[1] * scale)), max(1, round(donor.mask.shape[0] * scale))
    thing = cv2.resize(donor.pixels, size, interpolation=cv2.INTER_AREA)
    return thing, cv2.resize(donor.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0


# What the service sees.


class LookingService(Endpoint):
    """A chat endpoint on loopback that answers the verifier's prompt by what it sees in the two pictures."""

    def _next(self, got: Got) -> Say:
        before, after = (_opened(url) for url in got.picture_urls[:2])
        asked = re.search(
            r"<instruction>\s*(.*?)\s*</instruction>", json.dumps(got.body["messages"]).replace("\\n", " ")
        )
        assert asked is not None
        return Say(json.dumps(answer(before, after, asked[1])))


def answer(before: np.ndarray, after: np.ndarray, instruction: str) -> dict[str, object]:
    """A reply to `verify-edit` about two pictures of equal size, uint8 [H, W, 3]."""
    seen = [command(old, new) for old, new in changes(before, after)]
    done = " ".join(seen)
    right = done == instruction
    return {
        "source_caption": "A photo.",
        "edited_caption": "A photo.",
        "differences": seen,
        "is_changed": bool(seen),
        "claims": [{"claim": instruction, "mark": "correct" if right else "wrong"}],
        "restated_instruction": done,
    }


def changes(before: np.ndarray, after: np.ndarray) -> list[tuple[str, str]]:
    """Which known things were where the pictures differ, and which are there now; empty names where none is."""
    soft = [cv2.GaussianBlur(one, (0, 0), 2).astype(int) for one in (before, after)]
    differs = (np.abs(soft[0] - soft[1]).max(axis=2) > DIFFERS).astype(np.uint8)
    joined = cv2.morphologyEx(differs, cv2.MORPH_CLOSE, np.ones((25, 25), np.uint8))
    _, _, found, _ = cv2.connectedComponentsWithStats(joined)
    told = []
    for left, top, across, down, area in found[1:]:
        if area < 0.002 * differs.size:
            continue
        part = slice(max(0, top - 4), top + down + 4), slice(max(0, left - 4), left + across + 4)
        old, new = (_recognised(one[part]) for one in (before, after))
        if old != new:
            told.append((old, new))
    return told


def _recognised(picture: np.ndarray) -> str:
    """The known thing that a cut-out of a picture shows most clearly; empty where it shows none."""
    best, name = KNOWN, ""
    smaller = min(1.0, LOOKED_AT / max(picture.shape))
    picture = cv2.resize(picture, None, fx=smaller, fy=smaller, interpolation=cv2.INTER_AREA)
    height, width = picture.shape[:2]
    for known in donors.names():
        for scale in SCALES:
            thing, mask = _sized(known, round(width * scale), round(height * scale))
            if mask.sum() < 64:
                continue
            shape = mask.astype(np.float32)[..., None].repeat(3, axis=2)
            missed = cv2.matchTemplate(picture.astype(np.float32), thing.astype(np.float32), cv2.TM_SQDIFF, mask=shape)
            apart = float((max(missed.min(), 0) / (3 * mask.sum())) ** 0.5)
            if apart < best:
                best, name = apart, known
    return name


def _opened(url: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))


# From two pictures to a verdict.


@dataclass(frozen=True)
class Told:
    """What became of a pair."""

    kind: str
    passed_pixels: bool
    """Whether Verify Pixels alone would have let it pass."""
    outcome: str
    """`as told`; `restated`, truly; `untrue`: kept with words that are not; `rejected`; `unscored`."""

    @property
    def is_right(self) -> bool:
        return self.outcome == "as told" if self.kind == "right edit" else self.outcome in ("restated", "rejected")


async def told(vlm: Vlm, pair: ToldPair) -> Told:
    """What a model's edit comes to by Verify Pixels and Verify Edit together, as Save Edit Pair weighs them."""
    limits = pixel_limits.for_kind(pixel_limits.Limits(), pair.task)
    counted = pixels.verify(pair.source, pair.edited, region=pair.region, limits=limits)[0]
    asked = EditedPair(pair.source, pair.edited, pair.instruction, "en")
    seen = claims.filed((await verifier.verify(vlm, [asked]))[0], pair.task, pair.instruction, "relabel").scores
    found = verdicts.vouched(verdicts.combine([counted, seen]), "model")
    if found.verdict != "keep":
        outcome = "rejected" if found.verdict == "reject" else "unscored"
    elif (found.restated or pair.instruction) != pair.truth:
        outcome = "untrue"
    else:
        outcome = "restated" if found.restated else "as told"
    return Told(pair.kind, counted.verdict == "keep", outcome)


def all_told(each: int, seed: int) -> list[Told]:
    """What becomes of `each` pairs of every kind, each asked about over HTTP by the real client."""
    set_before = {name: os.environ.get(name) for name in ("EDITPAIRS_CONFIG", "EDITPAIRS_CACHE")}
    with tempfile.TemporaryDirectory() as folder, LookingService() as service:
        config = Path(folder) / "vlm.toml"
        config.write_text(f'[profiles.looking]\nbase_url = "{service.url}"\nmodel = "looking"\n', encoding="utf-8")
        os.environ.update(EDITPAIRS_CONFIG=str(config), EDITPAIRS_CACHE=str(Path(folder) / "cache"))

        async def ask() -> list[Told]:
            vlm = client.connect("looking")
            return [await told(vlm, pair) for pair in pairs(each, seed)]

        try:
            return asyncio.run(ask())
        finally:
            for name, value in set_before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
