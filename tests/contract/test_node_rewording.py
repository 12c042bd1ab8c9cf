"""Reword for Crop: what an editor in a crop is told reaches the text encoder and the record, or the reason why not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch, which ComfyUI brings, is not installed")

SIZE = (200, 100)


@pytest.fixture
def sample(pack: Any) -> Any:
    """A hybrid that a writer took apart: a cup and a lamp."""
    annotation, instructions = pack.part("core.regions.annotation"), pack.part("core.instructions.instructions")
    regions = []
    for name, left in (("cup", 10), ("lamp", 150)):
        mask = np.zeros(SIZE[::-1], dtype=bool)
        mask[60:90, left : left + 30] = True
        regions.append(annotation.region_of_mask(mask, name))
    steps = (
        instructions.Step("remove", "cup", 0, "Remove the cup in the lower-left of the image.", "plain ground"),
        instructions.Step("alter", "lamp", 1, "Paint the lamp in the lower-right of the image blue.", ""),
    )
    whole = "Remove the cup and paint the lamp blue."
    writing = instructions.Writing(whole, "en", "plain ground", whole, steps, regions=tuple(regions))
    origin = annotation.Provenance(key="k", source_id="a.png", source_path="a.png", source_sha256="0")
    photo = torch.zeros(1, SIZE[1], SIZE[0], 3)
    return pack.part("wires.sockets").EditSample(
        photo, "hybrid", regions[0], whole, 0, origin, also=(regions[1],), writings=(writing,)
    )


@pytest.fixture
def reword(pack: Any) -> Any:
    def call(sample: Any, step: int = 1, left: int = 0) -> Any:
        crop = pack.part("imaging.crops").Crop(left, 50, 50, 50, (64, 64))
        nothing = np.zeros(SIZE[::-1], dtype=bool)
        place = [pack.part("wires.sockets").Placement(np.zeros((*SIZE[::-1], 3), np.float32), crop, nothing, 0)]
        return pack.call("EditPairsRewordForCrop", sample=sample, place=place, step=step).result

    return call


def test_each_step_is_told_about_its_crop_and_the_record_says_so(reword: Any, sample: Any) -> None:
    first, told = reword(sample)
    assert first == "Remove the cup in the center of the image and reveal what is behind it: plain ground."
    second, told = reword(told, 2, left=140)
    assert second.startswith("Paint the lamp in the center of the image blue. Keep its shape")
    assert told.instruction == sample.instruction, "the row's words stay"
    assert [step.editor_prompt for step in told.writing.steps] == [first, second]
    assert told.writing.editor_prompt == f"{first} {second}"


def test_a_persons_words_are_reworded_too(reword: Any, sample: Any) -> None:
    typed = replace(sample, task="replace", instruction="Replace the cup with a jar.", writings=(), also=())
    words, told = reword(typed)
    assert words.startswith("Replace the cup in the center of the image with a jar.")
    assert (told.writing.editor_prompt, told.writing.model) == (words, "user")


@pytest.mark.parametrize(
    ("task", "words", "kind", "skipped"),
    [
        ("hybrid", "Remove the cup and paint the lamp blue.", "NotTakenApart", True),
        ("alter", "Make the left one shine.", "NoCommand", False),
    ],
)
def test_what_cannot_be_said_fails_the_sample(
    reword: Any, sample: Any, task: str, words: str, kind: str, skipped: bool
) -> None:
    typed = replace(sample, task=task, instruction=words, writings=(), also=())
    told, failed = reword(typed)
    assert (told, failed.failure.error_type, failed.failure.skipped) == ("", kind, skipped)
    assert reword(failed) == ("", failed), "the first reason stays"


def test_an_edit_of_the_whole_photo_has_no_crop(reword: Any, sample: Any) -> None:
    whole = replace(sample, task="style", region=None, also=(), writings=(), instruction="Make it a drawing.")
    with pytest.raises(ValueError, match="style edits the whole photo"):
        reword(whole)
