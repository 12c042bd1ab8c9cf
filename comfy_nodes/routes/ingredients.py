"""What this server makes a graph's pixels and words with: it says so in every record, and to a driver that asks.

Of the pack that counts what was there when ComfyUI loaded it, of weights and profiles what is there now. ComfyUI's server
and its list of nodes are imported late: tools that only look at our nodes have neither.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import folder_paths

from ..core.graph_names import Graph, pictures_named, profiles_named, weights_named
from ..core.ingredients import ROUTE, Ingredients
from ..core.records import Basis
from ..core.services import profiles
from ..files import content_hashes
from ..models.folders import listed
from ..vlm import images
from ..vlm.questions import prompt_files
from ..wires.sockets import EditSample
from ..wires.tensors import to_bytes

if TYPE_CHECKING:
    from aiohttp import web

PATIENCE_S = 1.0
"""How long a question is kept waiting before it is answered with "still reading" (202). Ours."""

_PACK = Path(__file__).resolve().parents[1]
_OURS = (__package__ or "").rpartition(".")[0]  # what our nodes' modules are in, whatever ComfyUI calls the pack
_NO_MODELS = ("custom_nodes", "configs")
_NOT_RUN = frozenset({"tests", "test", "docs"})


@dataclass(frozen=True)
class _Named:
    """The names that stand in a graph."""

    kinds: set[str]
    """Of nodes."""
    weights: list[tuple[str, str, str]]
    """Kind of node, input, value."""
    pictures: list[str]
    profiles: set[str]


_latest: tuple[Graph, _Named] | None = None
_asked: dict[bytes, asyncio.Task[Ingredients]] = {}
_seen: dict[str, str | None] = {}


def announce() -> None:
    """Takes down what was loaded, and gives ComfyUI the route. Once, when the pack is loaded."""
    _own()
    if server := comfy_server():
        server.routes.post(ROUTE)(_tell)


def of(graph: Graph) -> Ingredients:
    """What stands behind a graph here.

    Raises:
        OSError: weights cannot be read.
    """
    version, code, prompts = _own()
    named = _named_in(graph)
    packs = {name: _pack_code(name) for name in named.kinds}
    weights = {choice: _content(kind, name, choice) for kind, name, choice in named.weights}
    _forget_replaced(weights)
    asked = {name: _profile(name) for name in named.profiles}
    return Ingredients(
        version=version,
        code=code,
        prompts=prompts,
        packs={name: content for name, content in packs.items() if content},
        weights=weights,
        pictures={name: _picture(name) for name in named.pictures},
        profiles=asked,
        terms={name: said for name in named.profiles if (said := _terms(name))},
        profiles_fault=_fault_of_profiles() if named.profiles else "",
    )


def _named_in(graph: Graph) -> _Named:
    """What a graph names. Each sample of a pack asks of the pack's one graph, which ComfyUI never changes."""
    global _latest
    latest = _latest  # another thread may ask of another graph
    if latest is None or latest[0] is not graph:
        named = _Named(
            kinds={str(node["class_type"]) for node in graph.values()},
            weights=[(node["class_type"], *named) for node in graph.values() for named in weights_named(node)],
            pictures=[name for node in graph.values() for name in pictures_named(node)],
            profiles=profiles_named(graph),
        )
        latest = _latest = (graph, named)
    return latest[1]


def basis(sample: EditSample, graph: Graph | None) -> Basis:
    """What a record says of how its sample was made.

    Args:
        graph: as a sink's hidden input `prompt` has it.
    """
    return Basis(
        ingredients=of(graph or {}).sha256,
        upstream=sample.upstream,
        pictures={role: images.digest(to_bytes(picture[0])) for role, picture in sample.images.items()},
        models=sample.models,
    )


async def _tell(request: web.Request) -> web.Response:
    from aiohttp import web

    body = await request.read()
    try:
        graph = {str(name): {"class_type": str(node["class_type"]), "inputs": dict(node["inputs"])}
                 for name, node in json.loads(body).items()}  # fmt: skip
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return web.json_response({"error": "not a graph in API format"}, status=400)
    if body not in _asked:
        _asked[body] = asyncio.create_task(asyncio.to_thread(of, graph))
    task = _asked[body]
    done, _ = await asyncio.wait({task}, timeout=PATIENCE_S)
    if not done:
        return web.json_response({}, status=202)
    _asked.pop(body, None)
    try:
        return web.json_response(text=task.result().model_dump_json())
    except OSError as error:
        name = Path(str(error.filename)).name
        return web.Response(status=500, text=f"model file {name} cannot be read ({error.strerror})")
    except ValueError:
        return web.Response(status=400, text="a name in the graph holds a character that no path can")


