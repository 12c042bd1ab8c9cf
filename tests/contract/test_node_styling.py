"""Pick Style: who decides on the style, and what the record will say."""

from __future__ import annotations

from typing import Any

import pytest

NODE = "EditPairsPickStyle"


@pytest.fixture
def pick(pack: Any) -> Any:
    return pack.nodes[NODE]


def load(pack: Any, instruction: str = "", seed: int = 0) -> Any:
    return pack.call(
        "EditPairsLoadSample", image="editpairs-samples/china.jpg", task="style", region_index=0, seed=seed,
        instruction=instruction,
    ).result[0]  # fmt: skip


def test_there_are_at_least_twenty(pick: Any) -> None:
    options = next(one for one in pick.GET_SCHEMA().inputs if one.id == "style").options
    assert len(set(options) - {"from the sample", "by the seed"}) >= 20


def test_an_instruction_goes_before_the_list(pack: Any) -> None:
    sample = load(pack, "Make it a fresco.")
    given = pack.call(NODE, sample=sample, style="from the sample").result
    assert given[0] is sample
    assert given[1] == "Make it a fresco."
    assert given[2].startswith("A many-sided Chinese pagoda"), "a caption: what the photo shows, and how it looks"
    assert given[2].endswith("at the left, a fresco")


def test_a_caption_that_is_wired_goes_before_the_annotations(pack: Any) -> None:
    assert (
        pack.call(NODE, sample=load(pack), style="mosaic", caption=" A pagoda. ")
        .result[2]
        .startswith("A pagoda, a mosaic, ")
    )


def test_a_command_is_no_caption(pack: Any) -> None:
    """Nobody has the model paint 'nicer': the sample fails with the reason."""
    sample = pack.call(NODE, sample=load(pack, "Nicer, please."), style="from the sample").result[0]
    assert sample.failure.error_type == "NoCaption"
    assert "'Nicer, please.' does not say what the picture looks like afterwards" in sample.failure.message


def test_a_named_style_goes_before_the_instruction(pack: Any) -> None:
    sample, instruction, prompt = pack.call(NODE, sample=load(pack, "Make it a fresco."), style="mosaic").result
    assert instruction == sample.instruction == "Turn the photo into a mosaic."
    assert ", a mosaic, " in prompt
    assert sample.writing.steps[0].op == "style"
    assert (sample.writing.model, sample.writing.prompt_id) == ("template", "styles")


def test_seeds_draw_different_styles_and_the_same_one_again(pack: Any) -> None:
    drawn = [
        pack.call(NODE, sample=load(pack, seed=seed), style="from the sample").result[1]
        for seed in (*range(8), *range(8))
    ]
    assert drawn[:8] == drawn[8:]
    assert len(set(drawn)) > 3
