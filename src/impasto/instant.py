"""Painting in one pass: after any picture, or after styles that a net has learnt.

A photograph takes its style's colours and goes through a net once (``networks``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from impasto.color import carry_moments, color_statistics
from impasto.devices import Machine, choose_machine, has_fast_bfloat16, resident_memory
from impasto.engines import Engine, choose_engine
from impasto.errors import ImageError, MissingFileError, OptionError, suggest
from impasto.images import ImageSource, Picture, fit_size, read_image, resize_pixels
from impasto.instant_options import InstantOptions, parse_blend, split_blend
from impasto.loop import write_recipe
from impasto.networks import encode_style
from impasto.options import PaintOptions, format_memory
from impasto.painter import list_styles
from impasto.paintings import Painting
from impasto.palettes import Manner, NetFile, Palette, join_palettes, load_net
from impasto.passes import FEWEST_PIXELS, measure_cost, paint_in_tiles, place_net
from impasto.plan import grant_memory
from impasto.scene import Region, Sample, Scene, fill_transparent, fit_style
from impasto.weights import load_backbone

NETS = {"any": "instant.safetensors", "painters": "painters.safetensors"}  # that travel with it
LARGEST_STYLE, LEAST_STYLE = 1024, 32  # pixels of a long side; of a short one
SIDES_PER_OCTAVE = 2  # at which styles are seen, lest they be measured anew for every size
COPIES = 4  # of the picture, while it is painted
PLAIN_COLORS = ("style", "content")  # which need no picture of the style


class Instant:
    """A painter that has seen its styles, for any number of pictures.

    >>> paint = impasto.Instant("picture.jpg")
    >>> paint("photo.jpg").save("painted.png")

    With a ``model``, styles are names of those that it has learnt.
    """

    def __init__(
        self,
        style: ImageSource | Sequence[ImageSource] = (),
        options: InstantOptions | Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(options, InstantOptions):
            options = InstantOptions.read(dict(options or {}))
        if options.blend and options.style_mask:
            raise OptionError("styles are blended, or each goes where its mask says; not both")
        self.options = options
        named = list_styles(style) if not isinstance(style, tuple | list) or style else []
        file = open_net(options.model or "any")
        self.machine = choose_numbers(options)
        self.styles: Styles
        if file.reader is not None:
            self.styles = AnyStyles(file, named, options, self.machine)
        else:
            self.styles = LearntStyles(file, named, options)
        self.net = file.net
        self.notes = list(self.styles.notes)
        self.engine: Engine | None = None

    def __call__(self, content: ImageSource) -> Painting:
        """The photograph, painted."""
        options = self.options
        picture = read_image(content, max_megapixels=options.max_megapixels)
        size = picture.size if options.size is None else fit_size(*picture.size, options.size)
        scene = Scene(picture, self.styles.pictures, self._describe_scene(), size)
        known = len(self.notes)
        view = scene.whole
        # The mask is laid on at last, once.
        pairs = zip(view.regions, scene.regions, strict=True)
        regions = [replace(region, mask=own.mask) for region, own in pairs]
        painted = scene.spread(view.photo, regions, partial(self._paint, view.photo))
        if options.strength < 1:
            painted = view.photo.lerp(painted, options.strength)
        told = [f"{picture.name}: {note}" for note in picture.notes] + scene.notes
        notes = [*self.notes[:known], *told, *self.notes[known:]]
        inputs = {"content": picture.name, "style": self.styles.names}
        recipe = write_recipe("instant", inputs, options)
        return Painting(scene.finish(painted).clamp_(0, 1), scene.alpha, [], recipe, notes)

    def _describe_scene(self) -> PaintOptions:
        """What paintings by the loop and these have in common."""
        options = self.options
        shared = {
            name: getattr(options, name)
            for name in ("size", "mask", "style_mask", "feather", "color", "max_megapixels")
        }
        return PaintOptions(**shared, recolor=False, style_blend=tuple(self.styles.shares))

    def _paint(self, photo: Tensor, region: Region, weights: Tensor | None) -> Tensor:
        manner = self.styles.read(region.samples, max(photo.shape[2:]))
        colored = carry_moments(photo, manner.mean, manner.covariance, weights).clamp_(0, 1)
        return self.lay(colored, manner.numbers)

    @torch.no_grad()
    def lay(self, photo: Tensor, numbers: Tensor) -> Tensor:
        """Strokes on a photograph (1, 3, H, W) that is in its style's colours."""
        height, width = photo.shape[2:]
        is_torch = self.options.engine == "torch"  # others may work in float32
        cost = measure_cost(self.net, self.machine.precision if is_torch else torch.float32)
        room = self._find_room(height * width)
        if room is None or height * width * cost <= room:
            return self._choose_engine(height, width)(photo, numbers).clamp_(0, 1)
        needed = format_memory(height * width * cost)
        if self.options.engine in ("onnx", "openvino"):
            raise OptionError(
                f"{width} x {height} takes about {needed} at once; in tiles: --engine torch"
            )
        if room < FEWEST_PIXELS * cost:
            raise ImageError(
                f"{width} x {height} needs more than the memory granted; grant more with --memory, "
                "or paint it smaller with --size"
            )
        self.notes.append(f"{width} x {height} takes about {needed} at once: painted in tiles")
        most = int(room / cost)
        net = place_net(self.net, self.machine)
        return paint_in_tiles(net, self.machine, photo, numbers, most).clamp_(0, 1)

    def _find_room(self, pixels: int) -> int | None:
        """Bytes that there are for features, beside some more copies of the picture."""
        device = self.machine.device
        granted = grant_memory(device, self.options.memory)
        if granted is None:
            return None
        used = (resident_memory() or 0) if device.type == "cpu" else 0
        return granted - used - COPIES * 12 * pixels

    def _choose_engine(self, height: int, width: int) -> Engine:
        if self.engine is None:
            self.engine, note = choose_engine(
                self.options.engine, self.net, self.machine, (height, width)
            )
            self.notes += [note] if note else []
        return self.engine


