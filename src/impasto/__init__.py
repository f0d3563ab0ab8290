"""Impasto paints photographs in the manner of a picture.

>>> import impasto
>>> painting = impasto.paint("photo.jpg", "picture.jpg", {"size": 512})
>>> painting.save("painted.png")
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from impasto.augmentation import Augmentation as Augmentation
    from impasto.augmentation import augment as augment
    from impasto.backbones import Backbone as Backbone
    from impasto.errors import ImpastoError as ImpastoError
    from impasto.explore import Dream as Dream
    from impasto.explore import Inversion as Inversion
    from impasto.explore import Texture as Texture
    from impasto.explore import dream as dream
    from impasto.explore import invert as invert
    from impasto.explore import texture as texture
    from impasto.feature_maps import Features as Features
    from impasto.feature_maps import features as features
    from impasto.images import Picture as Picture
    from impasto.images import read_image as read_image
    from impasto.images import write_image as write_image
    from impasto.instant import Instant as Instant
    from impasto.instant_options import InstantOptions as InstantOptions
    from impasto.instant_options import TrainOptions as TrainOptions
    from impasto.inversions import Inversions as Inversions
    from impasto.inversions import invert_layers as invert_layers
    from impasto.lab_options import AugmentOptions as AugmentOptions
    from impasto.lab_options import DreamOptions as DreamOptions
    from impasto.lab_options import FeaturesOptions as FeaturesOptions
    from impasto.lab_options import InvertOptions as InvertOptions
    from impasto.lab_options import SweepOptions as SweepOptions
    from impasto.lab_options import TextureOptions as TextureOptions
    from impasto.lab_options import TuneOptions as TuneOptions
    from impasto.options import PaintOptions as PaintOptions
    from impasto.painter import Painter as Painter
    from impasto.painter import paint as paint
    from impasto.paintings import Painting as Painting
    from impasto.paintings import Step as Step
    from impasto.report import write_report as write_report
    from impasto.sweeps import Study as Study
    from impasto.sweeps import Sweep as Sweep
    from impasto.sweeps import study as study
    from impasto.sweeps import sweep as sweep
    from impasto.targets import Targets as Targets
    from impasto.tuning import Tuning as Tuning
    from impasto.tuning import tune as tune
    from impasto.weights import load_backbone as load_backbone
    from impasto.yardstick import Yardstick as Yardstick

# Torch reads this when it is imported: huge pages for large tensors, where the system has them.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# Where each public name lives: torch is imported when the first of them is used, not before.
_ROOMS = {
    "augment": "augmentation",
    "Augmentation": "augmentation",
    "AugmentOptions": "lab_options",
    "Backbone": "backbones",
    "Dream": "explore",
    "dream": "explore",
    "DreamOptions": "lab_options",
    "Features": "feature_maps",
    "features": "feature_maps",
    "FeaturesOptions": "lab_options",
    "ImpastoError": "errors",
    "Instant": "instant",
    "InstantOptions": "instant_options",
    "Inversion": "explore",
    "Inversions": "inversions",
    "invert": "explore",
    "invert_layers": "inversions",
    "InvertOptions": "lab_options",
    "load_backbone": "weights",
    "paint": "painter",
    "Painter": "painter",
    "Painting": "paintings",
    "PaintOptions": "options",
    "Picture": "images",
    "read_image": "images",
    "Step": "paintings",
    "Study": "sweeps",
    "study": "sweeps",
    "Sweep": "sweeps",
    "sweep": "sweeps",
    "SweepOptions": "lab_options",
    "Targets": "targets",
    "Texture": "explore",
    "texture": "explore",
    "TextureOptions": "lab_options",
    "TrainOptions": "instant_options",
    "tune": "tuning",
    "TuneOptions": "lab_options",
    "Tuning": "tuning",
    "write_image": "images",
    "write_report": "report",
    "Yardstick": "yardstick",
}

__all__ = sorted(_ROOMS)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("impasto")
    if name in _ROOMS:
        return getattr(import_module(f"impasto.{_ROOMS[name]}"), name)
    raise AttributeError(f"module 'impasto' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
