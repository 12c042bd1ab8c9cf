"""Every fault ends as a failure of its own kind, in bounded time, and the other questions of its batch are answered."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from comfy_nodes.core.instructions.shapes import ObjectEdit, several
from comfy_nodes.core.services import budget, profiles, redaction
from comfy_nodes.vlm.asking import Answer, Failure
from comfy_nodes.vlm.endpoint import cache, client, service
from tests.unit.loopback import free_port
from tests.vlm.client.questions import KEY, Score, WriteProfile, ask, kinds, picture, question, size_of
from tests.vlm.endpoint import Deed, Drip, Endpoint, Hang, Raw, Reset, Say, Status

CUT = '{"score": 4, "reason": "becau'
CREDIT = '{"error": {"code": 402, "message": "No credit is left"}}'
IN_CHOICE = (
    '{"choices": [{"message": {"content": ""}, "finish_reason": "error", "error": {"code": %s, "message": "so"}}]}'
)
MOST = 100_000
BOMB = gzip.compress(b" " * 2**24)

LARGE = "Invalid image: its size exceeds the maximum of 1 MB"
SLOW = {"Retry-After": "300"}

FAULTS: dict[str, tuple[Deed, str, int]] = {
    # the deed, the kind of failure, how many requests it takes
    "empty": (Say(""), "VlmEmptyReply", 1),
    "nothing": (Say(None), "VlmEmptyReply", 1),
    "thoughts": (Say("<think>well"), "VlmEmptyReply", 1),
    "refusal": (Say("I’m sorry, but I can’t help with that."), "VlmRefusal", 1),  # noqa: RUF001
    "chinese-refusal": (Say("抱歉，我无法满足这个请求。"), "VlmRefusal", 1),  # noqa: RUF001
    "said-refusal": (Say(None, refusal="no"), "VlmRefusal", 1),
    "filtered": (Say("", finish="content_filter"), "VlmRefusal", 1),
    "prose": (Say("A fine picture of a dog."), "VlmNotJson", 2),
    "list": (Say("[1, 2]"), "VlmNotJson", 2),
    "shape": (Say('{"score": 99, "reason": "x"}'), "VlmWrongShape", 2),
    "lacking": (Say('{"score": 4}'), "VlmWrongShape", 2),
    "cut": (Say(CUT, finish="length"), "VlmCutOff", 1),
    "cut-said-whole": (Say(CUT), "VlmCutOff", 2),
    "cut-in-silence": (Say(CUT, finish=None), "VlmCutOff", 2),
    "cut-behind-an-item": (Say('{"score": 4, "reason": "r", "more": [{"a": "b"}', finish=None), "VlmCutOff", 2),
    "aborted": (Say(CUT, finish="abort"), "VlmServerError", 2),
    "ended-strangely": (Say(finish="because"), "VlmServerError", 2),
    "answers": (Say('{"score": 4, "reason": "r"} or {"score": 5, "reason": "r"}'), "VlmNotJson", 2),
    "twice": (Say('{"score": 4, "reason": "r", "score": 5}'), "VlmNotJson", 2),
    "inner-402": (Raw(CREDIT), "VlmRateLimited", 1),
    "inner-401": (Raw(IN_CHOICE % 401), "VlmUnauthorised", 1),
    "inner-429": (Raw(IN_CHOICE % '"429"'), "VlmRateLimited", 2),
    "inner-502": (Raw(IN_CHOICE % 502), "VlmServerError", 2),
    "inner-name": (Raw(IN_CHOICE % '"insufficient_quota"'), "VlmRateLimited", 1),
    "inner-word": (Raw('{"error": "the provider failed"}'), "VlmServerError", 2),
    "402": (Status(402), "VlmRateLimited", 1),
    "no-choice": (Raw('{"choices": []}'), "VlmEmptyReply", 2),
    "endless": (Raw(" " * (MOST + 1)), "VlmServerError", 1),
    "bomb": (Raw(BOMB, headers={"Content-Encoding": "gzip"}), "VlmServerError", 1),
    "400": (Status(400, "no such parameter"), "VlmBadRequest", 1),
    "401": (Status(401, f"Incorrect API key provided: {KEY}"), "VlmUnauthorised", 1),
    "403": (Status(403), "VlmUnauthorised", 1),
    "404": (Status(404, "no such model"), "VlmNoModel", 1),
    "302": (Status(302, headers={"Location": "http://192.0.2.1/"}), "VlmConnection", 1),
    "429": (Status(429), "VlmRateLimited", 2),
    "429-for-long": (Status(429, headers=SLOW), "VlmRateLimited", 1),
    "429-no-credit": (Status(429, error_code="insufficient_quota"), "VlmRateLimited", 1),
    "500": (Status(500, f"Bearer {KEY} crashed"), "VlmServerError", 2),
    "html": (Raw("<html>gateway</html>", "text/html"), "VlmServerError", 2),
    "broken-json": (Raw('{"id": '), "VlmServerError", 2),
    "gateway": (Raw('{"msg": "success", "response": "7"}'), "VlmServerError", 2),
    "parts": (Raw('{"choices": [{"message": {"content": [1]}}]}'), "VlmServerError", 2),
    "hang": (Hang(), "VlmTimeout", 2),
    "drip": (Drip(), "VlmTimeout", 2),
    "reset": (Reset(), "VlmConnection", 2),
    "413": (Status(413), "VlmImageTooLarge", 2),
    "400-large": (Status(400, LARGE), "VlmImageTooLarge", 2),
}


def test_each_ends_as_its_own_kind_and_the_rest_is_answered(
    write_profile: WriteProfile, account: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, with a key that is then looked for in everything that was written or said."""
    monkeypatch.setattr(service, "MOST_BYTES", MOST)
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "httpx2", "httpx", "aiohttp.client"):
        caplog.set_level(logging.DEBUG, logger=name)
    echo = Say('{"score": 1, "reason": "sent {authorization}"}')
    deeds: dict[str, list[Deed]] = {word: [deed] for word, (deed, _, _) in FAULTS.items()}
    with Endpoint({**deeds, "echo": [echo]}) as endpoint:
        # A second is enough for replies and short for hangs; a slot each, so that nobody waits for a hang.
        write_profile("default", endpoint.url, timeout_s=1.5, concurrency=64)
        batch = [question(word, images=(picture(),)) for word in [*FAULTS, "fine", "echo", "well"]]
        begun = time.monotonic()
        results = ask(*batch)
        seconds = time.monotonic() - begun
        asked = {word: len(endpoint.asked(word)) for word in FAULTS}
    *failed, fine, echoed, well = results
    assert dict(zip(FAULTS, kinds(failed), strict=True)) == {word: kind for word, (_, kind, _) in FAULTS.items()}
    assert asked == {word: count for word, (_, _, count) in FAULTS.items()}
    assert all(
        isinstance(result, Answer) and result.value == Score(score=7, reason="it is so") for result in (fine, well)
    )
    assert seconds < 10
    words = dict(zip(FAULTS, failed, strict=True))
    assert words["prose"].text == "A fine picture of a dog."
    assert words["cut"].text.startswith('{"score"')
    assert "the reply was broken off (finish_reason abort)" in words["aborted"].message
    assert "finish_reason null" in words["cut-in-silence"].message
    assert "No credit is left" in words["inner-402"].message
    assert "the provider failed" in words["inner-word"].message
    assert not [name for name in words if name.startswith("inner") and "base_url" in words[name].message]
    everything = [repr(results), repr(echoed), caplog.text, *(repr(record.__dict__) for record in caplog.records)]
    stored = [path.read_bytes() for path in account.rglob("*") if path.is_file()]
    assert len(stored) >= 3  # profiles, replies, ledger
    assert not [text for text in everything if "sentinel" in text]
    assert not [content for content in stored if KEY.encode() in content]
    assert all("\n" not in result.message and len(result.message) < 600 for result in failed)


