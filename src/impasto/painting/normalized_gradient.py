"""Gradients of single losses, normalised before they are added up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class GradientScale:
    """How the gradient of one loss at one layer is normalised.

    Its L1 norm becomes the weight ("l1"), or its length at each position becomes the weight over
    the number of positions ("pixel").
    """

    how: str
    weight: float
    positions: int  # of the whole layer
    length: Tensor | None = None  # L1 norm over all tiles, once they have been measured
    measuring: bool = False

    def apply(self, gradient: Tensor) -> Tensor:
        """Return the gradient as it should be; only measure it, where tiles are measured first."""
        if self.measuring:
            own = gradient.abs().sum()
            self.length = own if self.length is None else self.length + own
            return gradient
        if self.how == "l1":
            length = gradient.abs().sum() if self.length is None else self.length
        else:
            length = gradient.norm(dim=1, keepdim=True) * self.positions
        scale = self.weight / length
        return gradient * torch.where(length > 0, scale, torch.zeros_like(scale))


class NormalizedGradient(torch.autograd.Function):
    """Passes features through, and normalises their gradient on its way back.

    Each loss's own gradient is normalised, not that of the sum of all losses at the same layer.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, scale: GradientScale) -> Tensor:
        ctx.scale = scale
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.scale.apply(gradient), None
