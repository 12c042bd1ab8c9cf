"""What a recipe derives from its last stage's rows, when all stages are done: `[derive]` in its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..deriving.deriving import INSIDE, DeriveOptions, derive
from ..deriving.drafts import Asked
from ..options import RunOptions
from ..stopping import StopRequest
from .file import Deriving, Recipe


def derived_behind(recipe: Recipe, options: RunOptions, kept: int, stop: StopRequest) -> dict[str, Any]:
    """Derives, where the recipe says so and its last stage is done.

    Args:
        kept: rows that the last stage kept; of none nothing is derived.

    Returns:
        What is told to programs; nothing where nothing was asked for.

    Raises:
        RunError: as `derive`.
    """
    if not recipe.deriving or not kept or options.until not in (None, recipe.stages[-1].name):
        return {}
    asked = options_of(recipe.deriving, options.output)
    done = derive(asked, stop=stop)
    done.say(asked.output)
    return {"derived": done.told(asked.output)}


def options_of(deriving: Deriving, output: Path) -> DeriveOptions:
    """
    Args:
        output: the recipe's.
    """
    asked = Asked(deriving.kinds, deriving.languages, deriving.siblings)
    return DeriveOptions(output, output / INSIDE, asked, deriving.originals)
