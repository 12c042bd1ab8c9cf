"""The model graphs on a real ComfyUI on CPU, with tiny random checkpoints: each loads, samples and keeps its promise.

Random weights paint noise, so nothing here says that an edit is good; it says that every part fits, that the right
pixels changed and no others, and which picture is before and which after.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from comfy_nodes.core.instructions.cropped import MANNERS, NOTHING_NEW
from comfy_nodes.core.regions.annotation import Region
from comfy_nodes.core.tasks import TASKS
from comfy_nodes.core.verdicts.makers import making_of
from comfy_nodes.core.weights.rows import TABLE
from driver.graph.api import EDIT_SINK
from driver.graph.bound import BatchGraph
from driver.graph.file import WORKFLOWS, WorkflowFile
from driver.graph.judges import DESCRIBERS, JUDGES, with_judges
from tests.e2e import helpers
from tests.e2e.full_graphs import SIZE, Pair, Photo, bound, make_checkpoints, op, photo, region, run, tiny
from tests.e2e.helpers import Driver
from tests.e2e.test_verify import FOUND
from tests.vlm.endpoint import Endpoint, Say

MASKED = ("remove", "add", "replace", "alter", "background", "visual", "hybrid")
WHOLE = ("style", "extract", "motion", "instruct", "instruct-qwen", "instruct-longcat")
OPEN = (
    *(f"{task}-open" for task in (*MASKED, "style", "extract", "motion")),
    "instruct-open",
)
DIALOGUES = tuple(f"{kind}{profile}" for kind, task in TASKS.items() if task.turns > 1 for profile in ("", "-open"))
GRAPHS = (*MASKED, *WHOLE, *OPEN, *DIALOGUES)

LOADERS = {
    "UNETLoader": ("unet_name",),
    "DualCLIPLoader": ("clip_name1", "clip_name2"),
    "CLIPLoader": ("clip_name",),
    "VAELoader": ("vae_name",),
    "CLIPVisionLoader": ("clip_name",),
    "StyleModelLoader": ("style_model_name",),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "LoraLoaderModelOnly": ("lora_name",),
    "ControlNetLoader": ("control_net_name",),
    "EditPairsLoadSam2": ("model",),
    "LoadBackgroundRemovalModel": ("bg_removal_name",),
}
"""Loaders and their inputs that name a file."""


class Bench:
    """A ComfyUI with the tiny checkpoints, and the graphs bound to it."""

    def __init__(self, url: str, models: Path) -> None:
        make_checkpoints(models)
        self.url = url
        self.models = models
        self.info: dict[str, Any] = helpers.get(url, "/object_info")
        self.photo = photo(models.parent / "input", "full.png")
        self.other = photo(models.parent / "input", "full-other.png", 1)

    def bind(self, name: str, *settings: str) -> BatchGraph:
        return bound(name, self.info, *settings)

    def run(self, name: str, photo: Photo | None = None, **values: Any) -> Pair:
        return run(self.url, self.bind(name), image=(photo or self.photo).name, **values)


@pytest.fixture(scope="module")
def bench(comfy: Any) -> Bench:
    return Bench(comfy.url, comfy.models)


def used(whole: Photo, pair: Pair) -> np.ndarray:
    """The part of the photo that the record says was used; all where it says nothing."""
    if pair.record["crop"] is None:
        return whole.pixels
    left, top, right, bottom = (round(side) for side in pair.record["crop"])
    return whole.pixels[top:bottom, left:right]


PAIRS = list(itertools.product(["remove", "replace", "add"], repeat=2))
"""Every order of a step that erases, one that paints, and one whose picture is the one before."""

OPEN_PAIRS = [("remove", "replace"), ("add", "alter"), ("alter", "add")]
"""An editor that sees the thing may alter it, too."""

CENTRE = "in the center of the image"

DISC, BOX = region(40, 30, 61, 55), region(10, 12, 24, 29, "box")


@pytest.mark.parametrize("name", GRAPHS)
def test_it_fits_the_server_as_it_is(bench: Bench, name: str) -> None:
    """Every file that it names is in the model table; with those on the server the driver takes it unchanged."""
    info = json.loads(json.dumps(bench.info))
    listed = {weights.name for weights in TABLE}
    api = WorkflowFile.read(WORKFLOWS / f"{name}.json").to_api(info)
    for node in api.values():
        for field in LOADERS.get(node["class_type"], ()):
            assert node["inputs"][field] in listed
            spec = info[node["class_type"]]["input"]["required"][field]
            options = spec[0] if isinstance(spec[0], list) else spec[1]["options"]
            options.append(node["inputs"][field])
    graph = BatchGraph.bind(api, info)
    assert graph.task == name.split("-")[0]
    assert graph.seeds == (), "every seed is wired to Load Edit Sample"
    assert {line.split(" #")[0] for line in graph.left_out} <= {"ImageCompare"}


@pytest.mark.parametrize("name", GRAPHS)
def test_it_needs_core_nodes_and_ours_alone(bench: Bench, name: str) -> None:
    api = WorkflowFile.read(WORKFLOWS / f"{name}.json").to_api(bench.info)
    modules = {bench.info[node["class_type"]]["python_module"].split(".")[0] for node in api.values()}
    assert modules <= {"nodes", "comfy_extras", "custom_nodes"}
    strange = [
        node["class_type"]
        for node in api.values()
        if bench.info[node["class_type"]]["python_module"].startswith("custom_nodes")
        and not node["class_type"].startswith("EditPairs")
    ]
    assert strange == []


@pytest.mark.parametrize("name", GRAPHS)
def test_its_judges_are_switched_on_without_editing_it(bench: Bench, name: str) -> None:
    file = WorkflowFile.read(WORKFLOWS / f"{name}.json")
    plain, judged = file.to_api(bench.info), with_judges(file, "strict", bench.info).to_api(bench.info)
    judges = {number: node for number, node in judged.items() if node["class_type"] in JUDGES}
    assert {node["class_type"] for node in judges.values()} == JUDGES
    assert {judged[node["inputs"]["vlm"][0]]["inputs"]["profile"] for node in judges.values()} == {"strict"}
    added = judged.keys() - plain.keys()
    assert added == judges.keys() | {node["inputs"]["vlm"][0] for node in judges.values()}
    asks = {number for number, node in plain.items() if node["class_type"] in {EDIT_SINK, *DESCRIBERS}}
    assert {number: node for number, node in judged.items() if number not in added | asks} == {
        number: node for number, node in plain.items() if number not in asks
    }


@pytest.mark.parametrize("path", sorted(WORKFLOWS.glob("*.json")), ids=lambda path: path.stem)
def test_what_makes_each_graphs_edits(bench: Bench, path: Path) -> None:
    api = WorkflowFile.read(path).to_api(bench.info)
    sinks = [number for number, node in api.items() if node["class_type"] == EDIT_SINK]
    if not sinks:
        return
    expected = "frames" if path.stem.startswith("motion") else "model"
    if path.stem in ("extract", "extract-open") or (path.stem.endswith("-classical") and expected == "model"):
        expected = "classical"
    assert making_of(api, sinks[0]) == expected


def test_a_models_edit_is_unscored_until_somebody_looks(
    bench: Bench, driver: Driver, comfy: Any, photos: Path, tmp_path: Path
) -> None:
    api = WorkflowFile.read(WORKFLOWS / "remove.json").to_api(bench.info)
    settings = ["--profile", "full", *(word for one in tiny(api) for word in ("--set", one))]
    alone, judged, later = tmp_path / "alone", tmp_path / "judged", tmp_path / "later"
    run = ("--input", photos, "--limit", 2)
    model = {"workflow": "remove", "quick": False}
    ended = driver.run(*run, *settings, "--output", alone, **model)
    assert "remove.json: ALL ROWS WILL BE UNSCORED" in ended.stderr.partition("edited")[0]
    assert "0 kept, 0 rejected, 2 unscored" in ended.stdout and "--judge PROFILE has them judged" in ended.stderr
    for row in helpers.rows(alone, "rejected"):
        assert (row["verdict"], row["vouched_by"]) == ("unscored", [])
        assert row["reject_reason"].startswith("nobody looked")
        assert {"name": "pixel.keep", "value": 1.0} in row["scores"], "pixels had let it pass"

    line = driver.refused(*run, "--output", tmp_path / "x", "--judge", "strict")
    assert "remove-classical.json has no Verify Edit or Judge Edit to switch on" in line
    scores = {"prompt_compliance": 5, "visual_naturalness": 5, "physical_detail_integrity": 4}
    looks = [Say('{"new": ["a vase on the ground"]}'), Say('{"new": []}')]
    deeds = {
        "source_caption": [Say(json.dumps(FOUND))],
        "Score the edit": [Say(json.dumps(scores))],
        "was erased": looks,
    }
    with Endpoint(deeds) as endpoint:
        comfy.profiles.write_text(f'[profiles.strict]\nbase_url = "{endpoint.url}"\nmodel = "tiny"\n')
        try:
            ended = driver.run(*run, *settings, "--output", judged, "--judge", "strict", **model)
            asked = len(endpoint.requests)
            driver.run(
                "--input", alone / "rejected", "--output", later, "--judge", "strict", workflow="verify", quick=False
            )
            line = driver.refused(*run, *settings, "--output", tmp_path / "y", "--judge", "other", **model)
        finally:
            comfy.profiles.unlink()
    assert "there is no VLM profile 'other'" in line
    assert asked == 5 and "UNSCORED" not in ended.stderr, "two verified, two looked at, one judged"
    (refused,) = helpers.rows(judged, "rejected")
    assert refused["reject_reason"] == "something new stands where a thing was erased: a vase on the ground"
    for output, kept in ((judged, 1), (later, 2)):
        found = helpers.rows(output)
        assert [row["vouched_by"] for row in found] == [["verifier", "judge"]] * kept
        summary = json.loads((output / "summary.json").read_text())
        assert summary["tasks"]["remove"]["vouched_by"] == {"verifier": kept, "judge": kept}
        assert "Who vouches for kept rows" in (output / "report.html").read_text()
    ran = WorkflowFile.read(judged / "workflow.json").to_api(bench.info)
    assert {node["class_type"] for node in ran.values()} >= JUDGES, "the file that it leaves makes it again"


@pytest.mark.parametrize(
    ("name", "words", "told"),
    [
        ("remove", "Remove the disc.", "an empty place where nothing stands, the plain background simply goes on"),
        ("replace", "Replace the disc with a red ball.", "a red ball"),
        ("alter", "Make the disc red.", "disc, red"),
        ("remove-open", "Remove the disc.", f"Remove the disc {CENTRE}. {NOTHING_NEW}"),
        (
            "replace-open",
            "Replace the disc with a red ball.",
            f"Replace the disc {CENTRE} with a red ball. {MANNERS['replace']}",
        ),
        ("alter-open", "Make the disc red.", f"Make the disc {CENTRE} red. {MANNERS['alter']}"),
    ],
)
def test_a_region_is_edited_and_nothing_else(bench: Bench, name: str, words: str, told: str) -> None:
    """A model that fills is told what is to be seen, an editor in a crop a command about it; the row says so."""
    pair = bench.run(name, instruction=words, annotation=bench.photo.annotation(DISC))
    assert (pair.record["prompt"], pair.record["editor_prompt"] or words) == (words, told)
    assert np.array_equal(pair.before, bench.photo.pixels)
    pair.assert_kept_outside()
    assert pair.mask[30:55, 40:61].all(), "the mask is the region and what it grew by"
    assert (pair.record["verdict"], pair.record["vouched_by"]) == ("unscored", []), "nobody looked"
    assert pair.record["seed"] == 5


@pytest.mark.parametrize("name", ["add", "add-open"])
def test_add_has_the_real_photo_afterwards(bench: Bench, name: str) -> None:
    pair = bench.run(name, annotation=bench.photo.annotation(DISC))
    assert np.array_equal(pair.after, bench.photo.pixels)
    pair.assert_kept_outside()
    assert pair.record["prompt"].split()[0] in ("Add", "Put", "Insert")


def test_a_box_alone_goes_through_sam(bench: Bench) -> None:
    boxed = DISC.model_copy(update={"mask": None})
    pair = bench.run("remove", annotation=bench.photo.annotation(boxed))
    pair.assert_kept_outside()
    assert pair.record["regions"][0]["mask"] is not None


@pytest.mark.parametrize(("name", "subject_ends"), [("background", 0), ("background-open", SIZE[0] // 2)])
def test_a_background_leaves_the_subject_inside_it_alone(bench: Bench, name: str, subject_ends: int) -> None:
    """An annotated one, and in the open graph what a background remover finds in the left half, too."""
    ground = region(0, 0, 97, 70, "ground", kind="background")
    pair = bench.run(
        name,
        instruction="Change the background to a beach.",
        annotation=bench.photo.annotation(DISC, ground),
        region_index=1,
    )
    assert np.array_equal(pair.before, bench.photo.pixels)
    pair.assert_kept_outside()
    assert not pair.mask[30:55, 40:61].any(), "the subject is not painted over"
    assert not pair.mask[70:].any(), "the mask does not grow"
    assert not pair.mask[:, :subject_ends].any() and pair.mask[:20, subject_ends + 2 :].all()


def shrink_references(graph: BatchGraph, by: int = 8) -> None:
    """References at a smaller square than 768, and the points in it: an autoencoder takes seconds for a large one."""
    for node in graph.api.values():
        inputs = node["inputs"]
        if node["class_type"] == "ResizeAndPadImage" and isinstance(inputs["target_width"], int):
            inputs.update(target_width=inputs["target_width"] // by, target_height=inputs["target_height"] // by)
        if node["class_type"] == "PrimitiveStringMultiline":
            points = json.loads(inputs["value"])
            inputs["value"] = json.dumps([{name: place // by for name, place in point.items()} for point in points])


@pytest.mark.parametrize("name", ["visual", "visual-open"])
def test_visual_keeps_the_photo_and_the_reference(bench: Bench, name: str) -> None:
    graph = bench.bind(name)
    shrink_references(graph)
    reference = bench.other.pixels
    values = {"image": bench.photo.name, "instruction": "Use it.", "annotation": bench.photo.annotation(DISC)}
    for node in graph.api.values():
        if node["class_type"] == "EditPairsLoadSecondImage":
            node["inputs"]["image"] = bench.other.name
    pair = run(bench.url, graph, **values)
    assert np.array_equal(pair.before, used(bench.photo, pair))
    pair.assert_kept_outside()
    assert np.array_equal(pair.picture(pair.record["input_images"][1]), reference)


@pytest.mark.parametrize("name", ["extract", "extract-open"])
def test_extract_shows_the_object_in_the_photos_size(bench: Bench, name: str) -> None:
    pair = bench.run(name, annotation=bench.photo.annotation(DISC))
    assert np.array_equal(pair.before, bench.photo.pixels)
    assert pair.after.shape == pair.before.shape
    assert pair.record["edit_mask"] is None
    assert (pair.after[:, :39] == 255).all() and (pair.after[:29] == 255).all()
    assert np.array_equal(pair.after[33:52, 43:58], bench.photo.pixels[33:52, 43:58]), "the photo's own pixels"


@pytest.mark.parametrize("name", ["style", "style-open"])
def test_style_redraws_the_whole_photo(bench: Bench, name: str) -> None:
    pair = bench.run(name, annotation=bench.photo.annotation())
    assert pair.before.shape == pair.after.shape == (80, 96, 3)
    assert np.array_equal(pair.before, used(bench.photo, pair)), "cropped, not scaled"
    assert pair.record["prompt"].startswith("Turn the photo into ")
    assert pair.record["edit_mask"] is None


@pytest.mark.parametrize("name", ["motion", "motion-open"])
def test_motion_paints_nothing(bench: Bench, name: str) -> None:
    """A local model in the service's place: neither is asked where the instruction is known."""
    folder = bench.models / "LLM" / "tiny"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "qwen2_5_vl"}', encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"")
    graph = bench.bind(name)
    for node in graph.api.values():
        if node["class_type"] == "EditPairsLoadSecondImage":
            node["inputs"]["image"] = bench.other.name
        if node["class_type"] == "EditPairsLoadVlmEndpoint":
            node.update(class_type="EditPairsLoadVlmLocal", inputs={"model": "tiny", "dtype": "auto", "batch_size": 1})
    pair = run(bench.url, graph, image=bench.photo.name, instruction="Let it move.")
    assert np.array_equal(pair.before, bench.photo.pixels)
    assert np.array_equal(pair.after, bench.other.pixels)


