"""Captions in the place of photos: what pictures are painted from, or looked for by. A text file, a caption a line, or JSON
lines with a `caption` each.

A caption's photo is a blank canvas of the size that is wanted, made here: so it goes through a graph as photos do, and
`Load Edit Sample` gives out how large a picture is asked for.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image

from comfy_nodes.core import photos, texts
from comfy_nodes.core.regions.annotation import Annotation
from comfy_nodes.core.tasks import EMBED, SYNTHESIZE

from .. import bounded_json
from ..errors import RunError
from ..places import Locator, path_of
from .photo import InputError, Photo, Places, Skip
from .storage import Storage, unreadable
from .words import MAX_BYTES, no_words

if TYPE_CHECKING:
    from .find import Input

NAMES = ("caption", "prompt", "text")
"""What a caption may be called in JSON; the first that is there counts."""

PHOTO_NAMES = frozenset({"path", "original_path", "file_name", "filename", "file", "image", "image_id", "url"})
"""Fields of JSON lines that are about photos: their captions are not alone."""

SIDE = 1024
"""Pixels of a canvas of which nobody says how large it is: Z-Image's and Qwen-Image's own size."""

SIDES = range(64, 4097)
"""Pixels that a canvas may have on a side. Ours."""

_LOOKED_AT = 16
"""Lines that are looked at for the first with something on it. Ours."""

_CANVAS = re.compile(r"canvas-(\d+)x(\d+)\.png")


class CaptionReader:
    """Captions, one after the other."""

    distant = False

    def __init__(self, given: Input):
        self._input = given
        self.places = Places()

    def remedy(self, photo: Photo) -> str:
        return "captions have no regions"

    def photos(self, task: str, edited: bool = False, skip: Skip | None = None) -> Iterator[Photo]:
        if task not in (SYNTHESIZE.name, EMBED.name):
            raise RunError(
                f"--input {self._input.given}: holds captions, no photos: --workflow synthesize paints some, and its --output "
                "is an --input"
            )
        skip = skip or Skip()
        for file in self._input.files():
            name = photos.readable(file)
            try:
                with self._input.storage.open(file) as opened:
                    for number, line in enumerate(_lines(opened), 1):
                        if line.strip() and not skip.pass_one():
                            yield _photo(line, PurePosixPath(file).suffix.lower() == ".jsonl", f"{name}, line {number}")
            except OSError as error:
                raise RunError(f"--input {self._input.given}: {name}: {unreadable(error)}") from None
            except InputError as error:
                raise RunError(f"--input {self._input.given}: {name} {error}") from None

    def open(self, file: Locator) -> BinaryIO:
        return io.BytesIO(self.read(file))

    def stamp(self, file: Locator) -> str:
        return path_of(file)

    def read(self, file: Locator) -> bytes:
        found = _CANVAS.fullmatch(path_of(file))
        if not found:
            raise FileNotFoundError(file)
        return _canvas(int(found[1]), int(found[2]))


def are_captions(storage: Storage, names: tuple[str, ...]) -> bool:
    """Whether files are captions: text files, or JSON lines that name no photo."""
    ends = {PurePosixPath(name).suffix.lower() for name in names}
    if ends != {".jsonl"}:
        return ends == {".txt"}
    item = _first(storage, names[0])
    if not isinstance(item, dict) or not PHOTO_NAMES.isdisjoint(item):
        return False
    return any(isinstance(item.get(name), str) for name in NAMES)


def lists_photos(storage: Storage, name: str) -> bool:
    """Whether JSON lines say of photos beside them where they come from, as ours do of what was painted or found."""
    item = _first(storage, name)
    return item == "" or (isinstance(item, dict) and "path" in item and bool({"synthetic", "found"} & item.keys()))


def _first(storage: Storage, name: str) -> Any:
    """What the first line says that has something on it; "" where none has, None where it is no JSON."""
    try:
        with storage.open(name) as opened:
            line = next((one for one in islice(_lines(opened), _LOOKED_AT) if one.strip()), b"")
        return bounded_json.loads(line.decode()) if line else ""
    except (OSError, ValueError, InputError):
        return None


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; of one that is too long, so much that this can be seen.

    Raises:
        InputError: it is UTF-16, which other tools write without saying so.
    """
    start = file.read(3)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError("cannot be read as UTF-8 text; save it as UTF-8")
    file.seek(3 if start == codecs.BOM_UTF8 else 0)
    while line := file.readline(MAX_BYTES + 1):
        yield line
        while len(line) > MAX_BYTES and not line.endswith(b"\n"):
            line = file.readline(MAX_BYTES + 1)


def _photo(line: bytes, is_json: bool, where: str) -> Photo:
    try:
        text, size, told = _object(line, where) if is_json else (_words(line, where), (SIDE, SIDE), "")
    except InputError as error:
        return Photo(file="", source_id=where, problem=str(error))
    source_id = _id(text, size, told)
    known = Annotation(path=source_id, size=size, regions=(), captions=(text,))
    return Photo(file=f"canvas-{size[0]}x{size[1]}.png", source_id=source_id, annotation=known)


def _object(line: bytes, where: str) -> tuple[str, tuple[int, int], str]:
    """Caption, size and id of a JSON line."""
    try:
        item = bounded_json.loads(line.decode())
    except ValueError as error:
        raise InputError(f"{where}: not JSON ({error})") from None
    name = next((one for one in NAMES if isinstance(item, dict) and isinstance(item.get(one), str)), None)
    if name is None:
        raise InputError(
            f'{where}: no caption in it; write an object with a caption, such as {{"caption": "a red cup"}}'
        )
    size = tuple(item.get(side, SIDE) for side in ("width", "height"))
    if not all(type(side) is int and side in SIDES for side in size):
        bounds = f"{SIDES.start} to {SIDES.stop - 1}"
        raise InputError(
            f"{where}: width and height are whole numbers of pixels, {bounds}, not {size[0]!r} and {size[1]!r}"
        )
    text = _words(item[name].encode("utf-8", "replace"), f"{where}: its {name}")
    if not text:
        raise InputError(f"{where}: its {name} is empty")
    return text, (size[0], size[1]), str(item.get("id", ""))


def _words(line: bytes, where: str) -> str:
    """
    Raises:
        InputError: it is no caption.
    """
    if len(line) > MAX_BYTES:
        raise InputError(f"{where} is longer than {MAX_BYTES // 1024} KB, which no caption is")
    try:
        text = line.decode().strip()
    except UnicodeDecodeError:
        raise InputError(f"{where} cannot be read as UTF-8 text; save it as UTF-8") from None
    if why := texts.fault(text) or no_words(text):
        raise InputError(f"{where} {why.replace('an instruction', 'a caption')}; write the words alone")
    return text


def _id(text: str, size: tuple[int, int], told: str) -> str:
    """A name that says what it is, of its own for each caption, wherever it stands."""
    start = "-".join(re.findall("[a-z0-9]+", text.lower())[:6]) or "caption"
    given: list[Any] = [text, size, told]
    return f"{start[:48]}-{hashlib.sha256(repr(given).encode()).hexdigest()[:12]}"


@lru_cache(64)
def _canvas(width: int, height: int) -> bytes:
    """A white PNG."""
    buffer = io.BytesIO()
    Image.new("L", (width, height), 255).save(buffer, "PNG")
    return buffer.getvalue()
