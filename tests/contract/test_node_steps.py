"""Take Edit Step and Load Second Image: one operation of several, and the picture that belongs to a photo."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch, which ComfyUI brings, is not installed")

SIZE = (40, 30)


@pytest.fixture
def sample(pack: Any) -> Any:
    annotation, instructions = pack.part("core.regions.annotation"), pack.part("core.instructions.instructions")
    regions = []
    for left in (2, 22):
        mask = np.zeros(SIZE[::-1], dtype=bool)
        mask[5:15, left : left + 10] = True
        regions.append(annotation.region_of_mask(mask, f"thing at {left}"))
    steps = (
        instructions.Step("remove", "thing", 0, "Remove the left one.", "plain ground"),
        instructions.Step("alter", "thing", 1, "Paint the right one blue.", ""),
    )
    whole = "Remove the left one and paint the right one blue."
    writing = instructions.Writing(whole, "en", "plain ground", whole, steps, regions=tuple(regions))
    origin = annotation.Provenance(key="k", source_id="a.png", source_path="a.png", source_sha256="0")
    return pack.part("wires.sockets").EditSample(
        torch.zeros(1, SIZE[1], SIZE[0], 3),
        "hybrid",
        regions[0],
        whole,
        0,
        origin,
        also=(regions[1],),
        writings=(writing,),
    )


@pytest.fixture
def take(pack: Any) -> Any:
    return lambda sample, step=1, **more: pack.call("EditPairsTakeStep", sample=sample, step=step, **more).result[:7]


def typed(sample: Any, task: str, words: str) -> Any:
    """The sample with a person's words and nobody's writing."""
    return replace(sample, task=task, instruction=words, writings=(), also=())


def test_each_step_has_its_own_region_and_words(take: Any, sample: Any) -> None:
    first = take(sample)
    assert (first[0], first[4], first[5]) == ("remove", "Remove the left one.", "plain ground")
    op, mask, boxes, _, prompt, target, same = take(sample, 2)
    assert (op, prompt, target) == ("alter", "Paint the right one blue.", ""), "a command is no target"
    assert same is sample
    assert mask[0, 10, 25] == 1 and mask[0, 10, 5] == 0
    assert boxes


def test_step_0_is_the_whole_edit(take: Any, sample: Any) -> None:
    op, mask, _, _, prompt, *_ = take(sample, 0)
    assert mask[0, 10, 25] == mask[0, 10, 5] == 1, "the regions of both steps"
    assert (op, prompt) == ("hybrid", "Remove the left one and paint the right one blue.")


def test_of_an_edit_that_was_made_nobody_knows_the_steps_any_more(take: Any, sample: Any) -> None:
    made = replace(typed(sample, "hybrid", sample.instruction), also=sample.also, carried={"models": []})
    mask = take(made, 0)[1]
    assert mask[0, 10, 25] == mask[0, 10, 5] == 1, "it is about all of its regions"
    assert take(replace(made, task="extract", also=()), 0)[1].any() == False, "what is cut out stays nowhere"  # noqa: E712
    assert take(replace(made, task="verify"), 0)[1].any(), "a region marked for an edit of an unknown kind"


def test_a_step_that_is_not_there_is_an_error(take: Any, sample: Any) -> None:
    with pytest.raises(ValueError, match="the edit has 2 steps, and step 3 is asked for"):
        take(sample, 3)


def test_a_model_that_fills_is_told_what_is_to_be_seen_and_the_record_says_so(take: Any, sample: Any) -> None:
    words = "Replace the thing with a white lighthouse."
    *_, prompt, target, done = take(typed(sample, "replace", words), editor="fills the region")
    assert (prompt, target) == (words, "a white lighthouse")
    assert (done.instruction, done.writing.editor_prompt, done.failure) == (words, "a white lighthouse", None)


@pytest.mark.parametrize("task", ["add", "remove"])
def test_where_a_thing_is_erased_the_ground_is_seen(take: Any, sample: Any, task: str) -> None:
    """The writer's, or else the constant."""
    assert take(sample, editor="fills the region")[5] == "plain ground"
    *_, target, done = take(typed(sample, task, "Do it with the thing."), editor="fills the region", ground="lawn")
    assert target == done.writing.editor_prompt == "lawn"


