"""An OpenAI-compatible chat endpoint on loopback that answers every question of ours by looking at its pictures.

It sees colours: a photo is told by the colours of its parts, a marked thing gets a colour that it does not have, and two
pictures are compared pixel by pixel. Each question is known by the shape of the answer that it asks for, which its prompt
spells out; one that is unknown is refused. No words are fixed that depend on what is in a picture.
"""
# ruff: noqa: RUF001

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from tests.vlm.endpoint import Deed, Endpoint, Got, Say, Status

COLOURS: dict[str, tuple[str, tuple[int, int, int]]] = {
    "black": ("黑色", (15, 15, 15)),
    "white": ("白色", (240, 240, 240)),
    "grey": ("灰色", (128, 128, 128)),
    "red": ("红色", (200, 30, 30)),
    "orange": ("橙色", (230, 140, 40)),
    "yellow": ("黄色", (230, 220, 60)),
    "green": ("绿色", (50, 140, 60)),
    "blue": ("蓝色", (40, 80, 200)),
    "purple": ("紫色", (130, 50, 160)),
    "brown": ("棕色", (110, 70, 40)),
    "pink": ("粉色", (240, 160, 180)),
}
"""Chinese name and RGB by English name."""

DIFFERENT = 24
"""From this difference of a channel on, 0 to 255, a pixel is another one; JPEG changes fewer."""
LEAST_CHANGED = 0.002
"""Share of a picture's pixels from which on something was changed."""

_BOX_COLOUR = re.compile(r"Marked: (?P<names>[^\n]*)")


