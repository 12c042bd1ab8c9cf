"""What a sink left of a sample, brought home: its records, checked, with their files fetched."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from comfy_nodes.core.instructions.instructions import InstructionRecord
from comfy_nodes.core.records import (
    AnnotationRecord,
    EditRecord,
    FailureRecord,
    PhotoRecord,
    SampleFailure,
    SavedFile,
    read_json,
    records_name,
)

from ..comfyui.client import ComfyServer
from ..dataset.binding import Damaged, Foreign, Origin, Unfit, bind, pictures, records_of, whole_photo
from ..dataset.spool import Spool, Staged
from ..errors import ServerFault
from ..samples import JournalRow

_Record = TypeVar("_Record", bound=EditRecord | AnnotationRecord | InstructionRecord | PhotoRecord)


class SinkNotRun(Exception):
    """The sink left nothing of the sample, so far."""


@dataclass(frozen=True)
class Harvest:
    """What a sample gave: rows, or a reason why there are none."""

    rows: list[JournalRow] = field(default_factory=list)
    failure: SampleFailure | None = None
    files: list[SavedFile] = field(default_factory=list)
    """Files of ours on the server that are not needed there any more."""
    made_with: set[str] = field(default_factory=set)
    """What the rows' records say that they were made with: hashes of ingredients."""
    misfit: str = ""
    """Why its rows must not stand beside those of this run."""
    staged: list[Staged] = field(default_factory=list)
    """The rows' pictures, which take their places when these rows count."""

    @property
    def rejected(self) -> bool:
        """Whether nothing of it was kept, and somebody said why."""
        return bool(self.rows) and all(row.verdict == "reject" for row in self.rows)


Rename = Callable[[str, bool], str]
"""From a record's key, and whether the sample gave nothing but rejected ones, to the key that it is kept under."""


class Harvester(Protocol):
    """Brings home what one kind of sink left."""

    @property
    def stage(self) -> str:
        """What failures of its samples are filed under."""

    def harvest(self, origin: Origin, server: ComfyServer, rename: Rename) -> Harvest:
        """
        Args:
            origin: the sample's.

        Raises:
            SinkNotRun: there is nothing yet.
            FileNotFoundError: the server lost a file.
            ServerFault: a file arrived damaged.
            Foreign: it is another sample's.
            RunError: the disk is full.
        """


class _SinkHarvester(ABC, Generic[_Record]):
    """Reads what a sink left, and sees that it is the sample's; what becomes of the records is each sort's own."""

    stage: str

    def __init__(self, kind: type[_Record]):
        self._kind = kind

    def harvest(self, origin: Origin, server: ComfyServer, rename: Rename) -> Harvest:
        """See `Harvester`."""
        returned, listing = _returned(origin, server)
        try:
            if failure := _failure(returned, origin, self.stage):
                return Harvest(failure=failure, files=[listing])
            records = records_of(returned, self._kind)
            bind(records, origin)
            return self._brought(records, listing, server, rename)
        except Unfit as unfit:
            return _unfit(unfit, listing, self.stage)

    @abstractmethod
    def _brought(self, records: list[_Record], listing: SavedFile, server: ComfyServer, rename: Rename) -> Harvest:
        """The records in journal's rows, and their pictures."""


class EditHarvester(_SinkHarvester[EditRecord]):
    """Of `Save Edit Pair`: records go to the journal, images into the spool."""

    stage = "edit"

    def __init__(self, spool: Spool):
        super().__init__(EditRecord)
        self._spool = spool

    def _brought(self, records: list[EditRecord], listing: SavedFile, server: ComfyServer, rename: Rename) -> Harvest:
        rejected = all(record.verdict == "reject" for record in records)
        harvest = Harvest(files=[listing])
        with ExitStack() as undone:
            for record in records:
                kept_as = rename(record.key, rejected)
                # All of them are looked at before one is taken: what is taken is not there for a second try.
                for role, number, image, picture in list(pictures(record, server.picture)):
                    staged = self._spool.stage(kept_as, role, number, picture)
                    undone.callback(staged.drop)
                    harvest.staged.append(staged)
                    harvest.files.append(image)
                harvest.made_with.add(record.basis.ingredients)
                named = record.model_copy(update={"key": kept_as})
                harvest.rows.append(JournalRow(kept_as, record.verdict, named.model_dump_json()))
            undone.pop_all()
        return harvest


