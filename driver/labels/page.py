"""The review page: shows drawn pairs to a person on this machine and takes their labels.

Serves on loopback. Every path begins with a secret that only the printed address has, and requests that name another host
or come from another page are refused, so that no page of the web can read pairs or give labels. Knows nothing of what
labels are for.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from comfy_nodes.core.verdicts.verdicts import Answer

from ..dataset.dataset import chosen_rows, part_digest
from ..dataset.dialogues import leading, rows_of
from ..dataset.layouts.layout import StoredRow
from ..dataset.parts import Part
from ..dataset.rows import key_stem
from ..errors import RunError
from ..report.page import template_named
from ..report.pictures import around, boxes
from ..report.scores import RowPlace
from .labels import Label, Labels
from .sample import DrawnRow

HOST = "127.0.0.1"

TIMEOUT_S = 30.0
"""How long a connection may keep silent. Ours."""

MAX_BODY = 10_000
"""Bytes of what a page may post. Ours: a label has about a hundred."""

HELD_ROWS = 4
"""Rows whose pictures are held in memory. Ours: the pair, the next one, and those that may come back by undoing."""

HELD_DIALOGUES = 2
"""Dialogues whose pictures are. Ours: that of the turn, and the next one."""

CLOSE_UP = 2
"""How many times as wide or high as the region its close-up is. Ours."""

Role = Literal["before", "after"]


class _Given(BaseModel):
    """What the page posts as a label."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    label: Answer


