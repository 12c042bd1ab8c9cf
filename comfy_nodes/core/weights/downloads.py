"""Fetching weights of the model table into ComfyUI's model folders: what `install.py --models` does.

Standard library only, as it may run before any package is installed; and not huggingface_hub, whose downloads (2.4)
begin anew after an interruption. It speaks the hub's own protocol: `resolve` addresses, ranges, the hash that the hub
sends with its redirect, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE. It knows nothing of graphs.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from ..whole_files import move_whole
from .records import HUB, Part, Weights
from .table import size_text

Say = Callable[[str], None]

CHUNK = 1 << 20
PATIENCE = 60.0
"""Seconds without a byte after which a connection counts as lost. Ours."""

TRIES = 6
"""Connections that may break in a row without a byte of progress. Ours."""

REPORT_SECONDS = 10.0
ROOM = 1 << 30
"""Bytes of the disk that are left free. Ours."""

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO}

_TRUE = {"1", "ON", "YES", "TRUE"}
"""What huggingface_hub takes for a switched-on HF_HUB_OFFLINE."""


class DownloadError(Exception):
    """What is wrong and what to do about it, in one line."""


@dataclass(frozen=True)
class Settings:
    """What the environment says, by the hub's own names."""

    endpoint: str = HUB
    token: str = ""
    offline: bool = False

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Settings:
        return cls(
            endpoint=environment.get("HF_ENDPOINT", "").rstrip("/") or HUB,
            token=environment.get("HF_TOKEN", "").strip(),
            offline=environment.get("HF_HUB_OFFLINE", "").upper() in _TRUE,
        )


@dataclass(frozen=True)
class Download:
    """One file to fetch."""

    weights: Weights
    part: Part
    target: Path

    @property
    def partial(self) -> Path:
        return self.target.with_name(self.target.name + ".part")


def plan(wanted: Sequence[Weights], models: Path) -> list[Download]:
    """The files of these weights that are not there yet.

    Args:
        models: ComfyUI's folder `models`.

    Raises:
        DownloadError: a file is there and is another one than the published.
    """
    downloads = [Download(one, part, models / one.target(part)) for one in wanted for part in one.parts]
    return [one for one in downloads if not _is_there(one)]


def total(downloads: Sequence[Download]) -> str:
    """How much is to be fetched, in words."""
    weighty = [one for one in downloads if not one.part.path.endswith((".json", ".txt"))]
    unknown = [one.part.file for one in weighty if one.part.size is None]
    here = sum(min(_length(one.partial), one.part.size or 0) for one in downloads)
    size = sum(one.part.size or 0 for one in downloads)
    found = [f"{size_text(size)} in {len(downloads)} file{'s' if len(downloads) > 1 else ''}"]
    found += [f"of it {size_text(here)} here already, unfinished"] if here else []
    found += [f"and {', '.join(unknown)}, whose size is not published"] if unknown else []
    return "; ".join(found)


def check(downloads: Sequence[Download], models: Path, settings: Settings) -> None:
    """What can be known before the first byte.

    Raises:
        DownloadError: the user wants no network, has no token for what the hub gives only with one, or what is known of
            the sizes does not fit on the disk.
    """
    if settings.offline:
        listed = ", ".join(dict.fromkeys(one.weights.name for one in downloads))
        raise DownloadError(
            f"HF_HUB_OFFLINE is set and these are missing: {listed}; copy them into {models}, or unset it"
        )
    gated = list(dict.fromkeys(one.weights for one in downloads if one.weights.gated and not settings.token))
    if gated:
        listed = ", ".join(f"{one.name} ({one.page})" for one in gated)
        raise DownloadError(
            f"the hub gives {listed} only to accounts that have accepted the licence there: accept it, make a token, and run "
            "the same command with HF_TOKEN set to it"
        )
    needed = sum(max(0, (one.part.size or 0) - _length(one.partial)) for one in downloads) + ROOM
    place = models
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise DownloadError(
            f"{models}: {size_text(free)} free, {size_text(needed)} needed; free some disk space, or name another folder "
            "with --into"
        )


