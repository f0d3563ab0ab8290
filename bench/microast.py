"""A net of MicroAST's shape (Wang et al. 2023), with random weights: to compare speeds with.

As its authors publish it: convolutions with mirrored borders at all of the picture's size, half and
a quarter of it, separable where the size changes; two residual blocks on the way down and two on
the way up, whose features are given the style's moments (AdaIN) and whose convolutions are scaled
and shifted by it. What the style gives is read before and costs nothing here.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTHS = (16, 32, 64)
LARGE = 9  # the kernel of the first and the last convolution


def make_conv(
    entering: int, leaving: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    how = {"padding": kernel // 2, "padding_mode": "reflect", "stride": stride, "groups": groups}
    return nn.Conv2d(entering, leaving, kernel, **how)


def make_separable(entering: int, leaving: int, stride: int) -> nn.Sequential:
    each = make_conv(entering, leaving, 3, stride, groups=min(entering, leaving))
    return nn.Sequential(each, nn.ReLU(), make_conv(leaving, leaving, 1), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.second = (make_conv(channels, channels, 3) for _ in range(2))

    def forward(
        self, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        if weight is None:
            return x + self.second(functional.relu(self.first(x)))
        y = functional.relu(weight * self.first(x) + bias * x)
        return x + weight * self.second(y) + bias * y


class MicroNet(nn.Module):
    """Photographs in, paintings out, after one style that is drawn at random."""

    def __init__(self) -> None:
        super().__init__()
        full, half, quarter = WIDTHS
        self.begin = nn.Sequential(
            make_conv(3, full, LARGE),
            nn.ReLU(),
            make_separable(full, half, 2),
            make_separable(half, quarter, 2),
            Residual(quarter),
        )
        self.deeper = Residual(quarter)
        self.back = nn.ModuleList([Residual(quarter) for _ in range(2)])
        self.end = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear"),
            make_separable(quarter, half, 1),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            make_separable(half, full, 1),
            make_conv(full, 3, LARGE),
        )
        # For each block on the way back: a mean, a deviation, a weight and a bias of each channel.
        self.style = nn.Parameter(torch.rand(2, 4, 1, quarter, 1, 1))

    def forward(self, photos: Tensor) -> Tensor:
        x = self.deeper(self.begin(photos))
        for block, (mean, deviation, weight, bias) in zip(self.back, self.style, strict=True):
            variance, own = torch.var_mean(x, (2, 3), keepdim=True)
            x = block((x - own) * (deviation / (variance + 1e-5).sqrt()) + mean, weight, bias)
        return self.end(x)
