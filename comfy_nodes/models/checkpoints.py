"""Reading weights from files and hub-format folders, without running anything that a file says.

A `.pt` is a pickle. It is read with `torch.load(weights_only=True)`, which builds tensors and plain containers and
refuses any other class. Files that hold whole modules (ultralytics') name classes beyond that: those on the explicit
list in `UNPICKLED_AS_RECORDS` become `PickledRecord`, an inert object that only remembers its attributes, so that
not even their libraries are imported. Whatever is wrong with a file ends in a `CheckpointError` of one line.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open

Module = TypeVar("Module", bound=torch.nn.Module)

SAFETENSORS = (".safetensors", ".sft")

FROM_FOLDER = {"local_files_only": True, "trust_remote_code": False}
"""How transformers reads a hub-format folder: nothing from the network, no code that a folder brings along."""

MOST_PACKED = 2**24
"""Bytes by which a weight file may grow when it is unpacked. Ours."""

STATE_DICT_KEYS = ("state_dict", "ema", "model")
"""Where files keep their weights when they keep other things too, in the order of looking."""


class CheckpointError(ValueError):
    """A file that cannot be used; the message names it and says why, in one line."""


@dataclass(frozen=True)
class Checkpoint:
    """What a weight file holds."""

    name: str
    """The file's name, for messages."""
    tensors: dict[str, torch.Tensor]
    """On the CPU, in the file's own types."""
    metadata: dict[str, str] = field(default_factory=dict)
    """safetensors' header strings."""
    module: PickledRecord | None = None
    """The pickled module's own attributes, where the file holds a module (ultralytics': `yaml`, `names`)."""


