"""Painting by optimisation: one loop over sizes from coarse to fine, and steps at each.

A picture of pixels (1, 3, H, W) is changed until a network sees in it the content of one picture
and the style of others (Gatys, Ecker and Bethge 2015). Each size starts from the result of the
one before, so that broad strokes are laid before fine ones.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from impasto.backbones import Backbone
from impasto.canvas import CANVASES, Canvas
from impasto.checkpoints import Checkpoint
from impasto.devices import Machine, choose_machine, give_memory_back, keeping_memory
from impasto.errors import DivergedError, ImageError, OptionError
from impasto.files import replace_file
from impasto.images import (
    ImageSource,
    fit_size,
    read_image,
    resize_pixels,
    to_pil,
    write_image,
)
from impasto.objective import Objective
from impasto.optimizers import OPTIMIZERS, Optimizer
from impasto.options import PaintOptions, format_memory
from impasto.plan import Plan, grant_memory, largest_side, make_plan
from impasto.scene import Scene, View, check_counts
from impasto.starts import STARTS, start_picture
from impasto.targets import Targets
from impasto.terms import layers_of
from impasto.trials import choose_numbers
from impasto.weights import load_backbone

if TYPE_CHECKING:
    from PIL import Image

PLATEAU = 20  # steps whose mean loss is compared with that of the steps before them
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
    """Where a run stands: all that it needs to go on, whatever happens in between."""

    best: Tensor | None = None  # what there is to show, at the size being painted
    history: list[Step] = field(default_factory=list)
    level: int = 0  # the size being painted: its place among the sizes
    done: int = 0  # steps at this size
    least: float = math.inf
    state: dict[str, Tensor] = field(default_factory=dict)  # the canvas's and the optimiser's
    remarks: list[str] = field(default_factory=list)  # what was done in the user's stead

    def pack(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors by name, and the rest as JSON has it."""
        tensors = {f"state.{name}": tensor for name, tensor in self.state.items()}
        if self.best is not None:
            tensors["best"] = self.best
        least = None if math.isinf(self.least) else self.least
        facts = {"level": self.level, "done": self.done, "least": least}
        return tensors, facts | {"history": [asdict(step) for step in self.history]}

    @classmethod
    def unpack(cls, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Progress:
        history = [Step(**{**step, "size": tuple(step["size"])}) for step in facts["history"]]
        least = math.inf if facts["least"] is None else facts["least"]
        prefix = "state."
        state = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        best = tensors.get("best")
        return cls(best, history, facts["level"], facts["done"], least, state)


# --- the loop -----------------------------------------------------------------------------------


def paint_steps(
    backbone: Backbone,
    machine: Machine,
    scene: Scene,
    options: PaintOptions,
    plan: Plan,
    progress: Progress,
    targets: Targets | None = None,
) -> Iterator[Step]:
    """Paint a scene from where ``progress`` stands; whenever one stops, ``progress.best`` is the
    picture."""
    layers = layers_of(backbone, options)
    least = backbone.smallest_side(backbone.deepest(layers)) if layers else 1
    spent = progress.history[-1].seconds if progress.history else 0.0
    began = time.perf_counter() - spent
    with keeping_memory(all_of_it=plan.is_roomy):
        for number, level in enumerate(plan.levels):
            if number < progress.level or level.steps == 0:
                continue
            if number > progress.level:
                progress.level, progress.done, progress.state = number, 0, {}
                progress.least = math.inf
                give_memory_back()  # what smaller sizes left in pieces
            view = scene.at(level.size, least, machine.device)
            objective = Objective(backbone, machine, view, options, targets, level.window)
            canvas, optimizer = prepare(objective, view, progress)
            del view  # the styles were measured: at a large size they are large
            if number == len(plan.levels) - 1:
                scene.forget_whole()
            for total, parts in optimise(objective, canvas, optimizer, level.steps, progress):
                count, seconds = len(progress.history) + 1, time.perf_counter() - began
                step = Step(count, options.steps, level.size, total, **parts, seconds=seconds)
                progress.history.append(step)
                progress.remarks += objective.remarks
                objective.remarks.clear()
                yield step
            del objective, canvas, optimizer
        progress.state = {}  # the best is all that is needed of it


def prepare(objective: Objective, view: View, progress: Progress) -> tuple[Canvas, Optimizer]:
    """The canvas and its optimiser, new for this size or as the progress has them."""
    options = objective.options
    if progress.best is None:
        style = view.regions[0].samples[0].pixels
        start = start_picture(
            options.init,
            view.content,
            style,
            seed=options.seed,
            max_megapixels=options.max_megapixels,
        )
    else:
        start = progress.best.to(objective.machine.device)
    start = view.look(start)
    start = resize_pixels(start, view.content.shape[-1], view.content.shape[-2])
    canvas = CANVASES[options.canvas](start)
    optimizer = OPTIMIZERS[options.optimizer](canvas, options.learning_rate)
    if progress.state:
        with torch.no_grad():
            canvas.values.copy_(progress.state["values"])
        optimizer.state[canvas.values] = {
            name.removeprefix("optimizer."): tensor.to(canvas.values.device)
            for name, tensor in progress.state.items()
            if name.startswith("optimizer.")
        }
    return canvas, optimizer


def optimise(
    objective: Objective,
    canvas: Canvas,
    optimizer: Optimizer,
    count: int,
    progress: Progress,
) -> Iterator[tuple[float, dict[str, float]]]:
    """Steps at one size, until there are ``count`` or the loss no longer falls; the best picture
    measured is kept, or the average of all, and not the last."""
    options = objective.options
    measured: dict[str, Tensor] = {}
    before = canvas.values  # the picture that was measured, before it was changed

    def measure() -> Tensor:
        nonlocal before
        optimizer.zero_grad(set_to_none=True)
        pixels = canvas.pixels()
        before = pixels.detach()
        total, parts = objective(objective.show(pixels), len(progress.history))
        total.backward()  # type: ignore[no-untyped-call]
        measured.update({name: part.detach() for name, part in parts.items()})
        return total.detach()

    average = progress.state.get("average")
    average = None if average is None else average.to(canvas.values.device)
    while progress.done < count and not has_settled(progress, options.plateau):
        total = float(optimizer.step(measure))
        if not math.isfinite(total):
            raise DivergedError(
                f"the loss is no longer a number at step {len(progress.history) + 1}; "
                "lower --learning-rate or --style-weight, or use --optimizer adam"
            )
        progress.done += 1
        if options.blur:
            soften_canvas(canvas, options.blur * (1 - 2 * progress.done / count))
        if options.average:
            average = average_in(average, before, options.average)
            progress.best = average / (1 - options.average**progress.done)
        elif total < progress.least:
            progress.least, progress.best = total, before
        progress.state = keep_state(canvas, optimizer, average)
        yield total, {name: float(part) for name, part in measured.items()}


def keep_state(canvas: Canvas, optimizer: Optimizer, average: Tensor | None) -> dict[str, Tensor]:
    """The tensors that the next step is made from; they are the ones in use, not copies."""
    remembered = optimizer.state[canvas.values]
    state = {f"optimizer.{n}": t for n, t in remembered.items() if isinstance(t, Tensor)}
    state["values"] = canvas.values.detach()
    if average is not None:
        state["average"] = average
    return state


def average_in(average: Tensor | None, pixels: Tensor, share: float) -> Tensor:
    return (1 - share) * pixels if average is None else share * average + (1 - share) * pixels


@torch.no_grad()
def soften_canvas(canvas: Canvas, sigma: float) -> None:
    """Blur between steps (mission row 4): grain is taken away before it sets."""
    if sigma <= 0.05:
        return
    reach = math.ceil(3 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2)
    pixels = canvas.pixels()
    taps = (taps / taps.sum()).to(pixels).view(1, 1, 1, -1).expand(3, 1, 1, -1)
    wide = functional.pad(pixels, (reach, reach, reach, reach), mode="replicate")
    wide = functional.conv2d(wide, taps, groups=3)
    soft = functional.conv2d(wide, taps.transpose(2, 3), groups=3)
    canvas.replace(soft)


def has_settled(progress: Progress, plateau: float) -> bool:
    """Whether the mean loss of the last steps is hardly below that of the steps before them."""
    if not plateau or progress.done < 2 * PLATEAU:
        return False
    totals = [step.total for step in progress.history[-2 * PLATEAU :]]
    return sum(totals[PLATEAU:]) >= (1 - plateau) * sum(totals[:PLATEAU])


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
    """Pictures and options, checked and made ready; ``steps()`` paints, ``result()`` is
    the best so far at any moment, so that a run that is broken off has something to show.

    With a ``checkpoint`` file, a run that was killed goes on where it was. ``targets`` keeps what
    was measured of a style for other painters.
    """

    def __init__(
        self,
        content: ImageSource,
        style: ImageSource | Sequence[ImageSource],
        options: PaintOptions | None = None,
        *,
        checkpoint: str | os.PathLike[str] | None = None,
        targets: Targets | None = None,
    ) -> None:
        options = options or PaintOptions()
        self.checkpoint = None if checkpoint is None else Checkpoint(checkpoint)
        self.content = read_image(content, max_megapixels=options.max_megapixels)
        self.styles = [
            read_image(each, max_megapixels=options.max_megapixels) for each in list_styles(style)
        ]
        check_counts(options, len(self.styles))
        pictures = (self.content, *self.styles)
        self.notes = [f"{p.name}: {n}" for p in pictures for n in p.notes]
        machine = choose_machine(options.device)
        backbone = load_backbone(options.backbone, weights=options.weights, pooling=options.pooling)
        self.machine = machine  # enough to carry colours over
        if not options.only_color:
            self.machine = choose_numbers(backbone, machine, options.precision, options.layout)
        if self.machine.is_slow():
            self.notes.append("this processor has no bfloat16 of its own: float32 is faster")
        self.backbone = backbone.place(self.machine)
        self.plan = self._plan(options)
        self.size = self.plan.levels[-1].size
        layers = layers_of(self.backbone, options)
        if layers and not options.only_color:
            self.backbone.check_size(*self.size, self.backbone.deepest(layers))
        chosen = {
            "precision": self.machine.describe_numbers(),
            "layout": self.machine.layout,
            # Tiles round sums otherwise: only with the same memory the same bytes come out.
            "memory": str(self.plan.grant) if self.plan.is_tight else None,
        }
        self.options = options.model_copy(update=chosen)
        self.scene = Scene(self.content, self.styles, self.options, self.size)
        self.notes += self.scene.notes
        self.targets = targets
        self.resting = True  # no step is half done
        self.progress = self._take_up()

    def _plan(self, options: PaintOptions) -> Plan:
        """The plan for the size asked for; for the photograph's own, or what memory has room for,
        if none was."""
        own, facts = self.content.size, self.checkpoint.facts if self.checkpoint else {}
        size = own if options.size is None else fit_size(*own, options.size)
        asked = options.memory or facts.get("memory")
        # What was begun with room for all of it goes on so.
        unbound = options.only_color or (facts and not asked)
        grant = None if unbound else grant_memory(self.machine.device, asked)
        inputs = (self.backbone, self.machine, options, self.content, self.styles)
        plan = make_plan(*inputs, size, grant)
        if plan is not None:
            return plan
        assert grant is not None
        largest = largest_side(*inputs, max(size), grant)
        what = f"{size[0]} x {size[1]} needs more than the {format_memory(grant)} granted"
        if largest < 16:
            raise ImageError(f"{what}, and so does any other size; grant more with --memory")
        if options.size is not None:
            raise ImageError(f"{what}; --size {largest} would fit, or more with --memory")
        self.notes.append(f"{what}: painted at a long side of {largest} and enlarged")
        plan = make_plan(*inputs, fit_size(*own, largest), grant)
        assert plan is not None
        return replace(plan, is_tight=True)

    def _take_up(self) -> Progress:
        if self.checkpoint is None:
            return Progress()
        self.digest = self._digest()
        saved = self.checkpoint.load(self.digest)
        if saved is None:
            return Progress()
        progress = Progress.unpack(*saved)
        self.notes.append(f"taken up at step {len(progress.history) + 1}")
        return progress

    def _digest(self) -> str:
        """A digest of all that the bytes of the result depend on."""
        said = [self.recipe(), torch.__version__, self.backbone.fingerprint()]
        digest = hashlib.sha256(json.dumps(said).encode())
        whole = self.scene.whole
        tensors = [whole.photo, whole.content, whole.mask]
        for region in whole.regions:
            tensors += [region.mask, *(t for s in region.samples for t in (s.pixels, s.mask))]
        for tensor in tensors:
            if tensor is not None:
                digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def steps(self) -> Iterator[Step]:
        """Paint, yielding what each step measured."""
        if self.options.only_color:
            self.progress.best = self.scene.carry_color()
            return
        for step in paint_steps(
            self.backbone,
            self.machine,
            self.scene,
            self.options,
            self.plan,
            self.progress,
            self.targets,
        ):
            self.resting = True
            self.notes += self.progress.remarks
            self.progress.remarks.clear()
            yield step
            if self.checkpoint and self.checkpoint.is_due():
                self.save_progress()
            self.resting = False
        self.resting = True
        self.save_progress()

    def save_progress(self) -> None:
        """Write the checkpoint, if there is to be one and no step is half done."""
        if self.checkpoint and self.resting:
            tensors, facts = self.progress.pack()
            self.checkpoint.save(tensors, facts | {"memory": self.options.memory}, self.digest)

    def result(self) -> Painting:
        """The best picture so far, at its full size."""
        best = self.progress.best
        if best is None:
            pixels = resize_pixels(self.content.pixels, *self.size)
        else:
            pixels = self.scene.finish(best.detach().float().cpu().clamp(0, 1))
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
        for name in ("mask", "style_mask", "teach_mask", "labels"):
            options[name] = without_folders(options[name])
        return {
            "impasto": version("impasto"),
            "operation": "paint",
            "content": self.content.name,
            "style": [style.name for style in self.styles],
            "options": options,
        }


def list_styles(style: ImageSource | Sequence[ImageSource]) -> list[ImageSource]:
    """One style or several; an array is a picture, a list is a list of pictures."""
    styles: list[Any] = list(style) if isinstance(style, list | tuple) else [style]
    if not styles:
        raise OptionError("no style given; at least one is needed")
    return styles


def without_folders(value: Any) -> Any:
    if isinstance(value, list):
        return [without_folders(each) for each in value]
    return Path(value).name if isinstance(value, str) else value


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
    style: ImageSource | Sequence[ImageSource],
    options: PaintOptions | Mapping[str, Any] | None = None,
    *,
    on_step: Callable[[Step], None] | None = None,
) -> Painting:
    """Paint the picture ``content`` in the manner of the picture ``style``, or of several."""
    if options is not None and not isinstance(options, PaintOptions):
        options = PaintOptions.read(options)
    painter = Painter(content, style, options)
    for step in painter.steps():
        if on_step is not None:
            on_step(step)
    return painter.result()
