"""Optical flow between frames, what of it can be trusted, and warping along it; by OpenCV.

Frames are (H, W), uint8 grey; a flow is (H, W, 2), float32: how far right and down, in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Literal

import numpy as np

from impasto.system.optional import require

Array = np.ndarray
Interpolation = Literal["nearest", "linear", "cubic", "lanczos"]

_LONGEST = 640  # pixels of a long side that flow is found at; larger frames are shrunk for it
_SHORTEST = 16  # of a side, below which there is no flow to find


def import_cv2() -> ModuleType:
    """Return OpenCV, with one thread: the stages of a film run beside each other."""
    cv2 = require("cv2", "painting films needs OpenCV", extra="video")
    cv2.setNumThreads(1)
    return cv2


@dataclass(frozen=True)
class Motion:
    """How a frame came out of the one before it."""

    back: Array  # (H, W, 2): from each pixel to where it was
    known: Array  # (H, W) float32 in [0, 1]: 0 where it was not to be seen, or not found
    still: bool = False  # the two are the same


class MotionFinder:
    """Finds the motion between frames of one size, by dense inverse search (Kroeger et al. 2016).

    Both ways, so that what is occluded is known.
    """

    def __init__(self, height: int, width: int, preset: str = "fast") -> None:
        cv2 = import_cv2()
        presets = {
            "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
            "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
            "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
        }
        self.cv2, self.size = cv2, (height, width)
        scale = min(1.0, _LONGEST / max(height, width))
        self.small = max(1, round(height * scale)), max(1, round(width * scale))
        self.finder = cv2.DISOpticalFlow_create(presets[preset])

    def __call__(self, before: Array, after: Array) -> Motion:
        """Return the motion between two grey frames."""
        if np.array_equal(before, after):
            zero = np.zeros((*self.size, 2), np.float32)
            return Motion(zero, np.ones(self.size, np.float32), still=True)
        small = self._shrink(before), self._shrink(after)
        back = self.find(small[1], small[0])
        forth = self.find(small[0], small[1])
        known = find_known(back, forth)
        back, known = self._enlarge(back), self._enlarge_mask(known)
        return Motion(back, known)

    def find_gap(self, before: Array, after: Array) -> float:
        """Return what motion leaves unexplained: the mean difference, in grey levels.

        Light that changes evenly is taken out.
        """
        if np.array_equal(before, after):
            return 0.0
        moved = warp(before, self.find(after, before), "linear").astype(np.float32)
        gap = after.astype(np.float32) - moved
        return float(np.abs(gap - gap.mean()).mean())

    def find(self, one: Array, other: Array) -> Array:
        """Return the flow from one frame to the other."""
        if min(one.shape) < _SHORTEST:
            return np.zeros((*one.shape, 2), np.float32)
        flow: Array = self.finder.calc(one, other, None)
        return flow

    def _shrink(self, grey: Array) -> Array:
        if self.small == self.size:
            return np.ascontiguousarray(grey)
        height, width = self.small
        small: Array = self.cv2.resize(grey, (width, height), interpolation=self.cv2.INTER_AREA)
        return small

    def _enlarge(self, flow: Array) -> Array:
        if self.small == self.size:
            return flow
        height, width = self.size
        large = self.cv2.resize(flow, (width, height), interpolation=self.cv2.INTER_LINEAR)
        ratio = np.array([width / self.small[1], height / self.small[0]], np.float32)
        scaled: Array = large * ratio
        return scaled

    def _enlarge_mask(self, known: Array) -> Array:
        if self.small == self.size:
            return known
        height, width = self.size
        large: Array = self.cv2.resize(known, (width, height), interpolation=self.cv2.INTER_LINEAR)
        return large


def shrink_frame(pixels: Array, long_side: int) -> Array:
    """Return a frame (H, W, 3) with at most that long side."""
    cv2 = import_cv2()
    height, width = pixels.shape[:2]
    scale = long_side / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small: Array = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return small


def to_grey(pixels: Array) -> Array:
    """Return the luma (H, W) of a frame (H, W, 3), uint8 both."""
    cv2 = import_cv2()
    grey: Array = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    return grey


# --- warping ------------------------------------------------------------------------------------


@cache
def _grid(height: int, width: int) -> Array:
    across, down = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([across, down], -1).astype(np.float32)


def warp(pixels: Array, flow: Array, how: Interpolation = "linear") -> Array:
    """Return what each pixel finds where its flow leads; beyond an edge, the edge."""
    cv2 = import_cv2()
    kinds: dict[str, Any] = {
        "nearest": cv2.INTER_NEAREST,
        "linear": cv2.INTER_LINEAR,
        "cubic": cv2.INTER_CUBIC,
        "lanczos": cv2.INTER_LANCZOS4,
    }
    places = _grid(*flow.shape[:2]) + flow
    moved: Array = cv2.remap(pixels, places, None, kinds[how], borderMode=cv2.BORDER_REPLICATE)
    return moved


# --- what can be trusted --------------------------------------------------------------------------


def find_known(back: Array, forth: Array) -> Array:
    """Return where a pixel was to be seen in the frame before, and where: 1, and else 0.

    It is 0 where it was hidden, outside, or where two motions meet (Ruder et al. 2016, equations 4
    and 5).
    """
    hidden = find_hidden(back, forth)
    edges = find_motion_edges(back)
    return np.where(hidden | edges, np.float32(0), np.float32(1))


def find_hidden(back: Array, forth: Array) -> Array:
    """Return where going back and forth does not lead home: |w + v|^2 >= .01 (|w|^2 + |v|^2) + .5.

    Also what came from beyond an edge.
    """
    cv2 = import_cv2()
    height, width = back.shape[:2]
    returned = warp(forth, back, "linear")
    gap = _square(cv2.add(returned, back))
    long = cv2.add(_square(returned), _square(back))
    hidden = gap >= cv2.addWeighted(long, 0.01, long, 0, 0.5)
    places = cv2.add(_grid(height, width), back)
    inside = cv2.inRange(places, (-0.5, -0.5), (width - 0.5, height - 0.5))
    return hidden | (inside == 0)  # type: ignore[no-any-return]


def find_motion_edges(flow: Array) -> Array:
    """Return where the flow changes from pixel to pixel: |du|^2 + |dv|^2 > .01 |w|^2 + .002."""
    cv2 = import_cv2()
    kernel = np.array([[-0.5, 0.0, 0.5]], np.float32)
    across = cv2.filter2D(flow, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    down = cv2.filter2D(flow, -1, kernel.T.copy(), borderType=cv2.BORDER_REPLICATE)
    change = cv2.add(_square(across), _square(down))
    long = _square(flow)
    return change > cv2.addWeighted(long, 0.01, long, 0, 0.002)  # type: ignore[no-any-return]


def _square(flow: Array) -> Array:
    """Return |w|^2 (H, W)."""
    cv2 = import_cv2()
    across, down = cv2.split(flow)
    total: Array = cv2.add(cv2.multiply(across, across), cv2.multiply(down, down))
    return total
