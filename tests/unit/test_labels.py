"""Hand labels: a random sample of every task and verdict, labels that survive, figures of the whole run, a closed door."""

from __future__ import annotations

import http.client
import json
import shlex
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from comfy_nodes.core.records import Score
from driver import review
from driver.dataset.layouts.hf import HfLayout
from driver.dataset.layouts.layout import Shard, StoredRow
from driver.errors import RunError
from driver.labels.figures import REPORT, report
from driver.labels.labels import LABELS, Label, Labels
from driver.labels.page import HOST, Review, ReviewServer
from driver.labels.sample import SAMPLE, DrawnRow, allot, draw, read_sample
from tests.unit.turn_making import Said, add_dialogue, state

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def finished(run: Any) -> Any:
    """24 kept and 6 rejected removals, 3 kept styles; every row has a score that is its number."""
    for task, verdict, many in (("remove", "keep", 24), ("remove", "reject", 6), ("style", "keep", 3)):
        for number in range(many):
            values = {"judge.overall": number, "judge.keep": int(verdict == "keep")}
            scores = tuple(Score(name=name, value=value) for name, value in values.items())
            run.add(f"{task}-{verdict}-{number}", verdict=verdict, task=task, scores=scores, reject_reason="")
    run.finish()
    return run


def label(run: Any, answers: dict[str, str | None]) -> None:
    labels = Labels(run.output)
    for key, answer in answers.items():
        labels.add(Label(key=key, label=answer, time=NOW))


def strata(run: Any) -> dict[tuple[str, str], tuple[str, ...]]:
    sample = read_sample(run.output)
    assert sample is not None
    return {(one.task, one.verdict): one.keys for one in sample.strata}


def test_small_strata_are_taken_whole_and_the_rest_is_shared() -> None:
    sizes = {("a", "keep"): 100, ("a", "reject"): 3, ("b", "keep"): 50}
    assert allot(sizes, 23) == {("a", "keep"): 10, ("a", "reject"): 3, ("b", "keep"): 10}
    assert allot(sizes, 1000) == sizes
    for wanted in range(160):
        now, more = allot(sizes, wanted), allot(sizes, wanted + 1)
        assert now.total() == min(wanted, 153)
        assert all(more[name] >= number for name, number in now.items())


def test_a_sample_is_the_same_again_and_grows_without_losing_any(finished: Any) -> None:
    first = [row.key for row in draw(finished.output, 9, 5, False)]
    assert len(first) == 9
    assert Counter(map(len, strata(finished).values())) == {3: 3}
    assert [row.key for row in draw(finished.output, None, None, False)] == first
    grown = [row.key for row in draw(finished.output, 20, None, False)]
    assert len(grown) == 20
    assert set(first) < set(grown)
    assert set(grown) == {row.key for row in draw(finished.output, 9, None, False)}
    with pytest.raises(RunError, match="sample with seed 5"):
        draw(finished.output, 9, 6, False)
    (finished.output / SAMPLE).unlink()
    assert [row.key for row in draw(finished.output, 9, 6, False)] != first


def test_each_task_gets_its_own(finished: Any) -> None:
    draw(finished.output, 8, None, True)
    assert {name: len(keys) for name, keys in strata(finished).items()} == {
        ("remove", "keep"): 4,
        ("remove", "reject"): 4,
        ("style", "keep"): 3,
    }


def test_labels_last_and_the_last_one_counts(finished: Any) -> None:
    label(finished, {"a": "keep", "b": "reject"})
    label(finished, {"a": "reject", "b": None})
    assert {key: one.label for key, one in Labels(finished.output).given.items()} == {"a": "reject"}
    path = finished.output / LABELS
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "c", "la')
    label(finished, {"d": "keep"})
    assert set(Labels(finished.output).given) == {"a", "d"}
    assert path.read_bytes().startswith(whole + b'{"key": "d"')
    path.write_bytes(b"?\n" + whole)
    with pytest.raises(RunError, match=r"labels\.jsonl: line 1 is no label"):
        Labels(finished.output)


