"""What a verifier says of an edit, how several verifiers' words become one, and who may vouch for a kept row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypedDict

from pydantic import BaseModel, ConfigDict

from .makers import Making

Verdict = Literal["keep", "reject", "unscored"]

HAND = "hand.keep"
"""The score by which a person's word stands among verifiers'."""

LABELS = "hand_labels"
"""Under this name the driver has them carried along with a pair that is judged again."""

SAYS: dict[Verdict, float] = {"keep": 1.0, "reject": 0.0}
"""A verifier's verdict as its score `<verifier>.keep`, by which verifiers are compared; an unscored edit has none."""

Voice = Literal["pixels", "verifier", "judge", "detector", "reader", "hand"]
"""Who speaks of an edit: counted pixels, a language model that says what changed or how good it is, a detector that finds
the thing, OCR that reads the words, a person."""

SEMANTIC: tuple[Voice, ...] = ("verifier", "judge", "detector", "reader", "hand")
"""Voices that tell what a picture shows. Pixels do not: what a model painted in the place of a thing is a change, too."""

Answer = Literal["keep", "reject"]
"""A person's word on a pair."""

BY_HAND = "labelled bad by hand"
DIVIDED = "the hand labels are divided"

UNVOUCHED = (
    "nobody looked: no verifier, judge, detector, reader of words or person vouches for this edit by a model, and pixels "
    "alone can only reject it"
)


class Judge(BaseModel):
    """A language model's raw words on an edit, and who spoke them."""

    model_config = ConfigDict(frozen=True)

    model: str
    prompt_version: str
    """Id and version of what it was asked."""
    reply: str


@dataclass(frozen=True)
class Scores:
    """One verifier's numbers under namespaced names, its verdict, and the reason for a rejection or for none."""

    values: dict[str, float]
    verdict: Verdict
    reason: str = ""
    restated: str = ""
    """The instruction put right to what the picture shows; empty where the verifier does not restate."""
    task: str = ""
    """The task that `restated` asks for, where it is another one than the sample's."""
    voices: tuple[Voice, ...] = ()
    """Whose verdict it is; several where scores were combined. Nobody's where it is unscored, or a word of no verifier's."""
    judge: Judge | None = None
    """Who was asked, where a language model was; also where its reply could not be read."""
    restated_other: str = ""
    """The restated instruction in the other language, where it is known in both."""


class _Restated(TypedDict):
    restated: str
    restated_other: str
    task: str


UNVERIFIED = Scores(values={}, verdict="unscored", reason="no verifier was wired to Save Edit Pair")


def combine(scores: Iterable[Scores]) -> Scores:
    """All scores together: one rejection rejects, one unscored leaves the edit unscored.

    An edit that nobody verified is unscored. Of several restated instructions the last counts; a rejected edit has none.
    """
    given = tuple(scores) or (UNVERIFIED,)
    values = {name: value for one in given for name, value in one.values.items()}
    judge = _judges([one.judge for one in given if one.judge])
    voices = tuple(dict.fromkeys(voice for one in given for voice in one.voices))
    last = _last(given)
    for verdict in ("reject", "unscored"):
        # A verifier that was spared passes on why; it is said once.
        reasons = dict.fromkeys(one.reason for one in given if one.verdict == verdict and one.reason)
        if any(one.verdict == verdict for one in given):
            if verdict == "reject":
                return Scores(values, verdict, "; ".join(reasons), voices=voices, judge=judge)
            return Scores(values, verdict, "; ".join(reasons), **last, voices=voices, judge=judge)
    return Scores(values, "keep", **last, voices=voices, judge=judge)


def vouched(found: Scores, making: Making, told_by_hand: bool = False) -> Scores:
    """The verdict that a row gets, with those who vouch for it: an edit that only pixels let pass is unscored.

    Of classical edits, which say what they did, pixels vouch, too. Of two frames of which nothing is painted, a person
    vouches who wrote the words for them.

    Args:
        found: what all verifiers said.
        told_by_hand: whether the instruction is a person's own.
    """
    if found.verdict != "keep":
        return replace(found, voices=())
    may: tuple[Voice, ...] = ("pixels", *SEMANTIC) if making == "classical" else SEMANTIC
    said = (*found.voices, "hand") if making == "frames" and told_by_hand else found.voices
    voices = tuple(one for one in may if one in said)
    if not voices:
        return replace(found, verdict="unscored", reason=UNVOUCHED, voices=())
    return replace(found, voices=voices)


