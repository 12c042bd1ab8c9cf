"""New backgrounds: skies, plain grounds and patterns drawn by arithmetic, and one photo; put in with a soft edge.

Each is what `core.instructions.classical.SCENES` says of it. Classical Background calls it; it knows no samples.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..core import photos
from ..imaging import fill
from ..imaging.blending import faded
from ..imaging.opencv import load_opencv

SKIES = ("clear sky", "sunset", "dawn", "cloudy", "overcast", "starry night")
GROUNDS = ("white", "grey", "blue", "green", "checkerboard", "stripes", "bricks", "galaxies")
GREY = ("overcast", "grey", "white", "checkerboard")
"""Those without colour: what a black-and-white photo gets by seed."""

_GALAXIES = Path(__file__).resolve().parents[2] / "samples" / "photos" / "hubble_deep_field.jpg"
_GALAXIES_LICENCE = "Public domain (NASA)"

SEAM = 3
"""Pixels from a mask's border at which both sides of it are compared. Ours."""

CALM, LINE = 24, 48
"""Levels: a border over which a photo changes by less than the first has no edge, one over which it changes by more than the
second is a line. Ours."""

MAX_LINE = 0.1
"""Largest share of a sky's border that may become a line where there was no edge. Ours: a hazy horizon is a fifth of it."""


class NoScene(ValueError):
    """A background that no scene, or not the wanted one, can take the place of; the message says why."""


def candidates(names: str, image: np.ndarray, seed: int) -> list[str]:
    """Scenes that suit what the region is called, in an order by seed: skies for a sky, anything but those else.

    Args:
        names: the region's name.
        image: uint8 [H, W, 3]; a photo without colours gets a scene without.
    """
    fitting: tuple[str, ...] = SKIES if "sky" in names.lower() or "天空" in names else GROUNDS
    if fill.is_grey(image):
        fitting = tuple(name for name in fitting if name in GREY)
    return random.Random(f"editpairs/scene/{seed}").sample(fitting, len(fitting))


