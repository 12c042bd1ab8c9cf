"""Which rows a release takes: photos stay in one split, owners and licences are heard, benchmarks are kept out."""

from __future__ import annotations

import io
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageFilter

from comfy_nodes.core.models import Model
from driver.labels.labels import Label, Labels
from driver.releases.choice import choose
from driver.releases.index import Note
from driver.releases.photos import split_of
from tests.unit.release_making import Runs, go, keys, left_out, manifest, rows, sha, splits, table


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def many(count: int, **fields: Any) -> dict[str, dict[str, Any]]:
    return {f"k{number}": dict(fields) for number in range(count)}


def scene(seed: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A picture with large shapes, as photos have, other ones for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


class TestSplits:
    def test_shares_are_what_was_asked_for(self) -> None:
        found = Counter(split_of(sha(str(number)).encode(), (80, 15, 5)) for number in range(20_000))
        assert [round(found[name] / 20_000, 2) for name in ("train", "validation", "test")] == [0.8, 0.15, 0.05]

    def test_all_that_shows_a_photo_is_in_one_split(self, runs: Runs, tmp_path: Path) -> None:
        """Its crops, the same file by another name, it as another's reference, and edits of an edit of it."""
        made = many(30)
        for number in range(0, 30, 5):
            base, edit = f"k{number}", encoded(scene(number))
            reference = encoded(scene(100 + number))
            made[base] = {
                "crop": (0.0, 0.0, 10.0, 6.0),
                "after": edit,
                "before": (encoded(scene(200 + number)), reference),
            }
            made[f"k{number + 1}"] = {"source_sha256": sha(f"{base}.jpg"), "source_id": "another.jpg"}
            made[f"k{number + 2}"] = {"source_sha256": sha(edit)}
            made[f"k{number + 3}"] = {"before": (edit,)}
            made[f"k{number + 4}"] = {"before": (reference,)}
        go(runs.make("out", made), "--output", tmp_path / "r", "--split", "34,33,33")
        found = splits(tmp_path / "r/v1.0.0")
        assert len(found) == 30 and len(set(found.values())) == 3
        for number in range(0, 30, 5):
            assert len({found[f"k{number + n}"] for n in range(5)}) == 1
        assert manifest(tmp_path / "r/v1.0.0").photos == 12, "a reference is a photo of its own"

    def test_a_photo_keeps_its_split(self, runs: Runs, tmp_path: Path) -> None:
        """Whatever shares are asked for later, also where it was away in between."""
        go(runs.make("first", many(20)), "--output", tmp_path / "r", "--split", "50,25,25")
        before = splits(tmp_path / "r/v1.0.0")
        assert len(set(before.values())) == 3
        go(runs.make("second", {"k0": {}, **many(30)} | {"k1": {"verdict": "reject"}}), "--output", tmp_path / "r",
           "--split", "0,0,100")  # fmt: skip
        second = splits(tmp_path / "r/v2.0.0")
        assert {key: split for key, split in second.items() if key in before} == {
            key: split for key, split in before.items() if key != "k1"
        }
        assert {split for key, split in second.items() if key not in before} == {"test"}
        go(runs.make("third", many(20)), "--output", tmp_path / "r", "--split", "100")
        assert splits(tmp_path / "r/v3.0.0") == before

    def test_what_would_tie_two_splits_is_left_out(self, runs: Runs, tmp_path: Path) -> None:
        pictures = {f"k{number}": {"before": (encoded(scene(number)),)} for number in range(12)}
        go(runs.make("first", pictures), "--output", tmp_path / "r", "--split", "50,50")
        before = splits(tmp_path / "r/v1.0.0")
        one, other = (next(key for key in before if before[key] == split) for split in ("train", "validation"))
        tie = {"before": (*pictures[one]["before"], *pictures[other]["before"])}
        go(runs.make("second", {**pictures, "tie": tie}), "--output", tmp_path / "r", "--version", "1.1.0")
        assert splits(tmp_path / "r/v1.1.0") == before
        assert "two splits" in left_out(tmp_path / "r/v1.1.0")["tie"]

    def test_near_copies_are_one_photo_where_that_is_asked_for(self, runs: Runs, tmp_path: Path) -> None:
        made = {}
        for number in range(12):
            photo = scene(number)
            made[f"a{number}"] = {"before": (encoded(photo),)}
            copied = Image.open(io.BytesIO(encoded(photo.resize((144, 96)), "JPEG", quality=60)))
            made[f"b{number}"] = {"before": (encoded(copied),)}
        out = runs.make("out", made)
        go(out, "--output", tmp_path / "far", "--split", "50,50")
        go(out, "--output", tmp_path / "near", "--split", "50,50", "--near", "4")
        far, near = (splits(tmp_path / name / "v1.0.0") for name in ("far", "near"))
        assert any(far[f"a{number}"] != far[f"b{number}"] for number in range(12))
        assert all(near[f"a{number}"] == near[f"b{number}"] for number in range(12))
        assert (manifest(tmp_path / "far/v1.0.0").photos, manifest(tmp_path / "near/v1.0.0").photos) == (24, 12)


class TestTakedown:
    def test_a_photo_leaves_with_all_that_was_made_of_it_for_good(
        self, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        edit, again = encoded(scene(1)), encoded(scene(2))
        made = {
            "a": {"source_id": "mine.jpg", "after": edit},
            "b": {"source_sha256": sha(edit), "after": again},
            "c": {"before": (encoded(scene(3)), again)},
            "d": {"source_url": "https://example.org/d.jpg"},
            "e": {},
        }
        go(runs.make("first", made), "--output", tmp_path / "r")
        (tmp_path / "gone.txt").write_text("# asked by mail\nmine.jpg\nhttps://example.org/d.jpg\nnobody.jpg\n")
        go(runs.make("second", made), "--output", tmp_path / "r", "--without", tmp_path / "gone.txt")
        assert "no row is of nobody.jpg" in capsys.readouterr().err
        release = tmp_path / "r/v2.0.0"
        assert keys(release) == ["e"]
        assert left_out(release) == {
            "a": "taken down", "d": "taken down",
            "b": "made of a photo that was taken down", "c": "made of a photo that was taken down",
        }  # fmt: skip
        assert manifest(release).removed == {"taken down": 2, "made of a photo that was taken down": 2}
        travels = set((release / "takedown.txt").read_text().split())
        assert {"mine.jpg", "https://example.org/d.jpg", "nobody.jpg", sha("a.jpg"), sha("d.jpg")} <= travels
        # without the file, and the same photo by another name
        later = {**made, "f": {"source_id": "other.jpg", "source_sha256": sha("a.jpg")}, "g": {}}
        go(runs.make("third", later), "--output", tmp_path / "r")
        assert keys(tmp_path / "r/v2.1.0") == ["e", "g"]
        assert set((tmp_path / "r/v2.1.0/takedown.txt").read_text().split()) == travels

    def test_copies_that_look_the_same_go_too_where_that_is_asked_for(self, runs: Runs, tmp_path: Path) -> None:
        photo, edit = scene(1), encoded(scene(2))
        copied = Image.open(io.BytesIO(encoded(photo.resize((144, 96)), "JPEG", quality=60)))
        made = {
            "a": {"before": (encoded(photo),)},
            "b": {"before": (encoded(copied),), "after": edit},
            "c": {"before": (edit,)},
            "d": {"before": (encoded(scene(3)),)},
        }
        out = runs.make("out", made)
        (tmp_path / "gone.txt").write_text("a.jpg\n")
        go(out, "--output", tmp_path / "far", "--without", tmp_path / "gone.txt")
        go(out, "--output", tmp_path / "near", "--without", tmp_path / "gone.txt", "--near", "4")
        assert (keys(tmp_path / "far/v1.0.0"), keys(tmp_path / "near/v1.0.0")) == (["b", "c", "d"], ["d"])

    def test_a_list_alone_is_a_release_too(self, runs: Runs, tmp_path: Path) -> None:
        out = runs.make("out", {"a": {}})
        go(out, "--output", tmp_path / "r")
        (tmp_path / "gone.txt").write_text("later.jpg\n")
        go(out, "--output", tmp_path / "r", "--without", tmp_path / "gone.txt")
        assert manifest(tmp_path / "r/v1.0.1").changes["remove"].model_dump() == {
            "added": 0, "removed": 0, "changed": 0, "same": 1,
        }  # fmt: skip


class TestLicences:
    FILL = Model(
        role="diffusion model", name="flux1-fill-dev.safetensors", licence="FLUX.1 [dev] Non-Commercial License"
    )
    KLEIN = Model(role="diffusion model", name="flux-2-klein-4b-fp8.safetensors", licence="Apache-2.0")

    @pytest.mark.parametrize(("policy", "stay"), [("any", "abcdef"), ("train", "adef"), ("commercial", "aef")])
    def test_rows_that_a_policy_rules_out_are_counted_with_the_reason(
        self, policy: str, stay: str, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        made = {
            "a": {"models": (self.KLEIN,), "source_licence": "CC0"},
            "b": {"models": (self.FILL,)},
            "c": {"source_licence": "CC BY-ND 4.0"},
            "d": {"source_licence": "CC BY-NC 4.0"},
            "e": {},
            "f": {"models": (Model(role="editor", name="mine", licence="Terms (outputs may train: yes)"),)},
        }
        go(runs.make("out", made), "--output", tmp_path / "r", "--licence-policy", policy)
        found = left_out(tmp_path / "r/v1.0.0")
        assert "".join(keys(tmp_path / "r/v1.0.0")) == stay
        assert set(found) == {*"abcdef"} - {*stay}
        if policy == "train":
            assert "flux1-fill-dev" in found["b"] and "no derivatives" in found["c"]
        told = "of 2 rows nobody stated the photo's licence" in capsys.readouterr().err
        assert told == (policy != "any")


def test_what_persons_labelled_as_bad_is_left_out(runs: Runs, tmp_path: Path) -> None:
    out = runs.make("out", many(4))
    said = [("k0", "reject", "ann"), ("k1", "keep", "ann"), ("k2", "keep", "ann"), ("k2", "reject", "ben")]
    labels = Labels(out)
    for key, label, who in said:
        labels.add(Label(key=key, label=label, labeller=who, time=datetime.now(UTC)))
    go(out, "--output", tmp_path / "r")
    assert left_out(tmp_path / "r/v1.0.0") == {"k0": "labelled bad by hand", "k2": "the hand labels are divided"}


class TestChoice:
    def test_quotas_are_met_or_said_and_photos_take_turns(
        self, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        made = {f"r{number}": {"source_sha256": sha(str(number % 5))} for number in range(20)}
        made |= {f"a{number}": {"task": "add"} for number in range(3)}
        made |= {"s0": {"task": "style"}}
        out = runs.make("out", made)
        go(out, "--output", tmp_path / "r", "--quota", "remove=10,add=5", "--json")
        told = json.loads(capsys.readouterr().out)
        assert told["quotas"] == {"remove": [10, 10], "add": [3, 5]}
        found = rows(tmp_path / "r/v1.0.0")
        assert Counter(row["task"] for row in found) == {"remove": 10, "add": 3, "style": 1}
        per_photo = Counter(row["source_sha256"] for row in found if row["task"] == "remove")
        assert set(per_photo.values()) == {2}
        assert "(2 short)" in (tmp_path / "r/v1.0.0/README.md").read_text()
        go(out, "--output", tmp_path / "again", "--quota", "remove=10,add=5")
        go(out, "--output", tmp_path / "else", "--quota", "remove=10,add=5", "--seed", "7")
        assert keys(tmp_path / "again/v1.0.0") == keys(tmp_path / "r/v1.0.0") != keys(tmp_path / "else/v1.0.0")

    def test_a_photo_gives_no_more_than_its_share_the_rarest_kind_first(self, runs: Runs, tmp_path: Path) -> None:
        made = {}
        for number in range(4):
            photo = {"source_sha256": sha(str(number))}
            made |= {f"r{number}{n}": photo for n in range(5)}
            made |= {f"a{number}": {**photo, "task": "add"}}
        go(runs.make("out", made), "--output", tmp_path / "r", "--max-per-source", "2", "--quota", "add=4,remove=20")
        found = rows(tmp_path / "r/v1.0.0")
        assert Counter(row["task"] for row in found) == {"add": 4, "remove": 4}
        assert set(Counter(row["source_sha256"] for row in found).values()) == {2}

    def test_a_reference_that_all_share_counts_for_none(
        self, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        style = encoded(scene(99))
        made = {f"k{number}": {"before": (encoded(scene(number)), style)} for number in range(6)}
        go(runs.make("out", made), "--output", tmp_path / "r", "--max-per-source", "1", "--split", "34,33,33")
        assert len(keys(tmp_path / "r/v1.0.0")) == 6 and len(set(splits(tmp_path / "r/v1.0.0").values())) == 1
        assert "6 of 6 photos are in one split, as references tie them together" in capsys.readouterr().err

    def test_a_kinds_quota_is_apart_from_its_tasks(self, runs: Runs, tmp_path: Path) -> None:
        made = many(6, task="alter", subtask="unicedit/Color Alteration") | {
            "p0": {"task": "alter"},
            "p1": {"task": "alter"},
        }
        go(runs.make("out", made), "--output", tmp_path / "r", "--quota", "unicedit/Color Alteration=2,alter=1")
        assert manifest(tmp_path / "r/v1.0.0").counts.kinds == {"alter": 1, "unicedit/Color Alteration": 2}

    def test_what_was_released_goes_before_what_is_new(self, runs: Runs, tmp_path: Path) -> None:
        go(runs.make("first", many(10)), "--output", tmp_path / "r", "--quota", "remove=6")
        go(runs.make("second", many(40)), "--output", tmp_path / "r", "--quota", "remove=8")
        first, second = (keys(tmp_path / "r" / name) for name in ("v1.0.0", "v1.1.0"))
        assert len(second) == 8 and set(first) < set(second)

    @pytest.mark.parametrize("seed", range(8))
    def test_a_photo_of_which_a_row_was_released_has_had_its_turn(self, seed: int) -> None:
        notes = [
            Note(0, key, "remove", "", "", "", b"", (), (), b"", "", "") for key in ("old", "older", "new", "other")
        ]
        photos = [b"p", b"p", b"p", b"q"]

        def refused(quota: int, *earlier: str) -> set[str]:
            chosen = choose(notes, photos, range(4), {"remove": quota}, None, seed, set(earlier))
            return {notes[number].key for number in chosen.refused}

        assert refused(2, "old", "older") == {"new", "other"}
        assert refused(3, "old", "older") == {"new"}
        assert "other" not in refused(2, "old")


class TestDifference:
    def test_rows_that_came_left_or_changed_are_told_by_task_with_reasons(self, runs: Runs, tmp_path: Path) -> None:
        first = {"a": {}, "b": {}, "c": {"task": "add"}, "d": {"task": "add"}}
        go(runs.make("first", first), "--output", tmp_path / "one")
        klein = Model(role="diffusion model", name="unknown.safetensors")
        second = {
            "a": {},
            "b": {"after": encoded(scene(1))},
            "c": {"task": "add", "models": (klein,)},
            "e": {"task": "add"},
        }
        go(runs.make("second", second), "--output", tmp_path / "other", "--since", tmp_path / "one",
           "--licence-policy", "train")  # fmt: skip
        release = tmp_path / "other/v2.0.0"
        found = manifest(release)
        assert {task: one.model_dump() for task, one in found.changes.items()} == {
            "add": {"added": 1, "removed": 2, "changed": 0, "same": 0},
            "remove": {"added": 0, "removed": 0, "changed": 1, "same": 1},
        }
        assert found.since == manifest(tmp_path / "one/v1.0.0").named
        (gone,) = (row for row in table(release, "left_out") if row["key"] == "d")
        assert (gone["folder"], gone["reason"]) == ("v1.0.0", "in none of the folders any more")
        assert sum(found.removed.values()) == 2
        card = (release / "README.md").read_text()
        assert "| add | 1 | 2 | 0 | 0 |" in card and "| remove | 0 | 0 | 1 | 1 |" in card
        assert f"| {gone['reason']} | 1 |" in card


class TestBenchmarks:
    @pytest.fixture
    def out(self, runs: Runs) -> Path:
        """Rows of twelve photos, of `k0` a crop to the proportions of 1104 x 944, of `k1` the benchmark's own file."""
        made = {f"k{number}": {"before": (encoded(scene(number, (160, 112))),)} for number in range(12)}
        made["k0"] = {
            "before": (encoded(scene(0, (160, 112)).crop((14, 0, 145, 112))),),
            "crop": (14.0, 0.0, 145.0, 112.0),
        }
        made["k1"] = {"source_sha256": sha(encoded(scene(1, (160, 112)), "JPEG"))}
        made["k4"] = {"before": (encoded(scene(50)), encoded(scene(4, (160, 112))))}
        return runs.make("out", made)

    def test_pictures_of_a_benchmark_are_kept_out_however_they_were_saved(
        self, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        bench = tmp_path / "bench"
        (bench / "sub").mkdir(parents=True)
        photo = {number: scene(number, (160, 112)) for number in range(12)}
        (bench / "crop.png").write_bytes(encoded(photo[0].resize((320, 224))))
        (bench / "sub/1.jpg").write_bytes(encoded(photo[1], "JPEG"))
        (bench / "pixels.bmp").write_bytes(encoded(photo[2], "BMP"))
        (bench / "saved.jpg").write_bytes(encoded(photo[3].resize((240, 168)), "JPEG", quality=50))
        (bench / "reference.webp").write_bytes(encoded(photo[4], "WEBP", quality=60))
        (bench / "broken.png").write_bytes(b"no picture")
        (bench / "more.zip").write_bytes(b"")
        (bench / "notes.txt").write_text("no picture either")
        image = pa.array([{"bytes": encoded(photo[5], "JPEG"), "path": "x"}])
        pq.write_table(pa.table({"id": [1], "input_image": image}), bench / "sub/test.parquet")
        go(out, "--output", tmp_path / "r", "--against", bench)
        found = left_out(tmp_path / "r/v1.0.0")
        assert set(found) == {f"k{number}" for number in range(6)}
        assert found["k1"] == "its photo is bench/sub/1.jpg"
        assert found["k2"] == "shows the pixels of bench/pixels.bmp"
        assert found["k3"].startswith("looks like bench/saved.jpg (")
        assert "bench/sub/test.parquet row 0 input_image" in found["k5"]
        assert manifest(tmp_path / "r/v1.0.0").left_out == {"a benchmark's picture": 6}
        assert manifest(tmp_path / "r/v1.0.0").asked.against == ("bench (6 pictures)",)
        told = capsys.readouterr().err
        assert "broken.png: not an image that can be read" in told and "more.zip: is not looked into" in told

    def test_a_benchmark_without_pictures_is_refused(
        self, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "bench").mkdir()
        go(out, "--output", tmp_path / "r", "--against", tmp_path / "bench", status=2)
        assert "holds no picture that can be read" in capsys.readouterr().err
