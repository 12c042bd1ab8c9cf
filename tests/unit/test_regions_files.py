"""LabelMe, SA-1B, Pascal VOC and YOLO as inputs: a file beside each photo, told by its content."""

from __future__ import annotations

import base64
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from driver.errors import RunError
from driver.inputs.source import Source
from tests.unit.source_making import BOX, mask_picture, mask_rle, picture, plan, reasons, samples

CORNERS = [[4, 5], [20, 5], [20, 15], [4, 15]]


def boxes(place: Path, root: Path | None = None) -> dict[str, list[tuple[Any, ...]]]:
    """By photo, name, box and whether there is a mask of each region that gave a sample."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for one in samples(plan(Source(place, root))):
        (region,) = one.annotation.regions
        box = tuple(round(side, 3) for side in region.bbox)
        found.setdefault(one.annotation.path, []).append((region.class_name, box, region.mask is not None))
    return found


def put(folder: Path, **files: bytes | str) -> Path:
    """Files by name, in which `__` is a dot and `___` a slash."""
    for name, data in files.items():
        path = folder / name.replace("___", "/").replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return folder


# LabelMe


def labelme(*shapes: dict[str, Any], **more: Any) -> str:
    size = {"imageWidth": 40, "imageHeight": 30}
    return json.dumps(
        {"version": "5.5.0", "shapes": list(shapes), "imagePath": "cup.jpg", "imageData": None} | size | more
    )


def shape(kind: str | None = "polygon", points: Any = CORNERS, **more: Any) -> dict[str, Any]:
    return {"label": "red_cup", "points": points, "shape_type": kind, "group_id": None, "flags": {}} | more


def embedded() -> str:
    with Image.open(io.BytesIO(mask_picture())) as mask:
        buffer = io.BytesIO()
        Image.fromarray((np.asarray(mask.crop(BOX)) > 0).astype(np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize(
    ("given", "mask"),
    [
        (shape(), True),
        (shape(None), True),
        (shape("rectangle", [[20, 15], [4, 5]]), False),
        (shape("rotation"), True),
        (shape("mask", [[4, 5], [19, 14]], mask=embedded()), True),
    ],
)
def test_labelme_shapes(given: dict[str, Any], mask: bool, tmp_path: Path) -> None:
    put(tmp_path, cup__jpg=picture(), cup__json="\ufeff" + labelme(given))
    assert boxes(tmp_path) == {"cup.jpg": [("red cup", BOX, mask)]}


def test_a_labelme_circle_has_its_radius(tmp_path: Path) -> None:
    put(tmp_path, cup__jpg=picture(), cup__json=labelme(shape("circle", [[20, 15], [20, 5]])))
    assert boxes(tmp_path) == {"cup.jpg": [("red cup", (10, 5, 30, 25), True)]}


def test_labelme_parts_of_one_group_are_one_region(tmp_path: Path) -> None:
    left, right = [[4, 5], [8, 5], [8, 15], [4, 15]], [[14, 5], [20, 5], [20, 15], [14, 15]]
    put(
        tmp_path, cup__jpg=picture(), cup__json=labelme(shape(points=left, group_id=1), shape(points=right, group_id=1))
    )
    assert boxes(tmp_path) == {"cup.jpg": [("red cup", BOX, True)]}


def test_labelme_without_a_size_takes_the_photo_s(tmp_path: Path) -> None:
    put(tmp_path, cup__jpg=picture(), cup__json=labelme(shape(), imageWidth=None, imageHeight=None))
    assert boxes(tmp_path) == {"cup.jpg": [("red cup", BOX, True)]}


def test_what_labelme_marks_that_is_no_region_is_counted(tmp_path: Path) -> None:
    bad = shape("mask", [[4, 5], [19, 14]], mask="AAAA")
    put(
        tmp_path,
        cup__jpg=picture(),
        cup__json=labelme(shape(), shape("point", [[1, 1]]), shape(points=CORNERS[:2]), bad),
    )
    said = [one.failure.message for one in plan(Source(tmp_path)) if hasattr(one, "failure")]
    assert [one.rpartition(": ")[2] for one in said] == [
        "its polygon has fewer than three points, which mark nothing",
        "its mask is no picture that fits between its corners",
        "a point, which marks no region",
    ]


def test_a_broken_file_and_a_photo_without_one_are_counted(tmp_path: Path) -> None:
    put(
        tmp_path,
        cup__jpg=picture(),
        cup__json=labelme(shape()),
        a__json=labelme(),
        bus__jpg=picture("red"),
        z__json="{",
    )
    put(tmp_path, a__json=labelme(shape(), imagePath="..\\x\\gone.jpg"))
    found = plan(Source(tmp_path))
    assert len(samples(found)) == 1
    assert set(reasons(found)) == {"..\\x\\gone.jpg", "bus.jpg", "z.json"}


def test_masks_beside_photos_say_more_than_another_program(tmp_path: Path) -> None:
    put(tmp_path, cup__jpg=picture(), cup__mask__png=mask_picture((0, 0, 9, 9)), cup__json=labelme(shape()))
    assert boxes(tmp_path) == {"cup.jpg": [(None, (0, 0, 9, 9), True)]}


@pytest.mark.parametrize("name", ["cup\x00.jpg", "\ud800.jpg", "../gone.jpg", "", "x" * 5000])
def test_names_that_no_file_has(name: str, tmp_path: Path) -> None:
    odd = labelme(shape("\ud800"), shape(label=name), imagePath=name or "cup.jpg", imageWidth=None)
    put(tmp_path, cup__jpg=picture(), cup__json=odd)
    found = plan(Source(tmp_path / "cup.json"))
    assert len(samples(found)) == (name == "")
    assert all("\n" not in why and len(why) < 6000 for why in reasons(found).values())


def test_a_windows_path_says_which_of_two_photos(tmp_path: Path) -> None:
    put(
        tmp_path,
        a___cup__jpg=picture(),
        b___cup__jpg=picture("red"),
        b___marks___cup__json=labelme(shape(), imagePath="..\\cup.jpg"),
    )
    assert boxes(tmp_path) == {"b/cup.jpg": [("red cup", BOX, True)]}


# SA-1B


def test_sam_gives_masks_without_names(tmp_path: Path) -> None:
    image = {"image_id": 1, "width": 40, "height": 30, "file_name": "sa_1.jpg"}
    mark = {
        "bbox": [4, 5, 16, 10],
        "segmentation": mask_rle(),
        "predicted_iou": 0.97,
        "id": 5,
        "crop_box": [0, 0, 40, 30],
    }
    put(tmp_path, sa_1__jpg=picture(), sa_1__json=json.dumps({"image": image, "annotations": [mark, {"bbox": 1}, 3]}))
    found = plan(Source(tmp_path))
    (sample,) = samples(found)
    (region,) = sample.annotation.regions
    assert (region.class_name, region.bbox, region.sam_iou) == (None, BOX, 0.97)
    assert len(found) == 3


# Pascal VOC


def voc(inside: str, size: str = "<size><width>40</width><height>30</height></size>", name: str = "cup.jpg") -> str:
    return f"<annotation><folder>x</folder><filename>{name}</filename>{size}{inside}</annotation>"


def thing(inside: str) -> str:
    return f"<object><name>potted_plant</name><pose>Left</pose>{inside}</object>"


BNDBOX = "<bndbox><xmin>5.0</xmin><ymin>6</ymin><xmax>20</xmax><ymax>15</ymax></bndbox>"


@pytest.mark.parametrize(
    ("inside", "mask"),
    [
        (BNDBOX, False),
        (
            "<polygon><x1>4</x1><y1>5</y1><x2>20</x2><y2>5</y2><x3>20</x3><y3>15</y3><x4>4</x4><y4>15</y4></polygon>",
            True,
        ),
        (f"<robndbox><cx>12</cx><cy>10</cy><w>10</w><h>16</h><angle>{math.pi / 2}</angle></robndbox>", True),
    ],
)
@pytest.mark.parametrize(
    "size", ["<size><width>40</width><height>30</height></size>", "", "<size><width>0</width><height>0</height></size>"]
)
def test_pascal_voc(inside: str, mask: bool, size: str, tmp_path: Path) -> None:
    put(tmp_path, JPEGImages___cup__jpg=picture(), Annotations___cup__xml=voc(thing(inside), size))
    assert boxes(tmp_path) == {"JPEGImages/cup.jpg": [("potted plant", BOX, mask)]}


def test_pascal_voc_with_photos_elsewhere_and_names_without_an_ending(tmp_path: Path) -> None:
    put(tmp_path, photos___cup__jpg=picture(), marks___cup__xml="\ufeff" + voc(thing(BNDBOX), name="cup"))
    assert boxes(tmp_path / "marks", tmp_path / "photos") == {"cup.jpg": [("potted plant", BOX, False)]}
    assert boxes(tmp_path / "marks" / "cup.xml", tmp_path / "photos") == {"cup.jpg": [("potted plant", BOX, False)]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('<!DOCTYPE a [<!ENTITY b "bbbb">]>' + voc(thing("&b;")), "document type"),
        (voc("")[:-5], "not XML"),
        (voc("", name=""), "no filename"),
        ("<annotation>" * 20_000, "not XML"),
    ],
)
def test_a_pascal_voc_file_that_is_none_ends_in_one_line(text: str, why: str, tmp_path: Path) -> None:
    put(tmp_path, cup__jpg=picture(), cup__xml=text)
    with pytest.raises(RunError, match=why):
        plan(Source(tmp_path / "cup.xml"))


def test_an_object_without_a_box_costs_only_itself(tmp_path: Path) -> None:
    put(tmp_path, cup__jpg=picture(), cup__xml=voc(thing(BNDBOX) + thing("") + thing(BNDBOX.replace("20", "x"))))
    found = plan(Source(tmp_path))
    assert len(samples(found)) == 1
    assert len(found) == 3


def numbered(*marks: tuple[tuple[int, int, int, int], int], size: tuple[int, int] = (40, 30), mode: str = "P") -> bytes:
    """A picture of segmentation: boxes with their numbers."""
    picture = Image.new("L", size)
    for box, number in marks:
        picture.paste(number, box)
    if mode == "P":
        picture = picture.copy()
        picture.putpalette([value for number in range(256) for value in (number, 255 - number, 7)])
    buffer = io.BytesIO()
    (picture if mode != "RGB" else picture.convert("RGB")).save(buffer, "PNG")
    return buffer.getvalue()


def named(name: str, box: tuple[int, int, int, int]) -> str:
    x1, y1, x2, y2 = box
    corners = f"<xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
    return f"<object><name>{name}</name><bndbox>{corners}</bndbox></object>"


DOG, CAT, OTHER = (4, 5, 20, 15), (22, 5, 38, 15), (4, 17, 20, 28)


def marked(place: Path) -> dict[str | None, int | None]:
    """By region's name, how many pixels its mask has; None for a box."""
    found = samples(plan(Source(place)))
    return {
        one.annotation.regions[0].class_name: (mask := one.annotation.regions[0].mask) and mask.area for one in found
    }