class PickledRecord:
    """Stands for an object of a class that we do not import: its attributes, and nothing that runs."""

    def __new__(cls, *_: Any) -> PickledRecord:
        return super().__new__(cls)

    def __init__(self, *_: Any) -> None:
        """Arguments of the real class's constructor are dropped."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping):
            self.__dict__.update(state)

    def tensors(self, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
        """Named parameters and persistent buffers, as `torch.nn.Module.state_dict` would name them."""
        attributes = self.__dict__
        transient = attributes.get("_non_persistent_buffers_set", ())
        for own in ("_parameters", "_buffers"):
            for name, tensor in attributes.get(own, {}).items():
                if isinstance(tensor, torch.Tensor) and name not in transient:
                    yield prefix + name, tensor.detach()
        for name, child in attributes.get("_modules", {}).items():
            if isinstance(child, PickledRecord):
                yield from child.tensors(f"{prefix}{name}.")


UNPICKLED_AS_RECORDS = tuple(
    f"{module}.{name}"
    for module, names in {
        "torch.nn.modules.activation": "GELU Hardswish Identity LeakyReLU MultiheadAttention ReLU SiLU Sigmoid",
        "torch.nn.modules.batchnorm": "BatchNorm1d BatchNorm2d",
        "torch.nn.modules.container": "ModuleDict ModuleList ParameterList Sequential",
        "torch.nn.modules.conv": "Conv1d Conv2d ConvTranspose2d",
        "torch.nn.modules.dropout": "Dropout",
        "torch.nn.modules.linear": "Identity Linear NonDynamicallyQuantizableLinear",
        "torch.nn.modules.normalization": "GroupNorm LayerNorm",
        "torch.nn.modules.pooling": "AdaptiveAvgPool2d AdaptiveMaxPool2d AvgPool2d MaxPool2d",
        "torch.nn.modules.sparse": "Embedding",
        "torch.nn.modules.upsampling": "Upsample",
        "ultralytics.nn.tasks": "DetectionModel WorldModel",
        "ultralytics.nn.modules.conv": "Concat Conv Conv2 DWConv RepConv",
        "ultralytics.nn.modules.block": (
            "BNContrastiveHead Bottleneck C2 C2f C2fAttn C3 ContrastiveHead DFL ImagePoolingAttn MaxSigmoidAttnBlock SPPF"
        ),
        "ultralytics.nn.modules.head": "Detect WorldDetect",
        "ultralytics.utils": "IterableSimpleNamespace",
        "ultralytics.utils.loss": "BboxLoss TaskAlignedAssigner v8DetectionLoss",
        "ultralytics.utils.tal": "TaskAlignedAssigner",
        "types": "SimpleNamespace",
        "pathlib": "Path PosixPath PurePosixPath PureWindowsPath WindowsPath",
        "numpy": "dtype",
        "numpy.core.multiarray": "scalar",
        "numpy._core.multiarray": "scalar",
    }.items()
    for name in names.split()
)
"""The classes that an ultralytics YOLO-World `.pt` names (8.0 to 8.4), beside torch's own allowed ones. Of the head and
the blocks only those that `yolov8-world*.yaml` uses: a file with others holds another architecture."""


def read(path: Path) -> Checkpoint:
    """Reads a weight file: safetensors, or a `.pt`/`.pth`/`.bin` that torch or ultralytics wrote.

    A state dict inside a larger dict (`STATE_DICT_KEYS`) is unwrapped; of a pickled module the tensors are gathered.

    Raises:
        CheckpointError: no such file, truncated, refused classes, or no weights in it.
    """
    try:
        checkpoint = _read_safetensors(path) if path.suffix.lower() in SAFETENSORS else _read_pickle(path)
    except OSError as error:
        raise CheckpointError(f"{path.name}: cannot be read ({error.strerror or error})") from None
    if not checkpoint.tensors:
        raise CheckpointError(f"{path.name}: holds no weights")
    return checkpoint


def load_into(module: Module, checkpoint: Checkpoint, ignored: Collection[str] = ()) -> Module:
    """Puts a checkpoint's tensors into a module, all or none, converted to the module's types.

    Args:
        ignored: names that the file may lack or have in excess.

    Raises:
        CheckpointError: names or shapes differ, so the file is of another architecture.
    """
    check_fits(module, checkpoint, ignored)
    module.load_state_dict(
        {name: tensor for name, tensor in checkpoint.tensors.items() if name not in ignored}, strict=False
    )
    return module


def check_fits(module: torch.nn.Module, checkpoint: Checkpoint, ignored: Collection[str] = ()) -> None:
    """`load_into`'s look beforehand; the module may be without memory (on torch's `meta` device).

    Raises:
        CheckpointError: names or shapes differ.
    """
    wanted = {name: tensor.shape for name, tensor in module.state_dict().items() if name not in ignored}
    found = {name: tensor for name, tensor in checkpoint.tensors.items() if name not in ignored}
    what = type(module).__name__
    check_names(checkpoint.name, what, wanted.keys() - found.keys(), found.keys() - wanted.keys(), len(wanted))
    for name, shape in wanted.items():
        if found[name].shape != shape:
            raise CheckpointError(
                f"{checkpoint.name}: of another size than this {what}: {name} is {tuple(found[name].shape)}, "
                f"not {tuple(shape)}"
            )


def load_pretrained(model_class: Any, folder: Path, related: Collection[str] = (), **options: Any) -> Any:
    """A transformers model from a hub-format folder, whole, never from the network.

    Args:
        model_class: a transformers model class with `from_pretrained`.
        related: further `model_type`s whose folders hold this model's weights, among others.
        options: for `from_pretrained`.

    Raises:
        CheckpointError: broken or missing files, another `model_type`, or weights that do not fit.
    """
    expected = model_class.config_class.model_type
    found = model_type(folder)
    if found != expected and found not in related:
        raise CheckpointError(f"{folder.name}: its config.json says {found or 'no model_type'}, not {expected}")
    try:
        model, notes = model_class.from_pretrained(
            str(folder), weights_only=True, output_loading_info=True, dtype=torch.float32, **FROM_FOLDER, **options
        )
    except Exception as error:  # a folder from anywhere can make the library fail in any way
        raise CheckpointError(f"{folder.name}: {one_line(error)}") from None
    check_names(folder.name, model_class.__name__, notes["missing_keys"], (), len(model.state_dict()))
    if notes.get("mismatched_keys"):
        raise CheckpointError(
            f"{folder.name}: weights of other sizes than config.json says, e.g. {_some(notes['mismatched_keys'])}"
        )
    return model


def load_tokenizer(folder: Path) -> Any:
    """transformers' tokenizer of a hub-format folder.

    Raises:
        CheckpointError: it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), **FROM_FOLDER)
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder.name}: its tokenizer cannot be read ({one_line(error)})") from None


