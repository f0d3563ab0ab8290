"""The styles of a painting in one pass: read from any picture, or known to a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from impasto.errors import OptionError
from impasto.images.color_transfer import color_statistics
from impasto.images.picture import ImageSource, Picture
from impasto.images.reading import read_image
from impasto.images.resizing import resize_pixels
from impasto.instant.model_file import NetFile
from impasto.instant.net import (
    DECADES,
    LEAST_STYLE,
    USUAL_WEIGHT,
    DialReader,
    encode_style,
)
from impasto.instant.options import InstantOptions, parse_blend, split_blend
from impasto.instant.palette import Palette, StyleBlend, join_palettes, name_styles
from impasto.networks.weights import load_backbone
from impasto.painting.inputs import Sample, fit_style
from impasto.system.devices import Machine

NO_STYLE = "no style given: name a picture, or a model that has learnt some"
_LARGEST = 1024  # pixels of a long side
_LONGEST = 8  # times the size at which a style is seen, however narrow it is
_SIDES_PER_OCTAVE = 2  # at which styles are seen, lest they be measured anew for every size
_PLAIN_COLORS = ("style", "content")  # which need no picture of the style


# --- what is painted after ----------------------------------------------------------------------


class StyleSource(Protocol):
    """The styles of a painting, wherever they come from."""

    names: list[str]
    pictures: list[Picture]
    shares: list[float]
    notes: list[str]

    def read(
        self, samples: Sequence[Sample], long_side: int, weight: float | None = None
    ) -> StyleBlend:
        """Return some of them, by their shares, for a painting with that long side.

        They are read at a style weight, or the usual one.
        """

    def check_weight(self, weight: float | None) -> list[str]:
        """Return what is to be said of a style weight; raise an error if there can be none."""


@dataclass(frozen=True)
class SeenStyle:
    """All that is to be known of a picture of a style, at any style weight."""

    known: Tensor  # (1, width), what the reader has read
    mean: Tensor  # (3,) of its colours, float64
    covariance: Tensor  # (3, 3)


class StyleReader:
    """Reads style parameters from pictures."""

    def __init__(self, reader: DialReader, machine: Machine) -> None:
        self.reader, self.machine = reader, machine
        self.backbone = load_backbone("compact").place(machine)

    def read(self, sample: Sample, side: int, name: str, weight: float | None = None) -> Palette:
        """Return a picture's row, as it is seen at that long side, at a style weight."""
        return self.turn(self.look(sample, side), name, weight)

    @torch.no_grad()
    def turn(self, seen: SeenStyle, name: str, weight: float | None = None) -> Palette:
        """Return the row of what was seen, at a style weight."""
        weights = torch.tensor([USUAL_WEIGHT if weight is None else weight])
        numbers = self.reader.dial(seen.known, weights)
        return Palette((name,), numbers, seen.mean[None], seen.covariance[None])

    def check_weight(self, weight: float | None) -> list[str]:
        """Return a note on a style weight that was not taught."""
        if weight is None:
            return []
        least, most = (USUAL_WEIGHT * 10**way for way in (-DECADES, DECADES))
        if least <= weight <= most:
            return []
        return [f"style weight {weight:g}: taken as {min(max(weight, least), most):g}, as far as "
                "the network was taught"]  # fmt: skip

    @torch.no_grad()
    def look(self, sample: Sample, side: int) -> SeenStyle:
        """Return what a picture shows at that long side."""
        height, width = sample.pixels.shape[2:]
        size = fit_style(width, height, side, LEAST_STYLE)
        most = _LONGEST * max(side, LEAST_STYLE)
        size = min(size[0], most), min(size[1], most)  # of a mere line
        pixels = resize_pixels(sample.pixels, *size)
        code = encode_style(self.backbone, pixels.to(self.machine.device), sample.mask)
        known = self.reader.read(code.cpu())
        return SeenStyle(known, *color_statistics(sample.pixels, sample.mask))


