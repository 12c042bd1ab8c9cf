"""Inputs that nobody meant well: each ends in a failed row or an end of the run, in one line that names it, and soon.

One table; a case builds an input in an empty folder and says what the line holds. Planned as the command plans it.
"""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.tasks import TASKS, task_named
from driver.batch import main
from driver.errors import RunError
from driver.inputs.quotas import Quotas, wanted_kinds
from driver.inputs.source import Source
from driver.samples import Aim, Planned, Sample, Unusable
from tests.unit.source_making import BOX, mask_picture, mask_rle, picture

pytestmark = pytest.mark.timeout(30)

Case = tuple[Callable[[Path], Path], str]
"""What builds an input, and what its line holds."""

DEEP = "[" * 3000 + "]" * 3000
GOOD: dict[str, Any] = {"path": "cup.jpg", "bbox": list(BOX)}


def text(content: str | bytes, name: str = "a.jsonl") -> Callable[[Path], Path]:
    """A file beside a good photo."""

    def build(folder: Path) -> Path:
        (folder / "cup.jpg").write_bytes(picture())
        (folder / name).write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
        return folder / name

    return build


def line(**fields: Any) -> Callable[[Path], Path]:
    return text(json.dumps({**GOOD, **fields}))


def region(**fields: Any) -> Callable[[Path], Path]:
    entry = {"class_name": "cup", "bbox": list(BOX), **fields}
    return text(json.dumps({"path": "cup.jpg", "segmentation": {"object": [entry]}}))


def folder(**files: bytes | None) -> Callable[[Path], Path]:
    """A folder with a marked photo and these files; `__` stands for a dot. None takes a file away."""

    def build(place: Path) -> Path:
        held = {"cup.jpg": picture(), "cup.mask.png": mask_picture()}
        for name, content in (held | {name.replace("__", "."): data for name, data in files.items()}).items():
            if content is not None:
                (place / name).write_bytes(content)
        return place

    return build


def tar(*members: tuple[str, bytes], cut: int | None = None, damage: tuple[int, bytes] | None = None) -> Callable[[Path], Path]:  # fmt: skip
    def build(place: Path) -> Path:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as opened:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                opened.addfile(info, io.BytesIO(data))
        data = bytearray(buffer.getvalue())
        if damage:
            data[damage[0] : damage[0] + len(damage[1])] = damage[1]
        (place / "a.tar").write_bytes(data[:cut])
        return place / "a.tar"

    return build


def special(kind: bytes, link: str = "") -> Callable[[Path], Path]:
    """A tar whose photo is no plain member."""

    def build(place: Path) -> Path:
        with tarfile.open(place / "a.tar", "w") as opened:
            info = tarfile.TarInfo("cup.jpg")
            info.type, info.linkname = kind, link
            opened.addfile(info)
        return place / "a.tar"

    return build


def parquet(columns: dict[str, Any] | None = None, cut: int | None = None, damage: int | None = None) -> Callable[[Path], Path]:  # fmt: skip
    def build(place: Path) -> Path:
        (place / "cup.jpg").write_bytes(picture())
        table = pa.table({"image": [picture()], "bbox": [list(BOX)]} if columns is None else columns)
        pq.write_table(table, place / "a.parquet", compression="none")
        data = bytearray((place / "a.parquet").read_bytes())
        if damage is not None:
            data[damage] ^= 0xFF
        (place / "a.parquet").write_bytes(data[:cut])
        return place / "a.parquet"

    return build


def beside(name: str, make: Callable[[Path], object]) -> Callable[[Path], Path]:
    """A folder of a marked photo in which something lies that is no plain file."""

    def build(place: Path) -> Path:
        (place / "photos").mkdir()
        folder()(place / "photos")
        (place / "secret.jpg").write_bytes(picture())
        (place / "secret.txt").write_bytes(b"secret")
        (place / "photos" / name).unlink(missing_ok=True)
        make(place / "photos" / name)
        return place / "photos"

    return build


def alone(name: str, make: Callable[[Path], object]) -> Callable[[Path], Path]:
    """The input itself is no plain file."""

    def build(place: Path) -> Path:
        make(place / name)
        return place / name

    return build


