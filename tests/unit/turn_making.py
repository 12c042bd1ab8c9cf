"""Dialogues as a run leaves them: a sample and a row of each turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.unit.conftest import Run


@dataclass(frozen=True)
class Said:
    """A turn."""

    prompt: str
    base: int | None = None
    """None for the state before it."""
    op: str = "alter"
    verdict: str = "keep"
    reject_reason: str = ""
    editor_prompt: str | None = None
    restated_prompt: str | None = None
    attempt: int = -1
    """Of a rejected try, its number; others have none."""
    class_name: str = "cup"


def state(dialogue: str, number: int) -> str:
    """What a state's pixels follow from, for `Run.png` and `Run.pixels`, with the role `state`."""
    return f"{dialogue}:{number}"


def add_dialogue(
    run: Run,
    dialogue: str,
    task: str,
    *turns: Said,
    of: int = 0,
    premise: str = "",
    first: int = 1,
    picture: Callable[[str], bytes] | None = None,
    **fields: Any,
) -> None:
    """Finishes a dialogue's turns, each with its tries before it.

    Args:
        of: turns that were planned; 0 for as many as were made.
        first: number of the first turn that is given.
        picture: makes a state's picture by what `state` says, a try's with `/` and its number behind; by default as `Run.png`.
    """
    shown = picture or (lambda name: run.png(name, "state"))
    made: dict[int, list[Said]] = {}
    number = first
    for said in turns:
        made.setdefault(number, []).append(said)
        number += said.attempt < 0
    for number, tries in made.items():
        sample = f"{dialogue}~{number - 1}"
        run.journal.enrol([run.sample_of(sample)], None)
        records = []
        for said in tries:
            key = sample if said.attempt < 0 else f"{sample}~try{said.attempt}"
            base = number - 1 if said.base is None else said.base
            after = state(dialogue, number) + (f"/{said.attempt}" if said.attempt >= 0 else "")
            run.spool.put(key, "input", 0, shown(state(dialogue, base)))
            run.spool.put(key, "output", 0, shown(after))
            turn = {"dialogue": dialogue, "number": number, "of": of or first - 1 + len(made), "base": base, "op": said.op,
                    "premise": premise, "mask_from": "photo" if number == 1 else "carried"}  # fmt: skip
            region = {"op": said.op, "class_name": said.class_name, "bbox": [1, 2, 5, 6], "mask": None}
            words = {"prompt": said.prompt, "editor_prompt": said.editor_prompt, "restated_prompt": said.restated_prompt,
                     "reject_reason": said.reject_reason, "initial_prompt": said.prompt}  # fmt: skip
            records.append(run.filed(key, said.verdict, task=task, turn=turn, regions=[region], **{**words, **fields}))
        run.journal.done(sample, records, 0.1)
