"""The review page in a real Chromium: keys that keep and reject, labels that are on disk at once, going on after Ctrl-C."""

from __future__ import annotations

import hashlib
import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageOps

from comfy_nodes.core.records import EditRecord, RegionRecord, SavedFile, Score
from comfy_nodes.core.regions.annotation import Annotation, Region
from driver.dataset.dataset import write_dataset
from driver.dataset.parts import Part
from driver.dataset.rows import RunFacts
from driver.dataset.spool import Spool
from driver.journal import Journal
from driver.labels.labels import LABELS
from driver.samples import JournalRow, Sample
from tests.unit.conftest import Run, filed_record, keyed_sample
from tests.unit.turn_making import Said, add_dialogue

if TYPE_CHECKING:
    from playwright.sync_api import Page

REPOSITORY = Path(__file__).resolve().parents[2]
HOSTILE = "Remove <img src=x onerror=alert(1)> & “the cup”"
KEYS = ("first", "second", "third")
LONG = "a-name-without-a-single-space-of-a-photo-that-lies-deep/" * 3 + "photo.jpg"


REGION = RegionRecord.of("remove", Region(class_name="cup", bbox=(30, 40, 90, 100)))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return finished_run(tmp_path)


def finished_run(folder: Path) -> Path:
    """A finished run of three rows, two of them kept, whose edits are mirrored photos."""
    journal, spool = Journal(folder / "run.sqlite"), Spool(folder / ".work" / "spool")
    photo = Image.open(next((REPOSITORY / "samples").rglob("*.jpg"))).convert("RGB").resize((300, 200))
    pictures = {role: _png(image) for role, image in (("input", photo), ("output", ImageOps.mirror(photo)))}
    saved = {
        f"{role}_images": (
            SavedFile(filename="x.png", subfolder="", type="output", sha256=hashlib.sha256(data).hexdigest()),
        )
        for role, data in pictures.items()
    }
    journal.enrol(
        [Sample(key, "cup.jpg", Annotation(path="cup.jpg", size=(300, 200), regions=())) for key in KEYS], None
    )
    for number, key in enumerate(KEYS):
        for role, data in pictures.items():
            spool.put(key, role, 0, data)
        verdict = "keep" if number < 2 else "reject"
        record = EditRecord(
            key=key, task="remove", prompt=HOSTILE, verdict=verdict, regions=(REGION,), scores=(Score(name="judge.overall", value=4.25),),
            source_id="cup.jpg", source_path="cup.jpg", source_sha256="f" * 64, seed=1, width=300, height=200, **saved,
        )  # fmt: skip
        journal.done(key, [JournalRow(key, verdict, record.model_dump_json())], 0.1)
    write_dataset(journal, spool, Part(folder), RunFacts("remove", "a" * 64, "b" * 64, "full"))
    journal.close()
    return folder


DIALOGUE = "d" * 20


def told_run(folder: Path) -> Path:
    """A finished run of one dialogue of five turns, the third of which goes back."""
    journal = Journal(folder / "run.sqlite")
    run = Run(folder, journal, Spool(folder / ".work" / "spool"), keyed_sample, filed_record)
    photo = Image.open(next((REPOSITORY / "samples").rglob("*.jpg"))).convert("RGB").resize((300, 200))
    said = [
        Said("Make it blue."),
        Said("Make it glow."),
        Said(LONG, base=1),
        Said("And now larger."),
        Said("Make it matte."),
    ]

    def picture(name: str) -> bytes:
        return _png(ImageOps.posterize(photo, 8 - int(name.partition(":")[2])))

    add_dialogue(run, DIALOGUE, "version_backtracking", *said, picture=picture, width=300, height=200)
    run.finish()
    journal.close()
    return folder


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@contextmanager
def reviewing(run: Path) -> Iterator[str]:
    """The command; gives the address that it prints, and ends it with Ctrl-C."""
    command = [sys.executable, "driver/review.py", str(run)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield re.findall(r"http://127\.0\.0\.1:\d+/\S+/", process.stdout.readline())[0]
            process.send_signal(signal.SIGINT)
            told, _ = process.communicate(timeout=10)
            assert process.returncode == 0
            assert str(run / LABELS) in told
        finally:
            process.kill()


def shown(page: Page, count: str) -> None:
    """Waits until the page is so far and its pictures are there."""
    page.get_by_text(count, exact=True).wait_for()
    for picture in page.locator("main img:not([hidden])").all():
        picture.wait_for()
        picture.evaluate("(one) => one.decode()")


def given(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / LABELS).read_text("utf-8").splitlines()]


