"""What is minimised, settled once: losses over groups of layers, their weights, what they look at.

Which losses there are is the business of their tables: here each is an entry that says which groups
of layers it looks at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Generic, TypeVar

from torch import Tensor

from impasto.errors import OptionError, suggest
from impasto.images.tiles import find_margin, lay_out
from impasto.losses.content import CONTENT_LOSSES, ContentLoss
from impasto.losses.style import STYLE_LOSSES
from impasto.losses.style_loss import StyleLoss
from impasto.networks.spaces import load_space
from impasto.networks.vgg import Backbone
from impasto.options import parse_weights
from impasto.painting.options import ContentOptions, StyleOptions

PIXELS = "pixels"  # the layer before the first: the picture itself
Group = tuple[str, ...]  # layers that a loss looks at together
_WHOLE_WEIGHT_SIDE = 512  # pixels: where the photograph has the weight that was asked for
_Loss = TypeVar("_Loss", StyleLoss, ContentLoss)


@dataclass(frozen=True)
class PlannedLoss(Generic[_Loss]):
    """A loss over one group of layers, and its weight among those of its kind."""

    name: str
    loss: _Loss
    group: Group
    weight: float


StylePlan = tuple[PlannedLoss[StyleLoss], ...]
ContentPlan = tuple[PlannedLoss[ContentLoss], ...]


@dataclass(frozen=True)
class LossPlan:
    """All that is minimised, and what a network must compute for it."""

    paths: Mapping[str, Sequence[str]]  # by layer, what a picture goes through on its way there
    deepest: str | None  # the layer of the network that is computed last, if there is any
    least: int  # the shortest side of a picture that reaches it
    kept: tuple[str, ...] = ()  # layers whose features of the photograph are kept to compare with
    style: StylePlan = ()
    content: ContentPlan = ()
    style_weight: float = 0.0
    content_weight: float = 0.0
    coarse_content: float = 1.0  # times its weight, at each halving of a size of 512 pixels
    guide: float = 0.0
    tv_weight: float = 0.0
    tv_power: float = 2.0
    photoreal: float = 0.0  # weight of the matting Laplacian
    normalization: str = "relative"
    normalize_gradients: str = "none"
    activation_shift: float = 0.0
    space: Mapping[str, Tensor] = field(default_factory=dict)  # maps of columns, by layer
    tileable: bool = False
    seed: int = 0

    @property
    def layers(self) -> list[str]:
        """The network's layers that are looked at: all but the pixels."""
        return [name for name in self.paths if name != PIXELS]

    @cached_property
    def tiling(self) -> tuple[int, int]:
        """Stride and reach of tiles whose features are those of the whole picture."""
        return lay_out(self.paths.values())

    @property
    def margin(self) -> int:
        """How many pixels around a tile must be seen."""
        return find_margin(*self.tiling)

    def at_size(self, long_side: int) -> LossPlan:
        """Return the plan of a size of that long side, whichever sizes come before and after it."""
        halvings = math.log2(_WHOLE_WEIGHT_SIDE / long_side)
        return replace(self, content_weight=self.content_weight * self.coarse_content**halvings)

    def list_edge_losses(self) -> list[str]:
        """Return the losses that see the picture's edges as ends."""
        names = [f"content_loss {each.name}" for each in self.content if each.loss.sees_edges]
        return [*names, *(["photoreal"] if self.photoreal else [])]


# --- plans of operations ------------------------------------------------------------------------


def plan_layers(backbone: Backbone, layers: Sequence[str]) -> LossPlan:
    """Return a plan without losses, for work that compares features of layers by itself."""
    deepest = backbone.deepest(layers) if layers else None
    paths = {name: backbone.path(name) for name in sorted(layers)} | {PIXELS: []}
    least = backbone.smallest_side(deepest) if deepest else 1
    return LossPlan(paths, deepest, least, kept=tuple(layers))


