"""Painting by optimisation: one loop over sizes from coarse to fine, and steps at each.

A picture of pixels (1, 3, H, W) is changed until a network sees in it the content of one picture
and the style of another (Gatys, Ecker and Bethge 2015). Each size starts from the result of the
one before, so that broad strokes are laid before fine ones.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from impasto.backbones import Backbone
from impasto.color import match_color
from impasto.devices import Machine, choose_machine, free_memory, seeded
from impasto.errors import DivergedError, ImageError, OptionError, suggest
from impasto.files import replace_file
from impasto.images import (
    ImageSource,
    fit_size,
    read_image,
    resize_pixels,
    to_pil,
    write_image,
)
from impasto.losses import LOSSES, range_penalty
from impasto.options import PaintOptions, parse_layers
from impasto.weights import load_backbone

if TYPE_CHECKING:
    from PIL import Image

RANGE_WEIGHT = 100.0
SHARE_OF_MEMORY = 0.8
LONGEST_STEP = 0.1  # root mean square change of a pixel in one step of L-BFGS
HISTORY_COLUMNS = (
    "style_weight",
    "epoch",
    "total_loss",
    "style_loss",
    "content_loss",
    "tv_loss",
    "width",
    "height",
    "seconds",
)


@dataclass(frozen=True)
class Step:
    """What one step measured, before it changed the picture."""

    number: int
    steps: int
    size: tuple[int, int]
    total: float
    style: float
    content: float
    tv: float
    seconds: float


@dataclass
class Progress:
    """The picture as it stands: the best of the size being painted, and every step so far."""

    best: Tensor | None = None
    history: list[Step] = field(default_factory=list)


class Objective(nn.Module):
    """The total loss of a picture at one size, and its parts."""

    def __init__(
        self,
        backbone: Backbone,
        machine: Machine,
        content: Tensor,
        style: Tensor,
        options: PaintOptions,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.machine = machine
        self.options = options
        self.content_layers = resolve_layers(backbone, options.content_layer)
        self.style_layers = resolve_layers(backbone, options.style_layer)
        with torch.no_grad():
            seen = self.look(content, self.content_layers)
            self.content_losses = nn.ModuleDict(
                {n: LOSSES["content"](f, options.normalization) for n, f in seen.items()}
            )
            seen = self.look(style, self.style_layers)
            self.style_losses = nn.ModuleDict(
                {n: LOSSES["gram"](f, options.normalization) for n, f in seen.items()}
            )
        self.tv_loss = LOSSES["tv"](options.normalization)

    def look(self, pixels: Tensor, layers: dict[str, float]) -> dict[str, Tensor]:
        """Features in float32: sums over pixels lose too much in fewer bits."""
        with self.machine.autocast():
            seen = self.backbone(pixels.contiguous(memory_format=torch.channels_last), layers)
        return {name: features.float() for name, features in seen.items()}

    def forward(self, pixels: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        seen = self.look(pixels, self.content_layers | self.style_layers)
        parts = {
            "style": weighted_sum(self.style_losses, self.style_layers, seen),
            "content": weighted_sum(self.content_losses, self.content_layers, seen),
            "tv": self.tv_loss(pixels),
        }
        total = (
            self.options.style_weight * parts["style"]
            + self.options.content_weight * parts["content"]
            + self.options.tv_weight * parts["tv"]
            + RANGE_WEIGHT * range_penalty(pixels, self.options.normalization)
        )
        return total, parts


def resolve_layers(backbone: Backbone, entries: tuple[str, ...]) -> dict[str, float]:
    """{layer: weight} by the layers' full names."""
    return {backbone.resolve(name): weight for name, weight in parse_layers(entries).items()}


def layers_of(backbone: Backbone, options: PaintOptions) -> list[str]:
    """Every layer that the options ask for."""
    entries = (*options.content_layer, *options.style_layer)
    return list(resolve_layers(backbone, entries))


def weighted_sum(
    losses: nn.ModuleDict, weights: dict[str, float], seen: dict[str, Tensor]
) -> Tensor:
    """Losses by layer, weighted, over the sum of the weights."""
    terms = [weights[name] * loss(seen[name]) for name, loss in losses.items()]
    return torch.stack(terms).sum() / max(sum(weights.values()), 1e-12)


# --- starts and optimisers ----------------------------------------------------------------------


def start_from_content(content: Tensor, _style: Tensor, _seed: int) -> Tensor:
    return content


def start_from_style(content: Tensor, style: Tensor, _seed: int) -> Tensor:
    """The style, cut (not squeezed) to the content's shape."""
    height, width = content.shape[-2:]
    scale = max(height / style.shape[-2], width / style.shape[-1])
    tall, wide = (math.ceil(side * scale) for side in style.shape[-2:])
    grown = resize_pixels(style, wide, tall)
    top, left = (tall - height) // 2, (wide - width) // 2
    return grown[..., top : top + height, left : left + width]


def start_from_noise(content: Tensor, _style: Tensor, seed: int) -> Tensor:
    noise = torch.rand(content.shape, generator=seeded(seed))
    return (0.5 + (noise - 0.5) * 0.5).to(content.device)


