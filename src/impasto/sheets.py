"""Contact sheets: pictures in rows on white, with words under, over and beside them.

Words are never cut off and never meet: a line that is too long is wrapped, at a space if it can be,
else after a sign, and everything below it moves down.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import zip_longest
from math import ceil, isqrt
from pathlib import Path
from typing import NamedTuple, TypeVar

from PIL import Image, ImageDraw, ImageFont

from impasto.errors import ImageError, OptionError
from impasto.files import check_place, replace_file

Item = TypeVar("Item")
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Rows = Sequence[Sequence[Image.Image | None]]

SHEET_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
LONGEST_SHEET = 8192  # pixels a side
LEAST_TILE = 24
LEAST_CELL = 32  # what the narrowest tile's words have, so that each holds a letter
GAP = 6
FONT_SIZES = (10, 24)
ALIKE = 0.02  # how far shapes may differ and still be taken for one; sizes are rounded
QUALITIES = range(90, 40, -4)
# Where a line may be broken, the best places first: at a space, after a sign, anywhere.
SEAMS = (r"(?<=\s)", r"(?<=[=+,;:/\\])", r"(?<=[_-])", r"(?<=.)")


def arrange(items: Sequence[Item], columns: int | None = None) -> list[list[Item]]:
    """Pictures, or their captions, in rows; as many columns as rows, or one more, if not said."""
    if columns is not None and columns < 1:
        raise OptionError(f"columns: {columns} is wrong: a sheet has at least 1")
    columns = columns or isqrt(max(len(items) - 1, 0)) + 1
    return [list(items[i : i + columns]) for i in range(0, len(items), columns)]


def fit_tile(image: Image.Image, width: int, height: int, *, crop: bool = False) -> Image.Image:
    """Scaled to fill a tile, what juts out being cut off; or, uncropped, into it, on white."""
    choose = max if crop else min
    scale = choose(width / image.width, height / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    tile = Image.new("RGB", (width, height), "white")
    scaled = flatten(image).resize(size, Image.Resampling.LANCZOS)
    tile.paste(scaled, ((width - size[0]) // 2, (height - size[1]) // 2))
    return tile


def flatten(image: Image.Image) -> Image.Image:
    """RGB, what is transparent being white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    clear = image.convert("RGBA")
    opaque = Image.new("RGB", image.size, "white")
    opaque.paste(clear, mask=clear.getchannel("A"))
    return opaque


def draw_sheet(
    rows: Rows,
    *,
    captions: Sequence[Sequence[str]] = (),
    row_labels: Sequence[str] = (),
    column_labels: Sequence[str] = (),
    title: str = "",
    tile: int = 256,
) -> Image.Image:
    """Pictures of one shape in tiles of it; of several, each whole in a square.

    ``tile`` is a tile's long side in pixels. It is made smaller where the sheet would else be
    larger than 8192 pixels a side.
    """
    if tile < LEAST_TILE:
        raise OptionError(f"tile: {tile} is wrong: a tile's long side is at least {LEAST_TILE}")
    pictures = [image for row in rows for image in row if image is not None]
    if not pictures:
        raise ImageError("a sheet needs at least one picture")
    texts = Texts(captions, row_labels, column_labels, title)
    counts = [len(row) for row in rows]
    check_texts(counts, texts)
    shape = shared_shape(pictures)
    layout = fit_layout(counts, shape or 1.0, texts, tile)
    sheet = Image.new("RGB", layout.size, "white")
    for row, places in zip(rows, layout.places, strict=True):
        for image, place in zip(row, places, strict=True):
            if image is not None:
                # Of one shape but for rounding: better a pixel less than a white line beside it.
                crop = shape is not None
                sheet.paste(fit_tile(image, *layout.tile, crop=crop), place)
    draw = ImageDraw.Draw(sheet)
    for block in layout.blocks:
        block.draw(draw)
    return sheet


def save_sheet(
    image: Image.Image, path: str | os.PathLike[str], *, limit: int | None = None
) -> None:
    """Write a sheet, whole or not at all, in at most ``limit`` bytes: a JPEG or WebP is kept as
    good as that allows."""
    place = check_place(path, "a sheet", SHEET_KINDS, ImageError)
    kind = SHEET_KINDS[place.suffix.lower()]
    image = flatten(image)
    for quality in [0] if kind == "PNG" else QUALITIES:
        written = io.BytesIO()
        try:
            image.save(written, kind, quality=quality, optimize=True)
        except (OSError, ValueError) as error:  # such as more pixels than the format can hold
            raise ImageError(f"cannot write {place.name!r}: {error}") from error
        content = written.getvalue()
        if limit is None or len(content) <= limit:
            return replace_file(place, content)
    raise ImageError(
        f"cannot write {place.name!r} in {limit} bytes: it takes {len(content)}; "
        "make the tiles smaller"
    )


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
        found = importlib.util.find_spec("matplotlib")
        for folder in (found and found.submodule_search_locations) or []:
            path = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
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


