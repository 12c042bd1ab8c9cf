"""`--adopt`: makes a batchable workflow of a graph that somebody has: its photo, words and seeds come from EditPairs' nodes.

What the graph does is read from its API form, where subgraphs, bypassed nodes and reroutes are resolved; what is changed
is the file that the artist opens. `adopted_graph.py` reads; here is what is put in. Called by the command with a server's
node list. Asks where a graph leaves it open, and guesses nothing that cannot be told from the wiring.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comfy_nodes.core.tasks import INSTRUCT, WORK

from .adopted_graph import IMAGE, MASK, Graph, Question
from .failures import RunError
from .fresh_nodes import fresh_node
from .ui_graph import NodePath, Origin, UiGraph, without_shown_values
from .workflow import EDIT_SINK, SECOND_CLASS, SINK_CLASSES, SOURCE_CLASS, Api, BatchGraph, WorkflowFile

MASKED_TASK = "replace"
"""What a graph that takes a painted mask is for, until somebody says otherwise: its words say what is to be there."""

GAP = 60
"""Pixels on the canvas between the artist's nodes and ours. Ours."""

ANSWERS = ("source", "result", "reference", "instruction", "task")
"""What `--adopt-choice` may answer."""

Ask = Callable[[Question], str]
"""Answers a question with one of its choices."""


@dataclass(frozen=True)
class Adopted:
    """A graph that can be batched now."""

    ui: dict[str, Any]
    lines: tuple[str, ...]
    """What was done, a line each."""
    missing: str
    """What the server lacks before it can run the graph; empty where nothing."""


