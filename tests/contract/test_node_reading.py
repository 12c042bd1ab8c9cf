"""Read Text and Check Text in ComfyUI's own code, with the reader's own weights."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

torch = pytest.importorskip("torch", reason="torch, which ComfyUI brings, is not installed")
pytest.importorskip("rapidocr", reason="needs rapidocr: python install.py")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: python install.py")
pytest.importorskip("rapidfuzz", reason="needs rapidfuzz: python install.py")

OPEN = (20, 20, 180, 70)
READ: dict[tuple[bytes, float], Any] = {}


def sign(words: str) -> Any:
    """IMAGE of a plate, and beside it another one that always reads KIOSK."""
    picture = Image.new("RGB", (360, 340), (70, 110, 80))
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(32)
    for (x1, y1, x2, y2), said in ((OPEN, words), ((200, 120, 340, 170), "KIOSK")):
        pen.rectangle((x1, y1, x2, y2), fill=(240, 236, 220))
        pen.text((x1 + 12, y1 + 4), said, font=font, fill=(20, 20, 40))
    return torch.from_numpy(np.asarray(picture).copy())[None].float() / 255


@pytest.fixture(scope="module")
def signs() -> dict[str, Any]:
    return {words: sign(words) for words in ("OPEN", "CLOSED", "")}


@pytest.fixture(autouse=True)
def read_once(pack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture that another test has had read is not read again."""
    node = pack.part("nodes.reading")
    read = node.read_lines

    def known(images: list[np.ndarray], score: float) -> list[Any]:
        frames = []
        for image in images:
            key = (image.tobytes(), score)
            if key not in READ:
                READ[key] = read([image], score)[0]
            frames.append(READ[key])
        return frames

    monkeypatch.setattr(node, "read_lines", known)


@pytest.fixture
def sample(pack: Any, signs: dict[str, Any]) -> Any:
    annotation, sockets = pack.part("core.regions.annotation"), pack.part("wires.sockets")
    return sockets.EditSample(
        source=signs["OPEN"],
        task="alter",
        region=annotation.Region(class_name='text "OPEN"', bbox=OPEN),
        instruction='Change "OPEN" to "CLOSED".',
        seed=7,
        provenance=annotation.Provenance(key="k1", source_id="a.png", source_path="a.png", source_sha256="0" * 64),
    )


def check(pack: Any, sample: Any, edited: Any, **inputs: Any) -> Any:
    given = {"min_alike": 0.9, "max_left": 0.6, "sample": sample, "source": sample.source, "edited": edited}
    return pack.call("EditPairsCheckText", **{**given, **inputs})


def test_words_become_named_boxes_with_masks(pack: Any, signs: dict[str, Any]) -> None:
    batch = torch.cat([signs["OPEN"], torch.zeros_like(signs["OPEN"]), signs[""]])
    boxes, masks, text, count, _ = pack.call("EditPairsReadText", image=batch, score_threshold=0.9).result
    assert [[box["label"] for box in frame] for frame in boxes] == [
        ['text "OPEN"', 'text "KIOSK"'],
        [],
        ['text "KIOSK"'],
    ]
    assert (text, count, masks.shape) == ("OPEN\nKIOSK\n\n\n\nKIOSK", 3, (3, 340, 360))
    box = boxes[0][0]
    assert OPEN[0] - 5 <= box["x"] and box["x"] + box["width"] <= OPEN[2] and box["score"] > 0.9
    assert masks[0, 40, 60] == 1 and masks[0, 145, 260] == 0 and masks[1, 145, 260] == 1
    _, none, text, count, _ = pack.call("EditPairsReadText", image=batch[1:2], score_threshold=0.9).result
    assert none.shape == (1, 340, 360) and not none.any() and (text, count) == ("", 0)


def test_a_sample_takes_its_words_along(pack: Any, sample: Any, signs: dict[str, Any], folders: Any) -> None:
    read = pack.call("EditPairsReadText", image=sample.source, score_threshold=0.9, sample=sample).result[4]
    line = pack.call("EditPairsSaveAnnotation", sample=read).ui["editpairs"][0]["annotation"]
    assert [one["words"] for one in line["ocr"]] == ["OPEN", "KIOSK"] and line["ocr"][0]["mask"]["size"] == [340, 360]
    assert [one["class_name"] for one in line["segmentation"]["object"]] == ['text "OPEN"'], "the sample's own region"
    lettering = pack.part("core.regions.lettering")
    first, _ = lettering.words_read(json.loads(json.dumps(line)))
    assert first.class_name == 'text "OPEN"' and first.score > 0.9 and first.mask.area > 1000
    bare = pack.call("EditPairsReadText", image=torch.zeros_like(sample.source), score_threshold=0.9, sample=sample)
    assert lettering.words_read(bare.result[4].further) == (), "it was read, and there is nothing"
    failed = replace(sample, failure=pack.part("core.records").SampleFailure("annotate", "NoRoute", "no", skipped=True))
    assert pack.call("EditPairsReadText", image=sample.source, score_threshold=0.9, sample=failed).result[4] is failed
    with pytest.raises(ValueError, match="the words of a sample are those of its one photo"):
        pack.call("EditPairsReadText", image=torch.zeros(1, 9, 9, 3), score_threshold=0.9, sample=sample)


