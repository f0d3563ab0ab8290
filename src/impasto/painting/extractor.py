"""Features of pictures that are seen whole or tile by tile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.errors import DeviceError
from impasto.images.tiles import Cells, Tile, choose_grid, cut_picture, find_stride, whole_tile
from impasto.losses.sampling import ColumnMap, draw_positions
from impasto.losses.statistics import Weights, widen
from impasto.networks.vgg import Backbone
from impasto.painting.loss_plan import PIXELS, Group, LossPlan

_NOWHERE = torch.zeros(0, 2)
FeatureMaps = dict[str, Tensor]  # layer -> features (1, C, H, W)


@dataclass(frozen=True)
class TileFeatures:
    """The features of a tile's core, and which cells of each layer they are."""

    features: FeatureMaps
    cells: dict[str, Cells]


class Extractor:
    """Gives the features that a plan's losses look at."""

    def __init__(self, backbone: Backbone, plan: LossPlan, device: torch.device) -> None:
        self.backbone, self.plan, self.device = backbone, plan, device
        self.strides = {name: find_stride(path) for name, path in plan.paths.items()}

    def cut(self, size: tuple[int, int], window: float, *, tileable: bool = False) -> list[Tile]:
        """Return tiles of at most ``window`` pixels for a picture (height, width)."""
        if size[0] * size[1] <= window and not tileable:
            return [whole_tile(*size)]
        grid = choose_grid(*size, window, *self.plan.tiling, tileable=tileable)
        if grid is None:
            raise DeviceError(f"out of memory: there is no room for a tile of {int(window)} pixels")
        return cut_picture(*size, grid, *self.plan.tiling, tileable=tileable)

    def find_cells(self, layer: str, tile: Tile, size: tuple[int, int]) -> Cells:
        """Return which cells of a layer are a tile's, of a picture of that size."""
        return tile.cells(self.strides[layer], size)

    def look(self, pixels: Tensor, layers: Iterable[str]) -> FeatureMaps:
        """Return features in the network's own precision, with the pixels themselves."""
        wanted = set(layers) - {PIXELS}
        maps: FeatureMaps = {PIXELS: pixels}
        return maps | self.backbone(pixels, wanted) if wanted else maps

    def extract(
        self, window: Tensor, layers: Iterable[str], tile: Tile, size: tuple[int, int]
    ) -> TileFeatures:
        """Return the features of a tile's core from the pixels in its window."""
        maps = self.look(window, layers)
        cells = {name: self.find_cells(name, tile, size) for name in maps}
        return TileFeatures({n: tile.inner(self.strides[n]).of(f) for n, f in maps.items()}, cells)

    def shift(self, seen: TileFeatures) -> TileFeatures:
        """Return features with the activation shift added (Novak and Nikulin 2016, 3.3).

        Gram matrices of F + shift are not sparse, and distinguish what is absent from what is
        there.
        """
        if not self.plan.activation_shift:
            return seen
        return TileFeatures(self.shift_maps(seen.features), seen.cells)

    def shift_maps(self, maps: FeatureMaps) -> FeatureMaps:
        """Return features with the shift added, and the pixels as they are."""
        by = self.plan.activation_shift
        return {n: f if n == PIXELS or not by else widen(f) + by for n, f in maps.items()}

    def map_columns(self, group: Group) -> ColumnMap | None:
        """Return what takes a group's columns into the space they are compared in, if another."""
        space = self.plan.space
        if not any(name in space for name in group):
            return None
        widths = tuple(3 if n == PIXELS else self.backbone.count_channels(n) for n in group)
        maps = [space.get(name) for name in group]
        return ColumnMap(widths, tuple(m if m is None else m.to(self.device) for m in maps))

    def draw(
        self,
        count: int,
        group: Group,
        weights: Weights,
        size: tuple[int, int],
        generator: torch.Generator,
    ) -> Tensor:
        """Return so many positions for a loss to look at; none for one that does not sample."""
        if not count:
            return _NOWHERE
        shape = self.find_cells(group[-1], whole_tile(*size), size).whole
        return draw_positions(weights, count, generator, shape).to(self.device)
