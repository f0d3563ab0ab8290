"""Maps of colour by regions, in closed form: optimal transport between Gaussians.

For each region there is the affine map that gives the photograph's colours there the mean and
covariance of the other picture's region and moves them least (Pitie and Kokaram 2007, "The linear
Monge-Kantorovitch linear colour mapping"). Where the other picture has little of a region, its map
is drawn towards the one of whole pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.images.color_transfer import color_statistics, optimal_map

_MARGIN = 0.05  # how far beyond black and white lie the colours that nothing reaches
_KNEE = 0.03  # from black and from white, where colours that a map takes beyond are drawn in
_NOISE = 4 / 255  # what is added to deviations of colours: that of noise and rounding
_EVEN = 12 / 255  # deviation of colours at which a map may spread them by half of the most
_MOST_GAIN = 3.0  # by which a map may spread or squeeze colours
_FULL_SHARE = 0.01  # of a picture: a region that has this much gets half of its own map


def encode_colors(pixels: Tensor) -> Tensor:
    """Return colours on a line that goes far beyond black and white.

    An affine map bends highlights and shadows there as a grader's curve does.
    """
    return torch.logit(_MARGIN + (1 - 2 * _MARGIN) * pixels)


def decode_colors(coded: Tensor) -> Tensor:
    """Return the colours of coded ones, at most the margin beyond [0, 1]."""
    return (torch.sigmoid(coded) - _MARGIN) / (1 - 2 * _MARGIN)


def draw_in(colors: Tensor, pixels: Tensor) -> Tensor:
    """Return colours within [0, 1], given those of the pixels that they were.

    Near black and white they are bent: levels that were apart stay apart, where a clamp would make
    a flat spot of them. What did not move does not move here: a pixel's own level is its knee.
    """
    bent = _bend(colors, pixels)
    return (1 - _bend(1 - bent, 1 - pixels)).clamp_(0, 1)


def _bend(colors: Tensor, pixels: Tensor) -> Tensor:
    """Return colours above 0: below the knee a hyperbola, with the same slope there."""
    knee = pixels.clamp(max=_KNEE)
    bent = knee.square() / (2 * knee - colors).clamp_min(1e-9)
    return torch.where(colors < knee, bent, colors)


@dataclass(frozen=True)
class ColorGaussian:
    """The coded colours of some pixels, as a Gaussian, and their share of the picture."""

    mean: Tensor  # (3,) float64
    covariance: Tensor  # (3, 3) float64
    share: float


@dataclass(frozen=True)
class AffineMap:
    """An affine map of coded colours."""

    linear: Tensor  # (3, 3) float64
    offset: Tensor  # (3,) float64

    def mix(self, other: AffineMap, share: float) -> AffineMap:
        """Return this map with the share of another one."""
        return AffineMap(
            torch.lerp(self.linear, other.linear, share),
            torch.lerp(self.offset, other.offset, share),
        )


def gather_colors(coded: Tensor, weights: Tensor | None) -> ColorGaussian:
    """Return the Gaussian of coded colours (1, 3, H, W), by weights (1, 1, H, W)."""
    if weights is None:
        return ColorGaussian(*color_statistics(coded), 1.0)
    return ColorGaussian(*color_statistics(coded, weights), float(weights.mean()))


def find_map(ours: ColorGaussian, theirs: ColorGaussian) -> AffineMap:
    """Return the map that gives ``ours`` the mean and covariance of ``theirs``, within bounds.

    Of the maps that do, it is the one that moves colours least as pixels have them, around both
    means: bounds are in levels, for coded colours near black and white are far apart.
    """
    here, there = _measure_slope(ours.mean), _measure_slope(theirs.mean)
    own = ours.covariance / torch.outer(here, here)
    other = theirs.covariance / torch.outer(there, there)
    ridge = _NOISE**2 * torch.eye(3, dtype=torch.float64)
    wanted = optimal_map(own + ridge, other + ridge)
    gains, axes = torch.linalg.eigh((wanted + wanted.T) / 2)
    spread = (axes.T @ own @ axes).diagonal()
    most = 1 + (_MOST_GAIN - 1) * spread / (spread + _EVEN**2)
    bounded = (axes * torch.minimum(gains.clamp_min(1 / _MOST_GAIN), most)) @ axes.T
    linear = there[:, None] * bounded / here
    return AffineMap(linear, theirs.mean - linear @ ours.mean)


def _measure_slope(coded: Tensor) -> Tensor:
    """Return by how much coded colours grow with those of pixels."""
    share = torch.sigmoid(coded)
    return (1 - 2 * _MARGIN) / (share * (1 - share)).clamp_min(1e-6)


def find_region_maps(
    ours: Sequence[ColorGaussian], theirs: Sequence[ColorGaussian], whole: AffineMap
) -> list[AffineMap]:
    """Return a map for each region of ours and its partner, drawn towards that of the whole."""
    maps = []
    for own, other in zip(ours, theirs, strict=True):
        least = min(own.share, other.share)
        if least <= 0:
            maps.append(whole)
            continue
        maps.append(find_map(own, other).mix(whole, _FULL_SHARE / (_FULL_SHARE + least)))
    return maps


def average_maps(maps: Sequence[AffineMap], shares: Sequence[float]) -> AffineMap:
    """Return the mean of maps from the same colours: those of the Gaussians between theirs."""
    linear = torch.stack([share * each.linear for each, share in zip(maps, shares, strict=True)])
    offset = torch.stack([share * each.offset for each, share in zip(maps, shares, strict=True)])
    return AffineMap(linear.sum(0), offset.sum(0))


@dataclass(frozen=True)
class RegionMaps:
    """One map for each region."""

    linear: Tensor  # (K, 3, 3) float32
    offset: Tensor  # (K, 3) float32

    @classmethod
    def of(cls, maps: Sequence[AffineMap]) -> RegionMaps:
        """Return maps side by side."""
        linear = torch.stack([each.linear for each in maps]).float()
        return cls(linear, torch.stack([each.offset for each in maps]).float())

    def apply(self, pixels: Tensor, masks: Tensor | None) -> Tensor:
        """Return pixels (1, 3, H, W) mapped by regions (1, K, H, W), or by the only map."""
        coded = encode_colors(pixels)
        colors = coded[0].flatten(1)  # (3, n)
        total = torch.zeros_like(colors) if masks is not None else colors
        for k, (linear, offset) in enumerate(zip(self.linear, self.offset, strict=True)):
            mapped = torch.addmm(offset[:, None], linear, colors)
            if masks is None:
                total = mapped
            else:
                total.addcmul_(mapped, masks[0, k].flatten())
        return draw_in(decode_colors(total).view_as(pixels), pixels)

    def measure_gain(self, pixels: Tensor, masks: Tensor) -> Tensor:
        """Return by how much noise grows (1, 1, H, W) when pixels are mapped by regions."""
        coded = encode_colors(pixels)[0].flatten(1)  # (3, n)
        weights = masks[0].flatten(1)
        linear = torch.einsum("kn,kij->ijn", weights, self.linear)
        mapped = (linear * coded).sum(1) + torch.einsum("kn,ki->in", weights, self.offset)
        slopes = linear * _measure_slope(coded) / _measure_slope(mapped)[:, None]
        gain = (slopes.square().sum((0, 1)) / 3).sqrt()  # noise of equal strength in all channels
        return gain.view(1, 1, *pixels.shape[2:])
