"""Networks that paint in one pass: photographs and the parameters of a style in, paintings out.

A ``PaintingNet`` is convolutions that all styles share. What a style is to it are the scale and
shift of every normalisation (conditional instance normalisation, Dumoulin et al. 2017). These
parameters, called ``numbers`` here, are learnt for each style of a net of many, or read by a
``DialReader`` from the means and standard deviations of a backbone's features of any picture (Huang
and Belongie 2017; Ghiasi et al. 2017). Photographs come in the style's colours already (optimal
transport, ``color_transfer.match_color``), so that a net has only strokes to lay.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from impasto.losses.statistics import weigh_moments, widen
from impasto.networks.reflection import ReflectedConv, reflect_border
from impasto.networks.vgg import Backbone
from impasto.system.devices import seeded

CODE_LAYERS = tuple(f"relu{block}_1" for block in range(1, 6))
LEAST_STYLE = 32  # pixels of a style's short side: a backbone sees no less
_WIDTH = 256  # of what a reader with a dial knows of a style
_POWERS = 3  # of the style weight's logarithm, that its dial is turned by
FARTHEST = 5.0  # deviations from what is usual, that a reader with a dial takes a code to be
LARGEST_NUMBER = 24.0  # that it gives: without bounds, it runs away while it learns
USUAL_WEIGHT = 15.0  # of the style: the painter's default
DECADES = 1.0  # that style weights are taught below and above it
GRAIN = 512  # pixels a side, before it comes again
MARGIN = 32  # pixels around the photograph, which hide the zeros beyond
NORM_EPSILON = 1e-5

# Of a normalisation, the mean of each channel and one over its deviation, (N, C) both.
NormStatistics = tuple[Tensor, Tensor]
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
    # Whether, on the way up, it first narrows and then, at the larger size, convolves again.
    refine: bool = False
    reflect: bool = False  # whether what lies beyond an edge is its mirror image, or else zeros

    @property
    def margin(self) -> int:
        """Pixels around the photograph, which hide the zeros beyond."""
        return 0 if self.reflect else MARGIN


NET_SHAPES = {
    "any": NetShape(
        (24, 48, 96), 4, fold=2, kernel=3, skips=True, grain=True, refine=True, reflect=True
    ),
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
        widths, fold, kernel = layout.widths, layout.fold, layout.kernel

        def conv(entering: int, leaving: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
            make = ReflectedConv if layout.reflect else nn.Conv2d
            return make(entering, leaving, size, stride=stride, padding=size // 2)

        planes, last = 3 + layout.grain, widths[-1]
        self.entry = conv(planes * fold**2, widths[0], kernel)
        self.down = nn.ModuleList([conv(a, b, stride=2) for a, b in pairwise(widths)])
        self.middle = nn.ModuleList([conv(last, last) for _ in range(2 * layout.blocks)])
        self.up = nn.ModuleList([conv(b, a) for a, b in reversed(list(pairwise(widths)))])
        again = reversed(widths[:-1]) if layout.refine else ()
        self.again = nn.ModuleList([conv(a, a) for a in again])
        self.exit = conv(widths[0], 3 * fold**2, kernel)
        ways_up = [each for each in reversed(widths[:-1]) for _ in range(1 + layout.refine)]
        self.channels = (*widths, *[last] * (2 * layout.blocks), *ways_up)
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
        ways = 6 if self.layout.refine else 5
        return ends + ways * sum(sizes) + 2 * self.layout.blocks * deepest + deepest

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
        for i, conv in enumerate(self.up):
            skip = skips.pop()
            if self.layout.refine:
                x = enlarge(conv(x))
                x = functional.relu_((yield x if skip is None else x.add_(skip)))
                x = functional.relu_((yield self.again[i](x)))
            else:
                x = yield conv(enlarge(x))
                x = functional.relu_(x if skip is None else x.add_(skip))
        added: Tensor = self.exit(x)
        if fold > 1:
            added = self.smooth(functional.pixel_shuffle(added, fold))
        return added

    def smooth(self, pixels: Tensor) -> Tensor:
        """Return pixels averaged over a cell's size, twice."""
        around = self.layout.fold - 1
        if self.layout.reflect:
            pixels, around = reflect_border(pixels, around), 0
        return functional.conv2d(pixels, self.smoothing, padding=around, groups=3)

    def pad(self, photos: Tensor, grain: Tensor | None = None) -> Tensor:
        """Return photographs in [-1, 1], mirrored to multiples of the stride, with the grain.

        A grain (N, 1, H, W) or (1, 1, H, W) of the photographs' own is mirrored as they are.
        """
        # Pixels lie together, as the net likes it, and rows are copied whole.
        padded = (photos * 2 - 1).to(self.entry.weight.dtype).permute(0, 2, 3, 1)
        if grain is not None and self.layout.grain:
            own = grain.to(padded).expand(len(photos), -1, -1, -1)
            padded = torch.cat([padded, own.permute(0, 2, 3, 1)], 3)
        padded = padded.contiguous()
        margin = self.layout.margin
        for dim in (1, 2):
            side = padded.shape[dim]
            after = -side % self.stride
            if self.layout.reflect:  # two cells, as one is to be mirrored
                after = max(after, 2 * self.stride - side)
            if margin or after:
                seen = mirror_side(side, margin, margin + after)
                padded = padded.index_select(dim, seen.to(padded.device))
        if self.layout.grain and grain is None:
            count, height, width, _ = padded.shape
            tiled = self.grain.to(padded).repeat(count, 1, -(-height // GRAIN), -(-width // GRAIN))
            padded = torch.cat([padded, tiled[:, 0, :height, :width, None]], 3)
        return padded.permute(0, 3, 1, 2)

    def forward(
        self,
        photos: Tensor,
        numbers: Tensor,
        grain: Tensor | None = None,
        held: Sequence[NormStatistics] | None = None,
    ) -> Tensor:
        """Paint photographs (N, 3, H, W) in their styles' colours, by parameters (N, count).

        ``grain`` is the noise of each pixel, if it is not the net's own; with ``held``, what
        ``measure`` gave, the normalisations take those statistics in place of the photographs'.
        """
        return self.paint(photos, numbers, grain, held)[0]

    def measure(
        self, photos: Tensor, numbers: Tensor, grain: Tensor | None = None
    ) -> tuple[Tensor, list[NormStatistics]]:
        """Return paintings, and the statistics by which every normalisation made them."""
        found: list[NormStatistics] = []
        return self.paint(photos, numbers, grain, None, found)

    def paint(
        self,
        photos: Tensor,
        numbers: Tensor,
        grain: Tensor | None,
        held: Sequence[NormStatistics] | None,
        found: list[NormStatistics] | None = None,
    ) -> tuple[Tensor, list[NormStatistics]]:
        """Return paintings; statistics that are ``found`` are put there."""
        height, width = photos.shape[-2:]
        manners = iter(self.split(numbers))
        known = None if held is None else iter(held)

        def norm(x: Tensor) -> Tensor:
            scale, shift = next(manners)
            if known is not None:
                return normalise_by(x, scale, shift, next(known))
            if found is None and len(x) == 1 and not torch.is_grad_enabled():
                parts = (1 + scale[0]).float(), shift[0].float()  # torch's own, in one go
                return functional.batch_norm(x, None, None, *parts, training=True, eps=NORM_EPSILON)
            y, mean, inverse = StyledNorm.apply(x, scale, shift)  # type: ignore[no-untyped-call]
            if found is not None:
                found.append((mean, inverse))
            return y  # type: ignore[no-any-return]

        added = run_layers(self.walk(self.pad(photos, grain)), norm)
        edge = self.layout.margin
        painted = photos + added[..., edge : edge + height, edge : edge + width]
        return painted, found or []

    def split(self, numbers: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return the scale and the shift (N, C) of every normalisation."""
        parts = torch.split(numbers, [2 * each for each in self.channels], 1)
        return [(scale, shift) for scale, shift in (part.chunk(2, 1) for part in parts)]


def enlarge(x: Tensor) -> Tensor:
    """Return features at twice the size."""
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


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
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean = x.mean((2, 3), dtype=torch.float32)
        square = x.square().mean((2, 3), dtype=torch.float32)
        inverse = (square - mean.square()).clamp_min(0).add_(NORM_EPSILON).rsqrt_()
        times = (1 + scale.float()) * inverse
        ctx.save_for_backward(x, mean, inverse, times)
        plus = shift.float() - mean * times
        ctx.mark_non_differentiable(mean, inverse)
        return torch.addcmul(spread(plus, x), x, spread(times, x)), mean, inverse

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, output: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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


def normalise_by(x: Tensor, scale: Tensor, shift: Tensor, known: NormStatistics) -> Tensor:
    """Return the same by statistics that are known: every pixel by itself."""
    mean, inverse = known
    times = (1 + scale.float()) * inverse
    plus = shift.float() - mean * times
    return torch.addcmul(spread(plus, x), x, spread(times, x))


def spread(numbers: Tensor, like: Tensor) -> Tensor:
    """Shape a number of each channel (N, C) for all positions."""
    return numbers[..., None, None].to(like.dtype)


# --- any style ----------------------------------------------------------------------------------


class DialReader(nn.Module):
    """Reads the parameters of a style from its code, for any style weight.

    A code is read once (``read``); from what that gives, parameters for another weight are a matter
    of two small matrices (``dial``).
    """

    def __init__(self, code: int, count: int) -> None:
        super().__init__()
        self.first = nn.Linear(code, _WIDTH)
        self.second = nn.Linear(_WIDTH, _WIDTH)
        self.turn = nn.Linear(_POWERS, 2 * _WIDTH)
        self.last = nn.Linear(_WIDTH, count)
        # In units of the codes of many styles, which training measures.
        self.mean = nn.Parameter(torch.zeros(code), requires_grad=False)
        self.deviation = nn.Parameter(torch.ones(code), requires_grad=False)
        # By how many decades less it is told at the usual weight; none at both ends. It is measured
        # after learning: a net leaves less of a photograph than the painter does at one weight.
        self.bend = nn.Buffer(torch.zeros(()))
        nn.init.normal_(self.turn.weight, std=0.1)
        nn.init.zeros_(self.turn.bias)
        nn.init.zeros_(self.last.bias)
        nn.init.normal_(self.last.weight, std=0.02)

    def forward(self, codes: Tensor, weights: Tensor) -> Tensor:
        """Return parameters (N, count) of codes (N, code), for style weights (N,)."""
        return self.dial(self.read(codes), weights)

    def read(self, codes: Tensor) -> Tensor:
        """Return what is to be known of styles, (N, width)."""
        usual = ((codes - self.mean) / self.deviation).clamp(-FARTHEST, FARTHEST)
        return functional.relu(self.first(usual))

    def dial(self, known: Tensor, weights: Tensor) -> Tensor:
        """Return parameters (N, count), for style weights (N,) or (1,)."""
        decades = (weights / USUAL_WEIGHT).log10().clamp(-DECADES, DECADES)
        decades = decades + self.bend * (decades.square() - DECADES**2)
        powers = torch.stack([decades**i for i in range(1, _POWERS + 1)], 1)
        scale, shift = self.turn(powers).chunk(2, 1)
        numbers: Tensor = self.last(functional.relu(self.second(known) * (1 + scale) + shift))
        return LARGEST_NUMBER * (numbers / LARGEST_NUMBER).tanh()


def encode_style(
    backbone: Backbone,
    styles: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
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
