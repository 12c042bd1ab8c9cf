"""The verify stage from the command line: datasets of other makes, judged by pixels and by a model behind a service."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from driver.comfyui.own import OwnServer, find_comfyui
from driver.dataset.spool import Spool
from driver.graph.judges import JUDGES
from driver.journal import Journal
from driver.labels.labels import LABELS, Label, Labels
from driver.report.summary import Summary
from tests.e2e.helpers import REPOSITORY, Driver, make_photos
from tests.e2e.helpers import rows as of_shards
from tests.unit.conftest import Run, filed_record, keyed_sample
from tests.unit.dialogue_making import converse
from tests.vlm.endpoint import Endpoint, Say

SIZE = 96
MADE = "Paint the disc blue."
WRONG = "Paint the disc green."
NOTHING = "Make the disc larger."
MUTE = "Say nothing about the disc."
PACKED = "Paint every disc blue."
TURNED = "Paint the disc another colour."
CALL_S = 1.0
ENVIRONMENT = {"editpairs": "0.1.0", "comfyui": "0.30.0"}

FOUND: dict[str, Any] = {
    "source_caption": "A disc.", "edited_caption": "A blue disc.", "differences": ["The disc is blue."],
    "is_changed": True, "claims": [{"claim": "the disc is blue", "mark": "correct"}], "restated_instruction": MADE,
}  # fmt: skip
RESTATED = {**FOUND, "claims": [{"claim": "the disc is green", "mark": "wrong"}, {"claim": "blue", "mark": "missing"}]}
SCORES = {"prompt_compliance": 5, "visual_seamlessness": 5, "physical_detail_fidelity": 4, "instruction_following": 3,
          "editing_consistency": 3, "generation_quality": 2, "naturalness": 5, "objects_match": True}  # fmt: skip
ANSWERED = {"seen": "The disc is blue.", "answer": "yes"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    deeds = {
        f"{WRONG}.*source_caption": [Say(json.dumps(RESTATED))],
        f"{MUTE}.*Score the edit": [Say("I would rather not put a number on it.")],
        f"{PACKED}.*source_caption": [Say(json.dumps({**FOUND, "restated_instruction": PACKED}), after_s=CALL_S)],
        f"{TURNED}.*source_caption": [Say(json.dumps({**FOUND, "restated_instruction": TURNED}))],
        "A thing was erased": [Say(json.dumps({"new": []}))],
        "source_caption": [Say(json.dumps(FOUND))],
        "Score the edit": [Say(json.dumps(SCORES))],
        f"{WRONG}.*makes this data set": [Say("I'm sorry, I can't help with that.")],
        "makes this data set": [Say(json.dumps(ANSWERED))],
    }
    with Endpoint(deeds) as running:
        yield running


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("verify")


@pytest.fixture(scope="module")
def driver(place: Path, endpoint: Endpoint) -> Iterator[Driver]:
    (place / "vlm.toml").write_text(f'[profiles.default]\nbase_url = "{endpoint.url}"\nmodel = "tiny"\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDITPAIRS_CONFIG", str(place / "vlm.toml"))
        patch.setenv("EDITPAIRS_CACHE", str(place / "cache"))
        host = OwnServer(find_comfyui(), place / "comfyui", lambda _seconds: None)
        host.start()
        (place / "logs").mkdir()
        running = Driver(host.server.url, place / "logs")
        yield running
        running.close()
        host.stop()


def pair(colour: tuple[int, int, int] | None, seed: int = 0) -> tuple[bytes, bytes]:
    """A photo with a disc in it, and the same with the disc painted."""
    noise = np.random.default_rng(seed).integers(90, 150, (SIZE, SIZE, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    disc = (rows - 48) ** 2 + (columns - 48) ** 2 < 20**2
    noise[disc] = (200, 40, 40)
    after = noise.copy()
    if colour is not None:
        after[disc] = colour
    return png(noise), png(after)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def rows(folder: Path, config: str) -> list[dict[str, Any]]:
    found = [row for shard in sorted((folder / config).glob("*.parquet")) for row in pq.read_table(shard).to_pylist()]
    for row in found:
        row["scores"] = {one["name"]: one["value"] for one in row["scores"]}
    return found


def judge(driver: Driver, given: Path, output: Path, *options: object) -> dict[str, Any]:
    driver.run("--input", given, "--output", output, *options, workflow="verify", quick=False)
    summary: dict[str, Any] = json.loads((output / "summary.json").read_text())
    return summary


@pytest.fixture(scope="module")
def scaleedit(place: Path) -> Path:
    """Five rows in ScaleEdit's schema: made, described wrongly, not made, judged in vain, and changed all over."""
    pairs = [pair((40, 40, 220)), pair((40, 40, 220), 1), pair(None, 2), pair((40, 40, 220), 3)]
    columns = {
        "id": [1, 2, 3, 4], "edit_task": ["3.1_color_change"] * 4, "edit_instruction": [MADE, WRONG, NOTHING, MUTE],
        "source_image": [one for one, _ in pairs], "edited_image": [other for _, other in pairs],
        "source_image_width": [SIZE] * 4, "source_image_height": [SIZE] * 4,
        "edited_image_width": [SIZE] * 4, "edited_image_height": [SIZE] * 4,
        "instruction_following_score": [3, 3, 1, 2], "editing_consistency_score": [3] * 4,
        "generation_quality_score": [2, 3, 3, 3],
    }  # fmt: skip
    (place / "scaleedit").mkdir()
    pq.write_table(pa.table(columns), place / "scaleedit" / "3.1_color_change_0000.parquet")
    return place / "scaleedit"


