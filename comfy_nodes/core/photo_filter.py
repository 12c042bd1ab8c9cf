"""Which photos are worth editing: size, aesthetic score, shape, and whether the same picture came before.

Called by `Filter Photo`; the driver looks for copies with its hash. Judges what it is told (size, score) and what it can see cheaply (a perceptual hash); it never
loads a model. Every drop has one `Reason`, is
counted under it, and says in a sentence what was measured against what.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from PIL import Image

Reason = Literal["small", "crop", "aesthetic", "duplicate"]

KONTEXT_BUCKETS: tuple[tuple[int, int], ...] = (
    (672, 1568),
    (688, 1504),
    (720, 1456),
    (752, 1392),
    (800, 1328),
    (832, 1248),
    (880, 1184),
    (944, 1104),
    (1024, 1024),
    (1104, 944),
    (1184, 880),
    (1248, 832),
    (1328, 800),
    (1392, 752),
    (1456, 720),
    (1504, 688),
    (1568, 672),
)
"""(width, height) in pixels: the sizes that FLUX.1 Kontext was trained at, as Black Forest Labs' public inference code
lists them (ComfyUI's `FluxKontextImageScale` has the same 17). UnicEdit-10M snaps its photos to them (paper)."""

SKIPPED_AS: dict[Reason, str] = {
    "small": "PhotoTooSmall",
    "crop": "PhotoTooNarrow",
    "aesthetic": "PhotoNotAesthetic",
    "duplicate": "PhotoDuplicate",
}
"""Error types, by which a run counts photos that it leaves out."""

HASH_SIDE = 8
"""The hash has 8 x 8 bits."""

SHRUNK_SIDE = 32
"""Side in pixels that a photo is shrunk to before hashing."""


@dataclass(frozen=True)
class PhotoRules:
    """What a photo needs. A limit of 0 is off; `max_crop` and `max_distance` are off as None."""

    above_aesthetic: float = 4.75
    """Its aesthetic score, where known, exceeds this. ImgEdit paper, section 3 (its repository defaults to 5.0)."""
    above_short_side: int = 1280
    """Its shorter side exceeds this many pixels. ImgEdit paper, section 3 (its repository defaults to 512)."""
    max_crop: float | None = 0.20
    """At most this share of it, 0 to 1, is lost by a centre crop to the best of `buckets`. UnicEdit paper."""
    buckets: tuple[tuple[int, int], ...] = KONTEXT_BUCKETS
    """The sizes (width, height) in pixels that the editing model works at."""
    max_distance: int | None = 4
    """A photo whose hash differs from an earlier one's in at most this many of 64 bits is a duplicate. Ours: at 4, chance
    alone makes less than 0.01 pairs among ImgEdit's 600,000 photos (2**-64 * sum of C(64, 0..4) per pair), and copies
    that were scaled or saved again as JPEG stay below it."""


@dataclass(frozen=True)
class Drop:
    """Why a photo is left out."""

    reason: Reason
    message: str
    """A sentence without its subject, such as `has a shorter side of 512 px; more than 1280 px is needed`."""


class PhotoFilter:
    """Judges photos one after another and remembers those that passed, to find their duplicates."""

    def __init__(self, rules: PhotoRules | None = None) -> None:
        self.rules = rules or PhotoRules()
        self.passed = 0
        self.dropped: Counter[Reason] = Counter()
        self._seen = HashIndex(self.rules.max_distance or 0)

    def judge(self, image: Image.Image, name: str, aesthetic: float | None = None) -> Drop | None:
        """Why the photo is left out, None where it passes. Of duplicates the first one passes.

        Args:
            image: mode RGB, upright.
        """
        drop = self._by_size(image.size) or self._by_aesthetic(aesthetic) or self._by_hash(image, name)
        if drop is None:
            self.passed += 1
        else:
            self.dropped[drop.reason] += 1
        return drop

    def _by_size(self, size: tuple[int, int]) -> Drop | None:
        rules = self.rules
        if rules.above_short_side and min(size) <= rules.above_short_side:
            needed = f"more than {rules.above_short_side} px is needed"
            return Drop("small", f"has a shorter side of {min(size)} px; {needed}")
        if rules.max_crop is None:
            return None
        bucket = nearest_bucket(size, rules.buckets)
        lost = crop_share(size, bucket)
        if lost <= rules.max_crop:
            return None
        shape = f"the model's nearest size, {bucket[0]} x {bucket[1]}"
        return Drop("crop", f"would lose {lost:.1%} of {size[0]} x {size[1]} to {shape}; at most {rules.max_crop:.1%}")

    def _by_aesthetic(self, aesthetic: float | None) -> Drop | None:
        least = self.rules.above_aesthetic
        if aesthetic is None or not least or aesthetic > least:
            return None
        return Drop("aesthetic", f"has an aesthetic score of {aesthetic:.2f}; more than {least:g} is needed")

    def _by_hash(self, image: Image.Image, name: str) -> Drop | None:
        if self.rules.max_distance is None:
            return None
        bits = perceptual_hash(image)
        twin = self._seen.find(bits)
        if twin is None:
            self._seen.add(bits, name)
            return None
        distance = f"{twin.distance} of {HASH_SIDE**2} bits of their hashes differ"
        return Drop("duplicate", f"shows the same picture as {twin.name} ({distance})")


def nearest_bucket(size: tuple[int, int], buckets: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The (width, height) of `buckets` to which a photo of `size` loses least; the first of equals."""
    return min(buckets, key=lambda bucket: crop_share(size, bucket))


def crop_share(size: tuple[int, int], bucket: tuple[int, int]) -> float:
    """Share of a photo, 0 to 1, that is lost when it is scaled to cover `bucket` and cropped to it."""
    across, down = size[0] * bucket[1], size[1] * bucket[0]
    return 1 - min(across, down) / max(across, down)


def perceptual_hash(image: Image.Image) -> int:
    """A DCT hash (pHash) of 64 bits, to the bit that of the `imagehash` package.

    Grey, shrunk to 32 x 32, its 8 x 8 lowest frequencies, each above their median or not. Own code, since imagehash
    would bring scipy and PyWavelets into the driver for these few lines.
    """
    return hash_of_small(np.asarray(image.convert("L").resize((SHRUNK_SIDE, SHRUNK_SIDE), Image.Resampling.LANCZOS)))


def hash_of_small(grey: np.ndarray) -> int:
    """The same of a photo's brightness that is shrunk already, [32, 32]."""
    # Rounded, as the frequencies of an even picture are zero but for noise of some 1e-11.
    low = np.round(_COSINES @ grey.astype(np.float64) @ _COSINES.T, 6)
    bits = np.packbits(low > np.median(low))
    return int.from_bytes(bits.tobytes())


def _cosines() -> np.ndarray:
    """The lowest HASH_SIDE rows of the unnormalised DCT-II's matrix, [8, 32]."""
    frequency, place = np.arange(HASH_SIDE)[:, None], np.arange(SHRUNK_SIDE)[None, :]
    cosines: np.ndarray = 2 * np.cos(np.pi * frequency * (2 * place + 1) / (2 * SHRUNK_SIDE))
    return cosines


_COSINES = _cosines()


@dataclass(frozen=True)
class Twin:
    """An earlier photo with nearly the same hash."""

    name: str
    distance: int
    """In how many bits the hashes differ."""


class HashIndex:
    """Hashes of 64 bits, found again by any that differs in at most `distance` bits.

    Cut into `distance` + 1 bands, two such hashes agree in at least one whole band, so only hashes that share a band
    are compared: some hundred of a million.
    """

    def __init__(self, distance: int) -> None:
        self._distance = distance
        edges = [round(band * HASH_SIDE**2 / (distance + 1)) for band in range(distance + 2)]
        self._bands = [(low, (1 << (high - low)) - 1) for low, high in pairwise(edges)]
        self._hashes: list[tuple[int, str]] = []
        self._by_band: dict[tuple[int, int], list[int]] = defaultdict(list)

    def add(self, bits: int, name: str) -> None:
        """Remembers a hash under a name."""
        for key in self._keys(bits):
            self._by_band[key].append(len(self._hashes))
        self._hashes.append((bits, name))

    def find(self, bits: int) -> Twin | None:
        """The nearest hash within the distance, of equals the earliest; None where there is none."""
        return next(iter(self.near(bits)), None)

    def near(self, bits: int) -> list[Twin]:
        """All hashes within the distance, the nearest first, of equals the earliest."""
        candidates = {number for key in self._keys(bits) for number in self._by_band.get(key, ())}
        found = sorted(((self._hashes[number][0] ^ bits).bit_count(), number) for number in candidates)
        return [Twin(self._hashes[number][1], distance) for distance, number in found if distance <= self._distance]

    def _keys(self, bits: int) -> list[tuple[int, int]]:
        return [(low, (bits >> low) & ones) for low, ones in self._bands]
