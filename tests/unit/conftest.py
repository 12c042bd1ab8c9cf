"""What several unit tests make: encoded pictures, and a server's node list without a server."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from comfy_nodes.core.records import EditRecord
from comfy_nodes.core.regions.annotation import Annotation, Region
from comfy_nodes.core.regions.rle import Rle
from driver.dataset.commits import Commit, Cut, write_commit
from driver.dataset.dataset import read_facts, write_dataset
from driver.dataset.parts import Part
from driver.dataset.rows import RunFacts
from driver.dataset.spool import Spool
from driver.journal import Journal
from driver.report.figures import RowStatistics, statistics_text
from driver.report.gallery import Gallery
from driver.report.page import write_card, write_report
from driver.report.summary import Summary
from driver.samples import Sample

Encode = Callable[..., bytes]


@pytest.fixture(scope="session")
def encode() -> Encode:
    """A function that gives an image, or uint8 pixels [H, W, 3], as a file's bytes; further options go to Pillow."""

    def encoded(image: Image.Image | np.ndarray, file_format: str = "PNG", **options: Any) -> bytes:
        buffer = io.BytesIO()
        opened = Image.fromarray(image) if isinstance(image, np.ndarray) else image
        opened.save(buffer, file_format, **options)
        return buffer.getvalue()

    return encoded


@pytest.fixture(scope="session")
def noise() -> np.ndarray:
    """uint8 [6, 10, 3]: every pixel another colour, so that no turn of it equals another."""
    return np.random.default_rng(5).integers(0, 256, (6, 10, 3), dtype=np.uint8)


@pytest.fixture
def object_info() -> dict[str, Any]:
    """What a server answers on `/object_info`: our ends of a graph and a few nodes between them."""

    def node(required: dict[str, Any], optional: dict[str, Any] | None = None, *outputs: str) -> dict[str, Any]:
        inputs = {"required": required, "optional": optional or {}}
        order = {group: list(names) for group, names in inputs.items()}
        return {"input": inputs, "input_order": order, "output": list(outputs), "output_name": list(outputs)}

    seed = ["INT", {"default": 0, "min": 0, "max": 2**53 - 1, "control_after_generate": True}]
    text = ["STRING", {"default": "", "multiline": True}]
    return {
        "EditPairsLoadSample": node(
            {
                "image": ["COMBO", {"options": ["editpairs-samples/rocket.jpg"], "image_upload": True}],
                "task": ["COMBO", {"default": "remove", "options": ["remove", "style"]}],
                "region_index": ["INT", {"default": 0}],
                "seed": seed,
            },
            {"class_name": text, "instruction": text, "annotation": text},
            *("EDITPAIRS_SAMPLE", "IMAGE", "MASK", "BOUNDING_BOX", "STRING", "STRING", "INT"),
        ),
        "Paint": node(
            {"image": ["IMAGE"], "mask": ["MASK"], "seed": seed, "method": [["telea", "shift-map"], {}]},
            {"strength": ["FLOAT", {"default": 1.0}], "tiled": ["BOOLEAN", {"default": False}], "note": text,
             "folder": ["STRING", {"default": "brushes"}], "steps": ["COMBO", {"options": [4, 8]}]},
            *("IMAGE", "MASK"),
        ),
        "EditPairsVerifyPixels": node(
            {"source": ["IMAGE"], "edited": ["IMAGE"], "min_changed": ["FLOAT", {"default": 0.05}]},
            {"edit_mask": ["MASK"]},
            "EDITPAIRS_SCORES",
        ),
        "PreviewImage": node({"images": ["IMAGE"]}),
        "EditPairsSavePair": node(
            {"sample": ["EDITPAIRS_SAMPLE"], "edited": ["IMAGE"], "instruction": text},
            {"edit_mask": ["MASK"], "scores": ["COMFY_AUTOGROW_V3", {}], "folder": ["STRING", {}]},
        ),
    }  # fmt: skip


class Filed(EditRecord):
    """A record as sinks return it and as the journal takes it."""

    @property
    def record(self) -> str:
        return self.model_dump_json()


def filed_record(key: str, verdict: str = "keep", **fields: Any) -> Filed:
    """A record of one before and one after."""
    images = {
        f"{role}_images": [{"filename": f"{role}.png", "subfolder": "run", "type": "output", "sha256": "0" * 64}]
        for role in ("input", "output")
    }
    known = {
        "task": "remove", "prompt": "Remove the cup.", "source_id": "cup.jpg", "source_path": "cup.jpg",
        "source_sha256": "f" * 64, "seed": 7, "width": 10, "height": 6,
        "vouched_by": ["judge"] if verdict == "keep" else [],
    }  # fmt: skip
    return Filed(key=key, verdict=verdict, **{**images, **known, **fields})


