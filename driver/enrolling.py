"""Enrolment: a plan taken down in the journal, and what it means for rows that are there already.

The journal calls it, within one transaction. A row is stale where its photo, region, words or further pictures are not
what it was made from: it leaves the dataset, its records stay in the journal, and what changed waits to be made again.
Pictures are told apart by a stamp, such as size and time; only where that changed, by the hash of their bytes.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import TypeAdapter

from comfy_nodes.core.instructions.instructions import Writing
from comfy_nodes.core.instructions.turns import turn_json, turn_of
from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.records import SampleFailure
from comfy_nodes.core.regions.annotation import parse_annotation, to_json

from . import places
from .errors import RunError
from .journal_tables import take_out
from .places import Locator
from .samples import POSTED, SECONDS, Planned, Sample, Spare, Unusable, unusable
from .terminal import counted

_WORDS = ("instruction", *POSTED, "after", "task", "own_task", "subtask", "slot")
"""A sample's texts and second pictures, of which most are empty."""

_PLAN = TypeAdapter(Writing)

MOST_GONE = 0.5
"""More of a run's samples than this share never leave it at once because their photos are gone. Ours."""

FEW_GONE = 20
"""So many always may. Ours."""

_FINISHED = "finished sample"

CUT_OFF = "its dialogue has fewer turns now"
"""Why a turn's record leaves the dataset."""

_LACKED_TURNS = """
SELECT key, state FROM samples WHERE key GLOB '*~*' AND enrolment < :now AND state != 'retired' AND EXISTS (
    SELECT 1 FROM samples AS first WHERE first.key = substr(samples.key, 1, instr(samples.key, '~')) || '0' AND first.enrolment = :now)
"""
"""Turns that a plan lacks though it has their dialogue."""

AT_ONCE = 500
"""Samples that are written in one statement. Ours."""

_UNREAD = "CREATE TEMP TABLE IF NOT EXISTS unread (source_id TEXT PRIMARY KEY) WITHOUT ROWID"
"""Photos that could not be looked at; "" where it is not known which these are."""


@dataclass(frozen=True)
class Enrolled:
    """What an enrolment found of finished samples whose input is not what it was."""

    usable: int = field(default=0, compare=False)
    """How many samples of its plan can be edited or were; a dialogue is one."""
    changed: int = 0
    """Their photo, words or further pictures are others now."""
    depths: tuple[tuple[int, int, int], ...] = ()
    """How many turns dialogues of another length had, how many they have now, and how many dialogues these are."""
    cut_off: int = 0
    """They are turns that their dialogues do not have any more."""
    gone: int = 0
    """Their photo or region is not in the input any more."""
    unfit: int = 0
    """Their photo is there, and something beside it cannot be used."""
    spared: int = 0
    """Their photo cannot be read, or nobody could mark it; these stay."""
    kept: bool = False
    """Whether their rows stay, as the user wants it."""
    unread: bool = False
    """Whether part of the input could not be read; then what is gone or unfit stays."""

    def line(self) -> str:
        """What to say of it; "" where there is nothing to say."""
        leave, stay = "leave the dataset (the journal keeps their records)", "stay as they are (--keep-stale)"
        said = [
            f"{counted(number, 'dialogue', 'has')} {now} turns now and had {before}: another --turns, or another plan was written"
            for before, now, number in self.depths
        ]
        if self.changed:
            then = f"the rows {stay}" if self.kept else f"made again, and the old rows {leave}"
            said.append(f"{counted(self.changed, _FINISHED, 'has')} another input now: {then}")
        if self.cut_off:
            said.append(f"{counted(self.cut_off, 'finished turn')} that the dialogues have no more: the rows {leave}")
        then = stay if self.kept else "stay, as not all of --input could be read" if self.unread else leave
        if self.gone:
            said.append(f"{counted(self.gone, _FINISHED)} whose photo or region is gone: the rows {then}")
        if self.unfit:
            why = "whose mask, words or other input cannot be used now (failed.parquet says why)"
            said.append(f"{counted(self.unfit, _FINISHED)} {why}: the rows {then}")
        if self.spared:
            why = "whose photo cannot be looked at now (failed.parquet says why)"
            said.append(f"{counted(self.spared, _FINISHED)} {why}: the rows stay as they are")
        return "; ".join(said)


