"""The write stage's nodes in ComfyUI's own code: samples in, samples with instructions or with a reason out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch, which ComfyUI brings, is not installed")

REMOVE = {
    "object": "disc", "object_en": "disc", "instruction": "Remove [OBJECT].", "command": "Remove [OBJECT].",
    "target": "plain ground",
}  # fmt: skip
SENTENCE = "Remove the disc in the center of the image."
BOXES = [[{"x": 0, "y": 0, "width": 5, "height": 5, "label": "star"}]]
WRITERS = ["EditPairsWriteInstruction", "EditPairsRewriteInstruction"]
ASKERS = [
    *WRITERS,
    "EditPairsCaptionImage",
    "EditPairsTagImage",
    "EditPairsRouteTask",
    "EditPairsWriteMotionInstruction",
    "EditPairsWriteManyKinds",
]


class Script:
    """A model that says what stands in a list, in order."""

    model = "scripted-vl"

    def __init__(self, pack: Any, *replies: object):
        self._asking = pack.part("vlm.asking")
        self._replies = list(replies)
        self.asked: list[Any] = []

    async def ask(self, questions: Any) -> list[Any]:
        (question,) = questions
        self.asked.append(question)
        await asyncio.sleep(0)
        reply = self._replies.pop(0)
        if isinstance(reply, str):
            return [self._asking.Failure(reply, "the service said so", "")]
        text = json.dumps(reply)
        return [self._asking.Answer(text, question.reply.model_validate(reply), self.model, question.prompt_version)]


@pytest.fixture
def sample(pack: Any, photo: np.ndarray, marked: np.ndarray) -> Any:
    annotation, sockets = pack.part("core.regions.annotation"), pack.part("wires.sockets")
    return sockets.EditSample(
        source=torch.from_numpy(photo)[None].float() / 255,
        task="remove",
        region=annotation.region_of_mask(marked, "disc"),
        instruction="",
        seed=7,
        provenance=annotation.Provenance(
            key="k1", source_id="a/b.png", source_path="a/b.png", source_sha256="0" * 64, source_licence="CC0"
        ),
    )


@pytest.fixture
def failed(pack: Any, sample: Any) -> Any:
    return replace(sample, failure=pack.part("core.records").SampleFailure("write", "VlmTimeout", "too late", "A #1"))


@pytest.fixture
def run(pack: Any, sample: Any) -> Callable[..., Any]:
    """Runs a node that asks; `replies` are what the model says."""

    def run(node_id: str, *replies: object, **inputs: Any) -> Any:
        from comfy_api.internal import make_locked_method_func

        vlm, node = Script(pack, *replies), pack.nodes[node_id]
        # As ComfyUI's executor does: the class that runs refuses every change to itself.
        execute = make_locked_method_func(
            node, "EXECUTE_NORMALIZED_ASYNC", node.PREPARE_CLASS_CLONE({"hidden_inputs": {}})
        )
        output = asyncio.run(execute(vlm=vlm, **{"sample": sample, **inputs}))
        output.asked = vlm.asked
        return output

    return run


def edits(*listed: Any) -> dict[str, Any]:
    return {"edits": list(listed)}


class TestTemplate:
    def test_the_sample_comes_out_too(self, pack: Any, sample: Any) -> None:
        words, out = pack.call("EditPairsWriteInstructionTemplate", sample=replace(sample, seed=0)).result
        assert (words, out.instruction) == (SENTENCE, SENTENCE)
        assert (out.writing.model, out.writing.prompt_id, out.writing.prompt_version) == ("template", "template", "1")
        assert out.writing.regions == (sample.region,)

    def test_what_is_added_is_erased_by_the_editor(self, pack: Any, sample: Any) -> None:
        out = pack.call("EditPairsWriteInstructionTemplate", sample=replace(sample, task="add", seed=0)).result[1]
        assert out.instruction == "Add a disc in the center of the image."
        assert out.writing.editor_prompt == SENTENCE

    @pytest.mark.parametrize("task", ["remove", "add"])
    def test_what_no_words_tell_apart_is_refused(self, pack: Any, sample: Any, task: str) -> None:
        x1, y1, x2, y2 = sample.region.bbox
        twin = sample.region.model_copy(update={"bbox": (x1, y1, x1 + 0.68 * (x2 - x1), y2)})
        given = replace(sample, task=task, others=(twin,))
        words, out = pack.call("EditPairsWriteInstructionTemplate", sample=given).result
        assert words == "" and out.failure.error_type == "AmbiguousRegion"
        assert "several things here are called disc" in out.failure.message

    def test_a_users_words_are_passed_on(self, pack: Any, sample: Any) -> None:
        words, out = pack.call("EditPairsWriteInstructionTemplate", sample=replace(sample, instruction="去掉它")).result
        assert (words, out.writing.model, out.writing.lang) == ("去掉它", "user", "zh")

    def test_the_old_output_is_where_it_was(self, pack: Any) -> None:
        outputs = pack.nodes["EditPairsWriteInstructionTemplate"].GET_SCHEMA().outputs
        assert [one.id for one in outputs] == ["instruction", "sample"], "saved workflows count outputs"

    def test_a_failed_sample_passes(self, pack: Any, failed: Any) -> None:
        assert pack.call("EditPairsWriteInstructionTemplate", sample=failed).result == ("", failed)

    def test_a_region_without_a_name_is_refused(self, pack: Any, sample: Any) -> None:
        nameless = replace(sample, region=sample.region.model_copy(update={"class_name": None}))
        words, out = pack.call("EditPairsWriteInstructionTemplate", sample=nameless).result
        assert (words, out.failure.error_type, out.failure.skipped) == ("", "NoName", True)
        assert "type it into class_name" in out.failure.message


class TestWriter:
    def test_an_instruction(self, run: Callable[..., Any]) -> None:
        output = run("EditPairsWriteInstruction", edits(REMOVE), caption="A red disc.")
        out, instruction, target, editor_prompt, steps = output.result
        assert (instruction, target, editor_prompt) == (SENTENCE, "plain ground", SENTENCE)
        assert (out.instruction, out.failure, out.writing.model) == (SENTENCE, None, "scripted-vl")
        (step,) = json.loads(steps)
        assert (step["op"], step["region"], step["base"]) == ("remove", 0, 0)
        (question,) = output.asked
        assert "Caption: A red disc." in question.user and question.seed == 7
        assert question.images[0].shape == (48, 64, 3) and question.images[0].dtype == np.uint8

    def test_several(self, run: Callable[..., Any]) -> None:
        two = edits(REMOVE, {**REMOVE, "instruction": "Erase [OBJECT]."})
        out = run("EditPairsWriteInstruction", two, count=2).result[0]
        assert [one.instruction.split()[0] for one in out.writings] == ["Remove", "Erase"]

    @pytest.mark.parametrize("kind", ["VlmTimeout", "VlmRefusal", "VlmBudget"])
    def test_a_failure_is_data(self, kind: str, run: Callable[..., Any]) -> None:
        out, *strings = run("EditPairsWriteInstruction", kind).result
        assert strings == [""] * 4
        assert (out.failure.stage, out.failure.error_type, out.failure.skipped) == ("write", kind, False)
        assert out.failure.message == "the service said so"
        assert out.failure.node.startswith("EditPairsWriteInstruction #")

    def test_a_kind_is_filed(self, run: Callable[..., Any], sample: Any) -> None:
        reply = edits({**REMOVE, "instruction": "Paint [OBJECT] green.", "command": "Paint [OBJECT] green.",
                       "target": "a green disc"})  # fmt: skip
        alter = replace(sample, task="alter")
        output = run("EditPairsWriteInstruction", reply, sample=alter, kind="unicedit/Color Alteration")
        assert output.result[0].provenance.subtask == "unicedit/Color Alteration"
        assert output.asked[0].prompt_id == "write-colour"
        again = run("EditPairsWriteInstruction", reply, sample=output.result[0].__class__(
            **{**vars(alter), "provenance": output.result[0].provenance}))  # fmt: skip
        assert again.asked[0].prompt_id == "write-colour", "the driver asks for a kind through the sample"

    def test_a_kind_of_another_task_is_an_error(self, run: Callable[..., Any]) -> None:
        with pytest.raises(ValueError, match="is filed under task alter, but the sample's task is remove"):
            run("EditPairsWriteInstruction", kind="unicedit/Color Alteration")

    def test_namesakes_fail_as_data(self, run: Callable[..., Any], sample: Any) -> None:
        x1, y1, x2, y2 = sample.region.bbox
        twin = {"x": x1 + 3, "y": y1 + 2, "width": x2 - x1, "height": y2 - y1, "label": "disc"}
        output = run("EditPairsWriteInstruction", boxes=[[twin]])
        assert output.result[0].failure.error_type == "AmbiguousRegion"
        assert output.result[0].failure.skipped
        assert output.asked == [], "nobody was asked"

    def test_two_things(self, run: Callable[..., Any], sample: Any) -> None:
        hybrid = replace(sample, task="hybrid", seed=0)
        alone = run("EditPairsWriteInstruction", sample=hybrid)
        assert alone.result[0].failure.error_type == "NoRegion"
        assert alone.result[0].failure.skipped
        assert "wire all boxes" in alone.result[0].failure.message
        output = run("EditPairsWriteInstruction", "VlmTimeout", sample=hybrid, boxes=BOXES)
        assert "Marked: 1 disc; 2 star" in output.asked[0].user

    def test_a_dialogue_of_another_depth_is_a_plan_in_its_line(
        self, run: Callable[..., Any], sample: Any, pack: Any, folders: Path
    ) -> None:
        reply = edits({
            "object": "disc", "object_en": "disc", "article": "a",
            "round1": {"instruction": "Add [OBJECT] [PLACE].", "target": "plain ground"},
            "round2": {"instruction": "Make it green.", "command": "Paint [OBJECT] green.", "target": "a green disc"},
        })  # fmt: skip
        told = replace(sample, task="content_understanding", seed=0)
        output = run("EditPairsWriteInstruction", reply, sample=told, turns=2)
        (question,) = output.asked
        assert question.prompt_id == "write-content-understanding-rounds"
        assert "A conversation of 2 rounds about the marked thing; the operations are: 1 add, 2 alter." in question.user
        (record,) = pack.call("EditPairsSaveInstructions", sample=output.result[0]).ui["editpairs"]
        known = pack.part("core.regions.annotation").parse_annotation(record["annotation"])
        plan = pack.part("core.instructions.instructions").written_in(known.writing, known.regions)
        pack.part("core.instructions.turns").check_plan("content_understanding", plan)
        assert [(step.op, step.base) for step in plan.steps] == [("add", 0), ("alter", 1)]

    def test_a_memory_takes_a_thing_for_each_turn(self, run: Callable[..., Any], sample: Any) -> None:
        memory = replace(sample, task="content_memory")
        output = run("EditPairsWriteInstruction", sample=memory, boxes=BOXES, turns=3)
        assert output.result[0].failure.message.startswith(
            "task content_memory edits 3 regions, and no other named box"
        )
        asked = run("EditPairsWriteInstruction", "VlmTimeout", sample=memory, boxes=BOXES, turns=2).asked
        assert "Marked: 1 disc; 2 star" in asked[0].user and asked[0].prompt_id == "write-content-memory"

    def test_turns_are_those_of_a_dialogue(self, run: Callable[..., Any]) -> None:
        with pytest.raises(ValueError, match="turns is 1; it is 2 to 5, or 0 for the kind's own number"):
            run("EditPairsWriteInstruction", turns=1)
        assert run("EditPairsWriteInstruction", edits(REMOVE), turns=4).result[1] == SENTENCE

    def test_a_users_words_ask_nobody(self, run: Callable[..., Any], sample: Any) -> None:
        output = run("EditPairsWriteInstruction", sample=replace(sample, instruction="Take it away."))
        assert (output.result[1], output.asked) == ("Take it away.", [])
        assert output.result[0].writing.model == "user"


ZOOM = {
    "kind": "Lens Zooming", "instruction": "Zoom in on the disc.", "chinese": "放大画面\uff0c聚焦圆盘。",
    "command": "Zoom in on the disc.", "target": "a close-up of the disc", "things": [],
}  # fmt: skip
GONE = {**ZOOM, "kind": "Subject Removal", "instruction": "Remove the star.", "chinese": "移除星星。",
        "command": "Remove the star.", "target": "plain ground", "things": [2]}  # fmt: skip
WOOD = {**ZOOM, "kind": "Style Transfer", "instruction": "Turn it into a woodcut.", "chinese": "把它变成木刻画。"}
MANY = "EditPairsWriteManyKinds"


class TestManyKinds:
    @pytest.fixture
    def bare(self, sample: Any, pack: Any) -> Any:
        """A photo of a disc and a star; neither is chosen to be edited."""
        star = pack.part("core.regions.annotation").Region(class_name="star", bbox=(0, 0, 5, 5))
        return replace(sample, task="instruct", others=(star,))

    def test_all_are_saved_each_with_its_own_kind(
        self, run: Callable[..., Any], bare: Any, pack: Any, folders: Path
    ) -> None:
        output = run(MANY, edits(ZOOM, GONE, WOOD), sample=bare, offered=22)
        out, listed = output.result
        assert listed.splitlines()[0] == "Lens Zooming | Zoom in on the disc. | 放大画面\uff0c聚焦圆盘。"
        assert (
            "Things in it: 1 the disc in the center of the image; 2 the small star in the upper-left"
            in output.asked[0].user
        )
        records = pack.call("EditPairsSaveInstructions", sample=out).ui["editpairs"]
        told = [(one["key"], one["task"], one["subtask"], one["slot"]) for one in records]
        assert told == [
            ("k1~0", "instruct", "unicedit/Lens Zooming", "0"), ("k1~1", "remove", "unicedit/Subject Removal", "1"),
            ("k1~2", "style", "unicedit/Style Transfer", "2"),
        ]  # fmt: skip
        lines = [one["annotation"] for one in records]
        assert [(one["task"], one["subtask"]) for one in lines] == [one[1:3] for one in told]
        assert [[region["class_name"] for region in one["segmentation"]["object"]] for one in lines] == [
            [],
            ["star"],
            [],
        ]
        assert [one["writing"]["other"] for one in lines] == [ZOOM["chinese"], GONE["chinese"], WOOD["chinese"]]
        assert all("task" not in one["writing"] for one in lines)

    def test_what_the_driver_asks_for_counts(self, run: Callable[..., Any], bare: Any) -> None:
        asked = replace(bare, offered=("unicedit/Style Transfer", "unicedit/Lens Zooming"))
        output = run(MANY, edits(ZOOM, WOOD), sample=asked, kinds="Tone Transformation")
        assert len(output.result[0].writings) == 2
        assert "Tone Transformation" not in output.asked[0].user

    def test_what_suits_no_photo_is_skipped_and_asks_nobody(self, run: Callable[..., Any], bare: Any) -> None:
        output = run(MANY, sample=bare, kinds="Portrait Editing")
        failure = output.result[0].failure
        assert (failure.error_type, failure.skipped, output.asked, output.result[1]) == ("NoKind", True, [], "")
        assert "Portrait Editing: it needs a person" in failure.message

    def test_too_few_fail_as_data(self, run: Callable[..., Any], bare: Any) -> None:
        output = run(MANY, edits(ZOOM), edits(ZOOM), edits(ZOOM), sample=bare)
        assert (output.result[0].failure.error_type, len(output.asked)) == ("VlmWrongShape", 3)

    def test_mistakes_of_the_graph_are_errors(self, run: Callable[..., Any], bare: Any, sample: Any) -> None:
        with pytest.raises(ValueError, match="the sample's task is remove; many kinds are written for task instruct"):
            run(MANY)
        with pytest.raises(ValueError, match="least is 5 and most is 4"):
            run(MANY, sample=bare, least=5, most=4)
        with pytest.raises(ValueError, match="'Zoom' is none of the kinds"):
            run(MANY, sample=bare, kinds="Zoom")

    def test_a_users_words_ask_nobody(self, run: Callable[..., Any], bare: Any) -> None:
        output = run(MANY, sample=replace(bare, instruction="Take it away."))
        assert (output.result[1], output.asked) == ("Take it away.", [])

    def test_one_of_them_alone_is_about_no_region(self, run: Callable[..., Any], bare: Any) -> None:
        zoom = {name: ZOOM[name] for name in ("instruction", "command", "target")}
        output = run("EditPairsWriteInstruction", edits(zoom), sample=bare, kind="unicedit/Lens Zooming")
        out = output.result[0]
        assert (out.instruction, out.region, out.writing.regions) == ("Zoom in on the disc.", None, ())
        assert "Also in the photo: disc, star" in output.asked[0].user


ROLL = {
    "edits": [
        {
            "subject": "disc",
            "instruction": "Let the disc roll.",
            "command": "Roll the disc.",
            "target": "a rolling disc",
        }
    ]
}


class TestMotion:
    def test_two_frames(self, run: Callable[..., Any], sample: Any) -> None:
        motion = replace(sample, task="motion", region=None)
        output = run("EditPairsWriteMotionInstruction", ROLL, sample=motion, frame2=torch.zeros(1, 48, 64, 3))
        assert output.result[1] == "Let the disc roll."
        assert [one.mean() > 0 for one in output.asked[0].images] == [True, False]
        carried = replace(motion, images={"frame2": torch.zeros(1, 48, 64, 3)})
        assert run("EditPairsWriteMotionInstruction", ROLL, sample=carried).result[1] == "Let the disc roll."

    def test_what_is_missing(self, run: Callable[..., Any], sample: Any) -> None:
        with pytest.raises(ValueError, match="there is no second frame"):
            run("EditPairsWriteMotionInstruction", sample=replace(sample, task="motion"))
        with pytest.raises(ValueError, match="this node writes for task motion"):
            run("EditPairsWriteMotionInstruction", sample=sample)
        with pytest.raises(ValueError, match="load the second one with Load Second Image"):
            run("EditPairsWriteInstruction", sample=replace(sample, task="motion"))


class TestText:
    def test_where_nothing_can_be_read_the_sample_is_refused(self, run: Callable[..., Any], sample: Any) -> None:
        reply = edits({**REMOVE, "reads": "", "instruction": "none", "command": "none", "target": "none"})
        output = run(
            "EditPairsWriteInstruction", reply, sample=replace(sample, task="alter"), kind="unicedit/Text Modification"
        )
        failure = output.result[0].failure
        assert len(output.asked) == 1, "asked again, it would think of words"
        assert (failure.error_type, failure.skipped) == ("NothingToEdit", True)
        assert "no words can be read there" in failure.message


class TestRewriter:
    def test_the_users_words_stay(self, run: Callable[..., Any], sample: Any) -> None:
        user = replace(sample, instruction="让它消失")
        out, instruction, _target, command, _steps = run(
            "EditPairsRewriteInstruction", {"command": "Remove the disc."}, sample=user
        ).result
        assert (instruction, command) == ("让它消失", "Remove the disc.")
        assert (out.writing.model, out.writing.lang) == ("user", "zh")
        assert out.writing.rewriter.startswith("scripted-vl, rewrite-instruction ")

    def test_after_a_writer_only_the_command_changes(self, run: Callable[..., Any]) -> None:
        written = run("EditPairsWriteInstruction", edits(REMOVE)).result[0]
        out = run("EditPairsRewriteInstruction", {"command": "Erase the disc."}, sample=written).result[0]
        (step,) = out.writing.steps
        assert (out.writing.editor_prompt, step.editor_prompt) == ("Erase the disc.", "Erase the disc.")
        before = replace(
            out.writing, editor_prompt=SENTENCE, steps=(replace(step, editor_prompt=SENTENCE),), rewriter=""
        )
        assert before == written.writing

    def test_each_of_several_instructions_gets_a_command(self, run: Callable[..., Any]) -> None:
        several = edits(REMOVE, {**REMOVE, "instruction": "Take [OBJECT] away."})
        written = run("EditPairsWriteInstruction", several, count=2).result[0]
        replies = [{"command": "Erase the disc."}, "VlmTimeout"]
        out = run("EditPairsRewriteInstruction", *replies, sample=written).result[0]
        assert [(one.instruction, one.editor_prompt) for one in out.writings] == [(SENTENCE, "Erase the disc.")]

    def test_only_what_has_to_be_thought_about_costs_a_second_question(
        self, run: Callable[..., Any], sample: Any
    ) -> None:
        written = run("EditPairsWriteInstruction", edits(REMOVE)).result[0]
        output = run("EditPairsRewriteInstruction", sample=written, kinds="reasoning")
        assert output.result[0] is written and output.asked == [] and output.result[3] == SENTENCE
        origin = sample.provenance.model_copy(update={"subtask": "scaleedit/5.4_scientific_reasoning"})
        riddle = replace(sample, task="alter", provenance=origin, instruction="Show an hour of frost.")
        out = run(
            "EditPairsRewriteInstruction", {"command": "Cover the disc with frost."}, sample=riddle, kinds="reasoning"
        )
        assert out.result[1] == "Show an hour of frost." and out.result[3] == "Cover the disc with frost."

    def test_what_is_added_by_a_removal_stays_one(self, run: Callable[..., Any], pack: Any, sample: Any) -> None:
        added = pack.call("EditPairsWriteInstructionTemplate", sample=replace(sample, task="add", seed=0)).result[1]
        out = run("EditPairsRewriteInstruction", {"command": "Add a disc."}, sample=added).result[0]
        assert out.writing == added.writing

    def test_nothing_to_rewrite(self, run: Callable[..., Any]) -> None:
        with pytest.raises(ValueError, match="there is no instruction to rewrite"):
            run("EditPairsRewriteInstruction")


class TestObservers:
    def test_captions_and_tags(self, run: Callable[..., Any]) -> None:
        captioned = run("EditPairsCaptionImage", {"dense": "Red discs on a wall.", "short": "A disc."})
        sample, dense, short = captioned.result
        assert (dense, short) == ("Red discs on a wall.", "A disc.")
        tags = {"objects": ["disc", "star"], "backgrounds": ["wall"]}
        tagged = run("EditPairsTagImage", tags, sample=sample, caption=dense)
        assert tagged.result[1:] == ("disc", "wall", "star")

    def test_tags_need_a_caption(self, run: Callable[..., Any]) -> None:
        with pytest.raises(ValueError, match="no caption to check the tags against"):
            run("EditPairsTagImage", caption=" ")

    def test_what_is_found_travels_in_the_sample(self, pack: Any, folders: Path, run: Callable[..., Any]) -> None:
        sample = run("EditPairsCaptionImage", {"dense": "Red discs on a wall.", "short": "A disc."}).result[0]
        tagged = run("EditPairsTagImage", {"objects": ["disc"], "backgrounds": ["wall"]}, sample=sample).result[0]
        output = pack.call("EditPairsSaveAnnotation", sample=tagged)
        item = output.ui["editpairs"][0]["annotation"]
        assert (item["cap"], item["short_cap"]) == (["Red discs on a wall."], "A disc.")
        assert item["tags"] == {"object": ["disc"], "background": ["wall"]}

    def test_a_question_of_ones_own(self, run: Callable[..., Any]) -> None:
        own = {"question": "Is there a face?", "drop_if": "yes", "reason": "Face"}
        sample, report = run("EditPairsAskPhoto", {"seen": "A wall.", "answer": "no"}, **own).result
        assert (sample.failure, report) == (None, "")
        sample, report = run("EditPairsAskPhoto", {"seen": "A man.", "answer": "yes"}, **own).result
        assert (sample.failure.error_type, sample.failure.skipped, sample.failure.stage) == ("Face", True, "annotate")
        assert report == f"Face: {sample.failure.message}" and "A man." in report

    @pytest.mark.parametrize(
        ("said", "kept", "skipped"), [("VlmRefusal", "Unanswered", True), ("VlmTimeout", "VlmTimeout", False)]
    )
    def test_a_question_without_an_answer(self, said: str, kept: str, skipped: bool, run: Callable[..., Any]) -> None:
        own = {"question": "Is there a face?", "drop_if": "yes", "reason": "Face"}
        sample, _ = run("EditPairsAskPhoto", said, **own).result
        assert (sample.failure.error_type, sample.failure.skipped) == (kept, skipped)

    @pytest.mark.parametrize(
        ("widgets", "why"),
        [({"question": " ", "reason": "x"}, "no question"), ({"question": "x", "reason": ""}, "reason is empty")],
    )
    @pytest.mark.parametrize("asker", ["EditPairsAskPhoto", "EditPairsAskEdit"])
    def test_widgets_without_a_question_are_refused(
        self, asker: str, widgets: dict[str, str], why: str, pack: Any
    ) -> None:
        assert why in pack.nodes[asker].validate_inputs(**widgets)
        assert pack.nodes[asker].validate_inputs(question=None, reason=None) is True, "wired ones come later"

    def test_routes(self, run: Callable[..., Any]) -> None:
        reply = {"decisions": [{"task": "remove", "suitable": True, "reason": "Clear ground."},
                               {"task": "alter", "suitable": False, "reason": "Too plain."}]}  # fmt: skip
        _sample, tasks, record = run("EditPairsRouteTask", reply, tasks="remove, alter, background").result
        assert tasks == "remove"
        kept = json.loads(record)
        assert (kept["key"], kept["accepted"], kept["model"]) == ("k1", {"remove": "Clear ground."}, "scripted-vl")
        assert kept["rejected"]["alter"] == "Too plain."
        assert "edits background regions" in kept["rejected"]["background"]

    def test_what_the_region_rules_out_is_not_asked(self, run: Callable[..., Any]) -> None:
        output = run("EditPairsRouteTask", tasks="background")
        assert (output.result[1], output.asked) == ("", [])

    def test_a_photo_that_suits_nothing_is_skipped_with_the_reasons(self, run: Callable[..., Any]) -> None:
        reply = {"decisions": [{"task": "remove", "suitable": False, "reason": "It is blurred."}]}
        out, *strings = run("EditPairsRouteTask", reply, tasks="remove, background").result
        assert out.failure.skipped and out.failure.error_type == "NoRoute"
        told = "is object, and task background edits background regions (background); It is blurred (remove)"
        assert out.failure.message == f"the router accepted nothing: {told}"
        assert strings[0] == "" and json.loads(strings[1])["rejected"]["remove"] == "It is blurred."


@pytest.mark.parametrize("node_name", ASKERS)
def test_a_failed_sample_asks_nobody(node_name: str, run: Callable[..., Any], failed: Any) -> None:
    output = run(node_name, sample=failed)
    assert output.result[0] is failed
    assert set(output.result[1:]) == {""}
    assert output.asked == []


@pytest.mark.parametrize("node_name", ["EditPairsCaptionImage", "EditPairsTagImage", "EditPairsRouteTask"])
def test_observers_fail_as_data(node_name: str, run: Callable[..., Any]) -> None:
    inputs = {"caption": "x"} if node_name == "EditPairsTagImage" else {}
    out, *strings = run(node_name, "VlmConnection", **inputs).result
    assert (out.failure.error_type, set(strings)) == ("VlmConnection", {""})


class TestSaving:
    def records(self, output: Any) -> list[dict[str, Any]]:
        return json.loads(json.dumps(output.ui["editpairs"]))

    def files(self, folders: Path) -> list[Path]:
        return sorted(path for path in (folders / "output").rglob("*") if path.is_file())

    def test_one(self, pack: Any, folders: Path, run: Callable[..., Any]) -> None:
        sample = run("EditPairsWriteInstruction", edits(REMOVE)).result[0]
        output = pack.call("EditPairsSaveInstructions", sample=sample)
        (record,) = self.records(output)
        assert (record["key"], record["task"], record["writing"]["instruction"]) == ("k1", "remove", SENTENCE)
        assert record["writing"]["reply"] and record["writing"]["prompt_version"]
        assert [region["class_name"] for region in record["annotation"]["segmentation"]["object"]] == ["disc"]
        assert json.dumps(record).count(sample.region.mask.counts) == 1, "masks are large: one copy"
        saved = folders / "output" / record["file"]["subfolder"] / record["file"]["filename"]
        assert json.loads(saved.read_text("utf-8")) == record["annotation"]
        assert self.files(folders) == sorted([saved, saved.with_name("k1.records.json")])
        assert output.ui["text"] == [SENTENCE]

    def test_the_file_is_an_annotation(self, pack: Any, folders: Path, run: Callable[..., Any]) -> None:
        sample = run("EditPairsWriteInstruction", edits(REMOVE)).result[0]
        (record,) = self.records(pack.call("EditPairsSaveInstructions", sample=sample))
        read = pack.part("core.regions.annotation").parse_annotation(record["annotation"])
        assert read.regions == (sample.region,)
        assert (
            pack.part("core.instructions.instructions").written_in(record["annotation"]["writing"], read.regions)
            == sample.writing
        )
        model = pack.part("core.instructions.instructions").InstructionRecord
        assert model.model_validate(record).model_dump(mode="json") == record

    def test_several_get_keys_and_slots(self, pack: Any, folders: Path, run: Callable[..., Any]) -> None:
        two = edits(REMOVE, {**REMOVE, "instruction": "Erase [OBJECT]."})
        sample = run("EditPairsWriteInstruction", two, count=2).result[0]
        records = self.records(pack.call("EditPairsSaveInstructions", sample=sample))
        assert [one["key"] for one in records] == ["k1~0", "k1~1"]
        assert [one["annotation"]["slot"] for one in records] == ["0", "1"]
        listed = json.loads((folders / "output" / "editpairs" / "k1.records.json").read_text("utf-8"))
        assert listed == {"editpairs": records}

    def test_the_template_writers_too(self, pack: Any, folders: Path, sample: Any) -> None:
        written = pack.call("EditPairsWriteInstructionTemplate", sample=sample).result[1]
        (record,) = self.records(pack.call("EditPairsSaveInstructions", sample=written))
        assert record["writing"]["model"] == "template"

    def test_a_failure_is_saved_as_one(self, pack: Any, folders: Path, failed: Any) -> None:
        (record,) = self.records(pack.call("EditPairsSaveInstructions", sample=failed))
        assert record["failure"]["error_type"] == "VlmTimeout"
        assert [path.name for path in self.files(folders)] == ["k1.records.json"]

    def test_no_instruction_is_an_error(self, pack: Any, folders: Path, sample: Any) -> None:
        with pytest.raises(ValueError, match="the sample has no instruction: wire a writer"):
            pack.call("EditPairsSaveInstructions", sample=sample)
