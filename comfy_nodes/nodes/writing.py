"""Instruction writers: by template, by a language model, between two frames, and beside a user's own words."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from comfy_api.latest import io

from ..core.instructions.checks import NothingToEdit
from ..core.instructions.scenes import Scene
from ..core.instructions.shapes import MAX_EDITS
from ..core.instructions.turn_checks import LEAST_TURNS, MOST_TURNS
from ..core.instructions.wording import Language
from ..core.tasks import task_named
from ..core.taxonomy import WRITABLE, Kind, kind_of, known_kind
from ..edit_samples.written import (
    by_the_user,
    caption_of,
    decoupled,
    failed,
    node_name,
    photo_of,
    refused,
    scene_of,
    strings,
    things_of,
    written,
)
from ..vlm import asking
from ..vlm.questions import observer, writer
from ..wires.inputs import BY_SAMPLE, TEMPERATURE, language_input, temperature_input
from ..wires.sockets import EditSample, Sample, Vlm
from ..wires.tensors import to_bytes

Rewritten = Literal["all", "reasoning"]
"""Whose instructions are put into plain words."""


def _vlm() -> io.Input:
    return Vlm.Input("vlm", tooltip="The language model: Load VLM or an endpoint.")


def _language() -> io.Input:
    return language_input("Language of the instruction. Targets and commands for editors are always English.")


def _caption() -> io.Input:
    return io.String.Input(
        "caption",
        default="",
        multiline=True,
        optional=True,
        tooltip="What the photo shows, such as Caption Image's dense caption. Empty: the first of the sample's annotation. It helps the model and is never obeyed.",
    )


def _outputs() -> list[io.Output]:
    return [
        Sample.Output("sample", tooltip="The sample with its instruction, or with the reason why there is none."),
        io.String.Output("instruction", tooltip="The instruction, for Save Edit Pair. Empty where none could be had."),
        io.String.Output("target", tooltip="English: what is to be seen in the region, for an editor that fills it."),
        io.String.Output("editor_prompt", tooltip="Plain English command, for an editor that follows instructions."),
        io.String.Output("steps", tooltip="JSON list: operation, object, command and target of each step."),
    ]


class WriteInstruction(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsWriteInstruction",
            display_name="Write Instruction (VLM)",
            category="editpairs",
            description="Has a language model look at the photo and write the edit instruction. Place and size words come from the region, not from the model.",
            search_aliases=["prompt writer", "edit instruction", "instruction generator", "qwen instruction"],
            inputs=[
                _vlm(),
                Sample.Input("sample", tooltip="What Load Edit Sample gave out."),
                io.Combo.Input(
                    "kind",
                    options=[BY_SAMPLE, *WRITABLE],
                    default=BY_SAMPLE,
                    tooltip="Kind of edit by its published name. From the sample: what the driver asks for, else the task's own.",
                ),
                _language(),
                io.Int.Input(
                    "count",
                    default=1,
                    min=1,
                    max=MAX_EDITS,
                    tooltip="How many different instructions. Save Instructions saves all, an edit graph takes the first.",
                ),
                _caption(),
                io.BoundingBox.Input(
                    "boxes",
                    force_input=True,
                    optional=True,
                    tooltip="All named boxes of the photo: tells things of one name apart, and gives edits of two things their second.",
                ),
                io.Image.Input(
                    "reference",
                    optional=True,
                    tooltip="Task visual: a picture of the new object. Without it the model thinks one up.",
                ),
                temperature_input(),
                io.Int.Input(
                    "turns",
                    default=0,
                    min=0,
                    max=MOST_TURNS,
                    optional=True,
                    tooltip="Kinds with several turns: how many, 2 to 5. 0: the kind's own number, which is 2 of content memory and 3 of the others. A content memory takes as many things as turns.",
                ),
            ],
            outputs=_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    async def execute(
        cls,
        vlm: asking.Vlm,
        sample: EditSample,
        kind: str = BY_SAMPLE,
        language: Language = "en",
        count: int = 1,
        caption: str = "",
        boxes: Any = None,
        reference: torch.Tensor | None = None,
        temperature: float = TEMPERATURE,
        turns: int = 0,
    ) -> io.NodeOutput:
        if turns and not LEAST_TURNS <= turns <= MOST_TURNS:
            raise ValueError(f"turns is {turns}; it is {LEAST_TURNS} to {MOST_TURNS}, or 0 for the kind's own number")
        if sample.failure:
            return _given(sample)
        if sample.instruction.strip():
            return _given(by_the_user(sample))
        row, sample = _kind(sample, kind)
        turns = turns if task_named(row.task).turns > 1 else 0
        if row.shape == "motion" and "frame2" not in sample.images:
            raise ValueError(f"{row.id} is written from two frames: load the second one with Load Second Image")
        node = node_name("EditPairsWriteInstruction", cls)
        if row.shape == "motion":
            scene: Scene | str = Scene(*sample.size)
        elif row.shape == "free":
            scene = things_of(sample, boxes)
            sample = replace(sample, region=None, also=())  # what it changes is not bound to one
        else:
            scene = scene_of(sample, boxes, turns)
        if isinstance(scene, str):
            return _given(refused(sample, "NoRegion", scene, node))
        unclear = scene.ambiguous(language)
        if unclear:
            return _given(refused(sample, "AmbiguousRegion", unclear, node))
        picture = reference if reference is not None else sample.images.get("reference")
        if row.shape == "motion":
            picture = sample.images["frame2"]
        assignment = writer.Assignment(
            kind=row,
            photo=photo_of(sample),
            scene=scene,
            language=language,
            count=count,
            caption=caption_of(sample, caption),
            seed=sample.seed,
            temperature=temperature,
            other_picture=to_bytes(picture[0]) if picture is not None and row.task in ("visual", "motion") else None,
            turns=turns,
        )
        return await _ask(vlm, assignment, sample, node)


class WriteMotionInstruction(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsWriteMotionInstruction",
            display_name="Write Motion Instruction (VLM)",
            category="editpairs",
            description="Has a language model compare two frames and write the instruction that turns the first into the second.",
            search_aliases=["action instruction", "video frames", "pose change", "frame difference caption"],
            inputs=[
                _vlm(),
                Sample.Input("sample", tooltip="What Load Edit Sample gave out; its photo is the first frame."),
                _language(),
                io.Image.Input(
                    "frame2", optional=True, tooltip="The second frame. Without it, the one that the sample carries."
                ),
                _caption(),
                temperature_input(),
            ],
            outputs=_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    async def execute(
        cls,
        vlm: asking.Vlm,
        sample: EditSample,
        language: Language = "en",
        frame2: torch.Tensor | None = None,
        caption: str = "",
        temperature: float = TEMPERATURE,
    ) -> io.NodeOutput:
        if sample.failure:
            return _given(sample)
        if sample.instruction.strip():
            return _given(by_the_user(sample))
        row, sample = _kind(sample, BY_SAMPLE)
        if row.shape != "motion":
            raise ValueError(f"the sample's task is {sample.task}; this node writes for task motion")
        second = frame2 if frame2 is not None else sample.images.get("frame2")
        if second is None:
            raise ValueError("there is no second frame: wire one to frame2")
        assignment = writer.Assignment(
            kind=row,
            photo=photo_of(sample),
            scene=Scene(*sample.size),
            language=language,
            caption=caption_of(sample, caption),
            seed=sample.seed,
            temperature=temperature,
            other_picture=to_bytes(second[0]),
        )
        return await _ask(vlm, assignment, sample, node_name("EditPairsWriteMotionInstruction", cls))


class RewriteInstruction(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsRewriteInstruction",
            display_name="Rewrite Instruction (VLM)",
            category="editpairs",
            description="Keeps the user's wording as the instruction and has a language model write a plain English command for the editor.",
            search_aliases=["prompt refiner", "prompt enhance", "plain command", "decouple instruction"],
            inputs=[
                _vlm(),
                Sample.Input("sample", tooltip="What Load Edit Sample or a writer gave out."),
                io.String.Input(
                    "instruction",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="The user's words. Empty: the sample's own instruction.",
                ),
                _caption(),
                io.BoundingBox.Input("boxes", force_input=True, optional=True, tooltip="All named boxes of the photo."),
                io.Combo.Input(
                    "kinds",
                    options=list(get_args(Rewritten)),
                    default="all",
                    optional=True,
                    tooltip="Which instructions get a command. reasoning: only those of kinds that have to be thought about, such as ScaleEdit's knowledge families; others are passed on as their writer left them, and nobody is asked.",
                ),
            ],
            outputs=_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    async def execute(
        cls,
        vlm: asking.Vlm,
        sample: EditSample,
        instruction: str = "",
        caption: str = "",
        boxes: Any = None,
        kinds: Rewritten = "all",
    ) -> io.NodeOutput:
        if sample.failure or (kinds == "reasoning" and not _is_thought_about(sample)):
            return _given(sample)
        wishes = [instruction.strip()] if instruction.strip() else _told(sample)
        if not wishes:
            raise ValueError("there is no instruction to rewrite: type one in, or into Load Edit Sample")
        node, scene = node_name("EditPairsRewriteInstruction", cls), scene_of(sample, boxes)
        if isinstance(scene, str):
            return _given(refused(sample, "NoRegion", scene, node))
        photo, described = photo_of(sample), caption_of(sample, caption)
        found = await asyncio.gather(
            *(observer.plain_command(vlm, photo, scene, wish, described, sample.seed) for wish in wishes)
        )
        commands = {wish: one for wish, one in zip(wishes, found, strict=True) if not isinstance(one, asking.Failure)}
        if not commands:
            failures = [one for one in found if isinstance(one, asking.Failure)]
            return _given(failed(sample, failures[0], node))
        return _given(decoupled(sample, commands))


def _told(sample: EditSample) -> list[str]:
    """All instructions of a sample, each once: its writers', or what stands in Load Edit Sample."""
    words = sample.instruction.strip()
    written_down = (
        [one.instruction for one in sample.writings]
        if sample.writing and sample.writing.instruction == words
        else [words]
    )
    return [one for one in dict.fromkeys(written_down) if one]


def _is_thought_about(sample: EditSample) -> bool:
    """Whether the sample's instruction says less than what is done."""
    kind = known_kind(sample.task, sample.provenance.subtask)
    return kind is not None and kind.rubric == "reasoning"


def _kind(sample: EditSample, chosen: str) -> tuple[Kind, EditSample]:
    """The kind of edit, and the sample that bears its name."""
    subtask = sample.provenance.subtask if chosen == BY_SAMPLE else chosen
    row = kind_of(sample.task, subtask)
    return row, replace(sample, provenance=sample.provenance.model_copy(update={"subtask": subtask}))


async def _ask(vlm: asking.Vlm, assignment: writer.Assignment, sample: EditSample, node: str) -> io.NodeOutput:
    try:
        found = await writer.write(vlm, assignment)
    except NothingToEdit as nothing:
        return _given(refused(sample, "NothingToEdit", str(nothing), node))
    if isinstance(found, asking.Failure):
        return _given(failed(sample, found, node))
    return _given(written(sample, found))


def _given(sample: EditSample) -> io.NodeOutput:
    return io.NodeOutput(sample, *strings(sample))
