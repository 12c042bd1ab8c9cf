"""Parquet as input: every layout that is understood, read in pieces, and shards that are broken in every way."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.tasks import task_named
from driver.dataset.rows import SCHEMA
from driver.errors import RunError
from driver.inputs import parquet as source_parquet
from driver.inputs.source import Source
from driver.samples import Planned
from tests.unit.source_making import BOX, STYLE, ids, mask_picture, mask_rle, picture, plan, reasons, samples

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write(path: Path, columns: dict[str, Any], group: int | None = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path, row_group_size=group, **options)
    return path


def struct(*cells: dict[str, Any] | None) -> pa.Array:
    return pa.array([cell if cell is None else {"bytes": None, "path": None} | cell for cell in cells], STRUCT)


COLOURS = ("red", "green", "blue", "white", "black", "grey", "yellow")
PICTURES = [picture(colour) for colour in COLOURS]


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("image", struct(*({"bytes": data} for data in PICTURES))),
        ("src_image", struct(*({"bytes": data, "path": "/home/me/cup.jpg"} for data in PICTURES))),
        ("source_image", pa.array(PICTURES, pa.binary())),
        ("jpg", pa.array(PICTURES, pa.large_binary())),
        ("input_images", pa.array([[{"bytes": data, "path": None}] * 2 for data in PICTURES], pa.list_(STRUCT))),
    ],
)
def test_photos_as_bytes(name: str, cells: pa.Array, tmp_path: Path) -> None:
    write(tmp_path / "photos.parquet", {name: cells, "bbox": [list(BOX)] * 7, "class_name": ["cup"] * 7}, group=3)
    source = Source(tmp_path / "photos.parquet")
    planned = plan(source)
    assert ids(planned) == [f"photos.parquet#{row}" for row in range(7)]
    assert [source.read(one.file) for one in samples(planned)] == PICTURES
    assert {source.suffix(one.file) for one in samples(planned)} == {".jpg"}
    assert source.root is None


@pytest.mark.parametrize("name", ["image", "image_path", "file_name", "input_images"])
def test_photos_as_paths(name: str, tmp_path: Path) -> None:
    for folder in ("in", "photos/sub"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "photos" / "sub" / "cup.png").write_bytes(picture(kind="PNG"))
    paths = ["sub/cup.png", "gone.png", "../in/x.png", None]
    cells = [[one] for one in paths] if name == "input_images" else paths
    write(tmp_path / "in" / "t.parquet", {name: cells, "bbox": [list(BOX)] * 4})
    source = Source(tmp_path / "in" / "t.parquet", tmp_path / "photos")
    planned = plan(source)
    assert ids(planned) == ["sub/cup.png"]
    found = reasons(planned)
    assert found["gone.png"].startswith("gone.png: cannot be read (No such file")
    assert found["x.png"] == "x.png: its path leaves the image root; give --image-root"
    assert found["t.parquet#3"] == f"t.parquet#3: its {name} is empty"
    (sample,) = samples(planned)
    assert (source.read(sample.file), source.suffix(sample.file)) == (picture(kind="PNG"), ".png")


def test_all_columns(tmp_path: Path) -> None:
    rows = 3
    write(
        tmp_path / "t.parquet",
        {
            "image": struct(*({"bytes": PICTURES[row]} for row in range(rows))),
            "id": [70, 71, 72],
            "edit_instruction": ["Take it away.", None, " "],
            "class_name": ["cup", None, "jug"],
            "bbox": [list(BOX), None, [30, 20, 38, 28]],
            "mask": pa.array(
                [None, mask_rle(), None], pa.struct([("size", pa.list_(pa.int32())), ("counts", pa.string())])
            ),
            "license": ["CC0-1.0"] * rows,
            "url": ["https://example.org"] * rows,
            "reference": struct({"bytes": picture(kind="WEBP")}, None, None),
            "unknown": [1] * rows,
        },
    )
    source = Source(tmp_path / "t.parquet")
    planned = plan(source)
    assert (ids(planned), reasons(planned)) == (["70", "71", "72"], {})
    first, second, third = samples(planned)
    assert [one.instruction for one in (first, second, third)] == ["Take it away.", "", ""]
    assert [one.annotation.regions[0].bbox for one in (first, second, third)] == [BOX, BOX, (30, 20, 38, 28)]
    assert second.annotation.regions[0].mask is not None
    assert (first.annotation.source_licence, first.annotation.source_url) == ("CC0-1.0", "https://example.org")
    assert (source.read(first.reference), source.suffix(first.reference)) == (picture(kind="WEBP"), ".webp")
    assert (second.reference, third.reference) == ("", "")


def test_masks_as_pictures(tmp_path: Path) -> None:
    columns = {"image": PICTURES[:2], "mask": [mask_picture(), None], "class_name": ["cup", "jug"], "url": ["u", "v"]}
    write(tmp_path / "t.parquet", columns)
    planned = plan(Source(tmp_path / "t.parquet"))
    (sample,) = samples(planned)
    region = sample.annotation.regions[0]
    assert (region.bbox, region.class_name, sample.annotation.source_url) == (BOX, "cup", "u")
    assert "fill its bbox (xyxy in pixels) or its mask" in reasons(planned)["t.parquet#1"]


def test_a_dataset_that_a_run_left(tmp_path: Path) -> None:
    """Kept rows are the input; rejected ones and the tables beside them are not."""
    row: dict[str, Any] = {name: None for name in SCHEMA.names}
    row |= {
        "key": "k0", "task": "background", "prompt": "Make it night.", "source_licence": "CC0-1.0", "bbox": [0, 0, 40, 18],
        "class_name": "sky", "input_images": [{"bytes": PICTURES[0], "path": "k0-input0.png"}],
        "output_images": [{"bytes": b"no picture", "path": "k0-output0.png"}], "source_id": "trip/sky.jpg",
    }  # fmt: skip
    for folder in ("data", "rejected"):
        (tmp_path / folder).mkdir()
        table = pa.Table.from_pylist([row | {"key": f"{folder}-k0"}], schema=SCHEMA)
        pq.write_table(table, tmp_path / folder / "train-00000-of-00001.parquet")
    pq.write_table(pa.table({"key": ["x"]}), tmp_path / "failed.parquet")
    (tmp_path / "report.png").write_bytes(PICTURES[0])
    (tmp_path / "README.md").touch()
    source = Source(tmp_path)
    planned = plan(source, task_named("background"))
    (sample,) = samples(planned)
    assert (sample.annotation.path, sample.instruction) == ("data-k0", "Make it night.")
    assert source.read(sample.file) == PICTURES[0]
    assert str(sample.file).startswith("data/train-00000-of-00001.parquet#0/")


def test_shards_in_the_order_of_their_names(tmp_path: Path) -> None:
    for number in (2, 0, 1):
        name = tmp_path / f"train-{number:05d}.parquet"
        write(name, {"image": PICTURES[number * 2 : number * 2 + 2], "bbox": [list(BOX)] * 2})
    expected = [f"train-{number:05d}.parquet#{row}" for number in range(3) for row in range(2)]
    assert ids(plan(Source(tmp_path))) == expected
    assert ids(plan(Source(f"{tmp_path}/*.parquet"))) == expected
    assert ids(plan(Source(f"{tmp_path}/train-{{00002,00000}}.parquet"))) == expected[4:] + expected[:2]


class TestReading:
    """Rows are read where they lie, by several threads, in any order."""

    ROWS = 60

    @pytest.fixture
    def source(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Source:
        monkeypatch.setattr(source_parquet, "BATCH_BYTES", 10_000)  # a few rows at a time
        for shard in range(2):
            images = [self.photo(shard * self.ROWS + row) for row in range(self.ROWS)]
            columns = {"image": images, "bbox": [list(BOX)] * self.ROWS, "reference": images[::-1]}
            write(tmp_path / f"{shard}.parquet", columns, group=17, compression="snappy")
        return Source(tmp_path)

    @staticmethod
    def photo(number: int) -> bytes:
        """A picture of its own for each row; a comment behind its end makes the rows' sizes differ."""
        return picture(f"rgb({number * 2},{255 - number},9)") + bytes(number * 37)

    def test_in_order_at_random_and_backward(self, source: Source) -> None:
        files = [one.file for one in samples(plan(source))]
        for order in (range(120), random.Random(5).sample(range(120), 60), range(119, -1, -9)):
            for row in order:
                assert source.read(files[row]) == self.photo(row)

    def test_photo_and_reference_of_a_row(self, source: Source) -> None:
        for row, one in enumerate(samples(plan(source))):
            shard = row // self.ROWS
            assert source.read(one.file) == self.photo(row)
            assert source.read(one.reference) == self.photo((2 * shard + 1) * self.ROWS - 1 - row)

    def test_by_several_threads(self, source: Source) -> None:
        files = [one.file for one in samples(plan(source))]
        numbers = random.Random(7).choices(range(120), k=400)
        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(source.read, [files[row] for row in numbers])) == [self.photo(row) for row in numbers]

    def test_a_shard_that_changes_under_a_run(self, source: Source, tmp_path: Path) -> None:
        file = samples(plan(source))[-1].file
        write(tmp_path / "1.parquet", {"image": [self.photo(0)]})
        with pytest.raises(PhotoError, match=r"image.jpg: cannot be read \(the shard has changed"):
            source.read(file)
        (tmp_path / "1.parquet").unlink()
        with pytest.raises(PhotoError, match=r"image.jpg: (cannot be read|the file is missing)"):
            Source(tmp_path).read(file)


