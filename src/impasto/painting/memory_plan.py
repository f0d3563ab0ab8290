"""Sizes, steps and memory of a painting: planned before the work, and kept to.

The memory is estimated from what is kept as long as a size is painted (so many bytes for each of
its pixels) and what a tile takes while it is seen. The constants of both were measured
(``bench/memory.py``) and rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from impasto.images.picture import Picture
from impasto.images.resizing import fit_size
from impasto.images.tiles import choose_grid, find_stride
from impasto.networks.vgg import Backbone
from impasto.options import format_memory, parse_memory
from impasto.painting.canvas import CANVASES
from impasto.painting.inputs import SceneOptions
from impasto.painting.loss_plan import LossPlan
from impasto.painting.optimizers import LARGE_CANVAS, OPTIMIZERS
from impasto.painting.options import LoopOptions
from impasto.system.devices import Machine
from impasto.system.memory import free_memory, resident_memory

SHARE_OF_MEMORY = 0.8  # of what is free, if nothing was granted
_MATTING = 700  # bytes of a pixel of the matting Laplacian's sums over windows, in float64
_PICTURE = 12  # bytes of a pixel of three float32
LEAST_WINDOW = 256**2  # pixels; smaller tiles see little but their margins
SLACK = 2**27  # bytes that libraries borrow
PIECES = 0.12  # share of what is in use that is lost to fragmentation
ROOMY = 0.6  # of what is granted, at most, where fragmentation does not matter
PROCESS = 7 * 2**26  # bytes of a process that has painted nothing yet


# --- sizes and steps ----------------------------------------------------------------------------


def plan_sizes(width: int, height: int, start_size: int, least: int = 1) -> list[tuple[int, int]]:
    """Return sizes from coarse to fine, each about half the next; the last is the size itself.

    The coarsest has the long side nearest to ``start_size``, and none a short side under ``least``.
    """
    sizes = [(width, height)]
    long_side = max(width, height) / 2
    while long_side * math.sqrt(2) >= start_size:
        smaller = fit_size(width, height, round(long_side))
        if min(smaller) < least:
            break
        sizes.insert(0, smaller)
        long_side /= 2
    return sizes


def share_steps(steps: int, sizes: int) -> list[int]:
    """Return steps for each size: of n sizes, n + 1 shares for the coarsest to 2 for the finest."""
    shares = [sizes + 1 - i for i in range(sizes)]
    ends = [round(steps * sum(shares[: i + 1]) / sum(shares)) for i in range(sizes)]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


# --- memory -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Level:
    """One size, its steps, and how many of its pixels are seen at once."""

    size: tuple[int, int]
    steps: int
    window: float
    tiles: int


@dataclass(frozen=True)
class Plan:
    """The sizes of a painting, and what they take of the memory that is granted."""

    levels: tuple[Level, ...]
    grant: int | None  # bytes; None where the system does not say what there is
    needed: int  # bytes at most, by estimate
    is_tight: bool  # whether more memory would have made another plan

    @property
    def is_roomy(self) -> bool:
        """Whether there is memory to spare."""
        return self.grant is None or self.needed < ROOMY * self.grant

    def describe(self) -> str:
        """Return ``up to 1.2 GiB of the 4.0 GiB granted`` and, if there are any, the tiles."""
        parts = [f"up to {format_memory(self.needed)}"]
        if self.grant is not None:
            parts.append(f" of the {format_memory(self.grant)} granted")
        if self.levels[-1].tiles > 1:
            level = next(level for level in self.levels if level.tiles > 1)
            last = self.levels[-1]
            parts.append(
                f"; seen in tiles from {max(level.size)} pixels on, {last.tiles} at the last size"
            )
        return "".join(parts)


@dataclass(frozen=True)
class Costs:
    """What painting with these losses and options takes of memory, in bytes."""

    backbone: Backbone
    machine: Machine
    losses: LossPlan
    options: LoopOptions
    scene: SceneOptions = field(default_factory=SceneOptions)
    content: Picture | None = None  # the photograph as it was read, if there is one
    styles: Sequence[Picture] = ()

    @property
    def number(self) -> int:
        """Bytes of a value in the network's precision."""
        return 2 if self.machine.precision == torch.bfloat16 else 4

    def of_process(self) -> int:
        """Return what there is before anything is painted: libraries and the network."""
        weights = sum(p.numel() for p in self.backbone.parameters())
        own = PROCESS if self.machine.device.type == "cpu" else 0
        return SLACK + weights * 2 * self.number + own

    def of_picture(self, pixels: int, steps: int) -> int:
        """Return what is kept as long as a picture of so many pixels is painted."""
        options, canvas = self.options, CANVASES[self.options.canvas]
        # The values and their gradient, and what the optimiser remembers.
        values = 3 * canvas.share * pixels
        vectors = 2.0 + OPTIMIZERS[options.optimizer].count_vectors(values, steps)
        # The picture before the step, the best and its next, and what a canvas is drawn from.
        copies = 3.0 + canvas.copies
        copies += (options.average > 0) + canvas.share * vectors
        # Of each mask: itself, what is made of it, and its weights at the layers.
        masks = 16 * self.scene.count_masks()
        kept = sum(
            self.backbone.count_channels(name) / find_stride(self.losses.paths[name]) ** 2
            for name in self.losses.kept
        )
        return int(pixels * (_PICTURE * copies + masks + kept * self.number))

    def of_scene(self, size: tuple[int, int], *, last: bool) -> int:
        """Return what the photograph takes, as it was read and at the whole size.

        What it should resemble is no longer needed once the ``last`` size was begun.
        """
        own, alpha = size, None
        if self.content is not None:
            own, alpha = self.content.size, self.content.alpha
        copies = (own != size) + (alpha is not None) + 2 * (not last)
        return _PICTURE * (own[0] * own[1] + copies * size[0] * size[1])

    def of_styles(self, long_side: int, whole: int) -> tuple[int, int]:
        """Return what style pictures take as they were read, and as they are seen at a size.

        The second lasts until they are measured.
        """
        read = seen = 0.0
        for i, style in enumerate(self.styles):
            scale = self.scene.find_style_side(i, long_side, whole) / max(style.size)
            read += 2 * _PICTURE * style.size[0] * style.size[1]
            turns = 4 if self.scene.turn_style else 1
            seen += turns * _PICTURE * style.size[0] * style.size[1] * scale**2
        return int(read), int(seen)

    def of_window(self) -> float:
        """Return what each pixel that is seen at once takes, with its gradient."""
        matting = _MATTING if self.losses.photoreal else 0
        if not self.losses.layers:
            return 200 + matting
        keeps_copies = any(each.loss.copies for each in self.losses.style)
        number = 4 if keeps_copies else self.number
        features, most = self.backbone.count_features(self.losses.layers)
        return number * (features + 5 * most) + 200 + matting

    def plan_level(
        self, size: tuple[int, int], steps: int, whole: tuple[int, int], grant: int | None
    ) -> tuple[Level, int] | None:
        """Return how one size is painted, and the bytes it needs; None if the grant is too small.

        ``whole`` is the size of the painting itself.
        """
        pixels = size[0] * size[1]
        read, seen = self.of_styles(max(size), max(whole))
        painted = self.of_picture(pixels, steps)
        scene, first = (self.of_scene(whole, last=last) for last in (size == whole, False))
        if self.machine.device.type != "cpu":
            read = scene = first = 0  # these stay in the processor's memory
        # The styles are measured before there is anything of the painting but its start.
        kept = self.of_process() + read + max(scene + painted, first + seen)
        shown = pixels
        if self.losses.tileable:
            margin = 2 * self.losses.margin
            shown = (size[0] + margin) * (size[1] + margin)
            kept += 2 * _PICTURE * (shown - pixels)  # the picture with its copies, and its gradient
        lasting, of_pixel = (1 + PIECES) * kept, (1 + PIECES) * self.of_window()
        needed = lasting + of_pixel * shown
        if grant is None or needed <= grant:
            return Level(size, steps, math.inf, 1), int(needed)
        window = (grant - lasting) / of_pixel
        if window < min(LEAST_WINDOW, shown):
            return None
        tiling, tileable = self.losses.tiling, self.losses.tileable
        grid = choose_grid(size[1], size[0], window, *tiling, tileable=tileable)
        if grid is None:
            return None
        return Level(size, steps, window, grid[0] * grid[1]), grant


