"""Derived rows into a folder of their own: built in its work folder while they are made, put in place when all are there.

The same files as a run leaves: rows in `data/` and `rejected/`, what could not be derived in `skipped.parquet`, report,
summary, card and environment; and `derived.json`, which says what they were derived from. That one comes last.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Full, Queue
from typing import Any, TextIO

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from comfy_nodes.core.whole_files import write_whole

from ..dataset.dataset import COMMIT, restore
from ..dataset.layouts.layout import layout_named
from ..dataset.ownership import MARK, WORK, begin_work, remove_marked
from ..dataset.parts import Part
from ..dataset.rows import Pair, Row
from ..dataset.shards import CONFIGS, ConfigFacts, DatasetFacts, settings_digest, write_config
from ..dataset.tables import TABLES, write_table
from ..disk import disk_errors, make_durable, write_text
from ..errors import RunError
from ..home import VERSION
from ..report.gallery import Gallery
from ..report.page import write_card, write_report
from ..report.summary import Summary
from .drafts import Kind, LeftOut

DERIVED = "derived.json"
"""Says of a folder what its rows were derived from; written last."""

OPTIONS = {
    "kinds": "--kinds",
    "languages": "--lang",
    "siblings": "--siblings",
    "originals": "--with-originals",
    "layout": "--layout",
}
"""By which option each field of a claim was chosen."""

_WAITING = 64
"""Rows that wait for their shard at most. Ours."""


class Claim(BaseModel):
    """What a folder's rows are derived from, and how."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    """`dataset_digest` of the run."""
    kinds: tuple[Kind, ...]
    languages: tuple[str, ...]
    siblings: int
    originals: bool
    layout: str
    version: str = VERSION


class Folder:
    """The folder of derived rows, held under a lock while they are made."""

    def __init__(self, path: Path, claim: Claim):
        """
        Raises:
            RunError: it holds something else, or is in use.
        """
        self.path, self._claim = path, claim
        check_folder(path, claim)
        self.work = path / WORK
        with disk_errors(path):
            begin_work(path)
            self._lock = FileLock(self.work / "lock", blocking=False)
            try:
                self._lock.acquire()
            except Timeout:
                raise RunError(
                    f"--output {path}: rows are being derived there; wait, or choose another folder"
                ) from None
            write_whole(self.work / DERIVED, claim.model_dump_json())  # first: the folder is ours at any moment
            (path / DERIVED).unlink(missing_ok=True)

    @property
    def scratch(self) -> Path:
        """For what is needed only meanwhile."""
        return self.work / "scratch"

    @contextmanager
    def writing(self) -> Iterator[Writers]:
        """Takes rows as they come; puts them in place at the end of the block.

        Raises:
            RunError: the disk is full.
        """
        part = Part(self.path)
        with disk_errors(self.path):
            restore(part)
            writers = Writers(part, self._claim.layout)
            try:
                yield writers
            except BaseException:
                writers.give_up()
                raise
            facts = writers.ended()
            write_whole(part.work / COMMIT, facts.model_dump_json(indent=1) + "\n")
            make_durable(part.work)
            restore(part)

    def conclude(self, summary: Summary, left_out: Path, environment: dict[str, Any]) -> None:
        """Writes what lies beside the rows, and last that they are whole.

        Args:
            left_out: what `leave_out` wrote.
        """
        gallery = Gallery.of_dataset(self.path)
        assert gallery.statistics is not None
        with disk_errors(self.path):
            write_card(self.path, summary, environment, gallery.statistics)
            for name, schema in TABLES.items():
                write_table(self.path / f"{name}.parquet", _lines(left_out) if name == "skipped" else (), schema)
            write_text(self.path / "environment.json", json.dumps(environment, indent=1, ensure_ascii=False) + "\n")
            write_report(self.path, summary, (), _lines(left_out), environment, gallery)
            write_whole(self.path / DERIVED, self._claim.model_dump_json(indent=1) + "\n")
        shutil.rmtree(self.scratch, ignore_errors=True)

    def close(self) -> None:
        self._lock.release()
        if (self.path / DERIVED).exists():
            remove_marked(self.work, MARK)


def check_folder(path: Path, claim: Claim) -> bool:
    """Whether a folder holds these rows already.

    Raises:
        RunError: it holds something else.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return False
    if {one.name for one in path.iterdir()} == {WORK} and (path / WORK / MARK).exists():
        return False  # killed before there were rows
    for place in (path / DERIVED, path / WORK / DERIVED):
        try:
            known = Claim.model_validate_json(place.read_bytes())
        except (OSError, ValidationError):
            continue
        different = [name for name in OPTIONS if getattr(claim, name) != getattr(known, name)]
        if different:
            name = different[0]
            there, now = (_told(getattr(one, name)) for one in (known, claim))
            raise RunError(
                f"--output {path}: holds rows that were derived with other options ({OPTIONS[name]}: {there} there, {now} now); "
                "choose another folder"
            )
        return known == claim and place == path / DERIVED
    raise RunError(f"--output {path}: holds files that no derivation left there; choose a new or empty folder")


def _told(value: object) -> str:
    """An option's value as one writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (",".join(value) or "none") if isinstance(value, tuple) else str(value)


def leave_out(file: TextIO, one: LeftOut) -> None:
    """Notes what could not be derived, as a line."""
    row = one.row.columns
    line = {
        "key": one.row.key, "source_id": row["source_id"], "task": row["task"], "stage": "derive", "node": "",
        "error_type": one.kind, "message": one.reason, "attempts": 1,
    }  # fmt: skip
    file.write(json.dumps(line) + "\n")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


class Writers:
    """Both configs of the dataset, each written by a thread as its rows come."""

    def __init__(self, part: Part, layout: str):
        self._layout = layout_named(layout)
        self._pool = ThreadPoolExecutor(len(CONFIGS), "rows")
        self._queues: dict[str, Queue[Pair | None]] = {}
        self._done: dict[str, Future[ConfigFacts]] = {}
        self.verdicts: Counter[str] = Counter()
        for config in CONFIGS:
            fresh = part.work / f"{config}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            self._queues[config] = Queue(_WAITING)
            self._done[config] = self._pool.submit(self._write, self._queues[config], fresh)

    def add(self, pair: Pair, verdict: str) -> None:
        """
        Raises:
            OSError: the disk is full.
        """
        config = "data" if verdict == "keep" else "rejected"
        self.verdicts[verdict] += 1
        self._give(config, pair)

    def ended(self) -> DatasetFacts:
        """Waits for both."""
        for config in CONFIGS:
            self._give(config, None)
        configs = {config: done.result() for config, done in self._done.items()}
        self._pool.shutdown()
        return DatasetFacts(layout=self._layout.name, settings=settings_digest(self._layout), configs=configs).sealed()

    def give_up(self) -> None:
        """Ends both threads, whatever they wait for."""
        for config, queue in self._queues.items():
            while not self._done[config].done():
                if queue.full():
                    queue.get()
                queue.put(None)
        self._pool.shutdown()

    def _give(self, config: str, pair: Pair | None) -> None:
        done = self._done[config]
        while True:
            if done.done():
                done.result()
            try:
                self._queues[config].put(pair, timeout=1)
                return
            except Full:
                continue

    def _write(self, queue: Queue[Pair | None], fresh: Path) -> ConfigFacts:
        held: dict[str, Pair] = {}

        def rows() -> Iterator[Row]:
            while (pair := queue.get()) is not None:
                held[pair.row.key] = pair
                yield pair.row

        found = write_config(rows(), lambda row: held.pop(row.key), self._layout, fresh, None)
        make_durable(fresh)
        return found
