"""What judges score an edit by: the rubric table, the rule that keeps an edit, and which rubric a sample gets.

Judge Edit asks by a rubric and `score_replies` reads the answer; `judged` here makes it a verdict. Every score is a
value `judge.<name>`, flat: the criterion's name, without the rubric's, which stands in the judge's prompt version.
Beside them are `judge.overall` (the rubric's mean), `judge.keep` (the verdict), and `judge.raw_<name>` where a score
was lowered. What is said of a whole dialogue stands beside what is said of its last turn, under `dialogue_judge.<name>`.
No model is asked here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ..taxonomy import TAXONOMY
from .verdicts import SAYS, Scores, Verdict

AUTO = "auto"
OVERALL = "overall"
DIALOGUE = "dialogue_judge"

Mean = Literal["arithmetic", "geometric"]


@dataclass(frozen=True)
class Criterion:
    """One thing that is scored, or said yes or no to."""

    name: str
    """As in prompts, replies and, after `judge.`, in records."""
    chinese: str
    """What a Chinese reply calls it."""
    short: str = ""
    """Its abbreviation in capitals, where it is published with one."""


@dataclass(frozen=True)
class Rubric:
    """One row of the table."""

    name: str
    prompt: str
    """Id of the prompt file."""
    criteria: tuple[Criterion, ...]
    low: int
    high: int
    least: Mapping[str, float]
    """What an edit needs at least to be kept, by criterion or `overall`."""
    source: str
    """Whose rubric it is, and whose thresholds."""
    flags: tuple[Criterion, ...] = ()
    """What must be true for an edit to be kept."""
    capped: bool = False
    """Whether no later score may exceed the first one."""
    mean: Mean = "arithmetic"
    apart: bool = False
    """Whether each criterion is asked in a reply of its own, so that none colours the next."""
    scores: str = "judge"
    """What stands before its scores' names: of a judge of one edit, or of `DIALOGUE`."""

    @property
    def of_dialogue(self) -> bool:
        """Whether it is about all turns of a dialogue and not about one edit."""
        return self.scores == DIALOGUE


_IMGEDIT = "ImgEdit (arXiv 2505.20275; repository Benchmark/Basic): criteria and range; thresholds are ours"
_OURS = "ours, in the form of ImgEdit's"
_MOST, _HALF = 4.0, 3.0
"""ImgEdit publishes no thresholds. Ours: the edit was made nearly as wished, and the rest is no worse than fair."""


def _five(name: str, source: str, *criteria: tuple[str, str], scores: str = "judge") -> Rubric:
    """Three scores of 1 to 5, the later two no higher than the first: ImgEdit asks its judge for that, here code does it."""
    found = tuple(Criterion(*one) for one in criteria)
    first, *others = found
    least = {first.name: _MOST} | {one.name: _HALF for one in others}
    return Rubric(name, f"judge-{name.replace('_', '-')}", found, 1, 5, least, source, capped=True, scores=scores)


_PROMPT, _INSTRUCTION = ("prompt_compliance", "提示遵循"), ("instruction_compliance", "指令遵循")
_NATURAL, _SEAMLESS = ("visual_naturalness", "视觉自然度"), ("visual_seamlessness", "视觉无缝性")
_PRESERVED, _QUALITY = ("content_preservation", "内容保持"), ("visual_quality", "视觉质量")

_TABLE = (
    _five("add", _IMGEDIT, _PROMPT, _NATURAL, ("physical_detail_coherence", "物理与细节连贯性")),
    _five("remove", _IMGEDIT, _PROMPT, _NATURAL, ("physical_detail_integrity", "物理与细节完整性")),
    _five("replace", _IMGEDIT, _PROMPT, _NATURAL, ("physical_detail_integrity", "物理与细节完整性")),
    _five("alter", _IMGEDIT, _PROMPT, _SEAMLESS, ("physical_detail_fidelity", "物理与细节保真度")),
    _five("background", _IMGEDIT, _INSTRUCTION, _SEAMLESS, ("physical_consistency", "物理一致性")),
    _five("style", _IMGEDIT, ("style_fidelity", "风格保真度"), _PRESERVED, ("rendering_quality", "渲染质量")),
    _five("motion", _IMGEDIT, ("action_fidelity", "动作保真度"), ("identity_preservation", "身份保持"),
          ("visual_anatomical_coherence", "视觉与解剖连贯性")),
    _five("extract", _IMGEDIT, ("object_identity", "物体一致性"), ("mask_precision", "抠图精度"), _QUALITY),
    _five("hybrid", _IMGEDIT, _INSTRUCTION, _NATURAL, ("physical_consistency_fine_detail", "物理一致性与细节")),
    _five("visual", _OURS, _INSTRUCTION, ("reference_fidelity", "参考保真度"), _NATURAL),
    _five("multi_turn", _OURS, _INSTRUCTION, ("earlier_turns_kept", "前轮保持"), _NATURAL, scores=DIALOGUE),
    _five("text", _OURS, ("text_correctness", "文字正确性"), ("typography_match", "字体匹配"), _PRESERVED),
    _five("geometry", _OURS, _INSTRUCTION, ("scene_consistency", "场景一致性"), _QUALITY),
    _five("count", _OURS, ("count_correctness", "数量正确性"), _PRESERVED, _NATURAL),
    _five("reasoning", _OURS, ("reasoning_correctness", "推理正确性"), _PRESERVED, _NATURAL),
    Rubric(
        "imgedit filter",
        "judge-imgedit-filter",
        (Criterion("instruction_following", "指令遵循"), Criterion("naturalness", "自然度")),
        1,
        5,
        {"instruction_following": _MOST, "naturalness": _HALF},
        "ImgEdit (repository tools/6_postprocess.py): two scores and whether the objects match; it filters by none of "
        "them, the thresholds are ours",
        flags=(Criterion("objects_match", "物体匹配"),),
    ),
    Rubric(
        "scaleedit",
        "judge-scaleedit",
        (
            Criterion("instruction_following", "指令遵循", "IF"),
            Criterion("editing_consistency", "编辑一致性", "EC"),
            Criterion("generation_quality", "生成质量", "GQ"),
        ),
        1,
        3,
        {"instruction_following": 3.0, "editing_consistency": 2.0, "generation_quality": 2.0},
        "ScaleEdit-12M (arXiv 2603.20644; repository README): scores, range and thresholds",
    ),
    Rubric(
        "unicbench",
        "judge-unicbench",
        (
            Criterion("instruction_following", "指令遵循", "IF"),
            Criterion("non_edit_consistency", "非编辑区域一致性", "NC"),
            Criterion("visual_quality", "视觉质量", "VQ"),
        ),
        0,
        10,
        {"instruction_following": 6.0, OVERALL: 6.0},
        "UnicBench (arXiv 2512.02790; repository data/prompts.py): scores, range and geometric mean; thresholds are ours",
        mean="geometric",
        apart=True,
    ),
)  # fmt: skip