DISC = [(200, 40, 40), (40, 40, 220), (40, 220, 40), (220, 220, 40)]
"""The colours of a dialogue's states."""


def dialogues(folder: Path) -> Path:
    """A run's folder of three kept dialogues: all turns of one are made, one's last is not, and one's second is not."""
    folder.mkdir()
    run = Run(folder, Journal(folder / "run.sqlite"), Spool(folder / ".work" / "spool"), keyed_sample, filed_record)
    for name, colours in (("whole", (0, 1, 2, 3)), ("shorter", (0, 1, 2, 2)), ("none", (0, 1, 1, 3))):
        states = [pair(DISC[colour])[1] for colour in colours]
        converse(run, name, picture=states.__getitem__, prompt=TURNED, width=SIZE, height=SIZE)
    run.finish()
    run.report(
        Summary("content_memory", "classical", "content_memory", 9, 9, 0, 0, 0, 0, {}, {}, 1.0, 1.0), [], ENVIRONMENT
    )
    run.journal.close()
    return folder


def test_turns_are_judged_one_by_one_and_a_dialogue_is_kept_as_far_as_they_are(driver: Driver, place: Path) -> None:
    given = dialogues(place / "dialogues")
    summary = judge(driver, given, place / "dialogues-judged")
    assert summary["dialogues"] == {"planned": 3, "kept": 2, "shorter": 1}
    assert (summary["kept"], summary["rejected"], summary["pending"]) == (5, 4, 0)
    (kept,) = (place / "dialogues-judged" / "data").glob("*.parquet")
    first, second = pq.read_table(kept).to_pylist()
    assert [len(one["turns"]) for one in (first, second)] == [2, 3]
    for record in (first, second):
        states = {one["path"]: one["bytes"] for one in record["states"]}
        assert len(states) == len(record["data"]) + 1
        for before, after in zip(record["data"], record["data"][1:], strict=False):
            assert after["input_images"] == before["output_images"], "each begins with what the one before left"
        for number, row in enumerate(record["turns"], 1):
            assert (row["turn"]["number"], row["turn"]["dialogue"], row["task"]) == (
                number,
                record["key"],
                "content_memory",
            )
            assert row["vouched_by"] == ["verifier", "judge"] and row["turn"]["premise"] == "Keep it red."
    left = [row for record in pq.read_table(place / "dialogues-judged/rejected").to_pylist() for row in record["turns"]]
    reasons = Counter(row["reject_reason"].partition(":")[0] for row in left)
    assert reasons.pop("its dialogue ended") == 2 and reasons.total() == 2


