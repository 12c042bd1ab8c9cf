"""Grounding and masks against the libraries underneath: `python benchmarks/ground.py --json`.

A ratio is the library's time over ours, so 1 means as fast and 0.9 at most a ninth slower. Runs on the CPU, on tiny
random weights made on the spot; shares the machine with nobody, or the numbers mean little.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.ground_detect import detect_vs_library, text_cache_speedup
from benchmarks.ground_segment import boxes_batched_speedup, rle_vs_pycocotools, segment_vs_library
from benchmarks.measures import command

if __name__ == "__main__":
    command(
        "Measure detection and segmentation against the libraries underneath.",
        detect_vs_library,
        text_cache_speedup,
        segment_vs_library,
        boxes_batched_speedup,
        rle_vs_pycocotools,
    )
