"""How fast a finished run becomes parquet, and what memory that takes: `python benchmarks/dataset.py [--json]`.

Speed: the real `write_dataset` turns a journal and a spool of PNG-sized files into shards. Beside it, on the same bytes
with the same parquet settings and the same sync to disk: the plain way (`Table.from_pylist`, row group by row group), and
the floor, pyarrow writing tables that lie in memory already. Ours also reads the images and compares their hashes, which
is measured alone, too. Each round runs all four; medians are shown.

Memory: the largest resident set of a process of its own that finishes N rows with small images, and finishes them again
with every image read back out of the shards, at two numbers of rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402

from comfy_nodes.core.records import EditRecord, RegionRecord, Score  # noqa: E402
from comfy_nodes.core.regions.rle import Rle  # noqa: E402
from driver.dataset.dataset import write_dataset  # noqa: E402
from driver.dataset.layouts.hf import HfLayout, parquet_writer  # noqa: E402
from driver.dataset.parts import Part  # noqa: E402
from driver.dataset.rows import SCHEMA, Pair, Row, RunFacts, image_name, table  # noqa: E402
from driver.dataset.spool import Spool  # noqa: E402
from driver.disk import make_durable  # noqa: E402
from driver.journal import Journal  # noqa: E402

FACTS = RunFacts("remove", "a" * 64, "b" * 64, "full")

TINY = 400
"""Bytes of an image where memory is measured: what grows with the rows is not their images."""


@dataclass(frozen=True)
class Taken:
    """Time that something took, seconds."""

    wall: float
    cpu: float
    """Of all threads; what others do on the machine does not show in it."""

    @classmethod
    def now(cls) -> Taken:
        return cls(time.perf_counter(), time.process_time())

    def __add__(self, other: Taken) -> Taken:
        return Taken(self.wall + other.wall, self.cpu + other.cpu)

    def __sub__(self, other: Taken) -> Taken:
        return Taken(self.wall - other.wall, self.cpu - other.cpu)


class Canned(Spool):
    """A spool that has the same small image for every row, until it is cleared."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self._image: bytes | None = _tiny()

    def get(self, key: str, role: str, number: int) -> bytes | None:
        return self._image

    def clear(self) -> None:
        self._image = None


def _tiny() -> bytes:
    return np.random.default_rng(0).bytes(TINY)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=240, metavar="N", help="rows in a round; default: 240")
    parser.add_argument("--kilobytes", type=int, default=1400, metavar="K", help="size of an image; default: 1400")
    parser.add_argument("--rounds", type=int, default=5, metavar="R", help="rounds; default: 5")
    parser.add_argument(
        "--memory-rows", type=int, default=100_000, metavar="N", help="rows for the memory; also a tenth of it"
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="disk to measure on; default: the temporary folder")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        print(json.dumps(_finish_twice(options.memory_of)))
        return 0
    if min(options.rows, options.kilobytes, options.rounds) < 1 or options.memory_rows < 10:
        parser.error("take at least one row, kilobyte and round, and 10 rows for the memory")
    with tempfile.TemporaryDirectory(prefix="editpairs-benchmark-", dir=options.folder) as folder:
        figures = _speed(Path(folder), options) | _memory(Path(folder), options.memory_rows)
    print(json.dumps(figures, indent=1) if options.json else _table(figures, options))
    return 0


