"""The stage that makes photos: its records become pictures in a folder, and lines that say where each comes from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

from comfy_nodes.core.records import PhotoRecord

from ..dataset.parts import PHOTOS, Part, parts
from ..dataset.spool import PhotoFolder, photo_name
from ..engine.harvest import PhotoHarvester
from ..inputs.find import PHOTOS_FILE
from ..journal import Journal
from ..report.summary import Summary
from ..terminal import counted, say
from .lines import LineStage
from .stage import Left


class PhotoStage(LineStage):
    """Photos painted from captions. The run's folder is an input as it is."""

    kind = PhotoRecord
    file = PHOTOS_FILE
    gives = "photos"

    @property
    def harvester(self) -> PhotoHarvester:
        return PhotoHarvester(self._pictures)

    @property
    def shown_from(self) -> Path:
        return self.run.folder.path

    def finish(self) -> Summary:
        """As of every line stage. Photos that are gone from the folder are painted again first."""
        if self._swept() and not self.run.stop.level:
            self.work()
        return super().finish()

    def write_shard(self) -> Left:
        """Photos that are gone from the folder wait again then."""
        self._swept()
        return super().write_shard()

    @cached_property
    def _pictures(self) -> PhotoFolder:
        part = self.shard.part if self.shard else Part(self.run.folder.path)
        return PhotoFolder(part.config(PHOTOS))

    def _swept(self) -> list[str]:
        """Clears the folder of what is no photo of a record; returns samples whose photo is gone, which wait again."""
        records = (PhotoRecord.model_validate_json(text) for text, _ in self.journal.records(kept=True))
        lost = self.journal.lost(self._pictures.sweep(record.key for record in records))
        if lost:
            say(f"{counted(len(lost), 'photo', 'is')} painted again, as the file is gone: {', '.join(lost[:3])}")
        return lost

    def _lines(self) -> Iterator[dict[str, Any]]:
        folder = self.run.folder
        if not folder.many:
            yield from self._of_part(Part(folder.path), self.journal)
            return
        for part in parts(folder.path):
            if part.journal.exists():
                with closing(Journal(part.journal)) as journal:
                    yield from self._of_part(part, journal)

    def _of_part(self, part: Part, journal: Journal) -> Iterator[dict[str, Any]]:
        below = part.config(PHOTOS).relative_to(part.output)
        models = self.facts.models
        licences = ", ".join(dict.fromkeys(one.licence or "licence unknown" for one in models)) or "licence unknown"
        for text, _attempt in journal.records(kept=True):
            record = PhotoRecord.model_validate_json(text)
            line = self._line(text)
            yield {
                **line,
                "path": (below / photo_name(record.key)).as_posix(),
                "source_licence": f"synthetic ({licences})",
                "source_sha256": record.file.sha256,
                "synthetic": {**line["synthetic"], "caption_of": line["path"]},
            }
