"""Which folders a run or an export may clear, and that nothing of ours is written through a link."""

from __future__ import annotations

import os
import shutil
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.core.whole_files import new_file, replacing, write_whole
from driver.dataset.dataset import read_facts, write_dataset
from driver.dataset.ownership import MARK, WORK, check_run_folder
from driver.dataset.parts import Part
from driver.dataset.rows import RunFacts
from driver.errors import RunError
from driver.exports.forms import export
from driver.journal import Journal
from driver.pipeline.folder import OutputFolder

FACTS = RunFacts("remove", "a" * 64, "b" * 64, "classical")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write(path: Path, text: str = "mine") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def somebodys_database(path: Path) -> None:
    with sqlite3.connect(path) as opened:
        opened.execute("CREATE TABLE experiments (name TEXT)")
    opened.close()


@pytest.mark.parametrize(
    "names",
    [
        [".work/notes.txt", "thesis.txt"],
        [".work/spool/a.txt"],
        [".work/lock", "src/main.py"],
        [".work/editpairs"],
        ["run.sqlite"],
        ["data/photos.csv"],
    ],
)
def test_a_folder_that_no_run_made_is_left_alone(names: list[str], tmp_path: Path) -> None:
    for name in names:
        write(tmp_path / name)
    before = tree(tmp_path)
    with pytest.raises(RunError, match="holds files that no run left there") as error:
        OutputFolder(tmp_path)
    assert (error.value.status, tree(tmp_path)) == (2, before)


@pytest.mark.parametrize("place", ["data", "data/x", "rejected/x", "shards/x", ".work/x"])
def test_no_run_goes_among_the_files_of_another(place: str, run: Any) -> None:
    run.add("a")
    run.finish()
    with pytest.raises(RunError, match="lies among the files of another run"):
        check_run_folder(run.output / place)
    check_run_folder(run.output / "more")


def test_what_readers_leave_of_a_run_that_never_began_is_no_hindrance(tmp_path: Path) -> None:
    (tmp_path / "run.sqlite-shm").touch()
    OutputFolder(tmp_path).close()


def test_somebody_elses_database_of_that_name_is_left_alone(tmp_path: Path) -> None:
    somebodys_database(tmp_path / "run.sqlite")
    before = tree(tmp_path)
    with pytest.raises(RunError, match=r"holds files that no run left there \(run\.sqlite\)"):
        OutputFolder(tmp_path)
    assert tree(tmp_path) == before


def test_a_users_work_folder_in_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    Journal(tmp_path / "run.sqlite").close()
    write(tmp_path / WORK / "notes.txt")
    with pytest.raises(RunError, match=r"\.work/notes\.txt"):
        OutputFolder(tmp_path)
    assert (tmp_path / WORK / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("left", [[], ["lock", "spool/a.input0.png", "data.new/x", "server-0/log"]])
def test_a_run_folder_of_a_version_without_marks_is_resumed(left: list[str], tmp_path: Path) -> None:
    Journal(tmp_path / "run.sqlite").close()
    for name in left:
        write(tmp_path / WORK / name)
    OutputFolder(tmp_path).close()


@pytest.mark.parametrize("left", [[], [".editpairs.part"]])
def test_a_run_that_was_killed_before_its_mark_is_resumed(left: list[str], tmp_path: Path) -> None:
    (tmp_path / WORK).mkdir()
    for name in left:
        write(tmp_path / WORK / name)
    OutputFolder(tmp_path).close()


def test_a_full_disk_is_called_that_and_leaves_nothing_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(RunError, match="is full: make room"):
        patched.setattr(os, "fsync", full)
        OutputFolder(tmp_path / "out")
    OutputFolder(tmp_path / "out").close()


@pytest.mark.parametrize("step", ["before the journal", "before its tables"])
def test_a_run_that_was_killed_at_its_very_beginning_is_resumed(step: str, tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    folder._lock.release()
    folder.journal.close()
    (tmp_path / "run.sqlite").unlink()
    if step == "before its tables":
        (tmp_path / "run.sqlite").touch()
    OutputFolder(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_a_marked_work_folder_does_not_make_what_lies_beside_it_ours(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path)
    folder._lock.release()
    folder.journal.close()
    (tmp_path / "run.sqlite").unlink()
    write(tmp_path / "data" / "photos.csv")
    with pytest.raises(RunError, match=r"no run left there \(data\)"):
        OutputFolder(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "data", "rejected", "images", "open", "run.sqlite-wal", "run.log.jsonl", "run.log.jsonl.1", "annotate.sqlite", "near.sqlite",
        "labels.jsonl", ".work", ".work/lock", ".work/spool", ".work/data.new", f".work/{MARK}", "shards", ".work/shards",
        "shards/000003.sqlite", "data/000003", "rejected/000003", ".work/shards/000003",
    ],
)  # fmt: skip
def test_a_planted_link_is_not_followed(name: str, tmp_path: Path) -> None:
    victim, output = tmp_path / "victim", tmp_path / "out"
    write(victim / "precious" / "file.txt")
    output.mkdir()
    Journal(output / "run.sqlite").close()
    link = output / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(victim / "precious", target_is_directory=True)
    with pytest.raises(RunError, match="is a link"):
        OutputFolder(output)
    assert tree(victim) == {"precious/file.txt": b"mine"}


@pytest.mark.parametrize("planted", ["README.md", ".README.md.part"])
def test_a_file_is_replaced_and_not_written_through_a_link(planted: str, tmp_path: Path) -> None:
    write(tmp_path / "victim")
    (tmp_path / planted).symlink_to(tmp_path / "victim")
    write_whole(tmp_path / "README.md", "new")
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "README.md").is_symlink()
    assert (tmp_path / "README.md").read_text() == "new"


def test_a_link_that_comes_in_between_makes_it_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "victim")
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        real(path, missing_ok=missing_ok)
        if not os.path.lexists(path):
            path.symlink_to(tmp_path / "victim")

    with monkeypatch.context() as patched, pytest.raises(FileExistsError):
        patched.setattr(Path, "unlink", unlink)
        write_whole(tmp_path / "README.md", "new")
    assert (tmp_path / "victim").read_text() == "mine"


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    write(tmp_path / "README.md")
    with pytest.raises(RuntimeError), replacing(tmp_path / "README.md") as file:
        file.write(b"half")
        raise RuntimeError
    assert tree(tmp_path) == {"README.md": b"mine"}


