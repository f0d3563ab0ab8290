"""Class scores: how much a picture shows of a school bus, by a network's last layers.

Features of the deepest layer (N, C, H/16, W/16) become (N, classes), before the softmax: what
Simonyan, Vedaldi and Zisserman (2014, eq. 1) make pictures from, since a probability also rises
where the other classes sink. The compact network has a linear head over the mean of relu5_4, for
200 classes; VGG files that kept their classifier have three layers, for the 1,000 of ImageNet.

The names of classes (``data/classes.txt``, ``data/imagenet.txt``; line i is class i) are the first
words of WordNet's synsets: WordNet 3.0, copyright 2006 by Princeton University, whose licence lets
them be copied with its notice. Five that two classes would share are told apart.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Self

from torch import Tensor, nn

from impasto.errors import OptionError, WeightsError
from impasto.networks.layers import BACKBONES, Architecture
from impasto.networks.weight_formats import FILE_LAYOUTS, Tensors
from impasto.networks.weights import DATA, WEIGHTS, choose_weights, load_tensors
from impasto.system.devices import Machine

_CLASS_FILES = {200: "classes.txt", 1000: "imagenet.txt"}  # whose names a file's classes have
_POOLED = 7  # the side of what VGG's first linear layer sees; that of 224 px without a change
_OFFERED = 5


@dataclass(frozen=True)
class Classifier:
    """The last layers of a network, frozen, and the names of their classes."""

    names: list[str]
    layer: str  # whose features they see, the deepest
    head: nn.Sequential
    # 2 x 2 features: a pool takes four, and reflection needs a second one.
    least: int = 32

    def scores(self, features: Tensor) -> Tensor:
        """Return scores (N, classes) in float32, whatever the features are in."""
        scores: Tensor = self.head(features.float())
        return scores

    def find(self, label: str) -> int:
        """Return the class of that name, or the only one with these words or letters in it."""
        wanted = " ".join(label.lower().replace("_", " ").split())
        known = [name.lower() for name in self.names]
        if wanted in known:
            return known.index(wanted)
        fitting = [name for name in known if f" {wanted} " in f" {split_words(name)} "]
        fitting = fitting or [name for name in known if wanted and wanted in name]
        if len(fitting) == 1:
            return known.index(fitting[0])
        what = (
            f"class {label!r} is part of {len(fitting)}" if fitting else f"unknown class {label!r}"
        )
        near = fitting or difflib.get_close_matches(wanted, known, n=_OFFERED, cutoff=0.6)
        offers = [repr(self.names[known.index(name)]) for name in near[:_OFFERED]]
        if not offers:
            raise OptionError(f"{what}; 'impasto classes' lists the {len(known):,} there are")
        raise OptionError(f"{what}; did you mean {join_or(offers)}?")

    def place(self, machine: Machine) -> Self:
        """Move the layers to the device, in float32: they are computed once for all positions."""
        self.head.to(machine.device)
        return self


def split_words(name: str) -> str:
    """Return ``crane bird`` for ``crane (bird)``."""
    return " ".join("".join(c if c.isalnum() else " " for c in name).split())


def join_or(offers: list[str]) -> str:
    """Return ``a, b or c``."""
    return " or ".join(filter(None, [", ".join(offers[:-1]), offers[-1]]))


def load_classifier(backbone: str, *, weights: str | None = None) -> Classifier:
    """Return the classifier of the weights named, or of the first that are stored."""
    name = choose_weights(backbone, weights)
    vgg = BACKBONES[backbone]
    tensors = load_tensors(name, ("fc", "head."))
    linears = {prefix: read_linear(tensors, prefix) for prefix in list_prefixes(tensors)}
    if {"fc6", "fc7", "fc8"} <= set(linears):
        head = stack_vgg(*(linears[prefix] for prefix in ("fc6", "fc7", "fc8")))
        entering = vgg.channels[-1] * _POOLED**2
    elif "head" in linears:
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linears["head"])
        entering = vgg.channels[-1]
    else:
        raise WeightsError(f"{name} has no classifier; {name_classified(vgg)}")
    count = check_linears(head, entering, name)
    names = (DATA / _CLASS_FILES[count]).read_text(encoding="utf-8").splitlines()
    return Classifier(names, vgg.layers()[-1], head.requires_grad_(False).eval())


def list_prefixes(tensors: Tensors) -> list[str]:
    """Return the names of layers, as ``fc6``, that have both weight and bias."""
    prefixes = [key.removesuffix(".weight") for key in tensors if key.endswith(".weight")]
    return [prefix for prefix in prefixes if f"{prefix}.bias" in tensors]


def read_linear(tensors: Tensors, prefix: str) -> nn.Linear:
    """Return the linear layer of that name."""
    weight, bias = tensors[f"{prefix}.weight"].float(), tensors[f"{prefix}.bias"].float()
    leaving, entering = weight.shape
    # Nothing is drawn for what is filled at once: VGG's first has a hundred million weights.
    linear = nn.Linear(entering, leaving, device="meta")
    linear.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    return linear


def stack_vgg(fc6: nn.Linear, fc7: nn.Linear, fc8: nn.Linear) -> nn.Sequential:
    """Return VGG's last layers for features of any size, without dropout.

    The network is made for 224 px. Other sizes are brought to as many features by means over what
    each stands for, as torchvision does it; at 224 px nothing is changed.
    """
    seen = [nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(_POOLED), nn.Flatten()]
    return nn.Sequential(*seen, fc6, nn.ReLU(), fc7, nn.ReLU(), fc8)


def check_linears(head: nn.Sequential, entering: int, name: str) -> int:
    """Return the number of classes; raise unless layers fit and the classes have names."""
    for linear in head:
        if isinstance(linear, nn.Linear):
            if linear.in_features != entering:
                raise WeightsError(
                    f"the classifier of {name} does not fit: a layer takes {linear.in_features} "
                    f"values where {entering} come in"
                )
            entering = linear.out_features
    if entering not in _CLASS_FILES:
        known = " or ".join(f"{count:,}" for count in _CLASS_FILES)
        raise WeightsError(f"the classifier of {name} has {entering} classes, not {known}")
    return entering


def name_classified(vgg: Architecture) -> str:
    """Return where to get a classifier, in words."""
    compact = "the compact network has one of 200 classes"
    names = [
        f"`impasto weights fetch {entry.name}`"
        for entry in WEIGHTS.values()
        if entry.backbone == vgg.name and entry.url and FILE_LAYOUTS[entry.layout].classifiers
    ]
    return f"{join_or(names)} gets one of 1,000 classes, {compact}" if names else compact