class AnyStyles:
    """Styles that are pictures, each read once for each size at which it is seen."""

    def __init__(
        self,
        file: NetFile,
        styles: Sequence[ImageSource],
        options: InstantOptions,
        machine: Machine,
    ) -> None:
        if not styles:
            raise OptionError(NO_STYLE)
        assert file.reader is not None
        self.options, self.reader = options, StyleReader(file.reader, machine)
        self.pictures = [read_image(s, max_megapixels=options.max_megapixels) for s in styles]
        self.names = [picture.name for picture in self.pictures]
        self.notes = [f"{p.name}: {note}" for p in self.pictures for note in p.notes]
        self.shares = parse_blend(options.blend, name_styles(self.names, None))
        self.known: dict[tuple[int, int], SeenStyle] = {}

    def read(
        self, samples: Sequence[Sample], long_side: int, weight: float | None = None
    ) -> StyleBlend:
        side = self._choose_side(long_side)
        rows = [
            self.reader.turn(self._see(sample, side), self.names[sample.style], weight)
            for sample in samples
        ]
        return join_palettes(rows).blend([sample.share for sample in samples])

    def check_weight(self, weight: float | None) -> list[str]:
        return self.reader.check_weight(weight)

    def _choose_side(self, long_side: int) -> int:
        asked = self.options.style_size
        if asked is None:
            step = round(_SIDES_PER_OCTAVE * math.log2(long_side))
            asked = min(round(2 ** (step / _SIDES_PER_OCTAVE)), _LARGEST)
        return max(1, round(asked * self.options.style_scale))

    def _see(self, sample: Sample, side: int) -> SeenStyle:
        """Read one style; where its colours are the photograph's, it is another for each."""
        key = (sample.style, side)
        if key in self.known:
            return self.known[key]
        seen = self.reader.look(sample, side)
        if self.options.color in _PLAIN_COLORS:
            self.known[key] = seen
        return seen


class LearntStyles:
    """Styles that a net has learnt, by their names."""

    def __init__(
        self, file: NetFile, styles: Sequence[ImageSource], options: InstantOptions
    ) -> None:
        assert file.palette is not None
        self.notes = list[str]()
        if options.color not in _PLAIN_COLORS:
            raise OptionError(
                f"color {options.color!r} changes the style's picture, which a model has not; "
                f"choose from {', '.join(_PLAIN_COLORS)}"
            )
        if options.style_size is not None or options.style_scale != 1:
            raise OptionError("a model has learnt its styles at one size: no --style-size or scale")
        names = [str(style) for style in styles]
        names = names or [name for name, _ in split_blend(options.blend) if name is not None]
        if not names and len(file.palette) > 1:
            raise OptionError(
                f"choose among the model's styles with --style: {', '.join(file.palette.names)}"
            )
        self.rows = file.palette.choose(names or file.palette.names)
        self.names = list(self.rows.names)
        self.shares = parse_blend(options.blend, self.names)
        self.pictures = [
            Picture(draw_colors(mean, covariance), name=name)
            for name, mean, covariance in zip(
                self.names, self.rows.means, self.rows.covariances, strict=True
            )
        ]

    def read(
        self,
        samples: Sequence[Sample],
        long_side: int,  # noqa: ARG002
        weight: float | None = None,  # noqa: ARG002  (check_weight has refused it)
    ) -> StyleBlend:
        rows = self.rows.take([sample.style for sample in samples])
        return rows.blend([sample.share for sample in samples])

    def check_weight(self, weight: float | None) -> list[str]:
        if weight is not None:
            raise OptionError("a model has learnt its styles at one weight: no --style-weight")
        return []


def draw_colors(mean: Tensor, covariance: Tensor) -> Tensor:
    """Return six pixels (1, 3, 1, 6) of that mean and covariance: all that is known of a style."""
    values, vectors = torch.linalg.eigh(covariance)
    axes = vectors * (3 * values.clamp_min(0)).sqrt()  # (3, 3), a column for each
    return (mean[:, None] + torch.cat([axes, -axes], 1)).float()[None, :, None]
