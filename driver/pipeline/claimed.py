"""What a server's records have to be made with: the content that the run's folder was claimed for.

Between a stage and its harvester. A profile, a file of weights or a prompt that changes while the run lasts would
otherwise make one dataset of two models.
"""

from __future__ import annotations

from comfy_nodes.core.ingredients import Ingredients

from ..comfyui.client import ComfyServer
from ..dataset.binding import Origin
from ..engine.harvest import Harvest, Harvester, Rename
from ..graph.api import Api


class AsClaimed:
    """A harvester that tells records made with something else from those of the run."""

    def __init__(self, harvester: Harvester, api: Api, claimed: Ingredients):
        """
        Args:
            api: the stage's graph.
            claimed: what its servers said that they make it with.
        """
        self._harvester, self._api, self._claimed = harvester, api, claimed
        self._made_with = {claimed.sha256}

    @property
    def stage(self) -> str:
        """See `harvest.Harvester`."""
        return self._harvester.stage

    def harvest(self, origin: Origin, server: ComfyServer, rename: Rename) -> Harvest:
        """See `harvest.Harvester`."""
        found = self._harvester.harvest(origin, server, rename)
        if found.made_with <= self._made_with:
            return found
        for picture in found.staged:
            picture.drop()
        changes = server.ingredients(self._api).differences(self._claimed)
        why = "; ".join(changes) or "something was changed there and put back"
        return Harvest(files=found.files, misfit=f"{server.url}: since the run began, {why}")