def colour_of(pixels: np.ndarray) -> str:
    """The named colour nearest to the middle of some pixels.

    Args:
        pixels: uint8 [..., 3].
    """
    middle = np.median(pixels.reshape(-1, 3), axis=0)
    return min(COLOURS, key=lambda name: float(np.abs(middle - COLOURS[name][1]).sum()))


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Which pixels differ: bool [H, W] of the first picture."""
    if before.shape != after.shape:
        after = np.asarray(Image.fromarray(after).resize(before.shape[1::-1]))
    return np.asarray((np.abs(before.astype(int) - after) >= DIFFERENT).any(axis=2))


class Seeing(Endpoint):
    """The service. Use it as a context; `answered` counts its replies by what they answer."""

    def __init__(self, seconds: float = 0.0, faults: dict[str, list[Deed]] | None = None) -> None:
        """
        Args:
            seconds: how long each reply takes.
            faults: as `Endpoint`'s deeds, done before a question is looked at.
        """
        super().__init__(faults)
        self._seconds = seconds
        self.answered: dict[str, int] = {}

    def _next(self, got: Got) -> Deed:
        text = _words(got)
        if any(got.word == word or re.search(word, text, re.S) for word in self._deeds):
            return super()._next(got)
        for name, (form, answer) in ANSWERS.items():
            if re.search(form, text):
                self.answered[name] = self.answered.get(name, 0) + 1
                said = answer(text, [_picture(url) for url in got.picture_urls])
                return Say(json.dumps(said, ensure_ascii=False), after_s=self._seconds)
        return Status(400, "no such question")


def _words(got: Got) -> str:
    contents = [one["content"] for one in got.body["messages"] if one["role"] == "user"]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    return "\n".join(
        [part["text"] for part in parts if part["type"] == "text"] + [c for c in contents if isinstance(c, str)]
    )


def _picture(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGB"))


# A photo alone.


def _caption(text: str, pictures: list[np.ndarray]) -> dict[str, Any]:
    (photo,) = pictures
    height, width = photo.shape[:2]
    middle, left = photo[height // 3 : -height // 3, width // 3 : -width // 3], photo[:, : width // 3]
    inner, outer, top = colour_of(middle), colour_of(left), colour_of(photo[: height // 4])
    if "in Chinese" in text:
        words = [COLOURS[one][0] for one in (inner, outer, top)]
        return {
            "dense": f"{words[0]}的物体在中间。左边是{words[1]}的墙，上面是{words[2]}的天空。",
            "short": f"{words[0]}的物体。",
        }
    dense = f"A {inner} object stands in the middle. On the left is a {outer} wall, above it a {top} sky."
    return {"dense": dense, "short": f"A {inner} object before a {outer} wall."}


def _tags(text: str, _pictures: list[np.ndarray]) -> dict[str, Any]:
    said = re.findall(r"\b(object|cup|dog|person|car|sign)\b", text.partition("List what")[0])
    grounds = re.findall(r"\b(wall|sky|grass|road|ground)\b", text.partition("List what")[0])
    return {"objects": sorted(set(said)) or ["object"], "backgrounds": sorted(set(grounds)) or ["wall"]}


def _route(text: str, pictures: list[np.ndarray]) -> dict[str, Any]:
    """A photo of one colour suits nothing; others suit all."""
    photo = pictures[0].astype(int)
    plain = (np.abs(photo - np.median(photo, axis=(0, 1))).max(axis=2) < DIFFERENT).mean()
    suits, why = bool(plain < 0.9), f"{plain:.0%} of the picture is {colour_of(pictures[0])}"
    tasks = re.findall(r"^- ([^\n:]+): ", text.partition("Reject a task")[0], re.M)
    return {"decisions": [{"task": task, "suitable": suits, "reason": why} for task in tasks]}


# Writing.


def _many(text: str, pictures: list[np.ndarray]) -> dict[str, Any]:
    """An edit of each kind that is offered, seven at most, about the first thing that is listed."""
    kinds = re.findall(r"^- ([^\n:]+): ", text.partition("Choose\n")[0], re.M)[:7]
    things = re.findall(r"\b\d+ the ([^;\n]+)", text.partition("Things in it:")[2].partition("\n")[0])
    things = [re.sub(r" (?:in|on|at) the .*", "", one) for one in things]
    own = colour_of(pictures[0])
    new = [name for name in COLOURS if name != own]
    return {"edits": [_of_kind(kind, new[number], things) for number, kind in enumerate(kinds)]}


def _of_kind(kind: str, colour: str, things: list[str]) -> dict[str, Any]:
    han = COLOURS[colour][0]
    thing = things[0] if things else "main thing"
    said = {
        "Subject Addition": (f"Add a {colour} ball.", f"添加一个{han}的球。"),
        "Subject Removal": (f"Remove the {thing}.", "移除主体。"),
        "Subject Replacement": (f"Replace the {thing} with a {colour} box.", f"把主体换成{han}的盒子。"),
        "Spatial Reasoning Edits": (
            f"Replace what lies nearest with a {colour} box.",
            f"把最近的东西换成{han}的盒子。",
        ),
        "Object Extraction": (f"Extract the {thing} onto a {colour} background.", f"提取主体，放在{han}背景上。"),
        "Counting Change": ("Show 3 of them.", "变成3个。"),
        "Text Modification": ('Change "OPEN" to "SHUT".', '把"OPEN"改成"SHUT"。'),
        "Implicit Change Edits": ("Show it as it is after a long night of frost.", "展示寒冷的一夜之后的样子。"),
    }.get(kind, (f"Make the {thing} {colour}.", f"把主体变成{han}。"))
    command = f"Replace the {thing} with a {colour} box." if kind == "Spatial Reasoning Edits" else said[0]
    if kind == "Implicit Change Edits":
        command = f"Cover the {thing} with white ice."
    about = [1] if things and kind not in _UNBOUND else []
    target = f"a {colour} one" if kind != "Implicit Change Edits" else "white ice"
    return {
        "kind": kind,
        "instruction": said[0],
        "chinese": said[1],
        "command": command,
        "target": target,
        "things": about,
    }


_UNBOUND = ("Subject Addition", "Counting Change", "Text Modification", "Compound Operation Edits")
"""Kinds that are written here about no listed thing."""


def _freely(_text: str, pictures: list[np.ndarray]) -> dict[str, Any]:
    """An edit that no region is marked for."""
    own = colour_of(pictures[0])
    new = next(name for name in COLOURS if name != own)
    chinese = "in Chinese (" in _text
    said = (
        f"让画面从另一侧看过去，变成{COLOURS[new][0]}。"
        if chinese
        else f"Show 3 of them from the other side, in {new}."
    )
    return {
        "edits": [
            {
                "instruction": said,
                "command": f"Show three {new} ones from the other side.",
                "target": f"three {new} ones",
            }
        ]
    }


def _asked_by_a_user(text: str, pictures: list[np.ndarray]) -> dict[str, Any]:
    """Yes where the question names a colour that the picture is mostly of."""
    question = re.search(r"<question>\n(.*?)\n</question>", text, re.S)
    own = colour_of(pictures[-1])
    return {"seen": f"the picture is mostly {own}", "answer": "yes" if question and own in question[1] else "no"}


def _edits(text: str, pictures: list[np.ndarray]) -> dict[str, Any]:
    """As many edits as asked for, each with a colour that the middle of the picture does not have."""
    found = re.search(r"Write (\d+) edits", text)
    own = colour_of(pictures[0][pictures[0].shape[0] // 4 :])
    new = [name for name in COLOURS if name != own]
    return {"edits": [_edit(text, new[number * 3 % len(new)]) for number in range(int(found[1]) if found else 1)]}


def _edit(text: str, colour: str) -> dict[str, Any]:
    chinese = "in Chinese (" in text
    names = [name.lstrip("123 ") for name in _marked(text)]
    name = names[0] if names else "thing"
    han = COLOURS[colour][0]
    named = {"object": "物体" if chinese else name, "object_en": name}
    ground = "the ground behind it"
    if '"round1"' in text:
        return _rounds(text, names, colour, chinese)
    if '"first"' in text:
        ops = dict(re.findall(r"\b([12]) (add|remove|replace|alter)\b", text.partition("Write ")[0]))
        parts = [_step(ops[number], colour, chinese) for number in "12"]
        joined = ("，" if chinese else " and ").join(
            part["instruction"].replace("[OBJECT]", f"[OBJECT{number}]") for number, part in enumerate(parts, 1)
        )
        for part, own in zip(parts, names, strict=True):
            part |= {"object": "物体" if chinese else own, "object_en": own}
            del part["instruction"]
        return {"instruction": joined, "first": parts[0], "second": parts[1]}
    if '"reads"' in text:
        reads, other = "OPEN", colour.upper()
        said = (
            f'把[OBJECT]上的"{reads}"改成"{other}"。' if chinese else f'Change "{reads}" on the [OBJECT] to "{other}".'
        )
        command = f'Change "{reads}" on the [OBJECT] to "{other}".'
        return named | {"reads": reads, "instruction": said, "command": command, "target": f'the words "{other}"'}
    if '"article"' in text:
        said = "在[PLACE]添加[OBJECT]。" if chinese else "Add [OBJECT] [PLACE]."
        return named | {"article": "一个" if chinese else "a", "instruction": said, "target": ground}
    if '"subject"' in text:
        said = "让它转过身来。" if chinese else "Let it turn to the other side."
        command, target = "Let it turn to the other side.", "it is turned to the other side"
        return {"subject": "它" if chinese else "it", "instruction": said, "command": command, "target": target}
    if '"name"' in text:
        style = f"{han}水彩画" if chinese else f"{colour} watercolour"
        said = f"把整张照片变成{style}。" if chinese else f"Turn the whole photo into a {style}."
        command, target = f"Turn the whole photo into a {colour} watercolour.", f"a {colour} watercolour of the scene"
        return {"name": style, "instruction": said, "command": command, "target": target}
    op = _operation(text)
    if '"reasoning"' in text:
        step = _step("replace" if op == "replace" else "alter", colour, chinese)
        riddle = (
            "看看谁最突出，然后让它像成熟以后那样。"
            if chinese
            else "Find what stands out most; let it be as time would leave it."
        )
        return (
            named | step | {"instruction": riddle, "reasoning": f"what stands out is the {name}; it becomes {colour}"}
        )
    return named | _step(op, colour, chinese)


def _rounds(text: str, names: list[str], colour: str, chinese: bool) -> dict[str, Any]:
    """A conversation about what is marked."""
    ops = dict(re.findall(r"\b([123]) (add|remove|replace|alter)\b", text.partition("Write ")[0]))
    han = COLOURS[colour][0]
    if '"premise"' in text:
        premise = f"接下来的一切都要是{han}的。" if chinese else f"Everything that comes from now on is to be {colour}."
        rounds = {
            f"round{number}": _under_premise(ops[number], names[int(number) - 1], colour, chinese) for number in "12"
        }
        return {"premise": premise} | rounds
    second, third = (
        _step(ops["2"], colour, chinese),
        _step(ops["3"], "white" if colour != "white" else "black", chinese),
    )
    for step, number in ((second, "2"), (third, "3")):
        step["instruction"] = step["instruction"].replace("[OBJECT]", "它" if chinese else "it")
        if number == "3" and "goes back to the version" in text:
            step["instruction"] = (
                "回到之前的样子，把它变成白色。" if chinese else "Go back to the first version and make it white."
            )
            step |= {"command": "Make [OBJECT] white.", "target": "it is white"}
    first = {
        "instruction": "在[PLACE]添加[OBJECT]。" if chinese else "Add [OBJECT] [PLACE].",
        "target": "the ground behind it",
    }
    named = {"object": "物体" if chinese else names[0], "object_en": names[0], "article": "一个" if chinese else "a"}
    return named | {"round1": first, "round2": second, "round3": third}


def _under_premise(op: str, name: str, colour: str, chinese: bool) -> dict[str, Any]:
    step = _step(op, colour, chinese)
    said = (
        ("把[OBJECT]换成灯笼。", "Replace [OBJECT] with a lantern.")
        if op == "replace"
        else ("让[OBJECT]换个样子。", "Make [OBJECT] look new.")
    )
    named = {"object": "物体" if chinese else name, "object_en": name}
    return named | step | {"instruction": said[0] if chinese else said[1]}


def _operation(text: str) -> str:
    """What the prompt's task does to the marked thing."""
    rules = text.partition("\nTask\n")[2]
    verbs = {
        "visual": r"a second picture, the reference",
        "remove": r"^Remove the marked",
        "extract": r"^Show the marked object alone",
        "background": r"^The marked region is the photo's background",
        "replace": r"^Replace the marked",
    }
    return next((op for op, pattern in verbs.items() if re.search(pattern, rules)), "alter")


