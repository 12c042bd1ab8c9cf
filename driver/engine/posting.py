"""Makes samples ready for one server: photos read and uploaded, widgets filled.

What cannot be read or is not taken by the server fails here, and the others go on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from comfy_nodes.core.instructions.checks import Unfit
from comfy_nodes.core.keys import sample_seed
from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.records import SampleFailure
from comfy_nodes.core.regions.annotation import Annotation, Provenance, to_json
from comfy_nodes.core.run_files import FOLDER
from comfy_nodes.core.tasks import task_named

from ..comfyui.client import ComfyServer
from ..dataset.binding import Origin
from ..errors import PromptRefused, ServerFault, ServerGone, ServerLocked
from ..graph.packs import Filling
from ..inputs.source import digest
from ..journal import Tries
from ..places import Locator, State
from ..samples import POSTED, START, Sample
from .pool import Pool
from .prompts import Posted, sink_folder
from .queue import Item
from .troubles import Trouble
from .work import Work

READERS = 8
"""Photos read at a time, which matters where they lie far away."""


@dataclass(frozen=True)
class Ready:
    """A sample whose photo was read."""

    item: Item
    data: bytes
    seconds: dict[str, bytes]
    """Bytes of the pictures that belong to the photo and that the graph takes, by role."""
    digest: str
    """Of all that was read."""
    widgets: dict[str, Any]
    tries: Tries
    folder: str
    """Where its sink is to save."""


class Poster:
    """Prepares samples of one run for one of its servers."""

    def __init__(self, pool: Pool, work: Work, server: str):
        """
        Args:
            server: the server's name.
        """
        self._pool = pool
        self._work = work
        self._server = server
        self._readers = ThreadPoolExecutor(READERS, "read-photo")

    def close(self) -> None:
        self._readers.shutdown(cancel_futures=True)

    def prepare(self, items: Sequence[Item], server: ComfyServer) -> list[tuple[Posted, Filling]]:
        """Samples as they go into a prompt; those that cannot are failed, or wait again.

        Raises:
            ServerFault: the server takes no files, for a reason of its own; all samples wait again.
        """
        read = self._readers.map if len(items) > 1 else map
        ready = [one for one in read(self._read, items) if one]
        try:
            return [prepared for one in ready if (prepared := self._upload(one, server))]
        except ServerFault:
            self._pool.returned([one.item for one in ready])
            raise

    def origin(self, posted: Posted, seeded: bool) -> Origin:
        """What the records of a posted sample must say.

        Args:
            seeded: whether the graph takes the sample's seed.

        Raises:
            PhotoError: an earlier run posted it, and its photo cannot be read any more.
        """
        sample = posted.item.sample
        carried = sample.annotation.carried or {}
        seed = sample_seed(self._work.seed, sample.key, posted.attempt) if seeded else None
        if "seed" in carried:
            seed = carried["seed"] if isinstance(carried["seed"], int) else None
        return Origin(
            key=sample.key,
            task=sample.own_task or sample.task,
            source_path=carried.get("source_path", sample.annotation.path),
            source_sha256=carried.get("source_sha256") or self._photo_sha256(posted.item, posted.digest),
            seed=seed,
            folder=posted.folder,
        )

    def _photo_sha256(self, item: Item, held: str) -> str:
        """Hash of the photo that a sample is made of; of a later turn, that its dialogue is.

        Args:
            held: `digest` of the sample's pictures; "" where nobody knows it.
        """
        sample, dialogues = item.sample, item.portion.dialogues
        if sample.after and dialogues:
            return dialogues.photo_sha256(sample)
        return (held or digest([self._work.source.read(sample.file)])).split()[0]

    def _picture(self, item: Item, file: Locator) -> bytes:
        """
        Raises:
            PhotoError: it cannot be read.
        """
        if isinstance(file, State):
            assert item.portion.dialogues
            return item.portion.dialogues.picture(file)
        return self._work.source.read(file)

    def _read(self, item: Item) -> Ready | None:
        try:
            ready = self._ready(item)
            ready.widgets["instruction"].encode()  # of the widgets, only it holds text as it came
        except Unfit as problem:
            failure = SampleFailure(self._pool.stage, type(problem).__name__, str(problem), skipped=True)
            self._pool.fail(item, failure)
            return None
        except PhotoError as error:
            self._pool.fail(item, SampleFailure("input", type(error).__name__, str(error)))
            return None
        except UnicodeEncodeError as error:
            found = f"half a character ({error.object[error.start]!r}, a lone surrogate)"
            why = f"its instruction or annotation holds {found}; write it again"
            self._pool.fail(item, SampleFailure("input", "AnnotationError", why))
            return None
        return ready

    def _ready(self, item: Item) -> Ready:
        """Reads a sample's photo, and what belongs to it that the graph takes.

        Raises:
            PhotoError: one of them cannot be read.
            Unfit: it is a turn that is about nothing any more.
        """
        dialogues = item.portion.dialogues
        sample = dialogues.completed(item.sample) if item.sample.turn and dialogues else item.sample
        annotation, graph = sample.annotation, self._work.graph
        roles = graph.needed(task_named(sample.task or graph.task)) | ({START} & set(graph.seconds().values()))
        located = {role: getattr(sample, role) for role in roles}
        seconds = {role: self._picture(item, file) for role, file in located.items() if file}
        data = self._picture(item, sample.file)
        held = digest([data, *(seconds[one] for one in POSTED if one in seconds)])
        provenance = Provenance(
            key=sample.key,
            task=sample.own_task,
            subtask=sample.subtask,
            slot=sample.slot,
            source_id=annotation.path,
            source_path=annotation.path,
            source_sha256=self._photo_sha256(item, held),
            source_licence=annotation.source_licence,
            source_url=annotation.source_url,
        )
        tries = item.portion.journal.tries(sample.key)
        folder = sink_folder(item.portion.run_id, sample.key, tries.submissions)
        widgets = sample_widgets(sample, provenance)
        return Ready(item, data, seconds, held, widgets, tries, folder)

    def _upload(self, ready: Ready, server: ComfyServer) -> tuple[Posted, Filling] | None:
        """Brings a sample's pictures to the server; None where the server does not take these.

        Raises:
            ServerFault: the server takes no others either.
        """
        sample, suffix = ready.item.sample, self._work.source.suffix
        data = {"": ready.data, **ready.seconds}
        names = {role: f"{sample.key}-{role}{suffix(getattr(sample, role))}" for role in ready.seconds}
        names[""] = f"{sample.key}{suffix(sample.file)}"
        try:
            found = {role: server.upload(data[role], name, _uploads(ready.item)) for role, name in names.items()}
        except PromptRefused as refusal:
            self._pool.fail(ready.item, SampleFailure(self._pool.stage, "PromptRefused", str(refusal)))
            return None
        except (ServerGone, ServerLocked):
            raise
        except ServerFault as fault:
            self._blame(ready, fault, max(map(len, data.values())), server)
            return None
        photo = found.pop("")
        values = {"image": photo, **ready.widgets}
        seed = sample_seed(self._work.seed, sample.key, ready.tries.attempts)
        op = sample.turn.op if sample.turn else ""
        return _posted(ready, photo, *found.values()), Filling(values, seed, ready.folder, found, op)

    def _blame(self, ready: Ready, fault: ServerFault, size: int, server: ComfyServer) -> None:
        """Finds out whether the server takes no files at all; otherwise it is the sample's fault.

        Args:
            size: bytes of a file as large as those that it did not take.

        Raises:
            ServerFault: it takes none.
        """
        try:
            server.upload(bytes(size), "probe.bin", _uploads(ready.item))
        except (ServerGone, ServerLocked):
            raise
        except (ServerFault, PromptRefused):
            raise ServerFault(f"{fault}; it takes no files of {size} bytes (is its disk full?)") from None
        why = f"its photo could not be uploaded ({fault})"
        self._pool.disturbed(self._server, [_posted(ready)], Trouble.FAULT, why, its_own=True)


def _posted(ready: Ready, *uploads: str) -> Posted:
    return Posted(ready.item, ready.folder, ready.tries.attempts, uploads, ready.digest)


def _uploads(item: Item) -> str:
    """Where a sample's pictures go, below a server's input folder."""
    return f"{FOLDER}/{item.portion.run_id}"


def sample_widgets(sample: Sample, provenance: Provenance) -> dict[str, Any]:
    """What a sample puts into the widgets of `Load Edit Sample`, but for the photo's name and the seed."""
    return {
        "annotation": json.dumps(to_json(sample.annotation, provenance)),
        "region_index": _place(sample.annotation),
        "class_name": "",
        "instruction": sample.instruction,
        **({"task": sample.task} if sample.task else {}),
    }


def _place(annotation: Annotation) -> int:
    """Where the edited region, the first, stands for `Load Edit Sample`, which counts objects before backgrounds."""
    first, *others = annotation.regions or (None,)
    return sum(one.kind == "object" for one in others) if first and first.kind == "background" else 0
