"""VGG-shaped networks: a picture in, ``{layer: features}`` out.

One description (convolutions per block, channels per block) serves VGG-16, VGG-19 and the compact
VGG-19 that travels with the package. Pictures are RGB in [0, 1], (N, 3, H, W); what a weight file
wants instead (BGR, 0 … 255, a mean taken off) is an affine map of colour that the file carries as
``preprocess``, so that every caller sees the same kind of picture. Features at ``conv4_2`` and
``relu4_2`` are (N, C, H/8, W/8).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional

from impasto.errors import ImageError, OptionError, WeightsError, suggest


@dataclass(frozen=True)
class Architecture:
    """A VGG: how many 3x3 convolutions each block has, and how many channels they give."""

    name: str
    convolutions: tuple[int, ...]
    channels: tuple[int, ...]

    def convs(self) -> list[str]:
        """``conv1_1`` … in the order they are computed."""
        return [
            f"conv{block}_{i}"
            for block, count in enumerate(self.convolutions, 1)
            for i in range(1, count + 1)
        ]

    def layers(self) -> list[str]:
        """Every name that features can be asked for by, in the order they are computed."""
        names = []
        for conv in self.convs():
            names += [conv, conv.replace("conv", "relu")]
        return names

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every convolution's weight."""
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
POOLINGS = ("max", "avg")

# Measured peaks: features, their gradients and what convolutions borrow; and, for each pixel, the
# picture's own copies and L-BFGS' history.
FEATURE_COPIES = 3.4
BYTES_OF_PIXEL = 300

_KERAS = re.compile(r"block(\d)_conv(\d)")
_SHORT = re.compile(r"(c|co|con|conv|r|re|rel|relu)(\d_\d)")


def block_of(layer: str) -> int:
    """4 for ``relu4_2``."""
    return int(layer[4])


def resolve_layer(name: str, architecture: Architecture) -> str:
    """The layer meant by ``relu4_2``, ``r4_2`` or Keras' ``block4_conv2``."""
    known = architecture.layers()
    wanted = name.strip().lower()
    if keras := _KERAS.fullmatch(wanted):
        # Keras' convolutions have their ReLU inside: what they give is relu, not conv.
        wanted = f"relu{keras[1]}_{keras[2]}"
    elif short := _SHORT.fullmatch(wanted):
        wanted = ("conv" if short[1].startswith("c") else "relu") + short[2]
    if wanted not in known:
        hint = suggest(wanted, known)
        raise OptionError(f"unknown layer {name!r} for {architecture.name}{hint}")
    return wanted


class Backbone(nn.Module):
    """A VGG that gives the features of any set of its layers and computes none below them."""

    def __init__(
        self,
        architecture: Architecture,
        *,
        padding: Padding = "zeros",
        pooling: str = "max",
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise OptionError(f"unknown pooling {pooling!r}{suggest(pooling, POOLINGS)}")
        self.architecture = architecture
        self.padding = padding
        self.pooling = pooling
        self.preprocess = nn.Conv2d(3, 3, 1)
        self.convs = nn.ModuleDict(
            {
                name: nn.Conv2d(shape[1], shape[0], 3, padding=1, padding_mode=padding)
                for name, shape in architecture.shapes().items()
            }
        )

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Tensor],
        architecture: Architecture,
        *,
        padding: Padding = "zeros",
        pooling: str = "max",
    ) -> Backbone:
        """A frozen network from ``conv1_1.weight`` … and ``preprocess``.

        A file may end early (the convolutions that it lacks cannot be asked for); what it has must
        have the architecture's shapes.
        """
        backbone = cls(architecture, padding=padding, pooling=pooling)
        wrong = [
            f"{conv}.weight is {tuple(tensors[f'{conv}.weight'].shape)}, not {shape}"
            for conv, shape in architecture.shapes().items()
            if f"{conv}.weight" in tensors and tensors[f"{conv}.weight"].shape != shape
        ]
        if wrong:
            raise WeightsError(f"these are not weights of {architecture.name}: {wrong[0]}")
        for name, module in [("preprocess", backbone.preprocess), *backbone.convs.items()]:
            if f"{name}.weight" not in tensors:
                if name in ("preprocess", "conv1_1"):
                    raise WeightsError(f"these weights have no {name}.weight")
                for late in architecture.convs()[architecture.convs().index(name) :]:
                    del backbone.convs[late]
                break
            state = {part: tensors[f"{name}.{part}"].float() for part in ("weight", "bias")}
            module.load_state_dict(state)
        return backbone.requires_grad_(False).eval()

    def resolve(self, layer: str) -> str:
        """The layer's one name; an error where this network does not reach that far."""
        name = resolve_layer(layer, self.architecture)
        if name.replace("relu", "conv") not in self.convs:
            last = list(self.convs)[-1]
            raise OptionError(
                f"these {self.architecture.name} weights end at {last}, before {name}"
            )
        return name

    def smallest_side(self, layer: str) -> int:
        """The shortest side of a picture that still reaches ``layer``."""
        # Reflection needs a second pixel to reflect.
        return (2 if self.padding == "reflect" else 1) << (block_of(layer) - 1)

    def check_size(self, width: int, height: int, layer: str) -> None:
        """An error where a picture of that size does not reach ``layer``."""
        least = self.smallest_side(layer)
        if min(width, height) < least:
            raise ImageError(
                f"a picture of {width} x {height} is too small for layer {layer} of "
                f"{self.architecture.name}, which needs at least {least} x {least}"
            )

    def deepest(self, layers: Iterable[str]) -> str:
        """The last of the named layers to be computed."""
        return max(layers, key=self.architecture.layers().index)

    def path(self, layer: str) -> list[str]:
        """What a picture goes through on its way to ``layer``: 3x3 "conv"s and 2x2 "pool"s."""
        path, block = [], 1
        for conv in self.architecture.convs():
            if block_of(conv) != block:
                path.append("pool")
                block = block_of(conv)
            path.append("conv")
            if conv == layer.replace("relu", "conv"):
                break
        return path

    def bytes_per_pixel(self, layers: Iterable[str]) -> float:
        """Memory that one pixel costs while a gradient is taken, to about a tenth."""
        deepest = self.deepest(layers).replace("relu", "conv")
        floats = 0.0
        for conv in self.architecture.convs():
            floats += self.architecture.channels[block_of(conv) - 1] / 4 ** (block_of(conv) - 1)
            if conv == deepest:
                break
        return floats * 4 * FEATURE_COPIES + BYTES_OF_PIXEL

    def forward(self, pictures: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Features of the named layers (canonical names), computed no deeper than they are."""
        wanted = set(layers)
        deepest = self.deepest(wanted)
        self.check_size(pictures.shape[-1], pictures.shape[-2], deepest)
        features: dict[str, Tensor] = {}
        x = self.preprocess(pictures)
        block = 1
        for conv, module in self.convs.items():
            if block_of(conv) != block:
                pool = functional.max_pool2d if self.pooling == "max" else functional.avg_pool2d
                # ceil_mode, where the published nets let go of an odd last row or column: unseen
                # pixels would be a frame at the picture's border.
                x, block = pool(x, 2, ceil_mode=True), block_of(conv)
            x = module(x)
            relu = conv.replace("conv", "relu")
            if conv in wanted:
                features[conv] = x
                x = functional.relu(x)
            else:
                x = functional.relu(x, inplace=True)
            if relu in wanted:
                features[relu] = x
            if deepest in (conv, relu):
                break
        return features
