"""A finished run as trainers read it, and what an export does to a disk."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from comfy_nodes.core.records import Score
from driver.dataset.dataset import stored_rows, write_dataset
from driver.dataset.parts import Part
from driver.dataset.rows import RunFacts
from driver.errors import RunError
from driver.export import main
from driver.exports import bagel, scaleedit, unicedit
from driver.exports import forms as exporting
from driver.exports.forms import MARK, export
from driver.exports.turns import NAMED, PREFIXED, REWORDED, WORDLESS
from driver.journal_dialogues import ANOTHER
from tests.unit.turn_making import Said, add_dialogue, state

REPOSITORY = Path(__file__).resolve().parents[2]
FACTS = RunFacts("remove", "a" * 64, "b" * 64, "classical")


@pytest.fixture
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exports")


@pytest.fixture(params=["hf", "imgedit", "wds"])
def finished(request: pytest.FixtureRequest, run: Any) -> Any:
    """A finished run in each layout: `a` and `b` kept, `c` rejected."""
    run.add("a", prompt="Remove the cup, ü.\nAll of it.")
    run.add("b")
    run.add("c", verdict="reject")
    finish(run, request.param)
    return run


def finish(run: Any, layout: str = "hf") -> None:
    write_dataset(run.journal, run.spool, Part(run.output), FACTS, layout)


def names_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def attempts(run: Any, sample: str, *verdicts: str, **fields: Any) -> None:
    """Finishes a sample that gave a row of each verdict, from the same photo."""
    run.journal.enrol([run.sample_of(sample)], None)
    rows = []
    for number, verdict in enumerate(verdicts):
        key = f"{sample}~{number}"
        run.spool.put(key, "input", 0, run.png(sample, "input"))
        run.spool.put(key, "output", 0, run.png(key, "output"))
        rows.append(run.filed(key, verdict, **{"initial_prompt": "Remove it.", **fields}))
    run.journal.done(sample, rows, 0.1)


class TestPairs:
    def test_captions_lie_beside_targets_and_controls_have_their_names(self, finished: Any, out: Path) -> None:
        done = export(finished.output, "pairs", out / "pairs", "hard")
        assert done.rows == 2
        assert names_in(out / "pairs") == {MARK, *(f"{name}/{key}.png" for name in ("control", "target") for key in "ab"),
                                           "target/a.txt", "target/b.txt"}  # fmt: skip
        for key in "ab":
            assert (out / "pairs" / "control" / f"{key}.png").read_bytes() == finished.png(key, "input")
            assert (out / "pairs" / "target" / f"{key}.png").read_bytes() == finished.png(key, "output")
        assert (out / "pairs" / "target" / "a.txt").read_text("utf-8") == "Remove the cup, ü.\nAll of it."

    def test_several_controls_are_numbered(self, run: Any, out: Path) -> None:
        self.two_inputs(run)
        export(run.output, "pairs", out / "pairs", "hard")
        assert {"control/v_0.png", "control/v_1.png", "target/v.png"} <= names_in(out / "pairs")

    def test_two_targets_have_no_place(self, run: Any, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run.journal.enrol([run.sample_of("w")], None)
        for role, count in (("input", 1), ("output", 2)):
            for number in range(count):
                run.spool.put("w", role, number, run.png(f"w{number}", role))
        run.journal.done("w", [run.filed("w", output_images=images(2))], 0.1)
        finish(run)
        assert main([str(run.output), "--to", "pairs", "--output", str(out / "pairs")]) == 0
        assert "left out: 1 rows with several pictures after the edit" in capsys.readouterr().err

    def two_inputs(self, run: Any) -> None:
        run.journal.enrol([run.sample_of("v")], None)
        for role, count in (("input", 2), ("output", 1)):
            for number in range(count):
                run.spool.put("v", role, number, run.png(f"v{number}", role))
        run.journal.done("v", [run.filed("v", input_images=images(2))], 0.1)
        finish(run)


def images(count: int) -> list[dict[str, str]]:
    return [{"filename": f"{n}.png", "subfolder": "", "type": "output", "sha256": f"{n}" * 64} for n in range(count)]


class TestDiffSynth:
    def test_the_list_has_its_columns_and_relative_paths(self, finished: Any, out: Path) -> None:
        export(finished.output, "diffsynth", out / "ds", "hard")
        rows = lines_of(out / "ds" / "metadata.jsonl")
        assert rows[0] == {
            "prompt": "Remove the cup, ü.\nAll of it.",
            "image": "image/a.png",
            "edit_image": "edit_image/a.png",
        }
        assert (out / "ds" / rows[1]["image"]).read_bytes() == finished.png("b", "output")
        assert (out / "ds" / rows[1]["edit_image"]).read_bytes() == finished.png("b", "input")

    def test_several_pictures_are_a_list(self, run: Any, out: Path) -> None:
        TestPairs().two_inputs(run)
        export(run.output, "diffsynth", out / "ds", "hard")
        (row,) = lines_of(out / "ds" / "metadata.jsonl")
        assert row["edit_image"] == ["edit_image/v.png", "edit_image/v-1.png"]


class TestPreference:
    @pytest.mark.parametrize("layout", ["hf", "imgedit", "wds"])
    def test_kept_stands_against_rejected_of_the_same_sample(self, layout: str, run: Any, out: Path) -> None:
        run.add("a")
        attempts(run, "s", "reject", "keep", "reject", reject_reason="", scores=(Score(name="x", value=1.0),))
        attempts(run, "t", "reject", "reject")
        attempts(run, "u", "unscored", "keep")
        finish(run, layout)
        done = export(run.output, "preference", out / "pref", "hard")
        rows = lines_of(out / "pref" / "preference.jsonl")
        assert done.rows == len(rows) == 2
        assert [(row["key"], row["rejected_key"]) for row in rows] == [("s~1", "s~0"), ("s~1", "s~2")]
        for row in rows:
            assert (out / "pref" / row["source"]).read_bytes() == run.png("s", "input")
            assert (out / "pref" / row["chosen"]).read_bytes() == run.png("s~1", "output")
            assert (out / "pref" / row["rejected"]).read_bytes() == run.png(row["rejected_key"], "output")
            assert row["prompt"] == "Remove the cup."
            assert row["chosen_scores"] == [{"name": "x", "value": 1.0}]
        listed = {path for row in rows for path in (row["source"], row["chosen"], row["rejected"])}
        assert names_in(out / "pref") == {MARK, "preference.jsonl", *listed}

    def test_another_request_is_no_preference(self, run: Any, out: Path) -> None:
        """Edits that were asked for in other words, or of another cut of the photo, cannot be compared."""
        run.journal.enrol([run.sample_of("s")], None)
        rows = []
        for key, verdict, words, photo in (
            ("s~0", "keep", "Remove it.", "s"),
            ("s~1", "reject", "Paint it red.", "s"),
            ("s~2", "reject", "Remove it.", "other"),
        ):
            run.spool.put(key, "input", 0, run.png(photo, "input"))
            run.spool.put(key, "output", 0, run.png(key, "output"))
            rows.append(run.filed(key, verdict, initial_prompt=words))
        run.journal.done("s", rows, 0.1)
        finish(run)
        done = export(run.output, "preference", out / "pref", "hard")
        assert done.rows == 0
        assert done.left_out == {"rejected, of samples that were kept for another request": 2}
        assert names_in(out / "pref") == {MARK, "preference.jsonl"}


class TestUnicEdit:
    def test_the_schema_and_what_it_has_no_place_for(self, run: Any, out: Path) -> None:
        both = {"prompt_en": "Zoom in.", "prompt_cn": "放大画面。"}
        run.add("a", task="instruct", subtask="unicedit/Lens Zooming", **both)
        run.add("b", **both)
        run.add("c")
        run.add("d", task="alter", **both)
        run.add("e", verdict="reject", **both)
        finish(run)
        done = export(run.output, "unicedit", out / "unicedit", "hard")
        assert done.rows == 2
        assert done.left_out == {
            "whose instruction is not known in both English and Chinese, as write-unicedit writes it": 1,
            "of a kind that is none of UnicEdit's sub-tasks": 1,
        }
        assert names_in(out / "unicedit") == {MARK, "data/train-00000.parquet"}
        path = out / "unicedit" / "data" / "train-00000.parquet"
        assert str(pq.read_schema(path).remove_metadata()) == (
            "key: string\nedit_task: string\nedit_subtask: string\nsrc_image: struct<bytes: binary, path: string>\n"
            "  child 0, bytes: binary\n  child 1, path: string\nedit_image: struct<bytes: binary, path: string>\n"
            "  child 0, bytes: binary\n  child 1, path: string\nprompt_cn: string\nprompt_en: string"
        )
        first, second = pq.read_table(path).to_pylist()
        assert first == {
            "key": "a", "edit_task": "Scene Editing", "edit_subtask": "Lens Zooming", **both,
            "src_image": {"bytes": run.png("a", "input"), "path": None},
            "edit_image": {"bytes": run.png("a", "output"), "path": None},
        }  # fmt: skip
        assert (second["edit_task"], second["edit_subtask"]) == ("Object Editing", "Subject Removal")

    def test_files_and_groups_have_the_sizes_of_the_released_ones(
        self, run: Any, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert (unicedit.ROWS_OF_FILE, unicedit.ROWS_OF_GROUP) == (15_000, 100)
        monkeypatch.setattr(unicedit, "ROWS_OF_FILE", 3)
        monkeypatch.setattr(unicedit, "ROWS_OF_GROUP", 2)
        run.add(*"abcd", prompt_en="Remove it.", prompt_cn="移除它。")
        finish(run)
        export(run.output, "unicedit", out / "u", "hard")
        files = [pq.ParquetFile(path).metadata for path in sorted((out / "u" / "data").iterdir())]
        assert [[one.row_group(group).num_rows for group in range(one.num_row_groups)] for one in files] == [
            [2, 1],
            [1],
        ]
        assert {one.row_group(0).column(0).compression for one in files} == {"SNAPPY"}
        run.journal.enrol([run.sample_of("a")], None, whole=True)
        finish(run)
        export(run.output, "unicedit", out / "u", "hard")
        assert names_in(out / "u") == {MARK, "data/train-00000.parquet"}, "files of rows that left are gone"

    def test_links_are_nothing_to_it(self, run: Any, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run.add("a")
        finish(run)
        with pytest.raises(SystemExit, match="2"):
            main([str(run.output), "--to", "unicedit", "--output", str(out / "u"), "--link", "copy"])
        assert "--link has no effect with --to unicedit" in capsys.readouterr().err


THREE = [{"name": f"judge.{name}", "value": value} for name, value in
         (("instruction_following", 3.0), ("editing_consistency", 2.0), ("generation_quality", 2.9))]  # fmt: skip


def inspected(family: str) -> dict[str, Any]:
    return {"scores": THREE, "judge": {"model": "m", "prompt_version": f"judge-scaleedit-{family} 1", "reply": "{}"}}


class TestScaleEdit:
    def test_the_schema_and_what_it_has_no_place_for(self, run: Any, out: Path) -> None:
        run.add("a", task="alter", subtask="scaleedit/4.1_movie_poster_text_editing", **inspected("text"))
        run.add("b", **inspected("remove"))
        run.add("c", task="alter", subtask="unicedit/Text Modification", **inspected("text"))
        run.add("d")
        run.add("e", scores=THREE, judge={"model": "m", "prompt_version": "judge-unicbench 1", "reply": "{}"})
        run.add("f", verdict="reject", **inspected("remove"))
        finish(run)
        done = export(run.output, "scaleedit", out / "s", "hard")
        assert done.rows == 2
        assert done.left_out == {
            "of a kind that is none of ScaleEdit's tasks, or may be several of them": 1,
            "without ScaleEdit's three scores, as verify-scaleedit gives them": 2,
        }
        poster, removal = "4.1_movie_poster_text_editing", "2.2_object_removal"
        files = {name: out / "s" / name / f"{name}_0000.parquet" for name in (poster, removal)}
        assert names_in(out / "s") == {MARK, *(f"{name}/{name}_0000.parquet" for name in files)}
        told = [f"{one.name}: {one.type}" for one in pq.read_schema(files[poster])]
        assert told == [
            "id: int64", "edit_task: string", "edit_instruction: string", "source_image: binary", "edited_image: binary",
            "source_image_width: int64", "source_image_height: int64", "edited_image_width: int64",
            "edited_image_height: int64", "instruction_following_score: int64", "editing_consistency_score: int64",
            "generation_quality_score: int64",
        ]  # fmt: skip
        (first,), (second,) = (pq.read_table(path).to_pylist() for path in files.values())
        assert (first["id"], second["id"], second["edit_task"]) == (0, 1, removal)
        assert (first["source_image"], first["edited_image"]) == (run.png("a", "input"), run.png("a", "output"))
        assert [first[f"{which}_image_{side}"] for which in ("source", "edited") for side in ("width", "height")] == [
            10,
            6,
        ] * 2
        assert [
            first[f"{name}_score"] for name in ("instruction_following", "editing_consistency", "generation_quality")
        ] == [3, 2, 3]

    def test_a_task_goes_on_in_a_second_file(self, run: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run.add(*"abc", **inspected("remove"))
        finish(run)
        monkeypatch.setattr(scaleedit, "BYTES_OF_FILE", len(run.png("a", "input")) + 1)
        done = export(run.output, "scaleedit", out / "s", "hard")
        files = sorted(one for one in names_in(out / "s") if one != MARK)
        assert (done.rows, len(files), files[1]) == (3, 3, "2.2_object_removal/2.2_object_removal_0001.parquet")
        run.journal.enrol([run.sample_of("a")], None, whole=True)
        finish(run)
        export(run.output, "scaleedit", out / "s", "hard")
        assert len(names_in(out / "s")) == 2, "files of rows that left are gone"


def dialogues(run: Any) -> None:
    """A pair, and three dialogues: one with a premise, one with pronouns, of which one turn has no plain words, and one that
    goes back; and a turn that was rejected once."""
    run.add("p", prompt="Remove the cup.")
    add_dialogue(
        run, "m", "content_memory",
        Said("Remove the dog.", op="remove"), Said("Recolour the car."), premise="All of it is to be red.",
    )  # fmt: skip
    add_dialogue(
        run, "u", "content_understanding",
        Said("Add a hat.", op="add", editor_prompt="Remove the hat."), Said("Make it red.", editor_prompt="Make the hat red."),
        Said("Now make it small."), Said("Take it off.", op="remove", editor_prompt="Remove the hat."),
    )  # fmt: skip
    add_dialogue(
        run, "v", "version_backtracking",
        Said("Make the cup blue."),
        Said("Make it glow.", attempt=0, verdict="reject", editor_prompt="Make the cup glow."),
        Said("Make it glow.", editor_prompt="Make the cup glow."),
        Said("As it was before, and green.", base=1, editor_prompt="Make the cup green."),
    )  # fmt: skip
    finish(run)


class Loader:
    """Rows as BAGEL's loader takes them: by the groups that the JSON file names, each through pandas and Pillow."""

    def __init__(self, folder: Path):
        info = json.loads((folder / "parquet_info.json").read_text("utf-8"))
        found = sorted(str(path) for path in (folder / "data").iterdir())
        self.groups = [(path, group) for path in found if path in info for group in range(info[path]["num_row_groups"])]

    def sequences(self) -> list[tuple[list[np.ndarray], list[str]]]:
        tables = [pq.ParquetFile(path).read_row_group(group).to_pandas() for path, group in self.groups]
        rows = [row for table in tables for _, row in table.iterrows()]
        for row in rows:
            assert len(row["image_list"]) == len(row["instruction_list"]) + 1 >= 2
        return [
            (
                [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in row["image_list"]],
                [wordings[0] for wordings in row["instruction_list"] if len(wordings) == 1],
            )
            for row in rows
        ]


