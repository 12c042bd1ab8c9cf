"""Load Edit Sample: the source node. By hand it reads a widget, in a batch the driver fills the same widgets."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO
from pathlib import Path

import folder_paths
import numpy as np
import torch
from comfy_api.latest import io
from PIL import Image

from ..core import photos
from ..core.instructions.instructions import written_in
from ..core.instructions.scenes import second_region
from ..core.keys import sample_key
from ..core.regions import rle
from ..core.regions.annotation import (
    Annotation,
    AnnotationError,
    Provenance,
    Region,
    align,
    parse_annotation,
    region_of_mask,
)
from ..core.tasks import INSTRUCT, WORK, task_named
from ..core.taxonomy import known_kind
from ..edit_samples.turns import turn_made
from ..files import opened
from ..wires import boxes
from ..wires.inputs import seed_input
from ..wires.sockets import EditSample, Sample
from ..wires.tensors import to_image, to_mask

MASK_EDITOR_FILES = ("clipspace-", "clipspace/", "clipspace\\")
"""How the widget's value begins after the mask editor saved: files in the input folder itself since
frontend 1.47 at the latest, in its subfolder `clipspace` before. Batch inputs lie in folders of their own."""


class LoadEditSample(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsLoadSample",
            display_name="Load Edit Sample",
            category="editpairs",
            description="Loads a photo with the region to edit. The batch driver puts every sample of a run in here.",
            search_aliases=["edit pairs source", "load annotation", "imgedit", "dataset source"],
            inputs=[
                io.Combo.Input(
                    "image",
                    options=opened.names(),
                    upload=io.UploadType.image,
                    image_folder=io.FolderType.input,
                    tooltip="The photo: a bundled sample, an upload, or what the mask editor saved.",
                ),
                io.Combo.Input(
                    "task",
                    options=list(WORK),
                    default="remove",
                    tooltip="The edit task that this graph makes. It is written into every record.",
                ),
                io.Int.Input(
                    "region_index",
                    default=0,
                    min=0,
                    max=9999,
                    tooltip="Which of the photo's annotated regions to edit, counted from 0: objects first, then backgrounds.",
                ),
                seed_input("Wire it to every node that takes a seed. In a batch each sample gets its own."),
                io.String.Input(
                    "class_name",
                    default="",
                    optional=True,
                    tooltip="What the region shows, such as 'cup'. Overrides the annotation; needed for a painted mask.",
                ),
                io.String.Input(
                    "instruction",
                    default="",
                    multiline=True,
                    optional=True,
                    tooltip="Your own instruction. Empty: a writer further down the graph writes one.",
                ),
                io.String.Input(
                    "annotation",
                    default="",
                    multiline=True,
                    optional=True,
                    advanced=True,
                    tooltip="ImgEdit annotation JSON of this photo (path, resolution, segmentation). The batch driver fills it in.",
                ),
            ],
            outputs=[
                Sample.Output("sample", tooltip="Photo, region, task, instruction, seed and origin in one."),
                io.Image.Output("image", tooltip="The photo upright, in sRGB, without alpha."),
                io.Mask.Output("mask", tooltip="The region's mask; all zero where only a box is known."),
                io.BoundingBox.Output("boxes", tooltip="The region's box; an empty list where there is none."),
                io.String.Output("class_name", tooltip="What the region shows."),
                io.String.Output("instruction", tooltip="The instruction that the user wrote, or nothing."),
                io.Int.Output("seed", tooltip="The seed, for every node that takes one."),
            ],
        )

    @classmethod
    def validate_inputs(cls, image: str) -> bool | str:
        return opened.check(image)

    @classmethod
    def fingerprint_inputs(cls, image: str, **_widgets: object) -> str:
        return opened.content(image)

    @classmethod
    def execute(
        cls,
        image: str,
        task: str,
        region_index: int,
        seed: int,
        class_name: str = "",
        instruction: str = "",
        annotation: str = "",
    ) -> io.NodeOutput:
        path = Path(folder_paths.get_annotated_filepath(image))
        data = photos.read_bytes(path)
        known = _annotation(annotation, image)
        name = known.provenance.source_id if known and known.provenance else path.name
        photo, painted, orientation = _open(image, data, name)
        chosen = None
        if painted is not None and painted.any():
            region: Region | None = region_of_mask(painted)
        else:
            known = known and align(known, photo.size, orientation)
            region = chosen = _choose(known, task, region_index)
        if region is not None and class_name:
            region = region.model_copy(update={"class_name": class_name})
        provenance = (known and known.provenance) or _by_hand(image, data, known, region, task)
        turn = turn_made(provenance.task or task, (known and known.carried) or {})
        asked = turn.op if turn else provenance.task or task
        also = _second(known, region, asked, photo.size, seed) if chosen else ()
        edited = ((region,) if region else ()) + also
        writing = written_in(known.writing, edited) if known and known.writing else None
        words = instruction or (writing.instruction if writing else "")
        sample = EditSample(
            source=to_image(np.asarray(photo)),
            files=opened.as_they_are(data, photo),
            task=asked,
            region=region,
            instruction=words,
            seed=seed,
            provenance=provenance,
            also=also,
            others=tuple(one for one in (known.regions if known else ()) if one is not chosen and one not in also),
            captions=known.captions if known else (),
            points=known.points if known else (),
            offered=known.offered if known else (),
            writings=(writing,) if writing and words == writing.instruction else (),
            carried=known.carried if known else None,
            upstream=known.upstream if known else "",
            models=known.models if known else (),
            further=known.further if known else {},
            turn=turn,
        )
        shown = (region.class_name if region else None) or ""
        mask = _mask(region, sample.size)
        return io.NodeOutput(sample, sample.source, mask, boxes.of_region(region), shown, words, seed)


def _open(image: str, data: bytes, name: str) -> tuple[Image.Image, np.ndarray | None, int]:
    """Photo, painted mask and EXIF orientation; alpha means a mask only in the mask editor's own files."""
    if image.startswith(MASK_EDITOR_FILES):
        photo, painted = photos.open_painted(data, name)
        return photo, painted, 1
    return photos.open_photo(data, name), None, photos.read_header(BytesIO(data), name).orientation


