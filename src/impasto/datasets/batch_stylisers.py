"""Stylisers of many small pictures at once: styles are learnt first, then batches are painted.

Pictures are (N, 3, H, W) in [0, 1], all of a batch of one size, each with its own style and its own
strength: 0 leaves it as it is, 1 lays on all of the style that there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from impasto.errors import OptionError
from impasto.images.color_transfer import carry_moments, color_statistics
from impasto.images.resizing import fit_size, resize_pixels
from impasto.instant.net import LEAST_STYLE, USUAL_WEIGHT, encode_style
from impasto.instant.painter import open_net
from impasto.instant.tiled_pass import place_net
from impasto.losses.regularisers import range_penalty, total_variation
from impasto.losses.statistics import measure_moments, widen
from impasto.networks.weights import load_backbone
from impasto.painting.loop import RunState, optimise, prepare
from impasto.painting.options import LoopOptions
from impasto.system.devices import MEMORY_LAYOUTS, Machine, settle_precision

_ChannelMoments = tuple[Tensor, Tensor]  # mean and deviation of each channel (N, C)

_LARGEST_STYLE = 512  # pixels of its long side; larger ones are made smaller


class Styliser(Protocol):
    """What paints a batch of pictures after styles that it knows."""

    least_style: ClassVar[int]  # pixels of a style's short side

    def learn(self, styles: Sequence[Tensor]) -> None:
        """Measure the styles (1, 3, H, W) that pictures will be painted after."""

    def paint(self, pixels: Tensor, styles: Sequence[int], strengths: Sequence[float]) -> Tensor:
        """Return the batch (N, 3, H, W), each picture after the style of its number."""


def check_batch(pixels: Tensor, styles: Sequence[int], strengths: Sequence[float]) -> None:
    """Raise an error where a batch does not say what to do with each of its pictures."""
    counts = (len(pixels), len(styles), len(strengths))
    if pixels.ndim != 4 or pixels.shape[1] != 3 or len(set(counts)) > 1:
        found = f"{tuple(pixels.shape)}, {counts[1]} styles and {counts[2]} strengths"
        raise OptionError(f"a batch has (N, 3, H, W), N styles and N strengths, not {found}")


def shrink_style(style: Tensor, side: int, least: int = 1) -> Tensor:
    """Return the style with at most that long side, its short side ``least`` pixels or more."""
    height, width = style.shape[2:]
    if max(height, width) <= side:
        return style
    width, height = (max(least, each) for each in fit_size(width, height, side))
    return resize_pixels(style, width, height)


# --- colours ------------------------------------------------------------------------------------


class ColorStyliser:
    """The style's colours alone: their mean and covariance, moving colours least."""

    least_style: ClassVar[int] = 1

    def learn(self, styles: Sequence[Tensor]) -> None:
        self.known = [color_statistics(shrink_style(style, _LARGEST_STYLE)) for style in styles]

    def paint(self, pixels: Tensor, styles: Sequence[int], strengths: Sequence[float]) -> Tensor:
        check_batch(pixels, styles, strengths)
        painted = [
            self._carry(picture[None], style, strength)
            for picture, style, strength in zip(pixels, styles, strengths, strict=True)
        ]
        return torch.cat(painted)

    def _carry(self, picture: Tensor, style: int, strength: float) -> Tensor:
        """Recolour as ``match_color`` does, with statistics of a style measured before."""
        matched = carry_moments(picture, *self.known[style]).clamp_(0, 1)
        return picture.lerp(matched, strength)


# --- colours, and statistics of features --------------------------------------------------------


class StatisticsStyliser:
    """The style's colours, and then some steps of Adam towards the moments of its features.

    Huang and Belongie 2017 (AdaIN) give the features of a picture the moments of a style's and
    decode them; here there is no decoder, and the pixels follow. Strength lies between the
    picture's own moments and the style's.
    """

    backbone_name = "compact"
    least_style: ClassVar[int] = 8
    layers = ("relu1_1", "relu2_1", "relu3_1")
    options = LoopOptions(steps=10, plateau=0, optimizer="adam", learning_rate=0.03)
    largest = 256  # long side that is painted: what is done to it is enlarged for larger pictures

    def __init__(self) -> None:
        # Not the faster of two trials, which may differ from one run to the next.
        machine = settle_precision(Machine(torch.device("cpu")))
        self.backbone = load_backbone(self.backbone_name).place(machine)
        self.color = ColorStyliser()

    def learn(self, styles: Sequence[Tensor]) -> None:
        self.color.learn(styles)
        self.styles = [shrink_style(style, _LARGEST_STYLE, self.least_style) for style in styles]
        self.known: dict[tuple[int, int], dict[str, _ChannelMoments]] = {}

    def paint(self, pixels: Tensor, styles: Sequence[int], strengths: Sequence[float]) -> Tensor:
        colored = self.color.paint(pixels, styles, strengths)
        height, width = pixels.shape[2:]
        if max(height, width) <= self.largest:
            return self._paint_over(colored, styles, strengths)
        small = resize_pixels(colored, *fit_size(width, height, self.largest))
        painted = resize_pixels(self._paint_over(small, styles, strengths), width, height)
        # What was done to it, on all that the large one shows.
        return (colored + painted - resize_pixels(small, width, height)).clamp_(0, 1)

    def _paint_over(
        self, colored: Tensor, styles: Sequence[int], strengths: Sequence[float]
    ) -> Tensor:
        side = max(colored.shape[2:])
        known = [self._measure(style, side) for style in styles]
        goal = StatisticsGoal(self, colored, known, torch.tensor(strengths))
        canvas, optimizer = prepare(colored, self.options, {})
        run = RunState()
        for _ in optimise(goal, canvas, optimizer, self.options.steps, run, self.options):
            pass
        assert run.best is not None
        return run.best.clamp(0, 1)

    @torch.no_grad()
    def _measure(self, style: int, side: int) -> dict[str, _ChannelMoments]:
        seen_at = choose_style_side(side)
        if (style, seen_at) not in self.known:
            seen = shrink_style(self.styles[style], seen_at, self.least_style)
            features = self.backbone(seen, self.layers)
            moments = {name: measure_moments(each) for name, each in features.items()}
            self.known[style, seen_at] = moments
        return self.known[style, seen_at]


