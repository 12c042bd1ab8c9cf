"""A kind of edit that never pays ends while its recipe runs: what is planned of it from then on is skipped and counted."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.fake_engine import REJECTED
from tests.chaos import scene
from tests.chaos.conftest import Fakes
from tests.chaos.scene import EDIT, NODES, PATCHED, Patched
from tests.e2e import helpers

PHOTOS = 100
SOONER = {"driver.recipe.yields.ENOUGH": 10, "driver.recipe.yields.LOOKED_SECONDS": 0.0}


def test_a_kind_that_never_pays_gets_no_further_samples(fake: Fakes, driver: Patched, tmp_path: Path) -> None:
    server, output, recipe = fake("--seconds", 0.02), tmp_path / "out", tmp_path / "two.toml"
    photos = scene.photos(tmp_path / "photos", PHOTOS, dict.fromkeys(range(PHOTOS), REJECTED))
    stages = f'[[stage]]\nname = "edit"\nworkflow = "{EDIT}"\nset = ["#edit.seconds=0"]\n'
    stages += f'[[stage]]\nname = "judge"\nworkflow = "{NODES / "judge.json"}"\n'
    recipe.write_text(f'name = "two"\n{stages}')
    words = ("--recipe", recipe, "--input", photos, "--output", output, "--server", server.url, "--shard-size", 16)
    said = driver.end(driver.script(PATCHED, json.dumps(SOONER), *words, "--stop-kind-below", 0.5)).stderr
    skipped = helpers.table(output / "stages" / "edit", "skipped")
    rejected = helpers.rows(output / "stages" / "edit", "rejected")
    assert 10 <= len(rejected) < PHOTOS and len(rejected) + len(skipped) == PHOTOS
    assert {row["error_type"] for row in skipped} == {"KindStopped"}
    assert "pass edit, a yield of 0, below --stop-kind-below 0.5" in skipped[0]["message"]
    assert said.count("remove: no further samples: ") == 1
    told = json.loads((output / "summary.json").read_bytes())["recipe"]
    assert told["stages"][0]["skips"] == {"KindStopped": len(skipped)}
    assert (told["kinds"]["remove"]["made"], told["kinds"]["remove"]["kept"]) == (len(rejected), 0)
