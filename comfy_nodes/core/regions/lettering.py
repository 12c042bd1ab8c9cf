"""How a region is called that is words: `text "OPEN"`, which an instruction can name as it stands."""

from __future__ import annotations

import re

_NAME = re.compile(r'text "(?P<words>[^"]+)"', re.IGNORECASE)


def name_of_words(words: str) -> str:
    """The region's name; double quotes among the words become single ones."""
    return 'text "{}"'.format(words.replace('"', "'"))


def words_of_name(name: str) -> str:
    """The words that a region of this name is; empty where it is something else."""
    found = _NAME.fullmatch(name.strip())
    return found["words"] if found else ""
