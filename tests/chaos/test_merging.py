"""Shares of one run made one dataset: what equals a run of the whole, what is refused, and what a kill leaves.

The shares are made by the run's own list of stages in this process, on a server that paints nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from driver.dataset.commits import Commit, committed, ended_tables
from driver.dataset.parts import parts
from driver.errors import RunError
from driver.journal import Journal
from driver.merge import main
from driver.pipeline.merging import Merger
from tests.chaos import double, scene
from tests.chaos.test_shards import KILLED, asked, go
from tests.e2e import helpers

PHOTOS, SIZE, SHARES = 14, 3, 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run of the whole, and one for each of three shares."""
    folder = tmp_path_factory.mktemp("shares")
    source = scene.photos(folder / "photos", PHOTOS)
    with double.serving(folder / "server") as url:
        go(url, source, asked(folder / "whole", shard_size=SIZE))
        for share in range(SHARES):
            go(url, source, asked(folder / f"share{share}", shard_size=SIZE, shard=(share, SHARES)))
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with double.serving(tmp_path / "server") as url:
        yield url


@pytest.fixture
def shares(made: Path, tmp_path: Path) -> list[Path]:
    """Copies of the shares' folders, to be spoilt."""
    for share in range(SHARES):
        shutil.copytree(made / f"share{share}", tmp_path / f"share{share}")
    return [tmp_path / f"share{share}" for share in range(SHARES)]


def merged(shares: list[Path], output: Path) -> Path:
    Merger.of(shares).merge(output)
    return output


def plain(commit: Commit) -> dict[str, Any]:
    """A commit without what tells when it was made: seconds, and figures' times."""
    held = commit.sealed().model_dump(exclude={"seal"})
    held["totals"]["seconds"] = 0
    return held


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for config in ("data", "rejected")
        for path in (folder / config).rglob("*")
        if path.is_file()
    }


def test_merged_shares_are_the_whole(made: Path, tmp_path: Path) -> None:
    output = merged([made / f"share{share}" for share in (2, 0, 1)], tmp_path / "out")
    assert files(output) == files(made / "whole") and files(output)
    both = [[plain(committed(part)) for part in parts(folder)] for folder in (output, made / "whole")]
    assert both[0] == both[1]
    assert (output / "README.md").read_text() == (made / "whole" / "README.md").read_text()
    told = [json.loads((folder / "summary.json").read_text()) for folder in (output, made / "whole")]
    for one in told:
        del one["seconds"], one["samples_per_second"]
    assert told[0] == told[1]
    assert {path.name for path in output.iterdir()} == {path.name for path in (made / "whole").iterdir()} - {
        "run.log.jsonl"
    }
    keys = [[row["key"] for row in helpers.table(folder, "telemetry")] for folder in (output, made / "whole")]
    assert keys[0] == keys[1] == scene.expected(made / "photos")


def test_rows_are_links_and_journals_are_not(made: Path, tmp_path: Path) -> None:
    output = merged([made / f"share{share}" for share in range(SHARES)], tmp_path / "out")
    there, here = made / "share0", output
    row = next((there / "data" / "000000").glob("*.parquet")).relative_to(there)
    assert (there / row).samefile(here / row)
    assert not (there / "shards/000000.sqlite").samefile(here / "shards/000000.sqlite")


