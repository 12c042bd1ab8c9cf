"""A model that says the same words however often it is asked; the runtime of models on this machine reads them."""

from __future__ import annotations

from collections.abc import Sequence

from comfy_nodes.vlm import local_replies
from comfy_nodes.vlm.asking import Answer, Failure, Question, Usage


class Insisting:
    """All but the weights is the runtime's own: what is asked, what is read, and the second try."""

    model = "insisting-vl"

    def __init__(self, words: str, finished: bool = True):
        self._reply = local_replies.Reply(words, finished, Usage())
        self.heard: list[str] = []
        """The last message of each conversation, in order."""

    async def ask(self, questions: Sequence[Question]) -> list[Answer | Failure]:
        return local_replies.answers(questions, self._say, self.model)

    def _say(self, asked: Sequence[local_replies.Conversation]) -> list[local_replies.Reply | Failure]:
        self.heard += [one.turns[-1].text for one in asked]
        return [self._reply for _ in asked]
