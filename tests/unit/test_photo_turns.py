"""EXIF orientation: header, pixels and masks turn together, in every format that knows rotation."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from comfy_nodes.core import photos

ORIENTATION = 0x0112

TURNS = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
"""EXIF's eight orientations in array terms, apart from Pillow."""

LOSSLESS = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}
LOSSY = {"JPEG": {}, "AVIF": {}, "MPO": {}}


def turned(image: Image.Image, orientation: int) -> Image.Exif:
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    return exif


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("file_format", LOSSLESS)
def test_pixels_turn_exactly(file_format: str, orientation: int, encode, noise: np.ndarray) -> None:
    image = Image.fromarray(noise)
    data = encode(image, file_format, exif=turned(image, orientation), **LOSSLESS[file_format])
    photo = np.asarray(photos.open_photo(data, "photo"))
    np.testing.assert_array_equal(photo, TURNS[orientation](noise))
    np.testing.assert_array_equal(photo, ImageOps.exif_transpose(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("file_format", LOSSY)
def test_lossy_pixels_turn_as_pillow_turns_them(file_format: str, orientation: int, encode, noise: np.ndarray) -> None:
    image = Image.fromarray(noise)
    data = encode(image, file_format, exif=turned(image, orientation))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(np.asarray(photos.open_photo(data, "photo")), expected)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("file_format", [*LOSSLESS, *LOSSY])
def test_the_header_knows_the_upright_size(file_format: str, orientation: int, encode, noise: np.ndarray) -> None:
    image = Image.fromarray(noise)
    data = encode(image, file_format, exif=turned(image, orientation))
    header = photos.read_header(io.BytesIO(data), "photo")
    assert header.orientation == orientation
    assert header.size == photos.open_photo(data, "photo").size
    assert header.size == ((6, 10) if orientation >= 5 else (10, 6))


@pytest.mark.parametrize("orientation", TURNS)
def test_masks_turn_as_pixels_do(orientation: int, encode, noise: np.ndarray) -> None:
    image = Image.fromarray(noise)
    photo = np.asarray(
        photos.open_photo(encode(image, "PNG", exif=turned(image, orientation)), "photo"),
    )
    marked = noise[..., 0] > 127
    np.testing.assert_array_equal(photos.turn_like(marked, orientation), photo[..., 0] > 127)


@pytest.mark.parametrize("value", [0, 9, 65_535])
def test_orientations_that_do_not_exist_turn_nothing(value: int, encode, noise: np.ndarray) -> None:
    image = Image.fromarray(noise)
    data = encode(image, "PNG", exif=turned(image, value))
    assert photos.read_header(io.BytesIO(data), "photo") == photos.Header(size=(10, 6), orientation=1)
    np.testing.assert_array_equal(np.asarray(photos.open_photo(data, "photo")), noise)


def test_exif_behind_a_pngs_pixels_counts_too(encode, noise: np.ndarray) -> None:
    """Some programs append EXIF; header and pixels must not disagree on it."""
    image = Image.fromarray(noise)
    exif = turned(image, 6).tobytes().removeprefix(b"Exif\x00\x00")
    late = struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))
    whole = encode(noise)
    end = whole.index(b"IEND") - 4
    data = whole[:end] + late + whole[end:]
    assert photos.read_header(io.BytesIO(data), "photo") == photos.Header(size=(6, 10), orientation=6)
    np.testing.assert_array_equal(np.asarray(photos.open_photo(data, "photo")), TURNS[6](noise))


def test_a_header_is_read_without_the_pixels(encode, noise: np.ndarray) -> None:
    """A plan looks at every photo of a folder; decoding each would take hours."""
    data = encode(noise)
    broken = data.replace(data[data.index(b"IDAT") + 4 :], b"\x00" * 8)
    assert photos.read_header(io.BytesIO(broken), "photo").size == (10, 6)
