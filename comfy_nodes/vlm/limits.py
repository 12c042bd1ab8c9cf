"""How fast one profile's service may be asked by this process: requests at a time, requests a minute, and pauses.

One `Limits` belongs to one profile and lives on the client's event loop; every attempt passes through `turn`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Limits:
    """Slots and a pace for the requests to one service."""

    def __init__(self, concurrency: int, requests_per_minute: float) -> None:
        self._slots = asyncio.Semaphore(concurrency)
        # Evenly spaced, so that no minute ever sees more than allowed, wherever the service begins to count.
        self._spacing = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._next_start = 0.0
        self._held_until = 0.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits until a request may start, and holds its slot until the block ends."""
        async with self._slots:
            clock = asyncio.get_running_loop().time
            while (now := clock()) < self._held_until:
                await asyncio.sleep(self._held_until - now)
            start = max(now, self._next_start)
            self._next_start = start + self._spacing
            await asyncio.sleep(start - now)
            yield

    def hold(self, seconds: float) -> None:
        """Lets nobody start for so long: the service has said that it is being asked too fast."""
        self._held_until = max(self._held_until, asyncio.get_running_loop().time() + seconds)
