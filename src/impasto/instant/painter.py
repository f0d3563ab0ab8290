"""Painting in one pass: after any picture, or after styles that a net has learnt.

A photograph takes its style's colours and goes through a net once (``net``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Self

import torch
from torch import Tensor

from impasto.errors import ImageError, OptionError
from impasto.images.color_transfer import carry_moments
from impasto.images.picture import ImageSource, InputPictures, describe_pictures
from impasto.images.reading import read_image
from impasto.images.resizing import fit_size
from impasto.images.transparency import make_opaque
from impasto.instant.engines import Engine, choose_engine
from impasto.instant.held_painter import HeldPainter
from impasto.instant.model_file import NetFile, find_net, load_net
from impasto.instant.options import InstantOptions
from impasto.instant.palette import Palette, StyleBlend, join_palettes, name_styles
from impasto.instant.styles import NO_STYLE, AnyStyles, LearntStyles, StyleReader, StyleSource
from impasto.instant.tiled_pass import FEWEST_PIXELS, measure_cost, paint_in_tiles, place_net
from impasto.options import format_memory
from impasto.painting.inputs import Region, Sample, SceneOptions
from impasto.painting.memory_plan import grant_memory
from impasto.painting.painter import list_styles
from impasto.painting.result import Painting
from impasto.painting.scene import Scene
from impasto.recipes import write_recipe
from impasto.system.devices import Machine, choose_machine, settle_precision, working_on
from impasto.system.memory import resident_memory
from impasto.work import Request, Step

_COPIES = 8  # of the picture, while it is painted


class Instant:
    """A painter that has seen its styles, for any number of pictures.

    >>> paint = impasto.Instant("picture.jpg")
    >>> paint("photo.jpg").save("painted.png")

    With a ``model``, styles are names of those that it has learnt.
    """

    def __init__(
        self,
        style: ImageSource | Sequence[ImageSource] | None = None,
        options: InstantOptions | Mapping[str, Any] | None = None,
    ) -> None:
        options = InstantOptions.parse(options)
        if options.blend and options.style_mask:
            raise OptionError("styles are blended, or each goes where its mask says; not both")
        self.options = options
        if style is None or (isinstance(style, tuple | list) and not style):
            named: list[ImageSource] = []
        else:
            named = list_styles(style)
        file = open_net(options.model or "any")
        self.machine = settle_precision(choose_machine(options.device), options.precision)
        self.styles: StyleSource
        if file.reader is not None:
            self.styles = AnyStyles(file, named, options, self.machine)
        else:
            self.styles = LearntStyles(file, named, options)
        self.styles.check_weight(options.style_weight)
        self.net = file.net
        self.notes = list(self.styles.notes)
        self.engine: Engine | None = None
        self.turn = threading.Lock()  # an engine is chosen once

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what another process makes for itself: the engine and its lock."""
        return {**self.__dict__, "engine": None, "turn": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, turn=threading.Lock())

    def __call__(self, content: ImageSource, *, style_weight: float | None = None) -> Painting:
        """Return the photograph, painted; at another style weight than the options', if given.

        Styles are not read again for that.
        """
        options = self.options
        if style_weight is not None:
            options = InstantOptions.parse({**dict(options), "style_weight": style_weight})
        with working_on(self.machine.device):
            return self._make(content, options)

    def hold(
        self, frames: ImageSource | Sequence[ImageSource], *, style_weight: float | None = None
    ) -> HeldPainter:
        """Return a painter of a clip: colours and normalisations are as in these of its frames.

        It runs on torch. Styles are blended; masks, ``color`` and ``strength`` do not act.
        """
        several: list[ImageSource] = (
            list(frames) if isinstance(frames, list | tuple) else [frames]  # type: ignore[list-item]
        )
        most = self.options.max_megapixels
        pixels = [read_image(each, max_megapixels=most).pixels for each in several]
        style = self.read_style(max(max(each.shape[2:]) for each in pixels), style_weight)
        with working_on(self.machine.device):
            return HeldPainter(place_net(self.net, self.machine), self.machine, style, pixels)

    def read_style(self, long_side: int, style_weight: float | None = None) -> StyleBlend:
        """Return the styles, blended, as they are seen for a picture with that long side."""
        weight = self.options.style_weight if style_weight is None else style_weight
        self.styles.check_weight(weight)
        samples = [
            Sample(make_opaque(picture).pixels, picture.alpha, share, number)
            for number, (picture, share) in enumerate(
                zip(self.styles.pictures, self.styles.shares, strict=True)
            )
        ]
        return self.styles.read(samples, long_side, weight)

    def _make(self, content: ImageSource, options: InstantOptions) -> Painting:
        weight = options.style_weight
        picture = read_image(content, max_megapixels=options.max_megapixels)
        size = picture.size if options.size is None else fit_size(*picture.size, options.size)
        is_tiled = self._must_tile(*size)
        scene = Scene(picture, self.styles.pictures, self._describe_scene(), size)
        view = scene.whole
        # The mask is laid on at last, once.
        pairs = zip(view.regions, scene.regions, strict=True)
        regions = [replace(region, mask=own.mask) for region, own in pairs]
        paint = partial(self._paint, view.photo, weight, is_tiled)
        painted = scene.spread(view.photo, regions, paint)
        if options.strength < 1:
            painted = view.photo.lerp(painted, options.strength)
        notes = [f"{picture.name}: {note}" for note in picture.notes] + scene.notes
        notes = [
            *self.notes,
            *self.styles.check_weight(weight),
            *notes,
            *([f"{size[0]} x {size[1]}: in tiles"] if is_tiled else ()),
        ]
        pictures: InputPictures = {"content": picture, "style": self.styles.pictures}
        # How much memory there was matters to tiles alone.
        kept = options if is_tiled else options.model_copy(update={"memory": None})
        recipe = write_recipe("instant", *describe_pictures(pictures), kept)
        return Painting(scene.finish(painted).clamp_(0, 1), scene.alpha, [], recipe, notes)

    def _describe_scene(self) -> SceneOptions:
        """Return what the scene depends on."""
        options = self.options
        return SceneOptions(
            mask=options.mask,
            style_mask=options.style_mask,
            feather=options.feather,
            style_blend=tuple(self.styles.shares),
            color=options.color,
            max_megapixels=options.max_megapixels,
        )

    def _paint(
        self,
        photo: Tensor,
        weight: float | None,
        is_tiled: bool,
        region: Region,
        weights: Tensor | None,
    ) -> Tensor:
        manner = self.styles.read(region.samples, max(photo.shape[2:]), weight)
        colored = carry_moments(photo, manner.mean, manner.covariance, weights).clamp_(0, 1)
        return self.lay(colored, manner.numbers, is_tiled=is_tiled)

    @torch.no_grad()
    def lay(self, photo: Tensor, numbers: Tensor, *, is_tiled: bool = False) -> Tensor:
        """Lay strokes on a photograph (1, 3, H, W) that is in its style's colours."""
        height, width = photo.shape[2:]
        if not is_tiled:
            return self._choose_engine(height, width)(photo, numbers).clamp_(0, 1)
        room = self._find_room(0)
        most = FEWEST_PIXELS if room is None else max(FEWEST_PIXELS, int(room / self._cost()))
        net = place_net(self.net, self.machine)
        return paint_in_tiles(net, self.machine, photo, numbers, most).clamp_(0, 1)

    def _cost(self) -> float:
        is_torch = self.options.engine == "torch"  # others may work in float32
        return measure_cost(self.net, self.machine.precision if is_torch else torch.float32)

    def _must_tile(self, width: int, height: int) -> bool:
        """Return whether a picture goes through in tiles; an error where not even they fit."""
        room, cost = self._find_room(width * height), self._cost()
        if room is None or width * height * cost <= room:
            return False
        least = min(FEWEST_PIXELS, width * height) * cost
        if room < least:
            granted = grant_memory(self.machine.device, self.options.memory) or 0
            raise ImageError(
                f"{width} x {height} needs {format_memory(granted + least - room)} or more, and "
                f"{format_memory(granted)} are granted; grant more with --memory, or paint it "
                "smaller with --size"
            )
        if self.options.engine in ("onnx", "openvino"):
            needed = format_memory(width * height * cost)
            raise OptionError(
                f"{width} x {height} takes about {needed} at once; in tiles: --engine torch"
            )
        return True

    def _find_room(self, pixels: int) -> int | None:
        """Return the bytes that there are for features, beside copies of the picture to come."""
        device = self.machine.device
        granted = grant_memory(device, self.options.memory)
        if granted is None:
            return None
        used = (resident_memory() or 0) if device.type == "cpu" else 0
        return granted - used - _COPIES * 12 * pixels

    def _choose_engine(self, height: int, width: int) -> Engine:
        with self.turn:
            if self.engine is None:
                self.engine, note = choose_engine(
                    self.options.engine, self.net, self.machine, (height, width)
                )
                self.notes += [note] if note and note not in self.notes else []
            return self.engine


