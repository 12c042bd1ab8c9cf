"""ComfyUI nodes for benchmarks and chaos tests only: calls, edits, models and mishaps of a known size.

The benchmarks link this folder into the custom_nodes of servers that they start; nobody installs it.
"""

from __future__ import annotations


async def comfy_entrypoint():  # ComfyUI annotates nothing here; the type lives in an import made late
    from .extension import BenchExtension

    return BenchExtension()