def test_the_merged_folder_is_gone_on_with_as_a_run_of_the_whole(
    server: str,
    made: Path,
    tmp_path: Path,
) -> None:
    output = merged([made / f"share{share}" for share in range(SHARES)], tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.parquet") if path.parent.name.isdigit()}
    summary = go(server, made / "photos", asked(output, shard_size=SIZE))
    assert summary.kept == PHOTOS
    assert before == {path: path.stat().st_mtime_ns for path in before}


def other_meta(name: str, value: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        with closing(Journal(folder / "run.sqlite")) as journal:
            journal.set(name, value)

    return spoil


def other_file(name: str, **values: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        told = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(told | values))

    return spoil


def other_content(folder: Path) -> None:
    with closing(Journal(folder / "run.sqlite")) as journal:
        content = json.loads(journal.get("content") or "")
        content[0]["code"] = "1" * 64
        journal.set("content", json.dumps(content))


def not_whole(folder: Path) -> None:
    part = parts(folder)[0]
    commit = committed(part)
    cut = commit.cut.model_copy(update={"whole": False})
    part.commit.write_text(commit.model_copy(update={"cut": cut}).sealed().model_dump_json())


def other_plan(folder: Path) -> None:
    part = parts(folder)[0]
    commit = committed(part)
    cut = commit.cut.model_copy(update={"plan": "0" * 64})
    part.commit.write_text(commit.model_copy(update={"cut": cut}).sealed().model_dump_json())


def other_layout(folder: Path) -> None:
    part = parts(folder)[0]
    commit = committed(part)
    assert commit.dataset
    held = commit.dataset.model_copy(update={"settings": "0" * 64})
    part.commit.write_text(commit.model_copy(update={"dataset": held}).sealed().model_dump_json())


def no_commit(folder: Path) -> None:
    parts(folder)[0].commit.unlink()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (other_meta("seed", "7"), "another seed (0 there, 7 now)"),
        (other_content, "another content ("),
        (other_meta("form", "[4, [1, 3]]"), "another --shard-size (3 there, 4 here)"),
        (other_meta("form", "[3, [1, 4]]"), "another number of shares (3 there, 4 here)"),
        (other_meta("fingerprint", "0"), "another input"),
        (other_file("environment.json", comfyui="0"), "another comfyui (1 there, 0 here)"),
        (not_whole, "shard 000001 is not whole"),
        (other_plan, "shards 000000 and 000001 were not made with the same options"),
        (other_layout, "are of two layouts"),
        (no_commit, "no folder has shard 000001: 11 of 14 photos are there"),
        (lambda folder: (folder / "summary.json").unlink(), "is not finished"),
        (lambda folder: (folder / ".work").mkdir(), "is not finished, or in use"),
        (lambda folder: next((folder / "data/000001").glob("*")).unlink(), "files of shard 000001 are missing"),
    ],
)
def test_what_is_no_share_of_the_run_is_refused(
    spoil: Callable[[Path], None], says: str, shares: list[Path], tmp_path: Path
) -> None:
    spoil(shares[1])
    with pytest.raises(RunError) as refused:
        merged(shares, tmp_path / "out")
    assert says in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_another_graph_is_refused_with_the_difference(shares: list[Path], tmp_path: Path) -> None:
    with closing(Journal(shares[2] / "run.sqlite")) as journal:
        graph = json.loads(journal.get("graph") or "")
        graph[0][0] = "Another"
        journal.set("graph", json.dumps(graph))
    with pytest.raises(RunError, match=r"another graph .*new: Another"):
        merged(shares, tmp_path / "out")


def test_overlaps_and_gaps_are_named(shares: list[Path], tmp_path: Path) -> None:
    again = shutil.copytree(shares[1], tmp_path / "again")
    with pytest.raises(RunError, match=r"shard 000001 lies in .*share1 and in .*again"):
        Merger.of([*shares, again])
    with pytest.raises(RunError, match=r"no folder has shard 000001: .* give the folder of share 1/3 too"):
        Merger.of([shares[0], shares[2]])
    with pytest.raises(RunError, match="what follows shard 000003: 12 of 14 photos"):
        for path in shares[1].glob("shards/000004.*"):
            path.unlink()
        Merger.of(shares)
    with pytest.raises(RunError, match="given twice"):
        Merger.of([shares[0], shares[0]])


def test_a_run_of_one_shard_and_no_run_are_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no folder of a run"):
        Merger.of([tmp_path / "nothing"])
    (tmp_path / "photos").mkdir()
    with pytest.raises(RunError, match="no folder of a run"):
        Merger.of([tmp_path / "photos"])
    bare = shutil.copytree(made / "share0", tmp_path / "bare")
    (bare / "run.sqlite").unlink()
    with pytest.raises(RunError, match=r"run\.sqlite, is missing"):
        Merger.of([bare])
    one = shutil.copytree(made / "share0", tmp_path / "one")
    with closing(Journal(one / "run.sqlite")) as journal:
        journal._db.execute("DELETE FROM meta WHERE name = 'form'")
    with pytest.raises(RunError, match="not cut into shards"):
        Merger.of([one])