class Impression:
    """One painting in one pass, by a painter that is there already or a new one."""

    def __init__(
        self,
        content: ImageSource,
        style: ImageSource | Sequence[ImageSource] | None = None,
        options: InstantOptions | None = None,
        *,
        painter: Instant | None = None,
    ) -> None:
        self.content, self.painter = content, painter or Instant(style, options)
        self.notes = list(self.painter.notes)
        self.painted: Painting | None = None

    @classmethod
    def many(cls, options: InstantOptions) -> Callable[[Request], Impression]:
        """Return what begins one painting after another; they come by style, each read once."""

        @lru_cache(maxsize=1)
        def find_painter(styles: tuple[str, ...]) -> Instant:
            return Instant(styles, options)

        return lambda request: cls(
            request.one("content"), painter=find_painter(tuple(request.many("style")))
        )

    @classmethod
    def settle_many(
        cls, options: InstantOptions, styles: Sequence[str]
    ) -> tuple[InstantOptions, list[str]]:
        """Check what is the same for many paintings, and choose an engine for all of them.

        Pictures of styles are not read: one that cannot be is told with its paintings.
        """
        if options.model is None and options.engine == "torch":
            return options, []
        painter = Instant(styles, options)
        if options.engine != "auto":
            return options, []
        engine, note = choose_engine("auto", painter.net, painter.machine, (512, 512))
        return options.model_copy(update={"engine": engine.name}), [note] if note else []

    @classmethod
    def from_request(cls, request: Request) -> Self:
        """Make the work that a request asks for."""
        options = InstantOptions.parse(request.options)
        return cls(request.one("content"), request.many("style"), options)

    def steps(self) -> Iterator[Step]:
        """Paint, in one step."""
        began = time.perf_counter()
        painted = self.painted = self.painter(self.content)
        size = painted.pixels.shape[3], painted.pixels.shape[2]
        seconds = time.perf_counter() - began
        yield Step(1, 1, size=size, seconds=seconds, look=lambda: painted)

    def result(self) -> Painting:
        """Return the painting, once it is there."""
        if self.painted is None:
            raise RuntimeError("nothing is painted before steps()")
        return self.painted


def open_net(model: str) -> NetFile:
    """Return a net that travels with the package, by its name, or one of the user's own."""
    return load_net(find_net(model))


def read_palette(
    style: Sequence[ImageSource], model: str | None, side: int, weight: float | None = None
) -> Palette:
    """Return styles as rows: a model's, all or by name, or pictures seen at that long side.

    Pictures are read at a style weight, or the usual one.
    """
    file = open_net(model or "any")
    if file.palette is not None:
        if weight is not None:
            raise OptionError("a model has learnt its styles at one weight: no --style-weight")
        return file.palette.choose(list(map(str, style)) or file.palette.names)
    if not style:
        raise OptionError(NO_STYLE)
    assert file.reader is not None
    reader = StyleReader(file.reader, Machine(torch.device("cpu")))
    reader.check_weight(weight)
    pictures = [read_image(each) for each in style]
    names = name_styles([picture.name for picture in pictures], None)
    rows = []
    for i, (name, picture) in enumerate(zip(names, pictures, strict=True)):
        sample = Sample(make_opaque(picture).pixels, picture.alpha, 1.0, i)
        rows.append(reader.read(sample, side, name, weight))
    return join_palettes(rows)
