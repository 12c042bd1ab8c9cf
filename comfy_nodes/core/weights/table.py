"""The weights that our graphs name, and what their licences allow: lookups over the rows in `rows`.

The driver's preflight, `install.py --models`, the README's table and `[tool.comfy]` read it. A file is known by the
name that a loader shows, not by its content; nothing here looks at a disk or a network.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .licences import COMFYUI, TRANSFORMERS
from .records import Code, Policy, Route, Weights
from .routes import IN_WORDS, ROUTES
from .rows import TABLE

OPEN = "open"
"""For `--models`: the weights of all workflows of that profile."""


class UnknownModels(ValueError):
    """No workflow, task or file has this name; the message lists what there is."""


@dataclass(frozen=True)
class Lacking:
    """What a graph lacks of the weights that it names."""

    files: Sequence[str]
    task: str
    """What the graph is for."""
    named: Sequence[str]
    """All weights that it names, by which its workflow is known."""


def find(choice: str) -> Weights | None:
    """The row of what a loader's widget says: a name in whatever subfolder, or a repository of the hub; None where the
    table has none."""
    name = choice.replace("\\", "/").rstrip("/").rpartition("/")[2]
    by_name = (one for one in TABLE if one.name == name)
    return next(by_name, None) or next((one for one in TABLE if one.repository == choice), None)


def loaded_by(weights: Weights) -> Code:
    """The program that loads a set of weights."""
    return weights.code or (TRANSFORMERS if weights.hub_format else COMFYUI)


def routes(task: str) -> tuple[Route, ...]:
    """All ways to a task, the default first: a model graph whose outputs may train other models, where there is one.

    Graphs without any model come last. What an instruction alone can say, end-to-end editors do as well.
    """
    found = [one for one in ROUTES if one.task == task or (one.task == "instruct" and task in IN_WORDS)]
    return tuple(sorted(found, key=lambda one: (not one.weights, not one.allowed("train"), one.task != task)))


def permitted(task: str, policy: Policy) -> tuple[Route, ...]:
    """The ways to a task that a policy allows, the best first."""
    return tuple(one for one in routes(task) if one.allowed(policy))


def workflows_with(weights: Weights) -> tuple[str, ...]:
    """Workflows that name these weights, in the table's order."""
    return tuple(one.workflow for one in ROUTES if weights in one.weights)


def wanted(words: Iterable[str]) -> tuple[Weights, ...]:
    """What `--models` asks for: names of workflows, of tasks (their default route), of single weights, `open`, or `all`.

    Raises:
        UnknownModels: a word is none of these.
    """
    return tuple(dict.fromkeys(weights for word in words for weights in _asked(word)))


def _asked(word: str) -> tuple[Weights, ...]:
    if word == "all":
        return TABLE
    if word == OPEN:
        return tuple(weights for one in ROUTES if one.workflow.endswith(f"-{OPEN}") for weights in one.weights)
    for one in ROUTES:
        if one.workflow == word:
            return one.weights
    if ways := routes(word):
        return ways[0].weights
    if found := find(word):
        return (found,)
    known = ", ".join(dict.fromkeys(name for one in ROUTES if one.weights for name in (one.workflow, one.task)))
    raise UnknownModels(f"{word}: no workflow, task or model file of that name; there are open, all, {known}")


def size_text(size: int | None) -> str:
    """A size as people read it, in units of 1,000."""
    if size is None:
        return "size unknown"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def missing_model(file: str) -> str:
    """What to add where a loader's list lacks a file: what it is and where it belongs; "" where the table has no such row."""
    row = find(file)
    if row is None:
        return ""
    return f" ({size_text(row.size)}, {row.licence.name}, from {row.repository} into models/{row.folder})"


def fetch_command(lacking: Iterable[Lacking]) -> str:
    """The one command that fetches what graphs lack, as far as the table knows it; "" where it knows nothing of it.

    Args:
        lacking: of each graph.
    """
    words = dict.fromkeys(word for one in lacking for word in _fetched_by(one))
    return f"python install.py --models {','.join(words)}" if words else ""


def _fetched_by(lacking: Lacking) -> list[str]:
    """Words for `--models`: the graph's workflow where there is one, else files."""
    rows = {row for file in lacking.files if (row := find(file))}
    if not rows:
        return []
    beside = {row for file in lacking.named if (row := find(file))}
    enough = [one for one in ROUTES if rows <= set(one.weights)]
    enough.sort(key=lambda one: (len(beside.symmetric_difference(one.weights)), one.task != lacking.task))
    return [one.workflow for one in enough[:1]] or sorted(row.name for row in rows)


def markdown() -> str:
    """The README's table: what `python -m comfy_nodes.core.weights.table` prints."""
    lines = [
        "| file | models folder | size | licence of the weights | commercial use | outputs may train | loaded by | in |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in TABLE:
        lines.append(
            f"| [{one.name}]({one.page}) | `{one.folder}` | {size_text(one.size)} | {one.licence.name} "
            f"| {one.licence.commercial} | {one.licence.trains} | {loaded_by(one).name} "
            f"| {', '.join(workflows_with(one)) or '-'} |"
        )
    lines += ["", "What these licences say (read them, this is no legal advice):", ""]
    lines += [f"- [{one.name}]({one.source}): {one.clauses}." for one in dict.fromkeys(one.licence for one in TABLE)]
    lines += ["", "The programs that load them; their licences bind no output:", ""]
    lines += [f"- {one.name}, {one.licence}: {one.clause}." for one in dict.fromkeys(map(loaded_by, TABLE))]
    return "\n".join(lines) + "\n"


def comfy_models() -> list[dict[str, str]]:
    """`Models` of `[tool.comfy]` in pyproject.toml: single files only, as its form has no folders in hub format."""
    return [
        {"location": one.target(one.parts[0]), "model_url": one.address(one.parts[0])}
        for one in TABLE
        if not one.hub_format
    ]


def toml() -> str:
    """The same as lines of pyproject.toml: what `python -m comfy_nodes.core.weights.table --toml` prints."""
    lines = [f'    {{ location = "{one["location"]}", model_url = "{one["model_url"]}" }},' for one in comfy_models()]
    return "\n".join(["Models = [", *lines, "]"]) + "\n"


if __name__ == "__main__":
    print(toml() if "--toml" in sys.argv[1:] else markdown(), end="")
