"""Styles are seeded, of any size, rich and unlike one another; photographs are found and whole."""

from __future__ import annotations

import functools
import importlib.util
import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.errors import DependencyError, OptionError
from impasto.samples import photographs as samples

SIDE = 160


@functools.cache
def drawn(name: str, size: tuple[int, int] = (SIDE, SIDE), seed: int = 0) -> Image.Image:
    return samples.draw_style(name, size=size, seed=seed)


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, np.float64) / 255


def luma(colours: np.ndarray) -> np.ndarray:
    return colours @ [0.299, 0.587, 0.114]


def histogram(picture: Image.Image) -> np.ndarray:
    """Shares of the pixels in 4 x 4 x 4 boxes of colour."""
    boxes = np.asarray(picture).reshape(-1, 3) // 64 @ [16, 4, 1]
    return np.bincount(boxes, minlength=64) / len(boxes)


@pytest.mark.parametrize("name", samples.STYLES)
def test_the_same_seed_draws_the_same_bytes_and_another_does_not(name):
    again = samples.draw_style(name, size=(48, 48), seed=3)
    assert again.tobytes() == drawn(name, (48, 48), 3).tobytes()
    other = pixels(drawn(name, (48, 48), 4))
    assert np.abs(other - pixels(again)).mean() > 0.01


@pytest.mark.parametrize("size", [(16, 16), (200, 90), (16, 120)])
@pytest.mark.parametrize("name", samples.STYLES)
def test_any_size_is_drawn(name, size):
    picture = drawn(name, size)
    assert picture.size == size
    assert picture.mode == "RGB"
    assert luma(pixels(picture)).std() > 0.05


@pytest.mark.parametrize("name", samples.STYLES)
def test_a_style_is_the_same_picture_at_every_size(name):
    small = pixels(drawn(name, (40, 40)))
    large = pixels(drawn(name).resize((40, 40), Image.Resampling.BOX))
    # the finest texture differs; what is where does not
    assert np.corrcoef(luma(small).ravel(), luma(large).ravel())[0, 1] > 0.6
    assert (
        np.abs(small.mean((0, 1)) - large.mean((0, 1))).max() < 0.12
    )  # a line is never thinner than a pixel


@pytest.mark.parametrize("name", samples.STYLES)
def test_a_style_has_contrast_colour_and_texture_everywhere(name):
    colours = pixels(drawn(name))
    assert luma(colours).std() > 0.12
    assert (colours.max(-1) - colours.min(-1)).mean() > 0.15
    # blocks of 20 x 20 pixels: hardly any may be flat
    blocks = luma(colours).reshape(8, 20, 8, 20).std(axis=(1, 3))
    assert np.quantile(blocks, 0.1) > 0.025


@pytest.mark.parametrize(("one", "other"), [*itertools.combinations(samples.STYLES, 2)])
def test_every_style_has_a_palette_of_its_own(one, other):
    # half the sum of the differences: the share of the pixels that would have to change
    assert np.abs(histogram(drawn(one)) - histogram(drawn(other))).sum() / 2 > 0.3


def test_very_large_and_very_small_styles_are_refused():
    with pytest.raises(
        OptionError, match="15 x 64 pixels cannot be drawn; each side must be from 16"
    ):
        samples.draw_style("waves", size=(15, 64))
    with pytest.raises(OptionError, match="to 4096"):
        samples.draw_style("waves", size=(64, 5000))


def test_unknown_names_are_answered_with_a_near_one():
    with pytest.raises(OptionError, match=r"unknown style 'wave'; did you mean 'waves'\?"):
        samples.draw_style("wave")
    with pytest.raises(OptionError, match=r"unknown photograph 'cofee'; did you mean 'coffee'\?"):
        samples.find_photograph("cofee")
    with pytest.raises(OptionError, match="choose from strokes, glass, waves, dots, halftone"):
        samples.draw_style("q")


@pytest.mark.parametrize("name", samples.PHOTOGRAPHS)
def test_photographs_are_found_and_opened(name):
    pytest.importorskip("skimage")
    path = samples.find_photograph(name)
    assert path.name == samples.PHOTOGRAPHS[name].file
    with Image.open(path) as picture:
        picture.load()
        assert picture.mode == "RGB"
        assert min(picture.size) >= 300
    assert samples.PHOTOGRAPHS[name].credit
    assert samples.PHOTOGRAPHS[name].licence in {"CC0", "public domain"}


def test_photographs_are_found_without_importing_skimage():
    pytest.importorskip("skimage")
    code = (
        "import sys; from impasto.samples import find_photograph; find_photograph('cat'); "
        "assert not {'skimage', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_skimage_the_install_line_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DependencyError, match=r"pip install 'impasto\[samples\]'"):
        samples.find_photograph("cat")


def test_write_samples_writes_whole_files_over_old_ones(tmp_path: Path):
    pytest.importorskip("skimage")
    folder = tmp_path / "a folder" / "with spaces"
    folder.mkdir(parents=True)
    (folder / "waves.png").write_text("an old file")
    written = samples.write_samples(folder, size=32, seed=1)
    names = ["astronaut.png", "cat.png", "coffee.png", "rocket.jpg"]
    names += [f"{name}.png" for name in samples.STYLES]
    assert [path.name for path in written] == names
    assert sorted(folder.iterdir()) == sorted(written)  # and nothing half-written beside them
    for name in samples.STYLES:
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.tobytes() == drawn(name, (32, 32), 1).tobytes()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    old = tmp_path / "astronaut.png"
    old.write_bytes(b"old")

    def fail(_self: Path, _target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(samples.Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        samples.write_samples(tmp_path, size=16)
    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]


def test_write_samples_of_a_bad_size_writes_nothing(tmp_path):
    pytest.importorskip("skimage")
    with pytest.raises(OptionError, match="8 x 8"):
        samples.write_samples(tmp_path / "new", size=8)
    assert not (tmp_path / "new").exists()
