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
    found = find_map(gaussian(0.5, 1, 1, 4), gaussian(1.5, 4, 1, 1))
    ridge = 0.004
    expected = [((4 + ridge) / (1 + ridge)) ** 0.5, 1, ((1 + ridge) / (4 + ridge)) ** 0.5]
    assert torch.allclose(found.linear.diagonal(), torch.tensor(expected, dtype=torch.float64))
    moved = found.linear @ torch.full((3,), 0.5, dtype=torch.float64) + found.offset
    assert torch.allclose(moved, torch.full((3,), 1.5, dtype=torch.float64))


def test_noise_is_not_enlarged_without_bound():
    found = find_map(gaussian(0, 0, 0, 0), gaussian(1, 9, 9, 9))
    assert torch.allclose(found.linear, 3 * torch.eye(3, dtype=torch.float64))
    assert torch.allclose(found.offset, torch.ones(3, dtype=torch.float64))


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


def test_what_lies_beyond_black_and_white_is_drawn_in():
    pixels = torch.tensor([0.0, 0.01, 0.5, 1.0]).view(1, 1, 1, 4)
    assert torch.allclose(draw_in(pixels, pixels), pixels, atol=1e-6)
    # At a knee of 0.03: 0.03^2 / (0.06 + 0.03) = 0.01; and the same from white.
    dark = torch.full((1, 1, 1, 1), -0.03)
    assert float(draw_in(dark, pixels[..., 2:3])) == pytest.approx(0.01)
    assert float(draw_in(1 - dark, pixels[..., 2:3])) == pytest.approx(0.99)
    ramp = torch.linspace(-0.05, 1.05, 500).view(1, 1, 1, -1)
    assert float(draw_in(ramp, torch.full_like(ramp, 0.5)).diff().min()) > 0
