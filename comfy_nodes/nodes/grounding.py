"""Finding what a vocabulary names: loaders of grounders, and the node that detects with any of them."""

from __future__ import annotations

from typing import get_args

import torch
from comfy_api.latest import io

from ..core.regions.annotation import RegionKind
from ..edit_samples.tagged import names_for
from ..models import checkpoints, folders
from ..models.detections import BoxRules, Order
from ..models.detections import Grounder as Detector
from ..models.queries import checked
from ..models.yolo_architecture import DEFAULT_SIDE
from ..wires import box_formats
from ..wires.inputs import most_boxes_input, per_name_input, share_input, tags_inputs, vocabulary_input
from ..wires.sockets import EditSample, Grounder
from ..wires.tensors import to_bytes

YOLO_FOLDERS = ("yolo_world", "ultralytics")
TEXT_FOLDERS = ("text_encoders", "yolo_world")
GROUNDER_FOLDERS = ("grounding",)


class LoadYoloWorld(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsLoadYoloWorld",
            display_name="Load YOLO-World",
            category="editpairs",
            description="Loads YOLO-World, ImgEdit's detector: fast, and good with hundreds of names at a time. Needs the package ultralytics (AGPL-3.0).",
            search_aliases=["yoloworld", "ultralytics", "open vocabulary detector", "grounding loader"],
            inputs=[
                io.Combo.Input(
                    "checkpoint",
                    options=folders.files(*YOLO_FOLDERS),
                    tooltip="A .pt or .safetensors of ultralytics' YOLO-World in models/yolo_world or models/ultralytics, such as yolov8x-worldv2.pt. A .pt is read without running anything in it.",
                ),
                io.Combo.Input(
                    "text_encoder",
                    options=folders.hub_folders(*TEXT_FOLDERS),
                    tooltip="CLIP ViT-B/32 as a hub-format folder (with config.json, weights and tokenizer) in models/text_encoders. It turns names into what YOLO-World was trained with.",
                ),
                io.Int.Input(
                    "image_size",
                    default=DEFAULT_SIDE,
                    min=32,
                    max=2048,
                    step=32,
                    optional=True,
                    tooltip="Pixels of the longer side that photos are scaled to for detection. 640 in the paper; more finds smaller things and takes longer.",
                ),
            ],
            outputs=[Grounder.Output("grounder", tooltip="For Detect Objects.")],
        )

    @classmethod
    def execute(cls, checkpoint: str, text_encoder: str, image_size: int = DEFAULT_SIDE) -> io.NodeOutput:
        from ..models.clip_text import ClipText  # transformers' models take seconds to import
        from ..models.yolo_world import YoloWorld

        weights = checkpoints.read(folders.file_path(checkpoint, *YOLO_FOLDERS))
        text = ClipText(folders.hub_path(text_encoder, *TEXT_FOLDERS))
        return io.NodeOutput(YoloWorld(weights, text, image_size))


class LoadGrounder(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsLoadGrounder",
            display_name="Load Grounder (transformers)",
            category="editpairs",
            description="Loads Grounding DINO or OWLv2 from a hub-format folder. Needs no package beyond ComfyUI's.",
            search_aliases=["grounding dino", "groundingdino", "owlv2", "owl-vit", "open vocabulary detector"],
            inputs=[
                io.Combo.Input(
                    "model",
                    options=folders.hub_folders(*GROUNDER_FOLDERS),
                    tooltip="A hub-format folder (with config.json, weights, tokenizer and preprocessor_config.json) in models/grounding, such as grounding-dino-base or owlv2-base-patch16-ensemble.",
                )
            ],
            outputs=[Grounder.Output("grounder", tooltip="For Detect Objects.")],
        )

    @classmethod
    def execute(cls, model: str) -> io.NodeOutput:
        from ..models.grounders import load_grounder  # transformers' models take seconds to import

        return io.NodeOutput(load_grounder(folders.hub_path(model, *GROUNDER_FOLDERS)))


class DetectObjects(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsDetectObjects",
            display_name="Detect Objects",
            category="editpairs",
            description="Finds what the vocabulary names and gives its boxes with name and score: a list for each image, empty where nothing is found.",
            search_aliases=["object detection", "open vocabulary", "text to boxes", "bbox", "grounding", "yolo"],
            inputs=[
                Grounder.Input("grounder", tooltip="From Load YOLO-World or Load Grounder (transformers)."),
                io.Image.Input("image", tooltip="The photo, or a batch of them."),
                vocabulary_input(),
                share_input(
                    "score_threshold",
                    BoxRules.score,
                    "Least confidence of a box. 0.005 is ImgEdit's, for YOLO-World, where CLIP scores sift later; it lets much junk through. transformers' own: 0.25 for Grounding DINO, 0.1 for OWLv2.",
                    step=0.005,
                    round=0.0001,
                ),
                share_input(
                    "nms_threshold",
                    BoxRules.overlap,
                    "Of two boxes that overlap by more than this (intersection over union) the weaker goes. 0.5 in ImgEdit's repository; 1 keeps all.",
                    step=0.05,
                ),
                per_name_input(BoxRules.per_class, ", as ImgEdit's release does"),
                most_boxes_input(BoxRules.limit, "100 in ImgEdit's repository."),
                share_input(
                    "min_area",
                    BoxRules.min_area,
                    "Least share of the image that a box covers, 0 to 1. ImgEdit's later stages take objects from 0.01 up.",
                    step=0.005,
                    round=0.0001,
                    optional=True,
                ),
                share_input(
                    "max_area",
                    BoxRules.max_area,
                    "Largest share of the image that a box covers, 0 to 1.",
                    step=0.005,
                    round=0.0001,
                    optional=True,
                ),
                io.Combo.Input(
                    "sort",
                    options=list(get_args(Order)),
                    default=BoxRules.order,
                    optional=True,
                    tooltip="Order of an image's boxes: best score first, largest first, or by their left edge.",
                ),
                *tags_inputs(),
            ],
            outputs=[
                io.BoundingBox.Output("boxes", tooltip="A list per image of boxes in pixels, with label and score."),
                io.Int.Output("count", tooltip="How many boxes there are in all images together."),
            ],
        )

    @classmethod
    def validate_inputs(cls, vocabulary: str | None) -> bool | str:
        return checked(vocabulary)

    @classmethod
    def execute(
        cls,
        grounder: Detector,
        image: torch.Tensor,
        vocabulary: str,
        score_threshold: float,
        nms_threshold: float,
        nms_per_class: bool = BoxRules.per_class,
        max_boxes: int = BoxRules.limit,
        min_area: float = BoxRules.min_area,
        max_area: float = BoxRules.max_area,
        sort: Order = BoxRules.order,
        sample: EditSample | None = None,
        tags: RegionKind = "object",
    ) -> io.NodeOutput:
        if min_area > max_area:
            raise ValueError(f"min_area ({min_area:g}) is above max_area ({max_area:g}), so no box could pass")
        rules = BoxRules(
            score_threshold,
            nms_threshold,
            nms_per_class,
            max_boxes,
            min_area,
            max_area,
            sort,
        )
        names = names_for(sample, tags, vocabulary)
        if not names:
            return io.NodeOutput([[] for _ in image], 0)
        frames = grounder.detect([to_bytes(one) for one in image], names, rules)
        return io.NodeOutput(box_formats.to_wire(frames), sum(map(len, frames)))
