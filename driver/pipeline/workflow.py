"""A workflow on the run's servers: found or started, converted, addressed, checked, ready to take samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comfy_nodes.core.tasks import BY_TASK, VERIFY, task_named
from comfy_nodes.core.taxonomy import CHINESE_EDITOR, EDITOR
from comfy_nodes.core.weights.records import Policy

from ..comfyui.answering import at_once
from ..comfyui.client import ComfyServer
from ..comfyui.gpus import has_gpu
from ..comfyui.hosts import Host
from ..errors import RunError
from ..graph import partner
from ..graph.aesthetics import unjudged
from ..graph.api import ANNOTATION_SINK, EDIT_SINK, INSTRUCTION_SINK, SOURCE_CLASS, TURN_CLASS, Api, is_link
from ..graph.bound import BatchGraph
from ..graph.checks import apply_settings
from ..graph.file import AUTO, WorkflowFile, find_workflow, passed_over
from ..graph.judges import WRITER, unvouched, with_judges
from ..graph.licences import check_licences, check_services
from ..graph.several import with_several
from ..options import RunOptions
from ..samples import START, Aim, Context
from ..terminal import say
from .preflight import Agreement, agree, check_join
from .servers import running_hosts

READ_TEXT = "EditPairsReadText"
DETECTORS = {"EditPairsDetectObjects", "EditPairsSegmentWordsSam3"}
"""Nodes that find regions: of words, and of things."""


@dataclass(frozen=True)
class Workflow:
    """One workflow on the run's servers."""

    hosts: Sequence[Host]
    agreement: Agreement
    """What the servers have in common for this graph."""
    file: WorkflowFile
    graph: BatchGraph
    profile: str
    """What the graph is: one of `graph.file.PROFILES`, or `custom`."""
    wanted: str
    """The profile that the run takes: what it was told, else by what the machine has."""

    @property
    def aim(self) -> Aim:
        """What samples it takes."""
        context: Context = "none"
        if self.graph.keeps_off or self.graph.chooses_kinds or self.graph.sink_class == ANNOTATION_SINK:
            context = "masks"
        elif self.graph.sink_class == INSTRUCTION_SINK:
            context = "names"
        task = task_named(self.graph.task)
        plans = self.graph.plans if task.turns > 1 and self.graph.sink_class == EDIT_SINK else None
        return Aim(task, self.graph.needed(task), context, self.profile != "custom", words=self.words, plans=plans)

    @property
    def finds_words_alone(self) -> bool:
        """Whether all regions that it finds are lines of lettering."""
        classes = {node["class_type"] for node in self.graph.api.values()}
        return self.graph.sink_class == ANNOTATION_SINK and READ_TEXT in classes and classes.isdisjoint(DETECTORS)

    @property
    def limits(self) -> str:
        """What is to be known where it finds regions for others, behind its name; empty where it finds what there is."""
        return "; it finds lettering alone, --profile open finds things" if self.finds_words_alone else ""

    @property
    def words(self) -> str | None:
        """What holds for photos that bring no words; None where a node may write some. Those in `workflows/` are examples."""
        return self.graph.words if self.profile == "custom" else None

    def beside(self, name: str, policy: Policy) -> Workflow:
        """Another workflow of ours on the same servers, as its file has it: that of the run's profile.

        Args:
            policy: what licences of weights have to allow.

        Raises:
            RunError: it does not fit a server, as a node or a model is missing, or a licence forbids it.
        """
        path, profile = find_workflow(name, self.wanted)
        file = WorkflowFile.read(path, "--workflow")
        info = self.agreement.object_info
        api = file.to_api(info)
        _say(check_licences(api, policy))
        graph = BatchGraph.bind(api, info, file)
        agreement = _agree(_answering(self.hosts), graph)
        _say(_services(graph, agreement, policy))
        return Workflow(self.hosts, agreement, file, graph, profile, self.wanted)

    @property
    def only_asks(self) -> bool:
        """Whether it asks services and has no weights and makes no edit, so that a server without a GPU does as well."""
        edits = self.graph.sink_class == EDIT_SINK and "edited" not in self.aim.seconds
        return bool(self.graph.profiles()) and not self.agreement.ingredients.weights and not edits

    def on(self, hosts: Sequence[Host]) -> Workflow:
        """The same on other servers.

        Raises:
            RunError: it does not fit one of them.
        """
        return replace(self, hosts=hosts, agreement=_agree(_answering(hosts), self.graph))

    def check(self, server: ComfyServer) -> tuple[str, ...]:
        """Lines to be said of a server that comes, or comes back.

        Raises:
            RunError: it does not fit the others.
        """
        return check_join(server, self.agreement)


