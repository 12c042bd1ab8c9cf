"""What somebody's graph does, read from its wiring: where its photo goes in, the words and the seeds, and what comes out.

Works on the API format, in which subgraphs are resolved, with a server's node list for the types. Used by `adopting.py`
alone. Asks where the wiring leaves it open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .failures import RunError
from .fresh_nodes import WIDGETS, inputs_of
from .page_nodes import missing
from .workflow import Api, ancestors, is_link, seed_inputs

IMAGE, MASK, LATENT = "IMAGE", "MASK", "LATENT"

_FITTING = re.compile(r"scale|resize|crop|pad", re.IGNORECASE)
"""Classes that only change the size of a picture, by name."""

_AGAINST = re.compile(r"neg|uncond", re.IGNORECASE)
"""Inputs that say what is not wanted."""

_FOR = ("positive", "conditioning", "cond1")
"""Inputs of samplers and guiders that say what is wanted, in ComfyUI's own nodes."""

_WORDS = ("prompt", "text", "instruction", "string", "value")
"""Names of text inputs that hold what is wanted, where no conditioning tells."""

_ANY = ("*", "COMFY_MATCHTYPE_V3")


@dataclass(frozen=True)
class Question:
    """What the wiring does not tell."""

    name: str
    text: str
    choices: dict[str, str]
    """What may be answered, and what it is."""


@dataclass(frozen=True)
class WordsInput:
    """A widget for words."""

    node: str
    name: str
    words: str


