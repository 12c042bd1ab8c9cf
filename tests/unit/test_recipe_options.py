"""Options of recipes: which go with `--recipe`, which with workflows, and what a dry run estimates."""

from __future__ import annotations

from pathlib import Path

import pytest

from driver.comfyui.hosts import Host
from driver.errors import RunError
from driver.graph.checks import check
from driver.options import RunOptions, parse
from driver.recipe import fitting
from driver.recipe.dry_run import Estimate, _estimated
from driver.recipe.file import RECIPES, Recipe, RecipeStage, read_recipe
from driver.recipe.fitting import Fitting, fit, workflow_names_of
from driver.report.yields import StageYield

RECIPE = ("--recipe", "imgedit")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ((), "name workflows with --workflow, or a recipe with --recipe"),
        ((*RECIPE, "--workflow", "remove"), "--workflow and --recipe: give one of them"),
        (("--workflow", "remove", "--until", "edit"), "--until goes with --recipe"),
        (("--workflow", "remove", "--status"), "--status goes with --recipe"),
        (("--workflow", "remove", "--stop-kind-below", "0.1"), "--stop-kind-below goes with --recipe"),
        ((*RECIPE, "--kinds", "remove=3"), "--kinds has no effect with --recipe, which says it stage by stage"),
        ((*RECIPE, "--set", "A.b=1"), "--set has no effect with --recipe"),
        ((*RECIPE, "--judge", "strict"), "--judge has no effect with --recipe"),
        ((*RECIPE, "--attempts", "2"), "--attempts has no effect with --recipe"),
        ((*RECIPE, "--shard", "0/2"), "--shard goes with --workflow"),
        ((*RECIPE, "--annotate", "never"), "--annotate goes with --workflow"),
        ((*RECIPE, "--status", "--until", "edit"), "--until has no effect with --status"),
        ((*RECIPE, "--status", "--input", "photos"), "--input has no effect with --status"),
        ((*RECIPE, "--stop-kind-below", "1.5"), "argument --stop-kind-below: must be between 0 and 1"),
        ((*RECIPE, "--servers", "2", "--server", "http://a"), "--servers has no effect with --server"),
    ],
)
def test_what_would_do_nothing_is_refused(
    given: tuple[str, ...], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(list(given))
    assert ended.value.code == 2
    assert f"batch.py: error: {line}" in capsys.readouterr().err


def test_what_holds_for_the_whole_run_is_taken() -> None:
    words = (
        "--input p --image-root r --server http://a --profile open --seed 3 --limit 5 --shard-size 9 --retry-failed "
    )
    words += (
        "--licence-policy train --budget-usd 2 --max-failed 5% --layout wds --metrics-port 9000 --keep-stale --dry-run "
    )
    words += "--json --until edit --rerun-from write --extend --stop-kind-below 0.25"
    options = parse([*RECIPE, *words.split()])
    assert (options.workflow, options.recipe, options.output) == ("", "imgedit", Path("outputs/imgedit"))
    assert (options.until, options.rerun_from, options.extend, options.stop_kind_below) == ("edit", "write", True, 0.25)


def test_the_output_of_a_recipe_of_ones_own_is_called_after_its_file() -> None:
    assert parse(["--recipe", "./mine/signs.toml"]).output == Path("outputs/signs")


# What a dry run says.


def measured(name: str, taken: int, passed: int, items: int) -> StageYield:
    return StageYield(name, True, taken=taken, passed=passed, calls=2 * taken, usd=0.5, worked=3.0 * taken, items=items)


def test_estimates_follow_from_what_the_stages_made_so_far() -> None:
    known = {"write": measured("write", 10, 8, 10), "edit": measured("edit", 16, 12, 8)}
    write, edit, verify = _estimated(("write", "edit", "verify"), 100, known)
    assert (write.samples, write.passed, write.calls, write.usd, write.seconds) == (100, 80, 200, 5.0, 300.0)
    assert (edit.samples, edit.passed, edit.measured) == (160, 120, 16), "an instruction gave two edits"
    assert verify == Estimate("verify", None)
    assert verify.row()[1:] == ("?", "?", "?", "?", "?", "not measured yet")


def test_where_nothing_was_made_nothing_is_claimed() -> None:
    first, second = _estimated(("write", "edit"), 100, {})
    assert first == Estimate("write", 100) and second == Estimate("edit", None)
    begun = StageYield("write", True, taken=4, pending=4)
    assert _estimated(("write",), 100, {"write": begun}) == [Estimate("write", 100)], "none has an end yet"


# Whether it fits the servers.

LACKING = {
    "a": {"class_type": "Load", "inputs": {"model": "grounding-dino-tiny"}},
    "b": {"class_type": "Load", "inputs": {"model": "sam2.1-hiera-large"}},
}
INFO = {"Load": {"input": {"required": {"model": ["COMBO", {"options": []}]}}, "output": []}}


def test_what_all_stages_lack_is_one_line_with_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def bound(options: RunOptions, names: tuple[str, ...], _hosts: list[Host]) -> list[object]:
        if names == ("sound",):
            return []
        if names == ("unready",):
            raise RunError("http://a: there is no VLM profile 'default'")
        check({name: LACKING[name] for name in names}, INFO)
        raise AssertionError("it fits")

    monkeypatch.setattr(fitting, "bound", bound)
    monkeypatch.setattr(fitting, "check_kinds", lambda *_: None)
    options = RunOptions("", Path("out"))

    def stage(name: str, *names: str) -> Fitting:
        return Fitting(RecipeStage(name, "", {}), options, names, ())

    assert fit([stage("one", "sound")]) == [[]]
    with pytest.raises(RunError) as refused:
        fit(
            [
                stage("find", "a"),
                stage("cut", "b"),
                stage("write", "unready"),
                stage("ok", "sound"),
                stage("v", "unready"),
            ]
        )
    said = str(refused.value)
    assert "stage find: " in said and "stage cut: " in said and "stage ok" not in said
    assert said.count("VLM profile 'default'") == 1 and "stages write, v: http://a" in said
    assert said.count("install.py") == 1
    assert said.endswith("python install.py --models annotate-open,extract-open fetches what the model table knows")


def test_auto_means_the_graphs_of_the_kinds_that_a_stage_before_it_names() -> None:
    recipe = read_recipe("imgedit")
    auto = next(stage for stage in recipe.stages if stage.workflow == "auto")
    assert workflow_names_of(recipe, auto)[:3] == ["add", "remove", "replace"]
    write = RecipeStage("w", "write", {"kinds": "style=3,unicedit/Tone Transformation"})
    made = Recipe("x", "", RECIPES / "x.toml", (), None, (write, RecipeStage("e", "auto", {})))
    assert workflow_names_of(made, made.stages[1]) == ["style", "instruct-qwen"]
    alone = Recipe("x", "", RECIPES / "x.toml", (), None, (RecipeStage("e", "auto", {}),))
    assert workflow_names_of(alone, alone.stages[0]) == [], "its input tells"
