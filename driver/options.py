"""What a run is asked for: one record, read from the words of `batch.py` once and handed on as it is."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .command import Misused, Parser, add_shared, destination, max_failed, number, positive
from .inputs.shares import InputShare
from .moved_options import moved
from .terminal import counted, say

if TYPE_CHECKING:
    from comfy_nodes.core.weights.records import Policy

PROGRAM = "batch.py"

DEPTHS = range(2, 6)
"""How many turns a dialogue may have, as `core.instructions.turn_checks` has it, which no help needs."""

Add = Callable[..., object]
"""`add_argument` of a group: of options that every help has, or only that of all options."""


@dataclass(frozen=True)
class RunOptions:
    """The options of `batch.py`; its help says what each is."""

    workflow: str
    """Names or files, or `auto`; empty where a recipe says it stage by stage."""
    output: Path
    publish_to: str | None = None
    """Where in a store the finished folder goes; None where it stays."""
    input: tuple[InputShare, ...] = ()
    """None for the bundled samples."""
    near: int | None = None
    """Bits in which two photos' hashes may differ that count as one photo; None where nobody looks."""
    image_root: str | None = None
    layout: Literal["hf", "imgedit", "wds"] = "hf"
    regions: Literal["all", "one"] = "all"
    kinds: str | None = None
    kinds_per_region: int | None = None
    annotate: Literal["auto", "never"] = "auto"
    profile: Literal["auto", "open", "full", "classical"] = "auto"
    server: str | None = None
    servers: int | None = None
    samples_per_prompt: int | None = None
    turns: int | None = None
    """How many turns a dialogue has; None for its kind's own number."""
    attempts: int = 1
    at_once: int = 1
    licence_policy: Policy = "any"
    budget_usd: float | None = None
    metrics_port: int | None = None
    recycle: int = 5000
    min_free_gb: float = 1.0
    limit: int | None = None
    shard_size: int = 1000
    """Photos of the input that are planned, edited and written together, at most."""
    shard: tuple[int, int] | None = None
    """i and n: only shards whose number leaves i when divided by n; None for all."""
    seed: int = 0
    set: tuple[str, ...] = ()
    judge: str | None = None
    retry_failed: str | None = None
    """An error type, "" for all; None where failed samples stay failed."""
    keep_stale: bool = False
    max_failed: str = "0"
    dry_run: bool = False
    json: bool = False
    recipe: str | None = None
    """A name or a file; None where workflows are given."""
    until: str | None = None
    """The last stage that is to be made."""
    rerun_from: str | None = None
    """The first stage whose results are made again."""
    extend: bool = False
    status: bool = False
    stop_kind_below: float | None = None
    """The yield below which a kind gets no further samples."""


def parse(words: Sequence[str]) -> RunOptions:
    """The options of a run; ends the command where they are wrong or would do nothing."""
    parser = _parser(everything="--help-all" in words)
    if now := moved(words, PROGRAM):
        line = f"a command of its own now: {now}"
        say(f"{PROGRAM}: {line}")
        raise Misused(line)
    read = parser.read(words)
    _check(parser, read)
    names = "+".join(Path(name.strip()).stem for name in (read.recipe or read.workflow).split(","))
    read.output, read.publish_to = destination(read.output or str(Path("outputs") / names))
    read.workflow, read.set = read.workflow or "", tuple(read.set or ())
    read.input = _inputs(parser, read)
    return RunOptions(**{field.name: getattr(read, field.name) for field in fields(RunOptions)})


def _parser(everything: bool) -> Parser:
    parser = Parser(
        PROGRAM,
        "Runs workflows over many photos on ComfyUI and gathers a dataset of edit pairs.",
        "" if everything else "--help-all shows all options.",
        f"{PROGRAM} --workflow NAME | --recipe NAME [--input PHOTOS] [--output DIR] [options]",
    )

    groups = {
        "what": _add_what,
        "with --recipe": _add_recipe,
        "from and to": _add_where,
        "how fast": _add_speed,
        "if something goes wrong": _add_trouble,
    }
    for title, fill in groups.items():
        common = parser.add_argument_group(title).add_argument

        def rare(*names: str, help: str, add: Add = common, **how: Any) -> None:
            add(*names, help=help if everything else argparse.SUPPRESS, **how)

        fill(common, rare)
    add_shared(parser.add_argument)
    parser.add_argument("--help-all", action="help", help="show all options")
    defaults = {one.name: one.default for one in fields(RunOptions) if one.default is not MISSING}
    parser.set_defaults(**{**defaults, "set": None, "input": None})
    return parser


