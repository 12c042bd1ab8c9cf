"""One server's part of a run: keeps two prompts with it, collects what they give, and sees when it is ill.

Posts, listens and polls from a thread of its own. What becomes of a sample is the pool's to say.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace

from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.records import SampleFailure

from ..comfyui.answering import sleep
from ..comfyui.client import ComfyServer, Job
from ..comfyui.events import Closed, Ended, PromptEvents, Ran
from ..comfyui.hosts import Host
from ..dataset.binding import Foreign
from ..errors import PromptRefused, RunError, ServerFault, ServerGone, ServerLocked
from ..graph.packs import Packer, slot_of
from ..monitor.listeners import ServerState, ServerView
from ..samples import Sample
from .harvest import SinkNotRun
from .health import Pulse
from .pack_size import PackSize
from .pool import Pool
from .posting import Poster
from .prompts import Flight, Posted
from .queue import Item
from .troubles import Trouble, node_error

DEPTH = 2
"""Prompts with a server: one runs, one waits, so that the server never does."""

POLL_SECONDS = 2.0
"""How often an unfinished prompt is asked for, in case its message was lost."""

MAX_SERVER_FAULTS = 5
"""Faults in a row, without a finished sample between them, after which a server alone breaks the run off."""

SICK_AFTER = 3
"""Failures or faults in a row after which a server is suspended, where others work. Ours."""

LONGEST_REST = 60.0
"""Seconds that a suspended server rests at most before it gets one prompt as a canary. Ours."""

MAX_FETCHES = 5
"""Faults over one sample's files, or over what became of one prompt, after which these are to be made again. Ours."""

LONGEST_LOCK = 10.0
"""Seconds after which a server that asks for a login is tried again, at most. Ours."""

PATIENCE_SECONDS = 60.0
"""How long a server that is not like the others may be all that is left, as for one that is away. Ours."""

DRAIN_SECONDS = 120.0
"""How long a stopped run waits for prompts in flight."""


class SampleFault(ServerFault):
    """A server did not do what it was asked about one prompt or sample; it may do so for all others."""

    def __init__(self, fault: ServerFault, key: str):
        super().__init__(str(fault))
        self.key = key


