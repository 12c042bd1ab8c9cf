"""Calls go on while a prompt's loop is busy, stop when the user says so, and never crowd a service."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from types import ModuleType

import pytest

from comfy_nodes.vlm.endpoint import client
from tests.vlm.client.questions import WriteProfile, ask, kinds, question
from tests.vlm.endpoint import Endpoint, Hang, Say


def test_calls_dont_starve_beside_edits(write_profile: WriteProfile) -> None:
    """As ComfyUI runs a pack: an edit that blocks the loop, a call about its result, the next edit. The loop has one turn
    between two edits, and a call needs two: one to learn of its reply, one to go on. So a mean call takes at most as
    long as two edits (4 s for edits of 2 s); a client on this loop would take a turn for each step of HTTP."""
    edit_s, count = 0.4, 10
    with Endpoint(default=Say(after_s=edit_s / 2)) as endpoint:
        write_profile("default", endpoint.url)
        ask(question("warm"))

        async def prompt() -> list[float]:
            vlm = client.connect("default")

            async def call(number: int) -> float:
                begun = time.monotonic()
                assert kinds(await vlm.ask([question(f"q{number}")])) == ["answer"]
                return time.monotonic() - begun

            calls = []
            for number in range(count):
                time.sleep(edit_s)
                calls.append(asyncio.create_task(call(number)))
                await asyncio.sleep(0)
            return await asyncio.gather(*calls)

        seconds = asyncio.run(prompt())
    assert sum(seconds) / count <= 2 * edit_s


@pytest.fixture
def comfyui(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """ComfyUI's stop button, without the rest."""

    class InterruptProcessingException(BaseException):
        pass

    module = ModuleType("comfy.model_management")
    pressed = threading.Event()
    module.pressed = pressed  # type: ignore[attr-defined]
    module.processing_interrupted = pressed.is_set  # type: ignore[attr-defined]
    module.InterruptProcessingException = InterruptProcessingException  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "comfy.model_management", module)
    return module


def test_stop_ends_all_calls_within_a_second(write_profile: WriteProfile, comfyui: ModuleType) -> None:
    with Endpoint(default=Hang()) as endpoint:
        write_profile("default", endpoint.url, concurrency=4)
        threading.Timer(0.5, comfyui.pressed.set).start()
        begun = time.monotonic()
        with pytest.raises(comfyui.InterruptProcessingException):
            ask(*(question(f"q{number}") for number in range(12)))
        assert time.monotonic() - begun < 1.5
        time.sleep(0.3)
        assert endpoint.now == 0
        assert endpoint.gone_early == len(endpoint.requests) == 4
        comfyui.pressed.clear()
        # Neither a slot nor a claim is left behind.
        endpoint._default = Say()
        assert kinds(ask(*(question(f"q{number}") for number in range(12)))) == ["answer"] * 12


def test_a_prompt_that_ends_takes_its_calls_along(write_profile: WriteProfile) -> None:
    with Endpoint(default=Hang()) as endpoint:
        write_profile("default", endpoint.url)

        async def prompt() -> None:
            waiting = asyncio.create_task(client.connect("default").ask([question()]))
            while not endpoint.requests:
                await asyncio.sleep(0.02)
            assert not waiting.done()
            raise RuntimeError("another node failed")

        with pytest.raises(RuntimeError):
            asyncio.run(prompt())
        time.sleep(0.3)
        assert endpoint.now == 0


def test_one_of_two_that_wait_for_the_same_reply_may_go(write_profile: WriteProfile) -> None:
    with Endpoint(default=Say(after_s=1.2)) as endpoint:
        write_profile("default", endpoint.url)

        async def prompt() -> list[str]:
            vlm = client.connect("default")
            goes, stays = (asyncio.create_task(vlm.ask([question()])) for _ in range(2))
            while not endpoint.requests:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.3)
            goes.cancel()
            return kinds(await stays)

        assert asyncio.run(prompt()) == ["answer"]
        assert len(endpoint.requests) == 1


def test_all_prompts_and_nodes_share_a_profiles_slots(write_profile: WriteProfile) -> None:
    with Endpoint(default=Say(after_s=0.2)) as endpoint:
        write_profile("default", endpoint.url, concurrency=3)
        results: list[str] = []
        batches = [[question(f"{node}-{number}") for number in range(4)] for node in range(3)]
        nodes = [threading.Thread(target=lambda batch=batch: results.extend(kinds(ask(*batch)))) for batch in batches]
        begun = time.monotonic()
        for node in nodes:
            node.start()
        for node in nodes:
            node.join(20)
        assert results == ["answer"] * 12
        assert endpoint.most_at_once == 3
        assert 0.8 <= time.monotonic() - begun < 2.5


def test_requests_keep_their_pace(endpoint: Endpoint, write_profile: WriteProfile) -> None:
    write_profile("default", endpoint.url, requests_per_minute=600)
    ask(*(question(f"q{number}") for number in range(8)))
    starts = sorted(got.at for got in endpoint.requests)
    assert starts[-1] - starts[0] >= 0.65


def test_a_new_key_is_used_from_the_next_question_on(
    endpoint: Endpoint, write_profile: WriteProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_profile("default", endpoint.url)
    ask(question("one"))
    monkeypatch.setenv("SENTINEL_KEY", "another-key-0987")
    ask(question("two"))
    assert [got.headers["Authorization"][-4:] for got in endpoint.requests] == ["cdef", "0987"]
