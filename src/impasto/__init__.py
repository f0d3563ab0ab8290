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
    from impasto.backbones import Backbone as Backbone
    from impasto.errors import ImpastoError as ImpastoError
    from impasto.images import Picture as Picture
    from impasto.images import read_image as read_image
    from impasto.images import write_image as write_image
    from impasto.options import PaintOptions as PaintOptions
    from impasto.painter import Painter as Painter
    from impasto.painter import paint as paint
    from impasto.paintings import Painting as Painting
    from impasto.paintings import Step as Step
    from impasto.targets import Targets as Targets
    from impasto.weights import load_backbone as load_backbone

# Torch reads this when it is imported: huge pages for large tensors, where the system has them.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

# Where each public name lives: torch is imported when the first of them is used, not before.
_ROOMS = {
    "Backbone": "backbones",
    "ImpastoError": "errors",
    "Painter": "painter",
    "Painting": "paintings",
    "PaintOptions": "options",
    "Picture": "images",
    "Step": "paintings",
    "Targets": "targets",
    "load_backbone": "weights",
    "paint": "painter",
    "read_image": "images",
    "write_image": "images",
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
