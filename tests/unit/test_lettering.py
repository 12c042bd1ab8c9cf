"""Which words an edit asks for, and what lines that were read come to."""

from __future__ import annotations

import pytest

pytest.importorskip("rapidfuzz", reason="comes with the reader of words: python install.py")

from comfy_nodes.core.regions.annotation import Region
from comfy_nodes.core.regions.eligibility import eligibility
from comfy_nodes.core.regions.lettering import name_of_words, words_of_name
from comfy_nodes.core.verdicts.lettering import (
    READABLE,
    SPELT,
    Line,
    Wording,
    likeness,
    says_all,
    scores,
    weigh,
    words_asked,
)

SIGN = (100.0, 100.0, 200.0, 140.0)


@pytest.mark.parametrize(
    ("op", "name", "command", "target", "wanted"),
    [
        ("alter", "sign", 'Change "OPEN" to "CLOSED".', "", ("OPEN", "CLOSED")),
        ("alter", "sign", 'Change "OPEN" to "CLOSED".', 'a sign that reads "CLOSED"', ("OPEN", "CLOSED")),
        ("alter", 'text "OPEN"', 'Change the text to "CLOSED".', "", ("OPEN", "CLOSED")),
        ("alter", "sign", 'Have the sign say "CLOSED".', "", ("", "CLOSED")),
        ("replace", "sign", 'Write "CLOSED" instead of "OPEN".', "", ("OPEN", "CLOSED")),
        ("alter", "sign", "把“营业中”改成“停止营业”。", "", ("营业中", "停止营业")),
        ("alter", "sign", "用“停止营业”代替“营业中”。", "", ("营业中", "停止营业")),
        ("remove", 'text "OPEN"', "Remove it.", "bare wall", ("OPEN", "")),
        ("remove", "sign", 'Remove the sign "OPEN".', "", ("OPEN", "")),
        ("add", "sign", 'Remove the sign "OPEN".', "", ("", "OPEN")),
        ("instruct", "", 'Remove the text "OPEN".', "", ("OPEN", "")),
        ("instruct", "", 'Add the text "SALE" in red.', "", ("", "SALE")),
        ("alter", "sign", 'Change "OPEN" on the "CAFE" sign to "SHUT".', 'a sign that reads "SHUT"', ("", "SHUT")),
        ("alter", "sign", 'Change "OPEN" beside "CAFE".', "", ("", "")),
        ("alter", 'text "OPEN"', 'Paint the text "OPEN" red.', "", ("", "")),
        ("alter", "cup", "Make the cup red.", "a red cup", ("", "")),
        ("remove", "cup", "Remove the cup.", "", ("", "")),
    ],
)
def test_the_words_that_an_edit_asks_for(
    op: str, name: str, command: str, target: str, wanted: tuple[str, str]
) -> None:
    assert words_asked(op, name, command, target) == wanted


@pytest.mark.parametrize(
    ("words", "read", "least", "most"),
    [
        ("OPEN", ["we are Open daily"], 1, 1),
        ("Open daily", ["OPENDAILY"], 1, 1),
        ("Grand Hotel", ["GRAND", "HOTEL"], 1, 1),
        ("营业", ["停止营业中"], 1, 1),
        ("OPEN", ["OPEM"], 0.75, 0.75),
        ("CLOSED", ["CLOSD"], 0.8, 0.85),
        ("AT", ["CAT"], 0.6, 0.7),
        ("OPEN", [], 0, 0),
    ],
)
def test_likeness_goes_by_whole_words(words: str, read: list[str], least: float, most: float) -> None:
    assert least <= likeness(words, read) <= most


