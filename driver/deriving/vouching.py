"""Who vouches for a derived row: pixels are counted in its pictures as they now stand, and nobody's word goes further.

Of edits by image processing, which say what they did, pixels vouch; of those by a model nobody has looked at the new pair
yet, so that it is unscored until `--workflow verify` has asked. Only the words of a wording are new: of it holds what was
said of its pair.
"""

from __future__ import annotations

import numpy as np

from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.records import Score
from comfy_nodes.core.regions import rle
from comfy_nodes.core.verdicts import pixels
from comfy_nodes.core.verdicts.pixel_limits import Limits, for_kind
from comfy_nodes.core.verdicts.verdicts import Scores, vouched

from .drafts import Draft
from .photos import Pictures


def verdict_of(draft: Draft, pictures: Pictures) -> tuple[Scores, tuple[Score, ...]]:
    """What is said of a draft, and its scores as they are stored."""
    if draft.reworded:
        columns = draft.parents[0].columns
        scores = tuple(Score.model_validate(one) for one in columns["scores"] or ())
        return Scores({}, "keep", voices=tuple(columns["vouched_by"] or ())), scores
    found = _counted(draft, pictures)
    classical = all("pixels" in (parent.columns["vouched_by"] or ()) for parent in draft.parents)
    found = vouched(found, "classical" if classical else "model")
    return found, tuple(Score(name=name, value=value) for name, value in found.values.items())


def _counted(draft: Draft, pictures: Pictures) -> Scores:
    try:
        before, after = pictures.pixels(draft.before[0]), pictures.pixels(draft.after)
        mask = None if draft.edit_mask is None else rle.decode(draft.edit_mask)
        limits = for_kind(Limits(), draft.task)
        return pixels.verify(before, after, mask, _meant(draft), limits)[0]
    except (PhotoError, ValueError) as error:
        return Scores({}, "reject", f"its pictures do not go together: {error}")


def _meant(draft: Draft) -> np.ndarray | None:
    """Where the edit was meant, bool [H, W]; None where that is not known of all its regions."""
    masks = [region.mask for _, region in draft.regions]
    if not masks or None in masks:
        return None
    found: np.ndarray = np.logical_or.reduce([rle.decode(one) for one in masks if one is not None])
    return found
