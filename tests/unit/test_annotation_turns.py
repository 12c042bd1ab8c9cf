"""Annotations of EXIF-rotated photos: boxes and masks follow the pixels, whichever way the annotator saw them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_nodes.core import photos
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import align, parse_annotation, region_of_mask, to_json

ORIENTATIONS = range(1, 9)
STORED = (40, 30)
"""(width, height) of the pixels as they lie in the file."""


@pytest.fixture(scope="module")
def stored() -> np.ndarray:
    """uint8 [30, 40, 3]: a white object, on no axis of symmetry, on black."""
    pixels = np.zeros((30, 40, 3), dtype=np.uint8)
    pixels[4:9, 6:25] = pixels[9:12, 6:9] = 255
    return pixels


@pytest.fixture(params=ORIENTATIONS)
def orientation(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def opened(encode: Any, stored: np.ndarray, orientation: int) -> tuple[np.ndarray, photos.Header]:
    """The upright object mask [H, W] as the pixels show it, and the header."""
    image = Image.fromarray(stored)
    exif = image.getexif()
    exif[0x0112] = orientation
    data = encode(image, "PNG", exif=exif)
    upright = np.asarray(photos.open_photo(data, "photo"))[..., 0] > 127
    return upright, photos.read_header(io.BytesIO(data), "photo")


def annotation(marked: np.ndarray, with_mask: bool, resolution: bool) -> Any:
    region = region_of_mask(marked, "corner")
    height, width = marked.shape
    entry = {"class_name": "corner", "bbox": region.bbox, "mask": region.mask.model_dump() if with_mask else None}
    size = {"width": width, "height": height} if resolution else None
    return parse_annotation({"path": "photo.png", "resolution": size, "segmentation": {"object": [entry]}})


@pytest.mark.parametrize(("with_mask", "resolution"), [(True, True), (True, False), (False, True)])
def test_drawn_on_stored_pixels(
    with_mask: bool, resolution: bool, orientation: int, encode, stored: np.ndarray
) -> None:
    """Quarter turns are recognised by size. Half turns keep it, and are taken to be upright already."""
    upright, header = opened(encode, stored, orientation)
    drawn = stored[..., 0] > 127
    expected = upright if orientation >= 5 else drawn
    region = align(annotation(drawn, with_mask, resolution), header.size, header.orientation).regions[0]
    assert region.bbox == region_of_mask(expected).bbox
    if with_mask:
        assert region.mask is not None
        np.testing.assert_array_equal(rle.decode(region.mask), expected)


@pytest.mark.parametrize("with_mask", [True, False])
def test_drawn_on_the_upright_photo(with_mask: bool, orientation: int, encode, stored: np.ndarray) -> None:
    upright, header = opened(encode, stored, orientation)
    region = align(annotation(upright, with_mask, True), header.size, header.orientation).regions[0]
    assert region.bbox == region_of_mask(upright).bbox
    if with_mask:
        assert region.mask == rle.encode(upright)


def test_aligning_twice_changes_nothing(orientation: int, encode, stored: np.ndarray) -> None:
    """The driver aligns, and Load Edit Sample aligns what the driver sends."""
    _upright, header = opened(encode, stored, orientation)
    once = align(annotation(stored[..., 0] > 127, True, True), header.size, header.orientation)
    again = align(parse_annotation(to_json(once)), header.size, header.orientation)
    assert (again.regions, again.size) == (once.regions, once.size)


@pytest.mark.parametrize("counts", ["broken", "22"])
def test_a_broken_mask_that_would_be_turned_is_refused(counts: str) -> None:
    entry = {"class_name": "cup", "bbox": [1, 2, 3, 4], "mask": {"size": [30, 40], "counts": counts}}
    item = parse_annotation({"path": "photo.png", "segmentation": {"object": [entry]}})
    turned = align(item, (30, 40), 6)
    assert turned.regions == ()
    assert "broken mask RLE" in turned.refusals[0]


def test_a_box_is_clipped_after_it_is_turned() -> None:
    entry = {"class_name": "cup", "bbox": [30, 20, 99, 25]}
    size = {"width": STORED[0], "height": STORED[1]}
    item = parse_annotation({"path": "photo.png", "resolution": size, "segmentation": {"object": [entry]}})
    assert align(item, (30, 40), 6).regions[0].bbox == (5, 30, 10, 40)
