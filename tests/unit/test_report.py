"""The report: a page of its own, whatever words a row holds, with figures that add up."""

from __future__ import annotations

import base64
import html
import io
import json
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
import yaml
from PIL import Image

from comfy_nodes.core.records import RegionRecord, Score
from comfy_nodes.core.regions.annotation import Region
from driver.dataset.ownership import JOURNAL
from driver.report import gallery
from driver.report import pictures as report_pictures
from driver.report.pictures import pair
from driver.report.summary import Summary
from tests.unit.turn_making import Said, add_dialogue

HOSTILE = "</p><script>alert('x')</script><img src=x onerror=\"alert(1)\"> & {{ 7 * 7 }} {% raw %} \u2028 日本"
SUMMARY = Summary(
    workflow="remove", profile="classical", task="remove", samples=6, kept=2, rejected=1, unscored=1, failed=1, pending=1,
    failures={"NoRegion": 1}, reasons={"no edit": 1}, seconds=12.5, samples_per_second=0.4,
)  # fmt: skip
ENVIRONMENT = {"editpairs": "0.1.0", "comfyui": "0.30.0", "devices": "cpu"}


class Page(HTMLParser):
    """A page as a browser takes it apart: its tags with their attributes, and its words."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def images(self) -> list[str]:
        return [str(attributes["src"]) for tag, attributes in self.tags if tag == "img"]


def failure(**fields: str) -> dict[str, Any]:
    known = {
        "key": "x",
        "source_id": "x.jpg",
        "stage": "input",
        "node": "",
        "error_type": "NoRegion",
        "message": "none",
    }
    return {**known, "attempts": int(fields.get("stage", "input") != "input"), **fields}


def page(
    run: Any, summary: Summary = SUMMARY, failures: list[dict[str, Any]] | None = None, **environment: str
) -> Page:
    run.report(summary, failures or [], {**ENVIRONMENT, **environment})
    return Page((run.output / "report.html").read_text(encoding="utf-8"))


@pytest.fixture
def rows(run: Any) -> Any:
    """An output folder with two kept rows, a rejected one and an unscored one, all with hostile words."""
    region = RegionRecord.of("remove", Region(class_name=HOSTILE, bbox=(1, 2, 5, 6)))
    words = {"prompt": HOSTILE, "source_path": f"{HOSTILE}.jpg", "regions": (region,)}
    run.add("a", "b", scores=(Score(name=HOSTILE, value=0.5),), **words)
    run.add("r", verdict="reject", reject_reason=HOSTILE, **words)
    run.add("u", verdict="unscored", reject_reason="no verifier", **words)
    run.finish()
    return run


def test_hostile_words_stay_words(rows: Any) -> None:
    fields = {name: HOSTILE for name in ("source_id", "node", "error_type", "message")}
    found = page(rows, failures=[failure(**fields)], devices=HOSTILE)
    assert "script" not in {tag for tag, _attributes in found.tags}
    assert not [attributes for _tag, attributes in found.tags if any(name.startswith("on") for name in attributes)]
    assert all(source.startswith("data:image/jpeg;base64,") for source in found.images())
    assert found.words.count(HOSTILE) >= 4 + 1 + 4 + 1
    assert "49" not in found.words.replace(HOSTILE, "")


def test_the_page_asks_nobody_for_anything(rows: Any) -> None:
    page(rows)
    text = (rows.output / "report.html").read_text(encoding="utf-8").replace("&#34;", '"')
    without_pictures = re.sub(r"data:image/jpeg;base64,[A-Za-z0-9+/=]+", "", text)
    assert not re.findall(r"https?://|//[a-z]|url\(|@import|<link|<iframe|<object|<embed", without_pictures)


def test_pictures_are_before_and_after(rows: Any) -> None:
    sources = page(rows).images()
    pictures = [Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) for source in sources]
    assert len(pictures) >= 2 * 4
    assert all(picture.format == "JPEG" and max(picture.size) <= report_pictures.THUMBNAIL for picture in pictures)


def test_large_images_become_thumbnails(run: Any) -> None:
    run.add("a", side=900, width=900, height=900)
    run.finish()
    (before, after) = page(run).images()
    for source in (before, after):
        assert (
            Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).size == (report_pictures.THUMBNAIL,) * 2
        )


@pytest.mark.parametrize(("most", "shown"), [(1, ["k0"]), (2, ["k0", "k6"]), (4, ["k0", "k2", "k4", "k6"]), (50, None)])
def test_many_pairs_are_shown_spread_evenly(
    most: int, shown: list[str] | None, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"k{number}" for number in range(7)]
    run.add(*keys)
    run.finish()
    monkeypatch.setattr(gallery, "MAX_PAIRS", {"data": most, "rejected": 1})
    figures = [attributes["id"] for tag, attributes in page(run).tags if tag == "figure"]
    assert figures == (shown or keys)


def test_a_run_without_rows_still_has_a_page(run: Any) -> None:
    run.finish()
    empty = Summary("remove", "classical", "remove", 1, 0, 0, 0, 1, 0, {"NoRegion": 1}, {}, 0.0, 0.0)
    found = page(run, empty, [failure(message="put x.mask.png beside it")])
    assert "put x.mask.png beside it" in found.words
    assert found.images() == []


def test_skipped_samples_are_told_from_failed_ones(run: Any) -> None:
    run.finish()
    summary = Summary("w", "full", "remove", 3, 0, 0, 0, 1, 0, {}, {}, 0.0, 0.0, skipped=2, skips={"NoRegion": 2})
    skips = [failure(source_id="plain.jpg"), failure(source_id="wall.jpg", stage="edit")]
    run.report(summary, [failure(source_id="torn.jpg", error_type="PhotoError")], ENVIRONMENT, skips)
    text = (run.output / "report.html").read_text(encoding="utf-8")
    failed, skipped = text.split(">Failed</h2>")[1].split(">Skipped</h2>")
    assert "torn.jpg" in failed and "plain.jpg" not in failed
    assert "plain.jpg" in skipped and "wall.jpg" in skipped
    figures = json.loads((run.output / "summary.json").read_text(encoding="utf-8"))
    assert (figures["failed"], figures["skipped"], figures["skips"]) == (1, 2, {"NoRegion": 2})
    assert figures["tasks"]["remove"]["skipped"] == 2
    assert [stage["count"] for stage in figures["stages"][:2]] == [3, 1]
    assert "(`skipped.parquet`) | 2 |" in (run.output / "README.md").read_text(encoding="utf-8")


def test_only_the_first_failures_are_listed(run: Any) -> None:
    run.finish()
    many = [failure(key=str(number), source_id=f"photo {number}.jpg") for number in range(150)]
    found = page(run, Summary("w", "full", "remove", 150, 0, 0, 0, 150, 0, {}, {}, 0.0, 0.0), many)
    assert "the first 100 of 150" in found.words
    assert "photo 99.jpg" in found.words
    assert "photo 100.jpg" not in found.words


def test_the_summary_is_for_programs(rows: Any) -> None:
    page(rows)
    found = json.loads((rows.output / "summary.json").read_text(encoding="utf-8"))
    assert {name: found[name] for name in vars(SUMMARY)} == vars(SUMMARY)
    assert found["tasks"]["remove"] == {"kept": 2, "rejected": 1, "unscored": 1, "tries": 0, "failed": 0, "skipped": 0,
                                        "vouched_by": {"judge": 2}}  # fmt: skip
    assert found["row_reasons"]["unscored"] == {"no verifier": 1}
    assert found["scores"][HOSTILE]["count"] == 2


def scored(overall: float, keep: bool) -> tuple[Score, ...]:
    """Scores of a judge that has pixels seen before it."""
    values = {"pixel.keep": 1, "judge.overall": overall, "judge.keep": int(keep)}
    return tuple(Score(name=name, value=value) for name, value in values.items())


@pytest.fixture
def judged(run: Any) -> Any:
    """Two kept rows, one that the judge rejected, one that pixels did and its earlier try, one whose judge was silent."""
    run.add("good", scores=scored(5, True))
    run.add("fair", scores=scored(4, True), task="style")
    run.add("poor", scores=scored(1, False), verdict="reject", reject_reason="overall 1: low")
    said = {"scores": (Score(name="pixel.keep", value=0),), "verdict": "reject", "reject_reason": "no edit: 1%"}
    run.add("same", "same~try1", **said)
    run.add("mute", scores=(Score(name="pixel.keep", value=1),), verdict="unscored", reject_reason="no reply")
    run.finish()
    return run


JUDGED = Summary(
    workflow="w", profile="full", task="remove", samples=7, kept=2, rejected=3, unscored=1, failed=2, pending=0,
    failures={}, reasons={}, seconds=1.0, samples_per_second=5.0, vlm_calls=8, vlm_usd=0.4,
)  # fmt: skip


def test_stages_count_samples_and_say_who_rejected(judged: Any) -> None:
    lost = [failure(stage="input"), failure(stage="edit", task="style")]
    found = page(judged, JUDGED, lost)
    figures = json.loads((judged.output / "summary.json").read_text(encoding="utf-8"))
    stages = [tuple(stage.values()) for stage in figures["stages"]]
    assert stages == [
        ("inputs", 7, None, 0, 0),
        ("usable samples", 6, -14.29, 0, 0),
        ("edits made", 5, -16.67, 0, 0),
        ("after pixel", 4, -20.0, 1, 0),
        ("after judge", 2, -50.0, 1, 1),
        ("kept", 2, 0.0, 0, 0),
    ]
    assert "-14.29 %" in found.words
    assert figures["tries"] == 1
    assert figures["tasks"]["style"] == {
        "kept": 1, "rejected": 0, "unscored": 0, "tries": 0, "failed": 1, "skipped": 0,
        "vouched_by": {"judge": 1},
    }  # fmt: skip
    assert figures["tasks"]["remove"]["failed"] == 1
    assert figures["vlm_calls_per_kept"] == 4
    assert figures["vlm_usd_per_kept"] == 0.2
    (both,) = figures["agreement"]
    assert (both["first"], both["second"], both["both_keep"], both["first_only"]) == ("pixel", "judge", 2, 1)


def test_worst_and_best_pairs_are_shown_by_the_judges_score(judged: Any) -> None:
    found = page(judged, JUDGED)
    assert found.words.index("Worst by judge.overall") < found.words.index("Best by judge.overall")
    tail = found.words[found.words.index("Worst by judge") :]
    assert tail.index("judge.overall 1") < tail.index("Best by") < tail.index("judge.overall 5")


def test_a_score_is_drawn_and_counted(judged: Any) -> None:
    found = page(judged, JUDGED)
    titles = re.findall(r"\S+ to \S+: \d+ kept, \d+ not kept", found.words)
    assert "5 to 6: 1 kept, 0 not kept" in titles
    assert "1 to 2: 0 kept, 1 not kept" in titles
    assert sum(tag == "svg" for tag, _ in found.tags) == 3


def test_a_score_that_is_the_same_in_all_rows_is_one_of_a_line(run: Any) -> None:
    for number in range(2):
        scores = (Score(name="judge.overall", value=number), Score(name="pixel.drift", value=0.0))
        run.add(f"k{number}", scores=scores)
    run.finish()
    found = page(run)
    assert "The same in all rows that have them: pixel.drift 0." in found.words
    assert found.words.count("pixel.drift") == 1
    assert sum(tag == "svg" for tag, _ in found.tags) == 1


def test_pairs_come_before_figures_and_say_their_verdict_in_words(rows: Any) -> None:
    found = page(rows).words
    kept, rejected = found.index("kept: vouched for by judge"), found.index(f"rejected: {HOSTILE}")
    assert kept < rejected < found.index("unscored: no verifier") < found.index("edits made")


@pytest.mark.parametrize(("rejected", "colours"), [(0, 0), (1, 1)])
def test_none_rejected_is_not_red(rejected: int, colours: int, rows: Any) -> None:
    found = page(rows, replace(SUMMARY, rejected=rejected))
    assert [attributes.get("class") for tag, attributes in found.tags if tag == "li"].count("reject") == colours


def test_a_row_says_how_to_open_it(judged: Any) -> None:
    page(judged, JUDGED)
    text = (judged.output / "report.html").read_text(encoding="utf-8")
    assert f"python driver/open.py {judged.output.name} poor" in text


@pytest.mark.parametrize("name", ["my run", "a;id", "$(id)", "it's", "-rf", "`id`", "a&b", "a\nb", "ü"])
def test_the_command_to_copy_names_any_folder(name: str, run: Any) -> None:
    run.output = run.output / name
    run.output.mkdir()
    (run.output / JOURNAL).touch()
    run.add("k~try1")
    run.finish()
    page(run)
    text = html.unescape((run.output / "report.html").read_text(encoding="utf-8"))
    (command,) = re.findall(r"<code>(python .*?)</code>", text, re.DOTALL)
    words = ["python", "driver/open.py", "./-rf" if name == "-rf" else name, "k~try1"]
    assert shlex.split(command) == words


def test_the_card_opens_with_yaml_and_says_how_to_load(rows: Any) -> None:
    page(rows)
    _, front, text = (rows.output / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    configs = {one["config_name"]: one["data_files"] for one in yaml.safe_load(front)["configs"]}
    assert configs == {
        "default": [{"split": "train", "path": "data/*.parquet"}],
        "rejected": [{"split": "train", "path": "rejected/*.parquet"}],
    }
    assert "load_dataset(" in text
    assert "| 2 |" in text


def test_nothing_unfinished_is_left(rows: Any) -> None:
    page(rows)
    assert not list(rows.output.glob(".*.part"))


def test_all_regions_and_the_reference_are_shown() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (100, 50)).save(buffer, "PNG")
    columns = dict.fromkeys(("key", "task", "prompt", "verdict", "reject_reason", "source_path"), "x")
    row = {**columns, "scores": [], "width": 100, "height": 50, "bbox": [10, 5, 60, 45]}
    row["regions"] = [{"bbox": [10, 5, 60, 45]}, {"bbox": [80, 0, 100, 50]}]
    shown = pair(row, [buffer.getvalue()] * 2, buffer.getvalue())
    assert [(box["left"], box["width"], box["height"]) for box in shown["boxes"]] == [(10, 50, 80), (80, 20, 100)]
    assert len(shown["references"]) == 1


@pytest.fixture
def talks(run: Any) -> Any:
    """A dialogue that goes back and that its fourth turn ended, one whose second turn was tried twice, and one of which nothing
    was kept; a pair beside them."""
    run.add("p", scores=scored(5, True))
    add_dialogue(
        run, "v", "version_backtracking",
        Said("Make it blue."), Said("Make it glow."), Said("As before, and green.", base=1),
        Said("Now larger.", verdict="reject", reject_reason="no edit: 0%"), of=5,
        scores=scored(3, True),
    )  # fmt: skip
    add_dialogue(
        run, "m", "content_memory",
        Said("Remove the dog.", op="remove"), Said("Recolour the car.", attempt=0, verdict="reject", reject_reason="too dark"),
        Said("Recolour the car."), premise=HOSTILE, scores=scored(2, True),
    )  # fmt: skip
    ended = "turn 2 was not kept"
    add_dialogue(
        run, "n", "content_memory", Said("Remove the cup.", op="remove", verdict="reject", reject_reason=ended), of=2
    )
    run.finish()
    return run


def strips(found: Page) -> list[str | None]:
    return [
        attributes["id"] for tag, attributes in found.tags if tag == "figure" and attributes.get("class") == "strip"
    ]


def test_a_dialogue_is_one_strip_with_every_state_once(talks: Any) -> None:
    lost = failure(key="n~1", stage="edit", message="its cup is gone", task="content_memory")
    counted = replace(SUMMARY, kept=6, rejected=3, dialogues={"planned": 3, "kept": 2, "shorter": 1})
    found = page(talks, counted, [lost])
    assert (
        "2of 3 planned dialogues kept, 1 of these shorter than planned; all other numbers are of turns" in found.words
    )
    assert "| dialogues kept, of those planned | 2 of 3 |" in (talks.output / "README.md").read_text(encoding="utf-8")
    assert sorted(map(str, strips(found))) == ["m", "n", "v"]
    versions = [
        str(attributes["alt"]) for tag, attributes in found.tags if tag == "img" and "version" in str(attributes["alt"])
    ]
    assert sorted(versions) == sorted([f"version {n}" for many in (5, 3, 2) for n in range(many)])
    of_strips = [
        str(attributes["src"]) for tag, attributes in found.tags if tag == "img" and "version" in str(attributes["alt"])
    ]
    assert len(set(of_strips)) == len(of_strips)
    assert [attributes["href"] for tag, attributes in found.tags if tag == "a" and attributes["href"] == "#v-1"] == [
        "#v-1"
    ]
    for words in ("goes back to version 1", "3 of 5 kept, ended by turn 4", "tried before: too dark", f"{HOSTILE} content_memory",
                  "0 of 2 kept, ended by turn 2: its cup is gone", "rejected: turn 2 was not kept"):  # fmt: skip
        assert words in " ".join(found.words.split()) or words in found.words, words
    assert found.words.count("ended the dialogue") == 1
    text = html.unescape((talks.output / "report.html").read_text(encoding="utf-8"))
    assert f"python driver/open.py {talks.output.name} 'v~2'" in text
    assert text.index('id="v"') < text.index('id="not-kept"') < text.index('id="n"'), "where its first kept turn is"


def test_a_ranked_turn_leads_to_its_strip(talks: Any) -> None:
    found = page(talks)
    tail = found.words[found.words.index("Worst by judge.overall") :]
    assert "turn 1 of a dialogue" in tail
    assert {
        attributes["href"] for tag, attributes in found.tags if tag == "a" and str(attributes["href"]).startswith("#m~")
    }
    assert len(strips(found)) == 3


def test_a_dialogue_that_is_only_ranked_has_its_strip_there(talks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "MAX_PAIRS", {"data": 0, "rejected": 0})
    text = (page(talks) and talks.output / "report.html").read_text(encoding="utf-8")
    assert text.index('id="best"') < text.index('class="strip" id="m"')
    assert text.count('class="strip" id="m"') == 1


def test_many_dialogues_are_shown_spread_evenly(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        add_dialogue(run, f"d{number}", "content_memory", Said("Remove it.", op="remove"), Said("Paint it."))
    run.finish()
    monkeypatch.setattr(gallery, "MAX_STRIPS", {"data": 3, "rejected": 0})
    found = page(run, replace(SUMMARY, kept=10))
    assert strips(found) == ["d0", "d2", "d4"]
    assert "Kept: 6 of 10" in found.words


def test_a_dialogue_on_its_way_says_so(run: Any) -> None:
    add_dialogue(run, "u", "content_understanding", Said("Add a hat.", op="add"), of=3)
    run.finish()
    assert "0 of 3 kept; the rest is not done yet" in page(run).words
