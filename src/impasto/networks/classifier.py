"""Scores of classes: how much a picture shows of a school bus, as a network's last layers say.

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
from impasto.networks.weight_formats import LAYOUTS, Tensors
from impasto.networks.weights import DATA, WEIGHTS, choose_weights, load_tensors
from impasto.system.devices import Machine

CLASSES = {200: "classes.txt", 1000: "imagenet.txt"}  # whose names a file's classes have
POOLED = 7  # the side of what VGG's first linear layer sees; that of 224 px without a change
OFFERED = 5


@dataclass(frozen=True)
class Classifier:
    """The last layers of a network, which do not learn, and what their outputs are called."""

    names: list[str]
    layer: str  # whose features they see, the deepest
    head: nn.Sequential
    # 2 x 2 features: a pool takes four, and reflection needs a second one.
    least: int = 32

    def scores(self, features: Tensor) -> Tensor:
        """(N, classes), in float32 whatever the features are in."""
        scores: Tensor = self.head(features.float())
        return scores

    def find(self, label: str) -> int:
        """The class of that name, or the only one with these words, or these letters, in it."""
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
        near = fitting or difflib.get_close_matches(wanted, known, n=OFFERED, cutoff=0.6)
        offers = [repr(self.names[known.index(name)]) for name in near[:OFFERED]]
        if not offers:
            raise OptionError(f"{what}; 'impasto classes' lists the {len(known):,} there are")
        raise OptionError(f"{what}; did you mean {join_or(offers)}?")

    def place(self, machine: Machine) -> Self:
        """On its device; in float32, since it is computed once for all positions."""
        self.head.to(machine.device)
        return self


def split_words(name: str) -> str:
    """``crane bird`` of ``crane (bird)``."""
    return " ".join("".join(c if c.isalnum() else " " for c in name).split())


def join_or(offers: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(offers[:-1]), offers[-1]]))


def load_classifier(backbone: str, *, weights: str | None = None) -> Classifier:
    """The classifier that goes with the weights named, or with the first that are stored."""
    name = choose_weights(backbone, weights)
    vgg = BACKBONES[backbone]
    tensors = load_tensors(name, ("fc", "head."))
    linears = {prefix: read_linear(tensors, prefix) for prefix in list_prefixes(tensors)}
    if {"fc6", "fc7", "fc8"} <= set(linears):
        head = stack_vgg(*(linears[prefix] for prefix in ("fc6", "fc7", "fc8")))
        entering = vgg.channels[-1] * POOLED**2
    elif "head" in linears:
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linears["head"])
        entering = vgg.channels[-1]
    else:
        raise WeightsError(f"{name} has no classifier; {name_classified(vgg)}")
    count = check_linears(head, entering, name)
    names = (DATA / CLASSES[count]).read_text(encoding="utf-8").splitlines()
    return Classifier(names, vgg.layers()[-1], head.requires_grad_(False).eval())


def list_prefixes(tensors: Tensors) -> list[str]:
    """``fc6`` where both its weight and its bias are there."""
    prefixes = [key.removesuffix(".weight") for key in tensors if key.endswith(".weight")]
    return [prefix for prefix in prefixes if f"{prefix}.bias" in tensors]


def read_linear(tensors: Tensors, prefix: str) -> nn.Linear:
    weight, bias = tensors[f"{prefix}.weight"].float(), tensors[f"{prefix}.bias"].float()
    leaving, entering = weight.shape
    # Nothing is drawn for what is filled at once: VGG's first has a hundred million weights.
    linear = nn.Linear(entering, leaving, device="meta")
    linear.load_state_dict({"weight": weight, "bias": bias}, assign=True)
    return linear


def stack_vgg(fc6: nn.Linear, fc7: nn.Linear, fc8: nn.Linear) -> nn.Sequential:
    """Features of any size as scores; dropout is for training.

    The network is made for 224 px. Other sizes are brought to as many features by means over what
    each stands for, as torchvision does it; at 224 px nothing is changed.
    """
    seen = [nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(POOLED), nn.Flatten()]
    return nn.Sequential(*seen, fc6, nn.ReLU(), fc7, nn.ReLU(), fc8)


def check_linears(head: nn.Sequential, entering: int, name: str) -> int:
    """How many classes there are, if one layer fits the next and the classes have names."""
    for linear in head:
        if isinstance(linear, nn.Linear):
            if linear.in_features != entering:
                raise WeightsError(
                    f"the classifier of {name} does not fit: a layer takes {linear.in_features} "
                    f"numbers where {entering} come in"
                )
            entering = linear.out_features
    if entering not in CLASSES:
        known = " or ".join(f"{count:,}" for count in CLASSES)
        raise WeightsError(f"the classifier of {name} has {entering} classes, not {known}")
    return entering


def name_classified(vgg: Architecture) -> str:
    """Where classifiers are to be had."""
    compact = "the compact network has one of 200 classes"
    names = [
        f"`impasto weights fetch {entry.name}`"
        for entry in WEIGHTS.values()
        if entry.backbone == vgg.name and entry.url and LAYOUTS[entry.layout].classifiers
    ]
    return f"{join_or(names)} gets one of 1,000 classes, {compact}" if names else compact
