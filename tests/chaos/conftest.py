"""Servers to be killed, hung and lied about: one real ComfyUI with the benchmark's nodes, and any number of fake ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.driver_servers import ServerProcess, comfyui, fake_comfyui
from driver.comfyui.own import find_comfyui
from driver.errors import RunError
from tests.chaos.scene import Patched
from tests.e2e.helpers import REPOSITORY

Fakes = Callable[..., ServerProcess]


@pytest.fixture(autouse=True)
def found_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is forked off finds our `tests`, not those of ComfyUI, which other tests put on the path: a package comes before a
    folder without `__init__.py`, wherever it stands."""
    ours = [one for one in sys.path if not (Path(one) / "tests" / "__init__.py").exists()]
    monkeypatch.setattr(sys, "path", [str(REPOSITORY), *ours])


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The real ComfyUI. A test that kills it starts it again."""
    try:
        source = find_comfyui()
    except RunError as error:
        pytest.skip(str(error))
    with comfyui(source, tmp_path_factory.mktemp("chaos-comfyui")) as server:
        yield server


@pytest.fixture(scope="session")
def object_info(real: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The nodes that the real one has, for the fake ones to show."""
    path = tmp_path_factory.mktemp("nodes") / "object_info.json"
    path.write_text(json.dumps(real.get("/object_info")))
    return path


@pytest.fixture
def fake(object_info: Path, tmp_path: Path) -> Iterator[Fakes]:
    """Makes fake ComfyUIs; called with options of its command line, such as `"--seconds", 0.1`, and `up=False` to wait."""
    made: list[ServerProcess] = []

    def make(*options: object, up: bool = True) -> ServerProcess:
        server = fake_comfyui(object_info, tmp_path / f"fake{len(made)}", *options)
        made.append(server)
        if up:
            server.start()
        return server

    yield make
    for server in made:
        server.kill()


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Patched]:
    """The command; every test names its servers."""
    scratch = tmp_path / "driver-logs"
    scratch.mkdir()
    running = Patched("", scratch)
    try:
        yield running
    finally:
        running.close()
