"""A photograph in the light and the colours of others, region by region, in one pass.

Regions are found in small copies (``segments``), and so are the maps of colour between them
(``color_maps``); masks that keep to the photograph's edges (``smoothing``) say how much of each map
a pixel gets. Colours alone move: what lies where in the photograph stays there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Self

import torch
from torch import Tensor

from impasto.errors import ImageError, OptionError
from impasto.images.color_spaces import rgb_to_lab
from impasto.images.label_maps import read_labels
from impasto.images.masks import combine, composite, read_mask, resize_mask, soften
from impasto.images.picture import ImageSource, Picture, describe_pictures
from impasto.images.reading import read_image
from impasto.images.resizing import fit_size, resize_pixels
from impasto.images.transparency import fill_transparent
from impasto.networks.weights import load_backbone
from impasto.painting.painter import list_styles
from impasto.painting.result import Painting
from impasto.photoreal.color_maps import (
    AffineMap,
    ColorGaussian,
    RegionMaps,
    average_maps,
    encode_colors,
    find_map,
    find_region_maps,
    gather_colors,
)
from impasto.photoreal.lut import ColorTable, fit_table, read_lut, tabulate
from impasto.photoreal.options import RelightOptions, parse_pair
from impasto.photoreal.segments import (
    RegionModel,
    find_regions,
    look_at_picture,
    stack_frames,
)
from impasto.photoreal.smoothing import EvenedLevels, GuidedMasks, even_out, guide_masks
from impasto.recipes import write_recipe
from impasto.system.devices import choose_machine, working_on
from impasto.work import Request, Step, finish

_MEASURED = 320  # long side at which colours are measured
_GUIDED = 192  # long side at which masks are fitted to edges
_RADIUS = 0.03  # of that side: the windows that masks are fitted in
_EDGE = 1e-3  # variance of colours in [0, 1] above which a mask has an edge there
_NOISE = 6 / 255  # deviation of colours below which what differs is not enlarged
_FINE = 2  # of the fitted size: the windows that this is looked for in
_STRIP = 2**18  # pixels that are mapped at once


# --- maps and regions, held for a scene ---------------------------------------------------------


@dataclass(frozen=True)
class Guidance:
    """What a picture itself says of how it is relit, at a small size."""

    masks: GuidedMasks
    levels: EvenedLevels  # the picture, with less of the noise that maps would enlarge


@dataclass(frozen=True)
class Relighting:
    """Maps of colour and the regions they go to, fitted once: for one picture, or for a scene.

    Applied to another frame of the same scene, its masks follow what is in it, and the maps stay.
    """

    maps: RegionMaps
    whole: RegionMaps  # the one map of whole pictures
    regions: (
        RegionModel | Tensor | None
    )  # clusters, or masks (1, K, h, w) that were drawn; None: one
    strength: float = 1.0

    def find_guidance(self, pixels: Tensor, masks: GuidedMasks | None = None) -> Guidance | None:
        """Return what a picture (1, 3, H, W) says, whose masks may be known.

        None where there is but one region: then a table of colours is all that is done.
        """
        if self.regions is None:
            return None
        masks = masks or fit_masks(pixels, find_shares(self.regions, pixels))
        guide = fit_within(pixels, _GUIDED)
        gain = self.maps.measure_gain(guide, _show_masks(masks, guide))
        return Guidance(masks, even_out(guide, 1 / gain.clamp_min(1), _FINE, _NOISE))

    @torch.no_grad()
    def apply(self, pixels: Tensor) -> Tensor:
        """Return a picture (1, 3, H, W) in the new light."""
        return self.apply_with(pixels, self.find_guidance(pixels))

    def apply_with(self, pixels: Tensor, guidance: Guidance | None) -> Tensor:
        """Return a picture in the new light by a guidance that is known, strip by strip."""
        height, width = pixels.shape[2:]
        relit, step = torch.empty_like(pixels), max(1, _STRIP // width)
        for top in range(0, height, step):
            rows = slice(top, top + step)
            strip = pixels[:, :, rows]
            if guidance is None:
                mapped = self.maps.apply(strip, None)
            else:
                masks = guidance.masks.enlarge(strip, rows, (height, width))
                level = guidance.levels.enlarge(strip, rows, (height, width))
                mapped = self.maps.apply(level, masks)
            relit[:, :, rows] = torch.lerp(strip, mapped, self.strength)
        return relit

    def apply_whole(self, pixels: Tensor) -> Tensor:
        """Return a picture by the one map of whole pictures, as a table of colours has it."""
        return torch.lerp(pixels, self.whole.apply(pixels, None), self.strength)


def find_shares(regions: RegionModel | Tensor, pixels: Tensor) -> Tensor:
    """Return the regions' shares (1, K, h, w) of a picture's cells."""
    if isinstance(regions, Tensor):
        return regions
    return regions.assign(look_at_picture(regions.network, pixels))


def fit_masks(pixels: Tensor, shares: Tensor) -> GuidedMasks:
    """Fit shares of cells to the edges of a picture (1, 3, H, W)."""
    guide = fit_within(pixels, _GUIDED)
    size = guide.shape[3], guide.shape[2]
    masks = enlarge_shares(shares, size)
    return guide_masks(masks, guide, max(1, round(_RADIUS * max(size))), _EDGE)


def enlarge_shares(shares: Tensor, size: tuple[int, int]) -> Tensor:
    """Return shares (1, K, h, w) at a size (width, height)."""
    return torch.cat([resize_mask(shares[:, k : k + 1], size) for k in range(shares.shape[1])], 1)


def fit_within(pixels: Tensor, long_side: int) -> Tensor:
    """Return a picture with at most that long side."""
    height, width = pixels.shape[2:]
    if max(height, width) <= long_side:
        return pixels
    return resize_pixels(pixels, *fit_size(width, height, long_side))


# --- fitting ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sighted:
    """A picture as it is measured: small, with what counts of it, and its regions."""

    pixels: Tensor  # (1, 3, h, w)
    weights: Tensor | None  # (1, 1, h, w)
    masks: Tensor  # (1, K, h, w)


@dataclass(frozen=True)
class Fit:
    """A relighting, and the pictures that it was fitted to."""

    relighting: Relighting
    photo: Sighted
    likes: tuple[Sighted, ...]
    guidance: Guidance | None  # of the photograph

    @property
    def count(self) -> int:
        """How many regions there are."""
        return self.photo.masks.shape[1]


@torch.no_grad()
def fit_relighting(
    photo: Picture, likes: Sequence[Picture], options: RelightOptions, mask: Tensor | None = None
) -> Fit:
    """Fit maps of colour, and the regions they go to, to a photograph and those it is to be like.

    ``mask`` (1, 1, H, W) says what counts of the photograph.
    """
    pictures = [photo, *likes]
    small = [fit_within(fill_transparent(p.pixels, p.alpha), _MEASURED) for p in pictures]
    alphas = [combine(mask, photo.alpha), *(like.alpha for like in likes)]
    weights = [
        None if alpha is None else resize_mask(alpha, (pixels.shape[3], pixels.shape[2]))
        for alpha, pixels in zip(alphas, small, strict=True)
    ]
    regions, shares = _find_shares_of_all(small, weights, options)
    guided = [
        None if each is None else fit_masks(pixels, each)
        for pixels, each in zip(small, shares, strict=True)
    ]
    seen = [
        Sighted(pixels, own, _show_masks(masks, pixels))
        for pixels, own, masks in zip(small, weights, guided, strict=True)
    ]
    maps, whole = find_maps(seen[0], seen[1:], options)
    relighting = Relighting(maps, whole, regions, options.strength)
    guidance = relighting.find_guidance(small[0], guided[0])
    return Fit(relighting, seen[0], tuple(seen[1:]), guidance)


@torch.no_grad()
def fit_scene(
    frames: Sequence[Tensor], likes: Sequence[Picture], options: RelightOptions
) -> Relighting:
    """Fit one relighting to frames of a scene, (1, 3, H, W) each and of one size.

    Regions are those of all frames together, and so are the colours that maps begin at.
    """
    photos = torch.cat([fit_within(frame, _MEASURED) for frame in frames])
    small = [fit_within(fill_transparent(p.pixels, p.alpha), _MEASURED) for p in likes]
    weights = [
        None if p.alpha is None else resize_mask(p.alpha, (pixels.shape[3], pixels.shape[2]))
        for p, pixels in zip(likes, small, strict=True)
    ]
    regions, shares = _find_shares_of_all([photos, *small], [None, *weights], options)
    own = [None] * len(photos) if shares[0] is None else shares[0].chunk(len(photos), 2)
    masks = [_show_shares(*pair) for pair in zip(own, photos.chunk(len(photos)), strict=True)]
    photo = Sighted(stack_frames(photos), None, torch.cat(masks, 2))
    others = [
        Sighted(pixels, weight, _show_shares(each, pixels))
        for pixels, weight, each in zip(small, weights, shares[1:], strict=True)
    ]
    maps, whole = find_maps(photo, others, options)
    return Relighting(maps, whole, regions, options.strength)


def _show_shares(shares: Tensor | None, pixels: Tensor) -> Tensor:
    """Return the masks of a small picture that come of its shares."""
    return _show_masks(None if shares is None else fit_masks(pixels, shares), pixels)


def _find_shares_of_all(
    small: Sequence[Tensor], weights: Sequence[Tensor | None], options: RelightOptions
) -> tuple[RegionModel | Tensor | None, list[Tensor | None]]:
    """Return the regions, and their shares of each picture's cells; the first may be frames."""
    if options.labels is not None:
        if len(small) != 2:
            raise OptionError("labels go with one LIKE, not with several")
        sizes = [(each.shape[3], each.shape[2]) for each in small]
        pairs, _ = read_labels(*options.labels, *sizes, max_megapixels=options.max_megapixels)
        ours = torch.cat([pair.content for pair in pairs], 1)
        return ours, [ours, torch.cat([pair.style for pair in pairs], 1)]
    if options.regions == 1:
        return None, [None] * len(small)
    network = load_backbone("compact")
    model, shares = find_regions(network, small[0], small[1:], options.regions, weights)
    return model, list(shares)


