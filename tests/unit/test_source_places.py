"""Paths that look like addresses of ours: a user's path is one by its type, whatever its folders are called."""

from __future__ import annotations

import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driver.inputs.source import Source
from driver.journal import Journal
from driver.places import Cell, Locator, Member
from driver.samples import Sample
from tests.unit.source_making import STYLE, picture, plan, reasons, samples

CASE = Path(__file__).parent.parent / "cases" / "folder-with-a-number-sign"
LOOKALIKES = (
    "set#1/cup.jpg",
    "rows.parquet#0/image.jpg",
    "a.tar#512+99/cup.jpg",
    "rows.parquet#0/image@1.png",
    "#7/x.jpg",
)
STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def placed(folder: Path) -> Path:
    for number, name in enumerate(LOOKALIKES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(picture(size=(40, 30 + number)))
    return folder


def read(source: Source) -> list[int]:
    """The heights of an input's photos, read through their locators."""
    planned = plan(source, STYLE)
    assert reasons(planned) == {}
    for sample in samples(planned):
        assert sample.annotation.size
        assert source.read(sample.file) == picture(size=sample.annotation.size)
        assert source.suffix(sample.file) in (".jpg", ".png")
    return sorted(sample.annotation.size[1] for sample in samples(planned) if sample.annotation.size)


def test_the_case() -> None:
    planned = plan(Source(CASE / "rows.parquet"), STYLE)
    assert reasons(planned) == {}
    assert len(samples(planned)) == 2


@pytest.mark.parametrize(
    "column",
    [
        pa.array(LOOKALIKES),
        pa.array([{"bytes": None, "path": name} for name in LOOKALIKES], STRUCT),
        pa.array([[name] for name in LOOKALIKES], pa.list_(pa.string())),
    ],
    ids=["text", "struct", "list"],
)
def test_in_parquet(column: pa.Array, tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": column}), placed(tmp_path) / "rows.parquet")
    assert read(Source(tmp_path / "rows.parquet")) == [30, 31, 32, 33, 34]


def test_beside_rows_that_hold_their_photos(tmp_path: Path) -> None:
    cells = [{"bytes": picture(size=(40, 99)), "path": None}, {"bytes": None, "path": "rows.parquet#0/image.jpg"}]
    pq.write_table(pa.table({"image": pa.array(cells, STRUCT)}), placed(tmp_path) / "rows.parquet")
    assert read(Source(tmp_path / "rows.parquet")) == [31, 99]


def test_in_annotations_and_folders(tmp_path: Path) -> None:
    placed(tmp_path / "photos")
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(f'{{"path": "{name}"}}\n' for name in LOOKALIKES))
    for source in (Source(lines, tmp_path / "photos"), Source(tmp_path / "photos")):
        assert read(source) == [30, 31, 32, 33, 34]


@pytest.mark.parametrize("name", ["a::b", "c:", "50%20", "set#1", "[1]", "{a,b}", "*"])
def test_the_inputs_own_folder_may_be_called_anything(name: str, tmp_path: Path) -> None:
    for path in (placed(tmp_path / name), os.path.relpath(tmp_path / name)):
        assert read(Source(path)) == [30, 31, 32, 33, 34]


def test_behind_a_web_address(tmp_path: Path) -> None:
    """There a number sign would end the address."""
    pq.write_table(pa.table({"image": pa.array(LOOKALIKES)}), placed(tmp_path) / "rows.parquet")
    serve = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert read(Source(f"http://127.0.0.1:{server.server_port}/rows.parquet")) == [30, 31, 32, 33, 34]
        finally:
            server.shutdown()
            thread.join()


def test_behind_a_store(tmp_path: Path) -> None:
    remote = fsspec.filesystem("memory")
    pq.write_table(pa.table({"image": pa.array(LOOKALIKES)}), placed(tmp_path) / "rows.parquet")
    remote.put(str(tmp_path), "/numbered", recursive=True)
    assert read(Source("memory://numbered/rows.parquet")) == [30, 31, 32, 33, 34]


@pytest.mark.parametrize(
    "place", [*LOOKALIKES, Cell("a.parquet", 3, "image", 1, "jpg"), Member("a#1/b.tar", 512, 9, "cup.jpg")], ids=str
)
def test_a_journal_keeps_which_it_is(place: Locator, journal: Journal, sample_of) -> None:
    made: Sample = sample_of("abc")
    journal.enrol([Sample("abc", place, made.annotation, reference=place, task="remove")], None)
    found = journal.sample("abc")
    assert found is not None
    assert (found.file, found.reference, found.edited, found.task) == (place, place, "", "remove")
