"""Files of ours in ComfyUI's output folder: whole or absent, under names that nobody else uses."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any

import folder_paths

from .core.keys import file_stem
from .core.records import SavedFile, records_name
from .core.whole_files import write_whole


class OutputFiles:
    """Writes into one subfolder of ComfyUI's output folder.

    Every file is written beside its name, flushed to disk and renamed.
    """

    def __init__(self, folder: str):
        """
        Args:
            folder: subfolder, relative to the output folder.

        Raises:
            ValueError: the folder lies outside the output folder.
        """
        root = Path(folder_paths.get_output_directory()).resolve()
        self._path = (root / folder).resolve()
        if not self._path.is_relative_to(root):
            raise ValueError(f"folder {folder!r} leaves ComfyUI's output folder; name a subfolder of it")
        self._path.mkdir(parents=True, exist_ok=True)
        self._subfolder = self._path.relative_to(root).as_posix()

    def prefix(self, key: str) -> str:
        """A start of file names that nobody else has."""
        return f"{file_stem(key)}-{uuid.uuid4().hex[:12]}"

    def finish(self, key: str, returned: list[dict[str, Any]]) -> None:
        """Writes what the sink returns of a sample, after all its files: `<key>.records.json`.

        The driver reads it while other samples of the same prompt still run, and after a prompt that broke off.
        """
        self.save(records_name(key), json.dumps({"editpairs": returned}, ensure_ascii=False).encode())

    def save(self, name: str, data: bytes) -> SavedFile:
        """Writes a file durably and returns how `/view` finds it."""
        saved = SavedFile(
            filename=name, subfolder=self._subfolder, type="output", sha256=hashlib.sha256(data).hexdigest()
        )  # which sees that the name is one
        write_whole(self._path / name, data)
        return saved
