"""A server that runs prompts, whoever started it: what the engine asks of it, and somebody else's server."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Protocol

from comfy_nodes.core.records import SavedFile
from comfy_nodes.core.run_files import FOLDER, RunFiles, SinkFolder

from ..errors import PromptRefused, RunError, ServerFault, ServerLocked, unusable
from .answering import Stop, never, sleep, trouble
from .client import ComfyServer

RETURN_SECONDS = 60
"""How long a run waits for a server of somebody else's to come back."""


class ForeignServer:
    """A ComfyUI that somebody else runs: waited for when it is away, and left as it was found."""

    own = False
    """Not ours to start again."""

    def __init__(self, server: ComfyServer):
        self.server: ComfyServer = server
        self.name = server.url
        self._home: dict[str, SinkFolder] = {}
        """Where samples saved whose files are home, by name; each ended prompt has them deleted."""
        self._can_delete = True
        self._staying: dict[str, str] = {}
        """Runs whose files stay there, and why."""

    def start(self, stop: Stop = never) -> bool:
        """Sees that it is there; it was started by somebody else.

        Returns:
            True.

        Raises:
            RunError: it does not answer, or is not a ComfyUI.
        """
        try:
            self.server.system_stats()
        except ServerFault as fault:
            raise unusable(self.name, fault) from None
        return True

    def running(self) -> bool:
        """Whether it answers, within some seconds."""
        return trouble(self.server) is None

    def revive(self, stop: Stop = never) -> bool:
        """Waits until it answers again.

        Returns:
            Whether it does; False where `stop` ended the waiting.

        Raises:
            ServerLocked: it is there and does not let us in, which is waited for as long as it takes.
            RunError: it does not within a minute.
        """
        begun = time.monotonic()
        while not stop():
            found = trouble(self.server, stop)
            if found is None:
                return True
            if isinstance(found, ServerLocked):
                raise found
            if time.monotonic() - begun > RETURN_SECONDS:
                raise RunError(
                    f"{self.name} went away and did not come back within {RETURN_SECONDS} s: "
                    "start it and run the same command again; it goes on",
                    status=1,
                )
            sleep(1, stop)
        return False

    def recycle(self, stop: Stop = never) -> bool:
        """Does nothing and returns True: others may be using it, so whoever runs it restarts it."""
        return True

    def discard(self, uploads: list[str], files: list[SavedFile]) -> None:
        """Has finished samples' files deleted, where its EditPairs can do that; with the uploads of an ended prompt, as
        each sample would cost a question of its own.

        Args:
            uploads: names under which `ComfyServer.upload` put pictures of one run.
            files: what sinks saved.
        """
        if not self._can_delete:  # nobody would ask for what is remembered
            return
        self._home |= {one.name: one for one in (_sink_folder(file) for file in files)}
        if not uploads:
            return
        run_id = uploads[0].split("/")[1]
        names = [upload.rpartition("/")[2].removesuffix(" [temp]") for upload in uploads]
        samples, self._home = tuple(self._home.values()), {}
        with contextlib.suppress(ServerFault, PromptRefused):  # the end of the run asks again
            self._ask(RunFiles(run_id=run_id, samples=samples, uploads=tuple(names)))

    def leave(self, run_id: str) -> None:
        """Has everything deleted that a run left there. Nothing of it may run, wait or be needed there."""
        self._home.clear()
        try:
            left = self._ask(RunFiles(run_id=run_id, everything=True))
        except (ServerFault, PromptRefused) as fault:
            self._staying[run_id] = str(fault)
            return
        if left is None:
            self._staying[run_id] = "its EditPairs is too old to take it away"
        elif left:
            self._staying[run_id] = f"{left} files there are not the run's, or cannot be deleted"

    def stays(self) -> str:
        """What runs left there, as a line; empty where that is nothing."""
        if not self._staying:
            return ""
        folders = " and ".join(f"{FOLDER}/{run_id}" for run_id in self._staying)
        why = "; ".join(dict.fromkeys(self._staying.values()))
        return f"{self.name}: {folders} in its output folder stays there ({why}); all of it is home and may be deleted"

    def _ask(self, files: RunFiles) -> int | None:
        left = self.server.discard(files)
        self._can_delete = left is not None
        return left

    def ended(self) -> str:
        """What is known of why it is away."""
        return "it does not answer"

    def take_turn(self) -> bool:
        """See `Host`: nobody else of this run uses it."""
        return True

    def give_turn(self) -> None:
        """See `Host`."""

    def stop(self) -> None:
        """Not ours to stop."""


def _sink_folder(file: SavedFile) -> SinkFolder:
    return SinkFolder.named(file.subfolder.rpartition("/")[2])


class Host(Protocol):
    """Where a server comes from, and how to get it back."""

    name: str
    own: bool
    """Whether it is ours to start again."""

    @property
    def server(self) -> ComfyServer:
        """How it is asked."""

    def running(self) -> bool:
        """Whether its process is there, or something answers."""

    def ended(self) -> str:
        """What is known of why it is away."""

    def revive(self, stop: Callable[[], bool]) -> bool:
        """Waits for the server or starts it again.

        Returns:
            Whether it is back; False where `stop` ended the waiting.

        Raises:
            RunError: it doesn't come back.
        """

    def recycle(self, stop: Callable[[], bool]) -> bool:
        """Starts it again in an orderly way, as its turn comes; returns as `revive`."""

    def discard(self, uploads: list[str], files: list[SavedFile]) -> None:
        """Removes finished samples' files from the server, at once or soon."""

    def leave(self, run_id: str) -> None:
        """Has everything deleted that a run left there. Nothing of it may run, wait or be needed there."""

    def stays(self) -> str:
        """What runs left there, as a line; empty where that is nothing."""

    def take_turn(self) -> bool:
        """Whether something may be posted now; does not wait. Where several stages share a server, it is one's for a while,
        until that gives it back."""

    def give_turn(self) -> None:
        """Nothing of ours is there, and nothing is to be posted at once."""
