"""Inputs that several nodes have, each described once; what differs between nodes is said where it is called."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..core.instructions.wording import LANGUAGES
from ..core.keys import MAX_SEED
from ..core.regions.annotation import KINDS
from .sockets import EditSample, Sample, Scores

MAX_SCORES = 20
"""Most verifiers whose scores one node takes. Ours."""

BY_SAMPLE = "from the sample"
"""The choice of a list that leaves it to the sample."""


def seed_input(tooltip: str, optional: bool = False) -> io.Int.Input:
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=MAX_SEED,
        control_after_generate=io.ControlAfterGenerate.fixed,
        optional=optional,
        tooltip=tooltip,
    )


def share_input(name: str, default: float, tooltip: str, step: float = 0.01, **more: Any) -> io.Float.Input:
    """A number from 0 to 1.

    Args:
        more: of core's own.
    """
    return io.Float.Input(name, default=default, min=0.0, max=1.0, step=step, tooltip=tooltip, **more)


def side_share_input(name: str, default: float, tooltip: str) -> io.Float.Input:
    """Per cent of a photo's shorter side, for `tensors.per_cent`."""
    return io.Float.Input(name, default=default, min=0.0, max=20.0, step=0.1, tooltip=tooltip)


def vocabulary_input(names: str = "") -> io.String.Input:
    """
    Args:
        names: what kind of them the model takes, where that matters.
    """
    return io.String.Input(
        "vocabulary",
        multiline=True,
        default="person, car, dog",
        tooltip=f'What to look for: a name to a line, or with commas between{names}. A name that has a comma stands in double quotes: "pot, black".',
    )


def tags_inputs() -> list[io.Input]:
    """The sample whose own tags are looked for in the place of the vocabulary, and which of them."""
    return [
        Sample.Input(
            "sample",
            optional=True,
            tooltip="The photo's sample. Where it has tags, from Tag Image or its annotation, these are looked for in the place of the vocabulary.",
        ),
        io.Combo.Input(
            "tags",
            options=list(KINDS),
            default="object",
            optional=True,
            tooltip="Which of the sample's tags: those of objects, or those of backgrounds. A photo that has only the others has none to find.",
        ),
    ]


def per_name_input(default: bool, whose: str = "") -> io.Boolean.Input:
    """Whether boxes of different names may lie over each other.

    Args:
        whose: who has one box for each place, for the end of the sentence.
    """
    return io.Boolean.Input(
        "nms_per_class",
        default=default,
        optional=True,
        label_on="per name",
        label_off="across names",
        tooltip=f"per name: a coat may lie over a person. across names: one box for each place{whose}.",
    )


def most_boxes_input(default: int, note: str) -> io.Int.Input:
    return io.Int.Input(
        "max_boxes",
        default=default,
        min=1,
        max=1000,
        optional=True,
        tooltip=f"Most boxes for an image, the best by score. {note}",
    )


TEMPERATURE = 0.7
"""Of writers: enough to give different photos different ideas. Ours."""


def temperature_input() -> io.Input:
    return io.Float.Input(
        "temperature",
        default=TEMPERATURE,
        min=0.0,
        max=2.0,
        step=0.05,
        optional=True,
        advanced=True,
        tooltip="How freely the model chooses its words. The sample's seed goes with it.",
    )


def language_input(tooltip: str, optional: bool = False) -> io.Combo.Input:
    return io.Combo.Input("language", options=list(LANGUAGES), default="en", optional=optional, tooltip=tooltip)


def folder_input() -> io.String.Input:
    return io.String.Input(
        "folder", default="editpairs", optional=True, tooltip="Subfolder of ComfyUI's output folder."
    )


def scores_input(tooltip: str, lazy: bool | None = None) -> io.Autogrow.Input:
    """Scores of any number of verifiers."""
    one = Scores.Input("score", optional=True, lazy=lazy, tooltip="What a verify node found.")
    template = io.Autogrow.TemplatePrefix(one, "score", 0, MAX_SCORES)
    return io.Autogrow.Input("scores", optional=True, template=template, tooltip=tooltip)


def lazy_boxes(name: str, tooltip: str) -> io.BoundingBox.Input:
    """An optional input for boxes that are computed only when they are asked for. Core's takes no `lazy`."""
    boxes = io.BoundingBox.Input(name, force_input=True, optional=True, tooltip=tooltip)
    boxes.lazy = True
    return boxes


def uncomputed(sample: EditSample, **inputs: object) -> list[str]:
    """The lazy inputs that are still to be computed: none for a sample that has failed already."""
    return [] if sample.failure else [name for name, value in inputs.items() if value is None]
