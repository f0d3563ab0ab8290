"""Dreams: pictures that excite a class, a channel, or what a layer sees in a photograph."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from impasto.errors import ImageError, OptionError
from impasto.images.picture import ImageSource, InputPictures
from impasto.images.resizing import fit_size, resize_pixels
from impasto.images.transparency import read_opaque
from impasto.lab.inversion import RANGE
from impasto.lab.one_layer import Exploration, Place, finish
from impasto.lab.options import DreamOptions
from impasto.losses.regularisers import range_penalty, total_variation
from impasto.losses.statistics import widen
from impasto.networks.classifier import Classifier, load_classifier
from impasto.networks.vgg import Backbone
from impasto.painting.loop import Goal
from impasto.painting.memory_plan import Level
from impasto.painting.objective import RANGE_WEIGHT
from impasto.painting.result import Painting
from impasto.system.devices import seeded
from impasto.work import Step

DREAM_SIDE = 224  # pixels of a dream of nothing
SMALLEST_OCTAVE = 48  # pixels
_STILL = 0.5  # the share of a class's steps in which its shifts grow to their full reach


# --- dreams -------------------------------------------------------------------------------------


class Dream(Exploration):
    """A picture that excites a class (Simonyan et al. 2014), a channel, or whatever a layer sees in
    a photograph already (Mordvintsev et al. 2015)."""

    operation = "dream"
    options: DreamOptions

    def __init__(
        self,
        photo: ImageSource | None = None,
        options: DreamOptions | None = None,
        *,
        checkpoint: Place | None = None,
    ) -> None:
        options = options or DreamOptions()
        if (options.label is None) == (options.layer is None):
            both = ", not both" if options.label else ""
            raise OptionError(f"a dream is of a class or of a layer: give --class or --layer{both}")
        if options.channel is not None and options.layer is None:
            raise OptionError("a channel is one of a layer: give --layer too")
        if options.layer is not None and options.channel is None and photo is None:
            raise OptionError("a whole layer is excited from a photograph: give one, or --channel")
        self.photo = None
        if photo is not None:
            self.photo = read_opaque(photo, options.max_megapixels)
        super().__init__(options, checkpoint)
        if self.photo is not None:
            self.notes += [f"{self.photo.name}: {note}" for note in self.photo.notes]
        self.classifier: Classifier | None = None
        if options.label is not None:
            self.classifier = load_classifier(options.backbone, weights=options.weights)
            self.classifier.place(self.machine)
            self.layer = self.backbone.resolve(self.classifier.layer)
            self.number: int | None = self.classifier.find(options.label)
        else:
            self.layer = self.backbone.resolve(str(options.layer))
            self.number = check_channel(self.backbone, self.layer, options.channel)
        self._plan(self._choose_sizes(), self.layer)

    def _choose_sizes(self) -> list[tuple[int, int]]:
        """Octaves, from coarse to fine; those too small for the layer are left out."""
        options = self.options
        own = (DREAM_SIDE, DREAM_SIDE) if self.photo is None else self.photo.size
        size = own if options.size is None else fit_size(*own, options.size)
        least = self.backbone.smallest_side(self.layer)
        if self.classifier is not None:
            least = max(least, self.classifier.least)
            if min(size) < least:
                raise ImageError(
                    f"a picture of {size[0]} x {size[1]} is too small for a classifier, which "
                    f"needs at least {least} x {least}"
                )
        sizes = [size]
        for octave in range(1, options.octaves):
            side = round(max(size) / options.octave_scale**octave)
            if side < 1 or min(fit_size(*size, side)) < max(least, SMALLEST_OCTAVE):
                break
            sizes.insert(0, fit_size(*size, side))
        return sizes

    def begin(self, level: Level) -> tuple[Goal, Tensor]:
        if self.photo is None:
            calm = self.start_from_noise(level.size)
        else:
            calm = resize_pixels(self.photo.pixels, *level.size).to(self.machine.device)
        return Excitement(self, calm), self._start(level, calm)

    def _start(self, level: Level, calm: Tensor) -> Tensor:
        best = self.progress.best
        if best is None:
            return calm
        best = best.to(calm)
        start = resize_pixels(best.clamp(0, 1), *level.size)
        if self.photo is not None:
            # What the photograph has at this size and had not at the one before, which the dream
            # was enlarged from.
            before = resize_pixels(calm, best.shape[-1], best.shape[-2])
            start = (start + calm - resize_pixels(before, *level.size)).clamp(0, 1)
        return start

    def show_nothing(self) -> Tensor:
        return super().show_nothing() if self.photo is None else self.photo.pixels

    def list_pictures(self) -> InputPictures:
        return {} if self.photo is None else {"content": self.photo}

    def list_inputs(self) -> Iterator[Tensor | None]:
        yield None if self.photo is None else self.photo.pixels


class Excitement:
    """Minus the score, with what keeps a picture a picture."""

    def __init__(self, dream: Dream, calm: Tensor) -> None:
        self.dream, self.options = dream, dream.options
        self.remarks: list[str] = []
        self.ground = torch.full_like(calm, 0.5) if dream.photo is None else calm
        self.unit = 1.0  # of a score of features: how they are where nothing is excited
        if dream.classifier is None:
            with torch.no_grad():
                features = widen(dream.backbone(calm, [dream.layer])[dream.layer])
            self.unit = max(float(features.square().mean().sqrt()), 1e-6)

    def show(self, pixels: Tensor) -> Tensor:
        return pixels

    def __call__(self, pixels: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
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
        dream = self.dream
        features = dream.backbone(pixels, [dream.layer])[dream.layer]
        if dream.classifier is not None:
            return dream.classifier.scores(features)[0, dream.number]
        features = widen(features)
        if dream.number is not None:
            return features[0, dream.number].mean() / self.unit
        return features.square().mean().sqrt() / self.unit


def check_channel(backbone: Backbone, layer: str, channel: int | None) -> int | None:
    """The channel, if the layer has as many."""
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
    """A picture of a class or a channel, or what a layer sees in ``photo``."""
    if options is not None and not isinstance(options, DreamOptions):
        options = DreamOptions.read(options)
    return finish(Dream(photo, options), on_step)
