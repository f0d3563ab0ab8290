"""Colour carried over: the moments come out as asked, and colours move no more than they must."""

from __future__ import annotations

import torch

from impasto.color import color_statistics, match_color, matrix_power


def random_picture(seed: int, spread: float = 0.1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.rand(3, 3, generator=generator, dtype=torch.float64) - 0.5
    colors = torch.randn(3, 40 * 30, generator=generator, dtype=torch.float64)
    return (0.5 + spread * mixing @ colors).clamp(0, 1).view(1, 3, 40, 30)


def test_statistics_worked_by_hand():
    pixels = torch.tensor([[[[0.0, 1.0]], [[0.0, 0.5]], [[0.2, 0.2]]]])
    mean, covariance = color_statistics(pixels)
    expected = [[0.25, 0.125, 0], [0.125, 0.0625, 0], [0, 0, 0]]
    torch.testing.assert_close(mean, torch.tensor([0.5, 0.25, 0.2], dtype=torch.float64))
    torch.testing.assert_close(covariance, torch.tensor(expected, dtype=torch.float64))


def test_mean_and_covariance_become_the_source_s():
    pixels, source = random_picture(1), random_picture(2)
    for ours, theirs in zip(
        color_statistics(match_color(pixels, source)), color_statistics(source), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


def test_a_picture_s_own_colours_stay():
    pixels = random_picture(3)
    torch.testing.assert_close(match_color(pixels, pixels), pixels, atol=1e-4, rtol=0)


def test_one_channel_stretched_is_the_plain_formula():
    # Along the axes, optimal transport is mean and deviation, channel by channel.
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(3, 5000, generator=generator, dtype=torch.float64)
    pixels = (0.4 + 0.2 * (base - 0.5)).view(1, 3, 50, 100)
    source = (0.6 + 0.4 * (base.flip(1) - 0.5)).view(1, 3, 50, 100)
    axis = (pixels.flatten(2)[0] - pixels.mean((2, 3))[0][:, None]) * 2
    expected = (axis + source.mean((2, 3))[0][:, None]).view_as(pixels)
    torch.testing.assert_close(match_color(pixels, source), expected, atol=2e-3, rtol=0)


def test_a_grey_picture_takes_colour_without_breaking():
    grey = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0)).expand(1, 3, 20, 20)
    moved = match_color(grey, random_picture(4).float())
    assert moved.isfinite().all()
    assert moved.std() > 0.01


def test_a_flat_picture_stays_flat():
    flat = match_color(torch.full((1, 3, 8, 8), 0.3), random_picture(5).float())
    torch.testing.assert_close(flat.std((2, 3)), torch.zeros(1, 3), atol=1e-4, rtol=0)


def test_powers_of_a_matrix():
    matrix = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)  # eigenvalues 1 and 3
    root = matrix_power(matrix, 0.5)
    torch.testing.assert_close(root @ root, matrix)
    torch.testing.assert_close(matrix_power(matrix, -1), torch.linalg.inv(matrix))
