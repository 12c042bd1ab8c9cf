"""A node pack for the tests' ComfyUI: loaders of models whose sizes core fixes, each with the sockets of core's own loader.

`SmallEditor` does what it is told, as no small weights do. A real SAM 3.1 or BiRefNet takes a CPU minutes for one photo. `SmallSam3` gives core's classes of SAM 3.1, made small, so that
all behind it is real. BiRefNet's classes cannot be made small: `SmallBackgroundRemoval` gives an object with the one method
that core's Remove Background calls.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comfy_api.latest import ComfyExtension, io
from PIL import Image, ImageDraw, ImageFont

SUBJECT, GROUND = 0.96, 0.1
"""How sure it is that a pixel is the subject's, on it and beside it."""


class SmallSam3(io.ComfyNode):
    """In the place of Load Checkpoint."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(node_id="SmallSam3", outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output()])

    @classmethod
    def execute(cls) -> io.NodeOutput:
        path = Path(__file__).resolve().parents[2] / "models" / "tiny_sam3.py"
        spec = importlib.util.spec_from_file_location("tiny_sam3", path)
        assert spec and spec.loader
        tiny_sam3 = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(tiny_sam3)
        with torch.inference_mode(False):
            model, clip = tiny_sam3.sam3()
        return io.NodeOutput(model, clip, None)


class SubjectOnTheLeft:
    """Takes the left half of a photo for its subject."""

    def encode_image(self, image: torch.Tensor) -> torch.Tensor:
        """Soft masks [B, H, W] of images [B, H, W, C]."""
        mask = torch.full(image.shape[:3], GROUND)
        mask[:, :, : image.shape[2] // 2] = SUBJECT
        return mask


class SmallBackgroundRemoval(io.ComfyNode):
    """In the place of Load Background Removal Model."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(node_id="SmallBackgroundRemoval", outputs=[io.BackgroundRemoval.Output()])

    @classmethod
    def execute(cls) -> io.NodeOutput:
        return io.NodeOutput(SubjectOnTheLeft())


QUOTED = re.compile('"([^"]+)"')


class SmallEditor(io.ComfyNode):
    """In the place of an editor that is told: paints the last words that a command quotes over its region, turns another
    region's colours into their opposites, and mirrors a photo without a region."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        inputs = [io.Image.Input("image"), io.Mask.Input("mask"), io.String.Input("prompt", force_input=True)]
        return io.Schema(node_id="SmallEditor", inputs=inputs, outputs=[io.Image.Output()])

    @classmethod
    def execute(cls, image: torch.Tensor, mask: torch.Tensor, prompt: str) -> io.NodeOutput:
        marked, edited, words = mask[0] > 0.5, image.clone(), QUOTED.findall(prompt)
        if not marked.any():
            return io.NodeOutput(torch.flip(image, dims=[2]))
        edited[0][marked] = 1 - edited[0][marked]
        if words:
            rows, columns = torch.where(marked.any(1))[0], torch.where(marked.any(0))[0]
            top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
            plate = Image.new("RGB", (right - left, bottom - top), (240, 236, 220))
            font = ImageFont.load_default((bottom - top) * 0.75)
            ImageDraw.Draw(plate).text((4, -2), words[-1], font=font, fill=(20, 20, 40))
            edited[0, top:bottom, left:right] = torch.from_numpy(np.asarray(plate).copy()).float() / 255
        return io.NodeOutput(edited)


class SmallModels(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [SmallSam3, SmallBackgroundRemoval, SmallEditor]


async def comfy_entrypoint() -> Any:
    return SmallModels()
