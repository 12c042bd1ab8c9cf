"""What a verifier's reply on an edit comes to: kept, kept with a restated instruction, or rejected.

The vlm package asks and hands replies in; nodes read the result. The protocol is Qwen-Verify's (UnicEdit-10M, arXiv
2512.02790): what was not made is rejected, what was described wrongly is restated. No model is asked here.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Literal

from ..instructions.checks import (
    Unfit,
    check_clean,
    check_language,
    check_length,
    check_one_picture,
    check_request,
    check_verb,
    language_of,
)
from ..instructions.operations import check_same_wish, no_imperative, operation_of, restated_task
from ..instructions.shapes import BothVerification, Verification
from ..instructions.wording import Language
from .verdicts import SAYS, Scores, Voice

NO_EDIT = "no edit happened"

_NOTHING = frozenset(
    {"", "none", "no", "nothing", "no difference", "no differences", "no visible difference", "no visible differences",
     "no change", "no changes", "n/a", "identical", "无", "没有", "无差异", "没有差异", "无变化", "没有变化"}
)  # fmt: skip
"""What models write into a list that should be empty."""

_NOTHING_SAID = re.compile(
    r"(?:there (?:is|are|was|were) |i see |i can see )?(?:no|not any|nothing|none of it)(?: (?!else\b|other\b)\w+){0,4}? "
    r"(?:differen(?:ce|ces|t)|chang(?:e|es|ed)|edit|edits|edited)(?: (?!except|but|other|apart|besides|beyond)\w+){0,6}|"
    r"(?:the|both)(?: two)? (?:pictures|images|photos) (?:are|look|show) (?:\w+ ){0,2}(?:identical|same|equal|unchanged)|"
    r"(?:两张图片?|图片|照片|画面)?(?:没有|无|并无)(?:任何|明显|可见)*(?:的)?(?:变化|差异|改变|区别|不同)",
    re.IGNORECASE,
)
"""The same as a sentence."""

_NO_INSTRUCTION = re.compile(
    r"(?:there (?:is|are) )?(?:no|nothing|none|not)\b[^.;]*\b(?:needed|necessary|required|changes?|changed|edits?|restatement|"
    r"instruction|applicable)\b|(?:n/a|none|null|unchanged|identical)\W*$|(?:the )?same\b[^.;]*\b(?:instruction|above|before|original)|"
    r"(?:as|see) (?:above|before|stated|given)|"
    r"(?:the|this|that|it|its|original|initial|restated|current)\b[^.;]*\b(?:instruction|prompt|request|edit)\b[^.;]*\b(?:is|was|are|"
    r"does|did|should|cannot|holds?|remains?|stays?)\b|keep (?:the )?(?:original |initial |same )?instruction|"
    r"(?:无需|不需要|没有必要|不必)|(?:与|和|同)?(?:原|上述|原来的?|原始)(?:始)?指令|(?:该|此|这个?|原)指令",
    re.IGNORECASE,
)
"""How words begin that speak of an instruction in its place. Ours."""

_STAYS = re.compile(
    r"\b(?:(?:stay|remain|retain|preserv)\w*|keep(?:s|ing)?|kept|leave|leaving|left (?:alone|as|in place|out))\b|\b(?:un(?:changed|touched|altered)|intact|(?:the|as) same|still)\b"
    r"|不变|保持|保留|仍|原样",
    re.IGNORECASE,
)
"""Claims of what is not to change: the prompt asks for them, and they hold where nothing happened."""

_TURNS = re.compile(
    r"\b(?:but|now|instead|yet|though|although|while|except|only|gone|missing|remov|add|replac|chang|became|turn|new)\w*|[,;]|但|而|现在|\uff0c",
    re.IGNORECASE,
)
"""Words by which a sentence of what stays tells of a change too. Ours."""

VERIFIER: tuple[Voice, ...] = ("verifier",)

Relabelling = Literal["relabel", "reject"]
"""What becomes of an edit whose restated instruction asks for another task than the sample's."""


@dataclass(frozen=True)
class Verified:
    """A reply that does not contradict itself."""

    scores: Scores
    """Without who was asked."""
    instruction: str
    """The instruction as it stands now: restated, or the initial one where all of it holds; empty where rejected."""
    report: str
    """The reply as one line of JSON."""


