"""Inputs cut into shards: nothing lost or doubled at a border, whatever the kind, and borders that follow their photos."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from comfy_nodes.core.tasks import ANNOTATE, task_named
from driver.errors import RunError
from driver.inputs import annotation, tar
from driver.inputs.cutting import KnownShard, Shard
from driver.inputs.quotas import Quotas, wanted_kinds
from driver.inputs.source import Source
from driver.samples import Aim, Planned, Sample
from tests.unit.source_making import BOX, picture
from tests.unit.test_sources_tar import marked, pack

AIMS = [Aim(task_named("style"))]


def line(name: str) -> str:
    return json.dumps({"path": f"{name}.jpg", "bbox": list(BOX), "class_name": "cup"})


def lines(folder: Path) -> Path:
    """Blank lines, a broken one, one of two photos and one that is too long, with and without an end of the last line."""
    folded = json.dumps({"a": json.loads(line("k1")), "b": json.loads(line("k2"))})
    text = ["", line("a"), "  ", line("b"), "{broken", folded, "\t" + line("c"), "x" * 3000, "", line("d"), line("e")]
    (folder / "one.jsonl").write_text("\n".join(text) + "\n\n")
    (folder / "two.jsonl").write_text("\ufeff" + "\r\n".join(line(f"two{number}") for number in range(9)))
    (folder / "utf16.jsonl").write_text(line("z"), "utf-16")
    (folder / "wrong.jsonl").write_text(json.dumps({"images": [], "annotations": []}) + "\n" + line("y"))
    for name in ("a", "b", "c", "d", "e", "k1", "k2", *(f"two{number}" for number in range(9))):
        (folder / f"{name}.jpg").write_bytes(picture())
    return folder / "*.jsonl"


def listed(folder: Path) -> Path:
    (folder / "list.json").write_text(json.dumps([json.loads(line(f"n{number}")) for number in range(7)])[:-1])
    (folder / "more.json").write_text(line("n0"))
    for number in range(7):
        (folder / f"n{number}.jpg").write_bytes(picture())
    return folder / "*.json"


def table(folder: Path) -> Path:
    """Row groups of three; in the second one the photos cannot be read."""
    cells = {"image": pa.array([picture()] * 11, pa.binary()), "bbox": [list(BOX)] * 11, "class_name": ["cup"] * 11}
    pq.write_table(pa.table(cells), folder / "a.parquet", row_group_size=3, compression="none", use_dictionary=False)
    data = bytearray((folder / "a.parquet").read_bytes())
    chunk = pq.read_metadata(folder / "a.parquet").row_group(1).column(0)
    data[chunk.data_page_offset : chunk.data_page_offset + 20] = b"\xff" * 20
    (folder / "a.parquet").write_bytes(data)
    (folder / "b.parquet").write_bytes(b"no parquet")
    pq.write_table(pa.table(cells), folder / "c.parquet", row_group_size=4)
    return folder / "*.parquet"


def archive(folder: Path) -> Path:
    def packed(name: str, *members: str) -> None:
        pack(folder / name, *((one, b"Take it." if one.endswith(".txt") else picture()) for one in members))

    packed("a.tar", "a.jpg", "a.txt", "folder/b.jpg", "none.txt", "c.jpg", "c.png", "d.jpg", "e.jpg", "a.jpg")
    packed("b.tar", *(f"{number}.jpg" for number in range(6)))
    with (folder / "b.tar").open("r+b") as file:
        file.truncate(4000)
    (folder / "c.tar").write_bytes(b"no tar")
    return folder / "*.tar"


def photos(folder: Path) -> Path:
    for number in range(6):
        (folder / f"in{number % 2}").mkdir(exist_ok=True)
        (folder / f"in{number % 2}" / f"{number}.jpg").write_bytes(picture())
        (folder / f"{number}.jpg").write_bytes(picture())
        (folder / f"{number}.txt").write_text("Take it away.")
    (folder / "alone.mask.png").write_bytes(picture(kind="PNG"))
    return folder


INPUTS = [lines, listed, table, archive, photos]


def planned(source: Source, shard: Shard | None = None) -> list[Planned]:
    return list(source.plan(AIMS, "all", 0, shard=shard))


def ids(found: list[Planned]) -> list[str]:
    return [one.annotation.path if isinstance(one, Sample) else one.source_id for one in found if hasattr(one, "key")]


def known_of(shards: list[Shard]) -> list[KnownShard]:
    return [KnownShard(one.index, one.items, one.first) for one in shards]


@pytest.fixture
def short_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of more than 2,000 bytes are too long, and blocks hold a few."""
    monkeypatch.setattr(annotation, "MAX_BYTES", 2000)
    monkeypatch.setattr(annotation, "_BLOCK", 200)


