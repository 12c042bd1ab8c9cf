"""Grounding and masks against the libraries underneath: `python benchmarks/ground.py --json`.

A ratio is the library's time over ours, so 1 means as fast and 0.9 at most a ninth slower. Runs on the CPU, on tiny
random weights made on the spot; shares the machine with nobody, or the numbers mean little.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

MEASURES = {
    "benchmarks.ground_detect": ("detect_vs_library", "text_cache_speedup"),
    "benchmarks.ground_segment": ("segment_vs_library", "boxes_batched_speedup", "rle_vs_pycocotools"),
}
"""What there is to measure, as functions by the module that has them."""

Result = float | dict[str, float]


def measures() -> dict[str, Callable[[], Result]]:
    """Every measure by its name."""
    return {
        name: getattr(importlib.import_module(module), name) for module, names in MEASURES.items() for name in names
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure detection and segmentation against the libraries underneath.")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--only", metavar="NAME", action="append", help="measure this one alone; may be repeated")
    options = parser.parse_args()
    known = measures()
    unknown = set(options.only or ()) - known.keys()
    if unknown:
        parser.error(f"no measure {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    results: dict[str, Result] = {}
    for name in options.only or known:
        found = known[name]()
        results[name] = round(found, 3) if isinstance(found, float) else {of: round(x, 3) for of, x in found.items()}
        if not options.json:
            print(f"{name:28} {results[name]}", flush=True)
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