@pytest.mark.parametrize("name", ["instruct", "instruct-open", "instruct-qwen", "instruct-longcat"])
def test_an_editor_redraws_the_whole_photo(bench: Bench, name: str) -> None:
    pair = bench.run(name, instruction="Make it red.", annotation=bench.photo.annotation())
    assert pair.before.shape == pair.after.shape == (80, 96, 3)
    assert np.array_equal(pair.before, used(bench.photo, pair))
    assert not np.array_equal(pair.before, pair.after)
    assert pair.record["edit_mask"] is None


def test_one_switch_brings_the_lora_its_steps_and_its_guidance(bench: Bench) -> None:
    """All three choices follow it, each of which changes the picture, as a number of steps of its own does."""
    told = {"image": bench.photo.name, "instruction": "Make it red.", "annotation": bench.photo.annotation()}
    slow, fast = (
        run(bench.url, bench.bind("instruct-qwen", f"@Fast.value={on}"), **told).after for on in ("false", "true")
    )
    assert not np.array_equal(slow, fast)
    for title, as_slow in (("Model", "false"), ("Guidance", "false")):
        graph = bench.bind("instruct-qwen", "@Fast.value=true")
        (switch,) = [node for node in graph.api.values() if node["_meta"]["title"] == title]
        switch["inputs"]["switch"] = as_slow == "true"
        assert not np.array_equal(run(bench.url, graph, **told).after, fast), title
    longer = bench.bind("instruct-qwen", "@Fast.value=true", "@Steps when fast.value=3")
    assert not np.array_equal(run(bench.url, longer, **told).after, fast)


