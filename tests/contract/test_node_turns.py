"""Take Turn and what is behind it: a batch's turns, earlier ones on disk, classical results, and how a turn is filed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch, which ComfyUI brings, is not installed")

Make = Callable[..., Any]


def image(pixels: np.ndarray) -> Any:
    return torch.from_numpy(np.stack([pixels])).float() / 255


@pytest.fixture
def make(pack: Any, photo: np.ndarray, marked: np.ndarray) -> Make:
    """A batch's sample of a turn, as Load Edit Sample gives it out."""

    def sample(number: int = 1, op: str = "alter", target: str = "a blue disc", **changed: Any) -> Any:
        annotation, sockets = pack.part("core.regions.annotation"), pack.part("wires.sockets")
        turns, written = pack.part("core.instructions.turns"), pack.part("core.instructions.instructions")
        region = annotation.region_of_mask(marked, "disc")
        step = written.Step(op, "disc", 0, "", target, "Now make it blue.")
        writing = written.Writing(
            "Now make it blue.", "en", target, "", (step,), "", (region,), model="template", prompt_id="turns"
        )
        earlier = tuple(turns.Earlier(one, one - 1, "alter", f"Turn {one}.") for one in range(1, number))
        turn = turns.Turn("dial", "content_understanding", number, 3, number - 1, op, earlier=earlier)
        origin = annotation.Provenance(key=f"dial~{number - 1}", task=turn.task, source_id="a.png", source_path="a.png", source_sha256="0" * 64)  # fmt: skip
        known = sockets.EditSample(
            image(photo), turn.task, region, "Now make it blue.", 5, origin, writings=(writing,),
            further={"turn": turns.turn_json(turn)},
        )  # fmt: skip
        return replace(known, **changed)

    return sample


@pytest.fixture
def take(pack: Any) -> Make:
    return lambda sample: pack.call("EditPairsTakeTurn", sample=sample, turn=4, turns=0).result


def test_a_batchs_sample_says_which_turn_it_is(make: Make, take: Make, photo: np.ndarray) -> None:
    first = image(255 - photo)
    sample, picture, mask, boxes, op, instruction, dialogue, start = take(make(3, images={"start": first}))
    assert (sample.task, sample.turn.number, op) == ("alter", 3, "alter")
    assert torch.equal(picture, image(photo)) and torch.equal(start, first)
    assert mask.any() and len(boxes[0]) == 1
    assert (instruction, dialogue) == ("Now make it blue.", "1. Turn 1.\n2. Turn 2.\n3. Now make it blue.")
    assert torch.equal(take(make())[-1], image(photo))


def test_a_later_turn_shows_the_part_of_the_photo_that_the_first_took(pack: Any, make: Make, take: Make) -> None:
    turns, part = pack.part("core.instructions.turns"), (4.0, 2.0, 60.0, 40.0)
    known = make(2, images={"start": make().source})
    told = turns.turn_json(replace(turns.turn_of(known.further["turn"]), crop=part))
    assert take(replace(known, further={"turn": told}))[0].crop == part
    assert take(make(crop=part))[0].crop == part


def test_a_later_turn_needs_its_dialogues_first_picture(make: Make, take: Make) -> None:
    with pytest.raises(ValueError, match="put Load Second Image with role"):
        take(make(2))


def test_a_failed_sample_passes(pack: Any, make: Make, take: Make) -> None:
    failure = pack.part("core.records").SampleFailure("write", "NoReply", "nobody answered")
    sample, _, _, _, op, *_ = take(make(2, failure=failure))
    assert (sample.failure, op) == (failure, "")


@pytest.mark.parametrize(("number", "loads"), [(1, False), (2, True)])
def test_only_a_later_turn_loads_its_start(pack: Any, make: Make, folders: Path, number: int, loads: bool) -> None:
    given = pack.call(
        "EditPairsLoadSecondImage", sample=make(number), image="editpairs-samples/dahlia.png",
        role="start if its task needs it",
    ).result  # fmt: skip
    failed = given[0].failure  # a picture of another shape is no state of this photo
    assert (failed is not None and failed.error_type == "OtherShape") == loads


