"""What an image widget names: whether it is there, and what is in it. For nodes whose list does not hold every file that
they open.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import folder_paths


def check(image: str | None) -> bool | str:
    """True, or why the widget's value opens nothing. A wired value, None, is not known yet."""
    if image is not None and not folder_paths.exists_annotated_filepath(image):
        return f"Invalid image file: {image}"
    return True


def content(image: str) -> str:
    """Hash of the file that a widget's value names, so that another one of the same name runs the graph again."""
    return hashlib.sha256(Path(folder_paths.get_annotated_filepath(image)).read_bytes()).hexdigest()
