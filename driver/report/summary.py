"""What a run came to, as counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Gives = Literal["edit pairs", "annotated photos", "instructions", "photos"]


@dataclass(frozen=True)
class Summary:
    """A run in figures."""

    workflow: str
    profile: str
    task: str
    samples: int
    kept: int
    rejected: int
    unscored: int
    failed: int
    pending: int
    failures: dict[str, int]
    """Failed samples by error type."""
    reasons: dict[str, int]
    """Rejected rows by reason, without its figures."""
    seconds: float
    """Spent editing, over all runs of the folder."""
    samples_per_second: float
    gives: Gives = "edit pairs"
    """What is kept."""
    vlm_calls: int = 0
    """Calls to VLM services, by the ledger of this machine: those of servers elsewhere are not in it."""
    vlm_usd: float = 0.0
    skipped: int = 0
    """Samples that their tasks cannot use, though nothing went wrong."""
    skips: dict[str, int] = field(default_factory=dict)
    """These by reason."""
    retired: int = 0
    """Rows that left the dataset as their input changed or is gone."""
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each input came to, where there are several: photos, their share of all and the one that was asked for, samples by
    how they ended, and skipped ones by reason."""
    dialogues: dict[str, int] = field(default_factory=dict)
    """How many dialogues were `planned`, `kept`, and of these kept `shorter` than planned; empty where the run makes none."""
