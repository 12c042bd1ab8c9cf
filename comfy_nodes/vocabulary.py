"""The names to look for, as people write them: one to a line, or with commas between."""

from __future__ import annotations

import csv


def parse(text: str) -> list[str]:
    """The names in a text, in order, each once.

    A name that holds a comma stands in double quotes: `"pot, black", spoon`. Case is kept, but `Cat` and `cat` are one
    name, since every detector here lowers case before it reads.

    Raises:
        ValueError: there is no name in it.
    """
    names: dict[str, str] = {}
    for line in text.splitlines():
        for field in next(csv.reader([line], skipinitialspace=True), []):
            name = " ".join(field.split())
            if name:
                names.setdefault(name.casefold(), name)
    if not names:
        raise ValueError("the vocabulary is empty: write the names to look for, one to a line or with commas between")
    return list(names.values())
