"""Content and image losses against numbers by hand, loops, gradients by differences, and laws."""

from __future__ import annotations

import oracles
import pytest
import torch
from torch import Tensor

from impasto.losses import content as losses
from impasto.losses import regularisers
from impasto.losses.content import CONTENT_LOSSES

pytestmark = pytest.mark.arithmetic

EVERY = pytest.mark.parametrize("loss", CONTENT_LOSSES.values(), ids=CONTENT_LOSSES)
NORMALIZATIONS = pytest.mark.parametrize("normalization", ["relative", "paper"])


def random_features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def centres(height: int, width: int) -> Tensor:
    """Every cell's centre as fractions (n, 2)."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    size = torch.tensor([height, width])
    return (torch.stack([y.flatten(), x.flatten()], 1).double() + 0.5) / size


# --- every content loss -------------------------------------------------------------------------


@EVERY
@NORMALIZATIONS
def test_the_target_itself_is_no_distance_away(loss, normalization):
    target = random_features(1, 3, 9, 7)
    leaf = target.clone().requires_grad_()
    value = loss.compare((leaf,), (target,), centres(9, 7), normalization)
    assert value == 0
    (gradient,) = torch.autograd.grad(value, leaf)
    assert gradient.abs().max() == 0


@EVERY
@NORMALIZATIONS
def test_gradients(loss, normalization):
    target = random_features(1, 3, 6, 5, seed=1)
    leaf = random_features(1, 3, 6, 5).requires_grad_()
    positions = centres(6, 5)[::2]
    assert torch.autograd.gradcheck(
        lambda f: loss.compare((f,), (target,), positions, normalization), leaf
    )


@EVERY
def test_relative_losses_do_not_see_the_scale_of_features(loss):
    ours, target = random_features(1, 3, 9, 7), random_features(1, 3, 9, 7, seed=1)
    here = loss.compare((ours,), (target,), centres(9, 7))
    tenfold = loss.compare((10 * ours,), (10 * target,), centres(9, 7))
    assert float(here) == pytest.approx(float(tenfold), rel=1e-9)
    assert 0.1 < float(here) < 10


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(6, 5), (1, 1)])
@pytest.mark.parametrize("fill", [0.0, 0.3, None])
def test_degenerate_features_have_finite_losses_and_gradients(loss, size, fill, dtype):
    features = random_features(1, 3, *size)
    flat = features if fill is None else torch.full_like(features, fill)
    for ours, target in ((flat, features), (features, flat), (flat, flat)):
        leaf = ours.to(dtype, copy=True).requires_grad_()
        value = loss.compare((leaf,), (target.to(dtype),), centres(*size))
        assert value.dtype == dtype
        assert value.isfinite()
        assert value >= 0
        (gradient,) = torch.autograd.grad(value, leaf)
        assert gradient.isfinite().all()


def test_what_is_looked_at():
    assert CONTENT_LOSSES["features"].groups(("a", "b")) == [("a",), ("b",)]
    assert CONTENT_LOSSES["self-similarity"].groups(("a", "b")) == [("a", "b")]
    assert CONTENT_LOSSES["laplacian"].groups(("a", "b")) == [("pixels",)]
    assert {name: loss.samples for name, loss in CONTENT_LOSSES.items()} == {
        "features": 0,
        "self-similarity": 512,
        "laplacian": 0,
    }


def compare(name, ours, target, normalization="relative"):
    positions = centres(*ours.shape[2:])
    return CONTENT_LOSSES[name].compare((ours,), (target,), positions, normalization)


# --- each ---------------------------------------------------------------------------------------


def test_content_worked_by_hand():
    target = torch.tensor([[[[1.0, 3.0]]]])  # mean 2, variance 1
    features = torch.tensor([[[[2.0, 6.0]]]])
    assert float(compare("features", features, target, "paper")) == (1 + 9) / 2
    assert float(compare("features", features, target)) == (1 + 9) / 2 / 1.0


def test_a_black_target_divides_by_nothing():
    black = torch.zeros(1, 2, 3, 3)
    assert compare("features", torch.ones(1, 2, 3, 3), black).isfinite()
    assert compare("features", black, black) == 0


def test_self_similarity_worked_by_hand():
    # Directions x, y and x again: distances (0 1 0; 1 0 1; 0 1 0), columns over 1, 2 and 1.
    ours = torch.tensor([[[[1.0, 0.0, 3.0]], [[0.0, 2.0, 0.0]]]])
    # x, x and y: (0 0 1; 0 0 1; 1 1 0), columns over 1, 1 and 2.
    target = torch.tensor([[[[1.0, 5.0, 0.0]], [[0.0, 0.0, 2.0]]]])
    columns = [0 + 1 + 1, 0.5 + 0 + 0.5, 0.5 + 0.5 + 0]
    value = compare("self-similarity", ours, target)
    assert float(value) == pytest.approx(sum(columns) / 3)
    paper = CONTENT_LOSSES["self-similarity"].compare((ours,), (target,), centres(1, 3), "paper")
    assert float(paper) == pytest.approx(sum(columns) / 9)


def test_self_similarity_equals_loops():
    ours, target = random_features(1, 4, 3, 5), random_features(1, 4, 3, 5, seed=1)
    rows = [f[0].flatten(1).T.numpy() for f in (ours, target)]
    value = compare("self-similarity", ours, target)
    assert float(value) == pytest.approx(oracles.self_similarity_by_loops(*rows), rel=1e-9)


def test_self_similarity_does_not_see_colours_turned():
    features = random_features(1, 4, 3, 5)
    turned = features.flip(1) * -2
    assert float(compare("self-similarity", turned, features)) < 1e-12


def test_self_similarity_of_one_thing_everywhere_is_not_noise():
    flat = torch.full((1, 64, 8, 8), 0.3) + 1e-7 * random_features(1, 64, 8, 8).float()
    columns = losses.similarity_columns(flat[0].flatten(1).T)
    assert columns.max() < 0.01


@pytest.mark.parametrize("size", [(8, 12), (9, 7), (3, 2)])
def test_laplacian_equals_loops(size):
    ours, target = random_features(1, 3, *size), random_features(1, 3, *size, seed=1)
    first, second = (oracles.laplacian_by_loops(p[0].numpy(), 4) for p in (ours, target))
    value = compare("laplacian", ours, target, "paper")
    assert float(value) == pytest.approx(((first - second) ** 2).sum(), rel=1e-9, abs=1e-20)


def test_relative_laplacian_worked_by_hand():
    # Cells of 4 of 0 and 1 have the Laplacian -1, 1; twice that differs by as much as itself.
    target = torch.tensor([[[[0.0, 1.0]]]]).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert float(compare("laplacian", 2 * target, target)) == pytest.approx(1)
    assert float(compare("laplacian", 2 * target, target, "paper")) == pytest.approx(2)


def test_laplacian_does_not_see_brightness():
    target = random_features(1, 3, 9, 7)
    assert float(compare("laplacian", target + 0.2, target)) == pytest.approx(0, abs=1e-20)


def test_total_variation_equals_loops():
    pixels = random_features(1, 3, 5, 4)
    expected = oracles.total_variation_by_loops(pixels[0].numpy())
    assert float(regularisers.total_variation(pixels)) == pytest.approx(expected)


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 2.5])
def test_powers_of_variation_equal_loops(power):
    pixels = random_features(1, 3, 5, 4)
    expected = oracles.powered_variation_by_loops(pixels[0].numpy(), power)
    value = regularisers.total_variation(pixels, power)
    assert float(value) == pytest.approx(expected, rel=1e-4 if power < 2 else 1e-12)


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 2.5])
def test_variation_of_a_step_worked_by_hand(power):
    step = torch.tensor([[[[0.0, 3.0], [4.0, 0.0]]]])  # a corner of 3 and 4, then 3 down, 4 across
    value = regularisers.total_variation(step, power)
    assert float(value) == pytest.approx(5**power + 3**power + 4**power, rel=1e-3)


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 2.5])
@pytest.mark.parametrize("size", [(4, 5), (1, 1), (1, 4)])
def test_a_flat_picture_has_no_variation(power, size):
    pixels = torch.full((1, 3, *size), 0.3, requires_grad=True)
    value = regularisers.total_variation(pixels, power=power)
    """Nothing but the rounding of a root that is taken off again: in float64, none to speak of."""
    pixels = torch.full((1, 3, *size), 0.3, dtype=torch.float64, requires_grad=True)
    value = regularisers.total_variation(pixels, power=power)
    value.backward()
    assert float(value.detach()) == pytest.approx(0, abs=1e-16)
    assert (pixels.grad == 0).all()


@pytest.mark.parametrize("power", [1.0, 2.0, 2.5])
def test_gradient_of_total_variation(power):
    pixels = random_features(1, 3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: regularisers.total_variation(p, power), pixels)


@pytest.mark.parametrize("power", [1.0, 2.0, 2.5])
@pytest.mark.parametrize("cut", [(2, 3), (4, 5), (1, 5)])
def test_variation_of_tiles_adds_up(power, cut):
    pixels, (row, column) = random_features(1, 3, 4, 5), cut
    total = 0.0
    for top, bottom in ((0, row), (row, 4)):
        for left, right in ((0, column), (column, 5)):
            tile = pixels[..., top : bottom + 1, left : right + 1]
            if bottom > top and right > left:
                total += float(
                    regularisers.total_variation(tile, power, (bottom - top, right - left))
                )
    assert total == pytest.approx(float(regularisers.total_variation(pixels, power)), rel=1e-9)


def test_range_penalty_counts_only_what_is_outside():
    pixels = torch.tensor([[[[0.0, 0.5, 1.0, 1.2, -0.1, 0.9]]]])
    assert float(regularisers.range_penalty(pixels)) == pytest.approx(0.04 + 0.01)


def test_gradient_of_range_penalty():
    pixels = (random_features(1, 3, 4, 5) * 2).requires_grad_()
    assert torch.autograd.gradcheck(regularisers.range_penalty, pixels)
