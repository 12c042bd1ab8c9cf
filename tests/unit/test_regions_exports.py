"""Open Images' tables, CVAT's XML and Label Studio's JSON as inputs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from driver.errors import RunError
from driver.inputs.source import Source
from tests.unit.source_making import BOX, picture, plan, reasons, samples
from tests.unit.test_regions_files import boxes, put

# Open Images

HEAD = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
ROW = "cup,xclick,/m/02jvh9,1,0.1,0.5,0.16666667,0.5,0,0,0,0,0\n"
NAMES = "/m/02jvh9,Mug\n/m/01,Tea_pot\n"


def test_open_images_with_names_in_a_table_beside(tmp_path: Path) -> None:
    """Rows of one photo need not stand together."""
    other = ROW.replace("cup,", "bus,").replace("/m/02jvh9", "/m/01")
    table = HEAD + ROW + other + ROW.replace("0.5,0,0", "0.75,0,0")
    put(tmp_path, train___cup__jpg=picture(), train___bus__jpg=picture("red"))
    (tmp_path / "train-annotations-bbox.csv").write_text(table, encoding="utf-8-sig")
    (tmp_path / "class-descriptions-boxable.csv").write_text(NAMES)
    taller = ("Mug", (4, 5, 20, 22.5), False)
    expected = {"train/cup.jpg": [("Mug", BOX, False), taller], "train/bus.jpg": [("Tea pot", BOX, False)]}
    assert boxes(tmp_path) == expected
    assert boxes(tmp_path / "train-annotations-bbox.csv", tmp_path) == expected


MASKS = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks\n"
IMAGE = "0123456789abcdef"
PNG = f"{IMAGE}_m02jvh9_aabbccdd.png"


def mask_row(name: str = PNG, right: float = 0.5) -> str:
    return f"{name},{IMAGE},/m/02jvh9,aabbccdd,0.100000,{right:.6f},0.166667,0.500000,0.9,\n"


def halved(box: tuple[int, int, int, int]) -> bytes:
    """A mask of half the photo's size."""
    picture_ = Image.new("1", (20, 15))
    picture_.paste(1, tuple(one // 2 for one in box))
    buffer = io.BytesIO()
    picture_.save(buffer, "PNG")
    return buffer.getvalue()


def test_open_images_masks_are_those_of_their_boxes(tmp_path: Path) -> None:
    """Of another size than the photo, in a folder of their own, and no photos themselves; also of another split's table."""
    put(tmp_path, train___0123456789abcdef__jpg=picture())
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / PNG).write_bytes(halved((4, 6, 20, 14)))
    (tmp_path / "masks" / PNG.replace("aabbccdd", "00000000")).write_bytes(halved((4, 6, 20, 14)))
    (tmp_path / "train-annotations-bbox.csv").write_text(HEAD + ROW.replace("cup,", f"{IMAGE},") * 2)
    (tmp_path / "train-annotations-object-segmentation.csv").write_text(MASKS + mask_row())
    (tmp_path / "class-descriptions-boxable.csv").write_text(NAMES)
    found = boxes(tmp_path)
    assert found == {f"train/{IMAGE}.jpg": [("Mug", (4, 6, 20, 14), True), ("Mug", BOX, False)]}
    assert reasons(plan(Source(tmp_path))) == {}
    (tmp_path / "train-annotations-bbox.csv").unlink()
    assert boxes(tmp_path) == {f"train/{IMAGE}.jpg": [("Mug", (4, 6, 20, 14), True)]}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "is not there; its box is used"),
        (halved((0, 0, 1, 1)), "marks no pixel of the picture; its box is used"),
        (b"none", "cannot be read"),
        (picture(size=(30, 40)), "has another shape than its photo"),
    ],
)
def test_a_mask_that_cannot_be_used_is_said_and_its_box_is(data: bytes | None, why: str, tmp_path: Path) -> None:
    put(tmp_path, **{f"{IMAGE}__jpg": picture()})
    if data is not None:
        (tmp_path / PNG).write_bytes(data)
    (tmp_path / "a-object-segmentation.csv").write_text(MASKS + mask_row() + mask_row().replace("0.1", "x", 1))
    (tmp_path / "class-descriptions.csv").write_text(NAMES)
    found = plan(Source(tmp_path))
    assert [one.annotation.regions[0].bbox for one in samples(found)] == [pytest.approx(BOX, abs=0.01)]
    said = " ".join(one.failure.message for one in found if hasattr(one, "failure"))
    assert why in said and "no coordinate" in said


