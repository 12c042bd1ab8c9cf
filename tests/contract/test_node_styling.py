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
    assert given[1:] == ("Make it a fresco.", "Make it a fresco.")


def test_a_named_style_goes_before_the_instruction(pack: Any) -> None:
    sample, instruction, prompt = pack.call(NODE, sample=load(pack, "Make it a fresco."), style="mosaic").result
    assert instruction == sample.instruction == "Turn the photo into a mosaic."
    assert prompt.startswith("a mosaic, ")
    assert sample.writing.steps[0].op == "style"
    assert (sample.writing.model, sample.writing.prompt_id) == ("template", "styles")


def test_seeds_draw_different_styles_and_the_same_one_again(pack: Any) -> None:
    drawn = [
        pack.call(NODE, sample=load(pack, seed=seed), style="from the sample").result[1]
        for seed in (*range(8), *range(8))
    ]
    assert drawn[:8] == drawn[8:]
    assert len(set(drawn)) > 3
