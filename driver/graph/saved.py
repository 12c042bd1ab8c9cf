"""A workflow in ComfyUI's UI format as it is saved: its subgraphs, nodes and links, and which of them are switched off.

What reads or changes such a file stands on this; it knows nothing of classes and servers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

Node = dict[str, Any]

MUTED = 2
"""Mode of a node that does not run (ComfyUI's own number)."""

BYPASSED = 4
"""Mode of a node that only hands inputs on (ComfyUI's own number)."""

INPUT_SIDE = -10
"""Id of the box in a subgraph that its inputs come from (ComfyUI's own number)."""

OUTPUT_SIDE = -20
"""Id of the box in a subgraph that its outputs go to (ComfyUI's own number)."""

VALUE_NODE = "PrimitiveNode"
"""The page's own node that holds the value of widgets that it is wired to; it never runs."""


@dataclass(frozen=True)
class Origin:
    """An output that a link begins at."""

    node: int | str
    slot: int


@dataclass(frozen=True)
class Link:
    """A link as all versions of the format have it."""

    id: int
    origin: Origin
    target: int | str
    target_slot: int
    kind: str


LINK_KEYS = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")


def read_link(raw: Sequence[Any] | dict[str, Any]) -> Link:
    """A link of any version of the format."""
    values = [raw[key] for key in LINK_KEYS] if isinstance(raw, dict) else list(raw)
    return Link(values[0], Origin(values[1], values[2]), values[3], values[4], str(values[5]))


def write_link(raw: Any, key: str, value: Any) -> None:
    """Sets one end of a link, in place.

    Args:
        key: `origin_id`, `origin_slot`, `target_id` or `target_slot`.
    """
    raw[key if isinstance(raw, dict) else LINK_KEYS.index(key)] = value


def scopes_of(ui: dict[str, Any]) -> list[dict[str, Any]]:
    """The graph itself, and the definitions of its subgraphs in their order in the file."""
    return [ui, *((ui.get("definitions") or {}).get("subgraphs") or [])]


def nodes_of(scope: dict[str, Any]) -> list[Node]:
    """The nodes of a graph or subgraph; what else stands among them is passed over, as comfy-cli does."""
    return [node for node in scope.get("nodes") or () if isinstance(node, dict)]


def switched_off(ui: dict[str, Any], classes: Set[str]) -> Iterator[str]:
    """Nodes of these classes that do not run, each with its title, its id and what switches it off.

    A subgraph that is muted or bypassed switches off all that is in it, unless it stands in a subgraph itself.
    """
    inner = {str(one["id"]): one for one in scopes_of(ui)[1:]}
    waiting = [(ui, "", "")]
    while waiting:
        scope, prefix, why = waiting.pop()
        for node in nodes_of(scope):
            kind, number = str(node.get("type")), f"{prefix}{node.get('id')}"
            named = f"{shown_title(node, inner)} #{number}"
            off = "is muted" if node.get("mode") == MUTED else "is bypassed" if node.get("mode") == BYPASSED else ""
            if kind in inner:
                outside = f"stands in {named}, which {off}" if off and not prefix else ""
                waiting.append((inner[kind], f"{number}:", why or outside))
            elif kind in classes and (why or off):
                yield f"{named} {why or off}"


def shown_title(node: Node, inner: Mapping[str, dict[str, Any]]) -> str:
    """What an artist sees on a node.

    Args:
        inner: definitions of subgraphs by id.
    """
    kind = str(node.get("type"))
    return str(node.get("title") or inner.get(kind, {}).get("name") or kind)
