"""Frames that are found by optimisation and stay near the frames before them (Ruder et al. 2016).

The temporal loss is (1/D) sum c (x - w)^2, where w is an earlier painting warped to this frame, D
the number of values, and c is 0 where a pixel was hidden then, or where two motions meet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from impasto.images.picture import ImageSource, Picture
from impasto.images.resizing import resize_pixels
from impasto.painting.loop import Goal
from impasto.painting.memory_plan import Level
from impasto.painting.options import PaintOptions
from impasto.painting.painter import Painter
from impasto.painting.style_cache import keep_targets

TEMPORAL_WEIGHT = 100.0  # beside a content loss that is relative to its target
_TAKEN_OVER = 0.5  # of a neighbour, where a frame has a painting of its own: delta of Ruder et al.


@dataclass(frozen=True)
class WarpedPainting:
    """An earlier painting, moved to where the frame has what it shows."""

    pixels: Tensor  # (1, 3, H, W)
    known: Tensor  # (1, 1, H, W): where it is to be kept to


@dataclass(frozen=True)
class PriorFrame:
    """What the frames before this one have come to, the nearest first.

    In a pass backwards, those after it; ``own`` is then what the pass before has made of it.
    """

    paintings: tuple[WarpedPainting, ...]
    own: Tensor | None = None  # (1, 3, H, W)

    def start(self, content: Tensor) -> Tensor:
        """Return the nearest painting, and the photograph where that is not known.

        In a later pass, half of it and half of its own (section 4.4).
        """
        nearest = self.paintings[0]
        if self.own is None:
            return content.lerp(nearest.pixels, nearest.known)
        return self.own.lerp(nearest.pixels, _TAKEN_OVER * nearest.known)


def share_explained(known: Sequence[Tensor]) -> list[Tensor]:
    """Return masks of which each lacks what a nearer frame explains, nearest first.

    It is c_long of Ruder et al., equation 8: max(c - the sum of the nearer ones, 0).
    """
    shares: list[Tensor] = []
    total = torch.zeros_like(known[0])
    for mask in known:
        shares.append((mask - total).clamp_min(0))
        total = total + mask
    return shares


def temporal_loss(pixels: Tensor, prior: PriorFrame) -> Tensor:
    """Return (1/D) sum c (x - w)^2, of all earlier paintings together."""
    total = pixels.new_zeros(())
    for painting in prior.paintings:
        total = total + (painting.known * (pixels - painting.pixels).square()).sum()
    return total / pixels.numel()


class SteadyGoal:
    """A goal, and beside it the temporal loss."""

    def __init__(self, goal: Goal, prior: PriorFrame, weight: float) -> None:
        self.goal, self.prior, self.weight = goal, prior, weight
        self.remarks = goal.remarks

    def show(self, pixels: Tensor) -> Tensor:
        """Return what the losses see of a picture."""
        return self.goal.show(pixels)

    def __call__(self, pixels: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total and its parts, ``temporal`` among them."""
        total, parts = self.goal(pixels, step)
        found = temporal_loss(pixels, self.prior)
        return total + self.weight * found, {**parts, "temporal": found}


class FrameWork(Painter):
    """A frame that is painted from where the frame before it has come to."""

    def __init__(
        self,
        content: Picture,
        styles: Sequence[ImageSource],
        options: PaintOptions,
        prior: PriorFrame | None,
    ) -> None:
        if prior is not None:  # broad strokes are laid already
            side = max(content.size)
            steps = max(1, options.steps // 2)
            options = options.model_copy(update={"start_size": max(16, side), "steps": steps})
        self.prior = prior
        super().__init__(content, styles, options, targets=keep_targets())

    def begin(self, level: Level) -> tuple[Goal, Tensor]:
        """Return what is minimised at a size, and the picture to start from."""
        goal, start = super().begin(level)
        if self.prior is None:
            return goal, start
        prior = fit_prior(self.prior, start)
        return SteadyGoal(goal, prior, TEMPORAL_WEIGHT), prior.start(start)


def fit_prior(prior: PriorFrame, frame: Tensor) -> PriorFrame:
    """Return it at the size, and on the device, of a frame."""
    width, height = frame.shape[-1], frame.shape[-2]
    paintings = tuple(
        replace(
            painting,
            pixels=resize_pixels(painting.pixels, width, height).to(frame.device),
            known=resize_pixels(painting.known, width, height).to(frame.device),
        )
        for painting in prior.paintings
    )
    own = prior.own
    if own is not None:
        own = resize_pixels(own, width, height).to(frame.device)
    return PriorFrame(paintings, own)