class Enrolment:
    """One enrolment of a run's samples."""

    def __init__(
        self,
        db: sqlite3.Connection,
        number: int,
        same: Callable[[Sequence[Locator], str], bool] | None,
        keep_stale: bool,
        known_input: bool = False,
    ):
        """
        Args:
            number: counts a journal's enrolments.
            same: whether a sample's pictures hold what they did, as `Source.same`.
            keep_stale: stale rows stay, and nothing is made in their place.
            known_input: it is known that this is the run's input, however many of these samples are gone.
        """
        self._db = db
        self._number = number
        self._pictures_same = same
        self._keep_stale = keep_stale
        self._known_input = known_input
        self._stale: set[str] = set()
        """Finished turns whose rows stay though their input changed, and those that follow them."""
        self._depths: Counter[tuple[int, int]] = Counter()
        """Dialogues of another length than before, by how many turns they had and have."""

    def take(self, planned: Iterable[Planned], limit: int | None, whole: bool) -> Enrolled:
        """Takes a plan down; arguments and errors are `Journal.enrol`'s."""
        self._db.execute(_UNREAD)
        self._db.execute("DELETE FROM unread")
        usable = changed = 0
        waiting: dict[str, tuple[Sample, int]] = {}
        left = Enrolled(kept=self._keep_stale)
        whole_plan = True
        for position, one in enumerate(planned):
            if len(waiting) >= AT_ONCE or one.key in waiting:
                changed += self._samples(waiting)
            if isinstance(one, Unusable):
                self._unusable(one, position)
            elif isinstance(one, Spare):
                self._touch(one.key, position)
            elif limit is not None and usable >= limit and not one.after:
                whole_plan = False
                break
            else:
                usable += not one.after
                waiting[one.key] = one, position
        changed += self._samples(waiting)
        cut_off = self._cut_off()
        if whole_plan:
            # An input that was refused before and is mended, or gone, has a sample of its own now.
            self._db.execute("DELETE FROM samples WHERE sample IS NULL AND enrolment < ?", (self._number,))
            if whole:
                left = self._leave()
        # What waits and is not in the plan any more must not run: its region, or its photo, is gone.
        self._db.execute(
            "UPDATE samples SET state = 'retired' WHERE state = 'pending' AND prompt_id IS NULL AND enrolment < ?",
            (self._number,),
        )
        spared = self._count("state = 'done' AND source_id IN (SELECT source_id FROM unread)")
        depths = tuple((*depth, number) for depth, number in sorted(self._depths.items()))
        return replace(left, usable=usable, changed=changed, depths=depths, cut_off=cut_off, spared=spared)

    def _unusable(self, one: Unusable, position: int) -> None:
        failure = one.failure
        self._db.execute(
            "INSERT INTO samples (key, position, enrolment, source_id, state, stage, node, error_type, message) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET position = excluded.position, "
            "enrolment = excluded.enrolment, state = excluded.state, error_type = excluded.error_type, "
            "message = excluded.message",
            (
                one.key,
                position,
                self._number,
                one.source_id,
                state_of(failure),
                failure.stage,
                failure.node,
                failure.error_type,
                failure.message,
            ),
        )
        if one.unread:
            source_id = one.source_id if one.unread == "photo" else ""
            self._db.execute("INSERT OR IGNORE INTO unread VALUES (?)", (source_id,))

    def _samples(self, waiting: dict[str, tuple[Sample, int]]) -> int:
        """Takes samples down, and empties what they waited in; returns how many are finished, of another input."""
        known = self._db.execute(
            "SELECT key, state, stage, sample, pictures, stamp, digest FROM samples "
            "WHERE key IN (SELECT value FROM json_each(?))",
            (json.dumps(list(waiting)),),
        )
        found = {row[0]: row[1:] for row in known}
        changed = 0
        new = []
        for key, (one, position) in waiting.items():
            now = sample_text(one), json.dumps([places.to_json(file) for file in one.pictures]), one.stamp
            if key in found:
                changed += self._known(one, position, now, *found[key])
            elif one.after in self._stale:  # a dialogue that stays has as many turns as it had
                self._stale.add(key)
            else:
                new.append((position, self._number, *now, one.annotation.path, key))
        self._db.executemany(
            "INSERT INTO samples (position, enrolment, sample, pictures, stamp, source_id, key, state) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, 'pending')",
            new,
        )
        waiting.clear()
        return changed

    def _known(
        self,
        one: Sample,
        position: int,
        now: tuple[str, str, str],
        state: str,
        stage: str | None,
        text: str | None,
        pictures: str,
        stamp: str,
        digest: str | None,
    ) -> bool:
        """Takes a sample down whose key is there already; returns whether it is finished, of another input.

        Args:
            now: what it is made from, its pictures and their stamp; the others, from `state` on, are those of its row.
        """
        if one.after in self._stale:
            self._stale.add(one.key)
            self._place(one.key, position)
            return state == "done"
        if one.turn and not one.after and state != "retired":
            before = json.loads(text or "{}").get("turn", {}).get("of", one.turn.of)
            self._depths[before, one.turn.of] += before != one.turn.of
        same = now == (text, pictures, stamp)
        # A photo that could not be read is looked at again.
        ended = state in ("done", "skipped") or (state == "failed" and stage != "input")
        try:
            same = same or (ended and self._same(one, _made_from(text or "{}") == _made_from(now[0]), stamp, digest))
        except PhotoError as error:
            if state == "done":
                failure = SampleFailure("input", type(error).__name__, str(error))
                self._unusable(replace(unusable(one.annotation.path, failure), unread="photo"), position)
                self._touch(one.key, position)
                return False
        if state == "done" and not same and self._keep_stale:
            self._stale |= {one.key} if one.turn else set()
            self._touch(one.key, position)
            return True
        if ended and same:
            self._db.execute(
                "UPDATE samples SET position = ?, enrolment = ?, sample = ?, pictures = ?, stamp = ? WHERE key = ?",
                (position, self._number, *now, one.key),
            )
            return False
        if state == "done":
            take_out(self._db, "key = ?", (one.key,), "its input changed")
        # The server may still run a prompt for what was there before. Nobody asks for that: the next one has a folder
        # of its own.
        self._db.execute(
            "UPDATE samples SET position = ?, enrolment = ?, sample = ?, pictures = ?, stamp = ?, "
            "prompt_id = iif(?, prompt_id, NULL), digest = iif(?, digest, NULL), "
            "attempts = iif(state = 'pending', attempts, 0), "
            "state = 'pending', stage = NULL, node = NULL, error_type = NULL, message = NULL WHERE key = ?",
            (position, self._number, *now, bool(same), bool(same), one.key),
        )
        return bool(state == "done")

    def _same(self, one: Sample, words: bool, stamp: str, digest: str | None) -> bool:
        """Whether a sample that is written down otherwise than before was made from the same: its pictures may lie
        elsewhere now, or have only been touched.

        Raises:
            PhotoError: nobody can say, as the photo cannot be read.
        """
        if stamp == one.stamp:
            return words
        return self._pictures_same is not None and self._pictures_same(one.pictures, digest or "") and words

    def _touch(self, key: str, position: int) -> None:
        """A finished sample stays as it is."""
        self._db.execute(
            "UPDATE samples SET position = ?, enrolment = ? WHERE key = ? AND state = 'done'",
            (position, self._number, key),
        )

    def _place(self, key: str, position: int) -> None:
        """A sample stays in the plan as it was planned before."""
        self._db.execute("UPDATE samples SET position = ?, enrolment = ? WHERE key = ?", (position, self._number, key))

    def _cut_off(self) -> int:
        """Takes turns out of the plan that it lacks, of dialogues that it has; returns how many of them are finished. Of a
        dialogue that stays as it was planned before, all do."""
        lacking = self._db.execute(_LACKED_TURNS, {"now": self._number}).fetchall()
        finished = 0
        for key, state in lacking:
            if f"{key.partition('~')[0]}~0" in self._stale:
                self._db.execute("UPDATE samples SET enrolment = ? WHERE key = ?", (self._number, key))
                continue
            finished += state == "done"
            take_out(self._db, "key = ?", (key,), CUT_OFF)
            self._db.execute("UPDATE samples SET prompt_id = NULL WHERE key = ?", (key,))
        return finished

    def _leave(self) -> Enrolled:
        """Takes what this enrolment lacks out of the plan. Photos that could not be looked at this time stay."""
        lacking = f"enrolment < {self._number} AND source_id NOT IN (SELECT source_id FROM unread)"
        gone = f"state = 'done' AND {lacking}"
        refused = (
            f"SELECT source_id FROM samples WHERE sample IS NULL AND state = 'failed' AND enrolment = {self._number}"
        )
        unfit = f"{gone} AND source_id IN ({refused})"
        number = self._count(unfit)
        left = Enrolled(gone=self._count(gone) - number, unfit=number, kept=self._keep_stale)
        if self._db.execute("SELECT 1 FROM unread WHERE source_id = ''").fetchone():
            return replace(left, unread=True)
        if not self._keep_stale:
            there = f"SELECT source_id FROM samples WHERE enrolment = {self._number} AND state != 'failed'"
            lost, made = self._count(f"{gone} AND source_id NOT IN ({there})"), self._count("state = 'done'")
            if lost > max(FEW_GONE, MOST_GONE * made) and not self._known_input:
                raise RunError(
                    f"{lost} of the {made} samples that are done here are of photos that are not in --input any more, or "
                    "cannot be used: is it this run's input, and whole? Use another --output for another input, or --keep-stale"
                )
            take_out(self._db, unfit, (), "its input cannot be used any more")
            take_out(self._db, gone, (), "its photo or region is gone")
        self._db.execute(f"UPDATE samples SET state = 'retired', prompt_id = NULL WHERE state != 'done' AND {lacking}")
        return left

    def _count(self, which: str) -> int:
        return int(self._db.execute(f"SELECT COUNT(*) FROM samples WHERE {which}").fetchone()[0])


