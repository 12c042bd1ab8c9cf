"""Texts beside photos and in tars: an instruction, or a word on why it is none; captions are no instructions."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from comfy_nodes.core.annotation import parse_annotation, to_json
from driver.source_words import MAX_BYTES, NoWords, words_in
from driver.sources import Source
from tests.unit.source_making import STYLE, mask_picture, picture, plan, reasons, samples
from tests.unit.test_sources_tar import pack

CASES = Path(__file__).parent.parent / "cases"
NOT_UTF8 = "a.txt: cannot be read as UTF-8 text; save it as UTF-8"
LABELS = "a.txt holds box labels or other numbers, not an instruction; move it away"
MARKUP = "a.txt holds JSON or XML, not an instruction; move it away, or write the words alone"

WORDS = [
    "Take it away.", "Retire la tasse à café.", "把杯子拿走。", "Remove 3 cups", "Remove the cup\nMake it 2 cups\n", "2 cups",
    "Put 1, 2, 3 and 4 on the dice", "Make it 50% larger", "[cup] remove it", "{cup|jug} away", '"Remove the cup."',
    "Add 12 34 56 78 to the wall of it", "🦊 away", "Tab\tand\r\nbreak", "[1] remove the cup", "<cup> away",
]  # fmt: skip


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_is_an_instruction(words: str, encoding: str) -> None:
    assert words_in(words.encode(encoding), "a.txt") == words.strip()


NO_WORDS = {
    **{f"{encoding} {number}": (text.encode(encoding), NOT_UTF8) for number, (text, encoding) in enumerate([
        ("Retire la tasse à café.", "cp1252"), ("把杯子拿走。", "gbk"), ("カップを消す", "shift-jis"), ("Убери чашку", "koi8-r"),
        ("Żółty kubek", "cp1250"), ("日本", "utf-16-le"),
    ])},
    "cut off": ("é".encode()[:1], NOT_UTF8),
    "half of UTF-16": (b"\xff\xfeA", NOT_UTF8),
    "UTF-16 without its mark": ("Take it".encode("utf-16-le"), "a.txt holds control characters, such as NUL; save it as UTF-8 text"),
    "UTF-32": ("Take it".encode("utf-32"), "a.txt holds control characters, such as NUL; save it as UTF-8 text"),
    "NUL": (b"Take\0it", "a.txt holds control characters, such as NUL; save it as UTF-8 text"),
    "escapes": (b"\x1b[31mTake", "a.txt holds control characters, such as NUL; save it as UTF-8 text"),
    "read wrongly before": ("caf\ufffd".encode(), "a.txt holds replacement characters"),
    "endless": (b"x" * (MAX_BYTES + 1), "a.txt is longer than 64 KB, which no instruction is; move it away"),
    **{name: (text.encode(), LABELS) for name, text in {
        "boxes": "0 0.675 0.45 0.25 0.4\n2 0.1 0.1 0.05 0.05", "confidence": "0 0.675 0.45 0.25 0.4 0.93",
        "polygon": "1 0.1 0.1 0.2 0.1 0.2 0.3", "oriented": "0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2", "commas": "12,30,55,80",
        "exponents": "0 1e-1 .5 5. +0.2", "one number": "7", "dota": "10 10 20 10 20 20 10 20 plane 0",
        "kitti": "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59",
        "detections": "person 0.98 12 34 56 78\ncup 0.5 1 2 3 4",
    }.items()},
    **{name: (text.encode(), MARKUP) for name, text in {
        "object": '{"caption": "a cup"}', "list": '[{"label": "cup"}]', "lines": '{"a": 1}\n{"a": 2}', "cut": '{"caption": "a c',
        "deep": "[" * 3000 + "]" * 3000, "xml": "<annotation><object/></annotation>", "numbers": "[1, 2, 3]",
    }.items()},
}  # fmt: skip


@pytest.mark.parametrize("name", NO_WORDS)
def test_what_is_none(name: str, tmp_path: Path) -> None:
    """Alone, beside a photo, and in a tar."""
    data, why = NO_WORDS[name]
    with pytest.raises(NoWords) as caught:
        words_in(data, "a.txt")
    assert str(caught.value).startswith(why)
    members = {"a.jpg": picture(), "a.mask.png": mask_picture(), "a.txt": data}
    (tmp_path / "folder").mkdir()
    for member, content in members.items():
        (tmp_path / "folder" / member).write_bytes(content)
    pack(tmp_path / "a.tar", *members.items())
    for source in (Source(tmp_path / "folder"), Source(tmp_path / "a.tar")):
        planned = plan(source)
        assert not samples(planned)
        (found,) = reasons(planned).values()
        assert found.startswith(why)


def test_the_cases() -> None:
    planned = plan(Source(CASES / "words-not-utf8"))
    assert reasons(planned) == {
        f"{name}.jpg": f"{name}.txt: cannot be read as UTF-8 text; save it as UTF-8" for name in ("ansi", "gbk")
    }
    (notepad,) = samples(planned)
    assert "\0" not in notepad.instruction
    assert notepad.instruction
    planned = plan(Source(CASES / "labels-taken-for-words"))
    assert not samples(planned)
    assert set(reasons(planned)) == {"ball.jpg", "polygon.jpg"}


TOLD = {"caption": "a cup on a table", "url": "https://example.org/cup.jpg", "key": "000", "status": "success"}


def test_img2datasets_captions_are_no_instructions(tmp_path: Path) -> None:
    members = {"000.jpg": picture(), "000.json": json.dumps(TOLD).encode(), "000.txt": TOLD["caption"].encode()}
    (tmp_path / "folder").mkdir()
    for name, content in members.items():
        (tmp_path / "folder" / name).write_bytes(content)
    pack(tmp_path / "a.tar", *members.items())
    for source in (Source(tmp_path / "folder"), Source(tmp_path / "a.tar")):
        (sample,) = samples(plan(source, STYLE))
        assert (sample.instruction, sample.annotation.captions) == ("", ("a cup on a table",))
        assert sample.annotation.source_url == "https://example.org/cup.jpg"
        assert parse_annotation(to_json(sample.annotation)).captions == ("a cup on a table",)


def test_a_url_that_is_none_makes_no_instruction_of_the_caption(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())
    (tmp_path / "a.txt").write_bytes(b"a cup")
    (tmp_path / "a.json").write_text(json.dumps({"caption": "a cup", "url": 5}))
    assert "source_url is a number" in reasons(plan(Source(tmp_path), STYLE))["a.jpg"]


@pytest.mark.parametrize("photo", ["NFC", "NFD"])
@pytest.mark.parametrize("others", ["NFC", "NFD"])
def test_names_in_either_unicode_form(photo: str, others: str, tmp_path: Path) -> None:
    name, other = (unicodedata.normalize(form, "tasse à café") for form in (photo, others))
    members = {f"{name}.jpg": picture(), f"{other}.mask.png": mask_picture(), f"{other}.txt": b"Away."}
    (tmp_path / "folder").mkdir()
    for member, content in members.items():
        (tmp_path / "folder" / member).write_bytes(content)
    pack(tmp_path / "a.tar", *members.items())
    for source in (Source(tmp_path / "folder"), Source(tmp_path / "a.tar")):
        planned = plan(source)
        assert reasons(planned) == {}
        (sample,) = samples(planned)
        assert (sample.instruction, len(sample.annotation.regions)) == ("Away.", 1)


def test_two_photos_whose_names_differ_in_form_share_nothing(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        (tmp_path / f"{unicodedata.normalize(form, 'é')}.jpg").write_bytes(picture())
    (tmp_path / f"{unicodedata.normalize('NFC', 'é')}.txt").write_bytes(b"Away.")
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this disk knows one form only")
    assert sorted(one.instruction for one in samples(plan(Source(tmp_path), STYLE))) == ["", "Away."]


@pytest.mark.parametrize("field", ["class_name", "instruction", "source_url", "source_licence"])
@pytest.mark.parametrize("bad", ["a\0b", "\ud800", "caf\ufffd", "a\x1b[1m"])
def test_texts_in_records(field: str, bad: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())
    (tmp_path / "a.jsonl").write_text(json.dumps({"path": "a.jpg", "bbox": [4, 5, 20, 15], field: bad}))
    planned = plan(Source(tmp_path / "a.jsonl"))
    assert not samples(planned)
    (why,) = reasons(planned).values()
    assert f"{field} holds " in why


@pytest.mark.parametrize("name", ["coffee\ncup", "cup\n", "coffee\u2028cup", "coffee\r\ncup"])
def test_a_class_name_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(picture())
    region = {"class_name": name, "bbox": [4, 5, 20, 15]}
    for item in ({"path": "a.jpg", **region}, {"path": "a.jpg", "segmentation": {"object": [region]}}):
        (tmp_path / "a.json").write_text(json.dumps(item))
        (why,) = reasons(plan(Source(tmp_path / "a.json"))).values()
        assert "class_name holds a line break" in why
