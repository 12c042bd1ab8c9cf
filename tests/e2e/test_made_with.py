"""What stands behind names: weights swapped under theirs, and a VLM profile that no picture or history shows."""

from __future__ import annotations

import hashlib
import json
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.e2e import helpers
from tests.e2e.helpers import Driver
from tests.models import tiny_flux
from tests.models.tiny_weights import folded, save
from tests.vlm.endpoint import Endpoint, Say

THROUGH_A_VAE = {
    "1": {"class_type": "EditPairsLoadSample",
          "inputs": {"image": "", "task": "style", "region_index": 0, "seed": 0}},
    "2": {"class_type": "VAELoader", "inputs": {"vae_name": "made-with.pt"}},
    "3": {"class_type": "VAEEncode", "inputs": {"pixels": ["1", 1], "vae": ["2", 0]}},
    "4": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["2", 0]}},
    "5": {"class_type": "EditPairsSavePair",
          "inputs": {"sample": ["1", 0], "edited": ["4", 0], "instruction": "Make it blurred."}},
}  # fmt: skip


def put_weights(models: Path, seed: int) -> str:
    """Writes the VAE of the graph, of the same size whatever the seed; its SHA-256."""
    from comfy.ldm.models.autoencoder import AutoencoderKL

    file = save(folded(tiny_flux.vae_shapes(AutoencoderKL, tiny_flux.LATENT), seed), models / "vae" / "made-with.pt")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_weights_swapped_under_their_name(driver: Driver, comfy: Any, tmp_path: Path) -> None:
    """Not into the folder that the former ones made, and not from the server's memory into another."""
    tiny_flux.comfy_modules()
    first = put_weights(comfy.models, 1)
    helpers.make_photos(tmp_path / "photos", 2, (64, 64))
    (tmp_path / "vae.json").write_text(json.dumps(THROUGH_A_VAE))
    how: dict[str, Any] = {"workflow": tmp_path / "vae.json", "quick": False}
    run = ("--input", tmp_path / "photos", "--output")
    driver.run(*run, tmp_path / "one", "--limit", 1, **how)
    driver.run(*run, tmp_path / "same", "--limit", 1, **how)
    second = put_weights(comfy.models, 2)
    line = driver.refused(*run, tmp_path / "one", **how)
    assert f"model made-with.pt has other content ({second[:12]} instead of {first[:12]})" in line
    driver.run(*run, tmp_path / "two", "--limit", 1, **how)
    one, same, two = (helpers.rows(tmp_path / name, "rejected")[0] for name in ("one", "same", "two"))
    assert one["stage_sha256"] == same["stage_sha256"] != two["stage_sha256"]
    assert [row["models"][0]["sha256"] for row in (one, same, two)] == [first, first, second]
    pictures = [row["output_images"][0]["bytes"] for row in (one, same, two)]
    assert pictures[0] == pictures[1] != pictures[2]
    put_weights(comfy.models, 1)
    driver.run(*run, tmp_path / "one", **how)
    assert len(helpers.rows(tmp_path / "one", "rejected")) == 2


def test_no_picture_and_no_history_shows_a_profile(comfy: Any, tmp_path: Path) -> None:
    key_file = tmp_path / "sentinel-place-of-the-key"
    key_file.write_text("sk-sentinel-0123456789abcdef")
    with Endpoint(default=Say(json.dumps({"dense": "A rocket on a launch pad.", "short": "A rocket."}))) as endpoint:
        comfy.profiles.write_text(
            f'[profiles.default]\nbase_url = "{endpoint.url}"\nmodel = "tiny"\nkey_file = "{key_file}"\n'
            'extra_body = {metadata = "sentinel-body"}\n'
        )
        try:
            graph = {
                "1": {"class_type": "EditPairsLoadSample",
                      "inputs": {"image": "editpairs-samples/rocket.jpg", "task": "style", "region_index": 0, "seed": 0}},
                "2": {"class_type": "EditPairsLoadVlmEndpoint", "inputs": {"profile": "default"}},
                "3": {"class_type": "EditPairsCaptionImage",
                      "inputs": {"vlm": ["2", 0], "sample": ["1", 0], "language": "en"}},
                "4": {"class_type": "PreviewAny", "inputs": {"source": ["3", 2]}},
                "5": {"class_type": "SaveImage", "inputs": {"images": ["1", 1], "filename_prefix": "fingerprint"}},
            }  # fmt: skip
            prompt_id = helpers.post(comfy.url, "/prompt", {"prompt": graph})["prompt_id"]
            history = helpers.until(lambda: helpers.get(comfy.url, f"/history/{prompt_id}"), "the prompt's end")
        finally:
            comfy.profiles.unlink()
    (image,) = history[prompt_id]["outputs"]["5"]["images"]
    query = urllib.parse.urlencode(image)
    with urllib.request.urlopen(f"{comfy.url}/view?{query}", timeout=30) as response:
        picture = response.read()
    assert endpoint.requests, "nothing was asked"
    assert b'"is_changed"' in picture, "ComfyUI shows no fingerprint"
    for text in (picture.decode("latin-1"), json.dumps(history)):
        for secret in (endpoint.url, endpoint.url.removeprefix("http://"), "sentinel", "extra_body"):
            assert secret not in text
