"""ImgEdit annotation files as input: every spelling of the file, and items that cost only themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfy_nodes.core.tasks import task_named
from driver.errors import RunError
from driver.inputs.source import Regions, Source
from driver.samples import Aim, Planned, Sample, Spare, Unusable

REMOVE, BACKGROUND = task_named("remove"), task_named("background")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with three photos of 40 x 30 pixels, one of them deeper."""
    for name in ("cup.jpg", "jug.jpg", "sub/pan.jpg"):
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(path)
    return tmp_path / "root"


def region(name: str = "cup", left: int = 4) -> dict[str, Any]:
    return {"class_name": name, "bbox": [left, 5, left + 10, 15]}


def item(path: str, *regions: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"path": path, "segmentation": {"object": list(regions or (region(),))}, **fields}


def plan(
    root: Path, content: object, name: str = "a.json", regions: Regions = "all", task: object = REMOVE, seed: int = 0
) -> list[Planned]:
    path = root / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    found = Source(path, root).plan([Aim(task)], regions, seed)
    return [one for one in found if not isinstance(one, Spare)]


def paths(planned: list[Planned]) -> list[str]:
    return [one.annotation.path for one in planned if isinstance(one, Sample)]


def reasons(planned: list[Planned]) -> list[str]:
    return [one.failure.message for one in planned if isinstance(one, Unusable)]


CUP, JUG = item("cup.jpg"), item("jug.jpg")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", json.dumps([CUP, JUG])),
        ("a.json", json.dumps({"one": CUP, "two": JUG})),
        ("a.json", json.dumps([{"one": CUP}, {"two": JUG}])),
        ("a.json", "\ufeff" + json.dumps([CUP, JUG])),
        ("a.jsonl", f"{json.dumps(CUP)}\n{json.dumps(JUG)}"),
        ("a.jsonl", f"\ufeff\n{json.dumps(CUP)}\n\n  \n{json.dumps(JUG)}\n\n"),
        ("a.jsonl", f"{json.dumps(CUP)}\r\n{json.dumps(JUG)}\r\n"),
        ("A.JSONL", f"{json.dumps({'one': CUP, 'two': JUG})}\n"),
    ],
)
def test_every_spelling_of_a_file(name: str, content: str, root: Path) -> None:
    if name == "A.JSONL":
        content = f"{json.dumps(CUP)}\n{json.dumps(JUG)}\n"
    assert paths(plan(root, content, name)) == ["cup.jpg", "jug.jpg"]


def test_a_single_object_is_a_file(root: Path) -> None:
    assert paths(plan(root, CUP)) == ["cup.jpg"]


def test_line_separators_inside_a_string_end_no_line(root: Path) -> None:
    text = json.dumps(item("cup.jpg", cap=["one\u2028two\x85three"]), ensure_ascii=False)
    assert paths(plan(root, f"{text}\n", "a.jsonl")) == ["cup.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.json", "", "not JSON"), ("a.json", "{", "not JSON"), ("a.json", "[" * 100_000, "not JSON"),
        ("a.json", "9" * 5_000, "not JSON"), ("a.json", json.dumps([CUP, JUG])[:-9], "not JSON after item 0 .*cut off"),
        ("a.json", json.dumps([CUP]) + "[]", "not JSON after item 0"), ("a.json", "[NaN]", "not JSON"),
        ("a.json", b'["\xff"]', "cannot be read as UTF-8"), ("a.json", "[" * 200 + "]" * 200, "nested more than 100 deep"),
        ("a.json", b"\xff\xfe\x00", "cannot be read as UTF-8"), ("a.jsonl", b"\xff\xfe\x00", "cannot be read as UTF-8"),
        ("a.json", "[]", "no photos in it"), ("a.jsonl", "\n\n", "no photos in it"),
    ],
)  # fmt: skip
def test_what_stops_the_run(name: str, content: str | bytes, why: str, root: Path) -> None:
    with pytest.raises(RunError, match=why) as error:
        plan(root, content, name)
    assert str(root / name) in str(error.value)


