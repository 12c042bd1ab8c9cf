"""Local weights: batches, seeds, limits, JSON, cancelling and memory, on a tiny Qwen2.5-VL in the real format."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

pytest.importorskip("comfy.model_management", reason="needs ComfyUI's source: COMFYUI_PATH, or python install.py")

from comfy import model_management
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from comfy_nodes.models.checkpoints import CheckpointError
from comfy_nodes.models.managed import OutOfMemory
from comfy_nodes.vlm.asking import Answer, Failure
from comfy_nodes.vlm.local import batches as local_batches
from comfy_nodes.vlm.local.transformers_vlm import LocalVlm
from tests.vlm import tiny_vlm
from tests.vlm.local.conftest import Score, ask, photo, question, texts

PIXELS = (3136, 20_000)


def local(folder: Path, batch_size: int = 4, pixels: tuple[int, int] = PIXELS, dtype: str = "auto") -> LocalVlm:
    return LocalVlm(folder, dtype, batch_size, *pixels)


@pytest.fixture(scope="module")
def vlm(chatterer: Path) -> LocalVlm:
    return local(chatterer)


MIXED = [
    question("Short?", photo(1)),
    question("A much longer question about one photo, which makes the batch ragged.", photo(2, 120, 60)),
    question("No photo at all.", max_tokens=7),
    question("Two photos.", photo(3), photo(4)),
    question("Short?", photo(5), temperature=1.0, seed=1),
    question("Short?", photo(5), temperature=1.0, seed=2, max_tokens=20),
]


def test_it_says_what_transformers_says(vlm: LocalVlm, chatterer: Path) -> None:
    """The whole way by hand: chat template, system prompt, image before text, greedy."""
    processor = AutoProcessor.from_pretrained(chatterer)
    processor.image_processor.size = {"shortest_edge": PIXELS[0], "longest_edge": PIXELS[1]}
    prompt = (
        "<|im_start|>system\nYou look.<|im_end|>\n<|im_start|>user\n"
        "<|vision_start|><|image_pad|><|vision_end|>What is it?<|im_end|>\n<|im_start|>assistant\n"
    )
    inputs = processor(text=[prompt], images=[photo()], return_tensors="pt")
    model = AutoModelForImageTextToText.from_pretrained(chatterer, dtype=torch.float32)
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs.input_ids.shape[1] :]
    (result,) = ask(vlm, question("What is it?", photo()))
    assert result.text == processor.tokenizer.decode(tokens)
    assert isinstance(result, Failure) and result.kind == "VlmCutOff"


def test_a_batch_says_what_each_question_alone_gets(vlm: LocalVlm, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    prepare = local_batches.prepare
    monkeypatch.setattr(local_batches, "prepare", lambda *given: sizes.append(len(given[1])) or prepare(*given))
    together = texts(ask(vlm, *MIXED))
    assert sizes == [4, 1, 1]  # equally many photos go together, and never more than batch_size
    assert together == [texts(ask(vlm, one))[0] for one in MIXED]
    assert len(set(together)) == len(MIXED)
    assert [len(text) for text in together[:4]] == [12, 12, 7, 12]


def test_images_count_in_their_order(vlm: LocalVlm) -> None:
    one, two = photo(6) // 5, 255 - photo(7) // 5
    first, swapped, single = texts(
        ask(vlm, question("Before, after?", one, two), question("Before, after?", two, one), question("Before?", one))
    )
    assert len({first, swapped, single}) == 3


def test_seeds_repeat_and_differ(vlm: LocalVlm) -> None:
    drawn = [question("Draw.", photo(), temperature=1.0, seed=seed) for seed in (5, 6, 2**53 - 1)]
    first = texts(ask(vlm, *drawn))
    assert texts(ask(vlm, *reversed(drawn))) == first[::-1]
    assert len(set(first)) == 3
    greedy = [question("Draw.", photo(), seed=seed) for seed in (5, 6)]
    assert len(set(texts(ask(vlm, *greedy)))) == 1


def test_draws_follow_the_models_probabilities(chatterer: Path) -> None:
    """Of many draws of the first token, as many are each letter as the model's own logits say."""
    vlm = local(chatterer, batch_size=64)
    letters = "abcdefgh"
    likely = asyncio.run(vlm.score(question("Once."), letters))
    drawn = "".join(
        texts(ask(vlm, *(question("Once.", max_tokens=1, temperature=1.0, seed=seed) for seed in range(640))))
    )
    for letter, share in zip(letters, likely, strict=True):
        assert drawn.count(letter) / 640 == pytest.approx(share, abs=4 * (share * (1 - share) / 640) ** 0.5 + 1e-3)


