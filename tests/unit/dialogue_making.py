"""Dialogues as a run leaves them in its journal and its spool: a sample and a record of each turn, states by their numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from comfy_nodes.core.records import SampleFailure, TurnRecord
from driver.dataset.dataset import write_dataset
from driver.dataset.rows import RunFacts
from driver.report.figures import RowStatistics
from driver.report.page import write_card
from driver.report.summary import Summary

RUN_FACTS = RunFacts("content_memory", "a" * 64, "b" * 64, "classical")
SUMMARY = Summary("content_memory", "classical", "content_memory", 3, 2, 1, 0, 0, 0, {}, {}, 1.0, 1.0)
ENVIRONMENT = {"editpairs": "0.1.0", "comfyui": "0.30.0"}
SIDE = 40
"""Of pictures: parquet keeps smaller ones in its statistics too, where a count would find them."""

KEEP = ("keep", "keep", "keep")


def state(run: Any, dialogue: str, number: int) -> bytes:
    """The picture of a state: the one before turn 1 is state 0."""
    return bytes(run.png(dialogue, f"state{number}", SIDE))


def converse(
    run: Any,
    dialogue: str,
    verdicts: Sequence[str] = KEEP,
    bases: Sequence[int] = (0, 1, 2),
    task: str = "content_memory",
    picture: Callable[[int], bytes] | None = None,
    **fields: Any,
) -> None:
    """Finishes a dialogue's turns; one that has no verdict failed, and those behind it are skipped.

    Args:
        picture: gives that of a state; by default as `state`.
    """
    shown = picture or (lambda number: state(run, dialogue, number))
    turns = range(1, len(bases) + 1)
    run.journal.enrol([run.sample_of(f"{dialogue}~{turn - 1}") for turn in turns], None)
    for turn, base in zip(turns, bases, strict=True):
        key = f"{dialogue}~{turn - 1}"
        if turn > len(verdicts):
            skipped = turn > len(verdicts) + 1
            run.journal.failed(
                key, SampleFailure("edit", "DialogueEnded" if skipped else "Oops", "no memory", skipped=skipped)
            )
            continue
        run.spool.put(key, "input", 0, shown(base))
        run.spool.put(key, "output", 0, shown(turn))
        told = TurnRecord(dialogue=dialogue, number=turn, of=len(bases), base=base, op="alter", premise="Keep it red.")
        why = {"reject_reason": "too dark: 3"} if verdicts[turn - 1] == "reject" else {}
        said = {"task": task, "prompt": f"Turn {turn}.", "turn": told, **why, **fields}
        record = run.filed(key, verdicts[turn - 1], **said)
        run.journal.done(key, [record], 0.1)


def finish(run: Any, layout: str = "hf") -> None:
    write_dataset(run.journal, run.spool, run.part, RUN_FACTS, layout)
    write_card(run.output, SUMMARY, ENVIRONMENT, RowStatistics.of_dataset(run.output))
