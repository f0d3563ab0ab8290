"""Random squares of the photographs of a folder: what networks learn from.

One bad file stops nothing: it is left out, and remembered.
"""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from impasto.errors import ImageError, ImpastoError, MissingFileError
from impasto.images.folders import is_picture, walk_files
from impasto.images.opening import DEFAULT_MEGAPIXELS
from impasto.images.resizing import fit_size, resize_pixels
from impasto.images.transparency import read_opaque
from impasto.instant.distributed import Team
from impasto.instant.options import TrainOptions
from impasto.instant.palette import Palette

PHOTOS_MEMORY = 2**30  # bytes of pictures that are held
_SHORT_SIDES = (1.0, 3.0)  # between which those of photographs are drawn, in crops

Drawn = TypeVar("Drawn")
_CropBox = tuple[float, float, float, float]  # left, top, right, bottom


def list_photographs(source: str | os.PathLike[str] | Sequence[str | Path]) -> list[Path]:
    """Return every picture below a folder, in the order of their names; a list as it is."""
    if not isinstance(source, str | os.PathLike):
        photos = [Path(each) for each in source]
        where = "the list"
    else:
        folder = Path(source)
        if not folder.exists():
            raise MissingFileError(f"no such folder: {str(folder)!r} (of photographs)")
        if not folder.is_dir():
            raise MissingFileError(f"photographs lie in a folder; {str(folder)!r} is a file")
        where = repr(str(folder))
        found = sorted(filter(is_picture, walk_files(folder)), key=Path.as_posix)
        photos = [folder / path for path in found]
    if not photos:
        raise MissingFileError(f"no photographs in {where}; put some there, or name another folder")
    return photos


class Batches:
    """Batches of crops, in the colours of styles that take turns."""

    def __init__(self, crops: Crops, palette: Palette, options: TrainOptions, team: Team) -> None:
        self.crops, self.palette, self.options, self.team = crops, palette, options, team

    def draw(self, step: int) -> tuple[Tensor, list[int]]:
        """Draw this process's share of a batch: crops (n, 3, side, side), and their styles.

        Each crop is drawn from its number alone.
        """
        batch, side, photos, styles = self.options.batch, self.options.crop, [], []
        for row in range(self.team.rank, batch, self.team.size):
            number = step * batch + row
            draw = random.Random(f"{self.options.seed} {number}")
            photo = self.crops.cut(draw, side, side * draw.uniform(*_SHORT_SIDES))
            styles.append(number % len(self.palette))
            photos.append(self.palette.recolor(photo, styles[-1]))
        return torch.cat(photos), styles


class Crops:
    """Photographs, read when they are first asked for, and held as small as they may be."""

    def __init__(
        self,
        paths: Sequence[Path],
        longest: int = 480,
        *,
        memory: int = PHOTOS_MEMORY,
        max_megapixels: float = DEFAULT_MEGAPIXELS,
    ) -> None:
        self.paths, self.longest, self.max_megapixels = list(paths), longest, max_megapixels
        self.room = memory  # bytes; what finds no room is read again whenever it is asked for
        self.held: dict[int, np.ndarray] = {}
        self.failed: dict[int, str] = {}  # what was wrong with those that cannot be read

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, number: int) -> np.ndarray | None:
        """Return a photograph (H, W, 3) as bytes; None if it cannot be read."""
        if number in self.held:
            return self.held[number]
        if number not in self.failed:
            try:
                picture = read_opaque(self.paths[number], self.max_megapixels)
            except ImpastoError as error:
                self.failed[number] = str(error)
        if number in self.failed:
            if len(self.failed) == len(self.paths):
                count, first = len(self.paths), self.failed[0]
                raise ImageError(f"none of the photographs, {count} in all, can be read: {first}")
            return None
        values = shrink(picture.pixels, self.longest)
        if values.nbytes <= self.room:
            self.room -= values.nbytes
            self.held[number] = values
        return values

    def cut(self, draw: random.Random, side: int, short: float) -> Tensor:
        """Cut a square (1, 3, side, side) from a random one.

        The photograph is resized to a short side of about ``short``, and mirrored half of the time.
        All follows from ``draw`` alone: what cannot be read is drawn and passed over each time.
        """
        while (picture := self.read(draw.randrange(len(self.paths)))) is None:
            pass
        height, width = picture.shape[:2]
        scale = max(short, side) / min(height, width)
        box = min(side / scale, height, width)
        left, top = draw.uniform(0, width - box), draw.uniform(0, height - box)
        return cut_out(picture, (left, top, left + box, top + box), side, flip=draw.random() < 0.5)

    def middles(self, side: int) -> Iterator[Tensor]:
        """Yield the largest square in the middle of each photograph, in their order."""
        for number in range(len(self.paths)):
            if (picture := self.read(number)) is not None:
                height, width = picture.shape[:2]
                box = min(height, width)
                left, top = (width - box) / 2, (height - box) / 2
                yield cut_out(picture, (left, top, left + box, top + box), side)

    def notes(self) -> list[str]:
        """Return what was left out."""
        if not self.failed:
            return []
        first = self.failed[min(self.failed)]
        count = len(self.failed)
        return [f"left out: {count} photograph{'s' * (count > 1)} that cannot be read; {first}"]


def shrink(pixels: Tensor, longest: int) -> np.ndarray:
    """Return (H, W, 3) as bytes, its long side at most ``longest``."""
    height, width = pixels.shape[2:]
    if max(height, width) > longest:
        pixels = resize_pixels(pixels, *fit_size(width, height, longest))
    return (pixels[0].permute(1, 2, 0) * 255).round().to(torch.uint8).contiguous().numpy()


def cut_out(picture: np.ndarray, box: _CropBox, side: int, *, flip: bool = False) -> Tensor:
    """Return a square box of a picture, at another size."""
    image = Image.fromarray(picture).resize(
        (side, side), Image.Resampling.BICUBIC, box, reducing_gap=3.0
    )
    if flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    values = np.asarray(image, dtype=np.float32) / 255
    return torch.from_numpy(values).permute(2, 0, 1)[None].contiguous()


def draw_all(draw: Callable[[int], Drawn], steps: range, *, ahead: bool) -> Iterator[Drawn]:
    """Yield each step's batch; if ``ahead``, drawn in a thread while the one before is learnt."""
    if not ahead:
        yield from map(draw, steps)
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = deque[Future[Drawn]]()
        for step in steps:
            waiting.append(pool.submit(draw, step))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        for last in waiting:
            yield last.result()
