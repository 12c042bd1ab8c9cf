"""What `load_dataset` opens of a run's folder, by its card: names, files and rows. The card and a run's last line tell it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .dataset import finished_parts, part_facts
from .groups import grouped
from .layouts.layout import Layout, layout_named
from .parts import Part

UNNAMED = "default"
"""What is opened without a name, in the hub's words."""


@dataclass(frozen=True)
class Opened:
    """What one name opens."""

    name: str
    """What `load_dataset` takes: `default`, `rejected`, `dialogues`, `rejected-dialogues`, `data-2-to-1`."""
    globs: tuple[str, ...]
    """Of its files, from the run's folder on."""
    streams: tuple[str, ...]
    rows: int

    def call(self, folder: str) -> str:
        """The words that open it."""
        named = "" if self.name == UNNAMED else f", {self.name!r}"
        return f"load_dataset({folder!r}{named})"

    def told(self, config: str) -> str:
        """What its rows are, for a sentence with their number before it."""
        part = self.name.removeprefix(f"{config}-")
        if grouped(part) == "turns":
            return "turns of dialogues"
        before, to, after = part.partition("-to-")
        return f"with {before} pictures before and {after} after" if to else "rows"


def configs_of(layout: Layout, part: Part, config: str, streams: Mapping[str, int]) -> list[Opened]:
    """The names of a config, first the one that stands for all that one schema holds.

    Args:
        part: any of the dataset, for where the files are.
        streams: what the config holds, with the number of rows of each.
    """
    return [
        Opened(
            _config_name(config, one.name),
            one.globs,
            one.streams,
            sum(streams.get(stream, 0) for stream in one.streams),
        )
        for one in layout.card(part.below(config), sorted(streams))
    ]


def beside(configs: Sequence[Opened]) -> list[Opened]:
    """Those of a config's names whose rows the first of them does not open."""
    return [one for one in configs if not set(one.streams) <= set(configs[0].streams)]


def kept_configs(output: Path) -> list[Opened]:
    """The names of a finished run's kept rows.

    Raises:
        RunError: no finished dataset lies there.
    """
    found = finished_parts(output)
    rows: Counter[str] = Counter()
    for part in found:
        facts = part_facts(part)
        for shard in facts.configs["data"].shards:
            if shard.rows:
                rows[shard.stream] += shard.rows
    layout = layout_named(facts.layout)
    return configs_of(layout, found[0], "data", rows or {layout.empty_stream: 0})


def _config_name(config: str, part: str) -> str:
    if not part:
        return UNNAMED if config == "data" else config
    return part if config == "data" and grouped(part) else f"{config}-{part}"