def test_each_person_has_a_label_of_their_own(finished: Any) -> None:
    labels = Labels(finished.output)
    for who, key, answer in [
        ("ann", "a", "keep"), ("ben", "a", "reject"), ("ann", "b", "keep"), ("cy", "a", "keep"), ("ben", "b", "reject"),
        ("ben", "b", "keep"), ("cy", "b", None),
    ]:  # fmt: skip
        labels.add(Label.model_validate({"key": key, "label": answer, "labeller": who, "time": NOW}))
    for one in (labels, Labels(finished.output)):
        assert one.answers("a") == ("keep", "keep", "reject")
        assert one.answers("b") == ("keep", "keep")
        assert one.answers("c") == ()
        assert list(one.by("ben")) == ["a", "b"]
    labels.add(Label(key="a", label=None, labeller="cy", time=NOW))
    assert labels.given["a"].label == "reject", "what the others say stays"


def test_a_row_on_which_persons_are_divided_is_in_no_figure(finished: Any) -> None:
    draw(finished.output, 33, None, False)
    keys = strata(finished)["remove", "keep"]
    label(finished, {key: "keep" for key in keys})
    labels = Labels(finished.output)
    for who, key, answer in [("ben", keys[0], "reject"), ("ben", keys[1], "reject"), ("cy", keys[1], "reject")]:
        labels.add(Label.model_validate({"key": key, "label": answer, "labeller": who, "time": NOW}))
    found = report(finished.output, 0.9)
    assert (found["labels"], found["sampled_without_label"]["remove/keep"]) == (23, 1)
    assert found["keep_precision"]["share"] == pytest.approx(22 / 23)


def test_a_second_opinion_is_asked_of_rows_that_others_labelled(finished: Any) -> None:
    rows = draw(finished.output, 4, None, False)
    label(finished, {row.key: "keep" for row in rows[:3]})
    alone = Review(finished.output, rows, Labels(finished.output), "ben")
    assert alone.done == 3, "what another has labelled is done"
    second = Review(finished.output, rows, Labels(finished.output), "ben", second_opinion=True)
    assert (second.done, second.total) == (0, 4)
    second.give(rows[0].key, "reject")
    assert (second.done, second.state()["pair"]["key"]) == (1, rows[1].key)
    assert Labels(finished.output).answers(rows[0].key) == ("keep", "reject")
    second.undo()
    assert Labels(finished.output).answers(rows[0].key) == ("keep",)
    with pytest.raises(SystemExit):
        review.main([str(finished.output), "--second-opinion"])


def test_undoing_withdraws_the_label_of_whoever_gave_it(finished: Any) -> None:
    rows = draw(finished.output, 4, None, False)
    label(finished, {rows[0].key: "keep"})
    Review(finished.output, rows, Labels(finished.output), "ben").undo()
    assert Labels(finished.output).answers(rows[0].key) == ()


def test_figures_are_those_of_the_run_and_not_of_the_sample(finished: Any) -> None:
    """Drawn are 4 of 24 kept and 4 of 6 rejected removals, and 3 of 3 kept styles: weights 6, 1.5 and 1."""
    draw(finished.output, 8, None, True)
    drawn = strata(finished)
    right = {("remove", "keep"): 3, ("remove", "reject"): 1, ("style", "keep"): 3}
    label(
        finished,
        {
            key: "keep" if number < right[name] else "reject"
            for name, keys in drawn.items()
            for number, key in enumerate(keys)
        },
    )
    found = report(finished.output, 0.9)
    kept, wrongly_kept, wrongly_rejected, rejected = 3 * 6 + 3, 6, 1.5, 4.5
    for judge in ("run", "judge"):
        one = found["verifiers"][judge]
        assert one["n"] == 11
        assert one["accuracy"] == pytest.approx((kept + rejected) / 33)
        assert one["precision"] == pytest.approx(kept / (kept + wrongly_kept))
        assert one["recall"] == pytest.approx(kept / (kept + wrongly_rejected))
        chance = (27 / 33) * (22.5 / 33) + (6 / 33) * (10.5 / 33)
        assert one["kappa"] == pytest.approx((25.5 / 33 - chance) / (1 - chance))
    assert found["keep_precision"]["share"] == pytest.approx(21 / 27)
    remove = found["keep_precision_by_task"]["remove"]
    assert (remove["n"], remove["rows"], remove["share"]) == (4, pytest.approx(24), pytest.approx(0.75))
    # Wilson's formula for 3 of 4, worked out by hand.
    assert remove["interval"] == pytest.approx([0.3006, 0.9544], abs=1e-4)
    assert json.loads((finished.output / "labels_report.json").read_text("utf-8")) == found