def test_two_keys_label_one_undoes_and_what_was_labelled_stays(run: Path, page: Page) -> None:
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    with reviewing(run) as url:
        page.goto(url)
        shown(page, "0 of 3")
        assert page.text_content("#prompt") == HOSTILE
        assert "4.25" not in page.content()
        caption = page.locator("#after figcaption")
        page.keyboard.down(" ")
        assert (caption.text_content(), page.locator("#over").is_visible()) == ("before", True)
        page.keyboard.up(" ")
        assert (caption.text_content(), page.locator("#over").is_visible()) == ("after", False)
        page.keyboard.press("k")
        shown(page, "1 of 3")
        assert "judge.overall 4.25" in (page.text_content("#last") or "")
        page.keyboard.press("r")
        shown(page, "2 of 3")
        page.keyboard.press("u")
        shown(page, "1 of 3")
        page.keyboard.press("k")
        shown(page, "2 of 3")
        lines = given(run)
        assert [line["label"] for line in lines] == ["keep", "reject", None, "keep"]
        assert lines[1]["key"] == lines[2]["key"] == lines[3]["key"] != lines[0]["key"]
    page.keyboard.press("r")
    page.get_by_text("The server does not answer").wait_for()
    errors = [error for error in errors if "ERR_CONNECTION_REFUSED" not in error]
    with reviewing(run) as url:
        page.goto(url)
        shown(page, "2 of 3")
        page.keyboard.press("r")
        page.get_by_text("Every pair of the sample is labelled").wait_for()
    assert len({line["key"] for line in given(run)}) == 3
    assert not errors


def test_the_region_is_outlined_and_seen_from_close_by(run: Path, page: Page) -> None:
    """The outline lies on the photo's pixels however the page is sized, and the close-up shows the same place."""
    with reviewing(run) as url:
        page.goto(url)
        shown(page, "0 of 3")
        for width, height in ((1200, 700), (400, 800)):
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate("document.documentElement.scrollWidth") == width
            frame, outline = page.locator("figure").first.bounding_box(), page.locator("rect").bounding_box()
            assert frame and outline
            scale = min(frame["width"] / 300, frame["height"] / 200)
            left = frame["x"] + frame["width"] / 2 + scale * (30 - 150)
            top = frame["y"] + frame["height"] / 2 + scale * (40 - 100)
            assert (outline["x"], outline["y"]) == (pytest.approx(left, abs=3), pytest.approx(top, abs=3))
            assert outline["width"] == pytest.approx(60 * scale, abs=5)
        assert page.locator(".close-up svg").first.get_attribute("viewBox") == "0 10 180 120"
        held = page.locator(".close-up figure").nth(1)
        for key, role in ((page.keyboard.down, "before"), (page.keyboard.up, "after")):
            key(" ")
            assert held.locator("figcaption").text_content() == f"close-up {role}"
            assert f"/{role}/" in (held.locator("svg:not([hidden]) image").get_attribute("href") or "")


def test_a_key_skips_and_what_was_done_is_said(run: Path, page: Page) -> None:
    """What is skipped comes last and gets no label; a live region says what was done and how many are left."""
    said = page.locator("[aria-live=polite]")

    def press(key: str, words: str) -> str:
        """Presses a key and waits until it is said; gives the address of the photo that is shown then."""
        page.keyboard.press(key)
        said.get_by_text(f"{words}. {HOSTILE}" if "left" in words else words).wait_for(state="attached")
        page.wait_for_function("[...document.querySelectorAll('#pictures img')].every((one) => one.complete)")
        return page.locator("figure img").first.get_attribute("src") or ""

    with reviewing(run) as url:
        page.goto(url)
        shown(page, "0 of 3")
        assert said.text_content() == f"3 left. {HOSTILE}"
        first = page.locator("figure img").first.get_attribute("src")
        second = press("s", "Skipped. 3 left")
        assert second != first and not (run / LABELS).exists()
        press("k", "Labelled keep. 2 left")
        assert press("u", "Taken back. 3 left") == second
        press("k", "Labelled keep. 2 left")
        assert press("r", "Labelled reject. 1 left") == first
        page.keyboard.press("k")
        said.get_by_text("Labelled keep. 0 left. Every pair is labelled.").wait_for(state="attached")


def test_a_turn_is_labelled_beside_its_dialogue_so_far(tmp_path: Path, page: Page) -> None:
    """The turns come one after the other, each behind those before it, and nothing tells what follows."""
    run = told_run(tmp_path)
    strip = page.locator("#strip")
    with reviewing(run) as url:
        page.goto(url)
        shown(page, "0 of 5")
        assert strip.locator("img").count() == 0
        page.keyboard.press("k")
        shown(page, "1 of 5")
        assert strip.locator("div").all_text_contents() == ["start", "1: Make it blue.", "turn 2 of 5"]
        page.keyboard.press("r")
        shown(page, "2 of 5")
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == 400
        assert page.text_content("#prompt") == LONG
        assert page.text_content("#task") == "version_backtracking, turn 3 of 5"
        assert strip.locator(".back").text_content() == "↩ goes back to version 1"
        assert page.locator("figure figcaption").first.text_content() == "before: version 1"
        assert strip.locator("img").count() == 3
        for one in strip.locator("img").all():
            assert one.evaluate("(one) => one.decode().then(() => one.naturalWidth)") == 300
        after = page.locator("#after").bounding_box()
        assert after and after["height"] > 80, "the strip leaves room for what is asked about"
    assert [line["key"] for line in given(run)] == [f"{DIALOGUE}~0", f"{DIALOGUE}~1"]