def make_plan(
    costs: Costs, size: tuple[int, int], start_size: int, grant: int | None
) -> Plan | None:
    """Return a plan that keeps to the grant; None if there is none for this size."""
    sizes = plan_sizes(*size, start_size, costs.losses.least)
    levels, most = [], 0
    for each, steps in zip(sizes, share_steps(costs.options.steps, len(sizes)), strict=True):
        planned = costs.plan_level(each, steps, size, grant)
        if planned is None:
            return None
        levels.append(planned[0])
        most = max(most, planned[1])
    return Plan(tuple(levels), grant, most, any(level.tiles > 1 for level in levels))


def grant_memory(device: torch.device, asked: str | None) -> int | None:
    """Return the bytes that all of this may take; None where the system does not say."""
    if asked is not None:
        return parse_memory(asked)
    free = free_memory(device)
    if free is None:
        return None
    used = (resident_memory() or 0) if device.type == "cpu" else 0
    return used + int(SHARE_OF_MEMORY * free)


def largest_side(
    costs: Costs, shape: tuple[int, int], start_size: int, most: int, grant: int
) -> int:
    """Return the longest side, at most ``most``, that the grant has room for.

    ``shape`` is a size with the picture's proportions. 0 if there is none that the network can see.
    """
    width, height = shape
    least = costs.losses.least

    def fits(side: int) -> bool:
        size = fit_size(width, height, side)
        return min(size) >= least and make_plan(costs, size, start_size, grant) is not None

    # Beyond a size, L-BFGS remembers less: more may fit there than just below.
    turn = int(max(width, height) * math.sqrt(LARGE_CANVAS / 3 / (width * height))) + 1
    low, high = (turn, most) if turn < most and fits(turn) else (0, min(turn, most))
    if low == 0:
        low = next(
            (side for side in range(1, high + 1) if min(fit_size(width, height, side)) >= least), 0
        )
        if low == 0 or not fits(low):
            return 0
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low
