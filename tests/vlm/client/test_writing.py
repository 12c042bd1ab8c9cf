"""Writers over real HTTP: what goes to a service for every shape of edit, and what comes of what it says."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from comfy_nodes.core.instructions.scenes import Scene
from comfy_nodes.core.regions.annotation import Region
from comfy_nodes.core.taxonomy import TAXONOMY
from comfy_nodes.vlm.asking import Failure
from comfy_nodes.vlm.endpoint.client import connect
from comfy_nodes.vlm.questions import observer, writer
from tests.vlm.client.questions import WriteProfile
from tests.vlm.endpoint import Endpoint, Say, Status

CUP = Region(class_name="cup", bbox=(20, 400, 60, 440))
SCENE = Scene(640, 480, (CUP,))
PHOTO = np.full((480, 640, 3), 90, dtype=np.uint8)
EDIT = {
    "object": "cup", "object_en": "cup", "instruction": "Remove [OBJECT].", "command": "Remove [OBJECT].",
    "target": "bare table",
}  # fmt: skip
GOOD = Say(json.dumps({"edits": [EDIT]}))
BAD = Say(json.dumps({"edits": [{**EDIT, "instruction": "Paint [OBJECT] red."}]}))


def write(name: str = "service", **options: Any) -> Any:
    kind = TAXONOMY[options.pop("kind", "imgedit/remove")]
    return asyncio.run(writer.write(connect(name), writer.Assignment(kind, PHOTO, SCENE, **options)))


@pytest.mark.parametrize("json_mode", ["json_schema", "json_object", "prompt"])
def test_an_instruction(json_mode: str, write_profile: WriteProfile) -> None:
    with Endpoint(default=GOOD) as endpoint:
        write_profile("service", endpoint.url, json_mode=json_mode)
        (writing,) = write(seed=5)
    assert writing.instruction == "Remove the small cup in the lower-left of the image."
    assert writing.model.startswith("tiny")
    (got,) = endpoint.requests
    url = got.picture_urls[0]
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))
    frame = np.abs(picture.astype(int) - 90).max(axis=2) > 60
    assert frame[399:442, 19:62].any() and not frame[:380].any(), "the picture that is sent shows the frame"
    assert ("response_format" in got.body) == (json_mode != "prompt")


def test_every_shape_is_a_schema_that_services_take(write_profile: WriteProfile) -> None:
    shapes = {}
    with Endpoint(default=Status(400, "no")) as endpoint:
        write_profile("service", endpoint.url, json_mode="json_schema")
        for kind in TAXONOMY.values():
            if kind.shape and kind.shape not in shapes:
                scene = Scene(640, 480, (CUP, CUP.model_copy(update={"class_name": "vase"})))
                failure = asyncio.run(writer.write(connect("service"), writer.Assignment(kind, PHOTO, scene)))
                assert isinstance(failure, Failure) and failure.kind == "VlmBadRequest"
                shapes[kind.shape] = endpoint.requests[-1].body["response_format"]["json_schema"]
    assert len(shapes) == 11
    for shape in shapes.values():
        assert shape["strict"] is True
        objects = [shape["schema"], *shape["schema"].get("$defs", {}).values()]
        assert all(set(one["required"]) == set(one["properties"]) for one in objects)
        assert all(one["additionalProperties"] is False for one in objects)


def test_a_broken_rule_is_sent_back(write_profile: WriteProfile) -> None:
    with Endpoint({"Photo:": [BAD, GOOD]}) as endpoint:
        write_profile("service", endpoint.url)
        (writing,) = write()
    assert writing.instruction.startswith("Remove")
    assert len(endpoint.requests) == 2
    assert "it does not say to remove" in json.dumps(endpoint.requests[1].body)


@pytest.mark.parametrize(
    ("deed", "kind"),
    [
        (BAD, "VlmWrongShape"),
        (Say(json.dumps({"edits": [{**EDIT, "instruction": "移除[OBJECT]。"}]})), "VlmWrongLanguage"),
        (Say('{"edits": []}'), "VlmWrongShape"),
        (Say("no JSON at all"), "VlmNotJson"),
        (Say("I'm sorry, I can't help with that."), "VlmRefusal"),
        (Say(""), "VlmEmptyReply"),
        (Say('{"edits": [{"object": "cu', finish="length"), "VlmCutOff"),
        (Status(401, "who are you"), "VlmUnauthorised"),
        (Status(500), "VlmServerError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_failures_are_data(deed: Any, kind: str, write_profile: WriteProfile) -> None:
    with Endpoint(default=deed) as endpoint:
        write_profile("service", endpoint.url)
        failure = write()
    assert isinstance(failure, Failure)
    assert failure.kind == kind
    assert failure.message and "\n" not in failure.message


def test_a_cached_answer_is_the_same_instruction(write_profile: WriteProfile) -> None:
    with Endpoint(default=GOOD) as endpoint:
        write_profile("service", endpoint.url)
        assert write() == write()
        assert len(endpoint.requests) == 1
        write(language="en", seed=1)
        assert len(endpoint.requests) == 2, "another seed is another question"


def test_observers(write_profile: WriteProfile) -> None:
    says = {
        "Describe": [Say(json.dumps({"dense": "A red cup stands on a table.", "short": "A cup."}))],
        "Caption:": [Say(json.dumps({"objects": ["cup", "spoon"], "backgrounds": ["table"]}))],
        "Photo:": [Say(json.dumps({"decisions": [{"task": "remove", "suitable": True, "reason": "Clear."}]}))],
    }
    with Endpoint(says) as endpoint:
        write_profile("service", endpoint.url)
        vlm = connect("service")
        captions = asyncio.run(observer.caption(vlm, PHOTO, "en", 0))
        assert isinstance(captions, observer.Captions)
        nouns = asyncio.run(observer.nouns(vlm, PHOTO, captions.dense, 0))
        assert nouns == observer.Nouns(["cup"], ["table"], ["spoon"])
        route = asyncio.run(
            observer.route(
                vlm, PHOTO, SCENE, [TAXONOMY["imgedit/remove"], TAXONOMY["imgedit/style"]], captions.dense, 0
            )
        )
        assert isinstance(route, observer.RoutedTasks) and list(route.accepted) == ["remove"]
