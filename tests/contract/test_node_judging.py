"""Verifiers that ask a model or a detector, and the nodes that act on scores, in ComfyUI's own code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch, which ComfyUI brings, is not installed")

SENTENCE = "Remove the disc."
GOOD = {
    "source_caption": "A red disc.", "edited_caption": "Plain ground.", "differences": ["The disc is gone."],
    "is_changed": True, "claims": [{"claim": "the disc is gone", "mark": "correct"}], "restated_instruction": SENTENCE,
}  # fmt: skip
WRONG = {
    **GOOD,
    "claims": [{"claim": "the disc is gone", "mark": "correct"}, {"claim": "the ground is green", "mark": "missing"}],
    "restated_instruction": "Remove the disc and make the ground green.",
}
SCALE = {"reason": "r", "instruction_following": 3, "editing_consistency": 3, "generation_quality": 2}


class Script:
    """A model that answers questions in turn and keeps what it was asked."""

    model = "scripted-vl"

    def __init__(self, pack: Any, *replies: object, new: object = ()):
        """
        Args:
            new: what it finds new where a thing was erased, or a reply that is none.
        """
        self._asking = pack.part("vlm.asking")
        self._new = new if isinstance(new, str) else {"new": new}
        self.looks: list[Any] = []
        self._replies = list(replies)
        self.calls: list[list[Any]] = []

    async def ask(self, questions: Sequence[Any]) -> list[Any]:
        if questions and questions[0].prompt_id == "new-things":
            self.looks += questions
            return [self._answer(question, self._new) for question in questions]
        self.calls.append(list(questions))
        await asyncio.sleep(0)
        return [self._answer(question, self._replies.pop(0)) for question in questions]

    def _answer(self, question: Any, reply: object) -> Any:
        if isinstance(reply, str):
            return self._asking.Failure("VlmNotJson", "the reply holds no JSON object", reply)
        value = question.reply.model_validate(reply)
        return self._asking.Answer(json.dumps(reply), value, self.model, question.prompt_version)


@pytest.fixture
def sample(pack: Any, photo: np.ndarray, marked: np.ndarray) -> Any:
    annotation, sockets = pack.part("core.regions.annotation"), pack.part("wires.sockets")
    return sockets.EditSample(
        source=torch.from_numpy(photo)[None].float() / 255,
        task="remove",
        region=annotation.region_of_mask(marked, "disc"),
        instruction=SENTENCE,
        seed=7,
        provenance=annotation.Provenance(key="k1", source_id="a.png", source_path="a.png", source_sha256="0" * 64),
    )


@pytest.fixture
def failed(pack: Any, sample: Any) -> Any:
    return replace(sample, failure=pack.part("core.records").SampleFailure("write", "VlmTimeout", "too late", "A #1"))


@pytest.fixture
def found(pack: Any) -> Callable[..., Any]:
    """Scores as another node gives them."""
    return pack.part("core.verdicts.verdicts").Scores


@pytest.fixture
def ask(pack: Any, sample: Any) -> Callable[..., Any]:
    """Runs a node that asks a model, as ComfyUI's executor does; `replies` are what the model says."""

    def ask(node_id: str, *replies: object, new: object = (), **inputs: Any) -> Any:
        from comfy_api.internal import make_locked_method_func

        vlm, node = Script(pack, *replies, new=new), pack.nodes[node_id]
        execute = make_locked_method_func(
            node, "EXECUTE_NORMALIZED_ASYNC", node.PREPARE_CLASS_CLONE({"hidden_inputs": {}})
        )
        given = {"vlm": vlm, "sample": sample, "source": sample.source, "edited": sample.source * 0.5, **inputs}
        if node_id == "EditPairsJudgeEdit":
            given.setdefault("rubric", "scaleedit")
        output = asyncio.run(execute(**given))
        output.calls, output.looks = vlm.calls, vlm.looks
        return output

    return ask