@contextmanager
def open_workflows(options: RunOptions, names: Sequence[str], work: Path) -> Iterator[list[Workflow]]:
    """Finds or starts the servers and checks the workflows against them.

    Args:
        options: the command line: profile, server, servers, set.
        names: names or paths of the workflows. Several are of edit tasks, one each.
        work: where files of servers of our own go.

    Raises:
        RunError: no server, no such workflow, one that does not fit the other, or two for one task.
    """
    look_at(options, names)
    with running_hosts(options.server, options.servers, work) as hosts:
        yield bound(options, names, hosts)


def look_at(options: RunOptions, names: Sequence[str]) -> None:
    """Says what is wrong with a file before a server is started for it, where its profile is known by then.

    Raises:
        RunError: there is no such workflow, or `--turns` is given and none has turns.
    """
    if wanted := _profile(options):
        found = [WorkflowFile.read(find_workflow(name, wanted)[0], "--workflow") for name in names]
        if options.turns and not any({TURN_CLASS, INSTRUCTION_SINK} & one.classes() for one in found):
            raise _no_turns(found)


def bound(options: RunOptions, names: Sequence[str], hosts: Sequence[Host]) -> list[Workflow]:
    """The workflows on servers of which at least one answers.

    Args:
        options, names: as of `open_workflows`.

    Raises:
        RunError: as `open_workflows`.
    """
    there = _answering(hosts)
    first = there[0].server
    wanted = _profile(options) or _by_devices(first.system_stats())
    object_info = nodes_of(first)
    found = _found(options, names, wanted)
    files = [_read(path, options, object_info) for path, _ in found]
    apis = [file.to_api(object_info) for file in files]
    for setting in options.set:
        _apply(setting, apis, object_info)
    if options.turns:
        _give_turns(options.turns, apis, files)
    _say(line for api in apis for line in check_licences(api, options.licence_policy))
    graphs = [BatchGraph.bind(api, object_info, file, apis) for api, file in zip(apis, files, strict=True)]
    _check_together(graphs, files)
    for graph, file in zip(graphs, files, strict=True):
        _check_turns(graph, file, options.at_once)
    agreements = [_agree(there, graph) for graph in graphs]
    for graph, agreement in zip(graphs, agreements, strict=True):
        _say(_services(graph, agreement, options.licence_policy))
    alone = [unvouched(graph, file) for graph, file in zip(graphs, files, strict=True)]
    alone += [unjudged(graph.api, file) for graph, file in zip(graphs, files, strict=True)]
    away = [f"{host.name} does not answer; it joins when it does" for host in hosts if host not in there]
    _say((*filter(None, alone), *away, *(line for one in agreements for line in one.warnings)))
    return [
        Workflow(hosts, agreement, file, graph, profile, wanted)
        for agreement, file, graph, (_, profile) in zip(agreements, files, graphs, found, strict=True)
    ]


def _found(options: RunOptions, names: Sequence[str], wanted: str) -> list[tuple[Path, str]]:
    """The files of workflows, and what profile each is; says what the names may have meant beside these.

    Raises:
        RunError: there is no such workflow.
    """
    if options.workflow == AUTO and wanted == "classical" and len(names) > 1:
        # What only a model can make is skipped with that reason, so that the rest is made.
        names = [name for name in names if name not in (EDITOR, CHINESE_EDITOR)]
    found = [find_workflow(name, wanted) for name in names]
    _say(filter(None, (passed_over(name, path) for name, (path, _) in zip(names, found, strict=True))))
    if options.profile == "auto" and (taken := _without_models(names, found)):
        say(
            f"NO GPU: taking {', '.join(taken)}, which work by classical image processing, without any weights to fetch"
        )
    return found


def _read(path: Path, options: RunOptions, object_info: dict[str, Any]) -> WorkflowFile:
    """A workflow with what the command line switches on in it."""
    file = WorkflowFile.read(path, "--workflow")
    if options.judge:
        file = with_judges(file, options.judge, object_info)
    return with_several(file, options.at_once, object_info) if options.at_once > 1 else file


def nodes_of(server: ComfyServer) -> dict[str, Any]:
    """A server's node list, with ours in it.

    Raises:
        RunError: it lacks them.
    """
    found = server.object_info()
    if SOURCE_CLASS not in found:
        raise RunError(f"{server.url} has no EditPairs nodes: install this pack there and restart it")
    return found