def test_a_threshold_reaches_the_wanted_precision_and_keeps_most(finished: Any) -> None:
    draw(finished.output, 33, None, False)
    label(
        finished,
        {key: "keep" if int(key.rpartition("-")[2]) >= 10 else "reject" for keys in strata(finished).values() for key in keys},
    )  # fmt: skip
    # Kept by hand are the 14 removals from 10 on; with 9 and 8, and further down, the share falls below 0.9.
    found = report(finished.output, 0.9)["thresholds"]["judge.overall"]
    assert (found["keep_if"], found["threshold"], found["n"]) == ("at least", 9, 15)
    assert found["precision"] == pytest.approx(14 / 15)
    assert found["share_kept"] == pytest.approx(15 / 33)
    assert report(finished.output, 1.0)["thresholds"]["judge.overall"]["threshold"] == 10


def test_a_run_that_went_on_wants_a_new_draw(finished: Any) -> None:
    with pytest.raises(RunError, match="nothing is labelled yet"):
        report(finished.output, 0.9)
    draw(finished.output, 6, None, False)
    label(finished, {key: "keep" for keys in strata(finished).values() for key in keys})
    finished.add("more", task="add")
    finished.finish()
    with pytest.raises(RunError, match="draws again and keeps the labels"):
        report(finished.output, 0.9)
    draw(finished.output, None, None, False)
    assert report(finished.output, 0.9)["sampled_without_label"] == {"add/keep": 1}


Ask = Callable[..., tuple[int, Any]]


