"""The index of a pool on disk: what is found in it against cosines by numpy, and what is left where writing breaks off."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from comfy_nodes.core.embeddings import FIELD, decode, encode
from comfy_nodes.core.keys import sample_key
from comfy_nodes.core.records import AnnotationRecord, SavedFile
from comfy_nodes.core.regions.annotation import Annotation, Region, to_json
from comfy_nodes.core.tasks import EMBED
from driver.errors import RunError
from driver.inputs.shares import InputShare
from driver.journal import Journal
from driver.options import RunOptions
from driver.pool import main
from driver.retrieval import finding
from driver.retrieval.building import write_index
from driver.retrieval.embedding import Query
from driver.retrieval.finding import Found, Wanted, find
from driver.retrieval.index import KEY, Facts, Index, IndexWriter, differing
from driver.samples import JournalRow, Sample
from driver.stopping import StopRequest
from tests.unit.source_making import BOX, SIZE, picture

FACTS = Facts(pool="/pool", image_root=None, settings=(), weights={}, photos=0, dimensions=0, duplicates=0)
FILE = SavedFile(filename="a.json", subfolder="run", type="output", sha256="0" * 64)


def unit(rows: int, dimensions: int, seed: int = 0) -> np.ndarray:
    found = np.random.default_rng(seed).standard_normal((rows, dimensions)).astype(np.float32)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)


def index_of(folder: Path, vectors: np.ndarray) -> Index:
    writer = IndexWriter(folder)
    with writer.vectors() as file:
        for vector in vectors:
            file.add(vector)
    keys = np.array([("", f"{number:020d}") for number in range(len(vectors))], KEY)
    writer.finish(keys, FACTS.model_copy(update={"photos": len(vectors), "dimensions": file.dimensions}))
    return Index.open(folder)


class TestIndex:
    def test_the_order_is_that_of_exact_cosines(self, tmp_path: Path) -> None:
        vectors, queries = unit(3000, 96), unit(2, 96, seed=1)
        index = index_of(tmp_path, vectors)
        assert np.array_equal(np.load(tmp_path / "vectors.npy"), vectors)
        for query in queries:
            found = index.find([query], 50, -1)
            cosines = vectors.astype(np.float64) @ query.astype(np.float64)
            cosines /= np.linalg.norm(vectors.astype(np.float64), axis=1) * np.linalg.norm(query.astype(np.float64))
            best = np.sort(cosines)[::-1][:50]
            assert [hit.score for hit in found] == pytest.approx(list(best), abs=1e-4)
            assert [cosines[hit.place] for hit in found] == pytest.approx(list(best), abs=1e-4)

    def test_queries_take_turns_and_no_photo_comes_twice(self, tmp_path: Path) -> None:
        vectors = unit(40, 16)
        index = index_of(tmp_path, vectors)
        found = index.find([vectors[7], vectors[7], vectors[3]], 40, -1)
        assert [(hit.place, hit.query) for hit in found[:2]] == [(7, 0), (3, 2)]
        assert sorted(hit.place for hit in found) == list(range(40))
        assert len(index.find([vectors[0]], 3, -1)) == 3 and [
            hit.place for hit in index.find([vectors[0]], 9, 0.95)
        ] == [0]
        assert index.find([], 3, -1) == []

    @pytest.mark.parametrize("name", ["vectors.npy", "keys.npy", "pool.json"])
    def test_one_that_is_not_whole_is_refused(self, tmp_path: Path, name: str) -> None:
        index_of(tmp_path, unit(4, 8))
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[:-20])
        with pytest.raises(RunError, match=r"its index cannot be read .*; build it again") as error:
            Index.open(tmp_path)
        assert "\n" not in str(error.value)
        (tmp_path / name).unlink()
        with pytest.raises(RunError, match="holds no whole index" if name == "pool.json" else "cannot be read"):
            Index.open(tmp_path)

    def test_one_that_breaks_off_leaves_the_former_until_it_can_be_none(self, tmp_path: Path) -> None:
        index_of(tmp_path, unit(4, 8))
        writer = IndexWriter(tmp_path)
        with pytest.raises(ValueError, match="has 9 numbers, others 8"), writer.vectors() as file:
            file.add(unit(1, 8)[0])
            file.add(unit(1, 9)[0])
        assert Index.open(tmp_path).facts.photos == 4
        with writer.vectors() as file:
            file.add(unit(1, 8)[0])
        with pytest.raises(RunError, match="holds no whole index"):
            Index.open(tmp_path)

    def test_weights_that_differ_are_named(self) -> None:
        assert differing({"clip": "a" * 64, "b": None}, {"clip": "a" * 64, "b": None}) == ""
        assert differing({"clip": "a" * 64}, {"clip": "b" * 64}) == "clip (aaaaaaaa there, bbbbbbbb here)"
        assert (
            differing({"clip": "a" * 64}, {"other": None})
            == "clip (aaaaaaaa there, not here), other (not there, unknown here)"
        )


def test_a_vector_as_a_line_holds_it() -> None:
    (vector,) = unit(1, 5)
    assert np.array_equal(decode(encode(vector)), vector)
    for text in ("", "???", None, encode(np.array([np.nan])), "AAA"):
        with pytest.raises(ValueError):
            decode(text)


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """Four photos, of which two are the same file; one has a region."""
    folder = tmp_path / "pool"
    (folder / "sub").mkdir(parents=True)
    for name, colour in (("a.jpg", "red"), ("sub/b.jpg", "blue"), ("sub/c.jpg", "red"), ("d.jpg", "green")):
        (folder / name).write_bytes(picture(colour))
    return folder


@pytest.fixture
def index(pool: Path, tmp_path: Path) -> Path:
    """The folder of a run that embedded them, with its index."""
    folder = tmp_path / "index"
    folder.mkdir()
    journal = Journal(folder / "run.sqlite")
    journal.set("content", json.dumps([{"weights": {"clip": "a" * 64}}]))
    region = Region(class_name="cup", bbox=BOX)
    rows, planned = [], []
    for number, name in enumerate(("a.jpg", "sub/b.jpg", "sub/c.jpg", "d.jpg")):
        known = Annotation(path=name, size=SIZE, regions=(region,) if number == 1 else (), source_licence="mine")
        key = sample_key(name, None, EMBED.name)
        planned.append(Sample(key, name, known, task=EMBED.name))
        vector = np.eye(4, dtype=np.float32)[number]
        sha256 = hashlib.sha256((pool / name).read_bytes()).hexdigest()
        line = {**to_json(replace(known, regions=())), "source_sha256": sha256, FIELD: encode(vector)}
        rows.append(AnnotationRecord(key=key, annotation=line, file=FILE))
    journal.enrol(planned, None)
    for row in rows:
        journal.done(row.key, [JournalRow(row.key, "keep", row.model_dump_json())], 0.1)
    journal.close()
    facts = write_index(RunOptions("embed", folder, input=(InputShare(str(pool)),)))
    assert (facts.photos, facts.duplicates, facts.weights) == (3, 1, {"clip": "a" * 64})
    return folder


@pytest.fixture
def look(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Found]:
    """A function that looks for what is like photo `number`, as if a server had embedded it."""

    def looked(output: str, number: int = 1, least: float = -1, clip: str = "a" * 64) -> Found:
        vector = (np.eye(4) + 0.1)[number].astype(np.float16)
        monkeypatch.setattr(finding, "queries_of", lambda *_: ([Query("a blue photo", vector)], {"clip": clip}))
        return find(index, Wanted(("a blue photo",), (), 3, least, tmp_path / output), "http://none", StopRequest())

    return looked


def test_what_is_found_keeps_its_bytes_name_region_and_licence(
    look: Callable[..., Found], pool: Path, tmp_path: Path
) -> None:
    assert look("found").photos == 3
    lines = [json.loads(line) for line in (tmp_path / "found" / "photos.jsonl").read_text().splitlines()]
    assert lines[0]["path"] == "sub/b.jpg" and lines[0]["source_licence"] == "mine"
    assert lines[0]["segmentation"]["object"][0]["class_name"] == "cup"
    assert lines[0]["found"]["query"] == "a blue photo" and lines[0]["found"]["score"] > 0.9
    assert {one["path"] for one in lines} == {"a.jpg", "sub/b.jpg", "d.jpg"}, "c.jpg is a.jpg again"
    assert (tmp_path / "found" / "sub" / "b.jpg").read_bytes() == (pool / "sub" / "b.jpg").read_bytes()


def test_a_photo_that_changed_or_is_gone_is_left_out_and_counted(
    look: Callable[..., Found], pool: Path, tmp_path: Path
) -> None:
    (pool / "d.jpg").write_bytes(picture("black"))
    (pool / "a.jpg").unlink()
    found = look("found")
    assert (found.photos, found.gone) == (1, 2)
    (pool / "sub" / "b.jpg").unlink()
    with pytest.raises(RunError, match="none of the photos that were found is still what it was"):
        look("again")
    assert not (tmp_path / "again").exists()


def test_nothing_of_anybodys_is_written_over(look: Callable[..., Found], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"other weights than this server's: clip \(aaaaaaaa there, bbbbbbbb here\)"):
        look("found", clip="b" * 64)
    with pytest.raises(RunError, match=r"nothing in .* is so much like it \(--least 1\); lower it"):
        look("found", least=1)
    (tmp_path / "found").mkdir()
    assert look("found").photos == 3
    with pytest.raises(RunError, match="holds something already"):
        look("found")
    (tmp_path / ".other.part").mkdir()
    (tmp_path / ".other.part" / "mine.jpg").touch()
    with pytest.raises(RunError, match=r"\.other\.part: holds something already"):
        look("other")
    (tmp_path / ".other.part" / finding.MARK).touch()
    assert look("other").photos == 3 and not (tmp_path / "other" / "mine.jpg").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "required: command"), (["search"], "invalid choice"), (["find", "index"], "required: --output"),
        (["find", "index", "--output", "x"], "give --words, --like, or both"),
        (["find", "index", "--output", "x", "--words", " "], "--words or --like is empty"),
        (["build", "pool"], "required: --output"), (["find", "i", "--output", "x", "--least", "2", "--words", "a"], "between -1 and 1"),
    ],
)  # fmt: skip
def test_words_that_are_wrong_end_it_in_one_line(
    words: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2 and line in capsys.readouterr().err
