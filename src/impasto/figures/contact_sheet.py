"""Contact sheets: pictures in rows on white, with words under, over and beside them.

Words are never cut off and never overlap: a line that is too long is wrapped, at a space if it can
be, else after a sign, and everything below it moves down.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from math import isqrt
from typing import NamedTuple, TypeVar

from PIL import Image, ImageDraw

from impasto.errors import ImageError, OptionError
from impasto.figures.text import FONT_SIZES, Block, choose_font
from impasto.system.files import check_place, replace_file

Item = TypeVar("Item")
Rows = Sequence[Sequence[Image.Image | None]]

_SHEET_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
LONGEST_SHEET = 8192  # pixels a side
_LEAST_TILE = 24
_LEAST_CELL = 32  # what the narrowest tile's words have, so that each holds a letter
GAP = 6
_ALIKE = 0.02  # how far shapes may differ and still be taken for one; sizes are rounded
_QUALITIES = range(90, 40, -4)


def arrange(items: Sequence[Item], columns: int | None = None) -> list[list[Item]]:
    """Put pictures or captions into rows; by default as many columns as rows, or one more."""
    if columns is not None and columns < 1:
        raise OptionError(f"columns: {columns} is wrong: a sheet has at least 1")
    columns = columns or isqrt(max(len(items) - 1, 0)) + 1
    return [list(items[i : i + columns]) for i in range(0, len(items), columns)]


def fit_tile(image: Image.Image, width: int, height: int, *, crop: bool = False) -> Image.Image:
    """Scale a picture to fill a tile, cropping what juts out; or, uncropped, to fit on white."""
    choose = max if crop else min
    scale = choose(width / image.width, height / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    tile = Image.new("RGB", (width, height), "white")
    scaled = flatten(image).resize(size, Image.Resampling.LANCZOS)
    tile.paste(scaled, ((width - size[0]) // 2, (height - size[1]) // 2))
    return tile


def flatten(image: Image.Image) -> Image.Image:
    """Return a picture in RGB, on white where it is transparent."""
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
    """Draw pictures of one shape in tiles of that shape; of several, each whole in a square.

    ``tile`` is a tile's long side in pixels. It is made smaller where the sheet would else be
    larger than 8192 pixels a side.
    """
    if tile < _LEAST_TILE:
        raise OptionError(f"tile: {tile} is wrong: a tile's long side is at least {_LEAST_TILE}")
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
    """Write a sheet, whole or not at all, in at most ``limit`` bytes.

    A JPEG or WebP has the best quality that this allows.
    """
    place = check_place(path, "a sheet", _SHEET_KINDS, ImageError)
    kind = _SHEET_KINDS[place.suffix.lower()]
    image = flatten(image)
    for quality in [0] if kind == "PNG" else _QUALITIES:
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


# --- where everything goes ----------------------------------------------------------------------


class Texts(NamedTuple):
    """All that is written on a sheet."""

    captions: Sequence[Sequence[str]]
    row_labels: Sequence[str]
    column_labels: Sequence[str]
    title: str


@dataclass
class SheetLayout:
    """A sheet's size and its tiles', the upper left corner of each tile, and the words."""

    size: tuple[int, int]
    tile: tuple[int, int]
    places: list[list[tuple[int, int]]] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)


def check_texts(counts: Sequence[int], texts: Texts) -> None:
    """Refuse words for which there is no tile."""
    for what, count, room in [
        ("captions", len(texts.captions), len(counts)),
        ("row labels", len(texts.row_labels), len(counts)),
        ("column labels", len(texts.column_labels), max(counts)),
        *(("captions", len(row), n) for row, n in zip(texts.captions, counts, strict=False)),
    ]:
        if count > room:
            raise OptionError(f"{count} {what} for {room}; give at most one for each")


def shared_shape(pictures: Sequence[Image.Image]) -> float | None:
    """Return width over height, if all have the same."""
    shapes = [image.width / image.height for image in pictures]
    return shapes[0] if all(abs(each / shapes[0] - 1) <= _ALIKE for each in shapes) else None


def fit_layout(counts: Sequence[int], shape: float, texts: Texts, tile: int) -> SheetLayout:
    """Return the layout with the largest tiles, up to ``tile``, that the sheet has room for."""
    asked = tile
    while tile >= _LEAST_TILE:
        box = max(1, round(tile * min(1, shape))), max(1, round(tile / max(1, shape)))
        layout = lay_out_sheet(counts, box, texts)
        longest = max(layout.size)
        if longest <= LONGEST_SHEET:
            return layout
        # Gaps and words do not shrink as tiles do: this is never too small.
        tile = min(tile - 1, tile * LONGEST_SHEET // longest)
    raise ImageError(
        f"{len(counts)} rows of up to {max(counts)} tiles of {asked} pixels do not fit a sheet of "
        f"{LONGEST_SHEET} a side, nor do tiles of {_LEAST_TILE}; make several sheets"
    )


def lay_out_sheet(counts: Sequence[int], box: tuple[int, int], texts: Texts) -> SheetLayout:
    """Return where the tiles of ``box`` and the words go, in rows of so many tiles."""
    width, height = box
    cell = max(width, _LEAST_CELL)
    size = min(max(round(max(box) / 18), FONT_SIZES[0]), FONT_SIZES[1])
    small = [text for row in texts.captions for text in row]
    font = choose_font([*small, *texts.column_labels], cell, size)
    beside = choose_font(texts.row_labels, cell, size)
    sides = [Block(label, beside, cell) for label in texts.row_labels]
    side = max((block.extent for block in sides), default=0)
    lefts = [GAP + (side + GAP if side else 0) + n * (cell + GAP) for n in range(max(counts))]
    layout = SheetLayout((lefts[-1] + cell + GAP, 0), box)

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
