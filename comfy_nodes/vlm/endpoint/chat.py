"""A question in the words of the chat endpoint: the body of a request, and the most that it can cost.

The client builds these; `service` sends them. What a service does not understand is left out as its profile says.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import openai
from pydantic import BaseModel

from ...core.services.budget import most_prompt_tokens
from ...core.services.profiles import Profile
from .. import replies
from ..asking import Question

SHAPES = 256
"""Shapes whose strict schema is kept; making one takes a millisecond. Ours."""


def messages(profile: Profile, question: Question, urls: Sequence[str]) -> list[dict[str, Any]]:
    """The conversation so far: what the system says, then pictures, then the question.

    Args:
        urls: data URLs of the question's pictures.
    """
    text = question.user
    if question.reply is not None and profile.json_mode != "json_schema":
        text = f"{text}\n\n{replies.ask_for_json(question.reply)}"
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    user = {"role": "user", "content": [*pictures, {"type": "text", "text": text}] if pictures else text}
    return [{"role": "system", "content": question.system}, user] if question.system else [user]


def body(profile: Profile, question: Question, messages: list[dict[str, Any]]) -> dict[str, Any]:
    """A request that goes on from `messages`."""
    request: dict[str, Any] = {"model": profile.model, "messages": messages}
    request[profile.max_tokens_field] = question.max_tokens
    sampling = {"temperature": question.temperature, "seed": question.seed}
    request.update({name: value for name, value in sampling.items() if name not in profile.omit})
    reply_format = _reply_format(profile, question)
    if reply_format is not None:
        request["response_format"] = reply_format
    return request | profile.extra_body


def _reply_format(profile: Profile, question: Question) -> dict[str, Any] | None:
    if question.reply is None or profile.json_mode == "prompt":
        return None
    if profile.json_mode == "json_object":
        return {"type": "json_object"}
    schema = {"name": question.reply.__name__[:64], "schema": _strict(question.reply), "strict": True}
    return {"type": "json_schema", "json_schema": schema}


@lru_cache(maxsize=SHAPES)
def _strict(shape: type[BaseModel]) -> Any:
    """The shape's schema as services that enforce schemas want it: nothing beside the named members, none left out."""
    return _accepted(openai.pydantic_function_tool(shape)["function"]["parameters"])


def _accepted(schema: Any) -> Any:
    """The schema without the bounds on strings that OpenAI's strict schemas don't know: replies are checked for them
    here in any case."""
    if isinstance(schema, list):
        return [_accepted(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    # A bound is a number; under `properties` there may be a member of that name, which is a schema.
    return {
        name: _accepted(part)
        for name, part in schema.items()
        if not (name in ("minLength", "maxLength") and isinstance(part, int))
    }


def most_usd(profile: Profile, question: Question, request: dict[str, Any]) -> float:
    """The most that one attempt can cost: an upper bound of its tokens and a reply of full length."""
    texts = [json.dumps(request.get("response_format"))]
    for message in request["messages"]:
        content = message["content"]
        texts += [content] if isinstance(content, str) else [part.get("text", "") for part in content]
    pixels = [image.shape[0] * image.shape[1] for image in question.images]
    prompt = most_prompt_tokens(profile, sum(len(text.encode()) for text in texts), pixels)
    return profile.usd(prompt, question.max_tokens)
