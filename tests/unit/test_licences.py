"""What the driver makes of the weights that a graph names: rows' models, refusals by policy, loud lines."""

from __future__ import annotations

from typing import Any

import pytest

from comfy_nodes.core.graph_names import ENDPOINT_LOADER
from driver.errors import RunError
from driver.graph.api import Api
from driver.graph.licences import check_licences, models_of, named_in


def graph(task: str = "", **nodes: dict[str, Any]) -> Api:
    """Nodes by class, beside a source of this task."""
    named = {"EditPairsLoadSample": {"image": "a.png", "instruction": "Remove flux1-fill-dev", "task": task}, **nodes}
    return {str(number): {"class_type": name, "inputs": inputs} for number, (name, inputs) in enumerate(named.items())}


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
        fill, *_ = models_of(FILL, {})
        assert (fill.role, fill.name) == ("diffusion model", "flux/flux1-fill-dev.safetensors")
        assert fill.licence == "FLUX.1 [dev] Non-Commercial License v1.1.1" and fill.revision.startswith("0f6b956e")
        [mine] = models_of(MINE, {})
        assert (mine.role, mine.name, mine.licence, mine.revision) == (
            "ckpt_name",
            "mine/dreams.safetensors",
            None,
            None,
        )

    def test_a_pipeline_of_the_hub_with_the_nodes_own_revision(self) -> None:
        node = {"model": "black-forest-labs/FLUX.1-Kontext-dev", "revision": "abc"}
        [one] = models_of(graph(EditPairsLoadDiffusersEditor=node), {})
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

    def test_models_behind_services_are_not_covered_and_that_is_said(self) -> None:
        [line] = check_licences(graph(**{ENDPOINT_LOADER: {"profile": "judge"}}), "train")
        assert "services behind your profiles" in line

    def test_many_are_not_all_listed(self) -> None:
        api = {str(n): {"class_type": "LoraLoader", "inputs": {"lora_name": f"{n}.safetensors"}} for n in range(5)}
        with pytest.raises(RunError, match=r"0\.safetensors, 1\.safetensors, 2\.safetensors and 2 more \(not in"):
            check_licences(api, "train")
