"""Blueprints run once each, from their own files: on a real ComfyUI, with tiny random weights or a service on loopback.

A blueprint's inner nodes come from the driver's own conversion, with the values that they hold; what an artist wires to
its sockets is wired to the inner nodes that these lead to. How the page places them is for `tests/browser`.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_nodes.core.regions.annotation import Annotation, region_of_mask, to_json
from driver.graph.file import WorkflowFile
from tests.e2e import full_graphs, helpers
from tests.e2e.reaching import run_prompt
from tests.models import tiny, tiny_faces, tiny_flux, tiny_klein
from tests.vlm.endpoint import Endpoint, Say, Status

SIZE = (97, 83)
"""Width and height of the photo: no multiple of anything, so that a shifted pixel shows."""
BLUE, GREEN = (40, 40, 220), (40, 200, 40)
INSTRUCTION = "Paint the disc blue."
GOOD = {"prompt_compliance": 5, "visual_seamlessness": 5, "physical_detail_fidelity": 5}
BAD = dict.fromkeys(GOOD, 1)
FOUND: dict[str, Any] = {
    "source_caption": "A disc.", "edited_caption": "A blue disc.", "differences": ["The disc is blue."],
    "is_changed": True, "claims": [{"claim": "the disc is blue", "mark": "correct"}], "restated_instruction": INSTRUCTION,
}  # fmt: skip

Link = list[Any]


class Bench:
    """A ComfyUI, and a photo of a disc in its input folder with two edits of it."""

    def __init__(self, url: str, models: Path) -> None:
        self.url, self.models = url, models
        self.info: dict[str, Any] = helpers.get(url, "/object_info")
        inputs = models.parent / "input"
        helpers.make_photo(inputs / "disc.png", size=SIZE)
        self.disc = helpers.disc_of(0, SIZE)
        self.photo = np.asarray(Image.open(inputs / "disc.png"))
        for name, colour in (("blue", BLUE), ("green", GREEN)):
            edited = self.photo.copy()
            edited[self.disc] = colour
            Image.fromarray(edited).save(inputs / f"disc-{name}.png")
        for name, right in (("before", 2), ("after", 9)):
            Image.fromarray(tiny_faces.drawn(left=1, right=right)).save(inputs / f"people-{name}.png")

    def run(self, name: str, values: dict[str, Any], sockets: dict[str, Any], shown: list[str]) -> dict[str, Any]:
        """Runs a blueprint on the photo.

        Args:
            values: by class and input, what inner nodes get in place of what they hold: weights and sizes.
            sockets: by name, the links and values that are wired to it. `GIVEN` says what there is to link to.
            shown: the outputs that are looked at.

        Returns:
            What each output is: a picture or a mask as uint8 [H, W, 3], anything else as text.
        """
        path = helpers.REPOSITORY / "subgraphs" / f"{name}EditPairs).json"
        [definition] = json.loads(path.read_text(encoding="utf-8"))["definitions"]["subgraphs"]
        file = WorkflowFile.read(path)
        assert file.ui is not None
        instance = file.ui["nodes"][0]["id"]
        prompt = file.to_api(self.info)
        assert len(prompt) == len(definition["nodes"])
        for address, value in values.items():
            class_type, field = address.split(".")
            [node] = [one for one in prompt.values() if one["class_type"] == class_type]
            assert field in node["inputs"], address
            node["inputs"][field] = value
        inner = {node["id"]: node for node in definition["nodes"]}
        links = {link["id"]: link for link in definition["links"]}
        names = {one["name"]: one["linkIds"] for one in definition["inputs"]}
        for socket, wired in sockets.items():
            for link in (links[number] for number in names[socket]):
                target = inner[link["target_id"]]["inputs"][link["target_slot"]]["name"]
                prompt[f"{instance}:{link['target_id']}"]["inputs"][target] = wired
        prompt |= given(self)
        for output in definition["outputs"]:
            if output["name"] in shown:
                link = links[output["linkIds"][0]]
                prompt |= _look(
                    output["name"], output["type"], [f"{instance}:{link['origin_id']}", link["origin_slot"]]
                )
        found = run_prompt(self.url, prompt)
        return {one: self._seen(found[f"look {one}"]) for one in shown}

    def _seen(self, output: dict[str, Any]) -> Any:
        if "images" not in output:
            return output["text"][0]
        [image] = output["images"]
        return full_graphs.Pair(self.url, {}).picture(image)


def given(bench: Bench) -> dict[str, Any]:
    """What a blueprint is wired to: a sample that knows its disc, its edits, and a service."""
    annotation = Annotation(path="disc.png", size=SIZE, regions=(region_of_mask(bench.disc, "disc"),))
    sample = {
        "image": "disc.png", "task": "alter", "region_index": 0, "seed": 3, "class_name": "", "instruction": INSTRUCTION,
        "annotation": json.dumps(to_json(annotation)),
    }  # fmt: skip
    addition = {**sample, "task": "add", "instruction": "Add a disc."}
    batch = {
        "first": {"class_type": "ImageBatch", "inputs": {"image1": ["same", 0], "image2": ["green", 0]}},
        "edits": {"class_type": "ImageBatch", "inputs": {"image1": ["first", 0], "image2": ["blue", 0]}},
    }
    size = (tiny_faces.LENGTH, tiny_faces.LENGTH)
    man = Annotation(path="people-before.png", size=size, regions=(region_of_mask(tiny_faces.square("left"), "man"),))
    people = {**sample, "image": "people-before.png", "annotation": json.dumps(to_json(man))}
    files = {"after": "people-after.png", "same": "disc.png", "green": "disc-green.png", "blue": "disc-blue.png"}
    return {
        "sample": {"class_type": "EditPairsLoadSample", "inputs": sample},
        "addition": {"class_type": "EditPairsLoadSample", "inputs": addition},
        "people": {"class_type": "EditPairsLoadSample", "inputs": people},
        "vlm": {"class_type": "EditPairsLoadVlmEndpoint", "inputs": {"profile": "default"}},
        **{name: {"class_type": "LoadImage", "inputs": {"image": file}} for name, file in files.items()},
        **batch,
    }


def _look(name: str, kind: str, link: Link) -> dict[str, Any]:
    if kind == "MASK":
        to_image = {f"image of {name}": {"class_type": "MaskToImage", "inputs": {"mask": link}}}
        return to_image | _look(name, "IMAGE", [f"image of {name}", 0])
    if kind == "IMAGE":
        return {f"look {name}": {"class_type": "PreviewImage", "inputs": {"images": link}}}
    return {f"look {name}": {"class_type": "PreviewAny", "inputs": {"source": link}}}


@pytest.fixture(scope="module")
def bench(comfy: Any) -> Bench:
    return Bench(comfy.url, comfy.models)


@pytest.fixture
def folder(bench: Bench, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder below ComfyUI's models, which is empty afterwards; other tests have no such weights."""
    path = bench.models / request.param
    path.mkdir(parents=True, exist_ok=True)
    yield path
    for file in path.rglob("*"):
        if file.is_file():
            file.unlink()


