"""One dataset of the folders of several runs: shares of one command, each of which made other shards of the same input.

All is looked at before anything is written. What lies in the folders stays as it is: files of rows get a second name, and
journals, the only files that a run writes to in their place, are copied.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from comfy_nodes.core.services import budget
from comfy_nodes.core.whole_files import move_whole

from ..dataset.commits import SETTLED, Totals, committed, duplicates, keys_of, statistics_of
from ..dataset.ownership import JOURNAL, SHARDS, WORK, check_journal, check_run_folder
from ..dataset.parts import PHOTOS, Part, shards_of
from ..dataset.publish import fetch_rows
from ..dataset.rows import RunFacts
from ..dataset.shards import CONFIGS, link
from ..disk import disk_errors, write_lines
from ..errors import RunError
from ..journal import Journal
from ..report.summary import Summary
from .folder import FORM, SHOWN, OutputFolder, difference, summarise
from .lines import AnnotateStage, WriteStage
from .photos import PhotoStage
from .settled import written
from .shards import CUT, TOTAL

_CLAIMS = ("graph", "seed", "content")

_MERGED = "merged"
"""In the merged run's journal: the runs that it is made of."""

_MACHINES = ("python", "system", "devices")
"""Of `environment.json`, what may differ between machines."""


@dataclass(frozen=True)
class Share:
    """A finished run's folder, one of several to be merged."""

    path: Path
    meta: dict[str, str]
    """What its journal says of the run."""
    shards: tuple[Part, ...]
    """Its shards, in the order of the input."""
    told: dict[str, Any]
    """Its `summary.json`."""
    environment: dict[str, str]
    """Its `environment.json`."""

    @property
    def form(self) -> tuple[int, int, int]:
        """Photos in a shard, and i and n of the share."""
        size, (index, shares), *_ = json.loads(self.meta[FORM])
        return size, index, shares

    @property
    def total(self) -> int:
        """Items of the input."""
        return int(self.meta[TOTAL])

    @classmethod
    def at(cls, path: Path) -> Share:
        """
        Raises:
            RunError: no run of many shards lies there, or one that is not finished, or is damaged.
        """
        if not (path / JOURNAL).exists() and not (path / SHARDS).is_dir():
            raise RunError(f"{path}: is no folder of a run; give the --output of each share")
        check_journal(path, path / JOURNAL)
        with closing(Journal(path / JOURNAL)) as journal:
            found = {name: journal.get(name) for name in (*_CLAIMS, FORM, TOTAL, CUT, "run_id", SETTLED)}
        meta = {name: value for name, value in found.items() if value is not None}
        if FORM not in meta:
            raise RunError(f"{path}: holds a run that is not cut into shards; only the shares of one are merged")
        if len(meta) < len(found) or (path / WORK).exists():
            raise _unfinished(path)
        shards = tuple(shards_of(path))
        for part in shards:
            _check_shard(part)
        try:
            told, environment = (
                json.loads((path / f"{name}.json").read_bytes()) for name in ("summary", "environment")
            )
        except (OSError, ValueError):
            raise _unfinished(path) from None
        return cls(path, meta, shards, told, environment)


def _unfinished(path: Path) -> RunError:
    return RunError(f"{path}: is not finished, or in use; run the command that made it again until it is done")


def _check_shard(part: Part) -> None:
    """
    Raises:
        RunError: a shard is not whole, or its files are not as its commit says.
    """
    commit = committed(part)
    if not commit.cut.whole:
        raise RunError(f"{part.output}: shard {part.name} is not whole; run the command that made it again")
    if not written(part, commit):
        raise RunError(
            f"{part.output}: files of shard {part.name} are missing or were changed; run the command that made it again: it "
            "writes the shard anew"
        )
    keys_of(part), statistics_of(part)


