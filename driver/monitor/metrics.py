"""A run's figures for Prometheus, on loopback, as `--metrics-port` asks for.

Listens as `listeners.py` says. Only loaded when it is asked for. Names follow Prometheus' conventions: base units,
`_total` for what only grows.
"""

from __future__ import annotations

from collections import Counter as Tally
from functools import partial
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, ProcessCollector, start_http_server

from comfy_nodes.core.records import SampleFailure

from ..disk import free_bytes
from ..errors import RunError
from ..samples import Sample
from .listeners import ServerState, ServerView

HOST = "127.0.0.1"


class Metrics:
    """Counts what it is told and serves it at `/metrics`."""

    def __init__(self, port: int, total: int, finished: int, folders: dict[str, Path]):
        """
        Args:
            port: where it listens, on loopback only; 0 for any free one.
            total: samples of the run.
            finished: of these, how many an earlier run finished, saw fail or skipped.
            folders: what the run writes to, by the name that their disk's free space gets.

        Raises:
            RunError: the port is taken, or not ours to use.
        """
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)  # the driver's own memory, CPU seconds and open files
        self._total, self._over = total, finished
        self._samples = Counter(
            "editpairs_samples",
            "Samples finished, by what became of their rows",
            ("server", "verdict"),
            registry=registry,
        )
        self._rows = Counter("editpairs_rows", "Rows of the dataset, by verdict", ("verdict",), registry=registry)
        self._failed = Counter(
            "editpairs_samples_failed", "Samples that failed", ("stage", "error_class"), registry=registry
        )
        self._skipped = Counter(
            "editpairs_samples_skipped",
            "Samples that their tasks cannot use",
            ("stage", "error_class"),
            registry=registry,
        )
        self._retried = Counter(
            "editpairs_samples_retried", "Samples that wait again", ("server", "error_class"), registry=registry
        )
        self._pending = Gauge("editpairs_samples_pending", "Samples that have no end yet", registry=registry)
        self._pending.set_function(lambda: self._total - self._over)
        self._in_flight = Gauge(
            "editpairs_server_in_flight", "Samples posted and not finished", ("server",), registry=registry
        )
        self._seconds = Gauge(
            "editpairs_server_sample_seconds",
            "Execution time of a sample, as a moving average",
            ("server",),
            registry=registry,
        )
        self._faults = Counter("editpairs_server_faults", "Faults of the server", ("server",), registry=registry)
        self._state = Enum(
            "editpairs_server_state",
            "What the server does",
            ("server",),
            registry=registry,
            states=list(get_args(ServerState)),
        )
        disk = Gauge("editpairs_disk_free_bytes", "Free space where the run writes", ("folder",), registry=registry)
        for name, folder in folders.items():
            disk.labels(name).set_function(partial(free_bytes, folder))
        self._faults_told: Tally[str] = Tally()
        try:
            self._http, self._thread = start_http_server(port, HOST, registry)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise RunError(f"--metrics-port {port}: cannot listen there ({why}); choose another port") from None
        self.url = f"http://{HOST}:{self._http.server_port}/metrics"

    def planned(self, samples: int, ended: int) -> None:
        self._total += samples
        self._over += ended

    def finished(self, server: str, sample: Sample, verdicts: list[str], seconds: float | None) -> None:
        self._over += 1
        several = set(verdicts)
        self._samples.labels(server, "mixed" if len(several) > 1 else verdicts[0] if verdicts else "none").inc()
        for verdict in verdicts:
            self._rows.labels(verdict).inc()

    def failed(self, sample: Sample, failure: SampleFailure) -> None:
        self._over += 1
        counter = self._skipped if failure.skipped else self._failed
        counter.labels(failure.stage, failure.error_type).inc()

    def retried(self, server: str, samples: int, error_class: str, why: str) -> None:
        self._retried.labels(server, error_class).inc(samples)

    def server(self, view: ServerView) -> None:
        self._state.labels(view.name).state(view.state)
        self._in_flight.labels(view.name).set(view.in_flight)
        if view.seconds_per_sample is not None:
            self._seconds.labels(view.name).set(view.seconds_per_sample)
        self._faults.labels(view.name).inc(max(0, view.faults - self._faults_told[view.name]))
        self._faults_told[view.name] = view.faults

    def say(self, line: str) -> None:
        """Words are not counted."""

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
