"""Replies and answers of services that are broken, cut, endless or made to harm: each has an end, and none is misread."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from pydantic import BaseModel, Field

from comfy_nodes.core.instructions.checks import Unfit
from comfy_nodes.core.instructions.shapes import Verification, judgement
from comfy_nodes.core.services.profiles import Profile
from comfy_nodes.core.verdicts.claims import settle
from comfy_nodes.core.verdicts.rubrics import Criterion
from comfy_nodes.core.verdicts.score_replies import Unreadable, read_scores
from comfy_nodes.vlm import replies
from comfy_nodes.vlm.endpoint import completions, faults

MOST_SECONDS = 5.0
"""Far above what any of these takes on a busy machine; without bounds some take minutes."""


class Score(BaseModel):
    score: int = Field(ge=0, le=10)
    reason: str


class Nested(BaseModel):
    scores: Score


DEEP = 100_000
GOOD = '{"score": 7, "reason": "r"}'

UNUSABLE: dict[str, str] = {
    "deep objects": '{"a":' * DEEP,
    "deep objects, closed": '{"a":' * 200 + "1" + "}" * 200,
    "deep lists": '{"a":' + "[" * DEEP,
    "deep lists, closed": '{"a":' + "[" * 500 + "]" * 500 + "}",
    "deep in bad quotes": "{'a':" * 200 + "1" + "}" * 200,
    "braces alone": "{" * 50_000,
    "pairs of braces": "{}" * 49_000,
    "sets": "{a}" * 30_000,
    "quotes": '{"' + 'x"y' * 30_000,
    "quotes, closed": '{"a": "' + 'x"y, ' * 6000 + '"}',
    "backslashes": '{"a": "' + "\\" * 90_000,
    "commas": "{" + "," * 19_000 + "}",
    "colons": "{" + ":" * 19_000 + "}",
    "comments": "{" + "/*" * 9_000 + "}",
    "slashes": "{" + "//" * 9_000 + "}",
    "hashes": "{" + "#" * 19_000 + "}",
    "opening quotes": "{" + "'\"" * 9_000 + "}",
    "curly quotes": "{" + "\u201c" * 19_000 + "}",
    "fences": "```json" * 10_000,
    "thoughts without end": "<think>" + GOOD,
    "thoughts in thoughts": "<think>" * 10_000,
    "too long": " " + GOOD + "x" * 100_000,
    "cut in a string": GOOD[:-5],
    "cut behind a value": GOOD[:-1],
    "cut behind a comma": GOOD[:11] + ",",
    "cut in a list": '{"score": 7, "reason": "r", "more": ["a", "b"',
    "cut in an escape": '{"score": 7, "reason": "a\\',
    "cut in a fence": "```json\n" + GOOD[:-1] + "\n```",
    "cut in a second object": GOOD + ' and {"score": 8, "rea',
    "cut, with a brace in its words": '{"score": 7, "reason": "it is } b',
    "cut in bad quotes": "{'score': 7, 'reason': 'r",
    "an object inside one that is cut": '{"scores": {"score": 7, "reason": "r"}, "more": "',
    "a list of answers, cut": "[" + GOOD + ", {",
    "two answers": GOOD + GOOD.replace("7", "8"),
    "two answers and words": f"First I thought {GOOD}, then {GOOD.replace('7', '2')}.",
    "one name, two values": '{"score": 7, "reason": "r", "score": 9}',
    "one name, two values, inside": '{"score": 7, "reason": "r", "more": {"a": 1, "a": 2}}',
    "a list": "[" + GOOD + "]",
    "a number": "7",
    "null": "null",
    "no number": '{"score": NaN, "reason": "r"}',
    "no number anywhere": '{"score": 7, "reason": "r", "more": Infinity}',
    "a huge number": '{"score": ' + "9" * 5000 + ', "reason": "r"}',
    "a huge exponent": '{"score": 1e999999, "reason": "r"}',
    "half a character": '{"score": 7, "reason": "\\ud800"}',
    "half a character elsewhere": '{"score": 7, "reason": "r", "more": "\\udfff"}',
    "a truth for a number": '{"score": [7], "reason": "r"}',
    "words for a number": '{"score": "seven, or 8", "reason": "r"}',
    "YAML": "score: 7\nreason: r",
    "Python": "dict(score=7, reason='r')",
    "a template": "{{score}} {{reason}}",
    "a call": '{"$ref": "file:///etc/passwd"}',
    "prototype": '{"__proto__": {"score": 7}, "__class__": "Score"}',
    "XML": "<score>7</score>",
    "NULs": "\x00" * 1000,
    "surrogate text": "\ud800",
    "right to left": "\u202e" + GOOD[::-1],
    "full-width braces": "\uff5b\u201cscore\u201d: 7\uff5d",
    "empty": "",
    "spaces": " \n\t" * 30_000,
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_hostile_reply_is_of_no_use(name: str) -> None:
    begun = time.monotonic()
    found = replies.read(UNUSABLE[name], Score)
    assert time.monotonic() - begun < MOST_SECONDS
    assert isinstance(found, replies.UnusableReply), found
    assert "\n" not in found.message and len(found.message) < 1000


@pytest.mark.parametrize(
    "reply",
    [
        GOOD,
        f"The set {{1, 2}} and {{}} first. {GOOD}",
        f"<think>{{{GOOD}</think>{GOOD}",
        f"{GOOD}\n\nI hope {{this}} helps :-{{)}}",
        f"{GOOD}\n```json\n{GOOD}\n```",
        f'{{"score": 99, "reason": "no"}} is out of range, so: {GOOD}',
        '{"score": 7, "reason": "r", "score": 7}',
        "{'score': 7, 'reason': 'r'}",
        "{score: 7, reason: 'r',}",
        json.dumps(GOOD),
        '{"score": "7", "reason": "r", "more": "a } { b ] ["}',
    ],
)
def test_a_whole_one_is_found_among_other_braces(reply: str) -> None:
    assert replies.read(reply, Score) == Score(score=7, reason="r")


def test_words_in_quotes_stay_whole() -> None:
    found = replies.read('{"score": 7, "reason": "the sign says "stop", then {go}"}', Score)
    assert found == Score(score=7, reason='the sign says "stop", then {go}')
    assert replies.read("{'score': 7, 'reason': 'it's the dog's'}", Score) == Score(score=7, reason="it's the dog's")


# Bodies of services

PROFILE = Profile(name="p", base_url="http://127.0.0.1:1/v1", model="m")


def choice(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": GOOD}, "finish_reason": "stop", **fields}]}


BODIES: dict[str, bytes] = {
    name: content if isinstance(content, bytes) else json.dumps(content).encode()
    for name, content in {
        "nothing": b"",
        "no JSON": b"<html>",
        "events": b'data: {"choices": []}\n\ndata: [DONE]\n\n',
        "cut": json.dumps(choice()).encode()[:-5],
        "deep": b'{"a":' * DEEP,
        "deep choice": b'{"choices": [' + b"[" * 900 + b"]" * 900 + b"]}",
        "deep error": b'{"error": ' + b"[" * 900 + b"]" * 900 + b"}",
        "no UTF-8": b'{"choices": "\xff"}',
        "null": None,
        "a list": [choice()],
        "a string": "error",
        "no choices": {"id": "x"},
        "choices null": {"choices": None},
        "choices empty": {"choices": []},
        "choices a map": {"choices": {"0": choice()["choices"][0]}},
        "choice null": {"choices": [None]},
        "message null": choice(message=None),
        "message a list": choice(message=[GOOD]),
        "content a number": choice(message={"content": 7}),
        "content a map": choice(message={"content": {"text": GOOD}}),
        "a part that is no text": choice(message={"content": [{"type": "text", "text": GOOD}, {"type": "image_url"}]}),
        "a part without text": choice(message={"content": [{"type": "text"}]}),
        "a part of a number": choice(message={"content": [1]}),
        "reason a number": choice(finish_reason=7),
        "reason a map": choice(finish_reason={"stop": True}),
        "aborted": choice(finish_reason="abort"),
        "tools": choice(finish_reason="tool_calls"),
        "a strange reason": choice(finish_reason="x" * 10_000),
        "an error": {"error": {"message": "no", "code": 500}},
        "an error beside a reply": {"error": "no", **choice()},
        "an error in the choice": choice(error={"message": "no", "code": "429"}),
        "an error that is a list": {"error": [{"message": "no"}]},
        "an error that is true": {"error": True},
        "an error of terminal escapes": {"error": {"message": "\x1b[2J\nno"}},
        "a huge error": {"error": {"message": "no " * 100_000}},
        "an error code of 10^30": {"error": {"code": 10**30, "message": "no"}},
        "an error's object": {"object": "error", "message": "no", "code": 40001},
    }.items()
}


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_is_a_fault_of_one_line(name: str) -> None:
    begun = time.monotonic()
    with pytest.raises(faults.Fault) as caught:
        completions.read(BODIES[name], PROFILE)
    assert time.monotonic() - begun < MOST_SECONDS
    said = str(caught.value)
    assert said.startswith("VLM profile 'p'") and said.isprintable() and len(said) <= 400
    assert "error" not in name or "base_url" not in said


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "an empty body"),
        (b" \n", "an empty body"),
        (b"null", "answered with null"),
        (b"[1]", "JSON that is no object"),
        (b'{"a":' * 3000 + b"1" + b"}" * 3000, "too many levels"),
        (b'{"choices": [', "does not end"),
        (b'{"a": "\xff"}', "no UTF-8"),
        (b"no healthy upstream\x1b", "no JSON (no healthy upstream)"),
        (b'{"choices": null}', "of an unknown shape"),
        (
            b'{"message": "no such route"}',
            "another JSON object than a chat completion (no such route); see that base_url",
        ),
        (b"\n<!doctype html><html>", "a web page, and no chat completion; see that base_url"),
    ],
)
def test_what_came_instead_is_named_for_what_it_is(body: bytes, told: str) -> None:
    """Only a page and another service's JSON speak against the address."""
    with pytest.raises(faults.Fault) as caught:
        completions.read(body, PROFILE)
    assert told in str(caught.value)
    assert ("base_url" in str(caught.value)) == ("base_url" in told)


