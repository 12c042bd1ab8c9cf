"""The tiny FLUX.2 klein on a real ComfyUI: its files are taken for what they stand for, and every reference counts."""

from __future__ import annotations

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


def test_it_is_taken_for_flux_2(tmp_path: Path) -> None:
    comfy_modules()
    import comfy.model_detection

    state = load_file(tiny_klein.klein(tmp_path / tiny_klein.MODEL))
    config = comfy.model_detection.model_config_from_unet(state, "")
    assert type(config).__name__ == "Flux2"
    assert (config.unet_config["in_channels"], config.unet_config["guidance_embed"]) == (128, False)


def test_every_picture_that_it_is_given_changes_what_it_paints(klein: Any) -> None:
    names = ["klein-a.png", "klein-b.png", "klein-c.png"]
    for number, name in enumerate(names):
        photo(klein.models.parent / "input", name, number)
    painted = [_edited(klein.url, *names[:1]), _edited(klein.url, *names[:2]), _edited(klein.url, names[0], names[2])]
    assert {picture.shape for picture in painted} == {(80, 96, 3)}
    assert not np.array_equal(painted[0], painted[1]) and not np.array_equal(painted[1], painted[2])


def _edited(url: str, *images: str) -> np.ndarray:
    return picture(url, finished(url, tiny_klein.edit(*images))["outputs"]["save"]["images"][0])
