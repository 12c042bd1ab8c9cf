"""Servers that differ are refused in one line before the run; what could be better is a warning."""

from __future__ import annotations

import copy
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from comfy_nodes.core.ingredients import ROUTE, Ingredients
from driver.comfyui.client import ComfyServer
from driver.errors import RunError
from driver.pipeline.preflight import MANY_FILES, agree, check_join

API = {
    "1": {"class_type": "EditPairsLoadSample", "inputs": {
        "image": "a.png", "task": "remove", "region_index": 0, "seed": 0}},
    "2": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "flux/fill-dev.safetensors"}},
    "3": {"class_type": "Paint", "inputs": {
        "image": ["1", 1], "mask": ["1", 2], "seed": 0, "method": "telea", "strength": 1.0}},
    "4": {"class_type": "EditPairsSavePair", "inputs": {"sample": ["1", 0], "edited": ["3", 0], "instruction": ""}},
}  # fmt: skip

STATS: dict[str, Any] = {
    "system": {
        "comfyui_version": "0.30.0",
        "pytorch_version": "2.14.1",
        "ram_total": 64 << 30,
        "argv": ["main.py", "--listen", "10.0.0.1", "--cache-lru", "64"],
    },
    "devices": [{"name": "cuda:0 H100", "type": "cuda"}],
}

INGREDIENTS = Ingredients(
    version="0.3.0",
    code="c" * 64,
    prompts={"judge-add": f"2 {'a' * 64}"},
    weights={"flux/fill-dev.safetensors": "d" * 64},
    profiles={"default": {"model": "qwen", "base_url": "e" * 64}},
)

Change = Callable[[dict[str, Any], dict[str, Any]], Any]
"""Changes a server's stats and schemas in place."""

Serve = Callable[..., ComfyServer]


