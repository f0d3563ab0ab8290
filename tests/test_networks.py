"""Networks that paint in one pass."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from impasto.devices import seeded
from impasto.networks import (
    CODE_LAYERS,
    InstantNet,
    StyledNorm,
    code_size,
    encode_style,
    join_moments,
)


def draw(*shape: int, seed: int = 0, kind: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=kind)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_norm_and_its_slopes_are_those_of_torch(layout):
    x = draw(2, 3, 5, 4, kind=torch.float64).to(memory_format=layout).requires_grad_()
    scale, shift = (draw(2, 3, seed=s, kind=torch.float64).requires_grad_() for s in (1, 2))
    own = functional.instance_norm(x, eps=1e-5)
    plain = own * (1 + scale)[..., None, None] + shift[..., None, None]
    ours = StyledNorm.apply(x, scale, shift)
    torch.testing.assert_close(ours, plain, atol=1e-5, rtol=1e-5)
    weights = draw(2, 3, 5, 4, seed=3, kind=torch.float64)
    leaves = (x, scale, shift)
    expected = torch.autograd.grad((plain * weights).sum(), leaves)
    found = torch.autograd.grad((ours * weights).sum(), leaves)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5, check_dtype=False)


def test_a_code_is_means_and_deviations(compact):
    styles = torch.rand(2, 3, 40, 56, generator=seeded(0))
    codes = encode_style(compact, styles)
    assert codes.shape == (2, code_size(compact)) == (2, 480)
    seen = compact(styles, CODE_LAYERS)
    parts = [
        m
        for n in CODE_LAYERS
        for f in [seen[n]]
        for m in (f.mean((2, 3)), f.std((2, 3), correction=0))
    ]
    torch.testing.assert_close(codes, torch.cat(parts, 1), atol=1e-4, rtol=1e-4)
    joined = join_moments([(torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 9.0]]))])
    assert joined.tolist() == [[1, 2, 2, 3]]


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (70, 41)])
def test_a_painting_has_its_photograph_s_size(size):
    torch.manual_seed(0)
    net = InstantNet(6)
    photo = torch.rand(1, 3, *size, generator=seeded(1))
    with torch.no_grad():
        painted = net(photo, net.read_code(draw(1, 6)))
        other = net(photo, net.read_code(draw(1, 6, seed=5)))
    assert painted.shape == photo.shape
    assert painted.isfinite().all()
    assert not torch.equal(painted, other)


def test_pictures_of_a_batch_do_not_see_each_other():
    torch.manual_seed(0)
    net = InstantNet(6)
    photos, codes = torch.rand(2, 3, 32, 36, generator=seeded(1)), draw(2, 6)
    with torch.no_grad():
        both = net(photos, net.read_code(codes))
        one = net(photos[1:], net.read_code(codes[1:]))
    torch.testing.assert_close(both[1:], one, atol=1e-5, rtol=1e-5)


def test_it_is_small(compact):
    count = sum(each.numel() for each in InstantNet(code_size(compact)).parameters())
    assert count < 600_000
