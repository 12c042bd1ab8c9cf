"""What counts as a photo: everything that a camera or a program may leave is read, or refused with a reason."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from comfy_nodes.core import photos
from comfy_nodes.core.photos import Header, PhotoError

GREY = np.full((6, 10, 3), 90, dtype=np.uint8)


def png_header(width: int, height: int) -> bytes:
    """A PNG that says how large it is and holds nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def heic() -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif, which writes HEIC, is not installed")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(GREY).resize((64, 64))).save(buffer, format="HEIF")
    return buffer.getvalue()


def animation(file_format: str) -> bytes:
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (0, 120, 240)]
    buffer = io.BytesIO()
    frames[0].save(buffer, file_format, save_all=True, append_images=frames[1:], duration=40)
    return buffer.getvalue()


def refused(data: bytes, why: str) -> None:
    """Pixels and header are refused for one reason, which names the file in one line."""
    for read in (lambda: photos.open_photo(data, "my photo.png"), lambda: read_header(data)):
        with pytest.raises(PhotoError, match=re.escape(why)) as error:
            read()
        assert str(error.value).startswith("my photo.png: ")
        assert "\n" not in str(error.value)


def read_header(data: bytes) -> Header:
    return photos.read_header(io.BytesIO(data), "my photo.png")


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "GIF"])
def test_reads(file_format: str, encode) -> None:
    data = encode(GREY, file_format)
    photo = photos.open_photo(data, "photo")
    assert (photo.mode, photo.size) == ("RGB", (10, 6))
    assert np.abs(np.asarray(photo).astype(int) - GREY).max() <= 3
    assert read_header(data) == Header(size=(10, 6), orientation=1)


def test_lossless_pixels_arrive_unchanged(encode, noise: np.ndarray) -> None:
    for data in (encode(noise), encode(noise, "TIFF"), encode(noise, "BMP"), encode(noise, "WEBP", lossless=True)):
        np.testing.assert_array_equal(np.asarray(photos.open_photo(data, "photo")), noise)


def test_refuses_an_empty_file() -> None:
    refused(b"", "empty")


@pytest.mark.parametrize("data", [b"PK\x03\x04 a zip archive", b"<html></html>", b"\x00" * 4000, b"\xff"])
def test_refuses_what_is_no_image(data: bytes) -> None:
    refused(data, "not an image")


@pytest.mark.parametrize("size", [(50_000, 50_000), (13_400, 13_400), (2**31 - 1, 1)])
def test_refuses_decompression_bombs(size: tuple[int, int]) -> None:
    refused(png_header(*size), "megapixels")


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_refuses_animations_and_pages(file_format: str) -> None:
    refused(animation(file_format), "3 frames")


def test_refuses_heic_by_name() -> None:
    refused(heic(), "HEIC is not read; convert it")


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"mif1"])
def test_refuses_heic_brands_by_name(brand: bytes) -> None:
    refused(b"\x00\x00\x00\x18ftyp" + brand + b"\x00\x00\x00\x00mif1heic" + b"\x00" * 100, "HEIC")


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "GIF"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_refuses_cut_off_files(file_format: str, share: float, encode) -> None:
    texture = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    whole = encode(texture, file_format)
    with pytest.raises(PhotoError, match=r"^holiday: (the image data is damaged|not an image)"):
        photos.open_photo(whole[: int(len(whole) * share)], "holiday")


def test_reads_the_first_frame_of_an_mpo(encode, noise: np.ndarray) -> None:
    preview = Image.new("RGB", (3, 2), "red")
    data = encode(noise, "MPO", save_all=True, append_images=[preview], quality=95)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    expected = Image.open(io.BytesIO(encode(noise, "JPEG", quality=95)))
    np.testing.assert_array_equal(np.asarray(photos.open_photo(data, "phone")), np.asarray(expected))
    assert read_header(data).size == (10, 6)


def test_reads_a_single_pixel(encode) -> None:
    photo = photos.open_photo(encode(Image.new("RGB", (1, 1), (1, 2, 3))), "dot")
    assert (photo.size, photo.getpixel((0, 0))) == ((1, 1), (1, 2, 3))


