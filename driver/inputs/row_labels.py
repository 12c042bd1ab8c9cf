"""Hand labels of rows that are judged again: who labelled a run's rows with `review.py` speaks where `verify` looks at them.

Found where `review.py` leaves them, in the run's folder, whether the input is that folder or one of its configs.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path, PurePosixPath

from comfy_nodes.core.verdicts import verdicts

from ..dataset.shards import CONFIGS
from ..errors import RunError
from ..labels.labels import LABELS, Labels
from .find import Input
from .photo import Photo
from .storage import LocalStorage, unreadable


class RowLabels:
    """The hand labels beside an input's rows."""

    def __init__(self, given: Input):
        self._files = _beside(given)
        self._labels: list[Labels] | None = None

    def stamp(self) -> str:
        """What changes with the labels; empty where there are none."""
        try:
            stats = [(str(path), (path / LABELS).stat()) for path in self._files]
        except OSError as error:
            raise RunError(f"{LABELS} beside --input: {unreadable(error)}") from None
        return "".join(f"{path}\0{one.st_size}\0{one.st_mtime_ns}\n" for path, one in stats)

    def line(self) -> str:
        """What to say of them before a run; empty where there are none.

        Raises:
            RunError: they cannot be read.
        """
        told = [
            f"{len(one.given)} rows in {path / LABELS}"
            for path, one in zip(self._files, self._read(), strict=True)
            if one.given
        ]
        if not told:
            return ""
        return f"hand labels count, of {' and of '.join(told)}: who labelled a row vouches for it, or rejects it"

    def on(self, photo: Photo) -> Photo:
        """The photo of a row with what persons say of it.

        Raises:
            RunError: the labels cannot be read.
        """
        answers = [answer for one in self._read() for answer in one.answers(photo.row)] if photo.row else []
        if not answers or photo.annotation is None:
            return photo
        known = photo.annotation
        # Another label may be another verdict in other words, so it is part of what the row comes from.
        upstream = hashlib.sha256(f"{known.upstream} {' '.join(answers)}".encode()).hexdigest()
        carried = {**(known.carried or {}), verdicts.LABELS: answers}
        return replace(photo, annotation=replace(known, carried=carried, upstream=upstream))

    def _read(self) -> list[Labels]:
        if self._labels is None:
            self._labels = [Labels(path) for path in self._files]
        return self._labels


def _beside(given: Input) -> list[Path]:
    """The folders of the runs that an input's shards lie in and that hold labels; only of this machine's."""
    if given.kind not in ("parquet", "tar") or not isinstance(given.storage, LocalStorage):
        return []
    folders = {given.storage.folder / PurePosixPath(name).parent for name in given.files()}
    runs = {folder: None for one in sorted(folders) for folder in (one, *_runs(one))}
    return [folder for folder in runs if (folder / LABELS).is_file()]


def _runs(folder: Path) -> list[Path]:
    """The folders that a run could have this one in."""
    return [one.parent for one in (folder, *folder.parents) if one.name in CONFIGS]
