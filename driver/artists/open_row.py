"""The workflow of one row, filled in as the driver filled it, for an artist to open; and the row made again.

Called by `driver/open.py` with a server, whose node list tells what the graph's widgets are. Reads a finished run's folder
and writes into its `open/`; the run itself stays as it is.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import uuid
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from comfy_nodes.core.instructions.checks import Unfit
from comfy_nodes.core.keys import turn_key
from comfy_nodes.core.photos import PhotoError
from comfy_nodes.core.records import EditRecord, records_name
from comfy_nodes.core.regions.annotation import Provenance
from comfy_nodes.core.whole_files import write_whole

from ..comfyui.client import ComfyServer
from ..dataset.commits import parts_with
from ..dataset.dataset import finished_parts, stored_row
from ..dataset.dialogues import dialogue_of, leading, rows_of, sample_of
from ..dataset.layouts.layout import StoredRow
from ..dataset.ownership import check_journal, refuse_links
from ..dataset.parts import Part
from ..dataset.spool import Spool
from ..engine.posting import sample_widgets
from ..errors import RunError
from ..graph import partner
from ..graph.api import Api
from ..graph.bound import BatchGraph
from ..graph.dynamic_prompts import as_typed
from ..graph.file import WorkflowFile
from ..graph.left_values import without_shown_values
from ..graph.page_rules import unindexed
from ..graph.ui import UiGraph
from ..inputs.source import Source
from ..journal import Journal
from ..pipeline.folder import workflow_files
from ..pipeline.turns import Turns
from ..places import Locator, State
from ..samples import Sample

FOLDER = "open"
"""Where opened rows lie in a run's folder."""

UPLOADS = "editpairs-open"
"""Where their pictures lie on a server."""

AGAIN_SECONDS = 3600
"""Longest wait for a row that is made again. Ours."""


@dataclass(frozen=True)
class Opened:
    """A row as a workflow."""

    row: StoredRow
    path: Path
    """The workflow in UI format, to be dragged into ComfyUI."""
    pictures: tuple[Path, ...]
    """The photo, and what belongs to it."""
    lines: tuple[str, ...]
    """What was done and what to do now, a line each."""
    graph: BatchGraph
    values: Mapping[str, Any]
    seconds: Mapping[str, Path]


@dataclass(frozen=True)
class Again:
    """A row that was made a second time."""

    difference: int | None
    """Largest difference of any colour channel to the stored picture, 0 to 255; None where the sizes differ."""
    share: float
    """Share of the pixels that differ at all, 0 to 1."""
    line: str


@dataclass(frozen=True)
class Found:
    """A row with what its run's folder holds of it."""

    run: Path
    row: StoredRow
    sample: Sample
    """Of a turn, as it went to its server."""
    states: Mapping[Locator, bytes]
    """The pictures of its dialogue that a turn's sample names."""
    ui: WorkflowFile
    api: Api
    notes: tuple[str, ...]
    """What to say of the row, a line each."""


def find_row(key: str, run: Path) -> Found:
    """Looks a row up; needs no server.

    Args:
        key: the row's, as the dataset and the report name it; a dialogue's for its first turn.
        run: the run's folder.

    Raises:
        RunError: no such folder or row, a run without a UI file or a journal, a turn whose dialogue was made anew since.
    """
    finished_parts(run)
    refuse_links(run)
    part, row = _looked_up(run, key) or _looked_up(run, turn_key(key, 1)) or (None, None)
    if part is None or row is None:
        raise RunError(f"{key}: {run} has no row of this key; report.html and the column key name them")
    if row.columns["derived_kind"] and not part.journal.exists():
        parents = ", ".join(row.columns["derived_from"])
        raise RunError(
            f"{key}: was derived from {parents} ({row.columns['derived_kind']}); open these in their run's folder"
        )
    sample, states = _sample_of(part, sample_of(row.columns))
    notes = (_others(part, row),) if row.columns["key"] != key else ()
    return Found(run, row, sample, states, *_graphs(run, sample.task or str(row.columns["task"])), notes)


def _looked_up(run: Path, key: str) -> tuple[Part, StoredRow] | None:
    """A row with its part. Parts know their samples, whose keys are what a row's begins with."""
    names = key.split("~")
    for length in range(len(names), 0, -1):
        for part in parts_with(run, "~".join(names[:length])):
            if row := stored_row(part, key):
                return part, row
    return None


def _others(part: Part, row: StoredRow) -> str:
    """What to say where a dialogue was asked for and its first turn is opened."""
    dialogue = dialogue_of(row.columns)
    turns = [one.columns for _, rows in rows_of(part, {dialogue}) for one, _ in leading(rows)]
    told = "; ".join(f"{one['key']} ({one['prompt']})" for one in turns[1:])
    return f"{dialogue} is a dialogue: this is its first turn" + (f", the others are {told}" if told else "")


