"""ComfyUI's own templates, and graphs that were once converted wrongly: the driver submits what the page submits.

    python -m pytest tests/browser/test_templates.py --every-template

takes all templates of the installed comfyui-workflow-templates-json, partners' nodes among them, and says at the end how
many are equal and which harmless differences there are. Without the option those run that show a kind of difference each.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from driver.graph.api import ancestors
from driver.graph.file import WorkflowFile
from driver.graph.saved import BYPASSED, MUTED
from driver.graph.schemas import inputs_of, kind_of, settings_of

if TYPE_CHECKING:
    from conftest import Frontend

Api = dict[str, dict[str, Any]]

TEMPLATES = Path(str(files("comfyui_workflow_templates_json"))) / "templates"
CASES = Path(__file__).resolve().parent.parent / "cases"
WORKFLOWS = sorted((Path(__file__).resolve().parents[2] / "workflows").glob("*.json"))

TELLING = (
    "3d_hunyuan3d_multiview_to_model_turbo",  # bypassed loaders; a viewer that the page adds
    "audio_stable_audio_3_medium",  # Custom Combo, chosen through a subgraph
    "basic_image_color_adjustment",  # curves
    "flux1_dev_uso_reference_image_gen",  # bypassed subgraphs in a subgraph
    "gsl_starter_1_2",  # copies of a subgraph whose nodes have the same ids
    "image_ideogram4_t2i",  # JSON with its braces, in a subgraph
    "image_ernie_image",  # a subgraph's widget that feeds a socket
    "llm_qwen3_text_gen",  # a dynamic input that the file does not have yet
    "utility_interpolation_image_upscale",  # a comparison that was saved once
    "video_kandinsky5_t2v",  # a dynamic input in a dynamic input
    "video_wan_vace_14B_ref2v",  # a bypassed node whose types fit nothing
    "video_ltx2_3_ic_lora",  # the constant of a switch
)

FIND = "const node = app.graph.nodes.find(({ type }) => type === wanted);"
ABSENT = "<absent>"
HARMLESS = {
    "_meta": "another title",
    "order": "inputs in another order",
    "number": "1 for 1.0",
    "unneeded": "nodes that no result depends on",
    "undeclared": "inputs that the node does not have, such as buttons: the server passes over them",
    "drawn": "a picture that the page takes of its 3D viewer as it submits, and that nothing is made from",
    "refused": "the page submits no choice of the server's and is refused, the driver the one in the file",
    "braces": "a text with alternatives, which the driver draws for each sample",
}
"""Kinds of differences that change nothing which a run gives."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.function is test_a_template:
        every = sorted(path.stem for path in TEMPLATES.glob("*.json") if "nodes" in _read(path))
        metafunc.parametrize("template", every if metafunc.config.getoption("--every-template", False) else TELLING)


