"""A recipe as its file says it: stages in their order, each a run of its own kind with options of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class InputShare:
    """One of a recipe's inputs."""

    path: str
    """As `--input` takes it."""
    share: float | None
    """How much of all photos comes from it, more than 0 and at most 1; None where it is not said."""


@dataclass(frozen=True)
class RecipeStage:
    """One stage."""

    name: str
    """The folder of its results: small letters, digits and -."""
    workflow: str
    """As `--workflow` takes it."""
    options: Mapping[str, Any]
    """What else it says, as fields of `RunOptions`."""


@dataclass(frozen=True)
class Recipe:
    """A recipe."""

    name: str
    about: str
    """What it makes, in a line."""
    path: Path
    inputs: tuple[InputShare, ...]
    """What it is made of where the command line names no input."""
    near: int | None
    """Hamming distance of perceptual hashes from which two photos count as one; None where nobody looks."""
    stages: tuple[RecipeStage, ...]
    """At least one."""