def bound(path: Path) -> None:
    """A socket at a path, which may be longer than a socket's own."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    finally:
        os.chdir(here)


def to(target: str) -> Callable[[Path], object]:
    return lambda path: path.symlink_to(target)


def sparse(size: int, start: bytes = b"") -> Callable[[Path], object]:
    def make(path: Path) -> None:
        with path.open("wb") as file:
            file.write(start)
            file.truncate(size)

    return make


def png(width: int, height: int, kind: int = 2) -> bytes:
    """A PNG that claims a size and holds nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def stored(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def classes(*shades: int) -> bytes:
    return stored(np.repeat(np.array([shades], np.uint8), 10, 1).repeat(30, 0))


PIPE = "a pipe, a device or a socket"
OUT = "a link out of the folder"
BIG = 10**30

ANNOTATIONS: dict[str, Case] = {
    "empty": (text(""), "no photos in it"),
    "blank lines": (text("\n\n \n"), "no photos in it"),
    "NULs": (text("\0" * 100), "not JSON"),
    "zip": (text(b"PK\x03\x04" + bytes(60)), "not JSON"),
    "a photo as lines": (text(picture()), "cannot be read as UTF-8 text"),
    "UTF-16 lines": (text(json.dumps(GOOD).encode("utf-16")), "save it as UTF-8"),
    "UTF-16 list": (text(json.dumps([GOOD]).encode("utf-16"), "a.json"), "save it as UTF-8"),
    "cp1252": (text('{"path": "tasse à café.jpg"}'.encode("cp1252")), "save it as UTF-8"),
    "cp1252 list": (text('[{"path": "tasse à café.jpg"}]'.encode("cp1252"), "a.json"), "save it as UTF-8"),
    "deep line": (text(DEEP), "nested more than 100 deep"),
    "deep list": (text(DEEP, "a.json"), "nested more than 100 deep"),
    "deep objects": (text('{"path":' * 3000 + "1" + "}" * 3000, "a.json"), "nested more than 100 deep"),
    "deep enough for Python": (text('{"path": "cup.jpg", "routes": ' + "[" * 400 + "]" * 400 + "}"), "nested more than 100"),
    "deep in a field": (text('[{"path": "cup.jpg", "writing": ' + "[" * 400 + "]" * 400 + "}]", "a.json"), "nested more than 100"),
    "brackets without end": (text("[" * 1_000_000, "a.json"), "nested more than 100 deep"),
    "cut off": (text(json.dumps([GOOD, GOOD])[:-5], "a.json"), "cut off"),
    "two values": (text("[] []", "a.json"), "not JSON"),
    "NaN": (text('[{"path": NaN}]', "a.json"), "not JSON"),
    "a long number": (text("1" * 5000), "not JSON"),
    "a number": (text("5"), "an annotation is a JSON object"),
    "null": (text("null"), "an annotation is a JSON object"),
    "a list of lists": (text("[[], []]", "a.json"), "an annotation is a JSON object"),
    "a name of two lines": (line(path="a\nb.jpg"), r"a\nb.jpg"),
    "no path": (text('{"bbox": [1, 2, 3, 4]}'), "no path"),
    "path is a list": (line(path=["cup.jpg"]), "no path"),
    "path is NUL": (line(path="\0"), "leaves the image root"),
    "path is half a character": (line(path="\ud800.jpg"), "leaves the image root"),
    "path upwards": (line(path="../../etc/passwd"), "leaves the image root"),
    "path to a device": (line(path="/dev/zero"), "leaves the image root"),
    "path to the root": (line(path="."), "leaves the image root"),
    "path without end": (line(path="a" * 300 + ".jpg"), "File name too long"),
    "path is gone": (line(path="gone.jpg"), "No such file"),
    "reference upwards": (line(reference="../x.png"), "leaves the image root"),
    "box is text": (line(bbox="wide"), "bbox"),
    "box of three": (line(bbox=[1, 2, 3]), "bbox"),
    "box of infinities": (text('{"path": "cup.jpg", "bbox": [0, 0, Infinity, NaN]}'), "not finite"),
    "box of great numbers": (line(bbox=[BIG, BIG, BIG, BIG]), "no area"),
    "box backwards": (line(bbox=[20, 20, 5, 5]), "no area"),
    "box outside": (line(bbox=[400, 300, 500, 400]), "no area"),
    "box of objects": (line(bbox=[{}, {}, {}, {}]), "bbox"),
    "class is a number": (line(class_name=5), "class_name is not a text"),
    "class of two lines": (region(class_name="coffee\ncup"), "line break"),
    "class of NULs": (region(class_name="a\0"), "control characters"),
    "class of half a character": (region(class_name="\udfff"), "half a character"),
    "instruction is a list": (line(instruction=["a"]), "instruction is not a text"),
    "instruction with NUL": (line(instruction="a\0b"), "control characters"),
    "instruction of half a character": (line(instruction="\ud83d"), "half a character"),
    "resolution of great numbers": (line(resolution={"width": BIG, "height": BIG}), "annotated on"),
    "resolution is infinite": (text('{"path": "cup.jpg", "resolution": {"width": Infinity, "height": 5}}'), "resolution"),
    "resolution of text": (line(resolution="40x30"), "resolution"),
    "segmentation is text": (line(segmentation="x"), "segmentation"),
    "another box format": (line(segmentation={"box_format": "xywh"}), "box_format"),
    "regions that are none": (line(segmentation={"object": [None, 5, "x", []]}), "a region is a JSON object"),
    "unknown groups": (line(segmentation={"things": [{"bbox": [1, 2, 3, 4]}]}), "unknown"),
    "score is text": (region(score="high"), "score"),
    "mask is a number": (line(mask=5, bbox=None), "mask"),
    "mask without counts": (line(mask={"size": [30, 40]}, bbox=None), "mask"),
    "mask of no size": (line(mask={"size": [0, 0], "counts": ""}, bbox=None), "no area"),
    "mask of great size": (line(mask={"size": [46340, 46340], "counts": "0"}, bbox=None), "larger than any photo"),
    "mask of greater size": (line(mask={"size": [BIG, BIG], "counts": "0"}, bbox=None), "mask"),
    "mask that claims a gigapixel": (line(mask={"size": [13000, 13000], "counts": "PPPPZX4"}, bbox=None), "broken mask RLE"),
    "mask of endless runs": (line(mask={"size": [30, 40], "counts": "o" * 100_000}, bbox=None), "broken mask RLE"),
    "mask of many runs": (line(mask={"size": [30, 40], "counts": "1" * 1_000_000}, bbox=None), "broken mask RLE"),
    "mask whose sum overflows": (line(mask={"size": [30, 40], "counts": "oooooo?" * 2000}, bbox=None), "broken mask RLE"),
    "mask of other letters": (line(mask={"size": [30, 40], "counts": "é ~"}, bbox=None), "broken mask RLE"),
    "mask cut off": (line(mask={"size": [30, 40], "counts": str(mask_rle()["counts"])[:-1]}, bbox=None), "broken mask RLE"),
    "mask of another photo": (region(mask={"size": [60, 80], "counts": "PV2"}), "annotated on"),
    "mask that marks nothing": (region(mask={"size": [30, 40], "counts": "`U1"}), "marks nothing"),
    "routes of another shape": (line(routes=[1]), "routes"),
    "task file without words": (text(json.dumps({"original_path": "cup.jpg", "edit_type": "remove"})), "no instruction"),
    "task file of no task": (text(json.dumps({"original_path": "cup.jpg", "edit_type": {"a": 1}})), "no task of ImgEdit"),
    "task file without a path": (text(json.dumps({"original_path": None, "edit_type": "remove", "edit_prompt": "x"})), "no path"),
    "provenance of another shape": (line(editpairs={"key": 1}), "editpairs"),
    "the same twice": (text(f"{json.dumps(GOOD)}\n" * 2), "twice"),
    "a pipe": (alone("a.jsonl", os.mkfifo), PIPE),
    "a pipe as a list": (alone("a.json", os.mkfifo), PIPE),
    "a socket": (alone("a.jsonl", bound), PIPE),
    "a device": (alone("a.jsonl", to("/dev/zero")), PIPE),
    "a link in a circle": (alone("a.jsonl", to("a.jsonl")), "no such file"),
    "a line without end": (alone("a.jsonl", sparse(200 << 20, b'{"path": "')), "an object of more than 64 MB"),
    "an object without end": (alone("a.json", sparse(200 << 20, b'{"path": "' + b"x" * 1000)), "not JSON"),
}  # fmt: skip

FOREIGN: dict[str, Case] = {
    "COCO": (text(json.dumps({"info": {}, "images": [{"id": 1}], "annotations": [], "categories": []}), "a.json"), "COCO"),
    "COCO, sorted": (text(json.dumps({"annotations": [{}], "categories": [], "images": []}), "a.json"), "COCO"),
    "COCO's results": (text(json.dumps([{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]}]), "a.json"), "COCO"),
    "LabelMe": (text(json.dumps({"version": "5", "shapes": [], "imagePath": "cup.jpg", "imageData": None}), "a.json"), "LabelMe"),
    "Label Studio": (text(json.dumps([{"id": 1, "data": {"image": "x"}, "annotations": []}]), "a.json"), "Label Studio"),
    "Label Studio, short": (text(json.dumps([{"image": "x", "annotator": 1, "lead_time": 2}]), "a.json"), "Label Studio"),
    "VIA": (text(json.dumps({"cup.jpg1": {"filename": "cup.jpg", "size": 1, "regions": []}}), "a.json"), "VIA"),
    "VIA's project": (text(json.dumps({"_via_settings": {}, "_via_img_metadata": {}}), "a.json"), "VIA"),
    "CreateML": (text(json.dumps([{"image": "cup.jpg", "annotations": []}]), "a.json"), "CreateML"),
    "imagefolder": (text(json.dumps({"file_name": "cup.jpg", "text": "a cup"}), "metadata.jsonl"), "imagefolder"),
    "img2dataset": (text(json.dumps({"caption": "a cup", "url": "x"}), "a.json"), "img2dataset"),
    "Pascal VOC": (text("<annotation><filename>cup.jpg</filename></annotation>", "a.xml"), "Pascal VOC"),
    "CVAT": (text('<?xml version="1.0"?>\n<annotations><version>1.1</version></annotations>', "a.xml"), "no photos"),
    "Open Images": (text("ImageID,Source,LabelName,XMin,XMax,YMin,YMax\n", "a.csv"), "no photos"),
    "VIA's table": (text("filename,file_size,region_count,region_shape_attributes\n", "a.csv"), "VIA"),
    "YOLO": (text("0 0.5 0.5 0.1 0.1\n", "cup.txt"), "YOLO"),
    "YOLO's data": (text("train: images\nnc: 2\nnames: [a, b]\n", "data.yaml"), "YOLO"),
    "LabelMe beside a photo": (folder(cup__mask__png=None, cup__json=b'{"shapes": [], "imagePath": "cup.jpg"}'), "in the LabelMe annotations"),
    "Pascal VOC beside a photo": (folder(cup__mask__png=None, cup__xml=b"<annotation></annotation>"), "no filename"),
    "COCO beside photos": (folder(cup__mask__png=None, all__json=b'{"images": [], "annotations": []}'), "no images in it"),
    "YOLO beside a photo": (folder(cup__txt=b"0 0.5 0.5 0.1 0.1"), "box labels"),
    "a folder of YOLO's": (folder(cup__jpg=None, cup__mask__png=None, cup__txt=b"0 0.5 0.5 0.1 0.1"), "YOLO"),
    "LabelMe in a tar": (tar(("cup.jpg", picture()), ("cup.json", b'{"shapes": [], "imagePath": "x"}')), "LabelMe"),
}  # fmt: skip

