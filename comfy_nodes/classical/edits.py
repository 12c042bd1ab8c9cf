"""Edits of a sample's regions by classical image processing: what each operation does to the pixels and how it is stated.

The classical nodes call it; it hands back the pictures before and after, where they may differ, and the sample with an
instruction that says what was done. A sample that lacks what an edit needs comes back with the reason instead.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core.instructions.checks import Unfit
from ..core.instructions.classical import LEAST_SHARE, OPERATIONS, region_writing
from ..core.instructions.instructions import Writing
from ..core.instructions.scenes import Scene
from ..core.instructions.wording import Language
from ..core.records import SampleFailure
from ..core.regions import rle
from ..core.regions.annotation import Region
from ..imaging import fill
from ..imaging.opencv import grow
from ..wires.sockets import EditSample
from ..wires.tensors import to_bytes
from . import colour, donors, paste, scenery

GROW = 0.01
"""Regions that are filled are grown by this share of the photo's shorter side, so that no rim of the object stays: Classical
Inpaint's default. Ours."""

LEAST_PIXELS = 64
"""A mask of fewer pixels than this shows no edit. Ours."""

MAX_SEEN_THROUGH = 0.2
"""Largest share of what an outline holds that may look as what lies around it. Ours: a lattice tower's holds the sky between
its struts, a glowing star's the dark at its rim, and the new colour or the white ground would show it."""

WHITE, MAX_WHITE = 205, 0.5
"""A pixel all of whose channels are above the first hardly shows on white; the largest share of a thing that may be so. Ours."""

BY_SEED = "by seed"
REFERENCE = "the reference picture"


class Impossible(ValueError):
    """An edit that this sample does not allow; `kind` is the failure's type, the message says what is missing."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Edit:
    """What an operation made: uint8 [H, W, 3] before and after, bool [H, W] where they may differ."""

    before: np.ndarray
    after: np.ndarray
    changed: np.ndarray
    result: str = ""
    """What is there now: a colour, a scene or a thing."""
    licence: str = ""
    """Terms of another photo of which a part went in."""


@dataclass(frozen=True)
class Outcome:
    """What a classical node gives out; a failed sample has the photo itself and an empty mask."""

    sample: EditSample
    before: np.ndarray
    after: np.ndarray
    changed: np.ndarray

    @property
    def instruction(self) -> str:
        return self.sample.instruction


def attempt(sample: EditSample, node: str, make: Callable[[np.ndarray], tuple[Edit, Writing]]) -> Outcome:
    """Runs an edit on a sample's photo; a sample that failed before, or fails now, gives its photo back."""
    photo = to_bytes(sample.source[0])
    nothing = np.zeros(photo.shape[:2], dtype=bool)
    if sample.failure:
        return Outcome(sample, photo, photo, nothing)
    try:
        edit, writing = make(photo)
    except (Impossible, Unfit, colour.NoColour, paste.Unpasteable, scenery.NoScene) as error:
        kind = error.kind if isinstance(error, Impossible) else type(error).__name__
        failure = SampleFailure("edit", kind, str(error), node, skipped=True)
        return Outcome(replace(sample, failure=failure, instruction=""), photo, photo, nothing)
    also = writing.regions[1:] or sample.also
    done = replace(sample, instruction=writing.instruction, writings=(writing,), also=also)
    if edit.licence and edit.licence != sample.provenance.source_licence:
        terms = "; ".join(one for one in (sample.provenance.source_licence, f"with a part of: {edit.licence}") if one)
        done = replace(done, provenance=done.provenance.model_copy(update={"source_licence": terms}))
    return Outcome(done, edit.before, edit.after, edit.changed)


def scene_of(sample: EditSample, regions: Sequence[Region]) -> Scene:
    """The sample's photo with these regions as the edited ones."""
    return Scene(*sample.size, tuple(regions), sample.others)


