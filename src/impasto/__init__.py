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
    from impasto.datasets.augmentation import Augmentation as Augmentation
    from impasto.datasets.augmentation import augment as augment
    from impasto.datasets.options import AugmentOptions as AugmentOptions
    from impasto.errors import ImpastoError as ImpastoError
    from impasto.images.picture import Picture as Picture
    from impasto.images.reading import read_image as read_image
    from impasto.images.writing import write_image as write_image
    from impasto.instant.options import InstantOptions as InstantOptions
    from impasto.instant.options import TrainOptions as TrainOptions
    from impasto.instant.painter import Instant as Instant
    from impasto.lab.distances import Yardstick as Yardstick
    from impasto.lab.dream import Dream as Dream
    from impasto.lab.dream import dream as dream
    from impasto.lab.feature_maps import Features as Features
    from impasto.lab.feature_maps import features as features
    from impasto.lab.inversion import Inversion as Inversion
    from impasto.lab.inversion import invert as invert
    from impasto.lab.layer_inversions import Inversions as Inversions
    from impasto.lab.layer_inversions import invert_layers as invert_layers
    from impasto.lab.options import DreamOptions as DreamOptions
    from impasto.lab.options import FeaturesOptions as FeaturesOptions
    from impasto.lab.options import InvertOptions as InvertOptions
    from impasto.lab.options import SweepOptions as SweepOptions
    from impasto.lab.options import TextureOptions as TextureOptions
    from impasto.lab.options import TuneOptions as TuneOptions
    from impasto.lab.report import write_report as write_report
    from impasto.lab.studies import Study as Study
    from impasto.lab.studies import study as study
    from impasto.lab.sweep import Sweep as Sweep
    from impasto.lab.sweep import sweep as sweep
    from impasto.lab.texture import Texture as Texture
    from impasto.lab.texture import texture as texture
    from impasto.lab.tuning import Tuning as Tuning
    from impasto.lab.tuning import tune as tune
    from impasto.networks.vgg import Backbone as Backbone
    from impasto.networks.weights import load_backbone as load_backbone
    from impasto.painting.options import PaintOptions as PaintOptions
    from impasto.painting.painter import Painter as Painter
    from impasto.painting.painter import paint as paint
    from impasto.painting.result import Painting as Painting
    from impasto.painting.style_cache import Targets as Targets
    from impasto.photoreal.options import RelightOptions as RelightOptions
    from impasto.photoreal.relight import Relight as Relight
    from impasto.photoreal.relight import relight as relight
    from impasto.video.animation import Animation as Animation
    from impasto.video.animation import animate as animate
    from impasto.video.live import FramePainter as FramePainter
    from impasto.video.options import AnimateOptions as AnimateOptions
    from impasto.work import Step as Step

# Torch reads this when it is imported: huge pages for large tensors, where the system has them.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# Where each public name lives: torch is imported when the first of them is used, not before.
_ROOMS = {
    "animate": "video.animation",
    "AnimateOptions": "video.options",
    "Animation": "video.animation",
    "augment": "datasets.augmentation",
    "Augmentation": "datasets.augmentation",
    "AugmentOptions": "datasets.options",
    "Backbone": "networks.vgg",
    "Dream": "lab.dream",
    "dream": "lab.dream",
    "DreamOptions": "lab.options",
    "Features": "lab.feature_maps",
    "FramePainter": "video.live",
    "features": "lab.feature_maps",
    "FeaturesOptions": "lab.options",
    "ImpastoError": "errors",
    "Instant": "instant.painter",
    "InstantOptions": "instant.options",
    "Inversion": "lab.inversion",
    "Inversions": "lab.layer_inversions",
    "invert": "lab.inversion",
    "invert_layers": "lab.layer_inversions",
    "InvertOptions": "lab.options",
    "load_backbone": "networks.weights",
    "paint": "painting.painter",
    "Painter": "painting.painter",
    "Painting": "painting.result",
    "PaintOptions": "painting.options",
    "Picture": "images.picture",
    "read_image": "images.reading",
    "Relight": "photoreal.relight",
    "relight": "photoreal.relight",
    "RelightOptions": "photoreal.options",
    "Step": "painting.result",
    "Study": "lab.studies",
    "study": "lab.studies",
    "Sweep": "lab.sweep",
    "sweep": "lab.sweep",
    "SweepOptions": "lab.options",
    "Targets": "painting.style_cache",
    "Texture": "lab.texture",
    "texture": "lab.texture",
    "TextureOptions": "lab.options",
    "TrainOptions": "instant.options",
    "tune": "lab.tuning",
    "TuneOptions": "lab.options",
    "Tuning": "lab.tuning",
    "write_image": "images.writing",
    "write_report": "lab.report",
    "Yardstick": "lab.distances",
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
