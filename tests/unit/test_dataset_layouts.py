"""The layouts `imgedit` and `wds`, opened from outside: `datasets`, pyarrow and tarfile."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from comfy_nodes.core.imgedit import NAMES
from comfy_nodes.core.records import Score
from comfy_nodes.core.tasks import INSTRUCT, TASKS
from comfy_nodes.core.verdicts.verdicts import Judge
from driver.dataset.dataset import stored_rows, write_dataset
from driver.dataset.layouts import imgedit as layout_imgedit
from driver.dataset.layouts.imgedit import ImgEditLayout, check_part
from driver.dataset.layouts.tars import TarWriter
from driver.dataset.layouts.wds import WdsLayout
from driver.dataset.parts import Part
from driver.dataset.rows import PLAIN, RunFacts
from driver.errors import RunError
from driver.report.figures import RowStatistics
from driver.report.page import write_card
from driver.report.summary import Summary

RUN_FACTS = RunFacts("remove", "a" * 64, "b" * 64, "classical")
SUMMARY = Summary("remove", "classical", "remove", 3, 2, 1, 0, 0, 0, {}, {}, 1.0, 1.0)


def finish(run: Any, layout: str) -> None:
    write_dataset(run.journal, run.spool, Part(run.output), RUN_FACTS, layout)
    write_card(run.output, SUMMARY, {"editpairs": "0.1.0", "comfyui": "0.30.0"}, RowStatistics.of_dataset(run.output))


def saved(count: int) -> list[dict[str, str]]:
    return [{"filename": f"{n}.png", "subfolder": "", "type": "output", "sha256": f"{n}" * 64} for n in range(count)]


def add_with(run: Any, key: str, inputs: int = 1, **fields: Any) -> None:
    """Finishes a sample with several pictures before the edit."""
    run.journal.enrol([run.sample_of(key)], None)
    for role, count in (("input", inputs), ("output", 1)):
        for number in range(count):
            run.spool.put(key, role, number, run.png(f"{key}{number or ''}", role))
    run.journal.done(key, [run.filed(key, input_images=saved(inputs), **fields)], 0.1)


def members(path: Path) -> dict[str, bytes]:
    """A tar's files in their order."""
    with tarfile.open(path) as tar:
        found = {}
        for info in tar:
            file = tar.extractfile(info)
            assert file is not None
            found[info.name] = file.read()
            assert (info.mtime, info.uid, info.gid, info.uname, info.mode) == (0, 0, 0, "", 0o644)
        return found


