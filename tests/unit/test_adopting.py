"""Graphs that people have become batchable: what is found in them, what is asked, what is refused, what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from driver.artists.adopt import adopt, adopt_file, look_at, read_answers
from driver.errors import RunError
from driver.graph.api import Api
from driver.graph.bound import BatchGraph
from driver.graph.file import WorkflowFile
from driver.graph.saved import Origin
from driver.graph.ui import UiGraph

SEED: list[Any] = ["INT", {"default": 0, "control_after_generate": True}]
TEXT: list[Any] = ["STRING", {"multiline": True, "default": ""}]
PHOTO: list[Any] = [["a.png", "b.png"], {"image_upload": True}]


def node(inputs: dict[str, Any], *outputs: str, sink: bool = False, names: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "input": {"required": inputs},
        "input_order": {"required": list(inputs)},
        "output": list(outputs),
        "output_name": list(names or outputs),
        "output_node": sink,
    }


SAMPLER = {"model": ["MODEL"], "seed": SEED, "steps": ["INT", {"default": 20}], "positive": ["CONDITIONING"],
           "negative": ["CONDITIONING"], "latent_image": ["LATENT"]}  # fmt: skip
PAIRED = {"positive": ["CONDITIONING"], "negative": ["CONDITIONING"], "pixels": ["IMAGE"]}
CORE = {
    "LoadImage": node({"image": PHOTO}, "IMAGE", "MASK"),
    "LoadImageMask": node({"image": PHOTO, "channel": [["alpha", "red"], {}]}, "MASK"),
    "Loader": node({}, "MODEL", "CLIP", "VAE"),
    "CLIPTextEncode": node({"clip": ["CLIP"], "text": TEXT}, "CONDITIONING"),
    "ReferenceLatent": node({"conditioning": ["CONDITIONING"], "latent": ["LATENT"]}, "CONDITIONING"),
    "InstructPixToPixConditioning": node(
        PAIRED, "CONDITIONING", "CONDITIONING", "LATENT", names=("positive", "negative", "latent")
    ),
    "VAEEncode": node({"pixels": ["IMAGE"], "vae": ["VAE"]}, "LATENT"),
    "SetLatentNoiseMask": node({"samples": ["LATENT"], "mask": ["MASK"]}, "LATENT"),
    "VAEDecode": node({"samples": ["LATENT"], "vae": ["VAE"]}, "IMAGE"),
    "KSampler": node(SAMPLER, "LATENT"),
    "PrimitiveInt": node({"value": SEED}, "INT"),
    "PrimitiveString": node({"value": ["STRING", {}]}, "STRING"),
    "ImageStitch": node({"image1": ["IMAGE"], "image2": ["IMAGE"]}, "IMAGE"),
    "ImageScaleToTotalPixels": node({"image": ["IMAGE"], "megapixels": ["FLOAT", {"default": 1.0}]}, "IMAGE"),
    "ImageScale": node(
        {"image": ["IMAGE"], "upscale_method": [["lanczos"], {}], "width": ["INT", {}], "height": ["INT", {}],
         "crop": [["center"], {}]},
        "IMAGE",
    ),
    "GetImageSize": node({"image": ["IMAGE"]}, "INT", "INT", "INT"),
    "ImageInvert": node({"image": ["IMAGE"]}, "IMAGE"),
    "JoinImageWithAlpha": node({"image": ["IMAGE"], "alpha": ["MASK"]}, "IMAGE"),
    "SplitImageWithAlpha": node({"image": ["IMAGE"]}, "IMAGE", "MASK"),
    "InvertMask": node({"mask": ["MASK"]}, "MASK"),
    "FindSubject": node({"image": ["IMAGE"]}, "MASK"),
    "FluxEraseNode": node({"image": ["IMAGE"], "mask": ["MASK"]}, "IMAGE"),
    "EmptyImage": node({"width": ["INT", {}], "height": ["INT", {}], "color": ["INT", {}]}, "IMAGE"),
    "ImageCompositeMasked": node({"destination": ["IMAGE"], "source": ["IMAGE"], "mask": ["MASK"]}, "IMAGE"),
    "EditPairsBlendEdit": node(
        {"edited": ["IMAGE"], "source": ["IMAGE"], "mask": ["MASK"],
         "outside": ["COMBO", {"default": "the source", "options": ["the source", "the edit"]}]},
        "IMAGE", "MASK",
    ),
    "SaveImage": node({"images": ["IMAGE"], "filename_prefix": ["STRING", {}]}, sink=True),
    "PreviewImage": node({"images": ["IMAGE"]}, sink=True),
    "SaveVideo": node({"video": ["VIDEO"]}, sink=True),
    "CreateVideo": node({"images": ["IMAGE"]}, "VIDEO"),
    "EditPairsLoadSecondImage": node(
        {"sample": ["EDITPAIRS_SAMPLE"], "image": ["COMBO", {"options": ["editpairs-samples/rocket.jpg"]}],
         "role": ["COMBO", {"options": ["reference", "frame2"]}]},
        "EDITPAIRS_SAMPLE", "IMAGE",
    ),
}  # fmt: skip


@pytest.fixture
def info(object_info: dict[str, Any]) -> dict[str, Any]:
    """The server's nodes: ours, and what editing graphs are made of."""
    ours = {name: {"output_node": name.startswith("EditPairsSave"), **one} for name, one in object_info.items()}
    task = ours["EditPairsLoadSample"]["input"]["required"]["task"][1]
    task["options"] = ["remove", "replace", "style", "instruct"]
    grown = {"template": {"input": {"optional": {"score": ["EDITPAIRS_SCORES", {}]}}, "prefix": "score"}}
    ours["EditPairsSavePair"]["input"]["optional"] |= {
        "region_mask": ["MASK"], "source": ["IMAGE"], "scores": ["COMFY_AUTOGROW_V3", grown],
    }  # fmt: skip
    return {**ours, **CORE}


