"""A painting's photograph with its styles, masks and colours: read once, shown at any size.

Masks are (1, 1, H, W) of the size of what they cover; None stands for all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from impasto.errors import OptionError
from impasto.images.color_transfer import COLORS, RECOLORS
from impasto.images.masks import combine, composite, resize_mask
from impasto.images.picture import Picture
from impasto.images.resizing import resize_pixels, resize_tileable
from impasto.images.transparency import fill_transparent
from impasto.painting.inputs import (
    Region,
    RegionReader,
    Sample,
    SceneOptions,
    fit_style,
    turn_sample,
)


@dataclass(frozen=True)
class View:
    """A scene at one size."""

    photo: Tensor  # what is seen where the photograph is kept
    content: Tensor  # what the content losses compare with: the photograph, recoloured if asked
    mask: Tensor | None  # what is painted
    regions: tuple[Region, ...]
    look: Callable[[Tensor], Tensor]  # what the colour mode makes of a picture before it is seen


class Scene:
    """The photograph and its styles, with the masks and colours that the options ask for.

    Without a photograph, as for textures, its place is grey.
    """

    def __init__(
        self,
        content: Picture | None,
        styles: Sequence[Picture],
        options: SceneOptions,
        size: tuple[int, int],
    ) -> None:
        self.options, self.size = options, size
        self.color = COLORS[options.color]
        if options.only_color:
            self._check_carrier()
        content = content or Picture(torch.full((1, 3, size[1], size[0]), 0.5))
        self.alpha = None if content.alpha is None else resize_pixels(content.alpha, *size)
        self.photo = resize_pixels(content.pixels, *size)
        self.seen = resize_pixels(fill_transparent(content.pixels, content.alpha), *size)
        reader = RegionReader(content, styles, options, size)
        self.mask, self.regions = reader.read(self.alpha)
        self.notes = reader.notes

    def _weights(self, region: Region) -> Tensor | None:
        """Return how much each pixel of the photograph counts in a region."""
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
        if self.options.recolor != "none":
            carry = RECOLORS[self.options.recolor]
            content = self.spread(
                photo,
                colored,
                each_sample(lambda s, weights: carry(photo, s.pixels, weights, s.mask)),
            )
        if self.mask is not None:
            content = composite(content, photo, self.mask)
        regions = [replace(r, mask=combine(self._weights(r), self.mask)) for r in colored]
        return View(photo, content, self.mask, tuple(regions), mode.look)

    def forget_whole(self) -> None:
        """Free what ``whole`` keeps; it is made again when it is used."""
        self.__dict__.pop("whole", None)

    def spread(
        self,
        pixels: Tensor,
        regions: Sequence[Region],
        change: Callable[[Region, Tensor | None], Tensor],
    ) -> Tensor:
        """Change pixels in each region, given its weights too, and keep them elsewhere."""
        if len(regions) == 1 and regions[0].mask is None:
            return change(regions[0], self._weights(regions[0]))
        changed, covered = torch.zeros_like(pixels), torch.zeros_like(pixels[:, :1])
        for region in regions:
            mask = torch.ones_like(covered) if region.mask is None else region.mask
            covered = covered + mask
            changed = changed + mask * change(region, self._weights(region))
        # Soft masks may overlap, or leave part of a pixel uncovered.
        return changed / covered.clamp_min(1) + (1 - covered).clamp_min(0) * pixels

    def _check_carrier(self) -> None:
        """Raise where this colour mode does not carry the style's colours over."""
        if self.color.carry is None:
            allowed = ", ".join(name for name, mode in COLORS.items() if mode.carry)
            raise OptionError(
                f"only_color carries the style's colours: color {self.options.color!r} keeps the "
                f"photograph's; choose from {allowed}"
            )

    def carry_color(self) -> Tensor:
        """Return the photograph with its styles' colours and nothing else."""
        carry = self.color.carry
        assert carry is not None
        return self.spread(
            self.seen,
            self.regions,
            each_sample(lambda s, weights: carry(self.seen, s.pixels, weights, s.mask)),
        )

    def at(self, size: tuple[int, int], least: int, device: torch.device) -> View:
        """Return the scene at a size; no side of a style is shorter than ``least``."""

        def fit(pixels: Tensor) -> Tensor:
            return resize_pixels(pixels, *size).to(device)

        def fit_mask(mask: Tensor | None, size: tuple[int, int]) -> Tensor | None:
            return None if mask is None else resize_mask(mask, size).to(device)

        def fit_sample(sample: Sample) -> list[Sample]:
            long_side = self.options.find_style_side(sample.style, max(size), max(self.size))
            own = sample.pixels.shape[-1], sample.pixels.shape[-2]
            fitted = fit_style(*own, long_side, least)
            pixels = resize_pixels(sample.pixels, *fitted).to(device)
            seen = replace(sample, pixels=pixels, mask=fit_mask(sample.mask, fitted))
            return turn_sample(seen) if self.options.turn_style else [seen]

        whole = self.whole
        regions = tuple(
            replace(
                r,
                mask=fit_mask(r.mask, size),
                samples=tuple(each for s in r.samples for each in fit_sample(s)),
            )
            for r in whole.regions
        )
        mask = fit_mask(whole.mask, size)
        return View(fit(whole.photo), fit(whole.content), mask, regions, whole.look)

    def finish(self, painted: Tensor) -> Tensor:
        """Return a painting of any size as it is shown, at the scene's size.

        Its colours are put back if asked for, and the photograph where it is kept.
        """
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
    """Return what changes a region after each of its samples, by their shares."""

    def change_region(region: Region, weights: Tensor | None) -> Tensor:
        return sum((s.share * change(s, weights) for s in region.samples), torch.zeros(()))

    return change_region