@cache
def _own() -> tuple[str, str, dict[str, str]]:
    """Version, code and prompts of this pack."""
    project = tomllib.loads((_PACK.parent / "pyproject.toml").read_text("utf-8"))["project"]
    prompts = {}
    for path in sorted(prompt_files.FOLDER.glob("*.md")):
        file = prompt_files.read(path)
        prompts[file.id] = f"{file.version} {file.sha256}"
    return str(project["version"]), _code([_PACK.parent / "__init__.py", *_PACK.rglob("*.py")], _PACK.parent), prompts


@cache
def _pack_code(class_type: str) -> str | None:
    """The code behind a node that is neither ours nor core's."""
    import nodes

    node = nodes.NODE_CLASS_MAPPINGS.get(class_type)
    parent, _, name = str(getattr(node, "RELATIVE_PYTHON_MODULE", "")).partition(".")
    origin = str(getattr(node, "__module__", ""))
    if parent != "custom_nodes" or origin.startswith(f"{_OURS}."):
        return None
    if folder := nodes.LOADED_MODULE_DIRS.get(name):
        return _code(Path(folder).rglob("*.py"), Path(folder))
    path = Path(str(getattr(sys.modules.get(origin), "__file__", None)))  # a pack of one file
    return _code([path], path.parent) if path.is_file() else None


def _code(files: Iterable[Path], root: Path) -> str:
    """The same hash whichever line ends a checkout has."""
    hashed = hashlib.sha256()
    for name, path in sorted((path.relative_to(root).as_posix(), path) for path in files):
        parts = name.split("/")
        if not (_NOT_RUN & set(parts) or any(part.startswith(".") for part in parts)):
            content = path.read_bytes().replace(b"\r\n", b"\n")
            hashed.update(f"{name}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return hashed.hexdigest()


def _content(class_type: str, name: str, choice: str) -> str | None:
    """SHA-256 of what a loader's widget names; of several files of that name, of which nobody knows which is meant, of all."""
    found = {path.resolve() for _, path in _paths(choice)}
    if len(found) > 1:
        offered = _offered(class_type, name)
        fitting = {path.resolve() for kind, path in _paths(choice) if offered.issuperset(listed(kind))}
        found = fitting or found
    contents = {content_hashes.of_folder(path) if path.is_dir() else content_hashes.of_file(path) for path in found}
    if len(contents) < 2:
        return next(iter(contents), None)
    return hashlib.sha256("".join(sorted(contents)).encode()).hexdigest()


def _paths(choice: str) -> Iterator[tuple[str, Path]]:
    """Kind of model folder and path of every file or folder that a loader may show under this name."""
    plain = os.path.relpath(f"/{choice}", "/")  # as ComfyUI does it: it never leaves the folder
    for kind in folder_paths.folder_names_and_paths:
        if kind in _NO_MODELS or plain == ".":
            continue
        paths = (Path(base, plain) for base in folder_paths.get_folder_paths(kind))
        if path := next(filter(os.path.exists, paths), None):  # a text may be longer than a path can be
            yield kind, path


def _picture(name: str) -> str | None:
    if not folder_paths.exists_annotated_filepath(name):
        return None
    path, (_, base) = Path(folder_paths.get_annotated_filepath(name)), folder_paths.annotated_filepath(name)
    inside = folder_paths.is_within_directory(base or folder_paths.get_input_directory(), str(path))
    return content_hashes.of_file(path) if path.is_file() and inside else None


def _offered(class_type: str, name: str) -> set[str]:
    """What a node's combo lists."""
    import nodes

    groups = nodes.NODE_CLASS_MAPPINGS[class_type].INPUT_TYPES() if class_type in nodes.NODE_CLASS_MAPPINGS else {}
    spec: Any = {**groups.get("required", {}), **groups.get("optional", {})}.get(name) or ((),)
    options = spec[0] if isinstance(spec[0], list) else (spec[1] if len(spec) > 1 else {}).get("options")
    return set(map(str, options or ()))


def _forget_replaced(weights: dict[str, str | None]) -> None:
    """Has ComfyUI forget what it loaded where a file has other content than before: it goes by names alone."""
    replaced = any(_seen.get(name, content) != content for name, content in weights.items())
    _seen.update(weights)
    if replaced and (server := comfy_server()):
        for flag in ("unload_models", "free_memory"):
            server.prompt_queue.set_flag(flag, True)


def comfy_server() -> Any:
    """ComfyUI's server; None where its code is used without one, as by tools that list nodes."""
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


def _profile(name: str) -> dict[str, str]:
    try:
        deciding = profiles.find(name).deciding()
    except profiles.VlmNotConfigured:
        return {}  # the loader says so
    hashed = {
        field: hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
        for field, value in deciding.items()
    }
    return {**hashed, "model": str(deciding["model"])}


def _terms(name: str) -> dict[str, str]:
    try:
        return profiles.find(name).terms()
    except profiles.VlmNotConfigured:
        return {}  # the loader says so


def _fault_of_profiles() -> str:
    try:
        profiles.load()
    except profiles.VlmNotConfigured as error:
        return str(error)
    return ""