def test_verify_edit_gives_scores_sentence_and_report(ask: Callable[..., Any]) -> None:
    output = ask("EditPairsVerifyEdit", WRONG)
    (scores,), restated, report = output.result
    assert scores.verdict == "keep" and scores.restated == restated == "Remove the disc and make the ground green."
    assert json.loads(report) == WRONG and scores.judge.reply == json.dumps(WRONG)
    assert output.ui["text"][0].startswith("keep\nverify.is_changed 1\n")


def test_a_restatement_of_another_task_is_judged_as_what_the_row_says(ask: Callable[..., Any]) -> None:
    reply = {**WRONG, "restated_instruction": "Replace the disc with a jug."}
    (scores,) = ask("EditPairsVerifyEdit", reply).result[0]
    assert (scores.verdict, scores.restated, scores.task) == ("keep", "Replace the disc with a jug.", "replace")
    (refused,) = ask("EditPairsVerifyEdit", reply, other_task="reject").result[0]
    assert refused.verdict == "reject" and "replace in the place of remove" in refused.reason

    judged = ask("EditPairsJudgeEdit", "no scores", scores=[scores], rubric="auto")
    ((question,), *_) = judged.calls
    assert question.prompt_id == "judge-replace" and "Replace the disc with a jug." in question.user


def test_a_question_of_ones_own_is_asked_in_one_call_without_what_is_rejected(
    ask: Callable[..., Any], found: Callable[..., Any], sample: Any
) -> None:
    own = {"question": "Is there a face?", "drop_if": "yes", "reason": "New face"}
    batch = torch.cat([sample.source] * 4)
    before = [found({}, "keep"), found({}, "reject", "nothing changed"), found({}, "keep"), found({}, "keep")]
    yes, no = {"seen": "A man.", "answer": "yes"}, {"seen": "A wall.", "answer": "no"}
    output = ask("EditPairsAskEdit", yes, no, "perhaps", edited=batch, scores=before, **own)
    dropped, spared, passed, unsaid = output.result[0]
    assert [len(call) for call in output.calls] == [3]
    assert (dropped.verdict, dropped.reason, dropped.values) == ("reject", "New face: A man.", {"asked.new_face": 1.0})
    assert (spared.verdict, spared.reason, spared.values) == ("reject", "nothing changed", {})
    assert (passed.verdict, passed.values, passed.voices) == ("keep", {"asked.new_face": 0.0}, ())
    assert unsaid.verdict == "unscored" and "there is no answer: VlmNotJson" in unsaid.reason
    assert unsaid.judge.reply == "perhaps"
    assert output.ui["text"][0].startswith("reject: New face: A man.\nasked.new_face 1")


def test_a_batch_is_asked_in_one_call_without_what_is_rejected(
    ask: Callable[..., Any], found: Any, sample: Any
) -> None:
    before = [
        found({"pixel.keep": 1.0}, "keep"),
        found({"pixel.keep": 0.0}, "reject", "nothing changed"),
        found({}, "unscored", "?"),
    ]
    batch = sample.source.repeat(3, 1, 1, 1)
    output = ask("EditPairsVerifyEdit", GOOD, "no JSON here", edited=batch, scores=before)
    scores, restated, report = output.result
    assert [len(call) for call in output.calls] == [2]
    assert [one.verdict for one in scores] == ["keep", "reject", "unscored"]
    assert (scores[1].reason, scores[1].values) == ("nothing changed", {})
    assert scores[2].judge.reply == "no JSON here" and "VlmNotJson" in scores[2].reason
    assert restated.split("\n") == [SENTENCE, "", ""] and report.split("\n")[1:] == ["", ""]
    assert [text.partition("\n")[0].split(":")[0] for text in output.ui["text"]] == ["keep", "reject", "unscored"]

    judged = ask("EditPairsJudgeEdit", SCALE, SCALE, edited=batch, scores=before, instruction=restated)
    assert [one.verdict for one in judged.result[0]] == ["keep", "reject", "keep"]
    assert "Remove the disc." in judged.calls[0][1].user, "a line of its own that is empty is the sample's instruction"