def test_a_broken_line_costs_only_itself(root: Path) -> None:
    planned = plan(root, json.dumps(CUP).encode() + b'\n{broken\n"\xff"\n' + json.dumps(JUG).encode(), "a.jsonl")
    assert paths(planned) == ["cup.jpg", "jug.jpg"]
    assert reasons(planned)[0].startswith("a.jsonl, line 2: not JSON (")
    assert reasons(planned)[1] == "a.jsonl, line 3: cannot be read as UTF-8 text; save it as UTF-8"


def test_one_bad_value_among_many_named_ones_costs_only_itself(root: Path) -> None:
    """ImgEdit's {key: annotation} is told from one annotation by its members; a long one needs not be whole for that."""
    named = {f"photo {number}": item("cup.jpg", region(f"cup {number}")) for number in range(200)}
    planned = plan(root, {**named, "odd": "no annotation"})
    assert paths(planned) == ["cup.jpg"] * 200
    assert reasons(planned) == ["a.json[200]: an annotation is a JSON object with path and segmentation, not a string"]
    planned = plan(root, {"odd": 5, **named})
    assert paths(planned) == ["cup.jpg"] * 200


def test_bad_items_cost_only_themselves(root: Path) -> None:
    bad = [
        None, 5, "cup.jpg", [], {}, {"path": 5}, item("cup.jpg", resolution="big"),
        item("gone.jpg"), item("sub"), item("cup.jpg", resolution={"width": 99, "height": 30}),
        item("nul\0byte.jpg"), item("half \ud800.jpg"), item("x" * 5_000 + ".jpg"),
        {"path": "cup.jpg", "segmentation": {"object": []}}, item("cup.jpg", editpairs="x"),
    ]  # fmt: skip
    planned = plan(root, [*bad, JUG])
    assert paths(planned) == ["jug.jpg"]
    assert len(reasons(planned)) == len(bad)
    assert len({one.key for one in planned}) == len(bad) + 1
    for one in planned:
        if isinstance(one, Unusable):
            assert one.failure.stage == "input"
            (one.source_id + one.failure.message).encode("utf-8")


def test_reasons_name_the_item(root: Path) -> None:
    found = reasons(plan(root, [5, item("gone.jpg"), {"path": "cup.jpg", "segmentation": {}}, JUG]))
    assert found[0].startswith("a.json[0]: an annotation is a JSON object")
    assert found[1].startswith("gone.jpg: cannot be read (No such file")
    assert found[2].startswith("the photo has no region: add one to segmentation.object")


def test_one_bad_region_costs_only_itself(root: Path) -> None:
    outside = {"class_name": "plane", "bbox": [400, 0, 500, 10]}
    planned = plan(root, item("cup.jpg", region("cup"), outside, region("jug", 20)))
    assert [one.annotation.regions[0].class_name for one in planned if isinstance(one, Sample)] == ["cup", "jug"]
    assert len(reasons(planned)) == 1
    assert "region 1 (plane): its box" in reasons(planned)[0]


def test_no_usable_region_lists_why(root: Path) -> None:
    whole = {"class_name": "wall", "bbox": [0, 0, 40, 30]}
    why = reasons(plan(root, item("cup.jpg", whole, {"class_name": "", "bbox": [0, 0, 1, 1]})))[0]
    assert why.startswith("no usable region: ")
    assert "class_name" in why
    assert re.search(r"region 0 \(wall\): covers 100 ?% of the photo", why)
    background = reasons(plan(root, item("cup.jpg"), task=BACKGROUND))[0]
    assert "is object, and task background edits background regions" in background


@pytest.mark.parametrize("path", ["../out.jpg", "sub/../../out.jpg", "/etc/hostname", "/out.jpg"])
def test_paths_that_leave_the_root(path: str, root: Path) -> None:
    Image.new("RGB", (40, 30)).save(root.parent / "out.jpg")
    planned = plan(root, [item(path), JUG])
    assert paths(planned) == ["jug.jpg"]
    refused = next(one for one in planned if isinstance(one, Unusable))
    assert refused.failure.message == f"{Path(path).name}: its path leaves the image root; give --image-root"
    assert "/" not in refused.source_id


