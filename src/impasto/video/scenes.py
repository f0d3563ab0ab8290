"""The plan of a film, made before it is painted: its times, cuts, shards, and how scenes look.

A plan is plain data: whoever works on a shard, wherever, makes the same of it.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Self

import numpy as np

from impasto.video.decoding import FilmFrame, FilmReader
from impasto.video.flow import MotionFinder, shrink_frame, to_grey

WINDOW = 96  # frames that colours and normalisations are measured for at once
SAMPLES = (2, 18, 48, 78)  # of a window's frames, those that are measured
SCENE_SAMPLES = 8  # of a scene's frames, at most, where scenes are measured whole
SCENE_SIDE = 512  # pixels of their long side: with small ones, memory stays flat
_SAMPLED_FROM, _SAMPLED_EVERY = 2, 12  # frames of a scene, until there are too many
_SIDE = 160  # pixels of a long side that cuts are looked for at
_JUMP = 0.3  # of a frame's deviation: what of it, or more, a cut leaves unexplained
_ABOVE = 3.0  # times what the frames before left
_RECENT = 8  # of them
_GAP = 6  # times as long as usual that a frame is shown for, where it is told


@dataclass(frozen=True)
class Shard:
    """A part of a film that is worked on by itself."""

    number: int
    begin: int  # its first frame
    end: int  # the one after its last
    lead: int  # the frame at which painting begins, lest its first frames differ

    def __len__(self) -> int:
        return self.end - self.begin


@dataclass
class FilmPlan:
    """What is known of a film once all of its frames were seen."""

    times: list[int] = field(default_factory=list)  # of every frame, as the film has them
    cuts: list[int] = field(default_factory=list)  # frames that begin a scene, 0 among them
    window_cuts: list[int] = field(default_factory=list)  # the first frame of each window
    begin: int = 0  # the number, in the film, of the first frame that is painted
    damaged: int = 0
    begins_anew: bool = False  # its timestamps do, in the middle: none can be searched for

    def __len__(self) -> int:
        return len(self.times)

    def scene(self, frame: int) -> tuple[int, int]:
        """Return the first frame of a frame's scene, and the one after its last."""
        number = bisect_right(self.cuts, frame)
        end = self.cuts[number] if number < len(self.cuts) else len(self.times)
        return self.cuts[number - 1], end

    def share_windows(self, frame: int) -> list[tuple[int, float]]:
        """Return the windows that a frame is painted by, and the share of each.

        They are those of its scene whose middles lie before and after it.
        """
        begin, end = self.scene(frame)
        mine = [n for n, first in enumerate(self.window_cuts) if begin <= first < end]
        middles = [(self.window_cuts[n] + min(self.window_cuts[n] + WINDOW, end)) / 2 for n in mine]
        after = bisect_right(middles, frame)
        if after in (0, len(mine)):
            return [(mine[min(after, len(mine) - 1)], 1.0)]
        share = (frame - middles[after - 1]) / (middles[after] - middles[after - 1])
        return [(mine[after - 1], 1 - share), (mine[after], share)]

    def find_gaps(self) -> list[tuple[int, int]]:
        """Return the times before and after which no frame is, for much longer than usual."""
        pairs = list(itertools.pairwise(self.times))
        usual = median([b - a for a, b in pairs]) if pairs else 0
        return [(a, b) for a, b in pairs if b - a > _GAP * usual]

    def list_shards(self, length: int, lead: int) -> list[Shard]:
        """Cut the film into shards of about a length: at cuts where there are some.

        Else so many frames before the first are painted too.
        """
        shards: list[Shard] = []
        begin = 0
        while begin < len(self):
            near = [
                cut for cut in self.cuts if begin + length // 2 <= cut <= begin + length * 3 // 2
            ]
            end = near[-1] if near else begin + length
            # No tail of a few frames.
            end = len(self) if len(self) - end < length // 4 and not near else min(end, len(self))
            first = max(self.scene(begin)[0], begin - lead)
            shards.append(Shard(len(shards), begin, end, first))
            begin = end
        return shards

    def pack(self) -> dict[str, Any]:
        """Return what JSON can hold of it."""
        return dict(self.__dict__)

    @classmethod
    def unpack(cls, facts: Mapping[str, Any]) -> Self:
        """Return the plan that was packed."""
        return cls(**facts)


class CutFinder:
    """Tells, frame by frame, where a scene ends: motion no longer explains what is seen."""

    def __init__(self) -> None:
        self.before: np.ndarray | None = None
        self.finder: MotionFinder | None = None
        self.recent: deque[float] = deque(maxlen=_RECENT)

    def __call__(self, pixels: np.ndarray) -> bool:
        """Return whether a frame (H, W, 3) begins a scene; the first does."""
        grey = to_grey(shrink_frame(pixels, _SIDE))
        before, self.before = self.before, grey
        if before is None or self.finder is None:
            self.finder = MotionFinder(grey.shape[0], grey.shape[1], "ultrafast")
            return True
        gap = self.finder.find_gap(before, grey)
        # Where frames are said twice, nothing is left; that is no measure of the next.
        usual = median(self.recent) if self.recent else 0.0
        is_cut = gap > _JUMP * max(float(grey.std()), float(before.std()), 4.0)
        is_cut = is_cut and gap > _ABOVE * usual + 2
        if is_cut:
            self.recent.clear()
        elif gap > 0:
            self.recent.append(gap)
        return is_cut


