"""UnicEdit from the command line: bare photos, many kinds written in one call each, edited, verified in both languages.

The editor is one that inverts a patch of the photo, since tiny weights make noise; the service answers in the right shapes.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from comfy_nodes.core.instructions.offering import KINDS
from driver.export import main as export
from tests.conftest import Comfy
from tests.e2e import helpers
from tests.e2e.helpers import Driver
from tests.vlm.endpoint import Endpoint, Got, Say

PHOTOS = 4
SAID: dict[str, tuple[str, str]] = {
    "Background Change": ("Replace the background with a snowy forest.", "把背景换成下雪的森林。"),
    "Lens Zooming": ("Zoom in on the red disc.", "放大画面\uff0c聚焦红色圆盘。"),
    "Style Transfer": ("Turn the photo into a woodcut.", "把照片变成木刻版画。"),
    "Tone Transformation": ("Bathe the scene in evening light.", "让画面沉浸在傍晚的光线里。"),
    "Viewpoint Transformation": ("Show the disc from the side.", "从侧面展示圆盘。"),
    "Color Alteration": ("Paint the disc blue.", "把圆盘涂成蓝色。"),
    "Material Modification": ("Make the disc out of glass.", "把圆盘变成玻璃材质。"),
    "Motion Change": ("Let the disc roll to the right.", "让圆盘向右滚动。"),
    "Shape-Size Alteration": ("Make the disc twice as large.", "把圆盘放大一倍。"),
    "Texture Editing": ("Give the disc a knitted texture.", "给圆盘加上针织纹理。"),
    "Counting Change": ("Show three discs in a row.", "让画面里有三个并排的圆盘。"),
    "Object Extraction": ("Extract the disc onto a plain white background.", "把圆盘提取到纯白背景上。"),
    "Portrait Editing": ("Give the man on the disc a grey beard.", "给圆盘上的男人加上灰色胡子。"),
    "Subject Addition": ("Add a small bird on the disc.", "在圆盘上添加一只小鸟。"),
    "Subject Removal": ("Remove the disc.", "移除圆盘。"),
    "Subject Replacement": ("Replace the disc with a square.", "把圆盘替换成方块。"),
    "Text Modification": ('Change "OPEN" on the disc to "SHUT".', "把圆盘上的“OPEN”改成“SHUT”。"),
    "Compound Operation Edits": ("Paint the disc green and add a bird above it.", "把圆盘涂成绿色\uff0c并在上方添加一只鸟。"),
    "Implicit Change Edits": ("Show it after a night of hard frost.", "展示一夜严霜之后的样子。"),
    "Multi-object Coordination": ("Make the disc and the ground share one yellow tone.", "让圆盘和地面都呈现同一种黄色调。"),
    "Relation Change": ("Put the disc behind the waves.", "把圆盘放到波浪后面。"),
    "Spatial Reasoning Edits": ("Replace what lies left of the middle with a bell.", "把中间偏左的东西换成铃铛。"),
}  # fmt: skip
COMMANDS = {
    "Implicit Change Edits": ("Cover the disc with white ice.", "a disc under white ice"),
    "Spatial Reasoning Edits": ("Replace the disc with a bell.", "a bell"),
}
WRONG = "Paint the disc blue."
RESTATED = ("Invert the colours of the whole photo.", "把整张照片的颜色反转。")
FOUND = {
    "source_caption": "A disc.", "edited_caption": "Another disc.", "differences": ["All colours are inverted."],
    "is_changed": True, "claims": [{"claim": "it is done", "mark": "correct"}], "restated_instruction": "",
    "restated_other": "",
}  # fmt: skip


class Service(Endpoint):
    """Writes for the kinds that it is offered, and finds every edit made but one, which it restates."""

    def _next(self, got: Got) -> Any:
        text = got.body["messages"][-1]["content"]
        text = text if isinstance(text, str) else " ".join(one.get("text", "") for one in text)
        if "`restated_other`" in text:
            wrong = WRONG in text
            claims = [{"claim": "the disc is blue", "mark": "wrong"}] if wrong else FOUND["claims"]
            words = dict(zip(("restated_instruction", "restated_other"), RESTATED, strict=True)) if wrong else {}
            return Say(json.dumps({**FOUND, "claims": claims, **words}))
        if "never mention frames" in json.dumps(got.body) and "`chinese`" in text:
            return Say(
                json.dumps(
                    {"edits": [written(name) for name in re.findall(r"^- ([^:\n]+): ", text, re.M) if name in SAID]}
                )
            )
        return Say(json.dumps({"new": []}))


def written(name: str) -> dict[str, Any]:
    english, chinese = SAID[name]
    command, target = COMMANDS.get(name, (english, "the photo as asked for"))
    return {
        "kind": name,
        "instruction": english,
        "chinese": chinese,
        "command": command,
        "target": target,
        "things": [],
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("unicedit")


@pytest.fixture(scope="module")
def service(comfy: Comfy) -> Iterator[Service]:
    with Service() as running:
        comfy.profiles.write_text(f'[profiles.default]\nbase_url = "{running.url}"\nmodel = "tiny"\n')
        yield running
        comfy.profiles.unlink()


@pytest.fixture(scope="module")
def driver(comfy: Comfy, place: Path) -> Iterator[Driver]:
    (place / "logs").mkdir()
    running = Driver(comfy.url, place / "logs")
    yield running
    running.close()


@pytest.fixture(scope="module")
def lines(service: Service, driver: Driver, place: Path) -> list[dict[str, Any]]:
    """What is written of bare photos, each of the 22 kinds asked for once."""
    for photo in helpers.make_photos(place / "photos", PHOTOS):
        photo.with_suffix(".mask.png").unlink()
        photo.with_suffix(".txt").unlink()
    kinds = ",".join(f"{kind}=1" for kind in KINDS)
    files = ("--input", place / "photos", "--output", place / "written", "--kinds", kinds)
    driver.run(*files, workflow="write-unicedit", quick=False)
    return [json.loads(line) for line in (place / "written" / "instructions.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def edited(lines: list[dict[str, Any]], driver: Driver, place: Path) -> list[dict[str, Any]]:
    """The kept rows of an editor that inverts a patch."""
    graph = {
        "1": {"class_type": "EditPairsLoadSample", "inputs": {
            "image": "editpairs-samples/flower.jpg", "task": "instruct", "region_index": 0, "seed": 0}},
        "2": {"class_type": "EditPairsFitSize", "inputs": {
            "image": ["1", 1], "size": "crop to multiple", "multiple": "16", "max_crop": 20.0, "sample": ["1", 0]}},
        "8": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
        "9": {"class_type": "ImageCrop", "inputs": {"image": ["8", 0], "width": 24, "height": 24, "x": 20, "y": 20}},
        "3": {"class_type": "ImageCompositeMasked", "inputs": {
            "destination": ["2", 0], "source": ["9", 0], "x": 20, "y": 20, "resize_source": False}},
        "4": {"class_type": "EditPairsLoadVlmEndpoint", "inputs": {"profile": "default"}},
        "5": {"class_type": "EditPairsVerifyPixels", "inputs": {
            "source": ["2", 0], "edited": ["3", 0], "min_changed": 0.01, "max_outside": 0, "sample": ["2", 2]}},
        "6": {"class_type": "EditPairsVerifyEdit", "inputs": {
            "vlm": ["4", 0], "sample": ["2", 2], "source": ["2", 0], "edited": ["3", 0], "scores": ["5", 0]}},
        "7": {"class_type": "EditPairsSavePair", "inputs": {
            "sample": ["2", 2], "edited": ["3", 0], "source": ["2", 0], "instruction": "", "folder": "x",
            "scores.score0": ["5", 0], "scores.score1": ["6", 0]}},
    }  # fmt: skip
    (place / "invert.json").write_text(json.dumps(graph))
    files = ("--input", place / "written" / "instructions.jsonl", "--image-root", place / "photos")
    driver.run(*files, "--output", place / "edited", workflow=place / "invert.json", quick=False)
    return helpers.rows(place / "edited")


def test_each_kind_is_written_once_in_both_languages(lines: list[dict[str, Any]], service: Service) -> None:
    assert Counter(line["subtask"] for line in lines) == Counter([*KINDS])
    for line in lines:
        kind = KINDS[line["subtask"]]
        assert (line["task"], line["instruction"], line["writing"]["other"]) == (kind.task, *SAID[kind.name])
    assert len(service.requests) == PHOTOS, "one call a photo"
    told = Counter(line["path"] for line in lines)
    assert max(told.values()) <= 7 and sum(told.values()) == 22


def test_each_kind_gives_a_kept_row_in_both_languages(edited: list[dict[str, Any]]) -> None:
    assert Counter(row["subtask"] for row in edited) == Counter([*KINDS])
    assert len({row["key"] for row in edited}) == len(KINDS)
    for row in edited:
        kind = KINDS[row["subtask"]]
        both = RESTATED if kind.name == "Color Alteration" else SAID[kind.name]
        assert (row["prompt_en"], row["prompt_cn"], row["prompt"]) == (*both, both[0])
        assert (row["task"], row["vouched_by"]) == (kind.task, ["verifier"])
        assert row["initial_prompt"] == SAID[kind.name][0]
        assert row["edit_mask"] is None, "the whole photo may change"


def test_the_rows_are_readable_as_unicedits(edited: list[dict[str, Any]], place: Path) -> None:
    assert export([str(place / "edited"), "--to", "unicedit", "--output", str(place / "export")]) == 0
    (path,) = (place / "export" / "data").glob("*.parquet")
    found = pq.read_table(path).to_pylist()
    assert list(found[0]) == ["key", "edit_task", "edit_subtask", "src_image", "edit_image", "prompt_cn", "prompt_en"]
    assert Counter(row["edit_subtask"] for row in found) == Counter(kind.name for kind in KINDS.values())
    by_key = {row["key"]: row for row in edited}
    for row in found:
        ours = by_key[row["key"]]
        assert row["edit_task"] == KINDS[ours["subtask"]].group
        assert row["src_image"] == {"bytes": ours["input_images"][0]["bytes"], "path": None}
        assert row["edit_image"] == {"bytes": ours["output_images"][0]["bytes"], "path": None}
        assert (row["prompt_cn"], row["prompt_en"]) == (ours["prompt_cn"], ours["prompt_en"])


def test_unicedits_own_rows_are_verified_in_both(
    edited: list[dict[str, Any]], driver: Driver, place: Path, service: Service
) -> None:
    export([str(place / "edited"), "--to", "unicedit", "--output", str(place / "export")])
    before, output = len(service.requests), place / "again"
    driver.run(
        "--input", place / "export" / "data", "--output", output, "--limit", 8, workflow="verify-unicedit", quick=False
    )
    found = helpers.rows(output)
    assert len(found) == 8
    known = {row["prompt_en"]: row["prompt_cn"] for row in edited}
    assert all(known[row["prompt_en"]] == row["prompt_cn"] for row in found)
    asked = [json.dumps(got.body) for got in service.requests[before:]]
    assert sum("restated_other" in one for one in asked) == 8
