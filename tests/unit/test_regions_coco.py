"""COCO's and LVIS's files as inputs: every shape, and what exporters do to ids, names and order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from comfy_nodes.core.regions import rle
from comfy_nodes.core.tasks import task_named
from driver.errors import RunError
from driver.inputs.source import Source
from driver.samples import Aim, Unusable
from tests.unit.source_making import BOX, REMOVE, SIZE, STYLE, mask_rle, picture, plan, reasons, samples

WIDTH, HEIGHT = SIZE
SQUARE = [4, 5, 20, 5, 20, 15, 4, 15]
CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 90, "name": "traffic_light"}]


def image(number: Any = 1, name: str = "cup.jpg", **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT, **more}


def mark(number: Any = 1, picture: Any = 1, category: Any = 18, **more: Any) -> dict[str, Any]:
    drawn = {"bbox": [4, 5, 16, 10], "segmentation": [SQUARE], "iscrowd": 0} | more
    return {"id": number, "image_id": picture, "category_id": category, **drawn}


def written(
    folder: Path,
    images: list[Any],
    marks: list[Any],
    categories: Any = CATEGORIES,
    name: str = "instances.json",
    **more: Any,
) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": images, "annotations": marks, "categories": categories, **more}))
    return file


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cup.jpg").write_bytes(picture())
    return tmp_path / "photos"


def told(source: Source) -> list[tuple[str, str | None, tuple[float, ...]]]:
    """Photo, name and box of each sample."""
    found = []
    for one in samples(plan(source)):
        (region,) = one.annotation.regions
        found.append((one.annotation.path, region.class_name, region.bbox))
    return found


def test_a_polygon_is_the_mask_that_coco_draws(photos: Path) -> None:
    ring = [3.5, 2.25, 30, 4, 22.5, 25, 6, 18]
    (sample,) = samples(plan(Source(written(photos.parent, [image()], [mark(segmentation=[ring])]), photos)))
    (region,) = sample.annotation.regions
    assert region.mask
    expected = coco.decode(coco.merge(coco.frPyObjects([ring], HEIGHT, WIDTH))).astype(bool)
    assert np.array_equal(rle.decode(region.mask), expected)
    rows, columns = np.flatnonzero(expected.any(1)), np.flatnonzero(expected.any(0))
    assert region.bbox == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


@pytest.mark.parametrize(
    "drawn",
    [
        mask_rle(),
        {"size": [HEIGHT, WIDTH], "counts": [4 * 30 + 5, *[10, 20] * 15, 10, 30 * 20 + 15]},
        [SQUARE],
        SQUARE,
        [[4, 5, 12, 5, 12, 15, 4, 15], [12, 5, 20, 5, 20, 15, 12, 15], [1, 1, 2, 2]],
        [[str(one) for one in SQUARE]],
        [],
        None,
    ],
)
def test_every_spelling_of_one_region(drawn: Any, photos: Path) -> None:
    """Compressed and plain run lengths, polygons, parts with one of two points, texts, and a box alone."""
    found = told(Source(written(photos.parent, [image()], [mark(segmentation=drawn)]), photos))
    assert found == [("cup.jpg", "dog", BOX)]


@pytest.mark.parametrize(
    ("in_images", "in_marks"),
    [(7, 7.0), ("7", 7), (7.0, "7"), ("000000000007", 7), (-7, "-7"), ("a7", "a7"), (2**60, 2**60)],
)
def test_ids_may_be_written_in_several_ways(in_images: Any, in_marks: Any, photos: Path) -> None:
    file = written(photos.parent, [image(in_images)], [mark(picture=in_marks, category="90")])
    assert told(Source(file, photos)) == [("cup.jpg", "traffic light", BOX)]


def test_one_id_for_two_pictures_marks_neither(photos: Path) -> None:
    (photos / "bus.jpg").write_bytes(picture("red"))
    file = written(photos.parent, [image(1), image(1.0, "bus.jpg")], [mark()])
    found = plan(Source(file, photos))
    assert not samples(found)
    assert all("several pictures have its id 1" in one for one in reasons(found).values())
    assert set(reasons(found)) == {"cup.jpg", "bus.jpg"}


def test_annotations_may_stand_before_their_pictures_and_in_several_files(photos: Path) -> None:
    """Keys in the order of the alphabet, and captions of the same pictures in a file of their own."""
    folder = photos.parent / "annotations"
    written(folder, [image()], [{"id": 9, "image_id": 1, "caption": "A dog sits."}], [], name="captions.json")
    (folder / "instances.json").write_text(
        json.dumps({"annotations": [mark()], "categories": CATEGORIES, "images": [image()]}), encoding="utf-8-sig"
    )
    (sample,) = samples(plan(Source(folder, photos)))
    assert sample.annotation.captions == ("A dog sits.",)
    assert sample.annotation.regions[0].class_name == "dog"


def test_crowds_are_left_out_and_counted(photos: Path) -> None:
    file = written(photos.parent, [image()], [mark(1), mark(2, iscrowd=1, segmentation=mask_rle())])
    found = plan(Source(file, photos))
    assert len(samples(found)) == 1
    assert [one.failure.skipped for one in found if isinstance(one, Unusable)] == [True]
    assert reasons(found) == {"cup.jpg": "annotation 2 (dog): a crowd, which is no region of one thing"}


def test_crowds_are_counted_once_for_all_workflows_of_a_run(photos: Path) -> None:
    file = written(photos.parent, [image()], [mark(1), mark(2, iscrowd=1, segmentation=mask_rle())])
    found = list(Source(file, photos).plan([Aim(REMOVE), Aim(STYLE), Aim(task_named("replace"))], "all", 0))
    assert [one.failure.error_type for one in found if isinstance(one, Unusable)] == ["LeftOut"]


def test_a_picture_with_crowds_alone_says_so(photos: Path) -> None:
    found = plan(Source(written(photos.parent, [image()], [mark(2, iscrowd=1, segmentation=mask_rle())]), photos))
    assert "a crowd" in reasons(found)["cup.jpg"]


@pytest.mark.parametrize(
    ("more", "box"),
    [
        ({"bbox": [-6, -5, 26, 20], "segmentation": []}, (0, 0, 20, 15)),
        ({"bbox": [20, 15, 900, 900], "segmentation": []}, (20, 15, 40, 30)),
        ({"bbox": [20, 15, -16, -10], "segmentation": []}, BOX),
        ({"segmentation": [[-9, -9, 20, -9, 20, 15, -9, 15]]}, (0, 0, 20, 15)),
    ],
)
def test_what_leaves_the_picture_is_clipped(more: dict[str, Any], box: tuple[int, ...], photos: Path) -> None:
    assert [one[2] for one in told(Source(written(photos.parent, [image()], [mark(**more)]), photos))] == [box]


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"bbox": [50, 50, 10, 10], "segmentation": []}, "no area inside the photo"),
        ({"bbox": [-50, -50, 10, 10], "segmentation": []}, "no area inside the photo"),
        ({"bbox": [1, 2, 3], "segmentation": []}, "neither a segmentation nor a bbox of four numbers"),
        ({"bbox": [1, 2, "x", 3], "segmentation": []}, "'x' is no coordinate"),
        ({"segmentation": [[1, 2, 3, 4]]}, "fewer than three points"),
        ({"segmentation": [[1, 2, 3, 4, 5, 1e12]]}, "leaves the picture"),
        ({"segmentation": [[0, 0, 39, 29] * 60_000]}, "outline has more than 4,000,000 pixels"),
        ({"segmentation": [[50, 50, 60, 50, 60, 60]]}, "marks no pixel"),
        ({"segmentation": {"size": [30, 40], "counts": [1, 2]}}, "do not add up"),
        ({"segmentation": {"size": [30, 40], "counts": [-5, 1205]}}, "do not add up"),
        ({"segmentation": {"size": [30, 40], "counts": "zzz~"}}, "broken mask RLE"),
        ({"segmentation": {"size": [30, 40], "counts": "`U1"}}, "marks no pixel"),
        ({"segmentation": {"counts": "PV2"}}, "no object of size"),
        ({"segmentation": {"size": [10**9, 10**9], "counts": [10**18]}}, "do not add up"),
        ({"category_id": 3}, "its category 3 has no name"),
    ],
)
def test_a_region_that_cannot_be_used_costs_only_itself(more: dict[str, Any], why: str, photos: Path) -> None:
    found = plan(Source(written(photos.parent, [image()], [mark(1), mark(2) | more]), photos))
    assert len(samples(found)) == 1
    assert why in reasons(found)["cup.jpg"]


def test_nothing_without_its_other_half_is_silent(photos: Path) -> None:
    """Pictures that are not there, annotations of none, and pictures that nothing is marked in."""
    (photos / "empty.jpg").write_bytes(picture("red"))
    images = [image(1), image(2, "gone.jpg"), image(3, "empty.jpg"), {"id": 4}]
    marks = [mark(1, 1), mark(2, 2), mark(3, 99), mark(4, 99)]
    found = plan(Source(written(photos.parent, images, marks), photos))
    assert len(samples(found)) == 1
    said = reasons(found)
    assert "gone.jpg" in said.pop("gone.jpg")
    assert said.pop("empty.jpg").startswith("the photo has no region")
    assert "2 annotations of picture 99" in said.pop("instances.json#99")
    assert "picture 4 has no file_name" in said.pop("instances.json#4")
    assert not said


def test_photos_of_a_folder_that_no_file_names_are_counted(photos: Path) -> None:
    (photos / "other.jpg").write_bytes(picture("red"))
    written(photos.parent, [image()], [mark()])
    found = plan(Source(photos.parent))
    assert [one.annotation.path for one in samples(found)] == ["photos/cup.jpg"]
    assert list(reasons(found)) == ["photos/other.jpg"]


@pytest.mark.parametrize(
    "name", ["C:\\data\\photos\\cup.jpg", "..\\photos\\cup.jpg", "/home/x/cup.jpg", "photos\\cup.jpg", "./cup.jpg"]
)
def test_paths_of_other_machines(name: str, photos: Path) -> None:
    written(photos.parent / "annotations", [image(name=name)], [mark()])
    assert told(Source(photos.parent)) == [("photos/cup.jpg", "dog", BOX)]


def test_files_of_one_name_in_several_folders(photos: Path) -> None:
    for folder, colour in (("a", "red"), ("b", "blue")):
        (photos / folder).mkdir()
        (photos / folder / "cup.jpg").write_bytes(picture(colour))
    (photos / "cup.jpg").unlink()
    images = [image(1, "a/cup.jpg"), image(2, "photos/b/cup.jpg"), image(3, "c/cup.jpg"), image(4)]
    found = plan(Source(written(photos.parent, images, [mark(one, one) for one in (1, 2, 3, 4)]), photos.parent))
    assert [one.annotation.path for one in samples(found)] == ["photos/a/cup.jpg", "photos/b/cup.jpg"]
    said = reasons(found)
    assert "several photos are called cup.jpg (photos/a/cup.jpg, photos/b/cup.jpg)" in said.pop("cup.jpg")
    assert list(said) == ["c/cup.jpg"]


def test_lvis_names_its_pictures_by_address(photos: Path) -> None:
    lvis = {
        "id": 1,
        "coco_url": "http://images.cocodataset.org/train2017/cup.jpg",
        "width": WIDTH,
        "height": HEIGHT,
        "license": 2,
    }
    file = written(photos.parent, [lvis], [mark()], licenses=[{"id": 2, "name": "CC BY 2.0"}])
    (sample,) = samples(plan(Source(file, photos)))
    assert sample.annotation.path == "cup.jpg"
    assert sample.annotation.source_licence == "CC BY 2.0"
    assert sample.annotation.source_url == lvis["coco_url"]


@pytest.mark.parametrize(("stored", "box"), [((40, 30), (15, 4, 25, 20)), ((30, 40), BOX)])
def test_a_photo_that_its_camera_turned(stored: tuple[int, int], box: tuple[int, ...], photos: Path) -> None:
    """Annotated as it is stored, its boxes are turned with it; annotated upright, they stay."""
    picture = Image.new("RGB", stored, "red")
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(photos / "cup.jpg", exif=exif)
    assert [one[2] for one in told(Source(written(photos.parent, [image()], [mark()]), photos))] == [box]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"images": [{"id": 1, "file_name": "cup.jpg"}], "annotations": [{"id"', "copy it again"),
        ('[{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]}]', "no images"),
        ('{"images": [1], "annotations": []}', "no list of objects"),
    ],
)
def test_a_file_that_is_none_ends_in_one_line(text: str, why: str, photos: Path) -> None:
    file = photos.parent / "a.json"
    file.write_text(text)
    with pytest.raises(RunError, match=why):
        plan(Source(file, photos))


def test_shards_hold_what_a_plan_does(photos: Path) -> None:
    for number in range(7):
        (photos / f"{number}.jpg").write_bytes(picture("red"))
    file = written(photos.parent, [image(one, f"{one}.jpg") for one in range(7)], [mark(one, one) for one in range(7)])
    aims = [Aim(REMOVE)]
    whole, cut = Source(file, photos), Source(file, photos)
    in_shards = [one.key for shard in cut.shards(3, aims) for one in cut.plan(aims, "all", 0, shard=shard)]
    assert in_shards == [one.key for one in whole.plan(aims, "all", 0)]
    assert len(in_shards) == 7