def voc_set(folder: Path, things: str, **pictures: bytes) -> Path:
    put(folder, JPEGImages___cup__jpg=picture(), Annotations___cup__xml=voc(things))
    return put(folder, **{f"{name}___cup__png": data for name, data in pictures.items()})


def test_pascal_vocs_pictures_of_segmentation_are_masks(tmp_path: Path) -> None:
    """Of things by their order; a border counts for none; the pictures are no photos of their own."""
    border = ((4, 14, 38, 15), 255)
    objects = numbered((DOG, 1), (CAT, 2), border)
    classes = numbered((DOG, 12), (CAT, 12), border)
    voc_set(tmp_path, named("dog", DOG) + named("cat", CAT), SegmentationObject=objects, SegmentationClass=classes)
    assert marked(tmp_path) == {"dog": 16 * 9, "cat": 16 * 9}
    assert reasons(plan(Source(tmp_path))) == {}


def test_pascal_vocs_classes_mark_things_that_are_alone_in_theirs(tmp_path: Path) -> None:
    things = named("dog", DOG) + named("cat", CAT) + named("cat", OTHER) + named("gnu", (22, 17, 38, 28))
    voc_set(tmp_path, things, SegmentationClass=numbered((DOG, 12), (CAT, 8), (OTHER, 8)))
    assert marked(tmp_path) == {"dog": 16 * 10, "cat": None, "gnu": None}


