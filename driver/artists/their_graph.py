"""What somebody's graph does, read from its wiring: where its photo goes in, the seeds, and what comes out.

Works on the API format, in which subgraphs are resolved, with a server's node list for the types. `their_words.py` and
`their_masks.py` read words and masks from it, for `adopt.py`. Asks where the wiring leaves it open.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from ..errors import RunError
from ..graph.api import Api, ancestors, is_link, title_of
from ..graph.bound import seed_inputs
from ..graph.page_nodes import missing
from ..graph.schemas import (
    WIDGETS,
    inputs_with,
    is_upload,
    output_names,
    output_of,
    outputs_of,
    settings_of,
    shows_results,
)

IMAGE, MASK, LATENT = "IMAGE", "MASK", "LATENT"

_FITTING = re.compile(r"scale|resize|crop|pad", re.IGNORECASE)
"""Classes that only change the size of a picture, by name."""

ANY = ("*", "COMFY_MATCHTYPE_V3")
"""Types of sockets that take, or give, whatever is wired."""


@dataclass(frozen=True)
class Question:
    """What the wiring does not tell."""

    name: str
    text: str
    choices: dict[str, str]
    """What may be answered, and what it is."""


class Graph:
    """One graph in API format."""

    def __init__(self, api: Api, object_info: dict[str, Any], name: str, ask: Callable[[Question], str]):
        self.api = api
        self._info = object_info
        self._named = name
        self._ask = ask

    def title(self, node_id: str) -> str:
        """What the artist calls a node."""
        return title_of(self.api[node_id])

    def result(self) -> tuple[str, str]:
        """The node that saves the edited picture, and which of its inputs takes it.

        Raises:
            RunError: there is none: it is no graph that edits pictures, or the server lacks a node on the way to it.
        """
        shown = [(node_id, name) for node_id in self.api if shows_results(self._class(node_id))
                 for name, link in self.links(node_id) if self.kind(link) in (IMAGE, *ANY)]  # fmt: skip
        made = [one for one in shown if not self.loads_photo(self.api[one[0]]["inputs"][one[1]][0])]
        fed = [one for one in made if any(self.loads_photo(other) for other in ancestors(self.api, one[0]))]
        if not fed:
            wired = {end for node_id in self.api for _, link in self.links(node_id) for end in (node_id, link[0])}
            self._refuse_missing(wired)
            raise RunError(f"{self._named}: {self._why_not()}")
        edited = [one for one in fed if any(self.is_sampler(other) for other in ancestors(self.api, one[0]))] or fed
        alone = [one for one in edited if sum(node_id == one[0] for node_id, _ in edited) == 1] or edited
        saved = [one for one in alone if "save" in self.api[one[0]]["class_type"].lower()] or alone
        first: dict[tuple[str, int], tuple[str, str]] = {}
        for one in saved:
            first.setdefault(tuple(self.api[one[0]]["inputs"][one[1]]), one)
        found = {node_id: (node_id, name) for node_id, name in first.values()}
        result = found[self._one_of("result", "which node saves the edited picture?", list(found))]
        self._refuse_missing(ancestors(self.api, result[0]))
        return result

    def missing(self) -> list[str]:
        """Nodes that the server lacks."""
        return [node_id for node_id, node in self.api.items() if node["class_type"] not in self._info]

    def _refuse_missing(self, needed: set[str]) -> None:
        if lacking := [missing(node_id, self.api[node_id]) for node_id in self.missing() if node_id in needed]:
            raise RunError(f"{self._named}: {'; '.join(lacking)}")

    def way(self, result: tuple[str, str]) -> set[str]:
        """The nodes that the picture which is saved depends on."""
        node_id, name = result
        return ancestors(self.api, self.api[node_id]["inputs"][name][0])

    def source(self, needed: set[str]) -> tuple[str, list[str]]:
        """The node that loads the photo, and the others that load pictures.

        Args:
            needed: the nodes on the way to the result.
        """
        found = [node_id for node_id in self.api if node_id in needed and self.loads_photo(node_id)]
        painted = {
            node_id for sampler in needed if self.is_sampler(sampler) for name, link in self.links(sampler)
            if self.kind(link) == LATENT for node_id in ancestors(self.api, link[0])
        }  # fmt: skip
        starts = [node_id for node_id in found if node_id in painted]
        asked = "which picture is edited? The other belongs to it as a reference."
        source = starts[0] if len(starts) == 1 else self._one_of("source", asked, found)
        return source, [node_id for node_id in found if node_id != source]

    def reference(self, others: list[str]) -> str | None:
        """The node that loads what the edit is to show; None where there is no such picture."""
        if not others:
            return None
        text = "which other picture comes with each sample as its reference?"
        chosen = self._one_of("reference", text, others, none=len(others) > 1)
        return None if chosen == "none" else chosen

    def seeds(self, needed: set[str]) -> list[tuple[str, str]]:
        """Seed widgets, as node and input."""
        return [
            (node_id, name)
            for node_id, name in seed_inputs(self.api, self._info)
            if node_id in needed and self.api[node_id]["inputs"][name] is not None
        ]

    def used(self, node_id: str, kind: str, needed: set[str]) -> list[int]:
        """A node's outputs of a type that another node takes."""
        found = {link[1] for other in needed for _, link in self.links(other) if link[0] == node_id}
        return sorted(slot for slot in found if self.kind((node_id, slot)) == kind)

    def painted(self, needed: set[str]) -> list[str]:
        """Nodes whose upload is a mask, or is painted over a picture that is wired to them."""
        return [
            node_id
            for node_id in self.api
            if node_id in needed and not self.loads_photo(node_id)
            and any(settings_of(spec).get("image_upload") for _, spec in self.inputs(node_id))
        ]  # fmt: skip

    def fitted(self, needed: set[str], source: str) -> list[str]:
        """Nodes that bring the photo to the size of the edit, in their order."""
        samplers = [node_id for node_id in needed if self.is_sampler(node_id)]
        before = {one for sampler in samplers for one in ancestors(self.api, sampler) - {sampler}} or needed
        chain: list[str] = []
        at = source
        while True:
            following = [
                node_id for node_id in self.api
                if node_id in before and node_id not in chain and _FITTING.search(self.api[node_id]["class_type"])
                and IMAGE in (self.kind((node_id, 0)), *(self.kind(link) for _, link in self.links(node_id)))
                and any(link[0] == at and self.kind(link) in (IMAGE, *ANY) for _, link in self.links(node_id))
            ]  # fmt: skip
            if not following:
                return chain
            at = following[0]
            chain.append(at)

    def choose(self, name: str, text: str, choices: dict[str, str], none: bool = False) -> str:
        """One of these, asked about where there are several.

        Args:
            none: whether it may be none of them, which is asked about too.
        """
        if len(choices) == 1 and not none:
            return next(iter(choices))
        return self._ask(Question(name, text, {**choices, **({"none": "none of them"} if none else {})}))

    def _one_of(self, name: str, text: str, candidates: list[str], none: bool = False) -> str:
        return self.choose(name, text, {node_id: self.described(node_id) for node_id in candidates}, none)

    def described(self, node_id: str, value: str = "") -> str:
        """A node in a line: its title, its class and a value, by default the first text of what stands in it."""
        node, title = self.api[node_id], self.title(node_id)
        values = [value, *(one for one in node["inputs"].values() if isinstance(one, str))]
        shown = next((f" ({one.strip()[:60]!r})" for one in values if one.strip()), "")
        return f"{title}{'' if title == node['class_type'] else ' ' + node['class_type']}{shown}"

    def is_sampler(self, node_id: str) -> bool:
        """Whether it makes latents of latents by a model."""
        found = {self.kind(link) for _, link in self.links(node_id)}
        return LATENT in self.outputs(node_id) and LATENT in found and bool(found & {"MODEL", "GUIDER"})

    def loads_photo(self, node_id: str) -> bool:
        """Whether it gives the picture that its widget names; one with a wired picture works on that."""
        uploads = any(is_upload(spec) and settings_of(spec).get("image_upload") for _, spec in self.inputs(node_id))
        wired = any(self.kind(link) == IMAGE for _, link in self.links(node_id))
        return uploads and not wired and self.outputs(node_id)[:1] == [IMAGE]

    def picture(self, node_id: str) -> str:
        """The file that a node which loads a photo names; "" where another node does."""
        for name, spec in self.inputs(node_id):
            value = self.api[node_id]["inputs"].get(name)
            if settings_of(spec).get("image_upload") and isinstance(value, str):
                return value
        return ""

    def outputs(self, node_id: str) -> list[str]:
        """Types of its outputs."""
        return outputs_of(self._class(node_id))

    def output_name(self, link: Any) -> str:
        """What the output at the beginning of a link is called."""
        return output_names(self._class(link[0]))[int(link[1])]

    def _why_not(self) -> str:
        kinds = {
            self.kind(link)
            for node_id in self.api
            if shows_results(self._class(node_id))
            for _, link in self.links(node_id)
        }
        others = sorted(kinds - {IMAGE, MASK, *WIDGETS, *ANY})
        classes = {node["class_type"] for node in self.api.values()}
        if others:
            return f"makes {', '.join(others).lower()}, no edited picture; a graph to adopt loads a photo and saves a picture"
        if not any(self.loads_photo(node_id) for node_id in self.api):
            return "loads no photo (it has no Load Image): it makes pictures from words alone and edits none"
        if not classes & {"SaveImage", "PreviewImage"}:
            return "saves no picture (it has no Save Image)"
        return "what it saves is no edit of the photo that it loads: wire them"

    def _class(self, node_id: str) -> dict[str, Any]:
        return cast("dict[str, Any]", self._info.get(self.api[node_id]["class_type"], {}))

    def inputs(self, node_id: str) -> Iterator[tuple[str, list[Any]]]:
        """A node's inputs as name and description."""
        return inputs_with(self._class(node_id), self.api[node_id]["inputs"])

    def links(self, node_id: str) -> list[tuple[str, list[Any]]]:
        """A node's wired inputs whose other end is there."""
        inputs = self.api[node_id]["inputs"]
        return [(name, value) for name, value in inputs.items() if is_link(value) and value[0] in self.api]

    def kind(self, link: Any) -> str:
        """What travels through a link; a switch, which takes anything, gives what it is fed."""
        seen: set[str] = set()
        while link[0] not in seen:
            seen.add(link[0])
            kind = output_of(self._class(link[0]), link[1])
            declared = {name: spec[:1] for name, spec in self.inputs(link[0])}
            fed = [one for name, one in self.links(link[0]) if declared.get(name, [""])[0] in ANY]
            if kind not in ANY or not fed:
                return kind
            link = fed[0]
        return "*"