@pytest.fixture
def service(comfy: Any) -> Iterator[Endpoint]:
    """A profile whose model verifies all, likes the first edit that it judges, and dislikes the others."""
    deeds = {
        "source_caption": [Say(json.dumps(FOUND))],
        "Score the edit": [Say(json.dumps(GOOD)), Say(json.dumps(BAD))],
    }
    with Endpoint(deeds, Status(400, "no such question")) as running:
        comfy.profiles.write_text(f'[profiles.default]\nbase_url = "{running.url}"\nmodel = "tiny"\n')
        try:
            yield running
        finally:
            comfy.profiles.unlink()


def colour_sent(service: Endpoint, number: int, disc: np.ndarray) -> np.ndarray:
    """The disc's mean colour in the last picture of a question: the edit."""
    data = base64.b64decode(service.requests[number].picture_urls[-1].partition(",")[2])
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert shown.shape[:2] == disc.shape
    return shown[disc].mean(axis=0)


def test_pick_the_best_edit_takes_what_the_judge_likes(bench: Bench, service: Endpoint) -> None:
    sockets = {
        "source": ["sample", 1], "edited": ["edits", 0], "edit_mask": ["sample", 2], "region_mask": ["sample", 2],
        "vlm": ["vlm", 0], "sample": ["sample", 0],
    }  # fmt: skip
    seen = bench.run("Pick the Best Edit (", {}, sockets, ["image", "edit_mask", "scores"])
    assert len(service.requests) == 2, "what the pixels reject, the unchanged one, is not judged"
    liked = colour_sent(service, 0, bench.disc)
    assert np.abs(seen["image"][bench.disc].mean(axis=0) - liked).max() < 12
    assert np.array_equal(seen["image"][~bench.disc], bench.photo[~bench.disc])
    assert np.array_equal(seen["edit_mask"][..., 0] > 0, bench.disc)
    assert "verdict='keep'" in seen["scores"] and "'judge.overall': 5.0" in seen["scores"]


def test_judge_edit_pair_asks_its_three(bench: Bench, service: Endpoint) -> None:
    sockets = {
        "source": ["sample", 1], "edited": ["blue", 0], "region_mask": ["sample", 2], "vlm": ["vlm", 0],
        "sample": ["sample", 0],
    }  # fmt: skip
    scores = bench.run("Judge Edit Pair (", {}, sockets, ["scores"])["scores"]
    assert "verdict='keep'" in scores
    assert all(f"'{name}.keep': 1.0" in scores for name in ("pixel", "verify", "judge"))


@pytest.mark.parametrize("folder", ["grounding"], indirect=True)
def test_check_objects_rejects_an_addition_that_added_nothing(bench: Bench, folder: Path) -> None:
    tiny.grounding_dino(folder / "grounding-dino-base")
    # Random weights may see the thing in both or in neither, but it is one picture; people are looked for in one alone.
    values = {"EditPairsWitness.max_people_change": 255.0}
    sockets = {"sample": ["addition", 0], "source": ["addition", 1], "edited": ["same", 0]}
    scores = bench.run("Check Objects in an Edit (", values, sockets, ["scores"])["scores"]
    [(before, after)] = re.findall(r"'witness.before': ([\d.]+), 'witness.after': ([\d.]+)", scores)
    assert before == after
    wrong = "is not found after it was added" if float(after) == 0 else "is found before it was added"
    assert "verdict='reject'" in scores and f"disc {wrong}" in scores


