"""A folder of photos: every file gives samples or says why not, whatever it is called."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.regions import rle
from comfy_nodes.core.tasks import task_named
from driver.errors import RunError
from driver.inputs.source import Source
from driver.samples import Aim, Planned, Sample, Unusable

REMOVE, STYLE = task_named("remove"), task_named("style")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def photo(path: Path, size: tuple[int, int] = (40, 30), **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "grey").save(path, "JPEG" if path.suffix == ".jpg" else "PNG", **options)
    return path


def mask(path: Path, size: tuple[int, int] = (40, 30), box: tuple[int, int, int, int] = (4, 5, 20, 15)) -> Path:
    image = Image.new("L", size)
    image.paste(255, box)
    image.save(path, "PNG")
    return path


def plan(folder: Path, task: object = REMOVE) -> list[Planned]:
    return list(Source(folder).plan([Aim(task)], "all", 0))


def samples(planned: list[Planned]) -> dict[str, Sample]:
    return {one.annotation.path: one for one in planned if isinstance(one, Sample)}


def reasons(planned: list[Planned]) -> dict[str, str]:
    return {one.source_id: one.failure.message for one in planned if isinstance(one, Unusable)}


def test_a_photo_with_its_sidecars(folder: Path) -> None:
    photo(folder / "trip" / "cup.jpg")
    mask(folder / "trip" / "cup.mask.png")
    (folder / "trip" / "cup.txt").write_text("\ufeffTake the cup away.\n", encoding="utf-8")
    photo(folder / "trip" / "cup.ref.png")
    (folder / "notes.md").write_text("mine")
    sample = samples(plan(folder)).pop("trip/cup.jpg")
    region = sample.annotation.regions[0]
    assert (sample.file, sample.instruction) == ("trip/cup.jpg", "Take the cup away.")
    assert (sample.annotation.size, region.bbox, region.class_name) == ((40, 30), (4, 5, 20, 15), None)
    assert region.mask is not None
    assert rle.decode(region.mask).sum() == 16 * 10


def test_without_a_region_the_photo_says_how_to_get_one(folder: Path) -> None:
    photo(folder / "cup.jpg")
    why = reasons(plan(folder))["cup.jpg"]
    assert "put cup.mask.png beside it (white is the object)" in why
    assert "ImgEdit annotation" in why


def test_a_task_for_the_whole_photo_needs_no_region(folder: Path) -> None:
    photo(folder / "cup.jpg")
    mask(folder / "cup.mask.png")
    photo(folder / "jug.jpg")
    found = samples(plan(folder, STYLE))
    assert list(found) == ["cup.jpg", "jug.jpg"]
    assert all(sample.annotation.regions == () for sample in found.values())


NAMES = [
    "two words.jpg", "it's \"quoted\".jpg", "v1.2.final.jpg", "line\nbreak.jpg", "日本の写真.jpg", "été — ñ.jpg",
    "-rf.jpg", "$(reboot).jpg", "100%.jpg", "a&b<c>.jpg", "UPPER.JPG", "sub dir/ß.png", "trailing .png", "🦊.png",
]  # fmt: skip


def test_names_of_every_kind(folder: Path) -> None:
    for name in NAMES:
        path = photo(folder / name) if name != "UPPER.JPG" else photo(folder / "x.jpg").rename(folder / name)
        mask(path.with_name(path.stem + ".mask.png"))
        path.with_name(path.stem + ".txt").write_text(f"Remove it from {name}.", encoding="utf-8")
    found = samples(plan(folder))
    assert set(found) == set(NAMES)
    assert len({sample.key for sample in found.values()}) == len(NAMES)
    for name, sample in found.items():
        assert (folder / sample.file).is_file()
        assert sample.instruction == f"Remove it from {name}."


@pytest.mark.skipif(sys.platform != "linux", reason="only here may a file name hold any bytes")
def test_names_that_are_not_utf_8(folder: Path) -> None:
    """They are read by their bytes and written down as text, in keys, ids and reasons alike."""
    for name in (b"caf\xe9", b"no mask \xff", b"bad mask \xfe"):
        photo(folder / "x.jpg").rename(folder / os.fsdecode(name + b".jpg"))
    mask(folder / "x.png").rename(folder / os.fsdecode(b"caf\xe9.mask.png"))
    (folder / os.fsdecode(b"bad mask \xfe.mask.png")).write_bytes(b"white")
    planned = plan(folder)
    sample = samples(planned).pop(r"caf\udce9.jpg")
    assert (folder / sample.file).is_file()
    assert set(reasons(planned)) == {r"no mask \udcff.jpg", r"bad mask \udcfe.jpg"}
    for one in planned:
        text = one.source_id + one.failure.message if isinstance(one, Unusable) else one.annotation.path
        text.encode("utf-8")


def test_two_photos_with_one_stem(folder: Path) -> None:
    for name in ("cup.jpg", "cup.png", "jug.jpg", "jug.png"):
        photo(folder / name)
    for name in ("cup.mask.png", "jug.mask.png", "jug.jpg.mask.png", "jug.png.mask.png"):
        mask(folder / name)
    planned = plan(folder)
    assert set(samples(planned)) == {"jug.jpg", "jug.png"}
    found = reasons(planned)
    assert found["cup.jpg"] == "several photos are called cup: name this one's mask cup.jpg.mask.png"
    assert found["cup.png"] == "several photos are called cup: name this one's mask cup.png.mask.png"


def test_one_stem_in_two_folders(folder: Path) -> None:
    for name in ("a/cup.jpg", "b/cup.png"):
        mask(photo(folder / name).with_suffix(".mask.png"))
    assert set(samples(plan(folder))) == {"a/cup.jpg", "b/cup.png"}


def test_a_mask_without_its_photo_is_not_passed_over(folder: Path) -> None:
    mask(photo(folder / "cup.jpg").with_name("cupp.mask.png"))
    found = reasons(plan(folder))
    assert set(found) == {"cup.jpg", "cupp.mask.png"}
    assert found["cupp.mask.png"].startswith("cupp.mask.png: a mask without its photo")


def test_hidden_files_and_folders_are_left_alone(folder: Path) -> None:
    for name in (".hidden.jpg", "._cup.jpg", ".thumbnails/cup.jpg", ".cup.mask.png"):
        photo(folder / name)
    mask(photo(folder / "cup.jpg").with_name("cup.mask.png"))
    planned = plan(folder)
    assert list(samples(planned)) == ["cup.jpg"]
    assert reasons(planned) == {}


def test_links_to_folders_are_not_followed(folder: Path) -> None:
    """One that leads upwards would never end."""
    photo(folder / "trip" / "cup.jpg")
    (folder / "trip" / "again").symlink_to(folder, target_is_directory=True)
    assert list(samples(plan(folder, STYLE))) == ["trip/cup.jpg"]


def test_a_reference_picture_travels_along(folder: Path) -> None:
    """By the photo's stem or by its whole name, which counts first."""
    for name in ("cup.jpg", "cup.ref.png", "jug.jpg", "jug.jpg.ref.png", "jug.ref.png", "pan.jpg"):
        photo(folder / name)
    (folder / "lid.jpg").write_bytes((folder / "cup.jpg").read_bytes())
    (folder / "lid.ref.png").write_text("no picture")
    photo(folder / "gone.ref.png")
    planned = list(Source(folder).plan([Aim(STYLE, frozenset({"reference"}))], "all", 0))
    references = {path: sample.reference for path, sample in samples(planned).items()}
    assert references == {"cup.jpg": "cup.ref.png", "jug.jpg": "jug.jpg.ref.png"}
    assert reasons(planned)["pan.jpg"].startswith("the photo has no reference picture")
    assert reasons(planned)["lid.jpg"].startswith("lid.ref.png: not an image")
    assert reasons(planned)["gone.ref.png"].startswith("gone.ref.png: a reference picture without its photo")


