"""Load Second Image: the reference, the second frame, the finished edit or a dialogue's first picture beside a sample's photo."""

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
from ..core.tasks import BY_TASK
from ..core.taxonomy import known_kind
from ..edit_samples.fitted import same_shape
from ..edit_samples.turns import told_turn
from ..files import opened
from ..wires.sockets import EditSample, Sample
from ..wires.tensors import to_image

Role = Literal["reference", "frame2", "edited", "start"]
ROLES: tuple[Role, ...] = ("reference", "frame2", "edited", "start")


class LoadSecondImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsLoadSecondImage",
            display_name="Load Second Image",
            category="editpairs",
            description="Loads the picture that belongs to a sample's photo: a reference, a second frame, an edit that was made already, or the picture that a dialogue began with. The batch driver fills it in.",
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
                    options=[*ROLES, *(f"{role}{BY_TASK}" for role in ("reference", "frame2", "start"))],
                    default="reference",
                    tooltip="reference: what the edit is to show, of any size. frame2, edited: the photo afterwards; start: the picture that a dialogue began with; brought to the photo's size where a model's pixel grid changed it. reference if its task needs it: for task visual; frame2 if its task needs it: for task motion; start if its task needs it: for a batch's later turns of a dialogue, whose first picture it is; other samples pass as they are, so that one graph serves all tasks.",
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
    def execute(cls, sample: EditSample, image: str, role: str) -> io.NodeOutput:
        kind, chosen = known_kind(sample.task, sample.provenance.subtask), role
        role = role.removesuffix(BY_TASK)
        if role != chosen and not (kind and kind.second == role) and not (role == "start" and _is_later(sample)):
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


def _is_later(sample: EditSample) -> bool:
    """Whether a batch has this turn of a dialogue made after another one. By hand Take Turn finds the first picture."""
    turn = told_turn(sample)
    return turn is not None and turn.number > 1