def open_row(found: Found, server: ComfyServer, original: Source | None, upload: bool) -> Opened:
    """Writes the workflow of one row, with photo, region, instruction and seed in its widgets.

    Args:
        server: a ComfyUI that has the graph's nodes.
        original: the run's input, for the photo as it was; None for the picture that the row has, which is the photo
            without its metadata unless the graph scaled it.
        upload: whether the pictures go to that server, so that the workflow runs there at once.

    Raises:
        RunError: a photo that is another one now.
    """
    run, row, sample, ui_file = found.run, found.row, found.sample, found.ui
    key = str(row.columns["key"])
    info = server.object_info()
    graph = BatchGraph.bind(found.api, info)
    pictures, notes = _pictures(found, graph, original)
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    paths = {role: folder / name for role, (name, _) in pictures.items()}
    for role, (_, data) in pictures.items():
        write_whole(paths[role], data)
    names = {
        role: server.upload(data, name, UPLOADS, "input") if upload else name for role, (name, data) in pictures.items()
    }
    values = sample_widgets(sample, _provenance(sample, row))
    seconds = {role: path for role, path in paths.items() if role != "image"}
    ui = UiGraph(without_shown_values(ui_file.ui or {}, info))
    _fill(
        ui, graph.prompt({"image": names["image"], **values}, int(row.columns["seed"]), "", names), graph, ui_file, info
    )
    path = folder / f"{key}.json"
    write_whole(path, json.dumps(ui.ui, indent=2, ensure_ascii=False) + "\n")
    where = (
        f"{server.url} has its pictures"
        if upload
        else f"copy {', '.join(p.name for p in paths.values())} from {folder} into ComfyUI's input folder"
    )
    lines = (f"{path}: drag it into ComfyUI and press Run; {where}", *notes, *found.notes)
    return Opened(row, path, tuple(paths.values()), lines, graph, values, seconds)


def make_again(opened: Opened, server: ComfyServer) -> Again:
    """Runs an opened row on a server and compares what comes out with what the dataset has.

    Raises:
        RunError: the server refused it, or it failed there.
    """
    key = str(opened.row.columns["key"])
    folder, prompt_id = f"{UPLOADS}/{uuid.uuid4().hex[:12]}", str(uuid.uuid4())
    photo = opened.pictures[0]
    image = server.upload(photo.read_bytes(), photo.name, UPLOADS)
    seconds = {role: server.upload(path.read_bytes(), path.name, UPLOADS) for role, path in opened.seconds.items()}
    prompt = opened.graph.prompt({"image": image, **opened.values}, int(opened.row.columns["seed"]), folder, seconds)
    server.submit(prompt, prompt_id, uuid.uuid4().hex, partner.extra_data(prompt, server.object_info()))
    _wait(server, prompt_id, key)
    try:
        returned = json.loads(server.fetch(records_name(sample_of(opened.row.columns)), folder))["editpairs"]
    except FileNotFoundError:
        raise RunError(f"{key}: ran on {server.url}, but left no pair", 1) from None
    if failed := [one["failure"]["message"] for one in returned if "failure" in one]:
        raise RunError(f"{key}: failed on {server.url} ({failed[0]})", 1)
    records = {record.key: record for record in map(EditRecord.model_validate, returned)}
    # A rejected try is kept under a name of its own, which the node does not know.
    record = records.get(_as_saved(key)) or next(iter(records.values()))
    made = [server.fetch(one.filename, one.subfolder, one.type) for one in record.output_images]
    return _compared(key, opened.row.outputs, made)


def _compared(key: str, stored: tuple[bytes, ...], made: list[bytes]) -> Again:
    largest, share = 0, 0.0
    for before, after in zip(map(_pixels, stored), map(_pixels, made), strict=True):
        if before.shape != after.shape:
            sizes = " and ".join(f"{one.shape[1]} x {one.shape[0]}" for one in (before, after))
            return Again(None, 1.0, f"{key} made again: another size than the row has ({sizes})")
        apart = np.abs(before.astype(np.int16) - after)
        largest, share = max(largest, int(apart.max())), max(share, float((apart.max(axis=2) > 0).mean()))
    said = (
        "no pixel differs" if not largest else f"differs by up to {largest} of 255 levels in {share:.2%} of the pixels"
    )
    return Again(largest, share, f"{key} made again: {said}")


def _sample_of(part: Part, key: str) -> tuple[Sample, dict[Locator, bytes]]:
    """The sample that a row was made of, from its part's journal, and the pictures of its dialogue.

    Raises:
        RunError: the journal does not know it, or the turns before it are others now.
    """
    check_journal(part.output, part.journal)
    with closing(Journal(part.journal)) as journal:
        found = journal.sample(key)
        if found is None:
            raise RunError(f"{key}: {part.journal} does not know it; it was not made by a run")
        if not found.turn:
            return found, {}
        turns = Turns(journal, Spool(part.work / "spool"), part)
        try:
            states: dict[Locator, bytes] = {}
            states |= {one: turns.picture(one) for one in (found.file, found.start) if isinstance(one, State)}
            return turns.completed(found), states
        except (PhotoError, Unfit) as error:
            raise RunError(f"{key}: {error}") from None


