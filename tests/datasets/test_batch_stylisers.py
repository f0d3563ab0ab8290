"""Batches of pictures painted after styles."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from conftest import draw_picture

from impasto.datasets.batch_stylisers import STYLISERS, Styliser
from impasto.datasets.options import AugmentOptions
from impasto.errors import ImageError, OptionError
from impasto.images.color_transfer import color_statistics, match_color
from impasto.losses.statistics import measure_moments


def picture(width: int, height: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(draw_picture(width, height, seed)).permute(2, 0, 1)[None].float() / 255


def batch(count: int = 3, width: int = 32, height: int = 24) -> torch.Tensor:
    return torch.cat([picture(width, height, seed) for seed in range(count)])


STYLES = [picture(64, 48, 7), picture(40, 60, 8).square() * 0.5]


@pytest.fixture(scope="module")
def statistics() -> Styliser:
    styliser = STYLISERS["statistics"]()
    styliser.learn(STYLES)
    return styliser


@pytest.fixture(scope="module")
def color() -> Styliser:
    styliser = STYLISERS["color"]()
    styliser.learn(STYLES)
    return styliser


@pytest.fixture(scope="module")
def instant() -> Styliser:
    styliser = STYLISERS["instant"]()
    styliser.learn(STYLES)
    return styliser


def test_the_options_know_them_all():
    assert tuple(STYLISERS) == get_args(AugmentOptions.model_fields["styliser"].annotation)


def test_color_is_match_color_blended(color):
    pixels = batch()
    painted = color.paint(pixels, [0, 1, 0], [1.0, 1.0, 0.25])
    for i, (style, strength) in enumerate([(0, 1.0), (1, 1.0), (0, 0.25)]):
        one = pixels[i : i + 1]
        wanted = (1 - strength) * one + strength * match_color(one, STYLES[style])
        torch.testing.assert_close(painted[i : i + 1], wanted, atol=1e-5, rtol=0)


def test_color_of_a_flat_picture_is_the_style_s_mean(color):
    painted = color.paint(torch.full((1, 3, 8, 8), 0.5), [1], [1.0])
    mean = color_statistics(STYLES[1])[0].float()
    torch.testing.assert_close(painted.mean((0, 2, 3)), mean, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", STYLISERS)
def test_every_styliser_gives_a_picture_of_the_same_size(name, request):
    styliser = request.getfixturevalue(name)
    pixels = batch(2, 33, 17)
    before = pixels.clone()
    painted = styliser.paint(pixels, [1, 0], [0.5, 1.0])
    assert painted.shape == pixels.shape
    assert painted.dtype == torch.float32
    assert 0 <= painted.min() <= painted.max() <= 1
    assert torch.equal(pixels, before)
    assert torch.equal(painted, styliser.paint(pixels, [1, 0], [0.5, 1.0]))


def test_moments_and_their_slope():
    features = torch.rand(2, 3, 4, 5, dtype=torch.float64, requires_grad=True)
    mean, deviation = measure_moments(features)
    torch.testing.assert_close(mean, features.mean((2, 3)))
    torch.testing.assert_close(deviation, features.std((2, 3), correction=0), atol=1e-6, rtol=0)
    assert torch.autograd.gradcheck(measure_moments, (features,))


def test_statistics_come_nearer_to_the_style_the_stronger(statistics):
    pixels = batch(1).expand(3, -1, -1, -1)
    painted = statistics.paint(pixels, [0, 0, 0], [0.0, 0.5, 1.0])
    with torch.no_grad():
        wanted = statistics._measure(0, 32)
        features = statistics.backbone(painted, statistics.layers)
    apart = torch.zeros(3)
    for name, moments in wanted.items():
        for own, style in zip(measure_moments(features[name]), moments, strict=True):
            apart += (own - style).square().sum(1) / style.square().sum()
    assert apart[0] > apart[1] > apart[2]


@pytest.mark.parametrize("name", STYLISERS)
def test_strength_zero_leaves_a_picture_as_it_is(name, request):
    pixels = batch(2)
    painted = request.getfixturevalue(name).paint(pixels, [0, 1], [0.0, 0.9])
    assert torch.equal(painted[0], pixels[0])
    assert not torch.equal(painted[1], pixels[1])


def test_a_picture_keeps_its_style_in_any_company(statistics):
    pixels = batch(3)
    together = statistics.paint(pixels, [0, 1, 0], [0.9, 0.6, 0.3])
    alone = statistics.paint(pixels[1:2], [1], [0.6])
    assert (together[1:2] - alone).abs().mean() < 0.02


def test_a_batch_in_one_pass_is_its_pictures_one_by_one(instant):
    pixels = batch(3, 48, 40)
    together = instant.paint(pixels, [0, 1, 0], [1.0, 0.6, 0.3])
    alone = instant.paint(pixels[1:2], [1], [0.6])
    assert (together[1:2] - alone).abs().mean() < 0.02
    assert (together[:1] - match_color(pixels[:1], STYLES[0])).abs().mean() > 0.02


def test_a_large_picture_keeps_its_detail(statistics, monkeypatch):
    monkeypatch.setattr(statistics, "largest", 32)
    pixels = picture(96, 64, 3)
    grain = pixels + 0.2 * (torch.rand(1, 3, 64, 96, generator=torch.Generator()) - 0.5)
    painted = [statistics.paint(each.clamp(0.1, 0.9), [0], [0.2]) for each in (pixels, grain)]
    difference = (painted[1] - painted[0]).std()
    assert difference > 0.5 * (grain.clamp(0.1, 0.9) - pixels.clamp(0.1, 0.9)).std()


def test_what_is_too_small_to_be_seen_is_said(statistics):
    with pytest.raises(ImageError, match="too small for layer relu3_1"):
        statistics.paint(batch(1, 3, 3), [0], [0.5])


def test_batches_are_checked(color):
    with pytest.raises(OptionError, match="1 styles and 2 strengths"):
        color.paint(batch(2), [0], [0.5, 0.5])
