"""Inversions: pictures found from a photograph's features at one layer."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from impasto.errors import OptionError
from impasto.images.picture import ImageSource, Picture
from impasto.images.resizing import fit_size, resize_pixels
from impasto.images.transparency import read_opaque
from impasto.lab.one_layer import Exploration
from impasto.lab.options import InvertOptions
from impasto.losses.regularisers import range_penalty, total_variation
from impasto.losses.statistics import widen
from impasto.networks.autotune import load_tuned_backbone
from impasto.networks.vgg import Backbone
from impasto.painting.criterion import RANGE_WEIGHT
from impasto.painting.loop import Goal
from impasto.painting.memory_plan import Level
from impasto.painting.result import Painting
from impasto.work import Request, Step, finish

_ALPHA = 6.0  # the power of the pixel norm
RANGE = 80 / 255  # B: how far the pixels of photographs lie from grey


class Inversion(Exploration):
    """A picture found from a photograph's features at one layer.

    Mahendran and Vedaldi, *Understanding Deep Image Representations by Inverting Them* (2015).
    """

    operation = "invert"
    options: InvertOptions
    photo: Picture

    def __init__(
        self,
        photo: ImageSource,
        options: InvertOptions | None = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        options = options or InvertOptions()
        picture = read_opaque(photo, options.max_megapixels)
        if len(options.layer) != 1:
            raise OptionError("an inversion is of one layer; of several, impasto.invert_layers")
        backbone, machine = load_tuned_backbone(options)
        own = picture.size
        size = own if options.size is None else fit_size(*own, min(options.size, max(own)))
        super().__init__(
            options,
            backbone,
            machine,
            backbone.resolve(options.layer[0]),
            [size],
            photo=picture,
            checkpoint=checkpoint,
        )
        self.doing = f"inverting {self.layer} at"

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work that a request asks for."""
        options = InvertOptions.parse(request.options)
        return cls(request.one("content"), options, checkpoint=request.checkpoint)

    def begin(self, level: Level) -> tuple[Goal, Tensor]:
        """Return the distance from the photograph's features, and noise to start from."""
        photo = resize_pixels(self.photo.pixels, *level.size).to(self.machine.device)
        goal = FeatureMatch(self.backbone, self.layer, photo, self.options)
        best = self.run.best
        return goal, self.start_from_noise(level.size) if best is None else best


class FeatureMatch:
    """|F(x) - F(photo)|^2 / |F(photo)|^2 and the paper's two regularisers.

    Alpha norm and total variation are means over pixels around grey in units of B, the range of
    natural pictures (section 3; there, differences are also over a factor a, which is part of the
    weight here).
    """

    def __init__(
        self, backbone: Backbone, layer: str, photo: Tensor, options: InvertOptions
    ) -> None:
        self.backbone, self.layer, self.options = backbone, layer, options
        self.remarks: list[str] = []
        with torch.no_grad():
            self.target = widen(backbone(photo, [layer])[layer])
        self.length = self.target.square().sum().clamp_min(1e-12)

    def show(self, pixels: Tensor) -> Tensor:
        """Return the picture itself."""
        return pixels

    def __call__(self, pixels: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:  # noqa: ARG002
        """Return the total, to be differentiated, and its parts by name."""
        options = self.options
        seen = widen(self.backbone(pixels, [self.layer])[self.layer])
        distance = (seen - self.target).square().sum() / self.length
        alpha = ((pixels - 0.5) / RANGE).abs().pow(_ALPHA).mean()
        places = pixels.shape[-1] * pixels.shape[-2]
        tv = total_variation(pixels, options.tv_power) / places / RANGE**options.tv_power
        outside = range_penalty(pixels) / pixels.numel()
        total = distance + options.alpha_weight * alpha + options.tv_weight * tv
        parts = {"content": distance, "tv": tv, "alpha": alpha}
        return total + RANGE_WEIGHT * outside, parts


def invert(
    photo: ImageSource,
    options: InvertOptions | Mapping[str, Any] | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> Painting:
    """Find a picture from the features of ``photo`` at one layer."""
    return finish(Inversion(photo, InvertOptions.parse(options)), on_step)
