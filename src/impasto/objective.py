"""The total loss of a picture at one size, and its parts.

Which losses there are is the business of their tables: here each is an entry that says which groups
of layers it looks at, and is asked for its statistics and their distance.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from impasto.backbones import Backbone
from impasto.devices import Machine, seeded
from impasto.errors import OptionError, suggest
from impasto.losses import CONTENT_LOSSES, ContentLoss, range_penalty, total_variation
from impasto.masks import normalise, shrink_mask
from impasto.options import PaintOptions, parse_weights
from impasto.scene import Sample, View
from impasto.style_losses import STYLE_LOSSES, Statistics, StyleLoss, draw_positions

RANGE_WEIGHT = 100.0
PIXELS = "pixels"  # the layer before the first: the picture itself
Seen = dict[str, Tensor]  # layer -> features (1, C, H, W)


@dataclass(frozen=True)
class StyleTerm:
    """One style loss over one group of layers in one region."""

    loss: StyleLoss
    group: tuple[str, ...]
    weight: float
    masks: tuple[Tensor, ...]  # where it looks, at each layer: sums to 1
    target: Any


@dataclass(frozen=True)
class ContentTerm:
    """One content loss over one group of layers."""

    loss: ContentLoss
    group: tuple[str, ...]
    weight: float
    target: tuple[Tensor, ...]


class Objective:
    """The total loss of a picture at one size."""

    def __init__(
        self,
        backbone: Backbone,
        machine: Machine,
        view: View,
        options: PaintOptions,
        targets: Targets | None = None,
    ) -> None:
        self.backbone, self.machine, self.view, self.options = backbone, machine, view, options
        self.targets = targets or Targets()
        self.style_losses = plan_losses(
            STYLE_LOSSES, options.style_loss, style_layers(backbone, options)
        )
        self.content_losses = plan_losses(
            CONTENT_LOSSES, options.content_loss, content_layers(backbone, options)
        )
        self.style_groups = [group for _, group, _ in self.style_losses]
        self.layers = layers_of(backbone, options)
        self.painted = 1.0 if view.mask is None else float(view.mask.mean())
        with torch.no_grad():
            self.content_terms = self._content_terms()
            self.style_terms = self._style_terms()

    def _content_terms(self) -> list[ContentTerm]:
        groups = [group for _, group, _ in self.content_losses]
        seen = self.look(self.view.content, {name for group in groups for name in group})
        return [
            ContentTerm(loss, group, weight, tuple(seen[name] for name in group))
            for loss, group, weight in self.content_losses
        ]

    def _style_terms(self) -> list[StyleTerm]:
        regions = self.view.regions
        masses = [r.strength * (1.0 if r.mask is None else float(r.mask.mean())) for r in regions]
        layers = {name for group in self.style_groups for name in group}
        terms = []
        for region, mass in zip(regions, masses, strict=True):
            masks = self._position_weights(region.mask, self.view.content, layers)
            statistics = [self._measure(sample) for sample in region.samples]
            shares = [sample.share for sample in region.samples]
            for i, (loss, group, weight) in enumerate(self.style_losses):
                target = loss.blend([each[i] for each in statistics], shares)
                share = weight * mass / sum(masses)
                terms.append(StyleTerm(loss, group, share, join_masks(masks, group), target))
        return terms

    def _measure(self, sample: Sample) -> list[Statistics]:
        """What each style loss keeps of a style picture."""
        key = self.targets.key(sample, self.machine, self.options)
        if (known := self.targets.get(key)) is not None:
            return known
        layers = {name for group in self.style_groups for name in group}
        seen = self.shift(self.look(sample.pixels, layers))
        masks = self._position_weights(sample.mask, sample.pixels, layers)
        draw = seeded(self.options.seed)
        measured = [
            gather(loss, [seen[n] for n in group], join_masks(masks, group), draw)
            for loss, group, _ in self.style_losses
        ]
        self.targets.put(key, measured)
        return measured

    def _position_weights(
        self, mask: Tensor | None, pixels: Tensor, layers: Iterable[str]
    ) -> dict[str, Tensor]:
        """How much each position of each layer counts: the mask, shrunk to the layer."""
        whole = torch.ones_like(pixels[:, :1]) if mask is None else mask
        paths = {name: [] if name == PIXELS else self.backbone.path(name) for name in layers}
        return {name: normalise(shrink_mask(whole, path)) for name, path in paths.items()}

    def look(self, pixels: Tensor, layers: Iterable[str]) -> Seen:
        """Features in float32: sums over pixels lose too much in fewer bits."""
        wanted = set(layers) - {PIXELS}
        seen: Seen = {PIXELS: pixels}
        if wanted:
            with self.machine.autocast():
                features = self.backbone(
                    pixels.contiguous(memory_format=torch.channels_last), wanted
                )
            seen |= {name: each.float() for name, each in features.items()}
        return seen

    def shift(self, seen: Seen) -> Seen:
        """Activation shift (Novak and Nikulin 2016, 3.3): Gram matrices of F + shift are not
        sparse, and tell what is absent from what is there."""
        by = self.options.activation_shift
        if not by:
            return seen
        return {name: f if name == PIXELS else f + by for name, f in seen.items()}

    def __call__(self, pixels: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The total, to be differentiated, and its parts before their weights; whatever is drawn
        is drawn from the seed and the step."""
        options = self.options
        draw = seeded((options.seed + 7919 * step) % 2**63)
        seen = self.look(pixels, self.layers)
        shifted = self.shift(seen)
        style = content = pixels.new_zeros(())
        for term in self.style_terms:
            features = self._pull(term.group, shifted, options.style_weight * term.weight)
            ours = gather(term.loss, features, term.masks, draw)
            style = style + term.weight * term.loss.compare(
                ours, term.target, draw, options.normalization
            )
        for held in self.content_terms:
            features = self._pull(held.group, seen, options.content_weight * held.weight)
            content = content + held.weight * compare_content(
                held, features, draw, options.normalization
            )
        # Content is a mean over the whole photograph and each style one over its region: a small
        # mask would tip the scales, if style did not count by what is painted of the whole.
        style = self.painted * style
        tv = total_variation(pixels, options.normalization, options.tv_power)
        total = (
            options.style_weight * style
            + options.content_weight * content
            + options.tv_weight * tv
            + RANGE_WEIGHT * range_penalty(pixels, options.normalization)
        )
        return total, {"style": style, "content": content, "tv": tv}

    def _pull(self, group: Sequence[str], seen: Seen, weight: float) -> list[Tensor]:
        """A loss's own view of its features: normalised is its gradient, not the sum of all that
        look at the same layer, and its weight comes after."""
        how = self.options.normalize_gradients
        if how == "none":
            return [seen[name] for name in group]
        return [
            NormalizedGradient.apply(seen[name], how, weight / len(group))  # type: ignore[no-untyped-call]
            for name in group
        ]


