"""Where weights lie: the model folders that ComfyUI knows, ours among them.

Importing this module registers our folder types with ComfyUI's `folder_paths`, so that users may move them with
`extra_model_paths.yaml`. Every lookup goes through `folder_paths`; nothing here assumes a models directory.
A choice is what a combo widget shows: a file's path relative to its folder, or a hub-format folder (one that
holds `config.json` and weights) likewise.
"""

from __future__ import annotations

from pathlib import Path, PurePath

import folder_paths

WEIGHTS = frozenset({".safetensors", ".sft", ".pt", ".pth", ".bin"})
"""File name endings that we can read weights from."""

OWN_FOLDERS = ("yolo_world", "ultralytics", "grounding", "sam2", "sams", "aesthetic", "LLM")
"""Folder types that ComfyUI does not have itself. `ultralytics`, `sam2`, `sams` and `LLM` are names that other packs use too."""


def register() -> None:
    """Makes ComfyUI list our folder types; what users or other packs have registered under a name stays."""
    for name in OWN_FOLDERS:
        folder_paths.add_model_folder_path(name, str(Path(folder_paths.models_dir) / name))
        endings = folder_paths.folder_names_and_paths[name][1]
        endings.update(WEIGHTS)


def files(*names: str) -> list[str]:
    """Weight files in the folder types `names`, as choices, sorted."""
    found = {choice for name in names for choice in listed(name)}
    return sorted(choice for choice in found if PurePath(choice).suffix.lower() in WEIGHTS)


def listed(name: str) -> list[str]:
    """All files in the folder type `name`.

    ComfyUI's listing fails, and with it the node that asks, once a folder that it has seen is deleted: it is then made anew.
    """
    try:
        return list(folder_paths.get_filename_list(name))
    except FileNotFoundError:
        folder_paths.filename_list_cache.pop(name, None)
        return list(folder_paths.get_filename_list(name))


def file_path(choice: str, *names: str) -> Path:
    """The file behind a choice.

    Raises:
        FileNotFoundError: it is in none of the folders; the message lists them.
    """
    return _find(choice, choice, names)


def hub_folders(*names: str) -> list[str]:
    """Hub-format folders in the folder types `names`, as choices with forward slashes, sorted."""
    parents = {(name, PurePath(choice).parent) for name in names for choice in files(name)}
    return sorted(
        {
            parent.as_posix()
            for name, parent in parents
            if parent.parts and folder_paths.get_full_path(name, str(parent / "config.json"))
        }
    )


def hub_path(choice: str, *names: str) -> Path:
    """The hub-format folder behind a choice.

    Raises:
        FileNotFoundError: no folder holds `<choice>/config.json`; the message lists them.
    """
    return _find(choice, str(PurePath(choice) / "config.json"), names).parent


def _find(choice: str, file: str, names: tuple[str, ...]) -> Path:
    for name in names:
        path = folder_paths.get_full_path(name, file)
        if path:
            return Path(path)
    searched = ", ".join(path for name in names for path in folder_paths.get_folder_paths(name))
    raise FileNotFoundError(f"there is no {choice} (looked for {file} in {searched})")


register()
