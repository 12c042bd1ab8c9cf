"""A run's folder in a store: complete under its manifest, whatever broke off in between."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from driver.dataset.publish import MANIFEST, PENDING, Manifest, publish
from driver.errors import RunError

fsspec = pytest.importorskip("fsspec")


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "file":
        yield f"file://{tmp_path / 'store'}"
        return
    place = f"/{uuid.uuid4().hex}"
    yield f"memory:/{place}"
    files = fsspec.filesystem("memory")
    if files.exists(place):
        files.rm(place, recursive=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder."""
    run = tmp_path / "run"
    for name in ("data/train-00000-of-00001.parquet", "README.md", "run.sqlite", "run.sqlite-wal", ".work/lock",
                 ".README.md.part", "images/ab/abc.png"):  # fmt: skip
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text(f"what {name} holds")
    return run


def held(url: str) -> set[str]:
    """All files of the store, below the URL."""
    files, root = fsspec.core.url_to_fs(url)
    return {name.removeprefix(root).lstrip("/") for name in files.find(root)}


def read_manifest(url: str) -> Manifest | None:
    """What a reader of the store sees first."""
    files, root = fsspec.core.url_to_fs(url)
    if not files.exists(f"{root}/{MANIFEST}"):
        return None
    return Manifest.model_validate_json(files.cat_file(f"{root}/{MANIFEST}"))


def stored_name(manifest: Manifest, path: str) -> str:
    (name,) = (file.name for file in manifest.files if file.path == path)
    return name


def whole(url: str) -> dict[str, bytes]:
    """What a reader that follows the manifest sees, with every size and hash compared."""
    manifest = read_manifest(url)
    assert manifest is not None
    files, root = fsspec.core.url_to_fs(url)
    found = {}
    for file in manifest.files:
        data = files.cat_file(f"{root}/{file.name}")
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size, file.sha256)
        found[file.path] = data
    return found


def broken_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Lets the store refuse every call from that one on that changes something."""
    done = 0
    for owner, names in (
        (type(fsspec.filesystem("memory")), ("put_file", "pipe_file", "rm_file")),
        (type(fsspec.filesystem("file")), ("put_file", "rm_file")),
        (Path, ("replace",)),
    ):
        for name in names:
            real = getattr(owner, name)

            def refusing(*args: Any, real: Any = real, **named: Any) -> Any:
                nonlocal done
                done += 1
                if done > step:
                    raise ConnectionError("the line is cut")
                return real(*args, **named)

            monkeypatch.setattr(owner, name, refusing)


def test_the_manifest_lists_every_file_and_no_other_is_there(folder: Path, url: str) -> None:
    manifest = publish(folder, url)
    assert [file.path for file in manifest.files] == ["README.md", "data/train-00000-of-00001.parquet"]
    assert whole(url)["README.md"] == b"what README.md holds"
    assert held(url) == {MANIFEST, *(file.name for file in manifest.files)}
    for file in manifest.files:
        assert file.sha256[:16] in file.name
        assert file.name.endswith(Path(file.path).suffix)


def test_journals_and_what_is_not_whole_stay_here(folder: Path, url: str) -> None:
    publish(folder, url)
    assert not [name for name in held(url) if "sqlite" in name or "lock" in name or "part" in name or "images" in name]


def test_what_is_there_is_not_sent_again(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a shard got another number."""
    first = publish(folder, url)
    shard = folder / "data" / "train-00000-of-00001.parquet"
    shard.rename(shard.with_name("train-00000-of-00002.parquet"))
    shard.with_name("train-00001-of-00002.parquet").write_text("more")
    sent = []
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "put_file", _noting(sent, type(fsspec.filesystem("memory"))))
    monkeypatch.setattr(type(fsspec.filesystem("file")), "put_file", _noting(sent, type(fsspec.filesystem("file"))))
    second = publish(folder, url)
    assert sent == ["train-00001-of-00002.parquet"]
    now, before = ((second, "data/train-00000-of-00002.parquet"), (first, "data/train-00000-of-00001.parquet"))
    assert stored_name(*now) == stored_name(*before)
    assert whole(url)["data/train-00001-of-00002.parquet"] == b"more"


def _noting(sent: list[str], owner: type) -> Any:
    real = owner.put_file  # type: ignore[attr-defined]

    def put(self: Any, local: str, *args: Any, **named: Any) -> Any:
        sent.append(Path(local).name)
        return real(self, local, *args, **named)

    return put


def test_what_the_run_no_longer_has_goes_after_the_manifest(folder: Path, url: str) -> None:
    first = publish(folder, url)
    (folder / "README.md").write_text("another card")
    publish(folder, url)
    assert stored_name(first, "README.md") not in held(url)
    assert whole(url)["README.md"] == b"another card"


