"""No question is paid for twice: not later, not at the same time, not by another server, not after a crash."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from comfy_nodes.core.services import profiles
from comfy_nodes.vlm.asking import Answer, Usage
from comfy_nodes.vlm.endpoint import cache
from tests.vlm.client.questions import Score, WriteProfile, ask, kinds, picture, question
from tests.vlm.endpoint import Endpoint, Say, Status

REPOSITORY = Path(__file__).resolve().parents[3]

SERVER = """
import sys, time
sys.path.insert(0, {root!r})
from tests.vlm.client.questions import ask, kinds, question
print("up", flush=True)
sys.stdin.readline()
print(kinds(ask(question("shared"))), flush=True)
"""


def another_server() -> subprocess.Popen[str]:
    """A process that asks the question `shared` when told to."""
    code = SERVER.format(root=str(REPOSITORY))
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_the_second_time_nothing_is_sent(endpoint: Endpoint, write_profile: WriteProfile) -> None:
    write_profile("default", endpoint.url)
    batch = [question(f"q{number}", images=(picture(seed=number),)) for number in range(8)]
    batch.append(question("plain", reply=None))
    first, second = ask(*batch), ask(*batch)
    assert kinds(second) == ["answer"] * 9
    assert len(endpoint.requests) == 9
    free = [replace(answer, cached=True, usage=Usage()) for answer in first if isinstance(answer, Answer)]
    assert second == free


DIFFERENT = {
    "text": {"user": "same other"},
    "system": {"system": "other"},
    "picture": {"images": (picture(seed=9),)},
    "order": {"images": (picture(), picture(seed=1))[::-1]},
    "seed": {"seed": 1},
    "length": {"max_tokens": 9},
    "temperature": {"temperature": 0.5},
    "shape": {"reply": None},
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_another_question_is_asked(what: str, endpoint: Endpoint, write_profile: WriteProfile) -> None:
    write_profile("default", endpoint.url)
    base = question("same", images=(picture(), picture(seed=1)))
    ask(base)
    ask(replace(base, **DIFFERENT[what]))
    assert len(endpoint.requests) == 2


def test_so_is_another_version_model_or_service_but_not_another_price() -> None:
    profile = profiles.Profile(name="a", base_url="http://localhost/v1", model="m")
    asked = question()
    same = [profile.model_copy(update=change) for change in ({"name": "b"}, {"concurrency": 2}, {"key_variable": "B"})]
    assert {cache.key(one, asked, ()) for one in same} == {cache.key(profile, asked, ())}
    changes = ({"model": "n"}, {"base_url": "http://localhost/v2"}, {"json_mode": "prompt"}, {"max_image_pixels": 800})
    others = [profile.model_copy(update=change) for change in changes]
    keys = {cache.key(one, asked, ()) for one in [profile, *others]} | {
        cache.key(profile, replace(asked, prompt_version="2"), ())
    }
    assert len(keys) == 6


def test_failures_are_not_kept(write_profile: WriteProfile) -> None:
    with Endpoint({"late": [Status(400), Say()]}) as endpoint:
        write_profile("default", endpoint.url)
        assert kinds(ask(question("late")) + ask(question("late"))) == ["VlmBadRequest", "answer"]


def test_equal_questions_at_the_same_time_are_one(write_profile: WriteProfile) -> None:
    with Endpoint(default=Say(after_s=0.3)) as endpoint:
        write_profile("default", endpoint.url)
        results = ask(*[question("same")] * 10)
        assert kinds(results) == ["answer"] * 10
        assert len(endpoint.requests) == 1
        assert sum(result.usage.prompt_tokens for result in results if isinstance(result, Answer)) == 1000


def test_of_two_servers_one_asks(write_profile: WriteProfile) -> None:
    with Endpoint(default=Say(after_s=1.0)) as endpoint:
        write_profile("default", endpoint.url)
        servers = [another_server() for _ in range(2)]
        for server in servers:
            go(server)
        assert [server.communicate(timeout=30)[0] for server in servers] == ["['answer']\n"] * 2
        assert len(endpoint.requests) == 1


def test_a_killed_server_leaves_its_replies_and_blocks_nobody(write_profile: WriteProfile, account: Path) -> None:
    with Endpoint({"shared": [Say(after_s=3600), Say()]}) as endpoint:
        write_profile("default", endpoint.url)
        server = another_server()
        go(server)
        deadline = time.monotonic() + 20
        while not endpoint.requests and time.monotonic() < deadline:
            time.sleep(0.02)
        ask(question("done"))
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        # As long after as a claim lasts.
        with sqlite3.connect(account / "cache" / cache.FILE) as db:
            assert db.execute("UPDATE claims SET until = 0").rowcount == 1
        assert kinds(ask(question("shared"), question("done"))) == ["answer"] * 2
        assert [len(endpoint.asked(word)) for word in ("shared", "done")] == [2, 1]


def test_a_claim_is_kept_alive_while_its_question_is_asked(
    write_profile: WriteProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "LEASE_S", 0.4)
    monkeypatch.setattr(cache, "HEARTBEAT_S", 0.1)
    with Endpoint(default=Say(after_s=1.5)) as endpoint:
        write_profile("default", endpoint.url)
        server = another_server()

        async def both() -> object:
            ours = asyncio.create_task(asyncio.to_thread(ask, question("shared")))
            await asyncio.sleep(1.0)
            go(server)
            return await ours

        asyncio.run(both())
        assert server.communicate(timeout=30)[0] == "['answer']\n"
        assert len(endpoint.requests) == 1


def test_a_damaged_file_is_set_aside_in_one_line(
    endpoint: Endpoint, write_profile: WriteProfile, account: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (account / "cache").mkdir()
    (account / "cache" / cache.FILE).write_bytes(b"this is no database" * 400)
    write_profile("default", endpoint.url)
    assert kinds(ask(question()) + ask(question())) == ["answer"] * 2
    assert len(endpoint.requests) == 1
    assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1
    assert len(list((account / "cache").glob(f"{cache.FILE}.damaged-*"))) == 1


def test_a_file_that_is_damaged_while_in_use_costs_no_answer(
    endpoint: Endpoint, write_profile: WriteProfile, account: Path
) -> None:
    write_profile("default", endpoint.url)
    ask(*(question(f"q{number}") for number in range(50)))
    file = account / "cache" / cache.FILE
    cache.open_cache()._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]
    file.write_bytes(b"\0" * file.stat().st_size)
    assert kinds(ask(*(question(f"q{number}") for number in range(60)))) == ["answer"] * 60
    assert kinds(ask(question("q59"))) == ["answer"]


def test_no_folder_costs_a_warning_and_no_answer(
    endpoint: Endpoint, write_profile: WriteProfile, account: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (account / "cache").write_text("a file where the folder should be")
    write_profile("default", endpoint.url)
    assert kinds(ask(question("a"), question("b"))) == ["answer"] * 2
    assert "replies are not kept" in caplog.text


def test_the_oldest_are_dropped(
    endpoint: Endpoint, write_profile: WriteProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_profile("default", endpoint.url)
    for number in range(6):
        ask(question(f"q{number}"))
    monkeypatch.setattr(cache, "MOST_REPLIES", 4)
    cache.open_cache().close()
    ask(question("q5"))
    ask(question("q0"))
    assert [len(endpoint.asked(word)) for word in ("q0", "q5")] == [2, 1]


def test_a_kept_reply_that_no_longer_fits_is_asked_for_anew(
    endpoint: Endpoint, write_profile: WriteProfile, account: Path
) -> None:
    write_profile("default", endpoint.url)
    ask(question())
    with sqlite3.connect(account / "cache" / cache.FILE) as db:
        db.execute("UPDATE replies SET value = ?", (json.dumps({"score": 99}),))
    (answer,) = ask(question())
    assert isinstance(answer, Answer) and answer.value == Score(score=7, reason="it is so")
    assert len(endpoint.requests) == 2


def test_a_kept_reply_that_was_broken_off_is_asked_for_anew(write_profile: WriteProfile) -> None:
    """An earlier version mended and kept such."""
    with Endpoint() as endpoint:
        write_profile("default", endpoint.url)
        asked = question()
        kept = cache.CachedReply("tiny", '{"score": 7, "reason": "it is', '{"score": 7, "reason": "it is"}')
        cache.open_cache().put(cache.key(profiles.find("default"), asked, ()), "test", kept)
        (answer,) = ask(asked)
        assert isinstance(answer, Answer) and not answer.cached
        assert answer.value == Score(score=7, reason="it is so")