MARKED = [("cup.jpg", picture()), ("cup.mask.png", mask_picture())]
TARS: dict[str, Case] = {
    "empty file": (lambda place: text(b"", "a.tar")(place), "not a tar"),
    "no tar": (lambda place: text(b"x" * 2000, "a.tar")(place), "not a tar"),
    "gzip": (lambda place: text(b"\x1f\x8b" + bytes(600), "a.tar")(place), "not a tar"),
    "nothing in it": (tar(), "no photos in it"),
    "cut in a photo": (tar(("cup.jpg", bytes(9000)), cut=2000), "cut off"),
    "cut before its end": (tar(*MARKED, cut=2048), "cut off"),
    "a damaged header": (tar(*MARKED, damage=(1536, b"\xff" * 200)), "damaged"),
    "a size that lies": (tar(("cup.jpg", picture()), damage=(124, b"77777777777\0")), "a.tar"),
    "a negative size": (tar(("cup.jpg", picture()), damage=(124, b"\xff" * 12)), "a.tar"),
    "no photo": (tar(("cup.txt", b"x")), "no photo"),
    "two photos": (tar(("cup.jpg", picture()), ("cup.png", picture(kind="PNG"))), "several photos"),
    "the same member twice": (tar(*MARKED, *MARKED), "two members called"),
    "an empty photo": (tar(("cup.jpg", b"")), "the file is empty"),
    "no picture": (tar(("cup.jpg", b"\xff\xd8" + bytes(40)), MARKED[1]), "cup.jpg"),
    "a mask that is none": (tar(MARKED[0], ("cup.mask.png", b"white")), "not an image"),
    "a mask in classes": (tar(MARKED[0], ("cup.mask.png", classes(0, 60, 130, 255))), "several shades"),
    "a json that is none": (tar(*MARKED, ("cup.json", b"{")), "not JSON"),
    "a deep json": (tar(*MARKED, ("cup.json", DEEP.encode())), "nested more than 100"),
    "a json of a list": (tar(*MARKED, ("cup.json", b"[1]")), "not an object"),
    "a json of cp1252": (tar(*MARKED, ("cup.json", '{"class_name": "café"}'.encode("cp1252"))), "not JSON"),
    "a json with a wrong task": (tar(*MARKED, ("cup.json", b'{"original_path": "x", "edit_type": 5}')), "no task"),
    "words of GBK": (tar(*MARKED, ("cup.txt", "把杯子拿走".encode("gbk"))), "save it as UTF-8"),
    "words without end": (tar(*MARKED, ("cup.txt", b"x" * 10_000_000)), "longer than 64 KB"),
    "a link": (special(tarfile.SYMTYPE, "/etc/passwd"), "no plain file"),
    "a hard link": (special(tarfile.LNKTYPE, "../cup.jpg"), "no plain file"),
    "a device": (special(tarfile.CHRTYPE), "no plain file"),
    "a pipe": (special(tarfile.FIFOTYPE), "no plain file"),
    "the input is a pipe": (alone("a.tar", os.mkfifo), PIPE),
    "the input is a device": (alone("a.tar", to("/dev/zero")), PIPE),
}  # fmt: skip

