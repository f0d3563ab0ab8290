"""Photographs through a painting net in tiles."""

from __future__ import annotations

import pytest
import torch

from impasto.errors import ImageError
from impasto.instant.net import NET_SHAPES, NORM_EPSILON, NetShape, PaintingNet
from impasto.instant.tiled_pass import (
    cut_tiles,
    measure_cost,
    measure_norm,
    normalise_instance,
    paint_in_tiles,
)
from impasto.system.devices import Machine, seeded

pytestmark = pytest.mark.arithmetic

MACHINE = Machine(torch.device("cpu"), torch.float32)


# As Johnson's, but that it is soon gone through.
SHAPES = NET_SHAPES | {
    "narrow": NetShape((8, 16, 32), 1, fold=1, kernel=9, skips=False, grain=True)
}


def make_net(name: str) -> PaintingNet:
    torch.manual_seed(0)
    net = PaintingNet(SHAPES[name])
    torch.nn.init.normal_(net.exit.weight, std=0.05)
    return net.requires_grad_(False)


@pytest.mark.parametrize(
    ("name", "size", "most"),
    [
        ("any", (201, 500), 300 * 300),
        ("slim", (97, 400), 120 * 200),
        ("narrow", (110, 131), 130 * 140),
    ],
)
def test_tiles_are_the_whole(name, size, most):
    net = make_net(name)
    photo = torch.rand(1, 3, *size, generator=seeded(1))
    numbers = 0.2 * torch.randn(net.count, generator=seeded(2))
    padded = net.pad(photo)
    assert len(cut_tiles(net, tuple(padded.shape[2:]), most)) > 1
    whole = net(photo, numbers[None])
    tiled = paint_in_tiles(net, MACHINE, photo, numbers, most)
    assert float((whole - photo).abs().max()) > 0.1  # there is something to be seen
    torch.testing.assert_close(tiled, whole, atol=1e-4, rtol=0)


def test_a_norm_of_parts_is_that_of_all():
    x = 3 + torch.randn(1, 4, 12, 10, generator=seeded(0))
    scale, shift = torch.randn(2, 1, 4, generator=seeded(1))
    parts = iter([x[:, :, :5], x[:, :, 5:]])
    found = normalise_instance(x, measure_norm(parts, (scale, shift)))
    plain = torch.nn.functional.instance_norm(x, eps=NORM_EPSILON)
    wanted = plain * (1 + scale)[..., None, None] + shift[..., None, None]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_too_little_memory_is_said():
    with pytest.raises(ImageError, match="no room for what lies around them; grant more"):
        cut_tiles(make_net("any"), (400, 400), 900)


def test_half_the_digits_cost_half_of_the_features():
    net, pictures = make_net("any"), 48
    full, half = (measure_cost(net, kind) - pictures for kind in (torch.float32, torch.bfloat16))
    assert full == 2 * half > 0
