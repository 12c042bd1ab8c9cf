"""The command: `python driver/review.py RUN` to label pairs by hand, `python driver/review.py RUN --report` for what they say.

The command line and what is said at its end; `labels.py` draws and keeps, `page.py` serves, `figures.py` counts.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    # Run as a file: its siblings and the nodes' shared core are found from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from driver.command import end, positive
from driver.errors import RunError
from driver.terminal import path_argument


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status: 0 done or stopped, 1 it broke off, 2 nothing was started."""
    options = _parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell lets its background jobs ignore the first
        signal.signal(number, signal.default_int_handler)
    try:
        return _report(options) if options.report else _review(options)
    except RunError as error:
        return end(str(error), error.status, "review.py")
    except ModuleNotFoundError as error:
        return end(
            f"the package {error.name} is missing: run python install.py, or use the Python that it set up",
            2,
            "review.py",
        )
    except KeyboardInterrupt:
        return 0


def _review(options: argparse.Namespace) -> int:
    # Imported when it is needed: the help answers at once.
    from filelock import FileLock, Timeout

    from driver.dataset.dataset import finished_parts
    from driver.dataset.ownership import refuse_links
    from driver.disk import disk_error
    from driver.labels.labels import LABELS, Labels
    from driver.labels.page import Review, ReviewServer
    from driver.labels.sample import draw

    finished_parts(options.run)
    refuse_links(options.run)
    try:
        lock = FileLock(options.run / ".labels.lock", blocking=False)
        lock.acquire()
    except Timeout:
        raise RunError(f"{options.run}: another review.py is labelling it; stop that one first") from None
    except OSError as error:
        raise disk_error(error, options.run) from None
    with lock:
        rows = draw(options.run, options.sample, options.seed, options.per_task)
        if not rows:
            raise RunError(f"{options.run}: holds no row to label")
        review = Review(options.run, rows, Labels(options.run), options.labeller, options.second_opinion)
        with ReviewServer(review, options.port) as server:
            print(f"{review.done} of {review.total} pairs are labelled; open {server.url}", flush=True)
            print("K keeps, R rejects, U undoes, Space held shows before in place of after; Ctrl-C ends", flush=True)
            try:
                server.serve_forever(poll_interval=0.1)
            except KeyboardInterrupt:
                print(f"\n{review.done} of {review.total} pairs are labelled, in {options.run / LABELS}", flush=True)
    return 0


def _report(options: argparse.Namespace) -> int:
    from driver.dataset.dataset import finished_parts
    from driver.labels.figures import REPORT, report

    finished_parts(options.run)
    found = report(options.run, options.precision)
    print(f"{found['labels']} labelled pairs, weighted back to all rows; all figures: {options.run / REPORT}")
    if found["sampled_without_label"]:
        left = ", ".join(f"{number} {name}" for name, number in found["sampled_without_label"].items())
        print(f"not labelled yet: {left}; a stratum without any label is in no figure")
    print(f"\n{'against the labels':24}{'n':>6}{'accuracy':>10}{'precision':>11}{'recall':>8}{'kappa':>8}")
    for name, one in found["verifiers"].items():
        cells = f"{_percent(one['accuracy']):>10}{_percent(one['precision']):>11}{_percent(one['recall']):>8}"
        print(f"{name:24}{one['n']:>6}{cells}{'' if one['kappa'] is None else format(one['kappa'], '.2f'):>8}")
    print(f"\n{'kept rows that are right':24}{'n':>6}{'share':>10}   95 % interval")
    for name, one in [*found["keep_precision_by_task"].items(), ("all tasks", found["keep_precision"])]:
        print(f"{name:24}{one['n']:>6}{_percent(one['share']):>10}   {_interval(one['interval'])}")
    print(f"\nto be right in {_percent(options.precision)} of kept rows, keep what has")
    for name, one in found["thresholds"].items():
        print(f"  {name:22} {_threshold(one)}")
    return 0


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _interval(ends: list[float] | None) -> str:
    return f"{_percent(ends[0])} to {_percent(ends[1])}" if ends else ""


def _threshold(found: dict[str, Any] | None) -> str:
    if found is None:
        return "no threshold does"
    return (
        f"{found['keep_if']} {found['threshold']:.4g}: keeps {_percent(found['share_kept'])}, of which "
        f"{_percent(found['precision'])} ({_interval(found['interval'])}, n {found['n']}) are right"
    )


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="review.py",
        description="Shows pairs of a finished run to label by hand, or says how the run compares with the labels.",
        epilog="Labels are in RUN/labels.jsonl, what was drawn is in RUN/labels_sample.json. The same command goes on.",
    )
    add = parser.add_argument
    add("run", type=path_argument, metavar="RUN", help="the --output of a run of batch.py")
    add("--sample", type=positive, metavar="N", help="rows to ask about, spread over tasks and verdicts; default: 200")
    add("--per-task", action="store_true", help="N rows of each task instead of N altogether")
    add("--seed", type=int, metavar="S", help="which rows are drawn; default: 0, or that of the labels there")
    add("--labeller", metavar="NAME", help="who labels; goes into each label")
    add("--second-opinion", action="store_true", help="with --labeller: ask about rows that others labelled, too")
    add("--port", type=_port, default=0, metavar="P", help="port of the loopback address; default: any free one")
    add("--report", action="store_true", help="say what the labels tell, and write RUN/labels_report.json")
    add(
        "--precision",
        type=_share,
        default=0.9,
        metavar="SHARE",
        help="with --report: share of kept rows that thresholds are to make right; default: 0.9",
    )
    options = parser.parse_args(arguments)
    if options.second_opinion and not options.labeller:
        parser.error("--second-opinion: say whose it is with --labeller NAME")
    return options


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 65536:
        raise argparse.ArgumentTypeError("must be between 0 and 65535")
    return number


def _share(text: str) -> float:
    number = float(text)
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError("must be more than 0 and at most 1, such as 0.9")
    return number


if __name__ == "__main__":
    sys.exit(main())