class _Skipped(BaseModel):
    """What it posts of a row that is to come again later."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str


class _Refused(Exception):
    """A request that gets no answer, and why."""

    def __init__(self, status: HTTPStatus, why: str):
        super().__init__(why)
        self.status = status


class Review:
    """A sample on its way through a person's hands. May be used by several threads."""

    def __init__(
        self, run: Path, rows: Sequence[DrawnRow], labels: Labels, labeller: str | None, second_opinion: bool = False
    ):
        """
        Args:
            rows: in the order in which they are shown.
            labels: those that were given before; new ones are added.
            labeller: goes into each label.
            second_opinion: whether to ask about rows that only others have labelled as well.
        """
        self._run = run
        self._rows = {row.key: row for row in rows}
        self._labels = labels
        self._labeller = labeller
        self._second_opinion = second_opinion
        self._lock = threading.RLock()
        self._digests = {part: part_digest(Part(run, part)) for part in {row.place.part for row in rows}}
        self._stored = lru_cache(HELD_ROWS)(self._read)
        self._parts = {row.dialogue: row.place.part for row in rows if row.dialogue}
        self._turns = lru_cache(HELD_DIALOGUES)(self._read_dialogue)

    @property
    def _given(self) -> dict[str, Label]:
        """The labels that count as given here."""
        return self._labels.by(self._labeller) if self._second_opinion else self._labels.given

    @property
    def total(self) -> int:
        return len(self._rows)

    @property
    def done(self) -> int:
        with self._lock:
            return sum(key in self._given for key in self._rows)

    def state(self) -> dict[str, Any]:
        """What the page shows: how far it is, the pair to label, the next one, and what the run said of the last one."""
        with self._lock:
            given = self._given
            waiting = list(islice((row for row in self._rows.values() if row.key not in given), 2))
            shown = [{**_asked(row, self._row(row)), "strip": self._strip(row)} for row in waiting]
            last = self._last()
            return {
                "done": self.done,
                "total": self.total,
                "pair": shown[0] if shown else None,
                "next": shown[1] if shown[1:] else None,
                "last": _told(self._rows[last], self._given[last]) if last else None,
            }

    def give(self, key: str, answer: Answer) -> None:
        """Labels a row.

        Raises:
            _Refused: it is not in the sample, or has a label.
            RunError: the label cannot be written.
        """
        with self._lock:
            if key not in self._rows:
                raise _Refused(HTTPStatus.NOT_FOUND, f"{key} is not in the sample")
            if key in self._given:
                raise _Refused(HTTPStatus.CONFLICT, f"{key} has a label")
            self._labels.add(Label(key=key, label=answer, labeller=self._labeller, time=_now()))

    def skip(self, key: str) -> None:
        """Asks about a row after all others, this time; no label is written.

        Raises:
            _Refused: it is not in the sample.
        """
        with self._lock:
            if key not in self._rows:
                raise _Refused(HTTPStatus.NOT_FOUND, f"{key} is not in the sample")
            self._rows[key] = self._rows.pop(key)

    def undo(self) -> None:
        """Withdraws the last label, which may be one of an earlier time, and asks again; nothing where there is none."""
        with self._lock:
            last = self._last()
            if last:
                self._rows = {last: self._rows[last], **self._rows}
                self._labels.add(Label(key=last, label=None, labeller=self._given[last].labeller, time=_now()))

    def image(self, key: str, role: Role, number: int) -> bytes:
        """
        Raises:
            _Refused: there is no such image.
            RunError: it cannot be read.
        """
        with self._lock:
            stored = self._row(self._rows[key]) if key in self._rows else self._earlier(key)
            images = stored.outputs if role == "after" else stored.inputs
        if number >= len(images):
            raise _Refused(HTTPStatus.NOT_FOUND, f"{key} has no such image")
        return images[number]

    def _last(self) -> str | None:
        return next((key for key in reversed(self._given) if key in self._rows), None)

    def _row(self, row: DrawnRow) -> StoredRow:
        stored = self._stored(row.place) if self._same(row.place.part) else None
        if stored is None or stored.columns["key"] != row.key:
            raise self._went_on()
        return stored

    def _strip(self, row: DrawnRow) -> dict[str, Any] | None:
        """What a person sees of the dialogue up to a turn of it, and nothing of what comes after: that there is more says that
        the turn was kept. None of a row that is no turn."""
        if not row.dialogue:
            return None
        turn = self._row(row).columns["turn"]
        earlier = [one for one, _ in self._dialogue(row.dialogue) if one.columns["turn"]["number"] < turn["number"]]
        states = [
            {
                "state": one.columns["turn"]["number"],
                "role": "after",
                **{name: one.columns[name] for name in ("key", "prompt")},
            }
            for one in earlier
        ]
        start = [{"state": 0, "role": "before", "key": earlier[0].columns["key"], "prompt": ""}] if earlier else []
        return {**{name: turn[name] for name in ("number", "of", "base", "premise")}, "states": start + states}

    def _earlier(self, key: str) -> StoredRow:
        """A turn that is shown beside later ones of its dialogue.

        Raises:
            _Refused: there is none of this key.
        """
        rows = self._dialogue(key_stem(key)) if key_stem(key) in self._parts else []
        if found := next((one for one, _ in rows if one.columns["key"] == key), None):
            return found
        raise _Refused(HTTPStatus.NOT_FOUND, f"{key} is not in the sample")

    def _dialogue(self, dialogue: str) -> list[tuple[StoredRow, list[StoredRow]]]:
        if not self._same(self._parts[dialogue]):
            raise self._went_on()
        return self._turns(dialogue)

    def _same(self, part: str) -> bool:
        return part_digest(Part(self._run, part)) == self._digests[part]

    def _went_on(self) -> RunError:
        return RunError(f"{self._run}: the run went on; stop review.py and start it again", 1)

    def _read(self, place: RowPlace) -> StoredRow | None:
        return dict(chosen_rows(Part(self._run, place.part), place.config, {place.number})).get(place.number)

    def _read_dialogue(self, dialogue: str) -> list[tuple[StoredRow, list[StoredRow]]]:
        return [one for _, rows in rows_of(Part(self._run, self._parts[dialogue]), {dialogue}) for one in leading(rows)]


def _asked(row: DrawnRow, stored: StoredRow) -> dict[str, Any]:
    """What a person sees of a pair before they label it: nothing of what the run thinks."""
    columns = stored.columns
    size = columns["width"], columns["height"]
    cut = around(columns["bbox"], *size, CLOSE_UP) if columns["bbox"] else (0, 0, *size)
    return {
        "key": row.key,
        "task": row.task,
        "prompt": row.prompt,
        "before": len(stored.inputs),
        "after": len(stored.outputs),
        "size": size,
        "boxes": boxes(columns),
        "close_up": cut if cut != (0, 0, *size) else None,
    }


def _told(row: DrawnRow, label: Label) -> dict[str, Any]:
    """What a person sees after it."""
    return {
        "key": row.key,
        "prompt": row.prompt,
        "label": label.label,
        "verdict": row.verdict,
        "reason": row.reason,
        "scores": row.scores,
    }


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


