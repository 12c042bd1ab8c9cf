"""A derivation from its start to its end: photo by photo, each draft looked at and written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comfy_nodes.core.instructions import inverting, rewording
from comfy_nodes.core.instructions.wording import Language

from ..bounded_json import loads
from ..dataset.dataset import dataset_digest
from ..dataset.ownership import refuse_links
from ..errors import RunError
from ..report.summary import Summary
from .drafts import Asked, Drafts, LeftOut
from .journals import Journals
from .photos import Photo, Photos
from .records import original_of, pair_of
from .telling import Told
from .vouching import verdict_of
from .writing import Claim, Folder, _Writers, check_folder


@dataclass(frozen=True)
class DeriveOptions:
    """What a derivation is asked for."""

    run: Path
    output: Path
    asked: Asked
    originals: bool = False
    layout: str = ""
    """Empty for the run's own."""


@dataclass
class Done:
    """What came of it."""

    there: bool = False
    """Whether it was made before, so that nothing was done."""
    rows: int = 0
    """Kept rows of the run."""
    photos: int = 0
    kept: int = 0
    kinds: dict[str, Counter[str]] = field(default_factory=dict)
    """Verdicts of each kind of derived row."""
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By kind and reason."""
    summary: dict[str, Any] = field(default_factory=dict)
