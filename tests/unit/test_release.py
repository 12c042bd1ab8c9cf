"""Releases of finished runs: what is in one, what is not and why, and that it is never changed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from driver.release import main
from driver.releases.manifest import Manifest

Make = Callable[..., Path]


@pytest.fixture
def runs(tmp_path: Path, sample_of: Any, filed: Any) -> Make:
    """A function that makes a finished run's folder of rows: fields of each by its key."""
    from driver.dataset.spool import Spool
    from driver.journal import Journal
    from tests.unit.conftest import Run

    def make(name: str, layout: str = "hf", **rows: dict[str, Any]) -> Path:
        output = tmp_path / name
        output.mkdir()
        journal = Journal(output / "run.sqlite")
        run = Run(output, journal, Spool(output / ".work" / "spool"), sample_of, filed)
        for key, fields in rows.items():
            run.add(key, **{"source_id": f"{key}.jpg", "source_sha256": sha(key), **fields})
        run.finish(layout)
        journal.close()
        return output

    return make


def sha(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def go(*words: object, status: int = 0) -> None:
    assert main([str(word) for word in words]) == status


def manifest(folder: Path) -> Manifest:
    return Manifest.model_validate_json((folder / "manifest.json").read_bytes())


def rows(folder: Path, split: str = "*") -> list[dict[str, Any]]:
    return [
        row for path in sorted((folder / "data").glob(f"{split}-*.parquet")) for row in pq.read_table(path).to_pylist()
    ]


def keys(folder: Path, split: str = "*") -> list[str]:
    return sorted(row["key"] for row in rows(folder, split))


def test_first(runs: Make, tmp_path: Path) -> None:
    out = runs("out", a={}, b={}, c={"verdict": "reject"})
    go(out, "--output", tmp_path / "r")
    assert keys(tmp_path / "r/v1.0.0") == ["a", "b"]
    go(out, "--output", tmp_path / "r")
    go("--verify", tmp_path / "r/v1.0.0")
