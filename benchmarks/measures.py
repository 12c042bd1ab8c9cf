"""What the benchmarks of a few functions share: the command that runs some and prints what they found, and a stopwatch."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from typing import Any


def seconds(run: Callable[[], Any]) -> float:
    """What one call takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def command(description: str, *functions: Callable[[], Any]) -> None:
    """Runs functions by their names, or those that `--only` names, and prints a line for each, or one JSON object."""
    measures = {one.__name__: one for one in functions}
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    parser.add_argument("--only", choices=measures, action="append", help="measure this one alone; may be repeated")
    options = parser.parse_args()
    results = {}
    for name in options.only or measures:
        results[name] = _rounded(measures[name]())
        if not options.json:
            print(f"{name:28} {results[name]}", flush=True)
    if options.json:
        print(json.dumps(results))


def _rounded(found: Any) -> Any:
    if isinstance(found, Mapping):
        return {name: _rounded(one) for name, one in found.items()}
    return round(found, 3) if isinstance(found, float) else found
