"""What a dataset's licences come to: who took part, from stage to stage, and what the card says of the whole."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from comfy_nodes.core.models import Model, each_once, said_to_train, service_licence
from comfy_nodes.core.records import Basis
from comfy_nodes.core.regions.annotation import (
    UPSTREAM_MODELS,
    Annotation,
    AnnotationError,
    Region,
    parse_annotation,
    to_json,
)
from comfy_nodes.core.tasks import task_named
from driver.graph.licences import unfit
from driver.inputs.source import Source
from driver.options import RunOptions
from driver.pipeline.plan import planned
from driver.report.summary import Summary
from driver.report.terms import Terms, TookPart
from driver.samples import Aim, Sample, Unusable

FILL = Model(role="diffusion model", name="flux1-fill-dev.safetensors", licence="FLUX.1 [dev] Non-Commercial License")
KLEIN = Model(role="diffusion model", name="flux-2-klein-4b-fp8.safetensors", licence="Apache-2.0")
WRITER = Model(role="writer", name="gpt-4o", revision="write 3")
SAID = {"licence": "Some Terms of Use", "outputs_may_train": "no"}
GOOD = Model(role="language model", name="gpt-4o", licence="Terms (outputs may train: yes)")
SERVICE = Model(role="language model", name="gpt-4o", licence=service_licence(SAID))
SUMMARY = Summary("remove", "open", "remove", 2, 2, 0, 0, 0, 0, {}, {}, 1.0, 1.0)


def part(model: Model) -> TookPart:
    return TookPart.of(model.model_dump())


class TestTookPart:
    def test_a_licence_that_is_known_of_a_name_holds_for_who_wrote_by_it(self) -> None:
        dated = WRITER.model_copy(update={"name": "gpt-4o-2024-11-20"})
        for one in (WRITER, dated):
            writer, service, again = each_once([one, SERVICE, KLEIN, KLEIN])
            assert writer.licence == service.licence == "Some Terms of Use (outputs may train: no)" and again == KLEIN
        other, *_ = each_once([WRITER.model_copy(update={"name": "o4-mini"}), SERVICE])
        assert other.licence is None

    def test_what_an_operator_said_is_read_back(self) -> None:
        assert said_to_train(service_licence(SAID) or "") == "no"
        assert service_licence({"outputs_may_train": "yes"}) == "terms not named (outputs may train: yes)"
        assert service_licence({"licence": "MIT"}) == "MIT" and said_to_train("MIT") == ""
        assert service_licence({}) is None

    def test_it_travels_with_the_annotation(self) -> None:
        known = Annotation(path="a.jpg", size=(4, 4), regions=(), models=(KLEIN, SERVICE))
        line = to_json(known)
        assert line[UPSTREAM_MODELS][0] == {"role": "diffusion model", "name": KLEIN.name, "licence": "Apache-2.0"}
        assert parse_annotation(line).models == known.models
        assert UPSTREAM_MODELS not in to_json(Annotation(path="a.jpg", size=None, regions=()))

    @pytest.mark.parametrize("value", ["klein", [3], [{"role": "vae"}], {"name": "x"}])
    def test_other_things_in_its_place_are_refused_in_one_line(self, value: Any) -> None:
        item = {**to_json(Annotation(path="a.jpg", size=(4, 4), regions=())), UPSTREAM_MODELS: value}
        with pytest.raises(AnnotationError, match=r"^a\.jpg: upstream_models lists no models"):
            parse_annotation(item)


class TestStagesBefore:
    """`--licence-policy` and what an input's lines say of who made them."""

    @pytest.mark.parametrize(
        ("models", "policy", "why"),
        [
            ((KLEIN,), "train", ""),
            ((FILL,), "any", ""),
            ((KLEIN, FILL), "train", "was made with flux1-fill-dev.safetensors (FLUX.1 [dev] Non-Commercial License v1.1.1: 2(d)"),
            ((FILL,), "commercial", "2(b)"),
            ((SERVICE,), "train", "was made with gpt-4o (Some Terms of Use (outputs may train: no))"),
            ((WRITER,), "train", "was made with gpt-4o (licence unknown; state its terms"),
            ((WRITER, GOOD), "train", ""),
            ((Model(role="writer", name="template"), Model(role="writer", name="user")), "train", ""),
            ((WRITER,), "commercial", ""),
        ],
    )  # fmt: skip
    def test_what_is_ruled_out(self, models: tuple[Model, ...], policy: Any, why: str) -> None:
        found = unfit(models, policy)
        assert why in found and bool(found) == bool(why)

    def test_such_lines_are_skipped_and_the_others_are_made(self, tmp_path: Path) -> None:
        region = Region(class_name="cup", bbox=(1, 1, 9, 9))
        made_with = {"free.png": [KLEIN], "bound.png": [FILL], "broken.png": []}
        lines = []
        for name, models in made_with.items():
            Image.new("RGB", (16, 16)).save(tmp_path / name)
            known = Annotation(path=name, size=(16, 16), regions=(region,), models=tuple(models))
            lines.append({**to_json(known), "instruction": "Remove the cup."})
        lines[2] |= {"stage_sha256": "0" * 64, "models": [{"name": "of no role"}]}  # a row of a dataset
        (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, lines)))
        workflow: Any = SimpleNamespace(aim=Aim(task_named("remove")))
        source = Source(str(tmp_path / "lines.jsonl"), None)

        def plan(policy: Any) -> list[Any]:
            options = RunOptions("remove", tmp_path / "out", licence_policy=policy)
            return list(planned(options, source, [workflow], None))

        assert all(isinstance(one, Sample) for one in plan("any"))
        free, bound, broken = plan("train")
        assert isinstance(free, Sample) and isinstance(bound, Unusable) and isinstance(broken, Unusable)
        assert bound.failure.skipped and "--licence-policy train: was made with flux1-fill-dev" in bound.failure.message
        assert not broken.failure.skipped and "lists no models" in broken.failure.message