def test_one_earlier_rejection_spares_a_whole_batch(ask: Callable[..., Any], found: Any, sample: Any) -> None:
    rejected = [found({}, "reject", "nothing changed")]
    for node_id in ("EditPairsVerifyEdit", "EditPairsJudgeEdit"):
        output = ask(node_id, scores=rejected, edited=sample.source.repeat(2, 1, 1, 1))
        assert [one.reason for one in output.result[0]] == ["nothing changed"] * 2
        assert sum(map(len, output.calls)) == 0


def test_a_failed_sample_is_passed_on(ask: Callable[..., Any], failed: Any, pack: Any) -> None:
    for node_id in ("EditPairsVerifyEdit", "EditPairsJudgeEdit"):
        output = ask(node_id, sample=failed)
        assert [(one.verdict, one.reason) for one in output.result[0]] == [("unscored", "there is no edit: too late")]
        assert output.calls == []


def test_the_difference_goes_along(ask: Callable[..., Any], sample: Any) -> None:
    (question,) = ask("EditPairsVerifyEdit", GOOD, difference=True).calls[0]
    assert len(question.images) == 3 and question.images[2].any()
    with pytest.raises(ValueError, match="switch difference off"):
        ask("EditPairsVerifyEdit", edited=sample.source[:, :20], difference=True)


def test_a_reference_is_shown(ask: Callable[..., Any], sample: Any) -> None:
    with_reference = replace(sample, task="visual", images={"reference": torch.zeros(1, 8, 8, 3)})
    reply = {"reason": "r", "instruction_compliance": 5, "reference_fidelity": 4, "visual_naturalness": 3}
    output = ask("EditPairsJudgeEdit", reply, sample=with_reference, rubric="auto")
    assert output.result[0][0].verdict == "keep" and len(output.calls[0][0].images) == 3


def test_no_instruction_is_an_error(ask: Callable[..., Any], sample: Any) -> None:
    with pytest.raises(ValueError, match="the edit has no instruction to be held against"):
        ask("EditPairsVerifyEdit", sample=replace(sample, instruction=" "))


def test_judge_edit_scores_by_the_samples_kind(ask: Callable[..., Any]) -> None:
    reply = {"reason": "r", "prompt_compliance": 4, "visual_naturalness": 5, "physical_detail_integrity": "3/5"}
    output = ask("EditPairsJudgeEdit", reply, rubric="auto")
    (scores,), report = output.result
    assert scores.values["judge.visual_naturalness"] == 4 and scores.values["judge.raw_visual_naturalness"] == 5
    assert scores.judge.prompt_version.startswith("judge-remove ") and json.loads(report) == reply
    assert scores.verdict == "keep"


@pytest.fixture
def later(pack: Any, sample: Any) -> Any:
    """The sample as a second turn, which makes what was disc."""
    turn = pack.part("core.instructions.turns").Turn("0" * 16, "content_understanding", 2, 3, 1, "remove")
    return replace(sample, turn=turn)


def test_a_dialogue_has_a_judge_beside_its_last_turns_own(ask: Callable[..., Any], later: Any, pack: Any) -> None:
    """Their numbers stand side by side, and what erased an earlier turn's thing is not looked for in the first picture."""
    words = {"sample": later, "rubric": "multi_turn", "instruction": f"1. Add a disc.\n2. {SENTENCE}"}
    reply = {"reason": "r", "instruction_compliance": 5, "earlier_turns_kept": 4, "visual_naturalness": 2}
    output = ask("EditPairsJudgeEdit", reply, **words)
    ((question,),), (whole,) = output.calls, output.result[0]
    assert "1. Add a disc." in question.user and output.looks == []
    assert whole.verdict == "reject" and {name.split(".")[0] for name in whole.values} == {"dialogue_judge"}
    own = {"reason": "r", "prompt_compliance": 4, "visual_naturalness": 5, "physical_detail_integrity": 4}
    (last,) = ask("EditPairsJudgeEdit", own, sample=later, rubric="auto").result[0]
    both = pack.part("core.verdicts.verdicts").combine([last, whole])
    assert (both.values["judge.visual_naturalness"], both.values["dialogue_judge.visual_naturalness"]) == (4, 2)
    assert both.judge.prompt_version.startswith("judge-remove ") and "judge-multi-turn " in both.judge.prompt_version


