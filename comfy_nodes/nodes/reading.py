"""Words in pictures: found as regions of a photo, and read before and after an edit as a witness of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from comfy_api.latest import io

from ..core import texts
from ..core.boxes import Box
from ..core.regions import rle
from ..core.regions.annotation import Region
from ..core.regions.lettering import OCR, name_of_words, ocr_of, words_of_name
from ..core.tasks import TASKS
from ..core.taxonomy import known_kind
from ..core.verdicts import lettering, verdicts
from ..core.verdicts.lettering import Line, Wording
from ..core.verdicts.verdicts import shown, spared
from ..edit_samples.verified import one_frame, placed, said_before, without_edit
from ..edit_samples.written import step_of
from ..models.text_reader import ReadLine, read_lines
from ..wires import boxes as wire
from ..wires.inputs import share_input
from ..wires.sockets import EditSample, Sample, Scores
from ..wires.tensors import to_bytes

SURE = 0.9
"""Least score of a line that becomes a region. Ours: what is read on the bundled photos, which bear no words, stays below
it but for a row of zeros, and drawn words lie above it."""

LIKELY = 0.5
"""Least score of a line that an edit is judged by: rapidocr's own."""


class ReadText(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsReadText",
            display_name="Read Text (OCR)",
            category="editpairs",
            description="Finds lines of words in a photo and reads them, Chinese and English: a box and a mask for each. Needs no weights beyond the package rapidocr (Apache-2.0).",
            search_aliases=["ocr", "text detection", "text recognition", "rapidocr", "paddleocr", "read words"],
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of them."),
                share_input(
                    "score_threshold",
                    SURE,
                    "Least confidence of a line, the mean over its characters. Patterns such as windows are read as letters below 0.9, words seldom.",
                ),
                Sample.Input("sample", optional=True, tooltip="The photo's sample: it takes the words along, for writers, edits of text and Save Annotation. One that failed before is not read."),
            ],
            outputs=[
                io.BoundingBox.Output("boxes", tooltip='A list per image of boxes in pixels, with score. The label is a name that instructions can use: text "OPEN".'),
                io.Mask.Output("masks", tooltip="A mask for each box, in the same order: the line with its slant. One empty mask where nothing is read."),
                io.String.Output("text", tooltip="The words alone, a line each, from top to bottom; an empty line between images."),
                io.Int.Output("count", tooltip="How many lines there are in all images together."),
                Sample.Output("sample", tooltip="The sample with its words, or as it was given."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, image: torch.Tensor, score_threshold: float, sample: EditSample | None = None) -> io.NodeOutput:
        height, width = image.shape[1:3]
        if sample is not None and sample.failure:
            return io.NodeOutput([[]], torch.zeros((1, height, width)), "", 0, sample)
        if sample is not None and (image.shape[0] > 1 or (width, height) != sample.size):
            raise ValueError("the words of a sample are those of its one photo: wire Load Edit Sample's image to image")
        frames = [
            [line for line in frame if not texts.fault_of_name(name_of_words(line.words))]
            for frame in read_lines([to_bytes(one) for one in image], score_threshold)
        ]
        boxes = [[wire.of_corners(one.box, name_of_words(one.words), one.score) for one in frame] for frame in frames]
        marked = [one.marked(width, height) for frame in frames for one in frame]
        masks = np.stack(marked or [np.zeros((height, width), dtype=bool)])
        words = "\n\n".join("\n".join(one.words for one in frame) for frame in frames)
        return io.NodeOutput(boxes, torch.from_numpy(masks).float(), words, len(marked), _with_words(sample, frames[0]))


def _with_words(sample: EditSample | None, lines: list[ReadLine]) -> EditSample | None:
    """The sample with its photo's lines of words noted."""
    if sample is None:
        return None
    found = [
        Region(
            class_name=name_of_words(one.words),
            bbox=one.box,
            score=one.score,
            mask=rle.encode(one.marked(*sample.size)),
        )
        for one in lines
    ]
    return replace(sample, further={**sample.further, OCR: ocr_of(found)})


class CheckText(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsCheckText",
            display_name="Check Text (OCR)",
            category="editpairs",
            description="Reads the words before and after an edit: those that were asked for have to be there afterwards and not before, those taken away no longer. Chinese and English.",
            search_aliases=["ocr check", "text verification", "read back", "spelling check", "text witness"],
            has_intermediate_output=True,
            inputs=[
                Sample.Input("sample", tooltip="The sample: its instruction, target and region say which words to look for, in double quotes."),
                io.Image.Input("source", tooltip="The photo before the edit."),
                io.Image.Input("edited", tooltip="The photo after it, of the same size."),
                io.String.Input("old_words", default="", optional=True, tooltip="Words that the edit takes away. Empty, together with new_words: taken from what the instruction and the region's name quote."),
                io.String.Input("new_words", default="", optional=True, tooltip="Words that the edit puts there. Empty, together with old_words: taken from what the instruction and its target quote."),
                Scores.Input("scores", optional=True, tooltip="What was found before, such as by Verify Pixels. It is passed on where no words are asked for, and what it rejects is not read."),
                share_input("min_alike", lettering.SPELT, "From this likeness on new words count as read: 1 less the share of letters that are wrong. 0.9: up to nine letters have all to be right."),
                share_input("max_left", lettering.READABLE, "From this likeness on old words can still be read. Lower is stricter."),
                share_input("score_threshold", LIKELY, "Least confidence of a line, the mean over its characters. rapidocr's own.", optional=True),
            ],
            outputs=[
                Scores.Output("scores", tooltip="Likeness of the words before and after, and verdict, for Save Edit Pair."),
                io.String.Output("report", tooltip="Which words were asked for, and what was read in each image."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        sample: EditSample,
        source: torch.Tensor,
        edited: torch.Tensor,
        min_alike: float,
        max_left: float,
        old_words: str = "",
        new_words: str = "",
        scores: list[verdicts.Scores] | None = None,
        score_threshold: float = LIKELY,
    ) -> io.NodeOutput:
        if sample.failure:
            failed = [without_edit(sample)]
            return io.NodeOutput(failed, "", ui={"text": shown(failed)})
        earlier = said_before(source, edited, scores)
        width, height = one_frame(sample, source, edited)
        wordings, whole = _wordings(sample, old_words.strip(), new_words.strip(), width, height)
        passed = [spared(one) for one in earlier]
        live = [index for index, rejected in enumerate(passed) if rejected is None] if wordings else []
        befores = _read(source, live, score_threshold)
        afters = _read(edited, live, score_threshold)
        results, reports = [], []
        for index, rejected in enumerate(passed):
            if rejected is not None:
                results.append(rejected)
                reports.append("rejected before, not read")
            elif not wordings:
                results.append(_nothing_to_say(sample, earlier[index]))
                reports.append("no words are asked for")
            else:
                before, after = befores[index], afters[index]
                results.append(
                    lettering.scores(*lettering.weigh(wordings, before, after, min_alike, max_left), whole=whole)
                )
                reports.append(_report(wordings, before, after))
        return io.NodeOutput(results, "\n\n".join(reports), ui={"text": shown(results)})


def _wordings(sample: EditSample, old: str, new: str, width: int, height: int) -> tuple[list[Wording], bool]:
    """The words that the sample's operations are about, none of tasks of several turns, and whether that is all of it."""
    task = TASKS.get(sample.task)
    if task and task.turns > 1:
        return [], False
    steps = max(len(sample.writing.steps), 1) if sample.writing else 1
    found, about_words = [], []
    for number in range(1, steps + 1):
        step, region = step_of(sample, number)
        name = (region.class_name if region else "") or ""
        place: Box | None = placed(region, sample, width, height) if region else None
        command = sample.writing.instruction if sample.writing and steps == 1 else step.editor_prompt
        words = (
            (old, new) if (old or new) and steps == 1 else lettering.words_asked(step.op, name, command, step.target)
        )
        if any(words):
            found.append(Wording(*words, place))
            about_words.append(_is_about_words(sample, name))
    instruction = sample.writing.instruction if sample.writing else sample.instruction
    return found, lettering.says_all(found, steps, instruction, all(about_words))


def _is_about_words(sample: EditSample, name: str) -> bool:
    """Whether words alone change: of a region that is words, or by an edit of a kind that is about them."""
    kind = known_kind(sample.task, sample.provenance.subtask)
    return bool(words_of_name(name)) or (kind is not None and kind.rubric == "text")


def _read(images: torch.Tensor, wanted: list[int], score: float) -> dict[int, list[Line]]:
    """The lines in the images of these numbers; a single image is that of all numbers, and is read once."""
    place = {index: index if images.shape[0] > 1 else 0 for index in wanted}
    looked = sorted(set(place.values()))
    frames: list[list[ReadLine]] = read_lines([to_bytes(images[one]) for one in looked], score) if looked else []
    found = {number: [Line(one.words, one.box) for one in frame] for number, frame in zip(looked, frames, strict=True)}
    return {index: found[number] for index, number in place.items()}


def _nothing_to_say(sample: EditSample, earlier: verdicts.Scores | None) -> verdicts.Scores:
    """What was found before, so that the reader adds nothing; alone it leaves the edit unscored."""
    if earlier is not None:
        return verdicts.Scores({}, earlier.verdict, earlier.reason, voices=earlier.voices)
    return verdicts.Scores(
        {},
        "unscored",
        f"text: this {sample.task} asks for no words in double quotes; wire what was found before to scores",
    )


def _report(wordings: list[Wording], before: list[Line], after: list[Line]) -> str:
    """What was asked and read, in words."""
    lines = [f"asked: {one.old!r} -> {one.new!r}" for one in wordings]
    return "\n".join([*lines, *(f"before: {one.words}" for one in before), *(f"after: {one.words}" for one in after)])
