"""Frames of a clip painted by statistics that are held."""

from __future__ import annotations

import pytest
import torch

from impasto.errors import OptionError
from impasto.images.color_transfer import color_statistics, match_color
from impasto.instant.held_painter import ColorMap, HeldPainter
from impasto.instant.net import GRAIN, NET_SHAPES, PaintingNet
from impasto.instant.palette import StyleBlend
from impasto.system.devices import Machine, seeded

pytestmark = pytest.mark.arithmetic

MACHINE = Machine(torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def net() -> PaintingNet:
    torch.manual_seed(0)
    net = PaintingNet(NET_SHAPES["any"])
    torch.nn.init.normal_(net.exit.weight, std=0.05)
    return net.requires_grad_(False)


@pytest.fixture(scope="module")
def style(net) -> StyleBlend:
    numbers = 0.2 * torch.randn(net.count, generator=seeded(1))
    covariance = torch.diag(torch.tensor([0.02, 0.03, 0.01]).double())
    return StyleBlend(numbers, torch.tensor([0.5, 0.4, 0.3]).double(), covariance)


def draw_scene(height: int, width: int, seed: int = 0) -> torch.Tensor:
    small = torch.rand(1, 3, height // 8, width // 8, generator=seeded(seed))
    return torch.nn.functional.interpolate(small, size=(height, width), mode="bicubic").clamp(0, 1)


def test_a_pan_by_the_stride_gives_the_same_bytes(net, style):
    scene = draw_scene(320, 400)
    grain = torch.randn(1, 1, 320, 400, generator=seeded(2))
    first, second = scene[..., :312, :384], scene[..., 8:, 16:]
    paint = HeldPainter(net, MACHINE, style, [first])
    one = paint(first, grain[..., :312, :384])
    two = paint(second, grain[..., 8:, 16:])
    edge = net.reach + 7
    inner = one[..., 8 + edge : 312 - edge, 16 + edge : 384 - edge]
    assert inner.shape[2] > 40
    assert torch.equal(inner, two[..., edge : 304 - edge, edge : 368 - edge])
    assert float((inner - first[..., 8 + edge : 312 - edge, 16 + edge : 384 - edge]).std()) > 0.01


def test_its_own_grain_moves_as_it_is_told(net, style):
    frame = draw_scene(80, 96)
    paint = HeldPainter(net, MACHINE, style, [frame])
    assert torch.equal(paint.find_grain((80, 96)), net.grain[..., :80, :96])
    moved = paint.find_grain((80, 96), (-8, 16 + GRAIN))
    assert torch.equal(moved[..., :-8, 16:], net.grain[..., 8:80, :80])
    assert torch.equal(paint(frame), paint(frame, paint.find_grain((80, 96))))
    with pytest.raises(OptionError, match=r"a grain of shape \(1, 1, 8, 8\)"):
        paint(frame, torch.zeros(1, 1, 8, 8))


def test_the_frame_that_was_measured_is_painted_as_by_itself(net, style):
    frame = draw_scene(80, 96)
    held = HeldPainter(net, MACHINE, style, [frame])(frame)
    colored = ColorMap.between([frame], style)(frame)
    plain = net(colored, style.numbers[None]).clamp(0, 1)
    torch.testing.assert_close(held, plain, atol=1e-4, rtol=0)


def test_several_frames_are_measured_together(net, style):
    """As one picture that holds both, but for what lies along the seam."""
    one, two = draw_scene(64, 96, 3), draw_scene(128, 96, 4)
    both = ColorMap.between([one, two], style)
    joined = ColorMap.between([torch.cat([one, two], 2)], style)
    torch.testing.assert_close(both.linear, joined.linear, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both.offset, joined.offset, atol=1e-5, rtol=1e-5)
    # Means are of all positions: those of the larger frame count twice.
    found = HeldPainter(net, MACHINE, style, [one, two]).held[0][0]
    paint = HeldPainter(net, MACHINE, style, [one, two])
    parts = [net.measure(paint.colors(each), paint.numbers)[1][0][0] for each in (one, two)]
    torch.testing.assert_close(found, (parts[0] + 2 * parts[1]) / 3, atol=1e-5, rtol=1e-5)
    with pytest.raises(OptionError, match="no frame"):
        HeldPainter(net, MACHINE, style, [])


def test_held_colours_are_those_of_the_style(style):
    frame = 0.3 + 0.1 * draw_scene(64, 64)
    known = torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1)
    target = known + 0.05 * torch.randn(1, 3, 64, 64, generator=seeded(5))
    wanted = StyleBlend(style.numbers, *color_statistics(target))
    colored = ColorMap.between([frame], wanted)(frame)
    torch.testing.assert_close(colored, match_color(frame, target), atol=1e-5, rtol=0)
