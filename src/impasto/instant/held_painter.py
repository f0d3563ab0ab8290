"""A clip's frames painted by statistics that are held, so that what stands still stays as it is.

In one picture, colours and normalisations are measured over all that it shows. In a film they would
change with every frame, and with them every stroke. Here they are measured once, on some frames of
a clip, and each pixel is then painted by what lies around it and by the grain alone: where a frame
is the last one moved, with its grain, so is its painting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from impasto.errors import OptionError
from impasto.images.color_transfer import RIDGE, color_statistics, optimal_map
from impasto.instant.net import GRAIN, NORM_EPSILON, NormStatistics, PaintingNet
from impasto.instant.palette import StyleBlend
from impasto.system.devices import MEMORY_LAYOUTS, Machine


@dataclass(frozen=True)
class ColorMap:
    """Colours x become A x + b, clamped."""

    linear: Tensor  # (3, 3), float32
    offset: Tensor  # (3,)

    @classmethod
    def between(cls, frames: Sequence[Tensor], style: StyleBlend) -> Self:
        """Return what gives all of the frames' pixels together the style's mean and covariance."""
        means, covariances = zip(*map(color_statistics, frames), strict=True)
        sizes = torch.tensor([frame[0, 0].numel() for frame in frames], dtype=torch.float64)
        shares = sizes / sizes.sum()
        mean = torch.stack([s * m for s, m in zip(shares, means, strict=True)]).sum(0)
        within = torch.stack([s * c for s, c in zip(shares, covariances, strict=True)]).sum(0)
        apart = torch.stack(means) - mean
        covariance = within + apart.T @ (shares[:, None] * apart)
        ridge = RIDGE * torch.eye(3, dtype=torch.float64)
        linear = optimal_map(covariance + ridge, style.covariance)
        return cls(linear.float(), (style.mean - linear @ mean).float())

    def __call__(self, frame: Tensor) -> Tensor:
        """Return a frame (1, 3, H, W) in these colours, pixel by pixel the same wherever it is."""
        red, green, blue = frame.unbind(1)
        rows = [
            (a * red + b * green + c * blue + d)
            for (a, b, c), d in zip(self.linear.tolist(), self.offset.tolist(), strict=True)
        ]
        return torch.stack(rows, 1).clamp_(0, 1)


class HeldPainter:
    """Paints frames by the statistics of some, which ``Instant.hold`` measures."""

    def __init__(
        self, net: PaintingNet, machine: Machine, style: StyleBlend, frames: Sequence[Tensor]
    ) -> None:
        if not frames:
            raise OptionError("no frame to measure a clip by; give at least one")
        self.net, self.machine = net, machine
        self.numbers = style.numbers[None].to(machine.device)
        self.colors = ColorMap.between(frames, style)
        self.held = self._measure(frames)

    @torch.no_grad()
    def __call__(self, frame: Tensor, grain: Tensor | None = None) -> Tensor:
        """Paint a frame (1, 3, H, W); with its own noise (1, 1, H, W), or the net's."""
        if grain is not None and grain.shape != (1, 1, *frame.shape[2:]):
            wanted, found = (1, 1, *frame.shape[2:]), tuple(grain.shape)
            raise OptionError(f"a grain of shape {found} for a frame that needs {wanted}")
        painted = self.net(self._place(frame), self.numbers, grain, self.held)
        return painted.cpu().clamp_(0, 1)  # type: ignore[no-any-return]

    def find_grain(self, size: tuple[int, int], moved: tuple[int, int] = (0, 0)) -> Tensor:
        """Return the net's noise for a frame of (height, width), moved down and right so far."""
        places = [(torch.arange(n) - by) % GRAIN for n, by in zip(size, moved, strict=True)]
        return self.net.grain.float().cpu()[:, :, places[0]][..., places[1]]

    def _place(self, frame: Tensor) -> Tensor:
        layout = MEMORY_LAYOUTS[self.machine.layout]
        return self.colors(frame).to(self.machine.device).contiguous(memory_format=layout)

    @torch.no_grad()
    def _measure(self, frames: Sequence[Tensor]) -> list[NormStatistics]:
        """Return the statistics of all frames' positions together, for every normalisation."""
        sums: list[tuple[Tensor, Tensor]] = []
        pixels = sum(frame[0, 0].numel() for frame in frames)
        for frame in frames:
            share = frame[0, 0].numel() / pixels
            _, found = self.net.measure(self._place(frame), self.numbers)
            moments = [(m, i.square().reciprocal() - NORM_EPSILON + m.square()) for m, i in found]
            sums = [
                (first + share * mean, second + share * square)
                for (first, second), (mean, square) in zip(
                    sums or [(m * 0, s * 0) for m, s in moments], moments, strict=True
                )
            ]
        return [
            (mean, ((square - mean.square()).clamp_min(0) + NORM_EPSILON).rsqrt())
            for mean, square in sums
        ]
