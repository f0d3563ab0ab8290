"""The options of the laboratory, which looks into the method and finds its settings."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from impasto.options import File, MachineOptions, Memory, Options, Scale, Side, Weight
from impasto.painting.options import (
    START_NAMES,
    CanvasName,
    LoopOptions,
    OptimizerName,
    PaintOptions,
    StyleOptions,
)


def parse_size(text: str) -> tuple[int, int]:
    """(width, height) of ``1024x512``, or of ``512``, which is square."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.strip().isdigit() for side in sides):
        raise ValueError("give WIDTHxHEIGHT in pixels, as 1024x512")
    width, height = int(sides[0]), int(sides[-1])
    if min(width, height) < 16 or max(width, height) > 65536:
        raise ValueError("each side must be from 16 to 65536 pixels")
    return width, height


def _check_size(text: str) -> str:
    parse_size(text)
    return text


Size = Annotated[str, AfterValidator(_check_size)]


# --- pictures out of a network ------------------------------------------------------------------


class TextureOptions(StyleOptions):
    """More of a texture than there is."""

    size: Size = Field(default="512", description="WIDTHxHEIGHT of the result in pixels.")
    style_scale: Scale = Field(
        default=1.0, description="How large the texture is seen: 0.5 for half its size."
    )
    init: Annotated[str, File(names=START_NAMES)] = Field(
        default="statistics",
        description="What to start from: statistics (noise with the texture's colours and "
        "spectrum), noise, faint-noise, grey, style (the texture itself), or a picture's path.",
    )
    steps: int = LoopOptions.again("steps", 200)
    tv_weight: float = StyleOptions.again("tv_weight", 0.0)


_MEMORY = (
    "Memory that all of the work may take, as 4G or 800M; four fifths of what is free if not given."
)
_STOP = "Stop early when the mean loss of 20 steps fell by less than this share; 0: never."


class InvertOptions(LoopOptions):
    """What a layer still knows of a photograph."""

    layer: tuple[str, ...] = Field(
        default=("relu4_2",),
        description="Layer whose features the picture is found from; repeated, one picture for "
        "each; all is every first ReLU of a block.",
    )
    size: Side | None = Field(
        default=256, description="Long side of the result in pixels; at most the photograph's own."
    )
    alpha_weight: Weight = Field(
        default=0.01,
        description="How strongly values far from grey are held back (their 6th power).",
    )
    tv_weight: Weight = Field(
        default=0.03, description="How strongly neighbouring pixels are evened out."
    )
    tv_power: Annotated[float, Field(ge=1, le=4)] = Field(
        default=2.0, description="Power of their differences, beta of Mahendran and Vedaldi."
    )
    steps: int = LoopOptions.again("steps", 300, "Optimisation steps.")
    plateau: float = LoopOptions.again("plateau", 0.0, _STOP)
    memory: Memory | None = LoopOptions.again("memory", None, _MEMORY)


class DreamOptions(LoopOptions):
    """A picture that excites a class, a channel or a layer."""

    model_config = ConfigDict(populate_by_name=True)  # class is a word of Python's

    label: str | None = Field(
        default=None,
        alias="class",
        description="A class, by its name, to make a picture of.",
    )
    layer: str | None = Field(default=None, description="A layer to excite.")
    channel: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="One channel of that layer, counted from 0; all, if not given."
    )
    size: Side | None = Field(
        default=None,
        description="Long side of the result in pixels; the photograph's own, or 224.",
    )
    octaves: Annotated[int, Field(ge=1, le=20)] = Field(
        default=4, description="Sizes that are gone through, from coarse to fine."
    )
    octave_scale: Annotated[float, Field(gt=1, le=4)] = Field(
        default=1.4, description="How much larger each is than the one before."
    )
    jitter: Annotated[int, Field(ge=0, le=256)] = Field(
        default=16, description="Shift the picture by up to so many pixels at each step."
    )
    l2_weight: Weight = Field(
        default=10.0,
        description="How strongly values far from grey, or from the photograph's, are held back.",
    )
    tv_weight: Weight = Field(
        default=1.0, description="How strongly neighbouring pixels are evened out."
    )
    steps: int = LoopOptions.again("steps", 200)
    plateau: float = LoopOptions.again("plateau", 0.0)
    optimizer: OptimizerName = LoopOptions.again("optimizer", "adam")
    canvas: CanvasName = LoopOptions.again("canvas", "fourier")
    memory: Memory | None = LoopOptions.again("memory", None, _MEMORY)