CASES = Path(__file__).parents[2] / "cases"


@pytest.mark.parametrize(
    ("body", "kind", "told", "asked"),
    [
        ("reply-cut-without-length/reply-abort.json", "VlmServerError", "broken off (finish_reason abort)", 2),
        ("reply-cut-without-length/reply-error.json", "VlmServerError", "broken off (finish_reason error)", 2),
        ("reply-cut-without-length/reply-null.json", "VlmCutOff", "finish_reason null", 2),
        ("error-in-a-200/reply-credit.json", "VlmRateLimited", "No credit is left on this account", 1),
        ("error-in-a-200/reply-choice.json", "VlmServerError", "The provider behind us failed", 2),
    ],
)
def test_what_others_saw(write_profile: WriteProfile, body: str, kind: str, told: str, asked: int) -> None:
    with Endpoint(default=Raw((CASES / body).read_text(encoding="utf-8"))) as endpoint:
        write_profile("default", endpoint.url, json_mode="prompt")
        (failure,) = ask(question(reply=several(ObjectEdit)))
        assert isinstance(failure, Failure)
        assert (failure.kind, len(endpoint.requests)) == (kind, asked)
        assert told in failure.message
        assert cache.open_cache()._do(lambda db: db.execute("SELECT count(*) FROM replies").fetchone()) == (0,)


