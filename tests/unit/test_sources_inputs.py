"""What an input is: found by path, pattern or URL, of one kind, with a fingerprint, and never more than memory holds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.regions.annotation import Annotation, Region
from driver.errors import RunError
from driver.inputs.shares import InputShare
from driver.inputs.source import Source
from driver.options import RunOptions
from driver.pipeline.plan import open_source
from driver.samples import Aim, Unavailable
from tests.unit.source_making import BOX, REMOVE, SIZE, STYLE, Found, ids, mask_picture, picture, plan, reasons, samples


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    """An empty bucket behind `memory://`."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    yield system
    system.store.clear()


def line(path: str) -> str:
    return json.dumps({"path": path, "bbox": list(BOX), "class_name": "cup"}) + "\n"


class TestKinds:
    def test_mixed_folders_say_what_they_hold(self, tmp_path: Path) -> None:
        (tmp_path / "a.jpg").write_bytes(picture())
        (tmp_path / "b.parquet").touch()
        (tmp_path / "c.parquet").touch()
        with pytest.raises(
            RunError, match=r"holds 1 photos and 2 \.parquet files; give one kind, such as '.*\*.parquet'"
        ):
            Source(tmp_path)
        (tmp_path / "a.jpg").unlink()
        (tmp_path / "d.tar").touch()
        with pytest.raises(RunError, match=r"holds 2 \.parquet files and 1 \.tar files"):
            Source(tmp_path)
        with pytest.raises(RunError, match=r"holds 1 \.parquet files and 1 \.tar files"):
            Source(f"{tmp_path}/{{b.parquet,d.tar}}")

    @pytest.mark.parametrize("name", ["x.tar.gz", "x.tgz"])
    def test_packed_files_are_to_be_unpacked(self, name: str, tmp_path: Path) -> None:
        (tmp_path / name).touch()
        with pytest.raises(RunError, match="unpack it first; give a folder of photos"):
            Source(tmp_path / name)

    def test_patterns(self, tmp_path: Path) -> None:
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "cup.jpg").write_bytes(picture())
            (tmp_path / folder / "part.jsonl").write_text(line(f"{folder}/cup.jpg"))
        assert ids(plan(Source(f"{tmp_path}/*/part.jsonl"))) == ["a/cup.jpg", "b/cup.jpg"]
        assert ids(plan(Source(f"{tmp_path}/**/*.jsonl"))) == ["a/cup.jpg", "b/cup.jpg"]
        assert ids(plan(Source(f"{tmp_path}/{{b,a}}/part.jsonl"))) == ["b/cup.jpg", "a/cup.jpg"]
        with pytest.raises(RunError, match=r"there is no such file or folder \(.*/c/part.jsonl\)"):
            Source(f"{tmp_path}/{{a,c}}/part.jsonl")
        with pytest.raises(RunError, match="there is no such file or folder"):
            Source(f"{tmp_path}/*/none.jsonl")

    def test_a_name_with_brackets_is_a_name(self, tmp_path: Path) -> None:
        folder = tmp_path / "photos [1] {a}"
        folder.mkdir()
        (folder / "cup.jpg").write_bytes(picture())
        assert ids(plan(Source(folder), STYLE)) == ["cup.jpg"]

    def test_the_image_root_is_no_option_that_does_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "cup.jpg").write_bytes(picture())
        with pytest.raises(RunError, match="holds its photos itself; leave --image-root out"):
            Source(tmp_path, tmp_path)

    def test_the_root_is_for_photos_that_are_files_here(self, tmp_path: Path) -> None:
        (tmp_path / "cup.jpg").write_bytes(picture())
        (tmp_path / "a.jsonl").write_text(line("cup.jpg"))
        assert Source(tmp_path).root == tmp_path
        assert Source(tmp_path / "a.jsonl").root == tmp_path
        assert Source(f"file://{tmp_path}").root == tmp_path


