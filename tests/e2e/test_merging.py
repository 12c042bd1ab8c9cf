"""Shares of a run on the real server, one of them killed and taken over, merged: the dataset of one run."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from driver.dataset.commits import committed
from driver.dataset.parts import parts
from tests.e2e import helpers
from tests.e2e.helpers import REPOSITORY, Driver


def test_three_shares_one_of_them_killed_are_one_run(driver: Driver, tmp_path: Path) -> None:
    photos, whole, merged = tmp_path / "photos", tmp_path / "whole", tmp_path / "merged"
    helpers.make_photos(photos, 9)
    options = ("--input", photos, "--shard-size", 2)
    driver.run(*options, "--output", whole)
    shares = [tmp_path / f"share{share}" for share in range(3)]
    for share, output in enumerate(shares):
        command = (*options, "--shard", f"{share}/3", "--output", output)
        if share == 1:
            process = driver.start(*command, "--samples-per-prompt", 1)
            while not (output / "shards/000001.json").exists():
                assert process.poll() is None
                time.sleep(0.01)
            helpers.kill(process)
            before = {part.name: committed(part) for part in parts(output)}
            driver.run(*command)
            assert before == {part.name: committed(part) for part in parts(output) if part.name in before}
        else:
            driver.run(*command)
    words = [sys.executable, REPOSITORY / "driver/merge.py", *shares, "--output", merged]
    ended = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    assert "9 kept" in ended.stdout
    for config in ("data", "rejected"):
        assert helpers.files_in(merged / config) == helpers.files_in(whole / config)
        for path in (path for path in (whole / config).rglob("*") if path.is_file()):
            assert (merged / path.relative_to(whole)).read_bytes() == path.read_bytes()
    assert len(helpers.table(merged, "telemetry")) == 9
