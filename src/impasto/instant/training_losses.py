"""The losses that networks are taught by: the painter's, of a batch, each picture after its style.

Pictures are (N, 3, H, W); a distance is (N,), one for each. Style is the Gaussian that fits
features best (means and covariances, ``losses.style.GaussianLoss``), at five layers; content is the
features of relu4_1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional

from impasto.losses.statistics import (
    Gaussian,
    RootTrace,
    find_roots,
    measure_gaussian,
    widen,
)
from impasto.networks.vgg import Backbone
from impasto.system.devices import seeded

STYLE_LAYERS = tuple(f"relu{block}_1" for block in range(1, 6))
CONTENT_LAYER = "relu4_1"
_NOISE = 2 / 255
PERIODS = range(3, 9)  # of lattices, in pixels: one after the other is looked for
_WINDOW = 8  # periods a side, in which a lattice is looked for
_FAINT = 1 / 255  # deviation of what hardly shows
_TV, _RANGE = 5.0, 100.0  # weights, the painter's defaults, as SHARES and the layers are
# Added to variances: a share of the style's usual one, and of all of a painting's own, so much that
# rounding makes none negative; and a share of the mean square, where a style is flat.
_RIDGE, _ROUNDING, _FLOOR = 1e-4, 4e-7, 1e-8
_LATE = 3  # of the steps towards a root, that a matrix with such a ridge does without
_SMALL = 64  # channels to which narrower layers are filled up, to be done in one batch
_BLOCKS = 16  # that positions are summed in, where there are many
LEAST_TOTAL = 0.05  # added to a total before its logarithm: below it, less is hardly better
SHARES = {name: 2.0**-i / (2 - 2.0**-4) for i, name in enumerate(STYLE_LAYERS)}  # in all 1


@torch.no_grad()
def measure_styles(backbone: Backbone, styles: Tensor) -> dict[str, Gaussian]:
    """Return the Gaussians of styles (N, 3, H, W), by layer."""
    seen = backbone(styles, STYLE_LAYERS)
    return {name: Gaussian.of(seen[name]) for name in STYLE_LAYERS}


@torch.no_grad()
def measure_content(backbone: Backbone, photos: Tensor) -> Tensor:
    """Return the features of photographs that paintings are to have."""
    return widen(backbone(photos, [CONTENT_LAYER])[CONTENT_LAYER])


def measure_paintings(
    backbone: Backbone, painted: Tensor, styles: Mapping[str, Gaussian], content: Tensor
) -> tuple[Tensor, Tensor]:
    """Return how far paintings are from their styles, and from what their photographs contain.

    Both as the painter's default does.
    """
    seen = backbone(painted, STYLE_LAYERS)
    style = painted.new_zeros(len(painted))
    for name in STYLE_LAYERS:
        style = style + SHARES[name] * find_distance(seen[name], styles[name])
    variances = content.var((1, 2, 3), correction=0).clamp_min(1e-6)
    away = (widen(seen[CONTENT_LAYER]) - content).square().mean((1, 2, 3)) / variances
    return style, away


def disturb(photos: Tensor, seed: int) -> Tensor:
    """Return photographs with noise of two levels of grey."""
    noise = torch.randn(photos.shape, generator=seeded(seed)).to(photos)
    return photos + _NOISE * noise


def measure_unrest(painted: Tensor, again: Tensor) -> Tensor:
    """Return how much farther than the noise in their photographs paintings moved (N,).

    It is the logarithm, lest a few outweigh the others.
    """
    away = (again - painted).square().mean((1, 2, 3)) / _NOISE**2
    return (away + 1).log()


def measure_lattice(painted: Tensor, period: int) -> Tensor:
    """Return how much of what is finer than so many pixels repeats with them (N,).

    It is the mean of its share in each window, as it shows where there is little else.

    Hardly any picture has a lattice. Nets lay one on what is even, by their cells, or by waves that
    begin at an edge and keep going; the styles' statistics do not tell it from strokes.
    """
    even = painted  # blind to all that repeats so
    for _ in range(2):
        even = functional.avg_pool2d(even, period, 1)
    fine = painted[..., period - 1 : 1 - period, period - 1 : 1 - period] - even
    height, width = (side // period for side in fine.shape[2:])
    cells = functional.pixel_unshuffle(fine[..., : height * period, : width * period], period)
    window = min(_WINDOW, height), min(_WINDOW, width)
    steps = max(1, window[0] // 2), max(1, window[1] // 2)
    mean = functional.avg_pool2d(cells, window, steps)
    power = functional.avg_pool2d(cells.square(), window, steps).mean(1)
    # Of a mean's square, what unlike cells would come to by chance is taken off.
    count = window[0] * window[1]
    alike = (count * mean.square().mean(1) - power) / (count - 1)
    return (alike / (power + _FAINT**2)).mean((1, 2))


def find_distance(features: Tensor, styles: Gaussian) -> Tensor:
    """Return squared Wasserstein distances (N,) of Gaussians, in units of the styles' sizes."""
    distance = styles.distance(*measure_gaussian(features))
    return distance / styles.size().clamp_min(1e-12)


# --- the painter's default, a batch at a time ---------------------------------------------------


@dataclass(frozen=True)
class StyleTarget:
    """What a layer's features of styles (N, C, H, W) are to be compared with."""

    mean: Tensor  # (N, C)
    deviation: Tensor  # (N, C), of each channel
    trace: Tensor  # (N,) of the covariance, with the ridge
    root: Tensor  # (N, C, C) of it, in float64
    ridge: Tensor  # (N,), what is added to every variance, of paintings too
    size: Tensor  # (N,), the mean square


