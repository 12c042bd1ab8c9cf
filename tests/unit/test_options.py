"""Options that contradict each other, or would do nothing, end the command with one line."""

from __future__ import annotations

import pytest

from driver.batch import _parse

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
        _parse(list(given))
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
    _parse(list(given))