def test_half_a_character_in_a_body_is_none() -> None:
    said = completions.read(b'{"choices": [{"message": {"content": "a\\ud800b"}}], "model": "\\udfff"}', PROFILE)
    assert (said.text, said.model) == ("a?b", "?")


# Judges and verifiers

CRITERIA = (Criterion("quality", "质量"), Criterion("faith", "忠实"))
MISREADABLE = [
    '{"quality": 10, then 7, "faith": 3}',
    '{"quality": "4 (or 3)", "faith": 3}',
    '{"quality": 3, "quality": 4, "faith": 3}',
    '{"quality": NaN, "faith": 3}',
    '{"quality": ' + "9" * 5000 + ', "faith": 3}',
    '{"quality": 1e999, "faith": 3}',
    '{"quality": {"a": {"b": ' * 300 + "1" + "}}}" * 300,
    "quality: 10, then 7\nfaith: 3",
    "quality: 4 (or 3)\nfaith: 3",
    "quality: between 3 and 4\nfaith: 3",
    "quality: 5 if the shadow were right\nfaith: 3",
    "quality: 10 (the maximum), here 7\nfaith: 3",
    "quality: 10 max, I give 6\nfaith: 3",
    'For example {"quality": 5, "faith": 5} would be such a reply.',
    '{"quality": "5, perhaps 4", "faith": 3}',
    '{"quality": ' + "9" * 4000 + ', "faith": 3}',
    "quality: 3-4\nfaith: 3",
    "quality: -3\nfaith: 3",
    "quality: 3 or 4\nfaith: 3",
    "quality: " + "9" * 5000 + "\nfaith: 3",
    "{" * 5000,
    "quality" * 5000,
    "*" * 30_000,
    "* " * 30_000,
    "",
]


