"""A vision-language model with weights on this machine, through transformers: `Load VLM (local weights)` makes one.

The weights are read at the first question and lie in ComfyUI's memory manager from then on. Nodes that ask at the same
time share batches, so that a prompt with many samples is answered in few of them. Everything is computed in the thread
that asks, since ComfyUI's memory manager belongs to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from comfy import model_management
from comfy.model_patcher import ModelPatcher
from comfy.utils import ProgressBar

from ...models.managed import OutOfMemory
from ..asking import Answer, Failure, Question
from . import batches, weights
from .batches import UnusablePrompt
from .conversations import Conversation, Utterance, answers, conversation

QUIET_SECONDS = 0.05
"""How long nothing new may come before waiting questions are answered. Ours: nodes of one prompt follow each other in
milliseconds, and a reply takes a second."""

_LOG = logging.getLogger(__name__)


class LocalVlm:
    """Answers with a hub-format folder of any image-text-to-text architecture of transformers."""

    def __init__(self, folder: Path, dtype: str, batch_size: int, min_pixels: int, max_pixels: int) -> None:
        """Looks at the folder; reads no weights. Arguments as in `weights.load`.

        Args:
            batch_size: most questions in a batch. Halved where memory does not suffice.

        Raises:
            CheckpointError: the folder holds nothing that could be loaded.
        """
        weights.check(folder)
        self.model = folder.name
        self._folder = folder
        self._settings = (dtype, min_pixels, max_pixels)
        self._batch_size = batch_size
        self._loaded: weights.Loaded | None = None
        self._calls: list[_Call] = []

    @property
    def patcher(self) -> ModelPatcher | None:
        """What ComfyUI's memory manager and output cache know the model by, once its weights are loaded."""
        return self._loaded.managed.patcher if self._loaded else None

    async def ask(self, questions: Sequence[Question]) -> list[Answer | Failure]:
        """See `asking.Vlm`.

        Raises:
            CheckpointError: the weights cannot be loaded.
            OutOfMemory: not even half a batch fits.
        """
        mine = _Call(questions, asyncio.get_running_loop().create_future())
        self._calls.append(mine)
        if self._calls[0] is mine:
            await self._answer_calls()
        return await mine.answered

    async def score(self, question: Question, choices: Sequence[str]) -> list[float]:
        """How likely each choice is to open the reply, 0 to 1, before any sampling; the rest falls to other words.

        A judge's digits give an expected score this way, where a reply gives a drawn one.

        Raises:
            ValueError: a choice is not a single token of this model, or the model cannot read the prompt.
        """
        loaded = self._load()
        tokens = [loaded.tokenizer.encode(choice, add_special_tokens=False) for choice in choices]
        for choice, found in zip(choices, tokens, strict=True):
            if len(found) != 1:
                raise ValueError(f"{choice!r} is {len(found)} tokens of {self.model}; a score needs single ones")
        asked = [conversation(replace(question, max_tokens=1))]
        inputs = batches.prepare(loaded.processor, asked, loaded.context)
        with loaded.managed.on_device(inputs["input_ids"].numel() * loaded.bytes_per_token) as model:
            likely = batches.opening(model, loaded.tokenizer, inputs.to(loaded.managed.device))
        return [float(likely[0, token]) for (token,) in tokens]

    async def _answer_calls(self) -> None:
        """Waits until a batch is full or nothing more comes, and answers whatever calls there are by then."""
        seen = 0
        try:
            while len(self._calls) > seen and sum(len(call.questions) for call in self._calls) < self._batch_size:
                seen = len(self._calls)
                await asyncio.sleep(QUIET_SECONDS)
            calls, self._calls = self._calls, []
        except asyncio.CancelledError:
            for call in self._calls:
                call.answered.cancel()
            self._calls = []
            raise
        waiting = [call for call in calls if not call.answered.done()]
        try:
            found = iter(answers([one for call in waiting for one in call.questions], self._say, self.model))
        except BaseException as error:
            for call in waiting:
                call.answered.set_exception(error)
        else:
            for call in waiting:
                call.answered.set_result([next(found) for _ in call.questions])

    def _say(self, conversations: Sequence[Conversation]) -> Sequence[Utterance | Failure]:
        """All replies, in batches of conversations with equally many images. Halves the batches once."""
        loaded = self._load()
        said: dict[int, Utterance | Failure] = {}
        bar = ProgressBar(sum(one.max_tokens for one in conversations))
        halved = False
        while len(said) < len(conversations):
            model_management.throw_exception_if_processing_interrupted()
            waiting = [number for number in range(len(conversations)) if number not in said]
            alike = [one for one in waiting if _images(conversations[one]) == _images(conversations[waiting[0]])]
            batch = alike[: self._batch_size]
            done = sum(conversations[number].max_tokens for number in said)
            try:
                heard = self._batch(loaded, [conversations[number] for number in batch], bar, done)
            except OutOfMemory as error:
                if halved or len(batch) == 1:
                    raise OutOfMemory(
                        f"{error}. It was asked {len(batch)} at once; set batch_size or max_pixels lower"
                    ) from None
                halved, self._batch_size = True, len(batch) // 2
                _LOG.warning("%s; going on with batches of %d", error, self._batch_size)
                continue
            said.update(zip(batch, heard, strict=True))
        bar.update_absolute(bar.total)
        return [said[number] for number in range(len(conversations))]

    def _batch(
        self, loaded: weights.Loaded, conversations: Sequence[Conversation], bar: ProgressBar, done: int
    ) -> Sequence[Utterance | Failure]:
        """The replies of one batch; where one of its prompts cannot be read, each is asked by itself.

        Args:
            done: how much of the progress bar the batches before it have filled.
        """
        try:
            inputs = batches.prepare(loaded.processor, conversations, loaded.context)
        except UnusablePrompt as error:
            if len(conversations) == 1:
                return [Failure("VlmBadRequest", str(error))]
            return [reply for one in conversations for reply in self._batch(loaded, [one], bar, done)]
        longest = inputs["input_ids"].shape[1] + max(one.max_tokens for one in conversations)
        with loaded.managed.on_device(len(conversations) * longest * loaded.bytes_per_token) as model:
            return batches.answer(
                model,
                loaded.tokenizer,
                inputs.to(loaded.managed.device),
                conversations,
                lambda made: bar.update_absolute(done + made * len(conversations)),
            )

    def _load(self) -> weights.Loaded:
        if self._loaded is None:
            self._loaded = weights.load(self._folder, *self._settings)
        return self._loaded


@dataclass(frozen=True)
class _Call:
    """A node's questions, and where it waits for their answers."""

    questions: Sequence[Question]
    answered: asyncio.Future[list[Answer | Failure]]


def _images(conversation: Conversation) -> int:
    return len(conversation.images)
