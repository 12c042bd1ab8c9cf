"""Models that look at an edit: was it made as its instruction says, and how good is it?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import torch
from comfy_api.latest import io

from ..core.verdicts import erasing, rubrics, verdicts
from ..core.verdicts.claims import Relabelling, Verified, filed
from ..core.verdicts.verdicts import shown, spared
from ..edit_samples.pairs import pair_of
from ..edit_samples.verified import said_before, without_edit
from ..vlm import asking
from ..vlm.questions import judge, new_things, verifier
from ..vlm.questions.edited_pair import EditedPair
from ..wires.sockets import EditSample, Sample, Scores, Vlm

_BEFORE = "What was found before, such as by Verify Pixels. An edit that it rejects is not asked about: the same reason is passed on."


class VerifyEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsVerifyEdit",
            display_name="Verify Edit (Qwen-Verify protocol)",
            category="editpairs",
            description="Has a language model say what changed and whether that is the edit. An edit that was not made is rejected, one that was described wrongly gets its instruction restated.",
            search_aliases=["qwen-verify", "vlm filter", "recaption edit", "instruction restatement", "unicedit"],
            has_intermediate_output=True,
            inputs=[
                Vlm.Input("vlm", tooltip="The language model; any Qwen2.5-VL will do, and so will a service."),
                Sample.Input("sample", tooltip="The sample with its instruction."),
                io.Image.Input("source", tooltip="The photo before the edit."),
                io.Image.Input("edited", tooltip="The photo after it. A batch is asked about together."),
                io.String.Input(
                    "instruction",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="The initial instruction. Empty: the sample's.",
                ),
                Scores.Input("scores", optional=True, tooltip=_BEFORE),
                io.Boolean.Input(
                    "difference",
                    default=False,
                    optional=True,
                    tooltip="Send the pixels' difference along as a grey picture. Ours, in place of the paper's differential context, which is not published.",
                ),
                io.Combo.Input(
                    "other_task",
                    options=list(get_args(Relabelling)),
                    default="relabel",
                    optional=True,
                    tooltip="Where the restated instruction asks for another task, as a replacement in the place of a removal: give the row that task, or reject the edit.",
                ),
            ],
            outputs=[
                Scores.Output("scores", tooltip="Numbers, verdict and restated instruction, for Save Edit Pair."),
                io.String.Output("restated", tooltip="The instruction as it stands now, a line for each image; empty where the edit is rejected or unscored."),
                io.String.Output("report", tooltip="The model's findings as JSON, a line for each image; empty where there are none."),
            ],
        )  # fmt: skip

    @classmethod
    async def execute(
        cls,
        vlm: asking.Vlm,
        sample: EditSample,
        source: torch.Tensor,
        edited: torch.Tensor,
        instruction: str = "",
        scores: list[verdicts.Scores] | None = None,
        difference: bool = False,
        other_task: Relabelling = "relabel",
    ) -> io.NodeOutput:
        if sample.failure:
            found = [Verified(without_edit(sample), "", "")]
        else:
            before = [spared(one) for one in said_before(source, edited, scores)]
            asked = [number for number, rejected in enumerate(before) if rejected is None]
            pairs = [pair_of(sample, source, edited, instruction, number, difference) for number in asked]
            said = [
                filed(one, sample.task, pair.instruction, other_task)
                for one, pair in zip(await verifier.verify(vlm, pairs), pairs, strict=True)
            ]
            looked = await _looked(vlm, sample, [one.scores for one in said], pairs, "verify")
            said = [
                Verified(scores, one.instruction if scores.verdict == "keep" else "", one.report)
                for one, scores in zip(said, looked, strict=True)
            ]
            heard = dict(zip(asked, said, strict=True))
            found = [
                heard[number] if rejected is None else Verified(rejected, "", "")
                for number, rejected in enumerate(before)
            ]
        results = [one.scores for one in found]
        lines = ["\n".join(part) for part in ([one.instruction for one in found], [one.report for one in found])]
        return io.NodeOutput(results, *lines, ui={"text": shown(results)})


class JudgeEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsJudgeEdit",
            display_name="Judge Edit",
            category="editpairs",
            description="Has a language model score the edit by a published rubric or one of ours. A reply that cannot be read leaves the edit unscored, with the model's words kept.",
            search_aliases=["vlm judge", "imgedit judge", "edit score", "gpt score", "viescore", "rubric"],
            has_intermediate_output=True,
            inputs=[
                Vlm.Input("vlm", tooltip="The language model that judges."),
                Sample.Input("sample", tooltip="The sample with its instruction; its task and subtask choose the rubric."),
                io.Image.Input("source", tooltip="The photo before the edit."),
                io.Image.Input("edited", tooltip="The photo after it. A batch is asked about together."),
                io.Combo.Input(
                    "rubric",
                    options=[rubrics.AUTO, *rubrics.TABLE],
                    default=rubrics.AUTO,
                    tooltip="auto: the one for the sample's kind of edit. imgedit filter, scaleedit, unicbench: one for all kinds. multi_turn: for a whole dialogue, with Take Turn's start as source and its dialogue as instruction; a first turn is not asked about.",
                ),
                io.String.Input(
                    "instruction",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="What the edit is judged by. Empty: what the scores' verifier restated, or else the sample's instruction.",
                ),
                Scores.Input("scores", optional=True, tooltip=_BEFORE),
                io.Boolean.Input(
                    "expected",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="Score by the probabilities of the digits instead of a drawn digit: finer, and the same each time. Needs Load VLM (local weights), and a question for each score.",
                ),
                io.String.Input(
                    "reasoning_points",
                    default="",
                    multiline=True,
                    optional=True,
                    advanced=True,
                    tooltip="What a right edit shows, a line each, for the score of its reasoning alone. Empty: the sample's own reasoning_points.",
                ),
            ],
            outputs=[
                Scores.Output("scores", tooltip="Numbers, verdict and the model's words, for Save Edit Pair."),
                io.String.Output("report", tooltip="The model's words, a paragraph for each image."),
            ],
        )  # fmt: skip

    @classmethod
    async def execute(
        cls,
        vlm: asking.Vlm,
        sample: EditSample,
        source: torch.Tensor,
        edited: torch.Tensor,
        rubric: str,
        instruction: str = "",
        scores: list[verdicts.Scores] | None = None,
        expected: bool = False,
        reasoning_points: str = "",
    ) -> io.NodeOutput:
        if sample.failure:
            results, words = [without_edit(sample)], [""]
        else:
            earlier = [one or verdicts.UNVERIFIED for one in said_before(source, edited, scores)]
            before = [spared(one) or _no_dialogue_yet(sample, rubric) for one in earlier]
            asked = [number for number, rejected in enumerate(before) if rejected is None]
            cases = []
            for number in asked:
                told = earlier[number]
                points = tuple(reasoning_points.splitlines()) or sample.points
                kind = "" if told.task or sample.turn else sample.provenance.subtask
                row = rubrics.rubric_for(rubric, told.task or sample.task, kind, bool(points))
                asked_for = instruction or told.restated
                if row.of_dialogue and told.restated:  # its last turn is in other words now
                    asked_for = told.restated.join(instruction.rsplit(sample.instruction, 1)) or asked_for
                pair = pair_of(sample, source, edited, asked_for, number, False)
                cases.append(judge.Case(pair, row, points))
            judged = await (judge.judge_expected if expected else judge.judge)(vlm, cases)
            replies = {number: one.judge.reply for number, one in zip(asked, judged, strict=True) if one.judge}
            words = [replies.get(number, "") for number in range(len(before))]
            if not _of_dialogue(rubric):
                known = [earlier[number] for number in asked]
                judged = await _looked(vlm, sample, judged, [case.pair for case in cases], "judge", known)
            heard = dict(zip(asked, judged, strict=True))
            results = [rejected or heard[number] for number, rejected in enumerate(before)]
        return io.NodeOutput(results, "\n\n".join(words), ui={"text": shown(results)})


def _of_dialogue(rubric: str) -> bool:
    return rubric in rubrics.TABLE and rubrics.TABLE[rubric].of_dialogue


def _no_dialogue_yet(sample: EditSample, rubric: str) -> verdicts.Scores | None:
    """What a judge of dialogues says of a first turn, which is no more than its own edit; None of all others."""
    first = sample.turn is not None and sample.turn.number == 1
    return verdicts.Scores({}, "keep") if first and _of_dialogue(rubric) else None


async def _looked(
    vlm: asking.Vlm,
    sample: EditSample,
    found: Sequence[verdicts.Scores],
    pairs: Sequence[EditedPair],
    verifier: str,
    known: Sequence[verdicts.Scores] | None = None,
) -> list[verdicts.Scores]:
    """The verdicts, after a look for new things at edits that erase and were kept.

    Args:
        verifier: whose verdicts they are, as its scores are named.
        known: what was found before of each: who looked already does not look again.
    """
    steps = [step.op for step in sample.writing.steps] if sample.writing else []
    erasures: dict[int, new_things.Erasure] = {}
    for number, (one, pair, earlier) in enumerate(zip(found, pairs, known or found, strict=True)):
        other = one.task or earlier.task
        erased = erasing.erased_from(other) if other else erasing.erased_from(sample.task, steps)
        if erased and one.verdict == "keep" and erasing.NEW_THINGS not in earlier.values:
            words = one.restated if one.task else pair.instruction
            erasures[number] = new_things.Erasure(replace(pair, instruction=words), erased)
    looked = dict(zip(erasures, await new_things.look(vlm, list(erasures.values())), strict=True))
    return [
        erasing.with_look(one, looked[number], verifier) if number in looked else one
        for number, one in enumerate(found)
    ]