def test_reading_a_photo(folder: Path) -> None:
    photo(folder / "x.jpg").rename(folder / "cup.JPG")
    source = Source(folder)
    (sample,) = samples(plan(folder, STYLE)).values()
    assert (source.read(sample.file), source.suffix(sample.file)) == ((folder / "cup.JPG").read_bytes(), ".jpg")
    (folder / "cup.JPG").unlink()
    with pytest.raises(PhotoError, match=r"^cup.JPG: the file is missing; check the path"):
        source.read(sample.file)
    (folder / "cup.JPG").mkdir()
    with pytest.raises(PhotoError, match=r"^cup.JPG: cannot be read \(Is a directory\)"):
        source.read(sample.file)


def test_an_empty_folder_stops_the_run(folder: Path) -> None:
    (folder / "notes.md").write_text("mine")
    with pytest.raises(RunError, match="no photos in it"):
        plan(folder)


def test_a_folder_that_cannot_be_listed_stops_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "private").mkdir()
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("private"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(RunError, match="private: cannot be read"):
        plan(folder)


def test_bad_files_cost_only_themselves(folder: Path) -> None:
    mask(photo(folder / "good.jpg").with_name("good.mask.png"))
    (folder / "empty.jpg").touch()
    (folder / "text.png").write_text("no image")
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "phone.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + b"\x00" * 40)
    for name, size in (("other size", (20, 15)), ("black", (40, 30)), ("no image", None)):
        path = photo(folder / f"{name}.jpg").with_name(f"{name}.mask.png")
        if size:
            mask(path, size, (4, 5, 8, 9) if name == "other size" else (0, 0, 0, 0))
        else:
            path.write_text("white")
    planned = plan(folder)
    assert list(samples(planned)) == ["good.jpg"]
    expected = {
        "empty.jpg": "empty", "text.png": "not an image", "gone.jpg": "No such file", "moving.gif": "animated",
        "phone.heic": "HEIC", "other size.jpg": "annotated on 20 x 15 pixels, but the photo has 40 x 30",
        "black.jpg": "the mask marks nothing", "no image.jpg": "no image.mask.png: not an image",
    }  # fmt: skip
    found = reasons(planned)
    assert set(found) == set(expected)
    for name, why in expected.items():
        assert why in found[name]
    assert len({one.key for one in planned if isinstance(one, Unusable)}) == len(expected)


def test_a_folder_called_like_a_sidecar_is_no_sidecar(folder: Path) -> None:
    photo(folder / "cup.jpg")
    (folder / "cup.txt").mkdir()
    assert samples(plan(folder, STYLE))["cup.jpg"].instruction == ""


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_mask_drawn_on_stored_pixels_turns_with_its_photo(suffix: str, folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    mask(photo(folder / f"phone{suffix}", exif=exif).with_name("phone.mask.png"), box=(0, 0, 10, 5))
    annotation = next(iter(samples(plan(folder)).values())).annotation
    assert annotation.size == (30, 40)
    assert annotation.regions[0].bbox == (25, 0, 30, 10)


def test_order_is_by_name_and_keys_are_the_same_again(folder: Path, tmp_path: Path) -> None:
    names = ["b.jpg", "a.jpg", "c/a.jpg", "C.jpg"]
    for name in names:
        mask(photo(folder / name).with_suffix(".mask.png"))
    first, again = plan(folder), plan(folder)
    assert list(samples(first)) == sorted(names)
    assert first == again
    elsewhere = folder.rename(tmp_path / "moved")
    assert [one.key for one in plan(elsewhere)] == [one.key for one in first]


def test_an_object_that_fills_the_photo_is_refused(folder: Path) -> None:
    mask(photo(folder / "wall.jpg").with_name("wall.mask.png"), box=(0, 0, 40, 29))
    assert re.search(r"covers 9\d.*% of the photo, more than 60 ?%", reasons(plan(folder))["wall.jpg"])


def test_inputs_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="there is no such file or folder"):
        Source(tmp_path / "gone")
    with pytest.raises(RunError, match="give a folder of photos"):
        Source(photo(tmp_path / "cup.jpg"))
    with pytest.raises(RunError, match=r"--image-root .*: there is no such folder"):
        Source(tmp_path, tmp_path / "gone")


def test_the_bundled_samples_are_all_usable() -> None:
    from driver.inputs.source import BUNDLED

    planned = list(Source(BUNDLED).plan([Aim(REMOVE)], "all", 0))
    assert len(planned) >= 8
    assert reasons(planned) == {}
    assert all(np.isfinite(one.annotation.regions[0].bbox).all() for one in planned if isinstance(one, Sample))
    assert len({one.annotation.path for one in planned if isinstance(one, Sample)}) >= 5
