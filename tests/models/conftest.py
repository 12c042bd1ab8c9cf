"""ComfyUI's own modules in this process, on the CPU, with a base directory that nobody else uses."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from driver.comfyui.own import find_comfyui
from driver.errors import RunError


def _prepare() -> None:
    """Makes `import comfy` work, where there is a ComfyUI; test modules skip themselves where there is none."""
    try:
        source = find_comfyui()
    except RunError:
        return
    if str(source) not in sys.path:
        sys.path.insert(0, str(source))
    from comfy.cli_args import args

    args.cpu = True  # has to be said before comfy.model_management is imported
    if not args.base_directory:
        args.base_directory = tempfile.mkdtemp(prefix="editpairs-models-")
        atexit.register(shutil.rmtree, args.base_directory, ignore_errors=True)


_prepare()


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for tiny checkpoints, registered with ComfyUI as the home of every folder type of ours."""
    import folder_paths

    from comfy_nodes.models import folders

    home = tmp_path_factory.mktemp("weights")
    for name in (*folders.OWN_FOLDERS, "text_encoders"):
        folder_paths.add_model_folder_path(name, str(home), is_default=True)
    return home


@pytest.fixture(scope="session")
def clip_folder(weights: Path) -> Path:
    from tests.models import tiny

    return tiny.clip_text(weights / "clip-tiny")


@pytest.fixture(scope="session")
def yolo_file(weights: Path) -> Path:
    pytest.importorskip("ultralytics", reason="needs ultralytics: python install.py")
    from tests.models import tiny

    return tiny.yolo_world(weights / "tiny-worldv2.pt")


@pytest.fixture(autouse=True)
def nothing_loaded() -> Iterator[None]:
    """Every test leaves ComfyUI's memory manager empty."""
    yield
    if "comfy.model_management" in sys.modules:
        sys.modules["comfy.model_management"].unload_all_models()
