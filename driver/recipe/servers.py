"""The servers that a recipe's stages share: started once, and one more for stages that only ask services.

So the GPU edits while a service answers. Servers of somebody else's are everybody's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ..comfyui.answering import at_once
from ..comfyui.own import OwnServer
from ..comfyui.shared import LOADED_SECONDS, SharedServer, Turns
from ..options import RunOptions
from ..pipeline.servers import foreign, light, own
from ..pipeline.workflow import Workflow


class StageServers:
    """Makes each stage's view of the servers. To be closed."""

    def __init__(self, options: RunOptions, work: Path, held: ExitStack):
        """Starts those that all stages may use.

        Args:
            options: the command line's; `server` and `servers` matter.
            work: where files of servers of our own go.
            held: ends them.

        Raises:
            RunError: one does not start.
        """
        self._options, self._work, self._held = options, work, held
        self._turns: dict[str, Turns] = {}
        self._own: list[OwnServer] = [] if options.server else self._started(own(options.servers, work))

    def of_stage(self) -> list[SharedServer]:
        """All of them, as one more stage uses them."""
        hosts = foreign(self._options.server) if self._options.server else self._own
        return [SharedServer(host, self._turns.setdefault(host.name, Turns())) for host in hosts]

    def share(self, stages: Sequence[list[Workflow]]) -> list[list[Workflow]]:
        """Stages that only ask services get a server of our own for themselves, where others work on ours.

        Args:
            stages: each with its workflows, on the servers of `of_stage`.

        Raises:
            RunError: it does not start, or a workflow does not fit it.
        """
        asking = [all(workflow.only_asks for workflow in workflows) for workflows in stages]
        if self._own and any(asking) and not all(asking):
            (apart,) = self._started([light(self._work)])
            turns = Turns()
            stages = [
                _moved(one, SharedServer(apart, turns)) if asks else one
                for one, asks in zip(stages, asking, strict=True)
            ]
        for workflows in stages:
            if any(workflow.agreement.ingredients.weights for workflow in workflows):
                for host in workflows[0].hosts:
                    assert isinstance(host, SharedServer)
                    host.turn_seconds = LOADED_SECONDS
        return list(stages)

    def _started(self, hosts: list[OwnServer]) -> list[OwnServer]:
        self._held.callback(at_once, [host.stop for host in hosts])
        for host in hosts:
            host.start()
        return hosts


def _moved(workflows: list[Workflow], host: SharedServer) -> list[Workflow]:
    return [workflow.on([host]) for workflow in workflows]
