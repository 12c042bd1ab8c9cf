"""The command's options and its end: what would do nothing is refused in one line, and only failures count."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from argparse import Namespace
from dataclasses import fields
from pathlib import Path

import pytest

from comfy_nodes.core.records import FailureRecord, SampleFailure
from driver import adopt, batch, collect, derive, export, merge, pool, release, review
from driver import open as open_command
from driver.artists import one_server as sharing
from driver.command import REASONS, STATUSES, Ended, carry_out, conclude
from driver.errors import RunError, ServerGone
from driver.options import RunOptions, parse
from driver.report.summary import Summary

REPOSITORY = Path(__file__).resolve().parents[2]
WRITE = ("--workflow", "write", "--kinds", "remove=3")
REMOVE = ("--workflow", "remove")

COMMANDS = {
    "batch": batch,
    "adopt": adopt,
    "collect": collect,
    "open": open_command,
    "export": export,
    "derive": derive,
    "review": review,
    "pool": pool,
    "merge": merge,
    "release": release,
}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ((*WRITE, "--regions", "one"), "--regions has no effect with --kinds; leave one of them out"),
        (
            (*REMOVE, "--servers", "2", "--server", "http://a"),
            "--servers has no effect with --server; leave one of them",
        ),
        (
            (*REMOVE, "--recycle", "9", "--server", "http://a"),
            "--recycle has no effect with --server; leave one of them",
        ),
        ((*REMOVE, "--kinds-per-region", "2"), "--kinds-per-region goes with --kinds"),
    ],
)
def test_what_would_do_nothing_is_refused(
    given: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(list(given))
    assert ended.value.code == 2
    assert f"batch.py: error: {line}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "given",
    [
        (*REMOVE, "--dry-run", "--retry-failed", "--regions", "one", "--servers", "2", "--recycle", "9"),
        (*WRITE, "--kinds-per-region", "2", "--server", "http://a"),
    ],
)
def test_what_goes_together_is_taken(given: tuple[str, ...]) -> None:
    parse(list(given))


@pytest.mark.parametrize(("failed", "allowed", "status"), [(0, "0", 0), (1, "0", 1), (1, "1", 0)])
def test_the_exit_status_counts_failures_and_nothing_that_was_skipped(
    failed: int, allowed: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    options = parse([*REMOVE, "--output", "out", "--max-failed", allowed])
    skips = {"NoColour": 4, "NoRegion": 1}
    summary = Summary(
        "remove",
        "classical",
        "remove",
        9,
        3,
        0,
        0,
        failed,
        0,
        {"ValueError": failed},
        {},
        1.0,
        1.0,
        skipped=5,
        skips=skips,
    )
    assert conclude(options, summary, stopped=False).status == status
    assert f"{failed} failed, 5 skipped" in (said := capsys.readouterr().out)
    assert "4 NoColour, 1 NoRegion; skipped.parquet says why" in said


@pytest.mark.parametrize(
    ("dialogues", "advice"),
    [({}, "--workflow verify"), ({"planned": 3, "kept": 0, "shorter": 0}, "with another --output")],
)
def test_what_nobody_looked_at_is_judged_where_that_helps(
    tmp_path: Path, dialogues: dict[str, int], advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dialogues end behind a turn that is unscored: judging it later makes no other one."""
    summary = Summary("", "", "", 3, 0, 0, 3, 0, 0, {}, {}, 1.0, 1.0, dialogues=dialogues)
    conclude(RunOptions("content_memory", tmp_path / "out"), summary, stopped=False)
    assert advice in capsys.readouterr().err


def test_what_a_node_skips_is_skipped_on_its_way_through_the_record() -> None:
    failure = SampleFailure("edit", "NoColour", "it has it already", "Alter #2", skipped=True)
    told = FailureRecord(key="0" * 20, failure=failure).model_dump_json()
    assert FailureRecord.model_validate_json(told).failure == failure


