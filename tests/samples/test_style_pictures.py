"""Style pictures are in the package, small, rich and unlike one another."""

from __future__ import annotations

import functools
import itertools
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.errors import OptionError
from impasto.samples.style_pictures import LARGEST_SIDE, STYLE_PICTURES, open_style

DATA = resources.files("impasto") / "data" / "samples"
TRAINING = Path(__file__).parents[2] / "training"


@functools.cache
def pixels(name: str, side: int = 160) -> np.ndarray:
    return np.asarray(open_style(name, side), np.float64) / 255


def luma(colours: np.ndarray) -> np.ndarray:
    return colours @ [0.299, 0.587, 0.114]


def histogram(colours: np.ndarray) -> np.ndarray:
    """Shares of the pixels in 4 x 4 x 4 boxes of colour."""
    boxes = np.round(colours * 255).astype(int).reshape(-1, 3) // 64 @ [16, 4, 1]
    return np.bincount(boxes, minlength=64) / len(boxes)


def test_the_files_are_these_and_small():
    files = {file.name: len(file.read_bytes()) for file in DATA.iterdir()}
    assert set(files) == {f"{name}.jpg" for name in STYLE_PICTURES}
    assert sum(files.values()) < 800_000


@pytest.mark.parametrize("name", STYLE_PICTURES)
def test_files_are_squares_with_colour_in_full_resolution_and_nothing_else(name):
    with (DATA / f"{name}.jpg").open("rb") as file, Image.open(file) as picture:
        assert picture.size == (LARGEST_SIDE, LARGEST_SIDE)
        assert {layer[1:3] for layer in picture.layer} == {(1, 1)}  # 4:4:4
        assert not {"exif", "icc_profile", "comment"} & set(picture.info)


@pytest.mark.parametrize("side", [16, 90, LARGEST_SIDE])
def test_a_style_is_opened_at_any_size(side):
    picture = open_style("waves", side)
    assert picture.size == (side, side)
    assert picture.mode == "RGB"


@pytest.mark.parametrize("name", STYLE_PICTURES)
def test_a_style_has_contrast_colour_and_texture_everywhere(name):
    colours = pixels(name)
    assert luma(colours).std() > 0.12
    assert (colours.max(-1) - colours.min(-1)).mean() > 0.15
    # blocks of 20 x 20 pixels: hardly any may be flat
    blocks = luma(colours).reshape(8, 20, 8, 20).std(axis=(1, 3))
    assert np.quantile(blocks, 0.1) > 0.025


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(STYLE_PICTURES, 2)])
def test_every_style_has_a_palette_of_its_own(one, other):
    # half the sum of the differences: the share of the pixels that would have to change
    assert np.abs(histogram(pixels(one)) - histogram(pixels(other))).sum() / 2 > 0.3


@pytest.mark.parametrize("name", STYLE_PICTURES)
def test_the_script_draws_these_pictures(name, monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINING))
    from sample_styles import STYLES, draw_style

    assert list(STYLES) == list(STYLE_PICTURES)
    drawn = np.asarray(draw_style(name, size=(40, 40)), np.float64) / 255
    # the finest texture differs at another size; what is where does not
    assert np.corrcoef(luma(drawn).ravel(), luma(pixels(name, 40)).ravel())[0, 1] > 0.6


@pytest.mark.parametrize("side", [15, LARGEST_SIDE + 1])
def test_sizes_that_are_not_in_the_file_are_refused(side):
    text = f"the sample styles come at 16 to 640 pixels a side, not at {side}"
    with pytest.raises(OptionError, match=text):
        open_style("waves", side)


def test_unknown_names_are_answered_with_a_near_one():
    with pytest.raises(OptionError, match=r"unknown style 'wave'; did you mean 'waves'\?"):
        open_style("wave")
    with pytest.raises(OptionError, match="choose from strokes, glass, waves, dots, halftone"):
        open_style("q")