class TestTheWhole:
    def test_the_strictest_model_decides(self) -> None:
        found = Terms.of({part(KLEIN): 9, part(FILL): 1}, {"CC0-1.0": 10})
        assert found.training == "no, by flux1-fill-dev.safetensors (FLUX.1 [dev] Non-Commercial License)"
        assert found.commercial.startswith("no, by flux1-fill-dev")
        mine = Model(role="checkpoint", name="mine.safetensors")
        assert Terms.of({part(mine): 9, part(FILL): 1}, {}).training == found.training
        assert Terms.of({part(KLEIN): 9}, {}).training == "yes"
        assert Terms.of({}, {}).training == "yes: no model took part"

    def test_what_nobody_knows_is_no_yes(self) -> None:
        mine = Model(role="checkpoint", name="mine.safetensors")
        assert (
            Terms.of({part(mine): 1, part(KLEIN): 1}, {}).training == "not known, by mine.safetensors (licence unknown)"
        )
        assert Terms.of({part(SERVICE): 1}, {}).training.startswith("no, by gpt-4o (Some Terms of Use")
        assert Terms.of({part(SERVICE): 1}, {}).commercial.startswith("not known, by gpt-4o")

    def test_sentences_of_ours_are_no_model(self) -> None:
        assert Terms.of({part(Model(role="writer", name="template")): 3}, {}).training == "yes: no model took part"

    @pytest.mark.parametrize(
        ("licence", "asks"),
        [
            ("CC0-1.0", "any use"),
            ("public domain (released by SpaceX)", "any use"),
            ("CC-BY-2.0", "names the authors"),
            ("http://creativecommons.org/licenses/by/2.0/", "names the authors"),
            ("cc-by-sa-4.0", "same licence"),
            ("CC BY-NC-SA 4.0", "non-commercial"),
            ("CC BY-NC-ND 4.0", "no derivatives"),
            ("Unsplash License", "read it"),
            ("", "nobody stated one"),
        ],
    )
    def test_photos(self, licence: str, asks: str) -> None:
        assert asks in Terms.of({}, {licence: 1}).photos

    def test_a_licence_that_asks_several_things(self) -> None:
        asked = Terms.of({}, {"CC BY-NC-SA 4.0": 1}).photos
        assert all(words in asked for words in ("non-commercial", "the same licence", "names the authors"))
        assert Terms.of({}, {"CC0-1.0": 1}).photos == "any use"

    def test_what_photos_ask_adds_up_and_all_are_listed(self) -> None:
        found = Terms.of({}, {"CC0-1.0": 90, "": 3, "CC-BY-NC-4.0": 1, "CC-BY-4.0": 6})
        unstated, non_commercial, by = found.photos.split("; ")
        assert "nobody stated one" in unstated and non_commercial == "non-commercial use only" and "authors" in by
        assert [(licence, rows) for licence, _asks, rows in found.sources] == [
            ("CC0-1.0", 90),
            ("CC-BY-4.0", 6),
            ("", 3),
            ("CC-BY-NC-4.0", 1),
        ]


def test_rows_and_card_have_all_stages(run: Any) -> None:
    """What found the region, what wrote, and what edited."""
    run.add("a", models=(WRITER,), source_licence="CC-BY-2.0", basis=Basis(models=(SERVICE, KLEIN)))
    run.add("b")
    run.finish()
    first, second = run.rows()
    assert [(one["role"], one["licence"]) for one in first["models"]] == [
        ("writer", SERVICE.licence),
        ("language model", SERVICE.licence),
        ("diffusion model", "Apache-2.0"),
    ]
    assert second["models"] == []
    run.report(SUMMARY, [], {"editpairs": "0", "comfyui": "0"})
    card = (run.output / "README.md").read_text(encoding="utf-8")
    assert "go: **no, by gpt-4o (Some Terms of Use (outputs may train: no))**" in card
    assert "| flux-2-klein-4b-fp8.safetensors | diffusion model | Apache-2.0 | yes | 1 |" in card
    assert "| none stated | nobody stated one" in card and "| CC-BY-2.0 | who passes" in card
    assert "this is no legal advice" in card
