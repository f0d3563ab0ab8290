"""Sums over positions against loops in double precision, in every layout and precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.losses import statistics as sums
from impasto.losses.statistics import (
    RootTrace,
    WeightedSums,
    find_roots,
    iterate_roots,
    square_root,
    sum_squares,
    trace_of_root,
    widen,
)
from impasto.system.devices import seeded

pytestmark = pytest.mark.arithmetic

SHAPE = (1, 5, 7, 6)
LAYOUTS = pytest.mark.parametrize("layout", ["planes", "channels_last", "cropped", "both"])
WEIGHTS = pytest.mark.parametrize("kind", ["number", "zero", "mask"])


def draw_features(layout: str, shape=SHAPE, kind=torch.float64) -> Tensor:
    """Features that lie in memory as networks and tiles leave them."""
    _, channels, height, width = shape
    generator = torch.Generator().manual_seed(height * width)
    wide = torch.randn(1, channels, height + 3, width + 2, generator=generator).to(kind)
    if layout in ("channels_last", "both"):
        wide = wide.contiguous(memory_format=torch.channels_last)
    crop = wide[..., 1 : 1 + height, 2 : 2 + width]
    if layout in ("cropped", "both"):
        return crop
    memory = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    return crop.contiguous(memory_format=memory)


def draw_weights(kind: str, shape=SHAPE, dtype=torch.float64) -> Tensor | float:
    """One number, or a mask (1, 1, H, W) with a hole."""
    if kind != "mask":
        return {"number": 0.3, "zero": 0.0}[kind]
    weights = torch.rand(1, 1, *shape[2:], generator=torch.Generator().manual_seed(1))
    weights[..., : shape[2] // 2, : shape[3] // 2] = 0
    return weights.to(dtype)


def weight_at(weights: Tensor | float, y: int, x: int) -> float:
    return float(weights[0, 0, y, x]) if isinstance(weights, Tensor) else weights


def sum_by_loops(features: Tensor, weights: Tensor | float) -> tuple[np.ndarray, np.ndarray]:
    values = features.detach().double().numpy()[0]
    mean, square = np.zeros(len(values)), np.zeros((len(values), len(values)))
    for y in range(values.shape[1]):
        for x in range(values.shape[2]):
            here = values[:, y, x]
            mean += weight_at(weights, y, x) * here
            square += weight_at(weights, y, x) * np.outer(here, here)
    return mean, square


def slope_by_loops(
    features: Tensor, weights: Tensor | float, slope_mean: np.ndarray, slope_square: np.ndarray
) -> np.ndarray:
    """d/df of <a, sum w f> + <A, sum w f f^T>: w (a + (A + A^T) f)."""
    values = features.detach().double().numpy()[0]
    slope = np.zeros_like(values)
    for y in range(values.shape[1]):
        for x in range(values.shape[2]):
            both = slope_square + slope_square.T
            slope[:, y, x] = weight_at(weights, y, x) * (slope_mean + both @ values[:, y, x])
    return slope


def draw_slopes(channels: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)  # the matrix's is not symmetric
    return rng.standard_normal(channels), rng.standard_normal((channels, channels))


def pull(features: Tensor, weights: Tensor | float) -> tuple[Tensor, Tensor, Tensor]:
    """(mean, square, gradient of the features)."""
    leaf = features.detach().requires_grad_()
    mean, square = WeightedSums.apply(leaf, weights)
    slopes = [torch.from_numpy(slope).to(mean.dtype) for slope in draw_slopes(leaf.shape[1])]
    (gradient,) = torch.autograd.grad((mean, square), leaf, slopes)
    return mean.detach(), square.detach(), gradient


def test_two_positions_by_hand():
    features = torch.tensor([[1.0, 2.0], [3.0, -1.0]]).view(1, 2, 1, 2)  # f = (1, 3) and (2, -1)
    mean, square = WeightedSums.apply(features, torch.tensor([0.5, 2.0]).view(1, 1, 1, 2))
    assert mean.tolist() == [0.5 * 1 + 2 * 2, 0.5 * 3 - 2 * 1]
    assert square.tolist() == [[0.5 + 8, 1.5 - 4], [1.5 - 4, 4.5 + 2]]
    mean, square = WeightedSums.apply(features, 0.5)
    assert mean.tolist() == [1.5, 1]
    assert square.tolist() == [[2.5, 0.5], [0.5, 5]]


@LAYOUTS
@WEIGHTS
@pytest.mark.parametrize(
    "shape", [SHAPE, (1, 1, 4, 5), (1, 5, 1, 1), (1, 4, 1, 7), (1, 4, 7, 1), (1, 1, 1, 1)], ids=str
)
@pytest.mark.parametrize("block", [1, 60, 2**18])
def test_sums_and_slopes_equal_loops(monkeypatch, layout, kind, shape, block):
    """In blocks of one row, of a few and of all of them."""
    monkeypatch.setattr(sums, "_BLOCK", block)
    features, weights = draw_features(layout, shape), draw_weights(kind, shape)
    mean, square, gradient = pull(features, weights)
    expected_mean, expected_square = sum_by_loops(features, weights)
    np.testing.assert_allclose(mean.numpy(), expected_mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(square.numpy(), expected_square, rtol=0, atol=1e-12)
    expected = slope_by_loops(features, weights, *draw_slopes(shape[1]))
    np.testing.assert_allclose(gradient[0].numpy(), expected, rtol=0, atol=1e-12)


@LAYOUTS
@WEIGHTS
def test_gradients_by_differences(layout, kind):
    features, weights = draw_features(layout).requires_grad_(), draw_weights(kind)
    assert torch.autograd.gradcheck(lambda f: WeightedSums.apply(f, weights), features)
    assert torch.autograd.gradcheck(lambda f: sum_squares(f, weights), features)
    for output in (0, 1):  # the other's slope is none
        assert torch.autograd.gradcheck(
            lambda f, i=output: WeightedSums.apply(f, weights)[i], features
        )


def test_a_gradient_is_not_differentiated_again():
    features = draw_features("planes").requires_grad_()
    mean, square = WeightedSums.apply(features, 0.3)
    total = square.square().sum() + mean.square().sum()
    (gradient,) = torch.autograd.grad(total, features, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("kind", ["number", "mask"])
@pytest.mark.parametrize("layout", ["planes", "channels_last", "both"])
@pytest.mark.parametrize("short", [torch.bfloat16, torch.float16])
def test_short_numbers_are_summed_in_full(kind, layout, short):
    shape = (1, 16, 90, 70)
    features = draw_features(layout, shape, short) + 2  # sums far larger than what is added
    weights = draw_weights(kind, shape, torch.float32)
    mean, square, gradient = pull(features, weights)
    values = features.double()[0].flatten(1)
    over = weights.double().flatten() if isinstance(weights, Tensor) else weights
    expected_mean, expected_square = (values * over).sum(1), (values * over) @ values.T
    assert mean.dtype == square.dtype == torch.float32
    assert (mean - expected_mean).abs().max() < 1e-5 * expected_mean.abs().max()
    assert (square - expected_square).abs().max() < 1e-5 * expected_square.abs().max()
    slope_mean, slope_square = map(torch.from_numpy, draw_slopes(16))
    both = slope_square + slope_square.T
    expected = ((slope_mean[:, None] + both @ values) * over).view(features.shape)
    # What is added up may cancel: each of it is rounded on its own.
    added = ((slope_mean[:, None].abs() + both.abs() @ values.abs()) * over).view(features.shape)
    assert gradient.dtype == short
    rounding = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}[short]
    assert ((gradient - expected).abs() <= 2 * rounding * added + 1e-7).all()
    assert (gradient - expected).norm() <= rounding * expected.norm()


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_a_gradient_lies_as_its_features_do(kind):
    for layout, memory in (
        ("planes", torch.contiguous_format),
        ("channels_last", torch.channels_last),
    ):
        features = draw_features(layout, kind=kind)
        for weights in (0.3, draw_weights("mask", dtype=torch.float32)):
            gradient = pull(features, weights)[2]
            assert gradient.is_contiguous(memory_format=memory)
            assert gradient.stride() == features.stride()
            assert gradient.dtype == kind


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", ["planes", "channels_last", "both"])
def test_blocks_make_no_difference_to_speak_of(monkeypatch, layout, kind):
    """But for rounding, which is that of the gradient's own numbers."""
    shape = (1, 8, 40, 30)
    features = draw_features(layout, shape, kind)
    for weights in (0.01, draw_weights("mask", shape, torch.float32)):
        whole = pull(features, weights)
        with monkeypatch.context() as patch:
            patch.setattr(sums, "_BLOCK", 3 * 8 * 30)
            split = pull(features, weights)
        for one, other in zip(whole, split, strict=True):
            torch.testing.assert_close(
                one, other, rtol=1e-2 if kind == torch.bfloat16 else 1e-5, atol=1e-4
            )


