"""Texts beside photos and in tars: an instruction, or a word on why it is none; captions are no instructions."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from comfy_nodes.core import texts
from comfy_nodes.core.regions.annotation import AnnotationError, parse_annotation, to_json
from driver.inputs.records import read_record
from driver.inputs.source import Source
from driver.inputs.words import MAX_BYTES, NoWords, words_in
from tests.unit.source_making import STYLE, mask_picture, picture, plan, reasons, samples
from tests.unit.test_sources_tar import pack

CASES = Path(__file__).parent.parent / "cases"
NOT_UTF8 = "a.txt: cannot be read as UTF-8 text; save it as UTF-8"
LABELS = "a.txt holds box labels or other numbers, not an instruction; move it away"
MARKUP = "a.txt holds JSON, XML or other data, not an instruction; move it away, or write the words alone"

WORDS = [
    "Take it away.", "Retire la tasse à café.", "把杯子拿走。", "Remove 3 cups", "Remove the cup\nMake it 2 cups\n", "2 cups",
    "Put 1, 2, 3 and 4 on the dice", "Make it 50% larger", "[cup] remove it", "{cup|jug} away", '"Cup" away',
    "Add 12 34 56 78 to the wall of it", "🦊 away", "Tab\tand\r\nbreak", "[1] remove the cup", "<cup> away",
    "Add text: Hello", "Change the sign to 10:30", "Text: Hello", 'Write "a, b, c" on it', "Left: the cup goes\nRight: a dog comes",
    "1. Remove the cup\n2. Add a dog", "1.\nRemove the cup\n2.\nAdd a dog", "remove\nthe cup", "Paint it #ff0000",
    "#1 goes", "Make the clock show 12, 3, 6 and 9", "Write on the dice:\n1 2 3 4", "Replace <cup> with <dog>", "2 < 3",
    "Turn it 0.5 to the left and 1.5 up", "Cups, plates and forks away,\nand the table clean", "Set it to 1920x1080 pixels",
    "Remove the cup; keep the plate", "1,5 Meter höher", "Make it -20 °C outside", "Put 🇩🇪 and 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f on it",
    "👩\u200d💻 away", "❤️\u200d🔥 on the shirt", "👨🏽\u200d🦰 away", "🙂\u200d↔️", "1️⃣ on the door", "👩\u200d❤️\u200d💋\u200d👨",
    "لیوان را برمی\u200cدارم", "کتاب\u200cها را بردار", "احذف الكوب من الصورة، من فضلك.", "הסר את הכוס", "क्\u200dष को हटाओ", "ශ්\u200dරී",  # noqa: RUF001
    "把“杯子”换成：狗", "将招牌改为“10：30”", "カップを\u3000消す", "컵을 치워 주세요", "Retire\u00a0: la tasse", "葛\U000e0100飾区",  # noqa: RUF001
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
    **{f"U+{ord(sign):04X}": (f"Take it{sign} away".encode(), f"a.txt holds characters that nobody sees or that have no meaning of their own (U+{ord(sign):04X})") for sign in (
        "\u202e\u2066\u200e\u200f\u061c\u2028\u2029\uffff\ufdd0\U0010ffff\ue000\U000f0000\U000e0041\U000e0001\u200b\u2060\ufeff\u00ad\u200d\u200c\u3164\U000e0100"
    )},
    "joined for nothing": ("杯\u200d子".encode(), "a.txt holds characters that nobody sees"),
    "a row of selectors": ("🦊\ufe0f\ufe01\ufe02".encode(), "a.txt holds characters that nobody sees"),
    "a lone CR": (b"Take it\raway", "a.txt holds a carriage return that ends no line"),
    "long": (b"x" * (texts.MAX_WORDS + 1), "a.txt is longer than 5000 characters"),
    "endless": (b"x" * (MAX_BYTES + 1), "a.txt is longer than 64 KB, which no instruction is; move it away"),
    **{name: (text.encode(), LABELS) for name, text in {
        "boxes": "0 0.675 0.45 0.25 0.4\n2 0.1 0.1 0.05 0.05", "confidence": "0 0.675 0.45 0.25 0.4 0.93",
        "polygon": "1 0.1 0.1 0.2 0.1 0.2 0.3", "oriented": "0 0.1 0.1 0.2 0.1 0.2 0.2 0.1 0.2", "commas": "12,30,55,80",
        "exponents": "0 1e-1 .5 5. +0.2", "one number": "7", "dota": "10 10 20 10 20 20 10 20 plane 0",
        "kitti": "Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59",
        "detections": "person 0.98 12 34 56 78\ncup 0.5 1 2 3 4",
        "dota with its header": "imagesource:GoogleEarth\ngsd:0.1\n10 10 20 10 20 20 10 20 plane 0",
        "dota of a line": "gsd:0.1\n10 10 20 10 20 20 10 20", "comment": "0 0.5 0.5 0.2 0.2\n# of Ann", "hexadecimal": "0x1f 0x2a",
        "words below": "0 0.5 0.5 0.2 0.2\nlabelled by Ann", "words above": "labelled by Ann\n0 0.5 0.5 0.2 0.2", "nan": "nan nan nan",
    }.items()},
    **{name: (text.encode(), MARKUP) for name, text in {
        "object": '{"caption": "a cup"}', "list": '[{"label": "cup"}]', "lines": '{"a": 1}\n{"a": 2}', "cut": '{"caption": "a c',
        "deep": "[" * 3000 + "]" * 3000, "xml": "<annotation><object/></annotation>", "numbers": "[1, 2, 3]",
        "text": '"Remove the cup."', "html": "<p>Remove <b>the cup</b>\n</p>", "html of a line": "Remove <br/> it", "csv": "id,caption\n1,a ball",
        "tsv": "id\tcaption\n1\ta ball", "yaml": "caption: a ball\nurl: https://example.org/a", "other yaml": "---\nobject: ball\ncolour: red",
        "settings": "object=ball\ncolour=red", "one field": "caption: a ball", "python": "{'caption': 'a ball'}", "fence": "```\nit\n```",
        "url": "https://example.org/a.jpg",
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


NO_FIELDS = [
    ({"instruction": "0 0.675 0.45 0.25 0.4"}, "its instruction holds box labels"),
    ({"instruction": "12,30,55,80"}, "its instruction holds box labels"),
    ({"instruction": '{"caption": "a cup"}'}, "its instruction holds JSON"),
    ({"prompt": "x" * (texts.MAX_WORDS + 1)}, "its instruction is longer than 5000 characters"),
    ({"class_name": "x" * (texts.MAX_NAME + 1)}, "its class_name is longer than 200 characters"),
    ({"original_path": "a.jpg", "edit_type": "add", "edit_prompt": "1 2 3 4"}, "its instruction holds box labels"),
    ({"original_path": "a.jpg", "edit_type": "add", "edit_prompt": "a\u202eb"}, "its instruction holds characters"),
]


@pytest.mark.parametrize(("item", "why"), NO_FIELDS)
def test_words_of_records_are_held_to_the_same(item: dict[str, str], why: str) -> None:
    with pytest.raises(AnnotationError, match=why):
        read_record({"path": "a.jpg", **item})


def test_names_of_regions_are_bounded() -> None:
    region = {"class_name": "x" * (texts.MAX_NAME + 1), "bbox": [1, 1, 5, 5]}
    (why,) = parse_annotation({"path": "a.jpg", "segmentation": {"object": [region]}}).refusals
    assert "class_name is longer than 200 characters" in why


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


TOLD = {"caption": "a cup on a table", "url": "https://example.org/cup.jpg", "key": "000", "license": "CC0 1.0"}


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
        assert sample.annotation.source_licence == "CC0 1.0"
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
