"""The gradient of a total whose statistics were added up tile by tile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from impasto.losses.style import Statistics
from impasto.painting.loss_plan import (
    Pull,
)


class Known(torch.autograd.Function):
    """A total whose gradient was taken already."""

    @staticmethod
    def forward(ctx: Any, pixels: Tensor, total: Tensor, gradient: Tensor | None) -> Tensor:  # noqa: ARG004
        ctx.gradient = gradient
        return total.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        gradient, ctx.gradient = ctx.gradient, None
        return gradient.mul_(slope), None, None


def take_gradient(
    tensors: Sequence[Tensor], slopes: Sequence[Tensor], leaves: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """The gradient of the tensors' sum, each times its slope, in the leaves."""
    used = [(t, s) for t, s in zip(tensors, slopes, strict=False) if t.requires_grad]
    return torch.autograd.grad(
        [tensor for tensor, _ in used],
        leaves,
        [slope for _, slope in used],
        allow_unused=True,
        materialize_grads=True,
    )


def add_up(sums: Gathered, more: Gathered) -> Gathered:
    """Statistics of the tiles so far and of one more."""
    if not sums:
        return list(more)
    return [
        tuple(a + b for a, b in zip(ours, theirs, strict=True))
        for ours, theirs in zip(sums, more, strict=True)
    ]


Gathered = list[Statistics]  # of the style terms, the content terms, and the pixels themselves
Pulls = dict[tuple[int, str], Pull]  # by term and layer
