"""Sentences for edits by classical image processing: they state what was done, so they are true of the pair.

Colours, scenes, styles and things are named here in English and Chinese; classical editors draw from these tables.
Knows nothing of pixels.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..boxes import Box
from .checks import Unfit, check_noun
from .english import article
from .instructions import Step, Writing
from .scenes import Scene
from .wording import NAMELESS, Language

VERSION = "1"
"""Version of the sentences; it goes into every record. Changed sentences get a new one."""

OPERATIONS = ("add", "remove", "replace", "alter")
"""What hybrid and multi-turn samples are put together from (ImgEdit)."""

COLOURS: dict[str, str] = {
    "red": "红色",
    "orange": "橙色",
    "yellow": "黄色",
    "green": "绿色",
    "turquoise": "青绿色",
    "blue": "蓝色",
    "purple": "紫色",
    "pink": "粉色",
}

LEAST_SIDE, LEAST_SHARE = 16, 0.002
"""A thing whose longer side gets smaller than this, in pixels, or that covers less than this share of the picture, cannot be
recognised. Ours: 23 x 23 pixels of 512 x 512."""

MAX_ENLARGED = 2.5
"""A thing that has to be enlarged more than this looks blurred. Ours."""

LIKE_SHAPE = 1.8
"""How many times as slim or as wide as the region a thing may be. Ours: one of another shape leaves the place of the old one
empty, or covers what stood beside it."""


@dataclass(frozen=True)
class DonorWords:
    """What is known of a bundled thing without opening its picture."""

    chinese: str
    size: tuple[int, int]
    """(width, height) of the thing in pixels."""


DONORS: dict[str, DonorWords] = {
    "cup of coffee on a saucer": DonorWords("一杯带托碟的咖啡", (403, 374)),
    "dahlia": DonorWords("一朵大丽花", (277, 277)),
    "round mission patch": DonorWords("一枚圆形任务徽章", (75, 76)),
    "rocket": DonorWords("一枚火箭", (74, 280)),
}
"""The bundled things that may be put in another's place, by their English names."""

SCENES: dict[str, tuple[str, str]] = {
    "clear sky": ("a clear blue sky", "晴朗的蓝天"),
    "sunset": ("an orange sunset sky", "橙色的日落天空"),
    "dawn": ("a pink sky at dawn", "粉色的黎明天空"),
    "cloudy": ("a blue sky with white clouds", "有白云的蓝天"),
    "overcast": ("a grey, overcast sky", "灰色的阴天"),
    "starry night": ("a starry night sky", "繁星点点的夜空"),
    "white": ("a plain white background", "纯白色背景"),
    "grey": ("a plain grey background", "纯灰色背景"),
    "blue": ("a plain light-blue background", "纯浅蓝色背景"),
    "green": ("a plain green background", "纯绿色背景"),
    "checkerboard": ("a black-and-white checkerboard", "黑白棋盘格"),
    "stripes": ("blue and white stripes", "蓝白条纹"),
    "bricks": ("a red brick wall", "红砖墙"),
    "galaxies": ("deep space full of galaxies", "布满星系的深空"),
}
"""New backgrounds: a phrase in English and in Chinese."""

