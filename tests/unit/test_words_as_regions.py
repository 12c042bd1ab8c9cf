"""Words that were read on a photo as the regions of edits of text, and of no other; kinds that are bound to no region."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfy_nodes.core.regions.annotation import Region
from comfy_nodes.core.regions.lettering import ocr_of
from comfy_nodes.core.tasks import ANNOTATE, task_named
from driver.inputs.quotas import Quotas, wanted_kinds
from driver.inputs.source import Source
from driver.samples import Aim, Planned, Sample, Unusable

POSTER, COLOUR = "scaleedit/4.1_movie_poster_text_editing", "scaleedit/3.1_color_change"
CUP = {"class_name": "cup", "bbox": [4, 40, 40, 90], "score": 0.9}
READ = ocr_of([Region(class_name=f'text "{words}"', bbox=(10, y, 90, y + 12), score=0.97) for words, y in (("OPEN", 4), ("24 HOURS", 20))])  # fmt: skip


def source(folder: Path, **fields: Any) -> Source:
    Image.new("RGB", (100, 100), (90, 90, 90)).save(folder / "a.png")
    line = {"path": "a.png", "segmentation": {"object": [CUP]}, "resolution": {"width": 100, "height": 100}, **fields}
    (folder / "a.jsonl").write_text(json.dumps(line))
    return Source(folder / "a.jsonl")


def plan(folder: Path, kinds: str, per_region: int = 9, seed: int = 0, **fields: Any) -> list[Planned]:
    return list(source(folder, **fields).plan_kinds(Quotas(wanted_kinds(kinds), per_region), seed))


def regions(planned: list[Planned]) -> dict[str, list[str | None]]:
    samples = [one for one in planned if isinstance(one, Sample)]
    return {one.subtask: [region.class_name for region in one.annotation.regions] for one in samples}


def test_one_line_of_words_is_the_region_of_an_edit_of_text(tmp_path: Path) -> None:
    found = regions(plan(tmp_path, f"{POSTER},{COLOUR}", ocr=READ))
    assert found[COLOUR] == ["cup"]
    assert sorted(found[POSTER], key=str) == ['text "24 HOURS"', 'text "OPEN"'], "the other lines come along by name"
    first = {regions(plan(tmp_path, POSTER, seed=seed, ocr=READ))[POSTER][0] for seed in range(12)}
    assert first == {'text "24 HOURS"', 'text "OPEN"'}, "the seed picks"


def test_a_photo_that_nobody_read_gives_its_things(tmp_path: Path) -> None:
    assert regions(plan(tmp_path, POSTER)) == {POSTER: ["cup"]}


@pytest.mark.parametrize(
    ("ocr", "kind", "why"),
    [
        ([], "NothingToRead", "no words were read in the photo"),
        (ocr_of([Region(class_name='text "I"', bbox=(10, 4, 12, 6), score=0.97)]), "NoRegion", "more than 0.1 %"),
        (
            "OPEN",
            "AnnotationError",
            "ocr: Input should be a valid list; Read Text (OCR) leaves a list of words with bbox",
        ),
    ],
)
def test_words_that_cannot_be_edited_say_why(tmp_path: Path, ocr: Any, kind: str, why: str) -> None:
    (refused,) = plan(tmp_path, POSTER, ocr=ocr)
    assert isinstance(refused, Unusable)
    assert (refused.failure.error_type, refused.failure.skipped) == (kind, kind != "AnnotationError")
    assert why in refused.failure.message
    assert regions(plan(tmp_path, f"{POSTER},{COLOUR}", ocr=ocr)) == {COLOUR: ["cup"]}, "other kinds don't mind"


def test_a_router_speaks_of_kinds(tmp_path: Path) -> None:
    routes = {"accepted": {COLOUR: "Clear."}, "rejected": {}}
    assert set(regions(plan(tmp_path, f"{POSTER},{COLOUR},remove", ocr=READ, routes=routes))) == {COLOUR}
    (refused,) = plan(tmp_path, POSTER, ocr=READ, routes=routes)
    assert isinstance(refused, Unusable) and refused.failure.error_type == "NoKind"


def test_a_kind_that_is_bound_to_no_region_gets_none(tmp_path: Path) -> None:
    """Though there is one region alone, which an instruction without a kind would be about."""
    kinds = ("scaleedit/1.3_viewpoint_transformation", "scaleedit/2.4_action_editing", "scaleedit/3.4_count_change")
    planned = plan(tmp_path, ",".join(kinds))
    assert {one.subtask for one in planned if isinstance(one, Sample)} == set(kinds)
    for one in planned:
        assert isinstance(one, Sample) and [region.class_name for region in one.annotation.regions] == ["cup"], (
            "by name"
        )
        assert one.task == ("motion" if "action" in one.subtask else "instruct")


def test_words_stay_in_the_line_and_do_not_travel_to_editors(tmp_path: Path) -> None:
    (annotated,) = source(tmp_path, ocr=READ).plan([Aim(ANNOTATE, context="masks")], "all", 0)
    assert isinstance(annotated, Sample) and annotated.annotation.further["ocr"] == READ
    edited = source(tmp_path, ocr=READ, task="remove", writing={"instruction": "Remove it.", "lang": "en"})
    (sample,) = edited.plan([Aim(task_named("remove"))], "all", 0)
    assert isinstance(sample, Sample) and "ocr" not in sample.annotation.further
