"""Which branch of a graph makes an operation's edit: Choose Edit by Operation runs that one, the driver packs by it."""

from __future__ import annotations

CHOOSER = "EditPairsChooseOperation"

BRANCHES = {"add": "erased", "remove": "erased", "replace": "replaced", "alter": "altered"}
"""The branch by the operation. An added thing is in the picture already, and erased from the one before."""

_PARTS = ("_sample", "", "_mask")


def inputs_for(op: str) -> tuple[str, ...]:
    """The chooser's inputs for an operation: its branch's sample, picture and mask. None where no branch makes it."""
    return _inputs(BRANCHES[op]) if op in BRANCHES else ()


def inputs_of_others(op: str) -> frozenset[str]:
    """The chooser's inputs that an operation does not need; none where no branch makes it."""
    if op not in BRANCHES:
        return frozenset()
    return frozenset(name for way in BRANCHES.values() if way != BRANCHES[op] for name in _inputs(way))


def _inputs(way: str) -> tuple[str, ...]:
    return tuple(f"{way}{part}" for part in _PARTS)
