"""Instruction writers."""

from __future__ import annotations

from comfy_api.latest import io

from ..core import wording
from ..sockets import EditSample, Sample


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
                )
            ],
        )

    @classmethod
    def execute(cls, sample: EditSample) -> io.NodeOutput:
        if sample.instruction:
            return io.NodeOutput(sample.instruction)
        if sample.region is None:
            raise ValueError("the sample has no region to write about: type an instruction into Load Edit Sample")
        return io.NodeOutput(wording.instruction(sample.task, sample.region, *sample.size, sample.seed))
