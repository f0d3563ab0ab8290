"""The gradient of a picture through a network that does not learn, computed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from impasto.networks.layers import Padding, block_of


class FrozenNetwork(Protocol):
    """What a gradient by hand asks of a network."""

    convs: Any  # by name, in the order they are computed
    pooling: str

    def walk(
        self, x: Tensor, wanted: tuple[str, ...], features: dict[str, Tensor]
    ) -> Iterator[Tensor]: ...

    def go_back(self, conv: str, slope: Tensor) -> Tensor: ...

    def go_back_through_pool(self, x: Tensor, slope: Tensor) -> Tensor: ...


class FrozenPass(torch.autograd.Function):
    """A picture through a network that does not learn, and its gradient back.

    On the way back a convolution needs nothing but what it gave: torch's own would keep what came
    in and its padded copy too, which is most of the memory that a gradient costs. And what is
    added up or masked here is so where it lies.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, backbone: FrozenNetwork, wanted: tuple[str, ...]) -> Any:
        features: dict[str, Tensor] = {}
        kept: list[Tensor] = []
        for given in backbone.walk(x, wanted, features):
            if ctx.needs_input_grad[0]:
                kept.append(given)
        ctx.save_for_backward(*kept)
        ctx.backbone, ctx.wanted = backbone, wanted
        ctx.set_materialize_grads(False)
        return tuple(features[name] for name in wanted)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor | None) -> tuple[Tensor | None, None, None]:
        backbone = ctx.backbone
        arriving = {n: s for n, s in zip(ctx.wanted, slopes, strict=True) if s is not None}
        kept = list(ctx.saved_tensors)
        slope: Tensor | None = None
        masked = False  # whether the slope is zero already where the ReLU gave nothing
        convs = list(backbone.convs)[: len(kept)]
        for i in reversed(range(len(kept))):
            conv, given = convs[i], kept[i]
            if (more := arriving.pop(conv.replace("conv", "relu"), None)) is not None:
                masked = False
            slope = add_slope(slope, more)
            if slope is not None and not masked:
                # In place, but not in what belongs to others.
                mine = slope if slope is not more else torch.empty_like(slope)
                slope = mask_slope(slope, given, mine)
            slope = add_slope(slope, arriving.pop(conv, None))
            if slope is None:
                continue
            slope, masked = backbone.go_back(conv, slope), False
            if i and block_of(conv) != block_of(convs[i - 1]):
                # Where the largest of four was none, all were none: to mask a quarter is enough.
                x = kept[i - 1]
                slope, masked = backbone.go_back_through_pool(x, slope), backbone.pooling == "max"
        return slope, None, None


def add_slope(slope: Tensor | None, more: Tensor | None) -> Tensor | None:
    """The first is ours to change."""
    if slope is None or more is None:
        return more if slope is None else slope
    return slope.add_(more)


def mask_slope(slope: Tensor, given: Tensor, out: Tensor) -> Tensor:
    """The slope of a ReLU that gave that."""
    masked: Tensor = torch.ops.aten.threshold_backward.grad_input(slope, given, 0, grad_input=out)
    return masked


def fold_border(padded: Tensor, padding: Padding) -> Tensor:
    """The gradient of pixels whose border of one was filled from within (N, C, H + 2, W + 2)."""
    inner = 2 if padding == "reflect" else 1  # where the border's values came from
    padded[:, :, inner] += padded[:, :, 0]
    padded[:, :, -1 - inner] += padded[:, :, -1]
    padded[..., inner] += padded[..., 0]
    padded[..., -1 - inner] += padded[..., -1]
    return padded[:, :, 1:-1, 1:-1]
