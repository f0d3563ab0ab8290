"""Films: how a picture grew, as an animated picture or a video. Frames are uint8 (H, W, 3).

PyAV, which writes videos, is an extra; without it there are .gif and .webp.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from impasto.errors import ImageError, ImpastoError, describe_reason
from impasto.images.resizing import fit_size, resize_pixels
from impasto.images.writing import to_pil
from impasto.system.files import check_place, replacing
from impasto.system.optional import require

FILM_SUFFIXES = (".gif", ".webp", ".mp4")
MOST_FRAMES = 240
_PALETTE_SAMPLE = 65536  # pixels; a larger one takes seconds and gives no better palette
_BT709 = 1  # the number that libav knows the colours of high definition by


def check_film(path: str | os.PathLike[str]) -> Path:
    """Check all of a film's path that needs no frame, before hours of work."""
    path = check_place(path, "a film", FILM_SUFFIXES, ImageError)
    if path.suffix.lower() == ".mp4":
        import_av()
    return path


def import_av() -> ModuleType:
    """Return PyAV."""
    instead = ", or write a .gif or .webp"
    return require("av", "an .mp4 needs PyAV", extra="video", instead=instead)


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
        try:
            with replacing(self.path) as beside:
                if self.path.suffix.lower() == ".mp4":
                    return write_video(beside, frames, seconds)
                return write_animation(beside, frames, seconds)
        except (ImpastoError, MemoryError):
            raise
        except Exception as error:  # encoders raise whatever they stumble upon
            reason = describe_reason(error)
            raise ImageError(f"cannot write {self.path.name!r}: {reason}") from error

    def _choose_size(self, width: int, height: int) -> tuple[int, int]:
        width, height = fit_size(width, height, self.long_side)
        if self.path.suffix.lower() != ".mp4":
            return width, height
        # Videos share one colour among four pixels.
        return max(2, width - width % 2), max(2, height - height % 2)


def write_animation(
    path: Path, frames: Sequence[np.ndarray], seconds: Sequence[float]
) -> tuple[str, ...]:
    """Write a .gif or .webp that loops, each frame shown for its own time."""
    images = [Image.fromarray(frame) for frame in frames]
    if path.suffix.lower() == ".gif":
        palette = choose_palette(frames)
        images = [image.quantize(palette=palette) for image in images]  # dithered by diffusion
    first, *others = images
    durations = [round(1000 * span) for span in seconds]  # a .gif holds hundredths of a second
    how: dict[str, Any] = {"quality": 85} if path.suffix.lower() == ".webp" else {}
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0, **how)
    return ()


def choose_palette(frames: Sequence[np.ndarray]) -> Image.Image:
    """Choose 255 colours for all frames, so that none flickers; one is left for "as before"."""
    some = frames[:: -max(1, len(frames) // 16)]  # the last, which is seen longest, and others
    colors = np.concatenate([frame.reshape(-1, 3) for frame in some])  # (N, 3)
    colors = colors[:: max(1, len(colors) // _PALETTE_SAMPLE)]
    # Coverage, not a median cut: dithered, colours far apart mix to all that lie between.
    return Image.fromarray(colors[None]).quantize(255, method=Image.Quantize.MAXCOVERAGE)


def write_video(
    path: Path, frames: Sequence[np.ndarray], seconds: Sequence[float]
) -> tuple[str, ...]:
    """Write an .mp4 that every browser plays: H.264 in YUV 4:2:0, the index first."""
    av = import_av()
    codec = next(name for name in ("libx264", "mpeg4") if name in av.codecs_available)
    height, width = frames[0].shape[:2]
    rate = 1 / Fraction(min(seconds)).limit_denominator(1000)
    with av.open(path, "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "18"} if codec == "libx264" else {"qmin": "2", "qmax": "4"}
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        number = 0
        for frame, span in zip(frames, seconds, strict=True):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture = picture.reformat(format="yuv420p", dst_colorspace=_BT709)
            for _ in range(max(1, round(span * rate))):  # the same again takes next to no room
                picture.pts, picture.time_base, number = number, 1 / rate, number + 1
                container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return () if codec == "libx264" else ("no H.264 encoder here: the film is in MPEG-4 part 2",)
