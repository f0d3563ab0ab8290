"""Regions of pictures: read, check, soften, shrink to a layer.

A mask is float (1, 1, H, W) in [0, 1]; white (1) says yes. Label maps are pictures in which each
colour is a region, and the same colour in two of them means the same thing; they become one pair
of masks for each colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional

from impasto.errors import ImageError, OptionError, suggest
from impasto.images import DEFAULT_MEGAPIXELS, ImageSource, Picture, read_image

LUMA = (0.299, 0.587, 0.114)  # Rec. 601, as PIL makes grey
BLACK = 0.5 / 255  # what 8 bits would round to black
ROUNDING = 1e-6  # of weights that sum to 1
STEPS = ("conv", "pool")  # what lies between a picture and a layer

LEAST_MASS = 0.05  # of a region's mass that erosion must leave, or shares count instead
NEAR_MOST = 0.8  # of the greatest share, below which features do not count

LEAST_SHARE = 0.002  # of a label map; stray colours that cover less are given to the nearest label
NEAR_COLOR = 40.0  # 8-bit levels, Euclidean, by which JPEG moves a label's colour at most
FLAT = 8  # levels by which neighbours may differ inside a compressed label
FEW_COLORS = 8  # so few are a drawing and no compression
MANY_COLORS = 1024  # so many are a photograph
NO_COLOR = -1000  # stands for transparent pixels; far from every colour


@dataclass(frozen=True)
class Mask:
    """One region of a picture."""

    values: Tensor  # (1, 1, H, W) in [0, 1]
    notes: tuple[str, ...]  # what was done in the user's stead, one short line each
    name: str  # for messages


@dataclass(frozen=True)
class LabelPair:
    """One label: where it is in the content and where in the style."""

    color: tuple[int, int, int]  # 8-bit levels, as the content's map has it
    content: Tensor  # (1, 1, H, W) in [0, 1]
    style: Tensor  # (1, 1, h, w) in [0, 1]


@dataclass(frozen=True)
class _LabelMap:
    name: str
    notes: tuple[str, ...]
    index: Tensor  # (H, W) into colors, -1 where transparent
    colors: Tensor  # (U, 3) 8-bit levels, all that occur
    shares: Tensor  # (U,) of the picture
    labels: Tensor  # (L, 3), the real ones among them
    exact: bool  # whether the file kept its colours as they were drawn


def read_mask(
    source: ImageSource,
    size: tuple[int, int],
    *,
    name: str | None = None,
    max_megapixels: float = DEFAULT_MEGAPIXELS,
) -> Mask:
    """The mask that any picture holds, at ``size`` (width, height)."""
    picture = read_image(source, max_megapixels=max_megapixels)
    name = picture.name if name is None else name
    luma = torch.tensor(LUMA).view(1, 3, 1, 1)
    values = (picture.pixels * luma).sum(1, keepdim=True)  # (1, 1, H, W)
    if picture.alpha is not None:
        values = values * picture.alpha
    values = torch.where(values < BLACK, 0.0, values.clamp(0, 1))
    if not values.any():
        raise ImageError(f"mask {name!r} is all black: nothing would count; white is what counts")
    notes = [f"mask {name!r}: {note}" for note in picture.notes]
    notes += _say_resized(f"mask {name!r} is", picture.size, size)
    return Mask(resize_mask(values, size), tuple(notes), name)


def read_labels(
    content_labels: ImageSource,
    style_labels: ImageSource,
    content_size: tuple[int, int],
    style_size: tuple[int, int],
    *,
    max_megapixels: float = DEFAULT_MEGAPIXELS,
) -> tuple[list[LabelPair], tuple[str, ...]]:
    """The labels of two maps, the largest in the content first, and notes."""
    pictures = [
        read_image(labels, max_megapixels=max_megapixels)
        for labels in (content_labels, style_labels)
    ]
    names = [picture.name for picture in pictures]
    # Of two files of one name a message would not tell which is meant.
    names = ["content", "style"] if names[0] == names[1] else names
    content, style = (_find_labels(*both) for both in zip(pictures, names, strict=True))
    ours, theirs = _pair_labels(content, style)
    _check_partners(content, ours, style)
    _check_partners(style, theirs, content)
    colors = (content.labels[ours], style.labels[theirs])
    found = [_nearest(content, colors[0]), _nearest(style, colors[1])]
    order = _label_shares(content, colors[0]).argsort(descending=True, stable=True).tolist()
    pairs = []
    for label in order:
        red, green, blue = colors[0][label].tolist()
        here, there = (
            resize_mask(_where(side, numbers == label), size)
            for side, numbers, size in zip(
                (content, style), found, (content_size, style_size), strict=True
            )
        )
        pairs.append(LabelPair((red, green, blue), here, there))
    notes = [
        *_say_labels(content, colors[0], content_size),
        *_say_labels(style, colors[1], style_size),
    ]
    return pairs, tuple(notes)


def soften(mask: Tensor, radius: float) -> Tensor:
    """The mask feathered by a Gaussian whose deviation is ``radius`` pixels."""
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
    """The mask at a layer (1, 1, h, w) whose features have come through ``path``.

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
    # nothing jumps when a mask moves.
    for step in path:
        if step not in STEPS:
            raise OptionError(f"unknown step {step!r} on the path to a layer{suggest(step, STEPS)}")
    peak = mask.max()
    if not peak > 0:
        return _erode(mask, path)
    eroded = _erode(mask, path)
    wanted = LEAST_MASS * _average(mask, [step for step in path if step == "pool"]).sum()
    lacking = (1 - eroded.sum() / wanted).clamp(0, 1)
    if lacking == 0:
        return eroded
    share = _average(mask / peak, path)
    most = share.max()
    kept = peak * ((share / most - NEAR_MOST) / (1 - NEAR_MOST)).clamp(0, 1)
    return torch.lerp(eroded, kept, lacking)


