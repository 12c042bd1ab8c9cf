"""Reading a photograph into the one form that everything downstream works on.

Upright 8-bit sRGB without alpha, whatever the file was. The driver calls it to check a file before
it is sent, `Load Edit Sample` to make pixels of it, so both refuse the same files with the same words.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms, ImageOps, TiffImagePlugin, UnidentifiedImageError

from .regions import mask_pictures

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".gif", ".heic", ".heif")
"""File names that a folder scan takes for photos. Animated ones and HEIC are refused by name, not overlooked."""

_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")

MAX_PIXELS = 178_956_970
"""Largest photo that is decoded, in pixels: the bound at which Pillow itself raises DecompressionBombError."""

_ORIENTATION_TAG = 0x0112

_PNG = b"\x89PNG\r\n\x1a\n"
"""What a PNG begins with (the standard's chapter 5.2)."""

_JPEG_HEAD = 4096
"""Bytes in which the header of a JPEG ends that an encoder wrote without asking for more. Ours."""

_TABLES = (0xFFC4, 0xFFDD, 0xFFE0, 0xFFEE, 0xFFFE)
"""Markers of a JPEG that say nothing of what is asked here: Huffman tables, restarts, JFIF, Adobe, a comment (ITU-T T.81 B.1.1.3)."""

_FRAMES = (0xFFC0, 0xFFC1, 0xFFC2)
"""Markers of a JPEG's frame: baseline, extended, progressive."""

_DRAFT = 4
"""How many times as large a photo is decoded, at least, as it is to be shrunk to. Ours."""

_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF")
"""Formats that may change values a little."""


class PhotoError(ValueError):
    """The file cannot be used as a photo; the message says why and what to do."""


def open_photo(data: bytes, name: str) -> Image.Image:
    """Decodes a photo to upright 8-bit sRGB.

    EXIF rotation is applied, an embedded ICC profile is converted to sRGB, 16-bit and palette and
    CMYK and grey images become 8-bit RGB, and alpha is laid over white.

    Args:
        data: the file's bytes.
        name: what to call the file in errors.

    Returns:
        A loaded image of mode RGB.

    Raises:
        PhotoError: empty, truncated, not an image, animated, HEIC, or too large.
    """
    with _photo_errors(name):
        image = _identify(io.BytesIO(data), name)
        image.load()
        return _upright_srgb(image, name)


def open_small(data: bytes, name: str, side: int) -> np.ndarray:
    """The brightness of a photo, shrunk to a square. Of a JPEG no more is decoded than that takes.

    Colour profiles are ignored, and alpha is laid over white.

    Returns:
        uint8 array [side, side] of the upright photo.

    Raises:
        PhotoError: as `open_photo`.
    """
    with _photo_errors(name):
        image = _identify(io.BytesIO(data), name)
        image.draft("L", (_DRAFT * side, _DRAFT * side))
        upright = _eight_bit(ImageOps.exif_transpose(image), name)
        if "A" in upright.getbands() or "transparency" in upright.info:
            upright = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
        small = upright.convert("L").resize((side, side), Image.Resampling.LANCZOS, reducing_gap=_DRAFT)
        return np.asarray(small)


def open_painted(data: bytes, name: str) -> tuple[Image.Image, np.ndarray]:
    """Reads what ComfyUI's mask editor saves: colours as they are, and a mask where alpha is under half.

    Returns:
        A loaded image of mode RGB, and a bool array [H, W] that is True where the mask was painted.

    Raises:
        PhotoError: as `open_photo`.
    """
    with _photo_errors(name):
        image = _identify(io.BytesIO(data), name)
        image.load()
        upright = ImageOps.exif_transpose(image).convert("RGBA")
        painted = _marked(255 - np.asarray(upright.getchannel("A")), name)
        return upright.convert("RGB"), painted


@dataclass(frozen=True)
class Header:
    """What a photo's header says."""

    size: tuple[int, int]
    """(width, height) of the upright photo in pixels."""
    orientation: int
    """EXIF orientation, 1 to 8."""


def read_header(file: BinaryIO, name: str) -> Header:
    """Size and orientation of a photo without reading its pixels.

    Raises:
        PhotoError: as `open_photo`, for what the header shows.
    """
    with _photo_errors(name):
        if plain := _plain_jpeg(file):
            return Header(size=plain, orientation=1)
        image = _identify(file, name)
        turn = _orientation(image, file)
        width, height = _stored_size(image)
        return Header(size=(height, width) if turn >= 5 else (width, height), orientation=turn)


def _plain_jpeg(file: BinaryIO) -> tuple[int, int] | None:
    """(width, height) of a JPEG as encoders write it, told several times as fast as by Pillow, as a plan looks at millions.
    None of all others: with EXIF or further pictures in it, with anything unusual or broken, which Pillow is to say."""
    head = file.read(_JPEG_HEAD)
    file.seek(0)
    place, size = 2, None
    while head[:3] == b"\xff\xd8\xff" and place + 4 <= len(head):
        marker, length = struct.unpack_from(">HH", head, place)
        segment = head[place + 4 : place + 2 + length]
        if length < 2 or len(segment) < length - 2:
            return None
        if marker == 0xFFDA:
            return size
        if marker in _FRAMES:
            size = None if size else _frame_size(segment)
            if size is None:
                return None
        elif marker not in _TABLES and not (marker == 0xFFDB and _are_tables(segment)):
            return None
        place += 2 + length
    return None


def _frame_size(segment: bytes) -> tuple[int, int] | None:
    """(width, height) in a JPEG's frame header; None where it is of no kind that is read, or too large."""
    if len(segment) < 6:
        return None
    depth, height, width, layers = struct.unpack_from(">BHHB", segment)
    usual = depth == 8 and layers in (1, 3, 4) and len(segment) == 6 + 3 * layers
    return (width, height) if usual and 0 < width * height <= MAX_PIXELS else None


def _are_tables(segment: bytes) -> bool:
    """Whether a JPEG's quantization tables are whole, and of 8 bits."""
    return not len(segment) % 65 and all(first < 16 for first in segment[::65])


def open_mask(data: bytes, name: str) -> np.ndarray:
    """Reads a mask file: white is the object, or what is opaque of a cut-out. Colour profiles are ignored.

    Returns:
        bool array [H, W], upright by the file's own EXIF rotation.

    Raises:
        PhotoError: as `open_photo`, or what it marks cannot be told.
    """
    with _photo_errors(name):
        image = _identify(io.BytesIO(data), name)
        lossy = image.format in _LOSSY
        image.load()
        upright = _eight_bit(ImageOps.exif_transpose(image), name)
        plain = upright.mode in ("1", "L") and "transparency" not in upright.info
        return _marked(np.asarray(upright.convert("L" if plain else "RGBA")), name, lossy)


def _marked(pixels: np.ndarray, name: str, lossy: bool = False) -> np.ndarray:
    try:
        return mask_pictures.marked(pixels, lossy)
    except mask_pictures.UnclearMask as error:
        raise PhotoError(f"{name} {error}") from None


def turn_like(mask: np.ndarray, exif_orientation: int) -> np.ndarray:
    """Applies the EXIF orientation of a photo to a mask [H, W] that was drawn on its stored pixels."""
    image = Image.fromarray(mask.astype(np.uint8) * 255)
    exif = image.getexif()
    exif[_ORIENTATION_TAG] = exif_orientation
    return np.asarray(ImageOps.exif_transpose(image)) >= 128


def read_bytes(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        PhotoError: missing or not readable.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        name = readable(path.name)
        raise PhotoError(f"{name}: the file is missing; check the path in the annotation or the folder") from None
    except OSError as error:
        name = readable(path.name)
        raise PhotoError(f"{name}: cannot be read ({error.strerror}); check its permissions") from None


def readable(name: str) -> str:
    """A file name as text; bytes that are not UTF-8 are written as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


@contextmanager
def _photo_errors(name: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except PhotoError:
        raise
    except UnidentifiedImageError:
        raise PhotoError(f"{name}: not an image that can be read; use JPEG, PNG, WebP, AVIF, TIFF or BMP") from None
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except MemoryError:
        raise
    except Exception as error:
        # Pillow's decoders raise whatever comes on damaged data: OSError, SyntaxError, struct.error, RuntimeError.
        raise PhotoError(f"{name}: the image data is damaged or cut off ({error}); export it again") from None


def _orientation(image: Image.Image, file: BinaryIO) -> int:
    """EXIF orientation of an image opened from `file`, 1 to 8; 1 where there is none or it is out of range."""
    # Of a PNG without EXIF, its own getexif would decode all pixels to look behind them.
    early = image.format == "PNG" and not _has_late_metadata(file)
    exif = Image.Image.getexif(image) if early else image.getexif()
    value = exif.get(_ORIENTATION_TAG, 1)
    return value if value in range(1, 9) else 1


def _has_late_metadata(png: BinaryIO) -> bool:
    """Whether a PNG's EXIF or XMP may lie behind its pixels."""
    place, pixels = png.tell(), False
    png.seek(len(_PNG))
    try:
        while len(head := png.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            pixels = pixels or kind == b"IDAT"
            if pixels and kind in (b"eXIf", b"iTXt", b"zTXt", b"tEXt"):
                return True
            png.seek(length + 4, io.SEEK_CUR)
        return False
    finally:
        png.seek(place)


def is_bare_png(data: bytes) -> bool:
    """Whether a file is a PNG of 8-bit RGB that holds nothing but its pixels: no words, no profile, nothing behind its end."""
    if not data.startswith(_PNG):
        return False
    place, kinds = len(_PNG), []
    while place + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if data[end - 4 : end] != struct.pack(">I", zlib.crc32(memoryview(data)[place + 4 : end - 4])):
            return False
        kinds.append(kind)
        place = end
    # IHDR: width, height, 8 bits, RGB, deflate, its filters, not interlaced (the standard's chapter 11.2.1).
    whole = place == len(data) and len(kinds) > 2 and {*kinds[1:-1]} == {b"IDAT"}
    return whole and (kinds[0], kinds[-1]) == (b"IHDR", b"IEND") and data[24:29] == b"\x08\x02\0\0\0"


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) before EXIF rotation. Of a TIFF, Pillow gives the size after it."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(image.tag_v2[TiffImagePlugin.IMAGEWIDTH]), int(image.tag_v2[TiffImagePlugin.IMAGELENGTH])
    return image.size


def _identify(file: BinaryIO, name: str) -> Image.Image:
    start = file.read(12)
    file.seek(0)
    if not start:
        raise PhotoError(f"{name}: the file is empty")
    if start[4:8] == b"ftyp" and start[8:12] in _HEIC_BRANDS:
        raise PhotoError(f"{name}: HEIC is not read; convert it to JPEG or PNG")
    image = Image.open(file)
    if image.width * image.height > MAX_PIXELS:
        raise _too_large(name)
    # A phone's JPEG with an embedded preview is an MPO of several frames: the first is the photo.
    frames = getattr(image, "n_frames", 1)
    if image.format != "MPO" and frames > 1:
        raise PhotoError(f"{name}: animated or of several pages ({frames} frames); give one still picture")
    return image


def _too_large(name: str) -> PhotoError:
    return PhotoError(f"{name}: larger than {MAX_PIXELS / 1e6:.0f} megapixels (or a decompression bomb); scale it down")


def _upright_srgb(image: Image.Image, name: str) -> Image.Image:
    profile = image.info.get("icc_profile")
    upright = _eight_bit(ImageOps.exif_transpose(image), name)
    if upright.mode in ("P", "1") and "transparency" not in upright.info:
        upright = upright.convert("RGB")
    if "A" in upright.getbands() or "transparency" in upright.info:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
        upright = upright.convert("RGB")
    if profile:
        upright = _to_srgb(upright, profile)
    return upright.convert("RGB")


def _eight_bit(image: Image.Image, name: str) -> Image.Image:
    """Pillow clips 16-bit grey on conversion instead of scaling it; float pixels have no known range."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I"):
        values = np.asarray(image).astype(np.int64)
        return Image.fromarray((np.clip(values, 0, 65535) >> 8).astype(np.uint8))
    if image.mode == "F":
        raise PhotoError(f"{name}: floating-point pixels have no stated range; export it with 8 or 16 bits per channel")
    return image


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        # A profile that does not fit its pixels says nothing about them; every viewer shows them as they are.
        return image
    return converted or image
