"""What a batch leaves on somebody else's ComfyUI: nothing; and what its route refuses to delete."""

from __future__ import annotations

import http.client
import io
import json
import shutil
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from comfy_nodes.core.run_files import FETCH_ROUTE, MOST_SAMPLES, ROUTE, RunFiles, SinkFolder
from driver.comfyui.client import ComfyServer
from tests.e2e.helpers import Driver, comparable, done_so_far, files_in, kill, rows, table, until
from tests.e2e.proxy import Fault, Proxy

RUN, KEY = "0123456789abcdef" * 2, "c" * 20


@pytest.fixture
def base(comfy: Any) -> Path:
    """The server's folders."""
    return Path(comfy.models.parent)


def below(base: Path) -> set[str]:
    """What batch runs have in them: everything in a folder of its own there."""
    return {f"{kind}/{name}" for kind in ("output", "temp") if (base / kind / "editpairs").is_dir()
            for name in files_in(base / kind / "editpairs") if "/" in name}  # fmt: skip


def send(url: str, body: Any, path: str = ROUTE, method: str = "POST", **headers: str) -> tuple[int, Any]:
    """A request as nobody but its writer wants it, without any client's manners; status and answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with closing(connection):
        connection.putrequest(method, path, skip_accept_encoding=True)
        sent = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        for name, value in {**sent, **{name.replace("_", "-"): value for name, value in headers.items()}}.items():
            connection.putheader(name, value)
        connection.endheaders(data)
        answer = connection.getresponse()
        text = answer.read()
    return answer.status, json.loads(text) if text[:1] == b"{" else text or None


def members(data: bytes) -> set[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return set(opened.namelist())


class Saved:
    """A run's files on the server, by hand, and somebody else's around them."""

    def __init__(self, base: Path):
        self.run, self.temp = base / "output" / "editpairs" / RUN, base / "temp" / "editpairs" / RUN
        self.sample = self.run / f"{KEY}-0"
        self.ours = [self.sample / name for name in (f"{KEY}-0123456789ab-edited.png", f"{KEY}.records.json")]
        self.ours += [self.sample / f".{KEY}-0123456789ab.json.part", self.temp / f"{KEY}.png"]
        self.others = [base / "output" / "theirs.png", base / "output" / "editpairs" / f"{KEY}-0123456789ab.json",
                       base / "input" / "theirs.png", base / "output" / "editpairs" / ("f" * 32) / f"{KEY}-0" / "x.png"]  # fmt: skip
        for path in self.ours + self.others:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")

    def untouched(self) -> bool:
        return all(path.exists() for path in self.ours + self.others)

    def clear(self) -> None:
        for folder in (self.run, self.temp, self.run.with_name("f" * 32)):
            folder.unlink() if folder.is_symlink() else shutil.rmtree(folder, ignore_errors=True)
        for path in self.others:
            path.unlink(missing_ok=True)


@pytest.fixture
def saved(base: Path) -> Any:
    made = Saved(base)
    yield made
    made.clear()


def test_a_batch_leaves_nothing_on_a_server(driver: Driver, photos: Path, base: Path, tmp_path: Path) -> None:
    (photos / "photo005.png").write_bytes(b"no picture")
    theirs = base / "output" / "editpairs" / "theirs.png"
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_bytes(b"x")
    before = below(base)
    ended = driver.run("--input", photos, "--output", tmp_path / "out", expect=1)
    assert len(rows(tmp_path / "out")) == 5 and len(table(tmp_path / "out", "failed")) == 1
    assert below(base) == before and theirs.exists()
    assert "stays there" not in ended.stderr


def test_what_was_home_when_a_run_was_killed_is_not_fetched_again(
    driver: Driver, photos: Path, base: Path, tmp_path: Path
) -> None:
    """And what lies there unfetched is: only the end of the run takes all away."""
    before = below(base)
    process = driver.start("--input", photos, "--output", tmp_path / "out", "--samples-per-prompt", 1)
    until(lambda: done_so_far(tmp_path / "out") > 1, "two samples are home")
    kill(process)
    with closing(sqlite3.connect(tmp_path / "out" / "run.sqlite")) as journal:
        done = dict(journal.execute("SELECT key, submissions FROM samples WHERE state = 'done'"))
        ((run_id,),) = journal.execute("SELECT value FROM meta WHERE name = 'run_id'")
    assert not all((base / "output" / "editpairs" / run_id / f"{key}-0").exists() for key in done)
    driver.run("--input", photos, "--output", tmp_path / "out")
    with closing(sqlite3.connect(tmp_path / "out" / "run.sqlite")) as journal:
        again = dict(journal.execute("SELECT key, submissions FROM samples"))
    assert {key: again[key] for key in done} == done
    driver.run("--input", photos, "--output", tmp_path / "whole")
    assert comparable(tmp_path / "out") == comparable(tmp_path / "whole")
    assert below(base) == before


def test_only_what_is_asked_for_and_the_runs_own(comfy: Any, saved: Saved) -> None:
    other = saved.sample.with_name(f"{KEY}-1") / f"{KEY}-0123456789ab-edited.png"
    other.parent.mkdir()
    other.write_bytes(b"x")
    upload = saved.temp / "later.png"
    upload.write_bytes(b"x")
    notes = saved.sample / "notes.txt"
    notes.write_text("mine")
    asked = {"run_id": RUN, "samples": [{"key": KEY, "submission": 0}], "uploads": [f"{KEY}.png"]}
    assert send(comfy.url, asked) == (200, {"left": 1})
    assert [path.exists() for path in saved.ours] == [False] * 4
    assert other.exists() and upload.exists() and notes.exists()

    notes.rename(saved.run / "notes.txt")
    assert send(comfy.url, {"run_id": RUN, "everything": True}) == (200, {"left": 1})
    assert files_in(saved.run) == {"notes.txt"} and not saved.temp.exists()
    assert all(path.exists() for path in saved.others)
    (saved.run / "notes.txt").unlink()
    assert send(comfy.url, {"run_id": RUN, "everything": True}) == (200, {"left": 0})
    assert not saved.run.exists()


HOSTILE = [
    {"run_id": ".."},
    {"run_id": "."},
    {"run_id": ""},
    {"run_id": "/etc"},
    {"run_id": f"{RUN}/.."},
    {"run_id": f"../{RUN}"},
    {"run_id": f"{RUN}\\.."},
    {"run_id": "%2e%2e"},
    {"run_id": f"{RUN}%2f.."},
    {"run_id": RUN.upper()},
    {"run_id": f"{RUN}\n"},
    {"run_id": None},
    {"run_id": [RUN]},
    {"run_id": RUN, "samples": [{"key": "..", "submission": 0}]},
    {"run_id": RUN, "samples": [{"key": f"../../{KEY}", "submission": 0}]},
    {"run_id": RUN, "samples": [{"key": "/tmp", "submission": 0}]},
    {"run_id": RUN, "samples": [{"key": "%2e%2e", "submission": 0}]},
    {"run_id": RUN, "samples": [{"key": KEY, "submission": -1}]},
    {"run_id": RUN, "samples": [{"key": KEY, "submission": "0/../.."}]},
    {"run_id": RUN, "samples": [f"{KEY}-0"]},
    {"run_id": RUN, "uploads": [".."]},
    {"run_id": RUN, "uploads": [f"../../{KEY}.png"]},
    {"run_id": RUN, "uploads": ["/etc/passwd"]},
    {"run_id": RUN, "uploads": ["..\\x.png"]},
    {"run_id": RUN, "uploads": ["\0"]},
    {"run_id": RUN, "everything": True, "folder": "/"},
    {"everything": True},
    [],
    b"",
    b"{",
    b"\xff",
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", HOSTILE, ids=lambda body: str(body)[:40])
def test_what_is_no_runs_is_refused(body: Any, comfy: Any, saved: Saved) -> None:
    assert send(comfy.url, body)[0] == 400
    assert saved.untouched()


WANTED = {"run_id": RUN, "samples": [{"key": KEY, "submission": 0}]}


def test_a_samples_pictures_and_its_records_are_given_and_stay(comfy: Any, saved: Saved) -> None:
    """What another program put there is not given, nor what is being written, nor another sample's."""
    for name in ("notes.txt", "theirs.png", f"{KEY}-0123456789ab.json"):
        (saved.sample / name).write_bytes(b"x")
    other = saved.sample.with_name(f"{KEY}-1") / f"{KEY}-0123456789ab-edited.png"
    other.parent.mkdir()
    other.write_bytes(b"x")
    names = {f"{KEY}-0/{KEY}-0123456789ab-edited.png", f"{KEY}-0/{KEY}.records.json"}
    asked = {"run_id": RUN, "samples": [{"key": KEY, "submission": number} for number in (0, 1, 2)]}
    status, given = send(comfy.url, asked, FETCH_ROUTE)
    assert (status, members(given)) == (200, names)  # of the second there are no records yet, nothing of the third
    assert saved.untouched() and send(comfy.url, asked, FETCH_ROUTE) == (status, given)

    server = ComfyServer(comfy.url)
    server.fetch_ahead(RUN, [SinkFolder(key=KEY, submission=0)])
    (saved.sample / f"{KEY}.records.json").unlink()
    assert server.fetch(f"{KEY}.records.json", f"editpairs/{RUN}/{KEY}-0") == b"x"


