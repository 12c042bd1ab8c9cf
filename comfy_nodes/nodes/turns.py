"""Take Turn: one edit of a dialogue, with the picture that it begins with, for the graph that carries it out."""

from __future__ import annotations

import numpy as np
from comfy_api.latest import io

from ..core.instructions.checks import Unfit
from ..core.instructions.turns import MOST_TURNS
from ..core.instructions.wording import Language
from ..core.regions import rle
from ..edit_samples.turns import Taken, taken_by_batch, taken_by_hand, told_turn
from ..edit_samples.written import node_name, refused
from ..files import dialogues
from ..wires import boxes
from ..wires.inputs import language_input
from ..wires.sockets import EditSample, Sample
from ..wires.tensors import to_mask


class TakeTurn(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsTakeTurn",
            display_name="Take Turn",
            category="editpairs",
            description="Gives out one turn of a dialogue of edits: the picture that it begins with, its region and its instruction. By hand you run turn 1, then 2, then 3.",
            search_aliases=["multi-turn edit", "dialogue", "content memory", "content understanding", "version backtracking", "conversation"],
            has_intermediate_output=True,
            inputs=[
                Sample.Input("sample", tooltip="A sample of task content_memory, content_understanding or version_backtracking."),
                io.Int.Input(
                    "turn",
                    default=1,
                    min=1,
                    max=MOST_TURNS,
                    tooltip="Which turn, by hand. Those before it have to be saved already: run the graph with 1, then with 2, and so on. A batch counts by itself.",
                ),
                io.Int.Input(
                    "turns",
                    default=0,
                    min=0,
                    max=MOST_TURNS,
                    tooltip="How many turns the dialogue has that is written by template, by hand. 0: as many as its kind has. A written plan has its own number.",
                ),
                language_input("Language of the dialogue that is written by template, by hand. The regions' names have to be in it.", optional=True),
                io.String.Input("folder", default="editpairs", optional=True, tooltip="Save Edit Pair's folder, where the pairs of earlier turns lie, by hand."),
            ],
            outputs=[
                Sample.Output("sample", tooltip="The sample as one edit of its own: wire it to what carries it out, and to Save Edit Pair."),
                io.Image.Output("image", tooltip="The picture that the turn begins with."),
                io.Mask.Output("mask", tooltip="The region's mask, as earlier turns left it; all zero where only a box is known."),
                io.BoundingBox.Output("boxes", tooltip="The region's box."),
                io.String.Output("op", tooltip="The turn's operation: add, remove, replace, alter, …"),
                io.String.Output("instruction", tooltip="The turn's own instruction."),
                io.String.Output("dialogue", tooltip="All turns up to this one, a line each, for a judge."),
                io.Image.Output("start", tooltip="The picture that the dialogue began with; of turn 1 the same as image."),
            ],
            hidden=[io.Hidden.unique_id],
        )  # fmt: skip

    @classmethod
    def fingerprint_inputs(cls, turn: int = 1, folder: str = "editpairs", **_inputs: object) -> str:
        return dialogues.fingerprint(folder, turn)

    @classmethod
    def execute(
        cls, sample: EditSample, turn: int, turns: int, language: Language = "en", folder: str = "editpairs"
    ) -> io.NodeOutput:
        if sample.failure:
            return _given(Taken(sample, "", sample.source))
        told = told_turn(sample)
        if told is not None:
            return _given(taken_by_batch(sample, told))
        try:
            return _given(taken_by_hand(sample, turn, turns, language, folder))
        except Unfit as error:
            failed = refused(sample, type(error).__name__, str(error), node_name("EditPairsTakeTurn", cls))
            return _given(Taken(failed, "", sample.source))


def _given(taken: Taken) -> io.NodeOutput:
    sample = taken.sample
    known = sample.region.mask if sample.region else None
    mask = to_mask(rle.decode(known) if known else np.zeros(sample.size[::-1], dtype=bool))
    op = sample.turn.op if sample.turn else ""
    where = boxes.of_region(sample.region)
    words = (op, sample.instruction if op else "", taken.dialogue)
    said = taken.dialogue or (sample.failure.message if sample.failure else "")
    return io.NodeOutput(sample, sample.source, mask, where, *words, taken.start, ui={"text": [said]})