def resize_mask(values: Tensor, size: tuple[int, int]) -> Tensor:
    """A mask at another (width, height), antialiased."""
    if values.shape[-2:] == (size[1], size[0]):
        return values
    # Not bicubic: without overshoot ramps stay ramps, and the masks of labels still sum to 1.
    resized = functional.interpolate(
        values, size=(size[1], size[0]), mode="bilinear", align_corners=False, antialias=True
    )
    return _bound(resized)


def normalise(mask: Tensor) -> Tensor:
    """The mask divided by its mass, so that a weighted sum over positions is a mean."""
    mass = mask.sum((-2, -1), keepdim=True)
    return mask / mass.clamp_min(torch.finfo(mask.dtype).tiny)


def combine(mask: Tensor | None, alpha: Tensor | None) -> Tensor | None:
    """Where both say yes; None says yes everywhere."""
    if mask is None or alpha is None:
        return alpha if mask is None else mask
    return mask * alpha


def composite(painted: Tensor, kept: Tensor, mask: Tensor) -> Tensor:
    """``painted`` where the mask is white, ``kept`` where it is black, exactly."""
    return mask * painted + (1 - mask) * kept


def _bound(values: Tensor) -> Tensor:
    """In [0, 1], white still white after weighted sums."""
    return torch.where(values > 1 - ROUNDING, 1.0, values.clamp(0, 1))


def _say_resized(what: str, found: tuple[int, int], wanted: tuple[int, int]) -> list[str]:
    if found == wanted:
        return []
    # An aspect is only as exact as the shortest side's rounding to whole pixels.
    ratio = (found[0] * wanted[1]) / (found[1] * wanted[0])
    differs = abs(ratio - 1) > 1 / min(*found, *wanted)
    note = f"{what} {found[0]} x {found[1]}, resized to {wanted[0]} x {wanted[1]}"
    return [f"{note}, which is another aspect" if differs else note]


