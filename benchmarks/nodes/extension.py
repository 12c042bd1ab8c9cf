"""The explicit list of the benchmark's nodes."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .calling import CallEndpoint
from .editing import Approve, BlockingEdit, Mishap
from .heavy import HeavyModel, HeavyStage


class BenchExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [Approve, CallEndpoint, BlockingEdit, HeavyModel, HeavyStage, Mishap]
