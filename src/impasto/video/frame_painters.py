"""What paints frames: a network in one pass, or the optimisation; or what relights them."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from impasto.errors import OptionError, suggest
from impasto.images.picture import ImageSource, Picture, describe_pictures
from impasto.images.reading import read_image
from impasto.instant.held_painter import ColorMap, HeldPainter
from impasto.instant.options import InstantOptions
from impasto.instant.painter import Instant
from impasto.instant.palette import StyleBlend
from impasto.painting.inputs import share_out
from impasto.painting.options import PaintOptions
from impasto.system.devices import choose_machine, settle_precision, working_on
from impasto.video.looks import ClipPainter, Look, Moment, Steadied
from impasto.video.options import FramesOptions, split_setting_of
from impasto.video.relit_frames import RelitClip
from impasto.video.temporal_loss import FrameWork, PriorFrame

_OF_BOTH = ("size", "device", "precision", "memory", "max_megapixels")


def color_map(look: Look) -> ColorMap:
    """Return the colours that are held."""
    return ColorMap(look["linear"], look["offset"])


# --- in one pass ----------------------------------------------------------------------------------


class InstantClip:
    """Paints by a network in one pass."""

    varied: tuple[str, ...] = ("style_weight", "strength")
    steadied: Steadied = "strokes"
    by_scenes = False

    def __init__(self, styles: Sequence[Sequence[ImageSource]], options: FramesOptions) -> None:
        own = {name: getattr(options, name) for name in InstantOptions.model_fields
               if name in type(options).model_fields}  # fmt: skip
        self.options = InstantOptions.parse(own)
        self.names = [str(style) for some in styles for style in some]
        self.painters = [Instant(list(some), self.options) for some in styles]
        self.pictures = [
            picture for painter in self.painters for picture in painter.styles.pictures
        ]
        self.notes = [note for painter in self.painters for note in painter.notes]
        self.known: dict[tuple[int, float | None, int], StyleBlend] = {}  # the last style
        self.held: HeldPainter | None = None  # whose network is placed already

    def look(self, frames: Sequence[Tensor], moment: Moment) -> Look:
        """Measure the colours and normalisations of all frames together."""
        weight = moment.find("style_weight", self.options.style_weight)
        held = self.held = self.painters[moment.style].hold(list(frames), style_weight=weight)
        found = {"linear": held.colors.linear, "offset": held.colors.offset}
        for number, (mean, inverse) in enumerate(held.held):
            found[f"mean{number}"], found[f"inverse{number}"] = mean, inverse
        return {name: tensor.cpu().clone() for name, tensor in found.items()}

    def paint(
        self,
        frame: Tensor,
        look: Look,
        moment: Moment,
        prior: PriorFrame | None,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Paint a frame by what is held."""
        if self.held is None:
            self.held = self.painters[0].hold(frame)
        painter = copy.copy(self.held)
        device = painter.machine.device
        painter.numbers = self._read(moment, max(frame.shape[2:])).numbers[None].to(device)
        painter.colors = color_map(look)
        count = sum(name.startswith("mean") for name in look)
        painter.held = [
            (look[f"mean{n}"].to(device), look[f"inverse{n}"].to(device)) for n in range(count)
        ]
        with working_on(device):
            painted = painter(frame)
        return self.color(frame, look, moment), self._weaken(frame, painted, moment)

    def color(self, frame: Tensor, look: Look, moment: Moment) -> Tensor:
        """Return a frame in the colours that are held."""
        return self._weaken(frame, color_map(look)(frame), moment)

    def _weaken(self, frame: Tensor, changed: Tensor, moment: Moment) -> Tensor:
        """Return as much of what is changed as the strength says."""
        strength = moment.find("strength", self.options.strength)
        return changed if strength is None or strength >= 1 else frame.lerp(changed, strength)

    def check(self, values: Sequence[float | None]) -> list[str]:
        """Return notes on style weights; raise an error where styles were learnt."""
        notes: list[str] = []
        for painter in self.painters:
            for value in values:
                notes += painter.styles.check_weight(value)
        return notes

    def describe(self) -> str:
        """Return the network, and the machine."""
        return f"{self.options.model or 'any'} on {self.painters[0].machine.describe()}"

    def describe_inputs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the styles' names, and the digests of those that are pictures."""
        if self.options.model is not None:
            return {"style": self.names}, {}
        return describe_pictures({"style": self.pictures})

    def _read(self, moment: Moment, long_side: int) -> StyleBlend:
        """Return the moment's style; the last one is kept."""
        weight = moment.find("style_weight", self.options.style_weight)
        key = (moment.style, weight, long_side)
        if key not in self.known:
            self.known = {key: self.painters[moment.style].read_style(long_side, weight)}
        return self.known[key]


# --- by optimisation ------------------------------------------------------------------------------


