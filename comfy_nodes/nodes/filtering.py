"""Photos that are worth editing at all."""

from __future__ import annotations

from dataclasses import replace

import torch
from comfy_api.latest import io
from PIL import Image

from ..core.photo_filter import KONTEXT_BUCKETS, SKIPPED_AS, Drop, PhotoFilter, PhotoRules
from ..core.records import SampleFailure
from ..core.regions import line
from ..wires.sockets import EditSample, Sample
from ..wires.tensors import to_bytes

DEFAULTS = PhotoRules()


class FilterPhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsFilterPhoto",
            display_name="Filter Photo",
            category="editpairs",
            description="Says whether a photo is large, well-shaped and pleasant enough to edit, and no copy of an earlier one in the list. Every photo is passed on, with the verdict beside it; a sample of one that does not pass ends here.",
            search_aliases=["photo quality", "duplicate photos", "aesthetic filter", "resolution filter", "dedupe"],
            has_intermediate_output=True,
            is_input_list=True,
            inputs=[
                io.Image.Input("image", tooltip="Photos: one, a batch, or a list of different sizes."),
                io.Float.Input(
                    "aesthetic",
                    force_input=True,
                    optional=True,
                    tooltip="Each photo's aesthetic score, from Score Regions. Without it, aesthetics are not judged.",
                ),
                io.Float.Input(
                    "above_aesthetic",
                    default=DEFAULTS.above_aesthetic,
                    min=0.0,
                    max=10.0,
                    step=0.05,
                    tooltip="The aesthetic score has to exceed this. 4.75: ImgEdit's paper (5.0 in its repository). 0: off.",
                ),
                io.Int.Input(
                    "above_short_side",
                    default=DEFAULTS.above_short_side,
                    min=0,
                    max=16384,
                    tooltip="The shorter side has to exceed this many pixels. 1280: ImgEdit's paper (512 in its repository). 0: off.",
                ),
                io.Float.Input(
                    "max_crop",
                    default=20.0,
                    min=0.0,
                    max=100.0,
                    step=1.0,
                    tooltip=f"At most this many per cent may be lost by cropping to the nearest of FLUX.1 Kontext's {len(KONTEXT_BUCKETS)} sizes. 20: UnicEdit's paper. 100: off.",
                ),
                io.Int.Input(
                    "max_distance",
                    default=4,
                    min=-1,
                    max=16,
                    tooltip="A photo whose perceptual hash differs from an earlier one's in at most this many of 64 bits is a copy. Ours. -1: off.",
                ),
                Sample.Input(
                    "sample",
                    optional=True,
                    tooltip="The photo's sample, where it is one photo. Not passed, it is skipped with the reason.",
                ),
            ],
            outputs=[
                io.Image.Output("image", is_output_list=True, tooltip="The photos, one by one."),
                io.Boolean.Output("passed", is_output_list=True, tooltip="For each photo whether it passes."),
                io.String.Output("reason", is_output_list=True, tooltip="Why it does not; empty where it passes."),
                Sample.Output(
                    "sample", is_output_list=True, tooltip="The sample, or with the reason why it is skipped."
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        image: list[torch.Tensor],
        above_aesthetic: list[float],
        above_short_side: list[int],
        max_crop: list[float],
        max_distance: list[int],
        aesthetic: list[float | None] | None = None,
        sample: list[EditSample] | None = None,
    ) -> io.NodeOutput:
        photos = [one for batch in image for one in batch[:, None]]
        known = aesthetic or [None]
        if len(known) not in (1, len(photos)):
            raise ValueError(f"{len(photos)} photos, but {len(known)} aesthetic scores: give one for each")
        if sample and len(sample) != len(photos):
            raise ValueError(f"{len(photos)} photos, but {len(sample)} samples: give one for each")
        judge = PhotoFilter(
            PhotoRules(
                above_aesthetic=above_aesthetic[0],
                above_short_side=above_short_side[0],
                max_crop=max_crop[0] / 100,
                max_distance=max_distance[0] if max_distance[0] >= 0 else None,
            )
        )
        drops = [
            judge.judge(Image.fromarray(to_bytes(photo[0])), f"photo {number + 1}", known[number % len(known)])
            for number, photo in enumerate(photos)
        ]
        reasons = ["" if drop is None else f"{drop.reason}: {drop.message}" for drop in drops]
        lines = [f"photo {number + 1}: {reason or 'passes'}" for number, reason in enumerate(reasons)]
        judged = [
            _judged(one, drop, known[number % len(known)])
            for number, (one, drop) in enumerate(zip(sample or [], drops, strict=bool(sample)))
        ]
        return io.NodeOutput(photos, [drop is None for drop in drops], reasons, judged, ui={"text": lines})


def _judged(sample: EditSample, drop: Drop | None, aesthetic: float | None) -> EditSample:
    """The sample with its aesthetic score, or with why it is left out."""
    if sample.failure or (drop is None and aesthetic is None):
        return sample
    if drop is None:
        return replace(sample, further={**sample.further, line.AESTHETIC: round(float(aesthetic or 0), 4)})
    why = SampleFailure("annotate", SKIPPED_AS[drop.reason], f"the photo {drop.message}", skipped=True)
    return replace(sample, failure=why)
