"""Edits by any edit or inpaint pipeline of diffusers."""

from __future__ import annotations

from typing import get_args

import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io

from ..models import diffusers_editors
from ..models.diffusers_editors import DiffusersEditor, EditRequest, Use
from ..models.managed import DTYPES
from ..wires.inputs import seed_input
from ..wires.tensors import batch_size, item, marked, masks_of, to_bytes, to_image

Editor = io.Custom("EDITPAIRS_EDITOR")
"""Carries a `models.diffusers_editors.DiffusersEditor`."""

PIPELINES_OWN = -1.0
"""Widgets have no empty number: this one stands for the pipeline's own default."""


def setting(name: str, highest: float, tooltip: str, later: bool = False) -> io.Float.Input:
    """A number that is left to the pipeline unless the user sets it."""
    return io.Float.Input(
        name,
        default=PIPELINES_OWN,
        min=PIPELINES_OWN,
        max=highest,
        step=0.05,
        optional=later,
        advanced=later,
        tooltip=f"{tooltip} -1: the pipeline's own.",
    )


class LoadDiffusersEditor(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsLoadDiffusersEditor",
            display_name="Load Diffusers Editor",
            category="editpairs",
            description="Loads an edit or inpaint pipeline of diffusers: InstructPix2Pix, Stable Diffusion Inpaint, FLUX.1 Kontext, Qwen-Image-Edit and others. Needs the package diffusers.",
            search_aliases=["diffusers loader", "instructpix2pix", "hub pipeline", "huggingface pipeline"],
            inputs=[
                io.String.Input(
                    "model",
                    default="",
                    tooltip="A folder in models/diffusers that holds model_index.json, by its name; or a hub id such as owner/name.",
                ),
                io.String.Input(
                    "revision",
                    default="",
                    tooltip="For a hub id: its commit, 40 hexadecimal digits, so that every run loads the same weights.",
                ),
                io.Combo.Input(
                    "pipeline",
                    options=list(get_args(Use)),
                    default="as saved",
                    tooltip="as saved: what the folder says. The others put its weights into the inpaint or image-to-image pipeline of its kind.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=["auto", *DTYPES],
                    default="auto",
                    tooltip="What it computes in. auto: what the device does fastest.",
                ),
                io.Boolean.Input(
                    "allow_download",
                    default=False,
                    tooltip="Fetches a hub id that is not on this machine. Off, nothing is ever downloaded.",
                ),
                io.String.Input(
                    "variant",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="Which of several sets of weight files, such as fp16.",
                ),
            ],
            outputs=[Editor.Output("editor", tooltip="For Diffusers Edit.")],
        )

    @classmethod
    def execute(
        cls, model: str, revision: str, pipeline: Use, dtype: str, allow_download: bool, variant: str = ""
    ) -> io.NodeOutput:
        return io.NodeOutput(diffusers_editors.load(model, revision, pipeline, dtype, variant, allow_download))


class DiffusersEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsDiffusersEdit",
            display_name="Diffusers Edit",
            category="editpairs",
            description="Edits a photo with a pipeline of diffusers, as the prompt says; inpaint pipelines fill the mask. Every picture of a batch has its own seed.",
            search_aliases=["instruct edit", "inpaint pipeline", "edit by instruction", "kontext", "qwen image edit"],
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of them, at a size of the model."),
                Editor.Input("editor", tooltip="From Load Diffusers Editor."),
                io.String.Input(
                    "prompt",
                    default="",
                    multiline=True,
                    tooltip="The instruction, or for an inpaint pipeline what is to be seen in the mask.",
                ),
                seed_input("The first picture's seed; the next of a batch has the next."),
                io.Int.Input("steps", default=28, min=1, max=1000, tooltip="Denoising steps."),
                setting("guidance", 100.0, "How closely the prompt is followed."),
                setting("strength", 1.0, "How much of the picture is made anew, for pipelines that start from it."),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="What to edit; every value above 0 counts. Inpaint pipelines need it, others take none.",
                ),
                io.String.Input(
                    "negative_prompt",
                    default="",
                    multiline=True,
                    optional=True,
                    advanced=True,
                    tooltip="What is not to be seen. Empty: none.",
                ),
                setting(
                    "true_cfg", 100.0, "Guidance by a second pass with the negative prompt: Qwen-Image-Edit's.", True
                ),
                setting("image_guidance", 100.0, "How closely the photo is followed: InstructPix2Pix's.", True),
            ],
            outputs=[io.Image.Output("image", tooltip="The edited photo, of the same size.")],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        editor: DiffusersEditor,
        prompt: str,
        seed: int,
        steps: int,
        guidance: float,
        strength: float,
        mask: torch.Tensor | None = None,
        negative_prompt: str = "",
        true_cfg: float = PIPELINES_OWN,
        image_guidance: float = PIPELINES_OWN,
    ) -> io.NodeOutput:
        masks = None if mask is None else masks_of(mask)
        count = batch_size(image=image, mask=masks)
        bar, edited = diffusers_editors.progress(count), []
        for index in range(count):
            throw_exception_if_processing_interrupted()
            pixels = to_bytes(item(image, index))
            request = EditRequest(
                prompt=prompt,
                seed=seed + index,
                steps=steps,
                guidance=_set(guidance),
                strength=_set(strength),
                negative_prompt=negative_prompt.strip() or None,
                true_cfg=_set(true_cfg),
                image_guidance=_set(image_guidance),
            )
            hole = None if masks is None else marked(item(masks, index), *pixels.shape[:2])
            edited.append(to_image(editor.edit(pixels, hole, request, bar(index))))
        return io.NodeOutput(torch.cat(edited))


def _set(value: float) -> float | None:
    """A setting, or None where it is left to the pipeline."""
    return None if value < 0 else value
