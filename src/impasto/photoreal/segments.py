"""Regions that photographs have in common: joint clusters of a network's features.

What a region is made of is what the compact network sees there, with a little of its place and
colour. Clusters are found in the photograph and in those that it is to be like together, so that
region 3 of one is region 3 of all, and nothing has to be downloaded. Cells are what the network has
one position of features for: about 4 pixels across at the size that it sees.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from impasto.images.color_spaces import rgb_to_lab
from impasto.images.color_transfer import match_color
from impasto.images.resizing import resize_pixels
from impasto.networks.vgg import Backbone
from impasto.system.devices import seeded

_LAYERS = ("relu3_1", "relu4_1")
_SEEN = 192  # side of a square of as many pixels as the network sees of a picture
_LEAST_SIDE = 16
_DIMENSIONS = 16  # principal components of features that are kept
_PLACE, _COLOR = 0.7, 0.7  # what height in the picture and colour weigh beside the features
_SOFTNESS = 0.5  # in mean squared distances of cells from their cluster's centre
_NEAR = 3  # cells across and down that features are averaged over at once
_PASSES = 3  # of that
_ALIKE = 6.0  # difference in CIELAB at which two cells begin to have features of their own
_ROUNDS = 12  # of k-means
_CANDIDATES = 12  # that are tried for each new centre


@dataclass(frozen=True)
class FeatureScale:
    """Mean and deviation of each channel (C, 1): of one picture, so that its light cancels."""

    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Self:
        """Return the scale of features (C, n)."""
        return cls(features.mean(1, keepdim=True), features.std(1, keepdim=True) + 1e-3)


@dataclass(frozen=True)
class SeenCells:
    """What is known of each cell of a picture."""

    features: Tensor  # (C, n), unscaled
    place: Tensor  # (1, n), height in the picture from -1 to 1
    color: Tensor  # (3, n), CIELAB
    size: tuple[int, int]  # (h, w), n = h w
    frames: int = 1  # that lie one below another


def look_at_picture(network: Backbone, pixels: Tensor) -> SeenCells:
    """Return what the network sees of a picture (1, 3, H, W)."""
    height, width = pixels.shape[2:]
    scale = min(1.0, _SEEN / math.sqrt(height * width))
    sides = [max(_LEAST_SIDE, round(side * scale)) for side in (width, height)]
    seen = resize_pixels(pixels, *sides)
    features = network(seen, _LAYERS)
    size = (features[_LAYERS[0]].shape[2], features[_LAYERS[0]].shape[3])
    parts = []
    for name in _LAYERS:
        layer = functional.interpolate(features[name], size, mode="bilinear", align_corners=False)
        parts.append(layer[0].flatten(1) / math.sqrt(layer.shape[1]))
    rows = (torch.arange(size[0]) + 0.5) / size[0] * 2 - 1
    place = rows[:, None].expand(size).reshape(1, -1)
    color = rgb_to_lab(resize_pixels(seen, size[1], size[0]))[0].flatten(1)
    return SeenCells(torch.cat(parts), place, color, size)


def look_at_frames(network: Backbone, frames: Tensor) -> SeenCells:
    """Return what the network sees of frames (N, 3, H, W), the cells of one below another's."""
    seen = [look_at_picture(network, frame) for frame in frames.chunk(len(frames))]
    if len(seen) == 1:
        return seen[0]
    features, place, color = (
        torch.cat([getattr(each, name) for each in seen], 1)
        for name in ("features", "place", "color")
    )
    height, width = seen[0].size
    return SeenCells(features, place, color, (height * len(seen), width), len(seen))


@dataclass(frozen=True)
class RegionModel:
    """Clusters of cells, which any picture's cells can be given to."""

    network: Backbone
    scale: FeatureScale  # of the photograph that the clusters were found in
    middle: Tensor  # (C, 1), the mean of scaled features
    basis: Tensor  # (C, D), principal directions over their spread
    color_middle: Tensor  # (3, 1)
    color_spread: float
    centers: Tensor  # (K, D + 4)
    softness: float  # squared distance by which a share falls to 1/e

    def describe(self, look: SeenCells, scale: FeatureScale) -> Tensor:
        """Return cells as points (n, D + 4) whose distances say how alike they are."""
        features = self.basis.T @ ((look.features - scale.mean) / scale.deviation - self.middle)
        features = level_features(features, look)
        color = (look.color - self.color_middle) / self.color_spread
        return torch.cat([features, _PLACE * math.sqrt(3) * look.place, _COLOR * color]).T

    def assign(self, look: SeenCells, scale: FeatureScale | None = None) -> Tensor:
        """Return the share (1, K, h, w) that each region has of each cell.

        The scale is the photograph's unless a picture has one of its own.
        """
        points = self.describe(look, scale or self.scale)
        distances = torch.cdist(points, self.centers).square()  # (n, K)
        shares = torch.softmax(-distances / self.softness, 1)
        return shares.T.reshape(1, -1, *look.size)