def _say(lines: Iterable[str]) -> None:
    """Each line once."""
    for line in dict.fromkeys(lines):
        say(line)


def _without_models(names: Sequence[str], found: Sequence[tuple[Path, str]]) -> list[str]:
    """Files that are taken in the place of those that were named."""
    return [
        path.name
        for name, (path, profile) in zip(names, found, strict=True)
        if profile == "classical" and path.stem != Path(name).stem
    ]


def _apply(setting: str, apis: list[Api], object_info: dict[str, Any]) -> None:
    """Carries out a setting in every graph that has its address.

    Raises:
        RunError: none has.
    """
    refused = []
    for api in apis:
        try:
            apply_settings(api, [setting], object_info)
        except RunError as error:
            refused.append(error)
    if len(refused) == len(apis):
        raise refused[0]


def _give_turns(turns: int, apis: list[Api], files: list[WorkflowFile]) -> None:
    """Says in every graph of dialogues, and in writers', how many turns one has.

    Raises:
        RunError: none is of dialogues.
    """
    made = False
    for api in apis:
        classes = {node["class_type"] for node in api.values()}
        for node in api.values():
            takes = node["class_type"] in (TURN_CLASS, *([WRITER] if INSTRUCTION_SINK in classes else ()))
            if takes and not is_link(node["inputs"].get("turns")):
                node["inputs"]["turns"], made = turns, True
    if not made:
        raise _no_turns(files)


def _no_turns(files: Sequence[WorkflowFile]) -> RunError:
    names = ", ".join(file.path.name for file in files)
    return RunError(f"--turns: {names} makes no dialogues, and writes none; leave it out")


def _check_turns(graph: BatchGraph, file: WorkflowFile, at_once: int) -> None:
    """
    Raises:
        RunError: dialogues cannot go through a graph.
    """
    if graph.plans and at_once > 1:
        raise RunError(
            f"--at-once: {file.path.name} makes dialogues, whose next turn begins from one picture; leave it out, or use "
            "--attempts"
        )
    if START in graph.needed(task_named(graph.task)):
        raise RunError(
            f"{file.path.name}: Load Second Image has role {START}, and a dialogue's first turn has no such picture: choose "
            f"'{START}{BY_TASK}'"
        )


def _check_together(graphs: list[BatchGraph], files: list[WorkflowFile]) -> None:
    """
    Raises:
        RunError: one run cannot make a dataset with all of them.
    """
    if len(graphs) == 1:
        return
    by_task: dict[str, str] = {}
    for graph, file in zip(graphs, files, strict=True):
        name = file.path.name
        if graph.sink_class != EDIT_SINK or graph.task == VERIFY.name:
            raise RunError(f"--workflow {name}: makes no edits of one task: run it by itself")
        if other := by_task.get(graph.task):
            raise RunError(
                f"--workflow {other},{name}: both are for {graph.task}: run one of them, or each into its own folder"
            )
        by_task[graph.task] = name


def _answering(hosts: Sequence[Host]) -> list[Host]:
    """Those that answer now.

    Raises:
        RunError: none does.
    """
    up = at_once([host.running for host in hosts])
    if not any(up):
        raise RunError(f"{hosts[0].name} does not answer any more: see to it and run the same command again")
    return [host for host, answers in zip(hosts, up, strict=True) if answers]


def _agree(there: Sequence[Host], graph: BatchGraph) -> Agreement:
    found = agree([host.server for host in there], graph.api)
    paid = partner.notes(graph.api, found.object_info, [host.server.url for host in there])
    return replace(found, warnings=(*found.warnings, *paid))


def _services(graph: BatchGraph, agreement: Agreement, policy: Policy) -> tuple[str, ...]:
    paid = partner.paid_nodes(graph.api, agreement.object_info)
    return check_services(agreement.ingredients, paid, policy)


def _profile(options: RunOptions) -> str | None:
    """One of `graph.file.PROFILES`, where it can be known before a server answers."""
    if options.profile != "auto":
        return str(options.profile)
    if options.server:
        return None
    return "open" if has_gpu() else "classical"


def _by_devices(stats: dict[str, Any]) -> str:
    """The profile that is taken where none is asked for, by what a server says of itself."""
    return "open" if any(one["type"] != "cpu" for one in stats["devices"]) else "classical"
