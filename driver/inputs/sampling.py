"""What a photo gives for one of a run's aims: samples, or why there is none.

`Source` asks it of every photo of an input, for several at the same time. Reads headers and masks, never a photo's pixels.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from comfy_nodes.core.instructions.checks import Unfit
from comfy_nodes.core.instructions.routing import NO_WORDS, ROUTED, accepts_task
from comfy_nodes.core.instructions.turns import MOST_TURNS
from comfy_nodes.core.keys import sample_key, turn_key
from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.records import SampleFailure
from comfy_nodes.core.regions.annotation import WEAK, Annotation, AnnotationError, Region
from comfy_nodes.core.regions.lettering import OCR, words_read
from comfy_nodes.core.tasks import ANNOTATE, EMBED, INSTRUCT, SYNTHESIZE, TASKS, Task, task_named
from comfy_nodes.core.taxonomy import EDITOR, known_kind

from ..places import Locator
from ..samples import NOT_ANNOTATED, SECONDS, Aim, Planned, Sample, Spare, Unusable, unusable
from . import alignment
from .dialogues import planned_about, turns_of
from .groups import judged_again
from .photo import Photo, Reader

Regions = Literal["all", "one"]

_NO_WORDS = (
    "the photo brings no words, and the workflow has none for it: write the instruction into a NAME.txt beside it, or into "
    "Load Edit Sample for all such photos"
)

_NO_CAPTION = "the photo has no caption to paint another one from; give captions, or run a stage that writes some first"

LEFT_OUT = "LeftOut"
"""The error type of what an author marked beside regions that gave samples."""

OTHER_TASK, OTHER_GRAPH = "OtherTask", "OtherGraph"
"""The error types of a photo that was meant for another workflow."""

NEAR_DUPLICATE = "NearDuplicate"
"""The error type of a photo that repeats an earlier one."""

_CALLED = {"frame2": "second frame", "edited": "picture after the edit", "reference": "reference picture"}


class Sampling:
    """Samples of one reader's photos."""

    def __init__(self, reader: Reader):
        self._reader = reader

    def samples(self, photo: Photo, aim: Aim, regions: Regions, seed: int) -> list[Planned]:
        """
        Args:
            regions: `all`, a sample for each eligible region; `one`, one picked by the seed.
        """
        task = aim.task
        if refused := _refused(photo, aim):
            return [skipped(photo.source_id, *refused)]
        if photo.frame2 and "frame2" not in aim.seconds and task != ANNOTATE:  # a later stage may take it
            photo = replace(photo, frame2="")
        if photo.edited and "edited" not in aim.seconds:
            photo = replace(photo, edited="")
        try:
            if photo.problem:
                raise AnnotationError(photo.problem)
            # What the graph does not take is not looked at.
            annotation = alignment.aligned(photo, self._reader, aim.seconds)
            words = _of_words(annotation, aim.task, photo.subtask)
        except (PhotoError, AnnotationError) as error:
            failure = SampleFailure("input", type(error).__name__, str(error))
            return [replace(unusable(photo.source_id, failure), unread=self._unread(photo))]
        if task in (SYNTHESIZE, EMBED):
            photo = replace(photo, instruction=next(iter(annotation.captions), ""), words_for="")
        if task == SYNTHESIZE and not photo.instruction:
            return [skipped(photo.source_id, "NoCaption", _NO_CAPTION)]
        if words is not None:
            if not words:
                return [skipped(photo.source_id, "NothingToRead", NO_WORDS)]
            annotation = replace(annotation, regions=words, refusals=(), weak=0)
        told = aim.words is not None and not (_words(photo, task) or annotation.writing)
        if told:
            if not aim.words:
                return [unusable(photo.source_id, SampleFailure("input", "NoWords", _NO_WORDS))]
            photo = replace(photo, instruction=aim.words, words_for="")
        whole = self._sample(photo, annotation, aim, told)
        if task.region in ("none", "any"):
            edit = _meant(annotation, photo.task, photo.subtask) if task.region == "any" else ()
            key = sample_key(photo.source_id, None, task.name, photo.slot)
            if "edited" in aim.seconds:
                key, annotation = judged_again(photo, annotation, task.name)
            return [_of_regions(replace(whole, annotation=annotation), key, edit, aim)]
        return self._edits(photo, whole, aim, regions, seed)

    def _edits(self, photo: Photo, whole: Sample, aim: Aim, regions: Regions, seed: int) -> list[Planned]:
        """A sample for each edit that the task may make of the photo's regions."""
        try:
            about = planned_about(whole.annotation) if aim.plans and photo.task else set[int]()
        except AnnotationError as error:
            return [unusable(photo.source_id, SampleFailure("input", type(error).__name__, str(error)))]
        eligible, reasons = alignment.edits(whole.annotation, aim.task, bool(photo.task), about)
        if not eligible:
            reasons += photo.left_out
            return [
                self._no_region(photo, reasons, bool(whole.annotation.refusals), _refused_as(photo.source_id, whole))
            ]
        planned: list[Planned] = [
            unusable(photo.source_id, SampleFailure("input", "AnnotationError", reason), f"{photo.source_id}#{reason}")
            for reason in whole.annotation.refusals
        ]
        planned += [skipped(photo.source_id, LEFT_OUT, why, f"{photo.source_id}#{why}") for why in photo.left_out]
        picked = random.Random(f"{seed}/{photo.source_id}").choice(eligible) if regions == "one" else None
        for edit in eligible:
            key = photo.source_id
            for region in edit:
                key = sample_key(key, region, aim.task.name, photo.slot)
            if aim.plans:
                planned += _turns(whole, key, edit, eligible, aim, seed) if picked in (None, edit) else _spared(key)
            else:
                planned.append(_of_regions(whole, key, edit, aim) if picked in (None, edit) else Spare(key))
        return planned

    def _sample(self, photo: Photo, annotation: Annotation, aim: Aim, told: bool) -> Sample:
        """What all samples of a photo share; it has no key yet, and all regions."""
        pictures = (photo.file, *filter(None, (getattr(photo, role) for role in SECONDS if role in aim.seconds)))
        return Sample(
            key="",
            file=photo.file,
            annotation=annotation,
            instruction=_words(photo, aim.task),
            reference=photo.reference,
            frame2=photo.frame2,
            edited=photo.edited,
            task=aim.task.name,
            own_task=(photo.task or INSTRUCT.name) if aim.task.open else "",
            subtask=photo.subtask,
            slot=photo.slot,
            pictures=pictures,
            stamp=self.stamp(pictures),
            words_of_graph=told,
        )

    def stamp(self, pictures: Sequence[Locator]) -> str:
        """What changes when one of these pictures does, or the file that it lies in: size and time, or what a store has.
        Reads none of them.

        Args:
            pictures: a sample's.
        """
        return "\n".join(map(self._stamp, pictures))

    def _stamp(self, file: Locator) -> str:
        try:
            return self._reader.stamp(file)
        except OSError:
            return "not there"

    def _no_region(self, photo: Photo, reasons: list[str], damaged: bool, key_of: str) -> Unusable:
        """
        Args:
            damaged: whether one of the reasons is that a region is none.
            key_of: what tells it from others of its photo.
        """
        if reasons:
            why = "no usable region: " + "; ".join(reasons)
            return unusable(photo.source_id, SampleFailure("input", "NoRegion", why, skipped=not damaged), key_of)
        found = photo.ungrounded or photo.grounded
        why = f"the photo has no region{'; ' if found else ''}{found}: {self._reader.remedy(photo)}"
        if photo.ungrounded:
            return replace(unusable(photo.source_id, SampleFailure("annotate", NOT_ANNOTATED, why)), unread="photo")
        return skipped(photo.source_id, "NoRegion", why)

    def _unread(self, photo: Photo) -> Literal["", "photo", "rest"]:
        """What nobody could look at, of a photo that cannot be used. One that is not there is known to be gone, and what
        was read beside it and cannot be used is known to be another."""
        if not photo.file:
            return "rest"
        if photo.unread:
            return "photo"
        try:
            self._reader.stamp(photo.file)
            alignment.header_of(photo, self._reader)
            for beside in (photo.mask, photo.reference, photo.frame2, photo.edited):
                if beside:
                    with self._reader.open(beside) as opened:
                        opened.read(1)
        except FileNotFoundError:
            return ""
        except (OSError, PhotoError):
            return "photo"
        return ""


