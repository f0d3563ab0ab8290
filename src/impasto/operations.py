"""What Impasto can do: name -> its options, and the class that does it.

The only dispatch: the command line, and whatever else takes orders, goes through it. Work is made
from its inputs and options, yields a step at a time from ``steps()``, and has a ``result()`` at any
moment after that, so that work broken off still has something to show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from impasto.instant_options import InstantOptions, TrainOptions
from impasto.lab_options import (
    AugmentOptions,
    DreamOptions,
    FeaturesOptions,
    InvertOptions,
    SweepOptions,
    TextureOptions,
    TuneOptions,
)
from impasto.options import Options, PaintOptions


class Work(Protocol):
    """A running operation."""

    notes: list[str]

    def steps(self) -> Iterator[Any]: ...

    def result(self) -> Any: ...


@dataclass(frozen=True)
class Operation:
    """The options of an operation and, as ``room:name``, the class that does it: imported when
    work begins, so that listing operations costs nothing."""

    options: type[Options]
    work: str

    def start(self, *inputs: Any, options: Options, **more: Any) -> Any:
        return self._find()(*inputs, options, **more)

    def start_many(self, options: Options) -> Callable[..., Any]:
        """What starts one after the other, and keeps what they share."""
        begin: Callable[..., Any] = self._find().many(options)
        return begin

    def _find(self) -> Any:
        room, _, name = self.work.partition(":")
        return getattr(import_module(f"impasto.{room}"), name)


OPERATIONS = {
    "paint": Operation(PaintOptions, "painter:Painter"),
    "instant": Operation(InstantOptions, "instant:Impression"),
    "train": Operation(TrainOptions, "training:Training"),
    "texture": Operation(TextureOptions, "explore:Texture"),
    "invert": Operation(InvertOptions, "explore:Inversion"),
    "invert-layers": Operation(InvertOptions, "inversions:Inversions"),
    "dream": Operation(DreamOptions, "explore:Dream"),
    "features": Operation(FeaturesOptions, "feature_maps:Features"),
    "sweep": Operation(SweepOptions, "sweeps:Sweep"),
    "study": Operation(SweepOptions, "sweeps:Study"),
    "tune": Operation(TuneOptions, "tuning:Tuning"),
    "augment": Operation(AugmentOptions, "augmentation:Augmentation"),
}