def test_what_open_images_has_no_region_for_is_counted(tmp_path: Path) -> None:
    """Groups, classes without a name, numbers that are no shares, lines cut off, photos that are not there."""
    lines = [
        ROW,
        ROW.replace("0,0,0,0,0\n", "0,0,1,0,0\n"),
        ROW.replace("/m/02jvh9", "/m/99"),
        ROW.replace("0.1,", "4,"),
        ROW.replace("0.1,", "x,"),
        ROW.replace("0.1,0.5", "-0.4,-0.1"),
        "cup,xclick\n",
        ROW.replace(",0,0,0,0,0\n", "\n"),
        ROW.replace("cup", "gone"),
    ]
    put(tmp_path, cup__jpg=picture())
    (tmp_path / "a-bbox.csv").write_text(HEAD + "".join(lines))
    (tmp_path / "class-descriptions.csv").write_text(NAMES)
    found = plan(Source(tmp_path / "a-bbox.csv"))
    assert len(samples(found)) == 1
    said = [(one.source_id, one.failure.message) for one in found if hasattr(one, "failure")]
    for (name, why), part in zip(
        said,
        ["too few cells", "too few cells", "no name", "no shares", "no coordinate", "no area", "a group", "gone.jpg"],
        strict=True,
    ):
        assert part in why, (name, why)


def test_a_table_of_labels_is_no_table_of_boxes(tmp_path: Path) -> None:
    put(tmp_path, a__csv="ImageID,Source,LabelName,Confidence\ncup,x,/m/02jvh9,1\n")
    with pytest.raises(RunError, match="no table of boxes"):
        plan(Source(tmp_path / "a.csv"))


# CVAT


def cvat(inside: str, name: str = "cup.jpg") -> str:
    image = f'<image id="0" name="{name}" width="40" height="30">{inside}</image>'
    return f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta/>{image}</annotations>'


@pytest.mark.parametrize(
    ("inside", "mask"),
    [
        ('<box label="red_cup" xtl="4.0" ytl="5" xbr="20" ybr="15"/>', False),
        ('<box label="red_cup" xtl="7" ytl="2" xbr="17" ybr="18" rotation="90.0"/>', True),
        ('<polygon label="red_cup" points="4,5;20,5;20.0,15;4,15"><attribute name="a">b</attribute></polygon>', True),
        ('<mask label="red_cup" rle="24, 16, 4, 16, 4, 16, 4, 16, 4, 16, 4, 16, 4, 16, 4, 16, 4, 16, 4, 16" '
         'left="0" top="4" width="20" height="11"/>', True),
    ],
)  # fmt: skip
def test_cvat_shapes(inside: str, mask: bool, tmp_path: Path) -> None:
    put(tmp_path, images___cup__jpg=picture(), annotations__xml=cvat(inside))
    assert boxes(tmp_path) == {"images/cup.jpg": [("red cup", BOX, mask)]}


def test_a_cvat_ellipse_turns(tmp_path: Path) -> None:
    drawn = '<ellipse label="cup" cx="20" cy="15" rx="10" ry="5" rotation="90"/>'
    put(tmp_path, cup__jpg=picture(), annotations__xml=cvat(drawn))
    assert boxes(tmp_path) == {"cup.jpg": [("cup", (15, 5, 25, 25), True)]}


