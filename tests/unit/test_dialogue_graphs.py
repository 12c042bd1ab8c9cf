"""The model graphs of dialogues as files: each branch is its operation's own graph, loaders are there once, judges see the right
pictures, and nodes lie apart."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from comfy_nodes.core.branches import BRANCHES
from tests.unit.graphs import WORKFLOWS, Graph, check_layout, whole

KINDS = ("content_memory", "content_understanding", "version_backtracking")
GRAPHS = tuple(f"{kind}{profile}" for kind in KINDS for profile in ("", "-open"))
OPS = {"erased": "remove", "replaced": "replace", "altered": "alter"}
LOADERS = ("UNETLoader", "CLIPLoader", "DualCLIPLoader", "VAELoader", "CheckpointLoaderSimple", "ControlNetLoader")
SHARED = {
    "EditPairsTakeTurn", "EditPairsLoadSample", "EditPairsFollowRegion", "EditPairsTakeStep", "EditPairsLoadVlmEndpoint",
    "EditPairsFitSize", "EditPairsPreferKnownMask", "EditPairsWriteInstructionTemplate", "EditPairsSegmentBoxesSam2",
}  # fmt: skip
"""Where a branch begins: what is before it is a turn's own, or the operation's graph's."""

every_graph = pytest.mark.parametrize("name", GRAPHS)


def branch(graph: Graph, picture: dict[str, Any]) -> list[tuple[str, str]]:
    """Class and widgets of what makes a picture, without texts that are wired in."""
    found: dict[int, tuple[str, str]] = {}
    waiting = [picture]
    while waiting:
        node = waiting.pop()
        if node["id"] in found or node["type"] in SHARED:
            continue
        wired = {one["widget"]["name"] for one in node["inputs"] if one.get("widget") and one["link"] is not None}
        values = [] if "text" in wired else node.get("widgets_values", [])[1 if "seed" in wired else 0 :]
        found[node["id"]] = node["type"], str(values)
        linked = [graph.links[one["link"]] for one in node["inputs"] if one["link"] is not None]
        waiting += [graph.nodes[link[1]] for link in linked]
    return sorted(found.values())


@every_graph
def test_a_branch_is_its_operations_own_graph(name: str) -> None:
    kind, _, profile = name.partition("-")
    graph = Graph(name)
    (chooser,) = graph.all("EditPairsChooseOperation")
    wired = {one["name"] for one in chooser["inputs"] if one["link"] is not None}
    ways = {way for way in BRANCHES.values() if way in wired}
    assert ways == set(OPS) - ({"erased"} if kind == "content_memory" else set()), "a memory neither adds nor removes"
    for way in ways:
        own = Graph(f"{OPS[way]}-{profile}" if profile else OPS[way])
        (pixels,) = own.all("EditPairsVerifyPixels")
        made, _ = graph.before(chooser, way)
        assert graph.before(chooser, f"{way}_mask") == (made, "edit_mask")
        assert branch(graph, made) == branch(own, own.before(pixels, "edited")[0])
        step = graph.before(chooser, f"{way}_sample")[0]
        while step["type"] != "EditPairsTakeStep":
            step = graph.before(step, "sample")[0]
        (other,) = own.all("EditPairsTakeStep")
        assert step["widgets_values"][:2] == other["widgets_values"][:2], "told as there"


@every_graph
def test_each_model_is_loaded_once_for_all_branches(name: str) -> None:
    files = [str(node["widgets_values"]) for kind in LOADERS for node in Graph(name).all(kind)]
    assert len(files) == len(set(files))


@every_graph
def test_a_turn_is_held_against_its_dialogue(name: str) -> None:
    graph = Graph(name)
    (chooser,), (turn,) = graph.all("EditPairsChooseOperation"), graph.all("EditPairsTakeTurn")
    own, whole_one = sorted(graph.all("EditPairsJudgeEdit"), key=lambda node: node["widgets_values"][0] == "multi_turn")
    (verify,), (witness,) = graph.all("EditPairsVerifyDialogue"), graph.all("EditPairsWitness")
    (save,), (edited,) = graph.all("EditPairsSavePair"), graph.all("EditPairsVerifyEdit")
    assert own["widgets_values"][0] == "auto" and edited["widgets_values"][2] == "reject", "a turn stays what it is"
    for node in (own, edited, witness, save):
        assert graph.before(node, "source") == (chooser, "source")
    assert graph.before(whole_one, "source") == graph.before(verify, "start") == (turn, "start")
    assert graph.before(whole_one, "instruction") == (turn, "dialogue")
    for node in (own, edited, witness, save, whole_one, verify):
        assert graph.before(node, "edited") == (chooser, "edited") and graph.before(node, "sample")[0] is chooser
    scores = [graph.before(save, f"scores.score{number}")[0]["id"] for number in range(6)]
    assert {verify["id"], edited["id"], own["id"], whole_one["id"], witness["id"]} < set(scores)
    second = graph.before(graph.all("EditPairsFitSize")[0], "sample")[0]
    assert second["widgets_values"][1] == "start if its task needs it"


@every_graph
def test_the_kinds_differ_in_their_name_and_words(name: str) -> None:
    kind, dash, profile = name.partition("-")
    assert Graph(name).all("EditPairsLoadSample")[0]["widgets_values"][1] == kind
    if kind == "version_backtracking":
        one, other = (
            [n for n in whole(f"{k}{dash}{profile}")["nodes"] if n["type"] != "MarkdownNote"] for k in KINDS[1:]
        )
        for node in (*one, *other):
            node.pop("widgets_values") if node["type"] == "EditPairsLoadSample" else None
        assert one == other


@every_graph
def test_nodes_lie_apart_and_wires_lead_to_the_right(name: str) -> None:
    check_layout(name, back=("EditPairsLoadVlmEndpoint",))
    boxes = [group["bounding"] for group in whole(name)["groups"]]
    for (x, y, w, h), (left, top, across, down) in itertools.combinations(boxes, 2):
        assert x + w <= left or left + across <= x or y + h <= top or top + down <= y, "groups lie apart"
    judges = {node["type"] for node in whole(name)["nodes"] if node["mode"] == 2}
    assert {"EditPairsVerifyEdit", "EditPairsJudgeEdit", "EditPairsWitness"} <= judges


@every_graph
def test_its_notes_say_how_with_what_and_why(name: str) -> None:
    kind, _, profile = name.partition("-")
    notes = [node for node in whole(name)["nodes"] if node["type"] == "MarkdownNote"]
    assert [note["title"] for note in notes] == [
        "How to use this graph",
        "Models",
        "Choices, and what differs from ImgEdit",
    ]
    how, models, why = (note["widgets_values"][0] for note in notes)
    assert f"--workflow {kind} --profile {profile or 'full'}" in how and "**turn** 1 in **Take Turn**" in how
    assert f"install.py --models {name}" in models and "Not as in ImgEdit's graphs, and why" in why
    assert (WORKFLOWS / f"{name}.jpg").is_file()
