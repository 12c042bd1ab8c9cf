"""What servers send that no row can be made of: it costs that sample, never the run, and nobody else's pictures."""

from __future__ import annotations

import hashlib
import io
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from comfy_nodes.core.keys import sample_seed
from driver.comfyui.client import ComfyServer
from driver.comfyui.hosts import ForeignServer
from driver.dataset.spool import Spool
from driver.engine import health, worker
from driver.engine.prompts import Flight, Posted
from driver.engine.worker import Worker
from driver.errors import RunError
from driver.journal import Journal
from tests.chaos import double
from tests.chaos.double import Meddle, Told, serving

VICTIM = "k2"
KEYS = [f"k{number}" for number in range(6)]
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "run.sqlite")
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(health, "LONGEST_REST", 0.2)


Run = Callable[..., Told]


@pytest.fixture
def edit(journal: Journal, spool: Spool) -> Run:
    """A function that runs samples on servers."""

    def edited(*urls: str, keys: list[str] = KEYS, instructions: dict[str, str] | None = None, pack: int = 1) -> Told:
        return double.run(
            urls, [double.sample(key, (instructions or {}).get(key, "")) for key in keys], journal, spool, pack
        )

    return edited


def records(change: Change | bytes) -> Callable[[str, str, bytes], bytes | None]:
    """The victim's records come changed, or as these bytes."""

    def meddle(route: str, name: str, body: bytes) -> bytes | None:
        if (route, name) != ("GET /view", f"{VICTIM}.records.json"):
            return None
        if isinstance(change, bytes):
            return change
        said = json.loads(body)
        changed = change(said["editpairs"][0])
        return json.dumps(said if changed is None else changed).encode()

    return meddle


def put(**fields: Any) -> Change:
    return lambda record: record.update(fields)


def files(**fields: Any) -> Change:
    return lambda record: [image.update(fields) for image in record["output_images"]] and None


NEVER = b'{"editpairs": []}'
DEEP = b'{"editpairs": ' + b"[" * 3000 + b"]" * 3000 + b"}"