class Impression:
    """One painting in one pass, by a painter that is there already or a new one."""

    def __init__(
        self,
        content: ImageSource,
        style: ImageSource | Sequence[ImageSource] = (),
        options: InstantOptions | None = None,
        *,
        painter: Instant | None = None,
    ) -> None:
        self.content, self.painter = content, painter or Instant(style, options)
        self.notes = list(self.painter.notes)
        self.painted: Painting | None = None

    def steps(self) -> Iterator[None]:
        self.painted = self.painter(self.content)
        yield

    def result(self) -> Painting:
        if self.painted is None:
            raise RuntimeError("nothing is painted before steps()")
        return self.painted


def open_net(model: str) -> NetFile:
    """A net that travels with the package, by its name, or one of the user's own."""
    if model not in NETS:
        if not Path(model).suffix and not Path(model).exists():
            raise MissingFileError(f"unknown model {model!r}{suggest(model, NETS)}")
        return load_net(Path(model))
    with resources.as_file(resources.files("impasto") / "data" / NETS[model]) as path:
        return load_net(path)


def read_palette(style: Sequence[ImageSource], model: str | None, side: int) -> Palette:
    """Styles as rows: those of a model, all or by name, or pictures seen at that long side."""
    options = InstantOptions(model=model, style_size=None if model else side)
    file = open_net(model or "any")
    if file.palette is not None:
        return LearntStyles(file, style or file.palette.names, options).rows
    styles = AnyStyles(file, style, options, Machine(torch.device("cpu")))
    samples = [
        Sample(fill_transparent(picture.pixels, picture.alpha), picture.alpha, 1.0, i)
        for i, picture in enumerate(styles.pictures)
    ]
    seen = join_palettes([styles.see(sample, side) for sample in samples])
    return replace(seen, names=tuple(Path(name).stem for name in seen.names))


def choose_numbers(options: InstantOptions) -> Machine:
    machine = choose_machine(options.device)
    precision = options.precision
    if precision == "auto":
        precision = "bfloat16" if has_fast_bfloat16(machine.device) else "float32"
    return replace(machine, precision=getattr(torch, precision))


# --- what is painted after ----------------------------------------------------------------------


class Styles(Protocol):
    """Styles that a net can paint."""

    names: list[str]
    pictures: list[Picture]
    shares: list[float]
    notes: list[str]

    def read(self, samples: Sequence[Sample], long_side: int) -> Manner:
        """Some of them, by their shares, for a painting with that long side."""


