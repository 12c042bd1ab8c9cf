"""A ComfyUI that shares a disk with us: photos are written into its folders, and what it saved is taken out of them.

No picture goes through HTTP. A photo is written, not linked: ComfyUI opens no symbolic link that leads out of its folders,
and writes an upload into the file that it finds under its name, which a hard link would make the user's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from comfy_nodes.core.records import SavedFile
from comfy_nodes.core.run_files import SinkFolder
from comfy_nodes.core.whole_files import write_whole

from ..errors import ServerFault
from .client import FILES, ComfyServer

REMEMBERED = 16
"""Ended prompts that a server of our own may remember. Ours: a request each costs a tenth of all that a sample costs us."""


class NearServer(ComfyServer):
    """A server of our own, whose folders lie in one of ours. Their names in it are ComfyUI's: input, output, temp."""

    def __init__(self, url: str, folder: Path):
        super().__init__(url)
        self._folder = folder
        self._over: list[str] = []

    def upload(self, data: bytes, filename: str, subfolder: str, place: Literal["temp", "input"] = "temp") -> str:
        path = self._folder / place / subfolder / filename
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, data, durable=False)  # the run that needs it ends with the power
        except OSError as error:
            raise ServerFault(f"{path} cannot be written ({error.strerror})") from None
        return f"{subfolder}/{filename} [{place}]"

    def fetch_ahead(self, run_id: str, samples: Sequence[SinkFolder]) -> None:
        """Nothing is far."""

    def fetch(self, filename: str, subfolder: str, kind: str = "output") -> bytes:
        path = self._folder / kind / subfolder / filename
        try:
            with path.open("rb") as file:
                data = file.read(FILES.size + 1)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ServerFault(f"{path} cannot be read ({error.strerror})") from None
        if len(data) > FILES.size:
            raise ServerFault(f"{path} has more than {FILES.size >> 20} MB")
        return data

    def forget(self, *prompt_ids: str) -> None:
        """As of any server, but many at a time: what it remembers at its end goes with it."""
        self._over += prompt_ids
        if len(self._over) >= REMEMBERED:
            over, self._over = self._over, []
            super().forget(*over)

    def picture(self, image: SavedFile) -> Path:
        """Where it lies, to be moved from there."""
        return self._folder / image.type / image.subfolder / image.filename
