"""The command: `python driver/review.py RUN` to label pairs by hand, `python driver/review.py RUN --report` for what they say.

The command line and what is said at its end; `labels.py` draws and keeps, `page.py` serves, `figures.py` counts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    # Run as a file: its siblings and the nodes' shared core are found from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from driver.command import Ended, Parser, add_shared, carry_out, number, path_argument, positive
from driver.errors import RunError

PRECISION = 0.9
"""Share of right rows that is wanted where none is named."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return carry_out("review.py", _parse, lambda options: (_report if options.report else _review)(options), arguments)


def _review(options: argparse.Namespace) -> Ended:
    # Imported when it is needed: the help answers at once.
    from filelock import FileLock, Timeout

    from driver.dataset.dataset import finished_parts
    from driver.dataset.ownership import refuse_links
    from driver.disk import disk_error
    from driver.labels.labels import LABELS, Labels
    from driver.labels.page import Review, ReviewServer
    from driver.labels.sample import DrawnRow, choose, draw

    def review_of(rows: list[DrawnRow]) -> Review:
        if not rows:
            raise RunError(f"{options.run}: holds no row to label")
        return Review(options.run, rows, Labels(options.run), options.labeller, options.second_opinion)

    asked = options.run, options.sample, options.seed, options.per_task
    finished_parts(options.run)
    refuse_links(options.run)
    if options.dry_run:
        review = review_of(choose(*asked)[1])
        print(f"{review.total} pairs would be shown, of which {review.done} are labelled")
        return Ended({"output": options.run / LABELS, "pairs": review.total, "labelled": review.done})
    try:
        lock = FileLock(options.run / ".labels.lock", blocking=False)
        lock.acquire()
    except Timeout:
        raise RunError(f"{options.run}: another review.py is labelling it; stop that one first") from None
    except OSError as error:
        raise disk_error(error, options.run) from None
    with lock:
        review = review_of(draw(*asked))
        with ReviewServer(review, options.port or 0) as server:
            print(f"{review.done} of {review.total} pairs are labelled; open {server.url}", flush=True)
            print(
                "K keeps, R rejects, S skips, U undoes, Space held shows before in place of after; Ctrl-C ends",
                flush=True,
            )
            try:
                server.serve_forever(poll_interval=0.1)
            except KeyboardInterrupt:
                print(f"\n{review.done} of {review.total} pairs are labelled, in {options.run / LABELS}", flush=True)
    return Ended({"output": options.run / LABELS, "pairs": review.total, "labelled": review.done})


def _report(options: argparse.Namespace) -> Ended:
    from driver.dataset.dataset import finished_parts
    from driver.labels.figures import REPORT, report

    finished_parts(options.run)
    precision = options.precision or PRECISION
    found = report(options.run, precision, write=not options.dry_run)
    place = f"{'would be in' if options.dry_run else 'are in'} {options.run / REPORT}"
    print(f"{found['labels']} labelled pairs, weighted back to all rows; all figures {place}")
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
    print(f"\nto be right in {_percent(precision)} of kept rows, keep what has")
    for name, one in found["thresholds"].items():
        print(f"  {name:22} {_threshold(one)}")
    return Ended({"output": options.run / REPORT, **found})


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


def _parse(words: list[str]) -> argparse.Namespace:
    parser = Parser(
        "review.py",
        "Shows pairs of a finished run to label by hand, or says how the run compares with the labels.",
        "Labels are in RUN/labels.jsonl, what was drawn is in RUN/labels_sample.json. The same command goes on; Ctrl-C is how labelling is done.",
    )
    add = parser.add_argument
    add("run", type=path_argument, metavar="RUN", help="the --output of a run of batch.py")
    add("--sample", type=positive, metavar="N", help="rows to ask about, spread over tasks and verdicts; default: 200")
    add("--per-task", action="store_true", help="N rows of each task instead of N altogether")
    add("--seed", type=int, metavar="S", help="which rows are drawn; default: 0, or that of the labels there")
    add("--labeller", metavar="NAME", help="who labels; goes into each label")
    add("--second-opinion", action="store_true", help="with --labeller: ask about rows that others labelled, too")
    add(
        "--port",
        type=number(int, lambda port: 0 <= port < 65536, "be between 0 and 65535"),
        metavar="P",
        help="port of the loopback address; default: any free one",
    )
    add("--report", action="store_true", help="say what the labels tell, and write RUN/labels_report.json")
    add(
        "--precision",
        type=number(float, lambda share: 0 < share <= 1, "be more than 0 and at most 1, such as 0.9"),
        metavar="SHARE",
        help=f"with --report: share of kept rows that thresholds are to make right; default: {PRECISION}",
    )
    add_shared(add)
    options = parser.read(words)
    if options.second_opinion and not options.labeller:
        parser.error("--second-opinion: say whose it is with --labeller NAME")
    if options.report:
        for name in ("sample", "per_task", "seed", "labeller", "port"):
            if getattr(options, name) != parser.get_default(name):
                parser.error(f"--{name.replace('_', '-')} has no effect with --report; leave one of them out")
    elif options.precision is not None:
        parser.error("--precision goes with --report")
    return options


if __name__ == "__main__":
    sys.exit(main())