TABLE: dict[str, Rubric] = {rubric.name: rubric for rubric in _TABLE}

REASONING_ACCURACY = Criterion("reasoning_accuracy", "推理准确性", "RA")
"""UnicBench's fourth score, which only edits that have to be reasoned about get."""

INSPECTED = frozenset(kind.rubric for kind in TAXONOMY.values() if kind.scheme == "scaleedit")
"""What ScaleEdit's scores have words of their own for: as its inspectors, which know the task (paper)."""

OPEN = "scaleedit"
"""What `auto` takes where the task is whatever the instruction asks for: it fits every kind of edit. Ours."""


def rubric_of(task: str, subtask: str = "") -> str:
    """The name of the rubric that the taxonomy has for a sample, `OPEN` where its task is no kind of edit."""
    kind = TAXONOMY.get(subtask) or TAXONOMY.get(f"imgedit/{task}")
    return kind.rubric if kind else OPEN


def rubric_for(name: str, task: str, subtask: str = "", points: bool = False) -> Rubric:
    """The rubric called `name` for a sample; `auto` takes the taxonomy's. ScaleEdit's is worded for the kind of edit, and
    UnicBench's has a fourth score for edits that have to be reasoned about.

    Args:
        points: whether somebody says what a right edit shows, which UnicBench has of just these edits.
    """
    found = TABLE[rubric_of(task, subtask) if name == AUTO else name]
    if found.name == "unicbench" and (points or rubric_of(task, subtask) == "reasoning"):
        return replace(found, prompt="judge-unicbench-reasoning", criteria=(*found.criteria, REASONING_ACCURACY))
    if found.name == "scaleedit" and (family := rubric_of(task, subtask)) in INSPECTED:
        return replace(found, prompt=f"{found.prompt}-{family}")
    return found


@dataclass(frozen=True)
class Read:
    """What a judge's reply says."""

    scores: Mapping[str, float]
    """By criterion, within the rubric's range."""
    flags: Mapping[str, bool] = field(default_factory=dict)


def judged(rubric: Rubric, read: Read) -> Scores:
    """The verdict on scores that a judge gave, with all of them as values."""
    scores, whose = capped(rubric, read.scores), rubric.scores
    values = {f"{whose}.{name}": value for name, value in scores.items()}
    values |= {f"{whose}.raw_{name}": raw for name, raw in read.scores.items() if raw != scores[name]}
    values |= {f"{whose}.{name}": float(said) for name, said in read.flags.items()}
    overall = mean(list(scores.values()), rubric.mean)
    values[f"{whose}.{OVERALL}"] = overall
    known = {**{name: nearest(value) for name, value in scores.items()}, OVERALL: overall}
    wrong = [
        f"{name.replace('_', ' ')} {values[f'{whose}.{name}']:.4g}, at least {least:g} is wanted"
        for name, least in rubric.least.items()
        if known[name] < least
    ]
    wrong += [f"not so: {flag.name.replace('_', ' ')}" for flag in rubric.flags if not read.flags[flag.name]]
    verdict: Verdict = "reject" if wrong else "keep"
    values[f"{whose}.keep"] = SAYS[verdict]
    reason = f"judge ({rubric.name}): {'; '.join(wrong)}" if wrong else ""
    return Scores(values, verdict, reason, voices=("judge",))


def capped(rubric: Rubric, scores: Mapping[str, float]) -> dict[str, float]:
    """The scores in the rubric's order; where it is `capped`, none above the first one."""
    ordered = {one.name: scores[one.name] for one in rubric.criteria}
    if not rubric.capped:
        return ordered
    first = next(iter(ordered.values()))
    return {name: min(value, first) for name, value in ordered.items()}


def nearest(score: float) -> int:
    """The whole number that thresholds compare, the lower one of two: an expected score of 2.9 stands for 3. Ours: no
    published rule speaks of expected scores, and ScaleEdit's 3 of 3 would hold for none of them."""
    return math.ceil(score - 0.5)


def mean(scores: Sequence[float], kind: Mean) -> float:
    """The mean of one edit's scores. The arithmetic one to two decimals, as ImgEdit's repository has it; the geometric
    one, UnicBench's, in full and 0 where a score is 0."""
    if kind == "arithmetic":
        return round(sum(scores) / len(scores), 2)
    return math.prod(scores) ** (1 / len(scores))