WHOLE = '{"score": 6, "reason": "it is so"}'
PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "{hm"}]},
    {"type": "text", "text": WHOLE[:9]},
    WHOLE[9:],
]
GOOD = {
    "no reason to end": {"choices": [{"message": {"content": WHOLE}, "finish_reason": None}]},
    "no word of it": {"choices": [{"message": {"content": WHOLE}}]},
    "another word for it": {"choices": [{"message": {"content": WHOLE}, "finish_reason": "eos_token"}]},
    "in parts": {"choices": [{"message": {"content": PARTS}, "finish_reason": "stop"}]},
    "an error that is none": {"error": None, "choices": [{"message": {"content": WHOLE}, "error": {}}]},
    "strange counts": {"choices": [{"message": {"content": WHOLE}}], "usage": {"prompt_tokens": 10**30}, "model": 7},
}


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD)
def test_a_whole_reply_is_good_however_it_is_wrapped(write_profile: WriteProfile, body: dict[str, object]) -> None:
    with Endpoint(default=Raw(json.dumps(body))) as endpoint:
        write_profile("default", endpoint.url)
        (answer,) = ask(question())
        assert isinstance(answer, Answer), answer
        assert answer.value == Score(score=6, reason="it is so")
        assert (answer.usage.prompt_tokens, len(endpoint.requests)) == (0, 1)


