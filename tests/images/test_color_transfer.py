"""Colour carried over: the moments come out as asked, and colours move no more than they must."""

from __future__ import annotations

import pytest
import torch
from skimage.color import rgb2lab

from impasto.errors import ImageError
from impasto.images.color_spaces import join_luma, lab_to_rgb, rgb_to_lab, split_luma
from impasto.images.color_transfer import (
    COLORS,
    color_statistics,
    match_cholesky,
    match_color,
    match_histogram,
    match_lab,
    match_luma,
    match_pca,
    matrix_power,
    show_luma,
)

pytestmark = pytest.mark.arithmetic

LINEAR = [match_color, match_cholesky, match_pca]
CARRIERS = [*LINEAR, match_histogram, match_lab]
every_carrier = pytest.mark.parametrize("carry", CARRIERS)


def random_picture(seed: int, spread: float = 0.1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.rand(3, 3, generator=generator, dtype=torch.float64) - 0.5
    colors = torch.randn(3, 40 * 30, generator=generator, dtype=torch.float64)
    return (0.5 + spread * mixing @ colors).clamp(0, 1).view(1, 3, 40, 30)


def test_statistics_worked_by_hand():
    pixels = torch.tensor([[[[0.0, 1.0]], [[0.0, 0.5]], [[0.2, 0.2]]]])
    mean, covariance = color_statistics(pixels)
    expected = [[0.25, 0.125, 0], [0.125, 0.0625, 0], [0, 0, 0]]
    torch.testing.assert_close(mean, torch.tensor([0.5, 0.25, 0.2], dtype=torch.float64))
    torch.testing.assert_close(covariance, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("carry", LINEAR)
def test_mean_and_covariance_become_the_source_s(carry):
    pixels, source = random_picture(1), random_picture(2)
    for ours, theirs in zip(
        color_statistics(carry(pixels, source)), color_statistics(source), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


@every_carrier
def test_a_picture_s_own_colours_stay(carry):
    pixels = random_picture(3)
    torch.testing.assert_close(carry(pixels, pixels), pixels, atol=2e-4, rtol=0)


def test_one_channel_stretched_is_the_plain_formula():
    # Along the axes, optimal transport is mean and deviation, channel by channel.
    generator = torch.Generator().manual_seed(0)
    base = torch.rand(3, 5000, generator=generator, dtype=torch.float64)
    pixels = (0.4 + 0.2 * (base - 0.5)).view(1, 3, 50, 100)
    source = (0.6 + 0.4 * (base.flip(1) - 0.5)).view(1, 3, 50, 100)
    axis = (pixels.flatten(2)[0] - pixels.mean((2, 3))[0][:, None]) * 2
    expected = (axis + source.mean((2, 3))[0][:, None]).view_as(pixels)
    torch.testing.assert_close(match_color(pixels, source), expected, atol=2e-3, rtol=0)


@every_carrier
def test_a_grey_picture_takes_colour_without_breaking(carry):
    grey = torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0)).expand(1, 3, 20, 20)
    moved = carry(grey, random_picture(4).float())
    assert moved.isfinite().all()
    assert moved.std() > 0.01
    # What was equal stays equal: nothing but grey levels decides.
    assert carry(grey.round(), random_picture(4).float()).flatten(2)[0].unique(dim=1).shape[1] == 2


@every_carrier
def test_a_flat_picture_stays_flat_and_takes_the_mean(carry):
    source = random_picture(5).float()
    flat = carry(torch.full((1, 3, 8, 8), 0.3), source)
    torch.testing.assert_close(flat.std((2, 3)), torch.zeros(1, 3), atol=1e-4, rtol=0)
    if carry is not match_lab:  # its mean is CIELAB's
        torch.testing.assert_close(flat.mean((2, 3)), source.mean((2, 3)), atol=1e-4, rtol=0)


@every_carrier
def test_a_flat_source_flattens(carry):
    moved = carry(random_picture(6).float(), torch.full((1, 3, 4, 4), 0.7))
    torch.testing.assert_close(moved, torch.full_like(moved, 0.7), atol=1e-3, rtol=0)


@every_carrier
def test_one_pixel_and_two_colours_are_enough(carry):
    one = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1)
    two = torch.stack([one, 1 - one], 3)[..., 0]
    for pixels, source in [(one, two), (two, one), (two, two), (one, one)]:
        moved = carry(pixels, source)
        assert moved.shape == pixels.shape
        assert moved.isfinite().all()
    torch.testing.assert_close(carry(two, two), two, atol=1e-3, rtol=0)
    torch.testing.assert_close(carry(two, one), one.expand_as(two), atol=1e-3, rtol=0)


