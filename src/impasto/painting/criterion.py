"""The weighted total of all terms, and its parts, from statistics that add up over tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.images.tiles import Box, Tile
from impasto.losses.matting import matting_energy
from impasto.losses.regularisers import range_penalty, total_variation
from impasto.painting.extractor import Extractor, TileFeatures
from impasto.painting.loss_plan import PIXELS
from impasto.painting.normalized_gradient import GradientScale, NormalizedGradient
from impasto.painting.terms import ContentTerm, Gathered, StyleTerm

RANGE_WEIGHT = 100.0
Parts = dict[str, Tensor]
Scales = dict[tuple[int, str], GradientScale]  # by term and layer


@dataclass(frozen=True)
class Criterion:
    """The total of a picture of one size, of which the share ``painted`` is painted.

    ``photo`` is what the matting Laplacian is of, if it has a weight.
    """

    extractor: Extractor
    terms: Sequence[StyleTerm | ContentTerm]
    size: tuple[int, int]  # (height, width)
    painted: float = 1.0
    photo: Tensor | None = None

    def draw(self, generator: torch.Generator) -> list[Tensor]:
        """Return the positions that each term looks at."""
        return [
            self.extractor.draw(
                term.loss.samples,
                term.group,
                term.masks[-1] if isinstance(term, StyleTerm) else 1.0,
                self.size,
                generator,
            )
            for term in self.terms
        ]

    def gather(
        self, window: Tensor, tile: Tile, where: Sequence[Tensor], scales: Scales | None = None
    ) -> Gathered:
        """Return a tile's share of every statistic, from the pixels in its window."""
        plan = self.extractor.plan
        seen = self.extractor.extract(window, plan.layers, tile, self.size)
        own = tile.core.within(tile.window)
        edge = Box(own.top, own.left, own.bottom + 1, own.right + 1).of(window)
        tv = total_variation(edge, plan.tv_power, own.shape)
        outside = range_penalty(own.of(window))
        matting = tv.new_zeros(())
        if self.photo is not None:
            matting = matting_energy(window, tile.window.of(self.photo), own)
        return [*self.gather_terms(seen, where, scales), (tv, outside, matting)]

    def gather_terms(
        self, seen: TileFeatures, where: Sequence[Tensor], scales: Scales | None = None
    ) -> Gathered:
        """Return a tile's share of each term's statistics.

        ``scales`` are those of gradients that are normalised over all tiles; where there are any,
        terms that must see the whole picture are left empty.
        """
        shifted, gathered = self.extractor.shift(seen), Gathered()
        for i, (term, positions) in enumerate(zip(self.terms, where, strict=True)):
            if scales is not None and self.sees_whole(term):
                gathered.append(())
                continue
            features = shifted if isinstance(term, StyleTerm) else seen
            gathered.append(term.gather(self.scale_gradient(i, features, scales), positions))
        return gathered

    def sees_whole(self, term: StyleTerm | ContentTerm) -> bool:
        """Return whether a term looks at edges of the picture, so that tiles do not add up."""
        return isinstance(term, ContentTerm) and term.group == (PIXELS,)

    def scale_gradient(self, i: int, seen: TileFeatures, scales: Scales | None) -> TileFeatures:
        """Return a term's own view of its features, whose gradient is normalised by itself."""
        plan, term = self.extractor.plan, self.terms[i]
        if plan.normalize_gradients == "none":
            return seen
        weight = plan.style_weight if isinstance(term, StyleTerm) else plan.content_weight
        scaled = {}
        for name in term.group:
            tall, wide = seen.cells[name].whole
            scale = GradientScale(
                plan.normalize_gradients, weight * term.weight / len(term.group), tall * wide
            )
            if scales is not None:
                scale = scales.setdefault((i, name), scale)
            scaled[name] = NormalizedGradient.apply(seen.features[name], scale)  # type: ignore[no-untyped-call]
        return TileFeatures(scaled, seen.cells)

    def weigh(self, gathered: Gathered, generator: torch.Generator) -> tuple[Tensor, Parts]:
        """Return the total of what was gathered over the whole picture, and its parts."""
        plan, (tv, outside, matting) = self.extractor.plan, gathered[-1]
        style = content = tv.new_zeros(())
        for term, ours in zip(self.terms, gathered, strict=False):
            if isinstance(term, StyleTerm):
                own = term.compare(ours, generator, plan.normalization)
                style = style + term.weight * own
            else:
                own = term.compare(ours, plan.normalization)
                content = content + term.weight * own
        # Content is a mean over the whole photograph and each style one over its region: with a
        # small mask style would outweigh it, if it did not count by what is painted of the whole.
        style = self.painted * style
        if plan.normalization == "relative":
            values = 3 * self.size[0] * self.size[1]
            tv, outside, matting = tv / values, outside / values, matting / values
        total = (
            plan.style_weight * style
            + plan.content_weight * content
            + plan.tv_weight * tv
            + plan.photoreal * matting
            + RANGE_WEIGHT * outside
        )
        parts = {"style": style, "content": content, "tv": tv}
        return total, parts | ({"matting": matting} if self.photo is not None else {})
