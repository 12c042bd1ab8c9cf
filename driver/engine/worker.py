"""One server's part of a run: keeps two prompts with it, and hears what becomes of them.

Posts, listens and polls from a thread of its own. What becomes of a sample is the pool's to say, what becomes of the
server `recovery.py`'s.
"""

from __future__ import annotations

import contextlib
import time
import uuid

from comfy_nodes.core.records import SampleFailure

from ..comfyui.client import Job
from ..comfyui.events import Closed, Ended, Ran
from ..comfyui.hosts import Host
from ..errors import PromptRefused, RunError, ServerFault, ServerGone, ServerLocked
from ..graph import partner
from ..graph.packs import slot_of
from ..samples import Sample
from .harvest import SinkNotRun
from .landing import MAX_FETCHES, Landing, SampleFault
from .pool import Pool
from .posting import Poster
from .prompts import Flight, Posted
from .queue import Item
from .recovery import Recovery
from .station import Station
from .troubles import Trouble, node_error
from .work import Work

DEPTH = 2
"""Prompts with a server: one runs, one waits, so that the server never does."""

POLL_SECONDS = 2.0
"""How often an unfinished prompt is asked for, in case its message was lost."""

DRAIN_SECONDS = 120.0
"""How long a stopped run waits for prompts in flight."""