STARTS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "content": start_from_content,
    "style": start_from_style,
    "noise": start_from_noise,
}


def start_picture(content: Tensor, style: Tensor, options: PaintOptions) -> Tensor:
    """The picture that the coarsest size starts from."""
    if start := STARTS.get(options.init):
        return start(content, style, options.seed)
    try:
        pixels = read_image(options.init, max_megapixels=options.max_megapixels).pixels
    except FileNotFoundError:
        if "." in options.init or "/" in options.init:
            raise
        hint = suggest(options.init, STARTS)
        raise OptionError(
            f"unknown init {options.init!r}{hint}, or give a picture's path"
        ) from None
    return resize_pixels(pixels, content.shape[-1], content.shape[-2]).to(content.device)


class BoundedLBFGS(torch.optim.LBFGS):
    """torch's L-BFGS with a longest step.

    Without a line search it takes one look a step, and where the loss bends little (white noise,
    the first steps) it would leap a thousand times the range of a pixel.
    """

    def step(self, closure: Any) -> Any:  # type: ignore[override]
        (pixels,) = self.param_groups[0]["params"]
        before = pixels.detach().clone()
        loss = super().step(closure)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            change = pixels - before
            share = LONGEST_STEP / float(change.square().mean().sqrt() + 1e-12)
            if share < 1:
                pixels.copy_(before + share * change)
                self.state[pixels]["t"] *= share  # what it remembers of the step
        return loss


OPTIMIZERS: dict[str, Callable[[Tensor, float | None], torch.optim.Optimizer]] = {
    "lbfgs": lambda pixels, rate: BoundedLBFGS(
        [pixels], lr=rate or 1.0, max_iter=1, history_size=10, tolerance_grad=0, tolerance_change=0
    ),
    "adam": lambda pixels, rate: torch.optim.Adam([pixels], lr=rate or 0.02, betas=(0.9, 0.99)),
    "sgd": lambda pixels, rate: torch.optim.SGD([pixels], lr=rate or 0.02, momentum=0.9),
}


# --- the loop -----------------------------------------------------------------------------------


def plan_sizes(width: int, height: int, start_size: int, least: int = 1) -> list[tuple[int, int]]:
    """Sizes from coarse to fine, each about half the next; the last is the size itself.

    None has a long side under ``start_size`` or a short side under ``least``.
    """
    sizes = [(width, height)]
    long_side = max(width, height) / 2
    while long_side >= start_size:
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


def paint_steps(
    backbone: Backbone,
    machine: Machine,
    content: Tensor,
    style: Tensor,
    options: PaintOptions,
    progress: Progress,
) -> Iterator[Step]:
    """Paint ``content`` at its own size; whenever one stops, ``progress.best`` is the picture."""
    began = time.perf_counter()
    content, style = content.to(machine.device), style.to(machine.device)
    if options.recolor:
        content = match_color(content, style)
    least = backbone.smallest_side(backbone.deepest(layers_of(backbone, options)))
    sizes = plan_sizes(content.shape[-1], content.shape[-2], options.start_size, least)
    progress.best = None
    for size, count in zip(sizes, share_steps(options.steps, len(sizes)), strict=True):
        if count == 0:
            continue
        small = resize_pixels(content, *size)
        sample = resize_style(style, max(size), least)
        objective = Objective(backbone, machine, small, sample, options)
        before = progress.best
        start = start_picture(small, sample, options) if before is None else before
        for total, parts in optimise(objective, resize_pixels(start, *size), count, progress):
            number = len(progress.history) + 1
            seconds = time.perf_counter() - began
            step = Step(number, options.steps, size, total, **parts, seconds=seconds)
            progress.history.append(step)
            yield step


def resize_style(style: Tensor, long_side: int, least: int) -> Tensor:
    """The style with the picture's long side, so that its strokes keep their share of it; larger
    where its short side would be too short to see."""
    width, height = style.shape[-1], style.shape[-2]
    scale = max(long_side / max(width, height), least / min(width, height))
    return resize_pixels(style, round(width * scale), round(height * scale))


def optimise(
    objective: Objective, start: Tensor, count: int, progress: Progress
) -> Iterator[tuple[float, dict[str, float]]]:
    """``count`` steps at one size; the best picture measured is kept, not the last."""
    options = objective.options
    pixels = start.clone().requires_grad_()
    optimizer = OPTIMIZERS[options.optimizer](pixels, options.learning_rate)
    measured: dict[str, Tensor] = {}
    least = math.inf

    def measure() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        total, parts = objective(pixels)
        total.backward()
        measured.update({name: part.detach() for name, part in parts.items()})
        return total.detach()  # type: ignore[no-any-return]

    for _ in range(count):
        before = pixels.detach().clone()
        total = float(optimizer.step(measure))  # type: ignore[arg-type]
        if not math.isfinite(total):
            raise DivergedError(
                f"the loss is no longer a number at step {len(progress.history) + 1}; "
                "lower --learning-rate or --style-weight, or use --optimizer adam"
            )
        if total < least:
            least, progress.best = total, before
        yield total, {name: float(part) for name, part in measured.items()}


