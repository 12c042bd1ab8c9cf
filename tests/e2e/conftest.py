"""The driver as a process against a real ComfyUI."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.helpers import Driver, make_photos


@pytest.fixture
def driver(comfy: Any, tmp_path: Path) -> Iterator[Driver]:
    """The command, by default with the session's ComfyUI as its server."""
    scratch = tmp_path / "driver-logs"
    scratch.mkdir()
    running = Driver(comfy.url, scratch)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of six small photos with masks."""
    folder = tmp_path / "photos"
    make_photos(folder, 6)
    return folder
