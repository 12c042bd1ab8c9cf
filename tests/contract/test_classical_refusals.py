"""What classical edits cannot do well is refused with its reason, and what they can is not; on bundled photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_nodes.classical import donors as classical_donors
from comfy_nodes.classical import scenery as classical_scenery
from comfy_nodes.classical import styles as classical_styles
from comfy_nodes.classical.scenery import NoScene
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Region, parse_annotation

SAMPLES = Path(__file__).resolve().parents[2] / "samples"


@pytest.fixture(scope="module")
def edits(pack: Any) -> Any:
    """The module of the operations; it needs ComfyUI for the sample's type alone."""
    return pack.part("classical.edits")


def sample(photo: str, name: str) -> tuple[np.ndarray, np.ndarray, Region]:
    """A bundled photo, and the mask and the region of a thing in it."""
    for line in (SAMPLES / "annotation.jsonl").read_text(encoding="utf-8").splitlines():
        annotation = parse_annotation(json.loads(line))
        if annotation.path.endswith(photo):
            region = next(one for one in annotation.regions if one.class_name == name)
            assert region.mask
            with Image.open(SAMPLES / annotation.path) as opened:
                return np.asarray(opened.convert("RGB")), rle.decode(region.mask).astype(bool), region
    raise AssertionError(photo)


def swapped(edits: Any, photo: str, name: str, donor: str, reference: np.ndarray | None = None) -> Any:
    pixels, mask, region = sample(photo, name)
    return edits.swap(pixels, mask, region, 0, donor, reference)


@pytest.mark.parametrize(
    ("photo", "name", "donor", "why"),
    [
        ("rocket.jpg", "rocket", "dahlia", "would not fill the old one's place"),
        ("china.jpg", "roof finial", "rocket", "too small"),
        ("hubble_deep_field.jpg", "yellow galaxy", "dahlia", "too small"),
        ("flower.jpg", "flower bud", "round mission patch", "edge cuts the old object off"),
        ("camera.png", "tower", "rocket", "black and white"),
        ("rocket.jpg", "distant tower", "by seed", "rocket: .*edge cuts"),
    ],
)
def test_a_thing_that_would_not_stand_there_is_refused(edits: Any, photo: str, name: str, donor: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        swapped(edits, photo, name, donor)


def test_by_seed_the_first_thing_that_fits_is_taken(edits: Any) -> None:
    """The rocket would have to be enlarged 3.7 times, and is the first by some seeds."""
    pixels, mask, region = sample("flower.jpg", "dahlia")
    seed = next(seed for seed in range(20) if classical_donors.in_turn(seed, "dahlia")[0] == "rocket")
    assert edits.swap(pixels, mask, region, seed, edits.BY_SEED, None).result == "cup of coffee on a saucer"


def test_a_reference_is_held_to_the_same(edits: Any) -> None:
    with Image.open(SAMPLES / "references" / "cup.png") as opened:
        cup = np.asarray(opened.convert("RGB"))
    with pytest.raises(ValueError, match="would not fill"):
        swapped(edits, "rocket.jpg", "rocket", edits.REFERENCE, cup)
    assert swapped(edits, "flower.jpg", "dahlia", edits.REFERENCE, cup).changed.any()


@pytest.mark.parametrize("name", ["sunset", "overcast", "starry night", "cloudy"])
def test_no_sky_ends_in_a_line_at_a_hazy_horizon(name: str) -> None:
    photo, mask, _ = sample("china.jpg", "sky")
    with pytest.raises(NoScene, match="line where the photo has none"):
        classical_scenery.replaced(photo, mask, [name], 3)


def test_a_sky_whose_horizon_is_the_photos_is_taken() -> None:
    photo, mask, _ = sample("china.jpg", "sky")
    name, after = classical_scenery.replaced(photo, mask, ["overcast", "sunset", "dawn"], 3)
    assert name == "dawn"
    assert np.array_equal(after[~mask], photo[~mask])
    _, bottom = np.flatnonzero(mask.any(axis=1))[[0, -1]]
    lowest = after[bottom - 4][mask[bottom - 4] & mask[bottom - 1]].astype(int)
    assert np.abs(np.median(lowest, axis=0) - (255, 220, 215)).max() < 6, (
        "it ends at the horizon and not at the picture's end"
    )
    assert classical_scenery.line(photo, after, mask) < classical_scenery.MAX_LINE


def test_a_plain_ground_may_have_its_subjects_outline() -> None:
    photo, mask, _ = sample("coffee.png", "wooden table")
    assert classical_scenery.replaced(photo, mask, ["white"], 0)[0] == "white"


@pytest.mark.parametrize(
    ("photo", "name", "kind"),
    [
        ("rocket.jpg", "distant tower", "SeenThrough"),
        ("hubble_deep_field.jpg", "star", "SeenThrough"),
        ("camera.png", "snow pile", "NoColour"),
    ],
)
def test_what_takes_no_colour_well_is_refused(edits: Any, photo: str, name: str, kind: str) -> None:
    pixels, mask, _ = sample(photo, name)
    with pytest.raises(edits.Impossible) as refused:
        edits.alter(pixels, mask, name, 0)
    assert refused.value.kind == kind


@pytest.mark.parametrize(
    ("photo", "name", "kind"),
    [
        ("rocket.jpg", "distant tower", "SeenThrough"),
        ("hubble_deep_field.jpg", "yellow galaxy", "TooSmall"),
    ],
)
def test_what_is_not_seen_on_white_is_refused(edits: Any, photo: str, name: str, kind: str) -> None:
    pixels, mask, _ = sample(photo, name)
    with pytest.raises(edits.Impossible) as refused:
        edits.cut_out(pixels, mask, name)
    assert refused.value.kind == kind


def test_a_white_thing_is_not_cut_out_on_white(edits: Any) -> None:
    photo = np.full((120, 120, 3), 90, np.uint8)
    mask = np.zeros((120, 120), bool)
    mask[30:80, 40:90] = True
    photo[mask] = 240
    with pytest.raises(ValueError, match="100% of the wall is too light"):
        edits.cut_out(photo, mask, "wall")


@pytest.mark.parametrize(
    ("photo", "name"), [("rocket.jpg", "rocket"), ("astronaut.png", "mission patch"), ("flower.jpg", "dahlia")]
)
def test_a_solid_thing_is_recoloured_and_cut_out(edits: Any, photo: str, name: str) -> None:
    pixels, mask, _ = sample(photo, name)
    assert edits.alter(pixels, mask, name, 0).result
    assert (edits.cut_out(pixels, mask, name)[~mask] == 255).all()


def test_styles_say_nothing_untrue_of_the_photo() -> None:
    launch, garden = (sample(*which)[0][::8, ::8] for which in (("rocket.jpg", "rocket"), ("flower.jpg", "dahlia")))
    chosen = {classical_styles.choose(launch, seed) for seed in range(150)}
    assert not chosen & {"night", "infrared"}, "it is night there, and nothing grows"
    assert "infrared" in {classical_styles.choose(garden, seed) for seed in range(150)}
