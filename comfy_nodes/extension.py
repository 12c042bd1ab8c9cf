"""The extension: the explicit list of nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import ingredients, run_files, samples
from .nodes.annotating import SaveAnnotation
from .nodes.captioning import CaptionImage, TagImage
from .nodes.choosing import FilterPair, PickBest
from .nodes.classical_photos import ClassicalBackground, ClassicalStyle
from .nodes.classical_regions import ClassicalHybrid, ClassicalRecolour, ClassicalReplace, CutOutOnWhite
from .nodes.compositing import BlendEdit, CropAroundMask, MatchColour, StitchCrop
from .nodes.converting import BBoxToBoxes, BoxesToBBox, BoxesToSegs, SegsToBoxes
from .nodes.diffusers_editing import DiffusersEdit, LoadDiffusersEditor
from .nodes.drawing import DrawRegions
from .nodes.editing import ClassicalInpaint
from .nodes.filtering import FilterPhoto
from .nodes.fitting import FitSize
from .nodes.grounding import DetectObjects, LoadGrounder, LoadYoloWorld
from .nodes.instruction_saving import SaveInstructions
from .nodes.judging import JudgeEdit, VerifyEdit
from .nodes.known_masks import PreferKnownMask
from .nodes.masking import SegmentBoxGrabCut
from .nodes.packing import GatePack
from .nodes.protecting import ProtectSubjects
from .nodes.regions import LoadRegionScorer, ScoreRegions, SelectRegions
from .nodes.routing import RouteTask
from .nodes.sample import LoadEditSample
from .nodes.saving import SaveEditPair
from .nodes.second_image import LoadSecondImage
from .nodes.segmenting import LoadSam2, RefineMask, SegmentBoxesSam2
from .nodes.steps import TakeEditStep
from .nodes.styling import PickStyle
from .nodes.verifying import VerifyPixels
from .nodes.vlm_loading import LoadVlmCore, LoadVlmEndpoint, LoadVlmLocal
from .nodes.witnessing import Witness
from .nodes.writing import (
    RewriteInstruction,
    WriteInstruction,
    WriteInstructionTemplate,
    WriteMotionInstruction,
)


class EditPairsExtension(ComfyExtension):
    async def on_load(self) -> None:
        samples.place_in_input()
        ingredients.announce()
        run_files.announce()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            LoadEditSample,
            LoadSecondImage,
            TakeEditStep,
            FilterPhoto,
            LoadYoloWorld,
            LoadGrounder,
            DetectObjects,
            BoxesToBBox,
            BBoxToBoxes,
            BoxesToSegs,
            SegsToBoxes,
            DrawRegions,
            SegmentBoxGrabCut,
            LoadSam2,
            SegmentBoxesSam2,
            RefineMask,
            PreferKnownMask,
            LoadRegionScorer,
            ScoreRegions,
            SelectRegions,
            ClassicalInpaint,
            ClassicalRecolour,
            ClassicalReplace,
            ClassicalBackground,
            ClassicalStyle,
            CutOutOnWhite,
            ClassicalHybrid,
            FitSize,
            ProtectSubjects,
            CropAroundMask,
            StitchCrop,
            BlendEdit,
            MatchColour,
            LoadDiffusersEditor,
            DiffusersEdit,
            WriteInstructionTemplate,
            PickStyle,
            CaptionImage,
            TagImage,
            RouteTask,
            WriteInstruction,
            WriteMotionInstruction,
            RewriteInstruction,
            VerifyPixels,
            VerifyEdit,
            JudgeEdit,
            Witness,
            FilterPair,
            PickBest,
            SaveEditPair,
            SaveAnnotation,
            SaveInstructions,
            GatePack,
            LoadVlmEndpoint,
            LoadVlmLocal,
            LoadVlmCore,
        ]
