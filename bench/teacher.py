"""A judge of paintings, and the plain method to compare with.

Both use a slim VGG-19 with maps into the true network's features.

The maps exist for relu1_1 … relu5_1. Distances are in the true VGG-19's space: style by Gram
matrices and by sliced Wasserstein distance (so that no loss is judged by itself alone), content at
relu4_1. All are relative to their targets: 0 is the target itself.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from impasto.images.reading import read_image
from impasto.images.resizing import fit_size, resize_pixels
from impasto.losses.content import CONTENT_LOSSES
from impasto.losses.statistics import gram_matrix
from impasto.losses.style import gram_loss
from impasto.networks.layers import BACKBONES, Architecture
from impasto.networks.vgg import Backbone

STYLE = [f"relu{block}_1" for block in range(1, 6)]
# Gatys' own script: 1000 / N^2 for a layer of N channels.
GATYS_WEIGHTS = {name: 1e3 / n**2 for name, n in zip(STYLE, (64, 128, 256, 512, 512), strict=True)}


@dataclass(frozen=True)
class Verdict:
    """Measure how far a painting is from its style (two ways) and from its photograph."""

    gram: float
    sliced: float
    content: float


class Teacher:
    """A slim VGG-19, its maps, and what they say of paintings."""

    def __init__(self, path: Path) -> None:
        self.tensors = load_file(path)
        channels = tuple(self.tensors[f"conv{b}_1.weight"].shape[0] for b in range(1, 6))
        architecture = Architecture("teacher", BACKBONES["vgg19"].convolutions, channels)
        self.backbone = Backbone.from_tensors(self.tensors, architecture, padding="reflect")
        self.backbone = self.backbone.to(memory_format=torch.channels_last)
        self.known: tuple | None = None  # the pair that was judged last, and its features

    content = CONTENT_LOSSES["features"]

    def look(self, pixels: Tensor, layers: list[str]) -> dict[str, Tensor]:
        """Return features in the true network's space, where there is a map for their layer."""
        seen = self.backbone(pixels.contiguous(memory_format=torch.channels_last), layers)
        return {name: self.map_layer(name, features) for name, features in seen.items()}

    def map_layer(self, name: str, features: Tensor) -> Tensor:
        weight = self.tensors.get(f"to_vgg19.{name}.weight")
        if weight is None:
            return features
        bias = self.tensors[f"to_vgg19.{name}.bias"]
        return functional.conv2d(features, weight, bias).relu()

    @torch.no_grad()
    def judge(self, painted: Tensor, content: Tensor, style: Tensor) -> Verdict:
        """Measure style at the style picture's size, content against the photograph as it is."""
        if not (self.known and self.known[0] is style and self.known[1] is content):
            self.known = style, content, self.look(style, STYLE), self.look(content, STYLE[3:4])
        seen, wanted, photo = self.look(painted, STYLE), self.known[2], self.known[3]["relu4_1"]
        grams, sliced = [], []
        for name in STYLE:
            ours, theirs = seen[name].flatten(2)[0], wanted[name].flatten(2)[0]  # (C, H*W)
            grams.append(float(gram_loss(gram_matrix(seen[name]), gram_matrix(wanted[name]))))
            sliced.append(sliced_distance(ours, theirs))
        lost = float(self.content.compare((seen["relu4_1"],), (photo,), torch.zeros(0, 2)))
        return Verdict(statistics.mean(grams), statistics.mean(sliced), lost)


def sliced_distance(ours: Tensor, theirs: Tensor, directions: int = 256) -> float:
    """Measure the sliced Wasserstein distance of (C, n) features, squared, in target variances.

    Centred features of the target choose the scale; both are compared at the same 1,024 quantiles.
    """
    generator = torch.Generator().manual_seed(0)
    lines = torch.randn(directions, ours.shape[0], generator=generator)
    lines = (lines / lines.norm(dim=1, keepdim=True)).to(ours)
    at = (torch.arange(1024, device=ours.device) + 0.5) / 1024
    quantiles = []
    for features in (ours, theirs):
        ranked = (lines @ features).sort(1).values
        places = (at * ranked.shape[1]).long()
        quantiles.append(ranked[:, places])
    spread = (lines @ theirs).var(1, correction=0).mean()
    return float((quantiles[0] - quantiles[1]).square().mean() / spread)


def paint_plain(
    teacher: Teacher,
    content: Tensor,
    style: Tensor,
    steps: int = 500,
    weight: float = 1.0,
    watch: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Paint as Gatys' own script does: one size, from the photograph, torch's L-BFGS.

    The script's network is scaled to a mean activation of 1; so are the features here. ``watch`` is
    shown the picture after every twenty evaluations.
    """
    layers = [*STYLE, "relu4_2"]
    with torch.no_grad():
        wanted, photo = teacher.look(style, layers), teacher.look(content, layers)
        scales = {name: 1 / float(wanted[name].mean() + photo[name].mean()) * 2 for name in layers}
        grams = {name: gram_matrix(wanted[name] * scales[name]) for name in STYLE}
        target = photo["relu4_2"] * scales["relu4_2"]
    pixels = content.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([pixels], max_iter=20, max_eval=20)
    done = 0

    def measure() -> Tensor:
        nonlocal done
        done += 1
        optimizer.zero_grad()
        seen = teacher.look(pixels, layers)
        loss = functional.mse_loss(seen["relu4_2"] * scales["relu4_2"], target)
        for name in STYLE:
            error = functional.mse_loss(gram_matrix(seen[name] * scales[name]), grams[name])
            loss = loss + weight * GATYS_WEIGHTS[name] * error
        loss.backward()
        return loss

    while done < steps:
        optimizer.step(measure)
        if watch is not None:
            watch(done, pixels.detach().clamp(0, 1))
    return pixels.detach().clamp(0, 1)


def read_at(path: Path, size: int) -> Tensor:
    """Read a picture with that long side."""
    pixels = read_image(path).pixels
    return resize_pixels(pixels, *fit_size(pixels.shape[-1], pixels.shape[-2], size))
