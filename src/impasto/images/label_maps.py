"""Label maps: two pictures in whose colours regions of photograph and style are paired."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from impasto.errors import ImageError
from impasto.images.masks import describe_resizing, resize_mask
from impasto.images.opening import DEFAULT_MEGAPIXELS
from impasto.images.picture import ImageSource, Picture
from impasto.images.reading import read_image

_LEAST_SHARE = 0.002  # of a label map; stray colours that cover less are given to the nearest label
_NEAR_COLOR = 40.0  # 8-bit levels, Euclidean, by which JPEG moves a label's colour at most
_FLAT = 8  # levels by which neighbours may differ inside a compressed label
_FEW_COLORS = 8  # so few are a drawing and no compression
_MANY_COLORS = 1024  # so many are a photograph
_NO_COLOR = -1000  # stands for transparent pixels; far from every colour


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


def read_labels(
    content_labels: ImageSource,
    style_labels: ImageSource,
    content_size: tuple[int, int],
    style_size: tuple[int, int],
    *,
    max_megapixels: float = DEFAULT_MEGAPIXELS,
) -> tuple[list[LabelPair], tuple[str, ...]]:
    """Read the labels of two maps, the largest in the content first; return notes too."""
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


def _find_labels(picture: Picture, name: str) -> _LabelMap:
    """Find the colours of a label map, and which of them were meant."""
    levels = (picture.pixels[0] * 255).round().int()  # (3, H, W)
    if picture.alpha is not None:
        levels = torch.where(picture.alpha[0] < 0.5, _NO_COLOR, levels)
    codes = _codes(levels)  # (H, W), negative if transparent
    found, index, counts = torch.unique(codes, return_inverse=True, return_counts=True)
    if found[0] < 0:
        found, index, counts = found[1:], index - 1, counts[1:]
    if not len(found):
        raise ImageError(f"label map {name!r} is transparent everywhere; paint its regions")
    colors = torch.stack([found >> 16, (found >> 8) & 255, found & 255], dim=1)  # (U, 3)
    shares = counts / index.numel()
    solid = torch.zeros(len(found), dtype=torch.bool)
    if len(found) <= _MANY_COLORS:
        # Drawn regions have corners at their sharpest, of which 3 neighbours are alike.
        solid = 2 * _count_at(index, _alike(codes[None], 0) >= 3, len(found)) >= counts
    exact = len(found) <= _FEW_COLORS or float(shares[~solid].sum()) <= _LEAST_SHARE
    if exact:
        # The edges of a drawing may be blended all the same, but of its own colours.
        labels = torch.cat([colors[solid], _unblended(colors[~solid], colors[solid])])
    else:
        votes = _count_at(index, _alike(levels, _FLAT) == 8, len(found))
        labels = _merge(colors, votes / index.numel())
    if not len(labels):
        what = f"label map {name!r} has {len(found)} colours and no region of one"
        raise ImageError(f"{what}; draw each region in one colour and save it as png")
    return _LabelMap(name, picture.notes, index, colors, shares, labels, exact)


def _codes(levels: Tensor) -> Tensor:
    """Return one number for each colour (3, …)."""
    return (levels[0] << 16) + (levels[1] << 8) + levels[2]


def _alike(levels: Tensor, within: int) -> Tensor:
    """Count those of a pixel's 8 neighbours that are like it, (H, W); beyond the border all are."""
    height, width = levels.shape[1:]
    padded = functional.pad(levels[None].float(), (1, 1, 1, 1), mode="replicate")[0]
    alike = torch.zeros(height, width, dtype=torch.uint8)
    for y, x in [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]:
        apart = (padded[:, y : y + height, x : x + width] - levels).abs().amax(0)
        alike += apart <= within
    return alike


def _count_at(index: Tensor, chosen: Tensor, colors: int) -> Tensor:
    """Count the chosen pixels of each colour, (U,)."""
    return torch.bincount(index[chosen & (index >= 0)], minlength=colors)


def _unblended(colors: Tensor, solid: Tensor) -> Tensor:
    """Return those of the thin ``colors`` that are no blend of two solid colours."""
    ends = torch.combinations(torch.arange(len(solid)))
    start, way = solid[ends[:, 0]].float(), (solid[ends[:, 1]] - solid[ends[:, 0]]).float()
    kept = []
    for color in colors:
        # Resizing overshoots by less than a sixth.
        along = ((color - start) * way).sum(1) / way.square().sum(1)
        nearest = start + along.clamp(-1 / 6, 7 / 6)[:, None] * way
        if not ((color - nearest).norm(dim=1) <= _FLAT).any():
            kept.append(color)
    return torch.stack(kept) if kept else colors[:0]


def _merge(colors: Tensor, votes: Tensor) -> Tensor:
    """Return colours with enough votes, near colours' included, the most voted first."""
    colors, votes = colors[votes > 0], votes[votes > 0]
    labels = []
    while float(votes.sum()) >= _LEAST_SHARE:
        leader = colors[votes.argmax()]
        near = (colors - leader).float().norm(dim=1) <= _NEAR_COLOR
        if float(votes[near].sum()) >= _LEAST_SHARE:
            labels.append(leader)
        colors, votes = colors[~near], votes[~near]
    return torch.stack(labels) if labels else colors[:0]


def _pair_labels(content: _LabelMap, style: _LabelMap) -> tuple[list[int], list[int]]:
    """Return the numbers of the labels that mean the same in both, the most alike first."""
    # Drawn maps may number their regions by neighbouring greys: there only equals are the same.
    most = 0.0 if content.exact and style.exact else _NEAR_COLOR
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
    """Raise an error for the largest label without a partner, unless it is a speck."""
    alone = [label for label in range(len(side.labels)) if label not in paired]
    if not alone:
        return
    shares = _label_shares(side, side.labels)
    largest = max(alone, key=lambda label: float(shares[label]))
    if paired and shares[largest] < _LEAST_SHARE:
        return
    what = f"label {_hex(side.labels[largest])} ({_percent(shares[largest])} of {side.name!r})"
    others = [_hex(color) for color in other.labels]
    if len(others) > 8:
        others[8:] = [f"{len(others) - 8} more"]
    raise ImageError(f"{what} has no partner in {other.name!r}, which has {', '.join(others)}")


def _nearest(side: _LabelMap, labels: Tensor) -> Tensor:
    """Return the number of the label nearest to each colour, (U,)."""
    numbers = torch.zeros(len(side.colors), dtype=torch.long)
    least = torch.full((len(side.colors),), torch.inf)
    for number, label in enumerate(labels):  # one by one: a photograph has a million colours
        apart = (side.colors - label).float().norm(dim=1)
        numbers[apart < least] = number
        least = torch.minimum(least, apart)
    return numbers


def _label_shares(side: _LabelMap, labels: Tensor) -> Tensor:
    """Return the share of the picture that each label has, (L,)."""
    return torch.zeros(len(labels)).index_add(0, _nearest(side, labels), side.shares)


def _where(side: _LabelMap, chosen: Tensor) -> Tensor:
    """Return a mask (1, 1, H, W), white where the chosen (U,) colours are."""
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
    return notes + describe_resizing(f"label map {side.name!r} is", (width, height), size)


def _hex(color: Tensor) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color.tolist())


def _percent(share: Tensor) -> str:
    percent = 100 * float(share)
    return f"{percent:.3g} %" if percent >= 0.01 else "less than 0.01 %"
