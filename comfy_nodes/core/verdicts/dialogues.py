"""Whether a dialogue's pictures follow from one another: what no turn was about is as it was in the first of them.

Verify Dialogue calls it with a turn's pictures. Pure array code; whether the turns show what they ask for, a judge says.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..instructions.turns import Earlier, Turn
from ..regions import rle
from . import pixel_changes
from .verdicts import Scores


def follows(
    turn: Turn, start: np.ndarray, source: np.ndarray, edited: np.ndarray, edit_mask: np.ndarray | None
) -> Scores:
    """The verdict on one turn's pictures.

    The picture that it begins with has to be state 0 outside of the masks of the turns that lead to it, so that nothing of a
    version that was given up is left in it; the picture after it has to be that one outside of the turn's own mask.

    Args:
        start: uint8 [H, W, 3], state 0.
        source: uint8 [H, W, 3], the state that the turn begins with.
        edited: uint8 [H, W, 3], the state after it.
        edit_mask: bool [H, W]; None where the turn may change the whole picture.

    Raises:
        ValueError: sizes differ, or nobody says what a turn did that leads to its state.
    """
    size = edited.shape[:2]
    path = leading_to(turn)
    allowed = _united([_marked(one, size) for one in path], size)
    begins = _outside(start, source, allowed)
    changed = 0 if edit_mask is None else _outside(source, edited, edit_mask)
    values = {"dialogue.outside_max": float(max(begins, changed)), "dialogue.turns": float(len(path) + 1)}
    if begins:
        wrong = (pixel_changes.difference(start, source) > 0) & ~allowed
        return Scores(values, "reject", _another_state(turn, path, wrong, begins))
    if changed:
        reason = f"turn {turn.number} changed what it is not about by up to {changed} of 255 levels"
        return Scores(values, "reject", reason)
    return Scores(values, "keep")


def leading_to(turn: Turn) -> list[Earlier]:
    """The earlier turns that lead from state 0 to the state that a turn begins with, the last one first.

    Raises:
        ValueError: one of them is not told.
    """
    told = {one.number: one for one in turn.earlier}
    found: list[Earlier] = []
    state = turn.base
    while state:
        if state not in told:
            raise ValueError(f"turn {turn.number} begins with state {turn.base}, and nobody says what turn {state} did")
        found.append(told[state])
        state = found[-1].base
    return found


def _another_state(turn: Turn, path: Sequence[Earlier], wrong: np.ndarray, levels: int) -> str:
    """Why the picture that a turn begins with is not its state, and which turns that were taken back are seen there."""
    state = f"the picture that turn {turn.base} left" if turn.base else "the first picture"
    why = f"turn {turn.number} does not begin with {state}: it differs by up to {levels} of 255 levels where no turn edited it"
    given_up = [one for one in turn.earlier if one not in path and (wrong & _marked(one, wrong.shape)).any()]
    seen = " and ".join(f"turn {one.number}" for one in given_up)
    return f"{why}; {seen} had been there, which it takes back" if seen else why


def _marked(turn: Earlier, size: tuple[int, ...]) -> np.ndarray:
    """bool [H, W]: where a turn may have changed its picture.

    Raises:
        ValueError: the mask is of another size.
    """
    if turn.edit_mask is None:
        return np.ones(size, dtype=bool)
    if turn.edit_mask.size != size:
        height, width = turn.edit_mask.size
        raise ValueError(
            f"the picture is {size[1]} x {size[0]}, and the mask of turn {turn.number} {width} x {height}: the states of a "
            "dialogue have one size; fit the photo before Take Turn"
        )
    return rle.decode(turn.edit_mask)


def _united(masks: Sequence[np.ndarray], size: tuple[int, ...]) -> np.ndarray:
    united: np.ndarray = np.any([np.zeros(size, dtype=bool), *masks], axis=0)
    return united


def _outside(one: np.ndarray, other: np.ndarray, mask: np.ndarray) -> int:
    """Largest difference in levels outside of a mask.

    Raises:
        ValueError: sizes differ.
    """
    if one.shape != other.shape or mask.shape != one.shape[:2]:
        sizes = " and ".join(f"{found.shape[1]} x {found.shape[0]}" for found in (one, other))
        raise ValueError(
            f"pictures of {sizes} pixels: the states of a dialogue have one size; fit the photo before Take Turn"
        )
    outside = pixel_changes.difference(one, other)[~mask]
    return int(outside.max()) if outside.size else 0
