"""A user's account with nothing in it, a scripted endpoint, and a profile that names it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.vlm.client.questions import KEY, WriteProfile
from tests.vlm.endpoint import Endpoint


@pytest.fixture(autouse=True)
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty configuration and cache of this test alone; the folder holds both."""
    for name in os.environ:
        if name.startswith(("EDITPAIRS_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EDITPAIRS_CONFIG", str(tmp_path / "vlm.toml"))
    monkeypatch.setenv("EDITPAIRS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SENTINEL_KEY", KEY)
    return tmp_path


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as running:
        yield running


@pytest.fixture
def write_profile(account: Path) -> WriteProfile:
    """Adds a profile to the file of profiles. Its key is the sentinel, and it gives up after one retry."""

    def write(name: str, url: str, **fields: Any) -> None:
        settings = {"base_url": url, "model": "tiny", "key_variable": "SENTINEL_KEY", "retries": 1, **fields}
        lines = [f"[profiles.{name}]", *(f"{field} = {_toml(value)}" for field, value in settings.items())]
        with (account / "vlm.toml").open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    return write


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(part)}" for name, part in value.items()) + "}"
    return str(value).lower() if isinstance(value, bool) else repr(value)
