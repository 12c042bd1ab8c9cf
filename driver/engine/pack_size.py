"""How many samples go into the next prompt: bounded by memory, time, failures seen and what still waits."""

from __future__ import annotations

FIRST = 32
"""The first packs where packing pays, of which two are posted before anything is known of their samples. Each pack waits anew
for its first call: with 16, that wait was a quarter of 128 edits of 0.1 s behind calls of 1 s. Ours."""

MOST = 64
"""K=64 came within 10 % of the floor (measured: 0.141 s against 0.13 s a sample); more only risks more."""

PACK_SECONDS = 120.0
"""Work that a pack may hold, so that little is repeated when a server dies. Ours."""

QUICK_MOST = 8
"""Where a graph waits for nobody, packs of quick edits: of a prompt for one sample nothing goes on while its sink writes.
Edits that sleep for 0.1 s took a busy server 222, 171 and 135 ms each alone, 120, 133 and 115 by eight, 130, 125 and 131 by 16."""

QUICK_SECONDS = 1.0
"""Work that such a pack may hold; of longer edits, each has a prompt of its own. Ours."""

FAILING = 0.1
"""Pack size times failure rate stays below this. Ours."""

OUTPUTS_PER_SAMPLE = 12
"""Image-sized results that ComfyUI's cache holds of each sample while its pack runs. Ours."""

MEMORY_SHARE = 0.25
"""Share of the server's free memory that a pack's results may take. Ours."""

_SMOOTHING = 0.2
"""Weight of the newest prompt in the average time of a sample. Ours."""

_FAILURE_SMOOTHING = 0.02
"""Weight of the newest sample in the failure rate, which looks back over some fifty. Ours."""


class Shares:
    """How the last samples are shared out among all servers: in packs of one size, so that none is left with a few."""

    def __init__(self, servers: int):
        self._servers = servers
        self._share = 0
        self._of = 0

    def of(self, waiting: int, most: int) -> int:
        """How many a server takes.

        Args:
            waiting: samples that no server has.
            most: that it may take.
        """
        if waiting > self._of:
            packs = self._servers * -(-waiting // (self._servers * most))
            if packs > 2 * self._servers:
                return most
            self._share = -(-waiting // packs)
        # What the first of them found is what all go by: the others' shares would shrink with each that was taken.
        self._of = waiting
        return max(1, min(most, self._share))


class PackSize:
    """The pack size of one server. Halved whenever a pack fails, doubled after packs that went well."""

    def __init__(self, fixed: int | None, gains: bool, free_memory: int):
        """
        Args:
            fixed: what the user asked for; only failures make it smaller.
            gains: whether packing pays for this graph however long its edits take; otherwise it does for quick ones.
            free_memory: bytes of main memory that the server has free.
        """
        self._most = fixed or (MOST if gains else QUICK_MOST)
        self._most_seconds = PACK_SECONDS if gains else QUICK_SECONDS
        self._bounded = fixed is None
        self._now = fixed or (FIRST if gains else 1)
        self._memory = free_memory
        self._failure_rate = 0.0
        self.seconds: float | None = None
        """Execution time of a sample, a moving average."""

    def next(self, pixels: int, waiting: int, shares: Shares) -> int:
        """How many samples to take.

        Args:
            pixels: of the largest photo at hand.
            waiting: samples that no server has.
        """
        size = self._now
        if self._bounded and size > 1:
            # Float RGB images: 12 bytes a pixel.
            by_memory = self._memory * MEMORY_SHARE / max(1, pixels * 12 * OUTPUTS_PER_SAMPLE)
            by_time = self._most_seconds / self.seconds if self.seconds else size
            by_failures = FAILING / self._failure_rate if self._failure_rate else size
            size = min(size, int(by_memory), int(by_time), int(by_failures))
        return shares.of(waiting, max(1, size))

    def went_well(self, samples: int, seconds: float | None) -> None:
        """A pack ended without an error."""
        self._note(samples, 0)
        if seconds is not None:
            each = seconds / samples
            self.seconds = each if self.seconds is None else self.seconds + _SMOOTHING * (each - self.seconds)
        if samples >= self._now:
            self._now = min(self._most, self._now * 2)

    def failed(self, samples: int) -> None:
        """A pack broke off because of one of its samples, or of all."""
        self._note(samples, 1)
        self._now = max(1, min(self._now, samples) // 2)

    def _note(self, samples: int, failures: int) -> None:
        for outcome in [1.0] * failures + [0.0] * (samples - failures):
            self._failure_rate += (outcome - self._failure_rate) * _FAILURE_SMOOTHING
