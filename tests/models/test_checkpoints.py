"""Weight files: what is read, and that nothing in them runs."""

from __future__ import annotations

import io
import os
import pickle
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

pytest.importorskip("comfy.model_management", reason="needs ComfyUI's source: COMFYUI_PATH, or python install.py")

from comfy_nodes.models import checkpoints
from comfy_nodes.models.checkpoints import CheckpointError, read
from tests.models import tiny

WEIGHTS = {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.bias": torch.ones(2)}


class Runs:
    """Pickles as a call of `function(*arguments)`, which unpickling makes."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("key", [None, "state_dict", "model", "ema"])
@pytest.mark.parametrize("legacy", [False, True])
def test_reads_what_torch_wrote(tmp_path: Path, key: str | None, legacy: bool) -> None:
    content = WEIGHTS if key is None else {"epoch": 3, "optimizer": None, key: WEIGHTS}
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=not legacy)
    found = read(tmp_path / "w.pt")
    assert found.tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in WEIGHTS.items())


def test_reads_safetensors_with_their_metadata(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "w.safetensors", {"made by": "test"})
    found = read(tmp_path / "w.safetensors")
    assert found.metadata == {"made by": "test"}
    assert torch.equal(found.tensors["layer.weight"], WEIGHTS["layer.weight"])


def test_reads_ultralytics_modules_without_ultralytics(yolo_file: Path) -> None:
    """The file names some twenty classes; none of them is built, and no library of theirs is imported."""
    known = torch.load(yolo_file, weights_only=False)["model"].state_dict()
    gone = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "ultralytics"}
    try:
        sys.modules["ultralytics"] = None  # type: ignore[assignment]
        found = read(yolo_file)
        assert not [name for name, module in sys.modules.items() if name.startswith("ultralytics") and module]
    finally:
        del sys.modules["ultralytics"]
        sys.modules.update(gone)
    assert found.tensors.keys() == known.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in known.items())
    assert found.module is not None and found.module.yaml["head"][-1][2] == "WorldDetect"


@pytest.mark.parametrize("place", ["alone", "as weights", "beside weights", "within the module"])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_malicious_pickle_runs_nothing(tmp_path: Path, place: str, legacy: bool) -> None:
    mark = tmp_path / "it-ran"
    evil = Runs(os.system, f"touch '{mark}'")
    content: Any = {
        "alone": evil,
        "as weights": {"model": evil},
        "beside weights": {"model": WEIGHTS, "train_args": evil},
        "within the module": {"model": torch.nn.Sequential(torch.nn.Linear(1, 1))},
    }[place]
    if place == "within the module":
        content["model"][0].extra = evil
    torch.save(content, tmp_path / "evil.pt", _use_new_zipfile_serialization=not legacy)
    reason = r"refers to \w+\.system, which weights don't need"
    if legacy and place == "within the module":
        reason = "is not a weight file that can be read safely"  # such files carry source code, which is reason enough
    with pytest.raises(CheckpointError, match=rf"^evil\.pt: {reason}[^\n]*$"):
        read(tmp_path / "evil.pt")
    assert not mark.exists()


@pytest.mark.parametrize(
    "call",
    [
        Runs(eval, "open('it-ran', 'w')"),
        Runs(exec, "open('it-ran', 'w')"),
        Runs(getattr, Path, "cwd"),
        Runs(__import__, "os"),
        Runs(open, "it-ran", "w"),
        Runs(torch.load, "other.pt"),
        Runs(pickle.loads, pickle.dumps(1)),
    ],
    ids=lambda call: call.call[0].__name__,
)
def test_refuses_every_function_that_is_not_on_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Runs
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": call}, "evil.pt")
    with pytest.raises(CheckpointError, match=r"^evil\.pt: [^\n]+$"):
        read(tmp_path / "evil.pt")
    assert not Path("it-ran").exists()


def test_no_name_on_the_list_leads_to_real_code() -> None:
    """Each is replaced by a record, so even a class with side effects in its constructor has none."""
    names = [name for name in checkpoints.UNPICKLED_AS_RECORDS if not name.startswith("numpy")]  # ComfyUI allows these
    for name in names:
        module, _, short = name.rpartition(".")
        program = b"\x80\x02c" + f"{module}\n{short}\n".encode() + b"U\x05/tmp/\x85R."
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", program)
            archive.writestr("archive/version", "3\n")
            archive.writestr("archive/byteorder", "little")
        file.seek(0)
        with torch.serialization.safe_globals([(checkpoints.PickledRecord, name)]):
            assert type(torch.load(file, weights_only=True)) is checkpoints.PickledRecord


def test_says_what_is_wrong_with_a_file(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "whole.pt")
    save_file(WEIGHTS, tmp_path / "whole.safetensors")
    for file in ("whole.pt", "whole.safetensors"):
        whole = (tmp_path / file).read_bytes()
        (tmp_path / f"cut-{file}").write_bytes(whole[: len(whole) // 2])
        (tmp_path / f"empty-{file}").write_bytes(b"")
    (tmp_path / "page.pt").write_bytes(b"<!DOCTYPE html><html>Access denied</html>")
    (tmp_path / "pointer.pt").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (tmp_path / "noise.pt").write_bytes(bytes(range(256)) * 8)
    torch.save({"epoch": 3}, tmp_path / "nothing.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    script = torch.jit.script(torch.nn.Linear(1, 1))
    script.save(str(tmp_path / "script.pt"))
    (tmp_path / "folder.pt").mkdir()
    for file, reason in {
        "cut-whole.pt": "whole",
        "empty-whole.pt": "whole",
        "cut-whole.safetensors": "not a whole safetensors",
        "empty-whole.safetensors": "not a whole safetensors",
        "page.pt": "web page",
        "pointer.pt": "git-lfs pointer",
        "noise.pt": "",
        "nothing.pt": "holds no weights",
        "list.pt": "holds no weights",
        "script.pt": "TorchScript",
        "folder.pt": "cannot be read",
        "missing.pt": "cannot be read",
        "missing.safetensors": "",
    }.items():
        with pytest.raises(CheckpointError, match=rf"^{file}: [^\n]*{reason}[^\n]*$"):
            read(tmp_path / file)


def test_weights_of_another_architecture_change_nothing(tmp_path: Path) -> None:
    module = torch.nn.ModuleDict({"layer": torch.nn.Linear(3, 2)})
    before = module["layer"].weight.clone()
    torch.save({"layer.weight": torch.ones(2, 3), "other": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(
        CheckpointError, match=r"other.pt: is not a ModuleDict: 1 of 2 weights are missing \(layer.bias\)"
    ):
        checkpoints.load_into(module, read(tmp_path / "other.pt"))
    torch.save({"layer.weight": torch.ones(2, 4), "layer.bias": torch.ones(2)}, tmp_path / "large.pt")
    with pytest.raises(CheckpointError, match=r"layer.weight is \(2, 4\), not \(2, 3\)"):
        checkpoints.load_into(module, read(tmp_path / "large.pt"))
    assert torch.equal(module["layer"].weight, before)


def test_hub_folders_are_refused_in_one_line(tmp_path: Path) -> None:
    from transformers import CLIPTextModelWithProjection, Owlv2ForObjectDetection

    folder = tiny.clip_text(tmp_path / "clip")
    with pytest.raises(CheckpointError, match=r"^clip: its config.json says clip_text_model, not owlv2$"):
        checkpoints.load_pretrained(Owlv2ForObjectDetection, folder)
    save_file({"unrelated": torch.ones(1)}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        CheckpointError, match=r"^clip: is not a CLIPTextModelWithProjection: \d+ of \d+ weights are missing"
    ):
        checkpoints.load_pretrained(CLIPTextModelWithProjection, folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"^clip: [^\n]+$"):
        checkpoints.load_pretrained(CLIPTextModelWithProjection, folder)
    torch.save({"model": Runs(os.system, f"touch '{tmp_path / 'it-ran'}'")}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"^clip: [^\n]+$"):
        checkpoints.load_pretrained(CLIPTextModelWithProjection, folder)
    assert not (tmp_path / "it-ran").exists()
