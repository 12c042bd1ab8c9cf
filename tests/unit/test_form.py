"""Whether a folder's run is one shard or many: decided when it begins, and kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from comfy_nodes.core.tasks import task_named
from driver.errors import RunError
from driver.inputs.source import Source
from driver.journal import Journal
from driver.options import RunOptions
from driver.pipeline.form import Form, form_of
from driver.samples import Aim
from tests.unit.source_making import mask_picture, picture

OPTIONS = RunOptions("remove", Path("out"), shard_size=3)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos with masks."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "abc":
        add(folder, name)
    return folder


def add(folder: Path, name: str) -> None:
    (folder / f"{name}.jpg").write_bytes(picture())
    (folder / f"{name}.mask.png").write_bytes(mask_picture())


def form(journal: Journal, photos: Path, options: RunOptions = OPTIONS) -> Form | None:
    return form_of(journal, options, Source(photos), [Aim(task_named("remove"))])


def test_an_input_of_one_shard_is_not_cut_and_never_will_be(journal: Journal, photos: Path) -> None:
    assert form(journal, photos) is None
    journal.set("graph", "[]")
    add(photos, "d")
    assert form(journal, photos) is None
    with pytest.raises(RunError, match="holds a run that is not cut into shards"):
        form(journal, photos, replace(OPTIONS, shard=(0, 2)))


def test_a_larger_one_is_and_stays_so(journal: Journal, photos: Path) -> None:
    add(photos, "d")
    assert form(journal, photos) == Form(3)
    (photos / "d.jpg").unlink()
    assert form(journal, photos) == Form(3)
    with pytest.raises(RunError, match=r"holds shards of 3 photos, and shards of 4 photos is asked for"):
        form(journal, photos, replace(OPTIONS, shard_size=4))
    with pytest.raises(RunError, match=r"and shards of 3 photos, share 1/2 is asked for"):
        form(journal, photos, replace(OPTIONS, shard=(1, 2)))


def test_a_share_is_of_many_shards_however_few_there_are(journal: Journal, photos: Path) -> None:
    assert form(journal, photos, replace(OPTIONS, shard=(1, 2))) == Form(3, (1, 2))