def _annotation(text: str, image: str) -> Annotation | None:
    if not text.strip():
        return opened.annotation_of(image)
    try:
        return parse_annotation(json.loads(text))
    except (json.JSONDecodeError, RecursionError) as error:
        raise AnnotationError(f"annotation is not JSON ({error}); paste one photo's ImgEdit annotation") from None


def _choose(known: Annotation | None, task: str, index: int) -> Region | None:
    need = task_named(task).region
    if need == "none":
        return None
    regions = known.regions if known else ()
    bound_to_none = known and known.provenance and known_kind(INSTRUCT.name, known.provenance.subtask)
    if need == "any" and (bound_to_none or not regions):
        return None
    if index < len(regions):
        region = regions[index]
        if need not in ("any", region.kind):
            raise AnnotationError(f"region {index} is {region.kind}; task {task} edits {need} regions")
        return region
    if not regions:
        why = f" ({'; '.join(known.refusals)})" if known and known.refusals else ""
        raise AnnotationError(
            f"the photo has no region{why}: paint one (right-click the node, Open in Mask Editor) or paste an annotation"
        )
    listed = ", ".join(f"{number} {region.class_name or region.kind}" for number, region in enumerate(regions))
    raise AnnotationError(f"region_index {index} is not there; the photo has {listed}")


def _second(
    known: Annotation | None, first: Region | None, task: str, size: tuple[int, int], seed: int
) -> tuple[Region, ...]:
    """The further regions of an edit that is about several. The driver has put a second one behind the first; a line of the
    write stage has no regions but the edit's."""
    if known is None or first is None or task_named(task).regions < 2:
        return ()
    if known.writing and not known.provenance and first is known.regions[0]:
        return known.regions[1:]
    if known.provenance:
        return known.regions[1:2]
    found = second_region(first, [one for one in known.regions if one != first], *size, seed)
    return (found,) if found else ()


def _mask(region: Region | None, size: tuple[int, int]) -> torch.Tensor:
    if region is None or region.mask is None:
        return to_mask(np.zeros((size[1], size[0]), dtype=bool))
    return to_mask(rle.decode(region.mask))


def _by_hand(image: str, data: bytes, known: Annotation | None, region: Region | None, task: str) -> Provenance:
    source_id = image.rpartition(" [")[0] if image.endswith("]") else image
    return Provenance(
        key=sample_key(source_id, region, task),
        source_id=source_id,
        source_path=source_id,
        source_sha256=hashlib.sha256(data).hexdigest(),
        source_licence=known.source_licence if known else None,
        source_url=known.source_url if known else None,
    )
