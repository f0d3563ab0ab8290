"""Style losses that move each feature to the nearest one of the style."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from impasto.losses.style_loss import TINY, Statistics, StyleLoss

_CHUNK = 1024  # rows of a table of distances that are held at once


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
    return 1e-3 * pool.square().sum(1).mean().sqrt() + TINY


def find_directions(features: Tensor, least: Tensor) -> Tensor:
    """Return rows (n, C) of length one; those shorter than ``least`` stay shorter in proportion."""
    norms: Tensor = torch.linalg.vector_norm(features, dim=1, keepdim=True)
    return features / norms.maximum(least)


def find_nearest(rows: Tensor, pool: Tensor) -> Tensor:
    """Return for each row (n, C) the pool's nearest (n,), by Euclid; in bounded memory."""
    with torch.no_grad():
        half = pool.square().sum(1) / 2  # |r - p|^2 / 2 = |r|^2 / 2 + |p|^2 / 2 - r p
        return torch.cat([(half - part @ pool.T).argmin(1) for part in torch.split(rows, _CHUNK)])


def find_both_nearest(rows: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pool's nearest of each row (n,), and the nearest row of each of the pool (m,)."""
    lengths = pool.square().sum(1) / 2
    to_pool, to_rows = [], torch.zeros(len(pool), dtype=torch.long, device=pool.device)
    least = torch.full_like(lengths, torch.inf)
    for i, part in enumerate(torch.split(rows, _CHUNK)):
        distances = (part.square().sum(1) / 2)[:, None] + lengths - part @ pool.T
        to_pool.append(distances.argmin(1))
        nearest, which = distances.min(0)
        to_rows = torch.where(nearest < least, which + i * _CHUNK, to_rows)
        least = torch.minimum(nearest, least)
    return torch.cat(to_pool), to_rows


def cosine_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return half the squared distance of directions (n,): 1 - cos where both have length one.

    Written so it is exactly 0 with a gradient of 0 where they agree, in features of zeros too.
    """
    return (ours - theirs).square().sum(1) / 2


class PooledLoss(StyleLoss):
    """Features at positions, compared with a pool of the style's."""

    def blend(self, targets: Sequence[Statistics], shares: Sequence[float]) -> Statistics:
        return (join_pools([t[0].detach() for t in targets], shares),)


class NeighbourLoss(PooledLoss):
    """Each feature is drawn to the style's nearest (Li and Wand 2016; Kolkin et al. 2022, NNST).

    As NNST: the nearest by cosine after both lists are centred, then the mean cosine distance to it
    as it is; but of each layer by itself, as NNST's last pass, and with the nearest found anew at
    each call. What was gathered may have a second part, which is added to the features before the
    nearest are found: a guide. A cosine is relative already, so both normalisations are the same.
    Of several styles, the pool has features of each by its share.
    """

    samples, pool = 1024, 2048

    def measure(self, ours: Statistics, target: Statistics) -> tuple[Tensor, Tensor]:
        features, pool = ours[0], target[0]  # (n, C), (m, C)
        sought = features.detach() + (ours[1] if len(ours) > 1 else 0)
        centred, apart = sought - sought.mean(0), pool - pool.mean(0)
        least = least_norm(apart)
        match = find_nearest(find_directions(centred, least), find_directions(apart, least))
        least = least_norm(pool)
        theirs = find_directions(pool[match], least)
        distance = cosine_distance(find_directions(features, least), theirs).mean()
        return distance, distance


class NeighbourColumnsLoss(NeighbourLoss):
    """The same of columns of all layers, so that the layers agree on what they are drawn to.

    Columns alone are guided: layers by themselves, which have the last word on strokes, find theirs
    freely, else one style's point is the nearest all over a smooth area of the photograph.
    """

    pool, interpolates, copies, is_guided = 4096, True, True, True

    def groups(self, layers: Sequence[str]) -> list[tuple[str, ...]]:
        return [tuple(layers)]


class EarthMoverLoss(PooledLoss):
    """STROTSS (Kolkin, Salavon and Shakhnarovich 2019) on columns of all layers.

    Relaxed earth mover's distance by cosine, plus means and covariances: |m - m'|_1 / d and
    |S - S'|_1 / d^2. Relative: these in shares of the target's own. The paper's palette is the loss
    "palette".
    """

    samples, pool, interpolates, copies = 1024, 2048, True, True

    def groups(self, layers: Sequence[str]) -> list[tuple[str, ...]]:
        return [("pixels", *layers)]

    def measure(self, ours: Statistics, target: Statistics) -> tuple[Tensor, Tensor]:
        features, pool = ours[0], target[0]  # (n, 3 + C), (m, 3 + C)
        least = least_norm(pool)
        moved = relaxed_distance(
            find_directions(features, least), find_directions(pool, least), cosine_distance
        )
        relative, paper = compare_moments(features, pool)
        return moved + relative, moved + paper


class PaletteLoss(PooledLoss):
    """The relaxed earth mover's distance of colours, by Euclid (STROTSS).

    Colours are not turned into decorrelated channels first, since distances do not see a rotation.
    """

    samples, pool = 1024, 2048

    def groups(self, layers: Sequence[str]) -> list[tuple[str, ...]]:  # noqa: ARG002
        return [("pixels",)]

    def measure(self, ours: Statistics, target: Statistics) -> tuple[Tensor, Tensor]:
        distance = relaxed_distance(ours[0], target[0], euclidean_distance)
        return distance, distance


def euclidean_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return it row by row (n,), with a gradient of zero where they are the same."""
    norms: Tensor = torch.linalg.vector_norm(ours - theirs, dim=1)
    return norms


def relaxed_distance(ours: Tensor, theirs: Tensor, distance: Callable[..., Tensor]) -> Tensor:
    """Return the larger of two means: of ours to their nearest, and of theirs to ours."""
    to_theirs, to_ours = find_both_nearest(ours.detach(), theirs)
    there = distance(ours, theirs[to_theirs]).mean()
    back = distance(ours[to_ours], theirs).mean()
    return torch.maximum(there, back)


def compare_moments(features: Tensor, pool: Tensor) -> tuple[Tensor, Tensor]:
    """Compare means and covariances of rows (n, d) and (m, d) in L1: relative, and plain."""
    mean, theirs = features.mean(0), pool.mean(0)
    spread, wanted = (f.T.cov(correction=0) for f in (features, pool))  # (d, d)
    means, spreads = (mean - theirs).abs(), (spread - wanted).abs()
    size = theirs.abs().sum()
    # A flat style has no covariance: there, a thousandth of its mean's square counts as one.
    least = torch.maximum(wanted.abs().sum(), 1e-3 * size.square())
    relative = means.sum() / size.clamp_min(TINY) + spreads.sum() / least.clamp_min(TINY)
    return relative / 2, means.mean() + spreads.mean()
