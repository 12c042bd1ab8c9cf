"""Several samples in one prompt: what is copied, what is shared, and where gates stand."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest

from driver.graph.api import Api, ancestors, is_link
from driver.graph.bound import BatchGraph
from driver.graph.packs import GATE, Filling, Packer, dependent, slot_of, slotted, stages

GB = 10**9


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


@pytest.fixture
def info() -> dict[str, Any]:
    """What a server says of the nodes in these graphs."""

    def of(*outputs: str, api_node: bool = False, seed: bool = False) -> dict[str, Any]:
        flagged = {"noise_seed": ["INT", {"control_after_generate": True}]} if seed else {}
        return {"input": {"required": flagged}, "output": list(outputs), "api_node": api_node}

    return {
        "EditPairsLoadSample": of("EDITPAIRS_SAMPLE", "IMAGE", "MASK"),
        "EditPairsSavePair": of(),
        "LoadModel": of("MODEL"),
        "Patch": of("MODEL"),
        "Encode": of("CONDITIONING"),
        "Edit": of("IMAGE"),
        "Noise": of("NOISE", seed=True),
        "Ask": of("STRING", api_node=True),
        "Write": of("STRING"),
        "EditPairsLoadVlmEndpoint": of("EDITPAIRS_VLM"),
        "EditPairsGatePack": of("*"),
        "EditPairsChooseOperation": of("EDITPAIRS_SAMPLE", "IMAGE", "IMAGE", "MASK"),
    }


def bound(api: Api, info: dict[str, Any]) -> BatchGraph:
    for one in api.values():
        if one["class_type"] == "EditPairsLoadSample":
            one["inputs"].setdefault("task", "remove")
    return BatchGraph.bind(api, info)


@pytest.fixture
def three_models(info: dict[str, Any]) -> BatchGraph:
    """Three edits in a row, each with a model of its own; the second one's is patched."""
    api = {
        "1": node("EditPairsLoadSample"),
        "a": node("LoadModel", name="a.safetensors"),
        "b": node("LoadModel", name="b.safetensors"),
        "p": node("Patch", model=["b", 0], strength=1),
        "c": node("LoadModel", name="c.safetensors"),
        "2": node("Edit", image=["1", 1], model=["a", 0]),
        "3": node("Edit", image=["2", 0], model=["p", 0]),
        "4": node("Edit", image=["3", 0], model=["c", 0]),
        "5": node("EditPairsSavePair", sample=["1", 0], edited=["4", 0]),
    }
    return bound(api, info)


SIZES = {"a.safetensors": 8 * GB, "b.safetensors": 8 * GB, "c.safetensors": 8 * GB}


def fillings(count: int) -> list[Filling]:
    return [Filling({"image": f"{i}.png", "annotation": "{}"}, seed=i, folder=f"out/{i}") for i in range(count)]


def test_a_single_sample_keeps_the_graph_as_it_is(three_models: BatchGraph, info: dict[str, Any]) -> None:
    prompt = Packer(three_models, info, {}, 0).prompt(fillings(1))
    assert prompt.keys() == three_models.api.keys()
    assert prompt["1"]["inputs"]["image"] == "0.png"


@pytest.mark.parametrize("count", [1, 3])
def test_the_graph_stays_as_it_is_whatever_is_filled_in(
    three_models: BatchGraph, info: dict[str, Any], count: int
) -> None:
    before = copy.deepcopy(three_models.api)
    packer = Packer(three_models, info, SIZES, 10 * GB)
    first = packer.prompt(fillings(count))
    kept = copy.deepcopy(first)
    packer.prompt([Filling({"image": "other.png"}, seed=7, folder="other")] * count)
    assert (three_models.api, first) == (before, kept)


def test_what_depends_on_the_sample_is_copied_and_the_rest_shared(
    three_models: BatchGraph, info: dict[str, Any]
) -> None:
    prompt = Packer(three_models, info, {}, 0).prompt(fillings(3))
    assert prompt.keys() == {"a", "b", "c", "p"} | {slotted(slot, one) for slot in range(3) for one in "12345"}
    for slot in range(3):
        source, sink = prompt[slotted(slot, "1")]["inputs"], prompt[slotted(slot, "5")]["inputs"]
        assert (source["image"], source["seed"], sink["folder"]) == (f"{slot}.png", slot, f"out/{slot}")
        assert prompt[slotted(slot, "3")]["inputs"] == {"image": [slotted(slot, "2"), 0], "model": ["p", 0]}


def test_samples_never_reach_each_other(three_models: BatchGraph, info: dict[str, Any]) -> None:
    prompt = Packer(three_models, info, {}, 0).prompt(fillings(3))
    for slot in range(3):
        reached = {slot_of(one) for one in ancestors(prompt, slotted(slot, "5"))}
        assert reached == {slot, None}


