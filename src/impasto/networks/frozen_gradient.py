"""The gradient of a picture through a network with frozen weights, computed by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from impasto.networks.layers import Padding, block_of


class FrozenNetwork(Protocol):
    """What the hand-written gradient needs of a network."""

    convs: Any  # by name, in the order they are computed
    pooling: str

    def walk(
        self, x: Tensor, wanted: tuple[str, ...], features: dict[str, Tensor]
    ) -> Iterator[Tensor]: ...

    def convolve_back(self, conv: str, gradient: Tensor) -> Tensor: ...

    def pool_back(self, x: Tensor, gradient: Tensor) -> Tensor: ...


class FrozenPass(torch.autograd.Function):
    """A picture through a network with frozen weights, and its gradient back.

    The backward pass of a frozen convolution needs its output alone. torch's own would keep its
    input and the padded copy of that too, which is most of the memory that a gradient costs.
    Gradients are added up and masked in place.
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
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, None, None]:
        backbone = ctx.backbone
        arriving = {n: g for n, g in zip(ctx.wanted, gradients, strict=True) if g is not None}
        kept = list(ctx.saved_tensors)
        gradient: Tensor | None = None
        masked = False  # whether the gradient is zero already where the ReLU gave zero
        convs = list(backbone.convs)[: len(kept)]
        for i in reversed(range(len(kept))):
            conv, given = convs[i], kept[i]
            if (more := arriving.pop(conv.replace("conv", "relu"), None)) is not None:
                masked = False
            gradient = add_gradients(gradient, more)
            if gradient is not None and not masked:
                # In place, but not in a gradient that autograd may use elsewhere.
                out = gradient if gradient is not more else torch.empty_like(gradient)
                gradient = mask_gradient(gradient, given, out)
            gradient = add_gradients(gradient, arriving.pop(conv, None))
            if gradient is None:
                continue
            gradient, masked = backbone.convolve_back(conv, gradient), False
            if i and block_of(conv) != block_of(convs[i - 1]):
                # Where the largest of four was zero, all were: the pooled gradient was masked.
                x = kept[i - 1]
                gradient, masked = backbone.pool_back(x, gradient), backbone.pooling == "max"
        return gradient, None, None


def add_gradients(gradient: Tensor | None, more: Tensor | None) -> Tensor | None:
    """Return the sum of two gradients, added in place of the first."""
    if gradient is None or more is None:
        return more if gradient is None else gradient
    return gradient.add_(more)


def mask_gradient(gradient: Tensor, given: Tensor, out: Tensor) -> Tensor:
    """Return the gradient of a ReLU's input, written to ``out``; ``given`` is its output."""
    masked: Tensor = torch.ops.aten.threshold_backward.grad_input(
        gradient, given, 0, grad_input=out
    )
    return masked


def fold_border(padded: Tensor, padding: Padding) -> Tensor:
    """Return the gradient without the padded border (N, C, H + 2, W + 2), added to its sources."""
    inner = 2 if padding == "reflect" else 1  # where the border's values were copied from
    padded[:, :, inner] += padded[:, :, 0]
    padded[:, :, -1 - inner] += padded[:, :, -1]
    padded[..., inner] += padded[..., 0]
    padded[..., -1 - inner] += padded[..., -1]
    return padded[:, :, 1:-1, 1:-1]
