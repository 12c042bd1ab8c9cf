"""A finished recipe takes in more photos where the user says so, and makes only these."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import scene
from tests.chaos.conftest import Fakes
from tests.chaos.test_recipe import Recipe
from tests.e2e import helpers

BEFORE, AFTER = 6, 8


@pytest.fixture
def recipe(fake: Fakes, tmp_path: Path) -> Iterator[Recipe]:
    made = Recipe(tmp_path, fake("--seconds", 0.005), BEFORE)
    try:
        yield made
    finally:
        made.close()


def test_more_photos_are_taken_in_where_the_user_says_so(recipe: Recipe) -> None:
    recipe.run()
    scene.photos(recipe.photos, AFTER)
    recipe.run(status=2)
    assert "the recipe is finished there, and its input is not what it was then; --extend takes in" in recipe.said()
    assert (recipe.done, len(helpers.rows(recipe.output))) == (3 * BEFORE, BEFORE)
    recipe.run("--extend")
    assert (recipe.done, len(helpers.rows(recipe.output))) == (3 * AFTER, AFTER)
    recipe.run()
    recipe.assert_each_once()
