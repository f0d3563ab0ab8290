"""Starts: what each entry of the table is, by numbers, and what goes wrong."""

from __future__ import annotations

import pytest
import torch
from conftest import draw_picture
from PIL import Image
from torch import Tensor

from impasto.errors import MissingFileError, OptionError
from impasto.images import read_image, resize_pixels
from impasto.starts import STARTS, start_picture

every_start = pytest.mark.parametrize("name", STARTS)


def pixels_of(width: int, height: int, seed: int = 0) -> Tensor:
    return read_image(draw_picture(width, height, seed)).pixels


@every_start
@pytest.mark.parametrize("size", [(64, 48), (33, 51), (300, 6), (1, 1)])
def test_every_start_has_the_photograph_s_shape_and_range(name, size):
    content, style = pixels_of(*size, seed=1), pixels_of(40, 30, seed=2)
    start = start_picture(name, content, style)
    assert start.shape == content.shape
    assert start.dtype == torch.float32
    assert 0 <= float(start.min()) <= float(start.max()) <= 1


@every_start
def test_a_seed_is_a_start(name):
    content, style = pixels_of(40, 30, 1), pixels_of(30, 40, 2)
    first, same, other = (start_picture(name, content, style, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first, same)
    assert torch.equal(first, other) == (name not in ("noise", "statistics"))


def test_content_and_grey():
    content, style = pixels_of(40, 30, 1), pixels_of(30, 40, 2)
    assert torch.equal(start_picture("content", content, style), content)
    assert torch.equal(start_picture("grey", content, style), torch.full((1, 3, 30, 40), 0.5))


def test_noise_is_white_and_around_grey():
    noise = start_picture("noise", torch.zeros(1, 3, 100, 120), pixels_of(30, 40))
    assert 0.25 <= float(noise.min()) < 0.26
    assert 0.74 < float(noise.max()) <= 0.75
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(noise.var()) == pytest.approx(0.5**2 / 12, rel=0.05)
    beside = ((noise - 0.5)[..., 1:] * (noise - 0.5)[..., :-1]).mean()
    assert abs(float(beside)) < 0.05 * float(noise.var())


def test_a_style_is_cut_and_not_squeezed():
    content, style = torch.zeros(1, 3, 48, 64), pixels_of(80, 48, 2)
    assert torch.equal(start_picture("style", content, style), style[..., 8:72])
    tall = pixels_of(32, 100, 3)  # twice as large it fills the width
    grown = resize_pixels(tall, 64, 200)
    assert torch.equal(start_picture("style", content, tall), grown[..., 76:124, :])


@pytest.mark.parametrize("size", [(64, 48), (33, 51), (50, 31)])
def test_statistics_keep_the_style_s_spectrum_and_covariance(size):
    style = 0.5 + 0.15 * (pixels_of(*size, seed=2) - 0.5)  # far from where it would be clamped
    start = start_picture("statistics", torch.zeros_like(style), style, seed=5)
    ours, theirs = (torch.fft.fft2(p[0].double()) for p in (start, style))  # (3, H, W)
    for one in range(3):
        for other in range(3):  # across colours too: their correlations at every distance
            spectrum = ours[one] * ours[other].conj()
            wanted = theirs[one] * theirs[other].conj()
            torch.testing.assert_close(spectrum, wanted, rtol=1e-3, atol=1e-3)
    colors, wanted = start[0].flatten(1).double(), style[0].flatten(1).double()
    torch.testing.assert_close(colors.mean(1), wanted.mean(1), rtol=0, atol=1e-6)
    torch.testing.assert_close(colors.cov(), wanted.cov(), rtol=1e-4, atol=1e-8)
    assert float((start - style).abs().mean()) > 0.3 * float(style.std())  # and is not the style


@pytest.mark.parametrize("seed", range(6))
def test_statistics_keep_the_mean_whatever_the_seed(seed):
    style = 0.3 + 0.1 * (pixels_of(20, 16, seed=2) - 0.5)
    start = start_picture("statistics", torch.zeros_like(style), style, seed=seed)
    torch.testing.assert_close(start.mean((2, 3)), style.mean((2, 3)))


def test_a_file_is_resized(tmp_path):
    path = tmp_path / "start.png"
    Image.fromarray(draw_picture(20, 30, 4)).save(path)
    start = start_picture(str(path), torch.zeros(1, 3, 48, 64), pixels_of(30, 40))
    assert torch.equal(start, resize_pixels(pixels_of(20, 30, 4), 64, 48))


def test_what_is_no_start(tmp_path):
    content, style = pixels_of(40, 30), pixels_of(30, 40)
    with pytest.raises(OptionError, match="unknown init 'gray'; did you mean 'grey'"):
        start_picture("gray", content, style)
    with pytest.raises(OptionError, match=r"unknown init 'xyzzy'.*or give a picture's path"):
        start_picture("xyzzy", content, style)
    with pytest.raises(MissingFileError, match=r"gone\.png"):
        start_picture(str(tmp_path / "gone.png"), content, style)
