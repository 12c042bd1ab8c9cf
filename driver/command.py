"""How a command reads its options and how it ends."""

from __future__ import annotations

import argparse
import hashlib
import re
from pathlib import Path

from .terminal import say


def allowed_failures(text: str, samples: int) -> float:
    return samples * float(text[:-1]) / 100 if text.endswith("%") else float(text)


def end(line: str, status: int, program: str = "batch.py") -> int:
    """Says how a command ended, and hands on its exit status."""
    say(f"{program}: {line}")
    return status


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="batch.py",
        description="Runs one workflow over many photos on ComfyUI and gathers a dataset of edit pairs.",
        epilog="Exit status: 0 done, 1 more failed than allowed, 2 nothing was started, 130 stopped (run it again to go on).",
    )
    add = parser.add_argument
    add(
        "--workflow",
        metavar="NAME|PATH,...|auto",
        help="a name from workflows/, or a path: UI JSON, API JSON or a PNG that ComfyUI wrote; several of different "
        "tasks make one dataset; auto: those of the tasks that the input's records name",
    )
    add(
        "--input",
        metavar="PATH|URL",
        help="folder of photos (beside each, if wanted, NAME.mask.png, NAME.ref.png and NAME.txt), ImgEdit annotation "
        ".json/.jsonl, parquet or webdataset .tar, also behind a URL such as s3://...; default: the bundled samples",
    )
    add(
        "--image-root",
        metavar="DIR|URL",
        help="what the annotation's paths are relative to; default: its folder",
    )
    add(
        "--output",
        metavar="DIR|URL",
        help="the run's folder, or a place in a store such as s3://bucket/run that a local one is published to at the "
        "end; the same command again goes on; default: outputs/NAME",
    )
    add(
        "--layout",
        choices=("hf", "imgedit", "wds"),
        default="hf",
        help="hf: parquet with the pictures in it; imgedit: ImgEdit's parquet and tars; wds: webdataset tars; default: hf",
    )
    add(
        "--regions",
        choices=("all", "one"),
        default="all",
        help="a sample for each eligible region, or one picked by the seed; default: all",
    )
    add(
        "--kinds",
        metavar="KIND[=N],...",
        help="with --workflow write: kinds of edit to write for, tasks or names of the taxonomy such as "
        "'unicedit/Texture Editing', each for at most N regions; the rarest goes first; default: the graph's own task",
    )
    add(
        "--kinds-per-region",
        type=positive,
        default=1,
        metavar="M",
        help="with --kinds: kinds of edit for one region, at most; default: 1",
    )
    add(
        "--annotate",
        choices=("auto", "never"),
        default="auto",
        help="auto: find regions first, with annotate.json, for photos that have none; default: auto",
    )
    add(
        "--profile",
        choices=("auto", "full", "classical"),
        default="auto",
        help="full: the model graph; classical: no weights; auto: classical only where there is no GPU",
    )
    add(
        "--server",
        metavar="URL|NAME[,...]",
        help="running ComfyUIs, by address or by a name in servers.toml, which holds logins and certificates; default: "
        "start some here and stop them",
    )
    add("--servers", type=positive, metavar="N", help="how many to start; default: one per visible GPU, one on CPU")
    add(
        "--samples-per-prompt",
        type=positive,
        metavar="K",
        help="samples that share a prompt, at most; default: chosen from the graph and what is measured",
    )
    add(
        "--attempts",
        type=positive,
        default=1,
        metavar="N",
        help="edits tried of each sample, each with another seed, after a rejection or an error; default: 1",
    )
    add(
        "--licence-policy",
        choices=("any", "commercial", "train"),
        default="any",
        help="refuse graphs whose weights the licence does not allow to be used commercially, or whose outputs must not "
        "train other models; weights that the model table does not know are refused too; default: any, refuse none",
    )
    add(
        "--budget-usd",
        type=_money,
        metavar="X",
        help="the most that calls to VLM services may cost in this run; what is over fails; default: no bound",
    )
    add("--metrics-port", type=_port, metavar="P", help="serve Prometheus metrics on this port of the loopback address")
    add(
        "--recycle",
        type=positive,
        default=5000,
        metavar="N",
        help="start own servers again, one at a time, after N prompts; default: 5000",
    )
    add(
        "--min-free-gb",
        type=_size,
        default=1.0,
        metavar="G",
        help="pause while the output's disk has less than this free; default: 1",
    )
    add("--limit", type=positive, metavar="N", help="edit at most N samples")
    add(
        "--shard-size",
        type=positive,
        default=1000,
        metavar="N",
        help="photos of the input that are planned, edited and written together; an input of more is made shard by shard; "
        "a folder keeps the number that it began with; default: 1000",
    )
    add(
        "--shard",
        type=_share,
        metavar="I/N",
        help="make only every Nth shard of the input, from shard I on, counted from 0, as one of N machines; "
        "merge.py makes one dataset of all shares",
    )
    add("--seed", type=int, default=0, metavar="S", help="all other seeds follow from it; default: 0")
    add(
        "--set",
        action="append",
        default=[],
        metavar="ADDRESS=VALUE",
        help="set an input: @Title.input=3, #id.input=3 or Class.input=3; may be repeated",
    )
    add(
        "--judge",
        metavar="PROFILE",
        help="switch on the judges that the workflows have, for this run, and have them ask this VLM profile; without a "
        "judge or a detector, rows that a model edited are unscored",
    )
    add(
        "--retry-failed",
        nargs="?",
        const="",
        metavar="CLASS",
        help="try failed samples again: all, or those of one error type, skipped ones too",
    )
    add(
        "--keep-stale",
        action="store_true",
        help="keep rows whose photo, region or words were changed or taken away since; default: they leave the dataset, "
        "and what changed is made again",
    )
    add(
        "--max-failed",
        type=_failures,
        default="0",
        metavar="N|P%",
        help="exit status 1 when more failed than this, skipped ones not counted; the run itself goes on; default: 0",
    )
    add("--dry-run", action="store_true", help="check everything, show what would be done, edit nothing")
    add(
        "--adopt",
        metavar="FILE",
        help="instead of a run: turn a graph that goes from LoadImage to SaveImage into one that can be batched; writes "
        "--output, by default FILE with -editpairs before its suffix",
    )
    add(
        "--adopt-choice",
        metavar="NAME=#ID,...",
        help="answers to what --adopt cannot tell: source, result, reference, instruction, task",
    )
    add(
        "--collect",
        metavar="FOLDER",
        help="instead of a run: make a dataset in --output of the pairs that Save Edit Pair saved by hand",
    )
    add(
        "--open",
        metavar="KEY",
        help="instead of a run: write the workflow of one row of --output, filled in, for an artist to open; with "
        "--server its pictures are uploaded there",
    )
    add("--again", action="store_true", help="with --open: make the row once more and say how it differs")
    options = parser.parse_args(arguments)
    _check_purpose(parser, options)
    if options.adopt:
        options.publish_to = None
        return options
    given = options.output or str(Path("outputs") / _named(options.workflow or "collected"))
    options.publish_to = given if "://" in given else None
    options.output = _local(given) if options.publish_to else Path(given)
    return options