@pytest.mark.parametrize("make", INPUTS)
@pytest.mark.parametrize("size", [1, 2, 4, 1000])
@pytest.mark.usefixtures("short_lines")
def test_all_shards_together_are_the_whole(make: Callable[[Path], Path], size: int, tmp_path: Path) -> None:
    path = make(tmp_path)
    whole = ids(planned(Source(path)))
    source = Source(path)
    parts = [(shard, ids(planned(source, shard))) for shard in source.shards(size, AIMS)]
    # A copy within a shard is found there, one in another shard at the finish; a rest that cannot be read is told in each.
    found = [one for _, part in parts for one in part if one not in ("a.parquet#4-5", "a.parquet#5-5")]
    assert list(dict.fromkeys(found)) == list(dict.fromkeys(whole))
    assert all(part and part[0] == shard.first for shard, part in parts)
    assert [shard.items for shard, _ in parts[:-1]] == [size] * (len(parts) - 1)
    assert source.total == Source(path).count(AIMS) == sum(shard.items for shard, _ in parts)


@pytest.mark.parametrize("make", INPUTS)
@pytest.mark.usefixtures("short_lines")
def test_a_shard_is_the_same_however_one_comes_to_it(make: Callable[[Path], Path], tmp_path: Path) -> None:
    path = make(tmp_path)
    source = Source(path)
    shards = list(source.shards(2, AIMS))
    forward = [planned(source, shard) for shard in shards]
    assert [planned(source, shard) for shard in reversed(shards)] == forward[::-1]
    assert [planned(Source(path), shard) for shard in shards] == forward
    shares = [list(Source(path).shards(2, AIMS, share=(part, 3))) for part in range(3)]
    assert sorted((one for share in shares for one in share), key=lambda one: one.index) == shards
    known = known_of(shards[:3])
    again = Source(path)
    assert list(again.shards(2, AIMS, known)) == shards
    assert list(again.shards(2, AIMS, known, changed=True)) == shards
    assert Source(path).more_than(again.total - 1, AIMS)
    assert not Source(path).more_than(again.total, AIMS)


class Opened:
    """A reader's photos, counted as they are taken apart."""

    def __init__(self, source: Source, monkeypatch: pytest.MonkeyPatch):
        self.ids: list[str] = []
        inner = source.reader.photos

        def counted(*given: Any) -> Iterator[Any]:
            for photo in inner(*given):
                self.ids.append(photo.source_id)
                yield photo

        monkeypatch.setattr(source.reader, "photos", counted)


