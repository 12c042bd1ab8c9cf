"""What all commands have in common: how each reads its words, what two options mean in all of them, and how each ends."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shlex
import signal
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar

from .errors import PromptRefused, RunError, ServerFault
from .stopping import STOPPED, StopRequest
from .terminal import counted, say

if TYPE_CHECKING:
    from .report.summary import Summary

Number = TypeVar("Number", int, float)

REASONS = {
    0: "done",
    1: "broken off, or more failed than allowed",
    2: "nothing was started",
    STOPPED: "stopped",
}
"""What the exit statuses of every command mean."""

STATUSES = f"Exit status: {', '.join(f'{status} {reason}' for status, reason in REASONS.items())}."


class Ended(NamedTuple):
    """How a command ended."""

    made: Mapping[str, Any]
    """What it made, and figures, for programs: what JSON knows, and paths."""
    line: str = ""
    """What went wrong; empty where nothing did."""
    status: int = 0
    """One of `REASONS`."""


class Misused(SystemExit):
    """The command line is wrong, which was said."""

    def __init__(self, line: str):
        super().__init__(2)
        self.line = line


class Parser(argparse.ArgumentParser):
    """Reads one command's words. Its help ends with the exit statuses."""

    def __init__(self, program: str, description: str, notes: str = "", usage: str | None = None):
        form = partial(argparse.HelpFormatter, max_help_position=26)
        epilog = f"{notes} {STATUSES}".lstrip()
        super().__init__(program, usage, description, epilog, formatter_class=form)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        say(f"{self.prog}: error: {message}")
        raise Misused(message)

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """The options; ends the command where they are wrong, or one is empty, as an unset variable gives it."""
        options = self.parse_args(words)
        for action in self._actions:
            given = getattr(options, action.dest, None)
            several = given if action.dest == "input" and isinstance(given, list) else [given]
            if "" in several and action.const != "":
                name = action.option_strings[0] if action.option_strings else action.metavar
                self.error(f"{name} is empty; give it a value or leave it out")
        return options


def add_shared(add: Callable[..., object]) -> None:
    """The options that mean the same in every command."""
    add("--dry-run", action="store_true", help="check everything, show what would be done, do nothing")
    add("--json", action="store_true", help="one line of JSON on stdout, all else on stderr")


def carry_out(
    program: str,
    read: Callable[[list[str]], Any],
    work: Callable[[Any], Ended],
    arguments: list[str] | None,
    stop: StopRequest | None = None,
) -> int:
    """Runs a command to its end; returns its exit status.

    Args:
        read: turns words into options, with `dry_run` and `json` among them; ends with `Misused`.
        arguments: the words; None for those of this process.
        stop: where the work looks at it; else a signal breaks in as `KeyboardInterrupt`.
    """
    words = sys.argv[1:] if arguments is None else arguments
    try:
        return _carried_out(program, read, work, words, stop)
    except BrokenPipeError:
        return _unheard(program)


def _carried_out(
    program: str,
    read: Callable[[list[str]], Any],
    work: Callable[[Any], Ended],
    words: list[str],
    stop: StopRequest | None,
) -> int:
    try:
        options = read(words)
    except Misused as misused:
        if "--json" in words:
            _tell(program, Ended({}, misused.line, 2), "--dry-run" in words)
        raise
    stop = stop or StopRequest()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell lets its background jobs ignore the first
        signal.signal(number, stop.signalled)
    try:
        with redirect_stdout(sys.stderr) if options.json else nullcontext():
            ended = _ending(work, options)
        if ended.line:
            say(f"{program}: {ended.line}")
        if options.json:
            _tell(program, ended, options.dry_run)
        return ended.status
    finally:
        if stop.level:
            stop.leave()


def _unheard(program: str) -> int:
    """Ends a command whose reader left, as `head` does. Returns the exit status."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # what is left in it would be tried once more at the end of the process
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    with suppress(BrokenPipeError):
        say(f"{program}: broken off, as nobody reads what it says; run the same command again")
    return 1


def _ending(work: Callable[[Any], Ended], options: Any) -> Ended:
    """Does the work; what goes wrong ends every command in the same way."""
    try:
        return work(options)
    except RunError as error:
        return Ended({}, str(error), error.status)
    except (ServerFault, PromptRefused) as error:
        return Ended({}, f"{error}: see to the server and run the same command again", 2)
    except sqlite3.OperationalError as error:
        return Ended(
            {}, f"{_folder(options)}: the journal cannot be written ({error}); is the disk full or read-only?", 1
        )
    except sqlite3.DatabaseError as error:
        from .dataset.ownership import RESTORE  # no help needs it

        return Ended({}, f"{_folder(options)}: its journal, run.sqlite, is damaged ({error}); {RESTORE}", 1)
    except ModuleNotFoundError as error:
        missing = f"the package {error.name} is missing"
        return Ended({}, f"{missing}: run python install.py, or use the Python that it set up", 2)
    except KeyboardInterrupt:
        return Ended({}, "stopped; nothing that was done is lost, the same command goes on", STOPPED)


def _folder(options: Any) -> Path:
    """The run's folder, which has the journal."""
    return Path(options.run if hasattr(options, "run") else options.output)