@pytest.fixture
def server(finished: Any) -> Iterator[ReviewServer]:
    rows = draw(finished.output, 6, None, False)
    with ReviewServer(Review(finished.output, rows, Labels(finished.output), "ann"), 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ask(server: ReviewServer) -> Ask:
    """A function that asks as the page does; headers may be put in place of the page's."""

    def asked(path: str, body: dict[str, str] | None = None, secret: str = server.secret, **headers: str) -> Any:
        connection = http.client.HTTPConnection(HOST, server.server_port, timeout=5)
        sent = {"Host": f"{HOST}:{server.server_port}", "Origin": f"http://{HOST}:{server.server_port}", **headers}
        connection.request(
            "GET" if body is None else "POST",
            f"/{secret}/{path}",
            None if body is None else json.dumps(body),
            {name: value for name, value in sent.items() if value},
        )
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, json.loads(data) if answer.headers["Content-Type"] == "application/json" else data

    return asked


def test_scores_come_after_the_label(ask: Ask, finished: Any) -> None:
    status, state = ask("state")
    assert (status, state["done"], state["total"], state["last"]) == (200, 0, 6, None)
    assert set(state["pair"]) == {"key", "task", "prompt", "before", "after", "size", "boxes", "close_up", "strip"}
    key = state["pair"]["key"]
    assert ask(f"image/{key}/before/0") == (200, finished.png(key, "input"))
    assert ask(f"image/{key}/after/0") == (200, finished.png(key, "output"))
    status, after = ask("label", {"key": key, "label": "reject"})
    assert (status, after["done"], after["pair"]["key"]) == (200, 1, state["next"]["key"])
    assert after["last"]["scores"]["judge.overall"] == int(key.rpartition("-")[2])
    (line,) = (finished.output / LABELS).read_text("utf-8").splitlines()
    assert json.loads(line).items() >= {"key": key, "label": "reject", "labeller": "ann"}.items()
    assert ask("label", {"key": key, "label": "keep"})[0] == 409
    status, undone = ask("undo", {})
    assert (undone["done"], undone["pair"]["key"], undone["last"]) == (0, key, None)


def test_a_pair_is_read_once_and_nobody_elses_pictures_are(
    finished: Any, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, read = HfLayout.row, []

    def counted(layout: HfLayout, folder: Path, shard: Shard, place: int) -> StoredRow:
        row = real(layout, folder, shard, place)
        read.append(row.columns["key"])
        return row

    monkeypatch.setattr(HfLayout, "row", counted)
    monkeypatch.setattr(HfLayout, "rows", None)
    state = ask("state")[1]
    pairs = [state["pair"]["key"], state["next"]["key"]]
    for key in pairs:
        for role, name in (("before", "input"), ("after", "output")):
            assert ask(f"image/{key}/{role}/0") == (200, finished.png(key, name))
    assert read == pairs


def test_what_is_skipped_comes_after_all_others_and_gets_no_label(ask: Ask, finished: Any) -> None:
    first = ask("state")[1]
    after = ask("skip", {"key": first["pair"]["key"]})[1]
    assert after["pair"] == first["next"]
    while after["pair"]["key"] != first["pair"]["key"]:
        after = ask("label", {"key": after["pair"]["key"], "label": "keep"})[1]
    assert (after["done"], after["total"], after["next"]) == (5, 6, None)
    assert ask("skip", {"key": first["pair"]["key"]})[1]["pair"] == first["pair"]
    assert first["pair"]["key"] not in (finished.output / LABELS).read_text("utf-8")


@pytest.fixture
def talked(run: Any) -> Any:
    """Two dialogues, one of which goes back and was ended, and pairs beside them."""
    for name, last in (("u", "keep"), ("v", "reject")):
        add_dialogue(
            run, name, "version_backtracking", Said("Make it blue."), Said("Make it glow."), Said("As before, and green.", base=1),
            Said("Now larger.", verdict=last, reject_reason="" if last == "keep" else "no edit"), premise="Slowly.",
        )  # fmt: skip
    run.add(*(f"p{number}" for number in range(9)), task="version_backtracking")
    run.finish()
    return run


def test_turns_of_a_dialogue_are_drawn_together_and_come_in_their_order(talked: Any) -> None:
    keys = [row.key for row in draw(talked.output, 17, None, False)]
    for name in "uv":
        first = keys.index(f"{name}~0")
        assert keys[first : first + 4] == [f"{name}~{number}" for number in range(4)]
    for seed in range(9):
        (talked.output / SAMPLE).unlink()
        few = {row.key for row in draw(talked.output, 5, seed, False)}
        assert few < {row.key for row in draw(talked.output, 11, None, False)}, "a larger sample holds the smaller one"


def test_a_turn_is_asked_about_beside_what_came_before_it(talked: Any) -> None:
    rows = [row for row in draw(talked.output, 17, None, False) if row.key in ("v~2", "p0")]
    review = Review(talked.output, rows, Labels(talked.output), None)
    shown = {one["key"]: one["strip"] for one in (review.state()["pair"], review.state()["next"])}
    assert shown["p0"] is None
    strip = shown["v~2"]
    assert {name: strip[name] for name in ("number", "of", "base", "premise")} == {
        "number": 3, "of": 4, "base": 1, "premise": "Slowly.",
    }  # fmt: skip
    assert [(one["state"], one["prompt"]) for one in strip["states"]] == [
        (0, ""),
        (1, "Make it blue."),
        (2, "Make it glow."),
    ]
    for one in strip["states"]:
        assert review.image(one["key"], one["role"], 0) == talked.png(state("v", one["state"]), "state")
    for key in ("u~0", "p1", "v~9"):
        with pytest.raises(Exception, match=f"{key} is not in the sample"):
            review.image(key, "after", 0)
    review.give("v~2", "keep")
    assert Labels(talked.output).answers("v~2") == ("keep",)


def test_what_a_dialogue_ends_is_no_verdict_on_its_turns(run: Any) -> None:
    add_dialogue(
        run, "m", "content_memory", Said("Remove it."), Said("Paint it.", verdict="reject", reject_reason="no edit")
    )
    run.finish()
    draw(run.output, 2, None, False)
    label(run, {"m~0": "keep", "m~1": "reject"})
    assert [row["verdict"] for row in run.rows("rejected")[0]["turns"]] == ["reject", "reject"]
    found = report(run.output, 0.9)
    assert (found["labels"], found["verifiers"]["run"]["n"], found["verifiers"]["run"]["accuracy"]) == (2, 1, 1.0)


def test_a_large_sample_is_shown_as_fast_as_a_small_one(finished: Any) -> None:
    """The next of 10,000 pairs is shown in about the time of the next of 33: only two are ever read."""
    rows = draw(finished.output, 33, None, False)
    many = [*rows, *(replace(rows[0], key=f"more {number}") for number in range(10_000 - len(rows)))]

    def seconds(shown: list[DrawnRow]) -> float:
        review, found = Review(finished.output, shown, Labels(finished.output), None), []
        for row in rows[:20]:
            begun = time.perf_counter()
            assert review.state()["pair"]["key"] == row.key
            found.append(time.perf_counter() - begun)
            review.skip(row.key)
        return min(found[1:])

    assert seconds(many) < 5 * seconds(rows)


def test_only_the_printed_page_may_ask(ask: Ask, server: ReviewServer, finished: Any) -> None:
    key = ask("state")[1]["pair"]["key"]
    given = {"key": key, "label": "keep"}
    elsewhere = f"evil.example:{server.server_port}"
    assert ask("state", secret="guess")[0] == 403
    for path, body in (("state", None), (f"image/{key}/after/0", None), ("label", given)):
        assert ask(path, body, Host=elsewhere, Origin=f"http://{elsewhere}")[0] == 403
    for origin in ("", "null", f"http://{elsewhere}", f"https://{HOST}:{server.server_port}"):
        assert ask("label", given, Origin=origin)[0] == 403
    assert server.server_address[0] == HOST
    assert not (finished.output / LABELS).exists()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("nothing", None, 404),
        ("image/nobody/after/0", None, 404),
        ("label", {"key": "nobody", "label": "keep"}, 404),
        ("label", {"key": "nobody", "label": "maybe"}, 400),
        ("label", {"key": "n" * 20_000, "label": "keep"}, 400),
        ("skip", {"key": "nobody"}, 404),
        ("skip", {"label": "keep"}, 400),
    ],
)
def test_what_is_wrong_is_said(path: str, body: dict[str, str] | None, status: int, ask: Ask) -> None:
    found, answer = ask(path, body)
    assert (found, list(answer)) == (status, ["error"])
    assert ask("state")[0] == 200


