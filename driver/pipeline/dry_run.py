"""What a run would do, shown without doing it."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from comfy_nodes.core.services import budget, profiles

from ..dataset.commits import Totals
from ..dataset.ownership import JOURNAL, check_journal
from ..graph import partner
from ..graph.api import SAMPLE_INPUTS
from ..graph.judges import looks, unasked
from ..graph.licences import rests_on
from ..inputs.quotas import wanted_kinds
from ..inputs.sampling import NEAR_DUPLICATE
from ..inputs.source import Source
from ..journal import Journal
from ..options import RunOptions
from ..samples import NOT_ANNOTATED, Aim, Grounding, Planned, Sample, Unavailable, Unusable
from ..terminal import counted, plain
from .folder import FORM, claimable
from .form import form_to_be
from .plan import check_kinds, check_near, finder, lacks_regions, look_for_near, open_source, planned, workflow_names
from .settled import sound_commits
from .shard import Order
from .workflow import Workflow, open_workflows

PHOTO_PIXELS = 1024 * 1024
"""What a photo is taken to have in an estimate of costs. Ours."""


def dry_run(options: RunOptions) -> dict[str, int]:
    """Shows what a run would do; starts a server to ask it, and leaves nothing behind.

    Returns:
        How many samples would be edited or skipped, or are unusable, and how many photos get their regions first; where
        samples are turns, how many dialogues they make.

    Raises:
        RunError: the run could not start.
    """
    source = open_source(options)
    look_for_near(options, source, None)
    with (
        closing(source),
        tempfile.TemporaryDirectory(prefix="editpairs-") as scratch,
        open_workflows(options, workflow_names(options, source), Path(scratch)) as workflows,
    ):
        check_kinds(options, workflows)
        check_near(options, workflows)
        refused: Counter[tuple[str, str]] = Counter()
        usable = Tally()
        own_words: Counter[str] = Counter()
        with _journal(options.output) as journal:
            if journal is not None:
                claimable(journal, workflows, options.seed, options.output)
            scope = Scope.of(options, source, [workflow.aim for workflow in workflows], journal)
            begun = _begun(options.output, journal)
        cut = scope.order.cut if scope.order else None
        lacking = not scope.nothing and lacks_regions(options, source, workflows, cut)
        first = finder(options, workflows) if lacking else None
        bare = 0
        grounding = Unavailable("its regions are found first") if isinstance(first, Workflow) else first
        for one in taken(scope.planned(options, source, workflows, grounding), options.limit):
            if isinstance(one, Unusable) and isinstance(first, Workflow) and one.failure.error_type == NOT_ANNOTATED:
                bare += 1
            elif isinstance(one, Unusable):
                copy = one.failure.error_type == NEAR_DUPLICATE
                why = "looks like an earlier photo (--near)" if copy else one.failure.message
                refused["skipped" if one.failure.skipped else "unusable", why] += 1
            elif isinstance(one, Sample):
                usable.add(one)
                own_words[one.task] += one.words_of_graph
        labels = source.labels([workflow.aim for workflow in workflows])
        version = workflows[0].agreement.stats["system"]["comfyui_version"]
        show("server", f"{', '.join(host.name for host in workflows[0].hosts)} (ComfyUI {version})")
        bare = scope.whole(bare)
        if isinstance(first, Workflow):
            show(
                "regions",
                f"{scope.about}{bare} photos have none: {first.file.path.name} finds some first{first.limits}",
            )
            _show_licences(first)
        for workflow in workflows:
            task = workflow.graph.task
            own = usable.of(task) if len(workflows) > 1 else usable
            number = own.edited(scope)
            for name, text in {**graph_lines(workflow), **estimates(workflow, number, options.kinds or "")}.items():
                show(name, text)
            _show_licences(workflow)
            if len(workflows) > 1:
                show("samples", f"{scope.about}{number} to edit{own.told(scope)}")
            if without := own_words[workflow.graph.task]:
                without = scope.whole(without)
                show(
                    "words",
                    f"{scope.about}{without} bring none: they get the workflow's own, {(workflow.words or '')[:60]!r}",
                )
        found = Counter(what for what, _ in refused.elements())
        edited, talks = usable.edited(scope), usable.told(scope)
        skipped, unusable = scope.whole(found["skipped"]), scope.whole(found["unusable"])
        more = f" and those of {bare} photos without regions" if bare else ""
        show(
            "all samples",
            f"{scope.about}{edited} to edit{talks}{more}, {skipped} skipped, {unusable} unusable{scope.told}",
        )
        if begun:
            show("of these", begun)
        if labels:
            show("labels", labels)
        show("output", str(options.output))
        for (what, why), number in refused.most_common(20):
            print(plain(f"{what:>14}: {why}" + (f" (and {number - 1} more)" if number > 1 else "")))
    counts = {"to_edit": edited, "skipped": skipped, "unusable": unusable, "without_regions": bare}
    return {**counts, **({"dialogues": usable.talks(scope)} if talks else {})}


@contextmanager
def _journal(output: Path) -> Iterator[Journal | None]:
    """The journal of a run that has begun in the folder."""
    if not (output / JOURNAL).exists():
        yield None
        return
    check_journal(output, output / JOURNAL)
    with closing(Journal(output / JOURNAL)) as journal:
        yield journal


def _begun(output: Path, journal: Journal | None) -> str:
    """What a run that has begun came to so far, in words."""
    if journal is None:
        return ""
    many = journal.get(FORM) is not None
    found = Totals.of_commits(one for _, one in sound_commits(output)) if many else Totals.of_journal(journal)
    counts = [f"{found.counts.get(state, 0)} {state}" for state in ("done", "failed", "skipped")]
    return f"{', '.join(counts)} already, by the output's {'shards' if many else 'journal'}"


@dataclass(frozen=True)
class Scope:
    """What of the input is planned: all, or of a run of many shards the first, from which the rest is estimated."""

    order: Order | None = None
    times: float = 1.0
    """How often what is planned is in the run, by the input's items."""
    limit: int | None = None
    told: str = ""
    """What is to be said of it."""
    nothing: bool = False

    @classmethod
    def of(cls, options: RunOptions, source: Source, aims: Sequence[Aim], journal: Journal | None = None) -> Scope:
        """
        Args:
            aims: as `Source.plan` takes them.
            journal: of the run that is gone on with.

        Raises:
            RunError: that run is cut into other shards.
        """
        form = form_to_be(journal, options, source, aims)
        if form is None:
            return cls()
        first = next(source.shards(form.size, aims, share=form.share), None)
        if first is None:
            return cls(nothing=True, told=": this share has none of the input's shards")
        total = source.count(aims)
        shards = -(-total // form.size)
        ours = len(range(form.share[0], shards, form.share[1]))
        last = shards - 1 in range(form.share[0], shards, form.share[1])
        items = ours * form.size - (shards * form.size - total if last else 0)
        told = f", estimated: shard {first.index} was planned, of {ours}; the input has {total} photos"
        return cls(Order(first, shards, "", options.limit), items / max(1, first.items), options.limit, told)

    @property
    def about(self) -> str:
        """What stands before a number that is estimated."""
        return "about " if self.times != 1 else ""

    def planned(
        self, options: RunOptions, source: Source, workflows: Sequence[Workflow], grounding: Grounding | None
    ) -> Iterator[Planned]:
        return iter(()) if self.nothing else planned(options, source, workflows, grounding, self.order)

    def whole(self, number: int) -> int:
        """How many there are in the run of what was counted."""
        return round(number * self.times)

    def edited(self, number: int, begun: int) -> int:
        """The same of samples to edit, of which a limit may allow fewer.

        Args:
            begun: how many samples were planned that count for the limit.
        """
        if self.limit is None:
            return self.whole(number)
        return round(number * min(self.times, self.limit / max(1, begun)))


@dataclass(frozen=True)
class Tally:
    """Samples that were planned, by their task."""

    samples: Counter[str] = field(default_factory=Counter)
    begun: Counter[str] = field(default_factory=Counter)
    """Those that count for a limit: of the turns of a dialogue the first."""
    dialogues: Counter[str] = field(default_factory=Counter)

    def add(self, one: Sample) -> None:
        self.samples[one.task] += 1
        self.begun[one.task] += not one.after
        if one.turn and not one.after:
            self.dialogues[one.task] += 1

    def of(self, task: str) -> Tally:
        """Those of one task."""
        samples, begun, dialogues = (
            Counter({task: one[task]}) if one[task] else Counter() for one in (self.samples, self.begun, self.dialogues)
        )
        return Tally(samples, begun, dialogues)

    def edited(self, scope: Scope) -> int:
        """How many there are in the run."""
        return scope.edited(self.samples.total(), self.begun.total())

    def talks(self, scope: Scope) -> int:
        """How many dialogues there are in the run."""
        return scope.edited(self.dialogues.total(), self.begun.total())

    def told(self, scope: Scope) -> str:
        """How many dialogues they make, behind their number; "" where they are no turns."""
        if not self.dialogues:
            return ""
        turns = sum(self.samples[task] for task in self.dialogues)
        some = "" if turns == self.samples.total() else f"{scope.edited(turns, self.begun.total())} of them "
        return f" ({some}turns of {counted(self.talks(scope), 'dialogue')})"


def taken(found: Iterator[Planned], limit: int | None) -> Iterator[Planned]:
    """What a run with this limit takes down."""
    usable = 0
    for one in found:
        if isinstance(one, Sample) and not one.after:
            if limit is not None and usable >= limit:
                return
            usable += 1
        yield one


def show(name: str, text: str) -> None:
    """A line under a name."""
    print(plain(f"{name:>14}: {text}"))


def licences_of(workflow: Workflow) -> list[str]:
    """The licences that a workflow rests on, as lines."""
    return rests_on(workflow.graph.api, workflow.agreement.ingredients) or ["none: no model takes part"]


def _show_licences(workflow: Workflow) -> None:
    for text in licences_of(workflow):
        show("rests on", text)


def graph_lines(workflow: Workflow) -> dict[str, str]:
    """What was found in a workflow, as lines."""
    graph = workflow.graph
    seconds = "".join(f"; Load Second Image #{node_id}: {role}" for node_id, role in graph.seconds().items())
    paid = partner.paid_nodes(graph.api, workflow.agreement.object_info)
    found = {
        "workflow": f"{workflow.file.path} (profile {workflow.profile}, task {graph.task})",
        "source node": f"Load Edit Sample #{graph.source}; set for each sample: {', '.join(SAMPLE_INPUTS)}{seconds}",
        "sink node": f"{graph.api[graph.sink]['class_type']} #{graph.sink}",
        "further seeds": ", ".join(graph.seeds) or "none: every seed is wired to the source node",
        "left out": ", ".join(graph.left_out) or "nothing",
    }
    if graph.drawn:
        texts = [f"{graph.api[node_id]['class_type']} #{node_id}.{name}" for node_id, name in graph.drawn]
        found["drawn"] = f"{', '.join(texts)}: alternatives in braces, for each sample from its seed"
    if paid:
        found["paid nodes"] = f"{', '.join(paid)}: credits of the account of {partner.KEY_VARIABLE}, for each sample"
    return found


def estimates(workflow: Workflow, samples: int, kinds: str | None = None) -> dict[str, str]:
    """What the graph's calls to services may cost, at most, as lines.

    Args:
        kinds: those that are asked for; None where nobody says which kinds of edit the samples are.
    """
    found = {}
    more = looks(workflow.graph)
    if kinds is not None:
        more.subtract(unasked(workflow.graph, [one.kind for one in wanted_kinds(kinds)] if kinds else []))
    for name, questions in workflow.graph.profiles().items():
        try:
            profile = profiles.find(name)
        except profiles.VlmNotConfigured as error:
            found["services"] = str(error)
            continue
        bound = budget.estimate(profile, samples, questions + more[name], PHOTO_PIXELS)
        cost = f"{bound.usd:.2f} USD" if bound.usd is not None else "no price known"
        found["services"] = f"profile {name}: at most {bound.calls} calls, {cost}, where nothing is cached"
    return found
