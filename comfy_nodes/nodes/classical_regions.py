"""Edits of regions without weights: another colour, another thing, two operations in one, and the object alone on white."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from comfy_api.latest import io

from .. import classical_donors, classical_edits, classical_paste
from ..classical_edits import BY_SEED, REFERENCE, Edit, Impossible, Outcome
from ..core.classical_wording import COLOURS, OPERATIONS, region_writing
from ..core.instructions import Writing
from ..core.records import SampleFailure
from ..core.wording import Language
from ..sockets import EditSample, Sample
from ..tensors import marked, masks_of, to_bytes, to_image, to_mask

LANGUAGES = ["en", "zh"]


def sample_input() -> io.Input:
    return Sample.Input("sample", tooltip="What Load Edit Sample gave out. Its photo is edited.")


def mask_input() -> io.Input:
    return io.Mask.Input("mask", tooltip="The region's mask, of the photo's size; every value above 0 counts.")


def language_input() -> io.Input:
    return io.Combo.Input(
        "language",
        options=LANGUAGES,
        default="en",
        optional=True,
        tooltip="Language of the instruction. The region's name has to be in it.",
    )


def outputs(masked: bool = True) -> list[io.Output]:
    given: list[io.Output] = [
        Sample.Output(
            "sample", tooltip="The sample with the new instruction, or with the reason why there is no edit."
        ),
        io.Image.Output("image", tooltip="The edited photo."),
        io.Mask.Output("edit_mask", tooltip="Where pixels may differ; everywhere else the photo is as it was."),
        io.String.Output("instruction", tooltip="What was done, in words. Wire it to Save Edit Pair."),
    ]
    return [one for one in given if masked or not isinstance(one, io.Mask.Output)]


def mask_for(sample: EditSample, mask: torch.Tensor) -> np.ndarray:
    """bool [H, W] of the first mask; LoadImage's empty one means that there is none."""
    width, height = sample.size
    return classical_edits.large_enough(marked(masks_of(mask)[0], height, width), _name(sample))


def _name(sample: EditSample) -> str:
    return (sample.region.class_name if sample.region else None) or "region"


def given(outcome: Outcome) -> io.NodeOutput:
    return io.NodeOutput(outcome.sample, to_image(outcome.after), to_mask(outcome.changed), outcome.instruction)


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
            region = classical_edits.first_region(sample)
            edit = classical_edits.alter(photo, mask_for(sample, mask), _name(sample), sample.seed, colour)
            scene = classical_edits.scene_of(sample, (region,))
            return edit, region_writing(scene, [("alter", edit.result)], language)

        return given(classical_edits.attempt(sample, "EditPairsClassicalRecolour", make))


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
                    options=[BY_SEED, REFERENCE, *classical_donors.names()],
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
            region = classical_edits.first_region(sample)
            picture = sample.images.get("reference")
            reference = None if picture is None else to_bytes(picture[0])
            edit = classical_edits.swap(photo, mask_for(sample, mask), region, sample.seed, donor, reference)
            scene = classical_edits.scene_of(sample, (region,))
            return edit, region_writing(scene, [("replace" if edit.result else "visual", edit.result)], language)

        return given(classical_edits.attempt(sample, "EditPairsClassicalReplace", make))


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
            return classical_edits.two_operations(sample, (first, second), language, photo)

        outcome = classical_edits.attempt(sample, "EditPairsClassicalHybrid", make)
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
            name = "thing in the picture" if image is not None else _name(sample)
            marks = classical_edits.large_enough(marked(masks_of(mask)[0], *picture.shape[1:3]), name)
            pixels = to_bytes(picture[0])
            cut = (
                classical_edits.cut_out(pixels, marks, name)
                if image is None
                else classical_paste.on_white(pixels, marks)
            )
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
