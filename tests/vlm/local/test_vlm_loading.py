"""The three loader nodes, as ComfyUI calls them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("comfy.model_management", reason="needs ComfyUI's source: COMFYUI_PATH, or python install.py")

import folder_paths

from comfy_nodes.core.services import profiles
from comfy_nodes.models.checkpoints import CheckpointError
from comfy_nodes.models.folders import WEIGHTS
from comfy_nodes.nodes.vlm_loading import MAX_PIXELS, MIN_PIXELS, LoadVlmCore, LoadVlmEndpoint, LoadVlmLocal
from comfy_nodes.vlm.endpoint.client import EndpointVlm
from comfy_nodes.vlm.local.transformers_vlm import LocalVlm
from tests.vlm import tiny_vlm
from tests.vlm.local.conftest import ask, question


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """models/LLM with a folder in it, a level down as some packs keep theirs."""
    place = tmp_path_factory.mktemp("LLM")
    folder_paths.add_model_folder_path("LLM", str(place), is_default=True)
    folder_paths.folder_names_and_paths["LLM"][1].update(WEIGHTS)
    tiny_vlm.qwen25_vl(place / "Qwen-VL" / "Qwen2.5-VL-tiny")
    return place


def test_local_weights_are_found_and_asked(home: Path) -> None:
    options = LoadVlmLocal.GET_NODE_INFO_V1()["input"]["required"]["model"][1]["options"]
    name = "Qwen-VL/Qwen2.5-VL-tiny"
    assert name in options  # beside what other tests of this process have put into model folders
    (vlm,) = LoadVlmLocal.execute(name, "auto", 4).args
    assert isinstance(vlm, LocalVlm) and vlm.model == "Qwen2.5-VL-tiny"
    assert vlm.patcher is None  # nothing is read yet
    assert len(ask(vlm, question())[0].text) == 12 and vlm.patcher is not None


def test_local_errors_name_what_is_wrong(home: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no Qwen-VL/other"):
        LoadVlmLocal.execute("Qwen-VL/other", "auto", 4)
    with pytest.raises(ValueError, match=r"^min_pixels \(2000\) is above max_pixels \(1000\); swap them$"):
        LoadVlmLocal.execute("Qwen-VL/Qwen2.5-VL-tiny", "auto", 4, 2000, 1000)
    (home / "text").mkdir()
    (home / "text" / "config.json").write_text('{"model_type": "qwen2"}')
    with pytest.raises(CheckpointError, match=r"text: its config\.json says qwen2"):
        LoadVlmLocal.execute("text", "auto", 4)


def test_the_pixel_budget_is_unicbenchs() -> None:
    inputs = LoadVlmLocal.GET_NODE_INFO_V1()["input"]["optional"]
    assert (inputs["min_pixels"][1]["default"], inputs["max_pixels"][1]["default"]) == (50_176, 1_003_520)
    assert (MIN_PIXELS, MAX_PIXELS) == (50_176, 1_003_520)


def test_what_is_no_vlm_is_refused() -> None:
    class Stage:
        """Of an encoder in several parts."""

    class Clip:
        cond_stage_model = Stage()

    with pytest.raises(ValueError, match="clip holds Stage, which cannot answer questions on images"):
        LoadVlmCore.execute(Clip())  # type: ignore[arg-type]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Writes the operator's file of profiles."""
    for name in (f"{profiles.ENVIRONMENT_PREFIX}BASE_URL", profiles.ENVIRONMENT_KEY):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EDITPAIRS_CONFIG", str(tmp_path / "vlm.toml"))
    monkeypatch.setenv("EDITPAIRS_CACHE", str(tmp_path / "cache"))
    return lambda text: (tmp_path / "vlm.toml").write_text(text) and None


JUDGE = '[profiles.judge]\nbase_url = "http://127.0.0.1:1/v1"\nmodel = "{}"\n'


def test_a_profile_is_named_and_nothing_else(write: Callable[[str], None]) -> None:
    write(JUDGE.format("tiny"))
    assert LoadVlmEndpoint.validate_inputs("judge") is True
    (vlm,) = LoadVlmEndpoint.execute("judge", "run-1", 2.5).args
    assert isinstance(vlm, EndpointVlm) and vlm.model == "tiny"
    inputs = {one.id: one for one in LoadVlmEndpoint.GET_SCHEMA().inputs}
    assert sorted(inputs) == ["budget_usd", "profile", "run"]
    assert [one.id for one in inputs.values() if not one.optional] == ["profile"]


def test_an_unknown_profile_is_refused_before_the_graph_runs(write: Callable[[str], None]) -> None:
    write(JUDGE.format("tiny"))
    said = LoadVlmEndpoint.validate_inputs("other")
    assert isinstance(said, str) and "no VLM profile 'other'" in said and "has judge" in said and "\n" not in said
    with pytest.raises(profiles.VlmNotConfigured, match="no VLM profile 'other'"):
        LoadVlmEndpoint.execute("other")
    assert LoadVlmEndpoint.validate_inputs(None) is True  # wired in; known when it runs


def test_a_changed_profile_is_read_anew(write: Callable[[str], None]) -> None:
    write(JUDGE.format("tiny"))
    before = LoadVlmEndpoint.fingerprint_inputs("judge")
    assert LoadVlmEndpoint.fingerprint_inputs("judge") == before
    write(JUDGE.format("other"))
    assert LoadVlmEndpoint.fingerprint_inputs("judge") != before
