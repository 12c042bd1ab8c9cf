"""Blueprints as an artist places them: each comes with the values that its nodes hold, and runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

if TYPE_CHECKING:
    from conftest import Frontend

BLUEPRINTS = sorted((Path(__file__).resolve().parents[2] / "subgraphs").glob("*.json"))
WORKFLOWS = sorted((Path(__file__).resolve().parents[2] / "workflows").glob("*.json"))
every_blueprint = pytest.mark.parametrize("path", BLUEPRINTS, ids=lambda path: path.stem)


def place(frontend: Frontend, name: str) -> None:
    """Puts a blueprint on an empty canvas, by what the page does when an artist picks it from the node library."""
    frontend.open({"nodes": [], "links": [], "version": 0.4})
    frontend.page.evaluate(PLACE, name)


PLACE = """(name) => {
    const page = document.querySelector('#vue-app').__vue_app__;
    const library = page.config.globalProperties.$pinia._s.get('subgraph');
    const entry = library.subgraphBlueprints.find((one) => one.display_name === name);
    const { nodes, definitions } = library.getBlueprint(entry.name);
    app.canvas._deserializeItems({ nodes, subgraphs: definitions.subgraphs }, { position: [0, 0] });
}"""


def values(node: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in node["inputs"].items() if not isinstance(value, list)}


def inside(path: Path) -> list[dict[str, Any]]:
    """The nodes of a blueprint, as if each stood alone."""
    [definition] = json.loads(path.read_text(encoding="utf-8"))["definitions"]["subgraphs"]
    for node in definition["nodes"]:
        for one in node["inputs"]:
            one["link"] = None
        for one in node["outputs"]:
            one["links"] = []
    return list(definition["nodes"])


@every_blueprint
def test_it_is_found_with_a_category_and_says_what_it_does(frontend: Frontend, path: Path) -> None:
    assert path.stem in [entry["name"] for entry in frontend.get("/global_subgraphs").values()]
    [definition] = json.loads(path.read_text(encoding="utf-8"))["definitions"]["subgraphs"]
    assert definition["category"] == "editpairs"
    assert definition["description"].endswith(".")


@every_blueprint
def test_it_submits_the_values_that_its_nodes_hold(frontend: Frontend, path: Path) -> None:
    place(frontend, path.stem)
    placed = {number.split(":")[-1]: node for number, node in frontend.prompt().items()}
    frontend.open({"nodes": inside(path), "links": [], "version": 0.4})
    alone = frontend.prompt()
    assert placed.keys() == alone.keys() and placed
    for number, node in placed.items():
        held = values(alone[number])
        assert values(node) == {name: held[name] for name in values(node)}, node["class_type"]


@pytest.mark.parametrize("path", [*BLUEPRINTS, *WORKFLOWS], ids=lambda path: path.stem)
def test_every_widget_holds_a_value_of_its_kind(frontend: Frontend, path: Path) -> None:
    """Also those of nodes that are muted or bypassed, which no server has looked at. A list that slipped by one shows."""
    graph = json.loads(path.read_text(encoding="utf-8"))
    nodes = inside(path) if path in BLUEPRINTS else graph["nodes"]
    links = [] if path in BLUEPRINTS else graph["links"]
    frontend.open({"nodes": [{**node, "mode": 0} for node in nodes], "links": links, "version": 0.4})
    known = frontend.get("/object_info")
    kinds = {"INT": int, "FLOAT": (int, float), "STRING": str, "BOOLEAN": bool}
    for node in frontend.prompt().values():
        specs = known[node["class_type"]]["input"]
        for name, (kind, *more) in {**specs.get("required", {}), **specs.get("optional", {})}.items():
            value = values(node).get(name)
            if value is None or not isinstance(kind, str) or kind not in kinds:
                continue
            place_of = f"{node['class_type']}.{name}: {value!r}"
            assert isinstance(value, kinds[kind]), place_of
            limits = more[0] if more else {}
            if kind in ("INT", "FLOAT"):
                assert limits.get("min", value) <= value <= limits.get("max", value), place_of


def test_blend_an_edit_keeps_the_photo_outside_the_mask(frontend: Frontend, tmp_path: Path) -> None:
    """Wired by its sockets and run."""
    photo = np.random.default_rng(0).integers(60, 200, (48, 64, 3)).astype(np.uint8)
    photo[16:32, 16:40] = 90
    edited = photo.copy()
    edited[16:32, 16:40] = (200, 30, 30)
    edited = np.clip(edited.astype(int) + 6, 0, 255).astype(np.uint8)
    mask = np.zeros((48, 64, 3), np.uint8)
    mask[16:32, 16:40] = 255
    for name, pixels in (("photo", photo), ("edited", edited), ("mask", mask)):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
        frontend.upload(f"blend-{name}.png", (tmp_path / f"{name}.png").read_bytes())
    place(frontend, "Blend an Edit (EditPairs)")
    frontend.page.evaluate(WIRE_BLEND)
    [shown] = [found["images"][0] for found in frontend.run().values() if "images" in found]
    address = f"/view?filename={shown['filename']}&subfolder={shown['subfolder']}&type={shown['type']}"
    (tmp_path / "result.png").write_bytes(frontend.page.request.get(frontend.url + address).body())
    with Image.open(tmp_path / "result.png") as opened:
        result = np.asarray(opened.convert("RGB"))
    outside = np.ones((48, 64), bool)
    outside[12:36, 12:44] = False
    assert np.array_equal(result[outside], photo[outside]), "the drift is taken back outside the mask"
    assert (np.abs(result[20:28, 20:36].astype(int) - edited[20:28, 20:36]) < 25).all(), "the edit stands inside it"
    assert (result[20:28, 20:36] != photo[20:28, 20:36]).any()


WIRE_BLEND = """() => {
    const blend = app.graph.nodes[0];
    const add = (type, value) => {
        const node = LiteGraph.createNode(type);
        app.graph.add(node);
        if (value) node.widgets[0].value = value;
        return node;
    };
    const slot = (name) => blend.inputs.findIndex((one) => one.name === name);
    add('LoadImage', 'blend-edited.png').connect(0, blend, slot('edited'));
    add('LoadImage', 'blend-photo.png').connect(0, blend, slot('source'));
    const toMask = add('ImageToMask');
    add('LoadImage', 'blend-mask.png').connect(0, toMask, 0);
    toMask.connect(0, blend, slot('mask'));
    blend.connect(0, add('PreviewImage'), 0);
}"""
