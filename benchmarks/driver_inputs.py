"""Photos and annotation files that the driver's benchmark runs on, and inputs of sizes that nobody
could wait for: `python benchmarks/driver_inputs.py [--rows N] [--json]` says how soon the first sample is planned, and how
fast photos with masks are.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from comfy_nodes.core.regions.annotation import region_of_mask
from comfy_nodes.core.tasks import task_named
from driver.inputs.annotation import AnnotationReader
from driver.inputs.cutting import KnownShard
from driver.inputs.find import find_input
from driver.inputs.source import Source
from driver.journal import Journal
from driver.samples import Aim, Sample

ROWS = 10_000_000
FILES = 100_000
"""Photos of a tar and of a folder, at most."""

MASKED = 3000
"""Photos with masks."""

SHARDS = 10_000
"""Into so many an input is cut."""

TABLES = 100
"""Files that the rows of a parquet input lie in."""


def make_photos(folder: Path, count: int, side: int) -> None:
    """Square photos of a red disc on a patterned ground, `side` pixels each way, with mask and instruction beside each."""
    folder.mkdir(parents=True)
    y, x = np.mgrid[:side, :side]
    for number in range(count):
        ground = np.stack([np.sin(x / 7 + number), np.cos(y / 9), np.sin((x + y) / 11)], axis=-1) * 40 + 110
        pixels = ground + np.random.default_rng(number).normal(0, 6, (side, side, 3))
        disc = (x - side * 0.4 - number % 20) ** 2 + (y - side * 0.5) ** 2 < (side * 0.14) ** 2
        pixels[disc] = (220, 40, 40)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"photo{number:05d}.png")
        Image.fromarray(disc).save(folder / f"photo{number:05d}.mask.png")
        (folder / f"photo{number:05d}.txt").write_text("Remove the disc.", encoding="utf-8")


def photos_in(folder: Path) -> list[Path]:
    """The photos without their masks, by name."""
    return sorted(path for path in folder.glob("*.png") if not path.name.endswith(".mask.png"))


PHOTOS = 8
PHOTO_SIDE = 512


def make_rows(folder: Path, count: int) -> Path:
    """An ImgEdit annotation with `count` lines over a few photos; each line has a region of its own.

    Returns:
        The JSONL file; the photos lie beside it.
    """
    folder.mkdir(parents=True)
    for number in range(PHOTOS):
        Image.linear_gradient("L").resize((PHOTO_SIDE, PHOTO_SIDE)).rotate(number).save(folder / f"photo{number}.png")
    path = folder / "rows.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(_row(number) + "\n")
    return path


def _row(number: int) -> str:
    photo, place = number % PHOTOS, number // PHOTOS
    left, place = place % 300, place // 300
    top, place = place % 300, place // 300
    size = 100 + place
    item = {
        "path": f"photo{photo}.png",
        "resolution": {"width": PHOTO_SIDE, "height": PHOTO_SIDE},
        "segmentation": {
            "object": [
                {
                    "class_name": "cup",
                    "bbox": [left, top, left + size, top + size],
                    "score": 0.9,
                    "clip_score": 0.9,
                    "aes_score": 5.0,
                }
            ],
            "background": [],
        },
    }
    return json.dumps(item, separators=(",", ":"))


def make_tables(folder: Path, count: int) -> Path:
    """Parquet files of rows that name their photo; all have the same rows."""
    folder.mkdir(parents=True)
    Image.linear_gradient("L").resize((PHOTO_SIDE, PHOTO_SIDE)).save(folder / "photo.png")
    rows = count // TABLES
    box, names = [10.0, 10.0, 200.0, 200.0], [f"row{number}" for number in range(rows)]
    columns = {"path": ["photo.png"] * rows, "id": names, "bbox": [box] * rows, "class_name": ["cup"] * rows}
    pq.write_table(pa.table(columns), folder / "00000.parquet", row_group_size=10_000)
    for number in range(1, TABLES):
        shutil.copy(folder / "00000.parquet", folder / f"{number:05d}.parquet")
    return folder / "*.parquet"


def make_tar(path: Path, count: int) -> Path:
    """A webdataset of small photos with an annotation each."""
    path.parent.mkdir(parents=True)
    photo = _small_photo()
    told = json.dumps({"bbox": [2, 2, 20, 20], "class_name": "cup"}).encode()
    with tarfile.open(path, "w") as tar:
        for number in range(count):
            for end, data in (("jpg", photo), ("json", told)):
                member = tarfile.TarInfo(f"{number:07d}.{end}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return path


def make_folder(folder: Path, count: int) -> Path:
    """Small photos without anything beside them."""
    folder.mkdir(parents=True)
    photo = _small_photo()
    for number in range(count):
        (folder / f"{number:07d}.jpg").write_bytes(photo)
    return folder


def _small_photo() -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((32, 32)).save(buffer, "JPEG")
    return buffer.getvalue()


def make_masks(folder: Path, count: int, masks: int = 6) -> Path:
    """An annotation of photos of 1024 x 768, each a file of its own, whose masks have wavy edges.

    Args:
        masks: of a photo; the last of several is the background's, the others are objects' that an edit may take or not,
            as their scores say. The only one of a photo is an object's that an edit takes.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for number in range(count):
        photo = folder / f"photo{number}.jpg"
        if number < PHOTOS:
            Image.linear_gradient("L").resize((1024, 768)).rotate(number).save(photo)
        else:
            photo.hardlink_to(folder / f"photo{number % PHOTOS}.jpg")
    pool = [_wavy(rng) for _ in range(200)]
    with (folder / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(count):
            found = [dict(pool[one], class_name=f"thing {one}") for one in rng.choice(len(pool), masks, replace=False)]
            if masks == 1:
                found[0]["clip_score"] = 0.9
            objects = max(1, masks - 1)
            item = {
                "path": f"photo{number}.jpg",
                "resolution": {"width": 1024, "height": 768},
                "segmentation": {"object": found[:objects], "background": found[objects:]},
            }
            file.write(json.dumps(item) + "\n")
    return folder / "rows.jsonl"


def _wavy(rng: np.random.Generator) -> dict[str, object]:
    x, y = rng.uniform(200, 800), rng.uniform(200, 560)
    down, right = np.mgrid[:768, :1024]
    turn = np.arctan2(down - y, right - x)
    radius = rng.uniform(60, 190) * (1 + 0.05 * sum(np.sin(turn * rng.integers(3, 30)) for _ in range(4)))
    found = region_of_mask(np.hypot(down - y, right - x) < radius)
    assert found.mask
    scores = {"score": rng.uniform(0.1, 0.95), "clip_score": rng.uniform(0.4, 0.9), "aes_score": rng.uniform(3, 7)}
    return {"bbox": found.bbox, "mask": found.mask.counts, **scores}


def planning(path: Path, rows: int, name: str) -> dict[str, float]:
    """Lines in a second of CPU time: their JSON alone, read as photos, planned, and enrolled in a new journal; and how many
    rows of the plan, samples and failures, that makes.

    Args:
        name: what the figures begin with.
    """
    lines, aims = path.read_bytes().splitlines(), [Aim(task_named("remove"))]

    def enrolled() -> None:
        with tempfile.TemporaryDirectory() as folder:
            journal = Journal(Path(folder) / "run.sqlite")
            journal.enrol(Source(path).plan(aims, "all", 0), None)
            journal.close()

    works: dict[str, Callable[[], object]] = {
        "json_alone": lambda: [len(json.loads(line)) for line in lines],
        "read": lambda: sum(1 for _ in AnnotationReader(find_input(path, None)).photos("remove")),
        "planned": lambda: sum(1 for _ in Source(path).plan(aims, "all", 0)),
        "enrolled": enrolled,
    }
    found = {}
    for step, work in works.items():
        begun = time.process_time()
        work()
        found[f"{name}_{step}_lines_per_s"] = rows / (time.process_time() - begun)
    ends = sum(1 for _ in Source(path).plan(aims, "all", 0))
    return {**found, f"{name}_enrolled_rows_per_s": found[f"{name}_enrolled_lines_per_s"] * ends / rows}


def first_sample(path: str, rows: int, known: int, task: str) -> dict[str, float]:
    """Seconds from the input's path to the first planned sample of a shard before which `known` are done, and the most
    memory that this process had."""
    aims, size = [Aim(task_named(task))], max(1, rows // SHARDS)
    begun, worked = time.monotonic(), time.process_time()
    source = Source(path)
    source.fingerprint()
    done = [KnownShard(index, size, f"first{index}") for index in range(known)]
    assert source.more_than(size, aims)
    shard = next(one for one in source.shards(size, aims, done) if one.index == known)
    found = next(one for one in source.plan(aims, "all", 0, shard=shard) if isinstance(one, Sample))
    assert found.annotation.regions or task == "style"
    return {
        "s": time.monotonic() - begun,
        "cpu_s": time.process_time() - worked,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def read_alone(path: Path) -> float:
    """Seconds in which all bytes of an input's files are read, or a folder is listed."""
    begun = time.monotonic()
    if path.is_dir():
        sorted(path.iterdir())
    for file in [] if path.is_dir() else sorted(path.parent.glob(path.name)):
        with file.open("rb") as opened:
            while opened.read(1 << 20):
                pass
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description="How soon the first sample of a large input is planned.")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--look", nargs=4, metavar=("PATH", "ROWS", "KNOWN", "TASK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.look:
        path, rows, known, task = options.look
        print(json.dumps(first_sample(path, int(rows), int(known), task)))
        return
    files = min(FILES, options.rows)
    inputs: dict[str, tuple[Callable[[Path], Path], int, str]] = {
        "jsonl": (lambda folder: make_rows(folder, options.rows), options.rows, "remove"),
        "parquet": (lambda folder: make_tables(folder, options.rows), options.rows, "remove"),
        "tar": (lambda folder: make_tar(folder / "photos.tar", files), files, "remove"),
        "folder": (lambda folder: make_folder(folder, files), files, "style"),
    }
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        rows = min(MASKED, options.rows)
        for masks in (1, 6):
            path = make_masks(Path(folder) / f"masks{masks}", rows, masks)
            figures |= planning(path, rows, f"masks{masks}")
    for name, (make, rows, task) in inputs.items():
        with tempfile.TemporaryDirectory() as folder:
            path = make(Path(folder) / "input")
            figures[f"{name}_read_alone_s"] = read_alone(path)
            for known in (0, SHARDS // 2, SHARDS - 1):
                look = [sys.executable, __file__, "--look", str(path), str(rows), str(known), task]
                found = json.loads(subprocess.run(look, check=True, capture_output=True, text=True).stdout)
                figures |= {f"{name}_{rows}_behind_{known}_{unit}": value for unit, value in found.items()}
            if not options.json:
                for figure, value in figures.items():
                    print(f"{figure:40} {value:10.2f}", flush=True)
                figures.clear()
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
