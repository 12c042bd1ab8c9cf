"""Pairs of pictures whose label is known because code made them: what an editor does to a photo, well or badly.

`verify.py` measures on them and `tests/unit/test_pixel_pairs.py` takes a small part. Sources are views (crop, flip,
scale) of the bundled photos. Every number here is ours. It must not know how anything is judged.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import parse_annotation

SAMPLES = Path(__file__).resolve().parent.parent / "samples"

TUNED_ON = ("rocket.jpg", "coffee.png", "camera.png", "china.jpg")
"""Photos that thresholds may be chosen on."""
HELD_OUT = ("astronaut.png", "flower.jpg", "hubble_deep_field.jpg")
"""Photos that no threshold has seen."""

NOTHING = ("no-op", "jpeg", "shift", "drift", "vae", "zoom", "colour matrix")
"""Kinds where no edit was made, though most pixels may differ."""
SPOILT = ("wrong place", "half done", "extra change", "unasked style")
"""Kinds where an edit was made, but not the one that was asked for."""
GOOD = ("subtle edit", "large edit", "style change", "shadow", "new words", "zoomed edit", "gentle style")
KINDS = NOTHING + SPOILT + GOOD

_TASKS = {
    "unasked style": "remove", "shadow": "remove", "new words": "alter", "zoomed edit": "replace", "gentle style": "style",
}  # fmt: skip

WEIGHTS = {"subtle edit": 4}
"""How many times as many pairs a kind has as the others; the rest have one."""


@dataclass(frozen=True, eq=False)
class LabelledPair:
    """A photo, what an editor made of it, and whether that was the edit asked for."""

    photo: str
    source: np.ndarray
    """uint8 [H, W, 3]."""
    edited: np.ndarray
    region: np.ndarray | None
    """bool [H, W], where the edit was meant; None where nobody says."""
    put_back: bool
    """The pixels outside the region are the source's own, bit for bit."""
    kind: str

    @property
    def task(self) -> str:
        """What the edit was meant as; empty where nobody says."""
        return _TASKS.get(self.kind, "")

    @property
    def subtask(self) -> str:
        return "unicedit/Text Modification" if self.kind == "new words" else ""

    @property
    def is_good(self) -> bool:
        return self.kind in GOOD


def pairs(photos: tuple[str, ...], each: int, seed: int) -> Iterator[LabelledPair]:
    """`each` pairs of every kind, four times as many subtle edits, from views of these photos in turn.

    The same arguments give the same pairs.
    """
    for number, kind in enumerate(KINDS):
        for index in range(each * WEIGHTS.get(kind, 1)):
            rng = np.random.default_rng((seed, number, index))
            yield _pair(kind, photos[index % len(photos)], rng)


def _pair(kind: str, photo: str, rng: np.random.Generator) -> LabelledPair:
    source, region = _view(photo, rng, small=kind == "subtle edit")
    whole = _WHOLE.get(kind)
    if whole is not None:
        edited = whole(source, rng)
        return LabelledPair(photo, source, edited, region if rng.integers(2) and kind in NOTHING else None, False, kind)
    if kind in ("shadow", "new words"):
        source, edited, region = (_shadowed if kind == "shadow" else _reworded)(source, region, rng)
        return LabelledPair(photo, source, _carried(edited, rng), region, False, kind)
    if kind == "zoomed edit":
        edited = _zoomed(_strong(source, region, rng), rng)
        return LabelledPair(photo, source, edited, region, False, kind)
    if kind in NOTHING:
        # A third each: inpainted and put back, an editor that was told where, and one that was told nothing.
        put_back, known = [(True, True), (False, True), (False, False)][rng.integers(3)]
        edited = _flicker(kind, source, rng, put_back)
        if put_back:
            edited = np.where(region[..., None], edited, source)
        return LabelledPair(photo, source, edited, region if known else None, put_back, kind)
    if kind == "style change":
        return LabelledPair(photo, source, _style(source, rng), None, False, kind)
    put_back = kind in GOOD and bool(rng.integers(2))
    known = kind in SPOILT or put_back or bool(rng.integers(2))
    edit = _subtle if kind == "subtle edit" else _strong
    place = _elsewhere(region, rng) if kind == "wrong place" else region
    if kind == "half done":
        place = _half(region, rng)
    edited = edit(source, place, rng)
    if kind == "extra change":
        edited = _strong(edited, _elsewhere(region, rng), rng)
    edited = np.where(region[..., None], edited, source) if put_back else _carried(edited, rng)
    return LabelledPair(photo, source, edited, region if known else None, put_back, kind)


