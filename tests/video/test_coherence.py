"""Strokes travel with what moves, are renewed in turns, and leave the film itself alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from impasto.video.coherence import TravellingStrokes, measure_steps
from impasto.video.flow import Motion

HEIGHT, WIDTH = 96, 128


def still(known: float = 1.0) -> Motion:
    zero = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    return Motion(zero, np.full((HEIGHT, WIDTH), known, np.float32), still=known == 1)


def moving(across: float, down: float = 0) -> Motion:
    flow = np.full((HEIGHT, WIDTH, 2), (across, down), np.float32)
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


@pytest.mark.parametrize("every", [1, 3])
def test_a_frame_depends_on_no_more_than_two_periods(every):
    """Begun with other strokes, films are the same to the bit after twice ``renew`` frames."""
    films = []
    for seed in (100, 200):
        strokes = TravellingStrokes(HEIGHT, WIDTH, renew=6, every=every)
        strokes(0, None, GREY, GREY + noise(seed))
        shown = []
        for number in range(1, 20):
            painted = GREY + noise(number) if number % every == 0 else None
            shown.append(strokes(number, moving(0.7, 0.9), GREY, painted))
        films.append(shown)
    same = [np.array_equal(one, other) for one, other in zip(*films, strict=True)]
    assert not any(same[:5])
    assert all(same[11:])  # the twelfth on


def test_a_layer_that_comes_takes_the_place_of_the_other_by_angles():
    """Uncorrelated strokes are mixed by cosine and sine: half of a period in, as much of both."""
    strokes = TravellingStrokes(HEIGHT, WIDTH, renew=4)
    old, new = noise(1), noise(2)
    strokes(0, None, GREY, GREY + noise(0))
    strokes(4, still(), GREY, GREY + old)
    strokes(8, still(), GREY, GREY + new)
    shown = strokes(10, still(), GREY, None) - GREY
    (coarse_old, fine_old), (coarse_new, fine_new) = map(strokes.split, (old, new))
    del coarse_old, coarse_new
    fine = strokes.split(shown)[1]
    for layer in (fine_old, fine_new):
        slope = float((fine * layer).sum() / np.square(layer).sum())
        assert slope == pytest.approx(2**-0.5, abs=0.05)
    assert np.square(fine).sum() == pytest.approx(np.square(fine_new).sum(), rel=0.05)


def test_contrast_is_kept_while_layers_change():
    """The deviation of the fine part varies by a twentieth at most, whether alike or not."""
    for other in (noise(1), noise(0) * 0.5 + noise(1) * 0.5):
        strokes = TravellingStrokes(HEIGHT, WIDTH, renew=8)
        level = float(noise(0).std())
        other = other * level / other.std()
        strokes(0, None, GREY, GREY + noise(0))
        strokes(8, still(), GREY, GREY + other)
        deviations = [
            float(strokes.split(strokes(number, still(), GREY, None) - GREY)[1].std())
            for number in range(9, 16)
        ]
        assert min(deviations) > 0.95 * max(deviations)
        assert deviations[0] == pytest.approx(level, rel=0.05)


def test_strokes_stay_sharp_however_long_they_travel():
    """Moved by fractions of a pixel 24 times, they are neither blurred nor sharpened much."""
    soft = cv2.GaussianBlur(noise(0), (0, 0), 1.2)
    strokes = TravellingStrokes(HEIGHT, WIDTH, renew=240)
    strokes(0, None, GREY, GREY + soft)
    for number in range(1, 25):
        shown = strokes(number, moving(0.37, 0.21), GREY, None)
    share = measure_steps(shown - GREY) / measure_steps(soft)
    assert 0.8 < share < 1.1


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
    assert np.allclose(
        shown[8:-8, 13:-8], marks[8:-8, 8:-13], atol=1 / 255
    )  # half a level in the coarse part


def test_what_was_hidden_is_painted_at_once():
    strokes = TravellingStrokes(HEIGHT, WIDTH, renew=240)
    strokes(0, None, GREY, GREY + noise(0))
    new = GREY + noise(1)
    known = np.ones((HEIGHT, WIDTH), np.float32)
    known[30:60, 40:80] = 0
    motion = Motion(np.zeros((HEIGHT, WIDTH, 2), np.float32), known)
    shown = strokes(1, motion, GREY, new)
    assert np.abs(shown - new)[33:57, 43:77].max() < 1 / 255
    assert np.abs(shown - new)[:, 100:].mean() > 0.05


def test_what_was_hidden_between_paintings_is_painted_with_the_next():
    strokes = TravellingStrokes(HEIGHT, WIDTH, renew=240, every=2)
    strokes(0, None, GREY, GREY + noise(0))
    new = GREY + noise(1)
    strokes(1, still(0.0), GREY, None)
    assert np.abs(strokes(2, still(), GREY, new) - new).max() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (5, 300), (33, 31)])
def test_any_size_will_do(size):
    strokes = TravellingStrokes(*size)
    frame = np.full((*size, 3), 0.4, np.float32)
    for number in range(3):
        motion = Motion(np.zeros((*size, 2), np.float32), np.ones(size, np.float32))
        shown = strokes(number, motion if number else None, frame, frame + 0.1)
    assert np.allclose(shown, 0.5)
