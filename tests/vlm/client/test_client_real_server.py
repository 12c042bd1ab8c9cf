"""The client against a server that somebody else wrote: `transformers serve` with a tiny Qwen2.5-VL."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from comfy_nodes.vlm.asking import Answer
from tests.unit.loopback import free_port
from tests.vlm.client.questions import Score, WriteProfile, ask, picture, question

START_SECONDS = 120
RECITAL = ('{"score": 7, ', '"reason": "it is so"}')


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    for library in ("fastapi", "uvicorn", "transformers"):
        pytest.importorskip(library, reason="needs transformers[serving]")
    from tests.vlm import tiny_vlm

    return str(tiny_vlm.qwen25_vl(tmp_path_factory.mktemp("weights") / "tiny", recital=RECITAL))


@pytest.fixture(scope="module")
def served(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    log = tmp_path_factory.mktemp("log") / "serve.log"
    command = [Path(sys.executable).parent / "transformers", "serve", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        server = subprocess.Popen([*command, "--device", "cpu"], stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while server.poll() is None and time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.3)
        else:
            pytest.fail(f"transformers serve did not start:\n{log.read_text(errors='replace')[-2000:]}")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(timeout=30)


def test_it_answers_in_json_and_in_words(served: str, model: str, write_profile: WriteProfile) -> None:
    write_profile("default", served, model=model, json_mode="prompt", retries=0, timeout_s=100)
    seen, plain = ask(
        question("two", images=(picture(), picture(seed=1)), max_tokens=40), question("none", reply=None, max_tokens=40)
    )
    assert isinstance(seen, Answer) and isinstance(plain, Answer), (seen, plain)
    assert seen.value == Score(score=7, reason="it is so")
    assert plain.text == "".join(RECITAL)
    assert seen.usage.prompt_tokens > plain.usage.prompt_tokens > 0