@cache
def _photo(name: str) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """A photo, uint8 [H, W, 3], and the masks of its regions."""
    for line in (SAMPLES / "annotation.jsonl").read_text(encoding="utf-8").splitlines():
        annotation = parse_annotation(json.loads(line))
        if annotation.path.endswith(name):
            with Image.open(SAMPLES / annotation.path) as image:
                pixels = np.asarray(image.convert("RGB"))
            return pixels, tuple(rle.decode(region.mask) for region in annotation.regions if region.mask)
    raise ValueError(f"no photo {name} in {SAMPLES}")


def _view(name: str, rng: np.random.Generator, small: bool) -> tuple[np.ndarray, np.ndarray]:
    """A crop of 60 to 100 % of a photo, mirrored or not, 384 to 640 pixels along its longer side, and a region in it.

    Every other region is one of the photo's own, when it lies whole in the crop; the others are blobs. `small`: of at most 6 %.
    """
    pixels, masks = _photo(name)
    height, width = pixels.shape[:2]
    share = rng.uniform(0.6, 1.0)
    h, w = int(height * share), int(width * share)
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    crop = (slice(top, top + h), slice(left, left + w))
    scale = int(rng.integers(384, 641)) / max(h, w)
    size = (round(w * scale), round(h * scale))
    image = Image.fromarray(pixels[crop]).resize(size, Image.Resampling.LANCZOS)
    mask = Image.fromarray(masks[rng.integers(len(masks))][crop]).resize(size, Image.Resampling.NEAREST)
    if rng.integers(2):
        image, mask = ImageOps.mirror(image), ImageOps.mirror(mask)
    region = np.asarray(mask).astype(bool)
    edges = np.concatenate([region[0], region[-1], region[:, 0], region[:, -1]])
    fits = not edges.any() and 0.002 <= region.mean() <= (0.06 if small else 0.5)
    if not fits or rng.integers(2):
        region = _blob(size, rng, *((0.002, 0.04) if small else (0.01, 0.2)))
    return np.asarray(image), region


def _blob(size: tuple[int, int], rng: np.random.Generator, least: float, most: float) -> np.ndarray:
    """bool [H, W]: a wavy ellipse that covers between these shares of the picture, whole within it."""
    width, height = size
    area = np.exp(rng.uniform(np.log(least), np.log(most))) * width * height
    stretch = rng.uniform(0.6, 1.6)
    a, b = (area / np.pi * stretch) ** 0.5, (area / np.pi / stretch) ** 0.5
    a, b = min(a, width / 2.6), min(b, height / 2.6)
    x, y = rng.uniform(1.2 * a, width - 1.2 * a), rng.uniform(1.2 * b, height - 1.2 * b)
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    wave = 1 + 0.1 * np.sin(3 * angle + rng.uniform(0, 6)) + 0.06 * np.sin(5 * angle + rng.uniform(0, 6))
    outline = Image.new("1", size)
    ImageDraw.Draw(outline).polygon(
        [(x + a * r * np.cos(t), y + b * r * np.sin(t)) for t, r in zip(angle, wave, strict=True)], fill=1
    )
    return np.asarray(outline).astype(bool)


