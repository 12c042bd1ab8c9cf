"""EditPairs' own socket types and what travels through them. Everything else uses core's types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from ..core.boxes import Box
from ..core.instructions.instructions import Writing
from ..core.instructions.turns import Turn
from ..core.models import Model
from ..core.records import SampleFailure
from ..core.regions.annotation import Provenance, Region
from ..imaging.crops import Crop

Sample = io.Custom("EDITPAIRS_SAMPLE")
Grounder = io.Custom("EDITPAIRS_GROUNDER")
"""Carries a `models.detections.Grounder`."""
Scores = io.Custom("EDITPAIRS_SCORES")
"""Carries a list of `core.verdicts.verdicts.Scores`, one for each image of a batch or a single one for all."""
Sam2 = io.Custom("EDITPAIRS_SAM2")
"""Carries a `models.sam2_models.Segmenter`."""
RegionScorer = io.Custom("EDITPAIRS_REGION_SCORER")
"""Carries a `models.scorers.RegionScorer`."""
ImageEmbedder = io.Custom("EDITPAIRS_IMAGE_EMBEDDER")
"""Carries a `models.embedders.ImageEmbedder`."""
FaceDetectionModel = io.Custom("FACE_DETECTION_MODEL")
"""Core's, which `comfy_api` has no type for."""
Vlm = io.Custom("EDITPAIRS_VLM")
"""Carries a `vlm.asking.Vlm`."""


@dataclass(frozen=True)
class PngFile:
    """A PNG that holds nothing but its pixels."""

    pixels: np.ndarray
    """uint8 [H, W, 3]."""
    data: bytes


@dataclass(frozen=True)
class EditSample:
    """One thing to edit: the photo, the region, the task and where all of it comes from."""

    source: torch.Tensor
    """IMAGE [1, H, W, 3], float 0 to 1: the photo upright, in sRGB."""
    task: str
    region: Region | None
    instruction: str
    """What the user wrote; empty where an instruction is still to be written."""
    seed: int
    provenance: Provenance
    also: tuple[Region, ...] = ()
    """Further regions that the same edit is about: the second of a hybrid."""
    others: tuple[Region, ...] = ()
    """The photo's other regions, as far as they are known: what the one that is edited is told apart from."""
    images: dict[str, torch.Tensor] = field(default_factory=dict)
    """Further images by role, each IMAGE [1, H, W, 3]: `reference`, what the edit is to show (it need not be of the
    photo's size); `frame2`, the second frame of a motion; `edited`, an edit that was made already; `start`, the picture that
    a dialogue began with."""
    captions: tuple[str, ...] = ()
    """What its annotation says is on the photo. Save Annotation keeps it where no node has written another one."""
    points: tuple[str, ...] = ()
    """What its annotation says that a right edit shows, where that has to be reasoned about; for judges."""
    writings: tuple[Writing, ...] = ()
    """What writers wrote for it, the one that an edit graph carries out first. Empty before the write stage."""
    crop: Box | None = None
    """(x1, y1, x2, y2) in pixels: which part of the photo `source` is, where it is not all of it."""
    carried: dict[str, Any] | None = None
    """Of an edit that was made already: fields of its record that stay as they are. Save Edit Pair takes them over."""
    upstream: str = ""
    """Hash of the stage that left its annotation; see `core.regions.annotation.Annotation`."""
    models: tuple[Model, ...] = ()
    """What took part in that stage and those before it."""
    further: Mapping[str, Any] = field(default_factory=dict)
    """What else its annotation says, by name, with what nodes found out since: tags, a short caption; `core.regions.line`
    knows some of it. Save Annotation and Save Instructions carry all of it on."""
    offered: tuple[str, ...] = ()
    """Kinds of edit that the driver asks for of this photo, where a writer may choose among several."""
    embedding: np.ndarray | None = None
    """A unit vector, float32 [D], that stands for its photo or its words."""
    failure: SampleFailure | None = None
    """Why a step before this one came to nothing. Sinks save the reason instead of a pair, and don't ask for the edit."""
    files: tuple[PngFile, ...] = ()
    """Files that its pictures were read from, as far as they may be saved as they are."""
    turn: Turn | None = None
    """Which turn of which dialogue it is, where it is one: `source` is then the state that the turn begins with, `task` the
    turn's operation, and `turn.task` what its pair is filed under."""

    @property
    def writing(self) -> Writing | None:
        """The instruction that an edit graph carries out, with all that was written together with it."""
        return self.writings[0] if self.writings else None

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions that the edit is about, in the order of its steps."""
        return ((self.region,) if self.region else ()) + self.also

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the photo in pixels."""
        return self.source.shape[2], self.source.shape[1]


CropPlace = io.Custom("EDITPAIRS_CROP")
"""Carries a list of `Placement`, one for each crop of a batch."""


@dataclass(frozen=True)
class Placement:
    """One crop's photo, and what may change in it."""

    photo: np.ndarray
    """float32 [H, W, 3], 0 to 1."""
    crop: Crop
    edit_mask: np.ndarray
    """bool [H, W]: where pixels may differ."""
    blend: int
    """Width of the soft edge inside of the edit mask, in pixels of the photo."""