def _erode(mask: Tensor, path: Sequence[str]) -> Tensor:
    """The minimum over the receptive field; outside the picture is ignored."""
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
    """Averages instead of convolutions; outside the picture is ignored."""
    for step in path:
        if step == "conv":
            mask = functional.avg_pool2d(mask, 3, stride=1, padding=1, count_include_pad=False)
        else:
            mask = functional.avg_pool2d(mask, 2, ceil_mode=True, count_include_pad=False)
    return mask


def _find_labels(picture: Picture, name: str) -> _LabelMap:
    """The colours of a label map, and which of them were meant."""
    levels = (picture.pixels[0] * 255).round().int()  # (3, H, W)
    if picture.alpha is not None:
        levels = torch.where(picture.alpha[0] < 0.5, NO_COLOR, levels)
    codes = _codes(levels)  # (H, W), negative if transparent
    found, index, counts = torch.unique(codes, return_inverse=True, return_counts=True)
    if found[0] < 0:
        found, index, counts = found[1:], index - 1, counts[1:]
    if not len(found):
        raise ImageError(f"label map {name!r} is transparent everywhere; paint its regions")
    colors = torch.stack([found >> 16, (found >> 8) & 255, found & 255], dim=1)  # (U, 3)
    shares = counts / index.numel()
    solid = torch.zeros(len(found), dtype=torch.bool)
    if len(found) <= MANY_COLORS:
        # Drawn regions have corners at their sharpest, of which 3 neighbours are alike.
        solid = 2 * _count_at(index, _alike(codes[None], 0) >= 3, len(found)) >= counts
    exact = len(found) <= FEW_COLORS or float(shares[~solid].sum()) <= LEAST_SHARE
    if exact:
        # The edges of a drawing may be blended all the same, but of its own colours.
        labels = torch.cat([colors[solid], _unblended(colors[~solid], colors[solid])])
    else:
        votes = _count_at(index, _alike(levels, FLAT) == 8, len(found))
        labels = _merge(colors, votes / index.numel())
    if not len(labels):
        what = f"label map {name!r} has {len(found)} colours and no region of one"
        raise ImageError(f"{what}; draw each region in one colour and save it as png")
    return _LabelMap(name, picture.notes, index, colors, shares, labels, exact)


def _codes(levels: Tensor) -> Tensor:
    """One number for each colour (3, …)."""
    return (levels[0] << 16) + (levels[1] << 8) + levels[2]


def _alike(levels: Tensor, within: int) -> Tensor:
    """How many of a pixel's 8 neighbours are like it, (H, W); beyond the border all are."""
    height, width = levels.shape[1:]
    padded = functional.pad(levels[None].float(), (1, 1, 1, 1), mode="replicate")[0]
    alike = torch.zeros(height, width, dtype=torch.uint8)
    for y, x in [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]:
        apart = (padded[:, y : y + height, x : x + width] - levels).abs().amax(0)
        alike += apart <= within
    return alike


def _count_at(index: Tensor, chosen: Tensor, colors: int) -> Tensor:
    """How many chosen pixels each colour has, (U,)."""
    return torch.bincount(index[chosen & (index >= 0)], minlength=colors)


def _unblended(colors: Tensor, solid: Tensor) -> Tensor:
    """Those of the thin ``colors`` that are not on the way from one solid colour to another."""
    ends = torch.combinations(torch.arange(len(solid)))
    start, way = solid[ends[:, 0]].float(), (solid[ends[:, 1]] - solid[ends[:, 0]]).float()
    kept = []
    for color in colors:
        # Resizing overshoots by less than a sixth.
        along = ((color - start) * way).sum(1) / way.square().sum(1)
        nearest = start + along.clamp(-1 / 6, 7 / 6)[:, None] * way
        if not ((color - nearest).norm(dim=1) <= FLAT).any():
            kept.append(color)
    return torch.stack(kept) if kept else colors[:0]