ROW = {"image": [picture()], "bbox": [list(BOX)]}
PARQUETS: dict[str, Case] = {
    "empty file": (lambda place: text(b"", "a.parquet")(place), "not a parquet file"),
    "no parquet": (lambda place: text(b"PAR1" + bytes(600) + b"PAR1", "a.parquet")(place), "not a parquet file"),
    "cut off": (parquet(cut=300), "not a parquet file"),
    "a damaged foot": (parquet(damage=-9), "a.parquet"),
    "a damaged page": (parquet(damage=5), "a.parquet"),
    "no rows": (parquet({"image": pa.array([], pa.binary())}), "no photos in it"),
    "no columns of photos": (parquet({"number": [1]}), "no column of photos"),
    "photos that are numbers": (parquet({"image": [1, 2]}), "no column of photos"),
    "a photo that is null": (parquet({"image": pa.array([None], pa.binary())}), "is empty"),
    "a photo that is empty": (parquet({"image": [b""]}), "is empty"),
    "a photo that is none": (parquet({"image": [b"x" * 90]}), "not an image"),
    "a photo that is a bomb": (parquet({"image": [png(60000, 60000)]}), "larger than 179 megapixels"),
    "a list of no photos": (parquet({"image": pa.array([[]], pa.list_(pa.binary()))}), "is empty"),
    "a path that is gone": (parquet({"image": ["gone.jpg"]}), "No such file"),
    "a path upwards": (parquet({"image": ["../../etc/passwd"]}), "leaves the image root"),
    "a path of ours": (parquet({"image": ["a.parquet#0/image.jpg"]}), "No such file"),
    "a mask that is none": (parquet({**ROW, "mask": [b"white"]}), "not an image"),
    "a mask in classes": (parquet({**ROW, "mask": [classes(0, 60, 130, 255)]}), "several shades"),
    "a mask of counts alone": (parquet({"image": [picture()], "mask": [{"size": [30, 40], "counts": "~"}]}), "broken mask RLE"),
    "a mask of great size": (parquet({"image": [picture()], "mask": [{"size": [2**31, 2**31], "counts": "0"}]}), "larger than any photo"),
    "a box of two": (parquet({**ROW, "bbox": [[1.0, 2.0]]}), "bbox"),
    "a box of NaN": (parquet({**ROW, "bbox": [[1.0, 2.0, float("nan"), 4.0]]}), "not finite"),
    "a class of two lines": (parquet({**ROW, "class_name": ["coffee\ncup"]}), "line break"),
    "words with NUL": (parquet({**ROW, "prompt": ["a\0b"]}), "control characters"),
    "words that are numbers": (parquet({**ROW, "prompt": [5]}), "instruction is not a text"),
    "the same id twice": (parquet({"id": ["a", "a"], "image": [picture()] * 2, "bbox": [list(BOX)] * 2}), "twice"),
    "a reference of numbers": (parquet({**ROW, "reference": [5]}), "no picture and no path"),
    "the input is a pipe": (alone("a.parquet", os.mkfifo), PIPE),
    "the input is a device": (alone("a.parquet", to("/dev/zero")), PIPE),
}  # fmt: skip

