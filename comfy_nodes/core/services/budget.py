"""What asking costs: the accounts of runs, shared by all servers of this machine, and estimates before a run.

The client reserves the most that a request can cost before it is sent and settles what it did cost afterwards, so that
several servers together never spend more than a run's budget. The driver reads `spent` for its report and `estimate`
for `--dry-run`. Standard library only, beside profiles.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from . import places
from .profiles import Profile

FILE = "ledger.sqlite"

BUSY_S = 10.0
"""Seconds that a writer waits for another process's write, which takes milliseconds. Ours."""

BYTES_PER_TOKEN = 2
"""Fewest bytes of UTF-8 to a token, for upper bounds: English has about 4, Chinese about 2 to 3. Ours."""

TOKENS_PER_MESSAGE = 100
"""What a chat format and a picture's frame add, at most. Ours."""

ASKED_TWICE = 0.1
"""Share of questions that an estimate takes to be asked a second time, because of their reply's shape. Ours."""

_TABLE = """CREATE TABLE IF NOT EXISTS runs (
  run TEXT PRIMARY KEY, calls INTEGER NOT NULL DEFAULT 0, prompt_tokens INTEGER NOT NULL DEFAULT 0,
  completion_tokens INTEGER NOT NULL DEFAULT 0, usd REAL NOT NULL DEFAULT 0, unsettled_usd REAL NOT NULL DEFAULT 0
)"""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Spent:
    """A run's account so far."""

    calls: int = 0
    """Requests that were answered, whether or not the answer was of use. The cache's are none."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    usd: float = 0.0
    """By the tokens that the service counted."""
    unsettled_usd: float = 0.0
    """The most that requests may have cost whose end nobody saw: under way, timed out, cut off or killed."""


@dataclass(frozen=True)
class Estimate:
    """Upper bounds for a run."""

    calls: int
    prompt_tokens: int
    completion_tokens: int
    usd: float | None
    """None where the profile names no prices."""


class OverBudget(Exception):
    """The request may not be sent. One line that says why."""


_OF_PURSE = "run = :purse OR substr(run, 1, length(:purse) + 1) = :purse || '.'"
"""Rows of all runs of a purse."""

_SPENT = (
    "SELECT ifnull(sum(calls), 0), ifnull(sum(prompt_tokens), 0), ifnull(sum(completion_tokens), 0), ifnull(sum(usd), 0.0), "
    "ifnull(sum(unsettled_usd), 0.0) FROM runs WHERE run = :run OR substr(run, 1, length(:run) + 1) = :run || '.' OR "
    "substr(run, -length(:run) - 1) = '.' || :run"
)


class Ledger:
    """The accounts in one file. Threads and processes may share it.

    Runs whose names have the same word before their first point have one purse: a budget is of all of them together. Such a
    run is known by the whole name and by what stands behind the point, its purse by the word.
    """

    def __init__(self, file: Path) -> None:
        """
        Raises:
            sqlite3.Error, OSError: the file cannot be used.
        """
        self._lock = threading.Lock()
        self._db = places.open_database(file, BUSY_S)
        try:
            self._db.execute(_TABLE)
        except sqlite3.Error:
            self._db.close()
            raise

    def reserve(self, run: str, usd: float, budget_usd: float | None) -> bool:
        """Sets `usd` aside for a request; False where it no longer fits into the budget of the run's purse (None: there is
        none)."""
        fits = "UPDATE runs SET unsettled_usd = unsettled_usd + :usd WHERE run = :run"
        values = {"usd": usd, "run": run, "purse": run.partition(".")[0], "budget": budget_usd}
        if budget_usd is not None:
            fits += f" AND (SELECT sum(usd + unsettled_usd) FROM runs WHERE {_OF_PURSE}) + :usd <= :budget"
        with self._lock:
            if self._db.execute(fits, values).rowcount == 1:
                return True
            self._db.execute("INSERT OR IGNORE INTO runs (run) VALUES (?)", (run,))
            return self._db.execute(fits, values).rowcount == 1

    def settle(self, run: str, reserved_usd: float, call: Spent) -> None:
        """Puts what a request did cost in the place of its reservation."""
        with self._lock:
            self._db.execute(
                "UPDATE runs SET calls = calls + ?, prompt_tokens = prompt_tokens + ?, "
                "completion_tokens = completion_tokens + ?, usd = usd + ?, "
                "unsettled_usd = max(0, unsettled_usd - ?) WHERE run = ?",
                (call.calls, call.prompt_tokens, call.completion_tokens, call.usd, reserved_usd, run),
            )

    def spent(self, run: str) -> Spent:
        with self._lock:
            row = self._db.execute(_SPENT, {"run": run}).fetchone()
        return Spent(*row)

    def close(self) -> None:
        self._db.close()


class Account:
    """One run's purse as the client uses it: which ledger, which run, how much."""

    def __init__(self, run: str, budget_usd: float | None) -> None:
        self.run, self.budget_usd = run, budget_usd

    def reserve(self, profile: Profile, usd: float) -> None:
        """Sets `usd` aside.

        Raises:
            OverBudget: it does not fit, or nobody can say whether it does.
        """
        if self.budget_usd is not None and not profile.priced:
            raise OverBudget(
                f"run '{self.run}' has a budget and VLM profile '{profile.name}' has no prices; give it "
                "usd_per_million_prompt_tokens and usd_per_million_completion_tokens, 0 for a service of your own"
            )
        try:
            ledger = open_ledger()
            if ledger.reserve(self.run, usd, self.budget_usd):
                return
            spent = ledger.spent(self.run.partition(".")[0])
        except (sqlite3.Error, OSError) as error:
            if self.budget_usd is None:
                _complain(error)
                return
            raise OverBudget(
                f"the ledger that keeps the budget cannot be used ({error}); "
                f"mend or move away {FILE} in the folder {places.CACHE_VARIABLE} names"
            ) from None
        raise OverBudget(
            f"run '{self.run}' has spent {spent.usd:.4f} USD, {spent.unsettled_usd:.4f} more are under way or unknown, "
            f"and the next call may cost {usd:.4f}: its budget of {self.budget_usd:.4f} does not cover it; raise the budget"
        )

    def settle(self, reserved_usd: float, call: Spent) -> None:
        try:
            open_ledger().settle(self.run, reserved_usd, call)
        except (sqlite3.Error, OSError) as error:  # the reply is paid for and worth more than its line in the account
            _complain(error)


