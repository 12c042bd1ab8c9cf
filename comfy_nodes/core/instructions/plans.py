"""Plans of several turns by template: operations and results drawn by a seed, said in plain sentences.

`turns` calls it. All that is drawn, classical edits can make; that a thing can take a colour is seen in its pixels alone.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ..regions.annotation import Region
from . import classical
from .changes import repainted
from .checks import Unfit, WrongLanguage, stems
from .classical import COLOURS, DONORS, Nameless
from .composing import sentence
from .english import article
from .instructions import Step, Writing
from .scenes import Scene, further_regions
from .turn_checks import LEAST_TURNS, MOST_TURNS
from .wording import NAMELESS, Language

VERSION = "1"
"""Version of the sentences; it goes into every record. Changed sentences get a new one."""

_EASY = ("red", "green", "turquoise", "blue", "purple")
"""Colours that dark and light things alike can be given; the others are drawn where none of these is left. Ours."""

_PREMISES: dict[Language, tuple[str, ...]] = {
    "en": (
        "From now on, everything that is changed becomes {colour}.",
        "I would like everything that you change to be {colour}.",
    ),
    "zh": ("从现在起，所有改动的东西都要变成{colour}。", "接下来改动的东西都应该是{colour}的。"),  # noqa: RUF001
}
_FIRST: dict[Language, tuple[str, ...]] = {
    "en": ("Change the colour of {the}.", "Recolour {the}."),
    "zh": ("改变{the}的颜色。", "给{the}换一种颜色。"),
}
_FURTHER: dict[Language, tuple[str, ...]] = {
    "en": ("Change the colour of {the}, too.", "Now recolour {the}."),
    "zh": ("也改变{the}的颜色。", "再给{the}换一种颜色。"),
}
"""Rounds of a content memory: what they become, the premise says."""

_NAMED: dict[str, dict[Language, tuple[str, ...]]] = {
    "replace": {"en": ("Replace {the} with {thing}.", "Swap {the} for {thing}."), "zh": ("把{the}换成{thing}。",)},
}
"""First turns of a version backtracking that adds nothing."""

_BY_PRONOUN: dict[str, dict[Language, tuple[str, ...]]] = {
    "alter": {
        "en": ("Change its colour to {colour}.", "Now make it {colour}."),
        "zh": ("把它的颜色改成{colour}。", "现在让它变成{colour}。"),
    },
    "replace": {
        "en": ("Replace it with {thing}.", "Now swap it for {thing}."),
        "zh": ("把它换成{thing}。", "现在用{thing}替换它。"),
    },
    "remove": {"en": ("Now remove it.", "Remove it again."), "zh": ("现在把它移除。", "再把它去掉。")},
}
_BACK: dict[str, dict[Language, tuple[str, ...]]] = {
    "alter": {
        "en": (
            "Go back to how it was {when} and change its colour to {colour}.",
            "Return to how it looked {when}, and make it {colour}.",
        ),
        "zh": ("回到它{when}的样子，把它的颜色改成{colour}。", "恢复它{when}的样子，让它变成{colour}。"),  # noqa: RUF001
    },
    "replace": {
        "en": (
            "Go back to how it was {when} and replace it with {thing}.",
            "Return to how it looked {when}, and swap it for {thing}.",
        ),
        "zh": ("回到它{when}的样子，把它换成{thing}。", "恢复它{when}的样子，用{thing}替换它。"),  # noqa: RUF001
    },
}
_ORDINALS: dict[Language, tuple[str, ...]] = {
    "en": (
        "at the start",
        "after the first instruction",
        "after the second instruction",
        "after the third instruction",
    ),
    "zh": ("最开始", "在第一步之后", "在第二步之后", "在第三步之后"),
}
"""How a state is called that a turn goes back to, by its number."""


def drawn(
    task: str,
    regions: Sequence[Region],
    others: Sequence[Region],
    size: tuple[int, int],
    seed: int,
    turns: int,
    language: Language,
) -> Writing:
    """A plan; the arguments are those of `turns.plan_by_template`.

    Raises:
        Unfit: the regions don't allow it, or words don't tell them apart.
    """
    if not regions:
        raise Unfit(f"task {task} edits a region, and the sample has none")
    if not LEAST_TURNS <= turns <= MOST_TURNS:
        raise Unfit(f"a dialogue has {LEAST_TURNS} to {MOST_TURNS} turns, not {turns}")
    pick = random.Random(f"editpairs/plan/{task}/{seed}")
    if task == "content_memory":
        return _memory(regions, others, size, seed, turns, language, pick)
    rest = [*regions[1:], *others]
    plan = _Plan(Scene(*size, (regions[0],), rest), language, pick)
    (_understanding if task == "content_understanding" else _backtracking)(plan, turns)
    return _written(plan.steps, regions[:1], language)


def _memory(
    regions: Sequence[Region],
    others: Sequence[Region],
    size: tuple[int, int],
    seed: int,
    turns: int,
    language: Language,
    pick: random.Random,
) -> Writing:
    things = [one for one in others if one.kind == "object"]
    chosen = [*regions, *further_regions(regions, things, *size, seed, turns - len(regions))][:turns]
    if len(chosen) < turns:
        raise Unfit(
            f"a content memory of {turns} turns takes {turns} named things that lie apart, and {len(chosen)} are known here"
        )
    scene = Scene(*size, tuple(chosen), [one for one in (*regions, *others) if one not in chosen])
    colour = pick.choice(_colours([_name(one) for one in scene.regions], ()))
    shown = COLOURS[colour] if language == "zh" else colour
    premise = pick.choice(_PREMISES[language]).format(colour=shown)
    steps = []
    for number, region in enumerate(scene.regions):
        form = pick.choice((_FURTHER if number else _FIRST)[language])
        words = sentence(form.format(the=scene.the(number, _name(region), language)), language)
        command = _command("alter", scene, number, colour)
        target = _coloured(colour, repainted(_name(region)))
        steps.append(Step("alter", _name(region), number, command, target, words, number))
    return _written(steps, scene.regions, language, premise)


@dataclass
class _Plan:
    """A plan about one thing, as far as it was drawn."""

    scene: Scene
    """With the thing as its only region."""
    language: Language
    pick: random.Random
    steps: list[Step] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """What the thing is called in each state; empty where it is not there."""
    put: list[bool] = field(default_factory=lambda: [False])
    """Whether a state's thing was put in: its outline is only known as the place where pixels changed."""
    results: set[str] = field(default_factory=set)
    """Colours and things that were used: none comes again."""

    def __post_init__(self) -> None:
        self.names.append(_name(self.scene.regions[0]))

    @property
    def name(self) -> str:
        return self.names[0]

    def add(self) -> None:
        words = classical.sentence([classical.clause("add", self.language, self.scene)], self.language)
        self.steps.append(Step("add", self.name, 0, self._command("remove", self.name), "", words))
        self._state(self.name, False)

    def take(self, op: str, base: int | None = None) -> None:
        """The next turn; one that follows the last needs no `base`. The first names its thing, all others don't."""
        number = len(self.steps)
        base = number if base is None else base
        thing = self.names[base]
        result = self._result(op, thing)
        words = self._words(op, result, base < number, base)
        after = repainted(thing) if op == "alter" else result
        target = _coloured(result, after) if op == "alter" else result
        self.steps.append(Step(op, thing, 0, self._command(op, thing, result), target, words, base))
        self._state(after, op == "replace" or (op == "alter" and self.put[base]))

    def _state(self, thing: str, put: bool) -> None:
        self.names.append(thing)
        self.put.append(put)

    def can_replace(self) -> int:
        """How often yet, each time by another thing."""
        return len(self._donors())

    def _result(self, op: str, thing: str) -> str:
        """A colour or a thing that was not used yet."""
        if op == "remove":
            return ""
        free = _colours([thing], self.results) if op == "alter" else self._donors()
        if not free:
            raise Unfit(f"no bundled thing that was not used yet fits in the place of the {self.name}")
        result = self.pick.choice(free)
        self.results.add(result)
        return result

    def _donors(self) -> list[str]:
        own = self.scene.regions[0].bbox
        return [
            name
            for name in classical.donors_for(self.name, own, self.scene.width, self.scene.height)
            if name not in self.results
        ]

    def _words(self, op: str, result: str, back: bool, base: int) -> str:
        """The first turn's sentence names the thing, the others have a pronoun for it."""
        values = {"when": _ORDINALS[self.language][base]} if back else {}
        if op == "alter":
            values["colour"] = COLOURS[result] if self.language == "zh" else result
        if op == "replace":
            values["thing"] = DONORS[result].chinese if self.language == "zh" else f"{article(result)} {result}".strip()
        if not self.steps:
            values["the"] = self.scene.the(0, self.name, self.language)
        form = self.pick.choice((_BACK if back else _BY_PRONOUN if self.steps else _NAMED)[op][self.language])
        return sentence(form.format(**values), self.language)

    def _command(self, op: str, thing: str, result: str = "") -> str:
        """In English, of the thing as it is called in its state."""
        region = self.scene.regions[0].model_copy(update={"class_name": thing})
        scene = Scene(self.scene.width, self.scene.height, (region,), self.scene.others)
        return _command(op, scene, 0, result)


