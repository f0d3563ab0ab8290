"""A photograph through a painting net, whole or in tiles, to the same picture.

A normalisation is over all of a picture. So the tiles are computed up to each normalisation in
turn, whose sums are kept, before they are computed to the end: more work, in memory that does not
grow with the picture, but for the photograph and the painting.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from impasto.errors import ImageError
from impasto.images.tiles import Tile, choose_grid, cut_picture
from impasto.instant.net import NORM_EPSILON, PaintingNet, Walk, run_layers
from impasto.system.devices import MEMORY_LAYOUTS, Machine

_Norm = tuple[Tensor, Tensor, Tensor, Tensor]  # mean, variance, scale and shift (C,)
FEWEST_PIXELS = 256**2  # of a window, below which most of it is what tiles share


def place_net(net: PaintingNet, machine: Machine) -> PaintingNet:
    """Return a copy of a net on its device, in its precision and layout."""
    placed: PaintingNet = copy.deepcopy(net).to(machine.device, machine.precision)
    placed.to(memory_format=MEMORY_LAYOUTS[machine.layout])  # type: ignore[call-overload]
    return placed


def measure_cost(net: PaintingNet, precision: torch.dtype) -> float:
    """Return bytes for each pixel that goes through at once: about what is held where most is."""
    number = 2 if precision == torch.bfloat16 else 4
    widths, cell = net.layout.widths, net.layout.fold**2
    # At the way's end: the first size's features, as skipped, enlarged, convolved and normalised.
    alive = (3 * widths[0] + 2 * widths[min(1, len(widths) - 1)]) / cell
    return number * alive + 3 * 4 * 4


@torch.no_grad()
def paint_in_tiles(
    net: PaintingNet, machine: Machine, photo: Tensor, numbers: Tensor, most: int
) -> Tensor:
    """Paint no more than so many pixels at a time."""
    padded = net.pad(photo)
    tiles = cut_tiles(net, (padded.shape[2], padded.shape[3]), most)
    manners = net.split(numbers[None].to(machine.device))
    norms: list[_Norm] = []
    for manner in manners:
        norms.append(measure_norm(_go_far(net, machine, padded, tiles, norms), manner))
    height, width = photo.shape[-2:]
    painted = photo.new_empty(1, 3, *padded.shape[2:])
    for tile in tiles:
        steps = iter(norms)
        walk = net.walk(_look(machine, padded, tile))
        added = run_layers(walk, lambda x, steps=steps: normalise_instance(x, next(steps)))  # type: ignore[misc]
        tile.core.of(painted).copy_(tile.inner(1).of(added))
    edge = net.layout.margin
    return photo + painted[..., edge : edge + height, edge : edge + width]


def cut_tiles(net: PaintingNet, size: tuple[int, int], most: int) -> list[Tile]:
    """Return tiles of at most so many pixels."""
    grid = choose_grid(*size, most, net.stride, net.reach)
    if grid is None:
        raise ImageError(
            f"tiles of {most} pixels have no room for what lies around them; grant more with "
            "--memory"
        )
    return cut_picture(*size, grid, net.stride, net.reach)


def _look(machine: Machine, padded: Tensor, tile: Tile) -> Tensor:
    window = tile.window.of(padded).to(machine.device, machine.precision)
    return window.contiguous(memory_format=MEMORY_LAYOUTS[machine.layout])


def _go_far(
    net: PaintingNet,
    machine: Machine,
    padded: Tensor,
    tiles: Sequence[Tile],
    norms: Sequence[_Norm],
) -> Iterator[Tensor]:
    """Yield what the next normalisation is of: each tile's own cells (1, C, h, w)."""
    for tile in tiles:
        walk: Walk = net.walk(_look(machine, padded, tile))
        x = next(walk)
        for norm in norms:
            x = walk.send(normalise_instance(x, norm))
        stride = tile.window.shape[0] // x.shape[2]
        yield tile.inner(stride).of(x)


def measure_norm(parts: Iterator[Tensor], manner: tuple[Tensor, Tensor]) -> _Norm:
    """Measure what ``net.StyledNorm`` does, of a picture in parts."""
    total, square, count = torch.zeros(()), torch.zeros(()), 0
    for part in parts:
        kind = torch.float32 if part.device.type == "mps" else torch.float64  # it has no more
        total = total + part.sum((0, 2, 3), dtype=kind)
        square = square + part.float().square().sum((0, 2, 3), dtype=kind)
        count += part[0, 0].numel()
    mean = total / count
    variance = (square / count - mean.square()).clamp_min(0)
    scale, shift = manner
    return mean.float(), variance.float(), (1 + scale[0]).float(), shift[0].float()


def normalise_instance(x: Tensor, norm: _Norm) -> Tensor:
    """Return instance normalisation by statistics that are known."""
    return functional.batch_norm(x, *norm, training=False, eps=NORM_EPSILON)
