"""The run's log for machines: `run.log.jsonl`, an event a line, of bounded size and without secrets.

Listens as `listeners.py` says. Later runs of the same folder write behind earlier ones.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from comfy_nodes.core.records import SampleFailure
from comfy_nodes.core.services.redaction import without_secrets

from ..errors import RunError
from ..samples import Sample
from ..terminal import plain
from .listeners import ServerView

NAME = "run.log.jsonl"

LOG_BYTES = 20_000_000
"""Size of one file, some 100,000 events. Ours."""

OLD_LOGS = 4
"""Earlier files that are kept beside it, as `run.log.jsonl.1` and so on. Ours."""


class RunLog:
    """Writes down what it is told."""

    def __init__(self, folder: Path):
        """
        Raises:
            RunError: the folder cannot be written to.
        """
        self._path = folder / NAME
        try:
            _end_torn_line(self._path)
            # A file's name may hold bytes that are no text; as a JSON escape they still make a line.
            handler = _Handler(
                self._path, maxBytes=LOG_BYTES, backupCount=OLD_LOGS, encoding="utf-8", errors="backslashreplace"
            )
        except OSError as error:
            raise _unwritable(self._path, error) from None
        handler.setFormatter(_JsonLine())
        self._handler = handler
        self._logger = logging.Logger(NAME)  # not in logging's tree: a second run of this process has a log of its own
        self._logger.addHandler(handler)
        self._told: dict[str, tuple[str, int]] = {}

    def planned(self, samples: int, ended: int) -> None:
        self._write("planned", samples=samples, ended=ended)

    def finished(self, server: str, sample: Sample, verdicts: list[str], seconds: float | None) -> None:
        self._write("finished", server=server, key=sample.key, verdicts=verdicts, seconds=seconds)

    def failed(self, sample: Sample, failure: SampleFailure) -> None:
        self._write(
            "skipped" if failure.skipped else "failed",
            key=sample.key,
            source=sample.annotation.path,
            stage=failure.stage,
            node=failure.node,
            error_class=failure.error_type,
            message=failure.message,
        )

    def retried(self, server: str, samples: int, error_class: str, why: str) -> None:
        self._write("retried", server=server, samples=samples, error_class=error_class, message=why)

    def server(self, view: ServerView) -> None:
        """Written when its state or the number of its faults changes."""
        now = (view.state, view.faults)
        if self._told.get(view.name) == now:
            return
        self._told[view.name] = now
        self._write(
            "server",
            server=view.name,
            state=view.state,
            in_flight=view.in_flight,
            done=view.done,
            faults=view.faults,
            samples_per_prompt=view.samples_per_prompt,
            seconds_per_sample=view.seconds_per_sample,
        )

    def say(self, line: str) -> None:
        self._write("said", message=line)

    def close(self) -> None:
        self._handler.close()

    def _write(self, event: str, **fields: Any) -> None:
        self._logger.info(event, extra={"fields": fields})


class _JsonLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = {name: _clean(value) for name, value in vars(record)["fields"].items()}
        return json.dumps({"time": time, "event": record.msg, **fields}, ensure_ascii=False)


class _Handler(RotatingFileHandler):
    """Speaks up where logging would print a traceback and go on."""

    _formatted: tuple[logging.LogRecord | None, str] = None, ""

    def format(self, record: logging.LogRecord) -> str:
        """Once for each record: its length is looked at before it is written."""
        if self._formatted[0] is not record:
            self._formatted = record, super().format(record)
        return self._formatted[1]

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise _unwritable(Path(self.baseFilename), error) from None
        raise


def _clean(value: Any) -> Any:
    return without_secrets(plain(value)) if isinstance(value, str) else value


def _unwritable(path: Path, error: OSError) -> RunError:
    return RunError(f"{path}: cannot be written ({error.strerror}); see to the disk and run the same command again", 1)


def _end_torn_line(path: Path) -> None:
    """Ends the line in which a run was killed, so that the next one begins a line of its own."""
    if path.exists() and path.stat().st_size:
        with path.open("rb+") as log:
            log.seek(-1, 2)
            if log.read(1) != b"\n":
                log.write(b"\n")