def test_a_free_seed_makes_its_node_the_samples_own(info: dict[str, Any]) -> None:
    api = {
        "1": node("EditPairsLoadSample"),
        "n": node("Noise", noise_seed=3),
        "m": node("LoadModel", name="a.safetensors"),
        "2": node("Edit", image=["1", 1], noise=["n", 0], model=["m", 0]),
        "5": node("EditPairsSavePair", sample=["1", 0], edited=["2", 0]),
    }
    graph = bound(api, info)
    prompt = Packer(graph, info, {}, 0).prompt(fillings(2))
    assert [prompt[slotted(slot, "n")]["inputs"]["noise_seed"] for slot in range(2)] == [0, 1]
    assert dependent(graph) == {"1", "n", "2", "5"}


def test_slots_are_read_back_from_ids() -> None:
    assert slot_of(slotted(12, "30:4")) == 12
    assert slot_of(slotted(3, "7") + ".0.1") == 3  # a node that a node expanded into
    assert [slot_of(one) for one in ("30:4", "s3", "gate1-all0", "gate1-0-5", "sx/4", "")] == [None] * 6


@pytest.mark.parametrize("count", [1, 2])
def test_a_sink_that_ran_is_told_by_its_place_alone(three_models: BatchGraph, info: dict[str, Any], count: int) -> None:
    """Whoever takes a prompt over knows the samples in it that have no end yet, not how many there were."""
    packer = Packer(three_models, info, {}, 0)
    ran = packer.prompt(fillings(count)).keys()
    assert all(packer.sink_ran(slot, ran) for slot in range(count))
    assert not packer.sink_ran(0, {slotted(1, "5"), "1"})


@pytest.mark.parametrize(("memory", "gated"), [(30 * GB, False), (20 * GB, True)])
def test_gates_stand_only_where_models_do_not_fit_together(
    three_models: BatchGraph, info: dict[str, Any], memory: int, gated: bool
) -> None:
    packer = Packer(three_models, info, SIZES, memory)
    prompt = packer.prompt(fillings(2))
    assert packer.gains == gated
    assert any(one["class_type"] == GATE for one in prompt.values()) == gated


@pytest.mark.parametrize("count", [2, 16, 150])
def test_no_sample_enters_a_stage_before_all_have_left_the_one_before(
    three_models: BatchGraph, info: dict[str, Any], count: int
) -> None:
    prompt = Packer(three_models, info, SIZES, 20 * GB).prompt(fillings(count))
    for stage, before in (("3", "2"), ("4", "3")):
        everybody = {slotted(slot, before) for slot in range(count)}
        for slot in range(count):
            assert everybody <= ancestors(prompt, slotted(slot, stage)), (stage, slot)
    for one in prompt.values():
        assert sum(name.startswith("after.") for name in one["inputs"]) <= 100
        assert all(value[0] in prompt for value in one["inputs"].values() if is_link(value))
    # Still each sample's own picture.
    for slot in range(count):
        gate = prompt[prompt[slotted(slot, "3")]["inputs"]["image"][0]]
        assert gate["class_type"] == GATE
        assert gate["inputs"]["value"] == [slotted(slot, "2"), 0]


def test_what_a_model_made_before_needs_it_no_more(info: dict[str, Any]) -> None:
    """Conditioning from a shared encoder is data: the edit does not need the encoder in memory."""
    api = {
        "1": node("EditPairsLoadSample"),
        "c": node("LoadModel", name="clip"),
        "e": node("Encode", clip=["c", 0], text="x"),
        "m": node("LoadModel", name="flux"),
        "2": node("Edit", image=["1", 1], positive=["e", 0], model=["m", 0]),
        "5": node("EditPairsSavePair", sample=["1", 0], edited=["2", 0]),
    }
    graph = bound(api, info)
    found = stages(graph.api, dependent(graph), info, {"clip": GB, "flux": 2 * GB})
    assert (found.heavy, found.bytes, set(found.levels.values())) == ({"2"}, 0, {0})


def test_models_side_by_side_become_stages_too(info: dict[str, Any]) -> None:
    api = {
        "1": node("EditPairsLoadSample"),
        "a": node("LoadModel", name="a"),
        "b": node("LoadModel", name="b"),
        "2": node("Edit", image=["1", 1], model=["a", 0]),
        "3": node("Edit", image=["1", 1], model=["b", 0]),
        "4": node("Edit", image=["2", 0], mask=["3", 0], model=["a", 0]),
        "5": node("EditPairsSavePair", sample=["1", 0], edited=["4", 0]),
    }
    graph = bound(api, info)
    found = stages(graph.api, dependent(graph), info, {"a": GB, "b": GB})
    assert [found.levels[one] for one in "234"] == [0, 1, 2]
    assert found.bytes == 2 * GB


