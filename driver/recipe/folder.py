"""A recipe's output: one command's at a time, one recipe's for good but for stages that are made again, and results removed
in a way that a kill cannot leave half done.

`recipe.json` says which stages there are; `stages/` has their folders, the lock, and what is being removed.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from comfy_nodes.core.whole_files import write_whole

from ..dataset.ownership import (
    JOURNAL,
    MARK,
    RECIPE,
    SHARDS,
    STAGES,
    WORK,
    begin_stages,
    check_run_folder,
    is_recipes,
    remove_marked,
)
from ..dataset.tables import TABLES
from ..disk import disk_errors, make_durable
from ..errors import RunError
from ..options import RunOptions
from ..report.page import CARD
from .file import Recipe, RecipeStage

LOCK = "lock"

RERUN = "rerun.json"
"""Names the folders that are being removed, while they are."""

LAST = "."
"""The recipe's own folder among these: of it only what a run leaves is removed."""

_INDIFFERENT = ("samples_per_prompt", "attempts")
"""What a stage may say otherwise without its results being others' for it."""

_LEFT = (
    f"{JOURNAL}*", SHARDS, f"{SHARDS}.json", "data", "rejected", CARD, "report.html", "summary.json", "environment.json",
    "workflow*.json", "annotation.jsonl", "instructions.jsonl", "annotate.sqlite*", "images", WORK,
    *(f"{name}.parquet" for name in TABLES),
)  # fmt: skip
"""What a run leaves in its folder, its log left out; all else there is the user's."""


@dataclass(frozen=True)
class RecipeFolder:
    """A recipe's output, held under a lock."""

    path: Path
    account: str
    """What all its stages' calls to services are booked on."""


@contextmanager
def recipe_folder(recipe: Recipe, options: RunOptions) -> Iterator[RecipeFolder]:
    """Takes the output for a recipe; results of stages that are to be made again are gone then.

    Args:
        options: the command line's; `output` and `rerun_from` matter.

    Raises:
        RunError: another command is using it, it holds something else, or another recipe and that does not make the stages
            again in which this one differs.
    """
    output = options.output
    made = not output.exists()
    if not is_recipes(output):
        check_run_folder(output)
        if (output / JOURNAL).exists():
            raise RunError(f"--output {output}: holds a run that is no recipe's; choose another folder")
    lock = FileLock(output / STAGES / LOCK, blocking=False)
    with disk_errors(output):
        begin_stages(output)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(f"--output {output}: another command is using it; wait for it or choose another") from None
    try:
        _end_removing(output)
        yield RecipeFolder(output, _claim(recipe, options))
    finally:
        lock.release()
        _leave_nothing(output, made)


def _leave_nothing(output: Path, made: bool) -> None:
    """Of a recipe of which no stage ever began, everything goes.

    Args:
        made: whether its folder was made for it.
    """
    stages = output / STAGES
    if any((folder / JOURNAL).exists() for folder in (output, *stages.iterdir())):
        return
    (output / RECIPE).unlink(missing_ok=True)
    remove_marked(stages, MARK)
    if made and not any(output.iterdir()):
        output.rmdir()


def _claim(recipe: Recipe, options: RunOptions) -> str:
    """Makes the folder this recipe's; returns its account.

    Raises:
        RunError: it is another's, and stays so.
    """
    output = options.output
    known = _known(output)
    names = [stage.name for stage in recipe.stages]
    told = [_told(recipe, stage) for stage in recipe.stages]
    before = known["stages"] if known else []
    again = names.index(options.rerun_from) if options.rerun_from else len(names)
    odd = _first_difference(before, told) if known else len(names)
    if odd < again and odd < max(len(before), len(told)):
        raise RunError(f"--output {output}: holds a run of another recipe ({_difference(before, told, odd, names)})")
    if known and again < len(names):
        _remove(output, before[again:])
    account = known["account"] if known else uuid.uuid4().hex
    said = {"name": recipe.name, "about": recipe.about, "account": account, "stages": told}
    if said != known:
        with disk_errors(output):
            write_whole(output / RECIPE, json.dumps(said, indent=1, ensure_ascii=False) + "\n")
    return str(account)


def _told(recipe: Recipe, stage: RecipeStage) -> dict[str, Any]:
    options = {name: value for name, value in stage.options.items() if name not in _INDIFFERENT}
    told = {"name": stage.name, "workflow": stage.workflow, "last": stage is recipe.stages[-1], **options}
    return dict(json.loads(json.dumps(told)))


def _known(output: Path) -> dict[str, Any] | None:
    """What the folder's recipe is; None where none has begun there.

    Raises:
        RunError: it is damaged.
    """
    try:
        told: dict[str, Any] = json.loads((output / RECIPE).read_bytes())
        assert told["account"] and all(one["name"] for one in told["stages"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError, AssertionError):
        raise RunError(f"{output / RECIPE}: is damaged; restore it from a copy, or choose another --output") from None
    return told


def _first_difference(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]]) -> int:
    """The first stage that is not what it was; as many as there are where all are."""
    same = (one == other for one, other in zip(before, now, strict=False))
    return next((index for index, equal in enumerate(same) if not equal), min(len(before), len(now)))


def _difference(before: Sequence[dict[str, Any]], now: Sequence[dict[str, Any]], odd: int, names: Sequence[str]) -> str:
    """In what two recipes differ first, and what to do."""
    other = "choose another folder"
    if odd >= len(now):
        return f"which has stage {before[odd]['name']} behind these; {other}"
    again = f"--rerun-from {names[odd]} makes it and what comes behind it again, or {other}"
    if odd >= len(before):
        return f"which ends before stage {names[odd]}; {other}"
    then, wanted = before[odd], now[odd]
    keys = [key for key in {**then, **wanted} if then.get(key) != wanted.get(key)]
    if "name" in keys:
        return f"stage {then['name']} there, {names[odd]} now; {again}"
    if keys == ["last"]:
        return f"whose last stage is {then['name'] if then['last'] else before[-1]['name']}; {again}"
    told = "; ".join(f"{key} {then.get(key)!r} there, {wanted.get(key)!r} now" for key in keys if key != "last")
    return f"stage {names[odd]}: {told}; {again}"


def _remove(output: Path, stages: Sequence[dict[str, Any]]) -> None:
    """Removes what stages made; a kill leaves a note of it, and whoever comes next ends it."""
    folders = [LAST if one["last"] else one["name"] for one in stages]
    with disk_errors(output):
        write_whole(output / STAGES / RERUN, json.dumps(folders) + "\n")
    _end_removing(output)


def _end_removing(output: Path) -> None:
    note = output / STAGES / RERUN
    with disk_errors(output):
        try:
            folders = json.loads(note.read_bytes())
        except FileNotFoundError:
            return
        for name in folders:
            if name == LAST:
                for path in {path for pattern in _LEFT for path in output.glob(pattern)}:
                    _gone(path)
            else:
                _gone(output / STAGES / name)
        make_durable(output)
        note.unlink()


def _gone(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with suppress(FileNotFoundError):
            path.unlink()
