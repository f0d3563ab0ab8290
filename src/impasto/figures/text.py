"""Words on pictures: wrapped, balanced, in a font that has their letters."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from math import ceil
from pathlib import Path
from typing import Self

from PIL import ImageDraw, ImageFont

from impasto.system.optional import find_library

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
FONT_SIZES = (10, 24)
# Where a line may be broken, the best places first: at a space, after a sign, anywhere.
_SEAMS = (r"(?<=\s)", r"(?<=[=+,;:/\\])", r"(?<=[_-])", r"(?<=.)")


def wrap_text(text: str, measure: Callable[[str], float], width: float) -> list[str]:
    """Break a text into lines that measure at most ``width``; a word only where it is wider."""

    def fits(line: str) -> bool:
        return measure(line.rstrip()) <= width

    def fill(part: str, seams: tuple[str, ...]) -> list[str]:
        if fits(part) or not seams:
            return [part]
        lines: list[str] = []
        for piece in re.split(seams[0], part):
            if lines and fits(lines[-1] + piece):
                lines[-1] += piece
            else:
                lines += fill(piece, seams[1:])
        return lines

    lines = [line.strip() for part in text.splitlines() for line in fill(part, _SEAMS)]
    return [line for line in lines if line]


def balance_text(text: str, measure: Callable[[str], float], width: float) -> list[str]:
    """Break a text into as few lines, of about one length: no single word on the last."""
    lines = wrap_text(text, measure, width)
    low, high = max(map(measure, text.split()), default=0), width
    while high - low > 1 and len(lines) > 1:  # no word is broken for it: none is wider than low
        narrow = wrap_text(text, measure, (low + high) / 2)
        if len(narrow) > len(lines):
            low = (low + high) / 2
        else:
            lines, high = narrow, (low + high) / 2
    return lines


@cache
def load_font(size: int, *, is_wide: bool = False) -> Font:
    """Load PIL's own font, or for signs beyond ASCII the one of matplotlib, if it is there."""
    if is_wide:
        path = find_library("matplotlib") or Path()
        path = path / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


def choose_font(texts: Sequence[str], width: int, size: int) -> Font:
    """Choose a font of the size, or as little smaller as leaves every word whole, if any does."""
    words = {word for text in texts for word in text.split()}
    is_wide = not all(map(str.isascii, words))
    for smaller in range(size, FONT_SIZES[0] - 1, -1):
        font = load_font(smaller, is_wide=is_wide)
        if all(font.getlength(word) <= width for word in words):
            return font
    return load_font(size, is_wide=is_wide)


class Block:
    """A text in lines, in the middle of ``width`` pixels, and where it stands."""

    def __init__(self, text: str, font: Font, width: int) -> None:
        self.font, self.width, self.left, self.top = font, width, 0, 0
        self.lines = balance_text(text, font.getlength, width)
        self.line = ceil(font.getbbox("Åjy")[3]) + 2
        self.height = self.line * len(self.lines)

    @property
    def extent(self) -> int:
        """Width of the widest line."""
        return ceil(max(map(self.font.getlength, self.lines), default=0))

    def put(self, left: int, top: int) -> Self:
        """Say where it stands."""
        self.left, self.top = left, top
        return self

    def draw(self, draw: ImageDraw.ImageDraw) -> None:
        """Draw the lines."""
        for number, line in enumerate(self.lines):
            left = self.left + (self.width - self.font.getlength(line)) / 2
            draw.text((left, self.top + number * self.line), line, fill="black", font=self.font)
