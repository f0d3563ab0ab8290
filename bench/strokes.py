"""Measure what distances of features do not see: the palette, and the length of strokes.

The palette is the colours of a picture whose texture was taken out by a guided filter; two are
compared by the sliced Wasserstein distance in L*a*b*. Strokes are what the filter took out: how far
they resemble themselves along the local direction and across it, in pixels, and how much of them
has one direction at all.

    python bench/strokes.py STYLE.jpg PAINTED.png [PAINTED.png ...]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from impasto.images.color_spaces import rgb_to_lab
from impasto.images.reading import read_image
from impasto.images.resizing import fit_size, resize_pixels

SIDE = 512
LUMA = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
FURTHEST = 24  # pixels, along or across


@dataclass(frozen=True)
class Strokes:
    """How long and how wide strokes are in pixels, and how much of them has one direction."""

    along: float
    across: float
    coherence: float


def average(values: Tensor, radius: int) -> Tensor:
    """Return the mean of squares around each pixel; beyond the edge there is nothing."""
    side = 2 * radius + 1
    return functional.avg_pool2d(values, side, 1, radius, count_include_pad=False)


def smooth(pixels: Tensor, radius: int = 8, epsilon: float = 0.01) -> Tensor:
    """Return pixels without texture, edges kept (He et al. 2010, guided by their own luma)."""
    luma = (pixels * LUMA).sum(1, keepdim=True)
    mean, means = average(luma, radius), average(pixels, radius)
    variance = average(luma * luma, radius) - mean * mean
    slope = (average(luma * pixels, radius) - mean * means) / (variance + epsilon)
    offset = means - slope * mean
    return average(slope, radius) * luma + average(offset, radius)


def compare_palettes(painted: Tensor, style: Tensor, directions: int = 64) -> float:
    """Return the root of the sliced Wasserstein distance of two palettes, in units of L*a*b*."""
    lines = torch.randn(directions, 3, generator=torch.Generator().manual_seed(0))
    lines = lines / lines.norm(dim=1, keepdim=True)
    at = (torch.arange(1024) + 0.5) / 1024
    quantiles = []
    for pixels in (painted, style):
        colors = rgb_to_lab(smooth(pixels).clamp(0, 1))[0].flatten(1)  # (3, n)
        ranked = (lines @ colors).sort(1).values
        quantiles.append(ranked[:, (at * ranked.shape[1]).long()])
    return float((quantiles[0] - quantiles[1]).square().mean().sqrt())


def measure_strokes(pixels: Tensor) -> Strokes:
    """Measure the strokes of a picture of about 512 pixels."""
    luma = (pixels * LUMA).sum(1, keepdim=True)
    fine = luma - average(luma, 8)
    down = functional.pad(fine, (0, 0, 1, 1), "replicate").diff(dim=2)
    right = functional.pad(fine, (1, 1, 0, 0), "replicate").diff(dim=3)
    down, right = (down[:, :, 1:] + down[:, :, :-1]) / 2, (right[..., 1:] + right[..., :-1]) / 2
    yy, xx, xy = (average(v, 5) for v in (down * down, right * right, down * right))
    spread = ((xx - yy).square() + 4 * xy.square()).sqrt()
    energy = (xx + yy).clamp_min(1e-12)
    angle = 0.5 * torch.atan2(2 * xy, xx - yy)  # of the gradient: across the strokes
    coherence = float(spread.sum() / energy.sum())
    across, along = (find_length(fine, angle + turn) for turn in (0.0, torch.pi / 2))
    return Strokes(along, across, coherence)


def find_length(fine: Tensor, angle: Tensor) -> float:
    """Return how far along an angle the correlation with itself falls to a half."""
    height, width = fine.shape[2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    power, before = float(fine.square().mean()), 1.0
    for far in range(1, FURTHEST + 1):
        to_x = x + far * torch.cos(angle[0, 0])
        to_y = y + far * torch.sin(angle[0, 0])
        grid = torch.stack([(2 * to_x + 1) / width - 1, (2 * to_y + 1) / height - 1], -1)
        moved = functional.grid_sample(
            fine, grid[None], padding_mode="reflection", align_corners=False
        )
        now = float((fine * moved).mean()) / power
        if now < 0.5:
            return far - (0.5 - now) / (before - now)
        before = now
    return float(FURTHEST)


def read(path: Path) -> Tensor:
    pixels = read_image(path).pixels
    return resize_pixels(pixels, *fit_size(pixels.shape[-1], pixels.shape[-2], SIDE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("style", type=Path)
    parser.add_argument("painted", type=Path, nargs="+")
    arguments = parser.parse_args()
    style = read(arguments.style)
    print("| picture | palette | along | across | one direction |\n|---|---|---|---|---|")
    for path in (arguments.style, *arguments.painted):
        pixels = read(path)
        found = measure_strokes(pixels)
        cells = [f"{compare_palettes(pixels, style):.2f}", f"{found.along:.2f}"]
        cells += [f"{found.across:.2f}", f"{found.coherence:.2f}"]
        print(f"| {path.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
