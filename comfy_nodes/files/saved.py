"""Files of ours in ComfyUI's output folder: whole or absent, under names that nobody else uses."""

from __future__ import annotations

import asyncio
import hashlib
import json
import uuid
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import folder_paths
import numpy as np
from comfy_api.latest import io
from PIL import Image, PngImagePlugin

from ..core.keys import file_stem
from ..core.records import EditRecord, FailureRecord, SavedFile, records_name
from ..core.whole_files import write_whole
from ..wires.sockets import EditSample, PngFile

Written = TypeVar("Written")


def output_folder(folder: str) -> Path:
    """A subfolder of ComfyUI's output folder, which need not be there.

    Raises:
        ValueError: it lies outside of it.
    """
    root = Path(folder_paths.get_output_directory()).resolve()
    path = (root / folder).resolve()
    if not path.is_relative_to(root):
        raise ValueError(f"folder {folder!r} leaves ComfyUI's output folder; name a subfolder of it")
    return path


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
        self._path = output_folder(folder)
        self._path.mkdir(parents=True, exist_ok=True)
        self._subfolder = self._path.relative_to(output_folder("")).as_posix()

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


PNG = {"compress_level": 1, "compress_type": zlib.Z_RLE}
"""How pictures are packed. Of photos, 512 x 512 and 1024 x 1024, each on one core: 15 ms for 404 kB and 53 ms for 1,266 kB;
with zlib's own strategy 18 and 63 ms for 439 and 1,417 kB, at level 4, core's, 32 and 111 ms for 406 and 1,281 kB."""

_writers = ThreadPoolExecutor(2, "save-pair")
"""Two, as packing one picture keeps a core busy."""


async def aside(write: Callable[[], Written]) -> Written:
    """Has a sink write while ComfyUI goes on with other nodes of the prompt. A prompt that breaks off ends when all is
    written whose turn had come, as if the sinks had never let it go on."""
    writing = _writers.submit(write)
    try:
        return await asyncio.shield(asyncio.wrap_future(writing))
    except asyncio.CancelledError:
        wait([writing])
        raise


class PairFiles(OutputFiles):
    """Writes pairs. The record comes last, so a record on disk means that its images are there and whole."""

    def __init__(self, folder: str, metadata: dict[str, object], files: Sequence[PngFile] = ()):
        """
        Args:
            folder: subfolder, relative to the output folder.
            metadata: JSON values to embed as PNG text, by chunk name.
            files: pictures with these pixels are saved as these files, and not packed anew, where nothing is embedded.

        Raises:
            ValueError: the folder lies outside the output folder.
        """
        super().__init__(folder)
        self._files = () if metadata else files
        self._text = PngImagePlugin.PngInfo()
        for name, value in metadata.items():
            self._text.add_text(name, json.dumps(value))

    def write(self, record: EditRecord, before: Sequence[np.ndarray], after: np.ndarray) -> EditRecord:
        """Saves a pair and returns its record with the files in it.

        Args:
            before: the photo, and a reference picture where the edit had one; uint8 [H, W, 3] each.
            after: uint8 [H, W, 3], of the photo's size.
        """
        prefix = self.prefix(record.key)
        names = ("source", *(f"reference{number or ''}" for number in range(len(before) - 1)))
        filed = record.model_copy(
            update={
                "input_images": tuple(
                    self._save_image(f"{prefix}-{name}.png", image) for name, image in zip(names, before, strict=True)
                ),
                "output_images": (self._save_image(f"{prefix}-edited.png", after),),
            }
        )
        self.save(f"{prefix}.json", filed.model_dump_json(indent=1).encode())
        return filed

    def _save_image(self, name: str, pixels: np.ndarray) -> SavedFile:
        for file in self._files:
            if np.array_equal(file.pixels, pixels):
                return self.save(name, file.data)
        buffer = BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG", pnginfo=self._text, **PNG)
        return self.save(name, buffer.getvalue())


def failed(sample: EditSample, files: OutputFiles) -> io.NodeOutput:
    """Writes the reason where a record would lie and shows it, and no picture: the page would keep the one before."""
    assert sample.failure
    key = sample.provenance.key
    returned = FailureRecord(key=key, failure=sample.failure).model_dump(mode="json")
    files.finish(key, [returned])
    reason = f"{sample.failure.error_type}: {sample.failure.message}"
    return io.NodeOutput(ui={"editpairs": [returned], "images": [], "text": [reason]})
