"""A server that shares our disk: pictures go there and come from there as files, and nothing of them is lost on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.core.records import EditRecord, records_name
from driver.comfyui.near import NearServer
from driver.dataset.binding import Origin
from driver.engine.harvest import EditHarvester, Harvest
from driver.errors import ServerFault
from tests.unit.conftest import Run

KEY, PLACE = "c" * 20, f"editpairs/{'0' * 32}/{'c' * 20}-0"


@pytest.fixture
def server(tmp_path: Path) -> NearServer:
    return NearServer("http://127.0.0.1:1", tmp_path / "cpu0")  # where nobody answers


@pytest.fixture
def saved(tmp_path: Path, run: Run) -> EditRecord:
    """A pair as the sink leaves it."""
    run.journal.enrol([run.sample_of(KEY)], None)
    for role in ("input", "output"):
        run.spool.put(KEY, role, 0, run.png(KEY, role))
    record: EditRecord = run.filed(KEY, width=12, height=12)
    named = {
        f"{role}_images": tuple(
            one.model_copy(update={"subfolder": PLACE}) for one in getattr(record, f"{role}_images")
        )
        for role in ("input", "output")
    }
    record = record.model_copy(update=named)
    folder = tmp_path / "cpu0" / "output" / PLACE
    folder.mkdir(parents=True)
    for role, images in (("input", record.input_images), ("output", record.output_images)):
        (folder / images[0].filename).write_bytes(run.spool.get(KEY, role, 0) or b"")
    (folder / records_name(KEY)).write_text(json.dumps({"editpairs": [record.model_dump(mode="json")]}))
    run.spool.clear()
    return record


@pytest.fixture
def harvest(server: NearServer, run: Run, saved: EditRecord) -> Callable[[], Harvest]:
    origin = Origin(KEY, saved.task, saved.source_path, saved.source_sha256, saved.seed, PLACE)
    return lambda: EditHarvester(run.spool).harvest(origin, server, lambda key, _: key)


def test_a_photo_is_written_where_its_widget_looks(server: NearServer, tmp_path: Path) -> None:
    assert server.upload(b"one", "k.png", "editpairs/run") == "editpairs/run/k.png [temp]"
    server.upload(b"two", "k.png", "editpairs/run")
    found = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"cpu0/temp/editpairs/run/k.png": b"two"}


def test_a_folder_that_takes_no_files_is_the_servers_fault(server: NearServer, tmp_path: Path) -> None:
    (tmp_path / "cpu0").write_bytes(b"")
    with pytest.raises(ServerFault, match="cannot be written"):
        server.upload(b"one", "k.png", "editpairs/run")


def test_pictures_are_moved_and_are_the_rows(harvest: Callable[[], Harvest], run: Run, tmp_path: Path) -> None:
    found = harvest()
    left = [path.name for path in (tmp_path / "cpu0").rglob("*") if path.is_file()]
    assert left == [records_name(KEY)]
    for one in found.staged:
        one.keep()
    run.journal.done(KEY, found.rows, 0.1)
    run.finish()
    (row,) = run.rows()
    assert row["output_images"][0]["bytes"] == run.png(KEY, "output")
    assert row["input_images"][0]["bytes"] == run.png(KEY, "input")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _link(path: Path) -> None:
    path.symlink_to(path.rename(path.with_name("elsewhere.png")))


def _text(path: Path) -> None:
    path.write_bytes(b"no picture at all")


@pytest.mark.parametrize("harm", [_cut, _link, _text])
def test_what_is_no_whole_picture_is_not_taken(
    harm: Callable[[Path], None], harvest: Callable[[], Harvest], saved: EditRecord, run: Run, tmp_path: Path
) -> None:
    """Nor is its record's other one, which a second look needs."""
    folder = tmp_path / "cpu0" / "output" / PLACE
    harm(folder / saved.output_images[0].filename)
    with pytest.raises(ServerFault, match="is no "):
        harvest()
    assert run.spool.empty and (folder / saved.input_images[0].filename).exists()


def test_a_lost_picture_is_told(harvest: Callable[[], Harvest], saved: EditRecord, run: Run, tmp_path: Path) -> None:
    (tmp_path / "cpu0" / "output" / PLACE / saved.input_images[0].filename).unlink()
    with pytest.raises(FileNotFoundError):
        harvest()
    assert run.spool.empty


def test_another_picture_than_the_records_becomes_no_row(
    harvest: Callable[[], Harvest], saved: EditRecord, run: Run, tmp_path: Path
) -> None:
    """A whole picture of the right size, under the right name: its hash is seen where rows are made."""
    (tmp_path / "cpu0" / "output" / PLACE / saved.output_images[0].filename).write_bytes(run.png("another", "output"))
    found = harvest()
    for one in found.staged:
        one.keep()
    run.journal.done(KEY, found.rows, 0.1)
    run.finish()
    assert run.rows() == [] and run.journal.undecided(KEY, 0)


def test_ended_prompts_are_forgotten_many_at_a_time(server: NearServer, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(NearServer, "_post", lambda _self, path, body, *_: asked.append((path, body)))
    for number in range(33):
        server.forget(str(number))
    assert asked == [("/history", {"delete": tuple(map(str, range(start, start + 16)))}) for start in (0, 16)]
