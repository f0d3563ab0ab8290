"""Style losses: how far the statistics of some features are from those of a style.

A loss says which layers it looks at together (``groups``), gathers statistics of their features,
blends the statistics of several styles into a target, and compares. Features are (1, C, H, W), one
for each layer of a group; the layer ``pixels`` is the picture itself. Weights are (1, 1, H, W), not
negative, with sum one over the picture: a mask, alpha or region acts through them. What is summed
by weights adds up over tiles; losses that compare lists of features look at ``samples`` positions
(n, 2), drawn in proportion to the weights, as fractions (y, x) in [0, 1). One number instead of a
tensor is the weight of every position.

Two normalisations: ``relative`` divides by the target's own size, so that a weight means the same
for every loss, layer, network and picture size (0: the same; 1: as far away as features of zeros,
but for the cosines, which bound themselves); ``paper`` is what the paper prints.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from impasto.images.tiles import Cells
from impasto.losses.sampling import FeatureGroup, sample_columns, sample_features
from impasto.losses.statistics import Weights

Statistics = tuple[Tensor, ...]

TINY = 1e-12  # of sizes that divide: a black style divides by this


class StyleLoss(ABC):
    """A way to compare statistics of features; it keeps nothing between calls."""

    samples: int = 0  # how many positions it looks at; 0: all, by their weights
    pool: int = 0  # how many of the style; 0: as many
    interpolates: bool = False  # whether it looks between cells
    is_guided: bool = False  # whether a guide may help it to find what it compares with
    copies: bool = False  # whether it keeps copies of features in float32

    def groups(self, layers: Sequence[str]) -> list[tuple[str, ...]]:
        """Return the layers that are looked at together, of layers from shallow to deep."""
        return [(layer,) for layer in layers]

    def gather(
        self,
        features: FeatureGroup,
        weights: tuple[Weights, ...],
        positions: Tensor,
        cells: Sequence[Cells] | None = None,
    ) -> Statistics:
        """Return statistics of one group, or of the ``cells`` of a tile.

        They are sums, or features at ``positions``; those of the tiles add up to the whole's.
        """
        if self.samples:
            return (self.sample(features, weights, positions, cells),)
        return self.sum_up(features, weights)

    def sample(
        self,
        features: FeatureGroup,
        weights: tuple[Weights, ...],
        positions: Tensor,
        cells: Sequence[Cells] | None = None,
    ) -> Tensor:
        """Return features at positions (n, C).

        Under a mask these are never interpolated: the next cell may have seen what is left out.
        """
        is_masked = any(isinstance(each, Tensor) for each in weights)
        look = sample_columns if self.interpolates and not is_masked else sample_features
        return look(features, positions, cells)

    def sum_up(self, features: FeatureGroup, weights: tuple[Weights, ...]) -> Statistics:
        """Return sums over all positions by their weights."""
        raise NotImplementedError

    def blend(self, targets: Sequence[Statistics], shares: Sequence[float]) -> Statistics:
        """Return one target of several styles, shares summing to one: here the mean of all."""
        return tuple(
            torch.stack([share * t.detach() for share, t in zip(shares, parts, strict=True)]).sum(0)
            for parts in zip(*targets, strict=True)
        )

    def compare(
        self,
        ours: Statistics,
        target: Statistics,
        draw: torch.Generator,  # noqa: ARG002  (the sliced loss draws directions)
        normalization: str = "relative",
    ) -> Tensor:
        """Return how far our statistics are from the blended target: a scalar."""
        relative, paper = self.measure(ours, target)
        return paper if normalization == "paper" else relative

    @abstractmethod
    def measure(self, ours: Statistics, target: Statistics) -> tuple[Tensor, Tensor]:
        """Return the loss in its two normalisations, ``relative`` and ``paper``."""