def _turns(
    whole: Sample, key: str, edit: tuple[Region, ...], eligible: Sequence[tuple[Region, ...]], aim: Aim, seed: int
) -> list[Planned]:
    """The turns of a dialogue about some of a photo's regions, or why there can be none.

    Args:
        eligible: all edits of the photo.
    """
    assert aim.plans
    refused = _refused_as(key, whole)
    known = whole.annotation.regions if aim.task.regions == 1 else dict.fromkeys(one for two in eligible for one in two)
    others = [one for one in known if one not in edit]
    try:
        return [*turns_of(_of_regions(whole, key, edit, aim), edit, others, aim.plans, seed)]
    except Unfit as problem:
        return [skipped(whole.annotation.path, type(problem).__name__, str(problem), refused)]
    except AnnotationError as error:
        return [unusable(whole.annotation.path, SampleFailure("input", type(error).__name__, str(error)), refused)]


def _refused_as(key: str, whole: Sample) -> str:
    """What a refusal is told apart by: each of a photo's plans has its own."""
    return f"{key}#{whole.instruction}" if whole.annotation.writing else key


def _spared(dialogue: str) -> list[Planned]:
    """A dialogue that could be and is not asked for."""
    return [Spare(turn_key(dialogue, number)) for number in range(1, MOST_TURNS + 1)]


