"""What can go wrong, in three sizes: the run cannot go on, a server cannot, a sample cannot."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class RunError(Exception):
    """The run cannot start or go on. The message is one line: what is wrong and what to do.

    `status` is the command's exit status: 2 where nothing was started, 1 where the run broke off.
    """

    def __init__(self, message: str, status: int = 2):
        super().__init__(message)
        self.status = status


@contextmanager
def about(what: str) -> Iterator[None]:
    """Puts what a `RunError` is about, such as an option with its value, before its text; nothing where that is empty."""
    try:
        yield
    except RunError as error:
        raise RunError(f"{what}: {error}" if what else str(error), error.status) from None


class ServerFault(Exception):
    """A server did not do what it was asked, for a reason that lies with it or the network."""


class ServerGone(ServerFault):
    """Nothing answers there any more."""


class ServerLocked(ServerFault):
    """It is there, and lets nobody in without a login, or cannot be trusted. The message says what to do."""


class PromptRefused(Exception):
    """A server did not take a prompt or a file, for a reason that lies with these."""

    def __init__(self, message: str, nodes: tuple[str, ...] = ()):
        """
        Args:
            nodes: ids of the nodes that it complains about.
        """
        super().__init__(message)
        self.nodes = nodes


def unusable(url: str, fault: Exception) -> RunError:
    """Why a server that was named cannot be used."""
    if isinstance(fault, ServerLocked):
        return RunError(f"--server {url}: {fault}")
    todo = "start it" if isinstance(fault, ServerGone) else "see to it"
    return RunError(f"--server {url}: {fault}; {todo}, or leave it out of --server")
