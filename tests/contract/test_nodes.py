"""What every node of the pack owes to ComfyUI, to its users and to the driver."""

from __future__ import annotations

import inspect
import math
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MOVING = {
    "EditPairsLoadSample", "EditPairsFitSize", "EditPairsCropAroundMask", "EditPairsStitchCrop", "EditPairsBlendEdit",
    "EditPairsMatchColour", "EditPairsPickBest", "EditPairsFilterPhoto", "EditPairsDrawRegions", "EditPairsChooseOperation",
    "EditPairsTakeTurn",
}  # fmt: skip
"""Nodes that give out pictures and paint nothing of their own."""

PACK_SOURCES = [REPOSITORY / "__init__.py", *sorted((REPOSITORY / "comfy_nodes").rglob("*.py"))]


def inputs_of(info: dict[str, Any]) -> dict[str, list[Any]]:
    """All inputs by id, with those that Autogrow makes more of."""
    found: dict[str, list[Any]] = {}
    for group in ("required", "optional"):
        for name, spec in info["input"].get(group, {}).items():
            found[name] = spec
            template = spec[1].get("template", {}).get("input", {}) if len(spec) > 1 else {}
            for grown in template.values():
                found |= {f"{name}.{inner}": spec for inner, spec in grown.items()}
    return found


def help_page(node_id: str) -> str:
    return (REPOSITORY / "comfy_nodes" / "web" / "docs" / f"{node_id}.md").read_text(encoding="utf-8")


def test_the_list_in_the_source_is_what_comfyui_gets(pack: Any) -> None:
    """Manager's scanner sees only literal ids; one that it cannot read would be a missing node to it."""
    assert {node_id: node.__name__ for node_id, node in pack.nodes.items()} == pack.listed
    assert len(pack.nodes) >= 6


def test_whoever_gives_out_a_picture_is_known_to_paint_or_not(pack: Any) -> None:
    """An unknown one would pass for classical beside a classical node."""
    makers = pack.part("core.verdicts.makers")
    giving = {
        name for name, node in pack.nodes.items() if "IMAGE" in [one.io_type for one in node.GET_SCHEMA().outputs]
    }
    assert giving == makers.CLASSICAL | MOVING | makers.PAINTING | {makers.SECOND}


def test_the_door_is_the_v3_one(pack: Any) -> None:
    assert (REPOSITORY / pack.module.WEB_DIRECTORY / "docs").is_dir()
    assert inspect.iscoroutinefunction(pack.module.comfy_entrypoint)