class StatisticsGoal:
    """The loss of a batch: of moments to those wanted, and of features to what they were."""

    content_weight = 0.1
    tv_weight = 0.5
    range_weight = 100.0

    def __init__(
        self,
        styliser: StatisticsStyliser,
        start: Tensor,
        styles: Sequence[dict[str, _ChannelMoments]],
        strengths: Tensor,
    ) -> None:
        self.remarks: list[str] = []
        self.backbone, self.layers = styliser.backbone, styliser.layers
        self.roots = strengths.sqrt().view(-1, 1, 1, 1)
        self.deepest = self.layers[-1]
        with torch.no_grad():
            features = self.backbone(start, self.layers)
            self.wanted: dict[str, _ChannelMoments] = {}
            self.sizes: dict[str, Tensor] = {}  # of a style's features, squared (N,)
            for name, each in features.items():
                mean = torch.cat([style[name][0] for style in styles])  # (N, C)
                deviation = torch.cat([style[name][1] for style in styles])
                self.sizes[name] = (mean.square() + deviation.square()).sum(1).clamp_min(1e-8)
                own = measure_moments(each)
                share = strengths[:, None]
                self.wanted[name] = own[0].lerp(mean, share), own[1].lerp(deviation, share)
            self.content = widen(features[self.deepest])
            self.spread = self.content.var((1, 2, 3)).clamp_min(1e-6)  # (N,)

    def show(self, pixels: Tensor) -> Tensor:
        return pixels

    def __call__(self, pixels: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:  # noqa: ARG002
        features = self.backbone(pixels, self.layers)
        style = pixels.new_zeros(())
        for name, (mean, deviation) in self.wanted.items():
            own_mean, own_deviation = measure_moments(features[name])
            apart = (own_mean - mean).square() + (own_deviation - deviation).square()  # (N, C)
            style = style + (apart.sum(1) / self.sizes[name]).sum() / len(self.layers)
        moved = (widen(features[self.deepest]) - self.content).square().mean((1, 2, 3))
        content = (moved / self.spread).sum()
        numbers = pixels[0].numel()
        tv = total_variation(pixels * self.roots) / numbers  # as much as there is to even out
        total = style + self.content_weight * content + self.tv_weight * tv
        total = total + self.range_weight * range_penalty(pixels) / numbers
        return total, {"style": style, "content": content, "tv": tv}


# --- a network that paints in one pass -----------------------------------------------------------


class InstantStyliser:
    """The network for any style, a batch at a time."""

    least_style: ClassVar[int] = LEAST_STYLE

    def __init__(self) -> None:
        self.machine = settle_precision(Machine(torch.device("cpu")))
        file = open_net("any")
        assert file.reader is not None
        self.reader, self.net = file.reader, place_net(file.net, self.machine)
        self.backbone = load_backbone("compact").place(self.machine)
        self.color = ColorStyliser()

    def learn(self, styles: Sequence[Tensor]) -> None:
        self.color.learn(styles)
        self.styles = [shrink_style(style, _LARGEST_STYLE, self.least_style) for style in styles]
        self.known: dict[tuple[int, int], Tensor] = {}

    @torch.no_grad()
    def paint(self, pixels: Tensor, styles: Sequence[int], strengths: Sequence[float]) -> Tensor:
        colored = self.color.paint(pixels, styles, [1.0] * len(pixels))
        side = choose_style_side(max(pixels.shape[2:]))
        numbers = torch.cat([self._read(style, side) for style in styles])
        layout = MEMORY_LAYOUTS[self.machine.layout]
        painted = self.net(colored.contiguous(memory_format=layout), numbers).clamp_(0, 1)
        return pixels.lerp(painted, torch.tensor(strengths).view(-1, 1, 1, 1))

    def _read(self, style: int, side: int) -> Tensor:
        if (style, side) not in self.known:
            seen = shrink_style(self.styles[style], side, self.least_style)
            code = encode_style(self.backbone, seen)
            weights = torch.tensor([USUAL_WEIGHT])
            self.known[style, side] = self.reader.dial(self.reader.read(code), weights)
        return self.known[style, side]


def choose_style_side(side: int) -> int:
    """Return the long side at which styles are seen for pictures of that one.

    It is two to four times as large, so that strokes are wide enough to be seen; and in steps, so
    that a style is not measured anew for every size.
    """
    return min(_LARGEST_STYLE, 2 << (side - 1).bit_length())


STYLISERS: dict[str, type[Styliser]] = {
    "color": ColorStyliser,
    "instant": InstantStyliser,
    "statistics": StatisticsStyliser,
}
