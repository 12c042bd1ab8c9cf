"""The report's figures: counted in one pass, exact however many rows there are, and equal to published examples."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest

from driver.report.agreement import TwoByTwo, wilson
from driver.report.figures import MAX_SCORES, RowStatistics, StatisticsRecord
from driver.report.scores import EXTREMES, FINE_BINS, RowPlace, ScoreTally, TallyRecord


def tally_of(values: Any, kept: Any = None) -> ScoreTally:
    tally = ScoreTally()
    for number, value in enumerate(values):
        tally.add(float(value), bool(kept is None or kept[number]), RowPlace("data", number))
    return tally


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_newcombes(right: int, of: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998), table I, method 3."""
    assert wilson(right / of, of) == pytest.approx((low, high), abs=5e-5)


def test_kappa_of_a_known_table() -> None:
    """50 proposals, two readers: 20 both yes, 5 and 10 one of them, 15 both no, as textbooks have it."""
    table = TwoByTwo(20, 5, 10, 15)
    assert table.agreement == pytest.approx(0.7)
    assert table.kappa == pytest.approx(0.4)
    assert (table.precision, table.recall) == (pytest.approx(0.8), pytest.approx(2 / 3))
    assert TwoByTwo(9, 0, 0, 0).kappa is None
    assert TwoByTwo().agreement is None


def test_decimals_fall_into_their_own_bin() -> None:
    found = tally_of([number / 10 for number in range(20)]).histogram()
    assert dict(zip(found.edges, found.kept, strict=False)) == {number / 10: 1 for number in range(20)}


def test_whole_numbers_get_whole_bins() -> None:
    found = tally_of([1, 2, 2, 5], [True, False, True, True]).histogram()
    assert found.edges == (1, 2, 3, 4, 5, 6)
    assert found.kept == (1, 1, 0, 0, 1)
    assert found.others == (0, 1, 0, 0, 0)
    assert found.highest == 2


@pytest.mark.parametrize("values", [[0.25], [3.0, 3.0], [1e300, -1e300, 0.5], [1e20, 1e20 + 1e5]])
def test_odd_values_are_counted_too(values: list[float]) -> None:
    tally = tally_of(values)
    found = tally.histogram()
    assert sum(found.kept) == tally.count == len(values)
    assert tally.highest[0][0] == max(values)


def test_many_values_are_counted_exactly_in_the_same_memory() -> None:
    values = np.random.default_rng(1).normal(0.5, 0.2, 60_000)
    kept = values > 0.6
    tally = tally_of(values, kept)
    found = tally.histogram()
    assert len(tally._bins) <= FINE_BINS
    exact, _ = np.histogram(values, found.edges)
    assert np.abs(np.add(found.kept, found.others) - exact).max() <= 60_000 * 0.001
    assert sum(found.kept) == kept.sum()
    assert tally.mean == pytest.approx(values.mean())
    assert (tally.kept_mean, tally.other_mean) == (
        pytest.approx(values[kept].mean()),
        pytest.approx(values[~kept].mean()),
    )
    order = np.argsort(values)
    assert [place.number for _, place in tally.lowest] == order[:EXTREMES].tolist()
    assert [place.number for _, place in tally.highest] == order[::-1][:EXTREMES].tolist()


def test_of_equal_rows_the_first_are_shown() -> None:
    assert [place.number for _, place in tally_of([5] * 10_000).highest] == list(range(EXTREMES))


def statistics(*rows: tuple[str, str, dict[str, float]], task: str = "remove") -> RowStatistics:
    """Of rows of key, verdict and scores."""
    found = RowStatistics()
    for number, (key, verdict, scores) in enumerate(rows):
        named = [{"name": name, "value": value} for name, value in scores.items()]
        row = {"key": key, "task": task, "verdict": verdict, "reject_reason": "no: 1", "scores": named}
        found.add(RowPlace("data", number), row)
    return found


def counts(found: RowStatistics) -> dict[str, tuple[int, int, int]]:
    return {stage.name: (stage.count, stage.rejected, stage.unscored) for stage in found.stages(9, 9)[2:]}


