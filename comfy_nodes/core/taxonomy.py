"""Kinds of edits by their published names, and what this project has for each: the one taxonomy table.

ImgEdit's 13 tasks, UnicEdit's 22 sub-tasks and ScaleEdit's 23 families, each with the task (`tasks`) that it is filed
under, the prompt that writes its instruction, the shape of the reply, the judge's rubric and the graph that makes it.
Read by writers, router and verifiers; the driver keeps quotas by it.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from .tasks import INSTRUCT, TASKS, RegionNeed, task_named

Scheme = Literal["imgedit", "unicedit", "scaleedit"]

GRAPHS: dict[str, str] = {task: task for task in TASKS}
"""Workflow by task: `workflows/<name>.json`, `<name>-open.json` or `<name>-classical.json`."""

EDITOR = "instruct-qwen"
"""Workflow for kinds of edit that their task's own cannot make: an editor that follows instructions, sees the photo and
can spell. Qwen-Image-Edit rather than Kontext: it writes letters better, and its licence lets pairs train any model."""

CHINESE_EDITOR = "instruct-longcat"
"""The same where all that it is to make are words on things whose instructions are Chinese: LongCat is told a word in
quotation marks letter by letter, and was made for Chinese. One of the two to a run, as both are for one task."""


@dataclass(frozen=True)
class Kind:
    """One row: a kind of edit as one of the three schemes names it."""

    scheme: Scheme
    name: str
    """Exactly as published."""
    group: str
    """The scheme's heading above it."""
    rubric: str
    task: str
    """The task that it is filed under."""
    prompt: str
    """Id of the prompt that writes its instruction."""
    shape: ShapeName
    """The reply's shape, a key of `shapes.SHAPES`."""
    unlike: str = ""
    """Why its task's own graph cannot make it, so that `EDITOR` does; empty where it can."""

    @property
    def id(self) -> str:
        """Unique over the table: `unicedit/Color Alteration`."""
        return f"{self.scheme}/{self.name}"

    @property
    def region(self) -> RegionNeed:
        """Which kind of region it edits."""
        return task_named(self.task).region

    @property
    def by_editor(self) -> bool:
        """Whether `EDITOR` makes it: no task's own graph can."""
        return bool(self.unlike) or self.task == INSTRUCT.name

    @property
    def graph(self) -> str:
        """Name of the workflow that makes it."""
        return EDITOR if self.by_editor else GRAPHS[self.task]

    @property
    def second(self) -> str:
        """Role of the picture beside the photo that its task's own graph takes; empty where the photo is enough."""
        return task_named(self.task).second if self.task and not self.by_editor else ""


def _imgedit(name: str, shape: ShapeName, rubric: str = "", group: str = "single-turn") -> Kind:
    prompt = f"write-{name.replace('_', '-')}"
    return Kind("imgedit", name, group, rubric or name, name, prompt, shape)


def _free(scheme: Scheme, name: str, group: str, rubric: str, prompt: str) -> Kind:
    """A kind that is not bound to a region, and so no task of ours: it changes the whole photo, or things that come, go
    or move."""
    return Kind(scheme, name, group, rubric, INSTRUCT.name, prompt, "free")


_SPELLS = "SDXL paints no words that can be read"
_KEEPS_CONTENT = "an image model that redraws the photo for a new style does not keep what is on it"
_KEEPS_SHAPE = "its graph is led by the object's edges, which keep the size and the shape"
_KEEPS_FACE = "what is painted anew under a mask is another face"
_ONE_FRAME = "its task's graph takes two frames of a video, and here one photo is to move"
_OBEYS = "what follows from it is told as a command, and its task's own graph paints a region without being told"

_IMGEDIT = (
    _imgedit("add", "add"),
    _imgedit("remove", "object"),
    _imgedit("replace", "object"),
    _imgedit("alter", "object"),
    _imgedit("background", "object"),
    _imgedit("motion", "motion"),
    _imgedit("style", "whole"),
    _imgedit("extract", "object"),
    _imgedit("visual", "object"),
    _imgedit("hybrid", "hybrid"),
    _imgedit("content_memory", "content-memory", "multi_turn", "multi-turn"),
    _imgedit("content_understanding", "content-understanding", "multi_turn", "multi-turn"),
    _imgedit("version_backtracking", "version-backtracking", "multi_turn", "multi-turn"),
)

