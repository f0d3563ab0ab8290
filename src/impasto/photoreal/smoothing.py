"""Masks that keep to a photograph's edges: He, Sun and Tang 2013, "Guided Image Filtering".

A mask is taken for a linear function of the photograph's colours in each small window, found by
least squares (eq. 19 and 20 of the paper). It is found on a small copy, and its coefficients are
enlarged ("Fast Guided Filter", He and Sun 2015). All sums are those of boxes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from impasto.losses.matting import UPPER, invert_symmetric


def average_box(values: Tensor, radius: int) -> Tensor:
    """Average (N, C, H, W) over windows of 2 radius + 1, of what of them lies inside."""
    return _average_along(_average_along(values, radius, 3), radius, 2)


def _average_along(values: Tensor, radius: int, dim: int) -> Tensor:
    size, around = values.shape[dim], (radius + 1, radius)
    padded = functional.pad(values, around if dim == 3 else (0, 0, *around))
    sums = padded.cumsum(dim)
    total = sums.narrow(dim, 2 * radius + 1, size) - sums.narrow(dim, 0, size)
    place = torch.arange(size, device=values.device)
    count = (place + radius + 1).clamp(max=size) - (place - radius).clamp(min=0)
    return total.div_(count.to(values) if dim == 3 else count.to(values)[:, None])


@dataclass(frozen=True)
class GuidedMasks:
    """Masks as linear functions of the guide, at a small size: a . colour + b."""

    slopes: Tensor  # (K, 3, h, w)
    offsets: Tensor  # (K, 1, h, w)

    def enlarge(self, guide: Tensor, rows: slice, size: tuple[int, int]) -> Tensor:
        """Return the masks (1, K, n, W) of some rows of a guide of that (height, width).

        They are not negative and sum to 1; ``guide`` holds these rows alone.
        """
        slopes = enlarge_rows(self.slopes, rows, size)
        offsets = enlarge_rows(self.offsets, rows, size)
        masks = torch.stack(
            [(slope * guide[0]).sum(0) for slope in slopes]
        )  # (K, n, W), one by one: all at once would take K times the guide's memory
        masks = (masks + offsets[:, 0]).clamp_(0, 1)
        return (masks / masks.sum(0, keepdim=True).clamp_min(1e-6))[None]


def guide_masks(masks: Tensor, guide: Tensor, radius: int, edge: float) -> GuidedMasks:
    """Fit masks (1, K, h, w) to a guide (1, 3, h, w).

    Colours that differ by much less than the root of ``edge`` are taken for the same.
    """
    guide, masks = guide.double(), masks.double()  # differences of sums, from here ...
    mean, mask_mean = average_box(guide, radius), average_box(masks, radius)
    products = [average_box(guide[:, i : i + 1] * masks, radius) for i in range(3)]
    covariance = torch.stack(products, 1)[0] - mean[0][:, None] * mask_mean  # (3, K, h, w)
    spread = [
        average_box(guide[:, i : i + 1] * guide[:, j : j + 1], radius)[0, 0]
        - mean[0, i] * mean[0, j]
        for i, j in UPPER
    ]
    inverse = invert_symmetric(spread, edge).float()  # ... to here
    slopes = torch.einsum("ijhw,jkhw->kihw", inverse, covariance.float())  # (K, 3, h, w)
    offsets = mask_mean[0].float() - (slopes * mean.float()).sum(1)
    return GuidedMasks(average_box(slopes, radius), average_box(offsets[:, None], radius))


@dataclass(frozen=True)
class EvenedLevels:
    """A photograph whose even areas are smoothed, as a linear function of it, at a small size."""

    kept: Tensor  # (1, 1, h, w), the share of a pixel's own colour
    rest: Tensor  # (1, 3, h, w), what its surroundings add

    def enlarge(self, pixels: Tensor, rows: slice, size: tuple[int, int]) -> Tensor:
        """Return some rows of the photograph, smoothed; ``pixels`` (1, 3, n, W) holds them alone.

        The photograph has that (height, width).
        """
        kept = enlarge_rows(self.kept, rows, size)
        return enlarge_rows(self.rest, rows, size).addcmul_(pixels, kept)


def even_out(guide: Tensor, share: Tensor, radius: int, noise: float) -> EvenedLevels:
    """Smooth the even areas of a picture (1, 3, h, w), so that this share of their noise is left.

    It is the guided filter of a picture by itself. An area is even where colours differ by much
    less than ``noise``; ``share`` is (1, 1, h, w).
    """
    wide = guide.double()  # differences of sums
    mean = average_box(wide, radius)
    variance = (average_box(wide.square(), radius) - mean.square()).mean(1, keepdim=True)
    rough = variance.clamp_min(0) / (variance.clamp_min(0) + noise**2)
    kept = share + (1 - share) * rough
    return EvenedLevels(
        average_box(kept, radius).float(), average_box((1 - kept) * mean, radius).float()
    )


def enlarge_rows(small: Tensor, rows: slice, size: tuple[int, int]) -> Tensor:
    """Return some rows of (N, C, h, w) enlarged to that (height, width), linearly.

    Any rows are those of the whole: what is enlarged strip by strip has no seams.
    """
    height, width = size
    low, high, share = _find_neighbours(small.shape[2], height, torch.arange(height)[rows], small)
    strip = torch.lerp(small[:, :, low], small[:, :, high], share[:, None])
    enlarged: Tensor = functional.interpolate(
        strip, (strip.shape[2], width), mode="bilinear", align_corners=False
    )
    return enlarged


def _find_neighbours(
    small: int, large: int, places: Tensor, like: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return, for places of a long side, the two cells of a short one and the second's share."""
    at = ((places.double() + 0.5) * (small / large) - 0.5).clamp_(0, small - 1)
    low = at.floor().long()
    high = (low + 1).clamp_(max=small - 1)
    share = (at - low).to(like)
    return low.to(like.device), high.to(like.device), share
