"""The gradient of a total whose statistics were added up tile by tile.

Every statistic is a sum over positions, so a picture that is too large to be seen at once is seen
tile by tile, twice: first its statistics are added up; then, the total's gradient by each of them
being known, each tile is seen again and its share of the gradient taken. This gives the same
numbers as seeing the picture whole, but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from impasto.images.tiles import Box, Tile, whole_tile
from impasto.painting.criterion import Criterion, Parts, Scales
from impasto.painting.extractor import TileFeatures
from impasto.painting.loss_plan import PIXELS
from impasto.painting.terms import Gathered, add_statistics


class KnownGradient(torch.autograd.Function):
    """A total whose gradient was taken already."""

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, total: Tensor, gradient: Tensor | None) -> Tensor:  # noqa: ARG004
        ctx.gradient = gradient
        return total.clone()

    @staticmethod
    def backward(ctx: Any, arriving: Tensor) -> tuple[Tensor, None, None]:
        gradient, ctx.gradient = ctx.gradient, None
        return gradient.mul_(arriving), None, None


class TiledTotal:
    """A criterion of a picture that is seen tile by tile, at positions that were drawn."""

    def __init__(self, criterion: Criterion, tiles: Sequence[Tile], where: list[Tensor]) -> None:
        self.criterion, self.tiles, self.where = criterion, tiles, where

    def evaluate(self, pixels: Tensor, generator: torch.Generator) -> tuple[Tensor, Parts]:
        """Return the total, to be differentiated, and its parts."""
        wanted, whole = pixels.requires_grad and torch.is_grad_enabled(), pixels.detach()
        gathered = self._gather_all(whole)
        with torch.enable_grad():
            whole.requires_grad_()
            leaves = [tensor.requires_grad_() for each in gathered for tensor in each]
            self._gather_whole(whole, gathered)
            total, parts = self.criterion.weigh(gathered, generator)
        parts = {name: part.detach() for name, part in parts.items()}
        gradient = None
        if wanted:
            *arriving, gradient = torch.autograd.grad(
                total, [*leaves, whole], allow_unused=True, materialize_grads=True
            )
            whole.requires_grad_(False)
            self._add_gradients(whole, gradient, arriving)
        return KnownGradient.apply(pixels, total.detach(), gradient), parts  # type: ignore[no-untyped-call]

    def _gather_all(self, pixels: Tensor) -> Gathered:
        """Return all statistics but those of terms that must see the whole picture."""
        gathered: Gathered = []
        with torch.no_grad():
            for tile in self.tiles:
                more = self.criterion.gather(tile.window.of(pixels), tile, self.where, {})
                gathered = add_statistics(gathered, more)
        return gathered

    def _gather_whole(self, pixels: Tensor, gathered: Gathered) -> None:
        """Put in the statistics of terms that must see the whole picture."""
        criterion = self.criterion
        tall, wide = criterion.size
        for i, term in enumerate(criterion.terms):
            if criterion.sees_whole(term):
                whole = whole_tile(tall, wide)
                cells = {PIXELS: criterion.extractor.find_cells(PIXELS, whole, criterion.size)}
                inside = Box(0, 0, tall, wide).shift(self.tiles[0].margin).of(pixels)
                seen = criterion.scale_gradient(i, TileFeatures({PIXELS: inside}, cells), None)
                gathered[i] = term.gather(seen, self.where[i])

    def _add_gradients(self, pixels: Tensor, gradient: Tensor, arriving: list[Tensor]) -> None:
        """Add each tile's share of the gradient, given the total's by every statistic."""
        scales: Scales = {}
        if self.criterion.extractor.plan.normalize_gradients == "l1":
            scales = self._measure_scales(pixels, arriving)
        for tile in self.tiles:
            with torch.enable_grad():
                window = tile.window.of(pixels).detach().requires_grad_()
                gathered = self.criterion.gather(window, tile, self.where, scales)
            tensors = [tensor for each in gathered for tensor in each]
            tile.window.of(gradient).add_(take_gradient(tensors, arriving, [window])[0])
            del tensors, gathered  # and their graph, before the next one

    def _measure_scales(self, pixels: Tensor, arriving: list[Tensor]) -> Scales:
        """Return the L1 norm, over all tiles, of each term's gradient at each of its layers."""
        extractor, scales = self.criterion.extractor, Scales()
        for tile in self.tiles:
            with torch.no_grad():
                window, layers = tile.window.of(pixels), extractor.plan.layers
                seen = extractor.extract(window, layers, tile, self.criterion.size)
            with torch.enable_grad():
                leaves = {n: f.detach().requires_grad_() for n, f in seen.features.items()}
                features = TileFeatures(leaves, seen.cells)
                gathered = self.criterion.gather_terms(features, self.where, scales)
            for scale in scales.values():
                scale.measuring = True
            take_gradient([t for each in gathered for t in each], arriving, [*leaves.values()])
        for scale in scales.values():
            scale.measuring = False
        return scales


def take_gradient(
    tensors: Sequence[Tensor], arriving: Sequence[Tensor], leaves: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Return the leaves' gradient of the tensors' sum, each times the gradient arriving at it."""
    used = [(t, a) for t, a in zip(tensors, arriving, strict=False) if t.requires_grad]
    return torch.autograd.grad(
        [tensor for tensor, _ in used],
        leaves,
        [gradient for _, gradient in used],
        allow_unused=True,
        materialize_grads=True,
    )
