"""A run of many shards against one that is not cut."""

from __future__ import annotations

from pathlib import Path

from tests.e2e import helpers
from tests.e2e.helpers import Driver

SHARDS = {
    f"shards/00000{index}{end}"
    for index in range(3)
    for end in (
        ".json",
        ".keys",
        ".sqlite",
        ".statistics.json",
        ".failed.parquet",
        ".skipped.parquet",
        ".telemetry.parquet",
    )
}
ROWS = {f"{config}/00000{index}/train-00000-of-00001.parquet" for config in ("data", "rejected") for index in range(3)}


def test_its_rows_are_those_of_a_run_that_is_not_cut(driver: Driver, tmp_path: Path) -> None:
    photos, cut, whole = tmp_path / "photos", tmp_path / "cut", tmp_path / "whole"
    helpers.make_photos(photos, 25)
    driver.run("--input", photos, "--output", cut, "--shard-size", 10)
    driver.run("--input", photos, "--output", whole)
    rows = helpers.rows(cut)
    assert rows == helpers.rows(whole)
    assert len(rows) == 25
    for row in rows:
        helpers.assert_whole(row)
    own = {name for name in helpers.LEFT if "/" not in name} - {"shards.json"}
    assert helpers.files_in(cut) == own | SHARDS | ROWS
    again = driver.run("--input", photos, "--output", cut, "--shard-size", 10, server="http://127.0.0.1:9")
    assert "all its shards are done" in again.stderr, "a server was asked"
