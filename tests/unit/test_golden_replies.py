"""Replies of the kinds that models give to a prompt, written by hand, and what must come of each: a sentence or a refusal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.core.annotation import Region
from comfy_nodes.core.composing import finish
from comfy_nodes.core.instruction_checks import Unfit
from comfy_nodes.core.replies import SHAPES
from comfy_nodes.core.scenes import Scene
from comfy_nodes.core.taxonomy import kind_of

GOLDEN = Path(__file__).resolve().parents[1] / "vlm" / "golden"
SCENE = Scene(640, 480, (Region(class_name="cup", bbox=(20, 400, 60, 440)),))


def rows() -> Iterator[Any]:
    for path in sorted(GOLDEN.glob("write-*.json")):
        listed = json.loads(path.read_text(encoding="utf-8"))
        assert len(listed) == 12
        for number, row in enumerate(listed):
            yield pytest.param(path.stem.removeprefix("write-"), row, id=f"{path.stem}-{number}-{row['like']}")


@pytest.mark.parametrize(("task", "row"), rows())
def test_what_becomes_of_a_reply(task: str, row: dict[str, Any]) -> None:
    kind = kind_of(task)
    assert kind.shape
    edit = SHAPES[kind.shape].model_validate(row["reply"])
    if "refused" in row:
        with pytest.raises(Unfit) as refused:
            finish(kind, edit, SCENE, row["language"], (task,))
        assert row["refused"] in str(refused.value)
        return
    writing = finish(kind, edit, SCENE, row["language"], (task,))
    assert writing.instruction == row["instruction"]
    assert writing.editor_prompt.startswith(
        ("Remove the small", "Delete the small", "Replace the small", "Swap the small")
    )
