"""Pictures and other uploads that a graph names in its widgets: whether a server has them, before anything is edited.

A widget's list has the top of the input folder only, so what is not in it is asked for by name. `file.py` asks here
which widgets hold such names, `preflight.py` whether the files are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..comfyui.client import ComfyServer
from .api import Api, driven, is_link, title_of
from .schemas import inputs_of, is_upload, options_of

FOLDERS = ("input", "output", "temp")
"""ComfyUI's folders, one of which may stand in brackets behind a name; without it, the first."""


def missing_files(server: ComfyServer, api: Api, object_info: dict[str, Any]) -> list[str]:
    """A line for each file that the graph names and the server does not have, with what to do.

    Args:
        object_info: that server's nodes.

    Raises:
        ServerFault: it does not answer, or does not say.
    """
    lines = []
    for node_id, name, value in _named(api, object_info):
        where = f"{title_of(api[node_id])} #{node_id}: {name}"
        if not isinstance(value, str) or not value:
            lines.append(f"{where} names no file: pick one and save the workflow")
        elif why := _why_not(server, value):
            lines.append(f"{where} {value!r} {why}: upload it there, or pick another and save the workflow")
    return lines


def _named(api: Api, object_info: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Node, input and value of each upload widget that is not wired, not filled in for each sample, and not in its list."""
    for node_id, node in api.items():
        filled = driven(node["class_type"])
        for name, spec in inputs_of(object_info.get(node["class_type"], {})):
            value = node["inputs"].get(name)
            named = is_upload(spec) and name in node["inputs"] and name not in filled and not is_link(value)
            if named and value not in (options_of(spec) or []):
                yield node_id, name, value


def _why_not(server: ComfyServer, value: str) -> str:
    """Why a server cannot load a file; empty where it can."""
    path, _, folder = value.rpartition(" [")
    folder = folder.removesuffix("]") if path and value.endswith("]") else ""
    path, folder = (path, folder) if folder in FOLDERS else (value, FOLDERS[0])
    subfolder, _, filename = path.rpartition("/")
    try:
        server.fetch(filename, subfolder, folder)
    except FileNotFoundError:
        return f"is not in the server's {folder} folder"
    return ""
