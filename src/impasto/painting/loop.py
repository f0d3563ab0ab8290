"""The loop that every picture is found by: sizes from coarse to fine, and steps at each.

What is minimised is a ``Goal``; a painting, a texture, an inversion or a dream is a
``PictureWork``. The loop knows none of them by name.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from impasto.errors import DivergedError
from impasto.images.picture import InputPictures, describe_pictures
from impasto.networks.vgg import Backbone
from impasto.painting.canvas import CANVASES, Canvas
from impasto.painting.memory_plan import Level
from impasto.painting.optimizers import OPTIMIZERS, Optimizer
from impasto.painting.options import LoopOptions
from impasto.painting.result import Painting
from impasto.recipes import write_recipe
from impasto.system.checkpoints import Checkpoint, fingerprint
from impasto.system.devices import Machine, working_on
from impasto.system.memory import give_memory_back, keeping_memory
from impasto.work import Step

PLATEAU_STEPS = 20  # their mean loss is compared with that of as many steps before them


class Goal(Protocol):
    """What is minimised at one size."""

    remarks: list[str]  # what was done in the user's stead

    def show(self, pixels: Tensor) -> Tensor:
        """Return what the losses see of a picture."""

    def __call__(self, pixels: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the total, to be differentiated, and its parts by name."""


