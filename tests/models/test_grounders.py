"""Grounding DINO and OWLv2: ours against transformers' own post-processing on the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("comfy.model_management", reason="needs ComfyUI's source: COMFYUI_PATH, or python install.py")

from comfy import model_management
from transformers import GroundingDinoProcessor, Owlv2Processor

from comfy_nodes.models.checkpoints import CheckpointError
from comfy_nodes.models.detections import BoxRules, Candidates, Grounder
from comfy_nodes.models.grounders import GroundingDino, Owlv2, load_grounder
from tests.models import tiny

NAMES = ["cat", "a red bus", "dog"]
EVERYTHING = BoxRules(score=0.0, overlap=1.0, limit=1000)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def dino_folder(weights: Path) -> Path:
    return tiny.grounding_dino(weights / "dino-tiny")


@pytest.fixture(scope="module")
def owl_folder(weights: Path) -> Path:
    return tiny.owlv2(weights / "owl-tiny")


@pytest.fixture(scope="module")
def dino(dino_folder: Path) -> GroundingDino:
    return load_grounder(dino_folder)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def owl(owl_folder: Path) -> Owlv2:
    return load_grounder(owl_folder)  # type: ignore[return-value]


def only(candidates: Any) -> Candidates:
    (found,) = candidates
    return found


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (200, 200)])
def test_grounding_dino_equals_transformers(dino: GroundingDino, dino_folder: Path, size: tuple[int, int]) -> None:
    """Its boxes exactly; its scores too, taken over the names' tokens: transformers counts the full stops with them."""
    processor, image = GroundingDinoProcessor.from_pretrained(dino_folder), photo(*size)
    inputs = processor(images=image, text=[NAMES], return_tensors="pt")
    with dino._managed.on_device() as model:
        output = model(**inputs)
    names = ~torch.isin(
        inputs.input_ids[0], torch.tensor(processor.tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", "."]))
    )
    output.logits[:, :, : len(names)][:, :, ~names] = float("-inf")
    theirs = processor.post_process_grounded_object_detection(output, inputs.input_ids, 0.0, 0.25, [size])[0]
    ours = only(dino.candidates([image], NAMES, 0.0))
    assert torch.allclose(ours.boxes, theirs["boxes"], atol=1e-3)
    assert torch.allclose(ours.scores, theirs["scores"], atol=1e-6)
    tokens = output.logits[0].sigmoid()
    assert len(ours.labels) == 30 and set(ours.labels.tolist()) <= {0, 1, 2}
    for label, place in ((0, slice(1, 2)), (2, slice(7, 8))):
        mine = ours.labels == label
        assert torch.allclose(tokens[mine, place].max(1).values, ours.scores[mine], atol=1e-6)


def test_grounding_dino_reads_the_prompt_that_transformers_makes(dino: GroundingDino, dino_folder: Path) -> None:
    processor = GroundingDinoProcessor.from_pretrained(dino_folder)
    ((tokens, places),) = dino._prompts(["Cat", "a Red bus", "dog"])
    assert tokens == processor(text=[["Cat", "a Red bus", "dog"]]).input_ids[0]
    assert [tokens[place][0] for _, place in places] == processor.tokenizer.convert_tokens_to_ids(["cat", "a", "dog"])


def test_grounding_dino_splits_long_vocabularies(dino: GroundingDino) -> None:
    names = ["pot, black", "...", *(f"dog {number}" for number in range(998)), "x" * 500, "a.b?c"]
    prompts = list(dino._prompts(names))
    assert [label for _, places in prompts for label, _ in places] == [n for n in range(len(names)) if n != 1]
    assert max(len(tokens) for tokens, _ in prompts) <= 64
    found = dino.detect([photo(40, 40)], names[:60], EVERYTHING)[0]
    assert found and {one.label for one in found} <= set(names[:60])
    with pytest.raises(ValueError, match="letter or digit"):
        list(dino._prompts(["...", "?"]))


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (64, 64)])
def test_owlv2_equals_transformers(owl: Owlv2, owl_folder: Path, size: tuple[int, int]) -> None:
    processor, image = Owlv2Processor.from_pretrained(owl_folder), photo(*size)
    inputs = processor(text=[[f"a photo of a {name}" for name in NAMES]], images=image, return_tensors="pt")
    with owl._managed.on_device() as model:
        output = model(**inputs)
    theirs = processor.post_process_grounded_object_detection(output, -1.0, [size])[0]
    ours = only(owl.candidates([image], NAMES, 0.0))
    assert torch.allclose(ours.boxes, theirs["boxes"], atol=1e-3)
    assert torch.allclose(ours.scores, theirs["scores"], atol=1e-7)
    told_apart = ours.scores > 0  # a tiny random model's scores vanish now and then
    assert torch.equal(ours.labels[told_apart], theirs["labels"][told_apart]) and told_apart.sum() > 10


def test_owlv2_embeds_a_vocabulary_once(owl: Owlv2) -> None:
    calls = []
    hook = owl._managed._module.owlv2.text_model.register_forward_hook(lambda *_: calls.append(1))
    first = owl.detect([photo(40, 40)] * 3, ["some", "other", "names"], EVERYTHING)
    assert owl.detect([photo(40, 40)] * 3, ["some", "other", "names"], EVERYTHING) == first
    hook.remove()
    assert len(calls) == 1


@pytest.mark.parametrize("kind", ["dino", "owl"])
def test_many_photos_one_after_another(kind: str, dino: GroundingDino, owl: Owlv2) -> None:
    grounder: Grounder = dino if kind == "dino" else owl
    photos = [photo(40, 60), photo(60, 40), photo(7, 90)]
    together = grounder.detect(photos, NAMES, EVERYTHING)
    assert together == [grounder.detect([one], NAMES, EVERYTHING)[0] for one in photos]
    assert len(together) == 3
    assert grounder.patcher in model_management.loaded_models()
    model_management.unload_all_models()
    assert grounder.patcher.loaded_size() == 0
    with pytest.raises(ValueError, match="vocabulary is empty"):
        grounder.detect(photos, [])


def test_refuses_folders_that_are_no_grounders(clip_folder: Path, owl_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^clip-tiny: is a clip_text_model, not one of grounding-dino, owlv2$"):
        load_grounder(clip_folder)
    with pytest.raises(CheckpointError, match=r"^owl-tiny: its config.json says owlv2, not grounding-dino$"):
        GroundingDino(owl_folder)
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"its config.json cannot be read"):
        load_grounder(tmp_path)
