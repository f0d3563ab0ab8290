"""Frames painted as they come: a camera's, or those of a program of one's own.

What is to come is not known here. So colours and normalisations are measured on the first frame of
a scene, and again from time to time, and go over softly from what they were. Of frames that come
faster than they are painted, all but the latest are left out, never queued.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from impasto.errors import OptionError, plural
from impasto.images.picture import ImageSource
from impasto.images.resizing import fit_size
from impasto.instant.net import USUAL_WEIGHT
from impasto.video.coherence import TravellingStrokes
from impasto.video.decoding import open_film, read_camera
from impasto.video.flow import MotionFinder, to_grey
from impasto.video.frame_painters import make_clip_painter
from impasto.video.looks import Look, Moment, mix_looks
from impasto.video.options import FramesOptions, LiveOptions
from impasto.video.scenes import CutFinder
from impasto.video.shards import to_array, to_tensor
from impasto.video.showing import open_screen

_MEASURED = 48  # frames from one measurement to the next
_SOFTLY = 0.04  # of the way to the last one that is gone in each frame

_Item = TypeVar("_Item")


class FramePainter:
    """Paints frames (H, W, 3) of uint8 as they come, all of one size, and keeps them steady.

    >>> paint = impasto.FramePainter("picture.jpg", {"every": 2})
    >>> for painted in paint.stream(frames):
    ...     show(painted)
    """

    def __init__(
        self,
        style: ImageSource | Sequence[ImageSource],
        options: FramesOptions | Mapping[str, Any] | None = None,
    ) -> None:
        self.options = FramesOptions.parse(options)
        if self.options.with_ != "instant":
            raise OptionError("frames that come are painted in one pass: with instant")
        styles: list[ImageSource] = list(style) if isinstance(style, list | tuple) else [style]  # type: ignore[list-item]
        self.painter = make_clip_painter([styles], self.options)
        self.notes = [*self.painter.notes, *self.painter.check([self.options.style_weight])]
        self.moment = Moment()
        self.forget()

    def forget(self) -> None:
        """Begin anew: the next frame has nothing to do with the last."""
        self.number = 0
        self.find_cut = CutFinder()
        self.look: Look | None = None
        self.goal: Look | None = None
        self.grey: np.ndarray | None = None
        self.tools: tuple[MotionFinder, TravellingStrokes] | None = None

    def turn(self, *, up: bool) -> None:
        """Turn the style weight by a quarter, or of learnt styles the strength by a tenth."""
        values = dict(self.moment.values)
        try:
            self.painter.check([USUAL_WEIGHT])
        except OptionError:
            strength = values.get("strength", self.options.strength) + (0.1 if up else -0.1)
            values["strength"] = min(1.0, max(0.0, strength))
        else:
            weight = values.get("style_weight", self.options.style_weight or USUAL_WEIGHT)
            values["style_weight"] = weight * (1.25 if up else 0.8)
            self.goal = self.look = None
        self.moment = replace(self.moment, values=tuple(values.items()))

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        """Return a frame, painted."""
        options = self.options
        if self.grey is None or self.grey.shape != frame.shape[:2]:
            self.forget()
        finder, strokes = self._find_tools(frame)
        is_cut, pixels, grey = self.find_cut(frame), to_tensor(frame), to_grey(frame)
        look = self._look(pixels, is_cut=is_cut)
        motion = None if is_cut or self.grey is None else finder(self.grey, grey)
        self.number = 0 if motion is None else self.number + 1
        self.grey = grey
        if motion is not None and options.steady and self.number % options.every:
            colored = to_array(self.painter.color(pixels, look, self.moment))
            shown = strokes(self.number, motion, colored, None)
        else:
            both = self.painter.paint(pixels, look, self.moment, None)
            colored, shown = map(to_array, both)
            if options.steady:
                shown = strokes(self.number, motion, colored, shown)
        return (shown * 255 + 0.5).astype(np.uint8)

    def stream(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield frames, painted."""
        return map(self, frames)

    def _find_tools(self, frame: np.ndarray) -> tuple[MotionFinder, TravellingStrokes]:
        if self.tools is None:
            height, width = frame.shape[:2]
            options = self.options
            strokes = TravellingStrokes(height, width, renew=options.renew, every=options.every)
            self.tools = MotionFinder(height, width), strokes
        return self.tools

    def _look(self, pixels: Any, *, is_cut: bool) -> Look:
        """Return how frames look now."""
        if is_cut or self.look is None or self.goal is None:
            self.look = self.goal = self.painter.look([pixels], self.moment)
        elif self.number % _MEASURED == _MEASURED - 1:
            self.goal = self.painter.look([pixels], self.moment)
        self.look = mix_looks([(self.look, 1 - _SOFTLY), (self.goal, _SOFTLY)])
        return self.look


