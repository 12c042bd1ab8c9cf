"""What a photo shows, in a language model's words: captions, and the nouns that a detector looks for."""

from __future__ import annotations

from comfy_api.latest import io

from ..core.wording import Language
from ..sockets import EditSample, Sample, Vlm
from ..vlm import asking, observer
from ..written_samples import failed, node_name, photo_of


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
                io.Combo.Input("language", options=["en", "zh"], default="en", tooltip="Language of both captions."),
            ],
            outputs=[
                Sample.Output("sample", tooltip="The sample, or with the reason why there is no caption."),
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
        return io.NodeOutput(sample, found.dense, found.short)


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
                    tooltip="The dense caption, in English. Nouns that it does not hold are left out.",
                ),
            ],
            outputs=[
                Sample.Output("sample", tooltip="The sample, or with the reason why there are no tags."),
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
        if not caption.strip():
            raise ValueError("there is no caption to check the tags against: wire Caption Image's dense to caption")
        found = await observer.nouns(vlm, photo_of(sample), caption, sample.seed)
        if isinstance(found, asking.Failure):
            return io.NodeOutput(failed(sample, found, node_name("EditPairsTagImage", cls)), "", "", "")
        return io.NodeOutput(sample, *(", ".join(names) for names in (found.objects, found.backgrounds, found.dropped)))