def test_packing_pays_where_somebody_outside_is_asked(info: dict[str, Any]) -> None:
    api = {
        "1": node("EditPairsLoadSample"),
        "v": node("EditPairsLoadVlmEndpoint", profile="judge"),
        "w": node("Write", sample=["1", 0], vlm=["v", 0]),
        "5": node("EditPairsSavePair", sample=["1", 0], edited=["1", 1], instruction=["w", 0]),
    }
    assert Packer(bound(copy.deepcopy(api), info), info, {}, 0).gains
    api["v"]["class_type"] = "LoadModel"
    assert not Packer(bound(copy.deepcopy(api), info), info, {}, 0).gains
    api["w"]["class_type"] = "Ask"
    assert Packer(bound(api, info), info, {}, 0).gains


@pytest.fixture
def branches(info: dict[str, Any]) -> BatchGraph:
    """A branch for each operation, each with a model of its own."""
    ways = {"2": ("a", "erased"), "3": ("b", "replaced"), "4": ("c", "altered")}
    api = {
        "1": node("EditPairsLoadSample"),
        **{model: node("LoadModel", name=f"{model}.safetensors") for model, _ in ways.values()},
        **{one: node("Edit", image=["1", 1], model=[model, 0]) for one, (model, _) in ways.items()},
        "6": node(
            "EditPairsChooseOperation", sample=["1", 0], image=["1", 1],
            **{f"{way}{part}": [one, 0] for one, (_, way) in ways.items() for part in ("", "_mask")},
        ),
        "5": node("EditPairsSavePair", sample=["6", 0], source=["6", 1], edited=["6", 2]),
    }  # fmt: skip
    return bound(api, info)


def turns(*ops: str) -> list[Filling]:
    return [Filling({"image": f"{i}.png"}, seed=i, folder=f"out/{i}", op=op) for i, op in enumerate(ops)]


@pytest.mark.parametrize("memory", [0, 100 * GB], ids=["gated", "free"])
def test_each_sample_of_a_pack_runs_its_own_branch_alone(
    branches: BatchGraph, info: dict[str, Any], memory: int
) -> None:
    """Also where gates wait for models: what another sample needs is not waited for where a sample does not."""
    ops = ("alter", "add", "replace", "remove", "alter")
    prompt = Packer(branches, info, SIZES, memory).prompt(turns(*ops))
    needed = {"add": "2", "remove": "2", "replace": "3", "alter": "4"}
    sinks = [slotted(slot, "5") for slot in range(len(ops))]
    run = set().union(*(ancestors(prompt, sink) for sink in sinks))
    for slot, op in enumerate(ops):
        assert [one for one in "234" if slotted(slot, one) in run] == [needed[op]], op
        assert all(slotted(slot, one) in prompt for one in "234"), "a record's ingredients are the whole graph's"
    assert any(one["class_type"] == GATE for one in prompt.values()) is (not memory)
    if not memory:
        levels = stages(branches.api, dependent(branches), info, SIZES).levels
        order = sorted("234", key=levels.__getitem__)
        for before, after in itertools.pairwise(order):
            everybody = {slotted(slot, before) for slot, op in enumerate(ops) if needed[op] == before}
            for slot, op in enumerate(ops):
                if needed[op] == after:
                    assert everybody <= ancestors(prompt, slotted(slot, after)), "models are exchanged once"


def test_a_stage_that_no_sample_needs_is_no_gate(branches: BatchGraph, info: dict[str, Any]) -> None:
    for ops in (("add", "alter"), ("alter", "alter"), ("replace", "remove")):
        prompt = Packer(branches, info, SIZES, 0).prompt(turns(*ops))
        run = set().union(*(ancestors(prompt, slotted(slot, "5")) for slot in range(2)))
        assert sum(one[3:] in "234" for one in run if slot_of(one) is not None) == 2, ops
        if ops == ("add", "alter"):
            assert slotted(0, "2") in ancestors(prompt, slotted(1, "4")) or slotted(1, "4") in ancestors(
                prompt, slotted(0, "2")
            ), "the stage between them is empty"


def test_a_sample_of_unknown_operation_keeps_all_branches(branches: BatchGraph, info: dict[str, Any]) -> None:
    (sample,) = turns("")
    assert Packer(branches, info, {}, 0).prompt([sample])["6"] == branches.api["6"]
    assert Packer(branches, info, {}, 0).prompt(turns("style"))["6"] == branches.api["6"], (
        "the graph says why it cannot"
    )