FOLDERS: dict[str, Case] = {
    "nothing in it": (lambda place: place, "no photos in it"),
    "gone": (lambda place: place / "gone", "no such file"),
    "an unknown kind": (text(b"x", "a.docx"), "give a folder of photos"),
    "packed": (text(b"\x1f\x8b", "a.tar.gz"), "unpack it first"),
    "several kinds": (folder(a__tar=b"x"), "give one kind"),
    "a photo of nothing": (folder(cup__jpg=b""), "the file is empty"),
    "a photo of NULs": (folder(cup__jpg=bytes(500)), "not an image"),
    "a photo that is text": (folder(cup__jpg=b"<svg></svg>"), "not an image"),
    "a photo cut off": (folder(cup__jpg=picture()[:100]), "cup.jpg"),
    "a photo that is a bomb": (folder(cup__jpg=png(2**31 - 1, 2**31 - 1)), "larger than 179 megapixels"),
    "a photo that moves": (folder(cup__gif=b"", cup__mask__png=None, cup__jpg=None), "the file is empty"),
    "a mask without photo": (folder(jug__mask__png=mask_picture()), "without its photo"),
    "a mask that is black": (folder(cup__mask__png=classes(0, 0, 0, 0)), "marks nothing"),
    "a mask of one dark colour": (folder(cup__mask__png=classes(0, 1, 0, 0)), "marks nothing"),
    "a mask of class numbers": (folder(cup__mask__png=classes(0, 1, 255, 0)), "several shades"),
    "a mask of another size": (folder(cup__mask__png=stored(np.full((9, 9), 255, np.uint8))), "annotated on"),
    "a mask of floats": (folder(cup__mask__png=stored(np.ones((30, 40), np.float32), "TIFF")), "floating-point"),
    "a mask of photos": (folder(cup__mask__png=picture("red")), "has colours"),
    "a mask that is a bomb": (folder(cup__mask__png=png(60000, 60000, 0)), "larger than 179 megapixels"),
    "words of cp1252": (folder(cup__txt="la tasse à café".encode("cp1252")), "save it as UTF-8"),
    "words of UTF-16": (folder(cup__txt="take it".encode("utf-16-le")), "control characters"),
    "words with escapes": (folder(cup__txt=b"\x1b]0;x\x07"), "control characters"),
    "words of JSON": (folder(cup__txt=b'{"caption": "cup"}'), "holds JSON"),
    "words of deep JSON": (folder(cup__txt=DEEP.encode()), "holds JSON"),
    "a photo is a pipe": (beside("jug.jpg", os.mkfifo), PIPE),
    "a photo is a socket": (beside("jug.jpg", bound), PIPE),
    "a photo is a device": (beside("jug.jpg", to("/dev/zero")), PIPE),
    "a photo is a link to nowhere": (beside("jug.jpg", to("nowhere")), "No such file"),
    "a photo is a link out": (beside("jug.jpg", to("../secret.jpg")), OUT),
    "a photo is a link in a circle": (beside("jug.jpg", to("jug.jpg")), "symbolic links"),
    "a mask is a pipe": (beside("cup.mask.png", os.mkfifo), PIPE),
    "a mask is a device": (beside("cup.mask.png", to("/dev/urandom")), PIPE),
    "a mask is a link out": (beside("cup.mask.png", to("../secret.jpg")), OUT),
    "a mask is larger than any": (beside("cup.mask.png", sparse(3 << 30, b"\x89PNG")), "larger than 2 GB"),
    "words are a pipe": (beside("cup.txt", os.mkfifo), PIPE),
    "words are a link out": (beside("cup.txt", to("../secret.txt")), OUT),
    "words are a device": (beside("cup.txt", to("/dev/zero")), PIPE),
    "words without end": (beside("cup.txt", sparse(1 << 30, b"x")), "longer than 64 KB"),
}  # fmt: skip

