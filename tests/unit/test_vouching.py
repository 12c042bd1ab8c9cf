"""Who may vouch for a kept row: a table of who spoke and what made the edit, and graphs whose judges are switched on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from comfy_nodes.core.taxonomy import TAXONOMY
from comfy_nodes.core.verdicts.makers import Making, making_of
from comfy_nodes.core.verdicts.thresholds import decide, parse
from comfy_nodes.core.verdicts.verdicts import (
    BY_HAND,
    DIVIDED,
    UNVOUCHED,
    Answer,
    Scores,
    Verdict,
    Voice,
    answers_of,
    combine,
    labelled,
    majority,
    vouched,
)
from comfy_nodes.core.verdicts.witnesses import Inquiry, says_all, scores
from driver.errors import RunError
from driver.graph.api import Api
from driver.graph.bound import BatchGraph
from driver.graph.file import WorkflowFile
from driver.graph.judges import looks, unasked, unvouched, with_judges
from driver.graph.saved import MUTED
from driver.graph.ui import UiGraph
from driver.pipeline.dry_run import estimates
from driver.pipeline.workflow import Workflow

MAKINGS: tuple[Making, ...] = ("classical", "frames", "model")
SAID: dict[str, tuple[Verdict, tuple[Voice, ...]]] = {
    "pixels": ("keep", ("pixels",)), "verifier": ("keep", ("verifier",)), "judge": ("keep", ("judge",)),
    "detector": ("keep", ("detector",)), "reader": ("keep", ("reader",)), "nobody": ("keep", ()), "rejecting pixels": ("reject", ("pixels",)),
    "rejecting judge": ("reject", ("judge",)), "silent judge": ("unscored", ()),
}  # fmt: skip

TABLE: list[tuple[tuple[str, ...], dict[Making, tuple[Verdict, tuple[Voice, ...]]]]] = [
    (("pixels",), {"classical": ("keep", ("pixels",)), "frames": ("unscored", ()), "model": ("unscored", ())}),
    (("nobody",), {"classical": ("unscored", ()), "frames": ("unscored", ()), "model": ("unscored", ())}),
    (("pixels", "verifier"), {"classical": ("keep", ("pixels", "verifier")), "frames": ("keep", ("verifier",)), "model": ("keep", ("verifier",))}),
    (("pixels", "judge"), {"classical": ("keep", ("pixels", "judge")), "frames": ("keep", ("judge",)), "model": ("keep", ("judge",))}),
    (("judge",), {"classical": ("keep", ("judge",)), "frames": ("keep", ("judge",)), "model": ("keep", ("judge",))}),
    (("pixels", "detector"), {"classical": ("keep", ("pixels", "detector")), "frames": ("keep", ("detector",)), "model": ("keep", ("detector",))}),
    (("pixels", "reader"), {"classical": ("keep", ("pixels", "reader")), "frames": ("keep", ("reader",)), "model": ("keep", ("reader",))}),
    (("pixels", "judge", "verifier"), {making: ("keep", (*(("pixels",) if making == "classical" else ()), "verifier", "judge")) for making in MAKINGS}),  # type: ignore[misc]
    (("rejecting pixels", "judge"), {making: ("reject", ()) for making in MAKINGS}),
    (("pixels", "rejecting judge"), {making: ("reject", ()) for making in MAKINGS}),
    (("pixels", "verifier", "silent judge"), {making: ("unscored", ()) for making in MAKINGS}),
]  # fmt: skip


@pytest.mark.parametrize("making", MAKINGS)
@pytest.mark.parametrize(("said", "wanted"), TABLE, ids=["+".join(said) for said, _ in TABLE])
def test_who_speaks_and_what_made_the_edit(
    said: tuple[str, ...], wanted: dict[Making, tuple[Verdict, tuple[Voice, ...]]], making: Making
) -> None:
    given = [Scores({}, SAID[one][0], SAID[one][0], voices=SAID[one][1]) for one in said]
    found = vouched(combine(given), making)
    assert (found.verdict, found.voices) == wanted[making]
    if found.verdict == "unscored" and "silent judge" not in said:
        assert found.reason == UNVOUCHED


def test_a_person_vouches_for_two_frames_and_for_nothing_that_was_painted() -> None:
    pixels = Scores({}, "keep", voices=("pixels",))
    assert vouched(pixels, "frames", told_by_hand=True).voices == ("hand",)
    assert vouched(pixels, "model", told_by_hand=True).verdict == "unscored"
    assert vouched(Scores({}, "reject", "no edit"), "frames", told_by_hand=True).verdict == "reject"


KEEP: Answer = "keep"
REJECT: Answer = "reject"


@pytest.mark.parametrize(
    ("answers", "said"),
    [((), None), ((KEEP,), KEEP), ((REJECT,), REJECT), ((KEEP, REJECT), None), ((KEEP, KEEP, REJECT), KEEP),
     ((KEEP, REJECT, REJECT), REJECT)],
)  # fmt: skip
def test_the_majority_of_the_persons_decides(answers: tuple[Answer, ...], said: Answer | None) -> None:
    assert majority(answers) == said


@pytest.mark.parametrize(
    ("said", "answers", "verdict", "voices", "reason"),
    [
        (("pixels",), (KEEP,), "keep", ("hand",), ""),
        ((), (KEEP,), "keep", ("hand",), ""),
        (("pixels", "silent judge"), (KEEP,), "keep", ("hand",), ""),
        (("pixels", "judge"), (KEEP, KEEP), "keep", ("judge", "hand"), ""),
        (("rejecting pixels",), (KEEP,), "reject", (), "rejecting pixels"),
        (("pixels", "rejecting judge"), (KEEP,), "reject", (), "rejecting judge"),
        (("pixels", "verifier", "judge"), (REJECT,), "reject", (), BY_HAND),
        (("silent judge",), (REJECT,), "reject", (), BY_HAND),
        (("rejecting judge",), (REJECT,), "reject", (), f"rejecting judge; {BY_HAND}"),
        (("pixels", "judge"), (KEEP, REJECT), "unscored", (), DIVIDED),
        (("rejecting judge",), (KEEP, REJECT), "reject", (), "rejecting judge"),
        (("pixels", "judge"), (), "keep", ("judge",), ""),
    ],
)
def test_verifiers_and_persons_together(
    said: tuple[str, ...], answers: tuple[Answer, ...], verdict: Verdict, voices: tuple[Voice, ...], reason: str
) -> None:
    given = [Scores({}, SAID[one][0], "" if SAID[one][0] == "keep" else one, voices=SAID[one][1]) for one in said]
    found = vouched(labelled(combine(given), answers), "model")
    assert (found.verdict, found.voices, found.reason) == (verdict, voices, reason)
    wanted = {KEEP: 1.0, REJECT: 0.0}.get(majority(answers) or "")
    assert found.values.get("hand.keep") == wanted


def test_a_person_vouches_for_the_words_that_they_read() -> None:
    restating = Scores({}, "keep", restated="Replace the cup with a jug.", task="replace", voices=("verifier",))
    found = vouched(labelled(restating, ["keep"]), "model")
    assert (found.verdict, found.voices, found.restated, found.task) == ("keep", ("hand",), "", "")
    assert labelled(restating, ["reject"]).restated == ""


def test_a_label_goes_on_with_the_row_that_it_decided() -> None:
    scores = [{"name": "judge.keep", "value": 1.0}, {"name": "hand.keep", "value": 0.0}]
    assert answers_of({"scores": scores}) == ("reject",)
    assert answers_of({"scores": scores, "hand_labels": ["keep"]}) == ("keep",)
    assert answers_of({}) == ()
    with pytest.raises(ValueError, match="its hand labels are 7: keep or reject, one for each person"):
        answers_of({"hand_labels": 7})


def test_a_policy_lets_speak_whom_it_asks() -> None:
    rejecting = Scores({"judge.overall": 4.0, "judge.keep": 0.0}, "reject", "low", voices=("judge",))
    pixels = Scores({"pixel.outside_max": 0.0}, "keep", voices=("pixels",))
    by_judge, _ = decide([pixels, rejecting], parse("judge.overall >= 3"), verdicts=False)
    assert vouched(by_judge, "model").voices == ("judge",)
    by_pixels, _ = decide([pixels, rejecting], parse("pixel.outside_max <= 2"), verdicts=False)
    assert vouched(by_pixels, "model").verdict == "unscored", "a judge that rejected does not vouch"


BOX = (0.0, 0.0, 9.0, 9.0)


def test_a_detector_vouches_for_what_it_was_asked_all_about() -> None:
    remove, replace_blind = Inquiry("remove", "cup", "", BOX), Inquiry("replace", "cup", "", BOX)
    assert says_all([remove], 1) and says_all([remove, Inquiry("replace", "cup", "jug", BOX)], 2)
    assert not says_all([remove], 2), "the other step is no thing that comes or goes"
    assert not says_all([replace_blind], 1), "nobody says what is there now"
    assert scores({}, "keep", "", True).voices == ("detector",)
    assert scores({}, "keep", "", False).voices == scores({}, "unscored", "blind", True).voices == ()


def graph(*edits: tuple[str, dict[str, Any]], **more: Any) -> Api:
    """Load, these nodes one after the other, save."""
    found: Api = {"load": {"class_type": "EditPairsLoadSample", "inputs": {"task": "remove"}}}
    last = "load"
    for number, (kind, inputs) in enumerate(edits):
        found[f"edit{number}"] = {"class_type": kind, "inputs": {"image": [last, 1], **inputs}}
        last = f"edit{number}"
    found["save"] = {"class_type": "EditPairsSavePair", "inputs": {"sample": ["load", 0], "edited": [last, 0], **more}}
    return found


INPAINT: tuple[str, dict[str, Any]] = ("EditPairsClassicalInpaint", {})


@pytest.mark.parametrize(
    ("found", "making"),
    [
        (graph(INPAINT), "classical"),
        (graph(("EditPairsSegmentBoxGrabCut", {}), ("GrowMask", {}), INPAINT), "classical"),
        (graph(INPAINT, ("EditPairsBlendEdit", {})), "classical"),
        (graph(("EditPairsLoadSecondImage", {"role": "reference"}), INPAINT), "classical"),
        (graph(("EditPairsLoadSecondImage", {"role": "frame2"})), "frames"),
        (graph(("EditPairsLoadSecondImage", {"role": "edited"})), "model"),
        (graph(("EditPairsLoadSecondImage", {"role": "edited"}), INPAINT), "model"),
        (graph(("VAEDecode", {}), INPAINT), "model"),
        (graph(INPAINT, ("ImageUpscaleWithModel", {})), "model"),
        (graph(("EditPairsDiffusersEdit", {})), "model"),
        (graph(), "model"),
        (graph(INPAINT) | {"edit0": {"class_type": "EditPairsClassicalInpaint", "inputs": {"image": ["gone", 0]}}}, "model"),
        (graph(INPAINT, source=["decode", 0]) | {"decode": {"class_type": "VAEDecode", "inputs": {}}}, "model"),
    ],
)  # fmt: skip
def test_what_made_an_edit_is_read_from_the_graph(found: Api, making: Making) -> None:
    """The last one is an add: what a model painted is the picture before."""
    assert making_of(found, "save") == making


def test_a_graph_that_nobody_shows_is_a_models() -> None:
    assert making_of(None, "save") == making_of(graph(INPAINT), None) == making_of(graph(INPAINT), "x") == "model"


PIXELS = {"class_type": "EditPairsVerifyPixels", "inputs": {}}


@pytest.mark.parametrize(
    ("edit", "also", "task", "line"),
    [
        (("VAEDecode", {}), PIXELS, "remove", "mine.json: ALL ROWS WILL BE UNSCORED"),
        (("VAEDecode", {}), PIXELS, "content_memory", "so each will end with its first"),
        (("VAEDecode", {}), {"class_type": "EditPairsJudgeEdit", "inputs": {}}, "style", ""),
        (("VAEDecode", {}), {"class_type": "EditPairsWitness", "inputs": {}}, "remove", ""),
        (("VAEDecode", {}), {"class_type": "EditPairsWitness", "inputs": {}}, "style", "ALL ROWS WILL BE UNSCORED"),
        (INPAINT, PIXELS, "remove", ""),
        (("EditPairsLoadSecondImage", {"role": "edited", "image": "a.png"}), PIXELS, "verify", "ALL ROWS WITHOUT A HAND LABEL WILL BE UNSC"),
        (("EditPairsLoadSecondImage", {"role": "frame2"}), PIXELS, "motion", ""),
        (("EditPairsLoadSecondImage", {"role": "frame2"}),
         {"class_type": "EditPairsWriteMotionInstruction", "inputs": {}}, "motion", "whose words a model writes WILL BE"),
    ],
)  # fmt: skip
def test_a_run_that_can_keep_nothing_says_so_before_it_starts(
    edit: tuple[str, dict[str, Any]], also: dict[str, Any], task: str, line: str
) -> None:
    api = graph(edit) | {"also": also}
    api["load"]["inputs"]["task"] = task
    said = unvouched(BatchGraph(api, "load", "save", (), ()), WorkflowFile(Path("mine.json"), "", None, api))
    assert (line in said) if line else said == ""


@pytest.mark.parametrize(
    ("edit", "task", "off", "line"),
    [
        (INPAINT, "remove", PIXELS, "looks at the edits: Pixels here #8 is muted: switch it on"),
        (INPAINT, "remove", {"class_type": "Blur"}, "looks at the edits: wire Verify Pixels to Save Edit Pair"),
        (("VAEDecode", {}), "remove", PIXELS, "looks at the edits: wire Verify Edit or Judge Edit to Save Edit Pair, or"),
        (("VAEDecode", {}), "remove", {"class_type": "EditPairsJudgeEdit"}, "looks at the edits: --judge PROFILE switches"),
        (("VAEDecode", {}), "remove", {"class_type": "EditPairsWitness"}, "Pixels here #8 is muted: switch it on; wire"),
        (("VAEDecode", {}), "content_understanding", {"class_type": "EditPairsWitness"}, "Pixels here #8 is muted: switch"),
        (("VAEDecode", {}), "style", {"class_type": "EditPairsWitness"}, "looks at the edits: wire Verify Edit"),
    ],
)  # fmt: skip
def test_who_could_vouch_and_is_switched_off_is_named(
    edit: tuple[str, dict[str, Any]], task: str, off: dict[str, Any], line: str
) -> None:
    api = graph(edit)
    api["load"]["inputs"]["task"] = task
    node = {"id": 8, "type": off["class_type"], "title": "Pixels here", "mode": MUTED}
    file = WorkflowFile(Path("mine.json"), "", {"nodes": [node]}, None)
    assert line in unvouched(BatchGraph(api, "load", "save", (), ()), file)


def test_muted_judges_and_whom_they_ask_are_switched_on_wherever_they_stand() -> None:
    """The judge stands in a muted subgraph; a muted preview and a bypassed node on its picture's way stay as they are."""
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    inner = {"nodes": [{"id": 1, "type": "EditPairsJudgeEdit", "mode": 4}], "links": [], "id": "sub", "name": "Judge"}
    nodes = [
        {"id": 5, "type": "EditPairsLoadVlmEndpoint", "mode": MUTED}, {"id": 6, "type": "Relay", "mode": MUTED},
        {"id": 7, "type": "sub", "mode": MUTED}, {"id": 8, "type": "PreviewImage", "mode": MUTED},
        {"id": 9, "type": "ImageInvert", "mode": 4}, {"id": 10, "type": "LoadImage", "mode": MUTED},
    ]  # fmt: skip
    links = [(1, 5, 0, 6, 0, "VLM"), (2, 6, 0, 7, 0, "VLM"), (3, 9, 0, 7, 1, "IMAGE"), (4, 10, 0, 7, 2, "IMAGE")]
    ui = {"nodes": nodes, "links": [dict(zip(names, link, strict=True)) for link in links], "definitions": {"subgraphs": [inner]}}  # fmt: skip
    found = UiGraph(ui)
    found.switch_on(frozenset({"EditPairsJudgeEdit"}), "VLM")
    modes = {node["id"]: node["mode"] for node in found.ui["nodes"]}
    assert modes == {5: 0, 6: 0, 7: 0, 8: MUTED, 9: 4, 10: MUTED}
    assert found.ui["definitions"]["subgraphs"][0]["nodes"][0]["mode"] == 0
    assert ui["nodes"][0]["mode"] == MUTED, "the artist's graph stays as it is"