@pytest.fixture(scope="module")
def info(started_frontend: Frontend) -> dict[str, Any]:
    return dict(started_frontend.get("/object_info"))


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Templates by what was found; it is printed at the end."""
    found: Counter[str] = Counter()
    yield found
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        for kind, number in sorted(found.items()):
            print(f"\n{number} templates: {HARMLESS.get(kind, kind)}", end="")


def test_a_template(template: str, frontend: Frontend, info: dict[str, Any], tally: Counter[str]) -> None:
    path = TEMPLATES / f"{template}.json"
    graph = _read(path)
    subgraphs = (graph.get("definitions") or {}).get("subgraphs") or []
    types = sorted({node["type"] for scope in (graph, *subgraphs) for node in scope["nodes"]})
    known = "(types) => types.filter((type) => !(type in LiteGraph.registered_node_types))"
    lacking = set(frontend.page.evaluate(known, types)) - {one["id"] for one in subgraphs}
    if lacking:
        tally["with nodes that this ComfyUI lacks"] += 1
        pytest.skip(f"the server has no {', '.join(sorted(lacking))}")
    frontend.open(graph, template)
    kinds, changed = _compared(frontend.prompt(), WorkflowFile.read(path).to_api(info), info)
    tally.update(kinds or {"equal"} if not changed else {"with another value, default or link"})
    assert changed == []


@pytest.mark.parametrize(
    "case", ["bypassed-verifier", "drawn-boxes-lost", "custom-combo", "subgraph-off-in-a-subgraph"]
)
def test_a_case(case: str, frontend: Frontend, info: dict[str, Any]) -> None:
    path = CASES / case / "graph.json"
    frontend.open(_read(path), case)
    assert _compared(frontend.prompt(), WorkflowFile.read(path).to_api(info), info)[1] == []


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _first_of_each() -> Iterator[tuple[Path, str]]:
    """Each node class of ours, and the first workflow that has it."""
    seen: set[str] = set()
    for path in WORKFLOWS:
        for kind in sorted({node["type"] for node in _read(path)["nodes"]} - seen):
            if kind.startswith("EditPairs"):
                seen.add(kind)
                yield path, kind


OURS = list(_first_of_each())
BY_WORKFLOW = {path: [kind for one, kind in OURS if one == path] for path, _ in OURS}
VERIFIERS_AND_WRITERS = ("Verify", "Judge", "Witness", "Filter", "Write", "Rewrite", "Caption", "Tag")


@pytest.mark.parametrize("path", BY_WORKFLOW, ids=lambda path: path.stem)
def test_our_nodes_bypassed_and_muted(path: Path, frontend: Frontend, info: dict[str, Any], tmp_path: Path) -> None:
    graph = _read(path)
    frontend.open(graph, path.stem)
    for kind in BY_WORKFLOW[path]:
        for mode in (BYPASSED, MUTED):
            switched = copy.deepcopy(graph)
            (node, *_) = [node for node in switched["nodes"] if node["type"] == kind]
            before = frontend.page.evaluate(SWITCH, [None, node["id"], mode])
            node["mode"] = mode
            assert _compared(frontend.prompt(), _converted(switched, tmp_path, info), info)[1] == [], (kind, mode)
            frontend.page.evaluate(SWITCH, [None, node["id"], before])


SWITCH = """([subgraph, id, mode]) => {
    const root = app.graph.rootGraph, node = (subgraph ? root.subgraphs.get(subgraph) : root).getNodeById(id)
    const before = node.mode
    node.mode = mode
    return before
}"""
"""JavaScript that sets a node's mode and returns the one it had."""


@pytest.mark.parametrize("template", ["image_ernie_image", "flux1_dev_uso_reference_image_gen"])
def test_nodes_in_subgraphs_bypassed_and_muted(
    template: str, frontend: Frontend, info: dict[str, Any], tmp_path: Path
) -> None:
    graph = _read(TEMPLATES / f"{template}.json")
    frontend.open(graph, template)
    for number, scope in enumerate(graph["definitions"]["subgraphs"]):
        for place, node in enumerate(scope["nodes"]):
            for mode in (BYPASSED, MUTED):
                switched = copy.deepcopy(graph)
                switched["definitions"]["subgraphs"][number]["nodes"][place]["mode"] = mode
                before = frontend.page.evaluate(SWITCH, [scope["id"], node["id"], mode])
                page = frontend.prompt()
                frontend.page.evaluate(SWITCH, [scope["id"], node["id"], before])
                assert _compared(page, _converted(switched, tmp_path, info), info)[1] == [], (node["id"], mode)


@pytest.mark.parametrize(
    ("path", "kind"),
    [(path, kind) for path, kind in OURS if kind.removeprefix("EditPairs").startswith(VERIFIERS_AND_WRITERS)],
    ids=lambda value: getattr(value, "stem", value),
)
def test_our_nodes_removed(path: Path, kind: str, frontend: Frontend, info: dict[str, Any], tmp_path: Path) -> None:
    frontend.open(_read(path), path.stem)
    frontend.page.evaluate(f"(wanted) => {{ {FIND} app.graph.remove(node) }}", kind)
    assert _compared(frontend.prompt(), _converted(frontend.saved(), tmp_path, info), info)[1] == []


