"""Where pipelines of diffusers lie, and which of them may be loaded: nothing that runs code of its own, no pickles.

`models.diffusers_editors` asks here before it reads any weight. A pipeline is a folder in one of ComfyUI's `diffusers`
model folders, or a repository of the hub at a pinned commit, which is downloaded only where the user says so.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import folder_paths

from ..imaging.opencv import MissingLibrary
from .checkpoints import CheckpointError, one_line

FOLDER = "diffusers"
"""ComfyUI's own folder type for pipelines."""

INDEX = "model_index.json"

PICKLES = (".bin", ".pt", ".pth", ".ckpt")

OLDEST = (0, 42)
"""Of diffusers: older ones name the argument for the number format otherwise, and would drop ours without a word."""

INSTALL = "pip install 'diffusers>=0.42'"

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def library() -> Any:
    """The module `diffusers`, imported at the first use.

    Raises:
        MissingLibrary: it is not installed, or too old.
    """
    try:
        import diffusers
    except ImportError:
        raise MissingLibrary(f"diffusers is not installed, which this node needs: {INSTALL}") from None
    if tuple(int(part) for part in diffusers.__version__.split(".")[:2]) < OLDEST:
        raise MissingLibrary(f"diffusers {diffusers.__version__} is too old for this node: {INSTALL}")
    return diffusers


def choices() -> dict[str, Path]:
    """Pipelines in ComfyUI's folders, by their path in there with forward slashes."""
    found: dict[str, Path] = {}
    for root in map(Path, folder_paths.get_folder_paths(FOLDER)):
        for depth in ("*", "*/*"):
            for index in sorted(root.glob(f"{depth}/{INDEX}")):
                found.setdefault(index.parent.relative_to(root).as_posix(), index.parent)
    return found


def locate(model: str, revision: str, variant: str, allow_download: bool) -> Path:
    """The folder of a pipeline.

    Args:
        model: a name among `choices()`, or a hub id `owner/name`.
        revision: the commit of a hub id, 40 hexadecimal digits.
        variant: which files of several, such as `fp16`; empty for those without a name.
        allow_download: what is not on this machine may be fetched. The hub library's settings hold: its offline mode,
            its mirror, its cache.

    Raises:
        CheckpointError: it is not there, or may not be fetched; the message says what to do.
        MissingLibrary: diffusers is not installed.
    """
    name = model.strip().strip("/")
    known = choices()
    if name in known:
        return known[name]
    if not _HUB_ID.fullmatch(name):
        listed = f"there are {', '.join(known)}" if known else "there is none yet"
        raise CheckpointError(
            f"model: there is no pipeline {name or '(empty)'} in models/{FOLDER} ({listed}): give a folder of it that "
            f"holds {INDEX}, or a hub id such as owner/name"
        )
    commit = revision.strip().lower()
    if not _COMMIT.fullmatch(commit):
        raise CheckpointError(
            f"revision: {name} is a hub id and needs its commit, 40 hexadecimal digits, so that every run loads the same "
            "weights; the repository's list of commits has it"
        )
    try:
        return Path(
            library().DiffusionPipeline.download(
                name,
                revision=commit,
                variant=variant.strip() or None,
                use_safetensors=True,
                local_files_only=not allow_download,
                trust_remote_code=False,
            )
        )
    except (OSError, ValueError) as error:
        if allow_download:
            raise CheckpointError(f"{name}: cannot be fetched ({one_line(error)})") from None
        raise CheckpointError(
            f"{name}: commit {commit[:8]} is not on this machine, and nothing is downloaded unasked: turn on "
            f"allow_download, or put the pipeline into models/{FOLDER}"
        ) from None


def checked_class(folder: Path) -> type[Any]:
    """The pipeline class that a folder names, after a look at all that would be loaded with it.

    Raises:
        CheckpointError: no such class, code of its own, pickles, or quantised weights.
    """
    diffusers = library()
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        name = index["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder.name}: its {INDEX} cannot be read ({one_line(error)})") from None
    found = getattr(diffusers, name, None) if isinstance(name, str) else None
    if not (isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)):
        raise CheckpointError(
            f"{folder.name}: is a {name}, which diffusers {diffusers.__version__} does not have; code that a folder "
            "brings along is not run"
        )
    for part, origin in index.items():
        if isinstance(origin, list) and len(origin) == 2 and origin[0]:
            _check_part(folder, part, str(origin[0]))
    return found


def _check_part(folder: Path, part: str, origin: str) -> None:
    """One component: whose class it is, and in which form its weights are."""
    if origin not in ("diffusers", "transformers") and not hasattr(library().pipelines, origin):
        raise CheckpointError(
            f"{folder.name}: its {part} comes from {origin}, not from diffusers or transformers; it is not imported"
        )
    files = list((folder / part).glob("*"))
    if any(file.suffix in PICKLES for file in files) and not any(file.suffix == ".safetensors" for file in files):
        raise CheckpointError(f"{folder.name}: the weights of its {part} are pickles; get them as .safetensors")
    config = folder / part / "config.json"
    if config.is_file() and "quantization_config" in json.loads(config.read_text(encoding="utf-8")):
        raise CheckpointError(
            f"{folder.name}: its {part} is quantised, which ComfyUI's memory manager cannot move; take unquantised "
            "weights, or ComfyUI's own nodes with a quantised checkpoint"
        )