class Drawn:
    """A UI graph as the page saves it, written down briefly."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.links: list[list[Any]] = []

    def add(self, class_type: str, values: list[Any] | None = None, mode: int = 0, **wired: tuple[int, int]) -> int:
        """Puts a node in, with inputs wired to (node, output)."""
        number = len(self.nodes) + 1
        inputs = []
        for slot, (name, (origin, output)) in enumerate(wired.items()):
            spec = CORE[class_type]["input"]["required"][name] if class_type in CORE else ["*"]
            kind = spec[0]
            link = [len(self.links) + 1, origin, output, number, slot, kind]
            self.links.append(link)
            widget = {"widget": {"name": name}} if kind in ("INT", "STRING") else {}
            inputs.append({"name": name, "type": kind, "link": link[0], **widget})
            made = self.nodes[origin - 1]["outputs"][output]
            made["links"] = [*(made["links"] or []), link[0]]
        outputs = [
            {"name": kind, "type": kind, "links": None} for kind in CORE.get(class_type, {}).get("output", ["IMAGE"])
        ]
        self.nodes.append(
            {"id": number, "type": class_type, "mode": mode, "pos": [100.0 * number, 0], "size": [90, 60], "flags": {},
             "order": number, "inputs": inputs, "outputs": outputs, "properties": {}, "widgets_values": values or []}
        )  # fmt: skip
        return number

    @property
    def ui(self) -> dict[str, Any]:
        counted = {"last_node_id": len(self.nodes), "last_link_id": len(self.links)}
        return {"nodes": self.nodes, "links": self.links, "version": 0.4, **counted}


def kontext(masked: bool = False) -> Drawn:
    """Photo, scaled; encoded as latent; words; sampler; saved. Node 1 loads the photo, 4 has the words, 9 saves."""
    drawn = Drawn()
    photo = drawn.add("LoadImage", ["a.png", "image"])
    loader = drawn.add("Loader")
    scaled = drawn.add("ImageScaleToTotalPixels", [1.0], image=(photo, 0))
    words = drawn.add("CLIPTextEncode", ["Make it winter."], clip=(loader, 1))
    against = drawn.add("CLIPTextEncode", ["blurry"], clip=(loader, 1))
    latent = drawn.add("VAEEncode", pixels=(scaled, 0), vae=(loader, 2))
    if masked:
        latent = drawn.add("SetLatentNoiseMask", samples=(latent, 0), mask=(photo, 1))
    sampled = drawn.add("KSampler", [7, "randomize", 20], model=(loader, 0), positive=(words, 0), negative=(against, 0),
                        latent_image=(latent, 0))  # fmt: skip
    decoded = drawn.add("VAEDecode", samples=(sampled, 0), vae=(loader, 2))
    drawn.add("SaveImage", ["out"], images=(decoded, 0))
    return drawn


def adopted(
    ui: dict[str, Any], info: dict[str, Any], choices: str = "", name: str = "theirs.json"
) -> tuple[Api, dict[str, str], tuple[str, ...]]:
    """The bound graph in API format, ids of its nodes by class, and what was said."""
    file = WorkflowFile(Path(name), "0" * 64, ui, None)
    found = adopt(file, info, read_answers(choices), None)
    assert found.missing == ""
    api = BatchGraph.bind(WorkflowFile(Path(name), "0" * 64, found.ui, None).to_api(info), info).api
    return api, {one["class_type"]: node_id for node_id, one in api.items()}, found.lines


class TestWiring:
    def test_photo_words_and_seed_come_from_the_sample(self, info: dict[str, Any]) -> None:
        api, by_class, lines = adopted(kontext().ui, info)
        load = by_class["EditPairsLoadSample"]
        assert "LoadImage" not in by_class
        assert api["3"]["inputs"]["image"] == [load, 1]
        assert (api["4"]["inputs"]["text"], api["5"]["inputs"]["text"]) == ([load, 5], "blurry")
        assert (
            api[by_class["KSampler"]]["inputs"] | {"seed": [load, 6], "steps": 20}
            == api[by_class["KSampler"]]["inputs"]
        )
        assert api[load]["inputs"]["task"] == "instruct"
        assert any("LoadImage #1 (task instruct)" in line for line in lines)

    def test_the_pair_is_the_scaled_photo_and_the_result_in_one_size(self, info: dict[str, Any]) -> None:
        api, by_class, _ = adopted(kontext().ui, info)
        edited, fitted = [by_class["VAEDecode"], 0], [by_class["ImageScale"], 0]
        save, verify = api[by_class["EditPairsSavePair"]]["inputs"], api[by_class["EditPairsVerifyPixels"]]["inputs"]
        assert (save["edited"], save["source"], save["scores.score0"]) == (
            edited,
            fitted,
            [by_class["EditPairsVerifyPixels"], 0],
        )
        assert (verify["source"], verify["edited"]) == (fitted, edited)
        scale, size = api[by_class["ImageScale"]]["inputs"], by_class["GetImageSize"]
        assert (scale["image"], scale["width"], scale["height"]) == (["3", 0], [size, 0], [size, 1])
        assert api[size]["inputs"]["image"] == edited

    def test_a_painted_mask_becomes_the_samples(self, info: dict[str, Any]) -> None:
        api, by_class, _ = adopted(kontext(masked=True).ui, info)
        assert api[by_class["SetLatentNoiseMask"]]["inputs"]["mask"] == [by_class["EditPairsLoadSample"], 2]
        assert api[by_class["EditPairsLoadSample"]]["inputs"]["task"] == "replace"

    def test_a_mask_file_becomes_the_samples(self, info: dict[str, Any]) -> None:
        drawn = kontext(masked=True)
        mask = drawn.add("LoadImageMask", ["m.png", "red", "image"])
        drawn.links[drawn.nodes[6]["inputs"][1]["link"] - 1][1:3] = [mask, 0]
        api, by_class, _ = adopted(drawn.ui, info)
        assert api[by_class["SetLatentNoiseMask"]]["inputs"]["mask"] == [by_class["EditPairsLoadSample"], 2]
        assert "LoadImageMask" not in by_class

    def test_their_sink_stays_and_is_left_out(self, info: dict[str, Any]) -> None:
        file = WorkflowFile(Path("theirs.json"), "0" * 64, kontext().ui, None)
        ui = adopt(file, info, {}, None).ui
        bound = BatchGraph.bind(WorkflowFile(file.path, "0" * 64, ui, None).to_api(info), info)
        assert bound.left_out == ("SaveImage #9",)

    def test_words_that_a_node_of_their_own_holds(self, info: dict[str, Any]) -> None:
        drawn = kontext()
        words = drawn.add("PrimitiveString", ["Make it winter."])
        drawn.links.append([99, words, 0, 4, 1, "STRING"])
        drawn.nodes[3]["inputs"].append({"name": "text", "type": "STRING", "widget": {"name": "text"}, "link": 99})
        drawn.nodes[words - 1]["outputs"][0]["links"] = [99]
        api, by_class, _ = adopted(drawn.ui, info)
        assert api[by_class["PrimitiveString"]]["inputs"]["value"] == [by_class["EditPairsLoadSample"], 5]
        assert api["4"]["inputs"]["text"] == [by_class["PrimitiveString"], 0]

    def test_conditioning_that_carries_both_words_is_followed_by_name(self, info: dict[str, Any]) -> None:
        drawn = kontext()
        both = drawn.add("InstructPixToPixConditioning", negative=(5, 0), positive=(4, 0), pixels=(3, 0))
        for slot in (1, 2):
            drawn.links[drawn.nodes[6]["inputs"][slot]["link"] - 1][1:3] = [both, slot - 1]
        api, by_class, _ = adopted(drawn.ui, info)
        assert (api["4"]["inputs"]["text"], api["5"]["inputs"]["text"]) == (
            [by_class["EditPairsLoadSample"], 5],
            "blurry",
        )

    def test_a_count_that_shows_a_control_is_no_seed(self, info: dict[str, Any]) -> None:
        """Primitive Int is flagged like a seed, whatever it holds."""
        drawn = kontext()
        steps, seed = drawn.add("PrimitiveInt", [20, "fixed"]), drawn.add("PrimitiveInt", [5, "randomize"])
        for origin, name in ((steps, "steps"), (seed, "seed")):
            number = len(drawn.links) + 1
            drawn.links.append([number, origin, 0, 7, len(drawn.nodes[6]["inputs"]), "INT"])
            drawn.nodes[6]["inputs"].append({"name": name, "type": "INT", "widget": {"name": name}, "link": number})
            drawn.nodes[origin - 1]["outputs"][0]["links"] = [number]
        api, by_class, _ = adopted(drawn.ui, info)
        assert api[str(steps)]["inputs"]["value"] == 20
        assert api[str(seed)]["inputs"]["value"] == [by_class["EditPairsLoadSample"], 6]

    def test_a_graph_without_words_still_makes_pairs(self, info: dict[str, Any]) -> None:
        drawn = Drawn()
        drawn.add(
            "SaveImage",
            ["out"],
            images=(drawn.add("ImageInvert", image=(drawn.add("LoadImage", ["a.png", "image"]), 0)), 0),
        )
        api, by_class, lines = adopted(drawn.ui, info)
        assert api[by_class["ImageInvert"]]["inputs"]["image"] == [by_class["EditPairsLoadSample"], 1]
        assert "instruction: no node takes words; it goes into the dataset only" in lines

    def test_texts_that_nodes_showed_are_no_harm(self, info: dict[str, Any]) -> None:
        """Get Image Size saves what it showed; comfy-cli has no place for that."""
        drawn = kontext()
        drawn.add("GetImageSize", ["width: 10, height: 6"], image=(1, 0))
        adopted(drawn.ui, info)

    def test_links_written_as_objects(self, info: dict[str, Any]) -> None:
        """Version 1 of the format."""
        ui = kontext().ui
        names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
        ui["links"] = [dict(zip(names, link, strict=True)) for link in ui["links"]]
        ui |= {"version": 1, "state": {"lastNodeId": ui.pop("last_node_id"), "lastLinkId": ui.pop("last_link_id")}}
        graph = UiGraph(ui)
        added = graph.add({"type": "LoadImage", "inputs": [], "outputs": [{"name": "IMAGE", "type": "IMAGE"}]})
        graph.wire(Origin(8, 0), ("3",), "image", "IMAGE", False)
        assert added == 10
        assert graph.ui["links"][-1] == dict(zip(names, (len(ui["links"]) + 1, 8, 0, 3, 0, "IMAGE"), strict=True))
        assert graph.ui["state"] == {"lastNodeId": 10, "lastLinkId": len(ui["links"]) + 1}


def in_subgraph(promoted: bool) -> dict[str, Any]:
    """The graph of `kontext` with all but the photo and the sink in a subgraph, of which words may be an input."""
    drawn = kontext()
    inner = [one for one in drawn.nodes if one["id"] not in (1, 9)]
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    links = [dict(zip(names, one, strict=True)) for one in drawn.links]
    for link in links:
        link["origin_id"] = -10 if link["origin_id"] == 1 else link["origin_id"]
        link["target_id"] = -20 if link["target_id"] == 9 else link["target_id"]
    inputs = [
        {
            "id": "i0",
            "name": "image",
            "type": "IMAGE",
            "linkIds": [one["id"] for one in links if one["origin_id"] == -10],
        }
    ]
    if promoted:
        links.append(dict(zip(names, (50, -10, 1, 4, 1, "STRING"), strict=True)))
        inner[2]["inputs"].append({"name": "text", "type": "STRING", "widget": {"name": "text"}, "link": 50})
        inputs.append({"id": "i1", "name": "prompt", "type": "STRING", "linkIds": [50]})
    outputs = [
        {
            "id": "o0",
            "name": "IMAGE",
            "type": "IMAGE",
            "linkIds": [one["id"] for one in links if one["target_id"] == -20],
        }
    ]
    name = "11111111-2222-3333-4444-555555555555"
    definition = {"id": name, "name": "Edit", "inputNode": {"id": -10, "bounding": [0, 0, 10, 10]}, "outputNode": {"id": -20},
                  "inputs": inputs, "outputs": outputs, "nodes": inner, "links": links, "widgets": [], "groups": [],
                  "state": {"lastNodeId": 9, "lastLinkId": 50}}  # fmt: skip
    photo = {
        **drawn.nodes[0],
        "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [1]}, {"name": "MASK", "type": "MASK"}],
    }
    edit = {"id": 20, "type": name, "mode": 0, "pos": [0, 0], "size": [9, 9], "widgets_values": [],
            "inputs": [{"name": "image", "type": "IMAGE", "link": 1}],
            "outputs": [{"name": "IMAGE", "type": "IMAGE", "links": [2]}]}  # fmt: skip
    save = {**drawn.nodes[8], "inputs": [{"name": "images", "type": "IMAGE", "link": 2}]}
    wires = [[1, 1, 0, 20, 0, "IMAGE"], [2, 20, 0, 9, 0, "IMAGE"]]
    return {"nodes": [photo, edit, save], "links": wires, "definitions": {"subgraphs": [definition]}, "version": 0.4,
            "last_node_id": 20, "last_link_id": 50}  # fmt: skip


class TestSubgraphs:
    @pytest.mark.parametrize("promoted", [True, False], ids=["words are an input", "words are inside"])
    def test_words_and_seed_go_in_through_inputs(self, promoted: bool, info: dict[str, Any]) -> None:
        api, by_class, _ = adopted(in_subgraph(promoted), info)
        load = by_class["EditPairsLoadSample"]
        assert api["20:3"]["inputs"]["image"] == [load, 1]
        assert (api["20:4"]["inputs"]["text"], api["20:7"]["inputs"]["seed"]) == ([load, 5], [load, 6])
        assert api["20:5"]["inputs"]["text"] == "blurry"

    def test_an_input_that_is_there_is_used(self, info: dict[str, Any]) -> None:
        file = WorkflowFile(Path("theirs.json"), "0" * 64, in_subgraph(promoted=True), None)
        definition = adopt(file, info, {}, None).ui["definitions"]["subgraphs"][0]
        assert [one["name"] for one in definition["inputs"]] == ["image", "prompt", "seed"]

    def test_a_photo_inside(self, info: dict[str, Any]) -> None:
        """The sample's picture goes in where the loader stood, which is gone."""
        api, by_class, _ = adopted(with_photo_inside(), info)
        assert "LoadImage" not in by_class
        assert api["20:3"]["inputs"]["image"] == [by_class["EditPairsLoadSample"], 1]
        assert api[by_class["EditPairsLoadSample"]]["inputs"]["image"] == "a.png"

    def test_a_result_inside(self, info: dict[str, Any]) -> None:
        """What SaveImage saves in a subgraph comes out of it through an output of its own."""
        ui = in_subgraph(promoted=True)
        inner = ui["definitions"]["subgraphs"][0]
        (out,) = [link for link in inner["links"] if link["target_id"] == -20]
        inner["nodes"].append({**ui["nodes"].pop(), "inputs": [{"name": "images", "type": "IMAGE", "link": out["id"]}]})
        out |= {"target_id": 9, "target_slot": 0}
        inner["outputs"], ui["links"] = [], ui["links"][:1]
        ui["nodes"][-1]["outputs"] = []
        api, by_class, lines = adopted(ui, info)
        assert api[by_class["EditPairsSavePair"]]["inputs"]["edited"] == ["20:8", 0]
        assert any(line.startswith("result: SaveImage #20:9") for line in lines)

    def test_a_copy_of_the_subgraph_keeps_its_own(self, info: dict[str, Any]) -> None:
        ui = with_photo_inside()
        ui["nodes"].append({**json.loads(json.dumps(ui["nodes"][0])), "id": 21, "outputs": []})
        found = adopt(WorkflowFile(Path("theirs.json"), "0" * 64, ui, None), info, read_answers("source=#20:30"), None)
        api = WorkflowFile(Path("theirs.json"), "0" * 64, found.ui, None).to_api(info)
        assert "20:30" not in api
        assert api["21:3"]["inputs"]["image"] == ["21:30", 0]
        assert api["21:4"]["inputs"]["text"] == "Make it winter."