@pytest.mark.parametrize("name", ["instruct", "instruct-open"])
def test_an_editor_that_was_told_to_remove_makes_an_add(bench: Bench, name: str) -> None:
    pair = bench.run(name, annotation=bench.photo.annotation(DISC, steps=(op("add", 0),)))
    assert np.array_equal(pair.after, used(bench.photo, pair))
    assert not np.array_equal(pair.before, pair.after)


@pytest.mark.parametrize(
    ("name", "ops"),
    [
        ("instruct", ("remove", "add")), ("instruct-qwen", ("add", "alter")), ("instruct-open", ("add", "remove")),
        ("instruct-longcat", ("replace", "add")),
    ],
)  # fmt: skip
def test_an_editor_makes_both_pictures_of_an_add_beside_another_edit(
    bench: Bench, name: str, ops: tuple[str, str]
) -> None:
    steps = tuple(op(one, number) for number, one in enumerate(ops))
    graph = bench.bind(name)
    pair = run(bench.url, graph, image=bench.photo.name, annotation=bench.photo.annotation(DISC, BOX, steps=steps))
    real = used(bench.photo, pair)
    assert not np.array_equal(pair.before, real) and not np.array_equal(pair.after, real)
    assert not np.array_equal(pair.before, pair.after)


def test_a_persons_add_is_an_addition_and_blending_keeps_it_to_its_region(bench: Bench) -> None:
    settings = [f"#{number}.outside=the source, where a region is marked" for number in blends(bench, "instruct")]
    graph = bench.bind("instruct", *settings)
    told = {"image": bench.photo.name, "instruction": "Add a red hat."}
    pair = run(bench.url, graph, annotation=bench.photo.annotation(DISC), **told)
    assert np.array_equal(pair.before, used(bench.photo, pair)), "nothing is swapped"
    pair.assert_kept_outside()
    whole = run(bench.url, graph, annotation=bench.photo.annotation(), **told)
    assert whole.record["edit_mask"] is None, "no region is known, so the whole edit passes"
    assert not np.array_equal(whole.before, whole.after)


