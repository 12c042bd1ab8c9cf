"""What the rows of a photo tell of their edits: changes in words, with colours measured in the pictures, and masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import numpy as np

from comfy_nodes.core.colours import colour_of, is_black_and_white
from comfy_nodes.core.instructions.changes import Change, Edit, Look, Untold, read_changes, region_key
from comfy_nodes.core.instructions.checks import language_of
from comfy_nodes.core.instructions.inverting import worded
from comfy_nodes.core.instructions.operations import operation_of
from comfy_nodes.core.instructions.rewording import without_before
from comfy_nodes.core.instructions.wording import LANGUAGES, Language
from comfy_nodes.core.records import PROMPTS
from comfy_nodes.core.regions import rle
from comfy_nodes.core.regions.annotation import Region
from comfy_nodes.core.regions.rle import Rle
from comfy_nodes.core.tasks import INSTRUCT, TASKS

from ..exports.turns import standing_alone
from .journals import Known
from .photos import KeptRow, Photo

Found = TypeVar("Found")

NO_WORDS = "it has no instruction in this language"


class Told:
    """A photo's rows as edits. What was told once is remembered as long as the photo is worked on."""

    def __init__(self, photo: Photo, known: Known):
        self.photo = photo
        self._known = known
        self._changes: dict[tuple[str, Language], tuple[Change, ...] | Untold] = {}
        self._looks: dict[tuple[str, str], str] = {}
        self._masks: dict[str, np.ndarray | None] = {}
        own = [region for row in photo.rows for _, region in regions_of(row)]
        first = photo.rows[0].columns
        self.size = int(first["width"]), int(first["height"])
        whole = not first["crop"] and all(
            one.mask is None or one.mask.size == (first["height"], first["width"]) for one in known.regions
        )
        self.regions = _each_once([*own, *(known.regions if whole else ())])
        """All that is known to be on the photo, in its rows' pixels."""

    def changes(self, row: KeptRow, language: Language) -> tuple[Change, ...]:
        """
        Raises:
            Untold: its words do not tell what it changed, or it has none in the language.
        """
        place = row.key, language
        if place not in self._changes:
            self._changes[place] = self._read(row, language)
        found = self._changes[place]
        if isinstance(found, Untold):
            raise Untold(str(found))
        return found

    def _read(self, row: KeptRow, language: Language) -> tuple[Change, ...] | Untold:
        """Of a turn that says how it goes back the editor's plain command tells what it does there."""
        why: list[Untold] = []
        for words in (words_of(row, language), _command(row, language)):
            try:
                return read_changes(self._edit(row, words, language))
            except Untold as error:
                why.append(error)
        return why[0]

    def alone(self, row: KeptRow, language: Language) -> str:
        """A row's instruction for whoever has not read the turns before it; empty where nobody knows one."""
        words, turn = words_of(row, language), row.columns["turn"]
        if not words or not turn:
            return words
        if turn["number"] > 1 or turn["premise"]:
            with suppress(Untold):
                return worded(self.changes(row, language), self.regions, self.size, language).words
        if turn["number"] > 1:
            words = without_before(words, language)
        found = standing_alone({**row.columns, "lang": language, "prompt": words}, Counter())
        return found if found and language_of(found) == language else ""

    def mask(self, row: KeptRow) -> np.ndarray | None:
        """Where the row's pictures may differ, bool [H, W]; None means everywhere."""
        if row.key not in self._masks:
            mask = rle_of(row.columns["edit_mask"])
            self._masks[row.key] = None if mask is None else rle.decode(mask)
        return self._masks[row.key]

    def _edit(self, row: KeptRow, words: str, language: Language) -> Edit:
        if not words:
            raise Untold(NO_WORDS)
        op = operation(row, words, language)
        regions = tuple((_op(one, op), region) for one, region in regions_of(row))
        needed = op not in ("extract", "motion")
        looks = tuple(self._look(row, region) if needed else Look() for _, region in regions)
        grey = needed and is_black_and_white(self.photo.pictures.pixels(row.inputs[0]))
        return Edit(op, words, language, regions, looks, grey, self._known.captions, _premise(row))

    def _look(self, row: KeptRow, region: Region) -> Look:
        return Look(*(self._colour(name, region) for name in (row.inputs[0], row.outputs[0])))

    def _colour(self, picture: str, region: Region) -> str:
        if region.mask is None:
            return ""
        place = picture, region.mask.counts
        if place not in self._looks:
            pixels = self.photo.pictures.pixels(picture)
            fits = region.mask.size == pixels.shape[:2]
            self._looks[place] = colour_of(pixels[rle.decode(region.mask)]) if fits else ""
        return self._looks[place]


def words_of(row: KeptRow, language: Language) -> str:
    """A row's instruction in a language; empty where it has none."""
    if row.columns["lang"] == language:
        return row.columns["prompt"] or ""
    return row.columns[PROMPTS[language]] or ""


def _command(row: KeptRow, language: Language) -> str:
    """What the editor was told of a turn that begins with an earlier one's picture; empty where that is not what was done."""
    columns = row.columns
    later = columns["turn"] and columns["turn"]["number"] > 1 and not columns["restated_prompt"]
    return (columns["editor_prompt"] or "") if later and language == "en" else ""


def _premise(row: KeptRow) -> str:
    """What holds for all turns of a row's dialogue; empty where a judge saw something else than was asked for."""
    turn = row.columns["turn"]
    return (turn["premise"] or "") if turn and not row.columns["restated_prompt"] else ""


def operation(row: KeptRow, words: str, language: Language) -> str:
    """What a row's edit does: its turn's operation or its task; of one that an instruction alone decides, what that says."""
    turn = row.columns["turn"]
    if turn:
        return str(turn["op"])
    task = str(row.columns["task"])
    return operation_of(words, language) if task == INSTRUCT.name else task


def regions_of(row: KeptRow) -> list[tuple[str, Region]]:
    """Operation and region of each thing that a row is about."""
    return [
        (one["op"], Region(class_name=one["class_name"], bbox=tuple(one["bbox"]), mask=rle_of(one["mask"])))
        for one in row.columns["regions"] or ()
    ]


def rle_of(value: dict[str, object] | None) -> Rle | None:
    return Rle.model_validate(value) if value else None


def said(make: Callable[[Language], Found], languages: Sequence[Language]) -> dict[Language, Found]:
    """What can be made in each language.

    Raises:
        Untold: it can be made in none; says why of the first.
    """
    found: dict[Language, Found] = {}
    why: list[Untold] = []
    for language in languages:
        try:
            found[language] = make(language)
        except Untold as error:
            why.append(error)
    if not found:
        raise next((one for one in why if str(one) != NO_WORDS), why[0])
    return found


def languages_of(row: KeptRow, wanted: Sequence[Language]) -> list[Language]:
    """The languages in which a row is derived from: those that are wanted, else those that it is written in."""
    first = row.columns["lang"]
    return list(wanted) or sorted((one for one in LANGUAGES if words_of(row, one)), key=lambda one: one != first)


def _op(region_op: str, op: str) -> str:
    return region_op if region_op in TASKS and op == "hybrid" else op


def _each_once(regions: Sequence[Region]) -> list[Region]:
    return list({region_key(one): one for one in regions}.values())