CASES: dict[str, Case] = {
    f"{group}: {name}": case
    for group, table in {
        "annotation": ANNOTATIONS, "foreign": FOREIGN, "tar": TARS, "parquet": PARQUETS, "folder": FOLDERS
    }.items()
    for name, case in table.items()
}  # fmt: skip


def lines(planned: list[Planned]) -> list[str]:
    return [one.failure.message for one in planned if isinstance(one, Unusable)]


def planned_by(plan: Callable[[Source], Any], place: Path) -> list[str]:
    """What is said of an input when it is planned and the photos of its samples are read; others than one line fail."""
    try:
        source = Source(place)
        planned = list(plan(source))
        source.fingerprint()
    except RunError as error:
        said = [str(error)]
    else:
        said = lines(planned)
        for one in planned:
            if isinstance(one, Sample):
                try:
                    source.read(one.file)
                except PhotoError as error:
                    said.append(str(error))
    for one in said:
        assert one.strip()
        assert "\n" not in one
        assert "Traceback" not in one
        assert len(one) < 12_000
    return said


@pytest.mark.parametrize("name", CASES)
def test_it_ends_in_one_line(name: str, tmp_path: Path) -> None:
    build, why = CASES[name]
    said = planned_by(lambda source: source.plan([Aim(task_named("remove"))], "all", 0), build(tmp_path))
    assert any(why in one for one in said), said


