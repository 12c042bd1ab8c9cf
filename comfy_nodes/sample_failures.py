"""What a sink returns of a sample that a node before it gave up on."""

from __future__ import annotations

from typing import Any, Protocol

from comfy_api.latest import io

from .core.records import FailureRecord
from .sockets import EditSample


class Files(Protocol):
    """Where a sink writes."""

    def finish(self, key: str, returned: list[dict[str, Any]]) -> None: ...


def failed(sample: EditSample, files: Files) -> io.NodeOutput:
    """Writes the reason where a record would lie and shows it, and no picture: the page would keep the one before."""
    assert sample.failure
    key = sample.provenance.key
    returned = FailureRecord(key=key, failure=sample.failure).model_dump(mode="json")
    files.finish(key, [returned])
    reason = f"{sample.failure.error_type}: {sample.failure.message}"
    return io.NodeOutput(ui={"editpairs": [returned], "images": [], "text": [reason]})
