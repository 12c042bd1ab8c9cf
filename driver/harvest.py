"""What a finished prompt brings home: the sink's records, checked, with their files fetched."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from comfy_nodes.core.records import AnnotationRecord, EditRecord, SavedFile

from .comfy import ComfyServer
from .failures import RunError, ServerFault
from .spool import Spool


class NoRecord(Exception):
    """The prompt ended well, but the sink was not reached."""


@dataclass(frozen=True)
class Row:
    """A record as the journal keeps it."""

    key: str
    verdict: str
    record: str
    """JSON."""


@dataclass(frozen=True)
class Harvest:
    """What one prompt gave."""

    rows: list[Row]
    files: list[SavedFile] = field(default_factory=list)
    """Files of ours on the server that are not needed there any more."""


class Harvester(Protocol):
    """Brings home what one kind of sink returns."""

    def harvest(self, ui: dict[str, Any], server: ComfyServer) -> Harvest:
        """
        Args:
            ui: what the sink returned.

        Raises:
            NoRecord: nothing of ours is in it.
            FileNotFoundError: the server lost a file.
            ServerFault: a file arrived damaged.
            RunError: the server's records are of another version.
        """


class EditHarvester:
    """Of `Save Edit Pair`: records go to the journal, images into the spool."""

    def __init__(self, spool: Spool):
        self._spool = spool

    def harvest(self, ui: dict[str, Any], server: ComfyServer) -> Harvest:
        records = _records(ui, EditRecord)
        files = []
        for record in records:
            for role, images in (("input", record.input_images), ("output", record.output_images)):
                for number, image in enumerate(images):
                    data = server.fetch(image)
                    if hashlib.sha256(data).hexdigest() != image.sha256:
                        raise ServerFault(f"{image.filename} arrived damaged")
                    self._spool.put(record.key, role, number, data)
                    files.append(image)
        return Harvest([Row(one.key, one.verdict, one.model_dump_json()) for one in records], files)


class AnnotationHarvester:
    """Of `Save Annotation`: the annotation is the record, there are no files to fetch."""

    def harvest(self, ui: dict[str, Any], server: ComfyServer) -> Harvest:
        records = _records(ui, AnnotationRecord)
        files = [one.file for one in records]
        return Harvest([Row(one.key, "keep", one.model_dump_json()) for one in records], files)


_Record = TypeVar("_Record", bound=BaseModel)


def _records(ui: dict[str, Any], kind: type[_Record]) -> list[_Record]:
    try:
        return [kind.model_validate(item) for item in ui["editpairs"]]
    except (KeyError, TypeError):
        raise NoRecord("the sink was not reached: a node before it blocked the prompt") from None
    except ValidationError as error:
        raise RunError(
            f"the server's EditPairs writes other records than this driver reads ({error.error_count()} errors): "
            "use one version of the repository on both sides",
            status=1,
        ) from None