def test_what_was_kept_passes_even_where_a_policy_overrode_a_verifier() -> None:
    found = statistics(
        ("a", "keep", {"filter.keep": 1, "judge.keep": 0}), ("b", "reject", {"judge.keep": 1, "filter.keep": 0})
    )
    assert counts(found) == {
        "edits made": (2, 0, 0),
        "after judge": (2, 0, 0),
        "after filter": (1, 1, 0),
        "kept": (1, 0, 0),
    }


def test_a_verifier_that_a_task_has_not_got_is_passed() -> None:
    found = statistics(("a", "reject", {"judge.keep": 0}), task="style")
    for number, verdict in enumerate(("keep", "reject")):
        scores = [{"name": "pixel.keep", "value": 1.0 - number}]
        row = {"key": f"k{number}", "task": "remove", "verdict": verdict, "reject_reason": None, "scores": scores}
        found.add(RowPlace("data", number), row)
    assert counts(found) == {
        "edits made": (3, 0, 0),
        "after pixel": (2, 1, 0),
        "after judge": (1, 1, 0),
        "kept": (1, 0, 0),
    }


def test_rejections_that_no_verifier_names_end_in_the_last_line() -> None:
    assert counts(statistics(("a", "reject", {"pixel.keep": 1}), ("b", "unscored", {}), ("c", "keep", {}))) == {
        "edits made": (3, 0, 0),
        "after pixel": (2, 0, 1),
        "kept": (1, 1, 0),
    }


def test_tries_are_counted_apart() -> None:
    found = statistics(("a~try1", "reject", {"judge.keep": 0}), ("a~0~try2", "reject", {}), ("a", "keep", {}))
    assert (found.edits, found.tries) == (1, 2)
    figures = found.tasks(Counter(remove=3), Counter(remove=4))["remove"]
    assert (figures.tries, figures.failed, figures.skipped) == (2, 3, 4)


def test_pairs_are_ranked_by_the_judge_or_else_by_the_verdicts_margin_and_never_by_how_much_changed() -> None:
    rows = [
        (f"k{number}", "keep", {"pixel.margin": number % 5 / 5, "pixel.changed": float(number), "pixel.flat": 1.0})
        for number in range(10)
    ]  # fmt: skip
    found = statistics(*rows).ranking()
    assert found is not None
    assert (found.score, [value for value, _ in found.worst]) == ("pixel.margin", [0.0, 0.0, 0.2, 0.2, 0.4])
    judged = [("j", "keep", {"judge.overall": 2.0}), ("l", "keep", {"judge.overall": 3.0})]
    assert statistics(*rows, *judged).ranking().score == "judge.overall"  # type: ignore[union-attr]
    assert statistics(*rows, judged[0]).ranking().score == "pixel.margin"  # type: ignore[union-attr]
    changed = [(key, verdict, {"pixel.changed": values["pixel.changed"]}) for key, verdict, values in rows]
    assert statistics(*changed).ranking() is None


def test_scores_that_are_the_same_in_all_rows_are_told_from_others() -> None:
    rows = [("a", "keep", {"same": 0.0, "some": 1.0, "odd": 0.5}), ("b", "reject", {"same": 0.0, "odd": 0.6})]
    assert statistics(*rows).constants() == {"same": 0.0, "some": 1.0}
    assert statistics(rows[0]).constants() == {}


def test_names_without_end_take_no_memory() -> None:
    found = statistics(*((str(number), "reject", {f"seen.{number}": 1.0}) for number in range(5 * MAX_SCORES)))
    assert len(found.scores) == len(found.left_out) == MAX_SCORES


@cache
def random_rows(count: int) -> list[dict[str, Any]]:
    """Rows whose scores lie close and far, in few values and in more than are counted apart."""
    draw = np.random.default_rng(3)
    names = ["judge.overall", "pixel.changed", "odd.size", "verify.clip", "verify.keep", "judge.keep"]
    rows = []
    for number in range(count):
        values = [draw.integers(1, 6), draw.random(), 10.0 ** draw.integers(-12, 12) * draw.normal(), draw.normal(), *draw.integers(0, 2, 2)]  # fmt: skip
        scores = [{"name": n, "value": float(v)} for n, v in zip(names, values, strict=True) if draw.random() < 0.8]
        scores.append({"name": f"one.of.many.{draw.integers(0, 150)}", "value": 1.0})
        verdict = str(draw.choice(["keep", "reject", "unscored"]))
        reason = "" if verdict == "keep" else f"reason {draw.integers(0, 300)}: {number}"
        vouched = list(draw.choice(["judge", "pixel", "person"], draw.integers(0, 3), replace=False))
        key = f"k{number}~try1" if draw.random() < 0.1 else f"k{number}"
        rows.append({"key": key, "task": str(draw.choice(["remove", "add", "style"])), "verdict": verdict,
                     "scores": scores, "reject_reason": reason, "vouched_by": [str(one) for one in vouched]})  # fmt: skip
    return rows


