"""A ComfyUI node for `benchmarks/write.py` only: it notes how long each question took the node that asked it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import ComfyExtension, io

EVENTS = "questions.jsonl"
"""In ComfyUI's output folder: a line for each question with when it `begun` and `ended`, in seconds of the clock and of this process's processor time."""

Vlm = io.Custom("EDITPAIRS_VLM")


class _Timed:
    """Passes questions on and notes when."""

    def __init__(self, vlm: Any) -> None:
        self.model = vlm.model
        self._vlm = vlm

    async def ask(self, questions: Sequence[Any]) -> list[Any]:
        begun, cpu_begun = time.time(), time.process_time()
        answers: list[Any] = await self._vlm.ask(questions)
        line = {
            "begun": begun,
            "ended": time.time(),
            "cpu_begun": cpu_begun,
            "cpu_ended": time.process_time(),
            "kinds": [type(answer).__name__ for answer in answers],
        }
        folder = Path(folder_paths.get_output_directory())
        folder.mkdir(exist_ok=True)
        with (folder / EVENTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return answers


class TimeVlm(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BenchTimeVlm",
            display_name="Time VLM (benchmark)",
            category="editpairs/benchmark",
            inputs=[Vlm.Input("vlm")],
            outputs=[Vlm.Output("vlm")],
        )

    @classmethod
    def execute(cls, vlm: Any) -> io.NodeOutput:
        return io.NodeOutput(_Timed(vlm))


class TimingExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [TimeVlm]


async def comfy_entrypoint() -> TimingExtension:
    return TimingExtension()