def _merge(colors: Tensor, votes: Tensor) -> Tensor:
    """Colours that stand for enough votes of colours near them, the most voted first."""
    colors, votes = colors[votes > 0], votes[votes > 0]
    labels = []
    while float(votes.sum()) >= LEAST_SHARE:
        leader = colors[votes.argmax()]
        near = (colors - leader).float().norm(dim=1) <= NEAR_COLOR
        if float(votes[near].sum()) >= LEAST_SHARE:
            labels.append(leader)
        colors, votes = colors[~near], votes[~near]
    return torch.stack(labels) if labels else colors[:0]


def _pair_labels(content: _LabelMap, style: _LabelMap) -> tuple[list[int], list[int]]:
    """Numbers of the labels that mean the same in both, the likest first."""
    # Drawn maps may number their regions by neighbouring greys: there only equals are the same.
    most = 0.0 if content.exact and style.exact else NEAR_COLOR
    apart = torch.cdist(content.labels.float()[None], style.labels.float()[None])[0]
    apart = torch.where((content.labels[:, None] == style.labels).all(2), 0.0, apart.clamp_min(0.5))
    ours, theirs = [], []
    while float(apart.min()) <= most:
        i, j = divmod(int(apart.argmin()), apart.shape[1])
        ours.append(i)
        theirs.append(j)
        apart[i], apart[:, j] = torch.inf, torch.inf
    return ours, theirs


def _check_partners(side: _LabelMap, paired: list[int], other: _LabelMap) -> None:
    """An error for the largest label without a partner, unless it is a speck."""
    alone = [label for label in range(len(side.labels)) if label not in paired]
    if not alone:
        return
    shares = _label_shares(side, side.labels)
    largest = max(alone, key=lambda label: float(shares[label]))
    if paired and shares[largest] < LEAST_SHARE:
        return
    what = f"label {_hex(side.labels[largest])} ({_percent(shares[largest])} of {side.name!r})"
    others = [_hex(color) for color in other.labels]
    if len(others) > 8:
        others[8:] = [f"{len(others) - 8} more"]
    raise ImageError(f"{what} has no partner in {other.name!r}, which has {', '.join(others)}")


def _nearest(side: _LabelMap, labels: Tensor) -> Tensor:
    """The number of the label nearest to each colour, (U,)."""
    numbers = torch.zeros(len(side.colors), dtype=torch.long)
    least = torch.full((len(side.colors),), torch.inf)
    for number, label in enumerate(labels):  # one by one: a photograph has a million colours
        apart = (side.colors - label).float().norm(dim=1)
        numbers[apart < least] = number
        least = torch.minimum(least, apart)
    return numbers


def _label_shares(side: _LabelMap, labels: Tensor) -> Tensor:
    """What part of the picture each label has, (L,)."""
    return torch.zeros(len(labels)).index_add(0, _nearest(side, labels), side.shares)


def _where(side: _LabelMap, chosen: Tensor) -> Tensor:
    """(1, 1, H, W), white where the chosen (U,) colours are."""
    # Transparent pixels point at the last, which is none of them.
    return functional.pad(chosen, (0, 1))[side.index].float()[None, None]


def _say_labels(side: _LabelMap, labels: Tensor, size: tuple[int, int]) -> list[str]:
    notes = [f"label map {side.name!r}: {note}" for note in side.notes]
    own = torch.isin(_codes(side.colors.T), _codes(labels.T))  # (U,)
    moved = side.shares[~own].sum()
    if moved > 0:
        kept = f"{len(labels)} label colour{'s' if len(labels) > 1 else ''}"
        given = f"gave {_percent(moved)} of its pixels to the nearest of {kept}"
        notes.append(f"label map {side.name!r} has {len(side.colors)} colours: {given}")
    height, width = side.index.shape
    return notes + _say_resized(f"label map {side.name!r} is", (width, height), size)


def _hex(color: Tensor) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color.tolist())


def _percent(share: Tensor) -> str:
    percent = 100 * float(share)
    return f"{percent:.3g} %" if percent >= 0.01 else "less than 0.01 %"
