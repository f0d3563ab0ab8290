"""Strokes that travel: what keeps a film steady without blurring it.

A painting is the frame in the style's colours, and strokes: the difference. Colours come from each
frame, so that nothing of the film itself is ever resampled; strokes are moved along the optical
flow. Their fine part stays until a patch's turn has come, when new strokes are faded in; the turns
of patches are spread over ``renew`` frames. Their coarse part follows each new painting slowly.
What was hidden gets new strokes at once. Blending whole paintings instead blurs what it steadies.
"""

from __future__ import annotations

import numpy as np

from impasto.video.flow import Motion, import_cv2, warp

PATCH = 32  # pixels of a side that are painted anew together
FADE = 12  # frames in which new strokes take the place of old ones
COARSE_KEPT = 0.8  # of the coarse part, from one painting to the next
_SPLIT = 4.0  # pixels: the deviation of the blur that parts coarse from fine
_SHRINK = 4  # times that the coarse part is computed smaller
_SEAM = 9  # pixels in which patches pass into each other
_SPREAD = (0.7548776662466927, 0.5698402909980532)  # of turns, down and across (Roberts' R2)


class TravellingStrokes:
    """The strokes of a film, frame after frame; (H, W, 3) float32."""

    def __init__(self, height: int, width: int, *, renew: int = 24, every: int = 1) -> None:
        self.cv2, self.size = import_cv2(), (height, width)
        self.every = every
        self.period = max(1, round(renew / every))  # in paintings
        self.fade = max(1, min(round(FADE / every), self.period))
        self.turns = choose_turns(height, width, self.period)
        self.fine: np.ndarray | None = None
        self.coarse: np.ndarray = np.zeros(0, np.float32)
        self.owed: np.ndarray = np.zeros(
            0, np.float32
        )  # where strokes are missing since the last painting

    def __call__(
        self,
        number: int,
        motion: Motion | None,
        colored: np.ndarray,
        painted: np.ndarray | None,
    ) -> np.ndarray:
        """Return a frame, steadied; ``painted`` is None where it is not painted itself.

        Without motion a scene begins, which needs a painting.
        """
        if motion is None or self.fine is None:
            assert painted is not None
            self.coarse, self.fine = self.split(painted - colored)
            self.owed = np.zeros(self.size, np.float32)
            return painted
        if not motion.still:
            self._follow(motion)
        if painted is not None:
            self._renew(number // self.every, painted - colored)
        shown = self.cv2.add(self.cv2.add(colored, self.coarse), self.fine)
        clipped: np.ndarray = np.clip(shown, 0, 1)
        return clipped

    def split(self, strokes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the coarse part and the fine one."""
        cv2, (height, width) = self.cv2, self.size
        small = (max(1, width // _SHRINK), max(1, height // _SHRINK))
        soft = cv2.resize(strokes, small, interpolation=cv2.INTER_AREA)
        soft = cv2.GaussianBlur(soft, (0, 0), _SPLIT / _SHRINK)
        coarse = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
        return coarse, cv2.subtract(strokes, coarse)

    def _follow(self, motion: Motion) -> None:
        """Move all strokes to where the frame has what they lie on."""
        assert self.fine is not None
        self.fine = warp(self.fine, motion.back, "cubic")  # linearly, it would blur each time
        self.coarse = warp(self.coarse, motion.back)
        self.owed = np.maximum(warp(self.owed, motion.back, "nearest"), 1 - motion.known)

    def _renew(self, turn: int, strokes: np.ndarray) -> None:
        """Lay new strokes where it is a patch's turn, and where there are none."""
        cv2 = self.cv2
        coarse, fine = self.split(strokes)
        into = np.maximum(self._choose(turn), cv2.blur(self.owed, (5, 5)))[..., None]
        self.fine = self.fine + into * (fine - self.fine)
        share = np.maximum(np.float32(1 - COARSE_KEPT), self.owed)[..., None]
        self.coarse = self.coarse + share * (coarse - self.coarse)
        self.owed = np.zeros(self.size, np.float32)

    def _choose(self, turn: int) -> np.ndarray:
        """Return the share (H, W) of new strokes: in a fade's frames 1/n, 1/(n-1) ... 1."""
        since = (turn - self.turns) % self.period
        shares = np.where(since < self.fade, 1 / np.maximum(self.fade - since, 1), 0)
        height, width = self.size
        grid = np.kron(shares.astype(np.float32), np.ones((PATCH, PATCH), np.float32))
        mask: np.ndarray = self.cv2.blur(grid[:height, :width], (_SEAM, _SEAM))
        return mask


def choose_turns(height: int, width: int, period: int) -> np.ndarray:
    """Return the turn of every patch: neighbours far apart, all about equally often."""
    down = np.arange(-(-height // PATCH))[:, None]
    across = np.arange(-(-width // PATCH))[None]
    turns = (_SPREAD[0] * down + _SPREAD[1] * across) % 1
    return (turns * period).astype(int)