def replaced(image: np.ndarray, mask: np.ndarray, names: list[str], seed: int) -> tuple[str, np.ndarray]:
    """The first of the scenes that leaves no line where the photo has none, and the image with it.

    A sky reaches from the mask's top to its bottom, so that its horizon lies at the photo's.

    Raises:
        NoScene: each of them leaves one.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    for name in names:
        top, bottom = (int(rows[0]), int(rows[-1]) + 1) if name in SKIES else (0, len(image))
        scene = image.copy()
        scene[top:bottom] = draw(name, bottom - top, image.shape[1], seed)
        after = put_behind(image, mask, scene)
        if name not in SKIES or line(image, after, mask) <= MAX_LINE:
            return name, after
    raise NoScene(
        f"{' or '.join(names)} would end in a line where the photo has none, as at a hazy horizon: choose another scene, or "
        "leave the region out"
    )


def line(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> float:
    """Share, 0 to 1, of a mask's border at which there is a line after and no edge before.

    Args:
        before, after: uint8 [H, W, 3].
        mask: bool [H, W].
    """
    blur = load_opencv().GaussianBlur
    soft = [blur(one, (0, 0), 1).astype(int) for one in (before, after)]
    new, border = 0, 0
    for axis in (0, 1):
        inside = np.moveaxis(mask, axis, 0)
        crossed = inside[SEAM : -SEAM - 1] != inside[SEAM + 1 : -SEAM]
        calm, lined = (
            np.abs(one[: -2 * SEAM - 1] - one[2 * SEAM + 1 :]).max(axis=2)[crossed]
            for one in (np.moveaxis(picture, axis, 0) for picture in soft)
        )
        new += int(np.count_nonzero((calm < CALM) & (lined > LINE)))
        border += calm.size
    return new / border if border else 0.0


def put_behind(image: np.ndarray, mask: np.ndarray, scene: np.ndarray) -> np.ndarray:
    """The image with the masked pixels from `scene`, both uint8 [H, W, 3]; the edge is soft inside the mask."""
    share = faded(mask)[..., None]
    mixed = (image * (1 - share) + scene * share).round().astype(np.uint8)
    return np.where(mask[..., None], mixed, image)


def licence(name: str) -> str:
    """Terms of the photo that a scene is; empty for those that are drawn."""
    return _GALAXIES_LICENCE if name == "galaxies" else ""


def draw(name: str, height: int, width: int, seed: int) -> np.ndarray:
    """A scene as uint8 [H, W, 3].

    Args:
        name: a key of `core.instructions.classical.SCENES`.
        seed: where clouds and stars stand.
    """
    if name == "galaxies":
        photo = photos.open_photo(photos.read_bytes(_GALAXIES), _GALAXIES.name)
        return _covering(np.asarray(photo), height, width)
    return _DRAWN[name](height, width, np.random.default_rng(seed)).round().clip(0, 255).astype(np.uint8)


def _covering(photo: np.ndarray, height: int, width: int) -> np.ndarray:
    """The middle of a photo, scaled so that it fills height x width."""
    cv2 = load_opencv()
    scale = max(height / photo.shape[0], width / photo.shape[1])
    large = cv2.resize(
        photo,
        (max(width, round(photo.shape[1] * scale)), max(height, round(photo.shape[0] * scale))),
        interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC,
    )
    top, left = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
    return large[top : top + height, left : left + width]


def _gradient(height: int, width: int, *stops: tuple[int, int, int]) -> np.ndarray:
    """Colours from top to bottom at equal distances."""
    rows = np.linspace(0, len(stops) - 1, height)
    column = np.stack([np.interp(rows, range(len(stops)), [stop[c] for stop in stops]) for c in range(3)], axis=-1)
    return np.broadcast_to(column[:, None], (height, width, 3)).copy()


def _noise(height: int, width: int, rng: np.random.Generator, coarse: int) -> np.ndarray:
    """Cloud-like noise, 0 to 1, [H, W]: octaves of smoothed random values, wider than high."""
    cv2 = load_opencv()
    total, weight = np.zeros((height, width)), 0.0
    for octave in range(5):
        cells = coarse * 2**octave
        grid = rng.random((2 + cells, 2 + cells * width // (2 * height))).astype(np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
        weight += 1 / 2**octave
    return total / weight


def _clear(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    return _gradient(height, width, (52, 120, 205), (120, 178, 232), (190, 220, 245))


def _sunset(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    sky = _gradient(height, width, (150, 70, 90), (225, 105, 60), (250, 150, 55), (255, 200, 100))
    bands = np.clip((_noise(height, width, rng, 3) - 0.52) * 5, 0, 0.45)[..., None]
    return sky * (1 - bands) + np.array((120, 60, 80)) * bands


def _dawn(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    return _gradient(height, width, (205, 125, 175), (240, 155, 185), (250, 190, 200), (255, 220, 215))


def _cloudy(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    clouds = np.clip((_noise(height, width, rng, 3) - 0.46) * 6, 0, 1)[..., None]
    return _gradient(height, width, (60, 125, 205), (140, 190, 235)) * (1 - clouds) + 250 * clouds


def _overcast(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    level = 120 + 90 * (_noise(height, width, rng, 3) - 0.5)
    return np.repeat(level[..., None], 3, axis=2) + _gradient(height, width, (-25, -25, -25), (35, 35, 35))


def _starry(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    cv2 = load_opencv()
    sky = _gradient(height, width, (6, 8, 28), (14, 20, 52), (26, 36, 74))
    stars = np.zeros((height, width), dtype=np.float32)
    count = max(30, height * width // 700)
    stars[rng.integers(0, height, count), rng.integers(0, width, count)] = rng.uniform(60, 255, count)
    bright = cv2.GaussianBlur(stars * (stars > 215), (5, 5), 0.9) * 3
    return sky + (stars + bright)[..., None]


def _plain(red: int, green: int, blue: int) -> Callable[[int, int, np.random.Generator], np.ndarray]:
    return lambda height, width, rng: np.full((height, width, 3), (red, green, blue), dtype=np.float64)


def _checkerboard(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    side = max(8, min(height, width) // 12)
    dark = (np.indices((height, width)) // side).sum(axis=0) % 2
    return np.where(dark[..., None], 20.0, 240.0) * np.ones(3)


def _stripes(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    side = max(8, min(height, width) // 14)
    blue = (np.arange(width) // side % 2)[None, :, None]
    return np.broadcast_to(np.where(blue, (60.0, 110.0, 200.0), (245.0, 245.0, 245.0)), (height, width, 3)).copy()


def _bricks(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    high = max(8, min(height, width) // 16)
    wide, joint = high * 5 // 2, max(2, high // 8)
    rows, columns = np.indices((height, width))
    course = rows // high
    shifted = columns + (course % 2) * (wide // 2)
    number = (course * 7919 + shifted // wide * 104729) % 997
    tone = rng.uniform(0.8, 1.15, 997)[number][..., None]
    wall = np.array((165.0, 72.0, 55.0)) * tone + rng.normal(0, 6, (height, width, 1))
    gap = (rows % high < joint) | (shifted % wide < joint)
    return np.where(gap[..., None], np.array((190.0, 180.0, 170.0)) + rng.normal(0, 4, (height, width, 1)), wall)


_DRAWN: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {
    "clear sky": _clear,
    "sunset": _sunset,
    "dawn": _dawn,
    "cloudy": _cloudy,
    "overcast": _overcast,
    "starry night": _starry,
    "white": _plain(255, 255, 255),
    "grey": _plain(150, 150, 150),
    "blue": _plain(170, 210, 240),
    "green": _plain(60, 160, 80),
    "checkerboard": _checkerboard,
    "stripes": _stripes,
    "bricks": _bricks,
}
