"""The driver as a process against a real ComfyUI."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
if str(REPOSITORY) not in sys.path:
    sys.path.insert(0, str(REPOSITORY))
os.environ["HF_HUB_OFFLINE"] = "1"

from tests.e2e import helpers  # noqa: E402
from tests.e2e.helpers import Driver, make_photos  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Lets the commands keep their bytecode, outside the repository: compiling it takes most of a short run."""
    folder = tmp_path_factory.mktemp("bytecode")
    helpers.ENVIRONMENT.update(PYTHONDONTWRITEBYTECODE="", PYTHONPYCACHEPREFIX=str(folder))


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
