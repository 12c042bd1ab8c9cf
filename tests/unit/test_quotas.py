"""Kinds of edit by quota: nothing crowds out what is rare, and a router's word holds."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfy_nodes.core.regions.annotation import AnnotationError, parse_annotation, to_json
from comfy_nodes.core.tasks import INSTRUCT
from driver.enrolling import sample_of, sample_text
from driver.errors import RunError
from driver.inputs.quotas import Quotas, wanted_kinds
from driver.inputs.source import Source
from driver.samples import Aim, Sample, Unusable

BOX = (20, 20, 60, 60)


def line(folder: Path, number: int, kinds: tuple[str, ...] = ("object",), **fields: Any) -> str:
    name = f"p{number:03d}.png"
    Image.new("RGB", (100, 100), (90, 90, 90)).save(folder / name)
    boxes = {"object": BOX, "background": (0, 0, 100, 70)}
    segmentation = {kind: [{"class_name": kind, "bbox": boxes[kind], "score": 0.9}] for kind in kinds}
    return json.dumps(
        {"path": name, "segmentation": segmentation, "resolution": {"width": 100, "height": 100}, **fields}
    )


def plan(folder: Path, lines: list[str], kinds: str, per_region: int = 1) -> list[Sample]:
    (folder / "a.jsonl").write_text("\n".join(lines))
    planned = list(Source(folder / "a.jsonl").plan_kinds(Quotas(wanted_kinds(kinds), per_region), 0))
    assert not [one for one in planned if isinstance(one, Unusable)], planned
    return [one for one in planned if isinstance(one, Sample)]


def test_kinds_share_the_regions_evenly(tmp_path: Path) -> None:
    found = plan(tmp_path, [line(tmp_path, n) for n in range(30)], "remove,replace,alter")
    assert Counter(one.task for one in found) == {"remove": 10, "replace": 10, "alter": 10}
    assert len({one.key for one in found}) == 30


def test_a_quota_ends_a_kind_and_the_rest_goes_on(tmp_path: Path) -> None:
    found = plan(tmp_path, [line(tmp_path, n) for n in range(30)], "remove=5,replace")
    assert Counter(one.task for one in found) == {"remove": 5, "replace": 25}


def test_what_is_rare_is_not_starved(tmp_path: Path) -> None:
    """One photo in ten suits the rare kind; all of these get it, although commoner kinds suit them too."""
    lines = [
        line(tmp_path, n, routes=routes("remove", "alter") if n % 10 == 0 else routes("remove")) for n in range(50)
    ]
    found = plan(tmp_path, lines, "alter=50,remove=50")
    assert Counter(one.task for one in found) == {"remove": 45, "alter": 5}


def routes(*accepted: str) -> dict[str, Any]:
    return {"accepted": dict.fromkeys(accepted, "it fits"), "rejected": {}}


def test_several_kinds_for_one_region(tmp_path: Path) -> None:
    found = plan(tmp_path, [line(tmp_path, 0)], "remove,replace,unicedit/Texture Editing,unicedit/Color Alteration", 3)
    assert [(one.task, one.subtask) for one in found] == [
        ("remove", ""), ("replace", ""), ("alter", "unicedit/Texture Editing"),
    ]  # fmt: skip
    both = plan(tmp_path, [line(tmp_path, 0)], "unicedit/Texture Editing,unicedit/Color Alteration", 2)
    assert len({one.key for one in both}) == 2, "two kinds of one task are two samples"


def test_kinds_without_a_region_and_with_a_background(tmp_path: Path) -> None:
    found = plan(tmp_path, [line(tmp_path, 0, ("object", "background"))], "remove,background,style")
    regions = {one.task: [region.kind for region in one.annotation.regions] for one in found}
    assert regions == {
        "remove": ["object", "background"], "background": ["background", "object"], "style": ["object", "background"],
    }  # fmt: skip


def test_a_photo_that_its_router_refuses_is_listed(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line(tmp_path, 0, routes=routes("style")))
    (refused,) = Source(tmp_path / "a.jsonl").plan_kinds(Quotas(wanted_kinds("remove"), 1), 0)
    assert isinstance(refused, Unusable)
    assert (refused.failure.error_type, refused.failure.message) == (
        "NoKind",
        "its router accepted none of the kinds asked for",
    )
    assert refused.failure.skipped


def test_a_route_of_another_shape_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line(tmp_path, 0, routes=["remove"]))
    (refused,) = Source(tmp_path / "a.jsonl").plan_kinds(Quotas(wanted_kinds("remove"), 1), 0)
    assert isinstance(refused, Unusable)
    assert "routes is not what Route Task (VLM) gives out" in refused.failure.message


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("remov", "--kinds remov: unknown kind of edit"),
        ("remove=0", "--kinds remove=0: write it as KIND or KIND=N"),
        ("remove=many", "--kinds remove=many: write it as KIND or KIND=N"),
        ("unicedit/Lens Zoom", "--kinds unicedit/Lens Zoom: unknown kind of edit"),
        ("", "--kinds : unknown kind of edit"),
    ],
)
def test_kinds_that_are_none(text: str, why: str) -> None:
    with pytest.raises(RunError) as refused:
        wanted_kinds(text)
    assert str(refused.value).startswith(why)


def test_regions_that_the_annotate_stage_has_judged_can_be_written_about(tmp_path: Path) -> None:
    told = json.loads(line(tmp_path, 0))
    told["segmentation"]["object"][0]["eligibility"] = {"remove": None, "replace": None}
    found = plan(tmp_path, [json.dumps(told)], "remove,replace", per_region=2)
    assert [one.task for one in found] == ["remove", "replace"]


def offer(folder: Path, lines: list[str], kinds: str, most: int = 7) -> list[Any]:
    (folder / "a.jsonl").write_text("\n".join(lines))
    aim = Aim(INSTRUCT, context="masks")
    return list(Source(folder / "a.jsonl").plan_offers(Quotas(wanted_kinds(kinds), most), aim, 0))


def test_a_photo_is_one_sample_with_the_kinds_that_it_is_offered(tmp_path: Path) -> None:
    """Three kinds a photo, five wanted: each is offered as often as any other, and no more often than it is asked for."""
    kinds = [f"unicedit/{name}" for name in ("Lens Zooming", "Style Transfer", "Color Alteration", "Subject Removal")]
    found = offer(tmp_path, [line(tmp_path, n) for n in range(12)], ",".join([*kinds, "unicedit/Counting Change=3"]), 3)
    assert all(isinstance(one, Sample) for one in found) and len({one.key for one in found}) == 12
    offered = [one.annotation.offered for one in found]
    assert {len(one) for one in offered} == {3}
    counts = Counter(kind for one in offered for kind in one)
    assert counts.pop("unicedit/Counting Change") == 3
    assert set(counts) == set(kinds) and max(counts.values()) - min(counts.values()) <= 1
    assert {(one.task, one.own_task, one.subtask) for one in found} == {("instruct", "instruct", "")}
    assert [region.class_name for region in found[0].annotation.regions] == ["object"]


def test_offers_keep_to_what_regions_and_routers_allow(tmp_path: Path) -> None:
    asked = "unicedit/Lens Zooming,unicedit/Subject Removal,unicedit/Relation Change,unicedit/Style Transfer"
    sky, cup = line(tmp_path, 0, ("background",)), line(tmp_path, 1, routes=routes("style"))
    first, second = offer(tmp_path, [sky, cup], asked)
    assert first.annotation.offered == ("unicedit/Lens Zooming", "unicedit/Style Transfer"), (
        "nothing that needs a thing"
    )
    assert second.annotation.offered == ("unicedit/Lens Zooming", "unicedit/Style Transfer")
    (refused,) = offer(tmp_path, [sky], "unicedit/Subject Removal")
    assert (refused.failure.error_type, refused.failure.skipped) == ("NoKind", True)
    assert "are not for it, as its regions or its router say" in refused.failure.message
    _, full = offer(tmp_path, [sky, line(tmp_path, 2)], "unicedit/Lens Zooming=1")
    assert "were offered as often as asked for" in full.failure.message


def test_an_offer_travels_with_its_photo(tmp_path: Path) -> None:
    (one,) = offer(tmp_path, [line(tmp_path, 0)], "unicedit/Lens Zooming,unicedit/Style Transfer")
    assert parse_annotation(json.loads(json.dumps(to_json(one.annotation)))).offered == one.annotation.offered
    assert sample_of(one.key, sample_text(one)).annotation.offered == one.annotation.offered
    with pytest.raises(AnnotationError, match="offered_kinds is a number, not a list of texts"):
        parse_annotation({"path": "a.png", "offered_kinds": 7})
