"""Which kinds of edit are written for which region: as even as quotas and photos allow.

A node sees one sample and cannot know that a thousand others were given the same task. UnicEdit-10M as released has
528,872 rows of its commonest sub-task and 125 of its rarest (paper); here whatever is rarest goes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from comfy_nodes.core.instructions.offering import obstacle
from comfy_nodes.core.instructions.routing import accepts
from comfy_nodes.core.records import SampleFailure
from comfy_nodes.core.tasks import Task, task_named
from comfy_nodes.core.taxonomy import TAXONOMY, Kind, kind_of

from ..errors import RunError
from ..samples import Planned, Sample, unusable


@dataclass(frozen=True)
class Wanted:
    """A kind of edit to write for, and of how many regions at most."""

    kind: Kind
    most: int | None

    @property
    def task(self) -> Task:
        return task_named(self.kind.task)

    @property
    def name(self) -> str:
        """What tells its samples from others: its row's id, or of ImgEdit's own tasks the task."""
        return self.subtask or self.task.name

    @property
    def subtask(self) -> str:
        """The row's id; empty of ImgEdit's own tasks, which need none."""
        return "" if self.kind.scheme == "imgedit" else self.kind.id


def wanted_kinds(text: str) -> list[Wanted]:
    """Reads `remove=100,unicedit/Texture Editing=50,style`.

    Raises:
        RunError: a kind that is not in the taxonomy or cannot be made, or a number that is none.
    """
    found = []
    for part in text.split(","):
        name, equals, number = part.strip().partition("=")
        if equals and not (number.isdigit() and int(number)):
            raise RunError(f"--kinds {part.strip()}: write it as KIND or KIND=N with a number of 1 or more")
        row = TAXONOMY.get(name)
        try:
            kind = kind_of((row.task if row else None) or name, name if row else "")
        except ValueError as error:
            raise RunError(f"--kinds {name}: {error}") from None
        found.append(Wanted(kind, int(number) if equals else None))
    return found


class Quotas:
    """Counts what was given out, and gives out next what is furthest behind."""

    def __init__(self, wanted: Iterable[Wanted], per_region: int):
        """
        Args:
            per_region: kinds of edit for one region at most.
        """
        self.wanted = tuple(wanted)
        self._per_region = per_region
        self._given: Counter[str] = Counter()

    @classmethod
    def of_shard(cls, wanted: Iterable[Wanted], per_region: int, index: int, shards: int) -> Quotas:
        """What shard `index` of so many gives out of a run's quotas: all shards together give out the whole."""
        parts = (
            replace(one, most=one.most and one.most * (index + 1) // shards - one.most * index // shards)
            for one in wanted
        )
        return cls(parts, per_region)

    @classmethod
    def of_part(cls, wanted: Iterable[Wanted], per_region: int, most: Mapping[str, int]) -> Quotas:
        """What a shard gives out that has quotas of its own, by the name of each kind."""
        return cls((replace(one, most=most.get(one.name, one.most)) for one in wanted), per_region)

    def choose(self, suitable: Iterable[Wanted]) -> list[Wanted]:
        """Of the kinds that suit a region, those to write for; none where all their quotas are full."""
        open_kinds = [one for one in suitable if one.most is None or self._given[one.kind.id] < one.most]
        chosen = sorted(open_kinds, key=self._filled)[: self._per_region]
        self._given.update(one.kind.id for one in chosen)
        return chosen

    def offer(self, sample: Sample, routed: Collection[str] | None) -> Planned:
        """A photo with the kinds that its writer may choose among: those that its regions allow, and a router.

        Args:
            routed: what a router accepted; None where none has looked at it.
        """
        suited = [
            one
            for one in self.wanted
            if not obstacle(one.kind, sample.annotation.regions) and (routed is None or accepts(routed, one.kind))
        ]
        kinds = tuple(one.kind.id for one in self.choose(suited))
        if not kinds:
            why = "were offered as often as asked for" if suited else "are not for it, as its regions or its router say"
            failure = SampleFailure("input", "NoKind", f"all kinds asked for {why}", skipped=True)
            return unusable(sample.annotation.path, failure)
        return replace(sample, annotation=replace(sample.annotation, offered=kinds))

    def _filled(self, one: Wanted) -> float:
        given = self._given[one.kind.id]
        return given / one.most if one.most else float(given)