def judged(**vlm: Any) -> Api:
    """An API graph with a judge, and who it asks."""
    judge = {"class_type": "EditPairsJudgeEdit", "inputs": {"vlm": ["vlm", 0]}}
    return graph(("VAEDecode", {})) | {"vlm": {"inputs": {}, **vlm}, "judge": judge}


ENDPOINT = "EditPairsLoadVlmEndpoint"


def test_judges_that_are_on_get_the_profile() -> None:
    file = WorkflowFile(Path("mine.json"), "", None, judged(class_type=ENDPOINT, inputs={"profile": "default"}))
    assert with_judges(file, "strict", {}).to_api({})["vlm"]["inputs"] == {"profile": "strict"}
    assert file.to_api({})["vlm"]["inputs"] == {"profile": "default"}


@pytest.mark.parametrize(
    ("api", "why"),
    [
        (graph(INPAINT), "mine.json has no Verify Edit or Judge Edit to switch on"),
        (judged(class_type="EditPairsLoadVlmLocal"), "EditPairsJudgeEdit #judge does not ask a service"),
        (judged(class_type=ENDPOINT) | {"write": {"class_type": "Write", "inputs": {"vlm": ["vlm", 0]}}},
         "shares its Load VLM with Write #write"),
    ],
)  # fmt: skip
def test_a_graph_whose_judges_cannot_be_asked_is_refused(api: Api, why: str) -> None:
    with pytest.raises(RunError, match=f"--judge: .*{why}"):
        with_judges(WorkflowFile(Path("mine.json"), "", None, api), "strict", {})