@torch.no_grad()
def make_targets(seen: Mapping[str, Tensor]) -> dict[str, StyleTarget]:
    """Return what paintings are to be compared with, from styles' features by layer."""
    found = {}
    for name in STYLE_LAYERS:
        mean, covariance = sum_gaussian(seen[name])
        trace = covariance.diagonal(dim1=1, dim2=2).sum(1)
        size = mean.square().sum(1) + trace
        channels = covariance.shape[1]
        ridge = (_RIDGE * trace + _FLOOR * size + 1e-12) / channels
        deviation = covariance.diagonal(dim1=1, dim2=2).clamp_min(0).sqrt()
        found[name] = (mean, deviation, add_ridge(covariance, ridge), ridge, size.clamp_min(1e-12))
    covariances = [each[2].double() for each in found.values()]
    roots = work_in_groups(lambda each: find_roots(each, _LATE)[0], covariances)
    return {
        name: StyleTarget(
            mean, deviation, covariance.diagonal(dim1=1, dim2=2).sum(1), root, ridge, size
        )
        for (name, (mean, deviation, covariance, ridge, size)), root in zip(
            found.items(), roots, strict=True
        )
    }


def compare_styles(seen: Mapping[str, Tensor], targets: Mapping[str, StyleTarget]) -> Tensor:
    """Return how far features of paintings are from styles (N,): the painter's style loss."""
    means, covariances = [], []
    for name, target in targets.items():
        mean, covariance = sum_gaussian(seen[name])
        means.append(mean)
        own = covariance.detach().diagonal(dim1=1, dim2=2).sum(1)
        covariances.append(add_ridge(covariance, target.ridge.maximum(_ROUNDING * own)))
    roots = [target.root for target in targets.values()]
    traces = work_in_groups(RootTrace.apply, covariances, roots)
    total = means[0].new_zeros(len(means[0]))
    for (name, target), mean, covariance, trace in zip(
        targets.items(), means, covariances, traces, strict=True
    ):
        spread = covariance.diagonal(dim1=1, dim2=2).sum(1) + target.trace - 2 * trace
        away = (mean - target.mean).square().sum(1) + spread.clamp_min(0)
        total = total + SHARES[name] * away / target.size
    return total


def compare_content(features: Tensor, target: Tensor) -> Tensor:
    """Return how far features are from the photographs' (N,): the painter's content loss."""
    target = widen(target)
    least = 1e-6 * target.square().mean((1, 2, 3)) + 1e-12
    variances = target.var((1, 2, 3), correction=0).maximum(least)
    return (widen(features) - target).square().mean((1, 2, 3)) / variances


def measure_roughness(painted: Tensor) -> Tensor:
    """Return the total variation of each picture, relative as the painter's (N,)."""
    across = (painted[..., 1:] - painted[..., :-1]).square().sum((1, 2, 3))
    down = (painted[..., 1:, :] - painted[..., :-1, :]).square().sum((1, 2, 3))
    return (across + down) / painted[0].numel()


def weigh_losses(
    style: Tensor, content: Tensor, roughness: Tensor, outside: Tensor, weights: Tensor
) -> Tensor:
    """Return what the painter minimises by default, at these style weights (N,)."""
    return weights * style + content + _TV * roughness + _RANGE * outside


def measure_total(
    backbone: Backbone,
    painted: Tensor,
    targets: Mapping[str, StyleTarget],
    content: Tensor,
    weights: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the painter's total of every painting, and of it style and content, (N,) each."""
    seen = backbone(painted, STYLE_LAYERS)
    style = compare_styles(seen, targets)
    away = compare_content(seen[CONTENT_LAYER], content)
    outside = (painted - painted.clamp(0, 1)).square().mean((1, 2, 3))
    total = weigh_losses(style, away, measure_roughness(painted), outside, weights)
    return total, style, away


def sum_gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return means (N, C) and covariances (N, C, C), in float32.

    Means are taken off first: no rounding makes a variance negative then, to speak of. Positions
    are summed in blocks: a graphics card would else do each picture by itself.
    """
    count, channels, height, width = features.shape
    blocks = _BLOCKS if height * width % _BLOCKS == 0 and features.is_cuda else 1
    rows = widen(features).permute(0, 2, 3, 1).reshape(count, -1, channels)
    mean = rows.mean(1, keepdim=True)
    centred = (rows - mean).view(count * blocks, -1, channels)
    square = (centred.mT @ centred).view(count, blocks, channels, channels).sum(1)
    return mean[:, 0], square / (height * width)


def add_ridge(covariances: Tensor, ridge: Tensor) -> Tensor:
    """Return covariances with so much (N,) added to every variance."""
    eye = torch.eye(covariances.shape[-1], dtype=covariances.dtype, device=covariances.device)
    return covariances + ridge[:, None, None] * eye


def work_in_groups(work: Callable[..., Tensor], *matrices: Sequence[Tensor]) -> list[Tensor]:
    """Do what is done to matrices (N, C, C) of layers in few batches, filled up with zeros."""

    def find_width(several: tuple[Tensor, ...]) -> int:
        return max(several[0].shape[-1], _SMALL)

    results: list[Tensor] = []
    for width, group in groupby(zip(*matrices, strict=True), find_width):
        layers = list(group)
        filled = [
            torch.cat([functional.pad(each, (0, width - each.shape[-1]) * 2) for each in column])
            for column in zip(*layers, strict=True)
        ]
        done = work(*filled).chunk(len(layers))
        for part, (first, *_) in zip(done, layers, strict=True):
            channels = first.shape[-1]
            results.append(part if part.ndim == 1 else part[:, :channels, :channels])
    return results
