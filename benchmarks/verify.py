"""Verify Pixels against SSIM and MSE thresholds on labelled pairs: `python benchmarks/verify.py [--json]`.

Thresholds of Verify Pixels were chosen on views of four bundled photos; the figures are those of three other photos, and
the first four's stand beside them. The baselines choose their thresholds on the very pairs they are reported on.

What no pixel tells, whether the edit is the one that the words ask for, is measured on pairs of their own with Verify Edit
behind Verify Pixels; `told_pairs` says what the service that it asks can and cannot see.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from skimage.metrics import structural_similarity

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import labelled_pairs, told_pairs
from benchmarks.labelled_pairs import HELD_OUT, KINDS, NOTHING, TUNED_ON, LabelledPair
from benchmarks.told_pairs import Told
from comfy_nodes.core.verdicts import pixel_limits, pixels

EACH = 75
"""Pairs of each kind (four times as many subtle edits) of the held-out photos: 1,575 in all. Half as many of the others."""

SUBTLE_LOST = 0.01
"""Share of subtle edits that may be lost; where the baselines' thresholds are set for the comparison."""

MIN_TOTAL = 0.2
"""What the shipped graph for styles asks of the whole picture."""

SIDE = 1024
"""Side of the pair that is timed, in pixels."""

BASELINES = ("SSIM", "SSIM in region", "MSE", "MSE in region")
"""Distances that grow with the change; a pair above the threshold counts as edited. In region: over the intended region
where the pair has one, else over the picture."""


@dataclass(frozen=True)
class Outcome:
    """What was found of one pair."""

    kind: str
    is_good: bool
    kept: bool
    seconds: float
    """What Verify Pixels took."""
    distances: tuple[float, ...]
    """By `BASELINES`."""


def verified(pair: LabelledPair) -> bool:
    """Whether Verify Pixels keeps the pair."""
    masks = {"edit_mask" if pair.put_back else "region": pair.region}
    limits = pixel_limits.for_kind(
        pixel_limits.Limits(min_total=MIN_TOTAL if pair.task == "style" else 0.0), pair.task, pair.subtask
    )
    return pixels.verify(pair.source, pair.edited, **masks, limits=limits)[0].verdict == "keep"


def outcome(pair: LabelledPair) -> Outcome:
    began = time.perf_counter()
    kept = verified(pair)
    seconds = time.perf_counter() - began
    _, similar = structural_similarity(pair.source, pair.edited, channel_axis=2, full=True)
    unlike = 1 - similar.mean(axis=2)
    squared = np.square(pair.source.astype(np.float64) - pair.edited).mean(axis=2)
    where = pair.region if pair.region is not None else np.ones(unlike.shape, dtype=bool)
    distances = (unlike.mean(), unlike[where].mean(), squared.mean(), squared[where].mean())
    return Outcome(pair.kind, pair.is_good, kept, seconds, tuple(float(one) for one in distances))


def recall(outcomes: list[Outcome], kept: Callable[[Outcome], bool]) -> dict[str, float]:
    """Share of each kind's pairs that got the right verdict."""
    return {kind: statistics.fmean(kept(one) == one.is_good for one in outcomes if one.kind == kind) for kind in KINDS}


def precision(outcomes: list[Outcome], kept: Callable[[Outcome], bool]) -> dict[str, float]:
    """Of what was kept (for good kinds, against all bad ones) or rejected (for bad kinds, against all good ones), the right share.

    Kinds differ in size, so the verdict's errors are counted as if each kind on the other side had as many pairs as this one.
    """
    right = recall(outcomes, kept)
    shares = {}
    for kind in KINDS:
        is_good = kind in labelled_pairs.GOOD
        others = [right[other] for other in KINDS if (other in labelled_pairs.GOOD) != is_good]
        false = 1 - statistics.fmean(others)
        shares[kind] = right[kind] / (right[kind] + false) if right[kind] + false else 0.0
    return shares


def threshold(outcomes: list[Outcome], baseline: int) -> float:
    """The highest one that loses at most `SUBTLE_LOST` of the subtle edits: it catches most of what is no edit."""
    subtle = [one.distances[baseline] for one in outcomes if one.kind == "subtle edit"]
    return float(np.sort(subtle)[int(SUBTLE_LOST * len(subtle))])


def best_threshold(outcomes: list[Outcome], baseline: int) -> float:
    """The one of the highest balanced accuracy between edits and no edits."""
    nothing = np.array([one.distances[baseline] for one in outcomes if one.kind in NOTHING])
    good = np.array([one.distances[baseline] for one in outcomes if one.is_good])
    candidates = np.unique(np.concatenate([nothing, good]))
    return float(max(candidates, key=lambda at: (nothing < at).mean() + (good >= at).mean()))


def noop_recall(right: dict[str, float]) -> float:
    return statistics.fmean(right[kind] for kind in NOTHING)


def pixels_vs_ssim(rounds: int = 7) -> float:
    """Verify Pixels at 1024 x 1024 over one SSIM of the same colour pair, medians of both."""
    photo = next(labelled_pairs.pairs(HELD_OUT, 1, 3)).source
    photo = np.resize(np.tile(photo, (4, 4, 1))[:SIDE, :SIDE], (SIDE, SIDE, 3))
    rng = np.random.default_rng(0)
    edited = np.clip(np.roll(photo, 1, axis=1) + rng.normal(0, 2, photo.shape), 0, 255).astype(np.uint8)
    region = np.zeros((SIDE, SIDE), dtype=bool)
    region[300:600, 300:600] = True
    edited[region] = 255 - edited[region]
    ours, theirs = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        pixels.verify(photo, edited, region=region)
        between = time.perf_counter()
        structural_similarity(photo, edited, channel_axis=2)
        ours.append(between - began)
        theirs.append(time.perf_counter() - between)
    return statistics.median(ours) / statistics.median(theirs)