def _of_regions(whole: Sample, key: str, edit: tuple[Region, ...], aim: Aim) -> Sample:
    """The sample of an edit of some of a photo's regions; of the others it carries what is asked for."""
    others: tuple[Region, ...] = ()
    if aim.context != "none":
        others = tuple(one for one in whole.annotation.regions if one not in edit)
    if aim.context == "names":
        others = tuple(one.model_copy(update={"mask": None}) for one in others)
    told = whole.annotation.further
    if (
        aim.task != ANNOTATE
    ):  # what a detector only whispered no edit needs, nor words that none is about; they are long
        unread = (WEAK, OCR) if aim.context == "none" else (WEAK,)
        told = {name: value for name, value in told.items() if name not in unread}
    annotation = replace(whole.annotation, regions=edit + others, refusals=(), further=told)
    return replace(whole, key=key, annotation=annotation)


def _refused(photo: Photo, aim: Aim) -> tuple[str, str] | None:
    """Why a photo's author did not mean it for this, as an error type and a message; None where nothing speaks against it."""
    task = aim.task
    if task.name in TASKS and photo.task not in ("", task.name):
        why = f"its task file is for {photo.task}, and the workflow makes {task.name}; run a workflow for {photo.task}"
        return OTHER_TASK, why
    if photo.routed is not None and task.name in ROUTED and not accepts_task(photo.routed, task.name):
        return "NotRouted", f"its router did not accept {task.name}; the annotation's routes say why"
    if photo.problem:
        return None
    if aim.rest and not photo.task:
        return OTHER_TASK, f"it names no task, and beside other workflows {task.name} makes what those cannot"
    kind = known_kind(photo.task, photo.subtask)
    if kind and kind.unlike and aim.ours and kind.task == task.name:
        return OTHER_GRAPH, f"{kind.id}: {kind.unlike}; run --workflow {EDITOR}, or auto"
    if kind and not kind.unlike and kind.task in aim.rest:
        return OTHER_GRAPH, f"{kind.id} has its own workflow in this run"
    if kind and task == INSTRUCT:
        if task_named(photo.task).turns > 1:
            return (
                "SeveralTurns",
                f"{photo.task} is an edit of several turns, and the workflow makes one picture of each",
            )
        if photo.task == "visual" and "reference" not in aim.seconds:
            return (
                "NoReference",
                "its new object is shown by a reference picture, which the workflow's editor does not see; run --workflow visual",
            )
    for role in sorted(aim.seconds):
        if not getattr(photo, role):
            return "NoSecondImage", f"the photo has no {_CALLED[role]} (docs/inputs.md says how to give one)"
    return None


def _of_words(annotation: Annotation, task: Task, subtask: str) -> tuple[Region, ...] | None:
    """The lines of words that a kind of edit of text may edit, where a reader has looked at the photo; None where the
    photo's regions count.

    Raises:
        AnnotationError: what it left is not what Read Text leaves.
    """
    kind = known_kind(task.name, subtask)
    return words_read(annotation.further) if kind and kind.shape == "text" else None


def _meant(annotation: Annotation, task: str, subtask: str) -> tuple[Region, ...]:
    """The regions that an edit of any task is about: as many as its own task has, and none of a kind that is bound to none.
    Of one without a task the only region, since of several nobody says which it is."""
    if task in TASKS:
        return annotation.regions[: TASKS[task].regions]
    if known_kind(INSTRUCT.name, subtask):
        return ()
    return annotation.regions if len(annotation.regions) == 1 else ()


def _words(photo: Photo, task: Task) -> str:
    """The instruction that a photo brings for a task; "" where it brings none."""
    return photo.instruction if photo.words_for in ("", task.name) or task.open else ""


def skipped(source_id: str, error_type: str, message: str, key_of: str | None = None) -> Unusable:
    """What the task cannot use, though nothing is wrong with it."""
    return unusable(source_id, SampleFailure("input", error_type, message, skipped=True), key_of)
