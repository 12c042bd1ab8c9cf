"""Pairs made by hand become a dataset: each that differs, whole ones only, and again without loss."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, PngImagePlugin

from comfy_nodes.core.keys import file_stem
from comfy_nodes.core.verdicts.verdicts import UNVOUCHED
from driver.artists.collect import collect
from driver.collect import main
from driver.dataset.publish import MANIFEST, Manifest
from driver.errors import RunError
from driver.journal import Journal

Encode = Callable[..., bytes]


class Hand:
    """A folder as Save Edit Pair leaves it."""

    def __init__(self, folder: Path, encode: Encode, filed: Callable[..., Any]):
        self.folder = folder
        self._encode = encode
        self._filed = filed
        self._saved = 0

    def save(
        self,
        key: str,
        verdict: str = "keep",
        subfolder: str = "",
        red: int = 0,
        before: int = 9,
        green: int = 200,
        **fields: Any,
    ) -> Path:
        """Writes a pair of 10 x 6 pixels, each with a graph of its own in its files; returns its record's path."""
        self._saved += 1
        place = self.folder / subfolder
        place.mkdir(parents=True, exist_ok=True)
        prefix = f"{file_stem(key)}-{self._saved:012x}"
        images = {}
        graph = {"pnginfo": _graph(str(self._saved))} if "turn" in fields else {}
        for role, name, colour in (("input", "source", (before, 9, 9)), ("output", "edited", (red, green, 9))):
            data = self._encode(np.full((6, 10, 3), colour, np.uint8), **graph)
            (place / f"{prefix}-{name}.png").write_bytes(data)
            file = {"filename": f"{prefix}-{name}.png", "subfolder": "editpairs", "type": "output",
                    "sha256": hashlib.sha256(data).hexdigest()}  # fmt: skip
            images[f"{role}_images"] = [file]
        record = self._filed(key, verdict, **images, **fields)
        path = place / f"{prefix}.json"
        path.write_text(record.record)
        (place / f"{key}.records.json").write_text(json.dumps({"editpairs": [json.loads(record.record)]}))
        os.utime(path, (self._saved, self._saved))
        return path


