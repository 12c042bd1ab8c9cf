"""Releases of finished runs: whole, never changed, the same from the same rows, and everything that is left out is told."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from comfy_nodes.core.models import Model
from comfy_nodes.core.verdicts.verdicts import Judge
from driver.dataset.rows import SCHEMA
from driver.release import main
from driver.releases import shelf
from tests.unit.release_making import Runs, go, keys, left_out, manifest, rows, sha, table

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder but for the lock."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found.pop(".release.lock", None)
    return found


class TestRows:
    @pytest.mark.parametrize("layout", ["hf", "imgedit", "wds"])
    def test_kept_rows_are_in_it_as_they_are_from_every_layout(self, layout: str, runs: Runs, tmp_path: Path) -> None:
        many = {
            "a": {"subtask": "unicedit/Subject Removal"},
            "b": {"judge": Judge(model="m", prompt_version="1", reply="ü")},
        }
        out = runs.make("out", {**many, "c": {"verdict": "reject"}}, layout)
        go(out, "--output", tmp_path / "r", "--split", "100")
        found = rows(tmp_path / "r/v1.0.0")
        assert [row["key"] for row in found] == ["a", "b"]
        plain = runs.make("plain", many)
        (there,) = (plain / "data").glob("*.parquet")
        expected = pq.read_table(there)
        for row, before in zip(found, expected.to_pylist(), strict=True):
            # webdatasets have an empty text where there is none
            assert {name: row[name] or None for name in SCHEMA.names} == {
                name: before[name] or None for name in SCHEMA.names
            }
        go(plain, "--output", tmp_path / "of_plain", "--split", "100")
        assert manifest(tmp_path / "of_plain/v1.0.0").content == manifest(tmp_path / "r/v1.0.0").content

    def test_the_parquet_is_written_as_a_runs(self, runs: Runs, tmp_path: Path) -> None:
        out = runs.make("out", {"a": {}})
        go(out, "--output", tmp_path / "r", "--split", "100")
        (there,), (here,) = ((folder / "data").glob("*.parquet") for folder in (out, tmp_path / "r/v1.0.0"))
        assert here.read_bytes() == there.read_bytes()

    def test_all_shards_of_a_run_of_many_are_in_it(self, runs: Runs, tmp_path: Path) -> None:
        runs.make("out", {"a": {}, "b": {}}, shard="000000")
        out = runs.make("out", {"c": {}}, shard="000001")
        go(out, "--output", tmp_path / "r")
        assert keys(tmp_path / "r/v1.0.0") == ["a", "b", "c"]

    def test_of_a_key_in_two_folders_the_first_counts_and_the_other_is_listed(self, runs: Runs, tmp_path: Path) -> None:
        first, second = runs.make("first", {"a": {}}), runs.make("second", {"a": {"prompt": "Else."}, "b": {}})
        go(first, second, "--output", tmp_path / "r")
        assert {row["key"]: row["prompt"] for row in rows(tmp_path / "r/v1.0.0")} == dict.fromkeys(
            "ab", "Remove the cup."
        )
        (lost,) = table(tmp_path / "r/v1.0.0", "left_out")
        assert (lost["key"], lost["folder"]) == ("a", "second") and "the first counts" in lost["reason"]
        assert [(one.folder, one.kept, one.taken) for one in manifest(tmp_path / "r/v1.0.0").made_of] == [
            ("first", 1, 1),
            ("second", 2, 1),
        ]

    def test_a_damaged_picture_is_named_and_nothing_is_released(
        self, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = runs.make("out", {"a": {}, "b": {}})
        (path,) = (out / "data").glob("*.parquet")
        data, (_, row) = bytearray(path.read_bytes()), rows(out.parent / "out")
        place = data.find(row["output_images"][0]["bytes"])
        data[place + 60] ^= 255
        path.write_bytes(data)
        go(out, "--output", tmp_path / "r", status=1)
        assert "a picture of row b is no whole PNG" in capsys.readouterr().err
        assert not (tmp_path / "r").exists()

    def test_rows_of_an_earlier_version_lack_columns_and_those_of_a_later_one_are_refused(
        self, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = runs.make("out", {"a": {}})
        (path,) = (out / "data").glob("*.parquet")
        rows_there = pq.read_table(path)
        pq.write_table(rows_there.drop_columns(["vouched_by", "schema_version"]), path)
        go(out, "--output", tmp_path / "r")
        (row,) = rows(tmp_path / "r/v1.0.0")
        assert (row["key"], row["vouched_by"], row["schema_version"]) == ("a", None, None)
        pq.write_table(rows_there.append_column("mood", [["fine"]]), path)
        go(out, "--output", tmp_path / "r", status=2)
        assert "has a column 'mood', which this version does not know" in capsys.readouterr().err

    def test_a_run_that_goes_on_meanwhile_is_noticed(
        self, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = runs.make("out", {"a": {}})
        monkeypatch.setattr("driver.releases.writing.dataset_digest", lambda _run: "another")
        go(out, "--output", tmp_path / "r", status=1)
        assert "its rows changed meanwhile" in capsys.readouterr().err
        assert files(tmp_path / "r") == {}


class TestPlace:
    def test_the_same_again_makes_no_other_release(self, runs: Runs, tmp_path: Path) -> None:
        out = runs.make("out", {"a": {}, "b": {}})
        go(out, "--output", tmp_path / "r")
        first = files(tmp_path / "r")
        go(out, "--output", tmp_path / "r")
        go(out, "--output", tmp_path / "r", "--version", "1.0.0")
        assert files(tmp_path / "r") == first

    def test_the_same_rows_give_the_same_bytes(self, runs: Runs, tmp_path: Path) -> None:
        out = runs.make("out", {"a": {}, "b": {}})
        for name in ("one", "other"):
            go(out, "--output", tmp_path / name)
        assert files(tmp_path / "one") == files(tmp_path / "other")

    def test_a_version_that_is_there_is_not_written_to(
        self, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        go(runs.make("out", {"a": {}}), "--output", tmp_path / "r")
        first = files(tmp_path / "r")
        go(runs.make("more", {"a": {}, "b": {}}), "--output", tmp_path / "r", "--version", "1.0.0", status=2)
        assert "holds release 1.0.0 with other rows" in capsys.readouterr().err
        assert files(tmp_path / "r") == first

    def test_versions_say_what_changed(self, runs: Runs, tmp_path: Path) -> None:
        steps = [
            ({"a": {}, "b": {}}, "v1.0.0"),
            ({"a": {}, "b": {}, "c": {}}, "v1.1.0"),
            ({"a": {}, "c": {}}, "v2.0.0"),
            ({"a": {"prompt": "Else."}, "c": {}}, "v3.0.0"),
        ]
        for number, (made, folder) in enumerate(steps):
            go(runs.make(f"out{number}", made), "--output", tmp_path / "r")
            assert (tmp_path / "r" / folder).is_dir()

    @pytest.mark.parametrize("name", ["README.md", "v1.0.0", "data/x.parquet"])
    def test_a_folder_of_somebody_elses_is_left_alone(self, name: str, runs: Runs, tmp_path: Path) -> None:
        out, there = runs.make("out", {"a": {}}), tmp_path / "r" / name
        there.parent.mkdir(parents=True)
        there.write_text("mine")
        go(out, "--output", tmp_path / "r", status=2)
        assert files(tmp_path / "r") == {name: b"mine"}

    def test_it_does_not_lie_in_a_run(self, runs: Runs, capsys: pytest.CaptureFixture[str]) -> None:
        out = runs.make("out", {"a": {}})
        go(out, "--output", out / "releases", status=2)
        assert "choose a folder beside it" in capsys.readouterr().err

    def test_wherever_it_is_killed_there_is_a_whole_release_or_none(
        self, runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        out, r = runs.make("out", {"a": {}, "b": {}}), tmp_path / "r"
        go(out, "--output", tmp_path / "whole")
        step = 0
        while killed_at(monkeypatch, out, r, step):
            step += 1
            assert [path.name for path in r.iterdir() if not path.name.startswith(".")] == []
        assert step > 6
        assert files(r) == files(tmp_path / "whole")

    def test_a_kill_leaves_what_the_next_one_clears(self, runs: Runs, tmp_path: Path) -> None:
        """The signal, in a process of its own, while rows are written."""
        out, r = runs.make("out", {"a": {}, "b": {}}), tmp_path / "r"
        code = (
            "import os, signal, sys; sys.path.insert(0, '.')\n"
            "from driver.releases import release\n"
            "real = release.write_rows\n"
            "def dying(*given):\n    real(*given)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
            "release.write_rows = dying\n"
            "from driver.release import main\nmain(sys.argv[1:])\n"
        )
        done = subprocess.run([sys.executable, "-c", code, str(out), "--output", str(r)], cwd=REPOSITORY, check=False)
        assert done.returncode == -9
        assert (r / ".release.part/data").is_dir() and not (r / "v1.0.0").exists()
        go(out, "--output", r)
        assert {path.name for path in r.iterdir()} == {"v1.0.0", ".release.lock"}

    def test_what_is_not_ours_beside_it_is_left_alone(self, runs: Runs, tmp_path: Path) -> None:
        mine = tmp_path / "r/.release.part/mine.txt"
        mine.parent.mkdir(parents=True)
        mine.write_text("mine")
        go(runs.make("out", {"a": {}}), "--output", tmp_path / "r", status=2)
        assert mine.read_text() == "mine"

    def test_a_full_disk_is_one_line(
        self, runs: Runs, tmp_path: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = runs.make("out", {f"k{number}": {"before": (noise(number),)} for number in range(3)})
        go(out, "--output", small_disk / "r", status=1)
        assert f"the disk of {small_disk / 'r'} is full" in capsys.readouterr().err
        assert files(small_disk / "r") == {}


class Killed(BaseException):
    """A kill, within one process: nothing is cleared after it."""


def killed_at(monkeypatch: pytest.MonkeyPatch, out: Path, r: Path, step: int) -> bool:
    """Releases with a kill instead of the rename of that number; returns False where there are fewer."""
    renames = iter(range(step + 1))
    real_replace, real_clear = Path.replace, shelf._clear

    def replace(path: Path, target: Path) -> Path:
        if next(renames, step) == step:
            raise Killed
        return real_replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", replace)
        patched.setattr(shelf, "_clear", lambda part: isinstance(sys.exc_info()[1], Killed) or real_clear(part))
        try:
            go(out, "--output", r)
        except Killed:
            return True
    return False


def noise(seed: int) -> bytes:
    """A PNG of about 0.9 MB."""
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (550, 550, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two releases, one after the other."""
    folder = tmp_path_factory.mktemp("two")
    runs = Runs(folder)
    go(runs.make("out", {"a": {}, "b": {}}), "--output", folder / "r")
    go(runs.make("more", {"a": {}, "b": {}, "c": {}}), "--output", folder / "r")
    return folder / "r"


