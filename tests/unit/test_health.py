"""A slow server and a dead one, and one that is ill and one that is not."""

from __future__ import annotations

from driver.engine.health import (
    FIRST_SECONDS,
    LONGEST_REST,
    MAX_SERVER_FAULTS,
    SICK_AFTER,
    ZOMBIE_SECONDS,
    Health,
    Pulse,
)


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


def faulty(faults: int) -> Health:
    health = Health()
    for _ in range(faults):
        health.fault()
    return health


def test_faults_in_a_row_suspend_a_server_beside_others_and_end_the_run_of_one_alone() -> None:
    assert [faulty(SICK_AFTER + more).suspended(alone=False) for more in (0, 1)] == [False, True]
    assert [faulty(MAX_SERVER_FAULTS + more).given_up(alone=True) for more in (0, 1)] == [False, True]
    many = faulty(100)
    assert (many.suspended(alone=True), many.given_up(alone=False)) == (False, False)


def test_faults_over_one_sample_are_counted_and_speak_against_nobody() -> None:
    health = Health()
    for _ in range(100):
        health.fault(ill=False)
    assert (health.faults, health.given_up(alone=True), health.suspended(alone=False)) == (100, False, False)


def test_a_finished_sample_ends_every_row_and_is_not_forgotten_as_a_fault() -> None:
    health = faulty(100)
    for number in range(100):
        health.error()
        health.doubt(f"k{number}", "why", alone=True)
    assert (health.given_up(True), health.mistrusted(True), health.fails_everything(False)) == (True, True, True)
    health.finished_sample()
    assert (health.given_up(True), health.mistrusted(True), health.fails_everything(False)) == (False, False, False)
    assert health.faults == 100


def test_samples_with_trouble_of_their_own_make_a_server_rest_once() -> None:
    health = Health()
    for number in range(SICK_AFTER):
        health.doubt(f"k{number}", "why", alone=False)
        health.doubt(f"k{number}", "the same sample", alone=False)
    assert health.due_for_rest() == ""
    health.doubt("another", "why", alone=False)
    assert (health.due_for_rest(), health.due_for_rest()) == ("why", "")


def test_a_rest_is_the_longer_the_more_went_wrong_up_to_a_minute() -> None:
    assert [faulty(faults).rest_seconds() for faults in (1, 2, 3, 100)] == [2, 4, 8, LONGEST_REST]