def test_scores_are_the_first_tokens_probabilities(reciter: Callable[..., Path]) -> None:
    vlm = local(reciter("4"))
    likely = asyncio.run(vlm.score(question("How good?", photo()), ["3", "4", "5"]))
    assert likely[1] > 0.99 and likely[0] == pytest.approx(likely[2]) and sum(likely) <= 1.0
    with pytest.raises(ValueError, match="'10' is 2 tokens of reciter; a score needs single ones"):
        asyncio.run(vlm.score(question(), ["10"]))


def test_json_comes_back_as_a_record(reciter: Callable[..., Path]) -> None:
    result, plain = ask(local(reciter('{"score": ', "4", "}")), question(reply=Score), question())
    assert isinstance(result, Answer) and isinstance(plain, Answer)
    assert (result.value, result.text, result.model, result.prompt_version) == (
        Score(score=4),
        '{"score": 4}',
        "reciter",
        "3",
    )
    assert plain.value is None
    assert result.usage.completion_tokens == plain.usage.completion_tokens == 4
    assert result.usage.prompt_tokens > plain.usage.prompt_tokens > 20


@pytest.mark.parametrize(
    ("pieces", "kind", "replies"),
    [
        (["Four."], "VlmNotJson", 2),
        (['{"score": ', '"many"', "}"], "VlmWrongShape", 2),
        ([], "VlmEmptyReply", 1),
        (["I'm sorry, but I cannot help with that."], "VlmRefusal", 1),
    ],
)
def test_a_reply_of_no_use_is_asked_for_once_more(
    pieces: list[str], kind: str, replies: int, reciter: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    prepare = local_batches.prepare
    monkeypatch.setattr(local_batches, "prepare", lambda *given: read.extend(given[1]) or prepare(*given))
    (result,) = ask(local(reciter(*pieces)), question("Score it.", photo(), reply=Score))
    assert isinstance(result, Failure) and (result.kind, result.text) == (kind, "".join(pieces))
    assert result.message.startswith("reciter: ") and "\n" not in result.message
    assert len(read) == replies
    if replies == 2:
        roles = [turn.role for turn in read[1].turns]
        assert roles == ["system", "user", "assistant", "user"]
        assert read[1].turns[2].text == "".join(pieces) and "could not be used" in read[1].turns[3].text


def test_a_cut_off_reply_says_so(reciter: Callable[..., Path]) -> None:
    vlm = local(reciter('{"score": ', "4", "}"))
    assert [type(one) for one in ask(vlm, question(reply=Score, max_tokens=4))] == [Answer]
    (result,) = ask(vlm, question(reply=Score, max_tokens=3))
    assert isinstance(result, Failure)
    assert (result.kind, result.text) == ("VlmCutOff", '{"score": 4}')
    assert result.message == "reciter: the reply was not finished after 3 tokens; raise max_tokens"


def test_a_prompt_that_cannot_be_read_fails_alone(vlm: LocalVlm) -> None:
    """A strip that Qwen's processor refuses, a mark of the chat format in the words, and more than the model holds."""
    asked = [
        question("Well?", photo()),
        question("A strip.", photo(0, 2, 500)),
        question("<|image_pad|>", photo()),
        question("x" * 5000, photo()),
    ]
    results = ask(vlm, *asked)
    assert results[0].text == texts(ask(vlm, asked[0]))[0]
    assert [one.kind for one in results[1:] if isinstance(one, Failure)] == ["VlmBadRequest"] * 3
    assert "aspect ratio" in results[1].message  # type: ignore[union-attr]
    assert "the model holds 4096" in results[3].message  # type: ignore[union-attr]


@pytest.mark.parametrize(("pixels", "tokens"), [((784, 784), 1), ((784, 4 * 784), 4), ((784 * 16, 784 * 16), 16)])
def test_the_pixel_budget_decides_how_many_tokens_a_photo_takes(
    chatterer: Path, pixels: tuple[int, int], tokens: int
) -> None:
    vlm = local(chatterer, pixels=pixels)
    inputs = []
    prepare = local_batches.prepare
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_batches, "prepare", lambda *given: inputs.append(prepare(*given)) or inputs[-1])
        ask(vlm, question("", photo(0, 100, 100)))
    assert inputs[0]["image_grid_thw"].prod() / 4 == tokens


