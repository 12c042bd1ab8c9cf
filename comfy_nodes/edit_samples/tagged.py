"""What detectors look for in a photo: its own tags, or the names that somebody typed for all photos."""

from __future__ import annotations

from ..core.regions import line
from ..core.regions.annotation import RegionKind
from ..models.queries import parse
from ..wires.sockets import EditSample


def names_for(sample: EditSample | None, kind: RegionKind, vocabulary: str) -> list[str]:
    """The names to look for; none where there is nothing to find.

    Args:
        sample: the photo's, where one is wired in. With tags of either kind it says all that is on the photo.
        kind: which of its tags count.
        vocabulary: what counts without tags; what another node says may be empty.
    """
    tags = line.tags(sample.further) if sample is not None else None
    if tags is not None:
        return tags[kind]
    return parse(vocabulary) if vocabulary.strip() else []
