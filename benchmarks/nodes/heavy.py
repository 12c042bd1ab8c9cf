"""Models of which one fits into memory at a time: what loading them in turns would cost is counted."""

from __future__ import annotations

import threading
import time

import folder_paths
import torch
from comfy_api.latest import io

from .events import note

FOLDER = "diffusion_models"
LOAD_SECONDS = 0.05
Model = io.Custom("BENCH_MODEL")

_lock = threading.Lock()
_loaded = ""
"""Which model lies in memory."""


class HeavyModel(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BenchHeavyModel",
            display_name="Load Heavy Model (benchmark)",
            category="editpairs/benchmark",
            description="Names a model file; whoever uses it loads it.",
            inputs=[io.Combo.Input("model_name", options=folder_paths.get_filename_list(FOLDER))],
            outputs=[Model.Output("model")],
        )

    @classmethod
    def execute(cls, model_name: str) -> io.NodeOutput:
        return io.NodeOutput(model_name)


class HeavyStage(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BenchHeavyStage",
            display_name="Heavy Stage (benchmark)",
            category="editpairs/benchmark",
            description="Loads its model in the place of another's, works for a while, and passes the image on.",
            inputs=[
                Model.Input("model"),
                io.Image.Input("image"),
                io.Float.Input("seconds", default=0.02, min=0.0, max=3600.0, step=0.01),
            ],
            outputs=[io.Image.Output("image")],
        )

    @classmethod
    def execute(cls, model: str, image: torch.Tensor, seconds: float) -> io.NodeOutput:
        global _loaded
        with _lock:
            if _loaded != model:
                _loaded = model
                time.sleep(LOAD_SECONDS)
                note("switch", model=model)
        time.sleep(seconds)
        return io.NodeOutput(image)
