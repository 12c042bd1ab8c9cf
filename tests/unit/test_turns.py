"""Whose turn it is at a server that several stages share."""

from __future__ import annotations

import pytest

from driver.comfyui import shared
from driver.comfyui.shared import Turns


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(shared.time, "monotonic", lambda: now[0])
    return now


def test_it_is_one_stages_until_that_gives_it_back(clock: list[float]) -> None:
    turns = Turns()
    assert turns.take("edit", 5)
    clock[0] += 60
    assert turns.take("edit", 5)  # nobody else waits
    assert not turns.take("verify", 5)
    assert not turns.take("edit", 5), "its time is over, and another one waits"
    assert not turns.take("verify", 5), "what it posted is still there"
    turns.give("edit")
    assert not turns.take("edit", 5), "whoever waited comes first"
    assert turns.take("verify", 5)


def test_it_keeps_its_models_for_a_while(clock: list[float]) -> None:
    turns = Turns()
    assert turns.take("edit", 90)
    for _ in range(89):
        assert not turns.take("verify", 5)
        assert turns.take("edit", 90)
        clock[0] += 1
    clock[0] += 1
    assert not turns.take("verify", 5)
    assert not turns.take("edit", 90)


def test_who_waits_no_longer_is_not_waited_for(clock: list[float]) -> None:
    turns = Turns()
    assert turns.take("edit", 5)
    assert not turns.take("write", 5)
    assert not turns.take("verify", 5)
    clock[0] += 0.9
    assert not turns.take("verify", 5)
    clock[0] += 0.9
    turns.give("edit")
    assert turns.take("verify", 5), "write came before it and is through"


def test_whoever_waits_does_not_give_away_what_others_have(clock: list[float]) -> None:
    turns = Turns()
    assert turns.take("edit", 5)
    turns.give("verify")
    assert not turns.take("verify", 5)