def test_a_dialogue_is_judged_in_the_words_that_its_row_has(ask: Callable[..., Any], later: Any, found: Any) -> None:
    restated = replace(found({}, "keep"), restated="Remove the red disc.")
    told = {"instruction": f"1. {SENTENCE}\n2. {SENTENCE}", "scores": [restated]}
    ((question,),) = ask("EditPairsJudgeEdit", "none", sample=later, rubric="multi_turn", **told).calls
    assert f"1. {SENTENCE} 2. Remove the red disc." in " ".join(question.user.split())


def test_a_first_turn_is_no_dialogue_yet(ask: Callable[..., Any], later: Any) -> None:
    first = replace(later, turn=replace(later.turn, number=1, base=0))
    output = ask("EditPairsJudgeEdit", sample=first, rubric="multi_turn")
    (scores,) = output.result[0]
    assert output.calls == [] and (scores.verdict, scores.values, scores.voices) == ("keep", {}, ())


def test_each_samples_reasoning_points_reach_the_question_of_its_reasoning(
    ask: Callable[..., Any], sample: Any
) -> None:
    names = ("instruction_following", "non_edit_consistency", "visual_quality", "reasoning_accuracy")
    replies = [{"reason": "r", name: 9} for name in names]
    own = replace(sample, points=("The left disc is gone.",))
    for more, told in (({}, "The left disc is gone."), ({"reasoning_points": "Typed in."}, "Typed in.")):
        output = ask("EditPairsJudgeEdit", *replies, sample=own, rubric="unicbench", **more)
        assert [told in one.user for one in output.calls[0]] == [False, False, False, True]
        assert output.result[0][0].values["judge.reasoning_accuracy"] == 9
    assert len(ask("EditPairsJudgeEdit", *replies[:3], rubric="unicbench").calls[0]) == 3, "nobody has points for it"


def test_words_that_are_no_json_are_read_or_kept(ask: Callable[..., Any]) -> None:
    (scores,), _ = ask("EditPairsJudgeEdit", "IF: 3\nEC: 2\nGQ: 2").result
    assert scores.verdict == "keep" and scores.values["judge.editing_consistency"] == 2
    (scores,), _ = ask("EditPairsJudgeEdit", "A fine edit.").result
    assert (scores.verdict, scores.values, scores.judge.reply) == ("unscored", {}, "A fine edit.")


def test_expected_scores_need_logits(ask: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="scripted-vl gives none: switch expected off"):
        ask("EditPairsJudgeEdit", expected=True)


VERIFIERS = [("EditPairsVerifyEdit", GOOD, "verify.keep"), ("EditPairsJudgeEdit", SCALE, "judge.keep")]


@pytest.mark.parametrize(("verifier", "reply", "keeps"), VERIFIERS)
def test_a_removal_in_which_something_new_appeared_is_rejected(
    ask: Callable[..., Any], verifier: str, reply: object, keeps: str
) -> None:
    output = ask(verifier, reply)
    ((scores,), *_), (look,) = output.result, output.looks
    assert (scores.verdict, scores.values[keeps], scores.values["erased.new_things"]) == ("keep", 1.0, 0.0)
    assert "thing in the second picture that is not in the first" in look.user and SENTENCE in look.user
    assert len(look.images) == 2 and scores.judge.prompt_version.endswith("; new-things 1.1")
    output = ask(verifier, reply, new=["a napkin on the table"])
    (scores,), *more = output.result
    assert scores.reason == "something new stands where a thing was erased: a napkin on the table"
    assert (scores.verdict, scores.values[keeps], scores.values["erased.new_things"]) == ("reject", 0.0, 1.0)
    assert verifier == "EditPairsJudgeEdit" or more[0] == "", "what is rejected has no instruction"


