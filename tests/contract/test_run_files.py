"""What ComfyUI lists of a run's files once they are taken away."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

RUN, KEY = "0123456789abcdef" * 2, "c" * 20


@pytest.fixture
def listed(pack: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """ComfyUI's list of assets, empty at first, and switched on: names of files as its page shows them."""
    db = pytest.importorskip("app.database.db")
    management = pytest.importorskip("app.assets.services.asset_management")
    monkeypatch.setattr("comfy.cli_args.args.enable_assets", True)
    monkeypatch.setattr("comfy.cli_args.args.database_url", "sqlite:///:memory:")
    monkeypatch.setattr(db, "Session", None)
    db.init_db()
    return lambda: {one.ref.name for one in management.list_assets_page().items}


def test_deleted_files_leave_the_list_of_assets(pack: Any, folders: Path, listed: Any) -> None:
    from app.assets.services.ingest import register_file_in_place

    run_files = pack.part("routes.run_files")
    saved = folders / "output" / "editpairs" / RUN / f"{KEY}-0" / f"{KEY}-0123456789ab-edited.png"
    uploaded = folders / "temp" / "editpairs" / RUN / f"{KEY}.png"
    theirs = folders / "output" / "theirs.png"
    for path in (saved, uploaded, theirs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hashlib.sha256(path.name.encode()).digest())
        register_file_in_place(abs_path=str(path), name=path.name, tags=["output"])
    assert listed() == {saved.name, uploaded.name, theirs.name}
    asked = pack.part("core.run_files").RunFiles(run_id=RUN, everything=True)
    assert run_files.discard(asked) == 0
    assert listed() == {theirs.name} and theirs.exists()
