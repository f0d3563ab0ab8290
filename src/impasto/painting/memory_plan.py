"""What is done at which size, and in how much memory: settled before the work, and kept to.

What a picture takes at once is estimated from what lies in memory as long as a size is painted (so
many bytes for each of its pixels) and what a tile takes while it is seen. Of both, the constants
below were measured (``bench/memory.py``) and rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from impasto.images.picture import Picture
from impasto.images.resizing import fit_size
from impasto.images.tiles import choose_grid, find_margin, find_stride, lay_out
from impasto.networks.vgg import Backbone
from impasto.options import format_memory, parse_memory
from impasto.painting.inputs import style_side
from impasto.painting.loss_plan import content_layers, layers_of
from impasto.painting.optimizers import HISTORY, HISTORY_OF_LARGE, LARGE
from impasto.painting.options import PaintOptions
from impasto.system.devices import Machine
from impasto.system.memory import free_memory, resident_memory

SHARE_OF_MEMORY = 0.8  # of what is free, if nothing was granted
PICTURE = 12  # bytes of a pixel of three float32
LEAST_WINDOW = 256**2  # pixels; smaller tiles see little but their margins
SLACK = 2**27  # bytes that libraries borrow
PIECES = 0.12  # share of what is in use that is lost in pieces, freed and not given back
ROOMY = 0.6  # of what is granted, at most, where holes in memory do not matter
PROCESS = 7 * 2**26  # bytes of a process that has painted nothing yet


# --- sizes and steps ----------------------------------------------------------------------------


def plan_sizes(width: int, height: int, start_size: int, least: int = 1) -> list[tuple[int, int]]:
    """Sizes from coarse to fine, each about half the next; the last is the size itself.

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
    """Steps for each size: of n sizes, n + 1 shares for the coarsest down to 2 for the finest."""
    shares = [sizes + 1 - i for i in range(sizes)]
    ends = [round(steps * sum(shares[: i + 1]) / sum(shares)) for i in range(sizes)]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


# --- memory -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Level:
    """One size, and how many of its pixels are seen at once."""

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
        """``up to 1.2 GiB of the 4.0 GiB granted`` and, if there are any, the tiles."""
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


class Costs:
    """What painting with these options takes of memory, in bytes."""

    def __init__(self, backbone: Backbone, machine: Machine, options: PaintOptions) -> None:
        self.options = options
        self.layers = layers_of(backbone, options)
        self.number = 2 if machine.precision == torch.bfloat16 else 4
        self.stride, self.reach = lay_out([backbone.path(name) for name in self.layers] or [[]])
        self.content = sum(
            backbone.architecture.channels[int(name[4]) - 1] / find_stride(backbone.path(name)) ** 2
            for name in content_layers(backbone, options)
            if name in self.layers
        )
        self.features, self.most = 0.0, 0.0
        if self.layers:
            self.features, self.most = backbone.count_features(self.layers)
        self.weights = sum(p.numel() for p in backbone.parameters()) * 2 * self.number

    def of_picture(self, pixels: int, steps: int) -> int:
        """As long as a picture of so many pixels is painted, in so many steps."""
        options = self.options
        # What each value takes of a picture's; the values and their slope.
        share, vectors = {"pixels": 1.0, "pyramid": 1.34, "fourier": 1.1}[options.canvas], 2.0
        if options.optimizer == "lbfgs":
            large = 3 * share * pixels > LARGE
            history = min(HISTORY_OF_LARGE if large else HISTORY, max(steps - 1, 0))
            vectors += 2 + 2 * history * (0.5 if large else 1)
        else:
            vectors += {"adam": 4, "sgd": 1, "rmsprop": 3}[options.optimizer]
        # The picture before the step, the best and its next, and what a canvas is drawn from.
        copies = 3.0 + {"pixels": 0, "pyramid": 3, "fourier": 5}[options.canvas]
        copies += (options.average > 0) + share * vectors
        masks = (options.mask is not None) + len(options.style_mask) + 8 * bool(options.labels)
        # Of each mask: itself, what is made of it, and its weights at the layers.
        return int(pixels * (PICTURE * copies + 16 * masks + self.content * self.number))

    def of_scene(self, content: Picture, size: tuple[int, int], *, last: bool) -> int:
        """The photograph as it was read and at the whole size, and what it should resemble, which
        is no longer needed once the last size was begun."""
        copies = (content.size != size) + (content.alpha is not None) + 2 * (not last)
        pixels = content.size[0] * content.size[1] + copies * size[0] * size[1]
        return PICTURE * pixels

    def of_styles(self, styles: Sequence[Picture], long_side: int, whole: int) -> tuple[int, int]:
        """The style pictures as they were read, with the colours that they are seen in; and as
        they are seen at a size, until they are measured."""
        read = seen = 0.0
        for i, style in enumerate(styles):
            scale = style_side(self.options, i, long_side, whole) / max(style.size)
            read += 2 * PICTURE * style.size[0] * style.size[1]
            seen += PICTURE * style.size[0] * style.size[1] * scale**2
        return int(read), int(seen)

    def of_window(self) -> float:
        """For each pixel that is seen at once, with its gradient."""
        number: float = self.number
        if any(name in " ".join(self.options.style_loss) for name in ("chained", "moments")):
            number = 4  # they look at copies in full
        return number * (self.features + 5 * self.most) + 200


