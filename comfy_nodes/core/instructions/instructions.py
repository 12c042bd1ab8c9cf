"""Instructions as they are kept: `Writing` travels in samples, `InstructionRecord` is what `Save Instructions` returns.

`composing` makes them from a model's reply, `wording` from templates; the driver reads the records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ..keys import Key
from ..records import SCHEMA_VERSION, Basis, SavedFile, Version
from ..regions.annotation import Annotation, AnnotationError, Provenance, Region, to_json
from ..validation import first_fault
from .wording import Language

USER = "user"
"""`Writing.model` of an instruction that a person wrote."""


@dataclass(frozen=True)
class Step:
    """One operation on one region, as an edit graph carries it out."""

    op: str
    """What the pair shows: add, remove, replace, … An added thing is erased from the photo, which is the pair's after."""
    object: str
    """English name of the thing; empty where the step is about the whole photo."""
    region: int | None
    """Number of its region in the record; None for the whole photo."""
    editor_prompt: str
    """The operation as a plain English command for an editor that follows instructions; of an added thing, its removal."""
    target: str
    """English, for an editor that fills a region: what is to be seen there afterwards."""
    instruction: str = ""
    """The turn's own instruction, of multi-turn tasks."""
    base: int = 0
    """Which state the step begins with: 0 before the first step, n after step n. Backtracking is a pointer, not a copy."""


@dataclass(frozen=True)
class Writing:
    """An instruction with all that was written together with it, and by whom."""

    instruction: str
    """What the pair is trained on. Of multi-turn tasks the rounds, premise first, a line each."""
    lang: Language
    target: str = ""
    """The first step's target."""
    editor_prompt: str = ""
    """What an editor is told that follows instructions: English, all steps in one."""
    steps: tuple[Step, ...] = ()
    premise: str = ""
    """Of content memory: what holds for all rounds."""
    regions: tuple[Region, ...] = ()
    """The regions that the steps number; none where the whole photo is edited."""
    model: str = ""
    """Who wrote it: the model's name, `template`, or `user`."""
    prompt_id: str = ""
    prompt_version: str = ""
    reply: str = ""
    """The model's raw words, of which this is one edit."""
    other: str = ""
    """The same instruction in the other one of `LANGUAGES`; empty where it was written in one alone."""
    task: str = ""
    """The task that it is filed under, where its writer chose the kind of edit; empty for the sample's."""
    subtask: str = ""
    """That kind's id."""
    rewriter: str = ""
    """Who put the instruction into the plain words of `editor_prompt` afterwards: model, prompt and its version."""


class InstructionRecord(BaseModel):
    """One instruction for one sample: what `Save Instructions` writes and returns."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    schema_version: Version = SCHEMA_VERSION
    key: Key
    task: str
    subtask: str = ""
    slot: str = ""
    writing: Writing
    """Without its regions, which `annotation` holds."""
    annotation: dict[str, Any]
    """What `annotation_line` makes: a line of a `--input` file."""
    file: SavedFile
    basis: Basis = Basis()


_WRITING = TypeAdapter(Writing)


def annotation_line(
    writing: Writing,
    task: str,
    subtask: str,
    slot: str,
    size: tuple[int, int],
    origin: Provenance,
    points: tuple[str, ...] = (),
    captions: tuple[str, ...] = (),
    further: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The photo's annotation in ImgEdit's schema with the edited regions alone, and our columns `task`, `subtask`,
    `slot`, `instruction`, `source_sha256` and `writing` (all of it but the regions and these).

    Args:
        size: (width, height) of the photo in pixels.
        points: what a right edit shows, as the photo's annotation has it.
        captions, further: what else it says.
    """
    annotation = Annotation(
        path=origin.source_path,
        size=size,
        regions=writing.regions,
        points=points,
        captions=captions,
        further=further or {},
        source_licence=origin.source_licence,
        source_url=origin.source_url,
    )
    return {
        **to_json(annotation),
        "task": task,
        "subtask": subtask,
        "slot": slot,
        "instruction": writing.instruction,
        "writing": writing_json(writing),
        "source_sha256": origin.source_sha256,
    }


def writing_json(writing: Writing) -> dict[str, Any]:
    """What an annotation holds as `writing`: all of it but the regions, task and kind of edit, which stand beside it."""
    found: dict[str, Any] = _WRITING.dump_python(writing, mode="json", exclude={"regions", "task", "subtask"})
    return found


def written_in(writing: dict[str, Any], regions: tuple[Region, ...]) -> Writing:
    """What `annotation_line` put into an annotation as `writing`.

    Args:
        regions: the edited ones, in the upright photo's pixels.

    Raises:
        AnnotationError: `writing` is of another shape.
    """
    try:
        return _WRITING.validate_python({**writing, "regions": regions})
    except TypeError:
        raise AnnotationError("writing: not an object") from None
    except ValidationError as error:
        raise AnnotationError(first_fault(error, "writing")) from None
