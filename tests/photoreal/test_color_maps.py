"""Maps of colour: numbers by hand, and what Gaussians become."""

from __future__ import annotations

import pytest
import torch
from conftest import draw_picture

from impasto.images.reading import read_image
from impasto.photoreal.color_maps import (
    AffineMap,
    ColorGaussian,
    RegionMaps,
    average_maps,
    decode_colors,
    draw_in,
    encode_colors,
    find_map,
    find_region_maps,
    gather_colors,
)


def gaussian(mean: float, *variances: float, share: float = 1.0) -> ColorGaussian:
    return ColorGaussian(
        torch.full((3,), mean, dtype=torch.float64),
        torch.diag(torch.tensor(variances, dtype=torch.float64)),
        share,
    )


def test_coding_is_undone():
    levels = torch.linspace(0, 1, 256).view(1, 1, 1, -1).expand(1, 3, 1, -1)
    assert torch.allclose(decode_colors(encode_colors(levels)), levels, atol=1e-6)


def test_along_axes_a_map_is_a_ratio_of_deviations():
    """In levels: at coded 0, where pixels are 0.5, codes grow by 0.9 / 0.25 = 3.6 a level."""
    variances = [value * 3.6**2 for value in (0.04, 0.04, 0.16)]
    found = find_map(gaussian(0, *variances), gaussian(0, *reversed(variances)))
    noise = (4 / 255) ** 2
    half = ((0.04 + noise) / (0.16 + noise)) ** 0.5
    # Spread no more than 1 + 2 * 0.04 / (0.04 + (12 / 255)^2) = 2.895, which is not reached.
    assert torch.allclose(
        found.linear.diagonal(), torch.tensor([1 / half, 1, half], dtype=torch.float64)
    )


def test_a_map_ends_at_the_other_mean():
    found = find_map(gaussian(0.5, 1, 1, 4), gaussian(1.5, 4, 1, 1))
    moved = found.linear @ torch.full((3,), 0.5, dtype=torch.float64) + found.offset
    assert torch.allclose(moved, torch.full((3,), 1.5, dtype=torch.float64))


def test_the_same_spread_in_levels_stays_so_at_another_level():
    """From dark to bright: codes are scaled by the slopes, and levels not at all."""
    dark, bright = torch.tensor(-2.0), torch.tensor(0.4)
    slopes = [float(0.9 / (torch.sigmoid(x) * (1 - torch.sigmoid(x)))) for x in (dark, bright)]
    ours, theirs = (
        gaussian(float(mean), *(3 * [(0.02 * slope) ** 2]))
        for mean, slope in zip((dark, bright), slopes, strict=True)
    )
    found = find_map(ours, theirs).linear.diagonal()
    assert found.tolist() == pytest.approx(3 * [slopes[1] / slopes[0]], rel=1e-5)


def test_noise_is_not_enlarged():
    eye = torch.eye(3, dtype=torch.float64)
    even = find_map(gaussian(0, 0, 0, 0), gaussian(0, 9, 9, 9))
    assert torch.allclose(even.linear, eye)
    # A deviation of 12 levels may become twice that, if it is much more in the other picture.
    variance = (3.6 * 12 / 255) ** 2
    some = find_map(gaussian(0, *3 * [variance]), gaussian(0, 9, 9, 9))
    assert torch.allclose(some.linear, 2 * eye)


def test_pictures_take_mean_and_covariance():
    ours, theirs = (read_image(draw_picture(60, 40, seed)).pixels for seed in (1, 2))
    ours, theirs = 0.2 + 0.6 * ours, 0.3 + 0.4 * theirs
    own, other = (gather_colors(encode_colors(each), None) for each in (ours, theirs))
    mapped = RegionMaps.of([find_map(own, other)]).apply(ours, None)
    came_to = gather_colors(encode_colors(mapped), None)
    assert torch.allclose(came_to.mean, other.mean, atol=0.02)
    assert torch.allclose(came_to.covariance, other.covariance, rtol=0.03, atol=0.02)


def test_a_small_region_is_drawn_to_the_whole():
    whole = AffineMap(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    own, other = gaussian(0, 1, 1, 1, share=0.5), gaussian(1, 1, 1, 1, share=0.01)
    (half,) = find_region_maps([own], [other], whole)  # 1 % of the picture: half its own
    assert torch.allclose(half.offset, torch.full((3,), 0.5, dtype=torch.float64))
    (none,) = find_region_maps([own], [gaussian(1, 1, 1, 1, share=0.0)], whole)
    assert none == whole


def test_maps_are_averaged_and_laid_on_by_masks():
    eye, zero = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    up, down = AffineMap(eye, zero + 1), AffineMap(eye, zero - 1)
    assert torch.allclose(average_maps([up, down], [0.75, 0.25]).offset, zero + 0.5)
    pixels = torch.full((1, 3, 1, 2), 0.5)
    masks = torch.tensor([[[[1.0, 0.5]], [[0.0, 0.5]]]])  # all of the first; half of each
    mapped = encode_colors(RegionMaps.of([up, down]).apply(pixels, masks))
    assert mapped[0, 0, 0].tolist() == pytest.approx([1, 0], abs=1e-5)


def test_the_gain_of_maps_is_what_a_small_difference_becomes():
    generator = torch.Generator().manual_seed(0)
    linear = torch.eye(3) + 0.3 * torch.rand(2, 3, 3, generator=generator)
    maps = RegionMaps(linear, torch.tensor([[0.3, -0.5, 0.1], [-1.0, 0.2, 0.0]]))
    pixels = 0.2 + 0.6 * torch.rand(1, 3, 2, 2, generator=generator)
    masks = torch.rand(1, 1, 2, 2, generator=generator)
    masks = torch.cat([masks, 1 - masks], 1)
    squares = torch.zeros(1, 1, 2, 2)
    for channel in range(3):
        step = torch.zeros(1, 3, 1, 1)
        step[:, channel] = 1e-3
        change = maps.apply(pixels + step, masks) - maps.apply(pixels - step, masks)
        squares += (change / 2e-3).square().sum(1, keepdim=True)
    assert torch.allclose(maps.measure_gain(pixels, masks), (squares / 3).sqrt(), rtol=1e-2)


def test_what_lies_beyond_black_and_white_is_drawn_in():
    pixels = torch.tensor([0.0, 0.01, 0.5, 1.0]).view(1, 1, 1, 4)
    assert torch.allclose(draw_in(pixels, pixels), pixels, atol=1e-6)
    # At a knee of 0.03: 0.03^2 / (0.06 + 0.03) = 0.01; and the same from white.
    dark = torch.full((1, 1, 1, 1), -0.03)
    assert float(draw_in(dark, pixels[..., 2:3])) == pytest.approx(0.01)
    assert float(draw_in(1 - dark, pixels[..., 2:3])) == pytest.approx(0.99)
    ramp = torch.linspace(-0.05, 1.05, 500).view(1, 1, 1, -1)
    assert float(draw_in(ramp, torch.full_like(ramp, 0.5)).diff().min()) > 0