def with_photo_inside() -> dict[str, Any]:
    """The graph of `in_subgraph` with its photo in the subgraph too, as 20:30."""
    ui = in_subgraph(promoted=True)
    inner = ui["definitions"]["subgraphs"][0]
    inner["nodes"].append({**ui["nodes"].pop(0), "id": 30})
    for link in inner["links"]:
        if (link["origin_id"], link["type"]) == (-10, "IMAGE"):
            link["origin_id"] = 30
    ui["links"].pop(0)
    ui["nodes"][0]["inputs"] = []
    return ui


def two_photos(sized: bool) -> Drawn:
    """A second picture that is stitched to the first, or only looked at."""
    drawn = kontext()
    second = drawn.add("LoadImage", ["b.png", "image"])
    if sized:
        stitched = drawn.add("ImageStitch", image1=(1, 0), image2=(second, 0))
        drawn.links[drawn.nodes[2]["inputs"][0]["link"] - 1][1:3] = [stitched, 0]
    else:
        latent = drawn.add("VAEEncode", pixels=(second, 0), vae=(2, 2))
        words = drawn.add("ReferenceLatent", conditioning=(4, 0), latent=(latent, 0))
        drawn.links[drawn.nodes[6]["inputs"][1]["link"] - 1][1:3] = [words, 0]
    return drawn