@pytest.mark.usefixtures("short_lines")
@pytest.mark.parametrize("make", [lines, table, archive, photos])
def test_what_is_known_is_not_taken_apart(
    make: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(tmp_path)
    shards = list(Source(path).shards(2, AIMS))
    source = Source(path)
    opened = Opened(source, monkeypatch)
    found = source.shards(2, AIMS, known_of(shards[:3]))
    assert [next(found) for _ in range(3)] == shards[:3]
    assert opened.ids == []
    fourth = next(found)
    assert fourth == shards[3]
    assert opened.ids[0] == fourth.first
    assert len(opened.ids) == 2, "its first photo and the next shard's"


def numbered(path: Path, *names: str) -> None:
    path.write_text("".join(line(name) + "\n" for name in names))
    for name in names:
        (path.parent / f"{name}.jpg").write_bytes(picture())


FORMER = [f"p{number:02}" for number in range(12)]


@pytest.mark.parametrize(
    ("names", "starts"),
    [
        (["new", *FORMER], [0, 4, 7, 10]),
        ([*FORMER[:4], "new", *FORMER[4:]], [0, 3, 7, 10]),
        (FORMER[1:], [0, 2, 5, 8]),
        ([*FORMER[:3], *FORMER[4:]], [0, 3, 5, 8]),
        ([*FORMER[:3], *FORMER[6:]], [0, 3, 3, 6]),
        ([FORMER[0], *FORMER[5:]], [0, 2, 2, 5]),
        ([*FORMER, "new"], [0, 3, 6, 9, 12]),
        (FORMER[:6], [0, 3, 6, 6]),
    ],
    ids=[
        "put before",
        "put between",
        "first gone",
        "a border gone",
        "a shard gone",
        "more gone",
        "put behind",
        "end gone",
    ],
)
def test_borders_follow_their_photos(names: list[str], starts: list[int], tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    numbered(path, *FORMER)
    known = known_of(list(Source(path).shards(3, AIMS)))
    numbered(path, *names)
    source = Source(path)
    found = list(source.shards(3, AIMS, known, changed=True, keep_stale=True))
    assert [one.start for one in found] == starts
    assert [one.annotation.path[:-4] for shard in found if shard.items for one in planned(source, shard)] == names


def test_borders_of_photos_that_come_again_and_again_stay_near(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    numbered(path, *(f"p{number % 3}" for number in range(30)))
    known = known_of(list(Source(path).shards(6, AIMS)))
    numbered(path, "new", *(f"p{number % 3}" for number in range(30)))
    found = list(Source(path).shards(6, AIMS, known, changed=True))
    assert [one.start for one in found] == [0, 7, 13, 19, 25]


def test_another_input_and_a_share_of_a_changed_one_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    numbered(path, *FORMER)
    known = known_of(list(Source(path).shards(3, AIMS)))
    with pytest.raises(RunError, match="not what it was when this share began"):
        list(Source(path).shards(3, AIMS, known, share=(0, 2), changed=True))
    numbered(path, *(f"other{number}" for number in range(12)))
    with pytest.raises(RunError, match="4 of the run's 4 shards are not in it any more"):
        list(Source(path).shards(3, AIMS, known, changed=True))


def test_a_copy_is_skipped_within_its_shard(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    numbered(path, "a", "a", "b", "a")
    source = Source(path)
    first, second = source.shards(2, AIMS)
    assert [type(one).__name__ for one in planned(source, first)] == ["Sample", "Unusable"]
    assert [type(one).__name__ for one in planned(source, second)] == ["Sample", "Sample"]


def test_unmarked_photos_of_a_shard(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    numbered(path, *FORMER[:4])
    told = path.read_text().splitlines()
    path.write_text("\n".join([told[0], '{"path": "p01.jpg"}', '{"path": "p02.jpg"}', told[3]]))
    source = Source(path)
    aims = [Aim(task_named("remove"))]
    assert [[one.annotation.path for one in source.unmarked(shard)] for shard in source.shards(2, aims)] == [
        ["p01.jpg"],
        ["p02.jpg"],
    ]
    assert all(one.task == ANNOTATE.name for shard in source.shards(2, aims) for one in source.unmarked(shard))


def test_shares_of_a_quota_are_the_whole_quota() -> None:
    (remove, style) = wanted_kinds("remove=7,style")
    parts = [Quotas.of_shard([remove, style], 1, index, 3).wanted for index in range(3)]
    assert [[one.most for one in part] for part in parts] == [[2, None], [2, None], [3, None]]
    none = Quotas.of_shard(wanted_kinds("remove=1"), 1, 0, 3)
    assert none.choose(none.wanted) == []


def test_lines_that_were_passed_over_are_not_counted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "list.jsonl"
    numbered(path, *(f"p{number:02}" for number in range(40)))
    source = Source(path)
    passed: list[int] = []
    pass_lines = annotation._pass_lines
    monkeypatch.setattr(annotation, "_pass_lines", lambda *given: passed.append(pass_lines(*given)) or passed[-1])
    last = list(source.shards(4, AIMS))[-1]
    assert sum(passed) < 40
    assert ids(planned(source, last)) == [f"p{number}.jpg" for number in range(36, 40)]
    assert sum(passed) < 40


def test_members_that_were_passed_over_are_not_walked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = pack(tmp_path / "a.tar", *(member for number in range(20) for member in marked(f"{number:02}")))
    source = Source(path)
    walked = walking(monkeypatch)
    last = list(source.shards(4, AIMS))[-1]
    assert len(walked) == 40
    assert ids(planned(source, last)) == [f"a.tar/{number}.jpg" for number in range(16, 20)]
    assert len(walked) == 40 + 8


def test_a_list_is_taken_apart_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where shards are cut ahead of those that are planned."""
    numbered(tmp_path / "lines.jsonl", *(f"p{number:02}" for number in range(20)))
    found = [json.loads(one) for one in (tmp_path / "lines.jsonl").read_text().splitlines()]
    (tmp_path / "list.json").write_text(json.dumps(found))
    taken: list[Any] = []
    values = annotation._values
    monkeypatch.setattr(annotation, "_values", lambda file: (taken.append(one) or one for one in values(file)))
    source = Source(tmp_path / "list.json")
    cuts = source.shards(4, AIMS)
    waiting = [next(cuts), next(cuts)]
    names: list[str] = []
    for shard in cuts:
        waiting.append(shard)
        names += ids(planned(source, waiting.pop(0)))
    for shard in waiting:
        names += ids(planned(source, shard))
    assert names == [f"p{number:02}.jpg" for number in range(20)]
    assert len(taken) == 20
    assert ids(planned(source, shard)) == names[-4:], "once more, for whoever asks again"


def walking(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Keys of the members of tars that are looked at from now on."""
    walked: list[str] = []
    members = tar._members

    def counted(*given: Any) -> Iterator[Any]:
        for one in members(*given):
            walked.extend([one[0]] if one[0] is not None else [])
            yield one

    monkeypatch.setattr(tar, "_members", counted)
    return walked


@pytest.mark.parametrize(("index", "looked_at"), [(4, 8), (3, 16)])
def test_another_process_goes_on_where_one_came_to(
    index: int, looked_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tars that were gone through are not walked again, nor the beginning of the one that it goes on in."""
    for name in ("a", "b"):
        pack(tmp_path / f"{name}.tar", *(member for number in range(10) for member in marked(f"{number:02}")))
    former, later = Source(tmp_path / "*.tar"), Source(tmp_path / "*.tar")
    shards = list(former.shards(4, AIMS))
    told = dict(former.places.news())
    assert list(former.places.news()) == []
    assert later.more_than(1, AIMS)
    later.places.learn(lambda file: told.get(file, ()))
    walked = walking(monkeypatch)
    assert ids(planned(later, shards[index])) == [
        f"b.tar/{number:02}.jpg" for number in range(4 * index - 10, 4 * index - 6)
    ]
    assert len(walked) <= looked_at
    assert list(later.places.news()) == []


def test_lines_of_another_process_are_not_counted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered(tmp_path / "list.jsonl", *(f"p{number:02}" for number in range(40)))
    former, later = Source(tmp_path / "list.jsonl"), Source(tmp_path / "list.jsonl")
    last = list(former.shards(4, AIMS))[-1]
    told = dict(former.places.news())
    later.places.learn(lambda file: told.get(file, ()))
    passed: list[int] = []
    pass_lines = annotation._pass_lines
    monkeypatch.setattr(annotation, "_pass_lines", lambda *given: passed.append(pass_lines(*given)) or passed[-1])
    assert ids(planned(later, last)) == [f"p{number}.jpg" for number in range(36, 40)]
    assert sum(passed) == 0


def test_a_plan_that_was_broken_off_hides_nothing_from_the_next(tmp_path: Path) -> None:
    path = tmp_path / "list.jsonl"
    numbered(path, *FORMER)
    source = Source(path)
    shards = list(source.shards(5, AIMS))
    begun = source.plan(AIMS, "all", 0, shard=shards[1])
    next(begun)
    begun.close()
    assert [ids(planned(source, shard)) for shard in shards[1:]] == [
        [f"{name}.jpg" for name in FORMER[5:10]],
        [f"{name}.jpg" for name in FORMER[10:]],
    ]
