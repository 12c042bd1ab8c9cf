"""What is to be seen after an edit, read out of a plain English command: what a model that fills a region is told.

Such a model paints whatever its text names, so "Replace the rocket with a lighthouse" has it paint a rocket, too. Take
Edit Step calls this where no writer described the result. It reads a few plain forms and nothing else: a sentence that
could be read in two ways gives nothing, and the caller asks a model or refuses the sample.
"""

from __future__ import annotations

import re

from .checks import MAX_WORDS, language_of

_REPLACING = (
    r"(?:replace|swap|exchange|switch) (?:.+?) with (?P<new>.+)",
    r"replace (?:.+?) by (?P<new>.+)",
    r"(?:swap|exchange|switch|trade) (?:.+?) for (?P<new>.+)",
    r"(?:turn|change|transform|convert|make) (?:.+?) into (?P<new>.+)",
    r"(?:change|switch|set) (?:.+?) to (?P<new>.+)",
    r"(?:put|place) (?P<new>.+?) in (?:the )?place of .+",
)
_RESTYLING = (
    r"(?:turn|change|transform|convert|make) (?:.+?) into (?P<new>.+)",
    r"(?:make|render|paint|draw|redraw|repaint) (?:it|this|(?:the|this) (?:photo|picture|image|scene)) (?:look )?(?:like |as |to be )?(?P<new>.+)",
)
_LOOK = r"(?:colou?r|material|texture|pattern|look|finish|shape|size)"
_ALTERING = (
    rf"(?:change|set) (?:the )?{_LOOK} of (?P<thing>.+?) (?:in)?to (?P<look>.+)",
    rf"(?:change|set) (?P<thing>.+?)'s {_LOOK} (?:in)?to (?P<look>.+)",
    r"(?:make|turn|paint|dye|colou?r|tint) (?P<thing>.+)",
)
_JOINTS: dict[str, str] = {"with": r"\bwith\b", "by": r"\bby\b", "for": r"\bfor\b", "to": r"\b(?:in)?to\b"}
"""Words that part the old from the new. One that stands twice could part them in two places."""

_EMPTY = re.compile(r"(?:it|one|them|something|anything|another|nothing|others?|different)\b(?! \w+ \w)", re.IGNORECASE)
_ORDERS = re.compile(
    r"\b(?:replace|remove|erase|delete|swap|add|insert|make|change|turn|keep|leave|don't|do not|so that)\b",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"^(?:the|a|an|this|that) ", re.IGNORECASE)
_PLACE = re.compile(
    r"^(?:on|in|at|to|of|near|by|behind|next|under|from|with|into) (?:the|a|an|left|right)\b", re.IGNORECASE
)


def caption(op: str, command: str, name: str) -> str:
    """What a plain command of an operation leaves to be seen; empty where its words don't tell.

    Args:
        op: `replace`, `visual`, `background`, `style` or `alter`. Of others nothing is read.
        command: English, such as `Replace the rocket on the left with a white lighthouse.`
        name: of the region, which tells where in `Make the old car red` the thing ends.
    """
    words = " ".join(command.split()).rstrip(" .!")
    if not words or len(words.split()) > MAX_WORDS or language_of(words) != "en":
        return ""
    words = re.sub(r"^please,? |,? please$|,? instead$", "", words, flags=re.IGNORECASE)
    if op == "alter":
        return _altered(words, name)
    if op not in ("replace", "visual", "background", "style"):
        return ""
    for pattern in _RESTYLING if op == "style" else _REPLACING:
        found = re.fullmatch(pattern, words, re.IGNORECASE)
        if found:
            return _plain(found["new"]) if _parts_once(words, pattern) else ""
    return ""


def _parts_once(words: str, pattern: str) -> bool:
    joints = [
        regex for word, regex in _JOINTS.items() if f" {word} (?P<new>" in pattern or f"in{word} (?P<new>" in pattern
    ]
    return all(len(re.findall(regex, words, re.IGNORECASE)) == 1 for regex in joints)


def _altered(words: str, name: str) -> str:
    """The thing with its new look: `car, red`."""
    for pattern in _ALTERING:
        found = re.fullmatch(pattern, words, re.IGNORECASE)
        if not found:
            continue
        parts = found.groupdict()
        look = parts.get("look")
        if look is None:
            # Whatever follows the thing's name, such as `the old car red`.
            at = parts["thing"].casefold().rfind(name.casefold()) if name else -1
            look = parts["thing"][at + len(name) :].strip() if at >= 0 else ""
            look = re.sub(r"^(?:look|appear|be|in|into|to) ", "", look, flags=re.IGNORECASE)
        elif len(re.findall(_JOINTS["to"], words, re.IGNORECASE)) != 1:
            return ""
        thing = name or _ARTICLE.sub("", parts["thing"])
        return f"{thing}, {look}" if _plain(look) and not _PLACE.match(look) else ""
    return ""


def _plain(text: str) -> str:
    """The text, where it names something and gives no further order."""
    text = text.strip(" ,")
    return "" if _EMPTY.match(_ARTICLE.sub("", text)) or _ORDERS.search(text) else text
