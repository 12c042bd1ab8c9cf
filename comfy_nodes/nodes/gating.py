"""Gate Pack: put by the driver between the stages of a packed prompt, so that each heavy model loads once per pack."""

from __future__ import annotations

from comfy_api.latest import io

MAX_WAITED = 100
"""As many inputs as ComfyUI lets a node grow."""


class GatePack(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="EditPairsGatePack",
            display_name="Gate Pack",
            category="editpairs/driver",
            description="Passes its input on when all others are there too. The batch driver puts it between the stages of a packed prompt, so that each heavy model loads once.",
            search_aliases=["wait for", "barrier", "execution order"],
            inputs=[
                io.AnyType.Input("value", tooltip="What is passed on."),
                io.Autogrow.Input(
                    "after",
                    template=io.Autogrow.TemplatePrefix(
                        io.AnyType.Input("after", optional=True, tooltip="What must be there first."),
                        "after",
                        0,
                        MAX_WAITED,
                    ),
                    tooltip="What must be there first, any number.",
                ),
            ],
            outputs=[io.AnyType.Output("value", tooltip="The input, unchanged.")],
        )

    @classmethod
    def execute(cls, value: object, after: dict[str, object] | None = None) -> io.NodeOutput:
        return io.NodeOutput(value)
