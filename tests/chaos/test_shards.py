"""A run of many shards, killed, stopped and gone on with: every sample once, in the input's order.

Kills are of the command itself; all else is the run's own list of stages in this process, on a server that paints nothing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow.parquet as pq
import pytest

from benchmarks.driver_servers import ServerProcess
from benchmarks.fake_engine import INGREDIENTS
from driver.comfyui.client import ComfyServer
from driver.comfyui.hosts import ForeignServer
from driver.dataset.commits import commits
from driver.dataset.dataset import stored_rows
from driver.dataset.parts import Part
from driver.dataset.publish import publish, published_commits
from driver.dataset.spool import Spool
from driver.errors import RunError
from driver.graph.file import WorkflowFile
from driver.inputs import annotation
from driver.inputs.shares import InputShare
from driver.inputs.source import Source
from driver.journal import Journal
from driver.options import RunOptions
from driver.pipeline.dry_run import Scope, dry_run
from driver.pipeline.folder import OutputFolder
from driver.pipeline.form import form_of
from driver.pipeline.merging import Merger
from driver.pipeline.preflight import Agreement
from driver.pipeline.run import shard_by_shard
from driver.pipeline.settled import settled
from driver.pipeline.shard import OpenShard
from driver.pipeline.stage import Run
from driver.pipeline.workflow import Workflow
from driver.report.summary import Summary
from driver.samples import Sample
from driver.stopping import StopRequest
from tests.chaos import double, scene
from tests.chaos.conftest import Fakes
from tests.chaos.scene import AT_ONCE, EDIT, Patched
from tests.e2e import helpers

PHOTOS, SIZE = 25, 10

KILLED = """
import importlib, os, signal, sys
sys.path.insert(0, sys.argv.pop(1))
place, call, after = sys.argv.pop(1), int(sys.argv.pop(1)), sys.argv.pop(1) == "after"
module, _, name = place.rpartition(".")
loaded = importlib.import_module(module)
known, calls = getattr(loaded, name), []
def killed(*values, **named):
    calls.append(1)
    if after and len(calls) == call:
        known(*values, **named)
    if len(calls) == call:
        os.kill(os.getpid(), signal.SIGKILL)
    return known(*values, **named)
setattr(loaded, name, killed)
from driver.batch import main
sys.exit(main(sys.argv[1:]))
"""
"""The command that is killed before, or after, a call of one of its functions."""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return scene.photos(tmp_path / "photos", PHOTOS)


class Posts:
    """A hand in a server's answers: counts prompts, and the samples of each; calls somebody at one of them."""

    def __init__(self) -> None:
        self.prompts = 0
        self.samples = 0
        self.at: dict[int, Callable[[], None]] = {}
        """What is called when so many samples' records have been asked for."""

    def __call__(self, route: str, name: str, _body: bytes) -> None:
        self.prompts += route == "POST /prompt"
        if route == "GET /view" and name.endswith(".records.json"):
            self.samples += 1
            self.at.pop(self.samples, lambda: None)()


@pytest.fixture
def posts() -> Posts:
    return Posts()


@pytest.fixture
def server(posts: Posts, tmp_path: Path) -> Iterator[str]:
    with double.serving(tmp_path / "server", posts) as url:
        yield url


def workflow(url: str, task: str = "remove") -> Workflow:
    graph = double.graph(task)
    agreement = Agreement(
        url, graph.api, {"system": {"comfyui_version": "1"}, "devices": []}, double.NODES, INGREDIENTS, ()
    )
    file = SimpleNamespace(path=Path("paint.json"), sha256="f" * 64, ui=None)
    return Workflow(
        [ForeignServer(ComfyServer(url))], agreement, cast(WorkflowFile, file), graph, "classical", "classical"
    )


def asked(output: Path, **more: Any) -> RunOptions:
    return replace(RunOptions(str(EDIT), output, shard_size=SIZE), **more)


