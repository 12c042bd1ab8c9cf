"""What can go wrong between us and a service, each thing under the name that records give it.

Translates the openai library's exceptions and odd replies; `service` retries what may pass, the client turns the rest
into failures. Every message is one line without keys.
"""

from __future__ import annotations

import re
import time
from email.utils import mktime_tz, parsedate_tz
from typing import Any

import aiohttp
import openai

from ...core.services import redaction
from ...core.services.profiles import Profile
from ..asking import FailureKind

_NEVER_SENT = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
)
"""Exceptions before the first byte of a request is sent."""

LONGEST_WAIT_S = 120.0
"""A service that wants to be left alone for longer ends the question. Ours; the openai library's bound is the same."""

_TOO_LARGE = re.compile(
    r"(?=.*(?:image|picture|photo|media|payload|request|entity|body))"
    r"(?=.*(?:too (?:large|big|many pixels)|exceed|oversized|maximum|max_pixels|larger than|resolution|dimensions))"
    r"|context (?:length|window|size)|longer than the maximum model length",
    re.IGNORECASE | re.DOTALL,
)
"""How services say that a picture is too large, or fills their context. Ours."""

_NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
"""Codes of OpenAI's 429 that no waiting mends."""

_STATUSES = {
    **dict.fromkeys((*_NO_CREDIT, "rate_limit_exceeded", "rate_limit_error", "rate_limit", "too_many_requests"), 429),
    **dict.fromkeys(("invalid_api_key", "authentication_error", "permission_error", "unauthorized"), 401),
    **dict.fromkeys(("model_not_found", "not_found_error"), 404),
    **dict.fromkeys(("invalid_request_error", "bad_request", "BadRequestError", "context_length_exceeded"), 400),
}
"""Names that services give to errors, as the HTTP status that they would answer with; others count as their trouble."""

MOST_READ = 4000
"""Characters of an explanation that are looked at. Ours."""

_LOOK = "see that base_url ends where /chat/completions begins"

_WORDS = ("error", "message", "detail", "msg", "error_msg")
"""Members of JSON in which services explain themselves, the outer ones first."""


class Fault(Exception):
    """A request that came to nothing."""

    def __init__(
        self,
        kind: FailureKind,
        message: str,
        *,
        passes: bool = False,
        wait_s: float | None = None,
        may_have_cost: bool = False,
    ) -> None:
        """
        Args:
            passes: whether the same request may succeed later.
            wait_s: how long the service asks to be left alone.
            may_have_cost: whether the service may have worked, and bill for it, without our seeing the reply.
        """
        super().__init__(redaction.clean(message))
        self.kind, self.passes, self.wait_s, self.may_have_cost = kind, passes, wait_s, may_have_cost


def of_error(error: Exception, profile: Profile) -> Fault:
    """The fault behind an exception that a request raised; what is nobody's fault but ours is raised again."""
    who = f"VLM profile '{profile.name}'"
    if isinstance(error, Fault):
        return error
    if (broken := _broken(error)) is not None:
        never_sent = isinstance(broken, _NEVER_SENT)
        what = "cannot be reached" if never_sent else "broke off the connection"
        message = f"{who}: {profile.base_url} {what} ({broken}); see that it runs and that base_url is right"
        return Fault("VlmConnection", message, passes=True, may_have_cost=not never_sent)
    if isinstance(error, (TimeoutError, openai.APITimeoutError)):
        message = f"{who}: no complete reply within {profile.timeout_s:g} s; raise timeout_s or lower concurrency"
        return Fault("VlmTimeout", message, passes=True, may_have_cost=True)
    if isinstance(error, openai.APIStatusError):
        return _of_status(error.status_code, words_of(error.body), str(error.code or ""), _wait_s(error), profile)
    if isinstance(error, (ValueError, openai.APIResponseValidationError)):
        return not_a_completion(profile, f"what the HTTP library cannot read ({type(error).__name__})")
    raise error


def _broken(error: Exception) -> Exception | None:
    """What aiohttp said of a connection that was not made or did not last; the library gives it other names, one of which
    is that of a timeout."""
    cause: BaseException | None = error if isinstance(error, openai.APIConnectionError) else None
    while cause is not None and not isinstance(cause, (aiohttp.ClientError, OSError)):
        cause = cause.__cause__
    late = isinstance(cause, aiohttp.ServerTimeoutError) and not isinstance(cause, aiohttp.ConnectionTimeoutError)
    return None if late or not isinstance(cause, Exception) else cause


def of_reported(error: object, profile: Profile) -> Fault:
    """The fault of an error that a service reports inside a reply of status 200, by the status that it names."""
    code = error.get("code") or error.get("type") if isinstance(error, dict) else None
    name = str(code or "")
    status = int(name) if re.fullmatch(r"[45]\d{2}", name) else _STATUSES.get(name, 500)
    return _of_status(status, words_of(error), name, None, profile)


