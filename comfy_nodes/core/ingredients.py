"""What a server makes a graph's pixels and words with, by content: the pack's code, prompts, weights, VLM profiles.

A server tells it of itself; the driver compares servers with each other and with what a folder's rows were made with,
and hashes it into each row. Nothing here looks at a disk.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict

from .graph_names import Graph, pictures_named, profiles_named, weights_named

ROUTE = "/editpairs/ingredients"
"""Where a server tells them: POST a graph in API format; 202 says that it is still reading weights, ask again."""


class Ingredients(BaseModel):
    """Everything that stands behind the names in a graph, as hashes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str
    """Of the pack."""
    code: str
    """SHA-256 of the pack's own code, as this process loaded it."""
    prompts: dict[str, str]
    """Version and SHA-256 of each prompt file, by id."""
    packs: dict[str, str] = {}
    """SHA-256 of the code behind nodes of other packs, by class."""
    weights: dict[str, str | None] = {}
    """SHA-256 of weights by the name that a loader shows; None where no model folder has them."""
    pictures: dict[str, str | None] = {}
    """The same of pictures that the graph itself names, such as a fixed reference."""
    profiles: dict[str, dict[str, str]] = {}
    """What decides a VLM profile's answers, by name and field: the model by its name, all else by its SHA-256. Empty
    where there is no such profile."""
    terms: dict[str, dict[str, str]] = {}
    """What the operator says of a VLM profile's licence, by name: `licence` and `outputs_may_train`, as far as said.
    Decides no pixel and no word, and is not hashed."""
    profiles_fault: str = ""
    """What is wrong with the operator's file of VLM profiles, so that none can be used. Not hashed."""

    @property
    def sha256(self) -> str:
        text = json.dumps(self.model_dump(mode="json", exclude={"terms", "profiles_fault"}), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def of(self, graph: Graph) -> Ingredients:
        """What of it a part of the graph names."""
        weights = {choice for node in graph.values() for _, choice in weights_named(node)}
        pictures = {name for node in graph.values() for name in pictures_named(node)}
        classes, profiles = {node["class_type"] for node in graph.values()}, profiles_named(graph)
        return self.model_copy(
            update={
                "packs": {name: code for name, code in self.packs.items() if name in classes},
                "weights": {name: content for name, content in self.weights.items() if name in weights},
                "pictures": {name: content for name, content in self.pictures.items() if name in pictures},
                "profiles": {name: fields for name, fields in self.profiles.items() if name in profiles},
                "terms": {name: said for name, said in self.terms.items() if name in profiles},
            }
        )

    def differences(self, other: Ingredients) -> list[str]:
        """In what it differs from `other`, a few words each."""
        return [*self._code(other), *self._prompts(other), *self._files(other), *self._profiles(other)]

    def _code(self, other: Ingredients) -> Iterator[str]:
        if self.version != other.version:
            yield f"EditPairs is {self.version} instead of {other.version}"
        elif self.code != other.code:
            yield f"the code of EditPairs {self.version} is other code"
        for name in _odd(self.packs, other.packs):
            yield f"the code of {name}'s node pack is other code"

    def _prompts(self, other: Ingredients) -> Iterator[str]:
        for name in _odd(self.prompts, other.prompts):
            mine, theirs = (one.prompts.get(name, "missing").split()[0] for one in (self, other))
            versions = f"is version {mine} instead of {theirs}" if mine != theirs else f"{mine} has another text"
            yield f"prompt {name} {versions}"

    def _files(self, other: Ingredients) -> Iterator[str]:
        for kind in ("weights", "pictures"):
            mine, theirs = getattr(self, kind), getattr(other, kind)
            for name in _odd(mine, theirs):
                contents = " instead of ".join((one.get(name) or "none")[:12] for one in (mine, theirs))
                yield f"{'model' if kind == 'weights' else 'picture'} {name} has other content ({contents})"

    def _profiles(self, other: Ingredients) -> Iterator[str]:
        for name in _odd(self.profiles, other.profiles):
            mine, theirs = (one.profiles.get(name, {}) for one in (self, other))
            fields = _odd(mine, theirs)
            if "model" in fields:
                yield f"VLM profile {name!r} asks {mine.get('model', 'nobody')} instead of {theirs.get('model', 'nobody')}"
            if rest := [field for field in fields if field != "model"]:
                yield f"VLM profile {name!r} has another {', '.join(rest)}"


def _odd(mine: Mapping[str, object], theirs: Mapping[str, object]) -> list[str]:
    """Keys under which two mappings hold other values."""
    return sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))