class Worker:
    """Runs samples of a pool on one server until none is left."""

    def __init__(
        self,
        host: Host,
        pool: Pool,
        fit: Callable[[ComfyServer], tuple[Packer, PackSize]],
        check: Callable[[ComfyServer], tuple[str, ...]],
        run_seed: int,
        recycle_after: int,
        turn: float,
        extra: Mapping[str, str],
    ):
        """
        Args:
            fit: how prompts are packed for a server that answers.
            check: raises RunError of a server that came back, or joins late, and does not fit the others; returns what
                is to be said of it.
            recycle_after: a server of our own is started again after so many prompts.
            turn: after which share of these the first time, so that not all servers of a run are due together.
            extra: what prompts carry beside their graph.
        """
        self._fit = fit
        self._check = check
        self._host = host
        self._pool = pool
        self._every = recycle_after
        self._recycle_after = int(recycle_after * turn) or 1
        self._extra = extra
        self._flights: dict[str, Flight] = {}
        self._poster = Poster(pool, run_seed, host.name)
        self._pulse = Pulse(time.monotonic())
        self._done = self._faults = self._in_a_row = self._errors_in_a_row = self._prompts = 0
        self._troubled: set[str] = set()
        """Samples with faults of their own since one was finished: with many of them, it is the server."""
        self._ill = ""
        """Why it is to rest before its next prompt."""
        self._canary = False
        self._alone_since: float | None = None
        self._said, self._rest_seconds = "", 1.0
        self._size = PackSize(1, gains=False, free_memory=0)  # until it answers
        self._away = not host.running()
        if not self._away:
            try:
                self._packer, self._size = fit(host.server)
            except (ServerFault, PromptRefused) as fault:
                self._away = True
                pool.reporter.say(str(fault))

    def run(self) -> None:
        """Returns when nothing is left to do, or when a stop was requested; what goes wrong for good, the pool knows."""
        self._events = PromptEvents(self._host.server)
        try:
            self._adopt()
            self._pool.working(self._host.name, not self._away)
            while self._step():
                pass
        except RunError as error:
            self._pool.give_up(error)
        except BaseException:
            self._pool.give_up(RunError("the run broke off", 1))
            raise
        finally:
            self._pool.working(self._host.name, False)
            self._release_all()
            self._events.close()
            self._poster.close()
            if self._away:
                self._show("left")

    def _step(self) -> bool:
        """One round; False when there is nothing more to do here."""
        if self._stopped():
            return False
        try:
            if self._away:
                return self._return()
            if self._ill:
                why, self._ill = self._ill, ""
                self._rest(why)
            if self._due_for_recycling():
                self._recycle()
            else:
                self._launch()
            if not self._flights:
                if self._pool.over() or self._pool.stop.level:
                    return False
                self._show("idle")
                time.sleep(0.05)
                return True
            self._listen()
            self._watch()
        except ServerFault as fault:
            return self._recover(fault)
        return True

    # Posting.

    def _launch(self) -> None:
        depth = 1 if self._canary else DEPTH
        while sum(not flight.over for flight in self._flights.values()) < depth:
            items = self._pool.take(self._host.name, self._count)
            if not items and not self._flights:
                items = self._pool.stragglers(self._host.name, self._size.seconds)
            if not items:
                return
            self._submit(items)

    def _count(self, first: Sample) -> int:
        if self._canary:
            return 1
        width, height = first.annotation.size or (0, 0)
        return self._size.next(width * height, self._pool.queue.left, self._pool.servers)

    def _submit(self, items: list[Item]) -> None:
        server = self._host.server
        prepared = self._poster.prepare(items, server)
        if not prepared:
            return
        posted = [one for one, _ in prepared]
        flight = Flight(str(uuid.uuid4()), posted, dict(enumerate(posted)))
        self._pool.journal.submitting([one.key for one in posted], flight.prompt_id, server.url)
        self._flights[flight.prompt_id] = flight
        self._pool.took_off(self._host.name, flight)
        self._prompts += 1
        try:
            prompt = self._packer.prompt([filling for _, filling in prepared])
            server.submit(prompt, flight.prompt_id, self._events.client_id, self._extra)
        except PromptRefused as refusal:
            self._refused(flight, refusal)
        self._show("working")

    def _refused(self, flight: Flight, refusal: PromptRefused) -> None:
        """The server took nothing of it: whose nodes it complains about is to blame."""
        self._land(flight)
        left = list(flight.open.items())
        flight.open.clear()
        if "Invalid image file" in str(refusal):
            self._pool.disturbed(self._host.name, [one for _, one in left], Trouble.FAULT, "the server lost the photo")
            return
        blamed = {slot_of(node_id) for node_id in refusal.nodes} if len(flight) > 1 else {0}
        for slot, posted in left:
            if slot in blamed:
                self._pool.fail(posted.item.sample, SampleFailure(self._pool.stage, "PromptRefused", str(refusal)))
        others = [posted.item for slot, posted in left if slot not in blamed]
        self._pool.returned([item if blamed & dict(left).keys() else item.suspected() for item in others])

    # Listening.

    def _listen(self) -> None:
        heard = self._events.heard
        event = self._events.wait(POLL_SECONDS / 8)
        if self._events.heard != heard:
            self._pulse.beat(self._events.heard)
        if isinstance(event, Closed):
            for one in self._flights.values():
                one.polled = 0  # asked for at once: the server may be gone
        flight = self._flights.get(event.prompt_id) if event and not isinstance(event, Closed) else None
        if flight is None:
            return
        if isinstance(event, Ran) and len(flight) > 1:
            slot = slot_of(event.node_id)
            if slot in flight.open:
                # Some other node of the sample may show something too.
                with contextlib.suppress(SinkNotRun, FileNotFoundError):
                    self._collect(flight, slot)
        elif isinstance(event, Ended):
            self._poll(flight)

    def _watch(self) -> None:
        now = time.monotonic()
        for flight in list(self._flights.values()):
            if now - flight.polled > POLL_SECONDS:
                self._drop_copies(flight)
            if flight.prompt_id in self._flights and now - flight.polled > POLL_SECONDS:
                self._poll(flight)
        if self._flights and self._pulse.stopped(time.monotonic()):
            self._zombie()

    def _drop_copies(self, flight: Flight) -> None:
        """Forgets samples that another server finished first."""
        self._pool.drop_decided(flight)
        if not flight.open:
            self._land(flight)
            self._host.server.cancel([flight.prompt_id])

    def _poll(self, flight: Flight) -> None:
        flight.polled = time.monotonic()
        try:
            job = self._host.server.job(flight.prompt_id)
        except (ServerGone, ServerLocked):
            raise
        except ServerFault as fault:
            self._unclear(flight, fault)
            return
        flight.faults = 0
        if job is None and self._known(flight.prompt_id):
            return
        if job is None:
            self._vanished(flight)
            return
        if job.status != flight.status:
            flight.status = job.status
            self._pulse.beat(time.monotonic())
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
            self._host.server.cancel([flight.prompt_id])
        self._bring(flight)
        left, flight.open = list(flight.open.values()), {}
        self._pool.disturbed(self._host.name, [self._last(one) for one in left], Trouble.FAULT, str(fault))

    def _ended(self, flight: Flight, job: Job) -> None:
        flight.over = True
        if not self._due_for_recycling():
            self._launch()  # first of all, so that the server has two prompts while this one is brought home
        seconds = job.seconds / len(flight) if job.seconds is not None else None
        error = node_error(job, self._pool.stage) if job.status == "failed" else None
        blamed = self._blamed(flight, error.node_id) if error else None
        ready = [slot for slot in flight.open if slot != blamed]
        lost = [posted for slot in ready if (posted := self._brought(flight, slot, job, seconds))]
        self._land(flight)
        left, flight.open = flight.open, {}
        self._pool.disturbed(self._host.name, lost, Trouble.FAULT, "the server lost a saved file")
        if error is not None:
            self._size.failed(len(flight))
            guilty = left.pop(blamed, None) if blamed is not None else None
            # With nobody in particular to blame, each of them is tried alone; otherwise the others go on together.
            known = guilty or error.trouble is Trouble.DISK
            self._pool.returned([one.item if known else one.item.suspected() for one in left.values()])
            if error.trouble is Trouble.DISK:
                self._pool.returned([guilty.item] if guilty else [])
                self._disk_full(error.failure)
            elif guilty:
                self._blame(guilty, error.trouble, error.failure)
        elif job.status == "cancelled":
            why = "somebody cancelled the prompt on the server"
            self._pool.disturbed(self._host.name, list(left.values()), Trouble.FAULT, why)
        else:
            self._went_well(flight, list(left.values()), job)
        if seconds is not None:
            self._pool.journal.timed([one.key for one in flight.posted], seconds)
        self._host.server.forget(flight.prompt_id)
        self._host.discard([name for one in flight.posted for name in one.uploads], [])
        self._show("working")

    def _went_well(self, flight: Flight, left: list[Posted], job: Job) -> None:
        for posted in left:
            why = "the sink was not reached: a node before it blocked the prompt"
            self._pool.sample_failed(self._host.name, posted, SampleFailure(self._pool.stage, "NoRecord", why))
        self._size.went_well(len(flight), job.seconds)
        self._pulse.finished()
        self._canary = False

    def _brought(self, flight: Flight, slot: int, job: Job, seconds: float | None) -> Posted | None:
        """Brings a sample of an ended prompt home, if its sink has run; returns it where its files are gone."""
        try:
            self._collect(flight, slot, seconds)
        except SinkNotRun:
            if self._packer.sink(slot, len(flight.posted)) not in job.ran:
                return None
        except FileNotFoundError:
            pass
        else:
            return None
        return flight.open.pop(slot)

    def _blamed(self, flight: Flight, node_id: str) -> int | None:
        """The place of the sample that a failed node belongs to; None where the node is shared by several."""
        slot = slot_of(node_id)
        if slot is None and len(flight.posted) == 1:
            return next(iter(flight.open), None)
        return slot

    def _blame(self, posted: Posted, trouble: Trouble, failure: SampleFailure) -> None:
        name = self._host.name
        if trouble is Trouble.MEMORY:
            self._host.server.free()
            self._pool.out_of_memory(name, posted, failure)
            return
        self._errors_in_a_row += 1
        if self._errors_in_a_row > SICK_AFTER and not self._pool.alone(name):
            # So many in a row while others work: it may be the server.
            self._pool.returned([posted.item.elsewhere(name)])
            self._rest(f"{self._errors_in_a_row} samples in a row failed there ({failure.error_type})")
        else:
            self._pool.sample_failed(name, posted, failure)

    def _disk_full(self, failure: SampleFailure) -> None:
        """The server cannot save: it rests, in case somebody makes room.

        Raises:
            RunError: nobody did, and no other server works.
        """
        why = f"its disk is full ({failure.message} in {failure.node})"
        self._faults += 1
        self._in_a_row += 1
        if self._in_a_row > MAX_SERVER_FAULTS and self._pool.alone(self._host.name):
            raise RunError(f"{self._host.name}: {why}; make room there and run the same command again; it goes on", 1)
        self._rest(why)

    def _collect(self, flight: Flight, slot: int, seconds: float | None = None) -> None:
        """Brings one sample home. What the server sent of another one, or cannot send time and again, is done again.

        Raises:
            SinkNotRun: there is nothing yet.
            FileNotFoundError: the server lost one of its files.
            ServerFault: it is to be fetched again.
        """
        posted = flight.open[slot]
        begun = time.monotonic()
        rename = self._pool.renamed(posted)
        try:
            origin = self._poster.origin(posted, self._packer.seeded)
            harvest = self._pool.harvester.harvest(origin, self._host.server, rename)
        except PhotoError as error:
            del flight.open[slot]
            self._pool.fail(posted.item.sample, SampleFailure("input", type(error).__name__, str(error)))
            return
        except Foreign as foreign:
            del flight.open[slot]
            self._pool.disturbed(self._host.name, [self._last(posted)], Trouble.FOREIGN, str(foreign))
            self._doubt(posted.key, str(foreign))
            return
        except (ServerGone, ServerLocked):
            raise
        except ServerFault as fault:
            posted.faults += 1
            if posted.faults <= MAX_FETCHES:
                raise SampleFault(fault, posted.key) from None
            del flight.open[slot]
            self._pool.disturbed(self._host.name, [self._last(posted)], Trouble.FAULT, str(fault))
            return
        del flight.open[slot]
        self._pool.harvested(self._host.name, posted, harvest, time.monotonic() - begun, seconds)
        self._done += 1
        self._in_a_row = self._errors_in_a_row = 0
        self._troubled.clear()
        self._host.discard([], harvest.files)

    # When something is wrong.

    def _recover(self, fault: ServerFault) -> bool:
        """Gets the server back and finds out which prompts it still has; False where it is given up."""
        self._faults += 1
        if isinstance(fault, SampleFault):
            self._pool.reporter.say(str(fault))
            self._doubt(fault.key, str(fault))
            return True
        if isinstance(fault, ServerLocked):
            return self._return()
        self._in_a_row += 1
        alone = self._pool.alone(self._host.name)
        if self._in_a_row > MAX_SERVER_FAULTS and alone:
            raise RunError(f"{fault}, {self._in_a_row} times in a row; see to the server, then run this again", 1)
        self._pool.reporter.say(str(fault))
        if isinstance(fault, ServerGone) or not self._host.running():
            return self._return()
        if self._in_a_row > SICK_AFTER and not alone:
            self._rest(str(fault))
        else:
            sleep(min(5.0, self._in_a_row - 1), self._pool.ending)
        for flight in list(self._flights.values()):
            with contextlib.suppress(ServerFault):  # asked again later
                if not self._known(flight.prompt_id):
                    self._vanished(flight)
        return True

    def _last(self, posted: Posted) -> Posted:
        return replace(posted, item=posted.item.later(self._host.name))

    def _doubt(self, key: str, why: str) -> None:
        """One more sample has trouble of its own: with too many of them in a row, it is the server.

        Raises:
            RunError: no other server works either.
        """
        self._troubled.add(key)
        number = len(self._troubled)
        if not self._pool.alone(self._host.name):
            self._ill = why if number > SICK_AFTER else ""
        elif number > MAX_SERVER_FAULTS:
            raise RunError(
                f"{self._host.name}: {why}; {number} samples in a row: see to the server, then run this again", 1
            )

    def _return(self) -> bool:
        """Nothing answers: waits until it does, or starts it again; False where it stays away for good."""
        name = self._host.name
        self._away = True
        self._show("away")
        self._pool.working(name, False)
        self._events.close()
        if self._host.own and not self._host.running():
            self._pool.reporter.say(f"{name}: {self._host.ended()}")
        try:
            if not self._host.revive(self._pool.ending):
                return False
        except ServerLocked as locked:
            return self._wait_outside(f"{locked}; paused until it lets us in", LONGEST_LOCK)
        except RunError as error:
            if self._pool.ending():
                return False
            if self._pool.alone(name):
                raise
            self._pool.reporter.say(str(error))
            return not self._host.own  # somebody else's may come back
        try:
            for line in self._check(self._host.server):
                self._pool.reporter.say(line)
            self._packer, self._size = self._fit(self._host.server)
        except (RunError, ServerFault, PromptRefused) as error:
            return self._unfit(error)
        if self._said:
            self._pool.reporter.say(f"{name} takes part")
        self._away, self._alone_since, self._said = False, None, ""
        self._events = PromptEvents(self._host.server)
        self._pulse = Pulse(time.monotonic())
        self._pool.working(name, True)
        lost = []
        for flight in list(self._flights.values()):
            with contextlib.suppress(ServerFault):
                if not self._known(flight.prompt_id):
                    self._bring(flight)
                    lost.append(flight)
        # Prompts run in their order, so the first that is not through is the one that the server died over.
        ran = next((flight for flight in lost if flight.open and not flight.adopted), None)
        for flight in lost:
            self._do_again(flight, Trouble.DEATH if flight is ran else None)
        return True

    def _unfit(self, error: Exception) -> bool:
        """It answers, but not like the others; False where it is given up. It ends the run only where nobody else could
        go on for as long as an absent server is waited for.
        """
        if self._pool.ending():
            return False
        now, alone = time.monotonic(), self._pool.alone(self._host.name)
        self._alone_since = (self._alone_since or now) if alone else None
        if alone and (self._host.own or now - (self._alone_since or now) >= PATIENCE_SECONDS):
            todo = "" if isinstance(error, RunError) else "; see to the server, then run this again"
            raise RunError(f"{error}{todo}", 1)
        return self._wait_outside(str(error), LONGEST_REST) and not self._host.own

    def _wait_outside(self, why: str, longest: float) -> bool:
        """Rests before the server is looked at again, longer each time; says once why. False where the run ends."""
        if why != self._said:
            self._said, self._rest_seconds = why, 1.0
            self._pool.reporter.say(why)
        self._rest_seconds = min(longest, self._rest_seconds * 2)
        sleep(self._rest_seconds, self._pool.ending)
        return not self._pool.ending()

    def _vanished(self, flight: Flight) -> None:
        """The server does not know the prompt any more: what its sinks wrote is kept, the rest is to be done again."""
        self._bring(flight)
        self._do_again(flight, None if flight.adopted else Trouble.FAULT)

    def _bring(self, flight: Flight) -> None:
        """Brings home what the sinks of a prompt wrote that will not go on; what cannot be had is done again."""
        self._land(flight)
        for slot in list(flight.open):
            with contextlib.suppress(SinkNotRun, FileNotFoundError, ServerFault):
                self._collect(flight, slot)

    def _do_again(self, flight: Flight, trouble: Trouble | None) -> None:
        """
        Args:
            trouble: what it costs the samples; nothing where their prompt did not run.
        """
        left, flight.open = list(flight.open.values()), {}
        if trouble is None:
            self._pool.returned([one.item for one in left])
        else:
            why = f"{self._host.name} no longer knows the prompt (was it restarted?)"
            self._pool.disturbed(self._host.name, left, trouble, why)

    def _zombie(self) -> None:
        """It answers and finishes nothing: started again where it is ours, otherwise left alone for a while."""
        why = f"{self._host.name} answers, but nothing moved for {self._pulse.limit():.0f} s"
        self._pool.reporter.say(why)
        flights = list(self._flights.values())
        with contextlib.suppress(ServerFault):
            self._host.server.cancel([flight.prompt_id for flight in flights])
        for flight in flights:
            self._bring(flight)
            left, flight.open = list(flight.open.values()), {}
            self._pool.disturbed(self._host.name, left, Trouble.ZOMBIE, why)
        self._pulse = Pulse(time.monotonic())
        self._faults += 1
        self._in_a_row += 1
        if self._host.own:
            self._return()
        elif self._pool.alone(self._host.name) and self._in_a_row > 1:
            raise RunError(f"{why}, twice; restart it, then run the same command again", 1)
        else:
            self._rest(why)

    def _rest(self, why: str) -> None:
        """Suspends the server; after a rest it gets one prompt as a canary."""
        seconds = min(LONGEST_REST, 2.0 ** max(self._in_a_row, self._errors_in_a_row, len(self._troubled)))
        self._pool.reporter.say(f"{self._host.name} is suspended for {seconds:.0f} s: {why}")
        self._show("suspended")
        self._pool.working(self._host.name, False)
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self._pool.stop.level and not self._pool.over():
            time.sleep(0.2)
        self._canary = True
        self._pool.working(self._host.name, True)

    def _known(self, prompt_id: str) -> bool:
        """Whether the server has the prompt; asked twice, as a prompt just posted may not show yet."""
        for _ in range(2):
            if self._host.server.job(prompt_id) is not None:
                return True
            time.sleep(0.5)
        return False

    # Beginning and end.

    def _adopt(self) -> None:
        """Takes over prompts that an earlier run of this folder left here; polling tells what became of them."""
        for prompt_id, flight in self._pool.adopted.items():
            if self._pool.homes[prompt_id] == self._host.server.url:
                self._flights[prompt_id] = flight
                self._pool.took_off(self._host.name, flight)

    def _due_for_recycling(self) -> bool:
        return self._host.own and self._prompts >= self._recycle_after and not self._pool.over()

    def _recycle(self) -> None:
        """Starts a server of our own again, when its prompts have ended."""
        if self._flights:
            return
        self._show("recycling")
        self._pool.working(self._host.name, False)
        self._events.close()
        self._away = not self._host.recycle(self._pool.ending)
        self._events = PromptEvents(self._host.server)
        self._pool.working(self._host.name, True)
        self._prompts, self._recycle_after = 0, self._every
        self._pulse = Pulse(time.monotonic())

    def _stopped(self) -> bool:
        """Whether the run breaks off here: at once, or when those in flight took too long."""
        stop = self._pool.stop
        return self._pool.broken is not None or stop.level > 1 or stop.overdue(DRAIN_SECONDS)

    def _release_all(self) -> None:
        if not self._flights:
            return
        with contextlib.suppress(ServerFault):  # a server that is gone runs nothing of ours
            self._host.server.cancel(list(self._flights))
        for flight in list(self._flights.values()):
            self._land(flight)
            self._pool.returned([one.item for one in flight.open.values()])

    def _land(self, flight: Flight) -> None:
        self._flights.pop(flight.prompt_id, None)
        self._pool.landed(flight)
        if not self._flights:
            self._pulse.rest(time.monotonic())

    def _show(self, state: ServerState) -> None:
        self._pool.show(
            ServerView(
                name=self._host.name,
                state=state,
                in_flight=sum(len(flight.open) for flight in self._flights.values()),
                done=self._done,
                faults=self._faults,
                samples_per_prompt=max((len(flight) for flight in self._flights.values()), default=1),
                seconds_per_sample=self._size.seconds,
            )
        )
