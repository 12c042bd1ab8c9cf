"""Keys: the one name of a sample, the same on every machine and in every run, and what else may become a file's name.

Whatever comes out of a graph, a record, a manifest or a shard and is to name a file has one of these types: it stays in
the folder that it is written to.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

if TYPE_CHECKING:
    from .regions.annotation import Region

MAX_SEED = 2**53 - 1
"""Largest integer that JavaScript holds exactly, so that a saved workflow keeps the seed."""

KEY_LENGTH = 20

_WRITTEN = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
"""How what a key stands for is written down; the fields of an object stand in the order of their names."""


def checked_key(key: str) -> str:
    """
    Raises:
        ValueError: the text is no key.
    """
    if not re.fullmatch("[0-9a-z_-]{1,40}(~[0-9a-z]{1,12}){0,2}", key):
        raise ValueError("not a key (small letters, digits, - and _, and more of them behind a ~)")
    return key


Key = Annotated[str, AfterValidator(checked_key)]
"""A sample's or a record's key: small letters, digits, `-`, `_`; a record's goes on behind `~`. No dot, as a webdataset
key ends there; no capitals, as some disks take them for small letters."""


def file_stem(key: str) -> str:
    """A key as names of a sink's files begin with it."""
    return re.sub("[^0-9A-Za-z]", "-", key)


def _file_name(name: str) -> str:
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
        raise ValueError("not the bare name of a file")
    return name


def _path_inside(path: str) -> str:
    for part in path.split("/"):
        _file_name(part)
    return path


def _folder_inside(path: str) -> str:
    return path and _path_inside(path)


FileName = Annotated[str, AfterValidator(_file_name)]
"""A file's name, without any folder."""

PathInside = Annotated[str, AfterValidator(_path_inside)]
"""A path with `/` that does not leave the folder that it is relative to."""

FolderInside = Annotated[str, AfterValidator(_folder_inside)]
"""The same of a folder; empty for the folder itself."""


def sample_key(source_id: str, region: Region | None, task: str, slot: str = "") -> str:
    """Hash of what makes a sample that sample: its source, region, task and slot.

    Args:
        source_id: the source's relative id.
        region: the region that is edited; its content counts, not its place in a list.

    Returns:
        20 hexadecimal digits.
    """
    where = None
    if region:
        mask = region.mask and {"counts": region.mask.counts, "size": region.mask.size}
        where = {"bbox": region.bbox, "class_name": region.class_name, "kind": region.kind, "mask": mask}
    text = _WRITTEN.encode([source_id, where, task, slot])
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def turn_key(dialogue: str, number: int) -> str:
    """The key of a turn's sample.

    Args:
        dialogue: the key of the whole.
        number: the turn's, from 1.
    """
    return f"{dialogue}~{number - 1}"


def sample_seed(run_seed: int, key: str, attempt: int) -> int:
    """The seed of one attempt at a sample, 0 to `MAX_SEED`."""
    digest = hashlib.sha256(f"{run_seed}/{key}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 11
