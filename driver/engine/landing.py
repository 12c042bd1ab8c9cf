"""Samples of one server's prompts, brought home or handed back to the pool."""

from __future__ import annotations

import contextlib
import time

from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.records import SampleFailure
from comfy_nodes.core.run_files import MOST_SAMPLES, SinkFolder

from ..dataset.binding import Foreign
from ..errors import ServerFault, ServerGone, ServerLocked
from .harvest import SinkNotRun
from .posting import Poster
from .prompts import Flight
from .station import Station
from .troubles import Trouble

MAX_FETCHES = 5
"""Faults over one sample's files, or over what became of one prompt, after which these are to be made again. Ours."""


class SampleFault(ServerFault):
    """A server did not do what it was asked about one prompt or sample; it may do so for all others."""

    def __init__(self, fault: ServerFault, key: str):
        super().__init__(str(fault))
        self.key = key


class Landing:
    """Ends what one server's prompts began."""

    def __init__(self, station: Station, poster: Poster):
        self._station = station
        self._pool = station.pool
        self._poster = poster

    def collect(self, flight: Flight, slot: int, seconds: float | None = None) -> None:
        """Brings one sample home. What the server sent of another one, or cannot send time and again, is done again.

        Args:
            seconds: what the server took for it, where that is known.

        Raises:
            SinkNotRun: there is nothing yet.
            FileNotFoundError: the server lost one of its files.
            ServerFault: it is to be fetched again.
        """
        station, posted = self._station, flight.open[slot]
        begun = time.monotonic()
        try:
            origin = self._poster.origin(posted, station.packer.seeded)
            self._fetch_ahead(flight, slot)
            harvest = posted.item.portion.harvester.harvest(origin, station.server, self._pool.renamed(posted))
        except PhotoError as error:
            del flight.open[slot]
            self._pool.fail(posted.item, SampleFailure("input", type(error).__name__, str(error)))
        except Foreign as foreign:
            del flight.open[slot]
            self._pool.disturbed(station.name, [posted], Trouble.FOREIGN, str(foreign), its_own=True)
            station.doubt(posted.key, str(foreign))
        except (ServerGone, ServerLocked):
            raise
        except ServerFault as fault:
            posted.faults += 1
            if posted.faults <= MAX_FETCHES:
                raise SampleFault(fault, posted.key) from None
            del flight.open[slot]
            self._pool.disturbed(station.name, [posted], Trouble.FAULT, str(fault), its_own=True)
        else:
            del flight.open[slot]
            self._pool.harvested(station.name, posted, harvest, time.monotonic() - begun, seconds)
            station.done += 1
            station.health.finished_sample()
            station.host.discard([], harvest.files)

    def _fetch_ahead(self, flight: Flight, slot: int) -> None:
        """Gets a sample's files in one answer, and with them those of the next samples, where their prompt has ended."""
        ended = [one for one in flight.open if one >= slot] if flight.over else [slot]
        named = [flight.open[one].folder.split("/") for one in sorted(ended)[:MOST_SAMPLES]]
        self._station.server.fetch_ahead(named[0][1], [SinkFolder.named(name) for _, _, name in named])

    def bring(self, flight: Flight) -> None:
        """Brings home what the sinks of a prompt wrote that will not go on; what cannot be had stays in it."""
        self._station.lands(flight)
        for slot in list(flight.open):
            with contextlib.suppress(SinkNotRun, FileNotFoundError, ServerFault):
                self.collect(flight, slot)

    def lost(self, flight: Flight) -> None:
        """The server does not know the prompt any more: what its sinks wrote is kept, the rest is to be done again."""
        self.bring(flight)
        self.do_again(flight, None if flight.adopted else Trouble.FAULT)

    def do_again(self, flight: Flight, trouble: Trouble | None) -> None:
        """
        Args:
            trouble: what it costs the samples; nothing where their prompt did not run.
        """
        if trouble is None:
            self._pool.returned([one.item for one in flight.clear()])
        else:
            why = f"{self._station.name} no longer knows the prompt (was it restarted?)"
            self._pool.disturbed(self._station.name, flight.clear(), trouble, why)