def _graph(text: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", text)
    return info


@pytest.fixture
def hand(tmp_path: Path, encode: Encode, filed: Callable[..., Any]) -> Hand:
    return Hand(tmp_path / "editpairs", encode, filed)


def rows(output: Path, config: str = "data") -> list[dict[str, Any]]:
    return [row for path in sorted((output / config).glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def keys(output: Path, config: str = "data") -> list[str]:
    return [row["key"] for row in rows(output, config)]


def failed(output: Path) -> dict[str, str]:
    return {
        row["source_id"]: f"{row['error_type']}: {row['message']}"
        for row in pq.read_table(output / "failed.parquet").to_pylist()
    }


def test_a_dataset_like_a_runs(hand: Hand, tmp_path: Path) -> None:
    hand.save("c", prompt="Paint it green.")
    hand.save("a", "unscored", subfolder="yesterday")
    hand.save("b", "reject")
    found = collect(hand.folder, tmp_path / "out")
    assert (keys(tmp_path / "out"), keys(tmp_path / "out", "rejected")) == (["c"], ["a", "b"])
    (row,) = rows(tmp_path / "out")
    assert (row["prompt"], row["workflow"], row["profile"]) == ("Paint it green.", "by hand", "custom")
    assert row["output_images"][0]["bytes"] == next(hand.folder.glob("c-*-edited.png")).read_bytes()
    names = {"report.html", "summary.json", "README.md", "run.sqlite", "failed.parquet", "shards.json"}
    assert names <= {path.name for path in (tmp_path / "out").iterdir()}
    assert (found.summary.kept, found.summary.rejected, found.summary.unscored, found.summary.failed) == (1, 1, 1, 0)
    assert found.lines == (f"3 pairs in {hand.folder}: 3 new, 0 collected before",)


def test_a_pair_that_nobody_vouches_for_is_unscored(hand: Hand, tmp_path: Path) -> None:
    """As versions before this one saved them, which let pixels keep what a model painted."""
    hand.save("old", vouched_by=[])
    for _again in range(2):
        found = collect(hand.folder, tmp_path / "out")
        (row,) = rows(tmp_path / "out", "rejected")
        assert (row["verdict"], row["reject_reason"]) == ("unscored", UNVOUCHED)
        assert keys(tmp_path / "out") == []
    assert found.lines[0].endswith("0 new, 1 collected before")


class TestVariants:
    """Several pairs under one key, as somebody saves them who presses Run again."""

    def reds(self, output: Path) -> dict[str, int]:
        """How red each row's edited picture is, by key."""
        pictures = {row["key"]: row["output_images"][0]["bytes"] for row in rows(output)}
        return {key: int(np.asarray(Image.open(io.BytesIO(data)))[0, 0, 0]) for key, data in sorted(pictures.items())}

    def test_each_that_differs_is_a_row_and_equal_ones_are_one(self, hand: Hand, tmp_path: Path) -> None:
        for red in (4, 0, 2, 0, 4):
            hand.save("a", red=red, seed=red)
        hand.save("a", red=2, seed=2, prompt="Paint it yellow.")
        hand.save("b", red=2, seed=2)
        found = collect(hand.folder, tmp_path / "out")
        reds = self.reds(tmp_path / "out")
        assert (reds["a"], reds["a~3"], reds["b"]) == (0, 4, 2)
        assert (reds["a~1"], reds["a~2"], len(reds)) == (2, 2, 5)
        assert found.lines == (
            f"5 pairs in {hand.folder}: 5 new, 0 collected before",
            "2 more were saved that show and say the same as one of these: such count once",
            "3 are variants of another, under its key with ~1, ~2, ... behind it",
        )

    def test_names_do_not_depend_on_times_and_paths(self, hand: Hand, tmp_path: Path) -> None:
        for red in (3, 1, 2):
            path = hand.save("a", red=red, seed=7, subfolder=f"day {red}")
            os.utime(path, (9 - red, 9 - red))
        collect(hand.folder, tmp_path / "out")
        for number, path in enumerate(sorted(hand.folder.rglob("a-*.json"))):
            os.utime(path, (number, number))
        (hand.folder / "day 1").rename(hand.folder / "last")
        collect(hand.folder, tmp_path / "again")
        assert self.reds(tmp_path / "again") == self.reds(tmp_path / "out")

    def test_a_later_one_leaves_the_others_their_keys(self, hand: Hand, tmp_path: Path) -> None:
        hand.save("a", red=5, seed=5)
        collect(hand.folder, tmp_path / "out")
        for path in hand.folder.glob("a*"):
            path.unlink()
        hand.save("a", red=1, seed=1)
        hand.save("a", red=5, seed=5)
        found = collect(hand.folder, tmp_path / "out")
        assert self.reds(tmp_path / "out") == {"a": 5, "a~1": 1}
        assert found.lines[0].endswith("2 pairs in " + f"{hand.folder}: 1 new, 0 collected before")

    def test_those_of_one_batch_are_numbered_on(self, hand: Hand, tmp_path: Path) -> None:
        for seed in (1, 2):
            for number in (0, 1):
                path = hand.save(f"a~{number}", red=2 * seed + number, seed=seed)
                text = path.read_text().replace(f"a~{number}-", f"a-{number}-")  # as Save Edit Pair spells it
                for file in hand.folder.glob(f"a~{number}-*"):
                    file.rename(file.with_name(file.name.replace("~", "-")))
                path.with_name(path.name.replace("~", "-")).write_text(text)
        collect(hand.folder, tmp_path / "out")
        assert self.reds(tmp_path / "out") == {"a~0": 2, "a~1": 3, "a~2": 4, "a~3": 5}

    def test_the_newest_verdict_on_a_pair_counts(self, hand: Hand, tmp_path: Path) -> None:
        hand.save("a", "reject")
        collect(hand.folder, tmp_path / "out")
        hand.save("a", "keep", subfolder="later")
        found = collect(hand.folder, tmp_path / "out")
        assert (keys(tmp_path / "out"), keys(tmp_path / "out", "rejected")) == (["a"], [])
        assert "1 collected before were saved again since: their new verdicts count" in found.lines

    def test_the_graph_in_a_picture_makes_no_variant(self, hand: Hand, tmp_path: Path) -> None:
        for number in range(2):
            path = hand.save("a")
            picture = path.with_name(f"{path.stem}-edited.png")
            text = PngImagePlugin.PngInfo()
            text.add_text("prompt", str(number))
            Image.open(picture).save(picture, pnginfo=text)
            record = json.loads(path.read_text())
            record["output_images"][0]["sha256"] = hashlib.sha256(picture.read_bytes()).hexdigest()
            path.write_text(json.dumps(record))
        collect(hand.folder, tmp_path / "out")
        assert keys(tmp_path / "out") == ["a"]


class TestTurns:
    """Each turn is saved by a graph of its own, from the picture that an earlier one left."""

    def save(self, hand: Hand, number: int, before: int, after: int, base: int | None = None, **fields: Any) -> None:
        turn = {"dialogue": "d", "number": number, "of": 3, "base": number - 1 if base is None else base, "op": "alter"}
        fields = {"task": "content_memory", "prompt": f"Turn {number}.", "turn": turn} | fields
        hand.save(f"d~{number - 1}", before=before, red=after, green=9, **fields)

    def dialogue(self, output: Path) -> list[str]:
        """Keys of the turns of the one kept dialogue, whose states are stored once."""
        (record,) = rows(output)
        states = {one["path"]: one["bytes"] for one in record["states"]}
        assert len(states) == len(record["data"]) + 1
        for before, after in zip(record["data"], record["data"][1:], strict=False):
            assert after["input_images"] == before["output_images"]
        return [row["key"] for row in record["turns"]]

    def test_they_become_a_dialogue(self, hand: Hand, tmp_path: Path) -> None:
        for number in (1, 2, 3):
            self.save(hand, number, before=10 * number - 1, after=10 * number + 9)
        found = collect(hand.folder, tmp_path / "out")
        assert self.dialogue(tmp_path / "out") == ["d~0", "d~1", "d~2"]
        assert found.summary.dialogues == {"planned": 1, "kept": 1}
        again = collect(hand.folder, tmp_path / "out")
        assert again.lines == (f"3 pairs in {hand.folder}: 0 new, 3 collected before",)
        assert self.dialogue(tmp_path / "out") == ["d~0", "d~1", "d~2"]

    def test_it_goes_on_from_the_variant_that_the_next_turn_began_with(self, hand: Hand, tmp_path: Path) -> None:
        self.save(hand, 1, before=9, after=50, seed=1)
        self.save(hand, 1, before=9, after=60, seed=2)
        self.save(hand, 2, before=60, after=70)
        found = collect(hand.folder, tmp_path / "out")
        assert self.dialogue(tmp_path / "out") == ["d~0~1", "d~1"]
        (left,) = rows(tmp_path / "out", "rejected")[0]["turns"]
        assert (left["key"], left["reject_reason"]) == ("d~0", "its dialogue goes on from another picture of this turn")
        assert found.summary.dialogues == {"planned": 1, "kept": 1, "shorter": 1}

    def test_what_was_kept_alone_is_kept_when_its_dialogue_is_whole(self, hand: Hand, tmp_path: Path) -> None:
        self.save(hand, 1, before=9, after=20)
        collect(hand.folder, tmp_path / "out")
        assert rows(tmp_path / "out") == []
        self.save(hand, 2, before=20, after=30)
        collect(hand.folder, tmp_path / "out")
        assert self.dialogue(tmp_path / "out") == ["d~0", "d~1"]

    def test_a_turn_that_begins_with_another_picture_ends_it(self, hand: Hand, tmp_path: Path) -> None:
        self.save(hand, 1, before=9, after=20)
        self.save(hand, 2, before=21, after=30)
        collect(hand.folder, tmp_path / "out")
        assert rows(tmp_path / "out") == []
        (record,) = rows(tmp_path / "out", "rejected")
        why = "its dialogue ended: turn 2 does not begin with state 1"
        assert [row["reject_reason"] for row in record["turns"]] == [why, why]


def test_the_same_command_adds_what_is_new_and_keeps_what_is_gone(hand: Hand, tmp_path: Path) -> None:
    hand.save("a")
    hand.save("b")
    collect(hand.folder, tmp_path / "out")
    for path in hand.folder.glob("a*"):
        path.unlink()
    hand.save("b", red=7, prompt="Paint it yellow.")
    hand.save("c")
    found = collect(hand.folder, tmp_path / "out")
    assert sorted(keys(tmp_path / "out")) == ["a", "b", "b~1", "c"]
    assert {row["key"]: row["prompt"] for row in rows(tmp_path / "out")}["b~1"] == "Paint it yellow."
    assert found.lines[0] == f"3 pairs in {hand.folder}: 2 new, 1 collected before"
    before = [path.read_bytes() for path in sorted((tmp_path / "out" / "data").iterdir())]
    assert collect(hand.folder, tmp_path / "out").lines[0].endswith("0 new, 3 collected before")
    assert [path.read_bytes() for path in sorted((tmp_path / "out" / "data").iterdir())] == before


def _lose(output: Path) -> None:
    for path in (output / "data").iterdir():
        path.unlink()


def test_pictures_that_were_lost_are_taken_again_or_named(hand: Hand, tmp_path: Path) -> None:
    hand.save("a")
    hand.save("b")
    collect(hand.folder, tmp_path / "out")
    _lose(tmp_path / "out")
    for path in hand.folder.glob("b*"):
        path.unlink()
    found = collect(hand.folder, tmp_path / "out")
    assert keys(tmp_path / "out") == ["a"]
    assert failed(tmp_path / "out")["cup.jpg"].startswith("PicturesLost: its pictures are gone from this folder")
    assert "2 were collected before and are gone or changed on disk: 1 of them taken again" in found.lines


def test_the_command_publishes_where_the_output_is_a_url(
    hand: Hand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    hand.save("a")
    url = f"file://{tmp_path / 'store'}"
    assert main([str(hand.folder), "--output", url]) == 0
    assert f"published to {url}" in capsys.readouterr().out
    manifest = Manifest.model_validate_json((tmp_path / "store" / MANIFEST).read_bytes())
    assert "data/train-00000-of-00001.parquet" in {file.path for file in manifest.files}


def test_the_command_looks_first_and_counts_for_programs(
    hand: Hand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hand.save("a")
    hand.save("b", "reject")
    _cut(hand.save("c"))
    command = [str(hand.folder), "--output", str(tmp_path / "out"), "--json"]
    assert main([*command, "--dry-run"]) == 0
    looked = json.loads(capsys.readouterr().out)
    assert (looked["dry_run"], looked["pairs"], looked["refused"]) == (True, 2, 1)
    assert not (tmp_path / "out").exists()
    assert main(command) == 1
    made = json.loads(capsys.readouterr().out)
    assert (made["kept"], made["rejected"], made["failed"], made["status"]) == (1, 1, 1, 1)
    assert made["message"].startswith("1 of 3 samples failed")
    assert main([*command, "--max-failed", "1"]) == 0


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


class TestDamaged:
    def refused(self, hand: Hand, tmp_path: Path, damage: Callable[[Path], object], **fields: Any) -> str:
        """What is said of a pair; another one beside it is taken all the same."""
        hand.save("whole")
        damage(hand.save("bad", **fields))
        found = collect(hand.folder, tmp_path / "out")
        assert keys(tmp_path / "out") == ["whole"]
        assert "1 refused: see failed.parquet" in found.lines
        ((name, why),) = failed(tmp_path / "out").items()
        assert name.startswith("bad-")
        return why

    def test_a_picture_that_is_cut(self, hand: Hand, tmp_path: Path) -> None:
        why = self.refused(hand, tmp_path, lambda path: _cut(path.with_name(f"{path.stem}-edited.png")))
        assert "edited.png is not what was saved: its hash is another" in why

    def test_a_picture_that_is_gone(self, hand: Hand, tmp_path: Path) -> None:
        why = self.refused(hand, tmp_path, lambda path: path.with_name(f"{path.stem}-source.png").unlink())
        assert why.startswith("PairDamaged: bad-") and "source.png cannot be read" in why

    def test_a_record_that_is_cut(self, hand: Hand, tmp_path: Path) -> None:
        assert self.refused(hand, tmp_path, _cut).startswith("RecordDamaged: bad-")

    def test_a_record_of_another_version(self, hand: Hand, tmp_path: Path) -> None:
        def age(path: Path) -> None:
            path.write_text(json.dumps({**json.loads(path.read_text()), "verdict": "maybe"}))

        assert "not a record as this version of EditPairs reads it (verdict:" in self.refused(hand, tmp_path, age)

    def test_pictures_without_a_record(self, hand: Hand, tmp_path: Path) -> None:
        assert "has no record beside it: saving broke off" in self.refused(hand, tmp_path, Path.unlink)

    def test_sizes_that_differ(self, hand: Hand, tmp_path: Path) -> None:
        why = self.refused(hand, tmp_path, lambda path: None, width=11)
        assert "the record says 11 x 6, bad-" in why

    @pytest.mark.parametrize("key", ["../../../../escaped", "/tmp/escaped", "a/b", "a.b", ""])
    def test_a_key_that_names_a_file_elsewhere(self, key: str, hand: Hand, tmp_path: Path) -> None:
        before = {path for path in tmp_path.parent.rglob("*escaped*")}

        def rename(path: Path) -> None:
            path.write_text(json.dumps({**json.loads(path.read_text()), "key": key}))

        assert "(key: Value error, not a key" in self.refused(hand, tmp_path, rename)
        assert {path for path in tmp_path.parent.rglob("*escaped*")} == before

    def test_a_key_that_is_another_pairs(self, hand: Hand, tmp_path: Path) -> None:
        def rename(path: Path) -> None:
            path.write_text(path.read_text().replace('"key":"bad"', '"key":"whole"'))

        assert "says that its key is whole, and bad-" in self.refused(hand, tmp_path, rename)

    def test_pictures_that_are_another_pairs(self, hand: Hand, tmp_path: Path) -> None:
        """Whole ones, of the right size."""
        other = json.loads(hand.save("whole").read_text())["output_images"]

        def take(path: Path) -> None:
            path.write_text(json.dumps({**json.loads(path.read_text()), "output_images": other}))

        assert "edited.png is another's" in self.refused(hand, tmp_path, take)

    @pytest.mark.parametrize("name", ["../../secret.png", "/etc/passwd", ".."])
    def test_a_picture_that_lies_elsewhere(self, name: str, hand: Hand, tmp_path: Path) -> None:
        def point(path: Path) -> None:
            record = json.loads(path.read_text())
            record["output_images"][0]["filename"] = name
            path.write_text(json.dumps(record))

        assert "not the bare name of a file" in self.refused(hand, tmp_path, point)

    def test_a_record_nested_without_end(self, hand: Hand, tmp_path: Path) -> None:
        assert self.refused(hand, tmp_path, lambda path: path.write_text("[" * 100_000)).startswith("RecordDamaged")

    def test_a_mended_pair_is_taken(self, hand: Hand, tmp_path: Path) -> None:
        path = hand.save("a")
        record = path.read_bytes()
        _cut(path)
        assert collect(hand.folder, tmp_path / "out").summary.failed == 1
        path.write_bytes(record)
        assert collect(hand.folder, tmp_path / "out").summary.failed == 0
        assert keys(tmp_path / "out") == ["a"]


class TestRefusing:
    def test_nothing_to_collect(self, hand: Hand, tmp_path: Path) -> None:
        with pytest.raises(RunError, match="no such folder"):
            collect(tmp_path / "gone", tmp_path / "out")
        hand.folder.mkdir()
        (hand.folder / "notes.json").write_text("{}")
        with pytest.raises(RunError, match="holds no pair"):
            collect(hand.folder, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_an_output_inside_the_folder(self, hand: Hand) -> None:
        hand.save("a")
        with pytest.raises(RunError, match="lies in the folder that is collected"):
            collect(hand.folder, hand.folder / "out")

    def test_the_folder_of_a_run(self, hand: Hand, tmp_path: Path) -> None:
        hand.save("a")
        collect(hand.folder, tmp_path / "out")

        journal = Journal(tmp_path / "out" / "run.sqlite")
        journal.set("graph", "[]")
        journal.close()
        with pytest.raises(RunError, match="holds the run of a workflow"):
            collect(hand.folder, tmp_path / "out")


def test_other_files_are_passed_over(hand: Hand, tmp_path: Path) -> None:
    hand.save("a")
    (hand.folder / "annotation.json").write_text('{"key": "a", "annotation": {}}')
    assert "1 other JSON files are no edit pairs and were passed over" in collect(hand.folder, tmp_path / "out").lines


def test_pairs_of_batch_runs_are_passed_over_and_their_runs_named(hand: Hand, tmp_path: Path) -> None:
    run = "0123456789abcdef" * 2
    hand.save("b" * 20, subfolder=f"{run}/{'b' * 20}-0")
    hand.save("c" * 20, subfolder=f"{run}/{'c' * 20}-1").unlink()
    with pytest.raises(RunError, match=rf"only those of batch runs: {run} \(1\)"):
        collect(hand.folder, tmp_path / "out")
    hand.save("a" * 20)
    found = collect(hand.folder, tmp_path / "out")
    assert keys(tmp_path / "out") == ["a" * 20]
    assert f"1 pairs of 1 batch runs were passed over: {run} (1)" in found.lines
    assert failed(tmp_path / "out") == {}
