"""Terms of the total: losses with what they compare with, measured of photographs and styles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from impasto.images.masks import normalise_weights, shrink_mask
from impasto.images.tiles import Tile, whole_tile, wrap
from impasto.losses.content import ContentLoss
from impasto.losses.sampling import ColumnMap, FeatureGroup
from impasto.losses.statistics import Weights
from impasto.losses.style_loss import Statistics, StyleLoss
from impasto.painting.extractor import Extractor, FeatureMaps, TileFeatures
from impasto.painting.inputs import Region, Sample
from impasto.painting.loss_plan import PIXELS, Group
from impasto.painting.style_cache import Measured, Targets
from impasto.system.checkpoints import fingerprint
from impasto.system.devices import Machine, seeded

Gathered = list[Statistics]  # of all terms, and of the pixels themselves


@dataclass(frozen=True)
class StyleTerm:
    """One style loss over one group of layers in one region."""

    loss: StyleLoss
    group: Group
    weight: float
    masks: tuple[Weights, ...]  # where it looks, at each layer: sums to 1
    target: Statistics
    guide: FeatureGroup = ()  # the photograph's features, if they help to find the style's nearest
    share: float = 0.0  # of the guide, beside our own features
    into: ColumnMap | None = None  # the space that columns are compared in, if another

    def gather(self, seen: TileFeatures, positions: Tensor) -> Statistics:
        """Return the statistics of a tile, and how far the guide pulls them."""
        gathered = gather_style(self.loss, self.group, self.masks, seen, positions)
        if not self.guide:
            return gathered
        cells = [seen.cells[name] for name in self.group]
        guide = tuple(c.box.of(f) for c, f in zip(cells, self.guide, strict=True))
        guiding = self.loss.sample(guide, self.masks, positions, cells)
        return (*gathered, self.share * (guiding - gathered[0].detach()))

    def compare(self, ours: Statistics, draw: torch.Generator, normalization: str) -> Tensor:
        """Return how far the statistics of the whole picture are from the style's."""
        if self.into is not None:
            ours = (self.into(ours[0]), *map(self.into.map_difference, ours[1:]))
        return self.loss.compare(ours, self.target, draw, normalization)


@dataclass(frozen=True)
class ContentTerm:
    """One content loss over one group of layers."""

    loss: ContentLoss
    group: Group
    weight: float
    target: FeatureGroup
    held: Statistics  # what the loss needs to know of the whole target
    into: ColumnMap | None = None  # the space that columns are compared in, if another

    def gather(self, seen: TileFeatures, positions: Tensor) -> Statistics:
        """Return the statistics of a tile."""
        cells = [seen.cells[name] for name in self.group]
        target = tuple(c.box.of(f) for c, f in zip(cells, self.target, strict=True))
        ours = tuple(seen.features[name] for name in self.group)
        return self.loss.gather(ours, target, positions, cells)

    def compare(self, sums: Statistics, normalization: str) -> Tensor:
        """Return how far the whole picture is from the photograph."""
        if self.into is not None:
            sums = tuple(map(self.into, sums))
        return self.loss.finish(sums, self.held, normalization)


def gather_style(
    loss: StyleLoss,
    group: Group,
    masks: Sequence[Weights],
    seen: TileFeatures,
    positions: Tensor,
) -> Statistics:
    """Return the statistics that a loss keeps of a group of layers."""
    cells = [seen.cells[name] for name in group]
    weights = tuple(
        each.box.of(mask) if isinstance(mask, Tensor) else mask
        for each, mask in zip(cells, masks, strict=True)
    )
    return loss.gather(tuple(seen.features[n] for n in group), weights, positions, cells)


def join_masks(masks: dict[str, Weights], group: Group) -> tuple[Weights, ...]:
    """Return the masks of layers that are looked at together.

    The deepest layer's, which lies within the others, is laid over the cells of each: positions
    that it leaves out have seen pixels beyond the mask.
    """
    deepest = masks[group[-1]]
    joined = []
    for name in group:
        own = masks[name]
        if name != group[-1] and isinstance(own, Tensor) and isinstance(deepest, Tensor):
            own = normalise_weights(repeat_cells(deepest, own.shape[2:]))
        joined.append(own)
    return tuple(joined)


