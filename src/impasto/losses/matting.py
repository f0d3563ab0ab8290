"""The matting Laplacian: how far a picture is from a photograph recoloured by local affine maps.

Levin, Lischinski and Weiss 2006, "A Closed Form Solution to Natural Image Matting" (eq. 12), as a
regulariser of pictures by Luan et al. 2017, "Deep Photo Style Transfer" (eq. 2): the sum over
channels of V^T L V. No matrix is made. V^T L V is, over all windows of 3 x 3, what is left of V
after the best affine function of the photograph's colours in that window, with ``edge`` times the
slopes' squares added: so slopes come from sums over windows, and L V from sums over those again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from impasto.images.tiles import Box

EDGE = 1e-7  # epsilon of Levin et al. and Luan et al.
_WINDOW = 9  # pixels of a window
UPPER = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))  # a symmetric matrix's own values


class MattingEnergy(torch.autograd.Function):
    """The sum of V^T L V over channels, and its gradient 2 L V, found together."""

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, photo: Tensor, core: Box, edge: float) -> Tensor:
        seen, known = _widen_all(pixels.detach()), _widen_all(photo)
        laplacian = multiply_laplacian(seen, known, core, edge)
        ctx.save_for_backward(2 * laplacian.to(pixels))
        return (seen * laplacian).sum().to(pixels)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, arriving: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * arriving, None, None, None


def matting_energy(
    pixels: Tensor, photo: Tensor, core: Box | None = None, edge: float = EDGE
) -> Tensor:
    """Return the sum over channels of V^T L V, for a picture and the photograph (1, 3, H, W).

    Of a tile: that of the windows whose middle lies in its ``core``; those of all tiles add up.
    """
    whole = Box(0, 0, pixels.shape[2], pixels.shape[3])
    return MattingEnergy.apply(pixels, photo, core or whole, edge)  # type: ignore[no-any-return,no-untyped-call]


def multiply_laplacian(values: Tensor, photo: Tensor, core: Box, edge: float = EDGE) -> Tensor:
    """Return L V of values (1, C, H, W), both in float64: the slopes divide by very little."""
    height, width = values.shape[2:]
    if min(height, width) < 3:  # no window fits in
        return torch.zeros_like(values)
    inside = _mark_middles(core, height, width).to(values)
    mean, value_mean = _average(photo), _average(values)
    inverse = _invert_spread(photo, mean, edge)
    slopes = []
    for channel in range(values.shape[1]):
        one = values[:, channel : channel + 1]
        covariance = _average(photo * one) - mean * value_mean[:, channel : channel + 1]
        slopes.append((inverse * covariance[0]).sum(1)[None] * inside)  # (1, 3, h, w)
    count, laplacian = _spread(inside), torch.empty_like(values)
    for channel, slope in enumerate(slopes):
        middle = (value_mean[:, channel : channel + 1] * inside) - (slope * mean).sum(1, True)
        one = values[:, channel : channel + 1]
        explained = (_spread(slope) * photo).sum(1, True) + _spread(middle)
        laplacian[:, channel : channel + 1] = count * one - explained
    return laplacian


def _widen_all(values: Tensor) -> Tensor:
    """Return values in float64, on the processor where the device has none (MPS)."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def _mark_middles(core: Box, height: int, width: int) -> Tensor:
    """Return 1 for each window (1, 1, H - 2, W - 2) whose middle lies in the core."""
    inside = torch.zeros(1, 1, height, width)
    core.of(inside).fill_(1)
    return inside[..., 1:-1, 1:-1]


def _average(values: Tensor) -> Tensor:
    """Return the means of all windows (N, C, H - 2, W - 2)."""
    rows = values[:, :, :-2] + values[:, :, 1:-1] + values[:, :, 2:]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / _WINDOW


def _spread(values: Tensor) -> Tensor:
    """Return, for each pixel (N, C, H, W), the sum over the windows that it lies in."""
    padded = functional.pad(values, (2, 2, 2, 2))
    return _average(padded) * _WINDOW


def _invert_spread(photo: Tensor, mean: Tensor, edge: float) -> Tensor:
    """Return (S + edge / 9)^-1 of the covariances S of all windows, (3, 3, h, w)."""
    spread = [
        _average(photo[:, i : i + 1] * photo[:, j : j + 1])[0, 0] - mean[0, i] * mean[0, j]
        for i, j in UPPER
    ]
    return invert_symmetric(spread, edge / _WINDOW)


def invert_symmetric(upper: Sequence[Tensor], ridge: float) -> Tensor:
    """Return the inverses (3, 3, ...) of symmetric matrices plus ``ridge`` times the unit matrix.

    ``upper`` are their values at the places ``UPPER``; in float64, for matrices that are nearly
    singular.
    """
    a, b, c, d, e, f = upper
    a, d, f = a + ridge, d + ridge, f + ridge
    p, q, r = d * f - e * e, c * e - b * f, b * e - c * d
    s, t, u = a * f - c * c, b * c - a * e, a * d - b * b
    rows = [torch.stack(row) for row in ((p, q, r), (q, s, t), (r, t, u))]
    return torch.stack(rows) / (a * p + b * q + c * r)
