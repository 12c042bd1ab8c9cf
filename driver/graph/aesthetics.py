"""What a graph that filters photos cannot judge for want of weights, which nobody has to have. Said before a run."""

from __future__ import annotations

from typing import Any

from comfy_nodes.core.graph_names import NO_MODEL

from .api import Api, is_link
from .file import WorkflowFile

FILTER, SCORES, LOADER = "EditPairsFilterPhoto", "EditPairsScoreRegions", "EditPairsLoadRegionScorer"


def unjudged(api: Api, file: WorkflowFile) -> str:
    """What to say before a run whose photos have a least aesthetic score and get none; empty where all is as it seems."""
    for node in api.values():
        if node["class_type"] != FILTER or not node["inputs"].get("above_aesthetic"):
            continue
        chosen = _chosen(api, node["inputs"].get("aesthetic"))
        if chosen is None or NO_MODEL not in chosen:
            continue
        return (
            f"{file.path.name}: AESTHETICS ARE NOT JUDGED, as Load Region Scorer has no weights; all other limits hold. Put a "
            f"CLIP (ViT-L/14) and an aesthetic head into ComfyUI's folders and name them: --set {LOADER}.clip=FOLDER "
            f"--set {LOADER}.aesthetic_head=FILE (of a recipe, in its stage's set)"
        )
    return ""


def _chosen(api: Api, link: Any) -> tuple[str, str] | None:
    """CLIP and head behind an aesthetic score, none of both where it is not wired; None where another node gives it."""
    if not is_link(link):
        return NO_MODEL, NO_MODEL
    scores = api[link[0]]
    if scores["class_type"] != SCORES or not is_link(scorer := scores["inputs"].get("scorer")):
        return None
    loader = api[scorer[0]]
    if loader["class_type"] != LOADER:
        return None
    return str(loader["inputs"].get("clip")), str(loader["inputs"].get("aesthetic_head", NO_MODEL))
