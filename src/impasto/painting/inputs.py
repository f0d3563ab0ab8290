"""What is painted where, and after what: the photograph, its styles, masks and colours.

A scene is read once; ``at`` shows it at a size: a view. Masks are (1, 1, H, W) of the size of what
they cover; None stands for all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from impasto.errors import ImageError, OptionError
from impasto.images.color_transfer import COLORS, match_color
from impasto.images.label_maps import read_labels
from impasto.images.masks import combine, composite, read_mask, resize_mask, soften
from impasto.images.picture import Picture
from impasto.images.resizing import resize_pixels, resize_tileable
from impasto.images.transparency import fill_transparent
from impasto.painting.options import PaintOptions

ROUNDING = 1e-3  # how far regions that cover all may be from doing so once they are resized


@dataclass(frozen=True)
class Sample:
    """A style picture, what of it teaches, its scale, and its share among the region's styles."""

    pixels: Tensor  # (1, 3, h, w)
    mask: Tensor | None
    share: float
    style: int  # its place among the styles


@dataclass(frozen=True)
class Region:
    """A part of the photograph, and what it is painted after."""

    mask: Tensor | None
    samples: tuple[Sample, ...]
    strength: float = 1.0


@dataclass(frozen=True)
class View:
    """A scene at one size."""

    photo: Tensor  # what is seen where the photograph is kept
    content: Tensor  # what the content losses hold on to: the photograph, recoloured if asked
    mask: Tensor | None  # what is painted
    regions: tuple[Region, ...]
    look: Callable[[Tensor], Tensor]  # what the colour mode makes of a picture before it is seen


