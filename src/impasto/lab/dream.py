"""Dreams: pictures that excite a class, a channel, or what a layer sees in a photograph."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Self

import torch
from torch import Tensor

from impasto.errors import ImageError, OptionError
from impasto.images.picture import ImageSource
from impasto.images.resizing import fit_size, resize_pixels
from impasto.images.transparency import read_opaque
from impasto.lab.inversion import RANGE
from impasto.lab.one_layer import Exploration
from impasto.lab.options import DreamOptions
from impasto.losses.regularisers import range_penalty, total_variation
from impasto.losses.statistics import widen
from impasto.networks.autotune import load_tuned_backbone
from impasto.networks.classifier import Classifier, load_classifier
from impasto.networks.vgg import Backbone
from impasto.painting.criterion import RANGE_WEIGHT
from impasto.painting.loop import Goal
from impasto.painting.memory_plan import Level
from impasto.painting.result import Painting
from impasto.system.devices import seeded
from impasto.work import Request, Step, finish

_SIDE = 224  # pixels of a dream that starts from noise
_SMALLEST_OCTAVE = 48  # pixels
_STILL = 0.5  # the share of a class's steps in which its shifts grow to their full reach


class Dream(Exploration):
    """A picture that excites a class, a channel, or whatever a layer sees in a photograph.

    Simonyan, Vedaldi and Zisserman (2014); Mordvintsev, Olah and Tyka (2015).
    """

    operation = "dream"
    doing = "dreaming"
    options: DreamOptions

    def __init__(
        self,
        photo: ImageSource | None = None,
        options: DreamOptions | None = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
    ) -> None:
        options = options or DreamOptions()
        if (options.label is None) == (options.layer is None):
            both = ", not both" if options.label else ""
            raise OptionError(f"a dream is of a class or of a layer: give --class or --layer{both}")
        if options.channel is not None and options.layer is None:
            raise OptionError("a channel is one of a layer: give --layer too")
        if options.layer is not None and options.channel is None and photo is None:
            raise OptionError("a whole layer is excited from a photograph: give one, or --channel")
        picture = None
        if photo is not None:
            picture = read_opaque(photo, options.max_megapixels)
        backbone, machine = load_tuned_backbone(options)
        self.classifier: Classifier | None = None
        if options.label is not None:
            self.classifier = load_classifier(options.backbone, weights=options.weights)
            self.classifier.place(machine)
            layer = backbone.resolve(self.classifier.layer)
            self.number: int | None = self.classifier.find(options.label)
        else:
            layer = backbone.resolve(str(options.layer))
            self.number = check_channel(backbone, layer, options.channel)
        own = (_SIDE, _SIDE) if picture is None else picture.size
        size = own if options.size is None else fit_size(*own, options.size)
        least = find_least_side(size, backbone.smallest_side(layer), self.classifier)
        sizes = plan_octaves(size, options, least)
        super().__init__(
            options, backbone, machine, layer, sizes, photo=picture, checkpoint=checkpoint
        )

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work that a request asks for."""
        options = DreamOptions.parse(request.options)
        return cls(request.some("content"), options, checkpoint=request.checkpoint)

    def begin(self, level: Level) -> tuple[Goal, Tensor]:
        """Return what is excited, and the picture to start from."""
        if self.photo is None:
            calm = self.start_from_noise(level.size)
        else:
            calm = resize_pixels(self.photo.pixels, *level.size).to(self.machine.device)
        return Excitement(self, calm), self._start(level, calm)

    def _start(self, level: Level, calm: Tensor) -> Tensor:
        """Return the best of the octave before, with the photograph's finer detail."""
        best = self.run.best
        if best is None:
            return calm
        best = best.to(calm)
        start = resize_pixels(best.clamp(0, 1), *level.size)
        if self.photo is not None:
            # The detail that the photograph has at this size and not at the one before.
            before = resize_pixels(calm, best.shape[-1], best.shape[-2])
            start = (start + calm - resize_pixels(before, *level.size)).clamp(0, 1)
        return start

    def show_nothing(self) -> Tensor:
        """Return what there is to show before the first step."""
        return super().show_nothing() if self.photo is None else self.photo.pixels


