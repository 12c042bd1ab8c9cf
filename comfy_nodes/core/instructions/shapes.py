"""What a language model has to answer, one shape for each kind of edit: pydantic models, also sent as JSON schemas.

Prompts spell these fields out in words; `instructions` checks what they say and makes it whole. `[OBJECT]` and
`[PLACE]` stand in their sentences where the words of `wording` go in.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, create_model, model_validator

MAX_EDITS = 7
"""Most instructions that one question asks for; UnicEdit asks for 3 to 7."""

Text = Annotated[str, Field(min_length=1, max_length=600)]
"""A sentence. The longest that is kept is far shorter; the bound keeps a runaway reply out. Ours."""
Phrase = Annotated[str, Field(min_length=1, max_length=120)]
"""A noun phrase. Ours."""


def _plain_word(said: Any) -> Any:
    """A word as it was asked for, without capitals and a full stop."""
    return said.strip(" .").casefold() if isinstance(said, str) else said


def _member(key: str) -> str:
    """`Source Caption` and `sourceCaption` as `source_caption`."""
    return re.sub(r"[\s_-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key.strip())).casefold()


class Reply(BaseModel):
    # No `forbid`: models add keys of their own, and nothing is lost where they are passed over.
    model_config = ConfigDict(frozen=True, str_strip_whitespace=True, extra="ignore")
    listed: ClassVar[str] = ""
    """The member that a list alone stands for, as models leave its wrapping out."""

    @model_validator(mode="before")
    @classmethod
    def _spelt(cls, said: Any) -> Any:
        """Members under the names that were asked for, whatever a model's capitals and spaces.

        Raises:
            ValueError: two of them are one member, with two values.
        """
        if isinstance(said, list) and cls.listed:
            return {cls.listed: said}
        if not isinstance(said, dict):
            return said
        found: dict[str, Any] = {}
        for key, value in said.items():
            name = _member(str(key))
            name = name if name in cls.model_fields else key
            if name in found and found[name] != value:
                raise ValueError(f"it says two things of {str(name)[:40]!r}")
            found[name] = value
        return found


class ObjectEdit(Reply):
    """An edit of the marked object or background."""

    object: Phrase
    """Its name in the instruction's language, without article, place or size."""
    object_en: Phrase
    """The same in English."""
    instruction: Text
    """Sentence for the user, `[OBJECT]` for the thing."""
    command: Text
    """The same edit as a plain English command, `[OBJECT]` for the thing."""
    target: Text
    """English: what is to be seen in the region afterwards."""


class TextEdit(ObjectEdit):
    """An edit of words that can be read on the marked thing."""

    reads: Annotated[str, Field(max_length=600)]
    """The words as they stand there; empty where none can be read, and nothing can be edited."""


class Addition(Reply):
    """A thing that an instruction puts into the photo."""

    article: Annotated[str, Field(max_length=12)]
    """What stands before its name: `a`, `an`, `some`, `two`; in Chinese number and measure word."""
    object: Phrase
    object_en: Phrase


class AddEdit(Addition):
    """An edit after which the marked object is there; the editor is told by us to erase it."""

    instruction: Text
    """With `[OBJECT]` for article, size and name, and `[PLACE]` for where it goes."""
    target: Text
    """English: what is seen in its place before."""


class FreeEdit(Reply):
    """An edit that is not bound to one region."""

    instruction: Text
    command: Text
    target: Text


class KindEdit(FreeEdit):
    """One of several edits of different kinds, in English and Chinese."""

    kind: Phrase
    """The kind's published name."""
    chinese: Text
    """The instruction in Chinese."""
    things: list[int] = []
    """Numbers of the listed things that change."""


class WholeEdit(FreeEdit):
    """An edit of the whole photo."""

    name: Phrase
    """What the photo is changed to, in the instruction's language, such as the style's name."""


class RiddleEdit(ObjectEdit):
    """An edit whose instruction has to be thought about: it does not name its object or result outright."""

    reasoning: Text
    """How the instruction leads to object and result."""


class MotionEdit(Reply):
    """What changes between two frames."""

    subject: Phrase
    instruction: Text
    command: Text
    target: Text


class Part(Reply):
    """One of an edit's two objects."""

    object: Phrase
    object_en: Phrase
    command: Text
    target: Text


class HybridEdit(Reply):
    """Two operations on two objects in one sentence with `[OBJECT1]` and `[OBJECT2]`."""

    instruction: Text
    first: Part
    second: Part


class Round(Reply):
    """One turn."""

    instruction: Text
    command: Text
    target: Text


class FirstRound(Reply):
    """A turn that puts the thing into the photo."""

    instruction: Text
    target: Text


class MemoryRound(Round):
    object: Phrase
    object_en: Phrase


class ContentMemory(Reply):
    """A premise that holds for both rounds, which don't repeat it."""

    premise: Text
    round1: MemoryRound
    round2: MemoryRound


class Opening(Addition):
    """Two rounds about one object, which the second names by a pronoun."""

    round1: FirstRound
    round2: Round


class ContentUnderstanding(Opening):
    """Three rounds about one object, which the later two name by a pronoun."""

    round3: Round


class VersionBacktracking(ContentUnderstanding):
    """Three rounds about one object; the third rejects the second."""