def test_check_text_reads_both_pictures(bench: Bench) -> None:
    pytest.importorskip("rapidocr", reason="needs rapidocr: python install.py")
    values = {"EditPairsCheckText.old_words": "OPEN"}
    sockets = {"sample": ["sample", 0], "source": ["sample", 1], "edited": ["blue", 0]}
    scores = bench.run("Check Text in an Edit (", values, sockets, ["scores"])["scores"]
    assert "verdict='unscored'" in scores and "'text.old_before': 0.0, 'text.old_after': 0.0" in scores
    assert "text: 'OPEN' cannot be read in the photo before the edit" in scores


@pytest.mark.parametrize("folder", ["clip_vision"], indirect=True)
def test_check_consistency_measures_faces_and_subject(bench: Bench, folder: Path) -> None:
    tiny_faces.dinov2(folder / "dinov2-base")
    file = tiny_faces.landmarker(bench.models / "detection" / "mediapipe_face_fp32.safetensors")
    sockets = {"sample": ["people", 0], "source": ["people", 1], "edited": ["after", 0], "edit_mask": ["people", 2]}
    try:
        seen = bench.run("Check Consistency (", {"EditPairsConsistency.min_face": 0.99}, sockets, ["scores"])["scores"]
    finally:
        file.unlink()
    assert "'consistency.faces': 1.0" in seen and "'consistency.subject': 1.0" in seen
    assert "verdict='reject'" in seen and "consistency: the face is not the same" in seen


@pytest.mark.parametrize("folder", ["diffusers"], indirect=True)
def test_edit_with_diffusers_puts_back_what_was_used(bench: Bench, folder: Path) -> None:
    pytest.importorskip("diffusers", reason="needs diffusers: pip install diffusers")
    from tests.models import tiny_editors

    tiny_editors.inpaint(folder / "tiny-inpaint")
    values = {
        "EditPairsLoadDiffusersEditor.model": "tiny-inpaint", "EditPairsFitSize.size": "crop to multiple",
        "EditPairsDiffusersEdit.steps": 2,
    }  # fmt: skip
    # An inpaint pipeline refuses to go without its mask.
    sockets = {"image": ["sample", 1], "mask": ["sample", 2], "prompt": "a blue disc", "seed": 4}
    seen = bench.run("Edit with Diffusers (", values, sockets, ["image", "edit_mask"])
    painted(bench, seen)


def test_paint_inside_a_mask_paints_there_alone(bench: Bench) -> None:
    for file, make in (
        ("diffusion_models/flux1-fill-dev.safetensors", tiny_flux.fill),
        ("vae/ae.pt", tiny_flux.vae),
        ("text_encoders/clip_l.pt", tiny_flux.clip_l),
    ):
        make(bench.models / file)
    values = {
        "VAELoader.vae_name": "ae.pt", "DualCLIPLoader.clip_name1": "clip_l.pt", "DualCLIPLoader.clip_name2": "clip_l.pt",
        "DualCLIPLoader.type": "sd3", "KSampler.steps": 2, "EditPairsCropAroundMask.size": full_graphs.CROP,
    }  # fmt: skip
    sockets = {"image": ["sample", 1], "mask": ["sample", 2], "text": "a blue disc", "seed": 4}
    painted(bench, bench.run("Paint Inside a Mask (FLUX.1 Fill, ", values, sockets, ["image", "edit_mask"]))


def test_edit_inside_a_mask_edits_there_alone(bench: Bench) -> None:
    tiny_klein.klein(bench.models / "diffusion_models" / tiny_klein.MODEL)
    tiny_klein.vae(bench.models / "vae" / tiny_klein.VAE)
    tiny_flux.clip_l(bench.models / "text_encoders" / tiny_klein.ENCODER)
    values = {
        "VAELoader.vae_name": tiny_klein.VAE, "CLIPLoader.clip_name": tiny_klein.ENCODER, "CLIPLoader.type": "sd3",
        "Flux2Scheduler.steps": 2, "EditPairsCropAroundMask.size": full_graphs.CROP,
    }  # fmt: skip
    sockets = {"image": ["sample", 1], "mask": ["sample", 2], "prompt": INSTRUCTION, "seed": 4}
    seen = bench.run("Edit Inside a Mask (FLUX.2 klein, ", values, sockets, ["image", "edit_mask"])
    painted(bench, seen)


def painted(bench: Bench, seen: dict[str, Any]) -> None:
    """The photo, bit for bit, outside the edit mask that comes out, and another picture where the disc was."""
    inside = seen["edit_mask"][..., 0] > 0
    assert inside[bench.disc].all() and not inside.all()
    assert seen["image"].shape == bench.photo.shape
    assert np.array_equal(seen["image"][~inside], bench.photo[~inside])
    assert (seen["image"][bench.disc] != bench.photo[bench.disc]).any(axis=-1).mean() > 0.5
