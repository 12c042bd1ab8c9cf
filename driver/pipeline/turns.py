"""Turns of dialogues on their way to a server: what earlier turns left of the region, and the picture that each begins with.

The edit stage gives it to its portions. A turn's sample stands in the journal as it was planned; what is added here follows
from the records of the turns before it, so that nothing more has to be kept of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from comfy_nodes.core.instructions.checks import Unfit
from comfy_nodes.core.instructions.instructions import Writing
from comfy_nodes.core.instructions.turn_checks import leading_to
from comfy_nodes.core.instructions.turns import Earlier, region_after, turn_json
from comfy_nodes.core.keys import turn_key
from comfy_nodes.core.models import each_once
from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.records import EditRecord
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Annotation, Region

from ..dataset.dataset import stored_row
from ..dataset.parts import Part
from ..dataset.rows import known_record
from ..dataset.spool import Spool
from ..errors import RunError
from ..inputs.dialogues import whole_plan
from ..journal import Journal
from ..places import State
from ..samples import Sample

TURN = "turn"
"""Where a sample's annotation says which turn it is; Take Turn reads it."""

Size = tuple[int, int]
"""Width and height in pixels."""


class Turns:
    """The turns of one journal's dialogues. See `engine.portion.Dialogues`."""

    def __init__(self, journal: Journal, spool: Spool, part: Part):
        """
        Args:
            spool: has the pictures of records that are in no shard.
            part: has those of an earlier finish.
        """
        self._journal, self._spool, self._part = journal, spool, part

    def completed(self, sample: Sample) -> Sample:
        """See `engine.portion.Dialogues`."""
        turn = sample.turn
        assert turn
        plan, annotation = whole_plan(sample), sample.annotation
        records = [self._record(turn_key(turn.dialogue, number)) for number in range(1, turn.number)]
        size = annotation.size
        if records:
            lies = [records[0], *(records[one - 1] for one in leading_to(plan.steps, turn.base) if one > 1)]
            size = lies[-1].width, lies[-1].height
            plan = _seen_in(plan, plan.steps[turn.number - 1].region, lies, annotation.size or size)
        earlier = tuple(_earlier(plan, number, record, size) for number, record in enumerate(records, 1))
        region, mask_from = region_after(plan, turn.number, earlier)
        crop = records[0].crop if records else None
        told = turn_json(replace(turn, mask_from=mask_from, earlier=earlier, crop=crop))
        own = () if region is None else (region,)
        others = annotation.regions[len(own) :] if size == annotation.size else ()  # else they are other pixels
        made = replace(
            self._made_from(sample, records),
            size=size,
            regions=own + others,
            further={**annotation.further, TURN: told},
        )
        return replace(sample, annotation=made)

    def picture(self, state: State) -> bytes:
        """See `engine.portion.Dialogues`."""
        record = self._record(state.key)
        images = record.input_images if state.role == "input" else record.output_images
        found = self._spool.get(record.key, state.role, 0)
        data = bytes(found) if found is not None else self._stored(record.key, state)
        if hashlib.sha256(data).hexdigest() != images[0].sha256:
            raise PhotoError(
                f"{state}: the picture that this turn begins with is gone or was changed on disk; it is made again at the end of "
                "the run, or by the same command"
            )
        return data

    def photo_sha256(self, sample: Sample) -> str:
        """See `engine.portion.Dialogues`."""
        assert sample.turn
        return self._record(turn_key(sample.turn.dialogue, 1)).source_sha256

    def _stored(self, key: str, state: State) -> bytes:
        """A picture out of a shard; empty where there is none."""
        try:
            row = stored_row(self._part, key)
        except RunError:
            return b""
        pictures = () if row is None else row.inputs if state.role == "input" else row.outputs
        return pictures[0] if pictures else b""

    def _record(self, key: str) -> EditRecord:
        text = self._journal.kept_record(key)
        if text is None:
            raise PhotoError(f"{key}: the turn before has no record any more; the same command makes it again")
        return known_record(text)

    def _made_from(self, sample: Sample, records: Sequence[EditRecord]) -> Annotation:
        """The sample's annotation with what stood before it: which picture it begins with, and what made that."""
        annotation, state = sample.annotation, sample.file
        if not records or not isinstance(state, State):
            return annotation
        before = self._record(state.key)
        image = (before.input_images if state.role == "input" else before.output_images)[0]
        upstream = hashlib.sha256(f"{annotation.upstream} {image.sha256}".encode()).hexdigest()
        models = [one for record in records for one in (*record.models, *record.basis.models)]
        return replace(annotation, upstream=upstream, models=each_once((*annotation.models, *models)))


def _earlier(plan: Writing, number: int, record: EditRecord, size: Size | None) -> Earlier:
    """A turn that was made, with its mask where that is of the state's size."""
    step, mask = plan.steps[number - 1], record.edit_mask
    fits = mask is not None and size is not None and mask.size == (size[1], size[0])
    return Earlier(number, step.base, step.op, record.prompt, mask if fits else None)


def _seen_in(plan: Writing, number: int | None, records: Sequence[EditRecord], size: Size) -> Writing:
    """A plan with one of its regions in the pixels of a state.

    Args:
        number: the region's; None where there is none.
        records: the first turn's, and those that lead from it to the state.
        size: the photo's.
    """
    if number is None:
        return plan
    region = plan.regions[number]
    for record in records:
        into = record.width, record.height
        if record.crop is not None or into != size:
            region = _fitted(region, record.crop or (0.0, 0.0, float(size[0]), float(size[1])), into)
        size = into
    return replace(plan, regions=(*plan.regions[:number], region, *plan.regions[number + 1 :]))


def _fitted(region: Region, crop: tuple[float, float, float, float], into: Size) -> Region:
    """A region of a picture in the pixels of a part of it that was brought to a size.

    Raises:
        Unfit: it lies outside.
    """
    left, top = crop[:2]
    across, down = into[0] / (crop[2] - left), into[1] / (crop[3] - top)
    x1, y1, x2, y2 = region.bbox
    box = (
        max(0.0, (x1 - left) * across), max(0.0, (y1 - top) * down),
        min(float(into[0]), (x2 - left) * across), min(float(into[1]), (y2 - top) * down),
    )  # fmt: skip
    if box[0] >= box[2] or box[1] >= box[3]:
        raise Unfit(f"{region.class_name or 'the region'} lies outside of the part of the photo that turn 1 used")
    mask = region.mask
    if mask is not None:
        pixels = rle.decode(mask)
        rows = ((np.arange(into[1]) + 0.5) / down + top).astype(int).clip(0, pixels.shape[0] - 1)
        columns = ((np.arange(into[0]) + 0.5) / across + left).astype(int).clip(0, pixels.shape[1] - 1)
        mask = rle.encode(pixels[np.ix_(rows, columns)])
    return region.model_copy(update={"bbox": box, "mask": mask})
