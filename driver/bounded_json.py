"""JSON that somebody else wrote, taken apart only as far as it could be meant: what is nested without end is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

MAX_DEPTH = 100
"""How deeply JSON may be nested; ImgEdit's annotations are 5 deep, graphs about 10. Ours."""

MAX_BYTES = 64 << 20
"""The most bytes that one object of an input may have; one with a hundred large masks has some MB. Ours."""

TOO_DEEP = f"nested more than {MAX_DEPTH} deep"
TOO_LONG = f"an object of more than {MAX_BYTES >> 20} MB"


def loads(text: str, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """
    Args:
        parse_constant: as `json.loads` has it.

    Raises:
        ValueError: not JSON, or nested too deeply.
    """
    try:
        value = json.loads(text, parse_constant=parse_constant)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _too_deep(value):
        raise ValueError(TOO_DEEP)
    return value


def _too_deep(value: Any) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for one in level
            for inner in (one.values() if type(one) is dict else one)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return True
