"""The pack loaded by ComfyUI's own code, without a server: its nodes can be looked at and called."""

from __future__ import annotations

import ast
import asyncio
import importlib
import importlib.util
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from driver.comfyui.own import find_comfyui
from driver.errors import RunError

REPOSITORY = Path(__file__).resolve().parents[2]
NODES = REPOSITORY / "comfy_nodes" / "nodes"
NAME = "editpairs_under_test"


def listed_nodes() -> dict[str, str]:
    """Class names by node id, read as ComfyUI-Manager's scanner reads them: literals in the source."""
    extension = ast.parse((NODES.parent / "extension.py").read_text(encoding="utf-8"))
    lists = [node.value for node in ast.walk(extension) if isinstance(node, ast.Return)]
    wanted = {
        one.id for value in lists if isinstance(value, ast.List) for one in value.elts if isinstance(one, ast.Name)
    }
    found: dict[str, str] = {}
    for path in sorted(NODES.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name in wanted:
                ids = [
                    keyword.value.value
                    for keyword in ast.walk(node)
                    if isinstance(keyword, ast.keyword)
                    and keyword.arg == "node_id"
                    and isinstance(keyword.value, ast.Constant)
                ]
                found.update((str(node_id), node.name) for node_id in ids)
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test with `node_id` once for each node of the pack."""
    if "node_id" in metafunc.fixturenames:
        metafunc.parametrize("node_id", sorted(listed_nodes()))


@dataclass(frozen=True)
class Pack:
    """The pack as ComfyUI holds it, under a name that has nothing to do with its folder's."""

    module: ModuleType
    nodes: dict[str, Any]
    """Node classes by id."""
    listed: dict[str, str]
    """Class names by id, as they stand in the source."""

    def part(self, name: str) -> ModuleType:
        """A module of the loaded pack, such as `core.verdicts`."""
        return importlib.import_module(f"{NAME}.comfy_nodes.{name}")

    def call(self, node_id: str, hidden: dict[Any, Any] | None = None, **inputs: Any) -> Any:
        """Executes a node as ComfyUI does: on a clone of its class that knows the hidden inputs."""
        node = self.nodes[node_id].PREPARE_CLASS_CLONE({"hidden_inputs": hidden or {}})
        given = node.execute(**inputs)
        return asyncio.run(given) if asyncio.iscoroutine(given) else given


@pytest.fixture(scope="session")
def comfyui() -> Path:
    """ComfyUI's source, importable and told to stay on the CPU."""
    try:
        source = find_comfyui()
    except RunError as error:
        pytest.skip(str(error))
    sys.path.insert(0, str(source))
    from comfy.cli_args import args

    args.cpu = True  # read when comfy.model_management is imported
    return source


@pytest.fixture(scope="session")
def pack(comfyui: Path, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    import folder_paths

    base = tmp_path_factory.mktemp("comfyui")
    for name in ("input", "output", "temp"):
        (base / name).mkdir()
        getattr(folder_paths, f"set_{name}_directory")(str(base / name))
    door = REPOSITORY / "__init__.py"
    spec = importlib.util.spec_from_file_location(NAME, door, submodule_search_locations=[str(REPOSITORY)])
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)

    async def nodes() -> list[Any]:
        extension = await module.comfy_entrypoint()
        await extension.on_load()
        return list(await extension.get_node_list())

    # In a thread of its own: Playwright leaves a loop running in this one, whichever tests came before.
    with ThreadPoolExecutor(1) as thread:
        listed = thread.submit(asyncio.run, nodes()).result()
    return Pack(module, {node.GET_SCHEMA().node_id: node for node in listed}, listed_nodes())


@pytest.fixture
def node(pack: Pack, node_id: str) -> Any:
    """One node class of the pack after another."""
    return pack.nodes[node_id]


@pytest.fixture
def info(node: Any) -> dict[str, Any]:
    """What `/object_info` says of the node, after its way through JSON."""
    return json.loads(json.dumps(node.GET_NODE_INFO_V1(), allow_nan=False))


@pytest.fixture
def folders(pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Input and output folders of this test alone; the bundled samples lie in the input folder."""
    import folder_paths

    for name in ("input", "output", "temp"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(folder_paths, f"{name}_directory", str(tmp_path / name))
    pack.part("files.opened").place_in_input()
    return tmp_path


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """uint8 [48, 64, 3]: a smooth background, so that filling it is possible, with a red disc on it."""
    rows, columns = np.mgrid[:48, :64]
    pixels = np.stack([rows * 3, columns * 3, 200 - rows - columns], axis=2).astype(np.uint8)
    pixels[disc()] = (220, 20, 20)
    return pixels


@pytest.fixture(scope="session")
def marked() -> np.ndarray:
    """bool [48, 64]: the disc of `photo`."""
    return disc()


def disc() -> np.ndarray:
    rows, columns = np.mgrid[:48, :64]
    return (rows - 22) ** 2 + (columns - 30) ** 2 < 100
