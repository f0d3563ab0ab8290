"""A picture: float RGB (1, 3, H, W) in [0, 1], its alpha beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class Picture:
    """A picture as every other room takes it."""

    pixels: Tensor  # (1, 3, H, W) float32 sRGB in [0, 1]
    alpha: Tensor | None = None  # (1, 1, H, W) in [0, 1], None when opaque everywhere
    notes: tuple[str, ...] = ()  # what was done in the user's stead, one short line each
    name: str = "picture"  # file name without folders, for messages

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), as PIL has it."""
        return self.pixels.shape[-1], self.pixels.shape[-2]


ImageSource = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor | Picture
