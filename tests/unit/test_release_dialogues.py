"""Dialogues in a release: whole or not at all, in one split, each picture once."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from driver.dataset.layouts.hf import HfLayout
from driver.dataset.layouts.layout import LAYOUTS
from driver.labels.labels import Label, Labels
from driver.releases.dialogues import TORN
from tests.unit.release_making import Runs, go, left_out, manifest, sha


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def state(dialogue: str, number: int) -> bytes:
    """Of 40 x 40 pixels, all others than those of any other state."""
    seed = int(sha(f"{dialogue}/{number}")[:8], 16)
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def dialogue(name: str, turns: int = 3, **fields: Any) -> dict[str, dict[str, Any]]:
    """The rows of a dialogue, by their keys."""
    return {
        f"{name}~{number}": {
            "before": (state(name, number),),
            "after": state(name, number + 1),
            "task": "content_memory",
            "source_id": f"{name}.jpg",
            "source_sha256": sha(f"{name}.jpg"),
            "turn": {"dialogue": name, "number": number + 1, "of": turns, "base": number, "op": "alter"},
            **fields,
        }
        for number in range(turns)
    }


def records(release: Path, split: str = "*") -> list[dict[str, Any]]:
    found = sorted((release / "data").glob(f"dialogues-{split}-*.parquet"))
    return [record for path in found for record in pq.read_table(path).to_pylist()]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_dialogue_is_one_record_with_each_picture_once(
    layout: str, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HfLayout, "group_rows", 2)  # fewer than a dialogue has
    go(
        runs.make("out", {**dialogue("d"), "a": {}, **dialogue("e")}, layout),
        "--output",
        tmp_path / "r",
        "--split",
        "100",
    )
    release = tmp_path / "r/v1.0.0"
    found = {record["key"]: record for record in records(release, "train")}
    assert sorted(found) == ["d", "e"]
    for name, record in found.items():
        states = {one["path"]: one["bytes"] for one in record["states"]}
        assert list(states.values()) == [state(name, number) for number in range(4)]
        assert [[states[one] for one in turn["output_images"]] for turn in record["data"]] == [
            [state(name, number)] for number in (1, 2, 3)
        ]
        assert [row["key"] for row in record["turns"]] == [f"{name}~{number}" for number in range(3)]
    (pairs,) = (release / "data").glob("train-*.parquet")
    assert pq.read_table(pairs)["key"].to_pylist() == ["a"]
    assert manifest(release).counts.splits == {"train": 7}
    go("--verify", release)


def test_load_dataset_opens_pairs_and_dialogues(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    made = {f"k{number}": {} for number in range(9)}
    for number in range(12):
        made |= dialogue(f"d{number}")
    go(runs.make("both", made), "--output", tmp_path / "r", "--split", "50,25,25")
    go(runs.make("alone", dialogue("d")), "--output", tmp_path / "s", "--split", "100")
    both, alone = (str(tmp_path / name / "v1.0.0") for name in ("r", "s"))
    cache = str(tmp_path / "cache")
    assert sum(len(one) for one in datasets.load_dataset(both, cache_dir=cache).values()) == 9
    opened = datasets.load_dataset(both, "dialogues", cache_dir=cache)
    assert sum(len(one) for one in opened.values()) == 12 and len(opened) > 1
    for name in ("default", "dialogues"):
        assert datasets.load_dataset(alone, name, split="train", cache_dir=cache)["key"][:] == ["d"]


class TestWhole:
    def test_a_turn_that_leaves_takes_its_dialogue_along(self, runs: Runs, tmp_path: Path) -> None:
        out = runs.make("out", {**dialogue("d"), **dialogue("e"), "a": {}})
        Labels(out).add(Label(key="d~1", label="reject", labeller="ada", time=datetime.now(UTC)))
        go(out, "--output", tmp_path / "r")
        found = left_out(tmp_path / "r/v1.0.0")
        assert set(found) == {"d~0", "d~1", "d~2"}
        assert found["d~0"] == found["d~2"] == TORN != found["d~1"]
        assert [record["key"] for record in records(tmp_path / "r/v1.0.0")] == ["e"]

    def test_a_dialogue_counts_as_one_for_quotas_and_for_its_photo(self, runs: Runs, tmp_path: Path) -> None:
        made: dict[str, dict[str, Any]] = {}
        for number in range(6):
            made |= dialogue(f"d{number}")
        out = runs.make("out", made)
        go(out, "--output", tmp_path / "r", "--quota", "content_memory=4")
        release = tmp_path / "r/v1.0.0"
        assert [len(record["turns"]) for record in records(release)] == [3] * 4
        (quota,) = manifest(release).quotas
        assert (quota.asked, quota.taken) == (4, 4)
        one_photo = dialogue("x", source_id="p.jpg", source_sha256="1" * 64) | dialogue(
            "y", source_id="p.jpg", source_sha256="1" * 64
        )
        go(runs.make("photo", one_photo), "--output", tmp_path / "p", "--max-per-source", "1")
        assert [len(record["turns"]) for record in records(tmp_path / "p/v1.0.0")] == [3]

    def test_a_photo_that_is_taken_down_takes_its_dialogues(self, runs: Runs, tmp_path: Path) -> None:
        out = runs.make("out", {**dialogue("d"), **dialogue("e")})
        (tmp_path / "without.txt").write_text("d.jpg\n")
        go(out, "--output", tmp_path / "r", "--without", tmp_path / "without.txt")
        assert [record["key"] for record in records(tmp_path / "r/v1.0.0")] == ["e"]

    def test_turns_are_in_one_split(self, runs: Runs, tmp_path: Path) -> None:
        made: dict[str, dict[str, Any]] = {}
        for number in range(8):
            made |= dialogue(f"d{number}", 2)
        go(runs.make("out", made), "--output", tmp_path / "r", "--split", "50,25,25")
        found = {split: records(tmp_path / "r/v1.0.0", split) for split in ("train", "validation", "test")}
        assert sum(map(bool, found.values())) > 1 and sum(map(len, found.values())) == 8
        assert all(len(record["turns"]) == 2 for some in found.values() for record in some)
