"""The report in a real Chromium: pairs first, and whole on a narrow screen, in dark and light, by keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from driver.report.gallery import Gallery
from driver.report.page import write_report
from driver.report.summary import Summary
from tests.browser.test_review import DIALOGUE, LONG, finished_run, told_run

if TYPE_CHECKING:
    from playwright.sync_api import Page

SUMMARY = Summary(
    workflow="remove-classical,style-classical,background-classical", profile="full", task="remove, style", samples=5, kept=2,
    rejected=1, unscored=0, failed=1, pending=0, failures={}, reasons={}, seconds=1.0, samples_per_second=5.0, skipped=1,
)  # fmt: skip


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


def test_a_dialogue_is_read_from_one_state_to_the_next(tmp_path: Path, page: Page) -> None:
    """Side by side where there is room, with the pictures in line, one below the other where there is none."""
    write_report(told_run(tmp_path), SUMMARY, [], [], {"comfyui": "0.30.0"}, Gallery.of_dataset(tmp_path))
    page.goto((tmp_path / "report.html").as_uri())
    strip = page.locator("figure.strip")
    words = strip.locator(".words").all_text_contents()
    assert words[1:] == ["Make it blue.", "Make it glow.", LONG, "And now larger.", "Make it matte."]
    for width, along in ((1200, 0), (400, 1)):
        page.set_viewport_size({"width": width, "height": 800})
        boxes = [one.bounding_box() for one in strip.locator("img[alt^=version]").all()]
        places = [(round(box["x"]), round(box["y"])) for box in boxes if box]
        assert len(places) == 6 and places == sorted(places, key=lambda place: place[along])
        assert len({place[1 - along] for place in places}) == 1
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate(BROKEN) == []
    strip.locator(".back a").click()
    assert page.evaluate("location.hash") == f"#{DIALOGUE}-1"
    picture = strip.get_by_alt_text("version 1").bounding_box()
    assert picture and -1 <= picture["y"] < 100


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
