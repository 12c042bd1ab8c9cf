"""Many samples' files in one answer of a server, which may be anything."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import pytest

from comfy_nodes.core.run_files import SinkFolder
from driver.comfyui.client import ComfyServer
from driver.comfyui.transport import Answer
from driver.errors import ServerFault

RUN = "0" * 32
SAMPLES = [SinkFolder(key="a", submission=number) for number in range(3)]


class Scripted(ComfyServer):
    """Answers what it is told to, and notes what it was asked."""

    def __init__(self, *answers: Answer):
        super().__init__("http://127.0.0.1:1")
        self.answers, self.asked = list(answers), list[str]()

    def _request(self, method: str, path: str, *_: Any, **__: Any) -> Answer:
        self.asked.append(f"{method} {path.partition('?')[0]}")
        return self.answers.pop(0)


def zipped(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", compression) as opened:
            for name, data in members.items():
                opened.writestr(f"a-0/{name}", data)
        return file.getvalue()


def test_each_file_is_given_out_once_and_then_asked_for() -> None:
    server = Scripted(Answer(200, zipped(x=b"1", y=b"2")), Answer(200, b"3"))
    for _ in range(2):  # the second time for a sample that was in the answer
        server.fetch_ahead(RUN, SAMPLES)
    assert [server.fetch(name, f"editpairs/{RUN}/a-0") for name in ("x", "y", "x")] == [b"1", b"2", b"3"]
    assert server.asked == ["POST /editpairs/fetch", "GET /view"]


@pytest.mark.parametrize("status", [404, 405])
def test_an_older_server_is_asked_once(status: int) -> None:
    server = Scripted(Answer(status, b""), Answer(200, b"1"))
    for one in SAMPLES:
        server.fetch_ahead(RUN, [one])
    assert server.fetch("x", f"editpairs/{RUN}/a-0") == b"1"
    assert server.asked == ["POST /editpairs/fetch", "GET /view"]


def _within_each_other() -> bytes:
    """Two names for one member, as zip bombs have them."""
    data = bytearray(zipped(x=b"1" * 100, y=b""))
    first, second = (data.find(b"PK\1\2", 0), data.rfind(b"PK\1\2"))
    data[second + 16 : second + 28], data[second + 42 : second + 46] = data[first + 16 : first + 28], bytes(4)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is damaged"),
        (b"no zip", "is damaged"),
        (zipped(x=b"1" * 1000)[:-30], "is damaged"),
        (zipped(zipfile.ZIP_DEFLATED, x=bytes(1 << 20)), "packed members"),
        (zipped(x=b"1" * 10_000).replace(b"1" * 10_000, b"1" * 9_999 + b"2"), "is damaged"),
        (_within_each_other(), "is damaged"),
    ],
    ids=["empty", "text", "cut off", "packed", "changed", "twice"],
)
def test_what_is_no_plain_zip_is_the_servers_fault(data: bytes, why: str) -> None:
    server = Scripted(Answer(200, data))
    with pytest.raises(ServerFault, match=why):
        server.fetch_ahead(RUN, SAMPLES)
    assert not server.answers


def test_another_answer_is_the_servers_fault() -> None:
    with pytest.raises(ServerFault, match="answered 500 for 3 samples' files"):
        Scripted(Answer(500, b"")).fetch_ahead(RUN, SAMPLES)
