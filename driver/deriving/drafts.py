"""Rows as they are derived, before anybody looked at their pictures: the inverse of an edit, siblings, and other wordings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from comfy_nodes.core.instructions import inverting, rewording
from comfy_nodes.core.instructions.changes import Change, Untold, region_key
from comfy_nodes.core.instructions.inverting import Worded, joined, worded
from comfy_nodes.core.instructions.rewording import WAYS, reworded
from comfy_nodes.core.instructions.wording import LANGUAGES, Language
from comfy_nodes.core.keys import KEY_LENGTH
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Region
from comfy_nodes.core.regions.rle import Rle

from .photos import KeptRow, Photo
from .telling import NO_WORDS, Told, languages_of, operation, regions_of, rle_of, said, words_of

Kind = Literal["inverse", "sibling", "composed", "wordings"]
KINDS: tuple[Kind, ...] = ("inverse", "sibling", "composed", "wordings")

SIBLINGS, MOST_SIBLINGS = 2, 20
"""Sibling rows that begin with one edit's result: where nobody says how many, and at most. Ours."""

MOST_THINGS = 2
"""Things that one derived instruction is about: as many as a hybrid edit's (ImgEdit)."""

THERE = "the same pair is there already"
SAID = f"{THERE} in these words"
OVERLAPPING = "their edit masks overlap"
MANY_THINGS = f"it would ask for more than {MOST_THINGS} things"
NOT_ALONE = "its words make no sense without the turns before"
NO_MEETING = "they share no picture to go through"


@dataclass(frozen=True)
class Draft:
    """A derived row."""

    kind: str
    """As it is stored in `derived_kind`."""
    parents: tuple[KeptRow, ...]
    number: int
    """Of those with these parents and this kind, from 0."""
    task: str
    words: Mapping[Language, str]
    """In each language in which it can be said; the first is the row's."""
    before: tuple[str, ...]
    after: str
    """SHA-256 of pictures."""
    regions: tuple[tuple[str, Region], ...]
    edit_mask: Rle | None
    writer: str
    """Whose sentences they are, with their version."""
    reworded: bool = False
    """Whether only the words are new, so that what was said of the pair holds."""
    kept_slot: Mapping[str, str] = field(default_factory=dict)
    """`subtask` and `slot`, where the edit is the same."""

    @property
    def key(self) -> str:
        text = json.dumps([self.kind, self.number, *(row.key for row in self.parents)])
        return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


@dataclass(frozen=True)
class LeftOut:
    """What could not be derived from a row."""

    kind: Kind
    row: KeptRow
    reason: str


@dataclass(frozen=True)
class Asked:
    """What is asked for."""

    kinds: tuple[Kind, ...] = KINDS
    languages: tuple[Language, ...] = ()
    """Those that are wanted; none: those that a row is written in."""
    siblings: int = SIBLINGS
    """Most sibling rows that begin with one edit's result."""


