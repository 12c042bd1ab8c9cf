"""The taxonomy: complete, exact, and honest about what has a prompt, a shape, a rubric and a graph."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfy_nodes.core import kinds_table
from comfy_nodes.core.instructions.shapes import SHAPES
from comfy_nodes.core.tasks import TASKS
from comfy_nodes.core.taxonomy import GRAPHS, TAXONOMY, WRITABLE, Kind, counterpart, kind_of
from comfy_nodes.core.verdicts.rubrics import TABLE as RUBRICS
from comfy_nodes.vlm.questions.prompt_files import prompt

REPOSITORY = Path(__file__).resolve().parents[2]

# As published: UnicBench's test_data.jsonl, and the folder names of ScaleEdit-12M.
UNICEDIT = {
    "Scene Editing": ["Background Change", "Lens Zooming", "Style Transfer", "Tone Transformation", "Viewpoint Transformation"],
    "Attribute Editing": ["Color Alteration", "Material Modification", "Motion Change", "Shape-Size Alteration", "Texture Editing"],
    "Object Editing": ["Counting Change", "Object Extraction", "Portrait Editing", "Subject Addition", "Subject Removal",
                       "Subject Replacement", "Text Modification"],
    "Reasoning Editing": ["Compound Operation Edits", "Implicit Change Edits", "Multi-object Coordination", "Relation Change",
                          "Spatial Reasoning Edits"],
}  # fmt: skip
SCALEEDIT = (
    "1.1_style_transfer 1.2_tone_adjustment 1.3_viewpoint_transformation 1.4_background_replacement 2.1_object_addition "
    "2.2_object_removal 2.3_object_replacement 2.4_action_editing 2.5_part_extraction 3.1_color_change "
    "3.2_material_change 3.3_visual_beautification 3.4_count_change 3.5_size_change 4.1_movie_poster_text_editing "
    "4.2_gui_interface_text_editing 4.3_object_surface_text_editing 4.4_building_surface_text_editing "
    "5.1_perceptual_reasoning 5.2_symbolic_reasoning 5.3_social_reasoning 5.4_scientific_reasoning "
    "6.1_compositional_editing"
)

every_kind = pytest.mark.parametrize("kind", TAXONOMY.values(), ids=TAXONOMY.keys())


def names(scheme: str) -> list[str]:
    return [kind.name for kind in TAXONOMY.values() if kind.scheme == scheme]


def test_imgedit_has_its_ten_and_three() -> None:
    assert names("imgedit") == list(TASKS)
    assert len(TASKS) == 13
    assert [name for name, task in TASKS.items() if task.turns > 1] == [
        "content_memory", "content_understanding", "version_backtracking",
    ]  # fmt: skip
    assert {name: task.regions for name, task in TASKS.items() if task.regions != 1} == {
        "motion": 0, "style": 0, "hybrid": 2, "content_memory": 2,
    }  # fmt: skip


def test_unicedit_has_its_twenty_two() -> None:
    found: dict[str, list[str]] = {}
    for kind in TAXONOMY.values():
        if kind.scheme == "unicedit":
            found.setdefault(kind.group, []).append(kind.name)
    assert found == UNICEDIT
    assert len(names("unicedit")) == 22


def test_scaleedit_has_its_twenty_three() -> None:
    assert names("scaleedit") == SCALEEDIT.split()
    assert len(names("scaleedit")) == 23


@every_kind
def test_a_kind_can_be_written(kind: Kind) -> None:
    assert kind.rubric in RUBRICS
    assert kind.shape in SHAPES and kind.prompt and kind.id in WRITABLE
    asked = prompt(kind.prompt).user
    assert "Answer: {" in asked
    fields = SHAPES[kind.shape].model_fields
    assert [name for name in fields if f'"{name}"' not in asked] == [], "the prompt names every field of its shape"


@every_kind
def test_a_graph_that_is_named_is_there(kind: Kind) -> None:
    files = [REPOSITORY / "workflows" / f"{kind.graph}{profile}.json" for profile in ("", "-open", "-classical")]
    assert any(path.exists() for path in files)


@pytest.mark.parametrize(
    ("task", "subtask", "name"),
    [
        ("remove", "", "Subject Removal"),
        ("alter", "scaleedit/3.1_color_change", "Color Alteration"),
        ("alter", "scaleedit/4.4_building_surface_text_editing", "Text Modification"),
        ("instruct", "unicedit/Relation Change", "Relation Change"),
        ("alter", "", None),
        ("visual", "", None),
        ("instruct", "", None),
        ("content_memory", "", None),
    ],
)
def test_the_same_kind_in_unicedits_words(task: str, subtask: str, name: str | None) -> None:
    found = counterpart(task, subtask, "unicedit")
    assert (found and found.name) == name


def test_a_graph_that_is_there_is_named() -> None:
    stems = {
        path.stem.removesuffix("-classical").removesuffix("-open") for path in (REPOSITORY / "workflows").glob("*.json")
    }
    assert stems & set(TASKS) == set(GRAPHS)


@pytest.mark.parametrize(
    ("task", "subtask", "prompt_id"),
    [
        ("remove", "", "write-remove"),
        ("remove", "unicedit/Subject Removal", "write-remove"),
        ("alter", "unicedit/Color Alteration", "write-colour"),
        ("alter", "scaleedit/4.4_building_surface_text_editing", "write-building-text"),
        ("instruct", "scaleedit/1.3_viewpoint_transformation", "write-viewpoint"),
        ("instruct", "unicedit/Lens Zooming", "write-zoom"),
        ("content_memory", "", "write-content-memory"),
    ],
)
def test_finding_a_kind(task: str, subtask: str, prompt_id: str) -> None:
    assert kind_of(task, subtask).prompt == prompt_id


@pytest.mark.parametrize(
    ("task", "subtask", "why"),
    [
        ("remove", "unicedit/Subject Addition", "is filed under task add, but the sample's task is remove"),
        (
            "alter",
            "Color Alteration",
            "unknown kind of edit 'Color Alteration'; the nearest names are unicedit/Color Al",
        ),
        ("style", "unicedit/Lens Zooming", "is filed under task instruct, but the sample's task is style"),
        ("annotate", "", "unknown kind of edit 'annotate'"),
    ],
)
def test_kinds_that_do_not_fit(task: str, subtask: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        kind_of(task, subtask)


def test_the_document_of_kinds_is_that_of_the_table() -> None:
    assert kinds_table.DOCUMENT.read_text("utf-8") == kinds_table.table(), "run python -m comfy_nodes.core.kinds_table"
    assert sum(f"| {kind.name} |" in kinds_table.table() for kind in TAXONOMY.values()) == 13 + 22 + 23
