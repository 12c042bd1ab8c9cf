"""A finished run as trainers read it: pictures as files, captions or a list beside them.

An export is built beside its folder and takes its place when it is whole. Pictures are taken out of the shards once, into
the run's `images/` under their content's hash, and every export links to them there.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict

from comfy_nodes.core.keys import KEY_LENGTH
from comfy_nodes.core.whole_files import replace_folder, replacing, write_whole

from ..dataset.dataset import dataset_digest, finished_parts, part_facts, stored_rows
from ..dataset.dialogues import judged_itself, sample_of
from ..dataset.layouts.layout import StoredRow
from ..dataset.ownership import keep_others, refuse_links, remove_marked
from ..disk import disk_errors
from ..errors import RunError
from . import bagel, scaleedit, unicedit
from .turns import as_pairs

Form = Literal["pairs", "diffsynth", "preference", "unicedit", "scaleedit", "bagel"]
FORMS: tuple[Form, ...] = get_args(Form)
Link = Literal["hard", "symlink", "copy"]

MARK = "export.json"
"""Says in an export's folder what it is; written last."""

IMAGES = "images"
"""The run's folder for pictures that were taken out of its shards."""


class Mark(BaseModel):
    """`export.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    form: Form
    dataset: str
    """`dataset_digest` of the run that it was made from."""
    rows: int


@dataclass
class Done:
    """What an export holds."""

    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows that the form has no place for, by what they are."""
    noted: Counter[str] = field(default_factory=Counter)
    """Rows that are otherwise than in the run, by what was changed."""


def export(run: Path, form: Form, output: Path, link: Link) -> Done:
    """Makes an export, or makes it anew.

    Args:
        run: a finished run's folder.
        output: a folder of its own: new, empty, or an earlier export of this form.

    Raises:
        RunError: the run is not finished, the folder holds something else, or its disk is full or knows no such links.
    """
    check(run, form, output)
    dataset = dataset_digest(run)
    output = output.resolve()  # the folders beside it need its name
    fresh, old = _beside(output)
    done = Done()
    with disk_errors(output):
        _begin(fresh, form, dataset)
        pictures = _Pictures(run / IMAGES, fresh, output, link)
        _MAKERS[form](run, fresh, pictures, done)
        write_whole(fresh / MARK, Mark(form=form, dataset=dataset, rows=done.rows).model_dump_json(indent=1) + "\n")
        (fresh / _PART).unlink()
        _replace(output, fresh, old)
    return done


def check(run: Path, form: Form, output: Path) -> int:
    """How many kept rows an export starts from, before anything is written. Arguments and errors as of `export`."""
    parts = finished_parts(run)
    refuse_links(run)
    _check(output, form)
    for beside in _beside(output.resolve()):
        _check_beside(beside)
    return sum(part_facts(part).configs["data"].rows for part in parts)


def _beside(output: Path) -> tuple[Path, Path]:
    """Where an export is built, and where its former one waits."""
    return output.with_name(f".{output.name}.part"), output.with_name(f".{output.name}.old")


_PART = ".unfinished"
"""Says in a folder that is being built from which run, so that the same command goes on with it."""

_INTENT = re.compile(f"({'|'.join(FORMS)}) [0-9a-f]{{64}}")


_OURS = re.compile(
    r"export\.json|parquet_info\.json|README\.md|(metadata|preference)\.jsonl|data/train-\d{5}\.parquet|(\d\.\d_[a-z_]+)/\2_\d{4}\.parquet"
    rf"|(control|target|image|edit_image|rejected|source|chosen)/[0-9a-f]{{{KEY_LENGTH}}}(~[0-9a-z]+)*([_-]\d+)?\.(png|txt)"
)
"""Paths of an export's files, whose rows may have left the dataset since."""


def _check(output: Path, form: Form) -> None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    mark = _mark(output)
    if mark is None:
        raise RunError(f"--output {output}: holds files that no export left there; choose a new or empty folder")
    if mark.form != form:
        raise RunError(f"--output {output}: holds an export to {mark.form}; choose another folder")


def _check_beside(folder: Path) -> None:
    """
    Raises:
        RunError: a folder where an export is built, or its former one waits, is somebody else's.
    """
    if not os.path.lexists(folder):
        return
    ours = not any(folder.iterdir()) or _mark(folder) or _INTENT.fullmatch(_intent(folder)) if folder.is_dir() else None
    if ours and not folder.is_symlink():
        return
    raise RunError(f"{folder}: lies where an export is built, and no export left it there; move it away")


def _mark(folder: Path) -> Mark | None:
    """What an export's folder says of itself."""
    try:
        return Mark.model_validate_json((folder / MARK).read_bytes())
    except (OSError, ValueError):
        return None


