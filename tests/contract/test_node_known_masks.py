"""Prefer Known Mask: which of the two masks, and whether the other one is computed at all."""

from __future__ import annotations

from typing import Any

import pytest
import torch

NODE = "EditPairsPreferKnownMask"

MARKED = torch.zeros(1, 4, 4)
MARKED[0, 1, 1] = 1
OTHER = torch.ones(1, 4, 4)
EMPTY = torch.zeros(1, 4, 4)


@pytest.fixture
def prefer(pack: Any) -> Any:
    return pack.nodes[NODE]


def test_a_known_mask_spares_the_other(prefer: Any) -> None:
    assert prefer.check_lazy_status(mask=MARKED, otherwise=None) == []
    assert torch.equal(prefer.execute(MARKED).result[0], MARKED)


def test_an_empty_one_asks_for_the_other(prefer: Any) -> None:
    assert prefer.check_lazy_status(mask=EMPTY, otherwise=None) == ["otherwise"]
    assert torch.equal(prefer.execute(EMPTY, OTHER).result[0], OTHER)


def test_nothing_is_asked_of_a_muted_segmenter(prefer: Any) -> None:
    assert prefer.check_lazy_status(mask=EMPTY) == []
    assert torch.equal(prefer.execute(EMPTY).result[0], EMPTY)


def test_a_batch_is_looked_at_one_by_one(prefer: Any) -> None:
    both = torch.cat([MARKED, EMPTY])
    assert prefer.check_lazy_status(mask=both, otherwise=None) == ["otherwise"]
    given = prefer.execute(both, OTHER).result[0]
    assert torch.equal(given, torch.cat([MARKED, OTHER]))
