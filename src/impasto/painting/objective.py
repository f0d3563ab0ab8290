"""The total loss of a picture at one size, its parts and its gradient.

Every statistic is a sum over positions, so a picture that is too large to be seen at once is seen
tile by tile, twice: first its statistics are added up; then, how the total changes with each of
them being known, each tile is seen again and its share of the gradient taken. Both ways give the
same numbers but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from impasto.errors import DeviceError
from impasto.images.masks import normalise_weights, shrink_mask
from impasto.images.tiles import (
    Box,
    Cells,
    Tile,
    choose_grid,
    cut_picture,
    find_stride,
    lay_out,
    whole_tile,
    wrap,
)
from impasto.losses.content import ContentLoss
from impasto.losses.regularisers import range_penalty, total_variation
from impasto.losses.sampling import draw_positions
from impasto.losses.statistics import Weights, widen
from impasto.losses.style import Statistics, StyleLoss
from impasto.networks.vgg import Backbone
from impasto.painting.inputs import Sample, View
from impasto.painting.loss_plan import (
    PIXELS,
    ContentTerm,
    Glimpse,
    Group,
    NormalizedGradient,
    Pull,
    Seen,
    StyleTerm,
    gather_style,
    join_masks,
    layers_of,
    plan_terms,
)
from impasto.painting.options import PaintOptions
from impasto.painting.style_cache import Measured, Targets
from impasto.painting.tiled_gradient import Gathered, Known, Pulls, add_up, take_gradient
from impasto.system.checkpoints import fingerprint
from impasto.system.devices import Machine, seeded
from impasto.system.memory import is_out_of_memory

RANGE_WEIGHT = 100.0
NOWHERE = torch.zeros(0, 2)
Parts = dict[str, Tensor]


class Objective:
    """The total loss of a picture at one size, of which at most ``window`` pixels are seen at
    once."""

    def __init__(
        self,
        backbone: Backbone,
        machine: Machine,
        view: View,
        options: PaintOptions,
        targets: Targets | None = None,
        window: float = math.inf,
    ) -> None:
        self.backbone, self.machine, self.options = backbone, machine, options
        self.photo, self.mask = view.photo, view.mask
        self.targets, self.window = targets or Targets(), window
        self.remarks: list[str] = []  # what was done in the user's stead
        self.style_losses, self.content_losses = plan_terms(backbone, options)
        self.layers = layers_of(backbone, options)
        self.paths = {name: backbone.path(name) for name in self.layers} | {PIXELS: []}
        self.size = (view.content.shape[-2], view.content.shape[-1])  # (height, width)
        self.tiles = self._cut(self.size, tileable=options.tileable)
        self.painted = 1.0 if view.mask is None else float(view.mask.mean())
        with torch.no_grad():
            self.content_terms = self._with_less_if_need_be(self._content_terms, view)
            self.style_terms = self._with_less_if_need_be(self._style_terms, view)
        self.terms: list[StyleTerm | ContentTerm] = [*self.style_terms, *self.content_terms]

    # --- tiles ----------------------------------------------------------------------------------

    def _cut(self, size: tuple[int, int], *, tileable: bool = False) -> list[Tile]:
        """The tiles that a picture is seen in; one, if there is room for all of it."""
        if size[0] * size[1] <= self.window and not tileable:
            return [whole_tile(*size)]
        stride, reach = lay_out(self.paths.values())
        grid = choose_grid(*size, self.window, stride, reach, tileable=tileable)
        if grid is None:
            raise DeviceError(
                f"out of memory: there is no room for a tile of {int(self.window)} pixels"
            )
        return cut_picture(*size, grid, stride, reach, tileable=tileable)

    def _with_less_if_need_be(self, work: Callable[..., Any], *inputs: Any) -> Any:
        """Work, done again with smaller tiles where the device has no memory left for it."""
        while True:
            try:
                return work(*inputs)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            # Here the error is gone, and with it all that its frames held on to.
            if self.machine.device.type == "cuda":
                torch.cuda.empty_cache()
            self.window = max(tile.window.area for tile in self.tiles) / 2
            self.tiles = self._cut(self.size, tileable=self.options.tileable)
            self.remarks.append(f"out of memory: on with {len(self.tiles)} smaller tiles")

    def _cells(self, layer: str, tile: Tile, size: tuple[int, int]) -> Cells:
        """Which cells of a layer a tile of a picture of that size answers for."""
        return tile.cells(find_stride(self.paths[layer]), size)

    def show(self, pixels: Tensor) -> Tensor:
        """What the losses see: the picture where it is painted, the photograph where it is kept;
        with copies of itself around, if those are to fit."""
        if self.mask is not None:
            pixels = self.photo + self.mask * (pixels - self.photo)
        margin = self.tiles[0].margin
        return wrap(pixels, margin) if margin else pixels

    # --- looking --------------------------------------------------------------------------------

    def look(self, pixels: Tensor, layers: Iterable[str]) -> Seen:
        """Features, in the network's own precision."""
        wanted = set(layers) - {PIXELS}
        seen: Seen = {PIXELS: pixels}
        return seen | self.backbone(pixels, wanted) if wanted else seen

    def _look_at(
        self, window: Tensor, layers: Iterable[str], tile: Tile, size: tuple[int, int]
    ) -> Glimpse:
        """What a tile answers for, of the pixels in its window."""
        seen = self.look(window, layers)
        cells = {name: self._cells(name, tile, size) for name in seen}
        strides = {name: find_stride(self.paths[name]) for name in seen}
        return Glimpse({n: tile.inner(strides[n]).of(f) for n, f in seen.items()}, cells)

    def _shift(self, seen: Glimpse) -> Glimpse:
        """Activation shift (Novak and Nikulin 2016, 3.3): Gram matrices of F + shift are not
        sparse, and tell what is absent from what is there."""
        by = self.options.activation_shift
        if not by:
            return seen
        shifted = {n: f if n == PIXELS else widen(f) + by for n, f in seen.features.items()}
        return Glimpse(shifted, seen.cells)

    def _draw(
        self,
        loss: StyleLoss | ContentLoss,
        group: Group,
        weights: Weights,
        size: tuple[int, int],
        draw: torch.Generator,
    ) -> Tensor:
        """The positions that a loss looks at, if it samples."""
        if not loss.samples:
            return NOWHERE
        shape = self._cells(group[-1], whole_tile(*size), size).whole
        positions = draw_positions(weights, loss.samples, draw, shape)
        return positions.to(self.machine.device)

    # --- targets --------------------------------------------------------------------------------

    def _content_terms(self, view: View) -> list[ContentTerm]:
        content = view.content
        layers = {layer for _, (layer,), _ in self.content_losses}
        wholes: Seen = {PIXELS: content}
        for tile in self.tiles:
            shown = tile.window.of(wrap(content, tile.margin))
            seen = self._look_at(shown, layers, tile, self.size)
            for name in layers - {PIXELS}:
                part, cells = seen.features[name], seen.cells[name]
                if cells.is_whole:
                    wholes[name] = part
                    continue
                if name not in wholes:
                    wholes[name] = part.new_empty(1, part.shape[1], *cells.whole)
                cells.box.of(wholes[name]).copy_(part)
        return [
            ContentTerm(loss, group, weight, wholes[group[0]], loss.hold(wholes[group[0]]))
            for loss, group, weight in self.content_losses
        ]

    def _style_terms(self, view: View) -> list[StyleTerm]:
        regions = view.regions
        masses = [r.strength * (1.0 if r.mask is None else float(r.mask.mean())) for r in regions]
        terms = []
        for region, mass in zip(regions, masses, strict=True):
            masks = self._position_weights(region.mask, self.size)
            statistics = [self._measure(sample) for sample in region.samples]
            shares = [sample.share for sample in region.samples]
            for i, (loss, group, weight) in enumerate(self.style_losses):
                target = loss.blend([each[i] for each in statistics], shares)
                share = weight * mass / sum(masses)
                terms.append(StyleTerm(loss, group, share, join_masks(masks, group), target))
        return terms

    def _measure(self, sample: Sample) -> Measured:
        """What each style loss keeps of a style picture."""
        pixels = sample.pixels
        size = (pixels.shape[-2], pixels.shape[-1])
        tiles = self._cut(size)
        key = fingerprint(self._say_measurement(tiles), (pixels, sample.mask))
        if (known := self.targets.get(key)) is not None:
            return [tuple(tensor.to(pixels.device) for tensor in each) for each in known]
        masks, draw = self._position_weights(sample.mask, size), seeded(self.options.seed)
        plan = []
        for loss, group, _ in self.style_losses:
            joined = join_masks(masks, group)
            plan.append((loss, group, joined, self._draw(loss, group, joined[-1], size, draw)))
        measured: Measured = []
        for tile in tiles:
            seen = self._shift(self._look_at(tile.window.of(pixels), masks, tile, size))
            measured = add_up(measured, [gather_style(*how[:3], seen, how[3]) for how in plan])
        self.targets.put(key, measured)
        return measured

    def _say_measurement(self, tiles: list[Tile]) -> list[Any]:
        """All that a measurement depends on beside the picture and its mask."""
        names = ("pooling", "style_loss", "style_layer", "activation_shift", "seed")
        said = [getattr(self.options, name) for name in names]
        return [
            self.backbone.fingerprint(),
            *said,
            str(self.machine),
            tiles,
            version("impasto"),
            torch.__version__,
        ]

    def _position_weights(self, mask: Tensor | None, size: tuple[int, int]) -> dict[str, Weights]:
        """How much each position of each layer of style counts: the mask, shrunk to the layer."""
        layers = {name for _, group, _ in self.style_losses for name in group}
        if mask is not None:
            return {name: normalise_weights(shrink_mask(mask, self.paths[name])) for name in layers}
        whole = whole_tile(*size)
        return {name: 1 / self._cells(name, whole, size).box.area for name in layers}

    # --- the total ------------------------------------------------------------------------------

    def __call__(self, pixels: Tensor, step: int) -> tuple[Tensor, Parts]:
        """The total, to be differentiated, and its parts before their weights; whatever is drawn
        is drawn from the seed and the step."""
        total, parts = self._with_less_if_need_be(self._evaluate, pixels, step)
        return total, parts

    def _evaluate(self, pixels: Tensor, step: int) -> tuple[Tensor, Parts]:
        draw = seeded((self.options.seed + 7919 * step) % 2**63)
        where = [
            self._draw(
                term.loss,
                term.group,
                term.masks[-1] if isinstance(term, StyleTerm) else 1.0,
                self.size,
                draw,
            )
            for term in self.terms
        ]
        if len(self.tiles) == 1:
            return self._weigh(self._gather(pixels, self.tiles[0], where), draw)
        total, parts, gradient = self._evaluate_tiles(pixels, where, draw)
        return Known.apply(pixels, total, gradient), parts  # type: ignore[no-untyped-call]

    def _gather(
        self, window: Tensor, tile: Tile, where: list[Tensor], pulls: Pulls | None = None
    ) -> Gathered:
        """A tile's share of every statistic, of the pixels in its window."""
        seen = self._look_at(window, self.layers, tile, self.size)
        own = tile.core.within(tile.window)
        edge = Box(own.top, own.left, own.bottom + 1, own.right + 1).of(window)
        options, inside = self.options, own.of(window)
        tv = total_variation(edge, options.tv_power, own.shape)
        return [*self._gather_terms(seen, where, pulls), (tv, range_penalty(inside))]

    def _gather_terms(
        self, seen: Glimpse, where: list[Tensor], pulls: Pulls | None = None
    ) -> Gathered:
        shifted, gathered = self._shift(seen), list[Statistics]()
        for i, (term, positions) in enumerate(zip(self.terms, where, strict=True)):
            if pulls is not None and self._is_seen_whole(term):
                gathered.append(())
                continue
            glimpse = shifted if isinstance(term, StyleTerm) else seen
            gathered.append(term.gather(self._pull(i, glimpse, pulls), positions))
        return gathered

    def _is_seen_whole(self, term: StyleTerm | ContentTerm) -> bool:
        """Whether neighbours beyond a tile matter to it: what looks at edges of the picture."""
        return isinstance(term, ContentTerm) and term.group == (PIXELS,)

    def _pull(self, i: int, seen: Glimpse, pulls: Pulls | None) -> Glimpse:
        """A term's own view of its features, whose gradient is normalised by itself."""
        how, term = self.options.normalize_gradients, self.terms[i]
        if how == "none":
            return seen
        options, pulled = self.options, {}
        weight = options.style_weight if isinstance(term, StyleTerm) else options.content_weight
        for name in term.group:
            tall, wide = seen.cells[name].whole
            pull = Pull(how, weight * term.weight / len(term.group), tall * wide)
            if pulls is not None:
                pull = pulls.setdefault((i, name), pull)
            pulled[name] = NormalizedGradient.apply(seen.features[name], pull)  # type: ignore[no-untyped-call]
        return Glimpse(pulled, seen.cells)

    def _weigh(self, gathered: Gathered, draw: torch.Generator) -> tuple[Tensor, Parts]:
        """The total of what was gathered over the whole picture."""
        options, (tv, outside) = self.options, gathered[-1]
        style = content = tv.new_zeros(())
        for term, ours in zip(self.terms, gathered, strict=False):
            if isinstance(term, StyleTerm):
                own = term.loss.compare(ours, term.target, draw, options.normalization)
                style = style + term.weight * own
            else:
                own = term.loss.finish(ours, term.held, options.normalization)
                content = content + term.weight * own
        # Content is a mean over the whole photograph and each style one over its region: a small
        # mask would tip the scales, if style did not count by what is painted of the whole.
        style = self.painted * style
        if options.normalization == "relative":
            values = 3 * self.size[0] * self.size[1]
            tv, outside = tv / values, outside / values
        total = (
            options.style_weight * style
            + options.content_weight * content
            + options.tv_weight * tv
            + RANGE_WEIGHT * outside
        )
        return total, {"style": style, "content": content, "tv": tv}

    # --- in two passes --------------------------------------------------------------------------

    def _evaluate_tiles(
        self, pixels: Tensor, where: list[Tensor], draw: torch.Generator
    ) -> tuple[Tensor, Parts, Tensor | None]:
        """The total, its parts and the gradient of a picture that is seen tile by tile."""
        wanted, pixels = pixels.requires_grad and torch.is_grad_enabled(), pixels.detach()
        gathered: Gathered = []
        with torch.no_grad():
            for tile in self.tiles:
                gathered = add_up(gathered, self._gather(tile.window.of(pixels), tile, where, {}))
        with torch.enable_grad():
            whole = pixels.requires_grad_()
            leaves = [tensor.requires_grad_() for each in gathered for tensor in each]
            for i, term in enumerate(self.terms):
                if self._is_seen_whole(term):
                    cells = {PIXELS: self._cells(PIXELS, whole_tile(*self.size), self.size)}
                    inside = Box(0, 0, *self.size).shift(self.tiles[0].margin).of(whole)
                    seen = self._pull(i, Glimpse({PIXELS: inside}, cells), None)
                    gathered[i] = term.gather(seen, where[i])
            total, parts = self._weigh(gathered, draw)
        parts = {name: part.detach() for name, part in parts.items()}
        if not wanted:
            return total.detach(), parts, None
        *slopes, gradient = torch.autograd.grad(
            total, [*leaves, whole], allow_unused=True, materialize_grads=True
        )
        whole.requires_grad_(False)
        pulls: Pulls = {}
        if self.options.normalize_gradients == "l1":
            pulls = self._measure_pulls(whole, where, slopes)
        for tile in self.tiles:
            with torch.enable_grad():
                window = tile.window.of(whole).detach().requires_grad_()
                tensors = [t for each in self._gather(window, tile, where, pulls) for t in each]
            tile.window.of(gradient).add_(take_gradient(tensors, slopes, [window])[0])
            del tensors  # and their graph, before the next one
        return total.detach(), parts, gradient

    def _measure_pulls(self, pixels: Tensor, where: list[Tensor], slopes: list[Tensor]) -> Pulls:
        """The L1 norm, over all tiles, of each term's gradient at each of its layers."""
        pulls: Pulls = {}
        for tile in self.tiles:
            with torch.no_grad():
                seen = self._look_at(tile.window.of(pixels), self.layers, tile, self.size)
            with torch.enable_grad():
                leaves = {n: f.detach().requires_grad_() for n, f in seen.features.items()}
                gathered = self._gather_terms(Glimpse(leaves, seen.cells), where, pulls)
            for pull in pulls.values():
                pull.measuring = True
            take_gradient([t for each in gathered for t in each], slopes, [*leaves.values()])
        for pull in pulls.values():
            pull.measuring = False
        return pulls
