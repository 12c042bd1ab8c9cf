"""One server as a run uses it: how it is reached, how it does, and which prompts of ours are with it."""

from __future__ import annotations

import time

from ..comfyui.client import ComfyServer
from ..comfyui.events import PromptEvents
from ..comfyui.hosts import Host
from ..errors import PromptRefused, RunError, ServerFault
from ..graph.packs import slot_of
from ..monitor.listeners import ServerState, ServerView
from .health import Health
from .pack_size import PackSize
from .pool import Pool
from .prompts import Flight
from .work import Work


class Station:
    """Shared by those who give a server work, bring home what it made, and get it back when it is away."""

    def __init__(self, host: Host, pool: Pool, work: Work):
        self.host, self.pool, self.work = host, pool, work
        self.name = host.name
        self.health = Health()
        self.flights: dict[str, Flight] = {}
        """Prompts that are with it, by id."""
        self.done = 0
        """Samples that it made."""
        self.prompts = 0
        """Posted there since it was last started."""
        self.size = PackSize(1, gains=False, free_memory=0)  # until it answers
        self.away = not host.running()
        if not self.away:
            try:
                self.fit()
            except (ServerFault, PromptRefused) as fault:
                self.away = True
                pool.reporter.say(str(fault))

    @property
    def server(self) -> ComfyServer:
        return self.host.server

    @property
    def alone(self) -> bool:
        """Whether no other server takes samples now."""
        return self.pool.alone(self.name)

    def fit(self) -> None:
        """Looks at what it has, and packs prompts accordingly."""
        self.packer, self.size = self.work.fit(self.server)

    def listen(self) -> None:
        # Of a prompt for one sample its end says more.
        self.events = PromptEvents(self.server, lambda node_id: slot_of(node_id) is not None)

    def pauses(self, state: ServerState) -> None:
        """It takes no samples for now."""
        self.show(state)
        self.pool.working(self.name, False)

    def works(self) -> None:
        self.pool.working(self.name, True)

    def takes_off(self, flight: Flight) -> None:
        self.flights[flight.prompt_id] = flight
        self.pool.took_off(self.name, flight)

    def lands(self, flight: Flight) -> None:
        """Nothing more is expected of a prompt."""
        self.flights.pop(flight.prompt_id, None)
        self.pool.landed(flight)
        if not self.flights:
            self.health.pulse.rest(time.monotonic())

    def knows(self, prompt_id: str) -> bool:
        """Whether the server has the prompt; asked twice, as a prompt just posted may not show yet."""
        for _ in range(2):
            if self.server.job(prompt_id) is not None:
                return True
            time.sleep(0.5)
        return False

    def doubt(self, key: str, why: str) -> None:
        """One more sample has trouble of its own: with too many of them in a row, it is the server.

        Raises:
            RunError: no other server works either.
        """
        alone = self.alone
        self.health.doubt(key, why, alone)
        if self.health.mistrusted(alone):
            number = len(self.health.troubled)
            raise RunError(f"{self.name}: {why}; {number} samples in a row: see to the server, then run this again", 1)

    def show(self, state: ServerState) -> None:
        self.pool.reporter.server(
            ServerView(
                name=self.name,
                state=state,
                in_flight=sum(len(flight.open) for flight in self.flights.values()),
                done=self.done,
                faults=self.health.faults,
                samples_per_prompt=max((len(flight) for flight in self.flights.values()), default=1),
                seconds_per_sample=self.size.seconds,
            )
        )
