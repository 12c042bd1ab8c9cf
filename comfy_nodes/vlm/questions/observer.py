"""Asks a model about a photo before the edit: captions, the nouns in it, the tasks that suit it, a user's wish in plain words, and what it leaves to be seen.

Nodes call these; each gives a result or a failure as data. No torch, no ComfyUI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.instructions.checks import (
    Unfit,
    check_absent,
    check_clean,
    check_description,
    check_language,
    check_length,
    check_request,
    stems,
)
from ...core.instructions.routing import name_of
from ...core.instructions.scenes import Scene
from ...core.instructions.shapes import Caption, Decision, Result, Rewriting, Routing, Tags
from ...core.instructions.wording import Language
from ...core.taxonomy import Kind
from ..asking import Answer, Failure, Vlm
from .asking_again import ask_checked, line
from .prompt_files import prompt
from .writer import LANGUAGE_NAMES, TOKENS_BASE, facts, marked

MAX_TAGS = 30
"""Most nouns of each kind that are asked for. Ours."""

TOKENS_PER_DECISION = 64
"""Most tokens of a router's word on one kind of edit, beside those of any reply: a name and a short sentence. Ours."""

UNDECIDED = "the model did not decide"


@dataclass(frozen=True)
class Captions:
    dense: str
    short: str


@dataclass(frozen=True)
class Nouns:
    """A photo's nouns; those that its caption does not hold are set aside."""

    objects: list[str]
    backgrounds: list[str]
    dropped: list[str]


@dataclass(frozen=True)
class RoutedTasks:
    """Which kinds of edit suit a photo and its region."""

    accepted: dict[str, str]
    """Reasons by kind, as `routing.name_of` calls it."""
    rejected: dict[str, str]
    model: str = ""
    prompt_id: str = ""
    prompt_version: str = ""
    reply: str = ""


@dataclass(frozen=True)
class Command:
    """A user's wish as a plain command."""

    text: str
    model: str
    prompt_id: str
    prompt_version: str
    reply: str


async def caption(vlm: Vlm, photo: np.ndarray, language: Language, seed: int) -> Captions | Failure:
    """A dense and a short caption of a photo, uint8 [H, W, 3]. One in another language is asked for once more."""
    question = prompt("caption-image").question(
        {"language": LANGUAGE_NAMES[language]}, reply=Caption, images=(photo,), max_tokens=1024, seed=seed
    )

    def read(answer: Answer) -> Captions:
        assert isinstance(answer.value, Caption)
        for text in (answer.value.dense, answer.value.short):
            check_language(text, language)
        return Captions(line(answer.value.dense), line(answer.value.short))

    return await ask_checked(vlm, question, read)


async def nouns(vlm: Vlm, photo: np.ndarray, described: str, seed: int) -> Nouns | Failure:
    """The nouns of a photo that its caption holds. Whatever else the model names is set aside: in the reference's
    protocol a tag is a part of the caption, and what it does not mention is guessed more often than seen."""
    question = prompt("tag-image").question(
        {"caption": line(described), "most": MAX_TAGS}, reply=Tags, images=(photo,), seed=seed
    )

    def read(answer: Answer) -> Nouns:
        assert isinstance(answer.value, Tags)
        return checked_nouns(answer.value.objects, answer.value.backgrounds, described)

    return await ask_checked(vlm, question, read)


def checked_nouns(objects: Sequence[str], backgrounds: Sequence[str], described: str) -> Nouns:
    """Each noun once, those of the caption apart from those that it does not hold. An object is no background.

    Raises:
        Unfit: the caption holds none of them.
    """
    seen: dict[str, str] = {}
    kept: dict[str, list[str]] = {"objects": [], "backgrounds": []}
    dropped: list[str] = []
    for kind, names in (("objects", objects), ("backgrounds", backgrounds)):
        for name in names:
            name = line(name).strip(" .\"'")
            if not name or name.casefold() in seen:
                continue
            seen[name.casefold()] = name
            usable = "," not in name and _holds(described, name)
            (kept[kind] if usable else dropped).append(name)
    if not kept["objects"] and not kept["backgrounds"]:
        raise Unfit(f"the caption holds none of these nouns: {', '.join(dropped) or 'there are none'}")
    return Nouns(kept["objects"], kept["backgrounds"], dropped)


