"""A run's folder to where `--output` points with a URL.

`manifest.json` is written last and in one step. Whoever follows it sees one finish or the next, never half of one. Shards
of a run of many are brought before, each when it is whole: `shards/000012.json` is written last of its files, and says to
other machines that it need not be made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, TypeAdapter, model_validator

from comfy_nodes.core.whole_files import write_whole

from ..disk import disk_errors
from ..errors import RunError
from .commits import Commit, committed
from .ownership import SHARDS, STAGES
from .parts import NAME, PHOTOS, Part, shards_of
from .shards import CONFIGS
from .store import OurName, Store, StoredFile, name_by_hash
from .tables import TABLES

MANIFEST = "manifest.json"

PENDING = "pending.json"
"""Names what an upload brings, while it lasts: what one that broke off left is found by it."""

LOCAL_ONLY = (".work", "run.sqlite", "annotate.sqlite", "near.sqlite", "images", STAGES)
"""How names begin that stay on the local disk: journals, what isn't whole, what exports took out of the shards,
and what a recipe's stages but the last left."""

_PENDING = TypeAdapter(frozenset[OurName])


class Manifest(BaseModel):
    """`manifest.json`: all files of a published run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[StoredFile, ...]


class PublishedPart(BaseModel):
    """`shards/000012.json` in a store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    commit: Commit | None = None
    """What the shard came to; None until all its files are there."""
    files: tuple[StoredFile, ...] = ()
    former: frozenset[OurName] = frozenset()
    """What uploads that broke off may have left there, and files that an earlier manifest may still name."""

    @model_validator(mode="after")
    def _is_complete(self) -> PublishedPart:
        if self.commit is not None and not self._lacking() <= {f"{SHARDS}/{self.commit.index:06d}.sqlite"}:
            raise ValueError("lacks files of its shard")
        return self

    @property
    def enough(self) -> bool:
        """Whether another machine need not make the shard: earlier versions brought no journal of lines."""
        return self.commit is not None and not self._lacking()

    def _lacking(self) -> set[str]:
        return self.beside().keys() - {file.path for file in self.files}

    def beside(self, folder: Path = Path()) -> dict[str, Path]:
        """The files of a shard that are no rows, the commit last: paths in the run's folder, and in that folder."""
        assert self.commit is not None
        part = Part(folder, f"{self.commit.index:06d}")
        return {path.relative_to(folder).as_posix(): path for path in _beside(part, self.commit)}

    @property
    def names(self) -> frozenset[str]:
        return frozenset(file.name for file in self.files)


def publish(folder: Path, url: str, share: tuple[int, int] = (0, 1)) -> Manifest:
    """Brings a finished run's folder into a store. What lies there already is not sent again; what the run no longer has is
    removed at the end.

    Args:
        folder: the run's local folder.
        url: where to; a folder of its own in the store.
        share: i and n, as of `check_place`.

    Raises:
        RunError: the store cannot be used, another share's shards lie there, or a file in it is not what was sent. What was
            published before is still whole.
    """
    check_place(url, share)
    store = Store(url)
    former = _manifest(store)
    shards = _publish_shards(store, folder)
    known = {(file.sha256, file.size): file.name for file in former.files} if former else {}
    own = [_described(path, folder, known) for path in _files(folder)]
    leftovers = _pending(store) | ({file.name for file in former.files} if former else set())
    # What a shard's own list names is that list's to remove.
    leftovers -= {name for one in shards.values() for name in one.names | one.former}
    store.put_text(PENDING, json.dumps(sorted({file.name for file in own} | leftovers)))
    for file in own:
        store.put(folder / file.path, file)
    files = [*own, *(file for part in shards_of(folder) for file in shards[part.name].files)]
    manifest = Manifest(files=tuple(sorted(files, key=lambda file: PurePosixPath(file.path))))
    store.put_text(MANIFEST, manifest.model_dump_json(indent=1) + "\n")
    store.remove(leftovers - {file.name for file in own})
    _forget_former(store, shards)
    store.remove({PENDING})
    return manifest