def labelled(found: Scores, answers: Sequence[Answer]) -> Scores:
    """What verifiers and persons say together of a pair that persons labelled.

    One rejection rejects, whose ever it is. Else the persons' majority decides: what they keep is kept in the words that
    they read, also where no verifier could tell; what they are divided on is unscored.

    Args:
        answers: one for each person; none where nobody labelled it.
    """
    if not answers:
        return found
    said = majority(answers)
    if said is None:
        return combine([found, Scores({}, "unscored", DIVIDED)])
    values = {HAND: SAYS[said]}
    if said == "reject" or found.verdict == "reject":
        return combine([found, Scores(values, said, BY_HAND if said == "reject" else "", voices=("hand",))])
    # Who restated the instruction vouches for other words than these.
    voices: tuple[Voice, ...] = () if found.restated else found.voices
    return replace(
        found,
        values=found.values | values,
        verdict="keep",
        reason="",
        restated="",
        restated_other="",
        task="",
        voices=(*voices, "hand"),
    )


def majority(answers: Sequence[Answer]) -> Answer | None:
    """What most of these say; None where as many say the one as the other."""
    kept = sum(1 if one == "keep" else -1 for one in answers)
    return None if not kept else "keep" if kept > 0 else "reject"


def answers_of(carried: Mapping[str, Any]) -> tuple[Answer, ...]:
    """What persons say of an edit that was made before: their labels, or else what an earlier verdict took over of them.

    Args:
        carried: what its row says of it, with the driver's `LABELS`.

    Raises:
        ValueError: it says neither.
    """
    given = carried.get(LABELS)
    if given is None:
        given = [
            answer for answer, value in SAYS.items() if {"name": HAND, "value": value} in carried.get("scores", ())
        ]
    if not isinstance(given, (list, tuple)) or not all(one in ("keep", "reject") for one in given):
        raise ValueError(f"its hand labels are {given!r}: keep or reject, one for each person")
    return tuple(given)


def _last(given: tuple[Scores, ...]) -> _Restated:
    """The last restated instruction, in both languages where it is known in both, and its task."""
    found = next((one for one in reversed(given) if one.restated), UNVERIFIED)
    return {"restated": found.restated, "restated_other": found.restated_other, "task": found.task}


def _judges(found: list[Judge]) -> Judge | None:
    """Several judges' words as one: each once, with who spoke before it."""
    distinct = list(dict.fromkeys(found))
    if len(distinct) < 2:
        return distinct[0] if distinct else None
    return Judge(
        model="; ".join(dict.fromkeys(one.model for one in distinct)),
        prompt_version="; ".join(one.prompt_version for one in distinct),
        reply="\n\n".join(f"[{one.prompt_version}] {one.reply}" for one in distinct),
    )


def spared(found: Scores | None) -> Scores | None:
    """What a verifier passes on of an edit that was rejected before it: the same reason, and nothing of its own."""
    if found is None or found.verdict != "reject":
        return None
    return Scores({}, "reject", found.reason)


def shown(results: Sequence[Scores], more: Sequence[str] = ()) -> list[str]:
    """Text for a node's face, one for each edit: the verdict with its reason, the numbers, then what else there is."""
    texts = []
    for number, one in enumerate(results):
        lines = [f"{one.verdict}{': ' if one.reason else ''}{one.reason}"]
        lines += [f"{name} {value:.4g}" for name, value in one.values.items()]
        lines += [f"restated: {words}" for words in (one.restated, one.restated_other) if words]
        lines += [f"its task is now {one.task}"] if one.task else []
        lines += [more[number]] if number < len(more) and more[number] else []
        texts.append("\n".join(lines))
    return texts
