"""What Impasto can do: name -> its options, its inputs, what comes out, and the class that does it.

The only dispatch: the command line, batches, and whatever else takes orders go through it. Flags,
forms and upload fields can be made from what is declared here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol

from impasto.datasets.options import AugmentOptions
from impasto.errors import OptionError, suggest
from impasto.instant.options import ExportOptions, InstantOptions, TrainOptions
from impasto.lab.options import (
    DreamOptions,
    FeaturesOptions,
    InvertOptions,
    ReportOptions,
    SweepOptions,
    TextureOptions,
    TuneOptions,
)
from impasto.options import Options
from impasto.painting.options import PaintOptions
from impasto.photoreal.options import RelightOptions
from impasto.video.options import AnimateOptions
from impasto.work import Request, Work

Kind = Literal["picture", "film", "labelled set", "folder", "model", "name", "table"]
Output = Literal["picture", "film", "folder", "model", "file"]


@dataclass(frozen=True)
class Input:
    """What goes into an operation: how many of what kind."""

    name: str
    kind: Kind
    about: str
    least: int = 1
    most: int | None = 1  # None: any number
    by_name: bool = False  # may also be a name that the options give a meaning

    def check(self, given: Sequence[str]) -> None:
        """Raise an error where there are too few or too many, or one has an empty name."""
        if not all(given):
            raise OptionError(f"{self.name}: a {self.kind} has an empty name")
        if len(given) < self.least:
            raise OptionError(f"{self.name} is missing: {self.about}")
        if self.most is not None and len(given) > self.most:
            raise OptionError(f"{self.name}: {len(given)} are given, and at most {self.most} goes")


class WorkClass(Protocol):
    """A class whose work is made from plain data."""

    def from_request(self, request: Request) -> Work[object]: ...


class BatchClass(WorkClass, Protocol):
    """A class that also makes one painting after the other."""

    def many(self, options: Options) -> Callable[[Request], Work[object]]: ...

    def settle_many(self, options: Options, styles: Sequence[str]) -> tuple[Options, list[str]]: ...


@dataclass(frozen=True)
class Operation:
    """An operation's declaration."""

    options: type[Options]
    inputs: tuple[Input, ...]
    output: Output
    work: str  # ``module:Class``, imported when work begins: listing operations costs nothing
    done: str = "made"  # what was done with its output

    def name_output(self, options: Options, picture: str = ".png") -> str:
        """Return what the output is called where nobody says it; ``picture`` ends a picture's."""
        suffixes = {"picture": picture, "film": ".mp4", "model": ".safetensors"}
        given = options.suffix
        return f"output{suffixes.get(self.output, '') if given is None else given}"

    def start(self, request: Request) -> Work[object]:
        """Make the work that a request asks for."""
        known = {each.name for each in self.inputs}
        if unknown := sorted(set(request.inputs) - known):
            raise OptionError(f"unknown input {unknown[0]!r}{suggest(unknown[0], known)}")
        for each in self.inputs:
            each.check(request.inputs.get(each.name, ()))
        kind: WorkClass = self._find()
        return kind.from_request(request)

    def settle_many(self, options: Options, styles: Sequence[str]) -> tuple[Options, list[str]]:
        """Check what is the same for many paintings, once; return its options, and notes."""
        kind: BatchClass = self._find()
        return kind.settle_many(options, styles)

    def start_many(self, options: Options) -> Callable[[Request], Work[object]]:
        """Return what starts one painting after the other, and keeps what they share."""
        kind: BatchClass = self._find()
        return kind.many(options)

    def _find(self) -> Any:
        """Import the class."""
        module, _, name = self.work.partition(":")
        return getattr(import_module(f"impasto.{module}"), name)


PHOTO = Input("content", "picture", "the photograph")
STYLES = Input("style", "picture", "the picture in whose manner it is painted", most=None)

OPERATIONS = {
    "paint": Operation(
        PaintOptions, (PHOTO, STYLES), "picture", "painting.painter:Painter", "painted"
    ),
    "instant": Operation(
        InstantOptions,
        (
            PHOTO,
            Input("style", "picture", "the styles; with a model, names of its own", 0, None, True),
        ),
        "picture",
        "instant.painter:Impression",
        "painted",
    ),
    "relight": Operation(
        RelightOptions,
        (
            PHOTO,
            Input("like", "picture", "the pictures whose light it takes", 0, None),
            Input("lut", "table", "a table of colours to take instead", least=0),
        ),
        "picture",
        "photoreal.relight:Relight",
        "relit",
    ),
    "animate": Operation(
        AnimateOptions,
        (
            Input("film", "film", "a film, a folder of numbered pictures, or one picture"),
            Input("style", "picture", "the styles; with a model, names of its own", 0, None, True),
            Input("like", "picture", "with relight, the pictures whose light it takes", 0, None),
            Input("lut", "table", "with relight, a table of colours to take instead", least=0),
        ),
        "film",
        "video.animation:Animation",
        "painted",
    ),
    "train": Operation(
        TrainOptions,
        (
            Input("styles", "picture", "pictures to learn", most=None),
            Input("photos", "folder", "photographs to learn from"),
            Input("start", "model", "a network to start from", least=0),
            Input("names", "name", "the styles' names", 0, None),
        ),
        "model",
        "instant.training:Training",
    ),
    "export": Operation(
        ExportOptions,
        (Input("style", "picture", "the styles; with a model, names of its own", 0, None, True),),
        "file",
        "instant.export_work:Export",
        "wrote",
    ),
    "texture": Operation(
        TextureOptions,
        (Input("style", "picture", "the picture of the texture"),),
        "picture",
        "lab.texture:Texture",
    ),
    "invert": Operation(InvertOptions, (PHOTO,), "picture", "lab.inversion:Inversion"),
    "invert-layers": Operation(
        InvertOptions, (PHOTO,), "folder", "lab.layer_inversions:Inversions"
    ),
    "dream": Operation(
        DreamOptions,
        (Input("content", "picture", "what to start from; noise, if not given", least=0),),
        "picture",
        "lab.dream:Dream",
    ),
    "features": Operation(FeaturesOptions, (PHOTO,), "folder", "lab.feature_maps:Features"),
    "sweep": Operation(SweepOptions, (PHOTO, STYLES), "folder", "lab.sweep:Sweep"),
    "study": Operation(
        SweepOptions,
        (Input("subject", "name", "which of the papers' figures"), PHOTO, STYLES),
        "folder",
        "lab.studies:Study",
    ),
    "tune": Operation(TuneOptions, (PHOTO, STYLES), "folder", "lab.tuning:Tuning"),
    "augment": Operation(
        AugmentOptions,
        (
            Input("source", "labelled set", "a folder of classes, or a CSV"),
            Input("styles", "picture", "pictures to paint after", 0, None),
        ),
        "folder",
        "datasets.augmentation:Augmentation",
    ),
    "report": Operation(
        ReportOptions,
        (Input("folder", "folder", "what study, sweep or tune made"),),
        "file",
        "lab.report:Report",
    ),
}
DEFAULT_OPERATION = "paint"  # what made a recipe that does not say


def find_operation(name: str) -> Operation:
    """Return the operation of that name."""
    if name not in OPERATIONS:
        raise OptionError(f"unknown operation {name!r}{suggest(name, OPERATIONS)}")
    return OPERATIONS[name]
