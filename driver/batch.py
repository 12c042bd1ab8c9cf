"""The command: `python driver/batch.py --workflow remove.json --input photos/ --output out/`.

The command line and what is said at its end; `run.py` does the work.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sqlite3
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ in (None, ""):
    # Run as a file: its siblings and the nodes' shared core are found from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from driver.command import allowed_failures, end, parse
from driver.dataset.ownership import RESTORE
from driver.errors import PromptRefused, RunError, ServerFault
from driver.options import RunOptions
from driver.stopping import STOPPED, StopRequest

if TYPE_CHECKING:
    from driver.report.summary import Summary


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0 done, 1 too many failed, 2 nothing started, 130 stopped."""
    options = parse(arguments)
    stop = StopRequest()
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell lets its background jobs ignore the first
        signal.signal(number, stop.signalled)
    try:
        # Imported when it is needed: the help answers at once.
        if options.adopt or options.collect or options.open:
            from driver.artists import commands

            if options.collect:
                return _conclude(options, commands.collect(options), stopped=False)
            (commands.adopt if options.adopt else commands.open_row)(options)
            return 0
        if options.dry_run:
            from driver.pipeline.dry_run import dry_run

            dry_run(RunOptions.of(vars(options)))
            return 0
        from driver.pipeline.run import run

        return _conclude(options, *run(RunOptions.of(vars(options)), stop))
    except RunError as error:
        return end(str(error), error.status)
    except (ServerFault, PromptRefused) as error:
        return end(f"{error}: see to the server and run the same command again", 2)
    except sqlite3.OperationalError as error:
        return end(f"{options.output}: the journal cannot be written ({error}); is the disk full?", 1)
    except sqlite3.DatabaseError as error:
        return end(f"{options.output}: its journal, run.sqlite, is damaged ({error}); {RESTORE}", 1)
    except ModuleNotFoundError as error:
        return end(f"the package {error.name} is missing: run python install.py, or use the Python that it set up", 2)
    except KeyboardInterrupt:
        return end("stopped; nothing that was done is lost, the same command goes on", STOPPED)
    finally:
        if stop.level:
            stop.leave()


def _conclude(options: argparse.Namespace, summary: Summary, stopped: bool) -> int:
    print(
        f"{options.output}: {summary.kept} kept, {summary.rejected} rejected, {summary.unscored} unscored, "
        f"{summary.failed} failed"
        + (f", {summary.skipped} skipped" if summary.skipped else "")
        + (f", {summary.pending} not done yet" if summary.pending else "")
    )
    if summary.skipped:
        print(f"skipped, as their tasks cannot use them: {_listed(summary.skips)}; skipped.parquet says why")
    rest = f"; load_dataset({str(options.output)!r}) opens the kept ones"
    if summary.gives != "edit pairs" or not summary.kept:
        rest = ""
    print(f"look at {options.output / 'report.html'}{rest}")
    if summary.vlm_calls:
        print(f"{summary.vlm_calls} calls to VLM services, {summary.vlm_usd:.2f} USD, by this machine's ledger")
    if options.publish_to:
        print(f"published to {options.publish_to}")
    if summary.unscored and not summary.kept:
        judged = f"--workflow verify --input {shlex.quote(str(options.output / 'rejected'))} --judge PROFILE"
        print(f"all unscored: report.html says why; {judged} has them judged", file=sys.stderr)
    if stopped:
        return end("stopped; the same command goes on where it was", STOPPED)
    allowed = allowed_failures(options.max_failed, summary.samples)
    if summary.failed > allowed:
        listed = _listed(summary.failures)
        return end(f"{summary.failed} of {summary.samples} samples failed ({listed}): see failed.parquet", 1)
    return 0


def _listed(classes: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in classes.items())


if __name__ == "__main__":
    sys.exit(main())
