"""What kinds of trouble there are, and what each costs a sample. The operators' page explains them in the same order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from comfy_nodes.core.records import SampleFailure

from ..comfyui.client import Job

MAX_FAULTS = 3
"""Faults of servers or the network after which a sample is set aside. Ours."""

MAX_DEATHS = 2
"""Deaths of servers that a sample may see while it runs before it is taken for their cause. Ours."""

MAX_MEMORY_FAILURES = 3
"""Out of memory: once where it happened after freeing, once on another server, then set aside. Ours."""

_DISK_FULL = re.compile(
    r"No space left on device|Disk quota exceeded|Read-only file system|database or disk is full", re.IGNORECASE
)

_OUT_OF_MEMORY = re.compile(r"OutOfMemory|Allocation on device|out of memory|DefaultCPUAllocator", re.IGNORECASE)


class Trouble(Enum):
    """Why a sample's prompt came to nothing."""

    SAMPLE = "sample"
    """A node failed over it: costs an attempt."""
    MEMORY = "OutOfMemory"
    """Not enough memory: freed, tried again alone, then elsewhere; costs no attempt."""
    FAULT = "ServerFault"
    """The server or the network: again with the same seed."""
    FOREIGN = "ForeignRecord"
    """Another sample's records came back for it: as a fault."""
    DISK = "DiskFull"
    """The server's disk is full: costs nothing, and the server rests."""
    DEATH = "ServerDeaths"
    """The server died while it ran: again alone, so that a sample that kills servers is found out."""
    ZOMBIE = "Zombie"
    """The server answers and finishes nothing: as a fault, and the server is started again or left alone."""


@dataclass(frozen=True)
class NodeError:
    """A failed job's error, read."""

    trouble: Trouble
    node_id: str
    failure: SampleFailure


def node_error(job: Job, stage: str) -> NodeError:
    """What a failed job's error means for the sample that its node belongs to, in a run of this stage."""
    error = job.error
    error_type = str(error.get("exception_type", "unknown")).rpartition(".")[2]
    message = str(error.get("exception_message", "the server gave no reason")).strip() or "no message"
    trouble = Trouble.SAMPLE
    if _OUT_OF_MEMORY.search(f"{error_type} {message}"):
        trouble = Trouble.MEMORY
    elif _DISK_FULL.search(message):
        trouble = Trouble.DISK
    node_id = str(error.get("node_id", ""))
    return NodeError(
        trouble,
        node_id,
        SampleFailure(
            stage=stage,
            error_type=error_type if trouble is Trouble.SAMPLE else trouble.value,
            message=message.splitlines()[0],
            node=f"{error.get('node_type', '')} #{node_id.partition('/')[2] or node_id}",
        ),
    )