@every_carrier
def test_types_stay_and_the_inputs_too(carry):
    pixels, source = random_picture(7).float(), random_picture(8).float()
    kept = pixels.clone(), source.clone()
    moved = carry(pixels, source)
    assert moved.dtype == torch.float32
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert torch.equal(pixels, kept[0])
    assert torch.equal(source, kept[1])
    exact = carry(pixels.double(), source.double()).float()
    torch.testing.assert_close(moved, exact, atol=1e-5, rtol=0)


def test_cholesky_worked_by_hand():
    # Red alone has spread .1; the source's red has .2 and its green follows at half.
    red = torch.tensor([0.4, 0.6, 0.4, 0.6], dtype=torch.float64)
    pixels = torch.stack([red, red * 0 + 0.5, red * 0 + 0.5]).view(1, 3, 2, 2)
    wide = torch.tensor([0.3, 0.7, 0.3, 0.7], dtype=torch.float64)
    source = torch.stack([wide, wide / 2, wide * 0 + 0.1]).view(1, 3, 2, 2)
    torch.testing.assert_close(match_cholesky(pixels, source), source, atol=1e-4, rtol=0)


def test_pca_is_the_plain_formula():
    pixels, source = random_picture(9, 0.05), random_picture(10, 0.05)
    (mean, covariance), (source_mean, target) = color_statistics(pixels), color_statistics(source)
    linear = matrix_power(target, 0.5) @ matrix_power(covariance, -0.5)
    colors = linear @ (pixels.flatten(2)[0] - mean[:, None]) + source_mean[:, None]
    torch.testing.assert_close(match_pca(pixels, source).flatten(2)[0], colors, atol=2e-3, rtol=0)


def test_optimal_transport_moves_colours_least():
    pixels, source = random_picture(1, 0.05), random_picture(2, 0.05)
    moves = [(carry(pixels, source) - pixels).square().mean() for carry in LINEAR]
    assert moves[0] == min(moves)


def test_histograms_of_equal_size_become_equal():
    pixels = torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    source = torch.rand(1, 3, 10, 12, generator=torch.Generator().manual_seed(1)).square()
    moved = match_histogram(pixels, source).flatten(2)
    torch.testing.assert_close(moved.sort()[0], source.flatten(2).sort()[0])
    assert torch.equal(moved.argsort(), pixels.flatten(2).argsort())


def test_histogram_worked_by_hand():
    def picture(*levels: float) -> torch.Tensor:
        return torch.tensor(levels).expand(1, 3, 1, -1)

    # Two share the lower half of the ranks, whose mean is (0 + .1) / 2.
    moved = match_histogram(picture(0.3, 0.8, 0.3, 0.9), picture(0.1, 0.6, 0.0, 0.4))
    torch.testing.assert_close(moved, picture(0.05, 0.4, 0.05, 0.6))
    # Each of two has half of three: (.3 + .6 / 2) / 1.5 and (.6 / 2 + .9) / 1.5.
    torch.testing.assert_close(
        match_histogram(picture(0.5, 0.7), picture(0.9, 0.3, 0.6)), picture(0.4, 0.8)
    )
    # The first has three quarters of the ranks; the source's lowest quarter is 0, the rest 1.
    weights = torch.tensor([3.0, 1.0]).view(1, 1, 1, 2)
    moved = match_histogram(
        picture(0.2, 0.4), picture(0.0, 1.0), weights, source_weights=weights.flip(3)
    )
    torch.testing.assert_close(moved, picture(2 / 3, 1.0))


def slow_quantiles(values, source, weights, source_weights):
    """Each value by summing, over the source's values, its share of the ranks the value holds."""
    moved = []
    scale = source_weights.sum() / weights.sum()
    for value in values:
        begin = weights[values < value].sum() * scale
        end = weights[values <= value].sum() * scale
        total = 0.0
        for level, weight in zip(source, source_weights, strict=True):
            # equal source values share their ranks in any order, for their sum is the same
            tied = source_weights[source == level].sum()
            low = source_weights[source < level].sum()
            held = (torch.minimum(end, low + tied) - torch.maximum(begin, low)).clamp_min(0)
            total += level * held * weight / tied
        moved.append(total / (end - begin))
    return torch.stack(moved)