@dataclass
class RunState:
    """All that a run needs to go on from where it is."""

    best: Tensor | None = None  # the picture to show, at the size being painted
    history: list[Step] = field(default_factory=list)
    level: int = 0  # the size being painted: its index among the sizes
    done: int = 0  # steps at this size
    least: float = math.inf
    tensors: dict[str, Tensor] = field(default_factory=dict)  # the canvas's and the optimiser's
    remarks: list[str] = field(default_factory=list)  # what was done in the user's stead

    def pack(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors by name, and the rest as JSON has it."""
        tensors = {f"state.{name}": tensor for name, tensor in self.tensors.items()}
        if self.best is not None:
            tensors["best"] = self.best
        least = None if math.isinf(self.least) else self.least
        facts = {"level": self.level, "done": self.done, "least": least}
        return tensors, facts | {"history": [step.pack() for step in self.history]}

    @classmethod
    def unpack(cls, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> RunState:
        """Return the state that was packed."""
        history = [Step(**{**step, "size": tuple(step["size"])}) for step in facts["history"]]
        least = math.inf if facts["least"] is None else facts["least"]
        prefix = "state."
        kept = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
        best = tensors.get("best")
        return cls(best, history, facts["level"], facts["done"], least, kept)

    def begin_level(self, level: int) -> None:
        """Go on to another size, with the best picture alone."""
        self.level, self.done, self.least, self.tensors = level, 0, math.inf, {}


# --- steps at one size --------------------------------------------------------------------------


def optimise(
    goal: Goal,
    canvas: Canvas,
    optimizer: Optimizer,
    count: int,
    run: RunState,
    options: LoopOptions,
) -> Iterator[tuple[float, dict[str, float]]]:
    """Take steps at one size, until there are ``count`` or the loss no longer falls.

    The best picture measured is kept, or the average of all, and not the last. Yields the total
    and its parts.
    """
    measured: dict[str, Tensor] = {}
    before = canvas.values  # the picture that was measured, before it was changed

    def measure() -> Tensor:
        nonlocal before
        optimizer.zero_grad(set_to_none=True)
        pixels = canvas.pixels()
        before = pixels.detach()
        total, parts = goal(goal.show(pixels), len(run.history))
        total.backward()  # type: ignore[no-untyped-call]
        measured.update({name: part.detach() for name, part in parts.items()})
        return total.detach()

    rate = optimizer.param_groups[0]["lr"]
    average = run.tensors.get("average")
    average = None if average is None else average.to(canvas.values.device)
    while run.done < count and not has_settled(run, options.plateau):
        left = 1 - (1 - options.final_rate) * run.done / count
        optimizer.param_groups[0]["lr"] = rate * left
        with working_on(canvas.values.device):
            total = float(optimizer.step(measure))
            if not math.isfinite(total):
                raise DivergedError(
                    f"the loss is no longer a number at step {len(run.history) + 1}; "
                    "lower --learning-rate or --style-weight, or use --optimizer adam"
                )
            run.done += 1
            if options.blur:
                soften_canvas(canvas, options.blur * (1 - 2 * run.done / count))
            if options.average:
                average = average_in(average, before, options.average)
                run.best = average / (1 - options.average**run.done)
            elif total < run.least:
                run.least, run.best = total, before
        run.tensors = keep_tensors(canvas, optimizer, average)
        yield total, {name: float(part) for name, part in measured.items()}


def prepare(
    start: Tensor, options: LoopOptions, tensors: Mapping[str, Tensor]
) -> tuple[Canvas, Optimizer]:
    """Return the canvas and its optimiser, new for this size or as an interrupted run left them."""
    canvas = CANVASES[options.canvas](start)
    optimizer = OPTIMIZERS[options.optimizer].make(canvas, options.learning_rate)
    if tensors:
        with torch.no_grad():
            canvas.values.copy_(tensors["values"])
        optimizer.state[canvas.values] = {
            name.removeprefix("optimizer."): tensor.to(canvas.values.device)
            for name, tensor in tensors.items()
            if name.startswith("optimizer.")
        }
    return canvas, optimizer


def keep_tensors(canvas: Canvas, optimizer: Optimizer, average: Tensor | None) -> dict[str, Tensor]:
    """Return the tensors that the next step is made from: those in use, not copies."""
    remembered = optimizer.state[canvas.values]
    tensors = {f"optimizer.{n}": t for n, t in remembered.items() if isinstance(t, Tensor)}
    tensors["values"] = canvas.values.detach()
    if average is not None:
        tensors["average"] = average
    return tensors


def average_in(average: Tensor | None, pixels: Tensor, share: float) -> Tensor:
    """Return the running average that keeps ``share`` of what it was; it begins at zero."""
    return (1 - share) * pixels if average is None else share * average + (1 - share) * pixels


@torch.no_grad()
def soften_canvas(canvas: Canvas, sigma: float) -> None:
    """Blur the picture between steps, which keeps grain from building up."""
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


def has_settled(run: RunState, plateau: float) -> bool:
    """Return whether the mean loss of the last steps is hardly below that of those before."""
    if not plateau or run.done < 2 * PLATEAU_STEPS:
        return False
    totals = [step.total for step in run.history[-2 * PLATEAU_STEPS :]]
    return sum(totals[PLATEAU_STEPS:]) >= (1 - plateau) * sum(totals[:PLATEAU_STEPS])


# --- sizes from coarse to fine ------------------------------------------------------------------


class PictureWork(ABC):
    """Work that finds a picture by the loop.

    ``result()`` is the best so far at any moment, so that work that is broken off has something
    to show. With a ``checkpoint`` file, work that was killed goes on where it was.
    """

    operation: str
    doing = "painting"  # what the command line calls it

    def __init__(
        self,
        options: LoopOptions,
        backbone: Backbone,
        machine: Machine,
        levels: Sequence[Level],
        *,
        notes: Iterable[str] = (),
        checkpoint: Checkpoint | None = None,
        is_roomy: bool = True,
    ) -> None:
        """Begin, or take up what the checkpoint holds; all that goes in must be there already.

        ``is_roomy`` says whether there is memory to spare.
        """
        self.options, self.backbone, self.machine = options, backbone, machine
        self.levels, self.size = levels, levels[-1].size
        self.notes, self.is_roomy = list(notes), is_roomy
        self.run = RunState()
        self._checkpoint, self._fingerprint = checkpoint, ""
        self._between_steps, self._began = True, 0.0
        if checkpoint is not None:
            self._take_up(checkpoint)

    @abstractmethod
    def begin(self, level: Level) -> tuple[Goal, Tensor]:
        """Return what is minimised at a size, and the picture to start from.

        That is the best of the size before, if there was one.
        """

    @abstractmethod
    def result(self) -> Painting:
        """Return the best picture so far, at its full size."""

    @abstractmethod
    def list_pictures(self) -> InputPictures:
        """Return the pictures that go in, by what they are: "content", "style"."""

    @abstractmethod
    def list_inputs(self) -> Iterable[Tensor | None]:
        """Return every tensor that the result depends on."""

    def describe(self) -> list[str]:
        """Return what there is to say before the work, line by line."""
        width, height = self.size
        where = f"with {self.options.backbone} on {self.machine.describe()}"
        return [f"{self.doing} {width} x {height} {where}"]

    def recipe(self) -> dict[str, Any]:
        """Return all that is needed to make this picture again."""
        return write_recipe(self.operation, *describe_pictures(self.list_pictures()), self.options)

    def steps(self) -> Iterator[Step]:
        """Work, yielding what each step measured."""
        for step in self._go_through_sizes():
            self._between_steps = True
            self.notes += self.run.remarks
            self.run.remarks.clear()
            yield step
            if self._checkpoint and self._checkpoint.is_due():
                self.save_progress()
            self._between_steps = False
        self._between_steps = True
        self.save_progress()

    def _go_through_sizes(self) -> Iterator[Step]:
        run = self.run
        self._began = time.perf_counter() - (run.history[-1].seconds if run.history else 0.0)
        with keeping_memory(all_of_it=self.is_roomy):
            for number, level in enumerate(self.levels):
                if number < run.level or level.steps == 0:
                    continue
                if number > run.level:
                    run.begin_level(number)
                    give_memory_back()  # what smaller sizes left in pieces
                yield from self._work_at(level)
            run.tensors = {}  # the best is all that is needed of them

    def _work_at(self, level: Level) -> Iterator[Step]:
        """Take the steps of one size."""
        run, options = self.run, self.options
        with working_on(self.machine.device):
            goal, start = self.begin(level)
            canvas, optimizer = prepare(start, options, run.tensors)
        del start
        for total, parts in optimise(goal, canvas, optimizer, level.steps, run, options):
            step = Step(
                len(run.history) + 1,
                options.steps,
                size=level.size,
                measured={"total": total, "style": 0.0, "content": 0.0, "tv": 0.0} | parts,
                seconds=time.perf_counter() - self._began,
            )
            run.history.append(step)
            run.remarks += goal.remarks
            goal.remarks.clear()
            yield replace(step, look=self.result)

    def make_painting(self, pixels: Tensor, alpha: Tensor | None = None) -> Painting:
        """Return the picture with its history, recipe and notes so far."""
        return Painting(pixels, alpha, list(self.run.history), self.recipe(), list(self.notes))

    # --- checkpoints

    @property
    def steps_done(self) -> int:
        """How many steps are behind it, those of earlier runs included."""
        return len(self.run.history)

    @property
    def checkpoint_path(self) -> Path | None:
        """The file that keeps the state of this run, if there is to be one."""
        return self._checkpoint.path if self._checkpoint else None

    def save_progress(self) -> None:
        """Write the checkpoint, if there is to be one and no step is half done."""
        if self._checkpoint and self._between_steps:
            tensors, facts = self.run.pack()
            memory = {"memory": self.options.memory}
            self._checkpoint.save(tensors, facts | memory, self._fingerprint)

    def discard_checkpoint(self) -> None:
        """Remove the checkpoint, if there is one: the work is done."""
        if self._checkpoint:
            self._checkpoint.remove()

    def _take_up(self, checkpoint: Checkpoint) -> None:
        """Go on from the state that was saved, if any was."""
        recipe = {name: value for name, value in self.recipe().items() if name != "digests"}
        facts = [recipe, torch.__version__, self.backbone.fingerprint()]
        self._fingerprint = fingerprint(facts, self.list_inputs())
        saved = checkpoint.load(self._fingerprint)
        if saved is not None:
            self.run = RunState.unpack(*saved)
            self.notes.append(f"taken up at step {self.steps_done + 1}")