def test_what_is_summed_and_its_weights_are_left_as_they_were():
    features, weights = draw_features("channels_last"), draw_weights("mask")
    before = features.clone(), weights.clone()
    pull(features, weights)
    sum_squares(features, weights)
    assert torch.equal(features, before[0])
    assert torch.equal(weights, before[1])


@LAYOUTS
@WEIGHTS
def test_squares_are_the_diagonal(layout, kind):
    features, weights = draw_features(layout), draw_weights(kind)
    expected_mean, expected_square = sum_by_loops(features, weights)
    mean, squares = sum_squares(features, weights)
    np.testing.assert_allclose(mean.numpy(), expected_mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(squares.numpy(), np.diag(expected_square), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["number", "mask"])
def test_squares_of_short_numbers_are_summed_in_full(kind):
    shape = (1, 16, 90, 70)
    features = (draw_features("channels_last", shape, torch.bfloat16) + 2).requires_grad_()
    weights = draw_weights(kind, shape, torch.float32)
    mean, squares = sum_squares(features, weights)
    values = features.detach().double()[0].flatten(1)
    over = weights.double().flatten() if isinstance(weights, Tensor) else weights
    for found, expected in ((mean, (values * over).sum(1)), (squares, (values**2 * over).sum(1))):
        assert found.dtype == torch.float32
        assert ((found - expected).abs() < 1e-5 * expected.abs()).all()
    (gradient,) = torch.autograd.grad(squares.sum(), features)
    assert gradient.dtype == torch.bfloat16
    expected = (2 * values * over).view(features.shape)
    assert ((gradient - expected).abs() <= 2.0**-7 * expected.abs()).all()


def test_in_full_widens_what_is_short_and_nothing_else():
    for short in (torch.bfloat16, torch.float16):
        tensor = torch.tensor([1.5, -0.25, 3.0]).to(short)
        assert widen(tensor).dtype == torch.float32
        assert widen(tensor).tolist() == [1.5, -0.25, 3.0]
    for kind in (torch.float32, torch.float64):
        tensor = torch.zeros(2, dtype=kind)
        assert widen(tensor) is tensor


# --- roots by products alone --------------------------------------------------------------------


def draw_covariances(channels: int, rank: int, seed: int = 0) -> torch.Tensor:
    columns = torch.randn(4, channels, rank, generator=seeded(seed), dtype=torch.float64)
    columns = columns * torch.logspace(0, -3, rank, dtype=torch.float64)
    matrices = columns @ columns.mT
    trace = matrices.diagonal(dim1=1, dim2=2).sum(1)[:, None, None]
    return matrices + 1e-6 * trace * torch.eye(channels, dtype=torch.float64)


@pytest.mark.parametrize("begin", [0, 3])
@pytest.mark.parametrize(("channels", "rank"), [(3, 1), (16, 16), (40, 2), (40, 40)])
def test_roots_by_products_are_those_by_eigenvectors(channels, rank, begin):
    matrices = draw_covariances(channels, rank)
    root, inverse = iterate_roots(matrices, begin)
    torch.testing.assert_close(root @ root, matrices, atol=1e-9, rtol=1e-6)
    eye = torch.eye(channels, dtype=torch.float64).expand_as(root)
    torch.testing.assert_close(root @ inverse, eye, atol=1e-6, rtol=0)
    for ours, other in zip((root, inverse), find_roots(matrices), strict=True):
        torch.testing.assert_close(ours, other, atol=1e-6, rtol=1e-5)


def test_the_trace_of_a_root_and_its_slope_are_those_of_the_distance():
    ours, theirs = draw_covariances(12, 12), draw_covariances(12, 12, seed=1)
    root = square_root(theirs)
    first, second = (ours.clone().requires_grad_() for _ in range(2))
    trace = RootTrace.apply(first, root)
    plain = trace_of_root(second, root)
    torch.testing.assert_close(trace, plain)
    trace.sum().backward()
    plain.sum().backward()
    torch.testing.assert_close(first.grad, second.grad, atol=1e-3, rtol=1e-3)
    factors = torch.linalg.cholesky(theirs)  # any factor will do
    torch.testing.assert_close(RootTrace.apply(ours, factors), plain.detach())
