"""A server that faults: how it rests, comes back, is started again, or is given up, and what of its prompts is left."""

from __future__ import annotations

import contextlib
import time

from comfy_nodes.core.records import SampleFailure

from ..comfyui.answering import sleep
from ..errors import PromptRefused, RunError, ServerFault, ServerGone, ServerLocked
from .health import LONGEST_REST
from .landing import Landing, SampleFault
from .station import Station
from .troubles import Trouble

LONGEST_LOCK = 10.0
"""Seconds after which a server that asks for a login is tried again, at most. Ours."""

PATIENCE_SECONDS = 60.0
"""How long a server that is not like the others may be all that is left, as for one that is away. Ours."""


class Recovery:
    """Gets one server back."""

    def __init__(self, station: Station, landing: Landing, turn: float):
        """
        Args:
            turn: after which share of its prompts a server of our own is started again the first time, so that not all
                servers of a run are due together.
        """
        self._station = station
        self._host, self._pool, self._health = station.host, station.pool, station.health
        self._landing = landing
        self._recycle_after = int(station.work.recycle_after * turn) or 1
        self._alone_since: float | None = None
        self._said, self._wait_seconds = "", 1.0

    # Faults.

    def recover(self, fault: ServerFault) -> bool:
        """Gets the server back and finds out which prompts it still has; False where it is given up."""
        health, alone = self._health, self._station.alone
        health.fault(ill=not isinstance(fault, SampleFault | ServerLocked))
        if isinstance(fault, SampleFault):
            self._pool.reporter.say(str(fault))
            self._station.doubt(fault.key, str(fault))
            return True
        if isinstance(fault, ServerLocked):
            return self.come_back()
        if health.given_up(alone):
            raise RunError(f"{fault}, {health.in_a_row} times in a row; see to the server, then run this again", 1)
        self._pool.reporter.say(str(fault))
        if isinstance(fault, ServerGone) or not self._host.running():
            return self.come_back()
        if health.suspended(alone):
            self.rest(str(fault))
        else:
            sleep(min(5.0, health.in_a_row - 1), self._pool.ending)
        for flight in list(self._station.flights.values()):
            with contextlib.suppress(ServerFault):  # asked again later
                if not self._station.knows(flight.prompt_id):
                    self._landing.lost(flight)
        return True

    def disk_full(self, failure: SampleFailure) -> None:
        """The server cannot save: it rests, in case somebody makes room.

        Raises:
            RunError: nobody did, and no other server works.
        """
        name, why = self._station.name, f"its disk is full ({failure.message} in {failure.node})"
        self._health.fault()
        if self._health.given_up(self._station.alone):
            raise RunError(f"{name}: {why}; make room there and run the same command again; it goes on", 1)
        self.rest(why)

    def zombie(self) -> None:
        """It answers and finishes nothing: started again where it is ours, otherwise left alone for a while."""
        why = f"{self._station.name} answers, but nothing moved for {self._health.pulse.limit():.0f} s"
        self._pool.reporter.say(why)
        flights = list(self._station.flights.values())
        with contextlib.suppress(ServerFault):
            self._station.server.cancel([flight.prompt_id for flight in flights])
        for flight in flights:
            self._landing.bring(flight)
            self._pool.disturbed(self._station.name, flight.clear(), Trouble.ZOMBIE, why)
        self._health.restarted()
        self._health.fault()
        if self._host.own:
            self.come_back()
        elif self._station.alone and self._health.in_a_row > 1:
            raise RunError(f"{why}, twice; restart it, then run the same command again", 1)
        else:
            self.rest(why)

    def rest(self, why: str) -> None:
        """Suspends the server; after a rest it gets one prompt as a canary."""
        seconds = self._health.rest_seconds()
        self._pool.reporter.say(f"{self._station.name} is suspended for {seconds:.0f} s: {why}")
        self._station.pauses("suspended")
        sleep(seconds, self._pool.ending)
        self._health.rested()
        self._station.works()

    # Being away.

    def come_back(self) -> bool:
        """Nothing answers: waits until it does, or starts it again; False where it stays away for good."""
        station = self._station
        station.away = True
        station.pauses("away")
        station.events.close()
        if self._host.own and not self._host.running():
            self._pool.reporter.say(f"{station.name}: {self._host.ended()}")
        try:
            if not self._host.revive(self._pool.ending):
                return False
        except ServerLocked as locked:
            return self._wait_outside(f"{locked}; paused until it lets us in", LONGEST_LOCK)
        except RunError as error:
            if self._pool.ending():
                return False
            if station.alone:
                raise
            self._pool.reporter.say(str(error))
            return not self._host.own  # somebody else's may come back
        try:
            for line in station.work.check(station.server):
                self._pool.reporter.say(line)
            station.fit()
        except (RunError, ServerFault, PromptRefused) as error:
            return self._unlike_the_others(error)
        self._take_part()
        return True

    def _take_part(self) -> None:
        """It is back: prompts that it has lost are to be done again."""
        station = self._station
        if self._said:
            self._pool.reporter.say(f"{station.name} takes part")
        station.away, self._alone_since, self._said = False, None, ""
        station.listen()
        self._health.restarted()
        station.works()
        lost = []
        for flight in list(station.flights.values()):
            with contextlib.suppress(ServerFault):
                if not station.knows(flight.prompt_id):
                    self._landing.bring(flight)
                    lost.append(flight)
        # Prompts run in their order, so the first that is not through is the one that the server died over.
        ran = next((flight for flight in lost if flight.open and not flight.adopted), None)
        for flight in lost:
            self._landing.do_again(flight, Trouble.DEATH if flight is ran else None)

    def _unlike_the_others(self, error: Exception) -> bool:
        """It answers, but does not fit; False where it is given up. It ends the run only where nobody else could go on
        for as long as an absent server is waited for.
        """
        if self._pool.ending():
            return False
        now, alone = time.monotonic(), self._station.alone
        self._alone_since = (self._alone_since or now) if alone else None
        if alone and (self._host.own or now - (self._alone_since or now) >= PATIENCE_SECONDS):
            todo = "" if isinstance(error, RunError) else "; see to the server, then run this again"
            raise RunError(f"{error}{todo}", 1)
        return self._wait_outside(str(error), LONGEST_REST) and not self._host.own

    def _wait_outside(self, why: str, longest: float) -> bool:
        """Rests before the server is looked at again, longer each time; says once why. False where the run ends."""
        if why != self._said:
            self._said, self._wait_seconds = why, 1.0
            self._pool.reporter.say(why)
        self._wait_seconds = min(longest, self._wait_seconds * 2)
        sleep(self._wait_seconds, self._pool.ending)
        return not self._pool.ending()

    # Starting it again in time.

    def due_for_recycling(self) -> bool:
        return self._host.own and self._station.prompts >= self._recycle_after and not self._pool.over()

    def recycle(self) -> None:
        """Starts a server of our own again, when its prompts have ended."""
        station = self._station
        if station.flights or not self._host.take_turn():
            return
        station.pauses("recycling")
        station.events.close()
        station.away = not self._host.recycle(self._pool.ending)
        station.listen()
        station.works()
        station.prompts, self._recycle_after = 0, station.work.recycle_after
        self._health.restarted()
        self._host.give_turn()
