"""The command's options and its end: what would do nothing is refused in one line, and only failures count."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfy_nodes.core.records import FailureRecord, SampleFailure
from driver import batch, export, review
from driver.artists import commands
from driver.batch import _conclude
from driver.command import parse
from driver.options import RunOptions
from driver.report.summary import Summary

WRITE = ("--workflow", "write", "--kinds", "remove=3")
REMOVE = ("--workflow", "remove")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (("--adopt", "a.json", "--dry-run"), "--dry-run has no effect with --adopt; leave it out"),
        (("--collect", "pairs", "--dry-run"), "--dry-run has no effect with --collect; leave it out"),
        (("--open", "k", "--output", "out", "--dry-run"), "--dry-run has no effect with --open; leave it out"),
        (
            ("--open", "k", "--output", "out", "--retry-failed"),
            "--retry-failed has no effect with --open; leave it out",
        ),
        (("--collect", "pairs", "--input", "photos"), "--input has no effect with --collect; leave it out"),
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
        ("--adopt", "a.json", "--adopt-choice", "task=remove", "--output", "b.json", "--server", "http://a"),
        ("--collect", "pairs", "--output", "out", "--layout", "wds", "--max-failed", "3"),
        ("--open", "k", "--output", "out", "--again", "--input", "photos", "--image-root", "x", "--server", "http://a"),
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
    assert _conclude(options, summary, stopped=False) == status
    assert f"{failed} failed, 5 skipped" in (said := capsys.readouterr().out)
    assert "4 NoColour, 1 NoRegion; skipped.parquet says why" in said


def test_what_a_node_skips_is_skipped_on_its_way_through_the_record() -> None:
    failure = SampleFailure("edit", "NoColour", "it has it already", "Alter #2", skipped=True)
    told = FailureRecord(key="0" * 20, failure=failure).model_dump_json()
    assert FailureRecord.model_validate_json(told).failure == failure


@pytest.mark.parametrize(
    "given",
    [
        ("batch", "--workflow", "remove", "--output", ""),
        ("batch", "--workflow", "remove", "--input", ""),
        ("batch", "--open", ""),
        ("export", "", "--to", "pairs", "--output", "x"),
        ("export", "run", "--to", "pairs", "--output", ""),
        ("review", ""),
    ],
)
def test_an_empty_name_is_refused(given: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        {"batch": batch.main, "export": export.main, "review": review.main}[given[0]](list(given[1:]))
    assert ended.value.code == 2
    assert "is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (("batch", "--open", "k", "--output", "nonexist"), "nonexist: no such folder"),
        (("batch", "--open", "k", "--output", "."), ".: holds no finished dataset"),
        (("batch", "--adopt", "nonexist.json"), "nonexist.json"),
        (("batch", "--adopt", "README.md"), "README.md: not JSON"),
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

    monkeypatch.setattr(commands, "running_hosts", started)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("# words")
    assert {"batch": batch.main, "export": export.main, "review": review.main}[given[0]](list(given[1:])) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1


def test_a_share_is_its_number_and_how_many_there_are() -> None:
    assert parse([*REMOVE, "--shard", "3/8", "--shard-size", "50"]).shard == (3, 8)
    assert RunOptions.of(vars(parse([*REMOVE]))).shard is None


@pytest.mark.parametrize("given", ["8/8", "-1/8", "1", "a/b", "1/", "0/0"])
def test_a_share_that_is_none_is_refused(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([*REMOVE, f"--shard={given}"])
    assert "is no share such as 0/8" in capsys.readouterr().err


def test_a_limit_is_of_a_whole_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([*REMOVE, "--shard", "0/2", "--limit", "5"])
    assert "--limit has no effect with --shard" in capsys.readouterr().err