def test_what_cvat_marks_that_is_no_region_is_counted(tmp_path: Path) -> None:
    inside = (
        '<points label="a" points="1,2"/><polygon label="b" points="1,2;3,4"/><mask label="c" rle="1" left="0" top="0" '
        'width="9" height="9"/><mask label="d" rle="9" left="39" top="0" width="3" height="3"/><box label="e" xtl="1"/>'
        '<box label="f" xtl="1" ytl="1" xbr="30" ybr="20"/>'
    )
    put(tmp_path, cup__jpg=picture(), annotations__xml=cvat(inside))
    found = plan(Source(tmp_path))
    assert len(samples(found)) == 1
    said = [one.failure.message for one in found if hasattr(one, "failure")]
    parts = ["fewer than three", "do not add up", "leaves the picture", "no coordinate", "marks no region"]
    for why, part in zip(said, parts, strict=True):
        assert part in why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<annotations><track id='0'/></annotations>", "of a video"),
        (cvat("")[:-5], "not XML to its end"),
        ('<!DOCTYPE a [<!ENTITY b "bbbb">]>' + cvat("&b;")[39:], "without a document type"),
        (cvat("", name=""), "without a name"),
    ],
)
def test_a_cvat_file_that_is_none_ends_in_one_line(text: str, why: str, tmp_path: Path) -> None:
    put(tmp_path, cup__jpg=picture(), annotations__xml=text)
    with pytest.raises(RunError, match=why):
        plan(Source(tmp_path / "annotations.xml"))


# Label Studio

PERCENT = {"x": 10, "y": 100 / 6, "width": 40, "height": 100 / 3, "rotation": 0}


def result(kind: str = "rectangle", value: dict[str, Any] = PERCENT, **more: Any) -> dict[str, Any]:
    size = {"original_width": 40, "original_height": 30, "image_rotation": 0}
    return {"id": "r1", "type": f"{kind}labels", "value": {**value, f"{kind}labels": ["red_cup"]}, **size, **more}


def task(*results: dict[str, Any], image: str = "/data/upload/3/1a2b3c4d-cup.jpg") -> dict[str, Any]:
    cancelled = {"was_cancelled": True, "result": [result(value={"x": 0, "y": 0, "width": 9, "height": 9})]}
    return {
        "id": 1,
        "data": {"image": image},
        "annotations": [cancelled, {"was_cancelled": False, "result": list(results)}],
    }


RING = [[10, 100 / 6], [50, 100 / 6], [50, 50], [10, 50]]


@pytest.mark.parametrize(
    ("given", "mask"),
    [
        (result(), False),
        (result(value={"x": 50, "y": 100 / 6, "width": 25, "height": 160 / 3, "rotation": 90}), True),
        (result("polygon", {"points": RING, "closed": True}), True),
    ],
)
def test_label_studio_counts_in_percent_and_turns_about_a_corner(
    given: dict[str, Any], mask: bool, tmp_path: Path
) -> None:
    put(tmp_path, cup__jpg=picture(), export__json=json.dumps([task(given)]))
    assert boxes(tmp_path) == {"cup.jpg": [("red cup", BOX, mask)]}


def test_a_label_studio_ellipse(tmp_path: Path) -> None:
    drawn = result("ellipse", {"x": 50, "y": 50, "radiusX": 25, "radiusY": 100 / 6, "rotation": 90})
    put(tmp_path, cup__jpg=picture(), export__json=json.dumps([task(drawn)]))
    assert boxes(tmp_path) == {"cup.jpg": [("red cup", (15, 5, 25, 25), True)]}


@pytest.mark.parametrize(
    "image",
    ["/data/upload/3/1a2b3c4d-cup.jpg", "/data/local-files/?d=x%2Fcup.jpg", "s3://bucket/a%20b/cup.jpg", "cup.jpg",
     "http://localhost:8080/data/upload/1/cup.jpg", "C:\\x\\cup.jpg"],
)  # fmt: skip
def test_label_studio_s_addresses(image: str, tmp_path: Path) -> None:
    put(tmp_path, x___cup__jpg=picture(), export__json=json.dumps([task(result(), image=image)]))
    assert boxes(tmp_path) == {"x/cup.jpg": [("red cup", BOX, False)]}


