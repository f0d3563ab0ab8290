"""Where small pictures find room: inside, apart, and off what is drawn."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from impasto.figures.thumbnails import Room, covers, trace_steps

FRAME = np.array([0.0, 0.0, 300.0, 200.0])
NOTHING = np.empty((0, 2))


def test_the_first_place_is_up_and_to_the_right():
    spot = np.array([100.0, 100.0])
    center = Room(FRAME, spot[None], NOTHING).take(spot, (20, 20))
    # Half of the box and 2 points of margin, 11 points along the diagonal from its corner.
    assert center == pytest.approx(spot + 11 / np.sqrt(2) + 12)


def test_a_corner_pushes_inwards():
    spot = np.array([300.0, 200.0])
    center = Room(FRAME, spot[None], NOTHING).take(spot, (20, 20))
    assert (center < spot - 12).all()


def test_no_room_is_none():
    spot = np.array([10.0, 10.0])
    assert Room(np.array([0.0, 0.0, 30, 30]), spot[None], NOTHING).take(spot, (40, 40)) is None


@pytest.mark.parametrize("count", [2, 10, 60])
def test_boxes_keep_apart_and_cover_no_spot_and_no_line(count):
    spots = np.random.default_rng(count).uniform([20, 20], [280, 180], (count, 2))
    drawn = trace_steps(sorted(spots[: count // 3], key=tuple))
    room = Room(FRAME, spots, drawn)
    centers = [room.take(spot, (24, 18)) for spot in spots]
    placed = [(s, c) for s, c in zip(spots, centers, strict=True) if c is not None]
    assert placed
    assert len(room.boxes) == len(placed)
    for box in room.boxes:
        assert not covers(box, np.concatenate([spots, drawn]), 6.9)
        assert (box[:2] >= 0).all()
        assert (box[2:] <= FRAME[2:]).all()
    for one, other in combinations(room.boxes, 2):
        assert (one[2:] <= other[:2]).any() or (other[2:] <= one[:2]).any()
    for number, (spot, center) in enumerate(placed):
        line = np.linspace(spot, center, 24)
        others = [box for n, box in enumerate(room.boxes) if n != number]
        assert not any(covers(box, line) for box in others)


def test_steps_go_right_and_then_down():
    steps = trace_steps([np.array([0.0, 10.0]), np.array([5.0, 2.0])])
    assert [0, 10] in steps.tolist()
    assert [5, 10] in steps.tolist()
    assert [5, 2] in steps.tolist()
    assert ((steps[:, 0] == 5) | (steps[:, 1] == 10)).all()
    assert trace_steps([]).shape == (0, 2)
