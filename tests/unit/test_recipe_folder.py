"""A recipe's output: whose it is, and how results of stages go."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from driver.errors import RunError
from driver.journal import Journal
from driver.options import RunOptions
from driver.recipe import folder
from driver.recipe.file import Recipe, RecipeStage
from driver.recipe.folder import recipe_folder


def recipe(*stages: tuple[str, dict[str, Any]]) -> Recipe:
    made = tuple(RecipeStage(name, f"{name}.json", options) for name, options in stages)
    return Recipe("mine", "", Path("mine.toml"), (), None, made)


THREE = (("look", {}), ("edit", {"kinds": "remove=5"}), ("judge", {}))


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """A recipe of three stages that ran."""
    place = tmp_path / "out"
    with recipe_folder(recipe(*THREE), RunOptions("", place)):
        for stage in (place / "stages" / "look", place / "stages" / "edit", place):
            (stage / "shards").mkdir(parents=True)
            Journal(stage / "run.sqlite").close()
            (stage / "summary.json").write_text("{}")
            (stage / "telemetry.parquet").write_text("")
    return place


def begin(place: Path, *stages: tuple[str, dict[str, Any]], rerun_from: str | None = None) -> str:
    with recipe_folder(recipe(*stages), replace(RunOptions("", place), rerun_from=rerun_from)) as held:
        return held.account


def there(place: Path) -> list[str]:
    stages = {"look": place / "stages" / "look", "edit": place / "stages" / "edit", "judge": place}
    return [name for name, path in stages.items() if (path / "run.sqlite").exists()]


def test_the_same_recipe_goes_on(output: Path) -> None:
    assert begin(output, *THREE) == begin(
        output, ("look", {}), ("edit", {"kinds": "remove=5", "attempts": 3}), ("judge", {})
    )
    assert there(output) == ["look", "edit", "judge"]


@pytest.mark.parametrize(
    ("stages", "line"),
    [
        (
            (("look", {}), ("edit", {"kinds": "add"}), ("judge", {})),
            "kinds 'remove=5' there, 'add' now; --rerun-from edit",
        ),
        ((("look", {}), ("edit", {"kinds": "remove=5"})), "whose last stage is judge; --rerun-from edit"),
        ((*THREE, ("again", {})), "whose last stage is judge; --rerun-from judge"),
        ((("find", {}), *THREE[1:]), "stage look there, find now; --rerun-from find"),
    ],
)
def test_another_one_is_refused_with_the_difference(
    output: Path, stages: tuple[tuple[str, dict[str, Any]], ...], line: str
) -> None:
    with pytest.raises(RunError) as refused:
        begin(output, *stages)
    assert line in str(refused.value)
    assert there(output) == ["look", "edit", "judge"]


def test_stages_are_made_again_from_where_they_differ(output: Path) -> None:
    (output / "notes.txt").write_text("mine")
    account = begin(output, ("look", {}), ("edit", {"kinds": "add"}), ("judge", {}), rerun_from="edit")
    assert there(output) == ["look"]
    assert {path.name for path in output.iterdir()} == {"stages", "recipe.json", "notes.txt"}
    assert account == begin(output, ("look", {}), ("edit", {"kinds": "add"}), ("judge", {})), "one purse for good"


def test_a_kill_while_results_go_is_made_up_for(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed = []

    def killed(path: Path) -> None:
        removed.append(path)
        if len(removed) == 3:
            raise KeyboardInterrupt
        gone(path)

    gone = folder._gone
    monkeypatch.setattr(folder, "_gone", killed)
    with pytest.raises(KeyboardInterrupt):
        begin(output, *THREE, rerun_from="edit")
    monkeypatch.undo()
    assert (output / "stages" / "rerun.json").exists()
    begin(output, *THREE)
    assert there(output) == ["look"]
    assert {path.name for path in output.iterdir()} == {"stages", "recipe.json"}


def test_what_is_no_recipes_stays(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"files that no run left there \(notes.txt\)"):
        begin(tmp_path, *THREE)
    (tmp_path / "notes.txt").unlink()
    Journal(tmp_path / "run.sqlite").close()
    with pytest.raises(RunError, match="a run that is no recipe's"):
        begin(tmp_path, *THREE)
    assert not (tmp_path / "stages").exists()


def test_one_command_at_a_time_and_nothing_of_one_that_never_began(tmp_path: Path) -> None:
    place = tmp_path / "out"
    with recipe_folder(recipe(*THREE), RunOptions("", place)):
        assert json.loads((place / "recipe.json").read_text())["stages"][1]["kinds"] == "remove=5"
        with pytest.raises(RunError, match="another command is using it"):
            begin(place, *THREE)
    assert not place.exists()