class RecordHarvester(_SinkHarvester[AnnotationRecord | InstructionRecord]):
    """Of the sinks whose record is all that they leave: `Save Annotation` and `Save Instructions`."""

    def __init__(self, kind: type[AnnotationRecord] | type[InstructionRecord]):
        super().__init__(kind)
        self.stage = "annotate" if kind is AnnotationRecord else "write"

    def _brought(
        self,
        records: list[AnnotationRecord | InstructionRecord],
        listing: SavedFile,
        server: ComfyServer,
        rename: Rename,
    ) -> Harvest:
        rows = [JournalRow(one.key, "keep", one.model_dump_json()) for one in records]
        made_with = {one.basis.ingredients for one in records}
        return Harvest(rows, files=[listing, *(one.file for one in records)], made_with=made_with)


class PhotoHarvester(_SinkHarvester[PhotoRecord]):
    """Of `Save Photo`: records go to the journal, pictures where they stay."""

    stage = "synthesize"

    def __init__(self, spool: Spool):
        super().__init__(PhotoRecord)
        self._spool = spool

    def _brought(self, records: list[PhotoRecord], listing: SavedFile, server: ComfyServer, rename: Rename) -> Harvest:
        harvest = Harvest(files=[listing])
        with ExitStack() as undone:
            for record in records:
                staged = self._spool.stage(record.key, "output", 0, whole_photo(record, server.picture(record.file)))
                undone.callback(staged.drop)
                harvest.staged.append(staged)
                harvest.files.append(record.file)
                harvest.made_with.add(record.basis.ingredients)
                harvest.rows.append(JournalRow(record.key, "keep", record.model_dump_json()))
            undone.pop_all()
        return harvest


def _returned(origin: Origin, server: ComfyServer) -> tuple[list[Any], SavedFile]:
    """What the sink returned, and the file that says so."""
    name = records_name(origin.key)
    try:
        data = server.fetch(name, origin.folder)
    except FileNotFoundError:
        raise SinkNotRun from None
    listing = SavedFile(filename=name, subfolder=origin.folder, type="output", sha256=hashlib.sha256(data).hexdigest())
    try:
        said = read_json(data)
    except ValueError as error:
        raise ServerFault(f"{name} of {server.url} arrived damaged ({error})") from None
    returned = said.get("editpairs") if isinstance(said, dict) else None
    if not isinstance(returned, list):
        raise ServerFault(f"{name} of {server.url} holds no list of records")
    return returned, listing


def _failure(returned: list[Any], origin: Origin, stage: str) -> SampleFailure | None:
    """Why there is no record: a node before the sink gave the sample up, or the sink had nothing to save.

    Raises:
        Foreign: another sample was given up.
        Unfit: the reason is of another shape.
    """
    if not returned:
        return SampleFailure(stage, "NoRecord", "the sink saved nothing: a node before it gave an empty batch")
    for item in returned:
        if isinstance(item, dict) and "failure" in item:
            (told,) = records_of([item], FailureRecord)
            if told.key != origin.key:
                raise Foreign(f"a record of another sample came back: its key is {told.key!r:.80}, not {origin.key!r}")
            return told.failure
    return None


def _unfit(unfit: Unfit, listing: SavedFile, stage: str) -> Harvest:
    """The sample's failure, where it is not the server's.

    Raises:
        Foreign: it is another sample's.
        ServerFault: a file arrived damaged.
    """
    if isinstance(unfit, Foreign):
        raise unfit
    if isinstance(unfit, Damaged):
        raise ServerFault(str(unfit))
    return Harvest(failure=SampleFailure(stage, "RecordInvalid", str(unfit)), files=[listing])
