"""Pictures without transparency, as networks see them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from impasto.images.opening import DEFAULT_MEGAPIXELS
from impasto.images.picture import ImageSource, Picture
from impasto.images.reading import read_image


def fill_transparent(pixels: Tensor, alpha: Tensor | None) -> Tensor:
    """Return pixels whose wholly transparent ones have the mean colour of the others.

    What hides there must not be resized, or seen by a network, into what is visible.
    """
    if alpha is None:
        return pixels
    mean = (pixels * alpha).sum((2, 3), keepdim=True) / alpha.sum().clamp_min(1e-12)
    return torch.where(alpha > 0, pixels, mean)


def make_opaque(picture: Picture) -> Picture:
    """Return a picture as a network sees it, without transparency."""
    if picture.alpha is None:
        return picture
    filled = fill_transparent(picture.pixels, picture.alpha)
    note = "what is wholly transparent is seen in the mean colour of the rest"
    return replace(picture, pixels=filled, alpha=None, notes=(*picture.notes, note))


def read_opaque(source: ImageSource, max_megapixels: float = DEFAULT_MEGAPIXELS) -> Picture:
    """Return a picture with nothing hidden in what is transparent."""
    return make_opaque(read_image(source, max_megapixels=max_megapixels))
