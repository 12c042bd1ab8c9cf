"""Keeps a server busy: two prompts in flight, each journalled before it is posted and collected once.

What a server or the network does wrong costs a sample no attempt; what the sample does wrong ends it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
import uuid
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from comfy_nodes.core import photos
from comfy_nodes.core.annotation import Provenance, to_json
from comfy_nodes.core.keys import sample_seed
from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.records import SampleFailure, SavedFile

from .comfy import ComfyServer, FinishedPrompts, Job
from .failures import PromptRefused, RunError, ServerFault, ServerGone
from .harvest import Harvester, NoRecord
from .journal import Journal
from .sources import Sample
from .workflow import BatchGraph

DEPTH = 2
"""Prompts in flight on a server: one runs, one waits, so that the server never does."""

POLL_SECONDS = 2.0
"""How often an unfinished prompt is asked for, in case its message was lost."""

MAX_FAULTS = 3
"""Faults of servers after which a sample is set aside."""

MAX_SERVER_FAULTS = 5
"""Faults in a row, without a finished sample between them, after which the run breaks off."""

DRAIN_SECONDS = 120.0
"""How long a stopped run waits for prompts in flight."""


class Host(Protocol):
    """Where a server comes from, and how to get it back."""

    server: ComfyServer

    def revive(self) -> None:
        """Waits for the server or starts it again; raises RunError where it doesn't come back."""

    def discard(self, upload: str, images: list[SavedFile]) -> None:
        """Removes a finished sample's files from the server, where that is possible."""


class Reporter(Protocol):
    """Who is told how the run goes."""

    def finished(self, verdicts: list[str]) -> None: ...

    def failed(self, sample: Sample, failure: SampleFailure) -> None: ...

    def say(self, line: str) -> None: ...


class StopRequest:
    """How firmly the user wants the run to stop: 0 not, 1 finish what runs, 2 now."""

    def __init__(self) -> None:
        self.level = 0


@dataclass(frozen=True)
class _Ready:
    """A sample whose photo was read."""

    sample: Sample
    data: bytes
    sha256: str


@dataclass
class _Flight:
    sample: Sample
    prompt_id: str
    upload: str = ""
    """The photo's name on the server; unknown of a prompt that an earlier run posted."""
    adopted: bool = False
    """Journalled by an earlier run, which may have been killed before it posted it."""
    polled: float = field(default_factory=time.monotonic)