class Scene:
    """The photograph and its styles, with the masks and colours that the options ask for."""

    def __init__(
        self,
        content: Picture,
        styles: Sequence[Picture],
        options: PaintOptions,
        size: tuple[int, int],
    ) -> None:
        self.options = options
        self.size = size
        self.notes: list[str] = []
        self.color = COLORS[options.color]
        if options.only_color:
            self._check_carrier()
        self.alpha = None if content.alpha is None else resize_pixels(content.alpha, *size)
        self.photo = resize_pixels(content.pixels, *size)
        self.seen = resize_pixels(fill_transparent(content.pixels, content.alpha), *size)
        regions = self._read_regions(content, styles)
        regions = [replace(region, mask=self._fit(region.mask)) for region in regions]
        self.mask = self._paint_mask(content, regions)
        self.regions = self._painted_regions(regions)

    def _read_regions(self, content: Picture, styles: Sequence[Picture]) -> list[Region]:
        """The photograph's parts at its own size, each with the styles that it is painted after."""
        options = self.options
        teach = self._read_masks("teach_mask", [style.size for style in styles])
        taught = [combine(m, style.alpha) for m, style in zip(teach, styles, strict=True)]
        shares = share_out(options.style_blend, len(styles))
        samples = [
            Sample(
                fill_transparent(style.pixels, style.alpha), check_mask(mask, style.name), share, i
            )
            for i, (style, mask, share) in enumerate(zip(styles, taught, shares, strict=True))
        ]
        if options.labels is not None:
            return self._read_label_regions(content, styles, samples)
        if not options.style_mask:
            return [Region(None, tuple(samples))]
        masks = self._read_masks("style_mask", [content.size] * len(styles))
        return [
            Region(mask, (replace(sample, share=1.0),), sample.share * len(samples))
            for mask, sample in zip(masks, samples, strict=True)
        ]

    def _read_label_regions(
        self, content: Picture, styles: Sequence[Picture], samples: list[Sample]
    ) -> list[Region]:
        if len(styles) != 1 or self.options.style_mask:
            raise OptionError("labels go with one style, and without style masks")
        assert self.options.labels is not None
        sizes = (content.size, styles[0].size)
        pairs, notes = read_labels(
            *self.options.labels, *sizes, max_megapixels=self.options.max_megapixels
        )
        self.notes += notes
        regions = []
        for pair in pairs:
            mask = combine(pair.style, samples[0].mask)
            color = "".join(f"{level:02x}" for level in pair.color)
            name = f"label #{color} of {styles[0].name!r}"
            sample = replace(samples[0], mask=check_mask(mask, name))
            regions.append(Region(pair.content, (sample,)))
        return regions

    def _read_masks(self, option: str, sizes: list[tuple[int, int]]) -> list[Tensor | None]:
        names = getattr(self.options, option)
        if not names:
            return [None] * len(sizes)
        if len(names) != len(sizes):
            raise OptionError(f"{option}: {len(names)} given for {len(sizes)} styles; one for each")
        masks = [self._read_mask(name, size) for name, size in zip(names, sizes, strict=True)]
        return list(masks)

    def _read_mask(self, name: str, size: tuple[int, int]) -> Tensor:
        mask = read_mask(name, size, max_megapixels=self.options.max_megapixels)
        self.notes += mask.notes
        return mask.values

    def _paint_mask(self, content: Picture, regions: list[Region]) -> Tensor | None:
        """Where the painting shows: inside the mask, in a region, and not where the photograph is
        wholly transparent."""
        painted = None
        if self.options.mask is not None:
            painted = self._fit(self._read_mask(self.options.mask, content.size))
        masks = [region.mask for region in regions if region.mask is not None]
        if masks:
            inside = torch.stack(masks).sum(0).clamp(max=1)
            if float(inside.min()) < 1 - ROUNDING:
                painted = combine(painted, inside)
        if self.alpha is not None:
            painted = combine(painted, (self.alpha > 0).float())
        return check_mask(painted, content.name)

    def _fit(self, mask: Tensor | None) -> Tensor | None:
        """A mask of the photograph at the painting's size, its edges softened."""
        if mask is None:
            return None
        return soften(resize_mask(mask, self.size), self.options.feather)

    def _painted_regions(self, regions: list[Region]) -> list[Region]:
        """Those of which anything is painted."""
        weights = [combine(self._weights(region), self.mask) for region in regions]
        painted = [
            region
            for region, each in zip(regions, weights, strict=True)
            if each is None or float(each.max()) > 0
        ]
        if len(painted) < len(regions):
            outside = len(regions) - len(painted)
            self.notes.append(f"{outside} of {len(regions)} regions lie outside what is painted")
        return painted

    def _weights(self, region: Region) -> Tensor | None:
        """How much each pixel of the photograph counts in a region."""
        return combine(region.mask, self.alpha)

    @cached_property
    def whole(self) -> View:
        """The scene at its full size, in the colours in which it is painted."""
        mode, photo = self.color, self.color.look(self.seen)
        colored = []
        for region in self.regions:
            weights = self._weights(region)
            samples = tuple(
                replace(s, pixels=mode.look(mode.before(s.pixels, self.seen, s.mask, weights)))
                for s in region.samples
            )
            colored.append(replace(region, samples=samples))
        content = photo
        if self.options.recolor:
            content = self.spread(
                photo,
                colored,
                each_sample(lambda s, weights: match_color(photo, s.pixels, weights, s.mask)),
            )
        if self.mask is not None:
            content = composite(content, photo, self.mask)
        regions = [replace(r, mask=combine(self._weights(r), self.mask)) for r in colored]
        return View(photo, content, self.mask, tuple(regions), mode.look)

    def forget_whole(self) -> None:
        """Free what ``whole`` keeps; it is made again if it is asked for."""
        self.__dict__.pop("whole", None)

    def spread(
        self,
        pixels: Tensor,
        regions: Sequence[Region],
        change: Callable[[Region, Tensor | None], Tensor],
    ) -> Tensor:
        """``pixels`` changed in each region, whose weights are told too; kept elsewhere."""
        if len(regions) == 1 and regions[0].mask is None:
            return change(regions[0], self._weights(regions[0]))
        changed, covered = torch.zeros_like(pixels), torch.zeros_like(pixels[:, :1])
        for region in regions:
            mask = torch.ones_like(covered) if region.mask is None else region.mask
            covered = covered + mask
            changed = changed + mask * change(region, self._weights(region))
        # Soft masks may overlap, and may leave some of a pixel to nobody.
        return changed / covered.clamp_min(1) + (1 - covered).clamp_min(0) * pixels

    def _check_carrier(self) -> None:
        """An error where this way to treat colour carries none of the style's over."""
        if self.color.carry is None:
            allowed = ", ".join(name for name, mode in COLORS.items() if mode.carry)
            raise OptionError(
                f"only_color carries the style's colours: color {self.options.color!r} keeps the "
                f"photograph's; choose from {allowed}"
            )

    def carry_color(self) -> Tensor:
        """The photograph with its styles' colours and nothing else."""
        carry = self.color.carry
        assert carry is not None
        return self.spread(
            self.seen,
            self.regions,
            each_sample(lambda s, weights: carry(self.seen, s.pixels, weights, s.mask)),
        )

    def at(self, size: tuple[int, int], least: int, device: torch.device) -> View:
        """The scene at a size; no side of a style shorter than ``least``."""

        def fit(pixels: Tensor) -> Tensor:
            return resize_pixels(pixels, *size).to(device)

        def fit_mask(mask: Tensor | None, size: tuple[int, int]) -> Tensor | None:
            return None if mask is None else resize_mask(mask, size).to(device)

        def fit_sample(sample: Sample) -> Sample:
            long_side = style_side(self.options, sample.style, max(size), max(self.size))
            own = sample.pixels.shape[-1], sample.pixels.shape[-2]
            fitted = fit_style(*own, long_side, least)
            pixels = resize_pixels(sample.pixels, *fitted).to(device)
            return replace(sample, pixels=pixels, mask=fit_mask(sample.mask, fitted))

        whole = self.whole
        regions = tuple(
            replace(r, mask=fit_mask(r.mask, size), samples=tuple(map(fit_sample, r.samples)))
            for r in whole.regions
        )
        mask = fit_mask(whole.mask, size)
        return View(fit(whole.photo), fit(whole.content), mask, regions, whole.look)

    def finish(self, painted: Tensor) -> Tensor:
        """A painting of any size, as it is shown: its colours put back, the photograph where it is
        kept."""
        resize = resize_tileable if self.options.tileable else resize_pixels
        painted = resize(painted, *self.size)
        if not self.options.only_color:
            painted = self.color.after(painted, self.photo)
        if self.mask is None:
            return painted
        return composite(painted, self.photo, self.mask)


