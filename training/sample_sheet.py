"""What the styles are drawn with: a sheet with coordinates and noise, colour, light.

Lengths are in units: one unit is the square root of the picture's area, so that strokes keep
their share of it at every size. Places are units (x, y) from the middle or fractions (u, v) from
the upper left; colours are (H,W,3) in [0,1], or six hexadecimal digits where written down.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy import clip
from PIL import Image, ImageFilter

Array = npt.NDArray[Any]

SUPERSAMPLED = 1_500_000  # pictures of up to so many pixels are drawn at twice their size
SCENE_SIDE = 320  # cells to a unit of the scenes that strokes and dabs take their colours from


class Sheet:
    """A grid of columns and rows to draw on: its coordinates, its random numbers, its noise."""

    def __init__(self, columns: int, rows: int, rng: np.random.Generator) -> None:
        self.size, self.rng, self.unit = (columns, rows), rng, float(np.sqrt(columns * rows))
        across, down = (np.arange(side, dtype=np.float32) + 0.5 for side in self.size)
        self.u, self.v = np.meshgrid(across / columns, down / rows)
        self.spans = np.array(self.size) / self.unit
        self.x, self.y = self.away(0.5, 0.5)

    def away(self, u: float, v: float) -> tuple[Array, Array]:
        """Measure how far every place is from (u, v), right and down, in units."""
        return (self.u - u) * np.float32(self.spans[0]), (self.v - v) * np.float32(self.spans[1])

    def noise(self, across: int, down: int, octaves: int = 1) -> Array:
        """Draw smooth noise (H,W) of about unit variance, of so many cells at first."""
        total: Array = np.zeros(self.size[::-1], np.float32)
        for octave in range(octaves):
            columns, rows = across << octave, down << octave
            grains = self.rng.standard_normal((rows + 2, columns + 2)).astype(np.float32)
            box = (0.5, 0.5, columns + 1.5, rows + 1.5)
            smooth = Image.fromarray(grains).resize(self.size, Image.Resampling.BICUBIC, box=box)
            total += np.asarray(smooth) / 2**octave
        return total

    def pixels(self, points: Array) -> list[tuple[float, ...]]:
        """Convert points (N,2) from units to pixels, as pillow draws them."""
        return [tuple(point) for point in (points * self.unit + np.array(self.size) / 2).tolist()]


def sheet_of(width: int, height: int, seed: int) -> Sheet:
    scale = 2 if width * height <= SUPERSAMPLED else 1
    return Sheet(width * scale, height * scale, np.random.default_rng(seed))


def scene_of(sheet: Sheet) -> Sheet:
    """Make a coarse sheet of the same proportions, to look up colours and directions in."""
    columns, rows = (max(8, round(SCENE_SIDE * span)) for span in sheet.spans)
    return Sheet(columns, rows, sheet.rng)


def colour(code: str) -> Array:
    return np.array([int(code[i : i + 2], 16) for i in (0, 2, 4)]) / 255


def ramp(position: Array, codes: str) -> Array:
    """Return colours (...,3) along evenly spaced stops; `position` (...) in [0,1]."""
    stops = np.stack([colour(code) for code in codes.split()], axis=-1)
    places = np.linspace(0, 1, stops.shape[1])
    return np.stack([np.interp(position, places, stop) for stop in stops], axis=-1)


def mix(below: Array, above: Array | str, amount: Array) -> Array:
    """Lay `above` over `below` where `amount` is 1."""
    paint = colour(above) if isinstance(above, str) else above
    mixed: Array = below + (paint - below) * clip(amount, 0, 1)[..., None]
    return mixed


def edge(distance: Array, softness: float) -> Array:
    """Return 1 where `distance` is positive, 0 where negative, with a soft step between."""
    step: Array = clip(distance / softness + 0.5, 0, 1)
    return step


def picture(colours: Array) -> Image.Image:
    return Image.fromarray((clip(colours, 0, 1) * 255 + 0.5).astype(np.uint8))


def varnish(sheet: Sheet, canvas: Image.Image, strength: float) -> Image.Image:
    """Light an RGBA canvas, whose alpha is the height of the paint, from the upper left."""
    paint = np.asarray(canvas.convert("RGB"), np.float32) / 255
    relief = canvas.getchannel("A").filter(ImageFilter.GaussianBlur(0.0012 * sheet.unit))
    height = np.asarray(relief, np.float32) / 255
    slope = np.zeros((*height.shape, 1), np.float32)
    slope[1:-1, 1:-1, 0] = np.tanh((height[2:, 2:] - height[:-2, :-2]) * strength)
    lit = np.where(slope > 0, (1 - paint) * 0.45, paint * 0.5) * slope
    return picture(paint + lit)


def lookup(scene: Array, places: Array) -> Array:
    """Look up a scene (H,W,...) at `places` (N,2), fractions of its width and height."""
    sides = np.array(scene.shape[1::-1])
    column, row = np.moveaxis(clip((places * sides).astype(int), 0, sides - 1), -1, 0)
    found: Array = scene[row, column]
    return found
