"""ImgEdit's annotation JSON: what is usable is read, what is not is refused with a reason, never with a crash."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import (
    Annotation,
    AnnotationError,
    Provenance,
    Region,
    align,
    parse_annotation,
    region_of_mask,
    to_json,
)

WIDTH, HEIGHT = 40, 30


def disc(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (rows - height / 3) ** 2 + (columns - width / 2) ** 2 < (height / 4) ** 2


MASK = rle.encode(disc())


def photo(*regions: Any, **fields: Any) -> dict[str, Any]:
    """An annotation with regions of group object."""
    return {
        "path": "a/cup.jpg",
        "cap": ["A cup."],
        "resolution": {"width": WIDTH, "height": HEIGHT},
        "tags": {"object": ["cup"], "background": [], "summary": ""},
        "segmentation": {"object": list(regions), "background": []},
        "bg_count": {},
        "obj_count": {"cup": 1},
        **fields,
    }


def cup(**fields: Any) -> dict[str, Any]:
    return {"class_name": "cup", "bbox": [4, 5, 20, 15], **fields}


def aligned(item: dict[str, Any], orientation: int = 1) -> Annotation:
    return align(parse_annotation(item), (WIDTH, HEIGHT), orientation)


def only_refusal(annotation: Annotation) -> str:
    assert annotation.regions == ()
    assert len(annotation.refusals) == 1, annotation.refusals
    return annotation.refusals[0]


def test_reads_all_that_imgedit_writes() -> None:
    entry = cup(mask=MASK.model_dump(), score=0.9, clip_score=0.3, aes_score=5.5)
    item = photo(entry, source_licence="CC0", source_url="https://example.org/cup")
    item["segmentation"] |= {"background": [{"class_name": "wall", "bbox": [0, 0, 40, 30]}], "box_format": "xyxy"}
    annotation = parse_annotation(item)
    assert (annotation.path, annotation.size, annotation.refusals) == ("a/cup.jpg", (WIDTH, HEIGHT), ())
    assert (annotation.source_licence, annotation.source_url) == ("CC0", "https://example.org/cup")
    found, wall = annotation.regions
    assert (found.class_name, found.kind, found.bbox, found.mask) == ("cup", "object", (4, 5, 20, 15), MASK)
    assert (found.score, found.clip_score, found.aes_score) == (0.9, 0.3, 5.5)
    assert (wall.class_name, wall.kind, wall.mask) == ("wall", "background", None)


def test_counts_alone_take_the_photos_size() -> None:
    annotation = parse_annotation(photo(cup(mask=MASK.counts)))
    assert annotation.regions[0].mask == MASK
    np.testing.assert_array_equal(rle.decode(annotation.regions[0].mask), disc())


def test_counts_alone_without_a_resolution_are_refused() -> None:
    assert "no size" in only_refusal(parse_annotation(photo(cup(mask=MASK.counts), resolution=None)))


@pytest.mark.parametrize("nothing", [None, "", {}])
def test_a_region_may_have_no_mask(nothing: object) -> None:
    assert parse_annotation(photo(cup(mask=nothing))).regions[0].mask is None


@pytest.mark.parametrize("fields", [{"segmentation": None}, {"segmentation": {}}, {"segmentation": {"object": []}}])
def test_no_regions_are_no_error(fields: dict[str, Any]) -> None:
    annotation = parse_annotation(photo(**fields))
    assert (annotation.regions, annotation.refusals) == ((), ())


@pytest.mark.parametrize(("item", "kind"), [([], "a list"), ("x", "a string"), (None, "null"), (3, "a number"),
                                            (1.5, "a number"), (True, "a boolean")])  # fmt: skip
def test_an_annotation_is_an_object(item: object, kind: str) -> None:
    with pytest.raises(AnnotationError, match=f"not {kind}$"):
        parse_annotation(item)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("path", None, "no path"), ("path", "", "no path"), ("path", 5, "no path"), ("path", ["a"], "no path"),
        ("resolution", "40x30", "resolution"), ("resolution", [40, 30], "resolution"), ("resolution", 5, "resolution"),
        ("resolution", {}, "resolution"), ("resolution", {"width": 40}, "resolution"),
        ("resolution", {"width": "wide", "height": 30}, "resolution"),
        ("resolution", {"width": None, "height": 30}, "resolution"),
        ("resolution", {"width": float("inf"), "height": 30}, "resolution"),
        ("resolution", {"width": float("nan"), "height": 30}, "resolution"),
        ("resolution", {"width": 0, "height": 30}, "no area"), ("resolution", {"width": 40, "height": -1}, "no area"),
        ("segmentation", [], "segmentation is a list"), ("segmentation", "x", "segmentation is a string"),
        ("segmentation", 4, "segmentation is a number"),
        ("segmentation", {"object": {"a": 1}}, "segmentation.object is an object"),
        ("segmentation", {"background": "x"}, "segmentation.background is a string"),
        ("segmentation", {"object": 7}, "segmentation.object is a number"),
        ("segmentation", {"object": [], "box_format": "xywh"}, "box_format is 'xywh'"),
        ("source_licence", 5, "source_licence is a number"), ("source_url", [], "source_url is a list"),
        ("source_url", "\ud800", "half a character"),
        ("editpairs", "x", "editpairs: "), ("editpairs", [], "editpairs: "), ("editpairs", {"key": 1}, "editpairs.key"),
        ("editpairs", {"key": "1", "source_id": "1", "source_path": "1", "source_sha256": "1", "more": 1}, "more"),
    ],
)  # fmt: skip
def test_wrong_types_say_what_is_wrong(field: str, value: object, why: str) -> None:
    with pytest.raises(AnnotationError) as error:
        parse_annotation(photo(**{field: value}))
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("cup", "JSON object, not a string"), (None, "not null"), (5, "not a number"), ([1, 2, 3, 4], "not a list"),
        ({"class_name": "cup"}, "bbox"), (cup(bbox=None), "bbox"), (cup(bbox="4,5,20,15"), "bbox"),
        (cup(bbox={"x": 1}), "bbox"), (cup(bbox=[1, 2, 3]), "bbox"), (cup(bbox=[1, 2, 3, 4, 5]), "bbox"),
        (cup(bbox=[1, 2, "x", 4]), "bbox.2"), (cup(bbox=[[1], 2, 3, 4]), "bbox.0"),
        (cup(bbox=[0, 0, float("nan"), 4]), "not finite"), (cup(bbox=[0, 0, float("inf"), 4]), "not finite"),
        (cup(bbox=[0, 0, 10**400, 4]), "bbox.2"),
        (cup(class_name=""), "class_name"), (cup(class_name="  "), "class_name"), (cup(class_name=5), "class_name"),
        (cup(class_name=["cup"]), "class_name"), (cup(class_name="\udfff"), "class_name"),
        (cup(mask=5), "mask"), (cup(mask=[1, 2]), "mask"), (cup(mask={"size": [30, 40]}), "counts"),
        (cup(mask={"size": [30, 40], "counts": [1, 2]}), "counts"), (cup(mask={"size": 5, "counts": "0"}), "size"),
        (cup(mask={"size": [30.5, 40], "counts": "0"}), "size"), (cup(mask={"size": [0, 40], "counts": "0"}), "no area"),
        (cup(mask={"size": [10**9, 10**9], "counts": "0"}), "larger than any photo"),
        (cup(score="good"), "score"), (cup(clip_score=[]), "clip_score"), (cup(aes_score={}), "aes_score"),
    ],
)  # fmt: skip
def test_a_broken_region_costs_only_itself(entry: object, why: str) -> None:
    annotation = parse_annotation(photo(entry, cup(class_name="saucer")))
    assert [region.class_name for region in annotation.regions] == ["saucer"]
    assert len(annotation.refusals) == 1
    assert why in annotation.refusals[0]


def test_an_unknown_group_is_refused_by_name() -> None:
    item = photo(cup())
    item["segmentation"]["objects"] = [cup()]
    annotation = parse_annotation(item)
    assert len(annotation.regions) == 1
    assert annotation.refusals == ("segmentation group 'objects': unknown, use object or background",)


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (cup(bbox=[50, 5, 60, 15]), "no area inside the photo of 40 x 30"),
        (cup(bbox=[4, -20, 20, -1]), "no area inside"),
        (cup(bbox=[4, 5, 4, 15]), "no area inside"),
        (cup(bbox=[20, 15, 4, 5]), "no area inside"),
        (cup(bbox=[40, 0, 50, 10]), "no area inside"),
        (cup(mask={"size": [30, 40], "counts": "broken"}), "broken mask RLE"),
        (cup(mask={"size": [30, 40], "counts": "22"}), "cover 4 pixels"),
        (cup(mask=rle.encode(np.zeros((30, 40))).model_dump()), "marks nothing"),
        (cup(mask=rle.encode(disc(20, 15)).model_dump()), "its mask is 20 x 15, the annotation's resolution 40 x 30"),
    ],
)
def test_regions_that_do_not_fit_the_photo(entry: dict[str, Any], why: str) -> None:
    assert why in only_refusal(aligned(photo(entry)))


def test_a_mask_of_another_size_than_the_photo() -> None:
    small = photo(cup(mask=rle.encode(disc(20, 15)).model_dump()), resolution={"width": 20, "height": 15})
    assert "annotated on 20 x 15 pixels, but the photo has 40 x 30" in only_refusal(aligned(small))
    bare = photo(cup(mask=rle.encode(disc(20, 15)).model_dump()), resolution=None)
    assert "annotated on 20 x 15 pixels" in only_refusal(aligned(bare))


@pytest.mark.parametrize(
    ("bbox", "clipped"),
    [
        ([-5, -6, 20, 15], (0, 0, 20, 15)),
        ([30, 20, 99, 99], (30, 20, 40, 30)),
        ([-1e308, -1e308, 1e308, 1e308], (0, 0, 40, 30)),
        ([4.25, 5.5, 20.75, 15], (4.25, 5.5, 20.75, 15)),
    ],
)
def test_boxes_are_clipped_to_the_photo(bbox: list[float], clipped: tuple[float, ...]) -> None:
    assert aligned(photo(cup(bbox=bbox))).regions[0].bbox == clipped


def test_an_annotation_without_a_size_gets_the_photos() -> None:
    annotation = aligned(photo(cup(), resolution=None))
    assert (annotation.size, len(annotation.regions)) == ((WIDTH, HEIGHT), 1)


PROVENANCE = Provenance(key="k", source_id="a/cup.jpg", source_path="a/cup.jpg", source_sha256="0" * 64)


@pytest.mark.parametrize("provenance", [None, PROVENANCE])
def test_round_trip(provenance: Provenance | None) -> None:
    item = photo(cup(mask=MASK.model_dump(), score=1.5), source_url="https://example.org")
    item["segmentation"]["background"] = [{"class_name": None, "bbox": [0, 0, 40, 30]}]
    first = aligned(item)
    again = parse_annotation(json.loads(json.dumps(to_json(first, provenance))))
    assert again.provenance == provenance
    assert (again.regions, again.size, again.path, again.source_url) == (
        first.regions,
        first.size,
        first.path,
        first.source_url,
    )


def test_the_region_of_a_mask_has_a_tight_box() -> None:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[3:7, 11:13] = mask[20, 30] = True
    region = region_of_mask(mask, "cup")
    assert region == Region(class_name="cup", bbox=(11, 3, 31, 21), mask=rle.encode(mask))
    with pytest.raises(AnnotationError, match="marks nothing"):
        region_of_mask(np.zeros((4, 4), dtype=bool))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ("path", "resolution", "segmentation", "source_licence", "editpairs")
REGION_FIELDS = ("class_name", "bbox", "mask", "score")


@given(st.sampled_from(FIELDS), st.sampled_from(REGION_FIELDS), JSON, JSON)
def test_any_json_is_an_annotation_or_an_annotation_error(field: str, part: str, whole: object, value: object) -> None:
    for item in (whole, photo(**{field: whole}), photo(cup(**{part: value})), photo(value)):
        try:
            annotation = align(parse_annotation(item), (WIDTH, HEIGHT), 6)
        except AnnotationError:
            continue
        assert all(0 <= region.bbox[0] < region.bbox[2] <= WIDTH for region in annotation.regions)


@pytest.mark.parametrize("weak", [None, 3, [], "x", {"object": 5}, {"object": [{"bbox": "?"}]}])
def test_what_is_weak_is_counted_and_never_read(weak: Any) -> None:
    """A file that has `weak` keeps its own threshold, and whatever stands in there costs nothing."""
    quiet = {"class_name": "cup", "bbox": [1, 1, 9, 9], "score": 0.02}
    known = parse_annotation(photo(quiet, weak=weak))
    assert [one.score for one in known.regions] == [0.02]
    assert known.weak == (1 if weak == {"object": [{"bbox": "?"}]} else 0)
    sifted = parse_annotation(photo(quiet))
    assert (sifted.regions, sifted.weak) == ((), 1)