@pytest.mark.parametrize("note", ["OPEN", [{"words": "OPEN"}], [{"words": "OPEN", "bbox": [1, 2]}]])
def test_words_of_somebody_else_are_told_apart(pack: Any, note: Any) -> None:
    lettering = pack.part("core.regions.lettering")
    assert lettering.words_read({}) is None
    with pytest.raises(pack.part("core.regions.annotation").AnnotationError, match=r"^ocr.*Read Text"):
        lettering.words_read({"ocr": note})


def test_an_edit_of_words_is_read_back(pack: Any, sample: Any, signs: dict[str, Any]) -> None:
    output = check(pack, sample, torch.cat([signs["CLOSED"], signs["OPEN"]]))
    (good, bad), report = output.result
    assert (good.verdict, good.voices, good.values["text.new_after"]) == ("keep", ("reader",), 1.0)
    assert bad.reason == "text: 'OPEN' can still be read; 'CLOSED' cannot be read, but OPEN"
    assert report.startswith("asked: 'OPEN' -> 'CLOSED'\nbefore: OPEN\nbefore: KIOSK\nafter: CLOSED")
    assert output.ui["text"][1].startswith("reject: text: 'OPEN'")


def test_it_vouches_where_words_alone_change(pack: Any, sample: Any, signs: dict[str, Any]) -> None:
    on_a_sign = replace(sample, region=sample.region.model_copy(update={"class_name": "sign"}))
    (found,), _ = check(pack, on_a_sign, signs["CLOSED"]).result
    assert (found.verdict, found.voices) == ("keep", ())
    of_text = sample.provenance.model_copy(update={"subtask": "unicedit/Text Modification"})
    (found,), _ = check(pack, replace(on_a_sign, provenance=of_text), signs["CLOSED"]).result
    assert found.voices == ("reader",)
    gone = replace(sample, task="remove", instruction='Remove the text "OPEN".')
    (found,), _ = check(pack, gone, signs[""]).result
    assert (found.verdict, found.voices) == ("keep", ("reader",))
    (found,), _ = check(pack, replace(gone, instruction="Remove it."), signs["OPEN"]).result
    assert found.reason == "text: 'OPEN' can still be read", "its name says what the region reads"


def test_words_can_be_named_on_the_node(pack: Any, sample: Any, signs: dict[str, Any]) -> None:
    plain = replace(sample, instruction="Change the words.", region=None)
    (found,), _ = check(pack, plain, signs["CLOSED"], old_words="OPEN", new_words="closed").result
    assert found.verdict == "keep" and found.voices == ()
    (found,), _ = check(pack, plain, signs["CLOSED"], old_words="kiosk").result
    assert found.reason == "text: 'kiosk' can still be read", "without a region all of the picture is read"


def test_a_reader_without_anything_to_say_adds_nothing(pack: Any, sample: Any) -> None:
    found, style = (
        pack.part("core.verdicts.verdicts").Scores,
        replace(sample, task="style", region=None, instruction="Warm."),
    )
    (scores,), report = check(pack, style, sample.source).result
    assert scores.verdict == "unscored" and "no words in double quotes" in scores.reason
    assert report == "no words are asked for" and scores.values == {}
    for earlier in (found({"pixel.keep": 1.0}, "keep", voices=("pixels",)), found({}, "unscored", "?")):
        (scores,), _ = check(pack, style, sample.source, scores=[earlier]).result
        assert (scores.verdict, scores.reason, scores.values) == (earlier.verdict, earlier.reason, {})


def test_what_is_rejected_already_is_not_read(pack: Any, sample: Any, signs: dict[str, Any]) -> None:
    found = pack.part("core.verdicts.verdicts").Scores
    edited = torch.cat([signs["CLOSED"], signs["CLOSED"]])
    results, report = check(pack, sample, edited, scores=[found({}, "reject", "no"), found({}, "keep")]).result
    assert [one.verdict for one in results] == ["reject", "keep"] and results[0].values == {}
    assert report.startswith("rejected before, not read\n\nasked:")
    failed = replace(sample, failure=pack.part("core.records").SampleFailure("write", "VlmTimeout", "too late", "A #1"))
    (scores,), _ = check(pack, failed, signs["CLOSED"]).result
    assert scores.reason == "there is no edit: too late"