def broken(planned: list[Planned], name: str) -> str:
    return reasons(planned)[name]


class TestBroken:
    def test_a_single_shard_stops_the_run(self, tmp_path: Path) -> None:
        (tmp_path / "t.parquet").write_bytes(b"PAR1 no such thing")
        with pytest.raises(RunError, match=r"t.parquet: not a parquet file that can be read .*; copy it again"):
            plan(Source(tmp_path / "t.parquet"))
        (tmp_path / "t.parquet").touch()
        (tmp_path / "e.parquet").write_bytes(b"")
        with pytest.raises(RunError, match="not a parquet file that can be read"):
            plan(Source(tmp_path / "e.parquet"))

    def test_one_of_several_costs_only_itself(self, tmp_path: Path) -> None:
        whole = write(tmp_path / "b.parquet", {"image": PICTURES, "bbox": [list(BOX)] * 7})
        (tmp_path / "a.parquet").write_bytes(whole.read_bytes()[:-20])
        write(tmp_path / "c.parquet", {"text": ["x"], "image": [5]})
        planned = plan(Source(tmp_path))
        assert len(ids(planned)) == 7
        assert "a.parquet: not a parquet file" in broken(planned, "a.parquet")
        assert "no column of photos among its columns (text: string, image: int64)" in broken(planned, "c.parquet")

    def test_wrong_columns_list_what_was_found_and_what_is_understood(self, tmp_path: Path) -> None:
        write(tmp_path / "t.parquet", {"caption": ["x"], "vector": [[1.0]]})
        with pytest.raises(RunError) as error:
            plan(Source(tmp_path / "t.parquet"))
        assert "(caption: string, vector: list<element: double>)" in str(error.value)
        assert "in a column called image, source_image, src_image" in str(error.value)
        write(tmp_path / "t.parquet", {"image": PICTURES[:1], "reference": [5]})
        with pytest.raises(RunError, match="column reference is int64, which is no picture and no path"):
            plan(Source(tmp_path / "t.parquet"))

    def test_a_damaged_row_group_costs_its_rows(self, tmp_path: Path) -> None:
        path = write(tmp_path / "t.parquet", {"image": PICTURES, "bbox": [list(BOX)] * 7}, group=3, compression="snappy",
                     use_dictionary=False)  # fmt: skip
        damaged = bytearray(path.read_bytes())
        start = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
        damaged[start : start + 400] = b"\xff" * 400
        path.write_bytes(damaged)
        planned = plan(Source(path))
        assert ids(planned) == [f"t.parquet#{row}" for row in (0, 1, 2, 6)]
        assert broken(planned, "t.parquet#3-5").startswith("t.parquet: rows 3 to 5 cannot be read (")

    def test_bad_rows_cost_only_themselves(self, tmp_path: Path) -> None:
        images = [PICTURES[0], b"no picture", None, b"", PICTURES[1], PICTURES[2], PICTURES[3]]
        boxes = [list(BOX), list(BOX), list(BOX), list(BOX), [1, 2, 3], [90, 90, 95, 95], None]
        planned = plan(Source(write(tmp_path / "t.parquet", {"image": images, "bbox": boxes})))
        assert ids(planned) == ["t.parquet#0"]
        expected = [
            "not an image",
            "its image is empty",
            "the file is empty",
            "bbox",
            "its box",
            "no region: fill its bbox",
        ]
        for row, why in enumerate(expected, 1):
            assert why in broken(planned, f"t.parquet#{row}"), row

    def test_two_rows_with_one_id(self, tmp_path: Path) -> None:
        columns = {"image": PICTURES[:3], "key": ["a", "b", "a"]}
        planned = plan(Source(write(tmp_path / "t.parquet", columns)), STYLE)
        assert ids(planned) == ["a", "b"]
        assert broken(planned, "a").startswith("the same photo and region stand in the input twice")

    def test_a_table_without_rows(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match="no photos in it"):
            plan(Source(write(tmp_path / "t.parquet", {"image": pa.array([], pa.binary())})))
