"""The whole table of what editors are told: tasks, pairs of operations in both orders, and who wrote the words, through
every model graph on a real ComfyUI without weights. What must come out is said here once more, by the kind of editor.

`test_told.py` holds 40 samples that people read word for word; here every combination must hold to the rules.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from comfy_nodes.core.instructions.instructions import USER, Writing
from tests.e2e import reaching
from tests.e2e.reaching import CAPTION, CUP, LAMP, REPLIES, Case, Reach, by_model
from tests.vlm.endpoint import Endpoint, Status

COMMANDED = ("instruct", "instruct-open", "instruct-qwen")
"""Graphs whose editors obey commands. All others are told what is to be seen, or nothing."""

IN_A_CROP = ("add-open", "remove-open", "replace-open", "alter-open", "background-open", "hybrid-open")
"""Graphs whose editors obey commands about a crop of the photo."""

HOW = {
    "add": r" and reveal what is behind it: the (bare wooden table|plaster wall)\.$",
    "remove": r" and reveal what is behind it: the (bare wooden table|plaster wall)\.$",
    "replace": r" the new thing stands in the same place, .*\blight and perspective\.$", "alter": r" keep its shape, .*\.$",
    "background": r" keep everything in front of it .*\bdirection of light, camera height and perspective\.$",
}  # fmt: skip
"""What a command about a crop ends with; of a thing that is taken away, where a writer said what is behind it."""
NOTHING_NEW = r" let what lies around it go on in its place, with nothing new there\.$"
NAMED = r"the (cup|lamp|sky)( (in|on|at) the [\w-]+ of the image)?"

EXPLAINED = {
    "style-open": r" it looks like this: .*\. keep every person, face, .* only the manner of drawing changes\.$",
    "visual-open": r" image 1 is the photo, image 2 the reference: .* stays exactly as it is\.$",
}
"""Graphs whose editors obey a command and what is said after it."""

SPOKEN = {
    "add": ("Add a {}.", None), "remove": ("Remove the {}.", None), "replace": ("Replace the {} with a clay pot.", "a clay pot"),
    "alter": ("Make the {} deep blue.", "{}, deep blue"),
}  # fmt: skip
"""How a person says an operation, and the picture afterwards in words; None where ground is seen, which nobody describes."""
WHOLE = {
    "background": ("Change the sky to a starry night.", "a starry night"),
    "style": ("Turn the photo into a charcoal drawing.", "a charcoal drawing"),
    "extract": ("Cut out the cup.", None),
    "visual": ("Replace the cup with the flower in the second image.", None),
    "motion": ("Let the cup fall over.", None),
}
WISH = "Something nicer, please."
"""Words that do not tell what is to be seen."""

HYBRIDS = tuple(itertools.permutations(SPOKEN, 2))
WRITTEN = tuple(kind for kind in REPLIES if kind.startswith("imgedit/"))
BY_TEMPLATE = ("add", "remove", "extract", "style")
"""Tasks whose graph writes the instruction itself where there is none."""

MADE_WITHOUT_WORDS = ("extract", "visual", "motion")
"""Graphs whose picture after is made from pictures alone."""

VERBS = {"add", "put", "place", "remove", "take", "erase", "replace", "swap", "make", "paint", "turn", "change", "cut", "extract"}  # fmt: skip


def is_command(text: str) -> bool:
    return text.split()[0].casefold() in VERBS


@dataclass(frozen=True)
class Expected:
    """One line of the table. A pattern fits anywhere in its text, in any case."""

    case: Case
    before: tuple[str, ...] = ()
    """Patterns of what makes the picture before; none: it is the photo."""
    after: tuple[str, ...] = ()
    row: str = ""
    operations: tuple[str, ...] = ()
    """Empty: not looked at, as a person's words need not be taken apart."""
    failure: str = ""
    exactly: bool = False
    """Whether the row and the command are a person's words and nothing else."""

    def __str__(self) -> str:
        return f"{self.case.workflow}: {self.case.task} by a {self.case.who}"


