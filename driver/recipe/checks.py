"""Whether a recipe can be run as it was asked for, by what its file and its workflows say: one line before anything starts.

What only a server knows, such as weights and VLM profiles, is for `fitting.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from comfy_nodes.core.tasks import INSTRUCT, WORK, RegionNeed

from ..errors import RunError, about
from ..graph.file import AUTO
from ..inputs.quotas import wanted_kinds
from ..options import RunOptions
from .file import Recipe, RecipeStage
from .sorts import Sort, Work, work_of

_ORDER: dict[Sort, tuple[Sort, ...]] = {
    "annotate": ("annotate",),
    "write": ("annotate", "write"),
    "edit": ("annotate", "write"),
    "verify": ("edit", "verify"),
}
"""What may stand right before a stage of each sort."""

_CALLED = {
    "annotate": "works on photos",
    "write": "writes about photos",
    "edit": "edits photos",
    "verify": "judges pairs",
}
_GIVES = {"annotate": "photos", "write": "instructions", "edit": "pairs", "verify": "pairs"}


@dataclass
class _Made:
    """What the stages so far leave for the next one."""

    by: str = ""
    """The last one's name; empty before the first, whose input is the user's and may bring anything."""
    sort: Sort | None = None
    regions: bool = False
    words: bool = False
    kinds: bool = False
    lacks: str = ""
    """Which stage takes regions that none before it finds, and what to do."""


def check(recipe: Recipe, options: RunOptions) -> str:
    """
    Returns:
        What is wrong where no photo of the input brings regions; empty where nothing is.

    Raises:
        RunError: a stage's input is made by none before it, or an option names no stage or does nothing.
    """
    _check_options(recipe, options)
    made = _Made()
    for stage in recipe.stages:
        with about(f"--recipe {recipe.path}: stage {stage.name}"):
            made = _after(stage, stage.run_options(options, options.output), made)
    if recipe.deriving and made.sort not in ("edit", "verify"):
        raise RunError(
            f"--recipe {recipe.path}: derive takes pairs, and stage {made.by}, the last one, gives {_GIVES[made.sort or 'edit']}"
        )
    if recipe.deriving and options.publish_to:
        raise RunError(
            f"--recipe {recipe.path}: derive reads rows that lie here; give --output a folder, and publish what is derived after"
        )
    return f"--recipe {recipe.path}: {made.lacks}" if made.lacks else ""


def sorts(recipe: Recipe, options: RunOptions) -> list[Sort]:
    """What sort each stage of a recipe is that was checked."""
    return [_works(stage, stage.run_options(options, options.output))[0].sort for stage in recipe.stages]


def _check_options(recipe: Recipe, options: RunOptions) -> None:
    names = [stage.name for stage in recipe.stages]
    until = recipe.stage(options.until, "--until").name if options.until else names[-1]
    if options.rerun_from and names.index(recipe.stage(options.rerun_from, "--rerun-from").name) > names.index(until):
        raise RunError(f"--rerun-from {options.rerun_from} has no effect with --until {until}, which comes before it")
    if options.profile != "auto" and all("profile" in stage.options for stage in recipe.stages):
        raise RunError(f"--profile has no effect with {recipe.path}, whose stages all name theirs; leave it out")
    if recipe.inputs and options.image_root and not options.input:
        raise RunError(f"--image-root goes with --input; the inputs are those of {recipe.path}")


def _works(stage: RecipeStage, asked: RunOptions) -> list[Work]:
    """What a stage's workflows do; `auto` are edits."""
    names = [AUTO] if stage.workflow == AUTO else stage.workflow.split(",")
    return [Work("edit", "") if name == AUTO else work_of(name, asked.profile) for name in names]


def _after(stage: RecipeStage, asked: RunOptions, made: _Made) -> _Made:
    """What is there behind a stage.

    Raises:
        RunError: what it takes is not there.
    """
    works = _works(stage, asked)
    sort = works[0].sort
    if len(works) > 1 and {one.sort for one in works} != {"edit"}:
        raise RunError(
            "several workflows in one stage make edits, of one task each; give the others stages of their own"
        )
    if made.by and made.sort not in _ORDER[sort]:
        raise RunError(f"{_CALLED[sort]}, and stage {made.by} before it gives {_GIVES[made.sort or 'edit']}")
    if stage.workflow == AUTO and made.by and not made.kinds:
        raise RunError("auto takes the graphs of the kinds that a write stage before it names, and none has kinds")
    _check_options_of(asked, sort)
    if asked.turns and not any(one.dialogues or one.sort == "write" for one in works):
        raise RunError("turns has no effect, as none of its workflows makes dialogues")
    needs = _needs(works, asked)
    marked = sorted(name for name, region in needs.items() if region in ("object", "background"))
    if made.by:
        _check_needs(works, made)
    lacks = f"stage {stage.name}: {', '.join(marked)} takes regions, and no stage before it finds any: put annotate before it"
    return _Made(
        stage.name,
        sort,
        made.regions or any(one.grounds for one in works),
        made.words or sort == "write",
        made.kinds or bool(asked.kinds),
        made.lacks or (lacks if made.by and marked and not made.regions else ""),
    )


def _check_options_of(asked: RunOptions, sort: Sort) -> None:
    """Refuses what would do nothing in a stage of this sort."""
    fits = {"kinds": sort == "write", "judge": sort in ("edit", "verify"), "at_once": sort == "edit",
            "attempts": sort != "verify", "regions": sort in ("write", "edit")}  # fmt: skip
    for name, does in fits.items():
        if not does and getattr(asked, name) != getattr(RunOptions("", asked.output), name):
            raise RunError(f"{name.replace('_', '-')} has no effect, as it {_CALLED[sort]}")


def _needs(works: list[Work], asked: RunOptions) -> dict[str, RegionNeed]:
    """What regions a stage takes, by kind of edit.

    Raises:
        RunError: there is no such kind, or it cannot be made.
    """
    wanted = wanted_kinds(asked.kinds) if asked.kinds else []
    if any(one.chooses for one in works):
        return {}
    if wanted:
        return {one.kind.id: one.kind.region for one in wanted}
    return {one.task: WORK[one.task].region for one in works if one.task in WORK}


def _check_needs(works: list[Work], made: _Made) -> None:
    """
    Raises:
        RunError: words are needed that no stage before makes.
    """
    if any(one.task == INSTRUCT.name and one.sort == "edit" for one in works) and not made.words:
        raise RunError("edits by instructions, and no stage before it writes any: put write before it")
