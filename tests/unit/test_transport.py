"""Whatever a server answers has an end, a size, and comes from the server that was asked."""

from __future__ import annotations

import gzip
import itertools
import json
import socket
import ssl
import subprocess
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.core.services.profiles import Profile, VlmNotConfigured
from driver.comfyui.client import ComfyServer
from driver.comfyui.events import Ended, PromptEvents, Ran
from driver.comfyui.logins import Login
from driver.comfyui.transport import Bounds, Transport
from driver.errors import PromptRefused, RunError, ServerFault, ServerGone, ServerLocked
from tests.unit.loopback import Speak, answer, saying, speaking

BOUNDS = Bounds(silence=1.0, seconds=0.6, size=1 << 20)
HEAD = b"HTTP/1.1 200 OK\r\n"


def dripping(before: bytes, drop: bytes = b"x") -> Speak:
    """A byte now and then, for ever: no timeout of a socket ever comes."""

    def speak(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(before)
        while True:
            connection.sendall(drop)
            time.sleep(0.05)

    return speak


def flooding(before: bytes, piece: bytes) -> Speak:
    def speak(connection: socket.socket, _head: bytes) -> None:
        connection.sendall(before)
        while True:
            connection.sendall(piece)

    return speak


DRIPS = {
    "the first line": dripping(b""),
    "a header": dripping(HEAD + b"X-Long: "),
    "headers without end": dripping(HEAD, b"X-One: 1\r\n"),
    "a body of known length": dripping(HEAD + b"Content-Length: 100000\r\n\r\n"),
    "a body to the end of the connection": dripping(HEAD + b"Connection: close\r\n\r\n"),
    "chunks": dripping(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "continue and continue": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a gateway's error that says to wait": saying(b"", "503 Busy", "Retry-After: 100000"),
}


@pytest.mark.parametrize("what", DRIPS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_drip_ends(what: str, method: str) -> None:
    with speaking(DRIPS[what]) as url:
        begun = time.monotonic()
        if what.startswith("a gateway") and method == "POST":
            assert Transport(url, None).request(method, "/x", BOUNDS).status == 503
        else:
            with pytest.raises(ServerFault, match="did not answer /x in time"):
                Transport(url, None).request(method, "/x", BOUNDS)
        assert time.monotonic() - begun < 5


BOMB = zlib.compress(bytes(50 << 20), 9)
FLOODS = {
    "a body": flooding(HEAD + b"Connection: close\r\n\r\n", bytes(1 << 16)),
    "chunks": flooding(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(1 << 16) + b"\r\n"),
    "a gateway's error": flooding(b"HTTP/1.1 503 Busy\r\nConnection: close\r\n\r\n", bytes(1 << 16)),
    "gzip": saying(gzip.compress(bytes(50 << 20)), "200 OK", "Content-Encoding: gzip"),
    "deflate": saying(BOMB, "200 OK", "Content-Encoding: deflate"),
}


@pytest.mark.parametrize("what", FLOODS)
def test_a_flood_is_not_swallowed(what: str) -> None:
    with (
        speaking(FLOODS[what]) as url,
        pytest.raises(ServerFault, match="with more than 1 MB"),
    ):
        Transport(url, None).request("GET", "/x", Bounds(silence=5, seconds=20, size=1 << 20))


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_is_held_once(packed: bool) -> None:
    """Also packed; and one that is too large not at all, although the fault that it was is still known."""
    whole = bytes(16 << 20)
    body, coding = (gzip.compress(whole, 1), "gzip") if packed else (whole, "identity")
    sent = answer(body, "200 OK", f"Content-Encoding: {coding}")  # made here, as the server's memory is ours, too
    with speaking(lambda connection, _head: connection.sendall(sent)) as url:
        transport = Transport(url, None)
        tracemalloc.start()
        try:
            got = transport.request("GET", "/x", Bounds(silence=5, seconds=60, size=len(whole))).data
            assert len(got) == len(whole)
            assert tracemalloc.get_traced_memory()[1] < 1.3 * len(whole)
            del got
            tracemalloc.reset_peak()
            with pytest.raises(ServerFault, match="more than 8 MB") as kept:
                transport.request("GET", "/x", Bounds(silence=5, seconds=60, size=8 << 20))
            assert kept.traceback
            now, most = tracemalloc.get_traced_memory()
            assert now < 2 << 20 and most < 1.5 * (8 << 20)
        finally:
            tracemalloc.stop()


def test_a_packed_answer_is_read_and_an_odd_one_is_not() -> None:
    with speaking(saying(gzip.compress(b"[]"), "200 OK", "Content-Encoding: gzip")) as url:
        assert Transport(url, None).request("GET", "/x", BOUNDS).data == b"[]"
    for coding, body in (("br", b"x"), ("gzip, gzip", b"x"), ("gzip", b"no gzip")):
        with speaking(saying(body, "200 OK", f"Content-Encoding: {coding}")) as url, pytest.raises(ServerFault):
            Transport(url, None).request("GET", "/x", BOUNDS)


def test_a_cut_ends_what_is_asked_and_all_that_follows() -> None:
    with speaking(DRIPS["chunks"]) as url:
        transport = Transport(url, None)
        threading.Timer(0.2, setattr, (transport, "cut", True)).start()
        begun = time.monotonic()
        with pytest.raises(ServerFault):
            transport.request("GET", "/x", Bounds(silence=60, seconds=60, size=1 << 20))
        with pytest.raises(ServerGone):
            transport.request("GET", "/x", BOUNDS)
        assert time.monotonic() - begun < 5


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 Go", "308 Go"])
def test_a_redirect_is_not_followed(status: str) -> None:
    asked: list[bytes] = []

    def elsewhere(connection: socket.socket, head: bytes) -> None:
        asked.append(head)
        connection.sendall(answer(b"{}"))

    with speaking(elsewhere) as other, speaking(saying(b"", status, f"Location: {other}/login?next=secret")) as url:
        server = ComfyServer(url)
        for ask in (server.system_stats, server.free, lambda: server.fetch("a.png", "b")):
            with pytest.raises(ServerLocked, match=f"sends us to {other}/login ") as raised:
                ask()
            assert "secret" not in str(raised.value)
        events = PromptEvents(server)
        events.wait(2)
        events.close()
    assert asked == []


DEEP = b"[" * 3000 + b"]" * 3000
BAD = {
    "nothing": b"",
    "{}": b"{}",
    "null": b"null",
    "a list": b"[1]",
    "a number": b"7",
    "not JSON": b"<html>",
    "3000 levels": DEEP,
    "3000 levels inside": b'{"system": ' + DEEP + b', "outputs": ' + DEEP + b"}",
    "NaN": b"NaN",
    "a long number": b"1" * 5000,
    "text for a time": b'{"status": "completed", "execution_start_time": "soon", "execution_end_time": []}',
    "an unknown state": b'{"status": "\\u001b[31mmaybe"}',
    "lists for objects": b'{"status": "failed", "execution_error": [], "outputs": [], "system": [], "devices": {}}',
    "no devices": b'{"system": {"comfyui_version": "0.30.0"}, "devices": []}',
    "a version that is none": b'{"system": {"comfyui_version": null, "ram_free": "much"}, "devices": [{}]}',
    "half a surrogate": b'{"name": "\\ud800", "subfolder": 7, "status": "\\udfff"}',
    "nodes of another shape": b'{"A": [], "B": {"input": []}, "C": {"input": {"required": 7}}, "D": {"output": {}}}',
    "errors of another shape": b'{"node_errors": {"1": "no"}, "prompt_id": "x", "error": {}}',
    "errors in errors": b'{"node_errors": {"1": {"errors": [7], "class_type": []}}, "error": [7]}',
}
ASKED: dict[str, Callable[[ComfyServer], Any]] = {
    "system_stats": ComfyServer.system_stats,
    "object_info": ComfyServer.object_info,
    "upload": lambda server: server.upload(b"x", "x.png", "a"),
    "submit": lambda server: server.submit({}, "id", "client"),
    "job": lambda server: server.job("id"),
    "model_sizes": ComfyServer.model_sizes,
}


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "500 Oops"])
@pytest.mark.parametrize("what", BAD)
def test_a_bad_answer_is_a_fault_of_that_server(what: str, status: str) -> None:
    """Or it is a good one by chance; nothing else is ever raised."""
    with speaking(saying(BAD[what], status)) as url:
        server = ComfyServer(url)
        for name, ask in ASKED.items():
            try:
                found = ask(server)
            except (ServerFault, PromptRefused) as fault:
                assert "\x1b" not in str(fault)
                assert len(str(fault)) < 700
            else:
                assert name == "object_info" or (name, found) == ("model_sizes", {}), found


def test_nodes_of_another_shape_are_not_there() -> None:
    good = {"input": {"required": {"image": ["IMAGE", {}]}, "optional": None}, "output": ["IMAGE"]}
    nodes = json.loads(BAD["nodes of another shape"]) | {"Good": good, "Bare": {}}
    with speaking(saying(json.dumps(nodes).encode())) as url:
        assert ComfyServer(url).object_info() == {"Good": good, "Bare": {}}


def test_a_servers_words_are_one_short_line_without_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_TOKEN", "a-token-of-the-team")

    def echo(connection: socket.socket, head: bytes) -> None:
        connection.sendall(answer(b"\x1b]0;title\x07\x1b[2J" + head[-400:], "500 Oops"))

    with speaking(echo) as url:
        server = ComfyServer(url, Login(name="team", address=url, key_variable="TEAM_TOKEN"))
        with pytest.raises(ServerFault) as raised:
            server.job("id")
    assert "a-token-of-the-team" not in str(raised.value)
    assert not any(ord(one) < 32 for one in str(raised.value))


# The socket.


def upgraded(then: bytes, endless: bytes = b"") -> Speak:
    """Takes a websocket and says `then`."""
    import base64
    import hashlib

    def speak(connection: socket.socket, head: bytes) -> None:
        key = next(
            line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
        )
        digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        accept = base64.b64encode(digest)
        connection.sendall(
            b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept + b"\r\n\r\n" + then
        )  # fmt: skip
        while endless:
            connection.sendall(endless)
        time.sleep(5)

    return speak


def frame(text: bytes) -> bytes:
    return b"\x81\x7e" + len(text).to_bytes(2, "big") + text


@pytest.mark.parametrize(
    ("then", "endless"),
    [
        (frame(b'{"executing": null, "data": ' + DEEP + b"}"), b""),
        (frame(b'{"executing": 1, "type": "executing", "data": [null]}'), b""),
        (frame(b'{"executed": 1, "type": "executed", "data": null}'), b""),
        (b"\x81\x7f" + (1 << 40).to_bytes(8, "big"), bytes(1 << 16)),
        (b"\x01\x7e\xff\xff" + bytes(65535), b"\x00\x7e\xff\xff" + bytes(65535)),
    ],
    ids=["deep", "lists", "null", "a terabyte", "parts without end"],
)
def test_a_bad_message_closes_the_socket(
    then: bytes, endless: bytes, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("driver.comfyui.events.MESSAGE_BYTES", 1 << 20)
    with speaking(upgraded(then, endless)) as url:
        events = PromptEvents(ComfyServer(url))
        assert events.wait(5), "nothing came"
        events.close()
    assert "Traceback" not in capfd.readouterr().err


def told(kind: str, **data: Any) -> bytes:
    """A message of the socket, as ComfyUI sends it."""
    return frame(json.dumps({"type": kind, "data": {"prompt_id": "one", **data}}).ljust(200).encode())


@pytest.mark.parametrize(
    ("times", "seconds"),
    [
        ((1_000, 2_500), 1.5),
        ((2_500, 1_000), None),
        ((None, 2_500), None),
        (("soon", [7]), None),
        ((1_000, float("nan")), None),
        ((1_000, 10**400), None),
    ],
    ids=str,
)
def test_an_end_says_how_long_the_prompt_took_where_that_was_told(
    times: tuple[Any, Any], seconds: float | None
) -> None:
    begun, ended = times
    messages = [
        told("execution_start", timestamp=begun),
        told("executing", node="1"),
        told("progress_state", nodes={"1": {"state": "running"}}),
        told("executed", node="6", output=None),
        told("executed", node="7", output=None),
        told("execution_success", timestamp=ended),
        told("executing", node=None),
        told("executing", node=None, prompt_id="another"),
    ]
    with speaking(upgraded(b"".join(messages))) as url:
        events = PromptEvents(ComfyServer(url), lambda node_id: node_id != "6")
        heard = [events.wait(5) for _ in range(3)]
        events.close()
    assert heard == [Ran("one", "7"), Ended("one", seconds), Ended("another", None)]


def test_a_dripping_handshake_ends_with_the_run() -> None:
    with speaking(dripping(b"HTTP/1.1 101 Switching\r\n")) as url:
        before = threading.active_count()
        events = PromptEvents(ComfyServer(url))
        begun = time.monotonic()
        events.close()
        assert time.monotonic() - begun < 1.5
        while threading.active_count() > before + 1 and time.monotonic() - begun < 5:
            time.sleep(0.05)
        assert not events._thread.is_alive()


# Logins and certificates.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate that only itself vouches for, with its key in one file."""
    folder = tmp_path_factory.mktemp("certificate")
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    )
    subprocess.run(
        [*command.split(), "-keyout", folder / "key.pem", "-out", folder / "team.pem"], check=True, capture_output=True
    )
    return folder / "team.pem"


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    return context


def test_an_unknown_certificate_is_named_and_a_bundle_lets_it_in(tls: ssl.SSLContext, certificate: Path) -> None:
    stats = {"system": {"comfyui_version": "0.30.0"}, "devices": [{"name": "cpu", "type": "cpu"}]}
    heard: list[bytes] = []

    def speak(connection: socket.socket, head: bytes) -> None:
        heard.append(head)
        connection.sendall(answer(json.dumps(stats).encode()))

    with speaking(speak, tls) as url:
        with pytest.raises(
            ServerLocked, match=r"certificate that this machine does not trust \(self-signed certificate\)"
        ):
            ComfyServer(url).system_stats()
        known = ComfyServer(url, Login(name="team", address=url, certificate=str(certificate)))
        assert known.system_stats() == stats
        events = PromptEvents(known)
        events.close()
    assert any(b"GET /ws?" in head for head in heard), "the socket does not know the certificate"


def test_a_dripping_handshake_of_tls_ends() -> None:
    with speaking(dripping(b"\x16\x03\x03\x3f\xff")) as url:
        # The greeting has no empty line, so the drip begins when the client waits.
        server = Transport(url.replace("http", "https"), None)
        begun = time.monotonic()
        with pytest.raises(ServerFault):
            server.request("GET", "/x", BOUNDS)
        assert time.monotonic() - begun < 8


LOGINS: list[tuple[dict[str, str], str]] = [
    ({"key_variable": "TEAM_KEY"}, "Authorization: Bearer the-team's-key"),
    ({"key_variable": "TEAM_KEY", "header": "X-Api-Key"}, "X-Api-Key: the-team's-key"),
    ({"key_variable": "TEAM_KEY", "user": "me"}, "Authorization: Basic bWU6dGhlLXRlYW0ncy1rZXk="),
]


@pytest.mark.parametrize(("fields", "line"), LOGINS)
def test_a_login_goes_with_every_request_and_the_socket(
    fields: dict[str, str], line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_KEY", "the-team's-key")
    heard: list[bytes] = []

    def speak(connection: socket.socket, head: bytes) -> None:
        heard.append(head)
        connection.sendall(answer(b"{}", "401 Unauthorized"))

    with speaking(speak) as url:
        server = ComfyServer(url, Login(name="team", address=url, **fields))  # type: ignore[arg-type]
        with pytest.raises(
            ServerLocked, match=r"asks for a login \(401\); the login of server 'team' in .* no longer, good"
        ):
            server.system_stats()
        with pytest.raises(ServerLocked):
            server.upload(b"x", "x.png", "a")
        events = PromptEvents(server)
        events.close()
    assert len(heard) >= 3
    assert all(line.encode() in head for head in heard), heard


@pytest.mark.parametrize(("status", "words"), [("401 No", r"asks for a login \(401\)"), ("403 No", r"\(403\)")])
def test_a_login_that_is_not_known_is_asked_for(status: str, words: str) -> None:
    with speaking(saying(b"no", status)) as url, pytest.raises(ServerLocked, match=words) as raised:
        ComfyServer(url).system_stats()
    assert "); write the login into" in str(raised.value) and "servers.toml" in str(raised.value)


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    path = tmp_path / "servers.toml"
    monkeypatch.setenv("EDITPAIRS_SERVERS", str(path))
    yield path.write_text  # type: ignore[misc]


def test_a_named_server(written: Callable[[str], None]) -> None:
    from driver.comfyui.logins import named

    written('[servers.team]\naddress = "https://comfy.example.com/sub/"\nkey_variable = "TEAM_KEY"\n')
    login = named("team")
    assert login is not None
    assert login.address == "https://comfy.example.com/sub"
    for address in ("http://comfy.example.com", "comfy.example.com", "studio:8188", "studio/comfy", "localhost"):
        assert named(address) is None


def test_a_name_that_is_not_known_is_no_address(written: Callable[[str], None]) -> None:
    from driver.comfyui.logins import named

    with pytest.raises(
        RunError, match=r"--server team: .*servers\.toml has no server of this name \(it has none\); .*team:8188"
    ):
        named("team")
    written('[servers.studio]\naddress = "https://a"\n[servers.b]\naddress = "https://b"\n')
    with pytest.raises(RunError, match=r"\(it has b, studio\)"):
        named("team")


WRONG = {
    "x = 1": r"must hold tables \[servers.NAME\] and nothing else",
    "[servers]\nteam = 1": "must hold tables",
    "[servers.team": "cannot be read",
    "[servers.team]\nuser = 'a'": "address",
    "[servers.team]\naddress = 'ftp://x'": "must be an address",
    "[servers.team]\naddress = 'https://me:hunter2@x'": "no user, password",
    "[servers.team]\naddress = 'https://x'\npassword = 'hunter2'": "password Extra inputs",
    "[servers.team]\naddress = 'https://x'\nkey_variable = 'hunter2'": "key_variable",
    "[servers.team]\naddress = 'https://x'\nuser = 'me'": "name the variable that holds the key",
    "[servers.team]\naddress = 'http://comfy.example.com'\nkey_variable = 'K'": "unencrypted to another machine",
    "[servers.team]\naddress = 'https://x'\nkey_variable = 'K'\nkey_file = 'f'": "not both",
    "[servers.team]\naddress = 'https://x'\nkey_variable = 'K'\nheader = 'A: b\\r\\nC'": "header",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_wrong_file_of_servers_is_one_line(written: Callable[[str], None], text: str) -> None:
    from driver.comfyui.logins import named

    written(text)
    with pytest.raises(RunError, match=WRONG[text]) as raised:
        named("team")
    assert "hunter2" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_key_that_is_not_there_or_renewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEAM_KEY", raising=False)
    url = "http://127.0.0.1:9"
    with pytest.raises(ServerLocked, match="needs a key in the environment variable TEAM_KEY"):
        ComfyServer(url, Login(name="team", address=url, key_variable="TEAM_KEY")).system_stats()
    login = Login(name="team", address=url, key_file=str(tmp_path / "token"))
    with pytest.raises(ServerLocked, match=r"needs a key in .*token"):
        login.headers()
    for token in ("first-of-two", "second-of-two"):
        (tmp_path / "token").write_text(token + "\n")
        assert login.headers() == {"Authorization": f"Bearer {token}"}
    with pytest.raises(RunError, match=r"server 'team': certificate .*none\.pem: No such file"):
        ComfyServer(url, Login(name="team", address=url, certificate=str(tmp_path / "none.pem")))


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("", "holds none"),
        ("one\r\ntwo", "holds more than one line"),
        ("one\ttwo", "holds a control character"),
        ("schl\u00fcssel", "holds characters that are not ASCII"),
    ],
)
def test_a_key_that_no_header_can_carry_is_told_so(monkeypatch: pytest.MonkeyPatch, key: str, wrong: str) -> None:
    monkeypatch.setenv("TEAM_KEY", f" {key}\r\n")
    url = "http://127.0.0.1:9"
    with pytest.raises(ServerLocked, match=f"TEAM_KEY, which {wrong}"):
        Login(name="team", address=url, key_variable="TEAM_KEY").headers()
    with pytest.raises(VlmNotConfigured, match=f"TEAM_KEY, which {wrong}"):
        Profile(name="team", base_url=url, model="m", key_variable="TEAM_KEY").key()


def test_sizes_of_models_are_what_a_server_tells() -> None:
    answers = itertools.cycle([b'[{"name": "unet/a"}]', b'[{"name": "x.safetensors", "size": 7}]'])
    with speaking(lambda connection, _head: connection.sendall(answer(next(answers)))) as url:
        assert ComfyServer(url).model_sizes() == {"x.safetensors": 7}
