"""Gives a batch run's files to the driver, many at a time, and takes them out of ComfyUI's folders once it has them: ComfyUI
itself gives one at a time and deletes none.

The driver asks over routes. It is ComfyUI's server that keeps other sites' pages away from them; what may be given and
deleted is decided here: files in the folder that has the run's id for its name, under names that sinks give, and no links.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import zipfile
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import folder_paths
from comfy.cli_args import args
from pydantic import BaseModel, ValidationError

from ..core.keys import file_stem
from ..core.records import records_name
from ..core.run_files import FETCH_ROUTE, FOLDER, ROUTE, RunFiles, SinkFolder, Wanted
from .ingredients import comfy_server

if TYPE_CHECKING:
    from aiohttp import web


MOST_BYTES = 128 << 20
"""Of an answer, which is made in memory. Ours: sixteen samples of four megapixels fit."""

_Asked = TypeVar("_Asked", bound=BaseModel)


def announce() -> None:
    """Gives ComfyUI the routes. Once, when the pack is loaded."""
    if server := comfy_server():
        server.routes.post(ROUTE)(_discard)
        server.routes.post(FETCH_ROUTE)(_fetch)


async def _discard(request: web.Request) -> web.Response:
    from aiohttp import web

    asked = await _asked(request, RunFiles)
    return web.json_response({"left": await asyncio.to_thread(discard, asked)})


async def _fetch(request: web.Request) -> web.Response:
    from aiohttp import web

    asked = await _asked(request, Wanted)
    return web.Response(body=await asyncio.to_thread(packed, asked), content_type="application/zip")


async def _asked(request: web.Request, kind: type[_Asked]) -> _Asked:
    """What a request asks for.

    Raises:
        HTTPException: it is no run's.
    """
    from aiohttp import web

    if request.content_type != "application/json":  # what a page of another site may send unasked
        raise web.HTTPUnsupportedMediaType(text=json.dumps({"error": "not application/json"}))
    try:
        return kind.model_validate_json(await request.read())
    except ValidationError:
        raise web.HTTPBadRequest(text=json.dumps({"error": "not what a run asks for"})) from None


def packed(asked: Wanted) -> bytes:
    """What sinks saved of samples and said of it, as a zip; whole samples, in their order, as long as there is room."""
    run = Path(folder_paths.get_output_directory(), FOLDER, asked.run_id).absolute()
    with BytesIO() as found:
        with zipfile.ZipFile(found, "w", zipfile.ZIP_STORED) as members:
            for one in asked.samples:
                folder = run / one.name
                paths = [] if any(map(_is_link, (run.parent, run, folder))) else _given(folder, one.key)
                if found.tell() + sum(path.stat().st_size for path in paths) > MOST_BYTES:
                    break
                for path in paths:
                    members.writestr(f"{one.name}/{path.name}", path.read_bytes())
        return found.getvalue()


def _given(folder: Path, key: str) -> list[Path]:
    """A sample's pictures and its list of records, once that is there, so that the pictures are."""
    listing = folder / records_name(key)
    if not _is_plain(listing):
        return []
    pictures = [
        path for path in _inside(folder) if path.name.startswith(f"{file_stem(key)}-") and path.suffix == ".png"
    ]
    return [listing, *filter(_is_plain, sorted(pictures))]


def _is_plain(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


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
