"""Tables of colour in .cube files: written, read, looked up, and fitted to what regions did.

A table is (S, S, S, 3), indexed by blue, green, red: red runs fastest, as in the file (Adobe, "Cube
LUT Specification 1.0", 2013). Between its nodes colours are interpolated linearly in each channel.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from impasto.errors import ImageError, MissingFileError, describe_reason, shorten
from impasto.system.files import check_place, replace_file

LUT_SIZE = 33
LUT_SUFFIX = ".cube"
_LARGEST_LUT, _LARGEST_TEXT = 129, 2**27  # nodes along an axis; bytes
_SMOOTHNESS = 1e-4  # weight of differences between neighbouring nodes, in pixels of the photograph
_ROUNDS = 100  # of conjugate gradients


@dataclass(frozen=True)
class ColorTable:
    """What each colour becomes."""

    nodes: Tensor  # (S, S, S, 3) float32
    low: tuple[float, float, float] = (0.0, 0.0, 0.0)  # the colour of the first node
    high: tuple[float, float, float] = (1.0, 1.0, 1.0)  # and of the last

    def __call__(self, pixels: Tensor) -> Tensor:
        """Return a picture (1, 3, H, W) in the table's colours, clamped to [0, 1]."""
        low, high = (pixels.new_tensor(each).view(1, 3, 1, 1) for each in (self.low, self.high))
        places = (pixels - low) / (high - low) * 2 - 1
        grid = places.permute(0, 2, 3, 1)[:, None]  # (1, 1, H, W, 3): red, green, blue
        volume = self.nodes.permute(3, 0, 1, 2)[None].to(pixels)
        found: Tensor = functional.grid_sample(
            volume, grid, mode="bilinear", padding_mode="border", align_corners=True
        )
        return found[:, :, 0].clamp(0, 1)


def tabulate(change: Callable[[Tensor], Tensor], size: int = LUT_SIZE) -> ColorTable:
    """Return the table of a map of colours, pictures (1, 3, H, W) to such."""
    levels = torch.linspace(0, 1, size)
    blue, green, red = torch.meshgrid(levels, levels, levels, indexing="ij")
    picture = torch.stack([red, green, blue]).view(1, 3, size, size * size)
    return ColorTable(change(picture)[0].permute(1, 2, 0).reshape(size, size, size, 3))


# --- files --------------------------------------------------------------------------------------


def write_lut(path: str | os.PathLike[str], table: ColorTable, title: str) -> None:
    """Write a .cube file, whole or not at all."""
    path = check_place(path, "a table of colours", (LUT_SUFFIX,), ImageError)
    size = len(table.nodes)
    quoted = "".join(letter if letter.isprintable() and letter != '"' else "_" for letter in title)
    lines = [f'TITLE "{quoted}"', f"LUT_3D_SIZE {size}"]
    rows = table.nodes.reshape(-1, 3).double().tolist()
    lines += [f"{red:.6f} {green:.6f} {blue:.6f}" for red, green, blue in rows]
    replace_file(path, "\n".join([*lines, ""]).encode())


def read_lut(path: str | os.PathLike[str]) -> ColorTable:
    """Read a .cube file with a table in three dimensions."""
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST_TEXT:
            raise ImageError(f"{path.name!r} is too large for a table of colours")
        text = path.read_text("utf-8", errors="replace")
    except FileNotFoundError:
        raise MissingFileError(f"no such file: {str(path)!r}") from None
    except OSError as error:
        raise ImageError(f"cannot read {path.name!r}: {describe_reason(error)}") from None
    try:
        return _parse_lut(text)
    except ValueError as error:
        raise ImageError(f"{path.name!r} is no table of colours: {error}") from None


