"""The Chinese texts against the nodes' own English ones: nothing missing, nothing left over, nothing out of date.

ComfyUI merges locales/*/nodeDefs.json of every pack into `GET /i18n`; its page falls back to the nodes' schemas, so
English needs no file. The page never translates option values, so the texts have to name them as they are.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

REPOSITORY = Path(__file__).resolve().parents[2]
LOCALES = REPOSITORY / "locales"

SAME_NAMES = {"bbox", "checkpoint", "clip", "sam2", "segs", "vlm"}
"""Sockets whose names are the same in Chinese, but for capitals."""
SYNTAX = set("{}@|")
"""What the page's translation library takes for syntax."""


class Text(NamedTuple):
    """One text, where it stands in nodeDefs.json, in both languages."""

    place: str
    english: str
    chinese: str


@pytest.fixture(scope="module")
def entries() -> dict[str, Any]:
    return json.loads((LOCALES / "zh" / "nodeDefs.json").read_text(encoding="utf-8"))


def inputs_of(info: dict[str, Any]) -> dict[str, Any]:
    return info["input"].get("required", {}) | info["input"].get("optional", {})


def texts(info: dict[str, Any], entry: dict[str, Any]) -> Iterator[Text]:
    """Every text of a node; an English name is the one that the page shows, which for an input is its id."""
    yield Text("display_name", info["display_name"], entry["display_name"])
    yield Text("description", info["description"], entry["description"])
    for name, spec in inputs_of(info).items():
        yield Text(f"inputs.{name}.name", name, entry["inputs"][name]["name"])
        yield Text(f"inputs.{name}.tooltip", spec[1]["tooltip"], entry["inputs"][name]["tooltip"])
    for place, (name, tooltip) in enumerate(zip(info["output_name"], info["output_tooltips"], strict=True)):
        output = entry["outputs"][str(place)]
        yield Text(f"outputs.{place}.name", name, output["name"])
        yield Text(f"outputs.{place}.tooltip", tooltip, output["tooltip"])


def is_sentence(text: Text) -> bool:
    return text.place.endswith(("description", "tooltip"))


def test_english_lives_in_the_nodes_alone() -> None:
    assert {path.relative_to(LOCALES).as_posix() for path in LOCALES.rglob("*.json")} == {"zh/nodeDefs.json"}


def test_the_nodes_are_the_packs(pack: Any, entries: dict[str, Any]) -> None:
    assert set(entries) == set(pack.nodes)


def test_an_entry_has_the_nodes_inputs_and_outputs(info: dict[str, Any], node_id: str, entries: dict[str, Any]) -> None:
    entry = entries[node_id]
    wanted = {"display_name", "description", "inputs"} | ({"outputs"} if info["output"] else set())
    assert set(entry) == wanted
    assert list(entry["inputs"]) == list(inputs_of(info))
    assert list(entry.get("outputs", {})) == [str(place) for place in range(len(info["output"]))]
    slots = (*entry["inputs"].values(), *entry.get("outputs", {}).values())
    assert all(set(slot) == {"name", "tooltip"} for slot in slots), "the page reads no options"


def test_every_text_is_chinese(info: dict[str, Any], node_id: str, entries: dict[str, Any]) -> None:
    for text in texts(info, entries[node_id]):
        if text.chinese.lower() != text.english.lower():
            assert re.search("[一-鿿]", text.chinese), text
        else:
            assert text.place.endswith("name") and text.english in SAME_NAMES, text
        assert text.chinese == text.chinese.strip()
        assert not SYNTAX & set(text.chinese), text


def test_sentences_end(info: dict[str, Any], node_id: str, entries: dict[str, Any]) -> None:
    for text in filter(is_sentence, texts(info, entries[node_id])):
        assert text.chinese.endswith(("。", '"')) or text.chinese[-2] == "。", text


def test_numbers_are_the_english_ones(info: dict[str, Any], node_id: str, entries: dict[str, Any]) -> None:
    """A threshold or a source's number that changes in the node has to change here."""
    for text in filter(is_sentence, texts(info, entries[node_id])):
        assert numbers(text.chinese) == numbers(text.english), text


def numbers(text: str) -> list[str]:
    return sorted(re.findall(r"\d+(?:[.,]\d+)*", text))


def test_options_are_named_as_they_are_chosen(info: dict[str, Any], node_id: str, entries: dict[str, Any]) -> None:
    for name, spec in inputs_of(info).items():
        known = [*spec[1].get("options", []), *(spec[1].get(key) for key in ("label_on", "label_off"))]
        english, chinese = spec[1]["tooltip"].lower(), entries[node_id]["inputs"][name]["tooltip"].lower()
        explained = [str(one).lower() for one in known if one and explains(english, str(one).lower())]
        assert [one for one in explained if one not in chinese] == [], name


def explains(tooltip: str, option: str) -> bool:
    """Whether the tooltip says what the option does: `option: …`."""
    return re.search(rf"(?<!\w){re.escape(option)}:", tooltip) is not None


def test_nodes_are_called_by_their_chinese_names(
    pack: Any, info: dict[str, Any], node_id: str, entries: dict[str, Any]
) -> None:
    names = {node.GET_SCHEMA().display_name: entries[other]["display_name"] for other, node in pack.nodes.items()}
    longest_first = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))
    for text in filter(is_sentence, texts(info, entries[node_id])):
        called = [names[english] for english in longest_first.findall(text.english)]
        assert [name for name in called if f"“{name}”" not in text.chinese] == [], text


def test_chinese_display_names_differ(entries: dict[str, Any]) -> None:
    names = [entry["display_name"] for entry in entries.values()]
    assert len(set(names)) == len(names)


def test_comfyui_serves_them(comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through ComfyUI's own route, from a custom_nodes folder that holds the pack under another name."""
    import folder_paths
    from app.custom_node_manager import CustomNodeManager

    (tmp_path / "renamed").symlink_to(REPOSITORY, target_is_directory=True)
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "custom_nodes", ([str(tmp_path)], set()))

    async def served() -> Any:
        application, routes = web.Application(), web.RouteTableDef()
        CustomNodeManager().add_routes(routes, application, [])
        application.add_routes(routes)
        async with TestClient(TestServer(application)) as client:
            return await (await client.get("/i18n")).json()

    with ThreadPoolExecutor(1) as thread:  # Playwright leaves a loop running in this one
        translations = thread.submit(asyncio.run, served()).result()
    assert translations == {"zh": {"nodeDefs": json.loads((LOCALES / "zh" / "nodeDefs.json").read_text("utf-8"))}}
