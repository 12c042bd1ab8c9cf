"""What is sent for a question."""

from __future__ import annotations

import base64
import io
import json
from typing import Annotated, Literal

import numpy as np
import pytest
from PIL import Image
from pydantic import BaseModel, Field

from comfy_nodes.vlm import images
from comfy_nodes.vlm.asking import Answer
from tests.vlm.client.questions import Score, WriteProfile, ask, kinds, picture, question, size_of
from tests.vlm.endpoint import Endpoint, Say


@pytest.mark.parametrize("mode", ["json_schema", "json_object", "prompt"])
def test_the_shape_is_asked_for_as_the_profile_says(mode: str, endpoint: Endpoint, write_profile: WriteProfile) -> None:
    write_profile("default", endpoint.url, json_mode=mode)
    assert kinds(ask(question())) == ["answer"]
    body = endpoint.requests[0].body
    asked_for = body.get("response_format", {}).get("type", "prompt")
    assert asked_for == mode
    assert (
        "additionalProperties" in json.dumps(body["messages"]) or "JSON schema" in body["messages"][1]["content"]
    ) == (mode != "json_schema")


class Bounded(BaseModel):
    maxLength: Annotated[str, Field(max_length=9)]
    more: list[Annotated[str, Field(min_length=1)]] = []


def test_a_strict_schema_holds_what_strict_services_know(endpoint: Endpoint, write_profile: WriteProfile) -> None:
    write_profile("default", endpoint.url)
    ask(question(reply=Bounded))
    schema = endpoint.requests[0].body["response_format"]["json_schema"]
    assert schema["strict"] is True
    assert schema["schema"]["additionalProperties"] is False
    assert schema["schema"]["required"] == ["maxLength", "more"]
    assert schema["schema"]["properties"]["maxLength"]["type"] == "string"
    assert '"maxLength": 9' not in json.dumps(schema) and "minLength" not in json.dumps(schema)


def test_parameters_and_the_profiles_own(endpoint: Endpoint, write_profile: WriteProfile) -> None:
    fields = {"extra_body": {"top_k": 1}, "max_tokens_field": "max_completion_tokens", "omit": ["temperature"]}
    write_profile("default", endpoint.url, **fields)
    ask(question(max_tokens=77, seed=5))
    body = endpoint.requests[0].body
    assert (body["max_completion_tokens"], body["seed"], body["top_k"], body["model"]) == (77, 5, 1, "tiny")
    assert "max_tokens" not in body and "temperature" not in body and "stream" not in body


def test_pictures_come_in_order_scaled_down_and_never_up(endpoint: Endpoint, write_profile: WriteProfile) -> None:
    write_profile("default", endpoint.url, max_image_pixels=10_000, image_format="png")
    shown = (picture(400, 100), picture(30, 20, seed=1))
    ask(question(images=shown))
    urls = endpoint.requests[0].picture_urls
    assert [size_of(url) for url in urls] == [(200, 50), (30, 20)]
    assert all(url.startswith("data:image/png;base64,") for url in urls)
    kinds_of_parts = [part["type"] for part in endpoint.requests[0].body["messages"][1]["content"]]
    assert kinds_of_parts == ["image_url", "image_url", "text"]


def test_jpeg_keeps_the_picture_close() -> None:
    smooth = np.linspace(0, 255, 64 * 64 * 3).reshape(64, 64, 3).astype(np.uint8)
    sent = base64.b64decode(images.data_url(smooth, 10**6, "jpeg").partition(",")[2])
    assert np.abs(np.asarray(Image.open(io.BytesIO(sent))).astype(int) - smooth).max() <= 3


def test_a_picture_is_packed_once_for_all_questions_about_it(
    endpoint: Endpoint, write_profile: WriteProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed: list[int] = []
    pack = images.data_url

    def counted(pixels: np.ndarray, max_pixels: int, image_format: Literal["jpeg", "png"]) -> str:
        packed.append(max_pixels)
        return pack(pixels, max_pixels, image_format)

    monkeypatch.setattr(images, "data_url", counted)
    write_profile("default", endpoint.url)
    write_profile("small", endpoint.url, max_image_pixels=1000)
    shown = picture(seed=77)
    asked = [question(f"q{number}", images=(shown,)) for number in range(8)]
    assert kinds(ask(*asked)) == ["answer"] * 8
    assert kinds(ask(question("later", images=(shown.copy(),)))) == ["answer"]
    assert len(packed) == 1
    assert kinds(ask(question("small", images=(shown,)), profile="small")) == ["answer"]
    assert packed[1:] == [1000]
    urls = [url for got in endpoint.requests for url in got.picture_urls]
    assert len(set(urls[:9])) == 1 and urls[9] not in urls[:9]


@pytest.mark.parametrize("size", [(1, 1), (5000, 1), (3, 4000), (1024, 1024), (1025, 1024), (4000, 3000)])
def test_a_picture_fits_its_budget(size: tuple[int, int]) -> None:
    width, height = images.fitted(*size, 1_048_576)
    assert width * height <= 1_048_576
    assert 1 <= width <= size[0] and 1 <= height <= size[1]


def test_plain_text_comes_without_thoughts(write_profile: WriteProfile) -> None:
    with Endpoint(default=Say("<think>hm</think>\n Remove the dog. ")) as endpoint:
        write_profile("default", endpoint.url)
        (answer,) = ask(question(reply=None))
        assert isinstance(answer, Answer)
        assert (answer.text, answer.value, answer.model) == ("Remove the dog.", None, "tiny-2026-01-01")
        assert "response_format" not in endpoint.requests[0].body


MENDED = {
    '```json\n{"score": 3, "reason": "r"}\n```': 3,
    'Sure, here it is: {"score": 4, "reason": "r",}': 4,
    "{'score': 5, 'reason': 'r'}": 5,
    '{"score"：6，"reason"："r"}': 6,  # noqa: RUF001
    "{“score”：7，“reason”：“r”}": 7,  # noqa: RUF001
    '<think>{"score": 1}</think>{"score": "8", "reason": "r"}': 8,
    '{"score": 9, "reason": "r", "more": [1, 2]}': 9,
    '{score: 2, reason: "r"}': 2,
    'The set {a, b} and {}. So: {"score": 1, "reason": "r"}': 1,
    '{"score": 0, "reason": "r"}\n{"score": 0, "reason": "r"}': 0,
}


@pytest.mark.parametrize("text", MENDED, ids=MENDED.values())
def test_json_is_read_where_it_can_be(text: str, write_profile: WriteProfile) -> None:
    with Endpoint(default=Say(text)) as endpoint:
        write_profile("default", endpoint.url)
        (answer,) = ask(question())
        assert isinstance(answer, Answer), answer
        assert answer.value == Score(score=MENDED[text], reason="r")
        assert answer.text == text
        assert len(endpoint.requests) == 1


@pytest.mark.parametrize(
    "text", ["I can't see a dog; remove the cat.", "Add a sorry-looking dog.", "我不能确定那是不是狗"]
)
def test_not_everything_that_sounds_like_it_is_a_refusal(text: str, write_profile: WriteProfile) -> None:
    with Endpoint(default=Say(text)) as endpoint:
        write_profile("default", endpoint.url)
        assert kinds(ask(question(reply=None))) == ["answer"]
