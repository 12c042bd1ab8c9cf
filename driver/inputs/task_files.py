"""ImgEdit's task files: what its instruction stage writes, one JSON object for a photo and a task.

Read from the reference's code (`tools/5_generate_prompt.py`, and the drivers' `schemas.py`, which name some tasks
otherwise). Its stage leaves `<photo>/<task>.json`; the same objects may stand in a list or in lines.
"""

from __future__ import annotations

import re
from typing import Any

from comfy_nodes.core.imgedit import ALIASES
from comfy_nodes.core.instructions.checks import language_of
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
    lines = _said(item, rounds or [item.get("edit_prompt")])
    if premise := _premise(item):
        lines[0] = f"{premise.rstrip('.')}. {lines[0]}"
    return "\n".join(lines)


def task_writing(item: dict[str, Any], task: str) -> dict[str, Any] | None:
    """The plan of a task with several turns, as a line's `writing` has it; None for all others.

    Raises:
        AnnotationError: its rounds are not those of its operations, or hold no text.
    """
    if TASKS[task].turns == 1:
        return None
    kinds = item["edit_type"]
    words = _said(item, [item[name] for name in _ROUNDS if item.get(name) is not None])
    if not all(isinstance(kind, str) for kind in kinds) or len(kinds) != len(words):
        raise AnnotationError(
            f"{item['original_path']}: edit_type {kinds!r} is not one operation for each roundN_prompt"
        )
    names = [one.get("class_name") if isinstance(one, dict) else None for one in task_regions(item)]
    several, back = len(names) > 1, task == "version_backtracking"
    steps = []
    for number, (kind, said) in enumerate(zip(kinds, words, strict=True)):
        region = number if several else 0
        name = names[region] if region < len(names) and isinstance(names[region], str) else ""
        op, result = ALIASES.get(kind, kind), item.get(f"edit_result{number + 1}")
        steps.append({
            "op": op, "object": name, "region": region, "instruction": said, "base": min(number, 1) if back else number,
            "editor_prompt": f"Remove the {name}." if op == "add" else "",
            "target": _bare(result) if isinstance(result, str) and op in ("replace", "alter") else "",
        })  # fmt: skip
    text = task_words(item)
    return {"instruction": text, "lang": language_of(text), "premise": _premise(item), "steps": steps}


def _said(item: dict[str, Any], words: list[Any]) -> list[str]:
    """
    Raises:
        AnnotationError: one of the instructions is none.
    """
    if not words or not all(isinstance(one, str) and one.strip() for one in words):
        raise AnnotationError(
            f"{item['original_path']}: its task file holds no instruction (edit_prompt or roundN_prompt)"
        )
    return [_bare(one) for one in words]


def _premise(item: dict[str, Any]) -> str:
    return _bare(item["premise"]) if isinstance(item.get("premise"), str) else ""


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
