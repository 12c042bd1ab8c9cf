"""Nothing that a server or a file's name says moves the cursor, paints, or sets a title."""

from __future__ import annotations

import pytest

from driver.terminal import counted, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a \x1b[31mred\x1b[0m word", "a red word"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x9b2Jgone", "gone"),
        ("\x1b]0;title\x07seen", "seen"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;cm0gLXJm\x07seen", "seen"),
        ("\x1b]0;never closed", ""),
        ("\x1bPq#0\x1b\\seen", "seen"),
        ("\x1bcreset", "reset"),
        ("one\r\ntwo\x08\x07\x00", "one two "),
        ("photo\u202egnp.exe", "photo gnp.exe"),
        ("Größe 中文 🙂", "Größe 中文 🙂"),
    ],
)
def test_it_is_a_plain_line(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_one_thing_is_one() -> None:
    assert [counted(1, "sample", "has"), counted(2, "sample", "has")] == ["1 sample has", "2 samples have"]
    assert [counted(1, "sample"), counted(0, "sample")] == ["1 sample", "0 samples"]