@pytest.mark.parametrize(
    ("picture_", "why"),
    [
        (numbered((CAT, 1), (DOG, 2)), "object 0 (dog): 0% of what its picture of segmentation marks lies in its box"),
        (numbered((DOG, 2)), "marks nothing of it; its box is used"),
        (numbered((DOG, 1), (CAT, 3)), "it marks 3 things, of which the annotation names 2"),
        (numbered((DOG, 1), size=(30, 40)), "SegmentationObject: it is of another size"),
        (numbered((DOG, 1), mode="RGB"), "a picture in RGB, not one of numbers"),
        (b"\x89PNG none", "it cannot be read as a PNG; boxes are used"),
    ],
)
def test_a_picture_of_segmentation_that_does_not_fit_is_said_and_boxes_are_used(
    picture_: bytes, why: str, tmp_path: Path
) -> None:
    voc_set(tmp_path, named("dog", DOG) + named("cat", CAT), SegmentationObject=picture_)
    found = plan(Source(tmp_path))
    assert {one.annotation.regions[0].class_name for one in samples(found)} == {"dog", "cat"}
    assert any(why in one.failure.message for one in found if hasattr(one, "failure"))


# YOLO

YAML = "path: /home/x\ntrain: images/train\nnames:\n  0: cup\n  7: traffic_light\n"
LINE = "7 0.3 0.333333333 0.4 0.333333333"


