"""Sums over the positions of features, and their gradients, without a second copy of the features.

Features are (1, C, H, W), in whichever precision a network gave; what is summed is float32, some
rows at a time. Weights are (1, 1, H, W), or one number that all positions share.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Weights = Tensor | float
SHORT = (torch.bfloat16, torch.float16)
BLOCK = 2**18  # numbers that are converted at once: what a core's own cache holds


def in_full(tensor: Tensor) -> Tensor:
    """In no less than float32."""
    return tensor.float() if tensor.dtype in SHORT else tensor


def split_rows(
    features: Tensor, weights: Weights, *, full: bool = True
) -> Iterator[tuple[slice, Tensor, Weights]]:
    """(rows, features (C, n), their weights (n,) or the number), the features in full if they are
    not; one block where nothing is copied."""
    _, channels, height, width = features.shape
    dense = features.is_contiguous() or features.is_contiguous(memory_format=torch.channels_last)
    plain = not (full and features.dtype in SHORT) and not isinstance(weights, Tensor)
    step = max(1, BLOCK * (64 if features.is_cuda else 1) // (channels * width))
    if dense and plain:
        step = height
    for start in range(0, height, step):
        rows = slice(start, start + step)
        some = features[0, :, rows]
        some = (in_full(some) if full else some).flatten(1)
        yield rows, some, weights[0, 0, rows].flatten() if isinstance(weights, Tensor) else weights


class Sums(torch.autograd.Function):
    """sum_p w_p f_p (C,) and sum_p w_p f_p f_p^T (C, C)."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(features, weights if isinstance(weights, Tensor) else None)
        ctx.share = None if isinstance(weights, Tensor) else weights
        channels = features.shape[1]
        kind = features.new_zeros((), dtype=torch.promote_types(features.dtype, torch.float32))
        mean, square = kind.new_zeros(channels), kind.new_zeros(channels, channels)
        for _, some, w in split_rows(features, weights):
            if isinstance(w, Tensor):
                mean.addmv_(some, w)
                square.addmm_(some * w, some.T)
            else:
                mean.addmv_(some, some.new_ones(some.shape[1]))
                square.addmm_(some, some.T)
        if isinstance(weights, Tensor):
            return mean, square
        return mean.mul_(weights), square.mul_(weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope_mean: Tensor, slope_square: Tensor) -> tuple[Tensor, None]:
        """Two of the matrix's halves and the mean in one product for each block of rows."""
        features, weights = ctx.saved_tensors
        weights = ctx.share if weights is None else weights
        both = slope_square + slope_square.T  # (C, C), symmetric
        if not isinstance(weights, Tensor):
            slope_mean, both = slope_mean * weights, both * weights
        # In the features' own precision, as every other slope of the network's.
        slope_mean, both = slope_mean.to(features.dtype), both.to(features.dtype)
        gradient = torch.empty_like(features)
        for rows, some, w in split_rows(features, weights, full=False):
            place = gradient[0, :, rows].permute(1, 2, 0)  # (h, W, C)
            if place.is_contiguous():
                part = torch.addmm(slope_mean, some.T, both, out=place.view(-1, len(both)))
            else:
                part = torch.addmm(slope_mean, some.T, both)  # (n, C)
            if isinstance(w, Tensor):
                part *= w[:, None]
            if part.data_ptr() != place.data_ptr():
                place.copy_(part.view(place.shape))
        return gradient, None


def sum_squares(features: Tensor, weights: Weights) -> tuple[Tensor, Tensor]:
    """sum_p w_p f_p (C,) and sum_p w_p f_p^2 (C,)."""
    flat = in_full(features)[0].flatten(1)  # (C, H*W)
    if isinstance(weights, Tensor):
        return flat @ weights.flatten(), flat.square() @ weights.flatten()
    return flat.sum(1) * weights, flat.square().sum(1) * weights
