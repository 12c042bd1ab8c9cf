"""What the servers of a run share: the samples that wait, what became of them, and when to stop.

Knows servers by their names. Every word on a sample is spoken here, once, whoever brings it.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from comfy_nodes.core.records import SampleFailure

from ..errors import RunError
from ..journal import Journal
from ..journal_turns import DIALOGUE_ENDED
from ..monitor.listeners import Reporter
from ..samples import Sample
from ..stopping import StopRequest
from .harvest import Harvest
from .pack_size import Shares
from .portion import Portion, Supply
from .prompts import Flight, Posted, sink_folder
from .queue import Item, SampleQueue
from .troubles import MAX_DEATHS, MAX_FAULTS, MAX_MEMORY_FAILURES, Trouble

SAME_FAILURES = 100
"""When so many samples have failed the same way and none is done, the rest is not tried. Ours."""

STRAGGLER_SECONDS = 5.0
"""A prompt is never given to a second server sooner. Ours."""

STRAGGLER_FACTOR = 3.0
"""Times its expected end that a prompt is late before an idle server takes it too. Ours."""


class Pool:
    """The run's samples between its servers."""

    def __init__(
        self,
        supply: Supply,
        stage: str,
        reporter: Reporter,
        stop: StopRequest,
        servers: int,
        attempts: int,
        room: Callable[[], str],
    ):
        """
        Args:
            supply: gives the samples.
            stage: what failures of the run's samples are filed under.
            servers: how many share the work.
            attempts: edits tried of each sample, after rejections and errors of its own.
            room: why nothing new may be begun now, such as a full disk; empty where it may.
        """
        self.stage = stage
        self.reporter = reporter
        self.stop = stop
        self.shares = Shares(servers)
        self._attempts = attempts
        self._room = room
        self._paused = ""
        self._lock = threading.Lock()
        self._adopted: list[tuple[str, Flight]] = []
        """Prompts of an earlier run that no server of this one was asked about yet, by the server's address."""
        self.queue = SampleQueue(supply, self._adopt)
        self._deciding = threading.RLock()
        """Held by whoever speaks on a sample that two servers may have."""
        self.flights: dict[str, tuple[str, Flight]] = {}
        """By prompt id: which server has it, and what is in it."""
        self._copied: set[tuple[Portion, str]] = set()
        self._working: set[str] = set()
        self._done = 0
        self._signatures: Counter[str] = Counter()
        self.broken: RunError | None = None
        """Why the run cannot go on."""

    # What workers ask for.

    def over(self) -> bool:
        """Whether nothing is left to do for anybody."""
        return self.broken is not None or self.queue.over

    def ending(self) -> bool:
        """Whether waiting for a server is in vain."""
        return self.stop.level > 0 or self.over()

    def take(self, server: str, count: Callable[[Sample], int]) -> list[Item]:
        """Samples for a server; none where nothing waits for it, or nothing may be begun."""
        if self.stop.level or self.broken:
            return []
        if (why := self._room()) != self._paused:
            self._paused = why
            self.reporter.say(f"paused: {why}" if why else "going on: there is room again")
        if why:
            return []
        return self.queue.take(server, count, others=not self.alone(server))

    def work_for(self, server: str) -> bool:
        """Whether something waits, or another server has something that may be late."""
        if self.stop.level or self.broken:
            return False
        if not self.queue.empty():
            return True
        with self._lock:
            return any(owner != server for owner, _ in self.flights.values())

    def stragglers(self, server: str, seconds_per_sample: float | None) -> list[Item]:
        """Samples that another server has had for too long, where nothing else is left to do."""
        if self.stop.level or self.broken or not self.queue.empty():
            return []
        with self._lock:
            for owner, flight in self.flights.values():
                late = max(STRAGGLER_SECONDS, STRAGGLER_FACTOR * 2 * len(flight) * (seconds_per_sample or 0))
                if owner == server or time.monotonic() - flight.begun < late:
                    continue
                items = [one.item for one in flight.open.values() if one.item.identity not in self._copied]
                if items:
                    self._copied.update(item.identity for item in items)
                    return [Item(item.sample, item.portion) for item in items]
        return []

    def drop_decided(self, flight: Flight) -> None:
        """Takes those samples out of a prompt on which another server has had the word."""
        for slot, posted in list(flight.open.items()):
            with self._deciding:
                if posted.item.identity in self._copied and not _undecided(posted):
                    del flight.open[slot]
                    self._left(posted)

    def working(self, server: str, works: bool) -> None:
        """Whether a server takes samples now."""
        with self._lock:
            (self._working.add if works else self._working.discard)(server)

    def alone(self, server: str) -> bool:
        """Whether no other server takes samples now."""
        with self._lock:
            return not self._working - {server}

    def took_off(self, server: str, flight: Flight) -> None:
        with self._lock:
            self.flights[flight.prompt_id] = (server, flight)

    def submitting(self, flight: Flight, url: str) -> None:
        """To be called before a prompt is posted to a server."""
        for journal, slots in _by_journal(flight).items():
            posted = [flight.posted[slot] for slot in slots]
            keys, digests = [one.key for one in posted], [one.digest for one in posted]
            journal.submitting(keys, flight.prompt_id, url, slots, digests)

    def timed(self, flight: Flight, seconds: float) -> None:
        """How long a server worked on each sample of a prompt; those that were brought home with it are taken down already."""
        for journal, slots in _by_journal(flight).items():
            if keys := [flight.posted[slot].key for slot in slots if not flight.posted[slot].timed]:
                journal.timed(keys, seconds)

    def landed(self, flight: Flight) -> None:
        with self._lock:
            self.flights.pop(flight.prompt_id, None)

    # What workers bring.

    def harvested(
        self, server: str, posted: Posted, harvest: Harvest, transfer_s: float, seconds: float | None
    ) -> None:
        """A sample's sink has run. Of two servers that bring it the first counts; the other's pictures go."""
        with self._deciding:
            if not _undecided(posted):
                for one in harvest.staged:
                    one.drop()
                self._left(posted)
                return
            for one in harvest.staged:
                one.keep()
            if harvest.misfit:
                self._made_otherwise(server, posted, harvest.misfit)
            elif failure := harvest.failure or self._several(posted, harvest):
                self.sample_failed(server, posted, failure)
            elif harvest.rejected and self._has_attempts(posted):
                posted.journal.tried(posted.key, harvest.rows)
                self._again([posted.item], server, "rejected", "the edit was rejected: another seed")
            elif posted.journal.done(posted.key, harvest.rows, transfer_s, seconds):
                self._done += 1
                posted.timed = seconds is not None
                self.reporter.finished(server, posted.item.sample, [row.verdict for row in harvest.rows], seconds)
                self._go_on(posted.item)
                self.queue.finished(posted.item.portion)

    def _several(self, posted: Posted, harvest: Harvest) -> SampleFailure | None:
        """Why a turn cannot be gone on from; None where it can."""
        if posted.item.sample.turn is None or len(harvest.rows) < 2:
            return None
        why = f"the graph made {len(harvest.rows)} pictures of one turn, and the next begins from one: have it make one"
        return SampleFailure(self.stage, "SeveralPictures", why)

    def _go_on(self, item: Item) -> None:
        """A turn has an end: the next may begin, or the dialogue has ended with it."""
        if item.sample.turn is None:
            return
        settled = item.portion.journal.settle_turns(dialogue=item.sample.turn.dialogue)
        for key in settled.ready:
            self.queue.released(item.portion, key)
        for key, why in settled.ended:
            self.reporter.failed(
                replace(item.sample, key=key), SampleFailure(self.stage, DIALOGUE_ENDED, why, skipped=True)
            )
            self.queue.dropped(item.portion)

    def _made_otherwise(self, server: str, posted: Posted, why: str) -> None:
        """Its rows must not stand beside the run's: a server's fault, and the end of the run where there is no other."""
        self.disturbed(server, [posted], Trouble.FAULT, why)
        if self.alone(server):
            self.give_up(RunError(f"{why}; put it back and run this again, or choose another folder", 1))

    def _left(self, posted: Posted) -> None:
        """Another server had the word on this attempt: where that was not the last one, the next may begin."""
        if not posted.journal.ended(posted.key):
            self._put_back([posted.item])

    def renamed(self, posted: Posted) -> Callable[[str, bool], str]:
        """Under which keys a sample's records are kept: a rejected try that another one follows has a name of its own."""
        another = self._has_attempts(posted)
        return lambda key, rejected: f"{key}~try{posted.attempt}" if rejected and another else key

    def sample_failed(self, server: str, posted: Posted, failure: SampleFailure) -> None:
        """A node failed over a sample, which costs it an attempt. What a turn's task cannot use, it cannot use with another
        seed either: its plan says which thing becomes what."""
        in_vain = failure.skipped and posted.item.sample.turn is not None
        with self._deciding:
            if not _undecided(posted):
                self._left(posted)
            elif self._has_attempts(posted) and not in_vain:
                posted.journal.tried(posted.key)
                self._again([posted.item], server, failure.error_type, failure.message)
            else:
                self.fail(posted.item, failure)

    def out_of_memory(self, server: str, posted: Posted, failure: SampleFailure) -> None:
        """Not enough memory for it: alone, then elsewhere."""
        item = posted.item.out_of_memory(server)
        if item.memory_failures >= MAX_MEMORY_FAILURES:
            self.fail(item, failure)
        else:
            posted.journal.release(posted.key)
            self._again([item], server, failure.error_type, failure.message)

    def disturbed(
        self, server: str, posted: Sequence[Posted], trouble: Trouble, why: str, its_own: bool = False
    ) -> None:
        """A server or the network came between: again with the same seed, but not for ever.

        Args:
            its_own: only this sample had it so far, and those that were not tried yet go first.
        """
        again = []
        for one in posted:
            died = trouble is Trouble.DEATH
            count = one.journal.death(one.key) if died else one.journal.fault(one.key)
            if count >= (MAX_DEATHS if died else MAX_FAULTS):
                self.fail(one.item, SampleFailure(self.stage, trouble.value, f"{why}; {count} times"))
            else:
                item = one.item.later(server) if its_own else one.item
                again.append(item.suspected() if died else item)
        self._again(again, server, trouble.value, why)

    def returned(self, items: Sequence[Item]) -> None:
        """Nothing was done to them, and nobody is to blame: they wait again."""
        for item in items:
            item.portion.journal.release(item.sample.key)
        self._put_back(items)

    def fail(self, item: Item, failure: SampleFailure) -> None:
        """A sample will have no row: it failed, or is skipped."""
        if not item.portion.journal.failed(item.sample.key, failure):
            return
        self.reporter.failed(item.sample, failure)
        if not failure.skipped:
            self._note(failure)
        self._go_on(item)
        self.queue.finished(item.portion)

    def _note(self, failure: SampleFailure) -> None:
        """Breaks the run off where everything fails the same way."""
        self._signatures[f"{failure.error_type} at {failure.node}" if failure.node else failure.error_type] += 1
        if not self._done and len(self._signatures) == 1 and self._signatures.total() >= SAME_FAILURES:
            (signature,) = self._signatures
            why = f"the first {SAME_FAILURES} samples all failed with {signature} ({failure.message})"
            self.give_up(RunError(f"{why}: see to it, then run the same command with --retry-failed", 1))

    def give_up(self, error: RunError) -> None:
        """The run breaks off; what is done stays done."""
        self.broken = self.broken or error

    def _again(self, items: Sequence[Item], server: str, error_class: str, why: str) -> None:
        if items:
            self.reporter.retried(server, len(items), error_class, why)
        self._put_back(items)

    def _put_back(self, items: Sequence[Item]) -> None:
        # What another server has too, or has finished, is left to it.
        done = {item.identity for item in items if item.identity in self._copied and _has_ended(item)}
        left = [item for item in items if item.identity not in done and not self._flies(item)]
        self._copied.difference_update(item.identity for item in left)
        self.queue.put_back(left)

    def _flies(self, item: Item) -> bool:
        with self._lock:
            open_ = (one for _, flight in self.flights.values() for one in flight.open.values())
            return any(one.item.identity == item.identity for one in open_)

    def _has_attempts(self, posted: Posted) -> bool:
        return posted.attempt + 1 < self._attempts

    # Prompts of an earlier run of this folder.

    def adopted_by(self, url: str) -> list[Flight]:
        """Prompts that an earlier run left with a server, each told once."""
        with self._lock:
            found = [flight for home, flight in self._adopted if home == url]
            self._adopted = [one for one in self._adopted if one[0] != url]
        return found

    def look_after(self, urls: Collection[str]) -> None:
        """To be called now and then: prompts that servers have which take no part are made again, and where nothing more
        can come the run breaks off.

        Args:
            urls: of the servers that take part.
        """
        try:
            self.queue.check()
        except RunError as error:
            self.give_up(error)
        with self._lock:
            lost = [flight for home, flight in self._adopted if home not in urls]
            self._adopted = [one for one in self._adopted if one[0] in urls]
        for flight in lost:
            self.returned([one.item for one in flight.posted])

    def _adopt(self, portion: Portion) -> frozenset[str]:
        """Takes note of the prompts of a portion that an earlier run left with servers; returns their samples' keys."""
        found: dict[str, dict[int, Posted]] = {}
        homes: dict[str, str] = {}
        for left in portion.journal.submissions():
            if portion.tasks is not None and left.sample.task not in portion.tasks:
                continue
            folder = sink_folder(portion.run_id, left.sample.key, left.tries.submissions - 1)
            posted = Posted(Item(left.sample, portion), folder, left.tries.attempts)
            found.setdefault(left.prompt_id, {})[left.slot] = posted
            homes[left.prompt_id] = left.server
        with self._lock:
            for prompt_id, posted_by_slot in found.items():
                flight = Flight(prompt_id, list(posted_by_slot.values()), posted_by_slot, adopted=True, polled=0)
                self._adopted.append((homes[prompt_id], flight))
        return frozenset(one.key for slots in found.values() for one in slots.values())


def _by_journal(flight: Flight) -> dict[Journal, list[int]]:
    """Places of a prompt's samples among all of it, by their journal."""
    found: dict[Journal, list[int]] = {}
    for slot, posted in enumerate(flight.posted):
        found.setdefault(posted.journal, []).append(slot)
    return found


def _undecided(posted: Posted) -> bool:
    return posted.journal.undecided(posted.key, posted.attempt)


def _has_ended(item: Item) -> bool:
    return item.portion.journal.ended(item.sample.key)
