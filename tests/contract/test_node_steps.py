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
    annotation, instructions = pack.part("core.annotation"), pack.part("core.instructions")
    regions = []
    for left in (2, 22):
        mask = np.zeros(SIZE[::-1], dtype=bool)
        mask[5:15, left : left + 10] = True
        regions.append(annotation.region_of_mask(mask, f"thing at {left}"))
    steps = (
        instructions.Step("remove", "thing", 0, "Remove the left one.", "plain ground"),
        instructions.Step("alter", "thing", 1, "Turn the thing blue.", ""),
    )
    whole = "Remove the left one and turn the thing blue."
    writing = instructions.Writing(whole, "en", "plain ground", whole, steps, regions=tuple(regions))
    origin = annotation.Provenance(key="k", source_id="a.png", source_path="a.png", source_sha256="0")
    return pack.part("sockets").EditSample(
        torch.zeros(1, SIZE[1], SIZE[0], 3),
        "hybrid",
        regions[0],
        whole,
        0,
        origin,
        also=(regions[1],),
        writings=(writing,),
    )


def test_each_step_has_its_own_region_and_words(pack: Any, sample: Any) -> None:
    first = pack.call("EditPairsTakeStep", sample=sample, step=1).result
    assert (first[0], first[4], first[5]) == ("remove", "Remove the left one.", "plain ground")
    op, mask, boxes, _, prompt, target, removal, _ = pack.call("EditPairsTakeStep", sample=sample, step=2).result
    assert (op, prompt, target, removal) == ("alter", "Turn the thing blue.", "thing, blue", "")
    assert mask[0, 10, 25] == 1 and mask[0, 10, 5] == 0
    assert boxes


def test_step_0_is_the_whole_edit(pack: Any, sample: Any) -> None:
    op, mask, _, _, prompt, *_ = pack.call("EditPairsTakeStep", sample=sample, step=0).result
    assert mask[0, 10, 25] == mask[0, 10, 5] == 1, "the regions of both steps"
    assert (op, prompt) == ("hybrid", "Remove the left one and turn the thing blue.")


def test_a_step_that_is_not_there_is_an_error(pack: Any, sample: Any) -> None:
    with pytest.raises(ValueError, match="the edit has 2 steps, and step 3 is asked for"):
        pack.call("EditPairsTakeStep", sample=sample, step=3)


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


def test_a_command_is_no_caption_and_fails_what_paints_from_one(pack: Any, sample: Any) -> None:
    typed = replace(sample, task="replace", instruction="Something nicer, please.", writings=())
    *_, prompt, target, removal, painted = pack.call("EditPairsTakeStep", sample=typed, step=1).result
    assert (prompt, target, removal) == ("Something nicer, please.", "", "")
    assert painted.failure.error_type == "NoCaption"
    assert "'Something nicer, please.' does not say what is to be seen afterwards" in painted.failure.message
    typed = replace(typed, instruction="Replace the thing with a clay pot.")
    assert pack.call("EditPairsTakeStep", sample=typed, step=1).result[5] == "a clay pot"
