"""Keys: the one name of a sample, the same on every machine and in every run."""

from __future__ import annotations

import hashlib
import json

from .annotation import Region

KEY_LENGTH = 20


def sample_key(source_id: str, region: Region | None, task: str, slot: str = "") -> str:
    """Hash of what makes a sample that sample: its source, region, task and slot.

    Args:
        source_id: the source's relative id.
        region: the region that is edited; its content counts, not its place in a list.

    Returns:
        20 hexadecimal digits.
    """
    where = region.model_dump(mode="json", include={"class_name", "kind", "bbox", "mask"}) if region else None
    text = json.dumps([source_id, where, task, slot], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def sample_seed(run_seed: int, key: str, attempt: int) -> int:
    """The seed of one attempt at a sample, 0 to 2**53 - 1 (what JavaScript holds exactly)."""
    digest = hashlib.sha256(f"{run_seed}/{key}/{attempt}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 11