def test_detours_and_absolute_paths_inside_the_root_become_relative(root: Path) -> None:
    """A dataset row names no folder of the machine that it was made on."""
    planned = plan(root, [item("sub/../cup.jpg"), item(str(root / "jug.jpg")), item("./sub//pan.jpg")])
    assert paths(planned) == ["cup.jpg", "jug.jpg", "sub/pan.jpg"]
    assert [one.file for one in planned if isinstance(one, Sample)] == paths(planned)
    assert [one.key for one in planned[:2]] == [one.key for one in plan(root, [CUP, JUG])]


def test_photos_may_be_links_within_the_root(root: Path, tmp_path: Path) -> None:
    (root / "sub" / "link.jpg").symlink_to(root / "sub" / "pan.jpg")
    assert paths(plan(root, item("sub/link.jpg"))) == ["sub/link.jpg"]
    (root / "sub" / "pan.jpg").rename(tmp_path / "pan.jpg")
    (root / "sub" / "pan.jpg").symlink_to(tmp_path / "pan.jpg")
    assert reasons(plan(root, item("sub/pan.jpg"))) == [
        "sub/pan.jpg: cannot be read (it is a link out of the folder; put the file itself there)"
    ]


def test_the_root_is_the_files_own_folder_unless_named(root: Path) -> None:
    (root / "sub" / "a.json").write_text(json.dumps(item("pan.jpg")))
    assert paths(list(Source(root / "sub" / "a.json").plan([Aim(REMOVE)], "all", 0))) == ["pan.jpg"]
    assert paths(list(Source(root / "sub" / "a.json", root).plan([Aim(REMOVE)], "all", 0))) == []


def test_duplicates_are_edited_once(root: Path) -> None:
    planned = plan(root, [CUP, JUG, CUP, CUP])
    assert paths(planned) == ["cup.jpg", "jug.jpg"]
    duplicates = [one for one in planned if isinstance(one, Unusable)]
    assert [(one.failure.error_type, one.failure.skipped) for one in duplicates] == [("DuplicateSample", True)] * 2
    assert len({one.key for one in planned}) == 4


def test_a_photo_may_stand_there_twice_with_other_regions(root: Path) -> None:
    assert paths(plan(root, [item("cup.jpg", region("cup")), item("cup.jpg", region("jug"))])) == ["cup.jpg"] * 2


class TestOneRegion:
    MANY = tuple(item(name, *(region(f"thing {number}", number) for number in range(20)))
                 for name in ("cup.jpg", "jug.jpg", "sub/pan.jpg"))  # fmt: skip

    def chosen(self, root: Path, seed: int, photos: tuple[dict[str, Any], ...] = MANY) -> dict[str, str | None]:
        planned = plan(root, photos, regions="one", seed=seed)
        return {one.annotation.path: one.annotation.regions[0].class_name for one in planned if isinstance(one, Sample)}

    def test_one_sample_for_each_photo(self, root: Path) -> None:
        assert len(plan(root, self.MANY)) == 60
        assert len(plan(root, self.MANY, regions="one")) == 3

    def test_the_same_seed_picks_the_same(self, root: Path) -> None:
        assert self.chosen(root, 5) == self.chosen(root, 5)
        assert len({tuple(self.chosen(root, seed).items()) for seed in range(8)}) > 1

    def test_photos_with_the_same_regions_do_not_all_get_the_same_pick(self, root: Path) -> None:
        assert any(len(set(self.chosen(root, seed).values())) > 1 for seed in range(4))

    def test_a_photos_pick_does_not_depend_on_its_neighbours(self, root: Path) -> None:
        everything, alone = self.chosen(root, 5), self.chosen(root, 5, self.MANY[1:2])
        assert alone == {"jug.jpg": everything["jug.jpg"]}