@pytest.mark.parametrize(
    ("asked", "before", "after", "verdict", "reason"),
    [
        (Wording("OPEN", "CLOSED"), "OPEN", "CLOSED", "keep", ""),
        (Wording("OPEN", "CLOSED"), "OPEN", "CLOSD", "reject", "'CLOSED' cannot be read, but CLOSD"),
        (Wording("OPEN", "CLOSED"), "OPEN", "OPEN", "reject", "'OPEN' can still be read; 'CLOSED' cannot be read, but OPEN"),
        (Wording("2023", "2024"), "2023", "2024", "keep", ""),
        (Wording("HOTEL", "GRAND HOTEL"), "HOTEL", "GRAND HOTEL", "keep", ""),
        (Wording("OPEN"), "OPEN", "", "keep", ""),
        (Wording("OPEN"), "OPEN", "OPEM", "reject", "'OPEN' can still be read"),
        (Wording("OPEN"), "", "", "unscored", "'OPEN' cannot be read in the photo before the edit"),
        (Wording("", "SALE"), "", "SALE", "keep", ""),
        (Wording("", "SALE"), "SALE", "SALE", "reject", "'SALE' can be read before the edit already"),
        (Wording("", "SALE"), "", "", "reject", "'SALE' cannot be read, but nothing"),
    ],
)  # fmt: skip
def test_what_was_read_decides(asked: Wording, before: str, after: str, verdict: str, reason: str) -> None:
    values, said, why = weigh([asked], _lines(before), _lines(after), SPELT, READABLE)
    assert said == verdict and why.startswith(reason) and bool(why) == bool(reason)
    roles = [role for role, words in (("old", asked.old), ("new", asked.new)) if words]
    assert list(values) == [f"text.{role}_{when}" for role in roles for when in ("before", "after")]


def test_words_elsewhere_count_for_nothing() -> None:
    elsewhere = Line("OPEN", (300.0, 100.0, 400.0, 140.0))
    longer = Line("CLOSED ON SUNDAYS", (60.0, 105.0, 320.0, 135.0))
    assert weigh([Wording("OPEN", "", SIGN)], [*_lines("OPEN"), elsewhere], [elsewhere], SPELT, READABLE)[1] == "keep"
    asked = Wording("OPEN", "CLOSED ON SUNDAYS", SIGN)
    assert weigh([asked], _lines("OPEN"), [longer], SPELT, READABLE)[1] == "keep"


def test_two_operations_have_numbers_of_their_own() -> None:
    values, verdict, _ = weigh([Wording("A1"), Wording("", "B2")], _lines("A1"), _lines("B2"), SPELT, READABLE)
    assert verdict == "keep" and {"text.old_after", "text.new_after2"} <= set(values)


def test_who_vouches() -> None:
    asked = [Wording("OPEN", "CLOSED")]
    assert says_all(asked, 1, 'Change "ME AND YOU" to "CLOSED".', True)
    assert not says_all(asked, 1, 'Change "OPEN" to "CLOSED" and make it red.', True)
    assert not says_all(asked, 2, 'Change "OPEN" to "CLOSED".', True)
    assert not says_all(asked, 1, 'Change "OPEN" to "CLOSED".', False)
    assert scores({}, "keep", "", True).voices == ("reader",) and scores({}, "keep", "", False).voices == ()
    assert scores({}, "unscored", "blind", True).voices == ()
    assert scores({}, "reject", "no", True).values == {"text.keep": 0.0}


def test_a_region_of_words_has_a_name_and_may_be_small() -> None:
    assert words_of_name(name_of_words('say "hi"')) == "say 'hi'" and words_of_name('a cup with text "A"') == ""
    box = (10.0, 10.0, 60.0, 30.0)  # 0.33 % of the photo
    words = [
        Region(class_name=name_of_words(word), bbox=box, score=score) for word, score in (("A", 0.95), ("B", 0.85))
    ]
    why = [one["remove"] for one in eligibility([*words, Region(class_name="cup", bbox=box, score=0.95)], 640, 480)]
    assert why[0] is None
    assert why[1] is not None and "may not be what its name says" in why[1]
    assert why[2] is not None and "has to cover more than 1 %" in why[2]


def _lines(words: str) -> list[Line]:
    return [Line(words, SIGN)] if words else []
