"""Verifier and judge over real HTTP: what goes to a service, and what comes of what it says or fails to say."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest

from comfy_nodes.core.verdicts.rubrics import TABLE
from comfy_nodes.core.verdicts.verdicts import Scores
from comfy_nodes.vlm.endpoint.client import connect
from comfy_nodes.vlm.questions import judge, verifier
from comfy_nodes.vlm.questions.edited_pair import EditedPair
from tests.vlm.client.questions import KEY, WriteProfile, size_of
from tests.vlm.endpoint import Deed, Endpoint, Say, Status

PHOTO = np.full((48, 64, 3), 90, dtype=np.uint8)
PAIR = EditedPair(PHOTO, PHOTO // 2, "Turn the cup blue.", "en", seed=7)
SCORES = {"reason": "r", "instruction_following": 3, "editing_consistency": 3, "generation_quality": 2}
VERIFIED = {
    "source_caption": "A grey cup.", "edited_caption": "A blue cup.", "differences": ["The cup is blue."],
    "is_changed": True, "claims": [{"claim": "the cup turns blue", "mark": "correct"}],
    "restated_instruction": "Turn the cup blue.",
}  # fmt: skip


def judged(count: int = 1, rubric: str = "scaleedit") -> list[Scores]:
    pairs = [EditedPair(PHOTO + number, PHOTO // 2, "Turn the cup blue.", "en") for number in range(count)]
    return asyncio.run(judge.judge(connect("service"), [judge.Case(one, TABLE[rubric]) for one in pairs]))


@pytest.mark.parametrize("json_mode", ["json_schema", "json_object", "prompt"])
def test_a_judge_is_asked_for_a_schema(json_mode: str, write_profile: WriteProfile) -> None:
    with Endpoint(default=Say(json.dumps(SCORES))) as endpoint:
        write_profile("service", endpoint.url, json_mode=json_mode)
        (scores,) = judged()
    assert (scores.verdict, scores.values["judge.overall"]) == ("keep", 2.67)
    assert scores.judge and scores.judge.model == "tiny-2026-01-01" and scores.judge.reply == json.dumps(SCORES)
    (got,) = endpoint.requests
    assert [size_of(url) for url in got.picture_urls] == [(64, 48)] * 2
    if json_mode == "json_schema":
        schema = got.body["response_format"]["json_schema"]["schema"]
        assert schema["properties"]["generation_quality"]["maximum"] == 3
        assert set(schema["required"]) == set(SCORES) and schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("deed", "verdict", "reason"),
    [
        (Say("Instruction Following: 3/3\nEditing Consistency: **2**\nGeneration Quality: 2."), "keep", ""),
        (
            Say("指令遵循:三分\n编辑一致性:二分\n生成质量:一分"),
            "reject",
            "generation quality 1, at least 2 is wanted",
        ),
        (Say("A fine edit."), "unscored", "VlmNotJson|cannot be read"),
        (Say("I'm sorry, I can't help with that."), "unscored", "VlmRefusal"),
        (Say('{"instruction_following": 3', finish="length"), "unscored", "VlmCutOff"),
        (Say(json.dumps({**SCORES, "generation_quality": 9})), "unscored", "a score of 9 is not within 1 to 3"),
        (Say(""), "unscored", "VlmEmptyReply"),
        (Status(500), "unscored", "VlmServerError"),
        (Status(401, "no key {authorization}"), "unscored", "VlmUnauthorised"),
    ],
)
def test_whatever_a_service_says_is_scored_or_unscored(
    deed: Deed, verdict: str, reason: str, write_profile: WriteProfile
) -> None:
    with Endpoint(default=deed) as endpoint:
        write_profile("service", endpoint.url, retries=0)
        (scores,) = judged()
    assert scores.verdict == verdict
    assert any(part in scores.reason for part in reason.split("|"))
    assert scores.judge is not None and KEY not in scores.judge.reply + scores.reason
    if isinstance(deed, Say):
        assert scores.judge.reply == deed.text
    assert bool(scores.values) == (verdict != "unscored")


def test_pairs_are_asked_at_once(write_profile: WriteProfile) -> None:
    with Endpoint(default=Say(json.dumps(SCORES), after_s=0.3)) as endpoint:
        write_profile("service", endpoint.url)
        found = judged(4)
    assert [one.verdict for one in found] == ["keep"] * 4
    assert len(endpoint.requests) == 4 and endpoint.most_at_once > 1


def test_a_verifiers_contradiction_is_sent_back(write_profile: WriteProfile) -> None:
    contradiction = Say(json.dumps({**VERIFIED, "differences": []}))
    with Endpoint({"The": [contradiction, Say(json.dumps(VERIFIED))]}) as endpoint:
        write_profile("service", endpoint.url)
        (found,) = asyncio.run(verifier.verify(connect("service"), [PAIR]))
    assert found.scores.verdict == "keep" and len(endpoint.requests) == 2
    assert "yet there are no differences" in json.dumps(endpoint.requests[1].body)
    schema = endpoint.requests[0].body.get("response_format", {}).get("json_schema", {}).get("schema")
    if schema:
        assert schema["$defs"]["Claim"]["properties"]["mark"]["enum"] == ["correct", "wrong", "missing"]
