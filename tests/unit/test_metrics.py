"""What Prometheus reads: every figure under its name, on loopback only."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from comfy_nodes.core.records import SampleFailure
from driver.errors import RunError
from driver.monitor.listeners import ServerView
from driver.monitor.metrics import Metrics
from driver.samples import Sample

SampleOf = Callable[..., Sample]


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[Metrics]:
    running = Metrics(0, total=100, finished=40, folders={"output": tmp_path})
    yield running
    running.close()


def scraped(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """All figures, by name and label values."""
    with urllib.request.urlopen(metrics.url, timeout=5) as response:
        text = response.read().decode()
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_samples(metrics: Metrics, sample_of: SampleOf) -> None:
    for verdicts in (["keep"], ["keep"], ["reject"], ["keep", "reject"], []):
        metrics.finished("gpu0", sample_of("a"), verdicts, 1.0)
    metrics.failed(sample_of("b"), SampleFailure("edit", "OutOfMemory", "no memory"))
    metrics.failed(sample_of("s"), SampleFailure("edit", "NoColour", "it has it already", skipped=True))
    metrics.retried("gpu1", 16, "ServerFault", "500")
    found = scraped(metrics)
    samples = {key[2]: value for key, value in found.items() if key[0] == "editpairs_samples_total"}
    assert samples == {"keep": 2, "reject": 1, "mixed": 1, "none": 1}
    assert found["editpairs_rows_total", "keep"] == 3
    assert found["editpairs_rows_total", "reject"] == 2
    assert found["editpairs_samples_failed_total", "OutOfMemory", "edit"] == 1
    assert found["editpairs_samples_skipped_total", "NoColour", "edit"] == 1
    assert found["editpairs_samples_retried_total", "ServerFault", "gpu1"] == 16
    assert found["editpairs_samples_pending",] == 100 - 40 - 7


def test_servers(metrics: Metrics) -> None:
    metrics.server(ServerView("gpu0", "starting"))
    metrics.server(ServerView("gpu0", "working", in_flight=32, faults=2, seconds_per_sample=0.5))
    metrics.server(ServerView("gpu0", "away", in_flight=0, faults=3))
    found = scraped(metrics)
    state = {key[1]: value for key, value in found.items() if key[0] == "editpairs_server_state"}
    assert [name for name, value in state.items() if value] == ["away"]
    assert len(state) == 7
    assert found["editpairs_server_in_flight", "gpu0"] == 0
    assert found["editpairs_server_sample_seconds", "gpu0"] == 0.5
    assert found["editpairs_server_faults_total", "gpu0"] == 3


def test_the_machine(metrics: Metrics) -> None:
    found = scraped(metrics)
    assert found["editpairs_disk_free_bytes", "output"] > 0
    assert found["process_resident_memory_bytes",] > 10_000_000


def test_it_listens_on_loopback_only(metrics: Metrics) -> None:
    assert metrics._http.server_address[0] == "127.0.0.1"


def test_two_runs_of_one_process_do_not_mix(metrics: Metrics, sample_of: SampleOf) -> None:
    other = Metrics(0, total=1, finished=0, folders={})
    try:
        other.finished("gpu0", sample_of("a"), ["keep"], 1.0)
        assert ("editpairs_rows_total", "keep") not in scraped(metrics)
    finally:
        other.close()
    with pytest.raises(urllib.error.URLError):
        scraped(other)


def test_a_port_that_is_taken_or_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=f"--metrics-port {port}: cannot listen there .Address already in use"):
            Metrics(port, total=1, finished=0, folders={})
    with pytest.raises(RunError, match="--metrics-port 99999: cannot listen there"):
        Metrics(99999, total=1, finished=0, folders={})