def repeat_cells(mask: Tensor, shape: Sequence[int]) -> Tensor:
    """Repeat a mask over the cells of a shallower layer, pooled by halves rounded up."""
    for dim, size in zip((2, 3), shape, strict=True):
        factor = 1
        while -(-size // factor) > mask.shape[dim]:
            factor *= 2
        mask = mask.repeat_interleave(factor, dim).narrow(dim, 0, size)
    return mask


def add_statistics(sums: Gathered, more: Gathered) -> Gathered:
    """Return the statistics of the tiles so far and of one more."""
    if not sums:
        return list(more)
    return [
        tuple(a + b for a, b in zip(ours, theirs, strict=True))
        for ours, theirs in zip(sums, more, strict=True)
    ]


# --- what terms compare with --------------------------------------------------------------------


def hold_content(extractor: Extractor, content: Tensor, tiles: Sequence[Tile]) -> FeatureMaps:
    """Return the features that are kept of a photograph, which is seen tile by tile."""
    size = (content.shape[-2], content.shape[-1])
    layers = set(extractor.plan.kept)
    wholes: FeatureMaps = {PIXELS: content}
    for tile in tiles:
        shown = tile.window.of(wrap(content, tile.margin))
        seen = extractor.extract(shown, layers, tile, size)
        for name in layers:
            part, cells = seen.features[name], seen.cells[name]
            if cells.is_whole:
                wholes[name] = part
                continue
            if name not in wholes:
                wholes[name] = part.new_empty(1, part.shape[1], *cells.whole)
            cells.box.of(wholes[name]).copy_(part)
    return wholes


def make_content_terms(extractor: Extractor, kept: FeatureMaps) -> list[ContentTerm]:
    """Return the content terms of a photograph."""
    terms = []
    for each in extractor.plan.content:
        target = tuple(kept[name] for name in each.group)
        held = each.loss.hold(target)
        into = extractor.map_columns(each.group) if each.loss.samples else None
        terms.append(ContentTerm(each.loss, each.group, each.weight, target, held, into))
    return terms


def guide_terms(
    extractor: Extractor, terms: Sequence[StyleTerm], kept: FeatureMaps
) -> list[StyleTerm]:
    """Return style terms that find their nearest by the photograph's features too, if asked."""
    share = extractor.plan.guide
    if not share:
        return list(terms)
    shifted = extractor.shift_maps(kept)
    return [
        replace(t, guide=tuple(shifted[name] for name in t.group), share=share)
        if t.loss.is_guided
        else t
        for t in terms
    ]


class StyleMeter:
    """Measures what style losses keep of style pictures, unless that is known already."""

    def __init__(self, extractor: Extractor, machine: Machine, targets: Targets) -> None:
        self.extractor, self.plan = extractor, extractor.plan
        self.machine, self.targets = machine, targets

    def make_terms(
        self, regions: Sequence[Region], size: tuple[int, int], window: float
    ) -> list[StyleTerm]:
        """Return the style terms of a picture's regions."""
        terms: list[StyleTerm] = []
        if not self.plan.style:
            return terms
        masses = [r.strength * (1.0 if r.mask is None else float(r.mask.mean())) for r in regions]
        for region, mass in zip(regions, masses, strict=True):
            masks = self._weigh_positions(region.mask, size)
            statistics = [self.measure(sample, window) for sample in region.samples]
            shares = [sample.share for sample in region.samples]
            for i, each in enumerate(self.plan.style):
                target = each.loss.blend([known[i] for known in statistics], shares)
                share = each.weight * mass / sum(masses)
                joined = join_masks(masks, each.group)
                into = self.extractor.map_columns(each.group) if each.loss.interpolates else None
                if into is not None:
                    target = (into(target[0]),)
                terms.append(StyleTerm(each.loss, each.group, share, joined, target, into=into))
        return terms

    def measure(self, sample: Sample, window: float) -> Measured:
        """Return the statistics of a style picture for each style loss."""
        pixels = sample.pixels
        size = (pixels.shape[-2], pixels.shape[-1])
        tiles = self.extractor.cut(size, window)
        key = fingerprint(self._list_facts(tiles), (pixels, sample.mask))
        if (known := self.targets.get(key)) is not None:
            return [tuple(tensor.to(pixels.device) for tensor in each) for each in known]
        masks, generator = self._weigh_positions(sample.mask, size), seeded(self.plan.seed)
        looks = []
        for each in self.plan.style:
            joined = join_masks(masks, each.group)
            count = each.loss.pool or each.loss.samples
            where = self.extractor.draw(count, each.group, joined[-1], size, generator)
            looks.append((each.loss, each.group, joined, where))
        measured: Measured = []
        for tile in tiles:
            seen = self.extractor.extract(tile.window.of(pixels), masks, tile, size)
            seen = self.extractor.shift(seen)
            more = [gather_style(*look[:3], seen, look[3]) for look in looks]
            measured = add_statistics(measured, more)
        self.targets.put(key, measured)
        return measured

    def _list_facts(self, tiles: Sequence[Tile]) -> list[Any]:
        """Return all that a measurement depends on beside the picture and its mask."""
        plan, backbone = self.plan, self.extractor.backbone
        return [
            backbone.fingerprint(),
            backbone.pooling,
            [
                (e.name, e.group, e.loss.samples, e.loss.pool, e.loss.interpolates)
                for e in plan.style
            ],
            plan.activation_shift,
            plan.seed,
            str(self.machine),
            list(tiles),
            version("impasto"),
            torch.__version__,
        ]

    def _weigh_positions(self, mask: Tensor | None, size: tuple[int, int]) -> dict[str, Weights]:
        """Return how much each position of each layer counts: the mask, shrunk to the layer."""
        layers = {name for each in self.plan.style for name in each.group}
        if mask is not None:
            return {
                name: normalise_weights(shrink_mask(mask, self.plan.paths[name])) for name in layers
            }
        whole = whole_tile(*size)
        cells = {name: self.extractor.find_cells(name, whole, size) for name in layers}
        return {name: 1 / each.box.area for name, each in cells.items()}
