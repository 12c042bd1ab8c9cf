"""Detectors as witnesses of an edit: is the thing gone, there, or another one, and are bystanders as they were?"""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..core.boxes import Box
from ..core.regions.people import about_people
from ..core.tasks import TASKS
from ..core.verdicts import verdicts, witnesses
from ..core.verdicts.verdicts import shown, spared
from ..edit_samples.verified import one_frame, placed, said_before, without_edit
from ..edit_samples.written import step_of
from ..models.detections import BoxRules
from ..models.detections import Grounder as Detector
from ..wires.inputs import share_input
from ..wires.sockets import EditSample, Grounder, Sample, Scores
from ..wires.tensors import item, to_bytes

THRESHOLD = 0.25
"""transformers' own for Grounding DINO."""

LOCAL_TASKS = ("add", "remove", "replace", "alter", "visual", "hybrid")
"""Tasks that leave everybody outside their regions alone."""


class Witness(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsWitness",
            display_name="Check Objects (Detector)",
            category="editpairs",
            description="Has a detector weigh: after a removal the thing is no longer found, after an addition it is, after a replacement the new one and not the old. People outside the region must look as before.",
            search_aliases=[
                "object verification",
                "detector verification",
                "witness",
                "grounding check",
                "count check",
            ],
            has_intermediate_output=True,
            inputs=[
                Grounder.Input("grounder", tooltip="From Load YOLO-World or Load Grounder (transformers)."),
                Sample.Input("sample", tooltip="The sample: its task, region and names say what to look for."),
                io.Image.Input("source", tooltip="The photo before the edit."),
                io.Image.Input("edited", tooltip="The photo after it, of the same size."),
                io.String.Input(
                    "new_object",
                    default="",
                    optional=True,
                    tooltip="English name of what a replacement puts there. Empty: taken from the written target, up to its first preposition.",
                ),
                Scores.Input(
                    "scores",
                    optional=True,
                    tooltip="What was found before, such as by Verify Pixels. It is passed on where the detector has nothing to say, and what it rejects is not looked at.",
                ),
                share_input(
                    "score_threshold",
                    THRESHOLD,
                    "Confidence from which a thing counts as found. transformers' own: 0.25 for Grounding DINO, 0.1 for OWLv2.",
                    step=0.005,
                    round=0.0001,
                ),
                share_input(
                    "min_overlap",
                    witnesses.MIN_OVERLAP,
                    "Least overlap (intersection over union) of a find with the region. Lower it where new things are smaller or larger than the old one.",
                    step=0.05,
                ),
                io.Float.Input(
                    "max_people_change",
                    default=witnesses.MAX_BYSTANDER_CHANGE,
                    min=0.0,
                    max=255.0,
                    step=1.0,
                    optional=True,
                    advanced=True,
                    tooltip="Most mean difference, in levels of 0 to 255, of the box of a person outside the region. Pixels in place, no face recognition. 255: people are not looked for.",
                ),
            ],
            outputs=[
                Scores.Output("scores", tooltip="Confidences and verdict, for Save Edit Pair."),
                io.String.Output("report", tooltip="What was asked of the detector, and what it found in each image."),
            ],
        )

    @classmethod
    def execute(
        cls,
        grounder: Detector,
        sample: EditSample,
        source: torch.Tensor,
        edited: torch.Tensor,
        score_threshold: float,
        min_overlap: float,
        new_object: str = "",
        scores: list[verdicts.Scores] | None = None,
        max_people_change: float = witnesses.MAX_BYSTANDER_CHANGE,
    ) -> io.NodeOutput:
        if sample.failure:
            failed = [without_edit(sample)]
            return io.NodeOutput(failed, "", ui={"text": shown(failed)})
        earlier = said_before(source, edited, scores)
        width, height = one_frame(sample, source, edited)
        questions = _questions(sample, new_object, width, height)
        whole = witnesses.says_all(questions, max(len(sample.writing.steps), 1) if sample.writing else 1)
        people = max_people_change < 255 and _leaves_people_alone(sample, questions)
        names = list(dict.fromkeys(name for one in questions for name in one.names))
        if people:
            names.append(witnesses.PERSON)
        passed = [spared(one) for one in earlier]
        live = [index for index, rejected in enumerate(passed) if rejected is None]
        befores = _found(grounder, source, live, names, score_threshold)
        things = [name for name in names if name != witnesses.PERSON]
        afters = _found(grounder, edited, live, things, score_threshold)
        results, reports = [], []
        for index, rejected in enumerate(passed):
            if rejected is not None:
                results.append(rejected)
                reports.append("rejected before, not looked at")
                continue
            before, after = befores[index], afters[index]
            values, verdict, reason = witnesses.weigh(questions, before, after, min_overlap)
            if people:
                changed = _people(sample, item(source, index), item(edited, index), before)
                values["witness.people_change"] = changed
                if changed > max_people_change:
                    told = f"a person outside the region changed by {changed:.1f} levels on average"
                    reason = f"{reason}; {told}" if verdict == "reject" else told
                    verdict = "reject"
            silent = not questions and verdict != "reject"
            results.append(
                _nothing_to_say(sample, earlier[index]) if silent else witnesses.scores(values, verdict, reason, whole)
            )
            reports.append(_report(questions, before, after))
        return io.NodeOutput(results, "\n\n".join(reports), ui={"text": shown(results)})


