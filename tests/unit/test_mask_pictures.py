"""Pictures given as masks: what is marked is what anyone would see in them; whatever may mean something else is refused."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFilter

from comfy_nodes.core import photos
from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.regions import rle
from driver.inputs.source import Source
from tests.unit.source_making import plan, reasons, samples

CASE = Path(__file__).parent.parent / "cases" / "mask-in-class-colours"
SIDE = 256
BALL = (40, 60, 140, 200)
RIM = (224, 224, 192)


def drawn(*shades: tuple[object, tuple[int, int, int, int]], mode: str = "L", scale: int = 1, **options: object) -> Image.Image:  # fmt: skip
    """Ellipses, each in a shade."""
    image = Image.new(mode, (SIDE * scale, SIDE * scale), 0)
    for shade, box in shades:
        ImageDraw.Draw(image).ellipse([side * scale for side in box], fill=shade, **options)  # type: ignore[arg-type]
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS) if scale > 1 else image


def stored(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def palette(image: Image.Image, *colours: tuple[int, int, int]) -> Image.Image:
    """The image with its values as numbers of colours."""
    numbered = image.convert("L")
    numbered.putpalette([channel for colour in colours for channel in colour])
    return numbered


def cut_out(image: Image.Image, alpha: Image.Image) -> Image.Image:
    whole = image.convert("RGB").resize(alpha.size)
    whole.putalpha(alpha)
    return whole


BLOB = drawn((255, BALL))
TEXTURE = Image.fromarray(np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8))
TWO_VALUED = {
    "grey": BLOB,
    "rgb": BLOB.convert("RGB"),
    "bits": BLOB.convert("1"),
    "palette": palette(drawn((1, BALL)), (0, 0, 0), (255, 255, 255)),
    "half bright": drawn((200, BALL)),
    "sixteen bits": Image.fromarray(np.asarray(BLOB).astype(np.uint16) * 257),
    "opaque": cut_out(BLOB, Image.new("L", BLOB.size, 255)),
    "see-through all over": cut_out(BLOB, Image.new("L", BLOB.size, 0)),
    "cut-out": cut_out(TEXTURE, BLOB),
    "dark cut-out": cut_out(Image.new("L", BLOB.size, 9), BLOB),
    "white on nothing": cut_out(Image.new("L", BLOB.size, 255), BLOB),
    "drawn over nothing": cut_out(BLOB, BLOB),
}
SOFT = {
    "smooth": drawn((255, BALL), scale=4),
    **{f"blurred {radius}": BLOB.filter(ImageFilter.GaussianBlur(radius)) for radius in (1, 4, 12)},
    "box": BLOB.filter(ImageFilter.BoxBlur(5)),
    "scaled up": BLOB.resize((32, 32)).resize(BLOB.size, Image.Resampling.BICUBIC),
    "soft cut-out": cut_out(TEXTURE, BLOB.filter(ImageFilter.GaussianBlur(2))),
    "once a JPEG": Image.open(io.BytesIO(stored(BLOB, "JPEG", quality=60))),
}


@pytest.mark.parametrize("name", TWO_VALUED)
def test_two_values(name: str) -> None:
    np.testing.assert_array_equal(photos.open_mask(stored(TWO_VALUED[name]), "m"), np.asarray(BLOB) > 127)


@pytest.mark.parametrize("name", SOFT)
def test_soft_edges(name: str) -> None:
    found = photos.open_mask(stored(SOFT[name]), "m")
    assert (found != (np.asarray(BLOB) > 127)).mean() < 0.01


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF"])
@pytest.mark.parametrize("name", ["grey", "rgb"])
def test_lossy_files(kind: str, name: str) -> None:
    found = photos.open_mask(stored(TWO_VALUED[name], kind, quality=50), "m")
    assert (found != (np.asarray(BLOB) > 127)).mean() < 0.01


def test_a_gradient_is_soft() -> None:
    ramp = Image.fromarray(np.tile(np.linspace(0, 255, 900).astype(np.uint8), (300, 1)))
    assert photos.open_mask(stored(ramp), "m").mean() == pytest.approx(0.5, abs=0.01)


OTHER = (150, 20, 240, 90)
HOLE = cut_out(TEXTURE, Image.eval(BLOB, lambda value: 255 - value))
REFUSED = {
    "class colours": (drawn(((128, 0, 0), BALL), mode="RGB", outline=RIM, width=4), "has colours"),
    "two colours": (drawn(((255, 255, 0), BALL), mode="RGB"), "has colours"),
    "palette": (palette(drawn((1, BALL), outline=2, width=4), (0, 0, 0), (128, 0, 0), RIM), "has colours"),
    "class numbers": (drawn((1, BALL), (15, OTHER), outline=255, width=4), "several shades"),
    "one class and its rim": (drawn((1, BALL), outline=255, width=3), "several shades"),
    "a rim of one pixel": (drawn((38, BALL), outline=220, width=1), "several shades"),
    "grey classes": (drawn((75, BALL), (200, OTHER)), "several shades"),
    "grey classes, smooth": (drawn((75, BALL), (200, OTHER), scale=4), "several shades"),
    "dark and white classes": (drawn((20, BALL), (255, OTHER)), "several shades"),
    "trimap": (drawn((255, BALL), outline=128, width=12), "several shades"),
    "outlines": (Image.fromarray(np.asarray(drawn((0, BALL), outline=60, width=2)) | np.asarray(drawn((255, OTHER)))), "several shades"),
    "nothing black": (drawn((255, BALL)).point(lambda value: 255 if value else 200), "has no black"),
    "a hole": (HOLE, "cut-out or a picture with a hole"),
    "both": (cut_out(drawn((255, BALL), (255, OTHER)), drawn((255, (20, 40, 200, 220)))), "colours and by its transparency"),
    "half see-through": (cut_out(TEXTURE, drawn((90, BALL))), "see-through everywhere"),
    "shades of transparency": (cut_out(TEXTURE, drawn((75, BALL), (200, OTHER))), "several shades"),
    "a photo": (Image.open(CASE / "ball.jpg"), "has colours"),
    "a grey photo": (Image.open(CASE.parents[2] / "samples" / "photos" / "china.jpg").convert("L"), "several shades"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused(name: str) -> None:
    image, why = REFUSED[name]
    with pytest.raises(PhotoError, match=why) as caught:
        photos.open_mask(stored(image), "cup.mask.png")
    assert str(caught.value).startswith("cup.mask.png ")
    assert "give white for the object and black for the rest" in str(caught.value)


def test_the_case() -> None:
    assert reasons(plan(Source(CASE))) == {
        "ball.jpg": "ball.mask.png has colours; give white for the object and black for the rest"
    }


def in_folder(folder: Path, photo: bytes, mask: bytes) -> Path:
    (folder / "cup.jpg").write_bytes(photo)
    (folder / "cup.mask.png").write_bytes(mask)
    return folder


def in_tar(folder: Path, photo: bytes, mask: bytes) -> Path:
    with tarfile.open(folder / "a.tar", "w") as tar:
        for name, data in (("cup.jpg", photo), ("cup.mask.png", mask)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return folder / "a.tar"


def in_parquet(folder: Path, photo: bytes, mask: bytes) -> Path:
    pq.write_table(pa.table({"image": [photo], "mask": [mask]}), folder / "a.parquet")
    return folder / "a.parquet"


Place = Callable[[Path, bytes, bytes], Path]
PLACES = pytest.mark.parametrize("place", [in_folder, in_tar, in_parquet])


@PLACES
def test_wherever_it_lies(place: Place, tmp_path: Path) -> None:
    photo = stored(Image.new("RGB", BLOB.size, "grey"), "JPEG")
    given = place(tmp_path, photo, stored(REFUSED["palette"][0]))
    (why,) = reasons(plan(Source(given))).values()
    assert "mask.png has colours; give white" in why


BACK = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90", 7: "TRANSVERSE", 8: "ROTATE_270"}  # fmt: skip
"""From the upright picture to the stored one, by EXIF orientation."""


@PLACES
@pytest.mark.parametrize("size", [(256, 256), (256, 200)], ids=["square", "wide"])
@pytest.mark.parametrize("turned", [False, True], ids=["upright mask", "mask turned as the photo"])
@pytest.mark.parametrize("orientation", BACK)
def test_it_goes_with_the_upright_photo(
    orientation: int, turned: bool, size: tuple[int, int], place: Place, tmp_path: Path
) -> None:
    """However an editor leaves it: turned upright, or as the photo is stored and with the photo's EXIF."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    back = Image.Transpose[BACK[orientation]]
    photo = stored(Image.new("RGB", size).transpose(back), "JPEG", exif=exif)
    upright = BLOB.crop((0, 0, *size))
    mask = stored(upright.transpose(back), exif=exif) if turned else stored(upright)
    (sample,) = samples(plan(Source(place(tmp_path, photo, mask))))
    region = sample.annotation.regions[0].mask
    assert region
    np.testing.assert_array_equal(rle.decode(region), np.asarray(upright) > 127)


def test_painted_by_hand() -> None:
    """The mask editor's brush is soft; several opacities are no mask."""
    for softness in (0, 2, 9):
        alpha = Image.eval(BLOB.filter(ImageFilter.GaussianBlur(softness)), lambda value: 255 - value)
        _, painted = photos.open_painted(stored(cut_out(TEXTURE, alpha)), "clipspace-1.png")
        assert (painted != (np.asarray(BLOB) > 127)).mean() < 0.01
    with pytest.raises(PhotoError, match="has several shades"):
        shades = Image.eval(REFUSED["grey classes"][0], lambda value: 255 - value)
        photos.open_painted(stored(cut_out(TEXTURE, shades)), "clipspace-1.png")
