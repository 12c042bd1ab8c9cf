"""Captions as an input: what each gives, which tasks take them, and photos that were made of some."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from comfy_nodes.core.tasks import EMBED, SYNTHESIZE
from driver.errors import RunError
from driver.inputs.source import Source
from driver.samples import Aim
from tests.unit.source_making import BOX, REMOVE, ids, picture, plan, reasons, samples


def source(folder: Path, text: str | bytes, name: str = "captions.txt") -> Source:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return Source(path)


def jsonl(*items: object) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


class TestCaptions:
    def test_each_line_is_a_canvas_with_words(self, tmp_path: Path) -> None:
        given = source(tmp_path, "\ufeffA red cup.\n\n  一只红色的杯子\r\n")
        red, chinese = samples(plan(given, SYNTHESIZE))
        assert (red.instruction, chinese.instruction) == ("A red cup.", "一只红色的杯子")
        assert red.annotation.path.startswith("a-red-cup-") and chinese.annotation.path.startswith("caption-")
        with Image.open(io.BytesIO(given.read(red.file))) as canvas:
            assert canvas.size == (1024, 1024) and canvas.getextrema() == (255, 255)
        assert given.suffix(red.file) == ".png" and red.annotation.size == (1024, 1024)

    def test_a_caption_is_the_same_sample_wherever_it_stands(self, tmp_path: Path) -> None:
        first = {one.key for one in samples(plan(source(tmp_path, "A cup.\nA dog.\n"), SYNTHESIZE))}
        moved = samples(plan(source(tmp_path, "A cat.\n\nA dog.\nA cup.\nA cup.\n"), SYNTHESIZE))
        assert first < {one.key for one in moved} and len(moved) == 3

    def test_json_says_more(self, tmp_path: Path) -> None:
        items = [{"caption": "a cup", "width": 640, "height": 480}, {"prompt": "a cup"}, {"text": "a cup", "id": 2}]
        found = samples(plan(source(tmp_path, jsonl(*items), "captions.jsonl"), SYNTHESIZE))
        assert [one.annotation.size for one in found] == [(640, 480), (1024, 1024), (1024, 1024)]
        assert len({one.key for one in found}) == 3

    def test_a_line_that_is_none_costs_only_itself(self, tmp_path: Path) -> None:
        bad = ({"caption": ""}, {"caption": "a", "width": 8}, {"caption": "a", "height": "9"}, {"words": "a"}, [1])
        text = jsonl({"caption": "a cup"}, *bad) + "{\n" + "x" * 70_000 + "\n" + jsonl({"caption": "a dog"})
        planned = plan(source(tmp_path, text, "captions.jsonl"), SYNTHESIZE)
        assert [one.instruction for one in samples(planned)] == ["a cup", "a dog"]
        told = reasons(planned)
        assert list(told) == [f"captions.jsonl, line {number}" for number in range(2, 9)]
        assert all(why.startswith(where) for where, why in told.items())
        for number, words in {
            2: "its caption is empty",
            3: "64 to 4096, not 8",
            5: 'such as {"caption"',
            7: "not JSON",
        }.items():
            assert words in told[f"captions.jsonl, line {number}"]
        lines = plan(source(tmp_path, b"a cup\nhttps://a.example/cup.jpg\n\xe9t\xe9\n"), SYNTHESIZE)
        assert len(samples(lines)) == 1 and len(reasons(lines)) == 2

    def test_a_file_in_another_encoding_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"captions\.txt cannot be read as UTF-8 text; save it as UTF-8"):
            plan(source(tmp_path, "A red cup.".encode("utf-16")), SYNTHESIZE)

    def test_who_wants_photos_is_told_what_to_do(self, tmp_path: Path) -> None:
        with pytest.raises(RunError, match=r"holds captions, no photos: --workflow synthesize paints some"):
            plan(source(tmp_path, "A red cup."), REMOVE)
        with pytest.raises(RunError, match="holds captions"):
            source(tmp_path, "A red cup.").graphs()
        with pytest.raises(RunError, match=r"--image-root: .* holds captions"):
            Source(tmp_path / "captions.txt", tmp_path)

    def test_what_else_ends_so_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
        with pytest.raises(RunError, match="YOLO"):
            Source(tmp_path / "a.txt")
        (tmp_path / "a.jpg").write_bytes(picture())
        known = jsonl({"path": "a.jpg", "bbox": list(BOX), "class_name": "cup", "caption": "a cup"})
        assert ids(plan(source(tmp_path, known, "a.jsonl"))) == ["a.jpg"]

    def test_shards_have_what_the_whole_has(self, tmp_path: Path) -> None:
        given = source(tmp_path, "".join(f"A cup of number {number}.\n\n" for number in range(7)))
        aims = [Aim(SYNTHESIZE)]
        whole = [one.key for one in samples(given.plan(aims, "all", 0))]
        shards = list(given.shards(3, aims))
        cut = [one.key for shard in shards for one in samples(given.plan(aims, "all", 0, shard=shard))]
        assert cut == whole and [shard.items for shard in shards] == [3, 3, 1] and given.count(aims) == 7


class TestPhotos:
    def test_a_photos_own_caption_is_painted_and_no_instruction(self, tmp_path: Path) -> None:
        for name in ("told", "bare"):
            (tmp_path / f"{name}.jpg").write_bytes(picture())
        lines = [
            {"path": "told.jpg", "cap": ["a cup", "a thing"], "instruction": "Remove it."},
            {"path": "bare.jpg", "instruction": "Remove it."},
        ]
        given = source(tmp_path, jsonl(*lines), "lines.jsonl")
        planned = plan(given, SYNTHESIZE)
        assert [one.instruction for one in samples(planned)] == ["a cup"]
        assert "no caption to paint another one from" in reasons(planned)["bare.jpg"]
        assert [one.instruction for one in samples(plan(given, EMBED))] == ["a cup", ""]

    @pytest.mark.parametrize("said", ["synthetic", "found"])
    def test_a_folder_that_says_where_its_photos_come_from_is_an_input(self, tmp_path: Path, said: str) -> None:
        (tmp_path / "photos").mkdir()
        for name in ("a", "b"):
            (tmp_path / "photos" / f"{name}.png").write_bytes(picture(kind="PNG"))
        for name in ("failed.parquet", "summary.json"):
            (tmp_path / name).touch()
        line = {"path": "photos/a.png", "source_licence": "synthetic (Apache-2.0)", said: {}}
        (tmp_path / "photos.jsonl").write_text(jsonl(line))
        (one,) = samples(plan(Source(tmp_path), EMBED))
        assert (one.annotation.path, one.annotation.source_licence) == ("photos/a.png", "synthetic (Apache-2.0)")

    def test_a_folder_with_another_file_of_that_name_is_what_it_was(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            (tmp_path / f"{name}.jpg").write_bytes(picture())
        (tmp_path / "photos.jsonl").write_text(jsonl({"path": "a.jpg"}))
        assert ids(plan(Source(tmp_path), EMBED)) == ["a.jpg", "b.jpg"]
