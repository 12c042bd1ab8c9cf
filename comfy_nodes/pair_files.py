"""How a pair lies on disk: two PNGs and a JSON record, under a name that nobody else uses."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import uuid
from pathlib import Path

import folder_paths
import numpy as np
from PIL import Image, PngImagePlugin

from .core.records import EditRecord, ImageFile

PNG_LEVEL = 1
"""zlib level of saved PNGs. Level 4, core's, takes almost twice as long for a tenth of the size."""


class PairFiles:
    """Writes pairs into one subfolder of ComfyUI's output folder.

    Every file is written beside its name, flushed to disk and renamed; the record comes last, so a
    record on disk means that its images are there and whole.
    """

    def __init__(self, folder: str, metadata: dict[str, object]):
        """
        Args:
            folder: subfolder, relative to the output folder.
            metadata: JSON values to embed as PNG text, by chunk name.

        Raises:
            ValueError: the folder lies outside the output folder.
        """
        root = Path(folder_paths.get_output_directory()).resolve()
        self._path = (root / folder).resolve()
        if not self._path.is_relative_to(root):
            raise ValueError(f"folder {folder!r} leaves ComfyUI's output folder; name a subfolder of it")
        self._path.mkdir(parents=True, exist_ok=True)
        self._subfolder = self._path.relative_to(root).as_posix()
        self._text = PngImagePlugin.PngInfo()
        for name, value in metadata.items():
            self._text.add_text(name, json.dumps(value))

    def write(self, record: EditRecord, before: np.ndarray, after: np.ndarray) -> EditRecord:
        """Saves a pair (uint8 [H, W, 3] each) and returns its record with the files in it."""
        prefix = f"{re.sub(r'[^0-9A-Za-z]', '-', record.key)}-{uuid.uuid4().hex[:12]}"
        filed = record.model_copy(
            update={
                "input_images": (self._save_image(f"{prefix}-source.png", before),),
                "output_images": (self._save_image(f"{prefix}-edited.png", after),),
            }
        )
        self._save(f"{prefix}.json", filed.model_dump_json(indent=1).encode())
        return filed

    def _save_image(self, name: str, pixels: np.ndarray) -> ImageFile:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=PNG_LEVEL, pnginfo=self._text)
        data = buffer.getvalue()
        self._save(name, data)
        return ImageFile(
            filename=name, subfolder=self._subfolder, type="output", sha256=hashlib.sha256(data).hexdigest()
        )

    def _save(self, name: str, data: bytes) -> None:
        temporary = self._path / f".{name}.part"
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self._path / name)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
