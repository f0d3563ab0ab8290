"""Losses against numbers worked by hand, loops, gradients by differences, and invariants."""

from __future__ import annotations

import oracles
import pytest
import torch
from torch import Tensor

from impasto import losses


def random_features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_gram_of_a_small_map_worked_by_hand():
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])  # (1, 2, 1, 2)
    expected = torch.tensor([[[(1 + 4) / 2, 3 / 2], [3 / 2, 9 / 2]]])
    torch.testing.assert_close(losses.gram_matrix(features), expected)


def test_gram_equals_loops():
    features = random_features(1, 4, 3, 5)
    expected = torch.from_numpy(oracles.gram_by_loops(features[0].numpy()))
    torch.testing.assert_close(losses.gram_matrix(features)[0], expected)


def test_paper_style_equals_loops():
    features, target = random_features(1, 4, 3, 5), random_features(1, 4, 3, 5, seed=1)
    loss = losses.GramLoss(target, "paper")(features)
    expected = oracles.paper_style_by_loops(features[0].numpy(), target[0].numpy())
    assert float(loss) == pytest.approx(expected, rel=1e-12)


def test_relative_style_of_nothing_is_one():
    target = random_features(1, 4, 3, 5)
    assert float(losses.GramLoss(target)(torch.zeros_like(target))) == pytest.approx(1)


def test_relative_style_worked_by_hand():
    # Grams 4 and 1: (4 - 1)^2 / 1^2
    assert float(losses.GramLoss(torch.ones(1, 1, 2, 2))(torch.full((1, 1, 3, 3), 2.0))) == 9


def test_style_does_not_see_where_things_are():
    features = random_features(1, 4, 6, 6)
    moved = features.flatten(2)[:, :, torch.randperm(36)].view(1, 4, 6, 6)
    loss = losses.GramLoss(features)
    assert float(loss(moved)) == pytest.approx(0, abs=1e-20)
    assert float(loss(features.repeat(1, 1, 2, 3))) == pytest.approx(0, abs=1e-20)  # nor how many


def test_content_worked_by_hand():
    target = torch.tensor([[[[1.0, 3.0]]]])  # mean 2, variance 1
    features = torch.tensor([[[[2.0, 6.0]]]])
    assert float(losses.ContentLoss(target, "paper")(features)) == (1 + 9) / 2
    assert float(losses.ContentLoss(target)(features)) == (1 + 9) / 2 / 1.0


def test_relative_losses_do_not_see_the_scale_of_features():
    features, target = random_features(1, 4, 3, 5), random_features(1, 4, 3, 5, seed=1)
    for kind in (losses.GramLoss, losses.ContentLoss):
        here, tenfold = kind(target)(features), kind(10 * target)(10 * features)
        assert float(here) == pytest.approx(float(tenfold), rel=1e-12)


def test_total_variation_equals_loops():
    pixels = random_features(1, 3, 5, 4)
    expected = oracles.total_variation_by_loops(pixels[0].numpy())
    assert float(losses.TotalVariation("paper")(pixels)) == pytest.approx(expected)
    assert float(losses.TotalVariation()(pixels)) == pytest.approx(expected / pixels.numel())


def test_range_penalty_counts_only_what_is_outside():
    pixels = torch.tensor([[[[0.0, 0.5, 1.0, 1.2, -0.1, 0.9]]]])
    assert float(losses.range_penalty(pixels)) == pytest.approx((0.04 + 0.01) / 6)
    assert float(losses.range_penalty(pixels, "paper")) == pytest.approx(0.04 + 0.01)


@pytest.mark.parametrize("normalization", ["relative", "paper"])
@pytest.mark.parametrize("kind", [losses.GramLoss, losses.ContentLoss])
def test_gradients_of_feature_losses(kind, normalization):
    target = random_features(1, 3, 4, 2, seed=1)
    features = random_features(1, 3, 4, 2).requires_grad_()
    assert torch.autograd.gradcheck(kind(target, normalization), features)


@pytest.mark.parametrize("normalization", ["relative", "paper"])
def test_gradient_of_total_variation(normalization):
    pixels = random_features(1, 3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(losses.TotalVariation(normalization), pixels)


def test_gradient_of_range_penalty():
    pixels = (random_features(1, 3, 4, 5) * 2).requires_grad_()
    assert torch.autograd.gradcheck(losses.range_penalty, pixels)


def test_a_black_target_divides_by_nothing():
    black = torch.zeros(1, 2, 3, 3)
    for kind in (losses.GramLoss, losses.ContentLoss):
        assert kind(black)(torch.ones(1, 2, 3, 3)).isfinite()
        assert kind(black)(black) == 0


def test_targets_are_constants():
    target = random_features(1, 3, 4, 2).requires_grad_()
    assert not any(
        kind(target).target.requires_grad for kind in (losses.GramLoss, losses.ContentLoss)
    )


def test_the_table_names_them():
    assert {
        "gram": losses.GramLoss,
        "content": losses.ContentLoss,
        "tv": losses.TotalVariation,
    } == losses.LOSSES
