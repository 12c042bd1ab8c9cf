"""Objects columns of parquet, as detection data sets on the hub have them: the boxes' form, classes' names, and what is wrong."""

from __future__ import annotations

import io
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from driver.errors import RunError
from driver.inputs.shares import InputShare
from driver.inputs.source import Source
from driver.options import parse
from tests.unit.source_making import picture, plan, reasons, samples

WIDE = (100, 80)
Boxes = Sequence[Sequence[float]]


def table(rows: Sequence[Boxes], form: str, classes: Sequence[Any] = (), sized: bool = True, **more: Any) -> pa.Table:
    """Rows of photos of 100 x 80 with boxes, given as two corners and written in a form."""
    found = []
    for place, boxes in enumerate(rows):
        written = [[x1, y1, x2 - x1, y2 - y1] if form == "xywh" else [x1, y1, x2, y2] for x1, y1, x2, y2 in boxes]
        objects = {"bbox": written, "category": list(classes) or ["traffic_light"] * len(boxes), **more}
        found.append({"image": picture(size=WIDE), "image_id": place, "objects": objects})
        found[-1] |= {"width": WIDE[0], "height": WIDE[1]} if sized else {}
    return pa.Table.from_pylist(found)


def everywhere(number: int, most: float = 1.0) -> list[Boxes]:
    """Boxes all over photos, or in their upper left."""
    picked = random.Random(number)
    rows = []
    for _ in range(number):
        x, y = picked.randint(0, int(60 * most)), picked.randint(0, int(50 * most))
        rows.append([[x, y, x + picked.randint(20, 40), y + picked.randint(15, 30)]])
    return rows


def read(where: Path, boxes: Any = None) -> list[tuple[str | None, tuple[float, ...]]]:
    source = Source([InputShare(str(where), boxes=boxes)])
    return [(one.annotation.regions[0].class_name, one.annotation.regions[0].bbox) for one in samples(plan(source))]