def each_sample(
    change: Callable[[Sample, Tensor | None], Tensor],
) -> Callable[[Region, Tensor | None], Tensor]:
    """A region changed after each of its samples, by their shares."""

    def change_region(region: Region, weights: Tensor | None) -> Tensor:
        return sum((s.share * change(s, weights) for s in region.samples), torch.zeros(()))

    return change_region


def style_side(options: PaintOptions, style: int, long_side: int, whole: int) -> float:
    """The long side at which a style is seen at a size with that long side, when the painting's own
    is ``whole``."""
    side = float(long_side)
    if options.style_size:
        side *= pick(options.style_size, style) / whole
    return side * (pick(options.style_scale, style) if options.style_scale else 1)


def check_counts(options: PaintOptions, styles: int) -> None:
    """An error where options that are given per style do not fit their number."""
    for name in ("style_blend", "style_size", "style_scale"):
        count = len(getattr(options, name))
        allowed = (0, styles) if name == "style_blend" else (0, 1, styles)
        if count not in allowed:
            raise OptionError(f"{name}: {count} given for {styles} styles; one for each")


def share_out(weights: Sequence[float], count: int) -> list[float]:
    """Shares that sum to 1; all the same if no weights are given."""
    if not weights:
        return [1 / count] * count
    if not any(weights):
        raise OptionError("style_blend: at least one style needs a weight above 0")
    return [weight / sum(weights) for weight in weights]


def pick(values: Sequence[float], index: int) -> float:
    """One for all, or one for each."""
    return values[0] if len(values) == 1 else values[index]


def check_mask(mask: Tensor | None, name: str) -> Tensor | None:
    if mask is not None and float(mask.max()) <= 0:
        raise ImageError(f"{name} leaves nothing: masks and transparency together cover all of it")
    return mask


def fit_style(width: int, height: int, long_side: float, least: int) -> tuple[int, int]:
    """A style's size for that long side; larger where its short side would be too short to see."""
    scale = max(long_side / max(width, height), least / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
