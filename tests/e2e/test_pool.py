"""An index of a pool and what is found in it, on a real ComfyUI with a tiny CLIP, against cosines by numpy."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from comfy_nodes.core.embeddings import decode
from comfy_nodes.core.tasks import EMBED
from driver.inputs.source import Source
from tests.e2e.helpers import REPOSITORY, make_photo
from tests.models import tiny_scorers
from tests.unit.source_making import plan, samples


@pytest.fixture(scope="module")
def clip(comfy: Any) -> Iterator[Path]:
    folder = tiny_scorers.clip(comfy.models / "text_encoders" / "clip-vit-large-patch14")
    yield folder
    for path in folder.iterdir():
        path.unlink()


def pool(comfy: Any, *words: object) -> dict[str, Any]:
    """What `pool.py --json` says."""
    command = [sys.executable, "driver/pool.py", *map(str, words), "--server", comfy.url, "--json"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr
    return json.loads(ended.stdout)


def lines(folder: Path, name: str = "photos.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]


def encoded(path: Path, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    with Image.open(path) as opened:
        opened.convert("RGB").save(buffer, kind, **how)
    return buffer.getvalue()


def test_photos_are_found_by_example_and_by_words(comfy: Any, clip: Path, tmp_path: Path) -> None:
    rows = []
    for number, name in enumerate(("flower.jpg", "coffee.png", "china.jpg", "camera.png")):
        data = encoded(REPOSITORY / "samples" / "photos" / name, "PNG")
        rows.append({"image": {"bytes": data, "path": name}, "id": f"lot/{number}", "licence": "CC0-1.0"})
    drawn = [make_photo(tmp_path / f"{number}.png", number, (80, 64)).read_bytes() for number in range(6)]
    rows += [
        {"image": {"bytes": one, "path": None}, "id": f"disc {number}", "licence": "mine"}
        for number, one in enumerate(drawn)
    ]
    rows += [{**rows[0], "id": "lot/again"}]
    rows[0] |= {"bbox": [10.0, 10.0, 200.0, 200.0], "class_name": "dahlia"}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pool.parquet")
    index = tmp_path / "index"

    built = pool(comfy, "build", tmp_path / "pool.parquet", "--output", index)
    assert (built["indexed"], built["duplicates"], built["dimensions"]) == (10, 1, 24)
    vectors = np.load(index / "vectors.npy")
    assert vectors.shape == (10, 24) and np.allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=2e-3)
    known = {line["path"]: decode(line["embedding"]).astype(np.float32) for line in lines(index, "annotation.jsonl")}

    # The example is the flower anew encoded: other bytes, and its own copy comes first.
    example = tmp_path / "example.jpg"
    example.write_bytes(encoded(REPOSITORY / "samples" / "photos" / "flower.jpg", "JPEG", quality=60))
    asked = ("--words", "a cup of coffee", "--words", "a rocket at night", "--like", example)
    found = pool(comfy, "find", index, *asked, "--count", 7, "--output", tmp_path / "found")
    told = lines(tmp_path / "found")
    assert found["found"] == len(told) == 7 and len({one["source_sha256"] for one in told}) == 7
    by_query: dict[str, list[dict[str, Any]]] = {}
    for one in told:
        by_query.setdefault(one["found"]["query"], []).append(one)
    assert list(by_query) == ["a cup of coffee", "a rocket at night", "example.jpg"]
    first = by_query["example.jpg"][0]
    assert first["path"] == "lot/0.png" and first["found"]["score"] > 0.99 and first["source_licence"] == "CC0-1.0"
    assert first["segmentation"]["object"][0]["class_name"] == "dahlia", "what is found keeps its regions"
    sources = samples(plan(Source(tmp_path / "found"), EMBED))
    assert {one.annotation.path: one.annotation.source_licence for one in sources} == {
        one["path"]: one["source_licence"] for one in told
    }
    assert (tmp_path / "found" / "lot" / "0.png").read_bytes() == rows[0]["image"]["bytes"]

    # By words alone the order is that of exact cosines.
    pool(comfy, "find", index, "--words", "a cup of coffee", "--count", 10, "--output", tmp_path / "all")
    words = tiny_words(clip, "a cup of coffee")
    exact = sorted(
        ((float(vector @ words), path) for path, vector in known.items() if path != "lot/again"), reverse=True
    )
    ranked = lines(tmp_path / "all")
    assert [one["found"]["score"] for one in ranked] == pytest.approx([score for score, _ in exact], abs=1e-3)
    assert ranked[0]["path"].removesuffix(".png") == exact[0][1]

    # A photo more: it alone is embedded.
    new = {"image": {"bytes": make_photo(tmp_path / "new.png", 9, (80, 64)).read_bytes(), "path": None}, "id": "new"}
    pq.write_table(pa.Table.from_pylist([*rows, new]), tmp_path / "pool.parquet")
    assert pool(comfy, "build", tmp_path / "pool.parquet", "--output", index)["indexed"] == 11
    assert np.array_equal(np.load(index / "vectors.npy")[:10], vectors)
    with closing(sqlite3.connect(index / "run.sqlite")) as journal:
        assert journal.execute("SELECT sum(submissions), count(*) FROM samples").fetchone() == (12, 12)


def tiny_words(clip: Path, words: str) -> np.ndarray:
    """The vector of words by transformers alone."""
    import torch
    from transformers import CLIPModel, CLIPTokenizer

    model, tokenizer = CLIPModel.from_pretrained(clip).eval(), CLIPTokenizer.from_pretrained(clip)
    with torch.no_grad():
        found = model.get_text_features(**tokenizer([words], return_tensors="pt"))
    vector = (found if isinstance(found, torch.Tensor) else found.pooler_output)[0].numpy()
    return vector / np.linalg.norm(vector)
