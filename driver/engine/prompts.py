"""Prompts that are with a server, and the samples in them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from comfy_nodes.core.run_files import FOLDER

from ..journal import Journal
from .queue import Item


@dataclass
class Posted:
    """A sample in a prompt."""

    item: Item
    folder: str
    """Where its sink saves, below the server's output folder."""
    attempt: int
    uploads: tuple[str, ...] = ()
    """Names of the photo, and of what belongs to it, on the server; unknown of a prompt that an earlier run posted."""
    digest: str = ""
    """`inputs.source.digest` of the pictures that were uploaded; unknown of a prompt that an earlier run posted."""
    timed: bool = False
    """Whether the journal knows how long the server worked on it."""
    faults: int = 0
    """How often what it left could not be fetched."""

    @property
    def key(self) -> str:
        return self.item.sample.key

    @property
    def journal(self) -> Journal:
        """That of its sample."""
        return self.item.portion.journal


@dataclass
class Flight:
    """A prompt that was posted, or is about to be."""

    prompt_id: str
    posted: list[Posted]
    open: dict[int, Posted]
    """By their place in the prompt: those without an end."""
    adopted: bool = False
    """Journalled by an earlier run, which may have been killed before it posted it."""
    status: str = ""
    """As the server last told it."""
    over: bool = False
    """The server is through with it; what it gave is being brought home."""
    faults: int = 0
    """How often in a row the server could not say what became of it."""
    begun: float = field(default_factory=time.monotonic)
    polled: float = field(default_factory=time.monotonic)

    def __len__(self) -> int:
        return len(self.posted)

    def joined(self, other: Flight) -> None:
        """Takes in what another portion has in the same prompt."""
        self.posted += other.posted
        self.open.update(other.open)

    def clear(self) -> list[Posted]:
        """Takes out the samples without an end."""
        left, self.open = list(self.open.values()), {}
        return left


def sink_folder(run_id: str, key: str, submission: int) -> str:
    """Where a sample's sink saves: another place each time that it is posted."""
    return f"{FOLDER}/{run_id}/{key}-{submission}"
