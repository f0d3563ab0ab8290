"""Flow is found, and what of it is trusted; what is moved lands where it should."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import draw_picture

from impasto.video.flow import (
    MotionFinder,
    find_hidden,
    find_motion_edges,
    shrink_frame,
    to_grey,
    warp,
)


def constant_flow(height: int, width: int, across: float, down: float) -> np.ndarray:
    return np.full((height, width, 2), (across, down), np.float32)


def draw_texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    small = np.random.default_rng(seed).uniform(0, 255, (height // 4, width // 4))
    return np.kron(small, np.ones((4, 4))).astype(np.uint8)


@pytest.mark.parametrize("how", ["nearest", "linear", "cubic"])
def test_a_warp_takes_pixels_from_where_the_flow_leads(how):
    pixels = np.random.default_rng(0).uniform(0, 1, (20, 30, 3)).astype(np.float32)
    moved = warp(pixels, constant_flow(20, 30, 3, -2), how)
    assert np.allclose(moved[4:, :25], pixels[2:18, 3:28], atol=1e-5)
    assert np.allclose(moved[0, :25], pixels[0, 3:28], atol=1e-5)  # beyond the edge, the edge


def test_a_warp_by_half_a_pixel_is_the_mean_of_two():
    pixels = np.arange(12, dtype=np.float32).reshape(1, 12).repeat(3, 0)
    assert np.allclose(warp(pixels, constant_flow(3, 12, 0.5, 0))[1, :11], pixels[1, :11] + 0.5)


def test_a_pan_is_found_back_to_where_it_was():
    scene = draw_texture(120, 180)
    find = MotionFinder(100, 140)
    motion = find(scene[10:110, 20:160], scene[8:108, 24:164])  # the window went right and up
    inner = motion.back[20:-20, 20:-20]
    assert np.allclose(np.median(inner, (0, 1)), (4, -2), atol=0.2)
    assert motion.known[20:-20, 20:-20].mean() > 0.95
    assert motion.known[:, -3:].mean() < 0.5  # what came in on the right was nowhere before


def test_the_same_frame_has_not_moved():
    grey = draw_texture(40, 60)
    motion = MotionFinder(40, 60)(grey, grey.copy())
    assert motion.still
    assert not motion.back.any()
    assert motion.known.min() == 1


def test_large_frames_are_found_smaller_and_told_in_their_own_pixels():
    scene = draw_texture(400, 1400)
    motion = MotionFinder(360, 1280)(scene[:360, :1280], scene[:360, 40:1320])
    assert np.allclose(np.median(motion.back[60:-60, 100:-100], (0, 1)), (40, 0), atol=1.5)


def test_what_is_too_small_stands_still():
    motion = MotionFinder(8, 8)(np.zeros((8, 8), np.uint8), np.full((8, 8), 9, np.uint8))
    assert not motion.back.any()


def test_hidden_is_where_back_and_forth_do_not_lead_home():
    """By hand: for w = (2, 0), |w + v|^2 >= .01 (|w|^2 + |v|^2) + .5 where v is off by .8."""
    back, forth = constant_flow(20, 20, 2, 0), constant_flow(20, 20, -2, 0)
    assert not find_hidden(back, forth)[:, :18].any()
    assert find_hidden(back, forth)[:, 18:].all()  # from beyond the right edge
    slightly = constant_flow(20, 20, -2 + 0.7, 0)  # .49 < .01 (4 + 1.69) + .5
    assert not find_hidden(back, slightly)[:, :18].any()
    more = constant_flow(20, 20, -2 + 0.8, 0)  # .64 >= .01 (4 + 1.44) + .5
    assert find_hidden(back, more)[:, :18].all()


def test_edges_of_motion_are_where_the_flow_changes():
    flow = constant_flow(10, 20, 0, 0)
    flow[:, 10:, 0] = 1  # du = 1/2 on both sides: .25 > .01 * 1 + .002
    edges = find_motion_edges(flow)
    assert edges[:, 9:11].all()
    assert not edges[:, :9].any()
    assert not edges[:, 11:].any()
    slow = flow * 0.08  # du = .04: .0016 < .002
    assert not find_motion_edges(slow).any()


def test_luma_and_sizes():
    pixels = draw_picture(64, 48)
    expected = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(to_grey(pixels) - expected).max() <= 1
    assert shrink_frame(pixels, 32).shape == (24, 32, 3)
    assert shrink_frame(pixels, 100) is pixels
