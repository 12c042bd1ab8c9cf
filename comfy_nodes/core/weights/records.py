"""What is known of a set of weights, of its licence, and of a way to do a task with it: the records of the model table.

`rows` has the facts, `table` finds them. Plain records; nothing here looks at a disk or a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Permission = Literal["yes", "no", "unclear"]

Policy = Literal["any", "commercial", "train"]
"""What a user needs of every model in a graph: nothing, that it may be used commercially, or that its outputs may
train other models."""

HUB = "https://huggingface.co"
"""The hub that `Weights.repository` names repositories of; HF_ENDPOINT names a mirror of it."""

RELEASES = "https://github.com"
"""Where the files that are no hub's lie: releases of a repository, with the tag as revision."""


@dataclass(frozen=True)
class Licence:
    """A licence of weights by what it says of them and of their outputs. No legal advice: the clauses are to be read."""

    name: str
    """SPDX identifier, or the licence's own name."""
    commercial: Permission
    """Whether the weights may be used commercially."""
    trains: Permission
    """Whether other models may be trained on what they put out."""
    weights: str
    """What it says of the weights' use, in few words, with the clause."""
    outputs: str
    """The same of what they put out."""
    source: str
    """Where its text is published."""

    def forbids(self, policy: Policy) -> bool:
        """Whether a policy rules it out; what is unclear is ruled out too."""
        return (policy == "commercial" and self.commercial != "yes") or (policy == "train" and self.trains != "yes")

    @property
    def clauses(self) -> str:
        """Both clauses, as people read them."""
        return f"weights: {self.weights}; outputs: {self.outputs}"


@dataclass(frozen=True)
class Code:
    """The program that loads weights, and what its licence asks of whoever runs it. It binds no output."""

    name: str
    licence: str
    """SPDX identifier."""
    clause: str


@dataclass(frozen=True)
class Part:
    """One file of a repository."""

    path: str
    """In the repository."""
    size: int | None = None
    """Bytes; None where we found no published number."""
    sha256: str | None = None
    """None where we found none published; a download then takes the one that the hub itself sends."""

    @property
    def file(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Weights:
    """A file, or a folder in hub format, as one entry of a loader's list."""

    name: str
    """As the loader shows it, without a subfolder."""
    folder: str
    """ComfyUI's model folder, as it lies under `models`."""
    role: str
    licence: Licence
    """Of the weights and what they put out."""
    repository: str
    """On the hub, `owner/name`; with `release`, on GitHub."""
    parts: tuple[Part, ...]
    revision: str | None = None
    """A commit, or a release's tag; None: not pinned, the newest is taken."""
    facts: str = ""
    """Where sizes, hashes and revision were read."""
    gated: bool = False
    """Whether the hub gives it only to accounts that have accepted its licence."""
    release: bool = False
    """Whether it is an asset of a GitHub release, not on the hub."""
    hub_format: bool = False
    """Whether `name` is a folder with `config.json` beside the weights."""
    code: Code | None = None
    """What loads them; None: ComfyUI itself a file, transformers a folder in hub format."""

    @property
    def size(self) -> int | None:
        """Bytes of all parts; None unless every large part's size is known."""
        sizes = [part.size for part in self.parts if part.size or not part.path.endswith((".json", ".txt"))]
        return None if None in sizes or not sizes else sum(size for size in sizes if size)

    @property
    def missing(self) -> tuple[str, ...]:
        """What we found no published fact for, in words."""
        heavy = [part for part in self.parts if not part.path.endswith((".json", ".txt"))]
        found = (
            ("revision", self.revision is None),
            ("size", any(part.size is None for part in heavy)),
            ("sha256", any(part.sha256 is None for part in heavy)),
        )
        return tuple(name for name, lacking in found if lacking)

    def target(self, part: Part) -> str:
        """Where a part lies under ComfyUI's `models`, with forward slashes."""
        return f"{self.folder}/{self.name}/{part.path}" if self.hub_format else f"{self.folder}/{self.name}"

    def address(self, part: Part, endpoint: str = HUB) -> str:
        """Where a part is downloaded from."""
        if self.release:
            return f"{RELEASES}/{self.repository}/releases/download/{self.revision}/{part.path}"
        return f"{endpoint}/{self.repository}/resolve/{self.revision or 'main'}/{part.path}"

    @property
    def page(self) -> str:
        """Where a person reads about it and accepts its licence."""
        return f"{RELEASES if self.release else HUB}/{self.repository}"


@dataclass(frozen=True)
class Route:
    """One way to do a task, or a stage: a workflow and the weights that it names."""

    task: str
    workflow: str
    """As `--workflow` takes it."""
    weights: tuple[Weights, ...] = ()
    """What it names; none where no model takes part."""

    def allowed(self, policy: Policy) -> bool:
        return not any(one.licence.forbids(policy) for one in self.weights)
