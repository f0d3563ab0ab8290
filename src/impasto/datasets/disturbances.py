"""Disturbances of a picture (1, 3, H, W), each by an amount and a generator of random numbers.

They stand for a poor camera: a sensor's grain, a lens out of focus, dust and drops upon it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.images.masks import soften

_SPOTS = (3, 8)  # fewest and most in a picture


@dataclass(frozen=True)
class Noise:
    """A disturbance, what its amount is called, and between which it is drawn."""

    parameter: str
    least: float
    most: float
    disturb: Callable[[Tensor, float, torch.Generator], Tensor]

    def draw(self, share: float) -> float:
        """Return the amount at a share of the way, rounded to what a table shows of it."""
        return round(self.least + (self.most - self.least) * share, 4)


def add_gaussian(pixels: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise to every channel; ``sigma`` is a share of the range."""
    grain = torch.randn(pixels.shape, generator=generator)
    return (pixels + sigma * grain).clamp_(0, 1)


def blur(pixels: Tensor, sigma: float, generator: torch.Generator) -> Tensor:  # noqa: ARG001
    """Blur by a Gaussian whose ``sigma`` is a share of the long side."""
    planes = pixels.transpose(0, 1)  # (3, 1, H, W)
    return soften(planes, sigma * max(pixels.shape[2:])).transpose(0, 1)


def add_spots(pixels: Tensor, cover: float, generator: torch.Generator) -> Tensor:
    """Add dark and bright discs with soft edges, of different sizes.

    They cover that share of the picture, but for where they overlap or leave it.
    """
    height, width = pixels.shape[2:]
    count = int(torch.randint(_SPOTS[0], _SPOTS[1] + 1, (), generator=generator))
    sizes, downs, rights, tones, depths = torch.rand(5, count, generator=generator).tolist()
    sizes = [0.2 + size for size in sizes]  # none vanishes beside the others
    y, x = torch.arange(height)[:, None], torch.arange(width)
    disturbed = pixels
    for size, down, right, tone, depth in zip(sizes, downs, rights, tones, depths, strict=True):
        radius = math.sqrt(cover * height * width * size / sum(sizes) / math.pi)
        away = torch.hypot(y - down * (height - 1), x - right * (width - 1))  # (H, W)
        edge = max(1.0, radius / 2)
        mask = ((radius - away) / edge + 0.5).clamp(0, 1) * (0.6 + 0.4 * depth)
        disturbed = disturbed.lerp(torch.tensor(float(tone > 0.5)), mask)
    return disturbed


NOISES = {
    "gaussian": Noise("sigma", 0.03, 0.15, add_gaussian),
    "blur": Noise("sigma", 0.008, 0.025, blur),
    "spots": Noise("cover", 0.01, 0.06, add_spots),
}
