"""Styles, scenes and pasting: each is what it is called, stays within its mask, and comes out the same again."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from comfy_nodes.classical import donors as classical_donors
from comfy_nodes.classical import paste as classical_paste
from comfy_nodes.classical import scenery as classical_scenery
from comfy_nodes.classical import styles as classical_styles
from comfy_nodes.classical.paste import Unpasteable, cut_out, on_white, put_in_place
from comfy_nodes.core.instructions.classical import SCENES, STYLES, Nameless, clause
from comfy_nodes.core.instructions.scenes import Scene
from comfy_nodes.core.regions.annotation import Region

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """coffee.png at 300 x 200."""
    read = cv2.imread(str(SAMPLES / "photos" / "coffee.png"))
    return cv2.cvtColor(cv2.resize(read, (300, 200), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def chroma(image: np.ndarray) -> float:
    return float(np.ptp(image.astype(int), axis=2).mean())


def test_every_style_has_its_words() -> None:
    assert list(classical_styles.STYLES) == list(STYLES)
    assert len(STYLES) >= 20
    assert len(set(STYLES.values())) == len(STYLES)


@pytest.mark.parametrize("style", STYLES)
def test_a_style_changes_the_photo_and_comes_out_the_same(style: str, photo: np.ndarray) -> None:
    once = classical_styles.apply(photo, style)
    assert (once.shape, once.dtype) == (photo.shape, np.uint8)
    assert (np.abs(once.astype(int) - photo).max(axis=2) > 8).mean() > 0.5
    assert np.array_equal(once, classical_styles.apply(photo, style))


def test_styles_are_what_they_are_called(photo: np.ndarray) -> None:
    made = {name: classical_styles.apply(photo, name) for name in STYLES}
    for grey in ("pencil sketch", "charcoal", "ink hatching", "halftone", "woodcut", "black and white", "infrared"):
        assert chroma(made[grey]) < 1, grey
    assert made["pencil sketch"].mean() > 200 > 130 > made["charcoal"].mean()
    assert made["night"].mean() < 0.4 * photo.mean()
    assert np.array_equal(made["negative"], 255 - photo)
    for blue in ("cyanotype", "blueprint", "night"):
        assert made[blue][..., 2].mean() > made[blue][..., 0].mean() + 10, blue
    assert made["sepia"][..., 0].mean() > made["sepia"][..., 2].mean() + 20
    assert len(np.unique(made["poster"].reshape(-1, 3), axis=0)) <= 6
    assert len(np.unique(made["pop art"].reshape(-1, 3), axis=0)) <= 5
    assert len(np.unique(made["pixel art"].reshape(-1, 3), axis=0)) < 220
    assert {int(one) for one in np.unique(made["ink hatching"])} <= {20, 25, 252}
    assert (made["neon"].max(axis=2) < 60).mean() > 0.4


def test_a_grey_photo_is_given_a_style_that_shows() -> None:
    grey = np.repeat(np.arange(0, 256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(64, axis=0)
    for seed in range(40):
        assert classical_styles.choose(grey, seed) not in ("black and white", "coloured pencil", "faded", "infrared")


@pytest.mark.parametrize("name", SCENES)
def test_a_scene_has_the_size_and_comes_out_the_same(name: str) -> None:
    scene = classical_scenery.draw(name, 61, 97, 5)
    assert (scene.shape, scene.dtype) == ((61, 97, 3), np.uint8)
    assert np.array_equal(scene, classical_scenery.draw(name, 61, 97, 5))


def test_scenes_are_what_they_are_called() -> None:
    made = {name: classical_scenery.draw(name, 90, 160, 3).reshape(-1, 3).astype(float).mean(axis=0) for name in SCENES}
    for blue in ("clear sky", "cloudy", "starry night", "blue"):
        assert made[blue][2] > made[blue][0] + 8, blue
    assert made["sunset"][0] > made["sunset"][2] + 60
    assert made["dawn"][0] > made["dawn"][1] + 30
    assert np.ptp(made["overcast"]) < 2
    assert made["starry night"].max() < 90
    assert made["green"].argmax() == 1
    assert made["galaxies"].max() < 70


def test_a_sky_gets_a_sky() -> None:
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[..., 0] = 200
    for seed in range(20):
        assert sorted(classical_scenery.candidates("sky", colours, seed)) == sorted(classical_scenery.SKIES)
        assert set(classical_scenery.candidates("wooden table", colours, seed)) == set(classical_scenery.GROUNDS)
        assert classical_scenery.candidates("sky", colours * 0, seed) == ["overcast"]


def test_a_background_keeps_to_its_mask(photo: np.ndarray) -> None:
    mask = np.zeros(photo.shape[:2], bool)
    mask[20:120, 30:200] = True
    scene = classical_scenery.draw("white", *mask.shape, 0)
    result = classical_scenery.put_behind(photo, mask, scene)
    assert np.array_equal(result[~mask], photo[~mask])
    assert (result[30:110, 40:190] == 255).all()


def test_cut_out_undoes_on_white(photo: np.ndarray) -> None:
    mask = np.zeros(photo.shape[:2], bool)
    cv2.circle(marks := mask.astype(np.uint8), (150, 100), 60, 1, -1)
    mask = marks > 0
    white = on_white(photo, mask)
    assert (white[~mask] == 255).all()
    thing = cut_out(white)
    assert abs(int(thing.mask.sum()) - int(mask.sum())) < 0.02 * mask.sum()
    assert max(thing.mask.shape) <= 122


@pytest.mark.parametrize("kind", ["busy", "empty"])
def test_what_cannot_be_cut_out_says_so(kind: str, photo: np.ndarray) -> None:
    picture = photo if kind == "busy" else np.full((50, 50, 3), 255, np.uint8)
    with pytest.raises(Unpasteable, match="plain ground" if kind == "busy" else "nothing but its ground"):
        cut_out(picture)


def test_a_thing_stands_where_the_old_one_stood() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(90, 110, (120, 160, 3), dtype=np.uint8)
    hole = np.zeros((120, 160), bool)
    hole[40:90, 60:100] = True
    thing = classical_paste.CutOut(np.full((80, 40, 3), (200, 20, 20), np.uint8), np.ones((80, 40), bool))
    result, changed = put_in_place(image, hole, (60.0, 40.0, 100.0, 90.0), thing)
    assert np.array_equal(result[~changed], image[~changed])
    assert changed[hole].all()
    red = (result[..., 0] > 180) & (result[..., 1] < 40)
    rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
    assert abs((columns[0] + columns[-1]) / 2 - 79.5) <= 1
    assert abs(rows[-1] - 89) <= 1
    with pytest.raises(Unpasteable, match="too small"):
        put_in_place(image, hole, (60.0, 40.0, 66.0, 46.0), thing)


def test_the_bundled_donors_are_there_with_their_terms() -> None:
    lines = (SAMPLES / "annotation.jsonl").read_text(encoding="utf-8").splitlines()
    photos = {item["path"]: item for item in map(json.loads, lines)}
    assert all((SAMPLES / item["reference"]).is_file() for item in photos.values())
    for name in classical_donors.names():
        donor = classical_donors.named(name)
        assert donor.thing.mask.any()
        assert donor.licence in {item["source_licence"] for item in photos.values()}
    orders = [classical_donors.in_turn(seed, "Dahlia") for seed in range(20)]
    assert {name for order in orders for name in order} == {*classical_donors.names()} - {"dahlia"}
    assert {order[0] for order in orders} == {*classical_donors.names()} - {"dahlia"}


@pytest.mark.parametrize("op", ["remove", "add", "alter", "replace", "visual"])
def test_no_sentence_speaks_of_a_thing_without_a_name(op: str) -> None:
    scene = Scene(100, 100, (Region(class_name=None, bbox=(10, 10, 40, 40)),))
    with pytest.raises(Nameless, match="the region has no name"):
        clause(op, "en", scene, 0, "red")
    assert "background" in clause("background", "en", scene, 0, next(iter(SCENES)))


def test_a_thing_that_no_donor_is_unlike_is_refused() -> None:
    """Drawing from none of them was a crash."""
    with pytest.raises(Unpasteable, match="every bundled thing bears the name"):
        classical_donors.in_turn(0, " and ".join(classical_donors.names()))
