"""Inputs of millions of photos, and folders of runs that have done nearly all of them.

A run's folder is aged by copying a shard that the driver committed: each copy gets a commit, a file of keys and folders of
its own, in the driver's own formats, and links to the template's rows and journal.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image

from driver.dataset.commits import Commit, committed, keys_of
from driver.dataset.parts import Part
from driver.dataset.shards import CONFIGS

SIDE = 512
_PHOTO = "photos/{:09d}.png"


def make_items(folder: Path, count: int, first: int, last: int) -> Path:
    """An ImgEdit annotation of `count` photos with a region each.

    Args:
        first: so many of its first photos are there;
        last: and so many of its last ones. The driver looks at the photos of shards that it plans, and at no others.

    Returns:
        The JSONL file, about 210 bytes a photo; the photos lie beside it.
    """
    (folder / "photos").mkdir(parents=True)
    one = folder / "one.png"
    Image.linear_gradient("L").resize((SIDE, SIDE)).save(one)
    for number in {*range(min(first, count)), *range(max(0, count - last), count)}:
        (folder / _PHOTO.format(number)).hardlink_to(one)
    before, after = _line().split(_PHOTO.format(0))
    path = folder / "items.jsonl"
    with path.open("w", encoding="ascii") as file:
        for number in range(count):
            file.write(before + _PHOTO.format(number) + after)
    return path


def _line() -> str:
    thing = {"class_name": "cup", "bbox": [90, 120, 210, 260], "score": 0.9, "clip_score": 0.9, "aes_score": 5.0}
    item = {
        "path": _PHOTO.format(0),
        "resolution": {"width": SIDE, "height": SIDE},
        "segmentation": {"object": [thing], "background": []},
    }
    return json.dumps(item, separators=(",", ":")) + "\n"


def commit_most(output: Path, shards: int) -> None:
    """Gives a run's folder commits for its first `shards` shards, as if the driver had run them.

    Args:
        output: of a run over `make_items` that committed its first shard.

    Raises:
        RunError: it did not.
    """
    template = Part.of_shard(output, 0)
    commit = committed(template)
    samples = len(keys_of(template))
    beside = set(template.commit.parent.glob(f"{template.name}.*")) - {template.commit, template.keys}
    for index in range(1, shards):
        part = Part.of_shard(output, index)
        for config in CONFIGS:
            _link_folder(template.config(config), part.config(config))
        for there in beside:
            here = there.with_name(there.name.replace(template.name, part.name))
            here.unlink(missing_ok=True)
            here.hardlink_to(there)
        keys = np.sort(np.random.default_rng(index).integers(0, 2**64, samples, "u8", endpoint=False)).tobytes()
        part.keys.write_bytes(keys)
        part.commit.write_text(_copied(commit, index, keys).model_dump_json(indent=1) + "\n", encoding="utf-8")


def _copied(commit: Commit, index: int, keys: bytes) -> Commit:
    """The template's commit as another shard has it."""
    first = commit.cut.first.replace(f"{0:09d}", f"{index * commit.cut.items:09d}")
    assert first != commit.cut.first, "a photo's source id says its number"
    cut = commit.cut.model_copy(update={"first": first, "whole": True})
    changed = {"index": index, "cut": cut, "keys": hashlib.sha256(keys).hexdigest()}
    return commit.model_copy(update=changed).sealed()


def _link_folder(there: Path, here: Path) -> None:
    here.mkdir(exist_ok=True)
    for path in here.iterdir():
        path.unlink()
    for path in there.iterdir():
        os.link(path, here / path.name)