def _graphs(run: Path, task: str) -> tuple[WorkflowFile, Api]:
    """The run's workflow as its file was, and as it ran."""
    for names in (workflow_files(""), workflow_files(task)):
        ui, api = (run / name for name in names)
        if not api.exists():
            continue
        if not ui.exists():
            raise RunError(
                f"{run}: was run from a file in API format, which has no nodes on a canvas: there is nothing to fill in; "
                f"ComfyUI opens {api.name} itself, without the row's values"
            )
        found = WorkflowFile.read(api).api
        assert found is not None
        return WorkflowFile.read(ui), found
    raise RunError(f"{run}: holds no workflow; it is no run's folder, or its pairs were made by hand")


def _pictures(
    found: Found, graph: BatchGraph, original: Source | None
) -> tuple[dict[str, tuple[str, bytes]], list[str]]:
    """The pictures that the graph loads, by role (`image`, the photo, first), as name and bytes; and what to say of them."""
    sample, row, states = found.sample, found.row, found.states
    key = str(row.columns["key"])
    roles = sorted(set(graph.seconds().values()))
    if original is not None:
        files = {"image": sample.file, **{role: getattr(sample, role) for role in roles}}
        try:
            read = {
                role: (_name(key, role, original.suffix(file)), states.get(file) or original.read(file))
                for role, file in files.items()
                if file
            }
        except PhotoError as error:
            raise RunError(f"--input: {error}") from None
        same = hashlib.sha256(read["image"][1]).hexdigest() == row.columns["source_sha256"]
        if sample.file not in states and not same:
            raise RunError(f"--input: {sample.file} is another picture than the one that {key} was made of")
        return read, []
    before, after = row.inputs[0], row.outputs[0]
    # Of a thing that was added the photo is the picture after: the thing was taken out of it.
    added = (sample.turn.op if sample.turn else sample.task or graph.task) == "add"
    photo = states.get(sample.file) or (after if added else before)
    kept = {"image": photo, "reference": row.inputs[-1], "frame2": after, "edited": after}
    kept |= {"start": states[sample.start]} if sample.start else {}
    return {role: (_name(key, role, ".png"), kept[role]) for role in ("image", *roles) if role in kept}, _scaled(
        found, photo
    )


def _scaled(found: Found, photo: bytes) -> list[str]:
    """What to say where a photo is not the size that the sample knows."""
    size, known = _pixels(photo).shape[1::-1], found.sample.annotation.size
    if not known or known == size:
        return []
    return [
        f"the graph scaled the photo from {known[0]} x {known[1]} to {size[0]} x {size[1]}: give the run's --input for the "
        "photo itself, or the result will differ"
    ]


def _name(key: str, role: str, suffix: str) -> str:
    return f"{key}{'' if role == 'image' else f'-{role}'}{suffix}"


def _provenance(sample: Sample, row: StoredRow) -> Provenance:
    names = ("source_id", "source_path", "source_sha256", "source_licence", "source_url", "subtask", "slot")
    return Provenance(key=sample.key, task=sample.own_task, **{name: row.columns[name] for name in names})


def _fill(ui: UiGraph, wanted: Api, graph: BatchGraph, file: WorkflowFile, info: dict[str, Any]) -> None:
    """Sets every widget whose value the driver gave, seeds, settings and drawn alternatives too."""

    def convert(changed: dict[str, Any]) -> Api:
        api = unindexed(WorkflowFile(file.path, file.sha256, changed, None).to_api(info))
        return {node_id: {**node, "_meta": {}} for node_id, node in api.items()}

    shown = convert(ui.ui)
    for node_id, node in unindexed(wanted).items():
        for name, value in node["inputs"].items():
            if shown[node_id]["inputs"].get(name) != value and (node_id, name) != (graph.sink, "folder"):
                typed = as_typed(value) if (node_id, name) in graph.drawn else value
                ui.set(tuple(node_id.split(":")), name, value, convert, typed)


def _wait(server: ComfyServer, prompt_id: str, key: str) -> None:
    deadline = time.monotonic() + AGAIN_SECONDS
    while time.monotonic() < deadline:
        job = server.job(prompt_id)
        if job and job.finished:
            if job.status != "completed":
                why = job.error.get("exception_message") or job.status
                raise RunError(f"{key}: failed on {server.url} ({str(why).strip()})", 1)
            return
        time.sleep(0.2)
    server.cancel([prompt_id])
    raise RunError(f"{key}: {server.url} was not done after {AGAIN_SECONDS} s; see what else is in its queue", 1)


def _as_saved(key: str) -> str:
    """A row's key as the node gave it: without the mark of a rejected try."""
    return "~".join(part for part in key.split("~") if not part.startswith("try"))


def _pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as opened:
        return np.asarray(opened.convert("RGB"))
