"""Weight files and recipes made to harm: each ends in one line that names the file, runs nothing and takes no memory."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import resource
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

pytest.importorskip("comfy.model_management", reason="needs ComfyUI's source: COMFYUI_PATH, or python install.py")

from comfy_nodes.models import checkpoints, yolo_world
from comfy_nodes.models.checkpoints import Checkpoint, CheckpointError, PickledRecord, read

WEIGHTS = {"layer.weight": torch.arange(6.0).reshape(2, 3)}
WHOLE = save(WEIGHTS)
HEADER, BODY = json.loads(WHOLE[8 : 8 + struct.unpack("<Q", WHOLE[:8])[0]]), WHOLE[-24:]
MOST_MEMORY = 600 * 2**20
"""What none of these may take: bytes."""


def safetensors(header: Any, body: bytes = BODY, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def with_tensor(**changes: Any) -> bytes:
    return safetensors({"layer.weight": {**HEADER["layer.weight"], **changes}})


def saved(content: Any, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def archive(program: bytes, packed: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packed) as made:
        for name, content in {"data.pkl": program, "version": b"3\n", "byteorder": b"little", **members}.items():
            made.writestr(f"archive/{name}", content)
    return file.getvalue()


class Runs:
    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call[0], self.call[1:]


FILES: dict[str, Callable[[], bytes]] = {
    "header-too-long.safetensors": lambda: safetensors(HEADER, length=2**40),
    "header-all-there-is.safetensors": lambda: struct.pack("<Q", 2**63) + BODY,
    "header-no-json.safetensors": lambda: safetensors(b"{" * 64),
    "header-deep.safetensors": lambda: safetensors(b'{"a":' * 20_000 + b"}" * 20_000),
    "header-a-list.safetensors": lambda: safetensors([1]),
    "header-no-text.safetensors": lambda: safetensors(b"\xff\xfe{}"),
    "shape-larger.safetensors": lambda: with_tensor(shape=[2**20, 2**20]),
    "shape-overflows.safetensors": lambda: with_tensor(shape=[2**32, 2**32]),
    "shape-negative.safetensors": lambda: with_tensor(shape=[-2, -3]),
    "shape-words.safetensors": lambda: with_tensor(shape=["a"]),
    "shape-deep.safetensors": lambda: with_tensor(shape=[1] * 5000),
    "offsets-outside.safetensors": lambda: with_tensor(data_offsets=[0, 2**40]),
    "offsets-backwards.safetensors": lambda: with_tensor(data_offsets=[24, 0]),
    "offsets-overlap.safetensors": lambda: safetensors({"a": HEADER["layer.weight"], "b": HEADER["layer.weight"]}),
    "type-unknown.safetensors": lambda: with_tensor(dtype="F1024"),
    "nothing.safetensors": lambda: safetensors({}, b""),
    "a-pickle.safetensors": lambda: saved(WEIGHTS),
    "runs.pt": lambda: saved({"model": Runs(os.system, "touch it-ran")}),
    "runs-old.pt": lambda: saved({"model": Runs(os.system, "touch it-ran")}, legacy=True),
    "runs-bare.pt": lambda: pickle.dumps(Runs(os.system, "touch it-ran")),
    "runs-eval.pt": lambda: saved({"a": Runs(eval, "open('it-ran', 'w')")}),
    "runs-getattr.pt": lambda: saved({"a": Runs(getattr, dict, "fromkeys")}),
    "a-safetensors.pt": lambda: WHOLE,
    "bomb.pt": lambda: archive(b"\x80\x02}.", zipfile.ZIP_DEFLATED, **{"data/0": b"\0" * 2**27}),
    "bomb-in-the-program.pt": lambda: archive(b" " * 2**27, zipfile.ZIP_DEFLATED),
    "program-ends.pt": lambda: archive(b"\x80\x02}"),
    "program-empty.pt": lambda: archive(b""),
    "program-deep.pt": lambda: archive(b"\x80\x02" + b"(l" * 20_000 + b"."),
    "program-no-memo.pt": lambda: archive(b"\x80\x02h\x07."),
    "program-long.pt": lambda: archive(b"\x80\x02\x8b\xff\xff\xff\x7f."),
    "program-no-stack.pt": lambda: archive(b"\x80\x02s."),
    "program-unknown.pt": lambda: archive(b"\x80\x02\xee."),
    "no-program.pt": lambda: archive(b"")[:-60],
    "huge-view.pt": lambda: saved({"a": torch.zeros(1).expand(2**20, 2**20)}),
    "meta.pt": lambda: saved({"a": torch.empty(2**20, 2**20, device="meta")}),
    "sparse.pt": lambda: saved({"a": torch.sparse_coo_tensor([[0], [0]], [1.0], (2**20, 2**20))}),
    "quantised.pt": lambda: saved({"a": torch.quantize_per_tensor(torch.zeros(2), 0.1, 0, torch.qint8)}),
    "names-no-names.pt": lambda: saved({(1, 2): {"a": 1}, None: 3}),
    "itself.pt": lambda: saved(_itself()),
    "text.pt": lambda: b"not a weight file\n" * 100,
}


def _itself() -> dict[str, Any]:
    around: dict[str, Any] = {}
    around["model"] = around
    return around


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(FILES[name]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=rf"\A{name}: [^\n]+\Z"):
        read(tmp_path / name)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_MEMORY
    assert [one.name for one in tmp_path.iterdir()] == [name]


UP = [-1, 1, "nn.Upsample", [None, 2, "nearest"]]
RECIPES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    # the head of the good one begins behind these layers, so its sources are others: no matter
    "a huge kernel": lambda good: {"backbone": [[-1, 1, "Conv", [64, 8191, 2]], *good["backbone"][1:]]},
    "huge channels": lambda good: {"backbone": [[-1, 1, "Conv", [8192, 3, 2]], [-1, 1, "Conv", [8192, 99, 2]]]},
    "wide": lambda good: {"scales": {"n": [0.33, 8000.0, 8192]}, "scale": "n"},
    "deep": lambda good: {"scales": {"n": [8000.0, 0.25, 1024]}, "scale": "n"},
    "repeated": lambda good: {"backbone": [[-1, 100, "C2f", [64, True]]] * 100},
    "repeats no number": lambda good: {"backbone": [[-1, float("nan"), "C2f", [64, True]]]},
    "depth no number": lambda good: {"scales": {"n": [float("nan"), 0.25, 1024]}, "scale": "n"},
    "depth a truth": lambda good: {"scales": {"n": [True, 0.25]}, "scale": "n"},
    "enlarging": lambda good: {"head": [*[UP] * 12, *good["head"]]},
    "enlarging at once": lambda good: {"head": [[-1, 1, "nn.Upsample", [None, 4096, "nearest"]], *good["head"]]},
    "doubling": lambda good: {"head": [*[[[-1] * 8, 1, "Concat", [1]]] * 40, *good["head"]]},
    "many sources": lambda good: {"head": [[[-1] * 5000, 1, "Concat", [1]], *good["head"]]},
    "sources nested": lambda good: {"head": [[[[-1]], 1, "Concat", [1]], *good["head"]]},
    "sources of nowhere": lambda good: {"head": [[[-99, 77], 1, "Concat", [1]], *good["head"]]},
    "no layers": lambda good: {"head": []},
    "a name for a size": lambda good: {"backbone": [[-1, 1, "Conv", ["nc", 3, 2]]]},
    "classes": lambda good: {"nc": 10**9},
    "classes a truth": lambda good: {"nc": True},
    "a picture of nothing": lambda good: {"backbone": [[-1, 1, "Conv", [0, 3, 2]]]},
    "negative": lambda good: {"backbone": [[-1, 1, "Conv", [-64, -3, -2]]]},
    "heads of attention": lambda good: {"head": [[-1, 1, "C2fAttn", [64, 8192, 8192]], *good["head"]]},
}


@pytest.fixture(scope="module")
def good(yolo_file: Path) -> Checkpoint:
    return read(yolo_file)


@pytest.mark.parametrize("name", RECIPES)
def test_a_hostile_recipe_is_one_line(good: Checkpoint, name: str) -> None:
    assert good.module is not None
    module = PickledRecord()
    recipe = copy.deepcopy(good.module.__dict__["yaml"])
    module.__dict__["yaml"] = {**recipe, **RECIPES[name](recipe)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match=r"\Atiny-worldv2\.pt: [^\n]+\Z"):
        yolo_world.build(Checkpoint(good.name, good.tensors, module=module))
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < MOST_MEMORY


@pytest.mark.parametrize(
    "config", [b"{" * 100_000, b"[1]", b"\xff", b'{"model_type": "clip_text_model", "hidden_size": "x"}', b"null", b""]
)
def test_a_hostile_config_is_one_line(tmp_path: Path, config: bytes) -> None:
    from transformers import CLIPTextModelWithProjection

    (tmp_path / "config.json").write_bytes(config)
    (tmp_path / "model.safetensors").write_bytes(WHOLE)
    with pytest.raises(CheckpointError, match=rf"\A{tmp_path.name}: [^\n]+\Z"):
        checkpoints.load_pretrained(CLIPTextModelWithProjection, tmp_path)
