"""Samples on their way through the write stage: what is known of one, with an instruction, or with the reason why not.

The one place where nodes turn what a writer gave into a sample. No wording and no prompts here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
from comfy_api.latest import io

from ..core.instructions.captions import caption
from ..core.instructions.checks import language_of, stems
from ..core.instructions.instructions import USER, Step, Writing
from ..core.instructions.scenes import Scene, further_regions
from ..core.instructions.telling import by_removal
from ..core.records import SampleFailure
from ..core.regions.annotation import Region, sift
from ..core.regions.lettering import words_read
from ..core.tasks import TASKS
from ..vlm.asking import Failure
from ..vlm.questions.observer import Command
from ..wires import boxes as wire
from ..wires.sockets import EditSample
from ..wires.tensors import to_bytes

STAGE = "write"


def photo_of(sample: EditSample) -> np.ndarray:
    """uint8 [H, W, 3]."""
    return to_bytes(sample.source[0])


def scene_of(sample: EditSample, boxes: Any = None, turns: int = 0) -> Scene | str:
    """The photo's regions for the sample's task.

    Args:
        boxes: BOUNDING_BOX with further named boxes of the photo. An edit of several regions takes its others from them.
        turns: of a dialogue how many; 0 for the task's own number. Of one about several things each turn takes one.

    Returns:
        A sentence where the regions that the task needs are not there.
    """
    width, height = sample.size
    others, words = _others(sample, boxes), words_read(sample.further)
    task = TASKS.get(sample.task)
    wanted = task.regions if task else int(sample.region is not None)
    if not wanted:
        return Scene(width, height, (), others, words)
    if sample.region is None:
        return f"task {sample.task} edits a region, and the sample has none: pick or paint one in Load Edit Sample"
    if wanted > 1 and turns:
        wanted = turns
    known = sample.regions[:wanted]
    further = further_regions(known, others, width, height, sample.seed, wanted - len(known))
    if len(known) + len(further) < wanted:
        counted = {2: "two"}.get(wanted, str(wanted))
        return (
            f"task {sample.task} edits {counted} regions, and no other named box lies far enough from "
            f"{'this one' if len(known) + len(further) == 1 else 'these'}: wire all boxes of the photo to boxes"
        )
    return Scene(width, height, (*known, *further), [one for one in others if one not in further], words)


def written(sample: EditSample, writings: list[Writing]) -> EditSample:
    """The sample with its instructions; the first is the one that an edit graph carries out."""
    first = writings[0]
    return replace(sample, instruction=first.instruction, writings=tuple(writings), also=first.regions[1:])


def by_the_user(sample: EditSample) -> EditSample:
    """The sample with the instruction that stands in Load Edit Sample, word for word."""
    words, known = sample.instruction.strip(), sample.writing
    if known is not None and known.instruction == words:
        return sample
    return written(sample, [user_writing(sample, words, editor_prompt=words)])


def user_writing(sample: EditSample, words: str, editor_prompt: str) -> Writing:
    """What a person wrote, beside the command that the editor gets."""
    regions = (sample.region,) if sample.region else ()
    thing = (sample.region.class_name or "") if sample.region else ""
    step = Step(sample.task, thing, 0 if regions else None, editor_prompt, "")
    return Writing(words, language_of(words), "", editor_prompt, (step,), regions=regions, model=USER)


def decoupled(sample: EditSample, commands: Mapping[str, Command]) -> EditSample:
    """The sample with a person's or a writer's words untouched, and a plain command for the editor beside them. What a
    writer adds is taken from the photo; that command stays.

    Args:
        commands: by the instruction; one of the sample's that has none is left out.
    """
    known = {one.instruction: one for one in sample.writings}
    return written(sample, [_decoupled(sample, known.get(wish), wish, one) for wish, one in commands.items()])


def _decoupled(sample: EditSample, known: Writing | None, wish: str, command: Command) -> Writing:
    if known is not None and any(by_removal(known, step) for step in known.steps):
        return known
    known = known or user_writing(sample, wish, command.text)
    rewriter = f"{command.model}, {command.prompt_id} {command.prompt_version}"
    # Of several steps each keeps its own.
    steps = (
        tuple(replace(one, editor_prompt=command.text) for one in known.steps) if len(known.steps) == 1 else known.steps
    )
    return replace(
        known, editor_prompt=command.text, steps=steps, rewriter=rewriter, reply=known.reply or command.reply
    )


def template_writing(sample: EditSample, words: str, version: str) -> Writing:
    """What the template writer wrote. An added thing is erased from the photo, so the editor is told to remove it."""
    assert sample.region
    thing = sample.region.class_name or "object"
    command = words
    if sample.task == "add":
        scene = Scene(*sample.size, (sample.region,), sample.others)
        command = f"Remove {scene.the(0, thing, 'en')}."
    step = Step(sample.task, thing, 0, command, "")
    return Writing(
        words, "en", "", command, (step,), regions=(sample.region,), model="template", prompt_id="template",
        prompt_version=version,
    )  # fmt: skip


def names_another(sample: EditSample) -> str:
    """Why a person's addition cannot be made by taking the region's thing away; empty where nothing speaks against it."""
    thing = (sample.region.class_name or "") if sample.region else ""
    if language_of(sample.instruction) != "en" or not stems(thing) or stems(thing) & stems(sample.instruction):
        return ""
    return (
        f"{sample.instruction!r} does not name the {thing}, and this graph takes the {thing} away so that the photo is the "
        "picture after: name it, leave the instruction empty, or add something new with --workflow instruct"
    )


def failed(sample: EditSample, failure: Failure, node: str) -> EditSample:
    """The sample with the reason why a model gave nothing usable."""
    return replace(sample, failure=SampleFailure(STAGE, failure.kind, failure.message, node))


def refused(sample: EditSample, error_type: str, message: str, node: str) -> EditSample:
    """The sample with the reason why nothing can be written about it."""
    return replace(sample, failure=SampleFailure(STAGE, error_type, message, node, skipped=True))


def node_name(node_id: str, node: type[io.ComfyNode]) -> str:
    """Class and id of a running node, as the driver names one that failed. A running node's class is locked, so its
    schema cannot be asked."""
    return f"{node_id} #{node.hidden.unique_id}"


def routing_scene(sample: EditSample, boxes: Any, backgrounds: Any) -> Scene:
    """The photo's regions for whichever task: the sample's own marked, the others named."""
    others = _others(sample, boxes)
    if backgrounds is not None:
        others += sift(wire.regions(backgrounds, None, "background", *sample.size))[0]
    grounded = boxes is not None or backgrounds is not None or bool(sample.regions or others)
    regions = (sample.region,) if sample.region else ()
    return Scene(*sample.size, regions, others, words_read(sample.further), grounded)


def _others(sample: EditSample, boxes: Any) -> list[Region]:
    """The photo's other regions: those in `boxes`, or what the sample's annotation says."""
    if boxes is None:
        return list(sample.others)
    return sift(wire.regions(boxes, None, "object", *sample.size))[0]


def things_of(sample: EditSample, boxes: Any) -> Scene:
    """The photo with all that is known to be on it, none of it chosen to be edited."""
    own = list(sample.regions) if boxes is None else []
    return Scene(*sample.size, (), [*own, *_others(sample, boxes)])


def caption_of(sample: EditSample, given: str) -> str:
    """What the photo shows, as the graph says it, or else as its annotation does; empty where neither knows."""
    return given.strip() or next(iter(sample.captions), "")


def strings(sample: EditSample) -> tuple[str, str, str, str]:
    """Instruction, target, editor prompt and steps as JSON; all empty where the sample failed."""
    writing = sample.writing
    if sample.failure or writing is None:
        return "", "", "", ""
    steps = json.dumps([asdict(step) for step in writing.steps], ensure_ascii=False)
    return writing.instruction, writing.target, writing.editor_prompt, steps


def step_of(sample: EditSample, number: int) -> tuple[Step, Region | None]:
    """An operation, counted from 1, and its region; None where it is about the whole photo.

    Number 0 is the whole edit as one operation of the sample's task, and so is an instruction that nobody took apart.
    Its target is what was written, or what the words of a plain command tell, or nothing; never the command.

    Raises:
        ValueError: the edit has no such step.
    """
    writing = sample.writing
    steps = writing.steps if writing else ()
    if not steps or not number:
        name = (sample.region.class_name or "") if sample.region else ""
        op = steps[0].op if len(steps) == 1 else sample.task
        command = (writing.editor_prompt if writing else "") or sample.instruction
        target = writing.target if writing and len(steps) < 2 else ""
        steps, number = (Step(op, name, 0 if sample.region else None, command, target),), max(1, number)
    if number > len(steps):
        raise ValueError(
            f"the edit has {len(steps)} step{'s' if len(steps) > 1 else ''}, and step {number} is asked for: "
            "have Write Instruction (VLM) write one for this task"
        )
    step = steps[number - 1]
    step = replace(step, target=step.target or caption(step.op, step.editor_prompt, step.object))
    return step, sample.regions[step.region] if step.region is not None else None
