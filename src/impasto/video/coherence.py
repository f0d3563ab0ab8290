"""Strokes that travel: what keeps a film steady without blurring it.

A painting is the frame in the style's colours, and strokes: the difference. Colours come from each
frame, so that nothing of the film itself is ever resampled; strokes are moved along the optical
flow. Every ``renew`` frames a painting's strokes become the new layer, and over as many frames they
take the place of the layer before. What was hidden gets new strokes at once. Nothing is left of a
layer after twice ``renew`` frames, so that a frame depends on no more than these.

Blending whole paintings instead blurs what it steadies. Two layers of strokes that have nothing to
do with each other would lose contrast too; they are given it back by their correlation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from impasto.video.flow import Motion, import_cv2, warp

COARSE_KEPT = 0.8  # of the coarse part, from one painting to the next
_SPLIT = 4.0  # pixels: the deviation of the blur that parts coarse from fine
_SHRINK = 4  # times that the coarse part is kept smaller
_ALIKE_OVER = 16.0  # pixels: the deviation of the window in which correlations are measured
# Cubic interpolation sharpens a little in each frame, linear blurs: of the second there is as much
# as a layer is sharper than this share of what it was painted with, times the gain.
_SHARP, _GAIN = 0.95, 4.0


@dataclass
class _Layer:
    """The strokes of one painting, wherever they have travelled to."""

    fine: np.ndarray  # (H, W, 3) float32
    coarse: np.ndarray  # (h, w, 3)
    sharpness: float  # of the fine part, when it was painted

    def follow(self, back: np.ndarray, small_back: np.ndarray) -> None:
        """Move to where the frame has what the strokes lie on."""
        share = _GAIN * (measure_steps(self.fine) / max(self.sharpness, 1e-9) - _SHARP)
        share = min(1.0, max(0.0, share))
        moved = warp(self.fine, back, "cubic")
        if share > 0:
            soft = warp(self.fine, back)
            moved = import_cv2().addWeighted(moved, 1 - share, soft, share, 0)
        self.fine, self.coarse = moved, warp(self.coarse, small_back)


class TravellingStrokes:
    """The strokes of a film, frame after frame; (H, W, 3) float32."""

    def __init__(self, height: int, width: int, *, renew: int = 24, every: int = 1) -> None:
        self.cv2, self.size = import_cv2(), (height, width)
        self.small = max(1, width // _SHRINK), max(1, height // _SHRINK)  # as OpenCV has sizes
        self.period = max(1, renew // every) * every  # frames; each begins with a painting
        self.layers: tuple[_Layer, _Layer] | None = None  # the one that goes, and the one to come
        nothing = np.zeros(0, np.float32)
        self.owed = nothing  # (H, W): where strokes are missing since the last painting
        self.alike = nothing  # (h, w): the layers' correlation, when the second was painted

    def __call__(
        self,
        number: int,
        motion: Motion | None,
        colored: np.ndarray,
        painted: np.ndarray | None,
    ) -> np.ndarray:
        """Return a frame, steadied; ``painted`` is None where it is not painted itself.

        Without motion a scene begins, which needs a painting; ``number`` counts from there.
        """
        if motion is None or self.layers is None:
            assert painted is not None
            self.layers = self._make(painted - colored), self._make(painted - colored)
            self.owed = np.zeros(self.size, np.float32)
            self.alike = np.ones(self.small[::-1], np.float32)
            return painted
        if not motion.still:
            self._follow(motion)
        if painted is not None:
            self._renew(number, painted - colored)
        return self._show(number % self.period / self.period, colored)

    def split(self, strokes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the coarse part (h, w, 3), and the fine one."""
        soft = self.cv2.resize(strokes, self.small, interpolation=self.cv2.INTER_AREA)
        soft = self.cv2.GaussianBlur(soft, (0, 0), _SPLIT / _SHRINK)
        return soft, self.cv2.subtract(strokes, self._enlarge(soft))

    def _make(self, strokes: np.ndarray) -> _Layer:
        coarse, fine = self.split(strokes)
        return _Layer(fine, coarse, measure_steps(fine))

    def _enlarge(self, small: np.ndarray) -> np.ndarray:
        large: np.ndarray = self.cv2.resize(
            small, self.size[::-1], interpolation=self.cv2.INTER_LINEAR
        )
        return large

    def _follow(self, motion: Motion) -> None:
        """Move all strokes to where the frame has what they lie on."""
        assert self.layers is not None
        shrunk = self.cv2.resize(motion.back, self.small, interpolation=self.cv2.INTER_AREA)
        ratios = self.small[0] / self.size[1], self.small[1] / self.size[0]
        scale = np.array(ratios, np.float32)
        small_back = shrunk * scale
        for layer in self.layers:
            layer.follow(motion.back, small_back)
        self.alike = warp(self.alike, small_back)
        self.owed = np.maximum(warp(self.owed, motion.back, "nearest"), 1 - motion.known)

    def _renew(self, number: int, strokes: np.ndarray) -> None:
        """Lay new strokes where there are none, and begin a layer where a period does."""
        assert self.layers is not None
        cv2, new = self.cv2, self._make(strokes)
        owed = cv2.resize(self.owed, self.small, interpolation=cv2.INTER_AREA)
        share = np.maximum(np.float32(1 - COARSE_KEPT), owed)[..., None]
        into = cv2.blur(self.owed, (5, 5)) if self.owed.any() else None
        kept = None if into is None else 1 - into
        for layer in self.layers:
            layer.coarse = layer.coarse + share * (new.coarse - layer.coarse)
            if into is not None:
                layer.fine = cv2.blendLinear(layer.fine, new.fine, kept, into)
        self.owed = np.zeros(self.size, np.float32)
        if number % self.period == 0:
            self.layers = self.layers[1], new
            self.alike = self._correlate(self.layers[0].fine, new.fine)

    def _show(self, gone: float, colored: np.ndarray) -> np.ndarray:
        """Return a frame with its strokes, after a share of a period."""
        assert self.layers is not None
        cv2, (old, new) = self.cv2, self.layers
        going, coming = math.cos(gone * math.pi / 2), math.sin(gone * math.pi / 2)
        fine = cv2.addWeighted(old.fine, going, new.fine, coming, 0)
        # The deviation of what is added up, if both have one of 1.
        apart = self._enlarge(1 / np.sqrt(1 + 2 * going * coming * self.alike))
        coarse = self._enlarge(cv2.addWeighted(old.coarse, 1 - gone, new.coarse, gone, 0))
        shown = cv2.add(colored, coarse)
        shown = cv2.add(shown, cv2.multiply(fine, cv2.merge([apart] * 3)))
        clipped: np.ndarray = np.clip(shown, 0, 1)
        return clipped

    def _correlate(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Return the correlation (h, w), from 0 to 1, of fine parts around each place."""

        def gather(product: np.ndarray) -> np.ndarray:
            small = self.cv2.resize(product, self.small, interpolation=self.cv2.INTER_AREA)
            soft = self.cv2.GaussianBlur(small, (0, 0), _ALIKE_OVER / _SHRINK)
            return soft.sum(-1)  # type: ignore[no-any-return]

        both = np.sqrt(gather(one * one) * gather(other * other))
        alike: np.ndarray = np.clip(gather(one * other) / (both + np.float32(1e-9)), 0, 1)
        return alike


def measure_steps(pixels: np.ndarray) -> float:
    """Return the mean difference of neighbours, on every third row."""
    rows = pixels[::3]
    return float(np.abs(rows[:, 1:] - rows[:, :-1]).mean()) if rows.shape[1] > 1 else 0.0