def test_a_name_that_cannot_be_taken_leaves_no_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "README.md").mkdir()
    with pytest.raises(OSError):
        write_whole(tmp_path / "README.md", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_a_new_file_takes_no_others_name_and_goes_where_it_was_not_ended(tmp_path: Path) -> None:
    write(tmp_path / "theirs")
    with pytest.raises(FileExistsError), new_file(tmp_path / "theirs"):
        pass
    with pytest.raises(KeyboardInterrupt), new_file(tmp_path / "ours") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert tree(tmp_path) == {"theirs": b"mine"}


@pytest.mark.parametrize("layout", ["hf", "imgedit", "wds"])
def test_what_a_user_put_into_the_datasets_folders_outlives_a_finish(layout: str, run: Any) -> None:
    mine = {"data/notes.txt", "data/Columns/mine.parquet", "rejected/why/a.png", "data/train.parquet"}
    run.add("a", "b")
    finish = partial(write_dataset, run.journal, run.spool, Part(run.output), FACTS)
    finish(layout)
    for name in mine:
        write(run.output / name)
    for other in ("wds", "hf", "imgedit", layout):
        finish(other)
        found = tree(run.output)
        assert {name: found.get(name) for name in mine} == dict.fromkeys(mine, b"mine")
        facts = read_facts(Part(run.output))
        assert facts is not None
        ours = {f"{at}/{file}" for at, one in facts.configs.items() for shard in one.shards for file in shard.files}
        assert {name for name in found if name.startswith(("data/", "rejected/"))} == mine | ours


def test_what_a_user_put_into_an_export_outlives_the_next_one(
    run: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    out = tmp_path_factory.mktemp("exports") / "pairs"
    run.add("a" * 20, "b" * 20)
    run.finish()
    export(run.output, "pairs", out, "hard")
    mine = {"notes.txt", "target/cat.png", "target/caption.txt", "target/_latent_cache/x.safetensors"}
    for name in mine:
        write(out / name)
    run.journal.lost(["b" * 20])
    run.finish()
    export(run.output, "pairs", out, "hard")
    ours = {
        "export.json",
        *(f"{one}/{'a' * 20}.{end}" for one, end in (("control", "png"), ("target", "png"), ("target", "txt"))),
    }
    found = tree(out)
    assert set(found) == mine | ours
    assert {found[name] for name in mine} == {b"mine"}


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_a_finished_dataset_whose_journal_is_gone_is_told_apart_from_strange_files(how: str, run: Any) -> None:
    run.finish()
    output = run.output / "copy"
    for name in ("data", "rejected"):
        shutil.copytree(run.output / name, output / name)
    for name in ("shards.json", "summary.json", "telemetry.parquet", *(["run.sqlite"] if how == "damaged" else ())):
        write(output / name)
    before = tree(output)
    with pytest.raises(RunError, match=f"journal, run.sqlite, is {how}; .*restore the journal from a copy") as error:
        OutputFolder(output)
    assert "delete" not in str(error.value)
    assert tree(output) == before