def go(
    url: str,
    photos: Path,
    options: RunOptions,
    stop: StopRequest | None = None,
    used: Sequence[Workflow] | None = None,
) -> Summary:
    """Runs the command's list of stages."""
    source, used = Source(photos, options.image_root), used or [workflow(url)]
    folder = OutputFolder(options.output)
    try:
        form = form_of(folder.journal, options, source, [one.aim for one in used])
        folder.claim(used, options.seed)
        assert form
        return shard_by_shard(Run(options, source, folder, stop or StopRequest()), used, form)
    finally:
        folder.close()


def kept_once(output: Path, source: Path) -> None:
    """Every sample is kept, once, in the input's order, and nothing is left open."""
    assert [row["key"] for row in helpers.rows(output)] == scene.expected(source)
    assert [(one.index, one.cut.whole) for one in commits(output)] == [(index, True) for index in range(3)]
    assert not (output / ".work").exists()


def posted_once(output: Path) -> bool:
    return {row["submissions"] for row in helpers.table(output, "telemetry")} == {1}


def files(output: Path) -> dict[Path, tuple[int, int]]:
    """What tells whether files of shards were written again."""
    found = [path for path in output.rglob("0*/*") if path.is_file()] + list(output.glob("shards/*.json"))
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def test_samples_follow_one_another_over_all_shards(server: str, posts: Posts, source: Path, tmp_path: Path) -> None:
    """Prompts hold samples of two shards where one ends within them."""
    summary = go(server, source, asked(tmp_path / "out", samples_per_prompt=4))
    kept_once(tmp_path / "out", source)
    assert posts.prompts == -(-PHOTOS // 4)
    assert (summary.samples, summary.kept, summary.pending) == (PHOTOS, PHOTOS, 0)
    assert [row["key"] for row in helpers.table(tmp_path / "out", "telemetry")] == scene.expected(source)


def test_what_is_done_is_not_touched_again(server: str, posts: Posts, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    first = go(server, source, asked(output))
    before, prompts = files(output), posts.prompts
    assert go(server, source, asked(output)) == first
    assert (files(output), posts.prompts) == (before, prompts)


def test_a_run_that_is_done_needs_no_server(server: str, source: Path, tmp_path: Path) -> None:
    options = asked(tmp_path / "out")
    summary = go(server, source, options)
    folder = OutputFolder(options.output)
    try:
        assert settled(folder, options, Source(source).fingerprint) == summary
        assert settled(folder, replace(options, json=True), Source(source).fingerprint) == summary
        assert settled(folder, replace(options, limit=30), Source(source).fingerprint) is None
        assert settled(folder, replace(options, retry_failed=""), Source(source).fingerprint) is None
        next(options.output.glob("data/000001/*")).unlink()
        assert settled(folder, options, Source(source).fingerprint) is None
    finally:
        folder.close()
    go(server, source, options)
    assert [row["key"] for row in helpers.rows(options.output)] == scene.expected(source)


def test_a_dry_run_refuses_what_the_run_would(server: str, source: Path, tmp_path: Path) -> None:
    options, aims = asked(tmp_path / "out", limit=12), [workflow(server).aim]
    go(server, source, options)
    with closing(Journal(options.output / "run.sqlite")) as journal:
        with pytest.raises(RunError, match="holds shards of 10 photos, and shards of 9 photos is asked for"):
            Scope.of(replace(options, shard_size=9), Source(source), aims, journal)
        assert "shard 0 was planned, of 3" in Scope.of(options, Source(source), aims, journal).told


def test_a_dry_run_tells_what_is_there_already(
    server: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("driver.pipeline.dry_run.open_workflows", lambda *_: nullcontext([workflow(server)]))
    options = asked(tmp_path / "out", input=(InputShare(str(source)),))
    assert dry_run(options) == {"to_edit": 25, "skipped": 0, "unusable": 0, "without_regions": 0}
    assert "already" not in capsys.readouterr().out
    assert not options.output.exists()
    go(server, source, replace(options, limit=12))
    dry_run(options)
    assert "of these: 12 done, 0 failed, 0 skipped already" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["keys", "statistics.json", "failed.parquet"])
@pytest.mark.parametrize("gone", [True, False])
def test_a_shard_whose_figures_were_lost_is_written_again(
    what: str, gone: bool, server: str, posts: Posts, source: Path, tmp_path: Path
) -> None:
    options = asked(tmp_path / "out")
    summary = go(server, source, options)
    path, prompts = options.output / "shards" / f"000001.{what}", posts.prompts
    was = path.read_bytes()
    path.unlink() if gone else path.write_bytes(was[:-9])
    folder = OutputFolder(options.output)
    try:
        assert settled(folder, options, Source(source).fingerprint) is None
    finally:
        folder.close()
    assert go(server, source, options).kept == summary.kept
    assert path.read_bytes() == was
    kept_once(options.output, source)
    assert posts.prompts == prompts


def test_a_copy_of_a_run_is_as_done_as_the_run(server: str, posts: Posts, source: Path, tmp_path: Path) -> None:
    """A copy's files have times of their own, in any order."""
    go(server, source, asked(tmp_path / "out"))
    output = tmp_path / "copy"
    shutil.copytree(tmp_path / "out", output)
    for path in output.glob("shards/*.keys"):
        os.utime(path)
    before, prompts = files(output), posts.prompts
    go(server, source, asked(output))
    assert (files(output), posts.prompts) == (before, prompts)


def test_what_another_command_began_is_not_done_for_the_first(server: str, source: Path, tmp_path: Path) -> None:
    """Another layout is stopped after some shards: the first command brings them back, and is not done before."""
    options, stop = asked(tmp_path / "out"), StopRequest()
    go(server, source, options)

    def stopping(*which: Any) -> OpenShard:
        stop.request()
        return OpenShard(*which)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("driver.pipeline.shards.OpenShard", stopping)
        go(server, source, replace(options, layout="wds"), stop)
    assert {path.suffix for path in options.output.glob("data/*/*")} == {".tar", ".parquet"}
    folder = OutputFolder(options.output)
    try:
        assert settled(folder, options, Source(source).fingerprint) is None
    finally:
        folder.close()
    go(server, source, options)
    assert {path.suffix for path in options.output.glob("data/*/*")} == {".parquet"}
    kept_once(options.output, source)


def test_stopped_it_leaves_what_is_done_and_goes_on(server: str, posts: Posts, source: Path, tmp_path: Path) -> None:
    output, stop = tmp_path / "out", StopRequest()
    posts.at[13] = stop.request
    summary = go(server, source, asked(output, samples_per_prompt=1), stop)
    done = [row["key"] for row in helpers.rows(output)]
    assert done == scene.expected(source)[: len(done)]
    assert 13 <= len(done) < 20
    assert [one.cut.whole for one in commits(output)][:2] == [True, False]
    assert (summary.kept, summary.samples) == (len(done), len(done) + summary.pending)
    go(server, source, asked(output))
    kept_once(output, source)
    assert posted_once(output)


def test_resumed_it_counts_no_line_of_the_input_again(
    server: str, posts: Posts, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, stop = tmp_path / "rows.jsonl", StopRequest()
    told = [{"path": f"photo{number:03d}.png", "bbox": [4, 4, 40, 40], "class_name": "cup"} for number in range(PHOTOS)]
    rows.write_text("".join(json.dumps(one) + "\n" for one in told))
    options = asked(tmp_path / "out", samples_per_prompt=1, image_root=source)
    posts.at[13] = stop.request
    go(server, rows, options, stop)
    passed: list[int] = []
    pass_lines = annotation._pass_lines
    monkeypatch.setattr(annotation, "_pass_lines", lambda *given: passed.append(pass_lines(*given)) or passed[-1])
    summary = go(server, rows, options)
    assert (summary.kept, summary.pending) == (PHOTOS, 0)
    assert sum(passed) < SIZE, "those of the last shard alone, which nobody came to the end of"
    passed.clear()
    rows.write_text(rows.read_text().replace("[4, 4,", "[5, 4,"))  # places in another input are none in this one
    go(server, rows, options)
    assert sum(passed) >= SIZE


def test_a_shard_that_cannot_be_written_ends_the_run_in_one_line(
    server: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    with monkeypatch.context() as patched:
        full = RunError("the disk of out is full: make room and run the same command again; it goes on", 1)
        patched.setattr("driver.pipeline.shard.write_commit", lambda *_: (_ for _ in ()).throw(full))
        with pytest.raises(RunError, match="make room and run the same command again"):
            go(server, source, asked(output))
    assert list(commits(output)) == []
    go(server, source, asked(output))
    kept_once(output, source)


def test_a_photo_that_cannot_be_planned_fails_in_its_shard(server: str, source: Path, tmp_path: Path) -> None:
    (source / "photo012.png").write_bytes(b"no photo")
    output = tmp_path / "out"
    summary = go(server, source, asked(output))
    assert (summary.kept, summary.failed) == (PHOTOS - 1, 1)
    assert [row["source_id"] for row in helpers.table(output, "failed")] == ["photo012.png"]
    assert [one.totals.counts.get("failed") for one in commits(output)] == [None, 1, None]
    before = files(output)
    go(server, source, asked(output))
    assert files(output) == before
    go(server, source, asked(output, retry_failed=""))
    changed = {
        path.parts[-2] if path.suffix == ".parquet" else path.name.partition(".")[0]
        for path in before
        if files(output)[path] != before[path]
    }
    assert changed == {"000001"}, "only the shard with a failed sample is gone through again"


@pytest.mark.parametrize("limit", [5, 10, 12])
def test_a_limit_goes_over_all_shards_and_may_be_raised(limit: int, server: str, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    for most in (limit, limit, 17):
        summary = go(server, source, asked(output, limit=most))
        assert [row["key"] for row in helpers.rows(output)] == scene.expected(source)[:most]
        assert summary.samples == most


def test_a_photo_that_stands_in_two_shards_is_edited_once(server: str, tmp_path: Path) -> None:
    photos = scene.photos(tmp_path / "photos", 3)
    lines = [{"path": f"photo00{n}.png", "segmentation": {"object": [{"class_name": "disc", "bbox": [20, 20, 60, 60]}]},
              "instruction": "Remove the disc."} for n in (0, 1, 2, 0)]  # fmt: skip
    listed = tmp_path / "list.jsonl"
    listed.write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = tmp_path / "out"
    options = asked(output, shard_size=2, image_root=str(photos))
    for _ in range(2):
        summary = go(server, listed, options)
        assert [row["source_path"] for row in helpers.rows(output)] == ["photo000.png", "photo001.png", "photo002.png"]
        assert [row["error_type"] for row in helpers.table(output, "skipped")] == ["DuplicateSample"]
        assert (summary.kept, summary.skipped) == (3, 1)


def test_another_size_is_refused(server: str, source: Path, tmp_path: Path) -> None:
    go(server, source, asked(tmp_path / "out"))
    with pytest.raises(RunError, match="holds shards of 10 photos, and shards of 9 photos is asked for"):
        go(server, source, asked(tmp_path / "out", shard_size=9))


def test_three_shares_are_the_whole(server: str, tmp_path: Path) -> None:
    source = scene.photos(tmp_path / "photos", 32)
    outputs = [tmp_path / f"out{share}" for share in range(3)]
    for share, output in enumerate(outputs):
        go(server, source, asked(output, shard=(share, 3)))
    assert [[one.index for one in commits(output)] for output in outputs] == [[0, 3], [1], [2]]
    found = {path.parent.name: path for output in outputs for path in (output / "data").rglob("*.parquet")}
    keys = [row["key"] for name in sorted(found) for row in pq.read_table(found[name]).to_pylist()]
    assert keys == scene.expected(source)


def test_a_share_without_shards_has_nothing_to_do(server: str, source: Path, tmp_path: Path) -> None:
    options = asked(tmp_path / "out", shard=(7, 8))
    summary = go(server, source, options)
    assert (summary.samples, summary.pending) == (0, 0)
    folder = OutputFolder(options.output)
    try:
        assert settled(folder, options, Source(source).fingerprint) == summary
    finally:
        folder.close()
    others = [tmp_path / f"out{share}" for share in range(7)]
    for share, output in enumerate(others):
        go(server, source, asked(output, shard=(share, 8)))
    merged = Merger.of([*others, options.output]).merge(tmp_path / "whole")
    assert merged.kept == PHOTOS
    kept_once(tmp_path / "whole", source)


def test_an_interrupt_waits_for_no_shard_to_be_written(
    server: str, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, spool = tmp_path / "out", Spool.get

    def interrupted(_writer: Any) -> None:
        helpers.until(lambda: reading, "a shard to be written")
        at.append(len(reading))
        raise KeyboardInterrupt

    def slow(self: Spool, *which: Any) -> bytes | None:
        reading.append(which)
        time.sleep(0.2)
        return spool(self, *which)

    reading: list[tuple[Any, ...]] = []
    at: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr("driver.pipeline.writer.ShardWriter.wait", interrupted)
        patched.setattr(Spool, "get", slow)
        with pytest.raises(KeyboardInterrupt):
            go(server, source, asked(output))
    assert len(reading) <= at[0] + 1
    assert list(commits(output)) == []
    go(server, source, asked(output))
    kept_once(output, source)
    assert posted_once(output)


def test_several_workflows_run_one_after_the_other_within_a_shard(server: str, source: Path, tmp_path: Path) -> None:
    both = [workflow(server, task) for task in ("remove", "extract")]
    summary = go(server, source, asked(tmp_path / "out"), used=both)
    found = [(row["source_path"], row["task"]) for row in helpers.rows(tmp_path / "out")]
    names = sorted(path.name for path in source.glob("photo???.png"))
    assert found == [(name, task) for name in names for task in ("remove", "extract")]
    assert summary.kept == 2 * PHOTOS
    task_of = {row["key"]: row["task"] for row in helpers.rows(tmp_path / "out")}
    ended = sorted(helpers.table(tmp_path / "out", "telemetry"), key=lambda row: float(row["finished_at"]))
    assert [task for task, _ in groupby(task_of[row["key"]] for row in ended)] == ["remove", "extract"] * 3


def test_another_layout_writes_all_shards_again_and_edits_nothing(
    server: str, posts: Posts, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    go(server, source, asked(output))
    prompts = posts.prompts
    go(server, source, asked(output, layout="wds"))
    assert posts.prompts == prompts
    assert [row.columns["key"] for row in stored_rows(output, "data")] == scene.expected(source)
    assert list(output.rglob("train-*.parquet")) == []


@pytest.mark.parametrize("keep", [False, True])
def test_of_a_changed_input_only_what_is_new_is_edited(
    keep: bool, server: str, posts: Posts, source: Path, tmp_path: Path
) -> None:
    """A photo is gone from the first shard, and one stands in the second that was not there."""
    output, known = tmp_path / "out", scene.expected(source)
    go(server, source, asked(output, samples_per_prompt=1))
    prompts = posts.prompts
    for path in source.glob("photo003*"):
        path.unlink()
    helpers.make_photo(source / "photo012b.png", 77)
    summary = go(server, source, asked(output, samples_per_prompt=1, keep_stale=keep))
    assert posts.prompts == prompts + 1
    found = [row["key"] for row in helpers.rows(output)]
    now = scene.expected(source)
    assert (summary.kept, sorted(found)) == (25 + keep, sorted({*now, *(known if keep else ())}))
    assert [one.cut.items for one in commits(output)] == [9, 11, 5]
    if not keep:
        assert found == now
    go(server, source, asked(output, keep_stale=keep))
    assert posts.prompts == prompts + 1


def test_another_machine_makes_only_what_the_store_lacks(
    server: str, posts: Posts, source: Path, tmp_path: Path
) -> None:
    url, stop = f"file://{tmp_path}/store", StopRequest()
    posts.at[13] = stop.request
    go(server, source, asked(tmp_path / "one", publish_to=url, samples_per_prompt=1), stop)
    made = posts.prompts
    summary = go(server, source, asked(tmp_path / "other", publish_to=url, samples_per_prompt=1))
    assert posts.prompts == made + 15, "the first shard was there"
    assert (summary.kept, summary.samples, summary.pending) == (25, 25, 0)
    publish(tmp_path / "other", url)
    assert [one.cut.whole for one in published_commits(url)] == [True] * 3
    assert [row["key"] for row in helpers.table(tmp_path / "other", "telemetry")] == scene.expected(source)


def test_a_dry_run_counts_the_first_shard_and_estimates_the_rest(source: Path) -> None:
    (source / "photo003.png").write_bytes(b"no photo")
    photos = Source(source)
    options = asked(Path("out"))
    used = workflow("http://127.0.0.1:9")
    scope = Scope.of(options, photos, [used.aim])
    found = list(scope.planned(options, photos, [used], None))
    assert [len(found), sum(isinstance(one, Sample) for one in found)] == [10, 9]
    assert (scope.edited(9, 9), scope.about) == (22, "about ")
    assert scope.told == ", estimated: shard 0 was planned, of 3; the input has 25 photos"
    assert Scope.of(replace(options, limit=12), photos, [used.aim]).edited(9, 9) == 12
    last = Scope.of(replace(options, shard=(2, 3)), photos, [used.aim])
    assert (len(list(last.planned(options, photos, [used], None))), last.edited(5, 5), last.about) == (5, 5, "")


def killed(driver: Patched, server: ServerProcess, place: str, call: int, when: str, *options: object) -> None:
    process = driver.script(KILLED, place, call, when, "--workflow", EDIT, "--server", server.url, *options)
    assert process.wait(60) == -signal.SIGKILL, scene.said(process)


@pytest.mark.parametrize(
    ("place", "call", "when"),
    [("driver.pipeline.shard.write_commit", 2, "before"), ("driver.pipeline.shard.write_commit", 1, "after")],
)
def test_killed_at_a_commit_or_behind_it(
    place: str, call: int, when: str, driver: Patched, fake: Fakes, source: Path, tmp_path: Path
) -> None:
    server, output = fake(), tmp_path / "out"
    options = ("--input", source, "--output", output, "--shard-size", SIZE, *AT_ONCE)
    killed(driver, server, place, call, when, *options)
    assert "path: data/*/*.parquet" in (output / "README.md").read_text(), "or rejected rows are opened too"
    driver.run(*options, server=server.url, workflow=EDIT, quick=False)
    kept_once(output, source)
    assert max(scene.executed(server).values()) == 1


def test_killed_with_two_shards_in_flight(driver: Patched, fake: Fakes, source: Path, tmp_path: Path) -> None:
    """What a prompt holds of both comes home by the next run."""
    server, output = fake("--seconds", 0.2), tmp_path / "out"
    options = ("--input", source, "--output", output, "--shard-size", SIZE, "--samples-per-prompt", 4, *AT_ONCE)
    process = driver.start(*options, server=server.url, workflow=EDIT, quick=False)
    scene.during(process, lambda: in_flight(output) == 2, "a prompt with samples of two shards")
    helpers.kill(process)
    driver.run(*options, server=server.url, workflow=EDIT, quick=False)
    kept_once(output, source)
    assert max(scene.executed(server).values()) == 1


def in_flight(output: Path) -> int:
    """In how many shards the prompt is that holds most; looks without writing."""
    found: dict[str, set[int]] = {}
    for index in range(2):
        path = Part.of_shard(output, index).journal
        if not path.exists():
            return 0
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as journal:
            posted = "SELECT prompt_id FROM samples WHERE state = 'pending' AND prompt_id IS NOT NULL"
            with suppress(sqlite3.OperationalError):  # it is just being made
                for (prompt_id,) in journal.execute(posted):
                    found.setdefault(prompt_id, set()).add(index)
    return max(map(len, found.values()), default=0)
