"""The pack as an artist meets it: graphs open and run in the real page, and the page shows what they found."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, ImageDraw

from driver.graph.api import SINK_CLASSES
from driver.graph.file import WorkflowFile

if TYPE_CHECKING:
    from conftest import Frontend

WORKFLOWS = sorted((Path(__file__).resolve().parents[2] / "workflows").glob("*.json"))
LOAD, VERIFY, SAVE = "EditPairsLoadSample", "EditPairsVerifyPixels", "EditPairsSavePair"
BOX = (20, 60, 70, 110)
SIZE = (200, 150)

every_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)


@pytest.fixture
def remove(frontend: Frontend) -> Frontend:
    """The page with remove-classical open."""
    frontend.open(_read(next(path for path in WORKFLOWS if path.stem == "remove-classical")))
    return frontend


@every_workflow
def test_a_workflow_opens_without_complaint(frontend: Frontend, path: Path) -> None:
    frontend.open(_read(path), path.stem)
    frontend.page.wait_for_timeout(500)
    unknown = "app.graph.nodes.map(({ type }) => type).filter((type) => !(type in LiteGraph.registered_node_types))"
    assert frontend.page.evaluate(unknown) == []
    assert frontend.page.get_by_text("Missing node").count() == 0
    assert frontend.page.locator("[role=dialog]:visible").count() == 0
    # Without API nodes the server lets the page ask no other host, where it would learn the sizes of missing weights.
    asked = [one["url"] for node in _read(path)["nodes"] for one in node["properties"].get("models", ())]
    assert [error for error in frontend.errors if not any(url in error for url in asked)] == []


@every_workflow
def test_a_workflow_is_saved_as_it_was_opened(frontend: Frontend, path: Path) -> None:
    workflow = _read(path)
    frontend.open(workflow, path.stem)
    assert frontend.saved()["nodes"] == workflow["nodes"]
    assert frontend.saved()["links"] == workflow["links"]


@every_workflow
def test_the_driver_submits_what_the_page_does(frontend: Frontend, path: Path) -> None:
    frontend.open(_read(path), path.stem)
    driver = WorkflowFile.read(path).to_api(frontend.get("/object_info"))
    assert _needed_by_sinks(driver) == _needed_by_sinks(frontend.prompt())


def test_the_photos_own_words_lead_from_the_filter_to_the_annotation(frontend: Frontend, tmp_path: Path) -> None:
    """The bypassed group of annotate, switched on: the page and the driver wire it alike."""
    graph = _read(WORKFLOWS[0].with_name("annotate.json"))
    for node in graph["nodes"]:
        node["mode"] = 0
    path = tmp_path / "annotate.json"
    path.write_text(json.dumps(graph))
    frontend.open(graph, "annotate")
    driver = _needed_by_sinks(WorkflowFile.read(path).to_api(frontend.get("/object_info")))
    assert driver == _needed_by_sinks(frontend.prompt())
    fed = {
        (node["class_type"], name): driver[value[0]]["class_type"]
        for node in driver.values()
        for name, value in node["inputs"].items()
        if isinstance(value, list)
    }
    chain = ["LoadSample", "FilterPhoto", "CaptionImage", "TagImage", "RouteTask", "SaveAnnotation"]
    for before, after in itertools.pairwise(chain):
        assert fed[f"EditPairs{after}", "sample"] == f"EditPairs{before}"
    assert fed["EditPairsDetectObjects", "sample"] == "EditPairsTagImage"


@pytest.mark.parametrize("modern", [False, True], ids=["classic", "modern"])
def test_run_saves_a_pair_and_shows_what_was_found(remove: Frontend, modern: bool) -> None:
    remove.set("Comfy.VueNodes.Enabled", modern)
    remove.fill(LOAD, seed=int(modern))
    outputs = remove.run()

    record = _record(outputs)
    assert record["verdict"] == "keep"
    before, after = _picture(remove, record["input_images"][0]), _picture(remove, record["output_images"][0])
    assert before.size == after.size == (record["width"], record["height"])
    assert before.tobytes() != after.tobytes()

    assert _verdict_on_face(remove).startswith("✔ keep\ninside_changed 0.")
    compared = remove.widget("ImageCompare", "compare_view")
    assert len(compared["beforeImages"]) == len(compared["afterImages"]) == 1
    if modern:  # core draws its comparison in the modern node design only
        slider = remove.page.get_by_test_id("image-compare-viewport")
        slider.wait_for()
        widths = "(one) => Promise.all([...one.querySelectorAll('img')].map((img) => img.decode().then(() => img.naturalWidth)))"
        assert slider.evaluate(widths) == [record["width"]] * 2


def test_a_rejection_is_shown_with_its_reason(remove: Frontend) -> None:
    remove.fill(VERIFY, min_changed=1.0)
    record = _record(remove.run())
    assert record["verdict"] == "reject"
    assert _verdict_on_face(remove).startswith(f"✘ reject: {record['reject_reason']}\n")


def test_the_verdict_comes_back_without_an_edit(remove: Frontend) -> None:
    first = _record(remove.run())
    shown = _verdict_on_face(remove)
    remove.open(remove.saved(), "again")
    assert remove.widget(VERIFY, "verdict") == ""
    again = _record(remove.run())
    assert again == first, "the second run came from the cache and saved nothing"
    assert _verdict_on_face(remove) == shown


def test_the_verdict_is_there_when_its_tab_is_opened_again(remove: Frontend) -> None:
    remove.open(remove.saved(), "verified")
    remove.run()
    shown = _verdict_on_face(remove)
    remove.open(remove.saved(), "another")
    assert remove.widget(VERIFY, "verdict") == ""
    remove.page.locator(".workflow-label", has_text="verified").click()
    assert _verdict_on_face(remove) == shown


def test_the_verdict_is_neither_saved_nor_submitted(remove: Frontend) -> None:
    fresh = remove.saved()["nodes"], _needed_by_sinks(remove.prompt())
    remove.run()
    _verdict_on_face(remove)
    assert (remove.saved()["nodes"], _needed_by_sinks(remove.prompt())) == fresh


def test_the_image_list_holds_bundled_samples_only(frontend: Frontend) -> None:
    frontend.upload("somebody-elses.png", _png(_photo()))
    options = frontend.get(f"/object_info/{LOAD}")[LOAD]["input"]["required"]["image"][1]["options"]
    assert len(options) > 1
    assert [name for name in options if not name.startswith("editpairs-samples/")] == []


def test_an_uploaded_photo_runs_with_a_pasted_annotation(remove: Frontend) -> None:
    remove.upload("my photo.png", _png(_photo()))
    region = {"class_name": "ball", "bbox": BOX}
    annotation = {"path": "my photo.png", "segmentation": {"object": [region]}}
    remove.fill(LOAD, image="my photo.png", annotation=json.dumps(annotation))
    record = _record(remove.run())
    assert (record["source_path"], record["verdict"]) == ("my photo.png", "keep")
    assert record["prompt"] == "Remove the ball on the left of the image."


@pytest.mark.parametrize(
    ("subfolder", "name", "value"),
    [
        ("clipspace", "clipspace-mask-1.png", "clipspace/clipspace-mask-1.png [input]"),
        ("", "clipspace-painted-masked-1.png", "clipspace-painted-masked-1.png [input]"),
    ],
    ids=["older frontends", "frontend 1.47"],
)
def test_a_file_of_the_mask_editor_carries_a_mask(remove: Frontend, subfolder: str, name: str, value: str) -> None:
    painted = _photo().convert("RGBA")
    alpha = Image.new("L", SIZE, 255)
    alpha.paste(0, BOX)
    painted.putalpha(alpha)
    remove.upload(name, _png(painted), subfolder)
    remove.fill(LOAD, image=value, class_name="ball")
    record = _record(remove.run())
    assert record["regions"][0]["bbox"] == list(BOX)
    assert record["prompt"] == "Remove the ball on the left of the image."


def test_the_mask_editor_itself(remove: Frontend) -> None:
    page = remove.page
    remove.select(LOAD)
    page.evaluate("app.extensionManager.command.execute('Comfy.MaskEditor.OpenMaskEditor')")
    save = page.locator("[role=dialog] button", has_text="Save")
    save.wait_for()
    page.wait_for_timeout(3000)  # the editor lays its canvases out after it opened
    page.mouse.move(888, 390)
    page.mouse.down()
    page.mouse.move(888, 690, steps=10)
    page.mouse.up()
    save.click()
    remove.wait_for_widget(LOAD, "image", "clipspace")
    remove.fill(LOAD, class_name="rocket")
    record = _record(remove.run())
    x1, y1, x2, y2 = record["regions"][0]["bbox"]
    assert y2 - y1 > 3 * (x2 - x1), "a stroke downwards"
    assert record["verdict"] == "keep"


def test_help_opens_beside_the_graph(remove: Frontend) -> None:
    remove.select(VERIFY)
    remove.page.get_by_test_id("info-button").click()
    remove.page.get_by_text("Compares the photo before and after the edit and says keep or reject").wait_for(
        timeout=5000
    )
    picture = remove.page.locator("img[src$='pictures/verify.jpg']")
    picture.wait_for(timeout=5000)
    assert picture.evaluate("async (one) => { await one.decode(); return one.naturalWidth }") > 0


def test_every_node_has_a_help_page(frontend: Frontend) -> None:
    nodes = {name: node for name, node in frontend.get("/object_info").items() if name.startswith("EditPairs")}
    assert nodes
    for name, node in nodes.items():
        folder = node["python_module"].removeprefix("custom_nodes.")
        page = frontend.page.request.get(f"{frontend.url}/extensions/{folder}/docs/{name}.md")
        assert page.ok, name
        assert page.text().startswith(f"# {node['display_name']}\n")
        sockets = [
            *node["input_order"].get("required", []),
            *node["input_order"].get("optional", []),
            *node["output_name"],
        ]
        assert [socket for socket in sockets if f"`{socket}" not in page.text()] == [], name


def test_the_template_browser_offers_the_workflows(frontend: Frontend) -> None:
    folder = frontend.get(f"/object_info/{LOAD}")[LOAD]["python_module"].removeprefix("custom_nodes.")
    assert sorted(frontend.get("/workflow_templates")[folder]) == sorted(path.stem for path in WORKFLOWS)
    page = frontend.page
    page.evaluate("app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.locator("[role=dialog]").get_by_text(folder, exact=True).click()
    cards = page.locator("[data-testid^=template-workflow-]")
    cards.first.wait_for()
    for _ in WORKFLOWS:  # further ones come when the last one is seen
        if cards.count() >= len(WORKFLOWS):
            break
        cards.last.scroll_into_view_if_needed()
        page.wait_for_timeout(300)
    for path in WORKFLOWS:
        card = page.get_by_test_id(f"template-workflow-{path.stem}")
        card.scroll_into_view_if_needed()  # pictures are loaded when they are seen
        thumbnail = card.locator("img").first
        assert thumbnail.evaluate("(img) => img.decode().then(() => img.naturalWidth)") > 0
        assert frontend.page.request.get(f"{frontend.url}/api/workflow_templates/{folder}/{path.stem}.jpg").ok
    card = page.get_by_test_id(f"template-workflow-{WORKFLOWS[-1].stem}")
    card.click()
    card.wait_for(state="hidden")
    assert page.evaluate("app.graph.nodes.length") == len(_read(WORKFLOWS[-1])["nodes"])


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _record(outputs: dict[str, Any]) -> dict[str, Any]:
    """The one record that the run's sink gave."""
    [record] = [one for output in outputs.values() for one in output.get("editpairs", [])]
    return record


