"""ImgEdit's task files: what its instruction stage writes, one JSON object for a photo and a task.

Read from the reference's code (`tools/5_generate_prompt.py`, and the drivers' `schemas.py`, which name some tasks
otherwise). Its stage leaves `<photo>/<task>.json`; the same objects may stand in a list or in lines.
"""

from __future__ import annotations

import re
from typing import Any

from comfy_nodes.core.imgedit import ALIASES
from comfy_nodes.core.regions.annotation import AnnotationError
from comfy_nodes.core.tasks import TASKS

_BACKTRACKING = ["add", "replace", "adjust"]
"""The operations of a version backtracking, which tell it from a content understanding."""

_ROUNDS = ("round1_prompt", "round2_prompt", "round3_prompt")


def is_task(item: dict[str, Any]) -> bool:
    """Whether an object is a task file's, and no annotation."""
    return "original_path" in item


def task_of_item(item: dict[str, Any]) -> str:
    """The task that an object is for, by our name. Of several operations its other fields tell which task they make.

    Raises:
        AnnotationError: it names none that ImgEdit has.
    """
    kind = item.get("edit_type")
    if isinstance(kind, str):
        task = ALIASES.get(kind, kind)
    elif not isinstance(kind, list):
        task = ""
    elif "edit_obj1" in item:
        task = "content_memory" if item.get("round1_prompt") else "hybrid"
    else:
        task = "version_backtracking" if kind == _BACKTRACKING else "content_understanding"
    if task not in TASKS:
        raise AnnotationError(f"edit_type {kind!r} is no task of ImgEdit; known are {', '.join(TASKS)}")
    return task


def task_regions(item: dict[str, Any]) -> list[Any]:
    """The regions that the edit is about, in order: of an addition the object that will be there."""
    found = [item[name] for name in ("edit_obj", "edit_obj1", "edit_obj2") if item.get(name) is not None]
    if not found and isinstance(item.get("edit_result"), dict):
        found = [item["edit_result"]]
    return [_region(one) for one in found]


def task_words(item: dict[str, Any]) -> str:
    """The instruction, or one for each round, a line each; a premise for all rounds stands before the first.

    Raises:
        AnnotationError: there is none, or it is not a text.
    """
    rounds = [item[name] for name in _ROUNDS if item.get(name) is not None]
    words = rounds or [item.get("edit_prompt")]
    if not all(isinstance(one, str) and one.strip() for one in words):
        raise AnnotationError(
            f"{item['original_path']}: its task file holds no instruction (edit_prompt or roundN_prompt)"
        )
    lines = [_bare(one) for one in words]
    if isinstance(item.get("premise"), str):
        lines[0] = f"{_bare(item['premise']).rstrip('.')}. {lines[0]}"
    return "\n".join(lines)


def _region(item: Any) -> Any:
    """A region with its score as a number: the reference's grounding stage may leave it as a list of one."""
    if isinstance(item, dict) and isinstance(item.get("score"), list) and len(item["score"]) == 1:
        return {**item, "score": item["score"][0]}
    return item


def _bare(text: str) -> str:
    """An instruction without the label, quotes and line breaks that the reference's writer leaves in."""
    text = re.sub(r"^\s*(output|prompt)\s*:\s*", "", " ".join(text.split()), flags=re.IGNORECASE).strip("` ")
    quoted = re.fullmatch(r"(['\"])(.*)\1", text)
    return quoted[2].strip() if quoted else text