def keyed_sample(key: str, instruction: str = "") -> Sample:
    region = Region(class_name="cup", bbox=(1, 2, 5, 6), mask=Rle(size=(6, 10), counts="\\1"))
    annotation = Annotation(path=f"{key}.jpg", size=(10, 6), regions=(region,), source_url="https://example.org")
    return Sample(key, f"{key}.jpg", annotation, instruction)


@pytest.fixture(scope="session")
def filed() -> Callable[..., Filed]:
    """A function that makes a record of one before and one after; fields may be given."""
    return filed_record


@pytest.fixture(scope="session")
def sample_of() -> Callable[..., Sample]:
    """A function that makes a sample by its key."""
    return keyed_sample


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "run.sqlite")
    yield opened
    opened.close()


FACTS = RunFacts("remove", "a" * 64, "b" * 64, "classical")


@dataclass
class Run:
    """An output folder in the middle of a run."""

    output: Path
    journal: Journal
    spool: Spool
    sample_of: Callable[..., Any]
    _filed: Callable[..., Any]
    name: str = ""
    """Which shard it is; empty in a run of one."""

    @property
    def part(self) -> Part:
        return Part(self.output, self.name)

    def filed(self, key: str, verdict: str = "keep", **fields: Any) -> Any:
        """A record whose images' hashes are those of what lies in the spool under its key."""
        record = self._filed(key, verdict, **fields)
        hashed = {}
        for role in ("input", "output"):
            found = [(image, self.spool.get(key, role, n)) for n, image in enumerate(getattr(record, f"{role}_images"))]
            hashed[f"{role}_images"] = tuple(
                image.model_copy(update={"sha256": hashlib.sha256(data or b"").hexdigest()}) for image, data in found
            )
        return record.model_copy(update=hashed)

    def add(self, *keys: str, verdict: str = "keep", side: int = 12, **fields: Any) -> None:
        """Finishes samples of these keys, with images whose pixels follow from key and role."""
        self.journal.enrol([self.sample_of(key) for key in keys], None)
        for key in keys:
            for role in ("input", "output"):
                self.spool.put(key, role, 0, self.png(key, role, side))
            self.journal.done(key, [self.filed(key, verdict, **fields)], 0.1)

    def finish(self, layout: str = "hf") -> None:
        write_dataset(self.journal, self.spool, self.part, FACTS, layout)

    def commit(self, layout: str = "hf", whole: bool = True) -> Commit:
        """Writes a shard, and that it is whole."""
        self.finish(layout)
        cut = Cut(items=3, first=f"{self.name}.jpg", plan="p" * 64, whole=whole)
        return write_commit(self.part, self.journal, cut, read_facts(self.part), statistics_text(self.part))

    def report(
        self,
        summary: Summary,
        failures: list[dict[str, Any]],
        environment: dict[str, str],
        skips: Sequence[dict[str, Any]] = (),
    ) -> None:
        """Writes the report and the dataset card."""
        write_report(self.output, summary, failures, skips, environment, Gallery.of_dataset(self.output))
        write_card(self.output, summary, environment, RowStatistics.of_dataset(self.output))

    def rows(self, config: str = "data") -> list[dict[str, Any]]:
        return [row for path in self.shards(config) for row in pq.read_table(path).to_pylist()]

    def shards(self, config: str = "data") -> list[Path]:
        return sorted(self.part.config(config).iterdir())

    def keys(self, config: str = "data") -> list[str]:
        return [row["key"] for row in self.rows(config)]

    def pixels(self, key: str, role: str, side: int = 12) -> np.ndarray:
        """uint8 [side, side, 3], other ones for every key and role."""
        seed = int.from_bytes(hashlib.sha256(f"{key}/{role}".encode()).digest()[:4], "big")
        return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)

    def png(self, key: str, role: str, side: int = 12) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(self.pixels(key, role, side)).save(buffer, "PNG")
        return buffer.getvalue()


@pytest.fixture
def run(tmp_path: Path, journal: Journal, sample_of: Callable[..., Sample], filed: Callable[..., Filed]) -> Run:
    return Run(tmp_path, journal, Spool(tmp_path / ".work" / "spool"), sample_of, filed)


@pytest.fixture
def shard(
    tmp_path: Path, sample_of: Callable[..., Sample], filed: Callable[..., Filed]
) -> Iterator[Callable[..., Run]]:
    """A function that opens a shard of a run of many, by its number."""
    opened: list[Journal] = []

    def make(index: int, output: Path = tmp_path / "many") -> Run:
        part = Part.of_shard(output, index)
        part.journal.parent.mkdir(parents=True, exist_ok=True)
        opened.append(Journal(part.journal))
        return Run(output, opened[-1], Spool(part.work / "spool"), sample_of, filed, part.name)

    yield make
    for journal in opened:
        journal.close()
