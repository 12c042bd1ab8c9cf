"""A recipe against its stages one by one: `python benchmarks/recipe.py --json`.

A service that takes a second for each reply writes and judges, an editor takes half a second for each photo. Real ComfyUIs,
which the command starts itself; `COMFYUI_PATH` names one. Seconds are those from the first prompt to the last result, so that
starting servers counts nowhere. Shares the machine with nobody, or the numbers mean little.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.driver_servers import with_bench_nodes
from driver.comfyui.own import find_comfyui
from tests.e2e.helpers import make_photos
from tests.vlm.endpoint import Endpoint, Say

REPOSITORY = Path(__file__).resolve().parent.parent
PHOTOS = 96
CALL_SECONDS, EDIT_SECONDS = 1.0, 0.5
TARGET = 1.15

WORDS = {
    "object": "disc", "object_en": "disc", "instruction": "Remove [OBJECT].", "command": "Remove [OBJECT].",
    "target": "the patterned ground",
}  # fmt: skip
FOUND = {
    "source_caption": "A disc.", "edited_caption": "A ground.", "differences": ["The disc is gone."], "is_changed": True,
    "claims": [{"claim": "the disc is gone", "mark": "correct"}], "restated_instruction": "Remove the disc.",
}  # fmt: skip
SCORES = {"prompt_compliance": 5, "visual_seamlessness": 5, "physical_detail_fidelity": 5, "instruction_following": 3,
          "editing_consistency": 3, "generation_quality": 3}  # fmt: skip

RECIPE = f"""
name = "benchmark"

[[stage]]
name = "write"
workflow = "write"
kinds = "remove"

[[stage]]
name = "edit"
workflow = "{REPOSITORY / "benchmarks" / "nodes" / "edit.json"}"
set = ["#edit.seconds={EDIT_SECONDS}"]

[[stage]]
name = "judge"
workflow = "verify"
"""


class Bench:
    """A place with photos and a service."""

    def __init__(self, place: Path, photos: int):
        self.place, self.photos = place, place / "photos"
        for path in make_photos(self.photos, photos):
            path.with_suffix(".txt").unlink()
        (place / "recipe.toml").write_text(RECIPE)

    def run(self, output: str, *words: object) -> float:
        """Runs the command to its end; its wall time with all that it starts."""
        begun = time.monotonic()
        command = [sys.executable, str(REPOSITORY / "driver" / "batch.py"), *map(str, words)]
        command += ["--output", str(self.place / output)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-3000:])
        return time.monotonic() - begun

    def seconds(self, *folders: str) -> float:
        """From the first prompt to the last result of runs that went on at the same time."""
        tables = [pq.read_table(self.place / one / "telemetry.parquet").to_pydict() for one in folders]
        begun = min(min(one["queued_at"]) for one in tables)
        return float(max(max(one["finished_at"]) for one in tables) - begun)


@contextmanager
def prepared(photos: int) -> Iterator[Bench]:
    """A bench whose commands find a service and a ComfyUI with the sleeping nodes."""
    deeds = {
        "source_caption": [Say(json.dumps(FOUND), after_s=CALL_SECONDS)],
        "Score the edit": [Say(json.dumps(SCORES), after_s=CALL_SECONDS)],
    }
    default = Say(json.dumps(WORDS), after_s=CALL_SECONDS)
    with tempfile.TemporaryDirectory() as scratch, Endpoint(deeds, default) as endpoint:
        place = Path(scratch)
        (place / "vlm.toml").write_text(f'[profiles.default]\nbase_url = "{endpoint.url}"\nmodel = "slow"\n')
        os.environ["EDITPAIRS_CONFIG"] = str(place / "vlm.toml")
        os.environ["COMFYUI_PATH"] = str(with_bench_nodes(find_comfyui(), place / "comfyui"))
        yield Bench(place, photos)


def main() -> None:
    parser = argparse.ArgumentParser(description="A recipe against its stages one by one.")
    parser.add_argument("--photos", type=int, default=PHOTOS)
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args()
    with prepared(options.photos) as bench:
        recipe = bench.place / "recipe.toml"
        cache = "EDITPAIRS_CACHE"
        os.environ[cache] = str(bench.place / "cache-recipe")
        whole = bench.run("out", "--recipe", recipe, "--input", bench.photos)
        together = bench.seconds("out/stages/write", "out/stages/edit", "out")
        os.environ[cache] = str(bench.place / "cache-row")
        edit = REPOSITORY / "benchmarks" / "nodes" / "edit.json"
        row = bench.run("write", "--workflow", "write", "--kinds", "remove", "--input", bench.photos)
        lines = bench.place / "write" / "instructions.jsonl"
        row += bench.run("edit", "--workflow", edit, "--set", f"#edit.seconds={EDIT_SECONDS}", "--input", lines,
                         "--image-root", bench.photos)  # fmt: skip
        row += bench.run("judge", "--workflow", "verify", "--input", bench.place / "edit")
        alone = {name: bench.seconds(name) for name in ("write", "edit", "judge")}
    slowest = max(alone, key=lambda name: alone[name])
    found = {
        "photos": options.photos, "recipe_s": round(together, 2), "alone_s": {name: round(one, 2) for name, one in alone.items()},
        "slowest": slowest, "to_slowest": round(together / alone[slowest], 3), "target": TARGET,
        "to_in_a_row": round(together / sum(alone.values()), 3),
        "commands_s": {"recipe": round(whole, 1), "in_a_row": round(row, 1)}, "commands": round(whole / row, 3),
    }  # fmt: skip
    if options.json:
        print(json.dumps(found))
        return
    print(f"recipe of {options.photos} photos: {together:.1f} s")
    print(f"alone: {', '.join(f'{name} {one:.1f} s' for name, one in alone.items())}")
    print(f"against the slowest, {slowest}: {found['to_slowest']} (target {TARGET})")
    print(f"against three commands in a row: {found['to_in_a_row']}; with starting servers {found['commands']}")


if __name__ == "__main__":
    main()
