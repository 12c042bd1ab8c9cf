"""What docs/tasks.md says an edit costs is what shapes give, and graphs are set as the table has them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import cost
from comfy_nodes.core.weights.table import find

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = (REPOSITORY / "docs" / "tasks.md").read_text(encoding="utf-8").partition("## What an edit costs")[2]
WORKFLOWS = REPOSITORY / "workflows"


VAES = ("ae.", "flux2-vae.")


@pytest.fixture(scope="module")
def ways() -> dict[str, cost.Way]:
    """The default and the paper's path of one task: counting all takes half a minute."""
    return {name: way for name in ("remove-open", "remove") if (way := cost.way_of(name))}


def test_the_table_is_what_shapes_give(ways: dict[str, cost.Way]) -> None:
    lines = TABLE.splitlines()
    for way in ways.values():
        assert cost.line(way) in lines, "python benchmarks/cost.py prints the table anew"


def test_the_table_has_all_routes() -> None:
    rows = re.findall(r"^\| ([a-z, ]+) \| `([a-z-]+)`(?:, ([^|]+))? \|[^|]*\| (\d+ x \d|-) \|", TABLE, re.MULTILINE)
    named = [(tuple(tasks.split(", ")), name, variant, steps) for tasks, name, variant, steps in rows]
    assert named == [
        (way.tasks, way.workflow, way.variant, f"{way.steps} x {way.passes // way.steps}" if way.steps else "-")
        for way in cost.WAYS
    ]


def test_networks_are_as_large_as_their_files(ways: dict[str, cost.Way]) -> None:
    """So the configurations are those that were published."""
    for way in ways.values():
        together: dict[str, dict[int, float]] = {}
        for work in cost.cost(way).works:
            together.setdefault(work.network, {})[work.one.parameters] = work.weights
        for name, parts in together.items():
            row = find(name)
            assert row is not None and row.size is not None, name
            stored = sum(parts.values()) * (2 if name.startswith(VAES) else 1)  # published in fp32
            assert stored == pytest.approx(row.size, rel=0.06), name


@pytest.mark.parametrize(
    ("way", "name"),
    [
        (way, name)
        for way in cost.WAYS
        if way.steps
        for name in cost.workflows_of(way)
        if (WORKFLOWS / f"{name}.json").is_file()
    ],
    ids=lambda one: one if isinstance(one, str) else one.variant or "as it is",
)
def test_a_graph_is_set_as_the_table_has_it(way: cost.Way, name: str) -> None:
    """Steps and guidance of the model's card; a switched variant's stand in nodes whose titles say so."""
    nodes = nodes_of(json.loads((WORKFLOWS / f"{name}.json").read_text(encoding="utf-8")))
    assert settings_of(nodes, bool(way.variant)) == {(way.steps, way.guidance)}


def nodes_of(ui: dict[str, Any]) -> list[dict[str, Any]]:
    return [*ui["nodes"], *(node for one in ui.get("definitions", {}).get("subgraphs", ()) for node in one["nodes"])]


def settings_of(nodes: list[dict[str, Any]], fast: bool) -> set[tuple[int, float]]:
    """Steps and cfg of every sampler in a graph."""
    titled = {node.get("title"): node["widgets_values"][0] for node in nodes if node["type"].startswith("Primitive")}
    if fast:
        return {(titled["Steps when fast"], titled["CFG when fast"])}
    if "Steps" in titled:
        return {(titled["Steps"], titled["CFG"])}
    by_type: dict[str, list[Any]] = {}
    for node in nodes:
        by_type.setdefault(node["type"], []).append(node.get("widgets_values"))
    found = {(values[2], values[3]) for values in by_type.get("KSampler", ())}
    steps = {values[0] for values in by_type.get("Flux2Scheduler", ())}
    return found | {(one, values[0]) for one in steps for values in by_type.get("CFGGuider", ())}


def test_crops_are_of_a_size_that_editors_like() -> None:
    """A megapixel, in multiples of 16: what klein's and FLUX.1's templates give them. Beside a reference (Redux) both
    halves share it."""
    sizes = {}
    for path in WORKFLOWS.glob("*.json"):
        for node in nodes_of(json.loads(path.read_text(encoding="utf-8"))):
            if node["type"] == "EditPairsCropAroundMask":
                sizes.setdefault(path.stem, set()).add((node["widgets_values"][0], node["widgets_values"][4]))
    assert sizes.pop("visual") == {(768, "16")}
    assert sizes and set().union(*sizes.values()) == {(1024, "16")}, sizes