@dataclass(frozen=True)
class Merger:
    """Shares that make one run."""

    shares: tuple[Share, ...]

    @classmethod
    def of(cls, paths: Sequence[Path]) -> Merger:
        """
        Raises:
            RunError: they make none; the message names what overlaps, is missing or differs.
        """
        if len({path.resolve() for path in paths}) < len(paths):
            raise RunError("a folder is given twice; give each once")
        found = cls(tuple(Share.at(path) for path in paths))
        for share in found.shares[1:]:
            _check_same(found.shares[0], share)
        found._check_overlaps()
        found._check_gaps()
        found._check_plans()
        found._check_keys()
        return found

    @property
    def shards(self) -> list[Part]:
        """All shards, in the order of the input."""
        return sorted((part for share in self.shares for part in share.shards), key=lambda part: part.name)

    def _check_overlaps(self) -> None:
        holders: dict[str, Path] = {}
        for part in self.shards:
            if part.name in holders:
                raise RunError(
                    f"shard {part.name} lies in {holders[part.name]} and in {part.output}; leave one of them out"
                )
            holders[part.name] = part.output

    def _check_gaps(self) -> None:
        shards, first = self.shards, self.shares[0]
        _size, _index, shares = first.form
        absent = sorted(set(range(shares)) - {share.form[1] for share in self.shares})
        last = int(shards[-1].name) if shards else -1
        held = {int(part.name) for part in shards}
        missing = [f"{index:06d}" for index in range(last + 1) if index not in held]
        cut = sum(committed(part).cut.items for part in shards)
        if not missing and cut == first.total:
            return
        some = ", ".join(missing[:SHOWN]) + (f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else "")
        lacking = f"shard {some}" if missing else f"what follows shard {last:06d}" if shards else "any shard"
        raise RunError(
            f"no folder has {lacking}: {cut} of {first.total} photos are there; "
            + (
                f"give the folder of share {', '.join(f'{one}/{shares}' for one in absent)} too"
                if absent
                else "run the shares again"
            )
        )

    def _check_plans(self) -> None:
        """Two shards of as many photos of one input have the same plan where the same was asked for."""
        plans: dict[int, Part] = {}
        layouts: dict[str, Part] = {}
        for part in self.shards:
            commit = committed(part)
            if commit.dataset:
                layouts.setdefault(commit.dataset.settings, part)
            if len(layouts) > 1:
                one, another = (held.output for held in layouts.values())
                raise RunError(f"{one} and {another}: are of two layouts; run one again with the --layout of the other")
            other = plans.setdefault(commit.cut.items, part)
            if committed(other).cut.plan != commit.cut.plan:
                raise RunError(
                    f"{other.output} and {part.output}: shards {other.name} and {part.name} were not made with the same options; "
                    "run the shares again with one command"
                )

    def _check_keys(self) -> None:
        for twice in duplicates(self.shards):
            if twice.first.output != twice.later.output:  # else the run itself made the later one a skipped one
                raise RunError(
                    f"sample {twice.key} stands twice: in shard {twice.first.name} of {twice.first.output} and in shard "
                    f"{twice.later.name} of {twice.later.output}; take one out of the input and run these shares again"
                )

    def check_output(self, output: Path) -> None:
        """
        Raises:
            RunError: no dataset can be made there.
        """
        if any(output.resolve().is_relative_to(share.path.resolve()) for share in self.shares):
            raise RunError(f"--output {output}: is, or lies in, one of the shares; choose a folder beside them")
        check_run_folder(output)

    def merge(self, output: Path) -> Summary:
        """Makes their dataset. One that was begun is gone on with.

        Args:
            output: a new or empty folder, or one that the same shares are merged in.

        Raises:
            RunError: it holds something else, or the disk is full.
        """
        self.check_output(output)
        folder = OutputFolder(output)
        try:
            self._claim(folder)
            with disk_errors(output):
                for part in self.shards:
                    _bring(part, Part(output, part.name))
                for path in self.shares[0].path.glob("workflow*.json"):
                    _bring_file(path, output / path.name)
            self._write_lines(output)
            return self._finish(folder)
        finally:
            folder.close()

    def _claim(self, folder: OutputFolder) -> None:
        """Makes the folder that of a run without shares, which `batch.py` goes on with."""
        meta, first = folder.journal, self.shares[0]
        runs = json.dumps(sorted(share.meta["run_id"] for share in self.shares))
        others = {part.name for part in shards_of(folder.path)} - {part.name for part in self.shards}
        if (meta.get("graph") is not None and meta.get(_MERGED) != runs) or others:
            raise RunError(f"--output {folder.path}: holds another run than these shares make; choose another folder")
        size, _index, _shares = first.form
        given = {TOTAL: first.meta[TOTAL], CUT: first.meta[CUT], FORM: json.dumps([size, [0, 1]]), _MERGED: runs}
        if meta.get("run_id") is None:
            given["run_id"] = uuid.uuid4().hex
        for name, value in {**given, **{name: first.meta[name] for name in reversed(_CLAIMS)}}.items():
            meta.set(name, value)

    def _finish(self, folder: OutputFolder) -> Summary:
        told, made_with = self.shares[0].told, self._environment()
        facts = RunFacts(told["workflow"], made_with["workflow_sha256"], made_with["graph_sha256"], told["profile"])
        calls, usd = (sum(share.told[name] for share in self.shares) for name in ("vlm_calls", "vlm_usd"))
        totals = Totals.of_commits(committed(part) for part in self.shards)
        summary = summarise(totals, facts, told["task"], budget.Spent(calls=calls, usd=usd), told["gives"])
        folder.conclude_shards(summary, made_with)
        return summary

    def _environment(self) -> dict[str, str]:
        """The versions that all shares have, and what each machine was."""
        found = dict(self.shares[0].environment)
        for name in _MACHINES:
            found[name] = "; ".join(dict.fromkeys(share.environment[name] for share in self.shares))
        return found

    def _write_lines(self, output: Path) -> None:
        """The files of lines that the shares have, in the order of the input."""
        own = {sort.gives: sort.file for sort in (WriteStage, AnnotateStage, PhotoStage)}.get(
            self.shares[0].told["gives"]
        )
        for name in (AnnotateStage.file, WriteStage.file, PhotoStage.file):
            if any((share.path / name).exists() for share in self.shares):
                count = _kept if name == own else _annotated
                with disk_errors(output):
                    write_lines(output / name, self._lines(name, count))

    def _lines(self, name: str, count: Callable[[Part], int]) -> Iterator[dict[str, Any]]:
        with ExitStack() as opened:
            files = {
                share.path: opened.enter_context((share.path / name).open(encoding="utf-8"))
                for share in self.shares
                if (share.path / name).exists()  # where no photo needed it, the share has none
            }
            for part in self.shards:
                lines = list(islice(files.get(part.output, ()), count(part)))
                if len(lines) < count(part):
                    raise RunError(f"{part.output / name}: lacks lines; run the command that made it again", 1)
                yield from map(json.loads, lines)


