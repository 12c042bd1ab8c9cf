"""Which folders are ours to write into and to clear: those that say so, by a mark or by a run's journal.

Asked before anything is made or removed. Knows nothing of what runs and exports keep in their folders but its names.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from comfy_nodes.core.whole_files import move_whole, write_whole

from ..errors import RunError

WORK = ".work"
"""A run's folder for what isn't whole yet."""

MARK = "editpairs"
"""In the work folder: says that it is ours."""

_MARKED = "EditPairs keeps here what a run needs while it lasts.\n"

JOURNAL = "run.sqlite"

RECIPE = "recipe.json"
"""In a recipe's folder: its stages, in their order, as they were asked for."""

STAGES = "stages"
"""The folder in a recipe's that has those of its stages, but for the last one's, which is the recipe's itself."""

SHARDS = "shards"
"""The folder of a run of many shards for their journals and commits; in the work folder, for what isn't whole of them."""

_JOURNALS = (JOURNAL, f"{JOURNAL}-wal", f"{JOURNAL}-shm", f"{JOURNAL}-journal")

RESTORE = "what is finished in the folder stays as it is; restore the journal from a copy, or go on in a new folder"
"""What to do where a journal is gone."""

_FINISHED = {"summary.json", "telemetry.parquet"}
"""What every finish leaves beside the journal."""

_UNMARKED = f".{MARK}.part"

_WORKING = (_UNMARKED, "lock", "spool", "data.", "rejected.", "shards.json.", "collected.sqlite", "server")
"""How names in the work folders of earlier versions begin, which made no mark."""

_IN_PLACE = (
    WORK, "run.", "annotate.", "near.", "data", "rejected", SHARDS, STAGES, "images", "photos", "open", "labels", ".labels",
)  # fmt: skip
"""How names in a run's folder begin that are written to as they are, and not replaced."""

_ROWS = ("data", "rejected", "photos", SHARDS, WORK)
"""Folders of a run in which whoever reads it takes all files for the run's."""

_PARTED = (SHARDS, "data", "rejected", "photos", f"{WORK}/{SHARDS}")
"""Folders of a run in which those of its shards lie, or files of theirs."""

_PART = re.compile(r"[0-9]{6}(\..*)?")
"""How names of these begin."""


def check_run_folder(folder: Path) -> None:
    """
    Raises:
        RunError: the folder holds something and is no run's, or a link stands where a run would write, or it lies among
            the rows of another run.
    """
    whole = folder.absolute()
    for above in whole.parents:
        if whole.relative_to(above).parts[0] in _ROWS and _is_journal(above / JOURNAL):
            raise RunError(
                f"--output {folder}: lies among the files of another run, {above}; choose a folder beside it"
            )
    if not folder.is_dir():
        return
    refuse_links(folder)
    names = {path.name for path in folder.iterdir()}
    recipes = is_recipes(folder)
    names -= {STAGES, RECIPE} if recipes else set()
    if JOURNAL not in names:  # whoever reads a journal leaves these behind where a run that never began removes it
        names -= {f"{JOURNAL}-shm", f"{JOURNAL}-wal"}
    work = folder / WORK
    inside = {path.name for path in work.iterdir()} if work.is_dir() else set()
    marked = _says(work / MARK, _MARKED)
    if names and _is_journal(folder / JOURNAL):
        strange = sorted(f"{WORK}/{name}" for name in inside if not marked and not name.startswith(_WORKING))
    elif marked:
        strange = sorted(names - {WORK, *_JOURNALS})
    else:  # killed before it was marked, where nothing is in it
        strange = sorted(names - ({WORK} if inside <= {_UNMARKED} else set()))
    if strange and (names >= _FINISHED or (marked and JOURNAL in names)):
        raise _without_journal(folder / JOURNAL, f"--output {folder}")
    if strange and not recipes:  # there, what is the user's stays when results go
        raise RunError(
            f"--output {folder}: holds files that no run left there ({strange[0]}); choose a new or empty folder"
        )