@pytest.mark.parametrize(
    "given",
    [
        ("batch", "--workflow", "remove", "--output", ""),
        ("batch", "--workflow", "remove", "--input", ""),
        ("adopt", ""),
        ("collect", ""),
        ("collect", "pairs", "--output", ""),
        ("open", "run", ""),
        ("open", "", "k"),
        ("export", "", "--to", "pairs", "--output", "x"),
        ("export", "run", "--to", "pairs", "--output", ""),
        ("review", ""),
    ],
)
def test_an_empty_name_is_refused(given: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        COMMANDS[given[0]].main(list(given[1:]))
    assert ended.value.code == 2
    assert "is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (("open", "nonexist", "k"), "nonexist: no such folder"),
        (("open", ".", "k"), ".: holds no finished dataset"),
        (("adopt", "nonexist.json"), "nonexist.json"),
        (("adopt", "README.md"), "README.md: not JSON"),
        (("collect", "nonexist"), "nonexist: no such folder"),
        (("export", "nonexist", "--to", "pairs", "--output", "x"), "nonexist: no such folder"),
        (("review", "nonexist"), "nonexist: no such folder"),
        (("review", "nonexist", "--report"), "nonexist: no such folder"),
    ],
)
def test_what_is_not_there_is_one_line_before_a_server_is_started(
    given: tuple[str, ...],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def started(*_: object) -> None:
        raise AssertionError("a server was started")

    monkeypatch.setattr(sharing, "running_hosts", started)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("# words")
    assert COMMANDS[given[0]].main(list(given[1:])) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1


# What all commands agree on


@pytest.mark.parametrize(
    ("given", "now"),
    [
        (("--adopt", "my graph.json"), "adopt.py 'my graph.json'"),
        (
            ("--adopt", "a.json", "--adopt-choice", "task=remove", "--output", "b.json", "--server", "http://a"),
            "adopt.py a.json --choice task=remove --output b.json --server http://a",
        ),
        (
            ("--collect", "pairs", "--output", "out", "--layout", "wds", "--max-failed", "3"),
            "collect.py pairs --output out --layout wds --max-failed 3",
        ),
        (("--open", "k~1", "--output", "out", "--again", "--input", "a"), "open.py out 'k~1' --again --input a"),
        (("--again",), "open.py RUN KEY --again"),
        (("--collect",), "collect.py FOLDER"),
    ],
)
def test_an_option_of_old_names_the_command_that_it_is_now(
    given: tuple[str, ...], now: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        batch.main(list(given))
    assert ended.value.code == 2
    assert capsys.readouterr() == ("", f"batch.py: a command of its own now: python driver/{now}\n")


def test_a_program_is_told_of_an_option_of_old_in_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        batch.main(["--collect", "pairs", "--json"])
    said = capsys.readouterr()
    assert f"batch.py: {json.loads(said.out)['message']}\n" == said.err


@pytest.mark.parametrize("both", [False, True], ids=["stdout", "stderr too"])
@pytest.mark.parametrize("words", [("--json",), ("--json", "--nonsense")], ids=["at its end", "misused"])
def test_a_reader_that_left_is_no_fault_of_the_program(words: tuple[str, ...], both: bool, tmp_path: Path) -> None:
    command = [sys.executable, "driver/review.py", str(tmp_path / "nonexist"), *words]
    reader, writer = os.pipe()
    os.close(reader)
    errors = writer if both else subprocess.PIPE
    done = subprocess.run(command, stdout=writer, stderr=errors, text=True, cwd=REPOSITORY, check=False)
    os.close(writer)
    assert done.returncode == 1
    if not both:
        assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
        assert done.stderr.endswith("review.py: broken off, as nobody reads what it says; run the same command again\n")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("open", ("s3://bucket/run", "k")),
        ("export", ("run", "--to", "pairs", "--output", "s3://bucket/pairs")),
        ("adopt", ("https://host/graph.json",)),
    ],
)
def test_a_url_is_refused_where_only_a_path_is_read(
    name: str, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        COMMANDS[name].main(list(words))
    assert "is a URL; name what lies on this machine" in capsys.readouterr().err


@pytest.mark.parametrize("folder", [".", "/"])
def test_a_folder_is_no_graph(folder: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert adopt.main([folder]) == 2
    assert f"adopt.py: {folder}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--report", "--sample", "3"), "--sample has no effect with --report; leave one of them out"),
        (("--report", "--per-task"), "--per-task has no effect with --report"),
        (("--report", "--seed", "0"), "--seed has no effect with --report"),
        (("--report", "--port", "0"), "--port has no effect with --report"),
        (("--report", "--labeller", "a"), "--labeller has no effect with --report"),
        (("--precision", "0.9"), "--precision goes with --report"),
    ],
)
def test_a_review_refuses_what_would_do_nothing(
    words: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        review.main(["run", *words])
    assert f"review.py: error: {line}" in capsys.readouterr().err


@pytest.mark.parametrize("start", [("driver/{}.py",), ("-m", "driver.{}")], ids=["file", "module"])
@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_says_what_the_statuses_and_the_shared_options_mean(name: str, start: tuple[str, ...]) -> None:
    command = [sys.executable, *(word.format(name) for word in start), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    told = " ".join(done.stdout.split())
    assert told.startswith(f"usage: {name}.py ") and told.endswith(STATUSES)
    for words in (
        "--dry-run check everything, show what would be done, do nothing",
        "--json one line of JSON on stdout",
    ):
        assert words in told
    for old in ("--adopt", "--collect", "--open", "--again" if name != "open" else "--adopt"):
        assert old not in told.split()


def test_the_help_of_a_run_is_short_and_that_of_all_options_has_all(capsys: pytest.CaptureFixture[str]) -> None:
    told = {}
    for word in ("--help", "--help-all"):
        with pytest.raises(SystemExit) as ended:
            parse([word])
        assert ended.value.code == 0
        told[word] = capsys.readouterr().out
    every = {f"--{one.name.replace('_', '-')}" for one in fields(RunOptions)} - {"--publish-to"}
    shown = {
        word: {name for name in every if re.search(rf"^  {name}\b(?!-)", text, re.M)} for word, text in told.items()
    }
    assert shown["--help-all"] == every
    common = {"--workflow", "--input", "--output", "--server", "--dry-run", "--retry-failed", "--status", "--until"}
    assert common <= shown["--help"]
    assert len(told["--help"].splitlines()) <= 52


@pytest.mark.parametrize("wrong", [(), ("--nonsense",)], ids=["not there", "no such option"])
@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_one_line_also_where_nothing_was_started(
    name: str, wrong: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    no = str(tmp_path / "nonexist")
    rest = {
        "batch": ("--workflow", no),
        "open": (no, "k"),
        "export": (no, "--to", "pairs", "--output", "x"),
        "derive": (no, "--output", "x"),
        "merge": (no, "--output", "x"),
        "release": (no, "--output", "x"),
        "pool": ("find", no, "--words", "a", "--output", "x"),
    }
    words = [*rest.get(name, (no,)), *wrong, "--json"]
    if wrong:
        with pytest.raises(SystemExit, match="2"):
            COMMANDS[name].main(words)
    else:
        assert COMMANDS[name].main(words) == 2
    said = capsys.readouterr()
    (line,) = said.out.splitlines()
    told = json.loads(line)
    assert (told["command"], told["status"], told["reason"]) == (f"{name}.py", 2, "nothing was started")
    assert told["message"] in said.err


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (None, 0, ""),
        (RunError("a: is not there; bring it"), 2, "x.py: a: is not there; bring it"),
        (RunError("a: broke off", 1), 1, "x.py: a: broke off"),
        (
            ServerGone("http://a: nothing answers"),
            2,
            "nothing answers: see to the server and run the same command again",
        ),
        (
            sqlite3.OperationalError("full"),
            1,
            "x.py: out: the journal cannot be written (full); is the disk full or read-only?",
        ),
        (sqlite3.DatabaseError("torn"), 1, "x.py: out: its journal, run.sqlite, is damaged (torn); "),
        (ModuleNotFoundError("no", name="pyarrow"), 2, "the package pyarrow is missing: run python install.py"),
        (KeyboardInterrupt(), 130, "x.py: stopped; nothing that was done is lost"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_goes_wrong_ends_every_command_alike(
    fault: BaseException | None, status: int, words: str, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    def work(_options: Namespace) -> Ended:
        print("words for a person")
        if fault:
            raise fault
        return Ended({"rows": 3})

    options = Namespace(run=Path("out"), dry_run=False, json=as_json)
    assert carry_out("x.py", lambda _words: options, work, []) == status
    said = capsys.readouterr()
    assert words in said.err and ("words for a person" in (said.err if as_json else said.out))
    if as_json:
        (line,) = said.out.splitlines()
        told = json.loads(line)
        assert (told["command"], told["status"], told["reason"]) == ("x.py", status, REASONS[status])
        assert told["message"] is None if not fault else f"x.py: {told['message']}\n" in said.err
        assert fault or told["rows"] == 3


def test_a_share_is_its_number_and_how_many_there_are() -> None:
    assert parse([*REMOVE, "--shard", "3/8", "--shard-size", "50"]).shard == (3, 8)
    assert parse([*REMOVE]).shard is None


@pytest.mark.parametrize("given", ["8/8", "-1/8", "1", "a/b", "1/", "0/0"])
def test_a_share_that_is_none_is_refused(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([*REMOVE, f"--shard={given}"])
    assert "is no share such as 0/8" in capsys.readouterr().err


def test_a_limit_is_of_a_whole_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([*REMOVE, "--shard", "0/2", "--limit", "5"])
    assert "--limit has no effect with --shard" in capsys.readouterr().err