STYLES: dict[str, tuple[str, str]] = {
    "pencil sketch": ("a pencil sketch", "铅笔素描"),
    "coloured pencil": ("a coloured-pencil drawing", "彩色铅笔画"),
    "charcoal": ("a dark charcoal drawing", "深色炭笔画"),
    "ink hatching": ("a cross-hatched ink drawing", "交叉排线钢笔画"),
    "oil painting": ("an oil painting", "油画"),
    "watercolour": ("a watercolour painting", "水彩画"),
    "pointillism": ("a pointillist painting made of dots of colour", "点彩画"),
    "poster": ("a poster with a few flat colours", "只有几种平涂颜色的海报"),
    "pop art": ("a pop-art print in bold, unnatural colours", "色彩鲜艳的波普艺术版画"),
    "cartoon": ("a cartoon with dark outlines", "带深色轮廓线的卡通画"),
    "halftone": ("a black-and-white halftone print", "黑白半色调印刷画"),
    "comic print": ("a colour halftone print made of small dots", "由小圆点组成的彩色半色调印刷画"),
    "woodcut": ("a black-and-white woodcut", "黑白木刻版画"),
    "stained glass": ("a stained-glass window", "彩色玻璃窗"),
    "mosaic": ("a mosaic of small square tiles", "小方砖马赛克"),
    "pixel art": ("pixel art with large pixels", "大像素的像素画"),
    "relief": ("a grey stone relief", "灰色石浮雕"),
    "blueprint": ("a blueprint with white lines on blue", "蓝底白线的蓝图"),
    "cyanotype": ("a cyanotype in shades of blue", "蓝色调的蓝晒照片"),
    "sepia": ("an old sepia photograph", "棕褐色的老照片"),
    "black and white": ("a black-and-white photograph", "黑白照片"),
    "negative": ("a photographic negative", "照片底片"),
    "night": ("a dark, blue night scene", "昏暗的蓝色夜景"),
    "infrared": ("an infrared photograph with pale, glowing foliage", "植物发白发光的红外照片"),
    "thermal": ("a thermal-camera image", "热成像图"),
    "faded": ("a faded colour photograph", "褪色的彩色照片"),
    "neon": ("glowing neon outlines on black", "黑底发光霓虹轮廓画"),
}
"""Styles: a phrase in English and in Chinese."""

_FORMS: dict[Language, dict[str, str]] = {
    "en": {
        "add": "add {new} {place}",
        "remove": "remove {the}",
        "replace": "replace {the} with {thing}",
        "alter": "change the colour of {the} to {colour}",
        "visual": "replace {the} with the object in the second image",
        "background": "replace {the} with {scene}",
        "style": "turn the photo into {style}",
    },
    "zh": {
        "add": "在{place}添加{new}",
        "remove": "移除{the}",
        "replace": "把{the}换成{thing}",
        "alter": "把{the}的颜色改成{colour}",
        "visual": "把{the}换成第二张图中的物体",
        "background": "把{the}换成{scene}",
        "style": "把照片变成{style}",
    },
}


class Nameless(Unfit):
    """A region without a name, of which no sentence can say what was edited."""


def donors_for(name: str, box: Box, width: int, height: int) -> list[str]:
    """The bundled things that may be put in a thing's place in a width x height photo: others than it, of its shape, and
    large enough."""
    if min(box[0], box[1], width - box[2], height - box[3]) < 1:
        return []  # the picture's edge cuts the thing off
    across, down = box[2] - box[0], box[3] - box[1]
    if across * down < LEAST_SHARE * width * height:
        return []
    old = name.casefold().strip()
    found = []
    for one, words in DONORS.items():
        wide, tall = words.size
        slimmer = (across / down) / (wide / tall)
        fits = max(slimmer, 1 / slimmer) <= LIKE_SHAPE and across * down <= MAX_ENLARGED**2 * wide * tall
        if fits and old not in one.casefold() and one.casefold() not in old:
            found.append(one)
    return found


def colour_in(target: str) -> str:
    """The colour that a thing as a whole is to have, by an alteration's `target`: a key of `COLOURS`, such as that of `a blue
    cup`. Empty where it says none, or more than that: `a cup with a blue handle`."""
    found = re.fullmatch(
        r"(?:an? |the |some )?(?:bright )?([a-z]+) (?!.*\b(?:and|or|with)\b)[^,;]+", target.strip(" .").casefold()
    )
    return found[1] if found and found[1] in COLOURS else ""


def colours_in(text: str) -> set[str]:
    """The colours that words name, English or Chinese, as keys of `COLOURS`."""
    english = set(re.findall("[a-z]+", text.casefold())) & set(COLOURS)
    # Read from the left, so that no name is found within another one's end.
    chinese = re.findall("|".join(COLOURS.values()), text)
    return english | {name for name, called in COLOURS.items() if called in chinese}


