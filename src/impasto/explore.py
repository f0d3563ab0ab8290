"""Pictures that show what a network sees: textures, inversions of features, dreams.

All are found by the painter's loop. Pictures are (1, 3, H, W) in [0, 1].
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from impasto.backbones import Backbone
from impasto.checkpoints import Checkpoint
from impasto.classifiers import Classifier, load_classifier
from impasto.devices import choose_machine, seeded
from impasto.errors import ImageError, OptionError
from impasto.images import ImageSource, Picture, fit_size, read_image, resize_pixels
from impasto.lab_options import DreamOptions, InvertOptions, TextureOptions, parse_size
from impasto.loop import Goal, Work
from impasto.losses import range_penalty, total_variation
from impasto.objective import RANGE_WEIGHT
from impasto.options import LoopOptions, PaintOptions
from impasto.painter import Painter
from impasto.paintings import Painting, Step
from impasto.plan import Level, grant_memory, make_plan
from impasto.scene import make_opaque
from impasto.sums import in_full
from impasto.targets import Targets
from impasto.trials import choose_numbers
from impasto.weights import load_backbone

Place = str | os.PathLike[str]
DREAM_SIDE = 224  # pixels of a dream of nothing
SMALLEST_OCTAVE = 48  # pixels
ALPHA = 6.0  # the power of the pixel norm
RANGE = 80 / 255  # B: how far the pixels of photographs lie from grey
LARGEST = 65536  # pixels of an exemplar's long side, as it is seen
NOISE = 0.05  # deviation of what nothing is started from
STILL = 0.5  # the share of a class's steps in which its shifts grow to their full reach

# --- textures -----------------------------------------------------------------------------------


class Texture(Painter):
    """More of a texture than there is: a painting that holds on to no photograph.

    Gatys, Ecker and Bethge, *Texture Synthesis Using Convolutional Neural Networks* (2015), at any
    size and with any style loss. Copies of a tileable one fit side by side: the network sees them.
    """

    operation = "texture"

    def __init__(
        self,
        style: ImageSource,
        options: TextureOptions | None = None,
        *,
        checkpoint: Place | None = None,
        targets: Targets | None = None,
    ) -> None:
        self.asked = options or TextureOptions()
        exemplar = read_image(style, max_megapixels=self.asked.max_megapixels)
        width, height = parse_size(self.asked.size)
        size = Picture(torch.full((1, 1, 1, 1), 0.5).expand(1, 3, height, width), name="texture")
        painting = self._as_painting(exemplar)
        super().__init__(size, exemplar, painting, checkpoint=checkpoint, targets=targets)

    def _as_painting(self, exemplar: Picture) -> PaintOptions:
        """Its options in a painter's words: the exemplar is seen at its own size."""
        own = self.asked.model_dump()
        scale = own.pop("style_scale")
        seen = round(max(exemplar.size) * scale)
        if seen > LARGEST:
            raise OptionError(
                f"style_scale: {scale:g} makes the texture {seen} pixels large; at most {LARGEST}"
            )
        own |= {"size": None, "style_size": (max(seen, 16),), "content_weight": 0.0}
        return PaintOptions.read({**own, "recolor": False})

    def describe_inputs(self) -> dict[str, Any]:
        return {"style": [style.name for style in self.styles]}

    def recipe(self) -> dict[str, Any]:
        recipe = super().recipe()
        known = TextureOptions.model_fields
        chosen = {name: value for name, value in recipe["options"].items() if name in known}
        own = {"size": self.asked.size, "style_scale": self.asked.style_scale}
        return recipe | {"options": chosen | own}


# --- what inversions and dreams share -----------------------------------------------------------