def model_type(folder: Path) -> str | None:
    """What a hub-format folder's config.json calls its architecture; None where it does not say.

    Raises:
        CheckpointError: no config.json, or not JSON.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder.name}: its config.json cannot be read ({one_line(error)})") from None
    return config.get("model_type") if isinstance(config, dict) else None


def check_names(file: str, what: str, missing: Collection[str], unknown: Collection[str], total: int) -> None:
    """Refuses weights whose names are not the architecture's.

    Raises:
        CheckpointError: any name is missing or unknown.
    """
    if missing or unknown:
        parts = [f"{len(missing)} of {total} weights are missing ({_some(missing)})"] if missing else []
        parts += [f"{len(unknown)} are not its own ({_some(unknown)})"] if unknown else []
        raise CheckpointError(f"{file}: is not a {what}: {' and '.join(parts)}")


def one_line(error: BaseException) -> str:
    """The first line of an error's message, at most 200 characters."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return text if len(text) <= 200 else text[:197] + "..."


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            return Checkpoint(path.name, {name: file.get_tensor(name) for name in file.keys()}, metadata)  # noqa: SIM118
    except OSError:
        raise
    except Exception as error:  # SafetensorError, and whatever a strange header leads to
        raise CheckpointError(
            f"{path.name}: is not a whole safetensors file ({one_line(error)}); fetch it again"
        ) from None


def _read_pickle(path: Path) -> Checkpoint:
    with path.open("rb") as file:
        start = file.read(512)
    if start.startswith((b"version https://git-lfs", b"<")):
        raise CheckpointError(f"{path.name}: is a web page or a git-lfs pointer, not weights; fetch it again")
    try:
        _check_archive(path)
        with torch.serialization.safe_globals([(PickledRecord, name) for name in UNPICKLED_AS_RECORDS]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path.name}: {_refusal(error)}") from None
    except (OSError, CheckpointError):
        raise
    except Exception as error:  # a program from anywhere can make its reader fail in any way
        raise CheckpointError(f"{path.name}: is not a whole weight file ({one_line(error)}); fetch it again") from None
    module = None
    for key in STATE_DICT_KEYS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping | PickledRecord):
            content = content[key]
    if isinstance(content, PickledRecord):
        module, content = content, dict(content.tensors())
    tensors = (
        {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    for name, tensor in tensors.items():
        _check_held(path.name, name, tensor)
    return Checkpoint(path.name, tensors, module=module)


def _check_archive(path: Path) -> None:
    """
    Raises:
        CheckpointError: an archive that unpacks to far more than it is. torch packs nothing but programs' sources.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(one.file_size for one in archive.infolist())
        if unpacked > path.stat().st_size + MOST_PACKED:
            raise CheckpointError(f"{path.name}: unpacks to {unpacked / 1e9:.3g} GB, so it is no weight file; not read")


def _check_held(file: str, name: str, tensor: torch.Tensor) -> None:
    """
    Raises:
        CheckpointError: a tensor whose numbers the file does not hold: one of a few bytes may say that it has billions.
    """
    plain = tensor.layout == torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
    if not plain or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(f"{file}: its {name[:80]} is no plain tensor that the file holds")


def _refusal(error: pickle.UnpicklingError) -> str:
    """Which class of the pickle was refused, from torch's long message."""
    text = str(error)
    for opening in ("GLOBAL ", "unsupported GLOBAL "):
        if opening in text:
            return f"refers to {text.split(opening, 1)[1].split()[0]}, which weights don't need; it was not run. Get the file from its makers, or as safetensors"
    if "TorchScript" in text:
        return "is a TorchScript program, not weights"
    return "is not a weight file that can be read safely"


def _some(names: Collection[Any]) -> str:
    return ", ".join(str(name) for name in sorted(map(str, names))[:2]) + (", ..." if len(names) > 2 else "")
