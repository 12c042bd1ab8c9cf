"""Route Task: which edit tasks suit a photo and its region. What is made of them, and how many of each, is the driver's."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from comfy_api.latest import io

from .. import vocabulary
from ..core.scenes import ROUTED, routable
from ..sockets import EditSample, Sample, Vlm, lazy_boxes
from ..vlm import asking, observer
from ..written_samples import failed, node_name, photo_of, routing_scene


class RouteTask(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsRouteTask",
            display_name="Route Task (VLM)",
            category="editpairs",
            description="Has a language model decide which edit tasks suit the photo and its region, and say why not for the others.",
            search_aliases=["task router", "choose task", "reject task", "edit type"],
            inputs=[
                Vlm.Input("vlm", tooltip="The language model."),
                Sample.Input("sample", tooltip="What Load Edit Sample gave out; its own task does not matter."),
                io.String.Input(
                    "tasks",
                    default=", ".join(ROUTED),
                    multiline=True,
                    tooltip="Tasks to decide on, with commas between.",
                ),
                io.String.Input(
                    "caption",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="What the photo shows. It helps the model and is never obeyed.",
                ),
                lazy_boxes(
                    "boxes",
                    "All named boxes of the photo. Tasks with two regions need them, and so does a sample without a region: each task then needs one of them.",
                ),
                lazy_boxes("background_boxes", "Boxes of backgrounds, for the tasks that edit them."),
            ],
            outputs=[
                Sample.Output(
                    "sample",
                    tooltip="The sample with what was decided, or with the reason why nothing was. Save Annotation keeps it.",
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
        """What is still to be computed: nothing for a sample that has failed already."""
        return [] if sample.failure else [name for name, value in inputs.items() if value is None]

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
        fitting, unfit = routable(vocabulary.parse(tasks), scene)
        found = observer.Route({}, {})
        if fitting:
            answer = await observer.route(vlm, photo_of(sample), scene, fitting, caption, sample.seed)
            if isinstance(answer, asking.Failure):
                return io.NodeOutput(failed(sample, answer, node_name("EditPairsRouteTask", cls)), "", "")
            found = answer
        record = {
            "key": sample.provenance.key,
            "accepted": found.accepted,
            "rejected": {**unfit, **found.rejected},
            "model": found.model,
            "prompt_id": found.prompt_id,
            "prompt_version": found.prompt_version,
            "reply": found.reply,
        }
        routed = replace(sample, routes=record)
        return io.NodeOutput(routed, ", ".join(found.accepted), json.dumps(record, ensure_ascii=False))