def state_of(failure: SampleFailure) -> str:
    """The state of a sample that will have no row."""
    return "skipped" if failure.skipped else "failed"


def sample_text(sample: Sample) -> str:
    """A sample as the journal keeps it, without its key."""
    words = {name: places.to_json(getattr(sample, name)) for name in _WORDS if getattr(sample, name)}
    edited = next((one.kind for one in sample.annotation.regions), "")
    if sample.turn and sample.plan:
        plan = _PLAN.dump_python(sample.plan, mode="json", exclude={"regions"}, exclude_defaults=True)
        words |= {"turn": turn_json(sample.turn), "plan": plan}
    return json.dumps(
        {"file": places.to_json(sample.file), "kind": edited, "annotation": to_json(sample.annotation), **words}
    )


def sample_of(key: str, text: str) -> Sample:
    """The other way round."""
    item = json.loads(text)
    words: dict[str, Any] = {name: places.from_json(item[name]) for name in _WORDS if name in item}
    if "turn" in item:
        words |= {"turn": turn_of(item["turn"]), "plan": _PLAN.validate_python(item["plan"])}
    annotation = parse_annotation(item["annotation"])
    # The format lists objects before backgrounds; in a sample what is edited stands first.
    regions = sorted(annotation.regions, key=lambda one: one.kind != item.get("kind"))
    return Sample(key, places.from_json(item["file"]), replace(annotation, regions=tuple(regions)), **words)


def _made_from(text: str) -> dict[str, Any]:
    """What a sample's text says, but for its pictures."""
    item: dict[str, Any] = json.loads(text)
    return {name: value for name, value in item.items() if name not in ("file", *SECONDS)}