def _parse_lut(text: str) -> ColorTable:
    """Return the table of a file's text; raise ValueError with what is wrong."""
    size, domain, numbers = 0, {"DOMAIN_MIN": (0.0,) * 3, "DOMAIN_MAX": (1.0,) * 3}, []
    for line in text.splitlines():
        words = line.split("#")[0].split() if not line.startswith("TITLE") else []
        if not words:
            continue
        if words[0] == "LUT_3D_SIZE":
            size = int(words[1]) if len(words) == 2 and words[1].isdigit() else 0
        elif words[0] in domain:
            domain[words[0]] = _read_numbers(words[1:])
        elif words[0].startswith("LUT_1D"):
            raise ValueError("it has one dimension, and tables of three are read")
        elif words[0][0].isalpha() and words[0].upper() == words[0]:
            continue  # what the specification leaves to programs
        else:
            numbers.append(words)
    if not 2 <= size <= _LARGEST_LUT:
        raise ValueError(f"LUT_3D_SIZE is to be a whole number from 2 to {_LARGEST_LUT}")
    if len(numbers) != size**3:
        raise ValueError(f"{len(numbers)} colours, and LUT_3D_SIZE {size} needs {size**3}")
    try:
        values = np.array(numbers, dtype=np.float32).reshape(size, size, size, 3)
    except ValueError:
        raise ValueError("a line is not three numbers") from None
    low, high = domain["DOMAIN_MIN"], domain["DOMAIN_MAX"]
    if not np.isfinite(values).all() or any(a >= b for a, b in zip(low, high, strict=True)):
        raise ValueError("its numbers are not finite, or DOMAIN_MIN is not below DOMAIN_MAX")
    return ColorTable(torch.from_numpy(values), low, high)


def _read_numbers(words: list[str]) -> tuple[float, float, float]:
    try:
        red, green, blue = map(float, words)
    except ValueError:
        found = shorten(" ".join(words))
        raise ValueError(f"DOMAIN_MIN and DOMAIN_MAX are three numbers, not {found!r}") from None
    return red, green, blue


# --- the best table for what regions did ----------------------------------------------------------


def fit_table(before: Tensor, after: Tensor, start: ColorTable) -> ColorTable:
    """Return the table that comes nearest to what became of a picture, by least squares.

    Pictures are (1, 3, H, W). Where the picture has few colours or none, the table moves as its
    neighbours do from where it starts.
    """
    size, count = len(start.nodes), before.shape[2] * before.shape[3]
    colors = before[0].flatten(1).T.double().clamp(0, 1)  # (n, 3)
    missing = (after - start(before))[0].flatten(1).T.double()
    corners = list(_find_corners(colors, size))

    def look_up(nodes: Tensor) -> Tensor:
        return torch.stack([share[:, None] * nodes[index] for index, share in corners]).sum(0)

    def spread(values: Tensor) -> Tensor:
        nodes = values.new_zeros(size**3, 3)
        for index, share in corners:
            nodes.index_add_(0, index, share[:, None] * values)
        return nodes

    smooth = _SMOOTHNESS * count / size
    moved = _solve(
        lambda nodes: spread(look_up(nodes)) + smooth * _roughen(nodes, size), spread(missing)
    )
    nodes = start.nodes + moved.view(size, size, size, 3).float()
    return ColorTable(nodes.clamp(0, 1))


def _find_corners(colors: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for each of a cell's eight corners, its node (n,) and its share (n,) by colour."""
    places = colors * (size - 1)
    low = places.floor().clamp(max=size - 2)
    share = places - low
    for steps in itertools.product((0, 1), repeat=3):  # red, green, blue
        step = low.new_tensor(steps)
        red, green, blue = (low + step).long().T
        weight = torch.where(step > 0, share, 1 - share).prod(1)
        yield (blue * size + green) * size + red, weight


def _roughen(nodes: Tensor, size: int) -> Tensor:
    """Return the gradient of half the squared differences of neighbouring nodes."""
    cube = nodes.view(size, size, size, 3)
    total = torch.zeros_like(cube)
    for dim in range(3):
        difference = cube.diff(dim=dim)
        total.narrow(dim, 1, size - 1).add_(difference)
        total.narrow(dim, 0, size - 1).sub_(difference)
    return total.view_as(nodes)


def _solve(multiply: Callable[[Tensor], Tensor], wanted: Tensor) -> Tensor:
    """Return x with multiply(x) = wanted, by conjugate gradients."""
    found, left = torch.zeros_like(wanted), wanted.clone()
    way, size = left.clone(), float(left.square().sum())
    enough = 1e-10 * size
    for _ in range(_ROUNDS):
        if size <= enough or not math.isfinite(size):
            break
        along = multiply(way)
        step = size / float((way * along).sum())
        found += step * way
        left -= step * along
        before, size = size, float(left.square().sum())
        way = left + size / before * way
    return found
