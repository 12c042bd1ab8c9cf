"""Shards in a store: each there when it is whole, sent once, and taken up by another machine without its rows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from driver.dataset.commits import Cut, commits, duplicates, ended_tables, reopen, write_commit
from driver.dataset.dataset import finished_parts, stored_rows
from driver.dataset.parts import Part, parts
from driver.dataset.publish import MANIFEST, check_place, fetch_commits, publish, publish_part, published_commits
from driver.dataset.tables import TABLES
from driver.errors import RunError
from driver.journal import Journal
from driver.report.gallery import Gallery
from tests.unit.test_store import broken_at, held, read_manifest, url, whole

fsspec = pytest.importorskip("fsspec")

__all__ = ["url"]  # a fixture

Shard = Callable[..., Any]


def finished(shard: Shard, index: int, *also: str, output: Path | None = None) -> Part:
    opened = shard(index) if output is None else shard(index, output)
    opened.add(f"a{index}", *also)
    opened.add(f"r{index}", verdict="reject")
    opened.commit()
    part: Part = opened.part
    return part


def there(where: str) -> list[int]:
    return [one.index for one in published_commits(where)]


def test_a_shard_is_there_with_its_commit(shard: Shard, url: str) -> None:
    part = finished(shard, 2)
    assert there(url) == []
    publish_part(part, url)
    assert list(published_commits(url)) == list(commits(part.output))
    assert read_manifest(url) is None
    stored = {name.partition("-")[0] for name in held(url)}
    beside = {f"shards/000002.{name}" for name in ("json", "statistics", *TABLES)}
    assert stored == {"data/000002/train", "rejected/000002/train", "shards/000002", *beside}
    assert not [name for name in held(url) if "sqlite" in name]


def test_wherever_it_breaks_off_other_machines_see_whole_shards_only(
    shard: Shard, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_part(finished(shard, 0), url)
    part = finished(shard, 1)
    for step in range(50):
        with monkeypatch.context() as patched:
            broken_at(patched, step)
            try:
                publish_part(part, url)
                break
            except RunError:
                assert there(url) == [0]
    assert step > 3
    assert there(url) == [0, 1]
    publish(part.output, url)
    manifest = read_manifest(url)
    assert manifest is not None
    assert held(url) == {MANIFEST, "shards/000000.json", "shards/000001.json", *(file.name for file in manifest.files)}


def test_the_finish_sends_no_shard_again(shard: Shard, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    output = finished(shard, 0).output
    finished(shard, 1)
    publish_part(Part.of_shard(output, 0), url)
    (output / "README.md").write_text("the card")
    sent: list[str] = []
    for kind in ("memory", "file"):
        owner = type(fsspec.filesystem(kind))
        real = owner.put_file

        def put(self: Any, local: str, *args: Any, real: Any = real, **named: Any) -> Any:
            sent.append(Path(local).relative_to(output).as_posix())
            return real(self, local, *args, **named)

        monkeypatch.setattr(owner, "put_file", put)
    publish(output, url)
    assert {name for name in sent if "000000" in name} == set()
    assert {"README.md", "data/000001/train-00000-of-00001.parquet"} <= {*sent}
    names = [path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()]
    assert {*whole(url)} == {name for name in names if not name.startswith(".work") and "sqlite" not in name}


def test_another_machine_takes_up_what_is_there(shard: Shard, url: str, tmp_path: Path) -> None:
    """It makes what is missing, finishes without the rows of others, and the store has the rows of all."""
    publish_part(finished(shard, 0), url)
    publish_part(finished(shard, 2), url)
    other = tmp_path / "other"
    assert [part.name for part in fetch_commits(url, other)] == ["000000", "000002"]
    assert not (other / "data").exists()
    finished(shard, 1, output=other)
    assert [one.index for one in commits(other)] == [0, 1, 2]
    assert list(duplicates(parts(other))) == []
    assert [key for rows in ended_tables(parts(other), "telemetry") for key in rows["key"].to_pylist()] == [
        "a0",
        "r0",
        "a1",
        "r1",
        "a2",
        "r2",
    ]
    gallery = Gallery.of_dataset(other)
    assert gallery.statistics is not None
    assert (gallery.statistics.edits, [one["key"] for one in gallery.pairs["data"]]) == (6, ["a1"])
    with pytest.raises(RunError, match=f"the rows of shard 000000 are only in {url}"):
        list(stored_rows(other, "data"))
    publish(other, url)
    assert [name for name in whole(url) if name.startswith("data/")] == [
        f"data/{index:06d}/train-00000-of-00001.parquet" for index in range(3)
    ]
    assert fetch_commits(url, other) == []


def test_lines_are_taken_up_in_the_journal_of_their_shard(shard: Shard, url: str, tmp_path: Path) -> None:
    """Of a run that makes no rows, as nothing else holds what it gave."""
    opened = shard(0)
    opened.add("a0", "b0")
    known = list(opened.journal.records(kept=True))
    write_commit(opened.part, opened.journal, Cut(items=2, first="a", plan="p" * 64, whole=True), None, "{}")
    opened.journal.close()
    publish_part(opened.part, url)
    (part,) = fetch_commits(url, tmp_path / "other")
    assert part.here
    with closing(Journal(part.journal)) as journal:
        assert list(journal.records(kept=True)) == known
    files, root = fsspec.core.url_to_fs(url)
    told = json.loads(files.cat_file(f"{root}/shards/000000.json"))
    told["files"] = [one for one in told["files"] if not one["path"].endswith(".sqlite")]
    files.pipe_file(f"{root}/shards/000000.json", json.dumps(told).encode())
    assert fetch_commits(url, tmp_path / "third") == [], "an earlier version brought it without, so it is made again"


def test_a_share_leaves_alone_what_another_published(shard: Shard, url: str, tmp_path: Path) -> None:
    """Whichever is first: also where both began when nothing was there yet."""
    publish(finished(shard, 0).output, url)
    before = held(url)
    check_place(url, (0, 2))
    with pytest.raises(RunError, match="holds shard 000000, another share's; give each share a URL of its own"):
        check_place(url, (1, 2))
    with pytest.raises(RunError, match="holds shard 000000, another share's"):
        publish(finished(shard, 1, output=tmp_path / "other").output, url, (1, 2))
    assert held(url) == before


def test_rows_that_are_nowhere_are_not_published(shard: Shard, url: str, tmp_path: Path) -> None:
    publish_part(finished(shard, 0), url)
    other = tmp_path / "other"
    fetch_commits(url, other)
    elsewhere = f"memory://{tmp_path.name}-empty"
    with pytest.raises(RunError, match="shard 000000 lie neither here nor in the store"):
        publish(other, elsewhere)


def test_a_shard_that_was_begun_here_is_not_taken(shard: Shard, url: str, tmp_path: Path) -> None:
    publish_part(finished(shard, 0), url)
    begun = shard(0, tmp_path / "other")
    begun.add("mine")
    assert fetch_commits(url, begun.output) == []


def test_a_shard_that_changed_is_brought_beside_the_old_one_until_the_finish(
    shard: Shard, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = finished(shard, 0).output
    publish(output, url)
    old = whole(url)
    again = shard(0)
    reopen(again.part)
    again.add("late")
    again.commit()
    for step in range(50):
        with monkeypatch.context() as patched:
            broken_at(patched, step)
            try:
                publish_part(again.part, url)
                break
            except RunError:
                assert there(url) == [0]
        assert whole(url) == old
    assert whole(url) == old
    assert list(published_commits(url)) == list(commits(output))
    seen = []
    for step in range(50):
        with monkeypatch.context() as patched:
            broken_at(patched, step)
            try:
                publish(output, url)
                break
            except RunError:
                seen.append(whole(url) == old)
    assert {*seen} == {True, False}
    manifest = read_manifest(url)
    assert manifest is not None
    assert held(url) == {MANIFEST, "shards/000000.json", *(file.name for file in manifest.files)}


@pytest.mark.parametrize(
    "wrong", ["{}x", '{"commit": 1}', '{"former": ["../thesis.txt"]}', '{"former": ["thesis.txt"]}']
)
def test_a_list_that_is_none_of_ours_is_one_line(wrong: str, shard: Shard, url: str) -> None:
    part = finished(shard, 0)
    files, root = fsspec.core.url_to_fs(url)
    files.makedirs(f"{root}/shards", exist_ok=True)
    files.pipe_file(f"{root}/shards/000000.json", wrong.encode())
    for act in (
        lambda: publish_part(part, url),
        lambda: list(published_commits(url)),
        lambda: publish(part.output, url),
    ):
        with pytest.raises(RunError, match=r"shards/000000.json is not one of ours"):
            act()


def test_what_was_changed_on_its_way_is_not_taken(shard: Shard, url: str, tmp_path: Path) -> None:
    publish_part(finished(shard, 0), url)
    files, root = fsspec.core.url_to_fs(url)
    (name,) = [name for name in held(url) if name.startswith("shards/000000.statistics")]
    files.pipe_file(f"{root}/{name}", b"other")
    with pytest.raises(RunError, match="is not what was sent"):
        fetch_commits(url, tmp_path / "other")
    assert parts(tmp_path / "other") == []
    shutil.rmtree(tmp_path / "other")
    assert len(finished_parts(tmp_path / "many")) == 1