# --- where everything goes ----------------------------------------------------------------------


class Texts(NamedTuple):
    """All that is written on a sheet."""

    captions: Sequence[Sequence[str]]
    row_labels: Sequence[str]
    column_labels: Sequence[str]
    title: str


@dataclass
class Layout:
    """A sheet's size and its tiles', the upper left corner of each tile, and the words."""

    size: tuple[int, int]
    tile: tuple[int, int]
    places: list[list[tuple[int, int]]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)


def check_texts(counts: Sequence[int], texts: Texts) -> None:
    """No word is left out because there is no tile that it belongs to."""
    for what, count, room in [
        ("captions", len(texts.captions), len(counts)),
        ("row labels", len(texts.row_labels), len(counts)),
        ("column labels", len(texts.column_labels), max(counts)),
        *(("captions", len(row), n) for row, n in zip(texts.captions, counts, strict=False)),
    ]:
        if count > room:
            raise OptionError(f"{count} {what} for {room}; give at most one for each")


def shared_shape(pictures: Sequence[Image.Image]) -> float | None:
    """Width over height, if all have the same."""
    shapes = [image.width / image.height for image in pictures]
    return shapes[0] if all(abs(each / shapes[0] - 1) <= ALIKE for each in shapes) else None


def fit_layout(counts: Sequence[int], shape: float, texts: Texts, tile: int) -> Layout:
    """The layout with the largest tiles, up to ``tile``, with which the sheet is not too large."""
    asked = tile
    while tile >= LEAST_TILE:
        box = max(1, round(tile * min(1, shape))), max(1, round(tile / max(1, shape)))
        layout = lay_out(counts, box, texts)
        longest = max(layout.size)
        if longest <= LONGEST_SHEET:
            return layout
        # Gaps and words do not shrink as tiles do: this is never too small.
        tile = min(tile - 1, tile * LONGEST_SHEET // longest)
    raise ImageError(
        f"{len(counts)} rows of up to {max(counts)} tiles of {asked} pixels do not fit a sheet of "
        f"{LONGEST_SHEET} a side, nor do tiles of {LEAST_TILE}; make several sheets"
    )


def lay_out(counts: Sequence[int], box: tuple[int, int], texts: Texts) -> Layout:
    """Where the tiles of ``box`` and the words go, in rows of so many tiles."""
    width, height = box
    cell = max(width, LEAST_CELL)
    size = min(max(round(max(box) / 18), FONT_SIZES[0]), FONT_SIZES[1])
    small = [text for row in texts.captions for text in row]
    font = choose_font([*small, *texts.column_labels], cell, size)
    beside = choose_font(texts.row_labels, cell, size)
    sides = [Block(label, beside, cell) for label in texts.row_labels]
    side = max((block.extent for block in sides), default=0)
    lefts = [GAP + (side + GAP if side else 0) + n * (cell + GAP) for n in range(max(counts))]
    layout = Layout((lefts[-1] + cell + GAP, 0), box)

    top = GAP
    if texts.title:
        room = layout.size[0] - 2 * GAP
        larger = choose_font([texts.title], room, round(size * 1.3))
        title = Block(texts.title, larger, room).put(GAP, top)
        layout.blocks.append(title)
        top += title.height + GAP
    heads = [Block(label, font, cell) for label in texts.column_labels]
    tallest = max((block.height for block in heads), default=0)
    for left, head in zip(lefts, heads, strict=False):
        layout.blocks.append(head.put(left, top + tallest - head.height))
    top += tallest
    for count, captions, label in zip_longest(counts, texts.captions, sides):
        places = [(left + (cell - width) // 2, top) for left in lefts[:count]]
        layout.places.append(places)
        feet = [Block(caption, font, cell) for caption in captions or ()]
        for left, foot in zip(lefts, feet, strict=False):
            layout.blocks.append(foot.put(left, top + height + 2))
        below = max((foot.height + 2 for foot in feet), default=0)
        if label is not None:
            label.width = side
            layout.blocks.append(label.put(GAP, top + max(0, (height - label.height) // 2)))
            below = max(below, label.height - height)
        top += height + below + GAP
    layout.size = layout.size[0], top
    return layout
