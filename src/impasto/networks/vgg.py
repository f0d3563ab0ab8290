"""VGG-shaped networks: a picture in, ``{layer: features}`` out.

One description (convolutions per block, channels per block) serves VGG-16, VGG-19 and the compact
VGG-19 that travels with the package. Pictures are RGB in [0, 1], (N, 3, H, W); what a weight file
wants instead (BGR, 0 … 255, a mean taken off) is an affine map of colour that the file carries as
``preprocess``, so that every caller sees the same kind of picture. Features at ``conv4_2`` and
``relu4_2`` are (N, C, H/8, W/8).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from impasto.errors import ImageError, OptionError, WeightsError, suggest
from impasto.networks.frozen_gradient import FrozenPass, fold_border, mask_gradient
from impasto.networks.layers import Architecture, Padding, block_of, resolve_layer
from impasto.networks.reflection import ReflectedConv
from impasto.system.checkpoints import fingerprint
from impasto.system.devices import MEMORY_LAYOUTS, Machine

POOLINGS = ("max", "avg")


class Backbone(nn.Module):
    """A VGG that gives the features of any set of its layers and computes none deeper."""

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
        self.layout = MEMORY_LAYOUTS["channels_last"]
        self.preprocess = nn.Conv2d(3, 3, 1)
        self.convs = nn.ModuleDict(
            {
                name: ReflectedConv(shape[1], shape[0], 3, padding=1)
                if padding == "reflect"
                else nn.Conv2d(shape[1], shape[0], 3, padding=1, padding_mode=padding)
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
        """Return a frozen network of ``conv1_1.weight`` … and ``preprocess``.

        A file may end early (the convolutions that it lacks cannot be asked for); what it has must
        have the architecture's shapes.
        """
        with torch.device("meta"):  # nothing is drawn from torch's random numbers
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
            state = {part: copy_float32(tensors[f"{name}.{part}"]) for part in ("weight", "bias")}
            module.load_state_dict(state, assign=True)
        backbone.requires_grad_(False).eval()
        for conv in backbone.convs.values():
            # The backward convolution's kernel: rotated by 180 degrees, in and out exchanged.
            weight: Tensor = conv.weight  # type: ignore[assignment]
            rotated = weight.flip(2, 3).transpose(0, 1).contiguous()
            conv.register_buffer("rotated", rotated, persistent=False)
        return backbone

    def place(self, machine: Machine) -> Self:
        """Move the network to its device, the convolutions to its precision and layout.

        The affine map of a picture's colours stays float32.
        """
        self.layout = MEMORY_LAYOUTS[machine.layout]
        self.to(machine.device)
        self.convs.to(dtype=machine.precision, memory_format=self.layout)  # type: ignore[call-overload]
        return self

    def fingerprint(self) -> str:
        """Return a digest of the weights that it computes with."""
        return fingerprint(self.padding, self.state_dict().values())

    def resolve(self, layer: str) -> str:
        """Return the layer's one name; raise where this network does not reach that far."""
        name = resolve_layer(layer, self.architecture)
        if name.replace("relu", "conv") not in self.convs:
            last = list(self.convs)[-1]
            raise OptionError(
                f"these {self.architecture.name} weights end at {last}, before {name}"
            )
        return name

    def count_channels(self, layer: str) -> int:
        """Return how many channels the layer's features have."""
        return self.architecture.channels[block_of(layer) - 1]

    def smallest_side(self, layer: str) -> int:
        """Return the shortest side of a picture that still reaches ``layer``."""
        # Reflection needs a second pixel to reflect.
        return (2 if self.padding == "reflect" else 1) << (block_of(layer) - 1)

    def check_size(self, width: int, height: int, layer: str) -> None:
        """Raise where a picture of that size does not reach ``layer``."""
        least = self.smallest_side(layer)
        if min(width, height) < least:
            raise ImageError(
                f"a picture of {width} x {height} is too small for layer {layer} of "
                f"{self.architecture.name}, which needs at least {least} x {least}"
            )

    def deepest(self, layers: Iterable[str]) -> str:
        """Return the one of the named layers that is computed last."""
        return max(layers, key=self.architecture.layers().index)

    def path(self, layer: str) -> list[str]:
        """Return the operations before ``layer``: 3x3 "conv"s and 2x2 "pool"s."""
        path, block = [], 1
        for conv in self.architecture.convs():
            if block_of(conv) != block:
                path.append("pool")
                block = block_of(conv)
            path.append("conv")
            if conv == layer.replace("relu", "conv"):
                break
        return path

    def count_features(self, layers: Iterable[str]) -> tuple[float, float]:
        """Return how many values a pixel makes on the way to the layers: in all, most at once."""
        deepest = self.deepest(layers).replace("relu", "conv")
        counts = []
        for conv in self.architecture.convs():
            block = block_of(conv) - 1
            counts.append(self.architecture.channels[block] / 4**block)
            if conv == deepest:
                break
        return sum(counts), max(counts)

    def forward(self, pictures: Tensor, layers: Iterable[str]) -> dict[str, Tensor]:
        """Return features of the named layers (canonical names), computed no deeper than needed."""
        wanted = set(layers)
        deepest = self.deepest(wanted)
        self.check_size(pictures.shape[-1], pictures.shape[-2], deepest)
        x = self.preprocess(pictures.contiguous(memory_format=self.layout))
        x = x.to(self.convs["conv1_1"].weight.dtype)
        learns = any(each.requires_grad for each in self.convs.parameters())
        if "rotated" in self.convs["conv1_1"]._buffers and not learns:
            names = tuple(wanted)
            return dict(zip(names, FrozenPass.apply(x, self, names), strict=True))  # type: ignore[no-untyped-call]
        features: dict[str, Tensor] = {}
        for _ in self.walk(x, wanted, features):
            pass
        return features

    def walk(
        self, x: Tensor, wanted: Collection[str], features: dict[str, Tensor]
    ) -> Iterator[Tensor]:
        """Yield what each convolution's ReLU gives, no deeper than is wanted.

        The layers wanted are put into ``features``.
        """
        deepest, block = self.deepest(wanted), 1
        for conv, module in self.convs.items():
            if block_of(conv) != block:
                x, block = self.pool(x), block_of(conv)
            x = module(x)
            relu = conv.replace("conv", "relu")
            if conv in wanted:
                features[conv] = x
                x = functional.relu(x)
            else:
                x = functional.relu(x, inplace=True)
            if relu in wanted:
                features[relu] = x
            yield x
            if deepest in (conv, relu):
                break

    def pool(self, x: Tensor) -> Tensor:
        """Return features at half the size, rounded up."""
        pool = functional.max_pool2d if self.pooling == "max" else functional.avg_pool2d
        # ceil_mode, where the published nets drop an odd last row or column: pixels that no loss
        # sees would be a frame at the picture's border.
        return pool(x, 2, ceil_mode=True)

    def convolve_back(self, conv: str, gradient: Tensor) -> Tensor:
        """Return the gradient of a convolution's input, given that of its output."""
        rotated: Tensor = self.convs[conv].rotated  # type: ignore[assignment]
        if self.padding == "zeros":
            return functional.conv2d(gradient, rotated, padding=1)
        return fold_border(functional.conv2d(gradient, rotated, padding=2), self.padding)

    def pool_back(self, x: Tensor, gradient: Tensor) -> Tensor:
        """Return the gradient of a pool's input ``x``, given that of its output."""
        if self.pooling == "avg":
            wide: Tensor = torch.ops.aten.avg_pool2d_backward(
                gradient, x, [2], [2], [0], True, True, None
            )
            return wide
        # Again: to keep which were the largest takes twice the memory of what they are.
        y, largest = functional.max_pool2d(x, 2, ceil_mode=True, return_indices=True)
        gradient = mask_gradient(gradient, y, gradient)
        wide = torch.ops.aten.max_pool2d_with_indices_backward(
            gradient, x, [2], [2], [0], [1], True, largest
        )
        return wide  # noqa: RET504


def copy_float32(tensor: Tensor) -> Tensor:
    """Return a copy in float32, contiguous."""
    return tensor.detach().to(torch.float32, copy=True, memory_format=torch.contiguous_format)