def _show_masks(masks: GuidedMasks | None, pixels: Tensor) -> Tensor:
    """Return the masks of a small picture."""
    if masks is None:
        return torch.ones_like(pixels[:, :1])
    height, width = pixels.shape[2:]
    return masks.enlarge(pixels, slice(0, height), (height, width))


def find_maps(
    photo: Sighted, likes: Sequence[Sighted], options: RelightOptions
) -> tuple[RegionMaps, RegionMaps]:
    """Return a map for each region, and the one of whole pictures."""
    partners = choose_partners(photo.masks.shape[1], options.pair)
    shares = share_likes(options.like_blend, len(likes))
    ours, own = measure_regions(photo)
    regional: list[list[AffineMap]] = []
    wholes = []
    for like in likes:
        theirs, other = measure_regions(like)
        wholes.append(find_map(own, other))
        matched = [theirs[k] for k in partners]
        regional.append(
            find_region_maps(ours, matched, wholes[-1]) if len(ours) > 1 else wholes[-1:]
        )
    maps = [average_maps(each, shares) for each in zip(*regional, strict=True)]
    return RegionMaps.of(maps), RegionMaps.of([average_maps(wholes, shares)])


def measure_regions(picture: Sighted) -> tuple[list[ColorGaussian], ColorGaussian]:
    """Return the colours of each region of a picture, and of all of it."""
    coded = encode_colors(picture.pixels)
    regions = []
    for k in range(picture.masks.shape[1]):
        weights = combine(picture.masks[:, k : k + 1], picture.weights)
        assert weights is not None
        empty = not bool(weights.any())
        regions.append(
            ColorGaussian(torch.zeros(3), torch.eye(3), 0.0)
            if empty
            else gather_colors(coded, weights)
        )
    return regions, gather_colors(coded, picture.weights)


