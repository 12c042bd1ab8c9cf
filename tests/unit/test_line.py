"""What an annotation's line says beside its regions: carried on whole, and only where JSON can hold it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from comfy_nodes.core.regions import line
from comfy_nodes.core.regions.annotation import Region, parse_annotation, to_json
from comfy_nodes.core.regions.earlier import new, staying
from driver.inputs.records import read_record

TOLD: dict[str, Any] = {
    "tags": {"object": ["cup"], "background": ["wall"]}, "short_cap": "A cup.", "aesthetic": 5.25,
    "ocr": [{"words": "OPEN", "box": [1, 2, 3, 4]}], "reference": "ref.png", "licence": "CC0", "mine": {"a": [1, None]},
}  # fmt: skip


def test_a_line_comes_back_as_it_was() -> None:
    item = {"path": "a.png", "segmentation": {"object": [], "background": []}, **TOLD}
    read = parse_annotation(item)
    assert dict(read.further) == TOLD
    assert to_json(read) == item
    assert parse_annotation(json.loads(json.dumps(to_json(read)))) == read


def test_what_a_detector_whispered_is_carried_and_not_doubled() -> None:
    weak = {"object": [{"class_name": "cup", "bbox": [0, 0, 9, 9], "score": 0.01}], "background": []}
    read = parse_annotation({"path": "a.png", "weak": weak})
    assert (read.weak, read.regions) == (1, ())
    assert to_json(read)["weak"] == weak


@pytest.mark.parametrize(
    "value", [float("nan"), [float("inf")], b"\x00", {"a": object()}, "\ud800", None, {1, 2}], ids=lambda one: type(one).__name__
)  # fmt: skip
def test_what_json_cannot_hold_is_left_out(value: Any) -> None:
    assert parse_annotation({"path": "a.png", "mine": value}).further == {}


def test_metadata_of_a_camera_and_figures_are_not_carried() -> None:
    item = {"path": "a.png", "exif": '{"GPS": "here"}', "obj_count": {"cup": 9}, "source_sha256": "f" * 64, "mine": 1}
    assert parse_annotation(item).further == {"mine": 1}


def test_a_rows_columns_are_its_own() -> None:
    """Of a pair that is judged again nothing travels beside what it carries."""
    row = {"path": "a.png", "stage_sha256": "f" * 64, "key": "k", "prompt": "Remove it.", "width": 9}
    assert read_record(row).annotation.further == {}
    assert read_record({"path": "a.png", "width": 9}).annotation.further == {"width": 9}


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"object": ["cup", " Cup ", "red  cup"], "background": ["sky"]}, (["cup", "red cup"], ["sky"])),
        ({"object": [], "background": ["sky"]}, ([], ["sky"])),
        (["cup", 3, "two\nlines", "x" * 201, ""], (["cup"], [])),
        ({"object": [], "background": []}, None),
        ({"object": "cup"}, None),
        ("cup", None),
        (None, None),
    ],
)
def test_tags(said: Any, found: tuple[list[str], list[str]] | None) -> None:
    wanted = None if found is None else {"object": found[0], "background": found[1]}
    assert line.tags({"tags": said}) == wanted


CUP = Region(class_name="cup", bbox=(0, 0, 10, 10), score=0.9)
MARKED = Region(class_name="cup", bbox=(0, 0, 10, 9))
SKY = Region(class_name="sky", kind="background", bbox=(0, 0, 40, 10), score=0.5)


def test_a_persons_regions_outlast_a_detectors() -> None:
    assert staying([CUP, MARKED, SKY], {"object"}, "replace") == [MARKED, SKY]
    assert staying([CUP, MARKED, SKY], {"object", "background"}, "replace") == [MARKED]
    assert staying([CUP, MARKED, SKY], set(), "replace") == [CUP, MARKED, SKY]
    assert staying([CUP, MARKED, SKY], {"object", "background"}, "add") == [CUP, MARKED, SKY]


def test_one_thing_is_there_once() -> None:
    far, other = CUP.model_copy(update={"bbox": (20, 20, 30, 30)}), CUP.model_copy(update={"class_name": "mug"})
    assert new([CUP, far, other, SKY], [MARKED]) == [far, other, SKY]
    assert new([SKY], [SKY]) == []
