"""The endpoint client against `transformers serve`: a real OpenAI-compatible server with tiny Qwen2.5-VL folders."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from comfy_nodes.core.services import budget
from comfy_nodes.vlm.asking import Answer, Failure, Question
from comfy_nodes.vlm.endpoint import client
from tests.unit.loopback import free_port
from tests.vlm import tiny_vlm

START_SECONDS = 120

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn", "accelerate")),
    reason="needs transformers[serving]: python install.py --test",
)


class Score(BaseModel):
    score: int


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders by what they say: `score` a JSON object, `prose` no JSON, `letters` letters without end."""
    home = tmp_path_factory.mktemp("served")
    tiny_vlm.qwen25_vl(home / "score", recital=('{"score": ', "4", "}"))
    tiny_vlm.qwen25_vl(home / "prose", recital=("It is fine.",))
    tiny_vlm.qwen25_vl(home / "letters")
    return home


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running `transformers serve`."""
    port = free_port()
    log = tmp_path_factory.mktemp("serve") / "serve.log"
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    command = [str(Path(sys.executable).parent / "transformers"), "serve", *options]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(f"http://127.0.0.1:{port}/health"):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"transformers serve did not start:\n{log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.3)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except (urllib.error.URLError, TimeoutError, ConnectionError):
        return False
    return True


Ask = Callable[..., list[Answer | Failure]]


@pytest.fixture
def ask(served: str, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Asks the model of this name through a profile, on an account of this test's own."""
    monkeypatch.setenv("EDITPAIRS_CONFIG", str(tmp_path / "vlm.toml"))
    monkeypatch.setenv("EDITPAIRS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EDITPAIRS_VLM_BASE_URL", raising=False)

    def ask_model(model: str, *questions: Question, json_mode: str = "prompt") -> list[Answer | Failure]:
        lines = [f"base_url = {served!r}", f"model = {str(models / model)!r}", f"json_mode = {json_mode!r}"]
        (tmp_path / "vlm.toml").write_text("\n".join(["[profiles.default]", "retries = 0", *lines]))
        return asyncio.run(client.connect("default", "served").ask(questions))

    return ask_model


def question(**fields: Any) -> Question:
    photo = np.random.default_rng(0).integers(0, 256, (84, 112, 3), dtype=np.uint8)
    asked: dict[str, Any] = {"system": "You judge.", "user": "How good is it?", "images": (photo, photo), **fields}
    return Question(prompt_id="test", prompt_version="1", **asked)


def test_a_reply_arrives_as_a_record_and_is_counted(ask: Ask) -> None:
    results = ask("score", question(reply=Score), question(user="And now?", reply=Score, images=()))
    assert [one.value for one in results if isinstance(one, Answer)] == [Score(score=4)] * 2
    with_photos, without = (one.usage for one in results if isinstance(one, Answer))
    assert with_photos.prompt_tokens > without.prompt_tokens + 2 * 12  # 3 x 4 tokens show a photo of 84 x 112
    assert with_photos.completion_tokens in (3, 4)  # the end's mark counts or not, as the server sees it
    account = budget.spent("served")
    assert account.calls == 2
    assert account.prompt_tokens == with_photos.prompt_tokens + without.prompt_tokens


def test_the_same_words_reach_the_server_and_local_weights(ask: Ask, models: Path) -> None:
    """Both lay out system, photos and text alike, so that the same weights say the same."""
    pytest.importorskip("tests.models.conftest", exc_type=ImportError)
    pytest.importorskip("comfy.model_management", reason="needs ComfyUI's source: COMFYUI_PATH, or python install.py")
    from comfy_nodes.vlm.local.transformers_vlm import LocalVlm

    asked = question(max_tokens=10)
    local = asyncio.run(LocalVlm(models / "letters", "float32", 1, 3136, 12_845_056).ask([asked]))
    (served,) = ask("letters", asked)
    assert [one.text for one in local] == [served.text] and len(served.text) == 10


def test_garbage_is_a_failure_with_its_words(ask: Ask) -> None:
    (prose,) = ask("prose", question(reply=Score))
    assert isinstance(prose, Failure) and (prose.kind, prose.text) == ("VlmNotJson", "It is fine.")
    assert budget.spent("served").calls == 2  # asked once more
    (letters,) = ask("letters", question(reply=Score, max_tokens=5))
    assert isinstance(letters, Failure) and letters.kind == "VlmCutOff"
