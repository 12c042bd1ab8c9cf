"""Where a picture lies: a path that an input's user wrote or has on disk, an address of ours in a shard, or in the run itself.

A path is a `str`, an address a type of its own, so that no path can look like one, whatever its folders are called.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import PurePosixPath
from typing import Any, Literal


@dataclass(frozen=True)
class Cell:
    """A picture in a cell of a parquet shard."""

    shard: str
    row: int
    column: str
    number: int
    """Which one, where the cell holds several."""
    suffix: str
    """How a file of its format ends, without a dot."""

    def __str__(self) -> str:
        number = f"@{self.number}" if self.number else ""
        return f"{self.shard}#{self.row}/{self.column}{number}.{self.suffix}"


@dataclass(frozen=True)
class Member:
    """A member of a tar: its bytes are read without the tar around them."""

    shard: str
    offset: int
    size: int
    name: str

    def __str__(self) -> str:
        return f"{self.shard}#{self.offset}+{self.size}/{self.name}"


@dataclass(frozen=True)
class OfInput:
    """A picture of a run's second input, or of a further one."""

    input: str
    """What the run calls the input."""
    file: str | Cell | Member
    """Where it lies there."""

    def __str__(self) -> str:
        return f"{self.input}//{self.file}"


@dataclass(frozen=True)
class State:
    """A picture of a record of this run: what a turn of a dialogue begins from."""

    key: str
    """The sample's, whose kept record has it."""
    role: Literal["input", "output"]

    def __str__(self) -> str:
        return f"{self.key}-{self.role}0.png"


Locator = str | Cell | Member | OfInput | State
"""A path below the folder that an input's photos lie in ("" for none), or an address."""

_ADDRESSES: dict[str, type[Cell] | type[Member] | type[OfInput] | type[State]] = {
    "cell": Cell,
    "member": Member,
    "input": OfInput,
    "state": State,
}


def path_of(locator: Locator) -> str:
    """
    Raises:
        OSError: it is an address, which another kind of input has.
    """
    if isinstance(locator, str):
        return locator
    raise OSError("it lies in a shard of another input")


def name_of(locator: Locator) -> str:
    """The name that it has as a file."""
    return PurePosixPath(str(locator)).name


def to_json(locator: Locator) -> Any:
    """The locator as JSON holds it: a path is a string, an address an object."""
    if isinstance(locator, str):
        return locator
    item = {"address": next(name for name, kind in _ADDRESSES.items() if isinstance(locator, kind)), **asdict(locator)}
    return item | {"file": to_json(locator.file)} if isinstance(locator, OfInput) else item


def from_json(item: Any) -> Locator:
    """What `to_json` has written."""
    if isinstance(item, str):
        return item
    fields = dict(item)
    kind = _ADDRESSES[fields.pop("address")]
    return kind(**fields | {"file": from_json(fields["file"])}) if kind is OfInput else kind(**fields)
