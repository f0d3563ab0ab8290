"""Inversions: pictures found from a photograph's features at one layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from impasto.errors import OptionError
from impasto.images.picture import ImageSource, InputPictures
from impasto.images.resizing import fit_size, resize_pixels
from impasto.images.transparency import read_opaque
from impasto.lab.one_layer import Exploration, Place, finish
from impasto.lab.options import InvertOptions
from impasto.losses.regularisers import range_penalty, total_variation
from impasto.losses.statistics import widen
from impasto.networks.vgg import Backbone
from impasto.painting.loop import Goal
from impasto.painting.memory_plan import Level
from impasto.painting.objective import RANGE_WEIGHT
from impasto.painting.result import Painting
from impasto.work import Step

ALPHA = 6.0  # the power of the pixel norm
RANGE = 80 / 255  # B: how far the pixels of photographs lie from grey


# --- inversion ----------------------------------------------------------------------------------


class Inversion(Exploration):
    """A picture found from a photograph's features at one layer.

    Mahendran and Vedaldi, *Understanding Deep Image Representations by Inverting Them* (2015).
    """

    operation = "invert"
    options: InvertOptions

    def __init__(
        self,
        photo: ImageSource,
        options: InvertOptions | None = None,
        *,
        checkpoint: Place | None = None,
    ) -> None:
        options = options or InvertOptions()
        self.photo = read_opaque(photo, options.max_megapixels)
        super().__init__(options, checkpoint)
        self.notes += [f"{self.photo.name}: {note}" for note in self.photo.notes]
        if len(options.layer) != 1:
            raise OptionError("an inversion is of one layer; of several, impasto.invert_layers")
        self.layer = self.backbone.resolve(options.layer[0])
        own = self.photo.size
        size = own if options.size is None else fit_size(*own, min(options.size, max(own)))
        self._plan([size], self.layer)

    def begin(self, level: Level) -> tuple[Goal, Tensor]:
        photo = resize_pixels(self.photo.pixels, *level.size).to(self.machine.device)
        goal = FeatureMatch(self.backbone, self.layer, photo, self.options)
        best = self.progress.best
        return goal, self.start_from_noise(level.size) if best is None else best

    def list_pictures(self) -> InputPictures:
        return {"content": self.photo}

    def list_inputs(self) -> Iterator[Tensor | None]:
        yield self.photo.pixels


class FeatureMatch:
    """|F(x) - F(photo)|^2 / |F(photo)|^2 and the paper's two regularisers, alpha norm and total
    variation, as means over pixels around grey in units of B, the range of natural ones (its
    section 3; there, differences are also over a factor a, which is part of the weight here)."""

    def __init__(
        self, backbone: Backbone, layer: str, photo: Tensor, options: InvertOptions
    ) -> None:
        self.backbone, self.layer, self.options = backbone, layer, options
        self.remarks: list[str] = []
        with torch.no_grad():
            self.target = widen(backbone(photo, [layer])[layer])
        self.length = self.target.square().sum().clamp_min(1e-12)

    def show(self, pixels: Tensor) -> Tensor:
        return pixels

    def __call__(self, pixels: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:  # noqa: ARG002
        options = self.options
        seen = widen(self.backbone(pixels, [self.layer])[self.layer])
        distance = (seen - self.target).square().sum() / self.length
        alpha = ((pixels - 0.5) / RANGE).abs().pow(ALPHA).mean()
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
    """A picture found from the features of ``photo`` at one layer."""
    if options is not None and not isinstance(options, InvertOptions):
        options = InvertOptions.read(options)
    return finish(Inversion(photo, options), on_step)
