"""Faces and subjects before and after an edit: are they still the same?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from comfy_api.latest import io

from ..core.boxes import Box
from ..core.instructions.checks import language_of
from ..core.instructions.operations import operation_of
from ..core.regions import rle
from ..core.regions.annotation import Region
from ..core.tasks import TASKS
from ..core.verdicts import consistency
from ..core.verdicts.consistency import Face
from ..core.verdicts.verdicts import Scores as Found
from ..core.verdicts.verdicts import shown, spared
from ..edit_samples.verified import one_frame, placed, said_before, without_edit
from ..edit_samples.written import step_of
from ..imaging import likeness
from ..models import folders
from ..wires.inputs import share_input
from ..wires.sockets import EditSample, FaceDetectionModel, ImageEmbedder, Sample, Scores
from ..wires.tensors import batch_size, item, marked, masks_of, to_bytes

if TYPE_CHECKING:
    from ..models.embedders import ImageEmbedder as Embedder

EMBEDDER_FOLDERS = ("clip_vision",)

CONFIDENCE = 0.5
"""MediaPipe's and core's own."""


class LoadImageEmbedder(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsLoadImageEmbedder",
            display_name="Load Image Embedder (transformers)",
            category="editpairs",
            description="Loads DINOv2 from a hub-format folder: it tells how alike two pictures look. Needs no package beyond ComfyUI's.",
            search_aliases=["dinov2", "dino", "image similarity model", "feature extractor"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=folders.hub_folders(*EMBEDDER_FOLDERS),
                    tooltip="A DINOv2 in hub format (a folder with config.json and weights) in models/clip_vision, such as dinov2-base.",
                )
            ],
            outputs=[ImageEmbedder.Output("embedder", tooltip="For Check Consistency.")],
        )

    @classmethod
    def execute(cls, model: str) -> io.NodeOutput:
        from ..models.embedders import ImageEmbedder  # transformers' models take seconds to import

        return io.NodeOutput(ImageEmbedder(folders.hub_path(model, *EMBEDDER_FOLDERS)))


class CheckConsistency(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsConsistency",
            display_name="Check Consistency",
            category="editpairs",
            description="Measures whether faces, and the subject, look the same after the edit as before. Faces that the edit is about are left out. Not a face recogniser.",
            search_aliases=[
                "face consistency",
                "face similarity",
                "identity preservation",
                "subject consistency",
                "DINO similarity",
            ],
            has_intermediate_output=True,
            inputs=[
                ImageEmbedder.Input("embedder", tooltip="From Load Image Embedder (transformers)."),
                Sample.Input("sample", tooltip="The sample: its task, regions and names say what the edit is about."),
                io.Image.Input("source", tooltip="The photo before the edit."),
                io.Image.Input("edited", tooltip="The photo after it, of the same size."),
                FaceDetectionModel.Input(
                    "face_detection_model",
                    optional=True,
                    tooltip="From core's Load Face Detection Model (MediaPipe). Without it no faces are looked for.",
                ),
                io.Mask.Input(
                    "edit_mask",
                    optional=True,
                    tooltip="Where pixels may differ. An edit about a person may change the faces in it. Without it, the sample's regions.",
                ),
                io.Mask.Input(
                    "subject_mask",
                    optional=True,
                    tooltip="Where the subject is before the edit, such as from core's Remove Background. Without it, the sample's region where the task keeps it in place: alter, and all but the background.",
                ),
                io.Mask.Input(
                    "edited_subject_mask",
                    optional=True,
                    tooltip="Where the subject is after the edit, for edits that move it. Without it, at its old place.",
                ),
                Scores.Input(
                    "scores",
                    optional=True,
                    tooltip="What was found before. It is passed on where there is nothing to compare, and what it rejects is not looked at.",
                ),
                share_input(
                    "min_face",
                    0.0,
                    "Least cosine of a face before and after; below it the edit is rejected. 0: measured only. Find yours with review.py --report.",
                ),
                share_input(
                    "min_subject",
                    0.0,
                    "Least cosine of the subject before and after; below it the edit is rejected. 0: measured only.",
                ),
                share_input(
                    "min_confidence",
                    CONFIDENCE,
                    "The face detector's confidence from which something counts as a face. Core's own: 0.5.",
                    optional=True,
                    advanced=True,
                ),
            ],
            outputs=[
                Scores.Output("scores", tooltip="Cosines, -1 to 1, and verdict, for Save Edit Pair."),
                io.String.Output("report", tooltip="Each face that was compared, and what the subject came to."),
            ],
        )

    @classmethod
    def execute(
        cls,
        embedder: Embedder,
        sample: EditSample,
        source: torch.Tensor,
        edited: torch.Tensor,
        min_face: float,
        min_subject: float,
        face_detection_model: Any = None,
        edit_mask: torch.Tensor | None = None,
        subject_mask: torch.Tensor | None = None,
        edited_subject_mask: torch.Tensor | None = None,
        scores: list[Found] | None = None,
        min_confidence: float = CONFIDENCE,
    ) -> io.NodeOutput:
        if sample.failure:
            failed = [without_edit(sample)]
            return io.NodeOutput(failed, "", ui={"text": shown(failed)})
        earlier = said_before(source, edited, scores)
        one_frame(sample, source, edited)
        masks = [None if one is None else masks_of(one) for one in (edit_mask, subject_mask, edited_subject_mask)]
        count = batch_size(edits=earlier, edit_mask=masks[0], subject_mask=masks[1], edited_subject_mask=masks[2])
        limits = consistency.Limits(min_face, min_subject)
        results, reports = [], []
        for index in range(count):
            found = item(earlier, index)
            if rejected := spared(found):
                results.append(rejected)
                reports.append("rejected before, not looked at")
                continue
            before, after = to_bytes(item(source, index)), to_bytes(item(edited, index))
            place, subject, moved = (_marked(one, index, before.shape) for one in masks)
            faces = _faces(face_detection_model, min_confidence, sample, place, before, after)
            if subject is None:
                subject = _subject(sample, before.shape)
            measured = _measure(embedder, before, after, faces, subject, moved)
            results.append(consistency.weigh(measured, limits, found))
            reports.append(_report(faces, measured))
        return io.NodeOutput(results, "\n\n".join(reports), ui={"text": shown(results)})


def _marked(masks: torch.Tensor | None, index: int, shape: tuple[int, ...]) -> np.ndarray | None:
    """A mask of the batch, bool [H, W]; None where it marks nothing, as that of a sample without a region."""
    if masks is None:
        return None
    mask = marked(item(masks, index), *shape[:2])
    return mask if mask.any() else None


def _faces(
    landmarker: Any,
    min_confidence: float,
    sample: EditSample,
    place: np.ndarray | None,
    before: np.ndarray,
    after: np.ndarray,
) -> list[tuple[Face, Face]]:
    """The faces that are to stay the same, each before and after; none without a landmarker."""
    if landmarker is None:
        return []
    from ..models.faces import find_faces

    ops = _operations(sample)
    if place is None:
        place = _regions(sample, before.shape)
    names = [one.class_name or "" for one in sample.regions]
    words = names if any(names) else [_instruction(sample)]
    seen, left = (consistency.large(one) for one in find_faces(landmarker, [before, after], min_confidence))
    kept = consistency.untouched(seen, ops, words, place)
    return consistency.at_their_places(kept, left, ops, place is not None)


def _operations(sample: EditSample) -> frozenset[str]:
    """What the edit does, by tasks' names; where an instruction alone says it, what its words say."""
    written = len(sample.writing.steps) if sample.writing else 0
    ops = frozenset(step_of(sample, number)[0].op for number in range(1, max(written, 1) + 1))
    told = _instruction(sample)
    return ops if ops <= TASKS.keys() else frozenset({operation_of(told, language_of(told))})


