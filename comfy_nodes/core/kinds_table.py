"""Writes `docs/kinds.md`, made of the taxonomy: which prompt writes a kind of edit, which graph makes it, which rubric judges it.

`python -m comfy_nodes.core.kinds_table` writes the file anew; a test holds it. Nothing else reads this.
"""

from __future__ import annotations

from pathlib import Path

from .instructions.offering import KINDS
from .tasks import task_named
from .taxonomy import TAXONOMY, Kind, Scheme
from .verdicts.rubrics import TABLE

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT, WORKFLOWS = ROOT / "docs" / "kinds.md", ROOT / "workflows"

TITLES: dict[Scheme, str] = {
    "imgedit": "ImgEdit (arXiv 2505.20275): 13 tasks",
    "unicedit": "UnicEdit-10M (arXiv 2512.02790): 22 sub-tasks",
    "scaleedit": "ScaleEdit-12M (arXiv 2603.20644): 23 families",
}
"""Headings by scheme, in the order of the document."""

_HEAD = """\
# Kinds of edit

Made by `python -m comfy_nodes.core.kinds_table` from `comfy_nodes/core/taxonomy.py`, the one table that writers, router, driver,
verifiers and judges read. Names are the published ones; `--kinds` takes them with their scheme, such as
`'unicedit/Lens Zooming'`, or a task's own name.

- *task*: what its rows are filed under, and whether it edits a region. Those of `instruct` are bound to none: the whole
  photo may change, so their rows have no `edit_mask`, and pixels ask only whether something was made.
- *prompt*, *reply*: the file in `comfy_nodes/vlm/prompts` that has its instruction written, and the shape of what is answered.
- *full*, *open*, *classical*: the graph in `workflows/` that makes it, by `--profile`. Where its task's own graph cannot, an
  editor that follows instructions does, and a note says why. A dash: no graph of this profile.
- *rubric*: what Judge Edit (`auto`) scores it by ([verify.md](verify.md)).
"""

_MANY = """
All of them can be written in one call a photo, in English and Chinese: `--workflow write-unicedit`, whose prompt
`{prompt}` has a line for each. Then every one of them, also those with a graph of their own, can be edited by `instruct`,
`instruct-qwen` or `instruct-open`, and `verify-unicedit` restates both languages.
"""


def table() -> str:
    """The document's text."""
    parts = [_HEAD]
    for scheme, title in TITLES.items():
        kinds = [kind for kind in TAXONOMY.values() if kind.scheme == scheme]
        parts.append(f"\n## {title}\n")
        if any(kind.id in KINDS for kind in kinds):
            parts.append(_MANY.format(prompt=f"write-{scheme}"))
        parts.append(
            "\n| kind | task | prompt | reply | full | open | classical | rubric |\n|---|---|---|---|---|---|---|---|\n"
        )
        notes: dict[str, list[str]] = {}
        for kind in kinds:
            parts.append(_row(kind))
            if kind.unlike:
                notes.setdefault(kind.unlike, []).append(kind.name)
        if notes:
            parts.append("\n" + "".join(f"- {', '.join(names)}: {why}.\n" for why, names in notes.items()))
    return "".join(parts)


def _row(kind: Kind) -> str:
    named = [f"`{name}`" if name else "-" for name in (kind.prompt, kind.shape, *_graphs(kind.graph))]
    return f"| {' | '.join((kind.name, _filed(kind), *named, TABLE[kind.rubric].name))} |\n"


def _filed(kind: Kind) -> str:
    """The task that a kind is filed under, and the regions that it edits."""
    task = task_named(kind.task)
    needed = f", {task.regions} {task.region}{'s' if task.regions > 1 else ''}" if task.regions else ""
    return f"`{task.name}`{needed}"


def _graphs(name: str) -> tuple[str, str, str]:
    """The graphs of the profiles full, open and classical; empty where there is none. One that there is only once serves
    whoever has a model."""
    there = {end: name + end for end in ("", "-open", "-classical") if (WORKFLOWS / f"{name}{end}.json").is_file()}
    full = there.get("", "")
    return full, full if list(there) == [""] else there.get("-open", ""), there.get("-classical", "")


if __name__ == "__main__":
    DOCUMENT.write_text(table(), encoding="utf-8")