def sides(ops: tuple[str, ...], told: dict[str, str], adds: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """What is told on which side: of the operations in `adds` the photo is the picture after."""
    return {
        "before": tuple(told[op] for op in ops if op in adds),
        "after": tuple(told[op] for op in ops if op not in adds),
    }


def rows_of(ops: tuple[str, ...]) -> str:
    """The pattern of a row that names the operations on their things, in their order."""
    said = {"add": "add a", "remove": "remove the", "replace": "replace the", "alter": "make the"}
    return ".*".join(f"{said[op]} {thing.class_name}" for op, thing in zip(ops, (CUP, LAMP), strict=True))


def hybrids() -> Iterator[Expected]:
    for ops in HYBRIDS:
        things = dict(zip(ops, ("cup", "lamp"), strict=True))
        case, row = by_model("imgedit/hybrid", ops=ops), rows_of(ops)
        if "alter" in ops:  # an editor that fills sees nothing of what it is to alter
            yield Expected(case, failure="CannotAlter")
        else:
            ground = dict(zip(ops, ("^the bare wooden table$", "^the plaster wall$"), strict=True))
            seen = sides(ops, ground | {"replace": "^a round clay pot$"}, adds=("add",))
            yield Expected(case, row=row, operations=ops, **seen)
        taken = {
            "add": rf"^remove the {things.get('add')}\b", "remove": rf"^remove the {things.get('remove')}\b",
            "replace": rf"^replace the {things.get('replace')}\b.* with a clay pot",
            "alter": rf"^make the {things.get('alter')}\b.* of blue glass",
        }  # fmt: skip
        commands = sides(ops, taken, adds=("add",))
        if "add" not in ops:  # both are of one side, in one text
            commands = {"before": (), "after": (".*".join(taken[op].lstrip("^") for op in ops),)}
        cropped = {op: f"^{taken[op].lstrip('^')}.*{HOW[op]}" for op in ops}
        yield Expected(
            by_model("imgedit/hybrid", "hybrid-open", ops),
            row=row,
            operations=ops,
            **sides(ops, cropped, adds=("add",)),
        )
        spoken = " ".join(SPOKEN[op][0].format(things[op]) for op in ops)
        typed = Case("hybrid", "hybrid", f"person, {' then '.join(ops)}", spoken)
        for one in (typed, replace(typed, workflow="hybrid-open")):
            yield Expected(one, failure="NotTakenApart")  # its editor is told one thing after the other
        for workflow in COMMANDED:
            yield Expected(by_model("imgedit/hybrid", workflow, ops), row=row, operations=ops, **commands)
            yield Expected(Case(workflow, "hybrid", f"person, {' then '.join(ops)}", spoken), exactly=True)


def written_by_models() -> Iterator[Expected]:
    for kind in WRITTEN:
        case = by_model(kind)
        writing, told = case.writing, REPLIES[kind]
        assert writing is not None
        op = (case.task,)
        side = "before" if case.task == "add" else "after"
        seen = {"style": f"{CAPTION.split('.')[0]}.*{told['target']}", "extract": "", "visual": ""}
        text = seen.get(case.task, f"^{told['target']}$")
        yield Expected(case, row=_row(writing), operations=op, **{side: (text,) if text else ()})
        said = r"^remove the cup\b" if case.task == "add" else _pattern(told["command"])
        if f"{case.workflow}-open" in IN_A_CROP:
            erased = rf"^remove {NAMED}"
            cropped = f"{erased if case.task in ('add', 'remove') else said}.*{HOW[case.task]}"
            yield Expected(
                by_model(kind, f"{case.workflow}-open"), row=_row(writing), operations=op, **{side: (cropped,)}
            )
        if f"{case.workflow}-open" in EXPLAINED:
            command = rf"{said}\.{EXPLAINED[f'{case.workflow}-open']}"
            yield Expected(by_model(kind, f"{case.workflow}-open"), row=_row(writing), operations=op, after=(command,))
        for workflow in COMMANDED:
            yield Expected(by_model(kind, workflow), row=_row(writing), operations=op, **{side: (said,)})
            if case.task in ("add", "remove"):
                # As Write Instruction (template) leaves it in a file: nothing says what is behind the thing.
                steps = tuple(replace(step, target="") for step in writing.steps)
                template = replace(writing, model="template", target="", steps=steps)
                other = replace(case, workflow=workflow, who="template, from a file", writing=template)
                yield Expected(other, row=_row(writing), operations=op, **{side: (said,)})


def written_by_templates() -> Iterator[Expected]:
    said = {"add": r"^(add|put|place|insert) a cup\b", "remove": r"^(remove|take|erase|delete)\b.*\bcup\b", "extract": r"\bcup\b", "style": ""}  # fmt: skip
    for task in BY_TEMPLATE:
        told = {"extract": (), "style": (CAPTION.split(".")[0],)}.get(task, ("ground|place",))
        side = "before" if task == "add" else "after"
        yield Expected(Case(task, task, "template"), row=said[task], operations=(task,), **{side: told})
        if f"{task}-open" in IN_A_CROP:
            cropped = rf"^remove {NAMED}\.{NOTHING_NEW}"
            yield Expected(
                Case(f"{task}-open", task, "template"), row=said[task], operations=(task,), **{side: (cropped,)}
            )
        if f"{task}-open" in EXPLAINED:
            command = rf"^turn the photo into an? .*{EXPLAINED[f'{task}-open']}"
            yield Expected(Case(f"{task}-open", task, "template"), row=said[task], operations=(task,), after=(command,))


def said_by_people() -> Iterator[Expected]:
    for task, (words, seen) in (SPOKEN | WHOLE).items():
        words = words.format("cup")
        side = "before" if task == "add" else "after"  # the graph takes the cup away, whoever asked for it
        if task in MADE_WITHOUT_WORDS:
            told: tuple[str, ...] = ()
        else:
            told = (f"{seen.format('cup')}$",) if seen else ("ground|place",)
        yield Expected(Case(task, task, "person", words), row=f"^{re.escape(words)}$", **{side: told})
        if f"{task}-open" in IN_A_CROP:
            cropped = f"{HOW[task]}" if task not in ("add", "remove") else rf"^remove {NAMED}\.{NOTHING_NEW}"
            yield Expected(
                Case(f"{task}-open", task, "person", words), row=f"^{re.escape(words)}$", **{side: (cropped,)}
            )
        if f"{task}-open" in EXPLAINED:
            command = f"^{re.escape(words)}{EXPLAINED[f'{task}-open']}"
            yield Expected(
                Case(f"{task}-open", task, "person", words), row=f"^{re.escape(words)}$", **{side: (command,)}
            )
        for workflow in COMMANDED:
            yield Expected(Case(workflow, task, "person", words), exactly=True)
            yield Expected(Case(workflow, task, "person, as a wish", WISH), exactly=True)
    for task in ("replace", "alter", "background", "style"):
        yield Expected(Case(task, task, "person, as a wish", WISH), failure="NoCaption")
    for workflow in ("add", "add-open"):
        yield Expected(Case(workflow, "add", "person, of another thing", "Add a red hat."), failure="OtherThing")
    where = "Let the left one shine."
    yield Expected(Case("alter-open", "alter", "person, by its place in the photo", where), failure="NoCommand")
    yield Expected(Case("style-open", "style", "person, as a wish", WISH), failure="NoCaption")


def _row(writing: Writing) -> str:
    return f"^{re.escape(writing.instruction)}$"


def _pattern(command: str) -> str:
    """A command with its placeholder filled: by the thing, wherever it stands."""
    return "^" + re.escape(command.rstrip(".")).replace(re.escape("[OBJECT]"), r"the (cup|sky)\b.*")


TABLE = [*hybrids(), *written_by_models(), *written_by_templates(), *said_by_people()]


@pytest.fixture(scope="module")
def reaches(comfy: Any) -> list[Reach]:
    reaching.put_photo(comfy.models.parent / "input")
    with Endpoint(default=Status(400, "nobody is to ask")) as service:
        # A motion's writer needs somebody to ask, and lets a person's words stand.
        comfy.profiles.write_text(f'[profiles.default]\nbase_url = "{service.url}"\nmodel = "tiny"\n')
        try:
            found = reaching.reached(comfy.url, [line.case for line in TABLE])
        finally:
            comfy.profiles.unlink()
    assert not service.requests
    return found


def test_the_table_is_whole() -> None:
    tasks = {"add", "remove", "replace", "alter", "background", "style", "extract", "visual", "hybrid"}
    assert tasks <= {kind.removeprefix("imgedit/") for kind in REPLIES} | {"alter", "hybrid"}
    assert len(HYBRIDS) == 12
    for workflow in COMMANDED:
        lines = [line.case for line in TABLE if line.case.workflow == workflow]
        assert {case.task for case in lines if case.writing} >= tasks - {"alter"}
        assert {case.task for case in lines if case.who.startswith("person")} == tasks | {"motion"}
    assert {case.who.split(",")[0] for case in (line.case for line in TABLE)} == {"model", "template", "person"}
    assert len(TABLE) == len({str(line) for line in TABLE}), "no two lines are one"


def test_the_row_says_what_was_done(reaches: list[Reach]) -> None:
    for line, reach in zip(TABLE, reaches, strict=True):
        if line.failure:
            assert reach.failure.startswith(f"{line.failure}: "), f"{line}: {reach.failure}"
            continue
        assert not reach.failure, f"{line}: {reach.failure}"
        row = f"^{re.escape(line.case.words)}$" if line.exactly else line.row
        assert re.search(row, reach.instruction, re.IGNORECASE), f"{line}: {reach.instruction}"
        assert not line.operations or tuple(reach.operations) == line.operations, f"{line}: {reach.operations}"


def test_each_picture_is_made_by_what_belongs_to_its_side(reaches: list[Reach]) -> None:
    for line, reach in zip(TABLE, reaches, strict=True):
        if line.failure:
            continue
        after = (f"^{re.escape(line.case.words)}$",) if line.exactly else line.after
        for side, texts, patterns in (("before", reach.before, line.before), ("after", reach.after, after)):
            assert len(texts) == len(patterns), f"{line}, {side}: {texts}"
            for pattern in patterns:  # the later step of two is met first
                assert any(re.search(pattern, text, re.IGNORECASE) for text in texts), f"{line}, {side}: {texts}"
            if not texts:
                made = line.case.workflow in MADE_WITHOUT_WORDS and side == "after"
                assert reach.origin(side) == ("made without words" if made else "the photo"), f"{line}, {side}"


def test_an_editor_gets_commands_or_captions_and_never_the_other(reaches: list[Reach]) -> None:
    """Nor is one that erases told of the thing, nor one that replaces of the old one."""
    for line, reach in zip(TABLE, reaches, strict=True):
        case = line.case
        texts = [] if line.failure else [*reach.before, *reach.after]
        if case.workflow in (*COMMANDED, *IN_A_CROP, *EXPLAINED):
            by_person = case.words == WISH or case.task == "motion"
            assert line.failure or (texts and all(by_person or is_command(text) for text in texts)), f"{line}: {texts}"
            continue
        assert not [text for text in texts if is_command(text) or text == reach.instruction], f"{line}: {texts}"
        gone = {"alter": (), "style": ()}.get(case.task, ("cup", "lamp"))
        assert not [text for text in texts for name in gone if name in text.casefold()], f"{line}: {texts}"


def test_whose_words_they_are(reaches: list[Reach]) -> None:
    """A person's stay marked as such where the graph takes them apart; nobody else's are."""
    for line, reach in zip(TABLE, reaches, strict=True):
        by_user = f"model='{USER}'" in reach.found["sample"]
        assert not (by_user and not line.case.who.startswith("person")), line
