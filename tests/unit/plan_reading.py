"""A reader of plans of several turns that starts from their sentences: what each turn asks for, of which thing, in which state.

It was written from what the sentences mean and shares no rule with what makes or checks them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from comfy_nodes.core.instructions.instructions import Writing
from comfy_nodes.core.regions.annotation import Region

COLOURS = {
    "青绿": "turquoise", "红": "red", "橙": "orange", "黄": "yellow", "绿": "green", "蓝": "blue", "紫": "purple", "粉": "pink",
}  # fmt: skip
THINGS = {
    "咖啡": "cup of coffee on a saucer", "大丽花": "dahlia", "任务徽章": "round mission patch", "火箭": "rocket",
}  # fmt: skip
PLACES = {
    "upper-left": (0, 0), "at the top": (1, 0), "upper-right": (2, 0), "on the left": (0, 1), "in the center": (1, 1),
    "on the right": (2, 1), "lower-left": (0, 2), "at the bottom": (1, 2), "lower-right": (2, 2),
    "左上方": (0, 0), "顶部": (1, 0), "右上方": (2, 0), "左侧": (0, 1), "中央": (1, 1), "右侧": (2, 1), "左下方": (0, 2),
    "底部": (1, 2), "右下方": (2, 2),
}  # fmt: skip
VERSIONS = {
    "at the start": 0, "最开始": 0, "first instruction": 1, "第一步": 1, "second instruction": 2, "第二步": 2,
    "third instruction": 3, "第三步": 3,
}  # fmt: skip


@dataclass(frozen=True)
class Thing:
    """One of the photo's things, as it is in some state."""

    place: int
    """Which of the photo's regions."""
    name: str
    colour: str = ""


Picture = frozenset[Thing]


class Muddled(Exception):
    """What a listener could not follow."""


def read(writing: Writing, regions: Sequence[Region], size: tuple[int, int]) -> list[Picture]:
    """The picture before and after each turn, as a listener sees it.

    Args:
        regions: all of the photo's.

    Raises:
        Muddled: a sentence cannot be followed, or says another thing than its step.
    """
    lines = writing.instruction.split("\n")
    wish = ""
    if writing.premise:
        if lines[0] != writing.premise:
            raise Muddled("the premise does not come first")
        (wish,) = _colours(lines.pop(0)) or [""]
    if lines != [step.instruction for step in writing.steps]:
        raise Muddled("the lines are not the turns")
    photo = frozenset(Thing(number, one.class_name or "") for number, one in enumerate(regions))
    pictures, spoken_of, used = [photo], set[int](), set[str]()
    for number, (line, step) in enumerate(zip(lines, writing.steps, strict=True), 1):
        base = next((state for words, state in VERSIONS.items() if words in line), number - 1)
        if base != step.base:
            raise Muddled(f"turn {number} speaks of state {base} and begins with {step.base}")
        op = _operation(line)
        if op != step.op:
            raise Muddled(f"turn {number} asks to {op} and is to {step.op}")
        if op == "add":
            if number > 1:
                raise Muddled("something is added later")
            thing = _pointed(line, photo, regions, size)
            pictures = [photo - {thing}, photo]
        else:
            place = _meant(line, pictures[base], regions, size, spoken_of)
            there = [one for one in pictures[base] if one.place == place]
            if not there:
                raise Muddled(f"turn {number} is about what is not there")
            (thing,) = there
            result = _result(op, line, wish, step.target)
            if result and result in used and not wish:
                raise Muddled(f"turn {number} gives {result} again")
            used.add(result)
            pictures.append(_after(pictures[base], thing, op, result))
        if step.region is None or writing.regions[step.region] != regions[thing.place]:
            raise Muddled(f"turn {number} is about another region than its words")
        spoken_of.add(thing.place)
    return pictures


def _operation(line: str) -> str:
    if re.match(r"Add |在图像", line):
        return "add"
    if re.search(r"\b[Rr]emove\b|移除|去掉", line):
        return "remove"
    if re.search(r"\b[Rr]eplace\b|\b[Ss]wap\b|换成|替换", line):
        return "replace"
    if re.search(r"[Cc]olour|[Rr]ecolour|make it|颜色|变成", line):
        return "alter"
    raise Muddled(f"what is asked for? {line}")


def _meant(line: str, picture: Picture, regions: Sequence[Region], size: tuple[int, int], spoken_of: set[int]) -> int:
    """The thing that is pointed at, or else the only one that was spoken of."""
    if re.search(r"\bof the image\b|图像", line):
        return _pointed(line, picture, regions, size).place
    if not re.search(r"\bits?\b|它", line):
        raise Muddled(f"nothing is meant: {line}")
    if len(spoken_of) != 1:
        raise Muddled(f"'it' is one of {len(spoken_of)} things: {line}")
    return next(iter(spoken_of))


def _pointed(line: str, picture: Picture, regions: Sequence[Region], size: tuple[int, int]) -> Thing:
    """The one thing of a picture that bears the name and lies in the place that a sentence says."""
    (cell,) = {cell for words, cell in PLACES.items() if words in line}
    found = [
        one
        for one in picture
        if re.search(rf"(?<![a-z]){re.escape(one.name)}(?![a-z])", line) and _cell(regions[one.place], size) == cell
    ]
    longest = max((len(one.name) for one in found), default=0)
    found = [one for one in found if len(one.name) == longest]
    if len(found) != 1:
        raise Muddled(f"{len(found)} things may be meant: {line}")
    return found[0]


def _cell(region: Region, size: tuple[int, int]) -> tuple[int, int]:
    x1, y1, x2, y2 = region.bbox
    return int((x1 + x2) * 1.5 // size[0]), int((y1 + y2) * 1.5 // size[1])


def _result(op: str, line: str, wish: str, target: str) -> str:
    """The new colour or thing, as the sentence or the premise says it; the step's target has to agree."""
    if op == "remove":
        return ""
    if op == "alter":
        said = _colours(re.sub(r"(?:colour )?of the .* of the image|图像.*的颜色", "", line)) if not wish else [wish]
        if wish and wish in _colours(line):
            raise Muddled(f"the premise is said again: {line}")
    else:
        said = [name for name in THINGS.values() if name in line.partition("with ")[2] + line.partition(" for ")[2]]
        said = said or [name for words, name in THINGS.items() if words in line]
    if len(said) != 1 or said[0] not in target:
        raise Muddled(f"the result is {said} in words and {target!r} in the step: {line}")
    return said[0]


def _colours(text: str) -> list[str]:
    found = [name for name in COLOURS.values() if re.search(rf"\b{name}\b", text)]
    for words, name in COLOURS.items():
        if words in text:
            found.append(name)
            text = text.replace(words, "")
    return found


def _after(picture: Picture, thing: Thing, op: str, result: str) -> Picture:
    rest = picture - {thing}
    if op == "remove":
        return rest
    if op == "replace":
        return rest | {Thing(thing.place, result)}
    if thing.colour == result:
        raise Muddled(f"the {thing.name} is {result} already")
    return rest | {Thing(thing.place, thing.name, result)}