class TestForm:
    @pytest.mark.parametrize("sized", [True, False])
    @pytest.mark.parametrize("form", ["xywh", "xyxy"])
    def test_boxes_tell_their_form(self, form: str, sized: bool, tmp_path: Path) -> None:
        """By columns with the photo's size, or by the photo's header."""
        rows = everywhere(40)
        pq.write_table(table(rows, form, sized=sized), tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet") == [("traffic light", tuple(map(float, boxes[0]))) for boxes in rows]

    def test_a_single_box_that_is_wrong_decides_nothing(self, tmp_path: Path) -> None:
        rows = [*everywhere(200), [[50, 40, 30, 20]]]
        pq.write_table(table(rows, "xyxy"), tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet")[-1] == ("traffic light", (30, 20, 50, 40))

    def test_boxes_that_may_be_either_are_to_be_said(self, tmp_path: Path) -> None:
        rows = [[[1, 2, 20, 30]], [[3, 5, 40, 20]]]
        pq.write_table(table(rows, "xyxy"), tmp_path / "a.parquet")
        with pytest.raises(RunError, match=r"a\.parquet: its objects have boxes .* --boxes xywh or --boxes xyxy"):
            Source(tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet", "xyxy")[0][1] == (1, 2, 20, 30)
        assert read(tmp_path / "a.parquet", "xywh")[0][1] == (1, 2, 21, 32)

    def test_boxes_of_no_form_are_refused(self, tmp_path: Path) -> None:
        mixed = pa.concat_tables([table(everywhere(30), "xywh"), table(everywhere(31), "xyxy")])
        pq.write_table(mixed, tmp_path / "a.parquet")
        with pytest.raises(RunError, match=r"are not two corners and .* no corner with width and height"):
            Source(tmp_path / "a.parquet")
        shares = [[[x / 100 for x in boxes[0]]] for boxes in everywhere(30)]
        pq.write_table(table(shares, "xyxy"), tmp_path / "b.parquet")
        with pytest.raises(RunError, match="are shares of the photo, which are not read"):
            Source(tmp_path / "b.parquet")

    def test_shards_are_of_one_form(self, tmp_path: Path) -> None:
        """The second shard's boxes would not tell it alone."""
        pq.write_table(table(everywhere(40), "xyxy"), tmp_path / "0.parquet")
        pq.write_table(table([[[1, 2, 20, 30]]], "xyxy"), tmp_path / "1.parquet")
        assert read(tmp_path)[-1][1] == (1, 2, 20, 30)


class TestObjects:
    @pytest.mark.parametrize("listed", [True, False])
    def test_classes_are_named_by_the_schema(self, listed: bool, tmp_path: Path) -> None:
        members = {
            "category": datasets.ClassLabel(names=["cat", "fire_hydrant"]),
            "bbox": datasets.List(datasets.Value("float32"), length=4),
        }
        objects = datasets.List(members) if listed else datasets.Sequence(members)
        features = datasets.Features({"image": datasets.Image(), "objects": objects})
        rows: list[Mapping[str, Any]] = []
        for boxes in everywhere(30):
            one = [{"category": 1, "bbox": boxes[0]}]
            told: Any = one if listed else {"category": [1], "bbox": [boxes[0]]}
            rows.append({"image": Image.open(io.BytesIO(picture(size=WIDE))), "objects": told})
        datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "a.parquet")
        assert {name for name, _ in read(tmp_path / "a.parquet", "xyxy")} == {"fire hydrant"}

    def test_what_cannot_be_used_costs_only_itself(self, tmp_path: Path) -> None:
        row = [[1, 2, 30, 40], [5, 5, 5, 20], [-20, -5, 30, 40], [200, 5, 300, 20], [10, 10, 40, 40], [3, 3, 30, 30]]
        classes = ["cup", "cup", "dog", "dog", "person", "7"]
        more = {"iscrowd": [0, 0, 0, 0, 1, 0]}
        pq.write_table(table([row], "xyxy", classes, **more), tmp_path / "a.parquet")
        planned = plan(Source([InputShare(str(tmp_path / "a.parquet"), boxes="xyxy")]))
        found = {one.annotation.regions[0].class_name: one.annotation.regions[0].bbox for one in samples(planned)}
        assert found == {"cup": (1, 2, 30, 40), "dog": (0, 0, 30, 40), "7": (3, 3, 30, 30)}
        said = " ".join(one.failure.message for one in planned if not hasattr(one, "file"))
        assert "no area inside the photo" in said and "object 4 (person): a crowd" in said

    def test_a_numbered_class_without_a_name_is_said(self, tmp_path: Path) -> None:
        pq.write_table(table([[[1, 2, 30, 40]]], "xyxy", [3]), tmp_path / "a.parquet")
        planned = plan(Source([InputShare(str(tmp_path / "a.parquet"), boxes="xyxy")]))
        assert "object 0: its category 3 has no name in the file" in " ".join(reasons(planned).values())

    def test_rows_without_objects_have_no_region(self, tmp_path: Path) -> None:
        pq.write_table(table([*everywhere(30), []], "xyxy"), tmp_path / "a.parquet")
        planned = plan(Source(tmp_path / "a.parquet"))
        assert len(samples(planned)) == 30 and "the photo has no region" in reasons(planned)["30"]

    def test_lists_of_different_lengths_are_a_failure_of_their_row(self, tmp_path: Path) -> None:
        rows = table([[[1, 2, 30, 40]], *everywhere(30)], "xyxy").to_pylist()
        rows[0]["objects"]["category"] = []
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
        planned = plan(Source(tmp_path / "a.parquet"))
        assert len(samples(planned)) == 30
        assert "a.parquet#0: its objects have 1 bbox and 0 category" in reasons(planned)["a.parquet#0"]

    def test_other_columns_called_so_are_left_alone(self, tmp_path: Path) -> None:
        rows = [{"image": picture(), "bbox": [4.0, 5.0, 20.0, 15.0], "class_name": "cup", "objects": "a cup"}]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet") == [("cup", (4, 5, 20, 15))]


def test_the_form_is_an_option_of_parquet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())
    with pytest.raises(RunError, match="is no parquet; leave --boxes out"):
        Source([InputShare(str(tmp_path), boxes="xywh")])
    (given,) = parse(["--workflow", "remove", "--input", "a", "--boxes", "xywh"]).input
    assert given.boxes == "xywh"
    with pytest.raises(SystemExit):
        parse(["--workflow", "remove", "--boxes", "xywh"])
    assert "--boxes goes with --input" in capsys.readouterr().err