_Posted = TypeVar("_Posted", bound=BaseModel)


def _posted(kind: type[_Posted], body: bytes, what: str) -> _Posted:
    """
    Raises:
        _Refused: it is something else, and what it should be.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError:
        raise _Refused(HTTPStatus.BAD_REQUEST, what) from None


class ReviewServer(ThreadingHTTPServer):
    """Serves one review."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, review: Review, port: int):
        """
        Args:
            port: where it listens, on loopback only; 0 for any free one.

        Raises:
            RunError: the port is taken, or not ours to use.
        """
        try:
            super().__init__((HOST, port), _Handler)
        except (OSError, OverflowError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise RunError(f"--port {port}: cannot listen there ({why}); choose another port") from None
        self.review = review
        self.secret = secrets.token_urlsafe(24)
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/{self.secret}/"


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    timeout = TIMEOUT_S
    protocol_version = "HTTP/1.1"
    server_version = "EditPairs"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """The terminal is for the person."""

    def _answer(self, make: Callable[[list[str]], None]) -> None:
        try:
            make(self._path())
        except _Refused as refused:
            self._send_json({"error": str(refused)}, refused.status)
        except RunError as error:
            self._send_json({"error": str(error)}, HTTPStatus.INTERNAL_SERVER_ERROR)
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # the page was closed

    def _path(self) -> list[str]:
        """The parts of the path behind the secret.

        Raises:
            _Refused: the request is not our page's.
        """
        if self.headers.get("Host") not in self.server.hosts:
            raise _Refused(HTTPStatus.FORBIDDEN, f"open {HOST}:{self.server.server_port}, under the same port")
        parts = urlsplit(self.path).path.split("/")[1:]
        if not secrets.compare_digest(parts[0].encode(), self.server.secret.encode()):
            raise _Refused(HTTPStatus.FORBIDDEN, "open the address that review.py printed")
        return parts[1:]

    def _get(self, path: list[str]) -> None:
        match path:
            case [""]:
                nonce = secrets.token_urlsafe(16)
                page = template_named("review.html").render(nonce=nonce)
                policy = (
                    f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' data:; "
                    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
                )
                self._send(page.encode(), "text/html; charset=utf-8", policy=policy)
            case ["state"]:
                self._send_json(self.server.review.state())
            case ["image", key, "before" | "after" as role, number] if number.isdecimal() and len(number) < 4:
                # Kept by the browser while the page is open: the next pair's are fetched before they are shown.
                cache = "private, max-age=600"
                self._send(self.server.review.image(key, role, int(number)), "image/png", cache=cache)
            case _:
                raise _Refused(HTTPStatus.NOT_FOUND, "no such page")

    def _post(self, path: list[str]) -> None:
        if self.headers.get("Origin") not in {f"http://{host}" for host in self.server.hosts}:
            raise _Refused(HTTPStatus.FORBIDDEN, "another page may not give labels")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self.close_connection = True
            raise _Refused(HTTPStatus.BAD_REQUEST, "a body of that length is not taken")
        body = self.rfile.read(int(length))
        match path:
            case ["label"]:
                given = _posted(_Given, body, "a label is a key and keep or reject")
                self.server.review.give(given.key, given.label)
            case ["skip"]:
                self.server.review.skip(_posted(_Skipped, body, "what is skipped is a key").key)
            case ["undo"]:
                self.server.review.undo()
            case _:
                raise _Refused(HTTPStatus.NOT_FOUND, "no such page")
        self._send_json(self.server.review.state())

    def _send_json(self, value: dict[str, Any], status: HTTPStatus = HTTPStatus.OK) -> None:
        if status == HTTPStatus.FORBIDDEN:
            self.close_connection = True  # its body, if it has one, is not read
        self._send(json.dumps(value).encode(), "application/json", status)

    def _send(
        self,
        data: bytes,
        kind: str,
        status: HTTPStatus = HTTPStatus.OK,
        cache: str = "no-store",
        policy: str = "default-src 'none'; frame-ancestors 'none'",
    ) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            "Cache-Control": cache,
            "Content-Security-Policy": policy,
            "Cross-Origin-Resource-Policy": "same-origin",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)
