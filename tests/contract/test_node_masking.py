"""Segment Box (GrabCut) and Classical Inpaint: masks that fit, and pixels that stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch, which ComfyUI brings, is not installed")

BOX = {"x": 18, "y": 10, "width": 25, "height": 25}
METHODS = ("shift-map", "telea", "navier-stokes")


def image(*pixels: np.ndarray) -> Any:
    """IMAGE [B, H, W, 3] of uint8 pictures."""
    return torch.from_numpy(np.stack(pixels)).float() / 255


def mask(*marked: np.ndarray) -> Any:
    """MASK [B, H, W] of bool ones."""
    return torch.from_numpy(np.stack(marked)).float()


def pixels_of(images: Any) -> np.ndarray:
    """uint8 [B, H, W, 3], exact: every value of an 8-bit picture has one float."""
    scaled = images.numpy() * 255
    assert np.abs(scaled - scaled.round()).max() < 1e-3
    return scaled.round().astype(np.uint8)


class TestSegmentBox:
    @pytest.fixture
    def segment(self, pack: Any) -> Any:
        return lambda **inputs: pack.call("EditPairsSegmentBoxGrabCut", **inputs)[0]

    def test_finds_the_disc_in_its_box(self, segment: Any, photo: np.ndarray, marked: np.ndarray) -> None:
        found = segment(image=image(photo), boxes=[[BOX]])
        assert (found.dtype, tuple(found.shape)) == (torch.float32, (1, 48, 64))
        assert set(found.unique().tolist()) == {0.0, 1.0}
        union = (found[0].bool().numpy() | marked).sum()
        assert (found[0].bool().numpy() & marked).sum() / union > 0.95

    def test_never_marks_outside_its_box(self, segment: Any, photo: np.ndarray, marked: np.ndarray) -> None:
        cutting = {**BOX, "y": 14, "height": 21}
        assert marked[:14].any(), "the disc reaches out of the box"
        found = segment(image=image(photo), boxes=[[cutting]])[0].bool().numpy()
        assert found.any()
        found[14:35, 18:43] = False
        assert not found.any()

    def test_the_same_seed_gives_the_same_mask(self, segment: Any, photo: np.ndarray) -> None:
        one, other = (segment(image=image(photo), boxes=[[BOX]], seed=2**53 - 1) for _ in range(2))
        assert torch.equal(one, other)

    @pytest.mark.parametrize("boxes", [[], [[]]])
    def test_no_box_is_an_empty_mask(self, boxes: list[Any], segment: Any, photo: np.ndarray) -> None:
        found = segment(image=image(photo), boxes=boxes)
        assert tuple(found.shape) == (1, 48, 64)
        assert not found.any()

    @pytest.mark.parametrize(
        "box",
        [
            {"x": 0, "y": 0, "width": 64, "height": 48},
            {"x": -5, "y": -5, "width": 500, "height": 500},
            {"x": 200, "y": 10, "width": 5, "height": 5},
            {"x": 10, "y": 10, "width": 0, "height": 9},
            {"x": 10, "y": 10, "width": 1, "height": 1},
        ],
        ids=["whole", "larger", "outside", "flat", "pixel"],
    )
    def test_boxes_that_nothing_can_be_cut_from(self, box: dict[str, int], segment: Any, photo: np.ndarray) -> None:
        """GrabCut learns the background from outside the box; without any there is nothing to learn."""
        found = segment(image=image(photo), boxes=[[box]])
        assert tuple(found.shape) == (1, 48, 64)
        assert not found.any()

    @pytest.mark.parametrize(
        "box", [{"x": 0, "y": 10, "width": 43, "height": 25}, {"x": 18, "y": 0, "width": 46, "height": 48}]
    )
    def test_boxes_at_the_border(
        self, box: dict[str, int], segment: Any, photo: np.ndarray, marked: np.ndarray
    ) -> None:
        assert (segment(image=image(photo), boxes=[[box]])[0].bool().numpy() & marked).sum() > 0.8 * marked.sum()

    @pytest.mark.parametrize("boxes", [BOX, [BOX], [[BOX]]], ids=["dict", "list", "batch"])
    def test_cores_three_ways_of_sending_boxes(self, boxes: Any, segment: Any, photo: np.ndarray) -> None:
        assert torch.equal(segment(image=image(photo), boxes=boxes), segment(image=image(photo), boxes=[[BOX]]))

    def test_a_batch_with_a_list_each(self, segment: Any, photo: np.ndarray) -> None:
        pictures = image(photo, photo[:, ::-1], photo)
        other_side = {**BOX, "x": 64 - 18 - 25}
        found = segment(image=pictures, boxes=[[BOX], [other_side], []])
        assert tuple(found.shape) == (3, 48, 64)
        assert not found[2].any()
        assert (found[1] - found[0].flip(1)).abs().mean() < 0.02

    def test_one_list_serves_a_batch_and_two_boxes_unite(self, segment: Any, photo: np.ndarray) -> None:
        found = segment(image=image(photo, photo), boxes=[[BOX, {"x": 1, "y": 1, "width": 5, "height": 5}]])
        assert torch.equal(found[0], found[1])
        assert found[0, 10:35, 18:43].any()

    def test_sizes_that_do_not_fit(self, segment: Any, photo: np.ndarray) -> None:
        with pytest.raises(ValueError, match=r"batches of different sizes \(image 2, boxes 3, mask 1\): give as many"):
            segment(image=image(photo, photo), boxes=[[BOX]] * 3)

    def test_a_known_mask_is_passed_on(self, segment: Any, photo: np.ndarray, marked: np.ndarray) -> None:
        given_mask = mask(~marked)
        assert torch.equal(segment(image=image(photo), boxes=[[BOX]], mask=given_mask), given_mask)

    @pytest.mark.parametrize("shape", [(1, 48, 64), (1, 64, 64)])
    def test_an_empty_mask_is_none(self, shape: tuple[int, ...], segment: Any, photo: np.ndarray) -> None:
        """LoadImage gives 64 x 64 zeros for a picture without alpha, whatever the picture's size."""
        found = segment(image=image(photo), boxes=[[BOX]], mask=torch.zeros(shape))
        assert torch.equal(found, segment(image=image(photo), boxes=[[BOX]]))

    def test_a_mask_of_another_size(self, segment: Any, photo: np.ndarray) -> None:
        with pytest.raises(ValueError, match="the mask is 10 x 20, the image 64 x 48: scale the mask"):
            segment(image=image(photo), boxes=[[BOX]], mask=torch.ones(1, 20, 10))

    @pytest.mark.parametrize("boxes", [None, 5, [[5]], [[{"x": 1}]], "box", [[{**BOX, "x": "left"}]]])
    def test_what_is_no_box(self, boxes: Any, segment: Any, photo: np.ndarray) -> None:
        with pytest.raises(ValueError, match=r"BOUNDING_BOX|could not convert"):
            segment(image=image(photo), boxes=boxes)


