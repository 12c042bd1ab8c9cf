"""Finished runs to release, and what a release holds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from driver.dataset.spool import Spool
from driver.journal import Journal
from driver.release import main
from driver.releases.manifest import Manifest
from tests.unit.conftest import Run, filed_record, keyed_sample


def sha(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


@dataclass(frozen=True)
class Runs:
    """Makes finished runs below a folder."""

    folder: Path

    def make(self, name: str, rows: dict[str, dict[str, Any]], layout: str = "hf", shard: str = "") -> Path:
        """
        Args:
            rows: by key, each with fields of its record; `before` and `after` are its pictures' files.
            shard: which of a run of many; empty in a run of one.
        """
        output = self.folder / name
        path = output / "shards" / f"{shard}.sqlite" if shard else output / "run.sqlite"
        path.parent.mkdir(parents=True, exist_ok=True)
        journal = Journal(path)
        run = Run(output, journal, Spool(output / ".work" / f"spool{shard}"), keyed_sample, filed_record, shard)
        for key, fields in rows.items():
            self._add(run, key, **fields)
        if shard:
            run.commit(layout)
        else:
            run.finish(layout)
        journal.close()
        return output

    def _add(
        self, run: Run, key: str, before: Sequence[bytes] = (), after: bytes = b"", verdict: str = "keep", **fields: Any
    ) -> None:
        pictures = {"input": before or (run.png(key, "input"),), "output": (after or run.png(key, "output"),)}
        for role, several in pictures.items():
            for number, data in enumerate(several):
                run.spool.put(key, role, number, data)
        image = {"filename": "x.png", "subfolder": "run", "type": "output", "sha256": "0" * 64}
        known = {
            "source_id": f"{key}.jpg",
            "source_path": f"{key}.jpg",
            "source_sha256": sha(f"{key}.jpg"),
            "input_images": [image] * len(pictures["input"]),
        }
        run.journal.enrol([keyed_sample(key)], None)
        run.journal.done(key, [run.filed(key, verdict, **(known | fields))], 0.1)


def go(*words: object, status: int = 0) -> None:
    """Runs the command."""
    assert main([str(word) for word in words]) == status


def manifest(release: Path) -> Manifest:
    return Manifest.model_validate_json((release / "manifest.json").read_bytes())


def table(release: Path, name: str) -> list[dict[str, Any]]:
    """A table of a release, row by row."""
    (path,) = release.glob(f"{name}-*.parquet")
    return pq.read_table(path).to_pylist()


def rows(release: Path, split: str = "*") -> list[dict[str, Any]]:
    found = sorted((release / "data").glob(f"{split}-*.parquet"))
    return [row for path in found for row in pq.read_table(path).to_pylist()]


def keys(release: Path, split: str = "*") -> list[str]:
    return sorted(row["key"] for row in rows(release, split))


def left_out(release: Path) -> dict[str, str]:
    """Reasons by key."""
    return {row["key"]: row["reason"] for row in table(release, "left_out")}


def splits(release: Path) -> dict[str, str]:
    """Of each row by its key, as its file says."""
    return {key: split for split in ("train", "validation", "test") for key in keys(release, split)}
