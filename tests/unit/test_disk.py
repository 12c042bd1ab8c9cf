"""The watermark: pauses below it, goes on some way above it, looks once a second."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.disk import Watermark, free_bytes
from driver.errors import RunError


class Disks:
    """Two disks and a clock, all set by hand."""

    def __init__(self) -> None:
        self.free = {"out": 100, "fast": 100}
        self.now = 0.0
        self.looked = 0
        self.watermark = Watermark([Path("out"), Path("fast")], 50, self.of, lambda: self.now)

    def of(self, folder: Path) -> int:
        self.looked += 1
        return self.free[str(folder)]

    def after_a_second(self) -> str:
        self.now += 1
        return self.watermark()


@pytest.mark.parametrize("name", ["out", "fast"])
def test_it_pauses_below_and_goes_on_above(name: str) -> None:
    disks = Disks()
    assert disks.watermark() == ""
    disks.free[name] = 49
    why = disks.after_a_second()
    assert f"the disk of {name}" in why
    assert "--min-free-gb" in why
    disks.free[name] = 51
    assert disks.after_a_second() == why, "it flutters"
    disks.free[name] = 56
    assert disks.after_a_second() == ""


def test_it_looks_once_a_second() -> None:
    disks = Disks()
    for _ in range(1000):
        disks.watermark()
    assert disks.looked == 2
    disks.now = 0.99
    disks.free["out"] = 0
    assert disks.watermark() == ""
    disks.now = 1.0
    assert disks.watermark() != ""


def test_the_watermark_in_words() -> None:
    watermark = Watermark([Path("out")], 5_000_000_000, lambda _: 0)
    assert watermark().startswith("less than 5 GB are free on the disk of out")


def test_zero_is_never(tmp_path: Path) -> None:
    assert Watermark([tmp_path], 0, lambda _: 0)() == ""


def test_free_space_of_a_folder_that_is_not_made_yet(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "a" / "b") > 0


def test_a_disk_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stale(_path: Path) -> None:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr("driver.disk.shutil.disk_usage", stale)
    with pytest.raises(RunError, match="does not answer"):
        free_bytes(tmp_path)
