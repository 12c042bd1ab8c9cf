"""Webdataset tars as input: members grouped into samples, read where they lie, and tars that are broken in every way."""

from __future__ import annotations

import io
import json
import random
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.tasks import task_named
from driver.errors import RunError
from driver.inputs.source import Source
from tests.unit.source_making import BOX, STYLE, ids, mask_picture, mask_rle, picture, plan, reasons, samples


def pack(path: Path, *members: tuple[str, bytes], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **options) as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def marked(name: str, colour: str = "grey") -> list[tuple[str, bytes]]:
    return [(f"{name}.jpg", picture(colour)), (f"{name}.mask.png", mask_picture())]


def test_a_sample_with_all_its_members(tmp_path: Path) -> None:
    told = {"class_name": "cup", "license": "CC0-1.0", "prompt": "unused", "url": "https://example.org/cup"}
    pack(
        tmp_path / "t.tar",
        ("trip/cup.json", json.dumps(told).encode()),
        ("trip/cup.webp", picture(kind="WEBP")),
        ("trip/cup.mask.png", mask_picture()),
        ("trip/cup.ref.png", picture("red", "PNG")),
        ("trip/cup.txt", "\ufeffTake it away.\n".encode()),
        ("trip/cup.cls", b"7"),
    )
    source = Source(tmp_path / "t.tar")
    (sample,) = samples(plan(source))
    assert (sample.annotation.path, sample.instruction) == ("t.tar/trip/cup.webp", "Take it away.")
    assert (source.read(sample.file), source.suffix(sample.file)) == (picture(kind="WEBP"), ".webp")
    assert (source.read(sample.reference), source.suffix(sample.reference)) == (picture("red", "PNG"), ".png")
    region = sample.annotation.regions[0]
    assert (region.bbox, region.class_name, sample.annotation.source_licence) == (BOX, "cup", "CC0-1.0")
    assert source.root is None


REGION = {"class_name": "cup", "bbox": list(BOX), "mask": mask_rle()["counts"]}


@pytest.mark.parametrize(
    "told",
    [
        {"path": "elsewhere.jpg", "resolution": {"width": 40, "height": 30}, "segmentation": {"object": [REGION]}},
        {"cup": {"path": "x.jpg", "resolution": {"width": 40, "height": 30}, "segmentation": {"object": [REGION]}}},
        {"class_name": "cup", "bbox": list(BOX), "mask": mask_rle(), "instruction": "Take it away."},
        {"original_path": "/abs/x.jpg", "resolution": {"width": 40, "height": 30}, "edit_obj": REGION,
         "edit_type": "remove", "edit_prompt": "Take it away.", "edit_result": None},
    ],
)  # fmt: skip
def test_every_spelling_of_the_json(told: dict[str, Any], tmp_path: Path) -> None:
    pack(tmp_path / "t.tar", ("cup.jpg", picture()), ("cup.json", json.dumps(told).encode()))
    planned = plan(Source(tmp_path / "t.tar"))
    assert reasons(planned) == {}
    (sample,) = samples(planned)
    assert sample.annotation.path == "t.tar/cup.jpg"
    assert [(one.class_name, one.bbox) for one in sample.annotation.regions] == [("cup", BOX)]
    assert sample.instruction == ("Take it away." if "instruction" in told or "edit_prompt" in told else "")


def test_a_task_file_for_another_task(tmp_path: Path) -> None:
    told = {"original_path": "x", "edit_obj": {**REGION, "mask": None}, "edit_type": "remove", "edit_prompt": "x"}
    pack(tmp_path / "t.tar", ("cup.jpg", picture()), ("cup.json", json.dumps(told).encode()))
    why = reasons(plan(Source(tmp_path / "t.tar"), task_named("replace")))["t.tar/cup.jpg"]
    assert why.startswith("its task file is for remove")


def test_a_webdataset_that_a_run_left(tmp_path: Path) -> None:
    """Its nested columns are JSON text and its empty ones empty text; the picture after the edit is none of ours."""
    columns = {"key": "k0", "task": "remove", "class_name": "cup", "bbox": json.dumps(BOX), "mask": json.dumps(mask_rle()),
               "regions": "[]", "source_licence": "", "source_url": "https://example.org", "prompt": "x"}  # fmt: skip
    members = [
        ("k0.input.png", picture("red", "PNG")), ("k0.output.png", picture(kind="PNG")),
        ("k0.json", json.dumps(columns).encode()), ("k0.txt", b"Take it away."),
        ("k1.input.png", picture("blue", "PNG")), ("k1.output.png", picture(kind="PNG")),
        ("k1.json", json.dumps(columns | {"bbox": "null", "mask": "null"}).encode()),
    ]  # fmt: skip
    pack(tmp_path / "data" / "train-00000.tar", *members)
    pack(tmp_path / "rejected" / "train-00000.tar", *marked("k2"))
    (tmp_path / "README.md").touch()
    source = Source(tmp_path)
    planned = plan(source)
    (sample,) = samples(planned)
    assert (sample.annotation.path, sample.instruction) == ("data/train-00000.tar/k0.input.png", "Take it away.")
    assert (source.read(sample.file), source.suffix(sample.file)) == (picture("red", "PNG"), ".png")
    assert sample.annotation.regions[0].bbox == BOX
    assert (sample.annotation.source_licence, sample.annotation.source_url) == (None, "https://example.org")
    assert "add k1.mask.png (white is the object) or k1.json" in reasons(planned)["data/train-00000.tar/k1.input.png"]


