"""Canvases begin as the picture they are given, are linear, and are scaled alike."""

from __future__ import annotations

import math

import pytest
import torch

from impasto.painting.canvas import (
    CANVASES,
    FourierCanvas,
    PyramidCanvas,
    halve_sizes,
    scale_frequencies,
)
from impasto.system.devices import seeded

pytestmark = pytest.mark.arithmetic

SIZES = [(1, 1), (1, 2), (2, 1), (1, 37), (40, 1), (2, 3), (7, 8), (16, 16), (17, 33), (50, 31)]
every_canvas = pytest.mark.parametrize("name", CANVASES)
every_size = pytest.mark.parametrize(("height", "width"), SIZES)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=dtype)


def paint_values(name: str, start: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """The picture of other values than the start's."""
    canvas = CANVASES[name](start)
    with torch.no_grad():
        canvas.values.copy_(values)
    return canvas.pixels().detach()


@every_canvas
@every_size
@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_it_begins_as_the_picture(name, height, width, dtype, near):
    start = noise(1, 3, height, width, dtype=dtype)
    canvas = CANVASES[name](start)
    assert canvas.values.is_leaf
    assert canvas.values.requires_grad
    assert canvas.values.dtype == canvas.pixels().dtype == dtype
    torch.testing.assert_close(canvas.pixels(), start, atol=near, rtol=0)


@every_canvas
def test_a_real_size_in_float32(name):
    start = noise(1, 3, 301, 448, dtype=torch.float32) * 0.3 + 0.5
    torch.testing.assert_close(CANVASES[name](start).pixels(), start, atol=1e-5, rtol=0)


@every_canvas
@every_size
def test_it_is_linear(name, height, width):
    start = noise(1, 3, height, width)
    shape = CANVASES[name](start).values.shape
    one, other = noise(*shape, seed=1), noise(*shape, seed=2)
    together = paint_values(name, start, 2 * one - 3 * other)
    apart = 2 * paint_values(name, start, one) - 3 * paint_values(name, start, other)
    torch.testing.assert_close(together, apart)


@every_canvas
@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 19), (5, 4), (4, 5), (17, 3)])
def test_gradients(name, height, width):
    canvas = CANVASES[name](noise(1, 3, height, width))

    def paint(values: torch.Tensor) -> torch.Tensor:
        canvas.values = values
        return canvas.pixels()

    assert torch.autograd.gradcheck(paint, (canvas.values,))


@every_canvas
def test_an_optimiser_reaches_any_picture(name):
    start, goal = noise(1, 3, 9, 14, seed=1), noise(1, 3, 9, 14, seed=2)
    canvas = CANVASES[name](start)
    optimizer = torch.optim.LBFGS([canvas.values], line_search_fn="strong_wolfe", max_iter=200)

    def measure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (canvas.pixels() - goal).square().sum()
        loss.backward()
        return loss

    optimizer.step(measure)
    torch.testing.assert_close(canvas.pixels(), goal, atol=1e-3, rtol=0)


@every_canvas
def test_neither_start_nor_result_is_shared(name):
    start = noise(1, 3, 6, 5)
    before = start.clone()
    canvas = CANVASES[name](start)
    result = canvas.pixels().detach()
    with torch.no_grad():
        canvas.values.zero_()
    assert torch.equal(start, before)
    torch.testing.assert_close(result, before)
    assert canvas.pixels().abs().max() == 0


@every_canvas
def test_replace_keeps_the_tensor(name):
    canvas = CANVASES[name](noise(1, 3, 21, 18))
    values, other = canvas.values, noise(1, 3, 21, 18, seed=5)
    canvas.replace(other)
    assert canvas.values is values
    assert values.is_leaf
    torch.testing.assert_close(canvas.pixels(), other)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("pixels", 1, 1), ("pyramid", 0.6, 1), ("fourier", 1, 1)]
)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (255, 100)])
def test_random_changes_are_about_as_large_on_every_canvas(name, low, high, height, width):
    start = torch.zeros(1, 3, height, width)
    canvas = CANVASES[name](start)
    sizes = [
        paint_values(name, start, noise(*canvas.values.shape, seed=seed)).square().mean()
        for seed in range(20)
    ]
    root_mean_square = float(torch.stack(sizes).mean().sqrt())
    assert 0.93 * low < root_mean_square < 1.07 * high  # twenty draws, few low frequencies


