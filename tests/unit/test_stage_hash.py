"""What a row's stage hash covers and what it does not: one table for each, and what a folder is claimed for."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from comfy_nodes.core.ingredients import Ingredients
from comfy_nodes.core.instructions.instructions import InstructionRecord, Writing
from comfy_nodes.core.models import Model
from comfy_nodes.core.records import AnnotationRecord, Basis, RegionRecord, SavedFile, Score
from comfy_nodes.core.regions.annotation import Region
from comfy_nodes.core.regions.rle import Rle
from comfy_nodes.core.verdicts.verdicts import Judge
from driver.dataset.rows import Row, RunFacts
from driver.engine.harvest import Harvest
from driver.errors import RunError
from driver.graph.api import Api
from driver.graph.bound import BatchGraph
from driver.journal import Journal
from driver.pipeline.claimed import AsClaimed
from driver.pipeline.folder import claim
from driver.samples import JournalRow

FACTS = RunFacts("remove", "a" * 64, "b" * 64, "classical", "c" * 64)
MASK, OTHER_MASK = Rle(size=(6, 10), counts="11"), Rle(size=(6, 10), counts="21")
REGION = RegionRecord.of("remove", Region(class_name="cup", bbox=(1, 2, 5, 6), mask=MASK))
FILE = SavedFile(filename="a.json", subfolder="run", type="output", sha256="0" * 64)

DECIDING: dict[str, dict[str, Any]] = {
    "instruction": {"initial_prompt": "Take the cup away.", "prompt": "Take the cup away."},
    "what the editor was told": {"editor_prompt": "Remove the cup."},
    "seed": {"seed": 8},
    "photo": {"source_sha256": "0" * 64},
    "mask": {"regions": (REGION.model_copy(update={"mask": OTHER_MASK}),)},
    "box": {"regions": (REGION.model_copy(update={"bbox": (1, 2, 5, 5)}),)},
    "class": {"regions": (REGION.model_copy(update={"class_name": "mug"}),)},
    "operation": {"regions": (REGION.model_copy(update={"op": "add"}),)},
    "second region": {"regions": (REGION, REGION)},
    "edit mask": {"edit_mask": OTHER_MASK},
    "crop": {"crop": (0, 0, 5, 6)},
    "size": {"width": 20},
    "task": {"task": "replace"},
    "subtask": {"subtask": "unicedit/x"},
    "language": {"lang": "zh"},
    "reference": {"basis": Basis(pictures={"reference": "1"})},
    "another reference": {"basis": Basis(pictures={"reference": "2"})},
    "second frame": {"basis": Basis(pictures={"frame2": "1"})},
    "stage before": {"basis": Basis(upstream="1")},
    "another stage before": {"basis": Basis(upstream="2")},
}

INDIFFERENT: dict[str, dict[str, Any]] = {
    "key": {"key": "b~1", "slot": "1"},
    "paths": {"source_path": "moved/cup.jpg", "source_id": "moved/cup.jpg"},
    "licence and address": {"source_licence": "CC0", "source_url": "https://example.org"},
    "verdict": {"verdict": "reject", "reject_reason": "too dark"},
    "scores": {"scores": (Score(name="x", value=1.0),)},
    "judge": {"judge": Judge(model="m", prompt_version="1", reply="yes")},
    "names of files": {"input_images": (FILE,)},
}


def record_of(filed: Callable[..., Any], **fields: Any) -> Any:
    known = {"initial_prompt": "Remove the cup.", "regions": (REGION,), "edit_mask": MASK}
    return filed("a").model_copy(update={**known, **fields})


class TestRow:
    def test_whatever_decides_counts_each_by_itself(self, filed: Callable[..., Any]) -> None:
        hashes = {name: FACTS.stage_sha256(record_of(filed, **fields)) for name, fields in DECIDING.items()}
        assert len({*hashes.values(), FACTS.stage_sha256(record_of(filed))}) == len(DECIDING) + 1, hashes

    @pytest.mark.parametrize("what", INDIFFERENT)
    def test_what_does_not_decide_does_not_count(self, filed: Callable[..., Any], what: str) -> None:
        one, other = record_of(filed), record_of(filed, **INDIFFERENT[what])
        assert FACTS.stage_sha256(one) == FACTS.stage_sha256(other)

    def test_the_words_that_a_verifier_found_are_an_outcome(self, filed: Callable[..., Any]) -> None:
        restated = record_of(filed, prompt="Remove the mug.", restated_prompt="Remove the mug.")
        assert FACTS.stage_sha256(restated) == FACTS.stage_sha256(record_of(filed))

    def test_graph_and_ingredients_count_and_names_do_not(self, filed: Callable[..., Any]) -> None:
        record = record_of(filed)
        same = [
            FACTS, replace(FACTS, workflow="mine", workflow_sha256="0" * 64), replace(FACTS, profile="full"),
            replace(FACTS, models=(Model(role="vae", name="ae.safetensors", sha256="1"),)),
        ]  # fmt: skip
        other = [replace(FACTS, edit_sha256="0" * 64), replace(FACTS, ingredients_sha256="0" * 64)]
        assert len({facts.stage_sha256(record) for facts in same}) == 1
        assert len({facts.stage_sha256(record) for facts in (FACTS, *other)}) == 3

    def test_a_pair_made_by_hand_goes_by_what_its_record_says(self, filed: Callable[..., Any]) -> None:
        by_hand = RunFacts("by hand", "", "", "custom")
        records = [record_of(filed, basis=Basis(ingredients=one)) for one in ("1", "2")]
        assert len({by_hand.stage_sha256(record) for record in records}) == 2

    def test_the_basis_is_no_column(self, filed: Callable[..., Any]) -> None:
        record = record_of(filed, basis=Basis(ingredients="1", upstream="2"))
        assert "basis" not in Row.of(record.model_dump_json(), 1, FACTS).line


class TestLine:
    @pytest.mark.parametrize("kind", ["annotation", "instruction"])
    def test_it_follows_from_all_that_the_line_says_but_its_path(self, kind: str) -> None:
        def line(annotation: dict[str, Any], facts: RunFacts = FACTS, **basis: Any) -> str:
            record: Any = AnnotationRecord(key="a", annotation=annotation, file=FILE, basis=Basis(**basis))
            if kind == "instruction":
                writing = Writing(instruction="x", lang="en")
                fields = record.model_dump()
                record = InstructionRecord(**fields, task="remove", writing=writing)
            return facts.line_sha256(record)

        said = {"path": "cup.jpg", "source_sha256": "f", "segmentation": {"object": [1]}, "instruction": "Remove it."}
        first = line(said)
        assert line({**said, "path": "moved/cup.jpg"}) == first
        others = [
            line({**said, "source_sha256": "e"}), line({**said, "segmentation": {"object": [2]}}),
            line({**said, "instruction": "Take it."}), line(said, replace(FACTS, edit_sha256="0" * 64)),
            line(said, replace(FACTS, ingredients_sha256="0" * 64)), line(said, upstream="1"),
        ]  # fmt: skip
        assert len({first, *others}) == len(others) + 1


def graph(**changes: dict[str, Any]) -> BatchGraph:
    """Loads weights, edits, verifies by pixels, by a model that restates and by one that scores; node inputs changed."""
    api: Api = {
        "1": {"class_type": "EditPairsLoadSample", "inputs": {"image": "a.png", "task": "remove", "seed": 5}},
        "2": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux.safetensors"}},
        "3": {"class_type": "Paint", "inputs": {"image": ["1", 1], "model": ["2", 0], "steps": 4}},
        "4": {"class_type": "EditPairsVerifyPixels", "inputs": {"edited": ["3", 0], "min_changed": 0.05}},
        "5": {"class_type": "EditPairsLoadVlmEndpoint", "inputs": {"profile": "verify"}},
        "6": {"class_type": "EditPairsVerifyEdit",
              "inputs": {"vlm": ["5", 0], "edited": ["3", 0], "scores": ["4", 0], "difference": False}},
        "7": {"class_type": "EditPairsLoadVlmLocal", "inputs": {"model": "judge-7b"}},
        "8": {"class_type": "EditPairsJudgeEdit", "inputs": {"vlm": ["7", 0], "edited": ["3", 0], "rubric": "auto"}},
        "9": {"class_type": "EditPairsSavePair", "inputs": {
            "sample": ["1", 0], "edited": ["3", 0], "scores.score0": ["6", 0], "scores.score1": ["8", 0]}},
    }  # fmt: skip
    for node_id, inputs in changes.items():
        api[node_id[1:]]["inputs"].update(inputs)
    return BatchGraph(api, "1", "9", (), ())


INGREDIENTS = Ingredients(
    version="0.3.0",
    code="1" * 64,
    prompts={"judge": "1 a", "verify-edit": "2 b"},
    packs={"Paint": "2" * 64},
    weights={"flux.safetensors": "3" * 64, "judge-7b": "4" * 64},
    pictures={"style.png": "5" * 64},
    profiles={"verify": {"model": "qwen", "base_url": "6" * 64}},
)

CHANGED: dict[str, dict[str, Any]] = {
    "EditPairs is 0.4.0 instead of 0.3.0": {"version": "0.4.0"},
    "the code of EditPairs 0.3.0 is other code": {"code": "0" * 64},
    "prompt judge is version 2 instead of 1": {"prompts": {**INGREDIENTS.prompts, "judge": "2 a"}},
    "prompt judge 1 has another text": {"prompts": {**INGREDIENTS.prompts, "judge": "1 b"}},
    "the code of Paint's node pack is other code": {"packs": {"Paint": "0" * 64}},
    "model flux.safetensors has other content (000000000000 instead of 333333333333)": {
        "weights": {**INGREDIENTS.weights, "flux.safetensors": "0" * 64}
    },
    "picture style.png has other content (none instead of 555555555555)": {"pictures": {"style.png": None}},
    "VLM profile 'verify' asks gpt instead of qwen": {"profiles": {"verify": {"model": "gpt", "base_url": "6" * 64}}},
    "VLM profile 'verify' has another base_url": {"profiles": {"verify": {"model": "qwen", "base_url": "0" * 64}}},
}


class TestGraph:
    @pytest.mark.parametrize(
        "change", [{"n3": {"steps": 8}}, {"n2": {"unet_name": "other.safetensors"}}, {"n1": {"task": "style"}},
                   {"n6": {"difference": True}}, {"n5": {"profile": "another"}}]
    )  # fmt: skip
    def test_what_makes_pixels_and_words_counts(self, change: dict[str, Any]) -> None:
        assert graph(**change).edit_sha256() != graph().edit_sha256()

    @pytest.mark.parametrize(
        "change", [{"n4": {"min_changed": 0.5}}, {"n8": {"rubric": "imgedit"}}, {"n7": {"model": "judge-72b"}},
                   {"n1": {"image": "b.png", "seed": 6}}, {"n5": {"run": "r", "budget_usd": 3.0}},
                   {"n9": {"folder": "elsewhere"}}]
    )  # fmt: skip
    def test_thresholds_other_verifiers_and_what_the_driver_fills_in_do_not(self, change: dict[str, Any]) -> None:
        assert graph(**change).edit_sha256() == graph().edit_sha256()

    def test_ids_titles_and_order_do_not(self) -> None:
        other = graph()
        names = {node_id: f"9{node_id}" for node_id in other.api}
        renamed = {
            names[node_id]: {
                "class_type": node["class_type"],
                "_meta": {"title": f"my {node_id}"},
                "inputs": {
                    name: [names[one[0]], one[1]] if isinstance(one, list) else one
                    for name, one in reversed(node["inputs"].items())
                },
            }
            for node_id, node in reversed(other.api.items())
        }
        assert BatchGraph(renamed, "91", "99", (), ()).edit_sha256() == graph().edit_sha256()

    def test_a_verifier_by_which_the_edit_is_chosen_counts(self) -> None:
        def chosen(least: float) -> str:
            api = copy.deepcopy(graph().api)
            api["10"] = {"class_type": "EditPairsPickBest", "inputs": {"edited": ["3", 0], "scores": ["6", 0]}}
            api["9"]["inputs"]["edited"] = ["10", 0]
            api["4"]["inputs"]["min_changed"] = least
            return BatchGraph(api, "1", "9", (), ()).edit_sha256()

        assert chosen(0.05) != chosen(0.5)

    def test_of_ingredients_those_of_the_same_part(self) -> None:
        part = INGREDIENTS.of(graph().edit_part())
        assert part.weights == {"flux.safetensors": "3" * 64}
        assert (part.packs, part.profiles) == (INGREDIENTS.packs, INGREDIENTS.profiles)
        assert (part.code, part.prompts, part.pictures) == (INGREDIENTS.code, INGREDIENTS.prompts, {})


class TestIngredients:
    def test_every_change_counts_and_has_a_name(self) -> None:
        changed = {words: INGREDIENTS.model_copy(update=fields) for words, fields in CHANGED.items()}
        assert {words: one.differences(INGREDIENTS) for words, one in changed.items()} == {
            words: [words] for words in CHANGED
        }
        assert len({INGREDIENTS.sha256, *(one.sha256 for one in changed.values())}) == len(CHANGED) + 1

    def test_the_order_in_which_a_server_tells_them_does_not(self) -> None:
        fields = INGREDIENTS.model_dump()
        turned = {name: dict(reversed(one.items())) if isinstance(one, dict) else one for name, one in fields.items()}
        assert Ingredients.model_validate(turned).sha256 == INGREDIENTS.sha256


def stage(ingredients: Ingredients = INGREDIENTS) -> Any:
    """A stage as far as a claim looks at it."""
    return SimpleNamespace(graph=graph(), agreement=SimpleNamespace(ingredients=ingredients))


class TestClaim:
    @pytest.mark.parametrize("words", CHANGED)
    def test_a_folder_of_other_ingredients_is_refused_with_the_difference(self, journal: Journal, words: str) -> None:
        claim(journal, [stage()], 0, Path("out"))
        claim(journal, [stage()], 0, Path("out"))
        with pytest.raises(RunError) as caught:
            claim(journal, [stage(INGREDIENTS.model_copy(update=CHANGED[words]))], 0, Path("out"))
        line = str(caught.value)
        assert line.startswith("--output out: holds a run of another content (") and words in line
        claim(journal, [stage()], 0, Path("out"))

    def test_a_folder_from_before_takes_what_there_is_now(self, journal: Journal) -> None:
        claim(journal, [stage()], 0, Path("out"))
        journal._db.execute("DELETE FROM meta WHERE name = 'content'")
        claim(journal, [stage(INGREDIENTS.model_copy(update={"version": "0.4.0"}))], 0, Path("out"))


class Server:
    """Says what it runs now."""

    url = "http://here"

    def __init__(self, now: Ingredients) -> None:
        self._now = now

    def ingredients(self, _graph: Api) -> Ingredients:
        return self._now


class TestWhileItLasts:
    @pytest.mark.parametrize("back", [False, True])
    def test_a_record_of_other_ingredients_is_none_of_the_run(self, filed: Callable[..., Any], back: bool) -> None:
        other = INGREDIENTS.model_copy(update={"profiles": {"verify": {"model": "gpt", "base_url": "6" * 64}}})
        found = harvested(filed, other, INGREDIENTS if back else other)
        assert found.rows == []
        why = "something was changed there and put back" if back else "VLM profile 'verify' asks gpt instead of qwen"
        assert found.misfit == f"http://here: since the run began, {why}"

    def test_its_own_records_are(self, filed: Callable[..., Any]) -> None:
        found = harvested(filed, INGREDIENTS, INGREDIENTS)
        assert (len(found.rows), found.misfit) == (1, "")


def harvested(filed: Callable[..., Any], made_with: Ingredients, now: Ingredients) -> Harvest:
    record = record_of(filed, basis=Basis(ingredients=made_with.sha256))
    rows = [JournalRow("a", "keep", record.model_dump_json())]
    inner: Any = SimpleNamespace(harvest=lambda *_: Harvest(rows, made_with={made_with.sha256}))
    server: Any = Server(now)
    origin: Any = None
    return AsClaimed(inner, {}, INGREDIENTS).harvest(origin, server, lambda key, _: key)
