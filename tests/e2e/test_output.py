"""The output folder: whose it is, who uses it now, and what happens when it cannot be written."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e import helpers
from tests.e2e.helpers import Driver


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_a_full_disk_is_one_line_and_the_run_goes_on_after_room_was_made(
    driver: Driver, small_disk: Path, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0)
    for photo in helpers.make_photos(tmp_path / "photos", 6):
        Image.fromarray(noise.integers(0, 255, (300, 300, 3), dtype=np.uint8)).save(photo)
        Image.fromarray(helpers.disc_of(0, (300, 300))).save(photo.with_suffix(".mask.png"))
    output = small_disk / "out"
    run = ("--input", tmp_path / "photos", "--output", output, "--min-free-gb", 0)
    for _ in range(2):
        ended = driver.run(*run, expect=1)
        assert "full" in ended.line
        assert str(output) in ended.line
        assert not helpers.rows(output)
    done = helpers.done_so_far(output)
    assert 0 < done < 6
    remount(small_disk, "size=64m")
    posted = helpers.prompts_so_far(driver.url)
    driver.run(*run)
    assert len(set(helpers.keys(output))) == len(helpers.rows(output)) == 6
    for row in helpers.rows(output):
        helpers.assert_whole(row)
    assert helpers.files_in(output) == helpers.LEFT
    again = helpers.prompts_so_far(driver.url) - posted - 1
    assert again <= 6 - done, "what was done before the disk was full was done again"


def test_a_disk_that_is_full_from_the_start(driver: Driver, small_disk: Path, photos: Path) -> None:
    (small_disk / "ballast").write_bytes(b"\1" * (2 * 1024 * 1024 - 8192))
    ended = driver.run("--input", photos, "--output", small_disk / "out", "--min-free-gb", 0, expect=None)
    assert ended.status in (1, 2)
    assert "full" in ended.line
    (small_disk / "ballast").unlink()
    driver.run("--input", photos, "--output", small_disk / "out", "--min-free-gb", 0)


def test_a_read_only_disk(driver: Driver, small_disk: Path, photos: Path) -> None:
    """Before the run, and between two runs of the same folder."""
    output = small_disk / "out"
    remount(small_disk, "ro")
    line = driver.refused("--input", photos, "--output", output)
    assert f"--output {output}: cannot be written" in line
    remount(small_disk, "rw")
    driver.run("--input", photos, "--output", output, "--min-free-gb", 0, "--limit", 1)
    remount(small_disk, "ro")
    ended = driver.run("--input", photos, "--output", output, "--min-free-gb", 0, expect=None)
    assert ended.status in (1, 2)
    assert "cannot be written" in ended.line or "read-only" in ended.line.lower()
    remount(small_disk, "rw")
    driver.run("--input", photos, "--output", output, "--min-free-gb", 0)


def test_no_permission(driver: Driver, photos: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    assert "cannot be written" in driver.refused("--input", photos, "--output", locked / "out")


def test_output_that_is_a_file(driver: Driver, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    line = driver.refused("--input", photos, "--output", tmp_path / "out")
    assert f"--output {tmp_path / 'out'}: " in line
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_with_other_peoples_files_is_left_alone(driver: Driver, photos: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "thesis.txt").write_text("mine")
    assert "holds files that no run left there" in driver.refused("--input", photos, "--output", output)
    assert helpers.files_in(output) == {"thesis.txt"}


def test_a_project_with_a_work_folder_of_its_own_is_left_alone(driver: Driver, photos: Path, tmp_path: Path) -> None:
    """Also where nothing begins, as the server is dead: then a run clears up what it made."""
    output = tmp_path / "project"
    for name in (".work/notes.txt", ".work/server-0/main.py", "src/main.py"):
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text("mine")
    line = driver.refused("--input", photos, "--output", output, server="http://127.0.0.1:9")
    assert "holds files that no run left there" in line
    assert helpers.files_in(output) == {".work/notes.txt", ".work/server-0/main.py", "src/main.py"}


def test_a_journal_that_is_none(driver: Driver, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.sqlite").write_text("something else " * 100)
    assert "run.sqlite" in driver.refused("--input", photos, "--output", tmp_path / "out")
    assert (tmp_path / "out" / "run.sqlite").read_text() == "something else " * 100


def test_two_runs_into_one_folder(driver: Driver, tmp_path: Path) -> None:
    helpers.make_photos(tmp_path / "photos", 40)
    run = ("--input", tmp_path / "photos", "--output", tmp_path / "out")
    first = driver.start(*run)
    helpers.until(lambda: helpers.done_so_far(tmp_path / "out") >= 1, "the first run's first sample")
    assert "another run is using it" in driver.refused(*run)
    assert first.poll() is None, "the first run was over before the second was refused"
    driver.end(first)
    assert len(set(helpers.keys(tmp_path / "out"))) == len(helpers.rows(tmp_path / "out")) == 40


def test_what_was_not_started_leaves_nothing(driver: Driver, photos: Path, tmp_path: Path) -> None:
    """Status 2 means that nothing was started."""
    output = tmp_path / "out"
    for wrong in (("--input", tmp_path / "nowhere"), ("--input", photos, "--set", "NoSuchNode.x=1")):
        driver.refused(*wrong, "--output", output)
        assert not output.exists() or not list(output.iterdir())


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_what_was_damaged_between_two_runs_is_made_again_and_nothing_else(
    driver: Driver, photos: Path, tmp_path: Path
) -> None:
    """The spool of a killed run, then the list of a finished one, then its shard."""
    output = tmp_path / "out"
    run = ("--input", photos, "--output", output)
    first = driver.start(*run, "--samples-per-prompt", 1)
    helpers.until(lambda: helpers.done_so_far(output) >= 4, "four samples are done", every=0.001)
    helpers.kill(first)
    pictures = sorted((output / ".work" / "spool").glob("*.output0.png"))
    if len(pictures) < 4:
        pytest.skip("the run had written its dataset when it was killed")
    flip(pictures[0])
    pictures[1].unlink()
    shutil.copy(pictures[3], pictures[2])
    ended = driver.run(*run)
    assert "3 finished samples are made again, as their pictures are gone or changed on disk" in ended.stderr
    whole(output)

    posted = helpers.prompts_so_far(driver.url)
    before = (output / "shards.json").read_bytes()
    (output / "shards.json").unlink()
    ended = driver.run(*run)
    assert "shards.json was missing or changed: it is made anew" in ended.stderr
    assert (output / "shards.json").read_bytes() == before
    assert helpers.prompts_so_far(driver.url) == posted + 1, "something was edited again"

    (shard,) = (output / "data").iterdir()
    shard.write_bytes(shard.read_bytes()[:-100])
    assert "6 finished samples are made again" in driver.run(*run).stderr
    assert (output / "shards.json").read_bytes() == before
    whole(output)


def whole(output: Path) -> None:
    """All six rows are there, once, with their own pictures."""
    found = helpers.rows(output)
    assert len({row["key"] for row in found}) == len(found) == 6
    for row in found:
        helpers.assert_whole(row)
        assert row["output_images"][0]["path"].startswith(row["key"])
    assert helpers.files_in(output) == helpers.LEFT


def test_a_run_that_kept_nothing_does_not_offer_to_open_it(driver: Driver, tmp_path: Path) -> None:
    """Two photos of a bare wall, which no edit changes."""
    photos = helpers.REPOSITORY / "tests" / "cases" / "nothing-kept-opens-the-rejected"
    ended = driver.run("--input", photos, "--output", tmp_path / "out", "--layout", "wds")
    assert "0 kept, 2 rejected" in ended.stdout
    assert "load_dataset" not in ended.stdout
    card = (tmp_path / "out" / "README.md").read_text()
    assert "path: data/train-" in card
    assert "config_name: rejected" in card


@pytest.mark.parametrize("wrong", [("--limit", "0"), ("--max-failed", "many"), ("--regions", "some"), ("--seed", "x")])
def test_bad_arguments(driver: Driver, photos: Path, tmp_path: Path, wrong: tuple[str, str]) -> None:
    ended = driver.run("--input", photos, "--output", tmp_path / "out", *wrong, expect=2)
    assert wrong[0] in ended.line
    assert not (tmp_path / "out").exists()