class Drafts:
    """What is derived from the rows of one photo."""

    def __init__(self, photo: Photo, told: Told, asked: Asked):
        self._photo, self._told, self._asked = photo, told, asked
        self._there = {
            (row.inputs[0], row.outputs[0], (row.columns["turn"] or {}).get("op") or row.columns["task"])
            for row in photo.rows
        }
        self._said = {
            (row.inputs, row.outputs[0], words_of(row, language).casefold())
            for row in photo.rows
            for language in LANGUAGES
            if not row.columns["turn"]
        }
        """Pairs with their words, of rows and of drafts; what a turn says is said in its dialogue."""

    def made(self) -> Iterator[Draft | LeftOut]:
        """All of them, no pair twice with the same words."""
        for one in self._each():
            if isinstance(one, LeftOut):
                yield one
                continue
            said_here = one.before, one.after, next(iter(one.words.values())).casefold()
            if said_here not in self._said:
                self._said.add(said_here)
                yield one
            elif one.kind in WAYS:
                yield LeftOut("wordings", one.parents[0], f"{one.kind}: {SAID}")
            else:
                yield LeftOut("composed", one.parents[0], f"{one.kind}: {SAID}")

    def _each(self) -> Iterator[Draft | LeftOut]:
        """What several turns make, then row by row."""
        if "composed" in self._asked.kinds:
            for turns in dialogues(self._photo.rows):
                yield from self._steps(turns)
                yield from self._composed(turns)
        for row in self._photo.rows:
            if "inverse" in self._asked.kinds:
                yield self._inverse(row)
            if "sibling" in self._asked.kinds:
                yield from self._siblings(row)
            if "wordings" in self._asked.kinds:
                yield from self._wordings(row)

    def _inverse(self, row: KeptRow) -> Draft | LeftOut:
        def make(language: Language) -> Worded:
            return self._worded([one.turned() for one in self._told.changes(row, language)], language)

        try:
            words = said(make, languages_of(row, self._asked.languages))
            return self._new("inverse", (row,), 0, words, row.outputs[0], row.inputs[0])
        except Untold as error:
            return LeftOut("inverse", row, str(error))

    def _siblings(self, row: KeptRow) -> Iterator[Draft | LeftOut]:
        """From what one edit made to what another one made of the same picture: the first few others that fit."""
        reasons: list[str] = []
        made = 0
        for other in self._others(row):
            if made == self._asked.siblings:
                return
            try:
                yield self._sibling(row, other)
                made += 1
            except Untold as error:
                reasons.append(str(error))
        if not made and reasons:
            yield LeftOut("sibling", row, reasons[0])

    def _others(self, row: KeptRow) -> list[KeptRow]:
        """A photo's other rows in an order of the row's own, so that not all are led to the same ones. What follows it in its
        dialogue is composed with it."""
        return sorted(
            (one for one in self._photo.rows if one is not row and not follows(row, one) and not follows(one, row)),
            key=lambda one: hashlib.sha256(f"{row.key} {one.key}".encode()).digest(),
        )

    def _sibling(self, row: KeptRow, other: KeptRow) -> Draft:
        """
        Raises:
            Untold: there is none.
        """
        before, back, after, on = _way(row, other)

        def make(language: Language) -> Worded:
            first, second = (self._told.changes(one, language) for one in (row, other))
            first = tuple(one.turned() for one in first) if back else first
            second = second if on else tuple(one.turned() for one in second)
            return self._worded(joined(first, second), language)

        languages = languages_of(row, self._asked.languages)
        words = said(make, languages)
        self._check_apart(row, other)
        return self._new("sibling", (row, other), 0, words, before, after)

    def _check_apart(self, row: KeptRow, other: KeptRow) -> None:
        """Two edits go together where their masks are apart, or one is about nothing but what the other is about, too.

        Raises:
            Untold: they do not.
        """
        own, theirs = ({region_key(region) for _, region in regions_of(one)} for one in (row, other))
        if (own <= theirs or theirs <= own) and bool(own) == bool(theirs):
            return
        first, second = (self._told.mask(one) for one in (row, other))
        if first is None or second is None or bool((first & second).any()):
            raise Untold(OVERLAPPING)

    def _worded(self, changes: Sequence[Change], language: Language) -> Worded:
        if len(changes) > MOST_THINGS:
            raise Untold(MANY_THINGS)
        return worded(changes, self._told.regions, self._told.size, language)

    def _new(
        self,
        kind: str,
        parents: tuple[KeptRow, ...],
        number: int,
        words: Mapping[Language, Worded],
        before: str,
        after: str,
    ) -> Draft:
        """
        Raises:
            Untold: the photo's rows have this pair already, or both pictures are one.
        """
        first = next(iter(words.values()))
        pair = before, after, first.task
        if pair in self._there or before == after:
            raise Untold(THERE)
        self._there.add(pair)
        mask = _union([self._told.mask(one) for one in parents])
        sentences = {language: one.words for language, one in words.items() if one.task == first.task}
        writer = f"inverting {inverting.VERSION}"
        return Draft(kind, parents, number, first.task, sentences, (before,), after, first.regions, mask, writer)

    def _steps(self, turns: Sequence[KeptRow]) -> Iterator[Draft | LeftOut]:
        """Every turn as a pair of its own."""
        for row in turns:
            try:
                words = {one: self._told.alone(row, one) for one in languages_of(row, self._asked.languages)}
                known = {language: text for language, text in words.items() if text}
                if not known:
                    raise Untold(NOT_ALONE)
                yield self._of_turns("step", (row,), known, row.columns["turn"]["op"])
            except Untold as error:
                yield LeftOut("composed", row, str(error))

    def _composed(self, turns: Sequence[KeptRow]) -> Iterator[Draft | LeftOut]:
        """The turns that lead to a state as one instruction, for each state that more than one leads to."""
        for row in turns:
            way = leading_to(turns, row)
            if len(way) < 2:
                continue

            def make(language: Language, way: Sequence[KeptRow] = way) -> Worded:
                return self._all_turns(way, language)

            try:
                words = said(make, languages_of(row, self._asked.languages))
                yield self._new("composed", tuple(way), 0, words, way[0].inputs[0], row.outputs[0])
            except Untold as error:
                yield LeftOut("composed", row, str(error))

    def _all_turns(self, way: Sequence[KeptRow], language: Language) -> Worded:
        """What is different after all of them; where that is not known, or a premise has a say, their own words in order.

        Raises:
            Untold: their words do not make sense in one.
        """
        premise = way[0].columns["turn"]["premise"]
        try:
            if premise:
                raise Untold(NOT_ALONE)
            changes = self._told.changes(way[0], language)
            for row in way[1:]:
                changes = joined(changes, self._told.changes(row, language))
            return self._worded(changes, language)
        except Untold as error:
            words = [words_of(row, language).strip() for row in way]
            straight = all(row.columns["turn"]["number"] == number for number, row in enumerate(way, 1))
            if str(error) == inverting.NO_CHANGE or not straight or not all(words):
                raise
        ops = {row.columns["turn"]["op"] for row in way}
        sentences = [premise, *words] if premise else words
        regions = tuple(pair for row in way for pair in regions_of(row))
        return Worded(
            ops.pop() if len(ops) == 1 else "hybrid", ("" if language == "zh" else " ").join(sentences), regions
        )

    def _of_turns(self, kind: str, rows: tuple[KeptRow, ...], words: Mapping[Language, str], task: str) -> Draft:
        row = rows[-1]
        return Draft(
            kind, rows, 0, task, words, row.inputs[:1], row.outputs[0], tuple(regions_of(row)),
            rle_of(row.columns["edit_mask"]), f"inverting {inverting.VERSION}", reworded=True,
        )  # fmt: skip

    def _wordings(self, row: KeptRow) -> Iterator[Draft | LeftOut]:
        number = 0
        for language in languages_of(row, self._asked.languages):
            words = self._told.alone(row, language)
            op = operation(row, words, language) if words else ""
            names = [region.class_name for _, region in regions_of(row) if region.class_name]
            for way in WAYS:
                try:
                    if not words:
                        raise Untold(NO_WORDS)
                    new = reworded(way, words, language, op, row.columns["edit_mask"] is not None, names)
                    yield self._other_words(row, way, number, language, new)
                except Untold as error:
                    yield LeftOut("wordings", row, f"{way}: {error}")
                number += 1

    def _other_words(self, row: KeptRow, way: str, number: int, language: Language, new: str) -> Draft:
        return Draft(
            way,
            (row,),
            number,
            row.columns["turn"]["op"] if row.columns["turn"] else row.columns["task"],
            {language: new},
            row.inputs,
            row.outputs[0],
            tuple(regions_of(row)),
            rle_of(row.columns["edit_mask"]),
            f"rewording {rewording.VERSION}",
            reworded=True,
            kept_slot={name: row.columns[name] or "" for name in ("subtask", "slot")},
        )


