"""The losses of a batch, each picture after its own style."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from oracles import gaussian_distance_by_sqrtm

from impasto.instant.training_losses import (
    CONTENT_LAYER,
    PERIODS,
    SHARES,
    STYLE_LAYERS,
    disturb,
    find_distance,
    make_targets,
    measure_content,
    measure_lattice,
    measure_paintings,
    measure_styles,
    measure_total,
    measure_unrest,
    work_in_groups,
)
from impasto.losses.statistics import Gaussian
from impasto.losses.style import GaussianLoss
from impasto.painting.inputs import Region, Sample
from impasto.painting.loss_plan import plan_painting_losses
from impasto.painting.objective import Objective
from impasto.painting.options import PaintOptions
from impasto.painting.scene import View
from impasto.system.devices import Machine, seeded

pytestmark = pytest.mark.arithmetic


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    """Features whose channels hang together, with a mean."""
    mixed = torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)
    mixer = torch.randn(shape[1], shape[1], generator=seeded(seed + 50), dtype=torch.float64)
    return torch.einsum("ij,njhw->nihw", mixer, mixed) + 0.5


def test_distances_and_slopes_are_those_of_the_painter_s_loss():
    features, styles = draw(2, 4, 9, 7), draw(2, 4, 8, 8, seed=1)
    features.requires_grad_()
    ours = find_distance(features, Gaussian.of(styles))
    (slope,) = torch.autograd.grad(ours.sum(), features)
    loss = GaussianLoss()
    for i in range(2):
        one = features[i : i + 1].detach().requires_grad_()
        target = loss.blend([loss.sum_up((styles[i : i + 1],), (1 / 64,))], [1.0])
        theirs = loss.compare(loss.sum_up((one,), (1 / 63,)), target, seeded(0))
        (expected,) = torch.autograd.grad(theirs, one)
        assert float(ours[i].detach()) == pytest.approx(float(theirs.detach()), rel=1e-5)
        torch.testing.assert_close(slope[i : i + 1], expected, atol=1e-5, rtol=1e-4)


def test_distances_are_those_of_the_formula():
    features, styles = draw(2, 3, 6, 5), draw(2, 3, 7, 7, seed=3)
    ours = find_distance(features, Gaussian.of(styles))
    for i in range(2):
        rows, theirs = (each[i].flatten(1).T.numpy() for each in (features, styles))
        size = (theirs**2).sum(1).mean()
        expected = gaussian_distance_by_sqrtm(rows, theirs) / size
        assert float(ours[i]) == pytest.approx(expected, rel=1e-6)


def test_shares_halve_and_are_one_in_all():
    assert sum(SHARES.values()) == pytest.approx(1, abs=1e-12)
    values = [SHARES[name] for name in STYLE_LAYERS]
    assert [a / b for a, b in pairwise(values)] == pytest.approx([2] * 4)


def test_styles_are_taken_and_joined():
    styles = draw(3, 4, 6, 6)
    known = Gaussian.of(styles)
    alone = [Gaussian.of(styles[i : i + 1]) for i in range(3)]
    joined = Gaussian.join(alone)
    torch.testing.assert_close(joined.root, known.root)
    taken = known.take(torch.tensor([2, 0, 2]))
    assert torch.equal(taken.mean, known.mean[[2, 0, 2]])
    assert torch.equal(taken.covariance[1], known.covariance[0])


def test_a_picture_is_its_own_style_and_content(compact):
    pictures = torch.rand(2, 3, 48, 40, generator=seeded(0))
    styles, content = measure_styles(compact, pictures), measure_content(compact, pictures)
    style, away = measure_paintings(compact, pictures, styles, content)
    assert float(style.max()) < 1e-3
    assert float(away.max()) == 0
    other = measure_content(compact, pictures.flip(0))
    style, away = measure_paintings(compact, pictures, styles, other)
    seen = compact(pictures, [CONTENT_LAYER])[CONTENT_LAYER]
    for i in range(2):
        theirs = seen[1 - i]
        expected = (seen[i] - theirs).square().mean() / theirs.var(correction=0)
        assert float(away[i]) == pytest.approx(float(expected), rel=1e-4)


def test_pictures_of_a_batch_do_not_see_each_other(compact):
    painted, styles = (torch.rand(2, 3, 32, 32, generator=seeded(i)) for i in range(2))
    both = measure_paintings(
        compact, painted, measure_styles(compact, styles), measure_content(compact, styles)
    )
    one = measure_paintings(
        compact,
        painted[1:],
        measure_styles(compact, styles[1:]),
        measure_content(compact, styles[1:]),
    )
    for all_of_them, alone in zip(both, one, strict=True):
        torch.testing.assert_close(all_of_them[1:], alone, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_flat_styles_and_flat_pictures_have_finite_slopes(compact, level):
    flat = torch.full((1, 3, 32, 32), level)
    noise = torch.rand(1, 3, 32, 32, generator=seeded(0))
    painted = torch.cat([flat, noise, flat]).requires_grad_()
    styles = measure_styles(compact, torch.cat([flat, flat, noise]))
    style, away = measure_paintings(
        compact, painted, styles, measure_content(compact, torch.cat([flat, flat, noise]))
    )
    (slope,) = torch.autograd.grad((style + away).sum(), painted)
    assert bool(style.isfinite().all())
    assert bool(away.isfinite().all())
    assert bool(slope.isfinite().all())


def test_what_is_no_number_is_told_and_raises_nothing():
    features = torch.randn(2, 4, 5, 5, generator=seeded(0))
    features[1, 2, 3, 3] = torch.nan
    distances = find_distance(features, Gaussian.of(torch.randn(2, 4, 5, 5)))
    assert not bool(distances.isfinite().all())


def test_unrest_is_how_much_farther_than_the_noise_paintings_move():
    photos = torch.full((2, 3, 64, 64), 0.5)
    noise = disturb(photos, 3) - photos
    assert float(noise.std()) == pytest.approx(2 / 255, rel=0.02)
    assert torch.equal(disturb(photos, 3), disturb(photos, 3))
    assert not torch.equal(disturb(photos, 3), disturb(photos, 4))
    again = photos + torch.stack([3 * noise[0], 0 * noise[1]])
    unrest = measure_unrest(photos, again)
    assert unrest.tolist() == pytest.approx([math.log(10), 0], abs=0.05)


def test_a_lattice_is_the_share_of_what_repeats_with_the_cells():
    """Columns of 4 levels, every fourth: means of 3, -1, -1 and -1 around theirs, and so 3 squared
    levels, of 3 and the one that hardly shows."""
    columns = torch.full((1, 3, 150, 150), 0.5)
    columns[..., 2::4] += 4 / 255
    ramp = torch.linspace(0, 1, 150).expand(1, 3, 150, 150)
    fifths = torch.full((1, 3, 150, 150), 0.5)
    fifths[..., ::5] += 0.1
    noise = 0.3 * torch.randn(1, 3, 150, 150, generator=seeded(0))
    found = measure_lattice(torch.cat([columns, columns.mT + ramp, ramp, fifths, noise]), 4)
    assert found.tolist() == pytest.approx([0.75, 0.75, 0, 0, 0], abs=0.01)
    both = columns + 4 / 255 * torch.randn(1, 3, 150, 150, generator=seeded(1))
    # Of the noise, 16 squared levels, the mean around takes twice a 16th less (44 / 256)^2.
    left = 16 * (1 - 2 / 16 + (44 / 256) ** 2)
    assert float(measure_lattice(both, 4)) == pytest.approx(3 / (3 + left + 1), rel=0.1)


@pytest.mark.parametrize("period", PERIODS)
def test_a_lattice_is_missed_by_chance_as_often_as_found(period):
    noise = torch.randn(40, 3, 72, 64, generator=seeded(period))
    found = measure_lattice(noise, period)
    assert abs(float(found.mean())) < 4 * float(found.std()) / 40**0.5
    assert bool((found < 0).any())


def test_a_lattice_has_a_slope_that_takes_it_away():
    torch.manual_seed(0)
    lattice = 0.02 * torch.randn(1, 3, 4, 4).repeat(1, 1, 20, 20)
    painted = (0.5 + lattice + 0.02 * torch.randn(1, 3, 80, 80)).requires_grad_()
    first = measure_lattice(painted, 4).sum()
    (slope,) = torch.autograd.grad(first, painted)
    moved = painted.detach() - 0.05 * slope / slope.abs().max()
    assert float(measure_lattice(moved, 4)) < 0.5 * float(first.detach())
    plain = torch.full((1, 3, 64, 64), 0.5, requires_grad=True)
    (slope,) = torch.autograd.grad(measure_lattice(plain, 4).sum(), plain)
    assert bool(slope.isfinite().all())


# --- the painter's default, a batch at a time ---------------------------------------------------


def draw_pictures(count: int, side: int, seed: int) -> torch.Tensor:
    small = torch.rand(count, 3, side // 4, side // 4, generator=seeded(seed))
    return torch.nn.functional.interpolate(small, scale_factor=4, mode="bicubic").clamp(0, 1)


def see(backbone, painted, photos, styles, weights):
    targets = make_targets(backbone(styles, STYLE_LAYERS))
    content = backbone(photos, [CONTENT_LAYER])[CONTENT_LAYER]
    return measure_total(backbone, painted, targets, content, weights)


def test_totals_and_slopes_are_those_of_the_painter_s_default(compact):
    """Each picture of a batch has the total of ``impasto paint`` at its style weight."""
    painted = draw_pictures(2, 96, 1) * 1.2 - 0.1  # some of it out of range
    photos, styles = draw_pictures(2, 96, 2), draw_pictures(2, 96, 3)
    weights = torch.tensor([4.0, 60.0])
    ours = painted.clone().requires_grad_()
    total, style, content = see(compact, ours, photos, styles, weights)
    (slopes,) = torch.autograd.grad(total.sum(), ours)
    for i in range(2):
        options = PaintOptions(style_weight=float(weights[i]))
        photo, sample = photos[i : i + 1], Sample(styles[i : i + 1], None, 1.0, 0)
        view = View(photo, photo, None, (Region(None, (sample,)),), lambda pixels: pixels)
        plan = plan_painting_losses(compact, options)
        objective = Objective(compact, Machine(torch.device("cpu")), view, plan)
        alone = painted[i : i + 1].clone().requires_grad_()
        wanted, parts = objective(alone, 0)
        (slope,) = torch.autograd.grad(wanted, alone)
        assert float(total[i].detach()) == pytest.approx(float(wanted.detach()), rel=2e-3)
        assert float(style[i].detach()) == pytest.approx(float(parts["style"].detach()), rel=3e-3)
        assert float(content[i].detach()) == pytest.approx(float(parts["content"].detach()))
        alike = torch.cosine_similarity(slopes[i].flatten(), slope.flatten(), dim=0)
        assert float(alike) > 0.999


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_flat_styles_and_pictures_have_finite_totals_and_slopes(compact, level):
    flat, other = torch.full((1, 3, 64, 64), level), draw_pictures(1, 64, 4)
    painted = torch.cat([other, flat, flat]).requires_grad_()
    photos, styles = torch.cat([other, flat, other]), torch.cat([flat, flat, other])
    total, *_ = see(compact, painted, photos, styles, torch.full((3,), 15.0))
    (slope,) = torch.autograd.grad(total.sum(), painted)
    assert bool(total.isfinite().all())
    assert bool(slope.isfinite().all())
    assert float(total[1].detach()) < 1e-2


def test_groups_of_layers_are_worked_on_as_each_by_itself():
    matrices = [torch.randn(2, c, c, generator=seeded(c)) for c in (16, 32, 64, 128, 128)]
    done = work_in_groups(lambda each: each @ each, matrices)
    for each, square in zip(matrices, done, strict=True):
        torch.testing.assert_close(square, each @ each)
    sums = work_in_groups(lambda a, b: (a * b).sum((1, 2)), matrices, matrices)
    for each, total in zip(matrices, sums, strict=True):
        torch.testing.assert_close(total, each.square().sum((1, 2)))
