"""A file's hash is paid once, and another file under its name is never taken for it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from comfy_nodes.files import content_hashes


@pytest.fixture(autouse=True)
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read, in a new process of a machine that has read none."""
    names: list[str] = []
    read = content_hashes._read

    def noted(stamp: content_hashes._Stamp) -> str:
        names.append(Path(stamp.path).name)
        return read(stamp)

    monkeypatch.setenv("EDITPAIRS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(content_hashes, "_read", noted)
    monkeypatch.setattr(content_hashes, "_known", {})
    monkeypatch.setattr(content_hashes, "LARGE", 100)
    return names


def weights(path: Path, fill: bytes = b"a", size: int = 200) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(fill * size)
    return path


def another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_hashes, "_known", {})


def test_weights_are_read_once_for_all_servers_of_a_machine(
    tmp_path: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = weights(tmp_path / "flux.safetensors")
    link = tmp_path / "link.safetensors"
    link.symlink_to(file)
    wanted = hashlib.sha256(file.read_bytes()).hexdigest()
    assert [content_hashes.of_file(path) for path in (file, link, file)] == [wanted] * 3
    another_process(monkeypatch)
    assert content_hashes.of_file(file) == wanted
    assert reads == ["flux.safetensors"]


@pytest.mark.parametrize("how", ["written over", "put in its place"])
def test_other_content_of_the_same_size_and_time_is_seen(tmp_path: Path, reads: list[str], how: str) -> None:
    file = weights(tmp_path / "flux.safetensors")
    before, times = content_hashes.of_file(file), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    if how == "written over":
        weights(file, b"b")
    else:
        weights(tmp_path / "other", b"b").replace(file)
    os.utime(file, ns=times)
    assert content_hashes.of_file(file) != before
    assert len(reads) == 2


@pytest.mark.parametrize("harm", ["no database", "no folder"])
def test_without_a_place_on_disk_weights_are_hashed_all_the_same(
    tmp_path: Path, harm: str, caplog: pytest.LogCaptureFixture
) -> None:
    if harm == "no folder":
        weights(tmp_path / "cache")
    else:
        weights(tmp_path / "cache" / content_hashes.FILE)
    file = weights(tmp_path / "flux.safetensors")
    assert content_hashes.of_file(file) == hashlib.sha256(file.read_bytes()).hexdigest()
    assert "weights.sqlite cannot be used" in caplog.text


def test_a_folder_is_its_files_names_and_contents(tmp_path: Path) -> None:
    def folder(name: str, **files: bytes) -> str:
        for file, fill in files.items():
            weights(tmp_path / name / file.replace("__", "/").replace("_", "."), fill)
        return content_hashes.of_folder(tmp_path / name)

    one = folder("one", model_safetensors=b"a", config_json=b"b", unet__model_bin=b"c")
    assert one == folder("same", unet__model_bin=b"c", config_json=b"b", model_safetensors=b"a")
    assert one == folder("page", model_safetensors=b"a", config_json=b"b", unet__model_bin=b"c", README_md=b"x")
    others = [
        folder("content", model_safetensors=b"x", config_json=b"b", unet__model_bin=b"c"),
        folder("renamed", model_safetensors=b"a", config_json=b"b", vae__model_bin=b"c"),
        folder("swapped", model_safetensors=b"b", config_json=b"a", unet__model_bin=b"c"),
        folder("less", model_safetensors=b"a", config_json=b"b"),
    ]
    assert len({one, *others}) == 5
