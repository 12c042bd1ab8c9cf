"""A run over several inputs: photos in their shares, copies skipped, each row's licence and where it came from."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import load_dataset
from PIL import Image

from comfy_nodes.core.regions import rle
from tests.e2e import helpers
from tests.e2e.helpers import Driver


def rows_of(photos: list[Path]) -> pa.Table:
    """A parquet's rows of photos, saved anew, with their regions and a licence of the second alone."""
    rows = []
    for number, path in enumerate(photos):
        buffer = io.BytesIO()
        Image.open(path).convert("RGB").save(buffer, "JPEG", quality=80)
        mask = rle.encode(np.asarray(Image.open(path.with_name(f"{path.stem}.mask.png"))) > 0).model_dump(mode="json")
        licence = "CC BY 4.0" if number == 1 else None
        rows.append({"image": buffer.getvalue(), "id": f"r{number}", "mask": mask, "licence": licence})
        rows[-1] |= {"instruction": "Remove the disc.", "class_name": "disc"}
    return pa.Table.from_pylist(rows)


def test_two_inputs_with_shares_copies_and_licences(driver: Driver, tmp_path: Path) -> None:
    ours, others = tmp_path / "ours", tmp_path / "others"
    ours.mkdir(), others.mkdir()
    # Of these numbers no two pictures look like another.
    (first, *_), theirs = (
        [helpers.make_photo(folder / f"{n:02}.png", n) for n in numbers]
        for folder, numbers in ((ours, (0, 1, 4, 5)), (others, (10, 12, 16)))
    )
    pq.write_table(rows_of([*theirs[:2], first, theirs[2]]), tmp_path / "rows.parquet")
    output = tmp_path / "out"
    inputs = ("--input", ours, "--input", tmp_path / "rows.parquet", "--input-share", "60,40")
    asked = (*inputs, "--input-licence", "CC0 1.0", "--input-licence", "", "--near", "4", "--shard-size", "3")
    ended = driver.run(*asked, "--output", output)
    order = [row["source_id"] for row in helpers.rows(output)]
    assert order == [
        "00.png", "rows.parquet//r0", "01.png", "04.png", "rows.parquet//r1", "05.png", "rows.parquet//r3",
    ]  # fmt: skip
    licences = {row["source_id"]: row["source_licence"] for row in helpers.rows(output)}
    assert licences["04.png"] == "CC0 1.0" and licences["rows.parquet//r1"] == "CC BY 4.0"
    assert licences["rows.parquet//r0"] is None
    (skipped,) = helpers.table(output, "skipped")
    assert (skipped["source_id"], skipped["error_type"]) == ("rows.parquet//r2", "NearDuplicate")
    assert skipped["message"].startswith("it repeats 00.png (")
    told = json.loads((output / "summary.json").read_text())["inputs"]
    assert {name: (one["photos"], one["kept"], one["skips"]) for name, one in told.items()} == {
        "ours": (4, 4, {}), "rows.parquet": (4, 3, {"NearDuplicate": 1}),
    }  # fmt: skip
    assert (told["ours"]["share"], told["ours"]["share_asked"]) == (0.5, 0.6)
    assert "inputs that ended early, by their share of the photos: ours 50.0 % instead of 60.0 %" in ended.stderr
    assert "| rows.parquet | 4 | 50.0 % | 3 | 1 |" in (output / "README.md").read_text()
    assert "NearDuplicate 1" in (output / "report.html").read_text()
    assert load_dataset(str(output), split="train").num_rows == 7
    posted = helpers.prompts_so_far(driver.url)
    driver.run(*asked, "--output", output)
    assert helpers.prompts_so_far(driver.url) == posted + 1, "something was made again"
    shown = driver.run(*asked, "--output", tmp_path / "none", "--dry-run").stdout
    assert "to edit" in shown and not (tmp_path / "none").exists()
