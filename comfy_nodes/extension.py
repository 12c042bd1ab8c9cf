"""The extension: the explicit list of nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .files.opened import place_in_input
from .nodes.asking import AskEdit, AskPhoto
from .nodes.choosing import FilterPair, PickBest
from .nodes.choosing_operation import ChooseOperation
from .nodes.classical_photos import ClassicalBackground, ClassicalStyle
from .nodes.classical_regions import (
    ClassicalHybrid,
    ClassicalInpaint,
    ClassicalRecolour,
    ClassicalReplace,
    CutOutOnWhite,
)
from .nodes.comparing import CheckConsistency, LoadImageEmbedder
from .nodes.compositing import BlendEdit, CropAroundMask, MatchColour, StitchCrop
from .nodes.converting import BBoxToBoxes, BoxesToBBox, BoxesToSegs, SegsToBoxes
from .nodes.diffusers_editing import DiffusersEdit, LoadDiffusersEditor
from .nodes.drawing import DrawRegions
from .nodes.embedding import EmbedPhoto
from .nodes.filtering import FilterPhoto
from .nodes.fitting import FitSize
from .nodes.following import FollowRegion
from .nodes.gating import GatePack
from .nodes.grounding import DetectObjects, LoadGrounder, LoadYoloWorld
from .nodes.judging import JudgeEdit, VerifyEdit
from .nodes.loading import LoadEditSample
from .nodes.mask_regions import AddMaskRegion
from .nodes.masking import PreferKnownMask, ProtectSubjects, SegmentBoxGrabCut
from .nodes.observing import CaptionImage, RouteTask, TagImage
from .nodes.reading import CheckText, ReadText
from .nodes.regions import LoadRegionScorer, ScoreRegions, SelectRegions
from .nodes.rewording import RewordForCrop
from .nodes.saving_pairs import SaveEditPair
from .nodes.saving_photos import SavePhoto
from .nodes.saving_stages import SaveAnnotation, SaveInstructions
from .nodes.second_image import LoadSecondImage
from .nodes.segmenting import LoadSam2, RefineMask, SegmentBoxesSam2
from .nodes.segmenting_words import SegmentWordsSam3
from .nodes.steps import TakeEditStep
from .nodes.templates import PickStyle, WriteInstructionTemplate
from .nodes.turns import TakeTurn
from .nodes.verifying import VerifyPixels
from .nodes.verifying_dialogue import VerifyDialogue
from .nodes.vlm_loading import LoadVlmCore, LoadVlmEndpoint, LoadVlmLocal
from .nodes.witnessing import Witness
from .nodes.writing import RewriteInstruction, WriteInstruction, WriteMotionInstruction
from .nodes.writing_many import WriteManyKinds
from .routes import ingredients, run_files


class EditPairsExtension(ComfyExtension):
    async def on_load(self) -> None:
        place_in_input()
        ingredients.announce()
        run_files.announce()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            LoadEditSample,
            LoadSecondImage,
            TakeEditStep,
            TakeTurn,
            FollowRegion,
            ChooseOperation,
            RewordForCrop,
            FilterPhoto,
            LoadYoloWorld,
            LoadGrounder,
            DetectObjects,
            ReadText,
            BoxesToBBox,
            BBoxToBoxes,
            BoxesToSegs,
            SegsToBoxes,
            DrawRegions,
            SegmentBoxGrabCut,
            LoadSam2,
            SegmentBoxesSam2,
            SegmentWordsSam3,
            RefineMask,
            PreferKnownMask,
            AddMaskRegion,
            LoadRegionScorer,
            ScoreRegions,
            SelectRegions,
            EmbedPhoto,
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
            AskPhoto,
            RouteTask,
            WriteInstruction,
            WriteMotionInstruction,
            WriteManyKinds,
            RewriteInstruction,
            VerifyPixels,
            VerifyDialogue,
            VerifyEdit,
            JudgeEdit,
            AskEdit,
            Witness,
            CheckText,
            LoadImageEmbedder,
            CheckConsistency,
            FilterPair,
            PickBest,
            SaveEditPair,
            SaveAnnotation,
            SaveInstructions,
            SavePhoto,
            GatePack,
            LoadVlmEndpoint,
            LoadVlmLocal,
            LoadVlmCore,
        ]