def test_label_studio_s_labels_may_stand_apart_from_shapes(tmp_path: Path) -> None:
    shape = result() | {"type": "rectangle", "value": PERCENT}
    labels = {"id": "r1", "type": "labels", "value": {**PERCENT, "labels": ["red_cup"]}}
    put(tmp_path, cup__jpg=picture(), export__json=json.dumps([task(shape, labels)]))
    assert boxes(tmp_path) == {"cup.jpg": [("red cup", BOX, False)]}


STROKE = bytes([
    0, 0, 18, 192, 57, 27, 255, 3, 47, 0, 143, 35, 29, 255, 229, 240, 8, 255, 227, 90, 198, 255, 249, 124, 3, 31, 255, 229,
    240, 12, 127, 255, 151, 192, 49, 255, 254, 95, 0, 199, 255, 249, 124, 3, 31, 255, 229, 240, 12, 127, 255, 151, 192, 49,
    255, 254, 95, 0, 199, 255, 252, 38, 188, 0,
])  # fmt: skip
"""A box on 40 x 30 as label-studio-brush-rle-rs 0.1.1 packs it: one pixel is more than half marked, another less."""


def brushed(data: bytes, **more: Any) -> dict[str, Any]:
    return result("brush", {"format": "rle", "rle": list(data)} | more)


def test_a_label_studio_brush_is_a_mask(tmp_path: Path) -> None:
    put(tmp_path, cup__jpg=picture(), export__json=json.dumps([task(brushed(STROKE))]))
    assert boxes(tmp_path) == {"cup.jpg": [("red cup", BOX, True)]}
    (sample,) = samples(plan(Source(tmp_path)))
    assert (mask := sample.annotation.regions[0].mask) and mask.area == 16 * 10 - 1


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (brushed(STROKE[:40]), "its rle is cut off"),
        (brushed(b""), "its rle is cut off"),
        (brushed(b"\0\0\0\4" + STROKE[4:]), "its rle has 4 values, and its picture 4800"),
        (brushed(STROKE[:4] + b"\xff" + STROKE[5:]), "values of 32 bits"),
        (brushed(STROKE[:-4] + b"\xff" * 40), "more values than it says"),
        (brushed(STROKE, format="png"), "no run lengths"),
        (brushed(STROKE, rle=[300]), "no list of bytes"),
        (brushed(STROKE) | {"image_rotation": 90}, "was turned in"),
    ],
)
def test_a_brush_that_cannot_be_read_costs_only_itself(given: dict[str, Any], why: str, tmp_path: Path) -> None:
    put(tmp_path, cup__jpg=picture(), export__json=json.dumps([task(result(), given)]))
    found = plan(Source(tmp_path))
    assert len(samples(found)) == 1
    assert any(why in one.failure.message for one in found if hasattr(one, "failure"))


def test_nothing_of_label_studio_s_is_silent(tmp_path: Path) -> None:
    points = result("keypoint", {"x": 1, "y": 2, "width": 1})
    turned = result(image_rotation=90)
    bad = result(value={"x": "a"})
    tasks = [
        task(result(), points, turned, bad),
        task(result(), image="gone.jpg"),
        {"id": 3, "data": {"text": "x"}, "annotations": []},
    ]
    put(tmp_path, cup__jpg=picture(), export__json=json.dumps(tasks))
    found = plan(Source(tmp_path / "export.json"))
    assert len(samples(found)) == 1
    said = [one.failure.message for one in found if hasattr(one, "failure")]
    for why, part in zip(
        said, ["was turned in", "no coordinate", "marks no region", "gone.jpg", "names no picture"], strict=True
    ):
        assert part in why


def test_a_label_studio_export_that_is_cut_off(tmp_path: Path) -> None:
    put(tmp_path, cup__jpg=picture(), export__json=json.dumps([task(result())])[:-1])
    with pytest.raises(RunError, match="not JSON to its end"):
        plan(Source(tmp_path / "export.json"))
