"""The yardstick: known cases in their order, and no option that moves it."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import draw_picture

from impasto.images.color_transfer import match_color
from impasto.images.reading import read_image
from impasto.images.resizing import resize_pixels
from impasto.lab.distances import LINES, QUANTILES, Distances, Yardstick, part_from, rank
from impasto.painting.options import PaintOptions
from impasto.painting.painter import Painter


@pytest.fixture(scope="module")
def pictures():
    photo, style, other = (
        read_image(draw_picture(*size, seed)).pixels
        for size, seed in (((96, 72), 1), ((80, 100), 2), ((96, 72), 5))
    )
    return photo, style, other


@pytest.fixture(scope="module")
def yardstick(pictures):
    return Yardstick(pictures[0], pictures[1])


def test_the_photograph_and_the_style_are_the_ends(yardstick, pictures):
    photo, style, _ = pictures
    itself, goal = yardstick.measure(photo), yardstick.measure(style)
    assert itself.content == pytest.approx(0, abs=2e-3)
    assert itself.style == pytest.approx(1, abs=1e-6)
    assert goal.style == pytest.approx(0, abs=1e-6)
    assert goal.content > 0.9


def test_what_has_nothing_of_either_is_far_from_both(yardstick, pictures):
    photo = pictures[0]
    noise = torch.rand(photo.shape, generator=torch.Generator().manual_seed(3))
    for strange in (noise, torch.full_like(photo, 0.5)):
        measured = yardstick.measure(strange)
        assert measured.style > 0.9
        assert measured.content > 0.9


def test_new_colours_cost_less_content_than_other_things(yardstick, pictures):
    photo, style, other = pictures
    recolored = yardstick.measure(match_color(photo, style))
    assert recolored.content < 0.6 * yardstick.measure(other).content
    assert recolored.style < 0.9


def test_more_style_weight_is_nearer_the_style_and_further_from_the_photograph(yardstick, pictures):
    measured = []
    for weight in (0.5, 15, 500):
        options = PaintOptions(style_weight=weight, steps=20, precision="float32")
        painter = Painter(pictures[0], pictures[1], options)
        for _ in painter.steps():
            pass
        measured.append(yardstick.measure(painter.result().pixels))
    styles, contents = [m.style for m in measured], [m.content for m in measured]
    assert styles == sorted(styles, reverse=True)
    assert contents == sorted(contents)


def test_it_is_the_same_at_every_size_and_time(yardstick, pictures):
    photo, style, _ = pictures
    again = Yardstick(photo, style)
    assert again.measure(photo * 0.7) == yardstick.measure(photo * 0.7)
    larger = resize_pixels(photo, 192, 144)
    assert yardstick.measure(larger).content < 0.15
    assert yardstick.measure(larger).style == pytest.approx(1, abs=0.15)


def test_of_several_styles_it_is_the_mean_by_their_blend(yardstick, pictures):
    photo, style, other = pictures
    seen = photo.flip(3)
    both = Yardstick(photo, [style, other], blend=(3, 1))
    alone = [yardstick, Yardstick(photo, other)]
    ranked = both.rank_layers(seen)
    expected = 0.0
    for name in ranked:
        first, second = (each._away(ranked, name) for each in alone)
        one, two = (each.units[name] for each in alone)
        expected += (3 * first + second) / (3 * one + two) / len(ranked)
    assert both.measure(seen).style == pytest.approx(expected, rel=1e-5)


def test_small_and_narrow_pictures_are_seen(pictures):
    tiny = read_image(draw_picture(400, 12, 4)).pixels
    assert Yardstick(tiny, pictures[1]).measure(tiny).content == pytest.approx(0, abs=2e-3)


def test_a_photograph_that_is_its_own_style(pictures):
    photo = pictures[0]
    assert Yardstick(photo, photo).measure(photo).style == 0


def test_distances_add_up_as_the_sides_of_a_triangle():
    assert Distances(3, 4).overall == 5


def test_correlations_by_hand():
    a = torch.tensor([[[1.0, -1.0], [1.0, -1.0]]])
    b = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]]])
    assert part_from(a, a + 7) == 0  # a channel's mean does not count
    assert part_from(a, 3 * a) == 0
    assert part_from(a, b) == 1
    assert part_from(a, -a) == pytest.approx(math.sqrt(2))
    assert part_from(a, 0 * a) == 1
    assert part_from(0 * a, 0 * a) == 0


def test_quantiles_of_one_channel_are_its_sorted_values():
    values = torch.arange(QUANTILES, dtype=torch.float32)
    mixed = values[torch.randperm(QUANTILES, generator=torch.Generator().manual_seed(0))]
    ranked = rank(mixed.reshape(1, 16, -1))
    assert ranked.shape == (LINES, QUANTILES)
    for line in ranked:  # along a line of one dimension lies the channel or its negative
        assert torch.equal(line, values if line[-1] > 0 else -values.flip(0))
