"""Makes samples ready for one server: photos read and uploaded, widgets filled.

What cannot be read or is not taken by the server fails here, and the others go on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from comfy_nodes.core.annotation import Annotation, Provenance, to_json
from comfy_nodes.core.keys import sample_seed
from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.records import SampleFailure

from .comfy import ComfyServer
from .failures import PromptRefused, ServerFault
from .flights import Posted
from .packing import Filling
from .pool import Pool, Ready, sink_folder
from .sample_queue import Item
from .sources import Sample

READERS = 8
"""Photos read at a time, which matters where they lie far away."""


@dataclass(frozen=True)
class Uploaded:
    """A sample whose pictures the server has."""

    ready: Ready
    photo: str
    """Its name there."""
    seconds: dict[str, str]
    """Names of the pictures that belong to it, by role."""


class Poster:
    """Prepares samples of one run."""

    def __init__(self, pool: Pool, run_seed: int):
        self._pool = pool
        self._run_seed = run_seed
        self._run_id = pool.journal.get("run_id") or ""
        self._readers = ThreadPoolExecutor(READERS, "read-photo")

    def close(self) -> None:
        self._readers.shutdown(cancel_futures=True)

    def prepare(self, items: Sequence[Item], server: ComfyServer) -> list[tuple[Posted, Filling]]:
        """Samples as they go into a prompt; those that cannot are failed.

        Raises:
            ServerFault: the server did not take a photo for a reason of its own; all samples wait again.
        """
        ready = [one for one in self._readers.map(self._read, items) if one]
        try:
            return [(self._posted(one), self._filling(one)) for one in self._uploaded(ready, server)]
        except ServerFault:
            self._pool.returned([one.item for one in ready])
            raise

    def _read(self, item: Item) -> Ready | None:
        try:
            return self._pool.ready(item)
        except PhotoError as error:
            self._pool.fail(item.sample, SampleFailure("input", type(error).__name__, str(error)))
            return None

    def _uploaded(self, ready: list[Ready], server: ComfyServer) -> list[Uploaded]:
        found = []
        folder = f"editpairs/{self._run_id}"
        for one in ready:
            sample = one.item.sample
            try:
                photo = server.upload(one.data, f"{sample.key}{self._pool.suffix(sample.file)}", folder)
                seconds = {
                    role: server.upload(data, f"{sample.key}-{role}{self._pool.suffix(getattr(sample, role))}", folder)
                    for role, data in one.seconds.items()
                }
                found.append(Uploaded(one, photo, seconds))
            except PromptRefused as refusal:
                self._pool.fail(sample, SampleFailure("edit", "PromptRefused", str(refusal)))
        return found

    def _folder(self, ready: Ready) -> str:
        return sink_folder(self._run_id, ready.item.sample.key, ready.tries.submissions)

    def _posted(self, one: Uploaded) -> Posted:
        ready = one.ready
        return Posted(ready.item, self._folder(ready), ready.tries.attempts, (one.photo, *one.seconds.values()))

    def _filling(self, one: Uploaded) -> Filling:
        ready = one.ready
        key = ready.item.sample.key
        values = {"image": one.photo, **sample_widgets(ready.item.sample, ready.provenance)}
        seed = sample_seed(self._run_seed, key, ready.tries.attempts)
        return Filling(values, seed, self._folder(ready), one.seconds)


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