def check_journal(folder: Path, journal: Path) -> None:
    """
    Args:
        journal: one of its journals.

    Raises:
        RunError: a run's folder has no such journal that can be read; opening it would make an empty one.
    """
    if not _is_journal(journal):
        raise _without_journal(journal, str(folder))


def _without_journal(journal: Path, name: str) -> RunError:
    how = "damaged" if journal.exists() else "missing"
    return RunError(f"{name}: the run's journal, {journal.name}, is {how}; {RESTORE}")


def begin_work(folder: Path) -> None:
    """Makes a run's work folder, and says in it whose it is.

    Raises:
        OSError: the disk is full, or may not be written to.
    """
    _mark(folder / WORK)


def begin_stages(folder: Path) -> None:
    """Makes the folder of a recipe's stages, and says in it whose it is.

    Raises:
        OSError: the disk is full, or may not be written to.
    """
    _mark(folder / STAGES)


def _mark(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not _says(folder / MARK, _MARKED):
        write_whole(folder / MARK, _MARKED)


def is_recipes(folder: Path) -> bool:
    """Whether a recipe has begun in a folder."""
    stages = folder / STAGES
    if not stages.is_dir():
        return False
    return _says(stages / MARK, _MARKED) or {path.name for path in stages.iterdir()} <= {_UNMARKED}


def refuse_links(folder: Path) -> None:
    """
    Raises:
        RunError: a link stands in a run's folder where the run itself is written to.
    """
    work = folder / WORK
    ours = [path for path in folder.iterdir() if path.name.startswith(_IN_PLACE)]
    for path in [*ours, *(work.iterdir() if work.is_dir() and not work.is_symlink() else ()), *_of_shards(folder)]:
        if path.is_symlink():
            raise RunError(f"{path}: is a link, which a run does not write through; remove it, or use another folder")


def _of_shards(folder: Path) -> Iterator[Path]:
    """What lies in a run's folder under the names of its shards."""
    for above in _PARTED:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder / above) as entries:
            yield from (folder / above / entry.name for entry in entries if _PART.fullmatch(entry.name))


def remove_marked(folder: Path, mark: str) -> None:
    """Removes a folder of ours, as far as that goes; its mark last, so that it is ours until it is gone."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name != mark:
                path.unlink(missing_ok=True)
        (folder / mark).unlink(missing_ok=True)
        folder.rmdir()


def keep_others(old: Path, place: Path, ours: Callable[[str], object]) -> None:
    """Moves what is not ours out of a folder that is to be removed into the one that took its place.

    Args:
        ours: asked for the path of each file in the old folder, with `/`.

    Raises:
        RunError: something of ours has its place; it stays where it is.
    """
    for path in [path for path in old.rglob("*") if path.is_symlink() or not path.is_dir()]:
        name = path.relative_to(old)
        if ours(name.as_posix()):
            continue
        if os.path.lexists(place / name) or any((place / above).is_file() for above in name.parents):
            raise RunError(f"{path}: no run left it there, and its place is taken; move it away", 1)
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        move_whole(path, place / name)


def _says(path: Path, text: str) -> bool:
    try:
        return path.read_bytes() == text.encode()
    except OSError:
        return False


def _is_journal(path: Path) -> bool:
    """Whether a file is a run's journal; looks without writing to it."""
    if not path.is_file():
        return False
    # On a disk that is read-only SQLite makes no file beside it, and reads it only as one that nobody changes.
    return any(_has_our_tables(path, how) for how in ("mode=ro", "immutable=1"))


def _has_our_tables(path: Path, how: str) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path.resolve()))}?{how}", uri=True)) as opened:
            opened.execute("SELECT key, position, enrolment, source_id, state FROM samples LIMIT 0")
            opened.execute("SELECT name, value FROM meta LIMIT 0")
            return True
    except sqlite3.Error:
        return False