def largest_side(backbone: Backbone, layers: list[str], free: int) -> int:
    """The side of the largest square picture that ``free`` bytes have room for."""
    return int(math.sqrt(SHARE_OF_MEMORY * free / backbone.bytes_per_pixel(layers)))


# --- pictures in, a painting out ----------------------------------------------------------------


@dataclass(frozen=True)
class Painting:
    """A finished picture, how its losses fell, and the recipe that paints it again."""

    pixels: Tensor
    alpha: Tensor | None
    history: list[Step]
    recipe: dict[str, Any]
    notes: list[str]

    def to_pil(self) -> Image.Image:
        return to_pil(self.pixels, self.alpha)

    def save(self, path: str | os.PathLike[str], *, metadata: bool = True) -> tuple[str, ...]:
        """Write the picture, with its recipe inside; what the format could not keep is returned."""
        recipe = json.dumps(self.recipe, ensure_ascii=False) if metadata else None
        return write_image(path, self.pixels, alpha=self.alpha, recipe=recipe)


class Painter:
    """Two pictures and options, checked and made ready; ``steps()`` paints, ``result()`` is
    the best so far at any moment, so that a run that is broken off has something to show."""

    def __init__(
        self, content: ImageSource, style: ImageSource, options: PaintOptions | None = None
    ) -> None:
        options = options or PaintOptions()
        self.content = read_image(content, max_megapixels=options.max_megapixels)
        self.style = read_image(style, max_megapixels=options.max_megapixels)
        self.notes = [f"{p.name}: {n}" for p in (self.content, self.style) for n in p.notes]
        self.machine = choose_machine(options.device, options.precision)
        if self.machine.is_slow():
            self.notes.append("this processor has no bfloat16 of its own: float32 is faster")
        backbone = load_backbone(options.backbone, weights=options.weights, pooling=options.pooling)
        self.backbone = self.machine.place(backbone)
        layers = layers_of(self.backbone, options)
        self.size = self._choose_size(options.size, layers)
        backbone.check_size(*self.size, backbone.deepest(layers))
        precision = str(self.machine.precision).removeprefix("torch.")
        self.options = options.model_copy(update={"precision": precision})
        self.progress = Progress()

    def _choose_size(self, long_side: int | None, layers: list[str]) -> tuple[int, int]:
        """The size asked for; the photograph's own, or what memory has room for, if none was."""
        size = self.content.size if long_side is None else fit_size(*self.content.size, long_side)
        free = free_memory(self.machine.device)
        if free is None:
            return size
        square = largest_side(self.backbone, layers, free)
        if size[0] * size[1] <= square**2:
            return size
        largest = int(max(size) * square / math.sqrt(size[0] * size[1]))
        what = f"{size[0]} x {size[1]} needs more than the {free / 2**30:.1f} GiB of memory free"
        if long_side is not None:
            raise ImageError(f"{what}; --size {largest} would fit")
        self.notes.append(f"{what}: painted at a long side of {largest} and enlarged")
        return fit_size(*size, largest)

    def steps(self) -> Iterator[Step]:
        """Paint, yielding what each step measured."""
        content = resize_pixels(self.content.pixels, *self.size)
        yield from paint_steps(
            self.backbone, self.machine, content, self.style.pixels, self.options, self.progress
        )

    def result(self) -> Painting:
        """The best picture so far, at its full size."""
        best = self.progress.best
        pixels = self.content.pixels if best is None else best.detach().float().cpu().clamp(0, 1)
        size = self.content.size if self.options.size is None else self.size
        alpha = self.content.alpha
        if alpha is not None:
            alpha = resize_pixels(alpha, *size)
        return Painting(
            resize_pixels(pixels, *size),
            alpha,
            list(self.progress.history),
            self.recipe(),
            list(self.notes),
        )

    def recipe(self) -> dict[str, Any]:
        """All that is needed to paint this again; pictures by name, for folders are private."""
        options = self.options.model_dump(mode="json")
        if options["init"] not in STARTS:
            options["init"] = Path(options["init"]).name
        return {
            "impasto": version("impasto"),
            "operation": "paint",
            "content": self.content.name,
            "style": self.style.name,
            "options": options,
        }


def write_history(painting: Painting, path: str | os.PathLike[str]) -> None:
    """The losses of every step as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HISTORY_COLUMNS)
    weight = painting.recipe["options"]["style_weight"]
    for step in painting.history:
        losses = (step.total, step.style, step.content, step.tv)
        writer.writerow([weight, step.number, *losses, *step.size, f"{step.seconds:.3f}"])
    replace_file(Path(path), text.getvalue().encode())


def paint(
    content: ImageSource,
    style: ImageSource,
    options: PaintOptions | Mapping[str, Any] | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> Painting:
    """Paint the picture ``content`` in the manner of the picture ``style``."""
    if options is not None and not isinstance(options, PaintOptions):
        options = PaintOptions.read(options)
    painter = Painter(content, style, options)
    for step in painter.steps():
        if on_step is not None:
            on_step(step)
    return painter.result()
