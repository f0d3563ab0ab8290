"""What is minimised: the losses that the options name, over which layers, with which weights.

Which losses there are is the business of their tables: here each is an entry that says which groups
of layers it looks at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from impasto.errors import OptionError, suggest
from impasto.images.masks import normalise_weights
from impasto.images.tiles import Cells
from impasto.losses.content import CONTENT_LOSSES, ContentLoss
from impasto.losses.statistics import Weights
from impasto.losses.style import STYLE_LOSSES, Statistics, StyleLoss
from impasto.networks.vgg import Backbone
from impasto.options import parse_weights
from impasto.painting.options import PaintOptions

PIXELS = "pixels"  # the layer before the first: the picture itself
Seen = dict[str, Tensor]  # layer -> features (1, C, H, W)
Group = tuple[str, ...]
Planned = list[tuple[Any, Group, float]]  # losses, what they look at, and their weights


@dataclass(frozen=True)
class Glimpse:
    """The features that a tile answers for, and which cells of each layer they are."""

    features: Seen
    cells: dict[str, Cells]


@dataclass(frozen=True)
class StyleTerm:
    """One style loss over one group of layers in one region."""

    loss: StyleLoss
    group: Group
    weight: float
    masks: tuple[Weights, ...]  # where it looks, at each layer: sums to 1
    target: Any

    def gather(self, seen: Glimpse, positions: Tensor) -> Statistics:
        return gather_style(self.loss, self.group, self.masks, seen, positions)


@dataclass(frozen=True)
class ContentTerm:
    """One content loss at one layer."""

    loss: ContentLoss
    group: Group
    weight: float
    target: Tensor
    held: Statistics  # what the loss needs to know of the whole target

    def gather(self, seen: Glimpse, positions: Tensor) -> Statistics:
        (layer,) = self.group
        cells = seen.cells[layer]
        target = cells.box.of(self.target)
        return self.loss.gather(seen.features[layer], target, positions, cells)


def gather_style(
    loss: StyleLoss,
    group: Group,
    masks: Sequence[Weights],
    seen: Glimpse,
    positions: Tensor,
) -> Statistics:
    """What a loss keeps of what is seen of a group of layers."""
    cells = [seen.cells[name] for name in group]
    weights = tuple(
        each.box.of(mask) if isinstance(mask, Tensor) else mask
        for each, mask in zip(cells, masks, strict=True)
    )
    return loss.gather(tuple(seen.features[n] for n in group), weights, positions, cells)


# --- normalised gradients -----------------------------------------------------------------------


@dataclass
class Pull:
    """How one loss's gradient at one layer is normalised: its L1 norm is the weight (l1), or its
    length at each position is that over the number of positions (pixel)."""

    how: str
    weight: float
    positions: int  # of the whole layer
    length: Tensor | None = None  # L1 norm over all tiles, once they have been measured
    measuring: bool = False

    def normalise(self, gradient: Tensor) -> Tensor:
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
    """Lets features pass; their gradient comes back normalised. It is each loss's own: not that of
    the sum of all that look at the same layer, and its weight comes after."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, pull: Pull) -> Tensor:
        ctx.pull = pull
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.pull.normalise(gradient), None


# --- masks --------------------------------------------------------------------------------------


def join_masks(masks: dict[str, Weights], group: Group) -> tuple[Weights, ...]:
    """The masks of layers that are looked at together: the deepest, which lies within the others,
    over the cells of each. What it does not count has seen the other side."""
    deepest = masks[group[-1]]
    joined = []
    for name in group:
        own = masks[name]
        if name != group[-1] and isinstance(own, Tensor) and isinstance(deepest, Tensor):
            own = normalise_weights(repeat_cells(deepest, own.shape[2:]))
        joined.append(own)
    return tuple(joined)


def repeat_cells(mask: Tensor, shape: Sequence[int]) -> Tensor:
    """A mask over the cells of a shallower layer, which were pooled by halves rounded up."""
    for dim, size in zip((2, 3), shape, strict=True):
        factor = 1
        while -(-size // factor) > mask.shape[dim]:
            factor *= 2
        mask = mask.repeat_interleave(factor, dim).narrow(dim, 0, size)
    return mask


# --- layers -------------------------------------------------------------------------------------


def plan_losses(
    table: dict[str, Any], entries: tuple[str, ...], layers: dict[str, float]
) -> Planned:
    """(loss, group of layers, weight): a loss's groups share its weight by their layers'."""
    plan = []
    for name, weight in parse_weights(entries).items():
        if name not in table:
            raise OptionError(f"unknown loss {name!r}{suggest(name, table)}")
        groups = table[name].groups(list(layers))
        if not groups:
            raise OptionError(f"{name} needs more layers than {', '.join(layers)}")
        shares = []
        for group in groups:
            own = [layers[layer] for layer in group if layer in layers]
            shares.append(sum(own) / len(own) if own else 1.0)
        whole = max(sum(shares), 1e-12)
        plan += [
            (table[name], tuple(group), weight * share / whole)
            for group, share in zip(groups, shares, strict=True)
            if weight * share > 0
        ]
    return plan


def resolve_layers(backbone: Backbone, entries: tuple[str, ...]) -> dict[str, float]:
    """{layer: weight} by the layers' full names, in the order they are computed; "all" is every
    ReLU there is."""
    order = [PIXELS, *backbone.architecture.layers()]
    weights = {}
    for name, weight in parse_weights(entries).items():
        if name == "all":
            every = [conv.replace("conv", "relu") for conv in backbone.convs]
            weights.update(dict.fromkeys(every, weight))
        else:
            weights[name if name == PIXELS else backbone.resolve(name)] = weight
    return dict(sorted(weights.items(), key=lambda item: order.index(item[0])))


def style_layers(backbone: Backbone, options: PaintOptions) -> dict[str, float]:
    """Geometric weights (Novak and Nikulin, 3.1) are 2^(D-d) for the d-th of D style layers: what
    is near the pixels carries most of a style."""
    layers = resolve_layers(backbone, options.style_layer)
    if options.layer_weights == "geometric":
        return {n: w * 2.0 ** -(d + 1) for d, (n, w) in enumerate(layers.items())}
    return layers


def content_layers(backbone: Backbone, options: PaintOptions) -> dict[str, float]:
    """Geometric weights are 2^d for content."""
    layers = resolve_layers(backbone, options.content_layer)
    if options.layer_weights == "geometric":
        return {n: w * 2.0 ** (d + 1) for d, (n, w) in enumerate(layers.items())}
    return layers


def plan_terms(backbone: Backbone, options: PaintOptions) -> tuple[Planned, Planned]:
    """The losses of style and of content; what weighs nothing is not looked at."""
    style = plan_losses(STYLE_LOSSES, options.style_loss, style_layers(backbone, options))
    content = plan_losses(CONTENT_LOSSES, options.content_loss, content_layers(backbone, options))
    return (
        style if options.style_weight else [],
        content if options.content_weight else [],
    )


def layers_of(backbone: Backbone, options: PaintOptions) -> list[str]:
    """Every layer that the options look at, the pixels apart."""
    groups = [group for terms in plan_terms(backbone, options) for _, group, _ in terms]
    return sorted({name for group in groups for name in group} - {PIXELS})
