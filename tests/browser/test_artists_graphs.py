"""What stands on a sink's face after Run, and what the page does with what artists leave in widgets: the driver does the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from driver.graph.bound import BatchGraph
from driver.graph.dynamic_prompts import processed
from driver.graph.file import WorkflowFile

if TYPE_CHECKING:
    from conftest import Frontend

CASES = Path(__file__).resolve().parents[1] / "cases"
SAVE = "EditPairsSavePair"

TYPED = (
    '{"subject": "a {red|green|blue} cup", "mood": "calm"}',
    '{"subject": "cup"}',
    r'\{"subject": "{a|b}"\}',
    "{a|{b|c{d|e}}|} {f|g}",
    "never {closed|at all",
    "closed}|only",
    r"\{kept\|as it is\} {d\|e|f} \\{g|h}",
    "http://a.b/{c|d}\nnext {e|f}",
    "/* away {x|y}\n too */{a/* | */|b}",
    "//{a|b}\u2028{c|d}",
    "a backslash at the end\\",
)


def test_alternatives_are_read_by_the_pages_rule(frontend: Frontend) -> None:
    """With the same chance the page draws the same, whichever it is."""
    frontend.open(_case("braces-in-a-prompt"))
    try:
        for chance in (0, 0.5, 0.99):
            frontend.page.evaluate("(chance) => { window.chance ??= Math.random; Math.random = () => chance }", chance)
            for text in TYPED:
                _type(frontend, text)
                mine = processed(text, lambda options, chance=chance: options[int(chance * len(options))])
                assert _submitted(frontend)["2"] == mine, (chance, text)
    finally:
        frontend.page.evaluate("Math.random = window.chance")


def test_the_page_draws_where_the_driver_does(frontend: Frontend, tmp_path: Path) -> None:
    """In a node's own widget, or from the page's own Primitive; not where a subgraph shows the widget."""
    frontend.open(_case("braces-in-a-prompt"))
    _type(frontend, "{one|one}")
    assert (_submitted(frontend)["2"], _drawn(frontend, tmp_path)["2"]) == ("one", "one")

    frontend.page.evaluate(
        """() => { const primitive = LiteGraph.createNode("PrimitiveNode"); app.graph.add(primitive);
        const node = app.graph.getNodeById(2);
        primitive.connect(0, node, node.inputs.findIndex(({ widget }) => widget?.name === "text"));
        primitive.widgets[0].value = "{two|two}" }"""
    )
    assert (_submitted(frontend)["2"], _drawn(frontend, tmp_path)["2"]) == ("two", "two")

    frontend.open(_case("braces-in-a-prompt"))
    _type(frontend, "{three|three}")
    frontend.page.evaluate("() => app.graph.convertToSubgraph(new Set([app.graph.getNodeById(2)]))")
    page, driver = _submitted(frontend), _drawn(frontend, tmp_path)
    assert page == driver
    assert "{three|three}" in page.values()


def test_a_sample_that_was_given_up_shows_its_reason_and_no_picture(frontend: Frontend) -> None:
    frontend.open(_case("failure-not-shown"))
    frontend.fill("EditPairsLoadSample", seed=0)
    frontend.run()
    frontend.wait_for_widget(SAVE, "verdict", "✔ keep\nReplace ")
    frontend.page.wait_for_function(f"() => {_PICTURES} === 1")
    frontend.fill("EditPairsLoadSample", image="editpairs-samples/rocket.jpg", region_index=2)
    frontend.run()
    frontend.wait_for_widget(SAVE, "verdict", "Unpasteable: ")
    frontend.page.wait_for_timeout(300)  # the page draws, and must not put the old one back
    assert frontend.page.evaluate(_PICTURES) == 0


def test_save_instructions_shows_what_was_written(frontend: Frontend) -> None:
    source = {"image": "editpairs-samples/rocket.jpg", "task": "remove", "region_index": 0, "seed": 1}
    api = {
        "1": {"class_type": "EditPairsLoadSample", "inputs": source},
        "2": {"class_type": "EditPairsWriteInstructionTemplate", "inputs": {"sample": ["1", 0]}},
        "3": {"class_type": "EditPairsSaveInstructions", "inputs": {"sample": ["2", 1], "folder": "editpairs"}},
    }
    frontend.page.evaluate("(api) => app.loadApiJson(api, 'written')", api)
    (record,) = next(one["editpairs"] for one in frontend.run().values() if "editpairs" in one)
    frontend.wait_for_widget("EditPairsSaveInstructions", "verdict", record["writing"]["instruction"])


_PICTURES = f"(app.graph.nodes.find(({{ type }}) => type === '{SAVE}').imgs ?? []).length"


def _case(name: str) -> dict[str, Any]:
    return dict(json.loads((CASES / name / "graph.json").read_text(encoding="utf-8")))


def _type(frontend: Frontend, text: str) -> None:
    script = "(text) => { app.graph.getNodeById(2).widgets.find(({ name }) => name === 'text').value = text }"
    frontend.page.evaluate(script, text)


def _submitted(frontend: Frontend) -> dict[str, str]:
    """The texts that the page would submit, by node."""
    return {key: node["inputs"]["text"] for key, node in frontend.prompt().items() if "text" in node["inputs"]}


def _drawn(frontend: Frontend, folder: Path) -> dict[str, str]:
    """The texts that the driver would submit of what the page would save, the widgets' own texts in it."""
    saved = frontend.page.evaluate("async () => JSON.stringify(app.graph.serialize())")
    path = folder / "saved.json"
    path.write_text(saved)
    info = frontend.get("/object_info")
    # The page keeps None where there is no checkpoint, and takes the first where another module's tests have left one.
    info["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"][0].append(None)
    graph = BatchGraph.bind(WorkflowFile.read(path).to_api(info), info)
    prompt = graph.prompt({}, 5, "folder")
    return {key: node["inputs"]["text"] for key, node in prompt.items() if "text" in node["inputs"]}