def test_scaleedits_rows_are_kept_restated_rejected_or_unscored(
    driver: Driver, endpoint: Endpoint, scaleedit: Path, place: Path
) -> None:
    summary = judge(driver, scaleedit, place / "scale-out")
    assert (summary["kept"], summary["rejected"], summary["unscored"], summary["failed"]) == (2, 1, 1, 0)
    first, second = rows(place / "scale-out", "data")
    assert (first["prompt"], first["restated_prompt"], first["task"]) == (MADE, None, "alter")
    assert first["subtask"] == "scaleedit/3.1_color_change"
    assert first["scores"]["given.generation_quality"] == 2.0
    assert first["scores"]["pixel.keep"] == first["scores"]["verify.keep"] == first["scores"]["judge.keep"] == 1.0
    assert first["judge"]["model"] == "tiny-2026-01-01"
    assert "restated_instruction" in first["judge"]["reply"], "the judge's raw words are kept"
    assert (second["prompt"], second["initial_prompt"], second["restated_prompt"]) == (MADE, WRONG, MADE)
    rejected = {row["verdict"]: row for row in rows(place / "scale-out", "rejected")}
    assert rejected["reject"]["prompt"] == NOTHING
    assert "verify.keep" not in rejected["reject"]["scores"], "what the pixels reject is not asked about"
    assert "I would rather not" in rejected["unscored"]["judge"]["reply"]
    assert "judge.overall" not in rejected["unscored"]["scores"], "no answer is no score, and never a 0"
    assert not any(NOTHING in json.dumps(got.body) for got in endpoint.requests)


def test_a_run_of_ours_is_judged_again_and_keeps_its_origin(driver: Driver, place: Path) -> None:
    before = rows(place / "scale-out", "data")
    summary = judge(driver, place / "scale-out", place / "again")
    assert summary["kept"] == len(before)
    after = rows(place / "again", "data")
    for old, new in zip(before, after, strict=True):
        assert old["key"] != new["key"]
        for name in ("source_id", "source_sha256", "initial_prompt", "seed", "task", "subtask", "input_images"):
            if name == "input_images":
                decoded = [np.asarray(Image.open(io.BytesIO(row[name][0]["bytes"]))) for row in (old, new)]
                assert np.array_equal(*decoded)
            else:
                assert old[name] == new[name], name


