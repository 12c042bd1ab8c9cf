"""Keys and seeds: the same on every machine and in every release, or a resumed run would start over."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from comfy_nodes.core.keys import KEY_LENGTH, checked_key, sample_key, sample_seed
from comfy_nodes.core.records import AnnotationRecord, FailureRecord, SampleFailure, SavedFile, records_name
from comfy_nodes.core.regions.annotation import Annotation, AnnotationError, Region, parse_annotation
from comfy_nodes.core.regions.rle import Rle

CUP = Region(class_name="cup", bbox=(1, 2, 30, 40), mask=Rle(size=(2, 3), counts="222"), score=0.5)


@pytest.mark.parametrize(
    ("key", "golden"),
    [
        (sample_key("a/b.jpg", None, "style"), "4f91f74927447678bb2b"),
        (sample_key("a/b.jpg", CUP, "remove"), "ccde31143f37573c6693"),
        (sample_key("ä/日本.jpg", CUP, "remove", "1"), "f1684d6b303ef0443ab8"),
    ],
)
def test_golden_keys(key: str, golden: str) -> None:
    assert key == golden


@pytest.mark.parametrize(
    ("run", "key", "attempt", "golden"),
    [(0, "k", 0, 1503111039079460), (7, "k", 1, 4775663138214526), (-1, "k", 0, 7791572534298299)],
)
def test_golden_seeds(run: int, key: str, attempt: int, golden: int) -> None:
    assert sample_seed(run, key, attempt) == golden


def test_every_part_of_a_sample_counts() -> None:
    others = [
        CUP.model_copy(update=change)
        for change in (
            {"class_name": "mug"},
            {"class_name": None},
            {"kind": "background"},
            {"bbox": (1.0, 2.0, 30.0, 41.0)},
            {"mask": None},
            {"mask": Rle(size=(2, 3), counts="15")},
        )
    ]
    keys = [sample_key("a", region, "remove") for region in (None, CUP, *others)]
    keys += [sample_key("b", CUP, "remove"), sample_key("a", CUP, "add"), sample_key("a", CUP, "remove", "2")]
    assert len(set(keys)) == len(keys)
    assert all(len(key) == KEY_LENGTH and int(key, 16) >= 0 for key in keys)


def test_scores_do_not_count() -> None:
    scored = CUP.model_copy(update={"score": 0.9, "clip_score": 0.1, "aes_score": 5.0})
    assert sample_key("a", scored, "remove") == sample_key("a", CUP, "remove")


def test_a_regions_place_in_its_list_does_not_count() -> None:
    entries = [{"class_name": name, "bbox": [x, 0, x + 10, 10]} for x, name in enumerate("abc")]

    def keys(order: tuple[dict[str, object], ...]) -> set[str]:
        item: Annotation = parse_annotation({"path": "p", "segmentation": {"object": list(order)}})
        return {sample_key("p", region, "remove") for region in item.regions}

    assert len({frozenset(keys(order)) for order in itertools.permutations(entries)}) == 1


def test_neighbours_in_text_do_not_run_into_each_other() -> None:
    assert sample_key("a", None, "remove", "x") != sample_key("a", None, "removex", "")


@given(st.integers(), st.text(), st.integers(0, 99))
def test_seeds_fit_into_javascripts_integers(run: int, key: str, attempt: int) -> None:
    seed = sample_seed(run, key, attempt)
    assert 0 <= seed < 2**53
    assert seed == sample_seed(run, key, attempt)


def test_seeds_differ_and_use_the_whole_range() -> None:
    seeds = {
        sample_seed(run, f"key{number}", attempt) for run, number, attempt in itertools.product(range(5), repeat=3)
    }
    assert len(seeds) == 125
    assert max(seeds) > 2**52


SAVED = {"filename": "k-source.png", "subfolder": "run/k-0", "type": "output", "sha256": "0" * 64}

HOSTILE = [
    "", ".", "..", "../x", "a/b", "/etc/x", "a\\b", "a.b", "a\n", "a\0b", "Ä", "A", "~a", "a~", "a~b~c~d", "a" * 41,
    "$(id)", "a b", "-~../x", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("key", HOSTILE, ids=ascii)
def test_what_is_no_key_names_no_file(key: str, filed: Callable[..., Any]) -> None:
    """In no record, and in no annotation that a shared graph carries."""
    with pytest.raises(ValueError, match="key"):
        records_name(key)
    with pytest.raises(ValidationError, match="not a key"):
        filed(key)
    for kind, rest in (
        (FailureRecord, {"failure": SampleFailure("edit", "E", "m")}),
        (AnnotationRecord, {"annotation": {}, "file": SAVED}),
    ):
        with pytest.raises(ValidationError, match="not a key"):
            kind(key=key, **rest)
    origin = {"key": key, "source_id": "a.jpg", "source_path": "a.jpg", "source_sha256": "0" * 64}
    with pytest.raises(AnnotationError, match=r"editpairs\.key: .*not a key"):
        parse_annotation({"path": "a.jpg", "segmentation": None, "editpairs": origin})


@pytest.mark.parametrize(
    "key", [sample_key("a", None, "style"), "0" * 20 + "~12", "0" * 20 + "~3~try2", "0" * 20 + "~try1"]
)
def test_keys_of_ours_are_keys(key: str) -> None:
    assert checked_key(key) == key


@pytest.mark.parametrize(
    ("field", "value"),
    [("filename", name) for name in ("", "..", "../x.png", "a/b.png", "a\\b.png", "a\0.png")]
    + [("subfolder", name) for name in ("..", "../x", "/etc", "a/../../b", "a//b", "a\\..\\b")]
    + [("type", "models")],
    ids=ascii,
)
def test_a_saved_file_lies_in_a_folder_of_the_servers(field: str, value: str) -> None:
    assert SavedFile.model_validate(SAVED).subfolder == "run/k-0"
    with pytest.raises(ValidationError, match=field):
        SavedFile.model_validate({**SAVED, field: value})