async def route(
    vlm: Vlm, photo: np.ndarray, scene: Scene, kinds: Sequence[Kind], described: str, seed: int
) -> RoutedTasks | Failure:
    """Which kinds of edit suit the photo and its region. One that the model passes over is rejected."""
    listed = "\n".join(f"- {name_of(kind)}: {_purpose(kind)}" for kind in kinds)
    question = prompt("route-task").question(
        facts(scene, described) | {"tasks": listed},
        reply=Routing,
        images=(marked(photo, scene),),
        max_tokens=TOKENS_BASE + TOKENS_PER_DECISION * len(kinds),
        seed=seed,
    )

    def read(answer: Answer) -> RoutedTasks:
        assert isinstance(answer.value, Routing)
        decisions: dict[str, Decision] = {}
        for one in answer.value.decisions:
            task = _key(one.task)
            known = decisions.get(task)
            if known and known.suitable != one.suitable:
                raise Unfit(f"task {task} is both suitable and unsuitable")
            decisions[task] = one
        accepted: dict[str, str] = {}
        rejected: dict[str, str] = {}
        for kind in kinds:
            # Models leave the scheme before the name out.
            decision = decisions.get(_key(kind.id)) or decisions.get(_key(kind.name))
            if decision is None:
                rejected[name_of(kind)] = UNDECIDED
            else:
                (accepted if decision.suitable else rejected)[name_of(kind)] = line(decision.reason)
        if set(rejected.values()) == {UNDECIDED} and not accepted:
            raise Unfit(f"none of the tasks {', '.join(map(name_of, kinds))} is decided")
        return RoutedTasks(accepted, rejected, answer.model, question.prompt_id, answer.prompt_version, answer.text)

    return await ask_checked(vlm, question, read)


def _key(name: str) -> str:
    """A kind's name without what models change in it."""
    return name.strip(" .:`\"'*").casefold().replace(" ", "_")


def _purpose(kind: Kind) -> str:
    """What a kind of edit is, in words: the purpose of its prompt."""
    return prompt(kind.prompt).purpose


async def plain_command(
    vlm: Vlm, photo: np.ndarray, scene: Scene, wish: str, described: str, seed: int
) -> Command | Failure:
    """A user's wish as one plain English command for an editor."""
    question = prompt("rewrite-instruction").question(
        facts(scene, described) | {"instruction": line(wish)},
        reply=Rewriting,
        images=(marked(photo, scene),),
        seed=seed,
    )

    def read(answer: Answer) -> Command:
        assert isinstance(answer.value, Rewriting)
        text = _plain_english(answer.value.command)
        check_request(text)
        return Command(text, answer.model, question.prompt_id, answer.prompt_version, answer.text)

    return await ask_checked(vlm, question, read)


async def result(vlm: Vlm, photo: np.ndarray, scene: Scene, wish: str, gone: str, seed: int) -> str | Failure:
    """What a wish leaves to be seen in the scene's region, as a description for a model that fills it.

    Args:
        gone: name of what is no longer there, which the description must not hold; empty where the thing stays.
    """
    question = prompt("describe-result").question(
        facts(scene, "") | {"instruction": line(wish)}, reply=Result, images=(marked(photo, scene),), seed=seed
    )

    def read(answer: Answer) -> str:
        assert isinstance(answer.value, Result)
        text = _plain_english(answer.value.target)
        check_description(text)
        if gone:
            check_absent(text, gone, "the description")
        return text

    return await ask_checked(vlm, question, read)


def _plain_english(text: str) -> str:
    """A model's words in one line.

    Raises:
        Unfit: markup, another language, or a length out of bounds.
    """
    text = line(text)
    check_clean(text)
    check_language(text, "en")
    check_length(text, "en")
    return text


def _holds(described: str, noun: str) -> bool:
    """Whether a caption holds a noun, be it in another number."""
    if noun.casefold() in described.casefold():
        return True
    return bool(stems(noun)) and stems(noun) <= stems(described)
