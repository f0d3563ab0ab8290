"""Positions of a picture that the losses which sample look at, and the features there.

Positions are (n, 2), fractions (y, x) in [0, 1), so that they mean the same at every layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.errors import OptionError
from impasto.images.tiles import Cells
from impasto.losses.statistics import Weights, widen

FeatureGroup = tuple[Tensor, ...]


@dataclass(frozen=True)
class ColumnMap:
    """An affine map of columns (n, sum of C) into another space, each layer by itself.

    A layer's map is (C+1, D), the last row what is added to all; None leaves it as it is.
    """

    widths: tuple[int, ...]  # C of each layer
    maps: tuple[Tensor | None, ...]

    def __call__(self, columns: Tensor) -> Tensor:
        """Return columns in the other space."""
        return self._map(columns, shift=True)

    def map_difference(self, columns: Tensor) -> Tensor:
        """Return differences of columns in the other space."""
        return self._map(columns, shift=False)

    def _map(self, columns: Tensor, *, shift: bool) -> Tensor:
        parts = torch.split(columns, list(self.widths), 1)
        mapped = []
        for part, given in zip(parts, self.maps, strict=True):
            if given is None:
                mapped.append(part)
                continue
            to = given.to(part)
            mapped.append(part @ to[:-1] + to[-1] if shift else part @ to[:-1])
        return torch.cat(mapped, 1)


def draw_positions(
    weights: Weights, count: int, draw: torch.Generator, shape: tuple[int, int] | None = None
) -> Tensor:
    """Draw positions (n, 2) in proportion to the weights, one from each of ``count`` equal shares.

    Where ``count`` suffices for every cell of a mask without shades, these are the cells' centres.
    Of weights that are one number, the layer's ``shape`` must be said.
    """
    flat = None  # weights of the cells (n,); None if all are the same
    if isinstance(weights, Tensor):
        shape = (weights.shape[-2], weights.shape[-1])
        flat = weights.detach().cpu().double().flatten()  # (H*W,)
        cells = flat.nonzero().squeeze(1)  # cells of no weight take no part
        if len(cells) == 0:
            raise OptionError("weights of zeros leave no position to look at")
        flat, number = flat[cells], len(cells)
    else:
        assert shape is not None
        number = shape[0] * shape[1]
        cells = torch.arange(number if count >= number else 0)
    offsets = torch.full((len(cells), 2), 0.5, dtype=torch.float64)
    if count < number or (flat is not None and flat.max() > flat.min() * (1 + 1e-6)):
        shares = torch.arange(count) + torch.rand(count, generator=draw, dtype=torch.float64)
        if flat is None:
            cells = (shares / count * number).long().clamp_max(number - 1)
        else:
            sums = flat.cumsum(0)
            picked = torch.searchsorted(sums, shares / count * sums[-1], right=True)
            cells = cells[picked.clamp_max(len(cells) - 1)]
        # Anywhere in the cell, so that finer layers see all of theirs; not on its very edge, where
        # rounding would give it to the neighbour.
        offsets = 0.01 + 0.98 * torch.rand(count, 2, generator=draw, dtype=torch.float64)
    corners = torch.stack([cells // shape[1], cells % shape[1]], 1)  # (n, 2)
    return ((corners + offsets) / torch.tensor(shape)).float()


def sample_features(
    features: FeatureGroup, positions: Tensor, cells: Sequence[Cells] | None = None
) -> Tensor:
    """Return features at the nearest cells, all layers side by side (n, sum of C).

    Where a position lies in none of the ``cells`` that these features are, they are zeros, so that
    tiles add up to the whole.
    """
    columns = []
    for i, layer in enumerate(features):
        place = cells[i] if cells else None
        height, width = place.whole if place else layer.shape[-2:]
        y = (positions[:, 0] * height).long().clamp_max(height - 1)
        x = (positions[:, 1] * width).long().clamp_max(width - 1)
        if place is None or place.is_whole:
            columns.append(widen(layer[0].permute(1, 2, 0)[y, x]))  # (n, C)
            continue
        y, x = y - place.box.top, x - place.box.left
        tall, wide = place.box.shape
        inside = (y >= 0) & (y < tall) & (x >= 0) & (x < wide)
        found = widen(layer[0].permute(1, 2, 0)[y[inside], x[inside]])
        columns.append(found.new_zeros(len(positions), layer.shape[1]).index_put((inside,), found))
    return torch.cat(columns, 1)


def sample_columns(
    features: FeatureGroup, positions: Tensor, cells: Sequence[Cells] | None = None
) -> Tensor:
    """Return features interpolated bilinearly, all layers side by side (n, sum of C).

    Beyond the centres of a picture's outermost cells these go on as they are. What tiles lack of a
    position counts as zeros, so that tiles add up to the whole.
    """
    columns = []
    for i, layer in enumerate(features):
        place = cells[i] if cells else None
        height, width = place.whole if place else layer.shape[-2:]
        top, left = (place.box.top, place.box.left) if place else (0, 0)
        tall, wide = layer.shape[-2:]
        # In the whole picture's cells, so that tiles round as the whole does.
        rows, shares_down = surround(positions[:, 0], height)
        across, shares_across = surround(positions[:, 1], width)
        y, x = rows[:, :, None] - top, across[:, None, :] - left  # (n, 2, 1), (n, 1, 2)
        inside = (y >= 0) & (y < tall) & (x >= 0) & (x < wide)  # (n, 2, 2)
        shares = (shares_down[:, :, None] * shares_across[:, None, :] * inside).flatten(1)
        at = (y.clamp(0, tall - 1) * wide + x.clamp(0, wide - 1)).flatten(1)  # (n, 4)
        found = layer[0].permute(1, 2, 0).flatten(0, 1)[at]  # (n, 4, C)
        found = widen(found)
        columns.append((found * shares[..., None].to(found)).sum(1))
    return torch.cat(columns, 1)


def surround(places: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the two cells around each place (n, 2), and their shares by how near they are."""
    at = (places * size - 0.5).clamp(0, size - 1)
    low = at.floor()
    part = at - low
    cells = torch.stack([low, (low + 1).clamp_max(size - 1)], 1).long()
    return cells, torch.stack([1 - part, part], 1)
