"""Networks that paint in one pass: photographs and the parameters of a style in, paintings out.

A ``PaintingNet`` is convolutions that all styles share. What a style is to it are the scale and
shift of every normalisation (conditional instance normalisation, Dumoulin et al. 2017). These
parameters, called ``numbers`` here, are learnt for each style of a net of many, or read by a
``CodeReader`` from the means and standard deviations of a backbone's features of any picture (Huang
and Belongie 2017; Ghiasi et al. 2017). Photographs come in the style's colours already (optimal
transport, ``color_transfer.match_color``), so that a net has only strokes to lay.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from impasto.losses.statistics import weigh_moments, widen
from impasto.networks.vgg import Backbone
from impasto.system.devices import seeded

CODE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
LEAST_STYLE = 32  # pixels of a style's short side: a backbone sees no less
_HIDDEN = 192
GRAIN = 512  # pixels a side, before it comes again
MARGIN = 32  # pixels around the photograph, which hide the zeros beyond
NORM_EPSILON = 1e-5

Walk = Generator[Tensor, Tensor, Tensor]  # yields what is to be normalised, is sent it normalised


@dataclass(frozen=True)
class NetShape:
    """How a net is built: the channels at each size, every one half of that before."""

    widths: tuple[int, ...]
    blocks: int  # residual ones, at the smallest size
    fold: int  # that many pixels a side are one cell of the first size
    kernel: int  # of the first and the last convolution
    skips: bool  # whether what was seen on the way down is added on the way up
    grain: bool  # whether it is given noise, to begin strokes at on what is even


NET_SHAPES = {
    "any": NetShape((32, 96), 4, fold=2, kernel=3, skips=True, grain=True),
    "slim": NetShape((32, 64), 4, fold=2, kernel=3, skips=True, grain=True),
    # Johnson et al. 2016, supplement, with instance normalisation (Ulyanov et al. 2016) and, in
    # place of its transposed convolutions, enlarging and then convolving (Odena et al. 2016):
    # bilinearly, as blocks showed with nearest neighbours.
    "johnson": NetShape((32, 64, 128), 5, fold=1, kernel=9, skips=False, grain=False),
}


class PaintingNet(nn.Module):
    """A photograph in, a painting out."""

    def __init__(self, layout: NetShape) -> None:
        super().__init__()
        self.layout = layout
        widths, fold, around = layout.widths, layout.fold, layout.kernel // 2
        planes = 3 + layout.grain
        self.entry = nn.Conv2d(planes * fold**2, widths[0], layout.kernel, padding=around)
        self.down = nn.ModuleList(
            [nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths)]
        )
        last = widths[-1]
        self.middle = nn.ModuleList(
            [nn.Conv2d(last, last, 3, padding=1) for _ in range(2 * layout.blocks)]
        )
        self.up = nn.ModuleList(
            [nn.Conv2d(b, a, 3, padding=1) for a, b in reversed(list(pairwise(widths)))]
        )
        self.exit = nn.Conv2d(widths[0], 3 * fold**2, layout.kernel, padding=around)
        self.channels = (*widths, *[last] * (2 * layout.blocks), *reversed(widths[:-1]))
        self.grain = nn.Buffer(draw_grain(), persistent=False)
        self.smoothing = nn.Buffer(spread_cells(fold).repeat(3, 1, 1, 1), persistent=False)
        # It begins as the photograph, nearly.
        nn.init.normal_(self.exit.weight, std=0.17 * self.exit.weight[0].numel() ** -0.5)
        nn.init.zeros_(self.exit.get_parameter("bias"))

    def renew_grain(self, seed: int = 0) -> None:
        """Draw another grain, as for every step of learning.

        What is always the same is learnt by heart, and comes again in every painting.
        """
        self.grain.copy_(draw_grain(seed))

    @property
    def stride(self) -> int:
        """Pixels of a cell of the smallest size."""
        return self.layout.fold << len(self.down)

    @property
    def reach(self) -> int:
        """How many pixels beyond its own, at most, one of the painting depends on.

        The normalisations are left out, which see all.
        """
        fold, deepest = self.layout.fold, self.stride
        sizes = [fold << i for i in range(len(self.down))]
        ends = 2 * fold * (self.layout.kernel // 2) + fold - 1
        # A cell comes from cells of half its size, and they later from four of its like.
        return ends + 5 * sum(sizes) + 2 * self.layout.blocks * deepest + deepest

    @property
    def count(self) -> int:
        """How many parameters ("numbers") a style has."""
        return 2 * sum(self.channels)

    def walk(self, padded: Tensor) -> Walk:
        """Go from what ``pad`` gave, or tiles of it, to what is added to the photograph."""
        fold = self.layout.fold
        x = functional.pixel_unshuffle(padded, fold) if fold > 1 else padded
        x = functional.relu_((yield self.entry(x)))
        skips = []
        for conv in self.down:
            skips.append(x if self.layout.skips else None)
            x = functional.relu_((yield conv(x)))
        for first, second in zip(self.middle[::2], self.middle[1::2], strict=True):
            y = functional.relu_((yield first(x)))
            x = (yield second(y)).add_(x)
        for conv in self.up:
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = yield conv(x)
            skip = skips.pop()
            x = functional.relu_(x if skip is None else x.add_(skip))
        added: Tensor = self.exit(x)
        if fold > 1:
            pixels = functional.pixel_shuffle(added, fold)
            added = functional.conv2d(pixels, self.smoothing, padding=fold - 1, groups=3)
        return added

    def pad(self, photos: Tensor) -> Tensor:
        """Return photographs in [-1, 1], mirrored to multiples of the stride, with the grain."""
        # Pixels lie together, as the net likes it, and rows are copied whole.
        padded = (photos * 2 - 1).to(self.entry.weight.dtype).permute(0, 2, 3, 1).contiguous()
        for dim in (1, 2):
            side = padded.shape[dim]
            seen = mirror_side(side, MARGIN, MARGIN + -side % self.stride)
            padded = padded.index_select(dim, seen.to(padded.device))
        if self.layout.grain:
            count, height, width, _ = padded.shape
            grain = self.grain.to(padded).repeat(count, 1, -(-height // GRAIN), -(-width // GRAIN))
            grain = grain[:, 0, :height, :width, None]
            padded = torch.cat([padded, grain], 3)
        return padded.permute(0, 3, 1, 2)

    def forward(self, photos: Tensor, numbers: Tensor) -> Tensor:
        """Paint photographs (N, 3, H, W) in their styles' colours, by parameters (N, count)."""
        height, width = photos.shape[-2:]
        manners = iter(self.split(numbers))

        def norm(x: Tensor) -> Tensor:
            scale, shift = next(manners)
            if len(x) == 1 and not torch.is_grad_enabled():  # torch's own, in one go
                parts = (1 + scale[0]).float(), shift[0].float()
                return functional.batch_norm(x, None, None, *parts, training=True, eps=NORM_EPSILON)
            return StyledNorm.apply(x, scale, shift)  # type: ignore[no-any-return,no-untyped-call]

        added = run_layers(self.walk(self.pad(photos)), norm)
        return photos + added[..., MARGIN : MARGIN + height, MARGIN : MARGIN + width]

    def split(self, numbers: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return the scale and the shift (N, C) of every normalisation."""
        parts = torch.split(numbers, [2 * each for each in self.channels], 1)
        return [(scale, shift) for scale, shift in (part.chunk(2, 1) for part in parts)]


def mirror_side(side: int, before: int, after: int) -> Tensor:
    """Return which pixels are seen where a side is continued so far by its mirror image."""
    seen = torch.arange(-before, side + after) % (2 * side)
    return torch.minimum(seen, 2 * side - 1 - seen)


def draw_grain(seed: int = 0) -> Tensor:
    """Draw noise with a variance of 1, in numbers that float16 has."""
    return torch.randn(1, 1, GRAIN, GRAIN, generator=seeded(seed)).half().float()


def spread_cells(fold: int) -> Tensor:
    """Return a kernel (1, 1, k, k): the mean over a cell's size, twice.

    No pattern that repeats with every cell comes through it; pixels of a cell are made by weights
    of their own, and would show one.
    """
    sides = torch.arange(1 - fold, fold)
    slope = (fold - sides.abs()) / fold**2
    return torch.outer(slope, slope)[None, None]


def run_layers(walk: Walk, norm: Callable[[Tensor], Tensor]) -> Tensor:
    """Run the network to its end."""
    x = next(walk)
    while True:
        try:
            x = walk.send(norm(x))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


# --- normalisation ------------------------------------------------------------------------------


class StyledNorm(torch.autograd.Function):
    """Instance normalisation of x (N, C, H, W) with a scale and a shift (N, C) for each picture.

    It is in the precision of x, but for the sums, and passes over it as seldom as can be.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        mean = x.mean((2, 3), dtype=torch.float32)
        square = x.square().mean((2, 3), dtype=torch.float32)
        inverse = (square - mean.square()).clamp_min(0).add_(NORM_EPSILON).rsqrt_()
        times = (1 + scale.float()) * inverse
        ctx.save_for_backward(x, mean, inverse, times)
        plus = shift.float() - mean * times
        return torch.addcmul(spread(plus, x), x, spread(times, x))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, output: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, mean, inverse, times = ctx.saved_tensors
        shift = output.sum((2, 3), dtype=torch.float32)
        product = (output * x).sum((2, 3), dtype=torch.float32)
        scale = (product - mean * shift) * inverse  # sum of the output's gradient * normalised x
        count = x[0, 0].numel()
        bend = -times * inverse * scale / count
        rest = -times * shift / count - bend * mean
        gradient = torch.addcmul(spread(rest, x), x, spread(bend, x))
        gradient.addcmul_(output, spread(times, x))
        return gradient, scale, shift


def spread(numbers: Tensor, like: Tensor) -> Tensor:
    """Shape a number of each channel (N, C) for all positions."""
    return numbers[..., None, None].to(like.dtype)


# --- any style ----------------------------------------------------------------------------------


class CodeReader(nn.Module):
    """Reads the parameters of a style from its code."""

    def __init__(self, code: int, count: int) -> None:
        super().__init__()
        last = nn.Linear(_HIDDEN, count)
        self.layers = nn.Sequential(nn.Linear(code, _HIDDEN), nn.ReLU(), last)
        # In units of the codes of many styles, which training measures.
        self.mean = nn.Parameter(torch.zeros(code), requires_grad=False)
        self.deviation = nn.Parameter(torch.ones(code), requires_grad=False)
        nn.init.zeros_(last.bias)
        nn.init.normal_(last.weight, std=0.02)

    def forward(self, codes: Tensor) -> Tensor:
        """Return parameters (N, count) of codes (N, code)."""
        numbers: Tensor = self.layers((codes - self.mean) / self.deviation)
        return numbers


def encode_style(backbone: Backbone, styles: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return codes (N, 2 x channels) of style pictures (N, 3, H, W).

    A code is the means and standard deviations of every code layer's channels, over what a mask
    (1, 1, H, W) leaves of the pictures.
    """
    seen = backbone(styles, CODE_LAYERS)
    moments: list[Tensor] = []
    for name in CODE_LAYERS:
        features = widen(seen[name])  # (N, C, h, w)
        weights = torch.ones_like(features[:1, :1])
        if mask is not None:
            weights = functional.interpolate(mask.to(weights), weights.shape[2:], mode="area")
        moments += weigh_moments(features, weights)
    return torch.cat(moments, 1)


def code_size(backbone: Backbone) -> int:
    """Return the length of a code."""
    return 2 * sum(backbone.count_channels(name) for name in CODE_LAYERS)