STRANGE: dict[str, tuple[Change | bytes, str, str]] = {
    "no record": (NEVER, "NoRecord", "empty batch"),
    "nothing": (b"", "ServerFault", "arrived damaged"),
    "null": (b"null", "ServerFault", "holds no list"),
    "an empty object": (b"{}", "ServerFault", "holds no list"),
    "text": (b"<h1>It works</h1>", "ServerFault", "arrived damaged"),
    "3,000 levels": (DEEP, "ServerFault", "recursion"),
    "half a surrogate": (put(prompt="\ud800"), "ServerFault", "arrived damaged"),
    "a number for a record": (lambda _: {"editpairs": [7]}, "RecordInvalid", "valid dictionary"),
    "NaN for a score": (put(scores=[{"name": "a", "value": float("nan")}]), "ServerFault", "arrived damaged"),
    "Infinity in a box": (put(crop=[0, 0, 1, float("inf")]), "ServerFault", "arrived damaged"),
    "a box beyond all pictures": (put(crop=[0, 0, 1, 1e300]), "RecordInvalid", "crop"),
    "a seed of 10^30": (put(seed=10**30), "RecordInvalid", "seed"),
    "a width of 0": (put(width=0), "RecordInvalid", "width"),
    "a field of a later version": (put(later=1), "RecordInvalid", "later"),
    "no picture after": (put(output_images=[]), "RecordInvalid", "0 after"),
    "a picture of another size": (put(width=99), "RecordInvalid", "edit_mask is 16 x 16, the picture 99 x 16"),
    "a mask that is none": (put(edit_mask={"size": [16, 16], "counts": "zz"}), "RecordInvalid", "edit_mask"),
    "another sample's key": (put(key="k3"), "ForeignRecord", "its key is 'k3', not 'k2'"),
    "another photo": (put(source_sha256="0" * 64), "ForeignRecord", "source_sha256"),
    "another task": (put(task="add"), "ForeignRecord", "its task is 'add', not 'remove'"),
    "a task restated from another one": (put(task="add", made_as="style"), "ForeignRecord", "its task is 'style'"),
    "another seed": (put(seed=5), "ForeignRecord", "its seed is 5"),
    "another sample's folder": (files(subfolder="editpairs/r/k3-0"), "ForeignRecord", "k3-0"),
    "a picture that was exchanged": (files(sha256="0" * 64), "ServerFault", "not what was saved"),
    "another's failure": (
        lambda _: {"editpairs": [{"key": "k3", "failure": {"stage": "write", "error_type": "VlmRefusal", "message": ""}}]},
        "ForeignRecord",
        "k3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", STRANGE)
def test_strange_records_cost_their_sample(what: str, edit: Run, spool: Spool, tmp_path: Path) -> None:
    change, error_type, words = STRANGE[what]
    with serving(tmp_path / "fake", records(change)) as url:
        told = edit(url)
    assert sorted(told.finished_keys) == [key for key in KEYS if key != VICTIM]
    assert list(told.failures) == [VICTIM]
    failure = told.failures[VICTIM]
    assert (failure.stage, failure.error_type) == ("edit", error_type)
    assert words in failure.message
    kept = sorted(f"{key}.{role}0.png" for key in KEYS if key != VICTIM for role in ("input", "output"))
    assert sorted(path.name for path in spool.folder.iterdir()) == kept


def test_a_row_that_was_restated_into_another_task_is_its_samples(edit: Run, tmp_path: Path) -> None:
    with serving(tmp_path / "fake", records(put(task="replace", made_as="remove"))) as url:
        told = edit(url)
    assert sorted(told.finished_keys) == KEYS and not told.failures


def of_victim(route: str, answer: bytes | int, end: str = "") -> Callable[[str, str, bytes], bytes | int | None]:
    """One route answers so for the victim's files."""
    return lambda asked, name, _body: (
        answer if asked == route and name.startswith(VICTIM) and name.endswith(end) else None
    )


@pytest.mark.parametrize(
    ("meddle", "words"),
    [
        (of_victim("POST /upload/image", 500), "could not be uploaded"),
        (of_victim("POST /upload/image", b"null"), "could not be uploaded"),
        (of_victim("GET /view", 500, ".json"), "500"),
        (of_victim("GET /view", 500, ".png"), "500"),
        (of_victim("GET /view", b"no PNG", ".png"), "not what was saved"),
    ],
    ids=["upload 500", "upload null", "records 500", "pictures 500", "pictures damaged"],
)
def test_files_that_never_travel_cost_their_sample(meddle: Any, words: str, edit: Run, tmp_path: Path) -> None:
    with serving(tmp_path / "fake", meddle) as url:
        told = edit(url)
    assert sorted(told.finished_keys) == [key for key in KEYS if key != VICTIM]
    assert told.failures[VICTIM].error_type == "ServerFault"
    assert words in told.failures[VICTIM].message


@pytest.mark.parametrize("answer", [500, b"{", b"", b"[" * 3000])
def test_a_prompt_whose_state_is_never_told_is_looked_for_on_disk(
    answer: bytes | int, edit: Run, tmp_path: Path
) -> None:
    """What its sink wrote is whole, whatever the server says of the prompt."""
    asked: list[str] = []

    def meddle(route: str, name: str, _body: bytes) -> bytes | int | None:
        if route == "GET /api/jobs/":
            asked.append(name)
        return answer if asked and name == asked[0] else None

    with serving(tmp_path / "fake", meddle) as url:
        told = edit(url)
    assert (sorted(told.finished_keys), told.failures) == (KEYS, {})


@pytest.mark.parametrize("answer", [b"{}", b"null", b"[" * 3000, 500])
def test_prompts_that_were_taken_without_a_clear_word_are_waited_for(
    answer: bytes | int, edit: Run, tmp_path: Path
) -> None:
    with serving(tmp_path / "fake", lambda route, _name, _body: answer if route == "POST /prompt" else None) as url:
        told = edit(url, keys=KEYS[:2])
    assert (sorted(told.finished_keys), told.failures) == (KEYS[:2], {})


def anothers(route: str, name: str, body: bytes) -> bytes | None:
    """All records are another sample's."""
    return body.replace(name[:4].encode(), b"kxxx") if route == "GET /view" and name.endswith(".json") else None


def test_a_server_whose_records_are_all_anothers_ends_the_run(edit: Run, journal: Journal, tmp_path: Path) -> None:
    """It costs no sample its row: those that were not tried yet go first, and six of them are the server's fault."""
    with (
        serving(tmp_path / "fake", anothers) as url,
        pytest.raises(RunError, match="6 samples in a row"),
    ):
        edit(url, keys=[f"k{number:03d}" for number in range(40)])
    assert journal.counts() == {"pending": 40}


def test_a_server_whose_records_are_anothers_leaves_all_to_another(edit: Run, tmp_path: Path) -> None:
    keys = [f"k{number:03d}" for number in range(40)]
    with serving(tmp_path / "ill", anothers) as ill, serving(tmp_path / "well") as well:
        told = edit(ill, well, keys=keys)
    assert (sorted(told.finished_keys), told.failures) == (keys, {})


def full(route: str, _name: str, _body: bytes) -> int | None:
    return 500 if route == "POST /upload/image" else None


def test_a_server_that_takes_no_files_costs_no_sample(
    edit: Run, journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "MAX_SERVER_FAULTS", 2)
    with serving(tmp_path / "fake", full) as url, pytest.raises(RunError, match="is its disk full") as ended:
        edit(url)
    assert ended.value.status == 1
    assert journal.counts() == {"pending": len(KEYS)}
    assert {journal.fault(key) for key in KEYS} == {1}, "a sample was charged for it"


@pytest.mark.parametrize("pack", [1, 3])
def test_a_sink_without_room_costs_no_sample(pack: int, edit: Run, journal: Journal, tmp_path: Path) -> None:
    instructions = dict.fromkeys(KEYS[2:], "mishap: disk full")
    with serving(tmp_path / "fake") as url, pytest.raises(RunError, match="make room there"):
        edit(url, instructions=instructions, pack=pack)
    counts = journal.counts()
    assert (counts["failed"], counts["done"] + counts["pending"]) == (0, len(KEYS))


def test_a_sink_that_has_room_again_goes_on(edit: Run, tmp_path: Path) -> None:
    with serving(tmp_path / "fake") as url:
        told = edit(url, instructions={VICTIM: "mishap: disk full once"})
    assert (sorted(told.finished_keys), told.failures) == (KEYS, {})
    (line,) = told.lines
    assert "suspended" in line
    assert "its disk is full" in line


def test_a_server_with_room_takes_what_another_has_none_for(edit: Run, tmp_path: Path) -> None:
    with serving(tmp_path / "full", full) as without, serving(tmp_path / "fake") as url:
        told = edit(without, url)
    assert (sorted(told.finished_keys), told.failures) == (KEYS, {})


def painting(colour: int) -> Meddle:
    """A server whose pictures all have its own colour, after a moment."""
    chance = random.Random(colour)

    def png(value: int) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (16, 16), (value, 0, 0)).save(buffer, "PNG")
        return buffer.getvalue()

    pictures = {"input": png(0), "output": png(colour)}

    def meddle(route: str, name: str, _body: bytes) -> bytes | None:
        if route != "GET /view":
            return None
        time.sleep(chance.uniform(0, 0.004))
        if name.endswith(".png"):
            return pictures["output" if "edited" in name else "input"]
        key = name.partition(".")[0]
        files = {
            f"{role}_images": [{"filename": f"{key}-{'edited' if role == 'output' else 'source'}.png", "type": "output",
                                "subfolder": f"editpairs/{'0' * 32}/{key}-0", "sha256": hashlib.sha256(data).hexdigest()}]
            for role, data in pictures.items()
        }  # fmt: skip
        record = {
            "key": key, "task": "remove", "prompt": "Remove it.", "verdict": "keep", "source_id": f"{key}.jpg",
            "source_path": f"{key}.jpg", "source_sha256": hashlib.sha256(double.PHOTO).hexdigest(),
            "seed": sample_seed(0, key, 0), "width": 16, "height": 16,
        }  # fmt: skip
        return json.dumps({"editpairs": [{**files, **record}]}).encode()

    return meddle


