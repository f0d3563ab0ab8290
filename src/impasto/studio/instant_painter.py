"""Pictures in one pass that somebody waits for: one process, which remembers styles.

Who moves a slider asks for the same photograph and style again and again, at another weight.
"""

from __future__ import annotations

import io
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from impasto.errors import ImpastoError, LimitError, OptionError
from impasto.studio.conversion import convert_picture
from impasto.studio.limits import RefusalError, StudioLimits
from impasto.studio.messages import RegionsAnswer
from impasto.studio.region_finder import RegionsTask, locate_regions
from impasto.system.processes import AnsweringProcess

if TYPE_CHECKING:
    from impasto.images.picture import Picture
    from impasto.instant.painter import Instant

_REMEMBERED = 4  # styles and photographs
_ANEW = ("style_weight", "size", "strength")  # options that need no style read again
_FORMATS = {"png": "PNG", "jpg": "JPEG", "webp": "WEBP"}
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class InstantTask:
    """A picture that is asked for, as plain data."""

    content: str | bytes  # a path, or an encoded picture
    styles: tuple[str, ...]  # paths, and names of a model's styles
    options: Mapping[str, Any]
    format: str = "jpg"
    most_pixels: int = 0  # of the result


@dataclass(frozen=True)
class ConversionTask:
    """A finished picture that is asked for in another format."""

    path: str
    suffix: str  # of that format's names


@dataclass(frozen=True)
class InstantOutcome:
    """The encoded picture, and how long it took."""

    content: bytes
    width: int
    height: int
    seconds: float
    notes: tuple[str, ...]


class InstantPainter:
    """Has pictures painted one after the other by a process that is kept."""

    def __init__(self, limits: StudioLimits, *, threads: int = 0) -> None:
        self.limits = limits
        self._process = AnsweringProcess(serve_instants, threads)
        self._turn, self._waiting = threading.Lock(), 0

    def paint(
        self, task: InstantTask, is_wanted: Callable[[], bool] = lambda: True
    ) -> InstantOutcome:
        """Paint; who is not waited for any more when the turn comes is passed over."""
        if self._waiting >= self.limits.instant_line:
            raise RefusalError(429, "too many pictures are waited for; try again", retry=1)
        self._waiting += 1
        try:
            with self._turn:
                if not is_wanted():
                    raise RefusalError(409, "a newer request took this one's place")
                return self._paint(task)
        finally:
            self._waiting -= 1

    def convert(self, path: Path, suffix: str) -> bytes:
        """Return a picture in another format; the process has what that takes loaded."""
        with self._turn:
            converted = self._ask(ConversionTask(str(path), suffix))
        assert isinstance(converted, bytes)
        return converted

    def find_regions(self, task: RegionsTask) -> RegionsAnswer:
        """Return the regions of two pictures."""
        with self._turn:
            found = self._ask(task)
        assert isinstance(found, RegionsAnswer)
        return found

    def _paint(self, task: InstantTask) -> InstantOutcome:
        painted = self._ask(task)
        assert isinstance(painted, InstantOutcome)
        return painted

    def _ask(self, task: InstantTask | ConversionTask | RegionsTask) -> object:
        try:
            answer = self._process.ask(task, self.limits.instant_seconds)
        except EOFError as how:
            raise RefusalError(503, f"the process that paints {how}; try again") from None
        if answer is None:
            raise LimitError(f"it took more than {self.limits.instant_seconds:g} seconds")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """End the process."""
        with self._turn:
            self._process.end()


# --- in the process -----------------------------------------------------------------------------


def serve_instants(pipe: Connection, threads: int) -> None:
    """Paint as tasks come: the life of the process."""
    import torch

    import impasto.instant.painter  # noqa: F401  (before it is waited for)

    if threads:
        torch.set_num_threads(threads)
    memory = PainterMemory()
    pipe.send("ready")
    while True:
        task = pipe.recv()
        try:
            answer: object
            if isinstance(task, ConversionTask):
                answer = convert_picture(Path(task.path), task.suffix)
            elif isinstance(task, RegionsTask):
                answer = locate_regions(task)
            else:
                answer = memory.paint(task)
        except ImpastoError as error:
            answer = error
        except Exception as error:
            answer = ImpastoError(" ".join(f"{type(error).__name__}: {error}".split()))
        pipe.send(answer)


class PainterMemory:
    """Painters that have seen their styles, and photographs that were read, the last of each."""

    def __init__(self) -> None:
        self.painters: OrderedDict[str, Any] = OrderedDict()
        self.photographs: OrderedDict[str, Any] = OrderedDict()

    def paint(self, task: InstantTask) -> InstantOutcome:
        """Paint one picture and encode it."""
        from impasto.images.resizing import fit_size
        from impasto.instant.options import InstantOptions

        began = time.perf_counter()
        options = InstantOptions.read(task.options)
        photograph = self._find_photograph(task.content, options.max_megapixels)
        size = photograph.size
        if options.size is not None:
            size = fit_size(*size, options.size)
        if task.most_pixels and size[0] * size[1] > task.most_pixels:
            raise OptionError(
                f"{size[0]} x {size[1]} is too large to be waited for; give a smaller size, or "
                "make a job of it"
            )
        painted = self._find_painter(task.styles, options)(photograph)
        encoded = io.BytesIO()
        image = painted.to_pil()
        kind = _FORMATS[task.format]
        image = image.convert("RGB") if kind == "JPEG" else image
        settings: dict[str, Any] = {"compress_level": 1} if kind == "PNG" else {"quality": 90}
        image.save(encoded, format=kind, **settings)
        seconds = time.perf_counter() - began
        return InstantOutcome(encoded.getvalue(), *image.size, seconds, tuple(painted.notes))

    def _find_photograph(self, content: str | bytes, megapixels: float) -> Picture:
        from PIL import Image

        from impasto.images.reading import read_image

        if isinstance(content, str):
            key = f"{content} {megapixels}"
            return _remember(
                self.photographs, key, lambda: read_image(content, max_megapixels=megapixels)
            )
        with Image.open(io.BytesIO(content), formats=("JPEG", "WEBP", "PNG")) as image:
            return read_image(image, max_megapixels=megapixels)

    def _find_painter(self, styles: tuple[str, ...], options: Any) -> Instant:
        """Return a painter that has seen these styles, for these options."""
        import copy

        from impasto.instant.painter import Instant

        facts = options.model_dump(mode="json", exclude=set(_ANEW))
        key = json.dumps([styles, facts], sort_keys=True)
        known = _remember(self.painters, key, lambda: Instant(list(styles), options))
        painter = copy.copy(known)  # what it has seen is shared
        painter.options = options
        return painter


def _remember(known: OrderedDict[str, Any], key: str, make: Callable[[], _Made]) -> _Made:
    """Return what is known by a key, made if it is not; forget what was used longest ago."""
    if key not in known:
        known[key] = make()
    known.move_to_end(key)
    while len(known) > _REMEMBERED:
        known.popitem(last=False)
    made: _Made = known[key]
    return made