def stated(sample: EditSample, op: str, result: str, language: Language) -> Writing:
    """The instruction that states what was done to the sample's region; a turn of a dialogue keeps its own.

    Raises:
        Impossible, Unfit: there is no region, or no words for it.
    """
    if sample.turn and sample.writing:
        return sample.writing
    return region_writing(scene_of(sample, (first_region(sample),)), [(op, result)], language)


def asked_for(sample: EditSample, chosen: str, told: Callable[[str], str]) -> str:
    """What a turn of a dialogue asks for; of other samples what was chosen.

    Args:
        told: finds it in the turn's target; empty where it is not there.

    Raises:
        Impossible: the turn asks for something else.
    """
    if sample.turn is None or sample.writing is None:
        return chosen
    target = sample.writing.steps[0].target
    found = told(target)
    if not found:
        raise Impossible("NotClassical", f"the turn asks for {target!r}, which takes a model")
    return found


def first_region(sample: EditSample) -> Region:
    """The sample's region.

    Raises:
        Impossible: it has none.
    """
    if sample.region is None:
        raise Impossible("NoRegion", f"task {sample.task} edits a region, and the sample has none")
    return sample.region


def mask_of(region: Region, photo: np.ndarray, seed: int) -> np.ndarray:
    """The region's mask, or what GrabCut finds in its box; bool [H, W].

    Raises:
        Impossible: nothing stands out in the box, or it is too small.
    """
    mask = rle.decode(region.mask) if region.mask else fill.segment_box(photo, region.bbox, seed, 5)
    return large_enough(mask, region.class_name or "region")


def large_enough(mask: np.ndarray, name: str) -> np.ndarray:
    """The mask, bool [H, W].

    Raises:
        Impossible: it marks too little to show an edit.
    """
    if np.count_nonzero(mask) < LEAST_PIXELS:
        raise Impossible(
            "NoMask",
            f"the {name} has a mask of {np.count_nonzero(mask)} pixels: it takes {LEAST_PIXELS} to show an edit",
        )
    return mask


def opaque(photo: np.ndarray, mask: np.ndarray, name: str) -> np.ndarray:
    """The mask, bool [H, W], of a thing that can be told from what lies around it.

    Raises:
        Impossible: much of what the mask holds is what lies around.
    """
    share = fill.looks_like_around(photo, mask)
    if share > MAX_SEEN_THROUGH:
        raise Impossible(
            "SeenThrough",
            f"{share:.0%} of what the outline of the {name} holds looks as what lies around it, {MAX_SEEN_THROUGH:.0%} "
            "allowed: it is seen through, glows, or is outlined too widely",
        )
    return mask


def cut_out(photo: np.ndarray, mask: np.ndarray, name: str) -> np.ndarray:
    """The photo's thing on white, uint8 [H, W, 3].

    Raises:
        Impossible: little of it would be seen.
    """
    opaque(photo, mask, name)
    shown = np.count_nonzero(mask) / mask.size
    if shown < LEAST_SHARE:
        raise Impossible("TooSmall", f"the {name} is too small to be seen alone: {shown:.2%} of the photo")
    white = float((photo[mask].min(axis=1) > WHITE).mean())
    if white > MAX_WHITE:
        raise Impossible("TooLight", f"{white:.0%} of the {name} is too light to be seen on white")
    return paste.on_white(photo, mask)


