"""Style losses against numbers worked by hand, slow oracles, gradients by differences, and laws.

What every loss must keep is asked of every entry of the table, so a new one is asked too.
"""

from __future__ import annotations

import numpy as np
import oracles
import pytest
import torch
from torch import Tensor

from impasto.errors import OptionError
from impasto.images.tiles import Box, Cells
from impasto.losses import nearest
from impasto.losses import style as style_losses
from impasto.losses.sampling import (
    FeatureGroup,
    draw_positions,
    sample_columns,
    sample_features,
)
from impasto.losses.statistics import gram_matrix
from impasto.losses.style import STYLE_LOSSES
from impasto.losses.style_loss import StyleLoss

pytestmark = pytest.mark.arithmetic

EVERY = pytest.mark.parametrize("loss", STYLE_LOSSES.values(), ids=STYLE_LOSSES)
SUMMED = {name: loss for name, loss in STYLE_LOSSES.items() if not loss.samples}
NORMALIZATIONS = pytest.mark.parametrize("normalization", ["relative", "paper"])

# Losses that compare with what is nearest; the others are one where there is nothing.
NEAREST = ("emd", "palette", "neighbours", "neighbour-columns")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def random_group(loss: StyleLoss, height: int = 6, width: int = 8, seed: int = 0) -> FeatureGroup:
    """Features of the loss' first group: pixels, a layer, and a deeper one of half the size."""
    half = ((height + 1) // 2, (width + 1) // 2)
    shapes = {"pixels": (3, height, width), "shallow": (4, height, width), "deep": (5, *half)}
    names = loss.groups(("shallow", "deep"))[0]
    return tuple(random_features(1, *shapes[n], seed=seed + i) + 0.5 for i, n in enumerate(names))


def even_weights(features: FeatureGroup) -> FeatureGroup:
    return tuple(torch.full_like(f[:, :1], 1 / f[0, 0].numel()) for f in features)


def gather(
    loss: StyleLoss, features: FeatureGroup, weights: FeatureGroup | None = None, seed: int = 0
):
    weights = weights or even_weights(features)
    positions = draw_positions(weights[0], loss.samples or 1, seeded(seed))
    return loss.gather(features, weights, positions)


def compare(
    loss: StyleLoss, ours: FeatureGroup, theirs: FeatureGroup, normalization: str = "relative"
):
    target = loss.blend([gather(loss, theirs)], [1.0])
    return loss.compare(gather(loss, ours), target, seeded(), normalization)


def rows(features: FeatureGroup):
    """All positions as a list (n, C)."""
    return torch.cat([f[0].flatten(1).T for f in features], 1).numpy()


# --- every loss ---------------------------------------------------------------------------------


@EVERY
@NORMALIZATIONS
def test_the_target_itself_is_no_distance_away(loss, normalization):
    features = random_group(loss)
    leaves = tuple(f.clone().requires_grad_() for f in features)
    value = compare(loss, leaves, features, normalization)
    assert float(value.detach()) == pytest.approx(0, abs=1e-12)
    for gradient in torch.autograd.grad(value, leaves):
        assert gradient.abs().max() < 1e-6


@EVERY
@NORMALIZATIONS
def test_another_picture_is_some_distance_away(loss, normalization):
    value = compare(loss, random_group(loss), random_group(loss, seed=7), normalization)
    assert value.shape == ()
    assert float(value) > 1e-4


@EVERY
@NORMALIZATIONS
def test_gradients(loss, normalization):
    ours, theirs = random_group(loss, 4, 4), random_group(loss, 4, 6, seed=7)
    target = loss.blend([gather(loss, theirs)], [1.0])

    def value(*features: Tensor) -> Tensor:
        return loss.compare(gather(loss, features), target, seeded(), normalization)

    assert torch.autograd.gradcheck(value, [f.requires_grad_() for f in ours])


@EVERY
def test_gradients_under_a_mask_of_shades(loss):
    ours, theirs = random_group(loss, 4, 4), random_group(loss, 4, 6, seed=7)
    target = loss.blend([gather(loss, theirs)], [1.0])
    shades = tuple(random_features(1, 1, *f.shape[2:], seed=3).square() for f in ours)
    weights = tuple(s / s.sum() for s in shades)
    positions = draw_positions(weights[0], 8, seeded())

    def value(*features: Tensor) -> Tensor:
        return loss.compare(loss.gather(features, weights, positions), target, seeded())

    assert torch.autograd.gradcheck(value, [f.requires_grad_() for f in ours])


@EVERY
def test_what_a_mask_leaves_out_does_not_matter(loss):
    features, theirs = random_group(loss), random_group(loss, seed=7)
    mask = tuple(f.new_zeros(1, 1, *f.shape[2:]) for f in features)
    for m in mask:
        m[..., : m.shape[-1] // 2] = 2 / m.numel()
    others = tuple(torch.where(m > 0, f, 100.0) for f, m in zip(features, mask, strict=True))
    halves = tuple(f[..., : f.shape[-1] // 2] for f in features)
    target = loss.blend([gather(loss, theirs)], [1.0])
    masked, changed, cut = (
        float(loss.compare(statistics, target, seeded()))
        for statistics in (
            gather(loss, features, mask),
            gather(loss, others, mask),
            gather(loss, halves),
        )
    )
    assert masked == changed
    assert masked == pytest.approx(cut, rel=1e-9)


@EVERY
def test_the_sizes_of_picture_and_style_may_differ(loss):
    value = compare(loss, random_group(loss, 6, 8), random_group(loss, 9, 5, seed=7))
    assert 0 < float(value) < 20


@EVERY
def test_the_same_draw_gives_the_same_value(loss):
    group = random_group(loss), random_group(loss, seed=7)
    assert torch.equal(compare(loss, *group), compare(loss, *group))


@EVERY
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", ["flat", "zeros", "one position", "flat style", "black style"])
def test_degenerate_features_have_finite_losses_and_gradients(loss, case, dtype):
    size = (1, 1) if case == "one position" else (6, 8)
    ours = random_group(loss, *size)
    theirs = random_group(loss, seed=7)
    if case in ("flat", "zeros"):
        ours = tuple(torch.full_like(f, 0.3 if case == "flat" else 0.0) for f in ours)
    if case in ("flat style", "black style"):
        theirs = tuple(torch.full_like(f, 0.3 if case == "flat style" else 0.0) for f in ours)
    ours, theirs = (tuple(f.to(dtype) for f in group) for group in (ours, theirs))
    for target in (theirs, ours):  # also against itself
        leaves = tuple(f.clone().requires_grad_() for f in ours)
        value = compare(loss, leaves, target)
        assert value.dtype == dtype
        assert value >= 0
        assert value.isfinite()
        for gradient in torch.autograd.grad(value, leaves):
            assert gradient.isfinite().all()


@EVERY
def test_flat_features_have_moderate_gradients(loss):
    leaves = tuple(torch.zeros_like(f).requires_grad_() for f in random_group(loss))
    value = compare(loss, leaves, random_group(loss, seed=7))
    for gradient in torch.autograd.grad(value, leaves):
        assert gradient.abs().max() < 1e4


@EVERY
def test_losses_that_are_not_numbers_are_handed_on(loss):
    leaves = tuple(torch.full_like(f, float("nan")) for f in random_group(loss))
    assert compare(loss, leaves, random_group(loss, seed=7)).isnan()


@pytest.mark.parametrize(
    "name", [n for n in STYLE_LOSSES if n != "palette"]
)  # colours have a scale
def test_relative_losses_do_not_see_the_scale_of_features(name):
    loss = STYLE_LOSSES[name]
    ours, theirs = random_group(loss), random_group(loss, seed=7)
    tenfold = compare(loss, tuple(10 * f for f in ours), tuple(10 * f for f in theirs))
    assert float(tenfold) == pytest.approx(float(compare(loss, ours, theirs)), rel=1e-9)


@pytest.mark.parametrize(
    "name",
    [n for n in STYLE_LOSSES if n not in NEAREST],
)
def test_relative_losses_of_nothing_are_one(name):
    loss = STYLE_LOSSES[name]
    theirs = random_group(loss)
    nothing = tuple(torch.zeros_like(f) for f in theirs)
    assert float(compare(loss, nothing, theirs)) == pytest.approx(1, rel=1e-6)


@EVERY
def test_targets_are_constants(loss):
    leaves = tuple(f.requires_grad_() for f in random_group(loss))
    assert not any(t.requires_grad for t in loss.blend([gather(loss, leaves)], [1.0]))


@EVERY
def test_a_share_of_nothing_leaves_one_style(loss):
    ours = gather(loss, random_group(loss))
    styles = [gather(loss, random_group(loss, 6, 6 + i, seed=7 + i)) for i in range(2)]
    alone = loss.compare(ours, loss.blend(styles[:1], [1.0]), seeded())
    both = loss.compare(ours, loss.blend(styles, [1.0, 0.0]), seeded())
    assert float(both) == pytest.approx(float(alone), rel=1e-9)


@EVERY
def test_a_blend_lies_between_its_styles(loss):
    groups = [random_group(loss, seed=s) for s in (7, 9)]
    styles = [gather(loss, tuple(f + 2 * i for f in g)) for i, g in enumerate(groups)]
    blended = loss.blend(styles, [0.5, 0.5])
    first = loss.blend(styles[:1], [1.0])
    there = loss.compare(styles[1], first, seeded(), "paper")
    halfway = loss.compare(styles[1], blended, seeded(), "paper")
    assert 0 < float(halfway) < float(there)


# --- sums over positions ------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(6, 8), (7, 9)])
@pytest.mark.parametrize("name", SUMMED)
def test_statistics_of_tiles_add_up(name, size):
    loss = SUMMED[name]
    features = random_group(loss, *size)
    shades = tuple(random_features(1, 1, *f.shape[2:], seed=3).square() for f in features)
    weights = tuple(s / s.sum() for s in shades)
    nowhere = torch.zeros(0, 2)
    whole = loss.gather(features, weights, nowhere)
    sums = [torch.zeros_like(t) for t in whole]
    for rows_, columns in (((0, 4), (0, 6)), ((0, 4), (6, 9)), ((4, 7), (0, 6)), ((4, 7), (6, 9))):
        tiles = []
        for maps in (features, weights):
            scales = [-(-size[0] // f.shape[2]) for f in maps]
            tiles.append(
                tuple(
                    f[..., rows_[0] // k : -(-rows_[1] // k), columns[0] // k : -(-columns[1] // k)]
                    for f, k in zip(maps, scales, strict=True)
                )
            )
        for total, part in zip(sums, loss.gather(*tiles, nowhere), strict=True):
            total += part
    torch.testing.assert_close(tuple(sums), whole)


@pytest.mark.parametrize("name", [n for n in SUMMED if n != "chained"])
def test_sums_see_neither_where_things_are_nor_how_many(name):
    loss = SUMMED[name]
    (features,) = random_group(loss)
    moved = features.flatten(2)[:, :, torch.randperm(48, generator=seeded())].view_as(features)
    for same in (moved, features.repeat(1, 1, 2, 3)):
        assert float(compare(loss, (same,), (features,))) == pytest.approx(0, abs=1e-12)


def test_gram_of_a_small_map_worked_by_hand():
    features = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])  # (1, 2, 1, 2)
    expected = torch.tensor([[[(1 + 4) / 2, 3 / 2], [3 / 2, 9 / 2]]])
    torch.testing.assert_close(gram_matrix(features), expected)
    (gram,) = gather(STYLE_LOSSES["gram"], (features,))
    torch.testing.assert_close(gram, expected[0])


def test_gram_equals_loops():
    features = random_features(1, 4, 3, 5)
    expected = torch.from_numpy(oracles.gram_by_loops(features[0].numpy()))
    torch.testing.assert_close(gram_matrix(features)[0], expected)


def test_paper_gram_equals_loops():
    features, target = random_features(1, 4, 3, 5), random_features(1, 4, 3, 5, seed=1)
    value = compare(STYLE_LOSSES["gram"], (features,), (target,), "paper")
    expected = oracles.paper_style_by_loops(features[0].numpy(), target[0].numpy())
    assert float(value) == pytest.approx(expected, rel=1e-12)


def test_relative_gram_worked_by_hand():
    # Grams 4 and 1: (4 - 1)^2 / 1^2
    ours, target = torch.full((1, 1, 3, 3), 2.0), torch.ones(1, 1, 2, 2)
    assert float(compare(STYLE_LOSSES["gram"], (ours,), (target,))) == pytest.approx(9)


@pytest.mark.parametrize("size", [(6, 8), (7, 9), (5, 5)])
@pytest.mark.parametrize("pools", [0, 1, 2])
def test_correlations_equal_loops(size, pools):
    left = random_features(1, 3, *size)
    right = random_features(1, 4, *(-(-s // 2**pools) for s in size), seed=1)
    weights = random_features(1, 1, *size, seed=2).square()
    (ours,) = STYLE_LOSSES["chained"].gather((left, right), (weights, weights), torch.zeros(0, 2))
    expected = oracles.weighted_correlations_by_loops(
        left[0].numpy(), right[0].numpy(), weights[0, 0].numpy()
    )
    torch.testing.assert_close(ours, torch.from_numpy(expected))


def test_even_weights_take_the_same_way_as_others():
    features = random_features(1, 4, 3, 5)
    weights = even_weights((features,))
    uneven = (weights[0] + torch.linspace(0, 1e-13, 15).view(1, 1, 3, 5),)
    for loss in SUMMED.values():
        if len(loss.groups(("a", "b"))[0]) == 1:
            pair = (loss.gather((features,), w, torch.zeros(0, 2)) for w in (weights, uneven))
            torch.testing.assert_close(*pair)


def test_chains_link_each_layer_to_the_next():
    chained = STYLE_LOSSES["chained"]
    assert chained.groups(("a", "b", "c")) == [("a", "b"), ("b", "c")]
    assert chained.groups(("a",)) == []


def test_moments_worked_by_hand():
    ours = torch.tensor([[[[2.0, 6.0]]]])  # mean 4, deviation 2
    target = torch.tensor([[[[1.0, 3.0]]]])  # mean 2, deviation 1
    moments = STYLE_LOSSES["moments"]
    assert float(compare(moments, (ours,), (target,), "paper")) == pytest.approx(4 + 1, rel=1e-5)
    assert float(compare(moments, (ours,), (target,))) == pytest.approx(5 / (4 + 1), rel=1e-5)


def test_gaussians_on_the_line_worked_by_hand():
    # |4 - 2|^2 + (2 - 1)^2, over 2^2 + 1^2
    ours, target = torch.tensor([[[[2.0, 6.0]]]]), torch.tensor([[[[1.0, 3.0]]]])
    gaussian = STYLE_LOSSES["gaussian"]
    assert float(compare(gaussian, (ours,), (target,), "paper")) == pytest.approx(5)
    assert float(compare(gaussian, (ours,), (target,))) == pytest.approx(1)


def test_gaussians_equal_matrix_roots():
    ours, target = (random_features(1, 5, 4, 6),), (random_features(1, 5, 7, 3, seed=1) * 2,)
    value = compare(STYLE_LOSSES["gaussian"], ours, target, "paper")
    expected = oracles.gaussian_distance_by_sqrtm(rows(ours), rows(target))
    assert float(value) == pytest.approx(expected, rel=1e-9)


def test_gaussians_are_the_same_both_ways():
    ours, target = (random_features(1, 5, 4, 6),), (random_features(1, 5, 7, 3, seed=1) * 2,)
    gaussian = STYLE_LOSSES["gaussian"]
    there, back = compare(gaussian, ours, target, "paper"), compare(gaussian, target, ours, "paper")
    assert float(there) == pytest.approx(float(back), rel=1e-9)


def test_gaussians_are_no_farther_than_the_points():
    ours, target = (random_features(1, 3, 4, 6),), (random_features(1, 3, 6, 4, seed=1) + 1,)
    table = oracles.euclidean_table(rows(ours), rows(target)) ** 2
    value = compare(STYLE_LOSSES["gaussian"], ours, target, "paper")
    assert 0 < float(value) <= oracles.transport_cost(table)


def test_gaussians_with_equal_eigenvalues_and_missing_ranks():
    flat = torch.eye(8, dtype=torch.float64).view(1, 8, 2, 4)  # all eigenvalues equal but one
    wide = random_features(1, 24, 2, 3)  # 6 positions of 24 channels
    for ours in (flat, wide):
        for target in (2 * ours, ours.flip(3) + random_features(*ours.shape, seed=5)):
            leaf = ours.clone().requires_grad_()
            value = compare(STYLE_LOSSES["gaussian"], (leaf,), (target,))
            (gradient,) = torch.autograd.grad(value, leaf)
            assert gradient.isfinite().all()
            assert gradient.abs().max() < 10


def test_gaussians_in_float32_are_those_in_float64():
    ours, target = random_features(1, 64, 6, 8), random_features(1, 64, 8, 5, seed=1)
    value = compare(STYLE_LOSSES["gaussian"], (ours,), (target,))
    single = compare(STYLE_LOSSES["gaussian"], (ours.float(),), (target.float(),))
    assert float(single) == pytest.approx(float(value), rel=1e-3)


# --- lists of features --------------------------------------------------------------------------


def test_one_channel_sliced_is_the_best_assignment():
    ours, target = (random_features(1, 1, 4, 6),), (random_features(1, 1, 6, 4, seed=1) + 1,)
    table = oracles.euclidean_table(rows(ours), rows(target)) ** 2
    value = compare(STYLE_LOSSES["sliced"], ours, target, "paper")
    assert float(value) == pytest.approx(oracles.transport_cost(table), rel=1e-9)


def test_slices_are_no_farther_than_the_points():
    ours, target = (random_features(1, 3, 4, 6),), (random_features(1, 3, 6, 4, seed=1) + 1,)
    table = oracles.euclidean_table(rows(ours), rows(target)) ** 2
    value = compare(STYLE_LOSSES["sliced"], ours, target, "paper")
    assert 0 < float(value) <= oracles.transport_cost(table)


def test_each_draw_slices_otherwise():
    sliced = STYLE_LOSSES["sliced"]
    ours, target = (
        gather(sliced, random_group(sliced)),
        gather(sliced, random_group(sliced, seed=7)),
    )
    target = sliced.blend([target], [1.0])
    draw = seeded()
    assert sliced.compare(ours, target, draw) != sliced.compare(ours, target, draw)


def test_histograms_equal_the_best_assignment_of_each_channel():
    ours, target = (random_features(1, 3, 4, 6),), (random_features(1, 3, 6, 4, seed=1) + 1,)
    first, second = rows(ours), rows(target)
    expected = sum(
        oracles.transport_cost((first[:, [c]] - second[:, c]) ** 2) * len(first) for c in range(3)
    )
    value = compare(STYLE_LOSSES["histogram"], ours, target, "paper")
    assert float(value) == pytest.approx(expected, rel=1e-9)
    relative = compare(STYLE_LOSSES["histogram"], ours, target)
    assert float(relative) == pytest.approx(expected / (second**2).sum(), rel=1e-9)


def test_quantiles_worked_by_hand():
    # Quantile functions with steps at 1/4 and 3/4; asked for at 1/8, 3/8, 5/8, 7/8.
    ordered = torch.tensor([[0.0], [4.0]])
    expected = torch.tensor([[0.0], [1.0], [3.0], [4.0]])
    torch.testing.assert_close(style_losses.resample_quantiles(ordered, 4), expected)
    torch.testing.assert_close(style_losses.resample_quantiles(expected, 1), torch.tensor([[2.0]]))


def test_histograms_blend_to_the_barycentre():
    pools = [torch.tensor([[3.0], [1.0]]), torch.tensor([[5.0], [9.0]])]
    blended = style_losses.blend_quantiles(pools, [0.25, 0.75], 2)
    torch.testing.assert_close(blended, torch.tensor([[4.0], [7.5]]))


def test_neighbours_equal_loops():
    ours, target = (random_features(1, 4, 4, 5),), (random_features(1, 4, 6, 3, seed=1) + 0.3,)
    value = compare(STYLE_LOSSES["neighbours"], ours, target)
    assert float(value) == pytest.approx(oracles.neighbours_by_loops(rows(ours), rows(target)))


def test_the_nearest_in_chunks_are_the_nearest(monkeypatch):
    ours, pool = random_features(50, 4), random_features(40, 4, seed=1)
    expected = torch.from_numpy(oracles.euclidean_table(ours.numpy(), pool.numpy()).argmin(1))
    assert torch.equal(nearest.find_nearest(ours, pool), expected)
    monkeypatch.setattr(nearest, "_CHUNK", 7)
    assert torch.equal(nearest.find_nearest(ours, pool), expected)


def test_emd_equals_loops():
    loss = STYLE_LOSSES["emd"]
    ours, theirs = (random_features(30, 9, seed=s) + s for s in range(2))
    value = loss.compare((ours,), loss.blend([(theirs,)], [1.0]), seeded(), "paper")
    expected = oracles.strotss_by_loops(ours.numpy(), theirs.numpy())
    assert float(value) == pytest.approx(expected, rel=1e-9)


def test_a_relaxed_distance_is_no_more_than_the_distance():
    ours, theirs = (random_features(20, 5, seed=s) for s in range(2))
    relaxed = nearest.relaxed_distance(ours, theirs, nearest.euclidean_distance)
    table = oracles.euclidean_table(ours.numpy(), theirs.numpy())
    assert float(relaxed) == pytest.approx(oracles.relaxed_cost(table))
    assert float(relaxed) <= oracles.transport_cost(table)


def test_emd_looks_at_colours_and_all_layers_together():
    assert STYLE_LOSSES["emd"].groups(("a", "b")) == [("pixels", "a", "b")]
    assert STYLE_LOSSES["histogram-pixels"].groups(("a", "b")) == [("pixels",)]
    assert STYLE_LOSSES["gram"].groups(("a", "b")) == [("a",), ("b",)]


def test_pools_join_by_their_shares():
    first, second = torch.zeros(8, 2), torch.ones(4, 2)
    joined = nearest.join_pools([first, second], [0.75, 0.25])
    assert joined[:, 0].tolist() == [0] * 6 + [1] * 2
    rows_ = torch.arange(10.0)[:, None]
    assert nearest.join_pools([rows_], [1.0]).equal(rows_)


def test_samples_stand_side_by_side():
    fine, coarse = torch.arange(16.0).view(1, 1, 4, 4), torch.arange(4.0).view(1, 1, 2, 2)
    positions = torch.tensor([[0.0, 0.0], [0.3, 0.8], [0.999, 0.5]])
    sampled = sample_features((fine, coarse), positions)
    assert sampled.tolist() == [[0, 0], [7, 1], [14, 3]]


def test_columns_are_interpolated_between_cells():
    fine, coarse = random_features(1, 2, 6, 5), random_features(1, 3, 3, 2, seed=1)
    places = [[0.0, 0.0], [0.31, 0.77], [0.5, 0.1], [0.999, 0.5], [0.62, 0.999]]
    columns = sample_columns((fine, coarse), torch.tensor(places, dtype=torch.float64))
    for column, (y, x) in zip(columns, places, strict=True):
        expected = [oracles.interpolate_by_hand(f[0].numpy(), y, x) for f in (fine, coarse)]
        np.testing.assert_allclose(column.numpy(), np.concatenate(expected), atol=1e-9)


def test_columns_of_tiles_add_up():
    whole = random_features(1, 2, 6, 5)
    positions = torch.rand(200, 2, generator=seeded(), dtype=torch.float64)
    total = torch.zeros(200, 2, dtype=torch.float64)
    for box in (Box(0, 0, 4, 2), Box(0, 2, 4, 5), Box(4, 0, 6, 2), Box(4, 2, 6, 5)):
        total += sample_columns((box.of(whole),), positions, [Cells(box, (6, 5))])
    torch.testing.assert_close(total, sample_columns((whole,), positions))


def test_under_a_mask_columns_are_those_of_the_cells_themselves():
    loss, features = STYLE_LOSSES["neighbour-columns"], (random_features(1, 2, 4, 4),)
    positions = torch.rand(50, 2, generator=seeded())
    mask = torch.full((1, 1, 4, 4), 1 / 16)
    (masked,) = loss.gather(features, (mask,), positions)
    assert masked.equal(sample_features(features, positions))
    (free,) = loss.gather(features, (1.0,), positions)
    assert free.equal(sample_columns(features, positions))


def test_a_guide_chooses_the_nearest():
    # Alone, ours are nearest to the first two of the style; guided, to the last two.
    loss = STYLE_LOSSES["neighbour-columns"]
    ours = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    pool = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    alone, _ = loss.measure((ours,), (pool,))
    assert float(alone) == 0
    other = ours.flip(0)
    guided, _ = loss.measure((ours, 1.0 * (other - ours)), (pool,))
    assert float(guided) == pytest.approx(1)  # a right angle: 1 - cos 90 degrees


def test_the_nearest_both_ways_in_chunks(monkeypatch):
    ours, pool = random_features(50, 4), random_features(40, 4, seed=1)
    table = torch.from_numpy(oracles.euclidean_table(ours.numpy(), pool.numpy()))
    for chunk in (1024, 7):
        monkeypatch.setattr(nearest, "_CHUNK", chunk)
        there, back = nearest.find_both_nearest(ours, pool)
        assert there.equal(table.argmin(1))
        assert back.equal(table.argmin(0))


def test_a_palette_is_compared_by_colours_alone():
    loss = STYLE_LOSSES["palette"]
    assert loss.groups(("a", "b")) == [("pixels",)]
    ours, theirs = (random_features(20, 3, seed=s) for s in range(2))
    value = loss.compare((ours,), (theirs,), seeded())
    table = oracles.euclidean_table(ours.numpy(), theirs.numpy())
    assert float(value) == pytest.approx(oracles.relaxed_cost(table))


def test_the_cost_is_bounded_by_the_samples():
    loss = STYLE_LOSSES["neighbours"]
    features = torch.randn(1, 8, 200, 300, generator=seeded(), requires_grad=True)
    statistics = gather(loss, (features,))
    assert statistics[0].shape == (1024, 8)
    value = loss.compare(statistics, loss.blend([statistics], [1.0]), seeded())
    value.backward()


# --- positions ----------------------------------------------------------------------------------


def cells_of(positions: Tensor, height: int, width: int) -> Tensor:
    y, x = (positions * torch.tensor([height, width])).long().unbind(1)
    return y * width + x


def test_few_cells_are_seen_once_each_at_their_centres():
    weights = torch.full((1, 1, 2, 3), 1 / 6)
    positions = draw_positions(weights, 6, seeded())
    expected = [[y, x] for y in (1 / 4, 3 / 4) for x in (1 / 6, 3 / 6, 5 / 6)]
    torch.testing.assert_close(positions, torch.tensor(expected))
    assert draw_positions(weights, 100, seeded()).equal(positions)


@pytest.mark.parametrize("size", [(7, 9), (1, 50), (333, 1), (97, 1023)])
def test_positions_lie_inside_their_cells(size):
    weights = torch.zeros(1, 1, *size)
    weights[..., ::2, ::2] = torch.rand(weights[..., ::2, ::2].shape, generator=seeded())
    positions = draw_positions(weights / weights.sum(), 500, seeded())
    assert positions.shape == (500, 2)
    assert positions.min() >= 0
    assert positions.max() < 1
    assert (weights.flatten()[cells_of(positions, *size)] > 0).all()
    within = positions.double() * torch.tensor(size) % 1  # not where rounding changes the cell
    assert within.min() > 0.005
    assert within.max() < 0.995


def test_positions_are_as_many_as_the_weights_say():
    weights = torch.tensor([0.5, 0.0, 0.3, 0.2]).view(1, 1, 2, 2)
    counts = cells_of(draw_positions(weights, 1000, seeded()), 2, 2).bincount(minlength=4)
    assert counts.sub(torch.tensor([500, 0, 300, 200])).abs().max() <= 1


def test_positions_are_spread_over_the_picture():
    positions = draw_positions(torch.full((1, 1, 64, 64), 1 / 4096), 64, seeded())
    assert (positions[:, 0] * 64).long().tolist() == list(range(64))  # one in every row


def test_positions_are_seeded():
    weights = torch.full((1, 1, 32, 32), 1 / 1024)
    first, again, other = (draw_positions(weights, 50, seeded(s)) for s in (1, 1, 2))
    assert first.equal(again)
    assert not first.equal(other)


def test_weights_of_zeros_are_refused():
    with pytest.raises(OptionError, match="weights of zeros leave no position to look at"):
        draw_positions(torch.zeros(1, 1, 3, 3), 5, seeded())
