"""What a finished run shows: `report.html` for people, `summary.json` for programs, the dataset card."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Container, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from ..dataset.configs import beside, configs_of
from ..dataset.dataset import finished_parts, part_facts
from ..dataset.groups import STREAMS, grouped
from ..dataset.layouts.layout import Layout, layout_named
from ..dataset.ownership import JOURNAL, SHARDS
from ..dataset.parts import Part
from ..dataset.shards import CONFIGS
from ..disk import write_text
from ..home import ROOT
from .figures import RowStatistics, stage_table
from .gallery import Gallery
from .scores import ScoreTally
from .summary import Summary
from .terms import Terms
from .yields import YieldTable

CARD = "README.md"
"""The dataset card's name."""

MAX_FAILURES = 100
"""Failures listed, and skipped samples; `failed.parquet` and `skipped.parquet` have all."""

_TEMPLATES = ROOT / "driver" / "templates"


@dataclass
class _Failed:
    """Failed samples, or skipped ones, in one pass."""

    shown: list[dict[str, Any]] = field(default_factory=list)
    tasks: Counter[str] = field(default_factory=Counter)
    inputs: int = 0
    """Inputs that gave no sample."""
    wanted: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Those that were asked for, by key."""

    @classmethod
    def of(cls, failures: Iterable[dict[str, Any]], task: str, wanted: Container[str] = ()) -> _Failed:
        found = cls()
        for row in failures:
            found.tasks[row.get("task") or task] += 1
            found.inputs += row["stage"] == "input" or not row["attempts"]
            if len(found.shown) < MAX_FAILURES:
                found.shown.append(row)
            if row["key"] in wanted:
                found.wanted[row["key"]] = row
        return found


def write_report(
    output: Path,
    summary: Summary,
    failures: Iterable[dict[str, Any]],
    skips: Iterable[dict[str, Any]],
    environment: dict[str, Any],
    gallery: Gallery,
) -> None:
    """Writes `report.html` and `summary.json`.

    Args:
        failures: rows of `failed.parquet`; a row's `task` counts where a run has several.
        skips: those of `skipped.parquet`.
    """
    strips = [one for held in gallery.strips.values() for one in held]
    wanted = {one.lacking for one in strips}
    failed, skipped = (_Failed.of(rows, summary.task, wanted) for rows in (failures, skips))
    for one in strips:
        one.say_ending(failed.wanted | skipped.wanted)
    figures = _figures(summary, failed, skipped, gallery.statistics)
    if (recipe := YieldTable.of_recipe(output)) is not None:
        figures["recipe"] = recipe.told()
    page = template_named("report.html").render(
        summary=summary,
        figures=figures,
        scores=gallery.statistics.scores if gallery.statistics else {},
        constants=gallery.statistics.constants() if gallery.statistics else {},
        failures=failed.shown,
        skips=skipped.shown,
        pairs=gallery.pairs,
        strips=gallery.strips,
        shown={config: gallery.rows(config) for config in CONFIGS},
        ranked=gallery.ranked,
        ranking=gallery.statistics.ranking() if gallery.statistics else None,
        photos=gallery.photos,
        environment=environment,
        opens=(output / JOURNAL).exists() or (output / SHARDS).is_dir(),  # `open.py` reads a row's sample there
        folder=output.resolve().name,  # no path of this machine stands in what a run leaves
    )
    write_text(output / "report.html", page)
    text = json.dumps(vars(summary) | figures, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(output / "summary.json", text + "\n")


def _figures(summary: Summary, failed: _Failed, skipped: _Failed, statistics: RowStatistics | None) -> dict[str, Any]:
    """What `summary.json` holds beside the summary."""
    usable = summary.samples - failed.inputs - skipped.inputs
    if statistics is None:
        counts = {"inputs": summary.samples, "usable samples": usable, summary.gives: summary.kept}
        stages = stage_table([(name, count, 0, 0) for name, count in counts.items()])
        return {"stages": [asdict(stage) for stage in stages]}
    kept = summary.kept
    return {
        "tries": statistics.tries,
        "stages": [asdict(stage) for stage in statistics.stages(summary.samples, usable)],
        "tasks": {name: asdict(figures) for name, figures in statistics.tasks(failed.tasks, skipped.tasks).items()},
        "row_reasons": {verdict: dict(found.most_common()) for verdict, found in sorted(statistics.reasons.items())},
        "scores": {name: _score(tally) for name, tally in sorted(statistics.scores.items())},
        "scores_left_out": sorted(statistics.left_out),
        "agreement": [
            {"first": first, "second": second, **asdict(table), "agreement": table.agreement, "kappa": table.kappa}
            for (first, second), table in statistics.agreement().items()
        ],
        "vlm_calls_per_kept": round(summary.vlm_calls / kept, 3) if kept else None,
        "vlm_usd_per_kept": round(summary.vlm_usd / kept, 6) if kept else None,
    }


def _score(tally: ScoreTally) -> dict[str, Any]:
    return {
        "count": tally.count,
        "mean": tally.mean,
        "kept_mean": tally.kept_mean,
        "other_mean": tally.other_mean,
        "histogram": asdict(tally.histogram()),
    }


def begin_card(output: Path, layout: str, summary: Summary, environment: dict[str, Any]) -> None:
    """Writes the dataset card of a run of many shards before there are rows: without one, whoever opens the folder meanwhile
    gets rejected rows with the kept ones."""
    found = layout_named(layout)
    held = {config: _Held(streams=Counter({found.empty_stream: 0})) for config in CONFIGS}
    _write_card(output, found, Part.of_shard(output, 0), held, summary, environment)


def write_card(output: Path, summary: Summary, environment: dict[str, Any], rows: RowStatistics) -> None:
    """Writes the dataset card, `README.md`, of the dataset that lies there.

    Args:
        rows: figures of its rows.

    Raises:
        RunError: no finished dataset lies there.
    """
    found = finished_parts(output)
    held = {config: _Held() for config in CONFIGS}
    lists = hashlib.sha256()
    for part in found:
        facts = part_facts(part)
        lists.update(facts.model_dump_json().encode())
        for config, of_part in facts.configs.items():
            held[config].rows += of_part.rows
            held[config].without += not of_part.rows
            for shard in of_part.shards:
                if shard.rows:
                    held[config].streams[shard.stream] += shard.rows
            held[config].pairs |= any(shard.rows and not grouped(shard.stream) for shard in of_part.shards)
    layout = layout_named(facts.layout)
    for one in held.values():
        one.streams = one.streams or Counter({layout.empty_stream: 0})
    terms = Terms.of(rows.models, rows.photos)
    digest = lists.hexdigest()[:16]
    _write_card(output, layout, found[0], held, summary, environment, digest, terms)


def _write_card(
    output: Path,
    layout: Layout,
    part: Part,
    held: dict[str, _Held],
    summary: Summary,
    environment: dict[str, Any],
    digest: str = "",
    terms: Terms | None = None,
) -> None:
    """
    Args:
        digest: changes with anything in the rows, so that `datasets`, which tells by the card whether it has a copy of them,
            does not take an old one; empty while rows are still made.
        terms: what may be done with them; None while they are still made.
    """
    named = {config: configs_of(layout, part, config, one.streams) for config, one in held.items()}
    configs = [one for found in named.values() for one in found]
    columns = layout.empty_features()
    # A file without rows tells no columns, wherever among the others it lies.
    told = [
        named[config][0].name for config, one in held.items() if one.without and columns and (one.pairs or not one.rows)
    ]
    card = template_named("card.md").render(
        summary=summary,
        environment=environment,
        layout=layout.name,
        lists="shards/" if part.name else "shards.json",
        configs=configs,
        grouped={name: told for name, told in STREAMS.items() if any(name in one.name for one in configs)},
        beside={
            config: [(one.name, one.rows, one.told(config)) for one in beside(found)] for config, found in named.items()
        },
        unasked={config: found[0].rows for config, found in named.items()},
        pairs=not digest or any(one.pairs for one in held.values()),
        features=json.dumps([{"config_name": name, "features": columns} for name in told]),
        empty=[named[config][0].name for config, one in held.items() if not one.rows] if digest else [],
        digest=digest,
        terms=terms,
    )
    write_text(output / CARD, card)


@dataclass
class _Held:
    """What the parts of a dataset hold of a config."""

    rows: int = 0
    without: int = 0
    """Parts without rows."""
    streams: Counter[str] = field(default_factory=Counter)
    """Rows of each."""
    pairs: bool = False
    """Whether there are rows that stand alone."""


def template_named(name: str) -> jinja2.Template:
    """A page of ours; what is put into it is escaped, and `argument` makes it one word of a shell's."""
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True)
    environment.filters["argument"] = _argument
    environment.filters["cell"] = _cell
    return environment.get_template(name)


def _cell(text: str) -> str:
    """One cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def _argument(text: str) -> str:
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
