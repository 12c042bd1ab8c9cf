"""Keys are found in whatever form somebody repeats them, and nothing else is touched."""

from __future__ import annotations

import base64
import codecs
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from comfy_nodes.core.services import redaction

KEY = "sk-Vg7q_Lr2-xT9mPz4KwB8nQ3"


@pytest.fixture(autouse=True)
def hidden(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(redaction, "_pieces", {})
    redaction.hide(KEY)
    yield


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


ECHOES = {
    "whole": KEY,
    "upper": KEY.upper(),
    "lower": KEY.lower(),
    "spaced": " ".join(KEY),
    "in lines": "\n".join(KEY[at : at + 3] for at in range(0, len(KEY), 3)),
    "dotted": ".".join(KEY),
    "zero-width": "\u200b".join(KEY),
    "full-width quotes": "「" + KEY + "」",
    "first half": KEY[: len(KEY) // 2],
    "second half": KEY[len(KEY) // 2 :],
    "halves apart": f"{KEY[:13]} & {KEY[13:]}",
    "backwards": KEY[::-1],
    "ROT13": codecs.encode(KEY, "rot13"),
    "full-width": "".join(chr(ord(one) + 0xFEE0) for one in KEY),
    "base64": b64(KEY),
    "base64 of the header": b64(f"Bearer {KEY}"),
    "base64 of a user": b64(f"u:{KEY}"),
    "base64 of a half": b64(KEY[:16]),
    "base64, urlsafe": base64.urlsafe_b64encode(KEY.encode()).decode(),
    "base32": base64.b32encode(KEY.encode()).decode(),
    "hex": KEY.encode().hex(),
    "hex, spaced": KEY.encode().hex(" ").upper(),
    "percent": "".join(f"%{byte:02X}" for byte in KEY.encode()),
    "url": quote(KEY, safe=""),
    "json escapes": "".join(f"\\u{ord(one):04x}" for one in KEY),
    "x escapes": "".join(f"\\x{ord(one):02x}" for one in KEY),
    "entities": "".join(f"&#{ord(one)};" for one in KEY),
}


@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
def test_an_echoed_key_is_not_shown(echo: str) -> None:
    text = f"Straße: {echo}, says the model"
    assert redaction.holds_key(text)
    for shown in (redaction.without_keys(text), redaction.without_secrets(text), redaction.clean(text)):
        assert shown.startswith("Straße: ") and shown.endswith(", says the model") and redaction.HIDDEN in shown
        assert not redaction.holds_key(shown)
        # What is left is no longer than the word Bearer and a service's prefix.
        left = redaction._bare(
            shown.removeprefix("Straße: ").removesuffix(", says the model").replace("key hidden", "")
        )
        assert len(left) <= 12, shown


def test_a_key_that_comes_out_of_escapes_takes_the_text_along() -> None:
    """Half of its letters plain, half escaped: what reads the escapes later would show it."""
    for form in ("\\u{:04x}", "\\x{:02x}", "%{:02X}", "&#{};", "&#x{:x};"):
        echo = "".join(form.format(ord(one)) if at % 2 else one for at, one in enumerate(KEY))
        assert redaction.without_keys(f"sent {echo} to you") == redaction.HIDDEN
    assert redaction.without_keys("100%25 of \\u0041 &#38;") == "100%25 of \\u0041 &#38;"


@pytest.mark.parametrize(
    "text",
    [
        "Remove the dog on the left, please.",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "把左边的狗移走。",
        "the seed 1234567890123456 of 2026-01-01",
        "",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert redaction.without_keys(text) == redaction.clean(text) == text
    assert not redaction.holds_key(text)


def test_a_key_of_any_bytes_is_hidden() -> None:
    redaction.hide("no-text-\udcff-at-all-0123456789")
    assert redaction.without_keys("a no-text-\udcff-at-all-0123456789") == f"a {redaction.HIDDEN}"


def test_short_keys_are_words_or_found_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_pieces", {})
    for key in ("EMPTY", "ollama", "a-key-for-us", "--------a"):
        redaction.hide(key)
    assert redaction.without_keys("an empty ollama has a key for two") == "an empty ollama has a key for two"
    assert redaction.without_keys("A KEY FOR US, --------a") == f"{redaction.HIDDEN}, {redaction.HIDDEN}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("key sk-proj-aB3_dE-f99988 was refused", "key [key hidden] was refused"),
        ("hf_abcdefghijk is no member", "[key hidden] is no member"),
        ("http://me:hunter2@vlm:8000/v1 is away", "http://[key hidden]@vlm:8000/v1 is away"),
        ("Authorization: Bearer abc.def-ghi=", "Authorization: Bearer [key hidden]"),
        ("GET /v1?api_key=0123456789&n=2", "GET /v1?api_key=[key hidden]&n=2"),
        ('{"password": "x", "n": 1}', '{"password": "[key hidden]", "n": 1}'),
        ("task-12345678 of disk-abcdefgh", "task-12345678 of disk-abcdefgh"),
        ("http://127.0.0.1:8188 answered 500 for a@b.c", "http://127.0.0.1:8188 answered 500 for a@b.c"),
        ("at most 512 tokens: 600 given", "at most 512 tokens: 600 given"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_from_logs(text: str, shown: str) -> None:
    assert redaction.without_secrets(text) == shown