def _intent(folder: Path) -> str:
    """What an unfinished export's folder says of itself."""
    try:
        return (folder / _PART).read_bytes().decode("ascii", "replace")
    except OSError:
        return ""


def _begin(fresh: Path, form: Form, dataset: str) -> None:
    """Makes the folder to build in, or takes up the one that the same export left unfinished."""
    intent = f"{form} {dataset}"
    if fresh.exists() and _intent(fresh) != intent:
        remove_marked(fresh, MARK if _mark(fresh) else _PART)
    fresh.mkdir(parents=True, exist_ok=True)
    write_whole(fresh / _PART, intent)


def _replace(output: Path, fresh: Path, old: Path) -> None:
    """Puts an export in the place of its former one; what somebody else put into that stays in it."""
    if output.exists():
        remove_marked(old, MARK)
    replace_folder(fresh, output, old)
    if old.exists():
        keep_others(old, output, lambda name: _OURS.fullmatch(name) or (output / name).is_file())
        remove_marked(old, MARK)


def _pairs(run: Path, fresh: Path, pictures: _Pictures, done: Done) -> None:
    """`control/KEY.png`, `target/KEY.png`, `target/KEY.txt`; several pictures before the edit are `control/KEY_0.png`, `_1`.

    These are the names that ai-toolkit (`folder_path`, `control_path`, captions beside the targets) and musubi-tuner
    (`image_directory`, `control_directory`) look for.
    """
    for row in _pairs_of(stored_rows(run, "data"), done):
        key = row.columns["key"]
        names = [key] if len(row.inputs) == 1 else [f"{key}_{number}" for number in range(len(row.inputs))]
        for name, data in zip(names, row.inputs, strict=True):
            pictures.put(f"control/{name}.png", data)
        pictures.put(f"target/{key}.png", row.outputs[0])
        write_whole(fresh / "target" / f"{key}.txt", row.columns["prompt"], durable=False)
        done.rows += 1


def _diffsynth(run: Path, fresh: Path, pictures: _Pictures, done: Done) -> None:
    """`metadata.jsonl` with `prompt`, `image` (after) and `edit_image` (before; a list where there are several).

    These are the columns of DiffSynth-Studio's edit training: `--data_file_keys image,edit_image`, paths relative to
    `--dataset_base_path`. It reads .csv too, where a row cannot hold a list.
    """
    with replacing(fresh / "metadata.jsonl") as file:
        for row in _pairs_of(stored_rows(run, "data"), done):
            key = row.columns["key"]
            after, before = pictures.put(f"image/{key}.png", row.outputs[0]), pictures.put_before("edit_image", row)
            line = {"prompt": row.columns["prompt"], "image": after, "edit_image": before}
            file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
            done.rows += 1


def _preference(run: Path, fresh: Path, pictures: _Pictures, done: Done) -> None:
    """`preference.jsonl` with `prompt`, `source`, `chosen`, `rejected`: every kept edit against every rejected one of its
    sample that was asked for in the same words of the same picture.
    """
    stems = _stems_in_both(run)
    rejected: dict[str, list[_Rejected]] = defaultdict(list)
    for row in _pairs_of(_of_samples(stored_rows(run, "rejected"), stems), done):
        if row.columns["verdict"] == "reject" and judged_itself(row.columns):
            path = pictures.put(f"rejected/{row.columns['key']}.png", row.outputs[0])
            rejected[sample_of(row.columns)].append(
                _Rejected(row.columns["key"], path, _request(row), row.columns["reject_reason"], row.columns["scores"])
            )
    used: set[str] = set()
    with replacing(fresh / "preference.jsonl") as file:
        for row in _pairs_of(_of_samples(stored_rows(run, "data"), stems), done):
            key = row.columns["key"]
            against = [one for one in rejected[sample_of(row.columns)] if one.request == _request(row)]
            if not against:
                continue
            used.update(one.key for one in against)
            before = pictures.put_before("source", row)
            chosen = pictures.put(f"chosen/{key}.png", row.outputs[0])
            for one in against:
                line = {
                    "key": key,
                    "rejected_key": one.key,
                    "prompt": row.columns["prompt"],
                    "source": before,
                    "chosen": chosen,
                    "rejected": one.path,
                    "reject_reason": one.reason,
                    "chosen_scores": row.columns["scores"],
                    "rejected_scores": one.scores,
                }
                file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
                done.rows += 1
    for one in [one for group in rejected.values() for one in group if one.key not in used]:
        (fresh / one.path).unlink()
        done.left_out["rejected, of samples that were kept for another request"] += 1


def _unicedit(run: Path, fresh: Path, pictures: _Pictures, done: Done) -> None:
    """`data/train-00000.parquet` in UnicEdit-10M's schema; pictures lie in it."""
    done.rows = unicedit.write(fresh, _pairs_of(stored_rows(run, "data"), done), done.left_out)


