"""How a picture is cut into tiles so that what is worked on at once fits in memory.

A tile has a core, whose cells it answers for, and a window around it, which is what it must see for
its cores' features to be those of the whole picture. Cores cover the picture once. Cores and
windows begin at multiples of the deepest layer's stride, so that every layer's cells are its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor


@dataclass(frozen=True)
class Box:
    """Rows ``top`` to ``bottom`` and columns ``left`` to ``right`` of something."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)

    def of(self, tensor: Tensor) -> Tensor:
        """Return that part of (..., H, W), not copied."""
        return tensor[..., self.top : self.bottom, self.left : self.right]

    def shrink(self, stride: int) -> Box:
        """Return the cells of a layer whose cells are ``stride`` wide; the last may be cut off."""
        return Box(
            self.top // stride,
            self.left // stride,
            -(-self.bottom // stride),
            -(-self.right // stride),
        )

    def shift(self, by: int) -> Box:
        """Move the box by so many rows and as many columns."""
        return Box(self.top + by, self.left + by, self.bottom + by, self.right + by)

    def within(self, other: Box) -> Box:
        """Return the same place, counted from the other's corner."""
        return Box(
            self.top - other.top,
            self.left - other.left,
            self.bottom - other.top,
            self.right - other.left,
        )


@dataclass(frozen=True)
class Tile:
    """A core, and the window that is looked at for it.

    Both are counted in what is shown: the picture, with a margin of copies around a tileable one.
    """

    core: Box
    window: Box
    margin: int = 0

    def inner(self, stride: int) -> Box:
        """Return where the core's cells lie among the window's."""
        return self.core.shrink(stride).within(self.window.shrink(stride))

    def cells(self, stride: int, shape: tuple[int, int]) -> Cells:
        """Return the core's cells of a layer, for a picture of that height and width."""
        return Cells(
            self.core.shift(-self.margin).shrink(stride), Box(0, 0, *shape).shrink(stride).shape
        )


@dataclass(frozen=True)
class Cells:
    """Which cells of a layer some features are: their place, and the shape of the whole layer."""

    box: Box
    whole: tuple[int, int]

    @property
    def is_whole(self) -> bool:
        return self.box.shape == self.whole


def whole_tile(height: int, width: int) -> Tile:
    """Return the picture as its only tile."""
    box = Box(0, 0, height, width)
    return Tile(box, box)


def find_stride(path: Sequence[str]) -> int:
    """Return the pixels from one cell to the next at the end of a path of "conv"s and "pool"s."""
    return 1 << sum(step == "pool" for step in path)


def find_reach(path: Sequence[str]) -> int:
    """Return how far beyond its own pixels a cell at the end of a path sees."""
    reach, stride = 0, 1
    for step in path:
        if step == "conv":
            reach += stride
        else:
            stride *= 2
    return reach


def lay_out(paths: Iterable[Sequence[str]]) -> tuple[int, int]:
    """Return (stride, reach) of tiles for layers at the ends of these paths."""
    paths = list(paths)
    # Neighbouring pixels matter to the picture itself.
    return max(map(find_stride, paths)), max(1, *map(find_reach, paths), 0)


def find_margin(stride: int, reach: int) -> int:
    """Return how much around a core must be seen: the reach, in whole strides."""
    return -(-reach // stride) * stride


def cut_picture(
    height: int,
    width: int,
    grid: tuple[int, int],
    stride: int,
    reach: int,
    *,
    tileable: bool = False,
) -> list[Tile]:
    """Cut a picture into ``grid`` rows and columns of tiles, row by row; fewer if it is small.

    A tileable one is shown with a margin of its copies, see ``wrap``.
    """
    margin = find_margin(stride, reach)
    beyond = margin if tileable else 0  # what is shown above and left of the picture
    tiles = []
    for top, bottom in pairwise(_cut_side(height, grid[0], stride)):
        for left, right in pairwise(_cut_side(width, grid[1], stride)):
            core = Box(top, left, bottom, right).shift(beyond)
            window = Box(
                max(core.top - margin, 0),
                max(core.left - margin, 0),
                min(core.bottom + margin, height + 2 * beyond),
                min(core.right + margin, width + 2 * beyond),
            )
            tiles.append(Tile(core, window, beyond))
    return tiles


def wrap(pixels: Tensor, margin: int) -> Tensor:
    """Surround a picture (..., H, W) with copies of itself, as far as ``margin``."""
    for dim in (-2, -1):
        size = pixels.shape[dim]
        copies, rest = divmod(margin, size)
        before, after = pixels.narrow(dim, size - rest, rest), pixels.narrow(dim, 0, rest)
        pixels = torch.cat([before, *[pixels] * (2 * copies + 1), after], dim)
    return pixels


def _cut_side(length: int, parts: int, stride: int) -> list[int]:
    """Return where parts of about the same length begin and end."""
    cells = -(-length // stride)
    parts = min(parts, cells)
    return [*(stride * (i * cells // parts) for i in range(parts)), length]


def choose_grid(
    height: int, width: int, most: float, stride: int, reach: int, *, tileable: bool = False
) -> tuple[int, int] | None:
    """Return the grid with the least to look at whose windows have at most ``most`` pixels.

    None if the smallest windows have more.
    """
    best: tuple[float, tuple[int, int]] | None = None
    for rows, tall, down in _ways_to_cut(height, stride, reach, tileable):
        for columns, wide, across in _ways_to_cut(width, stride, reach, tileable):
            if tall * wide <= most:
                if best is None or down * across < best[0]:
                    best = (down * across, (rows, columns))
                break  # more columns see more
    return best and best[1]


def _ways_to_cut(
    length: int, stride: int, reach: int, tileable: bool
) -> Iterator[tuple[int, int, int]]:
    """Yield (parts, the longest window, all windows together) of a side, from one part on."""
    margin = find_margin(stride, reach)
    cells = -(-length // stride)
    shown = length + 2 * margin * tileable
    for parts in range(1, cells + 1):
        longest = shown if parts == 1 else min(-(-cells // parts) * stride + 2 * margin, shown)
        yield parts, longest, shown + 2 * margin * (parts - 1)
