"""ScaleEdit's recipe on a real ComfyUI: each of the 23 families gives a written, edited and kept row, words are read
before and after, and a photo that suits nothing is left out with the reasons."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from comfy_nodes.core.regions.annotation import Annotation, Region, region_of_mask, to_json
from comfy_nodes.core.taxonomy import EDITOR, TAXONOMY
from driver.recipe.file import read_recipe
from tests.e2e import helpers
from tests.e2e.helpers import Driver
from tests.vlm.seeing import Seeing

pytest.importorskip("rapidocr", reason="needs rapidocr: python install.py")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: python install.py")

FAMILIES = {kind.id: kind for kind in TAXONOMY.values() if kind.scheme == "scaleedit"}
SIZE = (360, 320)
SIGN = (210, 20, 340, 64)
THREE = ("instruction_following", "editing_consistency", "generation_quality")
RIDDLE = "Find what stands out most; let it be as time would leave it."

TOLD = {
    "load": {
        "class_type": "EditPairsLoadSample",
        "inputs": {"image": "editpairs-samples/coffee.png", "task": "instruct", "region_index": 0, "seed": 0},
    },
    "step": {
        "class_type": "EditPairsTakeStep",
        "inputs": {"sample": ["load", 0], "step": 0, "editor": "follows commands"},
    },
    "edit": {
        "class_type": "SmallEditor",
        "inputs": {"image": ["load", 1], "mask": ["load", 2], "prompt": ["step", 4]},
    },
    "save": {
        "class_type": "EditPairsSavePair",
        "inputs": {"sample": ["step", 6], "edited": ["edit", 0], "instruction": "", "folder": "editpairs"},
    },
}
"""What `EDITOR` is, with an editor that needs no weights."""


@pytest.fixture(scope="module")
def service() -> Iterator[Seeing]:
    with Seeing() as running:
        yield running


def photo() -> Image.Image:
    """A disc and a box before a wall, and a sign that says OPEN."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    ground = np.stack([np.sin(x / 17), np.cos(y / 19), np.sin((x + y) / 23)], axis=-1) * 20 + 120
    ground += np.random.default_rng(3).normal(0, 4, ground.shape)
    picture = Image.fromarray(ground.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((40, 200, 120, 280), fill=(200, 40, 30))
    pen.rectangle((250, 220, 320, 290), fill=(40, 60, 190))
    pen.rectangle(SIGN, fill=(240, 236, 220))
    pen.text((SIGN[0] + 12, SIGN[1] + 4), "OPEN", font=ImageFont.load_default(32), fill=(20, 20, 40))
    return picture


def marked(name: str, box: tuple[int, int, int, int], kind: Any = "object", round_: bool = False) -> Region:
    mask = Image.new("1", SIZE)
    (ImageDraw.Draw(mask).ellipse if round_ else ImageDraw.Draw(mask).rectangle)(box, fill=1)
    return region_of_mask(np.asarray(mask), name).model_copy(update={"kind": kind})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scaleedit")
    photo().save(folder / "shop.png")
    Image.new("RGB", SIZE, (90, 90, 95)).save(folder / "plain.png")
    things = (marked("disc", (40, 200, 120, 280), round_=True), marked("box", (250, 220, 320, 290)))
    regions = (*things, marked("wall", (0, 0, SIZE[0], 180), "background"))
    lines = [to_json(Annotation(path=name, size=SIZE, regions=regions)) for name in ("shop.png", "plain.png")]
    (folder / "photos.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    (folder / "told.json").write_text(json.dumps(TOLD))
    (folder / "small.toml").write_text(small())
    return folder


def small() -> str:
    """The recipe with quotas of one, without weights: the photos bring their regions, and tasks' own graphs are classical."""
    own = read_recipe("scaleedit")
    route, _ground, write, edit, verify = own.stages
    assert (write.options["kinds"].split(","), edit.workflow) == (list(FAMILIES), "auto")
    graphs = {f"{kind.graph}-classical" if kind.graph != EDITOR else "./told.json": 0 for kind in FAMILIES.values()}
    stages = [
        (route.name, route.workflow, ""),
        (write.name, write.workflow, f'kinds = "{",".join(f"{name}=1" for name in FAMILIES)}"\nkinds-per-region = 23'),
        (edit.name, ",".join(graphs), ""),
        (verify.name, verify.workflow, ""),
    ]
    told = "".join(f'[[stage]]\nname = "{name}"\nworkflow = "{graph}"\n{more}\n' for name, graph, more in stages)
    return f'name = "small"\nabout = ""\n{told}'


@pytest.fixture(scope="module")
def command(comfy: Any, service: Seeing, place: Path) -> Iterator[Driver]:
    (place / "logs").mkdir()
    driver = Driver(comfy.url, place / "logs")
    comfy.profiles.write_text(f'[profiles.default]\nbase_url = "{service.url}"\nmodel = "tiny"\n')
    try:
        yield driver
    finally:
        comfy.profiles.unlink()
        driver.close()


@pytest.fixture(scope="module")
def out(command: Driver, place: Path) -> Path:
    files = ("--input", place / "photos.jsonl", "--image-root", place, "--output", place / "out")
    command.run("--recipe", place / "small.toml", *files, workflow=None, quick=False)
    return place / "out"


def lines(out: Path, stage: str, file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "stages" / stage / file).read_text("utf-8").splitlines()]


def scores_of(row: dict[str, Any]) -> dict[str, float]:
    return {one["name"]: one["value"] for one in row["scores"]}


def test_each_family_gives_a_kept_row(out: Path) -> None:
    rows, refused = helpers.rows(out), helpers.rows(out, "rejected")
    assert ({row["subtask"] for row in rows}, len(rows)) == (set(FAMILIES), 23), [
        one["reject_reason"] for one in refused
    ]
    for row in rows:
        kind, scores = FAMILIES[row["subtask"]], scores_of(row)
        assert [scores[f"judge.{name}"] for name in THREE] == [3, 3, 3] and scores["filter.keep"] == 1
        assert (row["class_name"] is None) == (kind.shape in ("free", "whole"))
        assert row["task"] == kind.task and f"judge-scaleedit-{kind.rubric} " in row["judge"]["prompt_version"]


def test_a_photo_that_suits_nothing_is_left_out_with_the_reasons(out: Path) -> None:
    (skipped,) = helpers.table(out / "stages" / "route", "skipped")
    assert (skipped["source_id"], skipped["error_type"]) == ("plain.png", "NoRoute")
    assert "no words were read in the photo (scaleedit/4.1_movie_poster" in skipped["message"]
    assert "of the picture is " in skipped["message"]
    (routed,) = lines(out, "route", "annotation.jsonl")
    assert list(routed["routes"]["accepted"]) == list(FAMILIES)
    for line in lines(out, "write", "instructions.jsonl"):
        bound = [one for found in line["segmentation"].values() if isinstance(found, list) for one in found]
        assert bool(bound) == (FAMILIES[line["subtask"]].shape not in ("free", "whole")), line["subtask"]


def test_words_are_read_told_painted_and_read_again(out: Path) -> None:
    (routed,) = lines(out, "route", "annotation.jsonl")
    (word,), things = routed["ocr"], [one["class_name"] for one in routed["segmentation"]["object"]]
    assert (word["words"], things) == ("OPEN", ["disc", "box"]), "words are no things"
    written = {one["subtask"]: one for one in lines(out, "write", "instructions.jsonl")}
    for row in helpers.rows(out):
        scores = scores_of(row)
        if FAMILIES[row["subtask"]].rubric != "text":
            assert "text.keep" not in scores
            continue
        (region,) = written[row["subtask"]]["segmentation"]["object"]
        assert (region["class_name"], region["bbox"]) == ('text "OPEN"', word["bbox"])
        new = re.findall('"([^"]+)"', row["editor_prompt"])[-1]
        assert row["editor_prompt"] == f'Change "OPEN" on the text in the upper-right of the image to "{new}".'
        read = {name: scores[f"text.{name}"] for name in ("old_before", "old_after", "new_before", "new_after", "keep")}
        assert read["old_before"] == read["new_after"] == read["keep"] == 1 and read["new_before"] < 0.9, read
        assert "reader" in row["vouched_by"]


def test_knowledge_alone_is_rewritten_and_its_riddle_stays(out: Path, service: Seeing) -> None:
    told = {row["subtask"]: row for row in helpers.rows(out)}
    knowing = [name for name, kind in FAMILIES.items() if kind.rubric == "reasoning"]
    assert len(knowing) == 4
    for name in knowing:
        assert told[name]["prompt"] == told[name]["initial_prompt"] == RIDDLE
        assert told[name]["editor_prompt"] == "Change the disc so that it looks older and darker."
    asked = {name: service.answered[name] for name in ("route", "write", "write freely", "rewrite", "judge")}
    assert asked == {"route": 2, "write": 20, "write freely": 3, "rewrite": 4, "judge": 23}


def test_pixels_judge_finished_edits_by_all_of_their_regions(command: Driver, out: Path, place: Path) -> None:
    given = ("--input", out, "--output", place / "again")
    command.run(*given, workflow="verify-imgedit", quick=False)
    rows = helpers.rows(place / "again") + helpers.rows(place / "again", "rejected")
    assert {"extract", "hybrid"} <= {row["task"] for row in rows} and len(rows) == 23
    refused = {row["subtask"]: row["reject_reason"] for row in rows if scores_of(row)["pixel.keep"] != 1}
    assert refused == {}
