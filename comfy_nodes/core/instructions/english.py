"""English articles: what stands before the name of something new.

The library inflect knows sounds and plurals; the tables here hold what it does not: names that end like a plural and are
none, and names of stuff, which take no article. Loaded by the first name, as inflect takes a second.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inflect import engine

_SINGULAR = frozenset(
    re.findall(
        r"\w+",
        "lens gas atlas canvas alias bias pancreas chaos cosmos thermos rhinoceros series species means crossroads "
        "gallows headquarters barracks christmas madras arkansas texas mars pampas sassafras",
    )
)
"""One thing, though it ends like several. Ours."""

_SEVERAL = frozenset(
    re.findall(
        r"\w+",
        "police cattle poultry menus emus gnus taxis skis bikinis kiwis zucchinis safaris khakis jacuzzis martinis alibis "
        "rabbis yetis cacti fungi octopi hippopotami media tsunamis salamis bonsais chilis chillis tutus haikus gurus",
    )
)
"""Several, though they do not end like it. Ours."""

_STUFF = frozenset(
    re.findall(
        r"\w+",
        "water sand snow ice rain fog mist smoke steam mud dirt soil gravel dust ash moss ivy seaweed grass hay straw "
        "foliage vegetation greenery scenery hair fur wool cotton silk leather denim furniture luggage baggage equipment "
        "machinery clothing underwear footwear jewelry jewellery makeup laundry bread rice pasta spaghetti sushi tofu "
        "cheese butter sugar salt flour milk juice wine meat beef pork bacon food seafood popcorn broccoli spinach honey "
        "ketchup mustard mayonnaise toast wood metal plastic steel gold silver traffic trash garbage rubbish litter "
        "lightning thunder sunlight moonlight daylight air oil gasoline foam text graffiti art music money cash news "
        "information cutlery silverware glassware tableware crockery pottery stationery mail asphalt concrete blood "
        "gymnastics electronics lava sunshine",
    )
)
"""Stuff, which is not counted. Ours."""

_DETERMINED = re.compile(r"(?:an?|the|this|that|these|those|some|my|your|his|her|its|our|their)\b(?=\s)", re.IGNORECASE)
"""How names begin that bring their own article."""

_SKY = "sky"
"""There is one of it, so that it takes an article only with a word before it: a cloudy sky. Ours."""

_SPELLED = re.compile(r"[AEFHILMNORSX][A-Z]{1,3}(?:s?\b|-)|8|1[18](?!\d)")
"""Abbreviations and numbers that are said with a vowel first. Ours: inflect knows a part of them."""

_SPOKEN = re.compile(r"(?:NASA|NATO|RAM|ROM|SIM|FIFA|NERF|LEGO|LASER|SCUBA|RADAR|SONAR|HUD|LAN|MAC)\b")
"""Words in capitals that are read as words, so that their first letter's name says nothing."""


def article(noun: str) -> str:
    """What stands before the English name of something new: `a` cup, `an` umbrella, nothing before boats or water."""
    words = re.split(r" (?:of|in|on|with|for|from|at|by|to|and)\b", noun.strip(), maxsplit=1)[0].split()
    head = re.sub(r"\W+$", "", words[-1]).casefold() if words else ""
    if (
        not head
        or head in _STUFF
        or noun.strip().casefold() == _SKY
        or _is_plural(head)
        or _DETERMINED.match(noun.strip())
    ):
        return ""
    if _SPELLED.match(noun) and not _SPOKEN.match(noun):
        return "an"
    return str(_engine().a(noun)).split()[0]


def _is_plural(word: str) -> bool:
    if word in _SEVERAL:
        return True
    if word in _SINGULAR or word.endswith(("ss", "us", "is")):
        return False
    singular = _engine().singular_noun(word)
    # Names that are their own singular are sheep or scissors.
    return singular not in (False, word) or (singular == word and word.endswith("s"))


@cache
def _engine() -> engine:
    import inflect

    return inflect.engine()
