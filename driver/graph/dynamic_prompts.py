"""Alternatives in text, `{red|green}`, as ComfyUI's page draws them: which widgets, by which rule, and from which seed.

The page draws at each Run (its extension `Comfy.DynamicPrompts` and `processDynamicPrompt`, frontend 1.47). A batch draws
for each sample, from the sample's seed, so that the graph stays one graph: its text is kept as it was typed, and marked.
`file.py` calls this when a file is converted, and for each prompt.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any

from .api import Api
from .schemas import inputs_of, settings_of
from .ui import UiGraph

DRAWN = "drawn"
"""In a node's `_meta`: names of the inputs whose text is drawn for each sample."""

_COMMENTS = re.compile(r"/\*[\s\S]*?\*/|//[^\n\r\u2028\u2029]*")
_ESCAPED = re.compile(r"\\([{}|])")

Choose = Callable[[Sequence[str]], str]


def processed(text: str, choose: Choose) -> str:
    """A text as the page submits it.

    Comments (`/* */`, and `//` to the end of the line) go first, which cuts addresses too. Each pair of braces gives one
    of the alternatives between its bars, with the same done to that; without a bar the braces alone go. A backslash keeps
    a brace or bar as it is. What is never closed ends with the text.
    """
    text, at, made = _COMMENTS.sub("", text), 0, ""
    while at < len(text):
        if text[at] == "{":
            options, at = _options(text, at + 1)
            made += processed(choose(options), choose)
        else:
            taken = _escape(text, at) if text[at] == "\\" else text[at]
            made, at = made + taken, at + (2 if text[at] == "\\" else 1)
    return _ESCAPED.sub(r"\1", made)


def has_alternatives(text: str) -> bool:
    """Whether anything in a text is left to be drawn."""
    found = False

    def look(options: Sequence[str]) -> str:
        nonlocal found
        found = found or len(options) > 1
        return options[0]

    processed(text, look)
    return found


def draw(text: str, seed: int, number: int) -> str:
    """A text with its alternatives drawn; the same seed draws the same ones.

    Args:
        number: how many widgets with the same text come before it, which draw others.
    """
    source = random.Random(f"{seed}/{number}/{text}")
    return processed(text, lambda options: options[int(source.random() * len(options))])


def as_typed(text: str) -> str:
    """What a person types into a widget for the page to submit this text."""
    return text.replace("{", "\\{")


def settle(api: Api, page: UiGraph, object_info: dict[str, Any]) -> None:
    """Gives widgets the text that the page submits, in place, and marks those with alternatives, which are left.

    A widget that shows on its subgraph's node is submitted by the page as it stands.
    """
    for node_id, node in api.items():
        for name, spec in inputs_of(object_info.get(node["class_type"], {})):
            text = node["inputs"].get(name)
            if (
                is_dynamic(spec)
                and isinstance(text, str)
                and not page.comes_through_subgraph(tuple(node_id.split(":")), name)
            ):
                put(node, name, text)


def put(node: dict[str, Any], name: str, text: str) -> None:
    """Puts a text into a widget with dynamic prompts, as a person types it."""
    marked = [one for one in marks(node) if one != name]
    alternatives = has_alternatives(text)
    node["inputs"][name] = text if alternatives else processed(text, lambda options: options[0])
    meta = node["_meta"] if isinstance(node.get("_meta"), dict) else {}
    node["_meta"] = meta | {DRAWN: [*marked, name] if alternatives else marked}
    if not node["_meta"][DRAWN]:
        del node["_meta"][DRAWN]


def marks(node: dict[str, Any]) -> list[str]:
    """Names of a node's inputs that are drawn for each sample."""
    meta = node.get("_meta")
    found = meta.get(DRAWN) if isinstance(meta, dict) else None
    return [one for one in found if isinstance(node["inputs"].get(one), str)] if isinstance(found, list) else []


def is_dynamic(spec: Any) -> bool:
    """Whether an input is a text widget with dynamic prompts."""
    return settings_of(spec).get("dynamicPrompts") is True and spec[0] == "STRING"


def _options(text: str, at: int) -> tuple[list[str], int]:
    """The alternatives of a block, and where it ends.

    Args:
        at: just behind its opening brace.
    """
    options, option, depth = [], "", 0
    while at < len(text):
        one = text[at]
        at += 1
        if one == "\\":
            option += _escape(text, at - 1)
            at += 1
            continue
        if one == "}" and not depth:
            break
        if one == "|" and not depth:
            options.append(option)
            option = ""
            continue
        depth += {"{": 1, "}": -1}.get(one, 0)
        option += one
    return [*options, option], at


def _escape(text: str, at: int) -> str:
    """A backslash and what stands behind it; at a text's end the page puts JavaScript's word for nothing there."""
    return "\\" + (text[at + 1] if at + 1 < len(text) else "undefined")