class Scheduler:
    """Runs the waiting samples of a journal on one server."""

    def __init__(
        self,
        host: Host,
        graph: BatchGraph,
        journal: Journal,
        harvester: Harvester,
        root: Path,
        run_seed: int,
        reporter: Reporter,
        stop: StopRequest,
    ):
        """
        Args:
            root: folder that samples' files are relative to.
        """
        self._host = host
        self._graph = graph
        self._journal = journal
        self._harvester = harvester
        self._root = root
        self._run_seed = run_seed
        self._reporter = reporter
        self._stop = stop
        self._run_id = journal.get("run_id") or ""
        self._flights: dict[str, _Flight] = {}
        self._ahead: deque[tuple[Sample, Future[_Ready]]] = deque()
        self._readers = ThreadPoolExecutor(1, "read-photo")
        self._server_faults = 0

    def run(self) -> None:
        """Returns when no sample waits, or when a stop was requested.

        Raises:
            RunError: the server does not come back, or the disk is full. The journal can be resumed.
        """
        finished = FinishedPrompts(self._host.server)
        stopping_since: float | None = None
        try:
            self._adopt()
            while True:
                if self._stop.level and stopping_since is None:
                    stopping_since = time.monotonic()
                    self._reporter.say(
                        f"stopping: waiting for {len(self._flights)} prompts in flight (Ctrl-C again: now)"
                    )
                if stopping_since and (self._stop.level > 1 or time.monotonic() - stopping_since > DRAIN_SECONDS):
                    self._cancel()
                    return
                try:
                    if stopping_since is None:
                        self._launch(finished)
                    if not self._flights:
                        return
                    self._await_one(finished)
                except ServerFault as fault:
                    finished.close()
                    self._recover(fault)
                    finished = FinishedPrompts(self._host.server)
        finally:
            finished.close()
            self._readers.shutdown(cancel_futures=True)

    def _adopt(self) -> None:
        """Takes over prompts that an earlier run of this folder left with the server; polling tells what became of them."""
        for left in self._journal.submissions():
            if left.server == self._host.server.url:
                self._flights[left.prompt_id] = _Flight(left.sample, left.prompt_id, adopted=True, polled=0)
            else:
                self._journal.release(left.sample.key)

    def _launch(self, finished: FinishedPrompts) -> None:
        while len(self._flights) < DEPTH and (ready := self._next_ready()):
            self._submit(ready, finished.client_id)

    def _next_ready(self) -> _Ready | None:
        """The next waiting sample with its photo, read while the server works; one that can't be read has failed."""
        while True:
            while len(self._ahead) < DEPTH:
                sample = self._journal.next_waiting({held.key for held, _ in self._ahead})
                if sample is None:
                    break
                self._ahead.append((sample, self._readers.submit(self._read, sample)))
            if not self._ahead:
                return None
            sample, reading = self._ahead.popleft()
            try:
                return reading.result()
            except PhotoError as error:
                self._fail(sample, SampleFailure("input", type(error).__name__, str(error)))

    def _read(self, sample: Sample) -> _Ready:
        data = photos.read_bytes(self._root / sample.file)
        return _Ready(sample, data, hashlib.sha256(data).hexdigest())

    def _submit(self, ready: _Ready, client_id: str) -> None:
        sample, server = ready.sample, self._host.server
        tries = self._journal.tries(sample.key)
        prompt_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self._run_id}/{sample.key}/{tries.submissions}"))
        self._journal.submitting(sample.key, prompt_id, server.url)
        flight = self._flights[prompt_id] = _Flight(sample, prompt_id)
        suffix = Path(sample.file).suffix.lower()
        try:
            flight.upload = server.upload(ready.data, f"{sample.key}{suffix}", f"editpairs/{self._run_id}")
            prompt = self._graph.prompt(
                {
                    "image": flight.upload,
                    "annotation": json.dumps(to_json(sample.annotation, _provenance(ready))),
                    "region_index": 0,
                    "class_name": "",
                    "instruction": sample.instruction,
                },
                seed=sample_seed(self._run_seed, sample.key, tries.attempts),
                folder=f"editpairs/{self._run_id}/{sample.key}-{tries.submissions}",
            )
            server.submit(prompt, prompt_id, client_id)
        except PromptRefused as refusal:
            self._end(flight)
            self._fail(sample, SampleFailure("edit", "PromptRefused", str(refusal)))

    def _await_one(self, finished: FinishedPrompts) -> None:
        flight = self._flights.get(finished.wait(POLL_SECONDS / 4) or "")
        if flight:
            self._poll(flight)
        for flight in [one for one in self._flights.values() if time.monotonic() - one.polled > POLL_SECONDS]:
            self._poll(flight)

    def _poll(self, flight: _Flight) -> None:
        flight.polled = time.monotonic()
        job = self._host.server.job(flight.prompt_id)
        if job is None and self._known(flight.prompt_id):
            return
        if job is None and flight.adopted:
            self._end(flight)
            self._journal.release(flight.sample.key)
        elif job is None:
            self._lost(flight, f"{self._host.server.url} no longer knows the prompt (was it restarted?)")
        elif job.status == "cancelled":
            self._lost(flight, "somebody cancelled the prompt on the server")
        elif job.status == "failed":
            self._end(flight)
            self._fail(flight.sample, _node_failure(job))
        elif job.finished:
            self._collect(flight, job)

    def _collect(self, flight: _Flight, job: Job) -> None:
        begun = time.monotonic()
        try:
            harvest = self._harvester.harvest(job.outputs.get(self._graph.sink, {}), self._host.server)
        except NoRecord as reason:
            self._end(flight)
            self._fail(flight.sample, SampleFailure("edit", "NoRecord", str(reason)))
            return
        except FileNotFoundError as error:
            self._lost(flight, str(error))
            return
        self._journal.done(flight.sample.key, harvest.rows, job.seconds, time.monotonic() - begun)
        self._end(flight)
        self._server_faults = 0
        self._host.server.forget(flight.prompt_id)
        self._host.discard(flight.upload, harvest.files)
        self._reporter.finished([row.verdict for row in harvest.rows])

    def _recover(self, fault: ServerFault) -> None:
        """Gets the server back and finds out which prompts it still has."""
        self._server_faults += 1
        if self._server_faults > MAX_SERVER_FAULTS:
            raise RunError(f"{fault}, {self._server_faults} times in a row; see to the server, then run this again", 1)
        self._reporter.say(str(fault))
        time.sleep(min(5.0, self._server_faults - 1))
        if isinstance(fault, ServerGone):
            self._host.revive()
        for flight in list(self._flights.values()):
            try:
                known = self._known(flight.prompt_id)
            except ServerFault:
                continue
            if not known:
                self._lost(flight, str(fault))

    def _known(self, prompt_id: str) -> bool:
        """Whether the server has the prompt; asked twice, as a prompt just posted may not show yet."""
        for _ in range(2):
            if self._host.server.job(prompt_id) is not None:
                return True
            time.sleep(0.5)
        return False

    def _lost(self, flight: _Flight, why: str) -> None:
        """The prompt came to nothing, through no fault of the sample: again, with the same seed."""
        self._end(flight)
        if self._journal.fault(flight.sample.key) >= MAX_FAULTS:
            self._fail(flight.sample, SampleFailure("edit", "ServerFault", f"{why}; {MAX_FAULTS} times"))

    def _end(self, flight: _Flight) -> None:
        self._flights.pop(flight.prompt_id, None)

    def _fail(self, sample: Sample, failure: SampleFailure) -> None:
        self._journal.failed(sample.key, failure)
        self._reporter.failed(sample, failure)

    def _cancel(self) -> None:
        with contextlib.suppress(ServerFault):  # a server that is gone runs nothing of ours
            self._host.server.cancel(list(self._flights))
        for flight in self._flights.values():
            self._journal.release(flight.sample.key)
        self._flights.clear()


def _provenance(ready: _Ready) -> Provenance:
    annotation = ready.sample.annotation
    return Provenance(
        key=ready.sample.key,
        source_id=annotation.path,
        source_path=annotation.path,
        source_sha256=ready.sha256,
        source_licence=annotation.source_licence,
        source_url=annotation.source_url,
    )


def _node_failure(job: Job) -> SampleFailure:
    error = job.error
    message = str(error.get("exception_message", "the server gave no reason")).strip()
    return SampleFailure(
        stage="edit",
        error_type=str(error.get("exception_type", "unknown")).rpartition(".")[2],
        message=message.splitlines()[0] if message else "no message",
        node=f"{error.get('node_type', '')} #{error.get('node_id', '')}",
    )