class Worker:
    """Runs samples of a pool on one server until none is left."""

    def __init__(self, host: Host, pool: Pool, work: Work, turn: float):
        """
        Args:
            turn: see `Recovery`.

        Raises:
            RunError: the graph's paid nodes lack a key.
        """
        self._pool = pool
        self._extra = partner.extra_data(work.graph.api, work.object_info)
        self._station = Station(host, pool, work)
        self._health = self._station.health
        self._poster = Poster(pool, work, host.name)
        self._landing = Landing(self._station, self._poster)
        self._recovery = Recovery(self._station, self._landing, turn)

    def run(self) -> None:
        """Returns when nothing is left to do, or when a stop was requested; what goes wrong for good, the pool knows."""
        station = self._station
        station.listen()
        try:
            self._pool.working(station.name, not station.away)
            while self._step():
                pass
        except RunError as error:
            self._pool.give_up(error)
        except BaseException:
            self._pool.give_up(RunError("the run broke off", 1))
            raise
        finally:
            self._pool.working(station.name, False)
            self._release_all()
            station.host.give_turn()
            station.events.close()
            self._poster.close()
            if station.away:
                station.show("left")

    def _step(self) -> bool:
        """One round; False when there is nothing more to do here."""
        station, recovery = self._station, self._recovery
        if self._stopped():
            return False
        self._adopt()
        try:
            if station.away:
                return recovery.come_back()
            if why := self._health.due_for_rest():
                recovery.rest(why)
            if recovery.due_for_recycling():
                recovery.recycle()
            else:
                self._launch()
            if not station.flights:
                if self._pool.ending():
                    return False
                station.show("idle")
                time.sleep(0.05)
                return True
            self._listen()
            self._watch()
        except ServerFault as fault:
            return recovery.recover(fault)
        return True

    # Posting.

    def _launch(self) -> None:
        depth = 1 if self._health.canary else DEPTH
        station = self._station
        while sum(not flight.over for flight in station.flights.values()) < depth:
            if not self._pool.work_for(station.name) or not station.host.take_turn():
                break
            items = self._pool.take(station.name, self._count)
            if not items and not station.flights:
                items = self._pool.stragglers(station.name, station.size.seconds)
            if not items:
                break
            self._submit(items)
        if not station.flights:
            station.host.give_turn()

    def _count(self, first: Sample) -> int:
        if self._health.canary:
            return 1
        width, height = first.annotation.size or (0, 0)
        return self._station.size.next(width * height, self._pool.queue.waiting, self._pool.shares)

    def _submit(self, items: list[Item]) -> None:
        station = self._station
        prepared = self._poster.prepare(items, station.server)
        if not prepared:
            return
        posted = [one for one, _ in prepared]
        flight = Flight(str(uuid.uuid4()), posted, dict(enumerate(posted)))
        self._pool.submitting(flight, station.server.url)
        station.takes_off(flight)
        station.prompts += 1
        try:
            prompt = station.packer.prompt([filling for _, filling in prepared])
            station.server.submit(prompt, flight.prompt_id, station.events.client_id, self._extra)
        except PromptRefused as refusal:
            self._refused(flight, refusal)
        station.show("working")

    def _refused(self, flight: Flight, refusal: PromptRefused) -> None:
        """The server took nothing of it: whose nodes it complains about is to blame."""
        self._station.lands(flight)
        if "Invalid image file" in str(refusal):
            why = "the server lost the photo"
            self._pool.disturbed(self._station.name, flight.clear(), Trouble.FAULT, why)
            return
        blamed = {slot_of(node_id) for node_id in refusal.nodes} if len(flight) > 1 else {0}
        guilty = [flight.open.pop(slot) for slot in list(flight.open) if slot in blamed]
        for posted in guilty:
            self._pool.fail(posted.item, SampleFailure(self._pool.stage, "PromptRefused", str(refusal)))
        self._pool.returned([one.item if guilty else one.item.suspected() for one in flight.clear()])

    # Listening.

    def _listen(self) -> None:
        events, flights = self._station.events, self._station.flights
        heard = events.heard
        event = events.wait(POLL_SECONDS / 8)
        if events.heard != heard:
            self._health.pulse.beat(events.heard)
        if isinstance(event, Closed):
            for one in flights.values():
                one.polled = 0  # asked for at once: the server may be gone
            return
        flight = flights.get(event.prompt_id) if event else None
        if flight is None:
            return
        if isinstance(event, Ended):
            self._heard_of_end(flight, event.seconds)
        elif isinstance(event, Ran):
            slot = slot_of(event.node_id)
            if slot in flight.open:
                # Some other node of the sample may show something too.
                with contextlib.suppress(SinkNotRun, FileNotFoundError):
                    self._landing.collect(flight, slot)

    def _heard_of_end(self, flight: Flight, seconds: float | None) -> None:
        """The server is said to be through with a prompt. Only where that is not seen in what its sinks left, it is asked."""
        flight.polled = time.monotonic()
        if seconds is not None and self._all_brought(flight, seconds):
            self._station.lands(flight)
            self._went_well(flight, [], seconds)
            self._conclude(flight, seconds)
        else:
            self._poll(flight)

    def _all_brought(self, flight: Flight, seconds: float) -> bool:
        """Brings a prompt's samples home; returns whether all of them were there."""
        self._make_way(flight)
        with contextlib.suppress(SinkNotRun, FileNotFoundError):
            for slot in list(flight.open):
                self._landing.collect(flight, slot, seconds / len(flight))
        return not flight.open

    def _watch(self) -> None:
        now, flights = time.monotonic(), self._station.flights
        for flight in list(flights.values()):
            if now - flight.polled > POLL_SECONDS:
                self._drop_copies(flight)
            if flight.prompt_id in flights and now - flight.polled > POLL_SECONDS:
                self._poll(flight)
        if flights and self._health.pulse.stopped(time.monotonic()):
            self._recovery.zombie()

    def _drop_copies(self, flight: Flight) -> None:
        """Forgets samples that another server finished first."""
        self._pool.drop_decided(flight)
        if not flight.open:
            self._station.lands(flight)
            self._station.server.cancel([flight.prompt_id])

    def _poll(self, flight: Flight) -> None:
        flight.polled = time.monotonic()
        try:
            job = self._station.server.job(flight.prompt_id)
        except (ServerGone, ServerLocked):
            raise
        except ServerFault as fault:
            self._unclear(flight, fault)
            return
        flight.faults = 0
        if job is None:
            if not self._station.knows(flight.prompt_id):
                self._landing.lost(flight)
            return
        if job.status != flight.status:
            flight.status = job.status
            self._health.pulse.beat(time.monotonic())
        if job.finished:
            self._ended(flight, job)

    def _unclear(self, flight: Flight, fault: ServerFault) -> None:
        """The server gave no clear answer about a prompt, which is waited for no longer after too many of these.

        Raises:
            SampleFault: it is asked again later.
        """
        flight.faults += 1
        if flight.faults <= MAX_FETCHES:
            raise SampleFault(fault, flight.posted[0].key)
        with contextlib.suppress(ServerFault):
            self._station.server.cancel([flight.prompt_id])
        self._landing.bring(flight)
        self._pool.disturbed(self._station.name, flight.clear(), Trouble.FAULT, str(fault), its_own=True)

    # What became of a prompt.

    def _ended(self, flight: Flight, job: Job) -> None:
        self._make_way(flight)
        station = self._station
        seconds = job.seconds / len(flight) if job.seconds is not None else None
        error = node_error(job, self._pool.stage) if job.status == "failed" else None
        blamed = self._blamed(flight, error.node_id) if error else None
        ready = [slot for slot in flight.open if slot != blamed]
        lost = [posted for slot in ready if (posted := self._brought(flight, slot, job, seconds))]
        station.lands(flight)
        left, flight.open = flight.open, {}
        self._pool.disturbed(station.name, lost, Trouble.FAULT, "the server lost a saved file")
        if error is not None:
            station.size.failed(len(flight))
            guilty = left.pop(blamed, None) if blamed is not None else None
            # With nobody in particular to blame, each of them is tried alone; otherwise the others go on together.
            known = guilty or error.trouble is Trouble.DISK
            self._pool.returned([one.item if known else one.item.suspected() for one in left.values()])
            if error.trouble is Trouble.DISK:
                self._pool.returned([guilty.item] if guilty else [])
                self._recovery.disk_full(error.failure)
            elif guilty:
                self._blame(guilty, error.trouble, error.failure)
        elif job.status == "cancelled":
            why = "somebody cancelled the prompt on the server"
            self._pool.disturbed(station.name, list(left.values()), Trouble.FAULT, why)
        else:
            self._went_well(flight, list(left.values()), job.seconds)
        self._conclude(flight, job.seconds)

    def _make_way(self, flight: Flight) -> None:
        """Gives the server its next prompt before one that it is through with is brought home, so that it has two."""
        flight.over = True
        if not self._recovery.due_for_recycling():
            self._launch()

    def _conclude(self, flight: Flight, seconds: float | None) -> None:
        """Every sample of a prompt has its word, and the server need not know of it any more."""
        station = self._station
        if seconds is not None:
            self._pool.timed(flight, seconds / len(flight))
        station.server.forget(flight.prompt_id)
        station.host.discard([name for one in flight.posted for name in one.uploads], [])
        station.show("working")

    def _went_well(self, flight: Flight, left: list[Posted], seconds: float | None) -> None:
        for posted in left:
            why = "the sink was not reached: a node before it blocked the prompt"
            self._pool.sample_failed(self._station.name, posted, SampleFailure(self._pool.stage, "NoRecord", why))
        self._station.size.went_well(len(flight), seconds)
        self._health.finished_prompt()

    def _brought(self, flight: Flight, slot: int, job: Job, seconds: float | None) -> Posted | None:
        """Brings a sample of an ended prompt home, if its sink has run; returns it where its files are gone."""
        try:
            self._landing.collect(flight, slot, seconds)
        except SinkNotRun:
            gone = self._station.packer.sink_ran(slot, job.ran)
        except FileNotFoundError:
            gone = True
        else:
            gone = False
        return flight.open.pop(slot) if gone else None

    def _blamed(self, flight: Flight, node_id: str) -> int | None:
        """The place of the sample that a failed node belongs to; None where the node is shared by several."""
        slot = slot_of(node_id)
        if slot is None and len(flight) == 1:
            return next(iter(flight.open), None)
        return slot

    def _blame(self, posted: Posted, trouble: Trouble, failure: SampleFailure) -> None:
        name = self._station.name
        if trouble is Trouble.MEMORY:
            self._station.server.free()
            self._pool.out_of_memory(name, posted, failure)
            return
        self._health.error()
        if self._health.fails_everything(self._station.alone):
            self._pool.returned([posted.item.elsewhere(name)])
            self._recovery.rest(f"{self._health.errors} samples in a row failed there ({failure.error_type})")
        else:
            self._pool.sample_failed(name, posted, failure)

    # Beginning and end.

    def _adopt(self) -> None:
        """Takes over prompts that an earlier run of this folder left here; polling tells what became of them."""
        for flight in self._pool.adopted_by(self._station.server.url):
            if known := self._station.flights.get(flight.prompt_id):
                known.joined(flight)
            else:
                self._station.takes_off(flight)

    def _stopped(self) -> bool:
        """Whether the run breaks off here: at once, or when those in flight took too long."""
        stop = self._pool.stop
        return self._pool.broken is not None or stop.level > 1 or stop.overdue(DRAIN_SECONDS)

    def _release_all(self) -> None:
        flights = self._station.flights
        if not flights:
            return
        with contextlib.suppress(ServerFault):  # a server that is gone runs nothing of ours
            self._station.server.cancel(list(flights))
        for flight in list(flights.values()):
            self._station.lands(flight)
            self._pool.returned([one.item for one in flight.open.values()])
