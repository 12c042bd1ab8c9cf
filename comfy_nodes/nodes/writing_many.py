"""A writer of several edits of a photo at once, each of another kind, in English and Chinese."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..core.instructions.instructions import Writing
from ..core.instructions.offering import KINDS, OFFERED, kinds_named, obstacle, offered
from ..core.instructions.wording import Language
from ..core.tasks import INSTRUCT
from ..core.taxonomy import Kind
from ..edit_samples.written import by_the_user, caption_of, failed, node_name, photo_of, refused, things_of, written
from ..vlm import asking
from ..vlm.questions import many_kinds
from ..vlm.questions.many_kinds import LEAST, MOST
from ..wires.inputs import TEMPERATURE, language_input, temperature_input
from ..wires.sockets import EditSample, Sample, Vlm


class WriteManyKinds(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsWriteManyKinds",
            display_name="Write Instructions (many kinds, VLM)",
            category="editpairs",
            description="Has a language model look at the photo once and write several edits of it, each of another of UnicEdit's sub-tasks, in English and Chinese.",
            search_aliases=["unicedit writer", "diverse instructions", "bilingual instruction", "multi-task prompts"],
            inputs=[
                Vlm.Input("vlm", tooltip="The language model: Load VLM or an endpoint."),
                Sample.Input("sample", tooltip="What Load Edit Sample gave out, with its task set to instruct."),
                io.String.Input(
                    "kinds",
                    default="",
                    multiline=True,
                    tooltip="Sub-tasks to choose from, by commas or a line each, such as Lens Zooming. Empty: all of them. What the driver asks for of a photo counts in its place.",
                ),
                io.Int.Input("least", default=LEAST, min=1, max=MOST, tooltip="Fewest edits of a photo: 3 in UnicEdit's paper. A photo that gets fewer fails."),
                io.Int.Input("most", default=MOST, min=1, max=MOST, tooltip="Most edits of a photo: 7 in UnicEdit's paper."),
                io.Int.Input(
                    "offered",
                    default=OFFERED,
                    min=1,
                    max=len(KINDS),
                    tooltip="How many sub-tasks a photo is offered, drawn by the seed from those that suit its regions, so that not all photos get the same few. Ours.",
                ),
                language_input("Language of the instruction that pairs are trained on. The other one stands beside it."),
                io.String.Input(
                    "caption",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="What the photo shows. Empty: the first caption of the sample's annotation. It helps the model and is never obeyed.",
                ),
                io.BoundingBox.Input(
                    "boxes",
                    force_input=True,
                    optional=True,
                    tooltip="All named boxes of the photo, in the place of the sample's regions: what edits may be about.",
                ),
                temperature_input(),
            ],
            outputs=[
                Sample.Output("sample", tooltip="The sample with its instructions, or with the reason why there are none. For Save Instructions."),
                io.String.Output("instructions", tooltip="A line for each: its kind, English, Chinese. Empty where none could be had."),
            ],
            hidden=[io.Hidden.unique_id],
        )  # fmt: skip

    @classmethod
    async def execute(
        cls,
        vlm: asking.Vlm,
        sample: EditSample,
        kinds: str = "",
        least: int = LEAST,
        most: int = MOST,
        offered: int = OFFERED,
        language: Language = "en",
        caption: str = "",
        boxes: Any = None,
        temperature: float = TEMPERATURE,
    ) -> io.NodeOutput:
        if least > most:
            raise ValueError(f"least is {least} and most is {most}: no photo can have so many edits")
        if sample.failure:
            return io.NodeOutput(sample, "")
        if sample.instruction.strip():
            return _given(by_the_user(sample))
        if sample.task != INSTRUCT.name:
            raise ValueError(f"the sample's task is {sample.task}; many kinds are written for task {INSTRUCT.name}")
        node, scene = node_name("EditPairsWriteManyKinds", cls), things_of(sample, boxes)
        chosen = _chosen(sample, kinds, offered, scene.others)
        if isinstance(chosen, str):
            return io.NodeOutput(refused(sample, "NoKind", chosen, node), "")
        choice = many_kinds.Choice(
            kinds=chosen,
            photo=photo_of(sample),
            scene=scene,
            language=language,
            least=least,
            most=most,
            caption=caption_of(sample, caption),
            seed=sample.seed,
            temperature=temperature,
        )
        found = await many_kinds.write(vlm, choice)
        if isinstance(found, asking.Failure):
            return io.NodeOutput(failed(sample, found, node), "")
        return _given(replace(written(sample, found), region=next(iter(found[0].regions), None)))


def _chosen(sample: EditSample, kinds: str, most: int, regions: Any) -> list[Kind] | str:
    """The kinds that the photo is offered, or why it is offered none."""
    if sample.offered:
        return list(kinds_named("\n".join(sample.offered)))
    known = kinds_named(kinds)
    found = offered(known, regions, most, sample.seed)
    return found or f"none of the kinds suits the photo; {known[0].name}: {obstacle(known[0], regions)}"


def _given(sample: EditSample) -> io.NodeOutput:
    lines = "\n".join(_line(one) for one in sample.writings)
    return io.NodeOutput(sample, lines, ui={"text": [lines]})


def _line(one: Writing) -> str:
    return " | ".join(part for part in (one.subtask.partition("/")[2], one.instruction, one.other) if part)