def _scaleedit(run: Path, fresh: Path, pictures: _Pictures, done: Done) -> None:
    """`TASK/TASK_0000.parquet` in ScaleEdit-12M's schema; pictures lie in it."""
    done.rows = scaleedit.write(fresh, _pairs_of(stored_rows(run, "data"), done), done.left_out)


def _bagel(run: Path, fresh: Path, pictures: _Pictures, done: Done) -> None:
    """`data/train-00000.parquet` with sequences of pictures and words, `parquet_info.json` and `README.md`."""
    rows = _one_output(stored_rows(run, "data"), done)
    done.rows = bagel.write(fresh, pictures.place, rows, done.left_out, done.noted)


_MAKERS: dict[Form, Callable[[Path, Path, _Pictures, Done], None]] = {
    "pairs": _pairs,
    "diffsynth": _diffsynth,
    "preference": _preference,
    "unicedit": _unicedit,
    "scaleedit": _scaleedit,
    "bagel": _bagel,
}


@dataclass(frozen=True)
class _Rejected:
    """A rejected edit that may be set against a kept one."""

    key: str
    path: str
    request: tuple[str, ...]
    reason: str
    scores: list[dict[str, object]]


def _request(row: StoredRow) -> tuple[str, ...]:
    """What was asked for: the words before anybody looked at the edit, and the pictures."""
    asked = row.columns["initial_prompt"] or row.columns["prompt"]
    return asked, *(hashlib.sha256(data).hexdigest() for data in row.inputs)


def _stems_in_both(run: Path) -> np.ndarray:
    """Samples with rows in both configs, as sorted bytes; 64 bytes a row while it looks. A dialogue's turns are samples."""
    found = []
    for config in ("data", "rejected"):
        rows = stored_rows(run, config, images=False)
        found.append(np.unique(np.fromiter((sample_of(row.columns).encode() for row in rows), "S64")))
    kept, rejected = found
    both: np.ndarray = np.intersect1d(kept, rejected)
    return both


def _of_samples(rows: Iterator[StoredRow], stems: np.ndarray) -> Iterator[StoredRow]:
    for row in rows:
        stem = np.bytes_(sample_of(row.columns).encode())
        at = int(np.searchsorted(stems, stem))
        if at < len(stems) and stems[at] == stem:
            yield row


def _pairs_of(rows: Iterator[StoredRow], done: Done) -> Iterator[StoredRow]:
    """Rows with one picture after the edit and words that stand alone."""
    return as_pairs(_one_output(rows, done), done.left_out, done.noted)


def _one_output(rows: Iterator[StoredRow], done: Done) -> Iterator[StoredRow]:
    for row in rows:
        if len(row.outputs) == 1:
            yield row
        else:
            done.left_out["with several pictures after the edit"] += 1


class _Pictures:
    """Puts pictures into an export."""

    def __init__(self, pool: Path, folder: Path, place: Path, link: Link):
        """
        Args:
            folder: where the export is built.
            place: where it will lie.
        """
        self._pool, self._folder, self._link = pool, folder, link
        self.place = place

    def put(self, name: str, data: bytes) -> str:
        """Puts a picture at a path in the export, unless it is there from an export that broke off; returns the path."""
        place = self._folder / name
        place.parent.mkdir(exist_ok=True)
        if self._link == "copy":
            _write_once(place, data)
        elif not place.exists():
            digest = hashlib.sha256(data).hexdigest()
            source = self._pool / digest[:2] / f"{digest}.png"
            source.parent.mkdir(parents=True, exist_ok=True)
            _write_once(source, data)
            self._make_link(place, source)
        return name

    def put_before(self, folder: str, row: StoredRow) -> str | list[str]:
        """Puts a row's pictures before the edit there; returns their path, or paths where there are several."""
        key = row.columns["key"]
        paths = [self.put(f"{folder}/{key}{f'-{n}' if n else ''}.png", data) for n, data in enumerate(row.inputs)]
        return paths if paths[1:] else paths[0]

    def _make_link(self, place: Path, source: Path) -> None:
        place.unlink(missing_ok=True)  # a symbolic link to nowhere
        try:
            if self._link == "symlink":
                # Also right from the folder's place, which has the same parent.
                place.symlink_to(os.path.relpath(source.resolve(), place.parent.resolve()))
            else:
                place.hardlink_to(source)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK):
                raise
            others = "symlink or copy" if self._link == "hard" else "copy"
            raise RunError(
                f"--link {self._link}: {self._folder.parent} takes no such links to {self._pool}; use --link {others}"
            ) from None


def _write_once(place: Path, data: bytes) -> None:
    """Writes a file whole or not at all; one that is there stays."""
    if place.is_symlink() or not place.exists() or place.stat().st_size != len(data):
        write_whole(place, data, durable=False)