def _understanding(plan: _Plan, turns: int) -> None:
    """Adds, then changes by pronoun, each from the state before; only the last turn may take the thing away. What was put
    in is not recoloured: its outline is not known."""
    plan.add()
    possible = plan.can_replace()
    if turns == LEAST_TURNS:
        plan.take(plan.pick.choice(("alter", "replace") if possible else ("alter",)))
        return
    behind = plan.pick.randint(1, min(turns - 2, possible + 1))
    last = plan.pick.choice(("remove", "replace") if possible >= behind else ("remove",))
    for op in (*["alter"] * (turns - 1 - behind), *["replace"] * (behind - 1), last):
        plan.take(op)


def _backtracking(plan: _Plan, turns: int) -> None:
    """Adds, replaces, goes back behind that and alters; deeper ones go back again. Of two turns the first replaces."""
    if not plan.can_replace():
        raise Unfit(f"no bundled thing fits in the place of the {plan.name}, and this plan begins with a replacement")
    if turns > LEAST_TURNS:
        plan.add()
    plan.take("replace")
    plan.take("alter", len(plan.steps) - 1)
    while len(plan.steps) < turns:
        earlier = [state for state in range(1, len(plan.steps)) if not plan.put[state]]
        ops = ["alter", "replace"] if plan.can_replace() else ["alter"]
        plan.take(plan.pick.choice(ops), plan.pick.choice(earlier))


