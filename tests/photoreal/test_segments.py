"""Regions: the same in both pictures, always the same, and at most as many as asked for."""

from __future__ import annotations

import pytest
import torch

from impasto.networks.weights import load_backbone
from impasto.photoreal.segments import (
    SeenCells,
    cluster_points,
    find_regions,
    level_features,
    look_at_picture,
)


@pytest.fixture(scope="module")
def network():
    return load_backbone("compact")


def test_sky_is_sky_and_ground_is_ground_in_both(network, draw_scene):
    photo, like = draw_scene(0.3), draw_scene(0.7, 1).pow(1.6)  # darker, with more of the sky
    _, (ours, theirs) = find_regions(network, photo, [like], 2, [None, None])
    top, bottom = ours[0, :, 1].mean(1), ours[0, :, -2].mean(1)
    assert int(top.argmax()) != int(bottom.argmax())
    assert int(theirs[0, :, 1].mean(1).argmax()) == int(top.argmax())
    assert int(theirs[0, :, -2].mean(1).argmax()) == int(bottom.argmax())
    sky = int(top.argmax())
    assert float(ours[0, sky].mean()) == pytest.approx(0.3, abs=0.12)
    assert float(theirs[0, sky].mean()) == pytest.approx(0.7, abs=0.12)


def test_shares_sum_to_one_and_come_out_the_same_again(network, draw_scene):
    pictures = draw_scene(0.4), [draw_scene(0.5, 1), draw_scene(0.6, 2)]
    model, shares = find_regions(network, *pictures, 4, [None] * 3)
    assert len(shares) == 3
    for each in shares:
        assert torch.allclose(each.sum(1), torch.ones(1, *each.shape[2:]), atol=1e-5)
    again, more = find_regions(network, *pictures, 4, [None] * 3)
    assert torch.equal(model.centers, again.centers)
    assert all(map(torch.equal, shares, more))
    assert torch.equal(model.assign(look_at_picture(network, pictures[0])), shares[0])


def test_what_weighs_nothing_does_not_count(network, draw_scene):
    photo, like = draw_scene(0.5), draw_scene(0.5, 1)
    painted = photo.clone()
    painted[..., :30] = torch.rand(3, 72, 30, generator=torch.Generator().manual_seed(0))
    weights = torch.ones(1, 1, 72, 96)
    weights[..., :48] = 0  # more than is painted over: the network sees beyond it
    model, _ = find_regions(network, painted, [like], 3, [weights, None])
    assert len(model.centers) <= 3


def test_features_are_averaged_over_cells_of_one_colour():
    """What is seen near an edge gives way to what is seen beyond it; the edge itself stays."""
    color = torch.zeros(3, 12, 16)
    color[0, :, 8:] = 60
    features = torch.zeros(1, 12, 16)
    features[:, :, 8:] = 1
    features[:, :, 7] = 5  # beside the edge the network sees something else
    look = SeenCells(features.flatten(1), torch.zeros(1, 192), color.flatten(1), (12, 16))
    level = level_features(features.flatten(1), look).view(12, 16)
    assert torch.allclose(level[:, 8:], torch.ones(12, 8))
    assert float(level[:, 7].max()) < 2.5
    even = torch.full((1, 192), 3.0)
    assert torch.allclose(level_features(even, look), even)


def test_frames_of_a_scene_are_averaged_one_by_one():
    generator = torch.Generator().manual_seed(0)
    features, color = torch.rand(2, 5, 60, generator=generator), torch.zeros(3, 60)
    place = torch.zeros(1, 60)
    apart = [level_features(each, SeenCells(each, place, color, (6, 10))) for each in features]
    both = SeenCells(torch.cat([*features], 1), place, torch.zeros(3, 120), (12, 10), frames=2)
    assert torch.equal(level_features(both.features, both), torch.cat(apart, 1))


def test_points_in_heaps_are_clustered_by_heap():
    generator = torch.Generator().manual_seed(0)
    middles = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = middles.repeat(20, 1) + 0.1 * torch.randn(60, 2, generator=generator)
    centers, softness = cluster_points(points, torch.full((60,), 1 / 60), 3)
    assert float(torch.cdist(middles, centers).amin(1).max()) < 0.1
    assert softness < 0.05


def test_equal_points_make_one_cluster():
    centers, _ = cluster_points(torch.ones(9, 2), torch.full((9,), 1 / 9), 5)
    assert centers.tolist() == [[1, 1]]
