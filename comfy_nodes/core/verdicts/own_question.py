"""A yes-or-no question of a user's own about a photo or a pair, whatever their policy names, and what an answer means.

Ask About Photo and Ask About Edit have it asked. An answer drops a photo or a pair, or lets it pass; it never says that an
edit is good, so it vouches for none. Who cannot answer drops it, too, and says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from .. import texts
from ..instructions.shapes import Reply, Text
from ..records import SampleFailure
from .verdicts import Judge, Scores

Said = Literal["yes", "no"]

UNANSWERED = "Unanswered"
"""Error type of a photo that is skipped since nobody could answer."""

UNCLEAR = "unclear"

LONGEST_REASON = 60
"""Characters of a reason, which stands in tables. Ours."""

_WORDS = {
    True: "yes",
    False: "no",
    "true": "yes",
    "false": "no",
    "是": "yes",
    "否": "no",
    "不是": "no",
    "不确定": UNCLEAR,
}
"""How else models spell the three answers."""


def _plain(said: Any) -> Any:
    word = said.strip(" .!。").casefold() if isinstance(said, str) else said
    return _WORDS.get(word, word) if isinstance(word, (str, bool)) else said


class Answered(Reply):
    """What a model says to the question."""

    seen: Text
    """What it sees that decides."""
    answer: Annotated[Literal["yes", "no", "unclear"], BeforeValidator(_plain)]


@dataclass(frozen=True)
class Rule:
    """A question, the answer that drops what it is asked about, and a short reason by which dropped ones are counted."""

    question: str
    drop_if: Said
    reason: str

    def __post_init__(self) -> None:
        """
        Raises:
            ValueError: no question, or a reason that is no short name in one line.
        """
        if not self.question.strip():
            raise ValueError("there is no question: type one that is answered by yes or no")
        why = "is empty" if not self.reason.strip() else texts.fault_of_name(self.reason, LONGEST_REASON)
        if why or not self.score.strip("_"):
            raise ValueError(f"reason {why or 'holds no letter'}: write a few words that name what is dropped")

    @property
    def score(self) -> str:
        """Its name among scores, behind `asked.`: 1 is yes, 0 is no."""
        return re.sub(r"\W+", "_", self.reason.strip()).strip("_").casefold()

    def left_out(self, reply: Answered, node: str) -> SampleFailure | None:
        """Why a photo is skipped; None where it passes.

        Args:
            node: class and id of the node that asked.
        """
        if reply.answer == UNCLEAR:
            return self.unanswered(f"it cannot be seen: {reply.seen}", node)
        if reply.answer != self.drop_if:
            return None
        message = f"to {self._quoted} the answer is {reply.answer}: {reply.seen}"
        return SampleFailure("annotate", self.reason.strip(), message, node, skipped=True)

    def unanswered(self, why: str, node: str) -> SampleFailure:
        """Why a photo is skipped that nobody could say anything about."""
        return SampleFailure("annotate", UNANSWERED, f"to {self._quoted} there is no answer: {why}", node, skipped=True)

    def scores(self, reply: Answered, who: Judge) -> Scores:
        """The verdict on a pair."""
        if reply.answer == UNCLEAR:
            return self.unscored(f"it cannot be seen: {reply.seen}", who)
        values = {f"asked.{self.score}": float(reply.answer == "yes")}
        if reply.answer != self.drop_if:
            return Scores(values, "keep", judge=who)
        return Scores(values, "reject", f"{self.reason.strip()}: {reply.seen}", judge=who)

    def unscored(self, why: str, who: Judge) -> Scores:
        """The verdict on a pair that nobody could say anything about."""
        return Scores({}, "unscored", f"to {self._quoted} there is no answer: {why}", judge=who)

    @property
    def _quoted(self) -> str:
        return repr(" ".join(self.question.split()))
