"""The publishers of VGG weights: their keys, file formats and preprocessing.

Each `FileLayout` says how one publisher names the convolutions and which colours they expect. A
file in any of them becomes tensors under our names: ``conv1_1.weight`` …, ``preprocess`` and
``fc6`` … .
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from impasto.errors import WeightsError
from impasto.networks.layers import Architecture, block_of
from impasto.system.optional import require

Tensors = dict[str, Tensor]
Words = dict[str, str]


def number_convs(pattern: str, first: int, step: int, architecture: Architecture) -> list[str]:
    """Return the keys of convolutions in an ``nn.Sequential``, where pools count too."""
    convs = enumerate(architecture.convs())
    return [pattern.format(first + step * i + block_of(conv) - 1) for i, conv in convs]


@dataclass(frozen=True)
class FileLayout:
    """A publisher's keys, and the picture wanted: ``scale[c] * rgb[order[c]] - shift[c]``."""

    convs: Callable[[Architecture], list[str]]
    order: tuple[int, int, int] = (2, 1, 0)
    scale: tuple[float, float, float] = (255.0, 255.0, 255.0)
    shift: tuple[float, float, float] = (103.939, 116.779, 123.68)
    preprocess: str = ""  # the key of the file's own map of colour
    classifiers: tuple[tuple[str, str], ...] = ()
    extras: tuple[str, ...] = ()
    may_end_early: bool = False

    def preprocessing(self) -> Tensors:
        """Return the affine map from RGB in [0, 1] to the colours that the weights expect."""
        weight = torch.zeros(3, 3, 1, 1)
        weight[range(3), self.order, 0, 0] = torch.tensor(self.scale)
        return {"preprocess.weight": weight, "preprocess.bias": -torch.tensor(self.shift)}


# torchvision numbers its linear layers 0, 3, 6; the files converted from Caffe say 1, 4, 6.
_CLASSIFIERS = tuple((f"classifier.{i}", f"fc{6 + i // 3}") for i in (0, 1, 3, 4, 6))
_FEATURES = partial(number_convs, "features.{}", 0, 2)  # convolution, ReLU

# fmt: off
FILE_LAYOUTS: dict[str, FileLayout] = {
    "torchvision": FileLayout(_FEATURES, scale=(1 / 0.229, 1 / 0.224, 1 / 0.225), order=(0, 1, 2),
                          shift=(0.485 / 0.229, 0.456 / 0.224, 0.406 / 0.225),
                          classifiers=_CLASSIFIERS),
    "caffe": FileLayout(_FEATURES, classifiers=_CLASSIFIERS),
    "keras": FileLayout(lambda vgg: [f"block{conv[4]}_conv{conv[6]}" for conv in vgg.convs()]),
    "gatys": FileLayout(Architecture.convs,
                    shift=(255 * 0.40760392, 255 * 0.45795686, 255 * 0.48501961)),
    # Reflection, convolution, ReLU; the map of colour is the first of all.
    "normalised": FileLayout(partial(number_convs, "{}", 2, 3), preprocess="0", may_end_early=True),
    "impasto": FileLayout(Architecture.convs, preprocess="preprocess", may_end_early=True,
                      classifiers=(("fc6", "fc6"), ("fc7", "fc7"), ("fc8", "fc8")),
                      extras=("to_vgg19.", "head.")),
}
# fmt: on


def read_keras(path: Path) -> Tensors:
    """Return ``block1_conv1.weight`` (out, in, h, w) … from Keras' (h, w, in, out), old or new."""
    h5py = require("h5py", "reading .h5 needs h5py", extra="keras")
    tensors: Tensors = {}

    def take(key: str, item: object) -> None:
        found = re.search(r"(block\d_conv\d)[/_](W_1|b_1|kernel|bias)(:0)?$", key)
        if found and isinstance(item, h5py.Dataset):
            value = torch.from_numpy(item[()])
            part = "weight" if found[2] in ("W_1", "kernel") else "bias"
            tensors[f"{found[1]}.{part}"] = value.permute(3, 2, 0, 1) if value.ndim == 4 else value

    with h5py.File(path, "r") as file:
        file.visititems(take)
    return tensors


def read_safetensors(path: Path, prefixes: tuple[str, ...] = ("",)) -> tuple[Tensors, Words]:
    """Read the tensors whose names begin so, and no others, and the metadata."""
    with safe_open(path, framework="pt") as file:
        keys = [key for key in file.keys() if key.startswith(prefixes)]  # noqa: SIM118
        return {key: file.get_tensor(key) for key in keys}, file.metadata() or {}


def read_tensors(path: Path, label: str) -> tuple[Tensors, Words]:
    """Read tensors and metadata in the format that the first bytes say; run no pickle."""
    with path.open("rb") as file:
        start = file.read(9)
    try:
        if start.startswith(b"\x89HDF"):
            return read_keras(path), {}
        if start[8:] == b"{":  # safetensors: the length of a header, then the header in JSON
            return read_safetensors(path)
        # Old files are bare pickles; only newer ones, zips, can be mapped instead of read.
        mapped = start.startswith(b"PK")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old formats, which are stored as safetensors now
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError:  # torch's own message would tell people to run the pickle
        raise WeightsError(f"{label} is no weight file, or holds more than tensors") from None
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0] or "it ends too soon"
        raise WeightsError(f"{label} is damaged: {reason}") from None
    if isinstance(content, dict) and all(isinstance(t, Tensor) for t in content.values()):
        return {str(key): tensor.detach() for key, tensor in content.items()}, {}
    raise WeightsError(f"{label} is not a table of tensors by name")


def rename_tensors(tensors: Tensors, layout: FileLayout, vgg: Architecture) -> tuple[Tensors, str]:
    """Return what fits that layout under our names, and in words what does not."""
    ours = dict(zip(layout.convs(vgg), vgg.convs(), strict=True))
    ends = [i for i, prefix in enumerate(ours, 1) if f"{prefix}.weight" in tensors]
    if layout.may_end_early and ends:
        ours = dict(list(ours.items())[: ends[-1]])
    if layout.preprocess:
        ours[layout.preprocess] = "preprocess"
    weights = {**vgg.shapes(), "preprocess": (3, 3, 1, 1)}
    parts = (("weight", 4), ("bias", 1))  # and how many dimensions they have
    shapes = {f"{k}.{part}": weights[our][:n] for k, our in ours.items() for part, n in parts}
    problems: dict[str, list[str]] = {"missing": [key for key in shapes if key not in tensors]}
    ours |= dict(layout.classifiers)
    renamed = {}
    for key, tensor in tensors.items():
        prefix, _, part = key.rpartition(".")
        if key in shapes and tensor.shape != shapes[key]:
            found = f"{key} is {tuple(tensor.shape)}, not {shapes[key]}"
            problems.setdefault("of another shape", []).append(found)
        elif prefix in ours and part in ("weight", "bias"):
            renamed[f"{ours[prefix]}.{part}"] = tensor
        elif key.startswith(layout.extras):
            renamed[key] = tensor
        else:
            problems.setdefault("unexpected", []).append(key)
    return renamed, "; ".join(
        f"{len(keys)} {what} ({', '.join(keys[:3])}{', …' if len(keys) > 3 else ''})"
        for what, keys in problems.items()
        if keys
    )
