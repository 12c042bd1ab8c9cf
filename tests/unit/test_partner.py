"""Paid nodes are named before anything starts; their key goes beside the prompt and nowhere else."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from driver.comfyui.client import ComfyServer
from driver.errors import RunError, ServerFault
from driver.graph import partner
from tests.unit.loopback import answer, speaking

API: dict[str, Any] = {
    "1": {"class_type": "LoadImage", "inputs": {}},
    "2": {"class_type": "ReveImageEditNode", "inputs": {"image": ["1", 0]}},
}
INFO: dict[str, Any] = {"LoadImage": {}, "ReveImageEditNode": {"api_node": True}}


def test_without_a_key_nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMFY_API_KEY", raising=False)
    with pytest.raises(RunError, match=r"^ReveImageEditNode #2: partner nodes, .* set COMFY_API_KEY"):
        partner.notes(API, INFO, [])
    assert partner.notes({"1": API["1"]}, INFO, []) == []
    assert partner.extra_data({"1": API["1"]}, INFO) == {}, "a key goes only where it is needed"


def test_its_key_is_in_the_extra_data_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFY_API_KEY", "comfyui-0123456789abcdef")
    named, unencrypted = partner.notes(API, INFO, ["http://127.0.0.1:8188", "https://a", "http://b:8188"])
    assert named == "ReveImageEditNode #2: paid for by the account of COMFY_API_KEY, for each sample"
    assert unencrypted.startswith("http://b:8188: ")
    posted: list[bytes] = []

    def echo(connection: socket.socket, head: bytes) -> None:
        body = head.partition(b"\r\n\r\n")[2]
        while not body.endswith(b"}}"):
            body += connection.recv(65536)
        posted.append(body)
        connection.sendall(answer(body, "500 Oops"))

    with speaking(echo) as url, pytest.raises(ServerFault) as raised:
        ComfyServer(url).submit(API, "an-id", "me", partner.extra_data(API, INFO))
    body = json.loads(posted[0])
    assert body.pop("extra_data") == {"api_key_comfy_org": "comfyui-0123456789abcdef"}
    assert "comfyui-0123456789abcdef" not in json.dumps(body) + str(raised.value)