def test_hand_labels_vouch_and_reject_where_rows_are_judged_again(driver: Driver, place: Path) -> None:
    labelled = shutil.copytree(place / "scale-out", place / "labelled")
    kept, bad = (row["key"] for row in rows(labelled, "data"))
    others = {row["verdict"]: row["key"] for row in rows(labelled, "rejected")}
    labels = Labels(labelled)
    for who, key, answer in [
        ("ann", kept, "keep"), ("ben", bad, "reject"), ("ann", others["unscored"], "keep"), ("ben", others["reject"], "keep"),
    ]:  # fmt: skip
        labels.add(Label(key=key, label=answer, labeller=who, time=datetime.now(UTC)))
    summary = judge(driver, labelled, place / "kept-again")
    assert (summary["kept"], summary["rejected"]) == (1, 1)
    (row,) = rows(place / "kept-again", "data")
    assert (row["prompt"], row["vouched_by"], row["scores"]["hand.keep"]) == (MADE, ["verifier", "judge", "hand"], 1.0)
    (row,) = rows(place / "kept-again", "rejected")
    assert (row["initial_prompt"], row["reject_reason"]) == (WRONG, "labelled bad by hand")
    assert row["scores"]["judge.keep"] == 1.0, "what the models said stays to be compared"

    graph = json.loads((REPOSITORY / "workflows" / "verify.json").read_text())
    for node in graph["nodes"]:
        node["mode"] = 2 if node["type"] in JUDGES else node["mode"]
    (muted := place / "muted.json").write_text(json.dumps(graph))
    options = ("--input", labelled / "rejected", "--output", place / "by-hand")
    ended = driver.run(*options, workflow=muted, quick=False)
    assert "ALL ROWS WITHOUT A HAND LABEL WILL BE UNSCORED" in ended.stderr
    assert f"hand labels count, of 4 rows in {labelled / LABELS}" in ended.stderr
    (row,) = rows(place / "by-hand", "data")
    assert (row["prompt"], row["vouched_by"]) == (MUTE, ["hand"])
    (row,) = rows(place / "by-hand", "rejected")
    assert (row["prompt"], row["verdict"]) == (NOTHING, "reject"), "what pixels reject no label saves"
    tasks = json.loads((place / "by-hand" / "summary.json").read_text())["tasks"]
    assert tasks["alter"]["vouched_by"] == {"hand": 1}

    labels.add(Label(key=others["unscored"], label="reject", labeller="ben", time=datetime.now(UTC)))
    driver.run(*options, workflow=muted, quick=False)
    assert [row["reject_reason"] for row in rows(place / "by-hand", "rejected") if row["verdict"] == "unscored"] == [
        "the hand labels are divided"
    ], "a label that is given later counts when the run goes on"


def test_imgedits_filter_has_its_thresholds_in_the_graph_and_they_cost_no_call(
    driver: Driver, endpoint: Endpoint, scaleedit: Path, place: Path
) -> None:
    def judged(name: str, *options: str, workflow: object = "verify-imgedit") -> tuple[Counter[str], int]:
        before = len(endpoint.requests)
        given = ("--input", scaleedit, "--output", place / name, *options)
        driver.run(*given, workflow=workflow, quick=False)
        found = Counter(row["verdict"] for config in ("data", "rejected") for row in rows(place / name, config))
        return found, len(endpoint.requests) - before

    found, asked = judged("strict")
    assert found == {"reject": 3, "unscored": 1}
    assert asked == 4, "what the pixels reject is not asked about, what cannot be read is asked once more"
    reasons = {row["prompt"]: row["reject_reason"] for row in rows(place / "strict", "rejected")}
    assert reasons[MADE] == "judge.instruction_following >= 4 does not hold (3)"
    assert "there is no such score" in reasons[MUTE] and "pixels" not in reasons[MADE]
    lower = "EditPairsFilterPair.policy=judge.instruction_following >= 3\njudge.objects_match == 1"
    found, asked = judged("lower", "--set", lower)
    assert (found, asked) == ({"keep": 2, "reject": 1, "unscored": 1}, 2), "only what could not be read is asked again"
    (row, _) = rows(place / "lower", "data")
    assert row["vouched_by"] == ["judge"] and row["judge"]["prompt_version"].startswith("judge-imgedit-filter ")

    graph = json.loads((REPOSITORY / "workflows" / "verify-imgedit.json").read_text())
    for node in graph["nodes"]:
        node["mode"] = 0
    (own := place / "own-question.json").write_text(json.dumps(graph))
    mine = ("--set", "EditPairsAskEdit.reason=Blue disc", "--set", lower)
    found, _ = judged("own-question", *mine, workflow=own)
    assert found == {"reject": 3, "unscored": 1}
    told = {row["initial_prompt"]: row for row in rows(place / "own-question", "rejected")}
    assert told[MADE]["reject_reason"] == "Blue disc: The disc is blue."
    assert told[MADE]["scores"]["asked.blue_disc"] == 1.0
    assert told[WRONG]["verdict"] == "unscored" and "VlmRefusal" in told[WRONG]["reject_reason"]