def _elsewhere(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A blob that keeps clear of the region by a fortieth of the picture's longer side, and more for a large region."""
    away = round(max(max(region.shape) / 40, 0.25 * float(region.sum()) ** 0.5))
    near = np.asarray(_soft(region, away)) > 0.01
    for attempt in range(200):
        most = 0.05 if attempt < 100 else 0.006
        place = _blob((region.shape[1], region.shape[0]), rng, 0.004, most)
        if not (place & near).any():
            return place
    raise ValueError("the region leaves no room for another")


def _half(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """25 to 50 % of the region, cut off along a line of any direction."""
    y, x = np.nonzero(region)
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    chosen = along <= np.quantile(along, rng.uniform(0.25, 0.5))
    half = np.zeros_like(region)
    half[y[chosen], x[chosen]] = True
    return half


def _soft(mask: np.ndarray, radius: float) -> np.ndarray:
    """float [H, W], 0 to 1: the mask, blurred."""
    blurred = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(radius))
    return np.asarray(blurred).astype(np.float64) / 255


def _to_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


# What an editor does to pixels that it was not asked to touch.


def _flicker(kind: str, source: np.ndarray, rng: np.random.Generator, put_back: bool) -> np.ndarray:
    if kind == "no-op":
        # Equal, or with a sensor's noise of up to 4 levels.
        sigma = rng.choice([0.0, rng.uniform(0.5, 4.0)])
        return _to_bytes(source + rng.normal(0, 1, source.shape) * sigma)
    if kind == "jpeg":
        return _jpeg(source, int(rng.integers(30, 96)))
    if kind == "shift":
        dx, dy = ((1, 0), (0, 1), (-1, 0), (0, -1), (1, 1), (-1, 1))[rng.integers(6)]
        return _moved(source, dx, dy)
    if kind == "drift":
        # A strong drift inside a mask alone is a new tone, so there it is as strong as a codec's.
        return _drifted(source, rng, gain=0.015, offset=3) if put_back else _drifted(source, rng, gain=0.06, offset=6)
    moved = _moved(source, *(int(by) for by in rng.integers(-1, 2, 2))) if rng.integers(2) else source
    return _vae(moved, rng)


def _carried(edited: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What an end-to-end editor adds to the whole picture: nothing, a JPEG, a VAE's round trip, a drift or a shift."""
    what = rng.integers(5)
    if what == 0:
        return edited
    if what == 1:
        return _jpeg(edited, int(rng.integers(75, 96)))
    if what == 2:
        return _vae(edited, rng)
    if what == 3:
        return _jpeg(_drifted(edited, rng, gain=0.03, offset=4), 90)
    return _moved(edited, int(rng.integers(-1, 2)), int(rng.integers(-1, 2)))


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _moved(image: np.ndarray, dx: int, dy: int) -> np.ndarray:
    rows = np.clip(np.arange(image.shape[0]) - dy, 0, image.shape[0] - 1)
    columns = np.clip(np.arange(image.shape[1]) - dx, 0, image.shape[1] - 1)
    return image[rows][:, columns]


def _drifted(image: np.ndarray, rng: np.random.Generator, gain: float, offset: float) -> np.ndarray:
    """Each channel times 1 ± gain, plus or minus up to `offset` levels."""
    return _to_bytes(image * (1 + rng.uniform(-gain, gain, 3)) + rng.uniform(-offset, offset, 3))


def _vae(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An imitation of a VAE's round trip, no VAE: blurred a little, noise on a grid of 8 pixels, fine noise that grows
    with contrast, and a slight colour error. 26 to 36 dB from the source, as published VAEs are."""
    height, width = image.shape[:2]
    by = rng.uniform(1.2, 1.7)
    small = Image.fromarray(image).resize((round(width / by), round(height / by)), Image.Resampling.BICUBIC)
    blurred = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).astype(np.float64)
    latent = rng.normal(0, rng.uniform(0.5, 2.0), (-(-height // 8), -(-width // 8), 3))
    grid = np.stack(
        [
            np.asarray(Image.fromarray(latent[..., c].astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC))
            for c in range(3)
        ],
        axis=2,
    )  # fmt: skip
    detail = np.abs(image - blurred).mean(axis=2, keepdims=True)
    fine = rng.normal(0, 1, image.shape) * (0.5 + 0.3 * detail)
    return _drifted(blurred + grid + fine, rng, gain=0.015, offset=2)


# Edits.


def _subtle(source: np.ndarray, place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A small recolour, a slight tone, or a small object: by 12 to 30 levels in at least one channel, seen when one looks."""
    what = rng.integers(3)
    soft = _soft(place, 1.0)[..., None]
    here = source[place].astype(np.float64)
    strength = rng.uniform(12, 30)
    if what == 0:
        # One channel up, one down, brightness about the same; away from clipping.
        up, down = rng.permutation(3)[:2]
        change = np.zeros(3)
        change[up], change[down] = strength, -strength * rng.uniform(0.3, 1.0)
        change = np.where(here.mean(axis=0) + change > 250, -change, change)
        change = np.where(here.mean(axis=0) + change < 5, -change, change)
        return _to_bytes(source + soft * change)
    if what == 1:
        lighter = here.mean() < 128
        bent = source + strength * np.clip((source if not lighter else 255 - source) / 128, 0.5, 1.2) * (
            1 if lighter else -1
        )
        return _to_bytes(source * (1 - soft) + soft * bent)
    colour = here.mean(axis=0)
    colour += np.where(colour < 128, 1, -1) * rng.uniform(20, 60, 3)
    y = np.linspace(-8, 8, source.shape[0])[:, None, None]
    return _to_bytes(source * (1 - soft) + soft * (colour + y))


def _strong(source: np.ndarray, place: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A replacement by a piece of another photo, a removal by what lies around, or a strong recolour."""
    soft = _soft(place, 0.8)[..., None]
    height, width = source.shape[:2]
    here = source[place].mean(axis=0)
    what = rng.integers(3)
    if what == 0:
        names = (*TUNED_ON, *HELD_OUT)
        other = _photo(names[rng.integers(len(names))])[0]
        piece = np.asarray(Image.fromarray(other).resize((width, height), Image.Resampling.BILINEAR)).astype(np.float64)
        there = piece[place].mean(axis=0)
        if np.abs(there - here).max() < 40:
            piece = 255 - piece
            there = piece[place].mean(axis=0)
        if np.abs(there - here).max() >= 25:
            return _to_bytes(source * (1 - soft) + soft * piece)
    if what == 1:
        ring = (_soft(place, 6) > 0.02) & ~place
        around = source[ring].mean(axis=0)
        if np.abs(around - here).max() >= 25:
            grain = rng.normal(0, 4, (height, width, 1))
            return _to_bytes(source * (1 - soft) + soft * (around + grain))
    turned = 0.4 * source[..., rng.permutation(3)] + 0.6 * np.where(here < 128, 230, 25) * rng.uniform(0.6, 1.0, 3)
    return _to_bytes(source * (1 - soft) + soft * turned)


def _style(source: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The whole picture in another style, at least 12 levels away on average."""
    image = Image.fromarray(source)
    styles = [
        ImageOps.posterize(image, 2),
        ImageOps.solarize(image, 100),
        ImageOps.colorize(ImageOps.grayscale(image), "#2a1505", "#ffe9c0"),
        ImageOps.invert(ImageOps.grayscale(image).filter(ImageFilter.FIND_EDGES)).convert("RGB"),
        ImageEnhance.Color(ImageEnhance.Brightness(image).enhance(0.55)).enhance(0.6),
        ImageEnhance.Color(image).enhance(3.0).filter(ImageFilter.ModeFilter(9)),
        ImageOps.invert(image),
    ]
    for index in rng.permutation(len(styles)):
        styled = np.asarray(styles[index])
        if np.abs(styled.astype(int) - source).mean() >= 12:
            return _carried(styled, rng)
    raise ValueError("no style changes this picture")


def _zoomed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Zoomed by 0.8 to 2.2 % about a middle that is off by up to 2 pixels; a third turned by up to 0.7 degrees as well."""
    height, width = image.shape[:2]
    zoom = 1 + rng.choice([-1, 1]) * rng.uniform(0.008, 0.022)
    angle = np.deg2rad(rng.uniform(-0.7, 0.7)) if rng.integers(3) == 0 else 0.0
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    x, y = width / 2 + rng.uniform(-2, 2), height / 2 + rng.uniform(-2, 2)
    back = (cos, sin, width / 2 - cos * x - sin * y, -sin, cos, height / 2 + sin * x - cos * y)
    pad = 24  # mirrored, so that no black edge tells of the zoom
    wide = Image.fromarray(np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect"))
    a, b, c, d, e, f = back
    moved = (a, b, c + pad - a * pad - b * pad, d, e, f + pad - d * pad - e * pad)
    turned = wide.transform(wide.size, Image.Transform.AFFINE, moved, resample=Image.Resampling.BICUBIC)
    return np.asarray(turned)[pad:-pad, pad:-pad]


def _mixed(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours a little stronger or weaker, or their channels mixed by up to 6 %."""
    if rng.integers(2):
        by = rng.uniform(0.7, 0.88) if rng.integers(2) else rng.uniform(1.1, 1.25)
        return np.asarray(ImageEnhance.Color(Image.fromarray(image)).enhance(by))
    matrix = np.eye(3) + rng.uniform(-0.06, 0.06, (3, 3))
    return _to_bytes(image @ matrix.T)


def _gentle(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another tone or hand that one sees side by side, and a person would call the same photo: at least 12 levels away in
    some channel, or repainted by brush."""
    photo = Image.fromarray(image)
    warm = image * np.array([1.12, 1.0, 0.85]) + np.array([6, 0, -4])
    faded = image * 0.78 + 40.0
    styles = [
        _to_bytes(warm), _to_bytes(warm[..., ::-1] if rng.integers(2) else warm), _to_bytes(faded),
        np.asarray(ImageOps.posterize(photo, 3)), np.asarray(ImageEnhance.Contrast(photo).enhance(1.5)),
        np.asarray(ImageEnhance.Brightness(photo).enhance(0.75)),
    ]  # fmt: skip
    for index in rng.permutation(len(styles)):
        if np.abs(styles[index].astype(int) - image).mean(axis=(0, 1)).max() >= 13:
            return _carried(styles[index], rng)
    raise ValueError("no style changes this picture")


def _shadowed(
    source: np.ndarray, region: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A thing on its shadow (0.2 to 1.5 % of the picture, no more than the thing), and the picture without both.

    The region is the silhouette or its box.
    """
    height, width = source.shape[:2]
    for _ in range(200):
        thing = _blob((width, height), rng, 0.012, 0.06)
        rows, columns = np.flatnonzero(thing.any(axis=1)), np.flatnonzero(thing.any(axis=0))
        if rows[-1] < 0.85 * height:
            break
    area = min(rng.uniform(0.002, 0.015) * height * width, float(thing.sum()))
    long = min(0.9 * (columns[-1] - columns[0]), (4 * area) ** 0.5)
    foot, middle = rows[-1], (columns[0] + columns[-1]) / 2
    lean = rng.uniform(-0.5, 0.5) * long
    picture = Image.new("1", (width, height))
    ImageDraw.Draw(picture).polygon(
        [(middle - long / 2, foot - 3), (middle + long / 2, foot - 3), (middle + long / 2 + lean, foot + area / long),
         (middle - long / 2 + lean, foot + area / long)], fill=1)  # fmt: skip
    dark = _soft(np.asarray(picture).astype(bool), rng.uniform(1, 3))[..., None] * rng.uniform(0.3, 0.6)
    before = _strong(_to_bytes(source * (1 - dark)), thing, rng)
    box = np.zeros_like(thing)
    box[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    return before, source, thing if rng.integers(2) else box


def _reworded(
    source: np.ndarray, region: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A plain sign with one word and with another; the region is all of it."""
    height, width = source.shape[:2]
    w, h = int(width * rng.uniform(0.25, 0.5)), int(height * rng.uniform(0.15, 0.3))
    left, top = int(rng.integers(width - w)), int(rng.integers(height - h))
    light = bool(rng.integers(2))
    words = rng.permutation(["OPEN", "CLOSED", "CAFE", "EXIT", "SALE", "HOTEL"])[:2]
    signs = []
    for word in words:
        picture = Image.fromarray(source)
        draw = ImageDraw.Draw(picture)
        draw.rectangle((left, top, left + w - 1, top + h - 1), fill=(235, 230, 220) if light else (30, 40, 60))
        size = min(0.45 * h, 1.2 * w / len(word))
        draw.text(
            (left + w / 2, top + h / 2),
            word,
            (20, 20, 30) if light else (240, 235, 210),
            ImageFont.load_default(size),
            "mm",
        )
        signs.append(np.asarray(picture))
    sign = np.zeros((height, width), dtype=bool)
    sign[top : top + h, left : left + w] = True
    return signs[0], signs[1], sign


_WHOLE = {"zoom": _zoomed, "colour matrix": _mixed, "unasked style": _style, "gentle style": _gentle}
"""What is done to a whole picture, by kind."""
