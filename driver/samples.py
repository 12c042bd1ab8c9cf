"""What travels through a run: what a source plans, a sample, where its picture and its words lie, and the row that it becomes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from comfy_nodes.core.instructions.instructions import Writing
from comfy_nodes.core.instructions.turns import Turn
from comfy_nodes.core.instructions.wording import Language
from comfy_nodes.core.keys import sample_key
from comfy_nodes.core.records import SampleFailure
from comfy_nodes.core.regions.annotation import Annotation
from comfy_nodes.core.tasks import Task
from comfy_nodes.core.texts import shown

from .places import Locator

Context = Literal["none", "names", "masks"]


@dataclass(frozen=True)
class Sample:
    """One edit to be made."""

    key: str
    file: Locator
    """The photo's locator: what `Source.read` takes."""
    annotation: Annotation
    """Aligned with the photo, with the regions of this edit first: one, or two where the task has two. Behind them come
    the photo's other regions, without masks, where they were asked for. Its path is the source's id."""
    instruction: str = ""
    """Of a whole dialogue a line for each turn."""
    reference: Locator = ""
    """The reference picture's locator; "" where there is none."""
    frame2: Locator = ""
    """The second frame's."""
    edited: Locator = ""
    """That of an edit that was made already."""
    start: Locator = ""
    """That of the picture that a later turn's dialogue began with."""
    after: str = ""
    """The key of the sample that has to be done, and kept, before it may begin: the turn before."""
    turn: Turn | None = None
    """Which turn of which dialogue it is; without earlier ones, which only its records tell."""
    plan: Writing | None = None
    """Of a turn, its whole dialogue's plan. Without regions: its own is the annotation's first, those of other turns stand
    there behind it, in the plan's order."""
    task: str = ""
    """The graph's."""
    own_task: str = ""
    """What the row is filed under, where the graph takes any task."""
    subtask: str = ""
    slot: str = ""
    """Which of several edits of the same regions it is."""
    pictures: tuple[Locator, ...] = field(default=(), compare=False)
    """Locators of all pictures that its graph takes. Only known where it is planned, as `stamp` is."""
    stamp: str = field(default="", compare=False)
    """Changes when one of these does; `Source.stamp` makes it."""
    words_of_graph: bool = field(default=False, compare=False)
    """Whether the photo brought no words and got the graph's. Only known where it is planned."""


DUPLICATE = "DuplicateSample"
"""Error type of what stands in an input more than once, the first time left out."""

TWICE = (
    "the same photo and region stand in the input twice; only the first is edited. Give each line a `slot` of its own, such as "
    "a number, where they are to be several edits"
)
"""What is said of it."""

NOT_ANNOTATED = "NotAnnotated"
"""Error type of a photo in which the annotate stage had to find regions, and did not."""


@dataclass(frozen=True)
class Unusable:
    """An input that gives no sample, and why."""

    key: str
    source_id: str
    failure: SampleFailure
    unread: Literal["", "photo", "rest"] = ""
    """What nobody could look at, so that nothing is known of it: this photo, or part of the input."""


@dataclass(frozen=True)
class Spare:
    """A sample that could be and is not asked for. What is done of it stays."""

    key: str


Planned = Sample | Unusable | Spare


@dataclass(frozen=True)
class Plans:
    """How plans of dialogues are made that nobody wrote."""

    turns: int | None = None
    """How many turns each has; None for the task's own number."""
    language: Language = "en"
    without_model: frozenset[str] = frozenset()
    """Operations that the graph makes by image processing: plans of others than it can make are refused as a whole."""


@dataclass(frozen=True)
class Aim:
    """What samples are wanted for."""

    task: Task
    seconds: frozenset[str] = frozenset()
    """Roles of further pictures that the graph takes; a photo that lacks one gives no sample."""
    context: Context = "none"
    """What samples carry of the photo's other regions: nothing, names and boxes for whoever writes about them, or masks
    too for whoever keeps off them, chooses among them or leaves them in the photo's line."""
    ours: bool = False
    """Whether it is for a graph of `workflows/`, of which the taxonomy says which kinds of edit it can make."""
    rest: frozenset[str] = frozenset()
    """Of a graph for any task beside others: the tasks that those make."""
    words: str | None = None
    """The graph's own instruction, for photos that bring none; "" where it has none and an edit would come to nothing, None
    where the graph may write one."""
    plans: Plans | None = None
    """Of a graph that makes one turn at a time: a sample is one turn then, and not a whole dialogue."""


class Grounding(Protocol):
    """What the annotate stage found in photos without a region."""

    @property
    def nothing(self) -> str:
        """What to say of a photo in which it found nothing, as part of a sentence."""

    def annotation(self, source_id: str) -> Annotation | None:
        """The photo's annotation; None where the stage made none."""

    def reason(self, source_id: str) -> str:
        """Why it made none, as part of a sentence; "" where nobody knows."""


@dataclass(frozen=True)
class Unavailable:
    """A grounding that knows no photo, as the annotate stage cannot run."""

    why: str
    nothing: str = ""

    def annotation(self, source_id: str) -> Annotation | None:
        return None

    def reason(self, source_id: str) -> str:
        return self.why


def unusable(source_id: str, failure: SampleFailure, key_of: str | None = None) -> Unusable:
    """
    Args:
        key_of: what tells it from others of its source; None for the source itself.
    """
    message = shown(failure.message)
    if message != failure.message:
        failure = replace(failure, message=message)
    return Unusable(sample_key(key_of or source_id, None, "input"), source_id, failure)


@dataclass(frozen=True)
class JournalRow:
    """A record as the journal keeps it."""

    key: str
    verdict: str
    record: str
    """JSON."""


SECONDS = ("reference", "frame2", "edited")
"""Pictures that may belong to a photo, by role."""

START = "start"
"""The role of the picture that a dialogue began with: no input has it, the run itself made it."""

POSTED = (*SECONDS, START)
"""Pictures that may go to a server beside a sample's own, by role."""
