"""The `EDITPAIRS_VLM` runtime that asks a service with an OpenAI-compatible chat endpoint.

`Load VLM (endpoint)` calls `connect`; nodes then call `ask`, from any event loop. A question goes through the cache,
the budget and the limits of its profile; what comes back is an answer of the right shape or a failure, in bounded
time. Who may be asked is decided in `profiles`, how in `service`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...core.services import profiles, redaction
from ...core.services.budget import Account, OverBudget
from ...core.services.profiles import Profile
from .. import replies
from ..asking import Answer, Failure, Question, Usage
from . import background, cache, chat
from .cache import CachedReply, Flights
from .completions import Said
from .faults import Fault
from .service import Service

SHRINK = 4
"""A picture that a service finds too large is sent once more with a quarter of its pixels. Ours."""

BY_HAND = "by hand"
"""The account of questions that belong to no run."""

MAX_REPLY_BACK = 4000
"""Characters of an unusable reply that the model is shown when it is asked again. Ours."""


def connect(profile_name: str, run: str = "", budget_usd: float = 0.0) -> EndpointVlm:
    """The model behind an operator's profile. Sends nothing.

    Args:
        run: whose account pays; "" for graphs run by hand.
        budget_usd: most that the run may spend on this machine, over all its servers; 0: no bound.

    Raises:
        profiles.VlmNotConfigured: there is no such profile, or its key is missing.
    """
    profile = profiles.find(profile_name)
    profile.key()
    return EndpointVlm(profile, run, budget_usd)


class EndpointVlm:
    """Answers questions over HTTP."""

    def __init__(self, profile: Profile, run: str = "", budget_usd: float = 0.0) -> None:
        self.model = profile.model
        self._profile = profile
        self._account = Account(run or BY_HAND, budget_usd or None)

    async def ask(self, questions: Sequence[Question]) -> list[Answer | Failure]:
        """See `asking.Vlm`."""
        try:
            key = self._profile.key()
        except profiles.VlmNotConfigured as error:
            return [Failure("VlmNotConfigured", str(error)) for _ in questions]
        return await background.result_of(self._ask_all(questions, key))

    async def _ask_all(self, questions: Sequence[Question], key: str) -> list[Answer | Failure]:
        service = _service(self._profile, key)
        return list(await asyncio.gather(*(self._ask(service, question) for question in questions)))

    async def _ask(self, service: Service, question: Question) -> Answer | Failure:
        fingerprint = await asyncio.to_thread(cache.key, self._profile, question)
        # Only runs with the same purse share a flight: one may have spent its budget and the other not.
        flight = f"{self._account.run} {self._account.budget_usd} {fingerprint}"
        result, ours = await _flights.join(flight, lambda: self._cached_or_new(service, question, fingerprint))
        if ours or isinstance(result, Failure):
            return result
        return replace(result, cached=True, usage=Usage())

    async def _cached_or_new(self, service: Service, question: Question, fingerprint: str) -> Answer | Failure:
        store = cache.open_cache()
        async with store.claim(fingerprint) as kept:
            answer = _from_cache(kept, question) if kept else None
            if answer is not None:
                return answer
            result = await _Conversation(self._profile, self._account, service, question).answer()
            if isinstance(result, Answer):
                value = result.value.model_dump_json() if result.value is not None else None
                store.put(fingerprint, question.prompt_id, CachedReply(result.model, result.text, value))
            return result


@dataclass(frozen=True)
class _Conversation:
    """One question put to a service: asked, if need be with smaller pictures, and once more if need be."""

    profile: Profile
    account: Account
    service: Service
    question: Question

    async def answer(self) -> Answer | Failure:
        try:
            said, result = await self._answer()
        except OverBudget as error:
            return Failure("VlmBudget", str(error))
        except Fault as fault:
            return Failure(fault.kind, str(fault))
        if isinstance(result, replies.UnusableReply):
            who = f"VLM profile '{self.profile.name}', prompt '{self.question.prompt_id}'"
            return Failure(result.kind, redaction.clean(f"{who}: {result.message}"), said.text)
        return result

    async def _answer(self) -> tuple[Said, Answer | replies.UnusableReply]:
        messages, said = await self._first_reply()
        result = self._read(said, said.usage)
        if not isinstance(result, replies.UnusableReply) or not result.can_be_mended or self.question.reply is None:
            return said, result
        complaint = replies.ask_again(result, self.question.reply)
        turn = [{"role": "assistant", "content": said.text[:MAX_REPLY_BACK]}, {"role": "user", "content": complaint}]
        mended = await self._request([*messages, *turn])
        return mended, self._read(mended, said.usage + mended.usage)

    async def _first_reply(self) -> tuple[list[dict[str, Any]], Said]:
        most = self.profile.max_image_pixels
        messages = await asyncio.to_thread(chat.messages, self.profile, self.question, most)
        try:
            return messages, await self._request(messages)
        except Fault as fault:
            if fault.kind != "VlmImageTooLarge" or not self.question.images:
                raise
        largest = max(image.shape[0] * image.shape[1] for image in self.question.images)
        smaller = max(1, min(most, largest) // SHRINK)
        messages = await asyncio.to_thread(chat.messages, self.profile, self.question, smaller)
        return messages, await self._request(messages)

    async def _request(self, messages: list[dict[str, Any]]) -> Said:
        body = chat.body(self.profile, self.question, messages)
        return await self.service.request(body, self.account, chat.most_usd(self.profile, self.question, body))

    def _read(self, said: Said, usage: Usage) -> Answer | replies.UnusableReply:
        if said.repeats_key:
            return replies.UnusableReply("VlmRepeatedKey", "the reply repeats the key of the profile, and is not used")
        if said.refused:
            return replies.UnusableReply("VlmRefusal", "the service declined to answer")
        if said.cut_off:
            message = f"the reply was cut off at {self.question.max_tokens} tokens; allow more, or take another model"
            return replies.UnusableReply("VlmCutOff", message)
        value = replies.read(said.text, self.question.reply)
        if isinstance(value, replies.UnusableReply):
            ended = f" (finish_reason {said.finish or 'null'})" if value.kind == "VlmCutOff" else ""
            return replace(value, message=value.message + ended)
        text = said.text if value is not None else replies.spoken(said.text)
        return Answer(text, value, said.model, self.question.prompt_version, usage=usage)


def _from_cache(kept: CachedReply, question: Question) -> Answer | None:
    """The kept reply as an answer; None where shape or reader have tightened since, without the key showing it."""
    if isinstance(replies.read(kept.text, question.reply), replies.UnusableReply):
        return None
    if question.reply is None:
        return Answer(kept.text, None, kept.model, question.prompt_version, cached=True)
    try:
        value = question.reply.model_validate_json(kept.value or "")
    except ValueError:
        return None
    return Answer(kept.text, value, kept.model, question.prompt_version, cached=True)


_flights: Flights[Answer | Failure] = Flights()
_services: dict[tuple[str, str], Service] = {}


def _service(profile: Profile, key: str) -> Service:
    """The one service of this profile and key; another key or a changed profile makes another one."""
    identity = (profile.model_dump_json(), key)
    if identity not in _services:
        _services[identity] = Service(profile, key)
    return _services[identity]