def _questions(sample: EditSample, new_object: str, width: int, height: int) -> list[witnesses.Inquiry]:
    """What the sample's operations ask of a detector; none where they concern no thing that comes or goes, where
    nobody named it, and of tasks of several turns, since a pair shows them all at once."""
    task = TASKS.get(sample.task)
    if task and task.turns > 1:
        return []
    written = len(sample.writing.steps) if sample.writing else 0
    questions = []
    for number in range(1, max(written, 1) + 1):
        step, region = step_of(sample, number)
        old = ((region.class_name if region else "") or step.object).strip()
        if step.op not in witnesses.TESTIFYING or region is None or not old:
            continue
        new = ""
        if step.op == "replace":
            new = new_object.strip() or witnesses.thing_of(step.target if written else "")
        same = new.casefold() == old.casefold()
        questions.append(witnesses.Inquiry(step.op, old, "" if same else new, placed(region, sample, width, height)))
    return questions


def _leaves_people_alone(sample: EditSample, questions: list[witnesses.Inquiry]) -> bool:
    named = [one.class_name or "" for one in sample.regions] + [name for one in questions for name in one.names]
    return sample.task in LOCAL_TASKS and bool(sample.regions) and not about_people(named)


def _found(
    grounder: Detector, images: torch.Tensor, wanted: list[int], names: list[str], score_threshold: float
) -> dict[int, list[witnesses.Find]]:
    """Everything of these names in the images of these numbers; a single image is that of all numbers."""
    place = {index: index if images.shape[0] > 1 else 0 for index in wanted}
    looked = sorted(set(place.values())) if names else []
    frames = (
        grounder.detect([to_bytes(images[one]) for one in looked], names, BoxRules(score=score_threshold))
        if looked
        else []
    )
    finds = {
        number: [witnesses.Find(one.label, one.box, one.score or 0.0) for one in frame]
        for number, frame in zip(looked, frames, strict=True)
    }
    return {index: finds.get(number, []) for index, number in place.items()}


def _people(sample: EditSample, source: torch.Tensor, edited: torch.Tensor, before: list[witnesses.Find]) -> float:
    """How much the people outside the regions changed."""
    first, second = to_bytes(source), to_bytes(edited)
    regions = [placed(one, sample, first.shape[1], first.shape[0]) for one in sample.regions]
    return witnesses.largest_change(first, second, witnesses.bystanders(before, regions))


def _nothing_to_say(sample: EditSample, earlier: verdicts.Scores | None) -> verdicts.Scores:
    """What was found before, so that the witness adds nothing; alone it leaves the edit unscored."""
    if earlier is not None:
        return verdicts.Scores({}, earlier.verdict, earlier.reason, voices=earlier.voices)
    return verdicts.Scores(
        {},
        "unscored",
        f"witness: a detector has nothing to say on this {sample.task}; wire what was found before to scores",
    )


def _report(questions: list[witnesses.Inquiry], before: list[witnesses.Find], after: list[witnesses.Find]) -> str:
    """What was asked and found, in words."""
    lines = [f"{one.op}: {' -> '.join(one.names)} at {_corners(one.region)}" for one in questions]
    for when, finds in (("before", before), ("after", after)):
        lines += [f"{when}: {one.name} {one.score:.2f} at {_corners(one.box)}" for one in finds]
    return "\n".join(lines)


def _corners(box: Box) -> str:
    return ", ".join(f"{corner:.0f}" for corner in box)
