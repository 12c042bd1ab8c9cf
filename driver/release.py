"""The command: `python driver/release.py OUT [OUT ...] --output DIR|URL`, and `--verify DIR|URL`.

Makes an immutable, versioned dataset of what finished runs left. The command line and what is said at its end; `releases/`
does the work.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ in (None, ""):
    # Run as a file: its siblings and the nodes' shared core are found from the repository's root.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from driver.command import Ended, Parser, add_shared, carry_out, destination, number, path_argument, positive
from driver.terminal import counted

if TYPE_CHECKING:
    from driver.releases.manifest import Version
    from driver.releases.plan import Plan, ReleaseOptions

SHOWN = 5
"""Lines of a kind that are said at most. Ours."""

TIED = 0.05
"""Share of the photos from which it is said that so many are tied together. Ours."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return carry_out("release.py", _parse, _work, arguments)


def _work(options: argparse.Namespace) -> Ended:
    # Imported when it is needed: the help answers at once.
    if options.verify:
        return _verify(options.verify)
    from driver.releases.plan import planned
    from driver.releases.release import release

    plan = planned(_asked(options))
    made = _figures(plan)
    _tell(plan, made, options.dry_run)
    if plan.there or options.dry_run:
        return Ended(made)
    manifest = release(plan)
    if options.licence_policy != "any" and (unstated := manifest.counts.licences.get("")):
        print(
            f"of {counted(unstated, 'row')} nobody stated the photo's licence: ask before passing them on",
            file=sys.stderr,
        )
    opens = f"load_dataset({made['release']!r})"
    if plan.options.publish_to:
        opens = f'load_dataset("parquet", data_files="{made["release"]}/data/{next(iter(made["splits"]))}-*.parquet")'
    print(f"{opens} opens it; its seal is {manifest.seal}")
    return Ended(made | {"made": True, "files": len(manifest.files), "seal": manifest.seal})


def _verify(where: str) -> Ended:
    from driver.releases.verifying import verify

    found = verify(where)
    print(f"{where}: release {found.version} is as its manifest says: {found.rows} rows, {len(found.files)} files")
    print(f"its seal is {found.seal}; compare it with the one that was announced")
    return Ended({"version": found.version, "rows": found.rows, "files": len(found.files), "seal": found.seal})


def _asked(options: argparse.Namespace) -> ReleaseOptions:
    from driver.releases.choice import read_quotas
    from driver.releases.plan import ReleaseOptions

    folder, url = destination(options.output)
    return ReleaseOptions(
        outputs=tuple(options.outputs),
        output=folder,
        publish_to=url,
        version=options.version,
        since=options.since,
        split=options.split,
        licence_policy=options.licence_policy,
        quotas=read_quotas(options.quota) if options.quota else {},
        max_per_source=options.max_per_source,
        near=options.near,
        seed=options.seed or 0,
        against=tuple(options.against),
        without=options.without,
    )


def _figures(plan: Plan) -> dict[str, Any]:
    """What is told to programs."""
    from driver.releases.manifest import SPLITS

    options, earlier = plan.options, plan.earlier
    where = (options.publish_to or str(options.output)).rstrip("/")
    return {
        "output": options.output,
        "published_to": options.publish_to,
        "release": f"{where}/{plan.version.folder}",
        "version": str(plan.version),
        "made": False,
        "rows": len(plan.rows.released),
        "splits": {name: rows for name in SPLITS if (rows := plan.rows.splits.count(name))},
        "photos": plan.photos_released,
        "photos_tied": plan.photos_tied,
        "left_out": plan.rows.reasons,
        "quotas": {name: [plan.rows.quotas[name], most] for name, most in options.quotas.items()},
        "since": str(earlier.version) if earlier else None,
        "changes": {how: plan.difference.total(how) for how in ("added", "removed", "changed", "same")},
        "removed": plan.difference.reasons,
        "not_taken_down": sorted(plan.takedown.unknown),
        "unread": [line for one in plan.benchmarks.benchmarks for line in one.unread],
    }