def test_weighted_histogram_against_sums():
    generator = torch.Generator().manual_seed(3)
    pixels, source = (
        (torch.rand(1, 3, 5, n, generator=generator, dtype=torch.float64) * 9).round() / 9
        for n in (6, 7)
    )
    weights, source_weights = (
        torch.rand(1, 1, 5, n, generator=generator, dtype=torch.float64) + 0.01 for n in (6, 7)
    )
    moved = match_histogram(pixels, source, weights, source_weights)
    for channel in range(3):
        expected = slow_quantiles(
            pixels[0, channel].flatten(),
            source[0, channel].flatten(),
            weights.flatten(),
            source_weights.flatten(),
        )
        torch.testing.assert_close(moved[0, channel].flatten(), expected)


def test_histogram_is_monotone_under_faint_weights():
    generator = torch.Generator().manual_seed(4)
    pixels, source = torch.rand(2, 1, 3, 60, 60, generator=generator)
    weights = torch.rand(1, 1, 60, 60, generator=generator).pow(40)
    weights[..., :9] = 0
    moved = match_histogram(pixels, source, weights).flatten(2)
    order = pixels.flatten(2).argsort()
    assert (moved.gather(2, order).diff() >= 0).all()


@every_carrier
def test_what_weighs_nothing_does_not_matter(carry):
    pixels, source = random_picture(1).float(), random_picture(2).float()
    weights = torch.rand(1, 1, 40, 30, generator=torch.Generator().manual_seed(5))
    weights[..., 10:] = 0
    other_pixels, other_source = pixels.clone(), source.clone()
    other_pixels[..., 10:], other_source[..., 10:] = 1, 0
    ours = carry(pixels, source, weights, weights)
    theirs = carry(other_pixels, other_source, weights, weights)
    assert torch.equal(ours[..., :10], theirs[..., :10])
    # and the rest is as if it were not there
    small = weights[..., :10]
    alone = carry(pixels[..., :10], source[..., :10], small, small)
    torch.testing.assert_close(ours[..., :10], alone, atol=1e-5, rtol=0)
    assert carry(other_pixels, other_source, weights, weights).isfinite().all()


@every_carrier
def test_whole_weights_are_copies_of_a_pixel(carry):
    pixels, source = random_picture(1)[..., :5, :4], random_picture(2)
    weights = torch.arange(1.0, 21).view(1, 1, 5, 4)
    times = weights.flatten().long()
    copies = pixels.flatten(2).repeat_interleave(times, 2)[..., None]
    expected = carry(copies, source).flatten(2)[..., times.cumsum(0) - 1]
    torch.testing.assert_close(carry(pixels, source, weights).flatten(2), expected)


@pytest.mark.parametrize("carry", LINEAR)
def test_each_region_takes_its_own_colours(carry):
    pixels, source = random_picture(1, 0.05), random_picture(2, 0.05)
    mask = torch.zeros(1, 1, 40, 30)
    mask[..., :12] = 1
    source_mask = mask.flip(3)
    blended = torch.zeros_like(pixels)
    for here, there in [(mask, source_mask), (1 - mask, 1 - source_mask)]:
        blended += here * carry(pixels, source, here, there)
    for here, there in [(mask, source_mask), (1 - mask, 1 - source_mask)]:
        for ours, theirs in zip(
            color_statistics(blended, here), color_statistics(source, there), strict=True
        ):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-3)


@every_carrier
def test_weights_that_cannot_be_used(carry):
    pixels = random_picture(1)
    with pytest.raises(ImageError, match="no colours to measure: the weights are zero everywhere"):
        carry(pixels, pixels, torch.zeros(1, 1, 40, 30))
    with pytest.raises(ImageError, match=r"shape \(1, 1, 2, 30\) .* needs \(1, 1, 40, 30\)"):
        carry(pixels, pixels, None, torch.ones(1, 1, 2, 30))


def test_lab_against_skimage():
    pixels = torch.rand(1, 3, 30, 30, generator=torch.Generator().manual_seed(0))
    pixels[..., 0, :8] = 0.02  # the straight part of both curves
    pixels[0, :, 0, 0] = 1
    expected = torch.from_numpy(rgb2lab(pixels[0].permute(1, 2, 0).double().numpy()))
    ours = rgb_to_lab(pixels)[0].permute(1, 2, 0).double()
    torch.testing.assert_close(ours, expected, atol=0.03, rtol=0)  # its white has five digits
    torch.testing.assert_close(ours[0, 0], torch.tensor([100.0, 0, 0]).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(pixels)), pixels, atol=1e-5, rtol=0)


