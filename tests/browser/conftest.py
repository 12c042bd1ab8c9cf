"""ComfyUI's own page in a headless Chromium: what an artist sees and clicks."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
RUN_SECONDS = 60

FIND = "const node = app.graph.nodes.find(({ type }) => type === wanted);"
"""JavaScript that finds the one node of class `wanted` in the open graph."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-template", action="store_true", help="compare all of ComfyUI's templates, not some")


class Frontend:
    """The page, and the few things that tests do with it."""

    def __init__(self, page: Page, url: str):
        self.page = page
        self.url = url
        self.errors: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def get(self, path: str) -> Any:
        """The JSON that the server answers."""
        response = self.page.request.get(f"{self.url}{path}")
        assert response.ok, f"{path}: {response.status}"
        return response.json()

    def upload(self, name: str, data: bytes, subfolder: str = "") -> None:
        """Puts a file into ComfyUI's input folder as its page does."""
        file = {"name": name, "mimeType": "image/png", "buffer": data}
        form = {"image": file, "type": "input", "subfolder": subfolder, "overwrite": "true"}
        response = self.page.request.post(f"{self.url}/upload/image", multipart=form)
        assert response.ok, response.text()

    def set(self, setting: str, value: object) -> None:
        self.page.evaluate("([id, value]) => app.extensionManager.setting.set(id, value)", [setting, value])

    def open(self, workflow: dict[str, Any], name: str = "test") -> None:
        self.page.evaluate("([graph, name]) => app.loadGraphData(graph, true, true, name)", [workflow, name])

    def prompt(self) -> dict[str, Any]:
        """What the page would submit."""
        return json.loads(self.page.evaluate("async () => JSON.stringify((await app.graphToPrompt()).output)"))

    def saved(self) -> dict[str, Any]:
        """What the page would save."""
        return json.loads(self.page.evaluate("async () => JSON.stringify((await app.graphToPrompt()).workflow)"))

    def fill(self, wanted: str, **values: object) -> None:
        """Sets widgets of the one node of a class."""
        script = f"([wanted, name, value]) => {{ {FIND} node.widgets.find((one) => one.name === name).value = value }}"
        for name, value in values.items():
            self.page.evaluate(script, [wanted, name, value])

    def widget(self, wanted: str, name: str) -> Any:
        script = f"([wanted, name]) => {{ {FIND} return node.widgets.find((one) => one.name === name).value }}"
        return self.page.evaluate(script, [wanted, name])

    def wait_for_widget(self, wanted: str, name: str, beginning: str) -> None:
        """Waits until a widget's value begins so."""
        value = "node.widgets.find((one) => one.name === name).value"
        script = f"([wanted, name, beginning]) => {{ {FIND} return {value}.startsWith(beginning) }}"
        self.page.wait_for_function(script, arg=[wanted, name, beginning], timeout=10_000)

    def select(self, wanted: str) -> None:
        self.page.evaluate(f"(wanted) => {{ {FIND} app.canvas.selectNode(node) }}", wanted)

    def run(self) -> dict[str, Any]:
        """Clicks Run and waits for the end.

        Returns:
            The job's outputs from /history, by node id.
        """
        self.page.mouse.move(960, 900)  # off the tabs, whose previews lie over the button
        self.page.locator(".workflow-popover-fade").wait_for(state="hidden")
        with self.page.expect_response(lambda response: response.url.endswith("/prompt")) as submitted:
            self.page.get_by_test_id("queue-button").click()
        answer = submitted.value.json()
        assert "prompt_id" in answer and not answer.get("node_errors"), f"refused: {answer}"
        deadline = time.monotonic() + RUN_SECONDS
        while time.monotonic() < deadline:
            job = self.get(f"/history/{answer['prompt_id']}").get(answer["prompt_id"])
            if job:
                assert job["status"]["status_str"] == "success", job["status"]["messages"][-1]
                return job["outputs"]
            self.page.wait_for_timeout(100)
        raise AssertionError(f"the job did not end within {RUN_SECONDS} s")


@contextmanager
def opened_page(width: int, height: int) -> Iterator[Page]:
    """A page of a browser of its own; skips the test where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    candidates = [os.environ.get("CHROMIUM"), *map(shutil.which, CHROMIUM_NAMES)]
    chromium = next(filter(None, candidates), None)
    if chromium is None:
        pytest.skip(f"no browser: set CHROMIUM or put one of {', '.join(CHROMIUM_NAMES)} on PATH")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(CHROMIUM_OPTIONS))
        yield browser.new_page(viewport={"width": width, "height": height})
        browser.close()


@pytest.fixture
def page() -> Iterator[Page]:
    with opened_page(1200, 700) as page:
        yield page


@pytest.fixture(scope="module")
def started_frontend(comfy: Any) -> Iterator[Frontend]:
    with opened_page(1920, 1080) as page:
        frontend = Frontend(page, comfy.url)
        # Each module's page is a new user's: an empty graph under the template browser. A returning user's would open
        # a workflow of the page's own and look its models up on the hub.
        settings = f"{comfy.url}/settings/Comfy.TutorialCompleted"
        assert page.request.post(settings, data="false", headers={"Content-Type": "application/json"}).ok
        page.goto(comfy.url)
        templates = page.locator("[role=dialog]")
        templates.wait_for()
        page.keyboard.press("Escape")
        templates.wait_for(state="hidden")
        page.wait_for_load_state("networkidle")
        yield frontend


@pytest.fixture
def frontend(started_frontend: Frontend) -> Frontend:
    """The page as a test finds it: classic node design, no panel or dialog open, no errors yet."""
    started_frontend.page.keyboard.press("Escape")
    started_frontend.set("Comfy.VueNodes.Enabled", False)
    started_frontend.set("Comfy.RightSidePanel.IsOpen", False)
    started_frontend.errors.clear()
    return started_frontend
