"""Save Annotation: the sink of the annotate stage. What it writes, every edit workflow reads."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any, get_args

import torch
from comfy_api.latest import io

from ..core import embeddings
from ..core.instructions.instructions import InstructionRecord, annotation_line
from ..core.records import AnnotationRecord, Basis
from ..core.regions import line
from ..core.regions.annotation import EXISTS, WEAK, Annotation, Region, RegionKind, segmentation, sift, to_json
from ..core.regions.earlier import Earlier, new, staying
from ..core.regions.eligibility import eligibility
from ..files.saved import OutputFiles, failed
from ..routes import ingredients
from ..wires import boxes as wire
from ..wires.inputs import folder_input, lazy_boxes, share_input, uncomputed
from ..wires.sockets import EditSample, Sample


class SaveAnnotation(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsSaveAnnotation",
            display_name="Save Annotation",
            category="editpairs",
            description="Saves a photo's regions as ImgEdit's annotation JSON, which every edit workflow reads. What else is known of the photo is carried on.",
            search_aliases=["imgedit annotation", "save regions", "save boxes", "export masks"],
            is_output_node=True,
            inputs=[
                Sample.Input("sample", tooltip="What Load Edit Sample gave out."),
                lazy_boxes("object_boxes", "Boxes of objects, with their names and scores."),
                io.Mask.Input(
                    "object_masks",
                    optional=True,
                    lazy=True,
                    tooltip="A mask for each object box, in the same order. Without them, boxes alone.",
                ),
                lazy_boxes("background_boxes", "Boxes of backgrounds such as sky or wall."),
                io.Mask.Input(
                    "background_masks",
                    optional=True,
                    lazy=True,
                    tooltip="A mask for each background box, in the same order.",
                ),
                io.String.Input(
                    "caption",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="What the photo shows. Empty: what the sample brings along, as from Caption Image.",
                ),
                folder_input(),
                share_input(
                    "exists",
                    EXISTS,
                    "From this detector's score on a box is a thing. Others go into the file too, but apart, as weak, unless their CLIP score proves their name. 0: all are things, as in ImgEdit.",
                    step=0.005,
                    optional=True,
                ),
                io.Combo.Input(
                    "earlier_regions",
                    options=list(get_args(Earlier)),
                    default="replace",
                    optional=True,
                    tooltip="Regions that the photo brings along. replace: what a detector found before goes where boxes of its kind are wired in, what a person marked stays. add: all stay.",
                ),
            ],
            outputs=[],
            hidden=[io.Hidden.prompt],
        )

    @classmethod
    def check_lazy_status(cls, sample: EditSample, **inputs: object) -> list[str]:
        return uncomputed(sample, **inputs)

    @classmethod
    def execute(
        cls,
        sample: EditSample,
        object_boxes: Any = None,
        object_masks: torch.Tensor | None = None,
        background_boxes: Any = None,
        background_masks: torch.Tensor | None = None,
        caption: str = "",
        folder: str = "editpairs",
        exists: float = EXISTS,
        earlier_regions: Earlier = "replace",
    ) -> io.NodeOutput:
        files = OutputFiles(folder)
        if sample.failure:
            return failed(sample, files)
        looked_for: dict[RegionKind, Any] = {"object": object_boxes, "background": background_boxes}
        looked_for = {kind: boxes for kind, boxes in looked_for.items() if boxes is not None}
        found = _regions(object_boxes, object_masks, "object", sample)
        found += _regions(background_boxes, background_masks, "background", sample)
        things, weak = sift(found, exists)
        kept = staying((*sample.regions, *sample.others), looked_for, earlier_regions)
        things = kept + new(things, kept)
        if looked_for:  # what was too weak before is looked at anew
            sample = replace(sample, further={name: one for name, one in sample.further.items() if name != WEAK})
        item = _annotation(sample, things, caption.strip())
        if weak:
            item[WEAK] = segmentation(weak)
        if sample.embedding is not None:
            item[embeddings.FIELD] = embeddings.encode(sample.embedding)
        origin = sample.provenance
        name = f"{files.prefix(origin.key)}.annotation.json"
        saved = files.save(name, json.dumps(item, ensure_ascii=False).encode())
        made = ingredients.basis(sample, cls.hidden.prompt)
        record = AnnotationRecord(key=origin.key, annotation=item, file=saved, basis=made)
        files.finish(origin.key, [record.model_dump(mode="json")])
        lines = [f"{region.kind} {region.class_name or 'unnamed'}: {_verdict(region)}" for region in things]
        lines += [f"{len(weak)} weak detections are kept apart"] if weak else []
        return io.NodeOutput(
            ui={"editpairs": [record.model_dump(mode="json")], "text": ["\n".join(lines) or "nothing was found"]}
        )


def _regions(boxes: Any, masks: torch.Tensor | None, kind: RegionKind, sample: EditSample) -> list[Region]:
    if boxes is None:
        return []
    return wire.regions(boxes, masks, kind, *sample.size)


def _annotation(sample: EditSample, regions: list[Region], caption: str) -> dict[str, Any]:
    """The photo's annotation in ImgEdit's schema with the extra columns that this project adds."""
    origin = sample.provenance
    judged = [
        region.model_copy(update={"eligibility": reasons})
        for region, reasons in zip(regions, eligibility(regions, *sample.size), strict=True)
    ]
    annotation = Annotation(
        path=origin.source_path,
        size=sample.size,
        regions=tuple(judged),
        source_licence=origin.source_licence,
        source_url=origin.source_url,
        captions=(caption,) if caption else sample.captions,
        points=sample.points,
        further=sample.further,
    )
    item = {"cap": [], **to_json(annotation)}
    names: dict[RegionKind, list[str]] = {
        kind: [region.class_name or "" for region in regions if region.kind == kind]
        for kind in ("object", "background")
    }
    item["segmentation"]["box_format"] = "xyxy"
    item.setdefault(line.TAGS, line.tagged((), ()))
    if sample.instruction:
        item.setdefault("instruction", sample.instruction)
    return {
        **item,
        "obj_count": dict(Counter(names["object"])),
        "bg_count": dict(Counter(names["background"])),
        "source_sha256": origin.source_sha256,
    }


def _verdict(region: Region) -> str:
    return f"{region.score:.2f}" if region.score is not None else "no score"


class SaveInstructions(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsSaveInstructions",
            display_name="Save Instructions",
            category="editpairs",
            description="Saves a sample's instructions beside its regions, as annotation JSON that edit workflows read.",
            search_aliases=["save prompts", "export instructions", "write stage sink"],
            is_output_node=True,
            inputs=[
                Sample.Input("sample", tooltip="What a writer gave out."),
                folder_input(),
            ],
            outputs=[],
            hidden=[io.Hidden.prompt],
        )

    @classmethod
    def execute(cls, sample: EditSample, folder: str = "editpairs") -> io.NodeOutput:
        files = OutputFiles(folder)
        if sample.failure:
            return failed(sample, files)
        if not sample.writings:
            raise ValueError("the sample has no instruction: wire a writer between Load Edit Sample and this node")
        made = ingredients.basis(sample, cls.hidden.prompt)
        records = [_saved(sample, number, files, made) for number in range(len(sample.writings))]
        returned = [one.model_dump(mode="json") for one in records]
        files.finish(sample.provenance.key, returned)
        return io.NodeOutput(ui={"editpairs": returned, "text": [one.writing.instruction for one in records]})


def _saved(sample: EditSample, number: int, files: OutputFiles, made: Basis) -> InstructionRecord:
    """One of the sample's instructions as a record, its file written. Where there are several, each gets a slot of its
    own, so that edits of one region stay apart when the file is an input."""
    origin, writing = sample.provenance, sample.writings[number]
    several = len(sample.writings) > 1
    slot = "/".join(part for part in (origin.slot, str(number) if several else "") if part)
    key = f"{origin.key}~{number}" if several else origin.key
    task, subtask = (writing.task, writing.subtask) if writing.task else (sample.task, origin.subtask)
    written = annotation_line(
        writing,
        task,
        subtask,
        slot,
        sample.size,
        origin,
        sample.points,
        sample.captions,
        sample.further,
    )
    data = json.dumps(written, ensure_ascii=False).encode()
    file = files.save(f"{files.prefix(key)}.instruction.json", data)
    return InstructionRecord(
        key=key,
        task=task,
        subtask=subtask,
        slot=slot,
        writing=replace(writing, regions=()),
        annotation=written,
        file=file,
        basis=made,
    )
