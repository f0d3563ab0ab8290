"""Chunks of copies, made in this process or in any other: painted, disturbed, encoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from impasto.cluster.worker import Find
from impasto.datasets.batch_stylisers import STYLISERS, Styliser
from impasto.datasets.copy_plan import Chunk, Copy
from impasto.datasets.disturbances import NOISES
from impasto.datasets.labelled_set import Entry
from impasto.datasets.options import AugmentOptions
from impasto.errors import ImpastoError, describe_reason
from impasto.images.reading import read_image
from impasto.images.transparency import fill_transparent, read_opaque
from impasto.images.writing import encode_image
from impasto.system.devices import seeded, working_on

_BATCH = 32  # copies that are held and painted at once, and
_BATCH_PIXELS = 2**21  # the pixels that they may have


@dataclass(frozen=True)
class Made:
    """What was made of a chunk: files, which pictures failed and why, and what is to be said."""

    number: int
    failed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    # (picture, copy, content); without content, the picture as it is
    files: list[tuple[str, str, bytes | None]] = field(default_factory=list)
    is_last: bool = False


def one_thread() -> AbstractContextManager[None]:
    """Compute in one thread, where sums are rounded in the same way in every process."""
    return working_on(torch.device("cpu"), threads=1)


@dataclass
class Held:
    """A copy that waits to be painted with others of its size."""

    entry: Entry
    copy: Copy
    pixels: Tensor
    alpha: Tensor | None
    original: str | None = None  # where the picture as it is goes, with the first of its copies


class Workshop:
    """Makes chunks of copies, with a styliser that has learnt the styles."""

    def __init__(
        self, source: Path, styles: Sequence[Path], options: AugmentOptions, find: Find = str
    ) -> None:
        self.source, self.options = source, options
        self.styliser: Styliser | None = None
        if styles:
            with one_thread():
                self.styliser = STYLISERS[options.styliser]()
                most = options.max_megapixels
                self.styliser.learn([read_opaque(find(str(path)), most).pixels for path in styles])

    def __call__(self, chunk: Chunk, find: Find) -> list[Made]:
        """Make all of a chunk's files."""
        return list(self.make(chunk, find))

    def make(self, chunk: Chunk, find: Find = str) -> Iterator[Made]:
        """Make all of a chunk's files, and yield them as they come.

        Of a picture that fails some may have come before.
        """
        made, held = Made(chunk.number), list[Held]()
        for entry, copies in chunk.pictures:
            with one_thread():
                try:
                    held += self._take_up(entry, copies, made, find)
                except (ImpastoError, OSError) as problem:
                    made.failed[entry.path] = describe_reason(problem)
            if is_enough(held):
                yield from self._finish(held, made)
                held.clear()
        yield from self._finish(held, made)
        yield replace(made, is_last=True)

    def _take_up(
        self, entry: Entry, copies: Sequence[Copy], made: Made, find: Find
    ) -> Iterator[Held]:
        """Yield the copies that are to be painted, all but the original."""
        path = find(str(self.source / entry.path))
        picture = read_image(path, max_megapixels=self.options.max_megapixels)
        made.notes.extend(picture.notes)
        pixels = fill_transparent(picture.pixels, picture.alpha)
        original = next((copy.path for copy in copies if copy.number == 0), None)
        for copy in copies:
            if copy.number != 0:
                yield Held(entry, copy, pixels, picture.alpha, original)
                original = None

    def _finish(self, held: Sequence[Held], made: Made) -> Iterator[Made]:
        """Paint, disturb and encode copies, those of one size together."""
        sizes: dict[tuple[int, ...], list[Held]] = {}
        for each in held:
            sizes.setdefault(tuple(each.pixels.shape), []).append(each)
        for size, alike in sizes.items():
            most = max(1, min(_BATCH, _BATCH_PIXELS // (size[-1] * size[-2])))
            for start in range(0, len(alike), most):
                part = Made(made.number)
                with one_thread():
                    self._finish_batch(alike[start : start + most], part)
                yield part

    def _finish_batch(self, batch: Sequence[Held], made: Made) -> None:
        try:
            painted = self._paint(batch)
        except ImpastoError as problem:
            made.failed.update({each.entry.path: str(problem) for each in batch})
            return
        for each, pixels in zip(batch, painted, strict=True):
            copy, picture = each.copy, pixels[None]
            if copy.noise is not None:
                assert copy.seed is not None
                disturb = NOISES[copy.noise].disturb
                picture = disturb(picture, copy.amount, seeded(copy.seed))
            try:
                content, notes = encode_image(copy.path, picture, alpha=each.alpha)
            except ImpastoError as problem:
                made.failed[each.entry.path] = describe_reason(problem)
            else:
                if each.original is not None:
                    made.files.append((each.entry.path, each.original, None))
                made.files.append((each.entry.path, copy.path, content))
                made.notes.extend(notes)

    def _paint(self, batch: Sequence[Held]) -> Tensor:
        pixels = torch.cat([each.pixels for each in batch])
        if self.styliser is None:
            return pixels
        styles = [each.copy.style or 0 for each in batch]
        return self.styliser.paint(pixels, styles, [each.copy.strength for each in batch])


def make_workshop(given: tuple[Path, Sequence[Path], AugmentOptions], find: Find) -> Workshop:
    """Return what makes chunks in a process of its own."""
    return Workshop(*given, find)


def is_enough(held: Sequence[Held]) -> bool:
    pixels = sum(each.pixels[0, 0].numel() for each in held)
    return len(held) >= _BATCH or pixels >= _BATCH_PIXELS
