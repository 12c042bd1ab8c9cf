"""A slow server and a dead one."""

from __future__ import annotations

from driver.engine.health import FIRST_SECONDS, ZOMBIE_SECONDS, Pulse


def warm(gaps: list[float]) -> tuple[Pulse, float]:
    pulse, now = Pulse(0.0), 0.0
    for gap in gaps:
        now += gap
        pulse.beat(now)
    pulse.finished()
    return pulse, now


def test_a_server_that_moves_is_alive_however_long_its_prompt() -> None:
    pulse, now = warm([1.0] * 5000)
    assert not pulse.stopped(now + ZOMBIE_SECONDS - 1)
    assert pulse.stopped(now + ZOMBIE_SECONDS + 1)


def test_slow_nodes_make_it_patient() -> None:
    pulse, now = warm([30.0] * 40)
    assert not pulse.stopped(now + 149)
    assert pulse.stopped(now + 151)


def test_steps_within_nodes_do_not_make_it_impatient() -> None:
    pulse, now = warm([30.0] * 10 + [0.05] * 900)
    assert not pulse.stopped(now + 149)


def test_models_may_load_for_long_before_the_first_prompt_ends() -> None:
    pulse = Pulse(0.0)
    assert not pulse.stopped(FIRST_SECONDS - 1)
    assert pulse.stopped(FIRST_SECONDS + 1)


def test_silence_without_work_means_nothing() -> None:
    pulse, now = warm([1.0] * 10)
    pulse.rest(now + 10_000)
    assert not pulse.stopped(now + 10_001)
