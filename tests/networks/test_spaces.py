"""The true VGG-19's space: the same inner products, in fewer numbers."""

from __future__ import annotations

import torch
from torch.nn import functional

from impasto.images.reading import read_image
from impasto.losses.sampling import ColumnMap
from impasto.networks.spaces import find_root_map, load_space
from impasto.networks.weights import load_tensors
from impasto.system.devices import seeded


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def test_a_map_worked_by_hand():
    # W = (3, 4)^T makes x five times as long; times the root of 1 channel over 2.
    root = find_root_map(torch.tensor([[3.0], [4.0]]), torch.zeros(2))
    assert torch.allclose(root, torch.tensor([[5 / 2**0.5, 0.0], [0.0, 0.0]]), atol=1e-6)


def test_inner_products_are_those_of_the_whole_map():
    weight, bias, features = random(40, 10), random(40, seed=1), random(7, 10, seed=2)
    columns = ColumnMap((10,), (find_root_map(weight, bias),))
    ours, whole = columns(features), features @ weight.T + bias
    assert ours.shape == (7, 11)
    assert torch.allclose(ours @ ours.T, whole @ whole.T / 4, rtol=1e-4, atol=1e-3)
    moved = columns.map_difference(features[1:] - features[:-1])
    assert torch.allclose(moved, ours[1:] - ours[:-1], atol=1e-4)


def test_layers_without_a_map_stay_as_they_are():
    features = random(5, 3 + 10)
    columns = ColumnMap((3, 10), (None, find_root_map(random(40, 10), random(40))))
    assert torch.equal(columns(features)[:, :3], features[:, :3])


def test_the_embedded_maps_are_nearly_those_with_the_relu(compact, photo):
    space, maps = load_space("compact"), load_tensors("compact", ("to_vgg19.",))
    assert list(space) == [f"relu{block}_1" for block in range(1, 6)]
    seen = compact(read_image(photo).pixels, list(space))
    for name, features in seen.items():
        weight, bias = (maps[f"to_vgg19.{name}.{part}"].float() for part in ("weight", "bias"))
        true = functional.conv2d(features, weight, bias).relu()[0].flatten(1).T
        rows = features[0].flatten(1).T
        near = ColumnMap((rows.shape[1],), (space[name],))(rows)
        ours, theirs = (functional.normalize(f) @ functional.normalize(f).T for f in (near, true))
        plain = functional.normalize(rows) @ functional.normalize(rows).T
        assert (ours - theirs).abs().mean() < (plain - theirs).abs().mean()