@pytest.mark.parametrize(("verifier", "reply", "keeps"), VERIFIERS)
def test_nobody_who_can_not_say_whether_something_is_new_keeps_a_removal(
    ask: Callable[..., Any], verifier: str, reply: object, keeps: str
) -> None:
    for new in ("I would not know.", ["a napkin", "nothing new"]):
        (scores,), *_ = ask(verifier, reply, new=new).result
        assert scores.verdict == "unscored" and scores.reason.startswith("whether something new stands there: Vlm")
        assert keeps not in scores.values and scores.voices == ()


def test_what_erases_nothing_or_was_looked_at_is_not_looked_at(
    ask: Callable[..., Any], sample: Any, found: Any
) -> None:
    style = replace(sample, task="style")
    no_edit = {**GOOD, "is_changed": False, "differences": [], "claims": [], "restated_instruction": ""}
    jug = {**WRONG, "restated_instruction": "Replace the disc with a jug."}
    assert ask("EditPairsVerifyEdit", GOOD, sample=style).looks == []
    assert ask("EditPairsVerifyEdit", no_edit).looks == [], "it is rejected already"
    assert ask("EditPairsVerifyEdit", jug).looks == [], "the row is a replacement now"
    before = [found({"erased.new_things": 0.0}, "keep", voices=("verifier",))]
    assert ask("EditPairsJudgeEdit", SCALE, scores=before).looks == []
    added = ask("EditPairsVerifyEdit", GOOD, sample=replace(sample, task="add"))
    assert "thing in the first picture that is not in the second" in added.looks[0].user, "what was erased for it"


# Filter Edit Pair and Pick Best Edit


def test_a_filter_merges_and_shows_its_table(pack: Any, found: Any) -> None:
    pixels = [found({"pixel.outside_max": 0.0}, "keep")]
    judges = [
        found({"judge.overall": 4.0}, "keep", restated="Do it."),
        found({"judge.overall": 2.0}, "keep"),
        found({}, "unscored", "late"),
    ]
    output = pack.call(
        "EditPairsFilterPair",
        policy="judge.overall >= 3 # mine\npixel.outside_max <= 0",
        scores={"score0": pixels, "score1": judges, "score2": None},
    )
    scores, table = output.result
    assert [one.verdict for one in scores] == ["keep", "reject", "unscored"]
    assert scores[0].values == {"pixel.outside_max": 0.0, "judge.overall": 4.0, "filter.keep": 1.0}
    assert scores[0].restated == "Do it."
    assert scores[2].reason == "late; judge.overall >= 3: there is no such score"
    assert table.count("| threshold | value | result |") == 3 and "| judge.overall >= 3 | 2 | failed |" in table
    assert output.ui["text"][1].startswith("reject: judge.overall >= 3 does not hold (2)\n")
    with pytest.raises(ValueError, match="policy, line 1: 'overall' is no threshold"):
        pack.call("EditPairsFilterPair", policy="overall")
    (nothing,), table = pack.call("EditPairsFilterPair", policy="").result
    assert (nothing.verdict, table) == ("unscored", "")


def test_the_default_policy_is_the_verifiers_verdicts(pack: Any, found: Any) -> None:
    default = next(one.default for one in pack.nodes["EditPairsFilterPair"].GET_SCHEMA().inputs if one.id == "policy")
    (scores,), table = pack.call("EditPairsFilterPair", policy=default, scores={"score0": [found({}, "keep")]}).result
    assert (scores.verdict, table) == ("keep", "")


