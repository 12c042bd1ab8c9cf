"""Save Edit Pair: the sink. Writes images and record durably and hands the record to whoever submitted the graph."""

from __future__ import annotations

import math
from collections.abc import Sized
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from comfy.cli_args import args
from comfy_api.latest import io

from ..core.instructions.checks import Unfit, check_goes_back, language_of
from ..core.instructions.instructions import USER
from ..core.instructions.operations import misasked
from ..core.models import Model
from ..core.records import PROMPTS, EditRecord, RegionRecord, Score, TurnRecord
from ..core.regions import rle
from ..core.regions.annotation import region_of_mask
from ..core.verdicts import pixels, verdicts
from ..core.verdicts.makers import making_of
from ..edit_samples.verified import in_other_language
from ..files.saved import PairFiles, aside, failed
from ..routes import ingredients
from ..wires.inputs import folder_input, scores_input, uncomputed
from ..wires.sockets import EditSample, Sample
from ..wires.tensors import batch_size, item, marked, masks_of, to_bytes


class SaveEditPair(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsSavePair",
            display_name="Save Edit Pair",
            category="editpairs",
            description="Saves the photo before and after the edit with a record of instruction, region, verdict and origin.",
            search_aliases=["edit pairs sink", "save dataset", "training pair", "export pair"],
            is_output_node=True,
            inputs=[
                Sample.Input("sample", tooltip="What Load Edit Sample gave out."),
                io.Image.Input("edited", lazy=True, tooltip="The edited photo. A batch gives a pair each."),
                io.String.Input(
                    "instruction",
                    default="",
                    multiline=True,
                    tooltip="The edit instruction. Empty: the one typed into Load Edit Sample.",
                ),
                io.Mask.Input(
                    "edit_mask",
                    optional=True,
                    lazy=True,
                    tooltip="Where pixels may differ. A pair that differs elsewhere is rejected. Without it the whole image may change.",
                ),
                io.Mask.Input(
                    "region_mask",
                    optional=True,
                    lazy=True,
                    tooltip="The object's mask, where this graph segmented it and the annotation has only a box.",
                ),
                io.Image.Input(
                    "source",
                    optional=True,
                    lazy=True,
                    tooltip="The photo as it went into the edit, where the graph scaled or cropped it. Without it, the sample's photo.",
                ),
                scores_input(
                    "What verify nodes found, any number. Without one the pair is saved as unscored.", lazy=True
                ),
                folder_input(),
            ],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def check_lazy_status(cls, sample: EditSample, scores: Any = None, **inputs: object) -> list[str]:
        """What is still to be computed: nothing of a sample that has failed already, so that no edit is made for it."""
        # ComfyUI gives each grown input as its value and the name that it has in the graph; where none is wired, not a
        # dict of them but that pair itself.
        grown = scores if isinstance(scores, dict) else {}
        return uncomputed(sample, **inputs, **{name: value for value, name in grown.values()})

    @classmethod
    async def execute(
        cls,
        sample: EditSample,
        edited: torch.Tensor | None = None,
        instruction: str = "",
        edit_mask: torch.Tensor | None = None,
        region_mask: torch.Tensor | None = None,
        source: torch.Tensor | None = None,
        scores: dict[str, list[verdicts.Scores] | None] | None = None,
        folder: str = "editpairs",
    ) -> io.NodeOutput:
        files = PairFiles(folder, _metadata(cls.hidden), sample.files)
        if sample.failure:
            return failed(sample, files)
        assert edited is not None
        prompt = instruction.strip() or sample.instruction
        if not prompt:
            raise ValueError("the pair has no instruction: wire a writer node to instruction or type one in")
        sources = sample.source if source is None else source
        edit_masks = None if edit_mask is None else masks_of(edit_mask)
        region_masks = None if region_mask is None else masks_of(region_mask)
        given = [one for one in (scores or {}).values() if one is not None]
        batches: dict[str, Sized | None] = {
            "edited": edited,
            "source": sources,
            "edit_mask": edit_masks,
            "region_mask": region_masks,
            **{f"score {number}": one for number, one in enumerate(given)},
        }
        count = batch_size(**batches)
        if count == 0:
            empty = " and ".join(name for name, batch in batches.items() if batch is not None and not len(batch))
            raise ValueError(f"{empty}: an empty batch, so there is no pair to save; see to the node before")
        references = [to_bytes(sample.images["reference"][0])] if "reference" in sample.images else []
        made = ingredients.basis(sample, cls.hidden.prompt)
        making = making_of(cls.hidden.prompt, cls.hidden.unique_id)
        pairs: list[tuple[EditRecord, np.ndarray, np.ndarray]] = []
        for index in range(count):
            before, after = to_bytes(item(sources, index)), to_bytes(item(edited, index))
            if before.shape != after.shape:
                raise ValueError(
                    f"source is {before.shape[1]} x {before.shape[0]}, edited {after.shape[1]} x {after.shape[0]}: "
                    "a pair needs equal sizes; wire the scaled photo to source"
                )
            mask = None if edit_masks is None else marked(item(edit_masks, index), *before.shape[:2])
            if mask is not None and mask.all():
                mask = None  # a mask of the whole picture says nothing
            found = verdicts.combine([item(one, index) for one in given] + _contract(before, after, mask))
            if making == "classical":
                found = _asked(found, sample, prompt)
            found = _of_its_task(found, sample)
            found = verdicts.labelled(found, _labels(sample, prompt, before, after))
            verdict = verdicts.vouched(found, making, _told_by_hand(sample, prompt))
            record = _record(
                sample, prompt, verdict, _regions(sample, region_masks, index, before, verdict.task), mask, before
            )
            record = record.model_copy(update={"basis": made})
            if sample.carried:
                record = record.with_carried(sample.carried)
            if count > 1:
                record = record.model_copy(update={"key": f"{record.key}~{index}"})
            pairs.append((record, before, after))

        def write() -> tuple[list[EditRecord], list[dict[str, Any]]]:
            records = [files.write(record, (before, *references), after) for record, before, after in pairs]
            returned = [one.model_dump(mode="json") for one in records]
            files.finish(sample.provenance.key, returned)
            return records, returned

        records, returned = await aside(write)
        shown = [
            image.model_dump(include={"filename", "subfolder", "type"})
            for one in records
            for image in one.output_images
        ]
        return io.NodeOutput(ui={"editpairs": returned, "images": shown, "text": [_words(one) for one in records]})


def _words(record: EditRecord) -> str:
    """What the node shows of a pair: the verdict with its reason, and the instruction."""
    reason = f": {record.reject_reason}" if record.reject_reason else ""
    return f"{record.verdict}{reason}\n{record.prompt}"


def _told_by_hand(sample: EditSample, prompt: str) -> bool:
    """Whether the pair's words are those that a person gave with its pictures."""
    return prompt == sample.instruction and (sample.writing is None or sample.writing.model == USER)


def _labels(sample: EditSample, prompt: str, before: np.ndarray, after: np.ndarray) -> tuple[verdicts.Answer, ...]:
    """What persons said of this very pair: these pictures, in these words."""
    edited = sample.images.get("edited")
    if not sample.carried or edited is None or prompt != sample.instruction:
        return ()
    same = np.array_equal(before, to_bytes(sample.source[0])) and np.array_equal(after, to_bytes(edited[0]))
    return verdicts.answers_of(sample.carried) if same else ()


def _asked(found: verdicts.Scores, sample: EditSample, prompt: str) -> verdicts.Scores:
    """A rejection where nobody but pixels looked, and a person's words ask for another task, or against it."""
    if not _told_by_hand(sample, prompt) or set(found.voices) != {"pixels"} or found.verdict != "keep":
        return found
    other = misasked(sample.task, prompt, language_of(prompt))
    if not other:
        return found
    reason = f"the instruction asks for {other}, and the task is {sample.task}: {prompt}"
    return replace(found, verdict="reject", reason=reason)


def _of_its_task(found: verdicts.Scores, sample: EditSample) -> verdicts.Scores:
    """A rejection where a turn's restated instruction is of another operation, or no longer goes back: a turn stays in its
    dialogue."""
    turn = sample.turn
    if turn is None or not found.restated or found.verdict == "reject":
        return found
    try:
        if found.task:
            raise Unfit(f"the picture shows {found.task}, and the turn is {turn.op}")
        if turn.base < turn.number - 1:
            check_goes_back(found.restated, language_of(found.restated))
        return found
    except Unfit as problem:
        reason = f"restated, it is no turn of its dialogue: {problem}"
        return replace(found, verdict="reject", reason=reason, restated="", restated_other="", task="")


def _contract(before: np.ndarray, after: np.ndarray, mask: np.ndarray | None) -> list[verdicts.Scores]:
    """A rejection where the edit left its mask: what a row promises holds whoever made the graph."""
    if mask is None:
        return []
    change = pixels.measure(before, after, mask)
    if change.outside_max == 0:
        return []
    reason = f"changed outside edit_mask by up to {change.outside_max} of 255 levels"
    return [verdicts.Scores({"pixel.outside_max": float(change.outside_max)}, "reject", reason)]


def _regions(
    sample: EditSample, region_masks: torch.Tensor | None, index: int, before: np.ndarray, other_task: str
) -> tuple[RegionRecord, ...]:
    """The regions in the output's pixels; none where the graph moved them and nobody says where to."""
    height, width = before.shape[:2]
    known = sample.regions if sample.size == (width, height) else ()
    if region_masks is not None:
        found = marked(item(region_masks, index), height, width)
        if found.any():
            region = region_of_mask(found, sample.region.class_name if sample.region else None)
            known = (region, *known[1:])
    ops = [step.op for step in sample.writing.steps] if sample.writing and not other_task else []
    return tuple(
        RegionRecord.of(ops[number] if number < len(ops) else other_task or sample.task, one)
        for number, one in enumerate(known)
    )


def _record(
    sample: EditSample,
    prompt: str,
    verdict: verdicts.Scores,
    regions: tuple[RegionRecord, ...],
    mask: np.ndarray | None,
    before: np.ndarray,
) -> EditRecord:
    origin = sample.provenance
    return EditRecord(
        key=origin.key,
        task=verdict.task or (sample.turn.task if sample.turn else sample.task),
        made_as=sample.task if verdict.task else "",
        made_as_subtask=origin.subtask if verdict.task else "",
        subtask="" if verdict.task else origin.subtask,
        slot=origin.slot,
        lang=sample.writing.lang if sample.writing else "en",
        **_in_both(sample, prompt, verdict),
        editor_prompt=(sample.writing.editor_prompt or None) if sample.writing else None,
        models=_writers(sample),
        input_images=(),
        output_images=(),
        prompt=verdict.restated or prompt,
        initial_prompt=prompt,
        restated_prompt=verdict.restated or None,
        verdict=verdict.verdict,
        reject_reason=verdict.reason,
        vouched_by=verdict.voices,
        scores=tuple(_score(name, value) for name, value in verdict.values.items()),
        judge=verdict.judge,
        regions=regions,
        edit_mask=None if mask is None else rle.encode(mask),
        source_id=origin.source_id,
        source_path=origin.source_path,
        source_sha256=origin.source_sha256,
        source_licence=origin.source_licence,
        source_url=origin.source_url,
        crop=sample.crop,
        seed=sample.seed,
        width=before.shape[1],
        height=before.shape[0],
        turn=_turn(sample),
    )


def _turn(sample: EditSample) -> TurnRecord | None:
    turn = sample.turn
    if turn is None:
        return None
    return TurnRecord(
        dialogue=turn.dialogue,
        number=turn.number,
        of=turn.of,
        base=turn.base,
        op=turn.op,
        premise=turn.premise,
        mask_from=turn.mask_from,
    )


def _in_both(sample: EditSample, prompt: str, verdict: verdicts.Scores) -> dict[str, str]:
    """The row's instruction in both languages, by the record's fields; none where it is known in one alone."""
    if verdict.restated:
        said, other = verdict.restated, verdict.restated_other
    else:
        said, other = prompt, in_other_language(sample) if prompt == sample.instruction else ""
    if not other:
        return {}
    words = (other, said) if language_of(said) == "zh" else (said, other)
    return dict(zip(PROMPTS.values(), words, strict=True))


def _score(name: str, value: float) -> Score:
    if not math.isfinite(value):
        raise ValueError(f"the score {name} is {value}: a verifier has to give a number, or leave the edit unscored")
    return Score(name=name, value=value)


def _writers(sample: EditSample) -> tuple[Model, ...]:
    """Who wrote the instruction, and who put it into plainer words; a prompt's version stands as the revision."""
    writing = sample.writing
    if writing is None or writing.model == USER:
        return ()
    prompt = f"{writing.prompt_id} {writing.prompt_version}".strip()
    found = [Model(role="writer", name=writing.model, revision=prompt or None)]
    return (*found, Model(role="rewriter", name=writing.rewriter)) if writing.rewriter else tuple(found)


def _metadata(hidden: io.HiddenHolder) -> dict[str, object]:
    """What goes into the PNGs so that a picture opens as its workflow: only for graphs run from the browser.

    The driver sends no `extra_pnginfo`, and thousands of copies of one graph would only cost space.
    """
    if args.disable_metadata or not hidden.extra_pnginfo:
        return {}
    return {"prompt": hidden.prompt, **hidden.extra_pnginfo}