class TestInpaint:
    @pytest.fixture
    def inpaint(self, pack: Any) -> Any:
        return lambda **inputs: pack.call("EditPairsClassicalInpaint", **{"method": "telea", "grow": 0.0, **inputs})

    @pytest.mark.parametrize("method", METHODS)
    def test_the_disc_goes_and_all_else_stays(
        self, method: str, inpaint: Any, photo: np.ndarray, marked: np.ndarray
    ) -> None:
        edited, edit_mask = inpaint(image=image(photo), mask=mask(marked), method=method, grow=4.0)
        after, grown = pixels_of(edited)[0], edit_mask[0].bool().numpy()
        assert grown[marked].all()
        assert grown.sum() > marked.sum()
        np.testing.assert_array_equal(after[~grown], photo[~grown])
        red = (after[..., 0] > 180) & (after[..., 1] < 60)
        assert not red.any()

    @pytest.mark.parametrize("method", METHODS)
    @settings(max_examples=25)
    @example(seed=0, kind="border", scaled=False)
    @example(seed=1, kind="all but one", scaled=False)
    @example(seed=2, kind="none", scaled=False)
    @example(seed=3, kind="corner", scaled=True)
    @given(
        scaled=st.booleans(),
        seed=st.integers(0, 10**6),
        kind=st.sampled_from(["noise", "sparse", "boxes", "border", "corner"]),
    )
    def test_every_pixel_outside_the_mask_stays_bit_for_bit(
        self, method: str, pack: Any, scaled: bool, seed: int, kind: str
    ) -> None:
        random = np.random.default_rng(seed)
        height, width = random.integers(2, 40, 2)
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        hole = self.hole(random, kind, height, width)
        inputs = {"image": image(pixels), "mask": mask(hole), "method": method, "grow": 0.0}
        with pytest.MonkeyPatch.context() as patched:
            if scaled:
                patched.setattr(pack.part("imaging.fill"), "FILL_SIDE", 16)
            try:
                edited, edit_mask = pack.call("EditPairsClassicalInpaint", **inputs)
            except ValueError as error:
                assert scaled and "too little" in str(error)
                return
        np.testing.assert_array_equal(edit_mask[0].bool().numpy(), hole)
        np.testing.assert_array_equal(pixels_of(edited)[0][~hole], pixels[~hole])

    def hole(self, random: np.random.Generator, kind: str, height: int, width: int) -> np.ndarray:
        """A mask that leaves at least one pixel."""
        hole = np.zeros((height, width), dtype=bool)
        if kind in ("noise", "sparse"):
            hole = random.random((height, width)) < (0.4 if kind == "noise" else 0.03)
        elif kind == "boxes":
            for _ in range(2):
                top, left = random.integers(0, height), random.integers(0, width)
                hole[top : top + height // 2, left : left + width // 2] = True
        elif kind == "border":
            hole[0], hole[:, 0] = True, True
        elif kind == "corner":
            hole[-(height // 2) :, -(width // 2) :] = True
        elif kind == "all but one":
            hole[:] = True
        if hole.all():
            hole[random.integers(0, height), random.integers(0, width)] = False
        return hole

    @pytest.mark.parametrize("method", METHODS)
    def test_a_large_hole_is_filled_at_a_smaller_size(
        self,
        method: str,
        inpaint: Any,
        pack: Any,
        photo: np.ndarray,
        marked: np.ndarray,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(pack.part("imaging.fill"), "FILL_SIDE", 24)
        edited, _mask = inpaint(image=image(photo), mask=mask(marked), method=method, grow=4.0)
        after = pixels_of(edited)[0]
        assert not ((after[..., 0] > 180) & (after[..., 1] < 60)).any(), "no red is left"

    def test_a_mask_that_leaves_too_little_to_fill_from(
        self, inpaint: Any, pack: Any, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pack.part("imaging.fill"), "FILL_SIDE", 16)
        stripes = np.tile(np.arange(64) % 2 == 0, (48, 1))
        with pytest.raises(ValueError, match="leaves too little of the photo around it"):
            inpaint(image=image(photo), mask=mask(stripes))

    @pytest.mark.parametrize("method", METHODS)
    def test_an_empty_mask_changes_nothing(self, method: str, inpaint: Any, photo: np.ndarray) -> None:
        edited, edit_mask = inpaint(image=image(photo), mask=torch.zeros(1, 64, 64), method=method, grow=5.0)
        np.testing.assert_array_equal(pixels_of(edited)[0], photo)
        assert tuple(edit_mask.shape) == (1, 48, 64)
        assert not edit_mask.any()

    @pytest.mark.parametrize("method", METHODS)
    def test_a_mask_of_everything_leaves_nothing_to_fill_from(
        self, method: str, inpaint: Any, photo: np.ndarray
    ) -> None:
        with pytest.raises(ValueError, match="covers the whole image"):
            inpaint(image=image(photo), mask=torch.ones(1, 48, 64), method=method)

    def test_a_soft_edge_belongs_to_the_mask(self, inpaint: Any, photo: np.ndarray, marked: np.ndarray) -> None:
        soft = mask(marked) * 0.01
        _edited, edit_mask = inpaint(image=image(photo), mask=soft)
        np.testing.assert_array_equal(edit_mask[0].bool().numpy(), marked)

    def test_grow_counts_in_shares_of_the_shorter_side(self, inpaint: Any, photo: np.ndarray) -> None:
        dot = np.zeros((48, 64), dtype=bool)
        dot[24, 32] = True
        _edited, edit_mask = inpaint(image=image(photo), mask=mask(dot), grow=10.0)
        rows, columns = np.nonzero(edit_mask[0].numpy())
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (19, 29, 27, 37)

    def test_a_batch_with_one_mask_and_one_photo_with_many(
        self, inpaint: Any, photo: np.ndarray, marked: np.ndarray
    ) -> None:
        edited, edit_mask = inpaint(image=image(photo, photo), mask=mask(marked))
        assert (edited.shape[0], edit_mask.shape[0]) == (2, 2)
        edited, edit_mask = inpaint(image=image(photo), mask=mask(marked, ~marked))
        np.testing.assert_array_equal(edit_mask.bool().numpy(), np.stack([marked, ~marked]))
        np.testing.assert_array_equal(pixels_of(edited)[1][marked], photo[marked])

    def test_sizes_that_do_not_fit(self, inpaint: Any, photo: np.ndarray, marked: np.ndarray) -> None:
        with pytest.raises(ValueError, match=r"image 2, mask 3\): give as many of each, or one for all"):
            inpaint(image=image(photo, photo), mask=mask(marked, marked, marked))

    def test_a_mask_without_a_batch(self, inpaint: Any, photo: np.ndarray, marked: np.ndarray) -> None:
        _edited, edit_mask = inpaint(image=image(photo), mask=mask(marked)[0])
        np.testing.assert_array_equal(edit_mask[0].bool().numpy(), marked)

    def test_opencv_that_is_missing_is_named(
        self, inpaint: Any, photo: np.ndarray, marked: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, "cv2", None)
        with pytest.raises(RuntimeError, match="pip install opencv-contrib-python-headless"):
            inpaint(image=image(photo), mask=mask(marked))
