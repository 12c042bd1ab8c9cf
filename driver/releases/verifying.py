"""Whether a release is what its manifest says."""

from __future__ import annotations

from pathlib import Path

from ..errors import RunError
from .manifest import MANIFEST, Manifest, Version
from .shelf import Place, digest_of
from .writing import DATA

SHOWN = 5
"""Files that are named. Ours."""


def verify(where: str) -> Manifest:
    """
    Args:
        where: a release's folder, or its URL.

    Raises:
        RunError: there is none, or it is not as its manifest says; the message names the files.
    """
    place = Place(where, "--verify")
    manifest = place.manifest()
    wrong = []
    for file in manifest.files:
        found = _digest(place, file.path)
        if found != file.sha256:
            wrong.append(f"{file.path} {'was changed' if found else 'is missing'}")
    listed = {MANIFEST, *(file.path for file in manifest.files)}
    wrong += [f"{name} is not of it" for name in sorted(_names(place) - listed)]
    if wrong := [*wrong, *_wrong_before(where, manifest)]:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise RunError(
            f"--verify {where}: release {manifest.version} is not as its manifest says: {', '.join(wrong[:SHOWN])}{more}; "
            "take it from where it came from again",
            1,
        )
    return manifest


def _wrong_before(where: str, manifest: Manifest) -> list[str]:
    """What is wrong with the release before, where it stands beside it."""
    if manifest.since is None:
        return []
    above = where.rstrip("/").rpartition("/")[0] if "://" in where else Path(where).resolve().parent
    shelf = Place(above, "--verify")
    before = Version.of(manifest.since.version)
    if before not in shelf.versions() or shelf.manifest(before).seal == manifest.since.seal:
        return []
    return [f"{before.folder} beside it is not the release that it was made after"]


def _digest(place: Place, name: str) -> str:
    """SHA-256 of a file; empty where there is none."""
    if place.store is not None:
        return place.store.digest(name)
    path = Path(place.where) / name
    return digest_of(path) if path.is_file() else ""


def _names(place: Place) -> set[str]:
    """All files of a release's folder, but for those that begin with a dot."""
    if place.store is not None:
        found = {*place.store.names(""), *place.store.names(DATA)} - {DATA}
    else:
        folder = Path(place.where)
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return {name for name in found if not name.rpartition("/")[2].startswith(".")}