def _instruction(sample: EditSample) -> str:
    return sample.writing.instruction if sample.writing else sample.instruction


def _regions(sample: EditSample, shape: tuple[int, ...]) -> np.ndarray | None:
    """bool [H, W]: all boxes that the edit is about; None of a sample without a region."""
    if not sample.regions:
        return None
    boxes = [_boxed(placed(one, sample, shape[1], shape[0]), shape) for one in sample.regions]
    united: np.ndarray = np.any(boxes, axis=0)
    return united


def _subject(sample: EditSample, shape: tuple[int, ...]) -> np.ndarray | None:
    """bool [H, W]: what the sample's task leaves where it is and what it is; None where nobody knows."""
    if sample.region is None or sample.task not in ("alter", "background"):
        return None
    if sample.region.mask is None:
        return _boxed(placed(sample.region, sample, shape[1], shape[0]), shape) if sample.task == "alter" else None
    mask = _scaled(sample.region, shape)
    subject: np.ndarray = mask if sample.task == "alter" else ~mask
    return subject if subject.any() else None


def _scaled(region: Region, shape: tuple[int, ...]) -> np.ndarray:
    """The region's mask in a picture of another size."""
    assert region.mask
    mask = rle.decode(region.mask)
    rows, columns = (np.arange(new) * old // new for new, old in zip(shape[:2], mask.shape, strict=True))
    scaled: np.ndarray = mask[rows][:, columns]
    return scaled


def _boxed(box: Box, shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape[:2], bool)
    x1, y1, x2, y2 = (max(0, round(one)) for one in box)
    mask[y1:y2, x1:x2] = True
    return mask


def _measure(
    embedder: Embedder,
    before: np.ndarray,
    after: np.ndarray,
    faces: list[tuple[Face, Face]],
    subject: np.ndarray | None,
    moved: np.ndarray | None,
) -> consistency.Measured:
    """The cosines of everything that is compared; all of it is embedded together."""
    from ..models.embedders import GROUND, SIDE

    first, second = (
        [likeness.aligned(picture, one.points, one.landmarks, SIDE, GROUND) for one in there]
        for picture, there in ((before, [one for one, _ in faces]), (after, [other for _, other in faces]))
    )
    if subject is not None:
        first.append(likeness.cut_out(before, subject, SIDE, GROUND))
        second.append(likeness.cut_out(after, subject if moved is None else moved, SIDE, GROUND))
    if not first:
        return consistency.Measured()
    vectors = embedder.embed([*first, *second])
    cosines = (vectors[: len(first)] * vectors[len(first) :]).sum(dim=1).clamp(-1, 1).tolist()
    return consistency.Measured(tuple(cosines[: len(faces)]), None if subject is None else cosines[-1])


def _report(faces: list[tuple[Face, Face]], measured: consistency.Measured) -> str:
    """What was compared, in words."""
    lines = [
        f"face at {_corners(face)}{'' if other is not face else ', no longer found'}: {value:.3f}"
        for (face, other), value in zip(faces, measured.faces, strict=True)
    ]
    lines += [] if measured.subject is None else [f"subject: {measured.subject:.3f}"]
    return "\n".join(lines) or "no face and no subject to compare"


def _corners(face: Face) -> str:
    return ", ".join(f"{corner:.0f}" for corner in face.box)