def _speed(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    size = options.kilobytes * 1000
    bytes_a_round = 2 * size * options.rows
    ours, plain, floor, checks = list[Taken](), list[Taken](), list[Taken](), list[Taken]()
    for number in range(options.rounds):
        here = folder / "speed"
        here.mkdir()
        spool = Spool(here / "spool")
        noise = np.random.default_rng(number)
        hashes: dict[str, list[str]] = {}
        for key in _keys(options.rows):
            for role in ("input", "output"):
                image = noise.bytes(size)
                (spool.folder / f"{key}.{role}0.png").write_bytes(image)
                hashes.setdefault(key, []).append(hashlib.sha256(image).hexdigest())
        _journal(here / "run.sqlite", options.rows, hashes.__getitem__)
        kinds = [(floor, _write_ready), (plain, _write_plainly), (ours, _write_ours), (checks, _read_and_hash)]
        first = number % len(kinds)
        for seconds, write in kinds[first:] + kinds[:first]:  # who is first finds another disk and cache
            seconds.append(write(here, Lasting(here / "spool")))
        shutil.rmtree(here)
    walls = {
        "ours": ours,
        "plain: Table.from_pylist": plain,
        "floor: pyarrow, tables ready in memory": floor,
        "reading and hashing the images alone": checks,
    }
    rates = {
        f"rows/s, {name}": options.rows / statistics.median(one.wall for one in all_) for name, all_ in walls.items()
    }
    cpus = {
        f"CPU ms/row, {name}": 1000 * statistics.median(one.cpu for one in all_) / options.rows
        for name, all_ in walls.items()
    }
    rounds = list(zip(floor, checks, ours, strict=True))
    return {
        **rates,
        "MB/s, ours": rates["rows/s, ours"] * bytes_a_round / options.rows / 1e6,
        **cpus,
        "parquet_vs_pyarrow": statistics.median(alone.wall / one.wall for alone, _, one in rounds),
        "parquet_vs_pyarrow, CPU": statistics.median(alone.cpu / one.cpu for alone, _, one in rounds),
        "the same, beside the floor that reads and hashes too": statistics.median(
            (alone.cpu + check.cpu) / one.cpu for alone, check, one in rounds
        ),
    }


class Lasting(Spool):
    """A spool that keeps its images for the next measurement."""

    def clear(self) -> None:
        """Deleting them is no part of the comparison."""


def _write_ours(folder: Path, spool: Spool) -> Taken:
    journal = Journal(folder / "run.sqlite")
    os.sync()  # what others left to be written is not ours
    begun = Taken.now()
    write_dataset(journal, spool, Part(folder), FACTS)
    seconds = Taken.now() - begun
    journal.close()
    shutil.rmtree(folder / "data")
    return seconds


def _write_plainly(folder: Path, spool: Spool) -> Taken:
    path = folder / "plain.parquet"
    os.sync()
    begun = Taken.now()
    with parquet_writer(path) as writer:
        for pairs in _groups(folder, spool):
            writer.write_table(pa.Table.from_pylist([_as_dict(pair) for pair in pairs], schema=SCHEMA))
    make_durable(path)
    seconds = Taken.now() - begun
    path.unlink()
    return seconds


def _write_ready(folder: Path, spool: Spool) -> Taken:
    """Only what pyarrow and the disk take: row groups are made while the clock stands."""
    path = folder / "ready.parquet"
    os.sync()
    seconds = Taken(0.0, 0.0)
    with parquet_writer(path) as writer:
        for pairs in _groups(folder, spool):
            ready = table(pairs)
            begun = Taken.now()
            writer.write_table(ready)
            seconds += Taken.now() - begun
        begun = Taken.now()
    make_durable(path)
    seconds += Taken.now() - begun
    path.unlink()
    return seconds


def _read_and_hash(_folder: Path, spool: Spool) -> Taken:
    """What it takes to see that images are their records' own, whoever writes them."""
    begun = Taken.now()
    for path in spool.folder.iterdir():
        hashlib.sha256(path.read_bytes()).digest()
    return Taken.now() - begun


def _groups(folder: Path, spool: Spool) -> Iterator[list[Pair]]:
    """The row groups that ours has, too."""
    journal = Journal(folder / "run.sqlite")
    group: list[Pair] = []
    for text, attempt in journal.records(kept=True):
        row = Row.of(text, attempt, FACTS)
        images = [(spool.folder / f"{row.key}.{role}0.png").read_bytes() for role in ("input", "output")]
        group.append(Pair(row, images[:1], images[1:]))
        if sum(pair.size for pair in group) >= HfLayout.group_size:
            yield group
            group = []
    if group:
        yield group
    journal.close()


def _as_dict(pair: Pair) -> dict[str, object]:
    images = {
        f"{role}_images": [{"bytes": data, "path": image_name(pair.row.key, role, n)} for n, data in enumerate(found)]
        for role, found in (("input", pair.inputs), ("output", pair.outputs))
    }
    return {**json.loads(pair.row.line), **images}


def _memory(folder: Path, rows: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    for count in (rows // 10, rows):
        here = folder / f"memory{count}"
        here.mkdir()
        same = [hashlib.sha256(_tiny()).hexdigest()] * 2
        _journal(here / "run.sqlite", count, lambda _key, same=same: same)
        command = [sys.executable, __file__, "--memory-of", str(here)]
        said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        figures |= {f"{name}, {count} rows": value for name, value in said.items()}
        shutil.rmtree(here)
    return figures


def _finish_twice(folder: Path) -> dict[str, float]:
    """Runs in a process of its own."""
    journal = Journal(folder / "run.sqlite")
    spool = Canned(folder / "spool")
    rows = sum(1 for _ in journal.records(kept=True))
    begun = time.perf_counter()
    write_dataset(journal, spool, Part(folder), FACTS)
    first = rows / (time.perf_counter() - begun)
    peak = _resident()
    # Another fact in every row: all shards are written anew, with the images of the ones before.
    write_dataset(journal, spool, Part(folder), replace(FACTS, workflow_sha256="c" * 64))
    return {
        "resident MB, finish": peak,
        "resident MB, finished again out of the shards": _resident(),
        "small rows/s": first,
    }


def _resident() -> float:
    """The largest resident set so far, MB."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says begins with the parent's
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _keys(count: int) -> Iterator[str]:
    return (f"{number:020x}" for number in range(count))


def _journal(path: Path, rows: int, hashes: Callable[[str], list[str]]) -> None:
    """A journal whose samples are all done.

    Args:
        hashes: from a key to the SHA-256 of its images before and after.
    """
    journal = Journal(path)
    journal._db.execute("BEGIN")
    journal._db.executemany(
        "INSERT INTO samples (key, position, enrolment, source_id, state, attempts) VALUES (?, ?, 1, ?, 'done', 1)",
        ((key, number, f"{key}.jpg") for number, key in enumerate(_keys(rows))),
    )
    journal._db.executemany(
        "INSERT INTO records (key, sample, verdict, attempt, record) VALUES (?, ?, 'keep', 1, ?)",
        ((key, key, _record(key, *hashes(key))) for key in _keys(rows)),
    )
    journal._db.execute("COMMIT")
    journal.close()


def _record(key: str, before: str, after: str) -> str:
    mask = Rle(size=(1024, 1024), counts="0" * 400)
    region = RegionRecord(op="remove", class_name="cup", bbox=(1.5, 2, 500, 600), mask=mask)
    saved = [{"filename": f"{key}.png", "subfolder": "run", "type": "output", "sha256": one} for one in (before, after)]
    return EditRecord.model_validate(
        {
            "key": key, "task": "remove", "input_images": saved[:1], "output_images": saved[1:],
            "prompt": "Remove the small cup in the lower-left of the image.", "verdict": "keep",
            "scores": [Score(name=f"pixel.score{number}", value=number / 7) for number in range(6)],
            "regions": [region], "edit_mask": mask, "source_id": f"{key}.jpg", "source_path": f"photos/{key}.jpg",
            "source_sha256": "f" * 64, "seed": 7, "width": 1024, "height": 1024,
        }
    ).model_dump_json()  # fmt: skip


def _table(figures: dict[str, float], options: argparse.Namespace) -> str:
    heading = (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.machine()}, pyarrow {pa.__version__}, "
        f"{options.rows} rows of two images of {options.kilobytes} kB, median of {options.rounds}"
    )
    rows = [
        f"| {name} | {value:.2f} |" if value < 10 else f"| {name} | {value:.0f} |" for name, value in figures.items()
    ]
    return "\n".join([heading, "", "| what | figure |", "| --- | ---: |", *rows])


if __name__ == "__main__":
    sys.exit(main())