def _check_purpose(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Ends the command where it is asked for nothing, for two things, or for one without what it needs."""
    for action in parser._actions:
        if getattr(options, action.dest, None) == "" and action.const != "":
            parser.error(f"{action.option_strings[0]} is empty; give it a value or leave it out")
    asked = [name for name in ("workflow", "adopt", "collect", "open") if getattr(options, name)]
    if len(asked) != 1:
        listed = "--workflow, --adopt, --collect or --open"
        parser.error(
            f"give one of {listed}" + (f", not {' and '.join(f'--{name}' for name in asked)}" if asked else "")
        )
    if options.open and not options.output:
        parser.error("--open KEY needs --output, the folder of the run that the row is in")
    if options.again and not options.open:
        parser.error("--again goes with --open")
    if options.adopt_choice and not options.adopt:
        parser.error("--adopt-choice goes with --adopt")
    given = [
        action
        for action in parser._actions
        if hasattr(options, action.dest) and getattr(options, action.dest) != action.default
    ]
    for action in given:
        name = action.option_strings[0]
        if asked != ["workflow"] and action.dest not in {*asked, *_BESIDE[asked[0]]}:
            parser.error(f"{name} has no effect with --{asked[0]}; leave it out")
        for other in _INSTEAD.get(action.dest, ()):
            if getattr(options, other):
                parser.error(f"{name} has no effect with --{other}; leave one of them out")
    if options.kinds_per_region != 1 and not options.kinds:
        parser.error("--kinds-per-region goes with --kinds")


_BESIDE = {
    "adopt": ("adopt_choice", "output", "server"),
    "collect": ("output", "layout", "max_failed"),
    "open": ("again", "output", "input", "image_root", "server"),
}
"""What is of use beside each thing that is asked for instead of a run."""


_INSTEAD = {"regions": ("kinds",), "servers": ("server",), "recycle": ("server",), "limit": ("shard",)}
"""Options, and which others leave nothing for them to do."""


def _named(workflows: str) -> str:
    """What a run of these workflows is called."""
    return "+".join(Path(name.strip()).stem for name in workflows.split(","))


def _local(url: str) -> Path:
    """The local folder of a run that is published to a URL."""
    name = re.sub(r"[^0-9A-Za-z.-]+", "-", url.rstrip("/").rpartition("/")[2]) or "run"
    return Path("outputs") / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def positive(text: str) -> int:
    """The type of an option that counts from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _share(text: str) -> tuple[int, int]:
    index, slash, shares = text.partition("/")
    if slash and index.isdecimal() and shares.isdecimal() and int(index) < int(shares):
        return int(index), int(shares)
    raise argparse.ArgumentTypeError(f"{text!r} is no share such as 0/8, the first of eight, or 7/8, the last")


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65536:
        raise argparse.ArgumentTypeError("must be between 1 and 65535")
    return number


def _size(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError("must be a number, 0 or more")
    return number


def _money(text: str) -> float:
    number = _size(text)
    if not number:
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


def _failures(text: str) -> str:
    try:
        if allowed_failures(text, 100) >= 0:
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is neither a number nor a percentage such as 5%")
