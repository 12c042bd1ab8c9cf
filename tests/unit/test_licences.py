"""What the driver makes of the weights that a graph names: rows' models, refusals by policy, loud lines."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_nodes.core.ingredients import Ingredients
from driver.errors import RunError
from driver.graph.api import Api
from driver.graph.licences import SERVICE, check_licences, check_services, models_of, named_in, rests_on


def graph(task: str = "", **nodes: dict[str, Any]) -> Api:
    """Nodes by class, beside a source of this task."""
    named = {"EditPairsLoadSample": {"image": "a.png", "instruction": "Remove flux1-fill-dev", "task": task}, **nodes}
    return {str(number): {"class_type": name, "inputs": inputs} for number, (name, inputs) in enumerate(named.items())}


BEHIND = Ingredients(version="1", code="", prompts={})


def services(**said: dict[str, str]) -> Ingredients:
    """Profiles by name, with what is said of their terms."""
    return BEHIND.model_copy(update={"profiles": {name: {"model": f"{name}-8b"} for name in said}, "terms": said})


FREE = {"licence": "Apache-2.0", "outputs_may_train": "yes"}
BOUND = {"licence": "Some Terms of Use", "outputs_may_train": "no"}

FILL = graph(
    task="replace",
    UNETLoader={"unet_name": "flux/flux1-fill-dev.safetensors", "weight_dtype": "fp8_e4m3fn"},
    DualCLIPLoader={"clip_name1": "clip_l.safetensors", "clip_name2": "t5xxl_fp16.safetensors", "type": "flux"},
    VAELoader={"vae_name": "ae.safetensors"},
    ControlNetLoader={"control_net_name": ["7", 0]},
    EditPairsSavePair={"sample": ["0", 0], "edited": ["1", 0]},
)
SDXL = graph(CheckpointLoaderSimple={"ckpt_name": "sd_xl_base_1.0.safetensors"})
MINE = graph(CheckpointLoaderSimple={"ckpt_name": "mine/dreams.safetensors"})
FOLDERS = graph(
    EditPairsLoadSam2={"model": "sam2.1-hiera-large"},
    EditPairsLoadRegionScorer={"clip": "clip-vit-large-patch14", "head": "none"},
    EditPairsLoadVlmLocal={"model": "my-own-vlm", "dtype": "auto"},
)


class TestNamed:
    def test_files_and_folders_each_once(self) -> None:
        twice = {**FILL, "9": {"class_type": "VAELoader", "inputs": {"vae_name": "ae.safetensors"}}}
        assert [one.choice for one in named_in(twice)] == [
            "flux/flux1-fill-dev.safetensors", "clip_l.safetensors", "t5xxl_fp16.safetensors", "ae.safetensors",
        ]  # fmt: skip
        assert [one.choice for one in named_in(FOLDERS)] == [
            "sam2.1-hiera-large",
            "clip-vit-large-patch14",
            "my-own-vlm",
        ]

    def test_rows_get_role_licence_and_revision(self) -> None:
        fill, *_ = models_of(FILL, BEHIND)
        assert (fill.role, fill.name) == ("diffusion model", "flux/flux1-fill-dev.safetensors")
        assert fill.licence == "FLUX.1 [dev] Non-Commercial License v1.1.1" and fill.revision.startswith("0f6b956e")
        [mine] = models_of(MINE, BEHIND)
        assert (mine.role, mine.name, mine.licence, mine.revision) == (
            "ckpt_name",
            "mine/dreams.safetensors",
            None,
            None,
        )

    def test_a_pipeline_of_the_hub_with_the_nodes_own_revision(self) -> None:
        node = {"model": "black-forest-labs/FLUX.1-Kontext-dev", "revision": "abc"}
        [one] = models_of(graph(EditPairsLoadDiffusersEditor=node), BEHIND)
        assert one.revision == "abc" and one.licence.startswith("FLUX.1 [dev]")


class TestPolicy:
    def test_any_is_loud_where_outputs_must_not_train(self) -> None:
        [line] = check_licences(FILL, "any")
        for word in (
            "LICENCE: this run's edits are bound by flux/flux1-fill-dev.safetensors",
            "2(d)",
            "--workflow replace-open",
            "replace-classical",
        ):
            assert word in line
        assert check_licences(SDXL, "any") == check_licences(MINE, "any") == ()

    @pytest.mark.parametrize(("policy", "clause"), [("commercial", "2(b)"), ("train", "2(d)")])
    def test_flux_is_refused_with_what_to_take_instead(self, policy: Any, clause: str) -> None:
        with pytest.raises(RunError) as refusal:
            check_licences(FILL, policy)
        line = str(refusal.value)
        for word in (f"--licence-policy {policy}: flux/flux1-fill-dev.safetensors (FLUX.1 [dev] Non-Commercial License", clause,
                     "free of that: --workflow replace-open or ", "--workflow replace-classical"):  # fmt: skip
            assert word in line
        assert "\n" not in line and "clip_l" not in line and refusal.value.status == 2

    @pytest.mark.parametrize("policy", ["commercial", "train"])
    def test_what_the_table_does_not_know_is_refused(self, policy: Any) -> None:
        for api, name in ((MINE, "mine/dreams.safetensors"), (FOLDERS, "my-own-vlm")):
            with pytest.raises(RunError, match=f"{name} .not in the model table, its licence is unknown"):
                check_licences(api, policy)

    @pytest.mark.parametrize("policy", ["commercial", "train"])
    def test_allowed_graphs_go_through_in_silence(self, policy: Any) -> None:
        assert check_licences(SDXL, policy) == check_licences(graph(), policy) == ()

    def test_many_are_not_all_listed(self) -> None:
        api = {str(n): {"class_type": "LoraLoader", "inputs": {"lora_name": f"{n}.safetensors"}} for n in range(5)}
        with pytest.raises(RunError, match=r"0\.safetensors, 1\.safetensors, 2\.safetensors and 2 more \(not in"):
            check_licences(api, "train")


class TestServices:
    def test_what_is_said_lets_it_pass(self) -> None:
        assert check_services(services(judge=FREE), [], "train") == ()
        assert check_services(BEHIND, [], "train") == check_services(services(judge=FREE), [], "any") == ()

    @pytest.mark.parametrize("said", [{}, {"licence": "Apache-2.0"}])
    def test_what_nobody_said_is_refused_with_what_to_write(self, said: dict[str, str]) -> None:
        with pytest.raises(RunError) as refusal:
            check_services(services(free=FREE, judge=said), [], "train")
        line = str(refusal.value)
        for word in ("of VLM profile judge nobody has said", 'outputs_may_train = "yes" or "no"', "[profiles.judge]"):
            assert word in line
        assert "\n" not in line and "free" not in line and refusal.value.status == 2

    def test_what_must_not_train_is_refused_and_with_any_it_is_loud(self) -> None:
        with pytest.raises(RunError, match=r"VLM profile gpt \(Some Terms of Use\): its outputs_may_train is no"):
            check_services(services(gpt=BOUND), [], "train")
        [line] = check_services(services(gpt=BOUND), [], "any")
        assert line.startswith("LICENCE: what VLM profile gpt (Some Terms of Use) answers must not train")

    def test_paid_nodes_are_services_of_unknown_terms(self) -> None:
        with pytest.raises(RunError, match=r"FluxProNode #3: the terms of the service behind it are not known"):
            check_services(BEHIND, ["FluxProNode #3"], "train")
        assert check_services(BEHIND, ["FluxProNode #3"], "any") == ()
        [line] = check_services(BEHIND, ["FluxProNode #3"], "commercial")
        assert "read the terms of the services" in line

    def test_rows_name_what_answers_and_its_licence(self) -> None:
        [one] = models_of(graph(), services(judge=FREE))
        assert (one.role, one.name, one.licence) == (SERVICE, "judge-8b", "Apache-2.0 (outputs may train: yes)")
        assert models_of(graph(), BEHIND.model_copy(update={"profiles": {"gone": {}}})) == ()

    def test_what_a_graph_rests_on(self) -> None:
        yolo = graph(EditPairsLoadYoloWorld={"model": "yolov8x-worldv2.pt", "text_encoder": "clip-vit-base-patch32"})
        assert rests_on(yolo, services(judge={})) == [
            "AGPL-3.0: yolov8x-worldv2.pt (loaded by ultralytics, AGPL-3.0)",
            "MIT: clip-vit-base-patch32",
            "licence not said: VLM profile judge",
        ]
        assert rests_on(MINE, BEHIND) == ["unknown: mine/dreams.safetensors"] and rests_on(graph(), BEHIND) == []
