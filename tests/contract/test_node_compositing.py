"""Crop, stitch, blend, fit, match and protect as nodes: what lies outside the edit mask stays, and failures are data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch, which ComfyUI brings, is not installed")

CASES = 500


def image(*pixels: np.ndarray) -> Any:
    return torch.from_numpy(np.stack(pixels)).float() / 255


def mask(*marked: np.ndarray) -> Any:
    return torch.from_numpy(np.stack(marked)).float()


def bytes_of(images: Any) -> np.ndarray:
    return (images.numpy() * 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def call(pack: Any) -> Any:
    defaults = {
        "CropAroundMask": {"size": 64, "context": 1.2, "grow": 0.0, "blend": 0.0, "multiple": "16"},
        "BlendEdit": {"grow": 0.0, "blend": 0.0},
        "MatchColour": {"strength": 1.0},
        "FitSize": {"size": "kontext buckets", "multiple": "16", "max_crop": 20.0},
        "ProtectSubjects": {"grow": 0.0},
    }
    return lambda name, **inputs: pack.call(f"EditPairs{name}", **{**defaults.get(name, {}), **inputs})


@pytest.fixture
def sample(pack: Any, photo: np.ndarray, marked: np.ndarray) -> Any:
    """The photo with its disc as the region, a box beside it and a background."""
    annotation = pack.part("core.regions.annotation")
    region = annotation.region_of_mask(marked, "disc")
    box = annotation.Region(class_name="box", bbox=(50.0, 30.0, 60.0, 40.0))
    sky = annotation.Region(class_name="sky", kind="background", bbox=(0.0, 0.0, 64.0, 10.0))
    origin = annotation.Provenance(key="k", source_id="s", source_path="s.png", source_sha256="0" * 64)
    return pack.part("wires.sockets").EditSample(
        image(photo), "remove", region, "", 0, origin, others=(box, sky), images={"frame2": image(photo)}
    )


def random_mask(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A box, dots, one pixel, everything or nothing; often at the border."""
    found = np.zeros((height, width), dtype=bool)
    kind = random.integers(6)
    if kind < 3:
        top, left = random.integers(-height // 2, height), random.integers(-width // 2, width)
        found[max(0, top) : top + height // 2 + 1, max(0, left) : left + width // 2 + 1] = True
    elif kind == 3:
        found = random.random((height, width)) < 0.02
    elif kind == 4:
        found[random.integers(height), random.integers(width)] = True
    elif random.random() < 0.5:
        found[:] = True
    return found


def test_nothing_outside_changes_over_500_random_cases(call: Any) -> None:
    """Crop, a "model" that answers with noise, stitch; and the same noise over the whole picture, blended."""
    random = np.random.default_rng(4)
    for number in range(CASES):
        height, width = (int(one) for one in random.integers(1, 100, 2))
        photo = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
        marked = random_mask(random, height, width)
        grow, blend = float(random.choice([0, 3, 20])), float(random.choice([0, 2, 20]))
        settings = {
            "size": int(random.choice([0, 32, 72])),
            "context": float(random.choice([1.0, 1.2, 5.0])),
            "multiple": str(random.choice([8, 16, 32, 64])),
        }
        case = f"case {number}: {width} x {height}, {settings}, grow {grow}, blend {blend}"
        edges = {"grow": grow, "blend": blend}
        crop, seen, place, wanted = call("CropAroundMask", image=image(photo), mask=mask(marked), **settings, **edges)
        assert all(side % int(settings["multiple"]) == 0 for side in crop.shape[1:3]), case
        assert seen.shape == crop.shape[:3] and bool(seen.any()) == bool(marked.any()), case
        shown = place[0].crop
        larger = -(-max(shown.width, shown.height) // min(crop.shape[1:3]))  # so that nothing is stretched back
        answer = torch.rand((1, crop.shape[1] * larger, crop.shape[2] * larger, 3))
        stitched, edit_mask = call("StitchCrop", edited=answer, place=place)
        noise = torch.from_numpy(random.random((1, height, width, 3), dtype=np.float32))
        blended, blend_mask = call("BlendEdit", edited=noise, source=image(photo), mask=mask(marked), **edges)
        for result, where in ((stitched, edit_mask), (blended, blend_mask)):
            assert result.shape == (1, height, width, 3), case
            assert torch.equal(where, wanted), case
            outside = ~where[0].bool().numpy()
            assert not (outside & marked).any(), case
            np.testing.assert_array_equal(bytes_of(result)[0][outside], photo[outside], err_msg=case)
            assert torch.equal(result[0][outside], image(photo)[0][outside]), "not even in floats"


def test_an_edit_is_seen_whole_behind_its_soft_edge(call: Any, photo: np.ndarray, marked: np.ndarray) -> None:
    crop, _seen, place, edit_mask = call("CropAroundMask", image=image(photo), mask=mask(marked), grow=8.0, blend=4.0)
    stitched, _ = call("StitchCrop", edited=torch.ones_like(crop), place=place)
    np.testing.assert_array_equal(stitched[0][marked], 1.0)
    rim = edit_mask[0].bool().numpy() & (bytes_of(stitched)[0].min(axis=2) < 255)
    assert rim.any() and not (rim & marked).any(), "the soft edge lies between mask and edit mask"


def test_a_batch_comes_back_in_its_order(call: Any, photo: np.ndarray, marked: np.ndarray) -> None:
    corner = np.zeros_like(marked)
    corner[:4, :4] = True
    crop, seen, place, _ = call("CropAroundMask", image=image(photo), mask=mask(marked, corner))
    assert crop.shape[0] == seen.shape[0] == len(place) == 2
    stitched, edit_mask = call("StitchCrop", edited=torch.zeros_like(crop), place=place)
    np.testing.assert_array_equal(edit_mask.bool().numpy(), np.stack([marked, corner]))
    for number, where in enumerate((marked, corner)):
        assert not bytes_of(stitched)[number][where].any()
    variants, _ = call("StitchCrop", edited=torch.rand((3, *crop.shape[1:])), place=place[:1])
    assert variants.shape[0] == 3


def test_other_sizes_are_named(call: Any, photo: np.ndarray, marked: np.ndarray) -> None:
    crop, _seen, place, _ = call("CropAroundMask", image=image(photo), mask=mask(marked))
    with pytest.raises(ValueError, match="its pixels have moved"):
        call("StitchCrop", edited=crop[:, :, 8:], place=place)
    for name in ("BlendEdit", "MatchColour"):
        with pytest.raises(ValueError, match=r"edited is 56 x 48, source 64 x 48: .*Fit Photo to Size"):
            call(name, edited=image(photo)[:, :, 8:], source=image(photo), mask=mask(marked))
    with pytest.raises(ValueError, match="scale the mask with the image"):
        call("CropAroundMask", image=image(photo), mask=mask(marked[:, 8:]))


def test_colours_are_matched_outside_the_mask(call: Any, photo: np.ndarray, marked: np.ndarray) -> None:
    drifted = image(photo) * 0.9 + 0.05
    matched = call("MatchColour", edited=drifted, source=image(photo), mask=mask(marked))[0]
    assert (matched - image(photo)).abs().max() < 1e-3
    assert torch.allclose(call("MatchColour", edited=drifted, source=image(photo), strength=0.0)[0], drifted)


class TestFitSize:
    def test_photo_mask_and_sample_come_along(self, call: Any, sample: Any, marked: np.ndarray) -> None:
        fitted, seen, moved, box, place = call("FitSize", image=sample.source, mask=mask(marked), sample=sample)
        assert fitted.shape == (1, 880, 1184, 3) and seen.shape == (1, 880, 1184)
        assert moved.failure is None and moved.size == (1184, 880)
        assert torch.equal(moved.source, fitted) and torch.equal(moved.images["frame2"], fitted)
        assert [region.class_name for region in moved.others] == ["box", "sky"]
        region = moved.region
        assert region.mask.size == (880, 1184) and region.bbox[0] == pytest.approx(21 * 1184 / 64, abs=1)
        assert box == [[{"x": 0, "y": 0, "width": 64, "height": 48, "label": ""}]]
        back, everywhere = call("StitchCrop", edited=fitted, place=place)
        assert back.shape == sample.source.shape and everywhere.all()
        assert (back - sample.source).abs().mean() < 0.02

    def test_the_regions_of_a_plan_come_along(self, call: Any, pack: Any, sample: Any) -> None:
        """A later turn of a dialogue is about another thing of the same photo."""
        plan = pack.part("core.instructions.instructions").Writing(
            "One.", "en", regions=(sample.region, *sample.others)
        )
        moved = call("FitSize", image=sample.source, sample=replace(sample, writings=(plan,)))[2]
        assert moved.writing.regions == (moved.region, *moved.others)
        away = sample.region.model_copy(update={"bbox": (0.0, 47.0, 64.0, 48.0), "mask": None})
        asked = {"image": sample.source, "size": "crop to multiple", "multiple": "32", "max_crop": 50.0}
        lost = call("FitSize", sample=replace(sample, writings=(replace(plan, regions=(away,)),)), **asked)[2]
        assert lost.failure.error_type == "RegionCroppedAway" and "a later turn's thing" in lost.failure.message

    def test_padding_is_taken_off_again(self, call: Any, photo: np.ndarray) -> None:
        odd = image(photo[:45, :61])
        padded, seen, none, box, place = call("FitSize", image=odd, size="pad to multiple")
        assert padded.shape == (1, 48, 64, 3) and none is None and not seen.any()
        assert (box[0][0]["width"], box[0][0]["height"]) == (61, 45)
        assert torch.equal(padded[:, :45, :61], odd)
        assert torch.equal(call("StitchCrop", edited=padded, place=place)[0], odd)

    def test_a_sample_that_would_lose_too_much_fails_as_data(self, call: Any, sample: Any) -> None:
        asked = {"image": sample.source, "size": "crop to multiple", "multiple": "32"}
        moved = call("FitSize", sample=sample, **asked)[2]
        assert (moved.failure.stage, moved.failure.error_type) == ("edit", "CroppedTooMuch")
        assert moved.failure.skipped
        assert moved.failure.message.startswith("would lose 33.3% of 64 x 48 to 64 x 32; at most 20.0%: ")
        assert call("FitSize", sample=sample, max_crop=34.0, **asked)[2].failure is None
        with pytest.raises(ValueError, match="max_crop is 20 %"):
            call("FitSize", **asked)

    def test_the_record_says_which_part_of_the_photo_was_used(self, call: Any, sample: Any) -> None:
        whole = call("FitSize", image=sample.source, sample=sample)[2]
        assert whole.crop == (0, 0, 64, 48)
        square = call("FitSize", image=whole.source, sample=whole, size="crop to multiple", multiple="64", max_crop=50.0)  # fmt: skip
        assert square[2].crop == pytest.approx((0, 0, 64 * 1152 / 1184, 48 * 832 / 880))
        again = call("FitSize", image=square[0], sample=square[2], size="crop to multiple", multiple="64")[2]
        assert again.crop == square[2].crop
        assert call("FitSize", image=sample.source, sample=sample, size="pad to multiple")[2].crop is None

    def test_a_region_that_is_cut_off_fails_as_data(self, call: Any, pack: Any, sample: Any) -> None:
        rim = sample.region.model_copy(update={"bbox": (0.0, 46.0, 64.0, 47.0), "mask": None})
        odd = replace(sample, source=sample.source[:, :47], region=rim, images={})
        moved = call("FitSize", image=odd.source, sample=odd, size="crop to multiple", max_crop=50.0)[2]
        assert (moved.failure.error_type, moved.failure.skipped) == ("RegionCroppedAway", True)
        assert call("FitSize", image=moved.source, sample=moved)[2] is moved, "a failure is passed on"

    def test_a_photo_that_was_scaled_before_is_named(self, call: Any, sample: Any) -> None:
        with pytest.raises(ValueError, match="image is 32 x 48, the sample's photo 64 x 48"):
            call("FitSize", image=sample.source[:, :, :32], sample=sample)


class TestProtectSubjects:
    def test_objects_are_taken_out_and_holes_stay(self, call: Any, sample: Any, marked: np.ndarray) -> None:
        background = ~marked  # the disc is a hole that the background encloses
        left, same, kept = call("ProtectSubjects", sample=sample, mask=mask(background))
        assert same is sample
        expected = background.copy()
        expected[30:40, 50:60] = False
        np.testing.assert_array_equal(left[0].bool().numpy(), expected)
        assert kept.sum() == 100, "the box; a background region protects nothing"

    def test_further_masks_and_a_margin(self, call: Any, sample: Any, marked: np.ndarray) -> None:
        everything = np.ones_like(marked)
        tight = call("ProtectSubjects", sample=sample, mask=mask(everything), subjects=mask(marked, marked))[0]
        wide = call("ProtectSubjects", sample=sample, mask=mask(everything), subjects=mask(marked), grow=5.0)[0]
        assert not tight[0][marked].any()
        assert wide.sum() < tight.sum() and not (wide.bool() & ~tight.bool()).any()

    def test_nothing_left_fails_as_data(self, call: Any, sample: Any, marked: np.ndarray) -> None:
        left, failed, _ = call("ProtectSubjects", sample=sample, mask=mask(marked), subjects=mask(marked))
        assert not left.any()
        assert (failed.failure.error_type, failed.failure.skipped) == ("NoBackground", True)
