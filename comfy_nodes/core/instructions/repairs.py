"""What a small model gets nearly right, put right before it is checked: placeholders, articles, the verb's form.

Only the form of a reply is touched: which thing it speaks of and what is done to it stay the model's. What cannot be read
in one way is left for the checks to refuse. `composing` calls this on every reply.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

from . import shapes
from .wording import Language

_Edit = TypeVar("_Edit", bound=shapes.Reply)

_OPENING, _CLOSING = r"[\[{<(]{1,2}\s*", r"\s*[\]}>)]{1,2}"
_BRACKETED = {
    name: re.compile(rf"{_OPENING}(?:the |marked )?{words}s?{_CLOSING}", re.IGNORECASE)
    for name, words in (("[OBJECT]", "(?:object|thing)"), ("[PLACE]", "(?:place|location|position)"))
}
"""Spellings of a placeholder: `[object]`, `{OBJECT}`, `<the object>`, `[OBJECTS]`."""

_NUMBERED = re.compile(rf"{_OPENING}(?:the |marked )?(?:object|thing)[ _]?([12]){_CLOSING}", re.IGNORECASE)

_BARE = {"[OBJECT]": re.compile(r"(?<![\[\w])OBJECT(?![\]\w])"), "[PLACE]": re.compile(r"(?<![\[\w])PLACE(?![\]\w])")}

_AROUND = " \"'“”[]{}<>.。"
"""Signs around a name."""

_ARTICLE = r"(?:\b(?:the|an?|this|that|these|those)\s+)?"

_BASES = (
    "add", "place", "insert", "include", "introduce", "bring", "draw", "paint", "put", "set", "remove", "erase", "delete",
    "eliminate", "clear", "wipe", "take", "replace", "swap", "substitute", "exchange", "switch", "trade", "turn", "change",
    "transform", "convert", "make", "recolor", "recolour", "alter", "extract", "isolate", "separate", "cut", "show",
    "cover", "coat", "wrap", "dress", "dye", "tint", "give", "apply", "shrink", "enlarge", "stretch", "shorten", "raise", "lower",
    "render", "redraw", "relight", "stylize", "restyle",
)  # fmt: skip
"""Verbs that instructions begin with."""

_IRREGULAR = {
    "brought": "bring", "drew": "draw", "drawn": "draw", "took": "take", "taken": "take", "made": "make", "shown": "show",
    "gave": "give", "given": "give", "applied": "apply", "dyeing": "dye", "shrunk": "shrink", "redrawn": "redraw", "relit": "relight",
}  # fmt: skip


def _forms(base: str) -> dict[str, str]:
    stem = base.removesuffix("e")
    doubled = base + base[-1] if base in ("put", "set", "swap", "cut", "wrap") else stem
    return dict.fromkeys((f"{base}s", f"{stem}ed", f"{doubled}ed", f"{stem}ing", f"{doubled}ing"), base)


_FORMS = {form: base for verb in _BASES for form, base in _forms(verb).items()} | _IRREGULAR

_FURTHER = re.compile(r"(\b(?:and|then) )(\w+ing)\b", re.IGNORECASE)
"""A second verb in the form of the first."""

_OWNED = re.compile(
    r"\b(change|turn|replace|swap|convert|transform|dye|colou?r|recolou?r) (?:the )?\[OBJECT\]['\u2019]s ((?:\w+ ){0,2}?\w+)(?= (?:to|from|with|into)\b)",
    re.IGNORECASE,
)
"""A part of the thing, named where its words end for certain."""

_PASSIVE = re.compile(
    r"^(?:the )?(\[OBJECT\]|(?:whole |entire )?(?:photo|image|picture|scene)) (?:is|was|are|were|should be|must be|has been|have been|needs to be|will be) (?:now )?(\w+)\b(.*)$",
    re.IGNORECASE | re.DOTALL,
)


def repaired(edit: _Edit, language: Language) -> _Edit:
    """The reply with its names bare, its placeholders spelt as asked for, and its sentences in the imperative.

    Args:
        language: that of `instruction` and `object`; the other fields are English.
    """
    repair = next(repair for shape, repair in _REPAIRS if isinstance(edit, shape))
    fixed: dict[str, Any] = repair(edit, language)
    return edit.model_copy(update=fixed)


def _nouns(edit: Any) -> dict[str, Any]:
    return {"object": _noun(edit.object), "object_en": _noun(edit.object_en)}


def _added(edit: Any, language: Language) -> dict[str, Any]:
    nouns = _nouns(edit)
    return nouns | {"instruction": _sentence(edit.instruction, nouns["object"], language)}


def _object(edit: Any, language: Language) -> dict[str, Any]:
    """Of an edit of one thing, or a part or round about one, which may have no instruction of its own."""
    fixed = _nouns(edit) | {"command": _sentence(edit.command, _noun(edit.object_en), "en")}
    if hasattr(edit, "instruction"):
        fixed["instruction"] = _sentence(edit.instruction, fixed["object"], language)
    return fixed


def _text(edit: Any, language: Language) -> dict[str, Any]:
    """What bears the words is not called by them: `sign "OPEN"` is a sign, and words alone are a text."""
    bare = {
        "object": _bearer(edit.object, "文字" if language == "zh" else "text"),
        "object_en": _bearer(edit.object_en, "text"),
    }
    fixed = _object(edit.model_copy(update=bare), language)
    return fixed | {name: _double(fixed.get(name, edit.target)) for name in ("instruction", "command", "target")}


def _bearer(noun: str, words: str) -> str:
    return re.sub(r"\s*[\"\u201c\u300c].*", "", noun).strip() or words


def _riddle(edit: Any, language: Language) -> dict[str, Any]:
    return _object(edit, language) | {"instruction": _said(edit.instruction, language)}


def _whole(edit: Any, language: Language) -> dict[str, Any]:
    fixed = {"command": _imperative(edit.command), "instruction": _said(edit.instruction, language)}
    return fixed | ({"name": edit.name.strip(_AROUND) or edit.name} if hasattr(edit, "name") else {})


def _hybrid(edit: Any, language: Language) -> dict[str, Any]:
    parts = {name: repaired(getattr(edit, name), language) for name in ("first", "second")}
    text = _NUMBERED.sub(r"[OBJECT\1]", edit.instruction)
    for number, part in enumerate(parts.values(), 1):
        mark = f"[OBJECT{number}]"
        text = text if mark in text else _named(text, part.object, language).replace("[OBJECT]", mark)
    return parts | {"instruction": _said(text, language)}


def _memory(edit: Any, language: Language) -> dict[str, Any]:
    return {name: repaired(one, language) for name, one in shapes.rounds(edit).items()}


def _dialogue(edit: Any, language: Language) -> dict[str, Any]:
    """Rounds after the first one name their thing by a pronoun, which stays."""
    fixed = _nouns(edit)
    for name, turn in shapes.rounds(edit).items():
        named = name == "round1"
        text = _sentence(turn.instruction, fixed["object"], language) if named else _said(turn.instruction, language)
        command = {} if not hasattr(turn, "command") else {"command": _sentence(turn.command, fixed["object_en"], "en")}
        fixed[name] = turn.model_copy(update={"instruction": text, **command})
    return fixed


_REPAIRS: tuple[
    tuple[type[shapes.Reply] | tuple[type[shapes.Reply], ...], Callable[[Any, Language], dict[str, Any]]], ...
] = (
    ((shapes.Opening, shapes.Swapped), _dialogue),
    (shapes.ContentMemory, _memory),
    (shapes.HybridEdit, _hybrid),
    (shapes.RiddleEdit, _riddle),
    (shapes.TextEdit, _text),
    ((shapes.ObjectEdit, shapes.Part, shapes.MemoryRound), _object),
    (shapes.AddEdit, _added),
    ((shapes.FreeEdit, shapes.MotionEdit), _whole),
)
"""By shape; the first that fits counts."""


def _double(text: str) -> str:
    """Words in single quotes in double ones, where there are none yet."""
    return (
        text
        if re.search('["\u201c\u300c]', text)
        else re.sub(r"(?<!\w)['\u2018]([^'\u2018\u2019]+)['\u2019](?!\w)", r'"\1"', text)
    )


def _noun(name: str) -> str:
    """A name without the article, brackets or quotes that it came in."""
    bare = re.sub(r"^(?:the|an?) (?=\w)", "", name.strip(_AROUND), flags=re.IGNORECASE)
    if bare.isupper() and len(bare) > 3:
        return bare.lower()
    # Who writes "The Vase" means no proper name.
    return bare[:1].lower() + bare[1:] if bare != name.strip(_AROUND) else bare or name


def _sentence(text: str, noun: str, language: Language) -> str:
    for name, spelt in _BRACKETED.items():
        text = spelt.sub(name, text)
    for name, bare in _BARE.items():
        text = text if name in text else bare.sub(name, text)
    if "[OBJECT]" not in text:
        text = _named(text, noun, language)
    text = _OWNED.sub(r"\1 the \2 of [OBJECT]", text)
    return _said(text, language)


def _said(text: str, language: Language) -> str:
    return _imperative(text) if language == "en" else text


def _named(text: str, noun: str, language: Language) -> str:
    """The placeholder in the place of the name, in either number, where that stands in the text once."""
    if language == "zh":
        return text.replace(noun, "[OBJECT]") if text.count(noun) == 1 else text
    single = noun.removesuffix("s") if not noun.endswith("ss") else noun
    pattern = re.compile(rf"{_ARTICLE}\b{re.escape(single)}(?:e?s)?\b", re.IGNORECASE)
    return pattern.sub("[OBJECT]", text) if len(pattern.findall(text)) == 1 else text


def _imperative(text: str) -> str:
    """`Removing [OBJECT]`, `[OBJECT] is removed`, `The photo is turned`: the same as a command."""
    passive = _PASSIVE.match(text.strip())
    base = passive and _FORMS.get(passive[2].casefold())
    if passive and base:
        thing = passive[1] if passive[1] == "[OBJECT]" else f"the {passive[1]}"
        return f"{base.capitalize()} {thing}{passive[3]}"
    first = re.match(r"\s*(\w+)", text)
    base = first and _FORMS.get(first[1].casefold())
    if not first or not base:
        return text
    rest = _FURTHER.sub(lambda one: f"{one[1]}{_FORMS.get(one[2].casefold(), one[2])}", text[first.end() :])
    return f"{base.capitalize()}{rest}"
