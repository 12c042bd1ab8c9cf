"""What a run is asked for: one record, read from the command line once and handed on as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from comfy_nodes.core.weights.records import Policy


@dataclass(frozen=True)
class RunOptions:
    """The options of `batch.py`; its help says what each is."""

    workflow: str
    output: Path
    publish_to: str | None = None
    """Where in a store the finished folder goes; None where it stays."""
    input: str | None = None
    image_root: str | None = None
    layout: Literal["hf", "imgedit", "wds"] = "hf"
    regions: Literal["all", "one"] = "all"
    kinds: str | None = None
    kinds_per_region: int = 1
    annotate: Literal["auto", "never"] = "auto"
    profile: Literal["auto", "full", "classical"] = "auto"
    server: str | None = None
    servers: int | None = None
    samples_per_prompt: int | None = None
    attempts: int = 1
    licence_policy: Policy = "any"
    budget_usd: float | None = None
    metrics_port: int | None = None
    recycle: int = 5000
    min_free_gb: float = 1.0
    limit: int | None = None
    shard_size: int = 1000
    """Photos of the input that are planned, edited and written together, at most."""
    shard: tuple[int, int] | None = None
    """i and n: only shards whose number leaves i when divided by n; None for all."""
    seed: int = 0
    set: tuple[str, ...] = ()
    judge: str | None = None
    retry_failed: str | None = None
    """An error type, "" for all; None where failed samples stay failed."""
    keep_stale: bool = False
    max_failed: str = "0"
    dry_run: bool = False

    @classmethod
    def of(cls, read: Mapping[str, Any]) -> RunOptions:
        """The record of what an argument parser read."""
        return cls(**{field.name: read[field.name] for field in fields(cls)})
