"""Names as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_nodes.models.queries import parse


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("cat", ["cat"]),
        ("cat, dog\nbus", ["cat", "dog", "bus"]),
        (" cat ,, dog ,\n\n , \r\nbus", ["cat", "dog", "bus"]),
        ('"pot, black", spoon', ["pot, black", "spoon"]),
        ('spoon, "pot, black"', ["spoon", "pot, black"]),
        ('the 5" pipe, a "red" bus', ['the 5" pipe', 'a "red" bus']),
        ('"say ""cheese""", cat', ['say "cheese"', "cat"]),
        ('"never closed, cat', ["never closed, cat"]),
        ("Cat, cat, CAT, dog", ["Cat", "dog"]),
        ("dining   table", ["dining table"]),
        ("咖啡杯, naïve café", ["咖啡杯", "naïve café"]),
        (", ".join(f"name {number}" for number in range(1000)), [f"name {number}" for number in range(1000)]),
    ],
)
def test_names(text: str, names: list[str]) -> None:
    assert parse(text) == names


@pytest.mark.parametrize("text", ["", " ", "\n\n", ",,,", '""', '"", " "'])
def test_no_name_is_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^the vocabulary is empty: [^\n]+$"):
        parse(text)


@given(st.lists(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1), min_size=1, unique_by=str.casefold))
def test_quoted_names_come_back(names: list[str]) -> None:
    assert parse("\n".join('"' + name.replace('"', '""') + '"' for name in names)) == names