def settle(reply: Verification, instruction: str, language: Language, other: str = "") -> Verified:
    """The verdict that a reply comes to.

    Args:
        instruction: the initial one, one line.
        other: the same in the other language; empty where it is known in one. Else the reply restates both.

    Raises:
        Unfit: the reply contradicts itself, or its restated instruction cannot be used; the message says how.
    """
    said = [one.strip(" .。!\uff01") for one in reply.differences]
    nothing = [one for one in said if _NOTHING_SAID.fullmatch(one)]
    differences = [one for one in said if one.casefold() not in _NOTHING and one not in nothing]
    counts = {mark: sum(claim.mark == mark for claim in reply.claims) for mark in ("correct", "wrong", "missing")}
    values = {"verify.is_changed": float(reply.is_changed)}
    values |= {f"verify.claims_{mark}": float(count) for mark, count in counts.items()}
    report = json.dumps(reply.model_dump(), ensure_ascii=False)
    if not reply.is_changed:
        if differences:
            raise Unfit(f"is_changed is false, yet there are differences: {'; '.join(differences)}")
        done = [one.claim for one in reply.claims if one.mark == "correct" and not _STAYS.search(one.claim)]
        if done and not counts["wrong"]:
            raise Unfit(f"is_changed is false, yet what was asked for is marked correct: {'; '.join(done)}")
        return Verified(
            Scores(values | {"verify.keep": SAYS["reject"]}, "reject", NO_EDIT, voices=VERIFIER), "", report
        )
    if not differences:
        raise Unfit("is_changed is true, yet there are no differences")
    if nothing:
        raise Unfit(f"is_changed is true, yet one of the differences is {nothing[0]!r}")
    if all(_STAYS.search(one) and not _TURNS.search(one) for one in differences):
        raise Unfit(f"is_changed is true, yet the differences tell only what stays: {'; '.join(differences)}")
    if not counts["correct"] + counts["wrong"]:
        raise Unfit("no claim of the instruction is marked correct or wrong")
    restated = " ".join(reply.restated_instruction.split())
    translated = " ".join(reply.restated_other.split()) if isinstance(reply, BothVerification) else ""
    values["verify.keep"] = SAYS["keep"]
    if not counts["wrong"] + counts["missing"]:
        return Verified(Scores(values, "keep", voices=VERIFIER), instruction, report)
    _check_restated("restated_instruction", restated, instruction, language)
    if other:
        _check_restated("restated_other", translated, other, "en" if language == "zh" else "zh")
        check_same_wish(*((restated, translated) if language == "en" else (translated, restated)))
    scores = Scores(values, "keep", restated=restated, restated_other=translated if other else "", voices=VERIFIER)
    return Verified(scores, restated, report)


def _check_restated(name: str, restated: str, initial: str, language: Language) -> None:
    """
    Args:
        name: the reply's member that it stands in.

    Raises:
        Unfit: it cannot be used in the initial instruction's place.
    """
    if not restated:
        raise Unfit(f"is_changed is true, yet {name} is empty")
    if restated.casefold().rstrip(".。") == initial.casefold().rstrip(".。"):
        raise Unfit(f"claims are marked wrong or missing, yet {name} repeats the instruction as it was")
    if _NO_INSTRUCTION.match(restated):
        raise Unfit(f"{name} speaks of the instruction in its place: {restated!r}")
    check_clean(restated)
    check_language(restated, language)
    check_length(restated, language)
    check_request(restated)
    check_one_picture(restated)
    if why := no_imperative(restated, language, initial):
        raise Unfit(f"{name} is no request to edit, {why}: {restated!r}")


def filed(found: Verified, task: str, instruction: str, how: Relabelling) -> Verified:
    """The verdict under the task that its restated instruction asks for, which may be another than the sample's.

    Args:
        task: the sample's.
        instruction: the initial one.
    """
    scores = found.scores
    other = restated_task(task, instruction, scores.restated, language_of(scores.restated)) if scores.restated else ""
    if not other:
        return _unread(found, task, instruction) if scores.restated else found
    if how == "relabel":
        return replace(found, scores=replace(scores, task=other))
    values = scores.values | {"verify.keep": SAYS["reject"]}
    reason = f"restated into another task, {other} in the place of {task}: {scores.restated}"
    scores = replace(scores, values=values, verdict="reject", reason=reason, restated="", restated_other="")
    return replace(found, scores=scores, instruction="")


def _unread(found: Verified, task: str, instruction: str) -> Verified:
    """Unscored where the initial instruction said its task and the restated one does not: what it says is unknown."""
    restated = found.scores.restated
    try:
        check_verb(instruction, task, language_of(instruction))
    except Unfit:
        return found
    if operation_of(restated, language_of(restated)):
        return found
    try:
        check_verb(restated, task, language_of(restated))
    except Unfit as problem:
        values = {name: value for name, value in found.scores.values.items() if name != "verify.keep"}
        scores = replace(
            found.scores,
            values=values,
            verdict="unscored",
            reason=f"restated, {problem}",
            restated="",
            restated_other="",
        )
        return replace(found, scores=scores, instruction="")
    return found
