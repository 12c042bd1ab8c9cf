"""Embed Photo: the vector by which a photo is found."""

from __future__ import annotations

from dataclasses import replace

from comfy_api.latest import io

from ..core.records import SampleFailure
from ..models import scorers
from ..wires.sockets import EditSample, RegionScorer, Sample
from ..wires.tensors import to_bytes


class EmbedPhoto(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsEmbedPhoto",
            display_name="Embed Photo (CLIP)",
            category="editpairs",
            description="Makes CLIP's vector of a photo, or of words, so that photos can be found by example or by words.",
            search_aliases=["clip embedding", "image retrieval", "photo search", "index photos", "similar photos"],
            inputs=[
                Sample.Input("sample", tooltip="What Load Edit Sample gave out."),
                RegionScorer.Input("scorer", tooltip="From Load Region Scorer; it needs no aesthetic head."),
                io.Combo.Input(
                    "embeds",
                    options=["photo", "words"],
                    default="photo",
                    tooltip="photo: its middle square, as CLIP was trained. words: the instruction of Load Edit Sample as it stands, to look for photos by.",
                ),
            ],
            outputs=[Sample.Output("sample", tooltip="The sample with its vector, which Save Annotation saves.")],
        )

    @classmethod
    def execute(cls, sample: EditSample, scorer: scorers.RegionScorer, embeds: str) -> io.NodeOutput:
        if sample.failure:
            return io.NodeOutput(sample)
        if embeds == "photo":
            return io.NodeOutput(replace(sample, embedding=scorer.embed_photo(to_bytes(sample.source[0]))))
        if not sample.instruction.strip():
            why = "there are no words: type some into instruction, or embed the photo"
            return io.NodeOutput(replace(sample, failure=SampleFailure("annotate", "NoWords", why)))
        return io.NodeOutput(replace(sample, embedding=scorer.embed_words(sample.instruction.strip())))
