"""COCO's RLE: what we write and read equals pycocotools, and nothing broken gets through or crashes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import ValidationError

from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.rle import Rle

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
coco = pytest.importorskip("pycocotools.mask", reason="pycocotools, the other reader of COCO's RLE, is not installed")

SIDES = st.integers(1, 40)
MASKS = arrays.arrays(np.bool_, st.tuples(SIDES, SIDES))


def blobs(seed: int, height: int, width: int, period: float) -> np.ndarray:
    """A mask with runs of all lengths, larger than random bits have."""
    rows, columns = np.mgrid[:height, :width]
    return np.sin(rows / period + seed) * np.cos(columns / (period * 0.7) - seed) > 0.1


def as_coco(mask: Rle) -> dict[str, object]:
    return {"size": list(mask.size), "counts": mask.counts.encode("ascii")}


@given(MASKS)
@example(np.zeros((3, 5), dtype=bool))
@example(np.ones((3, 5), dtype=bool))
@example(np.ones((1, 1), dtype=bool))
def test_encodes_as_pycocotools_does(mask: np.ndarray) -> None:
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    ours = rle.encode(mask)
    assert list(ours.size) == theirs["size"]
    assert ours.counts == theirs["counts"].decode("ascii")


@given(MASKS)
def test_decodes_what_pycocotools_wrote(mask: np.ndarray) -> None:
    theirs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    decoded = rle.decode(Rle(size=tuple(theirs["size"]), counts=theirs["counts"].decode("ascii")))
    assert decoded.dtype == np.bool_
    np.testing.assert_array_equal(decoded, mask)


@pytest.mark.parametrize("period", [0.6, 3.0, 40.0, 400.0])
@pytest.mark.parametrize(("height", "width"), [(700, 90), (90, 700), (1, 5000), (5000, 1), (600, 800)])
def test_equals_pycocotools_on_long_runs(height: int, width: int, period: float) -> None:
    mask = blobs(7, height, width, period)
    ours = rle.encode(mask)
    assert ours.counts == coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode("ascii")
    np.testing.assert_array_equal(coco.decode(as_coco(ours)).astype(bool), mask)
    np.testing.assert_array_equal(rle.decode(ours), mask)


def test_counts_columns_first_and_the_object_as_one() -> None:
    """By hand from the format: a 2 x 3 mask whose second column is set has runs 2, 2, 2."""
    mask = np.array([[0, 1, 0], [0, 1, 0]], dtype=bool)
    assert rle.encode(mask) == Rle(size=(2, 3), counts="222")


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_every_value_but_zero_is_object(dtype: type) -> None:
    mask = np.array([[0, 3], [0, 200]], dtype=dtype)
    np.testing.assert_array_equal(rle.decode(rle.encode(mask)), mask > 0)


@given(st.tuples(st.integers(1, 60), st.integers(1, 60)), st.text(max_size=40))
def test_any_text_is_a_mask_or_a_value_error(size: tuple[int, int], counts: str) -> None:
    decodes_or_refuses(size, counts)


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.text(alphabet=[chr(code) for code in range(48, 112)], max_size=60),
)
def test_any_text_of_the_alphabet_is_a_mask_or_a_value_error(size: tuple[int, int], counts: str) -> None:
    decodes_or_refuses(size, counts)


@given(MASKS, st.data())
def test_a_damaged_string_is_a_mask_or_a_value_error(mask: np.ndarray, data: st.DataObject) -> None:
    whole = rle.encode(mask)
    place = data.draw(st.integers(0, len(whole.counts) - 1))
    letter = data.draw(st.characters(min_codepoint=32, max_codepoint=126))
    decodes_or_refuses(whole.size, whole.counts[:place] + letter + whole.counts[place + 1 :])
    decodes_or_refuses(whole.size, whole.counts[:place])


def decodes_or_refuses(size: tuple[int, int], counts: str) -> None:
    try:
        decoded = rle.decode(Rle(size=size, counts=counts))
    except ValueError as error:
        assert str(error).startswith("broken mask RLE")
        return
    assert decoded.shape == size
    np.testing.assert_array_equal(coco.decode(as_coco(Rle(size=size, counts=counts))).astype(bool), decoded)


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ("", "cover 0 pixels"),
        ("222 ", "character ' '"),
        ("22é", "character"),
        ("T", "ends in the middle"),
        ("22", "cover 4 pixels"),
        ("2222", "cover 10 pixels"),
        ("@", "cover -16"),
        ("8N", "cover 6 pixels"),
        ("o" * 40, "longer than any image"),
    ],
)
def test_says_what_is_broken(counts: str, why: str) -> None:
    with pytest.raises(ValueError, match="broken mask RLE") as error:
        rle.decode(Rle(size=(2, 3), counts=counts))
    assert why in str(error.value)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (-1, 5), (2**20, 2**20), (10**30, 10**30)])
def test_refuses_sizes_that_no_photo_has(size: tuple[int, int]) -> None:
    with pytest.raises(ValidationError):
        Rle(size=size, counts="0")


def test_masks_that_are_measured_together_have_the_areas_of_their_pixels() -> None:
    rng = np.random.default_rng(4)
    pixels = [rng.random((rng.integers(1, 60), rng.integers(1, 60))) < rng.random() for _ in range(40)]
    pixels += [np.zeros((300, 400), bool), np.ones((300, 400), bool)]
    masks = [rle.encode(one) for one in pixels]
    rle.measure(masks)
    assert [one.__dict__["area"] for one in masks] == [one.sum() for one in pixels]


@pytest.mark.parametrize("counts", ["", "é", "0~", "5o", "ooooooooo0", "00", "9" * 40, "`" * 8 + "0", "o0o0", "0" * 99])
def test_a_broken_mask_beside_sound_ones_says_what_it_says_alone(counts: str) -> None:
    sound = rle.encode(np.eye(7, dtype=bool))
    broken = rle.Rle(size=(7, 7), counts=counts)
    rle.measure([sound, broken, sound.model_copy()])
    assert sound.area == 7
    with pytest.raises(ValueError, match="broken mask RLE") as alone:
        rle.decode(broken)
    with pytest.raises(ValueError, match="broken mask RLE") as measured:
        _ = broken.area
    assert str(measured.value) == str(alone.value)
