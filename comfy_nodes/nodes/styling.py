"""Pick Style: the instruction of a style edit, and the words for the model that paints it."""

from __future__ import annotations

from comfy_api.latest import io

from ..core.instructions import Step, Writing
from ..core.named_styles import STYLES, STYLES_VERSION, NamedStyle, drawn
from ..sockets import EditSample, Sample
from ..written_samples import written
from .steps import step_of

BY_SAMPLE, BY_SEED = "from the sample", "by the seed"


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
            ],
            outputs=[
                Sample.Output("sample", tooltip="The sample with the instruction."),
                io.String.Output("instruction", tooltip="Such as 'Turn the photo into a mosaic.'"),
                io.String.Output("prompt", tooltip="What the picture is to look like, for the model that paints it."),
            ],
        )

    @classmethod
    def execute(cls, sample: EditSample, style: str = BY_SAMPLE) -> io.NodeOutput:
        if sample.failure:
            return io.NodeOutput(sample, "", "")
        if style == BY_SAMPLE and sample.instruction.strip():
            step, _ = step_of(sample, 1)
            return io.NodeOutput(sample, sample.instruction, step.target or step.editor_prompt or sample.instruction)
        chosen = STYLES.get(style) or drawn(sample.seed)
        return io.NodeOutput(written(sample, [_writing(sample, chosen)]), chosen.instruction, chosen.prompt)


def _writing(sample: EditSample, style: NamedStyle) -> Writing:
    step = Step(sample.task, "", None, style.instruction, style.prompt)
    return Writing(
        style.instruction, "en", style.prompt, style.instruction, (step,), model="template", prompt_id="styles",
        prompt_version=STYLES_VERSION,
    )  # fmt: skip