def test_a_reply_that_repeats_the_key_is_not_used(write_profile: WriteProfile, account: Path) -> None:
    spelt = {
        "half": KEY[: len(KEY) // 2],
        "coded": base64.b64encode(f"Bearer {KEY}".encode()).decode(),
        "loud": " ".join(KEY.upper()),
        # Plain again once the JSON is read.
        "escaped": "".join(f"\\u{ord(one):04x}" if at % 2 else one for at, one in enumerate(KEY)),
    }
    says = {word: [Say(f'{{"score": 1, "reason": "{echo}"}}')] for word, echo in spelt.items()}
    with Endpoint(says) as endpoint:
        write_profile("default", endpoint.url)
        results = ask(*map(question, spelt))
        assert len(endpoint.requests) == len(spelt), "asked once each"
    assert kinds(results) == ["VlmRepeatedKey"] * len(spelt)
    assert all("repeats the key of the profile" in one.message for one in results if isinstance(one, Failure))
    assert not redaction.holds_key(repr(results)) and results[3].text == redaction.HIDDEN
    assert cache.open_cache()._do(lambda db: db.execute("SELECT count(*) FROM replies").fetchone()) == (0,)


def test_http_libraries_log_no_key(
    endpoint: Endpoint, write_profile: WriteProfile, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever they may log one day, at any level."""
    write_profile("default", endpoint.url)
    ask(question())
    caplog.set_level(logging.DEBUG)
    for name in ("openai._base_client", "httpx2", "aiohttp.client"):
        log = logging.getLogger(name)
        log.debug("headers %s", {"authorization": f"Bearer {KEY}"})
        try:
            raise ValueError(KEY)
        except ValueError:
            log.exception("failed with %r", KEY)
    assert "headers" in caplog.text and "failed with" in caplog.text
    assert "sentinel" not in caplog.text


def test_nobody_there(write_profile: WriteProfile) -> None:
    port = free_port()
    prices = {"usd_per_million_prompt_tokens": 1.0, "usd_per_million_completion_tokens": 10.0}
    write_profile("default", f"http://127.0.0.1:{port}/v1", retries=0, **prices)
    (failure,) = ask(question(), run="r")
    assert isinstance(failure, Failure)
    assert failure.kind == "VlmConnection"
    assert "cannot be reached" in failure.message
    assert budget.spent("r").unsettled_usd == 0, "what was never sent costs nothing"


@pytest.mark.parametrize("deed", [Status(500), Status(429), Status(408), Reset(), Raw("{")], ids=repr)
def test_what_passes_is_tried_again(write_profile: WriteProfile, deed: Deed) -> None:
    with Endpoint({"again": [deed, Say()]}) as endpoint:
        write_profile("default", endpoint.url)
        assert kinds(ask(question("again"))) == ["answer"]
        assert len(endpoint.requests) == 2


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_it_waits_as_long_as_the_service_asks(write_profile: WriteProfile, form: str) -> None:
    # A date has whole seconds: 3 from now is at least 2 away.
    wait = "2" if form == "seconds" else formatdate(time.time() + 3, usegmt=True)
    with Endpoint({"wait": [Status(429, headers={"Retry-After": wait}), Say()]}) as endpoint:
        write_profile("default", endpoint.url)
        assert kinds(ask(question("wait"))) == ["answer"]
        first, second = endpoint.requests
        assert 1.9 < second.at - first.at < 5


def test_while_it_waits_nobody_else_asks(write_profile: WriteProfile) -> None:
    with Endpoint({"wait": [Status(429, headers={"Retry-After": "1"}), Say()]}) as endpoint:
        write_profile("default", endpoint.url, concurrency=1)
        assert kinds(ask(question("wait"), question("other"))) == ["answer", "answer"]
        assert endpoint.asked("other")[0].at - endpoint.asked("wait")[0].at > 0.9


def test_a_shape_is_mended_by_asking_once_more(write_profile: WriteProfile) -> None:
    with Endpoint({"mend": [Say('{"score": 99, "reason": "x"}'), Say('{"score": 9, "reason": "x"}')]}) as endpoint:
        write_profile("default", endpoint.url)
        (answer,) = ask(question("mend", images=(picture(),)))
        assert isinstance(answer, Answer)
        assert answer.value == Score(score=9, reason="x")
        assert answer.usage.prompt_tokens == 2000
        *_, reply, complaint = endpoint.requests[1].body["messages"]
        assert reply == {"role": "assistant", "content": '{"score": 99, "reason": "x"}'}
        assert "score" in complaint["content"] and "10" in complaint["content"]
        assert endpoint.requests[1].picture_urls == endpoint.requests[0].picture_urls


def test_a_picture_that_is_too_large_is_sent_once_more_with_a_quarter_of_its_pixels(
    write_profile: WriteProfile,
) -> None:
    with Endpoint({"large": [Status(413), Say()]}) as endpoint:
        write_profile("default", endpoint.url)
        assert kinds(ask(question("large", images=(picture(640, 480),)))) == ["answer"]
        first, second = ([size_of(url) for url in got.picture_urls] for got in endpoint.requests)
        assert first == [(640, 480)]
        assert second == [(320, 240)]


def test_nothing_is_asked_without_a_key(write_profile: WriteProfile, endpoint: Endpoint) -> None:
    write_profile("default", endpoint.url, key_variable="NO_SUCH_VARIABLE")
    with pytest.raises(profiles.VlmNotConfigured, match="NO_SUCH_VARIABLE"):
        client.connect("default")
    vlm = client.EndpointVlm(profiles.find("default"))
    assert kinds(asyncio.run(vlm.ask([question(), question("two")]))) == ["VlmNotConfigured"] * 2
    assert endpoint.requests == []


def test_what_may_have_been_billed_stays_reserved(write_profile: WriteProfile) -> None:
    with Endpoint({"hang": [Hang()], "500": [Status(500)]}) as endpoint:
        prices = {"usd_per_million_prompt_tokens": 1.0, "usd_per_million_completion_tokens": 10.0}
        write_profile("default", endpoint.url, timeout_s=0.3, retries=0, **prices)
        ask(question("hang"), question("500"), run="r")
    spent = budget.spent("r")
    assert (spent.calls, spent.usd) == (0, 0.0)
    assert 0.01 < spent.unsettled_usd < 0.02  # 1024 tokens of reply at 10 USD a million, once