def _add_what(common: Add, rare: Add) -> None:
    common(
        "--workflow",
        metavar="NAME|PATH,...",
        help="names from workflows/, or files (JSON, PNG) of ComfyUI's; auto: those that the input's records name",
    )
    common(
        "--recipe",
        metavar="NAME|PATH",
        help="all stages in one go: from recipes/, or a file",
    )
    common(
        "--profile",
        choices=("auto", "open", "full", "classical"),
        help="open: models whose outputs may train others; full: the papers' models; classical: none; "
        "auto: open, without a GPU classical",
    )
    common("--limit", type=positive, metavar="N", help="at most N samples; of a recipe, its first stage's")
    rare("--seed", type=int, metavar="S", help="all other seeds follow from it; default: 0")
    common(
        "--set",
        action="append",
        metavar="ADDRESS=VALUE",
        help="set an input: @Title.input=3, #id.input=3 or Class.input=3",
    )
    common("--judge", metavar="PROFILE", help="switch the workflow's judges on; they ask this VLM profile")
    rare("--regions", choices=("all", "one"), help="every eligible region, or one picked by the seed; default: all")
    rare(
        "--annotate",
        choices=("auto", "never"),
        help="auto: find regions first, with the profile's annotate, for photos that have none; default: auto",
    )
    rare(
        "--kinds",
        metavar="KIND[=N],...",
        help="with --workflow write or write-unicedit: kinds of edit to write for, tasks or names of the taxonomy such as "
        "'unicedit/Texture Editing', each for at most N regions; the rarest goes first; default: the graph's own task",
    )
    rare(
        "--kinds-per-region",
        type=positive,
        metavar="M",
        help="with --kinds: kinds of edit for one region, at most; default: 1. With --workflow write-unicedit for one "
        "photo; default: 7",
    )
    rare(
        "--turns",
        type=number(int, lambda turns: turns in DEPTHS, f"be {DEPTHS[0]} to {DEPTHS[-1]}"),
        metavar="N",
        help=f"turns of a dialogue, {DEPTHS[0]} to {DEPTHS[-1]}, where its plan is not written yet; default: 2 for "
        "content_memory, 3 for content_understanding and version_backtracking",
    )
    rare(
        "--attempts",
        type=positive,
        metavar="N",
        help="edits tried of each sample, each with another seed, after a rejection or an error; default: 1",
    )
    rare(
        "--at-once",
        type=positive,
        metavar="N",
        help="edits made of each sample in one go, as a batch of one sampler; each is a row of its own; default: 1",
    )
    rare(
        "--licence-policy",
        choices=("any", "commercial", "train"),
        help="refuse weights, and those that the model table does not know, whose licence does not allow commercial "
        "use, or training on their outputs; default: any, refuse none",
    )


def _add_recipe(common: Add, rare: Add) -> None:
    common("--status", action="store_true", help="say how far each stage is, also while it runs")
    common("--until", metavar="STAGE", help="end with this stage")
    rare("--rerun-from", metavar="STAGE", help="throw away what this stage and those behind it made, and make it again")
    rare("--extend", action="store_true", help="take further photos of the input into a finished run")
    rare(
        "--stop-kind-below",
        type=number(float, lambda share: 0 < share < 1, "be between 0 and 1"),
        metavar="YIELD",
        help="no further samples of a kind of edit of which a smaller share is kept; default: none is stopped",
    )


def _add_where(common: Add, rare: Add) -> None:
    common(
        "--input",
        action="append",
        metavar="PATH|URL",
        help="photos with NAME.mask.png, .ref.png and .txt beside them, annotation JSON, parquet or webdataset .tar; "
        "may be given several times; default: the bundled samples",
    )
    rare(
        "--input-share",
        type=_shares,
        metavar="N,N,...",
        help="with several inputs: how much of all photos comes from each, in their order, such as 70,30; "
        "default: one input after the other",
    )
    rare(
        "--input-licence",
        action="append",
        metavar="TEXT",
        help="the licence of photos that bring none; of several inputs once for each, '' where it is not known",
    )
    rare(
        "--near",
        type=number(int, lambda bits: bits >= 0, "be 0 or more"),
        metavar="N",
        help="skip photos that look like an earlier one of any input: whose perceptual hashes differ in N of 64 bits at "
        "most; 4 finds copies that were saved anew, resized or mirrored, and most that were cropped by 2 %%; default: nobody looks",
    )
    rare(
        "--boxes",
        choices=("xywh", "xyxy"),
        help="boxes in an objects column of parquet: a corner, width and height, or two corners; default: told by the boxes",
    )
    rare("--image-root", metavar="DIR|URL", help="what the annotation's paths are relative to; default: its folder")
    common(
        "--output",
        metavar="DIR|URL",
        help="the run's folder, also in a store (s3://bucket/run); the same command again goes on; "
        "default: outputs/NAME",
    )
    rare(
        "--layout",
        choices=("hf", "imgedit", "wds"),
        help="hf: parquet with pictures; imgedit: ImgEdit's parquet and tars; wds: webdataset tars; default: hf",
    )
    rare(
        "--keep-stale",
        action="store_true",
        help="keep rows whose photo, region or words were changed or taken away since; default: they leave the dataset, "
        "and what changed is made again",
    )