class TestRemote:
    """Everything that works here works behind a URL."""

    def test_a_folder_of_photos(self, memory: fsspec.AbstractFileSystem) -> None:
        for name, data in {
            "trip/cup.jpg": picture(), "trip/cup.mask.png": mask_picture(), "trip/cup.txt": b"Take it away.",
            "trip/cup.ref.png": picture("red", "PNG"), "jug.jpg": picture(), ".hidden.jpg": b"x", "pan.mask.png": b"x",
        }.items():  # fmt: skip
            memory.pipe_file(f"/bucket/photos/{name}", data)
        source = Source("memory://bucket/photos")
        planned = plan(source)
        (sample,) = samples(planned)
        assert (sample.annotation.path, sample.instruction) == ("trip/cup.jpg", "Take it away.")
        assert (source.read(sample.file), source.read(sample.reference)) == (picture(), picture("red", "PNG"))
        assert set(reasons(planned)) == {"jug.jpg", "pan.mask.png"}
        assert source.root is None
        memory.rm("/bucket/photos/trip/cup.jpg")
        with pytest.raises(PhotoError, match=r"cup.jpg: the file is missing"):
            source.read(sample.file)

    def test_an_annotation_here_with_photos_there_and_the_other_way(
        self, memory: fsspec.AbstractFileSystem, tmp_path: Path
    ) -> None:
        (tmp_path / "sub").mkdir()
        names = [f"sub/{number:03d}.jpg" for number in range(100)]
        text = "".join(map(line, [*names, "gone.jpg", "../other/x.jpg", "/bucket/other/x.jpg"]))
        for name in names:
            memory.pipe_file(f"/bucket/photos/{name}", picture())
            (tmp_path / name).write_bytes(picture())
        memory.pipe_file("/bucket/a.jsonl", text.encode())
        (tmp_path / "a.jsonl").write_text(text)
        for source in (
            Source(tmp_path / "a.jsonl", "memory://bucket/photos"),
            Source("memory://bucket/a.jsonl", tmp_path),
        ):
            planned = plan(source)
            assert ids(planned) == names
            assert [one.source_id for one in planned[100:]] == ["gone.jpg", "x.jpg", "x.jpg"]  # type: ignore[union-attr]
            assert source.read(samples(planned)[5].file) == picture()

    def test_shards(self, memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
        pq.write_table(pa.table({"image": [picture()] * 5, "bbox": [list(BOX)] * 5}), tmp_path / "x.parquet")
        with tarfile.open(tmp_path / "x.tar", "w") as tar:
            (tmp_path / "cup.jpg").write_bytes(picture())
            tar.add(tmp_path / "cup.jpg", "cup.jpg")
        for number in range(2):
            memory.pipe_file(f"/bucket/rows/{number}.parquet", (tmp_path / "x.parquet").read_bytes())
            memory.pipe_file(f"/bucket/tars/{number}.tar", (tmp_path / "x.tar").read_bytes())
        for url in ("memory://bucket/rows", "memory://bucket/rows/*.parquet", "memory://bucket/rows/{0,1}.parquet"):
            source = Source(url)
            found = samples(plan(source))
            assert [one.annotation.path for one in found] == [
                f"{shard}.parquet#{row}" for shard in "01" for row in range(5)
            ]
            assert source.read(found[7].file) == picture()
        source = Source("memory://bucket/tars")
        found = samples(plan(source, STYLE))
        assert [one.annotation.path for one in found] == ["0.tar/cup.jpg", "1.tar/cup.jpg"]
        assert source.read(found[1].file) == picture()

    def test_what_is_not_there(self, memory: fsspec.AbstractFileSystem) -> None:
        memory.pipe_file("/bucket/x.jpg", b"")
        with pytest.raises(RunError, match="there is no such file or folder"):
            Source("memory://bucket/gone")
        with pytest.raises(RunError, match=r"--image-root memory://gone: there is no such folder"):
            Source("memory://bucket", "memory://gone")
        with pytest.raises(RunError, match="nothing here opens such a URL"):
            Source("nosuchthing://bucket/x.tar")

    def test_errors_of_a_file_system_are_one_line_without_urls(
        self, memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        memory.pipe_file("/bucket/cup.jpg", picture())
        source = Source("memory://bucket")

        def refuse(*_args: object, **_options: object) -> None:
            raise RuntimeError("403 for https://bucket.example.org/cup.jpg?signature=SECRET\nand more")

        monkeypatch.setattr(type(memory), "_open", refuse)
        monkeypatch.setattr(type(memory), "cat_file", refuse)
        (why,) = reasons(plan(source, STYLE)).values()
        assert why.startswith("cup.jpg: cannot be read (RuntimeError: 403 for ")
        assert "SECRET" not in why
        with pytest.raises(PhotoError, match=r"cup.jpg: cannot be read \(RuntimeError: 403 for .*\)") as error:
            source.read("cup.jpg")
        assert "SECRET" not in str(error.value)

    def test_the_fingerprint(self, memory: fsspec.AbstractFileSystem) -> None:
        memory.pipe_file("/bucket/p/cup.jpg", picture())
        first = Source("memory://bucket/p").fingerprint()
        assert Source("memory://bucket/p").fingerprint() == first
        memory.pipe_file("/bucket/p/cup.jpg", picture())
        assert Source("memory://bucket/p").fingerprint() != first


class TestFingerprint:
    def of(self, path: Path | str, root: Path | None = None) -> str:
        return Source(path, root).fingerprint()

    def test_of_a_folder_it_changes_with_every_file(self, tmp_path: Path) -> None:
        folder = tmp_path / "photos"
        (folder / "sub").mkdir(parents=True)
        for name in ("a.jpg", "sub/b.jpg"):
            (folder / name).write_bytes(picture())
        found = [self.of(folder)]
        assert self.of(folder) == found[0]
        (folder / ".DS_Store").touch()
        assert self.of(folder) == found[0]

        def changed() -> None:
            found.append(self.of(folder))
            assert len(set(found)) == len(found)

        (folder / "sub" / "b.mask.png").write_bytes(mask_picture())
        changed()
        os.utime(folder / "sub" / "b.jpg", ns=(0, 12345))
        changed()
        (folder / "sub" / "b.jpg").rename(folder / "sub" / "c.jpg")
        changed()
        (folder / "sub" / "c.jpg").rename(folder / "c.jpg")
        changed()
        (folder / "c.jpg").unlink()
        changed()
        (folder / "link.jpg").symlink_to(folder / "nowhere")
        changed()
        (folder / "nowhere").write_bytes(picture())
        changed()

    def test_of_a_file_it_changes_with_it_and_with_the_image_root(self, tmp_path: Path) -> None:
        for root in ("one", "two"):
            (tmp_path / root).mkdir()
        path = tmp_path / "a.jsonl"
        path.write_text(line("cup.jpg"))
        first = self.of(path, tmp_path / "one")
        assert self.of(path, tmp_path / "one") == first
        assert self.of(path, tmp_path / "two") != first
        path.write_text(line("jug.jpg"))
        os.utime(path, ns=(0, 1))
        assert self.of(path, tmp_path / "one") != first

    def test_of_a_pattern_it_changes_with_the_files(self, tmp_path: Path) -> None:
        for name in ("a.tar", "b.tar"):
            (tmp_path / name).touch()
        first = self.of(f"{tmp_path}/*.tar")
        (tmp_path / "c.tar").touch()
        assert self.of(f"{tmp_path}/*.tar") != first

    def test_a_file_that_went_away(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        path.touch()
        source = Source(path)
        path.unlink()
        with pytest.raises(RunError, match=r"cannot be read \(No such file"):
            source.fingerprint()


class TestGrounding:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Source:
        for name in ("cup", "jug", "pan", "lid"):
            (tmp_path / f"{name}.jpg").write_bytes(picture())
        (tmp_path / "cup.mask.png").write_bytes(mask_picture())
        return Source(tmp_path)

    def test_photos_without_a_region_are_those_to_annotate(self, source: Source) -> None:
        assert ids(source.unmarked()) == ["jug.jpg", "lid.jpg", "pan.jpg"]

    def test_regions_that_were_found_and_reasons_that_were_not(self, source: Source) -> None:
        region = Region(class_name="jug", bbox=(4, 5, 14, 15))
        found = [Annotation("jug.jpg", (40, 30), (region,)), Annotation("lid.jpg", (40, 30), ())]
        planned = list(source.plan([Aim(REMOVE)], "all", 0, Found([*found, Annotation("cup.jpg", (40, 30), ())])))
        assert ids(planned) == ["cup.jpg", "jug.jpg"]
        assert samples(planned)[1].annotation.regions == (region,)
        assert "no region; the annotate stage found nothing: put lid.mask.png" in reasons(planned)["lid.jpg"]
        assert "no region; the detector broke off: put pan.mask.png" in reasons(planned)["pan.jpg"]

    def test_why_there_is_none(self, source: Source) -> None:
        planned = list(source.plan([Aim(REMOVE)], "all", 0, Unavailable("the annotate stage cannot run (no model)")))
        assert ids(planned) == ["cup.jpg"]
        assert "no region; the annotate stage cannot run (no model): put" in reasons(planned)["jug.jpg"]


SCALE = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from comfy_nodes.core.tasks import task_named
from driver.pipeline.plan import open_source
from driver.inputs.source import Aim, Source
planned = Source({path!r}).plan([Aim(task_named("remove"))], "all", 0)
count = sum(1 for _ in planned)
print(count, Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only here a process says its own peak")
@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet"])
def test_memory_does_not_grow_with_the_rows(kind: str, tmp_path: Path) -> None:
    """35 MB of rows against 7 MB; most name photos that are not there, as it is the rows that are measured."""
    (tmp_path / "cup.jpg").write_bytes(picture(size=(8, 8)))
    peaks = []
    for rows in (2_000, 10_000):
        path = tmp_path / f"{rows}.{kind}"
        paths = ["cup.jpg" if row % 100 == 0 else f"sub/{row:03500d}.jpg" for row in range(rows)]
        if kind == "parquet":
            pq.write_table(pa.table({"path": paths, "bbox": [list(BOX)] * rows}), path, row_group_size=2000)
        else:
            lines = [line(one).strip() for one in paths]
            path.write_text("\n".join(lines) if kind == "jsonl" else "[" + ",".join(lines) + "]")
        code = SCALE.format(root=str(Path(__file__).resolve().parents[2]), path=str(path))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        count, peak = map(int, done.stdout.split())
        assert count == rows
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 26_000


def test_a_photo_is_never_decoded_while_planning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cup.jpg").write_bytes(picture())
    monkeypatch.setattr(Image.Image, "load", lambda _self: pytest.fail("decoded"))
    (sample,) = samples(plan(Source(tmp_path), STYLE))
    assert sample.annotation.size == SIZE


@pytest.mark.parametrize("kind", ["photos", "json", "pattern", "link"])
def test_an_output_in_the_input_is_refused_before_anything_is_made(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "a.jpg").write_bytes(picture())
    if kind == "json":
        (folder / "below" / "a.jpg").rename(folder / "below" / "a.json")
    given = folder / "**" / "*.tar" if kind == "pattern" else folder
    if kind == "pattern":
        (folder / "below" / "a.tar").write_bytes(b"")
    if kind == "link":
        (tmp_path / "there").symlink_to(folder)
        given = tmp_path / "there"
    options = RunOptions("remove", folder / "out" / "of", input=(InputShare(str(given)),))
    with pytest.raises(RunError, match=r"lies in --input .*; choose a folder outside of it"):
        open_source(options)
    open_source(replace(options, output=tmp_path / "in-out"))
    assert not (folder / "out").exists()


def test_an_output_beside_the_rows_of_a_dataset_is_no_input(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "README.md").write_bytes(b"")
    (tmp_path / "data" / "a.tar").write_bytes(b"")
    open_source(RunOptions("remove", tmp_path / "judged", input=(InputShare(str(tmp_path)),)))