@contextmanager
def saying(answers: dict[str, Any]) -> Iterator[ComfyServer]:
    """A web server on loopback that answers these paths as ComfyUI does."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path in answers
            body = json.dumps(answers.get(self.path)).encode()
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield ComfyServer(f"http://127.0.0.1:{server.server_address[1]}")
        finally:
            server.shutdown()


@pytest.fixture
def serve(object_info: dict[str, Any]) -> Iterator[Serve]:
    """A function that starts a server which can run the graph, changed as asked."""
    names = ["flux/fill-dev.safetensors", "sd15.safetensors"]
    object_info["CheckpointLoaderSimple"] = {
        "input": {"required": {"ckpt_name": [names, {"tooltip": "The checkpoint."}]}},
        "output": ["MODEL", "CLIP", "VAE"],
    }
    with ExitStack() as servers:

        def started(change: Change = lambda *_: None, files: tuple[str, ...] = (), **ingredients: Any) -> ComfyServer:
            stats, nodes = copy.deepcopy(STATS), copy.deepcopy(object_info)
            change(stats, nodes)
            made_with = INGREDIENTS.model_copy(update=ingredients).model_dump()
            answers = {"/system_stats": stats, "/object_info": nodes, ROUTE: made_with, **dict.fromkeys(files)}
            return servers.enter_context(saying(answers))

        yield started


def test_servers_that_are_alike(serve: Serve, object_info: dict[str, Any]) -> None:
    servers = [serve() for _ in range(3)]
    agreement = agree(servers, API)
    assert agreement.url == servers[0].url
    assert agreement.stats == STATS
    assert agreement.object_info == object_info
    assert agreement.warnings == ()
    assert check_join(serve(), agreement) == ()


def version(stats: dict[str, Any], _nodes: dict[str, Any]) -> None:
    stats["system"]["comfyui_version"] = "0.31.2"


def no_pack(_stats: dict[str, Any], nodes: dict[str, Any]) -> None:
    for name in [name for name in nodes if name.startswith("EditPairs")]:
        del nodes[name]


def no_class(_stats: dict[str, Any], nodes: dict[str, Any]) -> None:
    nodes["PaintNow"] = nodes.pop("Paint")


def no_model(_stats: dict[str, Any], nodes: dict[str, Any]) -> None:
    nodes["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0] = ["fill-dev.safetensors"]


def other_default(_stats: dict[str, Any], nodes: dict[str, Any]) -> None:
    nodes["Paint"]["input"]["optional"]["strength"][1]["default"] = 0.5


def one_more_input(_stats: dict[str, Any], nodes: dict[str, Any]) -> None:
    nodes["Paint"]["input"]["optional"]["guidance"] = ["FLOAT", {"default": 1.0}]


def other_output(_stats: dict[str, Any], nodes: dict[str, Any]) -> None:
    nodes["Paint"]["output"] = ["IMAGE"]


def other_pack(_stats: dict[str, Any], nodes: dict[str, Any]) -> None:
    nodes["EditPairsVerifyPixels"]["description"] = "In other words."


DIFFERENCES: dict[Change, str] = {
    version: "is ComfyUI 0.31.2, {first} is 0.30.0",
    no_pack: "has no EditPairs nodes: install this pack there",
    no_class: "Paint #3: the server has no such node (did you mean PaintNow?)",
    no_model: "ckpt_name 'flux/fill-dev.safetensors' is not there (did you mean fill-dev.safetensors?)",
    other_default: "Paint has other input strength than on {first}",
    one_more_input: "Paint has other input guidance than on {first}",
    other_output: "Paint has other outputs than on {first}",
    other_pack: "has another version of EditPairs than {first} (EditPairsVerifyPixels differs)",
}


@pytest.mark.parametrize("change", DIFFERENCES, ids=lambda change: change.__name__)
def test_a_server_that_differs_is_named_with_the_difference(serve: Serve, change: Change) -> None:
    first, odd = serve(), serve(change)
    with pytest.raises(RunError) as caught:
        agree([first, odd, serve()], API)
    line = str(caught.value)
    assert line.startswith(f"{odd.url}: ")
    assert DIFFERENCES[change].format(first=first.url) in line
    assert "\n" not in line
    with pytest.raises(RunError) as joining:
        check_join(odd, agree([first], API))
    assert str(joining.value) == line


@pytest.mark.parametrize(
    ("ingredients", "words"),
    [
        ({"version": "0.4.0"}, "EditPairs is 0.4.0 instead of 0.3.0"),
        ({"code": "9" * 64}, "the code of EditPairs 0.3.0 is other code"),
        ({"packs": {"Paint": "9" * 64}}, "the code of Paint's node pack is other code"),
        ({"prompts": {"judge-add": f"3 {'a' * 64}"}}, "prompt judge-add is version 3 instead of 2"),
        ({"prompts": {"judge-add": f"2 {'b' * 64}"}}, "prompt judge-add 2 has another text"),
        ({"prompts": {}}, "prompt judge-add is version missing instead of 2"),
        (
            {"weights": {"flux/fill-dev.safetensors": "9" * 64}},
            "model flux/fill-dev.safetensors has other content (999999999999 instead of dddddddddddd)",
        ),
        ({"profiles": {"default": {"model": "gpt", "base_url": "e" * 64}}}, "'default' asks gpt instead of qwen"),
        ({"profiles": {"default": {"model": "qwen", "base_url": "9" * 64}}}, "'default' has another base_url"),
        ({"profiles": {"default": {}}}, "'default' asks nobody instead of qwen"),
    ],
)
def test_a_server_that_makes_them_with_something_else(serve: Serve, ingredients: dict[str, Any], words: str) -> None:
    first, odd = serve(), serve(**ingredients)
    with pytest.raises(RunError) as caught:
        agree([first, odd, serve()], API)
    line = str(caught.value)
    assert line.startswith(f"{odd.url}: unlike {first.url}, ") and words in line and "\n" not in line
    with pytest.raises(RunError) as joining:
        check_join(odd, agree([first], API))
    assert str(joining.value) == line


def test_a_profile_that_cannot_be_asked(serve: Serve) -> None:
    """Its key is missing, say: one line, and not a failure of each sample."""
    why = "VLM profile 'default' needs a key"
    with pytest.raises(RunError) as caught:
        agree([serve(), *(odd := [serve(unready={"default": why}) for _ in range(2)])], API)
    assert str(caught.value).startswith(f"{odd[0].url}, {odd[1].url}: {why}; mend this there")
    with pytest.raises(RunError, match=f"{odd[0].url}: {why}"):
        check_join(odd[0], agree([serve()], API))


def test_a_server_whose_pack_says_nothing_of_itself(serve: Serve, object_info: dict[str, Any]) -> None:
    with saying({"/system_stats": STATS, "/object_info": object_info}) as old:
        with pytest.raises(RunError, match=f"--server {old.url}: .* does not say what it runs"):
            agree([old], API)
        with pytest.raises(RunError, match=f"--server {old.url}"):
            agree([serve(), old], API)


def test_what_the_graph_does_not_use_may_differ(serve: Serve) -> None:
    def otherwise(_stats: dict[str, Any], nodes: dict[str, Any]) -> None:
        del nodes["PreviewImage"]
        nodes["Other"] = {"input": {}}
        nodes["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0].append("more.safetensors")
        nodes["Paint"]["input"]["optional"]["strength"][1]["tooltip"] = "In other words."
        nodes["EditPairsLoadSample"]["input"]["required"]["image"][1]["options"] = ["an-upload.png"]

    agree([serve(), serve(otherwise)], API)


def test_servers_with_the_same_trouble_stand_together(serve: Serve) -> None:
    good, odd = serve(), [serve(no_model), serve(no_model)]
    with pytest.raises(RunError) as caught:
        agree([odd[0], good, odd[1]], API)
    assert str(caught.value).startswith(f"{odd[0].url}, {odd[1].url}: the workflow does not fit")


def test_a_long_list_is_cut(serve: Serve) -> None:
    servers = [serve(lambda stats, _, n=n: stats["system"].update(comfyui_version=f"0.2{n}")) for n in range(9)]
    with pytest.raises(RunError, match="; and 3 more differences; mend this there"):
        agree(servers, API)


def test_a_server_that_is_not_there_or_named_twice(serve: Serve) -> None:
    here = serve()
    with pytest.raises(RunError, match=r"--server http://127\.0\.0\.1:9: no ComfyUI answers"):
        agree([here, ComfyServer("127.0.0.1:9")], API)
    with pytest.raises(RunError, match=f"--server {here.url}: named twice"):
        agree([here, serve(), ComfyServer(here.url + "/")], API)


def test_a_default_cache_is_a_warning_on_a_big_host(serve: Serve) -> None:
    def started(argv: list[str], ram: int) -> Change:
        return lambda stats, _: stats["system"].update(argv=["main.py", *argv], ram_total=ram)

    big, small = 512 << 30, 128 << 30
    (warning,) = agree([serve(started([], big))], API).warnings
    assert "start it with --cache-lru 64" in warning
    for argv, ram in (
        (["--cache-lru=64"], big),
        (["--cache-classic"], big),
        (["--cache-ram", "8", "16"], big),
        ([], small),
    ):
        assert agree([serve(started(argv, ram))], API).warnings == ()


def test_a_full_input_folder_is_a_warning(serve: Serve) -> None:
    def careless(_stats: dict[str, Any], nodes: dict[str, Any]) -> None:
        nodes["Paint"]["input"]["required"]["method"][1]["image_upload"] = True
        nodes["Paint"]["input"]["required"]["method"][0] += [f"{n}.png" for n in range(MANY_FILES)]

    server = serve(careless)
    (files,) = agree([server], API).warnings
    assert f"Paint lists {MANY_FILES + 2} files" in files


def test_weights_of_unknown_content_are_a_warning(serve: Serve) -> None:
    (line,) = agree([serve(weights={"owner/pipeline": None})], API).warnings
    assert "owner/pipeline is in none of its model folders: rows name it without a hash" in line


def test_unlike_machines_are_a_warning(serve: Serve) -> None:
    def laptop(stats: dict[str, Any], _nodes: dict[str, Any]) -> None:
        stats["system"]["pytorch_version"] = "2.9.0+cpu"
        stats["devices"] = [{"name": "cpu", "type": "cpu"}]

    first, odd = serve(), serve(laptop)
    torch, device = agree([first, odd], API).warnings
    assert torch == f"{odd.url}: has torch 2.9.0+cpu, {first.url} has 2.14.1: pixels may differ slightly"
    assert device == f"{odd.url}: computes on cpu, {first.url} on cuda"
    assert check_join(odd, agree([first], API)) == (torch, device)


def test_a_picture_that_one_server_lacks(serve: Serve, object_info: dict[str, Any]) -> None:
    """Also of one that comes later. What the list has is there; below the folder's top nothing is listed."""
    object_info["LoadImage"] = {
        "input": {"required": {"image": [["listed.png"], {"image_upload": True}]}},
        "output": ["IMAGE", "MASK"],
    }
    api = copy.deepcopy(API) | {
        "5": {"class_type": "LoadImage", "inputs": {"image": "listed.png"}},
        "6": {"class_type": "LoadImage", "inputs": {"image": "sub/deep.png [output]"}, "_meta": {"title": "A texture"}},
    }
    has, lacks = serve(files=("/view?filename=deep.png&subfolder=sub&type=output",)), serve()
    said = (
        f"{lacks.url}: A texture #6: image 'sub/deep.png [output]' is not in the server's output folder: upload it there, "
        "or pick another and save the workflow; mend this there"
    )
    with pytest.raises(RunError) as both:
        agree([has, lacks], api)
    assert str(both.value).startswith(said)
    agreement = agree([has], api)
    with pytest.raises(RunError) as later:
        check_join(lacks, agreement)
    assert str(later.value).startswith(said)
