"""What a release costs: `python benchmarks/release.py [--rows N] [--kilobytes K] [--rounds R] [--folder DIR] [--json]`.

Beside it, on the same rows: pyarrow reading the row groups and writing them with the same settings and the same sync to disk.
A release reads every row twice, looks at the checksums of its pictures, hashes them, and hashes the files that it wrote; so the
floor has a second figure, with one more reading and these hashes. Each is a process of its own; the medians of the rounds and
the largest resident sets are shown, and the release's resident set for a tenth of the rows.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from PIL import Image  # noqa: E402

from benchmarks.dataset import FACTS  # noqa: E402
from comfy_nodes.core.records import EditRecord, RegionRecord, Score  # noqa: E402
from comfy_nodes.core.regions.rle import Rle  # noqa: E402
from driver.dataset.layouts.hf import HfLayout, parquet_writer  # noqa: E402
from driver.dataset.parts import FACTS as LISTING  # noqa: E402
from driver.dataset.rows import Pair, Row  # noqa: E402
from driver.dataset.shards import CONFIGS, DatasetFacts, settings_digest, write_config  # noqa: E402
from driver.disk import make_durable  # noqa: E402
from driver.release import main as release  # noqa: E402

MASK = Rle(size=(1024, 1024), counts="0" * 400)

WAYS = ("release", "pyarrow", "pyarrow and hashes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000, metavar="N", help="rows; default: 20000")
    parser.add_argument("--kilobytes", type=int, default=100, metavar="K", help="size of a picture; default: 100")
    parser.add_argument("--rounds", type=int, default=3, metavar="R", help="rounds; default: 3")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="disk to measure on; default: the temporary folder")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--way", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        print(json.dumps(_timed(options.way[0], Path(options.way[1]), Path(options.way[2]))))
        return 0
    if min(options.rows // 10, options.kilobytes, options.rounds) < 1:
        parser.error("take at least 10 rows, one kilobyte and one round")
    with tempfile.TemporaryDirectory(prefix="editpairs-benchmark-", dir=options.folder) as folder:
        figures = _figures(Path(folder), options.rows, options.kilobytes * 1000, options.rounds)
    heading = (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.machine()}, pyarrow {pa.__version__}, "
        f"{options.rows} rows of two pictures of {options.kilobytes} kB, median of {options.rounds}"
    )
    lines = [
        f"| {name} | {value:.2f} |" if value < 10 else f"| {name} | {value:.0f} |" for name, value in figures.items()
    ]
    shown = "\n".join([heading, "", "| what | figure |", "| --- | ---: |", *lines])
    print(json.dumps(figures, indent=1) if options.json else shown)
    return 0


def _figures(folder: Path, rows: int, size: int, rounds: int) -> dict[str, float]:
    _run(folder / "few", rows // 10, size)
    _run(folder / "many", rows, size)
    taken: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in (*WAYS[number % 3 :], *WAYS[: number % 3]):  # who is first finds another disk and cache
            taken[way].append(_apart(way, folder / "many", folder / "made"))
    walls = {way: statistics.median(one["wall"] for one in all_) for way, all_ in taken.items()}
    cpus = {way: statistics.median(one["cpu"] for one in all_) for way, all_ in taken.items()}
    return {
        **{f"rows/s, {way}": rows / wall for way, wall in walls.items()},
        **{f"CPU ms/row, {way}": 1000 * cpu / rows for way, cpu in cpus.items()},
        **{f"wall of a release against {way}": walls["release"] / walls[way] for way in WAYS[1:]},
        **{f"CPU of a release against {way}": cpus["release"] / cpus[way] for way in WAYS[1:]},
        **{f"resident MB, {way}": max(one["resident"] for one in all_) for way, all_ in taken.items()},
        f"resident MB, release of {rows // 10} rows": _apart("release", folder / "few", folder / "made")["resident"],
    }


def _apart(way: str, run: Path, made: Path) -> dict[str, float]:
    """Does it in a process of its own; what it made is removed."""
    os.sync()  # what others left to be written is not ours
    command = [sys.executable, __file__, "--way", way, str(run), str(made)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    shutil.rmtree(made)
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def _timed(way: str, run: Path, made: Path) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    if way == "release":
        assert release([str(run), "--output", str(made)]) == 0
    else:
        _copy(run, made, hashes=way != "pyarrow")
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    status = Path("/proc/self/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return {"wall": wall, "cpu": cpu, "resident": resident / 1e3}


def _copy(run: Path, made: Path, hashes: bool) -> None:
    made.mkdir()
    shards = sorted((run / "data").glob("*.parquet"))
    for path in shards if hashes else ():
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                found = file.read_row_group(group)
                for name in ("input_images", "output_images"):
                    for chunk in found[name].chunks:
                        for picture in chunk.flatten().field("bytes"):
                            data = picture.as_py()
                            Image.open(io.BytesIO(data)).verify()
                            hashlib.sha256(data).digest()
    for path in shards:
        place = made / path.name
        with pq.ParquetFile(path) as file, parquet_writer(place) as writer:
            for group in range(file.num_row_groups):
                writer.write_table(file.read_row_group(group))
        make_durable(place)
        if hashes:
            with place.open("rb") as written:
                hashlib.file_digest(written, "sha256")


def _run(output: Path, rows: int, size: int) -> None:
    """A finished run's folder, every row of a photo of its own."""
    layout = HfLayout()
    configs = {}
    for config, kept in CONFIGS.items():
        (output / config).mkdir(parents=True)
        configs[config] = write_config(
            _rows(rows if kept else 0), lambda row: _filled(row, size), layout, output / config, None
        )
    facts = DatasetFacts(layout="hf", settings=settings_digest(layout), configs=configs)
    (output / LISTING).write_text(facts.sealed().model_dump_json())


def _rows(count: int) -> Iterator[Row]:
    saved = [{"filename": "x.png", "subfolder": "run", "type": "output", "sha256": "0" * 64}]
    region = RegionRecord(op="remove", class_name="cup", bbox=(1.5, 2, 500, 600), mask=MASK)
    known = {
        "task": "remove", "input_images": saved, "output_images": saved, "verdict": "keep", "regions": [region],
        "prompt": "Remove the small cup in the lower-left of the image.", "edit_mask": MASK,
        "scores": [Score(name=f"pixel.score{number}", value=number / 7) for number in range(6)], "seed": 7, "width": 1024, "height": 1024,
    }  # fmt: skip
    for number in range(count):
        name = f"{number:020x}"
        source = {
            "source_id": f"{name}.jpg",
            "source_path": f"{name}.jpg",
            "source_sha256": hashlib.sha256(name.encode()).hexdigest(),
        }
        yield Row.of(EditRecord.model_validate({"key": name, **known, **source}).model_dump_json(), 1, FACTS)


def _filled(row: Row, size: int) -> Pair:
    noise = np.random.default_rng(int(row.key, 16))
    side = int((size / 3) ** 0.5)
    before, after = (_png(noise.integers(0, 256, (side, side, 3), np.uint8)) for _ in range(2))
    return Pair(row, [before], [after])


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


if __name__ == "__main__":
    sys.exit(main())