class TestMasks:
    def drawn(self, cut: bool) -> Drawn:
        """The photo inverted, with its own transparency or with that of a subject that is found in it."""
        drawn = Drawn()
        photo = drawn.add("LoadImage", ["a.png", "image"])
        inverted = drawn.add("ImageInvert", image=(photo, 0))
        found = drawn.add("FindSubject", image=(photo, 0)) if cut else photo
        alpha = drawn.add("InvertMask", mask=(found, 0 if cut else 1))
        drawn.add(
            "SaveImage", ["out"], images=(drawn.add("JoinImageWithAlpha", image=(inverted, 0), alpha=(alpha, 0)), 0)
        )
        return drawn

    def test_transparency_that_is_carried_along_is_no_mask(self, info: dict[str, Any]) -> None:
        api, by_class, _ = adopted(self.drawn(cut=False).ui, info)
        assert api[by_class["EditPairsLoadSample"]]["inputs"]["task"] == "instruct"
        assert not {"EditPairsBlendEdit", "ImageCompositeMasked"} & by_class.keys()

    def test_a_cut_out_is_shown_on_white_and_keeps_its_alpha(self, info: dict[str, Any]) -> None:
        api, by_class, lines = adopted(self.drawn(cut=True).ui, info)
        save, paste = api[by_class["EditPairsSavePair"]]["inputs"], api[by_class["ImageCompositeMasked"]]["inputs"]
        assert save["edited"] == [by_class["ImageCompositeMasked"], 0]
        assert paste["mask"] == save["region_mask"]
        assert api[save["region_mask"][0]]["inputs"]["mask"] == [by_class["SplitImageWithAlpha"], 1]
        assert api[by_class["EmptyImage"]]["inputs"]["color"] == 0xFFFFFF
        assert any("--choice task=extract" in line for line in lines)

    def test_an_eraser_removes(self, info: dict[str, Any]) -> None:
        drawn = Drawn()
        photo = drawn.add("LoadImage", ["a.png", "image"])
        drawn.add("SaveImage", ["out"], images=(drawn.add("FluxEraseNode", image=(photo, 0), mask=(photo, 1)), 0))
        api, by_class, _ = adopted(drawn.ui, info)
        assert api[by_class["EditPairsLoadSample"]]["inputs"]["task"] == "remove"

    def test_words_that_remove(self, info: dict[str, Any]) -> None:
        drawn = kontext(masked=True)
        drawn.nodes[3]["widgets_values"] = ["Remove the car."]
        api, by_class, _ = adopted(drawn.ui, info)
        assert api[by_class["EditPairsLoadSample"]]["inputs"]["task"] == "remove"

    def test_blend_edit_is_offered(self, info: dict[str, Any]) -> None:
        """It lets the result pass as it is until somebody says otherwise."""
        api, by_class, lines = adopted(kontext(masked=True).ui, info)
        blend = by_class["EditPairsBlendEdit"]
        assert api[blend]["inputs"]["outside"] == "the edit"
        assert api[blend]["inputs"]["edited"] == [by_class["VAEDecode"], 0]
        save = api[by_class["EditPairsSavePair"]]["inputs"]
        assert (save["edited"], save["edit_mask"]) == ([blend, 0], [blend, 1])
        assert any(f"--set '#{blend}.outside=the source'" in line for line in lines)


