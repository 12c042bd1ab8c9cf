"""What stages leave in a photo's line beside captions and regions, and later stages carry on word for word.

Load Edit Sample puts them into the sample, Save Annotation writes them out again; `annotation` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTES = ("routes", "ocr", "tags", "short_cap", "aesthetic", "licence", "source")
"""Their keys: what Route Task decided, what Read Text read, what Tag Image, Caption Image and Filter Photo found, and what
a mixture of inputs says of its photos."""


def notes(item: Mapping[str, Any]) -> dict[str, Any]:
    """A line's own, as they stand there."""
    return {name: item[name] for name in NOTES if item.get(name) is not None}