def _step(op: str, colour: str, chinese: bool) -> dict[str, Any]:
    """One operation on `[OBJECT]`: instruction, command, target."""
    han = COLOURS[colour][0]
    words = {
        "remove": ("Remove the [OBJECT].", "移除[OBJECT]。", "the ground behind it"),
        "add": ("Add [OBJECT].", "添加[OBJECT]。", "the ground behind it"),
        "extract": ("Extract the [OBJECT].", "提取[OBJECT]。", f"the thing, {colour}, on a plain white background"),
        "replace": (
            f"Replace the [OBJECT] with a {colour} lantern.",
            f"把[OBJECT]换成{han}的灯笼。",
            f"a {colour} lantern",
        ),
        "visual": (
            "Replace the [OBJECT] with the one in the reference image.",
            "把[OBJECT]换成参考图中的那个。",
            f"a {colour} lantern",
        ),
        "background": (
            f"Change the background to a {colour} curtain.",
            f"把背景换成{han}的幕布。",
            f"a {colour} curtain",
        ),
        "alter": (f"Make the [OBJECT] {colour}.", f"把[OBJECT]变成{han}。", f"it is {colour}"),
    }[op]
    english = words[0].replace("the [OBJECT]", "[OBJECT]")
    return {"instruction": words[1] if chinese else english, "command": english, "target": words[2]}


