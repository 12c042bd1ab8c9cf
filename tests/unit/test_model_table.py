"""The model table against what it drives: the graphs, pyproject.toml and the README; and what it answers."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from comfy_nodes.core.graph_names import ENDINGS
from comfy_nodes.core.tasks import WORK
from comfy_nodes.core.weights import table as model_table
from comfy_nodes.core.weights.licences import AGPL, APACHE, FLUX_DEV, MIT, OPENRAIL, QWEN_RESEARCH, SAM
from comfy_nodes.core.weights.records import Part, Route, Weights
from comfy_nodes.core.weights.routes import ROUTES
from comfy_nodes.core.weights.rows import TABLE
from comfy_nodes.core.weights.table import (
    Lacking,
    fetch_command,
    find,
    loaded_by,
    missing_model,
    permitted,
    routes,
    size_text,
    wanted,
)
from driver.errors import RunError
from driver.graph.api import SOURCE_CLASS
from driver.graph.checks import check

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
BLUEPRINTS = sorted((ROOT / "subgraphs").glob("*.json"))
MARKS = "<!-- models -->\n", "<!-- /models -->\n"
NEVER = 4
"""ComfyUI's mode of a bypassed node; 2 is a muted one."""


def active_nodes(ui: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Those of a UI graph and its subgraphs that run."""
    for graph in (ui, *ui.get("definitions", {}).get("subgraphs", ())):
        yield from (node for node in graph["nodes"] if node.get("mode") not in (2, NEVER))


def named_by(path: Path) -> set[str]:
    """What looks like weights in a workflow's widgets."""
    values = [
        value
        for node in active_nodes(json.loads(path.read_text(encoding="utf-8")))
        if "Note" not in node["type"]
        for value in (node.get("widgets_values") or ())
    ]
    return {one for one in values if isinstance(one, str) and (PurePosixPath(one).suffix in ENDINGS or find(one))}


class TestTheRest:
    @pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
    def test_the_routes_say_what_the_graphs_name(self, path: Path) -> None:
        named = named_by(path)
        unknown = sorted(one for one in named if find(one) is None)
        assert not unknown, f"{path.name} names weights that the model table lacks"
        told = {one.name for route in ROUTES if route.workflow == path.stem for one in route.weights}
        assert named == told, f"ROUTES of {path.stem}"

    @pytest.mark.parametrize("path", [*WORKFLOWS, *BLUEPRINTS], ids=lambda path: path.stem)
    def test_the_page_offers_the_file_of_the_pinned_revision(self, path: Path) -> None:
        """ComfyUI's page offers to download what a node's properties say; the older graphs leave that to install.py."""
        for node in active_nodes(json.loads(path.read_text(encoding="utf-8"))):
            offered = node["properties"].get("models", [])
            named = [find(one) for one in node.get("widgets_values") or () if isinstance(one, str)]
            files = [one for one in named if one and not one.hub_format]
            if offered or path.stem.endswith(("-open", "-sam3", "-qwen", "-longcat")):
                assert offered == [
                    {"name": one.name, "url": one.address(one.parts[0]), "directory": one.folder} for one in files
                ]

    def test_every_route_has_its_file_and_every_task_is_one(self) -> None:
        assert {one.workflow for one in ROUTES} <= {path.stem for path in WORKFLOWS}
        assert {one.task for one in ROUTES} <= WORK.keys()
        assert len({one.workflow for one in ROUTES}) == len(ROUTES)

    def test_pyproject_has_the_same_models(self) -> None:
        comfy = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["comfy"]
        assert comfy["Models"] == model_table.comfy_models(), "run python -m comfy_nodes.core.weights.table --toml"

    def test_the_readme_has_the_same_table(self) -> None:
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        found = re.search(re.escape(MARKS[0]) + "(.*?)" + re.escape(MARKS[1]), readme, re.DOTALL)
        assert found, f"README.md has no {MARKS[0].strip()} ... {MARKS[1].strip()}"
        assert found[1] == model_table.markdown(), "run python -m comfy_nodes.core.weights.table"


class TestRows:
    def test_names_are_unique_and_facts_have_their_form(self) -> None:
        assert len({one.name for one in TABLE}) == len(TABLE)
        for one in TABLE:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+", one.repository)
            assert one.release or one.revision is None or re.fullmatch(r"[0-9a-f]{40}", one.revision)
            assert one.hub_format or len(one.parts) == 1
            for part in one.parts:
                assert part.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", part.sha256)
            assert one.facts, f"{one.name}: where was it read?"

    def test_what_is_not_known_is_said(self) -> None:
        for one in TABLE:
            for fact in ("revision", "size", "sha256"):
                said = re.search(rf"\b(no|neither)\b.*\b{fact}", one.facts) is not None
                assert said == (fact in one.missing), f"{one.name}, {fact}: {one.facts}"

    def test_sizes(self) -> None:
        assert (size_text(None), size_text(23_804_922_408), size_text(129_063_232)) == (
            "size unknown",
            "23.8 GB",
            "129 MB",
        )
        assert find("sam2.1-hiera-large").size == 897_897_416
        assert find("Qwen2.5-VL-7B-Instruct").size == 16_584_414_560 and find("yolov8x-worldv2.pt").size is None

    def test_where_they_lie_and_come_from(self) -> None:
        fill, sam, yolo = (
            find(name) for name in ("flux1-fill-dev.safetensors", "sam2.1-hiera-large", "yolov8x-worldv2.pt")
        )
        assert fill.target(fill.parts[0]) == "diffusion_models/flux1-fill-dev.safetensors"
        assert sam.target(Part("model.safetensors")) == "sam2/sam2.1-hiera-large/model.safetensors"
        assert fill.address(fill.parts[0], "http://mirror").startswith(
            "http://mirror/Comfy-Org/flux1-dev/resolve/0f6b956e"
        )
        assert "/ultralytics/assets/releases/download/v" in yolo.address(yolo.parts[0], "http://mirror")
        unpinned = find("flux1-redux-dev.safetensors")
        assert "/resolve/main/" in unpinned.address(unpinned.parts[0]) and "revision" in unpinned.missing


class TestLookups:
    @pytest.mark.parametrize("choice", ["ae.safetensors", "flux/ae.safetensors", "flux\\ae.safetensors"])
    def test_in_whatever_subfolder(self, choice: str) -> None:
        assert find(choice).name == "ae.safetensors"

    def test_by_repository(self) -> None:
        assert find("black-forest-labs/FLUX.1-Kontext-dev").licence is FLUX_DEV
        assert find("somebody/else.safetensors") is None

    def test_the_default_may_train_where_a_model_graph_can(self) -> None:
        editors = ["instruct-open", "instruct-qwen", "instruct-longcat"]
        found = ["remove-open", *editors, "remove", "instruct", "remove-classical"]
        assert [one.workflow for one in routes("remove")] == found
        assert routes("instruct")[0].workflow == "instruct-open"
        assert routes("style")[0].workflow == "style-open"
        assert [one.workflow for one in routes("visual")] == ["visual-open", "visual", "visual-classical"]
        assert routes("nothing") == ()

    def test_what_a_policy_leaves(self) -> None:
        assert [one.workflow for one in permitted("visual", "train")] == ["visual-open", "visual-classical"]
        assert "replace" not in [one.workflow for one in permitted("replace", "train")]
        assert permitted("visual", "any") == routes("visual")

    def test_what_is_asked_for(self) -> None:
        def names(*words: str) -> set[str]:
            return {one.name for one in wanted(words)}

        assert names("all") == {one.name for one in TABLE}
        assert "flux1-fill-dev.safetensors" in names("remove") and "qwen_image_vae.safetensors" not in names("remove")
        assert names("instruct-qwen", "remove") > names("remove")
        assert names("ae.safetensors") == {"ae.safetensors"}
        assert names("remove-classical") == set()
        assert names("open") > names("remove-open") > {"flux-2-klein-4b-fp8.safetensors"}
        assert all(find(name).licence.trains == "yes" for name in names("open"))
        assert not names("open") & {"flux1-fill-dev.safetensors", "yolov8x-worldv2.pt"}
        assert len(wanted(["remove", "replace"])) == len(wanted(["remove"]))
        with pytest.raises(model_table.UnknownModels, match=r"sideways: no workflow.*instruct-qwen"):
            wanted(["sideways"])

    def test_a_missing_file_is_explained(self) -> None:
        line = missing_model("sub/flux1-redux-dev.safetensors")
        for word in ("129 MB", "FLUX.1 [dev]", "Comfy-Org/Flux1-Redux-Dev", "models/style_models"):
            assert word in line
        assert missing_model("mine.safetensors") == ""

    def test_one_command_for_all_that_is_missing(self) -> None:
        fill = ["flux1-fill-dev.safetensors", "sub/ae.safetensors", "mine.safetensors"]
        assert fetch_command([Lacking(fill, "replace", fill)]) == "python install.py --models replace"
        redux = ["flux1-redux-dev.safetensors"]
        assert fetch_command([Lacking(redux, "replace", redux)]) == "python install.py --models visual"
        strange = ["ae.safetensors", "qwen_image_vae.safetensors"]
        assert fetch_command([Lacking(strange, "", strange)]) == (
            "python install.py --models ae.safetensors,qwen_image_vae.safetensors"
        )
        assert fetch_command([Lacking(["mine.safetensors"], "replace", [])]) == ""

    @pytest.mark.parametrize("route", [one for one in ROUTES if one.weights], ids=lambda one: one.workflow)
    def test_the_command_is_of_the_graph_that_lacks_them(self, route: Route) -> None:
        """Also where what is missing stands in other graphs of the task, too."""
        named = [one.name for one in route.weights]
        for missing in (named, named[:1], named[-1:]):
            command = fetch_command([Lacking(missing, route.task, named)])
            [found] = [one for one in ROUTES if command == f"python install.py --models {one.workflow}"]
            assert set(found.weights) == set(route.weights)

    @pytest.mark.parametrize("workflow", ["remove-open", "remove", "instruct-qwen"])
    def test_a_server_without_the_weights_ends_the_run_with_that_command(self, workflow: str) -> None:
        """Also where it has those that other graphs of the task take."""
        [route] = [one for one in ROUTES if one.workflow == workflow]
        loader = {"input": {"required": {"model": [["sam2.1-hiera-large"], {}]}}, "output": []}
        api = {"0": {"class_type": SOURCE_CLASS, "inputs": {"task": route.task}}}
        for number, one in enumerate(route.weights, 1):
            kind = "EditPairsLoadSam2" if one.hub_format else "UNETLoader"
            api[str(number)] = {"class_type": kind, "inputs": {"model": one.name}}
        source = {"input": {"required": {}}, "output": []}
        object_info = {SOURCE_CLASS: source, "EditPairsLoadSam2": loader, "UNETLoader": loader}
        with pytest.raises(RunError, match=rf"; python install\.py --models {workflow} fetches what the model table"):
            check(api, object_info)

    def test_graphs_of_one_run_have_one_command(self) -> None:
        """Each graph that lacks some is in it, and no other."""
        klein, sam, fetched = "flux-2-klein-4b-fp8.safetensors", "sam2.1-hiera-large", "qwen_3_4b.safetensors"
        kinds = {klein: "UNETLoader", sam: "EditPairsLoadSam2", fetched: "CLIPLoader"}

        def graph(task: str, *names: str) -> dict[str, Any]:
            source = {"0": {"class_type": SOURCE_CLASS, "inputs": {"task": task}}}
            return source | {name: {"class_type": kinds[name], "inputs": {"model": name}} for name in names}

        def loader(name: str) -> dict[str, Any]:
            return {"input": {"required": {"model": [[name], {}]}}, "output": []}

        object_info = {SOURCE_CLASS: {"input": {"required": {}}, "output": []}, "CLIPLoader": loader(fetched)}
        object_info |= {"UNETLoader": loader("else"), "EditPairsLoadSam2": loader("else")}
        extract, style, done = graph("extract", sam), graph("style", klein, fetched), graph("style", fetched)
        with pytest.raises(
            RunError, match=r"^[^;]*; python install\.py --models extract-open,style-open fetches what"
        ) as told:
            check(extract, object_info, (extract, style, done))
        assert klein not in str(told.value)
        check(done, object_info, (extract, style, done))


class TestLicences:
    def test_policies(self) -> None:
        assert [FLUX_DEV.forbids(one) for one in ("any", "commercial", "train")] == [False, True, True]
        for licence in (APACHE, OPENRAIL, AGPL, MIT, SAM):
            assert not licence.forbids("commercial") and not licence.forbids("train")
        assert QWEN_RESEARCH.forbids("commercial") and QWEN_RESEARCH.forbids("train")

    def test_code_weights_and_outputs_are_told_apart(self) -> None:
        """The AGPL of ultralytics asks for source, of its weights too, and nothing of what they find."""
        yolo, dino, klein = (
            find(name) for name in ("yolov8x-worldv2.pt", "grounding-dino-tiny", "flux-2-klein-4b-fp8.safetensors")
        )
        assert [loaded_by(one).licence for one in (yolo, dino, klein)] == ["AGPL-3.0", "Apache-2.0", "GPL-3.0"]
        assert "13" in loaded_by(yolo).clause and "source" in yolo.licence.weights
        assert "only where they are themselves a copy" in yolo.licence.outputs
        assert "no use for arms" in SAM.weights and "nothing is asked of them" in SAM.outputs

    def test_flux_rows_carry_its_clause(self) -> None:
        flux = [one for one in TABLE if one.name.startswith("flux1-")]
        assert len(flux) == 4 and all(one.licence is FLUX_DEV for one in flux)
        assert "2(b)" in FLUX_DEV.weights and "2(d)" in FLUX_DEV.outputs and "LICENSE-FLUX1-dev" in FLUX_DEV.source


def test_a_row_of_a_folder_has_parts_in_it() -> None:
    folder = Weights(
        "x", "LLM", "judge", APACHE, "a/b", (Part("config.json"), Part("model.safetensors", 5)), hub_format=True
    )
    assert folder.size == 5 and folder.missing == ("revision", "sha256")
