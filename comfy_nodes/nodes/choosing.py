"""What acts on scores: a policy of thresholds that marks an edit, and the best edit of several."""

from __future__ import annotations

import torch
from comfy_api.latest import io

from ..core.verdicts import thresholds
from ..core.verdicts.verdicts import Scores as Found
from ..core.verdicts.verdicts import shown
from ..wires.inputs import scores_input
from ..wires.sockets import Scores
from ..wires.tensors import batch_size, item, masks_of

EXAMPLE = "# one threshold a line\n# judge.instruction_following >= 3\n# pixel.outside_mean <= 2\n"


class FilterPair(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsFilterPair",
            display_name="Filter Edit Pair",
            category="editpairs",
            description="Makes one verdict of all scores by a policy of thresholds. It marks an edit as keep, reject or unscored with the reason, and never stops a graph.",
            search_aliases=["threshold", "quality filter", "keep or reject", "score policy", "dataset filter"],
            has_intermediate_output=True,
            inputs=[
                io.String.Input(
                    "policy",
                    default=EXAMPLE,
                    multiline=True,
                    tooltip="A threshold to a line: a score's name, one of >= <= == > <, and a number. What follows # is a comment. Empty: the verifiers' own verdicts.",
                ),
                io.Boolean.Input(
                    "verdicts",
                    default=True,
                    optional=True,
                    label_on="count too",
                    label_off="thresholds alone",
                    tooltip="Whether the verifiers' own verdicts count beside the thresholds.",
                ),
                scores_input("What verify nodes found, any number; a muted one is left out."),
            ],
            outputs=[
                Scores.Output("scores", tooltip="All scores as one, with the policy's verdict, for Save Edit Pair."),
                io.String.Output("table", tooltip="Every threshold with the score's value: ok, failed or missing."),
            ],
        )

    @classmethod
    def execute(
        cls, policy: str, verdicts: bool = True, scores: dict[str, list[Found] | None] | None = None
    ) -> io.NodeOutput:
        wanted = thresholds.parse(policy)
        given = {name: one for name, one in (scores or {}).items() if one}
        count = batch_size(**given)
        results, tables = [], []
        for index in range(count):
            own = [item(one, index) for one in given.values()]
            decided, rows = thresholds.decide(own, wanted, verdicts)
            results.append(decided)
            tables.append(thresholds.table(rows))
        return io.NodeOutput(results, "\n\n".join(tables), ui={"text": shown(results, tables)})


class PickBest(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsPickBest",
            display_name="Pick Best Edit",
            category="editpairs",
            description="Gives the best image of a batch of edits: by a score that you name, or by verdict and then by what judges scored.",
            search_aliases=["best of n", "choose image", "select by score", "rank edits", "batch best"],
            has_intermediate_output=True,
            inputs=[
                io.Image.Input("edited", tooltip="The edits, a batch."),
                Scores.Input("scores", tooltip="What was found of each of them."),
                io.Mask.Input("edit_mask", optional=True, tooltip="Their masks: one each, or one for all."),
                io.String.Input(
                    "by",
                    default="",
                    optional=True,
                    tooltip="Name of the score that decides, such as judge.overall; the highest wins, an edit without it comes last. Empty: keep before unscored before reject, then the mean of a judge's scores.",
                ),
            ],
            outputs=[
                io.Image.Output("image", tooltip="The best edit."),
                io.Mask.Output("edit_mask", tooltip="Its mask; without a mask wired in, the whole image."),
                Scores.Output("scores", tooltip="What was found of it."),
                io.Int.Output("index", tooltip="Its place in the batch, from 0. Of equals the first."),
            ],
        )

    @classmethod
    def execute(
        cls,
        edited: torch.Tensor,
        scores: list[Found],
        edit_mask: torch.Tensor | None = None,
        by: str = "",
    ) -> io.NodeOutput:
        masks = torch.ones(1, *edited.shape[1:3]) if edit_mask is None else masks_of(edit_mask)
        count = batch_size(edited=edited, scores=scores, edit_mask=masks)
        each = [item(scores, index) for index in range(count)]
        name = by.strip()
        best = max(range(count), key=lambda index: thresholds.standing(each[index], name))
        chosen = each[best]
        told = f"picked {best} of {count} by {name or 'verdict and judge'}"
        if name and name not in chosen.values:
            told += f", although no edit has a score {name}"
        return io.NodeOutput(
            item(edited, best)[None], item(masks, best)[None], [chosen], best, ui={"text": shown([chosen], [told])}
        )
