"""Disturbances: their amounts, and that they depend on nothing but their generator."""

from __future__ import annotations

import pytest
import torch

from impasto.datasets import options
from impasto.datasets.disturbances import NOISES, add_gaussian, add_spots, blur
from impasto.datasets.options import AugmentOptions
from impasto.errors import OptionError
from impasto.system.devices import seeded

GREY = torch.full((1, 3, 64, 64), 0.5)


def test_the_options_know_them_all():
    assert tuple(NOISES) == options.NOISE_NAMES
    assert AugmentOptions.read({"noise": ["gaussian,blur", "spots"]}).noise == tuple(NOISES)
    with pytest.raises(OptionError, match="unknown noise 'blurr'; did you mean 'blur'"):
        AugmentOptions.read({"noise": ["gaussian,blurr"]})


@pytest.mark.parametrize("name", NOISES)
def test_same_generator_same_picture(name):
    noise = NOISES[name]
    pixels = torch.rand(1, 3, 20, 30, generator=seeded(0))
    once, again = (noise.disturb(pixels, noise.most, seeded(5)) for _ in range(2))
    assert torch.equal(once, again)
    assert once.shape == pixels.shape
    assert 0 <= once.min() <= once.max() <= 1
    assert (once - pixels).abs().mean() > 0.002
    assert noise.draw(0) == noise.least < noise.draw(0.5) < noise.draw(1) == noise.most


def test_grain_has_the_deviation_asked_for():
    assert add_gaussian(GREY, 0.1, seeded(1)).std().item() == pytest.approx(0.1, rel=0.03)


def test_blur_of_a_point_is_a_gaussian():
    point = torch.zeros(1, 3, 41, 41)
    point[..., 20, 20] = 1
    soft = blur(point, 2 / 41, seeded(0))
    assert soft.sum().item() == pytest.approx(3, rel=1e-3)
    places = torch.arange(41.0) - 20
    across = soft[0, 0].sum(0)
    assert (across * places.square()).sum().item() == pytest.approx(4, rel=0.02)


def test_spots_cover_about_their_share_and_are_dark_or_bright():
    covered = []
    for seed in range(30):
        spotted = add_spots(GREY, 0.05, seeded(seed))
        covered.append((spotted != GREY).float().mean().item())
    assert 0.03 < sum(covered) / 30 < 0.12  # soft edges reach further
    assert spotted.min() < 0.2 or spotted.max() > 0.8