def test_imgedits_paths_are_found_and_its_shard_names_the_task(driver: Driver, place: Path) -> None:
    folder = place / "imgedit" / "results_adjust_canny_laion_part0"
    folder.mkdir(parents=True)
    for number, colour in enumerate([(40, 40, 220), None]):
        for name, data in zip(("original", "result"), pair(colour, 10 + number), strict=True):
            (folder / f"{number}-{name}.png").write_bytes(data)
    names = [[f"{folder.name}/{number}-{name}.png" for number in range(2)] for name in ("original", "result")]
    columns = {
        "input_images": [[one] for one in names[0]],
        "output_images": [[one] for one in names[1]],
        "prompt": [MADE] * 2,
    }
    shard = place / "parquet" / "adjust_canny_part0.parquet"
    shard.parent.mkdir()
    pq.write_table(pa.table(columns), shard)
    judge(driver, shard, place / "imgedit-out", "--image-root", place / "imgedit")
    (kept,) = rows(place / "imgedit-out", "data")
    (rejected,) = rows(place / "imgedit-out", "rejected")
    assert (kept["task"], kept["source_id"]) == ("alter", f"{folder.name}/0-original.png")
    assert rejected["scores"]["pixel.keep"] == 0.0


def test_calls_of_a_pack_overlap(driver: Driver, endpoint: Endpoint, place: Path) -> None:
    """64 samples that ask a service for a second each, twice, take far less than their calls one after another."""
    folder = place / "many"
    folder.mkdir()
    for number in range(64):
        before, after = pair((40, 40, 220), 100 + number)
        (folder / f"{number:02}.png").write_bytes(before)
        (folder / f"{number:02}.edited.png").write_bytes(after)
        (folder / f"{number:02}.txt").write_text(PACKED)
    endpoint.most_at_once = 0
    begun = time.monotonic()
    summary = judge(driver, folder, place / "many-out", "--samples-per-prompt", "64")
    seconds = time.monotonic() - begun
    assert summary["kept"] == 64
    assert endpoint.most_at_once == 8, "a profile's own bound"
    assert seconds < 64 * CALL_S, f"{seconds:.0f} s"


def test_a_recipes_judge_is_changed_and_nothing_is_edited_again(
    driver: Driver, endpoint: Endpoint, place: Path
) -> None:
    """A threshold over its pairs costs no call and no edit, another prompt only its calls."""
    make_photos(place / "judged-photos", 3)
    recipe, output = place / "judged.toml", place / "judged"

    def run(threshold: int, rubric: str, *options: str) -> tuple[Counter[str], int]:
        recipe.write_text(f"""
name = "judged"
[[stage]]
name = "edit"
workflow = "remove"
profile = "classical"
set = ["EditPairsClassicalInpaint.method=telea"]
[[stage]]
name = "verify"
workflow = "verify"
set = ["EditPairsFilterPair.policy=judge.instruction_following >= {threshold}", "EditPairsJudgeEdit.rubric={rubric}"]
""")
        before = len(endpoint.requests)
        given = ("--recipe", recipe, "--input", place / "judged-photos", "--output", output, *options)
        driver.run(*given, workflow=None, quick=False)
        edits = pq.read_table(output / "stages" / "edit" / "telemetry.parquet").to_pylist()
        assert [row["submissions"] for row in edits] == [1, 1, 1], "something was edited again"
        found = Counter(row["verdict"] for config in ("data", "rejected") for row in of_shards(output, config))
        return found, len(endpoint.requests) - before

    found, asked = run(3, "scaleedit")
    assert found == {"keep": 3} and asked == 9
    edited = {path: path.stat().st_mtime_ns for path in (output / "stages" / "edit").rglob("*.parquet")}
    assert run(4, "scaleedit", "--rerun-from", "verify") == ({"reject": 3}, 0)
    _, asked = run(3, "imgedit filter", "--rerun-from", "verify")
    assert asked == 3, "the judge alone is asked"
    assert {path: path.stat().st_mtime_ns for path in edited} == edited