class PaintClip:
    """Paints by optimisation, each frame from the one before it (Ruder et al. 2016)."""

    varied: tuple[str, ...] = (
        "strength", "style_weight", "content_weight", "tv_weight", "coarse_content", "guide"
    )  # fmt: skip
    steadied: Steadied = "frames before"
    by_scenes = False

    def __init__(self, styles: Sequence[Sequence[ImageSource]], options: FramesOptions) -> None:
        self.options, self.paint_options = options, read_paint_options(options)
        most = options.max_megapixels
        self.styles = [[read_image(each, max_megapixels=most) for each in some] for some in styles]
        self.pictures = [picture for some in self.styles for picture in some]
        self.notes = [f"{p.name}: {note}" for p in self.pictures for note in p.notes]
        self.machine = settle_precision(choose_machine(options.device), options.precision)

    def look(self, frames: Sequence[Tensor], moment: Moment) -> Look:
        """Measure the colours of all frames together."""
        colors = ColorMap.between(frames, self._blend(moment))
        return {"linear": colors.linear, "offset": colors.offset}

    def paint(
        self, frame: Tensor, look: Look, moment: Moment, prior: PriorFrame | None
    ) -> tuple[Tensor, Tensor]:
        """Optimise a frame, which stays near to where the frames before it have come to."""
        colored = color_map(look)(frame)
        values = {name: value for name, value in moment.values if name != "strength"}
        options = self.paint_options.model_copy(update=values)
        work = FrameWork(Picture(colored), self.styles[moment.style], options, prior)
        for _ in work.steps():
            pass
        painted = work.result().pixels
        strength = moment.find("strength", self.options.strength)
        if strength is not None and strength < 1:
            painted = frame.lerp(painted, strength)
        return self.color(frame, look, moment), painted

    def color(self, frame: Tensor, look: Look, moment: Moment) -> Tensor:
        """Return a frame in the colours that are held."""
        colored = color_map(look)(frame)
        strength = moment.find("strength", self.options.strength)
        return colored if strength is None or strength >= 1 else frame.lerp(colored, strength)

    def check(self, values: Sequence[float | None]) -> list[str]:  # noqa: ARG002
        """Return no notes: any style weight will do."""
        return []

    def describe(self) -> str:
        """Return the network, and the machine."""
        return f"{self.paint_options.backbone} on {self.machine.describe()}, step by step"

    def describe_inputs(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the styles' names and digests."""
        return describe_pictures({"style": self.pictures})

    def _blend(self, moment: Moment) -> StyleBlend:
        from impasto.images.color_transfer import color_statistics

        styles = self.styles[moment.style]
        shares = torch.tensor(share_out(self.paint_options.style_blend, len(styles))).double()
        means, covariances = zip(*(color_statistics(style.pixels) for style in styles), strict=True)
        mean = torch.stack(means).mul(shares[:, None]).sum(0)
        covariance = torch.stack(covariances).mul(shares[:, None, None]).sum(0)
        return StyleBlend(torch.zeros(0), mean, covariance)


def read_paint_options(options: FramesOptions) -> PaintOptions:
    """Return the options of 'impasto paint' that a film's ask for."""
    values: dict[str, Any] = {name: getattr(options, name) for name in _OF_BOTH if name != "size"}
    values |= {"plateau": 0.0, "recolor": "none"}
    if options.style_weight is not None:
        values["style_weight"] = options.style_weight
    if options.style_scale != 1:
        values["style_scale"] = (options.style_scale,)
    if options.style_size is not None:
        values["style_size"] = (options.style_size,)
    for entry in options.setting:
        name, value = split_setting_of(entry)
        if name not in PaintOptions.model_fields:
            raise OptionError(
                f"--setting: unknown option {name!r}{suggest(name, PaintOptions.model_fields)}"
            )
        if name in ("size", "recolor", "color", "only_color", "tileable", "mask", "labels"):
            raise OptionError(f"--setting: {name} does not go with films")
        many = isinstance(PaintOptions.model_fields[name].default, tuple)
        values[name] = value.split("+") if many else value
    return PaintOptions.read(values)


CLIP_PAINTERS: dict[str, type[InstantClip] | type[PaintClip]] = {
    "instant": InstantClip,
    "paint": PaintClip,
}


def make_clip_painter(
    styles: Sequence[Sequence[ImageSource]], options: FramesOptions, lut: str | None = None
) -> ClipPainter:
    """Return what paints, after styles that follow each other, each one or several.

    Or what relights: after pictures to be like, or by a table of colours.
    """
    if options.with_ != "paint" and options.passes > 1:
        raise OptionError("--passes goes with --with paint")
    if options.with_ != "instant":
        refuse = {"model": options.model is not None, "blend": bool(options.blend)}
        for name, given in refuse.items():
            if given:
                raise OptionError(f"--{name} goes with --with instant")
    elif options.setting:
        raise OptionError("--setting goes with --with paint and --with relight")
    if options.with_ == "relight":
        return RelitClip(styles, options, lut)
    if lut is not None:
        raise OptionError("a table of colours goes with --with relight")
    return CLIP_PAINTERS[options.with_](styles, options)