def test_no_more_is_given_than_an_answer_may_hold(comfy: Any, saved: Saved) -> None:
    """Whole samples that fit; of the next one nothing, as it is asked for again, or file by file."""
    second = saved.sample.with_name(f"{KEY}-1")
    second.mkdir()
    (second / f"{KEY}.records.json").write_bytes(b"x")
    with (second / f"{KEY}-0123456789ab-edited.png").open("wb") as file:
        file.truncate(200 << 20)
    asked = {"run_id": RUN, "samples": [{"key": KEY, "submission": number} for number in (0, 1)]}
    status, given = send(comfy.url, asked, FETCH_ROUTE)
    assert status == 200 and {name.split("/")[0] for name in members(given)} == {f"{KEY}-0"}


@pytest.mark.parametrize(
    "body",
    [
        *({"samples": WANTED["samples"], **body} for body in HOSTILE[:13] if isinstance(body, dict)),
        *(body for body in HOSTILE if isinstance(body, dict) and "samples" in body),
        {"run_id": RUN},
        {"run_id": RUN, "samples": []},
        {"run_id": RUN, "samples": WANTED["samples"] * (MOST_SAMPLES + 1)},
        {**WANTED, "everything": True},
        *HOSTILE[-5:],
    ],
    ids=lambda body: str(body)[:40],
)
def test_what_is_no_runs_is_not_given(body: Any, comfy: Any, saved: Saved) -> None:
    assert send(comfy.url, body, FETCH_ROUTE)[0] == 400


