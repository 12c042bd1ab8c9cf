"""Photos as they come: damaged ones, odd names, rotated ones, large ones. A bad sample costs a row, never the run."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from comfy_nodes.core.regions import rle
from tests.e2e import helpers
from tests.e2e.helpers import Driver


def cut_off(path: Path) -> Path:
    """Cuts a photo's file off behind its header, so that only decoding it shows the damage."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    return path


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Four photos; the second and the third are cut off."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for number, name in enumerate(("a.png", "b.jpg", "c.jpg", "d.png")):
        helpers.make_photo(folder / name, number)
    cut_off(folder / "b.jpg")
    cut_off(folder / "c.jpg")
    return folder


def test_bad_samples_in_the_middle_become_rows_of_failed(mixed: Path, driver: Driver, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run = ("--input", mixed, "--output", output)
    ended = driver.run(*run, expect=1)
    assert "2 of 4 samples failed" in ended.line
    assert "failed.parquet" in ended.line
    assert [row["source_path"] for row in helpers.rows(output)] == ["a.png", "d.png"]
    failed = helpers.table(output, "failed")
    assert [row["source_id"] for row in failed] == ["b.jpg", "c.jpg"]
    for row in failed:
        assert (row["stage"], row["error_type"], row["attempts"]) == ("edit", "PhotoError", 1)
        assert "cut off" in row["message"]
        assert row["node"].startswith("EditPairsLoadSample #")
    posted = helpers.prompts_so_far(driver.url)
    for allowed, status in (("1", 1), ("2", 0), ("50%", 0)):
        driver.run(*run, "--max-failed", allowed, expect=status)
    assert helpers.prompts_so_far(driver.url) == posted + 1, "failed samples were tried again unasked"


def test_retry_failed_tries_the_failed_ones_only(mixed: Path, driver: Driver, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run = ("--input", mixed, "--output", output, *helpers.ONE_EACH)
    driver.run(*run, expect=1)
    posted = helpers.prompts_so_far(driver.url)
    ended = driver.run(*run, "--retry-failed=SomeOtherError", expect=1)
    assert "no sample has that class; there are: PhotoError" in ended.stderr
    assert helpers.prompts_so_far(driver.url) == posted + 1
    helpers.make_photo(mixed / "b.jpg", 1)
    driver.run(*run, "--retry-failed=PhotoError", expect=1)
    assert [row["source_path"] for row in helpers.rows(output)] == ["a.png", "b.jpg", "d.png"]
    assert [row["attempts"] for row in helpers.table(output, "failed")] == [2]
    helpers.make_photo(mixed / "c.jpg", 2)
    driver.run(*run, "--retry-failed")
    assert [row["source_path"] for row in helpers.rows(output)] == ["a.png", "b.jpg", "c.jpg", "d.png"]
    assert helpers.table(output, "failed") == []
    assert helpers.prompts_so_far(driver.url) == posted + 2 + 3


def test_inputs_that_give_no_sample_are_listed_with_a_reason(driver: Driver, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    helpers.make_photos(folder, 1)
    (folder / "empty.png").touch()
    (folder / "text.jpg").write_text("this is no picture")
    cut_off(helpers.make_photo(folder / "truncated.png"))
    Image.new("RGB", (64, 64), "red").save(folder / "without region.png")
    driver.run("--input", folder, "--output", tmp_path / "out", "--profile", "open", expect=1)
    failed = {row["source_id"]: row for row in helpers.table(tmp_path / "out", "failed")}
    assert set(failed) == {"empty.png", "text.jpg", "truncated.png", "without region.png"}
    assert failed.pop("truncated.png")["error_type"] == "PhotoError"
    bare = failed.pop("without region.png")
    assert (bare["stage"], bare["error_type"]) == ("annotate", "NotAnnotated")
    assert "the annotate stage cannot run" in bare["message"] and "--models annotate-open" in bare["message"]
    assert "without region.mask.png" in bare["message"]
    assert {row["stage"] for row in failed.values()} == {"input"}
    ended = driver.run("--input", folder, "--output", tmp_path / "out", "--annotate", "never", expect=1)
    assert "3 failed, 1 skipped" in ended.stdout
    assert {row["source_id"] for row in helpers.table(tmp_path / "out", "failed")} == {*failed, "truncated.png"}
    (skipped,) = helpers.table(tmp_path / "out", "skipped")
    assert (skipped["source_id"], skipped["error_type"]) == ("without region.png", "NoRegion")
    assert "without region.mask.png" in skipped["message"]
    assert len(helpers.rows(tmp_path / "out")) == 1


NAMES = (
    "two words.png",
    'it\'s "quoted" & <b>.png',
    "line\nbreak.png",
    "фото-写真-صورة.png",
    "dots.in.the.name.png",
    "100% #1? +a=b;c.png",
    "-o.png",
    "emoji 🚀.png",
    "UPPER.PNG",
    "sub folder/same.png",
    "same.png",
)


def test_odd_file_names(driver: Driver, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    (folder / "sub folder").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        helpers.make_photo(folder / name, number)
    # Two photos with the same stem: each mask is named by the photo's whole name.
    for number, name in enumerate(("twin.png", "twin.bmp"), len(NAMES)):
        helpers.make_photo(folder / name, number, mask_name=f"{name}.mask.png")
    names = [*NAMES, "twin.png", "twin.bmp"]
    if sys.platform == "linux":
        odd = os.fsdecode(b"latin-\xe9.png")
        helpers.make_photo(folder / odd, len(names))
        names.append("latin-\\udce9.png")
    driver.run("--input", folder, "--output", tmp_path / "out")
    rows = {row["source_id"]: row for row in helpers.rows(tmp_path / "out")}
    assert set(rows) == set(names)
    for number, name in enumerate(names):
        photo = folder / (odd if name.startswith("latin") else name)
        helpers.assert_whole(rows[name], np.asarray(Image.open(photo)))
        assert np.array_equal(rle.decode(rle.Rle.model_validate(rows[name]["mask"])), helpers.disc_of(number)), name
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<b>.png" not in report


def test_rotated_photos_and_their_masks_stay_aligned(driver: Driver, tmp_path: Path) -> None:
    """Masks drawn on the upright photo, and on the stored pixels where their size tells so."""
    folder = tmp_path / "photos"
    folder.mkdir()
    expected: dict[str, np.ndarray] = {}
    for orientation, drawn_on in ((3, "upright"), (5, "upright"), (5, "stored"), (6, "upright"), (6, "stored")):
        drawn = helpers.make_photo(folder / f"{orientation} {drawn_on}.png", 3, (120, 80))
        disc = Image.open(drawn.with_suffix(".mask.png"))
        exif = Image.Exif()
        exif[0x0112] = orientation
        exif[0x010F] = "maker of the phone"
        Image.open(drawn).save(drawn.with_suffix(".jpg"), quality=95, exif=exif)
        drawn.unlink()
        turned = disc.copy()
        turned.getexif()[0x0112] = orientation
        turned = ImageOps.exif_transpose(turned)
        if drawn_on == "upright":
            turned.save(drawn.with_suffix(".mask.png"))
        expected[f"{drawn.stem}.jpg"] = np.asarray(turned)
    driver.run("--input", folder, "--output", tmp_path / "out")
    rows = helpers.rows(tmp_path / "out")
    assert [row["source_path"] for row in rows] == sorted(expected)
    for row in rows:
        upright = ImageOps.exif_transpose(Image.open(folder / row["source_path"]))
        helpers.assert_whole(row, np.asarray(upright))
        mask = rle.decode(rle.Rle.model_validate(row["mask"]))
        assert np.array_equal(mask, expected[row["source_path"]]), row["source_path"]
        assert b"maker of the phone" not in row["input_images"][0]["bytes"]


def test_a_large_photo(driver: Driver, tmp_path: Path) -> None:
    photo = helpers.make_photo(helpers.make_photos(tmp_path / "photos", 1)[0], 1, (3000, 2000))
    # The whole disc would take Telea a minute.
    Image.fromarray(np.pad(np.ones((30, 40), bool), ((500, 1470), (700, 2260)))).save(photo.with_suffix(".mask.png"))
    driver.run("--input", photo.parent, "--output", tmp_path / "out")
    (row,) = helpers.rows(tmp_path / "out")
    assert (row["width"], row["height"]) == (3000, 2000)
    helpers.assert_whole(row, np.asarray(Image.open(photo)))


def test_nothing_that_is_left_tells_where_it_was_made(mixed: Path, driver: Driver, tmp_path: Path) -> None:
    """No absolute path of photos, output, repository or server."""
    helpers.make_photo(mixed / "e.png", 4)
    (mixed / "gone.png").symlink_to(mixed / "nowhere")
    (mixed / "nothing.png").touch()
    absolute = mixed / "absolute.json"
    items = [{"path": str(mixed / name), "segmentation": _box_of(0)} for name in ("a.png", "b.jpg", "missing.png")]
    absolute.write_text(json.dumps([*items, {"path": "/etc/outside.png", "segmentation": _box_of(0)}]))
    told = []
    for source, name in ((mixed, "of a folder"), (absolute, "of an annotation")):
        output = tmp_path / name
        driver.run("--input", source, "--output", output, expect=1)
        assert helpers.rows(output)
        assert helpers.table(output, "failed")
        for words in (str(tmp_path), str(helpers.REPOSITORY), "/etc", os.environ.get("COMFYUI_PATH")):
            told += [f"{words} in {name}: {place}" for place in (_places(output, words) if words else [])]
    assert not told, "\n".join(told)


def test_what_peoples_files_really_hold(driver: Driver, tmp_path: Path) -> None:
    """Words in other encodings, labels for words, a mask in class colours: none of them in a kept row."""
    cases = helpers.REPOSITORY / "tests" / "cases"
    for name in ("words-not-utf8", "labels-taken-for-words", "mask-in-class-colours"):
        shutil.copytree(cases / name, tmp_path / "photos" / name)
    output = tmp_path / "out"
    driver.run("--input", tmp_path / "photos", "--annotate", "never", "--output", output, expect=1)
    (row,) = helpers.rows(output)
    words = (cases / "words-not-utf8" / "notepad16.txt").read_text(encoding="utf-16").strip()
    assert (row["source_id"], row["prompt"]) == ("words-not-utf8/notepad16.jpg", words)
    failed = {row["source_id"]: row["message"] for row in helpers.table(output, "failed")}
    assert failed == {
        "labels-taken-for-words/ball.jpg": "ball.txt holds box labels or other numbers, not an instruction; move it away, or write the words alone",
        "labels-taken-for-words/polygon.jpg": "polygon.txt holds box labels or other numbers, not an instruction; move it away, or write the words alone",
        "mask-in-class-colours/ball.jpg": "ball.mask.png has colours; give white for the object and black for the rest",
        "words-not-utf8/ansi.jpg": "ansi.txt: cannot be read as UTF-8 text; save it as UTF-8",
        "words-not-utf8/gbk.jpg": "gbk.txt: cannot be read as UTF-8 text; save it as UTF-8",
    }
    numbered = pq.read_table(cases / "folder-with-a-number-sign" / "rows.parquet")
    pq.write_table(numbered.append_column("class_name", [["cup", "cup"]]), tmp_path / "rows.parquet")
    root = ("--image-root", cases / "folder-with-a-number-sign", "--annotate", "never")
    driver.run("--input", tmp_path / "rows.parquet", *root, "--output", tmp_path / "numbered")
    assert len(helpers.rows(tmp_path / "numbered")) == 2


def _box_of(number: int) -> dict[str, object]:
    rows, columns = np.nonzero(helpers.disc_of(number))
    box = [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
    return {"object": [{"class_name": "disc", "bbox": box, "mask": None}], "background": []}


def _places(output: Path, words: str) -> list[str]:
    """Where `words` stand in what a run left: decoded parquet, text, and the journal's cells."""
    found = [name for name in helpers.files_in(output) if words.encode() in (output / name).read_bytes()]
    for path in output.rglob("*.parquet"):
        found += [f"{path.name}: {row}"[:300] for row in pq.read_table(path).to_pylist() if words in repr(row)]
    with closing(sqlite3.connect(output / "run.sqlite")) as journal:
        for (name,) in journal.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            found += [f"{name}: {row}"[:300] for row in journal.execute(f"SELECT * FROM {name}") if words in repr(row)]
    return found
