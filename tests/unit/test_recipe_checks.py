"""Whether a recipe's stages fit one another: told by their workflows' files, in one line, before anything starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from driver.errors import RunError
from driver.options import parse
from driver.recipe.checks import check, sorts
from driver.recipe.file import RECIPES, Recipe, read_recipe
from driver.recipe.sorts import work_of

WORKFLOWS = RECIPES.parent / "workflows"

ANNOTATE = ("annotate", "")
WRITE = ("write", 'kinds = "remove=2,style"')
VERIFY = ("verify", "")


def recipe_of(folder: Path, *stages: tuple[str, str], head: str = "") -> Recipe:
    """A recipe of these stages, each a workflow and further lines, called a, b, c and so on."""
    text = f'name = "mine"\n{head}\n'
    for name, (workflow, more) in zip("abcdef", stages, strict=False):
        text += f'[[stage]]\nname = "{name}"\nworkflow = "{workflow}"\n{more}\n'
    (folder / "mine.toml").write_text(text, encoding="utf-8")
    return read_recipe(str(folder / "mine.toml"))


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        ((ANNOTATE, WRITE, ("auto", ""), VERIFY), ["annotate", "write", "edit", "verify"]),
        ((ANNOTATE, ("remove,style", "")), ["annotate", "edit"]),
        ((("remove", ""), VERIFY, VERIFY), ["edit", "verify", "verify"]),
        ((("instruct", ""),), ["edit"]),
        ((VERIFY,), ["verify"]),
        ((("auto", ""), VERIFY), ["edit", "verify"]),
        ((ANNOTATE, ("motion", "")), ["annotate", "edit"]),
    ],
)
def test_stages_that_fit_are_taken(stages: tuple[tuple[str, str], ...], expected: list[str], tmp_path: Path) -> None:
    recipe, options = recipe_of(tmp_path, *stages), parse(["--recipe", "mine"])
    check(recipe, options)
    assert sorts(recipe, options) == expected


@pytest.mark.parametrize(
    ("stages", "line"),
    [
        ((ANNOTATE, VERIFY), "stage b: judges pairs, and stage a before it gives photos"),
        ((ANNOTATE, WRITE, VERIFY), "stage c: judges pairs, and stage b before it gives instructions"),
        ((VERIFY, ("remove", "")), "stage b: edits photos, and stage a before it gives pairs"),
        ((("remove", ""), WRITE), "stage b: writes about photos, and stage a before it gives pairs"),
        ((WRITE, ANNOTATE), "stage b: works on photos, and stage a before it gives instructions"),
        ((ANNOTATE, ("auto", "")), "stage b: auto takes the graphs of the kinds that a write stage"),
        ((ANNOTATE, ("write", ""), ("auto", "")), "stage c: auto takes the graphs of the kinds"),
        ((ANNOTATE, ("instruct", "")), "stage b: edits by instructions, and no stage before it writes any"),
        ((("annotate,write", ""),), "stage a: several workflows in one stage make edits"),
        ((("annotate", 'kinds = "remove"'),), "stage a: kinds has no effect, as it works on photos"),
        ((("write", "at-once = 2"),), "stage a: at-once has no effect, as it writes about photos"),
        ((("remove", "turns = 3"),), "stage a: turns has no effect, as none of its workflows makes dialogues"),
        ((("content_memory", "turns = 6"),), "stage a: turns = 6: "),
        ((("content_memory", "turns = 5"), ("remove", "")), "stage b: edits photos, and stage a before it gives pairs"),
        ((("write", 'kinds = "remov"'), ("auto", "")), "stage a: --kinds remov"),
    ],
)
def test_a_stage_whose_input_nobody_makes_is_refused(
    stages: tuple[tuple[str, str], ...], line: str, tmp_path: Path
) -> None:
    with pytest.raises(RunError) as refused:
        check(recipe_of(tmp_path, *stages), parse(["--recipe", "mine"]))
    assert str(refused.value).startswith(f"--recipe {tmp_path / 'mine.toml'}: ") and line in str(refused.value)


@pytest.mark.parametrize(
    ("stages", "line"),
    [
        (
            (("./ungrounded.json", ""), ("remove", "")),
            "stage b: remove takes regions, and no stage before it finds any",
        ),
        ((("./ungrounded.json", ""), WRITE), "stage b: imgedit/remove takes regions, and no stage before it finds any"),
        ((ANNOTATE, ("remove", "")), ""),
        ((WRITE,), ""),
    ],
)
def test_regions_may_come_with_the_photos(stages: tuple[tuple[str, str], ...], line: str, tmp_path: Path) -> None:
    ungrounded = json.loads((WORKFLOWS / "annotate.json").read_bytes())
    for node in ungrounded["nodes"]:
        if node["type"] == "EditPairsSaveAnnotation":
            for one in node["inputs"]:
                one["link"] = one["link"] if one["name"] == "sample" else None
    (tmp_path / "ungrounded.json").write_text(json.dumps(ungrounded))
    said = check(recipe_of(tmp_path, *stages), parse(["--recipe", "mine"]))
    assert (line in said) if line else said == ""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--until", "z"), "--until z: "),
        (("--rerun-from", "d"), "--rerun-from d: "),
        (("--until", "a", "--rerun-from", "b"), "--rerun-from b has no effect with --until a, which comes before it"),
        (("--profile", "open"), "--profile has no effect with "),
    ],
)
def test_an_option_that_names_no_stage_or_does_nothing_is_refused(
    words: tuple[str, ...], line: str, tmp_path: Path
) -> None:
    both = tuple((workflow, 'profile = "full"') for workflow in ("annotate", "remove"))
    with pytest.raises(RunError) as refused:
        check(recipe_of(tmp_path, *both), parse(["--recipe", "mine", *words]))
    assert line in str(refused.value)


def test_what_is_switched_off_in_a_workflow_is_no_end_of_it(tmp_path: Path) -> None:
    saved = json.loads((WORKFLOWS / "remove.json").read_bytes())
    for node in saved["nodes"]:
        if node["type"] == "EditPairsSavePair":
            node["mode"] = 2
    (tmp_path / "muted.json").write_text(json.dumps(saved))
    with pytest.raises(RunError, match=r"muted\.json: has no Save Edit Pair"):
        check(recipe_of(tmp_path, ("./muted.json", "")), parse(["--recipe", "mine"]))


def test_a_workflow_in_api_format_tells_the_same(tmp_path: Path) -> None:
    api = {
        "1": {"class_type": "EditPairsLoadSample", "inputs": {"image": "a.png", "task": "verify"}},
        "2": {"class_type": "EditPairsLoadSecondImage", "inputs": {"image": "b.png", "role": "edited"}},
        "3": {"class_type": "EditPairsSavePair", "inputs": {"sample": ["1", 0], "edited": ["2", 1]}},
    }
    path = tmp_path / "api.json"
    path.write_text(json.dumps(api))
    assert work_of(str(path), "auto") == work_of("verify", "auto")
    shutil.copy(WORKFLOWS / "annotate-open.json", path)
    assert work_of(str(path), "auto").grounds


def test_a_writer_that_chooses_among_kinds_takes_photos_without_regions(tmp_path: Path) -> None:
    writer = ("write-unicedit", 'kinds = "unicedit/Subject Removal,unicedit/Lens Zooming"')
    recipe = recipe_of(tmp_path, ("filter", ""), writer, ("instruct", ""), VERIFY)
    assert check(recipe, parse(["--recipe", "mine"])) == ""
    kinds = 'kinds = "unicedit/Subject Removal"'
    assert "takes regions" in check(recipe_of(tmp_path, ("filter", ""), ("write", kinds)), parse(["--recipe", "mine"]))