def not_json(profile: Profile, body: bytes) -> Fault:
    """
    Args:
        body: of a reply, that is no JSON.
    """
    start = body.lstrip()[:MOST_READ]
    if start.startswith(b"<"):
        return not_a_completion(profile, f"a web page, and no chat completion; {_LOOK}")
    try:
        body.decode()
    except UnicodeDecodeError:
        return not_a_completion(profile, "bytes that are no UTF-8")
    if start.startswith((b"{", b"[")):
        return not_a_completion(profile, "JSON that is broken or does not end")
    said = words_of(start.decode(errors="replace"))
    return not_a_completion(profile, f"text that is no JSON ({said})" if start else "an empty body")


def other_object(profile: Profile, content: dict[str, Any]) -> Fault:
    """
    Args:
        content: the JSON object that came instead of a chat completion.
    """
    said = next((one for one in map(content.get, _WORDS) if one), None)
    told = f" ({words_of(said)})" if said else ""
    return not_a_completion(profile, f"another JSON object than a chat completion{told}; {_LOOK}")


def not_a_completion(profile: Profile, what: str) -> Fault:
    """
    Args:
        what: came instead, in words.
    """
    message = f"VLM profile '{profile.name}': {profile.base_url} answered with {what}"
    return Fault("VlmServerError", message, passes=True, may_have_cost=True)


def without_reply(profile: Profile) -> Fault:
    message = f"VLM profile '{profile.name}': the service answered with an empty list of choices"
    return Fault("VlmEmptyReply", message, passes=True, may_have_cost=True)


def broken_off(profile: Profile, finish: str) -> Fault:
    message = f"VLM profile '{profile.name}': the reply was broken off (finish_reason {finish[:40]})"
    return Fault("VlmServerError", message, passes=True, may_have_cost=True)


def too_long(profile: Profile, most: int) -> Fault:
    message = (
        f"VLM profile '{profile.name}': {profile.base_url} answered with more than {most // 2**20} MB; it is not read"
    )
    return Fault("VlmServerError", message, may_have_cost=True)


def compressed(profile: Profile) -> Fault:
    message = (
        f"VLM profile '{profile.name}': {profile.base_url} answered compressed, though asked not to; switch that off"
    )
    return Fault("VlmServerError", message, may_have_cost=True)


def _of_status(status: int, said: str, code: str, wait: float | None, profile: Profile) -> Fault:
    who = f"VLM profile '{profile.name}'"
    if status in (401, 403):
        where = profile.key_variable or profile.key_file
        advice = f"look at the key in {where}" if where else "name its key in key_variable"
        return Fault("VlmUnauthorised", f"{who}: the service refused access ({status}: {said}); {advice}")
    if status == 402 or (status == 429 and code in _NO_CREDIT):
        return Fault("VlmRateLimited", f"{who}: the account has no credit left ({said}); top it up")
    if status == 404:
        advice = "look at model and base_url"
        return Fault("VlmNoModel", f"{who}: no model '{profile.model}' at {profile.base_url} ({said}); {advice}")
    if status == 413 or (status in (400, 422) and _TOO_LARGE.search(said)):
        advice = "lower max_image_pixels"
        return Fault("VlmImageTooLarge", f"{who}: the request is too large ({status}: {said}); {advice}")
    if status == 429:
        if wait is not None and wait > LONGEST_WAIT_S:
            return Fault(
                "VlmRateLimited", f"{who}: the service wants {wait:.0f} s without requests ({said}); try later"
            )
        advice = "lower concurrency or requests_per_minute"
        return Fault("VlmRateLimited", f"{who}: too many requests ({said}); {advice}", passes=True, wait_s=wait)
    if status == 408:
        return Fault("VlmTimeout", f"{who}: the service gave up waiting ({said})", passes=True)
    if status in (409, 425) or status >= 500:
        passes = wait is None or wait <= LONGEST_WAIT_S
        return Fault("VlmServerError", f"{who}: error {status} of the service ({said})", passes=passes, wait_s=wait)
    if 300 <= status < 400:
        return Fault("VlmConnection", f"{who}: {profile.base_url} redirects; put the final address into base_url")
    advice = "look at json_mode, omit, max_tokens_field and extra_body"
    return Fault("VlmBadRequest", f"{who}: the service rejects the request ({status}: {said}); {advice}")


def words_of(body: object) -> str:
    """The service's own words, wherever it has put them."""
    for member in _WORDS:
        if isinstance(body, dict) and body.get(member):
            body = body[member]
    try:
        said = str(body or "no explanation")
    except RecursionError:
        said = "an explanation of too many levels"
    return redaction.clean(said[:MOST_READ])


def _wait_s(error: openai.APIStatusError) -> float | None:
    """Seconds that `Retry-After` asks for, as a number or as a date."""
    value = error.response.headers.get("retry-after", "").strip()
    try:
        return max(0.0, float(value))
    except ValueError:
        date = parsedate_tz(value)
        return max(0.0, mktime_tz(date) - time.time()) if date else None