@pytest.mark.parametrize(
    ("node", "op", "target", "why"),
    [
        ("EditPairsClassicalRecolour", "alter", "a blue disc", ""),
        (
            "EditPairsClassicalRecolour",
            "alter",
            "a wooden disc",
            "the turn asks for 'a wooden disc', which takes a model",
        ),
        ("EditPairsClassicalReplace", "replace", "dahlia", ""),
        ("EditPairsClassicalReplace", "replace", "a dahlia in a vase", "which takes a model"),
    ],
)
def test_classical_edits_make_what_the_turn_asks_for(
    pack: Any, make: Make, take: Make, node: str, op: str, target: str, why: str
) -> None:
    taken, _, mask, *_ = take(make(1, op, target))
    widgets = {"colour": "by seed"} if op == "alter" else {"donor": "by seed"}
    done, after, changed, words = pack.call(node, sample=taken, mask=mask, language="zh", **widgets).result
    if why:
        assert why in done.failure.message and done.failure.skipped
        return
    assert done.failure is None, done.failure
    assert (words, done.writing, done.turn) == ("Now make it blue.", taken.writing, taken.turn)
    share = pack.part("classical.colour").share_called
    if op == "alter":
        assert share(pack.part("wires.tensors").to_bytes(after[0])[mask[0] > 0], "blue") > 0.5
    assert changed.any()


class TestSaving:
    @pytest.fixture
    def save(self, pack: Any, take: Make, folders: Path, photo: np.ndarray, marked: np.ndarray) -> Make:
        after = photo.copy()
        after[marked] = 255 - after[marked]

        def saved(sample: Any, **found: Any) -> Any:
            given = {"task": "", "restated": "", "voices": ("verifier",)} | found
            scores = pack.part("core.verdicts.verdicts").Scores({}, "keep", **given)
            output = pack.call(
                "EditPairsSavePair",
                sample=take(sample)[0],
                edited=image(after),
                scores={"score0": [scores]},
            )
            return pack.part("core.records").EditRecord.model_validate(output.ui["editpairs"][0])

        return saved

    def test_a_turn_is_filed_under_its_dialogues_task(self, make: Make, save: Make) -> None:
        record = save(make(2, images={"start": image(np.zeros((48, 64, 3), np.uint8))}))
        assert (record.key, record.task, record.made_as, record.verdict) == (
            "dial~1",
            "content_understanding",
            "",
            "keep",
        )
        assert (record.turn.dialogue, record.turn.number, record.turn.of, record.turn.base) == ("dial", 2, 3, 1)
        assert [one.op for one in record.regions] == ["alter"]

    def test_other_words_of_its_operation_are_its_own(self, make: Make, save: Make) -> None:
        record = save(make(), restated="Make it pale blue.")
        assert (record.verdict, record.prompt, record.task) == ("keep", "Make it pale blue.", "content_understanding")

    def test_another_operation_is_rejected_and_not_moved(self, make: Make, save: Make) -> None:
        record = save(make(), restated="Remove the disc.", task="remove")
        assert (record.task, record.made_as, record.prompt) == ("content_understanding", "", "Now make it blue.")
        assert record.verdict == "reject"
        assert record.reject_reason.endswith("the picture shows remove, and the turn is alter")

    def test_a_turn_that_goes_back_says_so_in_other_words_too(
        self, pack: Any, make: Make, save: Make, photo: np.ndarray
    ) -> None:
        told = make(3, images={"start": image(photo)})
        told = replace(told, further={"turn": {**told.further["turn"], "task": "version_backtracking", "base": 1}})
        record = save(told, restated="Make it pale blue.")
        assert record.verdict == "reject" and "does not say that it goes back" in record.reject_reason
        words = "Return to how it was after the first instruction, and make it pale blue."
        assert save(told, restated=words).prompt == words

    def test_a_turn_made_from_a_state_that_is_gone_does_not_count(
        self, pack: Any, make: Make, save: Make, photo: np.ndarray
    ) -> None:
        """Turn 2 begins with the photo, and turn 1 left another picture."""
        before = pack.part("files.dialogues").turns_before
        save(make())
        save(make(2, images={"start": image(photo)}))
        assert [one.record.key for one in before("editpairs", "dial", [0])] == ["dial~0"]
        with pytest.raises(ValueError, match=r"run turn 2 first: .* \(the turns before it were made anew since\)"):
            before("editpairs", "dial", [0, 1])
        assert len(before("editpairs", "dial", [0, 0])) == 2

    @pytest.mark.parametrize("gone", [True, False])
    def test_what_is_not_as_it_was_saved_says_so(
        self, pack: Any, make: Make, save: Make, tmp_path: Path, gone: bool
    ) -> None:
        folder, before = tmp_path / "output" / "editpairs", pack.part("files.dialogues").turns_before
        picture = folder / save(make()).output_images[0].filename
        picture.unlink() if gone else picture.write_bytes(picture.read_bytes()[:-1])
        with pytest.raises(ValueError, match=f"{picture.name} of turn 1 (is gone|was changed since it was saved): run"):
            before("editpairs", "dial", [0])
        record = next(folder.glob("dial-0-*[0-9a-f].json"))
        record.write_bytes(b"{}")
        with pytest.raises(ValueError, match=f"{record.name} in output/editpairs is no record any more"):
            before("editpairs", "dial", [0])