class Graph:
    """One graph in API format."""

    def __init__(self, api: Api, object_info: dict[str, Any], name: str, ask: Callable[[Question], str]):
        self._api = api
        self._info = object_info
        self._named = name
        self._ask = ask

    def title(self, node_id: str) -> str:
        """What the artist calls a node."""
        node = self._api[node_id]
        return str((node.get("_meta") or {}).get("title") or node["class_type"])

    def result(self) -> tuple[str, str]:
        """The node that saves the edited picture, and which of its inputs takes it.

        Raises:
            RunError: there is none: it is no graph that edits pictures, or the server lacks a node on the way to it.
        """
        shown = [(node_id, name) for node_id in self._api if self._class(node_id).get("output_node")
                 for name, link in self._links(node_id) if self._type(link) in (IMAGE, *_ANY)]  # fmt: skip
        made = [one for one in shown if not self._loads_photo(self._api[one[0]]["inputs"][one[1]][0])]
        fed = [one for one in made if any(self._loads_photo(other) for other in ancestors(self._api, one[0]))]
        if not fed:
            wired = {end for node_id in self._api for _, link in self._links(node_id) for end in (node_id, link[0])}
            self._refuse_missing(wired)
            raise RunError(f"{self._named}: {self._why_not()}")
        edited = [one for one in fed if any(self._is_sampler(other) for other in ancestors(self._api, one[0]))] or fed
        alone = [one for one in edited if sum(node_id == one[0] for node_id, _ in edited) == 1] or edited
        saved = [one for one in alone if "save" in self._api[one[0]]["class_type"].lower()] or alone
        first: dict[tuple[str, int], tuple[str, str]] = {}
        for one in saved:
            first.setdefault(tuple(self._api[one[0]]["inputs"][one[1]]), one)
        found = {node_id: (node_id, name) for node_id, name in first.values()}
        result = found[self._choose("result", "which node saves the edited picture?", list(found))]
        self._refuse_missing(ancestors(self._api, result[0]))
        return result

    def missing(self) -> list[str]:
        """Nodes that the server lacks."""
        return [node_id for node_id, node in self._api.items() if node["class_type"] not in self._info]

    def _refuse_missing(self, needed: set[str]) -> None:
        if lacking := [missing(node_id, self._api[node_id]) for node_id in self.missing() if node_id in needed]:
            raise RunError(f"{self._named}: {'; '.join(lacking)}")

    def source(self, result: tuple[str, str]) -> tuple[str, list[str]]:
        """The node that loads the photo, and the others that load pictures."""
        needed = ancestors(self._api, result[0])
        found = [node_id for node_id in self._api if node_id in needed and self._loads_photo(node_id)]
        painted = {
            node_id for sampler in needed if self._is_sampler(sampler) for name, link in self._links(sampler)
            if self._type(link) == LATENT for node_id in ancestors(self._api, link[0])
        }  # fmt: skip
        starts = [node_id for node_id in found if node_id in painted]
        asked = "which picture is edited? The other belongs to it as a reference."
        source = starts[0] if len(starts) == 1 else self._choose("source", asked, found)
        return source, [node_id for node_id in found if node_id != source]

    def reference(self, others: list[str]) -> str | None:
        """The node that loads what the edit is to show; None where there is no such picture."""
        if not others:
            return None
        text = "which other picture comes with each sample as its reference?"
        chosen = self._choose("reference", text, others, none=len(others) > 1)
        return None if chosen == "none" else chosen

    def words(self, result: tuple[str, str]) -> list[WordsInput]:
        """The widgets that take the instruction; none where the graph takes no words."""
        needed = ancestors(self._api, result[0])
        samplers = [node_id for node_id in self._api if node_id in needed and self._is_sampler(node_id)]
        found: dict[tuple[str, str], WordsInput] = {}
        for sampler in samplers:
            for one in self._positive(sampler, "", set()):
                found[one.node, one.name] = one
        if not samplers:
            for node_id in self._api:
                if node_id in needed:
                    found |= {(one.node, one.name): one for one in self._texts(node_id) if one.name in _WORDS}
        nodes = list(dict.fromkeys(node_id for node_id, _ in found))
        if not nodes:
            return []
        chosen = self._choose("instruction", "which prompt takes the instruction?", nodes, none=len(nodes) > 1)
        return [one for one in found.values() if one.node == chosen]

    def seeds(self, result: tuple[str, str]) -> list[tuple[str, str]]:
        """Seed widgets, as node and input."""
        needed = ancestors(self._api, result[0])
        return [
            (node_id, name)
            for node_id, name in seed_inputs(self._api, self._info)
            if node_id in needed and self._api[node_id]["inputs"][name] is not None
        ]

    def uses(self, node_id: str, kind: str) -> bool:
        """Whether anything hangs on a node's output of this type."""
        return any(
            link[0] == node_id and self._type(link) == kind for other in self._api for _, link in self._links(other)
        )

    def mask_loaders(self, result: tuple[str, str]) -> list[str]:
        """Nodes that load nothing but a mask."""
        needed = ancestors(self._api, result[0])
        return [
            node_id
            for node_id in self._api
            if node_id in needed and self._uploads(node_id) and self._class(node_id)["output"][:1] == [MASK]
        ]

    def fitted(self, result: tuple[str, str], source: str) -> list[str]:
        """Nodes that bring the photo to the size of the edit, in their order."""
        needed = ancestors(self._api, result[0])
        samplers = [node_id for node_id in needed if self._is_sampler(node_id)]
        before = {one for sampler in samplers for one in ancestors(self._api, sampler) - {sampler}} or needed
        chain: list[str] = []
        at = source
        while True:
            following = [
                node_id for node_id in self._api
                if node_id in before and node_id not in chain and _FITTING.search(self._api[node_id]["class_type"])
                and IMAGE in (self._type((node_id, 0)), *(self._type(link) for _, link in self._links(node_id)))
                and any(link[0] == at and self._type(link) in (IMAGE, *_ANY) for _, link in self._links(node_id))
            ]  # fmt: skip
            if not following:
                return chain
            at = following[0]
            chain.append(at)

    def _choose(self, name: str, text: str, candidates: list[str], none: bool = False) -> str:
        if len(candidates) == 1 and not none:
            return candidates[0]
        choices = {node_id: self._describe(node_id) for node_id in candidates}
        return self._ask(Question(name, text, {**choices, **({"none": "none of them"} if none else {})}))

    def _describe(self, node_id: str) -> str:
        """A node in a line: its title, its class and the first of what stands in it."""
        node, title = self._api[node_id], self.title(node_id)
        values = [str(value) for value in node["inputs"].values() if isinstance(value, str) and value.strip()]
        shown = f" ({values[0].strip()[:60]!r})" if values else ""
        return f"{title}{'' if title == node['class_type'] else ' ' + node['class_type']}{shown}"

    def _positive(self, node_id: str, output: str, seen: set[tuple[str, str]]) -> Iterator[WordsInput]:
        """The words that reach a sampler as what is wanted, going up from it.

        Args:
            output: name of the output that the way comes from.
        """
        if (node_id, output) in seen:
            return
        seen.add((node_id, output))
        links = [(name, link) for name, link in self._links(node_id) if self._type(link) in ("CONDITIONING", "GUIDER")]
        same = [one for one in links if one[0] == output]
        wanted = [one for one in links if one[0] in _FOR] or [one for one in links if not _AGAINST.search(one[0])]
        for _name, link in same or wanted:
            names = self._class(link[0]).get("output_name") or self._class(link[0])["output"]
            yield from self._positive(link[0], str(names[link[1]]), seen)
        if not links:
            yield from self._texts(node_id)

    def _texts(self, node_id: str) -> Iterator[WordsInput]:
        """The widgets that a node's words come from: its own, or those of nodes that its text inputs are wired to."""
        for name, spec in self._inputs(node_id):
            value = self._api[node_id]["inputs"].get(name)
            if spec[:1] != ["STRING"] or value is None or _AGAINST.search(name):
                continue
            if is_link(value):
                yield from self._strings(value[0], set())
            elif len(spec) > 1 and (spec[1].get("multiline") or name in _WORDS):
                yield WordsInput(node_id, name, str(value))

    def _strings(self, node_id: str, seen: set[str]) -> Iterator[WordsInput]:
        if node_id in seen:
            return
        seen.add(node_id)
        links = [link for _, link in self._links(node_id) if self._type(link) in ("STRING", *_ANY)]
        for link in links:
            yield from self._strings(link[0], seen)
        if not links:  # what stands beside wired words, such as a trigger word, is the graph's own
            yield from self._texts(node_id)

    def _is_sampler(self, node_id: str) -> bool:
        found = {self._type(link) for _, link in self._links(node_id)}
        return LATENT in self._class(node_id)["output"] and LATENT in found and bool(found & {"MODEL", "GUIDER"})

    def _loads_photo(self, node_id: str) -> bool:
        return self._uploads(node_id) and self._class(node_id)["output"][:1] == [IMAGE]

    def _uploads(self, node_id: str) -> bool:
        return any(len(spec) > 1 and spec[1].get("image_upload") for _, spec in self._inputs(node_id))

    def _why_not(self) -> str:
        kinds = {
            self._type(link)
            for node_id in self._api
            if self._class(node_id).get("output_node")
            for _, link in self._links(node_id)
        }
        others = sorted(kinds - {IMAGE, MASK, *WIDGETS, *_ANY})
        classes = {node["class_type"] for node in self._api.values()}
        if others:
            return f"makes {', '.join(others).lower()}, no edited picture; a graph to adopt loads a photo and saves a picture"
        if not any(self._loads_photo(node_id) for node_id in self._api):
            return "loads no photo (it has no Load Image): it makes pictures from words alone and edits none"
        if not classes & {"SaveImage", "PreviewImage"}:
            return "saves no picture (it has no Save Image)"
        return "what it saves is no edit of the photo that it loads: wire them"

    def _class(self, node_id: str) -> dict[str, Any]:
        return dict(self._info.get(self._api[node_id]["class_type"], {"output": []}))

    def _inputs(self, node_id: str) -> Iterator[tuple[str, list[Any]]]:
        return inputs_of(self._class(node_id))

    def _links(self, node_id: str) -> list[tuple[str, list[Any]]]:
        """A node's wired inputs whose other end is there."""
        inputs = self._api[node_id]["inputs"]
        return [(name, value) for name, value in inputs.items() if is_link(value) and value[0] in self._api]

    def _type(self, link: Any) -> str:
        """What travels through a link; a switch, which takes anything, gives what it is fed."""
        seen: set[str] = set()
        while link[0] not in seen:
            seen.add(link[0])
            outputs = self._class(link[0])["output"]
            kind = str(outputs[link[1]]) if link[1] < len(outputs) else "*"
            declared = {name: spec[:1] for name, spec in self._inputs(link[0])}
            fed = [one for name, one in self._links(link[0]) if declared.get(name, [""])[0] in _ANY]
            if kind not in _ANY or not fed:
                return kind
            link = fed[0]
        return "*"
