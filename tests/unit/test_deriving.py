"""Rows derived from a finished run: what each says of itself, who vouches for it, where it lies, and what is refused."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.rle import Rle
from driver.dataset.dataset import stored_rows
from driver.dataset.layouts.layout import StoredRow
from driver.derive import main
from driver.deriving import photos, writing
from driver.exports.forms import export
from driver.open import main as open_row
from driver.options import RunOptions
from driver.recipe.derived import derived_behind
from driver.recipe.file import Deriving, Recipe, RecipeStage
from driver.release import main as release
from driver.stopping import StopRequest
from tests.unit.conftest import Run
from tests.unit.derive_making import BLUE, GREEN, YELLOW, Read, add_edit, picture, read
from tests.unit.turn_making import Said, add_dialogue

SUMMARY = {"workflow": "remove,alter", "profile": "classical", "task": "remove, alter"}
REMOVE, ALTER, STYLE = "a0", "b0", "c0"


@pytest.fixture
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder beside the run's."""
    return tmp_path_factory.mktemp("derived")


@pytest.fixture
def finished(run: Run) -> Run:
    """A cup that was removed, a ball that was painted, and a style, of one photo."""
    edits(run)
    return done(run)


def edits(run: Run, **fields: Any) -> None:
    photo = picture()
    add_edit(
        run, REMOVE, "remove", "Remove the cup on the left of the image.", photo, picture(cup=None), "cup", **fields
    )
    alter = "Change the colour of the ball on the right of the image to green."
    add_edit(run, ALTER, "alter", alter, photo, picture(ball=GREEN), "ball", **fields)
    grey = np.repeat(photo.mean(axis=2, keepdims=True), 3, axis=2).astype(np.uint8)
    add_edit(run, STYLE, "style", "Turn the photo into a pencil sketch.", photo, 255 - grey, whole=True, **fields)


def done(run: Run, layout: str = "hf") -> Run:
    run.finish(layout)
    (run.output / "summary.json").write_text(json.dumps(SUMMARY))
    (run.output / "environment.json").write_text(json.dumps({"editpairs": "0", "comfyui": "0.30"}))
    return run


def derive(run: Run, output: Path, *options: str, status: int = 0) -> None:
    assert main([str(run.output), "--output", str(output), *options]) == status


def derived(output: Path, config: str = "data") -> list[StoredRow]:
    return list(stored_rows(output, config))


def grown(run: Run) -> Path:
    """A run's folder with the earlier derivation out of the way."""
    shutil.rmtree(run.output / "derived")
    return run.output


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