class TestKeeping:
    def test_picture_words_and_seed(self, info: dict[str, Any]) -> None:
        api, by_class, lines = adopted(kontext().ui, info)
        held = api[by_class["EditPairsLoadSample"]]["inputs"]
        assert (held["image"], held["instruction"], held["seed"]) == ("a.png", "Make it winter.", 7)
        assert "words: 'Make it winter.' hold for photos that bring none" in lines

    def test_a_seed_of_another_value_stays(self, info: dict[str, Any]) -> None:
        drawn = kontext()
        again = drawn.add(
            "KSampler", [9, "fixed", 4], model=(2, 0), positive=(4, 0), negative=(5, 0), latent_image=(7, 0)
        )
        drawn.links[drawn.nodes[7]["inputs"][0]["link"] - 1][1:3] = [again, 0]
        api, by_class, lines = adopted(drawn.ui, info)
        assert api["7"]["inputs"]["seed"] == [by_class["EditPairsLoadSample"], 6]
        assert api[str(again)]["inputs"]["seed"] == 9
        assert any(line.startswith(f"seeds of other values: KSampler #{again}.seed") for line in lines)

    def test_a_reference(self, info: dict[str, Any]) -> None:
        info["EditPairsLoadSecondImage"]["input"]["required"]["image"][1]["image_upload"] = True
        api, by_class, _ = adopted(two_photos(sized=False).ui, info)
        assert api[by_class["EditPairsLoadSecondImage"]]["inputs"]["image"] == "b.png"

    def test_our_nodes_lie_in_groups(self, info: dict[str, Any]) -> None:
        file = WorkflowFile(Path("theirs.json"), "0" * 64, kontext().ui, None)
        ui = adopt(file, info, {}, None).ui
        assert [one["title"] for one in ui["groups"]] == ["EditPairs: the sample", "EditPairs: the pair"]
        for node in (one for one in ui["nodes"] if one["id"] > 9):
            x, y = node["pos"]
            inside = [
                one for one in ui["groups"]
                if one["bounding"][0] < x and x + node["size"][0] < one["bounding"][0] + one["bounding"][2]
                and one["bounding"][1] < y and y + node["size"][1] < one["bounding"][1] + one["bounding"][3]
            ]  # fmt: skip
            assert len(inside) == 1, node["type"]

    def test_paid_nodes_are_named(self, info: dict[str, Any]) -> None:
        info["ImageScaleToTotalPixels"]["api_node"] = True
        _, _, lines = adopted(kontext().ui, info)
        (line,) = [line for line in lines if line.startswith("paid nodes: ImageScaleToTotalPixels #3")]
        assert "set COMFY_API_KEY" in line


