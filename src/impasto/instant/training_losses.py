"""The losses that networks are taught by: the painter's, of a batch, each picture after its style.

Pictures are (N, 3, H, W); a distance is (N,), one for each. Style is the Gaussian that fits
features best (means and covariances, ``losses.style.GaussianLoss``), at five layers; content is the
features of relu4_1.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from impasto.instant.net import spread_cells
from impasto.losses.statistics import Gaussian, measure_gaussian, widen
from impasto.networks.vgg import Backbone
from impasto.system.devices import seeded

STYLE_LAYERS = tuple(f"relu{block}_1" for block in range(1, 6))
CONTENT_LAYER = "relu4_1"
_NOISE = 2 / 255
PERIODS = range(3, 9)  # of lattices, in pixels: one after the other is looked for
_WINDOW = 8  # periods a side, in which a lattice is looked for
_FAINT = 1 / 255  # deviation of what hardly shows
_NEAR = 1e-4  # squared distance, below which nearer is hardly better
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

    Of style it is the distance itself and not its square, lest pairs that are far apart outweigh
    all others.
    """
    seen = backbone(painted, STYLE_LAYERS)
    style = painted.new_zeros(len(painted))
    for name in STYLE_LAYERS:
        style = style + SHARES[name] * find_distance(seen[name], styles[name])
    variances = content.var((1, 2, 3), correction=0).clamp_min(1e-6)
    away = (widen(seen[CONTENT_LAYER]) - content).square().mean((1, 2, 3)) / variances
    return (style + _NEAR).sqrt(), away


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
    even = spread_cells(period).to(painted).repeat(3, 1, 1, 1)  # blind to all that repeats so
    fine = painted[..., period - 1 : 1 - period, period - 1 : 1 - period]
    fine = fine - functional.conv2d(painted, even, groups=3)
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
