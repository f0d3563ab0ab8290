"""Style pictures and the regions that they paint, read from pictures, masks and maps of labels.

Masks are (1, 1, H, W) of the size of what they cover; None stands for all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from impasto.errors import ImageError, OptionError
from impasto.images.label_maps import read_labels
from impasto.images.masks import combine, read_mask, resize_mask, soften
from impasto.images.picture import Picture
from impasto.images.transparency import fill_transparent
from impasto.painting.options import PaintOptions

_ROUNDING = 1e-3  # how far regions that cover all may be from doing so once they are resized


@dataclass(frozen=True)
class Sample:
    """A style picture, what of it teaches, and its share among the region's styles."""

    pixels: Tensor  # (1, 3, h, w)
    mask: Tensor | None
    share: float
    style: int  # its index among the styles


def turn_sample(sample: Sample) -> list[Sample]:
    """Return a style picture and its turns by 90, 180 and 270 degrees, in equal shares."""
    return [
        replace(
            sample,
            pixels=sample.pixels.rot90(turn, (2, 3)),
            mask=None if sample.mask is None else sample.mask.rot90(turn, (2, 3)),
            share=sample.share / 4,
        )
        for turn in range(4)
    ]


@dataclass(frozen=True)
class Region:
    """A part of the photograph, and the samples that it is painted after."""

    mask: Tensor | None
    samples: tuple[Sample, ...]
    strength: float = 1.0


@dataclass(frozen=True)
class SceneOptions:
    """What a scene depends on, of the options of any operation that has one."""

    mask: str | None = None
    style_mask: tuple[str, ...] = ()
    teach_mask: tuple[str, ...] = ()
    labels: tuple[str, str] | None = None
    feather: float = 0.0
    style_blend: tuple[float, ...] = ()
    style_size: tuple[int, ...] = ()
    style_scale: tuple[float, ...] = ()
    turn_style: bool = False
    color: str = "style"
    recolor: str = "none"
    only_color: bool = False
    tileable: bool = False
    max_megapixels: float = 100.0

    @classmethod
    def of(cls, options: PaintOptions) -> Self:
        """Return what the options of a painting say of its scene."""
        return cls(**{each.name: getattr(options, each.name) for each in fields(cls)})

    def find_style_side(self, style: int, long_side: int, whole: int) -> float:
        """Return the long side at which a style is seen at a size with that long side.

        ``whole`` is the long side of the painting itself.
        """
        side = float(long_side)
        if self.style_size:
            side *= pick(self.style_size, style) / whole
        return side * (pick(self.style_scale, style) if self.style_scale else 1)

    def count_masks(self) -> int:
        """Return how many masks are kept; maps of labels are taken for eight."""
        return (self.mask is not None) + len(self.style_mask) + 8 * bool(self.labels)

    def check_counts(self, styles: int) -> None:
        """Raise where options that are given per style do not fit their number."""
        for name in ("style_blend", "style_size", "style_scale"):
            count = len(getattr(self, name))
            allowed = (0, styles) if name == "style_blend" else (0, 1, styles)
            if count not in allowed:
                raise OptionError(f"{name}: {count} given for {count_styles(styles)}; one for each")


