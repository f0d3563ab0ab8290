"""A picture: float RGB (1, 3, H, W) in [0, 1], its alpha beside it, and what it is known by."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image
from torch import Tensor

_DIGEST_LENGTH = (
    16  # hex digits: recipes are read by people, and nobody forges photographs for them
)
_LARGEST_HASHED = 2**30  # bytes of a file; no picture is larger, but a file may go on without end


@dataclass(frozen=True)
class Picture:
    """A picture as every other room takes it."""

    pixels: Tensor  # (1, 3, H, W) float32 sRGB in [0, 1]
    alpha: Tensor | None = None  # (1, 1, H, W) in [0, 1], None when opaque everywhere
    notes: tuple[str, ...] = ()  # what was done in the user's stead, one short line each
    name: str = "picture"  # file name without folders, for messages
    digest: str = ""  # what recipes know it by, beside its name, if it came from a file
    depth: int = 8  # bits of a value as its file had them: 8, or 16 if there were more

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), as PIL has it."""
        return self.pixels.shape[-1], self.pixels.shape[-2]

    def hash_pixels(self) -> str:
        """Return a digest of pixels and alpha."""
        digest = hashlib.sha256(repr(self.size).encode())
        for tensor in (self.pixels, self.alpha):
            if tensor is not None:
                digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:_DIGEST_LENGTH]


def describe_pictures(
    pictures: InputPictures,
) -> tuple[dict[str, str | list[str]], dict[str, str | list[str]]]:
    """Return what recipes say of pictures: their names, and their digests."""
    names: dict[str, str | list[str]] = {}
    digests: dict[str, str | list[str]] = {}
    for kind, given in pictures.items():
        if isinstance(given, Picture):
            names[kind], digests[kind] = given.name, given.digest
        else:
            names[kind] = [each.name for each in given]
            digests[kind] = [each.digest for each in given]
    return names, digests


def hash_picture_file(file: BinaryIO) -> str:
    """Return the digest that a picture from this open file has."""
    file.seek(0)
    digest, left = hashlib.sha256(), _LARGEST_HASHED
    while left > 0 and (piece := file.read(1 << 20)):
        digest.update(piece)
        left -= len(piece)
    return digest.hexdigest()[:_DIGEST_LENGTH]


ImageSource = str | os.PathLike[str] | Image.Image | np.ndarray | Tensor | Picture
InputPictures = Mapping[str, Picture | Sequence[Picture]]  # "content", "style" -> what goes in
