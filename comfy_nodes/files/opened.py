"""What an image widget names: whether it is there, and what is in it. For nodes whose list does not hold every file that
they open.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from functools import cache
from pathlib import Path

import folder_paths
import numpy as np
from PIL import Image

from ..core.photos import is_bare_png
from ..core.regions.annotation import Annotation, parse_annotation
from ..wires.sockets import PngFile


def check(image: str | None) -> bool | str:
    """True, or why the widget's value opens nothing. A wired value, None, is not known yet."""
    if image is not None and not folder_paths.exists_annotated_filepath(image):
        return f"Invalid image file: {image}"
    return True


def content(image: str) -> str:
    """Hash of the file that a widget's value names, so that another one of the same name runs the graph again."""
    return hashlib.sha256(Path(folder_paths.get_annotated_filepath(image)).read_bytes()).hexdigest()


def as_they_are(data: bytes, picture: Image.Image) -> tuple[PngFile, ...]:
    """A picture's file, where a copy of it would be what a sink makes of the picture; otherwise none.

    Args:
        data: the file.
        picture: what `photos.open_photo` gave of it.
    """
    return (PngFile(np.asarray(picture), data),) if is_bare_png(data) else ()


FOLDER = "editpairs-samples"


_BUNDLED = Path(__file__).resolve().parents[2] / "samples"


def names() -> list[str]:
    """The photos as `Load Edit Sample` lists them."""
    return [f"{FOLDER}/{Path(path).name}" for path in _annotations()]


def second_names() -> list[str]:
    """What `Load Second Image` lists: the photos, and cut-outs of what is on them."""
    return [*names(), *(f"{FOLDER}/{Path(path).name}" for path in _references())]


def _references() -> list[str]:
    return [f"references/{path.name}" for path in sorted((_BUNDLED / "references").glob("*.png"))]


def annotation_of(image: str) -> Annotation | None:
    """The hand-made annotation of a bundled photo, by the name that the widget holds."""
    folder, _, name = image.removesuffix(" [input]").rpartition("/")
    if folder != FOLDER:
        return None
    return next((one for path, one in _annotations().items() if Path(path).name == name), None)


@cache
def _annotations() -> dict[str, Annotation]:
    """Annotations by path, in the file's order."""
    lines = (_BUNDLED / "annotation.jsonl").read_text(encoding="utf-8").splitlines()
    parsed = (parse_annotation(json.loads(line)) for line in lines)
    return {annotation.path: annotation for annotation in parsed}


def place_in_input() -> None:
    """Copies the photos that are not there yet. A read-only input folder costs only the samples."""
    folder = Path(folder_paths.get_input_directory()) / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in [*_annotations(), *_references()]:
            target = folder / Path(path).name
            if not target.exists():
                shutil.copyfile(_BUNDLED / path, target)
    except OSError as error:
        logging.warning("EditPairs: the bundled samples are not available: %s", error)
