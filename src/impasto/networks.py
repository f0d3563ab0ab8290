"""Networks that paint in one pass: a photograph and a code of the style in, the painting out.

``InstantNet`` paints after any picture. What it knows of a style is a code: the means and
deviations of a backbone's features. From it come the scale and shift of every normalisation, as in
adaptive and conditional instance normalisation (Dumoulin et al. 2017; Huang and Belongie 2017),
here of a small net that keeps the photograph's resolution: 16 channels at full size, 32 at half, 56
at a quarter, with skips between. The photograph comes in the style's colours already (optimal
transport, ``color.match_color``), so that the net has only strokes to lay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from impasto.backbones import Backbone
from impasto.sums import in_full

CODE_LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1")
WIDTHS = (16, 32, 56)
BLOCKS = 4
HIDDEN = 192
MARGIN = 8  # pixels of reflection around the photograph, which hide the zeros beyond
TINY = 1e-5


def encode_style(backbone: Backbone, styles: Tensor) -> Tensor:
    """Codes (N, 2 x channels) of style pictures (N, 3, H, W)."""
    seen = backbone(styles, CODE_LAYERS)
    moments = []
    for name in CODE_LAYERS:
        flat = in_full(seen[name]).flatten(2)  # (N, C, h*w)
        mean = flat.mean(2)
        moments.append((mean, flat.square().mean(2) - mean.square()))
    return join_moments(moments)


def join_moments(moments: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """A code of the means and variances of every code layer's channels, (N, C) each."""
    parts = [(mean, variance.clamp_min(0).sqrt()) for mean, variance in moments]
    return torch.cat([each for pair in parts for each in pair], 1)


def code_size(backbone: Backbone) -> int:
    return 2 * sum(backbone.count_channels(name) for name in CODE_LAYERS)


class StyledNorm(torch.autograd.Function):
    """Instance normalisation of x (N, C, H, W) with a scale and a shift (N, C) for each picture: in
    the precision of x, but for the sums, and with as few passes over it as there can be."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        mean = x.mean((2, 3), dtype=torch.float32)
        square = x.square().mean((2, 3), dtype=torch.float32)
        inverse = (square - mean.square()).clamp_min(0).add_(TINY).rsqrt_()
        times = (1 + scale.float()) * inverse
        ctx.save_for_backward(x, mean, inverse, times)
        plus = shift.float() - mean * times
        return torch.addcmul(spread(plus, x), x, spread(times, x))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, mean, inverse, times = ctx.saved_tensors
        shift = slope.sum((2, 3), dtype=torch.float32)
        product = (slope * x).sum((2, 3), dtype=torch.float32)
        scale = (product - mean * shift) * inverse  # sum of slope * normalised x
        count = x[0, 0].numel()
        bend = -times * inverse * scale / count
        rest = -times * shift / count - bend * mean
        gradient = torch.addcmul(spread(rest, x), x, spread(bend, x))
        gradient.addcmul_(slope, spread(times, x))
        return gradient, scale, shift


def spread(numbers: Tensor, like: Tensor) -> Tensor:
    """Of each channel of each picture, for all of its positions."""
    return numbers[..., None, None].to(like.dtype)


class InstantNet(nn.Module):
    """Any style in one pass."""

    def __init__(self, code: int) -> None:
        super().__init__()
        full, half, quarter = WIDTHS
        self.entry = nn.Conv2d(3, full, 3, padding=1)
        self.down = nn.ModuleList(
            [
                nn.Conv2d(full, half, 3, stride=2, padding=1),
                nn.Conv2d(half, quarter, 3, stride=2, padding=1),
            ]
        )
        self.middle = nn.ModuleList(
            [nn.Conv2d(quarter, quarter, 3, padding=1) for _ in range(2 * BLOCKS)]
        )
        self.up = nn.ModuleList(
            [nn.Conv2d(quarter, half, 3, padding=1), nn.Conv2d(half, full, 3, padding=1)]
        )
        self.exit = nn.Conv2d(full, 3, 3, padding=1)
        channels = [full, half, quarter, *[quarter] * (2 * BLOCKS), half, full]
        self.channels = channels
        last = nn.Linear(HIDDEN, 2 * sum(channels))
        self.codes = nn.Sequential(nn.Linear(code, HIDDEN), nn.ReLU(), last)
        # In units of the codes of many styles, which training measures.
        self.code_mean = nn.Parameter(torch.zeros(code), requires_grad=False)
        self.code_deviation = nn.Parameter(torch.ones(code), requires_grad=False)
        # It begins as the photograph, nearly, whatever the style.
        nn.init.zeros_(last.bias)
        nn.init.normal_(last.weight, std=0.02)
        nn.init.normal_(self.exit.weight, std=0.01)

    def read_code(self, codes: Tensor) -> list[tuple[Tensor, Tensor]]:
        """The scale and shift of every normalisation, for codes (N, K)."""
        numbers = self.codes((codes - self.code_mean) / self.code_deviation)
        manners = []
        for part in torch.split(numbers, [2 * each for each in self.channels], 1):
            scale, shift = part.chunk(2, 1)
            manners.append((scale, shift))
        return manners

    def forward(self, photos: Tensor, manners: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
        """Photographs (N, 3, H, W) in their styles' colours, painted."""
        height, width = photos.shape[-2:]
        extra = (-height % 4, -width % 4)
        padded = functional.pad(
            photos, (MARGIN, MARGIN + extra[1], MARGIN, MARGIN + extra[0]), mode="reflect"
        )
        steps = iter(manners)

        def norm(x: Tensor) -> Tensor:
            styled: Tensor = StyledNorm.apply(x, *next(steps))  # type: ignore[no-untyped-call]
            return styled

        x = functional.relu_(norm(self.entry(padded * 2 - 1)))
        skips = [x]
        for conv in self.down:
            x = functional.relu_(norm(conv(x)))
            skips.append(x)
        skips.pop()
        for i in range(BLOCKS):
            y = functional.relu_(norm(self.middle[2 * i](x)))
            x = norm(self.middle[2 * i + 1](y)).add_(x)
        for conv in self.up:
            x = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = functional.relu_(norm(conv(x)).add_(skips.pop()))
        painted: Tensor = self.exit(x)[..., MARGIN : MARGIN + height, MARGIN : MARGIN + width]
        return photos + painted
