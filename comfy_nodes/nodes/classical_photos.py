"""Edits of much or all of a photo without weights: another background, and styles by filters."""

from __future__ import annotations

import numpy as np
import torch
from comfy_api.latest import io

from ..classical import edits, scenery, styles
from ..classical.edits import BY_SEED, Edit
from ..classical.sockets import given, language_input, mask_for, outputs, sample_input
from ..core.instructions.classical import SCENES, STYLES, region_writing, style_writing
from ..core.instructions.instructions import Writing
from ..core.instructions.wording import Language
from ..wires.sockets import EditSample
from ..wires.tensors import to_image


class ClassicalBackground(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsClassicalBackground",
            display_name="Classical Background",
            category="editpairs",
            description="Puts a drawn sky, a plain ground, a pattern or deep space behind the subjects without a model. Says in words what it did.",
            search_aliases=["change background", "replace sky", "backdrop", "scene swap"],
            inputs=[
                sample_input(),
                io.Mask.Input("mask", tooltip="The background without its subjects, such as Protect Subjects gives out."),
                io.Combo.Input(
                    "scene",
                    options=[BY_SEED, *SCENES],
                    default=BY_SEED,
                    tooltip="The new background. By seed: a sky where the region is called a sky, anything else elsewhere; without colour in a black-and-white photo.",
                ),
                language_input(),
            ],
            outputs=outputs(),
        )  # fmt: skip

    @classmethod
    def execute(cls, sample: EditSample, mask: torch.Tensor, scene: str, language: Language = "en") -> io.NodeOutput:
        def make(photo: np.ndarray) -> tuple[Edit, Writing]:
            region = edits.first_region(sample)
            behind = mask_for(sample, mask)
            named = region.class_name or ""
            names = scenery.candidates(named, photo, sample.seed) if scene == BY_SEED else [scene]
            name, after = scenery.replaced(photo, behind, names, sample.seed)
            edit = Edit(photo, after, behind, name, scenery.licence(name))
            return edit, region_writing(edits.scene_of(sample, (region,)), [("background", name)], language)

        return given(edits.attempt(sample, "EditPairsClassicalBackground", make))


class ClassicalStyle(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsClassicalStyle",
            display_name="Classical Style",
            category="editpairs",
            description="Turns the whole photo into a drawing, a print, a painting or another kind of photograph by filters, without a model.",
            search_aliases=["style transfer", "pencil sketch", "oil painting", "halftone", "filter effect"],
            inputs=[
                sample_input(),
                io.Combo.Input(
                    "style",
                    options=[BY_SEED, *STYLES],
                    default=BY_SEED,
                    tooltip="By seed: one that changes this photo.",
                ),
                language_input(),
            ],
            outputs=outputs(masked=False),
        )

    @classmethod
    def execute(cls, sample: EditSample, style: str, language: Language = "en") -> io.NodeOutput:
        def make(photo: np.ndarray) -> tuple[Edit, Writing]:
            name = styles.choose(photo, sample.seed) if style == BY_SEED else style
            everywhere = np.ones(photo.shape[:2], dtype=bool)
            return Edit(photo, styles.apply(photo, name), everywhere, name), style_writing(name, language)

        outcome = edits.attempt(sample, "EditPairsClassicalStyle", make)
        return io.NodeOutput(outcome.sample, to_image(outcome.after), outcome.instruction)
