"""`--status`: how far each stage of a recipe is, by its commits and journals, while it runs too."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from driver import batch
from driver.dataset.commits import SETTLED
from driver.dataset.ownership import JOURNAL
from driver.journal import Journal
from driver.samples import Sample
from tests.unit.recipe_making import PAIRS, Folder

Make = Callable[..., Sample]


@pytest.fixture
def folder(tmp_path: Path, sample_of: Make, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """A recipe in the middle: its first stage has an open shard, its second a whole one, its last has not begun."""
    monkeypatch.setenv("EDITPAIRS_CACHE", str(tmp_path / "cache"))
    made = Folder(tmp_path / "out", ("write", "edit", "verify"), sample_of)
    made.begin("write")
    made.shard("write", 0, [(one, "remove", "keep") for one in "abcd"], skips=["NoKind"] * 4)
    made.shard("write", 1, [("e", "remove", "keep")], waiting=3, whole=False)
    made.begin("edit", PAIRS)
    edits = [("a", "remove", "unscored"), ("b", "remove", "reject"), ("c", "remove", "unscored")]
    made.shard("edit", 0, edits, failures=1, items=4, seconds=60)
    return made


def status_of(folder: Folder, *words: str) -> int:
    return batch.main(["--recipe", "imgedit", "--output", str(folder.output), "--status", *words])


def test_the_table_tells_how_far_each_stage_is(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(folder) == 0
    head, write, edit, verify = (line.split() for line in capsys.readouterr().out.splitlines())
    assert head[:3] == ["stage", "state", "waiting"]
    assert write == ["write", "open", "3", "5", "5", "0", "0", "4", "0", "0", "0.00", "0:02", "4.50/s"]
    assert edit == ["edit", "open", "0", "1", "3", "2", "1", "0", "0", "1", "0", "0.00", "1:00", "0.07/s"]
    assert verify == ["verify", "not", "begun", "2"]


def test_a_recipe_that_is_finished_says_so(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    """A stage before which all is done is done itself when its run says that nothing is left to do."""
    for index, name in enumerate(("write", "edit")):
        folder.shard(name, index + 2, [(f"{name}{index}", "remove", "keep")])
    with closing(Journal(folder.stage("edit") / JOURNAL)) as journal:
        journal.set(SETTLED, "f" * 64)
    assert status_of(folder) == 0
    edit = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("edit"))
    assert edit.split()[1] == "done" and "so far" not in edit


def test_programs_get_the_same(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    assert status_of(folder, "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    write, edit, verify = told["stages"]
    assert (write["pending"], write["skips"], write["to_come"]) == (3, {"NoKind": 4}, None)
    assert (edit["state"], edit["to_come"], edit["yield"]) == ("open", 1, 0.5)
    assert (verify["state"], verify["to_come"]) == ("not begun", 2)


def test_it_is_told_while_somebody_writes_and_nothing_is_written(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    def files() -> set[Path]:
        return set(folder.output.rglob("*"))

    before = files()
    with closing(Journal(folder.stage("write") / "shards" / "000001.sqlite")) as journal:
        with journal._transaction():
            journal._db.execute("UPDATE samples SET state = 'done' WHERE key = 'waits1-0'")
            assert status_of(folder) == 0
            assert " 3 " in capsys.readouterr().out.splitlines()[1], "what is not committed is not seen"
        assert status_of(folder) == 0
        assert " 2 " in capsys.readouterr().out.splitlines()[1]
    assert files() == before


def test_where_no_recipe_ran_there_is_nothing_to_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch.main(["--recipe", "imgedit", "--output", str(tmp_path), "--status"]) == 2
    assert "no recipe has begun there (recipe.json is missing)" in capsys.readouterr().err