_SCENE, _ATTRIBUTE, _OBJECT, _REASONING = "Scene Editing", "Attribute Editing", "Object Editing", "Reasoning Editing"

_UNICEDIT = (
    Kind("unicedit", "Background Change", _SCENE, "background", "background", "write-background", "object"),
    _free("unicedit", "Lens Zooming", _SCENE, "geometry", "write-zoom"),
    Kind("unicedit", "Style Transfer", _SCENE, "style", "style", "write-style", "whole"),
    Kind("unicedit", "Tone Transformation", _SCENE, "style", "style", "write-tone", "whole", unlike=_KEEPS_CONTENT),
    _free("unicedit", "Viewpoint Transformation", _SCENE, "geometry", "write-viewpoint"),
    Kind("unicedit", "Color Alteration", _ATTRIBUTE, "alter", "alter", "write-colour", "object"),
    Kind("unicedit", "Material Modification", _ATTRIBUTE, "alter", "alter", "write-material", "object"),
    Kind("unicedit", "Motion Change", _ATTRIBUTE, "motion", "motion", "write-motion", "motion"),
    Kind(
        "unicedit", "Shape-Size Alteration", _ATTRIBUTE, "alter", "alter", "write-size", "object", unlike=_KEEPS_SHAPE
    ),
    Kind("unicedit", "Texture Editing", _ATTRIBUTE, "alter", "alter", "write-texture", "object"),
    _free("unicedit", "Counting Change", _OBJECT, "count", "write-count"),
    Kind("unicedit", "Object Extraction", _OBJECT, "extract", "extract", "write-extract", "object"),
    Kind("unicedit", "Portrait Editing", _OBJECT, "alter", "alter", "write-portrait", "object"),
    Kind("unicedit", "Subject Addition", _OBJECT, "add", "add", "write-add", "add"),
    Kind("unicedit", "Subject Removal", _OBJECT, "remove", "remove", "write-remove", "object"),
    Kind("unicedit", "Subject Replacement", _OBJECT, "replace", "replace", "write-replace", "object"),
    Kind("unicedit", "Text Modification", _OBJECT, "text", "alter", "write-text", "text", unlike=_SPELLS),
    Kind("unicedit", "Compound Operation Edits", _REASONING, "hybrid", "hybrid", "write-hybrid", "hybrid"),
    _free("unicedit", "Implicit Change Edits", _REASONING, "reasoning", "write-implicit"),
    _free("unicedit", "Multi-object Coordination", _REASONING, "hybrid", "write-coordination"),
    _free("unicedit", "Relation Change", _REASONING, "reasoning", "write-relation"),
    Kind("unicedit", "Spatial Reasoning Edits", _REASONING, "reasoning", "replace", "write-spatial", "riddle"),
)

_GLOBAL, _OBJECTS, _ATTRIBUTES, _KNOWLEDGE = "Global", "Object", "Attribute", "Knowledge-infused"


def _lettering(name: str, prompt: str) -> Kind:
    return Kind("scaleedit", name, "Text", "text", "alter", prompt, "text", unlike=_SPELLS)


def _thought(name: str, task: str, prompt: str) -> Kind:
    """A kind with two texts: what a person says, and what an editor is told."""
    return Kind("scaleedit", name, _KNOWLEDGE, "reasoning", task, prompt, "riddle", unlike=_OBEYS)


