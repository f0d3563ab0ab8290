"""How near a painting is to its style and to its photograph, whatever it was painted with.

Options that are compared with one another cannot be judged by the losses that they weigh. So every
picture is seen here at one size, by one network (the compact one in float32, its features mapped
into the space of the true VGG-19), and two distances are taken of it; no option moves either.
What they do not see: strokes finer than ``_SEEN_SIDE`` pixels show, the scale at which a style was
laid on (the style is seen at one size, as ``style_size`` leaves it), which style fell on which part
of the picture, and masks. And neither is an eye.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from impasto.images.color_spaces import split_luma
from impasto.images.opening import DEFAULT_MEGAPIXELS
from impasto.images.picture import ImageSource
from impasto.images.resizing import resize_pixels
from impasto.images.transparency import read_opaque
from impasto.networks.weights import load_backbone, load_tensors
from impasto.painting.inputs import fit_style, share_out
from impasto.painting.painter import list_styles
from impasto.system.devices import Machine, seeded

_SEEN_SIDE = 256  # at which all is seen: the photograph, the styles, every painting
_LAYERS = tuple(f"relu{block}_1" for block in range(1, 6))
_CONTENT_LAYER = "relu4_1"
LINES, _PLACES, QUANTILES = 128, 8192, 512  # of a layer's style: the sums stay small


@dataclass(frozen=True)
class Distances:
    """0 is the style, or the photograph, itself; 1 is as far as one has no part in the other."""

    style: float
    content: float

    @property
    def overall(self) -> float:
        """The distance from a picture that is both, its style and its photograph."""
        return math.hypot(self.style, self.content)


class Yardstick:
    """A photograph and its styles, measured once, and how far paintings are from them.

    *Style* is the mean over five layers of the sliced Wasserstein distance to the style's features
    (Heitz et al. 2021: no loss that is swept sees quite this), as a share of the photograph's own:
    0 is the style picture, 1 the photograph as it is. Of several styles it is the mean by their
    blend. *Content* is sqrt(1 - r), r the correlation of the features at relu4_1 with the
    photograph's, both seen in grey and each channel less its mean: 0 is the photograph, 1 a picture
    that has nothing to do with it. Colours are the style's affair: given the style's, a photograph
    is at 0.1 to 0.2, as its contrasts are others, and its negative at 0.5.
    """

    def __init__(
        self,
        content: ImageSource,
        style: ImageSource | Sequence[ImageSource],
        *,
        blend: Sequence[float] = (),
        max_megapixels: float = DEFAULT_MEGAPIXELS,
    ) -> None:
        machine = Machine(torch.device("cpu"), torch.float32, "channels_last")
        self.network = load_backbone("compact").place(machine)
        maps = load_tensors("compact", ("to_vgg19.",))
        self.maps = {name: tensor.float() for name, tensor in maps.items()}
        photo = read_opaque(content, max_megapixels).pixels
        styles = [read_opaque(each, max_megapixels).pixels for each in list_styles(style)]
        self.shares = share_out(blend, len(styles))
        self.photo = self.look(make_grey(photo), (_CONTENT_LAYER,))[_CONTENT_LAYER]
        self.styles = [self.rank_layers(each) for each in styles]
        ranked = self.rank_layers(photo)
        # A photograph that is its own style is at no distance from it, and nothing is a share of 0.
        self.units = {name: max(self._away(ranked, name), 1e-6) for name in _LAYERS}

    @torch.no_grad()
    def look(self, pixels: Tensor, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """Return features (C, h, w) of a picture (1, 3, H, W), in the true VGG-19's space."""
        least = self.network.smallest_side(_LAYERS[-1])
        size = fit_style(pixels.shape[-1], pixels.shape[-2], _SEEN_SIDE, least)
        seen = self.network(resize_pixels(pixels.float().cpu(), *size), layers)
        return {name: self._map(name, features)[0] for name, features in seen.items()}

    def _map(self, name: str, features: Tensor) -> Tensor:
        weight, bias = (self.maps[f"to_vgg19.{name}.{part}"] for part in ("weight", "bias"))
        return functional.conv2d(features, weight, bias).relu()

    def rank_layers(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return the quantiles of every layer's features."""
        return {name: rank(features) for name, features in self.look(pixels, _LAYERS).items()}

    def measure(self, pixels: Tensor) -> Distances:
        """Measure a painting (1, 3, H, W) in [0, 1], of any size."""
        ranked = self.rank_layers(pixels)
        style = sum(self._away(ranked, name) / self.units[name] for name in _LAYERS) / len(_LAYERS)
        seen = self.look(make_grey(pixels), (_CONTENT_LAYER,))[_CONTENT_LAYER]
        return Distances(style, part_from(seen, self.photo))

    def _away(self, ranked: dict[str, Tensor], name: str) -> float:
        """Return how far a layer is from the styles', before it is divided by the unit."""
        return sum(
            share * float((ranked[name] - style[name]).square().mean().sqrt())
            for share, style in zip(self.shares, self.styles, strict=True)
        )


def make_grey(pixels: Tensor) -> Tensor:
    """Return the luminance as a grey picture (1, 3, H, W)."""
    return split_luma(pixels)[0].expand(-1, 3, -1, -1)


def rank(features: Tensor) -> Tensor:
    """Return the quantiles of features (C, h, w) projected on random lines: (lines, quantiles).

    Of a large layer some positions are taken, drawn once and for all.
    """
    values = features.flatten(1)  # (C, h * w)
    if values.shape[1] > _PLACES:
        values = values[:, torch.randperm(values.shape[1], generator=seeded(0))[:_PLACES]]
    lines = torch.randn(LINES, values.shape[0], generator=seeded(1))
    lines = lines / lines.norm(dim=1, keepdim=True)
    ranked: Tensor = (lines @ values).sort(1).values
    at = (torch.arange(QUANTILES) + 0.5) / QUANTILES * ranked.shape[1]
    return ranked[:, at.long()]


def part_from(features: Tensor, others: Tensor) -> float:
    """Return sqrt(1 - r) of two pictures' features (C, h, w).

    They may differ in size by a row; r is their correlation.
    """
    if features.shape != others.shape:
        features = functional.interpolate(features[None], size=others.shape[1:], mode="area")[0]
    ours, theirs = (each - each.mean((1, 2), keepdim=True) for each in (features, others))
    both = float(ours.norm() * theirs.norm())
    if both == 0:  # a picture of one colour has nothing to do with any but another such
        return float(bool(ours.any() or theirs.any()))
    return math.sqrt(max(0.0, 1 - float((ours * theirs).sum()) / both))