def test_mean_and_deviation_in_lab_become_the_source_s():
    pixels, source = random_picture(1, 0.05), random_picture(2, 0.05)
    ours, theirs = rgb_to_lab(match_lab(pixels, source)), rgb_to_lab(source)
    torch.testing.assert_close(ours.mean((2, 3)), theirs.mean((2, 3)), atol=0.02, rtol=0)
    torch.testing.assert_close(ours.std((2, 3)), theirs.std((2, 3)), atol=0.02, rtol=0)


def test_luma_worked_by_hand():
    colors = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0.5, 0.5, 0.5]]).T.view(1, 3, 1, 3)
    luma, chroma = split_luma(colors)
    torch.testing.assert_close(luma.flatten(), torch.tensor([0.299, 0.114, 0.5]))
    torch.testing.assert_close(chroma[0, 1, 0], torch.tensor([0.615, -0.1000142653, 0]))
    torch.testing.assert_close(chroma[0, 0, 0], torch.tensor([-0.1471376975, 0.436, 0]))
    torch.testing.assert_close(join_luma(luma, chroma), colors)


@pytest.mark.parametrize("name", ["content", "luminance"])
def test_luma_is_the_painting_s_and_chroma_the_content_s(name):
    painted, content = random_picture(1, 0.05), random_picture(2, 0.05)
    luma, chroma = split_luma(COLORS[name].after(painted, content))
    torch.testing.assert_close(luma, split_luma(painted)[0])
    torch.testing.assert_close(chroma, split_luma(content)[1])
    torch.testing.assert_close(COLORS[name].after(content, content), content)


def test_luminance_shows_grey_of_the_content_s_range():
    style, content = random_picture(1, 0.05).float(), random_picture(2, 0.05).float()
    mode = COLORS["luminance"]
    before = mode.before(style, content, None, None)
    assert before.shape == style.shape
    torch.testing.assert_close(before[:, :1], before[:, 2:])
    wanted = show_luma(content)
    torch.testing.assert_close(before.mean(), wanted.mean(), atol=1e-4, rtol=0)
    torch.testing.assert_close(before.std(), wanted.std(), atol=1e-4, rtol=0)
    # Looked at before or after, once or twice, it is the same.
    swapped = mode.before(mode.look(style), mode.look(content), None, None)
    torch.testing.assert_close(swapped, before)
    torch.testing.assert_close(mode.look(before), before)


def test_luma_weighs_too():
    style, content = random_picture(1).float(), random_picture(2).float()
    weights = torch.ones(1, 1, 40, 30)
    weights[..., 15:] = 0
    other = content.clone()
    other[..., 15:] = 0
    ours = match_luma(style, content, None, weights)
    assert torch.equal(ours, match_luma(style, other, None, weights))
    assert match_luma(torch.full((1, 3, 4, 4), 0.2), content).std() < 1e-5


@pytest.mark.parametrize("name", COLORS)
def test_every_mode_does_its_four_things(name):
    mode = COLORS[name]
    style, content = random_picture(1).float(), random_picture(2).float()[..., :20]
    weights, content_weights = torch.ones(1, 1, 40, 30), torch.ones(1, 1, 40, 20)
    before = mode.before(style, content, weights, content_weights)
    assert before.shape == style.shape
    assert mode.look(content).shape == content.shape
    painted = mode.after(mode.look(content), content)
    torch.testing.assert_close(painted, content)
    assert (mode.carry is None) == (name in ("content", "luminance"))
    if mode.carry is not None:
        carried = mode.carry(content, style, content_weights, weights)
        assert carried.shape == content.shape
        assert torch.equal(carried, mode.carry(content, style, None, None))
    assert mode.about[0].islower()


def test_the_style_comes_to_the_content_s_colours():
    style, content = random_picture(1).float(), random_picture(2).float()
    for name, carry in [
        ("histogram", match_histogram),
        ("cholesky", match_cholesky),
        ("pca", match_pca),
        ("symmetric", match_color),
        ("lab", match_lab),
    ]:
        before = COLORS[name].before(style, content, None, None)
        assert torch.equal(before, carry(style, content))
    assert COLORS["style"].before(style, content, None, None) is style
    assert COLORS["style"].look(style) is style
    assert COLORS["style"].after(style, content) is style


def test_powers_of_a_matrix():
    matrix = torch.tensor([[2.0, 1.0], [1.0, 2.0]], dtype=torch.float64)  # eigenvalues 1 and 3
    root = matrix_power(matrix, 0.5)
    torch.testing.assert_close(root @ root, matrix)
    torch.testing.assert_close(matrix_power(matrix, -1), torch.linalg.inv(matrix))