@pytest.fixture
def opened(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A function that opens the run's folder with `datasets`, by its card."""
    datasets = pytest.importorskip("datasets", reason="datasets, the reader of what a run leaves, is not installed")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    cache = str(tmp_path_factory.mktemp("cache"))
    return lambda *what, **how: datasets.load_dataset(
        *(what or (str(run.output),)), split="train", cache_dir=cache, **how
    )


class TestWebdataset:
    def test_every_sample_has_the_same_members(self, run: Any) -> None:
        run.add("a", "b", scores=(Score(name="x", value=1.0),))
        run.add("r", verdict="reject")
        finish(run, "wds")
        (shard,) = run.shards()
        assert shard.name == "train-00000.tar"
        found = members(shard)
        names = ("input.png", "output.png", "json", "txt")
        assert list(found) == [f"{key}.{name}" for key in "ab" for name in names]
        for key in "ab":
            assert found[f"{key}.input.png"] == run.png(key, "input")
            assert found[f"{key}.output.png"] == run.png(key, "output")
            assert found[f"{key}.txt"] == b"Remove the cup."
            columns = json.loads(found[f"{key}.json"])
            assert list(columns) == PLAIN.names
            assert json.loads(columns["scores"]) == [{"name": "x", "value": 1.0}]
            assert not any(value is None for value in columns.values()), "a type that is guessed would follow from it"
        assert [name.partition(".")[0] for name in members(run.output / "rejected" / "train-00000.tar")] == ["r"] * 4

    def test_datasets_opens_it_by_its_card(self, run: Any, opened: Callable[..., Any]) -> None:
        for number in range(7):  # `datasets` guesses types from the first five
            judge = Judge(model="m", prompt_version="1", reply="Fine.") if number == 6 else None
            licence = "CC0" if number == 6 else None
            run.add(f"k{number}", judge=judge, source_licence=licence)
        run.add("r", verdict="reject", reject_reason="too dark")
        finish(run, "wds")
        rows = opened()
        assert rows["__key__"][:] == [f"k{number}" for number in range(7)]
        for row in rows:
            for role in ("input", "output"):
                np.testing.assert_array_equal(np.asarray(row[f"{role}.png"]), run.pixels(row["__key__"], role))
        assert rows[6]["json"]["source_licence"] == "CC0"
        assert json.loads(rows[6]["json"]["judge"])["reply"] == "Fine."
        assert opened(str(run.output), "rejected")[0]["json"]["reject_reason"] == "too dark"

    def test_datasets_opens_the_tars_alone(self, run: Any, opened: Callable[..., Any]) -> None:
        run.add("a", "b")
        finish(run, "wds")
        rows = opened("webdataset", data_files=str(run.output / "data" / "*.tar"))
        assert rows["txt"][:] == ["Remove the cup."] * 2

    def test_samples_with_a_reference_have_tars_of_their_own(self, run: Any, opened: Callable[..., Any]) -> None:
        run.add("a")
        add_with(run, "v", inputs=2)
        finish(run, "wds")
        assert [path.name for path in run.shards()] == ["train-00000.tar", "train-2-to-1-00000.tar"]
        assert list(members(run.shards()[1]))[:3] == ["v.input.png", "v.input1.png", "v.output.png"]
        assert opened()["__key__"][:] == ["a"]
        assert opened(str(run.output), "data-2-to-1")["__key__"][:] == ["v"]

    def test_basenames_are_read_as_webdataset_reads_them(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """A key ends at the first dot of a name, and a sample's files follow each other."""
        monkeypatch.setattr(WdsLayout, "shard_size", 2000)
        run.add("a", "b~1", "c")
        finish(run, "wds")
        found = [name for path in run.shards() for name in members(path)]
        samples = [key for key, _ in groupby(found, lambda name: name.partition(".")[0])]
        assert samples == ["a", "b~1", "c"]
        assert len(run.shards()) > 1


class TestImgEdit:
    def test_every_task_has_a_name(self) -> None:
        assert set(NAMES) == {*TASKS, INSTRUCT.name}

    def test_schema_paths_and_tar_are_imgedits(self, run: Any) -> None:
        run.add("a", "b")
        run.add("r", verdict="reject")
        finish(run, "imgedit")
        for config, keys in (("data", "ab"), ("rejected", "r")):
            parquet = run.output / config / "Parquet" / "remove_part0.parquet"
            kinds = {field.name: str(field.type).replace("element", "item") for field in pq.read_schema(parquet)}
            assert kinds == {
                "input_images": "list<item: string>",
                "output_images": "list<item: string>",
                "prompt": "string",
            }
            rows = pq.read_table(parquet).to_pylist()
            place = "results_remove_editpairs_part0"
            assert rows == [
                {
                    "input_images": [f"{place}/{key}/original.png"],
                    "output_images": [f"{place}/{key}/result.png"],
                    "prompt": "Remove the cup.",
                }
                for key in keys
            ]
            held = members(run.output / config / "Singleturn" / f"{place}.tar")
            assert list(held) == [path for row in rows for path in row["input_images"] + row["output_images"]]
            for key in keys:
                assert held[f"{place}/{key}/original.png"] == run.png(key, "input")
                assert held[f"{place}/{key}/result.png"] == run.png(key, "output")

    def test_all_other_columns_lie_beside_row_by_row(self, run: Any) -> None:
        run.add("a", "b", scores=(Score(name="x", value=0.5),))
        finish(run, "imgedit")
        ours = pq.read_table(run.output / "data" / "Columns" / "remove_part0.parquet")
        assert ours.schema.equals(PLAIN)
        theirs = pq.read_table(run.output / "data" / "Parquet" / "remove_part0.parquet").to_pylist()
        for row, one in zip(ours.to_pylist(), theirs, strict=True):
            assert f"/{row['key']}/" in one["input_images"][0]
            assert row["scores"] == [{"name": "x", "value": 0.5}]

    def test_tasks_have_imgedits_names_and_share_its_archives(self, run: Any, opened: Callable[..., Any]) -> None:
        for task in ("alter", "extract", "style"):
            run.add(f"{task}1", f"{task}2", task=task)
        add_with(run, "v", inputs=2, task="visual")
        finish(run, "imgedit")
        found = {str(path.relative_to(run.output / "data")) for path in (run.output / "data").rglob("*.*")}
        parquets = ["adjust_canny", "reference_extract", "reference_replace", "style_transfer"]
        tars = ["adjust_canny", "extract_and_visualedit", "style_transfer"]
        assert found == {f"{folder}/{name}_part0.parquet" for folder in ("Parquet", "Columns") for name in parquets} | {
            f"Singleturn/results_{name}_editpairs_part0.tar" for name in tars
        }
        (row,) = pq.read_table(run.output / "data" / "Parquet" / "reference_replace_part0.parquet").to_pylist()
        place = "results_extract_ref_editpairs_part0/v"
        assert row["input_images"] == [f"{place}/original.png", f"{place}/reference.png"]
        assert opened().num_rows == 7
        stored = list(stored_rows(run.output, "data"))
        assert {row.columns["key"]: len(row.inputs) for row in stored}["v"] == 2
        assert all(row.outputs[0] == run.png(row.columns["key"], "output") for row in stored)

    def test_dialogues_are_lists_of_turns(self, run: Any, opened: Callable[..., Any]) -> None:
        run.journal.enrol([run.sample_of(key) for key in ("m", "n")], None)
        for sample in ("m", "n"):
            rows = []
            for turn in range(3):
                key = f"{sample}~{turn}"
                for role in ("input", "output"):
                    run.spool.put(key, role, 0, run.png(key, role))
                rows.append(run.filed(key, task="version_backtracking", prompt=f"Turn {turn}."))
            run.journal.done(sample, rows, 0.1)
        finish(run, "imgedit")
        parquet = run.output / "data" / "Parquet" / "version_backtracking_part0.parquet"
        rows = pq.read_table(parquet).to_pylist()
        place = "results_version_backtracking_part0"
        assert [turn["prompt"] for turn in rows[1]["data"]] == ["Turn 0.", "Turn 1.", "Turn 2."]
        assert rows[1]["data"][2]["input_images"] == [f"{place}/n/origin_2.png"]
        assert rows[1]["data"][2]["output_images"] == [f"{place}/n/result_2.png"]
        assert len(members(run.output / "data" / "Multiturn" / f"{place}.tar")) == 12
        assert pq.read_schema(parquet).equals(
            pa.schema([("data", pa.list_(pa.struct(list(layout_imgedit.SINGLE))))]), check_metadata=False
        )
        assert opened().num_rows == 2

    def test_a_dialogue_is_in_one_part(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ImgEditLayout, "shard_size", 1)
        monkeypatch.setattr(ImgEditLayout, "group_size", 1)
        run.journal.enrol([run.sample_of("m"), run.sample_of("n")], None)
        for sample in ("m", "n"):
            for turn in range(2):
                for role in ("input", "output"):
                    run.spool.put(f"{sample}~{turn}", role, 0, run.png(f"{sample}~{turn}", role))
            rows = [run.filed(f"{sample}~{turn}", task="content_memory") for turn in range(2)]
            run.journal.done(sample, rows, 0.1)
        finish(run, "imgedit")
        parquets = sorted((run.output / "data" / "Parquet").iterdir())
        assert [path.name for path in parquets] == ["content_memory_part0.parquet", "content_memory_part1.parquet"]
        assert [len(row["data"]) for path in parquets for row in pq.read_table(path).to_pylist()] == [2, 2]

    def test_parts_number_folder_and_file_alike(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ImgEditLayout, "shard_size", 1)
        run.add("a", "b")
        finish(run, "imgedit")
        assert list(members(run.output / "data" / "Singleturn" / "results_remove_editpairs_part1.tar")) == [
            "results_remove_editpairs_part1/b/original.png",
            "results_remove_editpairs_part1/b/result.png",
        ]

    @pytest.mark.parametrize(
        ("lost", "more", "why"),
        [
            ("results_remove_editpairs_part0/a/result.png", "", "a/result.png is only in Parquet/remove_part0.parquet"),
            ("", "results_remove_editpairs_part0/x/result.png", "x/result.png is only in Singleturn/"),
            ("", "results_remove_editpairs_part0/a/result.png", "is twice"),
        ],
    )
    def test_rows_and_tar_are_compared_as_they_lie_on_disk(self, lost: str, more: str, why: str, run: Any) -> None:
        run.add("a")
        finish(run, "imgedit")
        name = "Singleturn/results_remove_editpairs_part0.tar"
        held = members(run.output / "data" / name)
        held.pop(lost, None)
        tar = TarWriter(run.output / "data" / name)
        for path, data in [*held.items(), *([(more, b"")] if more else [])]:
            tar.add(path, data)
        tar.close()
        with pytest.raises(RunError, match=why):
            check_part(run.output / "data", name, ["Parquet/remove_part0.parquet"])

    def test_a_writer_that_forgets_a_picture_is_found_out(self, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        real = TarWriter.add
        monkeypatch.setattr(TarWriter, "add", lambda tar, name, data: "result" in name or real(tar, name, data))
        run.add("a")
        with pytest.raises(RunError, match="only in Parquet"):
            finish(run, "imgedit")
        assert not (run.output / "data").exists()


@pytest.mark.parametrize("layout", ["hf", "imgedit", "wds"])
class TestReading:
    def test_rows_come_back_as_they_went_in(self, layout: str, run: Any) -> None:
        run.add(
            "a", "b", scores=(Score(name="x", value=0.5),), judge=Judge(model="m", prompt_version="1", reply="A\nB")
        )
        run.add("r", verdict="reject", reject_reason="too dark")
        finish(run, layout)
        rows = list(stored_rows(run.output, "data"))
        assert [row.columns["key"] for row in rows] == ["a", "b"]
        for row in rows:
            assert row.inputs == (run.png(row.columns["key"], "input"),)
            assert row.outputs == (run.png(row.columns["key"], "output"),)
            assert set(row.columns) == set(PLAIN.names)
            assert row.columns["judge"]["reply"] == "A\nB"
            assert row.columns["scores"] == [{"name": "x", "value": 0.5}]
        (rejected,) = stored_rows(run.output, "rejected", images=False)
        assert (rejected.columns["reject_reason"], rejected.inputs) == ("too dark", ())

    def test_a_damaged_shard_is_one_line(self, layout: str, run: Any) -> None:
        run.add("a")
        finish(run, layout)
        shard = next(path for path in (run.output / "data").rglob("*.*") if path.suffix in (".tar", ".parquet"))
        shard.write_bytes(b"half a shard" * 100)
        with pytest.raises(RunError, match="damaged"):
            list(stored_rows(run.output, "data"))
        shard.unlink()
        with pytest.raises(RunError, match="a shard is missing"):
            list(stored_rows(run.output, "data"))


def test_pixels_are_pixels(run: Any) -> None:
    """What other programs decode is what was put in."""
    run.add("a")
    finish(run, "wds")
    image = Image.open(io.BytesIO(members(run.shards()[0])["a.output.png"]))
    np.testing.assert_array_equal(np.asarray(image), run.pixels("a", "output"))
