"""Borders that mirror what lies within, which torch's own do slowly on graphics cards."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional


class ReflectedConv(nn.Conv2d):
    """A convolution that sees, beyond an edge, its mirror image."""

    def forward(self, x: Tensor) -> Tensor:
        """Return as many positions as there are, or one for each ``stride`` of them."""
        padded = reflect_border(x, int(self.padding[0]))
        return functional.conv2d(padded, self.weight, self.bias, self.stride)


def reflect_border(x: Tensor, width: int) -> Tensor:
    """Return features (N, C, H, W) with a border so wide."""
    if width == 0:
        return x
    if x.device.type == "cpu":
        return functional.pad(x, (width,) * 4, mode="reflect")
    return Reflection.apply(x, width)  # type: ignore[no-any-return,no-untyped-call]


class Reflection(torch.autograd.Function):
    """Copies that leave the layout in memory as it is: torch's kernel makes planes of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, width: int) -> Tensor:
        ctx.width = width
        count, channels, height, wide = x.shape
        layout = torch.channels_last if lies_by_pixels(x) else torch.contiguous_format
        padded = torch.empty(
            (count, channels, height + 2 * width, wide + 2 * width),
            dtype=x.dtype,
            device=x.device,
            memory_format=layout,
        )
        padded[:, :, width:-width, width:-width] = x
        for i in range(width):
            padded[:, :, i, width:-width] = x[:, :, width - i]
            padded[:, :, -1 - i, width:-width] = x[:, :, i - 1 - width]
        for i in range(width):
            padded[..., i] = padded[..., 2 * width - i]
            padded[..., -1 - i] = padded[..., i - 1 - 2 * width]
        return padded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        width = ctx.width
        gradient = gradient.clone()
        for i in range(width):
            gradient[..., 2 * width - i] += gradient[..., i]
            gradient[..., i - 1 - 2 * width] += gradient[..., -1 - i]
        for i in range(width):
            gradient[:, :, 2 * width - i] += gradient[:, :, i]
            gradient[:, :, i - 1 - 2 * width] += gradient[:, :, -1 - i]
        return gradient[:, :, width:-width, width:-width], None


def lies_by_pixels(x: Tensor) -> bool:
    """Return whether a position's channels lie side by side in memory."""
    return x.is_contiguous(memory_format=torch.channels_last) or x.stride(1) == 1
