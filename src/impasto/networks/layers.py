"""The names of layers, and which of them each network has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from impasto.errors import OptionError, suggest


@dataclass(frozen=True)
class Architecture:
    """A VGG: how many 3x3 convolutions each block has, and how many channels they give."""

    name: str
    convolutions: tuple[int, ...]
    channels: tuple[int, ...]

    def convs(self) -> list[str]:
        """Return ``conv1_1`` … in the order they are computed."""
        return [
            f"conv{block}_{i}"
            for block, count in enumerate(self.convolutions, 1)
            for i in range(1, count + 1)
        ]

    def layers(self) -> list[str]:
        """Return every name of a layer, in the order they are computed."""
        names = []
        for conv in self.convs():
            names += [conv, conv.replace("conv", "relu")]
        return names

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every convolution's weight."""
        shapes: dict[str, tuple[int, ...]] = {}
        entering = 3
        for conv in self.convs():
            leaving = self.channels[block_of(conv) - 1]
            shapes[conv] = (leaving, entering, 3, 3)
            entering = leaving
        return shapes


BACKBONES = {
    "compact": Architecture("compact", (2, 2, 4, 4, 4), (16, 32, 64, 128, 128)),
    "vgg19": Architecture("vgg19", (2, 2, 4, 4, 4), (64, 128, 256, 512, 512)),
    "vgg16": Architecture("vgg16", (2, 2, 3, 3, 3), (64, 128, 256, 512, 512)),
}

Padding = Literal["zeros", "reflect", "replicate"]
PADDINGS: tuple[Padding, ...] = get_args(Padding)

_KERAS = re.compile(r"block(\d)_conv(\d)")
_SHORT = re.compile(r"(c|co|con|conv|r|re|rel|relu)(\d_\d)")


def block_of(layer: str) -> int:
    """Return 4 for ``relu4_2``."""
    return int(layer[4])


def resolve_layer(name: str, architecture: Architecture) -> str:
    """Return the layer meant by ``relu4_2``, ``r4_2`` or Keras' ``block4_conv2``."""
    known = architecture.layers()
    wanted = name.strip().lower()
    if keras := _KERAS.fullmatch(wanted):
        # Keras' convolutions include their ReLU: their output is relu, not conv.
        wanted = f"relu{keras[1]}_{keras[2]}"
    elif short := _SHORT.fullmatch(wanted):
        wanted = ("conv" if short[1].startswith("c") else "relu") + short[2]
    if wanted not in known:
        hint = suggest(wanted, known)
        raise OptionError(f"unknown layer {name!r} for {architecture.name}{hint}")
    return wanted
