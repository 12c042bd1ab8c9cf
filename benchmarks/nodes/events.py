"""What the nodes saw, as JSON lines in the server's output folder, for the benchmark to read."""

from __future__ import annotations

import json
import time
from pathlib import Path

import folder_paths

FILE = "bench-events.jsonl"


def note(what: str, **details: object) -> None:
    """Adds a line: `what` happened, when, and its details."""
    line = json.dumps({"what": what, "at": time.time(), **details})
    folder = Path(folder_paths.get_output_directory())
    folder.mkdir(exist_ok=True)
    with (folder / FILE).open("a", encoding="utf-8") as file:
        file.write(line + "\n")
