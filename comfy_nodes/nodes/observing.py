"""What a photo shows, in a language model's words: captions, and the nouns that a detector looks for."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from ..core.instructions.routing import ROUTED, routable, routed_kinds
from ..core.instructions.wording import Language
from ..core.records import SampleFailure
from ..core.regions import line
from ..edit_samples.written import caption_of, failed, node_name, photo_of, routing_scene
from ..models.queries import parse
from ..vlm import asking
from ..vlm.questions import observer
from ..wires.inputs import language_input, lazy_boxes, uncomputed
from ..wires.sockets import EditSample, Sample, Vlm

NO_ROUTE = "NoRoute"
"""Error type of a photo for which the router rejected everything."""


class CaptionImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsCaptionImage",
            display_name="Caption Image (VLM)",
            category="editpairs",
            description="Has a language model describe the photo, at length and in one sentence.",
            search_aliases=["describe image", "image to text", "dense caption", "qwen caption"],
            inputs=[
                Vlm.Input("vlm", tooltip="The language model."),
                Sample.Input("sample", tooltip="What Load Edit Sample gave out."),
                language_input("Language of both captions."),
            ],
            outputs=[
                Sample.Output("sample", tooltip="The sample with both, or with the reason why there is no caption."),
                io.String.Output("dense", tooltip="Three to six sentences: every thing with its colour and place."),
                io.String.Output("short", tooltip="One sentence."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    async def execute(cls, vlm: asking.Vlm, sample: EditSample, language: Language = "en") -> io.NodeOutput:
        if sample.failure:
            return io.NodeOutput(sample, "", "")
        found = await observer.caption(vlm, photo_of(sample), language, sample.seed)
        if isinstance(found, asking.Failure):
            return io.NodeOutput(failed(sample, found, node_name("EditPairsCaptionImage", cls)), "", "")
        further = {**sample.further, line.SHORT_CAPTION: found.short}
        return io.NodeOutput(replace(sample, captions=(found.dense,), further=further), found.dense, found.short)


class TagImage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsTagImage",
            display_name="Tag Image (VLM)",
            category="editpairs",
            description="Has a language model name the things and backgrounds in the photo, as a vocabulary for Detect Objects.",
            search_aliases=["image tags", "object nouns", "vocabulary", "recap", "ram tagger"],
            inputs=[
                Vlm.Input("vlm", tooltip="The language model."),
                Sample.Input("sample", tooltip="What Load Edit Sample or Caption Image gave out."),
                io.String.Input(
                    "caption",
                    default="",
                    multiline=True,
                    tooltip="The dense caption, in English. Nouns that it does not hold are left out. Empty: the sample's.",
                ),
            ],
            outputs=[
                Sample.Output(
                    "sample",
                    tooltip="The sample with its tags, which Detect Objects may take from it, or with the reason why there are none.",
                ),
                io.String.Output("objects", tooltip="Things, with commas between, for Detect Objects."),
                io.String.Output(
                    "backgrounds", tooltip="Backgrounds, with commas between, for a second Detect Objects."
                ),
                io.String.Output("dropped", tooltip="Nouns that the caption does not hold."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    async def execute(cls, vlm: asking.Vlm, sample: EditSample, caption: str = "") -> io.NodeOutput:
        if sample.failure:
            return io.NodeOutput(sample, "", "", "")
        described = caption_of(sample, caption)
        if not described:
            raise ValueError(
                "there is no caption to check the tags against: wire Caption Image before it, or type one in"
            )
        found = await observer.nouns(vlm, photo_of(sample), described, sample.seed)
        if isinstance(found, asking.Failure):
            return io.NodeOutput(failed(sample, found, node_name("EditPairsTagImage", cls)), "", "", "")
        further = {**sample.further, line.TAGS: line.tagged(found.objects, found.backgrounds)}
        named = (", ".join(names) for names in (found.objects, found.backgrounds, found.dropped))
        return io.NodeOutput(replace(sample, further=further), *named)


class RouteTask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsRouteTask",
            display_name="Route Task (VLM)",
            category="editpairs",
            description="Has a language model decide which kinds of edit suit the photo and its region, and say why not for the others. A photo that suits none ends here.",
            search_aliases=["task router", "choose task", "reject task", "edit type"],
            inputs=[
                Vlm.Input("vlm", tooltip="The language model."),
                Sample.Input("sample", tooltip="What Load Edit Sample gave out; its own task does not matter."),
                io.String.Input(
                    "tasks",
                    default=", ".join(ROUTED),
                    multiline=True,
                    tooltip="Tasks to decide on, with commas between: ImgEdit's, kinds of edit such as unicedit/Color Alteration, and unicedit or scaleedit for all of theirs.",
                ),
                io.String.Input(
                    "caption",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="What the photo shows. Empty: the first of the sample's annotation. It helps the model and is never obeyed.",
                ),
                lazy_boxes(
                    "boxes",
                    "All named boxes of the photo. Tasks with two regions need them. Of a sample without a region each task needs one of them, where they are wired.",
                ),
                lazy_boxes("background_boxes", "Boxes of backgrounds, for the tasks that edit them."),
            ],
            outputs=[
                Sample.Output(
                    "sample",
                    tooltip="The sample with what was decided, which Save Annotation keeps, or with the reason why it is skipped or nothing was decided.",
                ),
                io.String.Output("tasks", tooltip="The tasks that suit, with commas between; empty where none does."),
                io.String.Output(
                    "record", tooltip="JSON: key, accepted and rejected tasks with reasons, model, prompt."
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def check_lazy_status(cls, sample: EditSample, **inputs: object) -> list[str]:
        return uncomputed(sample, **inputs)

    @classmethod
    async def execute(
        cls,
        vlm: asking.Vlm,
        sample: EditSample,
        tasks: str = ", ".join(ROUTED),
        caption: str = "",
        boxes: Any = None,
        background_boxes: Any = None,
    ) -> io.NodeOutput:
        if sample.failure:
            return io.NodeOutput(sample, "", "")
        scene = routing_scene(sample, boxes, background_boxes)
        fitting, unfit = routable(routed_kinds(parse(tasks)), scene)
        found = observer.RoutedTasks({}, {})
        if fitting:
            answer = await observer.route(
                vlm, photo_of(sample), scene, fitting, caption_of(sample, caption), sample.seed
            )
            if isinstance(answer, asking.Failure):
                return io.NodeOutput(failed(sample, answer, node_name("EditPairsRouteTask", cls)), "", "")
            found = answer
        record: dict[str, Any] = {
            "key": sample.provenance.key,
            "accepted": found.accepted,
            "rejected": {**unfit, **found.rejected},
            "model": found.model,
            "prompt_id": found.prompt_id,
            "prompt_version": found.prompt_version,
            "reply": found.reply,
        }
        routed = replace(sample, further={**sample.further, "routes": record})
        if not found.accepted:
            why = f"the router accepted nothing: {_grouped(record['rejected'])}"
            routed = replace(routed, failure=SampleFailure("annotate", NO_ROUTE, why, skipped=True))
        return io.NodeOutput(routed, ", ".join(found.accepted), json.dumps(record, ensure_ascii=False))


def _grouped(rejected: Mapping[str, str]) -> str:
    """Reasons by kind as one text, each reason once."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for name, reason in rejected.items():
        kinds[reason.rstrip(".")].append(name)
    return "; ".join(f"{reason} ({', '.join(names)})" for reason, names in kinds.items())