def test_wherever_it_breaks_off_a_reader_sees_one_finish_or_the_next(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(folder, url)
    old = whole(url)
    (folder / "README.md").write_text("another card")
    (folder / "data" / "train-00000-of-00001.parquet").write_text("other rows")
    new = {"README.md": b"another card", "data/train-00000-of-00001.parquet": b"other rows"}
    seen = []
    for step in range(50):
        with monkeypatch.context() as patched:
            broken_at(patched, step)
            try:
                publish(folder, url)
                break
            except RunError as error:
                assert "the store refused (ConnectionError: the line is cut)" in str(error)
                assert error.status == 1
        found = whole(url)
        assert found in (old, new)
        seen.append(found)
    assert old in seen
    assert new in seen
    assert whole(url) == new
    manifest = read_manifest(url)
    assert manifest is not None
    assert held(url) == {MANIFEST, *(file.name for file in manifest.files)}, "leftovers of what broke off"


def test_what_broke_off_and_is_not_wanted_any_more_goes_too(
    folder: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched, pytest.raises(RunError):
        broken_at(patched, 2)
        publish(folder, url)
    assert read_manifest(url) is None
    (folder / "README.md").write_text("another card")
    manifest = publish(folder, url)
    assert held(url) == {MANIFEST, *(file.name for file in manifest.files)}


def test_a_file_that_arrives_short_is_noticed(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(folder, url)
    old = whole(url)
    (folder / "README.md").write_text("another, longer card")
    files, _ = fsspec.core.url_to_fs(url)
    monkeypatch.setattr(type(files), "put_file", lambda self, _local, place, **_: self.pipe_file(place, b"half"))
    with pytest.raises(RunError, match="20 bytes were sent, 4 are there"):
        publish(folder, url)
    assert whole(url) == old


def test_other_peoples_files_stay(folder: Path, url: str) -> None:
    files, root = fsspec.core.url_to_fs(url)
    files.makedirs(root, exist_ok=True)
    files.pipe_file(f"{root}/thesis.txt", b"mine")
    publish(folder, url)
    publish(folder, url)
    assert files.cat_file(f"{root}/thesis.txt") == b"mine"


def test_a_manifest_of_something_else_is_left_alone(folder: Path, url: str) -> None:
    files, root = fsspec.core.url_to_fs(url)
    files.makedirs(root, exist_ok=True)
    files.pipe_file(f"{root}/{MANIFEST}", json.dumps({"name": "an app"}).encode())
    with pytest.raises(RunError, match="is not one of ours"):
        publish(folder, url)
    assert held(url) == {MANIFEST}


ESCAPES = ["../precious.txt", "/etc/precious.txt", "a/../../precious.txt", "precious.txt", "..", "data\\..\\x", ""]
ESCAPES += [f"../precious-{'0' * 16}.txt", f"/tmp/precious-{'0' * 16}.txt"]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("listed_in", [MANIFEST, PENDING])
def test_a_list_that_names_what_is_not_ours_removes_nothing(
    name: str, listed_in: str, folder: Path, tmp_path: Path
) -> None:
    """Names outside the store, and names in it that we never give."""
    store = tmp_path / "store"
    store.mkdir()
    for place in (tmp_path / "precious.txt", store / "precious.txt", tmp_path / f"precious-{'0' * 16}.txt"):
        place.write_text("mine")
    file = {"path": "x", "name": name, "size": 4, "sha256": "0" * 64}
    (store / listed_in).write_text(json.dumps({"files": [file]} if listed_in == MANIFEST else [name]))
    with pytest.raises(RunError, match=f"its {listed_in} is not one of ours"):
        publish(folder, f"file://{store}")
    assert len(list(tmp_path.rglob("precious*"))) == 3


@pytest.mark.parametrize("wrong", ["{", "7", '{"a": 1}', "[1]", "[" * 5000])
def test_a_damaged_list_of_what_is_pending_is_one_line(wrong: str, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / PENDING).write_text(wrong)
    with pytest.raises(RunError, match=r"its pending\.json is not one of ours"):
        publish(folder, f"file://{tmp_path / 'store'}")


def test_links_in_a_local_store_are_not_followed(folder: Path, tmp_path: Path) -> None:
    url, victim = f"file://{tmp_path / 'store'}", tmp_path / "victim"
    manifest = publish(folder, url)
    victim.mkdir()
    (victim / "x").write_text("mine")
    (tmp_path / "store" / f".{MANIFEST}.part").symlink_to(victim / "x")
    publish(folder, url)
    for name in (stored_name(manifest, "data/train-00000-of-00001.parquet"), "data"):
        (tmp_path / "store" / name).unlink() if name != "data" else (tmp_path / "store" / name).rmdir()
        (tmp_path / "store" / name).symlink_to(victim / "x" if name != "data" else victim)
        with pytest.raises(RunError, match="is a link; remove it"):
            publish(folder, url)
        (tmp_path / "store" / name).unlink()
    assert [path.read_text() for path in victim.iterdir()] == ["mine"]


def test_a_link_in_the_runs_folder_is_not_published(folder: Path, url: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    (folder / "data" / "x.parquet").symlink_to(tmp_path / "secret")
    with pytest.raises(RunError, match=r"x\.parquet: is a link"):
        publish(folder, url)
    assert held(url) == set()


@pytest.mark.parametrize("wrong", ["nosuch://bucket/run"])
def test_a_kind_of_store_that_nothing_opens(folder: Path, wrong: str) -> None:
    with pytest.raises(RunError, match="nosuch") as error:
        publish(folder, wrong)
    assert error.value.status == 2


def test_the_manifest_is_the_record_that_it_says(folder: Path, url: str) -> None:
    manifest = publish(folder, url)
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest == read_manifest(url)