def _tell(program: str, ended: Ended, dry_run: bool) -> None:
    """The line for programs."""
    told = {
        "command": program,
        "dry_run": dry_run,
        "status": ended.status,
        "reason": REASONS[ended.status],
        "message": ended.line or None,
        **ended.made,
    }
    print(json.dumps(told, default=str, ensure_ascii=False), flush=True)


def conclude(options: Any, summary: Summary, stopped: bool) -> Ended:
    """Says what a dataset came to.

    Args:
        options: those of a run or a collection, of which `output`, `publish_to` and `max_failed` matter.
    """
    output = options.output
    made = {"output": output, "published_to": options.publish_to, **vars(summary)}
    print(
        f"{output}: {summary.kept} kept, {summary.rejected} rejected, {summary.unscored} unscored, {summary.failed} failed"
        + (f", {summary.skipped} skipped" if summary.skipped else "")
        + (f", {summary.pending} not done yet" if summary.pending else "")
    )
    if summary.dialogues:
        print(_dialogues(summary.dialogues))
    if summary.skipped:
        print(f"skipped, as their tasks cannot use them: {_listed(summary.skips)}; skipped.parquet says why")
    opens = ""
    if summary.kept and summary.gives == "edit pairs":
        opens = f"; {_opened(output)}"
    elif summary.kept and summary.gives == "photos":
        opens = f"; --input {shlex.quote(str(output))} takes them"
    print(f"look at {output / 'report.html'}{opens}")
    if summary.vlm_calls:
        print(f"{summary.vlm_calls} calls to VLM services, {summary.vlm_usd:.2f} USD, by this machine's ledger")
    if options.publish_to:
        print(f"published to {options.publish_to}")
    if summary.unscored and not summary.kept:
        judged = f"--workflow verify --input {shlex.quote(str(output / 'rejected'))} --judge PROFILE has them judged"
        if summary.dialogues:
            judged = (
                "a dialogue goes on behind a turn that is kept: --judge PROFILE has them judged, with another --output"
            )
        print(f"all unscored: report.html says why; {judged}", file=sys.stderr)
    if stopped:
        return Ended(made, "stopped; the same command goes on where it was", STOPPED)
    if summary.failed > allowed_failures(options.max_failed, summary.samples):
        listed = _listed(summary.failures)
        line = f"{summary.failed} of {summary.samples} samples failed ({listed}): see failed.parquet"
        return Ended(made, line, 1)
    return Ended(made)


def _opened(output: Path) -> str:
    """Which words open a dataset's kept rows; all of them, where these have several schemas."""
    from .dataset.configs import beside, kept_configs

    try:
        configs = kept_configs(output)
    except RunError:  # the run has not come so far
        return f"load_dataset({str(output)!r}) opens the kept ones"
    first, others = configs[0], beside(configs)
    if not others:
        return f"{first.call(str(output))} opens the kept ones"
    more = ", ".join(f"{one.call(str(output))} {one.rows} {one.told('data')}" for one in others)
    return f"{first.call(str(output))} opens {first.rows} of the kept rows, {more}"


def _dialogues(found: dict[str, int]) -> str:
    """What dialogues came to, as `Summary.dialogues` counts them."""
    shorter = f", {found['shorter']} of them shorter than planned" if found.get("shorter") else ""
    return f"{found.get('kept', 0)} of {counted(found.get('planned', 0), 'planned dialogue')} kept{shorter}"


def _listed(classes: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in classes.items())


def destination(given: str) -> tuple[Path, str | None]:
    """The local folder of a dataset, and the URL that it is published to; None where it stays."""
    if "://" not in given:
        return Path(given), None
    name = re.sub(r"[^0-9A-Za-z.-]+", "-", given.rstrip("/").rpartition("/")[2]) or "run"
    return Path("outputs") / f"{name}-{hashlib.sha256(given.encode()).hexdigest()[:8]}", given


# Types of options


def number(kind: type[Number], fits: Callable[[Number], bool], must: str) -> Callable[[str], Number]:
    """The type of an option that is a number within bounds."""

    def read(text: str) -> Number:
        value = kind(text)
        if not fits(value):
            raise argparse.ArgumentTypeError(f"must {must}")
        return value

    read.__name__ = kind.__name__  # argparse names what is none by it
    return read


positive = number(int, lambda value: value >= 1, "be at least 1")


def path_argument(text: str) -> Path:
    """A path, where an empty one is not this folder, and a URL no folder of that name."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; name a folder")
    if "://" in text:
        raise argparse.ArgumentTypeError(f"{text} is a URL; name what lies on this machine")
    return Path(text)


def allowed_failures(text: str, samples: int) -> float:
    """What `--max-failed` allows of so many."""
    return samples * float(text[:-1]) / 100 if text.endswith("%") else float(text)


def max_failed(text: str) -> str:
    """The type of `--max-failed`, whose share is of samples that are not counted yet."""
    try:
        if allowed_failures(text, 100) >= 0:
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor a percentage such as 5%")
