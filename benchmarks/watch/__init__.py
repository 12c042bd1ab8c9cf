"""A ComfyUI pack that watches what others do: how long samplers denoise, and which files of weights are read.

`gpu.py` links this folder into the server that it starts, and tests do; nobody installs it. It has no node.
"""

from __future__ import annotations


async def comfy_entrypoint():  # ComfyUI annotates nothing here; the type lives in an import made late
    from .watching import WatchExtension

    return WatchExtension()