def _written(steps: Sequence[Step], regions: Sequence[Region], language: Language, premise: str = "") -> Writing:
    lines = [premise, *(step.instruction for step in steps)]
    return Writing(
        "\n".join(line for line in lines if line),
        language,
        steps[0].target,
        " ".join(filter(None, (step.editor_prompt for step in steps))),
        tuple(steps),
        premise,
        tuple(regions),
        model="template",
        prompt_id="turns",
        prompt_version=VERSION,
    )


def _colours(names: Sequence[str], used: Collection[str]) -> list[str]:
    """What may be drawn for things of these names: no colour that a name holds, or that was used."""
    free = [one for one in COLOURS if one not in used and not stems(one) & stems(" ".join(names))]
    return [one for one in free if one in _EASY] or free


def _command(op: str, scene: Scene, number: int, result: str) -> str:
    """What an editor is told: English, and nothing where a thing's name is in another language."""
    try:
        return classical.sentence([classical.clause(op, "en", scene, number, result)], "en")
    except WrongLanguage:
        return ""


def _name(region: Region) -> str:
    if not region.class_name:
        raise Nameless(NAMELESS)
    return region.class_name


def _coloured(colour: str, noun: str) -> str:
    """What a recoloured thing is, in words that a classical edit finds the colour in.

    Raises:
        Unfit: of such a name it would not.
    """
    words = f"{article(colour)} {colour} {noun}"
    if classical.colour_in(words) != colour:
        raise Unfit(f"{noun!r} is no plain name of one thing, whose colour could be told: name the region more shortly")
    return words
