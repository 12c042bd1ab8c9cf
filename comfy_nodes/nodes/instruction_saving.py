"""Save Instructions: the sink of the write stage. What it writes is an input of edit workflows."""

from __future__ import annotations

import json
from dataclasses import replace

from comfy_api.latest import io

from .. import ingredients
from ..core.instructions import InstructionRecord, annotation_line
from ..core.records import Basis
from ..output_files import OutputFiles
from ..sample_failures import failed
from ..sockets import EditSample, Sample


class SaveInstructions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsSaveInstructions",
            display_name="Save Instructions",
            category="editpairs",
            description="Saves a sample's instructions beside its regions, as annotation JSON that edit workflows read.",
            search_aliases=["save prompts", "export instructions", "write stage sink"],
            is_output_node=True,
            inputs=[
                Sample.Input("sample", tooltip="What a writer gave out."),
                io.String.Input(
                    "folder", default="editpairs", optional=True, tooltip="Subfolder of ComfyUI's output folder."
                ),
            ],
            outputs=[],
            hidden=[io.Hidden.prompt],
        )

    @classmethod
    def execute(cls, sample: EditSample, folder: str = "editpairs") -> io.NodeOutput:
        files = OutputFiles(folder)
        if sample.failure:
            return failed(sample, files)
        if not sample.writings:
            raise ValueError("the sample has no instruction: wire a writer between Load Edit Sample and this node")
        made = ingredients.basis(sample, cls.hidden.prompt)
        records = [_saved(sample, number, files, made) for number in range(len(sample.writings))]
        returned = [one.model_dump(mode="json") for one in records]
        files.finish(sample.provenance.key, returned)
        return io.NodeOutput(ui={"editpairs": returned, "text": [one.writing.instruction for one in records]})


def _saved(sample: EditSample, number: int, files: OutputFiles, made: Basis) -> InstructionRecord:
    """One of the sample's instructions as a record, its file written. Where there are several, each gets a slot of its
    own, so that edits of one region stay apart when the file is an input."""
    origin, writing = sample.provenance, sample.writings[number]
    several = len(sample.writings) > 1
    slot = "/".join(part for part in (origin.slot, str(number) if several else "") if part)
    key = f"{origin.key}~{number}" if several else origin.key
    line = annotation_line(writing, sample.task, origin.subtask, slot, sample.size, origin, sample.points)
    data = json.dumps(line, ensure_ascii=False).encode()
    file = files.save(f"{files.prefix(key)}.instruction.json", data)
    return InstructionRecord(
        key=key,
        task=sample.task,
        subtask=origin.subtask,
        slot=slot,
        writing=replace(writing, regions=()),
        annotation=line,
        file=file,
        basis=made,
    )