def test_a_sample_in_two_shares_is_refused(server: str, tmp_path: Path) -> None:
    photos = scene.photos(tmp_path / "photos", 3)
    lines = [{"path": f"photo00{n}.png", "segmentation": {"object": [{"class_name": "disc", "bbox": [20, 20, 60, 60]}]},
              "instruction": "Remove the disc."} for n in (0, 1, 2, 0)]  # fmt: skip
    listed = tmp_path / "list.jsonl"
    listed.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = [tmp_path / f"share{share}" for share in range(2)]
    for share, output in enumerate(found):
        go(server, listed, asked(output, shard_size=2, image_root=str(photos), shard=(share, 2)))
    with pytest.raises(RunError, match=r"stands twice: in shard 000000 of .*share0 and in shard 000001 of .*share1"):
        Merger.of(found)


def test_an_output_that_holds_something_else_is_left_alone(shares: list[Path], made: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    with pytest.raises(RunError, match="holds files that no run left there"):
        merged(shares, tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    whole = shutil.copytree(made / "whole", tmp_path / "whole")
    with pytest.raises(RunError, match="holds another run than these shares make"):
        merged(shares, whole)
    output = merged(shares, tmp_path / "out")
    (output / "shards/000004.json").rename(output / "shards/000009.json")
    with pytest.raises(RunError, match="holds another run than these shares make"):
        merged(shares, output)
    (output / "shards/000009.json").unlink()
    shutil.copy(output / "shards/000003.json", output / "shards/000004.json")
    with pytest.raises(RunError, match="holds shard 000004 otherwise than"):
        merged(shares, output)
    for inside in (shares[0], shares[0] / "data/new"):
        with pytest.raises(RunError, match="is, or lies in, one of the shares"):
            merged(shares, inside)
    assert not (shares[0] / "data/new").exists()


CALLS = 5


def test_killed_in_between_the_same_command_goes_on(made: Path, tmp_path: Path) -> None:
    """Killed with a file that has not its name yet, of a shard that has no commit yet."""
    output = tmp_path / "out"
    words = [*(str(made / f"share{share}") for share in range(SHARES)), "--output", str(output)]
    place = "driver.pipeline.merging.link"
    script = KILLED.replace("driver.batch", "driver.merge")
    root = Path(__file__).resolve().parents[2]
    process = subprocess.run([sys.executable, "-c", script, str(root), place, str(CALLS), "after", *words], timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert main(words) == 0
    assert files(output) == files(made / "whole")
    assert not (output / ".work").exists() and not list(output.rglob(".*.part"))


def test_where_links_cannot_be_it_copies(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(18, os.strerror(18))

    monkeypatch.setattr(os, "link", no_links)
    output = merged([made / f"share{share}" for share in range(SHARES)], tmp_path / "out")
    assert files(output) == files(made / "whole")
    assert all(path.stat().st_nlink == 1 for path in (output / "data").rglob("*.parquet"))


def test_a_dry_run_writes_nothing(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*(str(made / f"share{share}") for share in range(SHARES)), "--output", str(tmp_path / "out"), "--json"]
    assert main([*words, "--dry-run"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["output"], told["folders"], told["shards"]) == (str(tmp_path / "out"), 3, 5)
    assert not (tmp_path / "out").exists()
    assert main([*words[:-2], str(made / "share0/new"), "--dry-run"]) == 2
    capsys.readouterr()
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kept"], told["failed"]) == (PHOTOS, 0)
    assert main([words[0], "--output", str(tmp_path / "gap")]) == 2
    assert "no folder has shard 000001" in capsys.readouterr().err


def test_lines_of_shares_come_in_the_order_of_the_input(shares: list[Path], made: Path, tmp_path: Path) -> None:
    """Shares that wrote instructions: a line for each kept sample, in the order of their own shards."""
    for share in shares:
        other_file("summary.json", gives="instructions")(share)
        keys = [key for rows in ended_tables(parts(share), "telemetry") for key in rows["key"].to_pylist()]
        (share / "instructions.jsonl").write_text("".join(json.dumps({"key": key}) + "\n" for key in keys))
    output = merged(shares, tmp_path / "out")
    lines = [json.loads(line)["key"] for line in (output / "instructions.jsonl").read_text().splitlines()]
    assert lines == scene.expected(made / "photos")
    (shares[1] / "instructions.jsonl").unlink()
    with pytest.raises(RunError, match=r"instructions.jsonl: lacks lines"):
        merged(shares, tmp_path / "again")