class NormalizedGradient(torch.autograd.Function):
    """Lets features pass; their gradient comes back with a length of ``weight``: its L1 norm is
    that (l1), or its length at each position is that over the number of positions (pixel)."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, how: str, weight: float) -> Tensor:
        ctx.how, ctx.weight = how, weight
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        if ctx.how == "l1":
            length = gradient.abs().sum()
        else:
            positions = gradient.shape[-2] * gradient.shape[-1]
            length = gradient.norm(dim=1, keepdim=True) * positions
        scale = ctx.weight / length
        return gradient * torch.where(length > 0, scale, torch.zeros_like(scale)), None, None


class Targets:
    """What styles were measured to be, kept for other photographs; the oldest go first."""

    def __init__(self, most: int = 32, most_bytes: int = 2**28) -> None:
        self.most, self.most_bytes = most, most_bytes
        self.known: dict[str, list[Statistics]] = {}

    def key(self, sample: Sample, machine: Machine, options: PaintOptions) -> str:
        """A digest of all that the measurement depends on."""
        names = ("backbone", "weights", "pooling", "style_loss", "style_layer")
        said = [getattr(options, name) for name in (*names, "activation_shift", "seed")]
        digest = hashlib.sha256(repr((said, str(machine), tuple(sample.pixels.shape))).encode())
        for tensor in (sample.pixels, sample.mask):
            if tensor is not None:
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def get(self, key: str) -> list[Statistics] | None:
        return self.known.get(key)

    def put(self, key: str, measured: list[Statistics]) -> None:
        self.known[key] = measured
        while len(self.known) > 1 and self.is_full():
            del self.known[next(iter(self.known))]

    def is_full(self) -> bool:
        tensors = (t for each in self.known.values() for kept in each for t in kept)
        return len(self.known) > self.most or sum(t.nbytes for t in tensors) > self.most_bytes


def join_masks(masks: dict[str, Tensor], group: Sequence[str]) -> tuple[Tensor, ...]:
    """The masks of layers that are looked at together: the deepest, which lies within the others,
    over the cells of each. What it does not count has seen the other side."""
    deepest = masks[group[-1]]
    return tuple(
        deepest if name == group[-1] else normalise(repeat_cells(deepest, masks[name].shape[2:]))
        for name in group
    )


def repeat_cells(mask: Tensor, shape: Sequence[int]) -> Tensor:
    """A mask over the cells of a shallower layer, which were pooled by halves rounded up."""
    for dim, size in zip((2, 3), shape, strict=True):
        factor = 1
        while -(-size // factor) > mask.shape[dim]:
            factor *= 2
        mask = mask.repeat_interleave(factor, dim).narrow(dim, 0, size)
    return mask


def gather(
    loss: StyleLoss, features: Sequence[Tensor], masks: Sequence[Tensor], draw: torch.Generator
) -> Statistics:
    positions = draw_positions(masks[-1], loss.samples, draw) if loss.samples else NOWHERE
    return loss.gather(tuple(features), tuple(masks), positions.to(features[0].device))


NOWHERE = torch.zeros(0, 2)


def compare_content(
    term: ContentTerm, features: Sequence[Tensor], draw: torch.Generator, normalization: str
) -> Tensor:
    loss, positions = term.loss, NOWHERE
    if loss.samples:
        uniform = torch.ones_like(features[0][:, :1])
        positions = draw_positions(normalise(uniform), loss.samples, draw)
    positions = positions.to(features[0].device)
    return loss.compare(tuple(features), term.target, positions, normalization)


def plan_losses(
    table: dict[str, Any], entries: tuple[str, ...], layers: dict[str, float]
) -> list[tuple[Any, tuple[str, ...], float]]:
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


def layers_of(backbone: Backbone, options: PaintOptions) -> list[str]:
    """Every layer that the options look at, the pixels apart."""
    plans = (
        (STYLE_LOSSES, options.style_loss, style_layers(backbone, options)),
        (CONTENT_LOSSES, options.content_loss, content_layers(backbone, options)),
    )
    groups = [group for plan in plans for _, group, _ in plan_losses(*plan)]
    return sorted({name for group in groups for name in group} - {PIXELS})
