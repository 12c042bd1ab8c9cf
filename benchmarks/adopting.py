"""What `driver/adopt.py` makes of every graph of a folder, and whether it still does what Run does: `python benchmarks/adopting.py`.

Takes the workflow templates of the installed `comfyui-workflow-templates-json`, or a folder of graphs. Each is adopted
against a real server's node list, and the prompt that the adopted graph submits by hand, with the artist's own picture,
words and seed in our nodes, is compared with theirs, node by node. Questions are answered with their first choice.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from driver.artists.adopt import adopt  # noqa: E402
from driver.artists.their_graph import IMAGE, MASK, Graph, Question  # noqa: E402
from driver.artists.their_masks import editors  # noqa: E402
from driver.errors import RunError  # noqa: E402
from driver.graph.api import EDIT_SINK, SECOND_CLASS, SOURCE_CLASS, Api, ancestors, is_link  # noqa: E402
from driver.graph.bound import BatchGraph  # noqa: E402
from driver.graph.checks import check  # noqa: E402
from driver.graph.file import WorkflowFile  # noqa: E402
from driver.graph.schemas import inputs_with  # noqa: E402
from driver.pipeline.servers import running_hosts  # noqa: E402

PAINTED = ("clipspace-", "clipspace/", "clipspace\\")
"""Files whose alpha Load Edit Sample takes for a mask, as LoadImage does of every file (comfy_nodes/nodes/loading.py)."""

NEEDS_REGION = ("replace", "remove")
"""Tasks that it gives to graphs with a mask. Without a region Load Edit Sample stops Run with a line."""

ENDS = ("edited", "source", "image")
"""Inputs that nodes of our end of the graph hand the result on from."""


@dataclass(frozen=True)
class Outcome:
    """What became of one graph."""

    name: str
    kind: str
    """`adopted`, `asked` (and adopted with the first choices), or `refused`."""
    why: str
    """Names of the questions, or the reason without what is particular to the graph."""
    task: str = ""
    differences: tuple[str, ...] = ()
    """Where the adopted graph's prompt differs from what Run submits."""
    repainted: bool = False
    """Whether its mask lies in a file that only its own loader reads: Run stops with a line until it is painted."""


def outcome(file: WorkflowFile, info: dict[str, Any]) -> Outcome:
    """Adopts a graph and compares.

    Args:
        info: a server's node list.
    """
    asked: list[str] = []

    def first(question: Question) -> str:
        asked.append(question.name)
        return next(iter(question.choices))

    name = file.path.stem
    if file.ui is None:
        return Outcome(name, "refused", "is no graph in UI format")
    try:
        adopted = adopt(file, info, {}, first)
    except RunError as error:
        return Outcome(name, "refused", _kind(str(error).removeprefix(f"{file.path}: ")))
    theirs = file.to_api(info)
    ours = WorkflowFile(file.path, file.sha256, adopted.ui, None).to_api(info)
    found, repainted = differences(theirs, ours, info)
    (load,) = [node for node in ours.values() if node["class_type"] == SOURCE_CLASS]
    task = str(load["inputs"]["task"])
    if repainted and task not in NEEDS_REGION:
        found.append(f"the mask of {load['inputs']['image']} is not taken over, and task {task} runs without")
    bound, runs = (
        _refusal(partial(one, api, with_its_files(api, info)))
        for one, api in ((BatchGraph.bind, ours), (check, theirs))
    )
    if bound and not runs:
        found.append(f"cannot be batched: {bound}")
    return Outcome(name, "asked" if asked else "adopted", ", ".join(asked), task, tuple(found), repainted)


def _refusal(ask: Callable[[], object]) -> str:
    try:
        ask()
    except RunError as error:
        return str(error)
    return ""


def differences(theirs: Api, ours: Api, info: dict[str, Any]) -> tuple[list[str], bool]:
    """Where the picture of the adopted graph is made otherwise than the one that the artist's graph saves.

    What our nodes hand on by hand is put in their place: picture, words and seed.

    Returns:
        A line for each difference, and whether a mask comes from a file that only the artist's loader reads.
    """
    (save,) = [node for node in ours.values() if node["class_type"] == EDIT_SINK]
    end = save["inputs"]["edited"]
    while end[0] not in theirs:
        handed = ours[end[0]]["inputs"]
        if handed.get("outside", "the edit") != "the edit":
            return [f"{ours[end[0]]['class_type']} changes the result"], False
        end = next(handed[name] for name in ENDS if name in handed)
    shown = [node for node in theirs.values() if info[node["class_type"]].get("output_node")]
    if end not in [value for node in shown for value in node["inputs"].values()]:
        return [f"{theirs[end[0]]['class_type']} #{end[0]} is no result of the artist's graph"], False
    graph = Graph(theirs, info, "", lambda question: next(iter(question.choices)))
    needed, found, repainted = ancestors(theirs, end[0]), [], False
    taken = needed - ours.keys()
    painted = [
        (node_id, slot) for node_id in (*taken, *graph.painted(needed)) for slot in graph.used(node_id, MASK, needed)
    ]
    inside = editors(graph, needed, painted)  # where a mask is only transparency, the pair has none of it
    for node_id in needed - taken:
        before, after = theirs[node_id], ours[node_id]
        where = f"{before['class_type']} #{node_id}"
        if before["class_type"] != after["class_type"] or before["inputs"].keys() != after["inputs"].keys():
            found.append(f"{where}: another node, or other inputs")
            continue
        for name, value in before["inputs"].items():
            was = _handed(theirs, graph, value, taken)
            now = _handed(ours, graph, after["inputs"][name], taken)
            if isinstance(now, _Mask) and is_link(value) and tuple(value) in painted:
                repainted |= bool(inside) and not (was == now and now.file.startswith(PAINTED))
            elif was != now:
                found.append(f"{where}.{name}: {was!r:.80} became {now!r:.80}")
    return found, repainted