class Latest(Generic[_Item]):
    """The latest of what a thread fetches; what came before it and was not taken is dropped."""

    def __init__(self, items: Iterable[_Item]) -> None:
        self.dropped = 0
        self._waiting: list[_Item] = []  # one, or none
        self._errors: list[BaseException] = []
        self._state = threading.Condition()
        self._ended, self._stopped = False, False
        self._thread = threading.Thread(target=self._fetch, args=(items,), daemon=True)
        self._thread.start()

    def _fetch(self, items: Iterable[_Item]) -> None:
        try:
            for item in items:
                with self._state:
                    if self._stopped:
                        break
                    self.dropped += len(self._waiting)
                    self._waiting[:] = [item]
                    self._state.notify()
        except BaseException as error:
            self._errors.append(error)
        with self._state:
            self._ended = True
            self._state.notify()

    def __iter__(self) -> Generator[_Item, None, None]:
        try:
            while True:
                with self._state:
                    while not self._waiting and not self._ended:
                        self._state.wait(0.2)
                    items, self._waiting = self._waiting, []
                if not items:
                    break
                yield items[0]
            if self._errors:
                raise self._errors[0]
        finally:
            with self._state:
                self._stopped = True


def watch_source(
    source: str, long_side: int, rate: float | None = None
) -> tuple[tuple[int, int], Iterator[np.ndarray]]:
    """Return the size (width, height), and frames: of a file, in its own time, or of a camera."""
    if not Path(source).is_file():
        return read_camera(source, long_side)
    film = open_film(source)
    width, height = film.facts.size
    size = (
        (width, height) if max(width, height) <= long_side else fit_size(width, height, long_side)
    )
    return size, _play(film, size, rate)


def _play(film: Any, size: tuple[int, int], rate: float | None) -> Iterator[np.ndarray]:
    """Yield a film's frames when they are due."""
    began, facts = time.perf_counter(), film.facts
    for frame in film.read(size):
        due = frame.number / rate if rate else float((frame.time - facts.origin) * facts.time_base)
        wait = began + due - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        yield frame.pixels


# --- a show ---------------------------------------------------------------------------------------


class LiveShow:
    """A camera or a film, painted and shown as it comes."""

    def __init__(self, source: str, styles: Sequence[str], options: LiveOptions, to: str) -> None:
        self.styles, self.options, self.to = list(styles), options, to
        self.painters: dict[int, FramePainter] = {}
        self.current, self.count, self.began = 0, 0, time.perf_counter()
        self.notes = list(self.painter.notes)
        self.size, frames = watch_source(source, options.camera_size)
        self.source = frames
        self.latest: Latest[np.ndarray] | None = None

    @property
    def painter(self) -> FramePainter:
        """What paints now; made when its style is first asked for."""
        if self.current not in self.painters:
            self.painters[self.current] = FramePainter(self.styles[self.current], self.options)
        return self.painters[self.current]

    def hear(self, key: str) -> None:
        """Go on to the next style, or turn the dial."""
        if key.lower() in ("n", "space", "right"):
            self.current = (self.current + 1) % len(self.styles)
            self.painter.forget()
        elif key in ("Up", "Down"):
            self.painter.turn(up=key == "Up")

    def run(self, seconds: float | None = None) -> str:
        """Show until the source or the screen ends, or for so long; return what is to be said."""
        self.began, self.count = time.perf_counter(), 0
        screen = open_screen(self.to, self.size, 25, self.hear)
        self.latest = Latest(self.source)
        try:
            with closing(iter(self.latest)) as frames:
                for frame in frames:
                    painted = self.painter(frame)
                    self.count += 1
                    if not screen.show(painted, self.summary()):
                        break
                    if seconds is not None and time.perf_counter() - self.began >= seconds:
                        break
        finally:
            screen.close()
        return self.summary()

    def summary(self) -> str:
        """Return how many frames were shown, how fast, and how many were left out."""
        speed = self.count / max(time.perf_counter() - self.began, 1e-6)
        dropped = self.latest.dropped if self.latest else 0
        return f"{plural(self.count, 'frame')}, {speed:.1f} a second, {dropped} left out"