def find_least_side(size: tuple[int, int], least: int, classifier: Classifier | None) -> int:
    """Return the shortest side that layer and classifier can see; raise if the size has less."""
    if classifier is None:
        return least
    least = max(least, classifier.least)
    if min(size) < least:
        raise ImageError(
            f"a picture of {size[0]} x {size[1]} is too small for a classifier, which needs at "
            f"least {least} x {least}"
        )
    return least


def plan_octaves(size: tuple[int, int], options: DreamOptions, least: int) -> list[tuple[int, int]]:
    """Return sizes from coarse to fine, none with a side shorter than ``least``."""
    sizes = [size]
    for octave in range(1, options.octaves):
        side = round(max(size) / options.octave_scale**octave)
        if side < 1 or min(fit_size(*size, side)) < max(least, _SMALLEST_OCTAVE):
            break
        sizes.insert(0, fit_size(*size, side))
    return sizes


class Excitement:
    """Minus the score, with what keeps a picture a picture."""

    def __init__(self, dream: Dream, calm: Tensor) -> None:
        self.dream, self.options = dream, dream.options
        self.remarks: list[str] = []
        self.ground = torch.full_like(calm, 0.5) if dream.photo is None else calm
        self.unit = 1.0  # of a score of features: their size before anything is excited
        if dream.classifier is None:
            with torch.no_grad():
                features = widen(dream.backbone(calm, [dream.layer])[dream.layer])
            self.unit = max(float(features.square().mean().sqrt()), 1e-6)

    def show(self, pixels: Tensor) -> Tensor:
        """Return the picture itself."""
        return pixels

    def __call__(self, pixels: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total, to be differentiated, and its parts by name."""
        options = self.options
        draw = seeded((options.seed + 7919 * step) % 2**63)
        reach = self.find_reach(pixels, step)
        down, across = torch.randint(-reach, reach + 1, (2,), generator=draw).tolist()
        shifted = torch.roll(pixels, (down, across), (-2, -1))
        score = self.score(shifted)
        l2 = ((pixels - self.ground) / RANGE).square().mean()
        tv = total_variation(pixels, 2.0) / pixels[0, 0].numel() / RANGE**2
        outside = range_penalty(pixels) / pixels.numel()
        total = -score + options.l2_weight * l2 + options.tv_weight * tv + RANGE_WEIGHT * outside
        return total, {"score": score, "tv": tv, "l2": l2}

    def find_reach(self, pixels: Tensor, step: int) -> int:
        """Return by how much the picture is shifted at this step, at most.

        Of a class, small pictures are shifted as much less as they are smaller, and at first
        hardly: until there is something to see, each shift pulls another way, and whether anything
        came of it in time hung on the rounding of a processor.
        """
        if self.dream.classifier is None:
            return self.options.jitter
        size = max(pixels.shape[-2:]) / max(self.dream.size)
        grown = min(1.0, step / (_STILL * self.options.steps))
        return round(self.options.jitter * size * grown)

    def score(self, pixels: Tensor) -> Tensor:
        """Return the class's score, the channel's mean or the size of all features."""
        dream = self.dream
        features = dream.backbone(pixels, [dream.layer])[dream.layer]
        if dream.classifier is not None:
            return dream.classifier.scores(features)[0, dream.number]
        features = widen(features)
        if dream.number is not None:
            return features[0, dream.number].mean() / self.unit
        return features.square().mean().sqrt() / self.unit


def check_channel(backbone: Backbone, layer: str, channel: int | None) -> int | None:
    """Return the channel; raise if the layer has fewer."""
    count = backbone.count_channels(layer)
    if channel is not None and channel >= count:
        raise OptionError(f"{layer} has {count} channels, 0 to {count - 1}, and no {channel}")
    return channel


def dream(
    photo: ImageSource | None = None,
    options: DreamOptions | Mapping[str, Any] | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> Painting:
    """Make a picture of a class or a channel, or of what a layer sees in ``photo``."""
    return finish(Dream(photo, DreamOptions.parse(options)), on_step)