class TestRows:
    def test_each_kind_says_what_it_is_and_where_it_comes_from(self, finished: Run, out: Path) -> None:
        derive(finished, out / "more")
        rows = derived(out / "more")
        assert Counter(row.columns["derived_kind"] for row in rows) == {
            "inverse": 3, "sibling": 2, "short": 3, "long": 3, "spoken": 3,
        }  # fmt: skip
        for row in rows:
            columns = row.columns
            parents = 2 if columns["derived_kind"] == "sibling" else 1
            assert len(columns["derived_from"]) == parents and set(columns["derived_from"]) <= {REMOVE, ALTER, STYLE}
            assert columns["verdict"] == "keep" and columns["vouched_by"] == ["pixels"]
            assert (columns["source_licence"], columns["source_id"]) == ("CC0", "cup.jpg")
            assert columns["models"][-1]["name"] == "template" and columns["workflow"] == "remove"
            assert columns["turn"] is None
        assert len({row.columns["key"] for row in rows}) == len(rows)

    def test_every_inverse_is_read_right_and_ends_in_the_photo(self, finished: Run, out: Path) -> None:
        derive(finished, out / "more", "--kinds", "inverse")
        found = {row.columns["derived_from"][0]: row for row in derived(out / "more")}
        assert {key: read(row.columns["prompt"]) for key, row in found.items()} == {
            REMOVE: [Read("add", "red cup", "on the left")],
            ALTER: [Read("alter", "ball", "on the right", "blue")],
            STYLE: [Read("style", "a pencil sketch", "", "a natural colour photo")],
        }
        assert [found[key].columns["task"] for key in (REMOVE, ALTER, STYLE)] == ["add", "alter", "style"]
        for row in found.values():
            assert np.array_equal(pixels(row.outputs[0]), picture())
        assert np.array_equal(pixels(found[REMOVE].inputs[0]), picture(cup=None))

    def test_a_sibling_goes_from_one_result_to_the_other(self, finished: Run, out: Path) -> None:
        derive(finished, out / "more", "--kinds", "sibling")
        (there, back) = derived(out / "more")
        assert read(there.columns["prompt"]) == [
            Read("add", "red cup", "on the left"),
            Read("alter", "ball", "on the right", "green"),
        ]
        assert read(back.columns["prompt"]) == [
            Read("alter", "ball", "on the right", "blue"),
            Read("remove", "cup", "on the left"),
        ]
        before, after = pixels(there.inputs[0]), pixels(there.outputs[0])
        assert np.array_equal(before, picture(cup=None)) and np.array_equal(after, picture(ball=GREEN))
        mask = rle.decode(Rle.model_validate(there.columns["edit_mask"]))
        assert np.array_equal(mask, (before != after).any(axis=2)) and there.columns["task"] == "hybrid"
        assert there.inputs == back.outputs

    def test_a_pair_that_is_there_is_not_derived(self, run: Run, out: Path) -> None:
        edits(run)
        add_edit(run, "d0", "add", "Add a red cup on the left of the image.", picture(cup=None), picture(), "cup")
        derive(done(run), out / "more", "--kinds", "inverse")
        rows = [row.columns["derived_from"] for row in derived(out / "more")]
        assert rows == [[ALTER], [STYLE]]
        skipped = pq.read_table(out / "more" / "skipped.parquet").to_pylist()
        assert [(row["key"], row["error_type"], row["message"]) for row in skipped] == [
            (REMOVE, "inverse", "the same pair is there already"),
            ("d0", "inverse", "the same pair is there already"),
        ]

    def test_the_languages_that_are_asked_for(self, run: Run, out: Path) -> None:
        both = {"prompt_en": "Remove the cup on the left of the image.", "prompt_cn": "移除图像左侧的杯子。"}
        add_edit(run, REMOVE, "remove", both["prompt_en"], picture(), picture(cup=None), "cup", **both)
        derive(done(run), out / "more", "--kinds", "inverse,wordings", "--lang", "zh,en")
        rows = [row.columns for row in derived(out / "more")]
        assert [(row["derived_kind"], row["lang"]) for row in rows] == [
            ("inverse", "zh"), *((way, language) for language in ("zh", "en") for way in ("short", "long", "spoken"))
        ]  # fmt: skip
        assert rows[0]["prompt"] == rows[0]["prompt_cn"] == "在图像左侧添加一个红色的杯子。"
        assert read(rows[0]["prompt_en"]) == [Read("add", "red cup", "on the left")]