@pytest.mark.parametrize("path", PACK_SOURCES, ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_no_module_speaks_the_old_way(path: Path) -> None:
    """A NODE_CLASS_MAPPINGS, even an empty one, hides comfy_entrypoint without a word."""
    assert not re.search(r"^\W*NODE_CLASS_MAPPINGS", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_ids_are_ours(node_id: str) -> None:
    assert re.fullmatch(r"EditPairs[A-Z]\w+", node_id)


def test_a_node_says_what_it_is(info: dict[str, Any], node_id: str) -> None:
    assert info["name"] == node_id
    assert info["display_name"] and not info["display_name"].startswith("EditPairs")
    assert info["category"].split("/")[0] == "editpairs"
    assert info["description"].endswith(".") and len(info["description"]) > 30
    assert len(info["search_aliases"]) >= 2
    assert info["display_name"].lower() not in [alias.lower() for alias in info["search_aliases"]]


def test_display_names_differ(pack: Any) -> None:
    names = [node.GET_NODE_INFO_V1()["display_name"] for node in pack.nodes.values()]
    assert len(set(names)) == len(names)


def test_every_input_and_output_has_a_tooltip(info: dict[str, Any]) -> None:
    missing = [name for name, spec in inputs_of(info).items() if len(spec) < 2 or not spec[1].get("tooltip")]
    assert missing == []
    assert len(info["output_tooltips"]) == len(info["output"])
    assert all(info["output_tooltips"])


def test_execute_takes_what_the_schema_names(node: Any) -> None:
    inputs = {one.id: one for one in node.GET_SCHEMA().inputs}
    parameters = dict(inspect.signature(node.execute).parameters)
    rest = [name for name, parameter in parameters.items() if parameter.kind is inspect.Parameter.VAR_KEYWORD]
    named = set(parameters) - set(rest)
    assert named <= set(inputs)
    assert rest or named == set(inputs)
    without_default = [name for name in named if inputs[name].optional and is_required(parameters[name])]
    assert without_default == [], "ComfyUI leaves out an optional input that nothing is wired to"


def is_required(parameter: inspect.Parameter) -> bool:
    return parameter.default is inspect.Parameter.empty


def test_python_and_widget_agree_on_defaults(node: Any) -> None:
    parameters = inspect.signature(node.execute).parameters
    for one in node.GET_SCHEMA().inputs:
        default = getattr(one, "default", None)
        if one.id in parameters and parameters[one.id].default not in (inspect.Parameter.empty, None):
            assert parameters[one.id].default == default, one.id


def test_defaults_are_valid(info: dict[str, Any]) -> None:
    for name, spec in inputs_of(info).items():
        options = spec[1]
        if spec[0] in ("INT", "FLOAT") and "default" in options:
            assert options.get("min", -math.inf) <= options["default"] <= options.get("max", math.inf), name
        if spec[0] == "COMBO" and "default" in options:
            assert options["default"] in options["options"], name


def test_seeds_survive_javascript(info: dict[str, Any]) -> None:
    seeds = {name: spec[1] for name, spec in inputs_of(info).items() if name == "seed"}
    for options in seeds.values():
        assert options["max"] == 2**53 - 1
        assert options["control_after_generate"] == "fixed"


def test_bypass_passes_the_image_on(info: dict[str, Any]) -> None:
    """The frontend passes the first input of the output's type: it must be the picture that the node would change."""
    images = [name for name, spec in inputs_of(info).items() if spec[0] == "IMAGE"]
    if "IMAGE" in info["output"] and images:
        assert images[0] in ("image", "images", "edited")


def test_types_are_cores_or_ours_or_shared(info: dict[str, Any]) -> None:
    cores = {"*", "CLIP", "MODEL", "IMAGE", "MASK", "BOUNDING_BOX", "STRING", "INT", "FLOAT", "BOOLEAN", "COMBO"}
    cores |= {"FACE_DETECTION_MODEL"}
    shared = {"BBOX", "SEGS"}  # what other packs pass to each other
    types = {spec[0] for spec in inputs_of(info).values()} | set(info["output"])
    strange = {part for one in types for part in one.split(",")} - cores - shared
    assert all(one.startswith(("EDITPAIRS_", "COMFY_")) for one in strange), strange


def test_the_help_page_names_everything(info: dict[str, Any], node: Any, node_id: str) -> None:
    page = help_page(node_id)
    assert page.startswith(f"# {info['display_name']}\n")
    outputs = [output.id for output in node.GET_SCHEMA().outputs]
    missing = [name for name in (*inputs_of(info), *outputs) if f"`{name}" not in page]
    assert missing == []


def test_there_is_no_help_page_without_a_node(pack: Any) -> None:
    pages = {path.stem for path in (REPOSITORY / "comfy_nodes" / "web" / "docs").glob("*.md")}
    assert pages == set(pack.nodes)


def requirement_lines() -> list[str]:
    lines = (REPOSITORY / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def test_requirements_are_short_and_let_others_be() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = requirement_lines()
    assert lines == project["dependencies"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+>=[0-9.]+", line) for line in lines), "lower bounds only"
    names = [re.split("[>=]", line)[0].lower() for line in lines]
    assert not [name for name in names if name.startswith("torch")]
    assert len([name for name in names if name.startswith("opencv")]) == 1
    assert len(lines) <= 5


IMPORT = """
import asyncio, importlib.util, sys
comfyui, pack = sys.argv[1:]
sys.path.insert(0, comfyui)
from comfy.cli_args import args
args.cpu = True
import comfy_api.latest, comfy.sd, folder_paths, node_helpers
optional = ("cv2", "ultralytics", "sam2", "openai", "json_repair", "tenacity", "diffusers", "transformers.models.owlv2")
called = []
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name in optional:
            called.append(name)  # also where whoever imports it goes on without
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
for name in optional:
    sys.modules.pop(name, None)
def audit(event, arguments):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.sendto", "urllib", "subprocess", "os.system")):
        called.append(event)
def tops():
    return {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names)
before = tops()
sys.addaudithook(audit)
spec = importlib.util.spec_from_file_location("pack", f"{pack}/__init__.py", submodule_search_locations=[pack])
module = sys.modules["pack"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
async def load():
    for node in await (await module.comfy_entrypoint()).get_node_list():
        node.GET_NODE_INFO_V1()
asyncio.run(load())
print(*sorted(tops() - before - {"pack"}), "|", *called)
"""


def test_importing_the_pack_is_quick_and_quiet(comfyui: Path) -> None:
    """No network, no process, and no library that ComfyUI has not loaded itself; optional ones wait for their node."""
    command = [sys.executable, "-c", IMPORT, str(comfyui), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded, _, called = done.stdout.strip().splitlines()[-1].partition("|")
    assert set(loaded.split()) <= {"pydantic", "pydantic_core", "annotated_types", "typing_inspection"}
    assert called.split() == []