@dataclass
class _Window:
    """Frames that are measured together: some of a window's, or of a whole scene's."""

    first: int
    frames: list[np.ndarray] = field(default_factory=list)
    spare: np.ndarray | None = None  # its first, if there should be no other
    every: int = _SAMPLED_EVERY

    def sample(self, number: int, pixels: np.ndarray) -> None:
        """Keep some frames of a scene, evenly spaced, however long it may be."""
        since = number - self.first - _SAMPLED_FROM
        if since < 0 or since % self.every:
            return
        if len(self.frames) == SCENE_SAMPLES:
            self.frames, self.every = self.frames[::2], 2 * self.every
        if since % self.every == 0:
            self.frames.append(shrink_frame(pixels, SCENE_SIDE))


class FilmScan:
    """Goes through a film once: makes its plan, and yields the frames that are to be measured."""

    def __init__(
        self,
        reader: FilmReader,
        size: tuple[int, int],
        begin: float,
        end: float | None,
        breaks: Sequence[float] = (),
        *,
        by_scenes: bool = False,
    ) -> None:
        """Go from one second to another; at ``breaks`` a scene begins, whatever is seen.

        With ``by_scenes`` a window is a whole scene.
        """
        self.by_scenes = by_scenes
        self.reader, self.size = reader, size
        self.begin, self.end, self.breaks = begin, end, list(breaks)
        self.plan = FilmPlan()

    def steps(self) -> Iterator[tuple[int, Sequence[np.ndarray]]]:
        """Yield how many frames were seen, with those of each window once it is full."""
        plan, find_cut = self.plan, CutFinder()
        window = _Window(0)
        for frame in self._list_frames():
            number = len(plan)
            is_cut = find_cut(frame.pixels) | self._pass_break(frame)
            if is_cut:
                plan.cuts.append(number)
            if is_cut or (number - window.first >= WINDOW and not self.by_scenes):
                if number:
                    yield number, self._finish(window)
                window = _Window(number, spare=frame.pixels)
                plan.window_cuts.append(number)
            if self.by_scenes:
                window.sample(number, frame.pixels)
            elif number - window.first in SAMPLES:
                window.frames.append(frame.pixels)
            plan.times.append(frame.time)
            if number % 16 == 0:
                yield number, ()
        plan.damaged, plan.begins_anew = self.reader.damaged, self.reader.begins_anew
        if len(plan):
            yield len(plan), self._finish(window)

    def _pass_break(self, frame: FilmFrame) -> bool:
        """Return whether a break lies before a frame, and was not told before."""
        facts = self.reader.facts
        second = float((frame.time - facts.origin) * facts.time_base)
        passed = [each for each in self.breaks if each <= second + 1e-6]
        self.breaks = self.breaks[len(passed) :]
        return bool(passed)

    def _list_frames(self) -> Iterator[FilmFrame]:
        facts = self.reader.facts
        for frame in self.reader.read(self.size):
            second = float((frame.time - facts.origin) * facts.time_base)
            if second < self.begin - 1e-9:
                continue
            if self.end is not None and second >= self.end - 1e-9:
                return
            if not len(self.plan):
                self.plan.begin = frame.number
            yield frame

    def _finish(self, window: _Window) -> Sequence[np.ndarray]:
        return window.frames or ([window.spare] if window.spare is not None else [])


def read_from(
    reader: FilmReader, plan: FilmPlan, size: tuple[int, int], first: int
) -> Iterator[FilmFrame]:
    """Yield the plan's frames from its ``first`` on, numbered as it numbers them."""
    if first + plan.begin and (found := _seek(reader, plan, size, first)) is not None:
        yield from found
        return
    for frame in reader.read(size):
        number = frame.number - plan.begin
        if number >= len(plan):
            return
        if number >= first:
            yield FilmFrame(number, plan.times[number], frame.pixels, frame.alpha)


def _seek(
    reader: FilmReader, plan: FilmPlan, size: tuple[int, int], first: int
) -> Iterator[FilmFrame] | None:
    """Return frames from a place on; None where the film cannot be entered there."""
    if plan.begins_anew:
        return None
    frames = reader.read(size, start=plan.times[first])
    for frame in frames:
        if frame.time == plan.times[first]:
            return _continue(frame, frames, plan, first)
        if frame.time > plan.times[first]:
            return None
    return None


def _continue(
    frame: FilmFrame, frames: Iterator[FilmFrame], plan: FilmPlan, first: int
) -> Iterator[FilmFrame]:
    for number in range(first, len(plan)):
        yield FilmFrame(number, plan.times[number], frame.pixels, frame.alpha)
        if number + 1 < len(plan):
            frame = next(frames)
