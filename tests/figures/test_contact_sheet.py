"""Contact sheets: where pictures and words stand, and that nothing is cut off or covered."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from conftest import draw_picture
from PIL import Image, ImageDraw

from impasto.errors import ImageError, MissingFileError, OptionError
from impasto.figures.contact_sheet import (
    GAP,
    LONGEST_SHEET,
    Texts,
    arrange,
    draw_sheet,
    fit_layout,
    fit_tile,
    save_sheet,
)
from impasto.figures.text import Block, balance_text, load_font, wrap_text

LONG = "style_layer=relu1_1+relu2_1+relu3_1"
RED, BLUE = (200, 30, 30), (20, 40, 220)


def fill(width: int, height: int, colour: tuple[int, int, int] = RED) -> Image.Image:
    return Image.new("RGB", (width, height), colour)


def levels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def inked(image: Image.Image, box: tuple[int, int, int, int]) -> bool:
    return bool((levels(image.crop(box)) < 128).any())


# --- tiles --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "columns", "lengths"),
    [
        (0, None, []),
        (1, None, [1]),
        (2, None, [2]),
        (4, None, [2, 2]),
        (5, None, [3, 2]),
        (9, None, [3, 3, 3]),
        (10, None, [4, 4, 2]),
        (5, 1, [1] * 5),
        (5, 4, [4, 1]),
        (3, 8, [3]),
    ],
)
def test_arranging_keeps_all_in_their_order(count, columns, lengths):
    rows = arrange(range(count), columns)
    assert [len(row) for row in rows] == lengths
    assert [item for row in rows for item in row] == list(range(count))


def test_no_columns_are_an_error():
    with pytest.raises(OptionError, match="columns: 0 is wrong"):
        arrange([1, 2], 0)


def test_fitting_pads_with_white_in_the_middle():
    tile = levels(fit_tile(fill(40, 20), 40, 40))
    assert tile.shape == (40, 40, 3)
    assert (tile[:10] == 255).all()
    assert (tile[30:] == 255).all()
    assert (tile[10:30] == RED).all()


def test_cutting_keeps_the_middle():
    photo = fill(80, 20, BLUE)
    photo.paste(RED, (30, 0, 50, 20))
    assert (levels(fit_tile(photo, 20, 20, crop=True)) == RED).all()


def test_what_is_transparent_is_white():
    clear = Image.new("RGBA", (8, 8), (200, 30, 30, 0))
    assert (levels(fit_tile(clear, 16, 16)) == 255).all()
    assert (levels(fit_tile(Image.new("L", (8, 8), 7), 16, 16)) == 7).all()


# --- words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("a few words", 20, ["a few words"]),
        ("a few words", 6, ["a few", "words"]),
        ("a style_layer=relu1_1", 18, ["a", "style_layer=", "relu1_1"]),
        ("style_layer=relu1_1+relu2_1", 13, ["style_layer=", "relu1_1+", "relu2_1"]),
        ("style_layer", 6, ["style_", "layer"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("one\ntwo", 20, ["one", "two"]),
        ("", 5, []),
    ],
)
def test_lines_break_at_the_best_place(text, width, lines):
    assert wrap_text(text, len, width) == lines


@pytest.mark.parametrize("width", range(1, 40))
def test_no_line_is_too_wide_and_no_letter_lost(width):
    text = f"{LONG}, tv_weight=5, a photograph.of-something"
    for lines in (wrap_text(text, len, width), balance_text(text, len, width)):
        assert max(map(len, lines)) <= width
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_no_word_stands_alone_on_the_last_line():
    text = "style 40, content 0.25, 80 steps in 13.2 s"
    assert wrap_text(text, len, 40)[-1] == "s"
    balanced = balance_text(text, len, 40)
    assert len(balanced) == 2
    assert len(balanced[1]) > 10


def test_a_block_is_as_large_as_its_ink():
    font = load_font(14)
    block = Block("Ågjy style_layer=relu1_1", font, 60)
    assert len(block.lines) > 1
    assert block.extent <= 60
    sheet = Image.new("RGB", (100, block.height + 40), "white")
    block.put(20, 20).draw(ImageDraw.Draw(sheet))
    ink = np.argwhere(levels(sheet).min(axis=2) < 255)
    assert ink.min(axis=0)[0] >= 20
    assert ink.max(axis=0)[0] < 20 + block.height
    assert ink.min(axis=0)[1] >= 19  # half a pixel of a letter's edge
    assert ink.max(axis=0)[1] <= 80


# --- sheets -------------------------------------------------------------------------------------


def test_tiles_have_the_shape_that_all_have():
    sheet = draw_sheet([[fill(32, 24), fill(64, 48, BLUE)]], tile=64)
    assert sheet.size == (2 * 64 + 3 * GAP, 48 + 2 * GAP)
    pixels = levels(sheet)
    assert (pixels[GAP : GAP + 48, GAP : GAP + 64] == RED).all()
    assert (pixels[GAP : GAP + 48, 2 * GAP + 64 : 2 * GAP + 128] == BLUE).all()
    assert (pixels[:, GAP + 64 : 2 * GAP + 64] == 255).all()


def test_a_shape_that_differs_by_rounding_leaves_no_line():
    pixels = levels(draw_sheet([[fill(64, 48), fill(65, 48, BLUE)]], tile=64))
    assert (pixels[GAP : GAP + 48, 2 * GAP + 64 : 2 * GAP + 128] == BLUE).all()


def test_shapes_that_differ_are_whole_in_squares():
    pixels = levels(draw_sheet([[fill(32, 16), fill(16, 32, BLUE)]], tile=64))
    assert pixels.shape == (64 + 2 * GAP, 2 * 64 + 3 * GAP, 3)
    assert (pixels == RED).all(axis=2).sum() == 64 * 32
    assert (pixels == BLUE).all(axis=2).sum() == 32 * 64


def test_ragged_rows_and_empty_places():
    sheet = draw_sheet([[None, fill(32, 32)], [fill(32, 32, BLUE)], []], tile=32)
    pixels = levels(sheet)
    assert sheet.width == 2 * 32 + 3 * GAP
    assert (pixels[:38, :38] == 255).all()
    assert (pixels[GAP : GAP + 32, 2 * GAP + 32 : 2 * GAP + 64] == RED).all()
    assert (pixels[2 * GAP + 32 : 2 * GAP + 64, GAP : GAP + 32] == BLUE).all()


@pytest.mark.parametrize("counts", [[1], [1, 1, 1], [4, 2, 3], [12]])
@pytest.mark.parametrize("shape", [1.5, 1.0, 0.1, 12.0])
@pytest.mark.parametrize("tile", [24, 90, 256])
def test_words_are_never_cut_off_and_never_meet(counts, shape, tile):
    texts = Texts(
        [[f"{LONG}, style_weight={n}" for n in range(count)] for count in counts],
        [LONG] * len(counts),
        ["a column with a Donaudampfschifffahrtsgesellschaft"] * max(counts),
        f"A long title of many words, and {LONG}",
    )
    layout = fit_layout(counts, shape, texts, tile)
    width, height = layout.tile
    boxes = [
        (left, top, left + width, top + height)
        for row, count in zip(layout.places, counts, strict=True)
        for left, top in row[:count]
    ]
    assert len(boxes) == sum(counts)
    for block in layout.blocks:
        assert block.extent <= block.width
        boxes.append((block.left, block.top, block.left + block.width, block.top + block.height))
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= layout.size[0]
        assert 0 <= top < bottom <= layout.size[1]
    for one, other in combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)


def test_words_stand_where_they_belong():
    tiles = [[fill(64, 64), fill(64, 64)], [fill(64, 64), fill(64, 64)]]
    plain = draw_sheet(tiles, tile=64)
    captioned = draw_sheet(tiles, tile=64, captions=[[], ["left", ""]])
    assert captioned.width == plain.width
    assert captioned.height > plain.height
    below = (0, 2 * 64 + 2 * GAP, 64 + GAP, captioned.height)
    assert inked(captioned, below)
    beside = (64 + 2 * GAP, below[1], captioned.width, captioned.height)
    assert not inked(captioned, beside)

    labelled = draw_sheet(tiles, tile=64, row_labels=["first"])
    side = labelled.width - plain.width
    assert labelled.height == plain.height
    assert inked(labelled, (0, 0, side, 64 + GAP))
    assert not inked(labelled, (0, 64 + 2 * GAP, side, labelled.height))

    headed = draw_sheet(tiles, tile=64, column_labels=["", "second"])
    head = headed.height - plain.height
    assert headed.width == plain.width
    assert not inked(headed, (0, 0, 64 + GAP, head))
    assert inked(headed, (64 + GAP, 0, headed.width, head + GAP))

    titled = draw_sheet(tiles, tile=64, title="title")
    assert inked(titled, (0, 0, titled.width, titled.height - plain.height))


def test_tiles_shrink_until_the_sheet_is_no_larger_than_it_may():
    rows = [[fill(4, 3)] * 100]
    sheet = draw_sheet(rows, tile=256)
    assert LONGEST_SHEET * 0.97 < sheet.width <= LONGEST_SHEET
    tall = draw_sheet([[fill(4, 3)]] * 100, tile=256)
    assert LONGEST_SHEET * 0.97 < tall.height <= LONGEST_SHEET


def test_too_many_tiles_are_an_error():
    with pytest.raises(ImageError, match=r"up to 400 tiles of 256 pixels do not fit .* 8192"):
        draw_sheet([[fill(4, 4)] * 400])


def test_a_sheet_without_pictures_is_an_error():
    with pytest.raises(ImageError, match="at least one picture"):
        draw_sheet([[None], []])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"captions": [["a", "b"]]}, "2 captions for 1"),
        ({"captions": [[], ["a"]]}, "2 captions for 1"),
        ({"row_labels": ["a", "b"]}, "2 row labels for 1"),
        ({"column_labels": ["a", "b", "c"]}, "3 column labels for 1"),
        ({"tile": 8}, "tile: 8 is wrong"),
    ],
)
def test_words_that_have_no_tile_are_an_error(words, message):
    with pytest.raises(OptionError, match=message):
        draw_sheet([[fill(4, 4)]], **words)


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a sheet.png", "a sheet.jpg", "a sheet.JPEG", "a sheet.webp"])
def test_a_sheet_is_written_as_it_is_named(tmp_path, name):
    sheet = draw_sheet([[fill(64, 48)]], captions=[["red"]], tile=64)
    save_sheet(sheet, tmp_path / name)
    with Image.open(tmp_path / name) as read:
        assert read.size == sheet.size
        assert np.abs(levels(read.convert("RGB")) - levels(sheet)).mean() < 3
    written = (tmp_path / name).read_bytes()
    save_sheet(sheet, tmp_path / name)
    assert (tmp_path / name).read_bytes() == written
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet.webp"])
def test_quality_falls_until_a_limit_is_kept(tmp_path, name):
    sheet = Image.fromarray(draw_picture(256, 256, 3))
    save_sheet(sheet, tmp_path / name)
    free = (tmp_path / name).stat().st_size
    save_sheet(sheet, tmp_path / name, limit=free - 1)
    assert free * 0.75 < (tmp_path / name).stat().st_size < free  # the best that fits
    save_sheet(sheet, tmp_path / name, limit=free)
    assert (tmp_path / name).stat().st_size == free


@pytest.mark.parametrize("name", ["sheet.jpg", "sheet.png"])
def test_a_limit_that_cannot_be_kept_leaves_no_file(tmp_path, name):
    with pytest.raises(ImageError, match=r"in 500 bytes: it takes \d+; make the tiles smaller"):
        save_sheet(Image.fromarray(draw_picture(128, 128)), tmp_path / name, limit=500)
    assert not list(tmp_path.iterdir())


def test_a_wrong_place_is_said(tmp_path):
    with pytest.raises(ImageError, match=r"suffix '\.gif'; choose from \.png"):
        save_sheet(fill(8, 8), tmp_path / "sheet.gif")
    with pytest.raises(MissingFileError, match="no such folder"):
        save_sheet(fill(8, 8), tmp_path / "nowhere" / "sheet.png")


def test_what_is_transparent_is_white_in_the_file(tmp_path):
    save_sheet(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), tmp_path / "sheet.jpg")
    assert (levels(Image.open(tmp_path / "sheet.jpg")) > 250).all()


def test_a_picture_larger_than_its_format_holds_is_said(tmp_path):
    with pytest.raises(ImageError, match=r"cannot write .sheet\.webp."):
        save_sheet(Image.new("RGB", (16400, 4)), tmp_path / "sheet.webp")
