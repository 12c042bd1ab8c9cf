"""Load Edit Sample and Write Instruction: what an artist picks, and what the driver fills in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch", reason="torch, which ComfyUI brings, is not installed")

SAMPLE, IMAGE, MASK, BOXES, CLASS_NAME, INSTRUCTION, SEED = range(7)
"""Outputs of the node, in their order."""


def annotation(*regions: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"path": "cup.png", "segmentation": {"object": list(regions)}, **fields})


CUP = {"class_name": "cup", "bbox": [2, 3, 10, 9], "score": 0.5}
JUG = {"class_name": "jug", "bbox": [0, 0, 4, 5]}


@pytest.fixture
def load(pack: Any, folders: Path) -> Callable[..., Any]:
    defaults = {"image": "cup.png", "task": "remove", "region_index": 0, "seed": 3}
    return lambda **inputs: pack.call("EditPairsLoadSample", **{**defaults, **inputs})


@pytest.fixture
def cup(folders: Path) -> np.ndarray:
    """uint8 [12, 16, 3], saved as cup.png in the input folder."""
    pixels = np.random.default_rng(3).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folders / "input" / "cup.png")
    return pixels


def bundled(pack: Any) -> list[str]:
    return list(pack.part("files.opened").names())


def test_every_bundled_sample_loads_with_its_region(pack: Any, load: Callable[..., Any], folders: Path) -> None:
    for name in bundled(pack):
        output = load(image=name)
        sample = output[SAMPLE]
        height, width = output[IMAGE].shape[1:3]
        assert output[MASK].shape == (1, height, width)
        assert output[MASK].any()
        (((box,),)) = output[BOXES]
        assert 0 <= box["x"] < box["x"] + box["width"] <= width
        assert 0 <= box["y"] < box["y"] + box["height"] <= height
        assert output[CLASS_NAME] == box["label"] == sample.region.class_name
        data = (folders / "input" / name).read_bytes()
        assert sample.provenance.source_sha256 == hashlib.sha256(data).hexdigest()
        assert sample.provenance.source_licence


def test_the_photo_arrives_exactly(load: Callable[..., Any], cup: np.ndarray) -> None:
    output = load(annotation=annotation(CUP))
    assert (output[IMAGE].dtype, tuple(output[IMAGE].shape)) == (torch.float32, (1, 12, 16, 3))
    np.testing.assert_array_equal((output[IMAGE][0].numpy() * 255).round().astype(np.uint8), cup)
    assert output[SAMPLE].source is output[IMAGE]
    assert (output[SAMPLE].task, output[SEED], output[SAMPLE].seed) == ("remove", 3, 3)


def test_a_box_alone_gives_an_empty_mask(load: Callable[..., Any], cup: np.ndarray) -> None:
    output = load(annotation=annotation(CUP))
    assert output[BOXES] == [[{"x": 2, "y": 3, "width": 8, "height": 6, "label": "cup", "score": 0.5}]]
    assert tuple(output[MASK].shape) == (1, 12, 16)
    assert not output[MASK].any()


def test_the_region_index_chooses(load: Callable[..., Any], cup: np.ndarray) -> None:
    wall = {"class_name": "wall", "bbox": [0, 0, 16, 12]}
    text = json.dumps({"path": "cup.png", "segmentation": {"background": [wall], "object": [CUP, JUG]}})
    chosen = [("remove", 0), ("remove", 1), ("background", 2)]
    names = [load(annotation=text, task=task, region_index=index)[CLASS_NAME] for task, index in chosen]
    assert names == ["cup", "jug", "wall"]
    with pytest.raises(ValueError, match="region_index 3 is not there; the photo has 0 cup, 1 jug, 2 wall"):
        load(annotation=text, region_index=3)


def test_a_photo_without_a_region_says_how_to_get_one(load: Callable[..., Any], cup: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"the photo has no region: paint one \(right-click the node, Open in Mask"):
        load()
    with pytest.raises(ValueError, match=r"no region \(region 0 \(plane\): its box"):
        load(annotation=annotation({"class_name": "plane", "bbox": [99, 0, 120, 9]}))


def test_a_task_for_the_whole_photo_takes_none(load: Callable[..., Any], cup: np.ndarray) -> None:
    output = load(task="style", annotation=annotation(CUP))
    assert (output[SAMPLE].region, output[BOXES], output[CLASS_NAME]) == (None, [[]], "")
    assert not output[MASK].any()


@pytest.mark.parametrize("text", ["{", "cup", "[1, 2", "[" * 3000 + "]" * 3000])
def test_an_annotation_that_is_not_json(text: str, load: Callable[..., Any], cup: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"annotation is not JSON .*; paste one photo's ImgEdit annotation"):
        load(annotation=text)


@pytest.mark.parametrize(("text", "why"), [("5", "not a number"), ("[]", "not a list"), ("{}", "no path")])
def test_json_that_is_no_annotation(text: str, why: str, load: Callable[..., Any], cup: np.ndarray) -> None:
    with pytest.raises(ValueError, match=why):
        load(annotation=text)


def test_words_in_the_widgets_come_first(load: Callable[..., Any], cup: np.ndarray) -> None:
    output = load(annotation=annotation(CUP), class_name="mug", instruction="Take it away.")
    assert (output[CLASS_NAME], output[BOXES][0][0]["label"]) == ("mug", "mug")
    assert output[INSTRUCTION] == output[SAMPLE].instruction == "Take it away."


class TestMaskEditor:
    def painted(self, folder: Path, name: str) -> np.ndarray:
        """What the mask editor saves: alpha under half where something is painted. Returns the painted cells."""
        pixels = np.full((12, 16, 4), 255, dtype=np.uint8)
        pixels[..., 0] = 40
        pixels[4:8, 2:9, 3] = 0
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)
        return pixels[..., 3] == 0

    @pytest.mark.parametrize("name", ["clipspace-painted-masked-1.png", "clipspace/painted.png"])
    def test_alpha_is_the_mask_in_its_own_files(self, name: str, load: Callable[..., Any], folders: Path) -> None:
        painted = self.painted(folders / "input", name)
        output = load(image=f"{name} [input]", class_name="cup")
        np.testing.assert_array_equal(output[MASK][0].bool().numpy(), painted)
        assert output[BOXES] == [[{"x": 2, "y": 4, "width": 7, "height": 4, "label": "cup"}]]
        assert (output[IMAGE][0, 5, 5] * 255).round().tolist() == [40, 255, 255], "colours lie under the paint"

    def test_alpha_of_any_other_file_is_laid_over_white(self, load: Callable[..., Any], folders: Path) -> None:
        self.painted(folders / "input", "logo.png")
        output = load(image="logo.png", annotation=annotation(CUP))
        assert (output[IMAGE][0, 5, 5] * 255).round().tolist() == [255, 255, 255]
        assert not output[MASK].any()

    def test_nothing_painted_falls_back_to_the_annotation(self, load: Callable[..., Any], folders: Path) -> None:
        Image.new("RGBA", (16, 12), (1, 2, 3, 255)).save(folders / "input" / "clipspace-mask-2.png")
        assert load(image="clipspace-mask-2.png", annotation=annotation(CUP))[CLASS_NAME] == "cup"


def test_provenance_of_the_driver_is_kept(load: Callable[..., Any], cup: np.ndarray) -> None:
    given = {"key": "abc", "source_id": "x", "source_path": "x", "source_sha256": "1" * 64, "slot": "2"}
    sample = load(annotation=annotation(CUP, editpairs=given))[SAMPLE]
    assert sample.provenance.model_dump(exclude_defaults=True) == given


def test_a_kind_that_is_bound_to_no_region_gets_none(load: Callable[..., Any], cup: np.ndarray) -> None:
    given = {"key": "0" * 20, "source_id": "cup.png", "source_path": "cup.png", "source_sha256": "0" * 64}
    for subtask, name in (("scaleedit/3.4_count_change", ""), ("", "cup")):
        known = annotation(CUP, JUG, editpairs={**given, "task": "instruct", "subtask": subtask})
        output = load(annotation=known, task="instruct")
        assert (output[CLASS_NAME], output[MASK].any()) == (name, False)
        assert [one.class_name for one in output[SAMPLE].others] == ["cup", "jug"][bool(name) :]


def test_provenance_by_hand_is_relative_and_stable(load: Callable[..., Any], cup: np.ndarray) -> None:
    one, other = load(annotation=annotation(CUP)), load(image="cup.png [input]", annotation=annotation(CUP), seed=9)
    assert one[SAMPLE].provenance.source_path == "cup.png"
    assert one[SAMPLE].provenance.key == other[SAMPLE].provenance.key


def test_a_rotated_photo_turns_with_its_annotation(load: Callable[..., Any], folders: Path) -> None:
    pixels = np.zeros((12, 16, 3), dtype=np.uint8)
    pixels[3:9, 2:10] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(folders / "input" / "phone.png", exif=exif)
    output = load(image="phone.png", annotation=annotation(CUP, resolution={"width": 16, "height": 12}))
    assert tuple(output[IMAGE].shape) == (1, 16, 12, 3)
    ((box,),) = output[BOXES]
    left, top, width, height = (int(box[side]) for side in ("x", "y", "width", "height"))
    assert (left, top, width, height) == (3, 2, 6, 8)
    assert bool((output[IMAGE][0, top : top + height, left : left + width] == 1).all())
    assert output[IMAGE].sum() == width * height * 3


@pytest.mark.parametrize("image", ["gone.png", "editpairs-samples/gone.jpg", "gone.png [temp]", "folder/gone.png"])
def test_a_missing_file_is_refused_before_the_run(image: str, pack: Any, folders: Path) -> None:
    assert pack.nodes["EditPairsLoadSample"].validate_inputs(image=image) == f"Invalid image file: {image}"


@pytest.mark.parametrize("image", [None, "deep/er/cup.png", "cup.png [temp]"])
def test_files_that_no_list_names_are_accepted(image: str | None, pack: Any, folders: Path) -> None:
    """The driver's uploads lie in a folder of the run; None is an input that something is wired to."""
    for path in (folders / "input" / "deep" / "er" / "cup.png", folders / "temp" / "cup.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    assert pack.nodes["EditPairsLoadSample"].validate_inputs(image=image) is True


def test_the_fingerprint_follows_the_content(pack: Any, folders: Path) -> None:
    node = pack.nodes["EditPairsLoadSample"]
    path = folders / "input" / "cup.png"
    prints = []
    for colour in ("red", "blue", "red"):
        Image.new("RGB", (4, 4), colour).save(path)
        prints.append(node.fingerprint_inputs(image="cup.png", task="remove", region_index=0, seed=0))
    assert prints[0] == prints[2] != prints[1]
    assert all(isinstance(one, str) for one in prints)


def test_the_list_names_the_bundled_samples_and_never_the_input_root(pack: Any, cup: np.ndarray) -> None:
    options = pack.nodes["EditPairsLoadSample"].GET_NODE_INFO_V1()["input"]["required"]["image"][1]["options"]
    assert options == bundled(pack)
    assert all(name.startswith("editpairs-samples/") for name in options)


def test_samples_of_the_user_are_not_overwritten(pack: Any, folders: Path) -> None:
    path = folders / "input" / bundled(pack)[0]
    path.write_bytes(b"mine")
    pack.part("files.opened").place_in_input()
    assert path.read_bytes() == b"mine"


def test_an_input_folder_that_cannot_be_written_costs_only_the_samples(
    pack: Any, folders: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import folder_paths

    (folders / "file").touch()
    monkeypatch.setattr(folder_paths, "input_directory", str(folders / "file" / "input"))
    pack.part("files.opened").place_in_input()
    assert "bundled samples are not available" in caplog.text


class TestWriter:
    @pytest.fixture
    def write(self, pack: Any) -> Callable[[Any], str]:
        return lambda sample: pack.call("EditPairsWriteInstructionTemplate", sample=sample)[0]

    def test_writes_from_the_region(self, write: Any, load: Callable[..., Any], cup: np.ndarray) -> None:
        sample = load(annotation=annotation({"class_name": "cup", "bbox": [0, 8, 5, 12]}), seed=4)[SAMPLE]
        assert write(sample) == "Remove the cup in the lower-left of the image."

    def test_the_users_words_pass(self, write: Any, load: Callable[..., Any], cup: np.ndarray) -> None:
        assert write(load(annotation=annotation(CUP), instruction="Mine.")[SAMPLE]) == "Mine."

    def test_without_a_region_there_is_nothing_to_write(
        self, write: Any, load: Callable[..., Any], cup: np.ndarray
    ) -> None:
        with pytest.raises(ValueError, match="no region to write about: type an instruction"):
            write(load(task="style")[SAMPLE])


def test_a_turn_that_is_judged_again_is_the_edit_that_it_was(load: Callable[..., Any], cup: np.ndarray) -> None:
    """Verifiers ask about its operation; its row stays in its dialogue."""
    turn = {"dialogue": "d", "number": 2, "of": 3, "base": 1, "op": "alter", "premise": "", "mask_from": "carried"}
    origin = {"key": "k", "task": "content_understanding", "source_id": "a", "source_path": "a", "source_sha256": "0"}
    given = annotation(CUP, JUG, editpairs=origin, carried={"turn": turn})
    sample = load(task="verify", annotation=given)[SAMPLE]
    assert (sample.task, sample.turn.task, sample.turn.number) == ("alter", "content_understanding", 2)
    assert sample.also == (), "an alteration is about one region"