def _marked(text: str) -> list[str]:
    found = _BOX_COLOUR.search(text)
    names = found["names"] if found else ""
    return [] if names in ("", "none given") else [one.strip() for one in names.split(";")]


def _rewritten(text: str, _pictures: list[np.ndarray]) -> dict[str, Any]:
    names = _marked(text)
    return {"command": f"Change the {names[0] if names else 'main thing'} so that it looks older and darker."}


def _result(text: str, pictures: list[np.ndarray]) -> dict[str, Any]:
    own = colour_of(pictures[0])
    return {"target": f"a {next(name for name in COLOURS if name != own)} lantern"}


# Pairs.


def _verification(text: str, pictures: list[np.ndarray]) -> dict[str, Any]:
    before, after = pictures[:2]
    where = changed(before, after)
    asked = _instruction(text)
    captions = [f"A picture that is mostly {colour_of(one)}." for one in (before, after)]
    said = {"source_caption": captions[0], "edited_caption": captions[1]}
    if where.mean() < LEAST_CHANGED:
        wrong = [{"claim": "what was asked for", "mark": "wrong"}]
        return said | {
            "differences": [],
            "is_changed": False,
            "claims": wrong,
            "restated_instruction": "",
            "restated_other": "",
        }
    now = colour_of(after[where] if after.shape == before.shape else after)
    told = [f"a part of the picture turned from {colour_of(before[where])} to {now}"]
    named = [name for name in COLOURS if _names(asked, name)]
    claims = [{"claim": "the part that was asked for is changed", "mark": "correct"}]
    both = (asked, _instruction(text, "other"))
    if named and now not in named:
        claims.append({"claim": f"it is {named[0]} now", "mark": "wrong"})
        claims.append({"claim": f"it is {now} now", "mark": "missing"})
        both = (_recoloured(both[0], named[0], now), _recoloured(both[1], named[0], now))
    return said | {
        "differences": told,
        "is_changed": True,
        "claims": claims,
        "restated_instruction": both[0],
        "restated_other": both[1],
    }


