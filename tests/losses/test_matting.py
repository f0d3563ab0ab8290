"""The matting Laplacian: as a matrix made of its formula, by gradients, and over tiles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from oracles import matting_laplacian

from impasto.images.tiles import Box, cut_picture
from impasto.losses.matting import matting_energy


def draw(height: int, width: int, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random((1, 3, height, width)))


def multiply_by_matrix(values: torch.Tensor, photo: torch.Tensor, edge: float) -> float:
    matrix = matting_laplacian(photo[0].permute(1, 2, 0).numpy(), edge)
    return float(sum(v @ matrix @ v for v in values[0].flatten(1).numpy()))


@pytest.mark.parametrize("edge", [1e-7, 1e-2])
@pytest.mark.parametrize("size", [(3, 3), (6, 7)])
def test_it_is_that_of_the_matrix(size, edge):
    values, photo = draw(*size), draw(*size, 1)
    expected = multiply_by_matrix(values, photo, edge)
    assert float(matting_energy(values, photo, edge=edge)) == pytest.approx(expected, rel=1e-9)


def test_an_even_photograph_lets_only_even_windows_pass():
    """Nothing explains V but its mean: 9 windows' variances of 1 pixel in 9, times 9."""
    values = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    values[..., 2, 2] = 1
    energy = matting_energy(values, torch.full((1, 3, 5, 5), 0.5, dtype=torch.float64))
    assert float(energy) == pytest.approx(9 * (1 - 1 / 9))


def test_an_affine_change_of_colour_costs_nothing_and_noise_does():
    photo = draw(12, 10)
    linear = torch.tensor([[0.5, 0.2, 0.1], [0.0, 0.9, 0.1], [0.3, 0.0, 0.4]], dtype=torch.float64)
    recolored = torch.einsum("ij,njhw->nihw", linear, photo) + 0.1
    assert float(matting_energy(recolored, photo)) < 1e-4
    noisy = recolored + 0.1 * draw(12, 10, 2)
    assert float(matting_energy(noisy, photo)) > 0.1


def test_the_gradient():
    values, photo = draw(5, 6).requires_grad_(), draw(5, 6, 1)
    assert torch.autograd.gradcheck(lambda v: matting_energy(v, photo, edge=1e-3), values)


def test_tiles_add_up():
    values, photo = draw(37, 50), draw(37, 50, 1)
    whole = matting_energy(values, photo)
    total = torch.zeros(())
    for tile in cut_picture(37, 50, (2, 3), 4, 1):
        own = tile.core.within(tile.window)
        total = total + matting_energy(tile.window.of(values), tile.window.of(photo), own)
    assert float(total) == pytest.approx(float(whole), rel=1e-9)


def test_a_picture_without_a_window_costs_nothing():
    assert float(matting_energy(draw(2, 9), draw(2, 9, 1), Box(0, 0, 2, 9))) == 0