def choose_partners(count: int, pairs: Sequence[str]) -> list[int]:
    """Return, for each region of the photograph, the other pictures' region it is to be like."""
    partners = list(range(count))
    for entry in pairs:
        ours, theirs = parse_pair(entry)
        for number in (ours, theirs):
            if not 1 <= number <= count:
                raise OptionError(f"pair {entry}: there are regions 1 to {count}, and no {number}")
        partners[ours - 1] = theirs - 1
    return partners


def share_likes(weights: Sequence[float], count: int) -> list[float]:
    """Return shares that sum to 1; all the same if no weights are given."""
    if not weights:
        return [1 / count] * count
    if len(weights) != count:
        raise OptionError(f"like_blend: {len(weights)} given for {count} pictures; one for each")
    if not any(weights):
        raise OptionError("like_blend: at least one picture needs a weight above 0")
    return [weight / sum(weights) for weight in weights]


def refuse_regions(options: RelightOptions) -> None:
    """Raise an error for an option that a table of colours has no use for."""
    for name in ("regions", "pair", "labels", "like_blend"):
        if name in options.changed():
            raise OptionError(f"{name} goes with pictures to be like: a table has no regions")


# --- the work -----------------------------------------------------------------------------------


class Relight:
    """One photograph in the light of others, or by a table of colours."""

    def __init__(
        self,
        content: ImageSource,
        like: ImageSource | Sequence[ImageSource] = (),
        options: RelightOptions | Mapping[str, Any] | None = None,
        *,
        lut: str | None = None,
    ) -> None:
        self.options = RelightOptions.parse(options)
        most = self.options.max_megapixels
        given: list[ImageSource] = list_styles(like) if lut is None else []
        if lut is not None:
            refuse_regions(self.options)
        self.lut = None if lut is None else read_lut(lut)
        self.content = read_image(content, max_megapixels=most)
        self.likes = [read_image(each, max_megapixels=most) for each in given]
        pictures = (self.content, *self.likes)
        self.notes = [f"{each.name}: {note}" for each in pictures for note in each.notes]
        self.fit: Fit | None = None
        self.relit: Painting | None = None
        share_likes(self.options.like_blend, max(1, len(self.likes)))

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work that a request asks for."""
        likes, lut = request.many("like"), request.some("lut")
        if bool(likes) == bool(lut):
            raise OptionError(
                "relight needs a picture to be like, or a table of colours: one of both"
            )
        return cls(request.one("content"), likes, RelightOptions.parse(request.options), lut=lut)

    @classmethod
    def many(cls, options: RelightOptions) -> Callable[[Request], Relight]:
        """Return what begins one photograph after another; those to be like are read once."""

        @lru_cache(maxsize=1)
        def read_likes(paths: tuple[str, ...]) -> list[Picture]:
            return [read_image(each, max_megapixels=options.max_megapixels) for each in paths]

        return lambda request: cls(
            request.one("content"),
            read_likes(tuple(request.many("like"))),
            options,
            lut=request.some("lut"),
        )

    @classmethod
    def settle_many(
        cls, options: RelightOptions, likes: Sequence[str]
    ) -> tuple[RelightOptions, list[str]]:
        """Check the options of many photographs, and return them, with no notes."""
        share_likes(options.like_blend, len(likes))
        return options, []

    def steps(self) -> Iterator[Step]:
        """Relight the photograph, in one step."""
        began = time.perf_counter()
        with working_on(choose_machine("cpu").device), torch.no_grad():
            relit = self.relit = self._make()
        yield Step(
            1, 1, size=self.content.size, seconds=time.perf_counter() - began, look=lambda: relit
        )

    def _make(self) -> Painting:
        photo, options = self.content, self.options
        mask = self._read_mask()
        seen = fill_transparent(photo.pixels, photo.alpha)
        if self.lut is not None:
            after = torch.lerp(seen, self.lut(seen), options.strength)
        else:
            self.fit = fit_relighting(photo, self.likes, options, mask)
            after = self.fit.relighting.apply_with(seen, self.fit.guidance)
        if mask is not None:
            after = composite(after, photo.pixels, mask)
        pictures: dict[str, Picture | Sequence[Picture]] = {"content": photo}
        if self.likes:
            pictures["like"] = self.likes
        recipe = write_recipe("relight", *describe_pictures(pictures), options)
        return Painting(after, photo.alpha, [], recipe, [], depth=photo.depth)

    def _read_mask(self) -> Tensor | None:
        if self.options.mask is None:
            return None
        most = self.options.max_megapixels
        mask = read_mask(self.options.mask, self.content.size, max_megapixels=most)
        self.notes += mask.notes
        return soften(mask.values, self.options.feather)

    def make_table(self) -> tuple[ColorTable, str]:
        """Return what happened to colours as one table, and a note on what it cannot hold."""
        fit = self.get_fit()
        table = tabulate(fit.relighting.apply_whole)
        if fit.guidance is None:
            return table, ""
        before = fit.photo.pixels
        after = fit.relighting.apply_with(before, fit.guidance)
        table = fit_table(before, after, table)
        missed = (rgb_to_lab(table(before)) - rgb_to_lab(after)).square().sum(1).sqrt()
        note = (
            f"the map is by {fit.count} regions, and a table has one for all colours alike: the "
            f"best one misses it by {float(missed.mean()):.1f} in CIELAB on average, by "
            f"{float(missed.flatten().quantile(0.95)):.1f} or more in a twentieth of the picture "
            "(--regions 1: by none)"
        )
        return table, note

    def result(self) -> Painting:
        """Return the photograph in its new light, once it is there."""
        if self.relit is None:
            raise RuntimeError("nothing is relit before steps()")
        return self.relit

    def get_fit(self) -> Fit:
        """Return regions and maps, once they are there."""
        if self.fit is None:
            raise ImageError("there are no regions: the photograph was not relit after a picture")
        return self.fit


def relight(
    content: ImageSource,
    like: ImageSource | Sequence[ImageSource],
    options: RelightOptions | Mapping[str, Any] | None = None,
) -> Painting:
    """Return the picture ``content`` in the light of the picture ``like``, or of several."""
    return finish(Relight(content, like, options))
