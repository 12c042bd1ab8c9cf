"""Check Consistency in ComfyUI's own code: core's face landmarker and transformers' DINOv2, both with weights made here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("comfy", reason="needs ComfyUI's source: set COMFYUI_PATH")

from PIL import Image

from comfy_nodes.core.graph_names import weights_named
from comfy_nodes.core.instructions.instructions import Step, Writing
from comfy_nodes.core.records import SampleFailure
from comfy_nodes.core.regions.annotation import Provenance, Region, region_of_mask
from comfy_nodes.core.verdicts import consistency, thresholds
from comfy_nodes.core.verdicts.verdicts import Scores
from comfy_nodes.imaging import likeness
from comfy_nodes.models.checkpoints import CheckpointError
from comfy_nodes.models.embedders import GROUND, SIDE, ImageEmbedder
from comfy_nodes.models.faces import find_faces
from comfy_nodes.nodes.comparing import CheckConsistency
from comfy_nodes.wires.sockets import EditSample
from tests.models import tiny_faces, tiny_scorers
from tests.models.tiny_faces import CELL, LENGTH, drawn, middle, square

LIKE = 0.98
"""What the tiny embedder gives for two patterns stays below; its random weights find all pictures rather alike."""
SAME = pytest.approx(1.0, abs=1e-5)


@pytest.fixture(scope="module")
def landmarker(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import comfy.utils
    from comfy_extras.nodes_mediapipe import FaceLandmarkerModel

    file = tiny_faces.landmarker(tmp_path_factory.mktemp("detection") / "mediapipe_face_fp32.safetensors")
    return FaceLandmarkerModel(comfy.utils.load_torch_file(str(file), safe_load=True))


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> ImageEmbedder:
    return ImageEmbedder(tiny_faces.dinov2(tmp_path_factory.mktemp("clip_vision") / "dinov2-tiny"))


def image(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).float() / 255


def sample_of(task: str, region: Region | None = None, instruction: str = "Do it.") -> EditSample:
    return EditSample(
        source=image(BEFORE),
        task=task,
        region=region,
        instruction=instruction,
        seed=1,
        provenance=Provenance(key="k1", source_id="a", source_path="a.png", source_sha256="0" * 64),
    )


BEFORE = drawn(left=1, right=2)
SWAPPED = drawn(left=1, right=9)


@pytest.fixture
def check(landmarker: Any, embedder: ImageEmbedder) -> Callable[..., Any]:
    def check(*edited: np.ndarray, task: str = "background", min_face: float = 0.0, **given: Any) -> Any:
        given = {"sample": sample_of(task), "face_detection_model": landmarker, "min_subject": 0.0, **given}
        output = CheckConsistency.execute(
            embedder, source=image(BEFORE), edited=image(*edited), min_face=min_face, **given
        )
        return output.result

    return check


def test_cores_landmarker_gives_boxes_eyes_and_mouth(landmarker: Any) -> None:
    left, right = sorted(find_faces(landmarker, [BEFORE], 0.5)[0], key=lambda face: face.box)
    for name, face in (("left", left), ("right", right)):
        x, y = middle(name)
        assert face.box[0] < x < face.box[2] and face.box[1] < y < face.box[3]
        (x1, y1), (x2, y2), (x3, y3), (x4, y4) = face.points
        assert x1 < x < x2 and y1 == pytest.approx(y2) and y1 < y3 == pytest.approx(y4) and x1 < x3 < x4 < x2
    assert find_faces(landmarker, [drawn()], 0.5) == [[]]


def test_what_the_mesh_does_not_hold_for_a_face_is_none(landmarker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for model in landmarker.models.values():
        bias = model.mesh.head_presence.bias
        monkeypatch.setattr(bias, "data", torch.full_like(bias.data, -1.0))
    assert find_faces(landmarker, [BEFORE], 0.5) == [[]]


def test_an_aligned_face_is_upright_whatever_it_was_before() -> None:
    upright = np.asarray(Image.fromarray(drawn(left=3)[80:200, 10:130]).resize((SIDE, SIDE)))
    points = likeness.FACE * SIDE
    all_of_it = np.array([[0, 0], [SIDE, 0], [0, SIDE], [SIDE, SIDE]])
    assert np.abs(likeness.aligned(upright, points, all_of_it, SIDE, GROUND).astype(int) - upright).max() <= 1
    turned = np.ascontiguousarray(np.rot90(upright))
    turning = np.column_stack([points[:, 1], SIDE - 1 - points[:, 0]])
    back = likeness.aligned(turned, turning, all_of_it, SIDE, GROUND)
    assert np.abs(back.astype(int) - upright).max() <= 1
    large = upright.repeat(3, axis=0).repeat(3, axis=1)
    back = likeness.aligned(large, 3 * points + 1, 3 * all_of_it, SIDE, GROUND)
    assert np.abs(back.astype(int) - upright).max() <= 1, "all nine pixels count for one"


def test_what_is_around_a_face_does_not_count(check: Callable[..., Any]) -> None:
    """Beyond the landmarks' hull: a background that was replaced."""
    around = BEFORE.copy()
    around[~(square("left") | square("right"))] = (10, 90, 200)
    assert check(around)[0][0].values["consistency.face"] == pytest.approx(1.0, abs=1e-3)


