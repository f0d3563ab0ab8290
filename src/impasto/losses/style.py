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
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.images.tiles import Cells
from impasto.losses.sampling import FeatureGroup, sample_features
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

Statistics = tuple[Tensor, ...]

_TINY = 1e-12  # of sizes that divide: a black style divides by this
_CHUNK = 1024  # rows of a table of distances that are held at once
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
    return squares / target.square().sum().clamp_min(_TINY)


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


def longest(pools: Sequence[Tensor], shares: Sequence[float]) -> int:
    """Return the rows of the longest pool that has a share."""
    return max(len(pool) for pool, share in zip(pools, shares, strict=True) if share > 0)


def join_pools(pools: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Return one pool (n, C) with rows of each by its share, evenly spread over it."""
    total = longest(pools, shares)
    rows = []
    for pool, share in zip(pools, shares, strict=True):
        if share > 0:
            count = max(round(share * total), 1)
            spread = (torch.arange(count) * 2 + 1) * len(pool) // (2 * count)
            rows.append(pool[spread.to(pool.device)])
    return torch.cat(rows)


def least_norm(pool: Tensor) -> Tensor:
    """Return a thousandth of the usual norm: features of less have no direction to speak of."""
    return 1e-3 * pool.square().sum(1).mean().sqrt() + _TINY


def find_directions(features: Tensor, least: Tensor) -> Tensor:
    """Return rows (n, C) of length one; those shorter than ``least`` stay shorter in proportion."""
    norms: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / norms.maximum(least)


def find_nearest(rows: Tensor, pool: Tensor) -> Tensor:
    """Return for each row (n, C) the pool's nearest (n,), by Euclid; in bounded memory."""
    with torch.no_grad():
        half = pool.square().sum(1) / 2  # |r - p|^2 / 2 = |r|^2 / 2 + |p|^2 / 2 - r p
        return torch.cat([(half - part @ pool.T).argmin(1) for part in torch.split(rows, _CHUNK)])


def cosine_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return half the squared distance of directions (n,): 1 - cos where both have length one.

    Written so it is exactly 0 with a gradient of 0 where they agree, in features of zeros too.
    """
    return (ours - theirs).square().sum(1) / 2


# --- losses -------------------------------------------------------------------------------------


class StyleLoss(ABC):
    """A way to compare statistics of features; it keeps nothing between calls."""

    samples: int = 0  # how many positions it looks at; 0: all, by their weights
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
            return (sample_features(features, positions, cells),)
        return self.sum_up(features, weights)

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
        size = (mean.square() + deviation.square()).sum().clamp_min(_TINY)
        return squares.sum() / size, squares.mean()

    @staticmethod
    def deviation(statistics: Statistics) -> Tensor:
        """Return it by channel (C,), with what rounding may hide of it: its gradient is finite."""
        mean, square = statistics
        rounding = 8 * torch.finfo(mean.dtype).eps * square
        return find_deviation(mean, square, rounding + _TINY**2)


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
        return distance / wanted.size().clamp_min(_TINY), distance


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
        return squares.mean() / theirs.square().mean().clamp_min(_TINY), squares.sum()


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


class NeighbourLoss(StyleLoss):
    """Each feature is drawn to the style's nearest (Li and Wand 2016; Kolkin et al. 2022, NNST).

    As NNST: the nearest by cosine after both lists are centred, then the mean cosine distance to it
    as it is; but of each layer by itself, as NNST's last pass, and with the nearest found anew at
    each call. A cosine is relative already, so both normalisations are the same. Of several styles,
    the pool has features of each by its share.
    """

    samples = 4096

    def blend(self, targets: Sequence[Statistics], shares: Sequence[float]) -> Statistics:
        return (join_pools([t[0].detach() for t in targets], shares),)

    def measure(self, ours: Statistics, target: Statistics) -> tuple[Tensor, Tensor]:
        features, pool = ours[0], target[0]  # (n, C), (m, C)
        centred, apart = (f.detach() - f.detach().mean(0) for f in (features, pool))
        least = least_norm(apart)
        match = find_nearest(find_directions(centred, least), find_directions(apart, least))
        least = least_norm(pool)
        theirs = find_directions(pool, least)[match]
        distance = cosine_distance(find_directions(features, least), theirs).mean()
        return distance, distance


class EarthMoverLoss(NeighbourLoss):
    """STROTSS (Kolkin, Salavon and Shakhnarovich 2019) on columns of all layers.

    Relaxed earth mover's distance by cosine, plus means and covariances (|m - m'|_1 / d and
    |S - S'|_1 / d^2), plus the palette: the relaxed distance of colours by Euclid, with its
    weight 1/alpha at the alpha of 1 where the paper's schedule would end. Deviations: the nearest
    cell of each layer in the place of bilinear interpolation; and colours are not turned into
    decorrelated channels, since distances do not see a rotation. Relative: the mean of the three,
    moments in shares of the target's; cosines and colours are bounded as they are.
    """

    samples = 1024

    def groups(self, layers: Sequence[str]) -> list[tuple[str, ...]]:
        return [("pixels", *layers)]

    def measure(self, ours: Statistics, target: Statistics) -> tuple[Tensor, Tensor]:
        features, pool = ours[0], target[0]  # (n, 3 + C), (m, 3 + C)
        least = least_norm(pool)
        moved = relaxed_distance(
            find_directions(features, least), find_directions(pool, least), cosine_distance
        )
        palette = relaxed_distance(features[:, :3], pool[:, :3], euclidean_distance)
        relative, paper = compare_moments(features, pool)
        return (moved + relative + palette) / 3, moved + paper + palette


def euclidean_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return it row by row (n,), with a gradient of zero where they are the same."""
    norms: Tensor = torch.linalg.vector_norm(ours - theirs, dim=1)
    return norms


def relaxed_distance(ours: Tensor, theirs: Tensor, distance: Callable[..., Tensor]) -> Tensor:
    """Return the larger of two means: of ours to their nearest, and of theirs to ours."""
    there = distance(ours, theirs[find_nearest(ours, theirs)]).mean()
    back = distance(ours[find_nearest(theirs, ours)], theirs).mean()
    return torch.maximum(there, back)


def compare_moments(features: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
    """Compare means and covariances of rows (n, d) and (m, d) in L1: relative, and plain."""
    mean, theirs = features.mean(0), pool.mean(0)
    spread, wanted = (f.T.cov(correction=0) for f in (features, pool))  # (d, d)
    means, spreads = (mean - theirs).abs(), (spread - wanted).abs()
    size = theirs.abs().sum()
    # A flat style has no covariance: there, a thousandth of its mean's square counts as one.
    least = torch.maximum(wanted.abs().sum(), 1e-3 * size.square())
    relative = means.sum() / size.clamp_min(_TINY) + spreads.sum() / least.clamp_min(_TINY)
    return relative / 2, means.mean() + spreads.mean()


STYLE_LOSSES: dict[str, StyleLoss] = {
    "gram": GramLoss(),
    "chained": ChainedLoss(),
    "moments": MomentsLoss(),
    "gaussian": GaussianLoss(),
    "sliced": SlicedLoss(),
    "neighbours": NeighbourLoss(),
    "emd": EarthMoverLoss(),
    "histogram": HistogramLoss(),
    "histogram-pixels": PixelHistogramLoss(),
}
