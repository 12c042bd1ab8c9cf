"""The log for machines: an event a line, small, without secrets, whole after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.core.records import SampleFailure
from driver.errors import RunError
from driver.monitor import log as run_log
from driver.monitor.listeners import ServerView
from driver.monitor.log import RunLog
from driver.samples import Sample

SampleOf = Callable[..., Sample]


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "run.log.jsonl").read_text().splitlines()]


def test_what_it_is_told_is_a_line_each(tmp_path: Path, sample_of: SampleOf) -> None:
    log = RunLog(tmp_path)
    log.finished("gpu0", sample_of("k1"), ["keep"], 1.5)
    log.failed(sample_of("k2"), SampleFailure("edit", "ValueError", "no disc", "Paint #4"))
    log.failed(sample_of("k3"), SampleFailure("edit", "NoColour", "it has it already", skipped=True))
    log.retried("gpu1", 16, "ServerFault", "500 from there")
    log.say("stopping: waiting for 2 prompts")
    log.close()
    told = events(tmp_path)
    assert all(one.pop("time").endswith("+00:00") for one in told)
    assert told == [
        {"event": "finished", "server": "gpu0", "key": "k1", "verdicts": ["keep"], "seconds": 1.5},
        {"event": "failed", "key": "k2", "source": "k2.jpg", "stage": "edit", "node": "Paint #4",
         "error_class": "ValueError", "message": "no disc"},
        {"event": "skipped", "key": "k3", "source": "k3.jpg", "stage": "edit", "node": "", "error_class": "NoColour",
         "message": "it has it already"},
        {"event": "retried", "server": "gpu1", "samples": 16, "error_class": "ServerFault",
         "message": "500 from there"},
        {"event": "said", "message": "stopping: waiting for 2 prompts"},
    ]  # fmt: skip


def test_a_server_is_noted_when_its_state_or_its_faults_change(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    for done in range(100):
        log.server(ServerView("gpu0", "working", in_flight=2, done=done))
    log.server(ServerView("gpu0", "away", faults=1))
    log.server(ServerView("gpu1", "working"))
    log.close()
    assert [(one["server"], one["state"], one["faults"]) for one in events(tmp_path)] == [
        ("gpu0", "working", 0),
        ("gpu0", "away", 1),
        ("gpu1", "working", 0),
    ]


def test_no_secret_reaches_the_file(tmp_path: Path, sample_of: SampleOf) -> None:
    secret = "sk-verysecret0123456789"
    log = RunLog(tmp_path)
    log.failed(sample_of("k"), SampleFailure("write", "VlmError", f"401 for {secret}"))
    log.retried("gpu0", 1, "VlmError", f"401 for {secret}")
    log.say(f"the key {secret} is refused")
    log.close()
    assert "verysecret" not in (tmp_path / "run.log.jsonl").read_text()
    assert len(events(tmp_path)) == 3


def test_it_goes_on_behind_a_line_that_a_kill_tore(tmp_path: Path) -> None:
    (tmp_path / "run.log.jsonl").write_text('{"event": "said"}\n{"event": "fini')
    log = RunLog(tmp_path)
    log.say("again")
    log.close()
    lines = (tmp_path / "run.log.jsonl").read_text().splitlines()
    assert lines[1] == '{"event": "fini'
    assert json.loads(lines[2])["message"] == "again"


def test_its_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "LOG_BYTES", 1000)
    log = RunLog(tmp_path)
    for number in range(1000):
        log.say(f"line {number}")
    log.close()
    files = list(tmp_path.glob("run.log.jsonl*"))
    assert len(files) == 1 + run_log.OLD_LOGS
    assert sum(path.stat().st_size for path in files) <= 1000 * len(files)
    assert events(tmp_path)[-1]["message"] == "line 999"


def test_names_that_are_no_text(tmp_path: Path) -> None:
    log = RunLog(tmp_path)
    log.say("photo \udcff.jpg and ä")
    log.close()
    assert events(tmp_path)[0]["message"] == "photo \udcff.jpg and ä"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "run.log.jsonl").mkdir()
    with pytest.raises(RunError, match="cannot be written"):
        RunLog(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_full_disk_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "run.log.jsonl").symlink_to("/dev/full")
    log = RunLog(tmp_path)
    with pytest.raises(RunError, match="No space left on device"):
        log.say("anything")