def blends(bench: Bench, name: str) -> list[str]:
    api = WorkflowFile.read(WORKFLOWS / f"{name}.json").to_api(bench.info)
    return [number for number, node in api.items() if node["class_type"] == "EditPairsBlendEdit"]


@pytest.mark.parametrize(
    ("name", "words", "regions", "why"),
    [
        ("replace", "Let there be light.", (DISC,), "nothing says what is to be seen after 'Let there be light.'"),
        ("hybrid", "", (DISC, BOX), "an editor that fills the region sees nothing of disc"),
        ("extract", "", (DISC.model_copy(update={"class_name": None}),), "the region has no name"),
    ],
)
def test_what_the_model_cannot_do_is_said_and_not_painted(
    bench: Bench, name: str, words: str, regions: tuple[Region, ...], why: str
) -> None:
    steps = (op("remove", 0), op("alter", 1)) if name == "hybrid" else ()
    pair = bench.run(name, instruction=words, annotation=bench.photo.annotation(*regions, steps=steps))
    assert why in pair.record["failure"]["message"]


@pytest.mark.parametrize(
    ("name", "ops"),
    [*(("hybrid", pair) for pair in PAIRS), *(("hybrid-open", pair) for pair in OPEN_PAIRS)],
    ids=lambda value: value if isinstance(value, str) else "-then-".join(value),
)
def test_hybrid_puts_each_step_on_its_side(bench: Bench, name: str, ops: tuple[str, str]) -> None:
    """An added thing is in the photo and is erased from the picture before; everything else changes the one after."""
    steps = tuple(op(one, number) for number, one in enumerate(ops))
    pair = bench.run(name, annotation=bench.photo.annotation(DISC, BOX, steps=steps))
    pair.assert_kept_outside()
    for one, (top, bottom, left, right) in zip(ops, ((30, 55, 40, 61), (12, 29, 10, 24)), strict=True):
        real, painted = (pair.after, pair.before) if one == "add" else (pair.before, pair.after)
        inside = (slice(top, bottom), slice(left, right))
        assert np.array_equal(real[inside], bench.photo.pixels[inside])
        assert (painted[inside] != bench.photo.pixels[inside]).any(axis=-1).mean() > 0.5
    assert [one["op"] for one in pair.record["regions"]] == list(ops)
