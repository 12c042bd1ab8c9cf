"""Servers that somebody else runs: what is remembered of them, and for how long."""

from __future__ import annotations

import pytest

from comfy_nodes.core.records import SavedFile
from comfy_nodes.core.run_files import RunFiles
from driver.comfyui.client import ComfyServer
from driver.comfyui.hosts import ForeignServer

RUN = "0" * 32


def saved(number: int) -> SavedFile:
    return SavedFile(filename="a.png", subfolder=f"editpairs/{RUN}/key{number}-0", type="output", sha256="0" * 64)


@pytest.mark.parametrize(("deletes", "asked"), [(True, [3, 3]), (False, [3])])
def test_what_is_to_be_deleted_is_remembered_until_it_was_asked_for(
    deletes: bool, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be deleted, nothing is remembered: a run may have millions of samples."""
    told: list[int] = []

    def discard(_server: ComfyServer, files: RunFiles) -> int | None:
        told.append(len(files.samples))
        return 0 if deletes else None

    monkeypatch.setattr(ComfyServer, "discard", discard)
    host = ForeignServer(ComfyServer("http://127.0.0.1:9"))
    for number in range(6):
        host.discard([f"editpairs/{RUN}/k.png [temp]"] if number % 3 == 2 else [], [saved(number)])
    assert told == asked
    assert not host._home
