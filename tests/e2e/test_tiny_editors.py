"""Tiny editors on a real ComfyUI: their files are taken for what they stand for, and every picture that klein is given
counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from tests.e2e.full_graphs import finished, photo, picture
from tests.models import tiny_flux, tiny_klein
from tests.models.tiny_weights import comfy_modules


@pytest.fixture(scope="module")
def klein(comfy: Any) -> Any:
    """The server with klein, its encoder's stand-in and its autoencoder."""
    tiny_klein.klein(comfy.models / "diffusion_models" / tiny_klein.MODEL)
    tiny_klein.vae(comfy.models / "vae" / tiny_klein.VAE)
    tiny_flux.clip_l(comfy.models / "text_encoders" / tiny_klein.ENCODER)
    return comfy


@pytest.mark.parametrize(
    ("make", "family"),
    [
        (tiny_klein.klein, "Flux2"),
        (lambda file: tiny_flux.longcat(file, text=3584), "LongCatImage"),
        (tiny_flux.kontext, "Flux"),
        (tiny_flux.fill, "FluxInpaint"),
    ],
)
def test_a_file_is_taken_for_its_family(make: Callable[[Path], Path], family: str, tmp_path: Path) -> None:
    comfy_modules()
    import comfy.model_detection

    state = load_file(make(tmp_path / "model.safetensors"))
    assert type(comfy.model_detection.model_config_from_unet(state, "")).__name__ == family


def test_every_picture_that_it_is_given_changes_what_it_paints(klein: Any) -> None:
    names = ["klein-a.png", "klein-b.png", "klein-c.png"]
    for number, name in enumerate(names):
        photo(klein.models.parent / "input", name, number)
    painted = [_edited(klein.url, *names[:1]), _edited(klein.url, *names[:2]), _edited(klein.url, names[0], names[2])]
    assert {picture.shape for picture in painted} == {(80, 96, 3)}
    assert not np.array_equal(painted[0], painted[1]) and not np.array_equal(painted[1], painted[2])


def _edited(url: str, *images: str) -> np.ndarray:
    return picture(url, finished(url, tiny_klein.edit(*images))["outputs"]["save"]["images"][0])