def erase(photo: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The photo without what the mask shows, and the grown mask.

    Raises:
        Impossible: nothing is left to fill from.
    """
    hole = grow(mask, round(min(mask.shape) * GROW))
    try:
        return fill.inpaint(photo, hole, "shift-map"), hole
    except ValueError as error:
        raise Impossible("NoContext", str(error)) from None


def alter(photo: np.ndarray, mask: np.ndarray, thing: str, seed: int, wanted: str = BY_SEED) -> Edit:
    """Another colour for a thing.

    Raises:
        Impossible, NoColour: it is seen through, or would be the photo's only colour, or cannot take another one.
    """
    if fill.is_grey(photo):
        raise Impossible("NoColour", "the photo is black and white, and the object would be all that has a colour")
    opaque(photo, mask, thing)
    name, after = colour.choose(photo, mask, seed, "" if wanted == BY_SEED else wanted)
    return Edit(photo, after, mask, name)


def swap(
    photo: np.ndarray, mask: np.ndarray, region: Region, seed: int, donor: str, reference: np.ndarray | None
) -> Edit:
    """Puts a bundled thing, or the one in the reference picture, in the region's place. By seed: the first that fits there.

    Raises:
        Impossible, Unpasteable: there is no reference picture, or nothing in it that fits.
    """
    hole = grow(mask, round(min(mask.shape) * GROW))
    if donor == REFERENCE:
        if reference is None:
            raise Impossible(
                "NoReference",
                "the sample has no reference picture: wire Load Second Image with role reference before it",
            )
        return Edit(photo, *_put(photo, hole, region, paste.cut_out(reference)))
    refused = []
    for name in donors.in_turn(seed, region.class_name) if donor == BY_SEED else [donor]:
        found = donors.named(name)
        try:
            return Edit(photo, *_put(photo, hole, region, found.thing), found.name, found.licence)
        except paste.Unpasteable as error:
            refused.append(f"{name}: {error}" if donor == BY_SEED else str(error))
    raise paste.Unpasteable("; ".join(refused))


def _put(photo: np.ndarray, hole: np.ndarray, region: Region, thing: paste.CutOut) -> tuple[np.ndarray, np.ndarray]:
    try:
        return paste.put_in_place(photo, hole, region.bbox, thing)
    except paste.Unpasteable:
        raise
    except ValueError as error:
        raise Impossible("NoContext", str(error)) from None


def operation(photo: np.ndarray, region: Region, op: str, seed: int) -> Edit:
    """One of `OPERATIONS` on one region. An added thing is erased from the picture before; the photo is the one after."""
    mask = mask_of(region, photo, seed)
    if op == "alter":
        return alter(photo, mask, region.class_name or "region", seed)
    if op == "replace":
        return swap(photo, mask, region, seed, BY_SEED, None)
    erased, hole = erase(photo, mask)
    return Edit(erased, photo, hole) if op == "add" else Edit(photo, erased, hole)


def two_operations(
    sample: EditSample, wanted: Sequence[str], language: Language, photo: np.ndarray
) -> tuple[Edit, Writing]:
    """Both operations of a hybrid edit, each on the photo and within its own mask, so that none touches the other's pixels.

    Args:
        wanted: an operation for each of the two regions, or `BY_SEED`; by seed they differ.

    Raises:
        Impossible: a region is missing, or the two overlap.
    """
    regions = (first_region(sample), *sample.also[:1])
    if len(regions) < 2:
        raise Impossible(
            "NoRegion", "a hybrid edit takes two regions, and no other named region lies far enough from this one"
        )
    drawn = random.Random(f"editpairs/hybrid/{sample.seed}").sample(OPERATIONS, len(OPERATIONS))
    ops: list[str] = []
    for number, op in enumerate(wanted):
        free = [one for one in drawn if one not in (*ops, *wanted[number + 1 :])]
        ops.append(free[0] if op == BY_SEED else op)
    edits = [operation(photo, one, op, sample.seed + at) for at, (one, op) in enumerate(zip(regions, ops, strict=True))]
    first, second = edits
    if (first.changed & second.changed).any():
        raise Impossible("Overlap", "the two regions lie so close that one edit would cut into the other")
    inside = second.changed[..., None]
    both = Edit(
        np.where(inside, second.before, first.before),
        np.where(inside, second.after, first.after),
        first.changed | second.changed,
        licence="; ".join(dict.fromkeys(edit.licence for edit in edits if edit.licence)),
    )
    done = [(op, edit.result) for op, edit in zip(ops, edits, strict=True)]
    return both, region_writing(scene_of(sample, regions), done, language)
