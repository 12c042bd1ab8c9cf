"""Which workflow does which task, and the weights that it names. Data only; `table` reads it."""

from __future__ import annotations

from .records import Route, Weights
from .rows import TABLE

_BY_NAME = {one.name: one for one in TABLE}


def _of(*names: str) -> tuple[Weights, ...]:
    return tuple(_BY_NAME[name] for name in names)


_SEGMENT = _of("sam2.1-hiera-large")
_FLUX_TEXT = _of("clip_l.safetensors", "t5xxl_fp16.safetensors", "ae.safetensors")
_FILL = _SEGMENT + _of("flux1-fill-dev.safetensors") + _FLUX_TEXT
_REDUX = _FILL + _of("flux1-redux-dev.safetensors", "sigclip_vision_patch14_384.safetensors")
_KONTEXT = _of("flux1-dev-kontext_fp8_scaled.safetensors") + _FLUX_TEXT
_SDXL = _of("sd_xl_base_1.0.safetensors", "controlnet-canny-sdxl-1.0.safetensors")
_KLEIN = _of("flux-2-klein-4b-fp8.safetensors", "qwen_3_4b.safetensors", "flux2-vae.safetensors")
_MASKED = _SEGMENT + _KLEIN
_QWEN = _of(
    "qwen_image_edit_2511_fp8mixed.safetensors",
    "Qwen-Image-Edit-2511-Lightning-4steps-V1.0-bf16.safetensors",
    "qwen_2.5_vl_7b_fp8_scaled.safetensors",
    "qwen_image_vae.safetensors",
)
_LONGCAT = _of("longcat_image_edit_bf16.safetensors", "qwen_2.5_vl_7b_fp8_scaled.safetensors", "ae.safetensors")
_Z_IMAGE = _of("z_image_turbo_bf16.safetensors", "qwen_3_4b.safetensors", "ae.safetensors")
_OPEN_REGIONS = _of("grounding-dino-tiny", "sam2.1-hiera-large", "clip-vit-large-patch14", "birefnet.safetensors")
_SAM3_REGIONS = _of("sam3.1_multiplex_fp16.safetensors", "clip-vit-large-patch14")
_REGIONS = _of("yolov8x-worldv2.pt", "clip-vit-base-patch32", "sam2.1-hiera-large", "clip-vit-large-patch14")

ROUTES: tuple[Route, ...] = (
    Route("annotate", "annotate-open", _OPEN_REGIONS),
    Route("annotate", "annotate-sam3", _SAM3_REGIONS),
    Route("annotate", "annotate", _REGIONS),
    Route("annotate", "annotate-text"),
    Route("add", "add-open", _MASKED),
    Route("add", "add", _FILL),
    Route("add", "add-classical"),
    Route("remove", "remove-open", _MASKED),
    Route("remove", "remove", _FILL),
    Route("remove", "remove-classical"),
    Route("replace", "replace-open", _MASKED),
    Route("replace", "replace", _FILL),
    Route("replace", "replace-classical"),
    Route("alter", "alter-open", _MASKED),
    Route("alter", "alter", _SEGMENT + _SDXL),
    Route("alter", "alter-classical"),
    Route("background", "background-open", _MASKED + _of("birefnet.safetensors")),
    Route("background", "background", _FILL),
    Route("background", "background-classical"),
    Route("motion", "motion-open"),
    Route("motion", "motion"),
    Route("motion", "motion-classical"),
    Route("style", "style-open", _KLEIN),
    Route("style", "style", _SDXL),
    Route("style", "style-classical"),
    Route("extract", "extract-open", _SEGMENT),
    Route("extract", "extract", _SEGMENT),
    Route("extract", "extract-classical"),
    Route("visual", "visual-open", _MASKED),
    Route("visual", "visual", _REDUX),
    Route("visual", "visual-classical"),
    Route("hybrid", "hybrid-open", _MASKED),
    Route("hybrid", "hybrid", _FILL),
    Route("hybrid", "hybrid-classical"),
    Route("content_memory", "content_memory-open", _MASKED),
    Route("content_memory", "content_memory", _FILL + _SDXL),
    Route("content_memory", "content_memory-classical"),
    Route("content_understanding", "content_understanding-open", _MASKED),
    Route("content_understanding", "content_understanding", _FILL + _SDXL),
    Route("content_understanding", "content_understanding-classical"),
    Route("version_backtracking", "version_backtracking-open", _MASKED),
    Route("version_backtracking", "version_backtracking", _FILL + _SDXL),
    Route("version_backtracking", "version_backtracking-classical"),
    Route("synthesize", "synthesize", _Z_IMAGE),
    Route("embed", "embed", _of("clip-vit-large-patch14")),
    Route("instruct", "instruct-open", _KLEIN),
    Route("instruct", "instruct-qwen", _QWEN),
    Route("instruct", "instruct-longcat", _LONGCAT),
    Route("instruct", "instruct", _KONTEXT),
)
"""Ways to tasks and stages, by the files in `workflows/`: a test compares them with what those name."""

IN_WORDS = ("add", "remove", "replace", "alter", "background", "style", "extract", "hybrid")
"""Tasks that an end-to-end editor does from the instruction alone, without a mask or a second image. Ours."""