class TestDialogues:
    def test_turns_are_pairs_with_words_that_stand_alone(self, run: Any, out: Path) -> None:
        dialogues(run)
        done = export(run.output, "pairs", out / "pairs", "hard")
        captions = {path.stem: path.read_text("utf-8") for path in (out / "pairs" / "target").glob("*.txt")}
        assert captions == {
            "p": "Remove the cup.",
            "m~0": "All of it is to be red. Remove the dog.",
            "m~1": "All of it is to be red. Recolour the car.",
            "u~0": "Add a hat.",
            "u~1": "Make the hat red.",
            "u~3": "Remove the hat.",
            "v~0": "Make the cup blue.",
            "v~1": "Make the cup glow.",
            "v~2": "Make the cup green.",
        }
        assert (done.rows, done.left_out, done.noted) == (9, {WORDLESS: 1}, {PREFIXED: 2, REWORDED: 4})
        for name, number in (("v~2", 1), ("u~3", 3)):
            assert (out / "pairs" / "control" / f"{name}.png").read_bytes() == run.png(state(name[0], number), "state")

    @pytest.mark.parametrize(("words", "lang", "kept"), [("The Cup is small now.", "en", True), ("It is small now.", "en", False),
                                                         ("杯子变小了。", "zh", False)])  # fmt: skip
    def test_restated_words_count_where_they_name_the_thing(
        self, words: str, lang: str, kept: bool, run: Any, out: Path
    ) -> None:
        plain = {"editor_prompt": "Make the cup red."}
        add_dialogue(
            run, "u", "content_understanding", Said("Add a cup.", op="add"), Said(words, restated_prompt=words, **plain), lang=lang
        )  # fmt: skip
        finish(run)
        export(run.output, "pairs", out / "pairs", "hard")
        caption = out / "pairs" / "target" / "u~1.txt"
        assert (caption.read_text("utf-8") if kept else caption.exists()) == (words if kept else False)

    @pytest.mark.parametrize(
        ("words", "base", "name", "alone"),
        [
            ("再把它变成绿色。", 1, "大丽花", "把图像左下方的大丽花变成绿色。"),
            ("现在用一枚火箭替换它。", 1, "左边的杯子", "用一枚火箭替换左边的杯子。"),
            ("把它去掉。", 1, "rocket", "把图像左下方的火箭去掉。"),
            ("回到它最开始的样子，把它的颜色改成青绿色。", 0, "大丽花", "把图像左下方的大丽花的颜色改成青绿色。"),  # noqa: RUF001
            ("回到第一个版本，让它比之前更红。", 0, "大丽花", "Do it."),  # noqa: RUF001
            ("把它变成绿色，再把它放大。", 1, "大丽花", "Do it."),  # noqa: RUF001
            ("把它变成绿色。", 1, "cup", "Do it."),
        ],
    )
    def test_chinese_words_stand_alone_by_the_name_of_their_thing(
        self, words: str, base: int, name: str, alone: str, run: Any, out: Path
    ) -> None:
        add_dialogue(
            run, "v", "content_understanding" if base else "version_backtracking", Said("把大丽花变成蓝色。"),
            Said(words, base, editor_prompt="Do it.", class_name=name), lang="zh",
        )  # fmt: skip
        finish(run)
        done = export(run.output, "pairs", out / "pairs", "hard")
        assert (out / "pairs" / "target" / "v~1.txt").read_text("utf-8") == alone
        assert done.noted == {REWORDED if alone == "Do it." else NAMED: 1}
        export(run.output, "bagel", out / "b", "hard")
        assert (NAMED in (out / "b" / "README.md").read_text("utf-8")) == (alone != "Do it.")

    def test_a_turn_is_filed_under_its_operation(self, run: Any, out: Path) -> None:
        both = {"prompt_en": "Remove the dog.", "prompt_cn": "移除狗。"}
        add_dialogue(
            run,
            "m",
            "content_memory",
            Said("Remove the dog.", op="remove"),
            Said("Remove the cat.", op="remove"),
            **both,
        )
        finish(run)
        export(run.output, "unicedit", out / "u", "hard")
        rows = pq.read_table(out / "u" / "data" / "train-00000.parquet").to_pylist()
        assert [(row["key"], row["edit_subtask"]) for row in rows] == [
            ("m~0", "Subject Removal"),
            ("m~1", "Subject Removal"),
        ]

    def test_a_turn_is_preferred_to_its_own_tries_alone(self, run: Any, out: Path) -> None:
        dialogues(run)
        export(run.output, "preference", out / "pref", "hard")
        (row,) = lines_of(out / "pref" / "preference.jsonl")
        assert (row["key"], row["rejected_key"], row["prompt"]) == ("v~1", "v~1~try0", "Make the cup glow.")

    def test_what_is_only_not_of_its_dialogue_is_no_rejection(self, run: Any, out: Path) -> None:
        """Of two good edits of a turn the dialogue goes on from one."""
        run.journal.enrol([run.sample_of("u~0")], None)
        turn = {"dialogue": "u", "number": 1, "of": 2, "base": 0, "op": "add"}
        rows = []
        for number in range(2):
            key = f"u~0~{number}"
            run.spool.put(key, "input", 0, run.png(state("u", 0), "state"))
            run.spool.put(key, "output", 0, run.png(key if number else state("u", 1), "state"))
            rows.append(run.filed(key, task="content_understanding", prompt="Add a cup.", turn=turn))
        run.journal.done("u~0", rows, 0.1)
        add_dialogue(run, "u", "content_understanding", Said("Now larger."), first=2)
        finish(run)
        assert {row.columns["key"]: row.columns["reject_reason"] for row in stored_rows(run.output, "rejected")} == {
            "u~0~1": ANOTHER
        }
        assert export(run.output, "preference", out / "pref", "hard").rows == 0

    @pytest.mark.parametrize("layout", ["hf", "imgedit", "wds"])
    def test_bagel_reads_sequences_of_states(self, layout: str, run: Any, out: Path) -> None:
        dialogues(run)
        finish(run, layout)
        done = export(run.output, "bagel", out / "b", "hard")
        found = {tuple(words): pictures for pictures, words in Loader(out / "b").sequences()}
        before = "All of it is to be red. "
        wanted = {
            ("Remove the cup.",): [run.pixels("p", role) for role in ("input", "output")],
            (f"{before}Remove the dog.", f"{before}Recolour the car."): states(run, "m", 0, 1, 2),
            ("Add a hat.", "Make the hat red."): states(run, "u", 0, 1, 2),
            ("Remove the hat.",): states(run, "u", 3, 4),
            ("Make the cup blue.", "Make the cup glow."): states(run, "v", 0, 1, 2),
            ("Make the cup green.",): states(run, "v", 1, 3),
        }
        assert set(found) == set(wanted)
        for words, pictures in wanted.items():
            np.testing.assert_array_equal(found[words], pictures)
        assert (done.rows, done.left_out) == (6, {WORDLESS: 1})
        text = (out / "b" / "README.md").read_text("utf-8")
        assert f"- 1 {bagel.SPLIT}\n" in text and f"- left out: 1 rows {WORDLESS}\n" in text
        assert f'"parquet_info_path": "{out / "b" / "parquet_info.json"}"' in text

    def test_files_and_groups_go_on_in_order_and_are_counted(
        self, run: Any, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run.add(*"abcde")
        finish(run)
        size = len(run.png("a", "input")) + len(run.png("a", "output"))
        monkeypatch.setattr(bagel, "BYTES_OF_GROUP", size)
        monkeypatch.setattr(bagel, "BYTES_OF_FILE", 3 * size)
        assert export(run.output, "bagel", out / "b", "hard").rows == 5
        loader = Loader(out / "b")
        assert [(Path(path).name, group) for path, group in loader.groups] == [
            ("train-00000.parquet", 0), ("train-00000.parquet", 1), ("train-00000.parquet", 2),
            ("train-00001.parquet", 0), ("train-00001.parquet", 1),
        ]  # fmt: skip
        with monkeypatch.context() as small:
            small.setattr(bagel, "BYTES_OF_GROUP", 99 * size)
            small.setattr(bagel, "ROWS_OF_GROUP", 2)
            export(run.output, "bagel", out / "few", "hard")
            assert [group for _, group in Loader(out / "few").groups] == [0, 1, 0], (
                "two sequences of each three, and the third"
            )
            assert "5 edits in `data/`, in 3 row groups" in (out / "few" / "README.md").read_text("utf-8")
        for key, (pictures, _) in zip("abcde", loader.sequences(), strict=True):
            np.testing.assert_array_equal(pictures[0], run.pixels(key, "input"))
        run.journal.enrol([run.sample_of("a")], None, whole=True)
        finish(run)
        export(run.output, "bagel", out / "b", "hard")
        assert names_in(out / "b") == {MARK, "README.md", "parquet_info.json", "data/train-00000.parquet"}

    def test_the_command_says_what_is_otherwise(self, run: Any, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
        dialogues(run)
        assert main([str(run.output), "--to", "bagel", "--output", str(out / "b")]) == 0
        said = capsys.readouterr()
        assert f"{out / 'b'}: 6 sequences from {run.output}" in said.out and f"4 {REWORDED}" in said.out
        assert f"left out: 1 rows {WORDLESS}" in said.err


def states(run: Any, dialogue: str, *numbers: int) -> list[np.ndarray]:
    return [run.pixels(state(dialogue, number), "state") for number in numbers]


class TestLinks:
    def test_a_second_export_takes_no_further_room(self, finished: Any, out: Path) -> None:
        export(finished.output, "pairs", out / "pairs", "hard")
        export(finished.output, "diffsynth", out / "ds", "hard")
        for key in "ab":
            first, second = out / "pairs" / "target" / f"{key}.png", out / "ds" / "image" / f"{key}.png"
            assert first.samefile(second)
            assert first.stat().st_nlink == 3
        assert len(names_in(finished.output / "images")) == 4

    def test_the_same_photo_is_one_file(self, run: Any, out: Path) -> None:
        attempts(run, "s", "keep", "keep", "keep")
        finish(run)
        export(run.output, "pairs", out / "pairs", "hard")
        assert len({path.stat().st_ino for path in (out / "pairs" / "control").iterdir()}) == 1

    def test_symbolic_links_survive_a_move_of_both(self, finished: Any, out: Path, tmp_path: Path) -> None:
        export(finished.output, "pairs", tmp_path / "exports" / "pairs", "symlink")
        link = tmp_path / "exports" / "pairs" / "target" / "a.png"
        assert link.is_symlink()
        assert not link.readlink().is_absolute()
        assert link.read_bytes() == finished.png("a", "output")

    def test_copies_need_nothing_of_the_run(self, finished: Any, out: Path) -> None:
        export(finished.output, "pairs", out / "pairs", "copy")
        assert not (finished.output / "images").exists()
        assert (out / "pairs" / "target" / "a.png").stat().st_nlink == 1

    def test_another_disk_says_what_to_do(self, finished: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def across(*_: Any) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(Path, "hardlink_to", across)
        with pytest.raises(RunError, match="use --link symlink or copy"):
            export(finished.output, "pairs", out / "pairs", "hard")
        assert not (out / "pairs").exists()
        export(finished.output, "pairs", out / "pairs", "symlink")


class TestAgain:
    def test_the_same_command_makes_it_anew(self, run: Any, out: Path) -> None:
        run.add("a" * 20, "b" * 20)
        finish(run)
        export(run.output, "pairs", out / "pairs", "hard")
        before = names_in(out / "pairs")
        export(run.output, "pairs", out / "pairs", "hard")
        assert names_in(out / "pairs") == before
        run.journal._db.execute("DELETE FROM records WHERE sample = ?", ("a" * 20,))
        run.add("c" * 20)
        finish(run)
        export(run.output, "pairs", out / "pairs", "hard")
        assert {path.stem for path in (out / "pairs" / "target").iterdir()} == {"b" * 20, "c" * 20}

    def test_one_that_broke_off_goes_on(self, run: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        run.add("a", "b", "c")
        finish(run)
        export(run.output, "pairs", out / "pairs", "hard")
        before = {path: (out / "pairs" / path).read_bytes() for path in names_in(out / "pairs")}
        written: list[str] = []
        real = exporting._Pictures._make_link

        def link(self: Any, place: Path, source: Path) -> None:
            if len(written) == 3:
                raise KeyboardInterrupt
            written.append(place.name)
            real(self, place, source)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(exporting._Pictures, "_make_link", link)
            export(run.output, "pairs", out / "pairs", "hard")
        assert {path: (out / "pairs" / path).read_bytes() for path in names_in(out / "pairs")} == before
        later: list[str] = []
        monkeypatch.setattr(
            exporting._Pictures,
            "_make_link",
            lambda self, place, source: (later.append(place.name), real(self, place, source)),
        )
        export(run.output, "pairs", out / "pairs", "hard")
        assert len(later) == 3, "what was linked before it broke off was linked again"
        assert {path: (out / "pairs" / path).read_bytes() for path in names_in(out / "pairs")} == before
        assert [path.name for path in out.iterdir()] == ["pairs"]

    def test_a_picture_that_was_cut_off_is_written_again(self, run: Any, out: Path) -> None:
        run.add("a")
        finish(run)
        export(run.output, "pairs", out / "pairs", "hard")
        for path in (run.output / "images").rglob("*.png"):
            path.unlink()
            path.write_bytes(b"half")
        export(run.output, "diffsynth", out / "ds", "hard")
        assert (out / "ds" / "image" / "a.png").read_bytes() == run.png("a", "output")

    def test_a_full_disk_is_one_line_and_leaves_the_old_export(
        self, run: Any, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run.add("a")
        finish(run)
        command = [str(run.output), "--to", "pairs", "--output", str(out / "pairs"), "--link", "copy"]
        assert main(command) == 0
        before = names_in(out / "pairs")

        def full(*_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", full)
            assert main(command) == 1
        assert "is full: make room" in capsys.readouterr().err
        assert names_in(out / "pairs") == before


class Killed(BaseException):
    """What a kill is in one process."""


class TestRefusals:
    @pytest.mark.parametrize("name", [".pairs.part", ".pairs.old"])
    @pytest.mark.parametrize("kind", ["folder", "file", "link"])
    def test_what_lies_where_it_is_built_and_is_not_ours(self, name: str, kind: str, run: Any, out: Path) -> None:
        run.add("a")
        finish(run)
        mine = out / "mine"
        mine.mkdir()
        place = out / name
        if kind == "folder":
            place.mkdir()
        elif kind == "link":
            place.symlink_to(mine, target_is_directory=True)
        (place / "thesis.txt" if kind != "file" else place).write_text("mine")
        with pytest.raises(RunError, match="no export left it there; move it away"):
            export(run.output, "pairs", out / "pairs", "hard")
        assert [path.read_text() for path in out.rglob("*") if path.is_file()] == ["mine"]
        assert os.path.lexists(place)

    @pytest.mark.parametrize("step", range(1, 9))
    def test_an_export_killed_while_it_takes_its_place_is_taken_up(
        self, step: int, run: Any, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What it left beside its place is known for ours until it is gone."""
        run.add("a")
        finish(run)
        export(run.output, "pairs", out / "pairs", "hard")
        run.add("b")
        finish(run)
        done = 0

        def killing(real: Any) -> Any:
            def doing(*args: Any, **named: Any) -> Any:
                nonlocal done
                done += args[0].name in (MARK, ".unfinished", "pairs", ".pairs.part", ".pairs.old", "control")
                if done == step:
                    raise Killed
                return real(*args, **named)

            return doing

        with monkeypatch.context() as patched, contextlib.suppress(Killed):
            for name in ("rename", "unlink", "rmdir"):
                patched.setattr(Path, name, killing(getattr(Path, name)))
            export(run.output, "pairs", out / "pairs", "hard")
        export(run.output, "pairs", out / "pairs", "hard")
        assert [path.name for path in out.iterdir()] == ["pairs"]
        assert {"target/a.txt", "target/b.txt"} <= names_in(out / "pairs")

    def test_a_folder_with_other_files(self, finished: Any, out: Path) -> None:
        (out / "thesis.txt").write_text("mine")
        with pytest.raises(RunError, match="holds files that no export left there") as error:
            export(finished.output, "pairs", out, "hard")
        assert error.value.status == 2
        assert names_in(out) == {"thesis.txt"}

    def test_an_export_of_another_form(self, finished: Any, out: Path) -> None:
        export(finished.output, "pairs", out / "pairs", "hard")
        with pytest.raises(RunError, match="holds an export to pairs"):
            export(finished.output, "diffsynth", out / "pairs", "hard")

    def test_a_run_that_is_not_finished(self, tmp_path: Path, out: Path) -> None:
        with pytest.raises(RunError, match="holds no finished dataset") as error:
            export(tmp_path, "pairs", out / "pairs", "hard")
        assert error.value.status == 2
        assert not (out / "pairs").exists()


def test_the_command_looks_first_and_counts_for_programs(
    run: Any, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.add("a")
    run.add("b", verdict="reject")
    finish(run)
    command = [str(run.output), "--to", "pairs", "--output", str(out / "pairs"), "--json"]
    assert main([*command, "--dry-run"]) == 0
    looked = json.loads(capsys.readouterr().out)
    assert (looked["dry_run"], looked["kept"], list(out.iterdir())) == (True, 1, [])
    assert main(command) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["output"], made["rows"], made["left_out"]) == (str(out / "pairs"), 1, {})
    assert main([*command[:2], "diffsynth", *command[3:], "--dry-run"]) == 2
    assert "holds an export to pairs" in json.loads(capsys.readouterr().out)["message"]


def test_preferences_of_nothing_rejected_say_why_they_are_empty(
    run: Any, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.add("a")
    finish(run)
    command = [str(run.output), "--to", "preference", "--output", str(out / "pairs")]
    assert main([*command, "--dry-run"]) == 0
    assert f"the 1 kept rows of {run.output}, against the rejected ones of their samples" in capsys.readouterr().out
    assert main(command) == 0
    said = capsys.readouterr()
    assert f"{out / 'pairs'}: 0 rows from {run.output}" in said.out
    assert (
        "no kept edit has a rejected one of its sample, which `--attempts N` or `--at-once N` of batch.py makes"
        in said.err
    )


def test_the_command_as_a_user_types_it(run: Any, out: Path) -> None:
    run.add("a")
    finish(run)
    command = [sys.executable, "driver/export.py", str(run.output), "--to", "pairs", "--output", str(out / "pairs")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{out / 'pairs'}: 1 rows from {run.output}" in done.stdout
    wrong = subprocess.run(
        [*command[:2], str(out), *command[3:]], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
    assert wrong.stderr.startswith(f"export.py: {out}: holds no finished dataset")