def fetch(one: Download, settings: Settings, say: Say) -> None:
    """Downloads one file, going on where an earlier call broke off; only a whole and right one gets its name.

    Raises:
        DownloadError: it cannot be had, or is not the published file.
    """
    one.target.parent.mkdir(parents=True, exist_ok=True)
    sha256, broken = one.part.sha256, 0
    while True:
        before = _length(one.partial)
        try:
            sent = _get(one, settings, say)
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise DownloadError(_refusal(one, error)) from None
            problem = f"the server answers {error.code}"
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in _DISK:
                raise DownloadError(
                    f"{one.partial}: {error.strerror}; mend that, then run the same command again"
                ) from None
            problem = str(getattr(error, "reason", None) or error) or type(error).__name__
        else:
            _finish(one, sha256 or sent, say)
            return
        broken = 0 if _length(one.partial) > before else broken + 1
        if broken == TRIES:
            raise DownloadError(
                f"{one.weights.name}: {_host(one, settings)} cannot be reached ({problem}); check the network and the "
                "proxy (HTTPS_PROXY), or name a mirror (HF_ENDPOINT), then run the same command again: it goes on there"
            )
        time.sleep(min(2**broken, 30))


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Keeps the hash that the hub sends with its redirect to where the bytes lie."""

    def __init__(self) -> None:
        self.sha256: str | None = None

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        self.sha256 = _hash_in(headers) or self.sha256
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _get(one: Download, settings: Settings, say: Say) -> str | None:
    """One connection's worth of the file, to the end or as far as it goes; returns the hash that the hub sends."""
    have = _length(one.partial)
    address = one.weights.address(one.part, settings.endpoint)
    request = urllib.request.Request(address, headers={"User-Agent": "editpairs"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    if settings.token and address.startswith(f"{settings.endpoint}/"):
        # Not sent on to the other host that the hub redirects to.
        request.add_unredirected_header("Authorization", f"Bearer {settings.token}")
    redirects = _Redirects()
    try:
        answer = urllib.request.build_opener(redirects).open(request, timeout=PATIENCE)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            raise
        total = re.search(r"/(\d+)$", error.headers.get("Content-Range", ""))
        if total is None or int(total[1]) != have:
            one.partial.unlink()
            raise OSError("the unfinished file was longer than the published one") from None
        return redirects.sha256 or _hash_in(error.headers)
    with answer:
        begun = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        start = int(begun[1]) if answer.status == 206 and begun else 0
        length = answer.headers.get("Content-Length")
        total_size = start + int(length) if length else None
        _check_size(one, total_size)
        with one.partial.open("r+b" if have else "wb") as file:
            file.seek(start)
            file.truncate()
            _copy(answer, file.write, start, total_size, one.weights.name, say)
    if total_size is not None and _length(one.partial) < total_size:
        raise OSError("the connection broke off")
    return redirects.sha256 or _hash_in(answer.headers)


def _copy(
    answer: http.client.HTTPResponse, write: Callable[[bytes], int], done: int, total: int | None, name: str, say: Say
) -> None:
    begun, before, told = time.monotonic(), done, time.monotonic()
    while chunk := answer.read1(CHUNK):
        write(chunk)
        done += len(chunk)
        now = time.monotonic()
        if now - told > REPORT_SECONDS:
            told = now
            of = f" of {size_text(total)}" if total else ""
            say(f"{name}: {size_text(done)}{of}, {(done - before) / (now - begun) / 1e6:.0f} MB/s")


def _check_size(one: Download, total: int | None) -> None:
    if total is not None and one.part.size is not None and total != one.part.size:
        one.partial.unlink(missing_ok=True)
        raise DownloadError(
            f"{one.weights.name}: {one.part.path} of {one.weights.repository} has {total} bytes, not the {one.part.size} "
            "that the table knows, so it is not taken; get the newest EditPairs, or fetch it by hand"
        )


def _finish(one: Download, sha256: str | None, say: Say) -> None:
    if sha256:
        found = hash_of(one.partial)
        if found != sha256:
            one.partial.unlink()
            raise DownloadError(
                f"{one.weights.name}: what arrived is not the published file (sha256 {found}, not {sha256}) and was not kept; "
                "run the same command again, or try another mirror (HF_ENDPOINT)"
            )
    move_whole(one.partial, one.target)
    size = size_text(one.target.stat().st_size)
    say(f"{one.target}: {size}, {'sha256 is right' if sha256 else 'no sha256 is published'}")


def _is_there(one: Download) -> bool:
    """Whether the target is the file; one of the right length is read through, where its hash is known."""
    if not one.target.is_file():
        return False
    size, other = one.target.stat().st_size, ""
    if one.part.size is not None and size != one.part.size:
        other = f"{size} bytes, not {one.part.size}"
    elif one.part.sha256 and (found := hash_of(one.target)) != one.part.sha256:
        other = f"sha256 {found}, not {one.part.sha256}"
    if other:
        raise DownloadError(f"{one.target}: is another file than the published one ({other}); move it away, or keep it")
    return True


def _refusal(one: Download, error: urllib.error.HTTPError) -> str:
    where = f"{one.weights.name}: {one.part.path} of {one.weights.repository}"
    if error.code in (401, 403):
        return (
            f"{where}: the hub does not give it to everybody ({error.code}); accept the licence on {one.weights.page}, make a "
            "token there, and run the same command with HF_TOKEN set to it"
        )
    if error.code == 404:
        revision = one.weights.revision or "main"
        return f"{where} is not there any more at revision {revision}; get the newest EditPairs, or fetch it by hand"
    return f"{where}: the server refuses it ({error.code} {error.reason}); fetch it by hand from {one.weights.page}"


def _hash_in(headers: Mapping[str, str] | Message) -> str | None:
    """The sha256 that the hub names in a header: of large files their ETag is just that."""
    found = re.fullmatch(r'"?([0-9a-f]{64})"?', headers.get("X-Linked-Etag") or "")
    return found[1] if found else None


def hash_of(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _length(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _host(one: Download, settings: Settings) -> str:
    return one.weights.address(one.part, settings.endpoint).split("/")[2]
