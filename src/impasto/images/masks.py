"""Masks of pictures, (1, 1, H, W) in [0, 1]: read, check, soften, shrink to a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional

from impasto.errors import ImageError, OptionError, suggest
from impasto.images.color_spaces import LUMA
from impasto.images.opening import DEFAULT_MEGAPIXELS
from impasto.images.picture import ImageSource
from impasto.images.reading import read_image

_BLACK = 0.5 / 255  # what 8 bits would round to black
_ROUNDING = 1e-6  # of weights that sum to 1
_PATH = ("conv", "pool")  # what lies between a picture and a layer

_LEAST_MASS = 0.05  # of a region's mass that erosion must leave, or shares count instead
_NEAR_MOST = 0.8  # of the greatest share, below which features do not count


@dataclass(frozen=True)
class Mask:
    """One region of a picture."""

    values: Tensor  # (1, 1, H, W) in [0, 1]
    notes: tuple[str, ...]  # what was done in the user's stead, one short line each
    name: str  # for messages


def read_mask(
    source: ImageSource,
    size: tuple[int, int],
    *,
    name: str | None = None,
    max_megapixels: float = DEFAULT_MEGAPIXELS,
) -> Mask:
    """Read the mask that any picture holds, at ``size`` (width, height)."""
    picture = read_image(source, max_megapixels=max_megapixels)
    name = picture.name if name is None else name
    luma = torch.tensor(LUMA).view(1, 3, 1, 1)
    values = (picture.pixels * luma).sum(1, keepdim=True)  # (1, 1, H, W)
    if picture.alpha is not None:
        values = values * picture.alpha
    values = torch.where(values < _BLACK, 0.0, values.clamp(0, 1))
    if not values.any():
        raise ImageError(f"mask {name!r} is all black: nothing would count; white is what counts")
    notes = [f"mask {name!r}: {note}" for note in picture.notes]
    notes += describe_resizing(f"mask {name!r} is", picture.size, size)
    return Mask(resize_mask(values, size), tuple(notes), name)


def soften(mask: Tensor, radius: float) -> Tensor:
    """Blur the mask by a Gaussian whose standard deviation is ``radius`` pixels."""
    if radius < 0:
        raise OptionError(f"the radius to soften by must be at least 0, not {radius:g}")
    if radius == 0:
        return mask
    reach = max(1, round(3 * radius))
    steps = torch.arange(-reach, reach + 1, device=mask.device, dtype=mask.dtype)
    kernel = torch.exp(-0.5 * (steps / radius) ** 2)
    kernel = kernel / kernel.sum()
    for across in ((1, -1), (-1, 1)):
        border = (reach, reach, 0, 0) if across[1] == -1 else (0, 0, reach, reach)
        padded = functional.pad(mask, border, mode="replicate")
        mask = functional.conv2d(padded, kernel.view(1, 1, *across))
    return _bound(mask)


def shrink_mask(mask: Tensor, path: Sequence[str]) -> Tensor:
    """Return the mask at a layer (1, 1, h, w) whose features have come through ``path``.

    ``path`` is what lies between picture and layer: "conv" (3x3, padded by 1) and "pool" (2x2,
    the last odd row or column pooled alone), in the order they are computed.
    """
    # The rule: a feature counts by the darkest pixel that it has seen, which is the minimum over
    # its receptive field; a resized mask would let features that mix both sides into the
    # statistics of either. What lies outside the picture is on no side. But conv5_1 of VGG-19 sees
    # 156 pixels across, and of a region narrower than that nothing would remain. So where less
    # than a twentieth remains, those count that saw least of the other side. They are found by
    # the share of what they saw, by a chain of averages: its weights fall off from the middle as a
    # network's own do (Luo et al. 2016, "effective receptive field"; a deviation of 20 pixels at
    # conv5_1). Four fifths of the greatest share is one deviation inside a straight edge; from
    # there weights rise to 1, and the two rules are blended from a twentieth to nothing, so that
    # a mask that moves a little changes its weights a little.
    for step in path:
        if step not in _PATH:
            raise OptionError(f"unknown step {step!r} on the path to a layer{suggest(step, _PATH)}")
    peak = mask.max()
    if not peak > 0:
        return _erode(mask, path)
    eroded = _erode(mask, path)
    wanted = _LEAST_MASS * _average(mask, [step for step in path if step == "pool"]).sum()
    lacking = (1 - eroded.sum() / wanted).clamp(0, 1)
    if lacking == 0:
        return eroded
    share = _average(mask / peak, path)
    most = share.max()
    kept = peak * ((share / most - _NEAR_MOST) / (1 - _NEAR_MOST)).clamp(0, 1)
    return torch.lerp(eroded, kept, lacking)


def resize_mask(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a mask to another (width, height), antialiased."""
    if values.shape[-2:] == (size[1], size[0]):
        return values
    # Not bicubic: without overshoot ramps stay ramps, and the masks of labels still sum to 1.
    resized = functional.interpolate(
        values, size=(size[1], size[0]), mode="bilinear", align_corners=False, antialias=True
    )
    return _bound(resized)


