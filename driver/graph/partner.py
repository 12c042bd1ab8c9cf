"""ComfyUI's partner nodes: they ask paid services by ComfyUI's own account, whose key a run takes from the environment.

The key goes into a prompt's `extra_data`, which ComfyUI keeps out of its history and of saved files; never into a graph.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from comfy_nodes.core.services import redaction
from comfy_nodes.core.services.profiles import is_loopback

from ..errors import RunError
from .api import Api
from .schemas import costs_credits

KEY_VARIABLE = "COMFY_API_KEY"

_FIELD = "api_key_comfy_org"
"""ComfyUI 0.30 (execution.py, SENSITIVE_EXTRA_DATA_KEYS)."""


def paid_nodes(api: Api, object_info: Mapping[str, Any]) -> list[str]:
    """Nodes of a graph that cost credits for each sample."""
    return [
        f"{node['class_type']} #{node_id}"
        for node_id, node in api.items()
        if costs_credits(object_info.get(node["class_type"], {}))
    ]


def extra_data(api: Api, object_info: Mapping[str, Any]) -> dict[str, str]:
    """What a prompt of this graph carries beside it; nothing for a graph without paid nodes.

    Raises:
        RunError: it has some, and there is no key.
    """
    if not (paid := paid_nodes(api, object_info)):
        return {}
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if not key:
        raise RunError(
            f"{', '.join(paid)}: partner nodes, which are paid for by credits of a ComfyUI account for each sample: set "
            f"{KEY_VARIABLE} to that account's API key, or take a graph without them"
        )
    redaction.hide(key)
    return {_FIELD: key}


def notes(api: Api, object_info: Mapping[str, Any], urls: Iterable[str]) -> list[str]:
    """What is to be known before a run that costs credits.

    Raises:
        RunError: as `extra_data`.
    """
    if not extra_data(api, object_info):
        return []
    found = [f"{', '.join(paid_nodes(api, object_info))}: paid for by the account of {KEY_VARIABLE}, for each sample"]
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            found.append(f"{url}: {KEY_VARIABLE} goes there unencrypted")
    return found
