"""Pictures on their way to a service: scaled down to its pixel budget and packed into data URLs.

The client calls this outside its event loop, since encoding takes milliseconds. Nothing here knows HTTP.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
from typing import Literal

import numpy as np
from PIL import Image

JPEG_QUALITY = 95
"""High enough that a judge sees the edit's artefacts and not the coder's. Ours."""


def data_url(pixels: np.ndarray, max_pixels: int, image_format: Literal["jpeg", "png"]) -> str:
    """A data URL of a uint8 [H, W, 3] picture with at most `max_pixels` pixels; a smaller one keeps its size."""
    picture = Image.fromarray(pixels, "RGB")
    size = fitted(picture.width, picture.height, max_pixels)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    # Colour is not halved in resolution: thin coloured edges are what edits are judged by.
    options = {"quality": JPEG_QUALITY, "subsampling": 0} if image_format == "jpeg" else {"compress_level": 3}
    picture.save(buffer, image_format.upper(), **options)
    return f"data:image/{image_format};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def fitted(width: int, height: int, max_pixels: int) -> tuple[int, int]:
    """(width, height) of the largest picture of these proportions that has at most `max_pixels`, never enlarged."""
    if width * height <= max_pixels:
        return width, height
    scale = math.sqrt(max_pixels / (width * height))
    return max(1, int(width * scale)), max(1, int(height * scale))


def digest(pixels: np.ndarray) -> str:
    """What names a picture in the cache's key: a hash of its size and pixels."""
    hashed = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=20)
    hashed.update(np.ascontiguousarray(pixels).data)
    return hashed.hexdigest()
