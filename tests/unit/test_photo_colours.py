"""Whatever a file's colours are, a photo is 8-bit sRGB without alpha; masks are black and white."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import numpy as np
import pytest
from PIL import Image, ImageCms

from comfy_nodes.core import photos
from comfy_nodes.core.photos import PhotoError

COLOURS = np.array([[[0, 0, 0], [255, 255, 255], [128, 128, 128], [200, 100, 50], [60, 150, 90]]], dtype=np.uint8)
P3_IN_SRGB = [[0, 0, 0], [255, 255, 255], [128, 128, 128], [215, 93, 31], [0, 152, 83]]
"""COLOURS read as Display P3, in sRGB; by the matrices of the CSS Color 4 specification."""


def fixed(*values: float) -> bytes:
    """ICC's s15Fixed16 numbers."""
    return b"".join(struct.pack(">i", round(value * 65_536)) for value in values)


def icc(device: bytes, space: bytes, kind: bytes, tags: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A version 2 profile of the given tags."""
    tags = [(b"cprt", b"text\0\0\0\0none\0"), (b"wtpt", b"XYZ \0\0\0\0" + fixed(0.9642, 1, 0.8249)), *tags]
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + b"\0" * 78
    table, data = b"", b""
    for tag, value in [(b"desc", name), *tags]:
        table += tag + struct.pack(">II", 132 + 12 * (len(tags) + 1) + len(data), len(value))
        data += value + b"\0" * (-len(value) % 4)
    body = struct.pack(">I", len(tags) + 1) + table + data
    head = struct.pack(">I4xI", 128 + len(body), 0x02400000) + kind + device + space + b"\0" * 12 + b"acsp"
    return head + b"\0" * 28 + fixed(0.9642, 1, 0.8249) + b"\0" * 48 + body


def display_p3() -> bytes:
    primaries = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    curve = b"para\0\0\0\0" + struct.pack(">HH", 3, 0) + fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    tags = [(tag, b"XYZ \0\0\0\0" + fixed(*xyz)) for tag, xyz in primaries.items()]
    return icc(b"RGB ", b"XYZ ", b"mntr", [*tags, *((tag, curve) for tag in (b"rTRC", b"gTRC", b"bTRC"))])


def grey_inks() -> bytes:
    """A CMYK profile whose cyan is the middle grey L* = 50 and whose black is black; the other inks are invisible."""
    ramp = bytes(range(256))
    grid = b"".join(bytes([0 if index & 1 else 128 if index & 8 else 255, 128, 128]) for index in range(16))
    table = bytes([4, 3, 2, 0]) + fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + ramp * 4 + grid + ramp * 3
    return icc(b"CMYK", b"Lab ", b"prtr", [(b"A2B0", b"mft1\0\0\0\0" + table)])


def opened(data: bytes) -> np.ndarray:
    photo = photos.open_photo(data, "photo")
    assert photo.mode == "RGB"
    return np.asarray(photo)


def assert_near(pixels: np.ndarray, expected: object, tolerance: int) -> None:
    assert np.abs(pixels.astype(int) - np.asarray(expected)).max() <= tolerance, pixels.tolist()


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "WEBP", "JPEG", "AVIF"])
def test_display_p3_becomes_srgb(file_format: str, encode) -> None:
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}, "AVIF": {"quality": 100}}
    patches = COLOURS.repeat(16, axis=0).repeat(16, axis=1)
    data = encode(patches, file_format, icc_profile=display_p3(), **options.get(file_format, {}))
    lossless = file_format in ("PNG", "TIFF", "WEBP")
    assert_near(opened(data)[8, 8::16], P3_IN_SRGB, 1 if lossless else 12)


def test_palette_and_alpha_pass_through_the_profile_too(encode) -> None:
    palette = Image.fromarray(COLOURS).quantize(5)
    assert_near(opened(encode(palette, icc_profile=display_p3()))[0], P3_IN_SRGB, 1)
    opaque = Image.fromarray(COLOURS).convert("RGBA")
    assert_near(opened(encode(opaque, icc_profile=display_p3()))[0], P3_IN_SRGB, 1)


def test_srgb_profile_changes_nothing(encode, noise: np.ndarray) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(opened(encode(noise, icc_profile=profile)), noise)


@pytest.mark.parametrize("profile", [b"garbage", grey_inks(), display_p3()[:200]])
def test_profiles_that_do_not_fit_are_ignored(profile: bytes, encode, noise: np.ndarray) -> None:
    np.testing.assert_array_equal(opened(encode(noise, icc_profile=profile)), noise)


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk_without_a_profile(file_format: str, encode) -> None:
    """Naive inks: magenta and yellow make red, black makes black."""
    red = encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), file_format)
    black = encode(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), file_format)
    assert_near(opened(red)[4, 4], (255, 0, 0), 2)
    assert_near(opened(black)[4, 4], (0, 0, 0), 2)


@pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
def test_cmyk_with_a_profile(file_format: str, encode) -> None:
    cyan = encode(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), file_format, icc_profile=grey_inks())
    yellow = encode(Image.new("CMYK", (8, 8), (0, 0, 255, 0)), file_format, icc_profile=grey_inks())
    assert_near(opened(cyan)[4, 4], (119, 119, 119), 3)
    assert_near(opened(yellow)[4, 4], (255, 255, 255), 2)


LEVELS = np.array([[0, 255, 256, 32_768, 65_535]], dtype=np.uint16)
HIGH_BYTES = [0, 0, 1, 128, 255]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled(file_format: str, encode) -> None:
    data = encode(Image.fromarray(LEVELS), file_format)
    np.testing.assert_array_equal(opened(data)[0], np.repeat(np.array(HIGH_BYTES)[:, None], 3, axis=1))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bit_colour_is_scaled(suffix: str) -> None:
    cv2 = pytest.importorskip("cv2", reason="OpenCV, which writes 16-bit colour, is not installed")
    _, data = cv2.imencode(suffix, np.stack([LEVELS, LEVELS[:, ::-1], LEVELS * 0], axis=2))
    expected = [(0, green, blue) for blue, green in zip(HIGH_BYTES, reversed(HIGH_BYTES), strict=True)]
    np.testing.assert_array_equal(opened(data.tobytes())[0], expected)


def test_floating_point_is_refused_by_name(encode) -> None:
    data = encode(Image.fromarray(np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)), "TIFF")
    for read in (photos.open_photo, photos.open_mask):
        with pytest.raises(PhotoError, match=r"^depth\.tif: floating-point pixels"):
            read(data, "depth.tif")


def test_palette(encode) -> None:
    np.testing.assert_array_equal(opened(encode(Image.fromarray(COLOURS).quantize(5))), COLOURS)


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(file_format: str, encode) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([200, 0, 0, 0, 0, 200])
    image.putdata([0, 1])
    np.testing.assert_array_equal(opened(encode(image, file_format, transparency=0))[0], [[255] * 3, [0, 0, 200]])


def test_one_bit(encode) -> None:
    image = Image.fromarray(np.array([[False, True]]))
    assert image.mode == "1"
    np.testing.assert_array_equal(opened(encode(image))[0], [[0] * 3, [255] * 3])


def test_grey(encode) -> None:
    data = encode(Image.fromarray(np.array([[0, 77, 255]], dtype=np.uint8)))
    np.testing.assert_array_equal(opened(data)[0], [[0] * 3, [77] * 3, [255] * 3])


def test_a_transparent_grey_value_is_white(encode) -> None:
    data = encode(Image.fromarray(np.array([[0, 77]], dtype=np.uint8)), transparency=77)
    np.testing.assert_array_equal(opened(data)[0], [[0] * 3, [255] * 3])


@pytest.mark.parametrize(("alpha", "expected"), [(255, 100), (0, 255), (51, 224)])
@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_laid_over_white(mode: str, alpha: int, expected: int, encode) -> None:
    colour = (100, alpha) if mode == "LA" else (100, 100, 100, alpha)
    assert_near(opened(encode(Image.new(mode, (1, 1), colour)))[0, 0], [expected] * 3, 0)


def test_a_mask_is_white_from_half_the_range(encode) -> None:
    grey = np.array([[0, 127, 128, 255]], dtype=np.uint8)
    expected = [[False, False, True, True]]
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    for image in (Image.fromarray(grey), Image.fromarray(grey).convert("RGB"), deep):
        np.testing.assert_array_equal(photos.open_mask(encode(image), "cup.mask.png"), expected)


def test_a_mask_ignores_alpha_profile_and_knows_palettes(encode) -> None:
    grey = Image.fromarray(np.array([[0, 255]], dtype=np.uint8))
    see_through = grey.convert("RGBA")
    see_through.putalpha(0)
    for data in (encode(see_through), encode(grey.convert("P")), encode(grey.convert("1")), encode(grey, "GIF")):
        np.testing.assert_array_equal(photos.open_mask(data, "cup.mask.png"), [[False, True]])
    profiled = encode(grey.convert("RGB"), icc_profile=display_p3())
    np.testing.assert_array_equal(photos.open_mask(profiled, "cup.mask.png"), [[False, True]])


def test_a_mask_that_is_no_image_is_named() -> None:
    with pytest.raises(PhotoError, match=r"^cup\.mask\.png: not an image"):
        photos.open_mask(b"white", "cup.mask.png")


def test_the_mask_editors_alpha_is_the_mask_and_hides_no_colour(encode) -> None:
    pixels = np.full((2, 3, 4), (10, 20, 30, 255), dtype=np.uint8)
    pixels[0, :, 3] = (0, 127, 128)
    photo, painted = photos.open_painted(encode(pixels), "clipspace-painted.png")
    np.testing.assert_array_equal(np.asarray(photo), np.full((2, 3, 3), (10, 20, 30)))
    np.testing.assert_array_equal(painted, [[True, True, False], [False] * 3])


def test_the_mask_editors_file_without_alpha_is_unpainted(encode, noise: np.ndarray) -> None:
    photo, painted = photos.open_painted(encode(noise), "clipspace-painted.png")
    np.testing.assert_array_equal(np.asarray(photo), noise)
    assert not painted.any()
