"""What a run shows: lines where there is no terminal, a display where there is one, and cheap at any speed."""

from __future__ import annotations

import contextlib
import io
import re
import threading
import time
from collections.abc import Callable

import pytest

from comfy_nodes.core.records import SampleFailure
from driver.monitor import terminal as progress
from driver.monitor.listeners import Reporters, ServerView
from driver.monitor.stages import StageProgress
from driver.monitor.terminal import LINES_PER_CLASS, Progress, SharedScreen, Waiting
from driver.samples import Sample

SampleOf = Callable[..., Sample]
Captured = pytest.CaptureFixture[str]


class Terminal(io.StringIO):
    """A terminal that keeps what is written to it."""

    def isatty(self) -> bool:
        return True

    @property
    def plain(self) -> str:
        """Without colours and cursor movements."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.getvalue())


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What a test puts in the place of stderr, which pytest exchanges between a fixture and its test."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def memory(message: str = "no memory") -> SampleFailure:
    return SampleFailure("edit", "OutOfMemory", message)


def test_lines_come_now_and_then(sample_of: SampleOf, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Progress("remove", total=100, finished=40, failed=2)
    for _ in range(9):
        shown.finished("gpu0", sample_of("a"), ["keep"], 1.0)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    shown.finished("gpu0", sample_of("a"), ["keep"], 1.0)
    line = capsys.readouterr().err
    assert line.startswith("remove: 50/100, ")
    assert line.endswith("s left, 2 failed\n")
    shown.failed(sample_of("wall"), SampleFailure("edit", "NoColour", "it has it already", skipped=True))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "skipped: wall.jpg: it has it already"
    assert lines[1].endswith("s left, 2 failed, 1 skipped")
    shown.close()
    assert "51/100" in capsys.readouterr().err


def test_nothing_is_said_of_a_run_in_which_nothing_happened(capsys: Captured) -> None:
    Progress("remove", total=3, finished=3, failed=0).close()
    captured = capsys.readouterr()
    assert captured.err + captured.out == ""


def test_failures_are_named_until_they_are_many(sample_of: SampleOf, capsys: Captured) -> None:
    shown = Progress("remove", total=5000, finished=0, failed=0)
    shown.failed(sample_of("other"), SampleFailure("input", "NoRegion", "no region"))
    for number in range(2000):
        shown.failed(sample_of(f"photo{number}"), memory())
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "failed: other.jpg: no region"
    assert lines[1] == "failed: photo0.jpg: no memory"
    assert lines[-1] == "further OutOfMemory (failed) are only counted here; run.log.jsonl has them"
    assert len(lines) == 1 + LINES_PER_CLASS + 1


def test_retries_are_named_until_they_are_many(capsys: Captured) -> None:
    shown = Progress("remove", total=5000, finished=0, failed=0)
    for _ in range(20):
        shown.retried("gpu0", 4, "ServerFault", "500 from there")
    shown.retried("gpu1", 1, "Zombie", "silent for 60 s")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "gpu0: 4 samples wait again: ServerFault: 500 from there"
    assert lines[-1] == "gpu1: 1 sample wait again: Zombie: silent for 60 s"
    assert sum("ServerFault" in line for line in lines) == 4


def test_a_servers_state_is_a_line_only_when_it_matters(capsys: Captured) -> None:
    shown = Progress("remove", total=5, finished=0, failed=0)
    for state in ("starting", "working", "idle", "working", "working", "away", "away", "working"):
        shown.server(ServerView("gpu0", state, faults=1 if state == "away" else 0))
    assert capsys.readouterr().err.splitlines() == [
        "gpu0: starting",
        "gpu0: working",
        "gpu0: away (1 faults so far)",
        "gpu0: working",
    ]


def test_a_terminal_shows_servers_and_errors(sample_of: SampleOf, terminal: Terminal, capsys: Captured) -> None:
    with contextlib.redirect_stderr(terminal):
        shown = Progress("remove", total=100, finished=10, failed=1)
        shown.server(ServerView("gpu0", "working", 32, 40, 3, 16, 1.25))
        shown.server(ServerView("gpu1", "away"))
        shown.finished("gpu0", sample_of("a"), ["keep"], 1.0)
        shown.failed(sample_of("[red]b"), memory())
        shown.retried("gpu1", 16, "ServerFault", "500")
        shown.say("a line")
        shown.close()
    last = terminal.plain[terminal.plain.rindex("remove") :]
    assert "12/100" in last
    assert "2 failed" in last
    assert re.search(r"gpu0 +working +32 +40 +16 +1\.25 +3", last)
    assert re.search(r"gpu1 +away", last)
    assert "16 retried: ServerFault, 1 failed: OutOfMemory" in last
    assert "failed: [red]b.jpg: no memory" in terminal.plain
    assert "a line" in terminal.plain
    assert capsys.readouterr().out == ""


def test_many_samples_a_second_are_drawn_a_few_times(sample_of: SampleOf, terminal: Terminal) -> None:
    sample, view = sample_of("a"), ServerView("gpu0", "working")
    with contextlib.redirect_stderr(terminal):
        shown = Progress("remove", total=20_000, finished=0, failed=0)
        begun, used = time.monotonic(), 0.0
        for _ in range(200):
            time.sleep(0.005)
            started = time.thread_time()
            for _ in range(100):
                shown.finished("gpu0", sample, ["keep"], 1.0)
                shown.server(view)
            used += time.thread_time() - started
        drawn_within = time.monotonic() - begun
        shown.close()
    assert used / 20_000 < 50e-6, "counting takes more than 50 us a sample"
    assert terminal.plain.count("in flight") <= 3 + 5 * drawn_within
    assert "20000/20000" in terminal.plain


def test_a_terminal_is_drawn_while_others_print(sample_of: SampleOf, terminal: Terminal) -> None:
    """The display's thread and those of the servers wait for each other's locks in one order."""
    with contextlib.redirect_stderr(terminal):
        shown = Reporters([Progress("remove", total=4000, finished=0, failed=0)])

        def work(name: str) -> None:
            for number in range(300):
                shown.failed(sample_of(name), SampleFailure("edit", f"Error{number}", "again"))
                shown.server(ServerView(name, "working", done=number))

        threads = [threading.Thread(target=work, args=(f"gpu{number}",), daemon=True) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive(), "they wait for each other for ever"
        shown.close()
    assert "1200/4000" in terminal.plain


class Counting:
    """A listener that notices being called twice at a time."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.overlaps = 0
        self._inside = False

    def __getattr__(self, name: str) -> Callable[..., None]:
        def called(*_arguments: object) -> None:
            self.overlaps += self._inside
            self._inside = True
            time.sleep(0.0001)
            self.calls.append(name)
            self._inside = False

        return called


