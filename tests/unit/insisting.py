"""A model that says the same words however often it is asked; the runtime of models on this machine reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from comfy_nodes.vlm.asking import Answer, Failure, Question, Usage
from comfy_nodes.vlm.local import conversations as local_replies


class Insisting:
    """All but the weights is the runtime's own: what is asked, what is read, and the second try."""

    model = "insisting-vl"

    def __init__(self, words: str | Mapping[str, str], finished: bool = True):
        """
        Args:
            words: the reply, or a reply for each question by what the question holds.
            finished: False where the longest length ended it.
        """
        self._words, self._finished = words, finished
        self.heard: list[str] = []
        """The last message of each conversation, in order."""

    async def ask(self, questions: Sequence[Question]) -> list[Answer | Failure]:
        return local_replies.answers(questions, self._say, self.model)

    def _say(self, asked: Sequence[local_replies.Conversation]) -> list[local_replies.Utterance | Failure]:
        self.heard += [one.turns[-1].text for one in asked]
        return [local_replies.Utterance(self._reply(one), self._finished, Usage()) for one in asked]

    def _reply(self, asked: local_replies.Conversation) -> str:
        if isinstance(self._words, str):
            return self._words
        question = next(one.text for one in asked.turns if one.role == "user")
        return next(words for held, words in self._words.items() if held in question)