@dataclass(frozen=True)
class _Picture:
    file: str


@dataclass(frozen=True)
class _Mask:
    file: str


def _handed(api: Api, graph: Graph, value: Any, taken: set[str]) -> Any:
    """What an input gets: a value, a link, or the picture or mask of a file.

    Args:
        graph: the artist's.
        taken: nodes of theirs in whose place ours stand.
    """
    if not is_link(value):
        return value
    node_id, slot = value
    if node_id in taken:
        kind = graph.kind(value)
        file = graph.picture(node_id)
        return _Picture(file) if kind == IMAGE else _Mask(file) if kind == MASK else value
    node = api[node_id]
    if node["class_type"] == SECOND_CLASS and slot == 1:
        return _Picture(node["inputs"]["image"])
    if node["class_type"] != SOURCE_CLASS:
        return value
    inputs = node["inputs"]
    by_slot = {1: _Picture(inputs["image"]), 2: _Mask(inputs["image"]), 5: inputs["instruction"], 6: inputs["seed"]}
    return by_slot.get(slot, value)


def with_its_files(api: Api, info: dict[str, Any]) -> dict[str, Any]:
    """The node list as if every file that the graph names lay in its folder."""
    there = copy.deepcopy({node["class_type"]: info[node["class_type"]] for node in api.values()})
    for node in api.values():
        for name, spec in inputs_with(there[node["class_type"]], node["inputs"]):
            value = node["inputs"].get(name)
            settings = spec[1] if spec[0] == "COMBO" and len(spec) > 1 else {}
            options = spec[0] if isinstance(spec[0], list) else settings.get("options")
            if isinstance(value, str) and re.search(r"\.\w+$", value) and isinstance(options, list):
                options.append(value)
    return there


def graphs(folder: Path | None) -> Iterator[WorkflowFile]:
    """The graphs of a folder, or of the installed template package; other JSON files are passed over."""
    found = folder or Path(str(files("comfyui_workflow_templates_json"))) / "templates"
    for path in sorted(found.glob("*.json")):
        try:
            yield WorkflowFile.read(path)
        except RunError:
            continue


def _kind(reason: str) -> str:
    if reason.startswith("makes "):
        return "makes " + re.sub(r", no edited picture.*", "", reason.removeprefix("makes "))
    return re.sub(r"[:;(].*", "", reason).strip()


def _show(found: list[Outcome]) -> None:
    made = [one for one in found if one.kind != "refused"]
    print("| outcome | graphs |\n| --- | ---: |")
    for kind, number in Counter(one.kind for one in found).most_common():
        print(f"| {kind} | {number} |")
    print(f"| of those made: equal to what Run submits | {sum(not one.differences for one in made)} |")
    print(f"| of these: mask to be painted again | {sum(one.repainted and not one.differences for one in made)} |")
    print(f"| of those made: do something else | {sum(bool(one.differences) for one in made)} |")
    for kind, title in (("asked", "questions"), ("refused", "reasons")):
        print(f"\n| {title} | graphs |\n| --- | ---: |")
        for why, number in Counter(one.why for one in found if one.kind == kind).most_common():
            print(f"| {why} | {number} |")
    for one in made:
        for line in one.differences:
            print(f"\n{one.name}: {line}", end="")
    print()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="graphs; default: the installed templates")
    parser.add_argument("--server", help="a running ComfyUI with this pack; default: one is started")
    parser.add_argument("--json", action="store_true", help="a line for each graph in place of the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, running_hosts(options.server, 1, Path(scratch)) as (host, *_):
        info = host.server.object_info()
    found = [outcome(file, info) for file in graphs(options.folder)]
    if options.json:
        print(*(json.dumps(asdict(one)) for one in found), sep="\n")
    else:
        _show(found)
    return 1 if any(one.differences for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
