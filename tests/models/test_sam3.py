"""SAM 3's words: ours against core's own model, made small, and the node that gives boxes and masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("comfy.model_management", reason="needs ComfyUI's source: COMFYUI_PATH, or python install.py")

from comfy import model_management
from comfy.utils import common_upscale

from comfy_nodes.models import sam3 as models_sam3
from comfy_nodes.models.detections import BoxRules
from comfy_nodes.models.sam3 import Found, Sam3
from comfy_nodes.nodes.segmenting_words import SegmentWordsSam3
from tests.models import tiny_sam3

HEIGHT, WIDTH = 60, 90
WORDS = ["cat", "a red bus", "dog"]
ALL = BoxRules(score=0.0, overlap=1.0, limit=1000)
SOME = 0.1
"""A score that some of the random model's boxes have and others do not."""


@pytest.fixture(scope="module")
def checkpoint() -> tuple[Any, Any]:
    return tiny_sam3.sam3()


@pytest.fixture
def sam3(checkpoint: tuple[Any, Any]) -> Sam3:
    return Sam3(*checkpoint)


def photos(count: int = 1) -> torch.Tensor:
    return torch.rand((count, HEIGHT, WIDTH, 3), generator=torch.Generator().manual_seed(count))


def only(sam3: Sam3, images: torch.Tensor, words: list[str], rules: BoxRules = ALL) -> Found:
    (found,) = sam3.find(images, words, rules)
    return found


def test_it_finds_what_cores_model_finds_and_weighs_it_by_presence(sam3: Sam3, checkpoint: tuple[Any, Any]) -> None:
    model, clip = checkpoint
    image, side = photos(), tiny_sam3.SIDE
    read = clip.encode_from_tokens(clip.tokenize("cat"), return_dict=True)
    model_management.load_model_gpu(model)
    frame = (common_upscale(image.movedim(-1, 1), side, side, "bilinear", crop="disabled") - 0.5) / 0.5
    with torch.no_grad():
        theirs = model.model.diffusion_model(
            frame, text_embeddings=read["cond"], text_mask=read["attention_mask"], orig_size=(HEIGHT, WIDTH)
        )
    scores = theirs["scores"][0].sigmoid() * theirs["presence"][0].sigmoid()
    boxes = theirs["boxes"][0].clamp(min=0).minimum(torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT]))
    found = only(sam3, image, ["cat"])
    assert len(found.detections) > 100 and found.masks.shape == (len(found.detections), HEIGHT, WIDTH)
    for one, mask in zip(found.detections, found.masks, strict=True):
        apart = (boxes - torch.tensor(one.box)).abs().max(1).values
        place = int(apart.argmin())
        assert apart[place] < 1e-3 and one.score == pytest.approx(float(scores[place]), abs=1e-6)
        assert (mask == (theirs["masks"][0][place] > 0).numpy()).mean() > 0.999


def test_each_word_is_asked_by_itself(sam3: Sam3) -> None:
    """So a list's boxes are those of its words, whatever stands beside them, and core's syntax is not read in a name."""
    image = photos()
    together = only(sam3, image, WORDS)
    for word in WORDS:
        alone = [(one.box, one.score) for one in only(sam3, image, [word]).detections]
        assert [(one.box, one.score) for one in together.detections if one.label == word] == alone
    commas, plain = (only(sam3, image, [name]) for name in ("pot, (black):3", "pot black 3"))
    assert [one.box for one in commas.detections] == [one.box for one in plain.detections]
    assert {one.label for one in commas.detections} == {"pot, (black):3"}


def test_a_long_name_is_cut_and_one_without_a_letter_left_out(sam3: Sam3) -> None:
    image = photos()
    long, longer = ("word " * many for many in (30, 60))
    assert [one.box for one in only(sam3, image, [long]).detections] == [
        one.box for one in only(sam3, image, [longer]).detections
    ]
    assert {one.label for one in only(sam3, image, ["...", "dog"]).detections} == {"dog"}
    with pytest.raises(ValueError, match="no name of the vocabulary has a letter"):
        only(sam3, image, ["...", ":"])


def test_a_box_whose_mask_marks_nothing_is_no_region(sam3: Sam3, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, upscaled = only(sam3, photos(), WORDS), models_sam3._upscaled
    first = iter([True])
    monkeypatch.setattr(models_sam3, "_upscaled", lambda *given: upscaled(*given) & (not next(first, False)))
    rest = only(sam3, photos(), WORDS)
    assert rest.detections == whole.detections[1:] and np.array_equal(rest.masks, whole.masks[1:])


def test_the_vocabulary_is_read_once_for_all_photos(
    checkpoint: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    encode = checkpoint[1].encode_from_tokens
    monkeypatch.setattr(
        checkpoint[1], "encode_from_tokens", lambda *given, **more: asked.append(1) or encode(*given, **more)
    )
    for count in (1, 2):
        assert len(list(Sam3(*checkpoint).find(photos(count), ["one", "two"], ALL))) == count
    assert len(asked) == 2


def test_models_of_others_are_refused_in_a_line(checkpoint: tuple[Any, Any]) -> None:
    model, clip = checkpoint

    class Other:
        model = cond_stage_model = diffusion_model = None

    Other.model = Other
    for pair in ((Other, clip), (model, Other), (model, None)):
        with pytest.raises(ValueError, match="wire both from a Load Checkpoint with sam3") as refused:
            Sam3(*pair)
        assert "\n" not in str(refused.value)


def test_the_node_gives_a_mask_for_each_box_over_the_batch(checkpoint: tuple[Any, Any]) -> None:
    masks, boxes = SegmentWordsSam3.execute(photos(2), *checkpoint, "cat, dog", SOME, max_boxes=3).result
    assert len(boxes) == 2 and 0 < sum(map(len, boxes)) == len(masks) <= 6
    assert masks.shape[1:] == (HEIGHT, WIDTH) and set(np.unique(masks)) == {0.0, 1.0}
    assert masks.flatten(1).any(1).all(), "a box whose mask marks nothing is no region"
    for box in (one for frame in boxes for one in frame):
        assert box["label"] in ("cat", "dog") and SOME < box["score"] < 1
        assert 0 <= box["x"] < box["x"] + box["width"] <= WIDTH


@pytest.mark.parametrize(("vocabulary", "score"), [("", 0.0), ("cat", 1.0)])
def test_nothing_found_is_one_empty_mask(checkpoint: tuple[Any, Any], vocabulary: str, score: float) -> None:
    """Nothing to look for, as Tag Image may say, and nothing sure enough."""
    masks, boxes = SegmentWordsSam3.execute(photos(2), *checkpoint, vocabulary, score).result
    assert boxes == [[], []] and masks.shape == (1, HEIGHT, WIDTH) and not masks.any()


def test_a_person_who_clears_the_words_is_told() -> None:
    assert SegmentWordsSam3.validate_inputs(None) is True and SegmentWordsSam3.validate_inputs("cup") is True
    assert "vocabulary is empty" in str(SegmentWordsSam3.validate_inputs(" "))