def test_what_a_writer_and_a_router_said_is_kept(tmp_path: Path) -> None:
    """As it is of the same rows in parquet and JSON lines."""
    told = {"class_name": "cup", "bbox": list(BOX), "task": "remove", "writing": {}, "subtask": "unicedit/Object Removal",
            "slot": "2", "routes": {"accepted": {"style": "fits"}, "rejected": {}}}  # fmt: skip
    pack(tmp_path / "t.tar", ("cup.jpg", picture()), ("cup.json", json.dumps(told).encode()))
    (photo,) = Source(tmp_path / "t.tar").reader.photos("remove")
    assert (photo.subtask, photo.slot, photo.routed) == ("unicedit/Object Removal", "2", ("style",))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_odd_names(form: int, tmp_path: Path) -> None:
    names = ["日本/cup", "d/" * 30 + "x" * 90, "two words", "a#1+2", "line\nbreak"]
    if form == tarfile.USTAR_FORMAT:
        names = names[1:]
    pack(tmp_path / "t.tar", *(member for name in names for member in marked(name)), format=form)
    source = Source(tmp_path / "t.tar")
    planned = plan(source)
    assert ids(planned) == [f"t.tar/{name}.jpg" for name in names]
    assert all(source.read(one.file) == picture() for one in samples(planned))


def test_shards_have_ids_of_their_own(tmp_path: Path) -> None:
    """Writers of webdatasets begin every shard with key 000000."""
    for shard in ("00001", "00000", "sub/00000"):
        pack(tmp_path / f"{shard}.tar", *marked("000000", "red"), *marked("000001", "blue"))
    source = Source(tmp_path)
    planned = plan(source)
    expected = [f"{shard}.tar/00000{row}.jpg" for shard in ("00000", "00001", "sub/00000") for row in range(2)]
    assert (ids(planned), reasons(planned)) == (expected, {})
    assert ids(plan(Source(f"{tmp_path}/{{00000..00001}}.tar"))) == expected[:4]
    colours = [source.read(one.file) for one in samples(planned)]
    assert colours == [picture("red"), picture("blue")] * 3


def test_hidden_members_and_folders_are_left_alone(tmp_path: Path) -> None:
    path = pack(tmp_path / "t.tar", ("._cup.jpg", b"finder"), (".git/x.jpg", b"x"), *marked("./cup"))
    with tarfile.open(path, "a") as tar:
        folder = tarfile.TarInfo("folder.jpg")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    planned = plan(Source(path))
    assert (ids(planned), reasons(planned)) == (["t.tar/cup.jpg"], {})


def test_reading_by_several_threads(tmp_path: Path) -> None:
    colours = [f"rgb({number},9,9)" for number in range(40)]
    for shard in range(2):
        pack(tmp_path / f"{shard}.tar", *((f"{row:03d}.jpg", picture(colours[shard * 20 + row])) for row in range(20)))
    source = Source(tmp_path)
    files = [one.file for one in samples(plan(source, STYLE))]
    numbers = random.Random(7).choices(range(40), k=300)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(6) as pool:
            read = list(pool.map(source.read, [files[row] for row in numbers]))
    finally:
        sys.setswitchinterval(before)
    assert read == [picture(colours[row]) for row in numbers]