class AnyStyles:
    """Pictures, each read once for each size at which it is seen."""

    def __init__(
        self,
        file: NetFile,
        styles: Sequence[ImageSource],
        options: InstantOptions,
        machine: Machine,
    ) -> None:
        if not styles:
            raise OptionError("no style given: name a picture, or a model that has learnt some")
        self.options, self.machine = options, machine
        assert file.reader is not None
        self.reader = file.reader
        self.backbone = load_backbone("compact").place(machine)
        self.pictures = [read_image(s, max_megapixels=options.max_megapixels) for s in styles]
        self.names = [picture.name for picture in self.pictures]
        self.notes = [f"{p.name}: {note}" for p in self.pictures for note in p.notes]
        self.shares = parse_blend(options.blend, [Path(name).stem for name in self.names])
        self.known: dict[tuple[int, int], Palette] = {}

    def read(self, samples: Sequence[Sample], long_side: int) -> Manner:
        side = self._choose_side(long_side)
        seen = [self.see(sample, side) for sample in samples]
        return join_palettes(seen).blend([sample.share for sample in samples])

    def _choose_side(self, long_side: int) -> int:
        asked = self.options.style_size
        if asked is None:
            step = round(SIDES_PER_OCTAVE * math.log2(long_side))
            asked = min(round(2 ** (step / SIDES_PER_OCTAVE)), LARGEST_STYLE)
        return max(1, round(asked * self.options.style_scale))

    @torch.no_grad()
    def see(self, sample: Sample, side: int) -> Palette:
        """One style; where its colours are the photograph's, it is another for each."""
        key = (sample.style, side)
        if key in self.known:
            return self.known[key]
        height, width = sample.pixels.shape[2:]
        pixels = resize_pixels(sample.pixels, *fit_style(width, height, side, LEAST_STYLE))
        code = encode_style(self.backbone, pixels.to(self.machine.device), sample.mask)
        mean, covariance = color_statistics(sample.pixels, sample.mask)
        name = self.names[sample.style]
        seen = Palette((name,), self.reader(code.cpu()), mean[None], covariance[None])
        if self.options.color in PLAIN_COLORS:
            self.known[key] = seen
        return seen


class LearntStyles:
    """Those of a net's own, by their names."""

    def __init__(
        self, file: NetFile, styles: Sequence[ImageSource], options: InstantOptions
    ) -> None:
        assert file.palette is not None
        palette, self.notes = file.palette, list[str]()
        if options.color not in PLAIN_COLORS:
            raise OptionError(
                f"color {options.color!r} changes the style's picture, which a model has not; "
                f"choose from {', '.join(PLAIN_COLORS)}"
            )
        if options.style_size is not None or options.style_scale != 1:
            raise OptionError("a model has learnt its styles at one size: no --style-size or scale")
        names = [str(style) for style in styles]
        names = names or [name for name, _ in split_blend(options.blend) if name is not None]
        if not names and len(palette) > 1:
            raise OptionError(
                f"choose among the model's styles with --style: {', '.join(palette.names)}"
            )
        self.names = names or list(palette.names)
        for name in self.names:
            if name not in palette.names:
                raise OptionError(f"unknown style {name!r}{suggest(name, palette.names)}")
        self.rows = palette.take([palette.names.index(name) for name in self.names])
        self.shares = parse_blend(options.blend, self.names)
        self.pictures = [
            Picture(draw_colors(mean, covariance), name=name)
            for name, mean, covariance in zip(
                self.names, self.rows.means, self.rows.covariances, strict=True
            )
        ]

    def read(self, samples: Sequence[Sample], long_side: int) -> Manner:  # noqa: ARG002
        rows = self.rows.take([sample.style for sample in samples])
        return rows.blend([sample.share for sample in samples])


def draw_colors(mean: Tensor, covariance: Tensor) -> Tensor:
    """Six pixels (1, 3, 1, 6) of that mean and covariance: all that is known of a picture."""
    values, vectors = torch.linalg.eigh(covariance)
    axes = vectors * (3 * values.clamp_min(0)).sqrt()  # (3, 3), a column for each
    return (mean[:, None] + torch.cat([axes, -axes], 1)).float()[None, :, None]
