"""Whether a run of many shards has nothing left to do, told by its commits: then no server is started for it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

from ..dataset.commits import SETTLED, Commit, beside_whole, read_commit
from ..dataset.parts import PHOTOS, Part, shards_of
from ..dataset.shards import Former
from ..errors import RunError
from ..graph.file import AUTO, find_workflow
from ..home import VERSION
from ..options import RunOptions
from ..report.summary import Summary
from .folder import OutputFolder

_ELSEWHERE = (
    "server",
    "servers",
    "metrics_port",
    "recycle",
    "min_free_gb",
    "max_failed",
    "samples_per_prompt",
    "json",
    "publish_to",
)
"""Options that decide nothing of what a run leaves."""


def settle(folder: OutputFolder, options: RunOptions, fingerprint: str) -> None:
    """Takes down that all that the command line asks for is done, where it is.

    Args:
        fingerprint: the input's.
    """
    if all(commit.cut.whole for _, commit in sound_commits(folder.path)):
        folder.journal.set(SETTLED, _asked(options, fingerprint))


def unsettle(folder: OutputFolder) -> None:
    """Takes down that something is begun, so that what an earlier command line asked for is not known to be done any more."""
    folder.journal.unset(SETTLED)


def settled(folder: OutputFolder, options: RunOptions, fingerprint: Callable[[], str]) -> Summary | None:
    """What the run came to, if nothing of what the command line asks for is left to do; looks at no more of what lies
    there than sizes and times.

    Args:
        fingerprint: tells the input's.
    """
    meta = folder.journal
    if not folder.many or options.retry_failed is not None:
        return None
    known = meta.get(SETTLED)
    if known is None or known != _asked(options, fingerprint()):
        return None
    if not all(commit.cut.whole and written(part, commit) for part, commit in sound_commits(folder.path)):
        return None
    try:
        told = json.loads((folder.path / "summary.json").read_bytes())
        return Summary(**{field.name: told[field.name] for field in fields(Summary)})
    except (OSError, ValueError, LookupError):
        return None


def written(part: Part, commit: Commit) -> bool:
    """Whether a shard's rows, and the files beside its commit, lie there, untouched since; rows in a store count as that."""
    if not part.here:
        return True
    if not beside_whole(part):
        return False
    if commit.dataset is None:
        return _has_photos(part, commit)
    listed = part.commit.stat().st_mtime_ns
    return all(Former.of(part.config(name), held, listed).whole for name, held in commit.dataset.configs.items())


def _has_photos(part: Part, commit: Commit) -> bool:
    """Whether a shard that made photos has as many as it made. One whose photos another machine has brought into a store
    has no folder of them."""
    try:
        with os.scandir(part.config(PHOTOS)) as entries:
            return sum(1 for _ in entries) >= commit.totals.counts.get("keep", 0)
    except FileNotFoundError:
        return True


def sound_commits(output: Path) -> Iterator[tuple[Part, Commit]]:
    """The shards of a run that have a commit, one after the other; of a damaged one nothing is known."""
    for part in shards_of(output):
        if commit := read_commit(part):
            yield part, commit


def _asked(options: RunOptions, fingerprint: str) -> str:
    asked = {name: str(value) for name, value in vars(options).items() if name not in _ELSEWHERE}
    text = json.dumps([VERSION, fingerprint, asked, _workflow_files(options)])
    return hashlib.sha256(text.encode()).hexdigest()


def _workflow_files(options: RunOptions) -> list[str]:
    """Hashes of the files that `--workflow` may mean."""
    if options.workflow == AUTO:
        return []
    names = [name.strip() for name in options.workflow.split(",") if name.strip()]
    profiles = ["open", "classical"] if options.profile == "auto" else [options.profile]
    paths = {path for name in names for profile in profiles if (path := _file(name, profile)) and path.is_file()}
    return sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)


def _file(name: str, profile: str) -> Path | None:
    """What a name means in a profile; None where it has no graph of it."""
    try:
        return find_workflow(name, profile)[0]
    except RunError:
        return None