class TestBroken:
    def test_members_without_a_photo_and_with_two(self, tmp_path: Path) -> None:
        members = [("cup.txt", b"x"), ("cup.json", b"{}"), ("jug.jpg", picture()), ("jug.png", picture(kind="PNG")),
                   ("pan.edited.jpg", picture()), *marked("good"), ("lid.jpg", picture()), ("lid.jpg", picture()),
                   ("cup.jpg", picture()), ("README", b"x")]  # fmt: skip
        planned = plan(Source(pack(tmp_path / "t.tar", *members)), STYLE)
        assert ids(planned) == ["t.tar/good.jpg", "t.tar/cup.jpg"]
        found = reasons(planned)
        assert found["t.tar/cup"] == "t.tar/cup: a sample with no photo (its members: .txt, .json)"
        assert found["t.tar/jug"] == "t.tar/jug: a sample with several photos (its members: .jpg, .png)"
        assert found["t.tar/pan"] == "t.tar/pan: a sample with no photo (its members: .edited.jpg)"
        assert found["t.tar/lid"] == "t.tar/lid: it holds two members called lid.jpg"
        assert found["t.tar/README"].startswith("t.tar/README: a sample with no photo")

    def test_members_that_are_broken(self, tmp_path: Path) -> None:
        members = [("a.jpg", b"no picture"), ("b.jpg", picture()), ("b.json", b"{"), ("c.jpg", picture()), ("c.json", b"[]"),
                   ("d.jpg", picture()), ("d.mask.png", b"white"), ("e.jpg", b""), *marked("good")]  # fmt: skip
        planned = plan(Source(pack(tmp_path / "t.tar", *members)))
        assert ids(planned) == ["t.tar/good.jpg"]
        for name, why in zip(
            "abcde", ("not an image", "its .json is not JSON", "its .json is not an object", "d.mask.png: not", "is empty"),
            strict=True,
        ):  # fmt: skip
            assert why in reasons(planned)[f"t.tar/{name}.jpg"]

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        path = pack(tmp_path / "t.tar", *marked("good"))
        with tarfile.open(path, "a") as tar:
            link = tarfile.TarInfo("cup.jpg")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
        planned = plan(Source(path))
        assert ids(planned) == ["t.tar/good.jpg"]
        assert reasons(planned)["t.tar/cup"] == "t.tar/cup: cup.jpg is a link or no plain file"

    @pytest.mark.parametrize("kept", ["in the last photo", "between members", "in a header", "before the end mark"])
    def test_a_truncated_tar_keeps_what_is_whole(self, kept: str, tmp_path: Path) -> None:
        path = pack(tmp_path / "t.tar", *marked("a"), *marked("b"), ("c.jpg", picture()))
        with tarfile.open(path) as tar:
            last = tar.getmember("c.jpg")
        cut = {"in the last photo": last.offset_data + 100, "between members": last.offset,
               "in a header": last.offset + 100, "before the end mark": last.offset_data + 1024}  # fmt: skip
        path.write_bytes(path.read_bytes()[: cut[kept]])
        planned = plan(Source(path))
        assert ids(planned) == ["t.tar/a.jpg", "t.tar/b.jpg"]
        found = reasons(planned)
        assert found["t.tar#rest"].startswith("t.tar: after ")
        assert found["t.tar#rest"].endswith("copy it again, or pack it again")
        if kept == "in the last photo":
            assert "c.jpg is cut off" in found["t.tar/c"]

    def test_damage_in_the_middle_is_no_end(self, tmp_path: Path) -> None:
        path = pack(tmp_path / "t.tar", *marked("a"), *marked("b"))
        with tarfile.open(path) as tar:
            second = tar.getmember("b.jpg").offset
        data = bytearray(path.read_bytes())
        data[second : second + 512] = b"\x55" * 512
        path.write_bytes(data)
        planned = plan(Source(path))
        assert ids(planned) == ["t.tar/a.jpg"]
        assert f"after 2 members: it is damaged at byte {second}" in reasons(planned)["t.tar#rest"]

    def test_tars_joined_into_one(self, tmp_path: Path) -> None:
        path = pack(tmp_path / "t.tar", *marked("a"))
        path.write_bytes(path.read_bytes() + pack(tmp_path / "u.tar", *marked("b")).read_bytes())
        planned = plan(Source(path))
        assert ids(planned) == ["t.tar/a.jpg"]
        assert "more stands behind its end mark" in reasons(planned)["t.tar#rest"]

    def test_what_is_no_tar(self, tmp_path: Path) -> None:
        for content in (b"", b"no tar at all" * 100, b"\0" * 100):
            (tmp_path / "t.tar").write_bytes(content)
            with pytest.raises(RunError, match=r"t.tar: not a tar that can be read"):
                plan(Source(tmp_path / "t.tar"))
        pack(tmp_path / "u.tar", *marked("a"))
        planned = plan(Source(tmp_path))
        assert ids(planned) == ["u.tar/a.jpg"]
        assert "not a tar that can be read" in reasons(planned)["t.tar"]

    def test_a_tar_that_changes_under_a_run(self, tmp_path: Path) -> None:
        path = pack(tmp_path / "t.tar", *marked("a"))
        (sample,) = samples(plan(Source(path)))
        path.write_bytes(path.read_bytes()[:600])
        with pytest.raises(PhotoError, match=r"a.jpg: cannot be read \(the tar is shorter than it was\)"):
            Source(path).read(sample.file)
