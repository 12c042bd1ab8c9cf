"""What a batch run has on a server, how it asks for it, and for that to be taken away once it is home.

The driver makes such requests, the second of what it was told and has committed; a server carries them out in its own
folders. Nothing here looks at a disk.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from .keys import FileName, Key

ROUTE = "/editpairs/discard"
"""Where a server takes it: POST `RunFiles` as application/json."""

FETCH_ROUTE = "/editpairs/fetch"
"""Where a server gives what sinks saved of several samples: POST `Wanted` as application/json, back comes a zip with plain
members `<sink folder>/<file>`. It deletes nothing: that is asked for when all is home."""

MOST_SAMPLES = 16
"""Samples of one request. Ours: two requests in the place of 64 leave nothing to gain."""

FOLDER = "editpairs"
"""Below ComfyUI's output and temp folders: where each run has a folder of its own, named by its id."""


def _run_id(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{32}", text):
        raise ValueError("not a run's id (32 hexadecimal digits)")
    return text


RunId = Annotated[str, AfterValidator(_run_id)]


class SinkFolder(BaseModel):
    """Where a sample's sink saved, in the run's folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: Key
    submission: int = Field(ge=0, lt=2**31)

    @property
    def name(self) -> str:
        return f"{self.key}-{self.submission}"

    @classmethod
    def named(cls, name: str) -> SinkFolder:
        """
        Raises:
            ValueError: no run names a folder so.
        """
        key, _, submission = name.rpartition("-")
        found = cls.model_validate({"key": key, "submission": submission})
        if found.name != name:
            raise ValueError(f"no run names a folder {name!r}")
        return found


class RunFiles(BaseModel):
    """Files of one run that are not needed on a server any more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: RunId
    samples: tuple[SinkFolder, ...] = ()
    """Whose files are home."""
    uploads: tuple[FileName, ...] = ()
    """Pictures in the run's folder below temp."""
    everything: bool = False
    """Whether the run is through, and nothing of it is needed."""


class Wanted(BaseModel):
    """Samples of one run whose sinks' files are wanted, as many of them as fit into an answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: RunId
    samples: tuple[SinkFolder, ...] = Field(min_length=1, max_length=MOST_SAMPLES)


class Left(BaseModel):
    """What a server answers."""

    left: int = Field(ge=0)
    """How many of the files that were meant stay: they are not the run's, or cannot be deleted."""
