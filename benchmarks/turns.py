"""Dialogues on sleeping nodes: `python benchmarks/turns.py [--json] [--only packed] [--quick]`.

`packed`: a call of 1 s and an edit of 0.1 s for each turn, three turns to a dialogue, on one server: one prompt for each turn
over prompts as the driver packs them, in seconds. `two_servers`: edits of 2 s on two servers, and the share of the time in
which a server executes nothing, from the first prompt to the last result; beside it the same of as many edits that wait for
none, which is what ComfyUI and a busy machine take between prompts. `two_fakes`: edits of 0.5 s on servers of `fake_comfy.py`,
which take no time of their own, so that the rest is the driver's. All else on real ComfyUIs; `COMFYUI_PATH` names one. Shares
the machine with nobody, or the numbers mean little.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.driver_command import Run
from benchmarks.driver_inputs import photos_in
from benchmarks.driver_site import Site, graph, say
from comfy_nodes.core.boxes import box_of
from comfy_nodes.core.regions import rle

CALL_SECONDS, EDIT_SECONDS = 1.0, 0.1
FARMED_EDIT_SECONDS = 2.0
QUICK_EDIT_SECONDS = 0.5
TURNS = 3
SIDE = 64


def dialogues(site: Site, count: int) -> Path:
    """Photos whose disc has a name, of one dialogue each."""
    folder = site.photos(count, SIDE)
    annotation = folder / "annotation.jsonl"
    with annotation.open("w") as lines:
        for photo in photos_in(folder):
            with Image.open(photo.with_suffix(".mask.png")) as opened:
                mask = np.asarray(opened.convert("1"))
            region = {"class_name": "disc", "bbox": box_of(mask), "mask": rle.encode(mask).model_dump(mode="json")}
            size = {"width": SIDE, "height": SIDE}
            lines.write(
                json.dumps({"path": photo.name, "resolution": size, "segmentation": {"object": [region]}}) + "\n"
            )
    return annotation


def packed(site: Site) -> dict[str, float]:
    """One prompt per turn over packed prompts, and both in seconds per turn."""
    count = site.size(32, 8)
    urls, photos = site.servers(1), dialogues(site, count)
    settings = ("--set", f"#call.url={site.endpoint(CALL_SECONDS)}", "--set", f"#edit.seconds={EDIT_SECONDS}")
    site.drive("dialogue", photos, urls, "--limit", 2, *settings)  # a server's first prompts take longer
    ours = site.drive("dialogue", photos, urls, *settings)
    alone = site.drive("dialogue", photos, urls, "--samples-per-prompt", 1, *settings)
    assert ours.samples == alone.samples == TURNS * count
    say(f"s per turn: packed {ours.per_image:.3f}, one prompt per turn {alone.per_image:.3f}")
    return {"ratio": alone.per_image / ours.per_image, "packed_s": ours.per_image, "alone_s": alone.per_image,
            "floor_s": EDIT_SECONDS}  # fmt: skip


def two_servers(site: Site) -> dict[str, float]:
    """The share of two servers' time in which they execute nothing, and of that of as many edits that wait for none."""
    return _farmed(site, site.servers(2), FARMED_EDIT_SECONDS)


def two_fakes(site: Site) -> dict[str, float]:
    """The same on servers that take no time of their own: what is left is the driver's."""
    return _farmed(site, [site.fake().url for _ in range(2)], QUICK_EDIT_SECONDS)


def _farmed(site: Site, urls: list[str], seconds: float) -> dict[str, float]:
    count = site.size(24, 6)
    photos = dialogues(site, count)
    uncalled = graph("dialogue", {"edit.image": ["turn", 1], "edit.seconds": seconds})
    del uncalled["call"]
    workflow = site.folder / "dialogue-uncalled.json"
    workflow.write_text(json.dumps(uncalled))
    site.drive(str(workflow.with_suffix("")), photos, urls, "--limit", 4)
    ours = site.drive(str(workflow.with_suffix("")), photos, urls)
    found = _idle(site, ours, urls)
    single = site.photos(TURNS * count, SIDE)
    alone = site.drive("edit", single, urls, "--set", f"#edit.seconds={seconds}")
    assert ours.samples == alone.samples == TURNS * count
    return found | {f"{name}_without_turns": value for name, value in _idle(site, alone, urls).items()}


def _idle(site: Site, run: Run, urls: list[str]) -> dict[str, float]:
    """What of servers' time went into nothing, in the run that ended last."""
    output = max(site.folder.glob("out*/telemetry.parquet"), key=lambda path: path.stat().st_mtime_ns)
    rows = [row for row in pq.read_table(output).to_pylist() if row["state"] == "done"]
    executed = sum(row["execution_s"] for row in rows)
    last = [max(row["finished_at"] for row in rows if row["server"] == url) for url in urls]
    return {
        "idle": 1 - executed / (len(urls) * run.editing),
        "idle_at_the_end": abs(last[0] - last[1]) / (len(urls) * run.editing),
        "execution_s": executed / len(rows),
    }


MEASURES = {"packed": packed, "two_servers": two_servers, "two_fakes": two_fakes}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--only", choices=MEASURES, action="append", help="measure this one alone")
    parser.add_argument("--quick", action="store_true", help="few dialogues, to see that everything works")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="editpairs-turns-") as folder, Site(Path(folder), 1, options.quick) as site:
        for name in options.only or MEASURES:
            found[name] = {key: round(value, 3) for key, value in MEASURES[name](site).items()}
            if not options.json:
                print(name, found[name], flush=True)
    if options.json:
        print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
