"""Borders that mirror what lies within."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from impasto.networks.reflection import ReflectedConv, Reflection, lies_by_pixels, reflect_border
from impasto.system.devices import seeded


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_copies_and_their_slopes_are_those_of_torch(width, layout):
    plain = draw(2, 3, 6, 7).requires_grad_()
    ours = plain.detach().clone(memory_format=layout).requires_grad_()
    padded = functional.pad(plain, (width,) * 4, mode="reflect")
    found = Reflection.apply(ours, width)
    assert torch.equal(found, padded)
    assert lies_by_pixels(found) == (layout == torch.channels_last)
    weights = draw(*padded.shape, seed=1)
    (padded * weights).sum().backward()
    (found * weights).sum().backward()
    torch.testing.assert_close(ours.grad, plain.grad)
    assert torch.equal(reflect_border(plain, width), padded)


def test_no_border_is_the_same():
    x = draw(1, 2, 3, 4)
    assert reflect_border(x, 0) is x


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (5, 1), (3, 2), (1, 1)])
def test_a_convolution_is_torch_s_with_mirrored_borders(size, stride):
    torch.manual_seed(0)
    ours = ReflectedConv(3, 4, size, stride=stride, padding=size // 2)
    how = {"stride": stride, "padding": size // 2, "padding_mode": "reflect"}
    plain = torch.nn.Conv2d(3, 4, size, **how)
    plain.load_state_dict(ours.state_dict())
    x = draw(2, 3, 8, 10).float()
    assert torch.equal(ours(x), plain(x))
