"""Edits of regions without weights: another colour, another thing, two operations in one, and the object alone on white."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io

from ..classical import donors, edits, paste
from ..classical.edits import BY_SEED, REFERENCE, Edit, Impossible
from ..classical.sockets import given, language_input, mask_for, mask_input, outputs, region_name, sample_input
from ..core.instructions.classical import COLOURS, OPERATIONS, colour_in, thing_in
from ..core.instructions.instructions import Writing
from ..core.instructions.wording import Language
from ..core.records import SampleFailure
from ..imaging import fill, opencv
from ..wires.inputs import side_share_input
from ..wires.sockets import EditSample, Sample
from ..wires.tensors import batch_size, item, marked, masks_of, per_cent, to_bytes, to_image, to_mask


class ClassicalRecolour(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsClassicalRecolour",
            display_name="Classical Recolour",
            category="editpairs",
            description="Gives an object another colour without a model: hue and chroma move, lightness stays. Says in words what it did.",
            search_aliases=["change colour", "recolor", "hue shift", "alter", "oklab"],
            inputs=[
                sample_input(),
                mask_input(),
                io.Combo.Input(
                    "colour",
                    options=[BY_SEED, *COLOURS],
                    default=BY_SEED,
                    tooltip="By seed: one that the object does not have and can truly be given. A colour that it has already, or is too dark or light for, fails the sample.",
                ),
                language_input(),
            ],
            outputs=outputs(),
        )

    @classmethod
    def execute(cls, sample: EditSample, mask: torch.Tensor, colour: str, language: Language = "en") -> io.NodeOutput:
        def make(photo: np.ndarray) -> tuple[Edit, Writing]:
            edits.first_region(sample)
            wanted = edits.asked_for(sample, colour, colour_in)
            edit = edits.alter(photo, mask_for(sample, mask), region_name(sample), sample.seed, wanted)
            return edit, edits.stated(sample, "alter", edit.result, language)

        return given(edits.attempt(sample, "EditPairsClassicalRecolour", make))


class ClassicalReplace(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsClassicalReplace",
            display_name="Classical Replace",
            category="editpairs",
            description="Puts another thing in an object's place without a model: a bundled one, or the one in the reference picture. Says in words what it did.",
            search_aliases=["swap object", "cut and paste", "poisson", "visual edit", "reference object"],
            inputs=[
                sample_input(),
                mask_input(),
                io.Combo.Input(
                    "donor",
                    options=[BY_SEED, REFERENCE, *donors.names()],
                    default=BY_SEED,
                    tooltip="What is put in. The reference picture comes from Load Second Image and shows its object on plain ground.",
                ),
                language_input(),
            ],
            outputs=outputs(),
        )

    @classmethod
    def execute(cls, sample: EditSample, mask: torch.Tensor, donor: str, language: Language = "en") -> io.NodeOutput:
        def make(photo: np.ndarray) -> tuple[Edit, Writing]:
            region = edits.first_region(sample)
            picture = sample.images.get("reference")
            reference = None if picture is None else to_bytes(picture[0])
            wanted = edits.asked_for(sample, donor, thing_in)
            edit = edits.swap(photo, mask_for(sample, mask), region, sample.seed, wanted, reference)
            return edit, edits.stated(sample, "replace" if edit.result else "visual", edit.result, language)

        return given(edits.attempt(sample, "EditPairsClassicalReplace", make))


class ClassicalHybrid(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsClassicalHybrid",
            display_name="Classical Hybrid",
            category="editpairs",
            description="Carries out two operations on two regions without a model. An added thing is erased from the picture before; the photo keeps it.",
            search_aliases=["two edits", "compound edit", "hybrid edit", "add and remove"],
            inputs=[
                sample_input(),
                _operation("first"),
                _operation("second"),
                language_input(),
            ],
            outputs=[
                Sample.Output("sample", tooltip="The sample with the new instruction, or with the reason why there is no edit."),
                io.Image.Output("source", tooltip="The picture before: the photo without what is added. Wire it to Save Edit Pair's source."),
                io.Image.Output("image", tooltip="The picture after."),
                io.Mask.Output("edit_mask", tooltip="Both regions: everywhere else the two pictures are the photo."),
                io.String.Output("instruction", tooltip="Both operations in one sentence."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(cls, sample: EditSample, first: str, second: str, language: Language = "en") -> io.NodeOutput:
        def make(photo: np.ndarray) -> tuple[Edit, Writing]:
            return edits.two_operations(sample, (first, second), language, photo)

        outcome = edits.attempt(sample, "EditPairsClassicalHybrid", make)
        return io.NodeOutput(
            outcome.sample,
            to_image(outcome.before),
            to_image(outcome.after),
            to_mask(outcome.changed),
            outcome.instruction,
        )


class CutOutOnWhite(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsCutOutOnWhite",
            display_name="Cut Out on White",
            category="editpairs",
            description="Shows the object alone on plain white, where it stood, by its mask. Of the photo, or of another picture of the sample such as its reference.",
            search_aliases=["extract object", "white background", "isolate", "cutout"],
            inputs=[
                sample_input(),
                mask_input(),
                io.Image.Input(
                    "image", optional=True, tooltip="The picture that mask is of. Without it, the sample's photo."
                ),
            ],
            outputs=[
                Sample.Output("sample", tooltip="The sample, or with the reason why there is no edit."),
                io.Image.Output("image", tooltip="The object on white, of the photo's size."),
            ],
        )

    @classmethod
    def execute(cls, sample: EditSample, mask: torch.Tensor, image: torch.Tensor | None = None) -> io.NodeOutput:
        picture = (sample.source if image is None else image)[:1]
        if sample.failure:
            return io.NodeOutput(sample, picture)
        try:
            name = "thing in the picture" if image is not None else region_name(sample)
            marks = edits.large_enough(marked(masks_of(mask)[0], *picture.shape[1:3]), name)
            pixels = to_bytes(picture[0])
            cut = edits.cut_out(pixels, marks, name) if image is None else paste.on_white(pixels, marks)
        except Impossible as error:
            failure = SampleFailure("edit", error.kind, str(error), "EditPairsCutOutOnWhite", skipped=True)
            return io.NodeOutput(replace(sample, failure=failure), picture)
        return io.NodeOutput(sample, to_image(cut))


def _operation(name: str) -> io.Input:
    return io.Combo.Input(
        name,
        options=[BY_SEED, *OPERATIONS],
        default=BY_SEED,
        tooltip=f"What happens to the {name} region. By seed the two operations differ.",
    )


class ClassicalInpaint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsClassicalInpaint",
            display_name="Classical Inpaint",
            category="editpairs",
            description="Fills a mask from the rest of the photo without a model. Every pixel outside edit_mask stays exactly as it was.",
            search_aliases=["inpaint", "remove object", "fill", "shift-map", "telea", "opencv"],
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of them."),
                io.Mask.Input("mask", tooltip="What to fill; every value above 0 counts."),
                io.Combo.Input(
                    "method",
                    options=list(fill.METHODS),
                    default="shift-map",
                    tooltip="shift-map copies patches from elsewhere (needs OpenCV's contrib build); telea and navier-stokes spread the border inwards, which smears large holes.",
                ),
                side_share_input(
                    "grow",
                    1.0,
                    "Grows the mask first, in per cent of the photo's shorter side, so that no rim of the object stays.",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The photo with the mask filled."),
                io.Mask.Output("edit_mask", tooltip="The grown mask: where pixels may differ from the input."),
            ],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, mask: torch.Tensor, method: fill.Method, grow: float) -> io.NodeOutput:
        masks = masks_of(mask)
        edited, edit_masks = [], []
        for index in range(batch_size(image=image, mask=masks)):
            throw_exception_if_processing_interrupted()
            pixels = to_bytes(item(image, index))
            height, width = pixels.shape[:2]
            hole = marked(item(masks, index), height, width)
            hole = opencv.grow(hole, per_cent(grow, height, width))
            edited.append(to_image(fill.inpaint(pixels, hole, method)))
            edit_masks.append(to_mask(hole))
        return io.NodeOutput(torch.cat(edited), torch.cat(edit_masks))