@pytest.mark.parametrize(
    ("line", "mask"),
    [
        (LINE, False),
        (LINE + " 0.9", False),
        ("7 0.1 0.16667 0.5 0.16667 0.5 0.5 0.1 0.5", True),
        ("7 0.1 0.16667 0.5 0.16667 0.5 0.5 0.1 0.5 0.9", True),
        ("7.0 0.1 0.16667 0.3 0.16667 0.5 0.16667 0.5 0.5 0.1 0.5", True),
    ],
)
def test_yolo_lines(line: str, mask: bool, tmp_path: Path) -> None:
    """Boxes, oriented boxes, segments, and what a detector has written with its confidence."""
    put(tmp_path, data__yaml=YAML, images___train___cup__jpg=picture(), labels___train___cup__txt=line)
    found = {"images/train/cup.jpg": [("traffic light", BOX, mask)]}
    assert boxes(tmp_path) == boxes(tmp_path / "data.yaml") == found


def test_yolo_boxes_with_keypoints(tmp_path: Path) -> None:
    put(
        tmp_path,
        data__yaml=YAML + "kpt_shape: [1, 2]\n",
        images___cup__jpg=picture(),
        labels___cup__txt=LINE + " 0.5 0.5",
    )
    assert boxes(tmp_path) == {"images/cup.jpg": [("traffic light", BOX, False)]}


@pytest.mark.parametrize("label", ["train___labels___cup__txt", "train___images___cup__txt"])
def test_yolo_trees(label: str, tmp_path: Path) -> None:
    """As Roboflow has them, and with labels beside their photos and names in a list."""
    names = "\n".join(f"thing {number}" for number in range(8))
    put(tmp_path, classes__txt=names, train___images___cup__png=picture(kind="PNG"), **{label: LINE})
    assert boxes(tmp_path) == {"train/images/cup.png": [("thing 7", BOX, False)]}


def test_yolo_labels_and_photos_in_two_folders(tmp_path: Path) -> None:
    put(tmp_path, a___labels___data__yaml=YAML, a___labels___x___cup__txt=LINE, b___x___cup__jpg=picture())
    assert boxes(tmp_path / "a", tmp_path / "b") == {"x/cup.jpg": [("traffic light", BOX, False)]}


def test_nothing_of_yolo_s_is_silent(tmp_path: Path) -> None:
    """Labels without a photo, photos without labels and with empty ones, classes without a name, and no shares."""
    lines = f"\n{LINE}\n3 0.5 0.5 0.1 0.1\n0 20 20 10 10\n0 0.1 0.1\n0 a b c d\n0 0.1 0.1 0.2 0.2 0.3 0.3 0.5\n0 1.5 1.5 0.2 0.2\n"
    put(tmp_path, data__yaml=YAML, images___cup__jpg=picture(), labels___cup__txt=lines, labels___gone__txt=LINE)
    put(tmp_path, images___bare__jpg=picture("red"), images___empty__jpg=picture("blue"), labels___empty__txt="")
    found = plan(Source(tmp_path))
    assert len(samples(found)) == 1
    said = [(one.source_id, one.failure.message) for one in found if hasattr(one, "failure")]
    assert [name for name, _ in said] == [
        *["images/cup.jpg"] * 6,
        "images/empty.jpg",
        "images/gone.jpg",
        "images/bare.jpg",
    ]
    for part, (_, why) in zip(("no name", "no shares", "2 numbers", "'a'", "7 numbers", "no area"), said, strict=False):
        assert part in why


def test_yolo_without_names_ends_in_one_line(tmp_path: Path) -> None:
    put(tmp_path, images___cup__jpg=picture(), labels___cup__txt=LINE)
    with pytest.raises(RunError, match=r"no data\.yaml"):
        plan(Source(tmp_path))
