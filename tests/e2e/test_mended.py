"""An input that is mended after its rows were made: what changed is made again, and no row of what was there before stays
without a word."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from tests.e2e import helpers
from tests.e2e.helpers import Driver

CASE = Path(__file__).resolve().parent.parent / "cases" / "mended-input-not-seen"


def by_source(output: Path) -> dict[str, dict[str, Any]]:
    """The kept rows; one of each photo."""
    found = {row["source_path"]: row for row in helpers.rows(output)}
    assert len(found) == len(helpers.rows(output))
    return found


def test_what_changed_is_made_again_and_what_is_gone_leaves(driver: Driver, tmp_path: Path) -> None:
    folder, output = tmp_path / "input", tmp_path / "out"
    run = ("--input", folder, "--output", output, "--annotate", "never")
    shutil.copytree(CASE / "before", folder)
    assert "4 kept" in driver.run(*run).stdout
    for path in folder.glob("taken-out.*"):
        path.unlink()
    shutil.copytree(CASE / "after", folder, dirs_exist_ok=True)
    first = helpers.comparable(output)

    stay = driver.run(*run, "--keep-stale")
    assert "2 finished samples have another input now: the rows stay as they are (--keep-stale)" in stay.stderr
    kept = helpers.comparable(output)
    assert [row for row in kept if row in first] == first
    assert [row["source_path"] for row in kept if row not in first] == ["other-mask.png"]

    ended = driver.run(*run)
    assert "2 finished samples have another input now: made again" in ended.stderr
    assert "2 finished samples whose photo or region is gone: the rows leave the dataset" in ended.stderr
    found = by_source(output)
    assert set(found) == {"other-mask.png", "other-photo.png", "own-words.png"}
    photo = (folder / "other-photo.png").read_bytes()
    assert found["other-photo.png"]["source_sha256"] == hashlib.sha256(photo).hexdigest()
    assert found["other-mask.png"]["mask"] != next(
        row["mask"] for row in first if row["source_path"] == "other-mask.png"
    )
    assert found["own-words.png"]["prompt"] == (folder / "own-words.txt").read_text().strip()
    for row in found.values():
        helpers.assert_whole(row)
    assert json.loads((output / "summary.json").read_text())["retired"] == 4

    for path in folder.iterdir():
        os.utime(path, (1, 1))
    posted = helpers.prompts_so_far(driver.url)
    assert "finished sample" not in driver.run(*run).stderr
    assert helpers.prompts_so_far(driver.url) == posted + 1, "a photo that was only touched was made again"