# The pyramid


def test_halve_sizes():
    assert halve_sizes(65, 20) == [(65, 20), (33, 10), (17, 5), (9, 3)]
    assert halve_sizes(15, 15) == [(15, 15)]
    assert halve_sizes(16, 1) == [(16, 1), (8, 1)]


def test_a_flat_picture_is_only_the_coarsest_level():
    canvas = PyramidCanvas(torch.full((1, 3, 32, 24), 0.6, dtype=torch.float64))
    coarsest = 3 * 8 * 6
    assert canvas.values.shape == (3 * (32 * 24 + 16 * 12) + coarsest,)
    torch.testing.assert_close(
        canvas.values[-coarsest:] / math.sqrt(3),
        torch.tensor(0.6).double().expand(coarsest),
        atol=1e-6,
        rtol=0,
    )
    assert canvas.values[:-coarsest].abs().max() < 1e-12


def test_the_finest_level_changes_in_lightness_ten_times_as_much_as_in_chroma():
    start = torch.zeros(1, 3, 16, 16, dtype=torch.float64)
    canvas = PyramidCanvas(start)
    finest = canvas.values.detach().clone()[: 3 * 16 * 16].view(3, 16, 16)
    finest[:, 4, 5], finest[:, 9, 2] = torch.tensor([[0.3, 0.3, 0.3], [0.6, 0.0, 0.0]]).double()
    values = torch.cat([finest.flatten(), canvas.values.detach()[3 * 16 * 16 :]])
    shown = paint_values("pyramid", start, values)[0] * math.sqrt(2)  # of two levels
    assert shown[:, 4, 5].tolist() == pytest.approx([0.3, 0.3, 0.3])
    assert shown[:, 9, 2].tolist() == pytest.approx([0.2 + 0.04, 0.2 - 0.02, 0.2 - 0.02])


# The spectrum


def test_scale_frequencies_by_hand():
    scale = scale_frequencies(2, 4)  # frequencies across 0, 1/4, 1/2, down 0, 1/2; the least is 1/4
    lone = math.sqrt(2)
    expected = [[4 * lone, 4, 2 * lone], [2 * lone, 4 / math.sqrt(5), math.sqrt(2) * lone]]
    ratios = scale / torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(ratios, ratios[0, 0].expand(2, 3))


@pytest.mark.parametrize(("height", "width"), [(12, 16), (15, 9), (1, 8), (6, 1)])
def test_random_spectra_have_amplitudes_of_one_over_f(height, width):
    start = torch.zeros(1, 3, height, width, dtype=torch.float64)
    canvas = FourierCanvas(start)
    powers = torch.zeros(height, width, dtype=torch.float64)
    for seed in range(400):
        picture = paint_values("fourier", start, noise(*canvas.values.shape, seed=seed))
        colors = torch.einsum("ij,njhw->nihw", canvas.colors.inverse(), picture)
        powers += torch.fft.fft2(colors).abs().square().mean((0, 1)) / 400
    down = torch.fft.fftfreq(height).abs()[:, None]
    across = torch.fft.fftfreq(width).abs()
    frequency = torch.hypot(down, across).clamp_min(1 / max(height, width)).double()
    level = powers.sqrt() * frequency
    # 1200 draws of at least one square each: 1 / sqrt(2 * 1200) of its root, five times over.
    torch.testing.assert_close(level / level.mean(), torch.ones_like(level), atol=0.1, rtol=0)


def test_decorrelated_colours_have_the_covariance_of_photographs():
    canvas = FourierCanvas(torch.zeros(1, 3, 4, 4, dtype=torch.float64))
    covariance = canvas.colors @ canvas.colors.T
    correlation = covariance / covariance.diag().sqrt() / covariance.diag().sqrt()[:, None]
    assert covariance.trace() == pytest.approx(3)  # three colours of unit size
    # By hand: (.26 * .27) / sqrt((.26^2 + .09^2 + .02^2) (.27^2 + .05^2)), less .02 * .05 above.
    assert correlation[0, 1] == pytest.approx(0.0692 / math.sqrt(0.0761 * 0.0754))
    assert correlation[0, 2] == pytest.approx(
        (0.0702 - 0.0081 + 0.0006) / math.sqrt(0.0761 * 0.0819)
    )