class FeaturesOptions(Options):
    """What the layers of a network give for a picture: one look, in full precision."""

    layer: tuple[str, ...] = Field(
        default=("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"),
        description="Layer to show; may be repeated; all is every ReLU.",
    )
    top: Annotated[int, Field(ge=1, le=512)] = Field(
        default=16, description="How many channels are shown: those that vary most."
    )
    channel: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default=(), description="Show these channels, counted from 0, and not those that vary most."
    )
    size: Side | None = Field(
        default=512, description="Long side at which the picture is seen; never enlarged."
    )
    backbone: Literal["compact", "vgg19", "vgg16"] = MachineOptions.again("backbone", "compact")
    weights: str | None = MachineOptions.again("weights", None)
    pooling: Literal["max", "avg"] = MachineOptions.again("pooling", "max")
    device: str = MachineOptions.again("device", "auto")
    max_megapixels: float = MachineOptions.again("max_megapixels", 100.0)


# --- many pictures ------------------------------------------------------------------------------

_MANY_SIZE = "Long side of each picture in pixels; 256, or the photograph's own if that is less."


def _find_files(settings: Iterable[str]) -> list[str]:
    """Return the files among the values of ``init=a.png,noise``; what names no option has none."""
    marks, found = PaintOptions.file_marks(), []
    for setting in settings:
        name, _, said = setting.partition("=")
        mark = marks.get(name.strip().replace("-", "_"))
        words = re.split(r"[,+]", said) if mark else ()
        found += [word.strip() for word in words if mark and word.strip() not in mark.names]
    return list(filter(None, found))


class SweepOptions(PaintOptions):
    """Options crossed with one another, and a picture for each."""

    vary: tuple[str, ...] = Field(
        default=(),
        description="An option and its values, as style_weight=1,0.1,0.01 or style_weight=1:100:7 "
        "(seven from 1 to 100; 1:100 is five); repeated, all are crossed. Layers and losses that "
        "go together are joined by a plus: style_layer=relu1_1,relu1_1+relu2_1.",
    )
    chain: bool = Field(
        default=False,
        description="Each picture starts from the one before it: steadier, as frames of a film.",
    )
    size: Side | None = PaintOptions.again("size", None, _MANY_SIZE)

    def list_files(self) -> list[str]:
        """Return every file that is read, those that are varied among them."""
        return [*super().list_files(), *_find_files(self.vary)]


class TuneOptions(PaintOptions):
    """Options searched for what comes near to both, the style and the photograph."""

    trials: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=30, description="How many pictures are painted in all."
    )
    round: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=1,
        description="How many pictures are proposed at a time, before any of them is known; so "
        "many can be painted at once, on any number of machines with the same result.",
    )
    search: tuple[str, ...] = Field(
        default=("style_weight=1:1000", "tv_weight=0.5:50", "content_layer=relu3_1,relu4_1"),
        description="An option and where to look, as style_weight=1:1000 (by ratio, where both are "
        "above 0) or content_layer=relu3_1,relu4_1; may be repeated.",
    )
    size: Side | None = PaintOptions.again("size", None, _MANY_SIZE)

    def list_files(self) -> list[str]:
        """Return every file that is read, those that are searched among them."""
        return [*super().list_files(), *_find_files(self.search)]


class ReportOptions(Options):
    """How a folder of many pictures is told in one page; there is nothing to choose yet."""