@pytest.mark.parametrize("reply", MISREADABLE, ids=range(len(MISREADABLE)))
def test_no_score_is_read_where_two_could_be_meant(reply: str) -> None:
    begun = time.monotonic()
    with pytest.raises(Unreadable):
        read_scores(reply, CRITERIA, 0, 10)
    assert time.monotonic() - begun < MOST_SECONDS


@pytest.mark.parametrize(
    ("reply", "quality"),
    [
        ("quality: 4, because two legs were lost\nfaith: 3", 4),
        ("quality: 4 - it looks as if painted\nfaith: 3", 4),
        ('Such as {"quality": 1, "faith": 1}.\nMine: {"quality": 4, "faith": 3}', 4),
        ("quality: 4/10\nfaith: 3/10", 4),
    ],
)
def test_a_single_score_is_read(reply: str, quality: float) -> None:
    assert read_scores(reply, CRITERIA, 0, 10).scores == {"quality": quality, "faith": 3}


@pytest.mark.parametrize("said", ["yes/no", "yes or no", "true|false", "no, yes"])
def test_both_answers_are_none(said: str) -> None:
    with pytest.raises(Unreadable):
        read_scores(f"quality: 3\nfaith: {said}", CRITERIA[:1], 0, 10, CRITERIA[1:])


