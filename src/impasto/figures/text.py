"""Words on pictures: wrapped, balanced, in a font that has their letters."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from math import ceil
from pathlib import Path

from PIL import ImageDraw, ImageFont

from impasto.system.optional import find_library

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
FONT_SIZES = (10, 24)
# Where a line may be broken, the best places first: at a space, after a sign, anywhere.
SEAMS = (r"(?<=\s)", r"(?<=[=+,;:/\\])", r"(?<=[_-])", r"(?<=.)")


# --- words --------------------------------------------------------------------------------------


def wrap_text(text: str, measure: Callable[[str], float], width: float) -> list[str]:
    """Lines that measure at most ``width``; a word is broken only where it is wider than that."""

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

    lines = [line.strip() for part in text.splitlines() for line in fill(part, SEAMS)]
    return [line for line in lines if line]


def balance_text(text: str, measure: Callable[[str], float], width: float) -> list[str]:
    """As few lines, of about one length: no single word on the last."""
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
    """PIL's own font; for names beyond ASCII, which it has not, the one that matplotlib ships, if
    that is there."""
    if is_wide:
        path = find_library("matplotlib") or Path()
        path = path / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


def choose_font(texts: Sequence[str], width: int, size: int) -> Font:
    """Of the size, or as little smaller as leaves every word whole, if any does."""
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
        """How wide the widest line is."""
        return ceil(max(map(self.font.getlength, self.lines), default=0))

    def put(self, left: int, top: int) -> Block:
        self.left, self.top = left, top
        return self

    def draw(self, draw: ImageDraw.ImageDraw) -> None:
        for number, line in enumerate(self.lines):
            left = self.left + (self.width - self.font.getlength(line)) / 2
            draw.text((left, self.top + number * self.line), line, fill="black", font=self.font)
