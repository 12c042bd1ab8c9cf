"""Whether a folder's run is one shard or many: decided when it begins, and kept."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from comfy_nodes.core.regions.annotation import Annotation
from comfy_nodes.core.tasks import task_named
from driver.errors import RunError
from driver.inputs.cutting import Shard, grown
from driver.inputs.source import Source
from driver.journal import Journal
from driver.options import RunOptions
from driver.pipeline.form import FIRST, Form, form_of, form_of_stage
from driver.pipeline.given import StageQuotas
from driver.pipeline.stage import Run
from driver.samples import Aim, Sample
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


def test_shards_of_a_recipes_stage_begin_small_and_leave_a_short_tail() -> None:
    sizes, start = [], 0
    while start < 40_000:
        sizes.append(grown(FIRST, start, 1000))
        start += sizes[-1]
    assert sizes[:16] == [8] * 16
    assert sizes[-1] == 1000 and len(sizes) < 150
    assert all(size <= max(8, sum(sizes[:number]) / 16) for number, size in enumerate(sizes))


def test_the_form_of_a_recipes_stage_is_kept(tmp_path: Path) -> None:
    with closing(Journal(tmp_path / "run.sqlite")) as journal:
        made = form_of_stage(journal, OPTIONS)
        assert form_of_stage(journal, OPTIONS) == made == Form(3, first=FIRST)
        with pytest.raises(RunError, match=r"holds a recipe's stage, in shards of 3 photos at most .*shards of 4"):
            form_of_stage(journal, replace(OPTIONS, shard_size=4))


def test_quotas_are_spread_over_a_recipes_photos_and_what_is_left_over_goes_on(tmp_path: Path) -> None:
    """Of two kinds with a quota the shards before gave out as planned, or less."""
    (tmp_path / "shards").mkdir()
    with closing(Journal(tmp_path / "run.sqlite")) as meta:
        source = SimpleNamespace(spread_over=100)
        options = replace(OPTIONS, output=tmp_path, kinds="remove=10,style=5,alter")
        run = cast(
            Run, SimpleNamespace(options=options, source=source, folder=SimpleNamespace(path=tmp_path, journal=meta))
        )

        def cut(index: int, passed: int) -> Shard:
            return Shard(index, 0, 0, "", "", False, passed=passed)

        assert StageQuotas(run).of(cut(0, 40)) == {"remove": 4, "style": 2}
        with closing(Journal(tmp_path / "shards" / "000000.sqlite")) as journal:
            journal.enrol([sample_with("a", "remove"), sample_with("b", "style"), sample_with("c", "style")], None)
        quotas = StageQuotas(run)
        assert quotas.of(cut(0, 40)) == {"remove": 4, "style": 2}, "decided for good"
        assert quotas.of(cut(1, 80)) == {"remove": 7, "style": 2}
        assert quotas.of(cut(2, 100)) == {"remove": 9, "style": 3}


def sample_with(key: str, task: str) -> Sample:
    return Sample(key, f"{key}.png", Annotation(path=f"{key}.png", size=(8, 8), regions=()), task=task)