@pytest.mark.parametrize(
    ("task", "judge_was_told", "more"),
    [
        ("remove", True, 1), ("remove", False, 2), ("add", True, 1), ("hybrid", True, 1), ("verify", True, 1),
        ("instruct", True, 1), ("content_memory", True, 1), ("replace", True, 0), ("style", False, 0),
    ],
)  # fmt: skip
def test_edits_that_may_erase_cost_their_judges_a_further_question(
    task: str, judge_was_told: bool, more: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api: Api = {
        "load": {"class_type": "EditPairsLoadSample", "inputs": {"task": task}},
        "vlm": {"class_type": "EditPairsLoadVlmEndpoint", "inputs": {"profile": "strict"}},
        "verify": {"class_type": "EditPairsVerifyEdit", "inputs": {"vlm": ["vlm", 0], "sample": ["load", 0]}},
        "judge": {"class_type": "EditPairsJudgeEdit", "inputs": {"vlm": ["vlm", 0], "sample": ["load", 0]}},
    }
    if judge_was_told:
        api["judge"]["inputs"]["scores"] = ["verify", 0]
    graph = BatchGraph(api, "load", "judge", (), ())
    assert graph.profiles() == {"strict": 2}
    assert looks(graph)["strict"] == more
    (tmp_path / "vlm.toml").write_text('[profiles.strict]\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "tiny"\n')
    monkeypatch.setenv("EDITPAIRS_CONFIG", str(tmp_path / "vlm.toml"))
    told = estimates(cast(Workflow, SimpleNamespace(graph=graph)), 10)["services"]
    assert f"profile strict: at most {(2 + more) * 11} calls, " in told, "one in ten is asked twice"


def test_a_rewriter_of_what_has_to_be_thought_about_costs_others_nothing() -> None:
    api: Api = {
        "vlm": {"class_type": "EditPairsLoadVlmEndpoint", "inputs": {"profile": "strict"}},
        "write": {"class_type": "EditPairsWriteInstruction", "inputs": {"vlm": ["vlm", 0], "kind": "from the sample"}},
        "plain": {"class_type": "EditPairsRewriteInstruction", "inputs": {"vlm": ["vlm", 0], "kinds": "reasoning"}},
    }
    graph = BatchGraph(api, "write", "plain", (), ())
    colour, riddle = TAXONOMY["scaleedit/3.1_color_change"], TAXONOMY["scaleedit/5.3_social_reasoning"]
    assert (unasked(graph, []), unasked(graph, [colour])) == ({"strict": 1}, {"strict": 1})
    assert unasked(graph, [colour, riddle]) == {}
    api["write"]["inputs"]["kind"] = riddle.id
    assert unasked(graph, []) == {}
    api["write"]["inputs"]["kind"], api["plain"]["inputs"]["kinds"] = "from the sample", "all"
    assert unasked(graph, []) == {}
