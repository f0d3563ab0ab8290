"""Films of paintings: how one grew, or many, one after the other. Frames are uint8 (H, W, 3).

PyAV, which writes videos, is an extra; without it there are .gif and .webp.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from torch import Tensor

from impasto.errors import ImageError, ImpastoError, describe_reason
from impasto.images.resizing import fit_size, resize_pixels
from impasto.images.writing import to_pil
from impasto.system.files import check_place, replacing
from impasto.system.optional import require
from impasto.video.animated_pictures import write_animation
from impasto.video.decoding import FilmFacts
from impasto.video.encoding import FILM_FORMATS, PieceWriter, choose_encoding
from impasto.video.joining import Joining

FILM_SUFFIXES = tuple(suffix for suffix in FILM_FORMATS if suffix)
MOST_FRAMES = 240
_UNIT = Fraction(1, 1000)  # seconds


def check_film(path: str | os.PathLike[str]) -> Path:
    """Check all of a film's path that needs no frame, before hours of work."""
    path = check_place(path, "a film", FILM_SUFFIXES, ImageError)
    if _is_video(path):
        instead = ", or write a .gif or .webp"
        require("av", f"an {path.suffix.lower()} needs PyAV", extra="video", instead=instead)
    return path


def _is_video(path: Path) -> bool:
    return FILM_FORMATS[path.suffix.lower()].container is not None


class Film:
    """A picture as it grows, in bounded memory.

    Of many frames every second one is kept, of more every fourth, and so on, and the latest always.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        long_side: int = 480,
        seconds_per_frame: float = 0.08,
        hold: float = 1.5,
    ) -> None:
        self.path = check_film(path)
        self.long_side = long_side
        self.seconds_per_frame = seconds_per_frame
        self.hold = hold  # seconds for which the last frame is shown
        self.size: tuple[int, int] | None = None  # (width, height), known by the first frame
        self._kept: list[np.ndarray] = []
        self._latest: np.ndarray | None = None
        self._added = 0
        self._stride = 1

    def add(self, pixels: Tensor) -> None:
        """Take the picture (1, 3, H, W) as it is now, clipped to [0, 1]."""
        if self.size is None:
            self.size = self._choose_size(pixels.shape[-1], pixels.shape[-2])
        small = resize_pixels(pixels.detach().float(), *self.size)
        self._latest = np.asarray(to_pil(small))
        number, self._added = self._added, self._added + 1
        if number % self._stride:
            return
        if len(self._kept) == MOST_FRAMES - 1:  # the latest may be one more
            del self._kept[1::2]
            self._stride *= 2
        if number % self._stride == 0:
            self._kept.append(self._latest)

    def frames(self) -> list[np.ndarray]:
        """Return the frames to be shown, at most ``MOST_FRAMES``, the latest last."""
        if self._latest is None or self._kept[-1] is self._latest:
            return list(self._kept)
        return [*self._kept, self._latest]

    def write(self) -> tuple[str, ...]:
        """Write the film, whole or not at all; the notes say what was done in the user's stead."""
        frames = self.frames()
        if not frames:
            raise ImageError(f"cannot write {self.path.name!r}: a film of no frames")
        seconds = [self.seconds_per_frame] * (len(frames) - 1) + [self.hold]
        times = [round(1000 * at) for at in itertools.accumulate(seconds, initial=0)]
        if _is_video(self.path):
            return write_video(self.path, frames, times)
        spans = [max(1, after - before) for before, after in itertools.pairwise(times)]
        try:
            with replacing(self.path) as beside:
                write_animation(beside, lambda: frames, spans)
        except (ImpastoError, MemoryError):
            raise
        except Exception as error:  # encoders raise whatever they stumble upon
            reason = describe_reason(error)
            raise ImageError(f"cannot write {self.path.name!r}: {reason}") from error
        return ()

    def _choose_size(self, width: int, height: int) -> tuple[int, int]:
        width, height = fit_size(width, height, self.long_side)
        if not _is_video(self.path):
            return width, height
        # Videos share one colour among four pixels.
        return max(2, width - width % 2), max(2, height - height % 2)


def write_video(path: Path, frames: Sequence[np.ndarray], times: Sequence[int]) -> tuple[str, ...]:
    """Write a video, its frames at these milliseconds, of which the last is its end."""
    height, width = frames[0].shape[:2]
    rate = _UNIT**-1 / max(1, min(b - a for a, b in itertools.pairwise(times)))
    encoding, notes = choose_encoding(path, (width, height), rate)
    facts = FilmFacts(path.name, (width, height), rate, _UNIT)
    with tempfile.TemporaryDirectory() as folder:
        piece = Path(folder) / "piece.nut"
        writer = PieceWriter(piece, encoding)
        for frame in frames:
            writer.add(frame)
        writer.close()
        joining = Joining([piece], times, facts, None)
        joining.write(path)
    return (*notes, *joining.notes)
