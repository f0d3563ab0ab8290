"""Starts: what each entry of the table is, by numbers, and what goes wrong."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import draw_picture
from PIL import Image
from torch import Tensor

from impasto.errors import MissingFileError, OptionError
from impasto.images.reading import read_image
from impasto.images.resizing import resize_pixels
from impasto.painting.starts import STARTS, find_details, make_periodic, start_picture

pytestmark = pytest.mark.arithmetic

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
    assert torch.equal(first, other) == (name in ("content", "details", "style", "grey"))


def test_content_and_grey():
    content, style = pixels_of(40, 30, 1), pixels_of(30, 40, 2)
    assert torch.equal(start_picture("content", content, style), content)
    assert torch.equal(start_picture("grey", content, style), torch.full((1, 3, 30, 40), 0.5))


def test_details_are_what_half_the_size_lacks():
    # Means of four pixels, enlarged bilinearly: 0.25 and 0.75 of the way at the inner pixels.
    content = torch.tensor([0.1, 0.3, 0.5, 0.9]).expand(1, 3, 4, 4).contiguous()
    small = torch.tensor([0.2, 0.7])
    between = torch.tensor([small[0], 0.325, 0.575, small[1]])
    details = find_details(content)
    torch.testing.assert_close(details, content - between.expand_as(content))
    style = torch.full((1, 3, 5, 7), 0.5)
    torch.testing.assert_close(start_picture("details", content, style), details + 0.5)


def test_noise_is_white_and_around_grey():
    noise = start_picture("noise", torch.zeros(1, 3, 100, 120), pixels_of(30, 40))
    assert 0.25 <= float(noise.min()) < 0.26
    assert 0.74 < float(noise.max()) <= 0.75
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(noise.var()) == pytest.approx(0.5**2 / 12, rel=0.05)
    beside = ((noise - 0.5)[..., 1:] * (noise - 0.5)[..., :-1]).mean()
    assert abs(float(beside)) < 0.05 * float(noise.var())


def test_faint_noise_is_noise_with_a_deviation_of_one_grey_level():
    content, style = torch.zeros(1, 3, 100, 120), pixels_of(30, 40)
    noise, faint = (start_picture(name, content, style) - 0.5 for name in ("noise", "faint-noise"))
    assert float(faint.std()) == pytest.approx(1 / 255, rel=0.03)
    torch.testing.assert_close(faint / faint.std(), noise / noise.std(), rtol=0, atol=1e-3)


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
    periodic = make_periodic(style)  # the rest is a cross of lines in its spectrum
    ours, theirs = (torch.fft.fft2(p[0].double()) for p in (start, periodic))  # (3, H, W)
    for one in range(3):
        for other in range(3):  # across colours too: their correlations at every distance
            spectrum = ours[one] * ours[other].conj()
            wanted = theirs[one] * theirs[other].conj()
            torch.testing.assert_close(spectrum, wanted, rtol=1e-3, atol=1e-3)
    colors, wanted = start[0].flatten(1).double(), periodic[0].flatten(1).double()
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
    with pytest.raises(OptionError, match=r"unknown init 'xyzzy'.*, or give a picture's path"):
        start_picture("xyzzy", content, style)
    with pytest.raises(MissingFileError, match=r"gone\.png"):
        start_picture(str(tmp_path / "gone.png"), content, style)


# --- periodic pictures --------------------------------------------------------------------------


def measure_jumps(pixels: Tensor) -> list[tuple[float, float]]:
    """(from edge to edge, between neighbours inside) down and across: mean squares."""
    jumps = []
    for dim in (-2, -1):
        edge = (pixels.select(dim, 0) - pixels.select(dim, -1)).square().mean()
        jumps.append((float(edge), float(pixels.diff(dim=dim).square().mean())))
    return jumps


@pytest.mark.parametrize("size", [(64, 48), (33, 51), (50, 31), (2, 9), (1, 7)])
def test_periodic_and_smooth_add_up_and_the_mean_stays(size):
    pixels = pixels_of(*size, seed=2)
    periodic = make_periodic(pixels)
    torch.testing.assert_close(periodic.mean((2, 3)), pixels.mean((2, 3)))
    # What is left is smooth: its differences with all neighbours, over the edge too, are the jumps
    # along the edges and nothing inside (eq. 9 of Moisan).
    smooth = (pixels - periodic)[0].double()
    around = sum(torch.roll(smooth, by, dim) for dim in (-2, -1) for by in (1, -1)) - 4 * smooth
    expected = torch.zeros_like(smooth)
    whole = pixels[0].double()
    expected[:, 0] += whole[:, -1] - whole[:, 0]
    expected[:, -1] -= whole[:, -1] - whole[:, 0]
    expected[:, :, 0] += whole[:, :, -1] - whole[:, :, 0]
    expected[:, :, -1] -= whole[:, :, -1] - whole[:, :, 0]
    torch.testing.assert_close(around, expected, rtol=0, atol=1e-5)


def test_a_periodic_picture_has_no_jump_from_edge_to_edge():
    pixels = pixels_of(64, 48, 2)
    for (edge, inside), (before, _) in zip(
        measure_jumps(make_periodic(pixels)), measure_jumps(pixels), strict=True
    ):
        assert before > 3 * inside
        assert edge < 1.2 * inside


def test_what_is_periodic_hardly_changes():
    y, x = torch.arange(48)[:, None] / 48, torch.arange(64) / 64
    waves = [torch.sin(2 * math.pi * (a * x + b * y)) for a, b in ((1, 0), (2, 1), (0, 1))]
    pixels = 0.5 + 0.3 * torch.stack(waves)[None]
    apart = (make_periodic(pixels) - pixels).abs().max()
    assert float(apart) < 0.2 * 0.3  # a wave's edges differ as neighbours do
    assert float((make_periodic(pixels) - pixels).square().mean().sqrt()) < 0.05 * 0.3
    flat = torch.full((1, 3, 7, 9), 0.3)
    torch.testing.assert_close(make_periodic(flat), flat)


def test_making_periodic_is_linear():
    one, other = pixels_of(40, 30, 1), pixels_of(40, 30, 2)
    torch.testing.assert_close(
        make_periodic(2 * one - 3 * other),
        2 * make_periodic(one) - 3 * make_periodic(other),
        rtol=0,
        atol=1e-5,
    )


def test_statistics_fit_side_by_side():
    style = 0.5 + 0.3 * (pixels_of(64, 48, 2) - 0.5)
    for seed in range(3):
        start = start_picture("statistics", torch.zeros(1, 3, 96, 80), style, seed=seed)
        for edge, inside in measure_jumps(start):
            assert edge < 1.5 * inside