def test_the_vectors_are_transformers_own(embedder: ImageEmbedder, tmp_path: Path) -> None:
    from transformers import AutoModel, BitImageProcessor

    pictures = [np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for seed in range(3)]
    folder = tiny_faces.dinov2(tmp_path / "dinov2-tiny")
    means = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    sizes = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    pixels = BitImageProcessor(**means, **sizes)(images=pictures, return_tensors="pt").pixel_values
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folder).eval()(pixels).pooler_output
    assert torch.allclose(embedder.embed(pictures), torch.nn.functional.normalize(expected, dim=-1), atol=1e-5)


def test_another_model_is_no_embedder(tmp_path: Path) -> None:
    folder = tiny_scorers.clip(tmp_path / "clip-tiny")
    with pytest.raises(CheckpointError, match="clip-tiny: is a clip, not one of dinov2"):
        ImageEmbedder(folder)


def test_the_embedder_counts_among_the_weights_that_a_graph_rests_on() -> None:
    node = {"class_type": "EditPairsLoadImageEmbedder", "inputs": {"model": "dinov2-base"}}
    assert list(weights_named(node)) == [("model", "dinov2-base")]


def test_the_least_alike_face_is_the_score(check: Callable[..., Any]) -> None:
    (same, swapped), report = check(BEFORE, SWAPPED)
    assert same.values == {"consistency.face": SAME, "consistency.faces": 2.0}
    assert swapped.values["consistency.face"] < LIKE and swapped.values["consistency.faces"] == 2.0
    assert [one.verdict for one in (same, swapped)] == ["keep", "keep"], "measured only"
    assert report.split("\n\n")[1].count("face at") == 2


def test_a_face_that_changed_is_rejected_and_vouches_for_nothing(check: Callable[..., Any]) -> None:
    (same, swapped), _ = check(BEFORE, SWAPPED, min_face=LIKE)
    assert (same.verdict, same.values["consistency.keep"], same.voices) == ("keep", 1.0, ())
    assert (swapped.verdict, swapped.values["consistency.keep"]) == ("reject", 0.0)
    assert swapped.reason.startswith("consistency: the face is not the same (0.")


def test_a_face_that_is_no_longer_found_is_compared_at_its_old_place(check: Callable[..., Any]) -> None:
    (lost,), report = check(drawn(left=1), min_face=LIKE)
    assert lost.verdict == "reject" and "no longer found" in report
    (moved,), _ = check(drawn(left=1), task="motion", min_face=LIKE)
    assert moved.values["consistency.faces"] == 1.0 and moved.verdict == "keep", "it may be anywhere"


def test_a_face_that_is_too_small_to_tell_is_left_out(
    check: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consistency, "MIN_SIDE", 2 * tiny_faces.HALF + 20)
    assert check(SWAPPED)[0][0].values == {}


def test_without_a_face_nothing_is_said(check: Callable[..., Any], landmarker: Any) -> None:
    given = {"sample": replace(sample_of("style"), source=image(drawn())), "min_face": 0.9}
    run: Callable[..., Any] = lambda **more: CheckConsistency.execute(  # noqa: E731
        ImageEmbedder.__new__(ImageEmbedder), source=image(drawn()), edited=image(BEFORE), min_subject=0.0,
        face_detection_model=landmarker, **given, **more,
    ).result  # fmt: skip
    (alone,), report = run()
    assert (alone.values, alone.verdict) == ({}, "unscored") and "no face and no subject" in report
    for earlier in (Scores({"judge.keep": 1.0}, "keep", voices=("judge",)), Scores({}, "unscored", "?")):
        (passed,), _ = run(scores=[earlier])
        assert (passed.values, passed.verdict, passed.reason, passed.voices) == (
            {}, earlier.verdict, earlier.reason, earlier.voices,
        )  # fmt: skip
    (rejected,), report = run(scores=[Scores({}, "reject", "no")])
    assert (rejected.verdict, rejected.reason) == ("reject", "no") and "not looked at" in report


def test_a_face_that_the_edit_is_about_may_change(check: Callable[..., Any]) -> None:
    right = region_of_mask(square("right"), "man")
    for task, name, compared in (
        ("alter", "man", 1.0), ("remove", "lamp", 1.0), ("alter", "lamp", 2.0), ("extract", "man", 1.0),
    ):  # fmt: skip
        (found,), _ = check(SWAPPED, sample=sample_of(task, right.model_copy(update={"class_name": name})))
        assert found.values["consistency.faces"] == compared, (task, name)
        assert (found.values["consistency.face"] > 0.999) == (compared == 1.0 and task != "extract")


