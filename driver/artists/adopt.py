"""Makes a batchable workflow of a graph that somebody has: its photo, words and seeds come from EditPairs' nodes.

What the graph does is read from its API form, where subgraphs, bypassed nodes and reroutes are resolved; what is changed
is the file that the artist opens. `their_graph.py` reads; here is what is put in. Our nodes hold the artist's picture,
words and seed, so that Run gives what it gave. Called by `driver/adopt.py` with a server's node list. Asks where a graph
leaves it open, and guesses nothing that cannot be told from the wiring.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comfy_nodes.core.keys import MAX_SEED
from comfy_nodes.core.tasks import INSTRUCT, WORK

from ..errors import RunError
from ..graph import dynamic_prompts
from ..graph.api import EDIT_SINK, SECOND_CLASS, SINK_CLASSES, SOURCE_CLASS, Api
from ..graph.bound import BatchGraph
from ..graph.file import WorkflowFile
from ..graph.left_values import without_shown_values
from ..graph.partner import KEY_VARIABLE, paid_nodes
from ..graph.saved import Origin
from ..graph.ui import NodePath, UiGraph, fresh_node
from . import their_masks
from .their_graph import IMAGE, MASK, Graph, Question
from .their_words import WordsInput, words_of

MASKED_TASK = "replace"
"""What a graph that edits inside a mask is for, until somebody says otherwise: its words say what is to be there."""

ERASING_TASK = "remove"
"""What one is for that takes away what the mask marks."""

CUT_OUT_TASK = "extract"
"""What one may be said to be for that makes all but an object transparent."""

WHITE = 0xFFFFFF
"""Of Empty Image, as the page writes colours."""

COLOUR = "#3f789e"
"""Of our groups: that of the groups in `workflows/`."""

GAP = 60
"""Pixels on the canvas between the artist's nodes and ours. Ours."""

ANSWERS = ("source", "result", "reference", "instruction", "task")
"""What `--choice` may answer."""

