"""Regions between detector and edit: what they score, and which ones are worth editing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from comfy_api.latest import io

from ..core.graph_names import NO_MODEL
from ..core.regions import eligibility, selection
from ..core.regions.annotation import KINDS, Region, RegionKind
from ..core.regions.eligibility import BACKGROUND_RULES, OBJECT_RULES, RegionRules
from ..models import scorers
from ..wires import boxes as wire
from ..wires.batches import each
from ..wires.inputs import seed_input, share_input
from ..wires.sockets import RegionScorer
from ..wires.tensors import batch_size, item, masks_of, to_bytes

_REPOSITORY = "ImgEdit's repository"


class LoadRegionScorer(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsLoadRegionScorer",
            display_name="Load Region Scorer",
            category="editpairs",
            description="Loads CLIP, which tells whether a crop shows what its name says, and if wanted an aesthetic head on it.",
            search_aliases=["clip score loader", "aesthetic predictor", "clip similarity", "aesthetic score model"],
            inputs=[
                io.Combo.Input(
                    "clip",
                    options=[*scorers.clip_choices(), NO_MODEL],
                    tooltip="A CLIP in hub format (a folder with config.json) in models/clip_vision, text_encoders or grounding. ViT-L/14 for LAION's aesthetic head. none: nothing is scored.",
                ),
                io.Combo.Input(
                    "aesthetic_head",
                    options=[NO_MODEL, *scorers.head_choices()],
                    default=NO_MODEL,
                    tooltip="Weights of an aesthetic head in models/aesthetic, such as LAION's improved-aesthetic-predictor. none: no aesthetic scores.",
                ),
            ],
            outputs=[RegionScorer.Output("scorer", tooltip="For Score Regions.")],
        )

    @classmethod
    def execute(cls, clip: str, aesthetic_head: str) -> io.NodeOutput:
        if clip == NO_MODEL:
            if aesthetic_head != NO_MODEL:
                raise ValueError(f"aesthetic head {aesthetic_head} reads what CLIP sees: choose a CLIP beside it")
            return io.NodeOutput(None)
        return io.NodeOutput(scorers.load(clip, None if aesthetic_head == NO_MODEL else aesthetic_head))


class ScoreRegions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsScoreRegions",
            display_name="Score Regions",
            category="editpairs",
            description="Measures for each box how well the crop fits its name (CLIP), and how pleasant crop and photo look. Kept apart from the detector's score and SAM's IoU.",
            search_aliases=["clip score", "aesthetic score", "region quality", "crop similarity"],
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of them."),
                RegionScorer.Input("scorer", tooltip="From Load Region Scorer. Where that has no CLIP, boxes pass as they are."),
                io.BoundingBox.Input(
                    "boxes", force_input=True, tooltip="Named boxes, a list per image. A box without a label gets no CLIP score."
                ),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="A mask for each box, in the same order over the batch: the crop is then tight around the mask, as in ImgEdit's paper.",
                ),
            ],
            outputs=[
                io.BoundingBox.Output("boxes", tooltip="The boxes with metadata.clip_score (0 to 2.5, a good fit from about 0.6) and metadata.aes_score (about 1 to 10)."),
                io.Float.Output(
                    "aesthetic",
                    is_output_list=True,
                    tooltip="Each photo's own aesthetic score, for Filter Photo; empty values without an aesthetic head.",
                ),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        scorer: scorers.RegionScorer | None,
        boxes: Any,
        masks: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        photos = list(_photos(image, boxes, masks))
        if scorer is None:
            return io.NodeOutput([found for _, found, _ in photos], [None] * len(photos))
        scored, aesthetics = [], []
        for pixels, found, cuts in each(photos):
            height, width = pixels.shape[:2]
            regions = [
                _clipped(region, width, height) for region in wire.regions([found], cuts, "object", width, height)
            ]
            crops = [_crop(pixels, box, cut) for box, cut in zip(regions, _none_for(cuts, regions), strict=True)]
            seen = [number for number, crop in enumerate(crops) if crop.size]
            names = [regions[number].class_name or "" for number in seen]
            clip = dict(zip(seen, scorer.clip_scores([crops[number] for number in seen], names), strict=True))
            rated = scorer.aesthetic_scores([pixels, *(crops[number] for number in seen)])
            aes = dict(zip(seen, rated[1:], strict=True))
            scored.append(
                [
                    wire.with_metadata(box, clip_score=clip.get(number), aes_score=aes.get(number))
                    for number, box in enumerate(found)
                ]
            )
            aesthetics.append(rated[0])
        return io.NodeOutput(scored, aesthetics)


class SelectRegions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsSelectRegions",
            display_name="Select Regions (policy)",
            category="editpairs",
            description="Keeps the regions that are worth editing by ImgEdit's rules, and says of every other one why it was left out.",
            search_aliases=["region policy", "filter boxes", "filter detections", "eligible regions", "hybrid pair"],
            has_intermediate_output=True,
            inputs=[
                io.Image.Input("image", tooltip="The photo, or a batch of them; only its size counts."),
                io.BoundingBox.Input("boxes", force_input=True, tooltip="Boxes with their scores, a list per image."),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="A mask for each box, in the same order over the batch. The area is then the mask's, not the box's as in ImgEdit's repository.",
                ),
                io.Combo.Input("kind", options=list(KINDS), default="object", tooltip="Which rules apply: those for objects or those for backgrounds."),
                io.Combo.Input(
                    "choose",
                    options=list(selection.CHOICES),
                    default="all",
                    tooltip="all: every eligible region. one: one of them. pair: two of different names with a gap between them, for hybrid edits.",
                ),
                seed_input("Picks the one or the pair; the same seed, the same pick."),
                *_rule_inputs("object", OBJECT_RULES),
                *_rule_inputs("background", BACKGROUND_RULES),
                io.Int.Input(
                    "max_namesakes",
                    default=eligibility.MAX_NAMESAKES,
                    min=0,
                    max=1000,
                    optional=True,
                    advanced=True,
                    tooltip="More regions than this with one name, their names proven by scores, are ambiguous and left out; 0 is no limit. Ours.",
                ),
                io.Float.Input(
                    "pair_gap",
                    default=round(eligibility.MIN_GAP * 100, 4),
                    min=0.0,
                    max=100.0,
                    step=0.0001,
                    optional=True,
                    advanced=True,
                    tooltip="The boxes of a pair are farther apart than this, in per cent of the photo's shorter side. Ours: the 100 pixels of ImgEdit's repository on its smallest photos (shorter side 1280).",
                ),
                *(
                    share_input(f"{one}_min_iou", eligibility.RULES[one].min_iou, f"Where SAM was asked, it expects its mask's IoU to be at least this. {_REPOSITORY}, which takes it for the detector's score. 0: off.", optional=True, advanced=True)
                    for one in KINDS
                ),
            ],
            outputs=[
                io.BoundingBox.Output("boxes", tooltip="The boxes that were kept, a list per image."),
                io.Mask.Output("masks", tooltip="Their masks, in the same order. One empty mask where there are none."),
                io.String.Output("report", tooltip="A line for each region: kept, or why not."),
            ],
        )  # fmt: skip

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        boxes: Any,
        kind: RegionKind,
        choose: selection.Choose,
        seed: int,
        masks: torch.Tensor | None = None,
        max_namesakes: int = eligibility.MAX_NAMESAKES,
        pair_gap: float = eligibility.MIN_GAP * 100,
        **numbers: float,
    ) -> io.NodeOutput:
        rules = {one: _rules(one, numbers, max_namesakes) for one in KINDS}
        kept, kept_masks, lines = [], [], []
        photos = list(_photos(image, boxes, masks))
        for index, (pixels, found, cuts) in enumerate(photos):
            height, width = pixels.shape[:2]
            regions = [_clipped(region, width, height) for region in wire.regions([found], cuts, kind, width, height)]
            chosen = selection.select(regions, width, height, choose, seed + index, rules, pair_gap / 100)
            kept.append([found[number] for number in chosen.kept])
            kept_masks += [cuts[number] for number in chosen.kept] if cuts is not None else []
            prefix = f"photo {index + 1}, " if len(photos) > 1 else ""
            lines += [
                f"{prefix}{region.class_name or kind} {number + 1}: {reason or 'kept'}"
                for number, (region, reason) in enumerate(zip(regions, chosen.reasons, strict=True))
            ] or [f"{prefix}no regions"]
        report = "\n".join(lines)
        stacked = torch.stack(kept_masks) if kept_masks else torch.zeros((1, *image.shape[1:3]))
        return io.NodeOutput(kept, stacked, report, ui={"text": [report]})


def _rule_inputs(kind: RegionKind, rules: RegionRules) -> list[io.Input]:
    """The widgets of one kind's rules; names are the kind and `RegionRules`' fields."""
    shares = {
        "above_share": f"{kind.capitalize()}s cover more than this many per cent of the photo. {_REPOSITORY}{', and its paper' if kind == 'background' else ''}.",
        "max_share": f"{kind.capitalize()}s cover at most this many per cent of the photo. {_REPOSITORY}.",
        "sure_share": f"{kind.capitalize()}s from this many per cent of the photo on may prove their name by the detector's score alone. {_REPOSITORY}.",
    }
    whose = "an object's" if kind == "object" else "a background's"
    imgedits = 0.8 if kind == "object" else 0.7
    scores = {
        "min_clip": f"A CLIP score from here on proves {whose} name. Ours; {_REPOSITORY} has {imgedits}, which few crops reach.",
        "sure_score": "A detector's score from here on proves the name of a large enough region. Ours.",
    }
    return [
        *(
            io.Float.Input(
                f"{kind}_{name}",
                default=getattr(rules, name) * 100,
                min=0.0,
                max=100.0,
                step=0.1,
                optional=True,
                advanced=True,
                tooltip=tooltip,
            )
            for name, tooltip in shares.items()
        ),
        *(
            io.Float.Input(
                f"{kind}_{name}",
                default=getattr(rules, name),
                min=0.0,
                max=2.5,
                step=0.01,
                optional=True,
                advanced=True,
                tooltip=tooltip,
            )
            for name, tooltip in scores.items()
        ),
    ]


def _rules(kind: RegionKind, numbers: dict[str, float], max_namesakes: int) -> RegionRules:
    """The rules that the widgets of one kind say; what no widget says is the default."""
    known = eligibility.RULES[kind]

    def value(name: str) -> float:
        given = numbers.get(f"{kind}_{name}")
        if given is None:
            return float(getattr(known, name))
        return given / 100 if name.endswith("share") else given

    return RegionRules(
        above_share=value("above_share"),
        max_share=value("max_share"),
        min_clip=value("min_clip"),
        sure_share=value("sure_share"),
        sure_score=value("sure_score"),
        min_iou=value("min_iou"),
        max_namesakes=max_namesakes,
    )


def _photos(
    image: torch.Tensor, boxes: Any, masks: torch.Tensor | None
) -> Iterator[tuple[np.ndarray, list[dict[str, Any]], torch.Tensor | None]]:
    """Each photo's pixels uint8 [H, W, 3], its boxes, and their masks [N, H, W] or None."""
    frames = wire.frames(boxes) or [[]]
    total = sum(len(frame) for frame in frames)
    cuts = None if masks is None or not total else masks_of(masks)
    if cuts is not None and len(cuts) != total:
        raise ValueError(f"{total} boxes, but {len(cuts)} masks: send a mask for each box, not united")
    start = 0
    for index in range(batch_size(image=image, boxes=frames)):
        frame = item(frames, index)
        own = None if cuts is None else cuts[start : start + len(frame)]
        # One list of boxes for many photos has its masks only once.
        start += len(frame) if len(frames) > 1 else 0
        yield to_bytes(item(image, index)), frame, own


def _clipped(region: Region, width: int, height: int) -> Region:
    """The region with its box inside the photo; without area where none of it is."""
    x1, y1, x2, y2 = region.bbox
    left, top = min(max(x1, 0.0), width), min(max(y1, 0.0), height)
    box = (left, top, max(left, min(x2, width)), max(top, min(y2, height)))
    return region.model_copy(update={"bbox": box})


def _none_for(cuts: torch.Tensor | None, regions: list[Region]) -> list[torch.Tensor | None]:
    return [None] * len(regions) if cuts is None else list(cuts)


def _crop(pixels: np.ndarray, region: Region, cut: torch.Tensor | None) -> np.ndarray:
    """The part of the photo that the region shows, uint8 [h, w, 3]; without pixels where it lies outside."""
    x1, y1, x2, y2 = region.bbox
    if cut is not None and (cut > 0).any():
        x1, y1, x2, y2 = wire.corners(wire.of_mask((cut > 0).cpu().numpy()))
    return pixels[int(np.floor(y1)) : int(np.ceil(y2)), int(np.floor(x1)) : int(np.ceil(x2))]
