"""The extension: the explicit list of nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import samples
from .nodes.editing import ClassicalInpaint
from .nodes.masking import SegmentBoxGrabCut
from .nodes.sample import LoadEditSample
from .nodes.saving import SaveEditPair
from .nodes.verifying import VerifyPixels
from .nodes.writing import WriteInstructionTemplate


class EditPairsExtension(ComfyExtension):
    async def on_load(self) -> None:
        samples.place_in_input()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            LoadEditSample,
            SegmentBoxGrabCut,
            ClassicalInpaint,
            WriteInstructionTemplate,
            VerifyPixels,
            SaveEditPair,
        ]