def _tell(plan: Plan, made: dict[str, Any], dry_run: bool) -> None:
    """What is said to people, before the rows are written."""
    splits = ", ".join(f"{number} {name}" for name, number in made["splits"].items())
    if plan.there:
        print(f"{made['release']}: has these {made['rows']} rows already; no release is made")
    else:
        print(f"{made['release']}: {'would have' if dry_run else 'gets'} {made['rows']} rows ({splits})")
    if made["photos_tied"] > max(1, TIED * made["photos"]):
        told = f"{made['photos_tied']} of {made['photos']} photos are in one split, as references tie them together"
        print(f"{told}; docs/release.md says how", file=sys.stderr)
    if made["since"] and not plan.there:
        counts = ", ".join(f"{number} {how}" for how, number in made["changes"].items())
        print(f"against {made['since']}: {counts}")
    for why, rows in made["removed"].items():
        print(f"gone since {made['since']}: {rows} rows, {why}", file=sys.stderr)
    for why, rows in made["left_out"].items():
        print(f"left out: {rows} rows, {why}", file=sys.stderr)
    for name, (taken, most) in made["quotas"].items():
        if taken < most:
            print(f"--quota {name}: {taken} of {most} rows are there; {most - taken} are missing", file=sys.stderr)
    for entry in made["not_taken_down"][:SHOWN]:
        print(f"--without: no row is of {entry}; it stays on the list", file=sys.stderr)
    for line in made["unread"][:SHOWN]:
        print(f"--against: {line}", file=sys.stderr)
    for what in ("not_taken_down", "unread"):
        if len(made[what]) > SHOWN:
            print(f"and {len(made[what]) - SHOWN} more like that", file=sys.stderr)


def _version(text: str) -> Version:
    from driver.releases.manifest import Version

    try:
        return Version.of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _shares(text: str) -> tuple[float, ...]:
    """The type of `--split`."""
    try:
        found = tuple(float(one) for one in text.split(","))
    except ValueError:
        found = ()
    if not 1 <= len(found) <= 3 or not all(0 <= one <= 100 for one in found) or not math.isclose(sum(found), 100):
        raise argparse.ArgumentTypeError(
            f"{text!r} are no shares of train, validation and test that make 100, as 98,1,1"
        )
    return found


def _parse(words: list[str]) -> argparse.Namespace:
    parser = Parser(
        "release.py",
        "Makes an immutable, versioned dataset of the kept rows of finished runs, in a folder of its own beside earlier ones.",
        "Everything that is left out is counted with its reason and listed in the release; docs/release.md says how.",
        usage="release.py OUT [OUT ...] --output DIR|URL [options]\n       release.py --verify DIR|URL [--json]",
    )
    add = parser.add_argument
    add(
        "outputs",
        nargs="*",
        type=path_argument,
        metavar="OUT",
        help="the --output of a run; of one key the first counts",
    )
    add("--output", metavar="DIR|URL", help="where releases stand side by side, each in a folder of its version")
    add("--version", type=_version, metavar="X.Y.Z", help="by default the next one, by what changed")
    add("--since", metavar="DIR|URL", help="the release before; by default the newest in --output")
    add("--split", type=_shares, default=(98.0, 1.0, 1.0), metavar="A,B,C",
        help="percent of photos in train, validation and test (default 98,1,1)")  # fmt: skip
    add("--licence-policy", choices=("any", "commercial", "train"), default="any",
        help="leave out rows whose models' or photos' licences do not allow it")  # fmt: skip
    add("--quota", metavar="KIND=N,...", help="at most N rows of a task or kind, and say what is missing")
    add("--max-per-source", type=positive, metavar="N", help="at most N rows of one photo")
    add("--seed", type=int, metavar="S", help="decides which rows of too many are taken (default 0)")
    add("--near", type=number(int, lambda bits: 0 <= bits <= 16, "be 0 to 16"), metavar="BITS",
        help="photos whose perceptual hashes differ in at most so many of 64 bits are one; against benchmarks 4 by default")  # fmt: skip
    add("--against", action="append", default=[], type=path_argument, metavar="DIR",
        help="leave out rows that show a picture of this benchmark; may be given again")  # fmt: skip
    add("--without", type=path_argument, metavar="FILE",
        help="source ids, URLs or SHA-256 of photos to leave out, here and in all later releases")  # fmt: skip
    add("--verify", metavar="DIR|URL", help="hold a release against its manifest, and do nothing else")
    add_shared(add)
    options = parser.read(words)
    if not options.verify and not (options.outputs and options.output):
        parser.error("name the folders of finished runs, and with --output where their release goes")
    if options.verify and (
        given := [one for one in words if not one.startswith("--verify") and one not in (options.verify, "--json")]
    ):
        parser.error(f"--verify looks at one release and does nothing else; leave {given[0]} out")
    if options.seed is not None and not (options.quota or options.max_per_source):
        parser.error("--seed goes with --quota or --max-per-source")
    return options


if __name__ == "__main__":
    sys.exit(main())