def test_of_two_finishers_the_pictures_are_the_records(journal: Journal, spool: Spool, tmp_path: Path) -> None:
    """Two servers bring the same sample at the same moment, 50 times: not once are they mixed."""
    keys = [f"k{number}" for number in range(50)]
    journal.enrol([double.sample(key) for key in keys], None)
    pool, told = double.pool_of(journal, spool, 2)
    items = pool.take("a", lambda _first: len(keys))

    def finisher(url: str) -> Worker:
        return Worker(ForeignServer(ComfyServer(url)), pool, double.work_of(), 1.0)

    with serving(tmp_path / "a", painting(100)) as a, serving(tmp_path / "b", painting(200)) as b:
        finishers = [finisher(a), finisher(b)]
        together = threading.Barrier(2)

        def bring(one: Worker) -> None:
            for item in items:
                posted = Posted(item, f"editpairs/{'0' * 32}/{item.sample.key}-0", 0)
                flight = Flight(f"{item.sample.key}-{id(one)}", [posted], {0: posted})
                together.wait(20)
                one._landing.collect(flight, 0)

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(bring, finishers))
    assert sorted(told.finished_keys) == sorted(keys)
    mixed = []
    for key in keys:
        record = json.loads(journal.record(key) or "")
        data = spool.get(key, "output", 0) or b""
        if hashlib.sha256(data).hexdigest() != record["output_images"][0]["sha256"]:
            mixed.append(key)
    assert mixed == []
    assert len(list(spool.folder.iterdir())) == 2 * len(keys)


def test_words_with_half_a_character_fail_before_they_travel(edit: Run, tmp_path: Path) -> None:
    with serving(tmp_path / "fake") as url:
        told = edit(url, instructions={VICTIM: "Remove it \ud83d."})
    assert sorted(told.finished_keys) == [key for key in KEYS if key != VICTIM]
    failure = told.failures[VICTIM]
    assert (failure.stage, failure.error_type) == ("input", "AnnotationError")
    assert "half a character ('\\ud83d'" in failure.message