def table(title: str, outcomes: list[Outcome]) -> str:
    """Recall and precision by kind, of Verify Pixels and of the baselines at both of their thresholds."""
    judges: dict[str, Callable[[Outcome], bool]] = {"Verify Pixels": lambda one: one.kept}
    for number, name in enumerate(BASELINES):
        for of, at in (("best", best_threshold(outcomes, number)), ("1 % lost", threshold(outcomes, number))):
            judges[f"{name}, {of}"] = lambda one, number=number, at=at: one.distances[number] >= at  # type: ignore[misc]
    found = {name: (precision(outcomes, kept), recall(outcomes, kept)) for name, kept in judges.items()}
    width = max(map(len, found))
    lines = [f"{title}: {len(outcomes)} pairs, precision / recall by kind", ""]
    for start in range(0, len(KINDS), 6):
        kinds = KINDS[start : start + 6]
        lines.append(" " * width + "".join(f"{kind:>15}" for kind in kinds))
        lines += [
            f"{name:{width}}" + "".join(f"{f'{exact[kind]:.3f} / {right[kind]:.3f}':>15}" for kind in kinds)
            for name, (exact, right) in found.items()
        ]
        lines.append("")
    return "\n".join(lines)


def told_figures(found: list[Told]) -> dict[str, dict[str, float]]:
    """Of each kind of told pairs: recall and precision of right outcomes, kinds weighted alike, and what pixels let pass.

    A right edit is kept with the words it was asked for with; any other is rejected, or restated to what is true of it.
    """
    of = {kind: [one for one in found if one.kind == kind] for kind in told_pairs.KINDS}
    right = {kind: statistics.fmean(one.is_right for one in ones) for kind, ones in of.items()}
    shares = {}
    for kind in told_pairs.KINDS:
        others = [right[other] for other in of if (other == "right edit") != (kind == "right edit")]
        false = 1 - statistics.fmean(others)
        shares[kind] = {
            "recall": round(right[kind], 4),
            "precision": round(right[kind] / (right[kind] + false), 4) if right[kind] + false else 0.0,
            "restated": round(statistics.fmean(one.outcome == "restated" for one in of[kind]), 4),
            "pixels_alone": round(statistics.fmean(one.passed_pixels for one in of[kind]), 4),
        }
    return shares


def figures(held_out: list[Outcome], tuned: list[Outcome], ratio: float) -> dict[str, float | dict[str, float]]:
    right, before = (recall(outcomes, lambda one: one.kept) for outcomes in (held_out, tuned))
    baselines: dict[str, dict[str, float]] = {
        "noop_recall_at_1_percent_lost": {},
        "noop_recall_best": {},
        "subtle_lost_best": {},
    }
    for number, name in enumerate(BASELINES):
        at, best = threshold(held_out, number), best_threshold(held_out, number)
        same = recall(held_out, lambda one, number=number, at=at: one.distances[number] >= at)  # type: ignore[misc]
        own = recall(held_out, lambda one, number=number, best=best: one.distances[number] >= best)  # type: ignore[misc]
        baselines["noop_recall_at_1_percent_lost"][name] = round(noop_recall(same), 4)
        baselines["noop_recall_best"][name] = round(noop_recall(own), 4)
        baselines["subtle_lost_best"][name] = round(1 - own["subtle edit"], 4)
    return {
        "pairs": len(held_out),
        "noop_recall": round(noop_recall(right), 4),
        "subtle_lost": round(1 - right["subtle edit"], 4),
        "noop_recall_tuned": round(noop_recall(before), 4),
        "subtle_lost_tuned": round(1 - before["subtle edit"], 4),
        "worst_kind": round(min(right.values()), 4),
        **baselines,
        "pairs_per_s": round(len(held_out) / sum(one.seconds for one in held_out), 1),
        "pixels_vs_ssim": round(ratio, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure Verify Pixels against SSIM and MSE on labelled pairs.")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument("--each", type=int, default=EACH, help=f"pairs of each kind ({EACH})")
    parser.add_argument("--seed", type=int, default=2, help="another seed makes other pairs (2)")
    options = parser.parse_args()
    if options.each < 2:
        parser.error("--each must be at least 2")
    ratio = pixels_vs_ssim()
    held_out = [outcome(pair) for pair in labelled_pairs.pairs(HELD_OUT, options.each, options.seed)]
    tuned = [outcome(pair) for pair in labelled_pairs.pairs(TUNED_ON, options.each // 2, options.seed)]
    found = {
        **figures(held_out, tuned, ratio),
        "told": told_figures(told_pairs.all_told(options.each, options.seed)),
    }
    if options.json:
        print(json.dumps(found))
        return
    print(table("Held-out photos", held_out))
    print(table("Photos that thresholds were chosen on", tuned))
    for name, value in found.items():
        print(f"{name:30} {value}")


if __name__ == "__main__":
    main()