def test_a_picture_that_is_not_there_is_refused(ask: Ask) -> None:
    key = ask("state")[1]["pair"]["key"]
    assert ask(f"image/{key}/after/1")[0] == 404
    assert ask(f"image/{key}/after/../0")[0] == 404


def test_a_run_that_goes_on_meanwhile_ends_the_review(ask: Ask, finished: Any) -> None:
    finished.add("more")
    finished.finish()
    status, answer = ask("state")
    assert (status, answer["error"].partition(": ")[2]) == (500, "the run went on; stop review.py and start it again")


def test_one_review_at_a_time(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with FileLock(finished.output / ".labels.lock"):
        assert review.main([str(finished.output)]) == 2
    assert "another review.py is labelling it" in capsys.readouterr().err
    assert not (finished.output / SAMPLE).exists()


def test_the_command_says_first_how_many_it_would_show(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert review.main([str(finished.output), "--sample", "5", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["pairs"], told["labelled"]) == (5, 0)
    assert not (finished.output / SAMPLE).exists()


def test_the_command_says_what_the_labels_tell(finished: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert review.main([str(finished.output), "--report"]) == 2
    command = f"`python driver/review.py {shlex.quote(str(finished.output))}`"
    assert f"nothing is labelled yet; label some pairs with {command} first" in capsys.readouterr().err
    draw(finished.output, 33, None, False)
    label(finished, {key: "keep" for keys in strata(finished).values() for key in keys})
    assert review.main([str(finished.output), "--report", "--dry-run"]) == 0
    assert f"would be in {finished.output / REPORT}" in capsys.readouterr().out
    assert not (finished.output / REPORT).exists()
    assert review.main([str(finished.output), "--report", "--precision", "0.8"]) == 0
    told = capsys.readouterr().out
    assert (finished.output / REPORT).exists()
    assert "33 labelled pairs" in told
    assert "at least 0: keeps 100.0%" in told
    assert review.main([str(finished.output / "nowhere")]) == 2
