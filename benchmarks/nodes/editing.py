"""Edits that take a known time, and a node where chosen samples come to grief."""

from __future__ import annotations

import errno
import os
import signal
import time
from dataclasses import replace
from typing import Any

import torch
from comfy.model_management import throw_exception_if_processing_interrupted
from comfy_api.latest import io

Sample = io.Custom("EDITPAIRS_SAMPLE")
Scores = io.Custom("EDITPAIRS_SCORES")
SLICE_SECONDS = 0.05

_met: set[tuple[str, str]] = set()
"""Samples that met with their mishap in this process."""


class BlockingEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BenchBlockingEdit",
            display_name="Blocking Edit (benchmark)",
            category="editpairs/benchmark",
            description="Blocks as a GPU would, then inverts what the mask marks (the middle without a mask).",
            inputs=[
                io.Image.Input("image"),
                io.Mask.Input("mask"),
                io.Float.Input("seconds", default=0.1, min=0.0, max=3600.0, step=0.01),
            ],
            outputs=[io.Image.Output("image"), io.Mask.Output("edit_mask")],
        )

    @classmethod
    def execute(cls, image: torch.Tensor, mask: torch.Tensor, seconds: float) -> io.NodeOutput:
        _block(seconds)
        marked = mask > 0.5
        if not marked.any():
            height, width = marked.shape[-2:]
            marked = marked.clone()
            marked[..., height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = True
        return io.NodeOutput(torch.where(marked[..., None], 1 - image, image), marked.float())


class Approve(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BenchApprove",
            display_name="Approve (benchmark)",
            category="editpairs/benchmark",
            description="Passes scores on as a judge's who looks at nothing, so that rows of these graphs are kept.",
            inputs=[Scores.Input("scores")],
            outputs=[Scores.Output("scores")],
        )

    @classmethod
    def execute(cls, scores: list[Any]) -> io.NodeOutput:
        return io.NodeOutput([replace(one, voices=("judge",)) for one in scores])


class Mishap(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="BenchMishap",
            display_name="Mishap (benchmark)",
            category="editpairs/benchmark",
            description="Does to a sample what its instruction says: 'mishap: fail', 'mishap: out of memory', "
            "'mishap: out of memory once', 'mishap: disk full once' or 'mishap: die'. Passes all others on.",
            inputs=[Sample.Input("sample"), io.Image.Input("image")],
            outputs=[io.Image.Output("image")],
        )

    @classmethod
    def execute(cls, sample: Any, image: torch.Tensor) -> io.NodeOutput:
        mishap = sample.instruction.removeprefix("mishap: ")
        known = (sample.provenance.key, mishap)
        first = known not in _met
        _met.add(known)
        if mishap == "fail":
            raise ValueError("this sample always fails")
        if mishap == "out of memory" or (mishap == "out of memory once" and first):
            raise torch.OutOfMemoryError("Allocation on device 0 would exceed allowed memory. (out of memory)")
        if mishap == "disk full once" and first:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if mishap == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return io.NodeOutput(image)


def _block(seconds: float) -> None:
    """Blocks, and lets an interrupt through now and then as a sampler does between steps."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        throw_exception_if_processing_interrupted()
        time.sleep(min(left, SLICE_SECONDS))
