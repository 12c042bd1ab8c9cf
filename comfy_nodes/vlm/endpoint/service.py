"""One service as this process talks to it: a client, its limits, and one request with all its attempts.

The client module keeps one `Service` per profile on the background loop. Nothing here knows what a question is; it
sends messages and brings back words and what they cost.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from ...core.services import redaction
from ...core.services.budget import Account, Spent
from ...core.services.profiles import Profile
from . import completions, faults
from .completions import Said
from .faults import Fault

CONNECT_S = 10.0
"""Seconds for connecting. Ours."""

MOST_BYTES = 8 * 2**20
"""Most bytes of an answer. The longest replies have a few thousand tokens. Ours."""

PAUSE_S = 1.0
"""How long nobody asks a service that has had too many requests and doesn't say how long to wait. Ours."""

_BACK_OFF = wait_exponential(multiplier=0.5, max=8.0) + wait_random(0.0, 0.5)
"""Waits between attempts. Half a second to eight as in the openai library; the jitter is ours."""

_SENT_HEADERS = {"host", "accept", "accept-encoding", "connection", "content-type", "content-length", "user-agent"}
"""The library would add an account's organisation and project, and headers of its own, from other variables of the
environment, and a description of this machine; no service is told those."""


_HTTP: Any = importlib.import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])
"""httpx, under the name by which the installed library knows it."""


class Service:
    """Sends requests of one profile. Lives on one event loop."""

    def __init__(self, profile: Profile, key: str) -> None:
        self._profile = profile
        self._limits = RequestLimits(profile.concurrency, profile.requests_per_minute)

        async def only_what_is_needed(request: Any) -> None:
            for name in set(request.headers) - _SENT_HEADERS:
                del request.headers[name]
            request.headers["accept-encoding"] = "identity"  # a few MB of gzip may be gigabytes
            if key:
                request.headers["authorization"] = f"Bearer {key}"

        async def only_so_much(response: Any) -> None:
            if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
                raise faults.compressed(profile)
            response.stream = _Bounded(response.stream, profile)

        # Redirects could take photos to a place that no profile names.
        http = openai.DefaultAsyncHttpxClient(
            timeout=openai.Timeout(profile.timeout_s, connect=min(CONNECT_S, profile.timeout_s)),
            follow_redirects=False,
            event_hooks={"request": [only_what_is_needed], "response": [only_so_much]},
        )
        # Attempts are counted here and not in the library, where they would pass by limits and budget.
        self._client = openai.AsyncOpenAI(
            api_key=key or "none", base_url=profile.base_url, max_retries=0, http_client=http
        )
        redaction.guard_logs()

    async def request(self, body: dict[str, Any], account: Account, most_usd: float) -> Said:
        """One reply, after as many attempts as the profile allows.

        Args:
            body: of the request, in the service's terms.
            most_usd: what one attempt can cost.

        Raises:
            Fault: there is none, and more attempts would not help.
            budget.OverBudget: the account does not cover an attempt.
        """
        attempts = AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, Fault) and error.passes),
            stop=stop_after_attempt(self._profile.retries + 1),
            wait=_wait,
            reraise=True,
        )
        said: Said = await attempts(self._attempt, body, account, most_usd)
        return said

    async def _attempt(self, body: dict[str, Any], account: Account, most_usd: float) -> Said:
        async with self._limits.turn():
            account.reserve(self._profile, most_usd)
            # What is never settled stays reserved: cut off or cancelled, the service may bill it.
            try:
                said = await self._send(body)
            except Fault as fault:
                if not fault.may_have_cost:
                    account.settle(most_usd, Spent())
                if fault.kind == "VlmRateLimited" and fault.passes:
                    self._limits.hold(PAUSE_S if fault.wait_s is None else fault.wait_s)
                raise
            usage = said.usage
            call = Spent(1, usage.prompt_tokens, usage.completion_tokens, usage.usd)
            account.settle(most_usd if said.counted else 0.0, call)
            return said

    async def _send(self, body: dict[str, Any]) -> Said:
        try:
            # Of the whole attempt: the HTTP client's own bound begins anew with every byte of a slow reply.
            async with asyncio.timeout(self._profile.timeout_s):
                # Not `chat.completions.create`, which walks through each message to rename members that have no other
                # name, a third of a call's work, and makes records of whatever comes without checking it.
                content = await self._client.post("/chat/completions", body=body, cast_to=bytes)
        except Exception as error:
            raise faults.of_error(error, self._profile) from None
        return completions.read(content, self._profile)


class _Bounded(_HTTP.AsyncByteStream):  # type: ignore[misc]
    """A body, as far as it is bounded."""

    def __init__(self, body: Any, profile: Profile) -> None:
        self._body, self._profile = body, profile

    async def __aiter__(self) -> AsyncIterator[bytes]:
        come = 0
        async for chunk in self._body:
            come += len(chunk)
            if come > MOST_BYTES:
                raise faults.too_long(self._profile, MOST_BYTES)
            yield chunk

    async def aclose(self) -> None:
        await self._body.aclose()


def _wait(state: RetryCallState) -> float:
    fault = state.outcome.exception() if state.outcome else None
    asked = fault.wait_s if isinstance(fault, Fault) else None
    return _BACK_OFF(state) if asked is None else asked


class RequestLimits:
    """Slots and a pace for the requests to one service."""

    def __init__(self, concurrency: int, requests_per_minute: float) -> None:
        self._slots = asyncio.Semaphore(concurrency)
        # Evenly spaced, so that no minute ever sees more than allowed, wherever the service begins to count.
        self._spacing = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._next_start = 0.0
        self._held_until = 0.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits until a request may start, and holds its slot until the block ends."""
        async with self._slots:
            clock = asyncio.get_running_loop().time
            while (now := clock()) < self._held_until:
                await asyncio.sleep(self._held_until - now)
            start = max(now, self._next_start)
            self._next_start = start + self._spacing
            await asyncio.sleep(start - now)
            yield

    def hold(self, seconds: float) -> None:
        """Lets nobody start for so long: the service has said that it is being asked too fast."""
        self._held_until = max(self._held_until, asyncio.get_running_loop().time() + seconds)