VERIFIED: dict[str, Any] = {
    "source_caption": "a disc",
    "edited_caption": "a square",
    "differences": ["the disc is a square"],
    "is_changed": True,
    "restated_instruction": "Replace the disc with a green square.",
    "claims": [{"claim": "a square", "mark": "correct"}, {"claim": "it is green", "mark": "missing"}],
}


def settled(**changes: Any) -> str:
    return settle(Verification(**{**VERIFIED, **changes}), "Replace the disc with a square.", "en").instruction


@pytest.mark.parametrize(
    "words",
    [
        "No change needed.",
        "No changes are necessary; it is fine.",
        "Same as the original instruction.",
        "The same as above",
        "The instruction is wrong; the disc is a square.",
        "The original instruction should say that it is green.",
        "This edit was made as asked.",
        "Keep the original instruction.",
        "Nothing to be changed.",
        "N/A",
        "None",
        "Unchanged.",
        "...",
        "As stated.",
        "Do not turn the disc into a square.",
        "Leave the disc as it is.",
        "Keep the table and leave the disc.",
        "A green square lies on the table.",
        "Green square on a table.",
        "Turned the disc into a green square.",
        "Sorry, the disc is still there.",
        "Restated: turn the disc into a green square.",
        "Change nothing.",
        "Make no changes to the disc.",
        "Turn the disc into a",
        "Turn the disc into a green square. The claim about blue is wrong.",
        "Turn the disc of the original image into a green square.",
    ],
)
def test_words_about_an_instruction_are_none(words: str) -> None:
    with pytest.raises(Unfit):
        settled(restated_instruction=words)


@pytest.mark.parametrize(
    "differences",
    [
        ["Nothing changed."],
        ["There is no visible difference between the two pictures"],
        ["No change was made to the photo."],
        ["The images are identical."],
        ["两张图片没有明显的差异。"],
        ["the disc is a square", "nothing changed"],
    ],
)
def test_nothing_among_the_differences_is_no_change(differences: list[str]) -> None:
    with pytest.raises(Unfit, match="differences"):
        settled(differences=differences)


@pytest.mark.parametrize(
    "differences",
    [["there is no disc any more"], ["the disc is gone, nothing else changed"], ["no difference but the disc"]],
)
def test_what_is_gone_is_a_difference(differences: list[str]) -> None:
    assert settled(differences=differences) == VERIFIED["restated_instruction"]


@pytest.mark.parametrize(
    "words",
    [
        "Make no changes to the sky, and turn the disc into a green square.",
        "Nudge the disc.",
        "Keep the sky and turn the disc green.",
        "On the table, please put a square.",
        "Get rid of the disc.",
    ],
)
def test_instructions_stay(words: str) -> None:
    assert settled(restated_instruction=words) == words


def test_shapes_that_take_anything_take_nothing_unfinished() -> None:
    shape = judgement(("quality", "faith"), (), 1, 5)
    whole = '{"reason": "r", "quality": 3, "faith": 4}'
    assert not isinstance(replies.read(whole, shape), replies.UnusableReply)
    for cut in range(1, len(whole)):
        assert isinstance(replies.read(whole[:cut], shape), replies.UnusableReply), whole[:cut]


def test_a_verification_cut_anywhere_is_not_read() -> None:
    members: dict[str, Any] = {
        "source_caption": "a {red} disc",
        "edited_caption": "ground",
        "differences": ['the "disc" is gone'],
        "is_changed": True,
        "restated_instruction": "Remove the disc.",
        "claims": [{"claim": "gone", "mark": "correct"}],
    }
    for text in (json.dumps(members), str(members), json.dumps(members, indent=1)):
        assert isinstance(replies.read(text, Verification), Verification)
        for cut in range(len(text)):
            assert isinstance(replies.read(text[:cut], Verification), replies.UnusableReply), text[:cut]