class TestAsking:
    def test_the_picture_that_the_sampler_starts_from_is_the_source(self, info: dict[str, Any]) -> None:
        api, by_class, lines = adopted(two_photos(sized=False).ui, info)
        second = by_class["EditPairsLoadSecondImage"]
        assert api[second]["inputs"]["sample"] == [by_class["EditPairsLoadSample"], 0]
        assert api["11"]["inputs"]["pixels"] == [second, 1]
        assert api[by_class["EditPairsSavePair"]]["inputs"]["sample"] == [second, 0]
        assert any(line.startswith("reference: Load Second Image") for line in lines)

    def test_two_photos_that_count_the_same_are_asked_about(self, info: dict[str, Any]) -> None:
        ui = two_photos(sized=True).ui
        with pytest.raises(RunError, match=r"#1 LoadImage \('a.png'\); #10 LoadImage \('b.png'\).*--choice source=#1"):
            adopted(ui, info)
        api, by_class, _ = adopted(ui, info, "source=#10")
        assert api[by_class["ImageStitch"]]["inputs"] == {
            "image1": [by_class["EditPairsLoadSecondImage"], 1], "image2": [by_class["EditPairsLoadSample"], 1],
        }  # fmt: skip

    def test_a_wrong_answer_is_named(self, info: dict[str, Any]) -> None:
        with pytest.raises(RunError, match="#77 is none of them"):
            adopted(two_photos(sized=True).ui, info, "source=#77")

    def test_somebody_at_the_terminal_is_asked(self, info: dict[str, Any]) -> None:
        asked = []

        def answer(question: Any) -> str:
            asked.append((question.name, list(question.choices)))
            return "1"

        adopt(WorkflowFile(Path("theirs.json"), "0" * 64, two_photos(sized=True).ui, None), info, {}, answer)
        assert asked == [("source", ["1", "10"])]

    def test_two_results(self, info: dict[str, Any]) -> None:
        drawn = kontext()
        other = drawn.add("ImageInvert", image=(8, 0))
        drawn.add("SaveImage", ["inverted"], images=(other, 0))
        drawn.add("PreviewImage", images=(other, 0))
        with pytest.raises(RunError, match=r"which node saves .*#9 SaveImage \('out'\); #11 SaveImage \('inverted'\)"):
            adopted(drawn.ui, info)
        api, by_class, _ = adopted(drawn.ui, info, "result=11")
        assert api[by_class["EditPairsSavePair"]]["inputs"]["edited"] == ["10", 0]

    def test_a_control_picture_is_no_result(self, info: dict[str, Any]) -> None:
        drawn = kontext()
        drawn.add("SaveImage", ["edges"], images=(drawn.add("ImageInvert", image=(1, 0)), 0))
        _, _, lines = adopted(drawn.ui, info)
        assert any(line.startswith("result: SaveImage #9") for line in lines)

    def test_what_is_bypassed_is_not_asked_about(self, info: dict[str, Any]) -> None:
        drawn = kontext()
        other = drawn.add("ImageInvert", image=(8, 0))
        drawn.add("SaveImage", ["inverted"], mode=4, images=(other, 0))
        drawn.add("LoadImage", ["b.png", "image"], mode=4)
        adopted(drawn.ui, info)

    @pytest.mark.parametrize("choices", ["source", "photo=#1", "source=", "task=fly"])
    def test_answers_to_nothing(self, choices: str) -> None:
        with pytest.raises(RunError, match="--choice"):
            read_answers(choices)


