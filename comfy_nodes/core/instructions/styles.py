"""Named styles for the task style: what each is called in an instruction, and in which words an image model is asked for it.

`Pick Style` draws from them where nobody has written an instruction. No models and no pixels here.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

STYLES_VERSION = "1"
"""Version of names and words; it goes into every record. Changed ones get a new one."""


@dataclass(frozen=True)
class NamedStyle:
    """One style. All words are ours."""

    name: str
    phrase: str
    """With its article, to follow 'Turn the photo into'."""
    look: str
    """What it looks like, for a model that paints."""

    @property
    def instruction(self) -> str:
        return f"Turn the photo into {self.phrase}."

    @property
    def prompt(self) -> str:
        return f"{self.phrase}, {self.look}"


_STYLES = (
    NamedStyle("anime", "an anime drawing", "clean outlines, flat shading, bright colours"),
    NamedStyle("art deco", "an art deco poster", "strict geometry, gold and black, stepped forms"),
    NamedStyle("chalk", "a chalk drawing", "white and pastel chalk on a dark board, dusty edges"),
    NamedStyle("charcoal", "a charcoal drawing", "black charcoal on rough paper, smudged shadows"),
    NamedStyle("claymation", "a clay animation scene", "modelled clay, fingerprints, soft studio light"),
    NamedStyle("comic", "a comic book panel", "heavy ink lines, halftone dots, strong colours"),
    NamedStyle("crayon", "a crayon drawing", "waxy strokes on white paper, uneven colour"),
    NamedStyle("cubism", "a cubist painting", "broken planes, several views at once, muted colours"),
    NamedStyle("engraving", "a copper engraving", "fine hatching, black lines on cream paper"),
    NamedStyle("expressionism", "an expressionist painting", "distorted forms, thick strokes, harsh colours"),
    NamedStyle("felt", "a felt craft scene", "cut and stitched felt, soft fibres, visible seams"),
    NamedStyle("gouache", "a gouache painting", "opaque matte colour, flat shapes, visible brushwork"),
    NamedStyle("impressionism", "an impressionist painting", "short broken strokes, shimmering light, open air"),
    NamedStyle("ink wash", "an ink wash painting", "diluted black ink on rice paper, few strokes, empty space"),
    NamedStyle("linocut", "a linocut print", "bold carved shapes, two colours, paper grain"),
    NamedStyle("low poly", "a low-poly rendering", "large flat triangles, simple light, computer graphics"),
    NamedStyle("mosaic", "a mosaic", "small stone tiles, visible joints, slightly uneven colours"),
    NamedStyle("neon", "a neon cyberpunk picture", "night, glowing magenta and cyan light, wet reflections"),
    NamedStyle("oil painting", "an oil painting", "thick paint, canvas texture, rich shadows"),
    NamedStyle("origami", "an origami scene", "folded paper, sharp creases, soft shadows"),
    NamedStyle("paper cut", "a layered paper cut", "coloured paper layers, crisp edges, small shadows"),
    NamedStyle("pencil", "a pencil sketch", "grey graphite lines, light hatching, white paper"),
    NamedStyle("pixel art", "pixel art", "coarse square pixels, small palette, no smoothing"),
    NamedStyle("pop art", "a pop art print", "flat loud colours, black outlines, screen-print dots"),
    NamedStyle("stained glass", "a stained-glass window", "glowing coloured panes, dark lead lines"),
    NamedStyle("ukiyo-e", "a ukiyo-e woodblock print", "flowing outlines, flat colour with soft gradients"),
    NamedStyle("vintage film", "a faded film photograph", "warm cast, lifted blacks, grain, light leaks"),
    NamedStyle("watercolour", "a watercolour painting", "transparent washes, bleeding edges, white paper"),
)

STYLES: dict[str, NamedStyle] = {style.name: style for style in _STYLES}


def drawn(seed: int) -> NamedStyle:
    """The style that a seed draws; all are equally likely."""
    return random.Random(seed).choice(_STYLES)
