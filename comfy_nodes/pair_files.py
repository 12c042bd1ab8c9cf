"""How a pair lies on disk: two PNGs and a JSON record, under a name that nobody else uses."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from .core.records import EditRecord, SavedFile
from .output_files import OutputFiles

PNG_LEVEL = 1
"""zlib level of saved PNGs. Level 4, core's, takes almost twice as long for a tenth of the size."""


class PairFiles:
    """Writes pairs. The record comes last, so a record on disk means that its images are there and whole."""

    def __init__(self, folder: str, metadata: dict[str, object]):
        """
        Args:
            folder: subfolder, relative to the output folder.
            metadata: JSON values to embed as PNG text, by chunk name.

        Raises:
            ValueError: the folder lies outside the output folder.
        """
        self._files = OutputFiles(folder)
        self._text = PngImagePlugin.PngInfo()
        for name, value in metadata.items():
            self._text.add_text(name, json.dumps(value))

    def write(self, record: EditRecord, before: Sequence[np.ndarray], after: np.ndarray) -> EditRecord:
        """Saves a pair and returns its record with the files in it.

        Args:
            before: the photo, and a reference picture where the edit had one; uint8 [H, W, 3] each.
            after: uint8 [H, W, 3], of the photo's size.
        """
        prefix = self._files.prefix(record.key)
        names = ("source", *(f"reference{number or ''}" for number in range(len(before) - 1)))
        filed = record.model_copy(
            update={
                "input_images": tuple(
                    self._save_image(f"{prefix}-{name}.png", image) for name, image in zip(names, before, strict=True)
                ),
                "output_images": (self._save_image(f"{prefix}-edited.png", after),),
            }
        )
        self._files.save(f"{prefix}.json", filed.model_dump_json(indent=1).encode())
        return filed

    def finish(self, key: str, returned: list[dict[str, Any]]) -> None:
        """Says that all of a sample is written; see `OutputFiles.finish`."""
        self._files.finish(key, returned)

    def _save_image(self, name: str, pixels: np.ndarray) -> SavedFile:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", compress_level=PNG_LEVEL, pnginfo=self._text)
        return self._files.save(name, buffer.getvalue())
