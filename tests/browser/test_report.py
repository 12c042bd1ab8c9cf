"""The report in a real Chromium: pairs first, and whole on a narrow screen, in dark and light, by keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from driver.report.page import Gallery, write_report
from driver.report.summary import Summary
from tests.browser.test_review import finished_run

if TYPE_CHECKING:
    from playwright.sync_api import Page

SUMMARY = Summary(
    workflow="remove-classical,style-classical,background-classical", profile="full", task="remove, style", samples=5, kept=2,
    rejected=1, unscored=0, failed=1, pending=0, failures={}, reasons={}, seconds=1.0, samples_per_second=5.0, skipped=1,
)  # fmt: skip
LONG = "a-name-without-a-single-space-of-a-photo-that-lies-deep/" * 3 + "photo.jpg"


@pytest.fixture
def report(tmp_path: Path) -> str:
    """The address of the report of a run with kept and rejected pairs, failed and skipped samples, and long names."""
    run = finished_run(tmp_path)
    lost = {"key": "x", "source_id": LONG, "stage": "edit", "node": "EditPairsClassicalInpaint", "error_type": "NoRegion",
            "message": f"{LONG}: it has no region that the task may use", "attempts": 1, "task": "remove"}  # fmt: skip
    environment = {"comfyui": "0.30.0", "workflow_sha256": "f" * 64}
    write_report(run, SUMMARY, [lost], [lost], environment, Gallery.of_dataset(run))
    return (run / "report.html").as_uri()


BROKEN = """() => {
    const words = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
    const found = [];
    for (let node; (node = words.nextNode()); ) {
        const range = document.createRange(), letters = node.data.trim().length;
        range.selectNodeContents(node);
        if (letters > 4 && letters < 4 * range.getClientRects().length) found.push(node.data);
    }
    return found;
}"""
"""JavaScript that finds words that are broken to fewer than four letters a line."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_or_broken_to_letters_on_a_narrow_screen(scheme: str, report: str, page: Page) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.set_viewport_size({"width": 400, "height": 800})
    page.goto(report)
    for closed in page.locator("summary").all():
        closed.click()
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert page.evaluate(BROKEN) == []
    ground, ink = page.evaluate(
        "(({ backgroundColor, color }) => [backgroundColor, color])(getComputedStyle(document.body))"
    )
    assert (_light(ground) > _light(ink)) == (scheme == "light")


def _light(colour: str) -> int:
    return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))


def test_the_first_pair_is_seen_at_once_and_keys_reach_the_rest(report: str, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report)
    first = page.locator("figure").first.bounding_box()
    assert first and first["y"] + first["height"] / 2 < 700, "half of it is on the first screen"
    titles = page.locator("h2").all_text_contents()
    assert titles[:2] == ["Kept", "Rejected or unscored"] and titles.index("Skipped") < titles.index("Stages")
    assert page.locator(".verdict").all_text_contents()[0].strip().startswith("kept")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#not-kept"
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator("details[open]").count() == 1
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
