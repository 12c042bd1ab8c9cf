"""Takes a batch run's files out of ComfyUI's folders once the driver has them, which ComfyUI itself cannot do.

The driver asks over a route. It is ComfyUI's server that keeps other sites' pages away from it; what may be deleted is
decided here: files in the folder that has the run's id for its name, under names that sinks give, and no links.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import folder_paths
from comfy.cli_args import args
from pydantic import ValidationError

from ..core.keys import file_stem
from ..core.records import records_name
from ..core.run_files import FOLDER, ROUTE, RunFiles, SinkFolder
from .ingredients import comfy_server

if TYPE_CHECKING:
    from aiohttp import web


def announce() -> None:
    """Gives ComfyUI the route. Once, when the pack is loaded."""
    if server := comfy_server():
        server.routes.post(ROUTE)(_discard)


async def _discard(request: web.Request) -> web.Response:
    from aiohttp import web

    if request.content_type != "application/json":  # what a page of another site may send unasked
        return web.json_response({"error": "not application/json"}, status=415)
    try:
        asked = RunFiles.model_validate_json(await request.read())
    except ValidationError:
        return web.json_response({"error": "not what a run asks for"}, status=400)
    return web.json_response({"left": await asyncio.to_thread(discard, asked)})


def discard(asked: RunFiles) -> int:
    """Deletes files of a run, and folders that are empty then.

    Returns:
        How many of those that are meant stay.
    """
    saved, uploaded = (
        Path(root, FOLDER, asked.run_id).absolute()
        for root in (folder_paths.get_output_directory(), folder_paths.get_temp_directory())
    )
    linked = {folder for folder in (saved, uploaded) if _is_link(folder.parent) or _is_link(folder)}
    left = len(linked)
    if saved not in linked:
        samples = _inside(saved) if asked.everything else [saved / one.name for one in asked.samples]
        left += sum(_delete_sample(folder) for folder in samples)
        _remove(saved)
    if uploaded not in linked:
        left += _delete(one for one in _inside(uploaded) if asked.everything or one.name in asked.uploads)
        _remove(uploaded)
    return left


def _delete_sample(folder: Path) -> int:
    """Deletes what a sink saved of a sample; returns how many files stay."""
    try:
        key = SinkFolder.named(folder.name).key
    except ValueError:
        return 1
    if _is_link(folder):
        return 1
    found = _inside(folder)
    names = (f"{file_stem(key)}-", records_name(key))
    saved = [path for path in found if path.name.removeprefix(".").startswith(names)]  # or was being written
    left = len(found) - len(saved) + _delete(saved)
    _remove(folder)
    return left


def _delete(files: Iterable[Path]) -> int:
    """Deletes files; returns how many stay, as links and folders do."""
    left, gone = 0, []
    for path in files:
        try:
            if path.is_symlink() or not path.is_file():
                left += 1
            else:
                path.unlink()
                gone.append(str(path))
        except OSError:
            left += 1
    _unlist(gone)
    return left


def _unlist(gone: list[str]) -> None:
    """Marks files as missing in ComfyUI's list of assets, where it keeps one, so that nobody is shown them."""
    if not args.enable_assets:
        return
    from app.assets.database.queries import bulk_update_is_missing, get_reference_by_file_path
    from app.database.db import create_session

    with create_session() as session:
        found = [get_reference_by_file_path(session, path) for path in gone]
        bulk_update_is_missing(session, [one.id for one in found if one], True)
        session.commit()


def _is_link(folder: Path) -> bool:
    """Whether a folder's name leads somewhere else, as a link that somebody put there."""
    return folder.resolve() != folder.parent.resolve() / folder.name


def _inside(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _remove(folder: Path) -> None:
    """Removes a folder that is empty."""
    with contextlib.suppress(OSError):
        folder.rmdir()
