"""Strokes travel with what moves, are renewed in turns, and leave the film itself alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from impasto.video import coherence
from impasto.video.coherence import PATCH, TravellingStrokes, choose_turns
from impasto.video.flow import Motion

HEIGHT, WIDTH = 96, 128


def still(known: float = 1.0) -> Motion:
    zero = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    return Motion(zero, np.full((HEIGHT, WIDTH), known, np.float32), still=known == 1)


def moving(across: float) -> Motion:
    flow = np.full((HEIGHT, WIDTH, 2), (across, 0), np.float32)
    return Motion(flow, np.ones((HEIGHT, WIDTH), np.float32))


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.2, 0.2, (HEIGHT, WIDTH, 3)).astype(np.float32)


GREY = np.full((HEIGHT, WIDTH, 3), 0.5, np.float32)


def test_a_scene_begins_with_its_painting():
    strokes = TravellingStrokes(HEIGHT, WIDTH)
    painted = GREY + noise(0)
    assert np.array_equal(strokes(0, None, GREY, painted), painted)
    assert np.array_equal(strokes(1, None, GREY, painted[::-1]), painted[::-1])


def test_the_same_painting_again_changes_nothing():
    strokes = TravellingStrokes(HEIGHT, WIDTH)
    painted = GREY + noise(0)
    for number in range(60):
        shown = strokes(number, still() if number else None, GREY, painted)
    assert np.abs(shown - painted).max() < 1e-5


def test_all_strokes_are_new_after_a_round_of_turns(monkeypatch):
    """With other strokes from the second frame on, none of the first is left of the fine part."""
    monkeypatch.setattr(coherence, "COARSE_KEPT", 0.0)
    strokes = TravellingStrokes(HEIGHT, WIDTH, renew=12)
    strokes(0, None, GREY, GREY + noise(0))
    new = GREY + noise(1)
    apart = []
    for number in range(1, 13 + coherence.FADE):
        apart.append(float(np.abs(strokes(number, still(), GREY, new) - new).mean()))
    assert apart[0] > 0.05
    assert all(before >= after - 1e-6 for before, after in pairwise(apart))
    assert apart[-1] < 0.2 * apart[0]  # what is left lies along the seams of patches


def test_the_film_itself_is_not_resampled():
    """Where there are no strokes, a frame is the frame, however it moved."""
    strokes = TravellingStrokes(HEIGHT, WIDTH)
    first, second = GREY + noise(0), GREY + noise(1)
    strokes(0, None, first, first)
    assert np.abs(strokes(1, moving(0.5), second, None) - second).max() < 1e-6


def test_strokes_are_moved_along():
    strokes = TravellingStrokes(HEIGHT, WIDTH)
    marks = noise(0)
    strokes(0, None, GREY, GREY + marks)
    shown = strokes(1, moving(-5), GREY, None) - GREY  # all went 5 to the right
    assert np.allclose(shown[8:-8, 13:-8], marks[8:-8, 8:-13], atol=1e-5)


def test_what_was_hidden_is_painted_at_once():
    strokes = TravellingStrokes(HEIGHT, WIDTH, renew=240)
    strokes(0, None, GREY, GREY + noise(0))
    new = GREY + noise(1)
    known = np.ones((HEIGHT, WIDTH), np.float32)
    known[30:60, 40:80] = 0
    motion = Motion(np.zeros((HEIGHT, WIDTH, 2), np.float32), known)
    shown = strokes(1, motion, GREY, new)
    assert np.abs(shown - new)[33:57, 43:77].max() < 1e-5
    assert np.abs(shown - new)[:, 100:].mean() > 0.05


def test_what_was_hidden_between_paintings_is_painted_with_the_next():
    strokes = TravellingStrokes(HEIGHT, WIDTH, renew=240, every=2)
    strokes(0, None, GREY, GREY + noise(0))
    new = GREY + noise(1)
    strokes(1, still(0.0), GREY, None)
    assert np.abs(strokes(2, still(), GREY, new) - new).max() < 1e-5


def test_a_fade_ends_with_nothing_of_the_old():
    """Shares 1/12, 1/11 ... 1 leave 11/12, 10/12 ... 0."""
    strokes = TravellingStrokes(PATCH, PATCH, renew=24)
    left = 1.0
    middle = []
    for number in range(24):
        left *= 1 - strokes._choose(number)[PATCH // 2, PATCH // 2]
        middle.append(left)
    assert min(middle) == pytest.approx(0, abs=1e-6)
    assert middle[0] == pytest.approx(11 / 12)
    assert middle[2] == pytest.approx(9 / 12)


def test_turns_are_spread_evenly():
    turns = choose_turns(PATCH * 20, PATCH * 20, 8)
    counts = np.bincount(turns.ravel(), minlength=8)
    assert counts.min() > 40
    assert counts.max() < 60
    assert (turns[:, 1:] != turns[:, :-1]).mean() > 0.9


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (33, 31)])
def test_any_size_will_do(size):
    strokes = TravellingStrokes(*size)
    frame = np.full((*size, 3), 0.4, np.float32)
    for number in range(3):
        motion = Motion(np.zeros((*size, 2), np.float32), np.ones(size, np.float32))
        shown = strokes(number, motion if number else None, frame, frame + 0.1)
    assert np.allclose(shown, 0.5)
