"""What the driver costs and what it gains: `python benchmarks/driver.py [--only NAME,...] [--quick] [--json]`.

Starts real ComfyUIs on this machine and runs the real command against them; sizes that no server could be waited for
run on one that edits nothing. README.md beside this file says what each figure means.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks import driver_rates
from benchmarks.driver_scale import Scale
from benchmarks.driver_site import Site, floor_of, say


@dataclass(frozen=True)
class Figure:
    """One of the figures and what it should be."""

    target: str
    """`>= 2` or `<= 2`; where it comes from stands in README.md."""
    unit: str = ""


FIGURES = {
    "vlm_vs_reference": Figure(">= 12", "x"),
    "vlm_vs_floor": Figure("<= 1.15", "x"),
    "verify_wait_s": Figure("<= 4", "s"),
    "model_switches": Figure("<= 2"),
    "edit_vs_floor": Figure(">= 0.97", "x"),
    "vs_comfy_run": Figure(">= 30", "x"),
    "speedup_2": Figure(">= 1.95", "x"),
    "speedup_4": Figure(">= 3.9", "x"),
    "driver_cpu_ms": Figure("<= 5", "ms"),
    "driver_cpu_ms_foreign": Figure("", "ms"),
    "first_edit_1m_s": Figure("<= 5", "s"),
    "first_edit_10m_s": Figure("<= 5", "s"),
    "resume_10m_s": Figure("<= 15", "s"),
    "rss_10m_mb": Figure("<= 300", "MB"),
    "rss_slope_mb": Figure("< 5", "MB"),
}

Found = dict[str, float]
Measure = Callable[[], Found]


def main() -> int:
    options = _parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers end with it
    wanted = set(options.only or FIGURES)
    found: Found = {}
    broken: dict[str, str] = {}
    with (
        tempfile.TemporaryDirectory(prefix="editpairs-benchmark-") as folder,
        Site(Path(folder), options.rounds, options.quick) as site,
    ):
        for names, measure in _measures(site):
            if not wanted & set(names):
                continue
            say(f"measuring {', '.join(names)}")
            try:
                found |= measure()
            except (RuntimeError, OSError) as error:
                broken |= dict.fromkeys(wanted & set(names), str(error))
    chosen = {name: found.get(name) for name in FIGURES if name in wanted}
    floors = {name: found[name] for name in map(floor_of, chosen) if name in found}
    print(json.dumps(chosen | floors) if options.json else _table(chosen, found, options))
    for name, why in broken.items():
        print(f"driver.py: {name} could not be measured: {why}", file=sys.stderr)
    return 1 if broken else 0


def _measures(site: Site) -> list[tuple[tuple[str, ...], Measure]]:
    """What is measured together, in the order in which it is."""
    scale = Scale(site)
    return [
        (("vlm_vs_reference", "vlm_vs_floor"), partial(driver_rates.vlm, site)),
        (("edit_vs_floor",), partial(driver_rates.editing, site)),
        (("verify_wait_s",), partial(driver_rates.verifying, site)),
        (("model_switches",), partial(driver_rates.switching, site)),
        (("vs_comfy_run",), partial(driver_rates.commands, site)),
        (("driver_cpu_ms", "driver_cpu_ms_foreign"), partial(driver_rates.spending, site)),
        (("speedup_2", "speedup_4"), partial(driver_rates.farming, site)),
        (("first_edit_1m_s",), scale.beginning_many),
        (("first_edit_10m_s",), scale.beginning_most),
        (("resume_10m_s",), scale.resuming),
        (("rss_10m_mb",), scale.memory),
        (("rss_slope_mb",), scale.slope),
    ]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures the batch driver against real ComfyUIs.")
    parser.add_argument("--only", type=_figures, metavar="NAME,...", help=f"measure these: {', '.join(FIGURES)}")
    parser.add_argument("--rounds", type=int, default=3, metavar="R", help="rounds of each; medians count; default: 3")
    parser.add_argument("--quick", action="store_true", help="one round of small sizes: does it work at all?")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds: at least one")
    return options


def _figures(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        raise argparse.ArgumentTypeError(f"no figure {', '.join(unknown)}; there are {', '.join(FIGURES)}")
    return names


def _table(chosen: dict[str, float | None], found: Found, options: argparse.Namespace) -> str:
    rounds = "quick" if options.quick else f"median of {options.rounds}"
    heading = f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.machine()}, {rounds}"
    lines = [heading, "", "| figure | measured | floor | target |", "| --- | ---: | ---: | ---: |"]
    rest = dict(found)
    for name, value in chosen.items():
        unit = FIGURES[name].unit
        shown = "not measured" if value is None else _shown(value, unit)
        least = rest.pop(floor_of(name), None)
        lines.append(
            f"| `{name}` | {shown} | {'' if least is None else _shown(least, unit)} | {FIGURES[name].target} |"
        )
    lines += [f"| {name} | {_shown(value, '')} | | |" for name, value in rest.items() if name not in FIGURES]
    return "\n".join(lines)


def _shown(value: float, unit: str) -> str:
    return f"{value:.{0 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3}f} {unit}".strip()


if __name__ == "__main__":
    sys.exit(main())