def publish_part(part: Part, url: str) -> None:
    """Brings a shard that has its commit into a store: its files, then a list of them with the commit. What a manifest
    names meanwhile stays until the next `publish`.

    Raises:
        RunError: as `publish`; or the shard has no commit.
    """
    store = Store(url)
    _publish_part(store, part, _published(store, part.name))


def check_place(url: str, share: tuple[int, int]) -> None:
    """
    Args:
        share: i and n: only shards whose number leaves i when divided by n are to lie there.

    Raises:
        RunError: the store cannot be used, or another share's shards lie there.
    """
    index, shares = share
    others = sorted(name for name in _shard_names(Store(url)) if int(name) % shares != index)
    if others:
        raise RunError(f"--output {url}: holds shard {others[0]}, another share's; give each share a URL of its own")


def published_commits(url: str) -> Iterator[Commit]:
    """The commits of the shards that lie in a store, in the order of the input.

    Raises:
        RunError: the store cannot be used, or holds something else.
    """
    return (one.commit for _, one in _all_published(Store(url)) if one.commit is not None)


def fetch_commits(url: str, folder: Path) -> list[Part]:
    """Takes the commits of shards that were not begun in this folder, so that they need not be made here; their rows stay
    in the store. Lines of a run that makes no rows come along, in its shards' journals.

    Returns:
        These shards.

    Raises:
        RunError: the store cannot be used, or the disk is full.
    """
    store = Store(url)
    taken = []
    for name, one in _all_published(store):
        part = Part(folder, name)
        if one.commit and one.enough and not part.commit.exists() and not part.journal.exists():
            with disk_errors(folder):
                part.commit.parent.mkdir(parents=True, exist_ok=True)
                if one.commit.dataset:
                    write_whole(part.elsewhere, url)
            files = {file.path: file for file in one.files}
            for path, place in one.beside(folder).items():
                store.get(files[path], place)
            taken.append(part)
    return taken


def fetch_rows(part: Part, folder: Path) -> None:
    """Takes the rows of a shard that lie in a store alone.

    Args:
        part: in the folder of the run that has its commit only.
        folder: where they go, under their paths in a run's folder.

    Raises:
        RunError: the store cannot be used, or has another state of the shard, or the disk is full.
    """
    url = part.elsewhere.read_text(encoding="utf-8")
    store = Store(url)
    found = _published(store, part.name)
    if found.commit != committed(part):
        raise RunError(
            f"{url}: does not hold shard {part.name} as {part.output} has it; run the command that made it again", 1
        )
    for file in found.files:
        if file.path not in found.beside():
            place = folder / file.path
            with disk_errors(folder):
                place.parent.mkdir(parents=True, exist_ok=True)
            store.get(file, place)


def _publish_shards(store: Store, folder: Path) -> dict[str, PublishedPart]:
    """Brings what is not there of a run's shards; returns all that lie in the store, by name."""
    mine = shards_of(folder)
    found = dict(_all_published(store)) if mine else {}
    for part in mine:
        found[part.name] = _publish_part(store, part, found.get(part.name, PublishedPart()))
    return found


def _publish_part(store: Store, part: Part, known: PublishedPart) -> PublishedPart:
    commit = committed(part)
    if known.commit == commit:
        return known
    if not part.here:
        raise RunError(
            f"{part.output}: the rows of shard {part.name} lie neither here nor in the store; make it again", 1
        )
    names = {(file.sha256, file.size): file.name for file in known.files}
    files = tuple(_described(path, part.output, names) for path in _files_of(part))
    found = PublishedPart(commit=commit, files=files)
    _put_list(store, part.name, known.model_copy(update={"former": (known.former | found.names) - known.names}))
    for file in files:
        store.put(part.output / file.path, file)
    found = found.model_copy(update={"former": (known.former | known.names) - found.names})
    _put_list(store, part.name, found)
    return found


