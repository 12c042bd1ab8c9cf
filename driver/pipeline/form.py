"""Whether a run is one shard or many: decided when its folder begins, and kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import RunError
from ..inputs.source import Source
from ..journal import Journal
from ..options import RunOptions
from ..samples import Aim
from .folder import FORM

FIRST = 8
"""Photos of the first shard of a stage of a recipe, so that the stages behind it soon have something to do. Ours."""


@dataclass(frozen=True)
class Form:
    """That of a run of many shards."""

    size: int
    """Items of the input in a shard, at most."""
    share: tuple[int, int] = (0, 1)
    """i and n: only shards whose number leaves i when divided by n."""
    first: int | None = None
    """Items of the first shard, where they grow."""

    @property
    def shared(self) -> bool:
        """Whether other runs make the other shards."""
        return self.share[1] > 1

    @classmethod
    def asked(cls, options: RunOptions) -> Form:
        return cls(options.shard_size, options.shard or (0, 1))

    @classmethod
    def of_stage(cls, options: RunOptions) -> Form:
        """That of a stage of a recipe."""
        return cls(options.shard_size, first=FIRST)

    def noted(self) -> str:
        """As a folder's journal has it."""
        return json.dumps([self.size, self.share, *([] if self.first is None else [self.first])])

    @classmethod
    def read(cls, text: str) -> Form:
        """The other way round."""
        size, share, *first = json.loads(text)
        return cls(size, (share[0], share[1]), *first)


def form_of(journal: Journal, options: RunOptions, source: Source, aims: Sequence[Aim]) -> Form | None:
    """The form of a run of many shards; None of one shard. Decides it where the folder is new.

    Args:
        journal: the folder's.

    Raises:
        RunError: the folder has another one.
    """
    form = form_to_be(journal, options, source, aims)
    if form and journal.get(FORM) is None:
        journal.set(FORM, form.noted())
    return form


def form_of_stage(journal: Journal, options: RunOptions) -> Form:
    """The form of a stage of a recipe, which is many shards, however few photos there are.

    Args:
        journal: the stage's folder's.

    Raises:
        RunError: the folder has another one, or holds a run that is no stage of a recipe.
    """
    wanted, told = Form.of_stage(options), journal.get(FORM)
    if told is None and journal.get("graph") is not None:
        raise RunError(f"--output {options.output}: holds a run that is no recipe's; choose another folder")
    if told is not None:
        return _as_known(options, Form.read(told), wanted)
    journal.set(FORM, wanted.noted())
    return wanted


def form_to_be(journal: Journal | None, options: RunOptions, source: Source, aims: Sequence[Aim]) -> Form | None:
    """What `form_of` says, without taking it down.

    Args:
        journal: None where the folder is new.

    Raises:
        RunError: the folder has another one.
    """
    wanted, told = Form.asked(options), journal.get(FORM) if journal else None
    if journal and told is None and journal.get("graph") is not None:
        if options.shard:
            raise RunError(f"--output {options.output}: holds a run that is not cut into shards; choose another folder")
        return None
    if told is None:
        if not options.shard and not source.more_than(wanted.size, aims):
            return None
        return wanted
    return _as_known(options, Form.read(told), wanted)


def _as_known(options: RunOptions, known: Form, wanted: Form) -> Form:
    if known != wanted:
        raise RunError(
            f"--output {options.output}: holds {_said(known)}, and {_said(wanted)} is asked for; give the same or choose "
            "another folder"
        )
    return known


def _said(form: Form) -> str:
    if form.first is not None:
        return f"a recipe's stage, in shards of {form.size} photos at most (--recipe goes on with it)"
    more = f", share {form.share[0]}/{form.share[1]}" if form.shared else ""
    return f"shards of {form.size} photos{more}"
