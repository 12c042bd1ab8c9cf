"""What `datasets.load_dataset` makes of a run's folder: both configs, with their images decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_nodes.core.records import Score
from driver.dataset.dataset import write_dataset
from driver.dataset.parts import Part
from driver.dataset.rows import SCHEMA, RunFacts
from driver.report.summary import Summary

datasets = pytest.importorskip("datasets", reason="datasets, the reader of what a run leaves, is not installed")


@pytest.fixture
def opened(run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """A function that writes the card and opens the default config, or a named one."""
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    cache = tmp_path_factory.mktemp("cache")

    def load(*config: str, streaming: bool = False) -> Any:
        count = run.journal.counts()
        verdicts = count["keep"], count["reject"], count["unscored"]
        summary = Summary("remove", "classical", "remove", sum(verdicts), *verdicts, 0, 0, {}, {}, 1.0, 1.0)
        run.report(summary, [], {"editpairs": "0.1.0", "comfyui": "0.30.0"})
        where = {"split": "train", "cache_dir": str(cache), "streaming": streaming}
        return datasets.load_dataset(str(run.output), *config, **where)

    return load


def test_the_default_config_is_the_kept_rows_with_images_decoded(run: Any, opened: Callable[..., Any]) -> None:
    run.add("a", "b", scores=(Score(name="x", value=0.5),))
    run.add("c", verdict="reject")
    run.finish()
    rows = opened()
    assert rows["key"][:] == ["a", "b"]
    assert list(rows.column_names) == [field.name for field in SCHEMA]
    for row in rows:
        for role in ("input", "output"):
            (image,) = row[f"{role}_images"]
            assert isinstance(image, Image.Image)
            np.testing.assert_array_equal(np.asarray(image), run.pixels(row["key"], role))
        assert row["scores"] == [{"name": "x", "value": 0.5}]


def test_rows_that_came_since_it_was_opened_are_there(run: Any, opened: Callable[..., Any]) -> None:
    """`datasets` keeps a copy of what it opened, and looks at the card alone."""
    run.add("a")
    run.finish()
    assert opened()["key"][:] == ["a"]
    run.add("b")
    run.finish()
    assert opened()["key"][:] == ["a", "b"]


@pytest.mark.parametrize("verdict", ["reject", "unscored"])
def test_the_other_config_is_all_other_rows(verdict: str, run: Any, opened: Callable[..., Any]) -> None:
    run.add("a")
    run.add("c", verdict=verdict, reject_reason="too dark")
    run.finish()
    rows = opened("rejected")
    assert (rows["verdict"][:], rows["reject_reason"][:]) == ([verdict], ["too dark"])
    assert isinstance(rows[0]["output_images"][0], Image.Image)


@pytest.mark.parametrize("layout", ["hf", "imgedit", "wds"])
@pytest.mark.parametrize("empty", ["default", "rejected"])
def test_a_config_without_rows_is_there_and_empty(
    layout: str, empty: str, run: Any, opened: Callable[..., Any]
) -> None:
    """And what was rejected never stands in for what was kept."""
    run.add("a", "b", verdict="reject" if empty == "default" else "keep")
    write_dataset(run.journal, run.spool, Part(run.output), RunFacts("w", "a", "b", "c"), layout)
    full = "rejected" if empty == "default" else "default"
    rows = opened(full)
    assert len(rows) == 2
    assert datasets.get_dataset_config_names(str(run.output)) == ["default", "rejected"]
    for name, count in ((empty, 0), (full, 2)):
        streamed = opened(name, streaming=True)
        assert len(list(streamed)) == count
        assert set(streamed.features) == set(rows.features)
    with pytest.raises(ValueError, match="corresponds to no data"):  # what `datasets` says of every empty split
        opened(*([] if empty == "default" else [empty]))


def test_a_folder_without_its_card_opens_as_the_kept_rows(run: Any, opened: Callable[..., Any]) -> None:
    """The lists beside `data/` are none of its rows."""
    run.add("a")
    run.add("c", verdict="reject")
    run.finish()
    opened()
    (run.output / "README.md").unlink()
    rows = datasets.load_dataset(str(run.output), split="train")
    assert rows["key"][:] == ["a"]


@pytest.mark.parametrize("layout", ["hf", "imgedit", "wds"])
def test_a_dataset_of_many_parts_opens_as_one(
    layout: str, shard: Callable[..., Any], opened: Callable[..., Any], run: Any
) -> None:
    """Also where the first part has no row of a config."""
    for index in range(3):
        part = shard(index, run.output)
        part.add(*(() if index == 0 else (f"a{index}", f"b{index}")))
        part.add(*(() if index == 2 else (f"r{index}",)), verdict="reject")
        part.commit(layout)
    for config, count in (("default", 4), ("rejected", 2)):
        rows = opened(config)
        assert len(rows) == count
        assert len(list(opened(config, streaming=True))) == count
        if layout == "hf":
            assert rows["key"][:] == (["a1", "b1", "a2", "b2"] if config == "default" else ["r0", "r1"])
            assert isinstance(rows[0]["input_images"][0], Image.Image)


@pytest.mark.parametrize("layout", ["hf", "imgedit", "wds"])
def test_many_parts_without_a_row_of_a_config_open_as_empty(
    layout: str, shard: Callable[..., Any], opened: Callable[..., Any], run: Any
) -> None:
    for index in range(2):
        part = shard(index, run.output)
        part.add(f"a{index}")
        part.commit(layout)
    assert len(opened()) == 2
    assert list(opened("rejected", streaming=True)) == []