@pytest.mark.parametrize("place", ["run", "sample", "file"])
def test_what_links_lead_to_is_not_given(place: str, comfy: Any, saved: Saved, tmp_path: Path) -> None:
    link = saved.ours[0] if place == "file" else getattr(saved, place)
    elsewhere = tmp_path / "elsewhere"
    link.rename(elsewhere)
    link.symlink_to(elsewhere, target_is_directory=elsewhere.is_dir())
    status, given = send(comfy.url, WANTED, FETCH_ROUTE)
    link.unlink()
    assert (status, members(given)) == (200, {f"{KEY}-0/{KEY}.records.json"} if place == "file" else set())


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_other_methods_give_nothing(method: str, comfy: Any, saved: Saved) -> None:
    assert send(comfy.url, WANTED, FETCH_ROUTE, method)[0] in (404, 405)


def test_names_that_are_not_there_touch_nothing(comfy: Any, saved: Saved) -> None:
    for name in ("*", "%2e%2e", "theirs.png", f"{KEY}.PNG", "C:theirs.png"):
        assert send(comfy.url, {"run_id": RUN, "uploads": [name]}) == (200, {"left": 0})
    assert saved.untouched()


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Content_Type": "text/plain"},
        {"Content_Type": "application/x-www-form-urlencoded"},
        {"Content_Type": "multipart/form-data; boundary=x"},
    ],
    ids=str,
)
def test_pages_of_other_sites_are_refused(headers: dict[str, str], comfy: Any, saved: Saved) -> None:
    """As ComfyUI does it, and what a browser sends to other sites without asking them first is not read at all."""
    for prefix in ("", "/api"):
        for body, route in (({"run_id": RUN, "everything": True}, ROUTE), (WANTED, FETCH_ROUTE)):
            assert send(comfy.url, body, f"{prefix}{route}", **headers)[0] in (403, 415)
    assert saved.untouched()


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_other_methods_and_paths_delete_nothing(method: str, comfy: Any, saved: Saved) -> None:
    for path in (ROUTE, f"{ROUTE}/{RUN}", f"{ROUTE}/../{RUN}", f"{ROUTE}?run_id={RUN}&everything=true"):
        assert send(comfy.url, {"run_id": RUN, "everything": True}, path, method)[0] in (404, 405)
    assert saved.untouched()


@pytest.mark.parametrize("place", ["run", "sample", "temp", "file"])
def test_links_are_not_followed(place: str, comfy: Any, saved: Saved, tmp_path: Path) -> None:
    """Wherever somebody planted one, what it leads to stays, and so does the link."""
    link = saved.ours[0] if place == "file" else getattr(saved, place)
    elsewhere = tmp_path / "elsewhere"
    link.rename(elsewhere)
    link.symlink_to(elsewhere, target_is_directory=elsewhere.is_dir())
    before = files_in(tmp_path) | {str(link)}
    asked = {"run_id": RUN, "samples": [{"key": KEY, "submission": 0}], "uploads": [f"{KEY}.png"]}
    for body in (asked, {"run_id": RUN, "everything": True}):
        status, answer = send(comfy.url, body)
        assert status == 200 and answer["left"] > 0
    assert link.is_symlink() and files_in(tmp_path) | {str(link)} == before
    link.unlink()


@pytest.mark.parametrize(("fault", "why"), [("not found", "is too old to take it away"), ("refuse", "answered 500")])
def test_where_it_cannot_be_taken_away_the_run_says_so_once(
    fault: Fault, why: str, driver: Driver, photos: Path, base: Path, tmp_path: Path
) -> None:
    before = below(base)
    with Proxy(driver.url, lambda route, _: fault if route == f"POST {ROUTE}" else None) as proxy:
        run = ("--input", photos, "--output", tmp_path / "out", "--limit", 2, "--samples-per-prompt", 1)
        ended = driver.run(*run, server=proxy.url)
        assert proxy.seen[f"POST {ROUTE}"] == (2 if fault == "not found" else 3)
    (line,) = (line for line in ended.stderr.splitlines() if "stays there" in line)
    (run_id,) = {name.split("/")[1] for name in below(base) - before}
    assert line.startswith(f"{proxy.url}: editpairs/{run_id} in its output folder stays there (") and why in line
    assert len(rows(tmp_path / "out")) == 2
    ComfyServer(driver.url).discard(RunFiles(run_id=run_id, everything=True))
    assert below(base) == before
