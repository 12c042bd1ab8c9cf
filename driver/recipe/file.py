"""A recipe's file, read: stages in the order in which they happen, each with the options that a single run has.

`recipes/NAME.toml`, or a file of the user's own. Whatever a stage says goes into its `RunOptions`; what it means for the
stages before and behind it is for `checks.py`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from comfy_nodes.core.instructions.wording import Language

from ..dataset.ownership import STAGES
from ..deriving.drafts import KINDS as DERIVED_KINDS
from ..deriving.drafts import MOST_SIBLINGS, SIBLINGS, Kind
from ..errors import RunError, about
from ..graph.api import guess
from ..graph.file import AUTO, WORKFLOWS
from ..home import ROOT
from ..inputs.near import MOST
from ..inputs.shares import InputShare
from ..options import DEPTHS, RunOptions

RECIPES = ROOT / "recipes"

MAX_BYTES = 1 << 20
"""The largest recipe file. Ours."""

Profile = Literal["auto", "open", "full", "classical"]

_NAME = r"^[a-z0-9][a-z0-9-]{0,40}$"

_WHOLE = {"recipe": None, "until": None, "rerun_from": None, "extend": False, "status": False, "stop_kind_below": None}
"""Options of a recipe as a whole, as a stage's run has them."""


@dataclass(frozen=True)
class RecipeStage:
    """One stage."""

    name: str
    """The folder of its results: small letters, digits and -."""
    workflow: str
    """As `--workflow` takes it."""
    options: Mapping[str, Any]
    """What else it says, as fields of `RunOptions`."""

    def run_options(self, asked: RunOptions, output: Path) -> RunOptions:
        """The stage as a run of its own.

        Args:
            asked: the command line's; what the stage says goes before it.
            output: the stage's folder.
        """
        return replace(asked, workflow=self.workflow, output=output, publish_to=None, **{**_WHOLE, **self.options})


@dataclass(frozen=True)
class Deriving:
    """What is derived from the last stage's rows when all stages are done, as `derive.py` takes it."""

    kinds: tuple[Kind, ...] = DERIVED_KINDS
    languages: tuple[Language, ...] = ()
    siblings: int = SIBLINGS
    originals: bool = False


@dataclass(frozen=True)
class Recipe:
    """A recipe."""

    name: str
    about: str
    """What it makes, in a line."""
    path: Path
    inputs: tuple[InputShare, ...]
    """What it is made of where the command line names no input; a relative path of the file's lies beside it."""
    near: int | None
    """Hamming distance of perceptual hashes from which two photos count as one; None where nobody looks."""
    stages: tuple[RecipeStage, ...]
    """At least one."""
    profile: Profile | None = None
    """What is taken where neither a stage nor the command line names one."""
    deriving: Deriving | None = None

    def asked(self, options: RunOptions) -> RunOptions:
        """The command line with what the file says where it says nothing: inputs, profile, and when two photos count as one."""
        near = self.near if options.near is None else options.near
        profile = self.profile if self.profile and options.profile == "auto" else options.profile
        return replace(options, input=options.input or self.inputs, profile=profile, near=near)

    def folder(self, stage: RecipeStage, output: Path) -> Path:
        """Where a stage's results lie in a recipe's output."""
        return output if stage is self.stages[-1] else output / STAGES / stage.name

    def wanted(self, options: RunOptions) -> tuple[RecipeStage, ...]:
        """The stages that are to be made: all, or up to that of `--until`.

        Raises:
            RunError: there is no such stage.
        """
        if not options.until:
            return self.stages
        return self.stages[: self.stages.index(self.stage(options.until, "--until")) + 1]

    def stage(self, name: str, option: str) -> RecipeStage:
        """The stage of this name.

        Args:
            option: the one that names it.

        Raises:
            RunError: there is none.
        """
        names = [one.name for one in self.stages]
        if name not in names:
            raise RunError(f"{option} {name}: {self.path} has no stage {name}{guess(name, names)}: {', '.join(names)}")
        return self.stages[names.index(name)]