OTHER_WAYS: dict[str, Callable[[Source], Any]] = {
    "every task": lambda source: source.plan([Aim(task, frozenset({"edited"})) for task in TASKS.values()], "one", 0),
    "kinds": lambda source: source.plan_kinds(Quotas(wanted_kinds("remove,add"), 1), 0),
    "annotate": lambda source: source.unmarked(),
}


@pytest.mark.parametrize("way", OTHER_WAYS)
def test_however_it_is_planned(way: str, tmp_path: Path) -> None:
    for number, (build, _) in enumerate(CASES.values()):
        place = tmp_path / str(number)
        place.mkdir()
        planned_by(OTHER_WAYS[way], build(place))


COMMAND = (
    "annotation: a pipe", "annotation: deep list", "annotation: a line without end", "annotation: UTF-16 list",
    "foreign: COCO", "foreign: Pascal VOC", "foreign: YOLO's data", "foreign: a folder of YOLO's", "tar: empty file",
    "tar: the input is a device", "parquet: no parquet", "parquet: no columns of photos", "folder: gone",
    "folder: several kinds", "folder: packed",
)  # fmt: skip


@pytest.mark.parametrize("name", COMMAND)
def test_the_command_ends_before_a_server_starts(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`auto` goes through the input for its tasks."""
    (tmp_path / "in").mkdir()
    given = str(CASES[name][0](tmp_path / "in"))
    assert main(["--workflow", "auto", "--input", given, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("batch.py: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
