"""Near-duplicates over an input: what counts as one photo, which one stays, and that a run that goes on says the same."""

from __future__ import annotations

import io
import os
import random
import threading
import time
from collections.abc import Callable, Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from comfy_nodes.core.photos import Header
from driver.errors import RunError
from driver.inputs import near
from driver.inputs.near import MOST, NEAR, Hashes, Looked, NearDuplicates, _Bands, hashes_of
from driver.inputs.photo import Photo
from driver.inputs.shares import InputShare
from driver.inputs.source import BUNDLED, Source
from driver.journal import Journal
from driver.pipeline.plan import forgotten
from driver.samples import Aim, Planned, Unavailable
from tests.unit.source_making import REMOVE, STYLE, ids, picture, plan, reasons

PHOTOS = sorted((BUNDLED.parent / "photos").iterdir())


def saved(image: Image.Image, kind: str = "JPEG", **how: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def shrunk(path: Path) -> Image.Image:
    image = Image.open(path)
    image.draft("RGB", (256, 256))
    return image.convert("RGB").resize((256, max(1, 256 * image.height // image.width)))


def hashed(data: bytes) -> Hashes:
    return hashes_of(data, "photo")


def bits(one: Hashes, other: Hashes) -> int:
    """In how many bits hashes differ, mirrored or not."""
    return min((one.own ^ other.own).bit_count(), (one.own ^ other.mirrored).bit_count())


def texture(seed: int) -> Image.Image:
    """A picture like no other."""
    small = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    return Image.fromarray(small).resize((96, 72), Image.Resampling.BICUBIC)


class TestHash:
    def test_copies_of_the_bundled_photos_are_one_photo_and_others_are_not(self) -> None:
        small = {path.name: shrunk(path) for path in PHOTOS}
        copies: dict[str, tuple[int, Callable[[Image.Image], bytes]]] = {
            "JPEG 50": (2, lambda one: saved(one, quality=50)),
            "JPEG 20": (2, lambda one: saved(one, quality=20)),
            "WebP": (2, lambda one: saved(one, "WEBP", quality=60)),
            "half": (2, lambda one: saved(one.resize((one.width // 2, one.height // 2)))),
            "grey": (0, lambda one: saved(one.convert("L"), "PNG")),
            "without 2 %": (NEAR, lambda one: saved(one.crop((one.width // 50, 0, one.width, one.height)))),
            "mirrored": (1, lambda one: saved(ImageOps.mirror(one), "PNG")),
            "turned by EXIF": (1, lambda one: turned(one)),
        }
        known = {name: hashed(saved(image, "BMP")) for name, image in small.items()}
        for name, image in small.items():
            for how, (most, copy) in copies.items():
                assert bits(known[name], hashed(copy(image))) <= most, f"{name}, {how}"
        different = [bits(one, other) for one, other in combinations(known.values(), 2)]
        assert min(different) > 2 * MOST

    def test_a_jpeg_is_decoded_small(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sizes: list[tuple[int, int]] = []
        turn = ImageOps.exif_transpose
        monkeypatch.setattr(ImageOps, "exif_transpose", lambda image: sizes.append(image.size) or turn(image))
        hashes_of(saved(Image.new("RGB", (4000, 3000), "red")), "x")
        assert sizes == [(500, 375)]

    @pytest.mark.parametrize("mode", ["L", "I;16", "RGBA", "CMYK", "P", "1", "LA"])
    def test_modes(self, mode: str) -> None:
        image = texture(1).convert("L").convert(mode) if mode != "CMYK" else texture(1).convert(mode)
        if mode == "I;16":
            image = Image.fromarray(np.asarray(texture(1).convert("L")).astype(np.uint16) * 257)
        data = saved(image, "JPEG" if mode == "CMYK" else "PNG")
        assert bits(hashed(data), hashed(saved(texture(1), "PNG"))) <= (12 if mode == "1" else 2)


def turned(image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(image.rotate(90, expand=True), quality=95, exif=exif)


class TestLookup:
    @pytest.mark.parametrize("distance", range(MOST + 1))
    def test_all_that_differ_in_few_bits_share_a_slot(self, distance: int) -> None:
        bands, picked = _Bands(distance), random.Random(distance)
        for _ in range(300):
            value = picked.getrandbits(64)
            other = value
            for bit in picked.sample(range(64), distance):
                other ^= 1 << bit
            assert {*bands.slots(value)} & {*bands.probes(other)}
        assert len({*bands.probes(0)}) == len(bands.probes(0)) < 80

    def test_what_a_walk_says_is_what_looking_at_all_pairs_says(self, monkeypatch: pytest.MonkeyPatch) -> None:
        picked = random.Random(5)
        values = [picked.getrandbits(64) for _ in range(40)]
        while len(values) < 400:
            value = picked.choice(values)
            for bit in picked.sample(range(64), picked.randint(0, 9)):
                value ^= 1 << bit
            values.append(value)
        monkeypatch.setattr(near, "hashes_of", lambda data, _: near.Hashes(int(data), int(data) ^ 0xF0F0F0F0F0F0F0F0))
        monkeypatch.setattr(near.photos, "read_header", lambda *_: Header((9, 9), 1))
        monkeypatch.setattr(near, "_PART", 4)
        seen = NearDuplicates(None, 4)
        photos = (Photo(f"{at}", f"{at}", data=str(value).encode()) for at, value in enumerate(values))
        looked = (Looked(photo, [], True) for photo in photos)
        found = [bool(repeats) for _, repeats in seen.told(looked, 0, lambda _: b"", lambda _: "")]
        kept: list[int] = []
        expected = []
        for value in values:
            both = value, value ^ 0xF0F0F0F0F0F0F0F0
            expected.append(any((one ^ other).bit_count() <= 4 for one in kept for other in both))
            kept += [] if expected[-1] else [value]
        assert found == expected and 50 < sum(found) < 390
        seen.close()


class Reads:
    """Counts how often files are opened to be looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.names: list[str] = []
        before = near.hashes_of

        def looked(data: bytes, name: str) -> near.Hashes:
            self.names.append(name)
            return before(data, name)

        monkeypatch.setattr(near, "hashes_of", looked)


class TestRun:
    @pytest.fixture
    def folders(self, tmp_path: Path) -> tuple[Path, Path]:
        """Six photos, and beside them a folder with copies of two, a photo of its own, and one that cannot be read."""
        ours, theirs = tmp_path / "ours", tmp_path / "theirs"
        ours.mkdir(), theirs.mkdir()
        for number in range(6):
            (ours / f"{number}.png").write_bytes(saved(texture(number), "PNG"))
        (theirs / "1.jpg").write_bytes(saved(texture(1), quality=60))
        (theirs / "4.jpg").write_bytes(saved(ImageOps.mirror(texture(4)), quality=60))
        (theirs / "8.jpg").write_bytes(saved(texture(8)))
        (theirs / "9.jpg").write_bytes(b"none")
        return ours, theirs

    def source(self, folders: Iterable[Path], kept: Path | None, distance: int = NEAR) -> Source:
        found = Source([InputShare(str(one)) for one in folders])
        found.near = NearDuplicates(kept, distance)
        return found

    def planned(self, source: Source, size: int | None = None) -> list[Planned]:
        if size is None:
            return list(source.plan([Aim(STYLE)], "all", 0))
        return [
            one for cut in source.shards(size, [Aim(STYLE)]) for one in source.plan([Aim(STYLE)], "all", 0, shard=cut)
        ]

    @pytest.mark.parametrize("size", [None, 2, 4])
    def test_the_first_stays_and_the_others_say_which_they_repeat(
        self, folders: tuple[Path, Path], size: int | None, tmp_path: Path
    ) -> None:
        found = self.planned(self.source(folders, tmp_path / "near.sqlite"), size)
        assert ids(found) == [f"{number}.png" for number in range(6)] + ["theirs//8.jpg"]
        why = reasons(found)
        assert why["theirs//1.jpg"] == "it repeats 1.png (0 of 64 bits differ)"
        assert why["theirs//4.jpg"].startswith("it repeats 4.png (mirrored, ")
        assert "not an image" in why["theirs//9.jpg"]

    def test_a_photo_is_looked_at_once_in_a_run(
        self, folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reads = Reads(monkeypatch)
        first = self.planned(self.source(folders, tmp_path / "near.sqlite"), 4)
        assert len(reads.names) == 9  # of one that is no photo the header says it
        source = self.source(folders, tmp_path / "near.sqlite")
        assert next(source.unmarked(), None) is not None  # as a run that looks whether regions are to be found first
        assert self.planned(source, 4) == first and len(reads.names) == 9
        (folders[0] / "1.png").write_bytes(saved(texture(11), "PNG"))
        again = reasons(self.planned(self.source(folders, tmp_path / "near.sqlite"), 4))
        assert reads.names[9:] == ["1.png"] and set(again) == {"theirs//4.jpg", "theirs//9.jpg"}

    def test_shards_that_are_gone_through_again_say_the_same(self, folders: tuple[Path, Path], tmp_path: Path) -> None:
        """Also where later ones were gone through already, and where the first walk was broken off."""
        kept = tmp_path / "near.sqlite"
        source = self.source(folders, kept)
        cuts = list(source.shards(3, [Aim(STYLE)]))
        whole = [list(source.plan([Aim(STYLE)], "all", 0, shard=cut)) for cut in cuts]
        broken = self.source(folders, kept)
        walk = broken.plan([Aim(STYLE)], "all", 0, shard=cuts[0])
        next(walk)
        walk.close()
        again = self.source(folders, kept)
        assert [list(again.plan([Aim(STYLE)], "all", 0, shard=cut)) for cut in cuts] == whole

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
    @pytest.mark.parametrize("photos", [1, 4, 8])
    def test_a_kill_loses_nothing(self, photos: int, folders: tuple[Path, Path], tmp_path: Path) -> None:
        """Killed in a second shard's walk or later, in the middle of what is taken down of a photo."""
        whole = self.planned(self.source(folders, None), 3)
        killed = os.fork()
        if not killed:
            source, before, taken = self.source(folders, tmp_path / "near.sqlite"), NearDuplicates._slot, 0

            def slotted(self: NearDuplicates, value: int, number: int) -> None:
                nonlocal taken
                before(self, value, number)
                taken += 1
                if taken == photos:
                    os._exit(9)

            NearDuplicates._slot = slotted  # type: ignore[method-assign]
            self.planned(source, 3)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(killed, 0)[1]) == (9 if photos < 8 else 0)
        assert self.planned(self.source(folders, tmp_path / "near.sqlite"), 3) == whole

    def test_large_photos_are_decoded_one_after_the_other(
        self, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        most, now, lock, before = [0], [0], threading.Lock(), near.hashes_of

        def looked(data: bytes, name: str) -> Hashes:
            with lock:
                now[0] += 1
                most[0] = max(most[0], now[0])
            time.sleep(0.02)
            found = before(data, name)
            with lock:
                now[0] -= 1
            return found

        monkeypatch.setattr(near, "hashes_of", looked)
        monkeypatch.setattr(near, "THREADS", 4)
        self.planned(self.source(folders, None))
        assert most[0] > 1
        monkeypatch.setattr(near, "LARGE", 1000)
        most[0] = 0
        self.planned(self.source(folders, None))
        assert most[0] == 1

    def test_another_distance_counts_at_once(self, folders: tuple[Path, Path], tmp_path: Path) -> None:
        kept = tmp_path / "near.sqlite"
        self.planned(self.source(folders, kept, 0))
        strict = self.source(folders, kept, 0)
        strict.close()
        assert set(reasons(self.planned(self.source(folders, kept, NEAR)))) >= {"theirs//1.jpg", "theirs//4.jpg"}

    def test_where_it_is_forgotten_what_photos_look_like_all_are_gone_through_again(
        self, folders: tuple[Path, Path], tmp_path: Path, journal: Journal
    ) -> None:
        kept = tmp_path / "near.sqlite"
        assert [forgotten(journal, self.source(folders, kept, distance)) for distance in (6, 6, 2)] == ["", "", ""]
        for path in tmp_path.glob("near.sqlite*"):
            path.unlink()
        assert [forgotten(journal, self.source(folders, kept)) for _ in range(2)] == [" forgotten 1"] * 2
        assert forgotten(journal, Source(folders[0])) == ""

    def test_a_photo_that_is_told_of_twice_repeats_nothing(self, folders: tuple[Path, Path], tmp_path: Path) -> None:
        lines = tmp_path / "lines.jsonl"
        line = '{"path": "ours/1.png", "bbox": [%d, 5, 40, 45], "class_name": "cup"}\n'
        lines.write_text(
            line % 3 + line % 9 + '{"path": "theirs/1.jpg", "bbox": [3, 5, 40, 45], "class_name": "cup"}\n'
        )
        found = self.source([lines], None)
        planned = plan(found)
        assert ids(planned) == ["ours/1.png", "ours/1.png"]
        assert "it repeats ours/1.png" in reasons(planned)["theirs/1.jpg"]

    def test_a_photo_that_gives_no_sample_stands_for_no_other(self, folders: tuple[Path, Path], tmp_path: Path) -> None:
        """Unless its regions are to be found first."""
        (tmp_path / "lines.jsonl").write_text('{"path": "ours/1.png", "bbox": [3, 5, 40, 45], "class_name": "cup"}\n')
        inputs = [folders[1], tmp_path / "lines.jsonl"]
        planned = plan(self.source(inputs, None))
        assert ids(planned) == ["lines.jsonl//ours/1.png"] and "no region" in reasons(planned)["1.jpg"]
        found = self.source(inputs, None)
        planned = list(found.plan([Aim(REMOVE)], "all", 0, Unavailable("they are found first")))
        assert "it repeats 1.jpg" in reasons(planned)["lines.jsonl//ours/1.png"] and ids(planned) == []

    def test_repeats_get_no_regions(self, folders: tuple[Path, Path]) -> None:
        found = list(self.source(folders, None).unmarked())
        assert ids(found) == [f"{number}.png" for number in range(6)] + ["theirs//8.jpg"]

    def test_rows_bring_their_photos(self, folders: tuple[Path, Path], tmp_path: Path) -> None:
        rows = [path.read_bytes() for path in (folders[1] / "1.jpg", folders[0] / "1.png", folders[0] / "2.png")]
        pq.write_table(pa.table({"image": rows}), tmp_path / "rows.parquet")
        why = reasons(self.planned(self.source([tmp_path / "rows.parquet", folders[0]], None)))
        assert set(why) == {"rows.parquet#1", "ours//1.png", "ours//2.png"}

    def test_what_cannot_be(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(RunError, match=f"--near 9: give 0 to {MOST}"):
            NearDuplicates(None, MOST + 1)
        (tmp_path / "near.sqlite").write_bytes(b"something else" * 100)
        (tmp_path / "photos").mkdir()
        (tmp_path / "photos" / "a.jpg").write_bytes(picture())
        with pytest.raises(RunError, match=r"near\.sqlite: cannot be used .* remove it: it is made again"):
            self.planned(self.source([tmp_path / "photos"], tmp_path / "near.sqlite"))
        import cv2

        monkeypatch.delattr(cv2, "img_hash")
        with pytest.raises(RunError, match="no img_hash; pip install opencv-contrib-python-headless"):
            NearDuplicates(None, 4)
