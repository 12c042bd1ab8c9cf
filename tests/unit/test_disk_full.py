"""A disk that is full at any moment of the end of a run: one line, the old dataset whole, and no room taken."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from driver.dataset.dataset import stored_rows
from driver.dataset.rows import RunFacts
from driver.errors import RunError
from driver.exports.forms import export
from driver.pipeline.folder import OutputFolder

FACTS = RunFacts("remove", "a" * 64, "b" * 64, "classical")
ENVIRONMENT = {"editpairs": "0.1.0", "comfyui": "0.30.0"}
BLOCK = 4096


def fill(ballast: Path, room: int) -> None:
    """Leaves so many blocks free."""
    with ballast.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(BLOCK)) == BLOCK:
                pass
        file.truncate(max(0, file.tell() // BLOCK - room) * BLOCK)


@pytest.mark.parametrize("layout", ["hf", "imgedit", "wds"])
def test_a_disk_that_is_full_at_any_moment_of_a_finish(
    layout: str,
    small_disk: Path,
    sample_of: Callable[..., Any],
    filed: Callable[..., Any],
    encode: Callable[..., bytes],
) -> None:
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    folder = OutputFolder(small_disk / "out")
    ballast = small_disk / "ballast"
    picture = encode(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8))

    digest = hashlib.sha256(picture).hexdigest()

    def add(key: str, verdict: str) -> None:
        folder.journal.enrol([sample_of(key)], None)
        images = {f"{role}_images": [{"filename": "x.png", "subfolder": "", "type": "output", "sha256": digest}]
                  for role in ("input", "output")}  # fmt: skip
        for role in ("input", "output"):
            folder.spool.put(key, role, 0, picture)
        folder.journal.done(key, [filed(key, verdict, **images)], 0.1)

    def keys(config: str) -> list[str]:
        return [row.columns["key"] for row in stored_rows(folder.path, config)]

    add("a", "keep")
    folder.finish(FACTS, "remove", ENVIRONMENT, layout)
    add("b", "keep")
    add("r", "reject")
    refused = 0
    for room in range(100):
        fill(ballast, room)
        try:
            folder.finish(FACTS, "remove", ENVIRONMENT, layout)
            break
        except (RunError, sqlite3.OperationalError) as error:
            assert "full" in str(error)
            refused += 1
        finally:
            ballast.unlink()
        assert (keys("data"), keys("rejected")) in ((["a"], []), (["a", "b"], ["r"])), "neither the old nor the new one"
        leftovers = [path.name for path in folder.path.rglob("*") if path.name.endswith((".part", ".new", ".old"))]
        assert leftovers == []
    assert refused > 6, "fewer phases than a finish has"
    assert (keys("data"), keys("rejected")) == (["a", "b"], ["r"])
    folder.journal.set("graph", "[]")
    folder.close()

    for room in range(100):
        fill(ballast, room)
        try:
            assert export(small_disk / "out", "pairs", small_disk / "pairs", "copy").rows == 2
            break
        except RunError as error:
            assert "full" in str(error)
        finally:
            ballast.unlink()
    assert room > 3
    assert sorted(path.name for path in small_disk.iterdir()) == ["out", "pairs"]
