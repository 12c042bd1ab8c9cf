"""What an annotation's line says beside its regions: captions, tags, and whatever else stands there, which every stage carries on.

`annotation` reads and writes it. Nodes look up what they know by the names here and leave the rest as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from .. import texts

TAGS, SHORT_CAPTION, AESTHETIC = "tags", "short_cap", "aesthetic"
"""What Tag Image, Caption Image and Filter Photo add to a line. ImgEdit has `tags`, lists of nouns by kind of region."""

_READ = frozenset(
    {
        "path", "resolution", "segmentation", "cap", "reasoning_points", "source_licence", "source_url", "writing",
        "carried", "editpairs", "upstream_sha256", "upstream_models", "offered_kinds", "obj_count", "bg_count", "source_sha256",
        "class_name", "bbox", "mask", "kind", "key", "stage_sha256",
    }
)  # fmt: skip
"""What is read and written in other places, or counted anew."""

_PRIVATE = frozenset({"exif"})
"""img2dataset's metadata of the camera, which may hold a place: nothing of ours carries it over."""


def further(item: Mapping[str, Any]) -> dict[str, Any]:
    """What a line holds that nothing here reads. What JSON cannot hold is left out, as NaN in the place of nothing, or bytes."""
    return {
        name: value
        for name, value in item.items()
        if value is not None and name not in _READ and name not in _PRIVATE and _is_json({name: value})
    }


def captions(cap: Any) -> tuple[str, ...]:
    """A caption or several. One that is no text is left out, as nothing is made of it."""
    found = cap if isinstance(cap, list) else [cap]
    return tuple(one for one in found if isinstance(one, str) and one.strip() and not texts.fault(one))


def tags(line: Mapping[str, Any]) -> dict[Literal["object", "background"], list[str]] | None:
    """The nouns that somebody found in a photo, by kind of region, each once; None where nobody named any.

    Args:
        line: what `further` gives. ImgEdit's lists `object` and `background`, or one list of objects. What is no name in
            one line is left out.
    """
    said = line.get(TAGS)
    lists = said if isinstance(said, dict) else {"object": said}
    objects, backgrounds = _names(lists.get("object")), _names(lists.get("background"))
    return {"object": objects, "background": backgrounds} if objects or backgrounds else None


def tagged(objects: Sequence[str], backgrounds: Sequence[str]) -> dict[str, list[str]]:
    """Tags as a line holds them."""
    return {"object": list(objects), "background": list(backgrounds)}


def _names(said: Any) -> list[str]:
    found: dict[str, str] = {}
    for one in said if isinstance(said, list) else ():
        name = " ".join(one.split()) if isinstance(one, str) and not texts.fault_of_name(one) else ""
        if name:
            found.setdefault(name.casefold(), name)
    return list(found.values())


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return True
