"""What a chat endpoint's 200 holds: a reply and how it ended, or the service's own error.

`service` hands in the body as it came. Nothing in it is trusted: its length is bounded by then, and only what is finished
and of a known shape becomes a reply. Whatever else it is becomes a fault that says it in the service's words.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any

from ...core.services import redaction
from ...core.services.profiles import Profile
from ..asking import Usage
from . import faults

FINISHED = frozenset({"stop", "eos", "eos_token", "stop_sequence", "end_turn", "complete", "completed"})
"""How services say that a reply is whole. Whatever is in none of these sets broke off."""

CUT_OFF = frozenset({"length", "max_tokens", "model_length"})
FILTERED = frozenset({"content_filter", "safety", "refusal"})

THOUGHTS = frozenset({"thinking", "reasoning"})
"""Parts of a reply that are not meant for who asked."""

MOST_TOKENS = 10**9
"""A count above it is none."""


@dataclass(frozen=True)
class Said:
    """A reply as it came."""

    text: str
    model: str
    """As the service calls it."""
    usage: Usage
    counted: bool
    """The service says how many tokens it took."""
    refused: bool
    """The service says itself that this is a refusal."""
    cut_off: bool
    """The reply ran into its longest length."""
    finish: str
    """Why it ended, in the service's word; empty where it does not say. Then only its form tells whether it is whole."""
    repeats_key: bool
    """A key that is known here stood in it, and is blotted out."""


def read(body: bytes, profile: Profile) -> Said:
    """The reply in a body.

    Raises:
        faults.Fault: there is none, or it broke off.
    """
    try:
        content = json.loads(body)
    except RecursionError:
        raise faults.not_a_completion(profile, "JSON of too many levels") from None
    except ValueError:
        raise faults.not_json(profile, body) from None
    if not isinstance(content, dict):
        raise faults.not_a_completion(profile, "null" if content is None else "JSON that is no object")
    choices = content.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    choice = first if isinstance(first, dict) else {}
    for error in (content.get("error"), choice.get("error")):
        if error:
            raise faults.of_reported(error, profile)
    if content.get("object") == "error":
        raise faults.of_reported(content, profile)
    if choices == []:
        raise faults.without_reply(profile)
    message = choice.get("message")
    parts = _parts(message.get("content")) if isinstance(message, dict) else None
    finish = choice.get("finish_reason")
    if not isinstance(message, dict) or parts is None or not isinstance(finish, str | None):
        if "choices" in content:
            raise faults.not_a_completion(profile, "a chat completion of an unknown shape")
        raise faults.other_object(profile, content)
    refusal = message.get("refusal")
    how = (finish or "").strip().lower()
    if how and how not in FINISHED | CUT_OFF | FILTERED:
        raise faults.broken_off(profile, how)
    usage = content.get("usage")
    prompt, reply = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    text = "".join(parts) or (refusal if isinstance(refusal, str) else "")
    text, model = _encodable(text), content.get("model")
    shown = redaction.without_keys(text)
    return Said(
        text=shown,
        model=redaction.clean(_encodable(_called(model if isinstance(model, str) and model else profile.model))),
        usage=Usage(prompt, reply, profile.usd(prompt, reply)),
        counted=prompt > 0,
        refused=bool(refusal) or how in FILTERED,
        cut_off=how in CUT_OFF,
        finish=how,
        repeats_key=shown != text,
    )


def _parts(content: Any) -> list[str] | None:
    """The words of a message, which may come in parts; None where it holds anything else."""
    if content is None or isinstance(content, str):
        return [content or ""]
    if not isinstance(content, list):
        return None
    words = []
    for part in content:
        if isinstance(part, dict) and part.get("type") in THOUGHTS:
            continue
        text = part.get("text") if isinstance(part, dict) and part.get("type") in ("text", "output_text") else part
        if not isinstance(text, str):
            return None
        words.append(text)
    return words


def _count(usage: Any, field: str) -> int:
    value = usage.get(field) if isinstance(usage, dict) else 0
    return value if type(value) is int and 0 < value <= MOST_TOKENS else 0


def _encodable(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can spell and no file can hold."""
    return text.encode("utf-8", "replace").decode()


def _called(model: str) -> str:
    """A model's name; of one that a service calls by its folder, the folder's own name, as records hold no paths."""
    path = PureWindowsPath(model)
    return path.name if path.is_absolute() or model.startswith("/") else model
