"""What earlier frames were painted as, moved to where a new frame has what they show.

With several passes, blocks of frames are gone through forward and back in turn (Ruder et al. 2016,
section 4.4): what is known of a frame from those after it, too, goes into its painting.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from impasto.video.flow import MotionFinder, to_grey, warp
from impasto.video.temporal_loss import PriorFrame, WarpedPainting, share_explained

BLOCK = 12  # frames that are gone through back and forth
DISTANCES = (1, 4, 8)  # frames back: the loss is of short term and of long (Ruder et al.)


class PaintedBefore:
    """Keeps the last frames, and how they were painted."""

    def __init__(self, height: int, width: int) -> None:
        self.finder = MotionFinder(height, width, preset="medium")
        self.greys: deque[np.ndarray] = deque(maxlen=DISTANCES[-1] + 1)
        self.paintings: deque[np.ndarray] = deque(maxlen=DISTANCES[-1])

    def look_back(self, frame: Tensor, *, is_cut: bool) -> PriorFrame | None:
        """Return the paintings before a frame (1, 3, H, W), moved; None where a scene begins."""
        if is_cut:
            self.greys.clear()
            self.paintings.clear()
        levels = (frame[0].permute(1, 2, 0) * 255 + 0.5).to(torch.uint8).numpy()
        grey = to_grey(levels)
        self.greys.append(grey)
        moved, known = [], []
        for distance in DISTANCES:
            if distance > len(self.paintings):
                break
            motion = self.finder(self.greys[-1 - distance], grey)
            pixels = warp(self.paintings[-distance], motion.back, "cubic")
            moved.append(torch.from_numpy(pixels).permute(2, 0, 1)[None].clamp(0, 1))
            known.append(torch.from_numpy(motion.known)[None, None])
        if not moved:
            return None
        shares = share_explained(known)
        pairs = zip(moved, shares, strict=True)
        return PriorFrame(tuple(WarpedPainting(pixels, share) for pixels, share in pairs))

    def keep(self, painted: Tensor) -> None:
        """Keep what the last frame was painted as."""
        self.paintings.append(to_pixels(painted))


@dataclass
class PaintedFrame:
    """A frame and what was made of it; tensors are (1, 3, H, W)."""

    number: int
    pixels: Tensor
    colored: Tensor
    painted: Tensor
    prior: PriorFrame | None  # of the first pass


# Paints a frame, by its number, from what is around it: in the style's colours, and painted.
PaintFrame = Callable[[int, Tensor, PriorFrame | None], tuple[Tensor, Tensor]]


class Passes:
    """Paints frames of one size from those before them, and in later passes from those after."""

    def __init__(self, height: int, width: int, paint: PaintFrame, count: int) -> None:
        self.size, self.paint, self.count = (height, width), paint, count
        self.before = PaintedBefore(height, width)

    def __call__(self, frames: Iterable[tuple[int, Tensor, bool]]) -> Iterator[PaintedFrame]:
        """Yield frames, painted; each is given by its number, and whether it begins a scene."""
        block: list[PaintedFrame] = []
        for number, pixels, is_cut in frames:
            if is_cut or len(block) == BLOCK:
                yield from self._finish(block)
                block = []
            prior = self.before.look_back(pixels, is_cut=is_cut)
            done = PaintedFrame(number, pixels, *self.paint(number, pixels, prior), prior)
            self.before.keep(done.painted)
            if self.count == 1:
                yield done
            else:
                block.append(done)
        yield from self._finish(block)

    def _finish(self, block: list[PaintedFrame]) -> list[PaintedFrame]:
        """Go through a block again, back and forth."""
        for number in range(1, self.count):
            self._pass(block[::-1] if number % 2 else block)
        for distance, done in enumerate(reversed(block), 1):
            if self.count > 1 and distance <= len(self.before.paintings):
                self.before.paintings[-distance] = to_pixels(done.painted)
        return block

    def _pass(self, block: list[PaintedFrame]) -> None:
        """Paint all frames but the first anew, from those before them in this order.

        The block's own first frame stays near to the one before it, which is done.
        """
        around = PaintedBefore(*self.size)
        earliest = min((done.number for done in block), default=0)
        for done in block:
            prior = around.look_back(done.pixels, is_cut=False)
            if prior is not None:
                if done.number == earliest and done.prior is not None:
                    nearest = done.prior.paintings[:1]
                    prior = replace(prior, paintings=(*prior.paintings, *nearest))
                prior = replace(prior, own=done.painted)
                done.painted = self.paint(done.number, done.pixels, prior)[1]
            around.keep(done.painted)


def to_pixels(painted: Tensor) -> np.ndarray:
    """Return (1, 3, H, W) as (H, W, 3)."""
    return painted[0].permute(1, 2, 0).contiguous().numpy()
