"""An S3-compatible server on loopback as input and as output, and what it may do wrong meanwhile.

The server is moto's; faults are put between it and the client. Nothing half stands under a final name, one line says what
happened, and the same command goes on.
"""

from __future__ import annotations

import io
import json
import logging
import shutil
import socket
import tarfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driver.dataset.commits import commits
from driver.dataset.parts import parts
from driver.dataset.publish import MANIFEST, Manifest, publish, published_commits
from driver.errors import RunError
from driver.inputs.source import Source
from driver.pipeline.merging import Merger
from tests.chaos import double, scene
from tests.chaos.test_shards import asked, go
from tests.unit.release_making import Runs
from tests.unit.release_making import go as release_command
from tests.unit.release_making import manifest as released
from tests.unit.source_making import mask_picture, picture, plan, samples

fsspec = pytest.importorskip("fsspec")
moto_server = pytest.importorskip("moto.server")
pytest.importorskip("s3fs")

from werkzeug.serving import make_server  # noqa: E402

SECRET = "s3cr3t-of-the-store"
SIZE = 3


class Store:
    """The server, and what stands between it and its client."""

    def __init__(self) -> None:
        self._app = moto_server.DomainDispatcherApplication(moto_server.create_backend_app)
        self.fault: Callable[[dict[str, Any]], list[bytes] | None] = lambda _request: None
        """Answers in the server's place, or hands a request on."""
        self._server = make_server("127.0.0.1", 0, self._answered, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def _answered(self, request: dict[str, Any], start: Any) -> Any:
        body = self.fault(request)
        if body is None:
            return self._app(request, start)
        start("503 Slow Down", [("Content-Type", "application/xml")])
        return body

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()


@pytest.fixture(scope="module")
def served() -> Iterator[Store]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    store = Store()
    yield store
    store.close()


@pytest.fixture
def store(served: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An empty store with a bucket `runs`, which the environment gives access to."""
    s3 = fsspec.get_filesystem_class("s3")
    for name, value in {"AWS_ENDPOINT_URL": served.url, "AWS_ACCESS_KEY_ID": "AKIAOFTHESTORE", "AWS_MAX_ATTEMPTS": "1",
                        "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1",
                        "AWS_EC2_METADATA_DISABLED": "true"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(s3, "retries", 2)
    s3.clear_instance_cache()
    served.fault = lambda _request: None
    urllib.request.urlopen(urllib.request.Request(f"{served.url}/moto-api/reset", method="POST"), timeout=10)
    fsspec.filesystem("s3").mkdir("runs")
    yield served
    served.fault = lambda _request: None
    s3.clear_instance_cache()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with double.serving(tmp_path / "server") as url:
        yield url


def names(bucket: str = "runs") -> set[str]:
    files = fsspec.filesystem("s3")
    files.invalidate_cache()
    return set(files.find(bucket))


def whole(url: str) -> Manifest:
    """What a reader sees: every file there, with its size."""
    files, root = fsspec.core.url_to_fs(url)
    files.invalidate_cache()
    manifest = Manifest.model_validate_json(files.cat_file(f"{root}/{MANIFEST}"))
    for file in manifest.files:
        assert files.info(f"{root}/{file.name}")["size"] == file.size
    return manifest


def uploads(request: dict[str, Any], part: str) -> bool:
    return request["REQUEST_METHOD"] in ("PUT", "POST") and part in request["PATH_INFO"]


def refused(*_request: object) -> list[bytes]:
    return [b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"]


def cut_off(request: dict[str, Any]) -> list[bytes]:
    """Reads half of what is sent, and is gone."""
    request["wsgi.input"].read(int(request.get("CONTENT_LENGTH") or 0) // 2)
    request["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return []


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "tar"])
def test_an_input_there_gives_what_the_same_one_here_gives(kind: str, store: Store, tmp_path: Path) -> None:
    local = tmp_path / f"photos.{kind}"
    if kind == "tar":
        with tarfile.open(local, "w") as tar:
            for name, data in (("a.jpg", picture()), ("a.mask.png", mask_picture()), ("b.jpg", picture("red")),
                               ("b.mask.png", mask_picture())):  # fmt: skip
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    elif kind == "parquet":
        rows = [{"image": {"bytes": picture(), "path": f"{name}.jpg"}, "mask": {"bytes": mask_picture(), "path": None}}
                for name in "ab"]  # fmt: skip
        pq.write_table(pa.Table.from_pylist(rows), local)
    else:
        boxes = {"segmentation": {"object": [{"class_name": "cup", "bbox": [4, 5, 20, 15]}]}}
        local.write_text("".join(json.dumps({"path": f"{name}.jpg", **boxes}) + "\n" for name in "ab"))
        for name in "ab":
            (tmp_path / f"{name}.jpg").write_bytes(picture())
    for path in tmp_path.iterdir():
        fsspec.filesystem("s3").put_file(str(path), f"runs/in/{path.name}")
    here, there = (samples(plan(Source(place))) for place in (local, f"s3://runs/in/{local.name}"))
    assert len(here) == 2
    assert [one.key for one in here] == [one.key for one in there]


def test_a_share_is_taken_over_from_there_and_merged(store: Store, server: str, tmp_path: Path) -> None:
    """The machine of share 0/2 is gone with its folder: what is whole in the store is not made again."""
    source, url = scene.photos(tmp_path / "photos", 8), "s3://runs/share0"
    go(server, source, asked(tmp_path / "whole", shard_size=SIZE))
    go(server, source, asked(tmp_path / "share1", shard_size=SIZE, shard=(1, 2)))
    share = asked(tmp_path / "gone", shard_size=SIZE, shard=(0, 2), publish_to=url)
    store.fault = lambda request: refused() if uploads(request, "/data/000002/") else None
    with pytest.raises(RunError):
        go(server, source, share)
    assert [one.index for one in published_commits(url)] == [0]
    store.fault = lambda _request: None
    shutil.rmtree(tmp_path / "gone")
    taken = tmp_path / "taken"
    go(server, source, replace(share, output=taken))
    publish(taken, url)
    assert [one.index for one in published_commits(url)] == [0, 2]
    assert not (taken / "data/000000").exists(), "it was made again"
    paths = {file.path for file in whole(url).files}
    assert {f"data/00000{index}/train-00000-of-00001.parquet" for index in (0, 2)} <= paths
    Merger.of([taken, tmp_path / "share1"]).merge(tmp_path / "merged")
    for path in (tmp_path / "whole/data").rglob("*.parquet"):
        assert (tmp_path / "merged" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()
    assert [part.here for part in parts(tmp_path / "merged")] == [True] * 3


@pytest.mark.parametrize(
    ("fault", "part"), [(refused, "/shards/000001.json"), (cut_off, "/data/000001/"), (refused, MANIFEST)]
)
def test_what_breaks_off_leaves_nothing_half(
    fault: Callable[[dict[str, Any]], list[bytes]], part: str, store: Store, server: str, tmp_path: Path
) -> None:
    source, url, output = scene.photos(tmp_path / "photos", 2 * SIZE), "s3://runs/out", tmp_path / "out"
    options = asked(output, shard_size=SIZE, publish_to=url)
    store.fault = lambda request: fault(request) if uploads(request, part) else None
    with pytest.raises(RunError) as told:
        go(server, source, options)
        publish(output, url)
    assert "see to the store and run the same command again" in str(told.value)
    assert "\n" not in str(told.value) and SECRET not in str(told.value)
    assert [one.index for one in published_commits(url)] == ([0, 1] if part == MANIFEST else [0])
    assert f"runs/out/{MANIFEST}" not in names()
    store.fault = lambda _request: None
    go(server, source, options)
    publish(output, url)
    assert [one.cut.whole for one in commits(output)] == [True, True]
    assert len(whole(url).files) > 10


def test_a_slow_store_is_waited_for(store: Store, server: str, tmp_path: Path) -> None:
    source, url = scene.photos(tmp_path / "photos", 2), "s3://runs/out"
    store.fault = lambda request: time.sleep(0.01)
    go(server, source, asked(tmp_path / "out", shard_size=1, publish_to=url))
    assert [one.index for one in published_commits(url)] == [0, 1]


def test_a_release_there_is_whole_or_none_and_the_next_one_is_held_against_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runs, url = Runs(tmp_path), "s3://runs/releases"
    out = runs.make("out", {"a": {}, "b": {}})
    fsspec.filesystem("s3").pipe_file(
        "runs/releases/v1.0.0/data/train-00000-of-00001-0123456789abcdef.parquet", b"stray"
    )
    for part in ("/data/", "/README.md", "manifest.json"):
        store.fault = lambda request, part=part: refused() if uploads(request, part) else None  # type: ignore[misc]
        release_command(out, "--output", url, status=1)
        release_command("--verify", f"{url}/v1.0.0", status=2)
    store.fault = lambda _request: None
    release_command(out, "--output", url)
    release_command("--verify", f"{url}/v1.0.0")
    first = {name: fsspec.filesystem("s3").cat_file(name) for name in names()}
    assert not [name for name in first if "0123456789abcdef" in name]
    shutil.rmtree(tmp_path / "outputs")
    (tmp_path / "gone.txt").write_text("b.jpg\n")
    release_command(runs.make("more", {"a": {}, "b": {}, "c": {}}), "--output", url, "--without", tmp_path / "gone.txt")
    assert {"runs/releases/v2.0.0/manifest.json"} <= names()
    assert {name: fsspec.filesystem("s3").cat_file(name) for name in first} == first
    found = released(next((tmp_path / "outputs").glob("releases-*/v2.0.0")))
    assert found.since and found.changes["remove"].model_dump() == {"added": 1, "removed": 1, "changed": 0, "same": 1}
    flipped = next(name for name in names() if "/v2.0.0/data/" in name)
    fsspec.filesystem("s3").pipe_file(flipped, b"else")
    release_command("--verify", f"{url}/v2.0.0", status=1)


@pytest.mark.parametrize("missing", ["bucket", "credentials"])
def test_no_bucket_and_no_credentials_are_one_line(
    missing: str, store: Store, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "s3://nowhere/out" if missing == "bucket" else "s3://runs/out"
    if missing == "credentials":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(tmp_path))
        fsspec.get_filesystem_class("s3").clear_instance_cache()
    with pytest.raises(RunError, match=r"--output s3://.*: the store refused") as told:
        go(server, scene.photos(tmp_path / "photos", 2), asked(tmp_path / "out", shard_size=1, publish_to=url))
    assert "\n" not in str(told.value)
    with pytest.raises(RunError, match="--input s3://"):
        plan(Source(f"{url}/photos.jsonl"))


def test_credentials_are_nowhere(store: Store, server: str, tmp_path: Path) -> None:
    source, url, output = scene.photos(tmp_path / "photos", 2), "s3://runs/out", tmp_path / "out"
    go(server, source, asked(output, shard_size=1, publish_to=url))
    publish(output, url)
    files = fsspec.filesystem("s3")
    left = [path.read_bytes() for path in output.rglob("*") if path.is_file()]
    left += [files.cat_file(name) for name in names()]
    assert len(left) > 20
    assert not [data for data in left if SECRET.encode() in data or b"AKIAOFTHESTORE" in data]
