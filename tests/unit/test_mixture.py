"""Several inputs read as one: ids and places that stay apart, in any order of looking, and one input as it was alone."""

from __future__ import annotations

import json
import random
import tarfile
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driver import places
from driver.errors import RunError
from driver.inputs.cutting import KnownShard
from driver.inputs.photo import Photo, Skip
from driver.inputs.shares import InputShare
from driver.inputs.source import Source
from driver.options import parse
from driver.places import Cell, OfInput
from driver.samples import Aim, Sample
from tests.unit.source_making import BOX, REMOVE, STYLE, ids, mask_picture, picture, plan, reasons, samples


def folder(at: Path, names: Sequence[str], colour: str = "grey") -> Path:
    at.mkdir(parents=True)
    for name in names:
        (at / name).write_bytes(picture(colour))
    return at


def numbered(number: int) -> list[str]:
    return [f"{place:03}.jpg" for place in range(number)]


def mixed(*inputs: tuple[Path | str, float | None], root: Path | None = None) -> Source:
    return Source([InputShare(str(path), share) for path, share in inputs], root)


def told(source: Source) -> list[str]:
    return ids(source.plan([Aim(STYLE)], "all", 0))


class TestPlaces:
    def test_files_of_one_name_stay_apart(self, tmp_path: Path) -> None:
        red, blue = (folder(tmp_path / name / "photos", ["a.jpg"], name) for name in ("red", "blue"))
        (blue / "a.mask.png").write_bytes(mask_picture())
        (blue / "a.txt").write_text("Remove the cup")
        source = mixed((red, None), (blue, None))
        first, second = samples(source.plan([Aim(STYLE)], "all", 0))
        assert [first.annotation.path, second.annotation.path] == ["a.jpg", "photos-2//a.jpg"]
        assert first.key != second.key
        assert source.read(first.file) == picture("red") and source.read(second.file) == picture("blue")
        assert source.suffix(second.file) == ".jpg" and source.stamp(second.pictures) != source.stamp(first.pictures)
        (removed,) = samples(plan(source, REMOVE))
        assert removed.instruction == "Remove the cup" and str(removed.file) == "photos-2//a.jpg"

    def test_the_first_inputs_samples_are_those_that_it_has_alone(self, tmp_path: Path) -> None:
        ours, theirs = folder(tmp_path / "ours", numbered(5)), folder(tmp_path / "theirs", numbered(5))
        alone = samples(Source(ours).plan([Aim(STYLE)], "all", 0))
        both = samples(mixed((ours, None), (theirs, None)).plan([Aim(STYLE)], "all", 0))
        assert both[:5] == alone and len({one.key for one in both}) == 10

    def test_kinds_may_differ_and_lead_back_to_their_own(self, tmp_path: Path) -> None:
        photos = folder(tmp_path / "photos", ["a.jpg"], "red")
        pq.write_table(pa.table({"image": [picture("blue")], "id": ["a.jpg"]}), tmp_path / "rows.parquet")
        with tarfile.open(tmp_path / "packed.tar", "w") as tar:
            info = tarfile.TarInfo("a.jpg")
            info.size = len(picture("green"))
            tar.addfile(info, BytesIO(picture("green")))
        (tmp_path / "lines.jsonl").write_text(
            json.dumps({"path": "photos/a.jpg", "bbox": BOX, "class_name": "cup"}) + "\n"
        )
        given = [photos, tmp_path / "rows.parquet", tmp_path / "packed.tar", tmp_path / "lines.jsonl"]
        source = mixed(*((one, None) for one in given), root=tmp_path)
        found = samples(source.plan([Aim(STYLE)], "all", 0))
        assert [source.read(one.file) for one in found] == [picture(one) for one in ("red", "blue", "green", "red")]
        assert [one.annotation.path for one in found] == [
            "a.jpg", "rows.parquet//a.jpg", "packed.tar//packed.tar/a.jpg", "lines.jsonl//photos/a.jpg",
        ]  # fmt: skip
        for one in found:
            assert places.from_json(json.loads(json.dumps(places.to_json(one.file)))) == one.file

    def test_a_place_in_an_input_that_is_not_given_is_not_read(self, tmp_path: Path) -> None:
        source = Source(folder(tmp_path / "photos", ["a.jpg"]))
        with pytest.raises(ValueError, match="called rows, which is none of this run's"):
            source.read(OfInput("rows", Cell("rows.parquet", 0, "image", 0, "jpg")))

    def test_what_is_wrong_is_said_of_the_input_that_it_lies_in(self, tmp_path: Path) -> None:
        ours, theirs = folder(tmp_path / "ours", ["a.jpg"]), folder(tmp_path / "theirs", ["a.jpg"])
        (theirs / "b.jpg").write_bytes(b"none")
        (theirs / "c.ref.png").write_bytes(b"none")
        found = reasons(mixed((ours, None), (theirs, None)).plan([Aim(STYLE)], "all", 0))
        assert set(found) == {"theirs//b.jpg", "theirs//c.ref.png"} and "not an image" in found["theirs//b.jpg"]
        why = reasons(plan(mixed((ours, None), (theirs, None)), REMOVE))
        assert "put a.mask.png beside it" in why["theirs//a.jpg"]


