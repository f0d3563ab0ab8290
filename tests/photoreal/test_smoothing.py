"""Guided masks: means over boxes by loops, edges kept, strips as the whole."""

from __future__ import annotations

import pytest
import torch
from conftest import draw_picture
from torch.nn import functional

from impasto.images.reading import read_image
from impasto.photoreal.smoothing import average_box, enlarge_rows, even_out, guide_masks


def draw(width: int, height: int, seed: int = 0) -> torch.Tensor:
    return read_image(draw_picture(width, height, seed)).pixels


def test_a_mean_over_boxes_is_that_of_what_lies_inside():
    values = torch.rand(1, 2, 7, 9, generator=torch.Generator().manual_seed(0)).double()
    averaged = average_box(values, 2)
    for y, x in [(0, 0), (3, 4), (6, 8), (1, 7)]:
        window = values[..., max(0, y - 2) : y + 3, max(0, x - 2) : x + 3]
        assert torch.allclose(averaged[..., y, x], window.mean((2, 3)))


def test_a_mask_that_is_a_colour_stays_itself():
    guide = draw(40, 30)
    masks = torch.cat([guide[:, :1], 1 - guide[:, :1]], 1)
    guided = guide_masks(masks, guide, 4, 1e-9)
    assert torch.allclose(guided.enlarge(guide, slice(0, 30), (30, 40)), masks, atol=1e-3)


def test_a_rough_mask_takes_the_photograph_s_edge():
    guide = torch.full((1, 3, 32, 32), 0.2)
    guide[..., 16:] = 0.8
    rough = torch.zeros(1, 1, 32, 32)
    rough[..., 19:] = 1  # three pixels off
    rough = torch.cat([1 - rough, rough], 1)
    masks = guide_masks(rough, guide, 6, 1e-4).enlarge(guide, slice(0, 32), (32, 32))
    jumps = masks[0, 1, 16].diff()
    assert int(jumps.argmax()) == 15  # between columns 15 and 16
    assert float(jumps.max()) > 5 * float(jumps[17:21].max())


def test_strips_are_those_of_the_whole():
    guide, height, width = draw(61, 47), 47, 61
    rough = torch.rand(1, 3, 47, 61, generator=torch.Generator().manual_seed(1))
    small = functional.interpolate(guide, (12, 15), mode="area")
    masks = guide_masks(
        functional.interpolate(rough / rough.sum(1, keepdim=True), (12, 15)), small, 2, 1e-3
    )
    whole = masks.enlarge(guide, slice(0, height), (height, width))
    strips = [
        masks.enlarge(guide[:, :, top : top + 10], slice(top, top + 10), (height, width))
        for top in range(0, height, 10)
    ]
    assert torch.equal(torch.cat(strips, 2), whole)
    assert torch.allclose(whole.sum(1), torch.ones(1, height, width), atol=1e-5)
    assert float(whole.min()) >= 0


@pytest.mark.parametrize("size", [(5, 7), (9, 20), (23, 31)])
def test_enlarging_is_bilinear(size):
    small = torch.rand(2, 3, 9, 11, generator=torch.Generator().manual_seed(2))
    expected = functional.interpolate(small, size, mode="bilinear", align_corners=False)
    if min(size) >= 9:
        assert torch.allclose(enlarge_rows(small, slice(0, size[0]), size), expected, atol=1e-6)
    assert enlarge_rows(small, slice(2, 4), size).shape == (2, 3, 2, size[1])


def test_even_areas_are_smoothed_and_edges_stay():
    generator = torch.Generator().manual_seed(0)
    step = torch.full((1, 3, 40, 60), 0.2)
    step[..., 30:] = 0.8
    noise = 0.01 * torch.randn(step.shape, generator=generator)
    half = torch.full((1, 1, 40, 60), 0.5)
    level = even_out(step + noise, half, 2, 0.1).enlarge(step + noise, slice(0, 40), (40, 60))
    left = (level - step)[..., 5:25]  # of independent noise: half, and half of a mean of 25
    assert float(left.std()) == pytest.approx(0.01 * 0.51, rel=0.15)
    assert float((level - step)[..., 28:32].abs().mean()) < 0.02
    all_of_it = even_out(step + noise, torch.ones(1, 1, 40, 60), 2, 0.1)
    assert torch.allclose(all_of_it.enlarge(step + noise, slice(0, 40), (40, 60)), step + noise)


def test_smoothing_strip_by_strip_has_no_seams():
    photo = torch.rand(1, 3, 60, 80, generator=torch.Generator().manual_seed(1))
    small = even_out(photo[..., ::2, ::2], torch.full((1, 1, 30, 40), 0.3), 2, 0.1)
    whole = small.enlarge(photo, slice(0, 60), (60, 80))
    strips = [
        small.enlarge(photo[:, :, rows], rows, (60, 80)) for rows in (slice(0, 23), slice(23, 60))
    ]
    assert torch.allclose(torch.cat(strips, 2), whole, atol=1e-6)
