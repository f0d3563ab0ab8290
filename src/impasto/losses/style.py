"""The table of style losses, and those that add up statistics or compare sorted features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.losses.nearest import (
    EarthMoverLoss,
    NeighbourColumnsLoss,
    NeighbourLoss,
    PaletteLoss,
    longest,
)
from impasto.losses.sampling import FeatureGroup
from impasto.losses.statistics import (
    Gaussian,
    WeightedSums,
    Weights,
    find_covariance,
    find_deviation,
    square_root,
    sum_squares,
    widen,
)
from impasto.losses.style_loss import TINY, Statistics, StyleLoss

_DIRECTIONS = 128  # most projections of the sliced loss


# --- sums over positions ------------------------------------------------------------------------


def gram_loss(gram: Tensor, target: Tensor, normalization: str = "relative") -> Tensor:
    """Return the squared distance of two Gram matrices.

    Gatys, Ecker and Bethge (2015, eq. 4) write 1/(4 N^2 M^2) sum (G - A)^2 with sums over positions
    in G and A, and leave open what M is when the two pictures differ in size. Here each Gram is
    divided by its own picture's M, which is the same where they are equal.
    """
    squares = (gram - target).square().sum()
    if normalization == "paper":
        return squares / (4 * target.shape[-1] * target.shape[-2])
    return squares / target.square().sum().clamp_min(TINY)


def sum_blocks(shallow: Tensor, shape: Sequence[int]) -> Tensor:
    """Sum over the cells of a layer that were pooled to each cell of a deeper one.

    Pools halve and round up, so cell (y, x) belongs to (y // 2^k, x // 2^k); to interpolate by the
    ratio of sizes would move odd sizes' cells about, and tiles would not add up to the whole.
    """
    factors = []
    for size, wanted in zip(shallow.shape[2:], shape, strict=True):
        factor = 1
        while -(-size // factor) > wanted:
            factor *= 2
        factors.append(factor)
    return F.avg_pool2d(shallow, factors, ceil_mode=True, divisor_override=1)


# --- sorted and nearest -------------------------------------------------------------------------


def resample_quantiles(ordered: Tensor, count: int) -> Tensor:
    """Return sorted columns (m, C) as ``count`` rows: their quantiles at (i + 1/2)/count."""
    m = len(ordered)
    if m == count:
        return ordered
    steps = torch.arange(count, device=ordered.device, dtype=ordered.dtype) + 0.5
    at = (steps * (m / count) - 0.5).clamp(0, m - 1)
    low = at.long()
    high = (low + 1).clamp_max(m - 1)
    return torch.lerp(ordered[low], ordered[high], (at - low)[:, None])


def blend_quantiles(pools: Sequence[Tensor], shares: Sequence[float], count: int) -> Tensor:
    """Return the shares' mean of quantile functions (count, C): the barycentre on the line."""
    ordered = [resample_quantiles(pool.sort(0).values, count) for pool in pools]
    return torch.stack([s * q for s, q in zip(shares, ordered, strict=True)]).sum(0)


# --- losses -------------------------------------------------------------------------------------


class GramLoss(StyleLoss):
    """Gatys, Ecker and Bethge (2015, eq. 3 to 5): correlations of a layer's channels."""

    def sum_up(self, features: FeatureGroup, weights: tuple[Weights, ...]) -> Statistics:
        return (WeightedSums.apply(features[0], weights[0])[1],)  # type: ignore[no-untyped-call]

    def measure(self, ours: Statistics, target: Statistics) -> tuple[Tensor, Tensor]:
        return gram_loss(ours[0], target[0]), gram_loss(ours[0], target[0], "paper")


class ChainedLoss(GramLoss):
    """Novak and Nikulin (2016): correlations of a layer's channels with the next one's.

    Divided like Gatys' (eq. 4), with the numbers of both layers' channels in the place of N^2. The
    paper also shifts activations: that is for the caller to do.
    """

    copies = True

    def groups(self, layers: Sequence[str]) -> list[tuple[str, ...]]:
        return list(pairwise(layers))

    def sum_up(self, features: FeatureGroup, weights: tuple[Weights, ...]) -> Statistics:
        shallow, deep = map(widen, features)
        # The same as to repeat the deeper layer over the shallower's cells, with fewer products.
        sums = sum_blocks(shallow * weights[0], deep.shape[2:])  # (1, C, H', W'), the deeper's size
        deep = deep[..., : sums.shape[2], : sums.shape[3]]
        return (sums[0].flatten(1) @ deep[0].flatten(1).T,)  # (C, D)


class MomentsLoss(StyleLoss):
    """Li, Wang, Liu and Hou (2017, "Demystifying", batch normalisation statistics).

    1/N sum_c ((mean - mean')^2 + (deviation - deviation')^2), N channels; relative: over the sum
    of the target's squares. Styles are blended in means and deviations.
    """

    copies = True

    def sum_up(self, features: FeatureGroup, weights: tuple[Weights, ...]) -> Statistics:
        return sum_squares(features[0], weights[0])  # (C,), (C,)

    def blend(self, targets: Sequence[Statistics], shares: Sequence[float]) -> Statistics:
        return super().blend([(t[0], self.deviation(t)) for t in targets], shares)

    def measure(self, ours: Statistics, target: Statistics) -> tuple[Tensor, Tensor]:
        mean, deviation = target
        squares = (ours[0] - mean).square() + (self.deviation(ours) - deviation).square()
        size = (mean.square() + deviation.square()).sum().clamp_min(TINY)
        return squares.sum() / size, squares.mean()

    @staticmethod
    def deviation(statistics: Statistics) -> Tensor:
        """Return it by channel (C,), with what rounding may hide of it: its gradient is finite."""
        mean, square = statistics
        rounding = 8 * torch.finfo(mean.dtype).eps * square
        return find_deviation(mean, square, rounding + TINY**2)


class GaussianLoss(StyleLoss):
    """Squared 2-Wasserstein distance of Gaussians (Olkin and Pukelsheim 1982; Mroueh 2019).

    Relative: over |m'|^2 + tr S', the target's mean square. Styles are blended in means and
    covariances, which is simpler than the Wasserstein barycentre and the same for one style.
    """

    def sum_up(self, features: FeatureGroup, weights: tuple[Weights, ...]) -> Statistics:
        mean, square = WeightedSums.apply(features[0], weights[0])  # type: ignore[no-untyped-call]
        return mean, square  # (C,), (C, C)

    def blend(self, targets: Sequence[Statistics], shares: Sequence[float]) -> Statistics:
        mean, covariance = super().blend([(t[0], find_covariance(*t)) for t in targets], shares)
        # Apple's GPUs have neither float64 nor eigh.
        home = "cpu" if covariance.device.type == "mps" else covariance.device
        return mean, covariance, square_root(covariance.to(home).double())

    def measure(self, ours: Statistics, target: Statistics) -> tuple[Tensor, Tensor]:
        wanted = Gaussian(*target)
        distance = wanted.distance(ours[0], find_covariance(*ours))
        return distance / wanted.size().clamp_min(TINY), distance


class HistogramLoss(StyleLoss):
    """Risser, Wilmot and Barnes (2017): distance to the features, histograms matched.

    |F - match(F)|^2 with each channel's sorted values against the target's quantiles, summed over
    the sampled positions (the paper: over all) and channels; relative: over the target's.
    """

    samples = 4096

    def blend(self, targets: Sequence[Statistics], shares: Sequence[float]) -> Statistics:
        pools = [t[0].detach() for t in targets]
        return (blend_quantiles(pools, shares, longest(pools, shares)),)

    def measure(self, ours: Statistics, target: Statistics) -> tuple[Tensor, Tensor]:
        theirs = resample_quantiles(target[0], len(ours[0]))
        squares = (ours[0].sort(0).values - theirs).square()
        return squares.mean() / theirs.square().mean().clamp_min(TINY), squares.sum()


class PixelHistogramLoss(HistogramLoss):
    """The same of the picture's own colours."""

    def groups(self, layers: Sequence[str]) -> list[tuple[str, ...]]:  # noqa: ARG002
        return [("pixels",)]


class SlicedLoss(HistogramLoss):
    """Heitz et al. (2021): mean squared distance of sorted random projections.

    Directions are drawn at each call, as many as channels but at most 128; relative: over the
    target's mean squared projection.
    """

    def blend(self, targets: Sequence[Statistics], shares: Sequence[float]) -> Statistics:
        # Quantiles differ with the directions: the lists are kept, and the shares before them.
        kept = torch.tensor(shares, dtype=torch.float64)
        return (kept, *(t[0].detach() for t in targets))

    def compare(
        self,
        ours: Statistics,
        target: Statistics,
        draw: torch.Generator,
        normalization: str = "relative",
    ) -> Tensor:
        features = ours[0]  # (n, C)
        channels = features.shape[1]
        directions = torch.randn(channels, min(channels, _DIRECTIONS), generator=draw)
        directions = (directions / directions.norm(dim=0)).to(features)  # (C, K)
        shares, *pools = target
        quantiles = blend_quantiles(
            [pool @ directions for pool in pools], shares.tolist(), len(features)
        )
        return super().compare((features @ directions,), (quantiles,), draw, normalization)

    def measure(self, ours: Statistics, target: Statistics) -> tuple[Tensor, Tensor]:
        relative, total = super().measure(ours, target)
        return relative, total / ours[0].numel()


STYLE_LOSSES: dict[str, StyleLoss] = {
    "gram": GramLoss(),
    "chained": ChainedLoss(),
    "moments": MomentsLoss(),
    "gaussian": GaussianLoss(),
    "sliced": SlicedLoss(),
    "neighbours": NeighbourLoss(),
    "neighbour-columns": NeighbourColumnsLoss(),
    "emd": EarthMoverLoss(),
    "palette": PaletteLoss(),
    "histogram": HistogramLoss(),
    "histogram-pixels": PixelHistogramLoss(),
}
