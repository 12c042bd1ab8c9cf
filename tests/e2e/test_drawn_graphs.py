"""A graph that the page runs and that a batch once did not: its verifier is bypassed."""

from __future__ import annotations

from pathlib import Path

from tests.e2e import helpers
from tests.e2e.helpers import Driver

GRAPH = helpers.REPOSITORY / "tests" / "cases" / "bypassed-verifier" / "graph.json"


def test_what_a_bypassed_verifier_does_not_see_is_unscored(driver: Driver, tmp_path: Path) -> None:
    photos, output = tmp_path / "photos", tmp_path / "out"
    helpers.make_photos(photos, 1)
    driver.run("--input", photos, "--output", output, workflow=GRAPH)
    assert [row["verdict"] for row in helpers.rows(output, "rejected")] == ["unscored"]