def normalise_weights(mask: Tensor) -> Tensor:
    """Divide the mask by its sum, so that a weighted sum over positions is a mean."""
    mass = mask.sum((-2, -1), keepdim=True)
    return mask / mass.clamp_min(torch.finfo(mask.dtype).tiny)


def combine(mask: Tensor | None, alpha: Tensor | None) -> Tensor | None:
    """Multiply mask and alpha; None is 1 everywhere."""
    if mask is None or alpha is None:
        return alpha if mask is None else mask
    return mask * alpha


def composite(painted: Tensor, kept: Tensor, mask: Tensor) -> Tensor:
    """Return ``painted`` where the mask is white, ``kept`` where it is black, exactly."""
    return mask * painted + (1 - mask) * kept


def _bound(values: Tensor) -> Tensor:
    """Clamp to [0, 1], and make white again what weighted sums left just below."""
    return torch.where(values > 1 - _ROUNDING, 1.0, values.clamp(0, 1))


def describe_resizing(what: str, found: tuple[int, int], wanted: tuple[int, int]) -> list[str]:
    """Return a note if a mask of one (width, height) is wanted at another."""
    if found == wanted:
        return []
    # An aspect is only as exact as the shortest side's rounding to whole pixels.
    ratio = (found[0] * wanted[1]) / (found[1] * wanted[0])
    differs = abs(ratio - 1) > 1 / min(*found, *wanted)
    note = f"{what} {found[0]} x {found[1]}, resized to {wanted[0]} x {wanted[1]}"
    return [f"{note}, which is another aspect" if differs else note]


def _erode(mask: Tensor, path: Sequence[str]) -> Tensor:
    """Take the minimum over the receptive field; outside the picture is ignored."""
    dark = -mask  # max_pool2d pads with -inf, which is never the greatest
    for step, run in groupby(path):
        count = len(list(run))
        if step == "conv":
            # A row of 3x3 minima is one square minimum, and that is one by rows and columns.
            side = 2 * count + 1
            dark = functional.max_pool2d(dark, (1, side), stride=1, padding=(0, count))
            dark = functional.max_pool2d(dark, (side, 1), stride=1, padding=(count, 0))
        else:
            for _ in range(count):
                dark = functional.max_pool2d(dark, 2, ceil_mode=True)
    return dark.neg()


def _average(mask: Tensor, path: Sequence[str]) -> Tensor:
    """Average where the network convolves; outside the picture is ignored."""
    for step in path:
        if step == "conv":
            mask = functional.avg_pool2d(mask, 3, stride=1, padding=1, count_include_pad=False)
        else:
            mask = functional.avg_pool2d(mask, 2, ceil_mode=True, count_include_pad=False)
    return mask
