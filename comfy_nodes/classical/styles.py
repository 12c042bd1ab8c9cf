"""Styles by filters: a whole photo as a drawing, a print, a painting or another kind of photograph.

Each filter takes uint8 [H, W, 3] RGB and returns the same; its name is a key of `core.instructions.classical.STYLES`, which says
in words what it must look like. Classical Style calls `apply`. Sizes of strokes and dots go with the photo's shorter side.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from types import ModuleType

import numpy as np

from ..imaging import fill
from ..imaging.opencv import load_opencv

Filter = Callable[[np.ndarray, ModuleType], np.ndarray]


NIGHT = 70
"""A photo whose mean level is below this is a night scene already. Ours."""


FOLIAGE = 0.25
"""Share of a photo that is leaves from which on one sees that they glow. Ours."""


def choose(image: np.ndarray, seed: int) -> str:
    """A style by seed that changes this photo: one without colours has no use for losing them, a dark one for night,
    and one without leaves for their glow."""
    names = list(STYLES)
    if fill.is_grey(image):
        names = [name for name in names if name not in ("black and white", "faded", "coloured pencil", "infrared")]
    if image.mean() < NIGHT:
        names.remove("night")
    if "infrared" in names and (_leaves(image) > 0.5).mean() < FOLIAGE:
        names.remove("infrared")
    return random.Random(f"editpairs/style/{seed}").choice(names)


def apply(image: np.ndarray, style: str) -> np.ndarray:
    """The photo, uint8 [H, W, 3], in a style of `STYLES`; the same photo gives the same picture."""
    styled = STYLES[style](image, load_opencv())
    return styled if styled.dtype == np.uint8 else styled.round().clip(0, 255).astype(np.uint8)


def _unit(image: np.ndarray) -> int:
    """Pixels that stand for one on a photo of 400 on its shorter side."""
    return max(1, round(min(image.shape[:2]) / 400))


def _grey(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _stretched(grey: np.ndarray) -> np.ndarray:
    """Levels 0 to 255 as float, the darkest and lightest per cent clipped."""
    low, high = np.percentile(grey, (1, 99))
    return np.clip((grey - low) / max(high - low, 1) * 255, 0, 255)


def _three(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey[..., None].astype(np.float64), 3, axis=2)


def _mapped(grey: np.ndarray, *stops: tuple[int, int, int]) -> np.ndarray:
    """Grey levels, 0 to 255, as colours between stops at equal distances."""
    at = np.linspace(0, 255, len(stops))
    return np.stack([np.interp(grey, at, [stop[c] for stop in stops]) for c in range(3)], axis=-1)


def _grain(image: np.ndarray, spread: float, seed: int = 0) -> np.ndarray:
    """Noise of this standard deviation, float64 [H, W]."""
    return np.random.default_rng(seed).normal(0, spread, image.shape[:2])


def _lines(image: np.ndarray, cv2: ModuleType, width: float) -> np.ndarray:
    """Edges as 0 to 1, [H, W], by the difference of two blurs, strong where a dark line runs."""
    grey = cv2.bilateralFilter(_grey(image, cv2), 7, 30, 5).astype(np.float32)
    sigma = width * _unit(image)
    return np.clip((cv2.GaussianBlur(grey, (0, 0), sigma * 1.8) - cv2.GaussianBlur(grey, (0, 0), sigma)) / 12, 0, 1)


def _smooth(image: np.ndarray, cv2: ModuleType, rounds: int = 3) -> np.ndarray:
    """Flat areas with sharp borders."""
    for _ in range(rounds):
        image = cv2.bilateralFilter(image, 9, 45, 7 * _unit(image))
    return image


def _sketch(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    grey = _grey(image, cv2)
    blurred = cv2.GaussianBlur(255 - grey, (0, 0), 6 * _unit(image))
    dodged = np.minimum(grey.astype(np.float64) * 256 / (256.0 - blurred.astype(np.float64)), 255)
    return _three(np.where(dodged < 250, dodged - 25, dodged))


def _coloured_pencil(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.float64)
    hsv[..., 1], hsv[..., 2] = hsv[..., 1] * 0.75, 205 + hsv[..., 2] * 50 / 255
    paper = cv2.cvtColor(hsv.round().astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float64)
    grain = _grain(image, 22).astype(np.float32)
    stroke = cv2.filter2D(grain, -1, np.eye(9, dtype=np.float32) / 4)
    return paper * _sketch(image, cv2) / 255 + stroke[..., None] * (255 - paper) / 90


def _charcoal(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    level = _stretched(cv2.GaussianBlur(_grey(image, cv2), (0, 0), 1.2 * _unit(image)))
    grain = cv2.GaussianBlur(_grain(image, 70).astype(np.float32), (0, 0), 0.8)
    dark = 255 * (level / 255) ** 1.3 + grain * (1 - np.abs(level / 127.5 - 1)) * 1.6
    return _three(np.clip(dark, 12, 240) - 150 * _lines(image, cv2, 1.2))


def _hatching(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    level = cv2.createCLAHE(2.0, (8, 8)).apply(cv2.GaussianBlur(_grey(image, cv2), (0, 0), 1.5))
    rows, columns = np.indices(level.shape)
    pitch, paper = 5 * _unit(image), np.full(level.shape, 252.0)
    for threshold, pattern in (
        (190, rows + columns), (135, rows - columns), (85, 2 * rows + columns), (45, rows - 2 * columns),
    ):  # fmt: skip
        paper[(level < threshold) & (pattern % pitch < max(1, pitch // 3))] = 25
    paper[_lines(image, cv2, 0.8) > 0.55] = 20
    return _three(paper)


def _oil(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    """Kuwahara et al. 1976: each pixel takes the mean of the calmest of the four squares that it is a corner of."""
    radius = 5 * _unit(image)
    levels, grey = image.astype(np.float32), _grey(image, cv2).astype(np.float32)
    size = (radius + 1, radius + 1)
    best, result = np.full(grey.shape, np.inf, np.float32), levels.copy()
    for anchor in ((0, 0), (radius, 0), (0, radius), (radius, radius)):
        mean = cv2.blur(grey, size, anchor=anchor)
        spread = cv2.blur(grey * grey, size, anchor=anchor) - mean * mean
        calmer = spread < best
        best = np.where(calmer, spread, best)
        result[calmer] = cv2.blur(levels, size, anchor=anchor)[calmer]
    hsv = cv2.cvtColor(result.clip(0, 255).astype(np.uint8), cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 1] = np.minimum(hsv[..., 1] * 1.25, 255)
    strokes = cv2.filter2D(_grain(image, 1).astype(np.float32), -1, np.eye(11, dtype=np.float32))
    painted = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB).astype(np.float32)
    return painted + 2.5 * strokes[..., None]


def _watercolour(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    flat = cv2.stylization(image, sigma_s=40, sigma_r=0.5).astype(np.float64)
    wash = cv2.GaussianBlur(_grain(image, 1).astype(np.float32), (0, 0), 14)
    paper = _grain(image, 4, seed=1)
    flat = flat.mean(axis=2, keepdims=True) + 1.5 * (flat - flat.mean(axis=2, keepdims=True))
    light = 255 - (255 - flat) * 0.72 * (1 + 0.5 * wash / np.abs(wash).max())[..., None]
    return light + paper[..., None]


def _pointillism(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    radius, rng = 3 * _unit(image), np.random.default_rng(0)
    smooth = cv2.GaussianBlur(image, (0, 0), radius * 0.7)
    hsv = cv2.cvtColor(smooth, cv2.COLOR_RGB2HSV).astype(np.int32)
    height, width = image.shape[:2]
    rows, columns = (one.ravel() for one in np.mgrid[0 : height : radius + 1, 0 : width : radius + 1])
    canvas = np.full(image.shape, 244, np.uint8)
    shift = rng.integers(-radius // 2, radius // 2 + 1, (rows.size, 2))
    rows, columns = np.clip(rows + shift[:, 0], 0, height - 1), np.clip(columns + shift[:, 1], 0, width - 1)
    tint = hsv[rows, columns] + rng.normal(0, (5, 22, 20), (rows.size, 3)).astype(int)
    tint = np.stack((tint[:, 0] % 180, np.clip(tint[:, 1] + 30, 0, 255), np.clip(tint[:, 2], 0, 255)), axis=-1)
    colours = cv2.cvtColor(tint[None].astype(np.uint8), cv2.COLOR_HSV2RGB)[0]
    for at in rng.permutation(rows.size):
        cv2.circle(canvas, (int(columns[at]), int(rows[at])), radius, tuple(map(int, colours[at])), -1, cv2.LINE_AA)
    return canvas


def _few_colours(image: np.ndarray, cv2: ModuleType, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels [H, W] and the colours [count, 3] of a photo's main colours in Lab."""
    lab = cv2.cvtColor(_smooth(image, cv2), cv2.COLOR_RGB2Lab)
    cv2.setRNGSeed(7)
    points = lab.reshape(-1, 3).astype(np.float32)
    rule = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 12, 1.0)
    _, _, centres = cv2.kmeans(
        points[:: max(1, len(points) // 40000)].copy(), count, None, rule, 1, cv2.KMEANS_PP_CENTERS
    )
    apart = ((points[:, None, :] - centres[None]) ** 2).sum(axis=2)
    colours = cv2.cvtColor(centres[None].round().clip(0, 255).astype(np.uint8), cv2.COLOR_Lab2RGB)[0]
    labels = cv2.medianBlur(apart.argmin(axis=1).reshape(image.shape[:2]).astype(np.uint8), 5)
    return labels, colours


def _poster(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    labels, colours = _few_colours(image, cv2, 6)
    return colours[labels]


def _pop_art(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    labels, colours = _few_colours(image, cv2, 5)
    inks = np.array(((40, 10, 90), (230, 20, 110), (0, 160, 220), (255, 120, 0), (255, 230, 20)), np.uint8)
    darkness = np.argsort(np.argsort(colours @ np.array((0.299, 0.587, 0.114))))
    return inks[darkness][labels]


def _cartoon(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    flat = _smooth(image, cv2, 5)
    hsv = cv2.cvtColor(flat, cv2.COLOR_RGB2HSV).astype(np.float64)
    hsv[..., 1], hsv[..., 2] = np.minimum(hsv[..., 1] * 1.3, 255), (hsv[..., 2] // 36) * 36 + 18
    coloured = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    return coloured * (1 - np.clip(_lines(flat, cv2, 1.3) * 1.6, 0, 1) ** 1.5)[..., None]


def _dots(level: np.ndarray, pitch: float, degrees: float, cv2: ModuleType) -> np.ndarray:
    """Ink, 0 to 1, as round dots of a turned screen; `level` is 0 for full ink to 255 for none."""
    rows, columns = np.indices(level.shape)
    turn = np.radians(degrees)
    u = (columns * np.cos(turn) + rows * np.sin(turn)) * 2 * np.pi / pitch
    v = (rows * np.cos(turn) - columns * np.sin(turn)) * 2 * np.pi / pitch
    screen = (np.cos(u) + np.cos(v) + 2) / 4
    ink = 1 - cv2.GaussianBlur(level.astype(np.float32), (0, 0), pitch / 4) / 255
    # The screen's values are not spread evenly; their ranks are.
    ranks = np.interp(screen, np.quantile(screen, np.linspace(0, 1, 101)), np.linspace(0, 1, 101))
    return np.clip((ranks - (1 - ink)) * 6 + 0.5, 0, 1)


def _halftone(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    return _three(255 - 240 * _dots(_stretched(_grey(image, cv2)), 7 * _unit(image), 45, cv2))


def _comic(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    strong = 255 - np.clip((255 - image.astype(np.float64)) * 1.1, 0, 255)
    paper = np.full(image.shape, 250.0)
    for channel, degrees in ((0, 15), (1, 75), (2, 0)):
        paper[..., channel] -= 235 * _dots(strong[..., channel], 6.5 * _unit(image), degrees, cv2)
    return paper


def _woodcut(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    level = cv2.createCLAHE(3.0, (4, 4)).apply(cv2.GaussianBlur(_grey(image, cv2), (0, 0), 2 * _unit(image)))
    rows, columns = np.indices(level.shape)
    bent = cv2.GaussianBlur(_grey(image, cv2).astype(np.float32), (0, 0), 18) / 6
    wave = (np.sin((rows + bent + 2.5 * np.sin(columns / 30)) * 2 * np.pi / (6 * _unit(image))) + 1) / 2 * 150 + 45
    cut = np.where(level > wave, 244.0, 18.0)
    cut[_lines(image, cv2, 1.4) > 0.6] = 18
    return _three(cv2.GaussianBlur(cut.astype(np.float32), (0, 0), 0.6))


def _cells(image: np.ndarray, cv2: ModuleType, side: int) -> np.ndarray:
    """Labels [H, W] from 0 of cells round points that are strewn evenly."""
    height, width = image.shape[:2]
    rng = np.random.default_rng(0)
    grid = np.mgrid[0:height:side, 0:width:side].reshape(2, -1).T + rng.uniform(0, side, (1, 1))
    points = grid + rng.uniform(-side * 0.4, side * 0.4, grid.shape)
    seeds = np.ones((height, width), np.uint8)
    rows = np.clip(points[:, 0].astype(int), 0, height - 1)
    columns = np.clip(points[:, 1].astype(int), 0, width - 1)
    seeds[rows, columns] = 0
    _, labels = cv2.distanceTransformWithLabels(seeds, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    return labels - 1


def _means(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The image with every cell in its mean colour."""
    counts = np.maximum(np.bincount(labels.ravel()), 1)
    sums = [np.bincount(labels.ravel(), weights=image[..., channel].ravel()) / counts for channel in range(3)]
    return np.stack(sums, axis=-1)[labels]


def _stained_glass(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    labels = _cells(image, cv2, 22 * _unit(image))
    glass = _means(image, labels)
    hsv = cv2.cvtColor(glass.round().astype(np.uint8), cv2.COLOR_RGB2HSV).astype(np.float64)
    hsv[..., 1], hsv[..., 2] = np.minimum(hsv[..., 1] * 1.5, 255), np.minimum(hsv[..., 2] * 1.15 + 12, 255)
    glass = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB)
    lead = cv2.morphologyEx(labels.astype(np.float32), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
    lead = cv2.dilate(lead.astype(np.uint8), np.ones((_unit(image), _unit(image))))
    return np.where(lead[..., None] > 0, 15, glass)


def _mosaic(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    side = 9 * _unit(image)
    rows, columns = np.indices(image.shape[:2])
    labels = rows // side * (image.shape[1] // side + 1) + columns // side
    tone = np.random.default_rng(0).uniform(0.9, 1.1, labels.max() + 1)[labels][..., None]
    joint = (rows % side == 0) | (columns % side == 0)
    tiles = _means(image, labels) * tone
    light = ((rows % side == 1) | (columns % side == 1))[..., None] * 18
    return np.where(joint[..., None], 90, tiles + light)


def _pixel_art(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    height, width = image.shape[:2]
    side = 8 * _unit(image)
    small = cv2.resize(image, (-(-width // side), -(-height // side)), interpolation=cv2.INTER_AREA)
    small = (small // 43 * 51).astype(np.uint8)
    return np.repeat(np.repeat(small, side, axis=0), side, axis=1)[:height, :width]


def _relief(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    grey = cv2.GaussianBlur(_grey(image, cv2).astype(np.float32), (0, 0), 1.1 * _unit(image))
    slope = cv2.Sobel(grey, cv2.CV_32F, 1, 0) + cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    stone = _grain(image, 4)
    return _three(np.clip(135 + 1.1 * slope + stone, 25, 240)) * np.array((1.0, 0.99, 0.96))


def _blueprint(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    lines = np.clip((255 - _sketch(image, cv2)[..., 0]) / 130, 0, 1)
    rows, columns = np.indices(lines.shape)
    pitch = 32 * _unit(image)
    grid = ((rows % pitch == 0) | (columns % pitch == 0)) * 0.16
    white = np.maximum(lines, grid)[..., None]
    return np.array((22, 62, 140)) * (1 - white) + np.array((235, 243, 255)) * white


def _cyanotype(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    return _mapped(_stretched(_grey(image, cv2)), (8, 24, 62), (28, 88, 142), (120, 175, 205), (236, 244, 243))


def _sepia(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    height, width = image.shape[:2]
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    shade = 1 - 0.28 * np.clip(rows**2 + columns**2 - 0.5, 0, 1.5)
    grain = _grain(image, 5)
    level = 25 + 0.82 * _stretched(_grey(image, cv2)) + grain
    return _mapped(np.clip(level, 0, 255), (38, 22, 10), (140, 98, 58), (246, 226, 188)) * shade[..., None]


def _black_and_white(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    return _three(_grey(image, cv2))


def _negative(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    return 255 - image


def _night(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    grey = _grey(image, cv2)[..., None].astype(np.float64)
    dim = (0.45 * image + 0.55 * grey) / 255
    return 255 * dim**1.5 * np.array((0.26, 0.34, 0.58)) + np.array((2, 4, 14))


def _leaves(image: np.ndarray) -> np.ndarray:
    """How green each pixel is, 0 to 1, [H, W]."""
    red, green, blue = (image[..., channel].astype(np.float64) for channel in range(3))
    return np.clip((green - 0.35 * red - 0.65 * blue + 2) / 18, 0, 1)


def _infrared(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    leaves = _leaves(image)
    red, green, blue = (image[..., channel].astype(np.float64) for channel in range(3))
    base = np.clip(0.9 * red + 0.5 * green - 0.4 * blue, 0, 255)
    level = base * (1 - leaves) + np.clip(125 + green * 1.3, 0, 255) * leaves
    glow = cv2.GaussianBlur(np.clip(level - 150, 0, 255).astype(np.float32), (0, 0), 6 * _unit(image)) * 0.5
    return _three(np.clip(level + glow, 0, 255))


def _thermal(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    level = cv2.GaussianBlur(_stretched(_grey(image, cv2)), (0, 0), 2 * _unit(image))
    return _mapped(level, (5, 5, 40), (90, 0, 140), (215, 30, 90), (250, 130, 10), (255, 235, 90), (255, 255, 240))


def _faded(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    grey = _grey(image, cv2)[..., None].astype(np.float64)
    pale = 0.45 * image + 0.55 * grey
    return (72 + pale * 0.62) * np.array((1.06, 1.0, 0.86))


def _neon(image: np.ndarray, cv2: ModuleType) -> np.ndarray:
    smooth = cv2.bilateralFilter(image, 9, 40, 7)
    edges = (cv2.Canny(smooth, 50, 130) > 0).astype(np.float32)
    height, width = edges.shape
    hue = (np.indices((height, width)).sum(axis=0) * 180 / (height + width) + 140) % 180
    hsv = np.stack((hue, np.full_like(hue, 230), np.full_like(hue, 255)), axis=-1).astype(np.uint8)
    colour = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    line = cv2.GaussianBlur(edges, (0, 0), 0.8 * _unit(image))
    glow = cv2.GaussianBlur(edges, (0, 0), 5 * _unit(image))
    return colour * np.clip(1.5 * line + 1.6 * glow, 0, 1)[..., None] + 150 * np.clip(line * 1.3 - 0.3, 0, 1)[..., None]


STYLES: dict[str, Filter] = {
    "pencil sketch": _sketch,
    "coloured pencil": _coloured_pencil,
    "charcoal": _charcoal,
    "ink hatching": _hatching,
    "oil painting": _oil,
    "watercolour": _watercolour,
    "pointillism": _pointillism,
    "poster": _poster,
    "pop art": _pop_art,
    "cartoon": _cartoon,
    "halftone": _halftone,
    "comic print": _comic,
    "woodcut": _woodcut,
    "stained glass": _stained_glass,
    "mosaic": _mosaic,
    "pixel art": _pixel_art,
    "relief": _relief,
    "blueprint": _blueprint,
    "cyanotype": _cyanotype,
    "sepia": _sepia,
    "black and white": _black_and_white,
    "negative": _negative,
    "night": _night,
    "infrared": _infrared,
    "thermal": _thermal,
    "faded": _faded,
    "neon": _neon,
}