def test_source_and_licence_travel_along(root: Path) -> None:
    planned = plan(root, item("cup.jpg", source_licence="CC0-1.0", source_url="https://example.org/cup"))
    annotation = planned[0].annotation
    assert (annotation.source_licence, annotation.source_url) == ("CC0-1.0", "https://example.org/cup")


def test_one_flat_object_a_line_is_enough(root: Path) -> None:
    """A manifest that was not made by ImgEdit's tools."""
    Image.new("RGB", (8, 8)).save(root / "wanted.png")
    line = {"path": "cup.jpg", "bbox": [4, 5, 14, 15], "class_name": "cup", "instruction": " Take it away. ",
            "reference": "wanted.png", "license": "CC0-1.0", "url": "https://example.org/cup"}  # fmt: skip
    sample = plan(root, line)[0]
    assert isinstance(sample, Sample)
    assert (sample.instruction, sample.reference) == ("Take it away.", "wanted.png")
    assert (sample.annotation.source_licence, sample.annotation.source_url) == ("CC0-1.0", "https://example.org/cup")
    assert [(one.class_name, one.bbox) for one in sample.annotation.regions] == [("cup", (4, 5, 14, 15))]
    stray = plan(root, {**line, "reference": "../wanted.png"})
    assert reasons(stray) == ["wanted.png: its path leaves the image root; give --image-root"]
    (root / "a.json").write_text(json.dumps({**line, "reference": "gone.png"}))
    taken = list(Source(root / "a.json", root).plan([Aim(REMOVE, frozenset({"reference"}))], "all", 0))
    assert reasons(taken)[0].startswith("gone.png: cannot be read")
    assert reasons(plan(root, {**line, "instruction": 5})) == ["a.json[0]: its instruction is not a text"]


def test_a_hybrid_edit_is_planned_with_its_two_regions(root: Path) -> None:
    left, right, close = region("cup", 0), region("jug", 28), region("lid", 9)
    planned = plan(root, item("cup.jpg", right, left, close), task=task_named("hybrid"))
    pairs = [one.annotation.regions for one in planned if isinstance(one, Sample)]
    assert [[one.class_name for one in pair] for pair in pairs] == [["jug", "cup"], ["jug", "lid"]]
    assert len({one.key for one in planned}) == 2
    alone = reasons(plan(root, item("cup.jpg", left, close), task=task_named("hybrid")))
    assert "hybrid needs two regions apart from each other" in alone[0]
    assert len(plan(root, item("cup.jpg", left, right, close), task=task_named("hybrid"), regions="one")) == 1


def test_a_folder_of_annotation_files(root: Path, tmp_path: Path) -> None:
    """What ImgEdit's grounding stage leaves: a file for each photo."""
    folder = tmp_path / "annotations"
    (folder / "more").mkdir(parents=True)
    (folder / "cup_step4.json").write_text(json.dumps({"cup": CUP}))
    (folder / "jug_step4.json").write_text('{"jug": {"path": "jug.jpg"')
    (folder / "more" / "pan.jsonl").write_text(json.dumps(item("sub/pan.jpg")))
    planned = list(Source(folder, root).plan([Aim(REMOVE)], "all", 0))
    assert paths(planned) == ["cup.jpg", "sub/pan.jpg"]
    assert reasons(planned)[0].startswith("jug_step4.json: not JSON (")


def test_a_photo_with_weak_detections_alone_says_so(root: Path) -> None:
    """Its file may be anybody's: a region that a detector scored below 0.1 is no thing, unless CLIP knows it."""
    weak = {**region(), "score": 0.04}
    (message,) = reasons(plan(root, item("cup.jpg", weak, {**weak, "bbox": [20, 5, 30, 15]})))
    assert message == "no usable region: 2 detections are too weak to be taken for things"
    assert paths(plan(root, item("cup.jpg", {**weak, "clip_score": 0.6}))) == ["cup.jpg"]
    assert paths(plan(root, item("cup.jpg", {**region(), "score": 0.9}, weak))) == ["cup.jpg"]
