"""Words in pictures, by rapidocr (Apache-2.0): PP-OCRv6's small detector and recogniser through onnxruntime, on the CPU.

The weights lie in rapidocr's wheel and are named one by one, so that nothing is ever downloaded. It is imported when
the first picture is read, never before. It reads Chinese and English, and other languages in Latin letters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ..core.boxes import Box
from ..imaging.opencv import MissingLibrary

INSTALL = (
    "reading words in pictures needs the package rapidocr (Apache-2.0), {}: run `python install.py` in EditPairs' "
    "folder, then restart ComfyUI"
)
NEEDED = ("rapidocr", "onnxruntime", "rapidfuzz")
"""rapidocr, what runs its weights, and what compares words."""

WEIGHTS = {
    "Det": "PP-OCRv6_det_small.onnx",
    "Rec": "PP-OCRv6_rec_small.onnx",
    "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
}
"""By rapidocr's name for what they do: find lines, read them, tell which way up they are."""


@dataclass(frozen=True)
class ReadLine:
    """A line of words as it stands in a picture."""

    words: str
    corners: tuple[tuple[float, float], ...]
    """Four (x, y) in the picture's pixels, clockwise from where the line begins."""
    score: float
    """Mean confidence of its characters, 0 to 1."""

    @property
    def box(self) -> Box:
        """The box around the line."""
        across, down = zip(*self.corners, strict=True)
        return min(across), min(down), max(across), max(down)

    def marked(self, width: int, height: int) -> np.ndarray:
        """The four-cornered line, bool [H, W], in a picture of width x height pixels."""
        picture = Image.new("1", (width, height))
        ImageDraw.Draw(picture).polygon(self.corners, fill=1)
        return np.asarray(picture, dtype=bool)


def read_lines(images: Sequence[np.ndarray], score: float) -> list[list[ReadLine]]:
    """The lines of words of each image, from top to bottom; an empty list where none can be read.

    Args:
        images: uint8 [H, W, 3] in RGB; sizes may differ.
        score: least mean confidence of a line, 0 to 1.

    Raises:
        MissingLibrary: rapidocr or what it needs is not installed, or came without its weights.
    """
    reader = _reader()
    return [_lines(reader(image[..., ::-1]), image, score) for image in images]


def _lines(found: Any, image: np.ndarray, score: float) -> list[ReadLine]:
    if found.txts is None:
        return []
    most = np.array([image.shape[1], image.shape[0]], dtype=float)
    lines = []
    for quad, words, sure in zip(found.boxes, found.txts, found.scores, strict=True):
        corners = np.clip(np.asarray(quad, dtype=float), 0, most)
        if sure >= score and (np.ptp(corners, axis=0) > 0).all():
            lines.append(ReadLine(" ".join(words.split()), tuple((x, y) for x, y in corners.tolist()), float(sure)))
    return lines


@cache
def _reader() -> Any:
    lacking = [name for name in NEEDED if find_spec(name) is None]
    if lacking:
        raise MissingLibrary(INSTALL.format(f"and these are not installed: {', '.join(lacking)}"))
    try:
        import rapidocr
    except ImportError as error:
        raise MissingLibrary(INSTALL.format(f"which does not load ({error})")) from None
    folder = Path(rapidocr.__file__).parent / "models"
    for name in WEIGHTS.values():
        if not (folder / name).is_file():
            raise MissingLibrary(INSTALL.format(f"which came without {name}"))
    paths = {f"{part}.model_path": str(folder / name) for part, name in WEIGHTS.items()}
    # 0: each line is read, and how sure it is decides here.
    return rapidocr.RapidOCR(params={**paths, "Global.log_level": "critical", "Global.text_score": 0.0})
