"""Where small pictures go on a figure: near their points, covering nothing.

Places are (x, y) and boxes (left, bottom, right, top), all in points of 1/72 inch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

_Array = npt.NDArray[Any]


def trace_steps(spots: Sequence[_Array]) -> _Array:
    """Return places (N,2) along the stepped line through these."""
    places: list[_Array] = []
    for before, after in pairwise(spots):
        corner = np.array([after[0], before[1]])
        places += [*np.linspace(before, corner, 20), *np.linspace(corner, after, 20)]
    return np.array(places).reshape(-1, 2)


class Room:
    """What is free of a frame (left, bottom, right, top), in points.

    Boxes keep off ``spots``, what is ``drawn`` and each other; the lines from spots to boxes keep
    off all but what is drawn.
    """

    def __init__(self, frame: _Array, spots: _Array, drawn: _Array) -> None:
        self.frame, self.crossed, self.taken = frame, spots, np.concatenate([spots, drawn])
        self.boxes: list[_Array] = []

    def take(self, spot: _Array, size: tuple[float, float]) -> _Array | None:
        """Take a free box of this size near the spot; return its middle, None if there is none."""
        half = np.array(size) / 2 + 2
        for distance in (11, 20, 32, 48):
            for angle in np.arange(0.25, 2.25, 0.125) * np.pi:
                way = np.array([np.cos(angle), np.sin(angle)])
                center: _Array = spot + way * (distance + min(half / np.maximum(np.abs(way), 1e-9)))
                box = np.concatenate([center - half, center + half])
                line = np.linspace(spot, center, 24)
                if self.is_free(box, line[np.hypot(*(line - spot).T) > 7]):
                    self.boxes.append(box)
                    self.taken = np.concatenate([self.taken, line])
                    self.crossed = np.concatenate([self.crossed, line])
                    return center
        return None

    def is_free(self, box: _Array, line: _Array) -> bool:
        """Return whether a box and the line to it keep off all that they must."""
        inside = (box[:2] >= self.frame[:2]).all() and (box[2:] <= self.frame[2:]).all()
        apart = all((box[:2] >= o[2:]).any() or (box[2:] <= o[:2]).any() for o in self.boxes)
        if not inside or not apart or covers(box, self.taken, 7):
            return False
        away = np.abs(self.crossed[:, None] - line).max(axis=2).min()
        return bool(away > 3) and not any(covers(other, line) for other in self.boxes)


def covers(box: _Array, places: _Array, margin: float = 0) -> bool:
    """Return whether any place (N,2) lies in the box, or as near to it as the margin."""
    near = (places > box[:2] - margin) & (places < box[2:] + margin)
    return bool(near.all(axis=1).any())