def test_the_best_edit_comes_with_its_mask_and_scores(pack: Any, found: Any) -> None:
    edits = torch.arange(3).float().reshape(3, 1, 1, 1).repeat(1, 4, 5, 3) / 3
    masks = torch.arange(3).float().reshape(3, 1, 1).repeat(1, 4, 5) / 3
    scores = [found({"judge.a": 1.0}, "keep"), found({"judge.a": 3.0}, "keep"), found({"judge.a": 5.0}, "reject")]
    output = pack.call("EditPairsPickBest", edited=edits, scores=scores, edit_mask=masks)
    image, mask, kept, index = output.result
    assert index == 1 and torch.equal(image, edits[1:2]) and torch.equal(mask, masks[1:2]) and kept == [scores[1]]
    assert output.ui["text"] == ["keep\njudge.a 3\npicked 1 of 3 by verdict and judge"]
    image, mask, _, index = pack.call("EditPairsPickBest", edited=edits, scores=scores, by="judge.a").result
    assert index == 2 and mask.shape == (1, 4, 5) and mask.all()
    output = pack.call("EditPairsPickBest", edited=edits, scores=scores, by="judge.b")
    assert output.result[3] == 1 and "although no edit has a score judge.b" in output.ui["text"][0]
    with pytest.raises(ValueError, match="batches of different sizes"):
        pack.call("EditPairsPickBest", edited=edits, scores=scores[:2])


# Check Objects (Detector)