def level_features(features: Tensor, look: SeenCells) -> Tensor:
    """Average features (D, n) over neighbours of the same colour, with a bilateral filter.

    Near an edge the network sees both sides of it: cells there would be regions of their own, which
    lie around all that stands before a sky. So they take over what is seen farther from the edge.
    """
    height, width = look.size[0] // look.frames, look.size[1]
    color = look.color.view(3, look.frames, height, width).transpose(0, 1)
    level = features.view(-1, look.frames, height, width).transpose(0, 1)
    around = (_NEAR,) * 4
    near = functional.pad(color, around, value=torch.inf)
    places = [(y, x) for y in range(2 * _NEAR + 1) for x in range(2 * _NEAR + 1)]
    alike = [
        (near[:, :, y : y + height, x : x + width] - color).square().sum(1, keepdim=True)
        for y, x in places
    ]
    weights = torch.softmax(torch.stack(alike) / (-2 * _ALIKE**2), 0)  # (places, N, 1, h, w)
    for _ in range(_PASSES):
        near = functional.pad(level, around)
        level = torch.zeros_like(level)
        for weight, (y, x) in zip(weights, places, strict=True):
            level.addcmul_(near[:, :, y : y + height, x : x + width], weight)
    return level.transpose(0, 1).reshape(len(features), -1)


def find_regions(
    network: Backbone,
    photo: Tensor,
    likes: Sequence[Tensor],
    count: int,
    weights: Sequence[Tensor | None],
) -> tuple[RegionModel, list[Tensor]]:
    """Find at most ``count`` regions in pictures (1, 3, H, W); return them and all shares.

    The photograph may be frames of one scene (N, 3, H, W): their shares lie one below another.
    ``weights`` (1, 1, H, W), of the photograph and then of the others, say what counts of each.
    """
    colors = stack_frames(photo)
    matched = [
        match_color(like, colors, w, weights[0]) for like, w in zip(likes, weights[1:], strict=True)
    ]
    looks = [look_at_frames(network, each) for each in (photo, *matched)]
    shares = [_weigh_cells(look, each) for look, each in zip(looks, weights, strict=True)]
    # The photograph weighs as much as all others together.
    rest = max(1, len(likes))
    weighed = torch.cat([shares[0], *(share / rest for share in shares[1:])])
    scales = [FeatureScale.of(look.features) for look in looks]
    scaled = torch.cat(
        [(k.features - s.mean) / s.deviation for k, s in zip(looks, scales, strict=True)], 1
    )
    color = torch.cat([look.color for look in looks], 1)
    model = _make_model(network, scales[0], scaled, color, weighed / weighed.sum())
    points = torch.cat(
        [model.describe(look, scale) for look, scale in zip(looks, scales, strict=True)]
    )
    centers, softness = cluster_points(points, weighed, count)
    model = RegionModel(**{**vars(model), "centers": centers, "softness": softness})
    return model, [model.assign(look, scale) for look, scale in zip(looks, scales, strict=True)]


def stack_frames(frames: Tensor) -> Tensor:
    """Return frames (N, C, H, W) one below another, (1, C, N H, W)."""
    return torch.cat(frames.chunk(len(frames)), 2)


def _weigh_cells(look: SeenCells, weights: Tensor | None) -> Tensor:
    """Return the weights of cells (n,), summing to 1."""
    if weights is None:
        return torch.full((look.place.shape[1],), 1 / look.place.shape[1])
    small = functional.interpolate(weights, look.size, mode="area").flatten().clamp_min(0)
    return small / small.sum().clamp_min(1e-12)


def _make_model(
    network: Backbone, scale: FeatureScale, scaled: Tensor, color: Tensor, weights: Tensor
) -> RegionModel:
    """Return a model that has no clusters yet: how cells become points."""
    middle = (scaled * weights).sum(1, keepdim=True)
    centred = (scaled - middle).double()
    values, vectors = torch.linalg.eigh((centred * weights) @ centred.T)
    kept = values[-_DIMENSIONS:].clamp_min(1e-12)
    basis = (vectors[:, -_DIMENSIONS:] / kept.sum().sqrt()).to(scaled)
    color_middle = (color * weights).sum(1, keepdim=True)
    spread = float(((color - color_middle).square() * weights).sum().sqrt())
    nothing = scaled.new_zeros(0, basis.shape[1] + 4)
    return RegionModel(network, scale, middle, basis, color_middle, max(spread, 1.0), nothing, 1.0)


def cluster_points(points: Tensor, weights: Tensor, count: int) -> tuple[Tensor, float]:
    """Return at most ``count`` centres of weighed points (n, D), and the softness of their borders.

    k-means from centres that are drawn far apart (k-means++, greedy), always in the same way.
    """
    generator = seeded(0)
    centers = points[
        [
            int(
                (points - (points * weights[:, None]).sum(0) / weights.sum())
                .square()
                .sum(1)
                .argmin()
            )
        ]
    ]
    nearest = (points - centers[0]).square().sum(1)
    while len(centers) < count and float((nearest * weights).sum()) > 1e-9:
        drawn = torch.multinomial(nearest * weights, _CANDIDATES, True, generator=generator)
        apart = torch.minimum(torch.cdist(points, points[drawn]).square(), nearest[:, None])
        best = int((apart * weights[:, None]).sum(0).argmin())
        centers, nearest = torch.cat([centers, points[drawn[best]][None]]), apart[:, best]
    for _ in range(_ROUNDS):
        given = torch.cdist(points, centers).argmin(1)
        mass = torch.zeros(len(centers)).index_add_(0, given, weights)
        sums = torch.zeros_like(centers).index_add_(0, given, points * weights[:, None])
        centers = torch.where(mass[:, None] > 0, sums / mass.clamp_min(1e-12)[:, None], centers)
    nearest = torch.cdist(points, centers).square().amin(1)
    within = float((nearest * weights).sum() / weights.sum())
    return centers, _SOFTNESS * max(within, 1e-6)
