"""Save Photo: the sink of the synthesize stage. What it saves is an input like photos that somebody took."""

from __future__ import annotations

from io import BytesIO

import torch
from comfy_api.latest import io
from PIL import Image

from ..core.records import PhotoRecord
from ..core.regions.annotation import Annotation, to_json
from ..files.saved import PNG, OutputFiles, failed
from ..routes import ingredients
from ..wires.inputs import folder_input, uncomputed
from ..wires.sockets import EditSample, Sample
from ..wires.tensors import to_bytes


class SavePhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsSavePhoto",
            display_name="Save Photo",
            category="editpairs",
            description="Saves pictures that were made from a caption, with the caption, so that edit workflows can take them as photos.",
            search_aliases=["save synthetic photo", "text to image sink", "synthesize", "save source image"],
            is_output_node=True,
            inputs=[
                Sample.Input("sample", tooltip="What Load Edit Sample gave out: its instruction is the caption."),
                io.Image.Input("image", lazy=True, tooltip="What was painted. A batch gives a photo each."),
                folder_input(),
            ],
            outputs=[],
            hidden=[io.Hidden.prompt],
        )

    @classmethod
    def check_lazy_status(cls, sample: EditSample, image: torch.Tensor | None = None, **_widgets: object) -> list[str]:
        return uncomputed(sample, image=image)

    @classmethod
    def execute(cls, sample: EditSample, image: torch.Tensor | None = None, folder: str = "editpairs") -> io.NodeOutput:
        files = OutputFiles(folder)
        if sample.failure:
            return failed(sample, files)
        assert image is not None
        made = ingredients.basis(sample, cls.hidden.prompt)
        key = sample.provenance.key
        records = []
        for number, picture in enumerate(image):
            own = f"{key}~{number}" if len(image) > 1 else key
            buffer = BytesIO()
            Image.fromarray(to_bytes(picture)).save(buffer, "PNG", **PNG)
            saved = files.save(f"{files.prefix(own)}-photo.png", buffer.getvalue())
            line = _line(sample, (picture.shape[1], picture.shape[0]))
            records.append(PhotoRecord(key=own, annotation=line, file=saved, basis=made))
        returned = [one.model_dump(mode="json") for one in records]
        files.finish(key, returned)
        shown = [one.file.model_dump(include={"filename", "subfolder", "type"}) for one in records]
        return io.NodeOutput(ui={"editpairs": returned, "images": shown, "text": [sample.instruction]})


def _line(sample: EditSample, size: tuple[int, int]) -> dict[str, object]:
    """The photo's annotation, with what it was made of.

    A caption that was asked for is not known to be seen, so it does not stand as the photo's own.
    """
    origin = sample.provenance
    item = to_json(Annotation(path=origin.source_path, size=size, regions=(), source_url=origin.source_url))
    synthetic = {"prompt": sample.instruction, "seed": sample.seed}
    return {**item, "source_sha256": origin.source_sha256, "synthetic": synthetic}