@pytest.fixture
def grounder(pack: Any) -> Any:
    """Sees a disc where its red is, a person in blue, and a bowl in green, each as one box."""
    detections = pack.part("models.detections")
    channels = {"disc": 0, "bowl": 1, "person": 2}

    class Colours(detections.Grounder):
        def __init__(self) -> None:
            self.asked: list[list[str]] = []

        @property
        def patcher(self) -> Any:
            raise NotImplementedError

        def candidates(self, images: Any, vocabulary: Sequence[str], score: float) -> Any:
            self.asked.append(list(vocabulary))
            for image in images:
                boxes, labels = [], []
                for number, name in enumerate(vocabulary):
                    channel = channels[name]
                    others = [one for one in range(3) if one != channel]
                    rows, columns = np.nonzero((image[..., channel] > 200) & (image[..., others] < 60).all(axis=2))
                    if len(rows):
                        boxes.append([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
                        labels.append(number)
                yield detections.Candidates(
                    torch.tensor(boxes).float().reshape(-1, 4),
                    torch.full((len(boxes),), 0.9),
                    torch.tensor(labels).long(),
                )

    return Colours()


def painted(image: Any, marked: np.ndarray, colour: tuple[float, float, float]) -> Any:
    changed = image.clone()
    changed[:, torch.from_numpy(marked)] = torch.tensor(colour)
    return changed


def witness(pack: Any, **inputs: Any) -> Any:
    return pack.call("EditPairsWitness", **{"score_threshold": 0.25, "min_overlap": 0.3, **inputs})


def test_a_removal_is_witnessed(pack: Any, sample: Any, grounder: Any, marked: np.ndarray) -> None:
    gone = painted(sample.source, marked, (0.4, 0.4, 0.4))
    batch = torch.cat([gone, sample.source])
    output = witness(pack, grounder=grounder, sample=sample, source=sample.source, edited=batch)
    scores, report = output.result
    assert [one.verdict for one in scores] == ["keep", "reject"]
    assert scores[0].values == {
        "witness.before": pytest.approx(0.9), "witness.after": 0.0, "witness.people_change": 0.0, "witness.keep": 1.0,
    }  # fmt: skip
    assert scores[1].reason == "witness: disc is still found (0.90)" and "remove: disc at" in report
    assert grounder.asked == [["disc", "person"], ["disc"]]
    assert output.ui["text"][1].startswith("reject: witness: disc")


def test_an_addition_and_a_replacement_are_witnessed(pack: Any, sample: Any, grounder: Any, marked: np.ndarray) -> None:
    gone, bowl = (painted(sample.source, marked, colour) for colour in ((0.4, 0.4, 0.4), (0.0, 1.0, 0.0)))
    added = replace(sample, task="add")
    (scores,), _ = witness(pack, grounder=grounder, sample=added, source=gone, edited=sample.source).result
    assert scores.verdict == "keep"
    (scores,), _ = witness(pack, grounder=grounder, sample=added, source=gone, edited=gone).result
    assert scores.reason == "witness: disc is not found after it was added"
    instructions = pack.part("core.instructions.instructions")
    step = instructions.Step("replace", "disc", 0, "Replace the disc.", "a bowl on the ground")
    writing = instructions.Writing("Replace it.", "en", steps=(step,))
    swapped = replace(sample, task="replace", writings=(writing,))
    for given in ({"sample": swapped}, {"sample": replace(sample, task="replace"), "new_object": "bowl"}):
        (scores,), _ = witness(pack, grounder=grounder, source=sample.source, edited=bowl, **given).result
        assert (scores.verdict, scores.values["witness.new_after"]) == ("keep", pytest.approx(0.9))
    (scores,), _ = witness(pack, grounder=grounder, sample=swapped, source=sample.source, edited=gone).result
    assert scores.reason == "witness: bowl is not found in place of disc"


def test_a_witness_without_anything_to_say_adds_nothing(pack: Any, sample: Any, grounder: Any, found: Any) -> None:
    style = replace(sample, task="style")
    inputs = {"grounder": grounder, "sample": style, "source": sample.source, "edited": sample.source}
    (scores,), report = witness(pack, **inputs).result
    assert scores.verdict == "unscored" and "nothing to say on this style" in scores.reason and report == ""
    for earlier in (found({"pixel.keep": 1.0}, "keep"), found({}, "unscored", "?"), found({}, "reject", "no")):
        (scores,), _ = witness(pack, scores=[earlier], **inputs).result
        assert (scores.verdict, scores.reason, scores.values) == (earlier.verdict, earlier.reason, {})
    assert grounder.asked == [], "nothing is looked for"


def test_what_is_rejected_already_is_not_looked_at(
    pack: Any, sample: Any, grounder: Any, found: Any, marked: np.ndarray
) -> None:
    gone = painted(sample.source, marked, (0.4, 0.4, 0.4))
    inputs = {"grounder": grounder, "sample": sample, "source": sample.source}
    (scores,), report = witness(pack, edited=gone, scores=[found({}, "reject", "no")], **inputs).result
    assert (scores.verdict, scores.reason, scores.values) == ("reject", "no", {})
    assert grounder.asked == [] and "not looked at" in report
    earlier = [found({}, "reject", "no"), found({}, "keep")]
    results, _ = witness(pack, edited=torch.cat([sample.source, gone]), scores=earlier, **inputs).result
    assert [one.reason for one in results] == ["no", ""] and results[1].values["witness.after"] == 0.0


def test_a_bystander_who_changed_rejects(pack: Any, sample: Any, grounder: Any, marked: np.ndarray) -> None:
    there = np.zeros_like(marked)
    there[2:12, 50:60] = True
    before = painted(sample.source, there, (0.0, 0.0, 1.0))
    gone = painted(before, marked, (0.4, 0.4, 0.4))
    inputs = {"grounder": grounder, "sample": sample, "source": before}
    (scores,), _ = witness(pack, edited=gone, **inputs).result
    assert scores.verdict == "keep"
    other = painted(gone, there, (0.0, 0.4, 0.7))
    (scores,), _ = witness(pack, edited=other, **inputs).result
    assert scores.verdict == "reject" and "a person outside the region changed by" in scores.reason
    assert scores.values["witness.people_change"] == pytest.approx((102 + 77) / 3, abs=1)
    (scores,), _ = witness(pack, edited=other, max_people_change=255.0, **inputs).result
    assert scores.verdict == "keep" and "witness.people_change" not in scores.values


def test_a_witness_needs_the_photos_frame(pack: Any, sample: Any, grounder: Any, failed: Any) -> None:
    inputs = {"grounder": grounder, "source": sample.source}
    with pytest.raises(ValueError, match="the region says nothing of another frame"):
        witness(pack, sample=sample, edited=sample.source[:, :20], **inputs)
    (scores,), _ = witness(pack, sample=failed, edited=sample.source, **inputs).result
    assert scores.reason == "there is no edit: too late"
