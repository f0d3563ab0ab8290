"""Sixteen bits a value: read whole, written whole, and by other programs' measure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from impasto.images.opening import read_recipe
from impasto.images.reading import read_image
from impasto.images.writing import write_image

RECIPE = '{"impasto": "x", "options": {}, "about": "schön"}'


def draw_deep(channels: int, height: int = 21, width: int = 34) -> np.ndarray:
    return np.random.default_rng(channels).integers(0, 65536, (height, width, channels), np.uint16)


def to_tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float64) / 65535).permute(2, 0, 1)[None].float()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_what_is_written_in_16_bits_is_read_again(tmp_path, suffix, channels):
    path, values = tmp_path / f"a picture{suffix}", draw_deep(channels)
    pixels = to_tensor(values)
    alpha = pixels[:, 3:] if channels == 4 else None
    assert write_image(path, pixels[:, :3], alpha=alpha, recipe=RECIPE, depth=16) == ()
    picture = read_image(path)
    assert picture.depth == 16
    levels = (picture.pixels * 65535).round().int()[0].permute(1, 2, 0).numpy()
    assert (levels == values[:, :, :3]).all()
    if channels == 4:
        assert ((picture.alpha * 65535).round().int()[0, 0].numpy() == values[:, :, 3]).all()
    assert read_recipe(path) == RECIPE


@pytest.mark.parametrize("channels", [3, 4])
def test_another_program_reads_the_same_from_a_tiff(tmp_path, channels):
    tifffile = pytest.importorskip("tifffile")
    values = draw_deep(channels, 900, 700)  # more than one strip
    pixels = to_tensor(values)
    alpha = pixels[:, 3:] if channels == 4 else None
    write_image(tmp_path / "x.tif", pixels[:, :3], alpha=alpha, depth=16)
    assert (tifffile.imread(tmp_path / "x.tif") == values).all()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_another_program_s_tiff_is_read_in_16_bits(tmp_path, order, compression):
    tifffile = pytest.importorskip("tifffile")
    values = draw_deep(3)
    tifffile.imwrite(
        tmp_path / "x.tif", values, photometric="rgb", byteorder=order, compression=compression
    )
    picture = read_image(tmp_path / "x.tif")
    assert ((picture.pixels * 65535).round().int()[0].permute(1, 2, 0).numpy() == values).all()


def test_a_png_of_16_bits_in_many_pieces_is_one_for_pillow(tmp_path):
    values = draw_deep(3, 1200, 900)  # more than is compressed at once
    write_image(tmp_path / "x.png", to_tensor(values), depth=16)
    high = np.asarray(Image.open(tmp_path / "x.png"))
    assert (high == values >> 8).all()


def test_neighbouring_levels_stay_apart(tmp_path):
    ramp = np.arange(1024, dtype=np.uint16)[None, :, None].repeat(3, 2) * 64
    write_image(tmp_path / "x.png", to_tensor(ramp), depth=16)
    assert len(read_image(tmp_path / "x.png").pixels[0, 0, 0].unique()) == 1024


def test_jpeg_says_that_it_holds_8(tmp_path):
    notes = write_image(tmp_path / "x.jpg", to_tensor(draw_deep(3)), depth=16)
    assert notes == ("jpeg holds 8 bits a value, and 16 were read; png and tif hold 16",)
    assert read_image(tmp_path / "x.jpg").depth == 8


def test_a_profile_that_does_not_fit_leaves_16_bits(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    tag = [(34675, 7, len(profile), profile, True)]
    values = np.full((4, 4, 3), 0x1234, np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb", extratags=tag)
    picture = read_image(tmp_path / "x.tif")
    assert picture.depth == 16
    assert picture.pixels[0, 0, 0, 0] == pytest.approx(0x1234 / 65535, abs=1e-7)