def test_listeners_hear_everything_one_call_at_a_time(sample_of: SampleOf) -> None:
    first, second = Counting(), Counting()
    shared = Reporters([first, second])
    sample = sample_of("a")

    def work() -> None:
        for _ in range(20):
            shared.finished("gpu0", sample, ["keep"], 1.0)
            shared.failed(sample, memory())
            shared.retried("gpu0", 1, "ServerFault", "500")
            shared.server(ServerView("gpu0", "working"))
            shared.say("a line")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shared.close()
    assert first.overlaps == second.overlaps == 0
    assert first.calls == second.calls
    assert len(first.calls) == 4 * 20 * 5 + 1


def test_all_are_closed_though_one_fails() -> None:
    class Failing(Counting):
        def close(self) -> None:
            raise OSError("no room")

    others = [Counting(), Counting()]
    with pytest.raises(OSError, match="no room"):
        Reporters([others[0], Failing(), others[1]]).close()
    assert [one.calls for one in others] == [["close"], ["close"]]


def test_waiting_is_told_each_time_it_begins(capsys: Captured) -> None:
    waiting = Waiting("starting ComfyUI on gpu0")
    for seconds in (0.0, 0.3, 9.9, 10.1, 12.0, 0.0, 3.0):
        waiting(seconds)
    assert capsys.readouterr().err.splitlines() == [
        "starting ComfyUI on gpu0 ...",
        "starting ComfyUI on gpu0: 10 s",
        "starting ComfyUI on gpu0 ...",
    ]


def test_stages_that_go_on_together_have_a_line_each(sample_of: SampleOf, terminal: Terminal) -> None:
    with contextlib.redirect_stderr(terminal):
        screen = SharedScreen(["write", "edit"])
        write, edit = (StageProgress(Progress(name, 0, 0, 0, shared=screen)) for name in ("write", "edit"))
        write.begun("000000", 3, 1, 0, 1)
        write.begun("000000", 3, 2, 0, 1)  # its second workflow: the same samples
        write.finished("server0", sample_of("a"), ["keep"], 1.0)
        write.close()  # another part follows
        edit.planned(5, 0)
        edit.failed(sample_of("wall"), memory())
        edit.server(ServerView("server0", "working"))
        screen.close()
    *_, first, second = terminal.plain.rstrip().splitlines()
    assert re.search(r"write +\S+ +2/3 .* 0 failed, 1 skipped,", first)
    assert re.search(r"edit +\S+ +1/5 .* 1 failed,", second)
    assert "edit: failed: wall.jpg: no memory" in terminal.plain


def test_stages_that_go_on_together_say_which_they_are(sample_of: SampleOf, capsys: Captured) -> None:
    screen = SharedScreen(["write", "edit"])
    write, edit = (StageProgress(Progress(name, 0, 0, 0, shared=screen)) for name in ("write", "edit"))
    write.planned(2, 0)
    write.finished("server0", sample_of("a"), ["keep"], 1.0)
    write.server(ServerView("server0", "working"))
    edit.planned(1, 0)
    edit.server(ServerView("server0", "suspended"))
    edit.failed(sample_of("wall"), memory())
    screen.close()
    told = capsys.readouterr().err.splitlines()
    assert told[:3] == ["write: server0: working", "edit: server0: suspended", "edit: failed: wall.jpg: no memory"]
    assert told[3].startswith("write: 1/2, ") and told[4].startswith("edit: 1/1, ") and len(told) == 5
