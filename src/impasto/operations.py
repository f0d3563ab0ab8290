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

from impasto.datasets.options import AugmentOptions
from impasto.instant.options import InstantOptions, TrainOptions
from impasto.lab.options import (
    DreamOptions,
    FeaturesOptions,
    InvertOptions,
    SweepOptions,
    TextureOptions,
    TuneOptions,
)
from impasto.options import Options
from impasto.painting.options import PaintOptions


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
    "paint": Operation(PaintOptions, "painting.painter:Painter"),
    "instant": Operation(InstantOptions, "instant.painter:Impression"),
    "train": Operation(TrainOptions, "instant.training:Training"),
    "texture": Operation(TextureOptions, "lab.texture:Texture"),
    "invert": Operation(InvertOptions, "lab.inversion:Inversion"),
    "invert-layers": Operation(InvertOptions, "lab.layer_inversions:Inversions"),
    "dream": Operation(DreamOptions, "lab.dream:Dream"),
    "features": Operation(FeaturesOptions, "lab.feature_maps:Features"),
    "sweep": Operation(SweepOptions, "lab.sweep:Sweep"),
    "study": Operation(SweepOptions, "lab.studies:Study"),
    "tune": Operation(TuneOptions, "lab.tuning:Tuning"),
    "augment": Operation(AugmentOptions, "datasets.augmentation:Augmentation"),
}
