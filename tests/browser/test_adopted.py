"""ComfyUI's own editing templates, adopted: what the real page makes of the file, and what the driver makes of it."""

from __future__ import annotations

import copy
import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from driver.artists.adopt import adopt, read_answers
from driver.errors import RunError
from driver.graph.api import EDIT_SINK, SOURCE_CLASS, ancestors
from driver.graph.bound import BatchGraph
from driver.graph.file import WorkflowFile
from driver.graph.schemas import inputs_of

if TYPE_CHECKING:
    from conftest import Frontend

TEMPLATES = {
    "flux_kontext_dev_basic": "",
    "hidream_e1_full": "",
    "image_omnigen2_image_edit": "",
    "image_qwen_image_edit": "",
    "02_qwen_Image_edit_subgraphed": "",
    "image_qwen_image_edit_2509_relight": "",
    "image_qwen_image_edit_2511": "",
    "image_flux2_klein_image_edit_4b_base": "",
    "image_longcat_image_edit": "",
    "flux_fill_inpaint_example": "",
    "flux_depth_lora_example": "",
    "flux_redux_model_example": "source=#40",
}
"""Image-editing templates, and what is to be answered about each. Subgraphs, one in another, bypassed nodes, Reroutes,
switches, a mask, second pictures and words that come through other nodes are among them."""

REFUSED = {
    "image_to_video_wan": "makes video",
    "image_qwen_image": "loads no photo",
}

NETWORK = ("Failed to load resource", "Content Security Policy")
"""The page looks models of a template up, and pictures that only its author had."""


def _template(name: str) -> WorkflowFile:
    return WorkflowFile.read(Path(str(files("comfyui_workflow_templates_json"))) / "templates" / f"{name}.json")


@pytest.fixture(scope="module")
def info(started_frontend: Frontend) -> dict[str, Any]:
    return dict(started_frontend.get("/object_info"))


def _with_its_models(api: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    """The node list as if every file that the graph names lay in its folder."""
    there = copy.deepcopy(info)
    for node in api.values():
        for name, spec in inputs_of(there[node["class_type"]]):
            value = node["inputs"].get(name)
            options = spec[0] if isinstance(spec[0], list) else (spec[1] if len(spec) > 1 else {}).get("options")
            if isinstance(value, str) and value.endswith(".safetensors") and isinstance(options, list):
                options.append(value)
    return there


@pytest.mark.parametrize("name", TEMPLATES)
def test_an_adopted_template(frontend: Frontend, name: str, info: dict[str, Any]) -> None:
    adopted = adopt(_template(name), info, read_answers(TEMPLATES[name]), None)
    file = WorkflowFile(Path(f"{name}.json"), "0" * 64, adopted.ui, None)

    frontend.open(adopted.ui, name)
    unknown = "app.graph.nodes.map(({ type }) => type).filter((type) => !(type in LiteGraph.registered_node_types))"
    assert frontend.page.evaluate(unknown) == []
    assert [error for error in frontend.errors if not any(word in error for word in NETWORK)] == []

    api = file.to_api(info)
    page = frontend.prompt()
    (sink,) = [node_id for node_id, node in api.items() if node["class_type"] == EDIT_SINK]
    needed = ancestors(api, sink)
    assert {one: page[one]["inputs"] for one in ancestors(page, sink)} == {one: api[one]["inputs"] for one in needed}

    bound = BatchGraph.bind(api, _with_its_models(api, info))
    assert any([bound.source, 5] in node["inputs"].values() for node in bound.api.values()), "nothing takes the words"
    assert not [seed for seed in bound.seeds if "seed" in seed], "a seed is free"
    assert not [one for one in bound.left_out if SOURCE_CLASS in one]


@pytest.mark.parametrize(("name", "why"), REFUSED.items())
def test_what_edits_no_photo_is_refused(name: str, why: str, info: dict[str, Any]) -> None:
    with pytest.raises(RunError, match=why):
        adopt(_template(name), info, {}, None)


def test_the_pictures_on_the_canvas_do_not_overlap(frontend: Frontend, info: dict[str, Any]) -> None:
    """What is added lies left and right of what the artist had."""
    adopted = adopt(_template("flux_kontext_dev_basic"), info, {}, None)
    before = {node["id"] for node in json.loads(json.dumps(_template("flux_kontext_dev_basic").ui))["nodes"]}
    edges = [(node["pos"][0], node["pos"][0] + node["size"][0], node["id"] in before) for node in adopted.ui["nodes"]]
    left, right = min(a for a, _, old in edges if old), max(b for _, b, old in edges if old)
    assert all(b <= left or a >= right for a, b, old in edges if not old)
