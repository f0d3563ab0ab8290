"""Resize pictures (1, 3, H, W), also those whose copies fit side by side."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from impasto.errors import ImageError, OptionError

_EDGE = 4  # pixels beyond an edge that bicubic looks at, and more


def fit_size(width: int, height: int, long_side: int) -> tuple[int, int]:
    """Return (width, height) with that long side and the same aspect, each at least 1."""
    if long_side < 1:
        raise OptionError(f"the long side must be at least 1 pixel, not {long_side}")
    if min(width, height) < 1:
        raise ImageError(f"a picture of {width} x {height} has no pixels")
    longest = max(width, height)
    # In whole numbers, so that halves round up on every machine.
    sides = [(2 * side * long_side + longest) // (2 * longest) for side in (width, height)]
    return max(1, sides[0]), max(1, sides[1])


def resize_pixels(pixels: Tensor, width: int, height: int) -> Tensor:
    """Resize (N, C, H, W), bicubic and antialiased; at its own size it is returned itself."""
    if pixels.shape[-2:] == (height, width):
        return pixels
    resized = _resample(pixels, width, height)
    # Bicubic overshoots at edges; what is not a picture (features, flow) may keep that.
    return resized.clamp(0, 1) if pixels.shape[1] in (1, 3) else resized


def resize_tileable(pixels: Tensor, width: int, height: int) -> Tensor:
    """Resize as ``resize_pixels`` does a picture that copies of itself surround."""
    if pixels.shape[-2:] == (height, width):
        return pixels
    for dim, size in ((-2, height), (-1, width)):
        own = pixels.shape[dim]
        # Of a margin, whole pixels before are whole pixels after. What shrinks sees further.
        step = own // math.gcd(own, size)
        seen = _EDGE * max(1, -(-own // size))
        margin = -(-seen // step) * step
        places = torch.arange(-margin, own + margin, device=pixels.device) % own
        wide = pixels.index_select(dim, places)
        beyond = margin * size // own
        shape = [pixels.shape[-1], pixels.shape[-2]]
        shape[-1 - dim] = size + 2 * beyond
        pixels = _resample(wide, *shape).narrow(dim, beyond, size)
    return pixels.clamp(0, 1).contiguous()


def _resample(pixels: Tensor, width: int, height: int) -> Tensor:
    resampled: Tensor = functional.interpolate(
        pixels, size=(height, width), mode="bicubic", align_corners=False, antialias=True
    )
    return resampled
