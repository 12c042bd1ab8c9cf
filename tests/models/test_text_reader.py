"""Words that are drawn on bundled photos, read by rapidocr's own weights, and what edits of them come to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

pytest.importorskip("matplotlib", reason="needs matplotlib, whose fonts are drawn: python install.py")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: python install.py")
pytest.importorskip("rapidfuzz", reason="needs rapidfuzz: python install.py")
pytest.importorskip("rapidocr", reason="needs rapidocr: python install.py")

import matplotlib

from comfy_nodes.core.boxes import Box
from comfy_nodes.core.verdicts import lettering
from comfy_nodes.core.verdicts.lettering import Line, Wording
from comfy_nodes.imaging.opencv import MissingLibrary
from comfy_nodes.models import text_reader
from comfy_nodes.models.text_reader import read_lines

ROOT = Path(__file__).resolve().parents[2]
FONTS = [
    Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    for name in ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono-Bold", "STIXGeneral")
]
COLUMNS, ROWS, CELL = 5, 8, (256, 100)
WORDS = (
    "OPEN", "CLOSED", "Coffee", "Bakery", "EXIT", "ENTRANCE", "Parking", "Museum",
    "Library", "Platform", "Welcome", "Tickets", "Station", "Hotel", "Garden", "Cinema",
    "Market", "Pharmacy", "Harbour", "Theatre", "Laundry", "Florist", "Bookshop", "Reception",
    "Elevator", "Danger", "Private", "Kitchen", "Breakfast", "Dinner", "Tuesday", "Sunday",
    "Winter", "Summer", "Railway", "Airport", "Village", "Mountain", "Festival", "Gallery",
)  # fmt: skip


def plates(words: Sequence[str]) -> np.ndarray:
    """A plate with a word in each cell of a bundled photo; no words: a bare plate."""
    photo = Image.open(ROOT / "samples" / "photos" / "china.jpg").convert("RGB")
    picture = photo.resize((COLUMNS * CELL[0], ROWS * CELL[1]))
    pen = ImageDraw.Draw(picture)
    for number, word in enumerate(words):
        x1, y1, x2, y2 = plate(number)
        pen.rectangle((x1, y1, x2, y2), fill=(238, 232, 214))
        font = ImageFont.truetype(FONTS[number % len(FONTS)], 22 + number % 3 * 5)
        pen.text((x1 + 14, y1 + 12), word, font=font, fill=(40, 40, 60))
    return np.asarray(picture)


def plate(number: int) -> Box:
    x, y = number % COLUMNS * CELL[0], number // COLUMNS * CELL[1]
    return x + 20, y + 20, x + 236, y + 80


def lines(picture: np.ndarray) -> list[Line]:
    return [Line(one.words, one.box) for one in read_lines([picture], 0.5)[0]]


def test_forty_edits_of_words_come_to_the_right_verdicts() -> None:
    """In turn: another word, another word with a letter missing, the word gone, and nothing done where it should go."""
    new = [WORDS[(number + 7) % len(WORDS)] for number in range(len(WORDS))]
    done = [(new[n], new[n][:2] + new[n][3:], "", WORDS[n])[n % 4] for n in range(len(WORDS))]
    before, after = lines(plates(WORDS)), lines(plates(done))
    said = []
    for number, word in enumerate(WORDS):
        asked = Wording(word, new[number] if number % 4 < 2 else "", plate(number))
        said.append(lettering.weigh([asked], before, after, lettering.SPELT, lettering.READABLE)[1])
    assert said == ["keep", "reject", "keep", "reject"] * 10


def test_a_line_is_where_it_was_drawn() -> None:
    picture = Image.new("RGB", (400, 300), (90, 120, 90))
    sign = Image.new("RGBA", (320, 60), (240, 240, 240, 255))
    ImageDraw.Draw(sign).text((20, 8), "GRAND HOTEL", font=ImageFont.truetype(FONTS[1], 30), fill=(0, 0, 0))
    turned = sign.rotate(4, resample=Image.Resampling.BICUBIC, expand=True)
    picture.paste(turned, (80, 100), turned)
    [[line], nothing] = read_lines([np.asarray(picture), np.zeros((80, 90, 3), np.uint8)], 0.9)
    assert (line.words, nothing) == ("GRAND HOTEL", []) and line.score > 0.95
    x1, y1, x2, y2 = line.box
    assert 70 <= x1 < x2 <= 400 and 100 <= y1 < y2 <= 100 + turned.height
    marked = line.marked(400, 300)
    inside = np.asarray(picture)[..., 0] < 60
    assert marked[inside].mean() > 0.95, "the letters"
    assert marked.sum() < 0.9 * (x2 - x1) * (y2 - y1), "slanted, not the whole box"


def test_chinese_words() -> None:
    pictures = [
        np.asarray(Image.open(ROOT / "tests" / "cases" / "words-in-chinese" / f"{name}.png").convert("RGB"))
        for name in ("before", "after")
    ]
    before, after = ([Line(one.words, one.box) for one in frame] for frame in read_lines(pictures, 0.5))
    assert [one.words for one in before] == ["营业中", "小心地滑"]
    for asked, verdict in (
        (Wording("营业中", "停止营业"), "keep"),
        (Wording("营业中", "暂停营业"), "reject"),
        (Wording("小心地滑"), "keep"),
        (Wording("", "停止营业"), "keep"),
        (Wording("", "小心地滑"), "reject"),
        (Wording("出口"), "unscored"),
    ):
        assert lettering.weigh([asked], before, after, lettering.SPELT, lettering.READABLE)[1] == verdict, asked


def test_without_its_weights_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = np.zeros((40, 40, 3), np.uint8)
    text_reader._reader.cache_clear()
    monkeypatch.setattr(text_reader, "WEIGHTS", {"Det": "PP-OCRv0_det.onnx"})
    with pytest.raises(MissingLibrary, match=r"came without PP-OCRv0_det.onnx: run `python install.py`"):
        read_lines([picture], 0.5)
    monkeypatch.setattr(text_reader, "NEEDED", ("rapidocr", "no_such_package"))
    with pytest.raises(MissingLibrary, match=r"these are not installed: no_such_package: run `python install.py`"):
        read_lines([picture], 0.5)