def _converted(graph: dict[str, Any], folder: Path, info: dict[str, Any]) -> Api:
    path = folder / "graph.json"
    path.write_text(json.dumps(graph))
    return WorkflowFile.read(path).to_api(info)


def _compared(page: Api, ours: Api, info: dict[str, Any]) -> tuple[set[str], list[str]]:
    """Kinds of harmless differences, and those that change a value, default or link."""
    kinds, changed = set(), []
    if set(page) != set(ours):
        kinds.add("unneeded")
        page, ours = _needed(page, info), _needed(ours, info)
        changed += [f"only the page has {node_id}" for node_id in page if node_id not in ours]
        changed += [f"only the driver has {node_id}" for node_id in ours if node_id not in page]
    for node_id in page.keys() & ours.keys():
        one, other = page[node_id], ours[node_id]
        if one["class_type"] != other["class_type"]:
            changed.append(f"{node_id}: {one['class_type']}, driver: {other['class_type']}")
        kinds |= {"_meta"} if one.get("_meta") != other.get("_meta") else set()
        kinds |= {"order"} if list(one["inputs"]) != list(other["inputs"]) else set()
        specs = dict(_specs(one["inputs"], info[one["class_type"]]))
        for name in one["inputs"].keys() | other["inputs"].keys():
            values = one["inputs"].get(name, ABSENT), other["inputs"].get(name, ABSENT)
            kind = _difference(*values, specs.get(name))
            if kind == "drawn" and _taken(page, node_id, info) & {"IMAGE", "MASK", "VIDEO", "LOAD3D_CAMERA"}:
                kind = "changed"
            if kind in HARMLESS:
                kinds.add(kind)
            elif kind:
                changed.append(f"{one['class_type']} {node_id}.{name}: page {values[0]!r}, driver {values[1]!r}")
    return kinds, changed


def _difference(page: Any, driver: Any, spec: list[Any] | None) -> str:
    if json.dumps(page, sort_keys=True) == json.dumps(driver, sort_keys=True):
        return ""
    if _plain(page) == _plain(driver):
        return "number"
    if spec is None:
        return "undeclared" if ABSENT in (page, driver) else "changed"
    settings = settings_of(spec)
    options = spec[0] if isinstance(spec[0], list) else settings.get("options")
    if kind_of(spec) == "COMBO" and options and page not in options and driver in options:
        return "refused"
    if kind_of(spec) == "LOAD_3D" and driver in (ABSENT, ""):
        return "drawn"
    if settings.get("dynamicPrompts") and "{" in str(driver) and "{" not in str(page):
        return "braces"
    return "changed"


def _plain(value: Any) -> Any:
    """A value that differs from another where more than 1 and 1.0 does: true is not 1."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return ("truth", value) if isinstance(value, bool) else value


def _specs(inputs: dict[str, Any], schema: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, list[Any]]]:
    """A node's inputs and their descriptions, with those of what is chosen in dynamic inputs."""
    for name, spec in inputs_of(schema):
        yield prefix + name, spec
        for option in settings_of(spec).get("options") or () if spec[0] == "COMFY_DYNAMICCOMBO_V3" else ():
            if option["key"] == inputs.get(prefix + name):
                yield from _specs(inputs, {"input": option["inputs"]}, f"{prefix}{name}.")


def _taken(api: Api, node_id: str, info: dict[str, Any]) -> set[str]:
    """Types of a node's outputs that others take."""
    links = (value for node in api.values() for value in node["inputs"].values() if isinstance(value, list))
    return {info[api[node_id]["class_type"]]["output"][slot] for origin, slot in links if origin == node_id}


def _needed(api: Api, info: dict[str, Any]) -> Api:
    """What results depend on."""
    results = [node_id for node_id, node in api.items() if info[node["class_type"]]["output_node"]]
    needed = set().union(*(ancestors(api, node_id) for node_id in results))
    return {node_id: node for node_id, node in api.items() if node_id in needed}