class Swapped(Reply):
    """Two rounds about one object: it is replaced, and the second rejects that."""

    object: Phrase
    object_en: Phrase
    round1: Round
    round2: Round


class Caption(Reply):
    dense: Annotated[str, Field(min_length=1, max_length=4000)]
    short: Text


class Tags(Reply):
    objects: list[str]
    backgrounds: list[str]


class Decision(Reply):
    task: str
    suitable: bool
    reason: Text


class Routing(Reply):
    listed: ClassVar[str] = "decisions"

    decisions: list[Decision]


class Rewriting(Reply):
    command: Text


class Result(Reply):
    target: Text


SHAPES: dict[str, type[Reply]] = {
    "object": ObjectEdit,
    "text": TextEdit,
    "add": AddEdit,
    "whole": WholeEdit,
    "free": FreeEdit,
    "riddle": RiddleEdit,
    "motion": MotionEdit,
    "hybrid": HybridEdit,
    "content-memory": ContentMemory,
    "content-understanding": ContentUnderstanding,
    "version-backtracking": VersionBacktracking,
}
"""Shapes of an edit by the name that the taxonomy gives; of dialogues with their own number of rounds."""

_ROUND = re.compile(r"round\d")


def rounds(edit: Reply) -> dict[str, Any]:
    """A dialogue's rounds by their names, in order."""
    return {name: getattr(edit, name) for name in type(edit).model_fields if _ROUND.fullmatch(name)}


@cache
def dialogue(name: str, turns: int) -> type[Reply]:
    """The shape of a dialogue of `turns` rounds.

    Args:
        name: its kind's own shape.
    """
    own = SHAPES[name]
    count = sum(bool(_ROUND.fullmatch(one)) for one in own.model_fields)
    if turns == count:
        return own
    if turns < count:
        return Swapped if name == "version-backtracking" else Opening
    later = MemoryRound if own is ContentMemory else Round
    more: dict[str, Any] = {f"round{number}": (later, ...) for number in range(count + 1, turns + 1)}
    return create_model(f"{own.__name__}{turns}", __base__=own, **more)


class Edits(Reply):
    """Several edits of one shape."""

    edits: list[Reply]

    listed: ClassVar[str] = "edits"

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, said: Any) -> Any:
        """One edit alone, without the list or the object around it."""
        if not isinstance(said, dict):
            return said
        edits = said.get("edits", None if {"edits", "instruction", "premise", "round1"}.isdisjoint(said) else said)
        return {**said, "edits": [edits]} if isinstance(edits, dict) else said


@cache
def several(shape: type[Reply]) -> type[Edits]:
    """The shape of a reply that holds 1 to `MAX_EDITS` edits of one shape."""
    edits = Annotated[list[shape], Field(min_length=1, max_length=MAX_EDITS)]  # type: ignore[valid-type]
    return create_model(f"{shape.__name__}s", __base__=Edits, edits=(edits, ...))


@cache
def of_kinds(names: tuple[str, ...], most: int) -> type[Edits]:
    """The shape of a reply that holds 1 to `most` edits of different kinds.

    Args:
        names: what `kind` may be. Services that enforce a schema are held to it; of others' replies it is checked later.
    """
    named = Annotated[Phrase, WithJsonSchema({"type": "string", "enum": [*names]})]
    one: Any = create_model("KindEdit", __base__=KindEdit, kind=(named, ...))
    edits = Annotated[list[one], Field(min_length=1, max_length=most)]
    return create_model("KindEdits", __base__=Edits, edits=(edits, ...))


class Claim(Reply):
    """One thing that an edit instruction says, or that it leaves out."""

    claim: Text
    mark: Annotated[Literal["correct", "wrong", "missing"], BeforeValidator(_plain_word)]
    """Qwen-Verify's marks: claimed and done; claimed and not done; done and not claimed."""


class Verification(Reply):
    """What is seen of an edit, in the order of Qwen-Verify's chain; the names of its members are ours."""

    source_caption: Annotated[str, Field(min_length=1, max_length=4000)]
    edited_caption: Annotated[str, Field(min_length=1, max_length=4000)]
    differences: list[str]
    is_changed: bool
    claims: list[Claim]
    restated_instruction: Annotated[str, Field(max_length=600)]


class BothVerification(Verification):
    """The same of an instruction that is known in two languages."""

    restated_other: Annotated[str, Field(max_length=600)]


@cache
def judgement(scores: tuple[str, ...], flags: tuple[str, ...], low: int, high: int) -> type[Reply]:
    """The shape of a judge's reply: a reason, then the scores, then what is true or not.

    Services that enforce a schema get whole numbers from `low` to `high`. Others' replies pass as they are, so that
    `score_replies` reads "4/5" where a schema would only refuse it.
    """
    number = WithJsonSchema({"type": "integer", "minimum": low, "maximum": high})
    fields: dict[str, object] = {"reason": (str, "")}
    fields |= {name: (Annotated[Any, number], ...) for name in scores}
    fields |= {name: (Annotated[Any, WithJsonSchema({"type": "boolean"})], ...) for name in flags}
    made: type[Reply] = create_model("Judgement", __base__=Reply, **fields)  # type: ignore[call-overload]
    return made