def plan_texture_losses(
    backbone: Backbone, options: StyleOptions, style_weight: float, content: ContentPlan = ()
) -> LossPlan:
    """Return the plan of what a style and regularisers ask for; what weighs nothing is left out."""
    layers = weigh_layers(backbone, options.style_layer, options.layer_weights, 0.5)
    style = plan_losses(STYLE_LOSSES, options.style_loss, layers)
    style = style if style_weight else ()
    kept = {name for each in content for name in each.group} - {PIXELS}
    seen = kept | {name for each in style for name in each.group} - {PIXELS}
    return replace(
        plan_layers(backbone, sorted(seen)),
        kept=tuple(kept),
        style=style,
        content=content,
        style_weight=style_weight,
        tv_weight=options.tv_weight,
        tv_power=options.tv_power,
        normalization=options.normalization,
        activation_shift=options.activation_shift,
        space=load_space(options.backbone, options.weights) if options.columns == "vgg19" else {},
        tileable=options.tileable,
        seed=options.seed,
    )


def plan_painting_losses(backbone: Backbone, options: ContentOptions) -> LossPlan:
    """Return the plan of what a photograph and styles ask for."""
    layers = weigh_layers(backbone, options.content_layer, options.layer_weights, 2.0)
    content = plan_losses(CONTENT_LOSSES, options.content_loss, layers)
    content = content if options.content_weight else ()
    plan = plan_texture_losses(backbone, options, options.style_weight, content)
    guides = [each.group for each in plan.style if each.loss.is_guided and options.guide]
    guided = {name for group in guides for name in group} - {PIXELS}
    return replace(
        plan,
        kept=tuple({*plan.kept, *guided}),
        guide=options.guide,
        content_weight=options.content_weight,
        coarse_content=options.coarse_content,
        photoreal=options.photoreal,
        normalize_gradients=options.normalize_gradients,
    )


def plan_losses(
    table: Mapping[str, _Loss], entries: tuple[str, ...], layers: Mapping[str, float]
) -> tuple[PlannedLoss[_Loss], ...]:
    """Return the losses named; a loss's groups share its weight by their layers' weights."""
    plan: list[PlannedLoss[_Loss]] = []
    for name, weight in parse_weights(entries).items():
        if name not in table:
            raise OptionError(f"unknown loss {name!r}{suggest(name, table)}")
        loss = table[name]
        groups = loss.groups(list(layers))
        if not groups:
            raise OptionError(f"{name} needs more layers than {', '.join(layers)}")
        shares = []
        for group in groups:
            own = [layers[layer] for layer in group if layer in layers]
            shares.append(sum(own) / len(own) if own else 1.0)
        whole = max(sum(shares), 1e-12)
        plan += [
            PlannedLoss(name, loss, tuple(group), weight * share / whole)
            for group, share in zip(groups, shares, strict=True)
            if weight * share > 0
        ]
    return tuple(plan)


# --- layers -------------------------------------------------------------------------------------


def weigh_layers(
    backbone: Backbone, entries: tuple[str, ...], how: str, ratio: float
) -> dict[str, float]:
    """Return {layer: weight}, weights as given or also times ``ratio`` from each to the next.

    Geometric weights (Novak and Nikulin 2016, 3.1) are 2^(D-d) for the d-th of D style layers,
    since what is near the pixels carries most of a style, and 2^d for content.
    """
    layers = resolve_layers(backbone, entries)
    if how == "geometric":
        return {n: w * ratio ** (d + 1) for d, (n, w) in enumerate(layers.items())}
    return layers


def resolve_layers(backbone: Backbone, entries: tuple[str, ...]) -> dict[str, float]:
    """Return {layer: weight} by the layers' full names, in the order they are computed.

    "all" is every ReLU there is.
    """
    order = [PIXELS, *backbone.architecture.layers()]
    weights = {}
    for name, weight in parse_weights(entries).items():
        if name == "all":
            every = [conv.replace("conv", "relu") for conv in backbone.convs]
            weights.update(dict.fromkeys(every, weight))
        else:
            weights[name if name == PIXELS else backbone.resolve(name)] = weight
    return dict(sorted(weights.items(), key=lambda item: order.index(item[0])))