def test_a_mask_says_it_more_exactly_and_one_of_everything_says_nothing(check: Callable[..., Any]) -> None:
    man = sample_of("alter", region_of_mask(square("right") | square("left"), "man"))
    assert "consistency.faces" not in check(SWAPPED, sample=man)[0][0].values, "both faces lie in the region's box"
    mask = torch.from_numpy(square("left")).float()
    (found,), _ = check(SWAPPED, sample=man, edit_mask=mask)
    assert found.values["consistency.faces"] == 1.0 and found.values["consistency.face"] < LIKE
    (found,), _ = check(SWAPPED, sample=man, edit_mask=torch.ones(LENGTH, LENGTH))
    assert found.values["consistency.faces"] == 2.0


def test_the_instruction_tells_where_no_region_does(check: Callable[..., Any]) -> None:
    gone = drawn(left=1)
    told = sample_of("instruct", instruction="Remove the man on the right.")
    (found,), _ = check(gone, sample=told, min_face=LIKE)
    assert found.verdict == "keep" and found.values["consistency.faces"] == 1.0, "nobody said whose face goes"
    (found,), _ = check(gone, sample=sample_of("instruct", instruction="Make it a winter day."), min_face=LIKE)
    assert found.verdict == "reject"
    step = Step("remove", "man", None, "Remove the man.", "")
    written = replace(sample_of("remove"), writings=(Writing("Remove the man.", "en", steps=(step,)),))
    assert check(gone, sample=written)[0][0].values["consistency.faces"] == 1.0


def test_the_subject_is_compared_within_its_mask(check: Callable[..., Any]) -> None:
    x, y = middle("right")
    subject = square("right")
    subject[:y, :x] = False  # a corner of its box is none of it
    mask = torch.from_numpy(subject).float()
    elsewhere = drawn(left=5, right=2)
    elsewhere[:y, :x] = 20
    (same, other), report = check(elsewhere, SWAPPED, face_detection_model=None, subject_mask=mask, min_subject=LIKE)
    assert same.values == {"consistency.subject": SAME, "consistency.keep": 1.0}
    assert other.verdict == "reject" and other.reason.startswith("consistency: the subject is not the same (")
    assert "subject: " in report and "face" not in report
    (none,), _ = check(SWAPPED, face_detection_model=None, subject_mask=torch.zeros(64, 64))
    assert none.values == {}, "an empty mask, as of a picture without one, is none"
    both = torch.stack([mask, torch.from_numpy(square("left")).float()])
    found, _ = check(SWAPPED, face_detection_model=None, subject_mask=both)
    assert [one.values["consistency.subject"] < LIKE for one in found] == [True, False], "one edit, two subjects"
    moved = np.roll(BEFORE, -2 * CELL, axis=1)
    (there,), _ = check(moved, face_detection_model=None, subject_mask=mask)
    (followed,), _ = check(
        moved, face_detection_model=None, subject_mask=mask, edited_subject_mask=torch.roll(mask, -2 * CELL, 1)
    )
    assert followed.values["consistency.subject"] == SAME
    assert there.values["consistency.subject"] < LIKE


def test_alter_and_background_know_their_subject(check: Callable[..., Any]) -> None:
    region = region_of_mask(square("left"), "disc")
    given = {"face_detection_model": None, "sample": sample_of("alter", region)}
    assert check(SWAPPED, **given)[0][0].values["consistency.subject"] == SAME
    around = region_of_mask(~square("right"), "sky")
    given["sample"] = sample_of("background", around)
    assert check(SWAPPED, **given)[0][0].values["consistency.subject"] < LIKE
    given["sample"] = replace(sample_of("background", around), source=image(BEFORE[::2, ::2]))
    given["sample"] = replace(given["sample"], region=region_of_mask(~square("right")[::2, ::2], "sky"))
    assert check(drawn(left=7, right=2), **given)[0][0].values["consistency.subject"] == SAME
    given["sample"] = sample_of("remove", region)
    assert check(SWAPPED, **given)[0][0].values == {}


def test_thresholds_know_the_scores(check: Callable[..., Any]) -> None:
    found, _ = check(SWAPPED)
    decided, _ = thresholds.decide(found, thresholds.parse("consistency.face >= 0.98"), verdicts=True)
    assert decided.verdict == "reject" and "consistency.face >= 0.98 does not hold" in decided.reason


def test_a_failed_sample_and_another_frame(check: Callable[..., Any]) -> None:
    failed = replace(sample_of("style"), failure=SampleFailure("write", "VlmTimeout", "too late", "A #1"))
    (scores,), report = check(BEFORE, sample=failed)
    assert scores.reason == "there is no edit: too late" and report == ""
    with pytest.raises(ValueError, match="the region says nothing of another frame"):
        check(BEFORE[:200])
    with pytest.raises(ValueError, match="the mask is 128 x 128"):
        check(BEFORE, edit_mask=torch.ones(128, 128))