@pytest.mark.parametrize("mode", [0, 2, 4])
@pytest.mark.parametrize("wired", [False, True])
def test_a_node_that_the_server_lacks_and_the_result_does_not_need(
    mode: int, wired: bool, info: dict[str, Any]
) -> None:
    """A bookmark, a note, a saver of somebody's: it stays in the file as it was."""
    drawn = kontext()
    number = drawn.add("Somebodys (pack)", ["1", 1, {"a": 1}], mode, **({"images": (8, 0)} if wired else {}))
    found = adopt(WorkflowFile(Path("theirs.json"), "0" * 64, drawn.ui, None), info, {}, None)
    said = f"left as it is: Somebodys (pack) #{number}, which the server lacks and the result does not need"
    assert (said in found.lines) == (mode == 0)
    assert found.missing == ""
    kept = next(one for one in found.ui["nodes"] if one["id"] == number)
    assert (kept["mode"], kept["widgets_values"]) == (mode, ["1", 1, {"a": 1}])


class TestRefusing:
    def refused(self, drawn: Drawn, info: dict[str, Any]) -> str:
        with pytest.raises(RunError) as error:
            adopted(drawn.ui, info)
        return str(error.value)

    def test_words_alone(self, info: dict[str, Any]) -> None:
        drawn = kontext()
        drawn.nodes[0]["mode"] = 2
        assert "loads no photo (it has no Load Image)" in self.refused(drawn, info)

    def test_a_video(self, info: dict[str, Any]) -> None:
        drawn = kontext()
        drawn.nodes[8]["mode"] = 2
        drawn.add("SaveVideo", video=(drawn.add("CreateVideo", images=(8, 0)), 0))
        assert "makes video, no edited picture" in self.refused(drawn, info)

    def test_a_photo_that_goes_nowhere(self, info: dict[str, Any]) -> None:
        drawn = Drawn()
        drawn.add("LoadImage", ["a.png", "image"])
        drawn.add("PreviewImage", images=(1, 0))
        assert "what it saves is no edit of the photo" in self.refused(drawn, info)

    def test_a_node_on_the_way_that_the_server_lacks(self, info: dict[str, Any]) -> None:
        drawn = kontext()
        number = drawn.add("SomebodysNode", [4, {"a": 1}], image=(8, 0))
        drawn.nodes[-1]["properties"] = {"cnr_id": "somebodys-pack"}
        drawn.links[next(i for i, one in enumerate(drawn.links) if one[3] == 9)][1:3] = [number, 0]
        said = f"SomebodysNode #{number}: the server has no such node; it comes from the pack somebodys-pack"
        assert said in self.refused(drawn, info)

    def test_a_loader_that_the_server_lacks(self, info: dict[str, Any]) -> None:
        drawn = kontext()
        drawn.nodes[0] |= {"type": "Load Image Batch", "properties": {"aux_id": "somebody/loaders"}}
        said = "Load Image Batch #1: the server has no such node; it comes from the pack somebody/loaders"
        assert said in self.refused(drawn, info)

    def test_a_graph_of_ours(self, info: dict[str, Any], tmp_path: Path) -> None:
        (tmp_path / "theirs.json").write_text(json.dumps(kontext().ui))
        adopt_file(tmp_path / "theirs.json", tmp_path / "ours.json", info)
        with pytest.raises(RunError, match="has EditPairsLoadSample #10 already; give it to --workflow"):
            adopt_file(tmp_path / "ours.json", tmp_path / "again.json", info)
        with pytest.raises(RunError, match="is the graph itself"):
            adopt_file(tmp_path / "theirs.json", tmp_path / "theirs.json", info)

    def test_words_that_are_drawn_at_each_run(self, info: dict[str, Any]) -> None:
        """Load Edit Sample draws nothing: moved there, they would reach the model with their braces."""
        info["CLIPTextEncode"]["input"]["required"]["text"] = ["STRING", {"multiline": True, "dynamicPrompts": True}]
        drawn = kontext()
        drawn.nodes[3]["widgets_values"] = ["Make it {winter|spring}."]
        with pytest.raises(
            RunError, match=r"#4: its words 'Make it \{winter\|spring\}\.' have alternatives.*leave one"
        ):
            adopted(drawn.ui, info)
        drawn.nodes[3]["widgets_values"], drawn.nodes[4]["widgets_values"] = ["Make it {winter}."], ["{dim|blurry}"]
        api, by_class, _ = adopted(drawn.ui, info)
        assert api[by_class["EditPairsLoadSample"]]["inputs"]["instruction"] == "Make it winter."
        assert api["5"]["inputs"]["text"] == "{dim|blurry}"

    def test_api_format(self, tmp_path: Path) -> None:
        path = tmp_path / "theirs.json"
        path.write_text(json.dumps({"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}))
        with pytest.raises(RunError, match="not in UI format"):
            look_at(path, tmp_path / "ours.json", "")


def test_what_the_server_lacks_is_said_and_the_file_is_written_all_the_same(
    info: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "theirs.json").write_text(json.dumps(kontext().ui))
    info["ImageScaleToTotalPixels"]["input"]["required"]["megapixels"][1]["max"] = 0.5
    found = adopt_file(tmp_path / "theirs.json", tmp_path / "new" / "ours.json", info)
    assert "megapixels 1.0 is not between" in found.missing
    assert json.loads((tmp_path / "new" / "ours.json").read_text()) == found.ui
