"""Pictures of questions as services get them: each is named and packed once for all questions about it.

Several questions are about one photo, in one node and from node to node, and packing a photo takes longer than all else
that a question does here.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from .. import images
from ..asking import Question
from .flights import Flights

MOST_CHARACTERS = 64 * 2**20
"""Of packed pictures that are kept: some hundred of a megapixel. Ours."""


@dataclass(frozen=True)
class Picture:
    """A picture and its name."""

    pixels: np.ndarray
    """uint8 [H, W, 3]."""
    digest: str
    """See `images.digest`."""

    @property
    def size(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[0] * self.pixels.shape[1])


async def of(questions: Sequence[Question]) -> list[tuple[Picture, ...]]:
    """The pictures of each question, named outside the event loop: of an array that several share, once."""
    arrays = {id(pixels): pixels for question in questions for pixels in question.images}

    def name() -> dict[int, Picture]:
        return {known: Picture(pixels, images.digest(pixels)) for known, pixels in arrays.items()}

    named = await asyncio.to_thread(name) if arrays else {}
    return [tuple(named[id(pixels)] for pixels in question.images) for question in questions]


class Packed:
    """Data URLs, of which the latest are kept. Lives on one event loop."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, str] = OrderedDict()
        self._characters = 0
        self._packing: Flights[str] = Flights()

    async def url(self, picture: Picture, max_pixels: int, image_format: Literal["jpeg", "png"]) -> str:
        """See `images.data_url`."""
        height, width, _ = picture.pixels.shape
        form = f"{picture.digest} {images.fitted(width, height, max_pixels)} {image_format}"
        if form not in self._kept:
            pack = partial(asyncio.to_thread, images.data_url, picture.pixels, max_pixels, image_format)
            url, _ = await self._packing.join(form, pack)
            self._keep(form, url)
            return url
        self._kept.move_to_end(form)
        return self._kept[form]

    def _keep(self, form: str, url: str) -> None:
        if form not in self._kept:
            self._kept[form] = url
            self._characters += len(url)
        while self._characters > MOST_CHARACTERS:
            self._characters -= len(self._kept.popitem(last=False)[1])