class RegionReader:
    """Reads the masks of a photograph and its styles."""

    def __init__(
        self,
        content: Picture,
        styles: Sequence[Picture],
        options: SceneOptions,
        size: tuple[int, int],
    ) -> None:
        self.content, self.styles, self.options, self.size = content, styles, options, size
        self.notes: list[str] = []

    def read(self, alpha: Tensor | None) -> tuple[Tensor | None, list[Region]]:
        """Return what is painted of the photograph, and the regions of it, at the painting's size.

        ``alpha`` is the photograph's at that size.
        """
        regions = self._read_regions()
        regions = [replace(region, mask=self._fit(region.mask)) for region in regions]
        mask = self._read_paint_mask(regions, alpha)
        return mask, self._select_painted(regions, mask, alpha)

    def _read_regions(self) -> list[Region]:
        """Return the photograph's regions at its own size, each with its styles."""
        options, styles = self.options, self.styles
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
            return self._read_label_regions(samples)
        if not options.style_mask:
            return [Region(None, tuple(samples))]
        masks = self._read_masks("style_mask", [self.content.size] * len(styles))
        return [
            Region(mask, (replace(sample, share=1.0),), sample.share * len(samples))
            for mask, sample in zip(masks, samples, strict=True)
        ]

    def _read_label_regions(self, samples: list[Sample]) -> list[Region]:
        """Return a region for each colour that both maps of labels have."""
        content, styles = self.content, self.styles
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
        """Return the masks that an option names, one for each style."""
        names = getattr(self.options, option)
        if not names:
            return [None] * len(sizes)
        if len(names) != len(sizes):
            raise OptionError(
                f"{option}: {len(names)} given for {count_styles(len(sizes))}; one for each"
            )
        masks = [self._read_mask(name, size) for name, size in zip(names, sizes, strict=True)]
        return list(masks)

    def _read_mask(self, name: str, size: tuple[int, int]) -> Tensor:
        """Return the mask in a file, of a picture of that size."""
        mask = read_mask(name, size, max_megapixels=self.options.max_megapixels)
        self.notes += mask.notes
        return mask.values

    def _read_paint_mask(self, regions: list[Region], alpha: Tensor | None) -> Tensor | None:
        """Return where the painting shows.

        That is inside the mask, in a region, and not where the photograph is wholly transparent.
        """
        painted = None
        if self.options.mask is not None:
            painted = self._fit(self._read_mask(self.options.mask, self.content.size))
        masks = [region.mask for region in regions if region.mask is not None]
        if masks:
            inside = torch.stack(masks).sum(0).clamp(max=1)
            if float(inside.min()) < 1 - _ROUNDING:
                painted = combine(painted, inside)
        if alpha is not None:
            painted = combine(painted, (alpha > 0).float())
        return check_mask(painted, self.content.name)

    def _fit(self, mask: Tensor | None) -> Tensor | None:
        """Return a mask of the photograph at the painting's size, its edges softened."""
        if mask is None:
            return None
        return soften(resize_mask(mask, self.size), self.options.feather)

    def _select_painted(
        self, regions: list[Region], mask: Tensor | None, alpha: Tensor | None
    ) -> list[Region]:
        """Return the regions in which anything is painted."""
        weights = [combine(combine(region.mask, alpha), mask) for region in regions]
        painted = [
            region
            for region, each in zip(regions, weights, strict=True)
            if each is None or float(each.max()) > 0
        ]
        if len(painted) < len(regions):
            outside = len(regions) - len(painted)
            self.notes.append(f"{outside} of {len(regions)} regions lie outside what is painted")
        return painted


def count_styles(count: int) -> str:
    """Return ``1 style`` or ``3 styles``."""
    return f"{count} style{'s' * (count != 1)}"


def share_out(weights: Sequence[float], count: int) -> list[float]:
    """Return shares that sum to 1; all the same if no weights are given."""
    if not weights:
        return [1 / count] * count
    if not any(weights):
        raise OptionError("style_blend: at least one style needs a weight above 0")
    return [weight / sum(weights) for weight in weights]


def pick(values: Sequence[float], index: int) -> float:
    """Return the value for one of several: there is one for all, or one for each."""
    return values[0] if len(values) == 1 else values[index]


def check_mask(mask: Tensor | None, name: str) -> Tensor | None:
    """Return the mask; raise where it leaves nothing."""
    if mask is not None and float(mask.max()) <= 0:
        raise ImageError(f"{name} leaves nothing: masks and transparency together cover all of it")
    return mask


def fit_style(width: int, height: int, long_side: float, least: int) -> tuple[int, int]:
    """Return a style's size for that long side, with no side shorter than ``least``."""
    scale = max(long_side / max(width, height), least / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