class TestVouching:
    def test_an_edit_by_a_model_waits_for_a_look_at_the_new_pair(
        self, run: Run, out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        edits(run, vouched_by=["judge"], judge={"model": "m", "prompt_version": "v", "reply": "good"})
        derive(done(run), out / "more")
        assert {row.columns["derived_kind"] for row in derived(out / "more")} == {"short", "long", "spoken"}
        assert all(row.columns["vouched_by"] == ["judge"] for row in derived(out / "more"))
        waiting = derived(out / "more", "rejected")
        assert {row.columns["derived_kind"] for row in waiting} == {"inverse", "sibling"}
        assert {row.columns["verdict"] for row in waiting} == {"unscored"}
        assert all(row.columns["judge"] is None for row in (*waiting, *derived(out / "more")))
        assert "5 unscored, as nobody looked at these pairs yet" in capsys.readouterr().err

    def test_what_differs_outside_the_mask_is_rejected(self, run: Run, out: Path) -> None:
        add_edit(
            run, ALTER, "alter", "Make the ball on the right green.", picture(), picture(ball=GREEN, cup=None), "ball"
        )
        derive(done(run), out / "more", "--kinds", "inverse")
        (row,) = derived(out / "more", "rejected")
        assert row.columns["verdict"] == "reject" and "outside the mask" in row.columns["reject_reason"]
        assert derived(out / "more") == []
        told = json.loads((out / "more" / "summary.json").read_text())
        assert (told["kept"], told["rejected"]) == (0, 1) and list(told["reasons"]) == ["changed outside the mask"]


class TestDialogues:
    def test_turns_are_pairs_and_several_are_one(self, run: Run, out: Path) -> None:
        for number, (op, words, before, after) in enumerate(
            [
                ("add", "Add a cup on the left of the image.", picture(cup=None), picture()),
                ("alter", "Now make it green.", picture(), picture(cup=GREEN)),
                ("remove", "Take it away again.", picture(cup=GREEN), picture(cup=None)),
            ],
            1,
        ):
            turn = {"dialogue": "d0", "number": number, "of": 3, "base": number - 1, "op": op, "mask_from": "carried"}
            add_edit(run, f"d0~{number - 1}", "content_understanding", words, before, after, "cup", turn=turn)
        derive(done(run), out / "more", "--kinds", "composed")
        rows = [row.columns for row in derived(out / "more")]
        assert [(row["derived_kind"], row["task"], read(row["prompt"])) for row in rows] == [
            ("step", "add", [Read("add", "cup", "on the left")]),
            ("step", "alter", [Read("alter", "cup", "on the left", "green")]),
            ("step", "remove", [Read("remove", "cup", "on the left")]),
            ("composed", "add", [Read("add", "green cup", "on the left")]),
        ]
        assert rows[-1]["derived_from"] == ["d0~0", "d0~1"] and all(row["turn"] is None for row in rows)
        skipped = pq.read_table(out / "more" / "skipped.parquet").to_pylist()
        assert [row["message"] for row in skipped] == ["nothing is different between the two, as far as words tell"]

    def test_a_turn_that_goes_back_is_read_by_its_command(self, run: Run, out: Path) -> None:
        command = "Change the colour of the cup on the left of the image to green."
        for number, base, op, words, told, before, after in (
            (1, 0, "add", "Add a cup on the left of the image.", None, picture(cup=None), picture()),
            (2, 1, "remove", "Now remove it.", None, picture(), picture(cup=None)),
            (3, 1, "alter", "Go back to the first version and make it green.", command, picture(), picture(cup=GREEN)),
        ):
            turn = {"dialogue": "d0", "number": number, "of": 3, "base": base, "op": op, "mask_from": "carried"}
            fields = {"turn": turn, "editor_prompt": told}
            add_edit(run, f"d0~{number - 1}", "version_backtracking", words, before, after, "cup", **fields)
        derive(done(run), out / "more", "--kinds", "composed,inverse,sibling")
        rows = [row.columns for row in derived(out / "more")]
        assert [(row["derived_kind"], *read(row["prompt"])) for row in rows if row["derived_from"][-1] == "d0~2"] == [
            ("step", Read("alter", "cup", "on the left", "green")),
            ("composed", Read("add", "green cup", "on the left")),
            ("inverse", Read("alter", "cup", "on the left", "red")),
        ]

    def test_a_turn_that_goes_back_is_composed_along_the_states_that_lead_to_it(self, run: Run, out: Path) -> None:
        back = "Return to how it looked after the first instruction, and make it green."
        for number, base, op, words, before, after in (
            (1, 0, "add", "Add a cup on the left of the image.", picture(cup=None), picture()),
            (2, 1, "remove", "Now remove it.", picture(), picture(cup=None)),
            (3, 1, "alter", back, picture(), picture(cup=GREEN)),
        ):
            turn = {"dialogue": "d0", "number": number, "of": 3, "base": base, "op": op, "mask_from": "carried"}
            add_edit(run, f"d0~{number - 1}", "version_backtracking", words, before, after, "cup", turn=turn)
        derive(done(run), out / "more", "--kinds", "composed,inverse")
        rows = [row.columns for row in derived(out / "more")]
        assert [(row["derived_kind"], *read(row["prompt"])) for row in rows if row["derived_from"][-1] == "d0~2"] == [
            ("step", Read("alter", "cup", "on the left", "green")),
            ("composed", Read("add", "green cup", "on the left")),
            ("inverse", Read("alter", "cup", "on the left", "red")),
        ]

    def test_what_a_premise_colours_is_turned_round_and_said_alone(self, run: Run, out: Path) -> None:
        photo, then = picture(cup=BLUE, ball=YELLOW), picture(cup=GREEN, ball=YELLOW)
        last = picture(cup=GREEN, ball=GREEN)
        for number, words, thing, before, after in (
            (1, "Change the colour of the cup on the left of the image.", "cup", photo, then),
            (2, "Change the colour of the ball on the right of the image, too.", "ball", then, last),
        ):
            turn = {"dialogue": "d0", "number": number, "of": 2, "base": number - 1, "op": "alter", "mask_from": "photo",
                    "premise": "From now on, everything that is changed becomes green."}  # fmt: skip
            add_edit(run, f"d0~{number - 1}", "content_memory", words, before, after, thing, turn=turn)
        derive(done(run), out / "more", "--kinds", "composed,inverse")
        rows = [row.columns for row in derived(out / "more") if row.columns["derived_kind"] != "composed"]
        assert [(row["derived_kind"], *read(row["prompt"])) for row in rows] == [
            ("step", Read("alter", "cup", "on the left", "green")),
            ("step", Read("alter", "ball", "on the right", "green")),
            ("inverse", Read("alter", "cup", "on the left", "blue")),
            ("inverse", Read("alter", "ball", "on the right", "yellow")),
        ]

    def test_a_pair_that_two_dialogues_share_is_said_once(self, run: Run, out: Path) -> None:
        for dialogue, name, colour in (("d0", "green", GREEN), ("e0", "yellow", YELLOW)):
            for number, op, words, before, after in (
                (1, "add", "Add a cup on the left of the image.", picture(cup=None), picture()),
                (2, "alter", f"Now make it {name}.", picture(), picture(cup=colour)),
            ):
                turn = {
                    "dialogue": dialogue,
                    "number": number,
                    "of": 2,
                    "base": number - 1,
                    "op": op,
                    "mask_from": "photo",
                }
                add_edit(
                    run, f"{dialogue}~{number - 1}", "content_understanding", words, before, after, "cup", turn=turn
                )
        add_edit(run, "f0", "add", "Add a cup on the left.", picture(cup=None), picture(), "cup")
        derive(done(run), out / "more", "--kinds", "composed,wordings")
        rows = [(row.columns["derived_kind"], row.columns["prompt"]) for row in derived(out / "more")]
        assert len(set(rows)) == len(rows)
        assert Counter(kind for kind, _ in rows) == {"step": 3, "composed": 2, "long": 4, "spoken": 3, "short": 2}
        skipped = pq.read_table(out / "more" / "skipped.parquet").to_pylist()
        assert Counter((row["key"], row["error_type"], row["message"]) for row in skipped) == {
            ("e0~0", "composed", "step: the same pair is there already in these words"): 1,
            ("d0~0", "wordings", "short: the same pair is there already in these words"): 1,
            ("e0~0", "wordings", "short: the same pair is there already in these words"): 1,
            ("f0", "wordings", "short: it cannot be said so in other words"): 1,
            ("e0~0", "wordings", "long: the same pair is there already in these words"): 1,
            ("e0~0", "wordings", "spoken: the same pair is there already in these words"): 1,
            ("f0", "wordings", "spoken: the same pair is there already in these words"): 1,
        }

    def test_a_premise_goes_before_the_words(self, run: Run, out: Path) -> None:
        said = (Said("Change the cup."), Said("Change the ball, too.", class_name="ball"))
        add_dialogue(run, "d0", "content_memory", *said, premise="Everything is wood.", vouched_by=["pixels"])
        derive(done(run), out / "more", "--kinds", "composed")
        rows = [row.columns for row in (*derived(out / "more"), *derived(out / "more", "rejected"))]
        assert [(row["derived_kind"], row["prompt"]) for row in rows] == [
            ("step", "Everything is wood. Change the cup."),
            ("step", "Everything is wood. Change the ball."),
            ("composed", "Everything is wood. Change the cup. Change the ball, too."),
        ]


class TestFolder:
    @pytest.mark.parametrize("layout", ["hf", "wds"])
    def test_pictures_lie_there_once(self, layout: str, finished: Run, out: Path) -> None:
        derive(finished, out / "more", "--with-originals", "--layout", layout)
        rows = derived(out / "more")
        assert len(rows) == 3 + 14 and sum(not row.columns["derived_kind"] for row in rows) == 3
        pictures = {hashlib.sha256(one).digest(): one for row in rows for one in (*row.inputs, *row.outputs)}
        assert len(pictures) == 4
        (file,) = (out / "more" / "data").iterdir()
        if layout == "hf":
            (record,) = pq.read_table(file)["states"].to_pylist()
            stored = [one["bytes"] for one in record]
        else:
            with tarfile.open(file) as tar:
                held = [tar.extractfile(member) for member in tar if member.name.endswith(".png")]
                stored = [one.read() for one in held if one]
        assert sorted(stored) == sorted(pictures.values())

    def test_an_export_reads_it_as_any_dataset(self, finished: Run, out: Path) -> None:
        derive(finished, out / "more")
        assert export(out / "more", "pairs", out / "pairs", "copy").rows == 14

    def test_the_page_says_what_pairs_come_from(
        self, finished: Run, out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        derive(finished, out / "more", "--kinds", "inverse")
        page = (out / "more" / "report.html").read_text("utf-8")
        assert f"inverse, derived from {REMOVE}" in page and "open.py" not in page
        key = derived(out / "more")[0].columns["key"]
        assert open_row([str(out / "more"), key]) == 2
        assert (
            f"{key}: was derived from {REMOVE} (inverse); open these in their run's folder" in capsys.readouterr().err
        )

    def test_the_page_offers_to_open_nothing_that_its_folder_cannot(self, run: Run, out: Path) -> None:
        edits(run)
        add_dialogue(
            run, "d0", "content_memory", Said("Recolour the cup."), Said("Recolour it."), vouched_by=["pixels"]
        )
        derive(done(run), out / "more", "--with-originals", "--kinds", "inverse")
        page = (out / "more" / "report.html").read_text("utf-8")
        assert "open.py" not in page
        for key in (REMOVE, ALTER, STYLE, "d0"):
            assert f"{key}, to be opened in the folder of the run that made it" in page

    def test_the_same_command_does_nothing(self, finished: Run, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
        derive(finished, out / "more")
        before = {path: path.stat().st_mtime_ns for path in (out / "more").rglob("*")}
        derive(finished, out / "more")
        assert "nothing is done" in capsys.readouterr().out
        assert {path: path.stat().st_mtime_ns for path in (out / "more").rglob("*")} == before

    @pytest.mark.parametrize("place", ["pair_of", "write_card"])
    def test_what_broke_off_has_no_name_and_is_made_by_the_same_command(
        self, place: str, finished: Run, out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        derive(finished, out / "whole")
        with monkeypatch.context() as patch:

            def stop(*_: Any, **__: Any) -> None:
                raise KeyboardInterrupt

            patch.setattr(f"driver.deriving.{'deriving' if place == 'pair_of' else 'writing'}.{place}", stop)
            derive(finished, out / "more", "--siblings", "1" if place == "pair_of" else "2", status=130)
        assert "what is derived is not whole, the same command begins again" in capsys.readouterr().err
        assert not (out / "more" / writing.DERIVED).exists()
        if place == "pair_of":
            assert {path.name for path in (out / "more").iterdir()} == {".work"}
        derive(finished, out / "more")
        names = {path.name for path in (out / "whole").iterdir()}
        assert {path.name for path in (out / "more").iterdir()} == names
        assert [row.columns for row in derived(out / "more")] == [row.columns for row in derived(out / "whole")]

    def test_a_run_that_grew_is_derived_from_anew(self, finished: Run, out: Path) -> None:
        derive(finished, out / "more", "--kinds", "inverse")
        add_edit(finished, "e0", "remove", "Remove the book at the bottom.", picture(), picture(book=None), "book")
        derive(done(finished), out / "more", "--kinds", "inverse")
        assert len(derived(out / "more")) == 4

    def test_a_dry_run_counts_and_writes_nothing(
        self, finished: Run, out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        derive(finished, out / "more", "--dry-run", "--json")
        told = json.loads(capsys.readouterr().out)
        assert (told["kept"], told["kinds"]["inverse"]) == (14, {"keep": 3}) and not (out / "more").exists()


class TestRecipe:
    def test_the_last_stages_rows_are_derived_from_in_its_folder(self, finished: Run) -> None:
        stages = (RecipeStage("edit", "remove", {}),)
        recipe = Recipe("mine", "", Path("mine.toml"), (), None, stages, deriving=Deriving(("inverse",)))
        options, stop = RunOptions("", finished.output), StopRequest()
        assert derived_behind(replace(recipe, deriving=None), options, 3, stop) == {}
        assert derived_behind(recipe, options, 0, stop) == {}
        told = derived_behind(recipe, options, 3, stop)
        assert told["derived"]["kept"] == 3 and len(derived(finished.output / "derived")) == 3
        assert derived_behind(recipe, options, 3, stop)["derived"]["there"]
        stop.request()
        with pytest.raises(KeyboardInterrupt):
            derived_behind(replace(recipe, deriving=Deriving()), replace(options, output=grown(finished)), 3, stop)
        assert not (finished.output / "derived" / writing.DERIVED).exists()


class TestMemory:
    def test_rows_that_lie_apart_are_one_photo_and_wait_on_disk(
        self, run: Run, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        photo = picture()
        other = np.flipud(photo).copy()
        mine, theirs = {"source_sha256": "1" * 64}, {"source_sha256": "2" * 64}
        add_edit(run, "a0", "remove", "Remove the cup on the left.", photo, picture(cup=None), "cup", **mine)
        style = "Turn the photo into a pencil sketch."
        add_edit(run, "b0", "style", style, other, 255 - other, whole=True, **theirs)
        add_edit(run, "c0", "style", style, photo, 255 - photo, whole=True, **mine)
        monkeypatch.setattr(photos, "HELD", 10)
        went: list[Path] = []
        to_disk: Callable[[photos.Pictures], None] = photos.Pictures.to_disk
        monkeypatch.setattr(photos.Pictures, "to_disk", lambda self: (went.append(self._folder), to_disk(self)))
        derive(done(run), out / "more", "--kinds", "inverse")
        assert went and [row.columns["derived_from"] for row in derived(out / "more")] == [["b0"], ["a0"], ["c0"]]
        assert not (out / "more" / ".work").exists()


class TestRefused:
    def refused(self, run: Path, output: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
        assert main([str(run), "--output", str(output), *options]) == 2
        return capsys.readouterr().err

    def test_a_run_without_kept_rows(self, run: Run, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run.add("a0", verdict="reject", reject_reason="no")
        done(run)
        assert "has no kept rows" in self.refused(run.output, out / "more", capsys)
        assert not (out / "more").exists()

    def test_no_run_and_one_that_is_not_finished(self, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert "no such folder" in self.refused(out / "none", out / "more", capsys)
        (out / "begun").mkdir()
        assert "holds no finished dataset" in self.refused(out / "begun", out / "more", capsys)

    def test_a_run_some_of_whose_samples_wait(
        self, finished: Run, out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (finished.output / "summary.json").write_text(json.dumps(SUMMARY | {"pending": 4}))
        assert "4 of its samples are not done yet" in self.refused(finished.output, out / "more", capsys)

    def test_a_release(self, finished: Run, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert release([str(finished.output), "--output", str(out / "releases")]) == 0
        assert "is a release; derive from the run" in self.refused(out / "releases" / "v1.0.0", out / "more", capsys)

    def test_what_was_derived_itself(self, finished: Run, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
        derive(finished, out / "more", "--kinds", "inverse")
        assert "derived themselves" in self.refused(out / "more", out / "again", capsys)

    def test_a_folder_that_holds_something_else(
        self, finished: Run, out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (out / "mine").mkdir()
        (out / "mine" / "notes.txt").write_text("mine")
        assert "no derivation left there" in self.refused(finished.output, out / "mine", capsys)
        derive(finished, out / "more", "--kinds", "inverse")
        said = self.refused(finished.output, out / "more", capsys, "--kinds", "sibling")
        assert "with other options (--kinds: inverse there, sibling now)" in said
        said = self.refused(finished.output, out / "more", capsys, "--kinds", "inverse", "--with-originals")
        assert "with other options (--with-originals: no there, yes now)" in said
        assert "lies in, the run's folder" in self.refused(finished.output, finished.output / "more", capsys)
