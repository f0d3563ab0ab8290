"""What earlier frames were painted as, moved to where a new frame has what they show."""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from torch import Tensor

from impasto.video.flow import MotionFinder, to_grey, warp
from impasto.video.temporal_loss import PriorFrame, WarpedPainting, share_explained

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
        self.paintings.append(painted[0].permute(1, 2, 0).contiguous().numpy())