def _kept(part: Part) -> int:
    return committed(part).totals.counts.get("keep", 0)


def _annotated(part: Part) -> int:
    """Photos of a shard in which a stage ahead of the run's own found regions."""
    path = part.journal.with_suffix(".annotate.sqlite")
    if not path.exists():
        return 0
    with closing(Journal(path)) as journal:
        return journal.counts()["keep"]


def _check_same(first: Share, other: Share) -> None:
    """
    Raises:
        RunError: two folders are no shares of one run; the message says what differs.
    """
    size, _, shares = first.form
    other_size, _, other_shares = other.form
    told = {
        name: difference(name, first.meta[name], other.meta[name])
        for name in _CLAIMS
        if first.meta[name] != other.meta[name]
    }
    told |= {
        name: f"{value} there, {other.environment.get(name)} here"
        for name, value in first.environment.items()
        if name not in _MACHINES and value != other.environment.get(name)
    }
    if size != other_size:
        told["--shard-size"] = f"{size} there, {other_size} here"
    if shares != other_shares:
        told["number of shares"] = f"{shares} there, {other_shares} here"
    if first.meta[CUT] != other.meta[CUT] or first.total != other.total:
        told["input"] = "files at another place, or changed in between; all shares read the same path or URL"
    for name, how in told.items():
        raise RunError(f"{first.path} and {other.path}: are no shares of one run: another {name} ({how})")


def _bring(there: Part, here: Part) -> None:
    """Brings a shard into another folder: its rows, what lies beside its commit, and last the commit.

    Raises:
        RunError: another shard lies there.
        OSError: the disk is full.
    """
    if here.commit.exists():
        if here.commit.read_bytes() != there.commit.read_bytes():
            raise RunError(
                f"{here.output}: holds shard {here.name} otherwise than {there.output}; choose another folder"
            )
        return
    if not there.here:
        fetch_rows(there, here.output)
    for config in (*CONFIGS, PHOTOS):
        for path in sorted(there.config(config).rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                _bring_file(path, here.config(config) / path.relative_to(there.config(config)))
    for path in sorted(there.commit.parent.glob(f"{there.name}.*")):
        if path.suffix == ".sqlite":
            _copy_journal(path, here.commit.parent / path.name)
        elif path not in (there.commit, there.elsewhere) and not path.name.endswith(("-wal", "-shm")):
            _bring_file(path, here.commit.parent / path.name)
    _bring_file(there.commit, here.commit)


def _bring_file(there: Path, here: Path) -> None:
    """Gives a file a second name, or copies it where the disk knows no such thing; never half of one."""
    here.parent.mkdir(parents=True, exist_ok=True)
    here.unlink(missing_ok=True)
    part = here.with_name(f".{here.name}.part")
    part.unlink(missing_ok=True)
    link(there, part)
    move_whole(part, here)


def _copy_journal(there: Path, here: Path) -> None:
    here.parent.mkdir(parents=True, exist_ok=True)
    part = here.with_name(f".{here.name}.part")
    part.unlink(missing_ok=True)
    with closing(sqlite3.connect(there)) as known, closing(sqlite3.connect(part)) as copy:
        known.backup(copy)
    move_whole(part, here)
