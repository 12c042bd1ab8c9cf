"""Choose Edit by Operation: which branch runs, and which of the two pictures is the one before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

NODE = "EditPairsChooseOperation"
PHOTO = torch.zeros(1, 4, 6, 3)
MADE = torch.ones(1, 4, 6, 3)
MASK = torch.ones(1, 4, 6)
WIRED = {f"{way}{part}": None for way in ("erased", "replaced", "altered") for part in ("_sample", "", "_mask")}


@pytest.fixture
def node(pack: Any) -> Any:
    return pack.nodes[NODE]


@pytest.fixture
def sample(pack: Any) -> Any:
    origin = pack.part("core.regions.annotation").Provenance(
        key="k", source_id="a.png", source_path="a.png", source_sha256="0"
    )
    return pack.part("wires.sockets").EditSample(PHOTO, "alter", None, "Paint it blue.", 0, origin)


def failed(pack: Any, sample: Any) -> Any:
    failure = pack.part("core.records").SampleFailure("edit", "CannotAlter", "an editor that fills")
    return replace(sample, failure=failure)


@pytest.mark.parametrize(
    ("op", "way"), [("add", "erased"), ("remove", "erased"), ("replace", "replaced"), ("alter", "altered")]
)
def test_only_the_operations_branch_is_asked_for(node: Any, sample: Any, op: str, way: str) -> None:
    taken = replace(sample, task=op)
    assert node.check_lazy_status(sample=taken, image=PHOTO, **WIRED) == [f"{way}_sample"]
    known = {**WIRED, f"{way}_sample": taken}
    assert node.check_lazy_status(sample=taken, image=PHOTO, **known) == [way, f"{way}_mask"]
    assert node.check_lazy_status(sample=taken, image=PHOTO, **{**known, way: MADE, f"{way}_mask": MASK}) == []


def test_a_branch_without_a_sample_of_its_own_has_the_turns(node: Any, sample: Any) -> None:
    wired = {"altered": None, "altered_mask": None}
    assert node.check_lazy_status(sample=sample, image=PHOTO, **wired) == ["altered", "altered_mask"]


def test_a_failed_sample_runs_nothing(pack: Any, node: Any, sample: Any) -> None:
    gone = failed(pack, sample)
    assert node.check_lazy_status(sample=gone, image=PHOTO, **WIRED) == []
    given = pack.call(NODE, sample=gone, image=PHOTO, **WIRED).result
    assert given[0].failure == gone.failure and torch.equal(given[2], PHOTO) and not given[3].any()


def test_a_branch_that_cannot_make_it_runs_no_editor(pack: Any, node: Any, sample: Any) -> None:
    known = {**WIRED, "altered_sample": failed(pack, sample)}
    assert node.check_lazy_status(sample=sample, image=PHOTO, **known) == []
    assert pack.call(NODE, sample=sample, image=PHOTO, **known).result[0].failure.error_type == "CannotAlter"


def test_what_is_added_stands_in_the_picture_after(pack: Any, sample: Any) -> None:
    made = {"erased_sample": sample, "erased": MADE, "erased_mask": MASK}
    _, before, after, mask = pack.call(NODE, sample=replace(sample, task="add"), image=PHOTO, **made).result
    assert torch.equal(before, MADE) and torch.equal(after, PHOTO) and torch.equal(mask, MASK)
    _, before, after, _ = pack.call(NODE, sample=replace(sample, task="remove"), image=PHOTO, **made).result
    assert torch.equal(before, PHOTO) and torch.equal(after, MADE)


@pytest.mark.parametrize(("op", "said"), [("alter", "wire altered and altered_mask"), ("style", "no branch makes")])
def test_an_operation_without_a_branch_says_so(pack: Any, node: Any, sample: Any, op: str, said: str) -> None:
    taken = replace(sample, task=op)
    assert node.check_lazy_status(sample=taken, image=PHOTO, erased=None, erased_mask=None) == []
    failure = pack.call(NODE, sample=taken, image=PHOTO, erased=None, erased_mask=None).result[0].failure
    assert failure.error_type == "NoBranch" and said in failure.message