class Exploration(Work):
    """Work on whole pictures with one layer of a network, and nothing to paint after."""

    def __init__(self, options: LoopOptions, checkpoint: Place | None) -> None:
        self.options, self.notes = options, []
        self.checkpoint = None if checkpoint is None else Checkpoint(checkpoint)
        self.machine = choose_machine(options.device)
        self.backbone = load_backbone(
            options.backbone, weights=options.weights, pooling=options.pooling
        )
        self.machine = choose_numbers(
            self.backbone, self.machine, options.precision, options.layout
        )
        self.backbone.place(self.machine)
        chosen = {"precision": self.machine.describe_numbers(), "layout": self.machine.layout}
        self.options = options.model_copy(update=chosen)

    def _plan(self, sizes: list[tuple[int, int]], layer: str) -> None:
        """The sizes that are gone through, if there is memory for the last."""
        options = self.options
        self.size = sizes[-1]
        for size in sizes:
            self.backbone.check_size(*size, layer)
        shared = {name: getattr(options, name) for name in LoopOptions.model_fields}
        painting = PaintOptions(
            **shared, style_weight=0.0, content_layer=(layer,), start_size=65536
        )
        grant = grant_memory(self.machine.device, options.memory)

        def fits(size: tuple[int, int]) -> bool:
            blank = Picture(torch.zeros(1, 1, 1, 1).expand(1, 3, size[1], size[0]))
            plan = make_plan(self.backbone, self.machine, painting, blank, (), size, grant)
            return plan is not None and not plan.is_tight

        if not fits(self.size):
            side = max(self.size)
            while side >= 16 and not fits(fit_size(*self.size, side)):
                side = side * 9 // 10
            mend = f"--size {side} would fit" if side >= 16 else "and so does any other size"
            raise ImageError(
                f"{self.size[0]} x {self.size[1]} needs more memory than there is, and only "
                f"paintings are seen in tiles; {mend}"
            )
        ends = [round(options.steps * (i + 1) / len(sizes)) for i in range(len(sizes))]
        steps = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
        self.levels = [Level(s, n, math.inf, 1) for s, n in zip(sizes, steps, strict=True)]
        self.options = options.model_copy(update={"memory": None})  # with more, the same bytes
        self.progress = self.take_up()

    def result(self) -> Painting:
        best = self.progress.best
        pixels = self.show_nothing() if best is None else best.detach().float().cpu().clamp(0, 1)
        pixels = resize_pixels(pixels, *self.size)
        history = list(self.progress.history)
        return Painting(pixels, None, history, self.recipe(), list(self.notes))

    def show_nothing(self) -> Tensor:
        """What there is to show before the first step."""
        return torch.full((1, 3, self.size[1], self.size[0]), 0.5)

    def start_from_noise(self, size: tuple[int, int]) -> Tensor:
        draw = seeded(self.options.seed)
        noise = torch.randn(1, 3, size[1], size[0], generator=draw)
        return (0.5 + NOISE * noise).to(self.machine.device)


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
        self.photo = make_opaque(read_image(photo, max_megapixels=options.max_megapixels))
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

    def describe_inputs(self) -> dict[str, Any]:
        return {"content": self.photo.name}

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
            self.target = in_full(backbone(photo, [layer])[layer])
        self.length = self.target.square().sum().clamp_min(1e-12)

    def show(self, pixels: Tensor) -> Tensor:
        return pixels

    def __call__(self, pixels: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:  # noqa: ARG002
        options = self.options
        seen = in_full(self.backbone(pixels, [self.layer])[self.layer])
        distance = (seen - self.target).square().sum() / self.length
        alpha = ((pixels - 0.5) / RANGE).abs().pow(ALPHA).mean()
        places = pixels.shape[-1] * pixels.shape[-2]
        tv = total_variation(pixels, options.tv_power) / places / RANGE**options.tv_power
        outside = range_penalty(pixels) / pixels.numel()
        total = distance + options.alpha_weight * alpha + options.tv_weight * tv
        parts = {"content": distance, "tv": tv, "alpha": alpha}
        return total + RANGE_WEIGHT * outside, parts


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
            self.photo = make_opaque(read_image(photo, max_megapixels=options.max_megapixels))
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

    def describe_inputs(self) -> dict[str, Any]:
        return {} if self.photo is None else {"content": self.photo.name}

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
                features = in_full(dream.backbone(calm, [dream.layer])[dream.layer])
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
        """How far the picture is shifted at this step, at most.

        Of a class, small pictures are shifted as much less as they are smaller, and at first
        hardly: until there is something to see, each shift pulls another way, and whether anything
        came of it in time hung on the rounding of a processor.
        """
        if self.dream.classifier is None:
            return self.options.jitter
        size = max(pixels.shape[-2:]) / max(self.dream.size)
        grown = min(1.0, step / (STILL * self.options.steps))
        return round(self.options.jitter * size * grown)

    def score(self, pixels: Tensor) -> Tensor:
        dream = self.dream
        features = dream.backbone(pixels, [dream.layer])[dream.layer]
        if dream.classifier is not None:
            return dream.classifier.scores(features)[0, dream.number]
        features = in_full(features)
        if dream.number is not None:
            return features[0, dream.number].mean() / self.unit
        return features.square().mean().sqrt() / self.unit


def check_channel(backbone: Backbone, layer: str, channel: int | None) -> int | None:
    """The channel, if the layer has as many."""
    count = backbone.count_channels(layer)
    if channel is not None and channel >= count:
        raise OptionError(f"{layer} has {count} channels, 0 to {count - 1}, and no {channel}")
    return channel


# --- in one call --------------------------------------------------------------------------------


def texture(
    style: ImageSource,
    options: TextureOptions | Mapping[str, Any] | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> Painting:
    """More of the texture ``style``, at any size."""
    if options is not None and not isinstance(options, TextureOptions):
        options = TextureOptions.read(options)
    return finish(Texture(style, options), on_step)


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


def finish(work: Work, on_step: Callable[[Step], None] | None) -> Painting:
    for step in work.steps():
        if on_step is not None:
            on_step(step)
    return work.result()
