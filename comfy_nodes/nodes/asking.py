"""Questions of a user's own: photos and pairs that their policy does not want, by whatever it names."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import torch
from comfy_api.latest import io

from ..core.verdicts import verdicts
from ..core.verdicts.own_question import Rule, Said
from ..core.verdicts.verdicts import shown, spared
from ..edit_samples.pairs import pair_of
from ..edit_samples.verified import said_before, without_edit
from ..edit_samples.written import failed, node_name, photo_of
from ..vlm import asking
from ..vlm.questions import own_question
from ..wires.sockets import EditSample, Sample, Scores, Vlm

PHOTO = Rule("Can a real person in the photo be recognised by the face?", "yes", "RecognisableFace")
EDIT = Rule("Does the second picture show a watermark or a logo that the first one does not?", "yes", "NewWatermark")
"""What stands in the widgets until somebody types their own. Ours."""

_DROPS = "The answer that drops"
_COUNTED = "A short name under which the run counts"


def _rule_inputs(rule: Rule, what: str) -> list[io.Input]:
    """The widgets of a question.

    Args:
        what: a photo or a pair.
    """
    return [
        io.String.Input(
            "question",
            default=rule.question,
            multiline=True,
            tooltip=f"Your question about the {what}, to be answered by yes or no. It is asked and never obeyed.",
        ),
        io.Combo.Input("drop_if", options=list(get_args(Said)), default=rule.drop_if, tooltip=f"{_DROPS} the {what}."),
        io.String.Input("reason", default=rule.reason, tooltip=f"{_COUNTED} every {what} that is dropped."),
    ]


def _checked(question: str | None, reason: str | None) -> bool | str:
    """What is wrong with the widgets; what another node says is not known yet."""
    try:
        Rule(PHOTO.question if question is None else question, "yes", PHOTO.reason if reason is None else reason)
    except ValueError as error:
        return str(error)
    return True


class AskPhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsAskPhoto",
            display_name="Ask About Photo (VLM)",
            category="editpairs",
            description="Asks a language model a question of your own about the photo, such as for faces, number plates or watermarks. Where the answer is the one that you name, or there is none, the photo is skipped with the reason.",
            search_aliases=["content policy", "safety filter", "face filter", "watermark filter", "vlm question"],
            has_intermediate_output=True,
            inputs=[
                Vlm.Input("vlm", tooltip="The language model, of any profile."),
                Sample.Input("sample", tooltip="What Load Edit Sample or any node behind it gave out."),
                *_rule_inputs(PHOTO, "photo"),
            ],
            outputs=[
                Sample.Output("sample", tooltip="The sample, or with the reason why it is skipped."),
                io.String.Output("report", tooltip="Why it is skipped; empty where it passes."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, question: str | None, reason: str | None) -> bool | str:
        return _checked(question, reason)

    @classmethod
    async def execute(
        cls, vlm: asking.Vlm, sample: EditSample, question: str, drop_if: Said, reason: str
    ) -> io.NodeOutput:
        if sample.failure:
            return io.NodeOutput(sample, "")
        rule = Rule(question, drop_if, reason)
        node = node_name("EditPairsAskPhoto", cls)
        found = await own_question.about_photo(vlm, rule, photo_of(sample), sample.seed, node)
        if found is None:
            return io.NodeOutput(sample, "", ui={"text": ["passes"]})
        out = failed(sample, found, node) if isinstance(found, asking.Failure) else replace(sample, failure=found)
        assert out.failure
        report = f"{out.failure.error_type}: {out.failure.message}"
        return io.NodeOutput(out, report, ui={"text": [report]})


class AskEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsAskEdit",
            display_name="Ask About Edit (VLM)",
            category="editpairs",
            description="Asks a language model a question of your own about a pair. Where the answer is the one that you name the pair is rejected with the reason; where there is none it is unscored. It vouches for no edit.",
            search_aliases=["content policy", "safety filter", "pair question", "custom judge", "vlm question"],
            has_intermediate_output=True,
            inputs=[
                Vlm.Input("vlm", tooltip="The language model, of any profile."),
                Sample.Input("sample", tooltip="The sample with its instruction."),
                io.Image.Input("source", tooltip="The photo before the edit."),
                io.Image.Input("edited", tooltip="The photo after it. A batch is asked about together."),
                *_rule_inputs(EDIT, "pair"),
                Scores.Input(
                    "scores",
                    optional=True,
                    tooltip="What was found before, such as by Verify Pixels. A pair that it rejects is not asked about: the same reason is passed on.",
                ),
            ],
            outputs=[
                Scores.Output(
                    "scores",
                    tooltip="The answer as asked.<reason>, 1 for yes and 0 for no, and the verdict, for Filter Edit Pair.",
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, question: str | None, reason: str | None) -> bool | str:
        return _checked(question, reason)

    @classmethod
    async def execute(
        cls,
        vlm: asking.Vlm,
        sample: EditSample,
        source: torch.Tensor,
        edited: torch.Tensor,
        question: str,
        drop_if: Said,
        reason: str,
        scores: list[verdicts.Scores] | None = None,
    ) -> io.NodeOutput:
        if sample.failure:
            results = [without_edit(sample)]
        else:
            rule = Rule(question, drop_if, reason)
            before = [spared(one) for one in said_before(source, edited, scores)]
            asked = [number for number, rejected in enumerate(before) if rejected is None]
            pairs = [pair_of(sample, source, edited, "", number, False) for number in asked]
            heard = dict(zip(asked, await own_question.about_pairs(vlm, rule, pairs), strict=True))
            results = [rejected or heard[number] for number, rejected in enumerate(before)]
        return io.NodeOutput(results, ui={"text": shown(results)})