def _picture(frontend: Frontend, file: dict[str, str]) -> Image.Image:
    query = {name: file[name] for name in ("filename", "subfolder", "type")}
    return Image.open(io.BytesIO(frontend.page.request.get(f"{frontend.url}/view", params=query).body()))


def _verdict_on_face(frontend: Frontend) -> str:
    """The text that the verify node shows on the page once a run has ended."""
    area = "[...document.querySelectorAll('textarea')].find((one) => one.checkVisibility() && /inside_changed/.test(one.value))"
    shown = frontend.page.wait_for_function(f"() => {area}?.value", timeout=5000).json_value()
    assert shown == frontend.widget(VERIFY, "verdict")
    return shown


def _needed_by_sinks(prompt: dict[str, Any]) -> dict[str, Any]:
    """The part of a prompt that the driver submits: its sinks and what they depend on."""
    open_ids = [node_id for node_id, node in prompt.items() if node["class_type"] in SINK_CLASSES]
    needed: dict[str, Any] = {}
    while open_ids:
        node_id = open_ids.pop()
        if node_id not in needed:
            needed[node_id] = prompt[node_id]
            open_ids += [value[0] for value in prompt[node_id]["inputs"].values() if isinstance(value, list)]
    assert needed
    return needed


def _photo() -> Image.Image:
    """A red ball in BOX on a striped ground."""
    photo = Image.new("RGB", SIZE, (60, 120, 60))
    draw = ImageDraw.Draw(photo)
    for y in range(0, SIZE[1], 6):
        draw.line((0, y, SIZE[0], y), fill=(70, 140, 70), width=2)
    draw.ellipse(BOX, fill=(220, 30, 30))
    return photo


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
