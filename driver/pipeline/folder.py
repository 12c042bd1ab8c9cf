"""The output folder: one run's at a time, one workflow's for good, finished in one sweep."""

from __future__ import annotations

import errno
import json
import re
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from comfy_nodes.core.ingredients import Ingredients
from comfy_nodes.core.services import budget
from comfy_nodes.core.whole_files import write_whole

from ..dataset.by_input import figures_by_input
from ..dataset.commits import Totals, ended_tables, read_commit
from ..dataset.dataset import ShardDamaged, Written, restore, unfinished, write_dataset
from ..dataset.ownership import JOURNAL, MARK, SHARDS, WORK, begin_work, check_run_folder, remove_marked
from ..dataset.parts import Part, parts, shards_of
from ..dataset.rows import RunFacts
from ..dataset.spool import Spool
from ..dataset.tables import TABLES, join_tables, journal_rows, table_rows, write_table
from ..disk import disk_error
from ..errors import RunError
from ..journal import Journal
from ..report.gallery import Gallery
from ..report.page import write_card, write_report
from ..report.summary import Gives, Summary
from .servers import SERVER
from .workflow import Workflow

SHOWN = 4
"""Differences that a refusal names. Ours."""

FORM = "form"
"""In the journal of a run that is cut into shards: into which."""

_NOTHING = budget.Spent()


class ClaimedOtherwise(RunError):
    """A folder belongs to a run with something else behind it."""

    def __init__(self, folder: Path, what: str, difference: str):
        super().__init__(f"--output {folder}: holds a run of another {what} ({difference}); choose another folder")
        self.what, self.difference = what, difference


