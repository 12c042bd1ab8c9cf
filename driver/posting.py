"""Makes samples ready for one server: photos read and uploaded, widgets filled.

What cannot be read or is not taken by the server fails here, and the others go on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from comfy_nodes.core.annotation import Annotation, to_json
from comfy_nodes.core.keys import sample_seed
from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.records import SampleFailure

from .comfy import ComfyServer
from .failures import PromptRefused, ServerFault
from .flights import Posted
from .packing import Filling
from .pool import Pool, Ready, sink_folder
from .sample_queue import Item

READERS = 8
"""Photos read at a time, which matters where they lie far away."""


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
            return [
                (self._posted(one, upload), self._filling(one, upload)) for one, upload in self._uploaded(ready, server)
            ]
        except ServerFault:
            self._pool.returned([one.item for one in ready])
            raise

    def _read(self, item: Item) -> Ready | None:
        try:
            return self._pool.ready(item)
        except PhotoError as error:
            self._pool.fail(item.sample, SampleFailure("input", type(error).__name__, str(error)))
            return None

    def _uploaded(self, ready: list[Ready], server: ComfyServer) -> list[tuple[Ready, str]]:
        found = []
        for one in ready:
            sample = one.item.sample
            name = f"{sample.key}{self._pool.suffix(sample)}"
            try:
                found.append((one, server.upload(one.data, name, f"editpairs/{self._run_id}")))
            except PromptRefused as refusal:
                self._pool.fail(sample, SampleFailure("edit", "PromptRefused", str(refusal)))
        return found

    def _folder(self, ready: Ready) -> str:
        return sink_folder(self._run_id, ready.item.sample.key, ready.tries.submissions)

    def _posted(self, ready: Ready, upload: str) -> Posted:
        return Posted(ready.item, self._folder(ready), ready.tries.attempts, upload)

    def _filling(self, ready: Ready, upload: str) -> Filling:
        sample = ready.item.sample
        values = {
            "image": upload,
            "annotation": json.dumps(to_json(sample.annotation, ready.provenance)),
            "region_index": _place(sample.annotation),
            "class_name": "",
            "instruction": sample.instruction,
            **({"task": sample.task} if sample.task else {}),
        }
        return Filling(values, sample_seed(self._run_seed, sample.key, ready.tries.attempts), self._folder(ready))


def _place(annotation: Annotation) -> int:
    """Where the edited region, the first, stands for `Load Edit Sample`, which counts objects before backgrounds."""
    first, *others = annotation.regions or (None,)
    return sum(one.kind == "object" for one in others) if first and first.kind == "background" else 0
