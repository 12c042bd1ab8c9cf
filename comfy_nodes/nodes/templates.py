"""Nodes that write without a language model: instructions from templates, and named styles."""

from __future__ import annotations

import re
from dataclasses import replace

from comfy_api.latest import io

from ..core.instructions import wording
from ..core.instructions.instructions import Step, Writing
from ..core.instructions.scenes import Scene
from ..core.instructions.styles import STYLES, STYLES_VERSION, NamedStyle, drawn
from ..core.instructions.wording import TEMPLATE_VERSION
from ..core.records import SampleFailure
from ..edit_samples.written import by_the_user, names_another, node_name, refused, step_of, template_writing, written
from ..wires.inputs import BY_SAMPLE
from ..wires.sockets import EditSample, Sample


class WriteInstructionTemplate(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsWriteInstructionTemplate",
            display_name="Write Instruction (template)",
            category="editpairs",
            description="Writes the edit instruction from the region's name, place and size, without a model. An instruction that the user wrote is passed on.",
            search_aliases=["prompt writer", "edit instruction", "template"],
            inputs=[Sample.Input("sample", tooltip="What Load Edit Sample gave out.")],
            outputs=[
                io.String.Output(
                    "instruction", tooltip="Such as 'Remove the small cup in the lower-left of the image.'"
                ),
                Sample.Output(
                    "sample", tooltip="The sample with its instruction, or with the reason why there is none."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, sample: EditSample) -> io.NodeOutput:
        if sample.failure:
            return io.NodeOutput("", sample)
        if sample.instruction.strip():
            if sample.task == "add" and (why := names_another(sample)):
                node = node_name("EditPairsWriteInstructionTemplate", cls)
                return io.NodeOutput("", refused(sample, "OtherThing", why, node))
            done = by_the_user(sample)
            return io.NodeOutput(sample.instruction, done)
        if sample.region is None:
            raise ValueError("the sample has no region to write about: type an instruction into Load Edit Sample")
        node = node_name("EditPairsWriteInstructionTemplate", cls)
        if not sample.region.class_name:
            return io.NodeOutput("", refused(sample, "NoName", wording.NAMELESS, node))
        if unclear := Scene(*sample.size, (sample.region,), sample.others).ambiguous("en"):
            return io.NodeOutput("", refused(sample, "AmbiguousRegion", unclear, node))
        words = wording.instruction(sample.task, sample.region, *sample.size, sample.seed, sample.others)
        return io.NodeOutput(words, written(sample, [template_writing(sample, words, TEMPLATE_VERSION)]))


_UNTOLD = (
    "{!r} does not say what the picture looks like afterwards, and the model paints what it is told: say it plainly, such "
    "as 'Turn the photo into a watercolour painting.', or have the write stage write it"
)


BY_SEED = "by the seed"


class PickStyle(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsPickStyle",
            display_name="Pick Style",
            category="editpairs",
            description="Gives the instruction of a style edit and the words for the model that paints it, without a language model.",
            search_aliases=["style transfer", "art style", "named style", "watercolour", "random style"],
            inputs=[
                Sample.Input("sample", tooltip="What Load Edit Sample gave out."),
                io.Combo.Input(
                    "style",
                    options=[BY_SAMPLE, BY_SEED, *STYLES],
                    default=BY_SAMPLE,
                    tooltip="From the sample: its own instruction, or what its seed draws where it has none. By the seed, or a style by name: in place of its instruction.",
                ),
                io.String.Input(
                    "caption",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="What the photo shows, such as Caption Image's short caption. Without it, what its annotation says. The prompt begins with it, so that the model invents nothing.",
                ),
            ],
            outputs=[
                Sample.Output("sample", tooltip="The sample with the instruction."),
                io.String.Output("instruction", tooltip="Such as 'Turn the photo into a mosaic.'"),
                io.String.Output("prompt", tooltip="What the picture is to look like, for the model that paints it."),
            ],
        )

    @classmethod
    def execute(cls, sample: EditSample, style: str = BY_SAMPLE, caption: str = "") -> io.NodeOutput:
        if sample.failure:
            return io.NodeOutput(sample, "", "")
        if style == BY_SAMPLE and sample.instruction.strip():
            step, _ = step_of(sample, 1)
            if not step.target:
                sample = replace(sample, failure=SampleFailure("edit", "NoCaption", _UNTOLD.format(sample.instruction)))
            return io.NodeOutput(sample, sample.instruction, of_photo(step.target, sample, caption))
        chosen = STYLES.get(style) or drawn(sample.seed)
        told = written(sample, [_writing(sample, chosen)])
        return io.NodeOutput(told, chosen.instruction, of_photo(chosen.prompt, sample, caption))


def of_photo(look: str, sample: EditSample, caption: str = "") -> str:
    """A caption of the result: what the photo shows, then how it looks. A model that is told of the look alone paints
    what it likes.

    Args:
        caption: of the photo; the annotation's first where it is empty. One sentence of it goes in, so that the look
            stays within the 77 tokens that CLIP reads at once.
    """
    shown = " ".join((caption.strip() or next(iter(sample.captions), "")).split())
    shown = re.split(r"(?<=\w\w)[.!;](?= )", shown)[0].rstrip(" .")
    return f"{shown}, {look}" if shown and look else look


def _writing(sample: EditSample, style: NamedStyle) -> Writing:
    step = Step(sample.task, "", None, style.instruction, style.prompt)
    return Writing(
        style.instruction, "en", style.prompt, style.instruction, (step,), model="template", prompt_id="styles",
        prompt_version=STYLES_VERSION,
    )  # fmt: skip