Seed = tuple[str, str]
"""A seed widget: node and input."""

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
            raise RunError(f"--choice {part}: write it as NAME=#ID, NAME one of {', '.join(ANSWERS)}")
        answers[name] = value.removeprefix("#")
    if answers.get("task", INSTRUCT.name) not in WORK:
        raise RunError(f"--choice task={answers['task']}: no such task; there are {', '.join(WORK)}")
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
        way = graph.way(result)
        source, others = graph.source(way)
        reference = graph.reference(others)
        words = words_of(graph, way)
        self._settled(words)
        seeds = graph.seeds(way)
        masks = their_masks.masks_of(graph, way, source)
        inside = their_masks.editors(graph, way, masks)
        cut_out = their_masks.cut_out(graph, result, masks)
        fitted = graph.fitted(way, source)
        edited = self._outside(graph.api[result[0]]["inputs"][result[1]])
        photo = self._outside([fitted[-1], 0]) if fitted else None

        left, top, right, _ = self._ui.corners()
        spoken = words[0].words if words else ""
        task = self._answers.get("task") or self._task(inside, [spoken] if words else [])
        load = self._load(source, task, spoken, seeds, (left - 320 - GAP, top))
        sample, image, mask = Origin(load, 0), Origin(load, 1), Origin(load, 2)
        shown = {slot: mask for slot, kind in enumerate(graph.outputs(source)) if kind == MASK}
        self._replace(source, {0: image, **shown})
        for painter in dict.fromkeys(node_id for node_id, _ in masks if node_id != source):
            self._lines.append(f"mask: from Load Edit Sample instead of {self._name(painter)}")
            self._replace(painter, {slot: mask for node_id, slot in masks if node_id == painter})
        ours = [load]
        if reference:
            second = self._second(reference, sample, (left - 320 - GAP, top + 780))
            sample, ours = Origin(second, 0), [load, second]
        self._ui.group("EditPairs: the sample", ours, COLOUR)
        self._tell(Origin(load, 5), words)
        self._sow(Origin(load, 6), seeds)
        self._lines += [
            f"kept as it is: {self._name(one)}, the same picture for every sample" for one in others if one != reference
        ]
        self._lines += [
            f"left as it is: {self._name(one)}, which the server lacks and the result does not need"
            for one in graph.missing()
        ]
        marked = (mask if inside else None, cut_out)
        self._end(sample, photo or image, edited, marked, (right + GAP, top))
        self._lines.append(
            f"result: {self._name(result[0])}, verified and saved by Save Edit Pair; the whole picture may change"
        )
        if paid := paid_nodes({one: node for one, node in graph.api.items() if one in way}, self._info):
            self._lines.append(
                f"paid nodes: {', '.join(paid)}: credits of a ComfyUI account for each sample; set {KEY_VARIABLE} to its API key"
            )
        return Adopted(self._ui.ui, tuple(self._lines), self._missing())

    def _settled(self, words: list[WordsInput]) -> None:
        """Refuses words that the page draws at each Run: the instruction of Load Edit Sample is taken as it stands."""
        for one in words:
            if one.name in dynamic_prompts.marks(self._graph.api[one.node]):
                raise RunError(
                    f"{self._file.path}: {self._name(one.node)}: its words {one.words.strip()[:60]!r} have alternatives, which "
                    "the page draws at each Run and an instruction cannot have: leave one of them, and adopt it again"
                )

    def _task(self, inside: list[str], words: list[str]) -> str:
        """What the graph is for, as its wiring and words tell.

        Args:
            inside: nodes that edit inside of a mask.
        """
        if not inside:
            return INSTRUCT.name
        return ERASING_TASK if their_masks.erases(self._graph, inside, words) else MASKED_TASK

    def _load(self, source: str, task: str, words: str, seeds: list[Seed], at: tuple[float, float]) -> int:
        """Load Edit Sample with what the artist had: picture, words and seed."""
        values: dict[str, Any] = {
            "image": self._graph.picture(source),
            "instruction": words,
            "seed": self._main_seed(seeds) or 0,
        }
        load = self._add(SOURCE_CLASS, at, (320, 690), task=task, **values)
        self._lines.append(f"source: Load Edit Sample #{load} stands for {self._name(source)} (task {task})")
        return load

    def _second(self, reference: str, sample: Origin, at: tuple[float, float]) -> int:
        """Load Second Image with the artist's reference."""
        second = self._add(SECOND_CLASS, at, (320, 360), image=self._graph.picture(reference))
        self._ui.wire(sample, (str(second),), "sample", "EDITPAIRS_SAMPLE", False)
        self._lines.append(f"reference: Load Second Image #{second} stands for {self._name(reference)}")
        self._replace(reference, {0: Origin(second, 1)})
        return second

    def _tell(self, instruction: Origin, words: list[WordsInput]) -> None:
        """Wires the sample's words to where the artist's stood."""
        for one in words:
            self._ui.wire(instruction, _path(one.node), one.name, "STRING", True)
            self._lines.append(f"instruction: goes into {self._name(one.node)}.{one.name}")
        if words and words[0].words.strip():
            self._lines.append(f"words: {words[0].words.strip()[:60]!r} hold for photos that bring none")
        if not words:
            self._lines.append("instruction: no node takes words; it goes into the dataset only")

    def _main_seed(self, seeds: list[Seed]) -> int | None:
        """The seed that Load Edit Sample can give out: the first that it can hold."""
        held = [self._graph.api[node_id]["inputs"][name] for node_id, name in seeds]
        return next((one for one in held if isinstance(one, int) and 0 <= one <= MAX_SEED), None)

    def _sow(self, seed: Origin, seeds: list[Seed]) -> None:
        """Wires the sample's seed to those that are equal; others stay the artist's by hand."""
        main = self._main_seed(seeds)
        same = [one for one in seeds if self._graph.api[one[0]]["inputs"][one[1]] == main]
        for node_id, name in same:
            self._ui.wire(seed, _path(node_id), name, "INT", True)
        self._lines.append(
            "seeds: " + (", ".join(f"{self._name(one)}.{name}" for one, name in same) or "the graph has none")
        )
        if rest := [f"{self._name(one)}.{name}" for one, name in seeds if (one, name) not in same]:
            self._lines.append(
                f"seeds of other values: {', '.join(rest)}: as they are; a batch sets them for each sample"
            )

    def _end(
        self, sample: Origin, photo: Origin, edited: Origin, marked: tuple[Origin | None, bool], at: tuple[float, float]
    ) -> None:
        """Puts the end of the graph in: the photo in the result's size, its verifier and the sink.

        Args:
            marked: the mask that is edited inside, if any, and whether the result is cut out.
        """
        (x, y), (mask, cut_out) = at, marked
        size = self._add("GetImageSize", (x, y), (210, 90))
        title = "The photo in the result's size"
        fit = self._add("ImageScale", (x, y + 140), (270, 170), title, upscale_method="lanczos", crop="center")
        verify = self._add("EditPairsVerifyPixels", (x + 660, y), (310, 300))
        save = self._add(EDIT_SINK, (x + 1030, y), (310, 690))
        self._wire((edited, size, "image", IMAGE), (photo, fit, "image", IMAGE))
        for slot, name in enumerate(("width", "height")):
            self._ui.wire(Origin(size, slot), (str(fit),), name, "INT", True)
        ours, shown = [size, fit, verify, save], edited
        if cut_out:
            white, shown, alpha = self._on_white(edited, size, (x + 330, y))
            self._wire((alpha, save, "region_mask", MASK))
            ours += white
        elif mask:
            blend, shown = self._blend(edited, Origin(fit, 0), mask, (x + 330, y))
            self._wire((Origin(blend, 1), save, "edit_mask", MASK))
            ours.append(blend)
        self._wire(
            (Origin(fit, 0), verify, "source", IMAGE), (shown, verify, "edited", IMAGE),
            (sample, save, "sample", "EDITPAIRS_SAMPLE"), (shown, save, "edited", IMAGE),
            (Origin(fit, 0), save, "source", IMAGE), (Origin(verify, 0), save, "scores.score0", "EDITPAIRS_SCORES"),
        )  # fmt: skip
        self._ui.group("EditPairs: the pair", ours, COLOUR)

    def _blend(self, edited: Origin, photo: Origin, mask: Origin, at: tuple[float, float]) -> tuple[int, Origin]:
        """Blend Edit, which lets the edit pass as it is until somebody has it keep to its mask."""
        blend = self._add("EditPairsBlendEdit", at, (270, 200), outside="the edit")
        self._wire((edited, blend, "edited", IMAGE), (photo, blend, "source", IMAGE), (mask, blend, "mask", MASK))
        self._lines.append(
            f"mask: Blend Edit #{blend} lets the whole result pass; to keep the edit to its mask, set its outside to 'the "
            f"source', there or by --set '#{blend}.outside=the source'"
        )
        return blend, Origin(blend, 0)

    def _on_white(self, cut: Origin, size: int, at: tuple[float, float]) -> tuple[list[int], Origin, Origin]:
        """A transparent result on white, as pairs have no transparency.

        Returns:
            The nodes, the picture and its alpha.
        """
        x, y = at
        split = self._add("SplitImageWithAlpha", (x, y), (210, 60))
        alpha = self._add("InvertMask", (x, y + 110), (210, 40))
        white = self._add("EmptyImage", (x, y + 200), (270, 130), "White", color=WHITE)
        paste = self._add("ImageCompositeMasked", (x, y + 380), (270, 150), "On white")
        for slot, name in enumerate(("width", "height")):
            self._ui.wire(Origin(size, slot), (str(white),), name, "INT", True)
        self._wire(
            (cut, split, "image", IMAGE), (Origin(split, 1), alpha, "mask", MASK),
            (Origin(white, 0), paste, "destination", IMAGE), (Origin(split, 0), paste, "source", IMAGE),
            (Origin(alpha, 0), paste, "mask", MASK),
        )  # fmt: skip
        self._lines.append(
            "transparency: the pair shows the result on white, and its alpha is the region's mask; "
            f"--choice task={CUT_OUT_TASK} files pairs of photos with regions under that task"
        )
        return [split, alpha, white, paste], Origin(paste, 0), Origin(alpha, 0)

    def _wire(self, *wires: tuple[Origin, int, str, str]) -> None:
        for origin, node, name, kind in wires:
            self._ui.wire(origin, (str(node),), name, kind, False)

    def _replace(self, node_id: str, outputs: Mapping[int, Origin]) -> None:
        """Lets all that hangs on these outputs of a loader hang on others, and takes it away where nothing else does."""
        for slot, origin in outputs.items():
            self._ui.replace(_path(node_id), slot, origin)
        rest = [self._graph.output_name([node_id, slot]) for slot in self._ui.used(_path(node_id))]
        if not rest:
            self._ui.remove(_path(node_id))
            return
        self._lines.append(f"kept as it is: {', '.join(rest)} of {self._name(node_id)}, the same for every sample")

    def _outside(self, link: Any) -> Origin:
        """Where the picture of a link comes from, outside of all subgraphs."""
        return self._ui.brought_out(_path(link[0]), link[1], IMAGE)

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
        example = f"--choice {question.name}=#{next(iter(question.choices))}"
        raise RunError(f"{self._file.path}: {question.text} {wrong}{listed}. Say which, such as {example}")

    def _asking(self, ask: Ask) -> Ask:
        return lambda question: self._answer(question) if question.name in self._answers else ask(question)


def _path(node_id: str) -> NodePath:
    return tuple(node_id.split(":"))