class TestManifest:
    @pytest.fixture
    def release(self, two: Path, tmp_path: Path) -> Path:
        """The second of two, beside the first."""
        return Path(shutil.copytree(two, tmp_path / "r")) / "v1.1.0"

    def test_it_holds(self, release: Path, capsys: pytest.CaptureFixture[str]) -> None:
        go("--verify", release, "--json")
        told = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert (told["version"], told["rows"], told["seal"]) == ("1.1.0", 3, manifest(release).seal)

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            (lambda r: next((r / "data").glob("*")).unlink(), "is missing"),
            (lambda r: flip(next((r / "data").glob("*"))), "was changed"),
            (lambda r: flip(r / "README.md"), "README.md was changed"),
            (lambda r: (r / "takedown.txt").unlink(), "takedown.txt is missing"),
            (lambda r: (r / "data/train-9.parquet").write_bytes(b""), "data/train-9.parquet is not of it"),
            (lambda r: (r / "manifest.json").unlink(), "no release lies there"),
            (lambda r: swap(r / "manifest.json", '"rows": 3', '"rows": 4'), "was changed after it was written"),
            (lambda r: swap(r / "manifest.json", f'"seal": "{manifest(r).seal}"', '"seal": ""'), "has no seal"),
            (lambda r: flip_before(r), "v1.0.0 beside it is not the release that it was made after"),
        ],
    )
    def test_what_was_changed_is_found(
        self, change: Callable[[Path], object], says: str, release: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        change(release)
        assert main(["--verify", str(release)]) in (1, 2)
        told = capsys.readouterr()
        assert says in told.err and len(told.err.splitlines()) == 1 and not told.out

    def test_it_counts_what_is_in_it_and_names_what_it_was_made_of(self, runs: Runs, tmp_path: Path) -> None:
        klein = Model(role="diffusion model", name="flux-2-klein-4b-fp8.safetensors", licence="Apache-2.0")
        judged = {
            "judge": Judge(model="gpt", prompt_version="1", reply="fine"),
            "models": (klein, Model(role="writer", name="template")),
        }
        out = runs.make(
            "out",
            {"a": judged, "b": {"task": "add", "subtask": "unicedit/Subject Addition"}, "c": {"source_licence": "CC0"}},
        )
        (out / "recipe.json").write_text('{"name": "imgedit"}')
        go(out, "--output", tmp_path / "r", "--split", "100")
        found = manifest(tmp_path / "r/v1.0.0")
        assert found.counts.model_dump() == {
            "splits": {"train": 3},
            "tasks": {"add": 1, "remove": 2},
            "kinds": {"remove": 2, "unicedit/Subject Addition": 1},
            "licences": {"": 2, "CC0": 1},
            "models": {"flux-2-klein-4b-fp8.safetensors (Apache-2.0)": 1},
            "judges": {"": 2, "gpt": 1},
            "workflows": {"remove": 3},
        }
        (made_of,) = found.made_of
        assert (made_of.folder, made_of.recipe, made_of.taken) == ("out", "imgedit", 3)
        stages = sorted(row["stage_sha256"] for row in rows(tmp_path / "r/v1.0.0"))
        assert made_of.stages == sha("".join(stages))
        listed = {file.path: (file.size, file.sha256) for file in found.files}
        there = files(tmp_path / "r/v1.0.0")
        assert listed == {name: (len(data), sha(data)) for name, data in there.items() if name != "manifest.json"}

    def test_no_path_of_this_machine_is_in_it(self, two: Path) -> None:
        assert not [name for name, data in files(two).items() if str(two.parent).encode() in data]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def swap(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def flip_before(release: Path) -> None:
    """Puts another whole release in the place of the one before."""
    before = release.with_name("v1.0.0")
    found = manifest(before).model_copy(update={"rows": 7})
    (before / "manifest.json").write_text(found.sealed().text())


class TestTelling:
    def test_a_dry_run_shows_and_writes_nothing(
        self, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = runs.make("out", {"a": {}, "b": {"verdict": "reject"}})
        go(out, "--output", tmp_path / "r", "--dry-run", "--json")
        told = json.loads(capsys.readouterr().out)
        assert (told["version"], told["made"], told["rows"], told["dry_run"]) == ("1.0.0", False, 1, True)
        assert not (tmp_path / "r").exists()

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (("--quota", "remove"), "--quota remove: write it as TASK=N or KIND=N"),
            (("--quota", "remve=3"), "--quota remve: no task or kind; the nearest names are remove"),
            (("--quota", "remove=3,remove=4"), "--quota remove: stands there twice"),
            (("--against", "nowhere"), "--against nowhere: no such folder"),
            (("--without", "nowhere"), "--without nowhere: cannot be read"),
            (("--since", "nowhere"), "--since nowhere: no release lies there"),
        ],
    )
    def test_what_cannot_be_used_is_one_line(
        self, words: tuple[str, ...], line: str, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        go(runs.make("out", {"a": {}}), "--output", tmp_path / "r", *words, status=2)
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 1 and told[0].startswith(f"release.py: {line}")
        assert not (tmp_path / "r").exists()

    @pytest.mark.parametrize(
        "words",
        [
            (), ("out",), ("--output", "r"), ("out", "--output", "r", "--split", "98,1"), ("out", "--output", "r", "--split", "x"),
            ("out", "--output", "r", "--version", "1.0"), ("out", "--output", "r", "--seed", "1"),
            ("out", "--verify", "r"), ("--verify", "r", "--dry-run"), ("out", "--output", "r", "--near", "40"),
        ],
    )  # fmt: skip
    def test_words_that_mean_nothing_are_refused(self, words: tuple[str, ...]) -> None:
        with pytest.raises(SystemExit, match="2"):
            main(list(words))

    def test_a_folder_given_twice_and_one_without_rows_are_refused(
        self, runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out, none = runs.make("out", {"a": {}}), runs.make("none", {"a": {"verdict": "reject"}})
        go(out, out, "--output", tmp_path / "r", status=2)
        go(none, "--output", tmp_path / "r", status=2)
        go(tmp_path / "nowhere", "--output", tmp_path / "r", status=2)
        told = capsys.readouterr().err
        assert "given twice" in told and "no row is left" in told and "no such folder" in told


def test_a_run_that_is_not_done_is_refused(runs: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = runs.make("run", {"a": {}})
    (run / "summary.json").write_text(json.dumps({"pending": 3}))
    assert main([str(run), "--output", str(tmp_path / "release")]) != 0
    assert "3 of its samples are not done yet, and a release is for good" in capsys.readouterr().err
    assert not (tmp_path / "release").exists()


def test_load_dataset_opens_every_split(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    out = runs.make("out", {f"k{number}": {} for number in range(12)})
    go(out, "--output", tmp_path / "r", "--split", "50,25,25")
    opened = datasets.load_dataset(str(tmp_path / "r/v1.0.0"), cache_dir=str(tmp_path / "cache"))
    assert {split: sorted(found["key"]) for split, found in opened.items()} == {
        split: keys(tmp_path / "r/v1.0.0", split) for split in ("train", "validation", "test")
    }
    assert opened["train"][0]["input_images"][0].size == (12, 12)
    assert left_out(tmp_path / "r/v1.0.0") == {}
