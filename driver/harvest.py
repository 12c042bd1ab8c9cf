"""What a sink left of a sample, brought home: its records, checked, with their files fetched."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from PIL import Image
from pydantic import BaseModel, ValidationError

from comfy_nodes.core.instructions import InstructionRecord
from comfy_nodes.core.records import (
    AnnotationRecord,
    EditRecord,
    FailureRecord,
    SampleFailure,
    SavedFile,
    records_name,
)

from .comfy import ComfyServer
from .failures import RunError, ServerFault
from .spool import Spool


class SinkNotRun(Exception):
    """The sink left nothing of the sample, so far."""


@dataclass(frozen=True)
class Row:
    """A record as the journal keeps it."""

    key: str
    verdict: str
    record: str
    """JSON."""


@dataclass(frozen=True)
class Harvest:
    """What a sample gave: rows, or a reason why there are none."""

    rows: list[Row] = field(default_factory=list)
    failure: SampleFailure | None = None
    files: list[SavedFile] = field(default_factory=list)
    """Files of ours on the server that are not needed there any more."""
    misfit: str = ""
    """Why its rows must not stand beside those of this run."""

    @property
    def rejected(self) -> bool:
        """Whether nothing of it was kept, and somebody said why."""
        return bool(self.rows) and all(row.verdict == "reject" for row in self.rows)


Rename = Callable[[str, bool], str]
"""From a record's key, and whether the sample gave nothing but rejected ones, to the key that it is kept under."""


class Harvester(Protocol):
    """Brings home what one kind of sink left."""

    def harvest(self, key: str, folder: str, server: ComfyServer, rename: Rename) -> Harvest:
        """
        Args:
            key: the sample's.
            folder: where the sink saved, below the output folder.

        Raises:
            SinkNotRun: there is nothing yet.
            FileNotFoundError: the server lost a file.
            ServerFault: a file arrived damaged.
            RunError: the server's records are of another version, or the disk is full.
        """


class EditHarvester:
    """Of `Save Edit Pair`: records go to the journal, images into the spool."""

    def __init__(self, spool: Spool):
        self._spool = spool

    def harvest(self, key: str, folder: str, server: ComfyServer, rename: Rename) -> Harvest:
        returned, listing = _returned(key, folder, server)
        if failure := _failure(returned):
            return Harvest(failure=failure, files=[listing])
        records = _records(returned, EditRecord)
        rejected = all(record.verdict == "reject" for record in records)
        rows, files = [], [listing]
        for record in records:
            kept_as = rename(record.key, rejected)
            for role, images in (("input", record.input_images), ("output", record.output_images)):
                for number, image in enumerate(images):
                    self._spool.put(kept_as, role, number, _image(image, server))
                    files.append(image)
            named = record.model_copy(update={"key": kept_as})
            rows.append(Row(kept_as, record.verdict, named.model_dump_json()))
        return Harvest(rows, files=files)


class RecordHarvester:
    """Of the sinks whose record is all that they leave: `Save Annotation` and `Save Instructions`."""

    def __init__(self, kind: type[AnnotationRecord] | type[InstructionRecord]):
        self._kind = kind

    def harvest(self, key: str, folder: str, server: ComfyServer, rename: Rename) -> Harvest:
        returned, listing = _returned(key, folder, server)
        if failure := _failure(returned):
            return Harvest(failure=failure, files=[listing])
        records = _records(returned, self._kind)
        rows = [Row(one.key, "keep", one.model_dump_json()) for one in records]
        return Harvest(rows, files=[listing, *(one.file for one in records)])


def _returned(key: str, folder: str, server: ComfyServer) -> tuple[list[Any], SavedFile]:
    """What the sink returned, and the file that says so."""
    name = records_name(key)
    try:
        data = server.fetch(name, folder)
    except FileNotFoundError:
        raise SinkNotRun from None
    listing = SavedFile(filename=name, subfolder=folder, type="output", sha256=hashlib.sha256(data).hexdigest())
    try:
        return list(json.loads(data)["editpairs"]), listing
    except (ValueError, KeyError, TypeError):
        raise ServerFault(f"{name} arrived damaged") from None


def _image(image: SavedFile, server: ComfyServer) -> bytes:
    """A picture's bytes, which are what the node wrote, and a whole PNG."""
    data = server.fetch(image.filename, image.subfolder, image.type)
    if hashlib.sha256(data).hexdigest() != image.sha256:
        raise ServerFault(f"{image.filename} arrived damaged")
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.verify()  # its chunks and their checksums; decoding the pixels would take longer than all else here
    except (OSError, ValueError, SyntaxError) as error:
        raise ServerFault(f"{image.filename} is no whole PNG ({error})") from None
    return data


def _failure(returned: list[Any]) -> SampleFailure | None:
    """Why a node before the sink gave the sample up."""
    for item in returned:
        if isinstance(item, dict) and "failure" in item:
            return _records([item], FailureRecord)[0].failure
    return None


_Record = TypeVar("_Record", bound=BaseModel)


def _records(returned: list[Any], kind: type[_Record]) -> list[_Record]:
    try:
        return [kind.model_validate(item) for item in returned]
    except ValidationError as error:
        raise RunError(
            f"the server's EditPairs writes other records than this driver reads ({error.error_count()} errors): "
            "use one version of the repository on both sides",
            status=1,
        ) from None
