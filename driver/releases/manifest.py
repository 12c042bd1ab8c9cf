"""What says that a release is whole, and what it is: `manifest.json`, the last of its files that is written.

Its seal is a hash of all that it says; the release after it names that seal, so that a line of releases can be followed.
"""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from comfy_nodes.core.keys import PathInside

from ..dataset.shards import seal_of
from ..errors import RunError

MANIFEST = "manifest.json"

SPLITS = ("train", "validation", "test")
"""The parts of a release, in their order."""


class Version(NamedTuple):
    """A release's version: larger is newer."""

    major: int
    minor: int
    patch: int

    @classmethod
    def of(cls, text: str) -> Version:
        """
        Raises:
            ValueError: no version.
        """
        found = re.fullmatch(r"v?(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})", text)
        if found is None:
            raise ValueError(f"{text!r} is no version such as 1.2.0")
        return cls(*map(int, found.groups()))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def folder(self) -> str:
        """The name of the release's folder."""
        return f"v{self}"


def _version(text: str) -> str:
    return str(Version.of(text))


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ReleasedFile(_Said):
    """A file of a release."""

    path: PathInside
    size: int
    sha256: str


class Named(_Said):
    """Another release, by what cannot be changed in it unseen."""

    version: Annotated[str, AfterValidator(_version)]
    seal: str


class Counts(_Said):
    """Rows by what they are. A row is counted with each model that took part in it."""

    splits: dict[str, int]
    tasks: dict[str, int]
    kinds: dict[str, int]
    """By the taxonomy's ids; of ImgEdit's own tasks the task's name."""
    licences: dict[str, int]
    """By the photos' licences; empty where none is stated."""
    models: dict[str, int]
    """By name and licence."""
    judges: dict[str, int]
    """By the judge's model; empty where none judged."""
    workflows: dict[str, int]
    """By the workflow that made the row."""


class MadeOf(_Said):
    """A run's folder that went into a release."""

    folder: str
    """Its name; no path of a machine."""
    dataset: str
    """`dataset_digest` of its rows."""
    kept: int
    """Rows that it has."""
    taken: int
    """Rows of it that are in the release."""
    stages: str
    """SHA-256 over the sorted stage hashes of these; each row has its own."""
    recipe: str = ""
    """The name of the recipe that it was made by; empty where it was none."""
    recipe_sha256: str = ""
    """Of `recipe.json`, which says how that was resolved."""


class Quota(_Said):
    """How many rows of a task or kind were asked for, and how many there are."""

    name: str
    asked: int
    taken: int


class Changes(_Said):
    """How a task's rows differ from those of the release before."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    same: int = 0


class Asked(_Said):
    """The options that decided what is in a release."""

    split: tuple[float, ...]
    licence_policy: str
    max_per_source: int | None
    near: int | None
    seed: int
    against: tuple[str, ...]
    """Names of the folders of benchmarks, with their pictures: `gedit (606 pictures)`."""


class Manifest(_Said):
    """`manifest.json`."""

    form: int = 1
    version: Annotated[str, AfterValidator(_version)]
    made_with: str
    """EditPairs with its version."""
    since: Named | None
    """The release before."""
    rows: int
    photos: int
    """Photos that count as one each, as of `Photos.own`."""
    content: str
    """SHA-256 over the rows' keys, splits and digests: equal for releases of the same rows."""
    counts: Counts
    left_out: dict[str, int]
    """Rows of the folders that are not in it, by reason."""
    quotas: tuple[Quota, ...]
    changes: dict[str, Changes]
    """By task; empty in a first release."""
    removed: dict[str, int]
    """Rows of the release before that are not in it, by reason."""
    asked: Asked
    made_of: tuple[MadeOf, ...]
    files: tuple[ReleasedFile, ...]
    """All of the release's files but this one."""
    seal: str = ""
    """SHA-256 of all else here."""

    @model_validator(mode="after")
    def _is_sealed(self) -> Manifest:
        if self.seal not in ("", seal_of(self)):
            raise ValueError("changed after it was written")
        return self

    def sealed(self) -> Manifest:
        return self.model_copy(update={"seal": seal_of(self)})

    @property
    def named(self) -> Named:
        return Named(version=self.version, seal=self.seal)

    def text(self) -> str:
        return self.model_dump_json(indent=1) + "\n"


def read_manifest(text: str | bytes, where: str) -> Manifest:
    """
    Args:
        where: the release, for errors.

    Raises:
        RunError: it was changed, or is none.
    """
    try:
        found = Manifest.model_validate_json(text)
    except ValueError as error:
        changed = "changed after it was written" in str(error)
        why = "was changed after it was written" if changed else "is no manifest of a release"
        raise RunError(f"{where}: its {MANIFEST} {why}; take the release from where it came from again") from None
    if not found.seal:
        raise RunError(f"{where}: its {MANIFEST} has no seal; take the release from where it came from again")
    return found


def content_of(rows: list[tuple[str, str, bytes]]) -> str:
    """SHA-256 over rows: split, key and digest of each, whatever their order."""
    digest = hashlib.sha256()
    for split, key, found in sorted(rows):
        digest.update(f"{split}\n{key}\n".encode() + found)
    return digest.hexdigest()
