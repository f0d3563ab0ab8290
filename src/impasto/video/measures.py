"""How steady a painted film is, how sharp, and how much of the style it has.

Steadiness is the warping error: the root of the mean squared difference of a frame and the one
before it (or eight before), moved along the film's own flow, where that is known; in levels of 255.
The judge's flow is finer than the one that strokes travel along. All is also measured of the film
itself, and of its frames painted each by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impasto.images.picture import Picture
from impasto.images.resizing import fit_size, resize_pixels
from impasto.images.transparency import make_opaque
from impasto.instant.net import encode_style
from impasto.networks.weights import load_backbone
from impasto.system.devices import Machine
from impasto.video.flow import Motion, MotionFinder, to_grey, warp

FAR = 8  # frames back
_KINDS = ("film", "alone", "steady")  # itself, each frame painted by itself, and what comes out
_SEEN_SIDE = 384  # pixels of a long side at which style is measured
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass
class Sums:
    """What is summed over frames, so that shards can be added: totals and counts by name."""

    totals: dict[str, float] = field(default_factory=dict)
    counts: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, total: float, count: float) -> None:
        """Add to one of them."""
        self.totals[name] = self.totals.get(name, 0.0) + total
        self.counts[name] = self.counts.get(name, 0.0) + count

    def __add__(self, other: Sums) -> Sums:
        both = Sums(dict(self.totals), dict(self.counts))
        for name, total in other.totals.items():
            both.add(name, total, other.counts[name])
        return both

    def mean(self, name: str) -> float:
        """Return the mean of one; 0 where nothing was measured."""
        return self.totals.get(name, 0.0) / max(self.counts.get(name, 0.0), 1e-9)

    def pack(self) -> dict[str, Any]:
        """Return what JSON can hold of them."""
        return {"totals": self.totals, "counts": self.counts}

    @classmethod
    def unpack(cls, facts: Mapping[str, Any]) -> Sums:
        """Return the sums that were packed."""
        return cls(dict(facts["totals"]), dict(facts["counts"]))


class SteadinessMeter:
    """Measures frame after frame of one size."""

    def __init__(self, height: int, width: int) -> None:
        self.finder = MotionFinder(height, width, preset="medium")
        self.seen: deque[tuple[np.ndarray, tuple[np.ndarray, ...]]] = deque(maxlen=FAR)

    def __call__(
        self, film: np.ndarray, steady: np.ndarray, alone: np.ndarray, *, is_cut: bool
    ) -> Sums:
        """Return what a frame adds: the film's (H, W, 3), steadied, and painted by itself."""
        if is_cut:
            self.seen.clear()
        sums, own = Sums(), film.astype(np.float32) / np.iinfo(film.dtype).max
        grey = to_grey((own * 255 + 0.5).astype(np.uint8))
        shown = own, alone, steady
        for name, distance in (("e1", 1), ("e8", FAR)):
            if len(self.seen) >= distance:
                before, earlier = self.seen[-distance]
                motion = self.finder(before, grey)
                for kind, now, then in zip(_KINDS, shown, earlier, strict=True):
                    sums.add(f"{name} {kind}", *sum_error(now, then, motion))
        for kind, now in zip(_KINDS, shown, strict=True):
            sums.add(f"sharpness {kind}", measure_sharpness(now), 1)
        self.seen.append((grey, shown))
        return sums


def sum_error(now: np.ndarray, then: np.ndarray, motion: Motion) -> tuple[float, float]:
    """Return the sum of squared differences where the motion is known, in levels, and its count."""
    known = motion.known > 0.5
    gap = (now - warp(then, motion.back))[known]
    return float(255**2 * np.square(gap, dtype=np.float64).sum()), float(gap.size)


def measure_sharpness(pixels: np.ndarray) -> float:
    """Return the mean absolute difference of neighbours in luma, in levels."""
    luma = pixels @ _LUMA
    down, across = np.abs(np.diff(luma, axis=0)), np.abs(np.diff(luma, axis=1))
    return 255 * float(down.mean() + across.mean()) if min(luma.shape) > 1 else 0.0


class StyleGauge:
    """Tells how far a picture is from the styles: by the features' means and deviations."""

    def __init__(self, styles: Sequence[Picture]) -> None:
        machine = Machine(torch.device("cpu"), torch.float32, "channels_last")
        self.network = load_backbone("compact").place(machine)
        codes = [self._read(make_opaque(style).pixels) for style in styles]
        self.code = torch.stack(codes).mean(0)

    @torch.no_grad()
    def _read(self, pixels: Tensor) -> Tensor:
        width, height = fit_size(pixels.shape[-1], pixels.shape[-2], _SEEN_SIDE)
        return encode_style(self.network, resize_pixels(pixels, width, height))

    def __call__(self, pixels: Tensor) -> float:
        """Return the distance of (1, 3, H, W)."""
        return float((self._read(pixels) - self.code).square().sum().sqrt())


@dataclass(frozen=True)
class Steadiness:
    """What was measured of a film."""

    e1: tuple[float, float, float]  # levels: the film itself, painted frame by frame, steadied
    e8: tuple[float, float, float]
    sharpness: float  # times that of the frames painted by themselves; relit, of the film's own
    gain: float | None  # of the style, likewise; None where nothing is painted

    @classmethod
    def of(cls, sums: Sums) -> Steadiness:
        """Return it from the sums over all frames."""

        def read(name: str) -> tuple[float, float, float]:
            film, alone, steady = (sums.mean(f"{name} {kind}") ** 0.5 for kind in _KINDS)
            return film, alone, steady

        is_painted = "style colored" in sums.counts or not sums.counts
        beside = sums.mean(f"sharpness {'alone' if is_painted else 'film'}")
        sharpness = sums.mean("sharpness steady") / max(beside, 1e-9)
        if not is_painted:
            return cls(read("e1"), read("e8"), sharpness, None)
        left = sums.mean("style colored")
        gains = [left - sums.mean(f"style {kind}") for kind in ("steady", "alone")]
        gain = gains[0] / gains[1] if gains[1] > 0 else 1.0
        return cls(read("e1"), read("e8"), sharpness, gain)

    def describe(self) -> list[str]:
        """Return a line for each."""
        lines = []
        for what, values in (("1 frame", self.e1), (f"{FAR} frames", self.e8)):
            film, alone, steady = values
            if self.gain is None:
                share = steady / film if film else 1.0
                lines.append(
                    f"warping error over {what}: {steady:.2f} levels, x {share:.2f} of the film's "
                    f"own ({film:.2f})"
                )
                continue
            share = steady / alone if alone else 1.0
            lines.append(
                f"warping error over {what}: {steady:.2f} levels, x {share:.2f} of painting each "
                f"frame by itself ({alone:.2f}); the film's own: {film:.2f}"
            )
        if self.gain is None:
            return [*lines, f"sharpness x {self.sharpness:.2f} of the film's own"]
        return [*lines, f"sharpness x {self.sharpness:.2f}, style gain x {self.gain:.2f}"]