def thing_in(target: str) -> str:
    """The bundled thing, a key of `DONORS`, where a replacement's `target` is nothing else but an article; else empty."""
    bare = re.sub(r"^(?:an?|the) ", "", target.strip(" .").casefold())
    return next((name for name in DONORS if name.casefold() == bare), "")


def clause(op: str, language: Language, scene: Scene, number: int = 0, result: str = "") -> str:
    """What was done, without capital and full stop: `change the colour of the cup on the left of the image to blue`.

    Args:
        op: `add`, `remove`, `replace`, `alter`, `visual` or `background`.
        number: which of the scene's regions.
        result: the colour (a key of `COLOURS`), the scene (a key of `SCENES`) or the new thing's English name.

    Raises:
        Unfit: words don't tell which region is meant, it has no name, or one in another language.
    """
    noun = scene.regions[number].class_name or ""
    if op == "background":
        noun = noun or {"en": "background", "zh": "背景"}[language]
    if not noun:
        raise Nameless(NAMELESS)
    words = {"the": scene.the(number, noun, language)}
    if op == "add":
        before = article(noun) if language == "en" else "一个"
        words |= {"new": scene.new(number, before, noun, language), "place": scene.place(number, language)}
    elif op == "alter":
        words["colour"] = COLOURS[result] if language == "zh" else result
    elif op == "background":
        words["scene"] = SCENES[result][language == "zh"]
    elif op == "replace":
        check_noun(result, language)
        words["thing"] = result if language == "zh" else f"{article(result)} {result}".strip()
    return _FORMS[language][op].format(**words)


def style_clause(style: str, language: Language) -> str:
    return _FORMS[language]["style"].format(style=STYLES[style][language == "zh"])


def sentence(clauses: Sequence[str], language: Language) -> str:
    """One sentence of one or two clauses."""
    if language == "zh":
        return "，然后".join(clauses) + "。"  # noqa: RUF001
    joined = " and ".join(clauses)
    return f"{joined[:1].upper()}{joined[1:]}."


def steps_of(scene: Scene, done: Sequence[tuple[str, str]]) -> tuple[Step, ...]:
    """The operations as an edit graph carries them out, in English; an added thing is erased from the photo.

    Args:
        done: operation and result of each of the scene's regions, in their order.
    """
    found = []
    for number, (op, result) in enumerate(done):
        # Commands are English whatever the instruction is in; a name in another language stays as it is.
        noun = scene.regions[number].class_name or "object"
        try:
            command = sentence([clause("remove" if op == "add" else op, "en", scene, number, result)], "en")
        except Unfit:
            command = ""
        target = {"alter": f"a {result} {noun}", "background": SCENES.get(result, ("",))[0]}.get(op, result)
        found.append(Step("replace" if op == "visual" else op, noun, number, command, target))
    return tuple(found)


def region_writing(scene: Scene, done: Sequence[tuple[str, str]], language: Language) -> Writing:
    """The instruction that states what was done to a scene's regions.

    Raises:
        Unfit: as `clause`.
    """
    words = sentence([clause(op, language, scene, at, result) for at, (op, result) in enumerate(done)], language)
    steps = steps_of(scene, done)
    commands = " ".join(step.editor_prompt for step in steps)
    return Writing(
        words, language, steps[0].target, commands, steps, regions=scene.regions, model="template",
        prompt_id="classical", prompt_version=VERSION,
    )  # fmt: skip


def style_writing(style: str, language: Language) -> Writing:
    """The instruction that states which style the whole photo was given."""
    command = sentence([style_clause(style, "en")], "en")
    words = sentence([style_clause(style, language)], language)
    step = Step("style", "", None, command, STYLES[style][0])
    return Writing(
        words, language, STYLES[style][0], command, (step,), model="template", prompt_id="classical",
        prompt_version=VERSION,
    )  # fmt: skip
