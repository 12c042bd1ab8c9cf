"""The write stage from the command line: a photo, a service, an instruction, an edit; and no key in anything left."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfy_nodes.core.regions.annotation import Annotation, region_of_mask, to_json
from comfy_nodes.core.services import profiles
from driver.comfyui.own import OwnServer, find_comfyui
from tests.e2e import helpers
from tests.e2e.helpers import Driver
from tests.vlm.endpoint import Endpoint, Say, Status

KEY = "sk-sentinel-0123456789abcdef"
EDIT = {
    "object": "disc", "object_en": "disc", "instruction": "Please erase [OBJECT].", "command": "Remove [OBJECT].",
    "target": "plain ground",
}  # fmt: skip
TASK = ("--set", "EditPairsLoadSample.task=remove")
MOTION = {
    "subject": "disc", "instruction": "Let the disc roll to the right.", "command": "Roll the disc to the right.",
    "target": "the disc lies further right",
}  # fmt: skip
VISUAL = {
    **EDIT, "instruction": "Replace [OBJECT] with the one in the reference image.",
    "command": "Replace [OBJECT] with the one in the reference image.", "target": "a white vase",
}  # fmt: skip
SHORT = {
    "object": "disc", "object_en": "disc",
    "round1": {"instruction": "Swap [OBJECT] for a dahlia.", "command": "Replace [OBJECT] with a dahlia.", "target": "a dahlia"},
    "round2": {"instruction": "Undo that and make it blue.", "command": "Make [OBJECT] blue.", "target": "a blue disc"},
}  # fmt: skip
COUNT = 12
MODEL = "tiny-2026-01-01"
"""What the endpoint calls itself."""

LICENCE = "Some Terms (outputs may train: yes)"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("write")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    said = {
        "A conversation of two rounds": SHORT,
        "the reference, shows": VISUAL,
        "Photo: ": EDIT,
        "The first picture is the photo before": MOTION,
    }
    deeds = {begins: [Say(json.dumps({"edits": [edit]}))] for begins, edit in said.items()}
    with Endpoint(deeds, default=Status(400, "no such question")) as running:
        yield running


@pytest.fixture(scope="module")
def own(place: Path, endpoint: Endpoint) -> Iterator[OwnServer]:
    """A ComfyUI whose operator has set a service up, with a key in its environment."""
    (place / "vlm.toml").write_text(
        f'[profiles.default]\nbase_url = "{endpoint.url}"\nmodel = "tiny"\nkey_variable = "SENTINEL_KEY"\n'
        'licence = "Some Terms"\noutputs_may_train = "yes"\n'
        "usd_per_million_prompt_tokens = 1.0\nusd_per_million_completion_tokens = 4.0\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(place).items():
            patch.setenv(name, value)
        host = OwnServer(find_comfyui(), place / "comfyui", lambda _seconds: None)
        host.start()
    yield host
    host.stop()


def environment(place: Path) -> dict[str, str]:
    return {
        "EDITPAIRS_CONFIG": str(place / "vlm.toml"),
        "EDITPAIRS_CACHE": str(place / "cache"),
        "SENTINEL_KEY": KEY,
    }


@pytest.fixture(scope="module")
def annotation(place: Path) -> Path:
    """Photos with a disc that is called so, and of the last one another disc far from it."""
    photos = helpers.make_photos(place / "photos", COUNT)
    lines = []
    for number, photo in enumerate(photos):
        region = region_of_mask(helpers.disc_of(number), "disc")
        known = Annotation(path=photo.name, size=(96, 96), regions=(region,))
        lines.append(json.dumps(to_json(known)))
    path = place / "photos" / "annotation.jsonl"
    path.write_text("\n".join(lines))
    return path


@pytest.fixture(scope="module")
def written(place: Path, own: OwnServer, annotation: Path) -> Iterator[tuple[Path, Driver]]:
    (place / "logs").mkdir()
    driver = Driver(own.server.url, place / "logs")
    run(driver, place, annotation, place / "out")
    yield place / "out", driver
    driver.close()


def run(driver: Driver, place: Path, annotation: Path, output: Path, *options: Any, **how: Any) -> helpers.Ended:
    files = ("--input", annotation, "--output", output)
    return driver.run(*files, *TASK, *options, workflow="write", quick=False, env=environment(place), **how)


def lines(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "instructions.jsonl").read_text().splitlines()]


def test_each_region_has_an_instruction_with_words_from_its_box(
    written: tuple[Path, Driver], endpoint: Endpoint
) -> None:
    found = lines(written[0])
    assert len(found) == COUNT
    for line in found:
        assert line["instruction"].startswith("Please erase the disc ")
        assert line["instruction"].endswith("of the image.")
        assert (line["task"], line["writing"]["model"], line["writing"]["lang"]) == ("remove", MODEL, "en")
    assert len(endpoint.asked("Photo:")) == COUNT
    summary = json.loads((written[0] / "summary.json").read_text())
    assert (summary["gives"], summary["kept"], summary["vlm_calls"]) == ("instructions", COUNT, COUNT)
    assert summary["vlm_usd"] == pytest.approx(COUNT * 0.0014)
    assert "Please erase" in (written[0] / "report.html").read_text()


def test_kinds_get_the_pictures_that_they_are_written_from(
    written: tuple[Path, Driver], endpoint: Endpoint, place: Path
) -> None:
    """Of three kinds each goes to a photo that has what it takes, in one run of one graph."""
    folder = place / "pictures"
    helpers.make_photos(folder, 3)
    for words in folder.glob("*.txt"):
        words.unlink()
    lines_of = {"path": "", "segmentation": {"object": [{"class_name": "disc", "bbox": [20, 30, 50, 60]}]}}
    told = [{**lines_of, "path": f"photo00{number}.png"} for number in range(3)]
    helpers.make_photo(folder / "other.png", 7)
    Image.new("RGB", (40, 50), "white").save(folder / "vase.png")
    told[0]["frame2"], told[1]["reference"] = "other.png", "vase.png"
    (folder / "told.jsonl").write_text("\n".join(map(json.dumps, told)))
    before = len(endpoint.requests)
    output = place / "pictures-out"
    kinds = ("--input", folder / "told.jsonl", "--output", output, "--kinds", "motion,visual,remove")
    written[1].run(*kinds, workflow="write", quick=False, env=environment(place))
    found = {(line["path"], line["task"]): line for line in lines(output)}
    assert set(found) == {("photo000.png", "motion"), ("photo000.png", "remove"), ("photo001.png", "visual"),
                          ("photo002.png", "remove")}  # fmt: skip
    assert found["photo000.png", "motion"]["instruction"] == MOTION["instruction"]
    shown = sorted(len(got.picture_urls) for got in endpoint.requests[before:])
    assert shown == [1, 1, 2, 2], "who needs no second picture is shown none"


def test_a_dialogue_is_written_and_then_made_turn_by_turn(written: tuple[Path, Driver], place: Path) -> None:
    driver, task, output = written[1], "version_backtracking", place / "dialogues"
    asked = ("--input", place / "photos" / "annotation.jsonl", "--limit", 2, "--kinds", task, "--turns", 2)
    driver.run(*asked, "--output", output, workflow="write", quick=False, env=environment(place))
    found = lines(output)
    assert [[(step["op"], step["base"]) for step in line["writing"]["steps"]] for line in found] == [
        [("replace", 0), ("alter", 0)]
    ] * 2
    given = ("--input", output / "instructions.jsonl", "--image-root", place / "photos", "--output", place / "turns")
    driver.run(*given, workflow=task, quick=False)
    rows = helpers.rows(place / "turns")
    assert [row["data"] for row in rows] == [
        [
            {"input_images": [start], "output_images": [after], "prompt": prompt}
            for prompt, after in zip(line["instruction"].splitlines(), states, strict=True)
        ]
        for row, line in zip(rows, found, strict=True)
        for start, *states in [[state["path"] for state in row["states"]]]
    ], "the second turn goes back to the photo"


def test_the_samples_shared_prompts(written: tuple[Path, Driver]) -> None:
    with closing(sqlite3.connect(written[0] / "run.sqlite")) as journal:
        (servers,) = journal.execute("SELECT COUNT(DISTINCT queued_at) FROM samples").fetchone()
    assert servers < COUNT


def test_a_second_run_over_the_same_photos_calls_nobody(
    written: tuple[Path, Driver], place: Path, annotation: Path, endpoint: Endpoint
) -> None:
    before = len(endpoint.requests)
    run(written[1], place, annotation, place / "again")
    assert [line["instruction"] for line in lines(place / "again")] == [
        line["instruction"] for line in lines(written[0])
    ]
    assert len(endpoint.requests) == before


def test_the_edit_stage_uses_what_was_written(written: tuple[Path, Driver], place: Path) -> None:
    output, driver = written
    driver.run("--input", output / "instructions.jsonl", "--image-root", place / "photos", "--output", place / "edited")
    rows = helpers.rows(place / "edited")
    assert len(rows) == COUNT
    wanted = {line["path"]: line["instruction"] for line in lines(output)}
    for row in rows:
        assert row["prompt"] == wanted[row["source_id"]]
        assert row["editor_prompt"] == row["prompt"].replace("Please erase", "Remove")
        named = [(one["role"], one["name"], one["licence"]) for one in row["models"]]
        assert named == [("writer", MODEL, LICENCE), ("language model", "tiny", LICENCE)]
        helpers.assert_whole(row)


def test_every_line_carries_its_stages_hash_into_the_rows(written: tuple[Path, Driver], place: Path) -> None:
    output, driver = written
    found = lines(output)
    assert len({line["upstream_sha256"] for line in found}) == COUNT
    before = {row["source_id"]: row["stage_sha256"] for row in helpers.rows(place / "edited")}
    found[0]["upstream_sha256"] = "0" * 64
    (place / "other.jsonl").write_text("\n".join(map(json.dumps, found)))
    files = ("--input", place / "other.jsonl", "--image-root", place / "photos", "--output", place / "other")
    driver.run(*files)
    odd = [row["source_id"] for row in helpers.rows(place / "other") if row["stage_sha256"] != before[row["source_id"]]]
    assert odd == [found[0]["path"]]


def test_many_shards_write_the_same_file(written: tuple[Path, Driver], place: Path, annotation: Path) -> None:
    output, driver = written
    run(driver, place, annotation, place / "cut", "--shard-size", 2)
    assert (place / "cut" / "shards" / "000001.json").exists()
    assert (place / "cut" / "instructions.jsonl").read_bytes() == (output / "instructions.jsonl").read_bytes()
    told, whole = (json.loads((one / "summary.json").read_text()) for one in (place / "cut", output))
    assert [told[name] for name in ("samples", "kept", "gives")] == [
        whole[name] for name in ("samples", "kept", "gives")
    ]


def test_what_is_over_the_budget_fails_and_says_so(
    written: tuple[Path, Driver], place: Path, annotation: Path, endpoint: Endpoint
) -> None:
    before = len(endpoint.requests)
    options = ("--seed", 5, "--budget-usd", 0.0001)
    ended = run(written[1], place, annotation, place / "poor", *options, expect=1)
    assert f"{COUNT} of {COUNT} samples failed ({COUNT} VlmBudget)" in ended.line
    assert {row["stage"] for row in helpers.table(place / "poor", "failed")} == {"write"}
    assert len(endpoint.requests) == before


def test_a_dry_run_says_what_it_may_cost(written: tuple[Path, Driver], place: Path, annotation: Path) -> None:
    ended = run(written[1], place, annotation, place / "dry", "--dry-run")
    assert f"profile default: at most {round(COUNT * 1.1)} calls, " in ended.stdout
    assert not (place / "dry").exists()


def test_a_graph_that_names_an_address_or_a_variable_sends_nothing(
    written: tuple[Path, Driver], place: Path, annotation: Path, endpoint: Endpoint
) -> None:
    before = len(endpoint.requests)
    for name in (endpoint.url, "SENTINEL_KEY"):
        setting = ("--set", f"EditPairsLoadVlmEndpoint.profile={name}")
        ended = run(written[1], place, annotation, place / "hostile", *setting, expect=2)
        assert f"there is no {profiles.called(name)}" in ended.line and endpoint.url not in ended.stderr
    assert len(endpoint.requests) == before


def test_a_profile_edited_half_way_makes_no_dataset_of_two_models(
    written: tuple[Path, Driver], place: Path, annotation: Path
) -> None:
    """The run breaks off and says what changed; so does the same command; with the profile put back it goes on."""
    _, driver = written
    known = (place / "vlm.toml").read_text()

    def ask(model: str) -> None:
        profile = f'[profiles.slow]\nbase_url = "{slow.url}"\nmodel = "{model}"\n'
        (place / "vlm.part").write_text(known + profile)
        (place / "vlm.part").rename(place / "vlm.toml")

    files = ("--input", annotation, "--output", place / "half", *TASK, "--samples-per-prompt", 2)
    command = (*files, "--set", "EditPairsLoadVlmEndpoint.profile=slow")
    how: dict[str, Any] = {"workflow": "write", "quick": False, "env": environment(place)}
    with Endpoint(default=Say(json.dumps({"edits": [EDIT]}), after_s=0.5)) as slow:
        ask("first")
        process = driver.start(*command, **how)
        helpers.until(lambda: helpers.done_so_far(place / "half") >= 2, "two samples done")
        ask("second")
        why = "VLM profile 'slow' asks second instead of first"
        assert why in driver.end(process, expect=1).line
        assert why in driver.refused(*command, **how)
        ask("first")
        driver.run(*command, **how)
    (place / "vlm.toml").write_text(known)
    assert [line["writing"]["model"] for line in lines(place / "half")] == ["first-2026-01-01"] * COUNT


def test_no_key_in_anything_that_was_left(written: tuple[Path, Driver], place: Path) -> None:
    """Last: it looks at all that the runs of this module wrote, logs and databases included."""
    files = {}
    for path in place.rglob("*"):
        with suppress(IsADirectoryError, FileNotFoundError):  # SQLite's shared memory comes and goes
            files[path] = path.read_bytes()
    assert len(files) > 50
    assert [path for path, data in files.items() if KEY.encode() in data] == []
    assert [path for path, data in files.items() if b"tiny" in data], "the search finds nothing at all"
