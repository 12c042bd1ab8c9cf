"""A photo with the regions that an edit is about apart from the others: what our words are made from.

Writers and `routing` stand on it; it knows boxes and names, no pixels and no models.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..regions.annotation import Region
from ..regions.eligibility import pair_refusal, pick
from ..regions.lettering import words_of_name
from . import wording
from .checks import Unfit, check_noun
from .wording import Language


@dataclass(frozen=True)
class Scene:
    """What our words are made from: a photo, the regions that are edited and the others."""

    width: int
    height: int
    regions: tuple[Region, ...] = ()
    """The edited ones, in the operations' order."""
    others: Sequence[Region] = field(default=())
    words: Sequence[Region] | None = None
    """Lines of words that a reader found in the photo; None where nobody read it."""
    grounded: bool = True
    """Whether somebody looked for the photo's regions."""

    def ambiguous(self, language: Language) -> str:
        """Why words cannot tell which region is meant; empty where they can."""
        for region in self.regions:
            if self._reference(region, language) is None:
                return (
                    f"several things here are called {region.class_name or 'object'} and neither place nor size tells this one apart: "
                    "take another region, or name this one more closely"
                )
        return ""

    def the(self, number: int, noun: str, language: Language) -> str:
        """A region named so that no other can be meant: `the small red cup on the left of the image`.

        Raises:
            Unfit: words don't tell, or the noun is in another language.
        """
        check_noun(noun, language)
        found = self._reference(self.regions[number], language)
        if found is None:
            raise Unfit(self.ambiguous(language))
        return found.phrase(noun, language)

    def told(self, region: Region) -> str:
        """One of the photo's regions in English, so that no other can be meant; empty where words don't tell."""
        found = self._reference(region, "en")
        return found.phrase(region.class_name or "", "en") if found and region.class_name else ""

    def place(self, number: int, language: Language) -> str:
        return wording.location(self.regions[number].bbox, self.width, self.height, language)

    def new(self, number: int, article: str, noun: str, language: Language) -> str:
        """A thing that is put in: article, size and name."""
        check_noun(noun, language)
        size = wording.size_word(self.regions[number].area_share(self.width, self.height), language)
        if language == "zh":
            return f"{article}{size.removesuffix(wording.extra_size(size, noun))}{noun}"
        article = "a" if size and article.casefold() == "an" else article
        return " ".join(word for word in (article, size, noun) if word)

    def _reference(self, region: Region, language: Language) -> wording.Reference | None:
        if region.kind == "background":
            return wording.Reference()  # it is everywhere behind the rest
        if words_of_name(region.class_name or "") and not any(
            one.plain_name == region.plain_name and one is not region for one in (*self.regions, *self.others)
        ):
            # How large a line of words is says nothing of the thing that bears it.
            return wording.at(region.bbox, self.width, self.height, language)
        return wording.reference(region, (*self.regions, *self.others), self.width, self.height, language)


def further_regions(
    chosen: Sequence[Region], others: Sequence[Region], width: int, height: int, seed: int, count: int
) -> list[Region]:
    """`count` regions that can be edited beside those of `chosen` and one another, or as many as there are."""
    found: list[Region] = []
    while len(found) < count:
        edited = [*chosen, *found]
        fitting = [
            one
            for one in others
            if one.class_name and all(pair_refusal(two, one, width, height) is None for two in edited)
        ]
        if not fitting:
            break
        found.append(fitting[pick(len(fitting), seed)])
    return found


def second_region(first: Region, others: Sequence[Region], width: int, height: int, seed: int) -> Region | None:
    """One of the named regions of a width x height photo that can be edited together with `first`; None: there is none."""
    return next(iter(further_regions((first,), others, width, height, seed, 1)), None)
