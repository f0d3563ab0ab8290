"""Animated pictures: .gif and .webp, written by Pillow frame after frame.

Frames are uint8, (H, W, 3), or (H, W, 4) with transparency, where the file has it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from impasto.images.opening import RECIPE_KEY
from impasto.images.writing import make_exif

_SAMPLED = 16  # frames that a .gif's colours are chosen from
_PALETTE_SAMPLE = 65536  # pixels; a larger one takes seconds and gives no better palette
_GIF_UNIT = 10  # milliseconds


def write_animation(
    path: Path,
    list_frames: Callable[[], Iterable[np.ndarray]],
    spans: Sequence[int],
    recipe: str | None = None,
) -> None:
    """Write a picture that loops, each frame shown for so many milliseconds.

    Frames are listed twice, so that no more than a few need be in memory at once.
    """
    images = (Image.fromarray(frame) for frame in list_frames())
    how: dict[str, Any] = {"quality": 85, "method": 2}
    if path.suffix.lower() == ".gif":
        edges = [round(edge / _GIF_UNIT) for edge in itertools.accumulate(spans, initial=0)]
        spans = [_GIF_UNIT * max(1, b - a) for a, b in itertools.pairwise(edges)]
        # The last frame, which is seen longest, is among those that colours are chosen from.
        last, every = len(spans) - 1, max(1, len(spans) // _SAMPLED)
        some = [frame for n, frame in enumerate(list_frames()) if (last - n) % every == 0]
        palette = choose_palette(some)
        # Dithered by diffusion.
        images = (Image.fromarray(frame).quantize(palette=palette) for frame in list_frames())
        how = {"comment": f"{RECIPE_KEY} {recipe}".encode()} if recipe else {}
    elif recipe is not None:
        how["exif"] = make_exif(recipe, "WEBP")
    first = next(images)
    first.save(path, save_all=True, append_images=images, duration=list(spans), loop=0, **how)


def choose_palette(frames: Sequence[np.ndarray]) -> Image.Image:
    """Choose 255 colours for all frames, so that none flickers; one is left for "as before"."""
    colors = np.concatenate([frame.reshape(-1, 3) for frame in frames])  # (N, 3)
    colors = colors[:: max(1, len(colors) // _PALETTE_SAMPLE)]
    # Coverage, not a median cut: dithered, colours far apart mix to all that lie between.
    return Image.fromarray(colors[None]).quantize(255, method=Image.Quantize.MAXCOVERAGE)