def test_reads_12000_by_9000() -> None:
    assert read_header(png_header(12_000, 9_000)).size == (12_000, 9_000)
    buffer = io.BytesIO()
    Image.new("1", (12_000, 9_000), 1).save(buffer, "PNG", compress_level=1)
    photo = photos.open_photo(buffer.getvalue(), "panorama")
    assert (photo.mode, photo.size) == ("RGB", (12_000, 9_000))
    assert photo.getpixel((11_999, 8_999)) == (255, 255, 255)


def test_large_photos_warn_nobody(encode, recwarn: pytest.WarningsRecorder) -> None:
    read_header(png_header(12_000, 9_000))
    assert not recwarn.list


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=r"^gone\.jpg: the file is missing"):
        photos.read_bytes(tmp_path / "gone.jpg")


def test_a_folder_is_no_photo(tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match="cannot be read"):
        photos.read_bytes(tmp_path)


def test_names_that_are_not_utf_8_are_spelled_out(tmp_path: Path) -> None:
    with pytest.raises(PhotoError) as error:
        photos.read_bytes(tmp_path / "caf\udce9.jpg")
    assert str(error.value).encode().startswith(rb"caf\udce9.jpg: ")


FUZZED = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "AVIF", "GIF", "MPO", "ICO", "JPEG2000")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file_format", FUZZED)
@given(data=st.data())
def test_damaged_bytes_are_a_photo_or_a_photo_error(file_format: str, data: st.DataObject) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    Image.fromarray(GREY).save(buffer, file_format, exif=exif)
    damaged = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(len(damaged) // 2, len(damaged))) :]
    for read in (photos.open_photo, photos.open_painted, photos.open_mask, lambda data, _: read_header(data)):
        try:
            read(bytes(damaged), "my photo.png")
        except PhotoError as error:
            assert str(error).startswith("my photo.png")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"hi"}, {"icc_profile": b"x" * 300}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_plain_jpeg_is_what_pillow_says_however_it_is_damaged(
    mode: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its header is looked at without Pillow: sizes and refusals are the same."""
    buffer = io.BytesIO()
    Image.fromarray(GREY).convert(mode).save(buffer, "JPEG", **options)
    random, files = Random(mode), [buffer.getvalue()]
    for _ in range(150):
        data = bytearray(files[0])
        place = random.randrange(min(len(data), 700))
        change = random.choice([b"", random.randbytes(1), random.randbytes(3), b"\xff", b"\xff\xc0\x00"])
        data[place : place + random.randrange(3)] = change
        files.append(bytes(data))

    def said() -> list[Header | str]:
        return [header_or_refusal(one) for one in files]

    quick = said()
    assert "icc_profile" in options or photos._plain_jpeg(io.BytesIO(files[0])) == (10, 6)
    monkeypatch.setattr(photos, "_plain_jpeg", lambda _file: None)
    assert quick == said()


def header_or_refusal(data: bytes) -> Header | str:
    try:
        return photos.read_header(io.BytesIO(data), "x.jpg")
    except PhotoError as error:
        return str(error)


def test_a_png_that_holds_nothing_but_pixels() -> None:
    def packed(mode: str = "RGB", form: str = "PNG", **options: Any) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(GREY).convert(mode).save(buffer, form, **options)
        return buffer.getvalue()

    bare = packed()
    assert photos.is_bare_png(bare)
    words, exif = PngImagePlugin.PngInfo(), Image.Exif()
    words.add_text("Comment", "at home")
    exif[0x0112] = 6
    more = [
        packed(pnginfo=words),
        packed(exif=exif),
        packed(dpi=(72, 72)),
        packed(icc_profile=b"p"),
        packed(transparency=(0, 0, 0)),
    ]
    others = [packed(mode) for mode in ("RGBA", "L", "P", "1", "I;16")] + [packed(form="JPEG"), b"", bare[:8]]
    damaged = bytearray(bare)
    damaged[-20] ^= 1  # in its pixels
    cut = [bare + b"more", bare[:-1], bare[:-12], bytes(damaged)]
    assert [one for one in more + others + cut if photos.is_bare_png(one)] == []