def test_a_model_that_fills_cannot_alter(take: Any, sample: Any) -> None:
    failure = take(sample, 2, editor="fills the region")[-1].failure
    assert failure.error_type == "CannotAlter" and failure.skipped and "alter or instruct" in failure.message
    led = typed(sample, "alter", "Make the thing at 2 red.")
    assert take(led, editor="repaints the region")[5] == "thing at 2, red"


def test_words_that_do_not_tell_fail_the_sample_with_that_reason(take: Any, sample: Any) -> None:
    unclear = typed(sample, "replace", "I would rather have something else there.")
    *_, target, failed = take(unclear, editor="fills the region")
    assert target == "" and failed.failure.error_type == "NoCaption" and not failed.failure.skipped
    assert "nothing says what is to be seen after 'I would rather" in failed.failure.message
    assert take(failed, editor="fills the region")[-1] is failed


def test_a_language_model_says_what_is_to_be_seen(pack: Any, take: Any, sample: Any) -> None:
    """One that answers with a command is asked again; the reason of one that never answers well travels on."""
    asking, replies = pack.part("vlm.asking"), pack.part("core.instructions.shapes")

    class Model:
        def __init__(self, *answers: str) -> None:
            self.answers = list(answers)

        async def ask(self, questions: Any) -> Any:
            texts = [self.answers.pop(0) for _ in questions]
            return [asking.Answer(one, replies.Result(target=one), "stub", "1") for one in texts]

    wish = typed(sample, "replace", "I would rather have a tall tree there.")
    told = take(wish, editor="fills the region", vlm=Model("Replace it with a tree", "a tall tree"))
    assert told[5] == told[-1].writing.editor_prompt == "a tall tree"
    stubborn = take(wish, editor="fills the region", vlm=Model(*["Replace it with a tree"] * 5))
    assert "it is a command" in stubborn[-1].failure.message


@pytest.mark.parametrize(("size", "fits"), [((40, 30), True), ((80, 60), True), ((40, 31), False)])
def test_an_edit_is_brought_to_the_photos_size_or_refused(
    pack: Any, sample: Any, size: tuple[int, int], fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import folder_paths

    path = tmp_path / "edited.png"
    Image.new("RGB", size, (10, 20, 30)).save(path)
    monkeypatch.setattr(folder_paths, "get_annotated_filepath", lambda _name: str(path))
    given, image = pack.call("EditPairsLoadSecondImage", sample=sample, image="edited.png", role="edited").result
    if fits:
        assert given.failure is None and given.images["edited"] is image
        assert tuple(image.shape[1:3]) == (SIZE[1], SIZE[0])
    else:
        assert given.failure.error_type == "OtherShape" and given.failure.skipped and "40 x 31" in given.failure.message
    reference, image = pack.call("EditPairsLoadSecondImage", sample=replace(sample), image="x", role="reference").result
    assert reference.failure is None and tuple(image.shape[1:3]) == size[::-1], "a reference may have any size"


@pytest.mark.parametrize(
    ("task", "subtask", "role", "loaded"),
    [
        ("motion", "", "frame2", True),
        ("motion", "scaleedit/2.4_action_editing", "frame2", False),
        ("visual", "", "reference", True),
        ("visual", "", "frame2", False),
        ("alter", "", "reference", False),
    ],
)
def test_a_graph_of_several_tasks_loads_what_a_kind_is_made_with(
    task: str, subtask: str, role: str, loaded: bool, pack: Any, sample: Any, folders: Path
) -> None:
    Image.new("RGB", SIZE, (200, 40, 30)).save(folders / "input" / "second.png")
    asked = replace(sample, task=task, provenance=sample.provenance.model_copy(update={"subtask": subtask}))
    inputs = {"sample": asked, "image": "second.png", "role": f"{role} if its task needs it"}
    out, picture = pack.call("EditPairsLoadSecondImage", **inputs).result
    assert (role in out.images, out.failure) == (loaded, None)
    assert bool(picture.any()) == loaded, "else the photo, which is black"