def test_nodes_that_wait_together_share_batches(vlm: LocalVlm, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    prepare = local_batches.prepare
    monkeypatch.setattr(local_batches, "prepare", lambda *given: sizes.append(len(given[1])) or prepare(*given))

    async def nodes() -> list[list[Answer | Failure]]:
        return await asyncio.gather(*(vlm.ask([question(f"Node {number}", photo(number))]) for number in range(6)))

    shared = [texts(one)[0] for one in asyncio.run(nodes())]
    assert sizes in ([4, 2], [4, 1, 1])
    assert shared == [texts(ask(vlm, question(f"Node {number}", photo(number))))[0] for number in range(6)]


def test_an_error_reaches_every_node_that_waits(chatterer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = local(chatterer)
    monkeypatch.setattr(local_batches, "answer", lambda *_: 1 // 0)

    async def nodes() -> list[BaseException]:
        asked = (vlm.ask([question()]) for _ in range(3))
        return await asyncio.gather(*asked, return_exceptions=True)

    assert [type(one) for one in asyncio.run(nodes())] == [ZeroDivisionError] * 3
    monkeypatch.undo()
    assert ask(vlm, question())[0].text


def test_a_cancel_ends_it_within_a_second(tmp_path: Path) -> None:
    vlm = local(tiny_vlm.qwen25_vl(tmp_path / "endless", context=1_000_000))
    ask(vlm, question(max_tokens=1))
    started = time.monotonic()
    threading.Timer(0.5, model_management.interrupt_current_processing).start()
    with pytest.raises(model_management.InterruptProcessingException):
        ask(vlm, *(question("On and on.", photo(), max_tokens=100_000) for _ in range(3)))
    assert 0.4 < time.monotonic() - started < 1.5
    assert not model_management.processing_interrupted()
    assert ask(vlm, question())[0].text


def test_weights_are_read_at_the_first_question_and_really_freed(chatterer: Path) -> None:
    vlm = local(chatterer)
    assert vlm.patcher is None and model_management.loaded_models() == []
    first = texts(ask(vlm, *MIXED))
    patcher = vlm.patcher
    assert patcher is not None and model_management.loaded_models() == [patcher]
    size = sum(tensor.nbytes for tensor in load_file(chatterer / "model.safetensors").values())
    assert size <= patcher.loaded_size() < 1.1 * size
    model_management.unload_all_models()  # what /free with unload_models calls
    assert model_management.loaded_models() == [] and patcher.loaded_size() == 0
    assert texts(ask(vlm, *MIXED)) == first
    assert model_management.loaded_models() == [patcher]


def out_of_memory_above(size: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Lets batches of more than `size` run out of memory; gives the sizes that were tried."""
    tried: list[int] = []
    answer = local_batches.answer

    def answer_or_not(*given: object) -> object:
        tried.append(len(given[3]))  # type: ignore[arg-type]
        if tried[-1] > size:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return answer(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(local_batches, "answer", answer_or_not)
    return tried


def test_memory_that_runs_out_halves_the_batch_once(chatterer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [question(f"Number {number}", photo(number)) for number in range(6)]
    expected = texts(ask(local(chatterer), *asked))
    vlm = local(chatterer)
    tried = out_of_memory_above(2, monkeypatch)
    assert texts(ask(vlm, *asked)) == expected
    assert tried == [4, 2, 2, 2]
    assert texts(ask(vlm, *asked)) == expected
    assert tried[4:] == [2, 2, 2]


@pytest.mark.parametrize(("batch_size", "tried"), [(4, [4, 2]), (1, [1])])
def test_memory_that_runs_out_again_is_an_error_that_names_the_batch(
    chatterer: Path, batch_size: int, tried: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm = local(chatterer, batch_size)
    seen = out_of_memory_above(0, monkeypatch)
    with pytest.raises(OutOfMemory, match=rf"out of memory.* asked {tried[-1]} at once; set batch_size or max_pixels"):
        ask(vlm, *(question(f"Number {number}", photo()) for number in range(4)))
    assert seen == tried


def test_numbers_that_overflow_are_an_error(chatterer: Path, tmp_path: Path) -> None:
    folder = tiny_vlm.qwen25_vl(tmp_path / "wide")
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["lm_head.weight"] * float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(local_batches.Overflow, match="choose bfloat16 or float32"):
        ask(local(folder), question())


@pytest.mark.parametrize(("name", "dtype"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_the_dtype_is_the_one_that_was_chosen(chatterer: Path, name: str, dtype: torch.dtype) -> None:
    vlm = local(chatterer, dtype=name)
    ask(vlm, question("Look.", photo()))
    assert vlm._loaded is not None and vlm._loaded.managed.dtype is dtype


def broken(folder: Path, **config: object) -> Path:
    """The folder with other words in its config.json."""
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    return folder


def test_folders_that_cannot_work_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    def fresh(name: str) -> Path:
        return tiny_vlm.qwen25_vl(tmp_path / name)

    with pytest.raises(CheckpointError, match=r"text-only: its config.json says qwen2, which .* reads images"):
        local(broken(fresh("text-only"), model_type="qwen2"))
    with pytest.raises(CheckpointError, match=r"small: its weights are quantised \(bitsandbytes\).*endpoint profile"):
        local(broken(fresh("small"), quantization_config={"quant_method": "bitsandbytes"}))
    pickled = fresh("pickled")
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"holds no \.safetensors"):
        local(pickled)
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read"):
        local(tmp_path)


def test_folders_that_turn_out_broken_say_so_in_one_line(tmp_path: Path) -> None:
    def fails(name: str, spoil: Callable[[Path], object], match: str) -> None:
        folder = tiny_vlm.qwen25_vl(tmp_path / name)
        spoil(folder)
        with pytest.raises(CheckpointError, match=match) as caught:
            ask(local(folder), question())
        assert "\n" not in str(caught.value)

    def drop_a_weight(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        del tensors["visual.blocks.0.attn.qkv.weight"]
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    def run_code(folder: Path) -> None:
        (folder / "evil.py").write_text("raise SystemExit('ran')")
        broken(folder, auto_map={"AutoModelForImageTextToText": "evil.Evil", "AutoConfig": "evil.Evil"})

    fails("cut", lambda folder: (folder / "model.safetensors").write_bytes(b"1234"), "^cut: ")
    fails("holey", drop_a_weight, "1 of .* weights are missing")
    fails("mute", lambda folder: (folder / "chat_template.jinja").unlink(), "mute: has no chat template.*-Instruct")
    fails("wordless", lambda folder: (folder / "tokenizer.json").unlink(), "wordless: its tokenizer knows no words")
    fails("blind", lambda folder: (folder / "processor_config.json").unlink(), "blind: its processor cannot be read")
    spoiled = tiny_vlm.qwen25_vl(tmp_path / "code")
    run_code(spoiled)
    assert ask(local(spoiled), question())[0].text  # transformers knows the architecture and leaves the code alone