class TestShares:
    def test_photos_take_turns(self, tmp_path: Path) -> None:
        inputs = [folder(tmp_path / name, numbered(number)) for name, number in (("a", 30), ("b", 30))]
        found = told(mixed((inputs[0], 70), (inputs[1], 30)))
        for end in range(1, 43):
            assert abs(sum(one.startswith("b//") for one in found[:end]) - 0.3 * end) < 1
        assert len(found) == 60 and set(found[43:]) == {f"b//{name}" for name in numbered(30)[13:]}

    def test_without_shares_one_follows_the_other(self, tmp_path: Path) -> None:
        inputs = [folder(tmp_path / name, numbered(3)) for name in "ba"]
        assert told(mixed((inputs[0], None), (inputs[1], None))) == numbered(3) + [f"a//{one}" for one in numbered(3)]

    @pytest.mark.parametrize("lengths", [(50, 7, 20), (3, 60, 20), (0, 30, 1)])
    def test_shards_and_jumps_find_what_one_walk_finds(self, lengths: tuple[int, ...], tmp_path: Path) -> None:
        """Also shards that are known, which are passed over, and a walk that has seen no end yet."""
        given = []
        for name, number in zip("abc", lengths, strict=True):
            at = tmp_path / f"{name}.jsonl"
            folder(tmp_path / name, numbered(number))
            at.write_text("".join(json.dumps({"path": f"{name}/{one}"}) + "\n" for one in numbered(number)) or "\n")
            given.append((at, {"a": 5, "b": 3, "c": 2}[name]))
        whole = told(mixed(*given))
        assert len(whole) == sum(lengths)
        source, found, shards = mixed(*given), list[str](), list(mixed(*given).shards(8, [Aim(STYLE)]))
        for shard in source.shards(8, [Aim(STYLE)]):
            found += ids(source.plan([Aim(STYLE)], "all", 0, shard=shard))
        assert found == whole
        known = [KnownShard(one.index, one.items, one.first) for one in shards[:4]]
        again = mixed(*given)
        later = list(again.shards(8, [Aim(STYLE)], known))
        assert later == shards
        assert [one for shard in later[4:] for one in ids(again.plan([Aim(STYLE)], "all", 0, shard=shard))] == whole[
            32:
        ]
        assert again.count([Aim(STYLE)]) == len(whole)
        for start in random.Random(1).sample(range(len(whole)), 8):
            skip = Skip(start)
            photos = mixed(*given).reader.photos("style", skip=skip)
            assert next(photos).source_id == whole[start]
            skip.left = 3
            assert next(photos, Photo("", "end")).source_id == (whole[start + 4 : start + 5] or ["end"])[0]

    def test_places_in_files_of_one_name_are_those_of_their_input(self, tmp_path: Path) -> None:
        """Another run over the same inputs goes on from them, each in its own."""
        given = []
        for name, number in (("a", 40), ("b", 60)):
            folder(tmp_path / name, numbered(number))
            lines = "".join(
                json.dumps({"path": one, "cap": "x" * 300 * (name == "b")}) + "\n" for one in numbered(number)
            )
            (tmp_path / name / "lines.jsonl").write_text(lines)
            given.append((tmp_path / name / "lines.jsonl", 1))
        first = mixed(*given)
        cuts = list(first.shards(10, [Aim(STYLE)]))
        known = dict(first.places.news())
        assert set(known) == {"lines.jsonl", "lines.jsonl-2//lines.jsonl"}
        again = mixed(*given)
        again.places.learn(lambda file: known.get(file, []))
        assert ids(again.plan([Aim(STYLE)], "all", 0, shard=cuts[5])) == told(mixed(*given))[50:60]

    def test_rows_that_cannot_be_read_are_told_one_by_one(self, tmp_path: Path) -> None:
        """They stand between another input's, so that a shard may begin among them."""
        folder(tmp_path / "photos", numbered(12))
        rows = pa.table({"image": [picture()] * 12, "id": [f"r{number}" for number in range(12)]})
        pq.write_table(rows, tmp_path / "rows.parquet", row_group_size=4)
        column = pq.ParquetFile(tmp_path / "rows.parquet").metadata.row_group(1).column(0)
        data = bytearray((tmp_path / "rows.parquet").read_bytes())
        start = column.dictionary_page_offset or column.data_page_offset
        data[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
        (tmp_path / "rows.parquet").write_bytes(data)
        given = (tmp_path / "photos", 1), (tmp_path / "rows.parquet", 1)
        planned = list(mixed(*given).plan([Aim(STYLE)], "all", 0))
        assert len(planned) == 24 and len({one.key for one in planned}) == 24
        assert [isinstance(one, Sample) for one in planned[1::2]] == [True] * 4 + [False] * 4 + [True] * 4
        cut = mixed(*given)
        by_shards = [
            one for shard in cut.shards(5, [Aim(STYLE)]) for one in cut.plan([Aim(STYLE)], "all", 0, shard=shard)
        ]
        assert [isinstance(one, Sample) for one in by_shards] == [isinstance(one, Sample) for one in planned]


class TestWhatItIs:
    def test_its_fingerprint_changes_with_each_input_and_their_shares(self, tmp_path: Path) -> None:
        a, b = (folder(tmp_path / name, ["a.jpg"]) for name in "ab")
        found = [
            mixed((a, None), (b, None)).fingerprint(), mixed((b, None), (a, None)).fingerprint(),
            mixed((a, 1), (b, 2)).fingerprint(), Source(a).fingerprint(),
            Source([InputShare(str(a), licence="CC0 1.0")]).fingerprint(),
        ]  # fmt: skip
        (b / "b.jpg").write_bytes(picture())
        found.append(mixed((a, None), (b, None)).fingerprint())
        assert len(set(found)) == len(found)

    def test_what_cannot_be(self, tmp_path: Path) -> None:
        a, b = (folder(tmp_path / name, ["a.jpg"]) for name in "ab")
        with pytest.raises(RunError, match="is given twice"):
            mixed((a, None), (a, None))
        with pytest.raises(RunError, match=r"--input .*a and .*b: give a share to each input, or to none"):
            mixed((a, None), (b, 3))
        with pytest.raises(RunError, match=r"lies in --input .*b; choose a folder outside"):
            mixed((a, None), (b, None)).refuse_output(b / "out")
        with pytest.raises(RunError, match="hold their photos themselves; leave --image-root out"):
            mixed((a, None), (b, None), root=tmp_path)

    def test_names_are_told_apart_and_stay_when_inputs_are_added(self, tmp_path: Path) -> None:
        given = [folder(tmp_path / at / "my photos", ["a.jpg"]) for at in "abc"]
        assert told(mixed(*((one, None) for one in given))) == ["a.jpg", "my-photos-2//a.jpg", "my-photos-3//a.jpg"]

    def test_a_licence_counts_where_a_photo_brings_none(self, tmp_path: Path) -> None:
        photos = folder(tmp_path / "photos", ["a.jpg", "b.jpg"])
        lines = [{"path": "a.jpg", "source_licence": "CC0 1.0"}, {"path": "b.jpg"}]
        (tmp_path / "lines.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
        asked = [InputShare(str(photos), licence="CC BY 4.0"), InputShare(str(tmp_path / "lines.jsonl"), licence="MIT")]
        found = samples(Source(asked, photos).plan([Aim(STYLE)], "all", 0))
        assert [one.annotation.source_licence for one in found] == ["CC BY 4.0", "CC BY 4.0", "CC0 1.0", "MIT"]


class TestCommandLine:
    def test_inputs_with_shares_and_licences(self) -> None:
        words = ["--workflow", "remove", "--input", "a,b", "--input", "s3://c/70", "--input-share", "70,30"]
        assert parse(words).input == (InputShare("a,b", 70), InputShare("s3://c/70", 30))
        more = [*words, "--input-licence", "CC BY 4.0, see LICENCE", "--input-licence", ""]
        assert [one.licence for one in parse(more).input] == ["CC BY 4.0, see LICENCE", ""]
        assert parse(["--workflow", "remove"]).input == ()

    @pytest.mark.parametrize(
        ("words", "why"),
        [
            (
                ["--input", "a", "--input-share", "70,30"],
                "--input-share goes with each --input: 2 given, for 1 --input",
            ),
            (
                ["--input", "a", "--input", "b", "--input-licence", "MIT"],
                "--input-licence goes with each --input: 1 given",
            ),
            (["--input", "a", "--input-share", "3"], "--input-share goes with several --input"),
            (["--input", "a", "--input-share", "0"], "are no shares such as 70,30"),
            (["--input", "a", "--input-share", "a,b"], "are no shares such as 70,30"),
            (["--input", "a", "--input", ""], "--input is empty"),
        ],
    )
    def test_what_does_not_go_together(self, words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            parse(["--workflow", "remove", *words])
        assert why in capsys.readouterr().err