def dialogues(rows: Sequence[KeptRow]) -> list[list[KeptRow]]:
    """The turns among these rows by their dialogue, each in order."""
    found: dict[str, list[KeptRow]] = {}
    for row in rows:
        if row.columns["turn"]:
            found.setdefault(row.columns["turn"]["dialogue"], []).append(row)
    return [sorted(turns, key=lambda row: int(row.columns["turn"]["number"])) for turns in found.values()]


def leading_to(turns: Sequence[KeptRow], row: KeptRow) -> list[KeptRow]:
    """The turns of a dialogue that lead from state 0 to what one of them made, in order; none where one is missing."""
    made = {int(one.columns["turn"]["number"]): one for one in turns}
    way: list[KeptRow] = []
    number = int(row.columns["turn"]["number"])
    while number:
        if number not in made:
            return []
        way.insert(0, made[number])
        number = int(made[number].columns["turn"]["base"])
    return way


def follows(first: KeptRow, second: KeptRow) -> bool:
    """Whether a turn begins with what another one of its dialogue made."""
    one, other = first.columns["turn"], second.columns["turn"]
    return bool(one and other and one["dialogue"] == other["dialogue"] and other["base"] == one["number"])


def _way(row: KeptRow, other: KeptRow) -> tuple[str, bool, str, bool]:
    """How two edits meet: the picture to begin with, whether the first one is to be turned round, the picture to end with,
    and whether the second one is not to be.

    Raises:
        Untold: they meet in no picture.
    """
    first, second = (row.inputs[0], row.outputs[0]), (other.inputs[0], other.outputs[0])
    if first[0] == second[0]:
        return first[1], True, second[1], True
    if first[0] == second[1]:
        return first[1], True, second[0], False
    if first[1] == second[1]:
        return first[0], False, second[0], False
    if first[1] == second[0]:
        return first[0], False, second[1], True
    raise Untold(NO_MEETING)


def _union(masks: Sequence[np.ndarray | None]) -> Rle | None:
    """Where pictures may differ that differ in each of these; None means everywhere."""
    found = [one for one in masks if one is not None]
    if not found or len(found) < len(masks):
        return None
    return rle.encode(np.logical_or.reduce(found))