class OutputFolder:
    """A run's folder, held under a lock while the run lasts."""

    def __init__(self, path: Path):
        """
        Raises:
            RunError: it cannot be written, another run is using it, or it holds something else.
        """
        self.path = path
        self.work = path / WORK
        self._made = not path.exists()
        try:
            check_run_folder(path)
            begin_work(path)
            self._lock = FileLock(self.work / "lock", blocking=False)
            self._lock.acquire()
        except Timeout:
            raise RunError(f"--output {path}: another run is using it; wait for it or choose another folder") from None
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise disk_error(error, path) from None
            raise RunError(f"--output {path}: cannot be written ({error.strerror}); choose another folder") from None
        restore(Part(path))
        self.journal = Journal(path / JOURNAL)
        self.spool = Spool(self.work / "spool")
        self.found = Written()
        """What the last finish found beside the rows."""

    @property
    def many(self) -> bool:
        """Whether its run is cut into shards."""
        return self.journal.get(FORM) is not None

    def claim(self, workflows: Sequence[Workflow], seed: int) -> None:
        """Makes the folder these workflows' and this seed's, or sees that it is.

        Raises:
            RunError: it belongs to others; the message says what differs.
        """
        claim(self.journal, workflows, seed, self.path)
        for workflow in workflows:
            ui, api = workflow_files(workflow.graph.task if len(workflows) > 1 else "")
            if workflow.file.ui is not None:
                self._write_json(ui, workflow.file.ui)
            self._write_json(api, workflow.graph.api)

    def finish(
        self, facts: RunFacts, task: str, environment: dict[str, Any], layout: str, spent: budget.Spent = _NOTHING
    ) -> Summary:
        """Turns finished edits into a dataset with its report.

        Args:
            task: what they were for, in a word.
            layout: how rows become files: hf, imgedit or wds.
            spent: on calls to services.
        """
        gallery, lost, rebuilt, damaged = None, list[str](), False, set[object]()
        while gallery is None:
            found = write_dataset(self.journal, self.spool, Part(self.path), facts, layout)
            lost += found.lost
            rebuilt |= found.rebuilt
            try:
                gallery = Gallery.of_dataset(self.path)
            except ShardDamaged as error:  # the next round looks through it
                if error.place in damaged:
                    raise
                damaged.add(error.place)
        self.found = Written(tuple(lost), rebuilt)
        summary = summarise(Totals.of_journal(self.journal), facts, task, spent)
        self.conclude(summary, environment, gallery)
        return summary

    def conclude(self, summary: Summary, environment: dict[str, Any], gallery: Gallery) -> None:
        """Writes what every run leaves: tables of how samples went, versions that took part, and the report; where rows are
        shown, the dataset card first."""
        if gallery.statistics is not None:
            write_card(self.path, summary, environment, gallery.statistics)
        for name, schema in TABLES.items():
            path = self.path / f"{name}.parquet"
            if self.many:
                join_tables(path, ended_tables(parts(self.path), name), schema)
            else:
                write_table(path, journal_rows(self.journal, name), schema)
        self._write_json("environment.json", environment)
        failures, skips = (table_rows(self.path / f"{name}.parquet") for name in ("failed", "skipped"))
        write_report(self.path, summary, failures, skips, environment, gallery)

    def conclude_shards(self, summary: Summary, environment: dict[str, Any]) -> None:
        """The same of a run of many shards, whose rows are written."""
        rows = summary.samples and summary.gives == "edit pairs"
        self.conclude(summary, environment, Gallery.of_dataset(self.path) if rows else Gallery())

    def journals(self, end: str = "") -> Iterator[Journal]:
        """The journals that samples of the run are in, in the input's order: its own, or those of its shards that have a
        commit, each as long as the next is not asked for. Those of shards that another machine made are there.

        Args:
            end: of the name of another journal that a shard may have, such as `.annotate`.
        """
        if not self.many:
            yield self.journal
            return
        for part in parts(self.path):
            path = part.journal.with_suffix(f"{end}.sqlite")
            if path.exists():
                with closing(Journal(path)) as journal:
                    yield journal

    def close(self) -> None:
        """Gives the folder free. What only a run needs goes, unless rows still wait in it; of a run that never began, everything."""
        claimed = self.journal.get("graph") is not None
        self.journal.close()
        if not claimed:
            (self.path / JOURNAL).unlink()
        waiting = not self.spool.empty or unfinished(Part(self.path)) or self._open_shards()
        for path in self.work.iterdir():
            if path.is_dir() and (not waiting or path.name.startswith(SERVER)):
                shutil.rmtree(path, ignore_errors=True)
        self._lock.release()
        if not waiting:
            remove_marked(self.work, MARK)
        if self._made and not any(self.path.iterdir()):
            self.path.rmdir()

    def _open_shards(self) -> bool:
        """Whether rows of shards wait in the work folder; what a late copy of a sample left there of others goes."""
        folder = self.work / SHARDS
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        done = {part.name for part in shards_of(self.path) if part.name in names and _whole(part)}
        for name in done:
            shutil.rmtree(folder / name, ignore_errors=True)
        return names > done

    def _write_json(self, name: str, value: Any) -> None:
        try:
            write_whole(self.path / name, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise disk_error(error, self.path) from None


def summarise(totals: Totals, facts: RunFacts, task: str, spent: budget.Spent, gives: Gives = "edit pairs") -> Summary:
    """What a run's samples came to.

    Args:
        task: what they were for, in a word.
        spent: on calls to services.
    """
    counts, seconds = Counter(totals.counts), totals.seconds
    return Summary(
        workflow=facts.workflow,
        profile=facts.profile,
        task=task,
        samples=totals.samples,
        kept=counts["keep"],
        rejected=counts["reject"],
        unscored=counts["unscored"],
        failed=counts["failed"],
        skipped=counts["skipped"],
        pending=counts["pending"],
        failures=dict(Counter(totals.failures).most_common()),
        skips=dict(Counter(totals.skips).most_common()),
        retired=totals.retired,
        reasons=dict(Counter(totals.reasons).most_common()),
        seconds=round(seconds, 2),
        samples_per_second=round(counts["done"] / seconds, 3) if seconds else 0.0,
        gives=gives,
        vlm_calls=spent.calls,
        vlm_usd=round(spent.usd, 4),
        inputs=figures_by_input(totals.inputs),
        dialogues=totals.dialogues,
    )


def _whole(part: Part) -> bool:
    commit = read_commit(part)
    return commit is not None and commit.cut.whole


def workflow_files(task: str) -> tuple[str, str]:
    """How a run's copies of a workflow are called: in UI format, and as it ran.

    Args:
        task: the graph's, of a run with several; "" where it has one.

    Raises:
        RunError: the task's name is none that a file may have.
    """
    if not re.fullmatch("[a-z0-9_-]*", task):
        raise RunError(f"task {task!r}: a task's name is small letters, digits, - and _")
    end = f"-{task}.json" if task else ".json"
    return f"workflow{end}", f"workflow_api{end}"


def claim(journal: Journal, workflows: Sequence[Workflow], seed: int, folder: Path) -> None:
    """Makes a journal these workflows' and this seed's, or sees that it is: same graphs, same content behind them.

    Raises:
        RunError: it belongs to others; the message says what differs.
    """
    for name, value in claimable(journal, workflows, seed, folder).items():
        journal.set(name, value)
    if journal.get("run_id") is None:
        journal.set("run_id", uuid.uuid4().hex)


def claimable(journal: Journal, workflows: Sequence[Workflow], seed: int, folder: Path) -> dict[str, str]:
    """What a journal says once it is these workflows' and this seed's.

    Raises:
        RunError: it belongs to others; the message says what differs.
    """
    nodes = [node for workflow in workflows for node in workflow.graph.canonical()]
    content = [workflow.agreement.ingredients.model_dump(mode="json", exclude={"terms"}) for workflow in workflows]
    wanted = {"graph": json.dumps(nodes, ensure_ascii=False), "seed": str(seed), "content": json.dumps(content)}
    for name, value in wanted.items():
        known = journal.get(name)
        if known is not None and known != value:
            raise ClaimedOtherwise(folder, name, difference(name, known, value))
    return wanted


def difference(name: str, known: str, value: str) -> str:
    """How what a folder was claimed with differs from what is asked for, in a few words.

    Args:
        name: graph, seed or content.
    """
    if name == "content":
        pairs = zip(json.loads(value), json.loads(known), strict=True)
        found = [(Ingredients.model_validate(now), Ingredients.model_validate(then)) for now, then in pairs]
        changes = list(dict.fromkeys(change for now, then in found for change in now.differences(then)))
        return "; ".join(changes[:SHOWN]) + (f"; and {len(changes) - SHOWN} more" if len(changes) > SHOWN else "")
    if name != "graph":
        return f"{known} there, {value} now"
    then, now = json.loads(known), json.loads(value)
    if [node[0] for node in then] != [node[0] for node in now]:
        gone = [node[0] for node in then if node[0] not in {other[0] for other in now}]
        new = [node[0] for node in now if node[0] not in {other[0] for other in then}]
        return f"nodes gone: {', '.join(gone) or 'none'}; new: {', '.join(new) or 'none'}, or wired otherwise"
    changes = [
        f"{class_type}.{name}: {before.get(name)!r} there, {after.get(name)!r} now"
        for (class_type, before), (_, after) in zip(then, now, strict=True)
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    return "; ".join(changes[:SHOWN])