def _forget_former(store: Store, shards: dict[str, PublishedPart]) -> None:
    """Removes what no list names any more."""
    named = {name for one in shards.values() for name in one.names}
    for part, one in shards.items():
        if one.former:
            store.remove(set(one.former - named))
            _put_list(store, part, one.model_copy(update={"former": frozenset()}))


def _list_name(part: str) -> str:
    return f"{SHARDS}/{part}.json"


def _put_list(store: Store, part: str, found: PublishedPart) -> None:
    store.put_text(_list_name(part), found.model_dump_json(indent=1) + "\n")


def _published(store: Store, part: str) -> PublishedPart:
    return dict(_read_lists(store, [_list_name(part)])).get(part, PublishedPart())


def _all_published(store: Store) -> Iterator[tuple[str, PublishedPart]]:
    return _read_lists(store, list(map(_list_name, _shard_names(store))))


def _shard_names(store: Store) -> set[str]:
    """The shards that have a list in a store, whole or not."""
    paths = map(PurePosixPath, store.names(SHARDS))
    return {path.stem for path in paths if path.suffix == ".json" and NAME.fullmatch(path.stem)}


def _read_lists(store: Store, names: list[str]) -> Iterator[tuple[str, PublishedPart]]:
    for name, text in store.texts(names):
        part = PurePosixPath(name).stem
        with store.ours(name):
            found = PublishedPart.model_validate_json(text)
            if found.commit is not None and found.commit.index != int(part):
                raise ValueError("another shard's")
        yield part, found


def _manifest(store: Store) -> Manifest | None:
    text = store.text(MANIFEST)
    with store.ours(MANIFEST):
        return None if text is None else Manifest.model_validate_json(text)


def _pending(store: Store) -> set[str]:
    text = store.text(PENDING)
    with store.ours(PENDING):
        return set() if text is None else set(_PENDING.validate_json(text))


def _files(folder: Path) -> Iterator[Path]:
    """What of a run's folder is published, but for what is its shards'."""
    shards = bool(shards_of(folder))
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if inside.parts[0].startswith(LOCAL_ONLY) or inside.name.startswith("."):
            continue
        if shards and (inside.parts[0] == SHARDS or (inside.parts[0] in (*CONFIGS, PHOTOS) and inside.parts[1:])):
            continue
        yield from _published_file(path)


def _files_of(part: Part) -> Iterator[Path]:
    """The files of a shard, its commit last."""
    for config in (*CONFIGS, PHOTOS):
        for path in sorted(part.config(config).rglob("*")):
            if not path.name.startswith("."):
                yield from _published_file(path)
    for path in _beside(part, committed(part)):
        yield from _published_file(path)


def _beside(part: Part, commit: Commit) -> tuple[Path, ...]:
    """The files of a shard that are no rows, its commit last; its journal only where no rows are, as what it gave is there."""
    journal = () if commit.dataset else (part.journal,)
    return part.keys, part.statistics, *map(part.table, TABLES), *journal, part.commit


def _published_file(path: Path) -> Iterator[Path]:
    """The path, if it is a file's.

    Raises:
        RunError: it is a link's.
    """
    if path.is_symlink():
        raise RunError(f"{path}: is a link, which is not published; remove it and run the same command again", 1)
    if path.is_file():
        yield path


def _described(path: Path, folder: Path, known: dict[tuple[str, int], str]) -> StoredFile:
    inside = PurePosixPath(path.relative_to(folder).as_posix())
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    size = path.stat().st_size
    # Also under its earlier name: shards are numbered anew when there are more of them.
    name = known.get((digest, size)) or name_by_hash(inside, digest)
    try:
        return StoredFile(path=str(inside), name=name, size=size, sha256=digest)
    except ValueError:
        raise RunError(f"{str(path)!r}: cannot be published under this name; rename it or move it away", 1) from None
