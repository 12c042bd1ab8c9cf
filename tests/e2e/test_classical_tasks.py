"""All ten tasks without weights on a real ComfyUI: kept by Verify Pixels, true to their masks, and failing as data."""

from __future__ import annotations

import io
import json
import time
import uuid
from itertools import product
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image, ImageDraw

from comfy_nodes.core.instructions.classical import OPERATIONS
from comfy_nodes.core.regions import rle
from driver.comfyui.client import ComfyServer
from driver.graph.api import Api
from driver.graph.file import WorkflowFile

WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
TASKS = ("add", "remove", "replace", "alter", "background", "motion", "style", "extract", "visual", "hybrid")
WIDTH, HEIGHT = 180, 130
BALL, BLOCK = (20, 50, 60, 90), (120, 20, 160, 60)


class Studio:
    """A running ComfyUI with a small photo, and the classical graphs as the driver converts them."""

    def __init__(self, url: str):
        self.url = url
        self.server = ComfyServer(url)
        self.info = self.server.object_info()
        rng = np.random.default_rng(0)
        photo = Image.fromarray(rng.normal(110, 6, (HEIGHT, WIDTH, 3)).clip(0, 255).astype(np.uint8))
        ImageDraw.Draw(photo).ellipse(BALL, (190, 40, 40))
        ImageDraw.Draw(photo).rectangle(BLOCK, (60, 70, 180))
        later = photo.copy()
        ImageDraw.Draw(later).ellipse((70, 40, 130, 100), (190, 40, 40))
        thing = Image.new("RGB", (80, 80), "white")
        ImageDraw.Draw(thing).ellipse((10, 10, 69, 69), (40, 160, 60))
        self.photo, self.later, self.thing = (
            self.server.upload(_png(one), f"{name}.png", "classical")
            for one, name in ((photo, "photo"), (later, "later"), (thing, "thing"))
        )

    def graph(self, task: str, annotation: dict[str, Any] | None = None, **widgets: Any) -> Api:
        """The task's graph with the small photo in it.

        Args:
            widgets: further values of Load Edit Sample.
        """
        api = WorkflowFile.read(WORKFLOWS / f"{task}-classical.json").to_api(self.info)
        index = 2 if task == "background" else 0
        values = {"image": self.photo, "annotation": json.dumps(annotation or self.annotation()), "region_index": index}
        _node(api, "EditPairsLoadSample")["inputs"].update(values | widgets)
        for node in api.values():
            if node["class_type"] == "EditPairsLoadSecondImage":
                node["inputs"]["image"] = self.later if task == "motion" else self.thing
        return api

    def annotation(self) -> dict[str, Any]:
        ball, block = (_drawn("ellipse", BALL), _drawn("rectangle", BLOCK))
        regions = {
            "object": [_region("ball", ball), _region("block", block)],
            "background": [_region("wall", ~ball & ~block)],
        }
        return {
            "path": "photo.png",
            "resolution": {"width": WIDTH, "height": HEIGHT},
            "segmentation": regions,
            "source_licence": "CC0-1.0",
        }

    def run(self, api: Api) -> dict[str, Any]:
        """The sink's record."""
        number = str(uuid.uuid4())
        self.server.submit(api, number, "test")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            job = self.server.job(number)
            if job and job.finished:
                assert job.status == "completed", job.error
                with urlopen(f"{self.url}/history/{number}", timeout=20) as answer:
                    outputs = json.load(answer)[number]["outputs"]
                return next(one["editpairs"][0] for one in outputs.values() if "editpairs" in one)
            time.sleep(0.05)
        raise TimeoutError(number)

    def picture(self, file: dict[str, str]) -> np.ndarray:
        data = self.server.fetch(file["filename"], file["subfolder"], file["type"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture(scope="module")
def studio(comfy: Any) -> Studio:
    return Studio(comfy.url)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_makes_a_pair_that_is_kept(task: str, studio: Studio) -> None:
    record = studio.run(studio.graph(task))
    assert "failure" not in record, record
    assert (record["verdict"], record["reject_reason"]) == ("keep", "")
    assert record["prompt"].endswith(".")
    before, after = studio.picture(record["input_images"][0]), studio.picture(record["output_images"][0])
    assert before.shape == after.shape == (HEIGHT, WIDTH, 3)
    if task in ("style", "extract", "motion"):
        assert record["edit_mask"] is None
    else:
        mask = rle.decode(rle.Rle(**record["edit_mask"]))
        assert mask.any()
        assert not mask.all()
        assert np.array_equal(before[~mask], after[~mask])
    if task != "motion":
        again = studio.run(studio.graph(task, class_name="thing"))
        assert studio.picture(again["output_images"][0]).tobytes() == after.tobytes(), "the same seed makes the same"


def test_the_real_photo_is_what_add_leads_to(studio: Studio) -> None:
    record = studio.run(studio.graph("add"))
    before, after = studio.picture(record["input_images"][0]), studio.picture(record["output_images"][0])
    assert record["prompt"].startswith(("Add", "Put", "Insert"))
    assert _is_red(after)
    assert not _is_red(before)


def test_a_reference_is_saved_with_its_pair(studio: Studio) -> None:
    record = studio.run(studio.graph("visual"))
    assert len(record["input_images"]) == 2
    assert "the object in the second image" in record["prompt"]
    red, green, blue = studio.picture(record["output_images"][0])[75, 40].astype(int)
    assert green > red + 50
    assert green > blue + 50


def test_every_pair_of_operations_shows_both(studio: Studio) -> None:
    words = {"add": "dd a ", "remove": "emove the ", "replace": "eplace the ", "alter": "hange the colour of the "}
    for first, second in product(OPERATIONS, repeat=2):
        api = studio.graph("hybrid")
        _node(api, "EditPairsClassicalHybrid")["inputs"].update(first=first, second=second)
        record = studio.run(api)
        assert record.get("verdict") == "keep", (first, second, record)
        assert [one["op"] for one in record["regions"]] == [first, second]
        one, other = record["prompt"].split(" and ", 1)
        assert words[first] in one
        assert words[second] in other
        before, after = studio.picture(record["input_images"][0]), studio.picture(record["output_images"][0])
        mask = rle.decode(rle.Rle(**record["edit_mask"]))
        assert np.array_equal(before[~mask], after[~mask])
        for op, there in ((first, _is_red), (second, _is_blue)):
            expected = (False, True) if op == "add" else (True, False)
            assert (there(before), there(after)) == expected, (first, second, op)


@pytest.mark.parametrize("task", ["alter", "replace", "background", "hybrid", "extract"])
def test_what_a_sample_lacks_is_data(task: str, studio: Studio) -> None:
    annotation = studio.annotation()
    segmentation = annotation["segmentation"]
    tiny = np.zeros((HEIGHT, WIDTH), bool)
    tiny[5:8, 5:8] = True
    segmentation["object"], segmentation["background"] = [_region("speck", tiny)], [_region("wall", tiny)]
    record = studio.run(studio.graph(task, annotation, region_index=int(task == "background")))
    assert record["failure"]["error_type"] in ("NoMask", "NoRegion", "NoBackground")
    assert record["failure"]["message"]
    assert record["failure"]["skipped"], "nothing went wrong"


def test_a_typed_instruction_that_is_not_carried_out_is_not_saved(studio: Studio) -> None:
    record = studio.run(studio.graph("alter", instruction="Make the ball fly to the moon."))
    assert "moon" not in json.dumps(record)


def _node(api: Api, name: str) -> dict[str, Any]:
    return next(node for node in api.values() if node["class_type"] == name)


def _png(image: Image.Image) -> bytes:
    image.save(data := io.BytesIO(), "PNG")
    return data.getvalue()


def _drawn(shape: str, box: tuple[int, int, int, int]) -> np.ndarray:
    canvas = Image.new("1", (WIDTH, HEIGHT))
    getattr(ImageDraw.Draw(canvas), shape)(box, 1)
    return np.asarray(canvas)


def _region(name: str, mask: np.ndarray) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]
    return {"class_name": name, "bbox": box, "mask": rle.encode(mask).model_dump(mode="json")}


def _is_red(image: np.ndarray) -> bool:
    """Whether the ball is there as it was."""
    return bool((np.abs(image[70, 40].astype(int) - (190, 40, 40)) < 8).all())


def _is_blue(image: np.ndarray) -> bool:
    """Whether the block is there as it was."""
    return bool((np.abs(image[40, 140].astype(int) - (60, 70, 180)) < 8).all())