_SCALEEDIT = (
    Kind("scaleedit", "1.1_style_transfer", _GLOBAL, "style", "style", "write-style", "whole"),
    Kind("scaleedit", "1.2_tone_adjustment", _GLOBAL, "style", "style", "write-tone", "whole", unlike=_KEEPS_CONTENT),
    _free("scaleedit", "1.3_viewpoint_transformation", _GLOBAL, "geometry", "write-viewpoint"),
    Kind("scaleedit", "1.4_background_replacement", _GLOBAL, "background", "background", "write-background", "object"),
    Kind("scaleedit", "2.1_object_addition", _OBJECTS, "add", "add", "write-add", "add"),
    Kind("scaleedit", "2.2_object_removal", _OBJECTS, "remove", "remove", "write-remove", "object"),
    Kind("scaleedit", "2.3_object_replacement", _OBJECTS, "replace", "replace", "write-replace", "object"),
    Kind("scaleedit", "2.4_action_editing", _OBJECTS, "motion", "motion", "write-action", "free", unlike=_ONE_FRAME),
    Kind("scaleedit", "2.5_part_extraction", _OBJECTS, "extract", "extract", "write-extract", "object"),
    Kind("scaleedit", "3.1_color_change", _ATTRIBUTES, "alter", "alter", "write-colour", "object"),
    Kind("scaleedit", "3.2_material_change", _ATTRIBUTES, "alter", "alter", "write-material", "object"),
    Kind("scaleedit", "3.3_visual_beautification", _ATTRIBUTES, "alter", "alter", "write-beautify", "object", unlike=_KEEPS_FACE),
    _free("scaleedit", "3.4_count_change", _ATTRIBUTES, "count", "write-count"),
    Kind("scaleedit", "3.5_size_change", _ATTRIBUTES, "alter", "alter", "write-size", "object", unlike=_KEEPS_SHAPE),
    _lettering("4.1_movie_poster_text_editing", "write-poster-text"),
    _lettering("4.2_gui_interface_text_editing", "write-interface-text"),
    _lettering("4.3_object_surface_text_editing", "write-object-text"),
    _lettering("4.4_building_surface_text_editing", "write-building-text"),
    _thought("5.1_perceptual_reasoning", "replace", "write-perceptual"),
    _thought("5.2_symbolic_reasoning", "alter", "write-symbolic"),
    _thought("5.3_social_reasoning", "alter", "write-social"),
    _thought("5.4_scientific_reasoning", "alter", "write-scientific"),
    Kind("scaleedit", "6.1_compositional_editing", "Compositional", "hybrid", "hybrid", "write-hybrid", "hybrid"),
)  # fmt: skip

TAXONOMY: dict[str, Kind] = {kind.id: kind for kind in (*_IMGEDIT, *_UNICEDIT, *_SCALEEDIT)}
"""The table by id; ImgEdit's rows first."""

WRITABLE: tuple[str, ...] = tuple(TAXONOMY)
"""Ids of the kinds that a model can write instructions for: all of them."""


def kind_of(task: str, subtask: str = "") -> Kind:
    """The row that a sample belongs to.

    Args:
        task: a name of `tasks.TASKS`, or `instruct`.
        subtask: id of a row, or empty for the task's own.

    Raises:
        ValueError: no such row, or one that is filed under another task.
    """
    known = TAXONOMY.get(subtask or f"imgedit/{task}")
    if known is None:
        near = difflib.get_close_matches(subtask or task, TAXONOMY, n=3, cutoff=0.3)
        raise ValueError(f"unknown kind of edit {subtask or task!r}; the nearest names are {', '.join(near) or 'none'}")
    if known.task != task:
        raise ValueError(f"{known.id} is filed under task {known.task}, but the sample's task is {task}")
    return known


def known_kind(task: str, subtask: str = "") -> Kind | None:
    """The row of a record that may come from anywhere: its task's own where the table has no such row of the task."""
    found = TAXONOMY.get(subtask)
    return found if found is not None and found.task == task else TAXONOMY.get(f"imgedit/{task}")


def counterpart(task: str, subtask: str, scheme: Scheme) -> Kind | None:
    """A scheme's row of the same kind of edit: written by the same prompt, or else the only one that is judged by the same
    rubric. None where it has none."""
    kind = known_kind(task, subtask)
    if kind is None or kind.scheme == scheme:
        return kind
    others = [one for one in TAXONOMY.values() if one.scheme == scheme]
    same = [one for one in others if one.prompt == kind.prompt] or [one for one in others if one.rubric == kind.rubric]
    return same[0] if len(same) == 1 else None


ShapeName = Literal[
    "object",
    "text",
    "add",
    "whole",
    "free",
    "riddle",
    "motion",
    "hybrid",
    "content-memory",
    "content-understanding",
    "version-backtracking",
]
