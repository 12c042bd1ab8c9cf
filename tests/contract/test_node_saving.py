"""Verify Pixels and Save Edit Pair: honest verdicts, and pairs that lie on disk as the record says."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

torch = pytest.importorskip("torch", reason="torch, which ComfyUI brings, is not installed")


def image(*pixels: np.ndarray) -> Any:
    return torch.from_numpy(np.stack(pixels)).float() / 255


def mask(*marked: np.ndarray) -> Any:
    return torch.from_numpy(np.stack(marked)).float()


@pytest.fixture
def repainted(photo: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """The photo with its disc painted over."""
    pixels = photo.copy()
    pixels[marked] = 255 - pixels[marked]
    return pixels


class TestVerifyPixels:
    @pytest.fixture
    def verify(self, pack: Any) -> Callable[..., Any]:
        defaults = {"min_changed": 0.05, "max_outside": 0}
        return lambda **inputs: pack.call("EditPairsVerifyPixels", **{**defaults, **inputs})

    def test_a_fine_edit(
        self, verify: Callable[..., Any], photo: np.ndarray, marked: np.ndarray, repainted: np.ndarray
    ) -> None:
        output = verify(source=image(photo), edited=image(repainted), edit_mask=mask(marked))
        (scores,) = output[0]
        assert (scores.verdict, scores.reason) == ("keep", "")
        assert scores.values["pixel.inside_changed"] == 1.0
        assert scores.values["pixel.outside_max"] == 0.0

    def test_no_edit(self, verify: Callable[..., Any], photo: np.ndarray, marked: np.ndarray) -> None:
        (scores,) = verify(source=image(photo), edited=image(photo), edit_mask=mask(marked))[0]
        assert scores.verdict == "reject"
        assert scores.reason.startswith("no edit: 0.0% of the mask changed")

    @pytest.mark.parametrize(("allowed", "verdict"), [(0, "reject"), (1, "keep")])
    def test_a_change_outside(
        self, allowed: int, verdict: str, verify: Callable[..., Any], photo: np.ndarray, marked: np.ndarray,
        repainted: np.ndarray,
    ) -> None:  # fmt: skip
        repainted[0, 0, 2] += 1
        output = verify(source=image(photo), edited=image(repainted), edit_mask=mask(marked), max_outside=allowed)
        assert output[0][0].verdict == verdict

    def test_the_face_shows_verdict_and_numbers(
        self, verify: Callable[..., Any], photo: np.ndarray, repainted: np.ndarray
    ) -> None:
        ui = verify(source=image(photo), edited=image(repainted)).ui
        assert all(isinstance(value, list) for value in ui.values())
        assert ui["text"][0].splitlines()[0] == "keep"
        assert "outside_max 0" in ui["text"][0]

    def test_a_batch_against_one_source(
        self, verify: Callable[..., Any], photo: np.ndarray, repainted: np.ndarray
    ) -> None:
        output = verify(source=image(photo), edited=image(repainted, photo))
        assert [one.verdict for one in output[0]] == ["keep", "reject"]
        assert len(output.ui["text"]) == 2

    @pytest.mark.parametrize(
        ("inputs", "why"),
        [
            ({"edited": torch.zeros(1, 20, 30, 3)}, "sizes differ"),
            ({"edit_mask": torch.ones(1, 20, 30)}, "the mask is 30 x 20, the image 64 x 48"),
            ({"edited": torch.zeros(2, 48, 64, 3), "edit_mask": torch.ones(3, 48, 64)}, "batches of different sizes"),
        ],
    )
    def test_sizes_that_do_not_fit(
        self, inputs: dict[str, Any], why: str, verify: Callable[..., Any], photo: np.ndarray
    ) -> None:
        with pytest.raises(ValueError, match=why):
            verify(**{"source": image(photo), "edited": image(photo), **inputs})


class TestSaveEditPair:
    @pytest.fixture
    def sample(self, pack: Any, photo: np.ndarray, marked: np.ndarray) -> Any:
        annotation, sockets = pack.part("core.regions.annotation"), pack.part("wires.sockets")
        return sockets.EditSample(
            source=image(photo),
            task="remove",
            region=annotation.region_of_mask(marked, "disc"),
            instruction="Remove the disc.",
            seed=7,
            provenance=annotation.Provenance(
                key="k1", source_id="a/b.png", source_path="a/b.png", source_sha256="0" * 64, source_licence="CC0"
            ),
        )

    @pytest.fixture
    def save(self, pack: Any, folders: Path, sample: Any) -> Callable[..., Any]:
        return lambda **inputs: pack.call("EditPairsSavePair", **{"sample": sample, "instruction": "", **inputs})

    def records(self, output: Any) -> list[dict[str, Any]]:
        return json.loads(json.dumps(output.ui["editpairs"]))

    def files(self, folders: Path) -> list[str]:
        root = folders / "output"
        return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())

    def kept(self, pack: Any, verdict: str = "keep") -> list[Any]:
        return [pack.part("core.verdicts.verdicts").Scores({"judge.quality": 4.0}, verdict, "", voices=("judge",))]

    @pytest.mark.parametrize(
        ("maker", "verdict", "vouched_by"),
        [("EditPairsClassicalInpaint", "keep", ["pixels"]), ("VAEDecode", "unscored", [])],
    )
    def test_pixels_keep_what_says_what_it_did_and_no_models_edit(
        self,
        pack: Any,
        folders: Path,
        sample: Any,
        repainted: np.ndarray,
        maker: str,
        verdict: str,
        vouched_by: list[str],
    ) -> None:
        from comfy_api.latest import io as comfy_io

        graph = {
            "1": {"class_type": "EditPairsLoadSample", "inputs": {}},
            "2": {"class_type": maker, "inputs": {"image": ["1", 1]}},
            "3": {"class_type": "EditPairsSavePair", "inputs": {"edited": ["2", 0]}},
        }
        pixels = pack.part("core.verdicts.verdicts").Scores({"pixel.keep": 1.0}, "keep", voices=("pixels",))
        hidden = {comfy_io.Hidden.prompt: graph, comfy_io.Hidden.unique_id: "3"}
        given = {"sample": sample, "edited": image(repainted), "scores": {"score0": [pixels]}}
        output = pack.call("EditPairsSavePair", hidden, **given, instruction="")
        (record,) = self.records(output)
        assert (record["verdict"], record["vouched_by"]) == (verdict, vouched_by)
        assert record["reject_reason"].startswith("nobody looked") == (verdict == "unscored")

    def test_a_person_vouches_for_the_very_pair_that_they_labelled(
        self, save: Callable[..., Any], sample: Any, photo: np.ndarray, repainted: np.ndarray
    ) -> None:
        """Beside it in the batch is another picture; nobody verifies either."""
        carried, images = {"hand_labels": ["keep"]}, {"edited": image(repainted)}
        own = replace(sample, carried=carried, images=images)
        first, second = self.records(save(sample=own, edited=image(repainted, 255 - photo)))
        assert (first["verdict"], first["vouched_by"]) == ("keep", ["hand"])
        assert {"name": "hand.keep", "value": 1.0} in first["scores"]
        assert (second["verdict"], second["vouched_by"]) == ("unscored", [])
        other_words = save(sample=own, edited=image(repainted), instruction="Paint the disc.")
        assert self.records(other_words)[0]["verdict"] == "unscored"
        bad = replace(own, carried={"hand_labels": ["reject"]})
        (record,) = self.records(save(sample=bad, edited=image(repainted)))
        assert (record["verdict"], record["reject_reason"]) == ("reject", "labelled bad by hand")

    def test_words_for_another_task_are_no_truth_of_what_pixels_let_pass(self, pack: Any, sample: Any) -> None:
        asked, scores = pack.part("nodes.saving_pairs")._asked, pack.part("core.verdicts.verdicts").Scores
        pixels, judged = scores({}, "keep", voices=("pixels",)), scores({}, "keep", voices=("pixels", "judge"))
        wrong = replace(sample, instruction="Add a disc.")
        found = asked(pixels, wrong, "Add a disc.")
        assert (found.verdict, found.reason) == (
            "reject",
            "the instruction asks for add, and the task is remove: Add a disc.",
        )
        assert asked(judged, wrong, "Add a disc.") is judged
        assert asked(pixels, sample, sample.instruction) is pixels

    def test_a_restatement_of_another_task_relabels_the_row(
        self, pack: Any, save: Callable[..., Any], sample: Any, repainted: np.ndarray
    ) -> None:
        told = pack.part("core.verdicts.verdicts").Scores(
            {}, "keep", restated="Replace the disc with a jug.", task="replace", voices=("verifier",)
        )
        own = replace(sample, provenance=sample.provenance.model_copy(update={"subtask": "unicedit/Subject Removal"}))
        (record,) = self.records(save(sample=own, edited=image(repainted), scores={"score0": [told]}))
        assert (record["task"], record["made_as"], record["subtask"]) == ("replace", "remove", "")
        assert record["made_as_subtask"] == "unicedit/Subject Removal"
        assert record["prompt"] == "Replace the disc with a jug." and record["initial_prompt"] == "Remove the disc."
        assert [region["op"] for region in record["regions"]] == ["replace"]

    @pytest.mark.parametrize(
        ("restated", "both"),
        [
            ({}, ("Remove the disc.", "移除圆盘。")),
            ({"restated": "Erase the disc.", "restated_other": "擦除圆盘。"}, ("Erase the disc.", "擦除圆盘。")),
            ({"restated": "Erase the disc."}, (None, None)),
        ],
    )
    def test_both_languages_say_the_same_or_neither_is_told(
        self, restated: dict[str, str], both: tuple[str | None, str | None], pack: Any, save: Callable[..., Any],
        sample: Any, repainted: np.ndarray,
    ) -> None:  # fmt: skip
        writing = pack.part("core.instructions.instructions").Writing("Remove the disc.", "en", other="移除圆盘。")
        told = pack.part("core.verdicts.verdicts").Scores({}, "keep", voices=("verifier",), **restated)
        written = replace(sample, writings=(writing,))
        (record,) = self.records(save(sample=written, edited=image(repainted), scores={"score0": [told]}))
        assert (record["prompt_en"], record["prompt_cn"]) == both
        (plain,) = self.records(save(sample=sample, edited=image(repainted), scores={"score0": [told]}))
        assert (plain["prompt_en"], plain["prompt_cn"]) == (
            (both[0], both[1]) if "restated_other" in restated else (None, None)
        )

    def test_files_and_record(
        self, save: Callable[..., Any], folders: Path, photo: np.ndarray, marked: np.ndarray, repainted: np.ndarray,
        pack: Any,
    ) -> None:  # fmt: skip
        output = save(edited=image(repainted), edit_mask=mask(marked), scores={"score0": self.kept(pack)})
        (record,) = self.records(output)
        before, after = record["input_images"][0], record["output_images"][0]
        names = [before["filename"], after["filename"]]
        prefix = names[0].removesuffix("-source.png")
        kept = (*names, f"{prefix}.json", f"{record['key']}.records.json")
        assert self.files(folders) == sorted(f"editpairs/{name}" for name in kept)
        assert json.loads((folders / "output" / "editpairs" / f"{prefix}.json").read_text()) == record
        for entry, pixels in ((before, photo), (after, repainted)):
            data = (folders / "output" / entry["subfolder"] / entry["filename"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == entry["sha256"]
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
        assert (record["key"], record["verdict"], record["seed"]) == ("k1", "keep", 7)
        assert (record["prompt"], record["task"], record["source_licence"]) == ("Remove the disc.", "remove", "CC0")
        assert (record["width"], record["height"]) == (64, 48)
        assert record["scores"] == [{"name": "judge.quality", "value": 4.0}]
        (region,) = record["regions"]
        assert (region["op"], region["class_name"], region["bbox"]) == ("remove", "disc", [21.0, 13.0, 40.0, 32.0])
        rle = pack.part("core.regions.rle")
        np.testing.assert_array_equal(rle.decode(rle.Rle(**record["edit_mask"])), marked)

    def test_ui_values_are_lists(self, save: Callable[..., Any], repainted: np.ndarray) -> None:
        ui = save(edited=image(repainted)).ui
        assert set(ui) >= {"editpairs", "images"}
        assert all(isinstance(value, list) for value in ui.values())
        assert set(ui["images"][0]) == {"filename", "subfolder", "type"}

    def test_a_second_call_overwrites_nothing(
        self, save: Callable[..., Any], folders: Path, repainted: np.ndarray
    ) -> None:
        for _ in range(2):
            save(edited=image(repainted))
        assert len(self.files(folders)) == 2 * 3 + 1

    def test_a_batch_from_one_source(
        self, save: Callable[..., Any], folders: Path, photo: np.ndarray, repainted: np.ndarray
    ) -> None:
        records = self.records(save(edited=image(repainted, photo, 255 - photo)))
        assert [record["key"] for record in records] == ["k1~0", "k1~1", "k1~2"]
        assert len({record["output_images"][0]["filename"] for record in records}) == 3
        assert len({record["input_images"][0]["sha256"] for record in records}) == 1
        assert len(self.files(folders)) == 3 * 3 + 1

    def test_a_score_for_each_of_a_batch(
        self, save: Callable[..., Any], photo: np.ndarray, repainted: np.ndarray, pack: Any
    ) -> None:
        scores = {"score0": self.kept(pack) + self.kept(pack, "reject"), "score1": self.kept(pack), "score2": None}
        records = self.records(save(edited=image(repainted, photo), scores=scores))
        assert [record["verdict"] for record in records] == ["keep", "reject"]

    @pytest.mark.parametrize(
        "inputs",
        [
            {"source": torch.zeros(3, 48, 64, 3)},
            {"edit_mask": torch.ones(3, 48, 64)},
            {"scores": {"score0": [None] * 3}},
        ],
        ids=["source", "edit_mask", "scores"],
    )
    def test_unequal_batches(
        self, inputs: dict[str, Any], save: Callable[..., Any], folders: Path, repainted: np.ndarray
    ) -> None:
        with pytest.raises(ValueError, match=r"batches of different sizes \(edited 2, .* give as many of each"):
            save(edited=image(repainted, repainted), **inputs)
        assert self.files(folders) == []

    @pytest.mark.parametrize(
        ("inputs", "words"),
        [
            ({"edited": torch.zeros(0, 48, 64, 3)}, "edited: an empty batch"),
            ({"edit_mask": torch.zeros(0, 48, 64)}, "edit_mask: an empty batch"),
            ({"scores": {"score0": []}}, "score 0: an empty batch"),
        ],
        ids=["edited", "edit_mask", "scores"],
    )
    def test_an_empty_batch_is_an_error(
        self, inputs: dict[str, Any], words: str, save: Callable[..., Any], folders: Path, repainted: np.ndarray
    ) -> None:
        with pytest.raises(ValueError, match=words):
            save(**{"edited": image(repainted), **inputs})
        assert self.files(folders) == []

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_score_that_is_no_number_is_an_error(
        self, value: float, save: Callable[..., Any], folders: Path, repainted: np.ndarray, pack: Any
    ) -> None:
        scores = [pack.part("core.verdicts.verdicts").Scores({"judge.quality": value}, "keep", voices=("judge",))]
        with pytest.raises(ValueError, match=f"the score judge.quality is {value}"):
            save(edited=image(repainted), scores={"score0": scores})
        assert self.files(folders) == []

    def test_unequal_sizes_say_what_to_wire(self, save: Callable[..., Any], folders: Path) -> None:
        with pytest.raises(ValueError, match="source is 64 x 48, edited 32 x 24: a pair needs equal sizes; wire"):
            save(edited=torch.zeros(1, 24, 32, 3))
        assert self.files(folders) == []

    def test_an_edit_outside_its_mask_is_rejected_whatever_the_scores_say(
        self, save: Callable[..., Any], marked: np.ndarray, repainted: np.ndarray, pack: Any
    ) -> None:
        repainted[0, 0, 0] ^= 1
        output = save(edited=image(repainted), edit_mask=mask(marked), scores={"score0": self.kept(pack)})
        (record,) = self.records(output)
        assert record["verdict"] == "reject"
        assert "outside edit_mask by up to 1 of 255 levels" in record["reject_reason"]

    @pytest.mark.parametrize("scores", [None, {}, {"score0": None}])
    def test_without_scores_a_pair_is_unscored(
        self, scores: Any, save: Callable[..., Any], repainted: np.ndarray
    ) -> None:
        (record,) = self.records(save(edited=image(repainted), scores=scores))
        assert (record["verdict"], record["scores"]) == ("unscored", [])

    @pytest.mark.parametrize("folder", ["../elsewhere", "/elsewhere", "a/../../b", "a/b/../../../c"])
    def test_a_folder_outside_the_output_is_refused(
        self, folder: str, save: Callable[..., Any], folders: Path, repainted: np.ndarray
    ) -> None:
        with pytest.raises(ValueError, match="leaves ComfyUI's output folder; name a subfolder"):
            save(edited=image(repainted), folder=folder)
        assert {path.name for path in folders.iterdir()} == {"input", "output", "temp"}
        assert self.files(folders) == []

    @pytest.mark.parametrize("key", ["../../escaped", "/tmp/escaped", "a.b"])
    def test_a_key_that_names_a_file_elsewhere_writes_nothing(
        self, key: str, save: Callable[..., Any], sample: Any, folders: Path, repainted: np.ndarray
    ) -> None:
        """As a shared graph may carry one: `Load Edit Sample` refuses it too."""
        foreign = replace(sample, provenance=sample.provenance.model_copy(update={"key": key}))
        with pytest.raises(ValueError, match="not a key"):
            save(sample=foreign, edited=image(repainted))
        assert {path.name for path in folders.iterdir()} == {"input", "output", "temp"}
        assert self.files(folders) == []

    def test_a_planted_link_is_not_written_through(
        self, save: Callable[..., Any], sample: Any, folders: Path, repainted: np.ndarray
    ) -> None:
        """Under the only name that can be foreseen."""
        (folders / "victim").write_text("mine")
        place = folders / "output" / "editpairs"
        place.mkdir()
        listing = f"{sample.provenance.key}.records.json"
        for name in (listing, f".{listing}.part"):
            (place / name).symlink_to(folders / "victim")
        save(edited=image(repainted))
        assert (folders / "victim").read_text() == "mine"
        assert json.loads((place / listing).read_text())["editpairs"]

    def test_folders_may_be_deep(self, save: Callable[..., Any], folders: Path, repainted: np.ndarray) -> None:
        (record,) = self.records(save(edited=image(repainted), folder="runs/a b/ü"))
        assert record["output_images"][0]["subfolder"] == "runs/a b/ü"
        assert all(name.startswith("runs/a b/ü/") for name in self.files(folders))

    @pytest.mark.parametrize("failing", [1, 2, 3], ids=["before", "after", "record"])
    def test_a_full_disk_leaves_no_half_of_a_file_and_no_record(
        self, failing: int, save: Callable[..., Any], folders: Path, repainted: np.ndarray,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:  # fmt: skip
        calls = 0

        def fsync(_file: int) -> None:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="No space left"):
            save(edited=image(repainted))
        assert not [name for name in self.files(folders) if name.endswith((".part", ".json"))]
        assert len(self.files(folders)) == failing - 1

    def test_all_256_values_survive_from_file_to_file(self, pack: Any, folders: Path, sample: Any) -> None:
        """A PNG in, a PNG out, through ComfyUI's floats: not one level may move."""
        ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
        pixels = np.stack([ramp, ramp.T, 255 - ramp], axis=2)
        Image.fromarray(pixels).save(folders / "input" / "ramp.png")
        loaded = pack.call(
            "EditPairsLoadSample", image="ramp.png", task="style", region_index=0, seed=1, instruction="Keep it."
        )
        (record,) = self.records(pack.call("EditPairsSavePair", sample=loaded[0], edited=loaded[1], instruction=""))
        for entry in (*record["input_images"], *record["output_images"]):
            saved = Image.open(folders / "output" / entry["subfolder"] / entry["filename"])
            assert saved.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(saved), pixels)

    def test_a_picture_that_the_file_already_is_is_not_packed_again(self, pack: Any, folders: Path) -> None:
        """The very bytes, of photo and finished edit, but where they hold more than pixels or are to, or are other pixels."""
        from comfy_api.latest import io as comfy_io

        pixels = np.random.default_rng(0).integers(0, 256, (2, 24, 32, 3), dtype=np.uint8)
        words = PngImagePlugin.PngInfo()
        words.add_text("prompt", "a secret")

        def saved(
            first: PngImagePlugin.PngInfo | None, shown: Any = None, workflow: Any = None
        ) -> tuple[list[bytes], list[bytes]]:
            for name, one, info in (("a.png", pixels[0], first), ("b.png", pixels[1], None)):
                Image.fromarray(one).save(folders / "input" / name, compress_level=9, pnginfo=info)
            sample = pack.call(
                "EditPairsLoadSample", image="a.png", task="style", region_index=0, seed=1, instruction="K"
            )
            sample, edited = pack.call(
                "EditPairsLoadSecondImage", sample=sample[0], image="b.png", role="edited"
            ).result
            edited = edited if shown is None else shown
            hidden = {comfy_io.Hidden.extra_pnginfo: workflow, comfy_io.Hidden.prompt: {}}
            (record,) = self.records(
                pack.call("EditPairsSavePair", hidden, sample=sample, edited=edited, instruction="")
            )
            entries = (*record["input_images"], *record["output_images"])
            found = [(folders / "output" / one["subfolder"] / one["filename"]).read_bytes() for one in entries]
            assert [hashlib.sha256(data).hexdigest() for data in found] == [one["sha256"] for one in entries]
            return found, [(folders / "input" / name).read_bytes() for name in ("a.png", "b.png")]

        found, given = saved(None)
        assert found == given
        found, given = saved(words)
        assert found[1] == given[1] and found[0] != given[0] and b"secret" not in found[0]
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(found[0]))), pixels[0])
        found, given = saved(None, workflow={"workflow": {}})
        assert "workflow" in Image.open(io.BytesIO(found[0])).text
        other = 255 - pixels[1]
        found, given = saved(None, shown=image(other))
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(found[1]))), other)

    @pytest.mark.parametrize("drift", [-0.4, 0.4])
    def test_floats_are_rounded_never_cut_off(
        self, drift: float, save: Callable[..., Any], folders: Path, repainted: np.ndarray
    ) -> None:
        """Half precision and arithmetic leave values a little beside their level."""
        (record,) = self.records(save(edited=image(repainted) + drift / 255))
        entry = record["output_images"][0]
        saved = Image.open(folders / "output" / entry["subfolder"] / entry["filename"])
        np.testing.assert_array_equal(np.asarray(saved), repainted)

    def test_an_instruction_wired_in_comes_first(self, save: Callable[..., Any], repainted: np.ndarray) -> None:
        (record,) = self.records(save(edited=image(repainted), instruction=" Erase it. "))
        assert (record["prompt"], record["initial_prompt"]) == ("Erase it.",) * 2

    def test_a_pair_without_an_instruction_is_an_error(
        self, pack: Any, sample: Any, folders: Path, repainted: np.ndarray
    ) -> None:
        import dataclasses

        silent = dataclasses.replace(sample, instruction="")
        with pytest.raises(ValueError, match="no instruction: wire a writer"):
            pack.call("EditPairsSavePair", sample=silent, edited=image(repainted), instruction="  ")

    def test_a_region_mask_replaces_the_samples_region(self, save: Callable[..., Any], repainted: np.ndarray) -> None:
        found = np.zeros((48, 64), dtype=bool)
        found[5:9, 6:10] = True
        (record,) = self.records(save(edited=image(repainted), region_mask=mask(found)))
        assert (record["regions"][0]["bbox"], record["regions"][0]["class_name"]) == ([6.0, 5.0, 10.0, 9.0], "disc")

    def test_a_scaled_pair_has_no_region_of_another_size(self, save: Callable[..., Any]) -> None:
        small = torch.rand(1, 24, 32, 3)
        (record,) = self.records(save(edited=small, source=small.clone()))
        assert (record["regions"], record["width"], record["height"]) == ([], 32, 24)

    def test_pictures_from_the_browser_carry_the_workflow(
        self, pack: Any, folders: Path, sample: Any, repainted: np.ndarray
    ) -> None:
        from comfy_api.latest import io as comfy_io

        graph = {"1": {"class_type": "EditPairsSavePair", "inputs": {}}}
        hidden = {comfy_io.Hidden.prompt: graph, comfy_io.Hidden.extra_pnginfo: {"workflow": {"nodes": []}}}
        for given, texts in ((hidden, {"prompt": json.dumps(graph), "workflow": '{"nodes": []}'}), ({}, {})):
            output = pack.call("EditPairsSavePair", given, sample=sample, edited=image(repainted), instruction="")
            entry = self.records(output)[0]["output_images"][0]
            saved = Image.open(folders / "output" / entry["subfolder"] / entry["filename"])
            assert saved.text == texts


class TestWritingAside:
    """What a sink writes while ComfyUI goes on with other nodes."""

    def test_other_nodes_run_meanwhile(self, pack: Any) -> None:
        aside, goes_on = pack.part("files.saved").aside, threading.Event()

        async def prompt() -> list[bool]:
            sinks = [asyncio.create_task(aside(lambda: goes_on.wait(30))) for _ in range(2)]
            await asyncio.sleep(0)
            goes_on.set()
            return await asyncio.gather(*sinks)

        assert asyncio.run(prompt()) == [True, True]

    def test_what_breaks_off_a_prompt_leaves_samples_whole_that_were_being_written(self, pack: Any) -> None:
        aside, begun, written = pack.part("files.saved").aside, threading.Event(), []

        def write() -> None:
            begun.set()
            time.sleep(0.2)
            written.append("whole")

        async def prompt() -> None:
            sinks = [asyncio.create_task(aside(write)) for _ in range(5)]  # more than are written at a time
            while not begun.is_set():
                await asyncio.sleep(0.01)
            assert not any(sink.done() for sink in sinks)
            raise ValueError("another sample's node failed")

        with pytest.raises(ValueError, match="another sample's"):
            asyncio.run(prompt())
        assert written == ["whole"] * 5
