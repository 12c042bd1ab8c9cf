"""Load Second Image: the reference, the second frame or the finished edit that belongs to a sample's photo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import folder_paths
import numpy as np
from comfy_api.latest import io
from PIL import Image

from ..core import photos
from ..core.records import SampleFailure
from ..core.tasks import BY_TASK, TASKS
from ..edit_samples.fitted import same_shape
from ..files import opened
from ..wires.sockets import EditSample, Sample
from ..wires.tensors import to_image

Role = Literal["reference", "frame2", "edited"]
ROLES: tuple[Role, ...] = ("reference", "frame2", "edited")


class LoadSecondImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsLoadSecondImage",
            display_name="Load Second Image",
            category="editpairs",
            description="Loads the picture that belongs to a sample's photo: a reference, a second frame, or an edit that was made already. The batch driver fills it in.",
            search_aliases=["reference image", "second frame", "load edited image", "image pair", "before and after"],
            inputs=[
                Sample.Input("sample", tooltip="What Load Edit Sample gave out."),
                io.Combo.Input(
                    "image",
                    options=opened.second_names(),
                    upload=io.UploadType.image,
                    image_folder=io.FolderType.input,
                    tooltip="The picture: a bundled sample or an upload.",
                ),
                io.Combo.Input(
                    "role",
                    options=list(ROLES),
                    default="reference",
                    tooltip="reference: what the edit is to show, of any size. frame2, edited: the photo afterwards; brought to the photo's size where a model's pixel grid changed it.",
                ),
                io.Combo.Input(
                    "when",
                    options=["always", BY_TASK],
                    default="always",
                    optional=True,
                    tooltip="its task needs it: a reference is loaded for task visual and a second frame for task motion, and other samples pass as they are. So one graph serves all tasks.",
                ),
            ],
            outputs=[
                Sample.Output("sample", tooltip="The sample with this picture in it."),
                io.Image.Output(
                    "image", tooltip="The picture upright, in sRGB, without alpha; the photo where none is loaded."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, image: str) -> bool | str:
        return opened.check(image)

    @classmethod
    def fingerprint_inputs(cls, image: str, **_widgets: object) -> str:
        return opened.content(image)

    @classmethod
    def execute(cls, sample: EditSample, image: str, role: Role, when: str = "always") -> io.NodeOutput:
        task = TASKS.get(sample.task)
        if when == BY_TASK and not (task and task.second == role):
            return io.NodeOutput(sample, sample.source)
        path = Path(folder_paths.get_annotated_filepath(image))
        data = photos.read_bytes(path)
        picture = photos.open_photo(data, path.name)
        files = (*sample.files, *opened.as_they_are(data, picture))
        if role != "reference" and picture.size != sample.size:
            if not same_shape(picture.size, sample.size):
                why = (
                    f"the {role} picture is {picture.width} x {picture.height}, the photo {sample.size[0]} x "
                    f"{sample.size[1]}: they show no common frame; leave the pair out or crop it"
                )
                refused = replace(sample, failure=SampleFailure("input", "OtherShape", why, skipped=True))
                return io.NodeOutput(refused, to_image(np.asarray(picture)))
            picture = picture.resize(sample.size, Image.Resampling.LANCZOS)
        loaded = to_image(np.asarray(picture))
        return io.NodeOutput(replace(sample, images={**sample.images, role: loaded}, files=files), loaded)