def _names(text: str, colour: str) -> bool:
    return bool(re.search(rf"\b{colour}\b", text.casefold())) or COLOURS[colour][0] in text


def _recoloured(text: str, old: str, new: str) -> str:
    return re.sub(rf"\b{old}\b", new, text, flags=re.IGNORECASE).replace(COLOURS[old][0], COLOURS[new][0])


def _judgement(text: str, pictures: list[np.ndarray]) -> dict[str, Any]:
    """The best scores where something was changed, the worst where nothing was."""
    members = re.search(r'Answer: \{"reason": "\.\.\."(.*)\}', text)
    assert members
    bounds = re.search(r"[Ww]hole numbers?:? from (\d+) to (\d+)", text)
    low, high = map(int, bounds.groups()) if bounds else (1, 5)
    share = float(changed(*pictures[:2]).mean()) if len(pictures) > 1 else 1.0
    flags = set(re.findall(r"^- `(\w+)`: true where", text, re.M))
    good = share >= LEAST_CHANGED
    scores = {
        name: good if name in flags else (high if good else low) for name in re.findall(r'"(\w+)": \.\.\.', members[1])
    }
    return {"reason": f"{share:.1%} of the pixels are other ones"} | scores


def _instruction(text: str, mark: str = "instruction") -> str:
    found = re.search(rf"<{mark}>\n(.*?)\n</{mark}>", text, re.S)
    return found[1].strip() if found else ""


ANSWERS: dict[str, tuple[str, Callable[[str, list[np.ndarray]], dict[str, Any]]]] = {
    "caption": (r'Answer: \{"dense"', _caption),
    "tags": (r'Answer: \{"objects"', _tags),
    "own question": (r'Answer: \{"seen"', _asked_by_a_user),
    "route": (r'Answer: \{"decisions"', _route),
    "many kinds": (r'Answer: \{"edits": \[\{"kind"', _many),
    "write freely": (r'Answer: \{"edits": \[\{"instruction": "\.\.\.", "command"', _freely),
    "write": (r'Answer: \{"edits"', _edits),
    "rewrite": (r'Answer: \{"command"', _rewritten),
    "describe": (r'Answer: \{"target"', _result),
    "verify": (r'Answer: \{"source_caption"', _verification),
    "new things": (r'Answer: \{"new"', lambda _text, _pictures: {"new": []}),
    "judge": (r'Answer: \{"reason": "\.\.\."', _judgement),
}
"""By what is answered: how its prompt spells the answer out, and who looks."""