def spent(run: str) -> Spent:
    """A run's account; all zeros for one that nobody has asked for.

    Raises:
        sqlite3.Error, OSError: the ledger cannot be used.
    """
    return open_ledger().spent(run)


def most_prompt_tokens(profile: Profile, text_bytes: int, image_pixels: list[int]) -> int:
    """An upper bound for a request: two bytes of text to a token, the profile's rate for pictures as they are sent, and
    100 for the chat format and for each picture."""
    pixels = sum(min(one, profile.max_image_pixels) for one in image_pixels)
    of_images = pixels * profile.image_tokens_per_megapixel // 1_000_000
    return text_bytes // BYTES_PER_TOKEN + of_images + TOKENS_PER_MESSAGE * (1 + len(image_pixels))


def estimate(
    profile: Profile,
    samples: int,
    questions_per_sample: int,
    image_pixels: int,
    images_per_question: int = 1,
    text_bytes: int = 6000,
    reply_tokens: int = 1024,
) -> Estimate:
    """Upper bounds for a run in which nothing comes from the cache.

    Each question counts `most_prompt_tokens` and a reply of full length; one in ten is asked twice.

    Args:
        image_pixels: of one photo, before it is scaled down to the profile's budget.
        text_bytes: of one question in UTF-8, with its schema. Ours.
        reply_tokens: the longest reply, `Question.max_tokens`.
    """
    calls = round(samples * questions_per_sample * (1 + ASKED_TWICE))
    prompt = calls * most_prompt_tokens(profile, text_bytes, [image_pixels] * images_per_question)
    completion = calls * reply_tokens
    return Estimate(calls, prompt, completion, profile.usd(prompt, completion) if profile.priced else None)


_opened: dict[Path, Ledger] = {}


def open_ledger() -> Ledger:
    """This machine's ledger.

    Raises:
        sqlite3.Error, OSError: it cannot be used.
    """
    file = places.cache_folder() / FILE
    if file not in _opened:
        _opened[file] = Ledger(file)
    return _opened[file]


def _complain(error: Exception) -> None:
    _log.warning("EditPairs: what VLM calls cost is not being recorded: %s", error)