def in_parts(rows: list[dict[str, Any]], cuts: list[int]) -> RowStatistics:
    """The figures of parts that went through their files, put together as a run's are."""
    whole = RowStatistics()
    for config in ("data", "rejected"):
        for number, (first, last) in enumerate(zip([0, *cuts], [*cuts, len(rows)], strict=True)):
            found, chosen = (
                RowStatistics(every_name=True),
                [row for row in rows[first:last] if (row["verdict"] == "keep") == (config == "data")],
            )
            for place, row in enumerate(chosen):
                found.add(RowPlace(config, place, f"{number:06d}"), row)
            text = found.record().model_dump_json()
            whole.merge(RowStatistics.of_record(StatisticsRecord.model_validate_json(text), config, f"{number:06d}"))
    return whole


def shown(found: RowStatistics, rows: list[dict[str, Any]], cuts: list[int]) -> dict[str, Any]:
    """All that anybody reads of figures, in its order, with rows instead of their places."""
    parts = [rows[first:last] for first, last in zip([0, *cuts], [*cuts, len(rows)], strict=True)]

    def key(place: RowPlace) -> str:
        part = parts[int(place.part)]
        return str([row for row in part if (row["verdict"] == "keep") == (place.config == "data")][place.number]["key"])

    return {
        "left_out": found.left_out,
        "stages": found.stages(9000, 8000),
        "tasks": list(found.tasks(Counter(), Counter()).items()),
        "vouched": [list(one.vouched_by.items()) for one in found.tasks(Counter(), Counter()).values()],
        "reasons": [(verdict, known.most_common()) for verdict, known in sorted(found.reasons.items())],
        "agreement": found.agreement(),
        "scores": [
            (name, one.count, one.mean, one.kept_mean, one.other_mean, one.histogram(),
             [(value, key(place)) for value, place in [*one.lowest, *one.highest]])
            for name, one in found.scores.items()
        ],
        "ranked_by": found.ranking() and found.ranking().score,  # type: ignore[union-attr]
    }  # fmt: skip


@pytest.mark.parametrize("cuts", [0, 1, 40])
def test_figures_of_parts_come_to_those_of_one_pass(cuts: int) -> None:
    """To the last bit, wherever the parts are cut, also where bins had to become wider in some of them only."""
    rows = random_rows(9_000)
    draw = np.random.default_rng(cuts)
    places = sorted(int(place) for place in draw.integers(0, len(rows), cuts))
    assert shown(in_parts(rows, places), rows, places) == shown(in_one(rows), rows, [])


def in_one(rows: list[dict[str, Any]]) -> RowStatistics:
    """One pass, as over a run of one shard: all kept rows, then all others."""
    found = RowStatistics()
    for config in ("data", "rejected"):
        for place, row in enumerate(row for row in rows if (row["verdict"] == "keep") == (config == "data")):
            found.add(RowPlace(config, place, "000000"), row)
    return found


def test_a_mean_is_the_closest_float_whatever_the_order() -> None:
    values = [1e16, 1.0, -1e16, 3e-310, 1e308, 1e308, -1e308, 0.1]
    found = {tally_of(order).mean for order in (values, values[::-1], sorted(values))}
    assert found == {float(sum(map(Fraction, values)) / len(values))}


def test_a_tally_survives_its_file() -> None:
    tally = tally_of(np.random.default_rng(2).normal(0, 1e5, 9000))
    text = tally.record().model_dump_json()
    again = ScoreTally.of_record(TallyRecord.model_validate_json(text), "data", "")
    assert again.record() == tally.record()
    assert again.record().model_dump_json() == text