class _Table(BaseModel):
    """A table of the file; its keys are the fields' names with - for _."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, alias_generator=lambda name: name.replace("_", "-")
    )

    @classmethod
    def keys(cls) -> list[str]:
        return [field.alias or name for name, field in cls.model_fields.items()]


def _joined(value: Any) -> Any:
    """A list of words as the command line has it, with commas."""
    if isinstance(value, list) and all(isinstance(one, str) and "," not in one for one in value):
        return ",".join(value)
    return value


Several = Annotated[str, BeforeValidator(_joined), Field(min_length=1)]
"""What the command line takes with commas, and a file also as a list."""


class _Input(_Table):
    path: str = Field(min_length=1)
    share: float | None = Field(None, gt=0)
    licence: str = ""
    boxes: Literal["xywh", "xyxy"] | None = None


class _Stage(_Table):
    name: str = Field(pattern=_NAME)
    workflow: Several
    profile: Profile | None = None
    set: list[str] | None = None
    judge: str | None = Field(None, min_length=1)
    regions: Literal["all", "one"] | None = None
    kinds: Several | None = None
    kinds_per_region: int | None = Field(None, ge=1)
    turns: int | None = Field(None, ge=DEPTHS[0], le=DEPTHS[-1])
    attempts: int | None = Field(None, ge=1)
    at_once: int | None = Field(None, ge=1)
    samples_per_prompt: int | None = Field(None, ge=1)

    def options(self) -> dict[str, Any]:
        """What it says, as fields of `RunOptions`."""
        said = self.model_dump(exclude={"name", "workflow"}, exclude_none=True)
        return said | {name: tuple(value) for name, value in said.items() if isinstance(value, list)}


class _Derive(_Table):
    kinds: list[Kind] = Field(list(DERIVED_KINDS), min_length=1)
    lang: list[Language] = []
    siblings: int = Field(SIBLINGS, ge=1, le=MOST_SIBLINGS)
    with_originals: bool = False

    def deriving(self) -> Deriving:
        return Deriving(tuple(self.kinds), tuple(self.lang), self.siblings, self.with_originals)


class _File(_Table):
    name: str = Field(pattern=_NAME)
    about: str = Field("", pattern=r"^[^\n]*$")
    profile: Profile | None = None
    near: int | None = Field(None, ge=0, le=MOST)
    input: list[_Input] = []
    stage: list[_Stage] = Field(min_length=1)
    derive: _Derive | None = None


def read_recipe(name_or_path: str) -> Recipe:
    """
    Args:
        name_or_path: a name of `recipes/`, or the path of a file.

    Raises:
        RunError: there is no such file, or it is no recipe; one line that names file, stage and key.
    """
    path = _found(name_or_path)
    with about(f"--recipe {path}"):
        read = _read(path)
        for index, stage in enumerate(read.stage):
            if stage.name in [one.name for one in read.stage[:index]]:
                raise RunError(f"two stages are called {stage.name}; each has a folder of its own")
        if len({one.share is None for one in read.input}) > 1:
            raise RunError("share stands at some inputs and not at others; write it at each, or at none")
        stages = tuple(_stage(path, one) for one in read.stage)
    inputs = tuple(InputShare(_beside(path, one.path), one.share, one.licence, one.boxes) for one in read.input)
    return Recipe(
        read.name,
        read.about,
        path,
        inputs,
        read.near,
        stages,
        read.profile,
        read.derive.deriving() if read.derive else None,
    )


def _found(name: str) -> Path:
    given = Path(name)
    if given.name != name:
        return given
    own = RECIPES / f"{name.removesuffix('.toml')}.toml"
    if given.is_file() and own.is_file() and Path.cwd() != RECIPES:
        raise RunError(
            f"--recipe {name}: a file here and a recipe of EditPairs have that name: --recipe ./{name} takes the file, "
            f"--recipe {own.stem} that of EditPairs"
        )
    if own.is_file() or given.is_file():
        return own if own.is_file() else given
    known = sorted(path.stem for path in RECIPES.glob("*.toml"))
    raise RunError(
        f"--recipe {name}: no recipe called {name}{guess(name, known)}; there are: {', '.join(known)}, or give a path"
    )


def _read(path: Path) -> _File:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise RunError(f"cannot be read ({error.strerror})") from None
    if len(data) > MAX_BYTES:
        raise RunError(f"is larger than {MAX_BYTES >> 20} MB; give a recipe, a TOML file such as those in recipes/")
    try:
        told = tomllib.loads(data.decode("utf-8-sig"))
    except ValueError as error:  # UnicodeDecodeError and TOMLDecodeError are some
        raise RunError(f"is no TOML ({error})") from None
    try:
        return _File(**told)
    except ValidationError as error:
        raise RunError("; ".join(_fault(told, one) for one in error.errors())) from None


def _fault(told: Mapping[str, Any], fault: ErrorDetails) -> str:
    """What pydantic found wrong at one place, in our words."""
    table: type[_Table] = _File
    where, keys = "", list(fault["loc"])
    if keys[0] in ("stage", "input") and len(keys) > 1 and isinstance(keys[1], int):
        item = told[str(keys[0])][keys[1]]
        table = _Stage if keys[0] == "stage" else _Input
        named = item.get("name") if isinstance(item, dict) else None
        where = f"stage {named}: " if isinstance(named, str) else f"{keys[0]} {keys[1] + 1}: "
        keys = keys[2:]
    elif keys[0] == "derive" and len(keys) > 1:
        table, where, keys = _Derive, "derive: ", keys[1:]
    key = str(keys[0]) if keys else ""
    if fault["type"] == "extra_forbidden":
        return f"{where}there is no key {key}{guess(key, table.keys())}; it takes {', '.join(table.keys())}"
    if fault["type"] == "missing":
        return f"{where}{key} is missing"
    if fault["type"] == "string_pattern_mismatch" and key == "name":
        return f"{where}name {fault['input']!r}: give it small letters, digits and -, at most 41"
    message = fault["msg"].removeprefix("Input ").removeprefix("String ").removeprefix("List ")
    return f"{where}{key} = {_short(fault['input'])}: {message}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _stage(path: Path, read: _Stage) -> RecipeStage:
    with about(f"stage {read.name}"):
        if read.kinds_per_region and not read.kinds:
            raise RunError("kinds-per-region goes with kinds")
        if read.kinds and read.regions:
            raise RunError("regions has no effect with kinds; leave one of them out")
        names = [part.strip() for part in read.workflow.split(",") if part.strip()]
        if AUTO in names and len(names) > 1:
            raise RunError(f"workflow {read.workflow}: auto stands alone")
        workflow = AUTO if names == [AUTO] else ",".join(_workflow(path, name) for name in names)
    return RecipeStage(read.name, workflow, read.options())


def _workflow(path: Path, name: str) -> str:
    """A workflow as `--workflow` takes it: a name of ours, or a file, which lies beside the recipe.

    Raises:
        RunError: there is none, or two are meant.
    """
    given, stem = Path(name), name.removesuffix(".json")
    there = (path.parent / given).is_file()
    ours = given.name == name and any(
        (WORKFLOWS / f"{stem}{end}.json").is_file() for end in ("", "-open", "-classical")
    )
    if there and ours:
        raise RunError(
            f"workflow {name}: a file beside the recipe and a workflow of EditPairs have that name; ./{name} takes the file"
        )
    if there:
        return _beside(path, name)
    if given.name != name:
        raise RunError(f"workflow {name}: there is no file {path.parent / given}")
    if not ours:
        known = sorted({one.stem.removesuffix("-classical").removesuffix("-open") for one in WORKFLOWS.glob("*.json")})
        raise RunError(
            f"workflow {name}: neither a workflow of EditPairs{guess(stem, known)} nor a file beside the recipe"
        )
    return name


def _beside(path: Path, name: str) -> str:
    """A path in the file as the command line would have it: always with a folder in it, so that it is taken as a path."""
    if "://" in name or Path(name).is_absolute():
        return name
    folder = str(path.parent)
    return f"{folder}/{Path(name)}"
