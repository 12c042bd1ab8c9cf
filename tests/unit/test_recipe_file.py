"""A recipe's file: what it says becomes options of single runs, and what is wrong in it is one line that names the place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from driver.errors import RunError
from driver.options import _BY_STAGE, RunOptions, parse
from driver.recipe.checks import check, sorts
from driver.recipe.file import RECIPES, Deriving, InputShare, _Stage, read_recipe

WORKFLOWS = RECIPES.parent / "workflows"

EVERYTHING = """
name = "mine"
about = "all that a recipe may say"
near = 4

[[input]]
path = "photos"
share = 7
licence = "CC BY 4.0"

[[input]]
path = "s3://bucket/more"
share = 0.5

[[stage]]
name = "words"
workflow = "write"
kinds = ["remove=3", "unicedit/Texture Editing"]
kinds-per-region = 2
profile = "open"

[[stage]]
name = "edit"
workflow = "remove,./own.json"
set = ["@Paint.strength=0.5"]
regions = "one"
attempts = 2
at-once = 3
samples-per-prompt = 4
judge = "strict"
"""


def put(folder: Path, text: str) -> str:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_what_a_file_says_becomes_options_of_single_runs(tmp_path: Path) -> None:
    shutil.copy(WORKFLOWS / "style.json", tmp_path / "own.json")
    recipe = read_recipe(put(tmp_path, EVERYTHING))
    assert (recipe.name, recipe.about, recipe.near) == ("mine", "all that a recipe may say", 4)
    assert recipe.inputs == (InputShare(f"{tmp_path}/photos", 7, "CC BY 4.0"), InputShare("s3://bucket/more", 0.5))
    words, edit = recipe.stages
    asked = parse(["--recipe", "x", "--output", "out", "--profile", "full", "--seed", "5", "--until", "edit"])
    first, last = (one.run_options(asked, recipe.folder(one, asked.output)) for one in (words, edit))
    assert (first.workflow, first.kinds, first.kinds_per_region) == ("write", "remove=3,unicedit/Texture Editing", 2)
    assert (first.profile, last.profile, first.seed) == ("open", "full", 5)
    assert (first.output, last.output) == (Path("out/stages/words"), Path("out"))
    assert last.workflow == f"remove,{tmp_path}/own.json"
    assert (last.set, last.regions, last.attempts, last.at_once) == (("@Paint.strength=0.5",), "one", 2, 3)
    assert (last.samples_per_prompt, last.judge, last.recipe, last.until) == (4, "strict", None, None)


def test_inputs_of_the_command_line_take_the_place_of_those_of_the_file(tmp_path: Path) -> None:
    shutil.copy(WORKFLOWS / "style.json", tmp_path / "own.json")
    recipe = read_recipe(put(tmp_path, EVERYTHING))
    assert recipe.asked(parse(["--recipe", "x"])).input == recipe.inputs
    own = recipe.asked(parse(["--recipe", "x", "--input", "mine", "--near", "2"]))
    assert (own.input, own.near) == ((InputShare("mine"),), 2)
    assert recipe.asked(parse(["--recipe", "x"])).near == 4


def test_every_option_of_a_stage_is_one_of_a_run() -> None:
    said = set(_Stage.model_fields) - {"name", "workflow"}
    assert said <= set(RunOptions.__dataclass_fields__)
    assert said - {"profile"} == set(_BY_STAGE), "what the command line refuses beside --recipe"


@pytest.mark.parametrize("name", sorted(path.stem for path in RECIPES.glob("*.toml")))
def test_our_own_can_be_run(name: str) -> None:
    recipe, options = read_recipe(name), parse(["--recipe", name])
    assert recipe.name == name and recipe.about
    check(recipe, options)
    assert sorts(recipe, options)[-1] in ("edit", "verify")


STAGE = '[[stage]]\nname = "one"\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[[stage]", "is no TOML"),
        (f'name = "x"\nnea = 3\n{STAGE}workflow = "remove"', "there is no key nea (did you mean near?)"),
        ('name = "x"', "stage is missing"),
        ('name = "x"\nstage = 3', "stage = 3: should be a valid list"),
        (f'name = "x"\n{STAGE}', "stage one: workflow is missing"),
        (f'name = "x"\n{STAGE}workflow = "write"\nkind = "a"', "stage one: there is no key kind (did you mean kinds?)"),
        (f'name = "x"\n{STAGE}workflow = "remove"\nattempts = 0', "stage one: attempts = 0: should be greater"),
        (f'name = "x"\n{STAGE}workflow = "remove"\nset = "a"', "stage one: set = 'a': should be a valid list"),
        (
            f'name = "x"\n{STAGE}workflow = "remve"',
            "workflow remve: neither a workflow of EditPairs (did you mean remove?)",
        ),
        (f'name = "x"\n{STAGE}workflow = "./no.json"', "stage one: workflow ./no.json: there is no file"),
        (f'name = "x"\n{STAGE}workflow = "auto,remove"', "stage one: workflow auto,remove: auto stands alone"),
        (f'name = "x"\n{STAGE}workflow = "write"\nkinds-per-region = 2', "stage one: kinds-per-region goes with kinds"),
        (
            f'name = "x"\n{STAGE}workflow = "remove"\n{STAGE}workflow = "verify"',
            "two stages are called one",
        ),
        (
            f'name = "x"\n[[input]]\npath = "p"\nshare = 2\n[[input]]\npath = "q"\n{STAGE}workflow = "remove"',
            "share stands at some inputs and not at others",
        ),
        ('name = "x"\n[[stage]]\nname = "A b"\nworkflow = "remove"', "name 'A b': give it small letters"),
        (f'name = "x"\n[[input]]\npath = "p"\nshare = 0\n{STAGE}workflow = "remove"', "input 1: share = 0"),
    ],
)
def test_what_is_wrong_is_one_line_that_names_the_place(text: str, line: str, tmp_path: Path) -> None:
    path = put(tmp_path, text)
    with pytest.raises(RunError) as refused:
        read_recipe(path)
    assert line in str(refused.value)
    assert str(refused.value).startswith(f"--recipe {path}: ") and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("imgedt", "no recipe called imgedt (did you mean imgedit?); there are: "),
        ("./no.toml", "cannot be read (No such file"),
    ],
)
def test_a_recipe_that_is_not_there_is_refused(
    name: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match="--recipe") as refused:
        read_recipe(name)
    assert line in str(refused.value)


def test_a_file_of_the_name_of_one_of_ours_is_asked_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(RECIPES / "imgedit.toml", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RunError, match=r"--recipe \./imgedit\.toml takes the file"):
        read_recipe("imgedit.toml")
    assert read_recipe("./imgedit.toml").path == Path("imgedit.toml")
    assert read_recipe("imgedit").path == RECIPES / "imgedit.toml"


def test_a_workflow_beside_the_recipe_is_not_mixed_up_with_one_of_ours(tmp_path: Path) -> None:
    shutil.copy(WORKFLOWS / "style.json", tmp_path / "remove.json")
    path = put(tmp_path, f'name = "x"\n{STAGE}workflow = "remove.json"')
    with pytest.raises(RunError, match=r"have that name; \./remove\.json takes the file"):
        read_recipe(path)
    put(tmp_path, f'name = "x"\n{STAGE}workflow = "./remove.json"')
    assert read_recipe(path).stages[0].workflow == f"{tmp_path}/remove.json"


def test_what_is_derived_behind_the_last_stage(tmp_path: Path) -> None:
    stage = 'name = "mine"\n[[stage]]\nname = "edit"\nworkflow = "remove"\nprofile = "classical"\n'
    assert read_recipe(put(tmp_path, stage)).deriving is None
    assert read_recipe(put(tmp_path, f"{stage}[derive]")).deriving == Deriving()
    said = f'{stage}[derive]\nkinds = ["inverse"]\nlang = ["zh"]\nsiblings = 3\nwith-originals = true'
    assert read_recipe(put(tmp_path, said)).deriving == Deriving(("inverse",), ("zh",), 3, True)
    with pytest.raises(RunError, match=r"derive: there is no key kind \(did you mean kinds\?\)"):
        read_recipe(put(tmp_path, f'{stage}[derive]\nkind = ["inverse"]'))
    lines = stage.replace("remove", "write").replace('profile = "classical"\n', "")
    recipe = read_recipe(put(tmp_path, f"{lines}[derive]"))
    with pytest.raises(RunError, match="derive takes pairs, and stage edit, the last one, gives instructions"):
        check(recipe, RunOptions("", tmp_path))
    recipe = read_recipe(put(tmp_path, f"{stage}[derive]"))
    with pytest.raises(RunError, match="derive reads rows that lie here"):
        check(recipe, RunOptions("", tmp_path, publish_to="s3://bucket/x"))
