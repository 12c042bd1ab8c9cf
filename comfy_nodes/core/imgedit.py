"""ImgEdit's names: its task files, its shards, and which task each is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from .tasks import TASKS

ALIASES = {
    "adjust": "alter", "compose": "hybrid", "multi-premise": "content_memory",
    "content_understand": "content_understanding", "omit-refer": "content_understanding",
    "version_backtrack": "version_backtracking", "version_refer": "version_backtracking",
}  # fmt: skip
"""ImgEdit's names of tasks, its writer's and its drivers', where they are not ours."""


def task_of_file(name: str) -> str:
    """The task that a file's name says it is for; "" where it says none."""
    stem = PurePosixPath(name).stem
    return ALIASES.get(stem, stem if stem in TASKS else "")


SOURCE = "editpairs"
"""Stands where ImgEdit's folder names have the photos' source (`laion`)."""


@dataclass(frozen=True)
class Names:
    """What ImgEdit calls a task."""

    parquet: str
    folder: str
    """Before `_partN`, in the paths that its rows hold."""
    archive: str
    """Before `_partN.tar`."""
    turns: bool = False
    """Whether a row is a dialogue."""


def _single(parquet: str, folder: str = "", archive: str = "") -> Names:
    folder = f"results_{folder or parquet}_{SOURCE}"
    return Names(parquet, folder, f"results_{archive}_{SOURCE}" if archive else folder)


def _multi(parquet: str) -> Names:
    return Names(parquet, f"results_{parquet}", f"results_{parquet}", turns=True)


NAMES = {
    "add": _single("add"),
    "remove": _single("remove"),
    "replace": _single("replace"),
    "alter": _single("adjust_canny"),
    "background": _single("background"),
    "motion": _single("action"),
    "style": _single("style_transfer"),
    "extract": _single("reference_extract", "extract_ref", "extract_and_visualedit"),
    "visual": _single("reference_replace", "extract_ref", "extract_and_visualedit"),
    "hybrid": _single("hybrid", "compose", "hybrid"),
    "instruct": _single("instruct"),
    "content_memory": _multi("content_memory"),
    "content_understanding": _multi("content_understanding"),
    "version_backtracking": _multi("version_backtracking"),
}
"""By our task's name. ImgEdit's are those of its published files (sysuyy/ImgEdit: `Parquet/`, `Singleturn/`, `Multiturn/`);
`instruct` is ours; six of its archives depart from their own pattern, which we keep throughout."""


_SHARDS = {names.parquet: task for task, names in NAMES.items() if not names.turns} | {"compose": "hybrid"}
"""Tasks by what stands before `_partN`; `compose` is what ImgEdit once called its hybrid shards."""


def task_of_shard(path: str) -> str:
    """The task that a parquet shard such as `adjust_canny_part3.parquet` holds; "" of one with another name."""
    found = re.fullmatch(r"(.+)_part\d+", PurePosixPath(path).stem)
    return _SHARDS.get(found[1], "") if found else ""