def make_plan(
    backbone: Backbone,
    machine: Machine,
    options: PaintOptions,
    content: Picture,
    styles: Sequence[Picture],
    size: tuple[int, int],
    grant: int | None,
) -> Plan | None:
    """A plan that keeps to the grant; None if there is none for this size."""
    costs = Costs(backbone, machine, options)
    least = backbone.smallest_side(backbone.deepest(costs.layers)) if costs.layers else 1
    sizes = plan_sizes(*size, options.start_size, least)
    base = SLACK + costs.weights
    if machine.device.type == "cpu":
        base += PROCESS
    levels, most = [], 0
    for each, steps in zip(sizes, share_steps(options.steps, len(sizes)), strict=True):
        pixels = each[0] * each[1]
        read, seen = costs.of_styles(styles, max(each), max(size))
        painted = costs.of_picture(pixels, steps)
        scene, whole = (costs.of_scene(content, size, last=last) for last in (each == size, False))
        if machine.device.type != "cpu":
            read = scene = whole = 0  # these stay in the processor's memory
        # The styles are measured before there is anything of the painting but its start.
        lasting = (1 + PIECES) * (base + read + max(scene + painted, whole + seen))
        window, tiles = math.inf, 1
        shown = pixels
        if options.tileable:
            margin = 2 * find_margin(costs.stride, costs.reach)
            shown = (each[0] + margin) * (each[1] + margin)
            lasting += (1 + PIECES) * 2 * PICTURE * (shown - pixels)  # it, and its slope
        needed = lasting + (1 + PIECES) * costs.of_window() * shown
        if grant is not None and needed > grant:
            window = (grant - lasting) / (1 + PIECES) / costs.of_window()
            grid = None
            if window >= min(LEAST_WINDOW, shown):
                grid = choose_grid(
                    each[1], each[0], window, costs.stride, costs.reach, tileable=options.tileable
                )
            if grid is None:
                return None
            tiles, needed = grid[0] * grid[1], grant
        levels.append(Level(each, steps, window, tiles))
        most = max(most, int(needed))
    tight = any(level.tiles > 1 for level in levels)
    return Plan(tuple(levels), grant, most, tight)


def grant_memory(device: torch.device, asked: str | None) -> int | None:
    """Bytes that all of this may take."""
    if asked is not None:
        return parse_memory(asked)
    free = free_memory(device)
    if free is None:
        return None
    used = (resident_memory() or 0) if device.type == "cpu" else 0
    return used + int(SHARE_OF_MEMORY * free)


def largest_side(
    backbone: Backbone,
    machine: Machine,
    options: PaintOptions,
    content: Picture,
    styles: Sequence[Picture],
    most: int,
    grant: int,
) -> int:
    """The longest side, at most ``most``, that the grant has room for and the network can see; 0 if
    there is none."""
    layers = layers_of(backbone, options)
    least = backbone.smallest_side(backbone.deepest(layers)) if layers else 1
    width, height = content.size

    def fits(side: int) -> bool:
        size = fit_size(width, height, side)
        inputs = (backbone, machine, options, content, styles)
        return min(size) >= least and make_plan(*inputs, size, grant) is not None

    # Beyond a size, L-BFGS remembers less: more may fit there than just below.
    turn = int(max(width, height) * math.sqrt(LARGE / 3 / (width * height))) + 1
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
