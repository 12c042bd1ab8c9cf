"""What every server of a run is to do: the graph, and whose photos go through it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..comfyui.client import ComfyServer
from ..graph.bound import BatchGraph
from ..graph.packs import Packer
from ..inputs.source import Source
from .harvest import Harvester
from .pack_size import PackSize

MODEL_MEMORY_SHARE = 0.9
"""Share of a device's memory that models may take together before they count as too large for it. Ours."""


@dataclass(frozen=True)
class Work:
    """The same for all servers of a run."""

    graph: BatchGraph
    object_info: dict[str, Any]
    """The servers' node schemas."""
    source: Source
    roles: frozenset[str]
    """Of pictures beside the photo that the graph takes."""
    seed: int
    """The run's."""
    samples_per_prompt: int | None
    """None: chosen from the graph and what is measured."""
    recycle_after: int
    """A server of our own is started again after so many prompts."""
    check: Callable[[ComfyServer], tuple[str, ...]]
    """Raises RunError of a server that came back, or joins late, and does not fit the others; returns what is to be said
    of it."""

    def stage(self, harvester: Harvester) -> str:
        """What failures of its samples are filed under.

        Args:
            harvester: brings home what its sink leaves.
        """
        return "verify" if "edited" in self.roles else harvester.stage

    def fit(self, server: ComfyServer) -> tuple[Packer, PackSize]:
        """How prompts are packed for a server that answers.

        Raises:
            ServerFault, PromptRefused: it does not say what it has.
        """
        stats = server.system_stats()
        device = int(stats["devices"][0].get("vram_total", 0) * MODEL_MEMORY_SHARE)
        packer = Packer(self.graph, self.object_info, server.model_sizes(), device)
        return packer, PackSize(self.samples_per_prompt, packer.gains, int(stats["system"].get("ram_free", 0)))