def adopt_file(
    theirs: Path, output: Path, object_info: dict[str, Any], choices: str = "", ask: Ask | None = None
) -> Adopted:
    """Turns a workflow file into a batchable one and writes it.

    Args:
        theirs: a file in UI format.
        output: the file to write.
        object_info: a server's nodes.
        choices: answers such as `source=#12,result=#9`.
        ask: where nobody answered; None where nobody can be asked.

    Raises:
        RunError: it cannot be adopted, a question is left open, or the file cannot be written.
    """
    file, answers = look_at(theirs, output, choices)
    adopted = adopt(file, object_info, answers, ask)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(json.dumps(adopted.ui, indent=2, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        raise RunError(f"--output {output}: cannot be written ({error.strerror}); name another file") from None
    return adopted


def look_at(theirs: Path, output: Path, choices: str) -> tuple[WorkflowFile, dict[str, str]]:
    """The file and the answers; needs no server. Arguments and errors as of `adopt_file`."""
    file, answers = WorkflowFile.read(theirs), read_answers(choices)
    if file.ui is None:
        raise RunError(f"{file.path}: not in UI format, which artists' files have; open it in ComfyUI and save it")
    if output.exists() and output.samefile(theirs):
        raise RunError(f"--output {output}: this is the graph itself; name another file")
    return file, answers


def read_answers(choices: str) -> dict[str, str]:
    """Answers as they stand on the command line.

    Raises:
        RunError: malformed, or about something that is never asked.
    """
    answers = {}
    for part in filter(None, (one.strip() for one in choices.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not value or name not in ANSWERS:
            raise RunError(f"--adopt-choice {part}: write it as NAME=#ID, NAME one of {', '.join(ANSWERS)}")
        answers[name] = value.removeprefix("#")
    if answers.get("task", INSTRUCT.name) not in WORK:
        raise RunError(f"--adopt-choice task={answers['task']}: no such task; there are {', '.join(WORK)}")
    return answers


def ask_terminal(question: Question) -> str:
    """Asks on the terminal."""
    print(question.text, file=sys.stderr)
    for choice, what in question.choices.items():
        print(f"  {choice}: {what}", file=sys.stderr)
    while True:
        answer = input(f"{question.name}? ").strip().removeprefix("#")
        if answer in question.choices:
            return answer


def adopt(file: WorkflowFile, object_info: dict[str, Any], answers: Mapping[str, str], ask: Ask | None) -> Adopted:
    """As `adopt_file`, without writing."""
    assert file.ui is not None
    file = replace(file, ui=without_shown_values(file.ui, object_info))
    api = file.to_api(object_info)
    ours = [
        f"{node['class_type']} #{node_id}"
        for node_id, node in api.items()
        if node["class_type"] in {SOURCE_CLASS, *SINK_CLASSES}
    ]
    if ours:
        raise RunError(f"{file.path}: has {ours[0]} already; give it to --workflow as it is")
    return _Adoption(file, api, object_info, answers, ask).run()


class _Adoption:
    """One graph on its way."""

    def __init__(
        self, file: WorkflowFile, api: Api, object_info: dict[str, Any], answers: Mapping[str, str], ask: Ask | None
    ):
        assert file.ui is not None
        self._file = file
        self._info = object_info
        self._ui = UiGraph(file.ui)
        self._answers = answers
        self._graph = Graph(api, object_info, str(file.path), self._answer if ask is None else self._asking(ask))
        self._lines: list[str] = []

    def run(self) -> Adopted:
        graph = self._graph
        result = graph.result()
        source, others = graph.source(result)
        reference = graph.reference(others)
        words = graph.words(result)
        seeds = graph.seeds(result)
        edited = self._outside(result)

        left, top, right, _ = self._ui.corners()
        task = self._answers.get("task") or (MASKED_TASK if graph.uses(source, MASK) else INSTRUCT.name)
        load = self._add(SOURCE_CLASS, (left - 320 - GAP, top), (320, 690), task=task)
        sample, image, mask = Origin(load, 0), Origin(load, 1), Origin(load, 2)
        instruction, seed = Origin(load, 5), Origin(load, 6)
        self._lines.append(f"source: Load Edit Sample #{load} stands for {self._name(source)} (task {task})")
        photo = self._photo_origin(result, source) or image
        self._replace(source, {0: image, 1: mask})
        for loader in graph.mask_loaders(result):
            self._lines.append(f"mask: from Load Edit Sample instead of {self._name(loader)}")
            self._replace(loader, {0: mask})
        if reference:
            second = self._add(SECOND_CLASS, (left - 320 - GAP, top + 780), (320, 360))
            self._ui.wire(sample, (str(second),), "sample", "EDITPAIRS_SAMPLE", False)
            self._lines.append(f"reference: Load Second Image #{second} stands for {self._name(reference)}")
            self._replace(reference, {0: Origin(second, 1)})
            sample = Origin(second, 0)
        for one in words:
            self._ui.wire(instruction, _path(one.node), one.name, "STRING", True)
            self._lines.append(f"instruction: goes into {self._name(one.node)}.{one.name}")
        if not words:
            self._lines.append("instruction: no node takes words; it goes into the dataset only")
        for node_id, name in seeds:
            self._ui.wire(seed, _path(node_id), name, "INT", True)
        self._lines.append(
            "seeds: " + (", ".join(f"{self._name(one)}.{name}" for one, name in seeds) or "the graph has none")
        )
        self._lines += [
            f"kept as it is: {self._name(one)}, the same picture for every sample" for one in others if one != reference
        ]
        self._lines += [
            f"left as it is: {self._name(one)}, which the server lacks and the result does not need" for one in graph.missing()
        ]
        self._end(sample, photo, edited, (right + GAP, top))
        self._lines.append(
            f"result: {self._name(result[0])}, verified and saved by Save Edit Pair; the whole picture may change"
        )
        return Adopted(self._ui.ui, tuple(self._lines), self._missing())

    def _end(self, sample: Origin, photo: Origin, edited: Origin, at: tuple[float, float]) -> None:
        """Puts the end of the graph in: the photo in the result's size, its verifier and the sink."""
        x, y = at
        size = self._add("GetImageSize", (x, y), (210, 90))
        title = "The photo in the result's size"
        fit = self._add("ImageScale", (x, y + 140), (270, 170), title, upscale_method="lanczos", crop="center")
        verify = self._add("EditPairsVerifyPixels", (x + 330, y), (310, 300))
        save = self._add(EDIT_SINK, (x + 700, y), (310, 690))
        wires = (
            (edited, size, "image", IMAGE), (photo, fit, "image", IMAGE), (Origin(fit, 0), verify, "source", IMAGE),
            (edited, verify, "edited", IMAGE), (sample, save, "sample", "EDITPAIRS_SAMPLE"), (edited, save, "edited", IMAGE),
            (Origin(fit, 0), save, "source", IMAGE), (Origin(verify, 0), save, "scores.score0", "EDITPAIRS_SCORES"),
        )  # fmt: skip
        for origin, node, name, kind in wires:
            self._ui.wire(origin, (str(node),), name, kind, False)
        for slot, name in enumerate(("width", "height")):
            self._ui.wire(Origin(size, slot), (str(fit),), name, "INT", True)

    def _replace(self, node_id: str, outputs: Mapping[int, Origin]) -> None:
        """Lets all that hangs on a node hang on others, and takes it away."""
        if len(_path(node_id)) > 1:
            raise RunError(
                f"{self._file.path}: {self._name(node_id)} stands inside a subgraph; move it outside, or unpack the subgraph"
            )
        number = _number(node_id)
        for slot, origin in outputs.items():
            for link in self._ui.links_from(Origin(number, slot)):
                target = self._ui.node((str(link.target),))
                entry = target["inputs"][link.target_slot]
                self._ui.wire(origin, (str(link.target),), entry["name"], link.kind, "widget" in entry)
        self._ui.remove(number)

    def _outside(self, result: tuple[str, str]) -> Origin:
        """Where a sink's picture comes from, outside of all subgraphs."""
        node_id, name = result
        if len(_path(node_id)) > 1:
            raise RunError(
                f"{self._file.path}: the result, {self._name(node_id)}, stands inside a subgraph; move it outside, or unpack the subgraph"
            )
        origin = self._ui.origin_of(_number(node_id), name)
        assert origin is not None
        return origin

    def _photo_origin(self, result: tuple[str, str], source: str) -> Origin | None:
        """The photo as it goes into the edit, where nodes outside of subgraphs scale, crop or pad it before."""
        fitted = self._graph.fitted(result, source)
        inside = [one for one in fitted if len(_path(one)) > 1]
        if inside:
            self._lines.append(
                f"note: {self._name(inside[0])} fits the photo inside a subgraph; the pair gets it scaled to the result's size"
            )
        outside = [one for one in fitted if len(_path(one)) == 1]
        return Origin(_number(outside[-1]), 0) if outside else None

    def _missing(self) -> str:
        """What keeps this server from running the graph."""
        made = WorkflowFile(self._file.path, self._file.sha256, self._ui.ui, None)
        api = made.to_api(self._info)
        try:
            BatchGraph.bind(api, self._info)
        except RunError as error:
            return str(error)
        return ""

    def _add(
        self, class_type: str, at: tuple[float, float], size: tuple[float, float], title: str = "", **values: Any
    ) -> int:
        return self._ui.add(fresh_node(class_type, self._info, at, size, title, **values))

    def _name(self, node_id: str) -> str:
        return f"{self._graph.title(node_id)} #{node_id}"

    def _answer(self, question: Question) -> str:
        answer = self._answers.get(question.name)
        if answer in question.choices:
            return str(answer)
        listed = "; ".join(f"#{choice} {what}" for choice, what in question.choices.items())
        wrong = f"#{answer} is none of them: " if answer else ""
        example = f"--adopt-choice {question.name}=#{next(iter(question.choices))}"
        raise RunError(f"{self._file.path}: {question.text} {wrong}{listed}. Say which, such as {example}")

    def _asking(self, ask: Ask) -> Ask:
        return lambda question: self._answer(question) if question.name in self._answers else ask(question)


def _number(node_id: str) -> int | str:
    """A node's id as the file has it."""
    return int(node_id) if node_id.lstrip("-").isdigit() else node_id


def _path(node_id: str) -> NodePath:
    return tuple(node_id.split(":"))
