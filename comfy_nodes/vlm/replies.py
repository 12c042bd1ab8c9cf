"""What a model says, made into what was asked for, or into the reason why it cannot be.

Runtimes call `ask_for_json` before and `read` after. A reply is data and nothing more: it is parsed and checked
against the question's shape, never executed, and neither a path nor an address is ever made of it. So words in a photo
can change what a reply says, not what it can do.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from . import json_objects
from .asking import FailureKind


@dataclass(frozen=True)
class UnusableReply:
    """A reply that is not what was asked for."""

    kind: FailureKind
    message: str
    can_be_mended: bool = False
    """Whether asking once more, with the reason, may help."""


_CANNOT = r"(?:can'?t|cannot|can not|unable|not able|won't)\b"
_REFUSALS = re.compile(
    rf"(?:I'm|I am)?\s*(?:very |really |so )?sorry\b.{{0,40}}?\b{_CANNOT}"
    rf"|I(?:'m| am)? ?{_CANNOT}(?: to)? (?:help|assist|comply|provide|fulfil|do|process|describe|analy[sz]e|identify|"
    r"generate|create|edit|discuss|answer)\b"
    r"|(?:非常|很)?(?:抱歉|对不起).{0,20}?(?:无法|不能|不可以)"
    r"|我(?:无法|不能)(?:协助|帮助|提供|处理|回答|满足)",
    re.IGNORECASE | re.DOTALL,
)
"""How refusals begin, in English and Chinese. Ours."""

_THOUGHTS = re.compile(r"\s*<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.DOTALL | re.IGNORECASE)
MOST_CHARACTERS = 100_000
"""A longer reply ran away and is not looked at: one of 4,096 tokens has about 16,000. Ours."""

MAX_SHOWN_ERRORS = 6
"""Complaints about a reply's shape that the model is shown. Ours."""


def ask_for_json(shape: type[BaseModel]) -> str:
    """The paragraph that asks for a shape in words, where the service does not enforce it."""
    schema = json.dumps(shape.model_json_schema(), ensure_ascii=False, separators=(",", ":"))
    return (
        "Answer with a single JSON object and nothing around it: no prose, no code fence. "
        f"This JSON schema says what it must hold:\n{schema}"
    )


def ask_again(unusable: UnusableReply, shape: type[BaseModel]) -> str:
    """What the model is told after a reply that could be mended."""
    return f"That reply could not be used: {unusable.message}. Answer the same question again. {ask_for_json(shape)}"


def spoken(text: str) -> str:
    """A reply without the thoughts that some models write before it."""
    return _THOUGHTS.sub("", text, count=1).strip() if text.lstrip()[:6].lower() == "<think" else text.strip()


def read(text: str, shape: type[BaseModel] | None) -> BaseModel | UnusableReply | None:
    """The reply as `shape`, or None where plain text was asked for and is there, or why it is of no use."""
    words = spoken(text)
    if not words:
        return UnusableReply("VlmEmptyReply", "the model answered with nothing")
    if len(words) > MOST_CHARACTERS:
        return UnusableReply("VlmCutOff", f"the reply has {len(words)} characters and was not read")
    if (shape is None or "{" not in words) and _REFUSALS.match(words.replace("\u2019", "'")):
        return UnusableReply("VlmRefusal", "the model declined to answer")
    if shape is None:
        return None
    try:
        found = json_objects.objects(words)
    except json_objects.Unfinished:
        return UnusableReply("VlmCutOff", "the reply was broken off: its JSON does not end", can_be_mended=True)
    except json_objects.UnreadableJson as problem:
        return UnusableReply("VlmNotJson", str(problem), can_be_mended=True)
    return _fitting(found, words, shape)


def _fitting(found: list[dict[str, Any] | list[Any]], words: str, shape: type[BaseModel]) -> BaseModel | UnusableReply:
    """The one object that has the shape."""
    fitting: list[BaseModel] = []
    wrong = UnusableReply("VlmNotJson", "the reply holds no JSON object", can_be_mended=True)
    if not found and _REFUSALS.match(words.replace("\u2019", "'")):
        wrong = UnusableReply("VlmRefusal", "the model declined to answer")
    for value in found:
        try:
            one = shape.model_validate(value)
        except ValidationError as error:
            faults = [f"{_place(fault['loc'])}: {fault['msg']}" for fault in error.errors(include_input=False)]
            shown = "; ".join(faults[:MAX_SHOWN_ERRORS])
            wrong = UnusableReply("VlmWrongShape", f"the JSON has the wrong shape: {shown}", can_be_mended=True)
            continue
        fitting += [one] if one not in fitting else []
    if len(fitting) > 1:
        return UnusableReply("VlmNotJson", f"the reply holds {len(fitting)} answers that differ", can_be_mended=True)
    return fitting[0] if fitting else wrong


def _place(location: tuple[str | int, ...]) -> str:
    return ".".join(map(str, location)) or "the object"
