"""The three kinds of dialogues as a user runs them: each turn from the state that it names, also where the run is broken off."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from comfy_nodes.core.instructions.turns import kept_turns
from comfy_nodes.core.regions import rle
from driver.artists.open_row import find_row, make_again, open_row
from driver.comfyui.client import ComfyServer
from driver.dataset.dataset import stored_rows
from driver.dataset.layouts.layout import StoredRow
from tests.e2e import helpers
from tests.e2e.helpers import Driver

KINDS = "content_memory,content_understanding,version_backtracking"
WIDTH, HEIGHT = 140, 100
BALL, BLOCK = (15, 40, 45, 70), (95, 15, 125, 45)


def dialogues_of(folder: Path, photos: int) -> Path:
    """Photos of a ball and a block, with their annotation."""
    folder.mkdir()
    lines = []
    for number in range(photos):
        pixels = np.random.default_rng(number).normal(110, 6, (HEIGHT, WIDTH, 3)).clip(0, 255).astype(np.uint8)
        photo, found = Image.fromarray(pixels), []
        things = (("ball", "ellipse", BALL, (190, 40, 40)), ("block", "rectangle", BLOCK, (60, 70, 180)))
        for name, shape, (x1, y1, x2, y2), colour in things:
            box = (x1 + number, y1, x2 + number, y2)
            mask = Image.new("1", (WIDTH, HEIGHT))
            getattr(ImageDraw.Draw(mask), shape)(box, 1)
            getattr(ImageDraw.Draw(photo), shape)(box, colour)
            counts = rle.encode(np.asarray(mask)).model_dump(mode="json")
            found.append({"class_name": name, "bbox": [*box[:2], box[2] + 1, box[3] + 1], "mask": counts})
        photo.save(folder / f"photo{number}.png")
        size = {"width": WIDTH, "height": HEIGHT}
        lines.append({"path": f"photo{number}.png", "resolution": size, "segmentation": {"object": found}})
    annotation = folder / "annotation.jsonl"
    annotation.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return annotation


def rows_of(output: Path) -> dict[str, tuple[str, StoredRow]]:
    """All rows by their keys, each with its config."""
    found = [(config, row) for config in ("data", "rejected") for row in stored_rows(output, config)]
    assert len({row.columns["key"] for _, row in found}) == len(found)
    return {row.columns["key"]: (config, row) for config, row in found}


def dialogues(output: Path) -> dict[str, list[tuple[str, StoredRow]]]:
    """Turns of each dialogue, in their order."""
    found: dict[str, list[tuple[str, StoredRow]]] = {}
    for config, row in sorted(rows_of(output).values(), key=lambda one: one[1].columns["turn"]["number"]):
        found.setdefault(row.columns["turn"]["dialogue"], []).append((config, row))
    return found


def comparable(output: Path) -> dict[str, Any]:
    return {key: (config, row.columns, row.inputs, row.outputs) for key, (config, row) in rows_of(output).items()}


def test_every_turn_begins_with_its_state_and_a_broken_off_run_makes_the_same(driver: Driver, tmp_path: Path) -> None:
    """The second run is of many shards; it is killed, and then stopped, after which pictures lie in shards."""
    annotation = dialogues_of(tmp_path / "photos", 2)
    asked = ("--input", annotation, "--profile", "classical")
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    driver.run(*asked, "--output", whole, workflow=KINDS)
    found = dialogues(whole)
    for turns in found.values():
        columns = [row.columns for _, row in turns]
        for at, (_, row) in enumerate(turns):
            base = columns[at]["turn"]["base"]
            assert columns[at]["turn"]["number"] == at + 1
            assert row.inputs[0] == (turns[base - 1][1].outputs[0] if base else turns[0][1].inputs[0])
            assert columns[at]["source_sha256"] == columns[0]["source_sha256"]
            assert bool(columns[at]["turn"]["premise"]) == (columns[0]["task"] == "content_memory")
        kept = kept_turns(
            columns[0]["task"], [one["verdict"] for one in columns], [one["turn"]["base"] for one in columns]
        )
        assert [config for config, _ in turns] == ["data"] * kept + ["rejected"] * (len(turns) - kept)
    kept_kinds = {turns[0][1].columns["task"] for turns in found.values() if turns[0][0] == "data"}
    assert kept_kinds == set(KINDS.split(","))

    again = (*asked, "--output", broken, "--shard-size", 1)
    posted = helpers.prompts_so_far(driver.url)
    for done, how in ((2, signal.SIGKILL), (5, signal.SIGINT)):
        process = driver.start(*again, workflow=KINDS)
        helpers.until(
            lambda at=done, one=process: helpers.done_so_far(broken) >= at or one.poll() is not None, f"{done} done"
        )
        assert process.poll() is None, driver.end(process, expect=None)
        if how is signal.SIGINT:
            process.send_signal(how)
            driver.end(process, expect=130)
        else:
            helpers.kill(process)
    driver.run(*again, workflow=KINDS)
    assert comparable(broken) == comparable(whole)
    made = sum(row["state"] != "skipped" or bool(row["submissions"]) for row in helpers.table(broken, "telemetry"))
    assert helpers.prompts_so_far(driver.url) - posted - 1 == made, "an edit was made twice"

    server = ComfyServer(driver.url)
    back = next(
        one for one in rows_of(broken).values() if (turn := one[1].columns["turn"])["base"] < turn["number"] - 1
    )
    for key in (
        back[1].columns["key"],
        next(name for name, turns in found.items() if turns[0][1].columns["turn"]["op"] == "add"),
    ):
        opened = open_row(find_row(key, broken), server, None, upload=True)
        assert make_again(opened, server).difference == 0, f"{key} was opened as something else"
