"""Recolouring: the new colour is what it is called, measured in the picture, and nothing but hue and chroma moves."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from comfy_nodes.classical.colour import PRESENT_SHARE, NoColour, choose, recolour, to_srgb
from comfy_nodes.core.colours import COLOURS, share_called, to_oklab

NAMED = {
    "red": (200, 30, 30), "orange": (240, 140, 20), "yellow": (250, 220, 40), "green": (40, 150, 50),
    "turquoise": (60, 200, 190), "blue": (30, 80, 220), "purple": (130, 40, 190), "pink": (250, 130, 180),
}  # fmt: skip
HUES = {
    "red": (345, 15), "orange": (15, 45), "yellow": (43, 65), "green": (80, 160), "turquoise": (160, 195),
    "blue": (200, 250), "purple": (250, 300), "pink": (300, 350),
}  # fmt: skip
"""What each name covers on HSV's circle, in degrees: a measure that has nothing to do with OKLab."""


def ball(colour: tuple[int, int, int], light: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """A shaded ball with a white glint on grey, and its mask."""
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    mask = rows**2 + columns**2 < 0.6
    shade = 0.62 + 0.38 * (1 - rows) / 2
    image = np.full((64, 64, 3), 128.0)
    image[mask] = (np.array(colour) * light * shade[..., None])[mask]
    image[(rows + 0.4) ** 2 + (columns + 0.3) ** 2 < 0.01] = 250
    return image.round().clip(0, 255).astype(np.uint8), mask


def mean_hue(pixels: np.ndarray) -> float:
    """Degrees on HSV's circle of the pixels' mean."""
    return colorsys.rgb_to_hsv(*(pixels.reshape(-1, 3).mean(axis=0) / 255))[0] * 360


def test_oklab_there_and_back() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(0, 256, 15)] * 3), axis=-1).reshape(-1, 3).astype(np.uint8)
    assert np.abs(to_srgb(to_oklab(grid)).astype(int) - grid).max() <= 1
    assert np.allclose(to_oklab(np.array([[255, 255, 255]], np.uint8)), (1, 0, 0), atol=1e-3)


@pytest.mark.parametrize("name", COLOURS)
def test_plain_patches_bear_their_names_alone(name: str) -> None:
    patch = np.array([NAMED[name]], np.uint8)
    assert [one for one in COLOURS if share_called(patch, one)] == [name]


@pytest.mark.parametrize("name", COLOURS)
@pytest.mark.parametrize("before", [(120, 120, 120), (170, 60, 50), (60, 140, 60)])
def test_what_is_given_is_what_it_is_called(name: str, before: tuple[int, int, int]) -> None:
    image, mask = ball(before, 1.3 if name in ("yellow", "pink", "orange") else 1.0)
    try:
        chosen, result = choose(image, mask, 0, name)
    except NoColour:
        light = to_oklab(image[mask])[:, 0]
        fitting = ((light >= COLOURS[name].darkest) & (light <= COLOURS[name].lightest)).mean()
        assert share_called(image[mask], name) > PRESENT_SHARE or fitting < 0.8
        return
    low, high = HUES[name]
    hue = mean_hue(result[mask])
    assert chosen == name
    assert (low <= hue <= high) if low < high else (hue >= low or hue <= high), hue
    assert np.array_equal(result[~mask], image[~mask])
    moved = np.abs(to_oklab(result[mask])[:, 0] - to_oklab(image[mask])[:, 0])
    assert np.median(moved) < 0.005


def test_a_glint_stays_white_and_shading_stays() -> None:
    image, mask = ball((190, 50, 40))
    result = recolour(image, mask, "blue")
    glint = (image == 250).all(axis=2)
    assert np.ptp(result[glint].astype(int), axis=1).max() < 40
    top, bottom = result[18, 40].astype(int).sum(), result[48, 40].astype(int).sum()
    assert top > bottom


def test_a_colour_that_is_there_already_is_refused() -> None:
    image, mask = ball((200, 30, 30))
    with pytest.raises(NoColour, match="it takes another colour"):
        choose(image, mask, 0, "red")
    assert "red" not in {choose(image, mask, seed)[0] for seed in range(12)}


def test_black_takes_no_colour() -> None:
    image, mask = ball((4, 4, 4))
    image[mask] = 4
    with pytest.raises(NoColour, match="leave the region out"):
        choose(image, mask, 0)


def test_the_seed_decides_and_decides_alike() -> None:
    image, mask = ball((120, 120, 120))
    names = [choose(image, mask, seed)[0] for seed in range(16)]
    assert names == [choose(image, mask, seed)[0] for seed in range(16)]
    assert len(set(names)) >= 3
