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


@dataclass(frozen=True)
class Form:
    """That of a run of many shards."""

    size: int
    """Items of the input in a shard."""
    share: tuple[int, int] = (0, 1)
    """i and n: only shards whose number leaves i when divided by n."""

    @property
    def shared(self) -> bool:
        """Whether other runs make the other shards."""
        return self.share[1] > 1

    @classmethod
    def asked(cls, options: RunOptions) -> Form:
        return cls(options.shard_size, options.shard or (0, 1))


def form_of(journal: Journal, options: RunOptions, source: Source, aims: Sequence[Aim]) -> Form | None:
    """The form of a run of many shards; None of one shard. Decides it where the folder is new.

    Args:
        journal: the folder's.

    Raises:
        RunError: the folder has another one.
    """
    form = form_to_be(journal, options, source, aims)
    if form and journal.get(FORM) is None:
        journal.set(FORM, json.dumps([form.size, form.share]))
    return form


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
    size, share = json.loads(told)
    known = Form(size, (share[0], share[1]))
    if known != wanted:
        raise RunError(
            f"--output {options.output}: holds {_said(known)}, and {_said(wanted)} is asked for; give the same or choose "
            "another folder"
        )
    return known


def _said(form: Form) -> str:
    return f"shards of {form.size} photos" + (f", share {form.share[0]}/{form.share[1]}" if form.shared else "")