def _add_speed(common: Add, rare: Add) -> None:
    common(
        "--server",
        metavar="URL|NAME[,...]",
        help="running ComfyUIs, or names in servers.toml; default: starts some",
    )
    rare(
        "--shard-size",
        type=positive,
        metavar="N",
        help="photos of the input that are planned, edited and written together; an input of more is made shard by "
        "shard; a folder keeps the number that it began with; default: 1000",
    )
    rare(
        "--shard",
        type=_share,
        metavar="I/N",
        help="make only every Nth shard of the input, from shard I on, counted from 0, as one of N machines; "
        "merge.py makes one dataset of all shares",
    )
    rare("--servers", type=positive, metavar="N", help="how many to start; default: one for each GPU, one on CPU")
    rare(
        "--samples-per-prompt",
        type=positive,
        metavar="K",
        help="samples that share a prompt, at most; default: chosen from the graph and what is measured",
    )
    rare(
        "--recycle",
        type=positive,
        metavar="N",
        help="start own servers again, one at a time, after N prompts; default: 5000",
    )
    rare(
        "--metrics-port",
        type=number(int, lambda port: 0 < port < 65536, "be between 1 and 65535"),
        metavar="P",
        help="serve Prometheus metrics on this port of the loopback address",
    )


def _add_trouble(common: Add, rare: Add) -> None:
    common(
        "--retry-failed",
        nargs="?",
        const="",
        metavar="CLASS",
        help="try failed samples again, or those of one error type",
    )
    common(
        "--max-failed",
        type=max_failed,
        metavar="N|P%",
        help="how many may fail before the exit status is 1; default: 0",
    )
    rare(
        "--budget-usd",
        type=number(float, lambda usd: 0 < usd < float("inf"), "be more than 0"),
        metavar="X",
        help="the most that calls to VLM services may cost in this run; what is over fails; default: no bound",
    )
    rare(
        "--min-free-gb",
        type=number(float, lambda size: 0 <= size < float("inf"), "be a number, 0 or more"),
        metavar="G",
        help="pause while the output's disk has less than this free; default: 1",
    )


def _shares(text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(one) for one in text.split(","))
    except ValueError:
        found = ()
    if found and all(0 < one < float("inf") for one in found):
        return found
    raise argparse.ArgumentTypeError(f"{text!r} are no shares such as 70,30: a number above 0 for each input")


def _inputs(parser: Parser, read: argparse.Namespace) -> tuple[InputShare, ...]:
    paths = read.input or ()
    for name, given in (("--input-share", read.input_share), ("--input-licence", read.input_licence)):
        if given and len(given) != len(paths):
            parser.error(f"{name} goes with each --input: {len(given)} given, for {counted(len(paths), '--input')}")
    if read.input_share and len(paths) < 2:
        parser.error("--input-share goes with several --input")
    if read.boxes and not paths:
        parser.error("--boxes goes with --input")
    shares, licences = read.input_share or (None,) * len(paths), read.input_licence or ("",) * len(paths)
    return tuple(InputShare(*one, boxes=read.boxes) for one in zip(paths, shares, licences, strict=True))


def _share(text: str) -> tuple[int, int]:
    index, slash, shares = text.partition("/")
    if slash and index.isdecimal() and shares.isdecimal() and int(index) < int(shares):
        return int(index), int(shares)
    raise argparse.ArgumentTypeError(f"{text!r} is no share such as 0/8, the first of eight, or 7/8, the last")


_INSTEAD = {"regions": ("kinds",), "servers": ("server",), "recycle": ("server",), "limit": ("shard",)}
"""Options, and which others leave nothing for them to do."""

_BY_STAGE = (
    "set", "judge", "regions", "kinds", "kinds_per_region", "turns", "attempts", "at_once", "samples_per_prompt"
)  # fmt: skip
"""What a recipe says for each of its stages."""

_OF_WORKFLOWS = ("annotate", "shard")
"""What only a run of workflows knows."""

_OF_RECIPES = ("until", "rerun_from", "extend", "status", "stop_kind_below")

_STATUS_LEAVES = ("recipe", "output", "status", "json")
"""What is looked at where nothing is run."""


def _check(parser: Parser, read: argparse.Namespace) -> None:
    """Ends the command where an option would do nothing."""
    if not read.workflow and not read.recipe:
        parser.error("name workflows with --workflow, or a recipe with --recipe")
    if read.workflow and read.recipe:
        parser.error("--workflow and --recipe: give one of them; a recipe names the workflows of its stages")
    given = [name for name in vars(read) if getattr(read, name) != parser.get_default(name)]
    for name in _OF_RECIPES if not read.recipe else ():
        if name in given:
            parser.error(f"--{name.replace('_', '-')} goes with --recipe")
    for name in given:
        option = f"--{name.replace('_', '-')}"
        if name in _BY_STAGE and read.recipe:
            parser.error(
                f"{option} has no effect with --recipe, which says it stage by stage: copy the recipe's file, change "
                "it there, and give its path"
            )
        if name in _OF_WORKFLOWS and read.recipe:
            parser.error(f"{option} goes with --workflow")
        if read.status and name not in _STATUS_LEAVES:
            parser.error(f"{option} has no effect with --status; leave one of them out")
    for name, others in _INSTEAD.items():
        for other in others:
            if getattr(read, name) != parser.get_default(name) and getattr(read, other):
                parser.error(f"--{name} has no effect with --{other}; leave one of them out")
    if read.kinds_per_region and not read.kinds:
        parser.error("--kinds-per-region goes with --kinds")
